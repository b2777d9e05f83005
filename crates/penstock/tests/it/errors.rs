//! Every error that a sender can meet: its status, what its text names, that its body has Google's form, and that
//! nothing of what was refused is stored.

use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dialects::auth::{KeyFile, Lifetime, mint, sign_assertion, sign_bearer, verify_assertion};
use event::limits;
use http::Method;
use hyper::body::Frame;
use penstock::serve;
use serde_json::{Value, json};

use crate::server::{CLOUD, Credential, ENTITIES, INGESTION, RAW, Reply, TestServer, UDM, gzip, raw_batch, send};

/// In every text that must not be found afterwards.
const REFUSED: &str = "must never be stored";

#[track_caller]
fn check(what: &str, reply: &Reply, status: u16, names: &[&str]) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    let message = reply.error();
    for name in names {
        assert!(message.contains(name), "{what}: {message:?} does not name {name:?}");
    }
    assert!(!reply.headers.contains_key("x-penstock-batch"), "{what}");
}

/// A batch of raw logs whose body has exactly so many bytes.
fn body_of(bytes: usize, letter: &str) -> String {
    let frame = raw_batch([""]).len();
    let body = raw_batch([letter.repeat(bytes - frame).as_str()]);
    assert_eq!(body.len(), bytes);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    let server = TestServer::start().await;
    let foreign = uuid::Uuid::new_v4().to_string();
    // An account with an instance of its own: the operator's token has none, and would make a foreign id an unknown one.
    let token = server.token(&server.account(server.instance, "ingest").await, INGESTION).await;
    let sender = Credential::Bearer(token);
    let entries = |entries: &str| format!(r#"{{"log_type": "OKTA", "entries": [{entries}]}}"#);
    let good = format!(r#"{{"log_text": "good, but {REFUSED}"}}"#);
    let missing_comma = format!(r#"{{"log_type": "OKTA" "entries": [{good}]}}"#);
    let comma_at = format!("{}", missing_comma.find(" \"entries").unwrap() + 1);
    let trailing = format!("{};", entries(&good));
    let trailing_at = format!("{}", trailing.len() - 1);
    let cases: &[(&str, &str, String, &[&str])] = &[
        ("missing comma", RAW, missing_comma, &["not valid JSON", &comma_at]),
        ("trailing semicolon", RAW, trailing, &["not valid JSON", &trailing_at]),
        ("cut off", RAW, entries(&good).trim_end_matches('}').to_owned(), &["not valid JSON"]),
        ("empty", RAW, String::new(), &["not valid JSON"]),
        ("no object", RAW, "[]".to_owned(), &[]),
        ("nested too deep", UDM, format!(r#"{{"events": [{}{}]}}"#, "{\"a\":".repeat(10_000), "}".repeat(10_000)), &[]),
        (
            "customer_id is none",
            RAW,
            entries(&good).replacen('{', r#"{"customer_id": "c8c65bfa", "#, 1),
            &["customer_id"],
        ),
        ("customer_id is a number", RAW, entries(&good).replacen('{', r#"{"customer_id": 7, "#, 1), &["customer_id"]),
        ("log_type missing", RAW, format!(r#"{{"entries": [{good}]}}"#), &["log_type", "missing"]),
        ("log_type unknown", RAW, entries(&good).replace("OKTA", "BIND_DSN"), &["log_type", "BIND_DSN", "BIND_DNS"]),
        (
            "log_type of entities",
            ENTITIES,
            r#"{"log_type": "NOPE_X", "entities": [{}]}"#.to_owned(),
            &["log_type", "NOPE_X"],
        ),
        ("no entries", RAW, r#"{"log_type": "OKTA"}"#.to_owned(), &["entries"]),
        ("empty entries", RAW, entries(""), &["entries"]),
        ("entry is a text", RAW, entries(&format!(r#"{good}, "text""#)), &["entries[1]"]),
        ("log_text missing", RAW, entries(&format!("{good}, {{}}")), &["entries[1].log_text", "missing"]),
        (
            "both timestamps in an entry",
            RAW,
            entries(&format!(
                r#"{good}, {{"log_text": "{REFUSED}", "ts_rfc3339": "2019-02-26T13:37:04Z", "ts_epoch_microseconds": 1}}"#
            )),
            &["entries[1]", "ts_epoch_microseconds", "ts_rfc3339"],
        ),
        (
            "both timestamps in a batch",
            RAW,
            entries(&format!(
                r#"{good}, {{"log_text": "{REFUSED}", "ts_epoch_microseconds": 1}}, {{"log_text": "b", "ts_rfc3339": "2019-02-26T13:37:04Z"}}"#
            )),
            &["entries[2].ts_rfc3339", "ts_epoch_microseconds"],
        ),
        (
            "invalid date",
            RAW,
            entries(&format!(r#"{good}, {{"log_text": "{REFUSED}", "ts_rfc3339": "2019-26-02T13:37:04.523-08:00"}}"#)),
            &["entries[1].ts_rfc3339", "2019-26-02T13:37:04.523-08:00"],
        ),
        (
            "invalid microseconds",
            RAW,
            entries(&format!(r#"{good}, {{"log_text": "{REFUSED}", "ts_epoch_microseconds": "soon"}}"#)),
            &["entries[1].ts_epoch_microseconds"],
        ),
        ("U+0000", RAW, entries(&format!(r#"{good}, {{"log_text": "{REFUSED} \u0000"}}"#)), &["entries[1].log_text"]),
        (
            "half a surrogate pair",
            RAW,
            entries(&format!(r#"{good}, {{"log_text": "{REFUSED} \ud800"}}"#)),
            &["entries[1].log_text"],
        ),
        ("event is a list", UDM, r#"{"events": [[]]}"#.to_owned(), &["events[0]"]),
        (
            "event with a list for an object",
            UDM,
            r#"{"events": [{"metadata": {"event_timestamp": []}}]}"#.to_owned(),
            &["events[0].metadata.event_timestamp"],
        ),
    ];
    for (what, path, body, names) in cases {
        let request = server.request_as(&sender, Method::POST, path).body(body.clone());
        check(what, &send(request).await, 400, names);
    }
    let unclean = [
        &br#"{"log_type": "OKTA", "entries": [{"log_text": "ok"}, {"log_text": "must never be stored "#[..],
        b"\xff\xfe\"}]}",
    ]
    .concat();
    let reply = send(server.request_as(&sender, Method::POST, RAW).body(unclean)).await;
    check("not UTF-8", &reply, 400, &["entries[1].log_text"]);
    let body = entries(&good).replacen('{', &format!(r#"{{"customer_id": "{foreign}", "#), 1);
    let reply = send(server.request_as(&sender, Method::POST, RAW).body(body)).await;
    check("foreign customer_id", &reply, 403, &["customer_id", &foreign]);

    // All faults at once, in order, up to twenty.
    let many = entries(&vec![r#"{"log_text": 7}"#; 30].join(","));
    let reply = server.post(RAW, many).await;
    reply.error();
    let details = reply.json()["error"]["details"][0]["fieldViolations"].clone();
    let fields: Vec<_> = details.as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    assert_eq!(fields, Vec::from_iter((0..limits::FAULTS_MAX).map(|n| format!("entries[{n}].log_text"))));
    let message = reply.error();
    assert!(message.contains("29 more"), "{message:?} does not count the faults");

    // Nothing that stands in a body can make the reply long or break its form.
    let long = entries(&good).replace("OKTA", &r#"\"\\\u0007é"#.repeat(20_000));
    check("a long log type", &server.post(RAW, long).await, 400, &["log_type"]);

    assert_eq!(server.search("raw", REFUSED).await, Vec::<Value>::new());
    let status = server.get("/api/status").await;
    assert_eq!(status["instances"][0]["committed"], 0, "{status}");
    assert_eq!(status["instances"][0]["conservation"]["holds"], true, "{status}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_set_aside_where_that_is_asked_for() {
    let server = TestServer::with(|config| config.intake.on_invalid = penstock::config::OnInvalid::Quarantine).await;
    let body = r#"{"log_type": "OKTA", "entries": [{"log_text": "good one"}, {"log_text": 7},
        {"log_text": "bad date", "ts_rfc3339": "2019-26-02T13:37:04Z"}, {"log_text": "good two"}]}"#;
    let reply = server.post(RAW, body).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "{}"));
    assert!(server.post(RAW, body).await.is_repeat());
    assert_eq!(server.texts("").await, ["good one", "good two"]);
    let receipt = server.get(&format!("/api/receipts/{}", reply.batch())).await;
    let states: Vec<_> =
        receipt["records"].as_array().unwrap().iter().map(|record| &record["store"]["state"]).collect();
    assert_eq!(json!(states), json!(["stored", "set aside", "set aside", "stored"]));
    let reasons = receipt["set_aside"].as_array().unwrap();
    for (reason, names) in reasons.iter().zip(["log_text", "2019-26-02T13:37:04Z"]) {
        assert!(reason["reason"].as_str().unwrap().contains(names), "{reason} does not name {names}");
    }
    let aside = server.get(&format!("/api/receipts/{}", reasons[0]["id"].as_str().unwrap())).await;
    assert_eq!((&aside["set_aside"], &aside["records"][0]["index"]), (&json!([reasons[0]]), &json!(1)));
    // What is wrong with the batch itself is refused all the same.
    check("log type", &server.post(RAW, body.replace("OKTA", "NOPE_X")).await, 400, &["NOPE_X"]);

    let server = server.restart().await;
    server.settled().await;
    let status = server.get("/api/status").await;
    let counts = &status["instances"][0];
    assert_eq!((&counts["stored_total"], &counts["set_aside_total"]), (&json!(2), &json!(2)), "{counts}");
    assert_eq!(counts["conservation"]["holds"], true, "{counts}");
    let again = server.get(&format!("/api/receipts/{}", reply.batch())).await;
    assert_eq!((&again["set_aside"], &again["records"]), (&receipt["set_aside"], &receipt["records"]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_what_parsers_made_of_logs() {
    let server = TestServer::start().await;
    let body = r#"{"log_type": "OKTA", "entries": [{"log_text": "{\"eventType\": \"user.session.start\"}"},
        {"log_text": "no JSON"}]}"#;
    let reply = server.post(RAW, body).await;
    assert_eq!(server.texts("").await.len(), 2);
    let receipt = server.get(&format!("/api/receipts/{}", reply.batch())).await;
    let parsing = |index: usize| &receipt["records"][index]["parsing"];
    assert!(parsing(0)["parser"].as_str().unwrap().starts_with("OKTA@"), "{receipt}");
    assert_eq!((&parsing(0)["state"], &parsing(0)["events"]), (&json!("parsed"), &json!(1)));
    assert_eq!((&parsing(1)["state"], &parsing(1)["events"]), (&json!("failed"), &json!(0)));
    assert!(parsing(1)["reason"].as_str().unwrap().contains("(line "), "{receipt}");
    let alone = server.get(&format!("/api/receipts/{}", receipt["records"][1]["id"].as_str().unwrap())).await;
    assert_eq!(&alone["records"][0]["parsing"], parsing(1));

    // What is no raw log was read by none.
    let udm =
        r#"{"events": [{"metadata": {"event_timestamp": "2026-03-01T08:00:00Z", "event_type": "GENERIC_EVENT"}}]}"#;
    let reply = server.post("/v2/udmevents:batchCreate", udm).await;
    server.settled().await;
    let receipt = server.get(&format!("/api/receipts/{}", reply.batch())).await;
    assert_eq!(receipt["records"][0]["store"]["state"], "stored");
    assert_eq!(receipt["records"][0].get("parsing"), None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_encodings() {
    let server = TestServer::start().await;
    let limit = limits::CHRONICLE_INGESTION_BODY_BYTES_MAX;
    assert_eq!(limit, 1_048_576);
    let zipped = |body: String| {
        let zipped = gzip(body.as_bytes());
        server.request(Method::POST, RAW).header("content-encoding", "gzip").body(zipped)
    };
    assert_eq!(server.post(RAW, body_of(limit, "a")).await.status, 200);
    check("one byte over", &server.post(RAW, body_of(limit + 1, "b")).await, 400, &["1048576"]);
    let reply = send(zipped(body_of(limit, "c"))).await;
    assert_eq!((reply.status.as_u16(), reply.is_repeat()), (200, false), "{}", reply.text());
    check("one byte over, gzipped", &send(zipped(body_of(limit + 1, "d"))).await, 400, &["1048576"]);
    // Chunked, so that no length is announced.
    let chunked = |bytes: usize, letter: &str| {
        let body = body_of(bytes, letter);
        let halves = [body[..bytes / 2].to_owned(), body[bytes / 2..].to_owned()].map(Bytes::from);
        server.request(Method::POST, RAW).body(reqwest::Body::wrap(Halves(halves.into_iter())))
    };
    assert_eq!(send(chunked(limit, "e")).await.status, 200);
    check("one byte over, chunked", &send(chunked(limit + 1, "f")).await, 400, &["1048576"]);

    let encoded = |encoding: &str, body: Vec<u8>| {
        send(server.request(Method::POST, RAW).header("content-encoding", encoding).body(body))
    };
    check("an unknown encoding", &encoded("br", raw_batch(["g"]).into()).await, 415, &["br"]);
    check("gzip that is none", &encoded("gzip", raw_batch(["h"]).into()).await, 400, &["gzip"]);
    let mut cut = gzip(raw_batch(["i"]).as_bytes());
    cut.truncate(cut.len() - 6);
    check("gzip that is cut off", &encoded("gzip", cut).await, 400, &["gzip"]);
    assert_eq!(encoded("identity", raw_batch(["j"]).into()).await.status, 200);

    let mut starts: Vec<_> = server.texts("").await.iter().map(|text| text[..1].to_owned()).collect();
    starts.dedup();
    assert_eq!(starts, ["a", "c", "e", "j"]);

    // Out: compressed where it is asked for and pays.
    let types =
        |encoding: &'static str| send(server.request(Method::GET, "/v2/logtypes").header("accept-encoding", encoding));
    let (plain, packed) = (types("identity").await, types("gzip, deflate").await);
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain.body && packed.body.len() < plain.body.len() / 2);
    let listed = plain.json();
    assert_eq!(listed["logTypes"].as_array().unwrap().len(), listed["logtypes"].as_array().unwrap().len());
    assert!(listed["logTypes"].as_array().unwrap().iter().any(|found| found["logType"] == "BIND_DNS"));
    assert!(listed["logtypes"].as_array().unwrap().iter().any(|found| found["log_type"] == "CATCH_ALL"));
    server.stop().await;
}

/// A body in two pieces whose length nobody knows beforehand.
struct Halves(std::array::IntoIter<Bytes, 2>);

impl hyper::body::Body for Halves {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|half| Ok(Frame::data(half))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_paths_and_methods() {
    let server = TestServer::start().await;
    let ingest = server.account(server.instance, "ingest").await;
    let read = server.account(server.instance, "read").await;
    let token = server.token(&ingest, INGESTION).await;
    let now = serve::now();
    let jwt = sign_bearer(&ingest, INGESTION, now).unwrap();
    let long_ago = event::Time::from_nanos(now.nanos() - 7_200 * 1_000_000_000);
    let unsigned = {
        let claims = json!({ "iss": ingest.client_email, "sub": ingest.client_email, "scope": INGESTION,
            "iat": now.secs(), "exp": now.secs() + 3600 });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&json!({ "alg": "none", "typ": "JWT" })), part(&claims))
    };
    let garbled = |token: &str| {
        let middle = token.len() * 3 / 4;
        let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &token[..middle], &token[middle + 1..])
    };
    let expired = {
        let snapshot = server.server.control.snapshot().load();
        let assertion = sign_assertion(&ingest, &server.url("/token"), INGESTION, long_ago).unwrap();
        mint(&verify_assertion(&assertion, &snapshot, long_ago).unwrap(), Lifetime::STANDARD, &snapshot, long_ago).text
    };
    let other_key = KeyFile { private_key: read.private_key.clone(), ..ingest.clone() };
    let unauthenticated = [
        ("nothing", Credential::None),
        ("empty bearer", Credential::Bearer(String::new())),
        ("garbage", Credential::Bearer("garbage".to_owned())),
        ("garbled access token", Credential::Bearer(garbled(&token))),
        ("cut access token", Credential::Bearer(token[..token.len() - 4].to_owned())),
        ("expired access token", Credential::Bearer(expired)),
        ("garbled JWT", Credential::Bearer(garbled(&jwt))),
        ("unsigned JWT", Credential::Bearer(unsigned)),
        ("expired JWT", Credential::Bearer(sign_bearer(&ingest, INGESTION, long_ago).unwrap())),
        ("JWT of another key", Credential::Bearer(sign_bearer(&other_key, INGESTION, now).unwrap())),
        ("unknown API key", Credential::KeyQuery("psk_0000".to_owned())),
        ("unknown API key in a header", Credential::KeyHeader("psk_0000".to_owned())),
    ];
    for (what, credential) in &unauthenticated {
        for (method, path) in [(Method::POST, RAW), (Method::GET, "/v2/logtypes"), (Method::GET, "/api/status")] {
            let body = if method == Method::POST { raw_batch([REFUSED]) } else { String::new() };
            let reply = send(server.request_as(credential, method, path).body(body)).await;
            check(what, &reply, 401, if what.starts_with("expired") { &["expired"] } else { &[] });
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{what}: {:?}", reply.headers);
        }
    }
    let expired = sign_assertion(&ingest, &server.url("/token"), INGESTION, long_ago).unwrap();
    let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={expired}");
    let reply = send(server.http.post(server.url("/token")).body(form)).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str().unwrap()), (400, "invalid_grant"));

    // A known sender that may not.
    let reader = Credential::Bearer(server.token(&read, CLOUD).await);
    let sender = Credential::Bearer(token);
    let narrow = server.account(server.instance, "admin").await;
    let narrow = Credential::Bearer(server.token(&narrow, "https://www.googleapis.com/auth/chronicle.readonly").await);
    for (what, credential, method, path, scope) in [
        ("a reader sends", &reader, Method::POST, RAW, "ingest"),
        ("an admin with a reader's token sends", &narrow, Method::POST, RAW, "ingest"),
        ("a sender looks", &sender, Method::GET, "/api/status", "read"),
        ("a sender searches", &sender, Method::POST, "/api/search", "read"),
        ("a reader changes", &reader, Method::POST, "/api/keys", "admin"),
    ] {
        let reply = send(server.request_as(credential, method, path).body(raw_batch([REFUSED]))).await;
        check(what, &reply, 403, &[scope]);
    }

    let paths = [
        (Method::POST, "/v2/unstructuredlogentries", 404, ""),
        (Method::GET, "/v3/logtypes", 404, ""),
        (Method::GET, "/nothing", 404, ""),
        (Method::GET, "/api/nothing", 404, ""),
        (Method::GET, "/api", 404, ""),
        (Method::GET, RAW, 405, "POST"),
        (Method::PUT, UDM, 405, "POST"),
        (Method::POST, "/v2/logtypes", 405, "GET"),
        (Method::DELETE, "/v1/entities:batchCreate", 405, "POST"),
        (Method::GET, "/api/search", 405, "POST"),
        (Method::POST, "/api/status", 405, "GET"),
        (Method::POST, "/metrics", 405, "GET"),
    ];
    for (method, path, status, allow) in paths {
        let what = format!("{method} {path}");
        let reply = send(server.request(method, path)).await;
        check(&what, &reply, status, &[]);
        assert_eq!(reply.header("allow"), allow, "{what}");
    }
    let reply = send(server.http.get(server.url("/token"))).await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"));

    // What need not be there: a Content-Type, the colon itself, the customer id.
    let plain = server.request(Method::POST, "/v2/unstructuredlogentries%3AbatchCreate").body(raw_batch(["plain"]));
    let plain = plain.build().unwrap();
    assert!(!plain.headers().contains_key("content-type"));
    assert_eq!(server.http.execute(plain).await.unwrap().status(), 200);
    assert_eq!(server.texts("").await, ["plain"]);
    server.stop().await;
}
