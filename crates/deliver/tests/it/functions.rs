//! Deliveries to a function: taken, refused, out of time, killed in between.

use std::sync::Arc;
use std::time::Duration;

use commit::LogOptions;
use deliver::{ConnectorState, ConnectorStatus, FunctionCall};
use event::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::third_party::{Answer, ThirdParty};
use tokio::sync::Notify;

use crate::fake_function::{Function, Told, answered, entry, failed, ok, suspicious, to_function, unknown};
use crate::world::{
    Frame, INSTANCE, TestClock, World, connector, id, needs_attention, oci, raw, until, until_named, waits, with,
};

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn reason(status: &ConnectorStatus) -> &str {
    match &status.state {
        ConnectorState::Waiting { reason, .. } | ConnectorState::NeedsAttention { reason } => reason,
        state => panic!("nothing is wrong: {state:?}"),
    }
}

#[tokio::test]
async fn entries_are_given_as_they_are_stored_and_everything_else_as_ours() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    let odd = " {\"id\":\"1\",  \"time\":\"x\", \"data\":{\"a\":1.50,\"b\":\"\\u00e9\"}}\n";
    world.append(oci([odd, "no envelope"])).await;
    let records = vec!["{\"metadata\":{}}"];
    world.append(Frame { instance: INSTANCE, kind: Kind::Udm, log_type: "UDM", records }).await;
    let deliver = world.start(&[with(to_function(), json!({"source": null}))]).await;

    let status = until(&deliver, |status| status.written == 3).await;
    let calls = function.calls();
    let body = String::from_utf8(calls[0].body.to_vec()).unwrap();
    assert!(body.starts_with(&format!("[{},{{\"id\":", odd.trim())), "{body}");
    let said: Vec<Value> = serde_json::from_str(&body).unwrap();
    assert_eq!((&said[1]["text"], &said[2]["kind"]), (&"no envelope".into(), &"udm".into()));
    let FunctionCall { connector, function, records, hops, key, .. } = &calls[0];
    assert_eq!((connector, &**function, *records, *hops), (&id("siem"), "ocid1.fnfunc.oc1.x.7", 3, 0));
    assert_eq!(key.len(), 36);
    assert_eq!((status.state, calls.len()), (ConnectorState::Running, 1));
}

/// What comes back first, how long the connector waits before it gives the same again, and what it says meanwhile.
#[tokio::test]
async fn the_same_bytes_are_given_until_they_are_taken() {
    let cases = [
        (answered(502, "KeyError: 'x'"), 1, false, "answered 502 (call 01CALL): KeyError: 'x'"),
        (answered(504, ""), 1, false, "answered 504 (call 01CALL)"),
        (answered(500, ""), 1, false, "answered 500"),
        (answered(400, ""), 1, false, "answered 400"),
        (answered(413, ""), 1, false, "answered 413"),
        (answered(204, ""), 1, false, "answered 204"),
        (failed(Some(504), "killed after 30 s"), 1, false, "did not answer (call 01CALL): killed after 30 s"),
        (failed(Some(429), "all its processes are busy"), 1, false, "all its processes are busy"),
        (failed(None, "its process is gone"), 1, false, "its process is gone"),
        (unknown("it is not installed"), 60, true, "cannot be called: it is not installed"),
    ];
    for (told, wait, attention, expected) in cases {
        let mut world = World::new();
        let function = Function::of(&mut world);
        function.script([told]);
        world.log([1, 2]).await;
        let deliver = world.start(&[to_function()]).await;

        let status = until(&deliver, |status| waits(status) || needs_attention(status)).await;
        assert_eq!(needs_attention(&status), attention, "{expected}");
        assert!(reason(&status).contains(expected) && reason(&status).contains("function fwd"), "{status:?}");
        assert_eq!((status.errors, status.written, status.dead_letters), (1, 0, 0), "{expected}");
        assert_eq!(status.failing_since, Some(world.clock_now()), "{expected}");
        assert_eq!(world.clock.waited_for(1).await, [SECS(wait)], "{expected}");

        world.clock.advance(SECS(wait));
        let status = until(&deliver, |status| status.written > 0).await;
        assert_eq!((status.written, status.read, status.failing_since), (2, 2, None), "{expected}");
        assert_eq!(status.state, ConnectorState::Running);
        let calls = function.calls();
        assert_eq!(calls.len(), 2, "{expected}");
        assert_eq!(calls[0], calls[1], "{expected}");
    }
}

