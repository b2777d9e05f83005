//! The Chronicle API (`v1alpha`, `v1beta`, `v1`) as Google's own clients speak it; the README beside this file lists its
//! calls.
//!
//! Every path names its instance, so [`Dialect::authenticate`] already knows whose the call is and narrows the caller to
//! it. [`import`] takes data in, [`resources`] and [`search`] ask components, the rest is answered from the snapshot.
//! [`parser`] has parsers run that are sent along, [`parsers`] manages those that are kept. Data exports, pipelines, rules and the like are absent: those paths answer 501.

mod classify;
mod csv;
pub mod encode;
mod events;
mod filter;
mod import;
mod key_values;
mod log_types;
mod parser;
mod parsers;
mod read;
pub(crate) mod resources;
pub(crate) mod search;
mod validate;
mod values;

use event::{BatchId, InstanceId, Kind, Time};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::ask::{ParserVerb, Slot};
use crate::resource::{Kept, ResourceKind};
use crate::snapshot::{Instance, Limits, Snapshot};
use crate::{Ask, Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, aip193, auth};
use import::Import;
use parsers::Parsers;
use resources::{COLLECTION, Call, ITEM, Verb};
use search::Search;

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    ImportLogs,
    ImportEvents,
    ImportEntities,
    ImportPushLogs,
    ImportStats,
    ListLogTypes,
    GetLogType,
    Forwarders(Verb),
    ForwarderFiles,
    Collectors(Verb),
    Feeds(Verb),
    EnableFeed,
    DisableFeed,
    FeedSecret,
    SearchUdm,
    SearchRawLogs,
    SearchCsv,
    SearchView,
    FieldValues,
    ValidateQuery,
    GetEvent,
    BatchGetEvents,
    ClassifyLogs,
    RunParser,
    Parsers(Slot, ParserOp),
    KeyValues,
    Unserved,
}

/// What a call does with a kept parser or extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserOp {
    Create,
    List,
    Get,
    Delete,
    Copy,
    Activate,
    Deactivate,
    Candidates,
    Report,
    ParsingErrors,
}

impl Op {
    /// What a caller must be allowed to do; one of several is enough.
    fn needs(self) -> &'static [Scope] {
        match self {
            Op::ImportLogs | Op::ImportEvents | Op::ImportEntities | Op::ImportPushLogs | Op::ImportStats => {
                &[Scope::Ingest]
            }
            // Google's library looks at these before it sends, and makes its forwarder when there is none.
            Op::ListLogTypes
            | Op::GetLogType
            | Op::Forwarders(Verb::List | Verb::Get)
            | Op::Collectors(Verb::List | Verb::Get) => &[Scope::Ingest, Scope::Read, Scope::Admin],
            Op::Forwarders(Verb::Create) => &[Scope::Ingest, Scope::Admin],
            Op::Feeds(Verb::List | Verb::Get) | Op::ForwarderFiles => &[Scope::Read, Scope::Admin],
            Op::Forwarders(_)
            | Op::Collectors(_)
            | Op::Feeds(_)
            | Op::EnableFeed
            | Op::DisableFeed
            | Op::FeedSecret => &[Scope::Admin],
            Op::SearchUdm
            | Op::SearchRawLogs
            | Op::SearchCsv
            | Op::SearchView
            | Op::FieldValues
            | Op::ValidateQuery
            | Op::GetEvent
            | Op::BatchGetEvents => &[Scope::Read],
            // Nothing is read or kept but what is sent along.
            Op::RunParser | Op::KeyValues => &[Scope::Read, Scope::Admin],
            Op::Parsers(
                _,
                ParserOp::List | ParserOp::Get | ParserOp::Candidates | ParserOp::Report | ParserOp::ParsingErrors,
            ) => &[Scope::Read, Scope::Admin],
            Op::Parsers(..) => &[Scope::Admin],
            // Senders ask it what they have before they send.
            Op::ClassifyLogs => &[Scope::Ingest, Scope::Read],
            Op::Unserved => &[Scope::Ingest, Scope::Read, Scope::Admin],
        }
    }
}

/// The dialect.
pub struct ChronicleApi {
    routes: Vec<Route>,
    /// By the number of the route.
    ops: Vec<Op>,
}

