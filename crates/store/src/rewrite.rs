//! Reads stored raw records again: what was made of them gives way to what is made of them now, all of it in one
//! transaction. Receiving, flushing and searching go on meanwhile; merging and retention wait.
//!
//! Rows of one record lie in parts of one day, so a day after the other is written: the rows that are not concerned are
//! copied, the others are made anew. Until the transaction the new parts are files that nobody knows, and a crash leaves
//! everything as it was.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use event::{Event, Failure, InstanceId, Kind, Position, Time};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::encode::refilter;
use crate::failures;
use crate::layout::{Table, column};
use crate::tail::{Failures, keep_newest};
use crate::write::{PartWriter, Written};
use crate::{Part, PartSummary, Store, StoreError, rows};

/// Bytes of rows that are gathered before they are written as a part.
const GATHER_BYTES: usize = 24 << 20;
/// Records, and about bytes of them, that are read again at once.
const AGAIN_RECORDS: usize = 4_096;
const AGAIN_BYTES: usize = 4 << 20;
/// Rows that are read at once from a part, at most.
const READ_ROWS: u64 = 1_024;
const READ_BYTES: u64 = 1 << 20;

/// Which raw records are read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Of this instance.
    pub instance: InstanceId,
    /// Of this log type.
    pub log_type: String,
    /// Received at or after this.
    pub from: Time,
    /// Received before this.
    pub to: Time,
    /// Standing in the log before this, or in another log: what comes later is read by what is in use then.
    pub before: Position,
}

/// What is made of some records.
#[derive(Debug, Default)]
pub struct Made {
    /// The records themselves and what came of them.
    pub events: Vec<Event>,
    /// Those that gave none, and why.
    pub failures: Vec<Failure>,
}

/// How far it is, and in the end what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Parts that are looked through, and how many there are to look through.
    pub parts: u64,
    /// See `parts`.
    pub parts_total: u64,
    /// Raw records that were read again.
    pub records: u64,
    /// Events and entities that gave way.
    pub events_before: u64,
    /// Events and entities that took their place.
    pub events: u64,
    /// Records that gave none because of a failure.
    pub failed: u64,
}

impl Store {
    /// Reads the raw records of `again` that are in parts once more with `read`. `None` when `progress`, which is told how far it is,
    /// breaks it off: then nothing has changed. Whoever wants the newest records to be among them flushes before.
    pub fn rewrite(
        &self,
        again: &Again,
        now: Time,
        read: &mut dyn FnMut(Vec<Event>) -> Made,
        progress: &mut dyn FnMut(&Rewritten) -> ControlFlow<()>,
    ) -> Result<Option<Rewritten>, StoreError> {
        // Nobody else may take a part away meanwhile.
        let _only_one = self.maintaining.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let parts = self.lock().parts.clone();
        let concerned: Vec<&Arc<Part>> = parts.iter().filter(|part| again.may_concern(part.summary())).collect();
        let days: BTreeSet<i32> = concerned.iter().map(|part| part.summary().day).collect();
        let mut job = Job {
            store: self,
            again,
            now,
            done: Rewritten { parts_total: concerned.len() as u64, ..Rewritten::default() },
            removed: Vec::new(),
            written: Vec::new(),
            failures: Failures::default(),
            gathered: Vec::new(),
            gathered_bytes: 0,
        };
        for day in days {
            for part in concerned.iter().filter(|part| part.summary().day == day) {
                if progress(&job.done).is_break() || job.part(part, read, progress)?.is_break() {
                    return Ok(None);
                }
                job.done.parts += 1;
            }
            job.write_gathered()?;
        }
        if progress(&job.done).is_break() {
            return Ok(None);
        }
        let Job { done, removed, written, failures, .. } = job;
        self.swap(&removed, written, |transaction| {
            failures::remove(transaction, again.instance, &again.log_type, (again.from, again.to))?;
            failures::insert(transaction, &failures)
        })?;
        Ok(Some(done))
    }
}

impl Again {
    /// False only when no row of the part is concerned.
    fn may_concern(&self, part: &PartSummary) -> bool {
        part.may_hold_instance(self.instance)
            && part.may_hold_log_type(std::slice::from_ref(&self.log_type))
            && part.received_at.0 < self.to
            && self.from <= part.received_at.1
    }

