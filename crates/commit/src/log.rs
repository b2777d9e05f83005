//! The log's face: what other crates call, and the state that its threads share.
//!
//! Nothing here touches the disk except [`Log::open`] and [`Log::find`]; appending goes through the queue to `writer`,
//! housekeeping to `keeper`.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use event::{Position, Time, limits};
use tokio::sync::{oneshot, watch};

use crate::disk::Disk;
use crate::error::{AppendError, FollowError, LogError};
use crate::follow::Follower;
use crate::keeper::{self, Chores};
use crate::keys::{Entry, Tables};
use crate::recover::{self, Recovered};
use crate::segment::{HEADS_CHUNK_BYTES, PAGE_BYTES, Segment};
use crate::writer::{self, Writer};

/// How a log works. [`Default`] is what `event::limits` says.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Size of a full-grown segment file in bytes; rounded up to whole pages. The first segments of a log are smaller.
    pub segment_bytes: u64,
    /// How long segments are kept for connectors that lag, by the newest frame's time.
    pub keep: Duration,
    /// How many bytes of segments are kept for connectors that lag.
    pub keep_bytes: u64,
    /// How long a repeat of a key is recognised, by the frames' times.
    pub dedup_window: Duration,
    /// Most keys remembered in files; the oldest go first, a file at a time.
    pub dedup_keys_max: u64,
    /// When an append is answered.
    pub sync: Sync,
    /// How long a full log waits before it looks for space again.
    pub full_retry: Duration,
    /// Do the helper's work on the log's own thread, so that a simulated disk sees the same order of operations in
    /// every run. Appends then wait for zeroing; not for production.
    pub one_thread: bool,
}

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Only when the frame is on stable storage.
    Always,
    /// When the frame is written; synced so much later at the most. A crash of the machine (not of the process) loses
    /// what was answered in that time. Followers see only what is synced even so.
    Interval(Duration),
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: limits::SEGMENT_BYTES,
            keep: limits::LOG_KEEP,
            keep_bytes: limits::LOG_KEEP_BYTES,
            dedup_window: limits::DEDUP_WINDOW,
            dedup_keys_max: limits::DEDUP_KEYS_MAX,
            sync: Sync::Always,
            full_retry: Duration::from_secs(1),
            one_thread: false,
        }
    }
}

/// A frame to append.
#[derive(Debug, Clone)]
pub struct NewFrame {
    /// The frame's id, made by the caller; nearly ordered by time, so that [`Log::find`] has little to look at.
    pub id: u128,
    /// Two frames with one key within the window are one: the second is not stored.
    pub key: Option<[u8; 16]>,
    /// When it was received. The log's only clock, for windows and ages.
    pub at: Time,
    /// How many records the payload holds, for the books; the log does not count them.
    pub records: u32,
    /// The bytes to keep.
    pub payload: Bytes,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Stored, durably.
    New(Receipt),
    /// Nothing stored: the log has a frame with this key already, durably. Its receipt.
    Repeat(Receipt),
}

impl Appended {
    /// The receipt of the frame that is in the log.
    pub fn receipt(&self) -> Receipt {
        match self {
            Appended::New(receipt) | Appended::Repeat(receipt) => *receipt,
        }
    }
}

/// Proof that a frame is in the log, as durably as [`LogOptions::sync`] says. Only the log makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    id: u128,
    position: Position,
    at: Time,
    records: u32,
}

impl Receipt {
    pub(crate) fn new(epoch: u64, entry: &Entry) -> Receipt {
        let position = Position { epoch, offset: entry.offset };
        Receipt { id: entry.id, position, at: entry.at, records: entry.records }
    }

    /// The stored frame's id; for a repeat, not the id that was offered.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// When it was received.
    pub fn at(&self) -> Time {
        self.at
    }

    /// How many records it holds.
    pub fn records(&self) -> u32 {
        self.records
    }
}

