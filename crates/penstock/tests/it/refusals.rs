//! What the Chronicle API refuses: its status, what its text names, that its body has Google's form, and that nothing of
//! the request is stored or changed. The older API's refusals are in `errors`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::server::{CLOUD, Credential, Reply, TestServer, send};

/// In every text that must not be found afterwards.
const REFUSED: &str = "must never be stored";

/// One server with two instances, and an administrator of each.
struct World {
    server: TestServer,
    /// The name of the instance that everything is about.
    parent: String,
    admin: Credential,
    /// Another one.
    foreign: String,
    stranger: Credential,
}

impl World {
    async fn start() -> World {
        let server = TestServer::start().await;
        let other: event::InstanceId =
            server.api(Method::POST, "/api/instances", Some(json!({ "name": "other" }))).await["id"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
        let admin = server.account(server.instance, "admin").await;
        let stranger = server.account(other, "admin").await;
        World {
            parent: name_of(server.instance),
            foreign: name_of(other),
            admin: Credential::Bearer(server.token(&admin, CLOUD).await),
            stranger: Credential::Bearer(server.token(&stranger, CLOUD).await),
            server,
        }
    }

    async fn call(&self, credential: &Credential, method: Method, path: &str, body: &Value) -> Reply {
        let mut request = self.server.request_as(credential, method, path);
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        send(request).await
    }

    /// What must succeed, by this instance's administrator.
    async fn done(&self, method: Method, rest: &str, body: Value) -> Value {
        let reply = self.call(&self.admin, method, &format!("{}{rest}", self.parent), &body).await;
        assert_eq!(reply.status, 200, "{rest}: {}", reply.text());
        reply.json()
    }

    /// The same refused.
    async fn refused(&self, what: &str, method: Method, rest: &str, body: Value, names: &[&str]) {
        let reply = self.call(&self.admin, method, &format!("{}{rest}", self.parent), &body).await;
        check(what, &reply, 400, names);
    }

    /// Nothing was stored of any kind, on any instance, and the books say so.
    async fn nothing_is_stored(&self) {
        assert_eq!(self.server.search("raw", "").await, Vec::<Value>::new());
        for query in ["metadata.event_type != \"\"", "entity.user.userid != \"\""] {
            assert_eq!(self.server.search("udm", query).await, Vec::<Value>::new());
        }
        let status = self.server.get("/api/status").await;
        for instance in status["instances"].as_array().unwrap() {
            assert_eq!(instance["committed"], 0, "{instance}");
            assert_eq!(instance["conservation"]["holds"], true, "{instance}");
        }
        assert_eq!(status["log"]["frames"], 0, "{status}");
    }
}

fn name_of(instance: event::InstanceId) -> String {
    format!("/v1alpha/projects/harbour/locations/us/instances/{instance}")
}

#[track_caller]
fn check(what: &str, reply: &Reply, status: u16, names: &[&str]) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    let message = reply.error();
    for name in names {
        assert!(message.contains(name), "{what}: {message:?} does not name {name:?}");
    }
    assert!(!reply.headers.contains_key("x-penstock-batch"), "{what}");
}

/// The fields that a refusal lists.
fn fields(reply: &Reply) -> Vec<String> {
    let violations = reply.json()["error"]["details"][0]["fieldViolations"].clone();
    violations.as_array().unwrap().iter().map(|violation| violation["field"].as_str().unwrap().to_owned()).collect()
}

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

fn logs(logs: &Value) -> Value {
    json!({ "inline_source": { "logs": logs } })
}

fn good_log() -> Value {
    json!({ "data": encoded(REFUSED) })
}

fn event(more: &Value) -> Value {
    let mut udm = json!({ "metadata": { "event_timestamp": "2026-03-01T08:00:00Z", "event_type": "GENERIC_EVENT" } });
    udm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "udm": udm })
}

fn user(entity: &Value) -> Value {
    let metadata = json!({ "collected_timestamp": "2026-03-01T08:00:00Z", "entity_type": "USER" });
    json!({ "metadata": metadata, "entity": entity })
}

