//! Named ways in as documents: Chronicle forwarders, their collectors, and feeds, as callers write and read them.
//!
//! A resource comes in as JSON in any of the spellings that clients use and is kept in one: lowerCamel keys, nothing
//! unset ([`form`] reads it by a table, [`ResourceKind::create`] and [`Change`] use that). What dialects need of the kept
//! documents while data comes in is in [`ways`], which the snapshot holds. Ids, times, secrets and durability are the
//! component's (`penstock`'s control plane).

mod form;
mod kinds;
mod page;
mod ways;

use event::limits;
use serde_json::{Map, Value};

pub use kinds::ResourceKind;
pub(crate) use kinds::{TEXTS, WEBHOOK};
pub(crate) use page::{PageToken, page_size};
pub use ways::{Behavior, Filter, Forwarder, PushFeed, Way};

use crate::faults::Faults;
use crate::{Refusal, Violation};

/// A resource as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its id: a UUID, or the name of a list.
    pub id: String,
    /// Its canonical JSON: what its maker can set, and nothing else.
    pub body: Value,
    /// Whether it may take data.
    pub enabled: bool,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

impl ResourceKind {
    /// The canonical JSON of a resource to be made, or what is wrong with it, by field.
    pub fn create(&self, sent: &Value) -> Result<Value, Refusal> {
        let body = self.read(sent)?;
        self.check(&body)?;
        Ok(body)
    }

    /// The change that a request for an update makes: the fields that `mask` names, as `sent` has them. A field that is
    /// named and not sent is unset. Without a mask (or with an empty one) all that is sent; `*` is everything.
    pub fn change(&self, mask: Option<&str>, sent: &Value) -> Result<Change, Refusal> {
        let body = self.read(sent)?;
        let mask = mask.map(str::trim).filter(|mask| !mask.is_empty());
        let set = match mask {
            Some("*") => return Ok(Change { kind: self.clone(), set: vec![(Vec::new(), Some(body))] }),
            None => leaves_of(&body),
            Some(mask) => {
                let mut set = Vec::new();
                for path in mask.split(',').map(str::trim).filter(|path| !path.is_empty()) {
                    let path = form::resolve(self.fields(), path)
                        .map_err(|description| Refusal::invalid_field("updateMask", description))?;
                    let value = look(&body, &path).cloned();
                    set.push((path.into_iter().map(str::to_owned).collect(), value));
                }
                set
            }
        };
        if set.is_empty() {
            return Err(Refusal::invalid_field("updateMask", "names no field, and the body sets none"));
        }
        Ok(Change { kind: self.clone(), set })
    }

    /// The log type that the resource takes, and so declares.
    pub fn declares(&self, body: &Value) -> Option<String> {
        let path: &[&str] = match self {
            ResourceKind::Forwarder | ResourceKind::ReferenceList => return None,
            ResourceKind::Collector { .. } => &["config", "logType"],
            ResourceKind::Feed => &["details", "logType"],
        };
        look(body, path).and_then(Value::as_str).map(str::to_owned)
    }

    fn read(&self, sent: &Value) -> Result<Value, Refusal> {
        let Some(object) = sent.as_object() else {
            return Err(Refusal::invalid(format!("The body is no JSON object with a {}.", self.noun())));
        };
        let mut faults = Faults::default();
        let body = form::read_fields(self.fields(), object, "", &mut faults);
        match faults.refusal("body") {
            None => Ok(Value::Object(body)),
            Some(refusal) => Err(refusal),
        }
    }

    /// What a whole resource must satisfy, whoever wrote which part of it.
    fn check(&self, body: &Value) -> Result<(), Refusal> {
        let bytes = body.to_string().len();
        let most = match self {
            ResourceKind::ReferenceList => limits::REFERENCE_LIST_BYTES_MAX,
            _ => limits::RESOURCE_BYTES_MAX,
        };
        if bytes > most {
            let message = format!("The {} has {bytes} bytes, more than the {most} allowed.", self.noun());
            return Err(Refusal::invalid(message));
        }
        match self.fault(body) {
            None => Ok(()),
            Some(Violation { field, description }) => Err(Refusal::invalid_field(&field, description)),
        }
    }
}

/// What an update changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    kind: ResourceKind,
    /// Paths and their new values; `None` unsets, the empty path is the whole.
    set: Vec<(Vec<String>, Option<Value>)>,
}

impl Change {
    /// The resource with the change made, checked as a whole.
    pub fn apply(&self, body: &Value) -> Result<Value, Refusal> {
        let mut body = body.clone();
        for (path, value) in &self.set {
            put(&mut body, path, value.clone());
        }
        self.kind.check(&body)?;
        Ok(body)
    }
}

/// What lies at a path.
fn look<'v>(body: &'v Value, path: &[impl AsRef<str>]) -> Option<&'v Value> {
    path.iter().try_fold(body, |value, name| value.get(name.as_ref()))
}

/// Every leaf of what was sent: lists and maps of labels are leaves.
fn leaves_of(body: &Value) -> Vec<(Vec<String>, Option<Value>)> {
    fn walk(value: &Value, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, Option<Value>)>) {
        match value {
            Value::Object(object) if path.last().is_none_or(|name| name != form::LABELS) => {
                for (name, value) in object {
                    path.push(name.clone());
                    walk(value, path, out);
                    path.pop();
                }
            }
            value => out.push((path.clone(), Some(value.clone()))),
        }
    }
    let mut out = Vec::new();
    walk(body, &mut Vec::new(), &mut out);
    out
}

fn put(body: &mut Value, path: &[String], value: Option<Value>) {
    let Some((last, above)) = path.split_last() else {
        *body = value.unwrap_or_else(|| Value::Object(Map::new()));
        return;
    };
    let mut at = body;
    for name in above {
        if !at.get(name).is_some_and(Value::is_object) {
            if value.is_none() {
                return;
            }
            at[name.as_str()] = Value::Object(Map::new());
        }
        at = &mut at[name.as_str()];
    }
    let Some(object) = at.as_object_mut() else { return };
    match value {
        Some(value) => {
            object.insert(last.clone(), value);
        }
        None => {
            object.shift_remove(last);
        }
    }
}

#[cfg(test)]
mod tests;
