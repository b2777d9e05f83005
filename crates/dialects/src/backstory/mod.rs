//! Backstory, the API before the Chronicle API, as `chronicle_cli`, Google's samples and ingestion scripts speak it; the
//! README beside this file lists its calls.
//!
//! Its paths name no instance: what is meant is the credential's own. Forwarders, collectors and feeds are those of
//! [`crate::chronicle_api`], shown with short names and some other words; reference lists are kept here only. Rules,
//! parsers, alerts and assets are absent: those paths answer 501.

use event::{BatchId, InstanceId, Time, limits};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::chronicle_api::resources::{COLLECTION, Call, ITEM, Verb, mask, read_body};
use crate::chronicle_api::search::Search;
use crate::chronicle_api::{Names, require_any, resource};
use crate::resource::{ResourceKind, WEBHOOK};
use crate::snapshot::{Instance, Limits, Snapshot};
use crate::{Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, aip193, auth};

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Forwarders(Verb),
    ForwarderFiles,
    Collectors(Verb),
    Feeds(Verb),
    EnableFeed,
    DisableFeed,
    FeedSecret,
    FeedSchema,
    SearchUdm,
    Lists(Verb),
    Unserved,
}

impl Op {
    /// What a caller must be allowed to do; one of several is enough.
    fn needs(self) -> &'static [Scope] {
        match self {
            Op::Forwarders(verb) | Op::Collectors(verb) | Op::Feeds(verb) | Op::Lists(verb) => match verb {
                Verb::List | Verb::Get => &[Scope::Read, Scope::Admin],
                Verb::Create | Verb::Update | Verb::Delete => &[Scope::Admin],
            },
            Op::ForwarderFiles | Op::FeedSchema => &[Scope::Read, Scope::Admin],
            Op::SearchUdm => &[Scope::Read],
            Op::EnableFeed | Op::DisableFeed | Op::FeedSecret => &[Scope::Admin],
            Op::Unserved => &[Scope::Ingest, Scope::Read, Scope::Admin],
        }
    }
}

/// The dialect.
pub struct Backstory {
    routes: Vec<Route>,
    /// By the number of the route.
    ops: Vec<Op>,
}

impl Backstory {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Backstory {
        let mut api = Backstory { routes: Vec::new(), ops: Vec::new() };
        for (method, verb) in COLLECTION {
            api.claim(method.clone(), "/v2/forwarders", Op::Forwarders(verb));
            api.claim(method.clone(), "/v2/forwarders/{forwarder}/collectors", Op::Collectors(verb));
            api.claim(method.clone(), "/v1/feeds", Op::Feeds(verb));
            api.claim(method, "/v2/lists", Op::Lists(verb));
        }
        for (method, verb) in ITEM {
            api.claim(method.clone(), "/v2/forwarders/{forwarder}", Op::Forwarders(verb));
            api.claim(method.clone(), "/v2/forwarders/{forwarder}/collectors/{collector}", Op::Collectors(verb));
            api.claim(method.clone(), "/v1/feeds/{feed}", Op::Feeds(verb));
            api.claim(method, "/v2/lists/{list}", Op::Lists(verb));
        }
        // The list that is meant stands in the body.
        api.claim(Method::PATCH, "/v2/lists", Op::Lists(Verb::Update));
        api.claim(Method::GET, "/v2/forwarders/{forwarder}:generateForwarderFiles", Op::ForwarderFiles);
        api.claim(Method::POST, "/v1/feeds/{feed}:enable", Op::EnableFeed);
        api.claim(Method::POST, "/v1/feeds/{feed}:disable", Op::DisableFeed);
        api.claim(Method::POST, "/v1/feeds/{feed}:generateSecret", Op::FeedSecret);
        api.claim(Method::GET, "/v1/feedSchema", Op::FeedSchema);
        api.claim(Method::GET, "/v1/events:udmSearch", Op::SearchUdm);
        for method in [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            for path in UNSERVED {
                api.claim(method.clone(), path, Op::Unserved);
            }
        }
        api
    }

    fn claim(&mut self, method: Method, path: &'static str, op: Op) {
        let number = u32::try_from(self.ops.len()).expect("there are not that many calls");
        self.ops.push(op);
        self.routes.push(Route {
            host: None,
            method,
            path,
            op: number,
            body_bytes_max: |limits: &Limits| limits.api_body_bytes_max,
            needs: op.needs().first().copied(),
        });
    }

