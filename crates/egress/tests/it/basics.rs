//! What goes well: requests arrive as they were sent, answers come back as they were given, and both are recorded.

use std::time::Duration;

use egress::Exchange;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Ca, HOST, Host, Reply, World, credentials};

#[tokio::test]
async fn a_post_to_a_host_that_is_written_into_the_code() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(201, "{\"id\": 201}")).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let answer = world
        .client(&lane)
        .post(format!("https://user:s3cret@{HOST}/todos?api_key=s3cret#s3cret"))
        .body("{\"title\": \"x\"}")
        .send()
        .await
        .unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (201, "{\"id\": 201}"));

    let received = host.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].line(), "POST /todos?api_key=s3cret HTTP/1.1");
    assert_eq!(received[0].server_name.as_deref(), Some(HOST));
    assert_eq!(received[0].body, b"{\"title\": \"x\"}");
    assert!(received[0].headers().iter().any(|line| line.eq_ignore_ascii_case(&format!("host: {HOST}"))));

    let exchanges = lane.take();
    let took = exchanges[0].took;
    let expected = Exchange {
        method: "POST".to_owned(),
        url: format!("https://{HOST}/todos"),
        status: Some(201),
        error: None,
        sent_bytes: 14,
        received_bytes: 11,
        began: world.now,
        took,
    };
    assert_eq!(exchanges, [expected]);
    assert!(took > Duration::ZERO);
    assert!(!format!("{exchanges:?} {lane:?} {:?}", world.egress).contains("s3cret"));
    assert!(lane.take().is_empty(), "it was taken");
    assert_eq!(lane.count(), 1);
}

