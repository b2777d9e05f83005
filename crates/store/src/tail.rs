//! The newest rows, in memory until they are written. Pure data; the store's lock is around it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use event::{BatchMeta, Event, Failure, InstanceId, Kind, Position, Tally, TallyKey, limits};

use crate::{Frame, SetAside};

/// The newest failures of each log type of an instance, oldest first.
pub(crate) type Failures = BTreeMap<(InstanceId, String), VecDeque<Failure>>;

/// Events of one list. Only the last list of a tail still grows; a snapshot that holds it makes the next push copy no
/// more than this many.
const CHUNK_EVENTS: usize = 1_024;

/// What one instance has in the store, counted on records where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstanceCounts {
    /// Records that are stored: each has a row of its own batch's kind.
    pub records: u64,
    /// Records that are set aside.
    pub set_aside: u64,
    /// Rows of UDM events and entities, whether sent as such or found in raw logs.
    pub events: u64,
}

impl InstanceCounts {
    pub(crate) fn add(&mut self, other: InstanceCounts) {
        self.records += other.records;
        self.set_aside += other.set_aside;
        self.events += other.events;
    }
}

/// Rows that are pushed but not yet in the catalogue, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    chunks: Vec<Arc<Vec<Event>>>,
    set_aside: Vec<Arc<SetAside>>,
    counts: BTreeMap<InstanceId, InstanceCounts>,
    failures: Failures,
    tallies: BTreeMap<TallyKey, Tally>,
    bytes: usize,
    through: Option<(Position, u32)>,
}

impl Tail {
    pub(crate) fn push(&mut self, frame: Frame) {
        let mut last: Option<&Arc<BatchMeta>> = None;
        for event in &frame.events {
            // Usually one for thousands; but lines of syslog can have one each.
            if last.is_none_or(|last| !Arc::ptr_eq(last, &event.batch)) {
                self.bytes += event.batch.memory_bytes();
                last = Some(&event.batch);
            }
            let counts = self.counts.entry(event.batch.instance).or_default();
            counts.records += u64::from(event.kind == event.batch.kind);
            counts.events += u64::from(event.kind != Kind::Raw);
            let issues: usize = event.issues.iter().map(|issue| issue.field.len() + issue.message.len() + 80).sum();
            self.bytes += event.data.len() + size_of::<Event>() + issues;
        }
        for record in frame.set_aside {
            self.counts.entry(record.event.batch.instance).or_default().set_aside += 1;
            self.bytes += record.event.data.len() + size_of::<Event>();
            self.set_aside.push(Arc::new(record));
        }
        for failure in frame.failures {
            self.bytes += bytes_of(&failure);
            self.bytes -= keep_newest(&mut self.failures, failure).map_or(0, |oldest| bytes_of(&oldest));
        }
        for (key, tally) in frame.tallies {
            self.tallies.entry(key).or_default().add(tally);
        }
        if !frame.events.is_empty() {
            match self.chunks.last_mut() {
                Some(last) if last.len() < CHUNK_EVENTS => Arc::make_mut(last).extend(frame.events),
                _ => self.chunks.push(Arc::new(frame.events)),
            }
        }
        self.through = Some((frame.next, frame.through));
    }

    /// Nothing was pushed, not even a frame without rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.through.is_none()
    }

    pub(crate) fn chunks(&self) -> &[Arc<Vec<Event>>] {
        &self.chunks
    }

    pub(crate) fn set_aside(&self) -> &[Arc<SetAside>] {
        &self.set_aside
    }

    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    pub(crate) fn tallies(&self) -> &BTreeMap<TallyKey, Tally> {
        &self.tallies
    }

    pub(crate) fn counts(&self) -> &BTreeMap<InstanceId, InstanceCounts> {
        &self.counts
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The cursor once all of it is stored, and how many records of the frame there are among it; `None` only when it is empty.
    pub(crate) fn through(&self) -> Option<(Position, u32)> {
        self.through
    }
}

/// Adds a failure; gives the one that has to go for it.
pub(crate) fn keep_newest(failures: &mut Failures, failure: Failure) -> Option<Failure> {
    let of_type = failures.entry((failure.batch.instance, failure.batch.log_type.clone())).or_default();
    let oldest = if of_type.len() == limits::FAILURES_KEPT { of_type.pop_front() } else { None };
    of_type.push_back(failure);
    oldest
}

/// About how much memory it takes.
fn bytes_of(failure: &Failure) -> usize {
    size_of::<Failure>() + failure.message.len() + failure.field.len()
}
