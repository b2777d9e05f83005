//! What functions print, and what is made of it.

use functions::{Call, State, Stream};

use crate::world::{World, call};

const PRINTS: &str = r#"
import logging, sys, threading

def handler(ctx, data=None):
    match data.getvalue().decode():
        case 'lines':
            print('one')
            print('two', file=sys.stderr)
            print('no end', end='')
        case 'log':
            logging.getLogger().info('flowlog: ACCEPT TCP 132.145.1.2:36266 -> 10.0.2.121:22')
        case 'swallow':
            try:
                reponse.text
            except (Exception, ValueError) as ex:
                logging.getLogger().error(str(ex))
        case 'much':
            for n in range(10 << 10):
                print('x' * 1023)
        case 'later':
            threading.Timer(0.05, lambda: print('from the background', flush=True)).start()
        case 'while running':
            print('begun', flush=True)
            sys.stdin.read()
            wait.acquire()
"#;

#[tokio::test]
async fn lines_belong_to_their_call() {
    let Some(world) = World::open().await else { return };
    world.deploy("prints", PRINTS, |_| {}).await;
    for (id, body) in [("c1", "lines"), ("c2", "log")] {
        let call = Call { call_id: Some(id.to_owned()), hops: 2, ..call(body) };
        assert_eq!(world.functions.invoke("prints", call).await.unwrap().state, State::Ok);
    }
    let lines: Vec<String> = world
        .all_lines()
        .iter()
        .map(|line| {
            assert_eq!((&*line.function_name, &*line.app_name, line.hops), ("prints-name", "app", 2));
            let message = line.message.split(" seconds").next().unwrap();
            let message = message.rsplit_once(" in ").map_or(message, |(begin, _)| begin);
            format!("{} {:?} {message}", line.call_id.as_deref().unwrap(), line.stream)
        })
        .collect();
    // The two streams of one call are read one after the other.
    let mut lines_of_c1: Vec<String> = lines.iter().filter(|line| line.starts_with("c1")).cloned().collect();
    lines_of_c1.sort();
    assert_eq!(
        lines_of_c1,
        [
            "c1 Platform Received function invocation request",
            "c1 Platform Served function invocation request",
            "c1 Stderr two",
            "c1 Stdout no end",
            "c1 Stdout one",
        ]
    );
    let lines_of_c2: Vec<&String> = lines.iter().filter(|line| line.starts_with("c2")).collect();
    assert_eq!(
        lines_of_c2,
        [
            "c2 Platform Received function invocation request",
            "c2 Stderr c2 - root - INFO - flowlog: ACCEPT TCP 132.145.1.2:36266 -> 10.0.2.121:22",
            "c2 Platform Served function invocation request",
        ]
    );
}

#[tokio::test]
async fn an_error_that_was_swallowed_makes_a_call_suspicious() {
    let Some(world) = World::open().await else { return };
    world.deploy("prints", PRINTS, |_| {}).await;
    let answer = world.call("prints", "swallow").await.unwrap();
    assert_eq!((answer.status, answer.state), (200, State::Suspicious));
    assert_eq!(answer.note.as_deref(), Some("1 error logged: name 'reponse' is not defined"));
    let report = world.report("prints");
    assert_eq!((report.state, report.error_lines, report.note), (State::Suspicious, 1, answer.note));
    let counts = world.functions.counts();
    assert_eq!(counts.iter().map(|minute| (minute.calls, minute.suspicious)).collect::<Vec<_>>(), [(1, 1)]);
}

#[tokio::test]
async fn ten_megabytes_are_read_and_one_is_kept() {
    let Some(world) = World::open().await else { return };
    world.deploy("prints", PRINTS, |_| {}).await;
    assert_eq!(world.call("prints", "much").await.unwrap().state, State::Ok);
    assert_eq!(world.printed("prints").len(), 1 << 10);
    let cut = 9 << 20;
    assert!(world.said("prints").iter().any(|line| line.contains(&format!("{cut} bytes of output were cut"))));
    // The next call has all its room again.
    assert_eq!(world.call("prints", "lines").await.unwrap().state, State::Ok);
    assert_eq!(world.printed("prints").len(), (1 << 10) + 3);
}

#[tokio::test]
async fn what_comes_after_the_answer_belongs_to_the_last_call() {
    let Some(world) = World::open().await else { return };
    world.deploy("prints", PRINTS, |_| {}).await;
    let id = world.call("prints", "later").await.unwrap().call_id;
    world.until_line("prints", "from the background").await;
    let line = world.all_lines().into_iter().find(|line| line.stream == Stream::Stdout).unwrap();
    assert_eq!(line.call_id.as_deref(), Some(id.as_str()));
}

#[tokio::test]
async fn lines_are_seen_while_the_call_runs() {
    let Some(world) = World::open().await else { return };
    let code = "import time\ndef handler(ctx, data=None):\n    print('begun')\n    time.sleep(60)\n";
    world.deploy("slow", code, |_| {}).await;
    let functions = world.functions.clone();
    let running = tokio::spawn(async move { functions.invoke("slow", call("")).await });
    world.until_line("slow", "begun").await;
    assert!(!running.is_finished());
    world.functions.remove("slow").await;
    assert!(running.await.unwrap().unwrap_err().to_string().contains("deleted"));
}
