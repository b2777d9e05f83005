//! The log's one writing thread: takes everything that waits, writes it with one call, syncs once, publishes, answers.
//!
//! All decisions about order, dedup and room are made here, on one thread, so that none of them needs a lock. After a
//! failed write or sync it only answers "failed". After a write that met a full disk it never writes into that segment
//! again: bytes of frames that were refused stand there.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use event::Time;

use crate::disk::DiskFile;
use crate::error::{AppendError, is_full};
use crate::frame::{HEAD_BYTES, Head, Salt, frame_bytes};
use crate::keeper::{self, ReserveError, Seal, Spare};
use crate::keys::{Entry, Keys, OpenKeys, Table};
use crate::log::{Appended, Job, LogState, Receipt, Reply, Shared, Sync, lock};
use crate::recover::random;
use crate::segment::{self, HEADER_BYTES, Header, PAGE_BYTES, Segment, Summary, file_bytes_for};

/// Size of a new log's first segment; each next one is twice as large until `segment_bytes`. A fresh or tiny server
/// shall not zero and keep 128 MiB.
const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

/// Payloads up to this size are copied beside their heads, larger ones are handed to the kernel where they are.
const COPY_BYTES_MAX: usize = 16 << 10;

/// The buffer for heads and small payloads is given back when it grew beyond this.
const SCRATCH_BYTES_MAX: usize = 8 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// The segment that this process writes. `None` until the first append, and after a full disk.
    open: Option<Open>,
    /// The file size of the newest segment, from which the next one's follows.
    grown_to: u64,
    /// Where the next frame goes.
    end: u64,
    /// How far everything is durable.
    synced: u64,
    /// Since when something is not, in `Sync::Interval`.
    unsynced_since: Option<Instant>,
    /// Keys and summary of the last segment in the list, open or not.
    keys: OpenKeys,
    summary: Summary,
    /// While the disk is full: when to look again.
    full_until: Option<Instant>,
    group: Group,
}

struct Open {
    file: Arc<dyn DiskFile>,
    salt: Salt,
    base: u64,
    file_bytes: u64,
}

/// Frames that go into the open segment with the next write.
#[derive(Default)]
struct Group {
    placed: Vec<Placed>,
    /// Where in `placed` the frame with a key is.
    by_key: HashMap<[u8; 16], usize>,
    /// Repeats of frames of this very group: they share their fate.
    sharing: Vec<(usize, Reply)>,
    scratch: Vec<u8>,
}

struct Placed {
    entry: Entry,
    keyed: bool,
    payload: Bytes,
    reply: Reply,
}

/// Why there is no room.
enum NoRoom {
    Full,
    Failed,
}

/// What an append gets when the writer is gone without an answer.
pub(crate) fn thread_ended() -> AppendError {
    AppendError::Failed { reason: "the log's writing thread ended".into() }
}

