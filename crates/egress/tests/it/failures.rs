//! What goes wrong: on our side an answer that says so, at the host or in the function, and always recorded.

use std::net::SocketAddr;
use std::time::Duration;

use egress::{Exchange, Lane, Reach};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Ca, HOST, Host, Reply, World, credentials, trusting};

/// The one exchange of a lane.
fn only(lane: &Lane) -> Exchange {
    let mut exchanges = lane.take();
    assert_eq!(exchanges.len(), 1, "{exchanges:?}");
    exchanges.pop().unwrap()
}

/// A CONNECT and its answer's status line.
async fn connect(world: &World, lane: &Lane, target: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(world.egress.address()).await.unwrap();
    // As Python's http.client up to 3.11 writes it.
    let head = format!("CONNECT {target} HTTP/1.0\r\n{}\r\n\r\n", credentials(lane));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let line = String::from_utf8(answer).unwrap().lines().next().unwrap().to_owned();
    (stream, line)
}

/// A port on which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn addresses_out_of_reach() {
    let public = "only what the operator made or allowed may send there";
    let cases = [
        (Reach::Public, "127.0.0.1", public),
        (Reach::Public, "10.0.0.1", public),
        (Reach::Public, "[::1]", public),
        (Reach::Public, "[::ffff:192.168.0.1]", public),
        // A name that leads inside.
        (Reach::Public, "localhost", public),
        (Reach::Public, "169.254.169.254", "link-local (cloud metadata)"),
        (Reach::Inside, "169.254.169.254", "link-local (cloud metadata)"),
        (Reach::Inside, "[fd00:ec2::254]", "metadata"),
        (Reach::Inside, "[::ffff:169.254.169.254]", "link-local (cloud metadata)"),
    ];
    for (reach, host, part) in cases {
        let world = World::with(Ca::new(), [], |settings| settings.reach = reach).await;
        let lane = world.egress.lane();
        let (_, line) = connect(&world, &lane, &format!("{host}:443")).await;
        assert!(line.starts_with("HTTP/1.0 502 ") && line.contains(part), "{host}: {line}");
        let exchange = only(&lane);
        assert_eq!((exchange.method.as_str(), exchange.status), ("CONNECT", None), "{host}");
        assert!(exchange.error.unwrap().contains(part), "{host}");

        let answer = world.client(&lane).get(format!("http://{host}/latest/meta-data")).send().await.unwrap();
        assert_eq!(answer.status(), 502, "{host}");
        assert!(answer.text().await.unwrap().contains(part), "{host}");
        assert_eq!(only(&lane).status, None, "{host}");
    }
}

#[tokio::test]
async fn a_dead_third_party() {
    let world = World::with(Ca::new(), [(HOST, nobody().await)], |_| {}).await;
    let lane = world.egress.lane();
    // As without a proxy: an exception while it connects.
    let error = world.client(&lane).get(format!("https://{HOST}/todos")).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let exchange = only(&lane);
    assert_eq!((exchange.method.as_str(), exchange.url.clone()), ("CONNECT", format!("https://{HOST}/")));
    let expected = format!("cannot connect to {HOST}:443: Connection refused");
    assert!(exchange.error.clone().unwrap().starts_with(&expected), "{exchange:?}");
    let (_, line) = connect(&world, &lane, &format!("{HOST}:443")).await;
    assert!(line.contains(&expected), "the reason is what clients show: {line}");
    only(&lane);

    let answer = world.client(&lane).get(format!("http://{HOST}/todos")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("Connection refused"));
    assert_eq!(only(&lane).url, format!("http://{HOST}/todos"));

    let (_, line) = connect(&world, &lane, "no-such-host.invalid:443").await;
    assert!(line.starts_with("HTTP/1.0 502 no-such-host.invalid cannot be resolved"), "{line}");
}

#[tokio::test]
async fn hosts_that_are_not_who_they_should_be() {
    let ca = Ca::new();
    let other_name = Host::tls(&ca, &["example.com"], |_| Reply::ok(200, "")).await;
    let other_ca = Host::tls(&Ca::new(), &[HOST], |_| Reply::ok(200, "")).await;
    let no_tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts =
        [("name.example", other_name.address), (HOST, other_ca.address), ("tls.example", no_tls.local_addr().unwrap())];
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = no_tls.accept().await {
            stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        }
    });
    let world = World::with(ca, hosts, |_| {}).await;
    let lane = world.egress.lane();
    for (host, part) in
        [("name.example", "not valid for name"), (HOST, "invalid peer certificate"), ("tls.example", "no TLS with")]
    {
        let (_, line) = connect(&world, &lane, &format!("{host}:443")).await;
        assert!(line.starts_with("HTTP/1.0 502 ") && line.contains(part), "{host}: {line}");
        assert!(only(&lane).error.unwrap().contains(part), "{host}");
    }
    assert!(other_name.received().is_empty() && other_ca.received().is_empty());
}

