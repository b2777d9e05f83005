//! The text forms of proto3 JSON scalars: integers, floats, bytes, durations, timestamps. Pure functions.

use event::{Time, TimeError};

/// A point in time as a `google.protobuf.Timestamp` holds it: wider than [`event::Time`], so that
/// `9999-12-31T23:59:59Z` (an open end of an interval) compares as what it is. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Whole seconds since the Unix epoch, rounded towards the past.
    pub secs: i64,
    /// Nanoseconds of that second.
    pub nanos: u32,
}

impl Instant {
    /// The Unix epoch, which an unset timestamp reads as.
    pub const ZERO: Instant = Instant { secs: 0, nanos: 0 };

    /// Reads RFC 3339 as [`Time::parse_rfc3339`] does, but also outside of its range. `None` for what is no time at
    /// all.
    pub fn parse(text: &str) -> Option<Instant> {
        match Time::parse_rfc3339(text) {
            Ok(time) => Some(Instant::from(time)),
            Err(TimeError::Invalid(_)) => None,
            Err(TimeError::OutOfRange) => {
                // The calendar repeats every 400 years, so a year that Time can hold stands in for this one.
                let year: i64 = text.get(..4)?.parse().ok()?;
                let stand_in = 1700 + (year - 1700).rem_euclid(400);
                let time = Instant::from(Time::parse_rfc3339(&format!("{stand_in}{}", &text[4..])).ok()?);
                Some(Instant { secs: time.secs + (year - stand_in) / 400 * 146_097 * 86_400, nanos: time.nanos })
            }
        }
    }
}

impl From<Time> for Instant {
    fn from(time: Time) -> Instant {
        Instant { secs: time.secs(), nanos: time.nanos().rem_euclid(1_000_000_000) as u32 }
    }
}

/// Reads a `google.protobuf.Duration` (`"1.5s"`, `"-3s"`) as nanoseconds; `None` when it is none, or beyond 10,000
/// years.
pub fn parse_duration(text: &str) -> Option<i128> {
    let rest = text.strip_suffix('s')?;
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest),
    };
    let (secs, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(secs) || !digits(fraction) || secs.len() > 12 || fraction.len() > 9 {
        return None;
    }
    let secs: i128 = secs.parse().ok()?;
    let nanos: i128 = fraction.parse::<i128>().ok()? * 10i128.pow(9 - fraction.len() as u32);
    (secs <= 315_576_000_000).then_some(sign * (secs * 1_000_000_000 + nanos))
}

/// An integer as proto3 JSON writes it in text: decimal digits, or a number with a point or exponent that is whole.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    if let Ok(value) = text.parse::<i128>() {
        return Some(value);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    whole(text.parse().ok()?)
}

/// A float that is a whole number of at most 20 digits.
pub(crate) fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 1e20).then_some(value as i128)
}

/// A float as proto3 JSON writes it in text, with its three names for what JSON has no numbers for.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also reads "inf" and "nan", which proto3 JSON does not.
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-')) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// Whether a text is base64 in either alphabet, padded or not. A UUID passes: its digits and hyphens are base64url.
pub(crate) fn is_base64(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    text.len() - bare.len() <= 2
        && bare.len() % 4 != 1
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("3s", Some(3_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("0.000000001s", Some(1)),
            ("3", None),
            ("s", None),
            ("1.s", None),
            ("1.0000000001s", None),
            ("315576000001s", None),
            ("1e3s", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_reach_beyond_the_range_of_time() {
        assert_eq!(Instant::parse("9999-12-31T23:59:59Z"), Some(Instant { secs: 253_402_300_799, nanos: 0 }));
        assert_eq!(Instant::parse("0001-01-01T00:00:00Z"), Some(Instant { secs: -62_135_596_800, nanos: 0 }));
        assert_eq!(Instant::parse("1969-12-31T23:59:59.5Z"), Some(Instant { secs: -1, nanos: 500_000_000 }));
        assert_eq!(Instant::parse("yesterday"), None);
    }

    #[test]
    fn numbers_and_bytes_in_text() {
        assert_eq!(parse_int("-9223372036854775808"), Some(i64::MIN.into()));
        assert_eq!(parse_int("1e3"), Some(1000));
        assert_eq!(parse_int("4.5"), None);
        assert_eq!(parse_int("0x10"), None);
        assert_eq!(parse_int(""), None);
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
        assert_eq!(parse_float("inf"), None);
        for good in ["", "QUJD", "QUI=", "QUI", "QQ==", "-_-_", "8c61ed3d-5d02-41ee-962e-2d7225e4686d"] {
            assert!(is_base64(good), "{good}");
        }
        for bad in ["Q", "Q===", "QU=D", "QU JD", "QÜ"] {
            assert!(!is_base64(bad), "{bad}");
        }
    }
}
