//! Background work, one unit at a time: old rows go, small parts are merged, files that nobody knows are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{BinaryArray, FixedSizeBinaryArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_select::interleave::interleave_record_batch;
use event::Time;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use rusqlite::Transaction;

use crate::encode::refilter;
use crate::layout::column;
use crate::options::{Compaction, Retention};
use crate::write::{Written, step};
use crate::{Part, PartSummary, Store, StoreError};

/// Files that no catalogue knows are removed at this age: another program may be about to use what looks lost.
const LEFTOVER_NANOS: i64 = 3_600 * 1_000_000_000;
/// Rows and bytes that a merge writes at once.
const MERGE_ROWS: usize = 2_048;
const MERGE_BYTES: usize = 4 << 20;
/// Bytes of records that a merge reads at once from each part, about.
const READ_BYTES: u64 = 1 << 20;

impl Store {
    /// Does one piece of background work and says whether there was one; call it again while there is. May run beside
    /// everything else; a second call at the same time does nothing.
    pub fn maintain(&self, now: Time) -> Result<bool, StoreError> {
        let Ok(_only_one) = self.maintaining.try_lock() else { return Ok(false) };
        self.remove_leftovers(now);
        let parts = self.lock().parts.clone();
        if let Some((part, expired)) = choose_expired(&parts, &self.options.retention, now.day()) {
            self.replace(std::slice::from_ref(part), &expired, now)?;
            return Ok(true);
        }
        if self.forget_set_aside(now.day())? {
            return Ok(true);
        }
        let summaries: Vec<&PartSummary> = parts.iter().map(|part| part.summary()).collect();
        let merge = choose_merge(&summaries, &self.options.compaction, now);
        if merge.is_empty() {
            return Ok(false);
        }
        let merge: Vec<Arc<Part>> = merge.into_iter().map(|index| parts[index].clone()).collect();
        self.replace(&merge, &BTreeSet::new(), now)?;
        Ok(true)
    }

    /// Removes files that no catalogue knew at the start, once they are an hour old. What cannot be removed is left.
    pub(crate) fn remove_leftovers(&self, now: Time) {
        let mut leftovers = self.leftovers.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        leftovers.retain(|path| {
            let Some(modified) = modified(path) else { return false };
            if now.nanos_since(modified) < LEFTOVER_NANOS {
                return true;
            }
            match std::fs::remove_file(path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed a file that no catalogue knows"),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a file that no catalogue knows")
                }
            }
            false
        });
    }

    /// Writes the rows of these parts (of one table and day), without those of the expired log types, as one new part
    /// and lets it take their place.
    fn replace(&self, parts: &[Arc<Part>], expired: &BTreeSet<String>, now: Time) -> Result<(), StoreError> {
        let written = self.merge(parts, expired, now)?;
        self.swap(parts, written.into_iter().collect(), |_| Ok(()))
    }

    /// Lets some parts give way to others, in one transaction, into which `also` goes, and then in one step for every snapshot.
    pub(crate) fn swap(
        &self,
        parts: &[Arc<Part>],
        written: Vec<Written>,
        also: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let removed: Vec<u64> = parts.iter().map(|part| part.summary().seq).collect();
        let added: Vec<PartSummary> = written.iter().map(|part| part.summary.clone()).collect();
        let open = || step(&self.hook, "transaction open", &self.options.dir);
        self.catalogue().commit_replace(&removed, &added, also, open)?;
        let added = written.into_iter().map(|part| Arc::new(Part::new(&self.options.dir, part.keep()))).collect();
        let crashed = step(&self.hook, "transaction committed", &self.options.dir);
        self.lock().change_parts(&removed, added);
        if crashed.is_ok() {
            parts.iter().for_each(|part| part.forget());
        }
        crashed
    }

    fn merge(&self, parts: &[Arc<Part>], expired: &BTreeSet<String>, now: Time) -> Result<Option<Written>, StoreError> {
        let summary = parts[0].summary();
        if parts.iter().all(|part| part.summary().log_types.iter().all(|log_type| expired.contains(log_type))) {
            return Ok(None);
        }
        let mut inputs = parts.iter().map(|part| part.guard(|| Input::open(part))).collect::<Result<Vec<_>, _>>()?;
        let mut writer = self.begin_part(summary.table, summary.day)?;
        let mut pending = Pending::default();
        loop {
            for input in &mut inputs {
                input.refill()?;
            }
            // The input whose row comes first is read on until another one's comes first, or it needs a refill.
            let mut order: Vec<usize> = (0..inputs.len()).filter(|index| inputs[*index].rows.is_some()).collect();
            order.sort_by(|one, other| inputs[*one].key().cmp(&inputs[*other].key()));
            let Some((&first, others)) = order.split_first() else { break };
            let until = others.first().map(|second| inputs[*second].key());
            let (taken, bytes) = inputs[first].run(until, expired);
            let rows = inputs[first].rows.as_mut().expect("only inputs with rows were ordered");
            pending.add(&rows.batch, rows.at..rows.at + taken, &bytes);
            rows.at += taken;
            if pending.is_full() {
                pending.write(&mut writer, &self.leaves)?;
            }
        }
        pending.write(&mut writer, &self.leaves)?;
        // All rows may have been of expired log types only by a summary that says more than the rows do.
        if writer.rows() == 0 { Ok(None) } else { writer.finish(now).map(Some) }
    }

    fn forget_set_aside(&self, today: i32) -> Result<bool, StoreError> {
        let retention = &self.options.retention;
        if retention.keeps_all() {
            return Ok(false);
        }
        let mut catalogue = self.catalogue();
        let days = catalogue.set_aside_days()?;
        let expired = days.into_iter().find(|(log_type, day)| retention.is_over(log_type, *day, today));
        let Some((log_type, day)) = expired else { return Ok(false) };
        catalogue.forget_set_aside(&log_type, day)?;
        Ok(true)
    }
}

