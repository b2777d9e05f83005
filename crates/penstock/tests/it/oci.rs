//! OCI's APIs as their callers meet them, on a whole server: resources and what refers to them, records from `put-logs`
//! to a search, audit events, connectors and their states. Functions that run are the real clients' (`tests/clients`).

use http::Method;
use serde_json::{Value, json};

use crate::server::{Reply, TestServer, send, until};

/// Calls as the operator; the answer must have this status.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "bodies are written where they are sent")]
fn call(server: &TestServer, method: Method, path: &str, body: Value, status: u16) -> impl Future<Output = Reply> {
    let caller = std::panic::Location::caller();
    let mut request = server.request(method, path);
    if !body.is_null() {
        request = request.json(&body);
    }
    async move {
        let reply = send(request).await;
        assert_eq!(reply.status, status, "{caller}: {}", reply.text());
        assert!(!reply.header("opc-request-id").is_empty(), "{caller}: {:?}", reply.headers);
        reply
    }
}

/// The tenancy of the only instance.
async fn tenancy(server: &TestServer) -> String {
    let users = server.api(Method::POST, "/api/oci-users", Some(json!({ "name": "someone" }))).await;
    users["tenancy"].as_str().unwrap().to_owned()
}

/// The OCID that an asynchronous call's work request tells of.
async fn made(server: &TestServer, reply: &Reply) -> String {
    let work = reply.header("opc-work-request-id");
    let version = if work.contains("serviceconnector") { "20200909" } else { "20200531" };
    let found = call(server, Method::GET, &format!("/{version}/workRequests/{work}"), Value::Null, 200).await.json();
    assert_eq!(found["status"], "SUCCEEDED", "{found}");
    found["resources"][0]["identifier"].as_str().unwrap().to_owned()
}

/// A group and a log in it.
async fn log(server: &TestServer, compartment: &str, group: &str, log: &str) -> (String, String) {
    let body = json!({ "compartmentId": compartment, "displayName": group });
    let reply = call(server, Method::POST, "/20200531/logGroups", body, 202).await;
    let group = made(server, &reply).await;
    let body = json!({ "displayName": log, "logType": "CUSTOM" });
    let reply = call(server, Method::POST, &format!("/20200531/logGroups/{group}/logs"), body, 202).await;
    (group, made(server, &reply).await)
}

fn entries(kind: &str, source: &str, data: &[Value]) -> Value {
    let entries: Vec<Value> = data
        .iter()
        .enumerate()
        .map(|(index, data)| json!({ "id": index.to_string(), "data": data.to_string() }))
        .collect();
    json!({ "specversion": "1.0", "logEntryBatches": [{
        "type": kind, "source": source, "defaultlogentrytime": now(0), "entries": entries }] })
}

/// So many seconds from now.
fn now(seconds: i64) -> String {
    let now = penstock::serve::now();
    event::Time::from_secs(now.secs() + seconds).unwrap().to_string()
}

/// The rows of a log search over the last hour.
async fn search(server: &TestServer, query: &str) -> Vec<Value> {
    server.settled().await;
    let body = json!({ "timeStart": now(-3600), "timeEnd": now(60), "searchQuery": query });
    let found = call(server, Method::POST, "/20190909/search", body, 200).await.json();
    found["results"].as_array().unwrap().iter().map(|result| result["data"].clone()).collect()
}

fn with_instance(mut document: Value, server: &TestServer) -> Value {
    document["instance"] = Value::from(server.instance.to_string());
    document
}