#[tokio::test]
async fn plain_http_and_what_is_not_passed_on() {
    let host = Host::plain(|_| {
        Reply::Stay(
            b"HTTP/1.1 404 Gone Fishing\r\nX-Answer: kept\r\nConnection: keep-alive, X-Hop\r\nX-Hop: dropped\r\n\
              Keep-Alive: timeout=5\r\nProxy-Authenticate: kept\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let world = World::start([("example.com:8080", &host)], |_| {}).await;
    let lane = world.egress.lane();
    let answer = world
        .raw(&format!(
            "GET http://Example.com:8080/a%20b?q=s3cret HTTP/1.1\r\nHOST: Example.com:8080\r\n{}\r\nDD-API-KEY: k\r\n\
             Connection: close, X-Mine\r\nX-Mine: dropped\r\nProxy-Connection: close\r\nTE: trailers\r\n\
             Upgrade: h2c\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n",
            credentials(&lane)
        ))
        .await;
    let received = host.received();
    assert_eq!(received[0].line(), "GET /a%20b?q=s3cret HTTP/1.1");
    let mut headers = received[0].headers();
    headers.sort_unstable();
    assert_eq!(headers, ["DD-API-KEY: k", "HOST: Example.com:8080", "X-Twice: 1", "X-Twice: 2"]);

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect();
    lines[1..].sort_unstable();
    let expected = [
        "HTTP/1.1 404 Gone Fishing",
        "Connection: close",
        "Proxy-Authenticate: kept",
        "Transfer-Encoding: chunked",
        "X-Answer: kept",
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let exchanges = lane.take();
    let shown: Vec<_> = exchanges.iter().map(|one| (one.url.as_str(), one.status, one.received_bytes)).collect();
    assert_eq!(shown, [("http://example.com:8080/a%20b", Some(404), 5)]);
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(200, "ok")).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let url = format!("https://{HOST}/");
    // One connection of the function's, kept alive.
    let client = world.builder(&lane).build().unwrap();
    for _ in 0..3 {
        assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "ok");
    }
    // And new ones, as requests without a session makes them.
    for _ in 0..3 {
        assert_eq!(world.client(&lane).get(&url).send().await.unwrap().text().await.unwrap(), "ok");
    }
    // A machine that is busy enough may have let one idle for too long.
    let last = host.received().last().unwrap().connection;
    assert!(last < 3, "{last}");
    // Another lane's are its own.
    let other = world.egress.lane();
    world.client(&other).get(&url).send().await.unwrap();
    assert_eq!(host.received().last().unwrap().connection, last + 1);
    assert_eq!((lane.take().len(), other.take().len()), (6, 1));
}

#[tokio::test]
async fn a_connection_that_the_host_closed_is_not_used_again() {
    let ca = Ca::new();
    let host =
        Host::tls(&ca, &[HOST], |_| Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    for _ in 0..10 {
        let answer = world.client(&lane).post(format!("https://{HOST}/")).body("x").send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok");
    }
    assert!(lane.take().iter().all(|one| one.status == Some(200) && one.error.is_none()));
}

/// What a host answers, and the body that the function gets of it.
#[tokio::test]
async fn answers_of_every_shape() {
    let cases: [(&str, &str, u16, &str); 8] = [
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n", 304, ""),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, ""),
        ("GET", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("GET", "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", 503, "busy"),
        ("GET", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a"),
        // These end with the connection, which is closed without a word of TLS.
        ("GET", "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold", 200, "old"),
        ("DELETE", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", 200, "until the end"),
    ];
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], move |received| {
        let number: usize = received.line().split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        Reply::Close(cases[number].1.as_bytes().to_vec())
    })
    .await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    for (number, (method, reply, status, body)) in cases.into_iter().enumerate() {
        let method = method.parse().unwrap();
        let answer = world.client(&lane).request(method, format!("https://{HOST}/{number}")).send().await.expect(reply);
        assert_eq!(answer.status().as_u16(), status, "{reply}");
        assert_eq!(answer.text().await.expect(reply), body, "{reply}");
        let exchange = lane.take().pop().unwrap();
        let got = (exchange.status, exchange.error, exchange.received_bytes);
        assert_eq!(got, (Some(status), None, body.len() as u64), "{reply}");
    }
}

#[tokio::test]
async fn hosts_that_nobody_stands_in_for() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &["localhost", "127.0.0.1"], |_| Reply::ok(200, "me")).await;
    let world = World::with(ca, [], |_| {}).await;
    let lane = world.egress.lane();
    let port = host.address.port();
    for name in ["localhost", "127.0.0.1"] {
        let url = format!("https://{name}:{port}/x");
        let answer = world.client(&lane).get(&url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "me");
        assert_eq!(lane.take()[0].url, url);
    }
    assert_eq!(host.received()[0].server_name.as_deref(), Some("localhost"));
    assert_eq!(host.received()[1].server_name, None, "an address is no name");
}

#[tokio::test]
async fn a_function_that_waits_until_it_is_told_to_go_on() {
    let host = Host::plain(|_| Reply::ok(200, "ok")).await;
    let world = World::start([(HOST, &host)], |_| {}).await;
    let lane = world.egress.lane();
    let mut stream = TcpStream::connect(world.egress.address()).await.unwrap();
    let head = format!(
        "POST http://{HOST}/ HTTP/1.1\r\n{}\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n",
        credentials(&lane)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(host.received()[0].body, b"body");
    assert!(!host.received()[0].head.to_ascii_lowercase().contains("expect"));
    assert_eq!(lane.take()[0].sent_bytes, 4);
}

/// The host says no when it has seen the head, and reads no further.
#[tokio::test]
async fn an_answer_before_all_was_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (done, wait) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nno!").await.unwrap();
        let _ = wait.await;
    });
    let world = World::with(Ca::new(), [(HOST, address)], |settings| settings.body_bytes_max = 1 << 30).await;
    let lane = world.egress.lane();
    let answer = world.client(&lane).post(format!("http://{HOST}/")).body(vec![0; 64 << 20]).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.text().await.unwrap(), "no!");
    let exchange = lane.take().pop().unwrap();
    assert_eq!((exchange.status, exchange.received_bytes, exchange.error), (Some(401), 3, None));
    assert!(exchange.sent_bytes < 64 << 20);
    drop(done);
}