    /// Which rows of a batch are concerned: the raw records themselves, and what parsers made of such.
    fn concerned(&self, table: Table, batch: &RecordBatch) -> BooleanArray {
        let column = |name| batch.column_by_name(name).expect("every table has this column");
        let instances = column(column::INSTANCE).as_fixed_size_binary();
        let log_types = column(column::LOG_TYPE).as_string::<i32>();
        let received = column(column::RECEIVED_AT).as_primitive::<TimestampNanosecondType>();
        let parsers = column(column::PARSER).as_string::<i32>();
        let epochs = column(column::LOG_EPOCH).as_primitive::<UInt64Type>();
        let offsets = column(column::LOG_OFFSET).as_primitive::<UInt64Type>();
        let within = self.from.nanos()..self.to.nanos();
        let is = |row: usize| {
            within.contains(&received.value(row))
                && (epochs.value(row) != self.before.epoch || offsets.value(row) < self.before.offset)
                && instances.value(row) == self.instance.uuid().as_bytes()
                && log_types.value(row) == self.log_type
                && (table == Table::Logs || parsers.is_valid(row))
        };
        (0..batch.num_rows()).map(|row| Some(is(row))).collect()
    }
}

/// A rewriting under way.
struct Job<'s> {
    store: &'s Store,
    again: &'s Again,
    now: Time,
    done: Rewritten,
    removed: Vec<Arc<Part>>,
    written: Vec<Written>,
    failures: Failures,
    /// Rows that were made anew, of one day.
    gathered: Vec<Event>,
    gathered_bytes: usize,
}

impl Job<'_> {
    fn part(
        &mut self,
        part: &Arc<Part>,
        read: &mut dyn FnMut(Vec<Event>) -> Made,
        progress: &mut dyn FnMut(&Rewritten) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let summary = part.summary();
        let (table, day) = (summary.table, summary.day);
        let row_bytes = (summary.data_bytes / summary.rows.max(1)).max(1);
        let batches = part.guard(|| {
            ParquetRecordBatchReaderBuilder::try_new(part.open()?)
                .and_then(|builder| {
                    builder.with_batch_size((READ_BYTES / row_bytes).clamp(16, READ_ROWS) as usize).build()
                })
                .map_err(StoreError::parquet("read", part.path()))
        })?;
        let mut batches = batches.into_iter();
        let mut copy: Option<PartWriter> = None;
        let mut records: Vec<Event> = Vec::new();
        let (mut bytes, mut concerned, mut last) = (0, 0, None);
        while let Some(batch) = part.guard(|| Ok::<_, StoreError>(batches.next()))? {
            let batch = batch.map_err(|error| StoreError::parquet("read", part.path())(error.into()))?;
            let batch = table.conform(batch);
            let mask = self.again.concerned(table, &batch);
            concerned += mask.true_count();
            if mask.true_count() < batch.num_rows() {
                let others: BooleanArray = mask.iter().map(|concerned| concerned.map(|concerned| !concerned)).collect();
                let others = filter_record_batch(&batch, &others).expect("the mask is as long as the batch");
                let writer = match &mut copy {
                    Some(writer) => writer,
                    None => copy.insert(self.store.begin_part(table, day)?),
                };
                refilter(table, &self.store.leaves, &others, &mut writer.filter);
                writer.write(&others)?;
            }
            if table != Table::Logs {
                self.done.events_before += mask.true_count() as u64;
                continue;
            }
            for row in (0..batch.num_rows()).filter(|row| mask.value(*row)) {
                let record =
                    rows::event(&batch, row, Kind::Raw, None, &mut last).ok_or_else(|| StoreError::Damaged {
                        path: part.path().to_owned(),
                        what: "a row is not as it was written".to_owned(),
                    })?;
                bytes += record.data.len();
                records.push(record);
                if records.len() >= AGAIN_RECORDS || bytes >= AGAIN_BYTES {
                    self.again(std::mem::take(&mut records), read)?;
                    bytes = 0;
                    if progress(&self.done).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        if concerned == 0 {
            // Dropped, what was copied is removed again.
            return Ok(ControlFlow::Continue(()));
        }
        self.again(records, read)?;
        if let Some(writer) = copy {
            self.written.push(writer.finish(self.now)?);
        }
        self.removed.push(Arc::clone(part));
        Ok(ControlFlow::Continue(()))
    }

    fn again(&mut self, records: Vec<Event>, read: &mut dyn FnMut(Vec<Event>) -> Made) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.done.records += records.len() as u64;
        let Made { events, failures } = read(records);
        self.done.failed += failures.len() as u64;
        for failure in failures {
            keep_newest(&mut self.failures, failure);
        }
        self.done.events += events.iter().filter(|event| event.is_parsed()).count() as u64;
        self.gathered_bytes += events.iter().map(|event| event.data.len() + size_of::<Event>()).sum::<usize>();
        self.gathered.extend(events);
        if self.gathered_bytes >= GATHER_BYTES { self.write_gathered() } else { Ok(()) }
    }

    /// Writes what was gathered, one part for each table.
    fn write_gathered(&mut self) -> Result<(), StoreError> {
        self.gathered_bytes = 0;
        let gathered = std::mem::take(&mut self.gathered);
        self.written.extend(self.store.write_rows(gathered.iter(), self.now)?);
        Ok(())
    }
}
