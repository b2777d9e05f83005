//! The same batch sent again is stored once, however and whenever it comes; what differs in a record is another batch.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::{ENTITIES, RAW, Reply, TestServer, UDM, gzip, offset, raw_batch, send, until};

const TIMED: &str = r#"{"log_type": "OKTA", "entries": [
    {"log_text": "timed one", "ts_rfc3339": "2024-05-06T07:08:09.5Z"}, {"log_text": "timed two"}]}"#;

#[track_caller]
fn check_first(reply: &Reply) -> String {
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
    assert!(!reply.headers.contains_key("x-penstock-repeat"), "{:?}", reply.headers);
    assert_eq!(reply.batch().len(), 36, "{:?}", reply.headers);
    reply.batch()
}

#[track_caller]
fn check_repeat(reply: &Reply, first: &str) {
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
    assert!(reply.is_repeat(), "{:?}", reply.headers);
    assert_eq!(reply.batch(), first, "a repeat names the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_concurrently_and_after_a_restart() {
    let server = TestServer::start().await;
    let batch = || raw_batch(["again one", "again two"]);
    let first = check_first(&server.post(RAW, batch()).await);
    check_repeat(&server.post(RAW, batch()).await, &first);

    let mut sent = JoinSet::new();
    for _ in 0..20 {
        sent.spawn(send(server.request(Method::POST, RAW).body(raw_batch(["together"]))));
    }
    let replies = sent.join_all().await;
    let firsts: Vec<_> = replies.iter().filter(|reply| !reply.is_repeat()).collect();
    assert_eq!(firsts.len(), 1, "{firsts:?}");
    let together = check_first(firsts[0]);
    replies.iter().filter(|reply| reply.is_repeat()).for_each(|reply| check_repeat(reply, &together));
    assert_eq!(server.get(&format!("/api/receipts/{together}")).await["repeats"], 19);

    let server = server.restart().await;
    check_repeat(&server.post(RAW, batch()).await, &first);
    check_repeat(&server.post(RAW, raw_batch(["together"])).await, &together);
    assert_eq!(server.texts("").await, ["again one", "again two", "together"]);
    let receipt = server.get(&format!("/api/receipts/{first}")).await;
    assert_eq!((&receipt["repeats"], &receipt["records_total"]), (&json!(1), &json!(2)));
    let status = server.get("/api/status").await;
    let counts = &status["instances"][0];
    assert_eq!((&counts["received"], &counts["committed"], &counts["repeated"]), (&json!(3), &json!(0), &json!(3)));
    assert_eq!(counts["conservation"]["holds"], true, "{counts}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_segment_was_removed() {
    let server = TestServer::with(|config| {
        config.log.segment_bytes = 64 << 10;
        config.store.flush_bytes = 64 << 10;
    })
    .await;
    let first = check_first(&server.post(RAW, raw_batch(["long gone"])).await);
    let receipt_path = format!("/api/receipts/{first}");
    let receipt = server.get(&receipt_path).await;
    assert_eq!(receipt["committed"]["in_log"], true, "{receipt}");
    let position = offset(&receipt["committed"]["position"]);

    let mut filler = 0;
    until("the log has let go of the batch", async || {
        filler += 1;
        let text = format!("filler {filler} {}", "x".repeat(30_000));
        assert_eq!(server.post(RAW, raw_batch([text.as_str()])).await.status, 200);
        server.settled().await;
        offset(&server.get("/api/status").await["log"]["first"]) > position
    })
    .await;
    let receipt = server.get(&receipt_path).await;
    assert_eq!(receipt["committed"]["in_log"], false, "{receipt}");

    check_repeat(&server.post(RAW, raw_batch(["long gone"])).await, &first);
    let server = server.restart().await;
    check_repeat(&server.post(RAW, raw_batch(["long gone"])).await, &first);
    assert_eq!(server.texts("long gone").await, ["long gone"]);
    let receipt = server.get(&receipt_path).await;
    assert_eq!((&receipt["batch"], &receipt["repeats"]), (&json!(first), &json!(1)));
    assert_eq!(receipt["records"][0]["store"]["state"], "stored", "{receipt}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_difference_and_what_does() {
    let server = TestServer::start().await;
    let own = server.instance.to_string();
    let key = server.api(Method::POST, "/api/keys", Some(json!({ "role": "ingest" }))).await;
    let key = key["api_key"].as_str().unwrap();
    let first = check_first(&server.post(RAW, TIMED).await);

    let as_value: Value = serde_json::from_str(TIMED).unwrap();
    let with_customer = json!({ "customer_id": own, "log_type": "OKTA", "entries": as_value["entries"] }).to_string();
    let camel = format!(
        r#"{{"customerId": "{own}", "logType": "OKTA", "namespace": null,
            "entries": [{{"logText": "timed one", "tsRfc3339": "2024-05-06T07:08:09.5Z"}}, {{"logText": "timed two"}}]}}"#
    );
    let same = [
        ("as it was", RAW, TIMED.to_owned()),
        ("another layout", RAW, as_value.to_string()),
        ("with the customer id", RAW, with_customer),
        ("camelCase", RAW, camel),
        ("escapes", RAW, TIMED.replace("timed one", r"\u0074imed\u0020one")),
        ("the same instant elsewhere", RAW, TIMED.replace("07:08:09.5Z", "09:08:09.500+02:00")),
        (
            "in microseconds",
            RAW,
            TIMED.replace(r#""ts_rfc3339": "2024-05-06T07:08:09.5Z""#, r#""tsEpochMicroseconds": "1714979289500000""#),
        ),
        ("another log type", RAW, TIMED.replace("OKTA", "BIND_DNS")),
        (
            "labels and namespace",
            RAW,
            TIMED.replace("{\"log_type\"", r#"{"namespace": "n", "labels": [{"key": "k", "value": "v"}], "log_type""#),
        ),
        ("v1", "/v1/unstructuredlogentries:batchCreate", TIMED.to_owned()),
        ("a colon in percent", "/v2/unstructuredlogentries%3AbatchCreate", TIMED.to_owned()),
    ];
    for (what, path, body) in &same {
        let reply = server.post(path, body.clone()).await;
        assert!(reply.is_repeat(), "{what}: {} {}", reply.status, reply.text());
        check_repeat(&reply, &first);
    }
    let zipped = server.request(Method::POST, RAW).header("content-encoding", "gzip").body(gzip(TIMED.as_bytes()));
    check_repeat(&send(zipped).await, &first);
    check_repeat(&send(server.http.post(server.url(&format!("{RAW}?key={key}"))).body(TIMED)).await, &first);
    let receipt = server.get(&format!("/api/receipts/{first}")).await;
    assert_eq!(receipt["repeats"], same.len() + 2);

    let other = server.api(Method::POST, "/api/instances", Some(json!({ "name": "other" }))).await;
    let other = format!(r#"{{"customer_id": {}, "log_type""#, other["id"]);
    let own = format!(r#"{{"customer_id": "{own}", "log_type""#);
    let mine = |body: &str| body.replacen("{\"log_type\"", &own, 1);
    let different = [
        ("one byte", mine(&TIMED.replace("timed two", "timed twö"))),
        ("one time", mine(&TIMED.replace("09.5Z", "09.500001Z"))),
        (
            "a time more",
            mine(&TIMED.replace("\"timed two\"", r#""timed two", "ts_rfc3339": "2024-05-06T07:08:09.5Z""#)),
        ),
        ("no time", mine(r#"{"log_type": "OKTA", "entries": [{"log_text": "timed one"}, {"log_text": "timed two"}]}"#)),
        (
            "another order",
            mine(
                &TIMED
                    .replace("timed one", "timed 2")
                    .replace("timed two", "timed one")
                    .replace("timed 2", "timed two"),
            ),
        ),
        ("split elsewhere", mine(&TIMED.replace("timed one", "timed onet").replace("timed two", "imed two"))),
        ("one record less", mine(&TIMED.replace(r#", {"log_text": "timed two"}"#, ""))),
        ("another instance", TIMED.replacen("{\"log_type\"", &other, 1)),
    ];
    for (what, body) in &different {
        let reply = server.post(RAW, body.clone()).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert!(!reply.is_repeat(), "{what} is not the same batch");
        check_repeat(&server.post(RAW, body.clone()).await, &check_first(&reply));
    }
    // All have two records, but the one that has one, and one of whose records the word is not.
    assert_eq!(server.search("raw", "timed").await.len(), 2 * (1 + different.len()) - 2);

    // UDM events and entities go by their bytes; the kind is part of it.
    let event = r#"{"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2024-05-06T07:08:09Z"}}"#;
    let events = mine(&format!(r#"{{"log_type": "OKTA", "events": [{event}]}}"#));
    let entities = mine(&format!(r#"{{"log_type": "OKTA", "entities": [{event}]}}"#));
    let one = check_first(&server.post(UDM, events.clone()).await);
    check_repeat(&server.post(UDM, events.clone()).await, &one);
    check_first(&server.post(UDM, events.replace("GENERIC", "GENERIc")).await);
    let entity = check_first(&server.post(ENTITIES, entities.clone()).await);
    check_repeat(&server.post(ENTITIES, entities).await, &entity);
    server.stop().await;
}
