//! What there is to see in a text: each of the shapes that log formats share, taken apart once.
//!
//! Parsers here want just enough to tell a shape. They stop at the first thing that does not fit, and every one of them
//! looks at each byte a bounded number of times.

use super::json::{self, Field};

/// Most pairs that are kept.
const PAIRS_MAX: usize = 512;

/// How far into a text the beginning of JSON, CEF, LEEF or a Cisco message may stand: behind a header at the most.
const HEAD_BYTES_MAX: usize = 300;

/// A text, taken apart.
#[derive(Debug, Default)]
pub(super) struct View<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// Whether it begins with a syslog header.
    pub(super) is_syslog: bool,
    /// The program that the header names.
    pub(super) program: Option<&'a str>,
    /// The first line behind the header.
    pub(super) line: &'a str,
    /// The fields of its JSON.
    pub(super) fields: Vec<Field<'a>>,
    /// Its `key=value` and `key:"value"` pairs; none of JSON and XML.
    pub(super) pairs: Vec<(&'a str, &'a str)>,
    /// Vendor and product of a CEF header.
    pub(super) cef: Option<(&'a str, &'a str)>,
    /// Vendor and product of a LEEF header.
    pub(super) leef: Option<(&'a str, &'a str)>,
    /// The facility of a Cisco message: `ASA` of `%ASA-6-302013:`.
    pub(super) facility: Option<&'a str>,
    /// Provider (source) and channel (log) of a Windows event in any of its forms.
    pub(super) provider: Option<&'a str>,
    pub(super) channel: Option<&'a str>,
    /// The line as an access log of a web server.
    pub(super) access: Option<Access>,
    /// The line cut at white space.
    pub(super) words: Vec<&'a str>,
    /// The line cut at commas outside of quotes.
    pub(super) cells: Vec<&'a str>,
}

/// Which fields an access log line has beyond `host ident user [time] "request" status bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Access {
    /// A virtual host before the client.
    pub(super) has_vhost: bool,
    /// Texts in quotes after the bytes: two of the combined format.
    pub(super) quoted: usize,
}

impl<'a> View<'a> {
    pub(super) fn of(text: &'a str) -> View<'a> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
        let header = syslog(text);
        let body = header.body.trim_start();
        let line = body.lines().next().unwrap_or_default();
        let mut view = View { text, is_syslog: header.is_one, program: header.program, line, ..View::default() };
        if let Some(json) = json_of(body) {
            view.fields = json::fields(json);
            (view.provider, view.channel) = windows_of_fields(&view.fields);
            return view;
        }
        if body.starts_with('<') {
            view.provider = between(body, "<Provider Name=", 1, &["'", "\""]);
            view.channel = between(body, "<Channel>", 0, &["<"]);
            return view;
        }
        let head = first(line, HEAD_BYTES_MAX);
        view.cef =
            ["CEF:0|", "CEF:1|"].iter().find_map(|start| vendor_and_product(line, head.find(start)? + start.len()));
        view.leef = ["LEEF:1.0|", "LEEF:2.0|"]
            .iter()
            .find_map(|start| vendor_and_product(line, head.find(start)? + start.len()));
        view.facility = facility(line, header.is_one);
        (view.provider, view.channel) = windows_of_text(body);
        view.access = access(line);
        view.words = line.split_ascii_whitespace().take(32).collect();
        view.cells = cells(line);
        view.pairs = pairs(body);
        view
    }
}

/// At most so many bytes of a text.
fn first(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

struct Header<'a> {
    is_one: bool,
    program: Option<&'a str>,
    body: &'a str,
}

/// Cuts off a syslog header of RFC 5424, of RFC 3164, or of the many that are nearly so.
fn syslog(text: &str) -> Header<'_> {
    let (has_priority, rest) = match priority(text) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if let Some(header) = rest.strip_prefix("1 ").and_then(rfc5424) {
        return header;
    }
    let Some(rest) = timestamp(rest.trim_start_matches([':', '*', ' '])) else {
        // A header of which only the program is left.
        return match tag(rest) {
            Some((program, body)) if rest[program.len()..].starts_with('[') => {
                Header { is_one: has_priority, program: Some(program), body }
            }
            _ => Header { is_one: has_priority, program: None, body: rest },
        };
    };
    let mut rest = rest.trim_start();
    // `UTC:` and the like.
    for zone in ["UTC:", "GMT:", "CET:", "EST:", ":"] {
        rest = rest.strip_prefix(zone).unwrap_or(rest).trim_start();
    }
    // A host, unless the program comes at once.
    if tag(rest).is_none()
        && let Some((host, after)) = rest.split_once(' ')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
    {
        rest = after.trim_start().strip_prefix(": ").unwrap_or(after.trim_start());
    }
    match tag(rest) {
        Some((program, body)) => Header { is_one: true, program: Some(program), body },
        None => Header { is_one: true, program: None, body: rest },
    }
}

