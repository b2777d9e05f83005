//! When to try again. Pure: what went wrong, how often, and a random number come in, a wait goes out.
//!
//! The rules are seed 001's: 5xx exponentially from 1 s, 429 not before 30 s, everything else at once to the caller. No
//! reply at all (refused, reset, too slow) counts as a 5xx, since nothing else can be known about it. What is tried
//! again is the same bytes, which the receiver knows by what they hold, so that a batch whose reply was lost is stored
//! once.

use std::time::Duration;

use event::{Time, limits};

/// First wait after a failure that time may heal.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait of our own choosing.
const LONGEST: Duration = Duration::from_secs(60);
/// Shortest wait after 429.
const SLOW_DOWN: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is believed; a receiver that says "next year" is asked again before.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long the client keeps trying one request before its caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts at one request, the first included. By default 8, which is two to three minutes of 5xx.
    pub attempts_max: u32,
    /// No attempt begins later than this after the first. By default 10 minutes.
    pub elapsed_max: Duration,
}

impl RetryPolicy {
    /// One attempt: every failure goes to the caller at once.
    pub const fn never() -> RetryPolicy {
        RetryPolicy { attempts_max: 1, elapsed_max: Duration::ZERO }
    }
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy { attempts_max: limits::CLIENT_ATTEMPTS_MAX, elapsed_max: limits::CLIENT_TRYING_MAX }
    }
}

impl RetryPolicy {
    /// The wait before the next attempt, or `None` when the caller is to be told now.
    pub(crate) fn next(
        &self,
        trouble: Trouble,
        repeat: Repeat,
        failures: u32,
        elapsed: Duration,
        random: f64,
    ) -> Option<Duration> {
        let wait = wait(trouble, repeat, failures, random)?;
        let goes_on = failures < self.attempts_max && elapsed.saturating_add(wait) <= self.elapsed_max;
        goes_on.then_some(wait)
    }
}

/// What went wrong with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A reply with this status and this `Retry-After`.
    Status(u16, Option<Duration>),
    /// There was no connection, so the receiver saw nothing.
    NotSent,
    /// The connection broke after something had been sent.
    NoReply,
    /// No reply in time.
    TimedOut,
}

/// What the same request again would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing new: it reads, sets or deletes, or the receiver recognises it.
    Harmless,
    /// It would make a second thing if the first attempt was carried out after all.
    MakesAnother,
}

fn wait(trouble: Trouble, repeat: Repeat, failures: u32, random: f64) -> Option<Duration> {
    let asked = |asked: Option<Duration>| asked.unwrap_or_default().min(RETRY_AFTER_MAX);
    match trouble {
        // Both say that nothing was done.
        Trouble::Status(429, retry_after) => Some(slow_down(failures, random).max(asked(retry_after))),
        Trouble::Status(503, retry_after) => Some(exponential(failures, random).max(asked(retry_after))),
        // A call that does not exist will not exist in a minute either.
        Trouble::Status(501, _) => None,
        Trouble::Status(500..=599, retry_after) if repeat == Repeat::Harmless => {
            Some(exponential(failures, random).max(asked(retry_after)))
        }
        Trouble::Status(..) => None,
        Trouble::NotSent => Some(exponential(failures, random)),
        Trouble::NoReply | Trouble::TimedOut if repeat == Repeat::Harmless => Some(exponential(failures, random)),
        Trouble::NoReply | Trouble::TimedOut => None,
    }
}

/// Between the full step and half as much again: the seed's second is a minimum, and clients that failed together must
/// not come back together.
pub(crate) fn exponential(failures: u32, random: f64) -> Duration {
    let step = FIRST.saturating_mul(1u32 << failures.saturating_sub(1).min(10)).min(LONGEST);
    step.mul_f64(1.0 + random.clamp(0.0, 1.0) / 2.0).min(LONGEST)
}

fn slow_down(failures: u32, random: f64) -> Duration {
    exponential(failures, random).max(SLOW_DOWN.mul_f64(1.0 + random.clamp(0.0, 1.0) / 4.0))
}

