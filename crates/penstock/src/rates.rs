//! Records and bytes a second, per instance, over the last minute: sampled from the ledger, for `penstock status`.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use event::InstanceId;
use receive::ledger::Counts;
use tokio::time::Instant;

/// How often a sample is taken.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(60);

/// The samples of the last minute.
#[derive(Debug, Default)]
pub struct Rates {
    samples: Mutex<VecDeque<(Instant, HashMap<InstanceId, Counts>)>>,
}

/// What an instance sent a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Records committed.
    pub records: f64,
    /// Bytes of records committed.
    pub bytes: f64,
}

impl Rates {
    /// Takes a sample.
    pub fn sample(&self, counts: HashMap<InstanceId, Counts>) {
        let now = Instant::now();
        let mut samples = self.samples.lock().expect("no code panics while it holds this lock");
        samples.push_back((now, counts));
        while samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            samples.pop_front();
        }
    }

    /// The rate of an instance, given its counts now.
    pub fn of(&self, instance: InstanceId, now: &Counts) -> Rate {
        let samples = self.samples.lock().expect("no code panics while it holds this lock");
        let Some((at, counts)) = samples.front() else { return Rate::default() };
        let secs = at.elapsed().as_secs_f64();
        if secs < 0.5 {
            return Rate::default();
        }
        let then = counts.get(&instance).copied().unwrap_or_default();
        Rate {
            records: (now.committed - then.committed) as f64 / secs,
            bytes: (now.committed_bytes - then.committed_bytes) as f64 / secs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_looks_back_a_minute() {
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(1));
        let rates = Rates::default();
        let counts = |committed| Counts { committed, committed_bytes: committed * 10, ..Counts::default() };
        assert_eq!(rates.of(instance, &counts(5)), Rate::default());
        for second in 0..30u64 {
            rates.sample(HashMap::from([(instance, counts(second * 5 * 100))]));
            tokio::time::advance(SAMPLE_EVERY).await;
        }
        let rate = rates.of(instance, &counts(30 * 5 * 100));
        assert!((rate.records - 100.0).abs() < 1.0 && (rate.bytes - 1000.0).abs() < 10.0, "{rate:?}");
    }
}
