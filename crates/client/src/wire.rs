//! One request over HTTP, and what is tried again. Tokens and the API's words are not known here.
//!
//! A request is made once and goes out the same bytes at every attempt. Redirects are not followed, since a token must
//! not go where a reply points.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::limits;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::clock::Clock;
use crate::error::{Cause, Error};
use crate::reply::Reply;
use crate::retry::{Repeat, RetryPolicy, Trouble, retry_after};

/// The network as the client uses it.
#[derive(Debug)]
pub(crate) struct Wire {
    /// By the environment's proxies, unless they are switched off.
    proxied: reqwest::Client,
    /// Never by a proxy: for the metadata server.
    direct: reqwest::Client,
    pub clock: Arc<dyn Clock>,
    pub retry: RetryPolicy,
    pub timeout: Duration,
}

/// How a [`Wire`] is set up.
#[derive(Debug)]
pub(crate) struct WireOptions {
    pub clock: Arc<dyn Clock>,
    pub retry: RetryPolicy,
    pub timeout: Duration,
    pub user_agent: String,
    pub proxies: bool,
}

/// A request as it goes out at every attempt.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub repeat: Repeat,
}

impl Outgoing {
    pub(crate) fn new(method: Method, url: String, repeat: Repeat) -> Outgoing {
        Outgoing { method, url, headers: HeaderMap::new(), body: Bytes::new(), repeat }
    }

    pub(crate) fn with_body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Outgoing {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Outgoing {
        self.headers.insert(name, value);
        self
    }

    /// Says that the body is gzip already.
    pub(crate) fn gzipped(self) -> Outgoing {
        self.with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"))
    }
}

/// Why an attempt was no success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A reply that says so.
    Status(Reply),
    /// No reply.
    Network { trouble: Trouble, cause: reqwest::Error },
    /// The other side's certificate is not trusted; time does not heal that.
    Untrusted(reqwest::Error),
    /// A success with a body that is larger than anything the API sends.
    TooLong(u16),
}

impl Wire {
    pub(crate) fn new(options: WireOptions, ca_file: Option<&Path>) -> Result<Wire, Error> {
        let tls = tls(ca_file)?;
        let build = |proxies: bool| {
            let mut builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .user_agent(options.user_agent.as_str());
            if !proxies {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| Error::Setup(error.into()))
        };
        Ok(Wire {
            proxied: build(options.proxies)?,
            direct: build(false)?,
            clock: options.clock,
            retry: options.retry,
            timeout: options.timeout,
        })
    }

    /// One attempt.
    pub(crate) async fn attempt(&self, outgoing: &Outgoing) -> Result<Reply, Failure> {
        self.exchange(&self.proxied, outgoing, self.timeout).await
    }

    /// One attempt past any proxy.
    pub(crate) async fn attempt_direct(&self, outgoing: &Outgoing, timeout: Duration) -> Result<Reply, Failure> {
        self.exchange(&self.direct, outgoing, timeout).await
    }

    /// Keeps count of the attempts at one request.
    pub(crate) fn patience(&self, repeat: Repeat) -> Patience<'_> {
        Patience { wire: self, repeat, started: self.clock.elapsed(), failures: 0 }
    }

    async fn exchange(&self, client: &reqwest::Client, out: &Outgoing, timeout: Duration) -> Result<Reply, Failure> {
        let response = client
            .request(out.method.clone(), &out.url)
            .headers(out.headers.clone())
            .body(out.body.clone())
            .timeout(timeout)
            .send()
            .await;
        let mut response = response.map_err(failure)?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        let is_success = (200..300).contains(&status);
        let bytes_max = if is_success { limits::CLIENT_REPLY_BYTES_MAX } else { limits::CLIENT_ERROR_BYTES_MAX };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= bytes_max => body.extend_from_slice(&chunk),
                Ok(Some(_)) if is_success => return Err(Failure::TooLong(status)),
                Ok(Some(_) | None) => break,
                // A broken success may be half of a list, or nothing at all.
                Err(error) if is_success => return Err(failure(error)),
                // A refusal is known by its status alone.
                Err(_) => break,
            }
        }
        let reply = Reply { status, headers, body: body.into() };
        if is_success { Ok(reply) } else { Err(Failure::Status(reply)) }
    }
}

/// The attempts at one request.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    wire: &'a Wire,
    repeat: Repeat,
    started: Duration,
    failures: u32,
}

