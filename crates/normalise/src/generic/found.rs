//! What was found in a record, and the event that it makes.
//!
//! Of each thing the record holds one: that with the best name, and of equals the first. Values that are no answer (`-`,
//! `unknown`), or not what the name promises, are not found at all.

use std::borrow::Cow;

use jiff::Timestamp;

use super::names::Name;
use super::time::{self, Clock, Date, Written, Zone};
use super::{Generic, Told, addresses};

/// Most addresses without a role that an event tells.
const OTHERS_MAX: usize = 10;

/// How long most events are.
const EVENT_BYTES: usize = 512;

/// Longest host name, as DNS has it.
const HOST_BYTES_MAX: usize = 255;

/// Longest user name that is taken for one.
const USER_BYTES_MAX: usize = 256;

/// How long Google's guide lets texts of `metadata` be.
const DESCRIPTION_BYTES_MAX: usize = 1_024;
const PRODUCT_BYTES_MAX: usize = 256;
const VERSION_BYTES_MAX: usize = 32;
const EVENT_TYPE_BYTES_MAX: usize = 64;

/// A thing that a record may say several times: the one with the lowest rank counts, and of equals the first.
#[derive(Debug)]
struct Slot<T>(Option<(u8, T)>);

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot(None)
    }
}

impl<T> Slot<T> {
    fn offer(&mut self, rank: u8, value: Option<T>) {
        let better = self.0.as_ref().is_none_or(|(best, _)| rank < *best);
        if let Some(value) = value.filter(|_| better) {
            self.0 = Some((rank, value));
        }
    }

    fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, value)| value)
    }
}

/// A party of the event.
#[derive(Debug, Default)]
struct Party<'r> {
    host: Slot<Cow<'r, str>>,
    /// With the port that is written behind it.
    ip: Slot<(Cow<'r, str>, Option<u16>)>,
    /// A port in a field of its own.
    port: Slot<u16>,
    user: Slot<Cow<'r, str>>,
}

impl<'r> Party<'r> {
    /// A host, which may be named by its address.
    fn offer_host(&mut self, rank: u8, value: &Value<'r>) {
        if let Some(ip) = addresses::single(value.text()) {
            self.ip.offer(rank, Some((value.part(ip), None)));
        } else {
            let host = said(value.text()).filter(|host| is_host(host));
            self.host.offer(rank, host.map(|host| value.part(host)));
        }
    }

    fn offer_ip(&mut self, rank: u8, value: &Value<'r>) {
        let found = addresses::with_port(value.text());
        self.ip.offer(rank, found.map(|(ip, port)| (value.part(ip), port)));
    }

    fn ip(&self) -> Option<&str> {
        self.ip.get().map(|(ip, _)| &**ip)
    }

    fn port(&self) -> Option<u16> {
        self.port.get().copied().or(self.ip.get()?.1)
    }

    fn is_nobody(&self) -> bool {
        !self.has_place() && self.user.0.is_none()
    }

    fn has_place(&self) -> bool {
        self.host.0.is_some() || self.ip.0.is_some() || self.port.0.is_some()
    }
}

/// A value as the record has it, or as it is without the record's escapes.
struct Value<'r>(Cow<'r, str>);

impl<'r> Value<'r> {
    fn text(&self) -> &str {
        &self.0
    }

    /// A part of the text, borrowed if the text is.
    fn part(&self, part: &str) -> Cow<'r, str> {
        match self.0 {
            Cow::Owned(_) => Cow::Owned(part.to_owned()),
            Cow::Borrowed(text) => {
                let start = text.find(part).expect("a part of a text stands in it");
                Cow::Borrowed(&text[start..start + part.len()])
            }
        }
    }

    fn user(&self) -> Option<Cow<'r, str>> {
        let name = said(self.text()).filter(|name| name.len() <= USER_BYTES_MAX)?;
        (!name.contains(char::is_control)).then(|| self.part(name))
    }
}

/// The product that says it wrote the record.
#[derive(Debug, Default)]
pub(super) struct Product<'r> {
    pub(super) vendor: Cow<'r, str>,
    pub(super) name: Cow<'r, str>,
    pub(super) version: Cow<'r, str>,
    /// The kind of event: its id and its name.
    pub(super) event: [Cow<'r, str>; 2],
}

/// Everything found in one record.
#[derive(Debug)]
pub(super) struct Found<'r> {
    told: &'r Told<'r>,
    moment: Slot<Timestamp>,
    /// A time that says no zone, which may stand elsewhere in the record.
    zoneless: Slot<Written>,
    date: Slot<Date>,
    clock: Slot<Clock>,
    zone: Slot<Zone>,
    header_time: Option<Written>,
    reporter: Party<'r>,
    source: Party<'r>,
    target: Party<'r>,
    others: Vec<Cow<'r, str>>,
    action: Slot<&'static str>,
    severity: Slot<&'static str>,
    product: Product<'r>,
    /// Words, and whether addresses in them are the record's.
    description: Slot<(Cow<'r, str>, bool)>,
}