/// Reads `Retry-After`: whole seconds or an HTTP date, which counts from `now`; a date in the past is zero.
pub(crate) fn retry_after(value: &str, now: Time) -> Option<Duration> {
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

    const NEVER_ENOUGH: RetryPolicy = RetryPolicy { attempts_max: u32::MAX, elapsed_max: Duration::MAX };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn waits_are_the_seeds() {
        use Repeat::{Harmless, MakesAnother};
        use Trouble::{NoReply, NotSent, Status, TimedOut};
        let cases = [
            (Status(500, None), Harmless, 1, 0.0, Some(1_000)),
            (Status(502, None), Harmless, 2, 0.0, Some(2_000)),
            (Status(503, None), Harmless, 3, 1.0, Some(6_000)),
            (Status(504, None), Harmless, 99, 1.0, Some(60_000)),
            (Status(503, Some(secs(7))), Harmless, 1, 0.0, Some(7_000)),
            (Status(503, Some(secs(0))), Harmless, 1, 0.0, Some(1_000)),
            (Status(429, None), Harmless, 1, 0.0, Some(30_000)),
            (Status(429, None), Harmless, 1, 1.0, Some(37_500)),
            (Status(429, Some(secs(5))), Harmless, 1, 0.0, Some(30_000)),
            (Status(429, Some(secs(300))), Harmless, 1, 0.0, Some(300_000)),
            (Status(429, Some(secs(1 << 40))), Harmless, 1, 0.0, Some(3_600_000)),
            (Status(429, None), Harmless, 7, 0.0, Some(60_000)),
            (NotSent, Harmless, 1, 0.0, Some(1_000)),
            (NoReply, Harmless, 1, 0.5, Some(1_250)),
            (TimedOut, Harmless, 1, 0.0, Some(1_000)),
            // At once to the caller.
            (Status(400, Some(secs(7))), Harmless, 1, 0.0, None),
            (Status(403, None), Harmless, 1, 0.0, None),
            (Status(404, None), Harmless, 1, 0.0, None),
            (Status(408, None), Harmless, 1, 0.0, None),
            (Status(301, None), Harmless, 1, 0.0, None),
            (Status(501, None), Harmless, 1, 0.0, None),
            // What makes something is tried again only where surely nothing was made.
            (Status(429, None), MakesAnother, 1, 0.0, Some(30_000)),
            (Status(503, None), MakesAnother, 1, 0.0, Some(1_000)),
            (NotSent, MakesAnother, 1, 0.0, Some(1_000)),
            (Status(500, None), MakesAnother, 1, 0.0, None),
            (NoReply, MakesAnother, 1, 0.0, None),
            (TimedOut, MakesAnother, 1, 0.0, None),
        ];
        for (trouble, repeat, failures, random, millis) in cases {
            let wait = NEVER_ENOUGH.next(trouble, repeat, failures, secs(0), random);
            assert_eq!(wait, millis.map(Duration::from_millis), "{trouble:?} {repeat:?} {failures} {random}");
        }
    }

    #[test]
    fn patience_ends_by_number_and_by_time() {
        let policy = RetryPolicy { attempts_max: 3, elapsed_max: secs(40) };
        let next = |trouble, failures, elapsed| policy.next(trouble, Repeat::Harmless, failures, secs(elapsed), 0.0);
        let (again, slow) = (Trouble::Status(503, None), Trouble::Status(429, None));
        assert_eq!(next(again, 2, 0), Some(secs(2)));
        assert_eq!(next(again, 3, 0), None, "three attempts were allowed");
        assert_eq!(next(again, 1, 39), Some(secs(1)), "an attempt may begin at the very end");
        assert_eq!(next(slow, 1, 11), None, "a wait that would end too late is not begun");
        assert_eq!(RetryPolicy::never().next(again, Repeat::Harmless, 1, secs(0), 0.0), None);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = Time::parse_rfc3339("2026-11-21T22:00:00Z").unwrap();
        let cases = [
            ("120", Some(secs(120))),
            (" 5 ", Some(secs(5))),
            ("99999999999999999999999", Some(secs(u64::MAX))),
            ("Sat, 21 Nov 2026 22:01:30 GMT", Some(secs(90))),
            ("Sat, 21 Nov 2026 21:00:00 GMT", Some(secs(0))),
            ("-3", None),
            ("soon", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }
}
