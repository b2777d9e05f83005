//! [`SecOpsClient`]: a credential, a way to the network, and settings; from it comes a [`Chronicle`] for each instance.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{InstanceId, limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;

use crate::Chronicle;
use crate::batch::BodyLimits;
use crate::clock::{Clock, SystemClock};
use crate::credentials::Credentials;
use crate::endpoint::{ApiVersion, Region, base_url};
use crate::error::{CredentialsError, Error};
use crate::reply::Reply;
use crate::retry::{Repeat, RetryPolicy};
use crate::token::Tokens;
use crate::wire::{Failure, Outgoing, Wire, WireOptions};

const JSON: &str = "application/json";
/// The scope that Google's own SDK asks for; the narrower `…/auth/chronicle` is not given to every kind of account.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A credential, a way to the network, and settings. Cheap to clone; make one and share it.
///
/// ```no_run
/// # fn main() -> Result<(), penstock_client::Error> {
/// use penstock_client::{Credentials, SecOpsClient};
///
/// // Against Google, with application-default credentials:
/// let client = SecOpsClient::new()?;
///
/// // Against Penstock:
/// let client = SecOpsClient::builder()
///     .credentials(Credentials::file("sender.json")?)
///     .base_url("http://127.0.0.1:8480")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SecOpsClient {
    shared: Arc<Shared>,
}

/// What all that comes from one client shares.
#[derive(Debug)]
pub(crate) struct Shared {
    wire: Wire,
    tokens: Tokens,
    base_url: Option<String>,
    version: ApiVersion,
    gzip: bool,
    pub body_limits: BodyLimits,
}

impl SecOpsClient {
    /// A client with application-default credentials ([`Credentials::application_default`]) and the usual settings.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`] when a file is there but cannot be used.
    pub fn new() -> Result<SecOpsClient, Error> {
        SecOpsClient::builder().build()
    }

    /// A client with settings of one's own.
    pub fn builder() -> SecOpsClientBuilder {
        SecOpsClientBuilder::default()
    }

    /// One instance (a tenant): its customer id is a UUID, its project a Google Cloud project's id or number (Penstock
    /// takes any name), its region one of [`REGIONS`](crate::REGIONS).
    ///
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for what cannot be such an id or region.
    pub fn chronicle(&self, customer_id: &str, project_id: &str, region: &str) -> Result<Chronicle, Error> {
        let customer_id: InstanceId = customer_id.trim().parse().map_err(|_| {
            Error::invalid("customer id", format!("{customer_id:?} is not a UUID; SIEM settings show the right one"))
        })?;
        if project_id.is_empty() || project_id.contains(['/', '?', '#']) {
            return Err(Error::invalid("project id", format!("{project_id:?} is not a project's id or number")));
        }
        let region = Region::new(region)?;
        let base = self.shared.base_url.clone().unwrap_or_else(|| region.base_url());
        let parent = format!("projects/{project_id}/locations/{}/instances/{customer_id}", region.name());
        Ok(Chronicle::new(self.shared.clone(), &base, parent))
    }

    /// The credential in use.
    pub fn credentials(&self) -> &Credentials {
        self.shared.tokens.credentials()
    }
}

impl fmt::Debug for SecOpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecOpsClient")
            .field("credentials", self.credentials())
            .field("base_url", &self.shared.base_url)
            .field("version", &self.shared.version)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`SecOpsClient`]; each has a default.
#[derive(Debug, Clone)]
pub struct SecOpsClientBuilder {
    credentials: Option<Credentials>,
    scope: String,
    base_url: Option<String>,
    version: ApiVersion,
    timeout: Duration,
    retry: RetryPolicy,
    gzip: bool,
    body_limits: BodyLimits,
    ca_file: Option<PathBuf>,
    proxies: bool,
    user_agent: String,
    clock: Option<Arc<dyn Clock>>,
}

