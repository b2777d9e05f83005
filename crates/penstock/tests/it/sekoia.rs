//! Sekoia's HTTPS intake as its senders meet it: what was sent is found by the ids that came back, as it was sent; what is
//! refused is said and nowhere; other dialects are not in its way.

use std::collections::HashMap;
use std::net::SocketAddr;

use http::Method;
use penstock::config::Also;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{RAW, Reply, TestServer, gzip, raw_batch, rows, send};

/// An intake of a format, and its key.
pub async fn intake(server: &TestServer, format: &str) -> (String, String) {
    let body = json!({ "instance": server.instance.to_string(), "name": format, "format": format });
    let made = server.api(Method::POST, "/api/intakes", Some(body)).await;
    (made["id"].as_str().unwrap().to_owned(), made["intake_key"].as_str().unwrap().to_owned())
}

async fn push(server: &TestServer, key: &str, path: &str, body: impl Into<reqwest::Body>) -> Reply {
    let request = server.http.post(server.url(path)).header("X-SEKOIAIO-INTAKE-KEY", key).body(body);
    send(request).await
}

/// The ids that a reply names.
#[track_caller]
fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert!(reply.header("content-type").starts_with("application/json"));
    let body = reply.json();
    let list = match &body["event_ids"] {
        Value::Array(list) => list.clone(),
        _ => vec![body["event_id"].clone()],
    };
    list.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// All raw logs, by their ids.