fn modified(path: &Path) -> Option<Time> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Time::from_nanos(i64::try_from(since.as_nanos()).ok()?))
}

/// A part with rows whose time is over, and the log types of those rows.
fn choose_expired<'a>(
    parts: &'a [Arc<Part>],
    retention: &Retention,
    today: i32,
) -> Option<(&'a Arc<Part>, BTreeSet<String>)> {
    if retention.keeps_all() {
        return None;
    }
    parts.iter().find_map(|part| {
        let summary = part.summary();
        let over = |log_type: &&String| retention.is_over(log_type, summary.day, today);
        let expired: BTreeSet<String> = summary.log_types.iter().filter(over).cloned().collect();
        (!expired.is_empty()).then_some((part, expired))
    })
}

/// The parts to merge, as indices; none when there is nothing to do. All are small and of one table and day: either
/// enough of about one size, or a few that have settled.
fn choose_merge(parts: &[&PartSummary], compaction: &Compaction, now: Time) -> Vec<usize> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        if part.data_bytes < compaction.small_bytes {
            groups.entry((part.table, part.day)).or_default().push(index);
        }
    }
    for mut small in groups.into_values() {
        small.sort_by_key(|index| (size_class(parts[*index].data_bytes), parts[*index].seq));
        let of_one_size =
            small.chunk_by(|one, other| size_class(parts[*one].data_bytes) == size_class(parts[*other].data_bytes));
        if let Some(chosen) = of_one_size.into_iter().find(|run| run.len() >= compaction.parts_min.max(2)) {
            return chosen[..chosen.len().min(compaction.parts_max.max(2))].to_vec();
        }
        let settled_nanos = i64::try_from(compaction.settled_after.as_nanos()).unwrap_or(i64::MAX);
        small.retain(|index| now.nanos_since(parts[*index].created_at) >= settled_nanos);
        if small.len() >= 2 {
            small.truncate(compaction.parts_max.max(2));
            return small;
        }
    }
    Vec::new()
}

/// Sizes within a factor of eight are of one class, so that a row is rewritten once per class at most.
fn size_class(bytes: u64) -> u32 {
    (bytes / (32 << 10) + 1).ilog2() / 3
}

/// A part that is being merged: its current rows.
struct Input<'a> {
    part: &'a Part,
    reader: ParquetRecordBatchReader,
    rows: Option<Rows>,
}

struct Rows {
    batch: Arc<RecordBatch>,
    at: usize,
    instances: FixedSizeBinaryArray,
    log_types: StringArray,
    times: TimestampNanosecondArray,
    data: BinaryArray,
}

