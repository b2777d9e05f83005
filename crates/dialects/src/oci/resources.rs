//! Calls on resources: which question each asks, and how what a component shows in full looks in each of OCI's APIs.

use http::StatusCode;
use http::header::{ETAG, HeaderName};
use serde_json::{Map, Value, json};

use super::reply::{self, List, empty};
use super::{
    Act, Api, Asked, Kind, ListCall, Outcome, Question, Resource, SortBy, form, header, kinds, missing, ocid,
    retry_token,
};
use crate::{Cause, Intake, Refusal};
use event::limits;

/// Names the work request of an asynchronous call.
pub(super) const WORK_REQUEST: HeaderName = HeaderName::from_static("opc-work-request-id");

/// The states that lists may be narrowed to.
const STATES: [&str; 8] =
    ["ACTIVE", "CREATING", "DELETED", "DELETING", "FAILED", "INACTIVE", "NEEDS_ATTENTION", "UPDATING"];

impl Asked<'_> {
    pub(super) fn create(&self, kind: Kind, parent: Option<String>) -> Result<Intake, Refusal> {
        let body = kinds::create(kind, self.api, &self.snapshot.oci_runtimes, form::object(self.request)?)?;
        if let Some(compartment) = body.get("compartmentId").and_then(Value::as_str) {
            self.check_compartment(compartment)?;
        }
        let act = Act::Create { parent, body, retry_token: retry_token(self.head)? };
        self.ask_one(kind, act)
    }

    pub(super) fn get(&self, kind: Kind, id: String, parent: Option<String>) -> Result<Intake, Refusal> {
        self.check_work_request(kind, &id)?;
        self.ask_one(kind, Act::Get { id, parent })
    }

    pub(super) fn update(&self, kind: Kind, id: String, parent: Option<String>) -> Result<Intake, Refusal> {
        let body = kinds::update(kind, self.api, &self.snapshot.oci_runtimes, form::object(self.request)?)?;
        self.ask_one(kind, Act::Update { id, parent, if_match: self.if_match(), body })
    }

    pub(super) fn delete(&self, kind: Kind, id: String, parent: Option<String>) -> Result<Intake, Refusal> {
        self.ask_one(kind, Act::Delete { id, parent, if_match: self.if_match() })
    }

    pub(super) fn switch(&self, id: String, is_active: bool) -> Result<Intake, Refusal> {
        // A token changes nothing: to do it again is to do it once.
        retry_token(self.head)?;
        self.ask_one(Kind::ServiceConnector, Act::Switch { id, is_active, if_match: self.if_match() })
    }

    pub(super) fn list(&self, kind: Kind, parent: Option<String>) -> Result<Intake, Refusal> {
        let list = List::of(self.head, &[]);
        let text = |name: &str| self.head.query_value(name).filter(|text| !text.is_empty());
        let mut call = ListCall {
            display_name: text(if kind == Kind::Compartment { "name" } else { "displayName" }),
            lifecycle_state: text("lifecycleState").map(|state| known_state(&state)).transpose()?,
            id: text("id"),
            limit: self.limit(limits::OCI_LIST_DEFAULT, limits::OCI_LIST_MAX)?,
            page: list.page(self.head)?,
            descending: self.is_descending()?,
            sort_by: self.sort_by()?,
            ..ListCall::default()
        };
        match kind {
            Kind::Log => {
                call.parent = parent;
                call.log_type = text("logType");
                call.service = text("sourceService");
                call.resource = text("sourceResource");
            }
            Kind::Function => {
                call.parent = Some(text("applicationId").ok_or_else(|| missing("applicationId"))?);
            }
            Kind::WorkRequest => {
                call.compartment = Some(self.compartment()?);
                call.lifecycle_state = None;
                call.resource = text("resourceId");
            }
            Kind::Compartment => {
                call.compartment = Some(self.compartment()?);
                call.subtree = self.flag("compartmentIdInSubtree")?;
            }
            Kind::LogGroup | Kind::Application | Kind::ServiceConnector => {
                call.compartment = Some(self.compartment()?);
                call.subtree = self.flag("isCompartmentIdInSubtree")?;
            }
        }
        let api = self.api;
        let status = text("status").filter(|_| kind == Kind::WorkRequest);
        self.ask(Question::Resource { kind, act: Act::List(call) }, move |outcome| {
            let Outcome::Page { items, next_page } = outcome else { return Err(Refusal::internal()) };
            let items = items
                .into_iter()
                .filter(|item| kind != Kind::WorkRequest || is_of_api(api, &item.id))
                .filter(|item| status.as_ref().is_none_or(|status| item.body["status"] == status.as_str()))
                .map(|item| summary(kind, shown(kind, api, item.body)))
                .collect();
            let items = Value::Array(items);
            let body = if api == Api::Connectors { json!({ "items": items }) } else { items };
            Ok(list.with_next(reply::json(&body), next_page.as_deref()))
        })
    }

    /// What a work request logged, or what went wrong with it: nothing, since every one is finished when it is answered.
    pub(super) fn work_details(&self, id: String) -> Result<Intake, Refusal> {
        self.check_work_request(Kind::WorkRequest, &id)?;
        let api = self.api;
        let act = Act::Get { id, parent: None };
        self.ask(Question::Resource { kind: Kind::WorkRequest, act }, move |outcome| match outcome {
            Outcome::One(_) if api == Api::Connectors => Ok(reply::json(&json!({ "items": [] }))),
            Outcome::One(_) => Ok(reply::json(&json!([]))),
            _ => Err(Refusal::internal()),
        })
    }

    /// The runtimes that a function of an archive may name.
    pub(super) fn runtimes(&self) -> Result<Intake, Refusal> {
        let wanted = self.head.query_value("name").filter(|name| !name.is_empty());
        let begins = self.head.query_value("nameStartsWith").unwrap_or_default();
        let holds = self.head.query_value("nameContains").unwrap_or_default();
        let region = &self.snapshot.oci_region;
        let show = |name: &String| {
            let hash = blake3::hash(name.as_bytes()).to_hex();
            let id = format!("ocid1.functionsruntime.oc1.{region}.{}", &hash[..32]);
            let language = name.trim_end_matches(|char: char| !char.is_ascii_alphabetic());
            let language: String = language.chars().take_while(char::is_ascii_alphabetic).collect();
            json!({
                "id": id,
                "name": name,
                "language": language,
                "os": std::env::consts::OS,
                "lifecycleState": "ACTIVE",
                "freeformTags": {},
                "definedTags": {},
            })
        };
        let all = self.snapshot.oci_runtimes.iter();
        let meant = all.filter(|name| wanted.as_ref().is_none_or(|wanted| wanted == *name));
        let meant = meant.filter(|name| name.starts_with(&begins) && name.contains(&holds));
        let items: Vec<Value> = meant.map(show).collect();
        Ok(Intake::Answer(reply::json(&json!({ "items": items }))))
    }

    /// The tenancy of the caller; there is no other for it.
    pub(super) fn tenancy(&self, id: &str) -> Result<Intake, Refusal> {
        let name = self.own_tenancy(id)?;
        Ok(Intake::Answer(reply::json(&json!({
            "id": id,
            "name": name,
            "description": name,
            "homeRegionKey": region_key(&self.snapshot.oci_region),
            "freeformTags": {},
            "definedTags": {},
        }))))
    }

    /// The one region that there is.
    pub(super) fn regions(&self, id: &str) -> Result<Intake, Refusal> {
        self.own_tenancy(id)?;
        let region = &self.snapshot.oci_region;
        Ok(Intake::Answer(reply::json(&json!([{
            "regionKey": region_key(region),
            "regionName": region,
            "status": "READY",
            "isHomeRegion": true,
        }]))))
    }

    /// The name of the tenancy, if this is the caller's.
    fn own_tenancy(&self, id: &str) -> Result<&str, Refusal> {
        let own = self.snapshot.instances.get(&self.instance).filter(|_| id == ocid::tenancy(self.instance));
        own.map(|instance| instance.name.as_str()).ok_or_else(|| {
            let shown: String = id.chars().take(120).collect();
            Refusal::new(Cause::NotFound, format!("There is no tenancy {shown:?} for this key."))
        })
    }

    /// A question about one resource, and the reply of its API: what was made or read with its etag, or the work request.
    fn ask_one(&self, kind: Kind, act: Act) -> Result<Intake, Refusal> {
        let api = self.api;
        self.ask(Question::Resource { kind, act }, move |outcome| match outcome {
            Outcome::One(Resource { body, etag, .. }) => {
                let body = shown(kind, api, body);
                Ok(reply::with_text(reply::json(&body), ETAG, &etag))
            }
            Outcome::Accepted { work_request, .. } => {
                Ok(reply::with_text(empty(StatusCode::ACCEPTED), WORK_REQUEST, &work_request))
            }
            Outcome::Done => Ok(empty(StatusCode::NO_CONTENT)),
            _ => Err(Refusal::internal()),
        })
    }

    fn if_match(&self) -> Option<String> {
        header(&self.head.headers, "if-match").map(str::to_owned)
    }

    /// Each API knows the work requests of its own calls.
    fn check_work_request(&self, kind: Kind, id: &str) -> Result<(), Refusal> {
        if kind != Kind::WorkRequest || is_of_api(self.api, id) {
            return Ok(());
        }
        let shown: String = id.chars().take(120).collect();
        Err(Refusal::new(Cause::NotFound, format!("There is no work request {shown:?} of this API.")))
    }

    fn is_descending(&self) -> Result<bool, Refusal> {
        match self.head.query_value("sortOrder").as_deref() {
            None | Some("" | "ASC") => Ok(false),
            Some("DESC") => Ok(true),
            Some(_) => Err(Refusal::invalid_field("sortOrder", "is neither ASC nor DESC")),
        }
    }

    fn sort_by(&self) -> Result<SortBy, Refusal> {
        match self.head.query_value("sortBy").as_deref() {
            None | Some("" | "timeCreated" | "TIMECREATED" | "timeAccepted" | "id") => Ok(SortBy::TimeCreated),
            Some("displayName" | "NAME" | "name") => Ok(SortBy::DisplayName),
            Some(_) => Err(Refusal::invalid_field("sortBy", "is neither timeCreated nor displayName")),
        }
    }
}

