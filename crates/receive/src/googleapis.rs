//! The googleapis listener's side of a connection, from its first byte to where HTTP begins: read `CONNECT HOST:443`, say
//! yes, end TLS as that host. What is asked then is the front door's business like any other request.
//!
//! For programs that cannot be told of another address than Google's: with `HTTPS_PROXY` naming the listener and
//! `REQUESTS_CA_BUNDLE` naming the authority's certificate they reach us unchanged (contracts/chronicle.md §1.2).
//! [`crate::connect`] decides what is served, [`authority`] makes certificates. Nothing is ever passed on to
//! Google or anybody else.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use authority::{Authority, Begun, Hosts, Sessions};
use bytes::{Buf, Bytes, BytesMut};
use event::{Time, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connect::{self, GoogleHost, NoTunnel, Said};
use crate::server::HANDSHAKE_MAX;

/// What the listener's connections share.
pub struct Googleapis {
    /// Without sessions: clients that care keep their connections alive.
    hosts: Hosts,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// What was refused before, so that a program that tries again and again is logged once.
    refused: Mutex<HashSet<String>>,
}

/// The yes to a CONNECT. It has no length: what follows is the tunnel.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How much a refused client may still send, and for how long, before the connection is cut on it: one that is cut off
/// while it sends sees a broken connection instead of the reason.
const DRAIN_BYTES_MAX: u64 = 64 << 10;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Most refusals that are remembered; beyond that none is logged.
const REFUSED_MAX: usize = 1_000;

impl Googleapis {
    /// With an authority that signs for the hosts.
    pub fn new(authority: Authority, now: Arc<dyn Fn() -> Time + Send + Sync>) -> Googleapis {
        Googleapis { hosts: Hosts::new(authority, Sessions::Never), now, refused: Mutex::default() }
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        self.hosts.authority()
    }

    /// Takes a connection to where HTTP begins. `None` where it does not come to that; the client was told why.
    pub(crate) async fn open<S>(&self, mut stream: S, peer: IpAddr) -> Option<TlsStream<Begun<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (host, begun) = match tokio::time::timeout(limits::HEAD_READ_MAX, read_head(&mut stream)).await {
            Ok(Ok(Some(asked))) => asked,
            Ok(Ok(None)) => return None,
            Ok(Err(Failed::Refused(why))) => {
                self.refuse(stream, peer, &why).await;
                return None;
            }
            Ok(Err(Failed::Io(error))) => {
                tracing::debug!(%peer, %error, "a connection ended before CONNECT");
                return None;
            }
            Err(_) => {
                self.refuse(stream, peer, &NoTunnel::TimedOut).await;
                return None;
            }
        };
        let tls = match self.hosts.config(host.as_str(), (self.now)()) {
            Ok(config) => TlsAcceptor::from(config),
            Err(error) => {
                tracing::error!(host = host.as_str(), %error, "no certificate can be made");
                return None;
            }
        };
        let handshake = async {
            stream.write_all(ESTABLISHED).await?;
            tls.accept(Begun { begun, stream }).await
        };
        match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                let hint = "if a certificate is refused: does the client trust what `penstock ca` prints?";
                self.note(format!("{} {error}", host.as_str()), || {
                    tracing::warn!(%peer, host = host.as_str(), %error, hint, "TLS handshake failed");
                });
            }
            Err(_) => tracing::debug!(%peer, host = host.as_str(), "TLS handshake took too long"),
        }
        None
    }

    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, peer: IpAddr, why: &NoTunnel) {
        self.note(why.to_string(), || tracing::warn!(%peer, %why, "refused on the googleapis listener"));
        let told = async {
            stream.write_all(&why.answer()).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(DRAIN_BYTES_MAX), &mut tokio::io::sink()).await
        };
        // Whoever does not listen to the reason does not get it.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, told).await;
    }

    /// Logs what was not logged before.
    fn note(&self, what: String, log: impl FnOnce()) {
        let is_new = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.len() < REFUSED_MAX && refused.insert(what)
        };
        if is_new {
            log();
        }
    }
}

enum Failed {
    Refused(NoTunnel),
    Io(io::Error),
}

