//! What a connector tells those who own it.

use std::time::Duration;

use deliver::{RunLevel, RunMessage};
use serde_json::json;

use crate::fake_function::{Function, answered, suspicious, to_function, unknown};
use crate::world::{World, needs_attention, until, waits, with};

fn said(function: &Function) -> Vec<String> {
    function.run_log("siem").into_iter().map(|entry| entry.message).collect()
}

#[tokio::test]
async fn a_run_begins_with_work_and_ends_when_the_log_is_dry() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    let deliver =
        world.start(&[with(to_function(), json!({"run_log": true, "source": {"query": "data.even = true"}}))]).await;
    world.log([1, 2]).await;
    until(&deliver, |status| status.written == 1).await;
    // A second without anything is dry.
    world.clock.waited_for(1).await;
    assert_eq!(said(&function), ["Run started"]);
    world.log_with_hops([3, 4, 6], 2).await;
    until(&deliver, |status| status.written == 3).await;
    world.clock.waited_for(2).await;
    world.clock.advance(Duration::from_secs(1));
    // The next run's beginning comes after the end of the one before.
    world.log([8]).await;
    until(&deliver, |status| status.written == 4).await;
    let entries = function.run_log("siem");
    let succeeded = "Run succeeded - Read 5 messages from source and wrote 3 messages to target";
    assert_eq!(said(&function), ["Run started", succeeded, "Run started"]);
    assert_eq!(entries[1].message_type, RunMessage::Completed);
    assert_eq!((entries[0].level, entries[1].level), (RunLevel::Info, RunLevel::Info));
    // Each entry would be one hop further than the records it is about.
    let hops: Vec<u32> = entries.iter().map(|entry| entry.hops).collect();
    assert_eq!(hops, [1, 3, 1]);
    let shown = serde_json::to_value(&entries[1]).unwrap();
    assert_eq!((&shown["level"], &shown["message_type"]), (&"INFO".into(), &"CONNECTOR_RUN_COMPLETED".into()));

    // A stop ends the run.
    deliver.stop().await;
    let last = "Run succeeded - Read 1 message from source and wrote 1 message to target";
    assert_eq!(said(&function).last().unwrap(), last);
}

#[tokio::test]
async fn failures_and_suspicious_calls_are_told_at_once() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([answered(502, "no host"), suspicious("3 records, 1 request"), unknown("not installed")]);
    world.log([1, 2, 3]).await;
    let deliver = world.start(&[with(to_function(), json!({"run_log": true}))]).await;
    until(&deliver, waits).await;
    let failed = function.run_log("siem").remove(1);
    assert_eq!((failed.level, failed.message_type), (RunLevel::Error, RunMessage::CallFailed));
    assert_eq!((failed.call_id.as_deref(), failed.status, failed.records), (Some("01CALL"), Some(502), 3));
    let expected = "A call with 3 messages failed: function fwd answered 502 (call 01CALL): no host";
    assert_eq!(failed.message, expected);

    world.clock.advance(Duration::from_secs(1));
    until(&deliver, |status| status.written == 3).await;
    let warned = function.run_log("siem").remove(2);
    assert_eq!((warned.level, warned.message_type), (RunLevel::Warn, RunMessage::CallSuspicious));
    assert_eq!((warned.call_id.as_deref(), warned.status, warned.records), (Some("01CALL"), Some(200), 3));
    assert_eq!(warned.message, "A call with 3 messages was taken, but: 3 records, 1 request");

    world.log([4]).await;
    until(&deliver, needs_attention).await;
    assert!(said(&function).last().unwrap().ends_with("function fwd cannot be called: not installed"));
}

#[tokio::test]
async fn who_does_not_ask_for_it_has_none() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([answered(502, "")]);
    world.log([1]).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, waits).await;
    deliver.stop().await;
    assert_eq!(said(&function).len(), 0);
}