/// Whatever it answers and however often: nothing is left out, nothing overtakes.
#[tokio::test]
async fn a_batch_is_given_until_it_is_taken_and_nothing_overtakes_it() {
    let mut world = World::with(TestClock::leaping(), LogOptions::default());
    let function = Function::of(&mut world);
    function.script(std::iter::repeat_n(answered(400, "bad record"), 9).chain([ok()]));
    world.log([1, 2]).await;
    world.log([3]).await;
    let deliver = world.start(&[with(to_function(), json!({"target": {"batch_records_max": 2}}))]).await;
    let status = until(&deliver, |status| status.written == 3).await;
    assert_eq!((status.dead_letters, status.errors), (0, 9));
    let expected: Vec<Vec<i64>> = std::iter::repeat_n(vec![1, 2], 10).chain([vec![3]]).collect();
    assert_eq!(function.numbers(), expected);
    let waited: Vec<u64> = world.clock.waited_for(9).await.iter().map(Duration::as_secs).collect();
    assert_eq!(waited, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
}

#[tokio::test]
async fn a_long_failure_needs_attention_and_heals_by_itself() {
    for (document, attention) in [(json!({}), 300), (json!({"attention_ms": 60_000}), 60)] {
        let mut world = World::new();
        let function = Function::of(&mut world);
        function.rule(|_| answered(502, "no host"));
        world.log([1]).await;
        let document = with(to_function(), document);
        let deliver = world.start(std::slice::from_ref(&document)).await;
        let mut attempts = 1;
        let since = until(&deliver, waits).await.failing_since.unwrap();
        loop {
            let waits_until_now = world.clock.waited_for(attempts).await;
            let passed = world.clock_now().nanos_since(since) / 1_000_000_000;
            let status = until(&deliver, |status| status.errors as usize == attempts).await;
            assert_eq!(needs_attention(&status), passed >= attention, "{passed}: {status:?}");
            if needs_attention(&status) {
                assert!(reason(&status).contains("nothing was taken since 2026-11-21T22:00:00Z"), "{status:?}");
                assert!(reason(&status).contains("answered 502 (call 01CALL): no host"), "{status:?}");
                break;
            }
            world.clock.advance(*waits_until_now.last().unwrap());
            attempts += 1;
        }
        // It is looked at when it is asked for, not only when an attempt fails; and a restart does not begin anew.
        drop(deliver);
        let deliver = world.start(std::slice::from_ref(&document)).await;
        let status = until(&deliver, |status| status.errors as usize == attempts + 1).await;
        assert!(needs_attention(&status), "{status:?}");

        function.rule(|_| ok());
        world.clock.advance(SECS(30));
        let status = until(&deliver, |status| status.written == 1).await;
        assert_eq!((status.state, status.failing_since), (ConnectorState::Running, None));
    }
}

#[tokio::test]
async fn a_call_that_never_ends_is_given_up_after_the_timeout() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([Told::Silent]);
    world.log([1]).await;
    let deliver = world.start(&[with(to_function(), json!({"target": {"timeout_ms": 100}}))]).await;
    let status = until(&deliver, waits).await;
    assert!(reason(&status).contains("nothing came back within 0.1 s"), "{status:?}");
    world.clock.advance(SECS(1));
    until(&deliver, |status| status.written == 1).await;
    assert_eq!(function.numbers(), [[1], [1]]);
}

#[tokio::test]
async fn a_suspicious_call_is_taken_and_counted() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([suspicious("2 of its log lines are errors"), ok()]);
    let document = with(to_function(), json!({"target": {"batch_records_max": 1}}));
    world.log([1, 2]).await;
    let deliver = world.start(std::slice::from_ref(&document)).await;
    until(&deliver, |status| status.written == 2).await;
    drop(deliver);
    // It is remembered.
    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.state == ConnectorState::Running).await;
    assert_eq!((status.suspicious, status.errors, function.calls().len()), (1, 0, 2));
    assert_eq!(status.last_suspicious.unwrap().message, "2 of its log lines are errors");
}

