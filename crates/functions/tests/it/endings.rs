//! How processes end when they do not end well, and that nobody else notices.

use std::time::Duration;

use functions::{InvokeError, State};

use crate::world::{World, call};

const COUNTS: &str = "n = 0\ndef handler(ctx, data=None):\n    global n\n    n += 1\n    return str(n)\n";

#[tokio::test]
async fn a_call_past_its_timeout_is_killed() {
    let Some(world) = World::open().await else { return };
    let code = "import time, sys\ndef handler(ctx, data=None):\n    print('before', flush=True)\n    \
                if data.getvalue():\n        time.sleep(600)\n    return 'ok'\n";
    let timeout = Duration::from_millis(1_500);
    world.deploy("sleeps", code, |spec| spec.timeout = timeout).await;
    assert_eq!(world.text("sleeps", "").await, "ok");
    let error = world.call("sleeps", "x").await.unwrap_err();
    assert_eq!(error, InvokeError::TimedOut { after: timeout });
    let report = world.report("sleeps");
    assert_eq!((report.state, report.note.as_deref()), (State::Failed, Some("no answer within 1.5 s")));
    assert!(report.took_ms >= 1_500.0);
    assert!(world.said("sleeps").last().unwrap().contains("with error code 504"));
    assert_eq!(world.printed("sleeps"), ["stdout|before"; 2]);
    assert_eq!(world.text("sleeps", "").await, "ok");
}

#[tokio::test]
async fn a_handler_that_cannot_be_imported_fails_each_call() {
    let Some(world) = World::open().await else { return };
    world.deploy("broken", "import nothing_of_that_name\ndef handler(ctx, data=None): pass\n", |_| {}).await;
    for _ in 0..2 {
        let answer = world.call("broken", "").await.unwrap();
        assert_eq!((answer.status, answer.state), (502, State::Failed));
        let note = answer.note.unwrap();
        assert!(note.contains("No module named 'nothing_of_that_name'"), "{note}");
    }
}

#[tokio::test]
async fn a_process_that_does_not_come_up_says_why_and_is_tried_again() {
    let Some(world) = World::open().await else { return };
    // The FDK wants the file when it starts.
    world.deploy("absent", COUNTS, |spec| spec.handler.file = "other.py".to_owned()).await;
    let mut tried = Vec::new();
    for _ in 0..3 {
        let error = world.call("absent", "").await.unwrap_err().to_string();
        assert!(
            error.contains("exited with status 1 at its start") && error.contains("other.py doesn't exist"),
            "{error}"
        );
        tried.push(!error.contains("tried 2 times"));
    }
    // The third call comes while the next try has to wait, and is told at once.
    assert_eq!(tried, [true, true, false]);
    assert_eq!(world.functions.calls("absent", 9).unwrap().len(), 2);
    assert!(world.printed("absent")[0].contains("other.py doesn't exist"));
    // A changed function is tried at once.
    world.deploy("absent", COUNTS, |_| {}).await;
    assert_eq!(world.text("absent", "").await, "1");
}

#[tokio::test]
async fn a_leak_is_killed_at_the_limit_and_others_go_on() {
    let Some(world) = World::open().await else { return };
    let code = "import time\nheld = []\ndef handler(ctx, data=None):\n    while True:\n        \
                held.append(bytearray(1 << 20))\n        time.sleep(0.002)\n";
    world.deploy("leaks", code, |spec| spec.memory_mib = 128).await;
    world.deploy("counts", COUNTS, |_| {}).await;
    assert_eq!(world.text("counts", "").await, "1");
    let error = world.call("leaks", "").await.unwrap_err();
    let InvokeError::Killed { why } = error else { panic!("{error:?}") };
    let used = why.strip_prefix("killed: it used ").and_then(|rest| rest.split(' ').next()).unwrap();
    let used: u32 = used.parse().unwrap();
    assert!((140..400).contains(&used), "{why}");
    assert!(why.ends_with("its limit is 128 MiB"), "{why}");
    let report = world.report("leaks");
    assert!(report.memory_peak_bytes >> 20 >= 140, "{report:?}");
    assert_eq!(world.text("counts", "").await, "2");
}

#[tokio::test]
async fn a_leak_between_calls_is_killed_too() {
    let Some(world) = World::open().await else { return };
    let code = r#"
import threading, time
held = []
def leak():
    while True:
        held.append(bytearray(1 << 20))
        print('still here', flush=True)
        time.sleep(0.002)
def handler(ctx, data=None):
    threading.Thread(target=leak, daemon=True).start()
"#;
    world.deploy("leaks", code, |spec| (spec.memory_mib, spec.idle_timeout) = (128, Duration::from_secs(60))).await;
    assert_eq!(world.call("leaks", "").await.unwrap().state, State::Ok);
    world.until_line("leaks", "killed: it used ").await;
    world.until_gone("leaks").await;
}

