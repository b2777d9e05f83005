//! Writes the seeds of all targets as `corpus/TARGET/seed-N`, where cargo-fuzz looks for them.

fn main() -> std::io::Result<()> {
    for target in testkit::fuzz::targets() {
        let dir = std::path::Path::new("corpus").join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (number, seed) in target.seeds.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
