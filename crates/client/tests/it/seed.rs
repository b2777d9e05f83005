//! The examples of seed 000, one by one, in Rust, with its names and parameters.

use penstock_client::{Error, LogEntry};
use serde_json::{Value, json};

use crate::world::{Google, PARENT, TestClock, aip193};
use testkit::third_party::Answer;

pub fn okta_log() -> String {
    json!({
        "actor": {"displayName": "Joe Doe", "alternateId": "jdoe@example.com"},
        "displayMessage": "User login to Okta",
        "eventType": "user.session.start",
        "outcome": {"result": "SUCCESS"},
        "published": "2026-11-21T22:00:00Z",
    })
    .to_string()
}

/// As printed: `event_id` is no field of UDM, `ip` is no list.
pub fn udm_event() -> Value {
    json!({
        "metadata": {
            "event_timestamp": "2026-11-21T21:00:00Z",
            "event_type": "USER_LOGIN",
            "product_name": "Custom Application",
            "vendor_name": "My Company",
            "event_id": "7b0e5ad2-6a5c-4c43-9d16-5c1c3fb5b6e8",
        },
        "principal": {
            "user": {"userid": "jdoe@example.com", "user_display_name": "John Doe"},
            "ip": "192.168.1.100",
        },
        "target": {"application": "My Application"},
        "security_result": {"action": "ALLOW", "summary": "Successful login"},
    })
}

#[tokio::test]
async fn log_ingestion() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let result = chronicle.ingest_log("OKTA", okta_log()).await.unwrap();
    assert_eq!(result.operation.as_deref(), Some("operations/0199-batch"));
    assert_eq!(google.records(), [format!("OKTA {}", okta_log())]);
    // No forwarder and no list of log types is asked for: one call is one request.
    let requests = google.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, "POST /logTypes/OKTA/logs:import");
    let log = &requests[0].1["inlineSource"]["logs"][0];
    assert_eq!((&log["logEntryTime"], &log["collectionTime"]), (&json!("2026-11-21T22:00:00Z"), &log["logEntryTime"]));
    assert!(requests[0].1["inlineSource"].get("forwarder").is_none());
    let head = &google.server.received()[0];
    assert_eq!((head.header("authorization"), head.header("content-type")), ("Bearer tok", "application/json"));
    assert!(head.header("user-agent").starts_with("penstock-client/"));
}

#[tokio::test]
async fn google_names_no_operation() {
    let google = Google::start().await;
    google.reply("POST /logTypes/OKTA", &json!({}));
    let result = google.chronicle(&TestClock::new()).ingest_log("OKTA", okta_log()).await.unwrap();
    assert_eq!(result.operation, None);
}

#[tokio::test]
async fn udm_ingestion_as_printed() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let event = udm_event();
    let result = chronicle.ingest_udm(&event).await.unwrap();
    assert!(result.operation.is_some());
    let mut expected = event;
    expected["metadata"]["id"] = json!("AQEBAQEBAQEBAQEBAQEBAQ==");
    assert_eq!(
        google.requests(),
        [("POST /events:import".to_owned(), json!({"inlineSource": {"events": [{"udm": expected}]}}))]
    );
}

#[tokio::test]
async fn batch_ingestion() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let log_batch = [
        json!({"log_type": "OKTA", "log_message": "okta_log1"}),
        json!({"log_type": "OKTA", "log_message": "okta_log2"}),
    ];
    let log_batch = log_batch.into_iter().map(|item| serde_json::from_value::<LogEntry>(item).unwrap());
    let batch_result = chronicle.ingest_logs_batch(log_batch).await.unwrap();
    assert_eq!((batch_result.count(), batch_result.accepted.len()), (2, 1));
    assert_eq!(batch_result.operations().collect::<Vec<_>>(), ["operations/0199-batch"]);

    let udm_batch = [udm_event(), udm_event(), udm_event()];
    let udm_batch_result = chronicle.ingest_udm_batch(&udm_batch).await.unwrap();
    assert_eq!((udm_batch_result.count(), udm_batch_result.accepted.len()), (3, 1));
    let records = google.records();
    assert_eq!(records[..2], ["OKTA okta_log1", "OKTA okta_log2"]);
    let ids: Vec<Value> = records[2..]
        .iter()
        .map(|record| {
            serde_json::from_str::<Value>(record.strip_prefix("UDM ").unwrap()).unwrap()["metadata"]["id"].take()
        })
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "three events are three, even if they read the same");
}

