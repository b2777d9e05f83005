//! `translate`: replaces a value by what a dictionary says about it.
//!
//! Google does not document it; a golden output shows that it is there with `source`, `target`, `dictionary` and
//! `fallback` (contracts/cbn.md §1.5). The rest is as in the Logstash plugin of that name: `destination` is another name of
//! `target`, `regex` makes the keys regular expressions of which the first that matches counts, and a value that no key
//! knows changes nothing where there is no `fallback`. A number is looked up as it is printed.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::compile::{Build, Options, word_of};
use crate::path::{Target, Template};
use crate::plugins::place_of;
use crate::re2;
use crate::run::{Failure, Run};
use crate::value::{Value, print};

/// A call of `translate`.
#[derive(Debug)]
pub(crate) struct Translate {
    source: Target,
    target: Target,
    dictionary: Dictionary,
    fallback: Option<Template>,
}

#[derive(Debug)]
enum Dictionary {
    Exact(HashMap<Box<str>, Template, RandomState>),
    Regex(Box<[(re2::Regex, Template)]>),
}

impl Translate {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Translate> {
        let source = match options.word("field") {
            Some(word) if options.word("source").is_none() => word,
            _ => options.required("source", build)?,
        };
        let target = options.word("target").or_else(|| options.word("destination")).unwrap_or(source);
        let pairs = options.pairs("dictionary");
        let dictionary = if options.flag("regex") {
            let mut patterns = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let Some(value) = word_of(value) else { continue };
                patterns.push((build.regex(&key.text, key.span)?, build.template(value)));
            }
            Dictionary::Regex(patterns.into())
        } else {
            let mut values = HashMap::with_capacity_and_hasher(pairs.len(), RandomState::default());
            for (key, value) in pairs {
                let Some(value) = word_of(value) else { continue };
                values.insert(key.text.as_str().into(), build.template(value));
            }
            Dictionary::Exact(values)
        };
        Some(Translate {
            source: build.target(source),
            target: build.target(target),
            dictionary,
            fallback: options.word("fallback").map(|word| build.template(word)),
        })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let printed;
        let value = run.get(&source);
        if let Some(Value::Bytes(bytes)) = value {
            run.step_bytes(bytes.len())?;
        }
        let text = match value {
            Some(Value::Text(text)) => text,
            Some(value) => match print(&value) {
                Some(text) => {
                    printed = text;
                    printed.as_str()
                }
                None => return Err(run.error(&source.text, || format!("source field {:?}: not a string", source.text))),
            },
            None => return Err(run.error(&source.text, || format!("source field {:?}: field not set", source.text))),
        };
        let known = match &self.dictionary {
            Dictionary::Exact(values) => {
                run.step_bytes(text.len())?;
                values.get(text)
            }
            Dictionary::Regex(patterns) => {
                let mut found = None;
                for (pattern, value) in patterns {
                    run.step(1)?;
                    if pattern.is_match(run, text)? {
                        found = Some(value);
                        break;
                    }
                }
                found
            }
        };
        let Some(template) = known.or(self.fallback.as_ref()) else { return Ok(()) };
        let translated = match run.expand(template)? {
            Ok(text) => text,
            Err(path) => return Err(run.error(&path.text, || format!("source field {:?}: field not set", path.text))),
        };
        let target = place_of(run, &self.target)?;
        run.set(&target, Value::Text(translated))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::plugins::tests::run;

    #[test]
    fn dictionaries() {
        let dictionary = r#"dictionary => { "1" => "one" "2" => "two %{x}" "a.*" => "%{in}!" "1" => "uno" }"#;
        let table = [
            ("§1.5 what the dictionary says", r#"target => "t""#, "2", Ok(json!({"x": "y", "t": "two y"}))),
            ("of equal keys the last counts", r#"target => "t""#, "1", Ok(json!({"x": "y", "t": "uno"}))),
            ("the name of Logstash", r#"destination => "t.u""#, "1", Ok(json!({"x": "y", "t": {"u": "uno"}}))),
            ("the source itself", "", "1", Ok(json!({"x": "y", "in": "uno"}))),
            ("what it does not know changes nothing", r#"target => "x""#, "3", Ok(json!({"x": "y"}))),
            (
                "§1.5 or is the fallback",
                r#"target => "t" fallback => "<%{in}>""#,
                "3",
                Ok(json!({"x": "y", "t": "<3>"})),
            ),
            ("keys are texts", r#"target => "t""#, "abc", Ok(json!({"x": "y"}))),
            (
                "unless they are regular expressions",
                r#"target => "t" regex => true"#,
                "abc",
                Ok(json!({"x": "y", "t": "abc!"})),
            ),
            (
                "a source that is not set",
                r#"source => "out""#,
                "",
                Err("source field \"out\": field not set".to_owned()),
            ),
            (
                "a field in a value that is not set",
                r#"target => "t" fallback => "%{out}""#,
                "",
                Err("source field \"out\": field not set".to_owned()),
            ),
        ];
        for (rule, options, text, expected) in table {
            let program = format!(
                r#"mutate {{ replace => {{ "x" => "y" }} }} translate {{ source => "in" {dictionary} {options} }}"#
            );
            assert_eq!(run(&program, text), expected, "{rule}");
        }
    }

    #[test]
    fn numbers_as_they_are_printed() {
        let program = r#"json { source => "in" } translate { source => "n" dictionary => ["3", "three"] }"#;
        assert_eq!(run(program, r#"{"n": 3}"#), Ok(json!({"n": "three"})));
        assert_eq!(run(program, r#"{"n": []}"#), Err("source field \"n\": not a string".to_owned()));
    }
}
