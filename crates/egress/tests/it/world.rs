//! Hosts that answer what a test says, a proxy between them and a client that trusts nobody else.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authority::{Authority, Names};
use egress::{Egress, Lane, Reach, Settings};
use event::Time;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A host that the code of a function has written into it.
pub const HOST: &str = "jsonplaceholder.typicode.com";

/// How long an event is waited for until the test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy, and the time that it goes by.
pub struct World {
    pub egress: Egress,
    pub now: Time,
}

impl World {
    /// Where these hosts are stood in for, all others are inside, and the proxy is as the change makes it.
    pub async fn start<const N: usize>(hosts: [(&str, &Host); N], change: impl FnOnce(&mut Settings)) -> World {
        World::with(Ca::new(), hosts.map(|(host, to)| (host, to.address)), change).await
    }

    /// The same with certificates that are there already, and addresses.
    pub async fn with<const N: usize>(
        ca: Ca,
        hosts: [(&str, SocketAddr); N],
        change: impl FnOnce(&mut Settings),
    ) -> World {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Time::from_secs(i64::try_from(since.as_secs()).unwrap()).unwrap();
        let hosts = hosts.map(|(host, to)| (host.to_owned(), to.to_string()));
        let mut settings = Settings {
            hosts: BTreeMap::from(hosts),
            reach: Reach::Inside,
            upstream_ca: Some(ca.file()),
            timeout: Duration::from_secs(20),
            body_bytes_max: 1 << 20,
            now: Arc::new(move || now),
        };
        change(&mut settings);
        let authority = Authority::make(Names::Any, now).unwrap();
        World { egress: Egress::start(settings, authority).await.unwrap(), now }
    }

    /// What a function does who has this lane: every request on a connection of its own.
    pub fn client(&self, lane: &Lane) -> reqwest::Client {
        self.builder(lane).pool_max_idle_per_host(0).build().unwrap()
    }

    pub fn builder(&self, lane: &Lane) -> reqwest::ClientBuilder {
        let tls = trusting(&self.egress.ca_pem());
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .proxy(reqwest::Proxy::all(lane.proxy_url()).unwrap())
            .redirect(reqwest::redirect::Policy::none())
    }

    /// Sends these bytes to the proxy and reads until it closes.
    pub async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.egress.address()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// `Proxy-Authorization: Basic …` with the credentials in a lane's URL.
pub fn credentials(lane: &Lane) -> String {
    use base64::Engine as _;
    let url = lane.proxy_url();
    let credentials = url.strip_prefix("http://").unwrap().split_once('@').unwrap().0;
    format!("Proxy-Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

/// A client that trusts these certificates.
pub fn trusting(pem: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let _ = roots.add(certificate.unwrap());
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An authority that third parties have their certificates of.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Ca {
    pub fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "third parties");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Ca { issuer: Issuer::new(params, key), dir }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn server(&self, names: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config).into()
    }
}

/// A third party that writes what a rule says, byte by byte. Must be started within a tokio runtime.
pub struct Host {
    pub address: SocketAddr,
    received: watch::Receiver<Vec<Received>>,
    _accepting: Ends,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Counted from 0.
    pub connection: usize,
    pub server_name: Option<String>,
    /// Up to the blank line, as it was written.
    pub head: String,
    /// As it was written, chunks and all.
    pub body: Vec<u8>,
}

impl Received {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// Its headers as they are written, in their order.
    pub fn headers(&self) -> Vec<&str> {
        self.head.lines().skip(1).collect()
    }
}

/// What is written in answer to a request.
pub enum Reply {
    /// This, and the connection stays.
    Stay(Vec<u8>),
    /// This, and then the socket is closed, without any farewell.
    Close(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

impl Reply {
    /// This status with a body of this length.
    pub fn ok(status: u16, body: &str) -> Reply {
        let length = body.len();
        Reply::Stay(format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
    }
}

type Rule = dyn Fn(&Received) -> Reply + Send + Sync;

struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Host {
    /// One that speaks TLS, with these names.
    pub async fn tls(ca: &Ca, names: &[&str], rule: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Host {
        Host::start(Some(ca.server(names)), Arc::new(rule)).await
    }

    /// One that does not.
    pub async fn plain(rule: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Host {
        Host::start(None, Arc::new(rule)).await
    }

    async fn start(tls: Option<TlsAcceptor>, rule: Arc<Rule>) -> Host {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let count = AtomicUsize::new(0);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (tls, rule, sender) = (tls.clone(), rule.clone(), sender.clone());
                let connection = count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move {
                    match tls {
                        None => talk(stream, connection, None, &*rule, &sender).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let name = stream.get_ref().1.server_name().map(str::to_owned);
                            talk(stream, connection, name, &*rule, &sender).await;
                        }
                    }
                });
            }
        });
        Host { address, received, _accepting: Ends(accepting) }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until this many requests came.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut received = self.received.clone();
        let waiting = received.wait_for(|received| received.len() >= count);
        tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().clone()
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    server_name: Option<String>,
    rule: &Rule,
    sender: &watch::Sender<Vec<Received>>,
) {
    let mut bytes = Vec::new();
    loop {
        let Some(received) = read(&mut stream, &mut bytes).await else { return };
        let received = Received { connection, server_name: server_name.clone(), ..received };
        let reply = rule(&received);
        sender.send_modify(|all| all.push(received));
        let (reply, stays) = match reply {
            Reply::Stay(reply) => (reply, true),
            Reply::Close(reply) => (reply, false),
            Reply::Silence => std::future::pending().await,
        };
        if stream.write_all(&reply).await.is_err() || stream.flush().await.is_err() || !stays {
            return;
        }
    }
}

/// The next request, of what was read already and what comes.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut Vec<u8>) -> Option<Received> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let head_bytes = loop {
        match find(bytes, b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => {
                if stream.read_buf(bytes).await.ok()? == 0 {
                    return None;
                }
            }
        }
    };
    let rest = bytes.split_off(head_bytes);
    let head = String::from_utf8(std::mem::replace(bytes, rest)).unwrap();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let length = header("content-length").map(|length| length.parse::<usize>().unwrap());
    let is_chunked = header("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body_bytes = loop {
        match length {
            Some(length) if bytes.len() >= length => break length,
            None if !is_chunked => break 0,
            None if find(bytes, b"0\r\n\r\n").is_some() => break find(bytes, b"0\r\n\r\n").unwrap() + 5,
            _ => {}
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let rest = bytes.split_off(body_bytes);
    let body = std::mem::replace(bytes, rest);
    Some(Received { connection: 0, server_name: None, head: head.trim_end().to_owned(), body })
}
