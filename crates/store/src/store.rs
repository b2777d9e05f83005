//! The store itself: one lock around what is where, so that every snapshot has each row exactly once.
//!
//! A row's way: the growing tail, the frozen tail (while its parts are written), a part. The steps between are taken
//! under the lock; files and the catalogue are written outside it, so searches never wait for the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use event::{BatchId, Event, InstanceId, Label, Position, RecordId, Tally, TallyKey, Time};

use crate::catalogue::{Catalogue, ids_of};
use crate::encode::Encoder;
use crate::layout::{self, Table};
use crate::leaves::LeafReader;
use crate::tail::Tail;
use crate::write::{Hook, PartWriter, Written, step, sync_folder};
use crate::{Frame, InstanceCounts, Part, PartSummary, SetAside, StoreError, StoreOptions};

/// Rows that are encoded at once while a part is written, and about their bytes: what a flush holds beside the tail.
const ENCODE_ROWS: usize = 2_048;
const ENCODE_BYTES: usize = 4 << 20;

/// The store. Shared between one follower, which pushes and flushes, any number of readers, and whoever maintains it.
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) leaves: LeafReader,
    pub(crate) state: Mutex<State>,
    pub(crate) catalogue: Mutex<Catalogue>,
    /// Files that no catalogue knew when the store was opened; they are removed once they are old.
    pub(crate) leftovers: Mutex<Vec<PathBuf>>,
    missing: Vec<(PathBuf, u64)>,
    /// Held by whoever flushes, so that two callers do not freeze two tails.
    pub(crate) flushing: Mutex<()>,
    /// Held by whoever maintains.
    pub(crate) maintaining: Mutex<()>,
    next_seq: AtomicU64,
    pub(crate) hook: Hook,
}

/// What is where. Everything that a snapshot shares is behind an `Arc`.
pub(crate) struct State {
    pub(crate) parts: Arc<Vec<Arc<Part>>>,
    /// Grows with every change of `parts`.
    pub(crate) version: u64,
    frozen: Option<Arc<Tail>>,
    growing: Tail,
    /// When the growing tail was first seen with something in it.
    growing_since: Option<Time>,
    /// As in the catalogue.
    cursor: Option<(Position, u32)>,
    /// As in the catalogue.
    counts: BTreeMap<InstanceId, InstanceCounts>,
    /// As in the catalogue.
    tallies: BTreeMap<TallyKey, Tally>,
}

/// What the store has, per instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How far the log was read when `stored` was counted; `None` before the first flush.
    pub cursor: Option<Position>,
    /// Counted in the same transaction as the cursor: what every flush together stored, whatever retention removed
    /// since.
    pub stored: BTreeMap<InstanceId, InstanceCounts>,
    /// How far the log was read in all, the tail included.
    pub read_through: Option<Position>,
    /// What the tail holds on top of that: searchable, but still to be read from the log again after a restart.
    pub tail: BTreeMap<InstanceId, InstanceCounts>,
}

/// All rows of one moment. Holds the files of its parts in place, even when the store has merged or removed them since.
#[derive(Debug, Clone)]
pub struct Snapshot {
    version: u64,
    parts: Arc<Vec<Arc<Part>>>,
    tail: Vec<Arc<Vec<Event>>>,
    read_through: Option<Position>,
}

impl Snapshot {
    /// Grows with every change of the parts.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The parts, in no particular order.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// The rows that are not in parts yet, in the order of the log.
    pub fn tail(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.tail.iter().flat_map(|events| events.iter())
    }

    /// The position up to which every record of the log is in this snapshot (or set aside); `None` when nothing was
    /// read.
    pub fn searched_through(&self) -> Option<Position> {
        self.read_through
    }
}

