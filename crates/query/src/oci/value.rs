//! Single values and what they are compared with: numbers, texts with wildcards, and the one test of a value.
//!
//! A value comes from the bytes of a record (`record.rs`) or from a row of a search (`row.rs`); both hand it over as a
//! [`Scalar`], so that a condition means the same in both. Absent: where values stand.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use memchr::memmem::Finder;
use udm::Instant;

use crate::test::Op;

/// One value, or that a list or object stands there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A text without its escapes; perhaps no UTF-8.
    Text(&'a [u8]),
    /// A list or object stands at the path itself; its values follow one by one.
    Container,
}

/// A number, whole ones exactly.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// Reads what JSON calls a number: no leading zeros, no plus, nothing beside it.
    pub(super) fn parse(text: &str) -> Option<Number> {
        let bytes = text.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(at);
        if whole == 0 || (whole > 1 && bytes[at] == b'0') {
            return None;
        }
        at += whole;
        let mut is_whole = true;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            if fraction == 0 {
                return None;
            }
            at += 1 + fraction;
            is_whole = false;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = if at <= bytes.len() { digits(at) } else { 0 };
            if exponent == 0 {
                return None;
            }
            at += exponent;
            is_whole = false;
        }
        if at != bytes.len() {
            return None;
        }
        if is_whole && let Ok(number) = text.parse::<i128>() {
            return Some(Number::Int(number));
        }
        text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Number::Float)
    }

    /// A float, as a whole number where it is one.
    pub(super) fn from_f64(number: f64) -> Option<Number> {
        if !number.is_finite() {
            return None;
        }
        let is_exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
        Some(if is_exact { Number::Int(number as i128) } else { Number::Float(number) })
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }

    pub(super) fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Int(left), Number::Int(right)) => left.cmp(&right),
            // Neither is ever NaN.
            (left, right) => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
        }
    }

    /// The sum, as a float where it is beyond what whole numbers hold.
    pub(super) fn plus(self, other: Number) -> Number {
        if let (Number::Int(left), Number::Int(right)) = (self, other)
            && let Some(sum) = left.checked_add(right)
        {
            return Number::Int(sum);
        }
        Number::Float((self.as_f64() + other.as_f64()).clamp(f64::MIN, f64::MAX))
    }

    fn equals(self, other: Option<Number>) -> bool {
        other.is_some_and(|other| self.compare(other) == Ordering::Equal)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(number) => write!(f, "{number}"),
            Number::Float(number) => write!(f, "{number:?}"),
        }
    }
}

/// A text as a query writes it, taken apart at its wildcards.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// What stands before, between and behind the wildcards; one part alone is a text without any.
    parts: Vec<String>,
    /// How the parts between the wildcards are found.
    middle: Vec<Finder<'static>>,
    ignore_case: bool,
}

impl Pattern {
    pub(super) fn new(parts: Vec<String>) -> Pattern {
        let parts = if parts.is_empty() { vec![String::new()] } else { parts };
        let inner = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
        let middle = inner.iter().map(|part| Finder::new(part).into_owned()).collect();
        Pattern { parts, middle, ignore_case: false }
    }

    /// A text in which `*` is a star.
    pub(super) fn exact(text: &str) -> Pattern {
        Pattern::new(vec![text.to_owned()])
    }

    /// What matches texts that contain this.
    pub(super) fn within(&self, ignore_case: bool) -> Pattern {
        let fold = |part: &String| if ignore_case { udm::fold(part) } else { part.clone() };
        let mut parts = vec![String::new()];
        parts.extend(self.parts.iter().map(fold).filter(|part| !part.is_empty()));
        parts.push(String::new());
        Pattern { ignore_case, ..Pattern::new(parts) }
    }

    pub(super) fn has_wildcards(&self) -> bool {
        self.parts.len() > 1
    }

