//! Forwarders: what goes over the wire, and that looking for one does not make a second.

use std::collections::BTreeMap;

use penstock_client::{Error, FilterBehavior, ForwarderConfig, ForwarderMetadata, Method, RegexFilter};
use serde_json::{Value, json};
use testkit::third_party::Answer;

use crate::world::{Google, PARENT, TestClock, aip193, not_taken, status};

fn forwarder(id: &str, display_name: &str) -> Value {
    json!({"name": format!("{PARENT}/forwarders/{id}"), "displayName": display_name, "state": "ACTIVE"})
}

fn collectors(log_types: &[&str]) -> Value {
    let collector = |log_type: &&str| json!({"name": "c", "config": {"logType": log_type}});
    json!({"collectors": log_types.iter().map(collector).collect::<Vec<_>>()})
}

/// What `get_or_create_forwarder("OKTA")` does where these forwarders exist.
async fn check(existing: &[(&str, &str, &[&str])], expected_id: &str, expected: &[&str]) {
    let google = Google::start().await;
    let list: Vec<Value> = existing.iter().map(|(id, name, _)| forwarder(id, name)).collect();
    google.reply("GET /forwarders?", &json!({"forwarders": list}));
    google.reply("POST /forwarders", &forwarder("new", "penstock-client OKTA"));
    google.reply("POST /forwarders/own/collectors", &json!({"name": "c"}));
    google.reply("POST /forwarders/new/collectors", &json!({"name": "c"}));
    for (id, _, types) in existing {
        google.reply(&format!("GET /forwarders/{id}/collectors"), &collectors(types));
    }
    let chronicle = google.chronicle(&TestClock::new());
    let found = chronicle.get_or_create_forwarder("OKTA").await.unwrap();
    assert_eq!(found.id(), expected_id);
    let requests: Vec<String> =
        google.requests().into_iter().map(|(name, _)| name.replace("?pageSize=1000", "")).collect();
    assert_eq!(requests, expected);
}

#[tokio::test]
async fn a_forwarder_for_a_type_is_found_or_made() {
    check(&[], "new", &["GET /forwarders", "POST /forwarders", "POST /forwarders/new/collectors"]).await;
    let found: &[&str] = &["GET /forwarders", "GET /forwarders/own/collectors"];
    check(&[("a", "A", &["OKTA"]), ("own", "penstock-client OKTA", &["OKTA"])], "own", found).await;
    let elsewhere: &[&str] = &["GET /forwarders", "GET /forwarders/a/collectors", "GET /forwarders/b/collectors"];
    check(&[("a", "A", &["DNS"]), ("b", "B", &["DNS", "OKTA"])], "b", elsewhere).await;
    // An earlier attempt was cut off between the two.
    let mended: &[&str] = &["GET /forwarders", "GET /forwarders/own/collectors", "POST /forwarders/own/collectors"];
    check(&[("own", "penstock-client OKTA", &[])], "own", mended).await;
}

