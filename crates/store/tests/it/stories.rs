//! One story each: push, flush, merge, forget, refuse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use bytes::Bytes;
use event::{
    BatchMeta, Event, Failure, IdSource, InstanceId, Issue, Kind, Label, Position, Tally, TallyKey, Time, Why,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use store::{Frame, InstanceCounts, Part, Probe, SetAside, Store, StoreError, StoreOptions, Table, column};

const HOUR_NANOS: i64 = 3_600_000_000_000;
const DAY_NANOS: i64 = 24 * HOUR_NANOS;

fn noon() -> Time {
    Time::parse_rfc3339("2026-11-21T12:00:00Z").unwrap()
}

fn instance(number: u128) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(number))
}

/// Makes frames that follow on.
struct Log {
    offset: u64,
    ids: IdSource,
}

impl Log {
    fn new() -> Log {
        Log { offset: 0, ids: IdSource::default() }
    }

    fn frame(&mut self, instance: InstanceId, kind: Kind, log_type: &str, received_at: Time, texts: &[&str]) -> Frame {
        let batch = Arc::new(BatchMeta {
            id: self.ids.next(received_at, 5),
            instance,
            kind,
            received_at,
            log_type: log_type.to_owned(),
            feed: "feed".to_owned(),
            sender: "sender".to_owned(),
            namespace: "namespace".to_owned(),
            labels: vec![Label { key: "env".to_owned(), value: "prod".to_owned(), rbac_enabled: true }],
        });
        let position = Position { epoch: 3, offset: self.offset };
        self.offset += 100;
        let events = (texts.iter().enumerate())
            .map(|(index, text)| Event {
                batch: batch.clone(),
                position,
                index: index as u32,
                kind,
                data: Bytes::copy_from_slice(text.as_bytes()),
                sender_time: None,
                collected_at: Some(received_at),
                event_time: received_at.saturating_add_nanos(-(index as i64)),
                issues: vec![Issue { field: "principal.x".to_owned(), message: "unknown field".to_owned() }],
                parser: None,
                ordinal: 0,
            })
            .collect();
        Frame { position, next: Position { epoch: 3, offset: self.offset }, events, ..Frame::default() }
    }

    fn raw(&mut self, log_type: &str, received_at: Time) -> Frame {
        self.frame(instance(1), Kind::Raw, log_type, received_at, &["one line", "another line"])
    }
}

fn open(dir: &Path, change: impl FnOnce(&mut StoreOptions)) -> Store {
    let mut options = StoreOptions::new(dir);
    change(&mut options);
    Store::open(options, udm::Schema::load(), noon()).unwrap()
}

fn rows(part: &Part) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(part.open().unwrap()).unwrap();
    builder.build().unwrap().map(Result::unwrap).collect()
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    batch
        .column_by_name(name)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .map(|text| text.unwrap_or("(null)").to_owned())
        .collect()
}

#[test]
fn a_pushed_row_is_searchable_and_then_in_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    assert_eq!(store.cursor(), None);
    assert!(!store.flush_due(noon()));
    assert!(!store.flush(noon()).unwrap());

    store.push(Log::new().raw("OKTA", noon())).unwrap();
    let before = store.snapshot();
    assert_eq!((before.parts().len(), before.tail().count()), (0, 2));
    assert_eq!(before.searched_through(), Some(Position { epoch: 3, offset: 100 }));
    assert_eq!(store.cursor(), None, "what is only in memory must be read again after a restart");
    assert!(!store.flush_due(noon()));
    assert!(store.flush_due(noon().saturating_add_nanos(30_000_000_000)));

    assert!(store.flush(noon()).unwrap());
    let after = store.snapshot();
    assert!(after.version() > before.version());
    assert_eq!((after.parts().len(), after.tail().count()), (1, 0));
    assert_eq!(before.tail().count(), 2, "a snapshot does not change");
    assert_eq!(store.cursor(), after.searched_through());
    let path = after.parts()[0].path().strip_prefix(dir.path()).unwrap();
    assert_eq!(path, Path::new("table=logs/day=2026-11-21/000000000001.parquet"));

    let store = {
        drop((store, after));
        open(dir.path(), |_| ())
    };
    assert_eq!(store.cursor(), Some(Position { epoch: 3, offset: 100 }));
    assert_eq!(store.snapshot().parts().len(), 1);
}

