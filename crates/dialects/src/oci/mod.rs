//! Oracle Cloud Infrastructure's APIs for logs, connectors and functions, as the README beside this file says.
//!
//! [`crate::auth::authenticate_oci`] says who signed a request. What is sent to be kept is read by [`form`] against the tables
//! in [`kinds`] into one canonical JSON, [`resources`] asks for it and shows what comes back; [`put_logs`] and [`replay`]
//! make records of what is put into logs, in the [`envelope`] that all records of logs have; [`search`] and [`invoke`] are
//! the calls of those names. [`sign`] is the client side.
//!
//! Deliberately absent: policies (a user has a role), work on moves between compartments, saved searches, agents, alarms,
//! and everything else that the README does not name; calls of OCI's on these paths that are not served are told so.

mod ask;
pub mod envelope;
mod form;
mod invoke;
mod kinds;
pub mod ocid;
mod put_logs;
mod records;
mod replay;
mod reply;
mod resources;
mod search;
pub mod sign;

use event::{BatchId, InstanceId, Time};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use crate::auth::{self, oci_signature};
use crate::snapshot::Limits;
use crate::{Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, Snapshot};

pub use ask::{
    Act, AuditCall, Invoke, Invoked, Kind, ListCall, LogSearch, MetricsAsk, MetricsCall, NotInvoked, Outcome, Question,
    Resource, SortBy,
};
pub use kinds::lay_over;
pub use reply::status_of;

/// Which of OCI's APIs a path belongs to: the same thing looks different in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Identity,
    Monitoring,
    FunctionsOld,
    Functions,
    Search,
    Audit,
    Logging,
    Ingestion,
    Connectors,
}

/// What a route means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Create(Kind),
    List(Kind),
    Get(Kind),
    Update(Kind),
    Delete(Kind),
    Activate,
    Deactivate,
    /// What a work request logged, or what went wrong with it: nothing, either way.
    WorkDetails,
    Push,
    Replay,
    Search,
    AuditEvents,
    SummarizeMetrics,
    ListMetrics,
    Invoke,
    Runtimes,
    Tenancy,
    Regions,
    /// Something else below a prefix that is OCI's alone.
    Nothing,
}

impl Call {
    fn needs(self) -> Scope {
        match self {
            Call::Create(_) | Call::Update(_) | Call::Delete(_) | Call::Activate | Call::Deactivate => Scope::Admin,
            // It runs code.
            Call::Invoke => Scope::Admin,
            Call::Push | Call::Replay => Scope::Ingest,
            Call::List(_) | Call::Get(_) | Call::WorkDetails | Call::Search | Call::AuditEvents => Scope::Read,
            Call::SummarizeMetrics | Call::ListMetrics | Call::Runtimes | Call::Tenancy | Call::Regions => Scope::Read,
            Call::Nothing => Scope::Read,
        }
    }