#[tokio::test]
async fn a_forwarder_and_its_collector_as_the_api_has_them() {
    let google = Google::start().await;
    google.reply("POST /forwarders", &forwarder("f", "F"));
    google.reply("POST /forwarders/f/collectors", &json!({"name": "c", "config": {"logType": "T"}}));
    let chronicle = google.chronicle(&TestClock::new());
    let metadata = ForwarderMetadata {
        asset_namespace: "ns".to_owned(),
        labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
    };
    let filter = RegexFilter { description: "d".to_owned(), regexp: ".*".to_owned(), behavior: FilterBehavior::Allow };
    let config = ForwarderConfig {
        upload_compression: Some(true),
        metadata: Some(metadata),
        regex_filters: Some(vec![filter]),
        server_settings: None,
    };
    chronicle.create_forwarder("F", "T").config(config.clone()).await.unwrap();
    chronicle.create_forwarder("G", None).await.unwrap();
    google.reply("PATCH /forwarders/f", &forwarder("f", "H"));
    let changed = chronicle.update_forwarder("f").display_name("H").config(config).await.unwrap();
    assert_eq!(changed.display_name, "H");
    google.reply("DELETE /forwarders/f", &json!({}));
    chronicle.delete_forwarder(&format!("{PARENT}/forwarders/f")).await.unwrap();
    google.reply("GET /forwarders/f", &forwarder("f", "H"));
    assert_eq!(chronicle.get_forwarder("f").await.unwrap().id(), "f");

    let config = json!({
        "uploadCompression": true,
        "metadata": {"assetNamespace": "ns", "labels": {"k": "v"}},
        "regexFilters": [{"description": "d", "regexp": ".*", "behavior": "ALLOW"}],
    });
    let collector = json!({
        "displayName": "F",
        "config": {"logType": "T", "maxSecondsPerBatch": 10, "maxBytesPerBatch": "1048576"},
    });
    let mask = "display_name%2Cconfig.upload_compression%2Cconfig.metadata%2Cconfig.regex_filters";
    let expected = [
        ("POST /forwarders".to_owned(), json!({"displayName": "F", "config": config})),
        ("POST /forwarders/f/collectors".to_owned(), collector),
        ("POST /forwarders".to_owned(), json!({"displayName": "G", "config": {}})),
        (format!("PATCH /forwarders/f?updateMask={mask}"), json!({"displayName": "H", "config": config})),
        ("DELETE /forwarders/f".to_owned(), Value::Null),
        ("GET /forwarders/f".to_owned(), Value::Null),
    ];
    assert_eq!(google.requests(), expected);

    let error = chronicle.update_forwarder("f").await.unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "update", .. }), "{error:?}");
    let error = chronicle.create_forwarder("F", "no type").await.unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "log_type", .. }), "nothing is made halfway: {error:?}");
    assert_eq!(google.requests().len(), expected.len());
}

#[tokio::test]
async fn making_is_tried_again_only_where_surely_nothing_was_made() {
    for (step, attempts) in [(status(503), 2), (status(429), 2), (status(500), 1), (not_taken(Answer::dropped()), 1)] {
        let google = Google::start().await;
        google.plan([step]);
        google.reply("POST /forwarders", &forwarder("f", "F"));
        let made = google.chronicle(&TestClock::new()).create_forwarder("F", None).await;
        assert_eq!(made.is_ok(), attempts == 2);
        assert_eq!(google.requests().len(), attempts);
    }
}

#[tokio::test]
async fn a_forwarder_without_its_collector_is_named() {
    let google = Google::start().await;
    google.reply("POST /forwarders", &forwarder("f", "F"));
    let refused = Answer::status(400).body(aip193(400, "no such type", "INVALID_ARGUMENT"));
    google.reply_with("POST /forwarders/f/collectors", refused);
    let error = google.chronicle(&TestClock::new()).create_forwarder("F", "T").await.unwrap_err();
    let Error::WithoutCollector { forwarder, cause } = error else { panic!("{error:?}") };
    assert_eq!(forwarder, format!("{PARENT}/forwarders/f"));
    assert!(matches!(*cause, Error::Refused(_)));
}

#[tokio::test]
async fn a_list_has_all_its_pages_and_ends() {
    let google = Google::start().await;
    google.reply("GET /forwarders?pageSize=1000", &json!({"forwarders": [forwarder("1", "")], "nextPageToken": "a"}));
    google.reply("GET /forwarders?pageSize=1000&pageToken=a", &json!({"nextPageToken": "b"}));
    google.reply(
        "GET /forwarders?pageSize=1000&pageToken=b",
        &json!({"forwarders": [forwarder("2", "")], "nextPageToken": ""}),
    );
    let chronicle = google.chronicle(&TestClock::new());
    let ids: Vec<String> =
        chronicle.list_forwarders().await.unwrap().iter().map(|forwarder| forwarder.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2"]);
    google.reply("GET /forwarders?pageSize=1000&pageToken=b", &json!({"nextPageToken": "a"}));
    let error = chronicle.list_forwarders().await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}

#[tokio::test]
async fn any_other_call_can_be_made() {
    let google = Google::start().await;
    google.reply("POST /feeds/x:enable", &json!({"state": "ACTIVE"}));
    google.reply("GET /feeds?pageSize=100", &json!({"feeds": []}));
    let chronicle = google.chronicle(&TestClock::new());
    assert_eq!(chronicle.request(Method::POST, "feeds/x:enable", &[], None).await.unwrap()["state"], "ACTIVE");
    let feeds = chronicle.request(Method::GET, "feeds", &[("pageSize", "100")], None).await.unwrap();
    assert_eq!(feeds, json!({"feeds": []}));
}
