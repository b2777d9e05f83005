//! Housekeeping, on a thread of its own so that appends do not wait for it: zeroing the next segment ahead of its use,
//! writing and merging key files, and letting segments go that nobody needs.
//!
//! Every step leaves the directory such that a crash right after it loses nothing: what replaces something is durable
//! before the thing it replaces goes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use event::Time;

use crate::disk::{Disk, DiskFile};
use crate::error::{is_full, whole};
use crate::keys::{self, KeyFileError, Keys, OpenKeys, Table};
use crate::log::{Needed, Shared};
use crate::segment::{self, HEADER_BYTES, PAGE_BYTES, Segment};

/// What there is to do.
pub(crate) struct Chores {
    /// A spare of this many bytes is wanted.
    pub(crate) want: Option<u64>,
    pub(crate) spares: Vec<Spare>,
    spare_next: u64,
    /// Why the wanted spare could not be made.
    pub(crate) spare_error: Option<ReserveError>,
    /// Sealed segments whose keys are not in a file yet, oldest first.
    pub(crate) seals: VecDeque<Seal>,
    /// After a full disk stopped a seal: not again before this.
    seals_not_before: Option<Instant>,
    pub(crate) needed: Option<Needed>,
    /// The writer has ended: write what keys there are, then end too.
    pub(crate) stop: bool,
    /// This thread has ended; nothing more will come of it.
    pub(crate) stopped: bool,
}

/// A file of the right size, all its blocks allocated, that can become a segment.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file_bytes: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Spare {
    fn name(number: u64) -> String {
        format!("spare-{number}")
    }

    pub(crate) fn number_of(name: &str) -> Option<u64> {
        name.strip_prefix("spare-")?.parse().ok()
    }
}

/// A segment that was sealed.
pub(crate) struct Seal {
    pub(crate) segment: Arc<Segment>,
    pub(crate) end: u64,
    /// `None` when no frame has a key.
    pub(crate) keys: Option<Arc<OpenKeys>>,
    /// Whether its unused room is given back: it was the last one of an earlier process.
    pub(crate) trim: bool,
}

/// Why no segment can be had.
#[derive(Debug)]
pub(crate) enum ReserveError {
    /// For time: no space, or the system refused a file (too many open).
    NotNow(String),
    /// A write or sync failed: for good.
    Failed(String),
}

impl Chores {
    pub(crate) fn new(spares: Vec<Spare>, spare_next: u64, seals: Vec<Seal>) -> Chores {
        Chores {
            want: None,
            spares,
            spare_next,
            spare_error: None,
            seals: seals.into(),
            seals_not_before: None,
            needed: None,
            stop: false,
            stopped: false,
        }
    }
}