#[tokio::test]
async fn a_function_that_prints_without_end_is_ended_at_its_timeout() {
    let Some(world) = World::open().await else { return };
    let code = "import os\ndef handler(ctx, data=None):\n    while True:\n        os.write(1, b'x' * 65535 + b'\\n')\n";
    world.deploy("floods", code, |spec| spec.timeout = Duration::from_secs(1)).await;
    assert!(matches!(world.call("floods", "").await, Err(InvokeError::TimedOut { .. })));
    assert_eq!(world.printed("floods").len(), 16, "a megabyte of lines");
    world.until_gone("floods").await;
}

#[tokio::test]
async fn memory_of_child_processes_counts() {
    let Some(world) = World::open().await else { return };
    let code = r#"
import os, time
def handler(ctx, data=None):
    pid = os.fork()
    if pid == 0:
        if os.fork() != 0:
            os._exit(0)
        held = bytearray(200 << 20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        time.sleep(600)
    os.waitpid(pid, 0)
    time.sleep(600)
"#;
    world.deploy("forks", code, |spec| spec.memory_mib = 128).await;
    let error = world.call("forks", "").await.unwrap_err();
    assert!(error.to_string().starts_with("killed: it used "), "{error}");
    world.until_gone("forks").await;
}

#[tokio::test]
async fn nothing_that_a_function_started_outlives_it() {
    let Some(world) = World::open().await else { return };
    let code = r#"
import os, sys, time
def handler(ctx, data=None):
    for _ in range(3):
        if os.fork() == 0:
            try:
                os.setsid()
            except PermissionError:
                os.write(1, b'it stays in its group\n')
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
    time.sleep(600)
"#;
    world.deploy("forks", code, |spec| spec.timeout = Duration::from_secs(1)).await;
    assert!(matches!(world.call("forks", "").await, Err(InvokeError::TimedOut { .. })));
    assert_eq!(world.printed("forks"), ["stdout|it stays in its group"; 3]);
    world.until_gone("forks").await;
}

#[tokio::test]
async fn too_many_processes_are_ended() {
    let Some(world) = World::open().await else { return };
    let code = r#"
import os, time
def handler(ctx, data=None):
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(600)
    time.sleep(600)
"#;
    world.deploy("bomb", code, |spec| spec.memory_mib = 4096).await;
    let error = world.call("bomb", "").await.unwrap_err().to_string();
    assert!(error.contains("50 are allowed"), "{error}");
    world.until_gone("bomb").await;
}

#[tokio::test]
async fn a_process_killed_from_outside_fails_its_call_and_the_next_goes_on() {
    let Some(world) = World::open().await else { return };
    let code = "import os, time\ndef handler(ctx, data=None):\n    if data.getvalue():\n        \
                print(os.getpid(), flush=True)\n        time.sleep(600)\n    return 'ok'\n";
    world.deploy("killed", code, |_| {}).await;
    let functions = world.functions.clone();
    let running = tokio::spawn(async move { functions.invoke("killed", call("x")).await });
    world.until_line("killed", "").await;
    let pid = loop {
        match world.printed("killed").first() {
            Some(line) => break line.strip_prefix("stdout|").unwrap().parse::<i32>().unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    // SAFETY: the number is that of a process that this test has started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "its process was ended by signal 9 before it answered");
    assert_eq!(world.text("killed", "").await, "ok");
}

#[tokio::test]
async fn stopping_lets_calls_end_and_then_ends_them() {
    let Some(world) = World::open().await else { return };
    let code = "import time\ndef handler(ctx, data=None):\n    print('begun', flush=True)\n    \
                time.sleep(float(data.getvalue()))\n    return 'ok'\n";
    world.deploy("short", code, |_| {}).await;
    world.deploy("long", code, |_| {}).await;
    let start = |name: &'static str, secs: &'static str| {
        let functions = world.functions.clone();
        tokio::spawn(async move { functions.invoke(name, call(secs)).await })
    };
    let (short, long) = (start("short", "0.3"), start("long", "600"));
    world.until_line("short", "begun").await;
    world.until_line("long", "begun").await;
    world.functions.stop().await;
    assert_eq!(short.await.unwrap().unwrap().body, "ok");
    assert_eq!(long.await.unwrap().unwrap_err(), InvokeError::Stopping);
    assert_eq!(world.call("short", "0").await.unwrap_err(), InvokeError::Stopping);
    world.until_gone("short").await;
    world.until_gone("long").await;
    // What had begun is on record.
    assert_eq!(world.functions.calls("long", 9).unwrap().len(), 1);
}
