//! Writes one part: the Parquet file under an unfinished name, synced, renamed, its filter beside it, the folder
//! synced. Until the catalogue's transaction names it, a part is only a file that nobody knows.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use event::{InstanceId, Position, RecordId, Time};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::filter::{CHUNK_ROWS, FilterBuilder, write_file};
use crate::layout::{self, Table, column};
use crate::{PartSummary, StoreError};

/// Rows of a row group: a whole number of filter chunks.
const GROUP_ROWS: usize = 8 * CHUNK_ROWS;
/// A row group is closed early at this many encoded bytes, so that large records do not make it large in memory.
const GROUP_BYTES: usize = 32 << 20;
const PAGE_BYTES: usize = 1 << 20;
/// Instances that a summary lists; beyond that it only says from which to which.
const INSTANCES_LISTED: usize = 64;

/// Runs between two steps of writing, with the step that is done. Production code runs nothing; tests crash here.
pub(crate) type Hook = Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>;

/// A part that is being written. Dropped before [`PartWriter::finish`], it removes its file.
pub(crate) struct PartWriter {
    arrow: ArrowWriter<File>,
    /// What a search may look for; whoever makes the batches puts it in.
    pub(crate) filter: FilterBuilder,
    totals: Totals,
    files: Files,
    hook: Hook,
}

/// Names of the files of a part that no catalogue has yet; removed when dropped, unless kept.
struct Files {
    folder: PathBuf,
    seq: u64,
    kept: bool,
}

/// A part that lies finished and synced, but is not in the catalogue. Dropped without [`Written::keep`] it removes its
/// files again.
pub(crate) struct Written {
    pub(crate) summary: PartSummary,
    files: Files,
}

impl Written {
    /// The catalogue has it now.
    pub(crate) fn keep(mut self) -> PartSummary {
        self.files.kept = true;
        self.summary
    }
}

impl PartWriter {
    /// Begins a part; makes its folder when needed.
    pub(crate) fn begin(dir: &Path, table: Table, day: i32, seq: u64, hook: Hook) -> Result<PartWriter, StoreError> {
        let folder = table.folder(dir, day);
        make_folder(dir, &folder)?;
        step(&hook, "folder made", &folder)?;
        let files = Files { folder, seq, kept: false };
        let path = files.unfinished();
        let file = File::create(&path).map_err(StoreError::disk("create", &path))?;
        step(&hook, "file made", &path)?;
        let arrow = ArrowWriter::try_new(file, table.schema(), Some(properties()))
            .map_err(StoreError::parquet("begin", &path))?;
        let totals = Totals::new(table, day);
        Ok(PartWriter { arrow, filter: FilterBuilder::new(table), totals, files, hook })
    }

    /// Adds rows; they come in the part's order.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.totals.add(batch);
        self.arrow.write(batch).map_err(StoreError::parquet("write", &self.files.unfinished()))
    }

    pub(crate) fn table(&self) -> Table {
        self.totals.table
    }

    pub(crate) fn rows(&self) -> u64 {
        self.totals.rows
    }

    /// Everything on stable storage, under its final name. The part must have a row.
    pub(crate) fn finish(mut self, now: Time) -> Result<Written, StoreError> {
        let unfinished = self.files.unfinished();
        let path = self.files.part();
        self.arrow.finish().map_err(StoreError::parquet("finish", &unfinished))?;
        step(&self.hook, "file written", &unfinished)?;
        let file = self.arrow.inner();
        file.sync_all().map_err(StoreError::disk("sync", &unfinished))?;
        let file_bytes = file.metadata().map_err(StoreError::disk("look at", &unfinished))?.len();
        step(&self.hook, "file synced", &unfinished)?;

        let filter = self.filter.finish();
        let filter_path = self.files.filter();
        write_file(&filter_path, &filter).map_err(StoreError::disk("write", &filter_path))?;
        step(&self.hook, "filter written", &filter_path)?;

        std::fs::rename(&unfinished, &path).map_err(StoreError::disk("rename", &unfinished))?;
        step(&self.hook, "file renamed", &path)?;
        sync_folder(&self.files.folder)?;
        step(&self.hook, "folder synced", &self.files.folder)?;
        let summary = self.totals.summary(self.files.seq, file_bytes, filter.len() as u64, now);
        Ok(Written { summary, files: self.files })
    }
}

impl Files {
    fn unfinished(&self) -> PathBuf {
        self.folder.join(layout::unfinished_name(self.seq))
    }

    fn part(&self) -> PathBuf {
        self.folder.join(layout::part_name(self.seq))
    }

