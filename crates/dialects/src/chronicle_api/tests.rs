//! The Chronicle API as its clients use it: what each call makes of a request. Whole servers and captures are tested in
//! `penstock/tests/it`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use event::{Batch, Kind, Time, limits};
use http::HeaderMap;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::ask::{Act, Ask, Outcome, Question};
use crate::resource::{Forwarder, Kept, PushFeed, ResourceKind};
use crate::snapshot::SecretHash;
use crate::testing::{OPERATOR, OURS, THEIRS, World, instance};
use crate::{Head, Intake, Lookup, Reply};

const BASE: &str = "/v1alpha/projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";

fn path(rest: &str) -> String {
    let key = if rest.contains('?') { "&key=ours-admin" } else { "?key=ours-admin" };
    format!("{BASE}{rest}{key}")
}

fn b64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

/// What a POST means.
fn post(world: &World, rest: &str, body: &Value) -> Result<Intake, Reply> {
    world.intake("POST", &path(rest), &[], body.to_string().as_bytes())
}

#[track_caller]
fn batches(intake: Result<Intake, Reply>) -> Vec<Batch> {
    match intake {
        Ok(Intake::Commit { batches, .. }) => {
            for (caller, batch) in &batches {
                assert_eq!(caller.instance(), Some(batch.meta.instance));
            }
            batches.into_iter().map(|(_, batch)| batch).collect()
        }
        Ok(other) => panic!("not committed: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

#[track_caller]
fn refusal(intake: Result<Intake, Reply>) -> (u16, Value) {
    match intake {
        Err(reply) => {
            let error = serde_json::from_slice::<Value>(&reply.body).unwrap()["error"].take();
            assert_eq!(error["code"], reply.status.as_u16());
            (reply.status.as_u16(), error)
        }
        Ok(other) => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn answered(intake: Result<Intake, Reply>) -> Value {
    match intake {
        Ok(Intake::Answer(reply)) => serde_json::from_slice(&reply.body).unwrap(),
        Ok(other) => panic!("not answered: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

#[track_caller]
fn asked(intake: Result<Intake, Reply>) -> Ask {
    match intake {
        Ok(Intake::Ask(ask)) => ask,
        Ok(other) => panic!("nobody is asked: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

fn logs(items: &Value) -> Value {
    json!({ "inline_source": { "logs": items } })
}

fn kept(id: &str, body: Value) -> Kept {
    let stamp = "2026-11-21T00:00:00Z".to_owned();
    Kept { id: id.to_owned(), body, enabled: true, created_at: stamp.clone(), updated_at: stamp }
}

fn add_forwarder(world: &mut World, forwarder: &Kept) {
    let ours = world.snapshot.instances.get_mut(&instance(OURS)).unwrap();
    ours.forwarders.insert(forwarder.id.clone(), std::sync::Arc::new(Forwarder::new(forwarder, &[])));
}

#[test]
fn logs_are_kept_as_their_bytes_with_both_times() {
    let world = World::new();
    let body = json!({ "inline_source": { "logs": [
        { "data": b64("first"), "log_entry_time": "2026-11-21T19:36:49.679235Z", "collection_time": "2026-11-21T19:36:49.679235Z" },
        { "data": b64([0xff, 0x00, b'x']), "logEntryTime": "2026-11-21T21:36:49+02:00" },
        { "data": "", "collectionTime": null },
    ] } });
    let batches = batches(post(&world, "/logTypes/OKTA/logs:import", &body));
    let [batch] = batches.as_slice() else { panic!("{batches:?}") };
    assert_eq!(
        (batch.meta.kind, batch.meta.log_type.as_str(), batch.meta.instance),
        (Kind::Raw, "OKTA", instance(OURS))
    );
    let data: Vec<&[u8]> = batch.records.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"first"[..], &[0xff, 0x00, b'x'], b""]);
    let time = |text: &str| Some(Time::parse_rfc3339(text).unwrap());
    assert_eq!(batch.records[0].sender_time, time("2026-11-21T19:36:49.679235Z"));
    assert_eq!(batch.records[0].collected_at, batch.records[0].sender_time);
    assert_eq!(batch.records[1].sender_time, time("2026-11-21T19:36:49Z"));
    assert_eq!((batch.records[2].sender_time, batch.records[2].collected_at), (None, None));
}

#[test]
fn what_clients_may_write_in_several_ways() {
    let world = World::new();
    let check = |rest: &str, body: Value, expected: &[&str]| {
        let batches = batches(post(&world, rest, &body));
        assert_eq!(batches.iter().flat_map(texts).collect::<Vec<_>>(), expected, "{body}");
    };
    let rest = "/logTypes/OKTA/logs:import";
    // Base64 in both alphabets, with and without padding.
    let odd = "a?>b~é";
    for encoded in [b64(odd), URL_SAFE_NO_PAD.encode(odd), b64(odd).trim_end_matches('=').to_owned()] {
        check(rest, logs(&json!([{ "data": encoded }])), &[odd]);
    }
    check(rest, json!({ "inlineSource": { "logs": { "data": b64("one") } }, "hint": "x" }), &["one"]);
    check(
        rest,
        json!({ "parent": "", "inline_source": { "logs": [{ "data": b64("x") }], "forwarder": null } }),
        &["x"],
    );
    let parent = format!("projects/7/locations/eu/instances/{OURS}/logTypes/OKTA");
    check(rest, json!({ "parent": parent, "inline_source": { "logs": [{ "data": b64("x") }] } }), &["x"]);
    for forwarder in ["aaaa1111-aaaa-1111-aaaa-1111aaaa1111", "projects/p/locations/l/instances/i/forwarders/nobody"] {
        check(rest, json!({ "inline_source": { "logs": [{ "data": b64("x") }], "forwarder": forwarder } }), &["x"]);
    }
    let udm = json!({ "metadata": { "id": "0d1c2b3a-0000-4000-8000-aabbccddeeff", "event_type": "GENERIC_EVENT",
        "event_timestamp": "2026-11-21T19:36:50.397476Z" }, "principal": { "ip": "192.0.2.1" } });
    check(
        "/events:import",
        json!({ "inline_source": { "events": [{ "udm": udm, "name": "" }] } }),
        &[&udm.to_string()],
    );
    let entity = json!({ "metadata": { "collected_timestamp": "2026-01-01T00:00:00Z", "entity_type": "USER" },
        "entity": { "user": { "userid": "johndoe" } } });
    for log_type in ["OKTA".to_owned(), format!("projects/p/locations/l/instances/{OURS}/logTypes/OKTA")] {
        let body = json!({ "inline_source": { "entities": [entity], "log_type": log_type } });
        check("/entities:import", body, &[&entity.to_string()]);
    }
    for version in ["v1", "v1beta"] {
        let target = format!(
            "/{version}/projects/1/locations/europe/instances/{OURS}/logTypes/OKTA/logs%3Aimport?key=ours-ingest"
        );
        let intake = world.intake("POST", &target, &[], logs(&json!([{ "data": b64("x") }])).to_string().as_bytes());
        assert_eq!(batches_len(intake), 1);
    }
}

fn batches_len(intake: Result<Intake, Reply>) -> usize {
    batches(intake).len()
}

#[test]
fn logs_that_differ_in_namespace_or_labels_are_batches_of_their_own_in_one_frame() {
    let world = World::new();
    let items = json!([
        { "data": b64("1"), "environment_namespace": "a", "labels": { "k": { "value": "v" }, "b": { "value": "", "rbac_enabled": true } } },
        { "data": b64("2") },
        { "data": b64("3"), "environmentNamespace": "a", "labels": { "k": { "value": "v" }, "b": { "rbacEnabled": "true" } } },
        { "data": b64("4"), "environment_namespace": "", "labels": {} },
        { "data": b64("5"), "labels": [{ "key": "k", "value": "v" }] },
    ]);
    let batches = batches(post(&world, "/logTypes/OKTA/logs:import", &logs(&items)));
    let shown: Vec<_> = batches
        .iter()
        .map(|batch| {
            (
                texts(batch),
                batch.meta.namespace.clone(),
                batch
                    .meta
                    .labels
                    .iter()
                    .map(|label| (label.key.as_str(), label.value.as_str(), label.rbac_enabled))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            (strings(&["1", "3"]), "a".to_owned(), vec![("k", "v", false), ("b", "", true)]),
            (strings(&["2", "4"]), String::new(), vec![]),
            (strings(&["5"]), String::new(), vec![("k", "v", false)]),
        ]
    );
    let mut ids: Vec<_> = batches.iter().map(|batch| batch.meta.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an id of its own");
}

#[test]
fn a_request_is_no_more_batches_than_can_be_kept() {
    let log = |n: usize| json!({ "data": "", "labels": { format!("{n}"): "" } });
    let many = |count| logs(&Value::Array((0..count).map(log).collect()));
    for world in [World::new(), World::quarantining()] {
        assert_eq!(batches(post(&world, "/logTypes/OKTA/logs:import", &many(10_000))).len(), 10_000);
        let (code, error) = refusal(post(&world, "/logTypes/OKTA/logs:import", &many(10_001)));
        assert_eq!(code, 400);
        assert_eq!(
            error["message"],
            "inline_source.logs: their namespaces and labels differ in more than 10000 ways; send fewer logs at once"
        );
    }
}

#[test]
fn a_forwarders_labels_are_counted_for_each_batch_that_they_are_in() {
    let mut world = World::new();
    let labels: serde_json::Map<_, _> = (0..8).map(|n| (format!("{n}"), json!("v".repeat(4_000)))).collect();
    let forwarder = kept("f1", json!({ "displayName": "F", "config": { "metadata": { "labels": labels } } }));
    add_forwarder(&mut world, &forwarder);
    let send = |count: usize| {
        let items: Vec<Value> = (0..count).map(|n| json!({ "data": "", "labels": { format!("l{n}"): "" } })).collect();
        let body = json!({ "inline_source": { "logs": items, "forwarder": "forwarders/f1" } });
        post(&world, "/logTypes/OKTA/logs:import", &body)
    };
    assert_eq!(batches(send(500)).len(), 500);
    let (code, error) = refusal(send(600));
    assert_eq!(code, 400);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("labels, with the forwarder's, have over 16777216 bytes"), "{message}");
}

#[test]
fn a_record_keeps_its_own_labels_where_not_all_have_room() {
    let mut world = World::new();
    let labels: serde_json::Map<_, _> = (0..256).map(|n| (format!("{n}"), json!("forwarder's"))).collect();
    let forwarder = kept("f1", json!({ "displayName": "F", "config": { "metadata": { "labels": labels } } }));
    add_forwarder(&mut world, &forwarder);
    let log = json!({ "data": b64("x"), "labels": { "mine": { "value": "own" } } });
    let body = json!({ "inline_source": { "logs": [log], "forwarder": "forwarders/f1" } });
    let batches = batches(post(&world, "/logTypes/OKTA/logs:import", &body));
    let labels = &batches[0].meta.labels;
    assert_eq!((labels.len(), labels[255].key.as_str()), (256, "mine"));
}

#[test]
fn labels_of_a_log_have_a_limit_together() {
    let world = World::new();
    let send = |count: usize| {
        let labels: serde_json::Map<_, _> = (0..count).map(|n| (format!("{n:02}"), json!("v".repeat(4_000)))).collect();
        post(&world, "/logTypes/OKTA/logs:import", &logs(&json!([{ "data": b64("x"), "labels": labels }])))
    };
    assert_eq!(batches(send(16))[0].meta.labels.len(), 16);
    let (code, error) = refusal(send(17));
    let expected = "inline_source.logs[0].labels: 68034 bytes, more than the 65536 allowed";
    assert_eq!((code, error["message"].as_str().unwrap()), (400, expected));
}

/// Once a filter was changed, a sender that sends the same again is no repeat: what was kept out then is not lost.
#[test]
fn what_a_filter_kept_out_can_be_sent_again() {
    let mut world = World::new();
    let filtering = |regexp: &str| {
        let filters = json!([{ "regexp": regexp, "behavior": "BLOCK" }]);
        kept("f1", json!({ "displayName": "F", "config": { "regexFilters": filters } }))
    };
    let mut key = |regexp: &str| {
        add_forwarder(&mut world, &filtering(regexp));
        let items = json!([{ "data": b64("kept") }, { "data": b64("noise") }]);
        let body = json!({ "inline_source": { "logs": items, "forwarder": "forwarders/f1" } });
        match post(&world, "/logTypes/OKTA/logs:import", &body) {
            Ok(Intake::Commit { key, .. }) => key.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = key("noise");
    assert_eq!(key("noi.e"), first, "the same is kept, so it is a repeat");
    assert_ne!(key("nothing"), first);
}

#[test]
fn a_batch_is_the_same_by_either_api() {
    let world = World::new();
    let key = |intake: Result<Intake, Reply>| match intake {
        Ok(Intake::Commit { key, .. }) => key.unwrap(),
        other => panic!("{other:?}"),
    };
    let items = |extra: &str| {
        logs(
            &json!([{ "data": b64("text"), "log_entry_time": "2026-11-21T19:36:49Z", "environment_namespace": extra }]),
        )
    };
    let new = key(post(&world, "/logTypes/OKTA/logs:import", &items("")));
    let old =
        json!({ "log_type": "BIND_DNS", "entries": [{ "log_text": "text", "ts_rfc3339": "2026-11-21T19:36:49Z" }] });
    let old = key(world.intake(
        "POST",
        "/v2/unstructuredlogentries:batchCreate?key=ours-ingest",
        &[],
        old.to_string().as_bytes(),
    ));
    assert_eq!(new, old);
    assert_eq!(new, key(post(&world, "/logTypes/BIND_DNS/logs:import", &items("elsewhere"))));
    let without = |times: Value| key(post(&world, "/logTypes/OKTA/logs:import", &logs(&json!([times]))));
    let keys = [
        new,
        without(json!({ "data": b64("text") })),
        without(json!({ "data": b64("text"), "collection_time": "2026-11-21T19:36:49Z" })),
        without(json!({ "data": b64("text"), "collection_time": "2026-11-21T19:36:50Z" })),
        without(json!({ "data": b64("text"), "log_entry_time": "2026-11-21T19:36:50Z" })),
        without(json!({ "data": b64("texts"), "log_entry_time": "2026-11-21T19:36:49Z" })),
    ];
    for (index, one) in keys.iter().enumerate() {
        assert!(!keys[index + 1..].contains(one), "{index}");
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_of_it_is_kept() {
    let world = World::new();
    let rest = "/logTypes/OKTA/logs:import";
    let check = |rest: &str, body: &str, field: &str, part: &str| {
        let (status, error) = refusal(world.intake("POST", &path(rest), &[], body.as_bytes()));
        assert_eq!((status, &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}: {error}");
        let named = error["details"][0]["fieldViolations"][0]["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{body}: {error}");
    };
    check(rest, "{", "", "not valid JSON");
    check(rest, "", "", "not valid JSON");
    check(rest, "[]", "", "not valid JSON");
    check(rest, "{}", "inline_source.logs", "missing");
    check(rest, r#"{"inline_source": null}"#, "inline_source.logs", "missing");
    check(rest, r#"{"inline_source": []}"#, "inline_source", "must be an object, not a list");
    check(rest, r#"{"inline_source": {"logs": []}}"#, "inline_source.logs", "empty");
    check(rest, r#"{"inline_source": {"logs": [{}]}}"#, "inline_source.logs[0].data", "missing");
    check(rest, r#"{"inline_source": {"logs": ["x"]}}"#, "inline_source.logs[0]", "must be an object, not a string");
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA=="}, {"data": "e*=="}]}}"#,
        "inline_source.logs[1].data",
        "not valid base64: '*' at offset 1",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eHh4e"}]}}"#,
        "inline_source.logs[0].data",
        "not valid base64",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": 7}]}}"#,
        "inline_source.logs[0].data",
        "must be a string in base64",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "data": "eA=="}]}}"#,
        "inline_source.logs[0].data",
        "given twice",
    );
    check(rest, r#"{"inline_source": {"logs": [{"data": "eA=="}], "logs": []}}"#, "inline_source.logs", "given twice");
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "log_entry_time": "2026-13-01T00:00:00Z"}]}}"#,
        "inline_source.logs[0].log_entry_time",
        "2026-13-01",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "log_entry_time": "2026-01-01T00:00:01Z", "collection_time": "2026-01-01T00:00:00Z"}]}}"#,
        "inline_source.logs[0].collection_time",
        "is before log_entry_time",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "environment_namespace": 1}]}}"#,
        "inline_source.logs[0].environment_namespace",
        "must be a string",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "labels": {"k": {"value": 1}}}]}}"#,
        "inline_source.logs[0].labels.k.value",
        "must be a string",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA==", "labels": {"k": {"value": "\ud800"}}}]}}"#,
        "inline_source.logs[0].labels",
        "cannot be read",
    );
    check(
        rest,
        r#"{"inline_source": {"logs": [{"data": "eA=="}], "forwarder": 7}}"#,
        "inline_source.forwarder",
        "must be a string",
    );
    check(
        rest,
        &format!(
            r#"{{"parent": "projects/p/locations/l/instances/{THEIRS}", "inline_source": {{"logs": [{{"data": "eA=="}}]}}}}"#
        ),
        "parent",
        "is not the instance of the path",
    );
    check(
        "/logTypes/okta/logs:import",
        r#"{"inline_source": {"logs": [{"data": "eA=="}]}}"#,
        "log_type",
        "nearest: OKTA",
    );
    check(
        "/events:import",
        r#"{"inline_source": {"events": [{"metadata": {}}]}}"#,
        "inline_source.events[0].udm",
        "missing",
    );
    check(
        "/events:import",
        r#"{"inline_source": {"events": [{"udm": {"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2026-01-01T00:00:00Z"}}},
            {"udm": {"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2026-26-01"}}}]}}"#,
        "inline_source.events[1].udm.metadata.event_timestamp",
        "not a timestamp",
    );
    check("/entities:import", r#"{"inline_source": {"entities": [{}]}}"#, "inline_source.log_type", "missing");
}