/// What followers still need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needed {
    /// The store's cursor: nothing from here on goes, whatever the limits say. `None`: no store follows.
    pub store: Option<Position>,
    /// The lowest cursor of all connectors: nothing from here on goes, unless it is older than `keep` or over
    /// `keep_bytes`. `None`: no connector follows. With neither a store nor a connector the log is all there is, and
    /// everything is kept up to those limits.
    pub others: Option<Position>,
}

/// Whether the log takes frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Writing,
    /// The disk is full; appends get [`AppendError::Full`]. Ends by itself once there is space.
    Full {
        /// The time of the frame that met it first.
        since: Time,
    },
    /// A write or sync failed: this process will not write again. Reads go on.
    Failed {
        /// What failed and what the disk said.
        reason: Arc<str>,
    },
    /// [`Log::close`] was called.
    Closed,
}

/// What a log says about itself.
#[derive(Debug, Clone)]
pub struct LogStatus {
    /// The log's own random number.
    pub epoch: u64,
    /// The first position that is kept.
    pub first: Position,
    /// Everything before this is durable; followers are caught up here.
    pub durable_to: Position,
    /// Bytes of all segment and key files, the open segment's unused room included, spares not.
    pub bytes_on_disk: u64,
    /// Segment files.
    pub segments: usize,
    /// Whether it takes frames.
    pub state: LogState,
    /// Frames appended since the start.
    pub frames: u64,
    /// Their records.
    pub records: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// Appends answered with [`Appended::Repeat`] since the start.
    pub repeats: u64,
    /// Syncs for appends since the start; frames per sync is the size of a group.
    pub syncs: u64,
    /// Keys that are remembered.
    pub dedup_keys: u64,
}

/// A frame found by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub position: Position,
    /// Where the next frame stands: a follower with its cursor here or beyond has seen this one.
    pub next: Position,
    /// Its records.
    pub records: u32,
    /// Its dedup key.
    pub key: Option<[u8; 16]>,
    /// When it was received.
    pub at: Time,
    /// Bytes of its payload.
    pub payload_bytes: u32,
}

/// An open log. Clones are the same log; it closes with the last of them, or with [`Log::close`]. Followers do not keep
/// it open. One process at a time may have a directory open; seeing to that is the caller's business (the lock file).
#[derive(Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

impl Log {
    /// Opens the log in this directory, or makes one, and recovers it: a torn tail is cut at the last whole frame,
    /// damage is named and skipped. Blocks: reads every segment's header and the last segment. `now` dates what is made
    /// and ends dedup windows.
    ///
    /// Fails when the disk does, or for files of a newer format or of two logs; never for damaged bytes.
    pub fn open(disk: Arc<dyn Disk>, mut options: LogOptions, now: Time) -> Result<(Log, Recovered), LogError> {
        options.segment_bytes = options.segment_bytes.next_multiple_of(PAGE_BYTES);
        let found = recover::recover(&*disk, &options, now)?;
        let recovered = found.report.clone();
        let shared = Arc::new(Shared {
            epoch: found.epoch,
            segments: RwLock::new(Arc::new(found.segments)),
            tables: RwLock::new(Arc::new(found.tables)),
            tail: watch::channel(Tail { end: found.end, over: false }).0,
            state: watch::channel(LogState::Writing).0,
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            chores: Mutex::new(Chores::new(found.spares, found.spare_next, found.seals)),
            chores_wake: Condvar::new(),
            spare_ready: Condvar::new(),
            newest: AtomicI64::new(now.nanos()),
            counters: Counters::default(),
            disk,
            options,
        });
        shared.counters.open_keys.store(found.last_keys.len(), Ordering::Relaxed);
        let mut writer = Writer::new(shared.clone(), found.end, found.last_keys, found.last_summary);
        if shared.segments().is_empty() {
            // So that the epoch is on disk before anybody keeps a cursor of it.
            writer.begin(now).map_err(LogError::disk("make the log's first segment"))?;
        }
        let mut threads = Vec::new();
        if !shared.options.one_thread {
            let shared = shared.clone();
            threads.push(spawn("log-keeper", move || keeper::run(&shared))?);
        }
        threads.push(spawn("log-writer", move || writer::run(writer))?);
        Ok((Log { handle: Arc::new(Handle { shared, threads: Mutex::new(threads) }) }, recovered))
    }

