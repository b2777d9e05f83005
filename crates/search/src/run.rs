//! One search from its start to its last row.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray;
use bytes::Bytes;
use event::{InstanceId, Kind, Position, RecordId, Time};
use query::Predicate;
use store::{Part, Snapshot, column};

use crate::order::{Hit, Key, Newest, PartRow, Place};
use crate::prune::Pruner;
use crate::scan::{Candidate, Reader, Scope};
use crate::{Row, SearchError, fetch};

/// Bytes of records that are kept while searching, so that the hits of most searches are not read twice.
const KEPT_BYTES: usize = 16 << 20;
/// How many records are looked at, newest first, before it is asked again whether older ones can still matter; four
/// times as many each time after that.
const BLOCK_ROWS: usize = 1_024;

/// What to search for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Rows of this instance only; `None` is for the operator, who sees every instance.
    pub instance: Option<InstanceId>,
    /// Rows of these kinds only; none named means all that the predicate can match.
    pub kinds: Vec<Kind>,
    /// What a row must say.
    pub predicate: Predicate,
    /// Event time at or after this.
    pub from: Option<Time>,
    /// Event time before this.
    pub to: Option<Time>,
    /// Rows of these log types only; none named means all.
    pub log_types: Vec<String>,
    /// Most rows to give: the newest ones.
    pub limit: usize,
}

/// How a search went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows given to the sink.
    pub rows: u64,
    /// More rows match than the limit lets through.
    pub truncated: bool,
    /// Every record of the log before this position was looked at; `None` when the store has read nothing.
    pub searched_through: Option<Position>,
    /// Parts in the snapshot.
    pub parts_total: u64,
    /// Parts whose records were not looked at.
    pub parts_pruned: u64,
    /// Chunks of 8,192 rows that their filter ruled out.
    pub chunks_pruned: u64,
    /// Bytes of the records that were looked at.
    pub bytes_scanned: u64,
}

