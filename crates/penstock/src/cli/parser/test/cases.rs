//! Which parsers there are below a folder, and which files of logs with which files of expected events belong to them.
//!
//! Two layouts, both beside the parser:
//!
//! ```text
//! cbn/NAME.conf                                      parser.conf
//! cbn/testdata/raw_logs/X_log.json                   samples/X.log  (or X.json, X.txt, X.csv, …)
//! cbn/testdata/expected_events/X_events.json         samples/X.expected.json
//! ```
//!
//! The left one is that of Google's public parsers, the right one ours; its pairs may also lie beside the parser itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::cli::parser;
use crate::cli::parser::program::{is_parser, log_type};

/// A parser with what it is tested by.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// Its file.
    pub path: PathBuf,
    /// What it is called: its log type, if its place says one and no other has it, else its place.
    pub name: String,
    /// Its cases, by name.
    pub cases: Vec<Case>,
    /// Why its cases cannot be told.
    pub fault: Option<String>,
}

/// Logs with the events that are expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it is called among those of its parser.
    pub name: String,
    /// The file of logs.
    pub logs: PathBuf,
    /// The file of expected events; it need not be there.
    pub expected: PathBuf,
    /// Whose layout it has.
    pub layout: Layout,
}

/// Whose layout a case has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Of what Google publishes: the files say nothing of logs that fail, and their times are often those of the run that
    /// made them.
    Google,
    /// Ours: times count, and so do logs that fail or are dropped.
    Ours,
}

/// Ends the name of an expected file in our layout.
const EXPECTED: &str = ".expected.json";

/// All parsers in these folders and theirs, by name. A file is a parser by itself.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Tested>, CliError> {
    let mut parsers = BTreeSet::new();
    for path in paths {
        let root = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("")) };
        for file in parser::files(std::slice::from_ref(path), is_parser)? {
            let place = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            parsers.insert((log_type(&file).unwrap_or_else(|| place.clone()), place, file));
        }
    }
    let mut in_folder = BTreeMap::<PathBuf, usize>::new();
    let mut named = BTreeMap::<String, usize>::new();
    for (name, _, file) in &parsers {
        *in_folder.entry(folder_of(file)).or_default() += 1;
        *named.entry(name.clone()).or_default() += 1;
    }
    parsers
        .into_iter()
        .map(|(name, place, path)| {
            let name = if named[&name] == 1 { name } else { place };
            let folder = folder_of(&path);
            let cannot_read = |error| CliError::Refused(format!("cannot read {}: {error}", folder.display()));
            let mut cases = cases(&folder).map_err(cannot_read)?;
            let fault = match in_folder[&folder] {
                1 => None,
                _ if cases.is_empty() => None,
                _ => {
                    cases.clear();
                    Some("it shares its folder with another parser, and both cannot have the same samples".to_owned())
                }
            };
            Ok(Tested { path, name, cases, fault })
        })
        .collect()
}

/// Every second of the parsers that have cases, the first one being odd; the others are left out.
pub fn every_second(parsers: Vec<Tested>, odd: bool) -> Vec<Tested> {
    parsers
        .into_iter()
        .filter(|parser| !parser.cases.is_empty())
        .enumerate()
        .filter(|(at, _)| (at % 2 == 0) == odd)
        .map(|(_, parser)| parser)
        .collect()
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
}

fn cases(folder: &Path) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let testdata = folder.join("testdata");
    for name in names(&testdata.join("raw_logs"))? {
        // Google's validator looks at nothing else: older cases are put aside by more behind the ending.
        let Some(stem) = name.strip_suffix("_log.json") else { continue };
        cases.push(Case {
            name: stem.to_owned(),
            logs: testdata.join("raw_logs").join(&name),
            expected: testdata.join("expected_events").join(format!("{stem}_events.json")),
            layout: Layout::Google,
        });
    }
    for (inside, is_for_samples) in [(folder.to_owned(), false), (folder.join("samples"), true)] {
        let names = names(&inside)?;
        let expected: BTreeSet<&str> = names.iter().filter_map(|name| name.strip_suffix(EXPECTED)).collect();
        for name in &names {
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            let is_sample = !name.ends_with(EXPECTED) && !is_parser(name) && !name.starts_with('.');
            // Beside a parser there may be anything; in a folder for samples all are samples, but for what explains them.
            let is_sample = is_sample && (expected.contains(stem) || is_for_samples && !name.ends_with(".md"));
            if is_sample {
                cases.push(Case {
                    name: stem.to_owned(),
                    logs: inside.join(name),
                    expected: inside.join(format!("{stem}{EXPECTED}")),
                    layout: Layout::Ours,
                });
            }
        }
    }
    Ok(cases)
}

/// The names of the files in a folder, sorted; of one that is not there, none.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Vec<(String, Vec<(String, Layout)>, bool)> {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("in the folder")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let parsers = find(&[folder.path().to_owned()]).expect("readable");
        for case in parsers.iter().flat_map(|parser| &parser.cases) {
            assert!(case.logs.is_file());
        }
        parsers
            .into_iter()
            .map(|parser| {
                let cases = parser.cases.into_iter().map(|case| (case.name, case.layout)).collect();
                (parser.name, cases, parser.fault.is_some())
            })
            .collect()
    }

    #[test]
    fn cases_of_both_layouts() {
        let case = |name: &str, layout| (name.to_owned(), layout);
        let cases = found(&[
            "BIND_DNS/cbn/b.conf",
            "BIND_DNS/cbn/metadata.json",
            "BIND_DNS/cbn/testdata/raw_logs/x_log.json",
            "BIND_DNS/cbn/testdata/raw_logs/x_log.json_2",
            "BIND_DNS/cbn/testdata/raw_logs/other.json",
            "BIND_DNS/cbn/testdata/expected_events/x_events.json",
            "A/parser.conf",
            "A/README.md",
            "A/samples/README.md",
            "A/samples/allowed.log",
            "A/samples/allowed.expected.json",
            "A/samples/denied.json",
            "C/parser.conf",
            "C/one.log",
            "C/one.expected.json",
            "C/two.log",
            "D/parser.conf",
        ]);
        let expected = [
            ("A/parser.conf".to_owned(), vec![case("allowed", Layout::Ours), case("denied", Layout::Ours)], false),
            ("BIND_DNS".to_owned(), vec![case("x", Layout::Google)], false),
            ("C/parser.conf".to_owned(), vec![case("one", Layout::Ours)], false),
            ("D/parser.conf".to_owned(), vec![], false),
        ];
        assert_eq!(cases, expected);
    }

    #[test]
    fn two_parsers_cannot_have_the_same_samples() {
        let found = found(&["a.conf", "b.conf", "samples/x.log"]);
        assert!(found.iter().all(|(_, cases, fault)| cases.is_empty() && *fault));
    }

    #[test]
    fn every_second_is_counted_among_those_with_cases() {
        let parser = |name: &str, has_cases: bool| Tested {
            path: PathBuf::new(),
            name: name.to_owned(),
            cases: has_cases
                .then(|| Case {
                    name: String::new(),
                    logs: PathBuf::new(),
                    expected: PathBuf::new(),
                    layout: Layout::Ours,
                })
                .into_iter()
                .collect(),
            fault: None,
        };
        let all = vec![parser("a", true), parser("b", false), parser("c", true), parser("d", true)];
        let names = |odd| every_second(all.clone(), odd).into_iter().map(|parser| parser.name).collect::<Vec<_>>();
        assert_eq!(names(true), ["a", "d"]);
        assert_eq!(names(false), ["c"]);
    }
}
