//! Takes a line of syslog apart: header, structured data with the intake key in it, and the message.
//!
//! Stands behind [`super::frames`], [`super::relp`] and UDP, and before whoever makes records of lines: the message
//! becomes a record's text, [`Line::labels`] the labels of its batch. RFC 5424 is read as it is written, tolerant only
//! where senders are known to be sloppy and nothing can be misread by it; RFC 3164, which describes more than it
//! prescribes, by what its senders have in common. A line that is neither is kept whole as the message.
//!
//! Deliberately absent: what the message means, and whether the intake key is a good one.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use event::{Label, Time};

use crate::when;

/// The structured data element that carries the intake key (Sekoia's private enterprise number).
const KEY_ELEMENT: &[u8] = b"SEKOIA@53288";
/// The parameter of it that is the key.
const KEY_PARAMETER: &[u8] = b"intake_key";

/// user.notice: what RFC 3164 (§4.3.3) says of lines without a priority.
const NO_PRIORITY: Priority = Priority { facility: 1, severity: 5 };

/// Longest name or process id in an RFC 3164 tag. RFC 5424 allows 48 and 128.
const TAG_BYTES_MAX: usize = 128;

/// Longest text that is tried as the time of an RFC 3164 line.
const TIME_BYTES_MAX: usize = 64;

/// A line taken apart. Header fields that the sender left out (`-`) are `None`; what is not UTF-8 in them, or U+0000,
/// is replaced by U+FFFD, since they become labels.
#[derive(Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What kind of program wrote it, 0 to 23.
    pub facility: u8,
    /// How bad it is, 0 (emergency) to 7 (debug).
    pub severity: u8,
    /// When it was written, as far as the header says so in a form that can be read.
    pub time: Option<Time>,
    /// The machine.
    pub hostname: Option<Cow<'a, str>>,
    /// The program; of RFC 3164 lines, the tag.
    pub appname: Option<Cow<'a, str>>,
    /// The process.
    pub procid: Option<Cow<'a, str>>,
    /// The kind of message.
    pub msgid: Option<Cow<'a, str>>,
    /// The structured data as it stood, without the element that carries the intake key.
    pub structured_data: Option<Cow<'a, str>>,
    /// The intake key. A secret: never logged, never a label.
    pub intake_key: Option<Cow<'a, str>>,
    /// The message, without a byte order mark and the line's end. Any bytes.
    pub message: &'a [u8],
}

/// Why bytes are no line of RFC 5424.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct Malformed {
    /// What was expected.
    pub expected: &'static str,
    /// Offset of the byte that cannot stand there, from the beginning of the line.
    pub at: usize,
}