/// Where the paths of an instance begin.
macro_rules! below {
    ($rest:literal) => {
        concat!("/{version}/projects/{project}/locations/{location}/instances/{instance}", $rest)
    };
}

impl ChronicleApi {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> ChronicleApi {
        let mut api = ChronicleApi { routes: Vec::new(), ops: Vec::new() };
        api.claim(Method::POST, below!("/logTypes/{type}/logs:import"), Op::ImportLogs);
        api.claim(Method::POST, below!("/events:import"), Op::ImportEvents);
        api.claim(Method::POST, below!("/entities:import"), Op::ImportEntities);
        api.claim(Method::GET, below!("/logTypes"), Op::ListLogTypes);
        api.claim(Method::GET, below!("/logTypes/{type}"), Op::GetLogType);
        for (method, verb) in COLLECTION {
            api.claim(method.clone(), below!("/forwarders"), Op::Forwarders(verb));
            api.claim(method.clone(), below!("/forwarders/{forwarder}/collectors"), Op::Collectors(verb));
            api.claim(method, below!("/feeds"), Op::Feeds(verb));
        }
        for (method, verb) in ITEM {
            api.claim(method.clone(), below!("/forwarders/{forwarder}"), Op::Forwarders(verb));
            let collector = below!("/forwarders/{forwarder}/collectors/{collector}");
            api.claim(method.clone(), collector, Op::Collectors(verb));
            api.claim(method, below!("/feeds/{feed}"), Op::Feeds(verb));
        }
        api.claim(Method::GET, below!("/forwarders/{forwarder}:generateForwarderFiles"), Op::ForwarderFiles);
        api.claim(Method::POST, below!("/forwarders/{forwarder}:importStatsEvents"), Op::ImportStats);
        api.claim(Method::POST, below!("/feeds/{feed}:enable"), Op::EnableFeed);
        api.claim(Method::POST, below!("/feeds/{feed}:disable"), Op::DisableFeed);
        api.claim(Method::POST, below!("/feeds/{feed}:generateSecret"), Op::FeedSecret);
        api.claim(Method::POST, below!("/feeds/{feed}:importPushLogs"), Op::ImportPushLogs);
        api.claim(Method::GET, below!(":udmSearch"), Op::SearchUdm);
        api.claim(Method::POST, below!(":searchRawLogs"), Op::SearchRawLogs);
        api.claim(Method::POST, below!("/legacy:legacyFetchUdmSearchCsv"), Op::SearchCsv);
        api.claim(Method::POST, below!("/legacy:legacyFetchUdmSearchView"), Op::SearchView);
        api.claim(Method::GET, below!(":findUdmFieldValues"), Op::FieldValues);
        api.claim(Method::GET, below!(":validateQuery"), Op::ValidateQuery);
        api.claim(Method::GET, below!("/events/{event}"), Op::GetEvent);
        api.claim(Method::GET, below!("/events:batchGet"), Op::BatchGetEvents);
        api.claim(Method::POST, below!("/logs:classify"), Op::ClassifyLogs);
        api.claim(Method::POST, below!("/logTypes/{type}:runParser"), Op::RunParser);
        api.claim_parsers();
        api.claim(Method::POST, below!(":generateUdmKeyValueMappings"), Op::KeyValues);
        for method in [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            for path in UNSERVED {
                api.claim(method.clone(), path, Op::Unserved);
            }
        }
        api
    }

