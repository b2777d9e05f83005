//! A target that refuses, hangs, slows down or breaks off.

use std::time::Duration;

use deliver::{ConnectorState, Whereabouts};
use event::Time;
use serde_json::json;
use testkit::third_party::{Answer, ThirdParty};

use crate::world::{
    TestClock, World, connector, id, instance, needs_attention, raw, texts, until, until_named, waits, with,
};

/// What a target answers first, and how long the connector waits before it sends the same again.
#[tokio::test]
async fn the_same_bytes_are_sent_until_they_are_taken() {
    let secs = Duration::from_secs;
    let cases = [
        (Answer::status(503), secs(1), false),
        (Answer::status(500).body("oops"), secs(1), false),
        (Answer::status(408), secs(1), false),
        (Answer::status(503).retry_after("17"), secs(17), false),
        (Answer::dropped(), secs(1), false),
        (Answer::status(429), secs(30), false),
        (Answer::status(429).retry_after("120"), secs(120), false),
        (Answer::status(429).retry_after("Sat, 21 Nov 2026 22:05:00 GMT"), secs(300), false),
        (Answer::status(429).retry_after("31536000"), secs(3_600), false),
        (Answer::status(401).body("no such key"), secs(60), true),
        (Answer::status(403), secs(60), true),
        (Answer::status(404), secs(60), true),
        (Answer::status(302).header("location", "http://127.0.0.1:1/"), secs(60), true),
    ];
    for (answer, wait, attention) in cases {
        let world = World::new();
        let third = ThirdParty::start().await;
        third.script([answer.clone()]);
        let (ids, position) = world.append(raw(["one", "two"])).await;
        let deliver = world.start(&[with(connector(&third.url("/")), json!({"target": {"gzip": true}}))]).await;

        let status = until(&deliver, |status| waits(status) || needs_attention(status)).await;
        assert_eq!(needs_attention(&status), attention, "{answer:?}");
        assert_eq!((status.errors, status.written, status.dead_letters), (1, 0, 0), "{answer:?}");
        assert!(status.last_error.is_some());
        assert_eq!(status.lag_ms, Some(0));
        assert_eq!(world.clock.waited_for(1).await, [wait], "{answer:?}");
        if let ConnectorState::Waiting { next_try, .. } = status.state {
            let start: Time = crate::world::EPOCH.parse().unwrap();
            assert_eq!(next_try.nanos_since(start) as u128, wait.as_nanos(), "{answer:?}");
        }
        let whereabouts = deliver.whereabouts(instance(), ids[1], position).unwrap();
        assert_eq!(whereabouts, [(id("siem"), Whereabouts::Waiting)]);

        world.clock.advance(wait);
        let status = until(&deliver, |status| status.written > 0).await;
        assert_eq!((status.written, status.read, status.errors), (2, 2, 1), "{answer:?}");
        assert_eq!(status.state, ConnectorState::Running);
        let received = third.received();
        assert_eq!(received.len(), 2, "{answer:?}");
        assert_eq!(received[0].body, received[1].body, "{answer:?}");
        assert_eq!(received[0].header("idempotency-key"), received[1].header("idempotency-key"), "{answer:?}");
    }
}

