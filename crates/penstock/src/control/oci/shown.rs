//! How OCI's resources are shown: what their makers set, with what the server knows beside it.

use dialects::Refusal;
use dialects::oci::{Kind, Resource, ocid};
use event::{InstanceId, Time};
use resources::Document;
use serde_json::{Map, Value, json};

use super::{Control, kept};
use crate::control::INSTANCE;

/// A time as OCI writes it: milliseconds, in UTC.
pub fn stamp(time: Time) -> String {
    let text = time.to_string();
    // RFC 3339 in UTC, with as many digits as it takes.
    let (seconds, fraction) = match text.trim_end_matches('Z').split_once('.') {
        Some((seconds, fraction)) => (seconds.to_owned(), fraction.to_owned()),
        None => (text.trim_end_matches('Z').to_owned(), String::new()),
    };
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{millis}Z")
}

/// The etag of a stored version.
pub(super) fn etag(document: &Document) -> String {
    // With the id, so that one of another resource never fits.
    let hash = blake3::hash(format!("{}/{}", document.id, document.etag).as_bytes()).to_hex();
    format!("\"{}\"", &hash[..16])
}

/// How a work request names a change: operation, entity and action.
pub(super) fn operation_of(kind: Kind, verb: &str) -> (String, &'static str, &'static str) {
    let (noun, entity) = match kind {
        Kind::Compartment => ("COMPARTMENT", "compartment"),
        Kind::LogGroup => ("LOG_GROUP", "loggroup"),
        Kind::Log => ("LOG", "log"),
        Kind::Application => ("APPLICATION", "application"),
        Kind::Function => ("FUNCTION", "function"),
        Kind::ServiceConnector => ("SERVICE_CONNECTOR", "serviceconnectors"),
        Kind::WorkRequest => ("WORK_REQUEST", "workrequest"),
    };
    let action = match verb {
        "CREATE" => "CREATED",
        "DELETE" => "DELETED",
        _ => "UPDATED",
    };
    (format!("{verb}_{noun}"), entity, action)
}

impl Control {
    /// A resource with all that is shown of it.
    pub(super) fn show_oci(&self, instance: InstanceId, kind: Kind, document: &Document) -> Result<Resource, Refusal> {
        let compartment = self.compartment_of(instance, kind, &document.json["body"])?;
        Ok(self.show_in(instance, kind, document, &compartment))
    }

    /// A resource that is known to lie in this compartment.
    pub(super) fn show_in(&self, instance: InstanceId, kind: Kind, document: &Document, compartment: &str) -> Resource {
        let mut shown = Map::new();
        shown.insert("id".to_owned(), Value::from(document.id.as_str()));
        let mut body = document.json["body"].clone();
        if let Some(body) = body.as_object_mut() {
            shown.append(body);
        }
        let mut put = |key: &str, value: Value| {
            shown.entry(key).or_insert(value);
        };
        let (made, changed) = (time(&document.created_at), time(&document.updated_at));
        let details = document.json["details"].clone();
        if kind != Kind::WorkRequest {
            put("compartmentId", Value::from(compartment));
            put("lifecycleState", document.json["state"].clone());
            put("timeCreated", Value::from(made));
            put("freeformTags", json!({}));
            put("definedTags", json!({}));
        }
        let own = &document.json["own"];
        match kind {
            Kind::LogGroup => {
                put("description", Value::Null);
                put("timeLastModified", Value::from(changed));
            }
            Kind::Log => {
                put("tenancyId", Value::from(ocid::tenancy(instance)));
                put("timeLastModified", Value::from(changed));
            }
            Kind::Application => {
                put("config", json!({}));
                put("shape", Value::from("GENERIC_X86"));
                put("timeUpdated", Value::from(changed));
            }
            Kind::Function => {
                put("config", json!({}));
                put("shape", Value::from("GENERIC_X86"));
                put("timeUpdated", Value::from(changed));
                put("lifecycleDetails", details);
                put("invokeEndpoint", self.url().map_or(Value::Null, Value::from));
                put(
                    "penstock",
                    json!({
                        "version": own["version"],
                        "label": own["label"],
                        "processes": own["processes"].as_u64().unwrap_or(1),
                        "expects": own["expects"].as_str().unwrap_or("per-record"),
                    }),
                );
            }
            Kind::ServiceConnector => {
                put("description", Value::Null);
                put("lifecycleDetails", details);
                put("timeUpdated", Value::from(changed));
                put("systemTags", json!({}));
            }
            Kind::Compartment | Kind::WorkRequest => {}
        }
        Resource { id: document.id.clone(), body: Value::Object(shown), etag: etag(document) }
    }

    /// The tenancy as the compartment that holds all others.
    pub(super) fn root_compartment(&self, instance: InstanceId) -> Result<Resource, Refusal> {
        let document = kept(self.resources.get(INSTANCE, "", &instance.to_string()))?;
        let id = ocid::tenancy(instance);
        let body = json!({
            "id": id,
            "compartmentId": id,
            "name": document.json["name"],
            "description": "the tenancy",
            "lifecycleState": "ACTIVE",
            "timeCreated": time(&document.created_at),
            "freeformTags": {},
            "definedTags": {},
        });
        Ok(Resource { id, body, etag: etag(&document) })
    }
}

/// A stored time as OCI writes it.
fn time(stored: &str) -> String {
    stored.parse::<Time>().map_or_else(|_| stored.to_owned(), stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        for (given, expected) in [
            ("2026-11-21T19:42:45Z", "2026-11-21T19:42:45.000Z"),
            ("2026-11-21T19:42:45.5Z", "2026-11-21T19:42:45.500Z"),
            ("2026-11-21T19:42:45.478123456Z", "2026-11-21T19:42:45.478Z"),
        ] {
            assert_eq!(time(given), expected);
        }
    }
}
