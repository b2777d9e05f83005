//! The spool from outside: stop and start, refusals, limits, who may open it. What a crash at each step does is tested
//! beside the code (`src/spool/crash.rs`).

use std::path::Path;
use std::sync::Arc;

use penstock_client::{Chronicle, Error, LogEntry, RetryPolicy, Spool, SpoolError, SpoolOptions};
use serde_json::{Value, json};
use testkit::third_party::Answer;
use tokio::sync::oneshot;

use crate::world::{Google, TestClock, instance, not_taken, status, taken};

async fn open(dir: &Path, chronicle: &Chronicle) -> Spool {
    Spool::open(dir, chronicle, SpoolOptions::default()).await.unwrap()
}

/// A client that gives up at once, so that what the spool keeps is seen.
fn impatient(google: &Google, clock: &Arc<TestClock>) -> Chronicle {
    instance(google.client_with(clock).retry(RetryPolicy::never()))
}

async fn waiting(spool: &Spool) -> u64 {
    spool.status().await.unwrap().records
}

#[tokio::test]
async fn records_outlive_the_process_and_arrive_once_in_order() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let spool = open(dir.path(), &chronicle).await;
    spool.push_log(("OKTA", "1")).await.unwrap();
    spool.push_logs([("DNS", "2"), ("OKTA", "3")]).await.unwrap();
    spool.push_udm([json!({"metadata": {"id": "four"}})]).await.unwrap();
    spool.push_entities("OKTA", [json!({"entity": 5})]).await.unwrap();
    drop(spool);

    let spool = open(dir.path(), &chronicle).await;
    assert_eq!(waiting(&spool).await, 5);
    spool.push_log(("OKTA", "6")).await.unwrap();
    // The first is taken, but the answer is lost; then the receiver is away.
    google.plan([
        taken(Answer::dropped()),
        status(503),
        taken(Answer::ok().header("x-penstock-filtered", "1")),
        taken(Answer::ok().header("x-penstock-filtered", "1")),
    ]);
    assert!(spool.drain().await.unwrap_err().is_transient());
    assert!(spool.drain().await.unwrap_err().is_transient());
    drop(spool);

    let spool = open(dir.path(), &chronicle).await;
    assert_eq!(waiting(&spool).await, 6);
    let drained = spool.drain().await.unwrap();
    assert_eq!((drained.records, drained.requests, drained.refused.len()), (6, 5, 0));
    assert_eq!(drained.filtered, 2, "told by two of the requests");
    let udm = r#"UDM {"metadata":{"id":"four","event_timestamp":"2026-11-21T22:00:00Z"}}"#;
    assert_eq!(google.records(), ["OKTA 1", "OKTA 3", "DNS 2", udm, r#"entity {"entity":5}"#, "OKTA 6"]);
    // Sent three times, byte for byte the same.
    let received = google.server.received();
    assert!(received[0].body == received[1].body && received[1].body == received[2].body);
    assert_eq!(waiting(&spool).await, 0);
    assert_eq!(spool.drain().await.unwrap().requests, 0);
    assert_eq!(spool.status().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn what_was_frozen_is_sent_as_it_was_even_if_the_settings_changed() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let zipping = instance(google.client_with(&clock).retry(RetryPolicy::never()).gzip(true));
    let spool = open(dir.path(), &zipping).await;
    spool.push_logs([("OKTA", "1"), ("OKTA", "2")]).await.unwrap();
    google.plan([taken(Answer::dropped())]);
    assert!(spool.drain().await.is_err());
    drop(spool);
    let plain = instance(google.client_with(&clock).body_records_max(1));
    let spool = open(dir.path(), &plain).await;
    spool.push_logs([("OKTA", "3")]).await.unwrap();
    spool.drain().await.unwrap();
    let received = google.server.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received.map_encodings(), ["gzip", "gzip", ""]);
    assert_eq!(google.records(), ["OKTA 1", "OKTA 2", "OKTA 3"]);
}

trait Encodings {
    fn map_encodings(&self) -> Vec<String>;
}

impl Encodings for Vec<testkit::third_party::Received> {
    fn map_encodings(&self) -> Vec<String> {
        self.iter().map(|request| request.header("content-encoding").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_refused_batch_is_set_aside_with_the_reply_and_the_next_go_on() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    google.refuse_holding("poison");
    let spool = open(dir.path(), &chronicle).await;
    spool.push_logs([("OKTA", "1"), ("DNS", "poison"), ("DNS", "3"), ("AWS", "4")]).await.unwrap();
    let drained = spool.drain().await.unwrap();
    assert_eq!((drained.requests, drained.records), (2, 2));
    assert_eq!(google.records(), ["OKTA 1", "AWS 4"]);
    let [refused] = &drained.refused[..] else { panic!("{drained:?}") };
    assert_eq!((refused.records, refused.why.as_str()), (2, "the receiver answers 400 INVALID_ARGUMENT: a bad record"));
    let reply: Value =
        serde_json::from_slice(&std::fs::read(refused.file.with_extension("reply.json")).unwrap()).unwrap();
    assert_eq!((&reply["status"], &reply["message"]), (&json!(400), &json!("a bad record")));
    let text = std::fs::read_to_string(&refused.file).unwrap();
    let (head, body) = text.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(head).unwrap()["path"], "logTypes/DNS/logs:import");
    assert_eq!(crate::world::records_of("logTypes/DNS/", body.as_bytes()), ["DNS poison", "DNS 3"]);
    drop(spool);

    // It is still there after a restart, counts as used, and can be put back.
    let spool = open(dir.path(), &chronicle).await;
    let status = spool.status().await.unwrap();
    assert_eq!((status.records, status.refused_requests), (0, 1));
    assert!(status.refused_bytes > 0 && status.bytes == status.refused_bytes);
    google.refuse_nothing();
    assert_eq!(spool.requeue_refused().await.unwrap(), 1);
    assert_eq!(spool.drain().await.unwrap().records, 2);
    assert_eq!(google.records(), ["OKTA 1", "AWS 4", "DNS poison", "DNS 3"]);
    assert_eq!(spool.status().await.unwrap().bytes, 0);
    assert_eq!(spool.requeue_refused().await.unwrap(), 0);
}

#[tokio::test]
async fn what_concerns_all_sets_nothing_aside() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let spool = open(dir.path(), &chronicle).await;
    spool.push_udm([json!({"a": 1})]).await.unwrap();
    let page = not_taken(Answer::ok().body("<html>"));
    for (step, expected) in [
        (status(401), "Rejected"),
        (status(403), "PermissionDenied"),
        // No log type stands in the path, so it is the instance that is not there.
        (status(404), "NotFound"),
        (status(429), "RateLimited"),
        (status(408), "Unavailable"),
        (status(500), "Unavailable"),
        (page, "UnexpectedReply"),
    ] {
        google.plan([step]);
        let error = spool.drain().await.unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{error:?}");
        let status = spool.status().await.unwrap();
        assert_eq!((status.records, status.refused_requests), (1, 0), "{expected}");
    }
    assert_eq!(spool.drain().await.unwrap().records, 1);
    assert_eq!(google.records().len(), 1);

    // An unknown log type is the fault of that request alone.
    google.reply_with("POST /logTypes/NO_SUCH", Answer::status(404));
    spool.push_logs([("NO_SUCH", "x"), ("OKTA", "y")]).await.unwrap();
    let drained = spool.drain().await.unwrap();
    assert_eq!((drained.records, drained.refused.len()), (1, 1));
}

#[tokio::test]
async fn one_process_at_a_time_and_one_instance() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let open = |chronicle: Chronicle| {
        let dir = dir.path().to_owned();
        async move { Spool::open(dir, &chronicle, SpoolOptions::default()).await }
    };
    let spool = open(chronicle.clone()).await.unwrap();
    let error = open(chronicle.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Spool(SpoolError::Locked(_))), "{error:?}");
    drop(spool);
    let other = google.client_with(&clock).build().unwrap();
    let other = other.chronicle("0b7c1d2e-0000-4000-8000-000000000002", "proj", "us").unwrap();
    let error = open(other).await.unwrap_err();
    assert!(matches!(error, Error::Spool(SpoolError::Foreign { .. })), "{error:?}");
    drop(open(chronicle.clone()).await.unwrap());
    std::fs::write(dir.path().join("spool.json"), r#"{"format":2,"instance":"x"}"#).unwrap();
    let error = open(chronicle).await.unwrap_err();
    assert!(matches!(error, Error::Spool(SpoolError::Format { format: 2, .. })), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn others_cannot_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let root = dir.path().join("deep/spool");
    let spool = open(&root, &impatient(&google, &clock)).await;
    spool.push_log(("OKTA", "secret")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for file in std::fs::read_dir(root.join("waiting")).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn a_full_spool_says_so_and_takes_all_or_nothing() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let spool = Spool::open(dir.path(), &chronicle, SpoolOptions { bytes_max: 1_000 }).await.unwrap();
    let mut pushed = 0;
    let error = loop {
        match spool.push_log(("OKTA", format!("{pushed:0100}"))).await {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
    };
    let Error::Spool(SpoolError::Full { bytes, bytes_max: 1_000, refused_bytes: 0 }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*bytes, spool.status().await.unwrap().bytes);
    assert!(*bytes <= 1_000 && (2..10).contains(&pushed), "{bytes} {pushed}");
    assert!(spool.push_logs(vec![("OKTA", "y"); 20]).await.is_err());
    assert_eq!(waiting(&spool).await, pushed);
    assert_eq!(spool.drain().await.unwrap().records, pushed);
    spool.push_log(("OKTA", "room again")).await.unwrap();
}

#[tokio::test]
async fn a_record_over_the_limit_is_not_taken() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = instance(google.client_with(&clock).body_bytes_max(500));
    let spool = open(dir.path(), &chronicle).await;
    let error = spool.push_logs([("OKTA", "x".to_owned()), ("OKTA", "x".repeat(500))]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { index: 1, bytes_max: 500, .. }), "{error:?}");
    assert_eq!(waiting(&spool).await, 0);
    spool.push_log(("OKTA", "x".repeat(250))).await.unwrap();
    drop(spool);
    // The limit was lowered since: it goes alone, and the receiver decides.
    let chronicle = instance(google.client_with(&clock).body_bytes_max(200));
    let spool = open(dir.path(), &chronicle).await;
    spool.push_log(("OKTA", "short")).await.unwrap();
    assert_eq!(spool.drain().await.unwrap().records, 2);
    assert_eq!(google.records().len(), 2);
}

#[tokio::test]
async fn damage_costs_only_what_is_damaged_and_is_kept() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let spool = open(dir.path(), &chronicle).await;
    for number in 0..5 {
        spool.push_log(LogEntry::new("OKTA", format!("record {number}"))).await.unwrap();
    }
    drop(spool);
    let segment = std::fs::read_dir(dir.path().join("waiting")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let length = bytes.len() / 5;
    bytes[2 * length + length / 2] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();

    let spool = open(dir.path(), &chronicle).await;
    assert_eq!(spool.drain().await.unwrap().records, 4);
    assert_eq!(google.records(), ["OKTA record 0", "OKTA record 1", "OKTA record 3", "OKTA record 4"]);
    assert_eq!(spool.status().await.unwrap().damaged_bytes, length as u64);
    let kept = std::fs::read_dir(dir.path().join("damaged")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(kept).unwrap(), bytes[2 * length..3 * length]);
}

#[tokio::test]
async fn running_sends_what_comes_waits_out_trouble_and_stops_when_told() {
    let (google, clock, dir) = (Google::start().await, TestClock::new(), tempfile::tempdir().unwrap());
    let chronicle = impatient(&google, &clock);
    let spool = Arc::new(open(dir.path(), &chronicle).await);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let spool = spool.clone();
        async move {
            spool
                .run(async move {
                    let _ = stopped.await;
                })
                .await
        }
    });
    let slow_down = not_taken(Answer::status(429).retry_after("45"));
    let page = not_taken(Answer::ok().body("<html>"));
    google.plan([status(503), page, slow_down, taken(Answer::dropped())]);
    spool.push_log(("OKTA", "1")).await.unwrap();
    google.server.wait_for(5).await;
    spool.push_log(("OKTA", "2")).await.unwrap();
    google.server.wait_for(6).await;
    assert_eq!(clock.waits(), [1.0, 2.0, 45.0, 8.0]);
    // Until the last answer has been dealt with.
    while waiting(&spool).await > 0 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    let drained = running.await.unwrap().unwrap();
    assert_eq!((drained.records, google.records()), (2, vec!["OKTA 1".to_owned(), "OKTA 2".to_owned()]));

    google.plan([status(403)]);
    spool.push_log(("OKTA", "3")).await.unwrap();
    let error = spool.run(std::future::pending()).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied(_)), "what only a person can mend ends it: {error:?}");
    assert_eq!(waiting(&spool).await, 1);
}