    pub(super) fn ignores_case(&self) -> bool {
        self.ignore_case
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The text with its wildcards as stars.
    pub(super) fn plain(&self) -> String {
        self.parts.join("*")
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if !self.ignore_case {
            return self.find(text, |finder, _, text| finder.find(text));
        }
        if self.parts.iter().all(|part| part.is_ascii()) {
            // Folding makes no other character an ASCII one, so bytes can be compared as they stand.
            if self.parts.iter().all(|part| part.len() <= SHORT) {
                return self.find(text, |_, part, text| find_ascii(part, text));
            }
            return self.find(&text.to_ascii_lowercase(), |finder, _, text| finder.find(text));
        }
        self.find(udm::fold(&String::from_utf8_lossy(text)).as_bytes(), |finder, _, text| finder.find(text))
    }

    /// Only [`Pattern::within`] ignores case, and its first and last parts are empty: those two may compare bytes.
    fn find(&self, text: &[u8], find: impl Fn(&Finder<'_>, &[u8], &[u8]) -> Option<usize>) -> bool {
        let (first, last) = (self.parts[0].as_bytes(), self.parts[self.parts.len() - 1].as_bytes());
        if self.parts.len() == 1 {
            return text == first;
        }
        if text.len() < first.len() + last.len() || !text.starts_with(first) || !text.ends_with(last) {
            return false;
        }
        let mut rest = &text[first.len()..text.len() - last.len()];
        for (finder, part) in self.middle.iter().zip(&self.parts[1..]) {
            match find(finder, part.as_bytes(), rest) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// The longest needle that is looked for byte by byte: at worst that takes as many steps for each byte of the text.
const SHORT: usize = 32;

/// Where an ASCII text in lower case stands in any case of letters.
fn find_ascii(needle: &[u8], text: &[u8]) -> Option<usize> {
    let Some(&first) = needle.first() else { return Some(0) };
    let last = text.len().checked_sub(needle.len())?;
    let starts = memchr::memchr2_iter(first, first.to_ascii_uppercase(), &text[..=last]);
    starts.into_iter().find(|&at| text[at..at + needle.len()].eq_ignore_ascii_case(needle))
}

/// The pattern as a query writes it, between single quotes.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str("*")?;
            }
            let mut backslashes = 0;
            for character in part.chars() {
                match character {
                    '\'' => write!(f, "{}''", "\\".repeat(backslashes))?,
                    '*' => write!(f, "{}\\*", "\\".repeat(backslashes))?,
                    other => write!(f, "{other}")?,
                }
                backslashes = if character == '\\' { backslashes + 1 } else { 0 };
            }
            // A wildcard or the quote follows.
            f.write_str(&"\\".repeat(backslashes))?;
        }
        f.write_str("'")
    }
}

/// A text to compare with, and what else it can be read as.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) pattern: Pattern,
    number: Option<Number>,
    instant: Option<Instant>,
}

impl Text {
    pub(super) fn new(pattern: Pattern) -> Text {
        let plain = (!pattern.has_wildcards()).then(|| pattern.plain());
        Text {
            number: plain.as_deref().and_then(Number::parse),
            instant: plain.as_deref().and_then(Instant::parse),
            pattern,
        }
    }

    /// The number that it equals: the one that it spells, or the milliseconds of its time.
    pub(super) fn number(&self) -> Option<Number> {
        self.number.or(self.instant.map(|instant| Number::Int(millis(instant))))
    }
}

/// What a query writes down as a value.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Text(Text),
    Number(Number),
    Bool(bool),
    Null,
}

