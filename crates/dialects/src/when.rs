//! Reads a date and time in the forms that Sekoia's documentation admits: RFC 3339 and the rest of ISO 8601, seconds to
//! nanoseconds since 1970 as a number, and the English forms that C's `strftime` and its kin write.
//!
//! Dialects call it where a sender gives a time beside an event, and syslog for the times of RFC 3164. One small cursor
//! walks over the text instead of a list of formats being tried: what counts is which words and numbers there are, not
//! in which order. Which dates exist is left to [`Time::parse_rfc3339`], so that it is decided in one place and said in
//! the same words everywhere.
//!
//! Deliberately absent: times relative to now, zones by name beyond those of RFC 2822 (their offsets change by decree),
//! and dates such as 04/05/2021, of which nobody can tell day from month. Reading them anyway would move logs silently.

use std::iter;

use event::{Time, TimeError};

/// Why a text is no time. Reads as what follows the name of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotATime {
    /// In none of the forms.
    #[error(
        "is no date and time that is understood, such as 2021-04-05T21:33:31+02:00, 1617651211 or \"Mon, 05 Apr 2021 \
         21:33:31 +0200\""
    )]
    Unknown,
    /// Day and month are both numbers, and the year does not come first.
    #[error("has day and month as numbers in an order that cannot be told; write the year first: 2021-04-05")]
    Ambiguous,
    /// A zone that has no fixed offset, or none that is known. Holds its name.
    #[error("names the zone {0:?}, whose offset is not known; write UTC or an offset such as +02:00")]
    Zone(String),
    /// In a known form, but no such time exists or can be kept.
    #[error(transparent)]
    Wrong(#[from] TimeError),
}

const DAY_NANOS: i64 = 86_400_000_000_000;

/// The longest name of a zone that an error repeats, in characters.
const ZONE_SHOWN_MAX: usize = 32;

/// Reads a date and time. Without a zone it is UTC; without a time of day, midnight. Without a year (as syslog writes
/// it) it is the latest such day that is not more than one day after `now`: logs are seldom old, and never new.
pub(crate) fn read(text: &str, now: Time) -> Result<Time, NotATime> {
    let text = text.trim_ascii();
    // Strangers may send this much as megabytes.
    if text.len() > TEXT_BYTES_MAX {
        return Err(NotATime::Unknown);
    }
    match Time::parse_rfc3339(text) {
        Ok(time) => return Ok(time),
        Err(TimeError::OutOfRange) => return Err(TimeError::OutOfRange.into()),
        // It may be of another form. If it is not, the same fault is found again below.
        Err(TimeError::Invalid(_)) => {}
    }
    if let Some(number) = Decimal::read(text) {
        return match is_compact(text).then(|| iso(Cursor::new(text))) {
            Some(Ok(time)) => Ok(time),
            _ => number.time(),
        };
    }
    if names_month(text) {
        english(Cursor::new(text), now)
    } else if is_numeric_date(Cursor::new(text)) {
        Err(NotATime::Ambiguous)
    } else {
        iso(Cursor::new(text))
    }
}

/// Longest text that is looked at: no date with all its words is half as long.
const TEXT_BYTES_MAX: usize = 200;

/// Reads a JSON number: seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their magnitude.
///
/// Up to ten digits before the point are seconds, up to 13 milliseconds, up to 16 microseconds, up to 19 nanoseconds:
/// from 26 April 1970 on, each covers all that can be kept. What is finer than a nanosecond is cut off.
pub(crate) fn of_number(text: &str) -> Result<Time, NotATime> {
    Decimal::read(text).ok_or(NotATime::Unknown)?.time()
}

/// Whether digits are a date of ISO 8601's basic form rather than a number: eight as seconds and fourteen as
/// microseconds would lie before 1973. Twelve (a date without seconds) stay a number, as milliseconds of 1973 to 2001.
fn is_compact(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let is_century = ["19", "20", "21"].iter().any(|century| text.starts_with(century));
    is_century && (digits == 8 && text.len() == 8 || digits == 14)
}

/// Whether one of the words names a month: then the order of the numbers does not matter.
fn names_month(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphabetic()).any(|word| month(word).is_some())
}

/// Whether it begins like 04/05/2021, 5.4.21 or 04-05-2021.
fn is_numeric_date(mut cursor: Cursor<'_>) -> bool {
    let first = cursor.digits().len();
    let Some(separator @ (b'/' | b'.' | b'-')) = cursor.peek() else { return false };
    cursor.at += 1;
    let second = cursor.digits().len();
    let is_pair = (1..=2).contains(&first) && (1..=2).contains(&second);
    is_pair
        && cursor.take(separator)
        && matches!(cursor.digits().len(), 2 | 4)
        && matches!(cursor.peek(), None | Some(b' ' | b',' | b'T' | b't'))
}