impl<'a> Line<'a> {
    /// Reads a line of any kind: RFC 5424, else RFC 3164, else all of it is the message. `now` tells the year of times
    /// that have none.
    pub fn read(bytes: &'a [u8], now: Time) -> Line<'a> {
        if let Ok(line) = Line::read_5424(bytes) {
            return line;
        }
        if let Some(line) = Line::read_3164(bytes, now) {
            return line;
        }
        let line = without_ending(bytes);
        Line::new(priority(line).map_or(NO_PRIORITY, |(priority, _)| priority), line)
    }

    /// Reads a line of RFC 5424: `<PRI>1 TIME HOSTNAME APPNAME PROCID MSGID STRUCTURED-DATA MESSAGE`.
    ///
    /// Tolerated: empty fields instead of `-`, fields longer than allowed, a message that follows the structured data
    /// without a space, and a time that cannot be read, which is then `None`. Structured data that is missing or torn
    /// is an error: its place would be guessed, and words of the message lost in the header.
    pub fn read_5424(bytes: &'a [u8]) -> Result<Line<'a>, Malformed> {
        let line = without_ending(bytes);
        let malformed = |rest: &[u8], expected| Malformed { expected, at: line.len() - rest.len() };
        let (priority, rest) = priority(line).ok_or(malformed(line, "a priority such as <134>"))?;
        let mut rest = rest.strip_prefix(b"1 ").ok_or(malformed(rest, "the version 1 and a space"))?;
        let mut fields = [&b""[..]; 5];
        for field in &mut fields {
            let end = memchr::memchr(b' ', rest).ok_or(malformed(&[], "another header field"))?;
            (*field, rest) = (&rest[..end], &rest[end + 1..]);
        }
        let structured = Structured::read(rest).ok_or(malformed(rest, "structured data or -"))?;
        let message = structured.rest.strip_prefix(b" ").unwrap_or(structured.rest);
        let [time, hostname, appname, procid, msgid] = fields;
        Ok(Line {
            time: std::str::from_utf8(time).ok().and_then(|time| Time::parse_rfc3339(time).ok()),
            hostname: field(hostname),
            appname: field(appname),
            procid: field(procid),
            msgid: field(msgid),
            structured_data: structured.kept.map(text),
            intake_key: structured.intake_key.map(text),
            ..Line::new(priority, message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message))
        })
    }

    /// Reads a line of RFC 3164: `<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: MESSAGE`, where the priority, the host, the
    /// process and the tag may be missing and the time may be of another form, such as ISO 8601 or with a year. `None`
    /// without a time: then nothing tells header from message.
    pub fn read_3164(bytes: &'a [u8], now: Time) -> Option<Line<'a>> {
        let line = without_ending(bytes);
        let (priority, rest) = priority(line).unwrap_or((NO_PRIORITY, line));
        let (time, rest) = time_3164(rest.trim_ascii_start(), now)?;
        let (hostname, tag, message) = host_and_tag(rest.trim_ascii_start());
        let Tag { name, process } = tag.unwrap_or_default();
        Some(Line {
            time: Some(time),
            hostname: field(hostname),
            appname: field(name),
            procid: field(process),
            ..Line::new(priority, message)
        })
    }

    /// What the header says as labels for a batch: `syslog.facility` and `syslog.severity` by their usual keywords, and
    /// of `syslog.hostname`, `syslog.appname`, `syslog.procid`, `syslog.msgid` and `syslog.structured_data` those that
    /// there are. In this order always, so that equal headers give equal labels. Their length has no limit but the
    /// line's.
    pub fn labels(&self) -> Vec<Label> {
        let fields = [
            ("syslog.facility", Some(self.facility_name())),
            ("syslog.severity", Some(self.severity_name())),
            ("syslog.hostname", self.hostname.as_deref()),
            ("syslog.appname", self.appname.as_deref()),
            ("syslog.procid", self.procid.as_deref()),
            ("syslog.msgid", self.msgid.as_deref()),
            ("syslog.structured_data", self.structured_data.as_deref()),
        ];
        let given = fields.into_iter().filter_map(|(key, value)| Some((key, value?)));
        given.map(|(key, value)| Label { key: key.to_owned(), value: value.to_owned(), rbac_enabled: false }).collect()
    }

    /// The keyword of the facility, such as `local0`; those without a name in C are called as rsyslog does.
    pub fn facility_name(&self) -> &'static str {
        const NAMES: [&str; 24] = [
            "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
            "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
            "local7",
        ];
        NAMES.get(usize::from(self.facility)).copied().unwrap_or("user")
    }

    /// The keyword of the severity, such as `info`.
    pub fn severity_name(&self) -> &'static str {
        const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
        NAMES.get(usize::from(self.severity)).copied().unwrap_or("notice")
    }

    fn new(priority: Priority, message: &'a [u8]) -> Line<'a> {
        let Priority { facility, severity } = priority;
        Line {
            facility,
            severity,
            time: None,
            hostname: None,
            appname: None,
            procid: None,
            msgid: None,
            structured_data: None,
            intake_key: None,
            message,
        }
    }
}

/// Shows everything but the key itself and the message.
impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("facility", &self.facility_name())
            .field("severity", &self.severity_name())
            .field("time", &self.time)
            .field("hostname", &self.hostname)
            .field("appname", &self.appname)
            .field("procid", &self.procid)
            .field("msgid", &self.msgid)
            .field("has_intake_key", &self.intake_key.is_some())
            .field("message_bytes", &self.message.len())
            .finish_non_exhaustive()
    }
}

/// A line without what ends it: a NUL, then a newline, then a carriage return, each at most once. What stands before
/// them is the sender's, other white space included.
pub fn without_ending(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Priority {
    facility: u8,
    severity: u8,
}

/// `<134>`, and what comes behind it.
fn priority(line: &[u8]) -> Option<(Priority, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let value = rest[..digits].iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let rest = rest[digits..].strip_prefix(b">")?;
    let value = u8::try_from(value).ok().filter(|value| *value <= 191)?;
    Some((Priority { facility: value / 8, severity: value % 8 }, rest))
}

/// A header field, if it says anything.
fn field(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if matches!(bytes, b"" | b"-") { None } else { Some(text(Cow::Borrowed(bytes))) }
}

/// Bytes as the text of a label.
fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    let text = match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    };
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

