//! What functions send to third parties, seen by the egress proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::{Authority, Names};
use egress::{Egress, Reach};
use functions::{Call, Expects, Sandbox, Spec, State};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::world::{World, call, now, zip};

/// Posts each record of a list, as the lab does; swallows what goes wrong, as the published samples do.
const POSTS: &str = r#"
import json, logging, socket, urllib.request

def handler(ctx, data=None):
    records = json.loads(data.getvalue())
    try:
        for record in records:
            if record == 'past the proxy':
                socket.create_connection(('127.0.0.1', 9), timeout=5)
            body = json.dumps(record).encode()
            request = urllib.request.Request('http://third.example/todos?key=secret', data=body, method='POST')
            urllib.request.urlopen(request, timeout=10).read()
            if record == 'typo':
                reponse.text
    except Exception as ex:
        logging.getLogger().error(str(ex))
"#;

/// A third party that answers with these statuses, one after the other, then with 201. In plain HTTP and in TLS.
struct ThirdParty {
    plain: SocketAddr,
    encrypted: SocketAddr,
    /// Who signed its certificate.
    ca: tempfile::NamedTempFile,
    taken: Arc<Mutex<u32>>,
}

impl ThirdParty {
    async fn start(statuses: Vec<u16>) -> ThirdParty {
        let now = now();
        let authority = Authority::make(Names::Any, now).unwrap();
        let leaf = authority.leaf(HOST, now).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), authority.certificate_pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.certificate], leaf.key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (plain, encrypted) = (listen().await, listen().await);
        let taken = Arc::new(Mutex::new(0));
        let party = ThirdParty {
            plain: plain.local_addr().unwrap(),
            encrypted: encrypted.local_addr().unwrap(),
            ca,
            taken: taken.clone(),
        };
        let statuses = Arc::new(Mutex::new(statuses.into_iter()));
        let answer = move || {
            *taken.lock().unwrap() += 1;
            statuses.lock().unwrap().next().unwrap_or(201)
        };
        tokio::spawn({
            let answer = answer.clone();
            async move {
                while let Ok((stream, _)) = plain.accept().await {
                    tokio::spawn(serve(stream, answer.clone()));
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = encrypted.accept().await {
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                tokio::spawn(async move { serve(acceptor.accept(stream).await.unwrap(), answer).await });
            }
        });
        party
    }

    async fn world(&self) -> Option<World> {
        let authority = Authority::make(Names::Any, now()).unwrap();
        let settings = egress::Settings {
            hosts: BTreeMap::from([
                (format!("{HOST}:80"), self.plain.to_string()),
                (format!("{HOST}:443"), self.encrypted.to_string()),
            ]),
            reach: Reach::Public,
            upstream_ca: Some(self.ca.path().to_owned()),
            timeout: Duration::from_secs(10),
            body_bytes_max: 1 << 20,
            now: Arc::new(now),
        };
        let egress = Arc::new(Egress::start(settings, authority).await.unwrap());
        World::open_with(|settings| settings.egress = Some(egress)).await
    }
}

const HOST: &str = "third.example";

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn() -> u16) {
    let mut seen = Vec::new();
    while stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {
        let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        seen.clear();
        let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 2\r\n\r\n{{}}", answer());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// What a batch comes to: state and note; and what is counted: requests, failed ones, those that arrived.
async fn check(statuses: Vec<u16>, batch: &[&str], state: State, note: &str, counts: (u64, u64, u32)) {
    let party = ThirdParty::start(statuses).await;
    let Some(world) = party.world().await else { return };
    world.deploy("posts", POSTS, |spec| spec.expects = Expects::PerRecord).await;
    let body = serde_json::to_string(batch).unwrap();
    let call = Call { records: Some(batch.len() as u64), ..call(body) };
    let answer = world.functions.invoke("posts", call).await.unwrap();
    assert_eq!((answer.status, answer.state, answer.note.as_deref().unwrap_or_default()), (200, state, note));
    let report = world.report("posts");
    assert_eq!((report.requests, report.requests_failed, *party.taken.lock().unwrap()), counts);
}

#[tokio::test]
async fn all_records_sent_is_ok() {
    check(vec![], &["a", "b"], State::Ok, "", (2, 0, 2)).await;
}

#[tokio::test]
async fn a_typo_after_the_first_record_is_suspicious() {
    let note = "1 error logged: name 'reponse' is not defined; 1 of 5 records sent";
    check(vec![], &["typo", "b", "c", "d", "e"], State::Suspicious, note, (1, 0, 1)).await;
}

#[tokio::test]
async fn a_third_party_that_refuses_is_named_without_secrets() {
    let note = "1 error logged: HTTP Error 403: X; 0 of 2 records sent; \
                1 of 1 requests failed: POST http://third.example/todos was answered 403";
    check(vec![403], &["a", "b"], State::Suspicious, note, (1, 1, 1)).await;
}

#[tokio::test]
async fn there_is_no_way_past_the_proxy() {
    let Some(world) = ThirdParty::start(vec![]).await.world().await else { return };
    world.deploy("posts", POSTS, |_| {}).await;
    if *world.functions.sandbox() != Sandbox::Full {
        eprintln!("SKIPPED: {:?}", world.functions.sandbox());
        return;
    }
    let answer = world.call("posts", "[\"past the proxy\"]").await.unwrap();
    assert_eq!(answer.note.as_deref(), Some("1 error logged: [Errno 13] Permission denied"));
}

/// The way of the lab: `requests` from its requirements, over TLS, with nothing set up in the code.
#[tokio::test]
async fn requests_goes_through_unchanged() {
    let party = ThirdParty::start(vec![201, 201, 500]).await;
    let Some(world) = party.world().await else { return };
    let code = "import json, requests\n\ndef handler(ctx, data=None):\n    \
                for record in json.loads(data.getvalue()):\n        \
                requests.post('https://third.example/todos', json=record, timeout=10)\n";
    let archive = zip(&[("func.py", code), ("requirements.txt", "fdk>=0.1.61\nrequests\n")]);
    let installed = world.functions.install("lab", archive, &|_| {}).await.unwrap();
    assert!(installed.packages.iter().any(|package| package.starts_with("urllib3 ")), "{installed:?}");
    let mut spec = Spec::new("lab", "lab");
    spec.version = Some(installed.version);
    spec.expects = Expects::PerRecord;
    world.functions.apply(vec![spec]).await;
    let call = || Call { records: Some(2), ..call("[1, 2]") };
    let first = world.functions.invoke("lab", call()).await.unwrap();
    assert_eq!((first.state, first.note), (State::Ok, None));
    // The code does not look at the answer; we do.
    let second = world.functions.invoke("lab", call()).await.unwrap();
    let note = "1 of 2 requests failed: POST https://third.example/todos was answered 500";
    assert_eq!((second.state, second.note.as_deref()), (State::Suspicious, Some(note)));
}
