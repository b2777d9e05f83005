//! The formats of `date`: read once into a short list of steps, then followed over each text without taking memory.
//!
//! Two kinds exist: names of whole formats (`ISO8601`, `UNIX`, …) and patterns in the letters of Joda-Time, which
//! Google's documentation refers to (contracts/cbn.md §1.8). What parsers in use write, but Joda's letters do not
//! cover, is read the way it is meant: `T` without quotes, `A` for AM and PM, `+HH:mm` for an offset, `D` for the day of
//! the month beside a month.
//!
//! How strict a pattern is follows what is seen of Google's engine and of the language it is written in: nothing may
//! stand before or behind the date; a run of blanks equals any other run; numbers may lack their leading zeros, except
//! years and where digits touch; a fraction of a second may stand where the pattern has none. Here nothing knows what
//! time it is or which zones there are: a year or zone that the text does not name is `date.rs`'s to add. Names of
//! months in other languages than English are absent on purpose: the option for them (`locale`) is not in the language.

/// A format that can be followed.
#[derive(Debug)]
pub(crate) struct Format {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// ISO 8601; whether it has to name a zone.
    Iso { zoned: bool },
    /// A number of units since 1970, and how many make a second.
    Unix { per_second: i64 },
    /// `@` and 24 hexadecimal digits.
    Tai64n,
    /// What directories write: 100 nanoseconds since 1601, or digits without separators and a zone.
    Ldap,
    /// A pattern.
    Pattern(Box<[Step]>),
}

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Said<'t> {
    /// A point in time: seconds since 1970, and nanoseconds after that.
    Instant { seconds: i64, nanos: u32 },
    /// What a calendar and a clock show.
    Civil(Civil<'t>),
}

/// What a calendar and a clock show; what the text does not say is missing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Civil<'t> {
    pub(crate) year: Option<i16>,
    pub(crate) month: Option<u8>,
    pub(crate) day: Option<u8>,
    /// From 1, instead of month and day.
    pub(crate) day_of_year: Option<u16>,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) nanos: u32,
    pub(crate) zone: Zone<'t>,
}

/// The zone that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Zone<'t> {
    /// None.
    #[default]
    Unsaid,
    /// Seconds east of UTC.
    Offset(i32),
    /// A name of the time zone database, perhaps.
    Name(&'t str),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Digits.
    Number { field: Field, width_min: u8, width_max: u8 },
    /// Digits of a second, with as many more behind a point as there are if that may be.
    Second { width_min: u8, fraction: bool },
    /// Digits behind a point that was read before; exactly so many where other digits follow.
    Fraction { width: Option<u8> },
    /// The English name of a month, short or long.
    Month,
    /// The English name of a day of the week, which says nothing new.
    Weekday,
    /// AM or PM.
    Half,
    /// An offset, an abbreviation or a name.
    Zone { optional: bool },
    /// At least one blank, or the end of the text.
    Blanks,
    /// These bytes.
    Literal(Box<[u8]>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Year,
    /// Two digits: from 1969 to 2068.
    YearShort,
    Month,
    Day,
    DayOfYear,
    /// A number that says nothing new.
    Weekday,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    HourFrom1,
    /// 0 to 12, beside AM or PM.
    HourHalf,
    Minute,
}

impl Format {
    /// Reads a format. `None` where it has no field of a date or time at all, so that it could never say anything.
    pub(crate) fn new(written: &str) -> Option<Format> {
        let kind = match written.trim() {
            "ISO8601" | "TIMESTAMP_ISO8601" => Kind::Iso { zoned: false },
            "RFC3339" => Kind::Iso { zoned: true },
            "UNIX" => Kind::Unix { per_second: 1 },
            "UNIX_MS" => Kind::Unix { per_second: 1_000 },
            "TAI64N" => Kind::Tai64n,
            "LDAP" => Kind::Ldap,
            "SYSLOGTIMESTAMP" => Kind::Pattern(compile("MMM d HH:mm:ss")?),
            _ => Kind::Pattern(compile(written)?),
        };
        Some(Format { kind })
    }

    /// Whether the format counts units of time, so that a number will do for a text.
    pub(crate) fn per_second(&self) -> Option<i64> {
        match self.kind {
            Kind::Unix { per_second } => Some(per_second),
            _ => None,
        }
    }

    /// Reads a whole text. `None` where the format does not match it.
    pub(crate) fn read<'t>(&self, text: &'t str) -> Option<Said<'t>> {
        let mut cursor = Cursor { text, at: 0 };
        let said = match &self.kind {
            Kind::Iso { zoned } => Said::Civil(iso(&mut cursor, *zoned)?),
            Kind::Unix { per_second } => unix(&mut cursor, *per_second)?,
            Kind::Tai64n => tai64n(&mut cursor)?,
            Kind::Ldap => ldap(&mut cursor)?,
            Kind::Pattern(steps) => Said::Civil(pattern(&mut cursor, steps)?),
        };
        (cursor.at == text.len()).then_some(said)
    }
}

