//! Makes whole rows of hits and hands them out in their order, some at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event::Kind;
use store::{Part, Snapshot, column};

use crate::SearchError;
use crate::order::{Hit, PartRow, Place};
use crate::row::{COLUMNS, Row};
use crate::scan::{Reader, failed};

/// Hits that are made whole at once, and the bytes of their records.
const SLICE_ROWS: usize = 4_096;
const SLICE_BYTES: usize = 8 << 20;

/// Gives the rows of these hits to `sink`, in this order, and says how many it took.
pub(crate) fn give(
    snapshot: &Snapshot,
    hits: Vec<Hit<'_>>,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<u64, SearchError> {
    let mut given = 0;
    let mut hits = hits.into_iter().peekable();
    while hits.peek().is_some() {
        if cancel.load(Ordering::Relaxed) {
            return Err(SearchError::Cancelled);
        }
        let mut slice = Vec::new();
        let mut bytes = 0;
        while slice.len() < SLICE_ROWS
            && bytes < SLICE_BYTES
            && let Some(hit) = hits.next()
        {
            bytes += data_bytes(&hit);
            slice.push(hit);
        }
        for row in whole(snapshot, slice)? {
            given += 1;
            if sink(row).is_break() {
                return Ok(given);
            }
        }
    }
    Ok(given)
}

fn data_bytes(hit: &Hit<'_>) -> usize {
    match &hit.place {
        Place::Tail(event) => event.data.len(),
        Place::Part(row) => row.data_bytes,
    }
}

fn whole(snapshot: &Snapshot, slice: Vec<Hit<'_>>) -> Result<Vec<Row>, SearchError> {
    let mut rows: Vec<Option<Row>> = Vec::new();
    rows.resize_with(slice.len(), || None);
    // By part, then row group, then row, since a file is read in this order.
    let mut wanted: BTreeMap<usize, Groups> = BTreeMap::new();
    for (index, hit) in slice.into_iter().enumerate() {
        match hit.place {
            Place::Tail(event) => rows[index] = Some(Row::of_event(event.clone())),
            Place::Part(row) => {
                let groups = wanted.entry(row.part).or_default();
                groups.entry(row.group).or_default().insert(row.row, (index, hit.key.kind, row));
            }
        }
    }
    for (part, groups) in wanted {
        let part = &snapshot.parts()[part];
        part.guard(|| fetch(part, groups, &mut rows))?;
    }
    Ok(rows.into_iter().flatten().collect())
}

/// Of one part: by row group, then row, where in the slice the row goes.
type Groups = BTreeMap<usize, BTreeMap<usize, (usize, Kind, PartRow)>>;

fn fetch(part: &Arc<Part>, groups: Groups, rows: &mut [Option<Row>]) -> Result<(), SearchError> {
    let reader = Reader::open(part)?;
    for (group, wanted) in groups {
        let mut columns = COLUMNS.to_vec();
        if wanted.values().any(|(.., row)| row.data.is_none()) {
            columns.push(column::DATA);
        }
        let batches = reader.rows(group, &mut wanted.keys().copied(), &columns)?;
        let mut wanted = wanted.into_values();
        for batch in batches {
            let batch = batch?;
            for (at, (index, kind, row)) in (0..batch.num_rows()).zip(&mut wanted) {
                let row = store::event_of_row(&batch, at, kind, row.data, &mut None).map(Row::of_event);
                let damaged = || parquet::errors::ParquetError::General("a row is not as it was written".to_owned());
                rows[index] = Some(row.ok_or_else(|| failed(part)(damaged()))?);
            }
        }
    }
    Ok(())
}
