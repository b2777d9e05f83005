//! Writes a tree as JSON the way Google's expected files have it: proto3 JSON, keys sorted, nothing between the tokens.
//!
//! Absent: escapes that JSON does not need. Google's files write `&`, `<` and `>` as escapes, which reads the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Moment, Node, Object};
use crate::run::{Failure, Limit};

/// Appends an object to `out`, which may grow to `bytes_max`. Sorts the tree on its way.
pub(super) fn write_object(object: &mut Object<'_>, out: &mut String, bytes_max: usize) -> Result<(), Failure> {
    object.sort();
    out.push('{');
    for at in 0..object.entries().len() {
        let (key, node) = object.entry_mut(at);
        if at > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(node, out, bytes_max)?;
    }
    out.push('}');
    if out.len() > bytes_max { Err(Failure::Limit(Limit::Output)) } else { Ok(()) }
}

fn write(node: &mut Node<'_>, out: &mut String, bytes_max: usize) -> Result<(), Failure> {
    match node {
        Node::Object(object) => return write_object(object, out, bytes_max),
        Node::List(list) => {
            out.push('[');
            for (at, element) in list.iter_mut().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(element, out, bytes_max)?;
            }
            out.push(']');
        }
        Node::Text(text) => write_text(text, out),
        Node::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Node::Int(number) => write_int(*number < 0, number.unsigned_abs(), out),
        Node::Long(number) => {
            out.push('"');
            write_int(*number < 0, number.unsigned_abs(), out);
            out.push('"');
        }
        Node::Ulong(number) => {
            out.push('"');
            write_int(false, *number, out);
            out.push('"');
        }
        Node::Float(number) => write_float(*number, out, |number, out| push_display(out, number)),
        Node::Float32(number) => write_float(f64::from(*number), out, |_, out| push_display(out, number)),
        Node::Bytes(bytes) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        Node::Time(moment) => {
            out.push('"');
            write_moment(*moment, out);
            out.push('"');
        }
        Node::Duration { seconds, nanos } => {
            out.push('"');
            write_int(*seconds < 0 || *nanos < 0, seconds.unsigned_abs(), out);
            write_fraction(nanos.unsigned_abs(), out);
            out.push_str("s\"");
        }
    }
    // One text may be longer than what is left, but no longer than the memory of the run.
    if out.len() > bytes_max { Err(Failure::Limit(Limit::Output)) } else { Ok(()) }
}

/// A time in UTC with none, three, six or nine digits of a fraction, as proto3 JSON has it.
pub(super) fn moment_text(moment: Moment) -> String {
    let mut out = String::with_capacity(30);
    write_moment(moment, &mut out);
    out
}

fn write_moment(moment: Moment, out: &mut String) {
    // Days since 0000-03-01 of the calendar that repeats every 146,097 days, so that leap days end a year.
    let days = moment.seconds.div_euclid(86_400) + 719_468;
    let second = moment.seconds.rem_euclid(86_400);
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_cycle = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    write_digits(year as u32, 4, out);
    for (separator, value) in
        [('-', month), ('-', day_of_month), ('T', second / 3_600), (':', second / 60 % 60), (':', second % 60)]
    {
        out.push(separator);
        write_digits(value as u32, 2, out);
    }
    write_fraction(moment.nanos, out);
    out.push('Z');
}

fn write_fraction(nanos: u32, out: &mut String) {
    if nanos == 0 {
        return;
    }
    out.push('.');
    if nanos.is_multiple_of(1_000_000) {
        write_digits(nanos / 1_000_000, 3, out);
    } else if nanos.is_multiple_of(1_000) {
        write_digits(nanos / 1_000, 6, out);
    } else {
        write_digits(nanos, 9, out);
    }
}

fn write_digits(value: u32, count: u32, out: &mut String) {
    for place in (0..count).rev() {
        out.push(char::from(b'0' + (value / 10u32.pow(place) % 10) as u8));
    }
}

fn write_int(negative: bool, number: u64, out: &mut String) {
    if negative {
        out.push('-');
    }
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

/// Whole numbers without a point, others with as many digits as tell them from their neighbours; very large and very
/// small ones with an exponent.
fn write_float(number: f64, out: &mut String, plain: impl FnOnce(f64, &mut String)) {
    match number {
        _ if number.is_nan() => out.push_str("\"NaN\""),
        f64::INFINITY => out.push_str("\"Infinity\""),
        f64::NEG_INFINITY => out.push_str("\"-Infinity\""),
        _ if number != 0.0 && !(1e-6..1e21).contains(&number.abs()) => push_display(out, format_args!("{number:e}")),
        _ => plain(number, out),
    }
}

fn push_display(out: &mut String, value: impl std::fmt::Display) {
    use std::fmt::Write as _;
    write!(out, "{value}").expect("a String takes everything");
}

/// A text in quotes.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    // Nearly all texts are as they are.
    if any_escaped(text.as_bytes()) {
        write_escaped(text, out);
    } else {
        out.push_str(text);
    }
    out.push('"');
}

