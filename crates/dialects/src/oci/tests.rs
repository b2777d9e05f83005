//! The dialect from outside: signed requests in, batches, questions and replies out.

use std::sync::{Arc, LazyLock};

use event::Time;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use ring::signature::{KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use super::sign::Signer;
use super::{
    Act, Invoked, Kind, ListCall, LogSearch, MetricsAsk, NotInvoked, Outcome, Question, Resource, SortBy, ocid,
};
use crate::auth::Role;
use crate::snapshot::{OciCompartment, OciKey, OciLog, OciLogType};
use crate::testing::{OPERATOR, OURS, THEIRS, World, instance};
use crate::{Intake, Refusal, Reply};

/// A key pair for tests only; it opens nothing.
const PRIVATE_KEY: &str = include_str!("tests_key.pem");
/// The names that the captured requests have for their key.
const TENANCY: &str = "ocid1.tenancy.oc1..aaaaaaaatenancy";
const USER: &str = "ocid1.user.oc1..aaaaaaaauser";
const FINGERPRINT: &str = "ed:f5:ac:eb:8a:fd:a2:d3:e8:b9:dc:6e:87:44:3f:99";
/// A compartment of ours and one of another tenant.
const COMPARTMENT: &str = "ocid1.compartment.oc1..c";
const THEIR_COMPARTMENT: &str = "ocid1.compartment.oc1..d";
/// Logs of ours, the second disabled, the third of flow logs; and one of another tenant.
const LOG: &str = "ocid1.log.oc1.ap-seoul-1.l";
const DISABLED_LOG: &str = "ocid1.log.oc1.ap-seoul-1.m";
const FLOW_LOG: &str = "ocid1.log.oc1.ap-seoul-1.f";
const THEIR_LOG: &str = "ocid1.log.oc1.ap-seoul-1.n";
const PUSH: &str = "/20200831/logs/ocid1.log.oc1.ap-seoul-1.l/actions/push";
const REPLAY: &str = "/20200831/logs/ocid1.log.oc1.ap-seoul-1.l/actions/replay";
const HOST: &str = "127.0.0.1:19000";

static PUBLIC_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let base64: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    RsaKeyPair::from_pkcs8(&der).unwrap().public_key().as_ref().to_vec()
});

/// Users `admin`, `reader`, `sender` and `gone` of ours and `admin` of theirs, all with the same key; compartments and logs.
fn world() -> World {
    let mut world = World::new();
    let (ours, theirs) = (instance(OURS), instance(THEIRS));
    let mut add = |id: String, name: &str, instance, role, disabled| {
        let user = id.split('/').nth(1).unwrap().to_owned();
        let key = OciKey { instance, user, name: name.to_owned(), role, disabled, key: PUBLIC_KEY.clone() };
        world.snapshot.oci_keys.insert(id, key);
    };
    add(format!("{TENANCY}/{USER}/{FINGERPRINT}"), "admin", ours, Role::Admin, false);
    add(format!("{TENANCY}/reader/{FINGERPRINT}"), "reader", ours, Role::Read, false);
    add(format!("{TENANCY}/sender/{FINGERPRINT}"), "sender", ours, Role::Ingest, false);
    add(format!("{TENANCY}/gone/{FINGERPRINT}"), "gone", ours, Role::Admin, true);
    add(format!("{TENANCY}/theirs/{FINGERPRINT}"), "theirs", theirs, Role::Admin, false);
    for (instance, name, below) in [(ours, "ours", COMPARTMENT), (theirs, "theirs", THEIR_COMPARTMENT)] {
        let root = ocid::tenancy(instance);
        let compartment = |parent| OciCompartment { instance, name: name.to_owned(), parent };
        world.snapshot.oci_compartments.insert(root.clone(), compartment(None));
        world.snapshot.oci_compartments.insert(below.to_owned(), compartment(Some(root)));
    }
    for (id, instance, enabled) in
        [(LOG, ours, true), (DISABLED_LOG, ours, false), (FLOW_LOG, ours, true), (THEIR_LOG, theirs, true)]
    {
        let log = OciLog {
            id: id.to_owned(),
            instance,
            compartment: COMPARTMENT.to_owned(),
            log_group: "ocid1.loggroup.oc1.ap-seoul-1.g".to_owned(),
            name: "a log".to_owned(),
            log_type: OciLogType::Custom,
            enabled,
            service: None,
            resource: None,
            category: None,
        };
        world.snapshot.oci_logs.insert(id.to_owned(), Arc::new(log));
    }
    world.snapshot.oci_region = "ap-seoul-1".to_owned();
    world.snapshot.oci_runtimes = vec!["python3.12".to_owned(), "python3.11".to_owned()];
    world.now = "2026-11-21T19:45:00Z".parse().unwrap();
    world
}

fn signer_of(user: &str) -> Signer {
    Signer::new(TENANCY, user, FINGERPRINT, PRIVATE_KEY).unwrap()
}

/// The headers of a request of this user, signed at the world's time.
fn signed(world: &World, user: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> HeaderMap {
    let mut given = HeaderMap::new();
    for (name, value) in headers {
        given.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let method: Method = method.parse().unwrap();
    signer_of(user).sign(&method, target, HOST, given, body, world.now).unwrap()
}

/// What came of a request.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
    raw: Vec<u8>,
    /// What was taken: log type, record, time in it.
    taken: Vec<(String, Value, Option<Time>)>,
    feeds: Vec<String>,
    key: Option<[u8; 16]>,
    asked: Option<crate::Ask>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The code and message of a refusal.
    #[track_caller]
    fn refused(&self) -> (u16, &str, &str) {
        let text = |key: &str| self.body[key].as_str().unwrap_or_else(|| panic!("no {key} in {self:?}"));
        (self.status, text("code"), text("message"))
    }

    #[track_caller]
    fn asked(self) -> Question {
        match self.asked.map(|ask| ask.question) {
            Some(crate::Question::Oci { instance: of, ask }) => {
                assert_eq!(of, instance(OURS));
                ask
            }
            other => panic!("not asked, but {other:?}, {} {}", self.status, self.body),
        }
    }

    #[track_caller]
    fn act(self) -> (Kind, Act) {
        match self.asked() {
            Question::Resource { kind, act } => (kind, act),
            other => panic!("another question: {other:?}"),
        }
    }

    /// What is said where a component says this.
    #[track_caller]
    fn said(self, outcome: Outcome) -> Answer {
        let ask = self.asked.unwrap_or_else(|| panic!("nothing was asked: {} {}", self.status, self.body));
        match ask.render.render(crate::Outcome::Oci(outcome)) {
            Ok(reply) => of_reply(&reply),
            Err(refusal) => of_reply(&super::reply::refuse(&refusal)),
        }
    }
}

fn of_reply(reply: &Reply) -> Answer {
    let headers = reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Answer {
        status: reply.status.as_u16(),
        headers: headers.collect(),
        body: serde_json::from_slice(&reply.body).unwrap_or(Value::Null),
        raw: reply.body.to_vec(),
        taken: Vec::new(),
        feeds: Vec::new(),
        key: None,
        asked: None,
    }
}

fn put(world: &World, method: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let pairs: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    match world.intake(method, target, &pairs, body) {
        Err(reply) => {
            assert!(reply.body.len() < event::limits::ERROR_BODY_BYTES_MAX);
            of_reply(&reply)
        }
        Ok(Intake::Answer(reply)) => of_reply(&reply),
        Ok(Intake::Ask(ask)) => {
            assert_eq!(ask.caller.instance(), Some(instance(OURS)));
            Answer { asked: Some(ask), ..of_reply(&super::reply::empty(http::StatusCode::OK)) }
        }
        Ok(Intake::Commit { batches, key, filtered, refused, thanks }) => {
            assert!(filtered == 0 && refused.is_empty() && !batches.is_empty());
            let mut answer = of_reply(&thanks.rehearse(0));
            for (caller, batch) in batches {
                assert_eq!((caller.instance(), batch.meta.instance), (Some(instance(OURS)), instance(OURS)));
                assert_eq!((batch.meta.sender.as_str(), batch.meta.received_at), (caller.sender(), world.now));
                assert!(!batch.records.is_empty() && batch.meta.kind == event::Kind::Raw);
                answer.feeds.push(batch.meta.feed.clone());
                for record in &batch.records {
                    let text = String::from_utf8_lossy(&record.data);
                    let value = serde_json::from_slice(&record.data).unwrap_or_else(|error| panic!("{error}: {text}"));
                    answer.taken.push((batch.meta.log_type.clone(), value, record.sender_time));
                }
            }
            answer.key = key;
            answer
        }
        Ok(Intake::Filtered { .. } | Intake::Refuse(_)) => panic!("not in the dialect's form"),
    }
}

/// A request of a user, signed.
fn send_as(world: &World, user: &str, method: &str, target: &str, body: &[u8]) -> Answer {
    put(world, method, target, &signed(world, user, method, target, &[], body), body)
}

/// A request of our admin.
fn send(method: &str, target: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send_as(&world(), USER, method, target, body.as_bytes())
}

fn captured() -> Vec<Value> {
    let files = [
        include_str!("captures/connectors.json"),
        include_str!("captures/functions.json"),
        include_str!("captures/ingestion.json"),
        include_str!("captures/logging.json"),
        include_str!("captures/monitoring.json"),
        include_str!("captures/search.json"),
    ];
    files.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap()).collect()
}