#[tokio::test]
async fn waits_double_up_to_a_minute() {
    let world = World::with(TestClock::leaping(), Default::default());
    let third = ThirdParty::start().await;
    third.script(std::iter::repeat_n(Answer::status(503), 8));
    world.append(raw(["one"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, |status| status.written == 1).await;
    let waited: Vec<u64> = world.clock.waited_for(8).await.iter().map(Duration::as_secs).collect();
    assert_eq!(waited, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[tokio::test]
async fn a_target_that_never_answers_is_given_up_after_the_timeout() {
    let world = World::new();
    let third = ThirdParty::start().await;
    third.script([Answer::ok().held()]);
    world.append(raw(["one"])).await;
    let document = with(connector(&third.url("/")), json!({"target": {"timeout_ms": 100}}));
    let deliver = world.start(&[document]).await;
    let status = until(&deliver, waits).await;
    let ConnectorState::Waiting { reason, .. } = status.state else { unreachable!() };
    assert!(reason.contains("no answer in time"), "{reason}");
    world.clock.advance(Duration::from_secs(1));
    until(&deliver, |status| status.written == 1).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let world = World::new();
    let (third, other) = (ThirdParty::start().await, ThirdParty::start().await);
    third.script([Answer::status(307).header("location", &other.url("/"))]);
    world.append(raw(["one"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    let status = until(&deliver, needs_attention).await;
    let ConnectorState::NeedsAttention { reason } = status.state else { unreachable!() };
    assert!(reason.contains("redirects are not followed"), "{reason}");
    assert_eq!(other.received().len(), 0);
}

#[tokio::test]
async fn a_poison_record_is_found_and_the_rest_delivered() {
    for target in [json!({}), json!({"gzip": true}), json!({"format": "ndjson", "gzip": true})] {
        let world = World::new();
        let third = ThirdParty::start().await;
        third.rule(|request| {
            let poisoned = request.text().contains("poison");
            if poisoned { Answer::status(422).body("x".repeat(5_000)) } else { Answer::ok() }
        });
        let records = ["a", "b", "poison 1", "c", "d", "e", "poison 2", "f", "g"];
        let (ids, position) = world.append(raw(records)).await;
        world.append(raw(["after"])).await;
        let document = with(connector(&third.url("/")), json!({"target": target, "source": {"kinds": ["raw"]}}));
        let deliver = world.start(std::slice::from_ref(&document)).await;

        let status = until(&deliver, |status| status.lag_bytes == 0).await;
        assert_eq!((status.read, status.written, status.dead_letters), (10, 8, 2));
        assert_eq!(status.state, ConnectorState::Running);
        let taken = |third: &ThirdParty| -> Vec<String> {
            let texts = third.received().into_iter().map(|request| texts(&request.text()));
            texts.filter(|texts| !texts.iter().any(|text| text.contains("poison"))).flatten().collect()
        };
        assert_eq!(taken(&third), ["a", "b", "c", "d", "e", "f", "g", "after"]);

        let letters = deliver.dead_letters(&id("siem"), 10).unwrap();
        let records: Vec<_> = letters.iter().map(|letter| letter.record).collect();
        assert_eq!(records, [ids[6], ids[2]]);
        assert_eq!((letters[0].status, letters[0].answer.len()), (422, 2_048));
        assert!(String::from_utf8_lossy(&letters[0].element).ends_with("\"text\":\"poison 2\"}"));
        let reason = letters[1].reason.clone();
        assert!(reason.starts_with("the target answered 422 Unprocessable Entity: xxx"), "{reason}");
        let at = |record| deliver.whereabouts(instance(), record, position).unwrap().remove(0).1;
        assert_eq!(at(ids[2]), Whereabouts::DeadLetter { reason });
        assert_eq!(at(ids[3]), Whereabouts::Delivered);

        // One is dropped; the other is sent again once the target has changed its mind.
        assert_eq!(deliver.drop_dead_letters(&id("siem"), &[letters[1].id, 99]).unwrap(), 1);
        assert_eq!(deliver.drop_dead_letters(&id("siem"), &[letters[1].id]).unwrap(), 0);
        assert!(matches!(at(ids[2]), Whereabouts::Dropped { .. }), "{:?}", at(ids[2]));
        assert_eq!(deliver.status()[0].dead_letters, 1);
        third.rule(|_| Answer::ok());
        assert_eq!(deliver.retry(&id("siem"), &[letters[0].id]).unwrap(), 1);
        let status = until(&deliver, |status| status.written == 9).await;
        assert_eq!((status.dead_letters, status.read), (0, 10));
        assert_eq!(texts(&third.received().last().unwrap().text()), ["poison 2"]);
        assert_eq!(at(ids[6]), Whereabouts::Delivered);
    }
}

#[tokio::test]
async fn dead_letters_that_are_refused_again_come_back() {
    let world = World::new();
    let third = ThirdParty::start().await;
    third.rule(|request| if request.text().contains("poison") { Answer::status(400) } else { Answer::ok() });
    world.append(raw(["poison 1", "fixed poison", "poison 3"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, |status| status.dead_letters == 3).await;

    third.rule(|request| {
        let bad = texts(&request.text()).iter().any(|text| text.starts_with("poison"));
        if bad { Answer::status(400) } else { Answer::ok() }
    });
    let before: Vec<i64> = deliver.dead_letters(&id("siem"), 10).unwrap().iter().map(|letter| letter.id).collect();
    assert_eq!(deliver.retry(&id("siem"), &before).unwrap(), 3);
    until(&deliver, |status| status.written == 1 && status.dead_letters == 2).await;
    let after: Vec<String> = deliver
        .dead_letters(&id("siem"), 10)
        .unwrap()
        .iter()
        .map(|letter| texts(&format!("[{}]", String::from_utf8_lossy(&letter.element))).remove(0))
        .collect();
    assert_eq!(after, ["poison 3", "poison 1"]);
}

#[tokio::test]
async fn a_dead_target_delays_nobody() {
    let world = World::new();
    let (dead, alive) = (ThirdParty::start().await, ThirdParty::start().await);
    dead.rule(|_| Answer::ok().held());
    let documents = [connector(&dead.url("/")), with(connector(&alive.url("/")), json!({"name": "alive"}))];
    let deliver = world.start(&documents).await;
    for _ in 0..20 {
        world.append(raw(["one", "two", "three"])).await;
    }
    let status = until_named(&deliver, "alive", |status| status.written == 60).await;
    assert_eq!(status.lag_bytes, 0);
    dead.wait_for(1).await;
    let siem = until(&deliver, |_| true).await;
    assert_eq!(siem.written, 0);
    assert!(siem.lag_bytes > 0);
    assert_eq!(deliver.lowest_cursor(), Some(siem.cursor));

    // A stop does not wait for the dead one, and forgets nothing.
    deliver.stop().await;
    assert_eq!(deliver.lowest_cursor(), Some(siem.cursor));
    drop(deliver);
    dead.rule(|_| Answer::ok());
    let deliver = world.start(&documents).await;
    until(&deliver, |status| status.written == 60).await;
}
