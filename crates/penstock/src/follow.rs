//! The store's follower: reads the log from the store's cursor on, frame by frame, for as long as the server runs.
//!
//! A thread of its own, since reading blocks, and another that writes parts: a record must be searchable while older ones
//! are being written. The store commits its cursor with its parts, so that a crash at any point means reading again from
//! there, and nothing is stored twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use anyhow::Context;
use commit::{FollowError, Followed, Follower, Log};
use event::codec::CodecError;
use event::{InstanceId, Position, Time, limits};
use normalise::Normaliser;
use store::{Frame, SetAside, Store};

/// What others may know of a follower while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Offset in the log up to which it has read.
    offset: AtomicU64,
    /// When the last frame it read was appended, in nanoseconds.
    frame_at: AtomicU64,
    /// Records it has read since it started.
    records: AtomicU64,
    /// Where the log ended when the server started; what it reads up to there is of an earlier process.
    backlog_end: u64,
    /// Records per instance that it read up to there.
    backlog: Mutex<HashMap<InstanceId, u64>>,
    /// Ranges that it could not read, and why.
    gaps: Mutex<Vec<Gap>>,
    /// Set when it gave up, with the reason.
    failed: Mutex<Option<String>>,
}

/// A range of the log that the store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
    /// What happened to it.
    pub reason: &'static str,
}

impl Progress {
    /// Nothing read yet, at this time, of a log that ends at `backlog_end`.
    pub fn new(backlog_end: u64, now: Time) -> Progress {
        Progress { backlog_end, frame_at: AtomicU64::new(now.nanos().max(0) as u64), ..Progress::default() }
    }

    /// Records of an instance that were in the log before this process and that it read.
    pub fn backlog(&self, instance: InstanceId) -> u64 {
        self.backlog.lock().expect("no code panics while it holds this lock").get(&instance).copied().unwrap_or(0)
    }

    /// Offset in the log up to which it has read.
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Records read since the start.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Acquire)
    }

    /// How far behind it is: zero when it has read everything durable, else the age of the newest it has read.
    pub fn behind(&self, durable_to: u64, now: Time) -> Duration {
        if self.offset() >= durable_to {
            return Duration::ZERO;
        }
        let frame_at = Time::from_nanos(self.frame_at.load(Ordering::Acquire) as i64);
        Duration::from_nanos(u64::try_from(now.nanos_since(frame_at)).unwrap_or(0))
    }

    /// Ranges that it could not read.
    pub fn gaps(&self) -> Vec<Gap> {
        self.gaps.lock().expect("no code panics while it holds this lock").clone()
    }

    /// Why it stopped, if it did.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().expect("no code panics while it holds this lock").clone()
    }
}

/// Longest sleep without looking whether something is due.
const TICK: Duration = Duration::from_millis(500);

/// Pause of the reading while memory is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Pause after a failed flush before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Everything the follower needs.
pub struct StoreFollower {
    /// What it reads.
    pub log: Log,
    /// What it writes.
    pub store: Arc<Store>,
    /// Frames to events.
    pub normaliser: Arc<Normaliser>,
    /// Where it says how far it is.
    pub progress: Arc<Progress>,
    /// The clock.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Most bytes in memory before reading waits for the writing of parts.
    pub tail_bytes_max: usize,
    /// Writes the parts.
    pub flusher: Flusher,
    /// Set to end it.
    pub stop: Arc<AtomicBool>,
    /// For waiting on the log.
    pub runtime: tokio::runtime::Handle,
}

/// Frames that are there.
struct Gathered {
    frames: Vec<Taken>,
    /// What is missing behind them.
    gap: Option<Followed>,
    /// Nothing is behind them yet.
    is_all: bool,
}

/// A frame of the log.
struct Taken {
    position: Position,
    next: Position,
    at: Time,
    records: u32,
    payload: bytes::Bytes,
}