async fn stored(server: &TestServer) -> HashMap<String, Value> {
    server.settled().await;
    let query = json!({ "language": "raw", "regex": "(?s).*", "limit": 100_000 });
    let reply = send(server.request(Method::POST, "/api/search").json(&query)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    rows(&reply).into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

/// The head of the reply to a body that announces no length.
async fn chunked(address: SocketAddr, path: &str, key: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: penstock\r\nX-SEKOIAIO-INTAKE-KEY: {key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in body.chunks(50_000) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        stream.write_all(chunk).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut reply = vec![0; 100];
    stream.read_exact(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}

/// The message of an error, whose form is checked.
#[track_caller]
fn refused(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.header("content-type").starts_with("application/json"), "{:?}", reply.headers);
    let body = reply.json();
    assert_eq!(body["code"], status, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_list_of_texts_comes_back_from_search_as_that_list() {
    let server = TestServer::start().await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    // Whatever is a text in JSON, with the characters that matter more often than chance would have them.
    let texts = prop::collection::vec("(\\PC|[\\x01-\\x1f\"\\\\\\r\\n 😀é]){0,20}", 1..12);
    let mut runner = TestRunner::deterministic();
    let mut sent: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for _ in 0..60 {
        let texts = texts.new_tree(&mut runner).unwrap().current();
        let array: Vec<Value> = texts.iter().map(|text| json!({ "intake_key": key, "json": text })).collect();
        for (path, body) in [
            ("/batch", json!({ "intake_key": key, "jsons": texts })),
            ("/array", json!(array)),
            ("/jsons", json!(texts)),
            ("/jsons?path=$.a.b", json!({ "a": { "b": texts } })),
        ] {
            sent.push((ids(&push(&server, &key, path, body.to_string()).await), texts.clone()));
        }
        let joined = texts.join("\n");
        let lines = joined.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned());
        let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        if !lines.is_empty() {
            sent.push((ids(&push(&server, &key, "/plain/batch", joined).await), lines));
        }
        let one = json!({ "intake_key": key, "json": texts[0] }).to_string();
        sent.push((ids(&push(&server, &key, "/", one).await), vec![texts[0].clone()]));
        if !texts[0].is_empty() {
            sent.push((ids(&push(&server, &key, "/plain", texts[0].clone()).await), vec![texts[0].clone()]));
        }
    }
    let stored = stored(&server).await;
    for (ids, texts) in &sent {
        let found: Vec<&str> = ids.iter().map(|id| stored[id]["text"].as_str().unwrap()).collect();
        assert_eq!(&found, texts);
    }
    assert_eq!(stored.len(), sent.iter().map(|(ids, _)| ids.len()).sum::<usize>(), "nothing twice, nothing else");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_their_intakes_type_the_senders_time_and_a_receipt() {
    let server = TestServer::start().await;
    let (first, key) = intake(&server, "UNBOUND_DNS").await;
    let (second, other) = intake(&server, "OKTA").await;
    let items = json!([
        { "timestamp": "2021-04-05T21:33:31+02:00", "intake_key": key, "json": "a line" },
        { "intake_key": other, "json": { "an": "object" }, "timestamp": 1_617_651_212 },
    ]);
    let reply = send(server.http.post(server.url("/array")).body(items.to_string())).await;
    let ids = ids(&reply);
    assert_eq!(reply.header("x-penstock-batches").split(", ").count(), 2);
    let stored = stored(&server).await;
    let shown = |id: &String| {
        let row = &stored[id];
        [&row["log_type"], &row["event_time"], &row["text"]].map(|field| field.as_str().unwrap().to_owned())
    };
    assert_eq!(shown(&ids[0]), ["UNBOUND_DNS", "2021-04-05T19:33:31Z", "a line"]);
    assert_eq!(shown(&ids[1]), ["OKTA", "2021-04-05T19:33:32Z", "{\"an\":\"object\"}"]);
    assert_eq!(stored[&ids[0]]["feed"], format!("intakes/{first}"), "{}", stored[&ids[0]]);
    assert_eq!(stored[&ids[1]]["feed"], format!("intakes/{second}"));
    for id in &ids {
        let receipt = server.get(&format!("/api/receipts/{id}")).await;
        assert!(receipt.to_string().contains(id.as_str()), "{receipt}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_and_is_nowhere() {
    let server = TestServer::with(|config| {
        config.limits.sekoia_body_bytes_max = 1 << 20;
        config.limits.sekoia_event_bytes_max = 1_000;
    })
    .await;
    let (id, key) = intake(&server, "UNBOUND_DNS").await;
    let big = "x".repeat(1_001);
    for (path, body, status, part) in [
        ("/plain", String::new(), 400, "empty"),
        ("/plain", big.clone(), 413, "1001 bytes"),
        ("/plain", "x".repeat((1 << 20) + 1), 413, "1048576 bytes"),
        ("/plain/batch", format!("{big}\n{big}"), 413, "2 events"),
        ("/jsons", "[\"refused\", null]".to_owned(), 400, "[1]"),
        ("/jsons", "[\"refused\", 7]".to_owned(), 400, "[1]"),
        ("/jsons", "[\"refused\"".to_owned(), 400, "not valid JSON"),
        ("/batch", "{\"jsons\": \"refused\"}".to_owned(), 400, "must be a list"),
        ("/array", "[{\"json\": \"refused\", \"timestamp\": \"soon\"}]".to_owned(), 400, "[0].timestamp"),
    ] {
        let message = refused(&push(&server, &key, path, body).await, status);
        assert!(message.contains(part), "{path}: {message}");
    }
    let with = |name: &str, value: &str, body: Vec<u8>| {
        let request = server.http.post(server.url("/plain")).header("X-SEKOIAIO-INTAKE-KEY", &key);
        send(request.header(name.to_owned(), value.to_owned()).body(body))
    };
    refused(&with("X-SEKOIAIO-EVENT-TIMESTAMP", "soon", b"refused".to_vec()).await, 400);
    refused(&with("Content-Encoding", "br", b"refused".to_vec()).await, 415);
    refused(&with("Content-Encoding", "gzip", b"refused".to_vec()).await, 400);
    refused(&with("Content-Encoding", "gzip", gzip(&vec![b'x'; 200 << 20])).await, 413);
    for (bad, part) in [("nobody", "not known"), ("", "no intake key")] {
        let message = refused(&push(&server, bad, "/plain", "refused").await, 401);
        assert!(message.contains(part), "{message}");
    }
    refused(&send(server.http.post(server.url("/plain")).body("refused")).await, 401);
    refused(&send(server.http.get(server.url("/plain"))).await, 405);
    refused(&send(server.http.get(server.url("/"))).await, 405);

    // Some of a list: the others are taken, and those that are not are counted.
    let reply = push(&server, &key, "/jsons", json!(["taken", big, "taken, too"]).to_string()).await;
    assert_eq!(reply.status, 202);
    let body = reply.json();
    assert!(body["event_ids"][1].is_null(), "{body}");
    assert_eq!((&body["errors"][0]["index"], &body["errors"][0]["status"]), (&json!(1), &json!(413)));
    assert_eq!(stored(&server).await.len(), 2);
    let status = server.get("/api/status").await;
    let instance = &status["instances"][0];
    assert_eq!((&instance["committed"], &instance["conservation"]["holds"]), (&json!(2), &json!(true)), "{status}");
    let troubles = status["troubles"].to_string();
    assert!(troubles.contains(&format!("intake:{id}")) && troubles.contains("1001 bytes"), "{troubles}");

    // Off and on again.
    server.api(Method::POST, &format!("/api/intakes/{id}:disable"), None).await;
    assert!(refused(&push(&server, &key, "/plain", "refused").await, 401).contains("disabled"));
    server.api(Method::POST, &format!("/api/intakes/{id}:enable"), None).await;
    assert_eq!(push(&server, &key, "/plain", "after").await.status, 202);
    assert!(!stored(&server).await.values().any(|row| row["text"].as_str().unwrap().contains("refused")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_keys_is_slowed_down_and_others_are_not() {
    let server = TestServer::start().await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    let mut statuses = Vec::new();
    for n in 0..22 {
        let reply = push(&server, &format!("guess {n}"), "/plain", "x").await;
        if reply.status == 429 {
            assert!(refused(&reply, 429).contains("not known"));
            assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 1);
        }
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses, [vec![401; 20], vec![429; 2]].concat());
    // A key in the body is one as well, and a good one is served from the same address as ever.
    let in_body = json!({ "intake_key": "another", "jsons": ["x"] }).to_string();
    refused(&send(server.http.post(server.url("/batch")).body(in_body)).await, 429);
    assert_eq!(push(&server, &key, "/plain", "x").await.status, 202);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dialects_share_a_server_and_a_listener_may_serve_some() {
    let server = TestServer::with(|config| {
        let serve = |names: &[&str]| Also {
            address: ([127, 0, 0, 1], 0).into(),
            tls: None,
            allow_plain: false,
            serve: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        config.listen.also = vec![serve(&["sekoia"]), serve(&["chronicle_ingestion", "api"]), serve(&[])];
    })
    .await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    let main = server.server.address;
    let [sekoia, chronicle, all] = server.server.places.iter().map(|place| place.address).collect::<Vec<_>>()[..]
    else {
        panic!("{:?}", server.server.places)
    };
    for (address, of_sekoia, of_chronicle, of_ours) in
        [(main, 202, 200, 200), (sekoia, 202, 404, 404), (chronicle, 404, 200, 200), (all, 202, 200, 200)]
    {
        let url = |path: &str| format!("http://{address}{path}");
        let batch = json!({ "intake_key": key, "jsons": ["x"] }).to_string();
        for path in ["/batch", "/api/v1/intake-http/batch", "/v1/intake-http/batch/"] {
            assert_eq!(
                send(server.http.post(url(path)).body(batch.clone())).await.status,
                of_sekoia,
                "{address} {path}"
            );
        }
        let raw = raw_batch([format!("by {address}").as_str()]);
        let request = server.http.post(url(RAW)).bearer_auth(&server.operator).body(raw);
        assert_eq!(send(request).await.status, of_chronicle, "{address}");
        let request = server.http.get(url("/api/status")).bearer_auth(&server.operator);
        assert_eq!(send(request).await.status, of_ours, "{address}");
        let reply = send(server.http.post(url("/api/v1/intake-httpx")).bearer_auth(&server.operator)).await;
        assert_eq!(reply.status, 404, "{address}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_as_senders_send_them() {
    let server = TestServer::start().await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    let lines = |name: &str| (0..20_000).map(|n| format!("{name} {n}")).collect::<Vec<_>>().join("\n");
    let to = |path: &str| server.http.post(server.url(path)).header("X-SEKOIAIO-INTAKE-KEY", &key);
    // gzip, one member and two; in chunks without a length, beyond what is read before more room is taken.
    let packed = gzip(lines("packed").as_bytes());
    let two = [gzip(format!("{}\n", lines("two")).as_bytes()), gzip(lines("members").as_bytes())].concat();
    for (body, count) in [(packed, 20_000), (two, 40_000)] {
        let reply = send(to("/plain/batch").header("Content-Encoding", "gzip").body(body)).await;
        assert_eq!(ids(&reply).len(), count);
    }
    let address = server.server.address;
    let text = lines(&"chunked ".repeat(10));
    assert!(text.len() > event::limits::UNANNOUNCED_BODY_BYTES * 4);
    let reply = chunked(address, "/plain/batch", &key, text.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 202"), "{}", &reply[..200.min(reply.len())]);
    // Bytes that are no text are kept as they are.
    let reply = send(to("/plain").body(b"\xff\xfe latin \xe9\r\n".to_vec())).await;
    assert_eq!(ids(&reply).len(), 1);
    server.settled().await;
    assert_eq!(server.search("raw", "packed").await.len(), 20_000);
    assert_eq!(server.search("raw", "chunked").await.len(), 20_000);
    server.stop().await;
}

/// A request of many short lines becomes many times as much when it is parsed. It is taken in slices, and nobody sees that.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_many_lines_is_parsed_in_slices() {
    let lines = event::limits::NORMALISE_SLICE_RECORDS * 2 + 500;
    // Parts are written in the middle of the request, and the server is stopped while it is under way.
    let server = TestServer::with(|config| config.store.flush_bytes = 4 << 20).await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    let line = |number: usize| format!("[764008:0] info: 192.0.2.{} n{number}.example.com. A IN", number % 250);
    let body = (0..lines).map(line).collect::<Vec<_>>().join("\n");
    assert_eq!(ids(&push(&server, &key, "/plain/batch", body).await).len(), lines);
    let server = server.restart().await;
    server.settled().await;
    let all = stored(&server).await;
    assert_eq!(all.len(), lines);
    let query = json!({ "language": "udm", "query": "metadata.event_type = \"NETWORK_DNS\"", "limit": 100_000 });
    let found = rows(&send(server.request(Method::POST, "/api/search").json(&query)).await);
    let of_records: std::collections::HashSet<&str> = found.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((found.len(), of_records.len()), (lines, lines), "each has one event");
    let counts = server.get("/api/parsing/counts").await;
    let parsed: u64 = counts["parsers"].as_array().unwrap().iter().map(|row| row["parsed"].as_u64().unwrap()).sum();
    assert_eq!(parsed as usize, lines);
    let status = server.get("/api/status").await;
    assert_eq!(status["instances"][0]["conservation"]["holds"], true, "{status}");
}
