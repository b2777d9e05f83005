//! `kv`: takes a text like `a=1 b="2 3"` apart and sets a field for each key.
//!
//! Rules (contracts/cbn.md §1.5; Google's documentation, "Extract key-value formatted logs"): `field_split` and
//! `value_split` are sets of characters, each of which separates; a separator between double quotes separates nothing, and
//! a backslash before a quote changes nothing about that. Quotes stay part of the value unless `trim_value` takes them
//! away. `whitespace` is lenient unless it is `"strict"`: blanks around keys and values do not count, neither outside nor
//! inside of what is trimmed. A field without a separator of values is passed over, as is one without a key; of equal keys
//! the last counts; keys with dots are nested maps as those of JSON are.

use crate::compile::{Build, Options};
use crate::path::Target;
use crate::plugins::{map_at, place_of, set_dotted, text_of, unescape};
use crate::run::{Failure, Run};
use crate::value::Value;

/// A call of `kv`.
#[derive(Debug)]
pub(crate) struct Kv {
    source: Target,
    target: Option<Target>,
    /// Where fields end, with the quote that may keep them from it.
    field_ends: Set,
    /// Whether the quote is itself a separator and so quotes nothing.
    quote_splits: bool,
    value_split: Set,
    trim_key: Set,
    trim_value: Set,
    lenient: bool,
}

impl Kv {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Kv> {
        let source = options.required("source", build)?;
        let characters = |name: &str, unescaped: &str, default: &str| -> String {
            match options.word(name) {
                Some(word) if word.text.is_empty() => default.to_owned(),
                Some(word) if options.flag(unescaped) => unescape(&word.text),
                Some(word) => word.text.clone(),
                None => default.to_owned(),
            }
        };
        let field_split = characters("field_split", "unescape_field_split", " ");
        Some(Kv {
            source: build.target(source),
            target: options.word("target").map(|word| build.target(word)),
            quote_splits: field_split.contains('"'),
            field_ends: Set::new(&(field_split + "\"")),
            value_split: Set::new(&characters("value_split", "unescape_value_split", "=")),
            trim_key: Set::new(&characters("trim_key", "", "")),
            trim_value: Set::new(&characters("trim_value", "", "")),
            lenient: !options.word("whitespace").is_some_and(|word| word.text.eq_ignore_ascii_case("strict")),
        })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let text = text_of(run, &*place_of(run, &self.source)?)?;
        // One character after the other, some of them more than once.
        run.step_bytes(4 * text.len())?;
        let map = map_at(run, self.target.as_ref())?;
        let mut fields = Fields { kv: self, rest: Some(text), quotes: !self.quote_splits };
        while let Some(field) = fields.next() {
            let Some((at, length)) = self.value_split.find(field) else { continue };
            // A pair is a field of the state, however short it is.
            run.step(1)?;
            let key = self.clean(&field[..at], &self.trim_key);
            if key.is_empty() {
                continue;
            }
            let value = Value::Text(self.clean(&field[at + length..], &self.trim_value));
            if key.as_bytes().contains(&b'.') {
                set_dotted(&run.heap, map, key, value)?;
            } else {
                map.set(&run.heap, run.heap.name(key)?, value)?;
            }
        }
        Ok(())
    }

    fn clean<'t>(&self, part: &'t str, cut: &Set) -> &'t str {
        if self.lenient { cut.trim(part.trim()).trim() } else { cut.trim(part) }
    }
}

/// The fields of a text, one after the other.
struct Fields<'a, 'r> {
    kv: &'a Kv,
    rest: Option<&'r str>,
    /// Whether a quote can still open something. A quote that nothing closes is a character like others.
    quotes: bool,
}