impl Store {
    /// Opens the store in `options.dir`, or makes it. Needs the only process that uses the folder.
    pub fn open(options: StoreOptions, schema: Arc<udm::Schema>, now: Time) -> Result<Store, StoreError> {
        let dir = &options.dir;
        if !dir.is_dir() {
            std::fs::create_dir_all(dir).map_err(StoreError::disk("create", dir))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_folder(parent)?;
            }
        }
        let catalogue = Catalogue::open(&Catalogue::path(dir))?;
        let known = catalogue.known()?;
        let files = part_files(&options)?;
        let finished = files.iter().filter(|(_, path)| !layout::is_unfinished(path)).count();
        if catalogue.is_new && finished > 0 {
            // Going on would take them for leftovers of a crash and remove them.
            drop(catalogue);
            let path = Catalogue::path(dir);
            let _ = std::fs::remove_file(&path);
            let what = format!(
                "it is missing or empty, but {finished} files of parts lie beside it: put it back, or move the folder away to \
                 begin a new store with what the log still has"
            );
            return Err(StoreError::Damaged { path, what });
        }
        let seq_on_disk = files.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        let seq_known = known.parts.iter().map(|part| part.seq).max().unwrap_or(0);
        let in_catalogue: std::collections::HashSet<u64> = known.parts.iter().map(|part| part.seq).collect();
        let (of_parts, mut leftovers) = (files.into_iter())
            .partition::<Vec<_>, _>(|(seq, path)| in_catalogue.contains(seq) && !layout::is_unfinished(path));
        let present: std::collections::HashSet<PathBuf> = of_parts.into_iter().map(|(_, path)| path).collect();
        leftovers.sort();
        let mut missing = Vec::new();
        let parts = (known.parts.into_iter())
            .map(|summary| Arc::new(Part::new(dir, summary)))
            .filter(|part| {
                let there = present.contains(part.path());
                if !there {
                    missing.push((part.path().to_owned(), part.summary().rows));
                    tracing::error!(
                        path = %part.path().display(), rows = part.summary().rows,
                        "a part that the catalogue names is gone: its rows cannot be found until the file is put back"
                    );
                }
                there
            })
            .collect::<Vec<_>>();
        let store = Store {
            leaves: LeafReader::new(schema),
            state: Mutex::new(State {
                parts: Arc::new(parts),
                version: 1,
                frozen: None,
                growing: Tail::default(),
                growing_since: None,
                cursor: known.cursor,
                counts: known.counts,
                tallies: known.tallies,
            }),
            catalogue: Mutex::new(catalogue),
            leftovers: Mutex::new(leftovers.into_iter().map(|(_, path)| path).collect()),
            missing,
            flushing: Mutex::new(()),
            maintaining: Mutex::new(()),
            next_seq: AtomicU64::new(seq_on_disk.max(seq_known) + 1),
            hook: Arc::new(|_| Ok(())),
            options,
        };
        store.remove_leftovers(now);
        Ok(store)
    }

    /// Where the follower of the log must go on; `None` at the log's beginning. Committed together with the parts.
    pub fn cursor(&self) -> Option<Position> {
        self.lock().cursor.map(|(position, _)| position)
    }

    /// The cursor, and how many records of the frame there are stored already: a frame of many is taken in slices.
    pub fn cursor_within(&self) -> Option<(Position, u32)> {
        self.lock().cursor
    }

    /// Begins to follow another log, or an older state of the same one, at this place: its frames are new, whatever the
    /// store has. On disk when this returns, so that a restart does not skip what was pushed meanwhile.
    pub fn restart_at(&self, cursor: Position) -> Result<(), StoreError> {
        let _only_one = self.flushing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.catalogue().set_cursor(cursor)?;
        let mut state = self.lock();
        state.cursor = Some((cursor, 0));
        state.growing = Tail::default();
        state.frozen = None;
        Ok(())
    }

    /// Parts that the catalogue names but whose files were gone at the start, with their rows.
    pub fn missing_parts(&self) -> &[(PathBuf, u64)] {
        &self.missing
    }

    /// Takes in one frame; its rows are searchable when this returns. Fails only when the frame does not follow on.
    pub fn push(&self, frame: Frame) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(through) = state.read_through() {
            if through.epoch != frame.position.epoch {
                return Err(StoreError::OtherLog { cursor: through, frame: frame.position });
            }
            if frame.position < through || frame.next < frame.position {
                return Err(StoreError::OutOfOrder { through, frame: frame.position });
            }
        }
        state.growing.push(frame);
        Ok(())
    }

    /// Bytes that the tail holds, the frozen one included: what the follower may look at to slow down.
    pub fn tail_bytes(&self) -> usize {
        let state = self.lock();
        state.growing.bytes() + state.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }

    /// Whether it is time for [`Store::flush`]: the tail is large, or old, or an earlier flush failed. The tail's age
    /// counts from the first call that finds something in it.
    pub fn flush_due(&self, now: Time) -> bool {
        let mut state = self.lock();
        if state.frozen.is_some() || state.growing.bytes() >= self.options.flush_bytes {
            return true;
        }
        if state.growing.is_empty() {
            return false;
        }
        let since = *state.growing_since.get_or_insert(now);
        now.nanos_since(since) as i128 >= self.options.flush_after.as_nanos() as i128
    }

    /// Writes the tail as parts and commits them with the cursor. False when there was nothing to write. When it fails,
    /// nothing is lost or doubled: the tail stays searchable, and the next call tries again.
    pub fn flush(&self, now: Time) -> Result<bool, StoreError> {
        let _only_one = self.flushing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let frozen = {
            let mut state = self.lock();
            if state.frozen.is_none() {
                if state.growing.is_empty() {
                    return Ok(false);
                }
                state.frozen = Some(Arc::new(std::mem::take(&mut state.growing)));
                state.growing_since = None;
            }
            state.frozen.clone().expect("it was just made sure of")
        };
        step(&self.hook, "tail frozen", &self.options.dir)?;
        let written = self.write_rows(frozen.chunks().iter().flat_map(|chunk| chunk.iter()), now)?;
        let summaries: Vec<PartSummary> = written.iter().map(|part| part.summary.clone()).collect();
        let cursor = frozen.through().expect("an empty tail is not frozen");
        self.catalogue()
            .commit_flush(&summaries, cursor, &frozen, || step(&self.hook, "transaction open", &self.options.dir))?;
        // From here on the catalogue has the rows: no way back, whatever the hook says.
        let parts: Vec<Arc<Part>> =
            written.into_iter().map(|part| Arc::new(Part::new(&self.options.dir, part.keep()))).collect();
        let crashed = step(&self.hook, "transaction committed", &self.options.dir);
        {
            let mut state = self.lock();
            state.change_parts(&[], parts);
            state.frozen = None;
            state.cursor = Some(cursor);
            for (instance, counts) in frozen.counts() {
                state.counts.entry(*instance).or_default().add(*counts);
            }
            for (key, tally) in frozen.tallies() {
                state.tallies.entry(key.clone()).or_default().add(*tally);
            }
        }
        crashed?;
        Ok(true)
    }

    /// All rows of this moment.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let frozen = state.frozen.iter().flat_map(|tail| tail.chunks());
        Snapshot {
            version: state.version,
            parts: state.parts.clone(),
            tail: frozen.chain(state.growing.chunks()).cloned().collect(),
            read_through: state.read_through(),
        }
    }

    /// How many records and rows there are, per instance, for the sum of conservation.
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        let mut tail = BTreeMap::<InstanceId, InstanceCounts>::new();
        for part in state.frozen.as_deref().into_iter().chain([&state.growing]) {
            for (instance, counts) in part.counts() {
                tail.entry(*instance).or_default().add(*counts);
            }
        }
        Counts {
            cursor: state.cursor.map(|(position, _)| position),
            stored: state.counts.clone(),
            read_through: state.read_through(),
            tail,
        }
    }

    /// The newest records of an instance that were set aside, newest first.
    pub fn set_aside(&self, instance: InstanceId, limit: usize) -> Result<Vec<SetAside>, StoreError> {
        // The tail first: a flush in between then shows a record twice, never not at all.
        let mut found = self.set_aside_in_tail(|event| event.batch.instance == instance);
        found.extend(self.catalogue().set_aside(instance, limit)?);
        found.sort_by_key(|record| std::cmp::Reverse(record.event.id()));
        found.dedup_by_key(|record| record.event.id());
        found.truncate(limit);
        Ok(found)
    }

    /// The set-aside record with this id, of whichever instance.
    pub fn set_aside_of(&self, id: RecordId) -> Result<Option<SetAside>, StoreError> {
        Ok(self.set_aside_between(id, id)?.pop())
    }

    /// The set-aside records of a batch, by their index in it, of whichever instance.
    pub fn set_aside_of_batch(&self, id: BatchId) -> Result<Vec<SetAside>, StoreError> {
        let (first, last) = ids_of(id);
        self.set_aside_between(first, last)
    }

    fn set_aside_between(&self, first: RecordId, last: RecordId) -> Result<Vec<SetAside>, StoreError> {
        let mut found = self.set_aside_in_tail(|event| (first..=last).contains(&event.id()));
        found.extend(self.catalogue().set_aside_between(first, last)?);
        found.sort_by_key(|record| record.event.id());
        found.dedup_by_key(|record| record.event.id());
        Ok(found)
    }

    /// Shows the frozen tail, if there is one, and the growing one.
    pub(crate) fn each_tail(&self, mut look: impl FnMut(&Tail)) {
        let state = self.lock();
        state.frozen.as_deref().into_iter().chain([&state.growing]).for_each(&mut look);
    }

    /// Shows how many raw records each parser read: what is stored, and what is in the tails, of one moment.
    pub(crate) fn each_tally(&self, mut look: impl FnMut(&TallyKey, &Tally)) {
        let state = self.lock();
        let tails = state.frozen.as_deref().into_iter().chain([&state.growing]);
        state.tallies.iter().chain(tails.flat_map(|tail| tail.tallies())).for_each(|(key, tally)| look(key, tally));
    }

    fn set_aside_in_tail(&self, wanted: impl Fn(&Event) -> bool) -> Vec<SetAside> {
        let state = self.lock();
        let tails = state.frozen.as_deref().into_iter().chain([&state.growing]);
        let records = tails.flat_map(|tail| tail.set_aside());
        records.filter(|record| wanted(&record.event)).map(|record| SetAside::clone(record)).collect()
    }

    /// Writes rows, one part for each table and day of receipt.
    pub(crate) fn write_rows<'a>(
        &self,
        rows: impl Iterator<Item = &'a Event> + Clone,
        now: Time,
    ) -> Result<Vec<Written>, StoreError> {
        let mut written = Vec::new();
        for ((table, day), events) in sorted(rows) {
            let encoder = Encoder::new(table, &self.leaves);
            let mut writer = self.begin_part(table, day)?;
            let mut rest = &events[..];
            while !rest.is_empty() {
                let (first, later) = rest.split_at(encode_at_once(rest));
                let batch = encoder.encode(first, &mut writer.filter);
                writer.write(&batch)?;
                rest = later;
            }
            written.push(writer.finish(now)?);
        }
        Ok(written)
    }

    pub(crate) fn begin_part(&self, table: Table, day: i32) -> Result<PartWriter, StoreError> {
        let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
        PartWriter::begin(&self.options.dir, table, day, seq, self.hook.clone())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every step under this lock leaves the state whole, so a panic elsewhere in a holder does not spoil it.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        // SQLite rolls an unfinished transaction back when it is dropped.
        self.catalogue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Parts with these numbers give way to others, in one step for every snapshot.
    pub(crate) fn change_parts(&mut self, removed: &[u64], added: Vec<Arc<Part>>) {
        let mut parts: Vec<Arc<Part>> =
            self.parts.iter().filter(|part| !removed.contains(&part.summary().seq)).cloned().collect();
        parts.extend(added);
        self.parts = Arc::new(parts);
        self.version += 1;
    }

    fn read_through(&self) -> Option<Position> {
        let tails = [Some(&self.growing), self.frozen.as_deref()];
        tails.into_iter().flatten().find_map(|tail| tail.through()).or(self.cursor).map(|(position, _)| position)
    }
}

