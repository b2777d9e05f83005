//! A record's whole way: sent as the Ingestion API's document shows it, found, delivered, told of in a receipt, and all
//! of that again after a restart. Then the ways of those whose target is dead.

use std::collections::BTreeMap;

use deliver::ConnectorStatus;
use event::InstanceId;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::third_party::{Answer, Received, ThirdParty};

use crate::server::{
    Credential, ENTITIES, INGESTION, RAW, Reply, TestServer, UDM, offset, raw_batch, rows, send, until,
};

/// The customer id that stands in the document's requests.
const CUSTOMER: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
const EVENTS: &str = include_str!("../../src/cli/demo/udmevents.json");
const LOGS: &str = include_str!("../../src/cli/demo/unstructuredlogentries.json");
const ENTITY_BATCH: &str = include_str!("../../src/cli/demo/entities.json");
/// With its missing comma, its trailing semicolon, two kinds of timestamps and a date that is none.
const AS_PRINTED: &str = include_str!("../../src/cli/demo/unstructuredlogentries_as_printed.txt");

fn sample(text: &str) -> String {
    text.replace("<customer UUID>", CUSTOMER)
}

/// Waits until a connector's status is as wanted; gives it.
async fn connector(server: &TestServer, name: &str, is_so: impl Fn(&ConnectorStatus) -> bool) -> ConnectorStatus {
    let deliver = &server.server.pipeline.deliver;
    let mut changes = deliver.changes();
    let wait = async {
        loop {
            let status = deliver.status().into_iter().find(|status| status.id.name == name);
            match status {
                Some(status) if is_so(&status) => return status,
                _ => changes.changed().await.unwrap(),
            }
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), wait).await;
    waited.unwrap_or_else(|_| panic!("{name}: {:?}", deliver.status()))
}

async fn create_connector(server: &TestServer, instance: InstanceId, name: &str, url: &str) {
    let document = json!({
        "name": name, "instance": instance.to_string(),
        "target": { "type": "http", "url": url, "batch_wait_ms": 10 },
    });
    server.api(Method::POST, "/api/connectors", Some(document)).await;
}

/// The elements of all requests, by id; none may come twice.
fn elements(received: &[Received]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for request in received {
        let elements: Vec<Value> = serde_json::from_str(&request.text()).unwrap();
        for element in elements {
            let id = element["id"].as_str().unwrap().to_owned();
            assert!(all.insert(id, element).is_none(), "delivered twice: {}", request.text());
        }
    }
    all
}

/// What is promised to stand in an element, given the request's body and its reply.
fn expected(body: &str, reply: &Reply, list: &str) -> BTreeMap<String, Value> {
    let body: Value = serde_json::from_str(body).unwrap();
    let batch: event::BatchId = reply.batch().parse().unwrap();
    let records = body[list].as_array().unwrap();
    let element = |(index, record): (u32, &Value)| {
        let id = batch.record(index).to_string();
        let (kind, field, data, time) = match list {
            "entries" => ("raw", "text", &record["log_text"], &Value::Null),
            "events" => ("udm", "udm", record, &record["metadata"]["event_timestamp"]),
            _ => ("entity", "entity", record, &record["metadata"]["collected_timestamp"]),
        };
        let labels = body.get("labels").cloned().unwrap_or_else(|| json!([]));
        let log_type = if kind == "udm" { json!("UDM") } else { body["log_type"].clone() };
        let mut element = json!({ "id": id, "instance": CUSTOMER, "kind": kind, "log_type": log_type, "namespace": "",
            "labels": labels, "event_time": time });
        element[field] = data.clone();
        (id, element)
    };
    (0..).zip(records).map(element).collect()
}

/// Compares what was promised; times that only the server knows are checked for their form.
#[track_caller]
fn check_elements(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) {
    assert_eq!(Vec::from_iter(found.keys()), Vec::from_iter(expected.keys()));
    for (found, expected) in found.values().zip(expected.values()) {
        let (mut found, mut expected) = (found.clone(), expected.clone());
        let take = |value: &mut Value, name: &str| value.as_object_mut().unwrap().remove(name).unwrap();
        let received_at = take(&mut found, "received_at");
        let received_at = event::Time::parse_rfc3339(received_at.as_str().unwrap()).unwrap();
        let event_time = take(&mut found, "event_time");
        let event_time = event::Time::parse_rfc3339(event_time.as_str().unwrap()).unwrap();
        let wanted = match take(&mut expected, "event_time").as_str() {
            Some(time) => event::Time::parse_rfc3339(time).unwrap(),
            // Of the three raw logs, one says its time.
            None if found["text"].as_str().unwrap().starts_with("26-Feb-2019 13:35") => {
                event::Time::parse_rfc3339("2019-02-26T13:35:02.187Z").unwrap()
            }
            None => received_at,
        };
        assert_eq!((event_time, &found), (wanted, &expected));
    }
}