    fn op(&self, at: &Found<'_>) -> Op {
        self.ops[at.route.op as usize]
    }
}

/// Documented groups of calls that this server does not serve.
const UNSERVED: [&str; 8] = [
    "/v1/alert**",
    "/v1/artifact**",
    "/v1/asset**",
    "/v1/ioc**",
    "/v1/tools**",
    "/v1/events:udmSearchView",
    "/v2/detect**",
    "/v2/detections**",
];

impl Dialect for Backstory {
    fn name(&self) -> &'static str {
        "backstory"
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
        let instance = instance_of(&caller, snapshot).map_err(|refusal| refusal.of(&caller))?;
        Ok(caller.narrowed(instance))
    }

    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        _now: Time,
        _next_id: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        let Some(caller) = caller else {
            return Intake::Refuse(Refusal::unauthenticated("The request has no credential."));
        };
        let found = instance_of(&caller, snapshot)
            .and_then(|id| Ok((id, snapshot.instances.get(&id).ok_or_else(|| no_such_instance(id))?)));
        let (id, instance) = match found {
            Ok(found) => found,
            Err(refusal) => return Intake::Refuse(refusal.of(&caller)),
        };
        let names = Names::backstory(id);
        let call = |kind| Call { kind, names: names.clone(), instance: id, caller: &caller };
        let param = |name: &str| at.params.get(name).unwrap_or_default();
        let accepted = match self.op(at) {
            Op::Forwarders(verb) => forwarder_id(at, verb.is_of_one())
                .map(|id| resource(call(ResourceKind::Forwarder), verb, &id.unwrap_or_default(), request)),
            Op::ForwarderFiles => {
                forwarder_id(at, true).map(|id| call(ResourceKind::Forwarder).generate_files(&id.unwrap_or_default()))
            }
            Op::Collectors(verb) => collector_ids(at, verb)
                .map(|(forwarder, id)| resource(call(ResourceKind::Collector { forwarder }), verb, &id, request)),
            Op::Feeds(Verb::Create) => feed_sent(request).map(|sent| call(ResourceKind::Feed).create_of(&sent)),
            Op::Feeds(verb) => Ok(resource(call(ResourceKind::Feed), verb, param("feed"), request)),
            Op::EnableFeed => Ok(call(ResourceKind::Feed).set_enabled(param("feed"), true)),
            Op::DisableFeed => Ok(call(ResourceKind::Feed).set_enabled(param("feed"), false)),
            Op::FeedSecret => Ok(call(ResourceKind::Feed).new_secret(param("feed"))),
            Op::FeedSchema => Ok(Intake::Answer(feed_schema(instance))),
            Op::SearchUdm => {
                let search = Search { names: names.clone(), caller: &caller, schema: &snapshot.schema };
                search.udm(&request.head).map(Intake::Ask)
            }
            Op::Lists(verb) => lists(call(ResourceKind::ReferenceList), verb, at.params.get("list"), request),
            Op::Unserved => {
                let shown: String = request.head.path.chars().take(120).collect();
                let message = format!("This server does not serve {} {shown}.", request.head.method);
                Err(Refusal::new(Cause::Unsupported, message))
            }
        };
        accepted.unwrap_or_else(|refusal| Intake::Refuse(refusal.of(&caller)))
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        aip193::refuse(refusal)
    }
}

/// The instance that a credential means. The operator has none of its own; where there is only one, none else can be
/// meant.
fn instance_of(caller: &Caller, snapshot: &Snapshot) -> Result<InstanceId, Refusal> {
    match (caller.instance(), snapshot.instances.len()) {
        (Some(own), _) => Ok(own),
        (None, 1) => Ok(*snapshot.instances.keys().next().expect("there is one")),
        (None, count) => Err(Refusal::invalid(format!(
            "The operator's token belongs to no instance, and there are {count}: this API's paths name none, so use a \
             credential of the one that is meant."
        ))),
    }
}

fn no_such_instance(id: InstanceId) -> Refusal {
    Refusal::new(Cause::NotFound, format!("There is no instance {id} on this server."))
}

/// The forwarder in the path, where there is one. Ids were not always UUIDs; those that are not are refused in the words
/// that clients know.
fn forwarder_id(at: &Found<'_>, is_item: bool) -> Result<Option<String>, Refusal> {
    let Some(id) = at.params.get("forwarder") else { return Ok(None) };
    let what = if is_item { "name" } else { "parent" };
    uuid_of(id, what, &format!("forwarders/{id}")).map(Some)
}

