//! `/api/parsers…`: what Google's API has no call for. Everything else about parsers goes through that.

use std::sync::Arc;

use dialects::{KeptParser, Refusal, Scope, Slot};
use event::{InstanceId, limits};
use http::{Method, StatusCode};
use receive::OwnRequest;
use serde_json::{Value, json};

use super::manage::{fields, meant, text};
use super::{Answer, Api, blocking, json, parameter};
use crate::control::ControlError;
use crate::control::parsers::{NewTurn, Rollback};

/// Answers what stands below `/api/parsers`.
pub async fn answer(api: &Api, request: &OwnRequest, rest: &[&str]) -> Result<Answer, Refusal> {
    match (&request.method, rest) {
        (&Method::GET | &Method::HEAD, []) => list(api, request).await,
        (&Method::GET | &Method::HEAD, ["turns"]) => turns(api, request).await,
        (_, [] | ["turns"]) => Err(Refusal::wrong_method(&request.method, &request.path, vec![Method::GET])),
        (&Method::POST, [last]) if last.ends_with(":rollback") => {
            roll_back(api, request, last.trim_end_matches(":rollback")).await
        }
        (_, [last]) if last.ends_with(":rollback") => {
            Err(Refusal::wrong_method(&request.method, &request.path, vec![Method::POST]))
        }
        _ => Err(super::not_found(format!("Nothing is served at {} {}.", request.method, request.path))),
    }
}

/// Parsers and extensions, with what Google's form of them does not say.
async fn list(api: &Api, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Read)?;
    let instance = meant(api, &asker, parameter(request, "instance").as_deref())?;
    let log_type = parameter(request, "log_type").filter(|log_type| !log_type.is_empty());
    let control = Arc::clone(&api.control);
    let all = move || -> Result<Value, ControlError> {
        let mut all = Vec::new();
        for slot in [Slot::Parser, Slot::Extension] {
            let parsers = control.list_parsers(instance, slot, log_type.as_deref())?;
            all.extend(parsers.iter().map(|parser| show(slot, parser)));
        }
        Ok(Value::Array(all))
    };
    Ok(json(StatusCode::OK, &blocking(all).await??))
}

fn show(slot: Slot, parser: &KeptParser) -> Value {
    let validation = parser.validation.as_ref().map(|validation| {
        json!({ "at": validation.at, "passed": validation.passed, "verdict": validation.verdict,
                "logs": validation.logs, "failed": validation.failed })
    });
    json!({
        "id": parser.id, "log_type": parser.log_type, "slot": slot, "active": parser.is_active,
        "creator": parser.creator, "created_at": parser.created_at, "changed_at": parser.changed_at,
        "set_aside": parser.set_aside, "source_bytes": parser.new.source.len(), "validation": validation,
    })
}

/// Which parser read which part of the log, newest first.
async fn turns(api: &Api, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Read)?;
    let instance = meant(api, &asker, parameter(request, "instance").as_deref())?;
    let log_type = parameter(request, "log_type").filter(|log_type| !log_type.is_empty());
    let control = Arc::clone(&api.control);
    let turns = blocking(move || control.list_turns(instance, log_type.as_deref())).await??;
    Ok(json(StatusCode::OK, &Value::Array(turns)))
}

/// Lets the parser read again that did before.
async fn roll_back(api: &Api, request: &OwnRequest, log_type: &str) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Admin)?;
    let body = fields(request, &["instance", "slot", "reason"])?;
    let instance = meant(api, &asker, text(&body, "instance")?)?;
    let slot = match text(&body, "slot")? {
        None | Some("parser") => Slot::Parser,
        Some("extension") => Slot::Extension,
        Some(other) => return Err(Refusal::invalid(format!("slot is {other:?}: parser or extension."))),
    };
    let (log_type, by) = (log_type.to_owned(), asker.name().to_owned());
    let reason = text(&body, "reason")?.map(str::to_owned);
    if let Some(reason) = reason.as_ref().filter(|reason| reason.len() > limits::PARSER_REASON_BYTES_MAX) {
        let most = limits::PARSER_REASON_BYTES_MAX;
        return Err(Refusal::invalid(format!("reason has {} bytes; it has at most {most}.", reason.len())));
    }
    let (control, pipeline, now) = (Arc::clone(&api.control), Arc::clone(&api.pipeline), (api.clock)());
    let work = move || -> Result<Value, ControlError> {
        let plan = control.rollback(instance, slot, &log_type)?;
        pipeline.normaliser.change(|_| {
            let wanted = NewTurn {
                instance,
                slot,
                log_type: &log_type,
                parser: None,
                instead_of: None,
                from: pipeline.log.status().durable_to,
                by: &by,
                reason: reason.as_deref(),
                now,
            };
            control.roll_back(wanted, &plan)
        })?;
        control.prune_turns(pipeline.log.status().first)?;
        let in_use = pipeline.normaliser.schedule().latest(instance, &log_type);
        Ok(shown_rollback(instance, slot, &log_type, &plan, &in_use))
    };
    Ok(json(StatusCode::OK, &blocking(work).await??))
}

fn shown_rollback(
    instance: InstanceId,
    slot: Slot,
    log_type: &str,
    plan: &Rollback,
    in_use: &normalise::Choice,
) -> Value {
    // Where the instance has none of its own, it is ours that reads again, if there is one.
    let reads = match slot {
        Slot::Parser => &in_use.parser,
        Slot::Extension => &in_use.extension,
    };
    json!({
        "instance": instance.to_string(), "log_type": log_type, "slot": slot, "replaced": plan.replaced,
        "parser": reads.as_ref().map(|parser| parser.id().to_string()),
    })
}
