//! A fake third party for tests: an HTTP receiver on loopback that records every request and answers as scripted.
//!
//! It speaks real HTTP/1.1 over a real socket, so that tests drive the client that ships. Absent on purpose: TLS, and
//! any opinion on what the requests should say; a test reads [`Received`] and judges.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A receiver on 127.0.0.1, on a port of its own, until it is dropped. Must be started within a tokio runtime.
pub struct ThirdParty {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`, …
    pub method: String,
    /// Path and query as on the request line.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as sent, still compressed if it was.
    pub body: Bytes,
}

impl Received {
    /// The value of a header; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body with its `Content-Encoding: gzip` undone.
    pub fn plain(&self) -> Vec<u8> {
        if self.header("content-encoding") != "gzip" {
            return self.body.to_vec();
        }
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut plain).expect("the body says that it is gzip");
        plain
    }

    /// The plain body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.plain()).expect("the body is text")
    }
}

/// What the receiver does with one request, always after having read it whole.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    AtOnce,
    After(Duration),
    /// When the test calls [`ThirdParty::release`]; a receiver that hangs is one that is never released.
    Held,
    /// The connection is closed without an answer.
    Dropped,
}

impl Answer {
    /// 200 with `{}`.
    pub fn ok() -> Answer {
        Answer::status(200).body("{}")
    }

    /// This status with an empty body, at once.
    pub fn status(status: u16) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a test names a valid status"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            manner: Manner::AtOnce,
        }
    }

    /// Closes the connection instead of answering.
    pub fn dropped() -> Answer {
        Answer { manner: Manner::Dropped, ..Answer::ok() }
    }

    /// Holds this answer back until [`ThirdParty::release`].
    pub fn held(self) -> Answer {
        Answer { manner: Manner::Held, ..self }
    }

    /// Gives this answer after a delay.
    pub fn after(self, delay: Duration) -> Answer {
        Answer { manner: Manner::After(delay), ..self }
    }

    /// With this body.
    pub fn body(self, body: impl Into<Bytes>) -> Answer {
        Answer { body: body.into(), ..self }
    }

    /// With this header.
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a test names a valid header"),
            HeaderValue::from_str(value).expect("a test gives a valid header value"),
        );
        self
    }

    /// With `Retry-After`: seconds or an HTTP date.
    pub fn retry_after(self, value: &str) -> Answer {
        self.header(header::RETRY_AFTER.as_str(), value)
    }
}

type Rule = dyn Fn(&Received) -> Answer + Send + Sync;

struct Shared {
    state: Mutex<State>,
    /// Number of requests received so far.
    received: watch::Sender<usize>,
    /// Number of calls of `release`.
    released: watch::Sender<usize>,
}

struct State {
    received: Vec<Received>,
    script: VecDeque<Answer>,
    rule: Arc<Rule>,
}

impl ThirdParty {
    /// Starts a receiver that answers 200 to everything until told otherwise.
    pub async fn start() -> ThirdParty {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                received: Vec::new(),
                script: VecDeque::new(),
                rule: Arc::new(|_: &Received| Answer::ok()),
            }),
            received: watch::Sender::new(0),
            released: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        ThirdParty { address, shared, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` with this path (which begins with `/`).
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests like this, in order; requests beyond the script go by the rule.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state().script.extend(answers);
    }

    /// Answers every request beyond the script by this rule.
    pub fn rule(&self, rule: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.shared.state().rule = Arc::new(rule);
    }

    /// Lets every answer go that is held now.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// All requests so far, in the order in which they had been read whole.
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// Waits until at least `count` requests came and gives all so far. Panics after 30 s: the test has failed.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut received = self.shared.received.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(30), received.wait_for(|have| *have >= count)).await;
        let outcome = waited.map(|changed| changed.is_ok());
        assert_eq!(outcome, Ok(true), "expected {count} requests, got {}", self.received().len());
        self.received()
    }
}

/// Closes the port; connections still open end with their client.
impl Drop for ThirdParty {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, so that a receiver that is gone no longer serves kept-alive connections either.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            // An error here is a client that went away or a `Dropped` answer.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Why no answer is given.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the script says to close the connection")
    }
}

impl std::error::Error for Hangup {}

impl From<Infallible> for Hangup {
    fn from(never: Infallible) -> Hangup {
        match never {}
    }
}

async fn answer(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, Hangup> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
    let path = head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), ToString::to_string);
    let received = Received { method: head.method.to_string(), path, headers: head.headers, body };

    let (answer, mut released) = {
        let mut state = shared.state();
        let answer = match state.script.pop_front() {
            Some(scripted) => scripted,
            None => (state.rule)(&received),
        };
        state.received.push(received);
        let count = state.received.len();
        // Subscribed before the test can see the request, so that its `release` cannot be missed.
        let released = shared.released.subscribe();
        shared.received.send_replace(count);
        (answer, released)
    };

    match answer.manner {
        Manner::AtOnce => {}
        Manner::After(delay) => tokio::time::sleep(delay).await,
        Manner::Held => released.changed().await.map_err(|_| Hangup)?,
        Manner::Dropped => return Err(Hangup),
    }
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}
