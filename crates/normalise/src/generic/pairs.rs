//! Records of pairs: CEF, LEEF, and plain `key=value`.
//!
//! A key is a word right before a `=`; where its value ends depends on the form. In CEF it ends where the next key begins, in
//! LEEF at a delimiter, in plain pairs at a space unless it stands in quotes.

use std::borrow::Cow;
use std::ops::Range;

use super::found::{Found, Product};
use super::names::{Name, Place};

/// Fewer pairs than this are words with a `=` in them.
const PAIRS_MIN: usize = 3;

/// Longest key.
const KEY_BYTES_MAX: usize = 64;

/// What may stand between plain pairs, besides spaces.
const SEPARATORS: [char; 3] = [',', ';', '|'];

/// What may stand right before a plain key: a separator, or a bracket or quote around all pairs.
const BEFORE_KEYS: &[u8] = b",;|([{\"'";

/// How far into a text a `CEF:` may begin: behind the name of a program.
const MARK_AT_MAX: usize = 256;

/// Reads CEF into `found`; `None` if the text is none.
pub(super) fn read_cef<'r>(text: &'r str, found: &mut Found<'r>) -> Option<()> {
    let (fields, extension) = header::<7>(behind_mark(text, "CEF:")?)?;
    let [_version, vendor, name, version, id, title, severity] = fields.map(|field| unescape(field, "\\|"));
    found.set_product(Product { vendor, name, version, event: [id, title] });
    found.offer_severity(&severity);
    read_extension(extension, found);
    Some(())
}

/// Reads LEEF into `found`; `None` if the text is none.
pub(super) fn read_leef<'r>(text: &'r str, found: &mut Found<'r>) -> Option<()> {
    let (fields, rest) = header::<5>(behind_mark(text, "LEEF:")?)?;
    let [_version, vendor, name, version, id] = fields.map(Cow::Borrowed);
    found.set_product(Product { vendor, name, version, event: [id, Cow::Borrowed("")] });
    // Version 2 names its delimiter, and many that say they are 2 do not.
    let (delimiter, attributes) = match rest.split_once('|') {
        Some(("", attributes)) => ('\t', attributes),
        Some((named, attributes)) => delimiter(named).map_or(('\t', rest), |delimiter| (delimiter, attributes)),
        None => ('\t', rest),
    };
    if !attributes.contains(delimiter) {
        // Tabs get lost on the way; spaces are what is left of them.
        read_extension(attributes, found);
        return Some(());
    }
    for attribute in attributes.split(delimiter) {
        if let Some((key, value)) = attribute.split_once('=') {
            offer(key.trim(), Cow::Borrowed(value), found);
        }
    }
    Some(())
}

/// Reads plain pairs into `found`; `None` if there are too few.
pub(super) fn read_plain<'r>(text: &'r str, found: &mut Found<'r>) -> Option<()> {
    if text.bytes().filter(|byte| *byte == b'=').take(PAIRS_MIN).count() < PAIRS_MIN {
        return None;
    }
    let pairs = plain_pairs(text);
    if pairs.len() < PAIRS_MIN {
        return None;
    }
    let words_first = pairs.first().is_some_and(|pair| pair.key_at > 0);
    for pair in pairs {
        offer(pair.key, pair.value, found);
    }
    if words_first {
        // Pairs in a sentence; a message among them still says it better.
        found.offer_text(u8::MAX, Cow::Borrowed(text), true);
    }
    Some(())
}

/// Reads the parameters of syslog's structured data, which are as good as the record's own fields but for those.
pub(super) fn read_parameters<'r>(text: &'r str, found: &mut Found<'r>) {
    for Pair { key, value, .. } in plain_pairs(text) {
        if let (Some((name, fit)), _) = Place::TOP.read(key) {
            found.offer(name, 100 + fit, value);
        }
    }
}

fn offer<'r>(key: &str, value: Cow<'r, str>, found: &mut Found<'r>) {
    if key.eq_ignore_ascii_case("sev") {
        found.offer_severity(&value);
    } else if let (Some((name, fit)), _) = Place::TOP.read(key) {
        found.offer(name, fit, value);
    }
}

/// What stands behind `CEF:` and the like, from the number of its version on.
fn behind_mark<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    let near = &text[..text.floor_char_boundary(MARK_AT_MAX)];
    let at = near.find(mark)?;
    let free = at == 0 || matches!(text.as_bytes()[at - 1], b' ' | b'\t' | b':' | b'"');
    let rest = text[at + mark.len()..].trim_start();
    (free && rest.starts_with(|char: char| char.is_ascii_digit())).then_some(rest)
}