    fn claim_parsers(&mut self) {
        use ParserOp::{Activate, Candidates, Copy, Create, Deactivate, Delete, Get, List, ParsingErrors, Report};
        let (get, post) = (|| Method::GET, || Method::POST);
        let mut claim = |slot, method, path, op| self.claim(method, path, Op::Parsers(slot, op));
        let parser = Slot::Parser;
        claim(parser, post(), below!("/logTypes/{type}/parsers"), Create);
        claim(parser, get(), below!("/logTypes/{type}/parsers"), List);
        claim(parser, get(), below!("/logTypes/{type}/parsers:fetchParserCandidates"), Candidates);
        claim(parser, get(), below!("/logTypes/{type}/parsers/{parser}"), Get);
        claim(parser, Method::DELETE, below!("/logTypes/{type}/parsers/{parser}"), Delete);
        claim(parser, post(), below!("/logTypes/{type}/parsers/{parser}:copy"), Copy);
        claim(parser, post(), below!("/logTypes/{type}/parsers/{parser}:activate"), Activate);
        // Ours have no stages of release: it is the same under another name.
        claim(parser, post(), below!("/logTypes/{type}/parsers/{parser}:activateReleaseCandidateParser"), Activate);
        claim(parser, post(), below!("/logTypes/{type}/parsers/{parser}:deactivate"), Deactivate);
        claim(parser, get(), below!("/logTypes/{type}/parsers/{parser}/validationReports/{report}"), Report);
        let errors = below!("/logTypes/{type}/parsers/{parser}/validationReports/{report}/parsingErrors");
        claim(parser, get(), errors, ParsingErrors);
        let extension = Slot::Extension;
        claim(extension, post(), below!("/logTypes/{type}/parserExtensions"), Create);
        claim(extension, get(), below!("/logTypes/{type}/parserExtensions"), List);
        claim(extension, get(), below!("/logTypes/{type}/parserExtensions/{parser}"), Get);
        claim(extension, Method::DELETE, below!("/logTypes/{type}/parserExtensions/{parser}"), Delete);
        claim(extension, post(), below!("/logTypes/{type}/parserExtensions/{parser}:activate"), Activate);
        let report = below!("/logTypes/{type}/parserExtensions/{parser}/validationReports/{report}");
        claim(extension, get(), report, Report);
        let errors = below!("/logTypes/{type}/parserExtensions/{parser}/validationReports/{report}/parsingErrors");
        claim(extension, get(), errors, ParsingErrors);
    }

    fn claim(&mut self, method: Method, path: &'static str, op: Op) {
        let number = u32::try_from(self.ops.len()).expect("there are not that many calls");
        self.ops.push(op);
        self.routes.push(Route {
            host: None,
            method,
            path,
            op: number,
            body_bytes_max: match op {
                Op::ImportLogs | Op::ImportEvents | Op::ImportEntities | Op::ImportPushLogs => {
                    |limits: &Limits| limits.chronicle_api_body_bytes_max
                }
                Op::RunParser => |_: &Limits| event::limits::RUN_PARSER_BODY_BYTES_MAX,
                Op::Parsers(_, ParserOp::Create) => |_: &Limits| event::limits::PARSER_BODY_BYTES_MAX,
                _ => |limits: &Limits| limits.api_body_bytes_max,
            },
            needs: op.needs().first().copied(),
        });
    }

    fn op(&self, at: &Found<'_>) -> Op {
        self.ops[at.route.op as usize]
    }
}

/// Documented groups of calls that this server does not serve.
const UNSERVED: [&str; 36] = [
    below!("/logTypes/{type}/parsers**"),
    below!("/logTypes/{type}/parserExtensions**"),
    below!("/logTypes/{type}/logTypeSettings**"),
    below!("/logTypes/{type}:submitParser"),
    below!("/logTypes/{type}:legacySubmitParserExtension"),
    below!("/dataExports**"),
    below!("/logProcessingPipelines**"),
    below!("/rules**"),
    below!("/ruleExecutionErrors**"),
    below!("/curatedRules**"),
    below!("/curatedRuleSetCategories**"),
    below!("/legacy:legacyFetchAlertsView"),
    below!("/legacy:legacySearchRuleDetectionEvents"),
    below!("/legacy:legacySearchEnterpriseWideIoCs"),
    below!("/legacy:legacySearchDetections"),
    below!("/legacy:legacyRunTestRule"),
    below!("/legacy:legacyFindRawLogs"),
    below!("/legacy:legacyFindUdmEvents"),
    below!("/legacy:legacySearchRawLogs"),
    below!("/legacy:legacySearchRawLogsV2"),
    below!("/operations**"),
    below!("/referenceLists**"),
    below!("/dataTables**"),
    below!("/dataAccessLabels**"),
    below!("/dataAccessScopes**"),
    below!("/findingsRefinements**"),
    below!("/nativeDashboards**"),
    below!("/dashboardQueries**"),
    below!("/watchlists**"),
    below!("/cases**"),
    below!("/users**"),
    below!("/searchSessions**"),
    below!("/feedPacks**"),
    below!(":queryProductSourceStats"),
    below!(":translateUdmQuery"),
    below!(":search"),
];