impl<'r> Fields<'_, 'r> {
    fn next(&mut self) -> Option<&'r str> {
        let rest = self.rest?;
        let mut from = 0;
        while let Some((at, length)) = self.kv.field_ends.find(&rest[from..]) {
            let at = from + at;
            let after = at + length;
            if rest.as_bytes()[at] != b'"' || self.kv.quote_splits {
                self.rest = Some(&rest[after..]);
                return Some(&rest[..at]);
            }
            from = after;
            if self.quotes {
                match rest[after..].find('"') {
                    Some(closing) => from = after + closing + 1,
                    None => self.quotes = false,
                }
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// A set of characters.
#[derive(Debug)]
struct Set {
    ascii: Box<[bool; 128]>,
    /// The others, sorted.
    wide: Box<[char]>,
    is_empty: bool,
}

impl Set {
    fn new(characters: &str) -> Set {
        let mut ascii = Box::new([false; 128]);
        for byte in characters.bytes().filter(u8::is_ascii) {
            ascii[usize::from(byte)] = true;
        }
        let mut wide: Vec<char> = characters.chars().filter(|character| !character.is_ascii()).collect();
        wide.sort_unstable();
        wide.dedup();
        let wide = wide.into();
        Set { ascii, wide, is_empty: characters.is_empty() }
    }

    #[inline]
    fn contains(&self, character: char) -> bool {
        match self.ascii.get(character as usize) {
            Some(member) => *member,
            None => self.wide.binary_search(&character).is_ok(),
        }
    }

    /// The first character of the set in a text: where it is, and its length.
    #[inline]
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        if self.wide.is_empty() {
            let at = text.bytes().position(|byte| self.ascii.get(usize::from(byte)) == Some(&true))?;
            return Some((at, 1));
        }
        let (at, found) = text.char_indices().find(|(_, character)| self.contains(*character))?;
        Some((at, found.len_utf8()))
    }

    fn trim<'t>(&self, text: &'t str) -> &'t str {
        if self.is_empty { text } else { text.trim_matches(|character| self.contains(character)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use crate::plugins::tests::{check, run};

    #[test]
    fn pairs() {
        check(
            r#"kv { source => "in" }"#,
            &[
                ("blanks separate fields, = values", "a=1 b=2", Ok(json!({"a": "1", "b": "2"}))),
                ("only the first = separates", "a=1=2 b==", Ok(json!({"a": "1=2", "b": "="}))),
                ("a field without = is passed over", "x a=1 y", Ok(json!({"a": "1"}))),
                ("a field without key, too", "=1 a=2", Ok(json!({"a": "2"}))),
                ("nothing is a value", "a= b=1", Ok(json!({"a": "", "b": "1"}))),
                ("of equal keys the last counts", "a=1 a=2", Ok(json!({"a": "2"}))),
                ("nothing at all is no error", "", Ok(json!({}))),
                ("keys with dots are maps", "a.b=1 a.c=2", Ok(json!({"a": {"b": "1", "c": "2"}}))),
                ("§1.5 between quotes nothing separates", r#"a="1 2" b=3"#, Ok(json!({"a": "\"1 2\"", "b": "3"}))),
                ("wherever they stand", r#"a=x"1 2"y b=3"#, Ok(json!({"a": "x\"1 2\"y", "b": "3"}))),
                ("§1.5 a backslash changes nothing about that", r#"a="1\" b=2"#, Ok(json!({"a": r#""1\""#, "b": "2"}))),
                ("a quote that nothing closes is a character", r#"a=5" b=2"#, Ok(json!({"a": "5\"", "b": "2"}))),
                ("also behind closed ones", r#"a="x y" b=5" c=2"#, Ok(json!({"a": "\"x y\"", "b": "5\"", "c": "2"}))),
            ],
        );
    }

    #[test]
    fn sets_of_characters() {
        check(
            r#"kv { source => "in" field_split => ",;" value_split => "=:" }"#,
            &[
                ("§1.5 each separates", "a=1,b:2;c=3:4", Ok(json!({"a": "1", "b": "2", "c": "3:4"}))),
                ("several in a row, too", "a=1,;,b=2", Ok(json!({"a": "1", "b": "2"}))),
            ],
        );
        check(
            r#"kv { source => "in" field_split => "§|" value_split => "→" }"#,
            &[("beyond ASCII", "ä→1§b→2|c→ü", Ok(json!({"ä": "1", "b": "2", "c": "ü"})))],
        );
        check(
            r#"kv { source => "in" field_split => "\"" }"#,
            &[("a quote that separates quotes nothing", "a=1\"b=2 c=3", Ok(json!({"a": "1", "b": "2 c=3"})))],
        );
        check(
            r#"kv { source => "in" field_split => "" value_split => "" }"#,
            &[("nothing given is as if not given", "a=1 b=2", Ok(json!({"a": "1", "b": "2"})))],
        );
    }

    #[test]
    fn blanks_and_trimming() {
        let text = "a = 1 | b=\" 2 \" |c='3'| d . e =4";
        let table = [
            (
                "lenient is the default",
                r#"field_split => "|""#,
                json!({"a": "1", "b": "\" 2 \"", "c": "'3'", "d ": {" e": "4"}}),
            ),
            (
                "strict keeps blanks",
                r#"field_split => "|" whitespace => "strict""#,
                json!({"a ": " 1 ", " b": "\" 2 \" ", "c": "'3'", " d ": {" e ": "4"}}),
            ),
            (
                "§1.5 trims before and after what is trimmed",
                r#"field_split => "|" trim_value => "\"'""#,
                json!({"a": "1", "b": "2", "c": "3", "d ": {" e": "4"}}),
            ),
            (
                "not if strict",
                r#"field_split => "|" trim_value => "\"'" whitespace => "strict""#,
                json!({"a ": " 1 ", " b": " 2 \" ", "c": "3", " d ": {" e ": "4"}}),
            ),
            ("keys", r#"field_split => "|" trim_key => "ab""#, json!({"c": "'3'", "d ": {" e": "4"}})),
        ];
        for (rule, options, expected) in table {
            assert_eq!(run(&format!(r#"kv {{ source => "in" {options} }}"#), text), Ok(expected), "{rule}");
        }
    }

    #[test]
    fn escapes_and_targets() {
        let text = "a\t1\nb\t2";
        let table = [
            (
                "escapes are read where asked for",
                r#"field_split => "\\n" unescape_field_split => true value_split => "\\t" unescape_value_split => "true""#,
                Ok(json!({"a": "1", "b": "2"})),
            ),
            ("and not else", r#"field_split => "\\n" value_split => "\\t""#, Ok(json!({}))),
            (
                "below a target",
                "field_split => \"\n\" value_split => \"\t\" target => \"x.y\"",
                Ok(json!({"x": {"y": {"a": "1", "b": "2"}}})),
            ),
            ("the target is there without pairs", r#"target => "x""#, Ok(json!({"x": {}}))),
            ("a source that is not set", r#"source => "out""#, Err("source field \"out\": field not set".to_owned())),
        ];
        for (rule, options, expected) in table {
            assert_eq!(run(&format!(r#"kv {{ source => "in" {options} }}"#), text), expected, "{rule}");
        }
    }

    #[test]
    fn hostile_texts_end_soon() {
        let program = r#"kv { source => "in" }"#;
        for text in [
            "\"".repeat(1 << 17),
            "a\" ".repeat(1 << 17),
            "=".repeat(1 << 17),
            " ".repeat(1 << 17),
            "a=1 ".repeat(1 << 17),
        ] {
            assert!(run(program, &text).is_ok());
        }
        assert!(run(program, &format!("{}=1", "a.".repeat(1 << 17))).is_ok(), "a key of too many steps is one key");
        let many: String = (0..400_000).map(|at| format!("{at}= ")).collect();
        assert_eq!(run(program, &many), Err("too much memory".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a=\" .,\\\\\u{e9}]{0,16}", split in "[,=\" \u{e9}]{0,3}", values in "[=:\u{e9}]{0,2}", trim in "[a\u{e9}]{0,2}") {
            let quoted = |text: &str| text.replace('"', "\\\"");
            let program = format!(
                r#"kv {{ source => "in" target => "x" field_split => "{}" value_split => "{}" trim_value => "{}" }}"#,
                quoted(&split), quoted(&values), quoted(&trim),
            );
            prop_assert!(run(&program, &text).is_ok());
        }
    }
}