/// The thread's life.
pub(crate) fn run(mut writer: Writer) {
    struct Ended(Arc<Shared>);
    impl Drop for Ended {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.fail("the log's writing thread panicked");
            }
            {
                let mut queue = lock(&self.0.queue);
                queue.closing = true;
                // Whoever still waits gets `thread_ended`.
                queue.jobs.clear();
            }
            self.0.state.send_if_modified(|state| {
                let failed = matches!(state, LogState::Failed { .. });
                if !failed {
                    *state = LogState::Closed;
                }
                !failed
            });
            self.0.tail.send_modify(|tail| tail.over = true);
            self.0.chores().stop = true;
            self.0.chores_wake.notify_all();
        }
    }
    let shared = writer.shared.clone();
    let _ended = Ended(shared.clone());
    loop {
        let (jobs, closing) = writer.wait();
        let idle = jobs.is_empty();
        writer.commit(jobs);
        if writer.full_until.is_some_and(|until| Instant::now() >= until) {
            writer.look_for_space();
        }
        if writer.sync_is_due() {
            writer.sync_interval();
        }
        if shared.options.one_thread {
            keeper::work(&shared);
        }
        if closing && idle {
            writer.sync_interval();
            return;
        }
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, end: u64, keys: OpenKeys, summary: Summary) -> Writer {
        let grown_to = shared.segments().last().map_or(0, |last| last.file_bytes);
        Writer {
            shared,
            open: None,
            grown_to,
            end,
            synced: end,
            unsynced_since: None,
            keys,
            summary,
            full_until: None,
            group: Group::default(),
        }
    }

    /// Makes the first segment of a new log.
    pub(crate) fn begin(&mut self, now: Time) -> std::io::Result<()> {
        let failed = |error| match error {
            ReserveError::NotNow(reason) | ReserveError::Failed(reason) => std::io::Error::other(reason),
        };
        // On the opening thread, before there is a keeper.
        let bytes = self.next_bytes();
        self.shared.chores().want = Some(bytes);
        keeper::make_wanted(&self.shared);
        let spare = {
            let mut chores = self.shared.chores();
            let error = chores.spare_error.take();
            match (chores.spares.pop(), error) {
                (Some(spare), _) => spare,
                (None, Some(error)) => return Err(failed(error)),
                (None, None) => return Err(std::io::Error::other("no file was made for it")),
            }
        };
        self.start_segment(spare, now).map_err(failed)
    }

    /// Sleeps until there is something to do; takes all jobs.
    fn wait(&mut self) -> (std::collections::VecDeque<Job>, bool) {
        let shared = self.shared.clone();
        let mut queue = lock(&shared.queue);
        loop {
            if !queue.jobs.is_empty() || queue.closing || queue.poked {
                queue.poked = false;
                return (std::mem::take(&mut queue.jobs), queue.closing);
            }
            let sync_at = match (self.unsynced_since, shared.options.sync) {
                (Some(since), Sync::Interval(interval)) => Some(since + interval),
                _ => None,
            };
            let Some(until) = [sync_at, self.full_until].into_iter().flatten().min() else {
                queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if now >= until {
                return (std::mem::take(&mut queue.jobs), queue.closing);
            }
            queue = shared.wake.wait_timeout(queue, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Answers every job, once it is known what became of it.
    fn commit(&mut self, jobs: std::collections::VecDeque<Job>) {
        for Job { frame, reply } in jobs {
            if let Some(reason) = self.shared.failed() {
                self.refuse_group(&AppendError::Failed { reason: reason.clone() });
                let _ = reply.send(Err(AppendError::Failed { reason }));
                continue;
            }
            if let Some(key) = frame.key {
                if let Some(first) = self.group.by_key.get(&key) {
                    self.group.sharing.push((*first, reply));
                    continue;
                }
                if let Some(entry) = self.repeated(&key, frame.at) {
                    self.shared.counters.repeats.fetch_add(1, Ordering::Relaxed);
                    let _ = reply.send(Ok(Appended::Repeat(Receipt::new(self.shared.epoch, &entry))));
                    continue;
                }
            }
            let bytes = frame_bytes(frame.payload.len());
            match self.make_room(bytes, frame.at) {
                Ok(()) => {}
                Err(NoRoom::Full) => {
                    let _ = reply.send(Err(AppendError::Full));
                    continue;
                }
                Err(NoRoom::Failed) => {
                    let _ = reply.send(Err(self.failed()));
                    continue;
                }
            }
            self.shared.newest.fetch_max(frame.at.nanos(), Ordering::Relaxed);
            let placed = self.group.placed.last();
            let offset = placed.map_or(self.end, |last| last.entry.offset + frame_bytes(last.payload.len()));
            let key = frame.key.unwrap_or_default();
            let entry = Entry { key, id: frame.id, offset, at: frame.at, records: frame.records };
            if frame.key.is_some() {
                self.group.by_key.insert(key, self.group.placed.len());
            }
            self.group.placed.push(Placed { entry, keyed: frame.key.is_some(), payload: frame.payload, reply });
        }
        self.flush();
    }

    /// The frame that one with this key would repeat, among those that are answered for.
    fn repeated(&self, key: &[u8; 16], at: Time) -> Option<Entry> {
        let entry = self.keys.get(key).copied().or_else(|| self.shared.tables().find(key))?;
        entry.counts_at(at, self.shared.options.dedup_window).then_some(entry)
    }

    /// Room for a frame of so many bytes behind the group: in the open segment, or in a new one after the group was
    /// flushed.
    fn make_room(&mut self, bytes: u64, at: Time) -> Result<(), NoRoom> {
        if self.full_until.is_some() {
            return Err(NoRoom::Full);
        }
        let group_end =
            self.group.placed.last().map_or(self.end, |last| last.entry.offset + frame_bytes(last.payload.len()));
        if self.open.as_ref().is_some_and(|open| group_end + bytes <= open.base + (open.file_bytes - HEADER_BYTES)) {
            return Ok(());
        }
        self.flush();
        if self.full_until.is_some() {
            return Err(NoRoom::Full);
        }
        // The new segment's base says that everything before it is durable.
        self.sync_interval();
        if self.shared.failed().is_some() {
            return Err(NoRoom::Failed);
        }
        match self.reserve(file_bytes_for(bytes)).and_then(|spare| self.start_segment(spare, at)) {
            Ok(()) => Ok(()),
            Err(ReserveError::NotNow(reason)) => {
                self.become_full(at, &reason);
                Err(NoRoom::Full)
            }
            Err(ReserveError::Failed(reason)) => {
                self.shared.fail(&reason);
                Err(NoRoom::Failed)
            }
        }
    }

    /// Takes a spare with at least so many bytes, waiting for the keeper to make it if there is none.
    fn reserve(&self, bytes: u64) -> Result<Spare, ReserveError> {
        let shared = &*self.shared;
        let mut chores = shared.chores();
        // What went wrong ahead of need may have passed.
        chores.spare_error = None;
        loop {
            if let Some(index) = chores.spares.iter().position(|spare| spare.file_bytes >= bytes) {
                return Ok(chores.spares.swap_remove(index));
            }
            if let Some(error) = chores.spare_error.take() {
                return Err(error);
            }
            if chores.stopped {
                return Err(ReserveError::Failed("the log's helper thread ended".to_owned()));
            }
            chores.want = Some(bytes.max(self.next_bytes()));
            if shared.options.one_thread {
                drop(chores);
                keeper::make_wanted(shared);
                chores = shared.chores();
            } else {
                shared.chores_wake.notify_one();
                chores = shared.spare_ready.wait(chores).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// File size of the segment after the newest one.
    fn next_bytes(&self) -> u64 {
        let least = file_bytes_for(PAGE_BYTES);
        (self.grown_to * 2).max(FIRST_SEGMENT_BYTES).min(self.shared.options.segment_bytes).max(least)
    }

    /// Turns a spare into the open segment, based at the log's end, and seals the one before.
    fn start_segment(&mut self, spare: Spare, now: Time) -> Result<(), ReserveError> {
        let shared = self.shared.clone();
        let failed = |error: std::io::Error| ReserveError::Failed(format!("cannot begin a segment: {error}"));
        let full_or_failed = |error: std::io::Error| {
            if !is_full(&error) {
                return failed(error);
            }
            // Half a header may stand in it.
            let _ = shared.disk.remove(&spare.name);
            ReserveError::NotNow(format!("begin a segment: {error}"))
        };
        let mut salt = Salt([0; 16]);
        random(&mut salt.0).map_err(failed)?;
        let header = Header { epoch: shared.epoch, salt, base: self.end, created: now };
        spare.file.write_at(&mut [IoSlice::new(&header.encode())], 0).map_err(full_or_failed)?;
        spare.file.sync_data().map_err(failed)?;
        // Replaces a segment of that base if there is one: the last one of an earlier process, without a frame.
        shared.disk.rename(&spare.name, &segment::file_name(self.end)).map_err(full_or_failed)?;
        // From here on there is a segment that says where the one before ended, so nothing may be written there any
        // more: no failure is a passing one now, not even a full disk.
        shared.disk.sync_dir().map_err(failed)?;

        let inherited = self.open.is_none();
        let last = shared.segments().last().filter(|last| last.base() != self.end).cloned();
        if let Some(last) = last {
            self.seal(last, inherited);
        }
        let segment = Arc::new(Segment::new(header, spare.file_bytes));
        shared.change_segments(|segments| {
            segments.retain(|segment| segment.base() != header.base);
            segments.push(segment);
        });
        self.open = Some(Open { file: spare.file, salt, base: self.end, file_bytes: spare.file_bytes });
        self.grown_to = spare.file_bytes;
        let next_bytes = self.next_bytes();
        {
            let mut chores = shared.chores();
            if chores.spares.iter().all(|spare| spare.file_bytes < next_bytes) {
                chores.want = Some(next_bytes);
            }
        }
        shared.poke_keeper();
        Ok(())
    }

    /// Hands the keys of the last segment over to the keeper; look-ups find them in memory until they are in a file.
    fn seal(&mut self, segment: Arc<Segment>, inherited: bool) {
        let summary = std::mem::replace(&mut self.summary, Summary::EMPTY);
        let keys = Arc::new(std::mem::take(&mut self.keys));
        let _ = segment.summary.set(summary);
        let (base, end) = (segment.base(), self.end);
        let keyed = keys.len() > 0;
        if keyed {
            let table = Table { from: base, to: end, keys: Keys::Memory(keys.clone()) };
            self.shared.change_tables(|tables| tables.0.push(table));
        }
        self.shared.counters.open_keys.store(0, Ordering::Relaxed);
        let seal = Seal { segment, end, keys: keyed.then_some(keys), trim: inherited };
        self.shared.chores().seals.push_back(seal);
    }

    /// Writes the group, makes it durable, publishes it, and answers it.
    fn flush(&mut self) {
        if self.group.placed.is_empty() {
            return;
        }
        let open = self.open.as_ref().expect("frames are placed only where an open segment has room");
        let group = &mut self.group;
        let written = write_group(open, &group.placed, &mut group.scratch, self.end, self.synced);
        let group_end = match written {
            Ok(group_end) => group_end,
            Err(error) if is_full(&error) => {
                // Not again into this segment: what was written of the refused frames must not come alive behind
                // shorter ones. The next segment's base ends this one here.
                let at = group.placed[0].entry.at;
                self.sync_interval();
                self.open = None;
                self.become_full(at, &error.to_string());
                return self.refuse_group(&AppendError::Full);
            }
            Err(error) => {
                self.shared.fail(&format!("cannot write to the log: {error}"));
                return self.refuse_group(&self.failed());
            }
        };
        if self.shared.options.sync == Sync::Always {
            self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = open.file.sync_data() {
                self.shared.fail(&format!("cannot sync the log: {error}"));
                return self.refuse_group(&self.failed());
            }
            self.synced = group_end;
            self.end = group_end;
            self.shared.tail.send_modify(|tail| tail.end = group_end);
        } else {
            self.end = group_end;
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.answer_group();
    }

    fn answer_group(&mut self) {
        let shared = self.shared.clone();
        let Group { placed, by_key, sharing, scratch } = &mut self.group;
        let (mut records, mut payload_bytes) = (0, 0);
        let receipts: Vec<Receipt> = placed.iter().map(|placed| Receipt::new(shared.epoch, &placed.entry)).collect();
        let frames = placed.len() as u64;
        let repeats = sharing.len() as u64;
        let mut replies = Vec::with_capacity(placed.len());
        for Placed { entry, keyed, payload, reply } in placed.drain(..) {
            records += u64::from(entry.records);
            payload_bytes += payload.len() as u64;
            self.summary.frames += 1;
            self.summary.keyed += u64::from(keyed);
            self.summary.id_min = self.summary.id_min.min(entry.id);
            self.summary.id_max = self.summary.id_max.max(entry.id);
            self.summary.newest = self.summary.newest.max(entry.at);
            if keyed {
                self.keys.insert(entry);
            }
            replies.push(reply);
        }
        by_key.clear();
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_MAX);
        let counters = &shared.counters;
        counters.frames.fetch_add(frames, Ordering::Relaxed);
        counters.records.fetch_add(records, Ordering::Relaxed);
        counters.payload_bytes.fetch_add(payload_bytes, Ordering::Relaxed);
        counters.repeats.fetch_add(repeats, Ordering::Relaxed);
        counters.open_keys.store(self.keys.len(), Ordering::Relaxed);
        // The books first, then the answers: whoever has an answer finds it in the books.
        for (reply, receipt) in replies.into_iter().zip(&receipts) {
            let _ = reply.send(Ok(Appended::New(*receipt)));
        }
        for (first, reply) in sharing.drain(..) {
            let _ = reply.send(Ok(Appended::Repeat(receipts[first])));
        }
    }

    fn refuse_group(&mut self, error: &AppendError) {
        self.group.by_key.clear();
        for placed in self.group.placed.drain(..) {
            let _ = placed.reply.send(Err(error.clone()));
        }
        for (_, reply) in self.group.sharing.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn failed(&self) -> AppendError {
        self.shared.failed().map_or_else(thread_ended, |reason| AppendError::Failed { reason })
    }

    fn become_full(&mut self, at: Time, reason: &str) {
        self.full_until = Some(Instant::now() + self.shared.options.full_retry);
        let first = self.shared.state.send_if_modified(|state| {
            let first = *state == LogState::Writing;
            if first {
                *state = LogState::Full { since: at };
            }
            first
        });
        if first {
            tracing::warn!(reason, "the log's disk is full: appends are told to slow down");
        }
    }

    /// While full: takes frames again as soon as a whole segment can be had.
    fn look_for_space(&mut self) {
        match self.reserve(self.next_bytes()) {
            Ok(spare) => {
                self.shared.chores().spares.push(spare);
                self.full_until = None;
                self.shared.state.send_if_modified(|state| {
                    let full = matches!(state, LogState::Full { .. });
                    if full {
                        *state = LogState::Writing;
                    }
                    full
                });
                tracing::info!("the log's disk has space again");
            }
            Err(ReserveError::NotNow(_)) => self.full_until = Some(Instant::now() + self.shared.options.full_retry),
            Err(ReserveError::Failed(reason)) => {
                self.shared.fail(&reason);
                self.full_until = None;
            }
        }
    }

    fn sync_is_due(&self) -> bool {
        match (self.unsynced_since, self.shared.options.sync) {
            (Some(since), Sync::Interval(interval)) => since.elapsed() >= interval,
            _ => false,
        }
    }

    /// Makes durable what `Sync::Interval` left. Nothing to do otherwise.
    fn sync_interval(&mut self) {
        if self.unsynced_since.take().is_none() || self.shared.failed().is_some() {
            return;
        }
        let Some(open) = &self.open else { return };
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        match open.file.sync_data() {
            Ok(()) => {
                self.synced = self.end;
                let end = self.end;
                self.shared.tail.send_modify(|tail| tail.end = end);
            }
            Err(error) => self.shared.fail(&format!("cannot sync the log: {error}")),
        }
    }
}

/// Where a piece of the write comes from.
enum Piece {
    Scratch(std::ops::Range<usize>),
    Payload(usize),
}

/// Writes frames one after the other at `start`, in one call; returns the offset behind the last.
fn write_group(
    open: &Open,
    placed: &[Placed],
    scratch: &mut Vec<u8>,
    start: u64,
    durable_to: u64,
) -> std::io::Result<u64> {
    scratch.clear();
    let mut pieces = Vec::new();
    let mut piece_start = 0;
    let mut end = start;
    for (index, frame) in placed.iter().enumerate() {
        let head = Head {
            payload_bytes: frame.payload.len() as u32,
            payload_sum: open.salt.payload_sum(end, &frame.payload),
            durable_to,
            id: frame.entry.id,
            key: frame.keyed.then_some(frame.entry.key),
            at: frame.entry.at,
            records: frame.entry.records,
        };
        scratch.extend_from_slice(&head.encode(open.salt, end));
        if frame.payload.len() <= COPY_BYTES_MAX {
            scratch.extend_from_slice(&frame.payload);
        } else {
            pieces.push(Piece::Scratch(piece_start..scratch.len()));
            pieces.push(Piece::Payload(index));
            piece_start = scratch.len();
        }
        let padding = head.frame_bytes() as usize - HEAD_BYTES - frame.payload.len();
        scratch.extend_from_slice(&[0; 8][..padding]);
        end += head.frame_bytes();
    }
    // To the page's end: a page written in part would have to be read first where it is not in memory.
    let file_start = HEADER_BYTES + (start - open.base);
    let file_end = HEADER_BYTES + (end - open.base);
    let fill = (file_end.next_multiple_of(PAGE_BYTES).min(open.file_bytes)).saturating_sub(file_end);
    scratch.resize(scratch.len() + fill as usize, 0);
    pieces.push(Piece::Scratch(piece_start..scratch.len()));
    let mut parts: Vec<IoSlice<'_>> = pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Scratch(range) => IoSlice::new(&scratch[range]),
            Piece::Payload(index) => IoSlice::new(&placed[index].payload),
        })
        .collect();
    open.file.write_at(&mut parts, file_start)?;
    Ok(end)
}