#[test]
fn a_part_says_all_that_the_batch_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    let udm = r#"{"metadata": {"eventType": "USER_LOGIN", "vendor_name": "Okta"},
        "principal": {"ip": ["10.0.0.1", "10.0.0.2", "10.0.0.1"], "port": 443},
        "target": {"user": {"userid": "jdoe"}, "url": "https://example.com/"}}"#;
    store.push(log.frame(instance(7), Kind::Udm, "UDM", noon(), &[udm, "{}"])).unwrap();
    store.flush(noon()).unwrap();
    let snapshot = store.snapshot();
    let summary = snapshot.parts()[0].summary();
    assert_eq!((summary.table, summary.rows, summary.data_bytes), (Table::Events, 2, udm.len() as u64 + 2));
    assert_eq!(summary.instances, Some(vec![instance(7)]));
    assert_eq!(summary.log_types, ["UDM"]);
    assert!(summary.may_hold_instance(instance(7)) && !summary.may_hold_instance(instance(8)));

    // Sorted by time, so the second record comes first.
    let batch = &rows(&snapshot.parts()[0])[0];
    for (name, expected) in [
        (column::LOG_TYPE, ["UDM", "UDM"]),
        (column::NAMESPACE, ["namespace", "namespace"]),
        (column::FEED, ["feed", "feed"]),
        (column::SENDER, ["sender", "sender"]),
        (column::LABELS, [r#"[{"key":"env","value":"prod","rbac_enabled":true}]"#; 2]),
        (column::ISSUES, [r#"[{"field":"principal.x","message":"unknown field"}]"#; 2]),
        (column::EVENT_TYPE, ["(null)", "USER_LOGIN"]),
        (column::VENDOR_NAME, ["(null)", "Okta"]),
        (column::PRODUCT_NAME, ["(null)", "(null)"]),
    ] {
        assert_eq!(texts(batch, name), expected, "{name}");
    }
    let list = |name: &str| {
        let column = batch.column_by_name(name).unwrap().as_list::<i32>().value(1);
        column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("grouped_ip"), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(list("grouped_user"), ["jdoe"]);
    assert_eq!(list("ports"), ["443"]);
    assert_eq!(list("urls"), ["https://example.com/"]);
    assert_eq!(batch.column_by_name(column::DATA).unwrap().as_binary::<i32>().value(1), udm.as_bytes());

    let filter = snapshot.parts()[0].filter().unwrap();
    let mut buffer = Vec::new();
    let chunk = filter.chunk(0, &mut buffer).unwrap();
    assert!(chunk.may_hold(&Probe::value("JDOE")) && chunk.may_hold(&Probe::value("10.0.0.2")));
    assert!(!chunk.may_hold(&Probe::value("10.0.0.3")));
}

#[test]
fn every_grouped_field_has_its_column() {
    let schema = udm::Schema::load();
    for group in schema.grouped() {
        assert!(column::LISTS.contains(&format!("grouped_{}", group.name).as_str()), "{}", group.name);
    }
    assert_eq!(schema.grouped().len() + 2, column::LISTS.len());
}

#[test]
fn small_parts_are_merged_and_readers_keep_the_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    for number in 0..8 {
        assert!(!store.maintain(noon()).unwrap(), "{number} parts are too few");
        let log_type = ["OKTA", "AWS"][number % 2];
        store.push(log.frame(instance(number as u128 % 3), Kind::Raw, log_type, noon(), &["x", "y"])).unwrap();
        store.flush(noon()).unwrap();
    }
    let before = store.snapshot();
    assert!(store.maintain(noon()).unwrap());
    let after = store.snapshot();
    assert_eq!((before.parts().len(), after.parts().len()), (8, 1));
    assert_eq!(before.parts().iter().map(|part| rows(part).len()).sum::<usize>(), 8, "old files are still there");
    let old: Vec<_> = before.parts().iter().map(|part| part.path().to_owned()).collect();
    drop(before);
    assert!(old.iter().all(|path| !path.exists()), "the last reader is gone");

    let batch = &rows(&after.parts()[0])[0];
    assert_eq!(batch.num_rows(), 16);
    let instances = batch.column_by_name(column::INSTANCE).unwrap().as_fixed_size_binary();
    let keys: Vec<_> =
        (0..16).map(|row| (instances.value(row).to_vec(), texts(batch, column::LOG_TYPE)[row].clone())).collect();
    assert!(keys.is_sorted());
    assert_eq!(after.parts()[0].summary().log_types, ["AWS", "OKTA"]);
    assert!(!store.maintain(noon()).unwrap());
}

#[test]
fn a_few_parts_are_merged_once_they_have_settled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    for _ in 0..2 {
        store.push(log.raw("OKTA", noon())).unwrap();
        store.flush(noon()).unwrap();
    }
    assert!(!store.maintain(noon().saturating_add_nanos(HOUR_NANOS - 1)).unwrap());
    assert!(store.maintain(noon().saturating_add_nanos(HOUR_NANOS)).unwrap());
    assert_eq!(store.snapshot().parts().len(), 1);
}

#[test]
fn large_parts_are_never_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |options| options.compaction.small_bytes = 10);
    let mut log = Log::new();
    for _ in 0..10 {
        store.push(log.raw("OKTA", noon())).unwrap();
        store.flush(noon()).unwrap();
    }
    assert!(!store.maintain(noon().saturating_add_nanos(DAY_NANOS)).unwrap());
}

