//! What a crash may not change. `Deliver` is dropped where a process would be killed: its tasks end at once, and only
//! what was committed to `deliver.db` is left.

use std::time::Duration;

use commit::{LogOptions, Needed};
use deliver::Deliver;
use serde_json::{Value, json};
use testkit::third_party::{Answer, Received, ThirdParty};

use crate::world::{TestClock, World, connector, id, raw, texts, until, waits, with};

#[track_caller]
fn check_same(received: &[Received]) {
    let (first, last) = (&received[0], &received[received.len() - 1]);
    assert_eq!(first.body, last.body);
    for header in ["idempotency-key", "content-type", "content-encoding"] {
        assert_eq!(first.header(header), last.header(header), "{header}");
    }
}

/// How the first process comes to its end, with one attempt behind it.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Killed before the target answered.
    KilledDuring,
    /// Killed while it waited for the next attempt.
    KilledAfterFailure,
    /// Stopped cleanly before the target answered.
    Stopped,
}

async fn first_process(world: &World, third: &ThirdParty, document: &Value, end: End) {
    third.script([match end {
        End::KilledDuring | End::Stopped => Answer::ok().held(),
        End::KilledAfterFailure => Answer::status(503),
    }]);
    let deliver = world.start(std::slice::from_ref(document)).await;
    third.wait_for(1).await;
    match end {
        End::KilledDuring => drop(deliver),
        End::KilledAfterFailure => {
            until(&deliver, waits).await;
            drop(deliver);
        }
        End::Stopped => deliver.stop().await,
    }
}

/// The document may have changed in between, down to filter and shape: what was frozen stays as it was.
#[tokio::test]
async fn a_retry_after_a_crash_is_byte_identical() {
    let changes = [
        json!({}),
        json!({"target": {"format": "ndjson", "gzip": false}}),
        json!({"source": {"query": "nothing like it", "language": "raw"}}),
        json!({"target": {"batch_records_max": 1}}),
    ];
    for end in [End::KilledDuring, End::KilledAfterFailure, End::Stopped] {
        for change in &changes {
            let world = World::new();
            let third = ThirdParty::start().await;
            // The filter leaves some out, and the batch ends within a frame.
            world.append(raw(["no"])).await;
            world.append(raw(["yes 1", "no", "yes 2"])).await;
            world.append(raw(["yes 3", "yes 4", "yes 5"])).await;
            let source = json!({"query": "yes", "language": "raw"});
            let target = json!({"gzip": true, "batch_records_max": 4});
            let document = with(connector(&third.url("/")), json!({"source": source, "target": target}));
            first_process(&world, &third, &document, end).await;

            third.script([Answer::status(503)]);
            let deliver = world.start(&[with(document, change.clone())]).await;
            let received = third.wait_for(2).await;
            check_same(&received);
            assert_eq!(texts(&received[0].text()), ["yes 1", "yes 2", "yes 3", "yes 4"], "{end:?} {change}");
            until(&deliver, waits).await;
            world.clock.advance(Duration::from_secs(60));
            let status = until(&deliver, |status| status.lag_bytes == 0).await;
            check_same(&third.received()[..3]);
            // What comes behind the frozen batch goes by the new document.
            let expected = if change["source"].is_object() { 4 } else { 5 };
            assert_eq!((status.read, status.written), (7, expected), "{end:?} {change}");
        }
    }
}

#[tokio::test]
async fn a_stored_body_outlives_the_log() {
    for end in [End::KilledAfterFailure, End::Stopped] {
        let options = LogOptions { segment_bytes: 64 << 10, keep_bytes: 256 << 10, ..LogOptions::default() };
        let world = World::with(TestClock::still(), options);
        let third = ThirdParty::start().await;
        world.append(raw(["kept"])).await;
        first_process(&world, &third, &connector(&third.url("/")), end).await;

        fill(&world).await;
        let deliver = world.start(&[connector(&third.url("/"))]).await;
        check_same(&third.wait_for(2).await);
        // The log went on without it; what came after the batch and is gone is named.
        let status = until(&deliver, |status| !status.lost.is_empty()).await;
        assert!(status.written >= 1);
    }
}

