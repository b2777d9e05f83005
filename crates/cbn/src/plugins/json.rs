//! `json`: reads a field as a JSON document and sets what it says in the state, or below `target`.
//!
//! The reader stands here and not behind serde because the language is Go's at this point: a lone half of a surrogate
//! pair is no error but U+FFFD, numbers are the nearest float64, and the messages are those of `encoding/json`. It builds
//! values straight in the heap, and since the text that it reads lives in the same heap, texts without an escape are not
//! copied at all.
//!
//! Rules (contracts/cbn.md §1.2 and §1.5): keys with dots are expanded to nested maps, `null` is not set, maps are merged
//! with those that are there. `array_function => "split_columns"` makes arrays addressable as `a.0`; here they always are,
//! so the option changes nothing.

use crate::compile::{Build, Options};
use crate::path::Target;
use crate::plugins::{place_of, set_dotted, text_of};
use crate::run::{Failure, Run};
use crate::value::{DEPTH_MAX, Heap, Map, Value};

/// A call of `json`.
#[derive(Debug)]
pub(crate) struct Json {
    source: Target,
    target: Option<Target>,
}

impl Json {
    /// Reads the options.
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Option<Json> {
        let source = options.required("source", build)?;
        Some(Json { source: build.target(source), target: options.word("target").map(|word| build.target(word)) })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let text = text_of(run, &source)?;
        run.step_bytes(text.len())?;
        // Files begin with a byte order mark, which is no part of the document.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = match read(text, &run.heap) {
            Ok(document) => document,
            Err(Stop::Failure(failure)) => return Err(failure),
            Err(Stop::Invalid(fault)) => {
                return Err(run.error(&source.text, || format!("failed to parse JSON: {}", fault.tell(text))));
            }
        };
        let Some(target) = &self.target else { return run.heap.deep_merge(run.root, document) };
        let target = place_of(run, target)?;
        match run.get(&target) {
            Some(Value::Map(there)) => run.heap.deep_merge(there, document),
            _ => run.set(&target, Value::Map(document)),
        }
    }
}

/// Reads a document whose outermost value is an object, as Go does that decodes into a map.
fn read<'r>(text: &'r str, heap: &Heap<'r>) -> Result<&'r Map<'r>, Stop> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, heap, unescaped: String::new() };
    let value = reader.value(0)?;
    reader.skip_blanks();
    if reader.at < text.len() {
        return Err(reader.invalid("after top-level value"));
    }
    let kind = match value {
        Some(Value::Map(map)) => return Ok(map),
        Some(Value::List(_)) => "array",
        Some(Value::Text(_)) => "string",
        Some(Value::Bool(_)) => "bool",
        Some(_) => "number",
        // `null` decodes into a map that holds nothing.
        None => return Ok(heap.map()?),
    };
    Err(Stop::Invalid(Fault::NoObject(kind)))
}