#[test]
fn everything_captured_is_understood() {
    let world = world();
    let mut seen = Vec::new();
    for request in captured() {
        let text = |key: &str| request[key].as_str().unwrap();
        let (method, target, body) = (text("method"), text("path"), text("body"));
        // The headers as they were sent, but for what a signature of our own key says.
        let mut headers = HeaderMap::new();
        for pair in request["headers"].as_array().unwrap() {
            let (name, value) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            if !matches!(name, "date" | "authorization") {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
        }
        let headers = signer_of(USER).sign(&method.parse().unwrap(), target, HOST, headers, body.as_bytes(), world.now);
        let answer = put(&world, method, target, &headers.unwrap(), body.as_bytes());
        let what = match answer.asked {
            Some(ask) => match ask.question {
                crate::Question::Oci { ask: Question::Resource { kind, act }, .. } => {
                    format!("{kind:?} {}", format!("{act:?}").split([' ', '(']).next().unwrap())
                }
                crate::Question::Oci { ask, .. } => format!("{ask:?}").split([' ', '(']).next().unwrap().to_owned(),
                other => panic!("{other:?}"),
            },
            None => format!("{} and {} records {}", answer.status, answer.taken.len(), answer.body),
        };
        seen.push(format!("{method} {} {what}", target.split('?').next().unwrap().split('/').nth(2).unwrap()));
    }
    let runtimes = r#"{"items":["#;
    let expected = [
        "POST serviceConnectors ServiceConnector Create",
        "GET workRequests WorkRequest Get",
        "GET serviceConnectors ServiceConnector List",
        "GET serviceConnectors ServiceConnector Get",
        "PUT serviceConnectors ServiceConnector Update",
        "POST serviceConnectors ServiceConnector Deactivate",
        "POST serviceConnectors ServiceConnector Activate",
        "DELETE serviceConnectors ServiceConnector Delete",
        "POST applications Application Create",
        "GET applications Application List",
        "POST functions Function Create",
        "GET functions Function List",
        "GET functions Function Get",
        "POST functions Invoke",
        "POST functions Invoke",
        "POST functions Function Create",
        "GET functionsRuntimes 200 and 0 records",
        "POST logs 200 and 2 records null",
        "POST logGroups LogGroup Create",
        "GET logGroups LogGroup List",
        "POST logGroups Log Create",
        "GET logGroups Log List",
        "POST metrics Metrics",
        "POST search Search",
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{seen} instead of {expected}");
    }
    assert!(seen.iter().any(|seen| seen.contains(runtimes)));
}

#[test]
fn what_the_seed_puts_in_becomes_envelopes() {
    let body = captured().into_iter().find(|request| request["path"] == PUSH).unwrap()["body"].clone();
    let world = world();
    let answer = send_as(&world, "sender", "POST", PUSH, body.as_str().unwrap().as_bytes());
    assert_eq!((answer.status, answer.raw.len(), answer.key), (200, 0, None));
    assert_eq!(answer.feeds, [format!("oci/{LOG}")]);
    let oracle = json!({
        "compartmentid": COMPARTMENT,
        "ingestedtime": "2026-11-21T19:45:00Z",
        "loggroupid": "ocid1.loggroup.oc1.ap-seoul-1.g",
        "logid": LOG,
        "tenantid": ocid::tenancy(instance(OURS)),
    });
    let time = Some("2023-10-04T02:03:04.567Z".parse().unwrap());
    let entry = |id: &str, data: Value| {
        let envelope = json!({
            "specversion": "1.0", "id": id, "source": "host1", "type": "my.type", "subject": "/var/log/x",
            "time": "2023-10-04T02:03:04.567Z", "data": data, "oracle": oracle,
        });
        ("OCI_LOGGING".to_owned(), envelope, time)
    };
    assert_eq!(answer.taken, [entry("e1", json!({"a": 1})), entry("e2", json!({"message": "plain 한글"}))]);
}

/// A body with one batch of these entries, and a member more.
fn pushed(batch: &Value) -> Answer {
    push_to(PUSH, &json!({"specversion": "1.0", "logEntryBatches": [batch]}))
}

fn push_to(target: &str, body: &Value) -> Answer {
    send_as(&world(), "sender", "POST", target, body.to_string().as_bytes())
}

#[test]
fn entries_are_completed() {
    let batch = json!({"entries": [{"data": " {\"a\": [1,\n2]} "}, {"data": "{no json}", "id": null, "time": null},
        {"data": "[1]", "time": "2026-11-21T20:00:00+01:00"}, {"data": "", "id": ""}], "source": "-", "type": "t"});
    let answer = pushed(&batch);
    let data: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| &envelope["data"]).collect();
    let text = |text: &str| json!({ "message": text });
    assert_eq!(data, [&json!({"a": [1, 2]}), &text("{no json}"), &text("[1]"), &text("")]);
    let times: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| &envelope["time"]).collect();
    let now = "2026-11-21T19:45:00Z";
    assert_eq!(times, [now, now, "2026-11-21T20:00:00+01:00", now]);
    assert_eq!(answer.taken[2].2, Some("2026-11-21T19:00:00Z".parse().unwrap()));
    let ids: Vec<&str> = answer.taken.iter().map(|(_, envelope, _)| envelope["id"].as_str().unwrap()).collect();
    assert!(ids[0].ends_with("00000000") && ids[1].ends_with("00000001") && ids[3].ends_with("00000003"), "{ids:?}");
    assert!(answer.taken.iter().all(|(_, envelope, _)| envelope.get("subject").is_none()));
}

#[test]
fn each_log_type_is_a_batch() {
    let flow = "com.oraclecloud.vcn.flowlogs.DataEvent";
    let batch = |kind: &str, id: &str| json!({"source": "-", "type": kind, "entries": [{"data": "x", "id": id}]});
    let body = json!({"specversion": "1.0", "logEntryBatches": [batch(flow, "1"), batch("t", "2"), batch(flow, "3")]});
    let check = |target: &str, expected: &[(&str, &str)]| {
        let answer = push_to(target, &body);
        let got =
            answer.taken.iter().map(|(log_type, envelope, _)| (log_type.as_str(), envelope["id"].as_str().unwrap()));
        assert_eq!(got.collect::<Vec<_>>(), expected, "{target}");
        answer
    };
    check(PUSH, &[("OCI_FLOW", "1"), ("OCI_FLOW", "3"), ("OCI_LOGGING", "2")]);
    let audit = [("OCI_AUDIT", "1"), ("OCI_AUDIT", "2"), ("OCI_AUDIT", "3")];
    let answer = check("/20200831/logs/_Audit/actions/push", &audit);
    let root = ocid::tenancy(instance(OURS));
    assert_eq!(answer.feeds, [format!("oci/{root}/_Audit")]);
    assert_eq!(answer.taken[0].1["oracle"]["loggroupid"], "_Audit");
    assert_eq!(answer.taken[0].1["oracle"].get("logid"), None);
    let answer = check(&format!("/20200831/logs/_Audit/actions/push?compartmentId={COMPARTMENT}"), &audit);
    assert_eq!(answer.taken[0].1["oracle"]["compartmentid"], COMPARTMENT);
}

#[test]
fn a_retry_token_makes_a_repeat_known() {
    let world = world();
    let key = |token: &str, data: &str| {
        let body = json!({"specversion": "1.0", "logEntryBatches": [{"source": "-", "type": "t", "entries": [{"data": data}]}]});
        let body = body.to_string();
        let headers = signed(&world, "sender", "POST", PUSH, &[("opc-retry-token", token)], body.as_bytes());
        put(&world, "POST", PUSH, &headers, body.as_bytes()).key
    };
    assert!(key("a", "x").is_some());
    assert_eq!(key("a", "x"), key("a", "x"));
    // Nothing is lost where a client gives the same token to something else.
    assert_ne!(key("a", "x"), key("a", "y"));
    assert_ne!(key("a", "x"), key("b", "x"));
}

