//! The dialect from outside: requests in, batches and replies out.

use std::sync::{Arc, LazyLock};

use event::{InstanceId, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::snapshot::{IntakeKey, SecretHash};
use crate::testing::{OURS, THEIRS, World, instance};
use crate::{Intake, Reply};

/// Keys of two intakes of ours, one of another tenant, and one that is disabled.
const KEY: &str = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK";
const OTHER: &str = "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL";
const FOREIGN: &str = "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM";
const DISABLED: &str = "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN";
const UNKNOWN: &str = "00000000000000000000000000000000";

fn world() -> World {
    let mut world = World::new();
    for (key, id, of, disabled) in [
        (KEY, "intake-a", OURS, false),
        (OTHER, "intake-b", OURS, false),
        (FOREIGN, "intake-c", THEIRS, false),
        (DISABLED, "intake-d", OURS, true),
    ] {
        let log_type = if id == "intake-b" { "BIND_DNS" } else { "UNBOUND_DNS" };
        let namespace = if id == "intake-b" { "lab" } else { "" };
        let intake = IntakeKey {
            id: id.to_owned(),
            instance: instance(of),
            log_type: log_type.to_owned(),
            namespace: namespace.to_owned(),
            disabled,
        };
        world.snapshot.intakes.insert(SecretHash::of(key), Arc::new(intake));
    }
    world
}

/// A record that was taken: the intake, its text, its time.
type Taken = (InstanceId, String, Vec<u8>, Option<Time>);

/// What came of a request.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
    taken: Vec<Taken>,
    ids: Vec<String>,
    refused: Vec<(String, u64)>,
}

fn send_to(world: &World, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let shown = |reply: &Reply| -> (u16, Value) {
        let content_type = reply.headers.iter().find(|(name, _)| name == "content-type").unwrap();
        assert!(content_type.1.to_str().unwrap().starts_with("application/json"));
        let body = if reply.body.is_empty() { Value::Null } else { serde_json::from_slice(&reply.body).unwrap() };
        (reply.status.as_u16(), body)
    };
    match world.intake("POST", target, headers, body) {
        Ok(Intake::Commit { batches, key, refused, thanks, .. }) => {
            assert_eq!(key, None, "two equal lines are two events");
            let mut taken = Vec::new();
            let mut ids = Vec::new();
            for (caller, batch) in &batches {
                let meta = &batch.meta;
                assert_eq!(caller.instance(), Some(meta.instance));
                assert_eq!(meta.sender, meta.feed.replace("intakes/", "intake:"));
                for (index, record) in (0..).zip(&batch.records) {
                    let feed = format!("{} {} {}", meta.feed, meta.log_type, meta.namespace);
                    taken.push((meta.instance, feed.trim().to_owned(), record.data.to_vec(), record.sender_time));
                    ids.push(meta.id.record(index).to_string());
                }
            }
            let (status, body) = shown(&thanks.rehearse(batches[0].1.meta.id.as_u128()));
            Answer {
                status,
                body,
                taken,
                ids,
                refused: refused
                    .iter()
                    .map(|refusal| (refusal.sender.as_deref().unwrap().to_owned(), refusal.records.unwrap()))
                    .collect(),
            }
        }
        Ok(Intake::Answer(reply)) => {
            let (status, body) = shown(&reply);
            Answer { status, body, taken: vec![], ids: vec![], refused: vec![] }
        }
        Err(reply) => {
            assert!(reply.body.len() < event::limits::ERROR_BODY_BYTES_MAX);
            let (status, body) = shown(&reply);
            assert_eq!(body["code"], status);
            assert!(!body["message"].as_str().unwrap().is_empty());
            Answer { status, body, taken: vec![], ids: vec![], refused: vec![] }
        }
        other => panic!("{other:?}"),
    }
}

fn send(target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    static WORLD: LazyLock<World> = LazyLock::new(world);
    send_to(&WORLD, target, headers, body.as_ref())
}

const BY_KEY: &[(&str, &str)] = &[("X-SEKOIAIO-INTAKE-KEY", KEY)];

impl Answer {
    #[track_caller]
    fn texts(&self) -> Vec<&str> {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.taken.iter().map(|(_, _, text, _)| std::str::from_utf8(text).unwrap()).collect()
    }

