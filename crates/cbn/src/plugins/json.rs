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
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build<'_>) -> Option<Json> {
        let source = options.required("source", build)?;
        Some(Json { source: build.target(source), target: options.word("target").map(|word| build.target(word)) })
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let source = place_of(run, &self.source)?;
        let text = text_of(run, &source)?;
        run.step_bytes(text.len())?;
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