#[tokio::test]
async fn a_server_without_functions_says_so() {
    let world = World::new();
    world.log([1]).await;
    let deliver = world.start(&[to_function()]).await;
    let status = until(&deliver, needs_attention).await;
    assert!(reason(&status).contains("functions are switched off"), "{status:?}");
    assert_eq!((status.written, status.read), (0, 0));
}

#[tokio::test]
async fn deactivating_waits_for_the_call_under_way_and_activating_leaves_no_gap() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    let let_go = Arc::new(Notify::new());
    function.script([ok().held(&let_go)]);
    let active = with(to_function(), json!({"target": {"batch_records_max": 2}}));
    let inactive = with(active.clone(), json!({"state": "inactive"}));
    world.log([1, 2, 3]).await;
    let deliver = world.start(std::slice::from_ref(&active)).await;
    function.wait_for(1).await;

    world.apply(&deliver, std::slice::from_ref(&inactive)).await;
    // More than the patience with an HTTP target: this is not cut off.
    tokio::time::timeout(Duration::from_millis(1_300), async {
        until(&deliver, |status| status.state == ConnectorState::Inactive).await
    })
    .await
    .expect_err("the call has not ended");
    let_go.notify_one();
    let status = until(&deliver, |status| status.state == ConnectorState::Inactive).await;
    assert_eq!((status.written, status.errors), (2, 0));
    world.log([4]).await;

    // A restart in between changes nothing.
    deliver.stop().await;
    drop(deliver);
    let deliver = world.start(&[inactive]).await;
    until(&deliver, |status| status.state == ConnectorState::Inactive).await;
    world.apply(&deliver, &[active]).await;
    until(&deliver, |status| status.written == 4).await;
    assert_eq!(function.numbers(), [vec![1, 2], vec![3, 4]]);
}

#[tokio::test]
async fn what_waited_to_become_a_batch_is_read_again() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    let document = with(to_function(), json!({"target": {"batch_wait_ms": 60_000}}));
    let deliver = world.start(std::slice::from_ref(&document)).await;
    world.log([1]).await;
    world.clock.waited_for(1).await;
    world.apply(&deliver, &[with(document.clone(), json!({"state": "inactive"}))]).await;
    until(&deliver, |status| status.state == ConnectorState::Inactive).await;
    world.log([2]).await;
    world.apply(&deliver, &[document]).await;
    world.clock.waited_for(2).await;
    world.clock.advance(SECS(60));
    let status = until(&deliver, |status| status.written == 2).await;
    assert_eq!((function.numbers(), status.read), (vec![vec![1, 2]], 2));
}

#[tokio::test]
async fn deactivating_ends_the_wait_for_another_try() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.rule(|_| answered(502, ""));
    world.log([1]).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, waits).await;
    world.apply(&deliver, &[with(to_function(), json!({"state": "inactive"}))]).await;
    until(&deliver, |status| status.state == ConnectorState::Inactive).await;
    function.rule(|_| ok());
    world.apply(&deliver, &[to_function()]).await;
    until(&deliver, |status| status.written == 1).await;
    let calls = function.calls();
    assert_eq!(calls[0], calls[1]);
}

#[tokio::test]
async fn who_activates_again_need_not_wait() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.script([unknown("it is not installed")]);
    world.log([1]).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, needs_attention).await;
    deliver.activate_again(&id("siem")).await.unwrap();
    let status = until(&deliver, |status| status.written == 1).await;
    assert_eq!(status.state, ConnectorState::Running);
    assert!(deliver.activate_again(&id("nobody")).await.is_err());
}

/// Records, limits, and the batches that come of them.
#[tokio::test]
async fn batches_close_by_count_and_by_size() {
    let long = |bytes: usize| json!({"data": {"n": 0, "text": "x".repeat(bytes)}}).to_string();
    let around = long(0).len();
    let cases = [
        (vec![long(1); 8], json!({"batch_records_max": 3}), vec![3, 3, 2]),
        (vec![long(2_000 - around - 1); 5], json!({"batch_bytes_max": 4_001}), vec![2, 2, 1]),
        (vec![long(2_000 - around - 1); 5], json!({"batch_bytes_max": 4_000}), vec![1, 1, 1, 1, 1]),
        // OCI's largest: six records of a megabyte and what is around them are more, five are not.
        (vec![long(1_000_000 - around); 7], json!({"batch_bytes_max": 6_000_000}), vec![5, 2]),
    ];
    for (records, target, expected) in cases {
        let mut world = World::new();
        let function = Function::of(&mut world);
        let count = records.len() as u64;
        world.append(oci(records.iter().map(String::as_str))).await;
        let document = with(to_function(), json!({"source": null, "target": target}));
        let deliver = world.start(&[document]).await;
        until(&deliver, |status| status.written == count).await;
        let sizes: Vec<u64> = function.calls().iter().map(|call| call.records).collect();
        assert_eq!(sizes, expected, "{target}");
        let most = target["batch_bytes_max"].as_u64().unwrap_or(u64::MAX);
        assert!(function.calls().iter().all(|call| call.body.len() as u64 <= most), "{target}");
    }
}

