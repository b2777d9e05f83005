//! A scanner for the JSON of request bodies: one pass, no tree, no recursion, no allocation but one buffer for the
//! strings that have escapes.
//!
//! Why not serde_json: bodies are mostly strings full of `\"`, which serde_json unescapes into one allocation per
//! string, and it gives no spans for objects that must be kept as sent. What is JSON and what is not is decided exactly
//! as serde_json decides it (property-tested), with two differences: nesting deeper than [`limits::JSON_DEPTH_MAX`] is
//! an error, and text that is JSON but not clean (lone surrogates, U+0000, invalid UTF-8) is reported with its string
//! instead of failing the whole body, so that one bad record can be named or set aside.

use std::borrow::Cow;
use std::ops::Range;

use event::limits;

/// Why bytes are no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Offset of the byte that cannot stand there.
    pub(crate) at: usize,
    /// What could have.
    pub(crate) what: &'static str,
}

impl SyntaxError {
    /// The error with its place as a person looks for it.
    pub(crate) fn describe(&self, bytes: &[u8]) -> String {
        let before = &bytes[..self.at.min(bytes.len())];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        let found = match bytes.get(self.at) {
            None => "the end of the body".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("'{}'", *byte as char),
            Some(byte) => format!("byte 0x{byte:02x}"),
        };
        let (at, what) = (self.at, self.what);
        format!("{what}, found {found} at offset {at} (line {line}, column {column})")
    }
}

/// Why a string that is JSON is still no text that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unclean {
    /// `\ud800` to `\udfff` without its other half.
    LoneSurrogate,
    /// U+0000.
    Nul,
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl Unclean {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Unclean::LoneSurrogate => "holds half of a surrogate pair (\\ud800 to \\udfff), which is no character",
            Unclean::Nul => "holds the character U+0000; binary data cannot be sent as text",
            Unclean::NotUtf8 => "is not valid UTF-8",
        }
    }
}

/// What a value begins like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    String,
    Number,
    Object,
    List,
    Bool,
    Null,
}

impl Shape {
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Shape::String => "a string",
            Shape::Number => "a number",
            Shape::Object => "an object",
            Shape::List => "a list",
            Shape::Bool => "true or false",
            Shape::Null => "null",
        }
    }
}

/// Where the text of a string lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the body, as it stands: it has no escapes.
    Body(Range<usize>),
    /// In the scanner's side buffer, unescaped.
    Side(Range<usize>),
}

/// A string that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its unescaped text.
    pub(crate) place: Place,
    /// What stood between its quotes.
    pub(crate) raw: Range<usize>,
    /// The first reason why it is unclean.
    pub(crate) unclean: Option<Unclean>,
}

/// A position in a body.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Unescaped strings, one after the other. Filled up to `side_len`; the rest is room, so that the copying loop may
    /// write whole words.
    side: Vec<u8>,
    side_len: usize,
    /// Whether the whole body is UTF-8: then no string has to be looked at again.
    is_utf8: bool,
    /// The first unclean string that was skipped since it was last taken.
    skipped_unclean: Option<Unclean>,
    /// Whether a number was read that may be out of the range of a double, since this was last taken.
    large_number: bool,
}

const WORD: usize = 8;

