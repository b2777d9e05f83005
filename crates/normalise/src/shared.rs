//! The newest frames as they were read, so that each is parsed once for all followers that are near the log's end. One
//! that is further behind parses for itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use event::{Event, Failure, Position};

use crate::Read;

/// A frame, and the first of its records that are read.
type Key = (Position, u32);

/// Frames that were read, and those that somebody is reading.
pub(crate) struct Shared {
    bytes_max: usize,
    /// Whether there are several followers: a frame that nobody else will ask for is not kept.
    is_shared: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    done: HashMap<Key, Arc<Read>>,
    order: VecDeque<(Key, usize)>,
    bytes: usize,
    claimed: HashSet<Key>,
}

/// What is known of a frame that somebody wants.
pub(crate) enum Claim<'s> {
    /// It has been read.
    Done(Arc<Read>),
    /// Whoever asked reads it; others wait for that.
    Mine(Claimed<'s>),
}

/// The duty to read a frame. Dropped without [`Claimed::publish`], another may.
pub(crate) struct Claimed<'s> {
    shared: &'s Shared,
    key: Key,
}

impl Shared {
    pub(crate) fn new(bytes_max: usize) -> Shared {
        Shared { bytes_max, is_shared: AtomicBool::new(false), state: Mutex::default(), changed: Condvar::new() }
    }

    /// From now on what was read is kept for a while.
    pub(crate) fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Waits while another reads it. Must not be called where that other's work is done.
    pub(crate) fn claim(&self, key: Key) -> Claim<'_> {
        let mut state = self.lock();
        loop {
            if let Some(read) = state.done.get(&key) {
                return Claim::Done(Arc::clone(read));
            }
            if state.claimed.insert(key) {
                return Claim::Mine(Claimed { shared: self, key });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimed<'_> {
    /// Gives it to whoever waits, and keeps it for those who come soon.
    pub(crate) fn publish(self, read: Read) -> Arc<Read> {
        let bytes = bytes_of(&read);
        let read = Arc::new(read);
        let mut state = self.shared.lock();
        // What fills the room alone would push out all others, and is gone with the next one.
        if self.shared.is_shared.load(Ordering::Relaxed) && bytes <= self.shared.bytes_max / 2 {
            state.bytes += bytes;
            state.order.push_back((self.key, bytes));
            state.done.insert(self.key, Arc::clone(&read));
            while state.bytes > self.shared.bytes_max {
                let Some((oldest, bytes)) = state.order.pop_front() else { break };
                state.bytes -= bytes;
                state.done.remove(&oldest);
            }
        }
        read
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.shared.lock().claimed.remove(&self.key);
        self.shared.changed.notify_all();
    }
}

/// About how much memory it takes.
fn bytes_of(read: &Read) -> usize {
    let issues =
        |event: &Event| event.issues.iter().map(|issue| issue.field.len() + issue.message.len() + 80).sum::<usize>();
    let event = |event: &Event| event.data.len() + size_of::<Event>() + issues(event);
    let failure = |failure: &Failure| size_of::<Failure>() + failure.message.len() + failure.field.len();
    let set_aside = read.set_aside.iter().map(|(record, _)| event(record)).sum::<usize>();
    read.events.iter().map(event).sum::<usize>() + set_aside + read.failures.iter().map(failure).sum::<usize>()
}