/// What follows `<134>`.
fn priority(text: &str) -> Option<&str> {
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    ((1..=3).contains(&digits.len()) && is_digits(digits)).then_some(rest)
}

/// What follows the version: time, host, program, process, message id, and structured data, which stays in the body.
fn rfc5424(text: &str) -> Option<Header<'_>> {
    let mut rest = text;
    let mut parts = [""; 5];
    for part in &mut parts {
        (*part, rest) = rest.split_once(' ')?;
    }
    let [time, _, program, _, id] = parts;
    if time != "-" && !is_iso_time(time) {
        return None;
    }
    // One that leaves out the message id.
    let body = match id.starts_with('[') {
        true => &text[text.len() - rest.len() - id.len() - 1..],
        false => rest.strip_prefix("- ").unwrap_or(rest),
    };
    Some(Header { is_one: true, program: (program != "-").then_some(program), body })
}

/// What follows the time of a header: `Nov 21 20:15:00`, with a year after the day or none, or RFC 3339.
fn timestamp(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once(' ')?;
    if is_iso_time(word) {
        return Some(rest);
    }
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    if !MONTHS.contains(&word) {
        return None;
    }
    let (day, mut rest) = rest.trim_start().split_once(' ')?;
    if !is_digits(day) || day.len() > 2 {
        return None;
    }
    if let Some((year, after)) = rest.split_once(' ')
        && year.len() == 4
        && is_digits(year)
    {
        rest = after;
    }
    let time = rest.split([' ', '\t']).next()?;
    let clock = time.trim_end_matches(':');
    let is_clock = clock.len() >= 8
        && clock.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte))
        && clock.matches(':').count() == 2;
    is_clock.then(|| &rest[time.len()..])
}

fn is_iso_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 19 && is_digits(&word[..word.floor_char_boundary(4)]) && bytes[4] == b'-' && bytes[10] == b'T'
}

/// `program[77]: ` or `program: ` at the start, and what follows.
fn tag(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let word = word.strip_suffix(':')?;
    let name = match word.strip_suffix(']') {
        Some(word) => word.split_once('[')?.0,
        None => word,
    };
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./()".contains(&byte))
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_name.then_some((name, rest))
}

/// Where JSON begins, if it does: at the start, or within its first bytes behind a word of a shipper.
fn json_of(body: &str) -> Option<&str> {
    let opens = |text: &str| {
        let inner = text.trim_start_matches(['[', ' ', '\n', '\r', '\t']);
        inner.strip_prefix('{').is_some_and(|inner| inner.trim_start().starts_with('"'))
    };
    if opens(body) {
        return Some(body);
    }
    let head = first(body, HEAD_BYTES_MAX);
    // A few tries: each looks past white space that may be long.
    head.match_indices('{').take(4).map(|(at, _)| &body[at..]).find(|text| opens(first(text, HEAD_BYTES_MAX)))
}

fn vendor_and_product(line: &str, at: usize) -> Option<(&str, &str)> {
    let mut parts = line[at..].split('|');
    let (vendor, product) = (parts.next()?, parts.next()?);
    parts.next().map(|_| (vendor, product))
}

/// The facility of `%FACILITY-5-MNEMONIC:` or `%FACILITY-word-5-MNEMONIC:`, at the start, behind a header, or behind the
/// sender's own number and clock.
fn facility(line: &str, is_syslog: bool) -> Option<&str> {
    let head = first(line, HEAD_BYTES_MAX);
    let start = head.find('%')? + 1;
    let has_clock = || {
        let before = &head[..start - 1];
        before.ends_with(": ") && before.split(' ').any(|word| word.matches(':').count() >= 2 && word.len() >= 8)
    };
    if start > 1 && !is_syslog && !has_clock() {
        return None;
    }
    let message = head[start..].split(' ').next()?;
    let parts: Vec<&str> = message.trim_end_matches(':').split('-').collect();
    let (facility, last) = (parts.first()?, parts.last()?);
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let severity = parts.get(parts.len().checked_sub(2)?)?;
    ((3..=5).contains(&parts.len()) && is_name(facility) && is_name(last) && severity.len() == 1 && is_digits(severity))
        .then_some(*facility)
}

