//! What was received, per instance: counted on records at the front door, so that conservation can be checked against
//! what the log and the store count on their side.
//!
//! received = committed + repeated + refused + filtered, at every moment after a request has been answered. The ledger also
//! remembers senders whose last request was refused, since some clients send a bad batch again for ever and nobody
//! reads their logs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use event::{BatchId, InstanceId, Time};

/// Counts of one instance since the server started, in records unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that came in a request whose sender was known.
    pub received: u64,
    /// Records that are in the log because of this process.
    pub committed: u64,
    /// Records of batches that were there already.
    pub repeated: u64,
    /// Records that were refused, for whatever reason.
    pub refused: u64,
    /// Records that a filter of their forwarder kept out.
    pub filtered: u64,
    /// Bytes of the committed records.
    pub committed_bytes: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were refused, those included whose records could not even be counted.
    pub requests_refused: u64,
}

/// A sender whose last request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The sender's instance, if its credential was good.
    pub instance: Option<InstanceId>,
    /// Account, key id, or address where no credential was good.
    pub sender: String,
    /// HTTP status of the last refusal.
    pub status: u16,
    /// Its text.
    pub message: String,
    /// When the first of these refusals was.
    pub since: Time,
    /// When the last was.
    pub last: Time,
    /// How many in a row.
    pub times: u64,
}

/// Most senders remembered as in trouble; beyond, the one whose last refusal is oldest is forgotten.
const TROUBLES_MAX: usize = 200;

/// Most batches whose repeats are counted one by one for receipts.
const REPEATS_MAX: usize = 50_000;

/// Longest remembered text of a refusal.
const MESSAGE_CHARS_MAX: usize = 300;

/// Shared by all listeners of a server.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<InstanceId, Counts>,
    troubles: HashMap<(Option<InstanceId>, String), Trouble>,
    /// Requests refused before a credential was known to be good.
    strangers_refused: u64,
    /// How often batches were sent again, the oldest forgotten first.
    repeats: HashMap<BatchId, u64>,
    repeats_order: VecDeque<BatchId>,
}

impl Ledger {
    /// A request's records are in the log.
    pub fn committed(&self, instance: InstanceId, sender: &str, records: u64, bytes: u64) {
        let mut state = self.lock();
        let counts = state.counts.entry(instance).or_default();
        counts.received += records;
        counts.committed += records;
        counts.committed_bytes += bytes;
        counts.requests += 1;
        state.is_well(instance, sender);
    }

    /// A request's records were in the log already, as this batch.
    pub fn repeated(&self, instance: InstanceId, sender: &str, records: u64, first: Option<BatchId>) {
        let mut state = self.lock();
        if let Some(first) = first {
            state.count_repeat(first);
        }
        let counts = state.counts.entry(instance).or_default();
        counts.received += records;
        counts.repeated += records;
        counts.requests += 1;
        state.is_well(instance, sender);
    }

    /// Records of a request were kept out by a filter. The request itself is counted with what became of the rest of it,
    /// unless this was all of it.
    pub fn filtered(&self, instance: InstanceId, sender: &str, records: u64, is_all: bool) {
        let mut state = self.lock();
        let counts = state.counts.entry(instance).or_default();
        counts.received += records;
        counts.filtered += records;
        if is_all {
            counts.requests += 1;
            state.is_well(instance, sender);
        }
    }

    /// A request was refused. Answers whether this is news: the first refusal of this sender in a row or one with
    /// another text, so that a client that retries for ever is logged once.
    pub fn refused(
        &self,
        instance: Option<InstanceId>,
        sender: &str,
        records: u64,
        status: u16,
        message: &str,
        now: Time,
    ) -> bool {
        let mut state = self.lock();
        match instance {
            Some(instance) => {
                let counts = state.counts.entry(instance).or_default();
                counts.received += records;
                counts.refused += records;
                counts.requests += 1;
                counts.requests_refused += 1;
            }
            None => state.strangers_refused += 1,
        }
        let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        let key = (instance, sender.to_owned());
        if let Some(trouble) = state.troubles.get_mut(&key) {
            let news = trouble.message != message;
            trouble.status = status;
            trouble.message = message;
            trouble.last = now;
            trouble.times += 1;
            return news;
        }
        if state.troubles.len() >= TROUBLES_MAX {
            let oldest = state.troubles.iter().min_by_key(|(_, trouble)| trouble.last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                state.troubles.remove(&oldest);
            }
        }
        let sender = sender.to_owned();
        state.troubles.insert(key, Trouble { instance, sender, status, message, since: now, last: now, times: 1 });
        true
    }