#[tokio::test]
async fn batches_close_by_time() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    let changes = json!({"target": {"batch_wait_ms": 600_000, "batch_records_max": 3}});
    let deliver = world.start(&[with(to_function(), changes)]).await;
    world.log([1]).await;
    assert_eq!(world.clock.waited_for(1).await, [SECS(600)]);
    assert_eq!(function.calls().len(), 0);
    // What comes meanwhile joins it; the wait is that of its first record.
    world.log([2]).await;
    world.log([3]).await;
    until(&deliver, |status| status.written == 3).await;
    assert_eq!(world.clock.waited_for(1).await, [SECS(600)]);
    world.log([4]).await;
    world.clock.waited_for(2).await;
    world.clock.advance(SECS(600));
    until(&deliver, |status| status.written == 4).await;
    assert_eq!(function.numbers(), [vec![1, 2, 3], vec![4]]);
}

/// How the first process comes to its end, with one call behind it.
#[derive(Debug, Clone, Copy)]
enum End {
    KilledDuring,
    KilledAfterFailure,
    Stopped,
}

/// What was frozen stays as it was, whatever becomes of the document.
#[tokio::test]
async fn a_call_after_a_crash_is_the_same_call() {
    let changes = [
        json!({}),
        json!({"source": {"query": "data.n = 99"}}),
        json!({"source": {"scopes": []}}),
        json!({"target": {"function": "ocid1.fnfunc.oc1.x.8"}}),
    ];
    for end in [End::KilledDuring, End::KilledAfterFailure, End::Stopped] {
        for change in &changes {
            let mut world = World::new();
            let function = Function::of(&mut world);
            // The filter leaves some out, and the batch ends within a frame.
            world.log([1, 3]).await;
            world.log_with_hops([2, 5, 4], 3).await;
            world.log([6, 8, 10]).await;
            let changed = json!({"source": {"query": "data.even = true"}, "target": {"batch_records_max": 4}});
            let document = with(to_function(), changed);
            function.script([match end {
                End::KilledDuring | End::Stopped => Told::Silent,
                End::KilledAfterFailure => answered(502, ""),
            }]);
            let deliver = world.start(std::slice::from_ref(&document)).await;
            function.wait_for(1).await;
            match end {
                End::KilledDuring => {}
                End::KilledAfterFailure => drop(until(&deliver, waits).await),
                End::Stopped => deliver.stop().await,
            }
            drop(deliver);

            function.script([answered(502, "")]);
            let deliver = world.start(&[with(document, change.clone())]).await;
            until(&deliver, waits).await;
            world.clock.advance(SECS(60));
            until(&deliver, |status| status.lag_bytes == 0 && status.state == ConnectorState::Running).await;
            let calls = function.calls();
            for again in &calls[1..3] {
                let same = (&calls[0].body, &calls[0].key, calls[0].records, calls[0].hops);
                assert_eq!(same, (&again.body, &again.key, again.records, again.hops), "{end:?} {change}");
            }
            assert_eq!((function.numbers()[0].clone(), calls[0].hops), (vec![2, 4, 6, 8], 3));
            let called = change["target"]["function"].as_str().unwrap_or("ocid1.fnfunc.oc1.x.7");
            assert_eq!(calls[2].function, called);
        }
    }
}

