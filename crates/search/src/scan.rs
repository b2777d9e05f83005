//! Looks through one part: which of its rows are in scope, by narrow columns, and then their records.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt32Type};
use event::{InstanceId, Kind, RecordId, Time};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};
use store::{Part, PartFile, column};

use crate::SearchError;
use crate::order::Key;

/// Rows of the narrow columns that are read at once.
const NARROW_ROWS: usize = 8_192;
/// Bytes of records that are read at once, about.
const READ_BYTES: u64 = 1 << 20;

/// What a row must be by its narrow columns alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'q> {
    /// Its instance; `None` is for the operator, who sees all.
    pub(crate) instance: Option<InstanceId>,
    /// Event time: from inclusive, to exclusive.
    pub(crate) from: Option<Time>,
    pub(crate) to: Option<Time>,
    /// Its log type is one of these; none means any.
    pub(crate) log_types: &'q [String],
    /// Its id, first and last.
    pub(crate) ids: (RecordId, RecordId),
}

impl Scope<'_> {
    /// False only when no row of the part is in scope, by what the catalogue knows.
    pub(crate) fn may_hold(&self, part: &Part) -> bool {
        let summary = part.summary();
        self.instance.is_none_or(|instance| summary.may_hold_instance(instance))
            && summary.may_hold_log_type(self.log_types)
            && self.overlaps_times(summary.event_time.0, summary.event_time.1)
            && summary.record_id.0 <= self.ids.1
            && self.ids.0 <= summary.record_id.1
    }

    pub(crate) fn holds_time(&self, event_time: Time) -> bool {
        self.overlaps_times(event_time, event_time)
    }

    pub(crate) fn holds_id(&self, id: RecordId) -> bool {
        self.ids.0 <= id && id <= self.ids.1
    }

    pub(crate) fn holds_log_type(&self, log_type: &str) -> bool {
        self.log_types.is_empty() || self.log_types.iter().any(|wanted| wanted == log_type)
    }

    fn overlaps_times(&self, min: Time, max: Time) -> bool {
        self.from.is_none_or(|from| max >= from) && self.to.is_none_or(|to| min < to)
    }
}

/// A row in scope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) key: Key,
    /// Row in the row group.
    pub(crate) row: usize,
}

/// A row group that may hold rows in scope.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) index: usize,
    /// Its rows, counted in the part.
    pub(crate) rows: Range<u64>,
    /// No row of it is newer.
    pub(crate) newest: Time,
}

/// A part that is being read, by one reader.
pub(crate) struct Reader<'a> {
    part: &'a Part,
    file: PartFile,
    metadata: ArrowReaderMetadata,
}