    fn filter(&self) -> PathBuf {
        self.folder.join(layout::filter_name(self.seq))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.kept {
            for path in [self.unfinished(), self.part(), self.filter()] {
                // Most of them were never made; one that stays is removed as unknown after the next start.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Runs the hook as if it were a step of the disk.
pub(crate) fn step(hook: &Hook, done: &'static str, path: &Path) -> Result<(), StoreError> {
    hook(done).map_err(StoreError::disk("go on with", path))
}

/// Makes the names in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::disk("sync", folder))
}

/// Makes a day's folder and the table's above it, each name in its parent synced.
fn make_folder(dir: &Path, folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(StoreError::disk("create", folder))?;
    if let Some(table) = folder.parent() {
        sync_folder(table)?;
    }
    sync_folder(dir)
}

fn properties() -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name);
    let level = ZstdLevel::try_new(1).expect("zstd has a level 1");
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("penstock ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_data_page_size_limit(PAGE_BYTES)
        // The size of a page is looked at after so many values: with records of a mebibyte it should be soon.
        .set_write_batch_size(256)
        .set_statistics_enabled(EnabledStatistics::None)
        // The record is nearly always one of its kind: a dictionary of records would be built and thrown away.
        .set_column_dictionary_enabled(path(column::DATA), false)
        .set_column_dictionary_enabled(path(column::RECORD_ID), false)
        .set_sorting_columns(Some(
            // instance, log_type, event_time by their places in the schema.
            [1, 8, 7].map(|index| SortingColumn { column_idx: index, descending: false, nulls_first: false }).to_vec(),
        ));
    for name in [column::RECEIVED_AT, column::EVENT_TIME, column::SENDER_TIME, column::COLLECTED_AT] {
        properties = properties
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in [column::RECORD_ID, column::INSTANCE, column::RECEIVED_AT, column::EVENT_TIME, column::LOG_TYPE] {
        properties = properties.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    properties.build()
}

/// Adds up a part's summary from its batches.
struct Totals {
    table: Table,
    day: i32,
    rows: u64,
    data_bytes: u64,
    event_time: (i64, i64),
    received_at: (i64, i64),
    record_id: (u128, u128),
    position: (Position, Position),
    instances: BTreeSet<InstanceId>,
    log_types: BTreeSet<String>,
}

impl Totals {
    fn new(table: Table, day: i32) -> Totals {
        let end = Position { epoch: u64::MAX, offset: u64::MAX };
        Totals {
            table,
            day,
            rows: 0,
            data_bytes: 0,
            event_time: (i64::MAX, i64::MIN),
            received_at: (i64::MAX, i64::MIN),
            record_id: (u128::MAX, 0),
            position: (end, Position::default()),
            instances: BTreeSet::new(),
            log_types: BTreeSet::new(),
        }
    }

    fn add(&mut self, batch: &RecordBatch) {
        let column = |name| batch.column_by_name(name).expect("every table has this column");
        self.rows += batch.num_rows() as u64;
        let data = column(column::DATA).as_binary::<i32>();
        let ends = data.value_offsets();
        self.data_bytes += (ends[ends.len() - 1] - ends[0]) as u64;
        for (bounds, name) in [(&mut self.event_time, column::EVENT_TIME), (&mut self.received_at, column::RECEIVED_AT)]
        {
            for time in column(name).as_primitive::<TimestampNanosecondType>().values() {
                *bounds = (bounds.0.min(*time), bounds.1.max(*time));
            }
        }
        for bytes in column(column::RECORD_ID).as_fixed_size_binary().iter().flatten() {
            let id = u128::from_be_bytes(bytes.try_into().expect("ids are 16 bytes wide"));
            self.record_id = (self.record_id.0.min(id), self.record_id.1.max(id));
        }
        let epochs = column(column::LOG_EPOCH).as_primitive::<UInt64Type>().values();
        let offsets = column(column::LOG_OFFSET).as_primitive::<UInt64Type>().values();
        for (epoch, offset) in epochs.iter().zip(offsets) {
            let position = Position { epoch: *epoch, offset: *offset };
            self.position = (self.position.0.min(position), self.position.1.max(position));
        }
        // Rows are sorted by these two, so most are as the row before.
        let mut last = None;
        for bytes in column(column::INSTANCE).as_fixed_size_binary().iter().flatten() {
            if last != Some(bytes) {
                let uuid = uuid::Uuid::from_slice(bytes).expect("instances are 16 bytes wide");
                self.instances.insert(InstanceId::from_uuid(uuid));
                last = Some(bytes);
            }
        }
        let mut last = None;
        for log_type in column(column::LOG_TYPE).as_string::<i32>().iter().flatten() {
            if last != Some(log_type) {
                if !self.log_types.contains(log_type) {
                    self.log_types.insert(log_type.to_owned());
                }
                last = Some(log_type);
            }
        }
    }

    fn summary(self, seq: u64, file_bytes: u64, filter_bytes: u64, now: Time) -> PartSummary {
        let times = |(min, max): (i64, i64)| (Time::from_nanos(min), Time::from_nanos(max));
        let first = *self.instances.first().expect("a finished part has a row");
        let last = *self.instances.last().expect("a finished part has a row");
        PartSummary {
            seq,
            table: self.table,
            day: self.day,
            rows: self.rows,
            data_bytes: self.data_bytes,
            file_bytes,
            filter_bytes,
            created_at: now,
            event_time: times(self.event_time),
            received_at: times(self.received_at),
            record_id: (RecordId::from_u128(self.record_id.0), RecordId::from_u128(self.record_id.1)),
            position: self.position,
            instance: (first, last),
            instances: (self.instances.len() <= INSTANCES_LISTED).then(|| self.instances.into_iter().collect()),
            log_types: self.log_types.into_iter().collect(),
        }
    }
}
