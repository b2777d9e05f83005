//! Measures searches over raw logs: `cargo run --release -p search --example measure_search -- [ROWS]` stores seeded
//! lines of about 700 bytes in a temporary folder and prints how long searches of several sorts take, the page cache
//! being warm.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bytes::Bytes;
use event::{BatchMeta, Event, IdSource, InstanceId, Kind, Position, Time};
use search::{Query, Wanted};
use store::{Frame, Store, StoreOptions};

fn main() {
    let rows: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("a number of rows"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let start = Time::parse_rfc3339("2026-11-21T10:00:00Z").expect("a time");
    let store = Store::open(StoreOptions::new(dir.path()), udm::Schema::load(), start).expect("a new store");
    let mut ids = IdSource::default();
    let mut last = None;
    for first in (0..rows).step_by(1_400) {
        let now = start.saturating_add_nanos(first as i64 * 35_000);
        let batch = Arc::new(BatchMeta {
            id: ids.next(now, first),
            instance: InstanceId::from_uuid(uuid::Uuid::from_u128(1)),
            kind: Kind::Raw,
            received_at: now,
            log_type: ["OKTA", "AWS_CLOUDTRAIL"][first as usize / 1_400 % 2].to_owned(),
            feed: String::new(),
            sender: "collector@example.com".to_owned(),
            namespace: String::new(),
            labels: Vec::new(),
        });
        let position = Position { epoch: 1, offset: first };
        let events: Vec<Event> = (0..1_400)
            .map(|index| Event {
                batch: batch.clone(),
                position,
                index,
                kind: Kind::Raw,
                data: Bytes::from(line(first + u64::from(index))),
                sender_time: None,
                collected_at: None,
                event_time: now.saturating_add_nanos(i64::from(index) * 35_000),
                issues: Vec::new(),
                parser: None,
                ordinal: 0,
            })
            .collect();
        last = events.last().map(Event::id);
        let next = Position { epoch: 1, offset: first + 1 };
        store.push(Frame { position, next, events, ..Frame::default() }).expect("frames follow on");
        if store.flush_due(now) {
            store.flush(now).expect("a disk");
        }
    }
    store.flush(start).expect("a disk");
    let snapshot = store.snapshot();
    let bytes: u64 = snapshot.parts().iter().map(|part| part.summary().data_bytes).sum();
    println!("{} rows, {:.0} MB, {} parts", rows, bytes as f64 / 1e6, snapshot.parts().len());
    let text = |needle: &str| query::raw_text(needle, false).expect("a needle");
    let one = hex(rows / 3);
    for (name, predicate) in [
        ("absent needle", text("0123456789abcdefNOWHERE")),
        ("one hit", text(&one)),
        ("every row, newest 100", text("user.session.start")),
        ("short needle nowhere", text("zzzzz")),
        ("expression nowhere", query::raw_regex(r"outcome=\d{3}X", true).expect("an expression")),
    ] {
        let query = Query {
            instance: Some(InstanceId::from_uuid(uuid::Uuid::from_u128(1))),
            kinds: Vec::new(),
            predicate,
            from: None,
            to: None,
            log_types: Vec::new(),
            limit: 100,
        };
        for _ in 0..2 {
            let before = Instant::now();
            let summary = search::run(&snapshot, &query, &AtomicBool::new(false), &mut |_| ControlFlow::Continue(()));
            let summary = summary.expect("parts that were just written");
            println!(
                "{name}: {:.1} ms, {} rows, {} chunks ruled out, {:.1} MB looked at",
                before.elapsed().as_secs_f64() * 1e3,
                summary.rows,
                summary.chunks_pruned,
                summary.bytes_scanned as f64 / 1e6
            );
        }
    }
    let before = Instant::now();
    let wanted = Wanted::Record(last.expect("there are rows"));
    let given = search::find(&snapshot, None, wanted, &mut |_| ControlFlow::Continue(())).expect("parts");
    println!("by record id: {:.1} ms, {given} rows", before.elapsed().as_secs_f64() * 1e3);
}

fn hex(number: u64) -> String {
    let mixed = (u128::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    format!("{mixed:032x}")
}

fn line(number: u64) -> String {
    let filler = "a stretch of text that every line has and that no search looks for, as most of a log line is. ";
    format!(
        r#"{{"eventType":"user.session.start","uuid":"{}","actor":"user{}@example.com","note":"{}","outcome":"SUCCESS"}}"#,
        hex(number),
        number % 5_000,
        filler.repeat(6)
    )
}
