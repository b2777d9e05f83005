//! Bytes to JSON values: the elements of one array, or values that stand one after the other (NDJSON). Pure, and holds no
//! more than one value, however long the file is.
//!
//! A value is given as its bytes stood. Whether those are JSON is checked when the value is whole; what stands between
//! values, as it comes.

use serde::de::IgnoredAny;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As it stood.
    pub data: Vec<u8>,
    /// The line that it begins on, counted from 1.
    pub line: u64,
}

/// What is not as it should be. Nothing more is read after one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotJson {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub why: String,
}

/// What may come next where no value is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The very first byte decides between an array and values one after the other.
    Anything,
    /// In an array: its first element or its end.
    ElementOrEnd,
    /// In an array: an element, since a comma came before.
    Element,
    /// In an array: a comma or its end.
    CommaOrEnd,
    /// One value after the other.
    NextValue,
    /// Behind the array.
    Nothing,
}

/// Cuts bytes that come piece by piece into values.
#[derive(Debug)]
pub struct Values {
    bytes_max: usize,
    /// Whether an array is taken apart; otherwise it is a value like any other.
    open_array: bool,
    expected: Expected,
    line: u64,
    /// The value that is being read, and the line it began on.
    begun: Vec<u8>,
    begun_line: u64,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Values {
    /// For values of at most this many bytes. With `open_array`, if the first value is an array, its elements are the
    /// values and nothing may follow it.
    pub fn new(bytes_max: usize, open_array: bool) -> Values {
        let expected = if open_array { Expected::Anything } else { Expected::NextValue };
        Values {
            bytes_max,
            open_array,
            expected,
            line: 1,
            begun: Vec::new(),
            begun_line: 0,
            depth: 0,
            in_text: false,
            escaped: false,
        }
    }

    /// Takes the next bytes; every value that they end goes to `each`.
    pub fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(Value)) -> Result<(), NotJson> {
        for byte in bytes {
            self.byte(*byte, each)?;
            if *byte == b'\n' {
                self.line += 1;
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub fn end(&mut self, each: &mut impl FnMut(Value)) -> Result<(), NotJson> {
        if !self.begun.is_empty() {
            if self.depth > 0 || self.in_text {
                return Err(self.fault(&format!("the value that begins on line {} has no end", self.begun_line)));
            }
            self.finish(each)?;
        }
        match self.expected {
            Expected::ElementOrEnd | Expected::Element | Expected::CommaOrEnd => {
                Err(self.fault("the array has no end"))
            }
            Expected::Anything | Expected::NextValue | Expected::Nothing => Ok(()),
        }
    }

    fn byte(&mut self, byte: u8, each: &mut impl FnMut(Value)) -> Result<(), NotJson> {
        if self.begun.is_empty() {
            return self.between(byte);
        }
        if self.in_text {
            self.keep(byte)?;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_text = false;
                    if self.depth == 0 {
                        self.finish(each)?;
                    }
                }
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => {
                if self.depth == 0 {
                    // A number or word right before it: two values without anything between.
                    self.finish(each)?;
                    return self.between(byte);
                }
                self.in_text = true;
                self.keep(byte)
            }
            b'{' | b'[' if self.depth > 0 => {
                self.depth += 1;
                self.keep(byte)
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.keep(byte)?;
                if self.depth == 0 { self.finish(each) } else { Ok(()) }
            }
            // A number, true, false or null ends where something else begins.
            b'{' | b'[' | b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => {
                self.finish(each)?;
                self.between(byte)
            }
            _ => self.keep(byte),
        }
    }

    fn between(&mut self, byte: u8) -> Result<(), NotJson> {
        use Expected::{Anything, CommaOrEnd, Element, ElementOrEnd, NextValue, Nothing};
        self.expected = match (byte, self.expected) {
            (b' ' | b'\t' | b'\r' | b'\n', expected) => expected,
            // A byte order mark, which some programs write before the text.
            (0xEF | 0xBB | 0xBF, Anything | NextValue) if self.line == 1 => self.expected,
            (b'[', Anything) if self.open_array => ElementOrEnd,
            (b']', ElementOrEnd | CommaOrEnd) => Nothing,
            (b',', CommaOrEnd) => Element,
            (_, CommaOrEnd) => return Err(self.fault("between two elements stands no comma")),
            (_, Nothing) => return Err(self.fault("something follows the end of the array")),
            (b',' | b']' | b'}' | b':', _) => {
                return Err(self.fault(&format!("a value is expected, not {:?}", byte as char)));
            }
            (_, expected) => {
                self.begin(byte);
                match expected {
                    Anything | NextValue => NextValue,
                    ElementOrEnd | Element | CommaOrEnd | Nothing => CommaOrEnd,
                }
            }
        };
        Ok(())
    }

    fn begin(&mut self, byte: u8) {
        self.begun.push(byte);
        self.begun_line = self.line;
        self.in_text = byte == b'"';
        self.depth = usize::from(matches!(byte, b'{' | b'['));
    }

    fn keep(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.begun.len() == self.bytes_max {
            let why = format!("the value is longer than the {} bytes that one may have", self.bytes_max);
            return Err(NotJson { line: self.begun_line, why });
        }
        self.begun.push(byte);
        Ok(())
    }

    fn finish(&mut self, each: &mut impl FnMut(Value)) -> Result<(), NotJson> {
        let value = Value { data: std::mem::take(&mut self.begun), line: self.begun_line };
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&value.data) {
            let line = value.line + (error.line() as u64).saturating_sub(1);
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default().to_owned();
            return Err(NotJson { line, why });
        }
        each(value);
        Ok(())
    }

    fn fault(&self, why: &str) -> NotJson {
        NotJson { line: self.line, why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(pieces: &[&[u8]], open_array: bool) -> Result<Vec<(u64, String)>, (u64, String)> {
        let mut values = Values::new(40, open_array);
        let mut found = Vec::new();
        let mut each = |value: Value| found.push((value.line, String::from_utf8(value.data).expect("text")));
        let read =
            pieces.iter().try_for_each(|piece| values.push(piece, &mut each)).and_then(|()| values.end(&mut each));
        read.map(|()| found).map_err(|fault| (fault.line, fault.why))
    }

    #[test]
    fn elements_and_values_are_given_as_they_stood() {
        let cases: [(&str, bool, &[(u64, &str)]); 13] = [
            ("", true, &[]),
            ("[]", true, &[]),
            (" [ \n ] \n", true, &[]),
            (
                "[1, \"a,]\\\"\" ,{\"b\": [2]},\n[3],null]\n",
                true,
                &[(1, "1"), (1, "\"a,]\\\"\""), (1, "{\"b\": [2]}"), (2, "[3]"), (2, "null")],
            ),
            ("[\n  {\n    \"a\": 1\n  },\n  {}\n]", true, &[(2, "{\n    \"a\": 1\n  }"), (5, "{}")]),
            ("{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}", true, &[(1, "{\"a\":1}"), (2, "{\"a\":2}"), (4, "{\"a\":3}")]),
            ("{\"a\":1}{\"a\":2}", true, &[(1, "{\"a\":1}"), (1, "{\"a\":2}")]),
            ("1 2\ntrue\"x\"", true, &[(1, "1"), (1, "2"), (2, "true"), (2, "\"x\"")]),
            ("\u{feff}{\"a\":1}", true, &[(1, "{\"a\":1}")]),
            // One array is one value where arrays are not taken apart.
            ("[1,2]\n[3]", false, &[(1, "[1,2]"), (2, "[3]")]),
            // Only the first array is taken apart.
            ("{}\n[3]", true, &[(1, "{}"), (2, "[3]")]),
            ("\"é\\u00e9\"", true, &[(1, "\"é\\u00e9\"")]),
            ("[-1.5e3]", true, &[(1, "-1.5e3")]),
        ];
        for (text, open_array, expected) in cases {
            let expected: Vec<(u64, String)> =
                expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(values(&[text.as_bytes()], open_array), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_with_its_line() {
        for (text, line, why) in [
            ("[1 2]", 1, "no comma"),
            ("[1,]", 1, "a value is expected"),
            ("[,1]", 1, "a value is expected"),
            ("[1]\n2", 2, "follows the end"),
            ("[\n1\n", 3, "the array has no end"),
            ("{\"a\":\n\n1", 3, "begins on line 1 has no end"),
            ("\"abc", 1, "has no end"),
            ("\n{\"a\":\n x}", 3, "expected value"),
            ("[2026-11-21] user logged in", 1, "trailing characters"),
            ("nul", 1, "EOF while parsing"),
            ("1,2", 1, "a value is expected"),
            (&format!("[{}]", "1".repeat(41)), 1, "longer than the 40 bytes"),
        ] {
            let fault = values(&[text.as_bytes()], true).expect_err(text);
            assert_eq!(fault.0, line, "{text}: {fault:?}");
            assert!(fault.1.contains(why), "{text}: {fault:?}");
        }
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_makes_no_difference(
            bytes in proptest::collection::vec(
                proptest::sample::select(&b"[]{},:\"\\ \n1aetruefalsn-\xc3\xa9"[..]), 0..50),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut each = |_: Value| {};
            let run = |pieces: &[&[u8]], each: &mut dyn FnMut(Value)| {
                let mut values = Values::new(40, true);
                let mut each = |value| each(value);
                pieces.iter().try_for_each(|piece| values.push(piece, &mut each)).and_then(|()| values.end(&mut each))
            };
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(run(&[&bytes], &mut each), run(&[&bytes[..cut], &bytes[cut..]], &mut each));
            // What passes are JSON values, and an array that passes is one to serde_json too.
            if run(&[&bytes], &mut each).is_ok() && bytes.trim_ascii().first() == Some(&b'[') {
                prop_assert!(serde_json::from_slice::<IgnoredAny>(&bytes).is_ok(), "{:?}", bytes);
            }
        }
    }
}
