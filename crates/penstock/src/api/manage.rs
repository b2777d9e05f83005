//! Instances, accounts, keys, intakes, log types, connectors and their dead letters over `/api/…`.
//!
//! Instances are the operator's; all else also an admin's of its own instance. Secrets are answered once, when made.

use std::sync::Arc;

use dialects::{Refusal, Role, Scope};
use event::{InstanceId, RecordId};
use http::{Method, StatusCode};
use receive::OwnRequest;
use serde_json::{Value, json};

use super::{Answer, Api, Asker, blocking, body, json, not_found, parameter};
use crate::control::{Control, ControlError, NewAccount, NewIntake};

pub async fn answer(api: &Api, request: &OwnRequest, segments: &[&str]) -> Result<Answer, Refusal> {
    let method = &request.method;
    let asker = api.asker(request, if *method == Method::GET { Scope::Read } else { Scope::Admin })?;
    let (last, verb) = match segments.last().and_then(|last| last.rsplit_once(':')) {
        Some((last, verb)) => (last, Some(verb)),
        None => (segments.last().copied().unwrap_or_default(), None),
    };
    match (method.as_str(), segments, verb) {
        ("GET", ["instances"], None) => list_instances(api, &asker).await,
        ("POST", ["instances"], None) => create_instance(api, &asker, request).await,
        ("GET", ["instances", id], None) => get_instance(api, &asker, id).await,
        ("DELETE", ["instances", id], None) => delete_instance(api, &asker, id).await,

        ("GET", ["accounts"], None) => {
            let instance = asker.instance(parameter(request, "instance").as_deref())?;
            control(api, move |control, _| Ok(Value::Array(control.list_accounts(instance)?))).await
        }
        ("POST", ["accounts"], None) => create_account(api, &asker, request).await,
        ("POST", ["accounts", _], Some("rotate")) => rotate_account(api, &asker, last).await,
        ("POST", ["accounts", _], Some("disable")) => disable_account(api, &asker, last).await,
        // A refresh token gives whatever the account may do, so it takes the right to act as another account.
        ("POST", ["accounts", _], Some("adc")) => {
            create_refresh_token(api, &api.asker(request, Scope::Iam)?, last).await
        }
        ("POST", ["accounts", _], Some("revoke-adc")) => revoke_refresh_tokens(api, &asker, last).await,

        ("GET", ["keys"], None) => {
            let instance = asker.instance(parameter(request, "instance").as_deref())?;
            control(api, move |control, _| Ok(Value::Array(control.list_keys(instance)?))).await
        }
        ("POST", ["keys"], None) => create_key(api, &asker, request).await,
        ("DELETE", ["keys", id], None) => delete_key(api, &asker, id).await,

        ("GET", ["intakes"], None) => {
            let instance = asker.instance(parameter(request, "instance").as_deref())?;
            control(api, move |control, _| Ok(Value::Array(control.list_intakes(instance)?))).await
        }
        ("POST", ["intakes"], None) => create_intake(api, &asker, request).await,
        ("GET", ["intakes", id], None) => on_intake(api, &asker, id, |control, id, _| control.get_intake(id)).await,
        ("DELETE", ["intakes", id], None) => delete_intake(api, &asker, id).await,
        ("POST", ["intakes", _], Some("rotate")) => on_intake(api, &asker, last, Control::rotate_intake).await,
        ("POST", ["intakes", _], Some("disable")) => set_intake_disabled(api, &asker, last, true).await,
        ("POST", ["intakes", _], Some("enable")) => set_intake_disabled(api, &asker, last, false).await,

        ("GET", ["log-types"], None) => list_log_types(api, &asker, request).await,
        ("POST", ["log-types"], None) => add_log_type(api, &asker, request).await,

        ("GET", ["connectors"], None) => list_connectors(api, &asker, request).await,
        ("POST", ["connectors"], None) => create_connector(api, &asker, request).await,
        ("GET", ["connectors", name], None) => show_connector(api, &asker, request, name).await,
        ("POST", ["connectors", _], Some("activate")) => set_state(api, &asker, request, last, "active").await,
        ("POST", ["connectors", _], Some("deactivate")) => set_state(api, &asker, request, last, "inactive").await,
        ("DELETE", ["connectors", name], None) => delete_connector(api, &asker, request, name).await,
        ("GET", ["connectors", name, "dead-letters"], None) => dead_letters(api, &asker, request, name).await,
        ("POST", ["connectors", name, "dead-letters:retry"], _) => {
            settle_dead_letters(api, &asker, request, name, Settle::Retry).await
        }
        ("POST", ["connectors", name, "dead-letters:drop"], _) => {
            settle_dead_letters(api, &asker, request, name, Settle::Drop).await
        }
        ("POST", ["connectors", _], Some("acknowledge")) => acknowledge(api, &asker, request, last).await,
        (_, ["instances" | "accounts" | "keys" | "intakes" | "log-types" | "connectors"], None) => {
            Err(Refusal::wrong_method(method, &request.path, vec![Method::GET, Method::POST]))
        }
        (_, ["instances" | "intakes" | "connectors", _], None) => {
            Err(Refusal::wrong_method(method, &request.path, vec![Method::GET, Method::DELETE]))
        }
        (_, ["intakes", _], Some("rotate" | "disable" | "enable")) => {
            Err(Refusal::wrong_method(method, &request.path, vec![Method::POST]))
        }
        _ => Err(Refusal::not_found(method, &request.path)),
    }
}

