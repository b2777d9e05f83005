//! Listeners: accept, speak HTTP/1.1 (with TLS where set, behind CONNECT on the googleapis listener), hand each request to
//! `handle`, stop cleanly.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use event::limits;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Busy, Phase, Timed};
use crate::googleapis::Googleapis;
use crate::handle::{Front, handle};
use crate::own::AnswerBody;

/// Where a server listens.
pub struct Listener {
    listener: TcpListener,
    before: Before,
}

/// What comes before HTTP.
#[derive(Clone)]
enum Before {
    Nothing,
    Tls(TlsAcceptor),
    Tunnel(Arc<Googleapis>),
}

/// Longest that a TLS handshake may take.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Pause after an accept that failed for want of descriptors or memory, so that the loop does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Listener {
    /// Takes the address. Port 0 takes a free port; [`Listener::address`] tells which.
    pub fn bind(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Listener> {
        Listener::bind_before(address, tls.map_or(Before::Nothing, |tls| Before::Tls(tls.into())))
    }

    /// Takes the address for programs that believe to speak with Google.
    pub fn bind_googleapis(address: SocketAddr, googleapis: Arc<Googleapis>) -> io::Result<Listener> {
        Listener::bind_before(address, Before::Tunnel(googleapis))
    }

    fn bind_before(address: SocketAddr, before: Before) -> io::Result<Listener> {
        Ok(Listener { listener: bind_tcp(address)?, before })
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` says so, then lets requests in flight finish for up to `stop_max`. Each open connection takes
    /// one of `places`, which all listeners of a server share.
    pub async fn serve(
        self,
        front: Arc<Front>,
        places: Arc<Semaphore>,
        mut stop: watch::Receiver<bool>,
        stop_max: Duration,
    ) {
        let mut connections = tokio::task::JoinSet::new();
        let closing = stop.clone();
        loop {
            let (stream, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = stopped(&mut stop) => break,
            };
            // A full house waits, one at the door and the others in the kernel's queue: nobody is turned away who would be
            // served a moment later. Only then, or a listener that nobody comes to would hold a place that another needs.
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
                () = stopped(&mut stop) => break,
            };
            // Replies are short and must not wait for a full segment.
            let _ = stream.set_nodelay(true);
            let (front, before, closing) = (Arc::clone(&front), self.before.clone(), closing.clone());
            connections.spawn(async move {
                match before {
                    Before::Nothing => serve_connection(stream, peer.ip(), front, closing).await,
                    Before::Tls(tls) => serve_tls(tls, stream, peer.ip(), front, closing).await,
                    Before::Tunnel(googleapis) => {
                        serve_tunnel(&googleapis, stream, peer.ip(), front, closing).await;
                    }
                }
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        let all_done = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(stop_max, all_done).await.is_err() {
            tracing::warn!("requests still in flight were cut off; none of them was acknowledged");
        }
    }
}

/// A listening socket; port 0 takes a free port.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Returns once the server is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve_tls(
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: IpAddr,
    front: Arc<Front>,
    closing: watch::Receiver<bool>,
) {
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_connection(stream, peer, front, closing).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn serve_tunnel(
    googleapis: &Googleapis,
    stream: TcpStream,
    peer: IpAddr,
    front: Arc<Front>,
    mut closing: watch::Receiver<bool>,
) {
    // Until a request can come there is nothing that a stop would have to wait for.
    let stream = tokio::select! {
        stream = googleapis.open(stream, peer) => stream,
        () = stopped(&mut closing) => None,
    };
    if let Some(stream) = stream {
        serve_connection(stream, peer, front, closing).await;
    }
}

async fn serve_connection<S>(stream: S, peer: IpAddr, front: Arc<Front>, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let phase = Arc::new(Phase::default());
    let stream = Timed::new(stream, Arc::clone(&phase), limits::HEAD_READ_MAX, limits::IDLE_MAX);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (front, phase) = (Arc::clone(&front), Arc::clone(&phase));
        async move {
            let busy = Arc::new(phase.busy());
            let response = handle(&front, request, peer, &busy).await;
            Ok::<Response<Answer>, Infallible>(response.map(|body| Answer { body, _busy: busy }))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// A reply's body that tells its connection when it is done, so that the wait for the next request is timed from there.
struct Answer {
    body: AnswerBody,
    _busy: Arc<Busy>,
}

impl hyper::body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, io::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Raises this process's limit of open files to what the system allows, since every connection is one.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is ours and lives through both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}