    /// Appends a frame. It is queued at once, in the order of the calls, whether or not the future is polled; dropping
    /// the future changes nothing for the frame. Resolves once the frame is durable, or is known not to be stored.
    pub fn append(&self, frame: NewFrame) -> impl Future<Output = Result<Appended, AppendError>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let refused = self.handle.shared.enqueue(frame, reply).err();
        async move {
            match refused {
                Some(error) => Err(error),
                None => answer.await.unwrap_or_else(|_| Err(writer::thread_ended())),
            }
        }
    }

    /// Follows the log from a cursor: the position of a frame or the `next` of one. `None` begins at the oldest kept.
    pub fn follow(&self, from: Option<Position>) -> Result<Follower, FollowError> {
        Follower::new(self.handle.shared.clone(), from)
    }

    /// Tells what followers still need; what nobody needs goes soon, on the log's own thread. Cursors of another epoch
    /// keep everything.
    pub fn retain(&self, needed: Needed) {
        self.handle.shared.chores().needed = Some(needed);
        self.handle.shared.poke_keeper();
    }

    /// The frame with this id, if it is still kept and durable. Blocks: reads the heads of frames in the one or two
    /// segments that may hold it.
    pub fn find(&self, id: u128) -> Result<Option<Found>, LogError> {
        self.handle.shared.find(id)
    }

    /// What the log says about itself, cheap enough for every scrape.
    pub fn status(&self) -> LogStatus {
        self.handle.shared.status()
    }

    /// Changes of the state, for readiness and for ending the process after [`LogState::Failed`].
    pub fn watch_state(&self) -> watch::Receiver<LogState> {
        self.handle.shared.state.subscribe()
    }

    /// The log's random number, the epoch of all its positions.
    pub fn epoch(&self) -> u64 {
        self.handle.shared.epoch
    }

    /// Writes and syncs what waits, then stops the log's threads; later appends get [`AppendError::Closed`]. Blocks
    /// until that is done. Followers may read on. Calling it again does nothing.
    pub fn close(&self) {
        self.handle.shared.begin_close();
        let threads = std::mem::take(&mut *lock(&self.handle.threads));
        for thread in threads {
            // A panic there has been reported and has failed the log already.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("status", &self.status()).finish()
    }
}

struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Not joined: a drop may happen on an async thread and must not wait for a disk.
        self.shared.begin_close();
    }
}

/// How far the log can be read.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    /// Everything before this offset is durable.
    pub(crate) end: u64,
    /// Nothing will be added.
    pub(crate) over: bool,
}

/// An append that waits for the writer.
pub(crate) struct Job {
    pub(crate) frame: NewFrame,
    pub(crate) reply: Reply,
}

pub(crate) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) closing: bool,
    /// The writer should look around although no job came (space was freed, chores came in one-thread mode).
    pub(crate) poked: bool,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) payload_bytes: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) open_keys: AtomicU64,
}

/// What the handles, the threads and the followers of one log share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) epoch: u64,
    /// By base; the last is the open one, or was the last of the process before. A segment ends where the next begins.
    pub(crate) segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    pub(crate) tables: RwLock<Arc<Tables>>,
    pub(crate) tail: watch::Sender<Tail>,
    pub(crate) state: watch::Sender<LogState>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    pub(crate) chores: Mutex<Chores>,
    pub(crate) chores_wake: Condvar,
    pub(crate) spare_ready: Condvar,
    /// The latest time that a frame brought, in nanoseconds.
    pub(crate) newest: AtomicI64,
    pub(crate) counters: Counters,
}

impl Shared {
    pub(crate) fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the list of segments by what `change` makes of it.
    pub(crate) fn change_segments(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut guard = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let mut segments = guard.as_ref().clone();
        change(&mut segments);
        *guard = Arc::new(segments);
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_tables(&self, change: impl FnOnce(&mut Tables)) {
        let mut guard = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut tables = guard.as_ref().clone();
        change(&mut tables);
        *guard = Arc::new(tables);
    }

    pub(crate) fn chores(&self) -> MutexGuard<'_, Chores> {
        lock(&self.chores)
    }