impl Patience<'_> {
    /// Waits until the next attempt is due, or gives the error that the caller is to see.
    pub(crate) async fn outlast(&mut self, failure: Failure) -> Result<(), Error> {
        self.failures += 1;
        let clock = &self.wire.clock;
        let trouble = failure.trouble(clock.now());
        let elapsed = clock.elapsed().saturating_sub(self.started);
        let next = trouble
            .and_then(|trouble| self.wire.retry.next(trouble, self.repeat, self.failures, elapsed, clock.random()));
        let Some(wait) = next else {
            return Err(failure.into_error(self.failures, self.wire.timeout, clock.now()));
        };
        tracing::debug!(attempt = self.failures, wait_ms = wait.as_millis(), ?trouble, "trying again later");
        clock.sleep(wait).await;
        Ok(())
    }
}

impl Failure {
    fn trouble(&self, now: event::Time) -> Option<Trouble> {
        match self {
            Failure::Status(reply) => Some(Trouble::Status(reply.status, reply_retry_after(reply, now))),
            Failure::Network { trouble, .. } => Some(*trouble),
            Failure::Untrusted(_) | Failure::TooLong(_) => None,
        }
    }

    /// What the caller is told. 401 is not told apart here: who holds the token does that.
    pub(crate) fn into_error(self, attempts: u32, timeout: Duration, now: event::Time) -> Error {
        match self {
            Failure::Status(reply) => {
                let refusal = Box::new(reply.refusal());
                match reply.status {
                    403 => Error::PermissionDenied(refusal),
                    404 => Error::NotFound(refusal),
                    429 => {
                        let asked = reply_retry_after(&reply, now).unwrap_or_default();
                        Error::RateLimited { refusal, retry_after: asked.max(Duration::from_secs(30)), attempts }
                    }
                    // Said by what stands between, not by the API: it speaks of the connection, not of what was sent.
                    408 => {
                        let why = refusal.to_string();
                        Error::Unavailable { status: Some(408), why, attempts, cause: None }
                    }
                    501 | 400..=499 => Error::Refused(refusal),
                    500..=599 => {
                        let (status, why) = (Some(reply.status), refusal.to_string());
                        Error::Unavailable { status, why, attempts, cause: None }
                    }
                    status => Error::UnexpectedReply { status, why: format!("{refusal}") },
                }
            }
            Failure::Network { trouble: Trouble::TimedOut, .. } => Error::Timeout { after: timeout, attempts },
            Failure::Network { cause, .. } => {
                Error::Unavailable { status: None, why: chain(&cause), attempts, cause: Some(cause.into()) }
            }
            Failure::Untrusted(cause) => Error::Untrusted(chain(&cause).into()),
            Failure::TooLong(status) => {
                let why = format!("it is longer than {} MiB", limits::CLIENT_REPLY_BYTES_MAX >> 20);
                Error::UnexpectedReply { status, why }
            }
        }
    }
}

fn reply_retry_after(reply: &Reply, now: event::Time) -> Option<Duration> {
    reply.header(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, now))
}

/// Sorts a failure of the network. The URL is taken out of the text: the caller knows it, and other people's logs need
/// not.
fn failure(error: reqwest::Error) -> Failure {
    let cause = error.without_url();
    if is_untrusted(&cause) {
        return Failure::Untrusted(cause);
    }
    let trouble = if cause.is_connect() {
        Trouble::NotSent
    } else if cause.is_timeout() {
        Trouble::TimedOut
    } else {
        Trouble::NoReply
    };
    Failure::Network { trouble, cause }
}

fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // An io::Error hides the error that it was made of from `source`.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => is_untrusted(inner),
        None => error.source().is_some_and(is_untrusted),
    }
}

/// The whole chain in one line: the last cause is the one that helps ("connection refused").
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

/// TLS that trusts what the system trusts, and the certificates of `ca_file`. The provider is handed over, not installed
/// for the process, which is the program's to decide.
fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, Error> {
    let setup = |cause: Cause| Error::Setup(cause);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(error.into()))?;
    let extra: Vec<CertificateDer<'static>> = match ca_file {
        None => Vec::new(),
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| setup(format!("cannot read CA certificates from {}: {error}", path.display()).into()))?,
    };
    if ca_file.is_some() && extra.is_empty() {
        let path = ca_file.unwrap_or(Path::new("")).display();
        return Err(setup(format!("{path} holds no certificate").into()));
    }
    match rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider) {
        Ok(verifier) => {
            Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
        }
        Err(error) if ca_file.is_some() => Err(setup(error.into())),
        // A system without any certificates (a bare container) can still speak to a server on plain HTTP; one with TLS is
        // then not trusted.
        Err(_) => Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()),
    }
}
