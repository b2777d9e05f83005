//! Syslog as devices and forwarders send it: over UDP, TCP, TLS and RELP, and what an acknowledgement stands for.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use penstock::config::{KeyedSyslog, PlainSyslog, PlainTransport, SyslogText, Tls};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use testkit::disk::SimDisk;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::sekoia::intake;
use crate::server::{TestServer, until};

/// A certificate for 127.0.0.1 in these files, and a client's settings that trust it alone.
fn certificate(dir: &Path) -> (Tls, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Tls { cert, key }, Arc::new(client))
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Where the server takes this in.
#[track_caller]
fn place(server: &TestServer, what: &str) -> SocketAddr {
    let found = server.server.places.iter().find(|place| place.what == what);
    found.unwrap_or_else(|| panic!("{what}: {:?}", server.server.places)).address
}

async fn connect(address: SocketAddr, client: &Arc<rustls::ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::clone(client)).connect(name, stream).await.unwrap()
}

fn line(key: &str, host: &str, text: &str) -> String {
    format!("<134>1 2026-11-21T20:39:32.650974+00:00 {host} app 42 LOG [SEKOIA@53288 intake_key=\"{key}\"] {text}")
}

fn counted(line: &str) -> String {
    format!("{} {line}\n", line.len() + 1)
}

fn relp(txnr: u32, command: &str, data: &str) -> String {
    format!("{txnr} {command} {} {data}\n", data.len())
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&read).ends_with(end) {
            let mut buffer = [0; 4_096];
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "the server closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), all).await.expect("the server answers");
    String::from_utf8(read).unwrap()
}

async fn open_relp<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let offers = "relp_version=0\nrelp_software=librelp,1.11.0\ncommands=syslog";
    stream.write_all(relp(1, "open", offers).as_bytes()).await.unwrap();
    let answer = read_until(stream, "commands=syslog\n").await;
    assert!(answer.starts_with("1 rsp ") && answer.contains("200 OK"), "{answer}");
}

/// Waits until this many rows are found.
async fn found(server: &TestServer, text: &str, count: usize) -> Vec<Value> {
    until(&format!("{text} is found"), async || server.search("raw", text).await.len() >= count).await;
    let rows = server.search("raw", text).await;
    assert_eq!(rows.len(), count, "{rows:?}");
    rows
}