#[test]
fn wrong_entries_are_refused_by_name() {
    let check = |body: &str, code: &str, expected: &[(&str, &str)]| {
        let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
        let (status, got, message) = answer.refused();
        assert_eq!((status, got), (400, code), "{body}: {message}");
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        let got: Vec<_> =
            errors.iter().map(|error| (error["field"].as_str().unwrap(), error["message"].as_str().unwrap())).collect();
        assert_eq!(got.len(), expected.len(), "{body}: {got:?}");
        for ((field, message), (expected_field, expected_message)) in got.iter().zip(expected) {
            assert_eq!(field, expected_field, "{body}");
            assert!(message.contains(expected_message), "{body}: {message}");
        }
    };
    let batch = |members: &str| format!(r#"{{"specversion":"1.0","logEntryBatches":[{{{members}}}]}}"#);
    check("", "CannotParseRequest", &[]);
    check("[1]", "CannotParseRequest", &[]);
    check("{\"a\":", "CannotParseRequest", &[]);
    check("{}", "MissingParameter", &[("specversion", "is missing"), ("logEntryBatches", "is missing")]);
    check(r#"{"specversion":"2.0","logEntryBatches":[]}"#, "InvalidParameter", &[("specversion", "must be \"1.0\"")]);
    check(r#"{"specversion":"1.0","logEntryBatches":[]}"#, "InvalidParameter", &[]);
    check(
        r#"{"specversion":"1.0","logEntryBatches":{},"x":1}"#,
        "InvalidParameter",
        &[("logEntryBatches", "not an object"), ("x", "those are specversion, logEntryBatches")],
    );
    check(
        &batch(""),
        "MissingParameter",
        &[
            ("logEntryBatches[0].source", "is missing"),
            ("logEntryBatches[0].type", "is missing"),
            ("logEntryBatches[0].entries", "is missing"),
        ],
    );
    check(
        &batch(r#""source":1,"type":"","subject":[],"defaultlogentrytime":"yesterday","entries":[{"data":"x"}]"#),
        "InvalidParameter",
        &[
            ("logEntryBatches[0].source", "must be a string, not a number"),
            ("logEntryBatches[0].subject", "must be a string, not a list"),
            ("logEntryBatches[0].defaultlogentrytime", "is no time"),
            ("logEntryBatches[0].type", "is empty"),
        ],
    );
    check(
        &batch(
            r#""source":"-","type":"t","entries":[{"data":{"a":1}},{"data":"x","time":"2026-02-30T00:00:00Z"},
            {"data":"\ud800"},{"id":"1"},7,{"data":"x","tiem":""},{"data":"x","data":"y"}]"#,
        ),
        "InvalidParameter",
        &[
            ("logEntryBatches[0].entries[0].data", "must be a string, not an object"),
            ("logEntryBatches[0].entries[1].time", "is no time"),
            ("logEntryBatches[0].entries[2].data", "surrogate"),
            ("logEntryBatches[0].entries[3].data", "is missing"),
            ("logEntryBatches[0].entries[4]", "must be an object, not a number"),
            ("logEntryBatches[0].entries[5].tiem", "those are data, id, time"),
            ("logEntryBatches[0].entries[6].data", "twice"),
        ],
    );
    let large = "x".repeat(event::limits::OCI_ENTRY_BYTES_MAX + 1);
    let entry = |data: &str| format!(r#""source":"-","type":"t","entries":[{{"data":"{data}"}}]"#);
    check(&batch(&entry(&large)), "InvalidParameter", &[("logEntryBatches[0].entries[0].data", "1048577 bytes")]);
    let taken = send_as(&world(), "sender", "POST", PUSH, batch(&entry(&large[1..])).as_bytes());
    assert_eq!(taken.status, 200);
    let long = format!(r#""source":"{}","type":"t","entries":[{{"data":"x"}}]"#, "x".repeat(3_000));
    check(&batch(&long), "InvalidParameter", &[("logEntryBatches[0]", "too long")]);
    // Every fault is counted, twenty are named.
    let many = format!(r#""source":"-","type":"t","entries":[{}]"#, vec![r#"{"data":1}"#; 30].join(","));
    let answer = send_as(&world(), "sender", "POST", PUSH, batch(&many).as_bytes());
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 20);
    assert!(answer.refused().2.contains("29 more faults"), "{}", answer.body);
}

#[test]
fn what_is_hidden_or_too_much_is_refused() {
    let body = r#"{"specversion":"1.0","logEntryBatches":[{"source":"-","type":"t","entries":[{"d\u0061ta":"x"}]}]}"#;
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert!(answer.refused().2.contains("write the key \"data\" without escapes"));
    let body = r#"{"s\u006furce":"s","type":"t","data":"x"}"#;
    let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
    assert!(answer.refused().2.contains("write the key \"source\" without escapes"));
    let entries = vec![r#"{"data":""}"#; event::limits::OCI_ENTRIES_MAX + 1].join(",");
    let body =
        format!(r#"{{"specversion":"1.0","logEntryBatches":[{{"source":"-","type":"t","entries":[{entries}]}}]}}"#);
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert_eq!((answer.refused().0, answer.refused().1), (413, "RequestEntityTooLarge"));
    // What every entry repeats may be more than the body.
    let entries = vec![r#"{"data":""}"#; 50_000].join(",");
    let source = "s".repeat(1_200);
    let body = format!(
        r#"{{"specversion":"1.0","logEntryBatches":[{{"source":"{source}","type":"t","entries":[{entries}]}}]}}"#
    );
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert_eq!((answer.refused().0, answer.refused().1), (413, "RequestEntityTooLarge"));
}

#[test]
fn logs_are_found_in_their_tenancy_only() {
    let body =
        json!({"specversion": "1.0", "logEntryBatches": [{"source": "-", "type": "t", "entries": [{"data": "x"}]}]});
    let check = |id: &str, expected: (u16, &str)| {
        for (call, body) in [("push", &body), ("replay", &json!([{"source": "-", "type": "t", "data": {}}]))] {
            let answer = push_to(&format!("/20200831/logs/{id}/actions/{call}"), body);
            let got = if answer.taken.is_empty() { answer.refused().1 } else { "" };
            assert_eq!((answer.status, got), expected, "{id} {call}");
        }
    };
    check(LOG, (200, ""));
    check("_Audit", (200, ""));
    check(DISABLED_LOG, (409, "IncorrectState"));
    check(THEIR_LOG, (404, "NotAuthorizedOrNotFound"));
    check("ocid1.log.oc1.ap-seoul-1.unknown", (404, "NotAuthorizedOrNotFound"));
    let theirs = format!("/20200831/logs/_Audit/actions/push?compartmentId={THEIR_COMPARTMENT}");
    assert_eq!(push_to(&theirs, &body).refused().1, "NotAuthorizedOrNotFound");
}

#[test]
fn replayed_envelopes_keep_what_they_say() {
    let envelope = |id: &str, kind: &str| {
        json!({
            "datacontenttype": "application/json", "id": id, "type": kind, "source": "가", "specversion": "1.0",
            "time": "2026-11-20T00:00:00.5Z", "subject": "s",
            "data": {"message": "x", "deep": [{"a": 1.50}]},
            "oracle": {"compartmentid": "old", "ingestedtime": "old", "loggroupid": "old", "logid": "old",
                "tenantid": "old", "vnicocid": "ocid1.vnic"},
        })
    };
    let check = |body: &str, expected: &[(&str, Value)]| {
        let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.taken.len(), expected.len(), "{body}");
        for ((log_type, got, time), (expected_type, expected)) in answer.taken.iter().zip(expected) {
            assert_eq!(log_type, expected_type);
            let mut expected = expected.clone();
            let now = "2026-11-21T19:45:00Z";
            for (key, value) in [
                ("compartmentid", COMPARTMENT),
                ("ingestedtime", now),
                ("loggroupid", "ocid1.loggroup.oc1.ap-seoul-1.g"),
            ] {
                expected["oracle"][key] = value.into();
            }
            expected["oracle"]["logid"] = LOG.into();
            expected["oracle"]["tenantid"] = ocid::tenancy(instance(OURS)).into();
            if expected["id"].is_null() {
                expected["id"] = got["id"].clone();
                assert!(got["id"].as_str().unwrap().len() > 30);
            }
            assert_eq!(got, &expected);
            assert_eq!(*time, Some(got["time"].as_str().unwrap().parse().unwrap()));
        }
    };
    let (one, two) = (envelope("1", "t"), envelope("2", "com.oraclecloud.vcn.flowlogs.DataEvent"));
    check(&json!([one]).to_string(), &[("OCI_LOGGING", one.clone())]);
    check(&format!("{one}\n{two}\n"), &[("OCI_LOGGING", one.clone()), ("OCI_FLOW", two)]);
    check(&format!("\n  {one} \n\n {one}"), &[("OCI_LOGGING", one.clone()), ("OCI_LOGGING", one)]);
    // What is not there is given; a text is a message, or the object that it is.
    let bare = |data: &str| {
        json!({"specversion": "1.0", "id": null, "source": "s", "type": "t", "time": "2026-11-21T19:45:00Z",
            "data": {"message": data}, "oracle": {}})
    };
    check(r#"{"source":"s","type":"t","data":"plain"}"#, &[("OCI_LOGGING", bare("plain"))]);
    check(r#"{"source":"s","type":"t","data":"{\"message\":\"m\"}","oracle":null}"#, &[("OCI_LOGGING", bare("m"))]);
}

#[test]
fn wrong_envelopes_are_refused_by_name() {
    let check = |body: &str, code: &str, expected: &[(&str, &str)]| {
        let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
        assert_eq!(answer.refused().1, code, "{body}: {}", answer.body);
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        assert_eq!(errors.len(), expected.len(), "{body}: {errors:?}");
        for (error, (field, message)) in errors.iter().zip(expected) {
            assert_eq!(error["field"], *field, "{body}");
            assert!(error["message"].as_str().unwrap().contains(message), "{body}: {error}");
        }
    };
    check("", "InvalidParameter", &[]);
    check("[]", "InvalidParameter", &[]);
    check("{", "CannotParseRequest", &[]);
    check("[{}] x", "CannotParseRequest", &[]);
    check(r#"{"type":"t","data":{}}"#, "MissingParameter", &[("[0].source", "is missing")]);
    check("7", "InvalidParameter", &[("[0]", "not a number")]);
    check(r#"{"source":"s"}"#, "MissingParameter", &[("[0].type", "is missing"), ("[0].data", "is missing")]);
    check(
        r#"{"source":"s","type":7,"data":[],"time":"now","oracle":1,"x":"\ud800"}"#,
        "InvalidParameter",
        &[
            ("[0].type", "must be a string"),
            ("[0].data", "an object or a string, not a list"),
            ("[0].oracle", "must be an object"),
            ("[0].x", "surrogate"),
            ("[0].time", "is no time"),
        ],
    );
    check(r#"{"source":"s","source":"s","type":"t","data":{}}"#, "InvalidParameter", &[("[0].source", "twice")]);
}

#[test]
fn signatures_say_who_sends() {
    let world = world();
    let target = &format!("/20200531/logGroups?compartmentId={COMPARTMENT}&displayName=a+b");
    let get = |change: &dyn Fn(&mut HeaderMap)| {
        let mut headers = signed(&world, USER, "GET", target, &[], b"");
        change(&mut headers);
        put(&world, "GET", target, &headers, b"")
    };
    let check = |what: &str, change: &dyn Fn(&mut HeaderMap), expected: &str| {
        let answer = get(change);
        let (status, code, message) = answer.refused();
        assert_eq!((status, code), (401, "NotAuthenticated"), "{what}");
        assert!(message.contains(expected), "{what}: {message}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Signature"), "{what}");
    };
    let set = |headers: &mut HeaderMap, name: &'static str, value: &str| {
        headers.insert(name, value.parse().unwrap());
    };
    let rewritten = |headers: &mut HeaderMap, from: &str, to: &str| {
        let value = headers["authorization"].to_str().unwrap().replace(from, to);
        headers.insert("authorization", value.parse().unwrap());
    };
    match get(&|_| {}).act() {
        (Kind::LogGroup, Act::List(call)) => assert_eq!(call.display_name.as_deref(), Some("a b")),
        other => panic!("{other:?}"),
    }
    // Spaces, order and case do not matter; nor do values that nobody knows.
    let loose = |headers: &mut HeaderMap| {
        let value = headers["authorization"].to_str().unwrap().to_owned();
        let mut parts: Vec<&str> = value.strip_prefix("Signature ").unwrap().split(',').collect();
        parts.reverse();
        let value = format!("signature   {} , other = 7", parts.join(" ,  ").replace("keyId=", "KEYID = "));
        headers.insert("authorization", value.parse().unwrap());
    };
    assert!(get(&loose).asked.is_some());
    check("nothing", &|headers| drop(headers.remove("authorization")), "has no credential");
    check("another scheme", &|headers| set(headers, "authorization", "Basic YTpi"), "neither of the scheme");
    check("no list", &|headers| set(headers, "authorization", "Signature x"), "is not a list of");
    check("open quote", &|headers| set(headers, "authorization", "Signature keyId=\"x"), "quote that is not closed");
    check("no comma", &|headers| rewritten(headers, "\",", "\" "), "no comma");
    check("twice", &|headers| rewritten(headers, "version=\"1\"", "keyId=\"1\""), "twice");
    check("no key", &|headers| rewritten(headers, "keyId=", "x="), "has no keyId");
    check("no signature", &|headers| rewritten(headers, "signature=", "x="), "has no signature");
    check("algorithm", &|headers| rewritten(headers, "rsa-sha256", "hmac-sha256"), "only rsa-sha256");
    check("version", &|headers| rewritten(headers, "version=\"1\"", "version=\"2\""), "version is not 1");
    check("token", &|headers| rewritten(headers, TENANCY, "ST$eyJ"), "resource principals");
    check("uncovered", &|headers| rewritten(headers, "date (request-target) host", "date host"), "(request-target)");
    check("no date", &|headers| rewritten(headers, "date (request", "(request"), "does not cover date");
    check("absent", &|headers| rewritten(headers, " host\"", " host x-more\""), "header x-more, which");
    check("compressed", &|headers| set(headers, "content-encoding", "gzip"), "cannot be compressed");
    check("host", &|headers| set(headers, "host", "elsewhere"), "did not make this signature");
    check("date", &|headers| set(headers, "date", "Sat, 21 Nov 2026 19:45:01 GMT"), "did not make this signature");
    check("base64", &|headers| rewritten(headers, "signature=\"", "signature=\"!"), "did not make this signature");
    // A stranger learns nothing about which keys there are.
    let messages: Vec<String> = ["aaaaaaaauser", "nobody"]
        .iter()
        .map(|user| {
            let change = |headers: &mut HeaderMap| {
                rewritten(headers, "aaaaaaaauser", user);
                set(headers, "host", "elsewhere");
            };
            get(&change).refused().2.replace(user, "")
        })
        .collect();
    assert_eq!(messages[0], messages[1]);
    // The query is part of what is signed.
    let headers = signed(&world, USER, "GET", target, &[], b"");
    let other = put(&world, "GET", &target.replace('+', "%20"), &headers, b"");
    assert_eq!(other.refused().1, "NotAuthenticated");
    let disabled = send_as(&world, "gone", "GET", target, b"");
    assert!(disabled.refused().2.contains("\"gone\" is disabled"), "{disabled:?}");
}

#[test]
fn dates_must_be_near() {
    let mut world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let headers = signed(&world, USER, "GET", &target, &[], b"");
    let signed_at = world.now;
    let mut check = |secs: i64, expected: Option<&str>| {
        world.now = signed_at.saturating_add_nanos(secs * 1_000_000_000);
        let answer = put(&world, "GET", &target, &headers, b"");
        match expected {
            None => assert!(answer.asked.is_some(), "{secs}"),
            Some(expected) => {
                let (status, code, message) = answer.refused();
                assert_eq!((status, code), (401, "NotAuthenticated"));
                assert!(message.contains(expected) && message.contains("300 s are allowed"), "{secs}: {message}");
            }
        }
    };
    check(0, None);
    check(300, None);
    check(-300, None);
    check(301, Some("301 s behind"));
    check(-301, Some("301 s ahead of"));
}

#[test]
fn x_date_stands_for_date() {
    let world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let names: Vec<String> = ["(request-target)", "x-date", "host"].iter().map(|name| (*name).to_owned()).collect();
    let mut headers = HeaderMap::new();
    headers.insert("x-date", super::sign::http_date(world.now).parse().unwrap());
    headers.insert("date", "Thu, 01 Jan 1970 00:00:00 GMT".parse().unwrap());
    headers.insert("host", HOST.parse().unwrap());
    let value = signer_of(USER).authorization(&names, &Method::GET, &target, &headers).unwrap();
    headers.insert("authorization", value);
    assert!(put(&world, "GET", &target, &headers, b"").asked.is_some());
}

#[test]
fn the_body_must_be_the_one_that_was_signed() {
    let world = world();
    let body = br#"{"compartmentId":"ocid1.compartment.oc1..c","displayName":"a"}"#;
    let target = "/20200531/logGroups";
    let headers = signed(&world, USER, "POST", target, &[], body);
    assert!(put(&world, "POST", target, &headers, body).asked.is_some());
    let altered = put(&world, "POST", target, &headers, &body[..body.len() - 1]);
    assert_eq!((altered.refused().0, altered.refused().1), (401, "NotAuthenticated"));
    assert!(altered.refused().2.contains("not the one that was signed"));
    // A signature that leaves the body out says nothing about it.
    for name in ["content-length", "content-type", "x-content-sha256"] {
        let mut headers = headers.clone();
        let value = headers["authorization"].to_str().unwrap().replace(&format!(" {name}"), "");
        headers.insert("authorization", value.parse().unwrap());
        let answer = put(&world, "POST", target, &headers, body);
        assert!(answer.refused().2.contains(&format!("does not cover {name}")), "{name}: {}", answer.body);
    }
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let headers = signed(&world, USER, "GET", &target, &[], b"");
    assert!(put(&world, "GET", &target, &headers, b"x").refused().2.contains("has no body"));
}

#[test]
fn wrong_guesses_can_be_told_from_few() {
    let world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let guess = |user: &str| {
        let mut headers = signed(&world, user, "GET", &target, &[], b"");
        headers.insert("host", "elsewhere".parse().unwrap());
        let head = crate::Head::new(Method::GET, &target, None, headers, [127, 0, 0, 1].into()).unwrap();
        crate::auth::authenticate_oci(&head, &world.snapshot, world.now).unwrap_err().guessed
    };
    assert!(guess("a").is_some() && guess("a") == guess("a") && guess("a") != guess("b"));
}

#[test]
fn bearer_tokens_open_the_same_doors() {
    let mut world = world();
    let target = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let check = |world: &World, headers: &[(&str, &str)], expected: Result<(), (u16, &str)>| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let answer = put(world, "GET", &target, &map, b"");
        let got = if answer.asked.is_some() { Ok(()) } else { Err((answer.refused().0, answer.refused().1)) };
        assert_eq!(got, expected, "{headers:?}");
    };
    let bearer = format!("Bearer {OPERATOR}");
    let operator = ("authorization", bearer.as_str());
    check(&world, &[operator, ("X-Penstock-Instance", OURS)], Ok(()));
    check(&world, &[operator, ("x-penstock-instance", "x")], Err((400, "InvalidParameter")));
    check(&world, &[operator], Err((400, "InvalidParameter")));
    check(&world, &[("authorization", "Bearer wrong")], Err((401, "NotAuthenticated")));
    // The compartment is another tenant's then.
    check(&world, &[operator, ("x-penstock-instance", THEIRS)], Err((404, "NotAuthorizedOrNotFound")));
    let nobody = "99999999-2222-4333-8444-555555555555";
    check(&world, &[operator, ("x-penstock-instance", nobody)], Err((404, "NotAuthorizedOrNotFound")));
    world.snapshot.instances.remove(&instance(THEIRS));
    check(&world, &[operator], Ok(()));
}

#[test]
fn roles_decide() {
    let world = world();
    let list = format!("/20200531/logGroups?compartmentId={COMPARTMENT}");
    let body = r#"{"specversion":"1.0","logEntryBatches":[{"source":"-","type":"t","entries":[{"data":"x"}]}]}"#;
    let group = format!(r#"{{"compartmentId":"{COMPARTMENT}","displayName":"a"}}"#);
    let check = |method: &str, target: &str, body: &str, may: [bool; 3]| {
        for (user, may) in ["sender", "reader", USER].into_iter().zip(may) {
            let answer = send_as(&world, user, method, target, body.as_bytes());
            let got = answer.asked.is_some() || !answer.taken.is_empty() || answer.status == 200;
            assert_eq!(got, may, "{user} {method} {target}");
            if !may {
                assert_eq!((answer.refused().0, answer.refused().1), (404, "NotAuthorizedOrNotFound"));
            }
        }
    };
    check("POST", PUSH, body, [true, false, true]);
    check("GET", &list, "", [false, true, true]);
    check("POST", "/20200531/logGroups", &group, [false, false, true]);
    check("POST", "/20260325/functions/f/actions/invoke", "x", [false, false, true]);
    check("DELETE", "/20200909/serviceConnectors/s", "", [false, false, true]);
}

/// The canonical JSON of a body that is good.
#[expect(clippy::needless_pass_by_value, reason = "calls read as data")]
#[track_caller]
fn created(target: &str, body: Value) -> Value {
    match send("POST", target, &body).act() {
        (_, Act::Create { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}

/// The first fault of a body that is none, with the code that says it.
#[expect(clippy::needless_pass_by_value, reason = "calls read as data")]
#[track_caller]
fn fault(method: &str, target: &str, body: Value) -> (String, String, String) {
    let answer = send(method, target, &body);
    assert_eq!(answer.status, 400, "{body}: {answer:?}");
    let error = &answer.body["errors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&answer.body["code"]), text(&error["field"]), text(&error["message"]))
}

/// A base with changes laid over it; null takes a key out.
#[expect(clippy::needless_pass_by_value, reason = "calls read as data")]
fn with(base: &Value, changes: Value) -> Value {
    let mut out = base.clone();
    for (path, value) in changes.as_object().unwrap() {
        let (parent, key) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
        let parent = out.pointer_mut(&parent).unwrap();
        match (parent, value) {
            (Value::Object(map), Value::Null) => drop(map.shift_remove(key)),
            (parent @ Value::Object(_), value) => parent[key] = value.clone(),
            (Value::Array(list), value) => list[key.parse::<usize>().unwrap()] = value.clone(),
            other => panic!("{other:?}"),
        }
    }
    out
}

/// Checks what is wrong with a base once changes are laid over it.
fn check_faults(target: &str, base: &Value, faults: &[(Value, &str, &str)]) {
    for (changes, field, message) in faults {
        let (_, got_field, got) = fault("POST", target, with(base, changes.clone()));
        assert_eq!(got_field, *field, "{changes}");
        assert!(got.contains(message), "{changes}: {got}");
    }
}

#[test]
fn compartments_and_groups() {
    let base = json!({"compartmentId": COMPARTMENT, "name": "lab", "description": "the lab"});
    let full = with(&base, json!({"freeformTags": {}, "definedTags": {}}));
    assert_eq!(created("/20160918/compartments", base.clone()), full);
    check_faults(
        "/20160918/compartments",
        &base,
        &[
            (json!({"name": null}), "name", "is missing"),
            (json!({"name": "a b"}), "name", "letters, digits"),
            (json!({"compartmentId": ""}), "compartmentId", "is empty"),
            (json!({"freeformTags": {"a": 1}}), "freeformTags", "\"a\" is the number 1"),
            (json!({"definedTags": {"a": "b"}}), "definedTags", "must hold objects"),
            (
                json!({"parent": "x"}),
                "parent",
                "is no field that a compartment has here; those are compartmentId, name",
            ),
        ],
    );
    let base = json!({"compartmentId": COMPARTMENT, "displayName": "Default_Group"});
    assert_eq!(created("/20200531/logGroups", base.clone())["displayName"], "Default_Group");
    check_faults(
        "/20200531/logGroups",
        &base,
        &[
            (json!({"displayName": "x".repeat(257)}), "displayName", "257 characters"),
            (json!({"displayName": "a\tb"}), "displayName", "control character"),
            (json!({"description": 7}), "description", "must be a string, not the number 7"),
        ],
    );
    let other = with(&base, json!({ "compartmentId": THEIR_COMPARTMENT }));
    assert_eq!(send("POST", "/20200531/logGroups", &other).refused().1, "NotAuthorizedOrNotFound");
    assert_eq!(fault("POST", "/20200531/logGroups", json!({})).0, "MissingParameter");
    assert_eq!(send("POST", "/20200531/logGroups", &json!([])).refused().1, "CannotParseRequest");
    assert_eq!(send("POST", "/20200531/logGroups", &Value::Null).refused().1, "CannotParseRequest");
}

#[test]
fn logs() {
    let target = "/20200531/logGroups/g/logs";
    let custom = json!({"displayName": "l", "logType": "CUSTOM"});
    let full = json!({"displayName": "l", "logType": "CUSTOM", "freeformTags": {}, "definedTags": {}, "isEnabled": true,
        "retentionDuration": 30});
    assert_eq!(created(target, custom), full);
    let source =
        json!({"sourceType": "OCISERVICE", "service": "flowlogs", "resource": "ocid1.subnet", "category": "all"});
    let service = json!({"displayName": "l", "logType": "SERVICE", "isEnabled": false, "retentionDuration": 180,
        "configuration": {"compartmentId": COMPARTMENT, "source": source, "archiving": {"isEnabled": false}}});
    assert_eq!(created(target, service.clone())["configuration"], service["configuration"]);
    check_faults(
        target,
        &service,
        &[
            (json!({"configuration": null}), "configuration.source", "is missing"),
            (json!({"logType": "CUSTOM"}), "configuration.source", "only for logs of services"),
            (json!({"logType": "AUDIT"}), "logType", "one of CUSTOM, SERVICE"),
            (json!({"retentionDuration": 45}), "retentionDuration", "30, 60, 90"),
            (json!({"retentionDuration": 0}), "retentionDuration", "30, 60, 90"),
            (json!({"isEnabled": "yes"}), "isEnabled", "true or false"),
            (json!({"configuration/source/service": null}), "configuration.source.service", "is missing"),
            (json!({"configuration/source/sourceType": "X"}), "configuration.source.sourceType", "OCISERVICE"),
            (
                json!({"configuration/archiving/isEnabled": true}),
                "configuration.archiving.isEnabled",
                "archiving is not served",
            ),
            (json!({"configuration": []}), "configuration", "must be an object"),
        ],
    );
    match send("PUT", "/20200531/logGroups/g/logs/l", &json!({"isEnabled": false, "freeformTags": null})).act() {
        (Kind::Log, Act::Update { id, parent, if_match, body }) => {
            assert_eq!((id.as_str(), parent.as_deref(), if_match), ("l", Some("g"), None));
            assert_eq!(body, json!({"isEnabled": false, "freeformTags": null}));
        }
        other => panic!("{other:?}"),
    }
    let (_, field, message) = fault("PUT", "/20200531/logGroups/g/logs/l", json!({"logType": "CUSTOM"}));
    assert_eq!((field.as_str(), message.as_str()), ("logType", "cannot be changed"));
    let (_, _, message) = fault("PUT", "/20200531/logGroups/g/logs/l", json!({"displayName": null}));
    assert!(message.contains("cannot be null"));
}

#[test]
fn applications_and_functions() {
    let app = json!({"compartmentId": COMPARTMENT, "displayName": "oci-hol-fn-app", "subnetIds": ["s"], "config": {"A": "1"}});
    assert_eq!(created("/20181201/applications", app.clone()), created("/20260325/applications", app.clone()));
    check_faults(
        "/20260325/applications",
        &app,
        &[
            (json!({"config": {"1A": "x"}}), "config", "\"1A\""),
            (json!({"config": {"A": 1}}), "config.A", "must be a string"),
            (json!({"config": {"A": "x".repeat(4_096)}}), "config", "4097 bytes"),
            (json!({"config": {"A": "\0"}}), "config.A", "U+0000"),
            (json!({"subnetIds": [1]}), "subnetIds", "its item 0 is the number 1"),
            (json!({"shape": "X"}), "shape", "GENERIC_X86"),
            (json!({"syslogUrl": "tcp://x"}), "syslogUrl", "application's log"),
            (json!({"traceConfig": {"isEnabled": true}}), "traceConfig.isEnabled", "tracing is not served"),
            (
                json!({"imagePolicyConfig": {"isPolicyEnabled": true}}),
                "imagePolicyConfig.isPolicyEnabled",
                "signed images",
            ),
        ],
    );
    let image = json!({"sourceType": "CONTAINER_IMAGE", "image": "r/x:0.0.2"});
    let new = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 256, "sourceDetails": image});
    let old = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 256, "image": "r/x:0.0.2"});
    let made = created("/20260325/functions", new.clone());
    assert_eq!((&made["sourceDetails"], &made["timeoutInSeconds"]), (&image, &json!(30)));
    assert_eq!(created("/20181201/functions", old.clone()), made);
    assert_eq!(created("/20181201/functions", new.clone()), made);
    let digested = created("/20181201/functions", with(&old, json!({"imageDigest": "sha256:1"})));
    assert_eq!(digested["sourceDetails"]["imageDigest"], "sha256:1");
    check_faults(
        "/20181201/functions",
        &old,
        &[
            (json!({"image": null}), "image", "is missing"),
            (json!({"sourceDetails": image}), "sourceDetails", "beside image"),
        ],
    );
    check_faults(
        "/20260325/functions",
        &new,
        &[
            (json!({"image": "x"}), "image", "older version"),
            (json!({"sourceDetails": null}), "sourceDetails", "is missing"),
            (json!({"memoryInMBs": null}), "memoryInMBs", "is missing"),
            (json!({"memoryInMBs": 200}), "memoryInMBs", "128, 256"),
            (json!({"timeoutInSeconds": 301}), "timeoutInSeconds", "5 to 300"),
            (json!({"timeoutInSeconds": 4}), "timeoutInSeconds", "5 to 300"),
            (json!({"timeoutInSeconds": 30.5}), "timeoutInSeconds", "whole number"),
            (json!({"detachedModeTimeoutInSeconds": 3_601}), "detachedModeTimeoutInSeconds", "5 to 3600"),
            (json!({"successDestination": {"kind": "QUEUE"}}), "successDestination", "not served"),
            (
                json!({"provisionedConcurrencyConfig": {"strategy": "CONSTANT"}}),
                "provisionedConcurrencyConfig",
                "not served",
            ),
            (json!({"sourceDetails/sourceType": "PRE_BUILT_FUNCTIONS"}), "sourceDetails.sourceType", "not served"),
            (json!({"sourceDetails/sourceType": "X"}), "sourceDetails.sourceType", "CONTAINER_IMAGE or ARCHIVE"),
            (json!({"sourceDetails/image": null}), "sourceDetails.image", "is missing"),
            (json!({"sourceDetails/handler": "x"}), "sourceDetails.handler", "is no field"),
        ],
    );
}

#[test]
fn functions_of_archives() {
    let runtime = json!({"runtimeConfigType": "FUNCTION_UPDATE", "functionsRuntimeName": "python3.12"});
    let archive = json!({"archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": "UEsDBBQAAAAIAKKbdV0="});
    let base = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 128, "sourceDetails": {
        "sourceType": "ARCHIVE", "handler": "func.handler", "runtimeConfig": runtime, "archiveSourceDetails": archive}});
    assert_eq!(created("/20260325/functions", base.clone())["sourceDetails"], base["sourceDetails"]);
    let file = "sourceDetails/archiveSourceDetails/archiveFile";
    check_faults(
        "/20260325/functions",
        &base,
        &[
            (json!({file: "????"}), "sourceDetails.archiveSourceDetails.archiveFile", "no base64"),
            (json!({file: "eHh4eHh4"}), "sourceDetails.archiveSourceDetails.archiveFile", "no zip"),
            (json!({file: null}), "sourceDetails.archiveSourceDetails.archiveFile", "is missing"),
            (
                json!({"sourceDetails/archiveSourceDetails/archiveSourceType": "OBJECT_STORAGE"}),
                "sourceDetails.archiveSourceDetails.archiveSourceType",
                "not served",
            ),
            (json!({"sourceDetails/handler": null}), "sourceDetails.handler", "is missing"),
            (
                json!({"sourceDetails/runtimeConfig/functionsRuntimeName": "java21"}),
                "sourceDetails.runtimeConfig.functionsRuntimeName",
                "\"java21\" is no runtime of this server; those are python3.12, python3.11",
            ),
        ],
    );
    // A change may leave out what stays.
    let change = json!({"sourceDetails": {"sourceType": "ARCHIVE", "handler": "other.handler"}});
    match send("PUT", "/20260325/functions/f", &change).act() {
        (Kind::Function, Act::Update { body, .. }) => assert_eq!(body, change),
        other => panic!("{other:?}"),
    }
    // What went in does not come out again.
    let resource = Resource { id: "f".to_owned(), body: base, etag: "e".to_owned() };
    let shown = send("GET", "/20260325/functions/f", &Value::Null).said(Outcome::One(resource.clone()));
    assert_eq!(shown.body["sourceDetails"]["archiveSourceDetails"], json!({"archiveSourceType": "DIRECT_ARCHIVE"}));
    let page = Outcome::Page { items: vec![resource], next_page: None };
    let shown = send("GET", "/20260325/functions?applicationId=a", &Value::Null).said(page);
    assert!(!String::from_utf8(shown.raw).unwrap().contains("UEsDB"));
}

#[test]
fn connectors() {
    let target = "/20200909/serviceConnectors";
    let base = json!({
        "displayName": "audit-to-fn", "compartmentId": COMPARTMENT,
        "source": {"kind": "logging", "logSources": [{"compartmentId": COMPARTMENT, "logGroupId": "_Audit"}]},
        "target": {"kind": "functions", "functionId": "f", "batchSizeInKbs": 512, "batchTimeInSec": 60},
        "tasks": [{"kind": "logRule", "condition": "logContent.source='demo' or logContent.source = 'other'"}],
    });
    let full = with(&base, json!({"freeformTags": {}, "definedTags": {}}));
    assert_eq!(created(target, base.clone()), full);
    assert_eq!(created(target, with(&base, json!({"tasks": null})))["tasks"], json!([]));
    check_faults(
        target,
        &base,
        &[
            (json!({"source": null}), "source", "is missing"),
            (
                json!({"source/kind": "streaming"}),
                "source.kind",
                "streaming is not served as a source here; logging is",
            ),
            (json!({"source/logSources": []}), "source.logSources", "1 to 100"),
            (json!({"source/logSources/0": {"logGroupId": "g"}}), "source.logSources[0].compartmentId", "is missing"),
            (
                json!({"source/logSources/0": {"compartmentId": "c", "logGroupId": "_Audit", "logId": "l"}}),
                "source.logSources[0].logId",
                "needs the OCID of its group",
            ),
            (json!({"target": null}), "target", "is missing"),
            (
                json!({"target/kind": "objectStorage"}),
                "target.kind",
                "objectStorage is not served as a target here; functions is",
            ),
            (json!({"target/kind": "x"}), "target.kind", "must be functions"),
            (json!({"target/functionId": null}), "target.functionId", "is missing"),
            (json!({"target/batchSizeInNum": 10}), "target.batchSizeInNum", "only one of them"),
            (json!({"target/batchSizeInKbs": 6_145}), "target.batchSizeInKbs", "1 to 6144"),
            (json!({"target/batchTimeInSec": 601}), "target.batchTimeInSec", "1 to 600"),
            (json!({"tasks/0": {"kind": "function", "functionId": "f"}}), "tasks[0].kind", "tasks that are functions"),
            (json!({"tasks/0": {"kind": "logRule"}}), "tasks[0].condition", "is missing"),
        ],
    );
    let (_, field, message) = fault("POST", target, with(&base, json!({"tasks/0/condition": "source = = 'x'"})));
    assert_eq!(field, "tasks[0].condition");
    assert!(message.contains("^") && message.contains("source = = 'x'"), "{message}");
    // A part is replaced whole, so it must be whole.
    let (_, field, message) = fault("PUT", &format!("{target}/s"), json!({"target": {"kind": "functions"}}));
    assert_eq!((field.as_str(), message.as_str()), ("target.functionId", "is missing"));
}

#[test]
fn a_change_names_the_version_that_it_means() {
    let world = world();
    let (target, body) = ("/20200909/serviceConnectors/s", br#"{"displayName": "new"}"#);
    let headers = signed(&world, USER, "PUT", target, &[("if-match", "\"e\"")], body);
    match put(&world, "PUT", target, &headers, body).act() {
        (Kind::ServiceConnector, Act::Update { if_match, .. }) => assert_eq!(if_match.as_deref(), Some("\"e\"")),
        other => panic!("{other:?}"),
    }
    let target = "/20200909/serviceConnectors/s/actions/activate";
    let headers = signed(&world, USER, "POST", target, &[("if-match", "e"), ("opc-retry-token", "t")], b"");
    match put(&world, "POST", target, &headers, b"").act() {
        (Kind::ServiceConnector, Act::Activate { id, if_match, retry_token }) => {
            assert_eq!((id.as_str(), if_match.as_deref(), retry_token.as_deref()), ("s", Some("e"), Some("t")));
        }
        other => panic!("{other:?}"),
    }
    let long = "t".repeat(65);
    let headers = signed(&world, USER, "POST", target, &[("opc-retry-token", &long)], b"");
    assert!(put(&world, "POST", target, &headers, b"").refused().2.contains("64 characters"));
}

#[test]
fn lists_are_asked_for_as_their_api_says() {
    let check = |target: &str, kind: Kind, expected: ListCall| {
        let expected = ListCall { limit: if expected.limit == 0 { 100 } else { expected.limit }, ..expected };
        match send("GET", target, &Value::Null).act() {
            (got, Act::List(call)) => assert_eq!((got, call), (kind, expected), "{target}"),
            other => panic!("{other:?}"),
        }
    };
    let text = |text: &str| Some(text.to_owned());
    let here = || ListCall { compartment: text(COMPARTMENT), ..ListCall::default() };
    check(&format!("/20200531/logGroups?compartmentId={COMPARTMENT}"), Kind::LogGroup, here());
    check(
        &format!("/20200531/logGroups?compartmentId={COMPARTMENT}&isCompartmentIdInSubtree=true&displayName=a&limit=5"),
        Kind::LogGroup,
        ListCall { subtree: true, display_name: text("a"), limit: 5, ..here() },
    );
    check(
        "/20200531/logGroups/g/logs?logType=SERVICE&sourceService=flowlogs&sourceResource=r&lifecycleState=ACTIVE&sortBy=displayName&sortOrder=DESC",
        Kind::Log,
        ListCall {
            parent: text("g"),
            log_type: text("SERVICE"),
            service: text("flowlogs"),
            resource: text("r"),
            lifecycle_state: text("ACTIVE"),
            sort_by: SortBy::DisplayName,
            descending: true,
            ..ListCall::default()
        },
    );
    let of_app = ListCall { parent: text("a"), id: text("f"), ..ListCall::default() };
    check("/20260325/functions?applicationId=a&id=f", Kind::Function, of_app.clone());
    check("/20181201/functions?applicationId=a&id=f", Kind::Function, of_app);
    check(&format!("/20260325/applications?compartmentId={COMPARTMENT}"), Kind::Application, here());
    check(
        &format!("/20160918/compartments?compartmentId={COMPARTMENT}&compartmentIdInSubtree=true&name=n"),
        Kind::Compartment,
        ListCall { subtree: true, display_name: text("n"), ..here() },
    );
    check(&format!("/20200909/workRequests?compartmentId={COMPARTMENT}"), Kind::WorkRequest, here());

    let refused = |target: &str, code: &str, expected: &str| {
        let answer = send("GET", target, &Value::Null);
        assert_eq!(answer.refused().1, code, "{target}");
        assert!(answer.refused().2.contains(expected), "{target}: {}", answer.body);
    };
    refused("/20200531/logGroups", "MissingParameter", "compartmentId");
    refused("/20260325/functions", "MissingParameter", "applicationId");
    refused(
        &format!("/20200531/logGroups?compartmentId={THEIR_COMPARTMENT}"),
        "NotAuthorizedOrNotFound",
        "no compartment",
    );
    let with = |rest: &str| format!("/20200531/logGroups?compartmentId={COMPARTMENT}&{rest}");
    refused(&with("limit=0"), "InvalidParameter", "1 to 1000");
    refused(&with("limit=1001"), "InvalidParameter", "1 to 1000");
    refused(&with("sortOrder=UP"), "InvalidParameter", "sortOrder");
    refused(&with("sortBy=color"), "InvalidParameter", "sortBy");
    refused(&with("lifecycleState=GONE"), "InvalidParameter", "lifecycleState");
    refused(&with("isCompartmentIdInSubtree=maybe"), "InvalidParameter", "isCompartmentIdInSubtree");
    refused(&with("page=xyz"), "InvalidParameter", "page");
}

#[test]
fn pages_lead_on() {
    let resource = |id: &str| Resource {
        id: id.to_owned(),
        body: json!({"id": id, "displayName": id, "config": {}, "source": {}, "tasks": [], "target": {}}),
        etag: "e".to_owned(),
    };
    let page = |next: Option<&str>| Outcome::Page { items: vec![resource("a")], next_page: next.map(str::to_owned) };
    let target = format!("/20200909/serviceConnectors?compartmentId={COMPARTMENT}");
    let answer = send("GET", &target, &Value::Null).said(page(Some("17/a")));
    assert_eq!(answer.body, json!({"items": [{"id": "a", "displayName": "a", "config": {}}]}));
    let token = answer.header("opc-next-page").unwrap().to_owned();
    match send("GET", &format!("{target}&limit=3&page={token}"), &Value::Null).act() {
        (_, Act::List(call)) => assert_eq!((call.page.as_deref(), call.limit), (Some("17/a"), 3)),
        other => panic!("{other:?}"),
    }
    // Not for another list.
    let other = send("GET", &format!("{target}&displayName=a&page={token}"), &Value::Null);
    assert_eq!(other.refused().1, "InvalidParameter");
    let last = send("GET", &target, &Value::Null).said(page(None));
    assert_eq!(last.header("opc-next-page"), None);
    let bare =
        send("GET", &format!("/20260325/applications?compartmentId={COMPARTMENT}"), &Value::Null).said(page(None));
    assert_eq!(bare.body[0].get("config"), None);
    assert!(bare.body.is_array());
}

#[test]
fn writes_answer_as_their_api_does() {
    let resource = || Resource { id: "x".to_owned(), body: json!({"id": "x"}), etag: "\"e1\"".to_owned() };
    let app = json!({"compartmentId": COMPARTMENT, "displayName": "a"});
    let answer = send("POST", "/20260325/applications", &app).said(Outcome::One(resource()));
    assert_eq!((answer.status, answer.header("etag"), &answer.body), (200, Some("\"e1\""), &json!({"id": "x"})));
    let accepted = || Outcome::Accepted { work_request: "ocid1.w".to_owned(), resource: Some(resource()) };
    let group = json!({"compartmentId": COMPARTMENT, "displayName": "g"});
    for (method, target, body) in [
        ("POST", "/20200531/logGroups", &group),
        ("PUT", "/20200909/serviceConnectors/s", &json!({"displayName": "n"})),
        ("DELETE", "/20200531/logGroups/g", &Value::Null),
        ("POST", "/20200909/serviceConnectors/s/actions/deactivate", &Value::Null),
    ] {
        let answer = send(method, target, body).said(accepted());
        assert_eq!((answer.status, answer.raw.len()), (202, 0), "{target}");
        assert_eq!(answer.header("opc-work-request-id"), Some("ocid1.w"));
        assert_eq!(answer.header("content-type"), None);
    }
    let answer = send("DELETE", "/20260325/functions/f", &Value::Null).said(Outcome::Done);
    assert_eq!((answer.status, answer.raw.len()), (204, 0));
    let wrong =
        send("DELETE", "/20260325/functions/f", &Value::Null).said(Outcome::Detached { call_id: String::new() });
    assert_eq!(wrong.refused().1, "InternalServerError");
}

#[test]
fn the_older_version_of_functions_is_shown_as_it_was() {
    let body = json!({"id": "f", "config": {}, "sourceDetails": {"sourceType": "CONTAINER_IMAGE", "image": "x:1"}});
    let resource = Resource { id: "f".to_owned(), body: body.clone(), etag: "e".to_owned() };
    let shown = |target: &str| send("GET", target, &Value::Null).said(Outcome::One(resource.clone())).body;
    assert_eq!(shown("/20260325/functions/f"), body);
    let old = json!({"id": "f", "config": {}, "image": "x:1", "imageDigest": null, "sourceDetails": null});
    assert_eq!(shown("/20181201/functions/f"), old);
}

#[test]
fn work_requests_are_those_of_their_api() {
    let of = |kind| ocid::ocid(kind, "ap-seoul-1", uuid::Uuid::from_u128(7));
    let (log, connector) = (of(ocid::OcidKind::LogWorkRequest), of(ocid::OcidKind::ServiceConnectorWorkRequest));
    let resource =
        |id: &str| Resource { id: id.to_owned(), body: json!({"id": id, "status": "SUCCEEDED"}), etag: String::new() };
    for (prefix, own, other) in [("/20200531", &log, &connector), ("/20200909", &connector, &log)] {
        let get = |rest: &str| send("GET", &format!("{prefix}/workRequests/{rest}"), &Value::Null);
        assert_eq!(get(own).said(Outcome::One(resource(own))).body["id"], own.as_str());
        assert_eq!(get(other).refused().1, "NotAuthorizedOrNotFound");
        let empty = if prefix == "/20200531" { json!([]) } else { json!({"items": []}) };
        for part in ["logs", "errors"] {
            assert_eq!(get(&format!("{own}/{part}")).said(Outcome::One(resource(own))).body, empty);
        }
        let page = Outcome::Page { items: vec![resource(&log), resource(&connector)], next_page: None };
        let target = format!("{prefix}/workRequests?compartmentId={COMPARTMENT}");
        let shown = send("GET", &target, &Value::Null).said(page).body;
        let items = if prefix == "/20200531" { shown } else { shown["items"].clone() };
        assert_eq!(items, json!([{"id": own, "status": "SUCCEEDED"}]));
    }
}

#[test]
fn tenancies_and_runtimes_are_answered_at_once() {
    let own = ocid::tenancy(instance(OURS));
    let shown = send("GET", &format!("/20160918/tenancies/{own}"), &Value::Null).body;
    assert_eq!((&shown["name"], &shown["homeRegionKey"]), (&json!("ours"), &json!("ICN")));
    let shown = send("GET", &format!("/20160918/tenancies/{own}/regionSubscriptions"), &Value::Null).body;
    assert_eq!(shown[0]["regionName"], "ap-seoul-1");
    let theirs = ocid::tenancy(instance(THEIRS));
    assert_eq!(send("GET", &format!("/20160918/tenancies/{theirs}"), &Value::Null).status, 404);
    let names = |query: &str| {
        let shown = send("GET", &format!("/20260325/functionsRuntimes{query}"), &Value::Null).body;
        let items = shown["items"].as_array().unwrap().clone();
        assert!(
            items.iter().all(|item| item["language"] == "python" && item["id"].as_str().unwrap().starts_with("ocid1."))
        );
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["python3.12", "python3.11"]);
    assert_eq!(names("?name=python3.11"), ["python3.11"]);
    assert_eq!(names("?nameContains=12"), ["python3.12"]);
}

#[test]
fn searches() {
    let body = json!({"timeStart": "2026-11-21T00:00:00.000Z", "timeEnd": "2026-11-22T00:00:00.000Z",
        "searchQuery": "search \"c\" | where type = 'x'", "isReturnFieldInfo": true});
    match send("POST", "/20190909/search?limit=7", &body).asked() {
        Question::Search(LogSearch { from, to, limit, page: None, .. }) => {
            assert_eq!(
                (from.to_string().as_str(), to.to_string().as_str()),
                ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")
            );
            assert_eq!(limit, 7);
        }
        other => panic!("{other:?}"),
    }
    let rows = |next: Option<&str>| Outcome::Rows {
        rows: vec![json!({"datetime": 1, "logContent": {"type": "x"}})],
        fields: vec![("datetime".to_owned(), "NUMBER".to_owned())],
        next_page: next.map(str::to_owned),
    };
    let answer = send("POST", "/20190909/search", &body).said(rows(Some("next")));
    assert_eq!(
        answer.body,
        json!({
            "results": [{"data": {"datetime": 1, "logContent": {"type": "x"}}}],
            "fields": [{"fieldName": "datetime", "fieldType": "NUMBER"}],
            "summary": {"resultCount": 1, "fieldCount": 1},
        })
    );
    let token = answer.header("opc-next-page").unwrap();
    match send("POST", &format!("/20190909/search?page={token}"), &body).asked() {
        Question::Search(call) => assert_eq!(call.page.as_deref(), Some("next")),
        other => panic!("{other:?}"),
    }
    // A token holds for its query.
    let other = with(&body, json!({"searchQuery": "search \"c\""}));
    assert_eq!(send("POST", &format!("/20190909/search?page={token}"), &other).refused().1, "InvalidParameter");
    let plain = send("POST", "/20190909/search", &with(&body, json!({"isReturnFieldInfo": null}))).said(rows(None));
    assert_eq!(plain.body["fields"], json!([]));
    check_faults(
        "/20190909/search",
        &body,
        &[
            (json!({"timeStart": null}), "timeStart", "is missing"),
            (json!({"searchQuery": null}), "searchQuery", "is missing"),
            (json!({"timeEnd": "soon"}), "timeEnd", "is no time"),
            (json!({"timeEnd": "2026-11-21T00:00:00Z"}), "timeEnd", "later than timeStart"),
            (json!({"searchQuery": "search \"c\" | where type = = 'x'"}), "searchQuery", "^"),
        ],
    );
    assert_eq!(fault("POST", "/20190909/search?limit=1001", body).1, "limit");
}

#[test]
fn audit_events_and_metrics() {
    let target = format!(
        "/20190901/auditEvents?compartmentId={COMPARTMENT}&startTime=2026-11-20T00%3A00%3A00Z&endTime=2026-11-21T00:00:00+01:00"
    );
    match send("GET", &target, &Value::Null).asked() {
        Question::AuditEvents(call) => {
            assert_eq!(
                (call.compartment.as_str(), call.to.to_string().as_str()),
                (COMPARTMENT, "2026-11-20T23:00:00Z")
            );
        }
        other => panic!("{other:?}"),
    }
    let events = Outcome::Events { items: vec![json!({"eventId": "1"})], next_page: Some("n".to_owned()) };
    let answer = send("GET", &target, &Value::Null).said(events);
    assert_eq!((answer.body[0]["eventId"].clone(), answer.header("opc-next-page").is_some()), (json!("1"), true));
    let missing = send("GET", &format!("/20190901/auditEvents?compartmentId={COMPARTMENT}"), &Value::Null);
    assert_eq!((missing.refused().1, missing.refused().2), ("MissingParameter", "startTime: is missing"));

    let target = format!("/20180401/metrics/actions/summarizeMetricsData?compartmentId={COMPARTMENT}");
    let body = json!({"namespace": "oci_service_connector_hub", "query": "MessagesWrittenToTarget[1m].sum()"});
    match send("POST", &target, &body).asked() {
        Question::Metrics(call) => {
            assert_eq!(call.namespace.as_deref(), Some("oci_service_connector_hub"));
            let MetricsAsk::Summarize { from, to, resolution_secs: None, .. } = call.ask else {
                panic!("{:?}", call.ask)
            };
            assert_eq!(to.nanos_since(from), 3 * 3_600 * 1_000_000_000);
        }
        other => panic!("{other:?}"),
    }
    let metrics = Outcome::Metrics { items: vec![json!({"name": "x"})], next_page: None };
    assert_eq!(send("POST", &target, &body).said(metrics).body, json!([{"name": "x"}]));
    check_faults(
        &target,
        &body,
        &[
            (json!({"query": null}), "query", "is missing"),
            (json!({"query": "Messages["}), "query", "^"),
            (json!({"resolution": "1y"}), "resolution", "like 1m"),
            (json!({"startTime": "2030-01-01T00:00:00Z"}), "endTime", "later than startTime"),
            (json!({"extra": 1}), "extra", "is no field"),
        ],
    );
    let target =
        format!("/20180401/metrics/actions/listMetrics?compartmentId={COMPARTMENT}&compartmentIdInSubtree=true");
    match send("POST", &target, &json!({"namespace": "oci_faas", "dimensionFilters": {"a": "b"}, "groupBy": ["name"]}))
        .asked()
    {
        Question::Metrics(call) => {
            assert!(call.subtree);
            let MetricsAsk::List { dimensions, group_by, .. } = call.ask else { panic!("{:?}", call.ask) };
            assert_eq!((dimensions, group_by), (vec![("a".to_owned(), "b".to_owned())], vec!["name".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn invocations() {
    let world = world();
    let target = "/20260325/functions/ocid1.f/actions/invoke";
    let invoke = |headers: &[(&str, &str)]| {
        let headers = signed(&world, USER, "POST", target, headers, b"[1]");
        put(&world, "POST", target, &headers, b"[1]")
    };
    match invoke(&[("fn-intent", "httprequest"), ("fn-invoke-type", "detached"), ("opc-request-id", "R1")]).asked() {
        Question::Invoke(call) => {
            assert_eq!((call.function.as_str(), &call.body[..], call.detached), ("ocid1.f", b"[1]".as_slice(), true));
            assert_eq!((call.intent.as_deref(), call.content_type.as_str()), (Some("httprequest"), "application/json"));
            assert_eq!(call.opc_request_id, "R1");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(invoke(&[("fn-invoke-type", "later")]).refused().1, "InvalidParameter");
    assert_eq!(invoke(&[("fn-intent", "x")]).refused().1, "InvalidParameter");
    assert_eq!(
        (invoke(&[("is-dry-run", "true")]).refused().0, invoke(&[("is-dry-run", "true")]).refused().1),
        (501, "NotImplemented")
    );

    let answered = |status: u16, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let invoked = Invoked { status, headers, body: "{'a': 1}".into(), call_id: "01CALL".to_owned() };
        invoke(&[]).said(Outcome::Invoked(invoked))
    };
    let own = [
        ("Content-Type", "text/plain"),
        ("fn-http-status", "404"),
        ("Content-Length", "9"),
        ("bad name", "x"),
        ("x-a", "b"),
    ];
    let answer = answered(200, &own);
    assert_eq!((answer.status, answer.raw.as_slice()), (200, b"{'a': 1}".as_slice()));
    assert_eq!((answer.header("content-type"), answer.header("fn-call-id")), (Some("text/plain"), Some("01CALL")));
    assert_eq!((answer.header("fn-http-status"), answer.header("x-a")), (Some("404"), Some("b")));
    assert_eq!((answer.header("content-length"), answer.header("cache-control")), (None, Some("no-transform")));
    assert_eq!(answer.header("opc-request-id").unwrap().len(), 32);
    assert_eq!(answered(200, &[]).header("content-type"), Some("application/octet-stream"));
    for (status, expected) in [
        (502, (502, "FunctionInvokeExecutionFailed", "function failed")),
        (504, (504, "FunctionInvokeTimeout", "Timed out")),
        (404, (502, "FunctionInvokeInvalidResponse", "invalid function response: status 404")),
    ] {
        let answer = answered(status, &[]);
        assert_eq!(answer.refused(), expected);
        assert_eq!(answer.header("fn-call-id"), Some("01CALL"));
    }
    for (why, expected) in [
        (NotInvoked::NotInstalled, (502, "FunctionInvokeImageNotAvailable")),
        (NotInvoked::InitFailed, (502, "FunctionInvokeContainerInitFail")),
        (NotInvoked::InitTimedOut, (504, "FunctionInvokeContainerInitTimeout")),
        (NotInvoked::Failed, (502, "FunctionInvokeExecutionError")),
        (NotInvoked::TimedOut, (504, "FunctionInvokeTimeout")),
        (NotInvoked::AnswerTooLarge, (502, "FunctionInvokeResponseBodyTooLarge")),
        (NotInvoked::Busy, (503, "FunctionInvokeServiceUnavailable")),
    ] {
        let answer = invoke(&[]).said(Outcome::NotInvoked { call_id: None, why, message: "why".to_owned() });
        assert_eq!(answer.refused(), (expected.0, expected.1, "why"));
    }
    let answer = invoke(&[("opc-request-id", "R2")]).said(Outcome::Detached { call_id: "01CALL".to_owned() });
    assert_eq!((answer.status, answer.raw.len(), answer.header("fn-call-id")), (202, 0, Some("01CALL")));
    assert_eq!(answer.header("opc-request-id"), Some("R2"));
}

#[test]
fn refusals_of_components_keep_their_word() {
    use crate::Cause;
    for (cause, expected) in [
        (Cause::AlreadyExists, (409, "Conflict")),
        (Cause::WrongState, (409, "IncorrectState")),
        (Cause::StaleRetryToken, (409, "InvalidatedRetryToken")),
        (Cause::Outdated, (412, "NoEtagMatch")),
        (Cause::SlowDown, (429, "TooManyRequests")),
        (Cause::Internal, (500, "InternalServerError")),
        (Cause::Unavailable, (503, "ServiceUnavailable")),
        (Cause::TooLarge, (413, "RequestEntityTooLarge")),
        (Cause::WrongMethod, (405, "MethodNotAllowed")),
    ] {
        let answer = of_reply(&super::reply::refuse(&Refusal::new(cause, "why")));
        assert_eq!(answer.refused(), (expected.0, expected.1, "why"));
        assert_eq!(super::status_of(cause).as_u16(), expected.0);
    }
}

#[test]
fn every_reply_names_its_request() {
    let world = world();
    let id = |path: &str, headers: HeaderMap, now: Time| {
        let head = crate::Head::new(Method::GET, path, None, headers, [127, 0, 0, 1].into()).unwrap();
        let crate::Lookup::Found(found) = world.router.lookup(&head) else { panic!("{path} is claimed") };
        let headers = found.dialect.headers_of_every_reply(&head, now);
        assert_eq!((headers.len(), headers[0].0.as_str()), (1, "opc-request-id"));
        headers[0].1.to_str().unwrap().to_owned()
    };
    let named = |id: &str| HeaderMap::from_iter([(HeaderName::from_static("opc-request-id"), id.parse().unwrap())]);
    let path = "/20200531/logGroups";
    assert_eq!(id(path, named("ABC/DEF"), world.now), "ABC/DEF");
    let made = id(path, HeaderMap::new(), world.now);
    assert_eq!(made.len(), 32);
    assert_ne!(made, id(path, HeaderMap::new(), world.now.saturating_add_nanos(1)));
    assert_eq!(id(path, named(&"x".repeat(257)), world.now).len(), 32);
}

#[test]
fn what_is_not_served_is_said_so() {
    let check = |method: &str, target: &str, expected: (u16, &str)| {
        let answer = send(method, target, &Value::Null);
        assert_eq!((answer.refused().0, answer.refused().1), expected, "{method} {target}");
    };
    check("GET", "/20200531/logSavedSearches", (501, "NotImplemented"));
    check("POST", "/20200909/serviceConnectors/s/actions/changeCompartment", (501, "NotImplemented"));
    check("GET", "/20260325/pbfListings", (501, "NotImplemented"));
    check("GET", "/20160918/users", (501, "NotImplemented"));
    check("PUT", "/20200909/serviceConnectors", (405, "MethodNotAllowed"));
    // A stranger learns nothing of that.
    let world = world();
    let answer = put(&world, "GET", "/20160918/users", &HeaderMap::new(), b"");
    assert_eq!(answer.refused().1, "NotAuthenticated");
}

#[test]
fn no_call_reaches_a_foreign_instance() {
    let world = world();
    let mut asked = 0;
    for (_, method, path, call) in super::CLAIMS {
        let target = path.replace("{id}", THEIR_LOG).replace("{parent}", "g");
        // What a function is given is its own affair; that the function is the caller's is the component's.
        if *call == super::Call::Invoke {
            continue;
        }
        for query in [format!("compartmentId={THEIR_COMPARTMENT}"), "applicationId=theirs".to_owned(), String::new()] {
            let target = format!("{target}?{query}");
            let bodies = [
                json!({"compartmentId": THEIR_COMPARTMENT, "displayName": "x", "name": "x"}).to_string(),
                json!({"namespace": "n", "query": "M[1m].sum()", "timeStart": "2026-11-21T00:00:00Z",
                    "timeEnd": "2026-11-22T00:00:00Z", "searchQuery": "search \"c\""})
                .to_string(),
                "{}".to_owned(),
            ];
            for body in &bodies {
                let body = if *method == Method::GET || *method == Method::DELETE { "" } else { body };
                let answer = send_as(&world, USER, method.as_str(), &target, body.as_bytes());
                assert!(answer.taken.is_empty(), "{target} wrote");
                // `put` checks that a question is about the caller's instance.
                if let Some(ask) = answer.asked {
                    asked += 1;
                    let question = format!("{:?}", ask.question);
                    assert!(!question.contains(THEIR_COMPARTMENT), "{call:?} {target}: {question}");
                }
            }
        }
    }
    assert!(asked > 20);
}

/// Texts of every kind, JSON among them.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| text.replace('\0', "")),
        Just("{\"a\": {\"b\": [1, 2.50, \"\\n\"]}}".to_owned()),
        Just("{}".to_owned()),
        Just("{\"a\": \"\\ud800\"}".to_owned()),
        Just(" [1]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn texts_come_through_as_they_are(
        data in prop::collection::vec((texts(), any::<Option<u8>>()), 1..20),
        source in "[^\0]{1,20}",
        kind in "[^\0]{1,20}",
    ) {
        let entries: Vec<Value> = data
            .iter()
            .map(|(text, id)| match id {
                Some(id) => json!({"data": text, "id": id.to_string()}),
                None => json!({"data": text}),
            })
            .collect();
        let body = json!({"specversion": "1.0", "logEntryBatches": [{"source": source, "type": kind, "entries": entries}]});
        let answer = push_to(PUSH, &body);
        prop_assert_eq!(answer.status, 200, "{}", answer.body);
        prop_assert_eq!(answer.taken.len(), data.len());
        for ((_, envelope, _), (text, id)) in answer.taken.iter().zip(&data) {
            let expected = match serde_json::from_str::<Value>(text) {
                Ok(object @ Value::Object(_)) => object,
                _ => json!({ "message": text }),
            };
            prop_assert_eq!(&envelope["data"], &expected);
            prop_assert_eq!(envelope["source"].as_str(), Some(source.as_str()));
            prop_assert_eq!(envelope["type"].as_str(), Some(kind.as_str()));
            if let Some(id) = id {
                prop_assert_eq!(&envelope["id"], &json!(id.to_string()));
            }
        }
        // What came out can go in again, and says the same.
        let again: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| envelope).collect();
        let replayed = push_to(REPLAY, &json!(again));
        prop_assert_eq!(replayed.status, 200, "{}", replayed.body);
        let replayed: Vec<&Value> = replayed.taken.iter().map(|(_, envelope, _)| envelope).collect();
        prop_assert_eq!(replayed, again);
    }
}