impl<'a> Reader<'a> {
    pub(crate) fn open(part: &'a Arc<Part>) -> Result<Reader<'a>, SearchError> {
        let file = part.open()?;
        // With the places of pages, but without their statistics: rows are chosen by row group and by the filter.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(failed(part))?;
        Ok(Reader { part, file, metadata })
    }

    /// The row groups that may hold rows in scope, the newest first.
    pub(crate) fn groups(&self, scope: &Scope<'_>) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut first = 0;
        for (index, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = first..first + metadata.num_rows() as u64;
            first = rows.end;
            let times = times_of(metadata).unwrap_or((Time::MIN, Time::MAX));
            if group_may_hold(scope, metadata, times) {
                groups.push(Group { index, rows, newest: times.1 });
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.newest));
        groups
    }

    /// The rows of a group, within these ranges of the part's rows, that are in scope.
    pub(crate) fn candidates(
        &self,
        group: &Group,
        ranges: &[Range<u64>],
        scope: &Scope<'_>,
    ) -> Result<Vec<Candidate>, SearchError> {
        let ranges: Vec<Range<usize>> = ranges
            .iter()
            .map(|range| range.start.max(group.rows.start)..range.end.min(group.rows.end))
            .filter(|range| range.start < range.end)
            .map(|range| (range.start - group.rows.start) as usize..(range.end - group.rows.start) as usize)
            .collect();
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = vec![column::RECORD_ID, column::EVENT_TIME];
        if scope.instance.is_some() {
            columns.push(column::INSTANCE);
        }
        if !scope.log_types.is_empty() {
            columns.push(column::LOG_TYPE);
        }
        let kind = self.part.summary().table.kind();
        if kind != Kind::Raw {
            columns.push(column::ORDINAL);
        }
        let mut rows = ranges.iter().cloned().flatten();
        let mut candidates = Vec::new();
        for batch in self.read(group.index, &ranges, &columns, NARROW_ROWS)? {
            let batch = batch.map_err(|error| failed(self.part)(error.into()))?;
            add_candidates(&batch, &mut rows, kind, scope, &mut candidates);
        }
        Ok(candidates)
    }

    /// These columns of these rows of a row group; rows ascend.
    pub(crate) fn rows(
        &self,
        group: usize,
        rows: &mut dyn Iterator<Item = usize>,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, SearchError>> + use<'a>, SearchError> {
        let summary = self.part.summary();
        let row_bytes = (summary.data_bytes / summary.rows.max(1)).max(1);
        let batch_rows = (READ_BYTES / row_bytes).clamp(16, 1_024) as usize;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for row in rows {
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        let part = self.part;
        let batches = self.read(group, &ranges, columns, batch_rows)?;
        Ok(batches.map(move |batch| batch.map_err(|error| failed(part)(error.into()))))
    }

    fn read(
        &self,
        group: usize,
        ranges: &[Range<usize>],
        columns: &[&str],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, SearchError> {
        let group_rows = self.metadata.metadata().row_group(group).num_rows() as usize;
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges.iter().cloned(), group_rows))
            .with_batch_size(batch_rows)
            .build()
            .map_err(failed(self.part))
    }
}

/// Adds the rows of a batch that are in scope. The instance is compared first; of a foreign row nothing else is read.
fn add_candidates(
    batch: &RecordBatch,
    rows: &mut impl Iterator<Item = usize>,
    kind: Kind,
    scope: &Scope<'_>,
    candidates: &mut Vec<Candidate>,
) {
    let column = |name| batch.column_by_name(name).expect("the column was asked for");
    let instance = scope.instance.map(|instance| (column(column::INSTANCE).as_fixed_size_binary(), instance.uuid()));
    let log_types = (!scope.log_types.is_empty()).then(|| column(column::LOG_TYPE).as_string::<i32>());
    let ids = column(column::RECORD_ID).as_fixed_size_binary();
    // Parts of before there were several events of a record do not have it.
    let ordinals = batch.column_by_name(column::ORDINAL).map(|column| column.as_primitive::<UInt32Type>());
    let times = column(column::EVENT_TIME).as_primitive::<TimestampNanosecondType>();
    for (index, row) in (0..batch.num_rows()).zip(rows) {
        if let Some((column, wanted)) = &instance
            && column.value(index) != wanted.as_bytes()
        {
            continue;
        }
        let event_time = Time::from_nanos(times.value(index));
        let id = ids.value(index).try_into().expect("ids are 16 bytes wide");
        let id = RecordId::from_u128(u128::from_be_bytes(id));
        if scope.holds_time(event_time)
            && scope.holds_id(id)
            && log_types.is_none_or(|column| scope.holds_log_type(column.value(index)))
        {
            let ordinal = ordinals.map_or(0, |column| column.value(index));
            candidates.push(Candidate { key: Key { event_time, id, kind, ordinal }, row });
        }
    }
}

fn group_may_hold(scope: &Scope<'_>, metadata: &RowGroupMetaData, times: (Time, Time)) -> bool {
    let bounds = |name| bounds_of(metadata, name);
    let within = |name, wanted: &[u8]| bounds(name).is_none_or(|(min, max)| min <= wanted && wanted <= max);
    let ids = bounds(column::RECORD_ID).is_none_or(|(min, max)| {
        min <= &scope.ids.1.as_u128().to_be_bytes()[..] && &scope.ids.0.as_u128().to_be_bytes()[..] <= max
    });
    scope.instance.is_none_or(|instance| within(column::INSTANCE, instance.uuid().as_bytes()))
        && (scope.log_types.is_empty()
            || scope.log_types.iter().any(|log_type| within(column::LOG_TYPE, log_type.as_bytes())))
        && scope.overlaps_times(times.0, times.1)
        && ids
}

fn times_of(metadata: &RowGroupMetaData) -> Option<(Time, Time)> {
    let (min, max) = bounds_of(metadata, column::EVENT_TIME)?;
    let time = |bytes: &[u8]| Some(Time::from_nanos(i64::from_le_bytes(bytes.try_into().ok()?)));
    Some((time(min)?, time(max)?))
}

/// Least and greatest value of a column, as the file says; `None` when it does not. Texts may be cut off there: the
/// bounds then still hold.
fn bounds_of<'m>(metadata: &'m RowGroupMetaData, name: &str) -> Option<(&'m [u8], &'m [u8])> {
    let column = metadata.columns().iter().find(|column| column.column_path().string() == name)?;
    let statistics = column.statistics()?;
    Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
}

pub(crate) fn failed(part: &Part) -> impl FnOnce(parquet::errors::ParquetError) -> SearchError + use<> {
    let path = part.path().to_owned();
    |source| SearchError::Part { path, source }
}
