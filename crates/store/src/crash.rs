//! Tests: the store is stopped after every step of a flush and of a merge, in two ways. A copy of its folder, taken at
//! the step, is what `kill -9` would leave; an error at the step is what a full disk would do. Whatever happens, each
//! record is found once, and a snapshot taken at the step shows it once too.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use arrow_array::cast::AsArray;
use bytes::Bytes;
use event::{BatchMeta, Event, IdSource, InstanceId, Kind, Label, Position, RecordId, Time};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Again, Frame, Made, Rewritten, SetAside, Snapshot, Store, StoreOptions, column};

const DAY_NANOS: i64 = 86_400_000_000_000;

fn now() -> Time {
    Time::parse_rfc3339("2026-11-21T23:59:58Z").unwrap()
}

/// Frame number `number`: raw logs, UDM events and a record set aside, received around midnight, of two instances.
fn frame(number: u64) -> Frame {
    let received_at = now().saturating_add_nanos(number as i64 * 200_000_000);
    let mut ids = IdSource::default();
    let position = Position { epoch: 9, offset: number * 100 };
    let mut events = Vec::new();
    for (kind, data) in [
        (Kind::Raw, "a line of text"),
        (Kind::Udm, r#"{"metadata":{"event_type":"USER_LOGIN"},"principal":{"ip":"10.1.2.3"}}"#),
    ] {
        let batch = Arc::new(BatchMeta {
            id: ids.next(received_at, number),
            instance: InstanceId::from_uuid(uuid::Uuid::from_u128(u128::from(number % 2))),
            kind,
            received_at,
            log_type: format!("TYPE_{}", number % 3),
            feed: "feed".to_owned(),
            sender: "sender".to_owned(),
            namespace: String::new(),
            labels: vec![Label { key: "k".to_owned(), value: "v".to_owned(), rbac_enabled: true }],
        });
        events.extend((0..3).map(|index| Event {
            batch: batch.clone(),
            position,
            index,
            kind,
            data: Bytes::from_static(data.as_bytes()),
            sender_time: Some(received_at),
            collected_at: None,
            event_time: received_at.saturating_add_nanos(-i64::from(index)),
            issues: Vec::new(),
            parser: None,
            ordinal: 0,
        }));
    }
    let aside = events.pop().map(|event| SetAside { event, reason: "not JSON".to_owned() });
    Frame {
        position,
        next: Position { epoch: 9, offset: (number + 1) * 100 },
        events,
        set_aside: aside.into_iter().collect(),
        ..Frame::default()
    }
}

fn open(dir: &Path) -> Store {
    let mut options = StoreOptions::new(dir);
    options.compaction.parts_min = 2;
    Store::open(options, udm::Schema::load(), now()).unwrap()
}

/// Pushes the frames up to `until` that the store has not read.
fn follow(store: &Store, until: u64) {
    let first = store.cursor().map_or(0, |cursor| cursor.offset / 100);
    (first..until).for_each(|number| store.push(frame(number)).unwrap());
}

fn ids(snapshot: &Snapshot) -> Vec<RecordId> {
    let mut ids: Vec<RecordId> = snapshot.tail().map(Event::id).collect();
    for part in snapshot.parts() {
        let mut rows = 0;
        for batch in ParquetRecordBatchReaderBuilder::try_new(part.open().unwrap()).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name(column::RECORD_ID).unwrap().as_fixed_size_binary();
            ids.extend(
                column.iter().map(|id| RecordId::from_u128(u128::from_be_bytes(id.unwrap().try_into().unwrap()))),
            );
            rows += batch.num_rows() as u64;
        }
        assert_eq!(rows, part.summary().rows);
        assert_eq!(part.filter().unwrap().rows(0).end, rows);
    }
    ids.sort();
    ids
}

fn expected(until: u64) -> Vec<RecordId> {
    let mut ids: Vec<RecordId> = (0..until).flat_map(|number| frame(number).events).map(|event| event.id()).collect();
    ids.sort();
    ids
}