/// ISO 8601 and its relatives, in which the year comes first.
fn iso(mut cursor: Cursor<'_>) -> Result<Time, NotATime> {
    let date = iso_date(&mut cursor)?;
    let has_clock = cursor.take(b'T') || cursor.take(b't') || cursor.spaces() || cursor.at_digit();
    let clock = if has_clock { read_clock(&mut cursor)? } else { Clock::default() };
    cursor.spaces();
    let offset = if cursor.at_end() { Offset::default() } else { zone(&mut cursor)? };
    if cursor.at_end() { time(date, clock, offset) } else { Err(NotATime::Unknown) }
}

fn iso_date(cursor: &mut Cursor<'_>) -> Result<Date, NotATime> {
    let start = cursor.at;
    let digits = cursor.digits();
    match digits.len() {
        4 => {}
        7 => return Date::of_ordinal(number(&digits[..4]), number(&digits[4..])),
        // With more digits, a time of day follows.
        8 | 12 | 14 => {
            cursor.at = start + 8;
            return Ok(Date::new(number(&digits[..4]), number(&digits[4..6]), number(&digits[6..8])));
        }
        _ => return Err(NotATime::Unknown),
    }
    let year = number(digits);
    let separator = match cursor.peek() {
        Some(separator @ (b'-' | b'/' | b'.')) => {
            cursor.at += 1;
            Some(separator)
        }
        _ => None,
    };
    if cursor.take(b'W') || cursor.take(b'w') {
        let digits = cursor.digits();
        return match (separator, digits.len()) {
            (None, 3) => Date::of_week(year, number(&digits[..2]), number(&digits[2..])),
            (Some(b'-'), 2) if cursor.take(b'-') => {
                let weekday = cursor.digits();
                if weekday.len() != 1 {
                    return Err(NotATime::Unknown);
                }
                Date::of_week(year, number(digits), number(weekday))
            }
            _ => Err(NotATime::Unknown),
        };
    }
    let Some(separator) = separator else { return Err(NotATime::Unknown) };
    let month = cursor.digits();
    match month.len() {
        3 if separator == b'-' => return Date::of_ordinal(year, number(month)),
        1 | 2 if cursor.take(separator) => {}
        _ => return Err(NotATime::Unknown),
    }
    let day = cursor.digits();
    if !matches!(day.len(), 1 | 2) {
        return Err(NotATime::Unknown);
    }
    Ok(Date::new(year, number(month), number(day)))
}

/// Forms with the name of a month in them, their parts in any order: asctime, RFC 2822, RFC 850, the Common Log Format,
/// syslog.
fn english(mut cursor: Cursor<'_>, now: Time) -> Result<Time, NotATime> {
    let (mut year, mut month_number, mut day) = (None, None, None);
    let (mut clock, mut offset) = (None, None);
    while !cursor.at_end() {
        let start = cursor.at;
        match cursor.peek() {
            Some(b' ' | b'\t' | b',') => cursor.at += 1,
            // 05/Apr/2021 and 05-Apr-21.
            Some(b'/' | b'-') if clock.is_none() => cursor.at += 1,
            // 05/Apr/2021:21:33:31.
            Some(b':') if clock.is_none() && year.is_some() => cursor.at += 1,
            Some(b'+' | b'-') if offset.is_none() => offset = Some(zone(&mut cursor)?),
            Some(byte) if byte.is_ascii_digit() => {
                let digits = cursor.digits();
                match digits.len() {
                    1 | 2 if clock.is_none() && cursor.peek() == Some(b':') => {
                        cursor.at = start;
                        clock = Some(read_clock(&mut cursor)?);
                    }
                    1 | 2 if day.is_none() => day = Some(number(digits)),
                    4 if year.is_none() => year = Some(number(digits)),
                    2 if year.is_none() => year = Some(century_of(number(digits))),
                    _ => return Err(NotATime::Unknown),
                }
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                let word = cursor.word();
                if let (None, Some(named)) = (month_number, month(word)) {
                    month_number = Some(named);
                } else if is_weekday(word) {
                    // Not compared with the date: whoever writes both reckons one from the other, and if it is wrong,
                    // the date is still the better guess.
                } else if clock.is_some() && offset.is_none() {
                    cursor.at = start;
                    offset = Some(zone(&mut cursor)?);
                } else {
                    return Err(NotATime::Unknown);
                }
            }
            _ => return Err(NotATime::Unknown),
        }
    }
    let (Some(month), Some(day)) = (month_number, day) else { return Err(NotATime::Unknown) };
    let (clock, offset) = (clock.unwrap_or_default(), offset.unwrap_or_default());
    match year {
        Some(year) => time(Date::new(year, month, day), clock, offset),
        None => nearest(month, day, clock, offset, now),
    }
}

/// The century of a year of two digits, as POSIX has it.
fn century_of(year: u32) -> u32 {
    if year < 69 { 2000 + year } else { 1900 + year }
}