async fn check_found(server: &TestServer) {
    let cases = [
        ("raw", "examplepetstore.com", 1),
        ("raw", "13:3", 3),
        ("raw", "no such text", 0),
        ("udm", r#"target.user.userid = "mary@altostrat.com""#, 1),
        // Two were sent as UDM; the third was a line of BIND.
        ("udm", r#"ip = "10.1.2.3""#, 3),
        ("udm", r#"hostname = /altostrat/ nocase AND NOT metadata.event_type = "USER_LOGIN""#, 1),
        ("udm", r#"entity.user.userid = "johndoe""#, 1),
        ("udm", r#"network.http.response_code >= 200 AND principal.port < 60001"#, 1),
        ("udm", r#"ip = "10.1.2.4""#, 0),
    ];
    for (language, query, count) in cases {
        let rows = server.search(language, query).await;
        assert_eq!(rows.len(), count, "{query}: {rows:?}");
    }
    let narrowed = [
        (json!({ "language": "raw", "query": "query:", "log_types": ["BIND_DNS"] }), 3),
        (json!({ "language": "raw", "query": "query:", "log_types": ["OKTA"] }), 0),
        (json!({ "language": "raw", "regex": r"client 10\.\d+\.1[0-9]+\." }), 1),
        (json!({ "language": "raw", "query": "query:", "to": "2019-02-26T13:35:02.188Z" }), 1),
        (json!({ "language": "raw", "query": "query:", "from": "2019-02-26T13:35:02.188Z" }), 2),
        (json!({ "language": "raw", "query": "query:", "limit": 2 }), 2),
        (json!({ "language": "udm", "query": "ip = \"10.1.2.3\"", "to": "2019-10-23T00:00:00Z" }), 2),
    ];
    for (query, count) in narrowed {
        let reply = send(server.request(Method::POST, "/api/search").json(&query)).await;
        assert_eq!(rows(&reply).len(), count, "{query}: {}", reply.text());
    }
}

/// Every record of the batch: committed, stored, and where the connectors have it.
async fn check_receipt(server: &TestServer, reply: &Reply, records: usize, connectors: Value) {
    let receipt = server.get(&format!("/api/receipts/{}", reply.batch())).await;
    assert_eq!((&receipt["batch"], &receipt["instance"]), (&json!(reply.batch()), &json!(CUSTOMER)));
    assert_eq!((&receipt["records_total"], &receipt["repeats"]), (&json!(records), &json!(0)));
    assert_eq!(receipt["committed"]["in_log"], true, "{receipt}");
    assert_eq!(receipt["set_aside"], json!([]));
    let told = receipt["records"].as_array().unwrap();
    assert_eq!(told.len(), records);
    for record in told {
        assert_eq!(record["store"]["state"], "stored", "{receipt}");
        assert_eq!(record["connectors"], connectors, "{receipt}");
    }
    // The same of a single record.
    let last = told.last().unwrap();
    let alone = server.get(&format!("/api/receipts/{}", last["id"].as_str().unwrap())).await;
    assert_eq!(alone["records"], json!([last]));
}

async fn check_conservation(server: &TestServer) {
    server.settled().await;
    let status = server.get("/api/status").await;
    for instance in status["instances"].as_array().unwrap() {
        assert_eq!(instance["conservation"]["holds"], true, "{instance}");
        assert_eq!(instance["conservation"]["waiting"], 0, "{instance}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_own_requests() {
    let server = TestServer::start().await;
    server.api(Method::POST, "/api/instances", Some(json!({ "id": CUSTOMER, "name": "seed" }))).await;
    let customer: InstanceId = CUSTOMER.parse().unwrap();
    let key_file = server.account(customer, "ingest").await;
    let sender = Credential::Bearer(server.token(&key_file, INGESTION).await);
    let target = ThirdParty::start().await;
    create_connector(&server, customer, "siem", &target.url("/in")).await;

    let as_sender = |path: &str, body: String| send(server.request_as(&sender, Method::POST, path).body(body));
    let types = send(server.request_as(&sender, Method::GET, "/v2/logtypes")).await;
    assert_eq!((types.status, types.json()["logTypes"].is_array()), (StatusCode::OK, true));

    // The document's entities name no customer.
    let entities = sample(ENTITY_BATCH).replace(&format!("\"customer_id\": \"{CUSTOMER}\","), "");
    assert!(!entities.contains("customer_id"));
    let (mut sent, mut wanted) = (Vec::new(), BTreeMap::new());
    for (path, body, list, records) in
        [(UDM, sample(EVENTS), "events", 2), (RAW, sample(LOGS), "entries", 3), (ENTITIES, entities, "entities", 2)]
    {
        let reply = as_sender(path, body.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"), "{path}");
        wanted.append(&mut expected(&body, &reply, list));
        sent.push((reply, records));
    }

    // As printed it is no JSON; mended step by step, each fault is named.
    let comma = AS_PRINTED.find("  \"entries\"").unwrap();
    let semicolon = AS_PRINTED.rfind(';').unwrap();
    let with_comma = format!("{},{}", &AS_PRINTED[..comma], &AS_PRINTED[comma..]);
    let mended = with_comma.replace("];", "]");
    for (body, names) in [
        (AS_PRINTED.to_owned(), vec!["not valid JSON".to_owned(), (comma + 2).to_string()]),
        (with_comma, vec!["not valid JSON".to_owned(), (semicolon + 1).to_string()]),
        (mended.clone(), vec!["entries[1]".to_owned(), "2019-26-02T13:37:04.523-08:00".to_owned()]),
        (mended.replace("2019-26-02", "2019-02-26"), vec!["entries[1].ts_rfc3339".to_owned(), "one kind".to_owned()]),
    ] {
        let reply = as_sender(RAW, body).await;
        let message = reply.error();
        assert_eq!(reply.status, 400);
        names.iter().for_each(|name| assert!(message.contains(name.as_str()), "{message:?} does not name {name:?}"));
    }

    check_found(&server).await;
    connector(&server, "siem", |status| status.written == 7).await;
    let received = target.received();
    check_elements(&elements(&received), &wanted);
    let delivered = json!([{ "name": "siem", "state": "delivered" }]);
    for (reply, records) in &sent {
        check_receipt(&server, reply, *records, delivered.clone()).await;
    }
    check_conservation(&server).await;

    let server = server.restart().await;
    check_found(&server).await;
    for (reply, records) in &sent {
        check_receipt(&server, reply, *records, delivered.clone()).await;
    }
    // The token was made by the process before.
    let reply = send(server.request_as(&sender, Method::POST, RAW).body(raw_batch(["after the restart"]))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let status = connector(&server, "siem", |status| status.written == 8).await;
    assert_eq!((status.errors, status.dead_letters, status.lost.len()), (0, 0, 0));
    let received = target.received();
    let all = elements(&received);
    assert_eq!(all.len(), 8);
    assert_eq!(all[&reply.batch()]["text"], "after the restart");
    check_conservation(&server).await;
    // Without a credential on loopback, and in the form that Prometheus reads.
    let metrics = send(server.http.get(server.url("/metrics"))).await;
    for line in [
        format!("penstock_records_committed_total{{instance=\"{CUSTOMER}\"}} 1"),
        format!("penstock_connector_written_total{{instance=\"{CUSTOMER}\",connector=\"siem\"}} 8"),
        "penstock_log_writing 1".to_owned(),
        "penstock_store_lag_bytes 0".to_owned(),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in {}", metrics.text());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_slows_nobody_and_loses_nothing() {
    let server = TestServer::start().await;
    server.api(Method::POST, "/api/instances", Some(json!({ "id": CUSTOMER }))).await;
    let customer: InstanceId = CUSTOMER.parse().unwrap();
    let [alive, hung, gone] = [ThirdParty::start().await, ThirdParty::start().await, ThirdParty::start().await];
    hung.rule(|_| Answer::ok().held());
    for (name, target) in [("alive", &alive), ("hung", &hung), ("gone", &gone)] {
        create_connector(&server, customer, name, &target.url("/")).await;
    }
    drop(gone);

    let texts: Vec<String> = (0..50).map(|n| format!("on its way {n:02}")).collect();
    let mut last = None;
    for text in &texts {
        let body = raw_batch([text.as_str()]).replacen('{', &format!("{{\"customer_id\": \"{CUSTOMER}\", "), 1);
        let reply = server.post(RAW, body).await;
        assert_eq!(reply.status, 200);
        last = Some(reply);
    }
    connector(&server, "alive", |status| status.written == 50).await;
    assert_eq!(server.texts("on its way").await, texts);
    let gone = connector(&server, "gone", |status| status.errors > 0).await;
    assert!(gone.lag_bytes > 0 && gone.last_error.is_some(), "{gone:?}");
    hung.wait_for(1).await;
    let states = json!([
        { "name": "alive", "state": "delivered" },
        { "name": "gone", "state": "waiting" },
        { "name": "hung", "state": "waiting" },
    ]);
    check_receipt(&server, &last.unwrap(), 1, states).await;
    check_conservation(&server).await;

    // The dead one comes back to life: all of it, and nothing twice.
    hung.rule(|_| Answer::ok());
    hung.release();
    connector(&server, "hung", |status| status.written == 50).await;
    let mut delivered: Vec<_> =
        elements(&hung.received()).into_values().map(|mut element| element["text"].take()).collect();
    delivered.sort_by_key(ToString::to_string);
    assert_eq!(json!(delivered), json!(texts));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_beyond_what_the_log_keeps_is_named() {
    let server = TestServer::with(|config| {
        config.log.segment_bytes = 64 << 10;
        config.log.keep_bytes = 200_000;
        config.store.flush_bytes = 64 << 10;
    })
    .await;
    let target = ThirdParty::start().await;
    target.script([Answer::ok().held()]);
    create_connector(&server, server.instance, "slow", &target.url("/")).await;
    let mut sent = Vec::new();
    let mut post = async |text: String| {
        let reply = server.post(RAW, raw_batch([text.as_str()])).await;
        assert_eq!(reply.status, 200);
        sent.push((reply.batch(), text));
        reply.batch()
    };
    post("sent while it was alive".to_owned()).await;
    target.wait_for(1).await;
    let lost = post(format!("lost on its way {}", "x".repeat(30_000))).await;
    let receipt = server.get(&format!("/api/receipts/{lost}")).await;
    assert_eq!(receipt["records"][0]["connectors"][0]["state"], "waiting", "{receipt}");
    let position = offset(&receipt["committed"]["position"]);
    let mut filler = 0;
    until("the log keeps it no longer", async || {
        filler += 1;
        post(format!("filler {filler:04} {}", "x".repeat(30_000))).await;
        server.settled().await;
        offset(&server.get("/api/status").await["log"]["first"]) > position
    })
    .await;

    target.release();
    connector(&server, "slow", |status| !status.lost.is_empty() && status.lag_bytes == 0).await;
    let shown = server.get("/api/connectors/slow").await;
    let status = &shown["status"];
    assert_eq!(status["state"], "needs_attention", "{shown}");
    assert_eq!(status["lost"][0]["why"], "kept", "{shown}");
    let lost_ranges: Vec<_> =
        status["lost"].as_array().unwrap().iter().map(|range| offset(&range["from"])..offset(&range["to"])).collect();
    assert!(lost_ranges[0].contains(&position), "{lost_ranges:?} do not hold {position}");
    let reason = status["reason"].as_str().unwrap();
    let newest = status["lost"].as_array().unwrap().last().unwrap();
    for end in ["from", "to"] {
        assert!(reason.contains(newest[end].as_str().unwrap()), "{reason:?} does not name {newest}");
    }
    let receipt = server.get(&format!("/api/receipts/{lost}")).await;
    assert_eq!(receipt["records"][0]["connectors"], json!([{ "name": "slow", "state": "lost" }]), "{receipt}");

    // Nothing but that range is missing at the target, and nothing at all in the store.
    let delivered = elements(&target.received());
    for (batch, text) in &sent {
        let receipt = server.get(&format!("/api/receipts/{batch}")).await;
        let position = offset(&receipt["committed"]["position"]);
        let is_lost = lost_ranges.iter().any(|range| range.contains(&position));
        assert_eq!(delivered.contains_key(batch), !is_lost, "{} at {position}, {lost_ranges:?}", &text[..12]);
        assert_eq!(receipt["records"][0]["store"]["state"], "stored", "{receipt}");
    }
    assert_eq!(server.texts("").await.len(), sent.len());
    check_conservation(&server).await;
    server.stop().await;
}
