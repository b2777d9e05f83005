//! The parsers that come with the server, and those of the operator's folder, which go before them.
//!
//! The folder has one folder for each log type, with a `parser.conf` in it, as `penstock parser test` reads them; what
//! else lies there, such as samples, is none of the server's business.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use cbn::{Program, Severity};
use dialects::LogType;
use event::limits;

/// What a folder of a log type has.
const FILE: &str = "parser.conf";

/// How many mistakes of a parser are told.
const TOLD_MAX: usize = 5;

/// Log types and programs, by log type. A parser of the folder that cannot be read is an error that says which, where and
/// why: a server that left it out would make something else of the logs without anybody noticing.
pub fn shipped(folder: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let ours = normalise::SHIPPED.iter().map(|parser| (parser.log_type.to_owned(), parser.source.to_owned()));
    let mut all: BTreeMap<String, String> = ours.collect();
    if let Some(folder) = folder {
        all.extend(read(folder)?);
    }
    Ok(all.into_iter().collect())
}

fn read(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {} (normalise.parsers)", folder.display()))?;
    let mut parsers = Vec::new();
    for entry in entries {
        let of_type = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
        let path = of_type.join(FILE);
        if !path.is_file() {
            if let Some(other) = other_parser(&of_type) {
                bail!("{} is passed over: a parser of normalise.parsers is called {FILE}", other.display());
            }
            continue;
        }
        let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        if LogType::new(name.as_str(), "").is_err() {
            bail!("{}: {name:?} is no log type: 2 to 64 of A-Z, 0-9 and _", path.display());
        }
        let found = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if found.len() > limits::PARSER_SOURCE_BYTES_MAX as u64 {
            let most = limits::PARSER_SOURCE_BYTES_MAX;
            bail!("{} has {} bytes; a parser has at most {most}", path.display(), found.len());
        }
        let source = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        check(&path, &source)?;
        parsers.push((name, source));
    }
    Ok(parsers)
}

/// A file in a folder that looks like a parser, though it has another name.
fn other_parser(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|extension| extension == "conf") && path.is_file())
}

fn check(path: &Path, source: &str) -> anyhow::Result<()> {
    let Err(found) = Program::new(path.display().to_string(), source) else { return Ok(()) };
    let errors: Vec<_> = found.iter().filter(|found| found.severity == Severity::Error).collect();
    let told: Vec<String> = errors
        .iter()
        .take(TOLD_MAX)
        .map(|found| {
            let (line, column) = cbn::diagnostic::line_column(source, found.span.start);
            format!("{}:{line}:{column}: {}", path.display(), found.message)
        })
        .collect();
    let more = match errors.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        more => format!("\nand {more} more; `penstock parser lint` shows all"),
    };
    bail!("a parser of normalise.parsers cannot be read:\n{}{more}", told.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "filter { }\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_goes_before_what_comes_with_the_server() {
        let files = [("OKTA/parser.conf", EMPTY), ("OUR_GATE/parser.conf", EMPTY), ("README.md", ""), ("okta/x", "")];
        let all = shipped(Some(folder(&files).path())).unwrap();
        for (log_type, _) in files.iter().take(2).map(|(path, text)| (path.split_once('/').unwrap().0, text)) {
            let found: Vec<_> = all.iter().filter(|(name, _)| name == log_type).collect();
            assert!(matches!(found.as_slice(), [(_, source)] if source == EMPTY), "{log_type}: {found:?}");
        }
        assert_eq!(all.len(), normalise::SHIPPED.iter().filter(|parser| parser.log_type != "OKTA").count() + 2);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[("OKTA/okta.conf", EMPTY)], "okta.conf is passed over"),
            (&[("OKTA/parser.conf", "filter {\n  mutat { }\n}\n")], "OKTA/parser.conf:2:"),
            (&[("okta/parser.conf", EMPTY)], "is no log type"),
        ];
        for (files, expected) in cases {
            let error = format!("{:#}", shipped(Some(folder(files).path())).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let error = format!("{:#}", shipped(Some(Path::new("/nowhere/at/all"))).unwrap_err());
        assert!(error.contains("normalise.parsers"), "{error}");
    }
}