    /// So many more requests, or lines of syslog, were refused before a credential was known to be good, for a reason that
    /// [`Ledger::refused`] was told already.
    pub fn more_strangers_refused(&self, count: u64) {
        self.lock().strangers_refused += count;
    }

    /// The counts of every instance that sent anything.
    pub fn counts(&self) -> HashMap<InstanceId, Counts> {
        self.lock().counts.clone()
    }

    /// How often a batch was sent again since the server started, as far as is remembered.
    pub fn repeats_of(&self, batch: BatchId) -> u64 {
        self.lock().repeats.get(&batch).copied().unwrap_or(0)
    }

    /// Requests, and lines of syslog, refused before a credential was known to be good.
    pub fn strangers_refused(&self) -> u64 {
        self.lock().strangers_refused
    }

    /// Senders whose last request was refused, latest first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut troubles: Vec<_> = self.lock().troubles.values().cloned().collect();
        troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.last));
        troubles
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the ledger's lock")
    }
}

impl State {
    fn count_repeat(&mut self, first: BatchId) {
        if let Some(times) = self.repeats.get_mut(&first) {
            *times += 1;
            return;
        }
        if self.repeats_order.len() >= REPEATS_MAX
            && let Some(oldest) = self.repeats_order.pop_front()
        {
            self.repeats.remove(&oldest);
        }
        self.repeats.insert(first, 1);
        self.repeats_order.push_back(first);
    }

    fn is_well(&mut self, instance: InstanceId, sender: &str) {
        // Nearly always empty; a lookup needs an owned key.
        if !self.troubles.is_empty() {
            self.troubles.remove(&(Some(instance), sender.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_is_the_sum_of_what_became_of_it() {
        let ledger = Ledger::default();
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(1));
        ledger.committed(instance, "a@b", 10, 700);
        let first = BatchId::from_u128(1 << 64).unwrap();
        ledger.repeated(instance, "a@b", 10, Some(first));
        assert_eq!(ledger.repeats_of(first), 1);
        ledger.refused(Some(instance), "a@b", 3, 400, "entries[1]: bad date", Time::from_nanos(1));
        ledger.filtered(instance, "a@b", 4, false);
        ledger.filtered(instance, "a@b", 1, true);
        let counts = ledger.counts()[&instance];
        assert_eq!(counts.received, counts.committed + counts.repeated + counts.refused + counts.filtered);
        assert_eq!((counts.received, counts.committed_bytes, counts.requests_refused), (28, 700, 1));
        assert_eq!(counts.requests, 4);
    }

    #[test]
    fn a_sender_that_repeats_its_mistake_is_news_once_and_well_after_a_success() {
        let ledger = Ledger::default();
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(1));
        let refuse = |message: &str, at| ledger.refused(Some(instance), "a@b", 1, 400, message, Time::from_nanos(at));
        assert!(refuse("bad date", 1));
        assert!(!refuse("bad date", 2));
        assert!(refuse("bad log type", 3));
        let troubles = ledger.troubles();
        assert_eq!((troubles.len(), troubles[0].times, troubles[0].message.as_str()), (1, 3, "bad log type"));
        ledger.committed(instance, "a@b", 1, 1);
        assert!(ledger.troubles().is_empty());
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let ledger = Ledger::default();
        for n in 0..10_000 {
            ledger.refused(None, &format!("10.0.0.{n}"), 0, 401, "no", Time::from_nanos(n));
        }
        assert_eq!(ledger.troubles().len(), TROUBLES_MAX);
        assert_eq!(ledger.strangers_refused(), 10_000);
    }
}
