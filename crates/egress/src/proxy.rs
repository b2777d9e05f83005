//! The listener and its connections: whose each is, what is asked through it, and tunnels, whose TLS ends here.
//!
//! hyper keeps the clock of connections: who does not come to the end of a head, or idles, is let go.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use authority::Begun;
use base64::Engine as _;
use bytes::BytesMut;
use event::limits;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use crate::Shared;
use crate::destination::Destination;
use crate::failure::Failure;
use crate::forward::{Answer, forward, prepare, refusal};
use crate::lane::{Open, Record};
use crate::prompt::Prompt;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;

/// How long a connection may idle, and a head take to come.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long the beginning of a tunnel may take, from our yes to the end of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often connections to hosts that idle are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How long no connection is accepted after that has failed, most likely for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The first byte of a TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves connections until it is aborted, and all of them with it.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(&shared), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a function");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = sweep.tick() => {
                let lanes: Vec<Arc<Open>> = shared.lanes().values().cloned().collect();
                lanes.iter().for_each(|lane| lane.sweep());
            }
        }
    }
}

/// What has come out of a connection's requests so far.
#[derive(Default)]
struct Said {
    /// The lane of the first that had one; all of a client's have the same.
    lane: watch::Sender<Option<Arc<Open>>>,
    /// The tunnel that the last one agreed on.
    tunnel: Mutex<Option<Tunnel>>,
}

/// A tunnel that was agreed on.
struct Tunnel {
    lane: Arc<Open>,
    to: Destination,
    upgrade: OnUpgrade,
    _room: OwnedSemaphorePermit,
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let said = Said::default();
    let talking = async {
        let service = service_fn(|request| {
            let (shared, said) = (&shared, &said);
            async move { Ok::<_, Infallible>(answer(shared, said, request).await) }
        });
        // What goes wrong here is the client's leaving.
        let _ = server().serve_connection(TokioIo::new(Prompt::new(stream)), service).with_upgrades().await;
        let tunnel = said.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tunnel) = tunnel {
            tunnel.run(&shared).await;
        }
    };
    let ended = async {
        let mut lane = said.lane.subscribe();
        // The sender outlives this, so that only a lane ends the wait.
        let lane = lane.wait_for(Option::is_some).await.ok().and_then(|lane| lane.clone());
        match lane {
            Some(lane) => lane.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = talking => {}
        () = ended => {}
    }
}

fn server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .preserve_header_case(true);
    builder
}

/// Answers one request to the proxy itself: a tunnel, or a request for `http://`.
async fn answer(shared: &Shared, said: &Said, mut request: Request<Incoming>) -> Answer {
    let Some(lane) = whose(shared, request.headers()) else {
        let mut refused = refusal(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "the proxy's URL holds no token, or one that has ended; use it as HTTPS_PROXY says it",
        );
        let ask = HeaderValue::from_static("Basic realm=\"penstock\"");
        refused.headers_mut().insert(header::PROXY_AUTHENTICATE, ask);
        return refused;
    };
    said.lane.send_if_modified(|of_connection| {
        let is_first = of_connection.is_none();
        of_connection.get_or_insert_with(|| Arc::clone(&lane));
        is_first
    });
    let is_connect = request.method() == Method::CONNECT;
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let to = match request.uri().scheme() {
        // A tunnel always says its port.
        None if is_connect && request.uri().port().is_some() => Destination::parse(true, authority),
        Some(scheme) if *scheme == uri::Scheme::HTTP => Destination::parse(false, authority),
        Some(scheme) if *scheme == uri::Scheme::HTTPS => Destination::parse(true, authority),
        _ => None,
    };
    let Some(to) = to else {
        let failure = Failure::Request("this is a proxy: it is asked by CONNECT HOST:PORT, or for http://HOST/…");
        return refusal(failure.status(), &failure.text());
    };
    let room = tokio::time::timeout(shared.timeout, Arc::clone(&lane.room).acquire_owned()).await;
    if !is_connect {
        let Ok(Ok(_room)) = room else {
            return refused_by(
                shared,
                &lane,
                request.method().as_str(),
                to.url(request.uri().path()),
                &Failure::Crowded,
            );
        };
        return forward(shared, &lane, &to, request).await;
    }
    let ready = match room {
        Ok(Ok(room)) => prepare(shared, &lane, &to).await.map(|()| room),
        _ => Err(Failure::Crowded),
    };
    match ready {
        Ok(room) => {
            let upgrade = hyper::upgrade::on(&mut request);
            let tunnel = Tunnel { lane, to, upgrade, _room: room };
            *said.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
            Response::new(Either::Left(Full::default()))
        }
        Err(failure) => refused_by(shared, &lane, "CONNECT", to.url("/"), &failure),
    }
}