    fn body_bytes_max(self) -> fn(&Limits) -> usize {
        match self {
            // A function's code may stand in the body.
            Call::Push | Call::Replay | Call::Create(Kind::Function) | Call::Update(Kind::Function) => {
                |limits| limits.oci_body_bytes_max
            }
            Call::Invoke => |_| event::limits::OCI_INVOKE_BYTES_MAX,
            _ => |limits| limits.api_body_bytes_max,
        }
    }
}

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// What is served. A route's number is its place here.
const CLAIMS: &[(Api, Method, &str, Call)] = &[
    (Api::Identity, POST, "/20160918/compartments", Call::Create(Kind::Compartment)),
    (Api::Identity, GET, "/20160918/compartments", Call::List(Kind::Compartment)),
    (Api::Identity, GET, "/20160918/compartments/{id}", Call::Get(Kind::Compartment)),
    (Api::Identity, PUT, "/20160918/compartments/{id}", Call::Update(Kind::Compartment)),
    (Api::Identity, DELETE, "/20160918/compartments/{id}", Call::Delete(Kind::Compartment)),
    (Api::Identity, GET, "/20160918/tenancies/{id}", Call::Tenancy),
    (Api::Identity, GET, "/20160918/tenancies/{id}/regionSubscriptions", Call::Regions),
    (Api::Logging, POST, "/20200531/logGroups", Call::Create(Kind::LogGroup)),
    (Api::Logging, GET, "/20200531/logGroups", Call::List(Kind::LogGroup)),
    (Api::Logging, GET, "/20200531/logGroups/{id}", Call::Get(Kind::LogGroup)),
    (Api::Logging, PUT, "/20200531/logGroups/{id}", Call::Update(Kind::LogGroup)),
    (Api::Logging, DELETE, "/20200531/logGroups/{id}", Call::Delete(Kind::LogGroup)),
    (Api::Logging, POST, "/20200531/logGroups/{parent}/logs", Call::Create(Kind::Log)),
    (Api::Logging, GET, "/20200531/logGroups/{parent}/logs", Call::List(Kind::Log)),
    (Api::Logging, GET, "/20200531/logGroups/{parent}/logs/{id}", Call::Get(Kind::Log)),
    (Api::Logging, PUT, "/20200531/logGroups/{parent}/logs/{id}", Call::Update(Kind::Log)),
    (Api::Logging, DELETE, "/20200531/logGroups/{parent}/logs/{id}", Call::Delete(Kind::Log)),
    (Api::Logging, GET, "/20200531/workRequests", Call::List(Kind::WorkRequest)),
    (Api::Logging, GET, "/20200531/workRequests/{id}", Call::Get(Kind::WorkRequest)),
    (Api::Logging, GET, "/20200531/workRequests/{id}/errors", Call::WorkDetails),
    (Api::Logging, GET, "/20200531/workRequests/{id}/logs", Call::WorkDetails),
    (Api::Ingestion, POST, "/20200831/logs/{id}/actions/push", Call::Push),
    (Api::Ingestion, POST, "/20200831/logs/{id}/actions/replay", Call::Replay),
    (Api::Search, POST, "/20190909/search", Call::Search),
    (Api::Audit, GET, "/20190901/auditEvents", Call::AuditEvents),
    (Api::Monitoring, POST, "/20180401/metrics/actions/summarizeMetricsData", Call::SummarizeMetrics),
    (Api::Monitoring, POST, "/20180401/metrics/actions/listMetrics", Call::ListMetrics),
    (Api::Connectors, POST, "/20200909/serviceConnectors", Call::Create(Kind::ServiceConnector)),
    (Api::Connectors, GET, "/20200909/serviceConnectors", Call::List(Kind::ServiceConnector)),
    (Api::Connectors, GET, "/20200909/serviceConnectors/{id}", Call::Get(Kind::ServiceConnector)),
    (Api::Connectors, PUT, "/20200909/serviceConnectors/{id}", Call::Update(Kind::ServiceConnector)),
    (Api::Connectors, DELETE, "/20200909/serviceConnectors/{id}", Call::Delete(Kind::ServiceConnector)),
    (Api::Connectors, POST, "/20200909/serviceConnectors/{id}/actions/activate", Call::Activate),
    (Api::Connectors, POST, "/20200909/serviceConnectors/{id}/actions/deactivate", Call::Deactivate),
    (Api::Connectors, GET, "/20200909/workRequests", Call::List(Kind::WorkRequest)),
    (Api::Connectors, GET, "/20200909/workRequests/{id}", Call::Get(Kind::WorkRequest)),
    (Api::Connectors, GET, "/20200909/workRequests/{id}/errors", Call::WorkDetails),
    (Api::Connectors, GET, "/20200909/workRequests/{id}/logs", Call::WorkDetails),
    (Api::FunctionsOld, POST, "/20181201/applications", Call::Create(Kind::Application)),
    (Api::FunctionsOld, GET, "/20181201/applications", Call::List(Kind::Application)),
    (Api::FunctionsOld, GET, "/20181201/applications/{id}", Call::Get(Kind::Application)),
    (Api::FunctionsOld, PUT, "/20181201/applications/{id}", Call::Update(Kind::Application)),
    (Api::FunctionsOld, DELETE, "/20181201/applications/{id}", Call::Delete(Kind::Application)),
    (Api::FunctionsOld, POST, "/20181201/functions", Call::Create(Kind::Function)),
    (Api::FunctionsOld, GET, "/20181201/functions", Call::List(Kind::Function)),
    (Api::FunctionsOld, GET, "/20181201/functions/{id}", Call::Get(Kind::Function)),
    (Api::FunctionsOld, PUT, "/20181201/functions/{id}", Call::Update(Kind::Function)),
    (Api::FunctionsOld, DELETE, "/20181201/functions/{id}", Call::Delete(Kind::Function)),
    (Api::FunctionsOld, POST, "/20181201/functions/{id}/actions/invoke", Call::Invoke),
    (Api::Functions, POST, "/20260325/applications", Call::Create(Kind::Application)),
    (Api::Functions, GET, "/20260325/applications", Call::List(Kind::Application)),
    (Api::Functions, GET, "/20260325/applications/{id}", Call::Get(Kind::Application)),
    (Api::Functions, PUT, "/20260325/applications/{id}", Call::Update(Kind::Application)),
    (Api::Functions, DELETE, "/20260325/applications/{id}", Call::Delete(Kind::Application)),
    (Api::Functions, POST, "/20260325/functions", Call::Create(Kind::Function)),
    (Api::Functions, GET, "/20260325/functions", Call::List(Kind::Function)),
    (Api::Functions, GET, "/20260325/functions/{id}", Call::Get(Kind::Function)),
    (Api::Functions, PUT, "/20260325/functions/{id}", Call::Update(Kind::Function)),
    (Api::Functions, DELETE, "/20260325/functions/{id}", Call::Delete(Kind::Function)),
    (Api::Functions, POST, "/20260325/functions/{id}/actions/invoke", Call::Invoke),
    (Api::Functions, GET, "/20260325/functionsRuntimes", Call::Runtimes),
];

