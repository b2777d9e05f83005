//! A point in time, to the nanosecond, as every stage keeps it.

use std::fmt;
use std::str::FromStr;

/// Nanoseconds since 1970-01-01T00:00:00Z, negative before.
///
/// Covers 1677-09-21 to 2262-04-11. A time outside is refused where it comes in ([`TimeError::OutOfRange`]) instead of
/// being bent to fit: two batches that differ only in such times must not become one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(i64);

/// Why a text or number is no [`Time`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not an RFC 3339 date and time, or a date that does not exist. Holds what was wrong.
    #[error("{0}")]
    Invalid(String),
    /// A real time, but one that 64 bits of nanoseconds cannot hold.
    #[error("the time is outside 1677-09-21T00:12:44Z to 2262-04-11T23:47:16Z, the range that can be kept")]
    OutOfRange,
}

impl Time {
    /// The earliest time that can be kept.
    pub const MIN: Time = Time(i64::MIN);
    /// The latest time that can be kept.
    pub const MAX: Time = Time(i64::MAX);

    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Time {
        Time(nanos)
    }

    /// From microseconds since the Unix epoch (`ts_epoch_microseconds` of the Chronicle Ingestion API).
    pub fn from_micros(micros: i64) -> Result<Time, TimeError> {
        micros.checked_mul(1_000).map(Time).ok_or(TimeError::OutOfRange)
    }

    /// From milliseconds since the Unix epoch.
    pub fn from_millis(millis: i64) -> Result<Time, TimeError> {
        millis.checked_mul(1_000_000).map(Time).ok_or(TimeError::OutOfRange)
    }

