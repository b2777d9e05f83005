//! What is said of a record that no parser reads: when it happened, which host it names and which addresses, as far as its
//! shape says so. Nothing is guessed beyond that.
//!
//! ```text
//! record ─ syslog header? ─▶ JSON │ CEF │ LEEF │ XML │ key=value │ words ─ fields by their names ─▶ found ─▶ event
//! ```
//!
//! `syslog.rs` takes a header off; `json.rs` and `pairs.rs` go through the fields, `names.rs` says what a field's name means,
//! `time.rs` and `addresses.rs` read values, and `found.rs` keeps the best of each thing and writes the event. Every text in
//! the event stands in the record.
//!
//! Absent: what takes knowledge of a product. That is what parsers are for, and a field that is empty here is a better reason
//! to write one than a field that is wrong.

mod addresses;
mod found;
mod json;
mod names;
mod pairs;
mod syslog;
mod time;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use jiff::Timestamp;

use self::found::Found;
use self::syslog::Header;
use self::time::Written;

/// How much of a record is looked at. What names a record stands at its start, and work stays bounded.
const LOOKED_AT_BYTES_MAX: usize = 64 << 10;

/// How much of a line is looked at for a time in brackets, which stands behind hosts and users.
const BRACKETS_BYTES_MAX: usize = 512;

/// How much of a record is looked at to tell whether it is text.
const CONTROL_BYTES_MAX: usize = 256;

/// Longest name of a program before its message.
const TAG_BYTES_MAX: usize = 64;

/// What is known of a record besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The type it was sent as.
    pub log_type: &'a str,
    /// When it came.
    pub received_at: Timestamp,
    /// When it happened or was sent, as its sender says.
    pub sender_time: Option<Timestamp>,
}

/// What a record says without a parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generic {
    /// A `UDM` of the type `GENERIC_EVENT` in proto3 JSON, keys sorted.
    pub json: String,
    /// The time that stands in the record.
    pub event_time: Option<Timestamp>,
}

/// Reads a record, whatever it is.
pub fn read(log: &[u8], told: &Told<'_>) -> Generic {
    let text = text_of(&log[..log.len().min(LOOKED_AT_BYTES_MAX)]);
    let header = syslog::read(text).unwrap_or_else(|| Header { rest: text, ..Header::default() });
    let body = header.rest.trim();
    let inner = behind_tag(body);
    let start = || {
        let mut found = Found::new(told);
        found.offer_header(header.time, header.host, header.severity);
        pairs::read_parameters(header.data, &mut found);
        found
    };

    let mut found = start();
    if inner.starts_with('{') {
        if json::read(inner, &mut found).is_some() {
            return found.finish();
        }
        // Nothing counts that was read before it turned out to be something else.
        found = start();
    }
    if is_xml(inner) {
        found.offer_text(0, Cow::Borrowed(inner), false);
    } else if pairs::read_cef(body, &mut found).or_else(|| pairs::read_leef(body, &mut found)).is_none() {
        if let Some(written) = line_time(body) {
            found.offer_line_time(written);
        }
        if pairs::read_plain(body, &mut found).is_none() {
            found.offer_text(0, Cow::Borrowed(body), true);
        }
    }
    found.finish()
}

/// The text at the start of a record; empty if it is something else.
fn text_of(log: &[u8]) -> &str {
    let text = match std::str::from_utf8(log) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&log[..error.valid_up_to()]).expect("it is valid up to there"),
    };
    // Some senders end their texts as C does.
    let text = text.trim_end_matches('\0');
    let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b);
    if text.bytes().take(CONTROL_BYTES_MAX).any(control) {
        return "";
    }
    // Further on, a text may hold one by mistake; an event may not.
    let text = text.split('\0').next().unwrap_or_default();
    text.trim_start_matches('\u{feff}').trim()
}

/// What follows the name of a program: `sshd[1]: …`, `@cee: …`. The text itself if it begins with none.
fn behind_tag(text: &str) -> &str {
    match text.split_once(' ') {
        Some((tag, rest)) if is_tag(tag) => rest.trim_start(),
        _ => text,
    }
}

fn is_tag(word: &str) -> bool {
    // The first key of an object ends in a colon, too.
    word.len() <= TAG_BYTES_MAX && word.ends_with(':') && !word.starts_with(['{', '<'])
}

fn is_xml(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('<') else { return false };
    rest.starts_with(|char: char| char.is_ascii_alphabetic() || matches!(char, '?' | '!')) && rest.contains('>')
}

/// The time of a line without fields: at its start, or where web servers write it.
fn line_time(text: &str) -> Option<Written> {
    let near = &text[..text.floor_char_boundary(BRACKETS_BYTES_MAX)];
    time::prefix(near).map(|(written, _)| written).or_else(|| time::in_brackets(near))
}