/// An application and a function in it that has no code.
async fn function(server: &TestServer, compartment: &str) -> (String, String) {
    let body = json!({ "compartmentId": compartment, "displayName": "app", "subnetIds": ["ocid1.subnet.oc1..s"] });
    let app = call(server, Method::POST, "/20260325/applications", body, 200).await.json();
    let app = app["id"].as_str().unwrap().to_owned();
    let body = json!({ "displayName": "fn", "applicationId": app, "memoryInMBs": 256,
        "sourceDetails": { "sourceType": "CONTAINER_IMAGE", "image": "iad.ocir.io/ns/repo/fn:0.0.1" } });
    let function = call(server, Method::POST, "/20260325/functions", body, 200).await.json();
    (app, function["id"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_log_is_found_by_what_it_says_and_where_it_is() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let (group, log) = log(&server, &root, "group", "flows").await;
    let flow = json!({ "action": "ACCEPT", "sourceAddress": "132.145.1.2", "destinationPort": 22 });
    let other = json!({ "action": "REJECT", "sourceAddress": "203.0.113.9", "destinationPort": 3389 });
    let kind = "com.oraclecloud.vcn.flowlogs.DataEvent";
    let path = format!("/20200831/logs/{log}/actions/push");
    call(&server, Method::POST, &path, entries(kind, "-", &[flow.clone(), other.clone()]), 200).await;
    call(&server, Method::POST, &path, entries("my.type", "host1", &[json!("no object")]), 200).await;

    let found =
        search(&server, &format!("search \"{root}/{group}/{log}\" | where data.sourceAddress = '132.145.1.2'")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let envelope = &found[0]["logContent"];
    assert_eq!(envelope["data"], flow);
    assert_eq!(
        (&envelope["type"], &envelope["source"], &envelope["specversion"]),
        (&json!(kind), &json!("-"), &json!("1.0"))
    );
    assert_eq!(envelope["oracle"]["logid"], log.as_str());
    assert_eq!(envelope["oracle"]["loggroupid"], group.as_str());
    assert_eq!(envelope["oracle"]["compartmentid"], root.as_str());

    for (query, count) in [
        (format!("search \"{root}\""), 3),
        ("search \"default/group/flows\" | logContent = '*132.145.*'".to_owned(), 1),
        (format!("search \"{root}\" | type = '{kind}' and not data.action = 'ACCEPT'"), 1),
        (format!("search \"{root}/_Audit\""), 0),
    ] {
        assert_eq!(search(&server, &query).await.len(), count, "{query}");
    }
    let counted =
        search(&server, &format!("search \"{root}\" | summarize count() as n by type | sort by n desc")).await;
    assert_eq!((&counted[0]["type"], &counted[0]["n"]), (&json!(kind), &json!(2)), "{counted:?}");
    let text = server.search("raw", "no object").await;
    assert_eq!((text.len(), &text[0]["log_type"]), (1, &json!("OCI_LOGGING")));
    let wrong = json!({ "timeStart": now(-60), "timeEnd": now(0), "searchQuery": "search \"nowhere\"" });
    let refused = call(&server, Method::POST, "/20190909/search", wrong, 400).await.json();
    assert!(refused["message"].as_str().unwrap().contains("no compartment \"nowhere\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_records_are_events_of_their_compartment() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let body = json!({ "compartmentId": root, "name": "lab", "description": "the lab" });
    let lab = call(&server, Method::POST, "/20160918/compartments", body, 200).await.json();
    let lab = lab["id"].as_str().unwrap().to_owned();
    let kind = "com.oraclecloud.ComputeApi.InstanceAction.begin";
    let data = json!({ "eventName": "InstanceAction", "resourceName": "compute-for-log-test" });
    let path = format!("/20200831/logs/_Audit/actions/push?compartmentId={lab}");
    call(&server, Method::POST, &path, entries(kind, "compute-for-log-test", &[data]), 200).await;
    server.settled().await;
    let range = format!("startTime={}&endTime={}", now(-60), now(60));
    let path = |compartment: &str| format!("/20190901/auditEvents?compartmentId={compartment}&{range}");
    let events = call(&server, Method::GET, &path(&lab), Value::Null, 200).await.json();
    assert_eq!(
        (&events[0]["eventType"], &events[0]["data"]["resourceName"]),
        (&json!(kind), &json!("compute-for-log-test"))
    );
    let none = call(&server, Method::GET, &path(&root), Value::Null, 200).await.json();
    assert_eq!(none, json!([]));
    // A search of the root sees what is below it.
    assert_eq!(search(&server, &format!("search \"{root}/_Audit\" | source = 'compute-for-log-test'")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_made_changed_and_removed_with_what_belongs_to_them() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let (group, log) = log(&server, &root, "group", "log").await;
    let path = format!("/20200531/logGroups/{group}");
    let shown = call(&server, Method::GET, &path, Value::Null, 200).await;
    let etag = shown.header("etag").to_owned();
    assert_eq!(shown.json()["lifecycleState"], "ACTIVE");

    // Twice by name, with and without a retry token.
    let body = json!({ "compartmentId": root, "displayName": "group" });
    call(&server, Method::POST, "/20200531/logGroups", body, 409).await;
    let create = |token: &str, name: &str| {
        let body = json!({ "compartmentId": root, "displayName": name });
        server.request(Method::POST, "/20200531/logGroups").header("opc-retry-token", token).json(&body)
    };
    let first = send(create("t1", "again")).await;
    let second = send(create("t1", "again")).await;
    assert_eq!((first.status, second.status), (http::StatusCode::ACCEPTED, http::StatusCode::ACCEPTED));
    assert_eq!(first.header("opc-work-request-id"), second.header("opc-work-request-id"));
    assert_eq!(send(create("t1", "other")).await.status, 409);

    // Changed over what was read, and not over what was not.
    let change = |etag: &str| {
        let body = json!({ "displayName": "renamed" });
        server.request(Method::PUT, &path).header("if-match", etag).json(&body)
    };
    assert_eq!(send(change("\"x\"")).await.status, 412);
    assert_eq!(send(change(&etag)).await.status, 202);
    assert_eq!(send(change(&etag)).await.status, 412);
    assert_eq!(call(&server, Method::GET, &path, Value::Null, 200).await.json()["displayName"], "renamed");

    // A group that holds a log stays.
    let refused = call(&server, Method::DELETE, &path, Value::Null, 409).await.json();
    assert!(refused["message"].as_str().unwrap().contains("1 log"), "{refused}");
    call(&server, Method::DELETE, &format!("{path}/logs/{log}"), Value::Null, 202).await;
    call(&server, Method::DELETE, &path, Value::Null, 202).await;
    let gone = call(&server, Method::GET, &path, Value::Null, 404).await.json();
    assert_eq!(gone["code"], "NotAuthorizedOrNotFound");

    // An application has a log for what its functions print, and takes it along.
    let (app, function) = function(&server, &root).await;
    let logs = |logs: Vec<Value>| {
        logs.into_iter().filter(|log| log["configuration"]["source"]["resource"] == app.as_str()).count()
    };
    let groups =
        call(&server, Method::GET, &format!("/20200531/logGroups?compartmentId={root}"), Value::Null, 200).await.json();
    let default = groups.as_array().unwrap().iter().find(|group| group["displayName"] == "Default_Group").unwrap();
    let in_default = format!("/20200531/logGroups/{}/logs", default["id"].as_str().unwrap());
    let found = call(&server, Method::GET, &in_default, Value::Null, 200).await.json();
    assert_eq!(logs(serde_json::from_value(found).unwrap()), 1);
    call(&server, Method::DELETE, &format!("/20260325/applications/{app}"), Value::Null, 409).await;
    call(&server, Method::DELETE, &format!("/20260325/functions/{function}"), Value::Null, 204).await;
    call(&server, Method::DELETE, &format!("/20260325/applications/{app}"), Value::Null, 204).await;
    let found = call(&server, Method::GET, &in_default, Value::Null, 200).await.json();
    assert_eq!(logs(serde_json::from_value(found).unwrap()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compartment_goes_when_nothing_is_in_it() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let body = json!({ "compartmentId": root, "name": "lab", "description": "the lab" });
    let lab = call(&server, Method::POST, "/20160918/compartments", body, 200).await.json();
    let path = format!("/20160918/compartments/{}", lab["id"].as_str().unwrap());
    let lab = lab["id"].as_str().unwrap().to_owned();
    let (app, function) = function(&server, &lab).await;
    let refused = call(&server, Method::DELETE, &path, Value::Null, 409).await.json();
    assert_eq!(refused["code"], "Conflict", "not to be sent again: {refused}");
    let body = json!({
        "displayName": "connector", "compartmentId": root,
        "source": { "kind": "logging", "logSources": [{ "compartmentId": lab }] },
        "target": { "kind": "functions", "functionId": function },
    });
    let reply = call(&server, Method::POST, "/20200909/serviceConnectors", body, 202).await;
    let connector = format!("/20200909/serviceConnectors/{}", made(&server, &reply).await);
    let moved = json!({ "target": { "kind": "functions", "functionId": "ocid1.fnfunc.oc1.iad.none" } });
    call(&server, Method::PUT, &connector, moved, 404).await;
    call(&server, Method::DELETE, &connector, Value::Null, 202).await;
    call(&server, Method::DELETE, &format!("/20260325/functions/{function}"), Value::Null, 204).await;
    call(&server, Method::DELETE, &path, Value::Null, 409).await;
    call(&server, Method::DELETE, &format!("/20260325/applications/{app}"), Value::Null, 204).await;
    // What was made for the logs of the application is there still, and is nobody's but its owner's to delete.
    let refused = call(&server, Method::DELETE, &path, Value::Null, 409).await.json();
    assert!(refused["message"].as_str().unwrap().contains("1 log group"), "{refused}");
    let groups = format!("/20200531/logGroups?compartmentId={lab}");
    let groups = call(&server, Method::GET, &groups, Value::Null, 200).await.json();
    let group = format!("/20200531/logGroups/{}", groups[0]["id"].as_str().unwrap());
    call(&server, Method::DELETE, &group, Value::Null, 202).await;
    let reply = call(&server, Method::DELETE, &path, Value::Null, 202).await;
    assert!(!reply.header("opc-work-request-id").is_empty(), "{:?}", reply.headers);

    // Calls that are answered with what they made have no work requests.
    let work = format!("/20200531/workRequests?compartmentId={lab}");
    let work = call(&server, Method::GET, &work, Value::Null, 404).await.json();
    assert_eq!(work["code"], "NotAuthorizedOrNotFound");
    let work = format!("/20200531/workRequests?compartmentId={root}");
    let work = call(&server, Method::GET, &work, Value::Null, 200).await.json();
    assert_eq!(work.as_array().unwrap().len(), 1, "{work}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_cut_by_their_bytes_go_on() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let begun = penstock::serve::now();
    let before = |seconds: i64| event::Time::from_secs(begun.secs() - seconds).unwrap().to_string();
    // 36 MB, of which a page holds 16 MiB, in requests of 9 MB.
    let (records, each) = (40, 900_000);
    let (path, text) = ("/20200831/logs/_Audit/actions/push", "x".repeat(each));
    for first in (0..records).step_by(10) {
        let entry = |number: i64| json!({ "id": format!("r{number}"), "time": before(number), "data": json!({ "text": text }).to_string() });
        let entries: Vec<Value> = (first..first + 10).map(entry).collect();
        let batch = json!({ "type": "t", "source": "s", "defaultlogentrytime": before(0), "entries": entries });
        let body = json!({ "specversion": "1.0", "logEntryBatches": [batch] });
        call(&server, Method::POST, path, body, 200).await;
    }
    server.settled().await;
    let (from, to) = (before(3_600), before(-1));
    let expected: Vec<String> = (0..records).map(|number| format!("r{number}")).collect();
    let search = json!({ "timeStart": from, "timeEnd": to, "searchQuery": format!("search \"{root}\"") });
    let events = format!("/20190901/auditEvents?compartmentId={root}&startTime={from}&endTime={to}");
    for (method, path, body, limit) in [
        (Method::POST, "/20190909/search?", search, 1_000),
        (Method::GET, &*format!("{events}&"), Value::Null, 1_000),
        (Method::GET, &*format!("{events}&"), Value::Null, 7),
    ] {
        let (mut seen, mut pages, mut next) = (Vec::new(), 0, String::new());
        loop {
            let page = if next.is_empty() { String::new() } else { format!("&page={next}") };
            let path = format!("{path}limit={limit}{page}");
            let reply = call(&server, method.clone(), &path, body.clone(), 200).await;
            let shown = reply.json();
            let ids: Vec<String> = match &shown["results"] {
                Value::Null => shown.as_array().unwrap().iter().map(|event| &event["eventId"]).map(text_of).collect(),
                results => results
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| &row["data"]["logContent"]["id"])
                    .map(text_of)
                    .collect(),
            };
            assert!(!ids.is_empty() && ids.len() <= limit, "{path}: {} records", ids.len());
            seen.extend(ids);
            pages += 1;
            next = reply.headers.get("opc-next-page").map(|next| next.to_str().unwrap().to_owned()).unwrap_or_default();
            if next.is_empty() {
                break;
            }
        }
        // Newest first, each once.
        assert_eq!(seen, expected, "{path}");
        assert_eq!(pages, if limit == 7 { 6 } else { 3 }, "{path}");
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_shows_its_state_and_why() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let (group, log) = log(&server, &root, "group", "log").await;
    let (_, function) = function(&server, &root).await;
    let body = |function: &str, condition: &str| {
        json!({
            "displayName": "connector", "compartmentId": root,
            "source": { "kind": "logging", "logSources": [{ "compartmentId": root, "logGroupId": group, "logId": log }] },
            "tasks": [{ "kind": "logRule", "condition": condition }],
            "target": { "kind": "functions", "functionId": function, "batchSizeInNum": 1, "batchTimeInSec": 1 },
        })
    };
    let path = "/20200909/serviceConnectors";
    call(&server, Method::POST, path, body("ocid1.fnfunc.oc1.iad.none", "true"), 404).await;
    let refused = call(&server, Method::POST, path, body(&function, "type == 'x'"), 400).await.json();
    assert!(refused["message"].as_str().unwrap().contains('^'), "{refused}");
    let reply = call(&server, Method::POST, path, body(&function, "logContent.type = 'wanted'"), 202).await;
    let id = made(&server, &reply).await;
    let one = format!("{path}/{id}");
    let state = async || call(&server, Method::GET, &one, Value::Null, 200).await.json();
    assert_eq!(state().await["lifecycleState"], "ACTIVE");

    // There is nothing to call: the connector says so, and keeps what it has.
    let push = format!("/20200831/logs/{log}/actions/push");
    call(&server, Method::POST, &push, entries("wanted", "me", &[json!({ "n": 1 })]), 200).await;
    until("the connector needs attention", async || state().await["lifecycleState"] == "NEEDS_ATTENTION").await;
    for (wanted, count) in [("NEEDS_ATTENTION", 1), ("ACTIVE", 0)] {
        let in_state = format!("{path}?compartmentId={root}&lifecycleState={wanted}");
        let listed = call(&server, Method::GET, &in_state, Value::Null, 200).await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{wanted}: {listed}");
    }
    let shown = state().await;
    assert!(shown["lifecycleDetails"].as_str().unwrap().contains("function"), "{shown}");

    call(&server, Method::POST, &format!("{one}/actions/deactivate"), Value::Null, 202).await;
    until("the connector rests", async || state().await["lifecycleState"] == "INACTIVE").await;
    let resting = format!("{path}?compartmentId={root}&lifecycleState=INACTIVE");
    let listed = call(&server, Method::GET, &resting, Value::Null, 200).await.json();
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["id"]), (1, &json!(id)));
    assert_eq!(listed["items"][0].get("target"), None, "a summary");
    call(&server, Method::DELETE, &one, Value::Null, 202).await;
    call(&server, Method::GET, &one, Value::Null, 404).await;
    let connectors = server.get("/api/connectors").await;
    assert_eq!(connectors, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenancy_knows_nothing_of_another() {
    let server = TestServer::start().await;
    let root = tenancy(&server).await;
    let (group, log) = log(&server, &root, "group", "log").await;
    let (_, function) = function(&server, &root).await;
    let body = json!({ "name": "other", "project": "other", "location": "us" });
    let other = server.api(Method::POST, "/api/instances", Some(body)).await;
    let instance: event::InstanceId = other["id"].as_str().unwrap().parse().unwrap();
    let key_file = server.account(instance, "admin").await;
    let token = server.token(&key_file, crate::server::CLOUD).await;
    let ask = async |method: Method, path: &str, body: Value| {
        let mut request = server.http.request(method, server.url(path)).bearer_auth(&token);
        if !body.is_null() {
            request = request.json(&body);
        }
        send(request).await
    };
    let push = entries("a.type", "me", &[json!({})]);
    let search = json!({ "timeStart": now(-60), "timeEnd": now(60), "searchQuery": format!("search \"{root}\"") });
    let rename = json!({ "displayName": "mine" });
    for (method, path, body) in [
        (Method::GET, format!("/20200531/logGroups/{group}"), Value::Null),
        (Method::PUT, format!("/20200531/logGroups/{group}"), rename),
        (Method::DELETE, format!("/20200531/logGroups/{group}"), Value::Null),
        (Method::GET, format!("/20200531/logGroups/{group}/logs/{log}"), Value::Null),
        (Method::GET, format!("/20200531/logGroups?compartmentId={root}"), Value::Null),
        (Method::POST, format!("/20200831/logs/{log}/actions/push"), push.clone()),
        (Method::POST, format!("/20200831/logs/_Audit/actions/push?compartmentId={root}"), push),
        (Method::GET, format!("/20260325/functions/{function}"), Value::Null),
        (Method::POST, format!("/20260325/functions/{function}/actions/invoke"), json!([])),
        (Method::GET, format!("/api/functions/{function}/calls"), Value::Null),
    ] {
        let reply = ask(method.clone(), &path, body).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text());
    }
    // Nor by way of a connector.
    let connector = json!({ "name": "mine", "target": { "type": "function", "function": function } });
    let reply = ask(Method::POST, "/api/connectors", connector.clone()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.error().contains("There is no function"), "{}", reply.text());
    server.api(Method::POST, "/api/connectors", Some(with_instance(connector, &server))).await;
    let reply = ask(Method::POST, "/20190909/search", search).await;
    assert!(matches!(reply.status.as_u16(), 400 | 404), "{}", reply.text());
}
