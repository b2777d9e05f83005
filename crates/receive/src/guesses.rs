//! Slows down who tries keys that are none: by address, and by the key that is tried, since a sender that was given a wrong
//! one tries it from everywhere, for ever (contracts/sekoia.md §1.6: an hour for each chunk, and it reads no `Retry-After`).
//!
//! Only failures are counted and only failures are slowed: a good key from the same address is served as ever, since behind
//! one address there may be many senders.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures that are answered at once, and how long it takes until another one is.
const FREE: u32 = 20;
const FREE_AGAIN: Duration = Duration::from_secs(3);

/// What each failure beyond adds to the time that its answer is held back.
const DELAY_STEP: Duration = Duration::from_millis(250);

/// Longest that an answer is held back: senders wait 30 s for one.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// Most addresses and keys that are remembered.
const REMEMBERED_MAX: usize = 20_000;

/// Shared by all listeners of a server.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<Who, Tries>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    Key(NonZeroU32),
}

/// How many tries weigh, as of when.
#[derive(Debug, Clone, Copy)]
struct Tries {
    count: u32,
    at: Instant,
}

impl Tries {
    /// What is left of them now.
    fn left(self, now: Instant) -> Tries {
        let forgiven = now.saturating_duration_since(self.at).as_secs() / FREE_AGAIN.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        if forgiven == 0 {
            return self;
        }
        let left = self.count.saturating_sub(forgiven);
        Tries { count: left, at: self.at + FREE_AGAIN * forgiven.min(self.count) }
    }
}

impl Guesses {
    /// Counts a failure. Where there were too many, says how long its answer is to be held back.
    pub fn failed(&self, peer: IpAddr, key: NonZeroU32, now: Instant) -> Option<Duration> {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= REMEMBERED_MAX {
            tries.retain(|_, tries| tries.left(now).count > 0);
            // Still full: whoever does this has as many addresses as it likes, and forgetting is cheaper than remembering.
            if tries.len() >= REMEMBERED_MAX {
                tries.clear();
            }
        }
        let mut most = 0;
        for who in [Who::Address(network(peer)), Who::Key(key)] {
            let before = tries.get(&who).map_or(Tries { count: 0, at: now }, |tries| tries.left(now));
            // Not without end, or a sender that was put right would be slow for hours.
            let at = if before.count == 0 { now } else { before.at };
            let count = (before.count + 1).min(FREE * 3);
            tries.insert(who, Tries { count, at });
            most = most.max(count);
        }
        let beyond = most.checked_sub(FREE).filter(|beyond| *beyond > 0)?;
        Some((DELAY_STEP * beyond).min(DELAY_MAX))
    }
}

/// What counts as one address: of IPv6, whoever has one has 2^64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn many_failures_are_slowed_by_address_and_by_key_and_forgiven() {
        let guesses = Guesses::default();
        let start = Instant::now();
        let peer = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 1..=FREE {
            assert_eq!(guesses.failed(peer(1), key(n), start), None, "{n}");
        }
        assert_eq!(guesses.failed(peer(1), key(99), start), Some(DELAY_STEP));
        assert_eq!(guesses.failed(peer(1), key(98), start), Some(DELAY_STEP * 2));
        assert_eq!(guesses.failed(peer(2), key(97), start), None, "another address");
        for n in 3..=22 {
            assert_eq!(guesses.failed(peer(n), key(500), start), None, "{n}");
        }
        assert_eq!(guesses.failed(peer(23), key(500), start), Some(DELAY_STEP), "the same key from everywhere");
        assert_eq!(guesses.failed(peer(1), key(96), start + FREE_AGAIN * 3), None, "three are forgiven");
        for _ in 0..1_000 {
            let slowed = guesses.failed(peer(1), key(95), start + FREE_AGAIN * 3);
            assert!(slowed.is_none_or(|slowed| slowed <= DELAY_MAX));
        }
        assert_eq!(guesses.failed(peer(1), key(95), start + FREE_AGAIN * (FREE * 3 + 3)), None, "all are forgiven");
    }

    #[test]
    fn addresses_of_one_network_are_one_and_memory_has_an_end() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let mut slowed = 0;
        for n in 0..50u128 {
            let peer = IpAddr::V6((0x2001_0db8_u128 << 96 | n).into());
            slowed += usize::from(guesses.failed(peer, key(1_000 + n as u32), now).is_some());
        }
        assert_eq!(slowed, 30);
        for n in 1..100_000 {
            guesses.failed(IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]), key(n), now);
        }
        assert!(guesses.0.lock().unwrap().len() <= REMEMBERED_MAX + 2);
    }
}
