//! Times as logs write them: RFC 3339 and its looser kin, syslog's without a year, Apache's, mail's, and counts since 1970.
//!
//! Reading ([`prefix`], [`whole`], [`epoch`]) says what is written; [`Written::settle`] says which moment that is, if the text
//! leaves no doubt. Absent: orders that differ between countries (`01/02/2026`), twelve-hour clocks, and zones by names that
//! several zones share. A record with such a time keeps the time at which it came.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::Told;

/// How far a time without a zone, read as UTC, may lie from when its record was sent or came. No zone is further from UTC than
/// 14 hours; what is beyond this is an old log or a wrong clock, and then the zone is anybody's guess.
const ZONELESS_MAX: SignedDuration = SignedDuration::from_hours(26);

/// How much later than a record came its time may be, since clocks are wrong. What is further ahead is no time at which
/// something happened, but one at which something ends.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(26);

/// The years that a record's own time may lie in: before the first nothing kept a log, after the last no column keeps the time.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2261;

/// The seconds since 1970 that a bare number is taken for: the years 2000 to 2099. Thousandths of them are other numbers, and so
/// on, so that the size tells the unit.
const EPOCH_SECS: std::ops::Range<i128> = 946_684_800..4_102_444_800;

/// A date and a time of day as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) date: Date,
    pub(super) clock: Clock,
    pub(super) zone: Zone,
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// `None` in syslog's old form.
    year: Option<i16>,
    month: i8,
    day: i8,
}

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
}

/// What is said of the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Nothing.
    Unsaid,
    /// Seconds to the east of UTC.
    Offset(i32),
    /// Something that does not tell an offset.
    Unclear,
}

impl Written {
    /// The moment, if the text leaves no doubt of it.
    pub(super) fn settle(&self, told: &Told<'_>) -> Option<Timestamp> {
        let near = told.sender_time.unwrap_or(told.received_at);
        let offset = match self.zone {
            Zone::Unsaid => 0,
            Zone::Offset(offset) => offset,
            Zone::Unclear => return None,
        };
        let moment = match self.date.year {
            Some(year) => self.in_year(year, offset),
            None => {
                let year = Offset::UTC.to_datetime(near).year();
                (year - 1..=year + 1)
                    .filter_map(|year| self.in_year(year, offset))
                    .min_by_key(|moment| moment.duration_since(near).abs())
            }
        }?;
        let fits = |told: Timestamp| moment.duration_since(told).abs() <= ZONELESS_MAX;
        let sure = self.zone != Zone::Unsaid || fits(told.received_at) || told.sender_time.is_some_and(fits);
        (sure && is_past(moment, told)).then_some(moment)
    }

    fn in_year(&self, year: i16, offset: i32) -> Option<Timestamp> {
        let (Date { month, day, .. }, Clock { hour, minute, second, nanos }) = (self.date, self.clock);
        if !YEARS.contains(&year) {
            return None;
        }
        // A leap second is the start of the next one, as everywhere here.
        let (second, leap) = if second == 60 { (59, 1) } else { (second, 0) };
        let nanos = if leap == 1 { 0 } else { nanos };
        let local = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
        let moment = Offset::from_seconds(offset).ok()?.to_timestamp(local).ok()?;
        moment.checked_add(SignedDuration::from_secs(leap)).ok()
    }
}

/// Whether something that a record tells may have happened at a moment.
pub(super) fn is_past(moment: Timestamp, told: &Told<'_>) -> bool {
    let latest = told.sender_time.map_or(told.received_at, |sent| sent.max(told.received_at));
    moment.duration_since(latest) <= AHEAD_MAX
}

/// A time that is all of a text, but for brackets around it.
pub(super) fn whole(text: &str) -> Option<Written> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let (written, length) = prefix(text)?;
    (length == text.len()).then_some(written)
}

/// A date that is all of a text: `2026-01-02`.
pub(super) fn whole_date(text: &str) -> Option<Date> {
    let mut scan = Scan::new(text.trim());
    let date = scan.numbered_date()?;
    scan.at_end().then_some(date)
}

/// A time of day that is all of a text.
pub(super) fn whole_clock(text: &str) -> Option<Clock> {
    let mut scan = Scan::new(text.trim());
    let clock = scan.clock()?;
    scan.at_end().then_some(clock)
}

