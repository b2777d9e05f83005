//! Forwarders, collectors and feeds over this API: which question each call asks, and how what is kept is shown.

use event::InstanceId;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Names;
use crate::ask::{Act, Ask, Outcome, Question, Render};
use crate::resource::{Kept, PageToken, ResourceKind, TEXTS, page_size};
use crate::{Caller, Cause, Head, Intake, Refusal, Reply, Request, Scope};

/// Default and largest size of a page of forwarders, collectors and lists, as Google describes them.
const PAGE_DEFAULT: usize = 50;
const PAGE_OF_LISTS_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// A call on resources of one kind.
pub(crate) struct Call<'a> {
    pub(crate) kind: ResourceKind,
    pub(crate) names: Names,
    /// The instance that it is about.
    pub(crate) instance: InstanceId,
    pub(crate) caller: &'a Caller,
}

impl Call<'_> {
    /// A new one.
    pub(crate) fn create(self, request: &Request) -> Intake {
        match read_body(request) {
            Ok(sent) => self.create_of(&sent),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// A new one as a body describes it.
    pub(crate) fn create_of(self, sent: &Value) -> Intake {
        let body = match self.kind.create(sent) {
            Ok(body) => body,
            Err(refusal) => return self.refuse(refusal),
        };
        let by_sender = !self.caller.scopes().contains(Scope::Admin);
        if by_sender && let Err(refusal) = may_be_made_by_a_sender(&body) {
            return self.refuse(refusal);
        }
        let declares = self.kind.declares(&body);
        self.ask_one(Act::Create { body, declares, by_sender })
    }

    pub(crate) fn get(self, id: &str) -> Intake {
        self.ask_one(Act::Get(id.to_owned()))
    }

    pub(crate) fn update(self, id: &str, request: &Request) -> Intake {
        match read_body(request) {
            Ok(sent) => self.update_of(id, mask(&request.head).as_deref(), &sent),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// A new one that its maker names.
    pub(crate) fn create_named(self, id: &str, sent: &Value) -> Intake {
        match self.kind.create(sent) {
            Ok(body) => self.ask_one(Act::CreateNamed { id: id.to_owned(), body }),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// A change as a body describes it.
    pub(crate) fn update_of(self, id: &str, mask: Option<&str>, sent: &Value) -> Intake {
        match self.kind.change(mask, sent) {
            Ok(change) => self.ask_one(Act::Update { id: id.to_owned(), change }),
            Err(refusal) => self.refuse(refusal),
        }
    }

    pub(crate) fn set_enabled(self, id: &str, enabled: bool) -> Intake {
        self.ask_one(Act::SetEnabled { id: id.to_owned(), enabled })
    }

    pub(crate) fn delete(self, id: &str) -> Intake {
        self.ask(Act::Delete(id.to_owned()), |outcome| match outcome {
            Outcome::Done => Ok(Reply::json(StatusCode::OK, "{}")),
            _ => Err(Refusal::internal()),
        })
    }

    pub(crate) fn new_secret(self, id: &str) -> Intake {
        self.ask(Act::NewSecret(id.to_owned()), |outcome| match outcome {
            Outcome::Secret(secret) => Ok(Reply::json(StatusCode::OK, json!({ "secret": secret }).to_string())),
            _ => Err(Refusal::internal()),
        })
    }

    pub(crate) fn list(self, head: &Head) -> Intake {
        let list = format!("{}/{}", self.names.parent(&self.kind), self.kind.plural());
        let default = if self.kind == ResourceKind::ReferenceList { PAGE_OF_LISTS_DEFAULT } else { PAGE_DEFAULT };
        let asked = page_size(head, default, PAGE_MAX).and_then(|size| Ok((size, PageToken::of(head, &list)?)));
        let (size, token) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(refusal),
        };
        let (kind, names) = (self.kind.clone(), self.names.clone());
        self.ask(Act::List, move |outcome| {
            let Outcome::All(all) = outcome else { return Err(Refusal::internal()) };
            let (page, next) = PageToken::page(token.as_ref(), size, &all, |kept| &kept.id);
            let mut body = Map::new();
            // Clients of Google's APIs expect an empty list to be left out.
            if !page.is_empty() {
                let shown = page.iter().map(|kept| names.show(&kind, kept)).collect();
                body.insert(kind.plural().to_owned(), Value::Array(shown));
            }
            if let Some(next) = next {
                body.insert("nextPageToken".to_owned(), Value::String(next.encode(&list)));
            }
            Ok(Reply::json(StatusCode::OK, Value::Object(body).to_string()))
        })
    }

    /// What a forwarder's own program would be set up with: `{config, auth}`, both texts.
    pub(crate) fn generate_files(self, id: &str) -> Intake {
        let (kind, names) = (self.kind.clone(), self.names.clone());
        self.ask(Act::Get(id.to_owned()), move |outcome| match outcome {
            Outcome::One(kept) => {
                let (config, auth) = forwarder_files(&names, &names.show(&kind, &kept));
                Ok(Reply::json(StatusCode::OK, json!({ "config": config, "auth": auth }).to_string()))
            }
            _ => Err(Refusal::internal()),
        })
    }

    fn ask_one(self, act: Act) -> Intake {
        let (kind, names) = (self.kind.clone(), self.names.clone());
        self.ask(act, move |outcome| match outcome {
            Outcome::One(kept) => Ok(Reply::json(StatusCode::OK, names.show(&kind, &kept).to_string())),
            _ => Err(Refusal::internal()),
        })
    }

    fn ask(self, act: Act, render: impl FnOnce(Outcome) -> Result<Reply, Refusal> + Send + 'static) -> Intake {
        let question = Question::Resource { instance: self.instance, kind: self.kind, act };
        Intake::Ask(Ask { caller: self.caller.clone(), question, render: Render::new(render) })
    }

    fn refuse(&self, refusal: Refusal) -> Intake {
        Intake::Refuse(refusal.of(self.caller))
    }
}

/// Senders make the forwarder that they send by, since Google's library does so on its first log; what decides about
/// other senders' records is an admin's.
fn may_be_made_by_a_sender(body: &Value) -> Result<(), Refusal> {
    let metadata = body.pointer("/config/metadata").and_then(Value::as_object);
    let filters = body.pointer("/config/regexFilters").and_then(Value::as_array);
    if metadata.is_some_and(|metadata| !metadata.is_empty()) || filters.is_some_and(|filters| !filters.is_empty()) {
        let message = "Only a credential with the role admin has permission to make a forwarder with metadata or filters: \
            they would change what others send by it.";
        return Err(Refusal::new(Cause::PermissionDenied, message));
    }
    Ok(())
}

/// The fields that an update names.
pub(crate) fn mask(head: &Head) -> Option<String> {
    head.query_any(&["updateMask", "update_mask"])
}

pub(crate) fn read_body(request: &Request) -> Result<Value, Refusal> {
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("The body is not valid JSON: {error}.")))
}

/// YAML of the form that Google's forwarder reads, as far as it says something here; credentials are not kept, so the
/// second file says where they come from. JSON strings are YAML strings, so nothing has to be escaped another way.
fn forwarder_files(names: &Names, shown: &Value) -> (String, String) {
    let text = |value: &Value| serde_json::to_string(value).expect("a value is always JSON");
    let compression = shown.pointer("/config/uploadCompression").and_then(Value::as_bool).unwrap_or(false);
    let config = format!(
        "output:\n  compression: {compression}\n  identity:\n    customer_id: {}\n    collector_id: {}\n\
         # {}\nmetadata: {}\nregex: {}\n",
        text(&Value::from(names.instance.to_string())),
        text(&shown["name"].as_str().and_then(|name| name.rsplit('/').next()).map_or(Value::Null, Value::from)),
        shown["displayName"]
            .as_str()
            .unwrap_or_default()
            .replace(|char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}'), " "),
        text(shown.pointer("/config/metadata").unwrap_or(&json!({}))),
        text(shown.pointer("/config/regexFilters").unwrap_or(&json!([]))),
    );
    let auth = "# Credentials are shown once, when they are made, and kept hashed: make some with\n\
                #   penstock account create --role ingest --out FILE\n\
                output:\n  identity:\n    secret_key: {}\n"
        .to_owned();
    (config, auth)
}

/// The two methods that a collection and an item of it are reached by, for the table of routes.
pub(crate) const COLLECTION: [(Method, Verb); 2] = [(Method::POST, Verb::Create), (Method::GET, Verb::List)];
pub(crate) const ITEM: [(Method, Verb); 3] =
    [(Method::GET, Verb::Get), (Method::PATCH, Verb::Update), (Method::DELETE, Verb::Delete)];

/// What a call does with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    List,
    Get,
    Update,
    Delete,
}

impl Verb {
    /// Whether the path names the resource itself, not what it stands below.
    pub(crate) fn is_of_one(self) -> bool {
        !matches!(self, Verb::Create | Verb::List)
    }
}

/// How resources are shown by an API.
pub(crate) fn shown(name: String, kind: &ResourceKind, kept: &Kept) -> Value {
    let mut out = Map::new();
    out.insert("name".to_owned(), Value::String(name));
    if let Some(body) = kept.body.as_object() {
        out.extend(body.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    // Clients look into the settings without asking whether there are any.
    if matches!(kind, ResourceKind::Forwarder | ResourceKind::Collector { .. }) {
        out.entry("config").or_insert_with(|| json!({}));
    }
    let state = match (kind, kept.enabled) {
        (_, true) => "ACTIVE",
        (ResourceKind::Feed, false) => "INACTIVE",
        (_, false) => "SUSPENDED",
    };
    if *kind != ResourceKind::ReferenceList {
        out.insert("state".to_owned(), Value::from(state));
    }
    match kind {
        ResourceKind::Forwarder => {
            out.insert("createTime".to_owned(), Value::String(kept.created_at.clone()));
            out.insert("updateTime".to_owned(), Value::String(kept.updated_at.clone()));
        }
        ResourceKind::Feed => {
            out.insert("uid".to_owned(), Value::String(kept.id.clone()));
        }
        ResourceKind::ReferenceList => {
            // A list is written whole each time, and this is when the one that is shown was.
            out.insert("createTime".to_owned(), Value::String(kept.updated_at.clone()));
            if out.get("contentType").is_some_and(|content_type| content_type == TEXTS) {
                out.shift_remove("contentType");
            }
        }
        ResourceKind::Collector { .. } => {}
    }
    Value::Object(out)
}
