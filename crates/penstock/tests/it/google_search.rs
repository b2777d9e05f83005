//! Searching as Google's clients do: what was sent is found by every call, and by nobody but its owner. Their captured
//! requests are replayed in `captures`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::server::{CLOUD, Credential, RAW, Reply, TestServer, send};

/// The instance in the paths of the captures.
const CUSTOMER: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";

/// One instance, and a credential of it.
struct Tenant<'s> {
    server: &'s TestServer,
    instance: String,
    credential: Credential,
}

impl<'s> Tenant<'s> {
    /// An instance of its own, whose credential may do everything.
    async fn new(server: &'s TestServer, instance: &str) -> Tenant<'s> {
        server.api(Method::POST, "/api/instances", Some(json!({ "id": instance, "name": instance }))).await;
        let key_file = server.account(instance.parse().unwrap(), "admin").await;
        let credential = Credential::Bearer(server.token(&key_file, CLOUD).await);
        Tenant { server, instance: instance.to_owned(), credential }
    }

    fn name(&self) -> String {
        format!("projects/p/locations/us/instances/{}", self.instance)
    }

    async fn call(&self, method: Method, rest: &str, body: Option<&Value>) -> Reply {
        let path = format!("/v1alpha/{}{rest}", self.name());
        let mut request = self.server.request_as(&self.credential, method, &path);
        if let Some(body) = body {
            request = request.json(body);
        }
        send(request).await
    }

    #[track_caller]
    fn get(&self, rest: &str) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.call(Method::GET, rest, None).await;
            assert_eq!(reply.status, 200, "{caller}: {}", reply.text());
            reply.json()
        }
    }

    #[track_caller]
    fn post(&self, rest: &str, body: Value) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.call(Method::POST, rest, Some(&body)).await;
            assert_eq!(reply.status, 200, "{caller}: {}", reply.text());
            reply.json()
        }
    }

    /// The events of a UDM search.
    async fn search(&self, query: &str, more: &[(&str, &str)]) -> (Vec<Value>, bool) {
        let parameters = [("query", query)].into_iter().chain(more.iter().copied());
        let url = reqwest::Url::parse_with_params("http://any/", parameters).unwrap();
        let mut body = self.get(&format!(":udmSearch?{}", url.query().unwrap())).await;
        let events = body["events"].take().as_array().unwrap().clone();
        (events, body["moreDataAvailable"].as_bool().unwrap())
    }

    async fn import(&self, events: &[Value]) {
        let events: Vec<Value> = events.iter().map(|event| json!({ "udm": event })).collect();
        self.post("/events:import", json!({ "inline_source": { "events": events } })).await;
        self.server.settled().await;
    }
}

fn event(minute: u32, kind: &str, host: &str, ip: &str) -> Value {
    json!({
        "metadata": { "event_type": kind, "event_timestamp": format!("2026-01-02T03:{minute:02}:00Z") },
        "principal": { "hostname": host, "ip": [ip], "user": { "userid": format!("{host}-user") } },
        "target": { "user": { "userid": "root" }, "ip": "192.0.2.200" },
        "extensions": { "auth": { "type": "MACHINE" } },
    })
}