#[track_caller]
fn check_whole(store: &Store, until: u64, what: &str) {
    assert_eq!(ids(&store.snapshot()), expected(until), "{what}");
    let counts = store.counts();
    let mut records = BTreeMap::new();
    let mut aside = 0;
    for counted in [&counts.stored, &counts.tail] {
        for (instance, counts) in counted {
            *records.entry(*instance).or_insert(0) += counts.records;
            aside += counts.set_aside;
        }
    }
    assert_eq!(records.values().sum::<u64>(), 5 * until, "{what}");
    assert_eq!(aside, until, "{what}");
    let listed: usize = records.keys().map(|instance| store.set_aside(*instance, 1_000).unwrap().len()).sum();
    assert_eq!(listed as u64, until, "{what}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A store that has two flushes behind it and frames up to 12 in its tail.
fn prepared(dir: &Path) -> Store {
    let store = open(dir);
    for until in [4, 8] {
        follow(&store, until);
        assert!(store.flush(now()).unwrap());
    }
    (8..12).for_each(|number| store.push(frame(number)).unwrap());
    store
}

/// Runs `work` once for each of its steps with a hook that copies the folder there, and checks what a restart makes of
/// it.
fn killed_at_every_step(work: fn(&Store)) -> usize {
    let copies = Arc::new(Mutex::new(Vec::new()));
    let dir = tempfile::tempdir().unwrap();
    let mut store = prepared(dir.path());
    let this: Arc<OnceLock<Arc<Store>>> = Arc::default();
    let (hook_copies, hook_store, hook_dir) = (copies.clone(), this.clone(), dir.path().to_owned());
    store.hook = Arc::new(move |step| {
        let kept = tempfile::tempdir().unwrap();
        copy(&hook_dir, kept.path());
        hook_copies.lock().unwrap().push((step, kept));
        // What a reader sees right now.
        let store: &Arc<Store> = hook_store.get().unwrap();
        assert_eq!(ids(&store.snapshot()), expected(12), "during {step}");
        Ok(())
    });
    let store = Arc::new(store);
    assert!(this.set(store.clone()).is_ok());
    work(&store);
    check_whole(&store, 12, "afterwards");
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    for (step, kept) in &copies {
        let store = open(kept.path());
        follow(&store, 12);
        check_whole(&store, 12, step);
        store.flush(now()).unwrap();
        follow(&store, 14);
        store.flush(now()).unwrap();
        while store.maintain(now()).unwrap() {}
        check_whole(&store, 14, step);
        drop(store);
        // After an hour nothing is left that the catalogue does not know.
        let later = modified_last(kept.path()).saturating_add_nanos(3_601_000_000_000);
        drop(Store::open(StoreOptions::new(kept.path()), udm::Schema::load(), later).unwrap());
        let store = open(kept.path());
        check_whole(&store, 14, step);
        assert_eq!(files(kept.path()), 2 * store.snapshot().parts().len() + 1, "files after {step}");
    }
    copies.len()
}

/// Runs `work` once for each of its steps with a hook that fails there.
fn failed_at_every_step(steps: usize, work: fn(&Store) -> bool) {
    for failing in 0..steps {
        let dir = tempfile::tempdir().unwrap();
        let mut store = prepared(dir.path());
        let count = Mutex::new(0);
        store.hook = Arc::new(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == failing + 1 { Err(std::io::Error::other("no space")) } else { Ok(()) }
        });
        assert!(!work(&store), "step {failing} must fail");
        check_whole(&store, 12, "right after the failure");
        while store.flush_due(now()) {
            store.flush(now()).unwrap();
        }
        work(&store);
        check_whole(&store, 12, "after another try");
        drop(store);
        let store = open(dir.path());
        follow(&store, 12);
        check_whole(&store, 12, "after a restart");
    }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

fn modified_last(dir: &Path) -> Time {
    let modified = std::fs::metadata(dir).unwrap().modified().unwrap();
    let nanos = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    Time::from_nanos(nanos as i64).saturating_add_nanos(DAY_NANOS)
}

#[test]
fn a_flush_that_is_cut_off_anywhere_stores_everything_once() {
    let steps = killed_at_every_step(|store| assert!(store.flush(now()).unwrap()));
    // Two tables and two days make four parts of seven steps each.
    assert_eq!(steps, 4 * 7 + 3);
    failed_at_every_step(steps, |store| store.flush(now()).is_ok());
}

#[test]
fn a_merge_that_is_cut_off_anywhere_keeps_everything_once() {
    let steps = killed_at_every_step(|store| while store.maintain(now()).unwrap() {});
    assert!(steps >= 2 * 9, "at least two merges, not {steps} steps");
    failed_at_every_step(9, |store| store.maintain(now()).is_ok());
}

/// Reads the raw records of one instance and log type again; what is made of each names the version.
fn again(store: &Store, version: &str) -> Result<Option<Rewritten>, crate::StoreError> {
    let again = Again {
        instance: InstanceId::from_uuid(uuid::Uuid::from_u128(0)),
        log_type: "TYPE_0".to_owned(),
        from: Time::MIN,
        to: Time::MAX,
        before: Position { epoch: 9, offset: 800 },
    };
    let mut read = |records: Vec<Event>| {
        let made = records.iter().flat_map(|record| {
            (0..2).map(|ordinal| Event {
                kind: Kind::Udm,
                data: Bytes::from_static(br#"{"metadata":{"eventType":"NETWORK_DNS"}}"#),
                parser: Some(version.into()),
                ordinal,
                ..record.clone()
            })
        });
        let mut events: Vec<Event> = made.collect();
        events.extend(records.into_iter().map(|record| Event { parser: Some(version.into()), ..record }));
        Made { events, failures: Vec::new() }
    };
    store.rewrite(&again, now(), &mut read, &mut |_| ControlFlow::Continue(()))
}

/// For each raw record that a parser has read: the version, and the versions and ordinals of what came of it. Checks that no
/// row is there twice.
fn versions(store: &Store) -> BTreeMap<RecordId, (String, Vec<(String, u32)>)> {
    let mut found: BTreeMap<RecordId, (String, Vec<(String, u32)>)> = BTreeMap::new();
    let mut all = 0;
    for part in store.snapshot().parts() {
        let table = part.summary().table;
        for batch in ParquetRecordBatchReaderBuilder::try_new(part.open().unwrap()).unwrap().build().unwrap() {
            let batch = table.conform(batch.unwrap());
            let mut last = None;
            for row in 0..batch.num_rows() {
                let event = crate::rows::event(&batch, row, table.kind(), None, &mut last).unwrap();
                all += 1;
                let Some(parser) = event.parser.as_deref() else { continue };
                let of_record = found.entry(event.id()).or_default();
                if event.kind == Kind::Raw {
                    assert_eq!(of_record.0, "", "the record {} is there twice", event.id());
                    of_record.0 = parser.to_owned();
                } else {
                    of_record.1.push((parser.to_owned(), event.ordinal));
                    of_record.1.sort();
                }
            }
        }
    }
    let made: usize = found.values().map(|(_, events)| events.len()).sum();
    assert_eq!(all - made, expected(12).len());
    found
}

#[test]
fn a_rewriting_that_is_cut_off_anywhere_leaves_one_version_of_everything() {
    let one = |version: &str| (version.to_owned(), vec![(version.to_owned(), 0), (version.to_owned(), 1)]);
    let dir = tempfile::tempdir().unwrap();
    let mut store = prepared(dir.path());
    assert!(store.flush(now()).unwrap());
    let done = again(&store, "v1").unwrap().unwrap();
    // Frames 0 and 6 are of that instance and type and before the place in the log.
    assert_eq!((done.records, done.events_before, done.events), (6, 0, 12));
    let first = versions(&store);
    assert_eq!(first.len(), 6);
    assert!(first.values().all(|found| *found == one("v1")), "{first:?}");

    let copies = Arc::new(Mutex::new(Vec::new()));
    let (hook_copies, hook_dir) = (copies.clone(), dir.path().to_owned());
    store.hook = Arc::new(move |step| {
        let kept = tempfile::tempdir().unwrap();
        copy(&hook_dir, kept.path());
        hook_copies.lock().unwrap().push((step, kept));
        Ok(())
    });
    let done = again(&store, "v2").unwrap().unwrap();
    assert_eq!((done.records, done.events_before, done.events), (6, 12, 12));
    assert!(versions(&store).values().all(|found| *found == one("v2")));
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    assert!(copies.len() > 9, "{}", copies.len());
    let mut seen = Vec::new();
    for (step, kept) in &copies {
        let store = open(kept.path());
        let found = versions(&store);
        let version = if *step == "transaction committed" { "v2" } else { "v1" };
        assert_eq!(found.len(), 6, "{step}");
        assert!(found.values().all(|found| *found == one(version)), "{step}: {found:?}");
        seen.push(version);
        // And it can be done again.
        again(&store, "v3").unwrap().unwrap();
        assert!(versions(&store).values().all(|found| *found == one("v3")), "{step}");
    }
    assert!(seen.contains(&"v2"));

    // Where a step fails, everything is as it was.
    for failing in 0..copies.len() {
        let count = Mutex::new(0);
        store.hook = Arc::new(move |_| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == failing + 1 { Err(std::io::Error::other("no space")) } else { Ok(()) }
        });
        assert!(again(&store, &format!("after {failing}")).is_err());
        let found = versions(&store);
        let version = if failing + 1 == copies.len() { format!("after {failing}") } else { "v2".to_owned() };
        assert!(found.values().all(|found| *found == one(&version)), "{failing}: {found:?}");
    }
}