/// Appends until the log has let go its beginning.
pub async fn fill(world: &World) {
    let first = world.log.status().first;
    let text = "x".repeat(30_000);
    for _ in 0..200 {
        if world.log.status().first != first {
            return;
        }
        world.append(raw([text.as_str()])).await;
        world.log.retain(Needed { store: Some(world.log.status().durable_to), others: Some(first) });
    }
    panic!("the log keeps everything: {:?}", world.log.status());
}

#[tokio::test]
async fn half_a_frame_is_not_sent_twice() {
    let world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["1", "2", "3", "4", "5"])).await;
    let document = with(connector(&third.url("/")), json!({"target": {"batch_records_max": 2}}));
    third.script([Answer::ok(), Answer::status(503)]);
    let deliver = world.start(std::slice::from_ref(&document)).await;
    until(&deliver, waits).await;
    drop(deliver);

    let deliver = world.start(&[document]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    assert_eq!((status.read, status.written), (5, 5));
    let sent: Vec<_> = third.received().iter().map(|request| texts(&request.text()).join("")).collect();
    assert_eq!(sent, ["12", "34", "34", "5"]);
}

#[tokio::test]
async fn a_crash_between_the_halves_of_a_refused_batch() {
    let world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["a", "b", "poison", "d"])).await;
    let poisoned = |request: &Received| request.text().contains("poison");
    // Whole: refused; first half: taken; second half: the process dies.
    third.script([Answer::status(400), Answer::ok(), Answer::status(503)]);
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, waits).await;
    drop(deliver);

    third.rule(move |request| if poisoned(request) { Answer::status(400) } else { Answer::ok() });
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    assert_eq!((status.read, status.written, status.dead_letters), (4, 3, 1));
    let sent: Vec<_> = third.received().iter().map(|request| texts(&request.text()).join(" ")).collect();
    assert_eq!(sent, ["a b poison d", "a b", "poison d", "poison d", "poison", "d"]);
}

#[tokio::test]
async fn dead_letters_under_way_again_survive_a_crash() {
    let world = World::new();
    let third = ThirdParty::start().await;
    third.rule(|_| Answer::status(400));
    world.append(raw(["one", "two"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, |status| status.dead_letters == 2).await;
    third.rule(|_| Answer::ok().held());
    let letters: Vec<i64> = deliver.dead_letters(&id("siem"), 10).unwrap().iter().map(|letter| letter.id).collect();
    deliver.retry(&id("siem"), &letters).unwrap();
    let before = third.received().len();
    third.wait_for(before + 1).await;
    drop(deliver);

    third.rule(|_| Answer::ok());
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.written == 2).await;
    assert_eq!((status.dead_letters, status.read), (0, 2));
    check_same(&third.received()[before..]);
}

/// Where the body cannot be made again, records are sent under a new key, and none is lost.
#[tokio::test]
async fn a_batch_that_cannot_be_made_again_is_built_anew() {
    let world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["one", "two"])).await;
    first_process(&world, &third, &connector(&third.url("/")), End::KilledDuring).await;
    // As if an older Penstock had encoded it in another way.
    let database = rusqlite::Connection::open(world.dir.path().join("deliver/deliver.db")).unwrap();
    assert_eq!(database.execute("UPDATE plans SET hash = zeroblob(32)", []).unwrap(), 1);
    drop(database);

    let deliver: Deliver = world.start(&[connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.written == 2).await;
    assert_eq!((status.read, status.lag_bytes), (2, 0));
    let received = third.received();
    assert_eq!(received[0].body, received[1].body);
    assert_ne!(received[0].header("idempotency-key"), received[1].header("idempotency-key"));
}
