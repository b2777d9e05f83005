//! Batches: grouping, cutting, what is said when not all of it was accepted.

use penstock_client::{Credentials, Error, LogEntry, Partial, SecOpsClient};
use serde_json::json;
use testkit::third_party::Answer;

use crate::world::{Google, TestClock, aip193, instance, status, taken};

#[tokio::test]
async fn mixed_types_are_grouped_and_keep_their_order() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let items = [("OKTA", "1"), ("BIND_DNS", "2"), ("OKTA", "3"), ("BIND_DNS", "4"), ("OKTA", "5")];
    let result = chronicle.ingest_logs_batch(items).await.unwrap();
    assert_eq!(google.records(), ["OKTA 1", "OKTA 3", "OKTA 5", "BIND_DNS 2", "BIND_DNS 4"]);
    let accepted: Vec<_> =
        result.accepted.iter().map(|request| (request.log_type.as_str(), request.items.as_slice())).collect();
    assert_eq!(accepted, [("OKTA", &[0, 2, 4][..]), ("BIND_DNS", &[1, 3][..])]);

    let items = [LogEntry::new("OKTA", "6"), LogEntry::new("OKTA", "7").forwarder("f"), LogEntry::new("OKTA", "8")];
    assert_eq!(chronicle.ingest_logs_batch(items).await.unwrap().accepted.len(), 2, "forwarders are kept apart");
    assert_eq!(chronicle.ingest_logs_batch(Vec::<LogEntry>::new()).await.unwrap().count(), 0);
    assert_eq!(google.requests().len(), 4);
}

#[tokio::test]
async fn what_filters_kept_out_is_counted_by_request() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let filtered = |count: &str| taken(Answer::ok().header("x-penstock-filtered", count));
    google.plan([filtered("2"), filtered("0"), filtered("1"), filtered("many")]);
    let result = chronicle.ingest_logs_batch([("OKTA", "1"), ("OKTA", "2"), ("DNS", "3")]).await.unwrap();
    assert_eq!(result.accepted.iter().map(|request| request.filtered).collect::<Vec<_>>(), [2, 0]);
    assert_eq!((result.filtered(), result.count()), (2, 3));
    for expected in [1, 0, 0] {
        // Also where the header is no number, and where there is none.
        assert_eq!(chronicle.ingest_log("OKTA", "4").await.unwrap().filtered, expected);
    }
}

#[tokio::test]
async fn no_request_is_over_the_limit_compressed_or_not() {
    for gzip in [false, true] {
        let google = Google::start().await;
        let limit = 4_000;
        let client = google.client_with(&TestClock::new()).body_bytes_max(limit).body_records_max(20).gzip(gzip);
        let chronicle = instance(client);
        let logs: Vec<_> = (0..200).map(|number| ("OKTA", format!("{number:>0$}", 3 + number % 97))).collect();
        let result = chronicle.ingest_logs_batch(logs.clone()).await.unwrap();
        assert_eq!(result.count(), 200);
        let expected: Vec<String> = logs.iter().map(|(_, text)| format!("OKTA {text}")).collect();
        assert_eq!(google.records(), expected);
        let received = google.server.received();
        assert_eq!(received.len(), result.accepted.len());
        for request in received {
            let plain = request.plain();
            assert!(plain.len() <= limit, "{}", plain.len());
            assert_eq!(request.header("content-encoding"), if gzip { "gzip" } else { "" });
            assert!(!gzip || request.body.len() < plain.len());
        }
    }
}

#[tokio::test]
async fn a_record_over_the_limit_is_named_and_nothing_is_sent() {
    let google = Google::start().await;
    let chronicle = instance(google.client_with(&TestClock::new()).body_bytes_max(1_000));
    let long = "x".repeat(1_000);
    let check = |error: Error| {
        let Error::TooLarge { index: 2, bytes, bytes_max: 1_000 } = error else { panic!("{error:?}") };
        assert!(bytes > 1_000);
    };
    check(chronicle.ingest_logs_batch([("OKTA", "a"), ("DNS", "b"), ("OKTA", long.as_str())]).await.unwrap_err());
    check(chronicle.ingest_udm_batch([json!({}), json!({}), json!({"a": long})]).await.unwrap_err());
    check(chronicle.import_entities("OKTA", [json!({}), json!({}), json!({"a": long})]).await.unwrap_err());
    assert_eq!(google.requests().len(), 0);

    let usual = SecOpsClient::builder().credentials(Credentials::bearer("t")).base_url(google.server.url(""));
    let error = instance(usual).ingest_log("OKTA", "x".repeat(3 << 20)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { index: 0, bytes_max: 3_932_160, .. }), "{error:?}");
}