#[test]
fn bad_logs_are_set_aside_where_that_is_asked_for() {
    let world = World::quarantining();
    let items = json!([
        { "data": b64("good"), "environment_namespace": "n" },
        { "data": "*" },
        { "data": b64("late"), "log_entry_time": "2026-01-01T00:00:01Z", "collection_time": "2026-01-01T00:00:00Z" },
        { "data": b64("label"), "labels": 7 },
    ]);
    let batches = batches(post(&world, "/logTypes/OKTA/logs:import", &logs(&items)));
    let records: Vec<_> = batches.iter().flat_map(|batch| &batch.records).collect();
    assert_eq!(records.len(), 4);
    let faults: Vec<_> = records.iter().filter_map(|record| record.fault.as_deref()).collect();
    assert_eq!(faults.len(), 3);
    assert!(
        records.iter().any(|record| record.fault.is_some() && record.data == br#"{"data":"*"}"#[..]),
        "{records:?}"
    );
    // Only bad ones: nothing says what group they are of.
    let bad = logs(&json!([{ "labels": 7 }]));
    assert_eq!(batches_len(post(&world, "/logTypes/OKTA/logs:import", &bad)), 1);
}

#[test]
fn an_instance_is_reached_with_its_own_credentials_only() {
    let world = World::new();
    let check = |instance: &str, key: &str, expected: u16| {
        let target = format!("/v1/projects/p/locations/l/instances/{instance}/logTypes/OKTA/logs:import{key}");
        let headers: &[(&str, &str)] =
            if key.is_empty() { &[("authorization", &format!("Bearer {OPERATOR}"))] } else { &[] };
        let body = logs(&json!([{ "data": b64("x") }])).to_string();
        let status = match world.intake("POST", &target, headers, body.as_bytes()) {
            Ok(Intake::Commit { .. }) => 200,
            Ok(other) => panic!("{other:?}"),
            Err(reply) => reply.status.as_u16(),
        };
        assert_eq!(status, expected, "{instance} {key}");
    };
    let nowhere = "6d3aa5f6-0d52-4bd6-9b0b-5a6f5d3c1e77";
    check(OURS, "?key=ours-ingest", 200);
    check(OURS, "?key=theirs-admin", 403);
    check(nowhere, "?key=ours-admin", 403);
    check(OURS, "?key=ours-read", 403);
    check(OURS, "?key=nobody", 401);
    check("c1", "?key=ours-admin", 400);
    check(OURS, "", 200);
    check(nowhere, "", 404);
    let (status, _) = refusal(world.intake(
        "GET",
        &format!("/v2beta/projects/p/locations/l/instances/{OURS}/logTypes?key=ours-read"),
        &[],
        b"",
    ));
    assert_eq!(status, 404);
}

#[test]
fn roles() {
    let world = World::new();
    let check = |method: &str, rest: &str, body: &str, expected: [bool; 3]| {
        for (role, expected) in ["ingest", "read", "admin"].into_iter().zip(expected) {
            let target = format!("{BASE}{rest}?key=ours-{role}");
            let may = match world.intake(method, &target, &[], body.as_bytes()) {
                Ok(_) => true,
                Err(reply) => reply.status != 403,
            };
            assert_eq!(may, expected, "{method} {rest} {body} as {role}");
        }
    };
    check("GET", "/logTypes", "", [true, true, true]);
    check("GET", "/forwarders", "", [true, true, true]);
    check("POST", "/forwarders", r#"{"displayName": "f"}"#, [true, false, true]);
    let filtered = r#"{"displayName": "f", "config": {"regexFilters": [{"regexp": ".", "behavior": "BLOCK"}]}}"#;
    check("POST", "/forwarders", filtered, [false, false, true]);
    check(
        "POST",
        "/forwarders",
        r#"{"displayName": "f", "config": {"metadata": {"asset_namespace": "n"}}}"#,
        [false, false, true],
    );
    check("POST", "/forwarders", r#"{"displayName": "f", "config": {"metadata": {}}}"#, [true, false, true]);
    check("PATCH", "/forwarders/7", r#"{"displayName": "f"}"#, [false, false, true]);
    check("DELETE", "/forwarders/7", "", [false, false, true]);
    check(
        "POST",
        "/forwarders/7/collectors",
        r#"{"displayName": "c", "config": {"logType": "OKTA"}}"#,
        [false, false, true],
    );
    check("GET", "/feeds", "", [false, true, true]);
    check("POST", "/feeds/7:generateSecret", "", [false, false, true]);
}

#[test]
fn log_types_come_in_pages_of_their_own_list() {
    let world = World::new();
    let page = |query: &str| answered(world.intake("GET", &path(&format!("/logTypes{query}")), &[], b""));
    let names = |page: &Value| -> Vec<String> {
        let list = page["logTypes"].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(|entry| entry["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let (mut all, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let got = page(&format!("?pageSize=1000&pageToken={token}"));
        all.extend(names(&got));
        pages += 1;
        match got["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!((all.len(), pages), (2_125, 3));
    assert!(all.is_sorted() && all.contains(&"OUR_GATE".to_owned()));
    assert_eq!(names(&page("?page_size=2")), all[..2]);
    assert_eq!(names(&page("?pageSize=5000")).len(), 1_000);
    assert_eq!(names(&page("?filter=displayName%3A%22gate+OF%22")), ["OUR_GATE"]);
    assert_eq!(names(&page("?filter=isCustom+%3D+true")), ["OUR_GATE"]);
    assert_eq!(names(&page("?filter=name%3DOKTA+AND+is_custom%3Dfalse")), ["OKTA"]);
    assert_eq!(page("?filter=name%3DNOBODY"), json!({}));
    let first = &page("?pageSize=1")["logTypes"][0];
    assert_eq!(first["name"], format!("projects/proj/locations/us/instances/{OURS}/logTypes/{}", all[0]));

    let refused = |query: &str, field: &str| {
        let (status, error) = refusal(world.intake("GET", &path(&format!("/logTypes{query}")), &[], b""));
        assert_eq!((status, &error["details"][0]["fieldViolations"][0]["field"]), (400, &json!(field)), "{query}");
    };
    let token = page("?pageSize=1")["nextPageToken"].as_str().unwrap().to_owned();
    refused(&format!("?pageToken={token}&filter=isCustom%3Dtrue"), "pageToken");
    let filter = |count| format!("?filter={}", vec!["name:O"; count].join("+AND+"));
    assert_eq!(names(&page(&filter(20))), names(&page("?filter=name:O")));
    refused(&filter(21), "filter");
    refused("?pageToken=nonsense", "pageToken");
    refused("?pageToken=3", "pageToken");
    refused("?pageSize=-1", "pageSize");
    refused("?filter=colour%3Dred", "filter");
    let (status, error) = refusal(world.intake("GET", &path(&format!("/forwarders?pageToken={token}")), &[], b""));
    assert_eq!(status, 400, "{error}");

    let one = answered(world.intake("GET", &path("/logTypes/OUR_GATE"), &[], b""));
    assert_eq!((&one["displayName"], &one["isCustom"]), (&json!("A gate of ours"), &json!(true)));
    assert_eq!(refusal(world.intake("GET", &path("/logTypes/OKTO"), &[], b"")).0, 404);
}

#[test]
fn a_forwarder_is_asked_for_and_shown() {
    let world = World::new();
    let body = json!({ "display_name": "F", "name": "mine", "config": { "uploadCompression": null,
        "metadata": { "asset_namespace": "n", "labels": { "k": "v" } },
        "serverSettings": { "enabled": false, "gracefulTimeout": null, "httpSettings": { "routeSettings": {} } } } });
    let ask = asked(post(&world, "/forwarders", &body));
    let Question::Resource {
        instance: id,
        kind: ResourceKind::Forwarder,
        act: Act::Create { body, declares: None, .. },
    } = ask.question
    else {
        panic!("{:?}", ask.question)
    };
    assert_eq!(id, instance(OURS));
    let canonical = json!({ "displayName": "F", "config": { "metadata": { "assetNamespace": "n", "labels": { "k": "v" } },
        "serverSettings": { "enabled": false, "httpSettings": { "routeSettings": {} } } } });
    assert_eq!(body, canonical);
    let reply = ask.render.render(Outcome::One(kept("f1", body))).unwrap();
    let shown: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(shown["name"], format!("projects/proj/locations/us/instances/{OURS}/forwarders/f1"));
    assert_eq!((&shown["state"], &shown["config"]), (&json!("ACTIVE"), &canonical["config"]));

    let list = |query: &str, all: &[Kept]| {
        let ask = asked(world.intake("GET", &path(&format!("/forwarders{query}")), &[], b""));
        let reply = ask.render.render(Outcome::All(all.to_vec())).unwrap();
        serde_json::from_slice::<Value>(&reply.body).unwrap()
    };
    assert_eq!(list("", &[]), json!({}));
    let all: Vec<Kept> = (0..5).map(|n| kept(&format!("f{n}"), json!({ "displayName": "x" }))).collect();
    let first = list("?pageSize=2", &all);
    assert_eq!(first["forwarders"].as_array().unwrap().len(), 2);
    let token = first["nextPageToken"].as_str().unwrap();
    // What the page ended with is deleted meanwhile; nothing is left out.
    let fewer: Vec<Kept> = all.iter().filter(|kept| kept.id != "f1").cloned().collect();
    let second = list(&format!("?pageToken={token}"), &fewer);
    let ids: Vec<_> = second["forwarders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(ids, ["f2", "f3", "f4"]);
    assert_eq!(second["nextPageToken"], Value::Null);
}

/// What is read into a tree takes many times the body's bytes, which nobody paid for.
#[test]
fn only_imports_may_be_large() {
    let world = World::new();
    let check = |path: &str, method: &str, is_large: bool| {
        let head = Head::new(method.parse().unwrap(), path, None, HeaderMap::new(), [127, 0, 0, 1].into()).unwrap();
        let Lookup::Found(found) = world.router.lookup(&head) else { panic!("{path}") };
        let bytes_max = (found.route.body_bytes_max)(&world.snapshot.limits);
        let expected = if is_large { limits::CHRONICLE_API_BODY_BYTES_MAX } else { limits::API_BODY_BYTES_MAX };
        assert_eq!(bytes_max, expected, "{path}");
    };
    for rest in ["/logTypes/OKTA/logs:import", "/events:import", "/entities:import", "/feeds/f:importPushLogs"] {
        check(&format!("{BASE}{rest}"), "POST", true);
    }
    for rest in ["/forwarders", "/feeds", "/logs:classify", ":searchRawLogs", "/forwarders/f:importStatsEvents"] {
        check(&format!("{BASE}{rest}"), "POST", false);
    }
    check("/v2/forwarders", "POST", false);
    check("/v2/lists", "PATCH", false);
}

#[test]
fn a_forwarders_metadata_and_filters_apply_to_what_comes_by_it() {
    let mut world = World::new();
    let forwarder = kept(
        "f1",
        json!({ "displayName": "F", "config": {
        "metadata": { "assetNamespace": "outer", "labels": { "site": "a", "owner": "x" } },
        "regexFilters": [{ "description": "noise", "regexp": "DEBUG", "behavior": "BLOCK" }] } }),
    );
    let collector = kept(
        "c1",
        json!({ "displayName": "C", "config": { "logType": "BIND_DNS",
        "metadata": { "assetNamespace": "inner", "labels": { "site": "b" } },
        "regexFilters": [{ "description": "noise", "regexp": "TRACE", "behavior": "BLOCK" }, { "regexp": "query", "behavior": "ALLOW" }] } }),
    );
    let made = Forwarder::new(&forwarder, &[collector]);
    let ours = world.snapshot.instances.get_mut(&instance(OURS)).unwrap();
    ours.forwarders.insert("f1".to_owned(), std::sync::Arc::new(made));
    let name = format!("projects/p/locations/l/instances/{OURS}/forwarders/f1");
    let send = |log_type: &str, items: &[Value]| {
        post(
            &world,
            &format!("/logTypes/{log_type}/logs:import"),
            &json!({ "inline_source": { "logs": items, "forwarder": name } }),
        )
    };
    let log = |text: &str| json!({ "data": b64(text) });

    let Ok(Intake::Commit { batches, filtered, .. }) = send("OKTA", &[log("a DEBUG line"), log("a TRACE line")]) else {
        panic!()
    };
    let batch = &batches[0].1;
    assert_eq!((texts(batch), filtered), (vec!["a TRACE line".to_owned()], 1));
    assert_eq!((batch.meta.feed.as_str(), batch.meta.namespace.as_str()), ("forwarders/f1", "outer"));

    // The collector takes this log type: its namespace, its value of a label that both have, its filter of the same
    // description in place of the forwarder's; and as it allows something, nothing else comes in.
    let items = [
        log("query DEBUG"),
        log("query TRACE"),
        log("other"),
        json!({ "data": b64("query 2"), "environment_namespace": "own", "labels": { "owner": { "value": "me" } } }),
    ];
    let Ok(Intake::Commit { batches, filtered, .. }) = send("BIND_DNS", &items) else { panic!() };
    assert_eq!((batches.len(), filtered), (2, 2));
    let shown: Vec<_> = batches
        .iter()
        .map(|(_, batch)| {
            let labels: Vec<_> =
                batch.meta.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
            (texts(batch)[0].clone(), batch.meta.namespace.clone(), labels.join(" "))
        })
        .collect();
    assert_eq!(shown[0], ("query DEBUG".to_owned(), "inner".to_owned(), "owner=x site=b".to_owned()));
    assert_eq!(shown[1], ("query 2".to_owned(), "own".to_owned(), "site=b owner=me".to_owned()));
    assert_eq!(batches[0].1.meta.feed, "forwarders/f1/collectors/c1");

    match send("BIND_DNS", &[log("other"), log("more")]) {
        Ok(Intake::Filtered { records, reply, .. }) => {
            assert_eq!((records, reply.status.as_u16(), &reply.body[..]), (2, 200, &b"{}"[..]));
        }
        other => panic!("{other:?}"),
    }
}

/// What a filter keeps out counts in what a repeat is: another request whose rest is the same is none, and neither is
/// the same one once its filter was mended.
#[test]
fn a_repeat_is_one_with_what_was_kept_out_of_it() {
    let key = |pattern: &str, texts: &[&str]| {
        let mut world = World::new();
        let filters = json!([{ "description": "", "regexp": pattern, "behavior": "BLOCK" }]);
        let forwarder = kept("f1", json!({ "displayName": "F", "config": { "regexFilters": filters } }));
        let forwarder = std::sync::Arc::new(Forwarder::new(&forwarder, &[]));
        let instance = world.snapshot.instances.get_mut(&instance(OURS)).unwrap();
        instance.forwarders.insert("f1".to_owned(), forwarder);
        let logs: Vec<Value> = texts.iter().map(|text| json!({ "data": b64(text) })).collect();
        let body = json!({ "inline_source": { "logs": logs, "forwarder": "f1" } });
        match post(&world, "/logTypes/OKTA/logs:import", &body) {
            Ok(Intake::Commit { key, .. }) => key.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let first = key("noise", &["noise 1", "link down"]);
    assert_eq!(first, key("noise", &["noise 1", "link down"]));
    assert_ne!(first, key("noise", &["noise 2", "link down"]));
    assert_ne!(first, key("noise", &["link down"]));
    assert_ne!(first, key("nothing", &["noise 1", "link down"]));
    assert_eq!(key("nothing", &["link down"]), key("noise", &["link down"]));
}

#[test]
fn a_push_feed_takes_what_shows_its_secret() {
    let mut world = World::new();
    let body = |delimiter: &str| {
        json!({ "displayName": "P", "details": { "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA",
        "assetNamespace": "n", "labels": { "k": "v" }, "httpsPushWebhookSettings": { "splitDelimiter": delimiter } } })
    };
    let secret = Some(SecretHash::of("s3cret"));
    let feeds = [("lines", "\\n", secret), ("whole", "", secret), ("bare", "", None), ("odd", "--", secret)];
    for (id, delimiter, secret) in feeds {
        let feed = PushFeed::new(&kept(id, body(delimiter)), secret).unwrap();
        world
            .snapshot
            .instances
            .get_mut(&instance(OURS))
            .unwrap()
            .feeds
            .insert(id.to_owned(), std::sync::Arc::new(feed));
    }
    let mut off = kept("off", body(""));
    off.enabled = false;
    let feed = PushFeed::new(&off, secret).unwrap();
    world
        .snapshot
        .instances
        .get_mut(&instance(OURS))
        .unwrap()
        .feeds
        .insert("off".to_owned(), std::sync::Arc::new(feed));

    let push = |feed: &str, query: &str, headers: &[(&str, &str)], body: &[u8]| {
        world.intake("POST", &format!("{BASE}/feeds/{feed}:importPushLogs?{query}"), headers, body)
    };
    let check = |feed: &str, sent: &[u8], expected: &[&str]| {
        let batches = batches(push(feed, "key=ours-ingest&secret=s3cret", &[], sent));
        assert_eq!(batches.iter().flat_map(texts).collect::<Vec<_>>(), expected, "{feed} {sent:?}");
        let meta = &batches[0].meta;
        assert_eq!(
            (meta.log_type.as_str(), meta.namespace.as_str(), meta.feed.clone()),
            ("OKTA", "n", format!("feeds/{feed}"))
        );
    };
    check("lines", b"one\ntwo\r\n\n\nthree", &["one", "two", "three"]);
    check("whole", b"one\ntwo\n", &["one\ntwo\n"]);
    check("odd", b"a\n--b----c--", &["a\n", "b", "c"]);
    let headers: &[(&str, &str)] = &[("x-goog-api-key", "ours-ingest"), ("x-webhook-access-key", "s3cret")];
    assert_eq!(batches_len(push("whole", "", headers, b"x")), 1);

    for (feed, query, expected) in [
        ("whole", "key=ours-ingest&secret=wrong", 401),
        ("whole", "key=ours-ingest", 401),
        ("bare", "key=ours-ingest&secret=", 401),
        ("whole", "key=theirs-ingest&secret=s3cret", 403),
        ("whole", "secret=s3cret", 401),
        ("off", "key=ours-ingest&secret=s3cret", 403),
        ("nobody", "key=ours-ingest&secret=s3cret", 404),
    ] {
        assert_eq!(refusal(push(feed, query, &[], b"x")).0, expected, "{feed}?{query}");
    }
    let (status, error) = refusal(push("lines", "key=ours-ingest&secret=s3cret", &[], b"good\n\xff\ngood"));
    assert_eq!((status, &error["details"][0]["fieldViolations"][0]["field"]), (400, &json!("log[1]")));
    assert_eq!(refusal(push("whole", "key=ours-ingest&secret=s3cret", &[], b"")).0, 400);
}

#[test]
fn what_is_known_and_not_served_says_so() {
    let world = World::new();
    for (method, rest) in [
        ("POST", "/logTypes/OKTA/parsers/pa_1:runAnalysis"),
        ("GET", "/logTypes/OKTA/parsers/pa_1/analysisReports/r1"),
        ("POST", "/logTypes/OKTA:submitParser"),
        ("POST", "/dataExports"),
        ("PATCH", "/dataExports/ex1"),
        ("POST", "/dataExports:fetchavailablelogtypes"),
        ("POST", "/logProcessingPipelines:testPipeline"),
        ("GET", "/rules/ru_1"),
    ] {
        let (status, error) = refusal(world.intake(method, &path(rest), &[], b"{}"));
        assert_eq!((status, &error["status"]), (501, &json!("UNIMPLEMENTED")), "{method} {rest}");
    }
    assert_eq!(refusal(world.intake("GET", &path("/nothingLikeIt"), &[], b"")).0, 404);
    assert_eq!(refusal(world.intake("GET", &path("/events:import"), &[], b"")).0, 405);
}

/// Whatever bytes are sent as logs come back as these bytes, in their order within their group.
#[test]
fn logs_are_kept_byte_for_byte() {
    let world = World::new();
    let log = (prop::collection::vec(any::<u8>(), 0..60), 0..3usize, any::<bool>());
    let result = TestRunner::default().run(&prop::collection::vec(log, 1..40), |items| {
        let encode = |data: &[u8], url_safe| if url_safe { URL_SAFE_NO_PAD.encode(data) } else { STANDARD.encode(data) };
        let log = |(data, namespace, url_safe): &(Vec<u8>, usize, bool)| {
            json!({ "data": encode(data, *url_safe), "environment_namespace": format!("n{namespace}") })
        };
        let list = items.iter().map(log).collect();
        let batches = batches(post(&world, "/logTypes/OKTA/logs:import", &logs(&Value::Array(list))));
        for namespace in 0..3 {
            let sent: Vec<&[u8]> = items.iter().filter(|item| item.1 == namespace).map(|item| &item.0[..]).collect();
            let of_it = batches.iter().filter(|batch| batch.meta.namespace == format!("n{namespace}"));
            let kept: Vec<&[u8]> = of_it.flat_map(|batch| &batch.records).map(|record| &record.data[..]).collect();
            prop_assert_eq!(sent, kept);
        }
        Ok(())
    });
    result.unwrap();
}

/// No body makes an import panic, and what is refused is refused in few words.
#[test]
fn no_bytes_break_a_promise() {
    let worlds = [World::new(), World::quarantining()];
    let calls = ["/logTypes/OKTA/logs:import", "/events:import", "/entities:import"];
    let body = "\\PC{0,80}|\\{\"inline_source\": ?\\{\"(logs|events|entities)\": ?[\\[{]\\{?\\PC{0,60}";
    let case = (body, prop::sample::select(calls.to_vec()), any::<bool>());
    let result = TestRunner::default().run(&case, |(body, call, quarantine)| {
        if let Err(reply) = worlds[usize::from(quarantine)].intake("POST", &path(call), &[], body.as_bytes()) {
            prop_assert!(reply.status.is_client_error());
            prop_assert!(reply.body.len() < event::limits::ERROR_BODY_BYTES_MAX);
        }
        Ok(())
    });
    result.unwrap();
}
