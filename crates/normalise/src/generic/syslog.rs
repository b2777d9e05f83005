//! The header that syslog puts before a record, in its new form (RFC 5424) and the many of its old one (RFC 3164).
//!
//! A host is only found where the form leaves no doubt that the word is one. Lines out of files have no priority; there it
//! takes a time, and the name of a program behind the host.

use super::addresses;
use super::found::is_host;
use super::time::{self, Written};

/// What a header says, and what follows it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Header<'r> {
    /// 0 is worst, 7 is least.
    pub(super) severity: Option<u8>,
    pub(super) time: Option<Written>,
    pub(super) host: Option<&'r str>,
    /// The elements of structured data, as they stand.
    pub(super) data: &'r str,
    pub(super) rest: &'r str,
}

/// Reads a header; `None` if the text begins with none.
pub(super) fn read(text: &str) -> Option<Header<'_>> {
    match priority(text) {
        Some((severity, rest)) => {
            let header = rest.strip_prefix("1 ").and_then(new_form).unwrap_or_else(|| old_form(rest));
            Some(Header { severity: Some(severity), ..header })
        }
        None => out_of_file(text),
    }
}

/// `<134>`: the severity in it, and the rest.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    let digits = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u8 = digits.then(|| number.parse().ok()).flatten()?;
    (number <= 191).then_some((number & 7, rest))
}

/// `TIME HOST PROGRAM PID ID DATA MESSAGE`, where `-` is nothing.
fn new_form(text: &str) -> Option<Header<'_>> {
    let mut words = text.splitn(6, ' ');
    let mut word = || words.next();
    let (time, host) = (word()?, word()?);
    let (_program, _pid, _id, rest) = (word()?, word()?, word()?, word()?);
    let time = match time {
        "-" => None,
        time => Some(time::whole(time)?),
    };
    let data_bytes = structured_data(rest)?;
    let (data, rest) = rest.split_at(data_bytes);
    let rest = rest.trim_start_matches(' ').trim_start_matches('\u{feff}');
    Some(Header { severity: None, time, host: host_of(host), data, rest })
}

/// How long `-` or elements in brackets are; brackets in quotes are text.
fn structured_data(text: &str) -> Option<usize> {
    if text == "-" || text.starts_with("- ") {
        return Some(1);
    }
    let (mut quoted, mut escaped, mut inside) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if inside => quoted = !quoted,
            _ if quoted => {}
            b'[' if !inside => inside = true,
            b']' if inside => inside = false,
            b' ' if !inside => return (at > 0).then_some(at),
            _ if !inside => return None,
            _ => {}
        }
    }
    (!inside).then_some(text.len())
}

/// `Jan  2 03:04:05 HOST …`, with whatever time there is. Cisco puts a number before it, and `*` if the clock is not set.
fn old_form(text: &str) -> Header<'_> {
    let text = text.trim_start();
    let timed = |text| time::prefix(text).map(|(time, length)| (time, length, text));
    let Some((time, length, text)) = timed(text).or_else(|| timed(behind_number(text)?)) else {
        return Header { rest: text, ..Header::default() };
    };
    let rest = &text[length..];
    if let Some(rest) = rest.strip_prefix(':') {
        return Header { time: Some(time), rest: rest.trim_start(), ..Header::default() };
    }
    let rest = rest.trim_start();
    let (host, rest) = match rest.split_once(' ') {
        Some((word, behind)) if host_of(word).is_some() => {
            let behind = behind.trim_start();
            (Some(word), behind.strip_prefix(": ").unwrap_or(behind))
        }
        _ => (None, rest),
    };
    Header { time: Some(time), host, rest, ..Header::default() }
}

fn behind_number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|char: char| char.is_ascii_digit());
    let rest = if rest.len() < text.len() { rest.strip_prefix(':')?.trim_start() } else { rest };
    Some(rest.trim_start_matches(['*', '.']))
}

/// `Jan  2 03:04:05 HOST PROGRAM[1]: …`, as syslog daemons write files.
fn out_of_file(text: &str) -> Option<Header<'_>> {
    let (time, length) = time::prefix(text)?;
    let (host, rest) = text[length..].strip_prefix(' ')?.trim_start().split_once(' ')?;
    let program = rest.split(' ').next()?;
    // Programs write `TIME LEVEL NAME:`, too, but mostly with a year; then only a process number tells a program.
    let syslog_time = text.starts_with(|char: char| char.is_ascii_alphabetic());
    let tagged = program.ends_with("]:")
        || program == "kernel:"
        || program.starts_with("CEF:")
        || program.starts_with("LEEF:")
        || syslog_time && program.len() > 1 && program.ends_with(':');
    let host = host_of(host).filter(|_| tagged)?;
    Some(Header { time: Some(time), host: Some(host), rest, ..Header::default() })
}

fn host_of(word: &str) -> Option<&str> {
    const LEVELS: [&str; 12] =
        ["trace", "debug", "info", "notice", "warn", "warning", "error", "err", "crit", "critical", "fatal", "alert"];
    let level = || LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    (word != "-" && (addresses::single(word).is_some() || is_host(word) && !level())).then_some(word)
}
