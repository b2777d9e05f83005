//! When to try again. Pure: attempt number, what the target said and a random number come in, a wait goes out.
//!
//! The rules are seed 001's: 5xx exponentially from 1 s, 429 not before 30 s; a target's own `Retry-After` stands above
//! both. Nothing here ever gives up: the log holds what waits, and past its end the lost range is named.

use std::time::Duration;

use event::Time;

/// First wait after a failure that time may heal.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest wait of our own choosing.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait of our own choosing between two calls of a function.
pub const FUNCTION_LONGEST: Duration = Duration::from_secs(30);
/// Shortest wait after 429 where the target names none.
pub const SLOW_DOWN: Duration = Duration::from_secs(30);
/// Wait while only a person can help (credentials, address): long enough to do no harm, short enough to notice the fix.
pub const ATTENTION: Duration = Duration::from_secs(60);
/// Longest `Retry-After` that is believed; a target that says "next year" is asked again before.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The wait before the next try after `failures` failures in a row (1 = the first), with `random` in 0..1 for jitter.
/// Between the full step and half as much again, never above [`LONGEST`]: never below, since the seed's second is a
/// minimum, and spread, so that connectors that failed together do not come back together.
pub fn exponential(failures: u32, random: f64) -> Duration {
    let step = FIRST.saturating_mul(1u32 << failures.saturating_sub(1).min(10)).min(LONGEST);
    step.mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0).min(LONGEST)
}

/// The wait after a function's call failed: the same, but never above [`FUNCTION_LONGEST`]. Functions run here: asking them
/// often costs no third party anything, and what was mended is found soon.
pub fn function(failures: u32, random: f64) -> Duration {
    exponential(failures, random).min(FUNCTION_LONGEST)
}

/// The wait after 429: what the target asked for, else at least [`SLOW_DOWN`].
pub fn slow_down(failures: u32, asked: Option<Duration>, random: f64) -> Duration {
    match asked {
        // Zero would be a busy loop; a second is the least that any rule allows.
        Some(asked) => asked.clamp(FIRST, RETRY_AFTER_MAX),
        None => exponential(failures, random).max(SLOW_DOWN.mul_f64(1.0 + random.clamp(0.0, 1.0) / 4.0)),
    }
}

/// The wait after a failure that time may heal; a target's `Retry-After` can only make it longer.
pub fn retry(failures: u32, asked: Option<Duration>, random: f64) -> Duration {
    exponential(failures, random).max(asked.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Reads `Retry-After`: whole seconds or an HTTP date, which counts from `now`; a date in the past is zero.
pub fn retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too long for 64 bits is still a number: very long.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait_millis = at.as_millisecond().saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(wait_millis).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_jitter_only_upwards() {
        let cases = [(1, 0.0, 1_000), (1, 1.0, 1_500), (2, 0.0, 2_000), (5, 0.5, 20_000), (7, 0.0, 60_000)];
        for (failures, random, millis) in cases {
            assert_eq!(exponential(failures, random), Duration::from_millis(millis), "{failures} {random}");
        }
        assert_eq!(exponential(u32::MAX, 1.0), LONGEST);
        assert_eq!(exponential(0, 0.0), FIRST);
        assert_eq!([1, 2, 5, 6, 40].map(|failures| function(failures, 0.0).as_secs()), [1, 2, 16, 30, 30]);
    }

    #[test]
    fn the_target_knows_best_within_reason() {
        let secs = Duration::from_secs;
        assert_eq!(slow_down(1, None, 0.0), secs(30));
        assert_eq!(slow_down(9, None, 0.0), secs(60));
        assert_eq!(slow_down(1, Some(secs(120)), 0.0), secs(120));
        assert_eq!(slow_down(1, Some(secs(0)), 0.0), secs(1));
        assert_eq!(slow_down(1, Some(secs(1 << 40)), 0.0), RETRY_AFTER_MAX);
        assert_eq!(retry(1, Some(secs(7)), 0.0), secs(7));
        assert_eq!(retry(6, Some(secs(7)), 0.0), secs(32));
        assert_eq!(retry(1, Some(secs(1 << 40)), 0.0), RETRY_AFTER_MAX);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = Time::parse_rfc3339("2026-11-21T22:00:00Z").unwrap();
        let cases = [
            ("120", Some(120_000)),
            (" 5 ", Some(5_000)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sat, 21 Nov 2026 22:01:30 GMT", Some(90_000)),
            ("Sat, 21 Nov 2026 21:00:00 GMT", Some(0)),
            ("-3", None),
            ("soon", None),
            ("", None),
        ];
        for (value, millis) in cases {
            let expected = millis.map(|millis| match millis {
                u64::MAX => Duration::from_secs(u64::MAX),
                millis => Duration::from_millis(millis),
            });
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }
}
