//! How OCI's resources change: made, changed, removed, switched on and off, each in one step that the snapshot follows.
//!
//! What a change refers to must be there: compartments, groups, logs, applications, functions. A token that came before
//! with the same body gives what was made then; with another one it is refused. Logs that belong to an application or a
//! connector are made with it, as switched on.

use dialects::oci::ocid::{self, OcidKind};
use dialects::oci::{Kind, Resource};
use dialects::{Cause, Refusal};
use event::{InstanceId, Time};
use resources::Document;
use serde_json::{Map, Value, json};

use super::shown::{etag, operation_of};
use super::{
    CONNECTOR_SERVICE, Control, DEFAULT_GROUP, FUNCTIONS_SERVICE, RETRY_TOKEN_NANOS, document_kind, fresh_id, kept,
    limits, name_of, no_such, ocid_kind, parent_key, parent_kind, text, wrong_state,
};

/// What a change gave.
#[derive(Debug)]
pub struct Made {
    /// The resource as it is now; `None` where it was removed.
    pub resource: Option<Resource>,
    /// The work request that tells of it, where the API answers with one.
    pub work_request: Option<String>,
    /// Code that is to be installed for it.
    pub archive: Option<Archive>,
}

/// The code of a function, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The function's OCID.
    pub function: String,
    /// A zip file.
    pub zip: Vec<u8>,
}

/// How many work requests of an instance are kept: the newest.
const WORK_REQUESTS_KEPT: usize = 500;

/// Bytes of a stored resource at most.
const RESOURCE_BYTES_MAX: usize = 64 << 10;

