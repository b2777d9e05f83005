//! Our own API: `/api/…`, `/metrics`, `/healthz`, `/readyz`. The command line speaks nothing else.
//!
//! Every call is scoped by its credential: the operator's token reaches every instance, an account or API key its own.
//! Errors have Google's form, so that a program needs one way to read them.

mod manage;
mod metrics;
mod oci;
mod parsers;
mod parsing;
mod receipts;
mod search;
mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use commit::LogState;
use dialects::{Caller, Refusal, Scope, auth};
use event::{InstanceId, Time};
use http::{Method, Response, StatusCode};
use receive::{AnswerBody, Ledger, Memory, Own, OwnRequest};
use serde_json::Value;
use store::Store;
use tokio::sync::Semaphore;

use crate::control::{Control, ControlError};
use crate::hosted::Hosted;
use crate::own_logs::OwnLogs;
use crate::pipeline::{Clock, Pipeline};
use crate::rates::Rates;

/// What our own API answers from.
pub struct Api {
    /// Documents.
    pub control: Arc<Control>,
    /// The stages.
    pub pipeline: Arc<Pipeline>,
    /// What was received.
    pub ledger: Arc<Ledger>,
    /// Memory of requests in flight.
    pub memory: Memory,
    /// Rates of the last minute.
    pub rates: Arc<Rates>,
    /// The clock.
    pub clock: Clock,
    /// When the server started.
    pub started: Time,
    /// Where it listens.
    pub url: String,
    /// How weak `log.sync` was set, or `always`.
    pub sync: String,
    /// Searches at the same time: each holds a thread and a row group in memory.
    pub searches: Arc<Semaphore>,
    /// Reparses at the same time.
    pub reparses: Arc<Semaphore>,
    /// Position of the store's cursor and records waiting at the start, for conservation.
    pub store_at_start: status::AtStart,
    /// The authority of the googleapis listener, while there is one.
    pub ca: Option<Ca>,
    /// The functions.
    pub functions: Hosted,
    /// Where functions and connectors leave what they have to say.
    pub own_logs: OwnLogs,
}

/// What may be shown of the googleapis listener's authority.
pub struct Ca {
    certificate: String,
    expires_at: Time,
    proxy: String,
}

impl Ca {
    /// Of this authority, with the listener at this URL.
    pub fn of(authority: &authority::Authority, proxy: &str) -> Ca {
        Ca { certificate: authority.certificate_pem(), expires_at: authority.expires_at(), proxy: proxy.to_owned() }
    }
}

/// Searches that run at the same time; more wait.
pub const SEARCHES_MAX: usize = 4;

type Answer = Response<AnswerBody>;

impl Own for Api {
    fn claims(&self, path: &str) -> bool {
        is_ours(path)
    }

    fn answer(&self, request: OwnRequest) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            match self.route(request).await {
                Ok(answer) => answer,
                Err(refusal) => refused(&refusal),
            }
        })
    }
}

/// Whether a path is one of our own API's. Below `/api` all are, but for the base address that Sekoia's senders are
/// given, and what lies below that.
fn is_ours(path: &str) -> bool {
    let below_sekoias = path.strip_prefix("/api/v1/intake-http");
    let is_sekoias = below_sekoias.is_some_and(|below| below.is_empty() || below.starts_with('/'));
    matches!(path, "/metrics" | "/healthz" | "/readyz" | "/api") || (path.starts_with("/api/") && !is_sekoias)
}

/// Who asks, and what the answer may show.
pub struct Asker {
    caller: Caller,
}

impl Asker {
    /// The instances that it may see: `None` for all.
    pub fn reach(&self) -> Option<InstanceId> {
        self.caller.instance()
    }

    /// The one instance that is meant: the one named if it may be reached, else its own. What cannot be reached is as if
    /// it did not exist, so that ids cannot be tried out.
    pub fn instance(&self, named: Option<&str>) -> Result<Option<InstanceId>, Refusal> {
        let Some(named) = named.filter(|named| !named.is_empty()) else { return Ok(self.reach()) };
        let id: InstanceId = named.parse().map_err(|error| Refusal::invalid(format!("{error}.")))?;
        if self.caller.reaches(id) { Ok(Some(id)) } else { Err(no_instance(&id)) }
    }

    /// Who it is, never a secret.
    pub fn name(&self) -> &str {
        self.caller.sender()
    }

    /// Whether it is the operator.
    pub fn is_operator(&self) -> bool {
        self.caller.instance().is_none()
    }
}

fn no_instance(id: &InstanceId) -> Refusal {
    not_found(format!("There is no instance {id} that this credential reaches."))
}

pub(crate) fn not_found(message: impl Into<String>) -> Refusal {
    Refusal::new(dialects::Cause::NotFound, message)
}

