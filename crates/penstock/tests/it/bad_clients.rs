//! Clients that send too much, too slowly or nothing at all: each gets its status, memory stays in the budget, and the
//! others are served meanwhile.
//!
//! What takes minutes or thousands of connections is done to the built server by `tests/clients`.

use std::io::{Read, Write};

use event::limits;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{RAW, TestServer, UDM, raw_batch, send, until};

/// What all requests in flight hold.
async fn held(server: &TestServer) -> u64 {
    server.get("/api/status").await["memory"]["requests_bytes"].as_u64().unwrap()
}

/// A connection with a request whose body does not come.
async fn half_sent(server: &TestServer, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.server.address).await.unwrap();
    let head = format!(
        "POST {RAW} HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer {}\r\nContent-Length: {bytes}\r\n\r\n{{",
        server.operator
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_crowds() {
    let server = TestServer::start().await;
    // A quarter of a gigabyte in a quarter of a megabyte.
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(&mut std::io::repeat(b' ').take(256 << 20), &mut encoder).unwrap();
        encoder.write_all(b"{}").unwrap();
        encoder.finish().unwrap()
    };
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    for _ in 0..3 {
        let request = server.request(Method::POST, RAW).header("content-encoding", "gzip").body(bomb.clone());
        let (reply, other) = tokio::join!(send(request), server.post(RAW, raw_batch(["served meanwhile"])));
        assert_eq!((reply.status.as_u16(), other.status.as_u16()), (400, 200), "{}", reply.text());
        reply.error();
    }

    // As many records as a body of a mebibyte can hold, and more than that.
    let events = |count: usize| format!(r#"{{"events": [{}]}}"#, vec!["{}"; count].join(","));
    let reply = server.post(UDM, events(100_000)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = server.post(UDM, events(400_000)).await;
    assert_eq!(reply.status, 400);
    reply.error();
    let reply = server.post(RAW, raw_batch(vec![""; 100_000])).await;
    assert_eq!(reply.status, 400, "100,000 entries of raw logs are over the limit");
    reply.error();
    let nested = format!(r#"{{"events": [{}{}]}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(server.post(UDM, nested).await.status, 400);

    // Idle connections, heads and bodies that stop in the middle.
    let mut crowd = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(server.server.address).await.unwrap();
        if n % 3 == 0 {
            stream.write_all(b"POST /v2/udmevents:batchCreate HTTP/1.1\r\nHost: pen").await.unwrap();
        }
        crowd.push(stream);
    }
    for _ in 0..20 {
        crowd.push(half_sent(&server, 1_000).await);
    }
    for n in 0..20 {
        assert_eq!(server.post(RAW, raw_batch([format!("in the crowd {n}").as_str()])).await.status, 200);
    }
    drop(crowd);
    until("what they held is given back", async || held(&server).await == 0).await;

    server.settled().await;
    let status = server.get("/api/status").await;
    assert_eq!(status["instances"][0]["committed"], 1 + 100_000 + 20, "{status}");
    assert_eq!(status["instances"][0]["conservation"]["holds"], true, "{status}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_budget_requests_are_told_to_slow_down() {
    let limit = limits::CHRONICLE_INGESTION_BODY_BYTES_MAX;
    let server = TestServer::with(|config| {
        config.limits.memory_bytes = limit * 4;
        config.limits.wait_max_ms = 50;
    })
    .await;
    let large = raw_batch(["x".repeat(limit / 2).as_str()]);
    let slow = half_sent(&server, limit).await;
    until("the slow one holds its part", async || held(&server).await > 0).await;
    let reply = server.post(RAW, large.clone()).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    reply.error();
    assert!(!reply.header("retry-after").is_empty());
    drop(slow);
    until("its part is given back", async || held(&server).await == 0).await;
    let reply = server.post(RAW, large).await;
    assert_eq!((reply.status.as_u16(), reply.is_repeat()), (200, false), "{}", reply.text());
    assert_eq!(server.search("raw", "xxxx").await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_are_places_wait_their_turn() {
    let server = TestServer::with(|config| config.limits.connections_max = 4).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        // An answer shows that it has a place, not only a seat in the kernel's queue.
        let mut stream = TcpStream::connect(server.server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: penstock\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        idle.push(stream);
    }
    assert_eq!(server.post(RAW, raw_batch(["the last place"])).await.status, 200);
    let mut waiting = TcpStream::connect(server.server.address).await.unwrap();
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: penstock\r\nConnection: close\r\n\r\n").await.unwrap();
    drop(idle.pop());
    let mut reply = String::new();
    waiting.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    server.stop().await;
}