#[test]
fn rows_go_when_their_log_types_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |options| {
        options.retention.days = Some(30);
        options.retention.days_by_log_type.insert("SHORT".to_owned(), Some(1));
        options.retention.days_by_log_type.insert("LONG".to_owned(), None);
    });
    let mut log = Log::new();
    for log_type in ["SHORT", "LONG", "OTHER"] {
        let mut frame = log.raw(log_type, noon());
        let event = frame.events.pop().unwrap();
        frame.set_aside.push(SetAside { event, reason: "odd".to_owned() });
        store.push(frame).unwrap();
    }
    store.flush(noon()).unwrap();
    let left = |days: i64| {
        let now = noon().saturating_add_nanos(days * DAY_NANOS);
        while store.maintain(now).unwrap() {}
        let log_types =
            store.snapshot().parts().iter().flat_map(|part| part.summary().log_types.clone()).collect::<Vec<_>>();
        (log_types.join(" "), store.set_aside(instance(1), 10).unwrap().len())
    };
    assert_eq!(left(1), ("LONG OTHER SHORT".to_owned(), 3));
    assert_eq!(left(2), ("LONG OTHER".to_owned(), 2));
    assert_eq!(left(30), ("LONG OTHER".to_owned(), 2));
    assert_eq!(left(31), ("LONG".to_owned(), 1));
    assert_eq!(left(9_999), ("LONG".to_owned(), 1));
    assert_eq!(store.counts().stored[&instance(1)].records, 3, "counts say what was stored, not what is left");
}

#[test]
fn set_aside_records_are_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), |_| ());
    let mut frame = Log::new().raw("OKTA", noon());
    let event = frame.events.pop().unwrap();
    let id = event.id();
    frame.set_aside.push(SetAside { event: event.clone(), reason: "not a log".to_owned() });
    store.push(frame).unwrap();
    for place in ["tail", "catalogue", "reopened"] {
        let found = store.set_aside_of(id).unwrap().unwrap_or_else(|| panic!("missing in {place}"));
        assert_eq!(found.reason, "not a log");
        // Events have no equality of their own; their text form says everything.
        assert_eq!(format!("{:?}", found.event), format!("{event:?}"), "{place}");
        assert_eq!(store.set_aside_of_batch(id.batch()).unwrap().len(), 1, "{place}");
        assert_eq!(store.set_aside(instance(1), 10).unwrap().len(), 1, "{place}");
        assert_eq!(store.set_aside(instance(2), 10).unwrap().len(), 0, "{place}");
        assert!(store.set_aside_of(id.batch().record(0)).unwrap().is_none(), "{place}");
        let counts = store.counts();
        let counted = if place == "tail" { &counts.tail } else { &counts.stored };
        assert_eq!(counted[&instance(1)], InstanceCounts { records: 1, set_aside: 1, events: 0 }, "{place}");
        store.flush(noon()).unwrap();
        if place == "catalogue" {
            drop(store);
            store = open(dir.path(), |_| ());
        }
    }
}