fn label<'r>(row: &'r Value, key: &str) -> &'r str {
    let labels = row["labels"].as_array().unwrap();
    labels.iter().find(|label| label["key"] == key).map_or("", |label| label["value"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn keyed_lines_come_over_tls_and_relp() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, client) = certificate(dir.path());
    let server = TestServer::with(|config| {
        config.listen.syslog = Some(KeyedSyslog { address: Some(loopback()), tls: Some(tls.clone()) });
        config.listen.relp = Some(KeyedSyslog { address: Some(loopback()), tls: Some(tls) });
    })
    .await;
    let (id, key) = intake(&server, "UNBOUND_DNS").await;
    let mut stream = connect(place(&server, "syslog TLS"), &client).await;
    let too_long = line(&key, "hostA", &"x".repeat(300_000));
    let sent = [
        counted(&line(&key, "hostA", "over tls, counted")),
        format!("{}\n", line(&key, "hostA", "over tls, by line")),
        counted(&line("nobody's", "hostA", "of nobody")),
        counted(&too_long),
        counted(&line(&key, "hostB", "over tls, after them all")),
    ];
    // In pieces that end anywhere.
    for piece in sent.concat().as_bytes().chunks(1_000) {
        stream.write_all(piece).await.unwrap();
    }
    let rows = found(&server, "over tls", 3).await;
    let row = rows.iter().find(|row| row["text"] == "over tls, counted").unwrap();
    assert_eq!(row["event_time"], "2026-11-21T20:39:32.650974Z");
    assert_eq!((&row["log_type"], &row["feed"]), (&json!("UNBOUND_DNS"), &json!(format!("intakes/{id}"))));
    assert_eq!([label(row, "syslog.hostname"), label(row, "syslog.appname")], ["hostA", "app"]);
    assert_eq!([label(row, "syslog.facility"), label(row, "syslog.severity")], ["local0", "info"]);
    let status = server.get("/api/status").await;
    assert_eq!((&status["instances"][0]["refused"], &status["strangers_refused"]), (&json!(1), &json!(1)), "{status}");
    assert!(status.to_string().contains("not known") && !status.to_string().contains("nobody's"), "{status}");

    let mut stream = connect(place(&server, "RELP TLS"), &client).await;
    open_relp(&mut stream).await;
    let commands = [
        relp(2, "syslog", &line(&key, "hostA", "by relp one")),
        relp(3, "syslog", &line("nobody's", "hostA", "by relp of nobody")),
        relp(4, "syslog", &line(&key, "hostA", "by relp two")),
        "5 close 0\n".to_owned(),
    ];
    stream.write_all(commands.concat().as_bytes()).await.unwrap();
    let answers = read_until(&mut stream, "0 serverclose 0\n").await;
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers[0], "2 rsp 6 200 OK");
    assert!(
        answers[1].starts_with("3 rsp ")
            && answers[1].contains(" 500 The intake key is not known; `penstock intake create` makes one."),
        "{answers:?}"
    );
    assert_eq!(answers[2], "4 rsp 6 200 OK");
    found(&server, "by relp", 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acknowledgement_stands_for_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, client) = certificate(dir.path());
    let disk = SimDisk::new(1);
    let server = TestServer::on_disk(&disk, |config| {
        config.log.segment_bytes = 1 << 20;
        config.listen.relp = Some(KeyedSyslog { address: Some(loopback()), tls: Some(tls) });
    })
    .await;
    let (_, key) = intake(&server, "UNBOUND_DNS").await;
    let mut stream = connect(place(&server, "RELP TLS"), &client).await;
    open_relp(&mut stream).await;
    disk.hold_syncs();
    stream.write_all(relp(2, "syslog", &line(&key, "h", "held")).as_bytes()).await.unwrap();
    let waits = disk.clone();
    tokio::task::spawn_blocking(move || waits.wait_for_held_sync()).await.unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), stream.read_u8()).await;
    assert!(early.is_err(), "an answer left while its sync was held");
    disk.release_syncs();
    assert_eq!(read_until(&mut stream, "200 OK\n").await, "2 rsp 6 200 OK\n");

    // What cannot be written is not answered: the sender keeps it.
    disk.fail_syncs(true);
    stream.write_all(relp(3, "syslog", &line(&key, "h", "failed")).as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_cannot_do_better_have_a_port() {
    let server = TestServer::start().await;
    let (id, _) = intake(&server, "CISCO_ASA_FIREWALL").await;
    let (off, _) = intake(&server, "UNBOUND_DNS").await;
    server.api(http::Method::POST, &format!("/api/intakes/{off}:disable"), None).await;
    let mut config = server.config.clone();
    let dir = server.stop().await;
    let plain = |transport, intake: &str, text| PlainSyslog {
        address: loopback(),
        transport,
        intake: intake.to_owned(),
        text,
        allow_plain: false,
    };
    config.listen.plain_syslog = vec![
        plain(PlainTransport::Udp, &id, SyslogText::Line),
        plain(PlainTransport::Tcp, &id, SyslogText::Message),
        plain(PlainTransport::Udp, &off, SyslogText::Line),
    ];
    let server = TestServer::start_in(dir, config).await;
    let (udp, tcp) = (place(&server, "syslog udp"), place(&server, "syslog tcp"));
    let disabled = server.server.places[2].address;

    let device = UdpSocket::bind(loopback()).await.unwrap();
    let asa = "<166>Nov 21 2026 20:39:32: %ASA-6-302013: Built by datagram";
    let old = "<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed by datagram\n";
    for datagram in [asa, old, "no header by datagram"] {
        device.send_to(datagram.as_bytes(), udp).await.unwrap();
    }
    device.send_to(b"<13>refused by datagram", disabled).await.unwrap();
    let rows = found(&server, "by datagram", 3).await;
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&asa) && texts.contains(&old.trim_end()), "{texts:?}");
    let row = rows.iter().find(|row| row["text"].as_str().unwrap().contains("su root")).unwrap();
    assert_eq!([label(row, "syslog.hostname"), label(row, "syslog.appname")], ["mymachine", "su"]);
    assert_eq!([label(row, "syslog.severity"), label(row, "syslog.peer")], ["crit", "127.0.0.1"]);
    until("what the disabled intake was sent is named", async || {
        server.get("/api/status").await["troubles"].to_string().contains("is disabled")
    })
    .await;

    let mut stream = TcpStream::connect(tcp).await.unwrap();
    let new = "<165>1 2026-11-21T20:39:32Z host app - ID47 [x@1 y=\"z\"] by stream, counted";
    stream.write_all(format!("{} {new}{old}2026 by stream, bare", new.len()).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let rows = found(&server, "by stream", 2).await;
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"by stream, counted") && texts.contains(&"2026 by stream, bare"), "{texts:?}");
    let row = rows.iter().find(|row| row["text"] == "by stream, counted").unwrap();
    assert_eq!(label(row, "syslog.structured_data"), "[x@1 y=\"z\"]");
    server.stop().await;
}