#[tokio::test]
async fn forwarder_management() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let forwarder = |id: &str, name: &str| json!({"name": format!("{PARENT}/forwarders/{id}"), "displayName": name});
    google.reply("GET /forwarders?", &json!({"forwarders": [forwarder("f1", "One"), forwarder("f2", "Two")]}));
    google.reply("GET /forwarders/f1/collectors", &json!({}));
    google.reply("GET /forwarders/f2/collectors", &json!({}));
    google.reply("POST /forwarders", &forwarder("f3", "My Custom Forwarder"));
    google.reply("POST /forwarders/f3/collectors", &json!({"name": "c"}));

    let forwarders = chronicle.list_forwarders().await.unwrap();
    let names: Vec<&str> = forwarders.iter().map(|forwarder| forwarder.name.as_str()).collect();
    assert_eq!(names, [format!("{PARENT}/forwarders/f1"), format!("{PARENT}/forwarders/f2")]);

    let new_forwarder = chronicle.create_forwarder("My Custom Forwarder", "CUSTOM_LOG_TYPE").await.unwrap();
    assert_eq!(new_forwarder.id(), "f3");
    let forwarder = chronicle.get_or_create_forwarder("WINDOWS_EVENT_LOG").await.unwrap();
    assert_eq!(forwarder.id(), "f3");
    let collectors: Vec<Value> = google
        .requests()
        .into_iter()
        .filter(|(name, _)| name == "POST /forwarders/f3/collectors")
        .map(|(_, body)| body["config"]["logType"].clone())
        .collect();
    assert_eq!(collectors, ["CUSTOM_LOG_TYPE", "WINDOWS_EVENT_LOG"]);
}

#[tokio::test]
async fn log_types() {
    let google = Google::start().await;
    let log_type = |name: &str, words: &str| json!({"name": format!("{PARENT}/logTypes/{name}"), "displayName": words});
    let second = json!({"logTypes": [log_type("WINEVTLOG", "Windows Event")]});
    let first = json!({"logTypes": [log_type("OKTA", "Okta"), log_type("BIND_DNS", "BIND")], "nextPageToken": "2+/"});
    google.reply("GET /logTypes?pageSize=1000", &first);
    google.reply("GET /logTypes?pageSize=1000&pageToken=2%2B%2F", &second);
    let log_types = google.chronicle(&TestClock::new()).list_log_types().await.unwrap();
    let printed: Vec<String> = log_types
        .iter()
        .map(|log_type| format!("Log Type: {} Description: {}", log_type.name, log_type.description))
        .collect();
    let expected = [
        "Log Type: OKTA Description: Okta",
        "Log Type: BIND_DNS Description: BIND",
        "Log Type: WINEVTLOG Description: Windows Event",
    ];
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn custom_timestamps() {
    let google = Google::start().await;
    let chronicle = google.chronicle(&TestClock::new());
    let result = chronicle
        .ingest_log("OKTA", okta_log())
        .entry_timestamp("2023-01-01T12:00:00Z")
        .collection_timestamp("2023-01-01T12:05:00Z")
        .namespace("corp")
        .label("site", "Zürich")
        .forwarder("f1")
        .await;
    assert!(result.unwrap().operation.is_some());
    let source = google.requests()[0].1["inlineSource"].clone();
    let log = &source["logs"][0];
    assert_eq!(log["logEntryTime"], "2023-01-01T12:00:00Z");
    assert_eq!(log["collectionTime"], "2023-01-01T12:05:00Z");
    assert_eq!(log["environmentNamespace"], "corp");
    assert_eq!(log["labels"], json!({"site": {"value": "Zürich"}}));
    assert_eq!(source["forwarder"], format!("{PARENT}/forwarders/f1"));

    let backwards = chronicle
        .ingest_log("OKTA", "x")
        .entry_timestamp("2023-01-01T12:05:00Z")
        .collection_timestamp("2023-01-01T12:00:00Z");
    let error = backwards.await.unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "collection_timestamp", .. }), "{error}");
    assert_eq!(google.requests().len(), 1, "nothing was sent");
}

#[tokio::test]
async fn error_handling() {
    let google = Google::start().await;
    google.reply_with("POST", Answer::status(400).body(aip193(400, "Unknown log type.", "INVALID_ARGUMENT")));
    let error = google.chronicle(&TestClock::new()).ingest_log("OKTA", okta_log()).await.unwrap_err();
    let printed = format!("Ingestion failed: {error}");
    assert_eq!(printed, "Ingestion failed: the receiver answers 400 INVALID_ARGUMENT: Unknown log type.");
}

#[tokio::test]
async fn entities() {
    let google = Google::start().await;
    let entity = json!({"metadata": {"entity_type": "USER"}, "entity": {"user": {"userid": "johndoe"}}});
    let result = google.chronicle(&TestClock::new()).import_entities("OKTA", [&entity]).await.unwrap();
    assert_eq!(result.accepted[0].log_type, "OKTA");
    let body = json!({"inlineSource": {"logType": "OKTA", "entities": [entity]}});
    assert_eq!(google.requests(), [("POST /entities:import".to_owned(), body)]);
}