fn collector_ids(at: &Found<'_>, verb: Verb) -> Result<(String, String), Refusal> {
    let param = |name: &str| at.params.get(name).unwrap_or_default();
    let (forwarder, collector) = (param("forwarder"), param("collector"));
    if !verb.is_of_one() {
        return Ok((uuid_of(forwarder, "parent", &format!("forwarders/{forwarder}"))?, String::new()));
    }
    let name = format!("forwarders/{forwarder}/collectors/{collector}");
    Ok((uuid_of(forwarder, "name", &name)?, uuid_of(collector, "name", &name)?))
}

fn uuid_of(id: &str, what: &str, name: &str) -> Result<String, Refusal> {
    uuid::Uuid::parse_str(id).map(|id| id.hyphenated().to_string()).map_err(|_| {
        let shown: String = name.chars().take(160).collect();
        Refusal::invalid(format!("{what} ({shown}) does not contain a valid UUID"))
    })
}

/// A feed as it was sent. Its display name came later than this API's command line, which sends none.
fn feed_sent(request: &Request) -> Result<Value, Refusal> {
    let mut sent = read_body(request)?;
    let named = ["displayName", "display_name"].into_iter().any(|name| !sent[name].is_null());
    if let Some(log_type) = ["logType", "log_type"].into_iter().find_map(|name| sent["details"][name].as_str())
        && !named
    {
        let log_type = log_type.rsplit('/').next().unwrap_or_default();
        sent["displayName"] = Value::String(format!("{log_type} by webhook"));
    }
    Ok(sent)
}

/// The kinds of feed that there are, and what each log type's settings are: the same for all of them.
fn feed_schema(instance: &Instance) -> Reply {
    let name = format!("feedSourceTypeSchemas/{WEBHOOK}");
    let log_types = instance.log_types.all();
    let log_types = log_types.iter().map(|(log_type, description, _)| {
        json!({
            "name": format!("{name}/logTypeSchemas/{log_type}"),
            "displayName": if description.is_empty() { log_type } else { description },
            "logType": log_type,
            "detailsFieldSchemas": [{
                "fieldPath": "details.https_push_webhook_settings.split_delimiter",
                "displayName": "Split delimiter",
                "description": "What stands between the logs of one request, such as \\n; empty where a request is one log.",
                "type": "STRING",
            }],
        })
    });
    let body = json!({
        "feedSourceTypeSchemas": [{
            "name": name,
            "displayName": "Webhook",
            "description": "Logs that a sender pushes over HTTPS.",
            "feedSourceType": WEBHOOK,
            "logTypeSchemas": log_types.collect::<Vec<_>>(),
        }],
    });
    Reply::json(StatusCode::OK, body.to_string())
}

/// What a verb says of reference lists. A list's name is its id: it stands in the path, or in the body.
fn lists(call: Call<'_>, verb: Verb, list: Option<&str>, request: &Request) -> Result<Intake, Refusal> {
    match verb {
        Verb::Create => {
            let sent = read_body(request)?;
            Ok(call.create_named(list_name(&sent)?, &sent))
        }
        Verb::Update => {
            let sent = read_body(request)?;
            let name = list.map_or_else(|| list_name(&sent), Ok)?;
            // The mask is of the request's fields, of which the list is one.
            let mask = mask(&request.head).map(|mask| {
                let paths = mask.split(',').map(str::trim);
                paths.map(|path| path.strip_prefix("list.").unwrap_or(path)).collect::<Vec<_>>().join(",")
            });
            Ok(call.update_of(name, mask.as_deref(), &sent))
        }
        verb => Ok(resource(call, verb, list.unwrap_or_default(), request)),
    }
}

/// A name as Google has them: a letter, then letters, digits and underscores; hyphens are let through.
fn list_name(sent: &Value) -> Result<&str, Refusal> {
    let name = sent.as_object().and_then(|sent: &Map<String, Value>| sent.get("name")).and_then(Value::as_str);
    let name = name.ok_or_else(|| Refusal::invalid_field("name", "missing"))?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) || !name.bytes().all(is_word) {
        return Err(Refusal::invalid_field("name", "must be a letter, then letters, digits and underscores"));
    }
    if name.len() > limits::REFERENCE_LIST_NAME_BYTES_MAX {
        let description = format!("longer than {} characters", limits::REFERENCE_LIST_NAME_BYTES_MAX);
        return Err(Refusal::invalid_field("name", description));
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