/// Quick calls share a transaction; the one that takes long holds the settling of those before it back no longer.
#[tokio::test]
async fn what_was_taken_is_settled_while_the_next_call_takes_long() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    world.log(1..=20).await;
    function.script([ok(), ok(), suspicious("1 error"), Told::Silent]);
    let document = with(to_function(), json!({"target": {"batch_records_max": 1}}));
    let deliver = world.start(std::slice::from_ref(&document)).await;
    let status = until(&deliver, |status| status.written == 3).await;
    assert_eq!((status.read, status.suspicious, status.lag_ms.is_some()), (3, 1, true));
    drop(deliver);

    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    assert_eq!((status.read, status.written, status.suspicious), (20, 20, 1));
    let numbers: Vec<i64> = function.numbers().concat();
    assert_eq!(numbers, [1, 2, 3, 4].into_iter().chain(4..=20).collect::<Vec<_>>());
}

/// A crash between calls that share a transaction repeats some of them, byte for byte and in their order.
#[tokio::test]
async fn a_crash_repeats_no_more_than_what_was_to_be_settled_together() {
    for kill_at in 1..20 {
        let mut world = World::new();
        let function = Function::of(&mut world);
        world.log(1..=30).await;
        let document = with(to_function(), json!({"target": {"batch_records_max": 1}}));
        let deliver = world.start(std::slice::from_ref(&document)).await;
        function.wait_for(kill_at).await;
        drop(deliver);
        let killed = function.calls().len();

        let deliver = world.start(&[document]).await;
        let status = until(&deliver, |status| status.lag_bytes == 0).await;
        assert_eq!((status.read, status.written), (30, 30));
        let (calls, numbers) = (function.calls(), function.numbers().concat());
        let (before, after) = numbers.split_at(killed);
        assert!(before.iter().copied().eq(1..=killed as i64), "{numbers:?}");
        let first = after.first().copied().unwrap_or(31);
        assert!(after.iter().copied().eq(first..=30) && first <= killed as i64 + 1, "{numbers:?}");
        assert!(killed as i64 - first < 8, "{numbers:?}");
        for (call, number) in calls[killed..].iter().zip(after).take_while(|(_, number)| **number <= killed as i64) {
            let earlier = &calls[*number as usize - 1];
            assert_eq!((&call.body, &call.key), (&earlier.body, &earlier.key), "{number}");
        }
    }
}

/// A function that cannot take as much at once is given less once its connector says so.
#[tokio::test]
async fn a_batch_that_is_too_much_is_cut_anew_when_the_document_asks_for_less() {
    let mut world = World::with(TestClock::leaping(), LogOptions::default());
    let function = Function::of(&mut world);
    function.rule(|call| if call.records > 2 { failed(Some(504), "killed after 30 s") } else { ok() });
    world.log([1, 2, 3]).await;
    world.log([4, 5]).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, |status| status.errors > 2).await;
    let smaller = with(to_function(), json!({"target": {"batch_records_max": 2}}));
    world.apply(&deliver, &[smaller]).await;
    let status = until(&deliver, |status| status.written == 5).await;
    assert_eq!((status.read, status.lag_bytes), (5, 0));
    let taken: Vec<Vec<i64>> = function.numbers().into_iter().filter(|numbers| numbers.len() <= 2).collect();
    assert_eq!(taken, [vec![1, 2], vec![3, 4], vec![5]]);
}

#[tokio::test]
async fn a_batch_frozen_for_another_target_goes_to_the_one_of_today() {
    for (target, first) in [(json!({"gzip": true}), true), (json!({"format": "ndjson"}), false)] {
        let mut world = World::new();
        let (function, third) = (Function::of(&mut world), ThirdParty::start().await);
        third.rule(|_| Answer::status(503));
        world.append(raw(["one", "two"])).await;
        let http = with(connector(&third.url("/")), json!({"target": target}));
        let deliver = world.start(&[http]).await;
        until(&deliver, waits).await;
        let now =
            with(to_function(), json!({"source": null, "target": {"batch_records_max": if first { 1 } else { 9 }}}));
        world.apply(&deliver, &[now]).await;
        let status = until(&deliver, |status| status.written == 2).await;
        assert_eq!((status.read, status.lag_bytes), (2, 0));
        let bodies: Vec<Value> =
            function.calls().iter().map(|call| serde_json::from_slice(&call.body).unwrap()).collect();
        let texts: Vec<&str> = bodies
            .iter()
            .flat_map(|body| body.as_array().unwrap().iter().map(|record| record["text"].as_str().unwrap()))
            .collect();
        assert_eq!((texts, bodies.len()), (vec!["one", "two"], if first { 2 } else { 1 }));
    }
}