/// Whether a byte is among them that [`is_escaped`], eight at a time.
#[inline]
fn any_escaped(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    /// Has the high bit of each byte set that is less than `limit`; limits up to 128.
    fn below(word: u64, limit: u64) -> u64 {
        word.wrapping_sub(ONES * limit) & !word & HIGHS
    }
    // A byte above one that is found may be marked in error: that does not matter to whether any is found.
    let found = |word: u64| {
        below(word, 0x20) | below(word ^ (ONES * u64::from(b'"')), 1) | below(word ^ (ONES * u64::from(b'\\')), 1)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut any = words.iter().fold(0, |any, word| any | found(u64::from_ne_bytes(*word)));
    match bytes.last_chunk::<8>() {
        Some(word) if !rest.is_empty() => any |= found(u64::from_ne_bytes(*word)),
        Some(_) => {}
        None => return rest.iter().any(|byte| is_escaped(*byte)),
    }
    any != 0
}

#[inline]
fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn write_escaped(text: &str, out: &mut String) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !is_escaped(byte) {
            continue;
        }
        out.push_str(&text[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[plain_from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(node: Node<'_>) -> String {
        let mut node = node;
        let mut out = String::new();
        write(&mut node, &mut out, 1 << 20).unwrap();
        out
    }

    #[test]
    fn times_have_none_three_six_or_nine_digits() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_251_199, 500_000_000, "2024-02-29T23:59:59.500Z"),
            (1_735_689_599, 1_000, "2024-12-31T23:59:59.000001Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(moment_text(Moment::new(seconds, nanos).unwrap()), expected);
        }
        assert_eq!(Moment::new(253_402_300_800, 0), None);
    }

    #[test]
    fn scalars() {
        for (node, expected) in [
            (Node::Int(-80), "-80"),
            (Node::Ulong(u64::MAX), "\"18446744073709551615\""),
            (Node::Long(i64::MIN), "\"-9223372036854775808\""),
            (Node::Float(80.0), "80"),
            (Node::Float(0.25), "0.25"),
            (Node::Float(1e300), "1e300"),
            (Node::Float(f64::NAN), "\"NaN\""),
            (Node::Float32(0.1), "0.1"),
            (Node::Bytes(b"\xff\x00"), "\"/wA=\""),
            (Node::Duration { seconds: 1, nanos: 0 }, "\"1s\""),
            (Node::Duration { seconds: -1, nanos: -500_000_000 }, "\"-1.500s\""),
            (Node::Duration { seconds: 0, nanos: -1_000 }, "\"-0.000001s\""),
            (Node::Text("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\u0001é\""),
        ] {
            assert_eq!(written(node), expected);
        }
    }

    #[test]
    fn what_needs_an_escape_is_found_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for byte in 0..128u8 {
                    let mut text = vec![b'~'; length];
                    text[at] = byte;
                    assert_eq!(any_escaped(&text), is_escaped(byte), "{byte} at {at} of {length}");
                }
            }
        }
        assert!(!any_escaped("größer als ÿ, 漢字".as_bytes()));
    }

    #[test]
    fn keys_are_sorted_and_of_equal_ones_the_last_counts() {
        let bump = bumpalo::Bump::new();
        let object = Object::new(&bump, 4);
        for (key, number) in [("b", 1), ("a", 2), ("b", 3), ("c", 4), ("b", 5)] {
            object.push(key, Node::Int(number));
        }
        assert_eq!(written(Node::Object(object)), "{\"a\":2,\"b\":5,\"c\":4}");
    }

    #[test]
    fn output_is_bounded() {
        let bump = bumpalo::Bump::new();
        let mut list = bumpalo::collections::Vec::new_in(&bump);
        list.extend((0..1_000).map(|_| Node::Text("a text that is written a thousand times")));
        let mut out = String::new();
        assert_eq!(
            write(&mut Node::List(list.into_bump_slice_mut()), &mut out, 1_000),
            Err(Failure::Limit(Limit::Output))
        );
        assert!(out.len() < 1_100);
    }
}