#[tokio::test]
async fn an_item_that_cannot_be_sent_is_named() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let items = [LogEntry::new("OKTA", "x"), LogEntry::new("OKTA", "x").entry_timestamp("yesterday")];
    let error = chronicle.ingest_logs_batch(items).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { index: Some(1), what: "entry_timestamp", .. }), "{error:?}");
    let error = chronicle.ingest_udm_batch([json!({}), json!("{}")]).await.unwrap_err();
    assert_eq!(error.to_string(), "item 1: event: it is a text, not a JSON object: parse it first");
    let error = chronicle.import_entities("no type", [json!({})]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "log_type", .. }), "{error:?}");
    assert_eq!(google.requests().len(), 0);
}

async fn partial(google: &Google, items: [(&str, &str); 5]) -> Partial {
    let error = google.chronicle(&TestClock::new()).ingest_logs_batch(items).await.unwrap_err();
    let Error::Partial(partial) = error else { panic!("{error:?}") };
    *partial
}

fn items(partial: &Partial) -> (Vec<Vec<usize>>, Vec<Vec<usize>>, Vec<usize>) {
    let accepted = partial.accepted.iter().map(|request| request.items.clone()).collect();
    let failed = partial.failed.iter().map(|request| request.items.clone()).collect();
    (accepted, failed, partial.not_sent.clone())
}

#[tokio::test]
async fn a_bad_record_fails_its_request_and_the_others_go_on() {
    let google = Google::start().await;
    let violation = json!({"error": {"code": 400, "message": "Bad.", "status": "INVALID_ARGUMENT", "details": [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [
            {"field": "inlineSource.logs[1].data", "description": "odd"}]}]}});
    google.reply_with("POST /logTypes/DNS", Answer::status(400).body(violation.to_string()));
    let partial = partial(&google, [("OKTA", "1"), ("DNS", "2"), ("OKTA", "3"), ("DNS", "4"), ("AWS", "5")]).await;
    assert_eq!(items(&partial), (vec![vec![0, 2], vec![4]], vec![vec![1, 3]], vec![]));
    assert_eq!(partial.accepted[0].operation.as_deref(), Some("operations/0199-batch"));
    // The receiver counts within its request, the caller within the batch.
    let error = Error::Partial(Box::new(partial));
    assert_eq!(error.violations()[0].item, Some(3));
    assert_eq!(
        error.to_string(),
        "of 5 items 3 were accepted; 2 of items 1 to 3 failed: the receiver answers 400 INVALID_ARGUMENT: Bad.; \
         item 3, inlineSource.logs[1].data: odd"
    );
    assert_eq!(google.records(), ["OKTA 1", "OKTA 3", "AWS 5"]);
}

#[tokio::test]
async fn what_concerns_all_ends_the_batch() {
    let google = Google::start().await;
    let denied = Answer::status(403).body(aip193(403, "no right", "PERMISSION_DENIED"));
    google.reply_with("POST /logTypes/DNS", denied);
    let partial = partial(&google, [("OKTA", "1"), ("AWS", "2"), ("DNS", "3"), ("AWS", "4"), ("ZSCALER", "5")]).await;
    assert_eq!(items(&partial), (vec![vec![0], vec![1, 3]], vec![vec![2]], vec![4]));
    assert!(matches!(partial.failed[0].error, Error::PermissionDenied(_)));
    assert_eq!(google.records(), ["OKTA 1", "AWS 2", "AWS 4"]);
    assert_eq!(google.requests().len(), 3, "no ZSCALER");
}

#[tokio::test]
async fn one_request_that_fails_is_its_own_error() {
    let google = Google::start().await;
    google.plan([status(400)]);
    let error =
        google.chronicle(&TestClock::new()).ingest_logs_batch([("OKTA", "1"), ("OKTA", "2")]).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}
