//! What each call of the older API means, and how it shows what came of it.

use event::{Kind, limits};
use serde_json::{Value, json};

use crate::ask::{Act, Ask, Outcome, Question};
use crate::resource::{Kept, ResourceKind};
use crate::testing::{OPERATOR, OURS, THEIRS, World, found, instance};
use crate::{Intake, Reply};

const ID: &str = "4deb3f48-9ad2-4679-a5f1-6d31817c4063";
const OTHER_ID: &str = "05b13b6a-88b1-47c6-adef-894de53da847";

fn call_as(key: &str, method: &str, target: &str, body: &str) -> Result<Intake, Reply> {
    World::new().intake(method, target, &[("x-goog-api-key", key)], body.as_bytes())
}

fn call(method: &str, target: &str, body: &Value) -> Result<Intake, Reply> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call_as("ours-admin", method, target, &body)
}

#[track_caller]
fn asked(intake: Result<Intake, Reply>) -> Ask {
    match intake {
        Ok(Intake::Ask(ask)) => {
            assert_eq!(ask.caller.instance(), Some(instance(OURS)));
            ask
        }
        Ok(other) => panic!("nobody is asked: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

#[track_caller]
fn act(intake: Result<Intake, Reply>) -> (ResourceKind, Act) {
    match asked(intake).question {
        Question::Resource { instance: id, kind, act } => {
            assert_eq!(id, instance(OURS));
            (kind, act)
        }
        other => panic!("about no resource: {other:?}"),
    }
}

#[track_caller]
fn refused(intake: Result<Intake, Reply>) -> (u16, String) {
    let Err(reply) = intake else { panic!("not refused: {:?}", intake.map(|_| ())) };
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"]["code"], reply.status.as_u16());
    (reply.status.as_u16(), body["error"]["message"].as_str().unwrap().to_owned())
}

#[track_caller]
fn rendered(intake: Result<Intake, Reply>, outcome: Outcome) -> Value {
    let reply = asked(intake).render.render(outcome).unwrap();
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).unwrap()
}

fn kept(id: &str, body: Value) -> Kept {
    Kept {
        id: id.to_owned(),
        body,
        enabled: true,
        created_at: "2026-11-21T00:00:00Z".to_owned(),
        updated_at: "2026-11-22T00:00:00Z".to_owned(),
    }
}

fn collector_kind() -> ResourceKind {
    ResourceKind::Collector { forwarder: ID.to_owned() }
}

#[test]
fn forwarders_and_collectors() {
    let (kind, made) = act(call("POST", "/v2/forwarders/", &json!({ "display_name": "TestForwarder" })));
    let Act::Create { body, declares: None, .. } = made else { panic!("{made:?}") };
    assert_eq!((kind, body), (ResourceKind::Forwarder, json!({ "displayName": "TestForwarder" })));

    let sent = json!({ "display_name": "c1", "config": { "log_type": "OKTA", "max_bytes_per_batch": 1_048_576,
        "file_settings": { "file_path": "/var/log/x" } } });
    let (kind, made) = act(call("POST", &format!("/v2/forwarders/{ID}/collectors"), &sent));
    let Act::Create { declares: Some(declares), .. } = made else { panic!("{made:?}") };
    assert_eq!((kind, declares.as_str()), (collector_kind(), "OKTA"));

    for (method, rest, expected) in [
        ("GET", String::new(), "List"),
        ("GET", format!("/{ID}"), "Get(\"4deb3f48-9ad2-4679-a5f1-6d31817c4063\")"),
        // Another spelling of the same id.
        ("GET", format!("/{}", ID.to_uppercase()), "Get(\"4deb3f48-9ad2-4679-a5f1-6d31817c4063\")"),
        ("DELETE", format!("/{ID}"), "Delete(\"4deb3f48-9ad2-4679-a5f1-6d31817c4063\")"),
        ("GET", format!("/{ID}:generateForwarderFiles"), "Get(\"4deb3f48-9ad2-4679-a5f1-6d31817c4063\")"),
    ] {
        let (kind, act) = act(call(method, &format!("/v2/forwarders{rest}"), &Value::Null));
        assert_eq!((kind, format!("{act:?}").as_str()), (ResourceKind::Forwarder, expected), "{method} {rest}");
    }
    for (method, rest, expected) in [
        ("GET", String::new(), "List".to_owned()),
        ("GET", format!("/{OTHER_ID}"), format!("Get({OTHER_ID:?})")),
        ("DELETE", format!("/{OTHER_ID}"), format!("Delete({OTHER_ID:?})")),
    ] {
        let (kind, act) = act(call(method, &format!("/v2/forwarders/{ID}/collectors{rest}"), &Value::Null));
        assert_eq!((kind, format!("{act:?}")), (collector_kind(), expected), "{method} {rest}");
    }

    let target = format!("/v2/forwarders/{ID}?update_mask=display_name,config.upload_compression");
    let sent = json!({ "display_name": "fwd-two", "config": { "upload_compression": false } });
    let (_, changed) = act(call("PATCH", &target, &sent));
    let Act::Update { id, change } = changed else { panic!("{changed:?}") };
    let before = json!({ "displayName": "fwd-one", "config": { "uploadCompression": true } });
    let after = json!({ "displayName": "fwd-two", "config": { "uploadCompression": false } });
    assert_eq!((id.as_str(), change.apply(&before)), (ID, Ok(after)));
}

#[test]
fn names_are_short_and_labels_a_list() {
    let body =
        json!({ "displayName": "f", "config": { "metadata": { "assetNamespace": "ns", "labels": { "k": "v" } } } });
    let shown =
        rendered(call("GET", &format!("/v2/forwarders/{ID}"), &Value::Null), Outcome::One(kept(ID, body.clone())));
    let expected = json!({ "name": format!("forwarders/{ID}"), "displayName": "f",
        "config": { "metadata": { "assetNamespace": "ns", "labels": [{ "key": "k", "value": "v" }] } }, "state": "ACTIVE",
        "createTime": "2026-11-21T00:00:00Z", "updateTime": "2026-11-22T00:00:00Z" });
    assert_eq!(shown, expected);
    let all = rendered(call("GET", "/v2/forwarders", &Value::Null), Outcome::All(vec![kept(ID, body)]));
    assert_eq!(all, json!({ "forwarders": [expected] }));
    assert_eq!(rendered(call("GET", "/v2/forwarders", &Value::Null), Outcome::All(vec![])), json!({}));

    let collector = kept(OTHER_ID, json!({ "displayName": "c", "config": { "logType": "OKTA" } }));
    let rest = format!("/v2/forwarders/{ID}/collectors");
    let shown = rendered(call("GET", &rest, &Value::Null), Outcome::All(vec![collector]));
    let expected = json!({ "collectors": [{ "name": format!("forwarders/{ID}/collectors/{OTHER_ID}"), "displayName": "c",
        "config": { "logType": "OKTA" }, "state": "ACTIVE" }] });
    assert_eq!(shown, expected);
    assert_eq!(rendered(call("DELETE", &format!("/v2/forwarders/{ID}"), &Value::Null), Outcome::Done), json!({}));
}

#[test]
fn ids_that_are_no_uuids() {
    for (method, path, message) in [
        ("GET", "/v2/forwarders/abx-22", "name (forwarders/abx-22) does not contain a valid UUID".to_owned()),
        ("PATCH", "/v2/forwarders/abx-22", "name (forwarders/abx-22) does not contain a valid UUID".to_owned()),
        (
            "GET",
            "/v2/forwarders/abx-22:generateForwarderFiles",
            "name (forwarders/abx-22) does not contain a valid UUID".to_owned(),
        ),
        (
            "GET",
            "/v2/forwarders/abx-22/collectors",
            "parent (forwarders/abx-22) does not contain a valid UUID".to_owned(),
        ),
        (
            "POST",
            "/v2/forwarders/abx-22/collectors",
            "parent (forwarders/abx-22) does not contain a valid UUID".to_owned(),
        ),
        (
            "GET",
            "/v2/forwarders/4deb3f48-9ad2-4679-a5f1-6d31817c4063/collectors/7",
            format!("name (forwarders/{ID}/collectors/7) does not contain a valid UUID"),
        ),
    ] {
        assert_eq!(refused(call(method, path, &json!({}))), (400, message), "{method} {path}");
    }
}

#[test]
fn feeds_have_the_words_of_this_api() {
    // As chronicle_cli sends one: no display name, a namespace, labels as a list.
    let sent = json!({ "details": { "httpsPushWebhookSettings": { "splitDelimiter": "\\n" }, "namespace": "ns",
        "labels": [{ "key": "k", "value": "v" }], "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" } });
    let (kind, made) = act(call("POST", "/v1/feeds", &sent));
    let Act::Create { body, declares, .. } = made else { panic!("{made:?}") };
    let details = json!({ "httpsPushWebhookSettings": { "splitDelimiter": "\\n" }, "assetNamespace": "ns",
        "labels": { "k": "v" }, "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
    assert_eq!((&kind, declares.as_deref()), (&ResourceKind::Feed, Some("OKTA")));
    assert_eq!(body, json!({ "details": details, "displayName": "OKTA by webhook" }));

    let shown = rendered(call("GET", &format!("/v1/feeds/{ID}"), &Value::Null), Outcome::One(kept(ID, body.clone())));
    assert_eq!((&shown["name"], &shown["feedState"]), (&json!(format!("feeds/{ID}")), &json!("ACTIVE")));
    let details = json!({ "httpsPushWebhookSettings": { "splitDelimiter": "\\n" }, "namespace": "ns",
        "labels": [{ "key": "k", "value": "v" }], "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
    assert_eq!(shown["details"], details);
    assert_eq!(shown.get("state"), None);

    for (rest, expected) in [
        (":enable", format!("SetEnabled {{ id: {ID:?}, enabled: true }}")),
        (":disable", format!("SetEnabled {{ id: {ID:?}, enabled: false }}")),
        (":generateSecret", format!("NewSecret({ID:?})")),
    ] {
        let (kind, act) = act(call("POST", &format!("/v1/feeds/{ID}{rest}"), &Value::Null));
        assert_eq!((kind, format!("{act:?}")), (ResourceKind::Feed, expected));
    }
    let target = format!("/v1/feeds/{ID}?update_mask=details.namespace");
    let (_, changed) = act(call("PATCH", &target, &json!({ "details": { "namespace": "other" } })));
    let Act::Update { change, .. } = changed else { panic!("{changed:?}") };
    assert_eq!(change.apply(&body).unwrap()["details"]["assetNamespace"], "other");
}

#[test]
fn the_schema_of_feeds_names_every_log_type() {
    let (status, body) = World::new().call("GET", "/v1/feedSchema", &[("x-goog-api-key", "ours-read")], b"").replied();
    let [source] = body["feedSourceTypeSchemas"].as_array().unwrap().as_slice() else { panic!("{status}") };
    assert_eq!((status, &source["feedSourceType"]), (200, &json!("HTTPS_PUSH_WEBHOOK")));
    let log_types = source["logTypeSchemas"].as_array().unwrap();
    let gate = log_types.iter().find(|log_type| log_type["logType"] == "OUR_GATE").unwrap();
    assert_eq!(gate["displayName"], "A gate of ours");
    assert!(log_types.len() > 2_000);
    // What it asks for can be sent.
    for field in gate["detailsFieldSchemas"].as_array().unwrap() {
        let path = field["fieldPath"].as_str().unwrap();
        assert!(ResourceKind::Feed.change(Some(path), &json!({})).is_ok(), "{path}");
    }
}

#[test]
fn lists_are_named_by_their_makers() {
    let sent = json!({ "name": "mylist", "description": "d", "lines": ["a", "b"], "content_type": "REGEX" });
    let (kind, made) = act(call("POST", "/v2/lists", &sent));
    let Act::CreateNamed { id, body } = made else { panic!("{made:?}") };
    let expected = json!({ "description": "d", "lines": ["a", "b"], "contentType": "REGEX" });
    assert_eq!((kind, id.as_str(), &body), (ResourceKind::ReferenceList, "mylist", &expected));

    let shown = rendered(call("GET", "/v2/lists/mylist", &Value::Null), Outcome::One(kept("mylist", body.clone())));
    let expected = json!({ "name": "mylist", "description": "d", "lines": ["a", "b"], "contentType": "REGEX",
        "createTime": "2026-11-22T00:00:00Z" });
    assert_eq!(shown, expected);
    let plain = kept("l", json!({ "lines": [], "contentType": "CONTENT_TYPE_DEFAULT_STRING" }));
    let shown = rendered(call("GET", "/v2/lists/l", &Value::Null), Outcome::One(plain));
    assert_eq!(shown, json!({ "name": "l", "lines": [], "createTime": "2026-11-22T00:00:00Z" }));

    // The list that is changed stands in the path or the body; the mask names the fields of either.
    let after = json!({ "description": "d", "lines": ["c"], "contentType": "REGEX" });
    for (target, sent) in [
        ("/v2/lists?update_mask=list.lines", json!({ "name": "mylist", "lines": ["c"] })),
        ("/v2/lists/mylist?updateMask=lines", json!({ "lines": ["c"], "description": "not named" })),
        (
            "/v2/lists?update_mask=list.lines,%20list.description",
            json!({ "name": "mylist", "lines": "c", "description": "d" }),
        ),
        ("/v2/lists/mylist", json!({ "lines": ["c"] })),
    ] {
        let (_, changed) = act(call("PATCH", target, &sent));
        let Act::Update { id, change } = changed else { panic!("{changed:?}") };
        assert_eq!((id.as_str(), change.apply(&body).as_ref()), ("mylist", Ok(&after)), "{target}");
    }
    let (_, removed) = act(call("DELETE", "/v2/lists/mylist", &Value::Null));
    assert!(matches!(removed, Act::Delete(id) if id == "mylist"));
}

#[test]
fn what_is_no_list() {
    let long = "x".repeat(limits::REFERENCE_LIST_NAME_BYTES_MAX + 1);
    let large = "x".repeat(limits::REFERENCE_LIST_BYTES_MAX);
    for (sent, part) in [
        (json!({ "lines": [] }), "name: missing"),
        (json!([]), "name: missing"),
        (json!({ "name": "7up" }), "name: must be a letter"),
        (json!({ "name": "a/b" }), "name: must be a letter"),
        (json!({ "name": long }), "name: longer than 256"),
        (json!({ "name": "l" }), "lines: missing"),
        (json!({ "name": "l", "lines": [7] }), "lines: must be a list of strings"),
        (json!({ "name": "l", "lines": ["a", "b\nc"] }), "lines[1]: holds a line feed"),
        (json!({ "name": "l", "lines": ["10.0.0.0/8", "x"], "contentType": "CIDR" }), "lines[1]: is no network"),
        (json!({ "name": "l", "lines": ["10.0.0.0/33"], "contentType": "CIDR" }), "lines[0]: is no network"),
        (json!({ "name": "l", "lines": ["::1/+1"], "contentType": "CIDR" }), "lines[0]: is no network"),
        (json!({ "name": "l", "contentType": "WORDS" }), "contentType: must be one of"),
        (json!({ "name": "l", "line": ["a"] }), "did you mean lines?"),
        (json!({ "name": "l", "lines": [large] }), "more than the 262144 allowed"),
    ] {
        let (status, message) = refused(call("POST", "/v2/lists", &sent));
        assert!(status == 400 && message.contains(part), "{sent:.80}: {status} {message}");
    }
    let good = json!({ "name": "l", "lines": ["10.0.0.0/8", "2001:db8::/32"], "contentType": "CIDR" });
    assert!(call("POST", "/v2/lists", &good).is_ok());
}

#[test]
fn events_are_named_by_their_id_alone() {
    let target = "/v1/events:udmSearch?query=ip%21%3D%22%22&time_range.start_time=2026-01-01T00%3A00%3A00Z&limit=7";
    let ask = asked(call_as("ours-read", "GET", target, ""));
    let Question::Search(search) = &ask.question else { panic!("{ask:?}") };
    assert_eq!((search.instance, &search.kinds[..], search.rows_max), (instance(OURS), &[Kind::Udm][..], 7));
    let shown = ask.render.render(Outcome::Rows { rows: vec![found(5, "{}")], truncated: false }).unwrap();
    let id = "AZIAAAAAcACAAAABAAAABQ==";
    let expected =
        json!({ "events": [{ "name": id, "udm": { "metadata": { "id": id } } }], "moreDataAvailable": false });
    assert_eq!(serde_json::from_slice::<Value>(&shown.body).unwrap(), expected);
}

#[test]
fn who_may_do_what() {
    let reads = [
        "/v2/forwarders",
        "/v1/feeds",
        "/v2/lists",
        "/v2/lists/l",
        "/v1/feedSchema",
        "/v1/events:udmSearch?query=ip%21%3D%22%22",
    ];
    for path in reads {
        assert!(
            call_as("ours-read", "GET", path, "").is_ok() && call_as("ours-admin", "GET", path, "").is_ok(),
            "{path}"
        );
        assert_eq!(refused(call_as("ours-ingest", "GET", path, "")).0, 403, "{path}");
    }
    for (method, path) in [
        ("POST", "/v2/forwarders"),
        ("POST", "/v2/lists"),
        ("PATCH", "/v2/lists"),
        ("DELETE", "/v2/lists/l"),
        ("POST", "/v1/feeds"),
        ("POST", "/v1/feeds/7:enable"),
    ] {
        for key in ["ours-read", "ours-ingest"] {
            assert_eq!(refused(call_as(key, method, path, "{}")).0, 403, "{key} {method} {path}");
        }
    }
    assert_eq!(refused(call_as("nobody", "GET", "/v2/lists", "")).0, 401);
    assert_eq!(refused(call("GET", "/v1/tools/cbnParsers", &Value::Null)).0, 501);
    assert_eq!(refused(call("POST", "/v2/detect/rules:streamRules", &Value::Null)).0, 501);
    assert_eq!(refused(call("PUT", "/v2/lists", &Value::Null)).0, 405);
}

#[test]
fn the_instance_is_the_callers_own() {
    let mut world = World::new();
    let bearer = format!("Bearer {OPERATOR}");
    let headers = [("authorization", bearer.as_str())];
    // Of several, the operator means none.
    let (status, message) = refused(world.intake("GET", "/v2/lists", &headers, b""));
    assert!(status == 400 && message.contains("there are 2"), "{status} {message}");
    world.snapshot.instances.remove(&instance(THEIRS));
    let Question::Resource { instance: id, .. } = asked(world.intake("GET", "/v2/lists", &headers, b"")).question
    else {
        panic!("about no resource")
    };
    assert_eq!(id, instance(OURS));
    let theirs = call_as("theirs-read", "GET", "/v2/lists", "");
    let Ok(Intake::Ask(Ask { question: Question::Resource { instance: id, .. }, .. })) = theirs else {
        panic!("about no resource")
    };
    assert_eq!(id, instance(THEIRS));
}