/// Runs a search and gives the newest matching rows to `sink`, newest event time first, of equal times the greater id
/// first. The sink may stop it early. `cancel` is looked at between blocks of rows.
pub fn run(
    snapshot: &Snapshot,
    query: &Query,
    cancel: &AtomicBool,
    sink: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<Summary, SearchError> {
    let mut search = Search {
        scope: Scope {
            instance: query.instance,
            from: query.from,
            to: query.to,
            log_types: &query.log_types,
            ids: (RecordId::from_u128(0), RecordId::from_u128(u128::MAX)),
        },
        query,
        pruner: Pruner::new(&query.predicate.prune()),
        cancel,
        // One more than asked for tells whether there are more.
        newest: Newest::new(query.limit.saturating_add(1), KEPT_BYTES),
        summary: Summary {
            searched_through: snapshot.searched_through(),
            parts_total: snapshot.parts().len() as u64,
            ..Summary::default()
        },
    };
    search.tail(snapshot)?;
    search.parts(snapshot)?;
    let Search { newest, mut summary, .. } = search;
    let mut hits = newest.into_sorted();
    summary.truncated = hits.len() > query.limit;
    hits.truncate(query.limit);
    summary.rows = fetch::give(snapshot, hits, cancel, sink)?;
    Ok(summary)
}

struct Search<'a, 'q> {
    scope: Scope<'q>,
    query: &'q Query,
    pruner: Pruner,
    cancel: &'q AtomicBool,
    newest: Newest<'a>,
    summary: Summary,
}

impl<'a> Search<'a, '_> {
    fn wants(&self, kind: Kind) -> bool {
        let kinds = &self.query.kinds;
        (kinds.is_empty() || kinds.contains(&kind)) && self.query.predicate.kinds().contains(&kind)
    }

    fn check_cancel(&self) -> Result<(), SearchError> {
        if self.cancel.load(Ordering::Relaxed) { Err(SearchError::Cancelled) } else { Ok(()) }
    }

    fn tail(&mut self, snapshot: &'a Snapshot) -> Result<(), SearchError> {
        if let Pruner::Never = self.pruner {
            return Ok(());
        }
        // The newest come last in the tail: with them in hand most of the others need no look at their record.
        for (index, event) in snapshot.tail().rev().enumerate() {
            if index % BLOCK_ROWS == 0 {
                self.check_cancel()?;
            }
            if self.scope.instance.is_some_and(|instance| instance != event.batch.instance) {
                continue;
            }
            let key = Key::of(event);
            if !self.wants(event.kind)
                || !self.scope.holds_time(event.event_time)
                || !self.scope.holds_log_type(&event.batch.log_type)
                || !self.newest.takes(&key)
            {
                continue;
            }
            self.summary.bytes_scanned += event.data.len() as u64;
            if self.matches(event.kind, &event.data) {
                self.newest.push(Hit { key, place: Place::Tail(event) });
            }
        }
        Ok(())
    }

    fn parts(&mut self, snapshot: &'a Snapshot) -> Result<(), SearchError> {
        let mut parts: Vec<(usize, &Arc<Part>)> = (snapshot.parts().iter().enumerate())
            .filter(|(_, part)| self.wants(part.summary().table.kind()) && self.scope.may_hold(part))
            .filter(|_| !matches!(self.pruner, Pruner::Never))
            .collect();
        self.summary.parts_pruned = self.summary.parts_total - parts.len() as u64;
        parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.summary().event_time.1));
        for (index, part) in parts {
            self.check_cancel()?;
            if !self.newest.takes_time(part.summary().event_time.1) || !part.guard(|| self.part(index, part))? {
                self.summary.parts_pruned += 1;
            }
        }
        Ok(())
    }

    /// False when not one record of the part had to be looked at.
    fn part(&mut self, index: usize, part: &Arc<Part>) -> Result<bool, SearchError> {
        let ranges = self.unruled(part);
        if ranges.is_empty() {
            return Ok(false);
        }
        let reader = Reader::open(part)?;
        let kind = part.summary().table.kind();
        let mut looked = false;
        for group in reader.groups(&self.scope) {
            self.check_cancel()?;
            if !self.newest.takes_time(group.newest) {
                continue;
            }
            let mut candidates = reader.candidates(&group, &ranges, &self.scope)?;
            candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.key));
            let mut rest = &mut candidates[..];
            let mut block_rows = BLOCK_ROWS;
            while let Some(newest) = rest.first()
                && self.newest.takes(&newest.key)
            {
                self.check_cancel()?;
                let (block, later) = rest.split_at_mut(block_rows.min(rest.len()));
                looked = true;
                self.block(index, &reader, group.index, kind, block)?;
                rest = later;
                block_rows *= 4;
            }
        }
        Ok(looked)
    }

    /// The ranges of a part's rows that its filter does not rule out.
    fn unruled(&mut self, part: &Part) -> Vec<Range<u64>> {
        let all = 0..part.summary().rows;
        if let Pruner::Unknown = self.pruner {
            return vec![all];
        }
        let Some(filter) = part.filter() else { return vec![all] };
        let mut buffer = Vec::new();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for index in 0..filter.chunks() {
            let rows = filter.rows(index);
            if filter.chunk(index, &mut buffer).is_some_and(|chunk| !self.pruner.may_match(&chunk)) {
                self.summary.chunks_pruned += 1;
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => ranges.push(rows),
            }
        }
        ranges
    }

    /// Looks at the records of some rows of a row group.
    fn block(
        &mut self,
        part: usize,
        reader: &Reader<'_>,
        group: usize,
        kind: Kind,
        block: &mut [Candidate],
    ) -> Result<(), SearchError> {
        block.sort_unstable_by_key(|candidate| candidate.row);
        let mut candidates = block.iter();
        for batch in reader.rows(group, &mut block.iter().map(|candidate| candidate.row), &[column::DATA])? {
            let batch = batch?;
            self.check_cancel()?;
            let data = batch.column_by_name(column::DATA).expect("the column was asked for").as_binary::<i32>();
            for (record, candidate) in data.iter().flatten().zip(&mut candidates) {
                if !self.newest.takes(&candidate.key) {
                    continue;
                }
                self.summary.bytes_scanned += record.len() as u64;
                if self.matches(kind, record) {
                    let kept = self.newest.keeps(record.len()).then(|| Bytes::copy_from_slice(record));
                    let row = PartRow { part, group, row: candidate.row, data_bytes: record.len(), data: kept };
                    self.newest.push(Hit { key: candidate.key, place: Place::Part(row) });
                }
            }
        }
        Ok(())
    }

    fn matches(&self, kind: Kind, data: &[u8]) -> bool {
        self.query.predicate.matches(kind, data)
    }
}
