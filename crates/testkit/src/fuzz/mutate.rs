//! Changes to inputs: some know nothing but bytes, some know what texts of brackets, quotes and words look like, so
//! that most of what comes out still gets past the first check of a parser.

use std::ops::Range;

use rand::Rng;
use rand::rngs::StdRng;

/// What inputs of a target are made of.
#[derive(Debug, Clone, Copy)]
pub struct Syntax {
    /// Put in whole, or in the place of a token; the first ten more often than the others.
    pub words: &'static [&'static str],
    /// What may stand before and behind a piece, up to hundreds of times.
    pub wraps: &'static [(&'static str, &'static str)],
    /// What may stand between two pieces.
    pub joins: &'static [&'static str],
    /// Numbers and lengths in binary rather than text.
    pub is_binary: bool,
    /// Longest input.
    pub bytes_max: usize,
}

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "127",
    "128",
    "255",
    "256",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "-2147483648",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e1",
    "1E-1",
    "1.0",
    "0.1",
    "1e308",
    "1e309",
    "-1e400",
    "1e-400",
    "1.7976931348623157e308",
    "1551188102187000",
    "0000000001",
    "1.",
    ".5",
    "+1",
    "0x10",
    "340282366920938463463374607431768211456",
    "99999999999999999999999999999999999999999999999999",
    "NaN",
    "Infinity",
];

/// Invalid UTF-8, and characters that programs stumble over.
const ODD_TEXT: &[&[u8]] = &[
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"\\udc00\\ud800",
    b"\\u00e9",
    b"\\x",
    b"\\u12",
    b"\\",
    b"\\\"",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\x7f",
    "\u{e9}".as_bytes(),
    "\u{212a}".as_bytes(),
    "\u{130}".as_bytes(),
    "\u{df}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{2028}".as_bytes(),
    "e\u{301}".as_bytes(),
];

/// Where a search for the end of a piece gives up.
const PIECE_BYTES_MAX: usize = 16 << 10;

impl Syntax {
    /// Changes an input, one to many times; `other` is a second input to borrow from.
    pub fn mutate(&self, random: &mut StdRng, input: &mut Vec<u8>, other: &[u8]) {
        let mut steps = 1;
        while steps < 10 && random.random_bool(0.3) {
            steps += 1;
        }
        for _ in 0..steps {
            let by_bytes = if self.is_binary { 0.75 } else { 0.1 };
            if random.random_bool(by_bytes) {
                change_bytes(random, input, other);
            } else {
                self.change_pieces(random, input, other);
            }
            input.truncate(self.bytes_max);
        }
    }

    fn change_pieces(&self, random: &mut StdRng, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.piece(random, input);
        match random.random_range(0..15) {
            0 => {
                input.drain(at);
            }
            1 | 2 => {
                let times = if random.random_bool(0.95) { 1 } else { random.random_range(2..200) };
                let mut copy = Vec::new();
                for _ in 0..times {
                    copy.extend_from_slice(self.join(random).as_bytes());
                    copy.extend_from_slice(&input[at.clone()]);
                    if copy.len() > self.bytes_max {
                        break;
                    }
                }
                input.splice(at.end..at.end, copy);
            }
            3..=5 => {
                let word = self.word_like(random, &input[at.clone()]);
                input.splice(at, word.bytes());
            }
            6 => {
                let word = self.word(random);
                input.splice(at.start..at.start, word.bytes());
            }
            7 | 8 => {
                let borrowed = other[self.piece(random, other)].to_vec();
                input.splice(at, borrowed);
            }
            9 | 10 => {
                let mut borrowed = self.join(random).as_bytes().to_vec();
                borrowed.extend_from_slice(&other[self.piece(random, other)]);
                input.splice(at.end..at.end, borrowed);
            }
            11 | 12 => {
                if let Some((before, behind)) = pick(random, self.wraps) {
                    let times = if random.random_bool(0.9) { 1 } else { random.random_range(2..300) };
                    input.splice(at.end..at.end, behind.repeat(times).into_bytes());
                    input.splice(at.start..at.start, before.repeat(times).into_bytes());
                }
            }
            13 => {
                let second = self.piece(random, input);
                let (first, second) = if at.start <= second.start { (at, second) } else { (second, at) };
                if first.end <= second.start {
                    let (one, two) = (input[first.clone()].to_vec(), input[second.clone()].to_vec());
                    input.splice(second, one);
                    input.splice(first, two);
                }
            }
            _ => {
                let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                let at = number_near(input, at.start).unwrap_or(at);
                input.splice(at, number.bytes());
            }
        }
    }

