//! Parsers as files: which one a path means, what log type its place says, and what is said when it cannot run.

use std::path::{Path, PathBuf};

use cbn::Program;

use super::draw::Pen;
use crate::cli::CliError;

/// Largest file that is read as a parser. The longest public ones have about half a megabyte.
pub const SOURCE_BYTES_MAX: u64 = 16 << 20;

/// A parser's file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called in messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A parser that can run.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub source: Source,
    pub program: Program,
    /// What its place says of its logs.
    pub log_type: Option<String>,
}

/// Reads a parser's file.
pub fn read(path: &Path) -> Result<Source, CliError> {
    let refused = |why: String| CliError::Refused(format!("cannot read {}: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if found.is_file() && found.len() > SOURCE_BYTES_MAX {
        return Err(refused(format!("it has {} bytes; a parser has at most {SOURCE_BYTES_MAX}", found.len())));
    }
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        refused(format!("it is not UTF-8 in line {}", line + 1))
    })?;
    Ok(Source { name: path.display().to_string(), text })
}

/// Finds, reads and compiles the parser that a path means; what is wrong with it is drawn on standard error.
pub fn load(path: &Path) -> Result<Loaded, CliError> {
    let path = find(path)?;
    let source = read(&path)?;
    match Program::new(source.name.clone(), source.text.clone()) {
        Ok(program) => Ok(Loaded { log_type: log_type(&path), source, program }),
        Err(diagnostics) => {
            let pen = Pen::for_stderr();
            diagnostics.iter().for_each(|found| eprintln!("{}\n", pen.diagnostic(&source, found)));
            Err(CliError::Refused(format!("{} cannot run", source.name)))
        }
    }
}

/// The file that a path means: itself, or the one parser in a folder.
pub fn find(path: &Path) -> Result<PathBuf, CliError> {
    let refused = |why: String| CliError::Refused(format!("{}: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !found.is_dir() {
        return Ok(path.to_owned());
    }
    // Of Google's layout the parser is in the folder `cbn` of its log type's.
    for folder in [path.to_owned(), path.join("cbn")] {
        let mut parsers = parsers_in(&folder).map_err(|error| refused(error.to_string()))?;
        match parsers.len() {
            0 => {}
            1 => return Ok(parsers.remove(0)),
            _ => {
                let names: Vec<_> = parsers.iter().filter_map(|path| path.file_name()?.to_str()).collect();
                return Err(refused(format!("it holds several parsers: {}; name one", names.join(", "))));
            }
        }
    }
    Err(refused("it holds no parser, no file whose name ends in .conf".to_owned()))
}

/// The parsers that lie in a folder, by name. A folder that is not there holds none.
fn parsers_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parsers = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_parser) && entry.path().is_file() {
            parsers.push(entry.path());
        }
    }
    parsers.sort();
    Ok(parsers)
}

/// Whether a file of this name is a parser.
pub fn is_parser(name: &str) -> bool {
    name.ends_with(".conf") && !name.starts_with('.')
}

/// The log type that a parser's place says: of `OKTA/parser.conf`, `OKTA/cbn/okta.conf` and the like.
pub fn log_type(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors()
        .skip(1)
        .take(2)
        .filter_map(|folder| folder.file_name()?.to_str())
        .find(|name| *name != "cbn")
        .filter(|name| is_log_type(name))
        .map(str::to_owned)
}

/// Whether a log type may be called so.
pub fn is_log_type(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_the_log_type() {
        for (path, expected) in [
            ("/p/OKTA/parser.conf", Some("OKTA")),
            ("/p/AZURE_AD2/cbn/default_azure.conf", Some("AZURE_AD2")),
            ("/p/okta/parser.conf", None),
            ("/p/OKTA/other/parser.conf", None),
            ("/parser.conf", None),
        ] {
            assert_eq!(log_type(Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_folder_means_its_one_parser() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert!(find(folder.path()).is_err());
        std::fs::create_dir(at("cbn")).expect("made");
        std::fs::write(at("cbn/a.conf"), "").expect("written");
        assert_eq!(find(folder.path()).expect("found"), at("cbn/a.conf"));
        std::fs::write(at("b.conf"), "").expect("written");
        assert_eq!(find(folder.path()).expect("found"), at("b.conf"));
        std::fs::write(at("c.conf"), "").expect("written");
        assert!(find(folder.path()).expect_err("two").to_string().contains("b.conf, c.conf"));
    }
}