impl<'r> Found<'r> {
    /// Nothing yet.
    pub(super) fn new(told: &'r Told<'r>) -> Found<'r> {
        Found {
            told,
            moment: Slot::default(),
            zoneless: Slot::default(),
            date: Slot::default(),
            clock: Slot::default(),
            zone: Slot::default(),
            header_time: None,
            reporter: Party::default(),
            source: Party::default(),
            target: Party::default(),
            others: Vec::new(),
            action: Slot::default(),
            severity: Slot::default(),
            product: Product::default(),
            description: Slot::default(),
        }
    }

    /// A field's value, with how well its name and place fit.
    pub(super) fn offer(&mut self, name: Name, rank: u8, value: Cow<'r, str>) {
        let value = Value(value);
        match name {
            Name::Time => self.offer_time(rank, value.text()),
            Name::Zone => self.zone.offer(rank, said(value.text()).map(time::whole_zone)),
            Name::Reporter => self.reporter.offer_host(rank, &value),
            Name::ReporterIp => self.reporter.offer_ip(rank, &value),
            Name::SourceHost => self.source.offer_host(rank, &value),
            Name::SourceIp => self.source.offer_ip(rank, &value),
            Name::SourcePort => self.source.port.offer(rank, addresses::port(value.text())),
            Name::SourceUser => self.source.user.offer(rank, value.user()),
            Name::TargetHost => self.target.offer_host(rank, &value),
            Name::TargetIp => self.target.offer_ip(rank, &value),
            Name::TargetPort => self.target.port.offer(rank, addresses::port(value.text())),
            Name::TargetUser => self.target.user.offer(rank, value.user()),
            Name::OtherIp => {
                if let Some((ip, _)) = addresses::with_port(value.text()) {
                    self.offer_other(value.part(ip));
                }
            }
            Name::Action => self.action.offer(rank, action(value.text())),
            Name::Severity => self.severity.offer(rank, severity_word(value.text())),
            Name::Message => self.offer_text(rank, value.0, true),
        }
    }

    /// What the record says in words. Addresses in it count if it is `searched`.
    pub(super) fn offer_text(&mut self, rank: u8, text: Cow<'r, str>, searched: bool) {
        if said(&text).is_some() {
            self.description.offer(rank, Some((text, searched)));
        }
    }

    /// The time of a line, which a field of its own would say better.
    pub(super) fn offer_line_time(&mut self, written: Written) {
        self.offer_written(u8::MAX, written);
    }

    /// What the header around the record says: less than the record itself.
    pub(super) fn offer_header(&mut self, time: Option<Written>, host: Option<&'r str>, severity: Option<u8>) {
        self.header_time = time;
        if let Some(host) = host {
            self.reporter.offer_host(u8::MAX, &Value(Cow::Borrowed(host)));
        }
        self.severity.offer(u8::MAX, severity.map(syslog_severity));
    }

    /// A severity of 0 to 10, or a word.
    pub(super) fn offer_severity(&mut self, text: &str) {
        self.severity.offer(0, cef_severity(text));
    }

    /// Who wrote the record.
    pub(super) fn set_product(&mut self, product: Product<'r>) {
        self.product = product;
    }

    fn offer_time(&mut self, rank: u8, text: &str) {
        if let Some(moment) = time::epoch(text) {
            return self.moment.offer(rank, Some(moment).filter(|moment| time::is_past(*moment, self.told)));
        }
        if let Some(written) = time::whole(text) {
            return self.offer_written(rank, written);
        }
        if let Some(date) = time::whole_date(text) {
            self.date.offer(rank, Some(date));
        } else {
            self.clock.offer(rank, time::whole_clock(text));
        }
    }

    fn offer_written(&mut self, rank: u8, written: Written) {
        if written.zone == Zone::Unsaid {
            self.zoneless.offer(rank, Some(written));
        } else {
            self.moment.offer(rank, written.settle(self.told));
        }
    }

    fn offer_other(&mut self, ip: Cow<'r, str>) {
        if self.others.len() < OTHERS_MAX && !self.others.contains(&ip) {
            self.others.push(ip);
        }
    }

    /// The moment that the record says it is of.
    fn time(&self) -> Option<Timestamp> {
        let zone = self.zone.get().copied().unwrap_or(Zone::Unsaid);
        let in_zone = |written: &Written| Written { zone, ..*written }.settle(self.told);
        let zoneless = self.zoneless.0.as_ref().and_then(|(rank, written)| Some((*rank, in_zone(written)?)));
        let moment = self.moment.0;
        let best = match (moment, zoneless) {
            (Some((sure, moment)), Some((rank, zoneless))) => Some(if rank < sure { zoneless } else { moment }),
            (moment, zoneless) => moment.or(zoneless).map(|(_, moment)| moment),
        };
        let apart = || Some(Written { date: *self.date.get()?, clock: *self.clock.get()?, zone });
        best.or_else(|| apart()?.settle(self.told)).or_else(|| self.header_time?.settle(self.told))
    }

    /// The event.
    pub(super) fn finish(mut self) -> Generic {
        let event_time = self.time();
        let told = self.told;
        let fallback = told.sender_time.filter(|time| keepable(*time)).unwrap_or(told.received_at);

        // A host that reports about another one did not do it itself.
        let mut observer = Party::default();
        if self.source.has_place() {
            observer = std::mem::take(&mut self.reporter);
        } else {
            self.source.host = std::mem::take(&mut self.reporter.host);
            self.source.ip = std::mem::take(&mut self.reporter.ip);
        }
        if observer.ip() == self.source.ip() {
            observer.ip = Slot::default();
        }
        if observer.host.get() == self.source.host.get() {
            observer.host = Slot::default();
        }
        self.take_others(&observer);

        let mut out = Json { out: Vec::with_capacity(EVENT_BYTES) };
        out.open(b'{');
        if !self.others.is_empty() {
            out.key("about");
            out.open(b'[');
            for ip in &self.others {
                out.open(b'{');
                out.key("ip");
                out.list_of_text(ip);
                out.close(b'}');
            }
            out.close(b']');
        }
        out.key("metadata");
        self.write_metadata(&mut out, event_time.unwrap_or(fallback));
        write_party(&mut out, "observer", &observer);
        write_party(&mut out, "principal", &self.source);
        if self.action.0.is_some() || self.severity.0.is_some() {
            out.key("securityResult");
            out.open(b'[');
            out.open(b'{');
            if let Some(action) = self.action.get() {
                out.key("action");
                out.list_of_text(action);
            }
            if let Some(severity) = self.severity.get() {
                out.key("severity");
                out.text(severity);
            }
            out.close(b'}');
            out.close(b']');
        }
        write_party(&mut out, "target", &self.target);
        out.close(b'}');
        Generic { json: out.into_text(), event_time }
    }

    /// Adds the addresses in the description, and leaves only those that have no role.
    fn take_others(&mut self, observer: &Party<'_>) {
        let roles = [observer, &self.source, &self.target].map(Party::ip);
        let has_role = |ip: &str| roles.contains(&Some(ip));
        self.others.retain(|ip| !has_role(ip));
        let Some((text, true)) = self.description.get() else { return };
        let others = &mut self.others;
        let mut tell = |ip: Cow<'r, str>| {
            if others.len() < OTHERS_MAX && !has_role(&ip) && !others.contains(&ip) {
                others.push(ip);
            }
            others.len() < OTHERS_MAX
        };
        match text {
            Cow::Borrowed(text) => addresses::in_text(text, |ip| tell(Cow::Borrowed(ip))),
            Cow::Owned(text) => addresses::in_text(text, |ip| tell(Cow::Owned(ip.to_owned()))),
        }
    }

    fn write_metadata(&self, out: &mut Json, time: Timestamp) {
        out.open(b'{');
        let description = self.description.get().map_or("", |(text, _)| cut(text.trim(), DESCRIPTION_BYTES_MAX));
        out.text_at("description", description);
        out.key("eventTimestamp");
        out.text(&rfc3339(time));
        out.key("eventType");
        out.text("GENERIC_EVENT");
        out.text_at("logType", self.told.log_type);
        let [id, name] = &self.product.event;
        let (id, name) = (id.trim(), name.trim());
        // Both, if both fit: a part of a name may be another name.
        let event = match (id.is_empty(), name.is_empty()) {
            (false, false) if id != name && id.len() + name.len() + 3 <= EVENT_TYPE_BYTES_MAX => {
                Cow::Owned(format!("{id} - {name}"))
            }
            (true, _) => Cow::Borrowed(cut(name, EVENT_TYPE_BYTES_MAX)),
            _ => Cow::Borrowed(cut(id, EVENT_TYPE_BYTES_MAX)),
        };
        out.text_at("productEventType", &event);
        out.text_at("productName", cut(self.product.name.trim(), PRODUCT_BYTES_MAX));
        out.text_at("productVersion", cut(self.product.version.trim(), VERSION_BYTES_MAX));
        out.text_at("vendorName", cut(self.product.vendor.trim(), PRODUCT_BYTES_MAX));
        out.close(b'}');
    }
}