    /// A piece that means something: a token, a bracket with all that is in it, an element of a list, what stands
    /// between two joining words, or any range.
    fn piece(&self, random: &mut StdRng, bytes: &[u8]) -> Range<usize> {
        if bytes.is_empty() {
            return 0..0;
        }
        let at = random.random_range(0..bytes.len());
        let found = match random.random_range(0..9) {
            0..3 => Some(token(bytes, at)),
            3..5 => bracket(bytes, at),
            5..8 => self.between_joins(bytes, at).or_else(|| element(bytes, at)),
            _ => None,
        };
        found.unwrap_or_else(|| at..(at + random.random_range(1..=40)).min(bytes.len()))
    }

    /// What stands between the joining words around a place; `None` without such words.
    fn between_joins(&self, bytes: &[u8], at: usize) -> Option<Range<usize>> {
        let words = || self.joins.iter().map(|join| join.as_bytes()).filter(|join| join.len() > 2);
        words().next()?;
        let starts = (0..at).rev().find_map(|start| {
            let word = words().find(|word| bytes[start..].starts_with(word))?;
            Some(start + word.len()).filter(|start| *start <= at)
        });
        let end = (at..bytes.len()).find(|end| words().any(|word| bytes[*end..].starts_with(word)));
        Some(starts.unwrap_or(0)..end.unwrap_or(bytes.len()))
    }

    fn word(&self, random: &mut StdRng) -> &'static str {
        let commonest = if random.random_bool(0.35) { 10 } else { self.words.len() };
        pick(random, &self.words[..commonest.min(self.words.len())]).unwrap_or(" ")
    }

    /// Mostly a word of the same class as what it replaces, so that the whole stays readable.
    fn word_like(&self, random: &mut StdRng, old: &[u8]) -> &'static str {
        let tries = if random.random_bool(0.7) { 12 } else { 0 };
        let words = (0..tries).map(|_| self.word(random)).find(|word| class(word.as_bytes()) == class(old));
        words.unwrap_or_else(|| self.word(random))
    }

    fn join(&self, random: &mut StdRng) -> &'static str {
        pick(random, self.joins).unwrap_or("")
    }
}

fn pick<T: Copy>(random: &mut StdRng, list: &[T]) -> Option<T> {
    (!list.is_empty()).then(|| list[random.random_range(0..list.len())])
}