fn known_state(state: &str) -> Result<String, Refusal> {
    if STATES.contains(&state) {
        return Ok(state.to_owned());
    }
    Err(Refusal::invalid_field("lifecycleState", format!("must be one of {}", STATES.join(", "))))
}

fn is_of_api(api: Api, work_request: &str) -> bool {
    let kind = ocid::read(work_request).map(|(kind, _)| kind);
    match api {
        Api::Connectors => kind == Some(ocid::OcidKind::ServiceConnectorWorkRequest),
        _ => kind == Some(ocid::OcidKind::LogWorkRequest),
    }
}

/// A resource as its API shows it.
fn shown(kind: Kind, api: Api, mut body: Value) -> Value {
    if kind != Kind::Function {
        return body;
    }
    // The code went in; it does not come out again.
    if let Some(details) = body.pointer_mut("/sourceDetails/archiveSourceDetails").and_then(Value::as_object_mut) {
        details.shift_remove("archiveFile");
    }
    if api == Api::FunctionsOld
        && let Some(object) = body.as_object_mut()
        && object.get("sourceDetails").is_some_and(|source| source["sourceType"] == "CONTAINER_IMAGE")
        && let Some(Value::Object(mut source)) = object.shift_remove("sourceDetails")
    {
        for key in ["image", "imageDigest"] {
            object.insert(key.to_owned(), source.shift_remove(key).unwrap_or(Value::Null));
        }
        object.insert("sourceDetails".to_owned(), Value::Null);
    }
    body
}