/// The calls that bring something in or make something, with bodies that would be taken.
fn calls() -> Vec<(Method, &'static str, Value)> {
    let feed = json!({ "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
    vec![
        (Method::POST, "/logTypes/OKTA/logs:import", logs(&json!([good_log()]))),
        (Method::POST, "/events:import", json!({ "inline_source": { "events": [event(&json!({}))] } })),
        (
            Method::POST,
            "/entities:import",
            json!({ "inline_source": { "log_type": "OKTA", "entities": [user(&json!({ "user": { "userid": "x" } }))] } }),
        ),
        (Method::POST, "/forwarders", json!({ "displayName": REFUSED })),
        (Method::POST, "/feeds", json!({ "displayName": REFUSED, "details": feed })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_the_credentials_takes_nothing() {
    let world = World::start().await;
    let unknown = format!("/v1alpha/projects/harbour/locations/us/instances/{}", uuid::Uuid::new_v4());
    let operator = Credential::Bearer(world.server.operator.clone());
    let nonsense = "/v1alpha/projects/harbour/locations/us/instances/c8c65bfa".to_owned();
    let cases = [
        // Who may look everywhere is told that there is nothing; anybody else is not told what there is.
        ("the operator, unknown instance", &operator, &unknown, 404, "instance"),
        ("an administrator, unknown instance", &world.admin, &unknown, 403, "instance"),
        ("an administrator of another instance", &world.stranger, &world.parent, 403, "instance"),
        ("an administrator, another instance", &world.admin, &world.foreign, 403, "instance"),
        ("an instance that cannot be one", &world.admin, &nonsense, 400, "c8c65bfa"),
    ];
    for (what, credential, parent, status, names) in cases {
        for (method, rest, body) in calls() {
            let reply = world.call(credential, method, &format!("{parent}{rest}"), &body).await;
            check(&format!("{what}: {rest}"), &reply, status, &[names]);
        }
    }
    // That another instance exists changes nothing of what is said but its name.
    let [foreign, unknown] = [&world.foreign, &unknown].map(|parent| (parent, format!("{parent}/forwarders")));
    let said = async |(parent, path): (&String, String)| {
        let id = parent.rsplit('/').next().unwrap();
        world.call(&world.admin, Method::GET, &path, &Value::Null).await.text().replace(id, "ID")
    };
    assert_eq!(said(foreign).await, said(unknown).await);
    // Nor do the names in a body open it.
    let id = world.foreign.rsplit('/').next().unwrap();
    let mut body = logs(&json!([good_log()]));
    body["parent"] = json!(format!("projects/harbour/locations/us/instances/{id}"));
    world.refused("a parent elsewhere", Method::POST, "/logTypes/OKTA/logs:import", body, &["parent"]).await;

    world.nothing_is_stored().await;
    for (credential, parent) in [(&world.admin, &world.parent), (&world.stranger, &world.foreign)] {
        for list in ["forwarders", "feeds"] {
            let reply = world.call(credential, Method::GET, &format!("{parent}/{list}"), &Value::Null).await;
            assert_eq!(reply.json(), json!({}), "{list}");
        }
    }
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_keeps_the_whole_request_out_and_is_named() {
    let world = World::start().await;
    let entry = "2026-03-01T08:00:00.000001Z";
    let log = |field: &str, value: Value| {
        let mut log = good_log();
        log["log_entry_time"] = json!(entry);
        log[field] = value;
        log
    };
    let bad_logs = [
        ("collected before it was written", log("collection_time", json!("2026-03-01T08:00:00Z")), "collection_time"),
        ("the same across zones", log("collection_time", json!("2026-03-01T09:59:59+02:00")), "collection_time"),
        ("no base64", log("data", json!("must never be stored!")), "data"),
        ("base64 with a hole", log("data", json!("bXVzdC==bmV2ZXI=")), "data"),
        ("base64 cut off", log("data", json!("bXVzd")), "data"),
        ("data that is no text", log("data", json!(7)), "data"),
        ("no data", json!({ "log_entry_time": entry }), "data"),
        ("a day that there is not", log("log_entry_time", json!("2026-02-30T08:00:00Z")), "log_entry_time"),
        ("a label that is a text", log("labels", json!(["a"])), "labels[0]"),
        ("a namespace that is a number", log("environment_namespace", json!(7)), "environment_namespace"),
        ("no object", json!("text"), ""),
    ];
    for (what, bad, field) in bad_logs {
        // Whatever stands before and after it.
        for at in 0..3 {
            let mut list = vec![good_log(), good_log()];
            list.insert(at, bad.clone());
            let path = format!("{}/logTypes/OKTA/logs:import", world.parent);
            let reply = world.call(&world.admin, Method::POST, &path, &logs(&json!(list))).await;
            let place = format!("inline_source.logs[{at}]{}{field}", if field.is_empty() { "" } else { "." });
            check(what, &reply, 400, &[&place]);
            assert_eq!(fields(&reply), [place], "{what}");
        }
    }

    let bad_events = [
        ("a port that is none", json!({ "target": { "port": "eighty" } }), "target.port"),
        ("a time that is none", json!({ "metadata": { "event_timestamp": "yesterday" } }), "metadata.event_timestamp"),
        ("an object for a text", json!({ "principal": { "hostname": { "name": "x" } } }), "principal.hostname"),
        ("one bad address of two", json!({ "principal": { "ip": ["10.1.2.3", 7] } }), "principal.ip[1]"),
        ("a list for a message", json!({ "metadata": [] }), "metadata"),
    ];
    for (what, more, field) in bad_events {
        let good = event(&json!({}));
        let body = json!({ "inline_source": { "events": [good, good, event(&more), good] } });
        let reply = world.call(&world.admin, Method::POST, &format!("{}/events:import", world.parent), &body).await;
        let place = format!("inline_source.events[2].udm.{field}");
        check(what, &reply, 400, &[&place]);
        assert_eq!(fields(&reply), [place], "{what}");
    }

    let good = user(&json!({ "user": { "userid": "x" } }));
    let bad = user(&json!({ "user": { "userid": ["x", "y"] } }));
    let body = json!({ "inline_source": { "log_type": "OKTA", "entities": [good, bad] } });
    let place = "inline_source.entities[1].entity.user.userid";
    world.refused("an entity", Method::POST, "/entities:import", body, &[place]).await;

    // Two of them are both named.
    let path = format!("{}/logTypes/OKTA/logs:import", world.parent);
    let two = logs(&json!([json!({ "data": "?" }), good_log(), json!({ "data": 7 })]));
    let reply = world.call(&world.admin, Method::POST, &path, &two).await;
    check("two at once", &reply, 400, &["inline_source.logs[0].data", "1 more"]);
    assert_eq!(fields(&reply), ["inline_source.logs[0].data", "inline_source.logs[2].data"]);

    world.nothing_is_stored().await;
    let status = world.server.get("/api/status").await;
    let ours = status["instances"].as_array().unwrap().iter().find(|one| one["refused"] != 0).unwrap().clone();
    // Every record of every one of them is counted: three logs each time, four events, two entities, and three.
    assert_eq!(ours["refused"], 11 * 3 * 3 + 5 * 4 + 2 + 3, "{ours}");
    assert_eq!(ours["received"], ours["refused"], "{ours}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_say_nothing_to_store_are_refused() {
    let world = World::start().await;
    let import = "/logTypes/OKTA/logs:import";
    let one = json!([good_log()]);
    let cases = [
        ("an unknown log type", "/logTypes/BIND_DSN/logs:import", logs(&one), vec!["log_type", "BIND_DSN", "BIND_DNS"]),
        ("a log type in small letters", "/logTypes/okta/logs:import", logs(&one), vec!["log_type", "OKTA"]),
        ("no source", import, json!({}), vec!["inline_source.logs", "missing"]),
        ("no list", import, json!({ "inline_source": {} }), vec!["inline_source.logs", "missing"]),
        ("an empty list", import, logs(&json!([])), vec!["inline_source.logs", "empty"]),
        ("a source that is a list", import, json!({ "inline_source": [] }), vec!["inline_source"]),
        (
            "two spellings of one source",
            import,
            json!({ "inline_source": { "logs": one }, "inlineSource": { "logs": one } }),
            vec!["inline_source", "twice"],
        ),
        ("no event", "/events:import", json!({ "inline_source": { "events": [] } }), vec!["inline_source.events"]),
        (
            "entities without a log type",
            "/entities:import",
            json!({ "inline_source": { "entities": [user(&json!({ "user": { "userid": "x" } }))] } }),
            vec!["inline_source.log_type", "missing"],
        ),
    ];
    for (what, rest, body, names) in cases {
        world.refused(what, Method::POST, rest, body, &names).await;
    }
    let path = format!("{}{import}", world.parent);
    let cut = logs(&one).to_string().replace("]}}", "]}");
    let reply = send(world.server.request_as(&world.admin, Method::POST, &path).body(cut)).await;
    check("cut off", &reply, 400, &["not valid JSON"]);
    world.nothing_is_stored().await;
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_tokens_hold_for_the_list_that_gave_them() {
    let world = World::start().await;
    let mut forwarders = Vec::new();
    for index in 0..3 {
        let made = world.done(Method::POST, "/forwarders", json!({ "displayName": format!("f{index}") })).await;
        forwarders.push(made["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        let details = json!({ "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
        world.done(Method::POST, "/feeds", json!({ "displayName": format!("f{index}"), "details": details })).await;
    }
    for forwarder in &forwarders[..2] {
        for index in 0..2 {
            let collector = json!({ "displayName": format!("c{index}"), "config": { "logType": "OKTA" } });
            world.done(Method::POST, &format!("/forwarders/{forwarder}/collectors"), collector).await;
        }
    }
    let lists = [
        "/forwarders?pageSize=1".to_owned(),
        "/feeds?pageSize=1".to_owned(),
        "/logTypes?pageSize=1".to_owned(),
        "/logTypes?pageSize=1&filter=displayName:a".to_owned(),
        format!("/forwarders/{}/collectors?pageSize=1", forwarders[0]),
        format!("/forwarders/{}/collectors?pageSize=1", forwarders[1]),
    ];
    let mut tokens = Vec::new();
    for list in &lists {
        let page = world.done(Method::GET, list, Value::Null).await;
        tokens.push(page["nextPageToken"].as_str().unwrap_or_else(|| panic!("{list}: {page}")).to_owned());
    }
    for (own, list) in lists.iter().enumerate() {
        for (of, token) in tokens.iter().enumerate() {
            let asked = format!("{list}&pageToken={token}");
            if of == own {
                let page = world.done(Method::GET, &asked, Value::Null).await;
                assert!(page.as_object().unwrap().values().any(Value::is_array), "{asked}: {page}");
            } else {
                world.refused(&asked, Method::GET, &asked, Value::Null, &["pageToken"]).await;
            }
        }
    }
    for token in ["x", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", &tokens[0][1..], &format!("{}AA", tokens[0])] {
        let asked = format!("/forwarders?pageToken={token}");
        world.refused(&asked, Method::GET, &asked, Value::Null, &["pageToken"]).await;
    }
    // The same list of another instance.
    let path = format!("{}/logTypes?pageSize=1&pageToken={}", world.foreign, tokens[2]);
    check(&path, &world.call(&world.stranger, Method::GET, &path, &Value::Null).await, 400, &["pageToken"]);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_name_an_unknown_field_change_nothing() {
    let world = World::start().await;
    let id = |made: &Value| made["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let forwarder = world.done(Method::POST, "/forwarders", json!({ "displayName": "kept" })).await;
    let forwarder_path = format!("/forwarders/{}", id(&forwarder));
    let collector = json!({ "displayName": "kept", "config": { "logType": "OKTA" } });
    let collector = world.done(Method::POST, &format!("{forwarder_path}/collectors"), collector).await;
    let details = json!({ "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
    let feed = world.done(Method::POST, "/feeds", json!({ "displayName": "kept", "details": details })).await;
    let resources = [
        (forwarder_path.clone(), forwarder),
        (format!("{forwarder_path}/collectors/{}", id(&collector)), collector),
        (format!("/feeds/{}", id(&feed)), feed),
    ];
    // The mask, the body, and what the refusal names.
    let cases = [
        ("display_nam", json!({ "displayName": "x" }), "display_nam"),
        ("displayName,nonsense", json!({ "displayName": "x" }), "nonsense"),
        ("displayName,display_name.first", json!({ "displayName": "x" }), "display_name.first"),
        ("config.metadata.asset_namespac", json!({ "displayName": "x" }), "asset_namespac"),
        ("displayName", json!({ "displayName": "x", "nonsense": 1 }), "nonsense"),
        ("", json!({ "displayNam": "x" }), "displayNam"),
    ];
    for (path, made) in &resources {
        for (mask, body, names) in &cases {
            let asked = if mask.is_empty() { path.clone() } else { format!("{path}?updateMask={mask}") };
            world.refused(&asked, Method::PATCH, &asked, body.clone(), &[names]).await;
        }
        assert_eq!(world.done(Method::GET, path, Value::Null).await, *made, "{path}");
        // What the cases are made of is taken.
        let changed = world.done(Method::PATCH, &format!("{path}?updateMask=displayName"), cases[0].1.clone()).await;
        assert_eq!(changed["displayName"], "x", "{path}");
    }
    world.server.stop().await;
}