impl Dialect for ChronicleApi {
    fn name(&self) -> &'static str {
        "chronicle_api"
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
        let caller = auth::authenticate(head, snapshot, now)?;
        require_any(&caller, self.op(at).needs())?;
        let names = Names::of(at)?;
        // The same whether that instance exists or not, except for those who see all.
        let caller = caller.clone().narrowed(names.instance).ok_or_else(|| {
            let message = format!("{} does not belong to the instance {}.", caller.sender(), names.instance);
            Refusal::permission_denied(message).of(&caller)
        })?;
        let instance = instance(&names, snapshot)?;
        if self.op(at) == Op::ImportPushLogs {
            check_feed_secret(at, head, instance).map_err(|refusal| refusal.of(&caller))?;
        }
        Ok(Some(caller))
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
        let Some(caller) = caller else {
            return Intake::Refuse(Refusal::unauthenticated("The request has no credential."));
        };
        let found = Names::of(at).and_then(|names| Ok((instance(&names, snapshot)?, names)));
        let (instance, names) = match found {
            Ok(found) => found,
            Err(refusal) => return Intake::Refuse(refusal.of(&caller)),
        };
        let id = names.instance;
        let param = |name: &str| at.params.get(name).unwrap_or_default();
        let import = |kind, log_type| Import { kind, log_type, request, caller: &caller, id, instance, snapshot, now };
        let call = |kind| Call { kind, names: names.clone(), instance: id, caller: &caller };
        let collectors = || ResourceKind::Collector { forwarder: param("forwarder").to_owned() };
        let search = Search { names: names.clone(), caller: &caller, schema: &snapshot.schema };
        let ask = |asked: Result<Ask, Refusal>| match asked {
            Ok(ask) => Intake::Ask(ask),
            Err(refusal) => Intake::Refuse(refusal.of(&caller)),
        };
        let answer = |reply: Result<Reply, Refusal>| match reply {
            Ok(reply) => Intake::Answer(reply),
            Err(refusal) => Intake::Refuse(refusal.of(&caller)),
        };
        match self.op(at) {
            Op::ImportLogs => import(Kind::Raw, Some(param("type"))).accept(next_id),
            Op::ImportEvents => import(Kind::Udm, None).accept(next_id),
            Op::ImportEntities => import(Kind::Entity, None).accept(next_id),
            Op::ImportPushLogs => match instance.feeds.get(param("feed")) {
                Some(feed) => import::import_push(feed, &request.body, &caller, id, instance, now, next_id),
                None => answer(Err(no_such_feed(param("feed")))),
            },
            // What a forwarder says of its own health. It is no log of anybody's, and nothing here reads it.
            Op::ImportStats => {
                answer(read_json::<IgnoredAny>(&request.body).map(|_| Reply::json(StatusCode::OK, "{}")))
            }
            Op::ListLogTypes => answer(log_types::list(&request.head, &names, instance)),
            Op::GetLogType => answer(log_types::get(&names, instance, param("type"))),
            Op::Forwarders(verb) => resource(call(ResourceKind::Forwarder), verb, param("forwarder"), request),
            Op::ForwarderFiles => call(ResourceKind::Forwarder).generate_files(param("forwarder")),
            Op::Collectors(verb) => resource(call(collectors()), verb, param("collector"), request),
            Op::Feeds(verb) => resource(call(ResourceKind::Feed), verb, param("feed"), request),
            Op::EnableFeed => call(ResourceKind::Feed).set_enabled(param("feed"), true),
            Op::DisableFeed => call(ResourceKind::Feed).set_enabled(param("feed"), false),
            Op::FeedSecret => call(ResourceKind::Feed).new_secret(param("feed")),
            Op::SearchUdm => ask(search.udm(&request.head)),
            Op::SearchRawLogs => ask(search.raw_logs(&request.body, instance)),
            Op::SearchCsv => ask(search.csv(&request.body)),
            Op::SearchView => ask(search.view(&request.body)),
            Op::FieldValues => ask(values::find(&names, &caller, &request.head)),
            Op::ValidateQuery => Intake::Answer(validate::validate(&request.head, &snapshot.schema)),
            Op::GetEvent => ask(events::get(&names, &caller, &snapshot.schema, param("event"))),
            Op::BatchGetEvents => ask(events::batch_get(&names, &caller, &snapshot.schema, &request.head)),
            Op::ClassifyLogs => answer(classify::classify(&request.body)),
            Op::RunParser => ask(parser::run(&names, &caller, param("type"), &request.body)),
            Op::KeyValues => answer(key_values::answer(&request.body)),
            Op::Parsers(slot, op) => {
                let parsers = Parsers { names: &names, caller: &caller, slot, log_type: param("type") };
                let (parser, report) = (param("parser"), param("report"));
                ask(match op {
                    ParserOp::Create => parsers.create(&request.body, instance),
                    ParserOp::List => parsers.list(&request.head),
                    ParserOp::Get => Ok(parsers.get(parser)),
                    ParserOp::Delete => parsers.delete(parser, &request.head),
                    ParserOp::Copy => Ok(parsers.copy(parser)),
                    ParserOp::Activate => Ok(parsers.act(parser, ParserVerb::Activate)),
                    ParserOp::Deactivate => Ok(parsers.act(parser, ParserVerb::Deactivate)),
                    ParserOp::Candidates => parsers.candidates(&request.head),
                    ParserOp::Report => Ok(parsers.report(parser, report)),
                    ParserOp::ParsingErrors => parsers.parsing_errors(parser, report, &request.head),
                })
            }
            Op::Unserved => {
                let shown: String = request.head.path.chars().take(200).collect();
                let message = format!("This server does not serve {} {shown}.", request.head.method);
                answer(Err(Refusal::new(Cause::Unsupported, message)))
            }
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        aip193::refuse_as_google(refusal)
    }
}