fn windows_of_fields<'a>(fields: &[Field<'a>]) -> (Option<&'a str>, Option<&'a str>) {
    let find = |paths: &[&str]| {
        let is_one = |field: &&Field<'_>| !field.value.is_empty() && paths.iter().any(|path| field.is_at(path));
        fields.iter().find(is_one).map(|field| field.value)
    };
    (
        find(&["SourceName", "ProviderName", "winlog.provider_name", "System.Provider.Name", "System.Provider.@Name"]),
        find(&["Channel", "winlog.channel", "LogName"]),
    )
}

/// Events as Snare writes them, and as Splunk's forwarder does.
fn windows_of_text(body: &str) -> (Option<&str>, Option<&str>) {
    if body.starts_with("MSWinEventLog\t") {
        let mut tabs = body.split('\t');
        let channel = tabs.nth(2);
        return (tabs.nth(3), channel);
    }
    let line = |start: &str| body.lines().take(40).find_map(|line| line.strip_prefix(start)).map(str::trim);
    (line("SourceName="), line("LogName="))
}

/// The text behind `start` and `skip` more bytes, up to any of `ends`.
fn between<'a>(text: &'a str, start: &str, skip: usize, ends: &[&str]) -> Option<&'a str> {
    let rest = text.get(text.find(start)? + start.len() + skip..)?;
    let end = ends.iter().filter_map(|end| rest.find(end)).min()?;
    Some(&rest[..end])
}

fn access(line: &str) -> Option<Access> {
    let (before, after) = line.split_once(" [")?;
    let (time, after) = after.split_once("] \"")?;
    let words: Vec<&str> = before.split(' ').collect();
    let has_vhost = words.len() == 4;
    if !(3..=4).contains(&words.len()) || !(20..=32).contains(&time.len()) || time.as_bytes()[2] != b'/' {
        return None;
    }
    let (_, after) = after.split_once("\" ")?;
    let mut words = after.split(' ');
    let (status, bytes) = (words.next()?, words.next()?);
    if status.len() != 3 || !is_digits(status) || (bytes != "-" && !is_digits(bytes)) {
        return None;
    }
    Some(Access { has_vhost, quoted: after.matches('"').count() / 2 })
}

/// The line cut at commas, without the quotes of cells that have them.
fn cells(line: &str) -> Vec<&str> {
    let mut cells = Vec::new();
    let (mut start, mut is_quoted) = (0, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                cells.push(line[start..at].trim().trim_matches('"'));
                start = at + 1;
            }
            _ => {}
        }
        if cells.len() == 32 {
            return cells;
        }
    }
    cells.push(line[start..].trim().trim_matches('"'));
    cells
}

