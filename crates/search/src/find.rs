//! Finds rows by the ids of their records, for receipts and replays.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use event::{BatchId, InstanceId, RecordId};
use store::{Part, Snapshot, Table};

use crate::order::{Hit, Key, PartRow, Place};
use crate::scan::{Reader, Scope};
use crate::{Row, SearchError, fetch};

/// Whose rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All rows of one record.
    Record(RecordId),
    /// All rows of all records of a batch.
    Batch(BatchId),
}

/// Gives the rows of a record or batch to `sink`, by ascending id, and says how many it took. With an instance, only
/// its rows are looked at; `None` is for the operator.
pub fn find(
    snapshot: &Snapshot,
    instance: Option<InstanceId>,
    wanted: Wanted,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<u64, SearchError> {
    let ids = match wanted {
        Wanted::Record(id) => (id, id),
        Wanted::Batch(id) => (id.record(0), id.record(u32::MAX)),
    };
    let scope = Scope { instance, from: None, to: None, log_types: &[], ids };
    let mut hits: Vec<Hit<'_>> = Vec::new();
    for event in snapshot.tail() {
        if instance.is_none_or(|instance| instance == event.batch.instance) && scope.holds_id(event.id()) {
            let key = Key::of(event);
            hits.push(Hit { key, place: Place::Tail(event) });
        }
    }
    for (index, part) in snapshot.parts().iter().enumerate().filter(|(_, part)| scope.may_hold(part)) {
        part.guard(|| in_part(index, part, &scope, &mut hits))?;
    }
    hits.sort_by_key(|hit| (hit.key.id, hit.key.kind, hit.key.ordinal));
    fetch::give(snapshot, hits, &AtomicBool::new(false), sink)
}

/// The events and entities that parsers made of these records, by ascending id and in their order. With an instance, only
/// its rows are looked at.
pub fn parsed(
    snapshot: &Snapshot,
    instance: Option<InstanceId>,
    records: &BTreeSet<RecordId>,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<u64, SearchError> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(0) };
    let scope = Scope { instance, from: None, to: None, log_types: &[], ids: (*first, *last) };
    let mut hits: Vec<Hit<'_>> = Vec::new();
    for event in snapshot.tail() {
        let is_wanted = event.is_parsed() && scope.holds_id(event.id()) && records.contains(&event.id());
        if is_wanted && instance.is_none_or(|instance| instance == event.batch.instance) {
            hits.push(Hit { key: Key::of(event), place: Place::Tail(event) });
        }
    }
    for (index, part) in snapshot.parts().iter().enumerate() {
        if part.summary().table != Table::Logs && scope.may_hold(part) {
            part.guard(|| in_part(index, part, &scope, &mut hits))?;
        }
    }
    hits.retain(|hit| records.contains(&hit.key.id));
    hits.sort_by_key(|hit| (hit.key.id, hit.key.ordinal));
    let mut sink = |row: Row| if row.parser.is_some() { sink(row) } else { ControlFlow::Continue(()) };
    fetch::give(snapshot, hits, &AtomicBool::new(false), &mut sink)
}

fn in_part(index: usize, part: &Arc<Part>, scope: &Scope<'_>, hits: &mut Vec<Hit<'_>>) -> Result<(), SearchError> {
    let reader = Reader::open(part)?;
    let summary = part.summary();
    for group in reader.groups(scope) {
        for candidate in reader.candidates(&group, std::slice::from_ref(&group.rows), scope)? {
            let row = PartRow {
                part: index,
                group: group.index,
                row: candidate.row,
                // Only bounds how many are read at once.
                data_bytes: (summary.data_bytes / summary.rows.max(1)) as usize,
                data: None,
            };
            hits.push(Hit { key: candidate.key, place: Place::Part(row) });
        }
    }
    Ok(())
}
