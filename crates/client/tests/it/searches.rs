//! Searches and classification: what goes over the wire, what comes back.

use penstock_client::{ApiVersion, Error, Prediction};
use serde_json::json;

use crate::world::{CUSTOMER, Google, TestClock};

const START: &str = "2026-01-01T03:04:05.678901Z";
const END: &str = "2026-01-02T03:04:05.678901Z";

#[tokio::test]
async fn a_udm_search() {
    let google = Google::start().await;
    let event = json!({"name": "x/events/QUFB", "udm": {"metadata": {"id": "QUFB"}}});
    google.reply("GET :udmSearch", &json!({"events": [event], "moreDataAvailable": true}));
    let chronicle = google.chronicle(&TestClock::new());
    let query = r#"metadata.event_type = "USER_LOGIN""#;
    let found = chronicle.search_udm(query, START, END).max_events(5).await.unwrap();
    assert_eq!((found.events[0].udm["metadata"]["id"].as_str(), found.more_data_available), (Some("QUFB"), true));
    let expected = "GET :udmSearch?query=metadata.event_type+%3D+%22USER_LOGIN%22\
                    &timeRange.start_time=2026-01-01T03%3A04%3A05.678901Z\
                    &timeRange.end_time=2026-01-02T03%3A04%3A05.678901Z&limit=5";
    assert_eq!(google.requests()[0].0, expected);

    google.reply("GET :udmSearch", &json!({}));
    assert_eq!(chronicle.search_udm("x", START, END).await.unwrap().events, []);
    assert!(chronicle.search_udm("x", "today", END).await.is_err());
}

#[tokio::test]
async fn a_raw_log_search() {
    let google = Google::start().await;
    google.reply("POST :searchRawLogs", &json!([{"progress": 0.5}, {"complete": true}]));
    let chronicle = google.chronicle(&TestClock::new());
    let found = chronicle.search_raw_logs("raw = \"x\"", START, END).log_types(["OKTA"]).page_size(10).await.unwrap();
    assert_eq!((found.parts.len(), found.complete), (2, true));
    let expected = json!({
        "baselineQuery": "raw = \"x\"",
        "baselineTimeRange": {"startTime": START, "endTime": END},
        "caseSensitive": false,
        "pageSize": 10,
        "logTypes": [{"displayName": "OKTA"}],
    });
    assert_eq!(google.requests(), [("POST :searchRawLogs".to_owned(), expected)]);
    google.reply("POST :searchRawLogs", &json!([{"progress": 0.5}]));
    assert!(!chronicle.search_raw_logs("x", START, END).await.unwrap().complete);

    let broken = json!([{"progress": 0.5}, {"error": {"code": 503, "message": "gone", "status": "UNAVAILABLE"}}]);
    google.reply("POST :searchRawLogs", &broken);
    let error = chronicle.search_raw_logs("x", START, END).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: Some(503), .. }), "{error:?}");
}

#[tokio::test]
async fn a_classification_gives_the_likeliest_first() {
    let google = Google::start().await;
    let predictions = json!([{"logType": "DNS"}, {"logType": "OKTA", "score": 0.95}]);
    google.reply("POST /logs:classify", &json!({"predictions": predictions}));
    let chronicle = google.chronicle(&TestClock::new());
    let found = chronicle.classify_logs([r#"{"a":1}"#]).await.unwrap();
    let prediction = |log_type: &str, score| Prediction { log_type: log_type.to_owned(), score };
    assert_eq!(found, [prediction("OKTA", 0.95), prediction("DNS", 0.0)]);
    assert_eq!(google.requests()[0].1, json!({"logData": ["eyJhIjoxfQ=="]}));
}

#[tokio::test]
async fn the_versions_differ_in_the_path_alone() {
    let google = Google::start().await;
    for version in [ApiVersion::V1Alpha, ApiVersion::V1Beta, ApiVersion::V1] {
        let client = google.client_with(&TestClock::new()).api_version(version).build().unwrap();
        client.chronicle(CUSTOMER, "proj", "us").unwrap().ingest_log("OKTA", "x").await.unwrap();
    }
    let paths: Vec<String> = google.server.received().into_iter().map(|request| request.path).collect();
    let expected = ["v1alpha", "v1beta", "v1"]
        .map(|version| format!("/{version}/projects/proj/locations/us/instances/{CUSTOMER}/logTypes/OKTA/logs:import"));
    assert_eq!(paths, expected);
}
