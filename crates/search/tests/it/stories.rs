//! One story each: what is skipped, what stops a search, what a damaged part does.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use event::Kind;
use search::{Query, SearchError};

use crate::world::{Sent, World, at, everything, instance, raw};

fn sent(kind: Kind, log_type: &'static str, records: Vec<(i64, String)>) -> Sent {
    Sent { instance: 0, kind, log_type, received: 0, records }
}

/// Three parts of 20,000 lines each, one second apart, oldest first.
fn large() -> World {
    let mut world = World::new();
    for part in 0..3i64 {
        let records = (0..20_000)
            .map(|n| {
                (part * 20_000 + n, format!("line {n} of part {part} says request-{:08}", (part * 20_000 + n) * 7_919))
            })
            .collect();
        world.push(&sent(Kind::Raw, "OKTA", records));
        world.flush();
    }
    world
}

fn text(needle: &str) -> Query {
    raw(query::raw_text(needle, false).unwrap())
}

#[test]
fn a_needle_that_is_nowhere_costs_no_record() {
    let (rows, summary) = large().search(&text("request-99999999x"));
    assert_eq!(rows.len(), 0);
    assert_eq!((summary.parts_total, summary.parts_pruned, summary.bytes_scanned), (3, 3, 0));
    assert_eq!(summary.chunks_pruned, 9);
}

#[test]
fn a_needle_in_one_chunk_costs_few_records() {
    let world = large();
    let (rows, summary) = world.search(&text(&format!("REQUEST-{:08}", 27_000 * 7_919)));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0], world.rows[27_000]);
    assert!(summary.chunks_pruned >= 6, "{summary:?}");
    assert!(summary.bytes_scanned < 3 * 8_192 * 60, "{summary:?}");
}

#[test]
fn the_newest_rows_come_from_the_newest_part() {
    let world = large();
    let (rows, summary) = world.search(&Query { limit: 10, ..text("says") });
    let expected: Vec<_> = world.rows.iter().rev().take(10).cloned().collect();
    assert_eq!(rows, expected);
    assert!(summary.truncated);
    assert_eq!(summary.parts_pruned, 2);
    assert!(summary.bytes_scanned < 100_000, "{summary:?}");
}

#[test]
fn a_time_range_leaves_parts_out() {
    let world = large();
    let (rows, summary) = world.search(&Query { from: Some(at(25_000)), to: Some(at(25_003)), ..text("says") });
    assert_eq!(rows.iter().map(|row| row.event_time).collect::<Vec<_>>(), [at(25_002), at(25_001), at(25_000)]);
    assert_eq!(summary.parts_pruned, 2);
}

#[test]
fn more_rows_than_are_kept_or_fetched_at_once_stay_in_order() {
    let world = large();
    let query = Query { limit: 50_000, ..text("says") };
    let (rows, summary) = world.search(&query);
    assert_eq!((rows.len(), summary.rows, summary.truncated), (50_000, 50_000, true));
    assert!(rows.iter().eq(world.rows.iter().rev().take(50_000)));
}

#[test]
fn large_records_are_found_whole() {
    let mut world = World::new();
    let large = |n: i64| (n, format!("{}needle in a large record{}", "x".repeat(400_000), "y".repeat(400_000)));
    world.push(&sent(Kind::Raw, "OKTA", (0..60).map(large).collect()));
    for flushed in [false, true] {
        if flushed {
            world.flush();
        }
        let (rows, _) = world.search(&text("needle in a large"));
        assert!(rows.iter().eq(world.rows.iter().rev()), "flushed: {flushed}");
    }
}

#[test]
fn a_search_can_be_cancelled_and_stopped() {
    let world = large();
    let snapshot = world.store.snapshot();
    let never = &mut |_| -> ControlFlow<()> { panic!("no row after a cancel") };
    let cancelled = search::run(&snapshot, &text("says"), &AtomicBool::new(true), never);
    assert!(matches!(cancelled, Err(SearchError::Cancelled)));

    let mut rows = 0;
    let summary = search::run(&snapshot, &text("says"), &AtomicBool::new(false), &mut |_| {
        rows += 1;
        if rows == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((rows, summary.unwrap().rows), (3, 3));
}

#[test]
fn the_answer_says_how_far_it_saw() {
    let mut world = World::new();
    assert_eq!(world.search(&everything()).1.searched_through, None);
    world.push(&sent(Kind::Raw, "OKTA", vec![(0, "a".to_owned())]));
    let through = world.search(&everything()).1.searched_through;
    assert_eq!(through, world.store.snapshot().searched_through());
    world.flush();
    assert_eq!(world.search(&everything()).1.searched_through, through);
}

#[test]
fn a_filter_that_is_lost_or_damaged_costs_time_not_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::in_dir(dir.path());
    world.push(&sent(Kind::Raw, "OKTA", vec![(0, "a needle that is long enough".to_owned())]));
    world.flush();
    let path = dir.path().join("table=logs/day=2026-11-21/_000000000001.filter");
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [bytes[..bytes.len() - 1].to_vec(), vec![0xFF; bytes.len()], Vec::new()] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(world.search(&text("that is long enough")).0.len(), 1);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(world.search(&text("that is long enough")).0.len(), 1);
}

#[test]
fn a_damaged_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::in_dir(dir.path());
    world.push(&sent(Kind::Raw, "OKTA", vec![(0, "some text".to_owned())]));
    world.flush();
    let path = dir.path().join("table=logs/day=2026-11-21/000000000001.parquet");
    let bytes = std::fs::read(&path).unwrap();
    // The footer names places and lengths: whatever it says, the answer is an error or rows, never a panic.
    for at in (0..bytes.len()).rev().take(2_000) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, damaged).unwrap();
        if let Err(error) = world.try_search(&everything()) {
            assert!(error.to_string().contains("000000000001.parquet"), "{error}");
        }
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = world.try_search(&everything()).unwrap_err();
    assert!(error.to_string().contains("cannot read the part"), "{error}");
}

#[test]
fn the_tenant_comes_first_even_for_one_text() {
    let mut world = World::new();
    for number in 0..2 {
        let records = vec![(0, "the same text".to_owned())];
        world.push(&Sent { instance: number, kind: Kind::Raw, log_type: "OKTA", received: 0, records });
    }
    for flushed in [false, true] {
        if flushed {
            world.flush();
        }
        let (rows, _) = world.search(&Query { instance: Some(instance(1)), ..text("the same text") });
        assert_eq!(rows, world.rows[1..], "flushed: {flushed}");
        let (rows, _) = world.search(&Query { instance: Some(instance(2)), ..text("the same text") });
        assert_eq!(rows, []);
    }
}