impl Default for SecOpsClientBuilder {
    fn default() -> SecOpsClientBuilder {
        SecOpsClientBuilder {
            credentials: None,
            scope: SCOPE.to_owned(),
            base_url: None,
            version: ApiVersion::default(),
            timeout: limits::CLIENT_REQUEST_TIMEOUT,
            retry: RetryPolicy::default(),
            gzip: false,
            body_limits: BodyLimits {
                bytes_max: limits::CLIENT_BODY_BYTES_MAX,
                records_max: limits::CLIENT_BODY_RECORDS_MAX,
            },
            ca_file: None,
            proxies: true,
            user_agent: concat!("penstock-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock: None,
        }
    }
}

impl SecOpsClientBuilder {
    /// Who the client is. By default [`Credentials::application_default`].
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// What tokens are asked for, space-separated. By default `cloud-platform`.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Where to send, such as `http://127.0.0.1:8480`, instead of Google's host of the region. Tokens and logs go there
    /// as the URL says: in clear over `http://`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// The API's version. By default `v1alpha`, as Google's SDK.
    pub fn api_version(mut self, version: ApiVersion) -> Self {
        self.version = version;
        self
    }

    /// How long one attempt may take. By default 90 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one request is tried. By default 8 attempts within 10 minutes.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Whether bodies are sent compressed. By default not: it costs time of the processor, and a receiver nearby gains
    /// nothing.
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Largest body of one request, before compression. By default 3.75 MiB, below Google's 4 MB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_limits.bytes_max = bytes;
        self
    }

    /// Most records of one request. By default 10,000.
    pub fn body_records_max(mut self, records: usize) -> Self {
        self.body_limits.records_max = records.max(1);
        self
    }

    /// Certificates (PEM) to trust beside the system's: those of a CA of one's own.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Whether `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` count. By default they do.
    pub fn proxies(mut self, proxies: bool) -> Self {
        self.proxies = proxies;
        self
    }

    /// The `User-Agent`. By default this library's name and version.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Where time and chance come from. By default [`SystemClock`]; for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The client. Reads credentials and certificates; sends nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`], [`Error::Invalid`] for the base URL, [`Error::Setup`] for the rest.
    pub fn build(self) -> Result<SecOpsClient, Error> {
        let base_url = self.base_url.as_deref().map(base_url).transpose()?;
        let credentials = match self.credentials {
            Some(credentials) => credentials,
            None => Credentials::application_default()?,
        };
        let options = WireOptions {
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            retry: self.retry,
            timeout: self.timeout,
            user_agent: self.user_agent,
            proxies: self.proxies,
        };
        let shared = Shared {
            wire: Wire::new(options, self.ca_file.as_deref())?,
            tokens: Tokens::new(credentials, self.scope),
            base_url,
            version: self.version,
            gzip: self.gzip,
            body_limits: self.body_limits,
        };
        Ok(SecOpsClient { shared: Arc::new(shared) })
    }
}

impl Shared {
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.wire.clock
    }

    pub(crate) fn version(&self) -> ApiVersion {
        self.version
    }

    /// The body as it goes over the wire, and whether that is gzip.
    pub(crate) fn pack(&self, body: Vec<u8>) -> (Bytes, bool) {
        if !self.gzip {
            return (body.into(), false);
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body).expect("writing to memory does not fail");
        (encoder.finish().expect("writing to memory does not fail").into(), true)
    }

    pub(crate) fn get(url: String) -> Outgoing {
        Outgoing::new(Method::GET, url, Repeat::Harmless)
    }

    /// A request with a JSON body. `body` is as [`Shared::pack`] gave it.
    pub(crate) fn with_json(method: Method, url: String, (body, gzipped): (Bytes, bool), repeat: Repeat) -> Outgoing {
        let outgoing = Outgoing::new(method, url, repeat).with_body(JSON, body);
        if gzipped { outgoing.gzipped() } else { outgoing }
    }

    /// Sends until there is a success, patience ends, or the receiver says no. A token that is not accepted is replaced
    /// once.
    pub(crate) async fn call(&self, mut outgoing: Outgoing) -> Result<Reply, Error> {
        let mut patience = self.wire.patience(outgoing.repeat);
        let mut renewed = false;
        loop {
            let headers = self.tokens.headers(&self.wire).await?;
            for (name, value) in &headers {
                outgoing.headers.insert(name, value.clone());
            }
            match self.wire.attempt(&outgoing).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Status(reply)) if reply.status == 401 => {
                    if renewed || !self.tokens.forget(&headers).await {
                        let account = self.tokens.credentials().account().to_owned();
                        let refusal = Box::new(reply.refusal());
                        return Err(CredentialsError::Rejected { account, refusal }.into());
                    }
                    renewed = true;
                }
                Err(failure) => patience.outlast(failure).await?,
            }
        }
    }
}