#[test]
fn frames_must_follow_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    let (first, second) = (log.raw("OKTA", noon()), log.raw("OKTA", noon()));
    store.push(first.clone()).unwrap();
    assert!(matches!(store.push(first), Err(StoreError::OutOfOrder { .. })));
    let mut foreign = second.clone();
    foreign.position.epoch = 4;
    assert!(matches!(store.push(foreign), Err(StoreError::OtherLog { .. })));
    store.push(second).unwrap();
    assert_eq!(store.snapshot().tail().count(), 4);
}

#[test]
fn a_frame_of_many_records_is_stored_slice_by_slice() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Log::new().frame(instance(1), Kind::Raw, "OKTA", noon(), &["a", "b", "c", "d"]);
    let (position, next) = (whole.position, whole.next);
    let slice = |first: usize, through: u32| Frame {
        next: if through == 0 { next } else { position },
        through,
        events: whole.events[first..(first + 2).min(whole.events.len())].to_vec(),
        ..whole.clone()
    };
    let store = open(dir.path(), |_| ());
    store.push(slice(0, 2)).unwrap();
    assert_eq!(store.snapshot().searched_through(), Some(position), "not all of it is there");
    assert!(store.flush(noon()).unwrap());
    drop(store);

    // After a restart the rest is taken, and nothing twice.
    let store = open(dir.path(), |_| ());
    assert_eq!(store.cursor_within(), Some((position, 2)));
    store.push(slice(2, 0)).unwrap();
    assert!(store.flush(noon()).unwrap());
    assert_eq!(store.cursor_within(), Some((next, 0)));
    let rows: u64 = store.snapshot().parts().iter().map(|part| part.summary().rows).sum();
    assert_eq!(rows, 4);
}

#[test]
fn failures_and_tallies_are_stored_with_their_frames_and_the_oldest_failures_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    let mut failing = |store: &Store, log_type: &str, times: usize| {
        for _ in 0..times {
            let mut frame = log.raw(log_type, noon());
            let event = &frame.events[1];
            frame.failures.push(Failure {
                batch: event.batch.clone(),
                position: event.position,
                index: event.index,
                parser: "OKTA@1".into(),
                why: Why::Failed,
                message: format!("at {}", event.position.offset),
                field: "f".to_owned(),
                line: 3,
                column: 7,
            });
            let key = TallyKey { instance: instance(1), log_type: log_type.to_owned(), parser: "OKTA@1".into() };
            frame.tallies.push((key, Tally { parsed: 1, failed: 1, events: 2, ..Tally::default() }));
            store.push(frame).unwrap();
        }
    };
    failing(&store, "OKTA", 2);
    assert!(store.flush(noon()).unwrap());
    failing(&store, "OKTA", 1);
    failing(&store, "BIND", 1);
    let check = |store: &Store, okta: u64| {
        let found = store.failures(Some(instance(1)), Some("OKTA"), 10).unwrap();
        let places: Vec<(u32, u32, &str)> = found.iter().map(|one| (one.line, one.column, &*one.field)).collect();
        assert_eq!(places, vec![(3, 7, "f"); okta.min(10) as usize]);
        assert!(found.is_sorted_by_key(|one| std::cmp::Reverse(one.id)), "newest first");
        assert_eq!(store.failures(None, None, 2_000).unwrap().len() as u64, okta.min(1_000) + 1);
        assert_eq!(store.failures(Some(instance(2)), None, 10).unwrap(), []);
        let tallies = store.tallies();
        let tally = tallies.iter().find(|(key, _)| key.log_type == "OKTA").unwrap().1;
        assert_eq!(*tally, Tally { parsed: okta, failed: okta, events: 2 * okta, ..Tally::default() });
    };
    check(&store, 3);
    store.flush(noon()).unwrap();
    check(&store, 3);
    drop(store);
    let store = open(dir.path(), |_| ());
    check(&store, 3);
    // Of each log type the newest thousand are kept, in memory and in the catalogue.
    failing(&store, "OKTA", 1_100);
    let newest = store.failures(None, Some("OKTA"), 1).unwrap().pop().unwrap().id;
    let check_newest = |store: &Store| {
        let found = store.failures(None, Some("OKTA"), 2_000).unwrap();
        assert_eq!((found[0].id, store.tallies().len()), (newest, 2));
    };
    check_newest(&store);
    store.flush(noon()).unwrap();
    check_newest(&store);
    check(&store, 1_103);
}