/// The latest of the years in which the day is not more than one day after `now`.
fn nearest(month: u32, day: u32, clock: Clock, offset: Offset, now: Time) -> Result<Time, NotATime> {
    let latest = now.saturating_add_nanos(DAY_NANOS);
    // The year of `latest` or the one before: 400 years have 146,097 days.
    let about = 1970 + (i64::from(latest.day()) * 400).div_euclid(146_097);
    let mut wrong = None;
    // 29 February may be eight years apart.
    for year in (about - 9..=about + 1).rev() {
        let year = u32::try_from(year).expect("times that can be kept are of the years 1677 to 2262");
        match time(Date::new(year, month, day), clock, offset) {
            Ok(time) if time <= latest => return Ok(time),
            Ok(_) => {}
            Err(why) => wrong = wrong.or(Some(why)),
        }
    }
    Err(wrong.unwrap_or(TimeError::OutOfRange.into()))
}

/// `21:33`, `21:33:31`, `21:33:31.123`, `9:33 PM`, `213331`.
fn read_clock(cursor: &mut Cursor<'_>) -> Result<Clock, NotATime> {
    let digits = cursor.digits();
    let mut clock = Clock::default();
    let has_seconds = match digits.len() {
        1 | 2 if cursor.take(b':') => {
            let minute = cursor.two_digits()?;
            (clock.hour, clock.minute) = (number(digits), minute);
            let has_seconds = cursor.take(b':');
            if has_seconds {
                clock.second = cursor.two_digits()?;
            }
            has_seconds
        }
        4 => {
            (clock.hour, clock.minute) = (number(&digits[..2]), number(&digits[2..]));
            false
        }
        6 => {
            (clock.hour, clock.minute) = (number(&digits[..2]), number(&digits[2..4]));
            clock.second = number(&digits[4..]);
            true
        }
        _ => return Err(NotATime::Unknown),
    };
    if has_seconds && matches!(cursor.peek(), Some(b'.' | b',')) && cursor.digit_follows() {
        cursor.at += 1;
        let digits = cursor.digits().bytes().chain(iter::repeat(b'0'));
        clock.nanos = digits.take(9).fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    }
    let end = cursor.at;
    cursor.spaces();
    let half = cursor.word();
    let is_after_noon = half.eq_ignore_ascii_case("PM");
    if !is_after_noon && !half.eq_ignore_ascii_case("AM") {
        cursor.at = end;
        return Ok(clock);
    }
    if !(1..=12).contains(&clock.hour) {
        return Err(TimeError::Invalid(format!("hour {} {half} does not exist", clock.hour)).into());
    }
    clock.hour = clock.hour % 12 + if is_after_noon { 12 } else { 0 };
    Ok(clock)
}

/// `Z`, `UTC`, `EST`, `+02:00`, `+0200`, `+02`, `GMT+2`.
fn zone(cursor: &mut Cursor<'_>) -> Result<Offset, NotATime> {
    let start = cursor.at;
    let name = cursor.word();
    let hours_behind = match name.to_ascii_uppercase().as_str() {
        "" => None,
        // An offset may follow: a browser writes GMT+0200.
        "Z" | "UTC" | "UT" | "GMT" if !matches!(cursor.peek(), Some(b'+' | b'-')) => return Ok(Offset::default()),
        "UTC" | "GMT" => None,
        "EDT" => Some(4),
        "EST" | "CDT" => Some(5),
        "CST" | "MDT" => Some(6),
        "MST" | "PDT" => Some(7),
        "PST" => Some(8),
        _ => {
            let rest = &cursor.text[start..];
            let is_of_name = |letter: &char| letter.is_ascii_alphanumeric() || "/_+-".contains(*letter);
            return Err(NotATime::Zone(rest.chars().take_while(is_of_name).take(ZONE_SHOWN_MAX).collect()));
        }
    };
    if let Some(hours) = hours_behind {
        return Ok(Offset { is_behind: true, hours, minutes: 0 });
    }
    let is_behind = cursor.peek() == Some(b'-');
    if !is_behind && cursor.peek() != Some(b'+') {
        return Err(NotATime::Unknown);
    }
    cursor.at += 1;
    let digits = cursor.digits();
    let (hours, minutes) = match digits.len() {
        4 => (number(&digits[..2]), number(&digits[2..])),
        1 | 2 if cursor.take(b':') => (number(digits), cursor.two_digits()?),
        1 | 2 => (number(digits), 0),
        _ => return Err(NotATime::Unknown),
    };
    Ok(Offset { is_behind, hours, minutes })
}

/// The number of the month of this name, full or cut to three letters or more.
fn month(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
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
    (1..).zip(NAMES).find(|(_, name)| abbreviates(word, name)).map(|(number, _)| number)
}

fn is_weekday(word: &str) -> bool {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    NAMES.iter().any(|name| abbreviates(word, name))
}

