//! Connects: a destination to a connection that speaks HTTP/1.1 with it. Names are resolved here and every address is
//! judged before it is connected to; what an operator put in place of a host changes the address and nothing else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::destination::{Destination, StandIns};
use crate::failure::{Failure, chain};
use crate::forward::Asked;
use crate::prompt::Prompt;
use crate::{EgressError, Reach};

/// A connection to a host, for one request after the other.
pub(crate) type Sender = SendRequest<Asked>;

/// How many of a name's addresses are tried.
const ADDRESSES_MAX: usize = 8;

/// How long an address is waited for before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to hosts and to what stands in for them.
pub(crate) struct Dialer {
    stand_ins: StandIns,
    reach: Reach,
    tls: TlsConnector,
}

impl Dialer {
    pub(crate) fn new(stand_ins: StandIns, reach: Reach, roots: RootCertStore) -> Result<Dialer, EgressError> {
        // The provider is handed over, not installed for the process.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(EgressError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Dialer { stand_ins, reach, tls: Arc::new(tls).into() })
    }

    /// A new connection, ready for a request.
    pub(crate) async fn dial(&self, to: &Destination) -> Result<Sender, Failure> {
        let addresses = self.addresses(to).await?;
        let stream = connect(&addresses)
            .await
            .map_err(|error| Failure::Connect { to: to.to_string(), text: error.to_string() })?;
        let stream = Prompt::new(stream);
        if !to.tls {
            return speak(stream, to).await;
        }
        let stream = self
            .tls
            .connect(to.server_name(), stream)
            .await
            .map_err(|error| Failure::Tls { to: to.to_string(), text: error.to_string() })?;
        speak(Ragged(stream), to).await
    }

    /// Where to connect to: only addresses that may be reached.
    async fn addresses(&self, to: &Destination) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port, reach) = match self.stand_ins.find(to) {
            Some((host, port)) => (host, port, Reach::Inside),
            None => (to.host.as_str(), to.port, self.reach),
        };
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, port).into()],
            Err(_) => {
                let name = |text: String| Failure::Name { host: host.to_owned(), text };
                let found: Vec<SocketAddr> =
                    tokio::net::lookup_host((host, port)).await.map_err(|error| name(error.to_string()))?.collect();
                if found.is_empty() {
                    return Err(name("it has no address".to_owned()));
                }
                found
            }
        };
        let mut refused = None;
        let mut addresses = Vec::new();
        for address in found {
            match reach.check(address.ip()) {
                Ok(()) => addresses.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(source) if addresses.is_empty() => Err(Failure::Unreachable { host: to.host.clone(), source }),
            _ => Ok(addresses),
        }
    }
}

/// The first of the addresses that takes a connection; those that are slow are not waited for.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (place, address) in (0_u32..).zip(addresses.iter().take(ADDRESSES_MAX).copied()) {
        attempts.spawn(async move {
            tokio::time::sleep(HEAD_START * place).await;
            TcpStream::connect(address).await
        });
    }
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(error) => failed = io::Error::other(error),
        }
    }
    Err(failed)
}

async fn speak<S>(stream: S, to: &Destination) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| Failure::Broken { to: to.to_string(), text: chain(&error) };
    let (mut sender, connection) = http1::Builder::new()
        // Some third parties are particular about how a header is written.
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends when the sender is dropped or the host leaves; what goes wrong is told to who waits for an answer.
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.map_err(broken)?;
    Ok(sender)
}

/// A TLS stream whose end need not be announced. Some servers just close; where that would cut an answer short, its own
/// length tells, and an answer without one ends there for every client that functions use.
struct Ragged<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Ragged<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ragged<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