/// The prefixes, whatever comes behind them: each is the date of an API of OCI's.
const PREFIXES: [(Api, &str); 9] = [
    (Api::Identity, "/20160918**"),
    (Api::Monitoring, "/20180401**"),
    (Api::FunctionsOld, "/20181201**"),
    (Api::Audit, "/20190901**"),
    (Api::Search, "/20190909**"),
    (Api::Logging, "/20200531**"),
    (Api::Ingestion, "/20200831**"),
    (Api::Connectors, "/20200909**"),
    (Api::Functions, "/20260325**"),
];

/// The dialect.
pub struct Oci {
    routes: Vec<Route>,
    meanings: Vec<(Api, Call)>,
}

impl Oci {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Oci {
        let closed = CLAIMS.iter().map(|(api, method, path, call)| (*api, method.clone(), *path, *call));
        let open = PREFIXES.into_iter().flat_map(|(api, path)| {
            [GET, POST, PUT, DELETE].into_iter().map(move |method| (api, method, path, Call::Nothing))
        });
        let (mut routes, mut meanings) = (Vec::new(), Vec::new());
        for (op, (api, method, path, call)) in closed.chain(open).enumerate() {
            routes.push(Route {
                host: None,
                method,
                path,
                op: op as u32,
                body_bytes_max: call.body_bytes_max(),
                needs: Some(call.needs()),
            });
            meanings.push((api, call));
        }
        Oci { routes, meanings }
    }

    fn meaning(&self, route: &Route) -> (Api, Call) {
        self.meanings[route.op as usize]
    }
}

impl Dialect for Oci {
    fn name(&self) -> &'static str {
        "oci"
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn authenticate(
        &self,
        at: &Found<'_>,
        head: &Head,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Option<Caller>, Refusal> {
        let caller = auth::authenticate_oci(head, snapshot, now)?;
        let (_, call) = self.meaning(at.route);
        if call == Call::Nothing {
            return Err(reply::not_served(head).of(&caller));
        }
        caller.require(call.needs())?;
        Ok(Some(caller))
    }

    fn work_bytes(&self, at: &Found<'_>, body: &[u8]) -> usize {
        match self.meaning(at.route).1 {
            Call::Push => put_logs::work_bytes(body),
            Call::Replay => replay::work_bytes(body),
            Call::Invoke => 0,
            // The body as values, and what is kept of them.
            _ => body.len() * 4,
        }
    }

    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        next_id: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        let Some((caller, instance)) = caller.and_then(|caller| caller.instance().map(|instance| (caller, instance)))
        else {
            // Authentication gives a caller with an instance or refuses.
            return Intake::Refuse(Refusal::internal());
        };
        let (api, call) = self.meaning(at.route);
        let id = || at.params.get("id").unwrap_or_default().to_owned();
        let parent = || at.params.get("parent").map(str::to_owned);
        let asked = Asked { api, head: &request.head, request, caller: &caller, instance, snapshot, now };
        let answered = oci_signature::check_body(&request.head, &request.body).and_then(|()| match call {
            Call::Create(kind) => asked.create(kind, parent()),
            Call::List(kind) => asked.list(kind, parent()),
            Call::Get(kind) => asked.get(kind, id(), parent()),
            Call::Update(kind) => asked.update(kind, id(), parent()),
            Call::Delete(kind) => asked.delete(kind, id(), parent()),
            Call::Activate => asked.switch(id(), true),
            Call::Deactivate => asked.switch(id(), false),
            Call::WorkDetails => asked.work_details(id()),
            Call::Push => asked.push(&id(), next_id),
            Call::Replay => asked.replay(&id(), next_id),
            Call::Search => asked.search(),
            Call::AuditEvents => asked.audit_events(),
            Call::SummarizeMetrics => asked.summarize_metrics(),
            Call::ListMetrics => asked.list_metrics(),
            Call::Invoke => asked.invoke(id(), next_id),
            Call::Runtimes => asked.runtimes(),
            Call::Tenancy => asked.tenancy(&id()),
            Call::Regions => asked.regions(&id()),
            Call::Nothing => Err(reply::not_served(&request.head)),
        });
        answered.unwrap_or_else(|refusal| Intake::Refuse(refusal.of(&caller)))
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        reply::refuse(refusal)
    }

