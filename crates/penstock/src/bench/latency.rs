//! A histogram of durations: fixed size, within 1 % of the truth, from a microsecond to over an hour.

use std::time::Duration;

/// Sub-buckets of each power of two.
const STEPS: usize = 128;

/// Counts durations in buckets whose width grows with their value.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_micros: u64,
}

/// The usual summary, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quantiles {
    /// Half of all were at most this long.
    pub p50: f64,
    /// 99 of 100 were at most this long.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latencies {
    /// None counted yet.
    pub fn new() -> Latencies {
        Latencies { counts: vec![0; 33 * STEPS], total: 0, max_micros: 0 }
    }

    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    /// Counts all of another's.
    pub fn merge(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_micros = self.max_micros.max(other.max_micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The summary, or `None` when nothing was counted.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let millis = |micros: u64| micros as f64 / 1000.0;
        (self.total > 0).then(|| Quantiles {
            p50: millis(self.at(0.50)),
            p99: millis(self.at(0.99)),
            max: millis(self.max_micros),
        })
    }

    /// The smallest bucket's end that at least `share` of all do not exceed, in microseconds.
    fn at(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end_of(bucket).min(self.max_micros);
            }
        }
        self.max_micros
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies::new()
    }
}

/// Values below `2 * STEPS` have a bucket each; above, every power of two has `STEPS` of them.
fn bucket_of(micros: u64) -> usize {
    let shift = (micros | 1).ilog2().saturating_sub(STEPS.ilog2()) as usize;
    shift * STEPS + (micros >> shift) as usize
}

fn end_of(bucket: usize) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = (bucket - shift * STEPS) as u64;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_row() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantiles(), None);
        for millis in 1..=1000 {
            latencies.add(Duration::from_millis(millis));
        }
        let found = latencies.quantiles().unwrap();
        assert!((found.p50 - 500.0).abs() < 5.0, "{found:?}");
        assert!((found.p99 - 990.0).abs() < 10.0, "{found:?}");
        assert_eq!((found.max, latencies.count()), (1000.0, 1000));
    }

    proptest! {
        #[test]
        fn a_bucket_ends_within_one_percent_of_its_values(micros in 0u64..4_000_000_000) {
            let end = end_of(bucket_of(micros));
            prop_assert!(end >= micros && end - micros <= micros / 100 + 1, "{micros} in a bucket that ends at {end}");
        }

        #[test]
        fn merging_is_adding_all(left in prop::collection::vec(0u64..10_000_000, 1..50),
                                 right in prop::collection::vec(0u64..10_000_000, 1..50)) {
            let count = |values: &[u64]| {
                let mut latencies = Latencies::new();
                values.iter().for_each(|&micros| latencies.add(Duration::from_micros(micros)));
                latencies
            };
            let mut merged = count(&left);
            merged.merge(&count(&right));
            prop_assert_eq!(merged.quantiles(), count(&[left, right].concat()).quantiles());
        }
    }
}
