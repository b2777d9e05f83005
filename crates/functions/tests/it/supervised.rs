//! Who gets the next call: queues, several processes, changes, idle stops.

use std::time::Duration;

use functions::{Call, InvokeError};
use tokio::task::JoinHandle;

use crate::world::{World, call};

/// Says who it is; waits for a file of its own name where it is told to.
const GATE: &str = r#"
import os, time
def handler(ctx, data=None):
    name = data.getvalue().decode()
    print(f'begun {name}', flush=True)
    while name and not os.path.exists(os.path.join(os.path.dirname(__file__), name)):
        time.sleep(0.005)
    return f"{os.getpid()} {os.environ.get('COLOUR')}"
"#;

fn start(world: &World, body: &'static str) -> JoinHandle<Result<functions::Answer, InvokeError>> {
    let functions = world.functions.clone();
    tokio::spawn(async move { functions.invoke("gate", call(body)).await })
}

fn open_gate(world: &World, name: &str) {
    std::fs::write(world.dir.path().join("functions/code/gate/v1/code").join(name), "").unwrap();
}

fn body(answer: Result<Result<functions::Answer, InvokeError>, tokio::task::JoinError>) -> (String, String) {
    let answer = answer.unwrap().unwrap();
    let (pid, colour) = std::str::from_utf8(&answer.body).unwrap().split_once(' ').unwrap();
    (pid.to_owned(), colour.to_owned())
}

#[tokio::test]
async fn one_process_takes_one_call_at_a_time_in_order() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    let first = start(&world, "first");
    world.until_line("gate", "begun first").await;
    let waiting: Vec<_> = ["b", "c"].into_iter().map(|name| start(&world, name)).collect();
    tokio::task::yield_now().await;
    for name in ["c", "b", "first"] {
        open_gate(&world, name);
    }
    let (pid, _) = body(first.await);
    for call in waiting {
        assert_eq!(body(call.await).0, pid);
    }
    assert_eq!(world.printed("gate"), ["stdout|begun first", "stdout|begun b", "stdout|begun c"]);
}

#[tokio::test]
async fn several_processes_run_at_once_but_not_more() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |spec| spec.processes = 2).await;
    let (a, b, c) = (start(&world, "a"), start(&world, "b"), start(&world, "c"));
    world.until_line("gate", "begun a").await;
    world.until_line("gate", "begun b").await;
    assert!(!world.printed("gate").contains(&"stdout|begun c".to_owned()));
    open_gate(&world, "c");
    open_gate(&world, "b");
    let (second, third) = (body(b.await).0, body(c.await).0);
    assert_eq!(second, third, "the third went to the one that was free");
    open_gate(&world, "a");
    assert_ne!(body(a.await).0, second);
}

#[tokio::test]
async fn a_changed_configuration_is_there_after_the_current_call() {
    let Some(world) = World::open().await else { return };
    let paint = |colour: &str| {
        let config = [("COLOUR".to_owned(), colour.to_owned())].into();
        move |spec: &mut functions::Spec| spec.config = config
    };
    world.deploy("gate", GATE, paint("red")).await;
    let running = start(&world, "x");
    world.until_line("gate", "begun x").await;
    world.deploy("gate", GATE, paint("blue")).await;
    let next = start(&world, "");
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    open_gate(&world, "x");
    let (red, blue) = (body(running.await), body(next.await));
    assert_eq!((red.1.as_str(), blue.1.as_str()), ("red", "blue"));
    assert_ne!(red.0, blue.0);
    // An idle process gives way at once.
    world.deploy("gate", GATE, paint("green")).await;
    assert_eq!(body(start(&world, "").await).1, "green");
    // What no process sees replaces none.
    let before = body(start(&world, "").await).0;
    world
        .deploy("gate", GATE, |spec| {
            paint("green")(spec);
            spec.timeout = Duration::from_secs(60);
        })
        .await;
    assert_eq!(body(start(&world, "").await).0, before);
}

#[tokio::test]
async fn an_idle_process_is_stopped_and_started_again_when_needed() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |spec| spec.idle_timeout = Duration::from_millis(100)).await;
    let first = body(start(&world, "").await).0;
    world.until_gone("gate").await;
    assert_ne!(body(start(&world, "").await).0, first);
    let left = || std::fs::read_dir(world.dir.path().join("functions/run")).unwrap().count();
    world.until_gone("gate").await;
    while left() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn functions_share_the_places_that_there_are() {
    let Some(world) = World::open_with(|settings| settings.processes_max = 1).await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    world.deploy("other", "def handler(ctx, data=None): return 'other'\n", |_| {}).await;
    // Turn by turn: the idle one gives way.
    for _ in 0..2 {
        body(start(&world, "").await);
        assert_eq!(world.text("other", "").await, "other");
    }
}