/// The first fields between `|`, of which an escaped one is none, and what follows them.
fn header<const N: usize>(text: &str) -> Option<([&str; N], &str)> {
    let mut fields = [""; N];
    let mut rest = text;
    for (index, field) in fields.iter_mut().enumerate() {
        match pipe(rest) {
            Some(at) => (*field, rest) = (&rest[..at], &rest[at + 1..]),
            // The last field may end the record.
            None if index == N - 1 => (*field, rest) = (rest, ""),
            None => return None,
        }
    }
    Some((fields, rest))
}

fn pipe(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let found = byte == b'|' && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// A LEEF delimiter: a character, or its number as `x5E` or `0x5E`.
fn delimiter(named: &str) -> Option<char> {
    let mut chars = named.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Some(only),
        _ => {
            let hex = named.strip_prefix("0x").or_else(|| named.strip_prefix('x'))?;
            u8::from_str_radix(hex, 16).ok().map(char::from)
        }
    }
}

fn read_extension<'r>(text: &'r str, found: &mut Found<'r>) {
    let mut next = next_key(text, 0, b"");
    while let Some(key) = next {
        next = next_key(text, key.end + 1, b"");
        let value = &text[key.end + 1..next.as_ref().map_or(text.len(), |next| next.start)];
        offer(&text[key], unescape(value.trim(), "\\=|nr"), found);
    }
}

struct Pair<'t> {
    key: &'t str,
    key_at: usize,
    value: Cow<'t, str>,
}

fn plain_pairs(text: &str) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    let mut at = 0;
    // A quote that nothing closes is a character like any other, and so are all that follow.
    let mut unclosed = None;
    while let Some(key) = next_key(text, at, BEFORE_KEYS) {
        let (key_at, start) = (key.start, key.end + 1);
        let key = &text[key];
        let quote = text.as_bytes().get(start).filter(|byte| matches!(byte, b'"' | b'\'')).copied();
        let quoted = quote.filter(|quote| unclosed != Some(*quote)).and_then(|quote| {
            let end = closing(&text[start + 1..], quote);
            unclosed = if end.is_none() { Some(quote) } else { unclosed };
            end
        });
        let value = match quoted {
            Some(end) => {
                at = start + 1 + end + 1;
                unescape(&text[start + 1..start + 1 + end], "\\\"']")
            }
            None if is_message(key) => {
                // Unquoted words, as far as no other key begins.
                at = next_key(text, start, BEFORE_KEYS).map_or(text.len(), |next| next.start);
                Cow::Borrowed(text[start..at].trim().trim_end_matches(SEPARATORS))
            }
            None => {
                at = start + value_end(&text[start..]);
                Cow::Borrowed(text[start..at].trim_end_matches(SEPARATORS))
            }
        };
        pairs.push(Pair { key, key_at, value });
    }
    pairs
}

fn is_message(key: &str) -> bool {
    matches!(Place::TOP.read(key), (Some((Name::Message, _)), _))
}

/// The next key from `from` on: a word before a `=`, at the start, behind a space or one of `before`.
fn next_key(text: &str, from: usize, before: &[u8]) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        let end = at + bytes.get(at..)?.iter().position(|byte| *byte == b'=')?;
        let length = bytes[at..end].iter().rev().take(KEY_BYTES_MAX + 1).take_while(|byte| is_key(**byte)).count();
        let start = end - length;
        let free = || start == 0 || bytes[start - 1].is_ascii_whitespace() || before.contains(&bytes[start - 1]);
        if (1..=KEY_BYTES_MAX).contains(&length) && !bytes[start].is_ascii_digit() && free() {
            return Some(start..end);
        }
        at = end + 1;
    }
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@')
}

/// Where the quoted text at the start ends.
fn closing(text: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let found = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// How long an unquoted value is: to a space, or to a separator with a key right behind it.
fn value_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = |at: usize| {
        let byte = bytes[at];
        if !SEPARATORS.contains(&char::from(byte)) {
            return byte.is_ascii_whitespace();
        }
        let rest = &bytes[at + 1..];
        let length = rest.iter().take(KEY_BYTES_MAX + 1).take_while(|byte| is_key(**byte)).count();
        length > 0 && rest.get(length) == Some(&b'=')
    };
    (0..bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len())
}

/// A text without the backslashes before `escaped` characters; `\n` and `\r` are ends of lines if they are among them.
fn unescape<'t>(text: &'t str, escaped: &str) -> Cow<'t, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let next = chars.as_str().chars().next().filter(|next| char == '\\' && escaped.contains(*next));
        plain.push(match next {
            Some('n') => '\n',
            Some('r') => '\r',
            Some(next) => next,
            None => char,
        });
        if next.is_some() {
            chars.next();
        }
    }
    Cow::Owned(plain)
}