#[tokio::test]
async fn many_connectors_share_the_disk_and_nothing_else() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    function.rule(|call| if call.connector.name == "dead" { answered(502, "") } else { ok() });
    let named = |name: &str| with(to_function(), json!({"name": name, "target": {"batch_records_max": 1}}));
    let names = ["a", "b", "c", "d", "dead"];
    let documents: Vec<Value> = names.iter().map(|name| named(name)).collect();
    world.log(1..=50).await;
    let deliver = world.start(&documents).await;
    for name in &names[..4] {
        let status = until_named(&deliver, name, |status| status.written == 50).await;
        assert_eq!((status.lag_bytes, status.errors), (0, 0));
        let calls = function.calls();
        let bodies: Vec<_> =
            calls.iter().filter(|call| call.connector.name == *name).map(|call| call.body.to_vec()).collect();
        let expected: Vec<Vec<u8>> = (1..=50).map(|number| format!("[{}]", entry(number)).into_bytes()).collect();
        assert_eq!(bodies, expected);
    }
    let dead = until_named(&deliver, "dead", waits).await;
    assert_eq!(dead.written, 0);
    assert_eq!(deliver.lowest_cursor(), Some(dead.cursor));
}

#[derive(Debug, Clone)]
struct Story {
    /// How many records each frame holds.
    frames: Vec<usize>,
    /// The first answers: 0 takes it, others do not.
    answers: Vec<u8>,
    records_max: usize,
    even_only: bool,
    /// Kills after so many calls each, then lets it run.
    kills: Vec<usize>,
}

fn story() -> impl Strategy<Value = Story> {
    let frames = proptest::collection::vec(1usize..9, 1..6);
    let answers = proptest::collection::vec(0u8..5, 0..12);
    let kills = proptest::collection::vec(1usize..5, 0..4);
    (frames, answers, 1usize..7, any::<bool>(), kills).prop_map(|(frames, answers, records_max, even_only, kills)| {
        Story { frames, answers, records_max, even_only, kills }
    })
}

async fn check(story: &Story) {
    let mut world = World::with(TestClock::leaping(), LogOptions::default());
    let function = Function::of(&mut world);
    let mut next = 1;
    for records in &story.frames {
        world.log(next..next + *records as i64).await;
        next += *records as i64;
    }
    let expected: Vec<i64> = (1..next).filter(|number| !story.even_only || number % 2 == 0).collect();
    function.script(story.answers.iter().map(|answer| match answer {
        0 => ok(),
        1 => answered(502, ""),
        2 => failed(None, "gone"),
        3 => unknown("not installed"),
        _ => suspicious("1 error"),
    }));
    let query = if story.even_only { "data.even = true" } else { "true" };
    let changes = json!({"source": {"query": query}, "target": {"batch_records_max": story.records_max}});
    let document = with(to_function(), changes);
    let end = world.log.status().durable_to;
    for kill in &story.kills {
        let deliver = world.start(std::slice::from_ref(&document)).await;
        let calls = function.calls().len() + kill;
        tokio::select! {
            _ = function.wait_for(calls) => {}
            _ = until(&deliver, |status| status.cursor == end) => {}
        }
    }
    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.cursor == end).await;
    let counts = (status.read, status.written, status.dead_letters);
    assert_eq!(counts, (next as u64 - 1, expected.len() as u64, 0), "{story:?}");

    let mut order: Vec<i64> = Vec::new();
    let mut bodies = std::collections::HashMap::new();
    for (call, numbers) in function.calls().into_iter().zip(function.numbers()) {
        let before = bodies.entry(call.key.clone()).or_insert_with(|| call.body.clone());
        assert_eq!(*before, call.body, "one key, two bodies: {story:?}");
        // Attempts repeat; leaving repeats out, the order is the log's.
        order.extend(
            numbers.into_iter().filter(|number| order.last().is_none_or(|last| number > last)).collect::<Vec<_>>(),
        );
    }
    assert_eq!(order, expected, "{story:?}");
}

#[test]
fn nothing_is_lost_whatever_a_function_answers_and_whenever_the_process_dies() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(story in story())| runtime.block_on(check(&story)));
}