#[tokio::test]
async fn a_call_that_has_waited_too_long_is_told_so_and_never_runs() {
    let Some(world) = World::open_with(|settings| settings.init_timeout = Duration::from_secs(5)).await else { return };
    world.deploy("gate", GATE, |spec| spec.timeout = Duration::from_millis(10_000)).await;
    let first = start(&world, "first");
    world.until_line("gate", "begun first").await;
    world.deploy("gate", GATE, |spec| spec.timeout = Duration::from_millis(12_000)).await;
    // Many wait: the queue has an end.
    let mut calls = Vec::new();
    for _ in 0..1_001 {
        calls.push(start(&world, ""));
        tokio::task::yield_now().await;
    }
    let mut busy = 0;
    open_gate(&world, "first");
    body(first.await);
    for call in calls {
        match call.await.unwrap() {
            Ok(answer) => assert_eq!(answer.status, 200),
            Err(error) => {
                assert_eq!(error, InvokeError::Busy { why: "1000 calls wait".to_owned() });
                busy += 1;
            }
        }
    }
    assert_eq!(busy, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_nothing_that_has_begun() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    let (running, waiting) = (start(&world, "x"), start(&world, "y"));
    world.until_line("gate", "begun x").await;
    running.abort();
    waiting.abort();
    let _ = (running.await, waiting.await);
    open_gate(&world, "x");
    body(start(&world, "").await);
    // The first ran to its end, the second never began.
    assert_eq!(world.functions.calls("gate", 9).unwrap().len(), 2);
    assert_eq!(world.printed("gate"), ["stdout|begun x", "stdout|begun "]);
}

#[tokio::test]
async fn reports_say_what_a_call_was() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    let call = Call { records: Some(7), by: "a-connector".to_owned(), call_id: Some("C7".to_owned()), ..call("") };
    world.functions.invoke("gate", call).await.unwrap();
    let report = world.report("gate");
    assert_eq!((report.call_id.as_str(), report.by.as_str(), report.records), ("C7", "a-connector", Some(7)));
    assert_eq!((report.function.as_str(), report.version.as_str()), ("gate", "v1"));
    assert!(report.memory_peak_bytes > 5 << 20 && report.took_ms > 0.0, "{report:?}");
    world.functions.remove("gate").await;
    assert!(world.functions.calls("gate", 9).unwrap().is_empty());
    assert!(!world.dir.path().join("functions/code/gate").exists());
    assert_eq!(world.call("gate", "").await.unwrap_err(), InvokeError::Unknown);
}

#[tokio::test]
async fn a_process_that_died_while_idle_costs_no_call() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    for _ in 0..3 {
        let pid: i32 = body(start(&world, "").await).0.parse().unwrap();
        // SAFETY: the number is that of a process that this test has started.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        // While it is about to end, its socket still takes what it will never answer.
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            tokio::task::yield_now().await;
        }
        assert_ne!(body(start(&world, "").await).0, pid.to_string());
    }
}

#[tokio::test]
async fn a_function_that_is_taken_out_ends_its_call_and_can_come_back() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    let (running, waiting) = (start(&world, "x"), start(&world, "y"));
    world.until_line("gate", "begun x").await;
    world.functions.apply(Vec::new()).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), InvokeError::Unknown);
    assert_eq!(world.call("gate", "").await.unwrap_err(), InvokeError::Unknown);
    world.deploy("gate", GATE, |_| {}).await;
    body(start(&world, "").await);
    open_gate(&world, "x");
    body(running.await);
}

#[tokio::test]
async fn a_function_that_is_taken_out_and_removed_is_gone() {
    let Some(world) = World::open().await else { return };
    world.deploy("gate", GATE, |_| {}).await;
    let running = start(&world, "x");
    world.until_line("gate", "begun x").await;
    world.functions.apply(Vec::new()).await;
    world.functions.remove("gate").await;
    let deleted = InvokeError::Killed { why: "the function was deleted".to_owned() };
    assert_eq!(running.await.unwrap().unwrap_err(), deleted);
    world.until_gone("gate").await;
    assert!(world.functions.versions("gate").is_empty());
}

#[tokio::test]
async fn what_becomes_idle_gives_way_to_who_waits_for_a_place() {
    let Some(world) = World::open_with(|settings| settings.processes_max = 1).await else { return };
    world.deploy("gate", GATE, |spec| spec.idle_timeout = Duration::from_secs(600)).await;
    world.deploy("other", "def handler(ctx, data=None): return 'other'\n", |_| {}).await;
    let running = start(&world, "x");
    world.until_line("gate", "begun x").await;
    let functions = world.functions.clone();
    let other = tokio::spawn(async move { functions.invoke("other", call("")).await });
    tokio::task::yield_now().await;
    open_gate(&world, "x");
    body(running.await);
    assert_eq!(other.await.unwrap().unwrap().body, "other");
}