    /// Where the readable part of the segment at `index` of the list ends.
    pub(crate) fn segment_end(&self, segments: &[Arc<Segment>], index: usize) -> u64 {
        segments.get(index + 1).map_or_else(|| self.tail.borrow().end, |next| next.base())
    }

    pub(crate) fn newest(&self) -> Time {
        Time::from_nanos(self.newest.load(Ordering::Relaxed))
    }

    /// Ends writing for good, from whichever thread met the failure. The first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        let mut first = false;
        self.state.send_if_modified(|state| {
            first = !matches!(state, LogState::Failed { .. });
            if first {
                *state = LogState::Failed { reason: reason.into() };
            }
            first
        });
        if first {
            self.tail.send_modify(|tail| tail.over = true);
            tracing::error!(reason, "the log stops writing for good; a restart recovers");
        }
    }

    pub(crate) fn failed(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            LogState::Failed { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    pub(crate) fn poke_keeper(&self) {
        if self.options.one_thread {
            lock(&self.queue).poked = true;
            self.wake.notify_one();
        } else {
            self.chores_wake.notify_one();
        }
    }

    fn enqueue(&self, frame: NewFrame, reply: Reply) -> Result<(), AppendError> {
        let bytes = frame.payload.len();
        if bytes > limits::FRAME_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes, max: limits::FRAME_BYTES_MAX });
        }
        let mut queue = lock(&self.queue);
        if queue.closing {
            return Err(self.failed().map_or(AppendError::Closed, |reason| AppendError::Failed { reason }));
        }
        queue.jobs.push_back(Job { frame, reply });
        let first = queue.jobs.len() == 1;
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn begin_close(&self) {
        lock(&self.queue).closing = true;
        self.wake.notify_one();
    }

    fn find(&self, id: u128) -> Result<Option<Found>, LogError> {
        let segments = self.segments();
        // Newest first: receipts are asked for soon after.
        for (index, segment) in segments.iter().enumerate().rev() {
            let end = self.segment_end(&segments, index);
            let name = segment.file_name();
            let found = (|| {
                let sealed = index + 1 < segments.len();
                if sealed {
                    let summary = segment.summary(&*self.disk, end)?;
                    if id < summary.id_min || id > summary.id_max {
                        return Ok(None);
                    }
                }
                let mut found = None;
                segment.reader(&*self.disk, HEADS_CHUNK_BYTES)?.for_each_head(end, |offset, head| {
                    if head.id == id {
                        found = Some(Found {
                            position: self.position(offset),
                            next: self.position(offset + head.frame_bytes()),
                            records: head.records,
                            key: head.key,
                            at: head.at,
                            payload_bytes: head.payload_bytes,
                        });
                    }
                    found.is_none()
                })?;
                Ok(found)
            })();
            match found {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // Removed by retention meanwhile: so are all older ones.
                Err(_) if self.segments().first().is_none_or(|first| first.base() > segment.base()) => return Ok(None),
                Err(source) => return Err(LogError::Disk { what: format!("read {name}"), source }),
            }
        }
        Ok(None)
    }

    fn status(&self) -> LogStatus {
        let segments = self.segments();
        let tables = self.tables();
        let end = self.tail.borrow().end;
        let counters = &self.counters;
        let key_bytes: u64 = tables.file_bytes();
        LogStatus {
            epoch: self.epoch,
            first: self.position(segments.first().map_or(end, |first| first.base())),
            durable_to: self.position(end),
            bytes_on_disk: segments.iter().map(|segment| segment.file_bytes).sum::<u64>() + key_bytes,
            segments: segments.len(),
            state: self.state.borrow().clone(),
            frames: counters.frames.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            payload_bytes: counters.payload_bytes.load(Ordering::Relaxed),
            repeats: counters.repeats.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            dedup_keys: tables.len() + counters.open_keys.load(Ordering::Relaxed),
        }
    }
}

/// A panic while a lock was held fails the log elsewhere; what the lock guards is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(LogError::disk(format!("start thread {name}")))
}