    fn headers_of_every_reply(&self, head: &Head, now: Time) -> Vec<(HeaderName, HeaderValue)> {
        vec![(REQUEST_ID, reply::request_id(head, now))]
    }
}

/// Names a request, in it and in its reply.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("opc-request-id");

/// A request whose sender is known, and all that an answer may depend on.
struct Asked<'a> {
    api: Api,
    head: &'a Head,
    request: &'a Request,
    caller: &'a Caller,
    instance: InstanceId,
    snapshot: &'a Snapshot,
    now: Time,
}

impl Asked<'_> {
    /// A question to a component, with the words for its answer.
    fn ask(
        &self,
        ask: Question,
        render: impl FnOnce(Outcome) -> Result<Reply, Refusal> + Send + 'static,
    ) -> Result<Intake, Refusal> {
        let question = crate::Question::Oci { instance: self.instance, ask };
        let render = crate::Render::new(move |outcome| match outcome {
            crate::Outcome::Oci(outcome) => render(outcome),
            _ => Err(Refusal::internal()),
        });
        Ok(Intake::Ask(crate::Ask { caller: self.caller.clone(), question, render }))
    }

    /// The compartment that a query parameter names: it must be there, and one of the instance's.
    fn compartment(&self) -> Result<String, Refusal> {
        let id = self.head.query_value("compartmentId").filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| missing("compartmentId"))?;
        self.check_compartment(&id)?;
        Ok(id)
    }

    fn check_compartment(&self, id: &str) -> Result<(), Refusal> {
        let found = self.snapshot.oci_compartments.get(id);
        match found.filter(|compartment| compartment.instance == self.instance) {
            Some(_) => Ok(()),
            None => {
                let shown: String = id.chars().take(120).collect();
                Err(Refusal::new(Cause::NotFound, format!("There is no compartment {shown:?} in this tenancy.")))
            }
        }
    }

    /// A query parameter that is `true` or `false`; `false` when it is not there.
    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.head.query_value(name).as_deref() {
            None | Some("" | "false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::invalid_field(name, "is neither true nor false")),
        }
    }

    /// How many items a page is to have.
    fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        let Some(text) = self.head.query_value("limit").filter(|text| !text.is_empty()) else { return Ok(default) };
        match text.parse::<usize>() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            _ => Err(Refusal::invalid_field("limit", format!("is no whole number from 1 to {max}"))),
        }
    }
}

/// A header's value as text, where it has one that is text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// A retry token of the request. OCI's have at most 64 characters.
fn retry_token(head: &Head) -> Result<Option<String>, Refusal> {
    match header(&head.headers, "opc-retry-token") {
        Some(token) if token.len() > 64 => {
            Err(Refusal::invalid_field("opc-retry-token", "has more than 64 characters"))
        }
        token => Ok(token.map(str::to_owned)),
    }
}

/// 400: a parameter is not there.
fn missing(name: &str) -> Refusal {
    Refusal { cause: Cause::Missing, ..Refusal::invalid_field(name, form::MISSING) }
}

#[cfg(test)]
mod tests;