/// The structured data of an RFC 5424 line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Structured<'a> {
    /// The elements, but for the one with the key.
    kept: Option<Cow<'a, [u8]>>,
    intake_key: Option<Cow<'a, [u8]>>,
    /// What comes behind.
    rest: &'a [u8],
}

impl<'a> Structured<'a> {
    /// Reads `-` or elements up to the message. Where a second element would be torn, the message has begun: some
    /// senders forget the space before it.
    fn read(bytes: &'a [u8]) -> Option<Structured<'a>> {
        if let Some(rest) = bytes.strip_prefix(b"-") {
            let is_nil = matches!(rest.first(), None | Some(b' '));
            return is_nil.then_some(Structured { rest, ..Structured::default() });
        }
        let mut kept: Vec<Range<usize>> = Vec::new();
        let mut intake_key = None;
        let mut at = 0;
        while let Some(element) = Element::read(&bytes[at..]) {
            let range = at..at + element.length;
            at = range.end;
            if element.is_key_element() {
                // The first key counts, but none stays in what is kept.
                intake_key = intake_key.or(element.intake_key);
                continue;
            }
            match kept.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => kept.push(range),
            }
        }
        if at == 0 {
            return None;
        }
        let kept = match kept.as_slice() {
            [] => None,
            [range] => Some(Cow::Borrowed(&bytes[range.clone()])),
            ranges => Some(Cow::Owned(ranges.iter().flat_map(|range| &bytes[range.clone()]).copied().collect())),
        };
        Some(Structured { kept, intake_key, rest: &bytes[at..] })
    }
}

/// `[id name="value" …]`.
struct Element<'a> {
    id: &'a [u8],
    /// The value of the first parameter that is called like the key's.
    intake_key: Option<Cow<'a, [u8]>>,
    /// How many bytes it has, brackets included.
    length: usize,
}

impl<'a> Element<'a> {
    fn read(bytes: &'a [u8]) -> Option<Element<'a>> {
        let mut rest = bytes.strip_prefix(b"[")?;
        let id = name(&mut rest)?;
        let mut intake_key = None;
        loop {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            rest = &rest[spaces..];
            if let Some(rest) = rest.strip_prefix(b"]") {
                return Some(Element { id, intake_key, length: bytes.len() - rest.len() });
            }
            if spaces == 0 {
                return None;
            }
            let parameter = name(&mut rest)?;
            rest = rest.strip_prefix(b"=\"")?;
            let value = quoted(&mut rest)?;
            if intake_key.is_none() && parameter.eq_ignore_ascii_case(KEY_PARAMETER) {
                intake_key = Some(unescape(value));
            }
        }
    }

    /// In any letter case: the standard wants it exact, but a key that is not recognised would be stored as a label.
    fn is_key_element(&self) -> bool {
        self.id.eq_ignore_ascii_case(KEY_ELEMENT)
    }
}

/// Takes a name; not an empty one.
fn name<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'=' | b']' | b'"'))?;
    let (name, after) = rest.split_at(end);
    *rest = after;
    (!name.is_empty()).then_some(name)
}

/// Takes a value up to the quote that ends it, and the quote.
fn quoted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[at] == b'"' {
            let value = &rest[..at];
            *rest = &rest[at + 1..];
            return Some(value);
        }
        at += 2;
    }
}

/// Undoes `\"`, `\\` and `\]`; other backslashes are themselves.
fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next_if(|next| matches!(next, b'"' | b'\\' | b']')) } else { None };
        plain.push(escaped.unwrap_or(byte));
    }
    Cow::Owned(plain)
}