/// A zone that is all of a text. A text that is none is unclear: something was said.
pub(super) fn whole_zone(text: &str) -> Zone {
    let mut scan = Scan::new(text.trim());
    match scan.zone_here() {
        zone @ Zone::Offset(_) if scan.at_end() => zone,
        _ => Zone::Unclear,
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, as its size tells; a fraction may follow the seconds.
pub(super) fn epoch(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(10..=19).contains(&whole.len()) || fraction.len() > 18 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let number: i128 = whole.parse().ok()?;
    let nanos = [1_000_000_000, 1_000_000, 1_000, 1].into_iter().find_map(|unit| {
        let secs = number * unit / 1_000_000_000;
        EPOCH_SECS.contains(&secs).then(|| {
            let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
            number * unit + fraction.fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0')) * unit / 1_000_000_000
        })
    })?;
    Timestamp::from_nanosecond(nanos).ok()
}

/// A time at the start of a text, and how many bytes it takes.
pub(super) fn prefix(text: &str) -> Option<(Written, usize)> {
    let mut scan = Scan::new(text);
    let written = scan.time()?;
    // A time ends where its digits end: `2026-01-02T03:04:05Zebra` holds none.
    let cut = scan.peek().is_some_and(|byte| byte.is_ascii_alphanumeric());
    (!cut).then_some((written, scan.at))
}

/// Apache's time in brackets somewhere in a line: `[10/Oct/2000:13:55:36 -0700]`.
pub(super) fn in_brackets(text: &str) -> Option<Written> {
    text.match_indices('[').find_map(|(at, _)| {
        let inner = &text[at + 1..];
        let (written, length) = prefix(inner)?;
        inner[length..].starts_with(']').then_some(written)
    })
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Scan<'t> {
        Scan { text: text.as_bytes(), at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn eat_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    /// One or two spaces: days of one digit are padded.
    fn spaces(&mut self) -> Option<()> {
        if !self.eat(b' ') {
            return None;
        }
        self.eat(b' ');
        Some(())
    }

    /// A number of so many digits, and no more of them.
    fn number(&mut self, digits_min: usize, digits_max: usize) -> Option<i32> {
        let rest = &self.text[self.at..];
        let digits = rest.iter().take(digits_max + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if !(digits_min..=digits_max).contains(&digits) {
            return None;
        }
        self.at += digits;
        Some(rest[..digits].iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
    }

    fn letters(&mut self) -> &'t [u8] {
        let rest = &self.text[self.at..];
        let length = rest.iter().take(10).take_while(|byte| byte.is_ascii_alphabetic()).count();
        self.at += length;
        &rest[..length]
    }

    fn time(&mut self) -> Option<Written> {
        let start = self.at;
        let weekday = is_weekday(self.letters());
        if weekday {
            self.eat(b',');
            self.spaces()?;
        } else {
            self.at = start;
        }
        if self.peek()?.is_ascii_alphabetic() {
            return self.named_month_first(weekday);
        }
        let start = self.at;
        if let Some(date) = self.numbered_date() {
            // Without a `T`, what follows may be no time at all, but then the clock does not read.
            self.eat_any(b"Tt ")?;
            let clock = self.clock()?;
            return Some(Written { date, clock, zone: self.zone() });
        }
        self.at = start;
        self.day_first()
    }

    /// `2026-01-02` or `2026/01/02`.
    fn numbered_date(&mut self) -> Option<Date> {
        let year = self.number(4, 4)? as i16;
        let separator = self.eat_any(b"-/")?;
        let month = self.number(2, 2)? as i8;
        if !self.eat(separator) {
            return None;
        }
        let day = self.number(2, 2)? as i8;
        Some(Date { year: Some(year), month, day })
    }

    /// `Jan  2 03:04:05`, also with a year before or, as `date` and C's `ctime` write it, behind the time of day.
    fn named_month_first(&mut self, year_may_follow: bool) -> Option<Written> {
        let month = month(self.letters())?;
        self.spaces()?;
        let day = self.number(1, 2)? as i8;
        self.eat(b',');
        self.spaces()?;
        let mut year = None;
        let start = self.at;
        match self.number(4, 4) {
            Some(number) => {
                year = Some(number as i16);
                self.eat(b',');
                self.spaces()?;
            }
            None => self.at = start,
        }
        let clock = self.clock()?;
        let zone = self.zone();
        if year.is_none() && year_may_follow {
            let start = self.at;
            year = self.spaces().and_then(|()| self.number(4, 4)).map(|number| number as i16);
            if year.is_none() {
                self.at = start;
            }
        }
        Some(Written { date: Date { year, month, day }, clock, zone })
    }

    /// `10/Oct/2000:13:55:36 -0700`, `09 Sep 2011 10:42:29 +0000`, `10-Oct-2000 13:55:36.123`.
    fn day_first(&mut self) -> Option<Written> {
        let day = self.number(1, 2)? as i8;
        let separator = self.eat_any(b"/- ")?;
        let month = month(self.letters())?;
        if !self.eat(separator) {
            return None;
        }
        let year = Some(self.number(4, 4)? as i16);
        self.eat_any(b": ")?;
        let clock = self.clock()?;
        Some(Written { date: Date { year, month, day }, clock, zone: self.zone() })
    }

    /// `03:04:05`, with a fraction of which nine digits count.
    fn clock(&mut self) -> Option<Clock> {
        let hour = self.number(1, 2)? as i8;
        if !self.eat(b':') {
            return None;
        }
        let minute = self.number(2, 2)? as i8;
        if !self.eat(b':') {
            return None;
        }
        let second = self.number(2, 2)? as i8;
        let mut nanos = 0;
        let fraction = self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        if fraction && self.eat_any(b".,").is_some() {
            let mut unit = 100_000_000;
            while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
                nanos += i32::from(digit - b'0') * unit;
                unit /= 10;
                self.at += 1;
            }
        }
        (hour < 24 && minute < 60 && second <= 60).then_some(Clock { hour, minute, second, nanos })
    }

    /// A zone behind a time of day, at once or after a space.
    fn zone(&mut self) -> Zone {
        let start = self.at;
        let spaced = self.eat(b' ');
        let zone = self.zone_here();
        // After a space, a sign and two digits may be the start of the message.
        let short = self.at - start < 6;
        let number = matches!(self.text.get(start + 1), Some(b'+' | b'-'));
        if zone == Zone::Unsaid || spaced && number && short {
            self.at = start;
            return Zone::Unsaid;
        }
        zone
    }

    fn zone_here(&mut self) -> Zone {
        let start = self.at;
        let zone = match self.eat_any(b"+-") {
            Some(sign) => self.offset().map(|secs| Zone::Offset(if sign == b'-' { -secs } else { secs })),
            None => named_zone(self.letters()),
        };
        zone.unwrap_or_else(|| {
            self.at = start;
            Zone::Unsaid
        })
    }

    /// `0100`, `01:00` or `01`, in seconds.
    fn offset(&mut self) -> Option<i32> {
        let (hours, minutes) = match self.number(2, 4) {
            Some(number) if self.text[self.at - 3].is_ascii_digit() => (number / 100, number % 100),
            Some(hours) => {
                let start = self.at;
                let minutes = if self.eat(b':') { self.number(2, 2) } else { None };
                if minutes.is_none() {
                    self.at = start;
                }
                (hours, minutes.unwrap_or(0))
            }
            None => return None,
        };
        (hours <= 15 && minutes < 60).then_some(hours * 3_600 + minutes * 60)
    }
}

fn month(name: &[u8]) -> Option<i8> {
    const MONTHS: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month)).map(|at| at as i8 + 1)
}

fn is_weekday(name: &[u8]) -> bool {
    const WEEKDAYS: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    WEEKDAYS.iter().any(|weekday| name.eq_ignore_ascii_case(*weekday))
}

/// Names that mean UTC, and names that mean some other zone. The others do not say which: `CST` is used for three of them,
/// and summer time is often left out of the name.
fn named_zone(name: &[u8]) -> Option<Zone> {
    match name {
        b"Z" | b"z" | b"UTC" | b"GMT" => Some(Zone::Offset(0)),
        b"CET" | b"CEST" | b"WET" | b"WEST" | b"EET" | b"EEST" | b"MET" | b"MEST" | b"BST" | b"IST" | b"MSK"
        | b"JST" | b"KST" | b"SGT" | b"HKT" | b"EST" | b"EDT" | b"CST" | b"CDT" | b"MST" | b"MDT" | b"PST" | b"PDT"
        | b"AKST" | b"AKDT" | b"HST" | b"AEST" | b"AEDT" | b"ACST" | b"ACDT" | b"AWST" | b"NZST" | b"NZDT" | b"BRT"
        | b"SAST" => Some(Zone::Unclear),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told<'static> {
        Told {
            log_type: "X",
            received_at: "2026-01-02T12:00:00Z".parse().unwrap(),
            sender_time: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn times_in_many_forms() {
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.123456789Z", Some("2026-01-02T03:04:05.123456789Z")),
            ("2026-01-02T03:04:05.1234567891Z", Some("2026-01-02T03:04:05.123456789Z")),
            ("2019-01-02t03:04:05z", Some("2019-01-02T03:04:05Z")),
            ("2019-01-02T03:04:05+01:00", Some("2019-01-02T02:04:05Z")),
            ("2019-01-02T03:04:05-0730", Some("2019-01-02T10:34:05Z")),
            ("2019-01-02T03:04:05+01", Some("2019-01-02T02:04:05Z")),
            ("2019-01-02 03:04:05 +0100", Some("2019-01-02T02:04:05Z")),
            ("2019-01-02 03:04:05 UTC", Some("2019-01-02T03:04:05Z")),
            ("2016-12-31T23:59:60.5Z", Some("2017-01-01T00:00:00Z")),
            ("[2019-01-02 03:04:05,123 GMT]", Some("2019-01-02T03:04:05.123Z")),
            ("10/Oct/2000:13:55:36 -0700", Some("2000-10-10T20:55:36Z")),
            ("Fri, 09 Sep 2011 10:42:29 +0000", Some("2011-09-09T10:42:29Z")),
            ("Fri Sep  9 10:42:29 UTC 2011", Some("2011-09-09T10:42:29Z")),
            ("Sep 09 2011 10:42:29.5 GMT", Some("2011-09-09T10:42:29.5Z")),
            ("Aug 06 10:42:29 GMT", Some("2025-08-06T10:42:29Z")),
            // Without a zone: UTC, if it is near when the record was sent or came.
            ("2026-01-02 03:04:05", Some("2026-01-02T03:04:05Z")),
            ("2026/01/02 03:04:05.5", Some("2026-01-02T03:04:05.5Z")),
            ("2025-12-30 22:00:00", Some("2025-12-30T22:00:00Z")),
            ("2025-12-30 21:59:59", None),
            ("2026-01-03 14:00:00", Some("2026-01-03T14:00:00Z")),
            ("2026-01-03 14:00:01", None),
            ("Dec 31 23:59:59", Some("2025-12-31T23:59:59Z")),
            ("Jan  2 03:04:05.250", Some("2026-01-02T03:04:05.25Z")),
            ("Jun  2 03:04:05", None),
            ("Thu Jan  1 10:42:29.902022 2026", Some("2026-01-01T10:42:29.902022Z")),
            ("01-Jan-2026 13:55:36.123", Some("2026-01-01T13:55:36.123Z")),
            // A zone that says something, but not what.
            ("2026-01-02 03:04:05 CET", None),
            ("2026-01-02 03:04:05 Mars", None),
            // No times.
            ("2026-01-02", None),
            ("2026-02-30T03:04:05Z", None),
            ("2026-01-02T25:04:05Z", None),
            ("2026-01-02T03:04Z", None),
            ("2026-01-02T03:04:05+99:00", None),
            ("01/02/2026 03:04:05", None),
            ("0001-01-01T00:00:00Z", None),
            ("2300-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            let got = whole(text).and_then(|written| written.settle(&told()));
            assert_eq!(got.map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn how_far_a_time_reaches() {
        for (text, rest) in [
            ("2026-01-02T03:04:05Z host", Some(" host")),
            ("2026-01-02 03:04:05 -12 degrees", Some(" -12 degrees")),
            ("2026-01-02 03:04:05, then", Some(", then")),
            ("Jan  2 03:04:05: %ASA", Some(": %ASA")),
            ("Jan  2 03:04:05 CET: %SYS", Some(": %SYS")),
            ("Jan  2 03:04:05 2026 cars", Some(" 2026 cars")),
            ("2026-01-02T03:04:05Zebra", None),
        ] {
            assert_eq!(prefix(text).map(|(_, length)| &text[length..]), rest, "{text}");
        }
    }

    #[test]
    fn counts_since_1970() {
        for (text, expected) in [
            ("1767323045", Some("2026-01-02T03:04:05Z")),
            ("1767323045.5", Some("2026-01-02T03:04:05.5Z")),
            ("1767323045123", Some("2026-01-02T03:04:05.123Z")),
            ("1767323045123456", Some("2026-01-02T03:04:05.123456Z")),
            ("1767323045123456789", Some("2026-01-02T03:04:05.123456789Z")),
            ("176732304", None),
            ("99999999999", None),
            ("-1767323045", None),
            ("1e9", None),
        ] {
            assert_eq!(epoch(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }
}
