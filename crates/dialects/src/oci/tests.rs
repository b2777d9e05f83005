//! The dialect from outside: signed requests in, batches, questions and replies out.

mod bodies;
mod records;
mod signatures;

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
            resource_name: None,
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
                crate::Question::Oci {
                    ask: Question::Resource { kind, act: Act::Switch { is_active, .. } }, ..
                } => {
                    format!("{kind:?} Switch {is_active}")
                }
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
        "POST serviceConnectors ServiceConnector Switch false",
        "POST serviceConnectors ServiceConnector Switch true",
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
        (Kind::ServiceConnector, Act::Switch { id, is_active, if_match }) => {
            assert_eq!((id.as_str(), is_active, if_match.as_deref()), ("s", true, Some("e")));
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
        (Cause::WrongState, (409, "Conflict")),
        (Cause::NotYet, (409, "IncorrectState")),
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

/// Bodies that are nearly good: pieces of good ones in any order.
fn nearly_good() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 40] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"specversion\"",
        "\"1.0\"",
        "\"logEntryBatches\"",
        "\"entries\"",
        "\"data\"",
        "\"id\"",
        "\"time\"",
        "\"source\"",
        "\"type\"",
        "\"subject\"",
        "\"oracle\"",
        "\"logid\"",
        "\"2026-11-21T00:00:00Z\"",
        "null",
        "true",
        "1e9",
        "\"\\ud800\"",
        "\"\\u0064ata\"",
        "\"{\\\"a\\\":1}\"",
        "\"compartmentId\"",
        "\"c\"",
        "\"displayName\"",
        "\"sourceDetails\"",
        "\"sourceType\"",
        "\"ARCHIVE\"",
        "\"config\"",
        "\"kind\"",
        "\"functions\"",
        "\"target\"",
        "\"tasks\"",
        "\"condition\"",
        "\"searchQuery\"",
        "\"query\"",
        "\u{e9}",
    ];
    let good = prop::sample::select(vec![
        r#"{"specversion":"1.0","logEntryBatches":[{"source":"s","type":"t","entries":[{"data":"x"}]}]}"#,
        r#"[{"source":"s","type":"t","data":{},"oracle":{"logid":"z"}}]"#,
        r#"{"compartmentId":"d","displayName":"x","config":{"A":"b"},"source":{"kind":"logging","logSources":[{}]}}"#,
        r#"{"displayName":"x","applicationId":"a","memoryInMBs":128,"sourceDetails":{"sourceType":"ARCHIVE"}}"#,
    ]);
    let pieces = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..30).prop_map(|pieces| pieces.concat());
    (any::<u8>(), good, pieces, any::<prop::sample::Index>()).prop_map(|(call, good, pieces, at)| {
        let at = at.index(good.len() + 1);
        [&[call], &good.as_bytes()[..at], pieces.as_bytes(), &good.as_bytes()[at..]].concat()
    })
}

proptest! {
    #[test]
    fn no_bytes_break_a_promise(bodies in prop::collection::vec(nearly_good(), 1..20), bytes: Vec<u8>, text in ".{0,200}") {
        static FUZZ: LazyLock<crate::fuzz::Fuzz> = LazyLock::new(crate::fuzz::Fuzz::new);
        for body in &bodies {
            FUZZ.oci(body);
        }
        FUZZ.oci(&bytes);
        FUZZ.oci_signature(&bytes);
        FUZZ.oci_signature(text.as_bytes());
        let nearly = format!("keyId=\"{text}\",signature=\"AAAA\",algorithm=\"rsa-sha256\",headers=\"date (request-target) host\"");
        FUZZ.oci_signature(nearly.as_bytes());
    }
}
