//! Two instances on one server: whatever one of them asks, with whatever credential, it never sees a row, id, count or log
//! type of the other, cannot change anything there, and cannot tell what exists there from what does not.
//!
//! The operator is left out, who sees everything by design, and `/metrics`, which is open on loopback.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dialects::auth::{KeyFile, sign_bearer};
use event::InstanceId;
use http::Method;
use penstock::serve;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use testkit::third_party::{Answer, ThirdParty};

use crate::server::{CLOUD, Credential, ENTITIES, INGESTION, RAW, Reply, TestServer, UDM, send, until};

/// One call; what stands in braces is filled in from [`Names`].
struct Call {
    method: &'static str,
    path: &'static str,
    body: &'static str,
}

const fn call(method: &'static str, path: &'static str, body: &'static str) -> Call {
    Call { method, path, body }
}

const EVENT: &str = r#"{"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2024-05-06T07:08:09Z", "product_name": "{own} {n}"}}"#;

/// Everything that can be asked. `{doomed…}` is for calls that end what they name: of one's own, only a spare one.
const CALLS: &[Call] = &[
    call("GET", "/v2/logtypes", ""),
    call("GET", "/v1/logtypes", ""),
    call("POST", RAW, r#"{"customer_id": "{instance}", "log_type": "OKTA", "entries": [{"log_text": "{own} {n}"}]}"#),
    call("POST", RAW, r#"{"log_type": "{log_type}", "entries": [{"log_text": "{own} {n}"}]}"#),
    call("POST", RAW, r#"{"log_type": "{log_type}X", "entries": [{"log_text": "{own} {n}"}]}"#),
    call("POST", RAW, r#"{"log_type": "OKTA", "entries": [{"log_text": "{own} {n}"}, {"log_text": {n}}]}"#),
    call("POST", UDM, r#"{"customer_id": "{instance}", "events": [{event}]}"#),
    call("POST", ENTITIES, r#"{"customerId": "{instance}", "logType": "{log_type}", "entities": [{event}]}"#),
    call("POST", "/api/search", r#"{"language": "raw", "regex": ".", "limit": 10000}"#),
    call("POST", "/api/search", r#"{"language": "raw", "query": "{word}", "limit": 10000}"#),
    call("POST", "/api/search", r#"{"language": "raw", "query": "mark", "instance": "{instance}"}"#),
    call("POST", "/api/search", r#"{"language": "raw", "query": "mark", "log_types": ["{log_type}"]}"#),
    call(
        "POST",
        "/api/search",
        r#"{"language": "udm", "query": "metadata.event_type = \"GENERIC_EVENT\"", "limit": 9999}"#,
    ),
    call("POST", "/api/search", r#"{"language": "udm", "query": "metadata.product_name = /{word}/ nocase"}"#),
    call("POST", "/api/search", r#"{"language": "udm", "query": "metadata.product_nam = \"{word}\""}"#),
    call(
        "GET",
        "/v1alpha/projects/p/locations/us/instances/{instance}:udmSearch?query=metadata.product_name+%21%3D+%22%22",
        "",
    ),
    call("GET", "/v1/projects/p/locations/us/instances/{instance}:findUdmFieldValues?query=MARK&pageSize=1000", ""),
    call(
        "POST",
        "/v1beta/projects/p/locations/us/instances/{instance}:searchRawLogs",
        r#"{"baselineQuery": "raw = /./"}"#,
    ),
    call(
        "POST",
        "/v1alpha/projects/p/locations/us/instances/{instance}:searchRawLogs",
        r#"{"baselineQuery": "mark", "logTypes": [{"displayName": "{log_type}"}]}"#,
    ),
    call(
        "POST",
        "/v1alpha/projects/p/locations/us/instances/{instance}/legacy:legacyFetchUdmSearchCsv",
        r#"{"baselineQuery": "metadata.product_name != \"{word}\"", "fields": {"fields": ["metadata.product_name"]}}"#,
    ),
    call(
        "POST",
        "/v1alpha/projects/p/locations/us/instances/{instance}/legacy:legacyFetchUdmSearchView",
        r#"{"baselineQuery": "metadata.product_name = /mark/"}"#,
    ),
    call("GET", "/v1/events:udmSearch?query=metadata.product_name+%21%3D+%22%22", ""),
    call("POST", "/v2/lists", r#"{"name": "{own}_{n}", "lines": ["{own} {n}"]}"#),
    call("GET", "/v2/lists", ""),
    call("GET", "/v2/lists/{word}", ""),
    call("PATCH", "/v2/lists?update_mask=list.lines", r#"{"name": "{word}", "lines": ["{own}"]}"#),
    call("DELETE", "/v2/lists/{word}", ""),
    call("POST", "/v2/forwarders", r#"{"display_name": "{own} {n}"}"#),
    call("GET", "/v2/forwarders", ""),
    call("GET", "/v2/forwarders/{forwarder}", ""),
    call("GET", "/v2/forwarders/{forwarder}/collectors", ""),
    call("DELETE", "/v2/forwarders/{doomed_forwarder}", ""),
    call("GET", "/v1/feeds/{feed}", ""),
    call("POST", "/v1/feeds/{feed}:disable", ""),
    call("GET", "/api/receipts/{receipt}", ""),
    call("GET", "/api/status", ""),
    call("GET", "/api/status?instance={instance}", ""),
    call("GET", "/api/instances", ""),
    call("GET", "/api/instances/{instance}", ""),
    call("POST", "/api/instances", r#"{"id": "{instance}", "name": "{own}"}"#),
    call("DELETE", "/api/instances/{instance}", ""),
    call("GET", "/api/accounts", ""),
    call("GET", "/api/accounts?instance={instance}", ""),
    call("POST", "/api/accounts", r#"{"instance": "{instance}", "role": "ingest", "name": "{own}-{n}"}"#),
    call("POST", "/api/accounts/{doomed_account}:disable", ""),
    call("POST", "/api/accounts/{doomed_account}:rotate", ""),
    call("POST", "/api/accounts/{doomed_account}:adc", ""),
    call("POST", "/api/accounts/{doomed_account}:revoke-adc", ""),
    call(
        "POST",
        "/v1/projects/-/serviceAccounts/{doomed_account}:generateAccessToken",
        r#"{"scope": ["https://www.googleapis.com/auth/cloud-platform"]}"#,
    ),
    call("GET", "/api/keys", ""),
    call("GET", "/api/keys?instance={instance}", ""),
    call("POST", "/api/keys", r#"{"instance": "{instance}", "role": "read", "name": "{own} {n}"}"#),
    call("DELETE", "/api/keys/{doomed_key}", ""),
    call("GET", "/api/intakes", ""),
    call("GET", "/api/intakes?instance={instance}", ""),
    call("GET", "/api/intakes/{intake}", ""),
    call(
        "POST",
        "/api/intakes",
        r#"{"instance": "{instance}", "name": "{own} {n}", "format": "okta", "namespace": "{own}"}"#,
    ),
    call("POST", "/api/intakes", r#"{"instance": "{mine}", "name": "{own}", "format": "{own} {n}"}"#),
    call("POST", "/api/intakes/{doomed_intake}:rotate", ""),
    call("POST", "/api/intakes/{doomed_intake}:disable", ""),
    call("POST", "/api/intakes/{doomed_intake}:enable", ""),
    call("DELETE", "/api/intakes/{doomed_intake}", ""),
    call("GET", "/api/log-types?grep=mark", ""),
    call("GET", "/api/log-types?custom=true&instance={instance}", ""),
    call("POST", "/api/log-types", r#"{"instance": "{instance}", "log_type": "{OWN}_{n}", "description": "{own}"}"#),
    call("GET", "/api/connectors", ""),
    call("GET", "/api/connectors?instance={instance}", ""),
    call("GET", "/api/connectors/{connector}", ""),
    call("GET", "/api/connectors/shared", ""),
    call("GET", "/api/connectors/shared?instance={instance}", ""),
    call("POST", "/api/connectors/{connector}:activate", ""),
    call("POST", "/api/connectors/{doomed_connector}:deactivate", ""),
    call("POST", "/api/connectors/shared:activate?instance={instance}", ""),
    call("DELETE", "/api/connectors/{doomed_connector}", ""),
    call("DELETE", "/api/connectors/{doomed_connector}?instance={instance}", ""),
    call(
        "POST",
        "/api/connectors",
        r#"{"name": "{own}-{n}", "instance": "{instance}", "state": "inactive",
        "target": {"type": "http", "url": "https://{own}.example/"}}"#,
    ),
    call("GET", "/api/connectors/{connector}/dead-letters", ""),
    call("GET", "/api/connectors/shared/dead-letters?instance={instance}", ""),
    call("POST", "/api/connectors/{doomed_connector}/dead-letters:retry", r#"{"ids": ["{receipt}"]}"#),
    call("POST", "/api/connectors/shared/dead-letters:drop?instance={instance}", r#"{"ids": ["{receipt}"]}"#),
    call(
        "POST",
        "/v1/projects/p/locations/l/instances/{instance}/logTypes/{log_type}/logs:import",
        r#"{"inline_source": {"logs": [{"data": "cXVpZXQ=", "environment_namespace": "{own}"}]}}"#,
    ),
    call(
        "POST",
        "/v1alpha/projects/p/locations/l/instances/{mine}/logTypes/OKTA/logs:import",
        r#"{"inline_source": {"logs": [{"data": "cXVpZXQ=", "environment_namespace": "{own}"}], "forwarder": "{own}"}}"#,
    ),
    call(
        "POST",
        "/v1/projects/p/locations/l/instances/{instance}/events:import",
        r#"{"inline_source": {"events": [{"udm": {event}}]}}"#,
    ),
    call(
        "POST",
        "/v1/projects/p/locations/l/instances/{instance}/entities:import",
        r#"{"inline_source": {"entities": [{event}], "log_type": "{log_type}"}}"#,
    ),
    call("GET", "/v1/projects/p/locations/l/instances/{instance}/logTypes?filter=isCustom%3Dtrue", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{mine}/logTypes/{log_type}", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{instance}/forwarders", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{mine}/forwarders/{forwarder}", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{mine}/forwarders/{forwarder}:generateForwarderFiles", ""),
    call("POST", "/v1/projects/p/locations/l/instances/{instance}/forwarders", r#"{"displayName": "{own} {n}"}"#),
    call(
        "PATCH",
        "/v1/projects/p/locations/l/instances/{mine}/forwarders/{doomed_forwarder}?updateMask=displayName",
        r#"{"displayName": "{own} {n}"}"#,
    ),
    call("DELETE", "/v1/projects/p/locations/l/instances/{mine}/forwarders/{doomed_forwarder}", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{mine}/forwarders/{forwarder}/collectors", ""),
    call(
        "POST",
        "/v1/projects/p/locations/l/instances/{mine}/forwarders/{forwarder}/collectors",
        r#"{"displayName": "{own}", "config": {"logType": "{OWN}_{n}"}}"#,
    ),
    call("GET", "/v1/projects/p/locations/l/instances/{instance}/feeds", ""),
    call("GET", "/v1/projects/p/locations/l/instances/{mine}/feeds/{feed}", ""),
    call("POST", "/v1/projects/p/locations/l/instances/{mine}/feeds/{feed}:generateSecret", ""),
    call("POST", "/v1/projects/p/locations/l/instances/{mine}/feeds/{feed}:importPushLogs?secret=x", "{own}"),
    call("GET", "/api/{word}", ""),
    call("GET", "/api/nothing?instance={instance}", ""),
];

/// What calls name: things of one instance, or of none.
#[derive(Debug, Clone)]
struct Names {
    instance: String,
    log_type: String,
    receipt: String,
    connector: String,
    doomed_account: String,
    doomed_key: String,
    intake: String,
    doomed_intake: String,
    doomed_connector: String,
    forwarder: String,
    doomed_forwarder: String,
    feed: String,
    word: String,
}

/// One of the two instances.
struct Side {
    id: InstanceId,
    /// In every name, text and description of this instance.
    word: &'static str,
    names: Names,
    spare: Names,
    credentials: Vec<(&'static str, Credential)>,
    /// Batches and records.
    receipts: Mutex<Vec<String>>,
    /// Ids that hold neither the word nor the instance's id.
    ids: Mutex<BTreeSet<String>>,
}

struct World {
    server: TestServer,
    sides: [Side; 2],
    _targets: Vec<ThirdParty>,
}

/// Records of the second instance from the start: more than the first one ever gets, so that a foreign count shows.
const MANY: u64 = 1_000;

impl Names {
    /// Things that exist nowhere, of the same form.
    fn of_nobody() -> Names {
        Names {
            instance: "6d3aa5f6-0d52-4bd6-9b0b-5a6f5d3c1e77".to_owned(),
            log_type: "NOBODYMARK_LOGS".to_owned(),
            receipt: "01900000-0000-7000-8000-000000000000".to_owned(),
            connector: "nobodymark-siem".to_owned(),
            doomed_account: "nobodymark@penstock-6d3aa5f6.iam.gserviceaccount.com".to_owned(),
            doomed_key: "key-0123456789ab".to_owned(),
            intake: "intake-0123456789ab".to_owned(),
            doomed_intake: "intake-0123456789ab".to_owned(),
            doomed_connector: "nobodymark-siem".to_owned(),
            forwarder: "0a1b2c3d-1111-4222-8333-444455556666".to_owned(),
            doomed_forwarder: "0a1b2c3d-1111-4222-8333-444455556666".to_owned(),
            feed: "0a1b2c3d-7777-4222-8333-444455556666".to_owned(),
            word: "nobodymark".to_owned(),
        }
    }

    fn all(&self) -> [(&'static str, &str); 13] {
        [
            ("{instance}", &self.instance),
            ("{log_type}", &self.log_type),
            ("{receipt}", &self.receipt),
            ("{connector}", &self.connector),
            ("{doomed_account}", &self.doomed_account),
            ("{doomed_key}", &self.doomed_key),
            ("{intake}", &self.intake),
            ("{doomed_intake}", &self.doomed_intake),
            ("{doomed_connector}", &self.doomed_connector),
            ("{forwarder}", &self.forwarder),
            ("{doomed_forwarder}", &self.doomed_forwarder),
            ("{feed}", &self.feed),
            ("{word}", &self.word),
        ]
    }

    fn fill(&self, template: &str, own: &Side, n: u64) -> String {
        let mut text = template.replace("{event}", EVENT);
        for (place, name) in self.all() {
            text = text.replace(place, name);
        }
        text = text.replace("{mine}", &own.id.to_string());
        text.replace("{own}", own.word).replace("{OWN}", &own.word.to_uppercase()).replace("{n}", &n.to_string())
    }

    /// What the request said itself is taken out of the reply's text.
    fn without_echoes(&self, request: &str, reply: &str) -> String {
        let mut reply = reply.to_owned();
        for (_, name) in self.all().into_iter().filter(|(_, name)| request.contains(*name)) {
            reply = reply.replace(&name.to_lowercase(), "…");
        }
        reply
    }
}

impl Side {
    /// Everything that betrays this instance, in lower case.
    fn markers(&self) -> Vec<String> {
        let id = self.id.to_string();
        let short = id[..8].to_owned();
        let mut markers = vec![self.word.to_owned(), id, short];
        markers.extend(self.ids.lock().unwrap().iter().cloned());
        markers
    }

    /// Keeps the ids that a call of this side was given.
    fn remember(&self, reply: &Reply) {
        let batch = reply.batch();
        if !batch.is_empty() {
            // All but the record's index.
            self.ids.lock().unwrap().insert(batch[..28].to_owned());
            self.receipts.lock().unwrap().push(batch);
        }
        let made = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
        if let Some(id) = made["id"].as_str().filter(|id| id.starts_with("key-") || id.starts_with("intake-")) {
            self.ids.lock().unwrap().insert(id.to_owned());
        }
        // A resource's name ends with its id.
        if let Some(id) = made["name"].as_str().and_then(|name| name.rsplit('/').next()).filter(|id| id.len() == 36) {
            self.ids.lock().unwrap().insert(id.to_owned());
        }
    }
}

impl World {
    async fn new() -> World {
        let server = TestServer::with(|config| {
            config.intake.on_invalid = penstock::config::OnInvalid::Quarantine;
        })
        .await;
        let target = ThirdParty::start().await;
        // Refuses the first record of each instance, so that there are dead letters.
        target.rule(|request| match request.text().contains("mark\"}") {
            true => Answer::status(400).body("no"),
            false => Answer::ok(),
        });
        let first = Side::new(&server, server.instance, "alphamark", &target).await;
        let second = server.api(Method::POST, "/api/instances", Some(json!({ "name": "bravomark" }))).await;
        let second = second["id"].as_str().unwrap().parse().unwrap();
        let second = Side::new(&server, second, "bravomark", &target).await;
        let entries: Vec<Value> = (0..MANY).map(|n| json!({ "log_text": format!("bravomark {n}") })).collect();
        let many = json!({ "customer_id": second.id.to_string(), "log_type": "OKTA", "entries": entries });
        second.remember(&server.post(RAW, many.to_string()).await);
        World { server, sides: [first, second], _targets: vec![target] }
    }

    /// One call and all that must hold of its reply. Gives the reply.
    async fn check(&self, side: usize, credential: usize, call: &Call, foreign: bool, n: u64) -> Reply {
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        let mut names = if foreign { other.names.clone() } else { own.spare.clone() };
        let pick = if foreign { other } else { own }.receipts.lock().unwrap().clone();
        names.receipt.clone_from(&pick[n as usize % pick.len()]);
        let (who, credential) = &own.credentials[credential % own.credentials.len()];
        let (request, reply) = self.send(own, credential, call, &names, n).await;
        let what = format!("{who} of {}: {request}\n{} {:?}\n{}", own.word, reply.status, reply.headers, reply.text());

        let mut seen = format!("{:?}\n{}", reply.headers, reply.text()).to_lowercase();
        if foreign && reply.status.is_client_error() {
            seen = names.without_echoes(&request, &seen);
        }
        for marker in other.markers() {
            assert!(!seen.contains(&marker), "{marker:?} was seen by {what}");
        }
        if side == 0 {
            reply
                .text()
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .for_each(|json| check_counts(&json, &what));
        }
        if call.path == "/api/search" && reply.status.is_success() {
            check_search(&reply, &what);
        }
        own.remember(&reply);

        // What is the other's must look like what is nobody's.
        if foreign && request_names(call) {
            let nobody = Names::of_nobody();
            let (twin, answer) = self.send(own, credential, call, &nobody, n).await;
            assert_eq!(reply.status, answer.status, "{twin} is answered {} unlike {what}", answer.text());
            own.remember(&answer);
            // Which names are near depends on the name.
            if reply.status.is_client_error() && !call.body.contains("{log_type}") {
                let answer = nobody.without_echoes(&twin, &answer.text().to_lowercase());
                assert_eq!(names.without_echoes(&request, &reply.text().to_lowercase()), answer, "{twin}, {what}");
            }
        }
        reply
    }

    async fn send(&self, own: &Side, credential: &Credential, call: &Call, names: &Names, n: u64) -> (String, Reply) {
        let (path, body) = (names.fill(call.path, own, n), names.fill(call.body, own, n));
        let method: Method = call.method.parse().unwrap();
        let reply = send(self.server.request_as(credential, method, &path).body(body.clone())).await;
        assert!(!reply.status.is_server_error(), "{} {path} {body}: {}", call.method, reply.text());
        (format!("{} {path} {body}", call.method), reply)
    }

    /// All of a side that the other one must not be able to change, as the operator sees it.
    async fn fingerprint(&self, side: usize) -> Value {
        let id = self.sides[side].id.to_string();
        let list = async |what: &str| {
            self.server.get(&format!("/api/{what}{}instance={id}", if what.contains('?') { '&' } else { '?' })).await
        };
        let mut connectors = list("connectors").await;
        for connector in connectors.as_array_mut().unwrap() {
            connector["status"] = connector["status"]["dead_letters"].take();
        }
        let status = self.server.get("/api/status").await;
        let of_side = status["instances"].as_array().unwrap().iter().find(|instance| instance["id"] == id.as_str());
        json!([
            self.server.get(&format!("/api/instances/{id}")).await,
            list("accounts").await,
            list("keys").await,
            list("intakes").await,
            list("log-types?custom=true").await,
            self.server.get(&format!("/v1/projects/p/locations/l/instances/{id}/forwarders?pageSize=1000")).await,
            self.server.get(&format!("/v1/projects/p/locations/l/instances/{id}/feeds?pageSize=1000")).await,
            connectors,
            of_side.unwrap()["committed"],
        ])
    }
}

impl Side {
    async fn new(server: &TestServer, id: InstanceId, word: &'static str, target: &ThirdParty) -> Side {
        let with = |body: Value| {
            let mut body = body;
            body["instance"] = json!(id.to_string());
            Some(body)
        };
        let account = async |role: &str, name: &str| -> KeyFile {
            let body = with(json!({ "role": role, "name": format!("{word}-{name}") }));
            serde_json::from_value(server.api(Method::POST, "/api/accounts", body).await["key_file"].take()).unwrap()
        };
        let key = async |role: &str| -> (String, String) {
            let made = server.api(Method::POST, "/api/keys", with(json!({ "role": role, "name": word }))).await;
            (made["id"].as_str().unwrap().to_owned(), made["api_key"].as_str().unwrap().to_owned())
        };
        let connector = async |name: &str, state: &str| {
            let body = with(json!({ "name": name, "state": state, "source": { "kinds": ["raw"] },
                "target": { "type": "http", "url": target.url(&format!("/{word}")), "batch_wait_ms": 10 } }));
            server.api(Method::POST, "/api/connectors", body).await;
        };
        let [admin, reader, ingest, disabled] = [
            account("admin", "admin").await,
            account("read", "read").await,
            account("ingest", "ingest").await,
            account("admin", "disabled").await,
        ];
        let keys = [key("admin").await, key("read").await, key("ingest").await, key("admin").await];
        let bearer = async |file: &KeyFile, scope| Credential::Bearer(server.token(file, scope).await);
        let credentials = vec![
            ("an admin", bearer(&admin, CLOUD).await),
            ("an admin's key", Credential::KeyHeader(keys[0].1.clone())),
            ("a reader", bearer(&reader, CLOUD).await),
            ("a sender", bearer(&ingest, CLOUD).await),
            ("an admin's own JWT", Credential::Bearer(sign_bearer(&admin, CLOUD, serve::now()).unwrap())),
            ("an admin as a sender", bearer(&admin, INGESTION).await),
            ("a reader's key", Credential::KeyQuery(keys[1].1.clone())),
            ("a sender's key", Credential::KeyQuery(keys[2].1.clone())),
            ("a disabled admin", bearer(&disabled, CLOUD).await),
            ("a deleted key", Credential::KeyHeader(keys[3].1.clone())),
            ("garbage", Credential::Bearer("pst1.garbage".to_owned())),
            ("nobody", Credential::None),
        ];
        server.api(Method::POST, &format!("/api/accounts/{}:disable", disabled.client_email), None).await;
        server.api(Method::DELETE, &format!("/api/keys/{}", keys[3].0), None).await;
        let log_type = format!("{}_LOGS", word.to_uppercase());
        server.api(Method::POST, "/api/log-types", with(json!({ "log_type": log_type, "description": word }))).await;
        let siem = format!("{word}-siem");
        for (name, state) in [(siem.as_str(), "active"), ("shared", "active"), (&format!("{word}-spare"), "inactive")] {
            connector(name, state).await;
        }
        let spare_key = key("read").await.0;
        let intake = async || -> String {
            let body = with(json!({ "name": word, "format": log_type, "namespace": word }));
            server.api(Method::POST, "/api/intakes", body).await["id"].as_str().unwrap().to_owned()
        };
        let (own_intake, spare_intake) = (intake().await, intake().await);
        let made = async |collection: &str, body: Value| -> String {
            let path = format!("/v1/projects/p/locations/l/instances/{id}/{collection}");
            let made = server.api(Method::POST, &path, Some(body)).await;
            made["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
        };
        let forwarder = made("forwarders", json!({ "displayName": word })).await;
        let collector = json!({ "displayName": word, "config": { "logType": log_type } });
        made(&format!("forwarders/{forwarder}/collectors"), collector).await;
        let details = json!({ "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": log_type });
        let feed = made("feeds", json!({ "displayName": word, "details": details })).await;
        let spare_forwarder = made("forwarders", json!({ "displayName": word })).await;
        let names = Names {
            instance: id.to_string(),
            log_type: log_type.clone(),
            receipt: String::new(),
            connector: siem.clone(),
            doomed_account: reader.client_email.clone(),
            doomed_key: keys[1].0.clone(),
            doomed_intake: own_intake.clone(),
            intake: own_intake,
            doomed_connector: siem,
            doomed_forwarder: forwarder.clone(),
            forwarder,
            feed,
            word: word.to_owned(),
        };
        let spare = Names {
            doomed_account: account("read", "spare").await.client_email,
            doomed_key: spare_key,
            doomed_intake: spare_intake,
            doomed_connector: format!("{word}-spare"),
            doomed_forwarder: spare_forwarder,
            ..names.clone()
        };
        let mut ids: BTreeSet<String> = keys.iter().map(|(id, _)| id.clone()).collect();
        ids.extend([names.forwarder.clone(), names.feed.clone(), spare.doomed_forwarder.clone()]);
        let intakes = server.get(&format!("/api/intakes?instance={id}")).await;
        ids.extend(intakes.as_array().unwrap().iter().map(|intake| intake["id"].as_str().unwrap().to_owned()));
        let side = Side { id, word, names, spare, credentials, receipts: Mutex::default(), ids: Mutex::new(ids) };
        // A first record of each kind, one that was set aside, and a sender in trouble.
        let customer = format!(r#"{{"customer_id": "{id}", "log_type": "{log_type}", "namespace": "{word}", "#);
        for (path, list) in [
            (RAW, r#""entries": [{"log_text": "{own}"}, {"log_text": 1}]}"#),
            (UDM, r#""events": [{event}]}"#),
            (ENTITIES, r#""entities": [{event}]}"#),
        ] {
            let reply = server.post(path, format!("{customer}{}", side.names.fill(list, &side, 0))).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            side.remember(&reply);
        }
        let set_aside = side.receipts.lock().unwrap()[0].parse::<event::BatchId>().unwrap().record(1).to_string();
        side.receipts.lock().unwrap().push(set_aside);
        let wrong = format!(r#"{{"log_type": "{}_NOPE", "entries": [{{"log_text": "x"}}]}}"#, word.to_uppercase());
        let sender = server.request_as(&side.credentials[3].1, Method::POST, RAW).body(wrong);
        assert_eq!(send(sender).await.status, 400);
        until("there are dead letters", async || {
            let letters = async |name: &str| {
                let path = format!("/api/connectors/{name}/dead-letters?instance={id}");
                server.get(&path).await.as_array().unwrap().len()
            };
            letters(&side.names.connector).await == 1 && letters("shared").await == 1
        })
        .await;
        side
    }
}

/// Whether a call names anything that could be somebody's.
fn request_names(call: &Call) -> bool {
    Names::of_nobody().all().iter().any(|(place, _)| call.path.contains(place) || call.body.contains(place))
}

/// No count is one that only the second instance can have.
fn check_counts(json: &Value, what: &str) {
    const COUNTS: &[&str] = &[
        "received",
        "committed",
        "repeated",
        "refused",
        "requests",
        "requests_refused",
        "stored_total",
        "set_aside_total",
        "arrived",
        "waiting",
        "rows",
        "read",
        "written",
        "errors",
        "dead_letters",
        "records_total",
        "count",
    ];
    match json {
        Value::Array(items) => items.iter().for_each(|item| check_counts(item, what)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let count = value.as_u64().unwrap_or(0);
                assert!(!COUNTS.contains(&name.as_str()) || count < MANY, "{name} is a foreign count: {what}");
                check_counts(value, what);
            }
        }
        _ => {}
    }
}

/// The last line of a search says what it may, and nothing of how much others have stored.
fn check_search(reply: &Reply, what: &str) {
    let text = reply.text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let fields: BTreeSet<&str> = last.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["behind_ms", "done", "rows", "searched_through", "truncated"]), "{what}");
}

#[test]
fn nothing_of_another_instance_is_ever_seen() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());

    // Every call once, by those who may most, so that no roll of the dice leaves one out.
    runtime.block_on(async {
        for side in 0..2 {
            let before = world.fingerprint(1 - side).await;
            for (n, call) in (1_000..).zip(CALLS) {
                for credential in 0..2 {
                    world.check(side, credential, call, true, n).await;
                }
            }
            assert_eq!(world.fingerprint(1 - side).await, before, "by {}", world.sides[side].word);
        }
        // That the words are there to be seen at all.
        for (side, own) in world.sides.iter().enumerate() {
            let id = own.id.to_string();
            let looks = |call: &&Call| {
                (call.method == "GET" || call.path == "/api/search")
                    && !call.path.contains("nothing")
                    && !call.path.contains("{word}")
                    && !call.body.contains("product_nam ")
            };
            for call in CALLS.iter().filter(looks) {
                let reply = world.check(side, 0, call, false, 0).await;
                let text = reply.text().to_lowercase();
                assert_eq!(reply.status, 200, "{} {}: {text}", call.path, call.body);
                assert!(text.contains(own.word) || text.contains(&id), "{} {}: {text}", call.path, call.body);
            }
        }
        let status = world.check(0, 0, &call("GET", "/api/status", ""), false, 0).await.json();
        for connector in status["followers"]["connectors"].as_array().unwrap() {
            assert!(connector.get("lag_bytes").is_none() && connector.get("cursor").is_none(), "{connector}");
        }
        let fields: BTreeSet<&str> =
            status["followers"]["store"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["lag_ms", "state"]), "how much waits is everybody's together");
        let troubles = status["troubles"].as_array().unwrap();
        let own = world.sides[0].id.to_string();
        assert!(!troubles.is_empty() && troubles.iter().all(|trouble| trouble["instance"] == own.as_str()), "{status}");
    });

    let step = (0..12usize, 0..CALLS.len(), any::<bool>(), 0..1_000u64);
    let steps = (0..2usize, proptest::collection::vec(step, 1..12));
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, max_shrink_iters: 50, ..Config::default() });
    let ran = runner.run(&steps, |(side, steps)| {
        runtime.block_on(async {
            let before = world.fingerprint(1 - side).await;
            for (credential, call, foreign, n) in steps {
                world.check(side, credential, &CALLS[call], foreign, n).await;
            }
            assert_eq!(world.fingerprint(1 - side).await, before, "by {}", world.sides[side].word);
        });
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(world.server.stop());
}