impl Control {
    /// Makes a resource. `runs` says whether functions can be installed here.
    pub fn create_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        parent: Option<&str>,
        mut body: Value,
        retry_token: Option<&str>,
        runs: bool,
        now: Time,
    ) -> Result<Made, Refusal> {
        self.change_or(|| {
            if let Some(parent) = parent {
                body[parent_key(kind)] = Value::from(parent);
            }
            let asked = blake3::hash(body.to_string().as_bytes()).to_hex().to_string();
            if let Some(token) = retry_token
                && let Some(before) = self.made_before(instance, kind, token, now)?
            {
                if before.json["own"]["asked"] != asked.as_str() {
                    let message = "The opc-retry-token came before with another body; use a fresh one.";
                    return Err(Refusal::new(Cause::StaleRetryToken, message));
                }
                let work_request = before.json["own"]["work_request"].as_str().map(str::to_owned);
                let resource = Some(self.show_oci(instance, kind, &before)?);
                return Ok(Made { resource, work_request, archive: None });
            }
            let zip = take_archive(kind, &mut body, runs)?;
            let id = fresh_id(ocid_kind(kind), &self.settings.oci_region);
            let work_request = self.fresh_work_request(kind, "CREATE");
            let mut own = Map::new();
            own.insert("asked".to_owned(), Value::from(asked));
            own.insert("work_request".to_owned(), Value::from(work_request.clone()));
            if let Some(token) = retry_token {
                own.insert("retry_token".to_owned(), Value::from(token));
                own.insert("retry_until".to_owned(), Value::from(now.saturating_add_nanos(RETRY_TOKEN_NANOS).nanos()));
            }
            let state = if zip.is_some() { "CREATING" } else { "ACTIVE" };
            let made = self.keep_oci(instance, kind, &id, &body, state, &own, now)?;
            let compartment = self.compartment_of(instance, kind, &made.json["body"])?;
            match kind {
                Kind::Application => self.make_service_log(instance, &compartment, &made, FUNCTIONS_SERVICE, now)?,
                Kind::ServiceConnector => {
                    self.make_service_log(instance, &compartment, &made, CONNECTOR_SERVICE, now)?;
                }
                _ => {}
            }
            self.note_work(instance, kind, "CREATE", work_request.as_deref(), &compartment, &id, now)?;
            let resource = Some(self.show_oci(instance, kind, &made)?);
            let archive = zip.map(|zip| Archive { function: id, zip });
            Ok(Made { resource, work_request, archive })
        })
    }

    /// Changes the keys of a resource that `change` has; null unsets.
    pub fn update_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        parent: Option<&str>,
        id: &str,
        if_match: Option<&str>,
        mut change: Value,
        runs: bool,
        now: Time,
    ) -> Result<Made, Refusal> {
        self.change_or(|| {
            let found = self.meant(instance, kind, parent, id, if_match)?;
            let zip = take_archive(kind, &mut change, runs)?;
            let mut json = found.json;
            // Who waits for the state to say that a version is installed must not be told of somebody else's.
            if zip.is_some() && matches!(json["state"].as_str(), Some("CREATING" | "UPDATING")) {
                return Err(Refusal::new(Cause::NotYet, BEING_INSTALLED));
            }
            let Some(body) = json["body"].as_object_mut() else { return Err(Refusal::internal()) };
            let Value::Object(change) = change else { return Err(Refusal::internal()) };
            dialects::oci::lay_over(body, change)?;
            let body = json["body"].clone();
            self.check_oci(instance, kind, Some(id), &body)?;
            if zip.is_some() {
                json["state"] = Value::from("UPDATING");
                json["details"] = Value::Null;
            }
            let made = self.write_oci(instance, kind, id, &json, now)?;
            let compartment = self.compartment_of(instance, kind, &body)?;
            let work_request = self.fresh_work_request(kind, "UPDATE");
            self.note_work(instance, kind, "UPDATE", work_request.as_deref(), &compartment, id, now)?;
            let resource = Some(self.show_oci(instance, kind, &made)?);
            let archive = zip.map(|zip| Archive { function: id.to_owned(), zip });
            Ok(Made { resource, work_request, archive })
        })
    }

    /// Removes a resource that nothing lies in.
    pub fn delete_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        parent: Option<&str>,
        id: &str,
        if_match: Option<&str>,
        now: Time,
    ) -> Result<Made, Refusal> {
        self.change_or(|| {
            let found = self.meant(instance, kind, parent, id, if_match)?;
            for inner in INNER.iter().filter(|(outer, _)| *outer == kind).map(|(_, inner)| *inner) {
                let all = self.all_oci(instance, inner)?;
                let count = all.iter().filter(|inside| inside.json["body"][parent_key(inner)] == id).count();
                if count > 0 {
                    let message =
                        format!("The {} still holds {count} {}(s); delete those first.", kind.noun(), inner.noun());
                    return Err(wrong_state(message));
                }
            }
            let compartment = self.compartment_of(instance, kind, &found.json["body"])?;
            kept(self.resources.delete(document_kind(kind), &instance.to_string(), id))?;
            if matches!(kind, Kind::Application | Kind::ServiceConnector) {
                for log in self.all_oci(instance, Kind::Log)? {
                    if log.json["body"]["configuration"]["source"]["resource"] == id {
                        kept(self.resources.delete(document_kind(Kind::Log), &instance.to_string(), &log.id))?;
                    }
                }
            }
            let work_request = self.fresh_work_request(kind, "DELETE");
            self.note_work(instance, kind, "DELETE", work_request.as_deref(), &compartment, id, now)?;
            Ok(Made { resource: None, work_request, archive: None })
        })
    }

    /// Lets a service connector run, or rest. Doing it twice changes nothing.
    pub fn switch_service_connector(
        &self,
        instance: InstanceId,
        id: &str,
        is_active: bool,
        if_match: Option<&str>,
        now: Time,
    ) -> Result<Made, Refusal> {
        self.change_or(|| {
            let kind = Kind::ServiceConnector;
            let mut json = self.meant(instance, kind, None, id, if_match)?.json;
            json["state"] = Value::from(if is_active { "ACTIVE" } else { "INACTIVE" });
            let made = self.write_oci(instance, kind, id, &json, now)?;
            let compartment = self.compartment_of(instance, kind, &json["body"])?;
            let verb = if is_active { "ACTIVATE" } else { "DEACTIVATE" };
            let work_request = self.fresh_work_request(kind, verb);
            self.note_work(instance, kind, verb, work_request.as_deref(), &compartment, id, now)?;
            Ok(Made { resource: Some(self.show_oci(instance, kind, &made)?), work_request, archive: None })
        })
    }

    /// What became of an installation: the version that runs from now on, or why there is none.
    pub fn installed_oci(
        &self,
        instance: InstanceId,
        function: &str,
        outcome: Result<Installed, String>,
        now: Time,
    ) -> Result<(), Refusal> {
        self.change_or(|| {
            let mut json = self.find_oci(instance, Kind::Function, function)?.json;
            match outcome {
                Ok(Installed { version, label, handler, idle_timeout_secs }) => {
                    json["state"] = Value::from("ACTIVE");
                    json["details"] = Value::Null;
                    json["own"]["version"] = Value::from(version);
                    json["own"]["label"] = Value::from(label);
                    json["own"]["handler"] = Value::from(handler);
                    json["own"]["idle_timeout_secs"] = Value::from(idle_timeout_secs);
                }
                Err(why) => {
                    // What ran before goes on running.
                    let runs = json["own"]["version"].is_string();
                    json["state"] = Value::from(if runs { "ACTIVE" } else { "FAILED" });
                    json["details"] = Value::from(why);
                }
            }
            self.write_oci(instance, Kind::Function, function, &json, now).map(drop)
        })
    }

    /// Installations that a stop cut short: they are said to have failed, since their code is nowhere.
    pub fn fail_interrupted_installations(&self, now: Time) -> Result<(), Refusal> {
        for document in kept(self.resources.list(document_kind(Kind::Function), None))? {
            let is_open = matches!(document.json["state"].as_str(), Some("CREATING" | "UPDATING"));
            if let (true, Ok(instance)) = (is_open, document.parent.parse()) {
                let why = "the server stopped while it installed the code; deploy it again".to_owned();
                self.installed_oci(instance, &document.id, Err(why), now)?;
            }
        }
        Ok(())
    }

    /// Changes what of a function is ours alone: how many processes it may have, and what its calls are expected to do.
    pub fn set_function_own(
        &self,
        instance: InstanceId,
        function: &str,
        set: &Map<String, Value>,
        now: Time,
    ) -> Result<Resource, Refusal> {
        self.change_or(|| {
            let mut json = self.find_oci(instance, Kind::Function, function)?.json;
            for (key, value) in set {
                json["own"][key.as_str()] = value.clone();
            }
            let made = self.write_oci(instance, Kind::Function, function, &json, now)?;
            self.show_oci(instance, Kind::Function, &made)
        })
    }

    /// The resource that a change is about, if it is the version that the caller knows.
    fn meant(
        &self,
        instance: InstanceId,
        kind: Kind,
        parent: Option<&str>,
        id: &str,
        if_match: Option<&str>,
    ) -> Result<Document, Refusal> {
        if kind == Kind::Compartment && id == ocid::tenancy(instance) {
            return Err(wrong_state("The root compartment is the tenancy itself; it does not change."));
        }
        let found = self.find_oci(instance, kind, id)?;
        if parent.is_some_and(|parent| found.json["body"][parent_key(kind)] != parent) {
            return Err(no_such(kind, id));
        }
        let unquoted = |etag: &str| etag.trim().trim_matches('"').to_owned();
        if let Some(wanted) = if_match
            && wanted.trim() != "*"
            && unquoted(wanted) != unquoted(&etag(&found))
        {
            let message = format!("The {} was changed since it was read; read it again.", kind.noun());
            return Err(Refusal::new(Cause::Outdated, message));
        }
        Ok(found)
    }

    fn keep_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        id: &str,
        body: &Value,
        state: &str,
        own: &Map<String, Value>,
        now: Time,
    ) -> Result<Document, Refusal> {
        self.check_oci(instance, kind, None, body)?;
        let document = json!({ "body": body, "state": state, "details": null, "own": own });
        kept(self.resources.create(document_kind(kind), &instance.to_string(), id, &document, &now.to_string()))
    }

    fn write_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        id: &str,
        json: &Value,
        now: Time,
    ) -> Result<Document, Refusal> {
        kept(self.resources.update(document_kind(kind), &instance.to_string(), id, json, None, &now.to_string()))
    }

    /// What a resource must satisfy beside its form: what it refers to is there, its name is free, and there is room.
    fn check_oci(&self, instance: InstanceId, kind: Kind, id: Option<&str>, body: &Value) -> Result<(), Refusal> {
        match parent_kind(kind) {
            Some(by) => self.find_oci(instance, by, text(body, parent_key(kind))).map(drop)?,
            None => self.check_compartment(instance, text(body, "compartmentId"))?,
        }
        if kind == Kind::ServiceConnector {
            self.check_sources(instance, body)?;
            self.find_oci(instance, Kind::Function, text(&body["target"], "functionId"))?;
        }
        let all = self.all_oci(instance, kind)?;
        let name = name_of(kind, body);
        let taken = all.iter().filter(|other| Some(other.id.as_str()) != id).any(|other| {
            let theirs = &other.json["body"];
            name_of(kind, theirs) == name && theirs[parent_key(kind)] == body[parent_key(kind)]
        });
        if taken && kind != Kind::ServiceConnector {
            let message = format!("There is a {} {name:?} already.", kind.noun());
            return Err(Refusal::new(Cause::AlreadyExists, message));
        }
        if id.is_none() && all.len() >= limits::RESOURCES_MAX {
            let message = format!("The tenancy has {} {}s already, as many as can be.", all.len(), kind.noun());
            return Err(wrong_state(message));
        }
        let bytes = body.to_string().len();
        if bytes > RESOURCE_BYTES_MAX {
            let message = format!("The {} has {bytes} bytes, more than the {RESOURCE_BYTES_MAX} allowed.", kind.noun());
            return Err(Refusal::invalid(message));
        }
        Ok(())
    }

    /// Every group and log that a connector reads must be there.
    fn check_sources(&self, instance: InstanceId, body: &Value) -> Result<(), Refusal> {
        for source in body["source"]["logSources"].as_array().into_iter().flatten() {
            self.check_compartment(instance, text(source, "compartmentId"))?;
            let group = text(source, "logGroupId");
            if !group.starts_with("_Audit") && !group.is_empty() {
                self.find_oci(instance, Kind::LogGroup, group)?;
            }
            if let Some(log) = source["logId"].as_str() {
                let found = self.find_oci(instance, Kind::Log, log)?;
                if found.json["body"]["logGroupId"] != group {
                    return Err(no_such(Kind::Log, log));
                }
            }
        }
        Ok(())
    }

    /// The resource that was made with this token, while it is remembered.
    fn made_before(
        &self,
        instance: InstanceId,
        kind: Kind,
        token: &str,
        now: Time,
    ) -> Result<Option<Document>, Refusal> {
        let all = self.all_oci(instance, kind)?;
        Ok(all.into_iter().find(|document| {
            let own = &document.json["own"];
            own["retry_token"] == token && own["retry_until"].as_i64().is_some_and(|until| until > now.nanos())
        }))
    }

    /// The log that an application's or connector's own lines go to, in the default group of its compartment.
    fn make_service_log(
        &self,
        instance: InstanceId,
        compartment: &str,
        of: &Document,
        service: &str,
        now: Time,
    ) -> Result<(), Refusal> {
        let groups = self.all_oci(instance, Kind::LogGroup)?;
        let group = groups.into_iter().find(|group| {
            let body = &group.json["body"];
            body["displayName"] == DEFAULT_GROUP && body["compartmentId"] == compartment
        });
        let group = match group {
            Some(group) => group.id,
            None => {
                let id = fresh_id(OcidKind::LogGroup, &self.settings.oci_region);
                let body = json!({ "compartmentId": compartment, "displayName": DEFAULT_GROUP });
                self.keep_oci(instance, Kind::LogGroup, &id, &body, "ACTIVE", &Map::new(), now)?.id
            }
        };
        let category = if service == FUNCTIONS_SERVICE { "invoke" } else { "runlog" };
        let name = text(&of.json["body"], "displayName");
        let (mut display_name, id) = (format!("{name}_{category}"), fresh_id(OcidKind::Log, &self.settings.oci_region));
        let names = self.all_oci(instance, Kind::Log)?;
        let is_taken = |wanted: &str| {
            let mut logs = names.iter().map(|log| &log.json["body"]);
            logs.any(|body| body["logGroupId"] == group.as_str() && body["displayName"] == wanted)
        };
        if is_taken(&display_name) {
            // Connectors may share a name; their logs' names may not.
            display_name.push('_');
            display_name.push_str(&of.id[of.id.len().saturating_sub(6)..]);
        }
        let body = json!({
            "logGroupId": group,
            "displayName": display_name,
            "logType": "SERVICE",
            "isEnabled": true,
            "retentionDuration": 30,
            "configuration": {
                "compartmentId": compartment,
                "source": { "sourceType": "OCISERVICE", "service": service, "resource": of.id, "category": category },
            },
        });
        self.keep_oci(instance, Kind::Log, &id, &body, "ACTIVE", &Map::new(), now).map(drop)
    }

    /// The id of a work request for a change, where the API answers it with one.
    fn fresh_work_request(&self, kind: Kind, verb: &str) -> Option<String> {
        let of = match kind {
            Kind::ServiceConnector => OcidKind::ServiceConnectorWorkRequest,
            Kind::LogGroup | Kind::Log => OcidKind::LogWorkRequest,
            Kind::Compartment if verb == "DELETE" => OcidKind::LogWorkRequest,
            Kind::Compartment | Kind::Application | Kind::Function | Kind::WorkRequest => return None,
        };
        Some(fresh_id(of, &self.settings.oci_region))
    }

    /// Keeps what is told of a change, where it has a work request. Changes are done when their call is answered, so all of
    /// them succeeded.
    fn note_work(
        &self,
        instance: InstanceId,
        kind: Kind,
        verb: &str,
        id: Option<&str>,
        compartment: &str,
        about: &str,
        now: Time,
    ) -> Result<(), Refusal> {
        let Some(id) = id else { return Ok(()) };
        let parent = instance.to_string();
        let all = self.all_oci(instance, Kind::WorkRequest)?;
        for old in all.iter().take((all.len() + 1).saturating_sub(WORK_REQUESTS_KEPT)) {
            kept(self.resources.delete(document_kind(Kind::WorkRequest), &parent, &old.id))?;
        }
        let at = super::stamp(now);
        let (operation, entity, action) = operation_of(kind, verb);
        let body = json!({
            "compartmentId": compartment,
            "operationType": operation,
            "status": "SUCCEEDED",
            "resources": [{ "entityType": entity, "actionType": action, "identifier": about,
                            "entityUri": format!("/{entity}/{about}") }],
            "percentComplete": 100.0,
            "timeAccepted": at, "timeStarted": at, "timeFinished": at,
        });
        let document = json!({ "body": body, "state": "SUCCEEDED", "details": null, "own": {} });
        let stamp = now.to_string();
        kept(self.resources.create(document_kind(Kind::WorkRequest), &parent, id, &document, &stamp)).map(drop)
    }
}