fn write_party(out: &mut Json, key: &str, party: &Party<'_>) {
    if party.is_nobody() {
        return;
    }
    out.key(key);
    out.open(b'{');
    if let Some(host) = party.host.get() {
        out.text_at("hostname", host);
    }
    if let Some(ip) = party.ip() {
        out.key("ip");
        out.list_of_text(ip);
    }
    if let Some(port) = party.port() {
        out.key("port");
        out.number(port);
    }
    if let Some(user) = party.user.get() {
        out.key("user");
        out.open(b'{');
        out.text_at("userid", user);
        out.close(b'}');
    }
    out.close(b'}');
}

/// A value that says something, without spaces around it.
fn said(text: &str) -> Option<&str> {
    const NOTHING: [&str; 10] =
        ["-", "--", "n/a", "none", "null", "(null)", "nil", "unknown", "undefined", "<unknown>"];
    let text = text.trim();
    // U+0000 can stand in JSON, but not in an event.
    let said = !text.is_empty() && !text.contains('\0');
    (said && !NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))).then_some(text)
}

/// Whether a text can be the name of a host. Wider than DNS: machines have names in every script, and underscores.
pub(super) fn is_host(text: &str) -> bool {
    let good = |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_');
    text.len() <= HOST_BYTES_MAX
        && text.chars().all(good)
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
        // Neither a number nor a wrong or meaningless address.
        && !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// What was done, if one word says so.
fn action(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 14] = [
        ("allow", "ALLOW"),
        ("allowed", "ALLOW"),
        ("accept", "ALLOW"),
        ("accepted", "ALLOW"),
        ("permit", "ALLOW"),
        ("permitted", "ALLOW"),
        ("deny", "BLOCK"),
        ("denied", "BLOCK"),
        ("block", "BLOCK"),
        ("blocked", "BLOCK"),
        ("drop", "BLOCK"),
        ("dropped", "BLOCK"),
        ("reject", "BLOCK"),
        ("rejected", "BLOCK"),
    ];
    word(text, &WORDS)
}