/// The body, if it is an object with no fields but these: a misspelt one must not silently mean the default.
pub(super) fn fields(request: &OwnRequest, known: &[&str]) -> Result<Value, Refusal> {
    let body = body(request)?;
    let Some(object) = body.as_object() else {
        return Err(Refusal::invalid("The body is not a JSON object."));
    };
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(body),
        Some(name) => {
            Err(Refusal::invalid(format!("The body has an unknown field {name:?}; it takes {}.", known.join(", "))))
        }
    }
}

/// Runs a change of documents where blocking is allowed.
pub(super) async fn control(
    api: &Api,
    work: impl FnOnce(&Control, event::Time) -> Result<Value, ControlError> + Send + 'static,
) -> Result<Answer, Refusal> {
    let (control, now) = (Arc::clone(&api.control), (api.clock)());
    let value = blocking(move || work(&control, now)).await??;
    Ok(json(StatusCode::OK, &value))
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(format!("{name} is a string."))),
    }
}

/// The instance that a call is about: the one it names, the caller's own, or the only one there is.
pub(super) fn meant(api: &Api, asker: &Asker, named: Option<&str>) -> Result<InstanceId, Refusal> {
    match asker.instance(named)? {
        Some(id) => Ok(id),
        None => Ok(api.control.only_instance()?),
    }
}

pub(super) fn role(body: &Value) -> Result<Role, Refusal> {
    let name = text(body, "role")?.unwrap_or("ingest");
    name.parse().map_err(|error| Refusal::invalid(format!("role is {name:?}: {error}.")))
}

// Instances.

async fn list_instances(api: &Api, asker: &Asker) -> Result<Answer, Refusal> {
    let reach = asker.reach();
    control(api, move |control, _| {
        Ok(Value::Array(match reach {
            None => control.list_instances()?,
            Some(id) => vec![control.get_instance(id)?],
        }))
    })
    .await
}

async fn create_instance(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    operator_only(asker, "make instances")?;
    let body = fields(request, &["id", "name", "project", "location"])?;
    let id = text(&body, "id")?.map(str::parse::<InstanceId>).transpose();
    let id = id.map_err(|error| Refusal::invalid(format!("id: {error}.")))?;
    let name = text(&body, "name")?.unwrap_or_default().to_owned();
    let project = text(&body, "project")?.unwrap_or("penstock").to_owned();
    let location = text(&body, "location")?.unwrap_or("us").to_owned();
    control(api, move |control, now| control.create_instance(id, &name, &project, &location, now)).await
}