#[tokio::test]
async fn nobody_without_a_token() {
    let host = Host::plain(|_| Reply::ok(200, "")).await;
    let world = World::start([(HOST, &host)], |_| {}).await;
    let lane = world.egress.lane();
    let ended = credentials(&world.egress.lane());
    for credentials in [
        "X: y",
        "Proxy-Authorization: Basic ",
        "Proxy-Authorization: Basic !!!",
        "Proxy-Authorization: Basic eDp4",
        "Proxy-Authorization: Bearer x",
        &ended,
    ] {
        for line in [format!("CONNECT {HOST}:443"), format!("GET http://{HOST}/"), "GET /".to_owned()] {
            let answer = world.raw(&format!("{line} HTTP/1.1\r\nConnection: close\r\n{credentials}\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 407 "), "{credentials}: {answer}");
            assert!(answer.contains("proxy-authenticate: Basic"), "{credentials}: {answer}");
        }
    }
    assert!(host.received().is_empty() && lane.take().is_empty());
}

#[tokio::test]
async fn requests_that_are_none_for_a_proxy() {
    let world = World::with(Ca::new(), [], |_| {}).await;
    let lane = world.egress.lane();
    for line in [
        "GET /todos",
        "GET ftp://example.com/",
        "CONNECT example.com",
        "CONNECT example.com:0",
        "CONNECT *.example.com:443",
    ] {
        let head = format!("{line} HTTP/1.1\r\nConnection: close\r\nHost: x\r\n{}\r\n\r\n", credentials(&lane));
        let answer = world.raw(&head).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_lane_that_was_dropped_takes_its_connections_along() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(200, "")).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let (dropped, kept) = (world.egress.lane(), world.egress.lane());
    let target = format!("{HOST}:443");
    let (mut of_dropped, line) = connect(&world, &dropped, &target).await;
    assert!(line.starts_with("HTTP/1.0 200 "), "{line}");
    let (mut of_kept, _) = connect(&world, &kept, &target).await;
    let mut plain = TcpStream::connect(world.egress.address()).await.unwrap();
    let head = format!("GET http://{HOST}:1/ HTTP/1.1\r\n{}\r\n\r\n", credentials(&dropped));
    plain.write_all(head.as_bytes()).await.unwrap();
    recorded(&dropped).await;
    drop(dropped);
    assert_eq!(of_dropped.read(&mut [0]).await.unwrap(), 0);
    // It ends, be the answer read or not.
    let _ = plain.read_to_end(&mut Vec::new()).await;
    world.egress.stop().await;
    assert_eq!(of_kept.read(&mut [0]).await.unwrap(), 0);
    assert!(TcpStream::connect(world.egress.address()).await.is_err());
}

#[tokio::test]
async fn only_tls_passes_through_a_tunnel() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(200, "")).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let (mut stream, line) = connect(&world, &lane, &format!("{HOST}:25")).await;
    assert!(line.starts_with("HTTP/1.0 200 "), "{line}");
    stream.write_all(b"EHLO example.com\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 only TLS"), "{answer}");
    let exchange = only(&lane);
    assert_eq!((exchange.url, exchange.status), (format!("https://{HOST}:25/"), None));
    assert!(exchange.error.unwrap().contains("only TLS"));
    assert!(host.received().is_empty());
}

#[tokio::test]
async fn a_function_that_does_not_trust_us() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::ok(200, "")).await;
    let theirs = trusting(&std::fs::read_to_string(ca.file()).unwrap());
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let client = world.builder(&lane).tls_backend_preconfigured(theirs).build().unwrap();
    client.get(format!("https://{HOST}/")).send().await.unwrap_err();
    // The client may be gone before its alert has been read.
    let exchange = recorded(&lane).await;
    assert!(exchange.error.clone().unwrap().contains("REQUESTS_CA_BUNDLE"), "{exchange:?}");
    assert!(host.received().is_empty());
}

