//! Forwarders, collectors, feeds and reference lists: how their documents are kept, changed and shown, and what the snapshot
//! has of them.
//!
//! A document is `{"body": …, "enabled": …, "secret"?: hash}`; the body is what `dialects::resource` made canonical. A
//! collector lies below `<instance>/<forwarder>`, so that it goes with either.

use std::collections::HashMap;
use std::sync::Arc;

use dialects::resource::{Change, Forwarder, Kept, PushFeed, ResourceKind};
use dialects::snapshot::SecretHash;
use event::{InstanceId, Time, limits};
use resources::{Document, ResourceError};
use serde_json::{Value, json};

use super::{Control, ControlError, INSTANCE, LOG_TYPE, random_bytes};

pub(super) const FORWARDER: &str = "forwarder";
pub(super) const COLLECTOR: &str = "collector";
pub(super) const FEED: &str = "feed";
const REFERENCE_LIST: &str = "reference_list";

/// A change that dialects refuse, or the control plane does.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    /// The changed document is not one that can be kept.
    #[error(transparent)]
    Refused(#[from] dialects::Refusal),
    /// Everything else.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<ResourceError> for WayError {
    fn from(error: ResourceError) -> WayError {
        WayError::Control(error.into())
    }
}

impl Control {
    /// Keeps a new resource under a fresh id. A log type that the instance does not have becomes one of its own.
    pub fn create_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        body: &Value,
        declares: Option<&str>,
        by_sender: bool,
        now: Time,
    ) -> Result<Kept, WayError> {
        self.change_or(|| {
            if by_sender && self.ways_of(instance, kind)?.len() >= limits::FORWARDERS_BY_SENDERS_MAX {
                let message = format!(
                    "there are {} forwarders or more; an administrator can make another",
                    limits::FORWARDERS_BY_SENDERS_MAX
                );
                return Err(WayError::Control(ControlError::Invalid(message)));
            }
            let id = uuid::Uuid::new_v4().to_string();
            self.keep_way(instance, kind, &id, body, declares, now)
        })
    }

    /// Keeps a new resource under the name that its maker gave it.
    pub fn create_named_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        body: &Value,
        now: Time,
    ) -> Result<Kept, WayError> {
        self.change_or(|| {
            self.keep_way(instance, kind, id, body, None, now).map_err(|error| match error {
                WayError::Control(ControlError::Exists(_)) => {
                    ControlError::Exists(format!("there is a {} {id:?} already", kind.noun())).into()
                }
                error => error,
            })
        })
    }

    fn keep_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        body: &Value,
        declares: Option<&str>,
        now: Time,
    ) -> Result<Kept, WayError> {
        let (parent, stamp) = (parent(instance, kind), now.to_string());
        self.check_parent(instance, kind)?;
        if self.ways_of(instance, kind)?.len() >= kind.count_max() {
            let message = format!("there are {} {} already, as many as can be", kind.count_max(), kind.plural());
            return Err(WayError::Control(ControlError::Invalid(message)));
        }
        self.check_bytes(instance, kind, None, body)?;
        self.check_filters(instance, body, None)?;
        self.declare(instance, declares, &stamp)?;
        let document = json!({ "body": body, "enabled": true });
        Ok(kept(self.resources.create(document_kind(kind), &parent, id, &document, &stamp)?))
    }

    /// All that one list shows must fit an answer: the others' bytes with those of `body`, which takes the place of `id`.
    fn check_bytes(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: Option<&str>,
        body: &Value,
    ) -> Result<(), WayError> {
        let others = self.resources.list(document_kind(kind), Some(&parent(instance, kind)))?;
        let others = others.iter().filter(|other| Some(other.id.as_str()) != id);
        let bytes: usize = others.map(|other| other.json.to_string().len()).sum();
        if bytes + body.to_string().len() <= limits::RESOURCES_BYTES_MAX {
            return Ok(());
        }
        let (most, plural) = (limits::RESOURCES_BYTES_MAX, kind.plural());
        Err(WayError::Control(ControlError::Invalid(format!("all {plural} together would have over {most} bytes"))))
    }

    /// One resource.
    pub fn get_way(&self, instance: InstanceId, kind: &ResourceKind, id: &str) -> Result<Kept, WayError> {
        Ok(kept(self.find_way(instance, kind, id)?))
    }

    /// All of a kind and parent, in the order in which they were made.
    pub fn list_ways(&self, instance: InstanceId, kind: &ResourceKind) -> Result<Vec<Kept>, WayError> {
        self.check_parent(instance, kind)?;
        let documents = self.resources.list(document_kind(kind), Some(&parent(instance, kind)))?;
        Ok(documents.into_iter().map(kept).collect())
    }

    /// Changes what a resource says.
    pub fn update_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        change: &Change,
        now: Time,
    ) -> Result<Kept, WayError> {
        self.change_or(|| {
            let found = self.find_way(instance, kind, id)?;
            let body = change.apply(&found.json["body"])?;
            self.check_bytes(instance, kind, Some(id), &body)?;
            self.check_filters(instance, &body, Some(&found.json["body"]))?;
            self.declare(instance, kind.declares(&body).as_deref(), &now.to_string())?;
            let mut json = found.json;
            json["body"] = body;
            self.write_way(instance, kind, id, &json, now)
        })
    }

    /// Lets a resource take data, or no longer.
    pub fn enable_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        enabled: bool,
        now: Time,
    ) -> Result<Kept, WayError> {
        self.change_or(|| {
            let mut json = self.find_way(instance, kind, id)?.json;
            json["enabled"] = Value::Bool(enabled);
            self.write_way(instance, kind, id, &json, now)
        })
    }

    /// Gives a resource a new secret in place of the one it had. Kept as its hash only.
    pub fn new_way_secret(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        now: Time,
    ) -> Result<String, WayError> {
        let secret = format!("psf_{}", hex::encode(random_bytes::<24>()));
        self.change_or(|| {
            let mut json = self.find_way(instance, kind, id)?.json;
            json["secret"] = Value::String(hex::encode(SecretHash::of(&secret).as_bytes()));
            self.write_way(instance, kind, id, &json, now)
        })?;
        Ok(secret)
    }

    /// Removes a resource and what lies below it.
    pub fn delete_way(&self, instance: InstanceId, kind: &ResourceKind, id: &str) -> Result<(), WayError> {
        self.change_or(|| {
            self.find_way(instance, kind, id)?;
            let (document_kind, parent) = (document_kind(kind), parent(instance, kind));
            // Children are found by the path alone, and a list may be named as a forwarder's id is.
            let deleted = match kind {
                ResourceKind::Forwarder => self.resources.delete_with_children(document_kind, &parent, id),
                _ => self.resources.delete(document_kind, &parent, id),
            };
            Ok(deleted?)
        })
    }

    fn find_way(&self, instance: InstanceId, kind: &ResourceKind, id: &str) -> Result<Document, WayError> {
        self.check_parent(instance, kind)?;
        self.resources.get(document_kind(kind), &parent(instance, kind), id).map_err(|error| match error {
            ResourceError::NotFound { .. } => no_such(kind.noun(), id).into(),
            error => error.into(),
        })
    }

    fn write_way(
        &self,
        instance: InstanceId,
        kind: &ResourceKind,
        id: &str,
        json: &Value,
        now: Time,
    ) -> Result<Kept, WayError> {
        let parent = parent(instance, kind);
        Ok(kept(self.resources.update(document_kind(kind), &parent, id, json, None, &now.to_string())?))
    }

    fn check_parent(&self, instance: InstanceId, kind: &ResourceKind) -> Result<(), WayError> {
        let found = match kind {
            ResourceKind::Forwarder | ResourceKind::Feed | ResourceKind::ReferenceList => {
                self.resources.get(INSTANCE, "", &instance.to_string())
            }
            ResourceKind::Collector { forwarder } => self.resources.get(FORWARDER, &instance.to_string(), forwarder),
        };
        match (found, kind) {
            (Ok(_), _) => Ok(()),
            (Err(ResourceError::NotFound { .. }), ResourceKind::Collector { forwarder }) => {
                Err(no_such("forwarder", forwarder).into())
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// All documents of the instance that count as of this kind: the collectors of all its forwarders together.
    fn ways_of(&self, instance: InstanceId, kind: &ResourceKind) -> Result<Vec<Document>, WayError> {
        let below = match kind {
            ResourceKind::Collector { .. } => None,
            _ => Some(parent(instance, kind)),
        };
        let mut documents = self.resources.list(document_kind(kind), below.as_deref())?;
        if below.is_none() {
            let prefix = format!("{instance}/");
            documents.retain(|document| document.parent.starts_with(&prefix));
        }
        Ok(documents)
    }

    /// Whether the instance may have the filters of this body in place of those of `old`.
    fn check_filters(&self, instance: InstanceId, body: &Value, old: Option<&Value>) -> Result<(), WayError> {
        let more = filters(body);
        if more <= old.map_or(0, filters) {
            return Ok(());
        }
        let mut count = more - old.map_or(0, filters);
        for kind in [ResourceKind::Forwarder, ResourceKind::Collector { forwarder: String::new() }] {
            count +=
                self.ways_of(instance, &kind)?.iter().map(|document| filters(&document.json["body"])).sum::<usize>();
        }
        if count > limits::INSTANCE_FILTERS_MAX {
            let most = limits::INSTANCE_FILTERS_MAX;
            let message =
                format!("the instance's forwarders and collectors would have {count} filters, more than {most}");
            return Err(WayError::Control(ControlError::Invalid(message)));
        }
        Ok(())
    }

    /// Makes a log type one of the instance's own, where it has none of this name. Whether it did.
    pub(super) fn declare(
        &self,
        instance: InstanceId,
        log_type: Option<&str>,
        stamp: &str,
    ) -> Result<bool, ControlError> {
        let Some(log_type) = log_type.filter(|log_type| !self.builtin.contains(log_type)) else { return Ok(false) };
        let instance = instance.to_string();
        match self.resources.get(LOG_TYPE, &instance, log_type) {
            Ok(_) => return Ok(false),
            Err(ResourceError::NotFound { .. }) => self.check_room_for_a_log_type(&instance)?,
            Err(error) => return Err(error.into()),
        }
        self.resources.create(LOG_TYPE, &instance, log_type, &json!({ "description": "" }), stamp)?;
        Ok(true)
    }

    /// What dialects need of every instance's forwarders and feeds while data comes in.
    pub(super) fn ways(&self) -> anyhow::Result<HashMap<String, Ways>> {
        let mut collectors: HashMap<String, Vec<Kept>> = HashMap::new();
        for document in self.resources.list(COLLECTOR, None)? {
            collectors.entry(document.parent.clone()).or_default().push(kept(document));
        }
        let mut ways: HashMap<String, Ways> = HashMap::new();
        for document in self.resources.list(FORWARDER, None)? {
            let instance = document.parent.clone();
            let forwarder = kept(document);
            let own = collectors.remove(&format!("{instance}/{}", forwarder.id)).unwrap_or_default();
            let ways = ways.entry(instance).or_default();
            ways.forwarders.insert(forwarder.id.clone(), Arc::new(Forwarder::new(&forwarder, &own)));
        }
        for document in self.resources.list(FEED, None)? {
            let instance = document.parent.clone();
            let secret = document.json["secret"].as_str().and_then(|hash| hex::decode(hash).ok());
            let secret = secret.and_then(|hash| hash.try_into().ok()).map(SecretHash::from_bytes);
            let feed = kept(document);
            if let Some(push) = PushFeed::new(&feed, secret) {
                ways.entry(instance).or_default().feeds.insert(feed.id, Arc::new(push));
            }
        }
        Ok(ways)
    }
}

/// The ways into an instance.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) forwarders: HashMap<String, Arc<Forwarder>>,
    pub(super) feeds: HashMap<String, Arc<PushFeed>>,
}

fn filters(body: &Value) -> usize {
    body.pointer("/config/regexFilters").and_then(Value::as_array).map_or(0, Vec::len)
}

fn no_such(noun: &str, id: &str) -> ControlError {
    let shown: String = id.chars().take(60).collect();
    ControlError::NotFound(format!("There is no {noun} {shown:?}."))
}

fn document_kind(kind: &ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Forwarder => FORWARDER,
        ResourceKind::Collector { .. } => COLLECTOR,
        ResourceKind::Feed => FEED,
        ResourceKind::ReferenceList => REFERENCE_LIST,
    }
}

fn parent(instance: InstanceId, kind: &ResourceKind) -> String {
    match kind {
        ResourceKind::Forwarder | ResourceKind::Feed | ResourceKind::ReferenceList => instance.to_string(),
        ResourceKind::Collector { forwarder } => format!("{instance}/{forwarder}"),
    }
}

fn kept(document: Document) -> Kept {
    let Document { id, mut json, created_at, updated_at, .. } = document;
    let enabled = json["enabled"].as_bool().unwrap_or(true);
    Kept { id, body: json["body"].take(), enabled, created_at, updated_at }
}