fn pairs(text: &str) -> Vec<(&str, &str)> {
    let bytes = text.as_bytes();
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let mut pairs = Vec::new();
    let mut at = 0;
    while at < bytes.len() && pairs.len() < PAIRS_MAX {
        let start = at;
        while bytes.get(at).is_some_and(is_key) {
            at += 1;
        }
        let key = start..at;
        let value = match bytes.get(at..) {
            Some([b'=', b'"', ..]) | Some([b':', b'"', ..]) => at + 2,
            Some([b'=', ..]) => at + 1,
            _ => {
                // No pair: on to what may be the next key.
                at = (at + 1).max(start + 1);
                continue;
            }
        };
        let is_quoted = value == at + 2;
        let ends = |byte: &u8| match is_quoted {
            true => *byte == b'"',
            false => byte.is_ascii_whitespace() || b",;|)]".contains(byte),
        };
        let end = value + bytes[value..].iter().position(ends).unwrap_or(bytes.len() - value);
        if !key.is_empty() {
            pairs.push((&text[key], &text[value..end]));
        }
        at = end + usize::from(end < bytes.len() && bytes[end].is_ascii());
    }
    pairs
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_headers() {
        for (text, is_one, program, body) in [
            ("<86>Nov 21 20:15:00 srv1 sshd[4120]: Accepted", true, Some("sshd"), "Accepted"),
            ("Nov  1 20:15:00 srv1 sudo:     joe : TTY=x", true, Some("sudo"), "    joe : TTY=x"),
            ("<134>Nov 22 08:00:00 filterlog[11]: 4,,,1", true, Some("filterlog"), "4,,,1"),
            ("<14>Nov 21 20:15:00 pa-220 1,2026/11/21", true, None, "1,2026/11/21"),
            ("<166>Nov 21 2026 20:15:00 asa01 : %ASA-6-302013: B", true, None, "%ASA-6-302013: B"),
            ("<166>Nov 21 2026 20:15:00: %ASA-4-1: B", true, None, "%ASA-4-1: B"),
            ("<165>:Nov 21 20:15:04 UTC: %ASA-5-1: U", true, None, "%ASA-5-1: U"),
            ("2026-11-21T20:15:05.1+01:00 srv3 systemd[1]: Started", true, Some("systemd"), "Started"),
            ("<85>1 2026-11-21T20:18:05Z srv4 su 7712 - - pam", true, Some("su"), "pam"),
            ("<14>1 2026-11-21T20:15:04Z p - - - - 1,2", true, None, "1,2"),
            (
                "<134>1 2026-11-21T20:15:00Z gw1 CheckPoint 1 - [action:\"A\"] x",
                true,
                Some("CheckPoint"),
                "[action:\"A\"] x",
            ),
            (
                "<134>1 2026-11-21T20:15:00Z gw1 CheckPoint 1 [action:\"A\"] x",
                true,
                Some("CheckPoint"),
                "[action:\"A\"] x",
            ),
            ("<134>1 1795420800.1 mx67 flows src=1", true, None, "1 1795420800.1 mx67 flows src=1"),
            ("<189>date=2026-11-21", true, None, "date=2026-11-21"),
            ("sshd[77]: Accepted", false, Some("sshd"), "Accepted"),
            ("note: this is text", false, None, "note: this is text"),
            ("Dear Joe, thanks", false, None, "Dear Joe, thanks"),
            ("May I ask a question?", false, None, "May I ask a question?"),
            ("2026-11-21 20:15:05,123 INFO x", false, None, "2026-11-21 20:15:05,123 INFO x"),
            ("<html><body>", false, None, "<html><body>"),
            ("", false, None, ""),
        ] {
            let header = syslog(text);
            assert_eq!((header.is_one, header.program, header.body), (is_one, program, body), "{text}");
        }
    }

    #[test]
    fn parts_of_a_line() {
        assert_eq!(
            pairs("a=1 b.c=\"x y\"; d:\"z\"|e=f|g= h x==y é=ü i"),
            [("a", "1"), ("b.c", "x y"), ("d", "z"), ("e", "f"), ("g", ""), ("x", "=y")]
        );
        assert_eq!(cells("a, \"b,c\" ,,d\""), ["a", "b,c", "", "d"]);
        assert_eq!(facility("%ASA-session-5-111010: User", false), Some("ASA"));
        assert_eq!(facility("77: x: %SYS-5-CONFIG_I: C", true), Some("SYS"));
        assert_eq!(facility("2026 Jan 11 19:27:57 CET: %VSHD-5-X: U", false), Some("VSHD"));
        assert_eq!(facility("%ASA-5-111010 User", false), Some("ASA"));
        assert_eq!(facility("such as %ASA-6-302013: Built", false), None);
        assert_eq!(facility("100%: fine", true), None);
        let line = "h - - [21/Nov/2026:20:15:00 +0000] \"GET / HTTP/1.1\" 200 - \"-\" \"ua\" \"x\"";
        assert_eq!(access(line), Some(Access { has_vhost: false, quoted: 3 }));
        assert_eq!(access("[21/Nov/2026:20:15:00 +0000] \"GET / HTTP/1.1\" 200 -"), None);
    }

    #[test]
    fn windows_events_in_every_form() {
        for text in [
            r#"<14>Nov 21 20:15:00 h P[1]: {"SourceName":"P","x":{"Channel":"C"}}"#,
            r#"{"winlog":{"provider_name":"P","channel":"C"}}"#,
            "<Event><System><Provider Name='P' Guid='{1}'/><Channel>C</Channel></System></Event>",
            "<13>Nov 21 20:15:00 h MSWinEventLog\t1\tC\t1\tdate\t4634\tP\tuser",
            "11/21/2026 08:15:13 PM\r\nLogName=C\r\nEventCode=1\r\nSourceName=P\r\n",
        ] {
            let view = View::of(text);
            assert_eq!((view.provider, view.channel), (Some("P"), Some("C")), "{text}");
        }
    }
}
