//! The text forms of proto3 JSON scalars: integers, floats, bytes, durations, timestamps. Pure functions.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
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
                Some(Instant { secs: time.secs + (year - stand_in) / 400 * CYCLE_SECS, nanos: time.nanos })
            }
        }
    }

    /// RFC 3339 in UTC with none, three, six or nine fraction digits, as proto3 JSON has it. `None` outside of the years
    /// 1 to 9999, which a `google.protobuf.Timestamp` cannot hold; only an offset leads there.
    pub fn rfc3339(self) -> Option<String> {
        let cycles = (self.secs - SECS_OF_1700).div_euclid(CYCLE_SECS);
        let stand_in = i128::from(self.secs - cycles * CYCLE_SECS) * 1_000_000_000 + i128::from(self.nanos);
        let text = Time::from_nanos(i64::try_from(stand_in).ok()?).to_string();
        let year = text.get(..4)?.parse::<i64>().ok()? + cycles * 400;
        (1..=9999).contains(&year).then(|| format!("{year:04}{}", &text[4..]))
    }
}

/// The calendar's period of 400 years.
const CYCLE_SECS: i64 = 146_097 * 86_400;

/// 1700-01-01T00:00:00Z: [`Time`] can hold every time of the 400 years from here.
const SECS_OF_1700: i64 = -8_520_336_000;

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

/// Nanoseconds as proto3 JSON writes a duration: `3s`, `-1.500s`.
pub(crate) fn duration_text(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (secs, nanos) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    match nanos {
        0 => format!("{sign}{secs}s"),
        _ if nanos % 1_000_000 == 0 => format!("{sign}{secs}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{sign}{secs}.{:06}s", nanos / 1_000),
        _ => format!("{sign}{secs}.{nanos:09}s"),
    }
}

/// A float as proto3 JSON writes it, without the quotes of its three names.
pub(crate) fn float_text(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        // Whole numbers without a fraction; what has many digits with an exponent.
        _ if value.abs() < 1e17 && value.fract() == 0.0 => value.to_string(),
        _ => serde_json::to_string(&value).expect("a finite number is always JSON"),
    }
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

/// Bytes as proto3 JSON writes them: base64 of the standard alphabet, padded. A UUID counts as its 16 bytes, which is
/// what senders mean by one (the SDK's `metadata.id`), although its characters would pass for base64. `None` for
/// what is neither.
pub(crate) fn canonical_base64(text: &str) -> Option<String> {
    let bytes = match uuid_bytes(text) {
        Some(bytes) => bytes.to_vec(),
        None if is_base64(text) => {
            let bare: String = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
            LENIENT.decode(bare).ok()?
        }
        None => return None,
    };
    Some(STANDARD.encode(bytes))
}

/// Unpadded, and bits that the last character has too many do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The bytes of a UUID in its usual form of 8-4-4-4-12 digits.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let digits = text.iter().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at));
    let mut bytes = [0u8; 16];
    for (index, (_, digit)) in digits.enumerate() {
        let value = char::from(*digit).to_digit(16)? as u8;
        bytes[index / 2] = bytes[index / 2] << 4 | value;
    }
    Some(bytes)
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