/// The host that is asked for, and what of the tunnel came with it. `None` when the client leaves without a word, as
/// probes do.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<(GoogleHost, Bytes)>, Failed> {
    let mut bytes = BytesMut::with_capacity(1 << 10);
    loop {
        let read = stream.read_buf(&mut bytes).await.map_err(Failed::Io)?;
        if read == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(Failed::Io(io::ErrorKind::UnexpectedEof.into())) };
        }
        match connect::read(&bytes) {
            Said::Part => {}
            Said::Tunnel { host, head_bytes } => {
                bytes.advance(head_bytes);
                return Ok(Some((host, bytes.freeze())));
            }
            Said::Other(why) => return Err(Failed::Refused(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use authority::Names;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use tokio::io::DuplexStream;
    use tokio_rustls::TlsConnector;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const NOW_SECS: i64 = 1_795_290_965;
    const HOST: &str = "malachiteingestion-pa.googleapis.com";

    /// The listener's side of things.
    fn googleapis() -> Arc<Googleapis> {
        let now = || Time::from_secs(NOW_SECS).unwrap();
        let authority = Authority::make(Names::Under("googleapis.com"), now()).unwrap();
        Arc::new(Googleapis::new(authority, Arc::new(now)))
    }

    /// A client that trusts this authority and no other.
    fn client(googleapis: &Googleapis, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(googleapis.authority().certificate().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        // Certificates are checked against the machine's clock, which the tests' clock is not far from by their life.
        config.time_provider = Arc::new(FixedTime);
        config
    }

    #[derive(Debug)]
    struct FixedTime;

    impl rustls::time_provider::TimeProvider for FixedTime {
        fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
            Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECS.unsigned_abs())))
        }
    }

    /// Both ends of a connection, the far one being opened.
    fn connect(
        googleapis: &Arc<Googleapis>,
    ) -> (DuplexStream, tokio::task::JoinHandle<Option<TlsStream<Begun<DuplexStream>>>>) {
        let (near, far) = tokio::io::duplex(16 << 10);
        let googleapis = Arc::clone(googleapis);
        (near, tokio::spawn(async move { googleapis.open(far, PEER).await }))
    }

    async fn read_until_blank_line(stream: &mut DuplexStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    fn head(target: &str) -> String {
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_believes_to_be_where_it_wanted() {
        let googleapis = googleapis();
        let check = async |name: &str, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]| {
            let (mut near, far) = connect(&googleapis);
            near.write_all(head(&format!("{name}:443")).as_bytes()).await.unwrap();
            assert_eq!(read_until_blank_line(&mut near).await.as_bytes(), ESTABLISHED);
            let connector = TlsConnector::from(Arc::new(client(&googleapis, versions, alpn)));
            let mut tls = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), near).await.unwrap();
            let expected = if alpn.is_empty() { None } else { Some(&b"http/1.1"[..]) };
            assert_eq!(tls.get_ref().1.alpn_protocol(), expected);
            let version = tls.get_ref().1.protocol_version();
            assert_eq!(
                version,
                Some(if versions == [&rustls::version::TLS12] {
                    ProtocolVersion::TLSv1_2
                } else {
                    ProtocolVersion::TLSv1_3
                })
            );
            tls.write_all(b"hello").await.unwrap();
            tls.flush().await.unwrap();
            let mut got = [0; 5];
            far.await.unwrap().unwrap().read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"hello");
        };
        check(HOST, rustls::ALL_VERSIONS, &["http/1.1"]).await;
        check(HOST, rustls::ALL_VERSIONS, &["h2", "http/1.1"]).await;
        check("mars-north1-chronicle.googleapis.com", &[&rustls::version::TLS12], &[]).await;
        check("chronicle.eu.rep.googleapis.com", &[&rustls::version::TLS13], &[]).await;
    }

    #[tokio::test]
    async fn the_name_in_tls_makes_no_other_host_of_the_tunnel() {
        let googleapis = googleapis();
        let (mut near, far) = connect(&googleapis);
        near.write_all(head(&format!("{HOST}:443")).as_bytes()).await.unwrap();
        read_until_blank_line(&mut near).await;
        let connector = TlsConnector::from(Arc::new(client(&googleapis, rustls::ALL_VERSIONS, &[])));
        let other = ServerName::try_from("oauth2.googleapis.com").unwrap();
        assert!(connector.connect(other, near).await.is_err(), "its certificate names the tunnel's host alone");
        assert!(far.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn bytes_that_come_with_the_head_are_the_tunnels() {
        let googleapis = googleapis();
        let (mut near, far) = connect(&googleapis);
        let config = Arc::new(client(&googleapis, rustls::ALL_VERSIONS, &[]));
        let mut tls = ClientConnection::new(config, ServerName::try_from(HOST).unwrap()).unwrap();
        let mut bytes = head(&format!("{HOST}:443")).into_bytes();
        tls.write_tls(&mut bytes).unwrap();
        near.write_all(&bytes).await.unwrap();
        assert_eq!(read_until_blank_line(&mut near).await.as_bytes(), ESTABLISHED);
        while tls.is_handshaking() {
            let mut chunk = [0; 4 << 10];
            let read = near.read(&mut chunk).await.unwrap();
            assert_ne!(read, 0);
            let mut chunk = &chunk[..read];
            while !chunk.is_empty() {
                tls.read_tls(&mut chunk).unwrap();
                tls.process_new_packets().unwrap();
            }
            let mut bytes = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut bytes).unwrap();
            }
            near.write_all(&bytes).await.unwrap();
        }
        assert!(far.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_refused_is_told_why_and_ends() {
        let googleapis = googleapis();
        let check = async |said: &str, status: &str| {
            let (mut near, far) = connect(&googleapis);
            near.write_all(said.as_bytes()).await.unwrap();
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{said:?}: {answer}");
            // Nothing that follows is answered.
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            drop(near);
            assert!(far.await.unwrap().is_none());
        };
        check(&head("storage.googleapis.com:443"), "403").await;
        check(&format!("{}{}", head("example.com:443"), head(&format!("{HOST}:443"))), "403").await;
        check(&head(&format!("{HOST}:80")), "403").await;
        check(&format!("GET / HTTP/1.1\r\n\r\n{}", head(&format!("{HOST}:443"))), "405").await;
        check("\x16\x03\x01\x02\0\x01", "400").await;
        check(&"x".repeat(9_000), "431").await;
        let (near, far) = connect(&googleapis);
        drop(near);
        assert!(far.await.unwrap().is_none(), "who leaves without a word is told nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_and_a_handshake_that_stalls_end() {
        let googleapis = googleapis();
        let (mut near, far) = connect(&googleapis);
        let started = tokio::time::Instant::now();
        let mut dripping = head(&format!("{HOST}:443")).into_bytes().into_iter();
        let mut answer = Vec::new();
        while answer.is_empty() {
            near.write_all(&[dripping.next().unwrap()]).await.unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(1), near.read_buf(&mut answer)).await;
        }
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
        assert!(started.elapsed() < limits::HEAD_READ_MAX + Duration::from_secs(2));
        assert!(far.await.unwrap().is_none(), "it does not wait for a client that listens to no reason");

        let (mut near, far) = connect(&googleapis);
        near.write_all(head(&format!("{HOST}:443")).as_bytes()).await.unwrap();
        read_until_blank_line(&mut near).await;
        assert!(far.await.unwrap().is_none());
    }

    #[test]
    fn the_same_refusal_is_logged_once_and_many_are_not_remembered_without_end() {
        let googleapis = googleapis();
        let logged = AtomicUsize::new(0);
        let note = |what: &str| {
            googleapis.note(what.to_owned(), || {
                logged.fetch_add(1, Ordering::Relaxed);
            })
        };
        note("a");
        note("a");
        note("b");
        assert_eq!(logged.load(Ordering::Relaxed), 2);
        for n in 0..REFUSED_MAX * 2 {
            note(&n.to_string());
        }
        assert_eq!(logged.load(Ordering::Relaxed), REFUSED_MAX);
        assert_eq!(googleapis.refused.lock().unwrap().len(), REFUSED_MAX);
    }
}