/// From a pattern to its steps.
fn compile(written: &str) -> Option<Box<[Step]>> {
    let bytes = written.as_bytes();
    let has = |letter: u8| {
        let mut quoted = false;
        bytes.iter().any(|byte| {
            quoted ^= *byte == b'\'';
            !quoted && *byte == letter
        })
    };
    let (months, halves, seconds) = (has(b'M'), has(b'a') || has(b'A'), has(b's'));
    let mut steps: Vec<Step> = Vec::new();
    let mut literal = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let run = bytes[at..].iter().take_while(|other| **other == byte).count();
        let hours = steps.iter().any(|step| matches!(step, Step::Number { field, .. } if hour(*field)));
        let mut next = at + run;
        let step = match byte {
            b'\'' => {
                // Quoted text; two quotes are one, inside and outside.
                let inner = &bytes[at + 1..];
                if inner.first() == Some(&b'\'') {
                    literal.push(b'\'');
                    at += 2;
                    continue;
                }
                let mut end = 0;
                while end < inner.len() {
                    if inner[end] == b'\'' {
                        if inner.get(end + 1) != Some(&b'\'') {
                            break;
                        }
                        end += 1;
                    }
                    literal.push(inner[end]);
                    end += 1;
                }
                at += end + 2;
                continue;
            }
            b' ' | b'\t' => Step::Blanks,
            b'+' | b'-' if hours && bytes[at + 1..].starts_with(b"HH") => {
                let rest = &bytes[at + 3..];
                next = at + 3 + [&b":mm"[..], b"mm"].iter().find(|form| rest.starts_with(form)).map_or(0, |f| f.len());
                Step::Zone { optional: false }
            }
            b'U' | b'G' if bytes[at..].starts_with(b"UTC") || bytes[at..].starts_with(b"GMT") => {
                next = at + 3;
                Step::Zone { optional: false }
            }
            b'y' | b'Y' | b'u' if run == 2 => number(Field::YearShort, 2, 2),
            b'y' | b'Y' | b'u' => number(Field::Year, if run == 1 { 1 } else { 4 }, 4),
            b'M' if run >= 3 => Step::Month,
            b'M' => number(Field::Month, run, 2),
            b'd' => number(Field::Day, run, 2),
            b'D' if run < 3 && months => number(Field::Day, run, 2),
            b'D' => number(Field::DayOfYear, run, 3),
            b'E' => Step::Weekday,
            b'e' => number(Field::Weekday, 1, 1),
            b'H' | b'K' => number(Field::Hour, run, 2),
            // Hours of half a day without a half are meant as hours of the day.
            b'h' => number(if halves { Field::HourHalf } else { Field::Hour }, run, 2),
            b'k' => number(Field::HourFrom1, run, 2),
            b'm' => number(Field::Minute, run, 2),
            b's' => Step::Second { width_min: run.min(2) as u8, fraction: true },
            // `mm:SSS` where seconds are nowhere else: the seconds.
            b'S' if !seconds && literal.ends_with(b":") => Step::Second { width_min: 2, fraction: true },
            b'S' => Step::Fraction { width: Some(run.min(9) as u8) },
            b'a' | b'A' => Step::Half,
            // `ss.ZZZZZZ`: the digits of a fraction, and perhaps a zone.
            b'Z' if run > 3 && literal.ends_with(b".") => Step::Fraction { width: None },
            b'Z' | b'z' | b'X' => Step::Zone { optional: false },
            other => {
                literal.push(other);
                at += 1;
                continue;
            }
        };
        if !literal.is_empty() {
            steps.push(Step::Literal(std::mem::take(&mut literal).into()));
        }
        let zone_behind = byte == b'Z' && matches!(step, Step::Fraction { .. });
        steps.push(step);
        if zone_behind {
            steps.push(Step::Zone { optional: true });
        }
        at = next;
    }
    if !literal.is_empty() {
        steps.push(Step::Literal(literal.into()));
    }
    // Now that it is known what stands behind: where digits touch, widths are exact, and elsewhere leading zeros may
    // lack; a fraction is only free to stand where the pattern does not go on with a point itself.
    for at in 0..steps.len() {
        let touches =
            matches!(steps.get(at + 1), Some(Step::Number { .. } | Step::Second { .. } | Step::Fraction { .. }));
        let point = matches!(steps.get(at + 1), Some(Step::Literal(text)) if matches!(text[0], b'.' | b','));
        match &mut steps[at] {
            Step::Number { field, width_min, width_max } => {
                if touches {
                    *width_max = *width_min;
                } else if !matches!(field, Field::Year | Field::YearShort) {
                    *width_min = 1;
                }
            }
            Step::Second { width_min, fraction } => {
                *fraction = !point && !touches;
                if !touches {
                    *width_min = 1;
                }
            }
            Step::Fraction { width } if !touches => *width = None,
            _ => {}
        }
    }
    let says = |step: &Step| !matches!(step, Step::Literal(_) | Step::Blanks | Step::Weekday | Step::Half);
    steps.iter().any(says).then(|| steps.into())
}