/// The thread's life.
pub(crate) fn run(shared: &Shared) {
    struct Ended<'a>(&'a Shared);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.fail("the log's helper thread panicked");
            }
            self.0.chores().stopped = true;
            self.0.spare_ready.notify_all();
        }
    }
    let _ended = Ended(shared);
    loop {
        work(shared);
        let chores = shared.chores();
        if chores.stop {
            return;
        }
        let blocked = shared.failed().is_some();
        if chores.want.is_some() || (!blocked && chores.needed.is_some()) {
            continue;
        }
        // A failed log has no more chores but the end; a seal that met a full disk is tried again.
        let timeout = match chores.seals_not_before {
            _ if blocked || chores.seals.is_empty() => None,
            None => continue,
            Some(not_before) => Some(not_before.saturating_duration_since(Instant::now())),
        };
        match timeout {
            None => drop(shared.chores_wake.wait(chores).unwrap_or_else(PoisonError::into_inner)),
            Some(timeout) => {
                drop(shared.chores_wake.wait_timeout(chores, timeout).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

/// Does all that can be done now.
pub(crate) fn work(shared: &Shared) {
    loop {
        make_wanted(shared);
        if shared.failed().is_some() || !seal_next(shared) {
            break;
        }
    }
    if shared.failed().is_some() || shared.chores().stop {
        return;
    }
    expire_tables(shared);
    while merge_next(shared) {
        make_wanted(shared);
    }
    let needed = shared.chores().needed.take();
    if let Some(needed) = needed {
        retain(shared, needed);
    }
}

/// Makes the spare that is wanted, if one is.
pub(crate) fn make_wanted(shared: &Shared) {
    let (bytes, number) = {
        let mut chores = shared.chores();
        let Some(bytes) = chores.want.take() else { return };
        if chores.spares.iter().any(|spare| spare.file_bytes >= bytes) {
            drop(chores);
            shared.spare_ready.notify_all();
            return;
        }
        chores.spare_next += 1;
        (bytes, chores.spare_next - 1)
    };
    let made = make_spare(&*shared.disk, Spare::name(number), bytes);
    let mut chores = shared.chores();
    match made {
        Ok(spare) => chores.spares.push(spare),
        Err(error) => {
            if let ReserveError::NotNow(reason) = &error {
                tracing::warn!(reason, "no segment can be made ahead");
            }
            chores.spare_error = Some(error);
        }
    }
    drop(chores);
    shared.spare_ready.notify_all();
}

/// Writes zeros rather than asking the file system to reserve blocks: reserved blocks are marked "unwritten", and every
/// sync of an append would then have to write the file's metadata, too.
fn make_spare(disk: &dyn Disk, name: String, bytes: u64) -> Result<Spare, ReserveError> {
    let temporary = format!("{name}.tmp");
    let not_now = |what: &str, error: &io::Error| ReserveError::NotNow(format!("{what} {name}: {error}"));
    let file = disk.create(&temporary).map_err(|error| not_now("create", &error))?;
    let filled = (|| {
        let zeros = vec![0; ZEROS_BYTES.min(bytes as usize)];
        let mut at = 0;
        while at < bytes {
            let count = zeros.len().min((bytes - at) as usize);
            file.write_at(&mut [IoSlice::new(&zeros[..count])], at)?;
            at += count as u64;
        }
        file.sync_data()
    })();
    if let Err(error) = filled {
        // Gives back what was taken; if not even that works, the next start does it.
        let _ = disk.remove(&temporary);
        return Err(if is_full(&error) {
            not_now("fill", &error)
        } else {
            ReserveError::Failed(format!("cannot fill {name}: {error}"))
        });
    }
    // Its name becomes durable together with the segment's.
    disk.rename(&temporary, &name).map_err(|error| not_now("name", &error))?;
    Ok(Spare { name, file_bytes: bytes, file })
}

const ZEROS_BYTES: usize = 1 << 20;

/// Spares kept of segments that are let go. Two, since the writer takes one before the next segment is let go.
const SPARES_MAX: usize = 2;

/// Writes the key file of the oldest sealed segment that has none. False when there is nothing to do now.
fn seal_next(shared: &Shared) -> bool {
    let seal = {
        let mut chores = shared.chores();
        if chores.seals_not_before.is_some_and(|not_before| Instant::now() < not_before) && !chores.stop {
            return false;
        }
        chores.seals_not_before = None;
        let Some(seal) = chores.seals.pop_front() else { return false };
        seal
    };
    match write_seal(shared, &seal) {
        Ok(()) => true,
        Err(KeyFileError::Disk(error)) if is_full(&error) => {
            let mut chores = shared.chores();
            chores.seals.push_front(seal);
            chores.seals_not_before = Some(Instant::now() + shared.options.full_retry);
            false
        }
        Err(error) => {
            shared.fail(&format!("cannot write the keys of {}: {}", seal.segment.file_name(), whole(&error)));
            false
        }
    }
}

fn write_seal(shared: &Shared, seal: &Seal) -> Result<(), KeyFileError> {
    let disk = &*shared.disk;
    let base = seal.segment.base();
    if let Some(keys) = &seal.keys {
        let file = keys::write_file(disk, shared.epoch, (base, seal.end), keys)?;
        disk.sync_dir()?;
        let file = Arc::new(file);
        shared.change_tables(|tables| {
            if let Some(table) = tables.0.iter_mut().find(|table| table.from == base && !table.is_file()) {
                table.keys = Keys::File(file);
            }
        });
    }
    if let Err(error) = segment::write_summary(disk, &seal.segment, seal.end) {
        tracing::warn!(error = whole(&error), "a segment's summary is not noted; it will be found out again");
    }
    if seal.trim {
        trim(shared, seal);
    }
    Ok(())
}

/// Gives back the room behind the end of a segment that an earlier process left half empty. Not worth a sync: the next
/// segment's base says where this one ends, whatever its length.
fn trim(shared: &Shared, seal: &Seal) {
    let file_bytes = (HEADER_BYTES + seal.end - seal.segment.base()).next_multiple_of(PAGE_BYTES);
    if file_bytes >= seal.segment.file_bytes {
        return;
    }
    let trimmed = shared.disk.open(&seal.segment.file_name()).and_then(|file| file.set_len(file_bytes));
    match trimmed {
        Ok(()) => shared.change_segments(|segments| {
            for segment in segments.iter_mut().filter(|segment| segment.base() == seal.segment.base()) {
                let trimmed = Segment::new(segment.header, file_bytes);
                if let Some(summary) = segment.summary.get() {
                    let _ = trimmed.summary.set(*summary);
                }
                *segment = Arc::new(trimmed);
            }
        }),
        Err(error) => tracing::warn!(%error, file = seal.segment.file_name(), "unused room is not given back"),
    }
}

fn expire_tables(shared: &Shared) {
    let (window, keys_max) = (shared.options.dedup_window, shared.options.dedup_keys_max);
    let expired = shared.tables().expired(shared.newest(), window, keys_max);
    drop_tables(shared, &expired);
}

/// Forgets key files. Their removal needs no sync: one that comes back is removed at the next start.
fn drop_tables(shared: &Shared, gone: &[Table]) {
    if gone.is_empty() {
        return;
    }
    shared.change_tables(|tables| {
        tables.0.retain(|kept| !gone.iter().any(|gone| (gone.from, gone.to) == (kept.from, kept.to)));
    });
    for table in gone {
        remove_quietly(&*shared.disk, &keys::file_name(table.from, table.to));
    }
}

fn remove_quietly(disk: &dyn Disk, name: &str) {
    if let Err(error) = disk.remove(name) {
        tracing::warn!(%error, file = name, "a file that nobody needs cannot be removed");
    }
}

/// Merges one run of key files. False when there is none, or it cannot be done now.
fn merge_next(shared: &Shared) -> bool {
    let tables = shared.tables();
    let Some(range) = tables.to_merge() else { return false };
    let inputs: Vec<_> = tables.0[range.clone()]
        .iter()
        .filter_map(|table| match &table.keys {
            Keys::File(file) => Some(file.clone()),
            Keys::Memory(_) => None,
        })
        .collect();
    let disk = &*shared.disk;
    let between = || make_wanted(shared);
    let merged = keys::merge_files(disk, shared.epoch, &inputs, shared.newest(), shared.options.dedup_window, between)
        .and_then(|file| disk.sync_dir().map(|()| file).map_err(KeyFileError::Disk));
    let merged = match merged {
        Ok(merged) => merged,
        Err(KeyFileError::Disk(error)) if is_full(&error) => return false,
        Err(KeyFileError::Disk(error)) => {
            shared.fail(&format!("cannot merge key files: {error}"));
            return false;
        }
        Err(error) => {
            // A damaged one would stop every merge: without it, repeats of its frames are stored again.
            tracing::error!(%error, "key files cannot be merged; damaged ones are dropped");
            let bad: Vec<Table> = tables.0[range]
                .iter()
                .filter(|table| matches!(&table.keys, Keys::File(file) if file.check().is_err()))
                .cloned()
                .collect();
            drop_tables(shared, &bad);
            return !bad.is_empty();
        }
    };
    let merged = Arc::new(merged);
    let (from, to) = (merged.from, merged.to);
    shared.change_tables(|tables| {
        let first = tables.0.partition_point(|table| table.from < from);
        tables.0.retain(|table| table.to <= from || table.from >= to);
        tables.0.insert(first, Table { from, to, keys: Keys::File(merged) });
    });
    for input in inputs {
        remove_quietly(disk, &input.name);
    }
    true
}

/// Lets go, from the oldest on, the sealed segments that nobody needs (design: "the log keeps what some follower has
/// not read").
fn retain(shared: &Shared, needed: Needed) {
    let foreign = [needed.store, needed.others].into_iter().flatten().any(|cursor| cursor.epoch != shared.epoch);
    if foreign {
        tracing::warn!("a follower's cursor belongs to another log: everything is kept");
        return;
    }
    loop {
        let segments = shared.segments();
        let [oldest, next, ..] = segments.as_slice() else { return };
        let (base, end) = (oldest.base(), next.base());
        let facts = SegmentFacts {
            end,
            newest: oldest.summary.get().map_or(next.header.created, |summary| summary.newest),
            bytes_of_all: segments.iter().map(|segment| segment.file_bytes).sum(),
        };
        if !may_go(&facts, &needed, shared.newest(), shared.options.keep, shared.options.keep_bytes) {
            return;
        }
        // Its keys outlive it, so they must be in their file first.
        if shared.tables().0.iter().any(|table| table.from == base && !table.is_file()) {
            return;
        }
        // Out of the list before the file changes: a follower that meets the change looks here.
        shared.change_segments(|segments| segments.retain(|segment| segment.base() != base));
        if let Err(error) = let_go(shared, oldest) {
            shared.fail(&format!("cannot let {} go: {error}", oldest.file_name()));
            return;
        }
    }
}

struct SegmentFacts {
    end: u64,
    newest: Time,
    bytes_of_all: u64,
}

/// Whether the oldest sealed segment may go.
fn may_go(segment: &SegmentFacts, needed: &Needed, now: Time, keep: std::time::Duration, keep_bytes: u64) -> bool {
    if needed.store.is_some_and(|cursor| cursor.offset < segment.end) {
        return false;
    }
    let wanted = match (needed.store, needed.others) {
        (_, Some(cursor)) => cursor.offset < segment.end,
        (Some(_), None) => false,
        (None, None) => true,
    };
    let over_age = i128::from(now.nanos_since(segment.newest)) > keep.as_nanos().try_into().unwrap_or(i128::MAX);
    !wanted || over_age || segment.bytes_of_all > keep_bytes
}

/// A full-grown segment becomes a spare while few wait, everything else is removed. The new name is durable before
/// anybody writes into the file: otherwise a crash could leave a segment's name on other bytes.
fn let_go(shared: &Shared, segment: &Segment) -> io::Result<()> {
    let disk = &*shared.disk;
    let name = segment.file_name();
    let number = {
        let mut chores = shared.chores();
        let recycle = chores.spares.len() < SPARES_MAX && segment.file_bytes == shared.options.segment_bytes;
        recycle.then(|| {
            chores.spare_next += 1;
            chores.spare_next - 1
        })
    };
    let Some(number) = number else {
        disk.remove(&name)?;
        return disk.sync_dir();
    };
    let spare = Spare::name(number);
    disk.rename(&name, &spare)?;
    disk.sync_dir()?;
    let file = disk.open(&spare)?;
    shared.chores().spares.push(Spare { name: spare, file_bytes: segment.file_bytes, file });
    shared.spare_ready.notify_all();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::Position;
    use std::time::Duration;

    /// The segment ends at 100, its newest frame is 10 s old, and all segments have 1000 bytes.
    #[track_caller]
    fn check(store: Option<u64>, others: Option<u64>, keep_secs: u64, keep_bytes: u64, goes: bool) {
        let cursor = |offset| Position { epoch: 1, offset };
        let segment = SegmentFacts { end: 100, newest: Time::from_secs(90).unwrap(), bytes_of_all: 1000 };
        let needed = Needed { store: store.map(cursor), others: others.map(cursor) };
        let now = Time::from_secs(100).unwrap();
        let got = may_go(&segment, &needed, now, Duration::from_secs(keep_secs), keep_bytes);
        assert_eq!(got, goes, "{needed:?} keep {keep_secs} s, {keep_bytes} bytes");
    }

    #[test]
    fn a_segment_goes_only_when_nobody_may_still_need_it() {
        // What the store has not read stays, whatever the limits.
        check(Some(99), None, 0, 0, false);
        check(Some(99), Some(200), 0, 0, false);
        check(Some(100), None, 1000, 10_000, true);
        // A connector that lags holds it up to the limits.
        check(Some(100), Some(99), 1000, 10_000, false);
        check(Some(100), Some(99), 9, 10_000, true);
        check(Some(100), Some(99), 1000, 999, true);
        check(Some(100), Some(100), 1000, 10_000, true);
        // No store: the connectors alone; nobody at all: the limits alone.
        check(None, Some(99), 1000, 10_000, false);
        check(None, Some(100), 1000, 10_000, true);
        check(None, None, 1000, 10_000, false);
        check(None, None, 9, 10_000, true);
        check(None, None, 1000, 999, true);
    }
}
