//! Time as the connectors see it, so that a test need not wait half a minute for a retry.
//!
//! Only waits that the connector decides on go through here (backoff, batch wait). Timeouts of real sockets stay on the
//! real clock.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event::Time;

/// A future that ends when a wait is over.
pub type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where "now", waits and jitter come from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> Time;
    /// Ends after this long.
    fn sleep(&self, wait: Duration) -> Waiting;
    /// A number in 0..1 for jitter.
    fn random(&self) -> f64;
}

/// The machine's clock, tokio's timer, the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Time::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    fn sleep(&self, wait: Duration) -> Waiting {
        Box::pin(tokio::time::sleep(wait))
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}
