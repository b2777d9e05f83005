//! OCI's resources as documents: compartments, log groups, logs, applications, functions, service connectors, work
//! requests and the users of its API; how they are kept, changed, shown, and what the snapshot has of them.
//!
//! Every document lies below its instance (the tenancy) under its OCID and is
//! `{"body": …, "state": …, "details": …, "own": …}`: what its maker can set, as `dialects::oci` made it canonical; the
//! lifecycle state and why; and what is ours alone. What they mean to the log, to functions and to connectors is made of
//! them here, too ([`Control::function_specs`], [`Control::service_connectors`]). Waiting for an installation and starting
//! what a change means is the components' business.

mod changes;
mod shown;
mod users;
mod views;

use std::collections::HashMap;

use dialects::oci::ocid::{self, OcidKind};
use dialects::oci::{Kind, ListCall, Resource, SortBy};
use dialects::{Cause, Refusal};
use event::{InstanceId, limits};
use resources::{Document, ResourceError};
use serde_json::Value;

use super::{Control, ControlError};

pub use changes::{Archive, FUNCTIONS_OFF, Installed, Made};
pub use shown::stamp;
pub use views::connector_of;

/// The group that logs of applications and connectors are made in, as OCI calls the one that it makes by itself.
pub const DEFAULT_GROUP: &str = "Default_Group";

/// The service whose log holds what functions print.
pub const FUNCTIONS_SERVICE: &str = "functions";

/// The service whose log holds what connectors did.
pub const CONNECTOR_SERVICE: &str = "och";

/// How long a retry token is remembered.
const RETRY_TOKEN_NANOS: i64 = 86_400_000_000_000;

/// Where a kind's documents are kept.
pub(super) fn document_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Compartment => "oci_compartment",
        Kind::LogGroup => "oci_log_group",
        Kind::Log => "oci_log",
        Kind::Application => "oci_application",
        Kind::Function => "oci_function",
        Kind::ServiceConnector => "oci_service_connector",
        Kind::WorkRequest => "oci_work_request",
    }
}

/// The name that a kind's members have among themselves.
fn name_of(kind: Kind, body: &Value) -> &str {
    let key = if kind == Kind::Compartment { "name" } else { "displayName" };
    body[key].as_str().unwrap_or_default()
}

/// The field of a body that names what a member lies in.
fn parent_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Log => "logGroupId",
        Kind::Function => "applicationId",
        _ => "compartmentId",
    }
}

/// What lies between a member of a kind and its compartment.
fn parent_kind(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Log => Some(Kind::LogGroup),
        Kind::Function => Some(Kind::Application),
        _ => None,
    }
}

fn text<'b>(body: &'b Value, key: &str) -> &'b str {
    body[key].as_str().unwrap_or_default()
}

impl Control {
    /// One resource.
    pub fn get_oci(
        &self,
        instance: InstanceId,
        kind: Kind,
        parent: Option<&str>,
        id: &str,
    ) -> Result<Resource, Refusal> {
        if kind == Kind::Compartment && id == ocid::tenancy(instance) {
            return self.root_compartment(instance);
        }
        let found = self.find_oci(instance, kind, id)?;
        if parent.is_some_and(|parent| found.json["body"][parent_key(kind)] != parent) {
            return Err(no_such(kind, id));
        }
        self.show_oci(instance, kind, &found)
    }

    /// The resources that a call asks for, in the order that it asks for, whatever page it wants of them. Their states are
    /// those of the documents: whoever knows better is to look at `lifecycle_state` and at the page.
    pub fn list_oci(&self, instance: InstanceId, kind: Kind, call: &ListCall) -> Result<Vec<Resource>, Refusal> {
        let mut compartments = None;
        if let Some(compartment) = &call.compartment {
            self.check_compartment(instance, compartment)?;
            let below = if call.subtree { self.compartments_below(instance, compartment)? } else { Vec::new() };
            compartments = Some([vec![compartment.clone()], below].concat());
        }
        let mut above = HashMap::new();
        if let Some(parents) = parent_kind(kind) {
            for parent in self.all_oci(instance, parents)? {
                above.insert(parent.id, text(&parent.json["body"], "compartmentId").to_owned());
            }
            // A log group or application of somebody else's is as little there as one that nobody made.
            if let Some(parent) = call.parent.as_ref().filter(|parent| !above.contains_key(*parent)) {
                return Err(no_such(parents, parent));
            }
        }
        let mut found = Vec::new();
        for document in self.all_oci(instance, kind)? {
            let body = &document.json["body"];
            let (name, parent) = (name_of(kind, body), text(body, parent_key(kind)));
            let compartment = above.get(parent).map_or(parent, String::as_str);
            let within = compartments.as_ref().is_none_or(|within| within.iter().any(|one| one == compartment));
            let below = call.parent.as_ref().is_none_or(|wanted| wanted == parent);
            let named = call.display_name.as_ref().is_none_or(|wanted| wanted == name);
            let meant = call.id.as_ref().is_none_or(|wanted| *wanted == document.id);
            let source = &body["configuration"]["source"];
            let is =
                |wanted: &Option<String>, found: &Value| wanted.as_ref().is_none_or(|wanted| found == wanted.as_str());
            let of_log = is(&call.log_type, &body["logType"]) && is(&call.service, &source["service"]);
            let about = call.resource.as_ref().is_none_or(|wanted| is_about(kind, body, wanted));
            if within && below && named && meant && of_log && about {
                found.push((name.to_owned(), self.show_in(instance, kind, &document, compartment)));
            }
        }
        if call.sort_by == SortBy::DisplayName {
            found.sort_by(|a, b| a.0.cmp(&b.0));
        }
        if call.descending {
            found.reverse();
        }
        Ok(found.into_iter().map(|(_, resource)| resource).collect())
    }