/// What an installation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The version's id.
    pub version: String,
    /// What its maker calls it.
    pub label: Option<String>,
    /// The file and the function in it, such as `func.py handler`.
    pub handler: Option<String>,
    /// How long a process may idle, where its maker said.
    pub idle_timeout_secs: Option<u64>,
}

/// What is said where functions would have to run.
pub const FUNCTIONS_OFF: &str =
    "Functions are switched off on this server; its operator can set [functions] enabled = true.";

const BEING_INSTALLED: &str =
    "A version of the function is being installed; send the next one when its state is ACTIVE or FAILED again.";

/// What must be empty before the other can go.
const INNER: [(Kind, Kind); 6] = [
    (Kind::LogGroup, Kind::Log),
    (Kind::Application, Kind::Function),
    (Kind::Compartment, Kind::Compartment),
    (Kind::Compartment, Kind::LogGroup),
    (Kind::Compartment, Kind::Application),
    (Kind::Compartment, Kind::ServiceConnector),
];

/// Takes the zip file out of a function's body: documents are small, and the code lies elsewhere. Refuses it where
/// functions do not run.
fn take_archive(kind: Kind, body: &mut Value, runs: bool) -> Result<Option<Vec<u8>>, Refusal> {
    use base64::Engine as _;
    let field = "sourceDetails.archiveSourceDetails.archiveFile";
    let details = match kind {
        Kind::Function => body.pointer_mut("/sourceDetails/archiveSourceDetails").and_then(Value::as_object_mut),
        _ => None,
    };
    let Some(Value::String(file)) = details.and_then(|details| details.shift_remove("archiveFile")) else {
        return Ok(None);
    };
    if !runs {
        return Err(wrong_state(FUNCTIONS_OFF));
    }
    let zip = base64::engine::general_purpose::STANDARD.decode(file);
    zip.map(Some).map_err(|error| Refusal::invalid_field(field, format!("is no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::serve;

    const AT: Time = Time::from_nanos(1_795_809_600_000_000_000);

    #[test]
    fn versions_are_installed_one_after_the_other() {
        let data = tempfile::tempdir().unwrap();
        let settings = serve::settings(&Config::default(), udm::Schema::load());
        let control = Control::open(data.path(), settings, None, AT).unwrap();
        let instance = *control.snapshot().load().instances.keys().next().unwrap();
        let root = ocid::tenancy(instance);
        let make = |kind, body| control.create_oci(instance, kind, None, body, None, true, AT).unwrap();
        let app = make(Kind::Application, json!({ "compartmentId": root, "displayName": "app" }));
        let source = || {
            let code = json!({ "archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": "UEsFBg==" });
            json!({ "sourceType": "ARCHIVE", "archiveSourceDetails": code })
        };
        let body = json!({
            "applicationId": app.resource.unwrap().id, "displayName": "f", "memoryInMBs": 128, "sourceDetails": source(),
        });
        let id = make(Kind::Function, body).archive.unwrap().function;
        let update = |change| control.update_oci(instance, Kind::Function, None, &id, None, change, true, AT);
        let state = |done: Made| done.resource.unwrap().body["lifecycleState"].clone();

        let refused = update(json!({ "sourceDetails": source() })).unwrap_err();
        assert_eq!((refused.cause, &*refused.message), (Cause::NotYet, BEING_INSTALLED));
        // What is no code changes meanwhile.
        assert_eq!(state(update(json!({ "memoryInMBs": 256 })).unwrap()), "CREATING");
        control.installed_oci(instance, &id, Err("no func.py".to_owned()), AT).unwrap();
        assert_eq!(state(update(json!({ "sourceDetails": source() })).unwrap()), "UPDATING");
        assert!(update(json!({ "sourceDetails": source() })).is_err());
    }
}