impl Api {
    async fn route(&self, request: OwnRequest) -> Result<Answer, Refusal> {
        let path = request.path.trim_end_matches('/').to_owned();
        match path.as_str() {
            "/healthz" => {
                self.open_to_neighbours(&request)?;
                return Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })));
            }
            "/readyz" => {
                self.open_to_neighbours(&request)?;
                return Ok(self.ready());
            }
            "/metrics" => {
                self.open_to_neighbours(&request)?;
                return Ok(metrics::answer(self));
            }
            _ => {}
        }
        let rest = path.strip_prefix("/api").unwrap_or_default().trim_start_matches('/');
        let segments: Vec<&str> = rest.split('/').collect();
        let method = request.method.clone();
        let get = method == Method::GET || method == Method::HEAD;
        let post = method == Method::POST;
        match segments.as_slice() {
            ["search"] if post => search::answer(self, &self.asker(&request, Scope::Read)?, &request).await,
            ["receipts", id] if get => receipts::answer(self, &self.asker(&request, Scope::Read)?, id).await,
            ["status"] if get => {
                let asker = self.asker(&request, Scope::Read)?;
                Ok(json(StatusCode::OK, &status::answer(self, &asker).await?))
            }
            ["ca"] if get => self.certificate_authority(&request),
            ["ca"] => Err(Refusal::wrong_method(&method, &path, vec![Method::GET])),
            ["search"] => Err(Refusal::wrong_method(&method, &path, vec![Method::POST])),
            ["parsing", rest @ ..] => parsing::answer(self, &request, rest).await,
            ["oci-users", rest @ ..] => oci::users(self, &request, rest).await,
            ["functions", rest @ ..] => oci::functions(self, &request, rest).await,
            ["parsers", rest @ ..] => parsers::answer(self, &request, rest).await,
            ["status"] | ["receipts", _] => Err(Refusal::wrong_method(&method, &path, vec![Method::GET])),
            segments => manage::answer(self, &request, segments).await,
        }
    }

    /// The store, for calls that need it.
    fn store(&self) -> Result<Arc<Store>, Refusal> {
        let off = "The store is switched off (store.enabled = false), so nothing can be searched or read again.";
        self.pipeline.store.clone().ok_or_else(|| Refusal::new(dialects::Cause::Unsupported, off))
    }

    /// Who asks, if it may do this.
    pub(crate) fn asker(&self, request: &OwnRequest, scope: Scope) -> Result<Asker, Refusal> {
        let asker = self.anyone(request)?;
        asker.caller.require(scope)?;
        Ok(asker)
    }

    /// Who asks, whatever it may do.
    fn anyone(&self, request: &OwnRequest) -> Result<Asker, Refusal> {
        let snapshot = self.control.snapshot().load();
        Ok(Asker { caller: auth::authenticate(&request.head(), &snapshot, (self.clock)())? })
    }

    /// Certificates are no secret, and every sender needs this one.
    fn certificate_authority(&self, request: &OwnRequest) -> Result<Answer, Refusal> {
        self.anyone(request)?;
        let Some(Ca { certificate, expires_at, proxy }) = &self.ca else {
            return Err(not_found("The googleapis listener is off; the section [listen.googleapis] turns it on."));
        };
        let shown = serde_json::json!({
            "certificate": certificate, "expires_at": expires_at.to_string(), "proxy": proxy,
        });
        Ok(json(StatusCode::OK, &shown))
    }

    /// Health and metrics are open on this machine; from elsewhere they take a credential.
    fn open_to_neighbours(&self, request: &OwnRequest) -> Result<(), Refusal> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(Refusal::wrong_method(&request.method, &request.path, vec![Method::GET]));
        }
        if request.peer.is_loopback() { Ok(()) } else { self.asker(request, Scope::Read).map(drop) }
    }

    fn ready(&self) -> Answer {
        let state = self.pipeline.log.status().state;
        let problem = match &state {
            LogState::Writing => self.pipeline.progress.failed().map(|why| format!("the store stopped: {why}")),
            LogState::Full { since } => Some(format!("the disk is full since {since}")),
            LogState::Failed { reason } => Some(format!("the log stopped writing: {reason}")),
            LogState::Closed => Some("the server is stopping".to_owned()),
        };
        match problem {
            None => json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
            Some(reason) => {
                json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": "not ready", "reason": reason }))
            }
        }
    }
}

/// A parameter of a query string.
pub(crate) fn parameter(request: &OwnRequest, name: &str) -> Option<String> {
    let query = request.query.as_deref()?;
    let query = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let query = query.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&query).decode_utf8_lossy().into_owned())
}

/// The body as JSON; an empty one is an empty object.
pub(crate) fn body(request: &OwnRequest) -> Result<Value, Refusal> {
    if request.body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &Value) -> Answer {
    let mut text = value.to_string();
    text.push('\n');
    let mut response = Response::new(AnswerBody::whole(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json; charset=UTF-8"));
    response
}

fn refused(refusal: &Refusal) -> Answer {
    let reply = dialects::aip193::refuse(refusal);
    let mut response = Response::new(AnswerBody::whole(reply.body));
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers);
    response
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Refusal {
        match error {
            ControlError::Invalid(message) => Refusal::invalid(message),
            ControlError::NotFound(message) => not_found(message),
            ControlError::Exists(message) => Refusal::new(dialects::Cause::AlreadyExists, message),
            ControlError::Failed(error) => {
                tracing::error!(error = format!("{error:#}"), "a call to our own API failed");
                Refusal::internal()
            }
        }
    }
}

/// Runs what blocks (SQLite, RSA, reading the log) where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a call to our own API panicked");
        Refusal::internal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sekoias_base_address_is_not_ours_and_its_neighbours_are() {
        for path in ["/api", "/api/", "/api/intakes", "/api/v1", "/api/v1/", "/metrics", "/healthz", "/readyz"] {
            assert!(is_ours(path), "{path}");
        }
        for path in ["/api/v1/intake-httpX", "/api/v1/intake-http2/plain", "/api/v1/intake", "/api/v1/intake-http-/"] {
            assert!(is_ours(path), "{path}");
        }
        for path in ["/api/v1/intake-http", "/api/v1/intake-http/", "/api/v1/intake-http/plain/batch"] {
            assert!(!is_ours(path), "{path}");
        }
        for path in ["/", "/batch", "/apiX", "/v1/intake-http/batch", "/metrics/", "/v2/logtypes"] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
