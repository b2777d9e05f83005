//! What of OCI's world its own API has no words for, over `/api/…`: users with keys, the calls of functions, and how
//! functions run here.

use std::collections::HashMap;
use std::sync::Arc;

use dialects::oci::{Kind, ListCall};
use dialects::{Refusal, Scope};
use event::InstanceId;
use functions::CallReport;
use http::{Method, StatusCode};
use receive::OwnRequest;
use serde_json::{Map, Value, json};

use super::manage::{control, fields, meant, role, text};
use super::{Answer, Api, Asker, blocking, json, not_found, parameter};
use crate::control::ControlError;
use crate::control::oci::{FUNCTIONS_OFF, connector_of};

/// Calls that are shown where nobody says how many.
const CALLS_SHOWN: usize = 100;

/// Most processes that a function may be given.
const PROCESSES_MAX: u64 = 64;

pub async fn users(api: &Api, request: &OwnRequest, rest: &[&str]) -> Result<Answer, Refusal> {
    let method = &request.method;
    let asker = api.asker(request, if *method == Method::GET { Scope::Read } else { Scope::Admin })?;
    let verb = rest.last().and_then(|last| last.rsplit_once(':'));
    match (method.as_str(), rest, verb) {
        ("GET", [], _) => {
            let instance = asker.instance(parameter(request, "instance").as_deref())?;
            control(api, move |control, _| Ok(Value::Array(control.list_oci_users(instance)?))).await
        }
        ("POST", [], _) => {
            let body = fields(request, &["instance", "role", "name"])?;
            let instance = meant(api, &asker, text(&body, "instance")?)?;
            let role = if body["role"].is_null() { dialects::Role::Admin } else { role(&body)? };
            let name = text(&body, "name")?.unwrap_or_default().to_owned();
            control(api, move |control, now| control.create_oci_user(instance, role, &name, now)).await
        }
        ("DELETE", [id], None) => {
            let id = user_within_reach(api, &asker, id)?;
            control(api, move |control, _| {
                control.delete_oci_user(&id)?;
                Ok(json!({ "deleted": id }))
            })
            .await
        }
        ("POST", [_], Some((id, verb @ ("disable" | "enable")))) => {
            let (id, disabled) = (user_within_reach(api, &asker, id)?, verb == "disable");
            control(api, move |control, now| control.set_oci_user_disabled(&id, disabled, now)).await
        }
        (_, [], _) => Err(Refusal::wrong_method(method, &request.path, vec![Method::GET, Method::POST])),
        (_, [_], None) => Err(Refusal::wrong_method(method, &request.path, vec![Method::DELETE])),
        (_, [_], Some((_, "disable" | "enable"))) => {
            Err(Refusal::wrong_method(method, &request.path, vec![Method::POST]))
        }
        _ => Err(Refusal::not_found(method, &request.path)),
    }
}

fn user_within_reach(api: &Api, asker: &Asker, id: &str) -> Result<String, Refusal> {
    let missing = || not_found(format!("There is no user {id:?} of OCI's API."));
    let instance = api.control.oci_user_instance(id).map_err(|error| match error {
        ControlError::NotFound(_) => missing(),
        error => error.into(),
    })?;
    if asker.reach().is_none_or(|own| own == instance) { Ok(id.to_owned()) } else { Err(missing()) }
}

pub async fn functions(api: &Api, request: &OwnRequest, rest: &[&str]) -> Result<Answer, Refusal> {
    let method = &request.method;
    let asker = api.asker(request, if *method == Method::GET { Scope::Read } else { Scope::Admin })?;
    match (method.as_str(), rest) {
        ("GET", [id, "calls"]) => calls(api, &asker, request, id).await,
        ("PATCH", [id]) => set(api, &asker, request, id).await,
        (_, [_, "calls"]) => Err(Refusal::wrong_method(method, &request.path, vec![Method::GET])),
        (_, [_]) => Err(Refusal::wrong_method(method, &request.path, vec![Method::PATCH])),
        _ => Err(Refusal::not_found(method, &request.path)),
    }
}

/// The instance whose function this is, if the asker reaches it.
async fn instance_of(api: &Api, asker: &Asker, function: &str) -> Result<InstanceId, Refusal> {
    let (control, reach, id) = (Arc::clone(&api.control), asker.reach(), function.to_owned());
    blocking(move || {
        let instances = match reach {
            Some(instance) => vec![instance],
            None => control.snapshot().load().instances.keys().copied().collect(),
        };
        let has = |instance: &InstanceId| control.get_oci(*instance, Kind::Function, None, &id).is_ok();
        let missing = || not_found(format!("There is no function {id:?}."));
        instances.into_iter().find(has).ok_or_else(missing)
    })
    .await?
}

async fn calls(api: &Api, asker: &Asker, request: &OwnRequest, id: &str) -> Result<Answer, Refusal> {
    let instance = instance_of(api, asker, id).await?;
    let limit = match parameter(request, "limit") {
        None => CALLS_SHOWN,
        Some(limit) => limit.parse().map_err(|_| Refusal::invalid(format!("limit is {limit:?}: a number.")))?,
    };
    let Some(running) = api.functions.running().cloned() else {
        return Err(Refusal::new(dialects::Cause::WrongState, FUNCTIONS_OFF));
    };
    let (control, id) = (Arc::clone(&api.control), id.to_owned());
    let shown = blocking(move || {
        let calls = running.calls(&id, limit).map_err(|error| {
            tracing::error!(%error, "the calls of a function cannot be read");
            Refusal::internal()
        })?;
        let connectors = control.list_oci(instance, Kind::ServiceConnector, &ListCall::default())?;
        // A service connector calls under the name that it has within; it is shown by its owner's name for it.
        let names: HashMap<String, Value> = connectors
            .into_iter()
            .map(|mut connector| (connector_of(&connector.id), connector.body["displayName"].take()))
            .collect();
        let show = |call: &CallReport| {
            let mut shown = serde_json::to_value(call).unwrap_or(Value::Null);
            if let Some(name) = names.get(&call.by) {
                shown["by"] = name.clone();
            }
            shown
        };
        Ok::<_, Refusal>(calls.iter().map(show).collect())
    })
    .await??;
    Ok(json(StatusCode::OK, &Value::Array(shown)))
}

async fn set(api: &Api, asker: &Asker, request: &OwnRequest, id: &str) -> Result<Answer, Refusal> {
    let instance = instance_of(api, asker, id).await?;
    let body = fields(request, &["processes", "expects"])?;
    let mut set = Map::new();
    match &body["processes"] {
        Value::Null => {}
        processes => match processes.as_u64().filter(|count| (1..=PROCESSES_MAX).contains(count)) {
            Some(count) => drop(set.insert("processes".to_owned(), Value::from(count))),
            None => return Err(Refusal::invalid(format!("processes is a number from 1 to {PROCESSES_MAX}."))),
        },
    }
    match text(&body, "expects")? {
        None => {}
        Some(expects @ ("per-record" | "any" | "nothing")) => {
            set.insert("expects".to_owned(), Value::from(expects));
        }
        Some(other) => return Err(Refusal::invalid(format!("expects is {other:?}: per-record, any or nothing."))),
    }
    let (control, now, id) = (Arc::clone(&api.control), (api.clock)(), id.to_owned());
    let changed = blocking(move || control.set_function_own(instance, &id, &set, now)).await??;
    api.functions.apply(&api.control).await?;
    Ok(json(StatusCode::OK, &changed.body))
}
