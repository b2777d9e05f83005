//! A function whose log comes back to it.

use deliver::{ConnectorState, Whereabouts};
use serde_json::{Value, json};

use crate::fake_function::{Function, LOG, answered, to_function};
use crate::world::{World, id, instance, needs_attention, until, waits, with};

/// The seventh call in a row is made, the eighth is not.
const LAST: u32 = event::limits::LOOP_HOPS_MAX - 1;

fn one_by_one() -> Value {
    with(to_function(), json!({"run_log": true, "target": {"batch_records_max": 1}}))
}

#[tokio::test]
async fn calls_carry_the_hops_of_their_records() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    world.log([1]).await;
    world.log_with_hops([2], LAST).await;
    world.log_with_hops([3], 1).await;
    let deliver = world.start(&[to_function()]).await;
    until(&deliver, |status| status.written == 3).await;
    let hops: Vec<(u64, u32)> = function.calls().iter().map(|call| (call.records, call.hops)).collect();
    assert_eq!(hops, [(3, LAST)]);
}

/// As the real thing goes: what a call logs comes back with one hop more, until it stops.
#[tokio::test]
async fn a_loop_comes_to_an_end() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    world.log([0]).await;
    let deliver = world.start(&[one_by_one()]).await;
    for number in 0..=LAST {
        let calls = function.wait_for(number as usize + 1).await;
        world.log_with_hops([i64::from(number) + 1], calls[number as usize].hops + 1).await;
    }
    let status = until(&deliver, needs_attention).await;
    let ConnectorState::NeedsAttention { reason } = &status.state else { unreachable!() };
    for part in [LOG, "function fwd", "8 calls", "activate"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!((status.written, function.calls().len()), (8, 8));
    assert!(status.last_error.unwrap().message.contains("a loop"));
}

/// How somebody may act on a connector that a loop stopped.
#[derive(Debug, Clone, Copy)]
enum Acts {
    Changes,
    ActivatesAgain,
    DeactivatesAndActivates,
    DeactivatesRestartsAndActivates,
}

#[tokio::test]
async fn it_stays_stopped_until_somebody_acts_and_then_passes_the_loop_over() {
    use Acts::*;
    for acts in [Changes, ActivatesAgain, DeactivatesAndActivates, DeactivatesRestartsAndActivates] {
        let mut world = World::new();
        let function = Function::of(&mut world);
        let document = one_by_one();
        let inactive = with(document.clone(), json!({"state": "inactive"}));
        world.log([1]).await;
        let (looping, position) = world.log_with_hops([2, 3], LAST + 1).await;
        world.log([4]).await;
        world.log_with_hops([5], LAST + 2).await;
        let mut deliver = world.start(std::slice::from_ref(&document)).await;
        let stopped = until(&deliver, needs_attention).await;
        assert_eq!((stopped.written, stopped.read, stopped.passed_over), (1, 1, 0));
        let at = |deliver: &deliver::Deliver| deliver.whereabouts(instance(), looping[0], position).unwrap();
        assert_eq!(at(&deliver), [(id("siem"), Whereabouts::Waiting)]);

        // Neither the same document nor a restart is somebody.
        world.apply(&deliver, std::slice::from_ref(&document)).await;
        drop(deliver);
        deliver = world.start(std::slice::from_ref(&document)).await;
        let still = until(&deliver, needs_attention).await;
        assert_eq!((still.state, still.written), (stopped.state, 1));

        match acts {
            Changes => world.apply(&deliver, &[with(document.clone(), json!({"attention_ms": 1}))]).await,
            ActivatesAgain => deliver.activate_again(&id("siem")).await.unwrap(),
            DeactivatesAndActivates | DeactivatesRestartsAndActivates => {
                world.apply(&deliver, std::slice::from_ref(&inactive)).await;
                until(&deliver, |status| status.state == ConnectorState::Inactive).await;
                if matches!(acts, DeactivatesRestartsAndActivates) {
                    drop(deliver);
                    deliver = world.start(&[inactive]).await;
                    until(&deliver, |status| status.state == ConnectorState::Inactive).await;
                }
                world.apply(&deliver, std::slice::from_ref(&document)).await;
            }
        }
        let status = until(&deliver, |status| status.lag_bytes == 0).await;
        assert_eq!((status.written, status.read, status.passed_over), (2, 5, 3), "{acts:?}");
        assert_eq!(status.state, ConnectorState::Running, "{acts:?}");
        assert_eq!(function.numbers(), [[1], [4]], "{acts:?}");
        assert_eq!(at(&deliver), [(id("siem"), Whereabouts::PassedOver)]);
        let said: Vec<String> = function.run_log("siem").iter().map(|entry| entry.message.clone()).collect();
        assert!(said.iter().any(|said| said.starts_with("Stopped: a loop")), "{said:#?}");
        let passed = format!("the first of them {} of {LOG}", looping[0]);
        assert!(said.iter().any(|said| said.contains(&passed)), "{said:#?}");

        // What loops anew stops it anew.
        world.log_with_hops([6], LAST + 1).await;
        let status = until(&deliver, needs_attention).await;
        assert_eq!((status.written, status.passed_over), (2, 3), "{acts:?}");
    }
}

/// What was passed over on a batch's way is left out of it after a crash, too, and counted once.
#[tokio::test]
async fn a_crash_on_the_way_over_a_loop() {
    let mut world = World::new();
    let function = Function::of(&mut world);
    world.log_with_hops([1], LAST + 1).await;
    world.log([2]).await;
    world.log_with_hops([3], LAST + 1).await;
    world.log([4]).await;
    let document = to_function();
    let deliver = world.start(std::slice::from_ref(&document)).await;
    until(&deliver, needs_attention).await;
    function.script([crate::fake_function::Told::Silent]);
    deliver.activate_again(&id("siem")).await.unwrap();
    function.wait_for(1).await;
    drop(deliver);

    function.script([answered(502, "")]);
    let deliver = world.start(std::slice::from_ref(&document)).await;
    until(&deliver, waits).await;
    drop(deliver);
    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    assert_eq!((status.written, status.read, status.passed_over), (2, 4, 2));
    let calls = function.calls();
    assert_eq!(function.numbers(), [[2, 4], [2, 4], [2, 4]]);
    assert!(calls.iter().all(|call| call.key == calls[0].key && call.body == calls[0].body));
}

/// Only functions make records of records: what goes to others goes on.
#[tokio::test]
async fn other_targets_are_not_stopped() {
    let world = World::new();
    let third = testkit::third_party::ThirdParty::start().await;
    world.log_with_hops([1], LAST + 1).await;
    let deliver = world.start(&[crate::world::connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.written == 1).await;
    assert_eq!(status.state, ConnectorState::Running);
}