/// Why reading ended early.
#[derive(Debug)]
enum Stop {
    /// The text is no such document.
    Invalid(Fault),
    /// A limit of the run.
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The text ends within a value.
    End,
    /// The character at a place has no business there; the words say where.
    Character(usize, &'static str),
    /// The number in a range of bytes is larger than any float64.
    Number(usize, usize),
    /// Nested deeper than [`DEPTH_MAX`].
    Depth,
    /// A document of this kind has no keys.
    NoObject(&'static str),
}

impl Fault {
    /// In the words of Go's `encoding/json`.
    fn tell(self, text: &str) -> String {
        match self {
            Fault::End => "unexpected end of JSON input".to_owned(),
            Fault::Character(at, place) => match text[text.floor_char_boundary(at)..].chars().next() {
                Some(found) => format!("invalid character {found:?} {place}"),
                None => "unexpected end of JSON input".to_owned(),
            },
            Fault::Number(start, end) => {
                format!("json: cannot unmarshal number {:.40} into Go value of type float64", &text[start..end])
            }
            Fault::Depth => "exceeded max depth".to_owned(),
            Fault::NoObject(kind) => {
                format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
            }
        }
    }
}

struct Reader<'r, 'h> {
    text: &'r str,
    bytes: &'r [u8],
    at: usize,
    heap: &'h Heap<'r>,
    /// Where a text with escapes is put together; kept to be filled again.
    unescaped: String,
}

impl<'r> Reader<'r, '_> {
    /// The fault that the byte here is not what can stand there.
    #[cold]
    fn invalid(&self, place: &'static str) -> Stop {
        Stop::Invalid(if self.at < self.bytes.len() { Fault::Character(self.at, place) } else { Fault::End })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A value; `None` is `null`.
    fn value(&mut self, depth: usize) -> Result<Option<Value<'r>>, Stop> {
        self.skip_blanks();
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Some(Value::Text(self.string()?)))
            }
            Some(b'{') => self.object(depth + 1).map(|map| Some(Value::Map(map))),
            Some(b'[') => self.array(depth + 1).map(Some),
            Some(b'-' | b'0'..=b'9') => self.number().map(Some),
            Some(b't') => self.literal("true", "in literal true").map(|()| Some(Value::Bool(true))),
            Some(b'f') => self.literal("false", "in literal false").map(|()| Some(Value::Bool(false))),
            Some(b'n') => self.literal("null", "in literal null").map(|()| None),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<&'r Map<'r>, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Invalid(Fault::Depth));
        }
        let map = self.heap.map()?;
        // Keys with dots are set when the object is over, so that their order among the others does not matter.
        let mut dotted: Vec<(&'r str, Value<'r>)> = Vec::new();
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(map);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            self.at += 1;
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.invalid("after object key"));
            }
            self.at += 1;
            let value = self.value(depth)?;
            if key.as_bytes().contains(&b'.') {
                if let Some(value) = value {
                    self.heap.charge(size_of::<(&str, Value<'_>)>())?;
                    dotted.push((key, value));
                }
            } else {
                let name = self.heap.name(key)?;
                match value {
                    Some(value) => map.set(self.heap, name, value)?,
                    // The last of several equal keys counts, also when it says nothing.
                    None => {
                        map.remove(name);
                    }
                }
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.invalid("after object key:value pair")),
            }
            self.skip_blanks();
        }
        self.at += 1;
        for (key, value) in dotted {
            set_dotted(self.heap, map, key, value)?;
        }
        Ok(map)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'r>, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Invalid(Fault::Depth));
        }
        let list = self.heap.list()?;
        let mut nulls = 0;
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(list));
        }
        loop {
            match self.value(depth)? {
                Some(value) => {
                    // There is nothing for `null` in a list, but what follows one keeps its index: a text without
                    // content takes its place, which is what programs test fields against that may not be set.
                    for _ in 0..std::mem::take(&mut nulls) {
                        list.push(self.heap, Value::Text(""))?;
                    }
                    list.push(self.heap, value)?;
                }
                None => nulls += 1,
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.invalid("after array element")),
            }
        }
        self.at += 1;
        Ok(Value::List(list))
    }

    fn literal(&mut self, word: &str, place: &'static str) -> Result<(), Stop> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.invalid(place));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value<'r>, Stop> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let digits_start = self.at;
        let mut whole = 0_u64;
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => {
                while let Some(digit @ b'0'..=b'9') = self.peek() {
                    whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                    self.at += 1;
                }
            }
            _ => return Err(self.invalid("in numeric literal")),
        }
        // Up to fifteen digits a whole number is exact in a float.
        let mut exact = self.at - digits_start <= 15;
        if self.peek() == Some(b'.') {
            exact = false;
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            exact = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        if exact {
            let number = whole as f64;
            return Ok(Value::Float(if negative { -number } else { number }));
        }
        let number: f64 = self.text[start..self.at].parse().expect("every number of JSON is one of Rust");
        if number.is_infinite() {
            return Err(Stop::Invalid(Fault::Number(start, self.at)));
        }
        Ok(Value::Float(number))
    }

    /// One digit or more.
    fn digits(&mut self, place: &'static str) -> Result<(), Stop> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.invalid(place));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// What stands between here, behind the opening quote, and the closing one.
    #[inline]
    fn string(&mut self) -> Result<&'r str, Stop> {
        let start = self.at;
        self.skip_plain();
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(&self.text[start..self.at - 1])
            }
            Some(b'\\') => self.string_with_escapes(start),
            _ => Err(self.invalid("in string literal")),
        }
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<&'r str, Stop> {
        self.unescaped.clear();
        let mut start = start;
        loop {
            self.unescaped.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let escaped = self.escape()?;
                    self.unescaped.push(escaped);
                }
                _ => return Err(self.invalid("in string literal")),
            }
            start = self.at;
            self.skip_plain();
        }
        self.at += 1;
        Ok(self.heap.text(&self.unescaped)?)
    }

    /// Goes on to the next quote, backslash or control character, eight bytes at a time.
    #[inline]
    fn skip_plain(&mut self) {
        while let Some(eight) = self.bytes[self.at..].first_chunk::<8>() {
            let found = special_bytes(u64::from_le_bytes(*eight));
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Stop> {
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// What stands behind `\u`. Half a pair of surrogates is U+FFFD, as in Go.
    fn unicode_escape(&mut self) -> Result<char, Stop> {
        let first = self.four_hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.four_hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_hex(&mut self) -> Result<u32, Stop> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.invalid("in \\u hexadecimal character escape")) };
            number = number * 16 + digit;
            self.at += 1;
        }
        Ok(number)
    }
}