#[test]
fn a_newer_catalogue_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), |_| ()));
    let db = rusqlite::Connection::open(dir.path().join("catalogue.sqlite")).unwrap();
    db.pragma_update(None, "user_version", 3).unwrap();
    drop(db);
    let error = Store::open(StoreOptions::new(dir.path()), udm::Schema::load(), noon()).err().unwrap();
    assert!(error.to_string().contains("has format 3, this Penstock reads up to 2"), "{error}");
}

#[test]
fn a_part_without_its_filter_is_still_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    store.push(Log::new().raw("OKTA", noon())).unwrap();
    store.flush(noon()).unwrap();
    std::fs::remove_file(dir.path().join("table=logs/day=2026-11-21/_000000000001.filter")).unwrap();
    let part = store.snapshot().parts()[0].clone();
    assert!(part.filter().is_none());
    assert_eq!(rows(&part)[0].num_rows(), 2);
}

#[test]
fn a_missing_part_is_named_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    for _ in 0..2 {
        store.push(log.raw("OKTA", noon())).unwrap();
        store.flush(noon()).unwrap();
    }
    drop(store);
    std::fs::remove_file(dir.path().join("table=logs/day=2026-11-21/000000000001.parquet")).unwrap();
    let store = open(dir.path(), |_| ());
    assert_eq!(store.snapshot().parts().len(), 1);
    assert_eq!(store.missing_parts().iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_tail_is_due_by_size_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |options| {
        options.flush_bytes = 1_000;
        options.flush_after = Duration::from_secs(3_600);
    });
    let mut log = Log::new();
    store.push(log.raw("OKTA", noon())).unwrap();
    assert!(!store.flush_due(noon()));
    while store.tail_bytes() < 1_000 {
        store.push(log.raw("OKTA", noon())).unwrap();
    }
    assert!(store.flush_due(noon()));
}

#[test]
fn a_lost_catalogue_is_not_taken_for_a_new_store() {
    for loss in ["removed", "emptied"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), |_| ());
        store.push(Log::new().raw("OKTA", noon())).unwrap();
        store.flush(noon()).unwrap();
        drop(store);
        let (catalogue, aside) = (dir.path().join("catalogue.sqlite"), dir.path().join("aside"));
        std::fs::rename(&catalogue, &aside).unwrap();
        if loss == "emptied" {
            std::fs::write(&catalogue, "").unwrap();
        }
        for _ in 0..2 {
            let later = noon().saturating_add_nanos(2 * HOUR_NANOS);
            let error = Store::open(StoreOptions::new(dir.path()), udm::Schema::load(), later).err().unwrap();
            assert!(error.to_string().contains("files of parts lie beside it"), "{loss}: {error}");
        }
        std::fs::rename(&aside, &catalogue).unwrap();
        assert_eq!(open(dir.path(), |_| ()).snapshot().parts().len(), 1, "{loss}");
    }
}

#[test]
fn another_log_is_followed_from_where_it_is_told_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), |_| ());
    let mut log = Log::new();
    store.push(log.raw("OKTA", noon())).unwrap();
    let older = log.raw("OKTA", noon());
    store.push(log.raw("OKTA", noon())).unwrap();
    store.flush(noon()).unwrap();
    assert!(matches!(store.push(older.clone()), Err(StoreError::OutOfOrder { .. })));
    store.restart_at(older.position).unwrap();
    drop(store);
    let store = open(dir.path(), |_| ());
    assert_eq!(store.cursor(), Some(older.position));
    store.push(older).unwrap();
    assert_eq!(store.snapshot().tail().count(), 2);
}
