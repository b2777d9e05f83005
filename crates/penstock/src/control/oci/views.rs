//! What the stored resources of OCI mean to others: the snapshot's compartments and logs, the connectors that `deliver`
//! runs, the functions that `functions` runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dialects::Refusal;
use dialects::oci::{Kind, ocid};
use dialects::snapshot::{Instance, OciCompartment, OciLog, OciLogType};
use event::InstanceId;
use functions::{Entry, Expects, Spec};
use serde_json::{Map, Value, json};

use super::{Control, document_kind, kept};
use crate::control::{ControlError, known_instance};

/// A connector's batch closes at this size where its maker set neither size nor number.
const BATCH_KBS_DEFAULT: u64 = 5_000;

/// …and after so many seconds. OCI's own default is not published; its documents show 5 and 60.
const BATCH_SECS_DEFAULT: u64 = 5;

/// What a connector's batch may hold where only its number of records is set.
const BATCH_BYTES_MAX: u64 = 6_000_000;

/// How much longer a connector waits for a function than the function may take: the process may have to start first.
const PATIENCE_SECS: u64 = 30;

/// Seconds that a function may take where its maker did not say.
const TIMEOUT_SECS_DEFAULT: u64 = 30;

/// Memory of a function where its maker did not say, in MiB.
const MEMORY_MIB_DEFAULT: u64 = 128;

/// Seconds that a process of a function may idle.
const IDLE_SECS_DEFAULT: u64 = 30;

/// The name under which `deliver` knows a service connector.
pub fn connector_of(service_connector: &str) -> String {
    format!("oci-{}", service_connector.rsplit('.').next().unwrap_or_default())
}

impl Control {
    /// The compartments of all instances, the roots among them.
    pub(in crate::control) fn oci_compartments(
        &self,
        instances: &HashMap<InstanceId, Instance>,
    ) -> anyhow::Result<HashMap<String, OciCompartment>> {
        let mut compartments = HashMap::new();
        for (instance, known) in instances {
            let root = OciCompartment { instance: *instance, name: known.name.clone(), parent: None };
            compartments.insert(ocid::tenancy(*instance), root);
        }
        for document in self.resources.list(document_kind(Kind::Compartment), None)? {
            let Some(instance) = known_instance(&document, instances) else { continue };
            let text = |key: &str| document.json["body"][key].as_str().unwrap_or_default().to_owned();
            let compartment = OciCompartment { instance, name: text("name"), parent: Some(text("compartmentId")) };
            compartments.insert(document.id, compartment);
        }
        Ok(compartments)
    }

    /// The logs of all instances.
    pub(in crate::control) fn oci_logs(
        &self,
        instances: &HashMap<InstanceId, Instance>,
    ) -> anyhow::Result<HashMap<String, Arc<OciLog>>> {
        let mut groups = HashMap::new();
        for group in self.resources.list(document_kind(Kind::LogGroup), None)? {
            groups.insert(group.id, group.json["body"]["compartmentId"].as_str().unwrap_or_default().to_owned());
        }
        let mut names = HashMap::new();
        for kind in [Kind::Application, Kind::ServiceConnector] {
            for mut writer in self.resources.list(document_kind(kind), None)? {
                names.insert(writer.id, writer.json["body"]["displayName"].take());
            }
        }
        let mut logs = HashMap::new();
        for document in self.resources.list(document_kind(Kind::Log), None)? {
            let Some(instance) = known_instance(&document, instances) else { continue };
            let body = &document.json["body"];
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let log_group = text(&body["logGroupId"]).unwrap_or_default();
            let Some(compartment) = groups.get(&log_group).cloned() else { continue };
            let source = &body["configuration"]["source"];
            let log = OciLog {
                id: document.id.clone(),
                instance,
                compartment,
                log_group,
                name: text(&body["displayName"]).unwrap_or_default(),
                log_type: if body["logType"] == "SERVICE" { OciLogType::Service } else { OciLogType::Custom },
                enabled: body["isEnabled"].as_bool().unwrap_or(true),
                service: text(&source["service"]),
                resource: text(&source["resource"]),
                resource_name: source["resource"].as_str().and_then(|writer| text(names.get(writer)?)),
                category: text(&source["category"]),
            };
            logs.insert(document.id, Arc::new(log));
        }
        Ok(logs)
    }