    /// From whole seconds since the Unix epoch.
    pub fn from_secs(secs: i64) -> Result<Time, TimeError> {
        secs.checked_mul(1_000_000_000).map(Time).ok_or(TimeError::OutOfRange)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole microseconds since the Unix epoch, rounded towards the past.
    pub const fn micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole milliseconds since the Unix epoch, rounded towards the past.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since the Unix epoch, rounded towards the past.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Days since 1970-01-01 (UTC), by which parts and retention go.
    pub const fn day(self) -> i32 {
        // i64 nanoseconds span about ±106,752 days, so the narrowing holds.
        self.0.div_euclid(86_400_000_000_000) as i32
    }

    /// This time moved by `nanos`, stopping at the ends of the range.
    pub const fn saturating_add_nanos(self, nanos: i64) -> Time {
        Time(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this time, stopping at the ends of the range.
    pub const fn nanos_since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an RFC 3339 time with 0 to 9 fraction digits and `Z` or a numeric offset, as proto3 JSON allows.
    ///
    /// Stricter than ISO 8601 on purpose: week dates, missing zones, or a missing time of day are refused, since
    /// guessing a zone would silently move the log. A leap second (`:60`) becomes the next second's start, as
    /// Google's libraries have it.
    pub fn parse_rfc3339(text: &str) -> Result<Time, TimeError> {
        let invalid = |why: String| TimeError::Invalid(why);
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<u32> {
            let mut value = 0u32;
            for &byte in bytes.get(range)? {
                if !byte.is_ascii_digit() {
                    return None;
                }
                value = value * 10 + u32::from(byte - b'0');
            }
            Some(value)
        };
        let shape = || invalid("expected RFC 3339, such as 2026-11-21T20:15:00.123Z or …+01:00".to_owned());

        let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
            return Err(shape());
        };
        if bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
            return Err(shape());
        }
        let (Some(hour), Some(minute), Some(second)) = (digits(11..13), digits(14..16), digits(17..19)) else {
            return Err(shape());
        };
        if bytes[13] != b':' || bytes[16] != b':' {
            return Err(shape());
        }
        if !(1..=12).contains(&month) {
            return Err(invalid(format!("month {month:02} does not exist (the order is year-month-day)")));
        }
        if day < 1 || day > days_in_month(year, month) {
            return Err(invalid(format!("day {day:02} does not exist in {year:04}-{month:02}")));
        }
        if hour > 23 {
            return Err(invalid(format!("hour {hour:02} does not exist")));
        }
        if minute > 59 {
            return Err(invalid(format!("minute {minute:02} does not exist")));
        }
        if second > 60 {
            return Err(invalid(format!("second {second:02} does not exist")));
        }

        let mut at = 19;
        let mut nanos = 0i64;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let start = at;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            let count = at - start;
            if count == 0 || count > 9 {
                return Err(invalid("a fraction of a second has 1 to 9 digits".to_owned()));
            }
            nanos = i64::from(digits(start..at).expect("only digits were counted"));
            for _ in count..9 {
                nanos *= 10;
            }
        }
        let offset_secs = match bytes.get(at) {
            Some(b'Z' | b'z') if at + 1 == bytes.len() => 0,
            Some(sign @ (b'+' | b'-')) if at + 6 == bytes.len() && bytes[at + 3] == b':' => {
                let (Some(hours), Some(minutes)) = (digits(at + 1..at + 3), digits(at + 4..at + 6)) else {
                    return Err(shape());
                };
                if hours > 23 || minutes > 59 {
                    return Err(invalid(format!("offset {hours:02}:{minutes:02} does not exist")));
                }
                let secs = i64::from(hours * 3600 + minutes * 60);
                if *sign == b'-' { -secs } else { secs }
            }
            None => return Err(invalid("the zone is missing: end with Z or an offset such as +01:00".to_owned())),
            Some(_) => return Err(shape()),
        };
        let secs = days_from_civil(i64::from(year), month, day) * 86_400
            + i64::from(hour * 3600 + minute * 60 + second)
            - offset_secs;
        let total = i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        i64::try_from(total).map(Time).map_err(|_| TimeError::OutOfRange)
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// RFC 3339 in UTC with as many fraction digits as needed: none, three, six or nine.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = i64::from(self.day());
        let nanos_of_day = self.0.rem_euclid(86_400_000_000_000);
        let (secs_of_day, nanos) = (nanos_of_day / 1_000_000_000, nanos_of_day % 1_000_000_000);
        // The inverse of days_from_civil.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (secs_of_day / 3600, secs_of_day / 60 % 60, secs_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos == 0 {
        } else if nanos % 1_000_000 == 0 {
            write!(f, ".{:03}", nanos / 1_000_000)?;
        } else if nanos % 1_000 == 0 {
            write!(f, ".{:06}", nanos / 1_000)?;
        } else {
            write!(f, ".{nanos:09}")?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Time, TimeError> {
        Time::parse_rfc3339(text)
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;
    fn try_from(text: String) -> Result<Time, TimeError> {
        Time::parse_rfc3339(&text)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        match (Time::parse_rfc3339(text), expected) {
            (Ok(time), Ok(expected)) => assert_eq!(time.to_string(), expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn reads_what_senders_write() {
        check("2019-10-22T12:00:00.000Z", Ok("2019-10-22T12:00:00Z"));
        check("2019-02-26T13:37:04.523-08:00", Ok("2019-02-26T21:37:04.523Z"));
        check("2021-11-14T15:30:18.142265Z", Ok("2021-11-14T15:30:18.142265Z"));
        check("2026-11-21T19:48:03.351637+00:00", Ok("2026-11-21T19:48:03.351637Z"));
        check("1969-12-31T23:59:59.999999999Z", Ok("1969-12-31T23:59:59.999999999Z"));
        check("2016-12-31T23:59:60Z", Ok("2017-01-01T00:00:00Z"));
        check("2024-02-29T00:00:00z", Ok("2024-02-29T00:00:00Z"));
    }

    #[test]
    fn says_what_is_wrong() {
        check("2019-26-02T13:37:04.523-08:00", Err("month 26"));
        check("2023-02-29T00:00:00Z", Err("day 29 does not exist in 2023-02"));
        check("2023-02-20T24:00:00Z", Err("hour 24"));
        check("2023-02-20T10:00:00", Err("zone is missing"));
        check("2023-02-20", Err("expected RFC 3339"));
        check("2023-02-20T10:00:00.1234567890Z", Err("1 to 9 digits"));
        check("2023-02-20T10:00:00Zjunk", Err("expected RFC 3339"));
        check("٢٠٢٣-02-20T10:00:00Z", Err("expected RFC 3339"));
        check("0001-01-01T00:00:00Z", Err("outside"));
        check("", Err("expected RFC 3339"));
    }

    proptest! {
        #[test]
        fn every_time_survives_its_text(nanos in any::<i64>()) {
            let time = Time::from_nanos(nanos);
            prop_assert_eq!(Time::parse_rfc3339(&time.to_string()), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Time::parse_rfc3339(&text);
        }
    }
}