    #[track_caller]
    fn refused(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.taken.is_empty());
        let said = self.body.to_string();
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn every_endpoint_takes_events_and_names_them() {
    let line = "[764008:0] info: 198.51.100.10 example.org. A IN";
    let one = json!({"intake_key": KEY, "json": line}).to_string();
    let batch = json!({"jsons": [line, "b"], "intake_key": KEY}).to_string();
    let array = json!([{"intake_key": KEY, "json": line}, {"json": "b", "intakey_key": KEY}]).to_string();
    let jsons = json!([line, "b"]).to_string();
    let nested = json!({"a": {"x": [1], "b": [line, "b"]}, "c": null}).to_string();
    let plain = format!("{line}\nb");
    for prefix in ["", "/api/v1/intake-http", "/v1/intake-http"] {
        let at = |path: &str| format!("{prefix}{path}");
        for (target, headers, body, is_one) in [
            (at("/"), &[][..], one.as_str(), true),
            (at("/batch"), &[], &batch, false),
            (at("/array"), &[], &array, false),
            (at("/plain"), BY_KEY, line, true),
            (at("/plain/batch"), BY_KEY, &plain, false),
            (at("/plain/batch/"), BY_KEY, &plain, false),
            (at("/jsons"), BY_KEY, &jsons, false),
            (at("/jsons?path=$.a.b"), BY_KEY, &nested, false),
            (at("/many?path=%24.a%5B%27b%27%5D"), BY_KEY, &nested, false),
        ] {
            let answer = send(&target, headers, body);
            assert_eq!(answer.status, 202, "{target}: {answer:?}");
            let expected = if is_one { vec![line] } else { vec![line, "b"] };
            assert_eq!(answer.texts(), expected, "{target}");
            let named = if is_one { json!({"event_id": answer.ids[0]}) } else { json!({"event_ids": answer.ids}) };
            assert_eq!(answer.body, named, "{target}");
            assert_eq!(answer.taken[0].1, "intakes/intake-a UNBOUND_DNS");
        }
    }
    // Without a prefix's slash, too.
    assert_eq!(send("/api/v1/intake-http", &[], &one).status, 202);
}

#[test]
fn the_status_is_the_one_that_was_asked_for() {
    for (query, status, body_is_empty) in [
        ("", 202, false),
        ("?status_code=200", 200, false),
        ("?status_code=201", 201, false),
        ("?status_code=204", 204, true),
    ] {
        let answer = send(&format!("/plain{query}"), BY_KEY, "x");
        assert_eq!((answer.status, answer.body.is_null()), (status, body_is_empty), "{query}");
    }
    for query in ["status_code=302", "status_code=99", "status_code=", "status_code=2OO"] {
        send(&format!("/plain?{query}"), BY_KEY, "x").refused(400, "status_code");
    }
}

#[test]
fn a_key_is_taken_wherever_it_may_stand() {
    use base64::Engine as _;
    let basic =
        |user: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{KEY}")));
    for user in ["", "None", "anyone"] {
        assert_eq!(send("/plain", &[("Authorization", &basic(user))], "x").status, 202, "{user}");
    }
    assert_eq!(send(&format!("/jsons?intake_key={KEY}"), &[], "[\"x\"]").status, 202);
    // The head's is as good where one is due in the body, and must be the same where both are.
    assert_eq!(send("/batch", BY_KEY, r#"{"jsons": ["x"]}"#).status, 202);
    assert_eq!(send("/array", BY_KEY, r#"[{"json": "x"}]"#).status, 202);
    assert_eq!(send("/batch", BY_KEY, json!({"jsons": ["x"], "intake_key": KEY}).to_string()).status, 202);
    let other = json!({"jsons": ["x"], "intake_key": OTHER}).to_string();
    send("/batch", BY_KEY, &other).refused(400, "another key");
    send("/array", BY_KEY, json!([{"json": "x", "intake_key": OTHER}]).to_string()).refused(400, "[0].intake_key");
    let both = json!({"json": "x", "intake_key": KEY, "intakey_key": OTHER}).to_string();
    send("/", &[], &both).refused(400, "given twice");
    let both = json!({"json": "x", "intake_key": KEY, "intakey_key": UNKNOWN}).to_string();
    send("/", &[], &both).refused(400, "given twice");
    let same = json!({"json": "x", "intake_key": KEY, "intakey_key": KEY}).to_string();
    assert_eq!(send("/", &[], &same).status, 202);
}

#[test]
fn keys_that_are_none_are_refused() {
    for (key, part) in [(UNKNOWN, "not known"), ("x", "not known"), (DISABLED, "disabled")] {
        for target in ["/plain", "/plain/batch", "/jsons", "/", "/batch", "/array"] {
            send(target, &[("X-SEKOIAIO-INTAKE-KEY", key)], "[\"x\"]").refused(401, part);
        }
        send("/", &[], json!({"intake_key": key, "json": "x"}).to_string()).refused(401, part);
        send("/batch", &[], json!({"intake_key": key, "jsons": ["x"]}).to_string()).refused(401, part);
        let items = json!([{"intake_key": KEY, "json": "x"}, {"intake_key": key, "json": "y"}]);
        send("/array", &[], items.to_string()).refused(401, "[1].intake_key");
    }
    for empty in [&[("X-SEKOIAIO-INTAKE-KEY", "")][..], &[("Authorization", "Basic Og==")], &[]] {
        send("/plain?intake_key=", empty, "x").refused(401, "X-SEKOIAIO-INTAKE-KEY");
        let in_body = json!({"intake_key": KEY, "jsons": ["x"]}).to_string();
        assert_eq!(send("/batch?intake_key=", empty, in_body).status, 202, "an empty key is none");
    }
    let long = "x".repeat(300);
    send("/batch", &[], json!({"intake_key": long, "jsons": ["x"]}).to_string()).refused(400, "no key is so long");
    let many: Vec<Value> = (0..100).map(|n| json!({"intake_key": format!("guess {n}"), "json": "x"})).collect();
    let answer = send("/array", &[], json!(many).to_string());
    assert_eq!((answer.status, answer.body["errors"].as_array().unwrap().len()), (401, 5));
    send("/", &[], r#"{"json": "x"}"#).refused(401, "intake_key");
    send("/batch", &[], r#"{"jsons": ["x"]}"#).refused(401, "missing");
    send("/array", &[], json!([{"intake_key": KEY, "json": "x"}, {"json": "y"}]).to_string()).refused(401, "[1]");
    send("/plain", &[("Authorization", "Basic x")], "x").refused(401, "Basic");
}

#[test]
fn an_array_may_hold_events_of_several_tenants() {
    let items = json!([
        {"timestamp": "2021-04-05T21:33:31+02:00", "intake_key": KEY, "json": "a"},
        {"intake_key": FOREIGN, "json": "b"},
        {"intake_key": KEY, "json": "x".repeat(256_001)},
        {"intake_key": KEY, "json": "c", "timestamp": null},
        {"intake_key": OTHER, "json": {"d": [1]}, "timestamp": 1617651211},
    ]);
    let answer = send("/array", &[], items.to_string());
    let time = Time::parse_rfc3339("2021-04-05T19:33:31Z").unwrap();
    let ours = instance(OURS);
    let expected = vec![
        (ours, "intakes/intake-a UNBOUND_DNS".to_owned(), b"a".to_vec(), Some(time)),
        (ours, "intakes/intake-a UNBOUND_DNS".to_owned(), b"c".to_vec(), None),
        (instance(THEIRS), "intakes/intake-c UNBOUND_DNS".to_owned(), b"b".to_vec(), None),
        (ours, "intakes/intake-b BIND_DNS lab".to_owned(), b"{\"d\":[1]}".to_vec(), Some(time)),
    ];
    assert_eq!(answer.taken, expected);
    let ids = &answer.ids;
    assert_eq!(answer.body["event_ids"], json!([ids[0], ids[2], null, ids[1], ids[3]]));
    assert_eq!(answer.refused, [("intake:intake-a".to_owned(), 1)]);
}

#[test]
fn what_is_too_large_is_refused_and_the_rest_taken() {
    let fits = "é".repeat(128_000);
    let large = "x".repeat(256_001);
    let errors = |index: usize| {
        json!([{"index": index, "status": 413,
                "message": "The event has 256001 bytes, more than the 256000 allowed; it was not stored."}])
    };
    let answer = send("/jsons", BY_KEY, json!([fits, large, "b"]).to_string());
    assert_eq!((answer.status, answer.texts()), (202, vec![fits.as_str(), "b"]));
    assert_eq!(answer.body["event_ids"], json!([answer.ids[0], null, answer.ids[1]]));
    assert_eq!(answer.body["errors"], errors(1));
    let answer = send("/plain/batch", BY_KEY, format!("{large}\n{fits}"));
    assert_eq!(answer.body, json!({"event_ids": [null, answer.ids[0]], "errors": errors(0)}));
    for (target, body) in [
        ("/plain", large.clone()),
        ("/plain/batch", format!("{large}\n{large}")),
        ("/jsons", json!([large]).to_string()),
        ("/batch", json!({"jsons": [large]}).to_string()),
        ("/array", json!([{"json": large}]).to_string()),
        ("/", json!({"json": large, "intake_key": KEY}).to_string()),
    ] {
        send(target, BY_KEY, body).refused(413, "more than the 256000");
    }
}

#[test]
fn bodies_that_are_none_are_refused_by_name() {
    for (target, body, part) in [
        ("/plain", "", "is empty"),
        ("/plain/batch", "", "is empty"),
        ("/plain/batch", "\n\r\n\n", "holds no event"),
        ("/jsons", "", "not valid JSON"),
        ("/jsons", "[\"a\"", "offset 4"),
        ("/jsons", "{\"a\": []}", "?path="),
        ("/jsons", "\"a\"", "must be a list"),
        ("/jsons", "[\"a\", null]", "[1]: must be a string or an object, not null"),
        ("/jsons", "[1]", "[0]: must be a string or an object, not a number"),
        ("/jsons", "[[\"a\"]]", "not a list"),
        ("/jsons", "[true]", "not true or false"),
        ("/jsons", "[\"\\ud800\"]", "surrogate"),
        ("/jsons", "[\"\\u0000\"]", "U+0000"),
        ("/jsons", "[{\"a\": \"\\u0000\"}]", "[0]"),
        ("/jsons?path=$.a", "{\"b\": []}", "leads to nothing"),
        ("/jsons?path=$.a", "{\"a\": {}}", "leads to an object, no list"),
        ("/jsons?path=$.a", "{\"a\": [\"x\"], \"a\": [\"y\"]}", "given twice"),
        ("/jsons?path=a", "{\"a\": []}", "expected $"),
        ("/batch", "a line\nanother", "/plain/batch"),
        ("/batch", "[\"a\"]", "/plain/batch"),
        ("/batch", "{}", "jsons: missing"),
        ("/batch", "{\"jsons\": \"a\"}", "must be a list"),
        ("/batch", "{\"jsons\": [\"a\", 5]}", "jsons[1]"),
        ("/batch", "{\"jsons\": [], \"jsons\": []}", "given twice"),
        ("/batch", "{\"jsons\": [], \"intake_key\": 5}", "intake_key: must be a string"),
        ("/array", "{}", "must be a list"),
        ("/array", "[\"a\"]", "[0]: must be an object"),
        ("/array", "[{}]", "[0].json: missing"),
        ("/array", "[{\"json\": \"a\", \"json\": \"b\"}]", "[0].json: given twice"),
        ("/array", "[{\"json\": \"a\", \"timestamp\": \"yesterday\"}]", "[0].timestamp"),
        ("/array", "[{\"json\": \"a\", \"timestamp\": [1]}]", "[0].timestamp"),
        ("/array", "[{\"json\": \"a\", \"timestamp\": 1, \"@timestamp\": 2}]", "given twice"),
        ("/array", "[{\"json\": null}]", "[0].json"),
    ] {
        let answer = send(target, BY_KEY, body);
        answer.refused(400, part);
    }
    send("/", &[], "not json").refused(400, "not valid JSON");
    send("/", &[], "[]").refused(400, "must be an object");
    send("/", &[], format!("{{\"intake_key\": \"{KEY}\"}}")).refused(400, "json: missing");
    send("/plain", &[BY_KEY[0], ("X-SEKOIAIO-EVENT-TIMESTAMP", "soon")], "x").refused(400, "EVENT-TIMESTAMP");
    assert_eq!(world().intake("GET", "/plain", &[], b"").unwrap_err().status.as_u16(), 405);
    assert_eq!(world().intake("GET", "/", &[], b"").unwrap_err().status.as_u16(), 405);
}

#[test]
fn what_is_not_there_is_refused_in_sekoias_form() {
    for path in ["/api/v1/intake-http/nothing", "/v1/intake-http/plain/more", "/api/v1/intake-http/plain/batch/x"] {
        send(path, BY_KEY, "x").refused(404, "Nothing is served");
    }
    let many = "a\n".repeat(event::limits::SEKOIA_EVENTS_MAX + 1);
    send("/plain/batch", BY_KEY, many).refused(413, "1000001 events");
}

#[test]
fn a_list_of_nothing_misses_nothing() {
    for (target, body) in [("/jsons", "[]"), ("/batch", "{\"jsons\": []}"), ("/array", "[]")] {
        let answer = send(target, BY_KEY, body);
        assert_eq!((answer.status, answer.body), (202, json!({"event_ids": []})), "{target}");
    }
    // A stranger's list of nothing is a stranger's.
    send("/batch", &[], json!({"jsons": [], "intake_key": UNKNOWN}).to_string()).refused(401, "not known");
    send("/array", &[], "[]").refused(401, "key");
}

#[test]
fn a_body_without_an_envelope_is_one_event_where_the_head_has_the_key() {
    for body in ["a line", "{\"a\": 1}", "[{\"a\": 1}, 2]", "{\"json\": \"x\"}", "\u{0}\r\n"] {
        let answer = send("/", BY_KEY, body);
        assert_eq!(answer.texts(), [body]);
        assert_eq!(answer.body, json!({"event_id": answer.ids[0]}));
    }
    send("/", BY_KEY, format!("{{\"intake_key\": \"{KEY}\", \"json\": \"cut")).refused(400, "not valid JSON");
    send("/", BY_KEY, format!("\u{feff}{{\"intake_key\": \"{KEY}\", \"json\": \"x\"}}")).refused(400, "not valid JSON");
    let enveloped = json!({"json": {"a": 1}, "intake_key": KEY, "@timestamp": "2021-04-05T21:33:31Z"}).to_string();
    let answer = send("/", BY_KEY, enveloped);
    assert_eq!(answer.texts(), ["{\"a\":1}"]);
    assert_eq!(answer.taken[0].3, Some(Time::from_secs(1_617_658_411).unwrap()));
}

#[test]
fn the_heads_time_is_that_of_every_event_and_an_events_own_goes_before() {
    let time = ("X-SEKOIAIO-EVENT-TIMESTAMP", "Mon, 05 Apr 2021 21:33:31 +0200");
    let expected = Some(Time::from_secs(1_617_651_211).unwrap());
    for (target, body) in [("/plain", "x"), ("/plain/batch", "x"), ("/jsons", "[\"x\"]")] {
        assert_eq!(send(target, &[BY_KEY[0], time], body).taken[0].3, expected, "{target}");
    }
    let own = send("/array", &[BY_KEY[0], time], r#"[{"json": "x", "timestamp": 7}, {"json": "y"}]"#);
    assert_eq!(own.taken[0].3, Some(Time::from_secs(7).unwrap()));
    assert_eq!(own.taken[1].3, expected);
}

#[test]
fn what_the_sdk_was_seen_to_send_is_taken() {
    let captured: Value = serde_json::from_str(include_str!("captures/automation-sdk.json")).unwrap();
    for call in captured.as_array().unwrap() {
        let headers: Vec<(&str, &str)> = call["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let mut world = world();
        let intake = Arc::clone(&world.snapshot.intakes[&SecretHash::of(KEY)]);
        world.snapshot.intakes.insert(SecretHash::of("KKKKKKKKKKKKKKKK"), intake);
        let body = call["body"].as_str().unwrap();
        let answer = send_to(&world, call["path"].as_str().unwrap(), &headers, body.as_bytes());
        assert_eq!(answer.texts(), ["plain line", "{\"a\":1,\"b\":[1,2]}", "éééééééééé"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any list of texts comes through every endpoint as that list.
    #[test]
    fn lists_come_through_as_they_are(texts in prop::collection::vec("(\\PC|[\\x01-\\x1f\"\\\\\\r\\n]){0,30}", 1..20)) {
        let batch = json!({"intake_key": KEY, "jsons": texts}).to_string();
        let array: Vec<Value> = texts.iter().map(|text| json!({"intake_key": KEY, "json": text})).collect();
        let nested = json!({"a": [{"b": texts}]}).to_string();
        for (target, body) in [
            ("/batch", batch),
            ("/array", json!(array).to_string()),
            ("/jsons", json!(texts).to_string()),
            ("/jsons?path=$.a[0].b", nested),
        ] {
            let answer = send(target, BY_KEY, body);
            prop_assert_eq!(answer.texts(), texts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(&answer.body["event_ids"], &json!(answer.ids));
        }
        let joined = texts.join("\n");
        let lines: Vec<&str> = joined.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        let answer = send("/plain/batch", BY_KEY, &joined);
        if lines.is_empty() {
            answer.refused(400, "body");
        } else {
            prop_assert_eq!(answer.texts(), lines);
        }
        for text in &texts {
            let one = json!({"intake_key": KEY, "json": text}).to_string();
            let answer = send("/", &[], one);
            prop_assert_eq!(answer.texts(), [text.as_str()]);
            if !text.is_empty() {
                let answer = send("/plain", BY_KEY, text);
                prop_assert_eq!(answer.texts(), [text.as_str()]);
            }
        }
    }

    /// Whatever bytes come, the answer is one of ours, and what is taken is what a reader of the whole JSON finds.
    #[test]
    fn no_body_breaks_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..60), target in 0..8usize) {
        let target = ["/", "/batch", "/array", "/plain", "/plain/batch", "/jsons", "/jsons?path=$.a", "/many"][target];
        send(target, BY_KEY, &bytes);
        send(target, &[], &bytes);
    }
}