fn hosts(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["udm"]["principal"]["hostname"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_found_by_every_call() {
    let server = TestServer::start().await;
    let ours = Tenant::new(&server, CUSTOMER).await;
    let events = [
        event(1, "USER_LOGIN", "alpha", "10.0.0.1"),
        event(2, "USER_LOGIN", "bravo", "10.0.0.2"),
        event(3, "USER_LOGOUT", "charlie", "10.0.0.3"),
    ];
    ours.import(&events).await;

    // By query, time and number.
    let (all, more) = ours.search("ip != \"\"", &[]).await;
    assert_eq!((hosts(&all), more), (vec!["charlie", "bravo", "alpha"], false));
    let (found, _) = ours.search("metadata.event_type = \"USER_LOGIN\" AND ip = \"10.0.0.2\"", &[]).await;
    assert_eq!(hosts(&found), ["bravo"]);
    let range = [("timeRange.start_time", "2026-01-02T03:02:00Z"), ("timeRange.end_time", "2026-01-02T03:03:00Z")];
    assert_eq!(hosts(&ours.search("ip != \"\"", &range).await.0), ["bravo"]);
    let (newest, more) = ours.search("ip != \"\"", &[("limit", "2")]).await;
    assert_eq!((hosts(&newest), more), (vec!["charlie", "bravo"], true));

    // By name, one and many.
    let (name, id) = (all[1]["name"].as_str().unwrap(), &all[1]["udm"]["metadata"]["id"]);
    let rest = name.strip_prefix(&ours.name()).unwrap();
    assert_eq!(STANDARD.decode(id.as_str().unwrap()).unwrap().len(), 16);
    assert_eq!(ours.get(rest).await, all[1]);
    let names =
        [&all[2], &all[0]].map(|event| format!("names={}", event["name"].as_str().unwrap().replace('%', "%25")));
    assert_eq!(ours.get(&format!("/events:batchGet?{}", names.join("&"))).await, json!({ "events": [all[2], all[0]] }));

    // As a table and as a view.
    let range = json!({ "startTime": "2026-01-02T03:01:00Z", "endTime": "2026-01-02T03:03:00Z" });
    let body = json!({ "baselineQuery": "HOSTNAME != \"\"".to_lowercase(), "baselineTimeRange": range,
        "snapshotQuery": "NOT hostname = \"ALPHA\"", "fields": { "fields": ["timestamp", "user", "principal.ip"] },
        "caseInsensitive": true });
    let table = ours.post("/legacy:legacyFetchUdmSearchCsv", body.clone()).await;
    let rows = json!(["timestamp,user,principal.ip", "2026-01-02T03:02:00Z,bravo-user;root,10.0.0.2"]);
    assert_eq!((&table[0]["csv"]["row"], &table[0]["tooManyEvents"]), (&rows, &json!(false)), "{table}");
    let view = ours.post("/legacy:legacyFetchUdmSearchView", body).await;
    let last = view.as_array().unwrap().last().unwrap();
    assert_eq!(last["events"]["events"], json!([{ "event": all[1]["udm"], "uid": id }]), "{view}");

    // By the values of their fields.
    let values = ours.get(":findUdmFieldValues?query=RAV&pageSize=1").await;
    assert_eq!(
        (values["valueMatches"][0]["fieldPath"].as_str(), &values["hasMoreMatches"]),
        (Some("principal.hostname"), &json!(true))
    );
    let values = ours.get(":findUdmFieldValues?query=bravo").await;
    let seen: Vec<_> =
        values["valueMatches"].as_array().unwrap().iter().map(|found| (&found["fieldPath"], &found["value"])).collect();
    let expected = [("principal.hostname", "bravo"), ("principal.user.userid", "bravo-user")]
        .map(|(path, value)| (json!(path), json!(value)));
    assert_eq!(seen, expected.each_ref().map(|(path, value)| (path, value)), "{values}");

    // After a flush the same, from the parts.
    let store = server.server.pipeline.store.as_ref().unwrap();
    assert!(store.flush(penstock::serve::now()).unwrap());
    assert_eq!(ours.search("ip != \"\"", &[]).await, (all.clone(), false));
    assert_eq!(ours.get(rest).await, all[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_logs_are_found_by_their_text() {
    let server = TestServer::start().await;
    let ours = Tenant::new(&server, CUSTOMER).await;
    let log = |minute: u32, text: &str| {
        let time = format!("2026-01-02T03:{minute:02}:00Z");
        json!({ "data": STANDARD.encode(text), "log_entry_time": time, "collection_time": time })
    };
    for (log_type, logs) in [
        ("OKTA", json!([log(1, "Failed login of joe"), log(2, "joe logged in")])),
        ("BIND_DNS", json!([log(3, "FAILED query"), log(4, "say \"failed\" /etc/passwd")])),
    ] {
        ours.post(&format!("/logTypes/{log_type}/logs:import"), json!({ "inline_source": { "logs": logs } })).await;
    }
    server.settled().await;

    let check = async |body: Value, expected: &[&str], more: bool| {
        let reply = ours.post(":searchRawLogs", body.clone()).await;
        let matches = reply[0]["matches"].as_array().unwrap();
        let texts: Vec<&str> = matches.iter().map(|found| found["snippet"]["snippet"].as_str().unwrap()).collect();
        assert_eq!((texts.as_slice(), reply[0]["moreDataAvailable"].as_bool()), (expected, Some(more)), "{body}");
    };
    let (a, b, c) = ("say \"failed\" /etc/passwd", "FAILED query", "Failed login of joe");
    check(json!({ "baselineQuery": "raw = \"failed\"" }), &[a, b, c], false).await;
    check(json!({ "baselineQuery": "failed", "pageSize": 2 }), &[a, b], true).await;
    check(json!({ "baselineQuery": "failed", "caseSensitive": true }), &[a], false).await;
    check(json!({ "baselineQuery": "raw = /^fail/ nocase", "caseSensitive": true }), &[b, c], false).await;
    check(json!({ "baselineQuery": "failed", "logTypes": [{ "displayName": "OKTA" }] }), &[c], false).await;
    check(json!({ "baselineQuery": "failed", "logTypes": [{ "displayName": "NOBODYS" }] }), &[], false).await;
    check(json!({ "baselineQuery": "failed", "snapshotQuery": "raw = \"joe\"" }), &[c], false).await;
    check(json!({ "baselineQuery": "raw = \"failed\" AND NOT raw = /passwd|joe/" }), &[b], false).await;
    check(
        json!({ "baselineQuery": "failed", "baselineTimeRange": {
            "startTime": "2026-01-02T03:01:00Z", "endTime": "2026-01-02T03:04:00Z" } }),
        &[b, c],
        false,
    )
    .await;
    // A log is no event, whatever its id.
    let found = ours.post(":searchRawLogs", json!({ "baselineQuery": "failed" })).await;
    let id = found[0]["matches"][0]["id"].as_str().unwrap().replace('/', "%2F");
    assert_eq!(ours.call(Method::GET, &format!("/events/{id}"), None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_what_is_anothers() {
    let server = TestServer::start().await;
    let ours = Tenant::new(&server, CUSTOMER).await;
    let theirs = Tenant::new(&server, "11111111-2222-4333-8444-555555555555").await;
    ours.import(&[event(1, "USER_LOGIN", "alpha", "10.0.0.1")]).await;
    theirs.import(&[event(1, "USER_LOGIN", "bravo", "10.0.0.1")]).await;
    let log = json!({ "customer_id": theirs.instance, "log_type": "OKTA", "entries": [{ "log_text": "bravo log" }] });
    assert_eq!(server.post(RAW, log.to_string()).await.status, 200);
    server.settled().await;

    let (found, _) = ours.search("ip = \"10.0.0.1\"", &[]).await;
    assert_eq!(hosts(&found), ["alpha"]);
    let raw = ours.post(":searchRawLogs", json!({ "baselineQuery": "log" })).await;
    assert_eq!(raw[0]["matches"], json!([]));
    assert_eq!(ours.get(":findUdmFieldValues?query=bravo").await["valueMatches"], json!([]));

    // The name of another's event, and that of one there is not, are told apart by nothing.
    let (foreign, _) = theirs.search("ip = \"10.0.0.1\"", &[]).await;
    let name = foreign[0]["name"].as_str().unwrap();
    let rest = name.strip_prefix(&theirs.name()).unwrap();
    assert_eq!(theirs.get(rest).await, foreign[0]);
    let nobodys = "/events/AZIAAAAAcACAAAABAAAABQ%3D%3D";
    let refusal = async |rest: &str| {
        let reply = ours.call(Method::GET, rest, None).await;
        (reply.status.as_u16(), reply.error().split('"').next().unwrap().to_owned())
    };
    assert_eq!(refusal(rest).await, (404, "There is no event ".to_owned()));
    assert_eq!(refusal(nobodys).await, refusal(rest).await);
    let own = format!("{}{rest}", ours.name());
    for name in [name, &own] {
        let name = name.replace('%', "%25");
        assert_eq!(refusal(&format!("/events:batchGet?names={name}")).await, refusal(rest).await, "{name}");
    }

    // Their paths are closed to us whatever is asked.
    for rest in
        [":udmSearch?query=ip%21%3D%22%22", rest, ":findUdmFieldValues?query=bravo", ":validateQuery?rawQuery=x"]
    {
        let path = format!("/v1alpha/{}{rest}", theirs.name());
        let reply = send(server.request_as(&ours.credential, Method::GET, &path)).await;
        assert_eq!(reply.status, 403, "{rest}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_bounded() {
    let server = TestServer::start().await;
    let ours = Tenant::new(&server, CUSTOMER).await;
    // Twenty events of more than a megabyte: more than one reply may have.
    let long = "x".repeat(1_100_000);
    for minute in 0..20 {
        let mut event = event(minute, "USER_LOGIN", "alpha", "10.0.0.1");
        event["metadata"]["description"] = json!(long);
        ours.import(&[event]).await;
    }
    let (events, more) = ours.search("ip != \"\"", &[]).await;
    let bytes: usize = events.iter().map(|event| event.to_string().len()).sum();
    assert!(more && (10..20).contains(&events.len()), "{} events", events.len());
    assert!(bytes < event::limits::GOOGLE_SEARCH_BYTES_MAX + (2 << 20), "{bytes} bytes");

    // A column asked for ten times makes ten times the bytes.
    let fields = vec!["metadata.description"; 10];
    let body = json!({ "baselineQuery": "ip != \"\"", "fields": { "fields": fields } });
    let table = ours.post("/legacy:legacyFetchUdmSearchCsv", body).await;
    let rows = table[0]["csv"]["row"].as_array().unwrap().len();
    assert_eq!((rows, &table[0]["tooManyEvents"]), (2, &json!(true)));

    let names: Vec<String> =
        events.iter().chain(&events).map(|event| event["name"].as_str().unwrap().replace('%', "%25")).collect();
    let all = ours.call(Method::GET, &format!("/events:batchGet?names={}", names.join("&names=")), None).await;
    // Each is read once, however often it is named; all of them have just more bytes than a reply may have.
    assert_eq!(all.status, 400, "{}", all.text());
    assert!(all.error().contains("ask for fewer"), "{}", all.error());
    let some = ours.get(&format!("/events:batchGet?names={}", names[..3].join("&names="))).await;
    assert_eq!(some["events"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() {
    let server = TestServer::with(|config| config.store.enabled = false).await;
    let ours = Tenant::new(&server, CUSTOMER).await;
    let reply = ours.call(Method::GET, ":udmSearch?query=principal.hostnme%20%3D%20%22x%22", None).await;
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("did you mean principal.hostname"), "{}", reply.error());
    assert!(reply.error().contains("^^^^^^^"), "{}", reply.error());
    for (rest, body) in [
        (":udmSearch?query=ip%21%3D%22%22", None),
        (":findUdmFieldValues?query=x", None),
        ("/events/AZIAAAAAcACAAAABAAAABQ%3D%3D", None),
        (":searchRawLogs", Some(json!({ "baselineQuery": "x" }))),
    ] {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let reply = ours.call(method, rest, body.as_ref()).await;
        assert_eq!(reply.status, 501, "{rest}: {}", reply.text());
        assert!(reply.error().contains("store is switched off"), "{}", reply.error());
    }
    // What no store is needed for.
    assert_eq!(
        ours.get(":validateQuery?rawQuery=ip%21%3D%22%22").await,
        json!({ "queryType": "QUERY_TYPE_UDM_QUERY" })
    );
}
