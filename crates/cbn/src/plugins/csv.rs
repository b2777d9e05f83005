//! `csv`: takes a line apart and sets `column1`, `column2`, ….
//!
//! The rules are those of Go's `encoding/csv` (contracts/cbn.md §1.5; Google's documentation, "Extract CSV formatted
//! logs"): a field in double quotes may hold separators, line ends and doubled quotes; a quote elsewhere is an error
//! unless `lazy_quotes` is set. The first record is read and nothing behind it; empty lines before it do not count. One
//! character separates, a comma where none is given; `unescape_separator` reads `\t` as a tab.
//!
//! Absent on purpose: `columns`. Google's engine names columns by their number, and the programs that give names read the
//! numbers all the same.

use std::borrow::Cow;

use crate::compile::{Build, Options};
use crate::path::Target;
use crate::plugins::{map_at, place_of, text_of, unescape};
use crate::run::{Failure, Run};
use crate::value::{Heap, Name, Value};

/// How many columns have their names before a run.
const KNOWN_COLUMNS: usize = 128;

/// A call of `csv`.
#[derive(Debug)]
pub(crate) struct Csv {
    source: Target,
    target: Option<Target>,
    separator: char,
    lazy_quotes: bool,
    columns: Box<[Name]>,
}

impl Csv {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Csv> {
        let source = options.required("source", build)?;
        let separator = options.word("separator");
        let text = match separator {
            Some(word) if options.flag("unescape_separator") => Cow::Owned(unescape(&word.text)),
            Some(word) => Cow::Borrowed(word.text.as_str()),
            None => Cow::Borrowed(","),
        };
        let character = text.chars().next().unwrap_or(',');
        if let (Some(word), '"' | '\r' | '\n') = (separator, character) {
            build.error("csv-separator", word.span, "neither a quote nor an end of line can separate columns");
            return None;
        }
        Some(Csv {
            source: build.target(source),
            target: options.word("target").map(|word| build.target(word)),
            separator: character,
            lazy_quotes: options.flag("lazy_quotes"),
            columns: (1..=KNOWN_COLUMNS).map(|number| build.names.intern(&format!("column{number}"))).collect(),
        })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let text = text_of(run, &source)?;
        // Two searches for each quote.
        run.step_bytes(4 * text.len())?;
        let mut record = Record::new(text, self.separator, self.lazy_quotes);
        // All or nothing: a record that turns out to be malformed in its last column sets none.
        let mut fields = Vec::new();
        loop {
            match record.next(&run.heap) {
                Ok(Some(field)) => {
                    // A column is a field of the state, however short it is.
                    run.step(1)?;
                    run.heap.charge(size_of::<&str>())?;
                    fields.push(field);
                }
                Ok(None) => break,
                Err(Stop::Failure(failure)) => return Err(failure),
                Err(Stop::Malformed(at, what)) => {
                    return Err(run.error(&source.text, || record.tell(at, what)));
                }
            }
        }
        let map = map_at(run, self.target.as_ref())?;
        for (at, field) in fields.into_iter().enumerate() {
            let name = match self.columns.get(at) {
                Some(name) => *name,
                None => run.heap.name(&format!("column{}", at + 1))?,
            };
            map.set(&run.heap, name, Value::Text(field))?;
        }
        Ok(())
    }
}

