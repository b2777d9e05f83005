//! Time and chance as the client sees them, so that a test need not wait half a minute for a retry.
//!
//! Only what the client decides on goes through here: waits between attempts, jitter, the age of tokens, the times and
//! ids that it adds to records. The time limit of a request stays on the real clock, as the socket does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event::Time;

/// A future that ends when a wait is over.
pub type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where "now", waits and random bits come from. [`SystemClock`] unless a test brings its own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Time;
    /// Time since some moment that stays the same; never goes back, unlike the time of day.
    fn elapsed(&self) -> Duration;
    /// Ends after this long.
    fn sleep(&self, wait: Duration) -> Waiting;
    /// A number in 0..1 for jitter.
    fn random(&self) -> f64;
    /// Sixteen random bytes: the `metadata.id` of an event that has none.
    fn random_id(&self) -> [u8; 16];
}

/// The machine's clock, tokio's timer, the operating system's randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] counts from now.
    #[allow(clippy::new_without_default, reason = "a default that reads the clock would surprise")]
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        time_of(SystemTime::now())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, wait: Duration) -> Waiting {
        Box::pin(tokio::time::sleep(wait))
    }

    fn random(&self) -> f64 {
        rand::random()
    }

    fn random_id(&self) -> [u8; 16] {
        rand::random()
    }
}

/// The system's time as ours; times outside 1677 to 2262 become the nearest that can be kept.
pub(crate) fn time_of(time: SystemTime) -> Time {
    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    };
    Time::from_nanos(nanos)
}