async fn get_instance(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Refusal> {
    let id = meant(api, asker, Some(id))?;
    control(api, move |control, _| control.get_instance(id)).await
}

async fn delete_instance(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Refusal> {
    operator_only(asker, "delete instances")?;
    let id = meant(api, asker, Some(id))?;
    let answer = control(api, move |control, _| {
        control.delete_instance(id)?;
        Ok(json!({ "deleted": id.to_string() }))
    })
    .await?;
    apply_connectors(api).await?;
    api.functions.apply(&api.control).await?;
    Ok(answer)
}

fn operator_only(asker: &Asker, what: &str) -> Result<(), Refusal> {
    if asker.is_operator() {
        return Ok(());
    }
    Err(Refusal::permission_denied(format!("Only the operator may {what}; use the operator token.")))
}

// Accounts.

async fn create_account(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let body = fields(request, &["instance", "role", "name"])?;
    let instance = meant(api, asker, text(&body, "instance")?)?;
    let role = role(&body)?;
    let name = text(&body, "name")?.map(str::to_owned);
    control(api, move |control, now| {
        show_account(&control.create_account(instance, role, name.as_deref(), now)?, instance)
    })
    .await
}

async fn rotate_account(api: &Api, asker: &Asker, email: &str) -> Result<Answer, Refusal> {
    let instance = account_within_reach(api, asker, email)?;
    let email = email.to_owned();
    control(api, move |control, now| show_account(&control.rotate_account(&email, now)?, instance)).await
}

async fn disable_account(api: &Api, asker: &Asker, email: &str) -> Result<Answer, Refusal> {
    account_within_reach(api, asker, email)?;
    let email = email.to_owned();
    control(api, move |control, now| control.disable_account(&email, now)).await
}

async fn create_refresh_token(api: &Api, asker: &Asker, email: &str) -> Result<Answer, Refusal> {
    let instance = account_within_reach(api, asker, email)?;
    let email = email.to_owned();
    control(api, move |control, now| {
        let file = serde_json::to_value(control.create_refresh_token(&email, now)?).map_err(anyhow::Error::from)?;
        Ok(json!({ "email": email, "instance": instance.to_string(), "adc_file": file }))
    })
    .await
}

async fn revoke_refresh_tokens(api: &Api, asker: &Asker, email: &str) -> Result<Answer, Refusal> {
    account_within_reach(api, asker, email)?;
    let email = email.to_owned();
    control(api, move |control, _| Ok(json!({ "email": email, "revoked": control.revoke_refresh_tokens(&email)? })))
        .await
}

fn account_within_reach(api: &Api, asker: &Asker, email: &str) -> Result<InstanceId, Refusal> {
    let missing = || not_found(format!("There is no account {email:?}."));
    let instance = api.control.account_instance(email).map_err(|error| match error {
        ControlError::NotFound(_) => missing(),
        error => error.into(),
    })?;
    if asker.reach().is_none_or(|own| own == instance) { Ok(instance) } else { Err(missing()) }
}

fn show_account(made: &NewAccount, instance: InstanceId) -> Result<Value, ControlError> {
    let key_file = serde_json::to_value(&made.key_file).map_err(anyhow::Error::from)?;
    Ok(json!({
        "email": made.key_file.client_email,
        "instance": instance.to_string(),
        "role": made.role,
        "key_file": key_file,
    }))
}

// API keys.

async fn create_key(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let body = fields(request, &["instance", "role", "name"])?;
    let instance = meant(api, asker, text(&body, "instance")?)?;
    let role = role(&body)?;
    let name = text(&body, "name")?.unwrap_or_default().to_owned();
    control(api, move |control, now| control.create_key(instance, role, &name, now)).await
}

async fn delete_key(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Refusal> {
    let missing = || not_found(format!("There is no API key {id:?}."));
    let instance = api.control.key_instance(id).map_err(|error| match error {
        ControlError::NotFound(_) => missing(),
        error => error.into(),
    })?;
    if asker.reach().is_some_and(|own| own != instance) {
        return Err(missing());
    }
    let id = id.to_owned();
    control(api, move |control, _| {
        control.delete_key(&id)?;
        Ok(json!({ "deleted": id }))
    })
    .await
}

// Intakes.

async fn create_intake(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let body = fields(request, &["instance", "name", "format", "namespace"])?;
    let instance = meant(api, asker, text(&body, "instance")?)?;
    let needed = |name: &str| match text(&body, name)? {
        Some(text) => Ok(text.to_owned()),
        None => Err(Refusal::invalid(format!("{name} is missing."))),
    };
    let wanted = NewIntake {
        name: needed("name")?,
        format: needed("format")?,
        namespace: text(&body, "namespace")?.unwrap_or_default().to_owned(),
    };
    control(api, move |control, now| control.create_intake(instance, &wanted, now)).await
}

async fn set_intake_disabled(api: &Api, asker: &Asker, id: &str, disabled: bool) -> Result<Answer, Refusal> {
    on_intake(api, asker, id, move |control, id, now| control.set_intake_disabled(id, disabled, now)).await
}

async fn delete_intake(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Refusal> {
    on_intake(api, asker, id, |control, id, _| {
        control.delete_intake(id)?;
        Ok(json!({ "deleted": id }))
    })
    .await
}

/// Does something with an intake that the asker reaches. One that it does not reach is as if it did not exist.
async fn on_intake(
    api: &Api,
    asker: &Asker,
    id: &str,
    work: impl FnOnce(&Control, &str, event::Time) -> Result<Value, ControlError> + Send + 'static,
) -> Result<Answer, Refusal> {
    let (reach, id) = (asker.reach(), id.to_owned());
    control(api, move |control, now| {
        let missing = || ControlError::NotFound(format!("There is no intake {id:?}."));
        let instance = control.intake_instance(&id).map_err(|error| match error {
            ControlError::NotFound(_) => missing(),
            error => error,
        })?;
        if reach.is_some_and(|own| own != instance) {
            return Err(missing());
        }
        work(control, &id, now)
    })
    .await
}

// Log types.

async fn list_log_types(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let instance = asker.instance(parameter(request, "instance").as_deref())?;
    let custom_only = parameter(request, "custom").as_deref() == Some("true");
    let grep = parameter(request, "grep").map(|text| text.to_lowercase());
    control(api, move |control, _| {
        let mut all = control.list_custom_log_types(instance)?;
        if !custom_only {
            all.extend(control.builtin_log_types());
        }
        if let Some(grep) = grep {
            all.retain(|log_type| {
                ["log_type", "description"]
                    .iter()
                    .any(|name| log_type[name].as_str().is_some_and(|text| text.to_lowercase().contains(&grep)))
            });
        }
        Ok(Value::Array(all))
    })
    .await
}

async fn add_log_type(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let body = fields(request, &["instance", "log_type", "description"])?;
    let instance = meant(api, asker, text(&body, "instance")?)?;
    let Some(log_type) = text(&body, "log_type")?.map(str::to_owned) else {
        return Err(Refusal::invalid("log_type is missing."));
    };
    let description = text(&body, "description")?.unwrap_or_default().to_owned();
    control(api, move |control, now| control.add_log_type(instance, &log_type, &description, now)).await
}

// Connectors.

async fn list_connectors(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let instance = asker.instance(parameter(request, "instance").as_deref())?;
    Ok(json(StatusCode::OK, &Value::Array(connectors(api, asker, instance).await?)))
}

/// Connectors as they may be shown: what they are and how they fare.
pub async fn connectors(api: &Api, asker: &Asker, instance: Option<InstanceId>) -> Result<Vec<Value>, Refusal> {
    let control = Arc::clone(&api.control);
    let deliver = Arc::clone(&api.pipeline.deliver);
    let (documents, statuses) =
        blocking(move || Ok::<_, Refusal>((control.all_connector_documents(instance)?, deliver.status()))).await??;
    Ok(documents
        .iter()
        .map(|document| {
            let mut shown = deliver::ConnectorConfig::shown(document);
            let status = statuses.iter().find(|status| {
                Some(status.id.name.as_str()) == document["name"].as_str()
                    && Some(status.id.instance.to_string().as_str()) == document["instance"].as_str()
            });
            shown["status"] = status.map_or(Value::Null, |status| show_status(asker, status));
            shown
        })
        .collect())
}

fn show_status(asker: &Asker, status: &deliver::ConnectorStatus) -> Value {
    let mut shown = serde_json::to_value(status).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut shown
        && !asker.is_operator()
    {
        // The log holds the records of all instances: this says how much others send.
        fields.remove("lag_bytes");
        // Positions count the bytes of every tenant.
        fields.remove("cursor");
        for range in fields.get_mut("lost").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(range) = range.as_object_mut() {
                range.remove("from");
                range.remove("to");
            }
        }
    }
    shown
}

async fn create_connector(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let mut document = body(request)?;
    if !document.is_object() {
        return Err(Refusal::invalid("The body is a connector's JSON object."));
    }
    let instance = meant(api, asker, text(&document, "instance")?)?;
    document["instance"] = Value::String(instance.to_string());
    // Whoever may reach this server's own network decides it by being the operator, not by writing so.
    document["made_by_operator"] = Value::Bool(asker.is_operator());
    let (control, now) = (Arc::clone(&api.control), (api.clock)());
    let made = blocking(move || control.create_connector(&document, now)).await??;
    apply_connectors(api).await?;
    Ok(json(StatusCode::OK, &made))
}

/// The instance of a connector that is named without one: the only one that has it.
async fn instance_of(api: &Api, asker: &Asker, request: &OwnRequest, name: &str) -> Result<InstanceId, Refusal> {
    let instance = asker.instance(parameter(request, "instance").as_deref())?;
    let control = Arc::clone(&api.control);
    let documents = blocking(move || control.connector_documents(instance)).await??;
    let mut found = documents.iter().filter(|document| document["name"].as_str() == Some(name));
    match (found.next(), found.next()) {
        (Some(document), None) => {
            let instance = document["instance"].as_str().unwrap_or_default();
            instance.parse().map_err(|_| Refusal::internal())
        }
        (Some(_), Some(_)) => {
            Err(Refusal::invalid(format!("Several instances have a connector {name:?}; name the instance.")))
        }
        (None, _) => Err(not_found(format!("There is no connector {name:?}."))),
    }
}

async fn show_connector(api: &Api, asker: &Asker, request: &OwnRequest, name: &str) -> Result<Answer, Refusal> {
    let instance = instance_of(api, asker, request, name).await?;
    let all = connectors(api, asker, Some(instance)).await?;
    let found = all.into_iter().find(|connector| connector["name"].as_str() == Some(name));
    found.map(|connector| json(StatusCode::OK, &connector)).ok_or_else(Refusal::internal)
}

async fn set_state(
    api: &Api,
    asker: &Asker,
    request: &OwnRequest,
    name: &str,
    state: &'static str,
) -> Result<Answer, Refusal> {
    let instance = instance_of(api, asker, request, name).await?;
    let id = deliver::ConnectorId { instance, name: name.to_owned() };
    let name = name.to_owned();
    let answer = control(api, move |control, now| control.set_connector_state(instance, &name, state, now)).await?;
    apply_connectors(api).await?;
    if state == "active" {
        api.pipeline.activate_again(id).await?;
    }
    Ok(answer)
}

async fn delete_connector(api: &Api, asker: &Asker, request: &OwnRequest, name: &str) -> Result<Answer, Refusal> {
    let instance = instance_of(api, asker, request, name).await?;
    let name = name.to_owned();
    let answer = control(api, move |control, _| {
        control.delete_connector(instance, &name)?;
        Ok(json!({ "deleted": name }))
    })
    .await?;
    apply_connectors(api).await?;
    Ok(answer)
}

async fn acknowledge(api: &Api, asker: &Asker, request: &OwnRequest, name: &str) -> Result<Answer, Refusal> {
    let id = deliver::ConnectorId { instance: instance_of(api, asker, request, name).await?, name: name.to_owned() };
    let deliver = Arc::clone(&api.pipeline.deliver);
    blocking(move || deliver.acknowledge(&id)).await?.map_err(|error| failed(&error))?;
    Ok(json(StatusCode::OK, &json!({ "acknowledged": name })))
}

/// Tells `deliver` what the documents say now.
async fn apply_connectors(api: &Api) -> Result<(), Refusal> {
    api.pipeline.apply_connectors(&api.control).await
}

// Dead letters.

enum Settle {
    Retry,
    Drop,
}

async fn dead_letters(api: &Api, asker: &Asker, request: &OwnRequest, name: &str) -> Result<Answer, Refusal> {
    let id = deliver::ConnectorId { instance: instance_of(api, asker, request, name).await?, name: name.to_owned() };
    let limit = match parameter(request, "limit") {
        None => 100,
        Some(limit) => limit.parse().map_err(|_| Refusal::invalid(format!("limit is {limit:?}: a number.")))?,
    };
    let deliver = Arc::clone(&api.pipeline.deliver);
    let letters = blocking(move || deliver.dead_letters(&id, limit)).await?.map_err(|error| failed(&error))?;
    let shown = letters
        .iter()
        .map(|letter| {
            json!({
                "id": letter.record.to_string(),
                "connector": letter.connector.name,
                "received_at": letter.received_at.to_string(),
                "status": letter.status,
                "reason": letter.reason,
                "element": serde_json::from_slice::<Value>(&letter.element).unwrap_or(Value::Null),
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &Value::Array(shown)))
}

async fn settle_dead_letters(
    api: &Api,
    asker: &Asker,
    request: &OwnRequest,
    name: &str,
    settle: Settle,
) -> Result<Answer, Refusal> {
    let id = deliver::ConnectorId { instance: instance_of(api, asker, request, name).await?, name: name.to_owned() };
    let body = fields(request, &["ids"])?;
    let wanted = match body.get("ids") {
        None => None,
        Some(Value::Array(ids)) => Some(
            ids.iter()
                .map(|id| id.as_str().unwrap_or_default().parse::<RecordId>())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| Refusal::invalid(format!("ids: {error}.")))?,
        ),
        Some(_) => return Err(Refusal::invalid("ids is a list of record ids.")),
    };
    let deliver = Arc::clone(&api.pipeline.deliver);
    let count = blocking(move || {
        // Dead letters are few by nature; all of them are looked at to find those that are meant.
        let letters = deliver.dead_letters(&id, usize::MAX)?;
        let chosen: Vec<i64> = letters
            .iter()
            .filter(|letter| wanted.as_ref().is_none_or(|wanted| wanted.contains(&letter.record)))
            .map(|letter| letter.id)
            .collect();
        match settle {
            Settle::Retry => deliver.retry(&id, &chosen)?,
            Settle::Drop => deliver.drop_dead_letters(&id, &chosen)?,
        };
        Ok::<_, deliver::DeliverError>(chosen.len())
    })
    .await?
    .map_err(|error| failed(&error))?;
    Ok(json(StatusCode::OK, &json!({ "count": count })))
}

fn failed(error: &deliver::DeliverError) -> Refusal {
    tracing::error!(%error, "dead letters cannot be read or changed");
    Refusal::internal()
}