fn number(field: Field, width_min: usize, width_max: u8) -> Step {
    Step::Number { field, width_min: width_min.min(width_max as usize) as u8, width_max }
}

fn hour(field: Field) -> bool {
    matches!(field, Field::Hour | Field::HourFrom1 | Field::HourHalf)
}

/// Follows a pattern.
fn pattern<'t>(cursor: &mut Cursor<'t>, steps: &[Step]) -> Option<Civil<'t>> {
    let mut civil = Civil::default();
    let mut afternoon = None;
    for step in steps {
        match step {
            Step::Number { field, width_min, width_max } => {
                let (value, width) = cursor.digits(*width_min, *width_max)?;
                let value = value as u16;
                match field {
                    Field::Year if width == 2 => civil.year = Some(short_year(value)),
                    Field::Year => civil.year = Some(value as i16),
                    Field::YearShort => civil.year = Some(short_year(value)),
                    Field::Month => civil.month = Some(within(value, 1, 12)?),
                    Field::Day => civil.day = Some(within(value, 1, 31)?),
                    Field::DayOfYear => civil.day_of_year = (1..=366).contains(&value).then_some(value),
                    Field::Weekday => {}
                    Field::Hour => civil.hour = within(value, 0, 23)?,
                    Field::HourFrom1 => civil.hour = within(value, 1, 24)? % 24,
                    Field::HourHalf => civil.hour = within(value, 0, 23)?,
                    Field::Minute => civil.minute = within(value, 0, 59)?,
                }
                if *field == Field::DayOfYear && civil.day_of_year.is_none() {
                    return None;
                }
            }
            Step::Second { width_min, fraction } => {
                civil.second = second(cursor.digits(*width_min, 2)?.0)?;
                if *fraction {
                    civil.nanos = cursor.point_and_fraction().unwrap_or(0);
                }
            }
            Step::Fraction { width } => civil.nanos = cursor.fraction(*width)?,
            Step::Month => civil.month = Some(cursor.name(&MONTHS)? + 1),
            Step::Weekday => {
                cursor.name(&WEEKDAYS)?;
            }
            Step::Half => {
                afternoon = Some(match cursor.letters().as_bytes() {
                    [b'A' | b'a', b'M' | b'm'] => false,
                    [b'P' | b'p', b'M' | b'm'] => true,
                    _ => return None,
                });
                cursor.at += 2;
            }
            Step::Zone { optional } => match cursor.zone() {
                Some(zone) => civil.zone = zone,
                None if *optional => {}
                None => return None,
            },
            Step::Blanks => {
                if !cursor.blanks() && cursor.at != cursor.text.len() && cursor.at != 0 {
                    return None;
                }
            }
            Step::Literal(bytes) => {
                if !cursor.rest().starts_with(bytes) {
                    return None;
                }
                cursor.at += bytes.len();
            }
        }
    }
    // Also beside hours of the whole day, as parsers in use have it: `HH:mm:ss A`.
    match afternoon {
        Some(true) if civil.hour < 12 => civil.hour += 12,
        Some(false) if civil.hour == 12 => civil.hour = 0,
        _ => {}
    }
    Some(civil)
}

/// ISO 8601 as logs write it: `2024-05-06`, `2024-05-06T07:08:09.123456789+02:00`, a blank for the `T`, a comma for the
/// point, no separators, a zone by name.
fn iso<'t>(cursor: &mut Cursor<'t>, zoned: bool) -> Option<Civil<'t>> {
    let mut civil = Civil { year: Some(cursor.digits(4, 4)?.0 as i16), ..Civil::default() };
    let separated = cursor.take(b'-') || cursor.take(b'/');
    civil.month = Some(within(cursor.digits(if separated { 1 } else { 2 }, 2)?.0 as u16, 1, 12)?);
    if separated && !(cursor.take(b'-') || cursor.take(b'/')) {
        return None;
    }
    civil.day = Some(within(cursor.digits(if separated { 1 } else { 2 }, 2)?.0 as u16, 1, 31)?);
    if !(cursor.take(b'T') || cursor.take(b't') || cursor.blanks()) {
        return (!zoned).then_some(civil);
    }
    civil.hour = within(cursor.digits(if separated { 1 } else { 2 }, 2)?.0 as u16, 0, 23)?;
    let separated = cursor.take(b':');
    if separated || cursor.rest().first().is_some_and(u8::is_ascii_digit) {
        civil.minute = within(cursor.digits(2, 2)?.0 as u16, 0, 59)?;
        if cursor.take(b':') || (!separated && cursor.rest().first().is_some_and(u8::is_ascii_digit)) {
            civil.second = second(cursor.digits(2, 2)?.0)?;
            civil.nanos = cursor.point_and_fraction().unwrap_or(0);
        }
    }
    match cursor.zone() {
        Some(zone) => civil.zone = zone,
        None if zoned => return None,
        None => {}
    }
    Some(civil)
}