/// Records a failure and answers with it.
fn refused_by(shared: &Shared, lane: &Arc<Open>, method: &str, url: String, failure: &Failure) -> Answer {
    Record::begin(lane, method, url, (shared.now)()).failed(failure.text());
    refusal(failure.status(), &failure.text())
}

/// The lane that the token in the proxy's URL belongs to.
fn whose(shared: &Shared, headers: &HeaderMap) -> Option<Arc<Open>> {
    let value = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = base64::engine::general_purpose::STANDARD.decode(credentials.trim()).ok()?;
    let token = credentials.split(|byte| *byte == b':').next()?;
    shared.lanes().get(std::str::from_utf8(token).ok()?).cloned()
}

impl Tunnel {
    async fn run(self, shared: &Arc<Shared>) {
        let Tunnel { lane, to, upgrade, _room } = self;
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let failed = |text: String| {
            Record::begin(&lane, "CONNECT", to.url("/"), (shared.now)()).failed(text);
        };

        let mut begun = BytesMut::with_capacity(1 << 10);
        match tokio::time::timeout(HANDSHAKE_MAX, stream.read_buf(&mut begun)).await {
            Ok(Ok(1..)) => {}
            // It left as it came.
            Ok(_) => return,
            Err(_) => return failed("nothing was said in the tunnel, through which only TLS may pass".to_owned()),
        }
        if begun[0] != TLS_HANDSHAKE {
            let text = "only TLS may pass through a tunnel, and what was said in it is none";
            failed(text.to_owned());
            let answer = format!(
                "HTTP/1.1 502 {text}\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}\n",
                text.len() + 1
            );
            // Whoever does not listen to the reason does not get it.
            let told = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            };
            let _ = tokio::time::timeout(HANDSHAKE_MAX, told).await;
            return;
        }

        let config = match shared.hosts.config(&to.host, (shared.now)()) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(host = to.host, %error, "no certificate can be made");
                return failed(Failure::Certificate { host: to.host.clone(), text: error.to_string() }.text());
            }
        };
        let accepting = TlsAcceptor::from(config).accept(Begun { begun: begun.freeze(), stream });
        let stream = match tokio::time::timeout(HANDSHAKE_MAX, accepting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return failed(format!(
                    "the function did not take the TLS that it met: {error}. Does it trust the file that \
                     REQUESTS_CA_BUNDLE names?"
                ));
            }
            Err(_) => return failed("the function did not come to the end of its TLS handshake".to_owned()),
        };
        let service = service_fn(|request: Request<Incoming>| {
            let (lane, to) = (&lane, &to);
            async move {
                Ok::<_, Infallible>(if request.method() == Method::CONNECT {
                    let failure = Failure::Request("a tunnel in a tunnel is not dug");
                    refused_by(shared, lane, "CONNECT", to.url("/"), &failure)
                } else {
                    forward(shared, lane, to, request).await
                })
            }
        });
        // What goes wrong here is the client's leaving.
        let _ = server().serve_connection(TokioIo::new(stream), service).await;
    }
}
