//! Finds rows by the ids of their records, for receipts and replays.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use event::{BatchId, InstanceId, RecordId};
use store::{Part, Snapshot};

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