impl StoreFollower {
    /// Starts its two threads.
    pub fn spawn(self) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
        let flusher = self.flusher.clone();
        let writing = std::thread::Builder::new().name("store-write".to_owned()).spawn(move || flusher.run())?;
        let wake = writing.thread().clone();
        let reading = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            if let Err(error) = self.run(&wake) {
                let text = format!("{error:#}");
                tracing::error!(error = text, "the store's follower ended; records stay in the log until a restart");
                *self.progress.failed.lock().expect("no code panics while it holds this lock") = Some(text);
            }
        })?;
        Ok(vec![writing, reading])
    }

    fn run(&self, writing: &Thread) -> anyhow::Result<()> {
        let mut follower = self.follow()?;
        // The writing thread is told once that something is due: after a failure it waits on its own.
        let mut is_told = false;
        self.progress.offset.store(follower.position().offset, Ordering::Release);
        while !self.stop.load(Ordering::Acquire) {
            let is_due = self.store.flush_due((self.now)());
            if is_due && !is_told {
                writing.unpark();
            }
            is_told = is_due;
            // While parts are written slower than records come, or the disk takes nothing, nothing more is read: the
            // records are safe in the log, and memory is not the place to keep them.
            // Where a flush is due, what it will free is waited for if the next frame would go beyond: one of 64 MiB is most of
            // what there is room for.
            let tail_bytes = self.store.tail_bytes();
            let mut with_next = || tail_bytes + follower.next_bytes().map_or(0, |bytes| bytes as usize);
            if tail_bytes >= self.tail_bytes_max || (is_due && with_next() > self.tail_bytes_max) {
                std::thread::sleep(FULL_PAUSE);
                continue;
            }
            let Gathered { frames, gap, is_all } = self.gather(&mut follower)?;
            self.take(frames)?;
            match gap {
                Some(Followed::Lost { from, to }) => {
                    self.note_gap(from, to, "removed from the log before it was stored")
                }
                Some(Followed::Damaged { from, to }) => self.note_gap(from, to, "damaged on disk"),
                _ => {}
            }
            if is_all {
                let changed = async { tokio::time::timeout(TICK, follower.changed()).await };
                let _ = self.runtime.block_on(changed);
            }
        }
        // What is in memory is in the log as well; writing it out only makes the next start shorter.
        self.flusher.flush();
        Ok(())
    }

    fn follow(&self) -> anyhow::Result<Follower> {
        match self.log.follow(self.store.cursor()) {
            Ok(follower) => Ok(follower),
            Err(error @ FollowError::OtherEpoch { .. }) => {
                // The data directory's log was replaced. Its records are new ones, whatever the store has of the old.
                let first = self.log.status().first;
                tracing::error!(%error, %first, "the store's cursor belongs to another log; storing this one from its start");
                self.store.restart_at(first).context("the store's cursor cannot be set")?;
                self.log.follow(Some(first)).context("the log cannot be read")
            }
            Err(FollowError::Ahead { cursor, end }) => {
                // The log's directory was put back from an older copy. What it has up to its end is stored already.
                tracing::error!(%cursor, %end, "the store is ahead of the log; storing what comes after the log's end");
                self.store.restart_at(end).context("the store's cursor cannot be set")?;
                self.log.follow(Some(end)).context("the log cannot be read")
            }
            Err(error) => Err(error).context("the log cannot be read"),
        }
    }

    /// The next frames, as many as are there and may be parsed together, so that small ones share the threads.
    fn gather(&self, follower: &mut Follower) -> anyhow::Result<Gathered> {
        let mut gathered = Gathered { frames: Vec::new(), gap: None, is_all: false };
        let mut bytes = 0;
        while gathered.frames.len() < limits::NORMALISE_FRAMES_AHEAD {
            bytes += follower.next_bytes().unwrap_or(0);
            if bytes > limits::NORMALISE_FRAME_BYTES_AHEAD && !gathered.frames.is_empty() {
                break;
            }
            match follower.read().context("the log cannot be read")? {
                Some(Followed::Frame { position, next, at, records, payload, .. }) => {
                    gathered.frames.push(Taken { position, next, at, records, payload });
                }
                Some(gap) => {
                    gathered.gap = Some(gap);
                    break;
                }
                None => {
                    gathered.is_all = true;
                    break;
                }
            }
        }
        Ok(gathered)
    }

    fn take(&self, taken: Vec<Taken>) -> anyhow::Result<()> {
        // A frame of many records may be stored in part.
        let stored = self.store.cursor_within();
        let frame = |taken: &Taken| {
            let first = stored.filter(|(cursor, _)| *cursor == taken.position).map_or(0, |(_, records)| records);
            normalise::Frame { position: taken.position, payload: taken.payload.clone(), first }
        };
        let frames: Vec<normalise::Frame> = taken.iter().map(frame).collect();
        let reads = self.normaliser.read_all(&frames);
        for (taken, read) in taken.into_iter().zip(reads) {
            let mut read = self.push(&taken, read)?;
            while let Some(first) = read {
                // One of 64 MiB would become many times that at once.
                self.wait_for_room();
                if self.stop.load(Ordering::Acquire) {
                    // The cursor says how far it is in this frame.
                    return Ok(());
                }
                let frame = normalise::Frame { position: taken.position, payload: taken.payload.clone(), first };
                let slice = self.normaliser.read_all(std::slice::from_ref(&frame)).pop();
                read = self.push(&taken, slice.expect("one frame gives one answer"))?;
            }
            self.progress.frame_at.store(taken.at.nanos().max(0) as u64, Ordering::Release);
            self.progress.records.fetch_add(u64::from(taken.records), Ordering::AcqRel);
            self.progress.offset.store(taken.next.offset, Ordering::Release);
        }
        Ok(())
    }

    /// Hands what was read of a frame to the store; gives which of its records is the next one, if there are more.
    fn push(&self, taken: &Taken, read: Result<Arc<normalise::Read>, CodecError>) -> anyhow::Result<Option<u32>> {
        let Taken { position, next, .. } = *taken;
        let read = read
            .with_context(|| format!("the frame at {position} cannot be read; a newer Penstock may have written it"))?;
        // Mostly others may want it, too; what stands in it is shared, and only its outside is copied.
        let read = Arc::unwrap_or_clone(read);
        if position.offset < self.progress.backlog_end {
            let mut backlog = self.progress.backlog.lock().expect("no code panics while it holds this lock");
            let stored = read.events.iter().filter(|event| !event.is_parsed());
            for event in stored.chain(read.set_aside.iter().map(|(event, _)| event)) {
                *backlog.entry(event.batch.instance).or_default() += 1;
            }
        }
        let normalise::Read { events, set_aside, failures, tallies, through, is_last, .. } = read;
        let set_aside = set_aside.into_iter().map(|(event, reason)| SetAside { event, reason }).collect();
        let (next, more) = if is_last { (next, None) } else { (position, Some(through)) };
        let frame = Frame { position, next, through: more.unwrap_or(0), events, set_aside, failures, tallies };
        self.store.push(frame).context("the store takes no more")?;
        Ok(more)
    }

    /// Waits until parts have been written, while memory is full.
    fn wait_for_room(&self) {
        while self.store.tail_bytes() >= self.tail_bytes_max && !self.stop.load(Ordering::Acquire) {
            std::thread::sleep(FULL_PAUSE);
        }
    }

    fn note_gap(&self, from: Position, to: Position, reason: &'static str) {
        tracing::error!(%from, %to, reason, "a range of the log is missing in the store");
        self.progress.gaps.lock().expect("no code panics while it holds this lock").push(Gap { from, to, reason });
        self.progress.offset.store(to.offset, Ordering::Release);
    }
}

