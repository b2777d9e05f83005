//! The order of hits and the bounded heap that keeps the newest of them. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use event::{Event, Kind, RecordId, Time};

/// What hits are ordered by: the greater key comes first, so the newest event time, then the greater id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) event_time: Time,
    pub(crate) id: RecordId,
    pub(crate) kind: Kind,
    /// Which of a record's events it is.
    pub(crate) ordinal: u32,
}

impl Key {
    pub(crate) fn of(event: &Event) -> Key {
        Key { event_time: event.event_time, id: event.id(), kind: event.kind, ordinal: event.ordinal }
    }
}

/// A row that was found, and where the rest of it is.
#[derive(Debug)]
pub(crate) struct Hit<'a> {
    pub(crate) key: Key,
    pub(crate) place: Place<'a>,
}

#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// In memory.
    Tail(&'a Event),
    /// In a part.
    Part(PartRow),
}

/// A row of a part, by its place.
#[derive(Debug)]
pub(crate) struct PartRow {
    /// Index of the part in the snapshot.
    pub(crate) part: usize,
    pub(crate) group: usize,
    /// Row in the row group.
    pub(crate) row: usize,
    /// Length of the record.
    pub(crate) data_bytes: usize,
    /// The record, when it was read and there was room to keep it.
    pub(crate) data: Option<Bytes>,
}

/// The hits with the greatest keys, at most `most` of them.
pub(crate) struct Newest<'a> {
    heap: BinaryHeap<Reverse<Hit<'a>>>,
    most: usize,
    kept_bytes: usize,
    kept_bytes_max: usize,
}

impl<'a> Newest<'a> {
    pub(crate) fn new(most: usize, kept_bytes_max: usize) -> Newest<'a> {
        Newest { heap: BinaryHeap::new(), most, kept_bytes: 0, kept_bytes_max }
    }

    /// Whether a row with this key would be among them.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        self.worst().is_none_or(|worst| worst < *key) && self.most > 0
    }

    /// Whether any row as old as this could be among them.
    pub(crate) fn takes_time(&self, event_time: Time) -> bool {
        self.worst().is_none_or(|worst| worst.event_time <= event_time) && self.most > 0
    }

    /// Whether there is room to keep a record of this size.
    pub(crate) fn keeps(&self, data_bytes: usize) -> bool {
        self.kept_bytes + data_bytes <= self.kept_bytes_max
    }

    pub(crate) fn push(&mut self, hit: Hit<'a>) {
        self.kept_bytes += hit.kept_bytes();
        self.heap.push(Reverse(hit));
        if self.heap.len() > self.most
            && let Some(Reverse(out)) = self.heap.pop()
        {
            self.kept_bytes -= out.kept_bytes();
        }
    }

    /// All of them, the greatest key first.
    pub(crate) fn into_sorted(self) -> Vec<Hit<'a>> {
        // Ascending by the reversed order is descending by the key.
        self.heap.into_sorted_vec().into_iter().map(|Reverse(hit)| hit).collect()
    }

    /// The least key, once there is no room for more.
    fn worst(&self) -> Option<Key> {
        (self.heap.len() >= self.most).then(|| self.heap.peek().map(|Reverse(hit)| hit.key)).flatten()
    }
}

impl Hit<'_> {
    fn kept_bytes(&self) -> usize {
        match &self.place {
            Place::Part(PartRow { data: Some(data), .. }) => data.len(),
            Place::Part(_) | Place::Tail(_) => 0,
        }
    }
}

impl PartialEq for Hit<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Hit<'_> {}

impl PartialOrd for Hit<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hit<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