/// Does what a verb says.
pub(crate) fn resource(call: Call<'_>, verb: Verb, id: &str, request: &Request) -> Intake {
    match verb {
        Verb::Create => call.create(request),
        Verb::List => call.list(&request.head),
        Verb::Get => call.get(id),
        Verb::Update => call.update(id, request),
        Verb::Delete => call.delete(id),
    }
}

/// `Ok` if the caller may do one of these, else what it lacks.
pub(crate) fn require_any(caller: &Caller, scopes: &[Scope]) -> Result<(), Refusal> {
    match scopes.split_first() {
        Some((first, rest)) if !rest.iter().any(|scope| caller.scopes().contains(*scope)) => caller.require(*first),
        _ => Ok(()),
    }
}

/// How things are named in this API. A name repeats what the request's path said: clients write a project by its id or
/// its number, and a location by any of its names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) instance: InstanceId,
    /// What stands before the resource's own part: `projects/…/instances/…`; empty in the API that leaves it out.
    prefix: String,
    style: Style,
}

/// Whose names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Full names; labels as a map.
    ChronicleApi,
    /// Names below the instance; labels as a list of key and value.
    Backstory,
}

impl Names {
    fn of(at: &Found<'_>) -> Result<Names, Refusal> {
        let param = |name: &str| at.params.get(name).unwrap_or_default();
        let version = param("version");
        if !["v1alpha", "v1beta", "v1"].contains(&version) {
            let shown: String = version.chars().take(40).collect();
            return Err(Refusal::new(
                Cause::NotFound,
                format!("There is no version {shown:?}: v1alpha, v1beta and v1 are served."),
            ));
        }
        let instance = param("instance");
        let id: InstanceId = instance.parse().map_err(|error| {
            let shown: String = instance.chars().take(60).collect();
            Refusal::invalid_field("instance", format!("{shown:?} in the path is no instance: {error}"))
        })?;
        let prefix = format!("projects/{}/locations/{}/instances/{instance}/", param("project"), param("location"));
        Ok(Names { instance: id, prefix, style: Style::ChronicleApi })
    }

    /// Names of the older API.
    pub(crate) fn backstory(instance: InstanceId) -> Names {
        Names { instance, prefix: String::new(), style: Style::Backstory }
    }

