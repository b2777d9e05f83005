//! Going out: which addresses may be reached, and the recording proxy that functions are pointed at.
//!
//! ```text
//! function ──CONNECT host:443──▶ proxy ──▶ tunnel: TLS ended as that host ──▶ forward ──dial──▶ the host itself
//!                                  │                                            │
//!                               lane: whose connection this is          lane: what was asked and answered
//! ```
//!
//! A function's code names its third party itself and speaks TLS with it. With `HTTPS_PROXY` (and `HTTP_PROXY`) naming a
//! [`Lane`] and `REQUESTS_CA_BUNDLE` a file with [`Egress::ca_pem`] it goes through here unchanged
//! (contracts/oci.md §1.1). So every request and its answer is seen, although the function swallows what went wrong; an
//! operator may put a stand-in where the code has a host written into it; and a function reaches no more of the network
//! than [`Reach`] lets it. Towards the host nothing is taken lightly: its certificate is checked for the name that the
//! function said, redirects and proxies of the environment are followed by nobody here, and a failure of ours is an error
//! that the function can read.
//!
//! `proxy` serves connections, `forward` is one request's story, `dial` connects, `lane` remembers. `deliver` uses [`Reach`]
//! and the system's roots for its own requests.
//!
//! Absent on purpose: HTTP/2 (no library that functions use needs it), websockets and other protocols in a tunnel (nothing
//! could be recorded of them), client certificates (they cannot pass through a TLS that is ended), and bodies in what is
//! recorded.

mod destination;
mod dial;
mod failure;
mod forward;
mod lane;
mod prompt;
mod proxy;
mod reach;
mod roots;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use authority::{Authority, Hosts, Sessions};
use event::Time;
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::destination::StandIns;
use crate::dial::Dialer;
use crate::lane::Open;

pub use failure::chain;
pub use lane::{Exchange, Lane};
pub use reach::{Reach, Unreachable};
pub use roots::{add_roots, system_roots};

/// How the proxy behaves.
pub struct Settings {
    /// An operator's stand-ins: a host as functions name it, `jsonplaceholder.typicode.com` for every port of it or with
    /// `:8443` for one, to the address that is connected to instead, `127.0.0.1:9443`, which may be private. Name, SNI and
    /// the certificate that is asked for stay those of the host.
    pub hosts: BTreeMap<String, String>,
    /// What may be reached of all other hosts.
    pub reach: Reach,
    /// Certificates in PEM that hosts may be signed by, beside those that the system trusts.
    pub upstream_ca: Option<PathBuf>,
    /// How long a host may take to begin its answer, everything before that included; and to go on with it.
    pub timeout: Duration,
    /// Largest body of a request, and of an answer.
    pub body_bytes_max: usize,
    /// The time that exchanges are dated with and certificates are made for.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
}

/// A running proxy, until it is stopped or dropped.
pub struct Egress {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca: String,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// Why there is no proxy. All of it is the operator's to mend, but for what is said to be a bug.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// A stand-in is none.
    #[error("the stand-in {to:?} for {host:?} cannot be used: {why}")]
    StandIn {
        /// The host as it was given.
        host: String,
        /// What was to stand in for it.
        to: String,
        /// What is wrong.
        why: String,
    },
    /// The certificates to trust cannot be read.
    #[error("cannot read certificates from {path}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// No port to listen on.
    #[error("cannot listen on loopback")]
    Listen(#[source] io::Error),
    /// A bug: TLS refuses our own settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What all connections share.
pub(crate) struct Shared {
    /// Certificates for the hosts that functions believe to speak with.
    hosts: Hosts,
    dialer: Dialer,
    timeout: Duration,
    body_bytes_max: usize,
    now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// By their tokens.
    lanes: Mutex<HashMap<String, Arc<Open>>>,
}

impl Egress {
    /// Starts one on a port of loopback, within a tokio runtime. The authority is one for any host, and nobody but
    /// functions should be told to trust it. Blocks for a moment to read the certificates that the system trusts.
    pub async fn start(settings: Settings, authority: Authority) -> Result<Egress, EgressError> {
        let Settings { hosts, reach, upstream_ca, timeout, body_bytes_max, now } = settings;
        let stand_ins = StandIns::parse(&hosts)?;
        let mut roots = RootCertStore::empty();
        let ca = authority.certificate_pem();
        for path in [system_roots().map(PathBuf::from), upstream_ca].into_iter().flatten() {
            add_roots(&mut roots, &path).map_err(|source| EgressError::Roots { path, source })?;
        }
        if roots.is_empty() {
            tracing::warn!("no certificates of authorities were found: functions can speak TLS with nobody");
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(EgressError::Listen)?;
        let address = listener.local_addr().map_err(EgressError::Listen)?;
        let shared = Arc::new(Shared {
            hosts: Hosts::new(authority, Sessions::Tickets),
            dialer: Dialer::new(stand_ins, reach, roots)?,
            timeout,
            body_bytes_max,
            now,
            lanes: Mutex::default(),
        });
        let accepting = tokio::spawn(proxy::accept(Arc::clone(&shared), listener));
        Ok(Egress { shared, address, ca, accepting: Mutex::new(Some(accepting)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A way through it that tells its requests from others', for one process.
    pub fn lane(&self) -> Lane {
        Lane::open(Arc::clone(&self.shared), self.address)
    }

    /// Our authority's certificate: enough for all that goes through here. The system's roots are not with it, because
    /// `requests` reads the file that `REQUESTS_CA_BUNDLE` names for every connection, and a function speaks TLS with
    /// nobody but the proxy.
    pub fn ca_pem(&self) -> String {
        self.ca.clone()
    }

    /// Ends the listener and every connection, whatever is under way.
    pub async fn stop(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // Cancelled, as it should be.
            let _ = accepting.await;
        }
        self.shared.lanes().values().for_each(|lane| lane.forget_idle());
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            accepting.abort();
        }
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn lanes(&self) -> MutexGuard<'_, HashMap<String, Arc<Open>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
