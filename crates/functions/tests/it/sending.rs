//! What functions send to third parties, seen by the egress proxy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::{Authority, Names};
use egress::{Egress, Reach};
use functions::{Call, Expects, Sandbox, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{World, call, settings};

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

/// A third party that answers with these statuses, one after the other, then with 201.
async fn third_party(statuses: Vec<u16>) -> (std::net::SocketAddr, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Mutex::new(0));
    let (statuses, count) = (Arc::new(Mutex::new(statuses.into_iter())), taken.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (statuses, count) = (statuses.clone(), count.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {
                    let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
                        continue;
                    }
                    seen.clear();
                    *count.lock().unwrap() += 1;
                    let status = statuses.lock().unwrap().next().unwrap_or(201);
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, taken)
}

async fn world(statuses: Vec<u16>) -> Option<(World, Arc<Mutex<u32>>)> {
    let (address, taken) = third_party(statuses).await;
    let dir = tempfile::tempdir().unwrap();
    let now = settings(dir.path()).now;
    let authority = Authority::make(Names::Any, now()).unwrap();
    let settings = egress::Settings {
        hosts: BTreeMap::from([("third.example".to_owned(), address.to_string())]),
        reach: Reach::Public,
        upstream_ca: None,
        timeout: Duration::from_secs(10),
        body_bytes_max: 1 << 20,
        now,
    };
    let egress = Arc::new(Egress::start(settings, authority).await.unwrap());
    let world = World::open_with(|settings| settings.egress = Some(egress)).await?;
    world.deploy("posts", POSTS, |spec| spec.expects = Expects::PerRecord).await;
    Some((world, taken))
}

/// What a batch comes to: state and note; and what is counted: requests, failed ones, those that arrived.
async fn check(statuses: Vec<u16>, batch: &[&str], state: State, note: &str, counts: (u64, u64, u32)) {
    let Some((world, taken)) = world(statuses).await else { return };
    let body = serde_json::to_string(batch).unwrap();
    let call = Call { records: Some(batch.len() as u64), ..call(body) };
    let answer = world.functions.invoke("posts", call).await.unwrap();
    assert_eq!((answer.status, answer.state, answer.note.as_deref().unwrap_or_default()), (200, state, note));
    let report = world.report("posts");
    assert_eq!((report.requests, report.requests_failed, *taken.lock().unwrap()), counts);
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
    let note = "1 error logged: HTTP Error 403: X; 1 of 2 records sent; \
                1 of 1 requests failed: POST http://third.example/todos was answered 403";
    check(vec![403], &["a", "b"], State::Suspicious, note, (1, 1, 1)).await;
}

#[tokio::test]
async fn there_is_no_way_past_the_proxy() {
    let Some((world, _)) = world(vec![]).await else { return };
    if *world.functions.sandbox() != Sandbox::Full {
        eprintln!("SKIPPED: {:?}", world.functions.sandbox());
        return;
    }
    let answer = world.call("posts", "[\"past the proxy\"]").await.unwrap();
    assert_eq!(answer.note.as_deref(), Some("1 error logged: [Errno 13] Permission denied"));
}