impl Literal {
    fn equals(&self, value: Scalar<'_>) -> bool {
        match (self, value) {
            (_, Scalar::Null | Scalar::Container) | (Literal::Null, _) => false,
            (Literal::Text(text), Scalar::Text(value)) => text.pattern.matches(value),
            (Literal::Text(text), Scalar::Number(value)) if text.pattern.has_wildcards() => {
                text.pattern.matches(value.as_bytes())
            }
            (Literal::Text(text), Scalar::Number(value)) => {
                text.number().is_some_and(|number| number.equals(Number::parse(value)))
            }
            (Literal::Text(text), Scalar::Bool(value)) => text.pattern.matches(truth_text(value).as_bytes()),
            (Literal::Number(number), Scalar::Number(value)) => number.equals(Number::parse(value)),
            (Literal::Number(number), Scalar::Text(value)) => number.equals(number_in(value)),
            (Literal::Number(_), Scalar::Bool(_)) | (Literal::Bool(_), Scalar::Number(_)) => false,
            (Literal::Bool(truth), Scalar::Bool(value)) => *truth == value,
            (Literal::Bool(truth), Scalar::Text(value)) => value == truth_text(*truth).as_bytes(),
        }
    }

    /// How a value stands to this, where the two can be ordered.
    fn order(&self, value: Scalar<'_>) -> Option<Ordering> {
        match (self, value) {
            (Literal::Number(number), Scalar::Number(value)) => Some(Number::parse(value)?.compare(*number)),
            (Literal::Number(number), Scalar::Text(value)) => Some(number_in(value)?.compare(*number)),
            (Literal::Text(text), Scalar::Number(value)) => Some(Number::parse(value)?.compare(text.number()?)),
            (Literal::Text(text), Scalar::Text(value)) => {
                if let Some(instant) = text.instant
                    && let Some(value) = std::str::from_utf8(value).ok().and_then(Instant::parse)
                {
                    return Some(value.cmp(&instant));
                }
                if let Some(number) = text.number
                    && let Some(value) = number_in(value)
                {
                    return Some(value.compare(number));
                }
                Some(value.cmp(text.pattern.parts[0].as_bytes()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Text(text) => write!(f, "{}", text.pattern),
            Literal::Number(number) => write!(f, "{number}"),
            Literal::Bool(truth) => f.write_str(truth_text(*truth)),
            Literal::Null => f.write_str("null"),
        }
    }
}

pub(super) fn truth_text(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

fn number_in(text: &[u8]) -> Option<Number> {
    // Longer ones than any number that is meant, so that long texts cost nothing.
    if text.len() > 40 {
        return None;
    }
    Number::parse(std::str::from_utf8(text).ok()?)
}

/// What is asked of the values at a path. It holds when it holds for one of them.
#[derive(Debug, Clone)]
pub(super) enum Check {
    Equal(Literal),
    In(Vec<Literal>),
    /// `<`, `<=`, `>` or `>=`.
    Order(Op, Literal),
    /// There is a value other than null.
    Present,
    /// The text, as the query has it, and the pattern that finds it.
    Contains(Pattern, Pattern),
}

impl Check {
    pub(super) fn contains(pattern: &Pattern, ignore_case: bool) -> Check {
        Check::Contains(pattern.clone(), pattern.within(ignore_case))
    }

    pub(super) fn holds(&self, value: Scalar<'_>) -> bool {
        match self {
            Check::Equal(literal) => literal.equals(value),
            Check::In(literals) => literals.iter().any(|literal| literal.equals(value)),
            Check::Order(op, literal) => literal.order(value).is_some_and(|order| match op {
                Op::Lt => order.is_lt(),
                Op::Le => order.is_le(),
                Op::Gt => order.is_gt(),
                Op::Ge => order.is_ge(),
                Op::Eq => order.is_eq(),
                Op::Ne => order.is_ne(),
            }),
            Check::Present => value != Scalar::Null,
            Check::Contains(_, within) => match value {
                Scalar::Text(text) => within.matches(text),
                Scalar::Number(text) => within.matches(text.as_bytes()),
                Scalar::Bool(truth) => within.matches(truth_text(truth).as_bytes()),
                Scalar::Null | Scalar::Container => false,
            },
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn millis(instant: Instant) -> i128 {
    i128::from(instant.secs) * 1_000 + i128::from(instant.nanos / 1_000_000)
}

/// The text of a JSON string, given what stands between its quotes. Half a surrogate pair and what is no escape become
/// U+FFFD.
pub(super) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut out = raw[..first].to_vec();
    let mut at = first;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = raw.get(at).copied();
        at += 1;
        out.push(match escaped {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'u') => {
                let (character, read) = unicode(&raw[at..]);
                at += read;
                let mut buffer = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            _ => {
                out.extend_from_slice("\u{FFFD}".as_bytes());
                continue;
            }
        });
    }
    Cow::Owned(out)
}

/// The character behind `\u`, and how many bytes say it.
fn unicode(bytes: &[u8]) -> (char, usize) {
    let unit = |from: usize| -> Option<u32> {
        let digits = std::str::from_utf8(bytes.get(from..from + 4)?).ok()?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let Some(high) = unit(0) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if (0xD800..0xDC00).contains(&high)
        && bytes.get(4..6) == Some(br"\u")
        && let Some(low) = unit(6).filter(|low| (0xDC00..0xE000).contains(low))
    {
        let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_json_calls_numbers() {
        for (text, expected) in [
            ("0", Some("0")),
            ("-7", Some("-7")),
            ("1696384980", Some("1696384980")),
            ("2.50", Some("2.5")),
            ("1e3", Some("1000.0")),
            ("1E-2", Some("0.01")),
            ("99999999999999999999999999999999999999999", Some("1e41")),
            ("", None),
            ("-", None),
            ("007", None),
            ("+1", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("1e999", None),
            ("0x10", None),
            ("22 ", None),
            ("NaN", None),
        ] {
            let got = Number::parse(text).map(|number| number.to_string());
            assert_eq!(got.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn wildcards_stand_for_any_text() {
        for (parts, text, expected) in [
            (&["abc"][..], "abc", true),
            (&["abc"], "abcd", false),
            (&["ab", ""], "abcd", true),
            (&["", "cd"], "abcd", true),
            (&["ab", "cd"], "abcd", true),
            (&["ab", "bcd"], "abcd", false),
            (&["a", "b", "c"], "aXbYbZc", true),
            (&["a", "b", "c"], "acb", false),
            (&["", ""], "", true),
            (&["", "서울", ""], "지역=서울시", true),
        ] {
            let pattern = Pattern::new(parts.iter().map(|part| (*part).to_owned()).collect());
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn contains_with_and_without_case() {
        for (needle, ignore_case, text, expected) in [
            ("fail", false, "it FAILED", false),
            ("fail", true, "it FAILED", true),
            ("FAIL", true, "it failed", true),
            ("k", true, "\u{212A}", false),
            ("müll", true, "MÜLLER", true),
            ("müll", false, "MÜLLER", false),
            ("", true, "", true),
            ("a needle that is longer than short ones", true, "-- A Needle that is longer than SHORT ones", true),
            ("a needle that is longer than short ones", true, "-- A Needle that is longer than SHORT one", false),
        ] {
            let within = Pattern::exact(needle).within(ignore_case);
            assert_eq!(within.matches(text.as_bytes()), expected, "{needle:?} in {text:?}");
        }
        assert!(Pattern::new(vec!["a".to_owned(), "c".to_owned()]).within(true).matches(b"xxA--Cyy"));
    }

    #[test]
    fn escapes_of_json() {
        for (raw, expected) in [
            ("plain", "plain"),
            (r#"a\"b\\c\/d"#, r#"a"b\c/d"#),
            (r"\n\t\r\b\f", "\n\t\r\u{8}\u{c}"),
            (r"\uc11c\uC6B8", "서울"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d!", "\u{FFFD}!"),
            (r"\ude00", "\u{FFFD}"),
            (r"\u12", "\u{FFFD}12"),
            (r"\q", "\u{FFFD}"),
            ("\\", "\u{FFFD}"),
        ] {
            assert_eq!(String::from_utf8_lossy(&unescape(raw.as_bytes())), expected, "{raw:?}");
        }
    }
}
