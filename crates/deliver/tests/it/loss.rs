//! What the log no longer has, or never had: named, and gone on behind.

use commit::LogOptions;
use deliver::{ConnectorState, Loss, Whereabouts};
use serde_json::json;
use testkit::third_party::{Answer, ThirdParty};

use crate::crash::fill;
use crate::world::{TestClock, World, connector, id, instance, needs_attention, open_log, raw, texts, until, with};

#[tokio::test]
async fn a_range_that_left_the_log_is_named() {
    let options = LogOptions { segment_bytes: 64 << 10, keep_bytes: 256 << 10, ..LogOptions::default() };
    let world = World::with(TestClock::still(), options);
    let third = ThirdParty::start().await;
    let inactive = with(connector(&third.url("/")), json!({"state": "inactive"}));
    let deliver = world.start(&[inactive]).await;
    let (ids, position) = world.append(raw(["gone"])).await;
    fill(&world).await;
    let first = world.log.status().first;
    let (_, _) = world.append(raw(["still there"])).await;

    world.apply(&deliver, &[connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.lag_bytes == 0).await;
    // Retention goes on meanwhile, and may overtake the connector once more.
    assert!(status.lost.iter().all(|range| range.why == Loss::Kept), "{status:?}");
    assert_eq!(status.lost[0].from, position);
    assert!(status.lost[0].to >= first, "{status:?}");
    let ConnectorState::NeedsAttention { reason } = &status.state else { panic!("{status:?}") };
    let newest = status.lost[status.lost.len() - 1].from;
    assert!(reason.contains(&newest.to_string()) && reason.contains("log.keep"), "{reason}");
    let sent: Vec<String> = third.received().iter().flat_map(|request| texts(&request.text())).collect();
    assert!(sent.contains(&"still there".to_owned()) && !sent.contains(&"gone".to_owned()));
    let whereabouts = deliver.whereabouts(instance(), ids[0], position).unwrap();
    assert_eq!(whereabouts, [(id("siem"), Whereabouts::Lost)]);

    // It is said until somebody has taken note, restarts included, and remembered after.
    drop(deliver);
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, needs_attention).await;
    deliver.acknowledge(&id("siem")).unwrap();
    let status = until(&deliver, |status| status.state == ConnectorState::Running).await;
    assert!(status.lost.iter().all(|range| range.acknowledged));
}

#[tokio::test]
async fn a_cursor_of_another_log_begins_with_the_oldest() {
    let mut world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["of the first log"])).await;
    let document = with(connector(&third.url("/")), json!({"start": "now"}));
    let deliver = world.start(std::slice::from_ref(&document)).await;
    world.append(raw(["delivered"])).await;
    until(&deliver, |status| status.written == 1).await;
    deliver.stop().await;
    drop(deliver);

    world.log = open_log(world.dir.path().join("log of a new directory"), LogOptions::default());
    world.append(raw(["of the second log"])).await;
    let deliver = world.open();
    assert_eq!(deliver.lowest_cursor(), None);
    world.apply(&deliver, &[document]).await;
    let status = until(&deliver, |status| status.written == 2).await;
    assert_eq!(texts(&third.received()[1].text()), ["of the second log"]);
    let ConnectorState::NeedsAttention { reason } = &status.state else { panic!("{status:?}") };
    assert!(reason.contains("another log"), "{reason}");
    assert_eq!(status.lost[0].to.epoch, world.log.epoch());
}

/// A frozen batch whose frames are of a log that is gone is delivered all the same once its body is stored.
#[tokio::test]
async fn a_frozen_batch_outlives_its_log() {
    let mut world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["of the first log"])).await;
    third.script([Answer::status(503)]);
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, crate::world::waits).await;
    drop(deliver);

    world.log = open_log(world.dir.path().join("log of a new directory"), LogOptions::default());
    world.append(raw(["of the second log"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, |status| status.written == 2).await;
    let sent: Vec<_> = third.received().iter().map(|request| texts(&request.text()).remove(0)).collect();
    assert_eq!(sent, ["of the first log", "of the first log", "of the second log"]);
}