    /// The document of a resource.
    fn find_oci(&self, instance: InstanceId, kind: Kind, id: &str) -> Result<Document, Refusal> {
        match self.resources.get(document_kind(kind), &instance.to_string(), id) {
            Err(ResourceError::NotFound { .. }) => Err(no_such(kind, id)),
            found => kept(found),
        }
    }

    /// Refuses what is no compartment of the instance. Its root is the tenancy itself.
    fn check_compartment(&self, instance: InstanceId, id: &str) -> Result<(), Refusal> {
        if id == ocid::tenancy(instance) {
            return Ok(());
        }
        self.find_oci(instance, Kind::Compartment, id).map(drop)
    }

    /// Every compartment below one, however deep.
    pub fn compartments_below(&self, instance: InstanceId, root: &str) -> Result<Vec<String>, Refusal> {
        let all = self.all_oci(instance, Kind::Compartment)?;
        let mut below = vec![root.to_owned()];
        let mut next = 0;
        while next < below.len() {
            let children = all.iter().filter(|child| child.json["body"]["compartmentId"] == below[next].as_str());
            let children: Vec<String> = children.map(|child| child.id.clone()).collect();
            below.extend(children);
            next += 1;
        }
        below.remove(0);
        Ok(below)
    }

    /// The compartment that a body lies in, by way of its log group or application.
    fn compartment_of(&self, instance: InstanceId, kind: Kind, body: &Value) -> Result<String, Refusal> {
        let parent = text(body, parent_key(kind));
        match parent_kind(kind) {
            None => Ok(parent.to_owned()),
            Some(by) => Ok(text(&self.find_oci(instance, by, parent)?.json["body"], "compartmentId").to_owned()),
        }
    }

    /// Documents of a kind of an instance.
    fn all_oci(&self, instance: InstanceId, kind: Kind) -> Result<Vec<Document>, Refusal> {
        kept(self.resources.list(document_kind(kind), Some(&instance.to_string())))
    }
}

/// Whether a log is of this resource, or a work request about it.
fn is_about(kind: Kind, body: &Value, resource: &str) -> bool {
    match kind {
        Kind::Log => body["configuration"]["source"]["resource"] == resource,
        Kind::WorkRequest => {
            body["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["identifier"] == resource))
        }
        _ => false,
    }
}

/// What the control plane says, as a refusal.
fn kept<T>(result: Result<T, ResourceError>) -> Result<T, Refusal> {
    result.map_err(|error| ControlError::from(error).into())
}

/// As OCI answers: nobody learns whether it exists for others.
pub fn no_such(kind: Kind, id: &str) -> Refusal {
    let shown: String = id.chars().take(120).collect();
    let message = format!("There is no {} {shown:?}, or this credential does not reach it.", kind.noun());
    Refusal::new(Cause::NotFound, message)
}

fn wrong_state(message: impl Into<String>) -> Refusal {
    Refusal::new(Cause::WrongState, message)
}

/// A fresh OCID of a kind.
fn fresh_id(kind: OcidKind, region: &str) -> String {
    ocid::ocid(kind, region, uuid::Uuid::new_v4())
}

/// What the OCID of a resource names.
fn ocid_kind(kind: Kind) -> OcidKind {
    match kind {
        Kind::Compartment => OcidKind::Compartment,
        Kind::LogGroup => OcidKind::LogGroup,
        Kind::Log => OcidKind::Log,
        Kind::Application => OcidKind::Application,
        Kind::Function => OcidKind::Function,
        Kind::ServiceConnector => OcidKind::ServiceConnector,
        Kind::WorkRequest => OcidKind::LogWorkRequest,
    }
}