impl<'a> Input<'a> {
    fn open(part: &'a Part) -> Result<Input<'a>, StoreError> {
        let summary = part.summary();
        let row_bytes = (summary.data_bytes / summary.rows.max(1)).max(1);
        let builder = ParquetRecordBatchReaderBuilder::try_new(part.open()?)
            .map_err(StoreError::parquet("open", part.path()))?
            .with_batch_size((READ_BYTES / row_bytes).clamp(16, 1_024) as usize);
        let reader = builder.build().map_err(StoreError::parquet("read", part.path()))?;
        Ok(Input { part, reader, rows: None })
    }

    /// Makes sure that there is a current row, unless the part is at its end.
    fn refill(&mut self) -> Result<(), StoreError> {
        while self.rows.as_ref().is_none_or(|rows| rows.at == rows.batch.num_rows()) {
            let reader = &mut self.reader;
            let Some(batch) = self.part.guard(|| Ok::<_, StoreError>(reader.next()))? else {
                self.rows = None;
                return Ok(());
            };
            let batch = batch.map_err(|error| StoreError::parquet("read", self.part.path())(error.into()))?;
            let batch = self.part.summary().table.conform(batch);
            let column = |name| batch.column_by_name(name).expect("every table has this column");
            self.rows = Some(Rows {
                at: 0,
                instances: column(column::INSTANCE).as_fixed_size_binary().clone(),
                log_types: column(column::LOG_TYPE).as_string::<i32>().clone(),
                times: column(column::EVENT_TIME).as_primitive::<TimestampNanosecondType>().clone(),
                data: column(column::DATA).as_binary::<i32>().clone(),
                batch: Arc::new(batch),
            });
        }
        Ok(())
    }

    fn key(&self) -> (&[u8], &str, i64) {
        let rows = self.rows.as_ref().expect("only inputs with rows are compared");
        rows.key(rows.at)
    }

    /// How many rows from the current one on come no later than `until`, and which of them stay, with their bytes.
    fn run(&self, until: Option<(&[u8], &str, i64)>, expired: &BTreeSet<String>) -> (usize, Vec<Option<usize>>) {
        let rows = self.rows.as_ref().expect("only inputs with rows are run");
        let mut kept = Vec::new();
        for row in rows.at..rows.batch.num_rows() {
            // The first row always comes, so that the merge goes on.
            if row > rows.at && until.is_some_and(|until| rows.key(row) > until) {
                break;
            }
            let expired = !expired.is_empty() && expired.contains(rows.log_types.value(row));
            kept.push((!expired).then(|| rows.data.value_length(row) as usize));
        }
        (kept.len(), kept)
    }
}

impl Rows {
    fn key(&self, row: usize) -> (&[u8], &str, i64) {
        (self.instances.value(row), self.log_types.value(row), self.times.value(row))
    }
}

/// Rows that are chosen but not yet written, with the batches that they stand in.
#[derive(Default)]
struct Pending {
    batches: Vec<Arc<RecordBatch>>,
    rows: Vec<(usize, usize)>,
    bytes: usize,
}

impl Pending {
    fn add(&mut self, batch: &Arc<RecordBatch>, rows: std::ops::Range<usize>, bytes: &[Option<usize>]) {
        // The batch of an input stays the same until its end, so it is found near the end of the list.
        let index = self.batches.iter().rposition(|known| Arc::ptr_eq(known, batch)).unwrap_or_else(|| {
            self.batches.push(batch.clone());
            self.batches.len() - 1
        });
        for (row, bytes) in rows.zip(bytes) {
            if let Some(bytes) = bytes {
                self.rows.push((index, row));
                self.bytes += bytes;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MERGE_ROWS || self.bytes >= MERGE_BYTES || self.batches.len() >= 64
    }

    fn write(
        &mut self,
        writer: &mut crate::write::PartWriter,
        leaves: &crate::leaves::LeafReader,
    ) -> Result<(), StoreError> {
        if !self.rows.is_empty() {
            let batches: Vec<&RecordBatch> = self.batches.iter().map(|batch| &**batch).collect();
            let batch = interleave_record_batch(&batches, &self.rows).expect("all parts of a table have one schema");
            refilter(writer.table(), leaves, &batch, &mut writer.filter);
            writer.write(&batch)?;
        }
        *self = Pending::default();
        Ok(())
    }
}