fn abbreviates(word: &str, name: &str) -> bool {
    word.len() >= 3 && name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// What a few digits say.
fn number(digits: &str) -> u32 {
    digits.bytes().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// Time of day.
#[derive(Clone, Copy, Default)]
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
}

/// How far a zone is from UTC.
#[derive(Clone, Copy, Default)]
struct Offset {
    is_behind: bool,
    hours: u32,
    minutes: u32,
}

/// A day as it was written, which need not exist.
#[derive(Clone, Copy)]
struct Date {
    year: u32,
    month: u32,
    day: u32,
}

impl Date {
    fn new(year: u32, month: u32, day: u32) -> Date {
        Date { year, month, day }
    }

    /// The day of this number in its year, from 1.
    fn of_ordinal(year: u32, ordinal: u32) -> Result<Date, NotATime> {
        if !(1..=days_in_year(year)).contains(&ordinal) {
            return Err(TimeError::Invalid(format!("day {ordinal:03} does not exist in {year:04}")).into());
        }
        let february = if is_leap(year) { 29 } else { 28 };
        let mut day = ordinal;
        let mut month = 1;
        for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if day <= days {
                break;
            }
            day -= days;
            month += 1;
        }
        Ok(Date { year, month, day })
    }

    /// The day of ISO 8601's weeks, which begin on Mondays; the first of a year is that of its first Thursday.
    fn of_week(year: u32, week: u32, weekday: u32) -> Result<Date, NotATime> {
        // Gauss: the weekday of 1 January, from Sunday; then how many days after a Monday it is. 399 stands for -1,
        // which is the same modulo 400, 100 and 4, and keeps year 0 from underflowing.
        let before = year + 399;
        let from_sunday = (1 + 5 * (before % 4) + 4 * (before % 100) + 6 * (before % 400)) % 7;
        let from_monday = (from_sunday + 6) % 7;
        let is_long = from_monday == 3 || from_monday == 2 && is_leap(year);
        if week < 1 || week > if is_long { 53 } else { 52 } {
            return Err(TimeError::Invalid(format!("week {week:02} does not exist in {year:04}")).into());
        }
        if !(1..=7).contains(&weekday) {
            return Err(TimeError::Invalid(format!("day {weekday} of a week does not exist")).into());
        }
        // Counted from the Monday on or before 1 January; week 1 is the one after if that week's Thursday is not in
        // the year.
        let week = if from_monday <= 3 { week - 1 } else { week };
        let days = week * 7 + weekday - 1;
        if days < from_monday {
            let Some(last) = year.checked_sub(1) else { return Err(TimeError::OutOfRange.into()) };
            return Date::of_ordinal(last, days_in_year(last) + days + 1 - from_monday);
        }
        match (days - from_monday + 1).checked_sub(days_in_year(year)) {
            None | Some(0) => Date::of_ordinal(year, days - from_monday + 1),
            Some(ordinal) => Date::of_ordinal(year + 1, ordinal),
        }
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u32) -> u32 {
    if is_leap(year) { 366 } else { 365 }
}

/// The parts as a time, or which of them does not exist.
fn time(date: Date, clock: Clock, offset: Offset) -> Result<Time, NotATime> {
    let Date { year, month, day } = date;
    let Clock { hour, minute, second, nanos } = clock;
    let is_end_of_day = (hour, minute, second, nanos) == (24, 0, 0, 0);
    let hour = if is_end_of_day { 0 } else { hour };
    let sign = if offset.is_behind { '-' } else { '+' };
    let Offset { hours, minutes, .. } = offset;
    let text = format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}{sign}{hours:02}:{minutes:02}"
    );
    let time = Time::parse_rfc3339(&text)?;
    if !is_end_of_day {
        return Ok(time);
    }
    let next = time.nanos().checked_add(DAY_NANOS).ok_or(TimeError::OutOfRange)?;
    Ok(Time::from_nanos(next))
}

/// A number as it was written. Not a float: those lose the nanoseconds of today's dates.
struct Decimal<'a> {
    is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Decimal<'a>> {
        // Larger ones decide nothing any more.
        const EXPONENT_MAX: i64 = 1_000_000;
        let mut cursor = Cursor::new(text);
        let is_negative = cursor.take(b'-');
        let whole = cursor.digits();
        let has_point = cursor.take(b'.');
        let fraction = if has_point { cursor.digits() } else { "" };
        if whole.is_empty() || has_point && fraction.is_empty() {
            return None;
        }
        let mut exponent = 0;
        if cursor.take(b'e') || cursor.take(b'E') {
            let is_small = cursor.take(b'-');
            if !is_small {
                cursor.take(b'+');
            }
            let digits = cursor.digits();
            if digits.is_empty() {
                return None;
            }
            let size = digits.parse().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
            exponent = if is_small { -size } else { size };
        }
        (cursor.at == text.len()).then_some(Decimal { is_negative, whole, fraction, exponent })
    }

    fn time(&self) -> Result<Time, NotATime> {
        let digits = || self.whole.bytes().chain(self.fraction.bytes());
        let zeros = digits().take_while(|digit| *digit == b'0').count();
        if zeros == self.whole.len() + self.fraction.len() {
            return Ok(Time::from_nanos(0));
        }
        let signed = |length: usize| i64::try_from(length).expect("no text is longer than half the memory");
        let before_point = signed(self.whole.len()) + self.exponent - signed(zeros);
        let power = match before_point {
            ..=10 => 9,
            11..=13 => 6,
            14..=16 => 3,
            17..=19 => 0,
            _ => return Err(TimeError::OutOfRange.into()),
        };
        // At most 19 digits, which 64 bits hold.
        let wanted = usize::try_from(before_point + power).unwrap_or(0);
        let digits = digits().skip(zeros).chain(iter::repeat(b'0')).take(wanted);
        let size = i128::from(digits.fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0')));
        let nanos = if self.is_negative { -size } else { size };
        Ok(Time::from_nanos(i64::try_from(nanos).map_err(|_| TimeError::OutOfRange)?))
    }
}