/// A number of units since 1970, with a fraction or an exponent if there is one.
fn unix<'t>(cursor: &mut Cursor<'t>, per_second: i64) -> Option<Said<'t>> {
    let text = cursor.text;
    cursor.at = text.len();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if digits.contains(['e', 'E']) {
        return instant_of(text.parse().ok()?, per_second);
    }
    unix_digits(text, per_second)
}

/// Of a sign, digits and a point.
fn unix_digits<'t>(text: &str, per_second: i64) -> Option<Said<'t>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let (nanos, _) = nanos_of(fraction.as_bytes());
    let unit_nanos = 1_000_000_000 / per_second;
    let nanos = i128::from(whole) * i128::from(unit_nanos) + i128::from(i64::from(nanos) / per_second);
    Some(split(if text.starts_with('-') { -nanos } else { nanos }))
}

/// The same of a number, by the shortest digits that mean it: those are what was written, where the number itself is only
/// the nearest that a float can be (1795766537.1 is a little less than it says).
pub(crate) fn instant_of<'t>(number: f64, per_second: i64) -> Option<Said<'t>> {
    // Far beyond all times even in the smallest unit, and with few digits before the point.
    if number.is_nan() || number.abs() >= 1e18 {
        return None;
    }
    // Never with an exponent.
    unix_digits(&number.to_string(), per_second)
}

fn split<'t>(nanos: i128) -> Said<'t> {
    Said::Instant { seconds: nanos.div_euclid(1_000_000_000) as i64, nanos: nanos.rem_euclid(1_000_000_000) as u32 }
}

/// The external form of Bernstein's TAI64N: 2^62 plus seconds, of which the first ten leap seconds are taken off as
/// everybody does who reads it, and nanoseconds.
fn tai64n<'t>(cursor: &mut Cursor<'t>) -> Option<Said<'t>> {
    cursor.take(b'@');
    let digits = cursor.rest().get(..24)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let text = &cursor.text[cursor.at..cursor.at + 24];
    cursor.at += 24;
    let seconds = u64::from_str_radix(&text[..16], 16).ok()?;
    let nanos = u32::from_str_radix(&text[16..], 16).ok()?;
    if seconds >= 1 << 63 || nanos > 999_999_999 {
        return None;
    }
    Some(Said::Instant { seconds: seconds as i64 - (1 << 62) - 10, nanos })
}

/// The two times of directories: Active Directory's count of 100 nanoseconds since 1601, and LDAP's GeneralizedTime
/// (`20240506070809.0Z`). What stands behind this name in Google's engine is not documented; these two are what its
/// users have.
fn ldap<'t>(cursor: &mut Cursor<'t>) -> Option<Said<'t>> {
    let digits = cursor.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
    if (17..=19).contains(&digits) {
        let count: i64 = cursor.text[..digits].parse().ok()?;
        cursor.at = digits;
        let seconds = count / 10_000_000 - 11_644_473_600;
        return Some(Said::Instant { seconds, nanos: (count % 10_000_000) as u32 * 100 });
    }
    if digits != 10 && digits != 12 && digits != 14 {
        return None;
    }
    let mut civil = Civil { year: Some(cursor.digits(4, 4)?.0 as i16), ..Civil::default() };
    civil.month = Some(within(cursor.digits(2, 2)?.0 as u16, 1, 12)?);
    civil.day = Some(within(cursor.digits(2, 2)?.0 as u16, 1, 31)?);
    civil.hour = within(cursor.digits(2, 2)?.0 as u16, 0, 23)?;
    if digits > 10 {
        civil.minute = within(cursor.digits(2, 2)?.0 as u16, 0, 59)?;
    }
    if digits > 12 {
        civil.second = second(cursor.digits(2, 2)?.0)?;
        civil.nanos = cursor.point_and_fraction().unwrap_or(0);
    }
    // The zone has to be there: without, ten digits would be seconds since 1970 for the format that comes next.
    civil.zone = cursor.zone()?;
    Some(Said::Civil(civil))
}

/// Reads a zone that stands alone, as the option `timezone` has it.
pub(crate) fn zone_alone(text: &str) -> Option<Zone<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    let zone = cursor.zone()?;
    (cursor.at == text.len()).then_some(zone)
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What abbreviations mean in minutes east of UTC, where one meaning outweighs the others by far. They are no names of
/// the time zone database, and several of them are ambiguous; an offset or a name is always better.
#[rustfmt::skip]
const ABBREVIATIONS: [(&str, i16); 41] = [
    ("UTC", 0), ("GMT", 0), ("UT", 0), ("WET", 0), ("WEST", 60), ("BST", 60), ("CET", 60),
    ("CEST", 120), ("MEZ", 60), ("MESZ", 120), ("EET", 120), ("EEST", 180), ("SAST", 120), ("MSK", 180),
    ("TRT", 180), ("GST", 240), ("PKT", 300), ("IST", 330), ("WIB", 420), ("ICT", 420), ("SGT", 480),
    ("HKT", 480), ("AWST", 480), ("JST", 540), ("KST", 540), ("ACST", 570), ("ACDT", 630), ("AEST", 600),
    ("AEDT", 660), ("NZST", 720), ("NZDT", 780), ("BRT", -180), ("ART", -180), ("EST", -300), ("EDT", -240),
    ("CST", -360), ("CDT", -300), ("MST", -420), ("MDT", -360), ("PST", -480), ("PDT", -420),
];

