//! No success leaves before its batch is on stable storage: the real server on a disk that holds, fails and forgets.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use penstock::config::Config;
use serde_json::json;
use testkit::disk::SimDisk;
use tokio::task::JoinSet;

use crate::server::{RAW, Reply, TestServer, raw_batch, send, until};

/// More than one group commit takes, so that some wait in the queue while others wait for the sync.
const REQUESTS: usize = 32;

/// Small segments: the disk is in memory, and what is on it is looked through.
fn small(config: &mut Config) {
    config.log.segment_bytes = 256 << 10;
}

fn texts(phase: &str) -> BTreeSet<String> {
    (0..REQUESTS).map(|n| format!("gate {phase} {n:02}")).collect()
}

/// Sends every text as a batch of its own, all at once.
fn send_all(server: &TestServer, texts: &BTreeSet<String>) -> JoinSet<(String, Reply)> {
    let mut sent = JoinSet::new();
    for text in texts {
        let request = server.request(Method::POST, RAW).body(raw_batch([text.as_str()]));
        let text = text.clone();
        sent.spawn(async move { (text, send(request).await) });
    }
    sent
}

/// Lets every request come as far as it can while the sync is held: each has been read whole, a frame stands on the disk,
/// and requests that came later have been answered on every thread there is.
async fn come_to_the_gate(server: &TestServer, disk: &SimDisk, phase: &str, sent: &mut JoinSet<(String, Reply)>) {
    let (disk_waits, (tell, told)) = (disk.clone(), tokio::sync::oneshot::channel());
    // A thread of no runtime, which would wait for it for ever if no sync came.
    std::thread::spawn(move || {
        disk_waits.wait_for_held_sync();
        let _ = tell.send(());
    });
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("a sync is held").unwrap();
    let mark = format!("gate {phase} ").into_bytes();
    until("a frame is written but not synced", async || {
        let files: Vec<_> = disk.names().iter().filter_map(|name| disk.contents(name)).collect();
        files.iter().any(|bytes| bytes.windows(mark.len()).any(|window| window == mark))
    })
    .await;
    let body_bytes = raw_batch([format!("gate {phase} 00").as_str()]).len();
    until("every request holds its part of the budget", async || {
        assert!(sent.try_join_next().is_none(), "a reply left while its sync was held");
        let status = server.get("/api/status").await;
        status["memory"]["requests_bytes"].as_u64() >= Some((REQUESTS * body_bytes) as u64)
    })
    .await;
    for _ in 0..REQUESTS {
        assert_eq!(send(server.request(Method::GET, "/healthz")).await.status, 200);
    }
    assert!(sent.try_join_next().is_none(), "a reply left while its sync was held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_success_waits_for_its_sync() {
    let disk = SimDisk::new(1);
    let server = TestServer::on_disk(&disk, small).await;

    // Held: nothing leaves. Released: everything does.
    disk.hold_syncs();
    let released = texts("released");
    let mut sent = send_all(&server, &released);
    come_to_the_gate(&server, &disk, "released", &mut sent).await;
    assert_eq!(server.server.pipeline.progress.records(), 0, "a follower saw what was not durable");
    disk.release_syncs();
    for (text, reply) in sent.join_all().await {
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"), "{text}");
    }
    assert_eq!(server.texts("gate").await, Vec::from_iter(released.clone()));
    assert_eq!(send(server.request(Method::GET, "/readyz")).await.status, 200);

    // Held and then failed: nothing leaves, and the process has written for the last time.
    disk.hold_syncs();
    let failed = texts("failed");
    let mut sent = send_all(&server, &failed);
    come_to_the_gate(&server, &disk, "failed", &mut sent).await;
    disk.fail_syncs(true);
    disk.release_syncs();
    for (text, reply) in sent.join_all().await {
        assert_eq!(reply.status, 503, "{text}: {}", reply.text());
        reply.error();
        assert!(!reply.headers.contains_key("x-penstock-batch"), "{text}: a batch id is a promise");
    }
    let ready = send(server.request(Method::GET, "/readyz")).await;
    assert_eq!(ready.status, 503);
    let reason = ready.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the log stopped writing: ") && reason.contains("sync"), "{reason}");
    assert_eq!(send(server.request(Method::GET, "/healthz")).await.status, 200);
    // Even when the disk would take it again.
    disk.fail_syncs(false);
    let late = server.post(RAW, raw_batch(["gate late"])).await;
    assert_eq!(late.status, 503);
    late.error();
    // Reads go on.
    assert_eq!(server.texts("gate released").await, Vec::from_iter(released.clone()));

    // Whatever a power cut leaves of it: acknowledged ⊆ found ⊆ sent.
    let appended: BTreeSet<String> = released.union(&failed).cloned().collect();
    let crashed: Vec<SimDisk> = (0..4).map(|seed| disk.crash(seed)).collect();
    server.stop().await;
    for (seed, disk) in crashed.iter().enumerate() {
        let again = TestServer::on_disk(disk, small).await;
        let all = again.texts("gate").await;
        let found = BTreeSet::from_iter(all.iter().cloned());
        assert_eq!(found.len(), all.len(), "seed {seed}: something was found twice");
        assert!(found.is_superset(&released), "seed {seed}: lost {:?}", released.difference(&found));
        assert!(found.is_subset(&appended), "seed {seed}: made up {:?}", found.difference(&appended));
        assert_eq!(again.post(RAW, raw_batch(["gate after"])).await.status, 200, "seed {seed}");
        again.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_shares_the_fate_of_the_first() {
    let disk = SimDisk::new(2);
    let server = TestServer::on_disk(&disk, small).await;
    disk.hold_syncs();
    let same = || send(server.request(Method::POST, RAW).body(raw_batch(["gate twice 00"])));
    let (mut first, mut second) = (Box::pin(same()), Box::pin(same()));
    let mut poll_both = async || {
        // One poll of each: what has an answer by now says so.
        tokio::select! {
            biased;
            reply = &mut first => Some(reply),
            reply = &mut second => Some(reply),
            () = std::future::ready(()) => None,
        }
    };
    assert!(poll_both().await.is_none());
    // A request moves only while it is polled.
    until("the log has been written and is not synced", async || {
        assert!(poll_both().await.is_none(), "a reply left while its sync was held");
        let files: Vec<_> = disk.names().iter().filter_map(|name| disk.contents(name)).collect();
        files.iter().any(|bytes| bytes.windows(10).any(|window| window == b"gate twice"))
    })
    .await;
    for _ in 0..REQUESTS {
        assert_eq!(send(server.request(Method::GET, "/healthz")).await.status, 200);
        assert!(poll_both().await.is_none(), "a repeat was answered before its first was safe");
    }
    disk.fail_syncs(true);
    disk.release_syncs();
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (503, 503));
    let status = server.get("/api/status").await;
    let counts = &status["instances"][0];
    let expected = json!([2, 0, 0, 2]);
    assert_eq!(json!([counts["received"], counts["committed"], counts["repeated"], counts["refused"]]), expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_is_told_and_passes() {
    let disk = SimDisk::new(3);
    let server = TestServer::on_disk(&disk, |config| config.log.segment_bytes = 64 << 10).await;
    let text = |n: usize| format!("gate full {n:03} {}", "x".repeat(10_000));
    disk.set_space(Some(disk.used() + (256 << 10)));
    let mut acknowledged = Vec::new();
    let refused = loop {
        let text = text(acknowledged.len());
        let reply = server.post(RAW, raw_batch([text.as_str()])).await;
        if reply.status != 200 {
            break reply;
        }
        acknowledged.push(text);
        assert!(acknowledged.len() < 1_000, "the disk never fills");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.error().contains("full"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    let ready = send(server.request(Method::GET, "/readyz")).await;
    assert_eq!(ready.status, 503);
    assert!(ready.json()["reason"].as_str().unwrap().contains("full"), "{}", ready.text());
    assert_eq!(send(server.request(Method::GET, "/healthz")).await.status, 200);
    assert_eq!(server.texts("gate full").await, acknowledged, "reads go on");

    disk.set_space(None);
    let again = text(acknowledged.len());
    until("there is room again", async || {
        let reply = server.post(RAW, raw_batch([again.as_str()])).await;
        assert!(!reply.is_repeat(), "what was refused is not there");
        reply.status == 200
    })
    .await;
    acknowledged.push(again);
    assert_eq!(send(server.request(Method::GET, "/readyz")).await.status, 200);
    assert_eq!(server.texts("gate full").await, acknowledged);
    server.stop().await;
}