/// A place in a text. Copied where one must look ahead.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    /// Stands behind ASCII or at the start, thus always at the start of a character.
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn at_digit(&self) -> bool {
        self.peek().is_some_and(|byte| byte.is_ascii_digit())
    }

    /// Whether a digit stands behind the next byte.
    fn digit_follows(&self) -> bool {
        self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit)
    }

    /// Takes this byte if it is next. ASCII only.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes white space; whether there was any.
    fn spaces(&mut self) -> bool {
        !self.take_while(|byte| matches!(byte, b' ' | b'\t')).is_empty()
    }

    /// Takes digits, as many as there are.
    fn digits(&mut self) -> &'a str {
        self.take_while(|byte| byte.is_ascii_digit())
    }

    /// Takes ASCII letters, as many as there are.
    fn word(&mut self) -> &'a str {
        self.take_while(|byte| byte.is_ascii_alphabetic())
    }

    fn two_digits(&mut self) -> Result<u32, NotATime> {
        match self.digits() {
            digits if digits.len() == 2 => Ok(number(digits)),
            _ => Err(NotATime::Unknown),
        }
    }

    /// Whether nothing is left but white space and a comment, as mail and browsers add the name of the zone.
    fn at_end(&self) -> bool {
        let rest = self.text[self.at..].trim_ascii();
        rest.is_empty() || rest.starts_with('(') && rest.ends_with(')')
    }

    fn take_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&is_wanted) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Noon of a day in the year that the examples are of.
    const NOW: &str = "2021-04-06T12:00:00Z";

    #[track_caller]
    fn check_at(now: &str, text: &str, expected: Result<&str, &str>) {
        match (read(text, now.parse().unwrap()), expected) {
            (Ok(time), Ok(expected)) => assert_eq!(time.to_string(), expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        check_at(NOW, text, expected);
    }

    #[test]
    fn numbers_are_told_apart_by_their_magnitude() {
        let number = |text: &str, expected: Result<&str, &str>| {
            check(text, expected);
            assert_eq!(of_number(text), read(text, NOW.parse().unwrap()), "{text}");
        };
        number("1617651211", Ok("2021-04-05T19:33:31Z"));
        number("1617651211123", Ok("2021-04-05T19:33:31.123Z"));
        number("1617651211123456", Ok("2021-04-05T19:33:31.123456Z"));
        number("1617651211123456789", Ok("2021-04-05T19:33:31.123456789Z"));
        number("1617651211.123456", Ok("2021-04-05T19:33:31.123456Z"));
        number("1617651211.123456789", Ok("2021-04-05T19:33:31.123456789Z"));
        number("1617651211.1234567899", Ok("2021-04-05T19:33:31.123456789Z"));
        number("1617651211123.5", Ok("2021-04-05T19:33:31.123500Z"));
        number("1.617651211e9", Ok("2021-04-05T19:33:31Z"));
        number("1.617651211123E+12", Ok("2021-04-05T19:33:31.123Z"));
        number("16176512111230e-4", Ok("2021-04-05T19:33:31.123Z"));
        number("0001617651211", Ok("2021-04-05T19:33:31Z"));
        number("0", Ok("1970-01-01T00:00:00Z"));
        number("-0.0", Ok("1970-01-01T00:00:00Z"));
        number("-1", Ok("1969-12-31T23:59:59Z"));
        number("-0.000000001", Ok("1969-12-31T23:59:59.999999999Z"));
        number("-1e-400", Ok("1970-01-01T00:00:00Z"));
        number("9223372036.854775807", Ok("2262-04-11T23:47:16.854775807Z"));
        number("-9223372036854775808", Ok("1677-09-21T00:12:43.145224192Z"));
        number("10000000000", Ok("1970-04-26T17:46:40Z"));
        number("9223372036.854775808", Err("outside"));
        number("99999999999999999999", Err("outside"));
        number("1e400", Err("outside"));
        number("1e99999999999999999999", Err("outside"));
        for no_number in ["", "-", ".5", "1.", "1e", "+1", "1_000", "0x10", "NaN", "1 2", " 1"] {
            assert_eq!(of_number(no_number), Err(NotATime::Unknown), "{no_number}");
        }
    }

    #[test]
    fn iso_8601_and_its_relatives() {
        check("2021-04-05T21:33:31+02:00", Ok("2021-04-05T19:33:31Z"));
        check("2021-04-05T21:33:31.123Z", Ok("2021-04-05T21:33:31.123Z"));
        check("  2021-04-05t21:33:31z\n", Ok("2021-04-05T21:33:31Z"));
        check("2021-04-05 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("2021-04-05  21:33:31,5", Ok("2021-04-05T21:33:31.500Z"));
        check("2021-04-05T21:33:31.12345678901234567890Z", Ok("2021-04-05T21:33:31.123456789Z"));
        check("2021-04-05T21:33:31+0200", Ok("2021-04-05T19:33:31Z"));
        check("2021-04-05T21:33:31-02", Ok("2021-04-05T23:33:31Z"));
        check("2021-04-05 21:33:31 +02:00", Ok("2021-04-05T19:33:31Z"));
        check("2021-04-05 21:33:31 UTC", Ok("2021-04-05T21:33:31Z"));
        check("2021-04-05 21:33:31 EST", Ok("2021-04-06T02:33:31Z"));
        check("2021-04-05T21:33Z", Ok("2021-04-05T21:33:00Z"));
        check("2021-04-05 21:33", Ok("2021-04-05T21:33:00Z"));
        check("2021-04-05", Ok("2021-04-05T00:00:00Z"));
        check("2021-04-05Z", Ok("2021-04-05T00:00:00Z"));
        check("2021-4-5 9:33:31 pm", Ok("2021-04-05T21:33:31Z"));
        check("2021/04/05 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("2021.04.05 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("20210405T213331Z", Ok("2021-04-05T21:33:31Z"));
        check("20210405T213331.5+0200", Ok("2021-04-05T19:33:31.500Z"));
        check("20210405T2133Z", Ok("2021-04-05T21:33:00Z"));
        check("20210405213331Z", Ok("2021-04-05T21:33:31Z"));
        check("202104052133Z", Ok("2021-04-05T21:33:00Z"));
        check("2021-W14-1", Ok("2021-04-05T00:00:00Z"));
        check("2021W141T213331Z", Ok("2021-04-05T21:33:31Z"));
        check("2020-W53-7", Ok("2021-01-03T00:00:00Z"));
        check("2018-W01-1", Ok("2018-01-01T00:00:00Z"));
        check("2019-W01-1", Ok("2018-12-31T00:00:00Z"));
        check("2021-095", Ok("2021-04-05T00:00:00Z"));
        check("2020-366T12:00", Ok("2020-12-31T12:00:00Z"));
        check("2021095T213331Z", Ok("2021-04-05T21:33:31Z"));
        check("2021-04-05T24:00:00", Ok("2021-04-06T00:00:00Z"));
        check("2021-12-31T24:00Z", Ok("2022-01-01T00:00:00Z"));
        check("2016-12-31 23:59:60", Ok("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn digits_alone_are_a_date_where_a_number_would_be_of_1970() {
        check("20210405", Ok("2021-04-05T00:00:00Z"));
        check("20210405213331", Ok("2021-04-05T21:33:31Z"));
        check("20210405213331.25", Ok("2021-04-05T21:33:31.250Z"));
        // No such month, another century, another length: numbers.
        check("20211305", Ok("1970-08-22T22:15:05Z"));
        check("16176512", Ok("1970-07-07T05:28:32Z"));
        check("202104052133", Ok("1976-05-28T04:00:52.133Z"));
        check("2021", Ok("1970-01-01T00:33:41Z"));
        // A JSON number never is a date.
        assert_eq!(of_number("20210405").unwrap().to_string(), "1970-08-22T22:00:05Z");
    }

    #[test]
    fn english_forms() {
        check("Mon Apr  5 21:33:31 2021", Ok("2021-04-05T21:33:31Z"));
        check("Mon Apr 5 21:33:31 UTC 2021", Ok("2021-04-05T21:33:31Z"));
        check("Mon Apr 5 21:33:31 PDT 2021", Ok("2021-04-06T04:33:31Z"));
        check("Mon Apr 5 21:33:31.25 +0200 2021", Ok("2021-04-05T19:33:31.250Z"));
        check("Mon Apr 5 21:33:31 2021 -0700", Ok("2021-04-06T04:33:31Z"));
        check("Mon, 05 Apr 2021 21:33:31 +0200", Ok("2021-04-05T19:33:31Z"));
        check("Mon, 5 Apr 2021 21:33 GMT", Ok("2021-04-05T21:33:00Z"));
        check("Mon, 05 Apr 2021 21:33:31 +0200 (CEST)", Ok("2021-04-05T19:33:31Z"));
        check("Mon Apr 05 2021 21:33:31 GMT+0200 (Central European Summer Time)", Ok("2021-04-05T19:33:31Z"));
        check("Monday, 05-Apr-21 21:33:31 GMT", Ok("2021-04-05T21:33:31Z"));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Ok("1994-11-06T08:49:37Z"));
        check("05/Apr/2021:21:33:31 +0200", Ok("2021-04-05T19:33:31Z"));
        check("05/Apr/2021:21:33:31.5", Ok("2021-04-05T21:33:31.500Z"));
        check("Apr 5 2021 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("2021 Apr  5 21:33:31,123", Ok("2021-04-05T21:33:31.123Z"));
        check("2021-Apr-05 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("5 Apr 2021 21:33", Ok("2021-04-05T21:33:00Z"));
        check("5-APR-2021", Ok("2021-04-05T00:00:00Z"));
        check("April 5, 2021 9:33:31 PM", Ok("2021-04-05T21:33:31Z"));
        check("apr 5, 2021, 12:00am", Ok("2021-04-05T00:00:00Z"));
        check("Apr 5, 2021 12:00 PM EDT", Ok("2021-04-05T16:00:00Z"));
        check("MONDAY APRIL 05 21:33:31 2021", Ok("2021-04-05T21:33:31Z"));
        check("Tues Sept 7 2021 00:00", Ok("2021-09-07T00:00:00Z"));
        check("21:33:31 5 Apr 2021", Ok("2021-04-05T21:33:31Z"));
        // The weekday is wrong; the date counts.
        check("Fri, 05 Apr 2021 21:33:31 +0000", Ok("2021-04-05T21:33:31Z"));
    }

    #[test]
    fn without_a_year_it_is_the_nearest_that_is_not_ahead() {
        check("Apr  5 21:33:31", Ok("2021-04-05T21:33:31Z"));
        check("Apr  7 11:59:59", Ok("2021-04-07T11:59:59Z"));
        check("Apr  7 12:00:01", Ok("2020-04-07T12:00:01Z"));
        check("Apr  5 21:33:31.123456 +02:00", Ok("2021-04-05T19:33:31.123456Z"));
        check("5 Apr 21:33", Ok("2021-04-05T21:33:00Z"));
        check("Feb 29 00:00:00", Ok("2020-02-29T00:00:00Z"));
        check_at("2021-12-31T23:30:00Z", "Jan  1 00:10:00", Ok("2022-01-01T00:10:00Z"));
        check_at("2022-01-01T00:10:00Z", "Dec 31 23:30:00", Ok("2021-12-31T23:30:00Z"));
        check_at("1972-01-01T00:00:00Z", "Dec 31 23:30:00", Ok("1971-12-31T23:30:00Z"));
        check_at("1904-02-28T00:00:00Z", "Feb 29 00:00:00", Ok("1904-02-29T00:00:00Z"));
        check_at("1904-02-27T00:00:00Z", "Feb 29 00:00:01", Ok("1896-02-29T00:00:01Z"));
        check_at("2262-04-11T23:47:16Z", "Apr 12 00:00:00", Ok("2261-04-12T00:00:00Z"));
        check_at("1677-09-21T00:12:44Z", "Sep 20 00:00:00", Err("outside"));
        check("Feb 30 00:00:00", Err("day 30 does not exist in"));
    }

    #[test]
    fn says_what_is_wrong() {
        let unknown = Err("is no date and time that is understood");
        for text in [
            "",
            "yesterday",
            "21:33:31",
            "Apr",
            "April 2021",
            "Mon 5 2021 21:33:31",
            "2021-04",
            "2021-W14",
            "2021-04-05T21",
            "2021-04-05T",
            "2021-04-05T21:3",
            "2021-04-05T21:33:31Z!",
            "2021-04-05T21:33:31Z Z",
            "2021-04-05T21:33:31+",
            "2021-04-05T21:33:31+123",
            "20210405T21:33Z[",
            "foo Apr 5 2021",
            "Apr 5 2021 2022",
            "Apr 5 2021 21:33:31 - down",
            "Apr 5 2021 21:33:31 +02 +02",
            "10.0.0.1",
            "10.0.10.1",
            "Åpr 5 2021",
            "٢٠٢١-04-05T21:33:31Z",
        ] {
            check(text, unknown);
        }
        for text in ["04/05/2021", "04/05/2021 21:33:31", "5.4.2021 21:33", "04-05-21", "05/04/21, 21:33"] {
            check(text, Err("order that cannot be told"));
        }
        check("2021-04-05 21:33:31 CEST", Err("names the zone \"CEST\""));
        check("Mon Apr 5 21:33:31 CEST 2021", Err("names the zone \"CEST\""));
        check("2021-04-05 21:33:31 Europe/Paris", Err("names the zone \"Europe/Paris\""));
        check("2021-04-05T21:33:31A", Err("names the zone \"A\""));
        check(&format!("2021-04-05 21:33:31 {}", "x".repeat(100)), Err("offset is not known"));
        check(&format!("Apr{}5 2021", " ".repeat(1_000)), Err("is no date and time"));
        check("2021-13-05T21:33:31Z", Err("month 13 does not exist"));
        check("2021-02-29", Err("day 29 does not exist in 2021-02"));
        check("Feb 29 2021", Err("day 29 does not exist in 2021-02"));
        check("31 Apr 2021 00:00:00", Err("day 31 does not exist in 2021-04"));
        check("2021-04-05 25:00", Err("hour 25"));
        check("2021-04-05T24:00:01", Err("hour 24"));
        check("2021-04-05 21:60", Err("minute 60"));
        check("2021-04-05 21:33:61", Err("second 61"));
        check("2021-04-05 21:33:31 +25:00", Err("offset 25:00"));
        check("2021-04-05 13:00 PM", Err("hour 13 PM does not exist"));
        check("2021-04-05 0:00 AM", Err("hour 0 AM does not exist"));
        check("2021-366", Err("day 366 does not exist in 2021"));
        check("2021-000", Err("day 000 does not exist in 2021"));
        check("2021-W53-1", Err("week 53 does not exist in 2021"));
        check("2021-W14-8", Err("day 8 of a week"));
        check("0000-W01-1", Err("outside"));
        check("1677-09-20", Err("outside"));
        check("2262-04-12", Err("outside"));
        check("2262-04-11T24:00", Err("outside"));
        check("2262-04-12 00:00 +02:00", Ok("2262-04-11T22:00:00Z"));
    }

    #[test]
    fn every_day_of_361_years_has_its_number_and_week() {
        let day = |number: i64| Time::from_secs(number * 86_400).unwrap();
        let year = |number: i64| day(number).to_string()[..4].parse::<u32>().unwrap();
        const BEGINNING: i64 = -25_567;
        assert_eq!(day(BEGINNING).to_string(), "1900-01-01T00:00:00Z");
        let mut first_of_year = BEGINNING;
        let mut first = std::collections::HashMap::new();
        for number in BEGINNING..BEGINNING + 362 * 365 {
            if day(number).to_string()[5..10] == *"01-01" {
                first_of_year = number;
                first.insert(year(number), number);
            }
            let ordinal = number - first_of_year + 1;
            check(&format!("{}-{ordinal:03}", year(number)), Ok(&day(number).to_string()));
            // 1970-01-01 was a Thursday; a week is of the year that its Thursday is of.
            let weekday = (number + 3).rem_euclid(7);
            let thursday = number + 3 - weekday;
            let Some(first_of_thursdays_year) = first.get(&year(thursday)) else { continue };
            let week = (thursday - first_of_thursdays_year) / 7 + 1;
            let text = format!("{}-W{week:02}-{}", year(thursday), weekday + 1);
            check(&text, Ok(&day(number).to_string()));
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_in_every_form(nanos in any::<i64>(), zeros in 0usize..12) {
            let time = Time::from_nanos(nanos);
            let now = NOW.parse().unwrap();
            prop_assert_eq!(read(&time.to_string(), now), Ok(time));
            let text = time.to_string().replace('Z', "");
            prop_assert_eq!(read(&text, now), Ok(time));
            if text.contains('.') {
                prop_assert_eq!(read(&format!("{text}{}", "0".repeat(zeros)), now), Ok(time));
            }
            // Whole and fraction of a second are written by themselves, so that no float comes in between.
            let (size, sign) = (nanos.unsigned_abs(), if nanos < 0 { "-" } else { "" });
            let seconds = format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000);
            prop_assert_eq!(of_number(&seconds), Ok(time), "{}", seconds);
            prop_assert_eq!(of_number(&format!("{sign}{size}e-9")), Ok(time));
        }

        #[test]
        fn months_may_be_named(nanos in any::<i64>(), upper in any::<bool>(), full in any::<bool>()) {
            const NAMES: [&str; 12] = ["January", "February", "March", "April", "May", "June", "July", "August",
                "September", "October", "November", "December"];
            let time = Time::from_nanos(nanos);
            let text = time.to_string();
            let name = NAMES[text[5..7].parse::<usize>().unwrap() - 1];
            let name = if full { name } else { &name[..3] };
            let name = if upper { name.to_uppercase() } else { name.to_owned() };
            let (year, day, clock) = (&text[..4], &text[8..10], text[11..].trim_end_matches('Z'));
            for text in [
                format!("{name} {day} {clock} {year}"),
                format!("{day} {name} {year} {clock} GMT"),
                format!("Mon, {day} {name} {year} {clock} +0000"),
                format!("{day}/{name}/{year}:{clock} -0000"),
            ] {
                prop_assert_eq!(read(&text, time), Ok(time), "{}", text);
            }
        }

        #[test]
        fn a_day_without_year_is_within_a_day_ahead(nanos in any::<i64>(), month in 1u32..=12, day in 1u32..=28) {
            let now = Time::from_nanos(nanos);
            let name = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
                [month as usize - 1];
            match read(&format!("{name} {day} 21:33:31"), now) {
                Ok(time) => {
                    prop_assert!(time <= now.saturating_add_nanos(DAY_NANOS));
                    prop_assert!(time >= now.saturating_add_nanos(-366 * DAY_NANOS));
                }
                Err(error) => prop_assert!(nanos < i64::MIN + 367 * DAY_NANOS, "{}", error),
            }
        }

        #[test]
        fn no_text_panics(
            text in "\\PC{0,40}", like in "[0-9TZWe:+./, -]{0,30}( ?(Apr|mon|PM|UTC|CET|\\(x\\)|é)){0,3}",
        ) {
            let now = NOW.parse().unwrap();
            let _ = (read(&text, now), of_number(&text), read(&like, now), of_number(&like));
        }
    }
}
