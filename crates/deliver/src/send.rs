//! The one place where a connector touches the network. A request goes out as it is given; names are resolved here and
//! every address is judged before it is connected to; nothing is followed, nothing is tried twice.
//!
//! Absent on purpose: proxies (an environment variable must not decide where logs go), cookies, HTTP/2.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::{Reach, Unreachable};
use http::Request;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::targets::Answer;
use crate::{ANSWER_BYTES_MAX, DeliverError};

/// How long the rest of an answer is waited for once its status is known; a connection worth keeping is read to its
/// end.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How much of the rest is read for that.
const DRAIN_BYTES_MAX: usize = 64 << 10;

/// A connector's own HTTP client.
#[derive(Debug)]
pub(crate) struct Sender {
    client: reqwest::Client,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The address may not be sent to: somebody must act.
    #[error(transparent)]
    Unreachable(Unreachable),
    /// The network or the other side: time may heal it.
    #[error("{0}")]
    Network(String),
}

impl Sender {
    pub(crate) fn new(reach: Reach, tls: &rustls::ClientConfig) -> Result<Sender, DeliverError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .dns_resolver(Judged { reach })
            .pool_max_idle_per_host(1)
            .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(DeliverError::Client)?;
        Ok(Sender { client })
    }

    /// Sends once. An answer of any status is an answer.
    pub(crate) async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Answer, SendError> {
        let mut request = reqwest::Request::try_from(request).map_err(|error| network(&error.without_url()))?;
        *request.timeout_mut() = Some(timeout);
        let mut response = self.client.execute(request).await.map_err(|error| failure(&error.without_url()))?;

        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        // The status alone decides; a body that breaks off or never ends changes nothing.
        let reading = async {
            let mut drained = 0;
            while drained < DRAIN_BYTES_MAX
                && let Ok(Some(chunk)) = response.chunk().await
            {
                drained += chunk.len();
                let room = ANSWER_BYTES_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        };
        let _ = tokio::time::timeout(DRAIN_MAX, reading).await;
        Ok(Answer { status, headers, body: body.into() })
    }
}

/// The settings of TLS for connections to others, made once: the certificates of a system are a few hundred.
pub(crate) fn tls(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, DeliverError> {
    // The provider is handed over, not installed for the process.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(DeliverError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificates in this file, else in the first of the places where systems keep theirs.
pub(crate) fn roots(file: Option<&Path>) -> Result<rustls::RootCertStore, DeliverError> {
    let path = file.or(egress::system_roots()).ok_or(DeliverError::NoRoots)?;
    let mut roots = rustls::RootCertStore::empty();
    egress::add_roots(&mut roots, path).map_err(|source| DeliverError::Roots { path: path.to_owned(), source })?;
    if roots.is_empty() { Err(DeliverError::NoRoots) } else { Ok(roots) }
}

/// Resolves with the system and gives only addresses that may be sent to. The connection is made to exactly these, so a
/// name that changes its mind between check and use gains nothing.
struct Judged {
    reach: Reach,
}

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let mut refused = None;
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((name.as_str(), 0)).await? {
                match reach.check(address.ip()) {
                    Ok(()) => addresses.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(refused) if addresses.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

fn failure(error: &reqwest::Error) -> SendError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(unreachable) = error.downcast_ref::<Unreachable>() {
            return SendError::Unreachable(*unreachable);
        }
        cause = error.source();
    }
    network(error)
}

fn network(error: &reqwest::Error) -> SendError {
    SendError::Network(match (error.is_timeout(), error.source()) {
        (true, Some(cause)) => format!("no answer in time: {}", egress::chain(cause)),
        (true, None) => "no answer in time".to_owned(),
        (false, _) => egress::chain(error),
    })
}