/// The time at the beginning of an RFC 3164 line, and what comes behind it. It ends with the first word that has a
/// colon in it, which is the time of day: that finds `Apr  5 21:33:31`, the same with a year, and ISO 8601 alike.
fn time_3164(rest: &[u8], now: Time) -> Option<(Time, &[u8])> {
    let mut at = 0;
    loop {
        at += rest[at..].iter().take_while(|byte| **byte == b' ').count();
        let end = at + rest[at..].iter().take(TIME_BYTES_MAX + 1).take_while(|byte| **byte != b' ').count();
        if end == at || end > TIME_BYTES_MAX {
            return None;
        }
        // Cisco's firewalls write a colon behind the time.
        let word = &rest[at..end];
        let word = word.strip_suffix(b":").unwrap_or(word);
        if word.contains(&b':') {
            let text = std::str::from_utf8(&rest[..at + word.len()]).ok()?;
            return Some((when::read(text, now).ok()?, &rest[end..]));
        }
        at = end;
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a [u8],
    process: &'a [u8],
}

/// The host, or nothing; the tag, and the message. The first word is the host unless it looks like a tag or like no
/// host at all.
fn host_and_tag(rest: &[u8]) -> (&[u8], Option<Tag<'_>>, &[u8]) {
    if let Some((tag, message)) = tag(rest) {
        return (b"", Some(tag), message);
    }
    let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:%/".contains(byte) || !byte.is_ascii();
    match memchr::memchr(b' ', rest) {
        Some(end) if rest[..end].iter().all(is_of_host) => {
            let (host, after) = (&rest[..end], rest[end + 1..].trim_ascii_start());
            // Cisco's firewalls write a colon between host and tag.
            let after = after.strip_prefix(b": ").unwrap_or(after);
            match tag(after) {
                Some((tag, message)) => (host, Some(tag), message),
                None => (host, None, after),
            }
        }
        _ => (b"", None, rest),
    }
}

/// `name: `, `name[process]: ` or `name[process] `, and the message behind it.
fn tag(rest: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let end = rest.iter().take(TAG_BYTES_MAX + 1).position(|byte| matches!(byte, b' ' | b':' | b'['))?;
    let (name, mut after) = rest.split_at(end);
    let is_of_name = |byte: &u8| (byte.is_ascii_graphic() || !byte.is_ascii()) && !b"\"'={}<>,;]".contains(byte);
    if name.is_empty() || !name.iter().all(is_of_name) {
        return None;
    }
    let mut process = &b""[..];
    if let Some(inner) = after.strip_prefix(b"[") {
        let end = inner.iter().take(TAG_BYTES_MAX + 1).position(|byte| matches!(byte, b']' | b' ' | b'['))?;
        process = &inner[..end];
        after = inner[end..].strip_prefix(b"]")?;
    }
    let (message, has_colon) = after.strip_prefix(b":").map_or((after, false), |message| (message, true));
    // Else a colon or bracket with something right behind it is a word of the message, or the address of a host.
    let ends_word = message.is_empty() || message.starts_with(b" ");
    let is_tag = match (!process.is_empty(), has_colon) {
        (true, true) => true,
        (false, false) => false,
        _ => ends_word,
    };
    is_tag.then(|| (Tag { name, process }, message.strip_prefix(b" ").unwrap_or(message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Time {
        "2021-04-06T12:00:00Z".parse().unwrap()
    }

    /// A line in words: what it has, in its order.
    fn show(line: &Line<'_>) -> String {
        let mut shown = format!("{}.{}", line.facility_name(), line.severity_name());
        let fields = [
            ("time", line.time.map(|time| time.to_string())),
            ("host", line.hostname.as_deref().map(str::to_owned)),
            ("app", line.appname.as_deref().map(str::to_owned)),
            ("proc", line.procid.as_deref().map(str::to_owned)),
            ("id", line.msgid.as_deref().map(str::to_owned)),
            ("sd", line.structured_data.as_deref().map(str::to_owned)),
            ("key", line.intake_key.as_deref().map(str::to_owned)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                shown.push_str(&format!(" {name}={value}"));
            }
        }
        format!("{shown} | {}", line.message.escape_ascii())
    }

    #[track_caller]
    fn check(bytes: impl AsRef<[u8]>, expected: &str) {
        let bytes = bytes.as_ref();
        assert_eq!(show(&Line::read(bytes, now())), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn rfc_5424() {
        check(
            &include_bytes!("captures/rsyslog_8.2302_forwarder.stream")[4..],
            "local0.info time=2026-11-21T20:39:32.650974Z host=hostA app=appB proc=42 id=LOG key=ABCDEFGH12345678 | \
             hello world",
        );
        check(
            br#"<13>1 2026-11-21T20:39:32+00:00 localhost - - LOG [SEKOIA@53288 intake_key="K"] {"raw":"json"}"#,
            r#"user.notice time=2026-11-21T20:39:32Z host=localhost id=LOG key=K | {\"raw\":\"json\"}"#,
        );
        // The examples of the RFC.
        check(
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed",
            r"auth.crit time=2003-10-11T22:14:15.003Z host=mymachine.example.com app=su id=ID47 | \'su root\' failed",
        );
        check(
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time.",
            r"local4.notice time=2003-08-24T12:14:15.000003Z host=192.0.2.1 app=myproc proc=8710 | %% It\'s time.",
        );
        check(
            br#"<165>1 2003-10-11T22:14:15.003Z h app - ID47 [a@32473 iut="3" eventID="1011"][b@32473 class="high"]"#,
            "local4.notice time=2003-10-11T22:14:15.003Z host=h app=app id=ID47 \
             sd=[a@32473 iut=\"3\" eventID=\"1011\"][b@32473 class=\"high\"] | ",
        );
        check(b"<0>1 - - - - - -", "kern.emerg | ");
        check(b"<191>1 - - - - - - ", "local7.debug | ");
    }

    #[test]
    fn the_intake_key_comes_out_of_the_structured_data() {
        let check = |structured: &str, expected: &str| {
            check(format!("<14>1 - - - - - {structured}"), &format!("user.info {expected}"));
        };
        check(r#"[SEKOIA@53288 intake_key="K"] m"#, "key=K | m");
        check(r#"[SEKOIA@53288 intake_key="K"][a@1 b="c"][d] m"#, r#"sd=[a@1 b="c"][d] key=K | m"#);
        check(r#"[a@1 b="c"][SEKOIA@53288 intake_key="K"] m"#, r#"sd=[a@1 b="c"] key=K | m"#);
        check(r#"[a][SEKOIA@53288 intake_key="K"][b][c] m"#, "sd=[a][b][c] key=K | m");
        check(r#"[SEKOIA@53288 intake_key="K"]m"#, "key=K | m");
        check(r#"[SEKOIA@53288 intake_key="K"]{"a":[1]}"#, r#"key=K | {\"a\":[1]}"#);
        // Torn as an element, thus the message.
        check(r#"[SEKOIA@53288 intake_key="K"][12.3 ms] m"#, "key=K | [12.3 ms] m");
        check(r#"[SEKOIA@53288  x="1"  intake_key="K"  ] m"#, "key=K | m");
        check(r#"[SEKOIA@53288 intake_key="a\"b\\c\]d\e"] m"#, r#"key=a"b\c]d\e | m"#);
        check(r#"[SEKOIA@53288 intake_key="a]b"] m"#, "key=a]b | m");
        check(r#"[SEKOIA@53288 intake_key=""] m"#, "key= | m");
        check("[SEKOIA@53288] m", " | m".trim_start());
        // Neither a second key nor one in another letter case becomes a label.
        check(r#"[SEKOIA@53288 intake_key="K" intake_key="L"][sekoia@53288 INTAKE_KEY="M"] m"#, "key=K | m");
        check(r#"[sekoia@53288 Intake_Key="M"] m"#, "key=M | m");
        // A parameter of this name elsewhere is none.
        check(r#"[a@1 intake_key="K"] m"#, r#"sd=[a@1 intake_key="K"] | m"#);
    }

    #[test]
    fn what_is_tolerated_in_rfc_5424() {
        // Ends of lines.
        check(b"<14>1 - - - - - - m\r\n", "user.info | m");
        check(b"<14>1 - - - - - - m\n\0", "user.info | m");
        check(b"<14>1 - - - - - - m\n\n", r"user.info | m\n");
        check(b"<14>1 - - - - - -  m ", "user.info |  m ");
        // Empty fields, a time that is none.
        check(b"<14>1 2021-04-05 h  5  - m", "user.info host=h proc=5 | m");
        check(b"<14>1 1617651211 h a - - - m", "user.info host=h app=a | m");
        // Any bytes.
        check(
            b"<14>1 - h\xff\0 a - - [a b=\"\xff\"] \xff\0!",
            "user.info host=h\u{fffd}\u{fffd} app=a sd=[a b=\"\u{fffd}\"] | \\xff\\x00!",
        );
        check(format!("<14>1 - {} - - - - m", "h".repeat(300)), &format!("user.info host={} | m", "h".repeat(300)));
    }

    #[test]
    fn says_where_a_line_is_no_rfc_5424() {
        for (line, expected) in [
            ("", "expected a priority such as <134> at byte 0"),
            ("hello", "expected a priority such as <134> at byte 0"),
            ("<192>1 - - - - - -", "expected a priority such as <134> at byte 0"),
            ("<1234>1 - - - - - -", "expected a priority such as <134> at byte 0"),
            ("<>1 - - - - - -", "expected a priority such as <134> at byte 0"),
            ("<14>2 - - - - - -", "expected the version 1 and a space at byte 4"),
            ("<14>1 - - - -", "expected another header field at byte 13"),
            ("<14>1 - h a 1 ID", "expected another header field at byte 16"),
            ("<14>1 - h a 1 ID message", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID -message", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID []", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [a b]", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [a b=c]", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [a b=\"c]", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [a b=\"c\\", "expected structured data or - at byte 17"),
            ("<14>1 - h a 1 ID [a b=\"c\"d=\"e\"]", "expected structured data or - at byte 17"),
        ] {
            assert_eq!(Line::read_5424(line.as_bytes()).unwrap_err().to_string(), expected, "{line}");
        }
    }

    #[test]
    fn rfc_3164() {
        let at = "2021-04-05T21:33:31Z";
        let check = |line: &str, expected: &str| check(line, &expected.replace("@", &format!("time={at}")));
        check(
            "<34>Apr  5 21:33:31 mymachine su: 'su root' failed",
            r"auth.crit @ host=mymachine app=su | \'su root\' failed",
        );
        check("<13>Apr  5 21:33:31 host app[42]: message", "user.notice @ host=host app=app proc=42 | message");
        check("<13>Apr 5 21:33:31 host app[42] message", "user.notice @ host=host app=app proc=42 | message");
        check("<13>Apr 05 21:33:31 host app[42]:message", "user.notice @ host=host app=app proc=42 | message");
        check("<13>Apr  5 21:33:31 host app[42]:\n", "user.notice @ host=host app=app proc=42 | ");
        check("<22>Apr  5 21:33:31 mx postfix/smtpd[7]:  x", "mail.info @ host=mx app=postfix/smtpd proc=7 |  x");
        check("<13>Apr  5 21:33:31 app[42]: message", "user.notice @ app=app proc=42 | message");
        check("<13>Apr  5 21:33:31 app: message", "user.notice @ app=app | message");
        check("<13>Apr  5 21:33:31 host a message", "user.notice @ host=host | a message");
        check("<13>Apr  5 21:33:31 host http://x y", "user.notice @ host=host | http://x y");
        check("<13>Apr  5 21:33:31 fe80::1 app: m", "user.notice @ host=fe80::1 app=app | m");
        check("<13>Apr  5 21:33:31 10.0.0.1:514 app: m", "user.notice @ host=10.0.0.1:514 app=app | m");
        check(r#"<13>Apr  5 21:33:31 host {"a": 1}"#, r#"user.notice @ host=host | {\"a\": 1}"#);
        check(r#"<13>Apr  5 21:33:31 {"a": 1}"#, r#"user.notice @ | {\"a\": 1}"#);
        check("<13>Apr  5 21:33:31 message", "user.notice @ | message");
        check("<13>Apr  5 21:33:31", "user.notice @ | ");
        check("Apr  5 21:33:31 host app: m", "user.notice @ host=host app=app | m");
        check("<13> Apr  5 21:33:31 host app: m", "user.notice @ host=host app=app | m");
        check("<13>2021-04-05T23:33:31+02:00 host app[1]: m", "user.notice @ host=host app=app proc=1 | m");
        check("<13>2021-04-05 21:33:31 host app: m", "user.notice @ host=host app=app | m");
        check("<13>Apr  5 2021 21:33:31 host app: m", "user.notice @ host=host app=app | m");
        check("<166>Apr 05 2021 21:33:31: %ASA-6-302013: Built", "local4.info @ app=%ASA-6-302013 | Built");
        check("<166>Apr 05 2021 21:33:31 fw : %ASA-6-302013: Built", "local4.info @ host=fw app=%ASA-6-302013 | Built");
        check("<13>Apr  5 21:33:31 - app: m", "user.notice @ app=app | m");
    }

    #[test]
    fn what_is_neither_is_a_message() {
        check(b"hello world\r\n", "user.notice | hello world");
        check(b"", "user.notice | ");
        check(b"<134>hello", "local0.info | <134>hello");
        check(b"<192>hello", "user.notice | <192>hello");
        check(b"<34>su: 'su root' failed", r"auth.crit | <34>su: \'su root\' failed");
        check(b"<13>Feb 30 21:33:31 host app: m", "user.notice | <13>Feb 30 21:33:31 host app: m");
        check(
            b"<13>1 2021-04-05T21:33:31Z h a - - no structured data",
            "user.notice | <13>1 2021-04-05T21:33:31Z h a - - no structured data",
        );
        check(b"<14>1 - h a 1 ID [torn", "user.info | <14>1 - h a 1 ID [torn");
        check(
            b"10.0.0.1 - - [05/Apr/2021:21:33:31 +0200] \"GET /\"",
            r#"user.notice | 10.0.0.1 - - [05/Apr/2021:21:33:31 +0200] \"GET /\""#,
        );
        check(b"12345: x", "user.notice | 12345: x");
    }

    #[test]
    fn labels_are_the_header() {
        let line =
            Line::read(br#"<134>1 2021-04-05T21:33:31Z h a 42 ID [x y="z"][SEKOIA@53288 intake_key="K"] m"#, now());
        let labels: Vec<_> = line.labels().into_iter().map(|label| format!("{}={}", label.key, label.value)).collect();
        assert_eq!(
            labels,
            [
                "syslog.facility=local0",
                "syslog.severity=info",
                "syslog.hostname=h",
                "syslog.appname=a",
                "syslog.procid=42",
                "syslog.msgid=ID",
                "syslog.structured_data=[x y=\"z\"]",
            ]
        );
        assert_eq!(Line::read(b"m", now()).labels().len(), 2);
        let shown = format!("{line:?}");
        assert!(shown.contains("has_intake_key: true") && !shown.contains("\"K\""), "{shown}");
    }

    fn line_like() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => prop::sample::select(vec![
                "<134>", "<13>", "1 ", "- ", "-", "2021-04-05T21:33:31Z ", "Apr  5 21:33:31 ", "host ", "app[1]: ",
                "app: ", "[SEKOIA@53288 intake_key=\"K\"]", "[a b=\"c\"]", "[", "]", "\"", "\\", "=", " ", ":", "\n",
                "\r", "\0", "\u{feff}", "é",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_key_is_a_label(bytes in line_like()) {
            let line = Line::read(&bytes, now());
            prop_assert!(line.facility < 24 && line.severity < 8);
            prop_assert!(line.message.len() <= bytes.len());
            for label in line.labels() {
                prop_assert!(!label.value.is_empty() && !label.value.contains('\0'));
                prop_assert!(!label.value.starts_with("[SEKOIA@53288 intake_key="), "{}", label.value);
            }
        }

        #[test]
        fn what_is_written_is_read(
            priority in 0u8..=191, nanos in any::<i64>(), host in "[!-~]{1,30}", app in "[!-~]{1,30}",
            value in "\\PC{0,20}", key in "\\PC{0,20}", message in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assume!(host != "-" && app != "-");
            let time = Time::from_nanos(nanos);
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let kept = format!("[x@1 y=\"{}\"]", escape(&value));
            let key_element = format!("[SEKOIA@53288 intake_key=\"{}\"]", escape(&key));
            let head = format!("<{priority}>1 {time} {host} {app} - - {kept}{key_element} ");
            let bytes = [head.as_bytes(), b"\xef\xbb\xbf", &message, b"\r\n"].concat();
            let line = Line::read_5424(&bytes).unwrap();
            prop_assert_eq!((line.facility * 8 + line.severity, line.time), (priority, Some(time)));
            prop_assert_eq!((line.hostname.as_deref(), line.appname.as_deref()), (Some(&*host), Some(&*app)));
            prop_assert_eq!(line.structured_data.as_deref(), Some(&*kept));
            prop_assert_eq!(line.intake_key.as_deref(), Some(&*key));
            prop_assert_eq!(line.message, message.as_slice());
        }
    }
}
