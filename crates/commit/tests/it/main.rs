//! The log as other crates see it, on a simulated disk and on a real one.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod behaviour;
mod crash;
mod speed;

use std::sync::Arc;

use commit::{AppendError, Appended, Disk, Followed, Log, LogOptions, NewFrame, Recovered};
use event::Time;

/// Small segments, so that little work meets many of their ends; all work on one thread.
pub(crate) fn small() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, one_thread: true, ..LogOptions::default() }
}

pub(crate) fn open(disk: &(impl Disk + Clone), options: &LogOptions) -> (Log, Recovered) {
    Log::open(Arc::new(disk.clone()), options.clone(), at(0)).expect("the log opens")
}

/// A time by its seconds.
pub(crate) fn at(secs: i64) -> Time {
    Time::from_secs(1_700_000_000 + secs).unwrap()
}

/// A frame whose payload can be told from every other's.
pub(crate) fn frame(id: u128, key: Option<u8>, bytes: usize) -> NewFrame {
    let payload: Vec<u8> = (0..bytes).map(|index| (index as u128 * 31 + id * 7) as u8).collect();
    NewFrame { id, key: key.map(|key| [key; 16]), at: at(id as i64), records: 1, payload: payload.into() }
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn append(log: &Log, frame: NewFrame) -> Result<Appended, AppendError> {
    wait(log.append(frame))
}

/// Everything that a follower from the oldest kept position on meets.
pub(crate) fn read_all(log: &Log) -> Vec<Followed> {
    let mut follower = log.follow(None).unwrap();
    std::iter::from_fn(|| follower.read().unwrap()).collect()
}

/// The ids of all frames; anything else is shown as text.
pub(crate) fn story(log: &Log) -> Vec<String> {
    let show = |followed: &Followed| match followed {
        Followed::Frame { id, .. } => id.to_string(),
        Followed::Lost { .. } => "lost".to_owned(),
        Followed::Damaged { .. } => "damaged".to_owned(),
    };
    read_all(log).iter().map(show).collect()
}