fn severity_word(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 9] = [
        ("critical", "CRITICAL"),
        ("very-high", "CRITICAL"),
        ("high", "HIGH"),
        ("medium", "MEDIUM"),
        ("low", "LOW"),
        ("error", "ERROR"),
        ("informational", "INFORMATIONAL"),
        ("information", "INFORMATIONAL"),
        ("info", "INFORMATIONAL"),
    ];
    word(text, &WORDS)
}

/// CEF's scale of 0 to 10, which LEEF shares.
fn cef_severity(text: &str) -> Option<&'static str> {
    match text.trim() {
        "0" | "1" | "2" | "3" => Some("LOW"),
        "4" | "5" | "6" => Some("MEDIUM"),
        "7" | "8" => Some("HIGH"),
        "9" | "10" => Some("CRITICAL"),
        word => severity_word(word),
    }
}

fn syslog_severity(number: u8) -> &'static str {
    match number {
        0..=2 => "CRITICAL",
        3 => "ERROR",
        4 => "MEDIUM",
        5 => "LOW",
        _ => "INFORMATIONAL",
    }
}

fn word(text: &str, words: &[(&str, &'static str)]) -> Option<&'static str> {
    let text = text.trim();
    words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, meaning)| *meaning)
}

/// The start of a text, ending between two characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Whether the store can keep a time.
fn keepable(time: Timestamp) -> bool {
    i64::try_from(time.as_nanosecond()).is_ok()
}

/// A time in UTC with none, three, six or nine digits of a fraction, as proto3 JSON has it.
fn rfc3339(time: Timestamp) -> String {
    let digits = match time.subsec_nanosecond() {
        0 => 0,
        nanos if nanos % 1_000_000 == 0 => 3,
        nanos if nanos % 1_000 == 0 => 6,
        _ => 9,
    };
    format!("{time:.digits$}")
}

/// JSON as it is written, nothing between the tokens. Who writes keeps the keys sorted.
struct Json {
    out: Vec<u8>,
}

impl Json {
    fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
    }

    fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    fn key(&mut self, key: &str) {
        self.text(key);
        self.out.push(b':');
    }

    fn text(&mut self, text: &str) {
        self.separate();
        serde_json::to_writer(&mut self.out, text).expect("a text in memory can be written");
    }

    /// A field that is there only if it says something that can stand in an event.
    fn text_at(&mut self, key: &str, text: &str) {
        if !text.is_empty() && !text.contains('\0') {
            self.key(key);
            self.text(text);
        }
    }

    fn list_of_text(&mut self, text: &str) {
        self.open(b'[');
        self.text(text);
        self.close(b']');
    }

    fn number(&mut self, number: u16) {
        self.separate();
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    fn separate(&mut self) {
        if matches!(self.out.last(), Some(b'"' | b'}' | b']' | b'0'..=b'9')) {
            self.out.push(b',');
        }
    }

    fn into_text(self) -> String {
        String::from_utf8(self.out).expect("JSON was written from texts")
    }
}