/// Numbers of so many bytes without an exponent are in the range of a double, which ends above 10^308.
const IN_RANGE_BYTES: usize = 300;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The offset of the first byte of the word that ends a run of plain characters: `"`, `\` or a control character. Bytes
/// behind that one may be misjudged (borrows run upwards), which is why only the first is told.
#[inline(always)]
fn first_special(word: [u8; WORD]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    let quote = word ^ (LOW * b'"' as u64);
    let quote = quote.wrapping_sub(LOW) & !quote;
    let backslash = word ^ (LOW * b'\\' as u64);
    let backslash = backslash.wrapping_sub(LOW) & !backslash;
    let special = (control | quote | backslash) & HIGH;
    if special == 0 { None } else { Some(special.trailing_zeros() as usize / 8) }
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Scanner<'a> {
        let is_utf8 = std::str::from_utf8(bytes).is_ok();
        Scanner {
            bytes,
            at: 0,
            depth: 0,
            side: Vec::new(),
            side_len: 0,
            is_utf8,
            skipped_unclean: None,
            large_number: false,
        }
    }

    /// The side buffer, when all is read.
    pub(crate) fn into_side(mut self) -> Vec<u8> {
        self.side.truncate(self.side_len);
        self.side
    }

    /// Where the next byte stands that is not yet read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text at a place, lossy only where it is not UTF-8.
    pub(crate) fn text(&self, place: &Place) -> Cow<'_, str> {
        String::from_utf8_lossy(match place {
            Place::Body(range) => &self.bytes[range.clone()],
            Place::Side(range) => &self.side[range.clone()],
        })
    }

    /// What the next value is, by its first byte. White space is skipped.
    pub(crate) fn shape(&mut self) -> Result<Shape, SyntaxError> {
        match self.peek() {
            Some(b'"') => Ok(Shape::String),
            Some(b'{') => Ok(Shape::Object),
            Some(b'[') => Ok(Shape::List),
            Some(b'-' | b'0'..=b'9') => Ok(Shape::Number),
            Some(b't' | b'f') => Ok(Shape::Bool),
            Some(b'n') => Ok(Shape::Null),
            _ => Err(self.error("expected a value")),
        }
    }

    /// Enters an object.
    pub(crate) fn object(&mut self) -> Result<(), SyntaxError> {
        self.expect(b'{', "expected '{'")?;
        self.enter()
    }

    /// The next key of an object that was entered, with its `:`; `None` at its end. `first` tells whether a comma must
    /// come before it.
    pub(crate) fn key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, [u8]>>, SyntaxError> {
        match (self.peek(), *first) {
            (Some(b'}'), _) => {
                self.leave();
                return Ok(None);
            }
            (Some(b','), false) => {
                self.at += 1;
                if self.peek() != Some(b'"') {
                    return Err(self.error("expected a key in double quotes after ','"));
                }
            }
            (Some(b'"'), true) => {}
            (_, true) => return Err(self.error("expected a key in double quotes or '}'")),
            (_, false) => return Err(self.error("expected ',' or '}'")),
        }
        *first = false;
        let text = self.string()?;
        let key = match text.place {
            Place::Body(range) => Cow::Borrowed(&self.bytes[range]),
            Place::Side(range) => Cow::Owned(self.side[range].to_vec()),
        };
        self.skip_space();
        self.expect(b':', "expected ':' after a key")?;
        Ok(Some(key))
    }

    /// Enters a list.
    pub(crate) fn list(&mut self) -> Result<(), SyntaxError> {
        self.expect(b'[', "expected '['")?;
        self.enter()
    }

    /// Whether another item of a list that was entered comes; stands before it then.
    pub(crate) fn item(&mut self, first: &mut bool) -> Result<bool, SyntaxError> {
        match (self.peek(), *first) {
            (Some(b']'), _) => {
                self.leave();
                return Ok(false);
            }
            (Some(b','), false) => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    return Err(self.error("expected a value after ','"));
                }
            }
            (_, true) => {}
            (_, false) => return Err(self.error("expected ',' or ']'")),
        }
        *first = false;
        Ok(true)
    }

    /// Reads a string; white space before it is skipped.
    pub(crate) fn string(&mut self) -> Result<Text, SyntaxError> {
        self.skip_space();
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        self.plain_run();
        let (place, mut unclean) = match self.bytes.get(self.at) {
            Some(b'"') => (Place::Body(start..self.at), None),
            Some(b'\\') => self.unescape(start)?,
            _ => return Err(self.string_error()),
        };
        let raw = start..self.at;
        self.at += 1;
        if !self.is_utf8 && unclean.is_none() && std::str::from_utf8(&self.bytes[raw.clone()]).is_err() {
            unclean = Some(Unclean::NotUtf8);
        }
        Ok(Text { place, raw, unclean })
    }

    /// Reads a number; gives where it stands.
    pub(crate) fn number(&mut self) -> Result<Range<usize>, SyntaxError> {
        self.skip_space();
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => {
                self.at += 1;
                if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
                    return Err(self.error("expected no digit after a leading 0"));
                }
            }
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.large_number = true;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.large_number |= self.at - start > IN_RANGE_BYTES;
        Ok(start..self.at)
    }

    /// Reads a value of any kind without looking into it; gives where it stands. Unclean strings in it, keys included,
    /// are noted for [`Scanner::take_unclean`].
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let outer = self.depth;
        // One bit for each open container, the innermost lowest: 1 for an object. 64 levels fit, and no more are
        // allowed.
        let mut kinds: u64 = 0;
        const _: () = assert!(limits::JSON_DEPTH_MAX <= 64);
        loop {
            // Before a value.
            match self.shape()? {
                Shape::String => self.skip_string()?,
                Shape::Number => {
                    self.number()?;
                }
                Shape::Null => self.word("null")?,
                Shape::Bool => self.word(if self.bytes[self.at] == b't' { "true" } else { "false" })?,
                Shape::Object => {
                    self.object()?;
                    kinds = kinds << 1 | 1;
                    if self.peek() != Some(b'}') {
                        self.skip_key("expected a key in double quotes or '}'")?;
                        continue;
                    }
                }
                Shape::List => {
                    self.list()?;
                    kinds <<= 1;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
            }
            // Behind a value, or at the end of an empty container.
            loop {
                if self.depth == outer {
                    return Ok(start..self.at);
                }
                let is_object = kinds & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        // Only behind a value: an empty container's end was peeked at above.
                        self.at += 1;
                        if is_object {
                            self.skip_key("expected a key in double quotes after ','")?;
                        }
                        break;
                    }
                    Some(b'}') if is_object => self.leave(),
                    Some(b']') if !is_object => self.leave(),
                    _ if is_object => return Err(self.error("expected ',' or '}'")),
                    _ => return Err(self.error("expected ',' or ']'")),
                }
                kinds >>= 1;
            }
        }
    }

    /// Reads `null`.
    pub(crate) fn null(&mut self) -> Result<(), SyntaxError> {
        self.skip_space();
        self.word("null")
    }

    /// Reads `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool, SyntaxError> {
        let is_true = self.peek() == Some(b't');
        self.word(if is_true { "true" } else { "false" })?;
        Ok(is_true)
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("expected nothing after the JSON value")),
        }
    }

    /// What was unclean in the values skipped since this was last asked.
    pub(crate) fn take_unclean(&mut self) -> Option<Unclean> {
        self.skipped_unclean.take()
    }

    /// Whether among the numbers read since this was last asked one may be out of the range of a double, such as `1e400`:
    /// JSON it is, but serde_json and most others refuse it where they need its value.
    pub(crate) fn take_large_number(&mut self) -> bool {
        std::mem::take(&mut self.large_number)
    }

    /// The next byte that is not white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), SyntaxError> {
        self.skip_space();
        if self.bytes.get(self.at) != Some(&byte) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH_MAX {
            // Written out because a 'static text cannot hold the number; the assertion keeps it true.
            const _: () = assert!(limits::JSON_DEPTH_MAX == 64);
            self.at -= 1;
            return Err(self.error("nested deeper than 64 levels"));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn word(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        for (offset, expected) in word.bytes().enumerate() {
            if self.bytes.get(self.at + offset) != Some(&expected) {
                self.at += offset;
                return Err(self.error("expected true, false or null"));
            }
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    /// Moves to the next special byte of a string, or to the end.
    #[inline]
    fn plain_run(&mut self) {
        while let Some(word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<WORD>()) {
            match first_special(*word) {
                None => self.at += WORD,
                Some(offset) => {
                    self.at += offset;
                    return;
                }
            }
        }
        while self.bytes.get(self.at).is_some_and(|byte| !is_special(*byte)) {
            self.at += 1;
        }
    }

    /// Copies a string into the side buffer from its first backslash on; ends at its closing quote.
    fn unescape(&mut self, start: usize) -> Result<(Place, Option<Unclean>), SyntaxError> {
        let bytes = self.bytes;
        if self.side.is_empty() {
            // No text is longer than what it is written as, so all strings from here on fit, and a last whole word.
            self.side = vec![0; bytes.len() - start + WORD];
        }
        let side_start = self.side_len;
        let plain = self.at - start;
        self.side[side_start..side_start + plain].copy_from_slice(&bytes[start..self.at]);
        let mut side_at = side_start + plain;
        let mut at = self.at;
        let mut unclean = None;
        // The closing quote leaves this loop.
        loop {
            while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) {
                self.side[side_at..side_at + WORD].copy_from_slice(word);
                match first_special(*word) {
                    None => {
                        at += WORD;
                        side_at += WORD;
                    }
                    Some(offset) => {
                        at += offset;
                        side_at += offset;
                        // By far the most frequent escape of logs that are JSON; the others take the way below.
                        if let Some(b"\\\"") = bytes.get(at..at + 2) {
                            self.side[side_at] = b'"';
                            at += 2;
                            side_at += 1;
                            continue;
                        }
                        break;
                    }
                }
            }
            // At a special byte, or within the last bytes of the body.
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at = at;
                    let char = self.escape(&mut unclean)?;
                    at = self.at;
                    side_at += char.encode_utf8(&mut self.side[side_at..side_at + 4]).len();
                }
                Some(byte) if !is_special(*byte) => {
                    self.side[side_at] = *byte;
                    at += 1;
                    side_at += 1;
                }
                _ => {
                    self.at = at;
                    return Err(self.string_error());
                }
            }
        }
        self.at = at;
        self.side_len = side_at;
        Ok((Place::Side(side_start..side_at), unclean))
    }

    /// Reads one escape. Half a surrogate pair stands as U+FFFD and is noted.
    fn escape(&mut self, unclean: &mut Option<Unclean>) -> Result<char, SyntaxError> {
        let simple = match self.bytes.get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(unclean),
            _ => {
                self.at += 1;
                return Err(self.error("expected one of \" \\ / b f n r t u after a backslash"));
            }
        };
        self.at += 2;
        Ok(simple)
    }

    fn unicode_escape(&mut self, unclean: &mut Option<Unclean>) -> Result<char, SyntaxError> {
        let first = self.hex4()?;
        if let Some(char) = char::from_u32(first) {
            if first == 0 {
                unclean.get_or_insert(Unclean::Nul);
            }
            return Ok(char);
        }
        // A surrogate: the high half wants the low half right behind it.
        if first < 0xDC00 && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
            let before = self.at;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).expect("two halves make a character above U+FFFF"));
            }
            // What follows is an escape of its own.
            self.at = before;
        }
        unclean.get_or_insert(Unclean::LoneSurrogate);
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// Reads the four digits of the `\u` that stands here.
    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        self.at += 2;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|byte| (*byte as char).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.error("expected four hexadecimal digits after \\u"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn skip_key(&mut self, what: &'static str) -> Result<(), SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(what));
        }
        self.skip_string()?;
        self.expect(b':', "expected ':' after a key")
    }

    /// Reads the string that begins here without keeping it.
    fn skip_string(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        let start = self.at;
        let mut unclean = None;
        loop {
            self.plain_run();
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.escape(&mut unclean)?;
                }
                _ => return Err(self.string_error()),
            }
        }
        if !self.is_utf8 && unclean.is_none() && std::str::from_utf8(&self.bytes[start..self.at]).is_err() {
            unclean = Some(Unclean::NotUtf8);
        }
        self.at += 1;
        self.skipped_unclean = self.skipped_unclean.or(unclean);
        Ok(())
    }

    #[cold]
    fn string_error(&self) -> SyntaxError {
        match self.bytes.get(self.at) {
            None => self.error("expected '\"' to end a string"),
            Some(_) => self.error("expected control characters in a string to be escaped"),
        }
    }

    #[cold]
    fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skip_all(bytes: &[u8]) -> Result<Option<Unclean>, SyntaxError> {
        let mut scanner = Scanner::new(bytes);
        scanner.skip()?;
        scanner.end()?;
        Ok(scanner.take_unclean())
    }

    fn read_string(bytes: &[u8]) -> Result<(String, Option<Unclean>), SyntaxError> {
        let mut scanner = Scanner::new(bytes);
        let text = scanner.string()?;
        scanner.end()?;
        Ok((scanner.text(&text.place).into_owned(), text.unclean))
    }

    #[test]
    fn errors_say_where() {
        let check = |text: &str, expected: &str| {
            let error = skip_all(text.as_bytes()).unwrap_err().describe(text.as_bytes());
            assert_eq!(error, expected, "{text}");
        };
        check("", "expected a value, found the end of the body at offset 0 (line 1, column 1)");
        check("{\n \"a\": 1\n \"b\": 2}", "expected ',' or '}', found '\"' at offset 11 (line 3, column 2)");
        check("[1, 2];", "expected nothing after the JSON value, found ';' at offset 6 (line 1, column 7)");
        check("[1,]", "expected a value, found ']' at offset 3 (line 1, column 4)");
        check("{\"a\":1,}", "expected a key in double quotes after ',', found '}' at offset 7 (line 1, column 8)");
        check("{\"a\" 1}", "expected ':' after a key, found '1' at offset 5 (line 1, column 6)");
        check("[1}", "expected ',' or ']', found '}' at offset 2 (line 1, column 3)");
        check(
            "\"a\nb\"",
            "expected control characters in a string to be escaped, found byte 0x0a at offset 2 (line 1, column 3)",
        );
        check("\"abc", "expected '\"' to end a string, found the end of the body at offset 4 (line 1, column 5)");
        check(
            r#""\x""#,
            "expected one of \" \\ / b f n r t u after a backslash, found 'x' at offset 2 (line 1, column 3)",
        );
        check("01", "expected no digit after a leading 0, found '1' at offset 1 (line 1, column 2)");
        check("nul", "expected true, false or null, found the end of the body at offset 3 (line 1, column 4)");
    }

    #[test]
    fn depth_is_limited_without_recursion() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(skip_all(&nested(64)), Ok(None));
        assert_eq!(skip_all(&nested(65)).unwrap_err().what, "nested deeper than 64 levels");
        assert_eq!(skip_all(&nested(1_000_000)).unwrap_err().at, 64);
        let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
        assert_eq!(skip_all(objects.as_bytes()).unwrap_err().what, "nested deeper than 64 levels");
    }

    #[test]
    fn unclean_text_is_named() {
        let check = |bytes: &[u8], expected: (&str, Option<Unclean>)| {
            let (text, unclean) = read_string(bytes).unwrap();
            assert_eq!((text.as_str(), unclean), expected, "{}", bytes.escape_ascii());
            assert_eq!(skip_all(bytes), Ok(expected.1), "{}", bytes.escape_ascii());
        };
        check(br#""\ud83d\ude00 x""#, ("😀 x", None));
        check(br#""\ud800""#, ("\u{fffd}", Some(Unclean::LoneSurrogate)));
        check(br#""\udc00\ud83d""#, ("\u{fffd}\u{fffd}", Some(Unclean::LoneSurrogate)));
        check(br#""\ud800\u0041bcdefghi""#, ("\u{fffd}Abcdefghi", Some(Unclean::LoneSurrogate)));
        check(br#""\ud83d\ud83d\ude00""#, ("\u{fffd}😀", Some(Unclean::LoneSurrogate)));
        check(br#""a\u0000b""#, ("a\0b", Some(Unclean::Nul)));
        check(b"\"a\xffb\"", ("a\u{fffd}b", Some(Unclean::NotUtf8)));
        check(b"\"\\n\xc3(\"", ("\n\u{fffd}(", Some(Unclean::NotUtf8)));
    }

    /// Text with the bytes that matter, much more often than chance would have them.
    fn json_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => "[a-z ]{0,20}".prop_map(String::into_bytes),
            4 => prop::sample::select(vec![
                "\"", "\\\"", "\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\u12", "{", "}", "[", "]", ",", ":",
                "\"a\":", "1", "-0.5e+3", "01", "1.", "true", "false", "null", "nul", " ", "\n", "\t", "é", "😀", "\u{7f}",
                "\\/", "\\x", "\u{1}", "\"key\": \"value\"", "[1,2]", "{}", "[]", "{\"a\":[]}",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            "(\\PC|[\\x01-\\x1f\"\\\\]){0,30}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::vec(("(\\PC|\"){0,9}", inner), 0..6)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// serde_json's verdict, as far as ours is meant to be the same: it refuses invalid UTF-8 only where it makes text.
    fn serde_says(bytes: &[u8]) -> bool {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn strings_are_unescaped_as_serde_json_does(inner in json_like()) {
            let quoted = [b"\"", inner.as_slice(), b"\""].concat();
            match (read_string(&quoted), serde_json::from_slice::<String>(&quoted)) {
                (Ok((text, None)), theirs) => prop_assert_eq!(text, theirs.unwrap()),
                // U+0000 is text to serde_json.
                (Ok((text, Some(Unclean::Nul))), Ok(theirs)) => prop_assert_eq!(text, theirs),
                (Ok((_, Some(_))), theirs) => prop_assert!(theirs.is_err()),
                (Err(_), theirs) => prop_assert!(theirs.is_err()),
            }
        }

        #[test]
        fn what_is_json_is_what_serde_json_says(bytes in json_like()) {
            prop_assert_eq!(skip_all(&bytes).is_ok(), serde_says(&bytes), "{}", bytes.escape_ascii());
        }

        #[test]
        fn whole_values_are_read(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            prop_assert!(skip_all(&text).is_ok());
            // A cut anywhere is an error, except within the digits of a lone number.
            if !value.is_number() {
                for end in 0..text.len() {
                    prop_assert!(skip_all(&text[..end]).is_err(), "{}", text[..end].escape_ascii());
                }
            }
        }

        #[test]
        fn a_changed_byte_is_judged_as_serde_json_does(
            value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut text = serde_json::to_vec(&value).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            prop_assert_eq!(skip_all(&text).is_ok(), serde_says(&text), "{}", text.escape_ascii());
        }
    }
}
