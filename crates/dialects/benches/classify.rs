//! How fast the log type of a text is told, on one thread.
//!
//! `cargo bench -p dialects --bench classify`. Counts this thread's CPU time, so that a busy machine does not blur it;
//! prints, asserts nothing about time.

use dialects::classify::classify;

fn main() {
    let json = |fields: usize| {
        let fields: Vec<String> = (0..fields).map(|index| format!("\"field{index}\":{{\"name\":\"value\"}}")).collect();
        format!("{{{},\"eventVersion\":\"1.08\",\"userIdentity\":{{\"type\":\"Root\"}}}}", fields.join(","))
    };
    for (name, text) in [
        (
            "a line of syslog",
            "<166>Nov 21 2026 20:15:00 asa01 : %ASA-6-302013: Built outbound TCP connection 11757 for outside:203.0.113.80/443"
                .to_owned(),
        ),
        ("JSON of 40 fields", json(20)),
        ("JSON up to the limit", json(2_000)),
        ("pairs up to the limit", "key=value ".repeat(2_000)),
        ("braces up to the limit", "{\"a\":".repeat(4_000)),
    ] {
        let rounds = 4_000_000 / text.len().min(16 << 10);
        let start = cpu_secs();
        for _ in 0..rounds {
            std::hint::black_box(classify(text.as_bytes()));
        }
        let micros = (cpu_secs() - start) / rounds as f64 * 1e6;
        println!("{name}, {} bytes: {micros:.1} µs", text.len());
    }
}

/// Seconds that this thread has run on a CPU (Linux).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts every thread's time");
    let nanos: f64 =
        stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("its first number is nanoseconds");
    nanos / 1e9
}