/// Rows by table and day of receipt, each sorted as parts are: by instance, log type and event time.
fn sorted<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> BTreeMap<(Table, i32), Vec<&'a Event>> {
    let mut ranks: BTreeMap<(InstanceId, &str), u32> = BTreeMap::new();
    for event in events.clone() {
        ranks.entry((event.batch.instance, event.batch.log_type.as_str())).or_default();
    }
    for (rank, value) in ranks.values_mut().enumerate() {
        *value = rank as u32;
    }
    let mut groups: BTreeMap<(Table, i32), Vec<(u32, Time, &Event)>> = BTreeMap::new();
    for event in events {
        let rank = ranks[&(event.batch.instance, event.batch.log_type.as_str())];
        let group = groups.entry((Table::of(event.kind), event.batch.received_at.day())).or_default();
        group.push((rank, event.event_time, event));
    }
    let sort = |(key, mut rows): (_, Vec<(u32, Time, &'a Event)>)| {
        rows.sort_by_key(|(rank, time, _)| (*rank, *time));
        (key, rows.into_iter().map(|(_, _, event)| event).collect())
    };
    groups.into_iter().map(sort).collect()
}

/// How many of these rows to encode at once: at least one.
fn encode_at_once(events: &[&Event]) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take(ENCODE_ROWS).take_while(|event| {
        // What a batch says once stands in each of its rows.
        let issues: usize = event.issues.iter().map(|issue| issue.field.len() + issue.message.len()).sum();
        bytes += event.data.len() + Label::bytes_of(&event.batch.labels) + issues;
        bytes <= ENCODE_BYTES
    });
    fits.count().max(1)
}