/// Why a record could not be read.
enum Stop {
    /// At a byte something stands that must not.
    Malformed(usize, &'static str),
    /// A limit of the run.
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

/// Reading one record.
struct Record<'r> {
    text: &'r str,
    /// Where the record begins, behind empty lines.
    start: usize,
    /// Where the next field begins; `None` when the record is over.
    at: Option<usize>,
    separator: char,
    lazy_quotes: bool,
}

impl<'r> Record<'r> {
    fn new(text: &'r str, separator: char, lazy_quotes: bool) -> Record<'r> {
        let mut start = 0;
        loop {
            let rest = &text[start..];
            start += match rest.as_bytes() {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => break,
            };
        }
        Record { text, start, at: Some(start), separator, lazy_quotes }
    }

    /// The next field.
    fn next(&mut self, heap: &Heap<'r>) -> Result<Option<&'r str>, Stop> {
        let Some(start) = self.at else { return Ok(None) };
        let rest = &self.text[start..];
        if start == self.start && rest.is_empty() {
            return Err(Stop::Malformed(start, "EOF"));
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            return self.quoted(start + 1, quoted, heap).map(Some);
        }
        let separator = self.separator;
        let end = match u8::try_from(separator) {
            Ok(separator) if separator.is_ascii() => rest.bytes().position(|byte| byte == separator || byte == b'\n'),
            _ => rest.find([separator, '\n']),
        };
        let end = end.unwrap_or(rest.len());
        let (field, behind) = rest.split_at(end);
        let field = if behind.starts_with(separator) {
            self.at = Some(start + end + separator.len_utf8());
            field
        } else {
            self.at = None;
            // The end of a line is `\n` or `\r\n`, the end of a text may be a lone `\r`.
            field.strip_suffix('\r').unwrap_or(field)
        };
        match field.find('"') {
            Some(quote) if !self.lazy_quotes => Err(Stop::Malformed(start + quote, "bare \" in non-quoted field")),
            _ => Ok(Some(field)),
        }
    }

    /// A field in quotes; `rest` is what follows the opening one, `start` where that is.
    fn quoted(&mut self, start: usize, rest: &'r str, heap: &Heap<'r>) -> Result<&'r str, Stop> {
        // What was read so far where the field is not one piece of the text: doubled quotes, line ends with `\r`.
        let mut pieces: Option<String> = None;
        // The piece that is being read.
        let mut from = 0;
        let mut at = 0;
        let end = loop {
            let Some(found) = rest[at..].find(['"', '\r']) else {
                // The text ends within the field.
                self.at = None;
                if !self.lazy_quotes {
                    return Err(Stop::Malformed(start + rest.len(), "extraneous or missing \" in quoted-field"));
                }
                break rest.len();
            };
            at += found;
            let behind = &rest[at + 1..];
            if rest.as_bytes()[at] == b'\r' {
                if behind.starts_with('\n') {
                    pieces.get_or_insert_default().push_str(&rest[from..at]);
                    from = at + 1;
                }
                at += 1;
            } else if behind.starts_with('"') {
                pieces.get_or_insert_default().push_str(&rest[from..=at]);
                at += 2;
                from = at;
            } else if behind.starts_with(self.separator) {
                self.at = Some(start + at + 1 + self.separator.len_utf8());
                break at;
            } else if behind.is_empty() || behind.starts_with('\n') || behind.starts_with("\r\n") || behind == "\r" {
                self.at = None;
                break at;
            } else if self.lazy_quotes {
                at += 1;
            } else {
                return Err(Stop::Malformed(start + at, "extraneous or missing \" in quoted-field"));
            }
        };
        match pieces {
            None => Ok(&rest[from..end]),
            Some(mut whole) => {
                whole.push_str(&rest[from..end]);
                Ok(heap.text(&whole)?)
            }
        }
    }

    /// What is wrong, in the words of Go's `encoding/csv`.
    fn tell(&self, at: usize, what: &str) -> String {
        if what == "EOF" {
            return what.to_owned();
        }
        let line = |at: usize| self.text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = at - self.text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
        let (record, here) = (line(self.start), line(at));
        if record == here {
            format!("parse error on line {here}, column {column}: {what}")
        } else {
            format!("record on line {record}; parse error on line {here}, column {column}: {what}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::plugins::tests::{check, run};

    #[test]
    fn records() {
        check(
            r#"csv { source => "in" }"#,
            &[
                (
                    "§1.5 columns have numbers from 1",
                    "a,b,c",
                    Ok(json!({"column1": "a", "column2": "b", "column3": "c"})),
                ),
                ("nothing is a value", ",b,", Ok(json!({"column1": "", "column2": "b", "column3": ""}))),
                ("blanks are kept", " a , b", Ok(json!({"column1": " a ", "column2": " b"}))),
                ("quotes", r#""a,b","c""d",e"#, Ok(json!({"column1": "a,b", "column2": "c\"d", "column3": "e"}))),
                ("an empty quoted field", "\"\",\"\"\"\"", Ok(json!({"column1": "", "column2": "\""}))),
                (
                    "the end of a line in quotes",
                    "\"a\nb\",\"c\r\nd\",\"e\rf\"",
                    Ok(json!({"column1": "a\nb", "column2": "c\nd", "column3": "e\rf"})),
                ),
                ("the first record alone", "a,b\nc,d", Ok(json!({"column1": "a", "column2": "b"}))),
                ("the first record alone, quoted", "\"a\",\"b\"\n\"c", Ok(json!({"column1": "a", "column2": "b"}))),
                ("the other end of a line", "a,b\r\nc,d", Ok(json!({"column1": "a", "column2": "b"}))),
                ("the end of a text", "a,b\r", Ok(json!({"column1": "a", "column2": "b"}))),
                ("the end of a text behind quotes", "a,\"b\"\r", Ok(json!({"column1": "a", "column2": "b"}))),
                ("empty lines in front", "\n\r\n\na", Ok(json!({"column1": "a"}))),
                ("beyond ASCII", "ä,\"ü,ö\"", Ok(json!({"column1": "ä", "column2": "ü,ö"}))),
            ],
        );
    }

    #[test]
    fn what_is_no_record() {
        check(
            r#"csv { source => "in" }"#,
            &[
                ("nothing", "", Err("EOF")),
                ("nothing but ends of lines", "\n\n", Err("EOF")),
                ("a quote in a field", "a,b\"c", Err("parse error on line 1, column 4: bare \" in non-quoted field")),
                (
                    "something behind a quoted field",
                    "\"a\"b,c",
                    Err("parse error on line 1, column 3: extraneous or missing \" in quoted-field"),
                ),
                (
                    "a quote that nothing closes",
                    "a,\"b",
                    Err("parse error on line 1, column 5: extraneous or missing \" in quoted-field"),
                ),
                (
                    "in another line",
                    "\n\"a\nb\"c",
                    Err("record on line 2; parse error on line 3, column 2: extraneous or missing \" in quoted-field"),
                ),
            ],
        );
        check(
            r#"csv { source => "in" on_error => "e" }"#,
            &[("no column of a malformed record is set", "a,b\"c", Ok(json!({"e": true})))],
        );
    }

    #[test]
    fn lazy_quotes() {
        check(
            r#"csv { source => "in" lazy_quotes => true }"#,
            &[
                ("a quote in a field", "a,b\"c\"", Ok(json!({"column1": "a", "column2": "b\"c\""}))),
                (
                    "quotes in a quoted field",
                    r#"1,"x "y" z",2"#,
                    Ok(json!({"column1": "1", "column2": "x \"y\" z", "column3": "2"})),
                ),
                ("a quote that nothing closes", "a,\"b,c", Ok(json!({"column1": "a", "column2": "b,c"}))),
            ],
        );
    }

    #[test]
    fn options() {
        let text = "a;b\tc|\"d;e\"";
        let table = [
            (
                "a separator",
                r#"separator => ";""#,
                Err("parse error on line 1, column 7: bare \" in non-quoted field".to_owned()),
            ),
            ("another", r#"separator => "|""#, Ok(json!({"column1": "a;b\tc", "column2": "d;e"}))),
            ("one character separates", r#"separator => "|;""#, Ok(json!({"column1": "a;b\tc", "column2": "d;e"}))),
            (
                "an escape is read where asked for",
                r#"separator => "\\t" unescape_separator => true lazy_quotes => true"#,
                Ok(json!({"column1": "a;b", "column2": "c|\"d;e\""})),
            ),
            ("and not else", r#"separator => "\\t" lazy_quotes => "true""#, Ok(json!({"column1": text}))),
            (
                "below a target",
                r#"separator => "|" target => "x.y""#,
                Ok(json!({"x": {"y": {"column1": "a;b\tc", "column2": "d;e"}}})),
            ),
            (
                "names of columns are not known",
                r#"separator => "|" columns => ["x", "y"]"#,
                Ok(json!({"column1": "a;b\tc", "column2": "d;e"})),
            ),
            (
                "a quote cannot separate",
                r#"separator => "\"""#,
                Err("neither a quote nor an end of line can separate columns".to_owned()),
            ),
            ("a source that is not set", r#"source => "out""#, Err("source field \"out\": field not set".to_owned())),
        ];
        for (rule, options, expected) in table {
            assert_eq!(run(&format!(r#"csv {{ source => "in" {options} }}"#), text), expected, "{rule}");
        }
    }

    #[test]
    fn hostile_texts_end_soon() {
        let program = r#"csv { source => "in" lazy_quotes => true }"#;
        assert!(run(program, &"\"".repeat(1 << 17)).is_ok());
        assert!(run(program, &format!("\"{}", "\"\"\r\n".repeat(1 << 17))).is_ok());
        let state = run(program, &",".repeat(10_000)).expect("no limit is reached");
        assert_eq!(state["column10001"], "");
        // A column costs a step, however short it is.
        assert_eq!(run(program, &",".repeat(1 << 20)), Err("too many steps".to_owned()));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(fields in prop::collection::vec("[^\r]*", 1..8), separator in "[,;|\t\u{a7}]") {
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let state = run(&format!("csv {{ source => \"in\" separator => \"{separator}\" }}"), &quoted.join(&separator)).unwrap();
            for (at, field) in fields.iter().enumerate() {
                prop_assert_eq!(&state[format!("column{}", at + 1)], field);
            }
        }

        #[test]
        fn nothing_panics(text in "[a,\"\r\n\u{e9}]{0,12}", lazy: bool) {
            let read = run(&format!(r#"csv {{ source => "in" lazy_quotes => {lazy} }}"#), &text);
            prop_assert!(read.is_ok() || !lazy || text.trim_matches(['\r', '\n']).is_empty(), "{:?}", read);
        }
    }
}
