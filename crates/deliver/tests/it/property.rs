//! Whatever a target answers and whenever the process dies: every record is taken or in the dead letters, in order, and
//! one key always carries the same bytes.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;
use testkit::third_party::{Answer, Received, ThirdParty};

use crate::world::{TestClock, World, connector, id, raw, texts, until, with};

#[derive(Debug, Clone)]
struct Story {
    /// Frames of records; true is poison.
    frames: Vec<Vec<bool>>,
    /// The first answers: 0 takes it, others are failures that pass.
    answers: Vec<u8>,
    records_max: usize,
    gzip: bool,
    lines: bool,
    /// Kills after so many requests each, then lets it run.
    kills: Vec<usize>,
}

fn story() -> impl Strategy<Value = Story> {
    let record = prop_oneof![6 => Just(false), 1 => Just(true)];
    let frames = proptest::collection::vec(proptest::collection::vec(record, 1..9), 1..5);
    let answers = proptest::collection::vec(0u8..5, 0..12);
    let kills = proptest::collection::vec(1usize..4, 0..3);
    (frames, answers, 1usize..7, any::<bool>(), any::<bool>(), kills).prop_map(
        |(frames, answers, records_max, gzip, lines, kills)| Story { frames, answers, records_max, gzip, lines, kills },
    )
}

fn is_poisoned(request: &Received) -> bool {
    request.text().contains("poison")
}

async fn check(story: &Story) {
    let world = World::with(TestClock::leaping(), Default::default());
    let third = ThirdParty::start().await;
    let mut number = 0;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for frame in &story.frames {
        let mut records = Vec::new();
        for poison in frame {
            number += 1;
            let text = if *poison { format!("poison {number}") } else { format!("record {number}") };
            if *poison { &mut bad } else { &mut good }.push(text.clone());
            records.push(text);
        }
        world.append(raw(records.iter().map(String::as_str))).await;
    }
    third.rule(|request| if is_poisoned(request) { Answer::status(400) } else { Answer::ok() });
    let failures = story.answers.iter().filter(|answer| **answer != 0);
    third.script(failures.map(|answer| match answer {
        1 => Answer::status(503),
        2 => Answer::status(429),
        3 => Answer::status(408),
        _ => Answer::dropped(),
    }));
    let format = if story.lines { "ndjson" } else { "json" };
    let target = json!({"batch_records_max": story.records_max, "gzip": story.gzip, "format": format});
    let document = with(connector(&third.url("/")), json!({"target": target}));

    for kill in &story.kills {
        let deliver = world.start(std::slice::from_ref(&document)).await;
        let end = world.log.status().durable_to;
        let requests = third.received().len() + kill;
        tokio::select! {
            _ = third.wait_for(requests) => {}
            _ = until(&deliver, |status| status.cursor == end) => {}
        }
    }
    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    assert_eq!(status.read, number, "{story:?}");
    assert_eq!(status.written, good.len() as u64, "{story:?}");

    let mut bodies: HashMap<String, Received> = HashMap::new();
    let mut taken: Vec<String> = Vec::new();
    for request in third.received() {
        let key = request.header("idempotency-key").to_owned();
        let before = bodies.entry(key).or_insert_with(|| request.clone());
        assert_eq!(before.body, request.body, "one key, two bodies: {story:?}");
        if !is_poisoned(&request) {
            taken.extend(texts(&request.text()));
        }
    }
    // Attempts repeat; leaving repeats out, the order is the log's.
    let mut order: Vec<String> = Vec::new();
    for text in taken {
        if !order.contains(&text) {
            order.push(text);
        }
    }
    assert_eq!(order, good, "{story:?}");
    let letters = deliver.dead_letters(&id("siem"), usize::MAX).unwrap();
    let mut dead: Vec<String> = letters
        .iter()
        .map(|letter| texts(&format!("[{}]", String::from_utf8_lossy(&letter.element))).remove(0))
        .collect();
    dead.reverse();
    assert_eq!(dead, bad, "{story:?}");
}

#[test]
fn nothing_is_lost_whatever_happens() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(story in story())| runtime.block_on(check(&story)));
}