    /// The instance's own.
    pub(crate) fn instance_name(&self) -> &str {
        self.prefix.trim_end_matches('/')
    }

    /// A log type's.
    pub(crate) fn log_type(&self, name: &str) -> String {
        format!("{}logTypes/{name}", self.prefix)
    }

    /// An event's. The older API has no more than its id there, as bytes.
    pub(crate) fn event(&self, record: &crate::FoundRecord) -> String {
        match self.style {
            Style::ChronicleApi => format!("{}events/{}", self.prefix, events::id_in_path(record)),
            Style::Backstory => events::id_base64(record),
        }
    }

    /// That of what resources of a kind stand below.
    pub(crate) fn parent(&self, kind: &ResourceKind) -> String {
        match kind {
            ResourceKind::Forwarder | ResourceKind::Feed | ResourceKind::ReferenceList => {
                format!("{}/{}", self.prefix, self.instance)
            }
            ResourceKind::Collector { forwarder } => format!("{}{}/forwarders/{forwarder}", self.prefix, self.instance),
        }
    }

    /// A resource as it is shown.
    pub(crate) fn show(&self, kind: &ResourceKind, kept: &Kept) -> Value {
        let name = match kind {
            ResourceKind::Collector { forwarder } => {
                format!("{}forwarders/{forwarder}/collectors/{}", self.prefix, kept.id)
            }
            ResourceKind::ReferenceList => kept.id.clone(),
            kind => format!("{}{}/{}", self.prefix, kind.plural(), kept.id),
        };
        let mut shown = resources::shown(name, kind, kept);
        match self.style {
            Style::ChronicleApi => {
                // The log type of a feed is a resource's name in this API.
                if let Some(log_type) = shown.pointer_mut("/details/logType")
                    && let Some(name) = log_type.as_str()
                {
                    *log_type = Value::String(self.log_type(name));
                }
            }
            Style::Backstory => {
                for path in ["/config/metadata/labels", "/details/labels"] {
                    if let Some(labels) = shown.pointer_mut(path)
                        && let Some(map) = labels.as_object()
                    {
                        let list = map.iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value }));
                        *labels = Value::Array(list.collect());
                    }
                }
                if *kind == ResourceKind::Feed {
                    rename(&mut shown, "state", "feedState");
                    if let Some(details) = shown.get_mut("details") {
                        rename(details, "assetNamespace", "namespace");
                    }
                }
            }
        }
        shown
    }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(object) = object.as_object_mut()
        && let Some(value) = object.shift_remove(from)
    {
        object.insert(to.to_owned(), value);
    }
}

fn instance<'s>(names: &Names, snapshot: &'s Snapshot) -> Result<&'s Instance, Refusal> {
    snapshot.instances.get(&names.instance).ok_or_else(|| {
        Refusal::new(Cause::NotFound, format!("There is no instance {} on this server.", names.instance))
    })
}

fn read_json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))
}

fn no_such_feed(id: &str) -> Refusal {
    let shown: String = id.chars().take(60).collect();
    Refusal::new(Cause::NotFound, format!("There is no feed {shown:?} that is pushed to."))
}

/// A push shows an API key and the secret of its feed: the key says who sends, the secret where it may send to.
fn check_feed_secret(at: &Found<'_>, head: &Head, instance: &Instance) -> Result<(), Refusal> {
    let id = at.params.get("feed").unwrap_or_default();
    let feed = instance.feeds.get(id).ok_or_else(|| no_such_feed(id))?;
    let header = head.headers.get("x-webhook-access-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let secret = header.or_else(|| head.query_value("secret")).unwrap_or_default();
    let expected = feed
        .secret
        .ok_or_else(|| Refusal::unauthenticated("The feed has no secret yet: make one with feeds/…:generateSecret."))?;
    if crate::snapshot::SecretHash::of(&secret) != expected {
        let message = "The feed's secret is missing or wrong: send it as X-Webhook-Access-Key, or as ?secret=.";
        return Err(Refusal::unauthenticated(message));
    }
    if !feed.enabled {
        return Err(Refusal::new(Cause::PermissionDenied, "The feed is disabled."));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