/// A resource as lists show it: without what may be long.
fn summary(kind: Kind, mut body: Value) -> Value {
    let left_out: &[&str] = match kind {
        Kind::ServiceConnector => &["source", "tasks", "target"],
        Kind::Application => &["config", "syslogUrl"],
        Kind::Function => &["config"],
        Kind::Log => &["tenancyId"],
        Kind::Compartment | Kind::LogGroup | Kind::WorkRequest => &[],
    };
    if let Some(object) = body.as_object_mut() {
        let object: &mut Map<String, Value> = object;
        for key in left_out {
            object.shift_remove(*key);
        }
    }
    body
}

/// The short name of a region. OCI has one for each; those that are not in this list are shown by their long name.
fn region_key(region: &str) -> &str {
    const KEYS: [(&str, &str); 12] = [
        ("ap-chuncheon-1", "YNY"),
        ("ap-mumbai-1", "BOM"),
        ("ap-seoul-1", "ICN"),
        ("ap-singapore-1", "SIN"),
        ("ap-sydney-1", "SYD"),
        ("ap-tokyo-1", "NRT"),
        ("ca-toronto-1", "YYZ"),
        ("eu-frankfurt-1", "FRA"),
        ("sa-saopaulo-1", "GRU"),
        ("uk-london-1", "LHR"),
        ("us-ashburn-1", "IAD"),
        ("us-phoenix-1", "PHX"),
    ];
    KEYS.iter().find(|(name, _)| *name == region).map_or(region, |(_, key)| key)
}
