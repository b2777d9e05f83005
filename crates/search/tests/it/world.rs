//! Rows for the tests, and the store that holds them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use event::{BatchMeta, Event, IdSource, InstanceId, Issue, Kind, Label, Position, Time};
use query::Predicate;
use search::{Query, Row, SearchError, Summary};
use store::{Frame, Store, StoreOptions};

pub fn instance(number: u8) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(0xAA00 + u128::from(number)))
}

/// A time `seconds` after a fixed one, shortly before midnight.
pub fn at(seconds: i64) -> Time {
    Time::parse_rfc3339("2026-11-21T23:59:30Z").unwrap().saturating_add_nanos(seconds * 1_000_000_000)
}

pub fn everything() -> Query {
    Query {
        instance: None,
        kinds: Vec::new(),
        predicate: query::raw_regex("", true).unwrap(),
        from: None,
        to: None,
        log_types: Vec::new(),
        limit: 1_000,
    }
}

pub fn raw(predicate: Predicate) -> Query {
    Query { predicate, ..everything() }
}

/// One batch to be stored.
#[derive(Debug, Clone)]
pub struct Sent {
    pub instance: u8,
    pub kind: Kind,
    pub log_type: &'static str,
    pub received: i64,
    /// Event time and text of each record.
    pub records: Vec<(i64, String)>,
}

/// A store and all rows that were ever pushed to it.
pub struct World {
    pub store: Store,
    pub rows: Vec<Row>,
    ids: IdSource,
    offset: u64,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::in_dir(dir.path());
        world._dir = Some(dir);
        world
    }

    pub fn in_dir(dir: &Path) -> World {
        let mut options = StoreOptions::new(dir);
        options.compaction.parts_min = 2;
        options.compaction.parts_max = 3;
        let store = Store::open(options, udm::Schema::load(), at(0)).unwrap();
        World { store, rows: Vec::new(), ids: IdSource::default(), offset: 0, _dir: None }
    }

    pub fn push(&mut self, sent: &Sent) {
        let received_at = at(sent.received);
        let batch = Arc::new(BatchMeta {
            id: self.ids.next(received_at, 1),
            instance: instance(sent.instance),
            kind: sent.kind,
            received_at,
            log_type: sent.log_type.to_owned(),
            feed: format!("feed {}", sent.instance),
            sender: "sender".to_owned(),
            namespace: "namespace".to_owned(),
            labels: (0..sent.records.len() % 3)
                .map(|n| Label { key: format!("k{n}"), value: "ü".to_owned(), rbac_enabled: n == 1 })
                .collect(),
        });
        let position = Position { epoch: 1, offset: self.offset };
        self.offset += 10;
        let events: Vec<Event> = (sent.records.iter().enumerate())
            .map(|(index, (time, text))| Event {
                batch: batch.clone(),
                position,
                index: index as u32,
                kind: sent.kind,
                data: Bytes::copy_from_slice(text.as_bytes()),
                sender_time: (index % 2 == 0).then(|| at(*time)),
                collected_at: (index % 3 == 0).then_some(received_at),
                event_time: at(*time),
                issues: (0..index % 2).map(|_| Issue { field: "f".to_owned(), message: "m".to_owned() }).collect(),
                parser: None,
                ordinal: 0,
            })
            .collect();
        self.rows.extend(events.iter().map(|event| Row {
            id: event.id(),
            instance: batch.instance,
            kind: event.kind,
            received_at,
            event_time: event.event_time,
            sender_time: event.sender_time,
            collected_at: event.collected_at,
            log_type: batch.log_type.clone(),
            namespace: batch.namespace.clone(),
            labels: batch.labels.clone(),
            feed: batch.feed.clone(),
            sender: batch.sender.clone(),
            position,
            data: event.data.clone(),
            issues: event.issues.clone(),
            parser: event.parser.as_deref().map(str::to_owned),
            ordinal: event.ordinal,
        }));
        let next = Position { epoch: 1, offset: self.offset };
        self.store.push(Frame { position, next, events, ..Frame::default() }).unwrap();
    }

    pub fn flush(&self) {
        self.store.flush(at(0)).unwrap();
    }

    pub fn search(&self, query: &Query) -> (Vec<Row>, Summary) {
        self.try_search(query).unwrap()
    }

    pub fn try_search(&self, query: &Query) -> Result<(Vec<Row>, Summary), SearchError> {
        let mut rows = Vec::new();
        let summary = search::run(&self.store.snapshot(), query, &AtomicBool::new(false), &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })?;
        Ok((rows, summary))
    }
}
