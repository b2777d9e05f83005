//! `func.yaml`, as `fn init` writes it: how a function wants to be run. Pure.
//!
//! Keys that mean nothing here (images, triggers, annotations, …) are passed over quietly: the file is the same one that
//! is deployed to Oracle.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::spec::Entry;

/// What a `func.yaml` says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FuncYaml {
    /// The form of the file; only 20180708 is known to exist.
    pub schema_version: Option<u64>,
    /// The function's name.
    pub name: Option<String>,
    /// Its version, which `fn deploy` counts up.
    pub version: Option<String>,
    /// `python`, `python3.11`, ….
    pub runtime: Option<String>,
    /// From `entrypoint`: `/python/bin/fdk /function/func.py handler`.
    pub entry: Option<Entry>,
    /// Memory limit.
    pub memory_mib: Option<u32>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// How long a process may wait for its next call.
    pub idle_timeout: Option<Duration>,
    /// The function's configuration.
    pub config: BTreeMap<String, String>,
}

/// Why a `func.yaml` cannot be used; the user must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("func.yaml: {0}")]
pub struct YamlError(pub String);

impl FuncYaml {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<FuncYaml, YamlError> {
        let File { schema_version, name, version, runtime, entrypoint, memory, timeout, idle_timeout, config } =
            serde_saphyr::from_str::<Option<File>>(text)
                .map_err(|error| YamlError(first_line(&error)))?
                .unwrap_or_default();
        if let Some(runtime) = &runtime
            && !runtime.starts_with("python")
        {
            return Err(YamlError(format!("runtime {runtime:?} is not served here; only Python is")));
        }
        Ok(FuncYaml {
            schema_version,
            name,
            version: version.map(Scalar::text),
            runtime,
            entry: entrypoint.map(|text| entry(&text)).transpose()?,
            memory_mib: memory,
            timeout: timeout.map(Duration::from_secs),
            idle_timeout: idle_timeout.map(Duration::from_secs),
            config: config.unwrap_or_default().into_iter().map(|(key, value)| (key, value.text())).collect(),
        })
    }
}

/// The file as it is written. What an entrypoint looks like differs by who wrote it, so it stays text here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    schema_version: Option<u64>,
    name: Option<String>,
    version: Option<Scalar>,
    runtime: Option<String>,
    entrypoint: Option<String>,
    memory: Option<u32>,
    timeout: Option<u64>,
    idle_timeout: Option<u64>,
    config: Option<BTreeMap<String, Scalar>>,
}

/// A value without quotes may look like a number or a truth; it is meant as text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Null,
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Text(value) => value,
            Scalar::Null => String::new(),
        }
    }
}

/// `/python/bin/fdk /function/func.py handler`: the program is always the FDK, `/function` is the archive's root.
fn entry(entrypoint: &str) -> Result<Entry, YamlError> {
    let words: Vec<&str> = entrypoint.split_whitespace().collect();
    let (program, file, name) = match words.as_slice() {
        [program, file, name] => (*program, *file, *name),
        [program, file] => (*program, *file, "handler"),
        _ => {
            return Err(YamlError(format!(
                "the entrypoint {entrypoint:?} is not `/python/bin/fdk /function/FILE NAME`"
            )));
        }
    };
    if program.rsplit('/').next() != Some("fdk") {
        return Err(YamlError(format!("the entrypoint {entrypoint:?} does not begin with fdk")));
    }
    let file = file.strip_prefix("/function/").or_else(|| file.strip_prefix("./")).unwrap_or(file);
    let entry = Entry { file: file.to_owned(), name: name.to_owned() };
    if !entry.is_sound() {
        return Err(YamlError(format!("the entrypoint {entrypoint:?} does not name a file of /function")));
    }
    Ok(entry)
}

impl Entry {
    /// Whether it names a file within the archive and a Python name.
    pub fn is_sound(&self) -> bool {
        let file = !self.file.is_empty()
            && !self.file.contains('\0')
            && self.file.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let first = self.name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
        file && first && self.name.chars().all(|char| char.is_alphanumeric() || char == '_')
    }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_fn_init_writes() {
        let text = "schema_version: 20180708\nname: hello\nversion: 0.0.12\nruntime: python\nbuild_image: fnproject/python:3.11-dev\n\
                    run_image: fnproject/python:3.11\nentrypoint: /python/bin/fdk /function/func.py handler\nmemory: 256\n";
        let read = FuncYaml::parse(text).unwrap();
        let expected = FuncYaml {
            schema_version: Some(20_180_708),
            name: Some("hello".to_owned()),
            version: Some("0.0.12".to_owned()),
            runtime: Some("python".to_owned()),
            entry: Some(Entry::default()),
            memory_mib: Some(256),
            ..FuncYaml::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn config_is_text_whatever_it_looks_like() {
        let text =
            "timeout: 120\nidle_timeout: 60\nversion: 1.5\nconfig:\n  A: 5\n  B: true\n  C: 'x: y'\n  D:\n  E: 1.5\n";
        let read = FuncYaml::parse(text).unwrap();
        let config: Vec<(&str, &str)> = read.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(config, [("A", "5"), ("B", "true"), ("C", "x: y"), ("D", ""), ("E", "1.5")]);
        assert_eq!((read.timeout, read.idle_timeout), (Some(Duration::from_secs(120)), Some(Duration::from_secs(60))));
        assert_eq!(read.version.as_deref(), Some("1.5"));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(FuncYaml::parse("").unwrap(), FuncYaml::default());
        assert_eq!(FuncYaml::parse("# nothing\n").unwrap(), FuncYaml::default());
    }

    #[test]
    fn entrypoints() {
        let cases = [
            ("/python/bin/fdk /function/func.py handler", Ok(("func.py", "handler"))),
            ("/python/bin/fdk /function/src/f.py main", Ok(("src/f.py", "main"))),
            ("fdk func.py", Ok(("func.py", "handler"))),
            ("/python/bin/fdk /function/../x.py h", Err("does not name a file of /function")),
            ("/python/bin/fdk /etc/x.py h", Err("does not name a file of /function")),
            ("/bin/sh -c true", Err("does not begin with fdk")),
            ("/python/bin/fdk", Err("is not `/python/bin/fdk")),
        ];
        for (text, expected) in cases {
            match (entry(text), expected) {
                (Ok(entry), Ok((file, name))) => assert_eq!((entry.file.as_str(), entry.name.as_str()), (file, name)),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in
            [("runtime: java\n", "only Python"), ("memory: lots\n", "func.yaml: "), ("a: [", "func.yaml: ")]
        {
            let error = FuncYaml::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