/// A place in a text.
struct Cursor<'t> {
    text: &'t str,
    /// Always on a character boundary: only ASCII is stepped over.
    at: usize,
}

impl<'t> Cursor<'t> {
    #[inline]
    fn rest(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.rest().first() == Some(&byte);
        self.at += usize::from(there);
        there
    }

    /// Steps over blanks; whether there were any.
    fn blanks(&mut self) -> bool {
        let blanks = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at += blanks;
        blanks > 0
    }

    /// A number of so many digits, and how many they were.
    #[inline]
    fn digits(&mut self, width_min: u8, width_max: u8) -> Option<(u32, u8)> {
        let mut value = 0;
        let mut width = 0;
        for byte in self.rest().iter().take(width_max as usize) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value * 10 + u32::from(digit);
            width += 1;
        }
        self.at += width as usize;
        (width >= width_min).then_some((value, width))
    }

    /// A fraction of a second in nanoseconds; what is finer is left out.
    fn fraction(&mut self, width: Option<u8>) -> Option<u32> {
        let rest = self.rest();
        let rest = width.map_or(rest, |width| &rest[..rest.len().min(width as usize)]);
        let (nanos, digits) = nanos_of(rest);
        self.at += digits;
        (width.map_or(digits > 0, |width| digits == width as usize)).then_some(nanos)
    }

    /// The same with the point before it.
    #[inline]
    fn point_and_fraction(&mut self) -> Option<u32> {
        let rest = self.rest();
        if !matches!(rest, [b'.' | b',', digit, ..] if digit.is_ascii_digit()) {
            return None;
        }
        self.at += 1;
        self.fraction(None)
    }

    /// The letters from here on; does not step.
    fn letters(&self) -> &'t str {
        let letters = self.rest().iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        &self.text[self.at..self.at + letters]
    }

    /// Which of the names stands here: three letters of it at least, or all.
    fn name(&mut self, names: &[&str]) -> Option<u8> {
        let word = self.letters().as_bytes();
        let start = word.get(..3)?;
        let index = names.iter().position(|name| name.as_bytes()[..3].eq_ignore_ascii_case(start))?;
        // `Sept` is in use, and a word that only starts alike is another.
        let name = names[index].as_bytes();
        if !name.get(..word.len()).is_some_and(|name| name.eq_ignore_ascii_case(word)) {
            return None;
        }
        self.at += word.len();
        self.take(b'.');
        Some(index as u8)
    }

    /// A zone in any way of writing, with blanks before it or not: `Z`, `+02`, `+0200`, `+02:00`, `UTC`, `UTC+2`, `CEST`,
    /// `Europe/Berlin`.
    fn zone(&mut self) -> Option<Zone<'t>> {
        let start = self.at;
        self.blanks();
        let zone = self.zone_here();
        if zone.is_none() {
            self.at = start;
        }
        zone
    }

    fn zone_here(&mut self) -> Option<Zone<'t>> {
        match self.rest().first()? {
            b'+' | b'-' => self.offset().map(Zone::Offset),
            first if first.is_ascii_alphabetic() => {
                let word = self.letters();
                if word.eq_ignore_ascii_case("Z") {
                    self.at += 1;
                    return Some(Zone::Offset(0));
                }
                if matches!(word, "UTC" | "GMT" | "UT") {
                    self.at += word.len();
                    return Some(Zone::Offset(self.offset().unwrap_or(0)));
                }
                let name = self.rest().iter().take_while(|byte| zone_byte(**byte)).count();
                let name = &self.text[self.at..self.at + name];
                self.at += name.len();
                Some(match ABBREVIATIONS.iter().find(|(known, _)| *known == name) {
                    Some((_, minutes)) => Zone::Offset(i32::from(*minutes) * 60),
                    None => Zone::Name(name),
                })
            }
            _ => None,
        }
    }

    /// `+2`, `+02`, `+0200`, `+02:00`, `+02:00:00` in seconds.
    fn offset(&mut self) -> Option<i32> {
        let start = self.at;
        let seconds = self.offset_here();
        if seconds.is_none() {
            self.at = start;
        }
        seconds
    }

    fn offset_here(&mut self) -> Option<i32> {
        let west = match self.rest().first()? {
            b'+' => false,
            b'-' => true,
            _ => return None,
        };
        self.at += 1;
        let hours = self.digits(1, 2)?.0;
        let mut minutes = 0;
        let mut seconds = 0;
        let colon = self.take(b':');
        if colon || self.rest().first().is_some_and(u8::is_ascii_digit) {
            minutes = self.digits(2, 2)?.0;
            if colon && self.take(b':') {
                seconds = self.digits(2, 2)?.0;
            }
        }
        if hours > 25 || minutes > 59 || seconds > 59 {
            return None;
        }
        let total = (hours * 3600 + minutes * 60 + seconds) as i32;
        Some(if west { -total } else { total })
    }
}