fn change_bytes(random: &mut StdRng, input: &mut Vec<u8>, other: &[u8]) {
    let len = input.len();
    let at = random.random_range(0..=len);
    if len == 0 {
        input.extend_from_slice(&other[..other.len().min(64)]);
        return;
    }
    let inside = at.min(len - 1);
    match random.random_range(0..14) {
        0 => input[inside] ^= 1 << random.random_range(0..8),
        1 => input[inside] = random.random(),
        2 => input[inside] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'"', b'{', b'}'][random.random_range(0..9)],
        3 => input[inside] = input[inside].wrapping_add(random.random_range(0..5)).wrapping_sub(2),
        4 => {
            // A length or number of 2, 4 or 8 bytes, in either order.
            let width = [2, 4, 8][random.random_range(0..3)];
            if at + width <= len {
                let value: u64 = match random.random_range(0..5) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => u64::MAX >> 1,
                    3 => random.random_range(0..300),
                    _ => 1 << random.random_range(0..64),
                };
                let mut bytes = value.to_le_bytes();
                if random.random_bool(0.3) {
                    bytes[..width].reverse();
                }
                input[at..at + width].copy_from_slice(&bytes[..width]);
            }
        }
        5 => {
            // A varint.
            let long: &[u8] = [&b"\xff\xff\xff\xff\x0f"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x01"]
                [random.random_range(0..3)];
            input.splice(inside..inside + 1, long.iter().copied());
        }
        6 => {
            let until = (at + random.random_range(1..=32)).min(len);
            input.drain(at..until);
        }
        7 => input.truncate(at),
        8 => {
            let until = (at + random.random_range(1..=64)).min(len);
            let copy = input[at..until].to_vec();
            let to = random.random_range(0..=len);
            input.splice(to..to, copy);
        }
        9 => {
            let until = (at + random.random_range(1..=64)).min(len);
            let copy = input[at..until].to_vec();
            let to = random.random_range(0..=len - copy.len());
            input[to..to + copy.len()].copy_from_slice(&copy);
        }
        10 => {
            let odd = ODD_TEXT[random.random_range(0..ODD_TEXT.len())];
            input.splice(at..at, odd.iter().copied());
        }
        11 => {
            // The head of one and the tail of the other.
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        12 => {
            // The same byte in another spelling.
            let byte = input[inside];
            let escape = if random.random_bool(0.5) { format!("%{byte:02x}") } else { format!("\\u{byte:04X}") };
            input.splice(inside..inside + 1, escape.bytes());
        }
        _ => {
            let bytes: Vec<u8> = (0..random.random_range(1..8)).map(|_| random.random()).collect();
            input.splice(at..at, bytes);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Class {
    Value,
    Path,
    Word,
    Sign,
}

fn class(token: &[u8]) -> Class {
    match token.first() {
        Some(b'"' | b'`' | b'/' | b'0'..=b'9') => Class::Value,
        Some(b'a'..=b'z') if token.contains(&b'.') => Class::Path,
        Some(byte) if byte.is_ascii_alphabetic() => Class::Word,
        _ => Class::Sign,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte) || byte >= 0x80
}

/// The quoted text, word or single byte at a place.
fn token(bytes: &[u8], at: usize) -> Range<usize> {
    match bytes[at] {
        quote @ (b'"' | b'`' | b'/') => at..text_end(bytes, at, quote),
        byte if is_word(byte) => {
            let start = bytes[..at].iter().rposition(|byte| !is_word(*byte)).map_or(0, |before| before + 1);
            let end = bytes[at..].iter().position(|byte| !is_word(*byte)).map_or(bytes.len(), |behind| at + behind);
            // Often with the quotes around it.
            if start > 0 && bytes[start - 1] == b'"' && bytes.get(end) == Some(&b'"') {
                start - 1..end + 1
            } else {
                start..end
            }
        }
        _ => at..at + 1,
    }
}

fn text_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The next bracket behind a place, to its end.
fn bracket(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + bytes[at..].iter().position(|byte| b"{[(".contains(byte))?;
    Some(start..walk(bytes, start)?)
}

/// From a comma or opening bracket to the next comma or closing one of the same level.
fn element(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + bytes[at..].iter().position(|byte| b"{[(,&".contains(byte))? + 1;
    let end = walk(bytes, start)?;
    (end > start).then_some(start..end)
}

/// Where what begins at `start` ends: behind the bracket that opens there, or before the comma or closing bracket that
/// does not belong to it.
fn walk(bytes: &[u8], start: usize) -> Option<usize> {
    let opens = bytes.get(start).is_some_and(|byte| b"{[(".contains(byte));
    let mut depth = 0;
    let mut at = start;
    let end = bytes.len().min(start + PIECE_BYTES_MAX);
    while at < end {
        match bytes[at] {
            b'"' => {
                at = text_end(bytes, at, b'"');
                continue;
            }
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' if depth == 0 => return Some(at),
            b'}' | b']' | b')' => {
                depth -= 1;
                if depth == 0 && opens {
                    return Some(at + 1);
                }
            }
            b',' | b'&' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The number at or behind a place.
fn number_near(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
    let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |len| start + len);
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_stands_there() {
        let text = br#"{"a": [1, {"b": "x,}"}], "cd": true}"#;
        let shown = |range: Range<usize>| std::str::from_utf8(&text[range]).unwrap();
        assert_eq!(shown(bracket(text, 0).unwrap()), std::str::from_utf8(text).unwrap());
        assert_eq!(shown(bracket(text, 1).unwrap()), r#"[1, {"b": "x,}"}]"#);
        assert_eq!(shown(bracket(text, 7).unwrap()), r#"{"b": "x,}"}"#);
        assert_eq!(shown(element(text, 0).unwrap()), r#""a": [1, {"b": "x,}"}]"#);
        assert_eq!(shown(element(text, 7).unwrap()), r#" {"b": "x,}"}"#);
        assert_eq!(shown(token(text, 25)), r#""cd""#);
        assert_eq!(shown(token(text, 32)), "true");
        assert_eq!(shown(number_near(text, 0).unwrap()), "1");
    }
}