/// The one exchange of a lane, once it is there.
async fn recorded(lane: &Lane) -> Exchange {
    let waiting = async {
        while lane.count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    only(lane)
}

#[tokio::test]
async fn hosts_that_do_not_answer() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| match received.line() {
        "GET /silent HTTP/1.1" => Reply::Silence,
        "GET /gone HTTP/1.1" => Reply::Close(Vec::new()),
        "GET /nonsense HTTP/1.1" => Reply::Close(b"hello\r\n\r\n".to_vec()),
        "GET /switch HTTP/1.1" => Reply::Close(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n".to_vec()),
        other => panic!("{other}"),
    })
    .await;
    let timeout = Duration::from_millis(400);
    let world = World::with(ca, [(HOST, host.address)], |settings| settings.timeout = timeout).await;
    let lane = world.egress.lane();
    let cases = [
        ("silent", 504, "no answer from jsonplaceholder.typicode.com:443 within 0.4 s"),
        ("gone", 502, "no answer from jsonplaceholder.typicode.com:443: connection closed"),
        ("nonsense", 502, "no answer from jsonplaceholder.typicode.com:443: invalid HTTP"),
        ("switch", 502, "another protocol"),
    ];
    for (path, status, part) in cases {
        let answer = world.client(&lane).get(format!("https://{HOST}/{path}")).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(part), "{path}: {text}");
        let exchange = only(&lane);
        assert_eq!((exchange.method.as_str(), exchange.status), ("GET", None), "{path}");
        assert!(exchange.error.unwrap().contains(part), "{path}");
    }
}

#[tokio::test]
async fn answers_that_break_off() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| match received.line() {
        "GET /cut HTTP/1.1" => Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345".to_vec()),
        "GET /stuck HTTP/1.1" => Reply::Stay(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n1234567".to_vec()),
        other => panic!("{other}"),
    })
    .await;
    let timeout = Duration::from_millis(400);
    let world = World::with(ca, [(HOST, host.address)], |settings| settings.timeout = timeout).await;
    let lane = world.egress.lane();
    for (path, bytes, part) in [("cut", 5, "broke off"), ("stuck", 7, "stopped for 0.4 s")] {
        let answer = world.client(&lane).get(format!("https://{HOST}/{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap_err();
        let exchange = only(&lane);
        assert_eq!((exchange.status, exchange.received_bytes), (Some(200), bytes), "{path}");
        assert!(exchange.error.clone().unwrap().contains(part), "{exchange:?}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |received| match received.line() {
        "GET /told HTTP/1.1" => Reply::Stay(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_vec()),
        "GET /untold HTTP/1.1" => {
            let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500)).repeat(3);
            Reply::Stay(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into())
        }
        _ => Reply::ok(200, &"x".repeat(1_000)),
    })
    .await;
    let world = World::with(ca, [(HOST, host.address)], |settings| settings.body_bytes_max = 1_000).await;
    let lane = world.egress.lane();
    let post = |body: reqwest::Body| world.client(&lane).post(format!("https://{HOST}/")).body(body).send();
    let chunked = |bytes: usize| {
        let chunks = vec![vec![b'x'; bytes / 2]; 2];
        reqwest::Body::wrap_stream(Chunks(chunks.into_iter()))
    };

    let answer = post(vec![b'x'; 1_000].into()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, 1_000));
    let exchange = only(&lane);
    assert_eq!((exchange.sent_bytes, exchange.received_bytes, exchange.error), (1_000, 1_000, None));
    assert_eq!(post(chunked(1_000)).await.unwrap().status(), 200);
    assert_eq!(only(&lane).sent_bytes, 1_000);

    for body in [vec![b'x'; 1_001].into(), chunked(1_002)] {
        let answer = post(body).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert!(only(&lane).error.unwrap().contains("larger than 1000 bytes"));
    }

    let get = |path: &str| world.client(&lane).get(format!("https://{HOST}/{path}")).send();
    let answer = get("told").await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(only(&lane).error.unwrap().contains("larger than 1000 bytes"));
    let answer = get("untold").await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap_err();
    let exchange = only(&lane);
    assert_eq!(exchange.status, Some(200));
    assert!(exchange.error.unwrap().contains("larger than 1000 bytes"));
}

/// A stream of chunks.
struct Chunks(std::vec::IntoIter<Vec<u8>>);

impl futures_core::Stream for Chunks {
    type Item = std::io::Result<Vec<u8>>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next().map(Ok))
    }
}

#[tokio::test]
async fn a_function_that_does_not_wait() {
    let ca = Ca::new();
    let host = Host::tls(&ca, &[HOST], |_| Reply::Silence).await;
    let world = World::with(ca, [(HOST, host.address)], |_| {}).await;
    let lane = world.egress.lane();
    let asking = tokio::spawn(world.client(&lane).get(format!("https://{HOST}/slow")).send());
    host.wait_for(1).await;
    asking.abort();
    let exchange = recorded(&lane).await;
    assert_eq!((exchange.url, exchange.status), (format!("https://{HOST}/slow"), None));
    assert_eq!(exchange.error.as_deref(), Some("the function did not wait for the answer"));
}