    /// The service connectors as documents of `deliver`.
    pub(in crate::control) fn service_connectors(&self) -> Result<Vec<Value>, ControlError> {
        let mut functions = HashMap::new();
        for mut function in self.resources.list(document_kind(Kind::Function), None)? {
            let body = &mut function.json["body"];
            let secs = body["timeoutInSeconds"].as_u64().unwrap_or(TIMEOUT_SECS_DEFAULT);
            functions.insert(function.id, (body["displayName"].take(), secs));
        }
        let mut connectors = Vec::new();
        for document in self.resources.list(document_kind(Kind::ServiceConnector), None)? {
            let Ok(instance) = document.parent.parse::<InstanceId>() else { continue };
            let (body, state) = (&document.json["body"], &document.json["state"]);
            let mut scopes = Vec::new();
            for source in body["source"]["logSources"].as_array().into_iter().flatten() {
                let compartment = source["compartmentId"].as_str().unwrap_or_default();
                let mut compartments = vec![compartment.to_owned()];
                let mut scope = Map::new();
                match source["logGroupId"].as_str() {
                    Some("_Audit_Include_Subcompartment") => {
                        let below = self.compartments_below(instance, compartment);
                        compartments.extend(below.map_err(|refusal| ControlError::Invalid(refusal.message))?);
                        scope.insert("log_group".to_owned(), Value::from("_Audit"));
                    }
                    Some(group) if !group.is_empty() => {
                        scope.insert("log_group".to_owned(), Value::from(group));
                    }
                    _ => {}
                }
                if let Some(log) = source["logId"].as_str() {
                    scope.insert("log".to_owned(), Value::from(log));
                }
                scope.insert("compartments".to_owned(), json!(compartments));
                scopes.push(Value::Object(scope));
            }
            let conditions: Vec<String> = body["tasks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|task| task["condition"].as_str())
                // On lines of their own, since a condition may end in a comment.
                .map(|condition| format!("({condition}\n)"))
                .collect();
            let mut source = json!({ "language": "oci", "scopes": scopes });
            if !conditions.is_empty() {
                source["query"] = Value::from(conditions.join(" and "));
            }
            let target = &body["target"];
            let function = target["functionId"].as_str().unwrap_or_default();
            let (kbs, number) = (target["batchSizeInKbs"].as_u64(), target["batchSizeInNum"].as_u64());
            let bytes = match (kbs, number) {
                (Some(kbs), _) => (kbs * 1_000).min(BATCH_BYTES_MAX),
                (None, Some(_)) => BATCH_BYTES_MAX,
                (None, None) => BATCH_KBS_DEFAULT * 1_000,
            };
            // A function that was deleted is called by its OCID.
            let (name, secs) = functions.get(function).cloned().unwrap_or((Value::Null, TIMEOUT_SECS_DEFAULT));
            let mut deliver_to = json!({
                "type": "function",
                "function": function,
                "batch_bytes_max": bytes,
                "batch_wait_ms": target["batchTimeInSec"].as_u64().unwrap_or(BATCH_SECS_DEFAULT) * 1_000,
                "timeout_ms": (secs + PATIENCE_SECS) * 1_000,
            });
            if name.is_string() {
                deliver_to["name"] = name;
            }
            if let Some(number) = number {
                deliver_to["batch_records_max"] = Value::from(number);
            }
            connectors.push(json!({
                "name": connector_of(&document.id),
                "instance": document.parent,
                "state": if state == "INACTIVE" { "inactive" } else { "active" },
                "source": source,
                "target": deliver_to,
                "run_log": true,
            }));
        }
        Ok(connectors)
    }

    /// The functions of all instances as they are to run now, each with whose it is.
    pub fn function_specs(&self) -> Result<Vec<(InstanceId, Spec)>, Refusal> {
        let mut applications = HashMap::new();
        for application in kept(self.resources.list(document_kind(Kind::Application), None))? {
            let body = &application.json["body"];
            let name = body["displayName"].as_str().unwrap_or_default().to_owned();
            applications.insert(application.id, (name, texts(&body["config"])));
        }
        let mut specs = Vec::new();
        for document in kept(self.resources.list(document_kind(Kind::Function), None))? {
            let (body, own) = (&document.json["body"], &document.json["own"]);
            let app_id = body["applicationId"].as_str().unwrap_or_default().to_owned();
            let Some((app_name, app_config)) = applications.get(&app_id) else { continue };
            let Ok(instance) = document.parent.parse::<InstanceId>() else { continue };
            let mut config = app_config.clone();
            config.extend(texts(&body["config"]));
            let number = |value: &Value, default: u64| value.as_u64().unwrap_or(default);
            let handler = body["sourceDetails"]["archiveSourceDetails"]["handler"]
                .as_str()
                .or(body["sourceDetails"]["handler"].as_str())
                .or(own["handler"].as_str());
            let spec = Spec {
                id: document.id.clone(),
                name: body["displayName"].as_str().unwrap_or_default().to_owned(),
                app_id,
                app_name: app_name.clone(),
                version: own["version"].as_str().map(str::to_owned),
                handler: handler.map(entry).unwrap_or_default(),
                memory_mib: u32::try_from(number(&body["memoryInMBs"], MEMORY_MIB_DEFAULT)).unwrap_or(u32::MAX),
                timeout: Duration::from_secs(number(&body["timeoutInSeconds"], TIMEOUT_SECS_DEFAULT)),
                idle_timeout: Duration::from_secs(number(&own["idle_timeout_secs"], IDLE_SECS_DEFAULT)),
                processes: usize::try_from(number(&own["processes"], 1)).unwrap_or(1),
                config,
                expects: match own["expects"].as_str() {
                    Some("any") => Expects::Any,
                    Some("nothing") => Expects::Nothing,
                    _ => Expects::default(),
                },
            };
            specs.push((instance, spec));
        }
        Ok(specs)
    }
}

/// A map of texts.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// `func.handler`, `func.py handler` and `func.py:handler` all name the function `handler` of the file `func.py`.
fn entry(text: &str) -> Entry {
    let split = text.split_once([' ', ':']).or_else(|| text.rsplit_once('.'));
    let Some((file, name)) = split else {
        return Entry { name: text.to_owned(), ..Entry::default() };
    };
    let file = file.trim();
    let file = if file.ends_with(".py") { file.to_owned() } else { format!("{file}.py") };
    Entry { file, name: name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_named_in_several_ways() {
        for text in ["func.handler", "func.py handler", "func.py:handler", "func:handler", "handler"] {
            let Entry { file, name } = entry(text);
            assert_eq!((file.as_str(), name.as_str()), ("func.py", "handler"), "{text}");
        }
        assert_eq!(entry("lib/main.run").file, "lib/main.py");
    }

    #[test]
    fn connectors_are_named_by_the_unique_part() {
        let id = ocid::ocid(ocid::OcidKind::ServiceConnector, "us-ashburn-1", uuid::Uuid::from_u128(7));
        let name = connector_of(&id);
        let unique = name.strip_prefix("oci-").unwrap();
        assert!(name.len() <= 63 && unique.len() == 32 && id.ends_with(unique), "{name}");
    }
}