fn zone_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+')
}

/// Leading digits as a fraction of a second in nanoseconds, and how many they are.
#[inline]
fn nanos_of(bytes: &[u8]) -> (u32, usize) {
    let mut nanos = 0;
    let mut digits = 0;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            break;
        }
        if digits < 9 {
            nanos = nanos * 10 + u32::from(byte - b'0');
        }
        digits += 1;
    }
    for _ in digits..9 {
        nanos *= 10;
    }
    (nanos, digits)
}

#[inline]
fn within(value: u16, from: u16, to: u16) -> Option<u8> {
    (from..=to).contains(&value).then_some(value as u8)
}

/// A leap second is told as the second before it, since Unix time has no place for it.
#[inline]
fn second(value: u32) -> Option<u8> {
    match value {
        0..=59 => Some(value as u8),
        60 => Some(59),
        _ => None,
    }
}

fn short_year(value: u16) -> i16 {
    if value >= 69 { 1900 + value as i16 } else { 2000 + value as i16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a format makes of a text: year-month-day hour:minute:second.nanos zone, with `?` for what is missing; a
    /// number for points in time; `-` where it does not match.
    fn read(format: &str, text: &str) -> String {
        let Some(format) = Format::new(format) else { return "no format".to_owned() };
        match format.read(text) {
            None => "-".to_owned(),
            Some(Said::Instant { seconds, nanos: 0 }) => seconds.to_string(),
            Some(Said::Instant { seconds, nanos }) => format!("{seconds}.{nanos:09}"),
            Some(Said::Civil(civil)) => {
                let part = |value: Option<i32>| value.map_or("?".to_owned(), |value| value.to_string());
                let (year, month, day) =
                    (part(civil.year.map(i32::from)), part(civil.month.map(i32::from)), part(civil.day.map(i32::from)));
                let day = civil.day_of_year.map_or(format!("{month}-{day}"), |day| format!("#{day}"));
                let fraction = if civil.nanos == 0 { String::new() } else { format!(".{:09}", civil.nanos) };
                let zone = match civil.zone {
                    Zone::Unsaid => String::new(),
                    Zone::Offset(seconds) => format!(" {seconds:+}"),
                    Zone::Name(name) => format!(" {name}"),
                };
                format!("{year}-{day} {}:{}:{}{fraction}{zone}", civil.hour, civil.minute, civil.second)
            }
        }
    }

    fn check(table: &[(&str, &str, &str)]) {
        for (format, text, expected) in table {
            assert_eq!(read(format, text), *expected, "{format} on {text}");
        }
    }

    #[test]
    fn iso_8601_in_the_ways_that_logs_write_it() {
        // Google's documentation, date: ISO8601 and RFC3339; contracts/cbn.md §1.8.
        check(&[
            ("ISO8601", "2024-05-06T07:08:09Z", "2024-5-6 7:8:9 +0"),
            ("ISO8601", "2024-05-06T07:08:09.123456789+02:00", "2024-5-6 7:8:9.123456789 +7200"),
            ("ISO8601", "2024-05-06T07:08:09.1234567891Z", "2024-5-6 7:8:9.123456789 +0"),
            ("ISO8601", "2024-05-06T07:08:09,5+0530", "2024-5-6 7:8:9.500000000 +19800"),
            ("ISO8601", "2024-05-06 07:08:09", "2024-5-6 7:8:9"),
            ("ISO8601", "2024-05-06 07:08:09 UTC", "2024-5-6 7:8:9 +0"),
            ("ISO8601", "2024-05-06T07:08", "2024-5-6 7:8:0"),
            ("ISO8601", "2024-05-06", "2024-5-6 0:0:0"),
            ("ISO8601", "20240506T070809Z", "2024-5-6 7:8:9 +0"),
            ("ISO8601", "2024-05-06T07:08:60Z", "2024-5-6 7:8:59 +0"),
            ("ISO8601", "2024-05-06T25:08:09Z", "-"),
            ("ISO8601", "2024-13-06T07:08:09Z", "-"),
            ("ISO8601", "2024-05-06T07:08:09Z and more", "-"),
            ("ISO8601", "May 6 2024", "-"),
            ("ISO8601", "1715000000", "-"),
            ("TIMESTAMP_ISO8601", "2024-05-06 07:08:09,123", "2024-5-6 7:8:9.123000000"),
            ("RFC3339", "2024-05-06T07:08:09.25-07:00", "2024-5-6 7:8:9.250000000 -25200"),
            ("RFC3339", "2024-05-06T07:08:09", "-"),
        ]);
    }

    #[test]
    fn counts_of_time() {
        // contracts/cbn.md §1.8: UNIX, UNIX_MS, TAI64N, LDAP.
        check(&[
            ("UNIX", "1715000000", "1715000000"),
            ("UNIX", "1715000000.5", "1715000000.500000000"),
            ("UNIX", "1.715e9", "1715000000"),
            ("UNIX", "-1.25", "-2.750000000"),
            ("UNIX", "", "-"),
            ("UNIX", "soon", "-"),
            ("UNIX", "NaN", "-"),
            ("UNIX", "1e400", "-"),
            ("UNIX", "99999999999999999999", "-"),
            ("UNIX", "17150000001715000000.5e3", "-"),
            ("UNIX_MS", "1715000000123", "1715000000.123000000"),
            ("UNIX_MS", "1715000000123.5", "1715000000.123500000"),
            ("TAI64N", "@4000000050d506482dbdf024", "1356138046.767422500"),
            ("TAI64N", "4000000050d506482dbdf024", "1356138046.767422500"),
            ("TAI64N", "@4000000050d50648", "-"),
            ("TAI64N", "@ffffffffffffffff2dbdf024", "-"),
            ("LDAP", "133593840000000000", "1714910400"),
            ("LDAP", "20240506070809.0Z", "2024-5-6 7:8:9 +0"),
            ("LDAP", "202405060708+0200", "2024-5-6 7:8:0 +7200"),
            ("LDAP", "1715000000", "-"),
            ("LDAP", "2024-05-06T07:08:09Z", "-"),
        ]);
    }

    #[test]
    fn letters_of_patterns() {
        // Google's documentation, date: the letters are those of Joda-Time.
        check(&[
            ("yyyy-MM-dd HH:mm:ss", "2024-05-06 07:08:09", "2024-5-6 7:8:9"),
            ("yy/M/d H:m:s", "24/5/6 7:8:9", "2024-5-6 7:8:9"),
            ("dd/MM/yy", "06/05/98", "1998-5-6 0:0:0"),
            ("yyyyMMddHHmmss", "20240506070809", "2024-5-6 7:8:9"),
            ("yyyyMMddHHmmssSSS", "20240506070809123", "2024-5-6 7:8:9.123000000"),
            ("yyyyMMdd HHmmss", "20240506 070809", "2024-5-6 7:8:9"),
            ("MMM d yyyy HH:mm:ss", "May 06 2024 07:08:09", "2024-5-6 7:8:9"),
            ("dd-MMMM-yyyy", "06-september-2024", "2024-9-6 0:0:0"),
            ("dd MMM yyyy", "06 Sept 2024", "2024-9-6 0:0:0"),
            ("dd MMM yyyy", "06 Mayor 2024", "-"),
            ("EEE, dd MMM yyyy HH:mm:ss Z", "Mon, 06 May 2024 07:08:09 +0200", "2024-5-6 7:8:9 +7200"),
            ("EEEE d MMM yyyy", "Monday 6 May 2024", "2024-5-6 0:0:0"),
            ("yyyy-DDD", "2024-127", "2024-#127 0:0:0"),
            ("yyyy-DDD", "2024-367", "-"),
            ("dd/MMM/yyyy:HH:mm:ss Z", "06/May/2024:07:08:09 -0330", "2024-5-6 7:8:9 -12600"),
            ("yyyy-MM-dd HH:mm:ss z", "2024-05-06 07:08:09 PDT", "2024-5-6 7:8:9 -25200"),
            ("yyyy-MM-dd HH:mm:ss ZZZ", "2024-05-06 07:08:09 Asia/Tokyo", "2024-5-6 7:8:9 Asia/Tokyo"),
            ("yyyy-MM-dd HH:mm:ssZ", "2024-05-06 07:08:09Z", "2024-5-6 7:8:9 +0"),
            ("yyyy-MM-dd kk:mm", "2024-05-06 24:30", "2024-5-6 0:30:0"),
            ("M/d/yyyy h:mm:ss a", "5/6/2024 7:08:09 PM", "2024-5-6 19:8:9"),
            ("M/d/yyyy h:mm a", "5/6/2024 12:08 am", "2024-5-6 0:8:0"),
            ("MM/dd/yyyy hh:mm A", "05/06/2024 12:08 PM", "2024-5-6 12:8:0"),
            ("MMM dd yyyy h:mma", "May 06 2024 7:08PM", "2024-5-6 19:8:0"),
            ("yyyy-MM-dd'T'HH:mm:ss'Z'", "2024-05-06T07:08:09Z", "2024-5-6 7:8:9"),
            ("h 'o''clock' yyyy", "7 o'clock 2024", "2024-?-? 7:0:0"),
            ("yyyy-MM-dd", "2024-05-06 07:08:09", "-"),
            ("yyyy-MM-dd", "24-05-06", "-"),
            ("yyyy-MM-dd", "2024-00-06", "-"),
            ("yyyy-MM-dd", "2024-05-06x", "-"),
            ("yyyy-MM-dd", "", "-"),
            ("yyyy-MM-dd", "２０２４-05-06", "-"),
        ]);
    }

    #[test]
    fn patterns_as_people_write_them() {
        // What parsers in use hold and Joda's letters do not cover (contracts/cbn.md §1.8).
        check(&[
            ("yyyy-MM-ddTHH:mm:ss.SSSZ", "2024-05-06T07:08:09.123Z", "2024-5-6 7:8:9.123000000 +0"),
            ("yyyy-MM-ddTHH:mm:ss.SSSZ", "2024-05-06T07:08:09.123456+01:00", "2024-5-6 7:8:9.123456000 +3600"),
            ("yyyy-MM-ddTHH:mm:ss+HH:mm", "2024-05-06T07:08:09+05:30", "2024-5-6 7:8:9 +19800"),
            ("yyyy-MM-dd HH:mm:ss A", "2024-05-06 07:08:09 PM", "2024-5-6 19:8:9"),
            ("yyyy-MM-dd hh:mm:ss", "2024-05-06 17:08:09", "2024-5-6 17:8:9"),
            ("MMM  D HH:mm:ss", "May  6 07:08:09", "?-5-6 7:8:9"),
            ("MMM d HH:mm:ss", "May  6 07:08:09", "?-5-6 7:8:9"),
            ("MMM  dd HH:mm:ss", "May 16 07:08:09", "?-5-16 7:8:9"),
            ("MMM dd HH:mm:ss ", "May 6 07:08:09", "?-5-6 7:8:9"),
            ("SYSLOGTIMESTAMP", "Dec 31 23:59:59", "?-12-31 23:59:59"),
            ("yyyy-MM-dd HH:mm:ss", "2024-05-06 07:08:09.5", "2024-5-6 7:8:9.500000000"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-05-06 07:08:09", "-"),
            ("yyyy-MM-dd HH:mm:ss,SSS", "2024-05-06 07:08:09,5", "2024-5-6 7:8:9.500000000"),
            ("yyyy-MM-dd HH:mm:ss.ZZZZZZ", "2024-05-06 07:08:09.123456", "2024-5-6 7:8:9.123456000"),
            ("yyyy-MM-ddHH:mm:SSS", "2024-05-0607:08:09", "2024-5-6 7:8:9"),
            ("dd/MMM/yyyy:HH:mm:ss. Z", "06/May/2024:07:08:09. +0000", "2024-5-6 7:8:9 +0"),
            ("yyyy-MM-dd HH:mm:ss UTC", "2024-05-06 07:08:09 UTC", "2024-5-6 7:8:9 +0"),
            ("yyyy.MM.dd-HH.mm.ss.SSS", "2024.05.06-07.08.09.001", "2024-5-6 7:8:9.001000000"),
            ("MMM dd HH.mm.ss ZZZ yyyy", "May 06 07.08.09 EDT 2024", "2024-5-6 7:8:9 -14400"),
            ("EEE MMM  d HH:mm:ss yyyy ZZZ", "Mon May  6 07:08:09 2024 UTC", "2024-5-6 7:8:9 +0"),
            ("...", "...", "no format"),
            ("", "", "no format"),
        ]);
    }

    #[test]
    fn zones_that_stand_alone() {
        // Google's documentation, date: timezone is a name or an offset.
        let table = [
            ("Z", Some(Zone::Offset(0))),
            ("+05:30", Some(Zone::Offset(19_800))),
            ("-0800", Some(Zone::Offset(-28_800))),
            ("+2", Some(Zone::Offset(7_200))),
            ("UTC+2", Some(Zone::Offset(7_200))),
            ("CEST", Some(Zone::Offset(7_200))),
            ("Etc/GMT+12", Some(Zone::Name("Etc/GMT+12"))),
            ("America/Port-au-Prince", Some(Zone::Name("America/Port-au-Prince"))),
            ("+99:00", None),
            ("+", None),
            ("", None),
            ("Europe/Berlin!", None),
        ];
        for (text, expected) in table {
            assert_eq!(zone_alone(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_format_panics(format in "[yMdDEHhkKmsSaAZzXT'+:., UTCé0-9-]{0,24}", text in "[0-9A-Za-zé@+:./, -]{0,40}") {
            if let Some(format) = Format::new(&format) {
                let _ = format.read(&text);
            }
        }
    }

    #[test]
    fn nothing_panics() {
        let formats = [
            "ISO8601",
            "RFC3339",
            "UNIX",
            "UNIX_MS",
            "TAI64N",
            "LDAP",
            "SYSLOGTIMESTAMP",
            "yyyyyyyyyyyy",
            "'",
            "''",
            "'x",
            "SSSSSSSSSSSS",
            "ssSS",
            "+HH",
            "HH+HH",
            "HH+HHmm",
            "ZZZZZZZZ",
            "DDDDDD",
            "éMMM",
            "a",
            "EEE",
            "MMMMMMMM",
            "ss.ZZZZ",
        ];
        let texts = [
            "",
            " ",
            "é",
            "2",
            "9999-12-31T23:59:59.999999999-25:59",
            "-",
            "+",
            "@",
            "1e",
            "e",
            "1e18",
            "-1e18",
            "1.",
            ".1",
            "é2024",
            "99999999999999999",
            "9999999999999999999",
            "Mayé",
            "Ma",
            "24",
            "999999999999999999",
            "-9223372036854775808",
        ];
        for format in formats {
            let Some(format) = Format::new(format) else { continue };
            for text in texts {
                let _ = format.read(text);
            }
        }
    }
}