/// Writes the newest records out as parts, when that is due.
#[derive(Clone)]
pub struct Flusher {
    /// What it writes.
    pub store: Arc<Store>,
    /// The clock.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Called after each flush, since the log may let go of what has been stored.
    pub flushed: Arc<dyn Fn() + Send + Sync>,
    /// Set to end it.
    pub stop: Arc<AtomicBool>,
}

impl Flusher {
    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            if self.store.flush_due((self.now)()) && !self.flush() {
                std::thread::park_timeout(RETRY_PAUSE);
            } else {
                std::thread::park_timeout(TICK);
            }
        }
    }

    fn flush(&self) -> bool {
        match self.store.flush((self.now)()) {
            Ok(_) => {
                (self.flushed)();
                true
            }
            Err(error) => {
                // A full disk, most likely. Nothing is lost: the cursor stays, and the tail stays searchable.
                tracing::error!(%error, "the newest records cannot be written to the store; trying again");
                false
            }
        }
    }
}

/// How often background work looks for something to do.
const MAINTAIN_EVERY: Duration = Duration::from_secs(5);

/// Compaction and retention, on a thread of their own so that they delay no record.
pub fn spawn_maintenance(
    store: Arc<Store>,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
    stop: Arc<AtomicBool>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("store-maintain".to_owned()).spawn(move || {
        while !stop.load(Ordering::Acquire) {
            match store.maintain(now()) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "background work on the store failed; trying again"),
            }
            std::thread::park_timeout(MAINTAIN_EVERY);
        }
    })
}