/// The highest bit of the lowest byte that is a quote, a backslash or below 0x20 is set, and none below it. (Bits above
/// may be wrong: a borrow runs upwards only.)
#[inline]
fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let zero_in = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes & HIGH;
    let quote = zero_in(eight ^ (ONES * u64::from(b'"')));
    let backslash = zero_in(eight ^ (ONES * u64::from(b'\\')));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight & HIGH;
    quote | backslash | control
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use crate::plugins::tests::{check, run};

    const READ: &str = r#"json { source => "in" }"#;

    #[test]
    fn a_byte_order_mark_before_the_document_does_not_count() {
        use crate::plugins::tests::run;

        let program = r#"json { source => "in" }"#;
        assert_eq!(run(program, "\u{feff}{\"a\": \"b\"}"), Ok(serde_json::json!({"a": "b"})));
        let told = run(program, "\u{feff}\u{feff}{}").expect_err("two are one too many");
        assert!(told.contains("looking for beginning of value"), "{told}");
        let told = run(program, "\u{feff}{é").expect_err("no document");
        assert!(told.contains("invalid character 'é'"), "{told}");
    }

    #[test]
    fn documents() {
        check(
            READ,
            &[
                (
                    "§1.2 every number is a float64",
                    r#"{"a": 1, "b": -0.5, "c": 1e3, "d": 9999999999999999, "e": 0}"#,
                    Ok(json!({"a": 1.0, "b": -0.5, "c": 1000.0, "d": 1e16, "e": 0.0})),
                ),
                (
                    "the nearest float64, however many digits",
                    r#"{"a": 1697040000.123456789, "b": 0.30000000000000004, "c": 123456789012345678901234567890}"#,
                    Ok(
                        json!({"a": 1_697_040_000.123_456_7, "b": 0.300_000_000_000_000_04, "c": 123_456_789_012_345_680_000_000_000_000.0}),
                    ),
                ),
                ("a number too small to tell from nothing is 0", r#"{"a": 1e-400}"#, Ok(json!({"a": 0.0}))),
                ("§1.2 null is not set", r#"{"a": null, "b": {"c": null}}"#, Ok(json!({"b": {}}))),
                ("as much as null is nothing", "null", Ok(json!({}))),
                (
                    "blanks around everything",
                    " \t\r\n{ \"a\" : [ 1 , true , false ] } \n",
                    Ok(json!({"a": [1.0, true, false]})),
                ),
                (
                    "of equal keys the last counts",
                    r#"{"a": {"b": 1}, "a": {"c": 2}, "d": 1, "d": null}"#,
                    Ok(json!({"a": {"c": 2.0}})),
                ),
                (
                    "what follows null in an array keeps its index",
                    r#"{"a": [null, "x", null]}"#,
                    Ok(json!({"a": ["", "x"]})),
                ),
                ("nothing but null in an array is an empty one", r#"{"a": [null]}"#, Ok(json!({"a": []}))),
                (
                    "escapes",
                    r#"{"a\n": "\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00."}"#,
                    Ok(json!({"a\n": "\"\\/\u{8}\u{c}\n\r\tAé😀."})),
                ),
                (
                    "half a pair of surrogates is U+FFFD, as in Go",
                    r#"{"a": "\ud83d", "b": "\ude00\ud83dx", "c": "\ud83d\u0041"}"#,
                    Ok(json!({"a": "\u{fffd}", "b": "\u{fffd}\u{fffd}x", "c": "\u{fffd}A"})),
                ),
                (
                    "texts of all lengths",
                    r#"{"a": "", "b": "1234567", "c": "12345678", "d": "ünï©ödé日本語", "e": "1234567\n"}"#,
                    Ok(json!({"a": "", "b": "1234567", "c": "12345678", "d": "ünï©ödé日本語", "e": "1234567\n"})),
                ),
            ],
        );
    }

    #[test]
    fn keys_with_dots() {
        check(
            READ,
            &[
                (
                    "§1.2 they are expanded to nested maps",
                    r#"{"a.io/x": 1, "b": {"c.d.e": 2}}"#,
                    Ok(json!({"a": {"io/x": 1.0}, "b": {"c": {"d": {"e": 2.0}}}})),
                ),
                ("several share a map", r#"{"a.b": 1, "a.c": 2}"#, Ok(json!({"a": {"b": 1.0, "c": 2.0}}))),
                (
                    "also with one that has no dot, whatever the order",
                    r#"{"a.b": 1, "a": {"c": 2}}"#,
                    Ok(json!({"a": {"b": 1.0, "c": 2.0}})),
                ),
                ("what is no map gives way", r#"{"a.b": 1, "a": "x"}"#, Ok(json!({"a": {"b": 1.0}}))),
                (
                    "maps are joined below, too",
                    r#"{"a.b": {"c": 1}, "a": {"b": {"d": 2}}}"#,
                    Ok(json!({"a": {"b": {"c": 1.0, "d": 2.0}}})),
                ),
                ("dots with nothing between them do not count", r#"{".a..b.": 1}"#, Ok(json!({"a": {"b": 1.0}}))),
                ("nothing but dots is a key", r#"{"..": 1, "": 2}"#, Ok(json!({"..": 1.0, "": 2.0}))),
                ("null", r#"{"a.b": null}"#, Ok(json!({}))),
            ],
        );
    }

    #[test]
    fn what_is_no_document() {
        let at = |text: &'static str| Err(text);
        check(
            READ,
            &[
                ("nothing", "", at("failed to parse JSON: unexpected end of JSON input")),
                ("half", r#"{"a": [1, "#, at("failed to parse JSON: unexpected end of JSON input")),
                ("half a text", r#"{"a"#, at("failed to parse JSON: unexpected end of JSON input")),
                ("half an escape", r#"{"a": "\u00"#, at("failed to parse JSON: unexpected end of JSON input")),
                ("text", "hello", at("failed to parse JSON: invalid character 'h' looking for beginning of value")),
                (
                    "behind the document",
                    "{} x",
                    at("failed to parse JSON: invalid character 'x' after top-level value"),
                ),
                ("two documents", "{}{}", at("failed to parse JSON: invalid character '{' after top-level value")),
                (
                    "no key",
                    "{a: 1}",
                    at("failed to parse JSON: invalid character 'a' looking for beginning of object key string"),
                ),
                (
                    "a comma too many",
                    r#"{"a": 1,}"#,
                    at("failed to parse JSON: invalid character '}' looking for beginning of object key string"),
                ),
                (
                    "a comma too many in an array",
                    r#"{"a": [1,]}"#,
                    at("failed to parse JSON: invalid character ']' looking for beginning of value"),
                ),
                ("no colon", r#"{"a" 1}"#, at("failed to parse JSON: invalid character '1' after object key")),
                (
                    "no comma",
                    r#"{"a": 1 "b": 2}"#,
                    at("failed to parse JSON: invalid character '\"' after object key:value pair"),
                ),
                (
                    "no comma in an array",
                    r#"{"a": [1 2]}"#,
                    at("failed to parse JSON: invalid character '2' after array element"),
                ),
                (
                    "an end of line in a text",
                    "{\"a\": \"x\ny\"}",
                    at("failed to parse JSON: invalid character '\\n' in string literal"),
                ),
                (
                    "no escape",
                    r#"{"a": "\x"}"#,
                    at("failed to parse JSON: invalid character 'x' in string escape code"),
                ),
                (
                    "no digits of an escape",
                    r#"{"a": "\u00g0"}"#,
                    at("failed to parse JSON: invalid character 'g' in \\u hexadecimal character escape"),
                ),
                ("a misspelt word", r#"{"a": nul}"#, at("failed to parse JSON: invalid character '}' in literal null")),
                (
                    "a number with a zero in front",
                    r#"{"a": 01}"#,
                    at("failed to parse JSON: invalid character '1' after object key:value pair"),
                ),
                ("a sign alone", r#"{"a": -}"#, at("failed to parse JSON: invalid character '}' in numeric literal")),
                (
                    "a point alone",
                    r#"{"a": 1.}"#,
                    at("failed to parse JSON: invalid character '}' after decimal point in numeric literal"),
                ),
                (
                    "an exponent alone",
                    r#"{"a": 1e+}"#,
                    at("failed to parse JSON: invalid character '}' in exponent of numeric literal"),
                ),
                ("no ASCII", "é", at("failed to parse JSON: invalid character 'é' looking for beginning of value")),
                (
                    "a number beyond float64",
                    r#"{"a": -1e309}"#,
                    at("failed to parse JSON: json: cannot unmarshal number -1e309 into Go value of type float64"),
                ),
                (
                    "an array has no keys",
                    "[1]",
                    at(
                        "failed to parse JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
                    ),
                ),
                (
                    "a text has no keys",
                    r#""a""#,
                    at(
                        "failed to parse JSON: json: cannot unmarshal string into Go value of type map[string]interface {}",
                    ),
                ),
            ],
        );
    }

    #[test]
    fn sources_and_targets() {
        let table = [
            ("below a target", r#"json { source => "in" target => "a.b" }"#, Ok(json!({"a": {"b": {"x": 1.0}}}))),
            (
                "a target that is a text gives way",
                r#"mutate { replace => { "a" => "" } } json { source => "in" target => "a" }"#,
                Ok(json!({"a": {"x": 1.0}})),
            ),
            (
                "§1.5 a target that is a map is joined",
                r#"mutate { replace => { "a.y" => "2" } } json { source => "in" target => "a" }"#,
                Ok(json!({"a": {"x": 1.0, "y": "2"}})),
            ),
            (
                "the source can be the target",
                r#"json { source => "in" target => "in" }"#,
                Ok(json!({"in": {"x": 1.0}})),
            ),
            (
                "fields in names",
                r#"mutate { replace => { "n" => "in" } } json { source => "%{n}" target => "t.%{n}" }"#,
                Ok(json!({"n": "in", "t": {"in": {"x": 1.0}}})),
            ),
            (
                "split_columns changes nothing: arrays can be indexed anyway",
                r#"json { source => "in" array_function => "split_columns" }"#,
                Ok(json!({"x": 1.0})),
            ),
            (
                "a source that is not set",
                r#"json { source => "out" }"#,
                Err("source field \"out\": field not set".to_owned()),
            ),
            (
                "a source that is no text",
                r#"json { source => "in" target => "in" } json { source => "in" }"#,
                Err("source field \"in\": not a string".to_owned()),
            ),
            ("no source", "json { }", Err("json needs source".to_owned())),
            (
                "§1.4 the flag",
                r#"json { source => "out" on_error => "e" } json { source => "in" on_error => "f" }"#,
                Ok(json!({"e": true, "f": false, "x": 1.0})),
            ),
        ];
        for (rule, program, expected) in table {
            assert_eq!(run(program, r#"{"x": 1}"#), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_there_is_joined() {
        let program = r#"mutate { replace => { "a" => "" "b.c" => "1" "b.d" => "2" "l.0" => "3" "l.2" => "4" } } json { source => "in" }"#;
        check(
            program,
            &[
                (
                    "§1.5 maps key by key, the new value before the old",
                    r#"{"a": "x", "b": {"c": true}}"#,
                    Ok(json!({"a": "x", "b": {"c": true, "d": "2"}, "l": {"0": "3", "2": "4"}})),
                ),
                (
                    "§1.5 arrays into maps by index",
                    r#"{"l": ["x", "y"], "b": "z"}"#,
                    Ok(json!({"a": "", "b": "z", "l": {"0": "x", "1": "y", "2": "4"}})),
                ),
                (
                    "null leaves what is there",
                    r#"{"a": null, "b": null}"#,
                    Ok(json!({"a": "", "b": {"c": "1", "d": "2"}, "l": {"0": "3", "2": "4"}})),
                ),
            ],
        );
    }

    #[test]
    fn hostile_documents_end_soon() {
        let long = "x".repeat(1 << 20);
        let too_deep = Err("failed to parse JSON: exceeded max depth".to_owned());
        for deep in ["[".repeat(500_000), r#"{"a":"#.repeat(100_000), r#"{"a":[{"b":["#.repeat(100_000)] {
            assert_eq!(run(READ, &deep), too_deep);
        }
        let nested = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert!(run(READ, &nested).is_ok(), "as deep as allowed");
        assert_eq!(run(READ, &format!(r#"{{"{long}": "{long}"}}"#)), Ok(json!({ &long: &long })));
        assert!(run(READ, &format!(r#"{{"{}": 1}}"#, "a.".repeat(1 << 20))).is_ok(), "too many steps are one key");
        let digits = "1".repeat(1 << 20);
        assert!(run(READ, &format!(r#"{{"a": {digits}}}"#)).unwrap_err().ends_with("of type float64"));
        assert!(run(READ, &format!(r#"{{"a": 0.{digits}}}"#)).is_ok());
        let same = format!("{{{}\"a\": 2}}", "\"a\": 1, ".repeat(100_000));
        assert_eq!(run(READ, &same), Ok(json!({"a": 2.0})));
        let many: String = (0..50_000).map(|at| format!("\"k{at}\": {at}, ")).collect();
        assert!(run(READ, &format!(r#"{{{many} "a": 1}}"#)).is_ok());
        assert_eq!(
            run(READ, &format!("{{\"a\": [{}{{}}]}}", "{}, ".repeat(300_000))),
            Err("too much memory".to_owned())
        );
    }

    /// Any document without dots in its keys.
    fn any_document() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            proptest::num::f64::NORMAL.prop_map(Json::from),
            ".*".prop_map(Json::from),
        ];
        let value = leaf.prop_recursive(4, 30, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::hash_map("[^.]{0,12}", inner, 0..6).prop_map(|entries| entries.into_iter().collect()),
            ]
        });
        prop::collection::hash_map("[^.]{0,12}", value, 0..6).prop_map(|entries| entries.into_iter().collect())
    }

    /// The state that a document becomes.
    fn state_of(document: &Json) -> Json {
        match document {
            Json::Number(number) => json!(number.as_f64()),
            Json::Array(elements) => {
                let kept = elements.iter().rposition(|element| !element.is_null()).map_or(0, |last| last + 1);
                let states = elements[..kept].iter().map(|element| match element {
                    Json::Null => json!(""),
                    other => state_of(other),
                });
                states.collect()
            }
            Json::Object(entries) => {
                let set = entries.iter().filter(|(_, value)| !value.is_null());
                set.map(|(key, value)| (key.clone(), state_of(value))).collect()
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn every_document_is_read_as_it_was_written(document in any_document(), pretty in any::<bool>()) {
            let text = if pretty { format!("{document:#}") } else { document.to_string() };
            prop_assert_eq!(run(r#"json { source => "in" target => "x" }"#, &text).unwrap()["x"].take(), state_of(&document));
        }

        #[test]
        fn what_serde_refuses_is_refused(document in any_document(), at in any::<prop::sample::Index>(), by in "[ -~]?") {
            let mut text = document.to_string();
            let at = text.floor_char_boundary(at.index(text.len()));
            let end = text.ceil_char_boundary(at + 1);
            text.replace_range(at..end, &by);
            let expected = serde_json::from_str::<Json>(&text).is_ok_and(|read| read.is_object());
            prop_assert_eq!(run(READ, &text).is_ok(), expected, "{}", text);
        }
    }
}