/// Every file in the store's folders that is named as a part's file is, with the number in its name.
fn part_files(options: &StoreOptions) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut files = Vec::new();
    for table in Table::ALL {
        let folder = options.dir.join(format!("table={}", table.name()));
        for day in entries(&folder)? {
            for file in entries(&day)? {
                let name = file.file_name().and_then(|name| name.to_str());
                if let Some(seq) = name.and_then(layout::seq_of_name) {
                    files.push((seq, file));
                }
            }
        }
    }
    Ok(files)
}

/// What a folder holds; nothing when it is not there or is a file.
fn entries(folder: &std::path::Path) -> Result<Vec<PathBuf>, StoreError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    read().map_err(StoreError::disk("list", folder))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{BatchMeta, IdSource, Issue, Kind};

    use super::*;

    #[test]
    fn rows_are_encoded_by_all_that_they_hold() {
        let check = |data: usize, labels: usize, issues: usize, expected: usize| {
            let label = Label { key: String::new(), value: "v".repeat(labels), rbac_enabled: false };
            let batch = Arc::new(BatchMeta {
                id: IdSource::default().next(Time::from_nanos(0), 1),
                instance: InstanceId::from_uuid(uuid::Uuid::from_u128(1)),
                kind: Kind::Raw,
                received_at: Time::from_nanos(0),
                log_type: "TYPE".to_owned(),
                feed: String::new(),
                sender: String::new(),
                namespace: String::new(),
                labels: vec![label],
            });
            let event = Event {
                batch,
                position: Position { epoch: 1, offset: 0 },
                index: 0,
                kind: Kind::Raw,
                data: Bytes::from(vec![b'd'; data]),
                sender_time: None,
                collected_at: None,
                event_time: Time::from_nanos(0),
                issues: vec![Issue { field: String::new(), message: "i".repeat(issues) }],
                parser: None,
                ordinal: 0,
            };
            assert_eq!(encode_at_once(&vec![&event; 3_000]), expected, "{data} {labels} {issues}");
        };
        check(1, 1, 1, ENCODE_ROWS);
        check(64 << 10, 0, 0, 64);
        check(0, 64 << 10, 0, 64);
        check(0, 0, 64 << 10, 64);
        check(ENCODE_BYTES + 1, 0, 0, 1);
    }
}
