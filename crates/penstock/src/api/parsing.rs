//! `/api/parsing/…`: what became of raw logs that parsers read, why one gave no events, and reading stored ones again.
//!
//! | Call | |
//! |---|---|
//! | `GET /api/parsing/failures` | the newest raw logs that gave no events, and why |
//! | `GET /api/parsing/counts` | how many logs each parser read, by how they ended |
//! | `GET /api/parsing/records/{id}` | one raw log with the programs that read it, to run them by hand |
//! | `POST /api/parsing/reparse` | reads stored logs again; NDJSON that tells how far it is, and in the end what was done |

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dialects::{Cause, Refusal, Scope};
use event::{Kind, RecordId, Time, limits};
use http::{Method, StatusCode};
use receive::OwnRequest;
use search::Wanted;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Again, Made, Rewritten, Store};
use tokio::sync::mpsc;

use super::manage::meant;
use super::search::{streamed, time};
use super::{Answer, Api, blocking, json, not_found, parameter};
use crate::pipeline::Pipeline;

/// Failures that are listed if nobody says how many.
const FAILURES_LISTED: usize = 100;

/// How often a reparse tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How often it looks whether the store has caught up.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub async fn answer(api: &Api, request: &OwnRequest, segments: &[&str]) -> Result<Answer, Refusal> {
    let get = request.method == Method::GET || request.method == Method::HEAD;
    match segments {
        ["failures"] if get => failures(api, request).await,
        ["counts"] if get => counts(api, request),
        ["records", id] if get => record(api, request, id).await,
        ["reparse"] if request.method == Method::POST => reparse(api, request).await,
        ["reparse"] => Err(Refusal::wrong_method(&request.method, &request.path, vec![Method::POST])),
        ["failures" | "counts"] | ["records", _] => {
            Err(Refusal::wrong_method(&request.method, &request.path, vec![Method::GET]))
        }
        _ => Err(not_found(format!("There is nothing at {}.", request.path))),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "the store cannot be read");
    Refusal::internal()
}

async fn failures(api: &Api, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Read)?;
    let instance = asker.instance(parameter(request, "instance").as_deref())?;
    let log_type = parameter(request, "log_type").filter(|log_type| !log_type.is_empty());
    let limit = match parameter(request, "limit") {
        None => FAILURES_LISTED,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=limits::SEARCH_ROWS_MAX).contains(limit))
            .ok_or_else(|| Refusal::invalid(format!("limit is {text:?}: from 1 to {}.", limits::SEARCH_ROWS_MAX)))?,
    };
    let store = api.store()?;
    let found = blocking(move || store.failures(instance, log_type.as_deref(), limit)).await?;
    let shown: Vec<Value> = found.map_err(|error| failed(&error))?.iter().map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "failures": shown })))
}

fn shown(failed: &store::FailedRecord) -> Value {
    json!({
        "id": failed.id.to_string(),
        "instance": failed.instance.to_string(),
        "log_type": failed.log_type,
        "received_at": failed.received_at.to_string(),
        "parser": failed.parser,
        "why": failed.why.name(),
        "message": failed.message,
        "field": failed.field,
        "line": failed.line,
        "column": failed.column,
    })
}

fn counts(api: &Api, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Read)?;
    let instance = asker.instance(parameter(request, "instance").as_deref())?;
    let tallies = api.store()?.tallies();
    let mine = tallies.into_iter().filter(|(key, _)| instance.is_none_or(|instance| instance == key.instance));
    let shown: Vec<Value> = mine
        .map(|(key, tally)| {
            json!({
                "instance": key.instance.to_string(),
                "log_type": key.log_type,
                "parser": &*key.parser,
                "parsed": tally.parsed,
                "dropped": tally.dropped,
                "failed": tally.failed,
                "events": tally.events,
            })
        })
        .collect();
    Ok(json(StatusCode::OK, &json!({ "parsers": shown })))
}

async fn record(api: &Api, request: &OwnRequest, id: &str) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Read)?;
    let id: RecordId = id.parse().map_err(|error: event::IdError| {
        Refusal::invalid(format!("{error}. Ids stand in search rows and in the list of failures."))
    })?;
    let reach = asker.reach();
    let store = api.store()?;
    let found = blocking(move || {
        let mut rows = Vec::new();
        search::find(&store.snapshot(), reach, Wanted::Record(id), &mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        })
        .map(|_| rows)
    });
    let rows = found.await?.map_err(|error| failed(&error))?;
    let record = rows.iter().find(|row| row.kind == Kind::Raw);
    let record = record.ok_or_else(|| not_found(format!("There is no raw log {id} that this credential reaches.")))?;
    let parser = record.parser.as_deref().unwrap_or_default();
    let (parser, extension) = parser.split_once('+').unwrap_or((parser, ""));
    let schedule = api.pipeline.normaliser.schedule();
    let source = |id: &str| schedule.find(id).map(|parser| parser.source().to_owned());
    let events: Vec<Value> = rows
        .iter()
        .filter(|row| row.kind != Kind::Raw)
        .map(|row| serde_json::from_slice(&row.data).unwrap_or_default())
        .collect();
    let shown = json!({
        "id": id.to_string(),
        "instance": record.instance.to_string(),
        "log_type": record.log_type,
        "received_at": record.received_at.to_string(),
        "sender_time": record.sender_time.map(|time| time.to_string()),
        "collected_at": record.collected_at.map(|time| time.to_string()),
        "data_base64": STANDARD.encode(&record.data),
        "issues": record.issues,
        "parser": { "id": parser, "source": source(parser) },
        "extension": (!extension.is_empty()).then(|| json!({ "id": extension, "source": source(extension) })),
        "events": events,
    });
    Ok(json(StatusCode::OK, &shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    log_type: String,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    instance: Option<String>,
}

async fn reparse(api: &Api, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asker = api.asker(request, Scope::Admin)?;
    let asked: Asked = serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("The body of a reparse is wrong: {error}.")))?;
    let instance = meant(api, &asker, asked.instance.as_deref())?;
    let now = (api.clock)();
    let from = time("from", asked.from.as_deref())?.unwrap_or(Time::MIN);
    let to = time("to", asked.to.as_deref())?.unwrap_or(Time::MAX);
    let snapshot = api.control.snapshot().load_full();
    if let Some(known) = snapshot.instances.get(&instance).map(|instance| &instance.log_types)
        && !known.contains(&asked.log_type)
    {
        let message = known.unknown(&asked.log_type, "`penstock log types` lists the known ones");
        return Err(Refusal::invalid(message));
    }
    if from >= to {
        return Err(Refusal::invalid(format!("from ({from}) is not before to ({to}), so no log could be meant.")));
    }
    if !api.pipeline.normaliser.is_enabled() {
        let message = "Parsing is switched off (normalise.enabled = false), so nothing can be read again.";
        return Err(Refusal::new(Cause::WrongState, message));
    }
    let store = api.store()?;
    let place = Arc::clone(&api.reparses).try_acquire_owned().map_err(|_| {
        Refusal::new(Cause::NotYet, "Another reparse is running; one at a time can. Try again when it is done.")
    })?;
    let before = api.pipeline.log.status().durable_to;
    // What comes from now on is not among them, nor are its failures.
    let to = to.min(now);
    let again = Again { instance, log_type: asked.log_type, from, to, before };
    let (pipeline, clock) = (Arc::clone(&api.pipeline), Arc::clone(&api.clock));
    tracing::info!(%instance, log_type = again.log_type, %from, %to, "a reparse begins");
    let (lines, chunks) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let cancel = Arc::new(AtomicBool::new(false));
    let cancelled = Arc::clone(&cancel);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let last = run(&pipeline, &store, &again, now, &*clock, &lines, &cancelled);
        tell(&lines, &last, true);
    });
    Ok(streamed(chunks, cancel))
}

/// The work. Gives the last line.
fn run(
    pipeline: &Pipeline,
    store: &Store,
    again: &Again,
    now: Time,
    clock: &dyn Fn() -> Time,
    lines: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    cancelled: &AtomicBool,
) -> Value {
    // What had been said yes to when it was asked for is to be among the logs that are read again.
    let mut told = std::time::Instant::now();
    while pipeline.progress.offset() < again.before.offset {
        if pipeline.progress.failed().is_some() || cancelled.load(Ordering::Relaxed) {
            return error("the store does not take in any more logs; see `penstock status`");
        }
        if told.elapsed() >= TELL_EVERY {
            told = std::time::Instant::now();
            tell(lines, &json!({ "state": "waiting for the store" }), false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if let Err(failure) = store.flush(now) {
        let why = format!("{:#}", anyhow::Error::from(failure));
        tracing::error!(error = why, "the newest records cannot be written before a reparse");
        return error("the newest logs cannot be written to the store; nothing was changed");
    }
    let choice = Arc::new(pipeline.normaliser.schedule().latest(again.instance, &again.log_type));
    let mut read = |records| {
        let normalise::Read { events, failures, .. } = pipeline.normaliser.reread(records, &choice);
        Made { events, failures }
    };
    let mut progress = |done: &Rewritten| {
        if told.elapsed() >= TELL_EVERY {
            told = std::time::Instant::now();
            tell(lines, &state("running", done), false);
        }
        if cancelled.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match store.rewrite(again, clock(), &mut read, &mut progress) {
        Ok(Some(done)) => {
            tracing::info!(records = done.records, events = done.events, failed = done.failed, "a reparse is done");
            let mut last = json!({ "done": true, "parser": &**choice.id() });
            if let (Some(last), Value::Object(numbers)) = (last.as_object_mut(), state("done", &done)) {
                last.extend(numbers);
            }
            last
        }
        Ok(None) => error("it was broken off; nothing was changed"),
        Err(failure) => {
            let why = format!("{:#}", anyhow::Error::from(failure));
            tracing::error!(error = why, "a reparse failed; nothing was changed");
            error("a part of the store cannot be read or written; nothing was changed, and the server's log says more")
        }
    }
}

fn state(state: &str, done: &Rewritten) -> Value {
    json!({
        "state": state,
        "parts": done.parts,
        "parts_total": done.parts_total,
        "records": done.records,
        "events_before": done.events_before,
        "events": done.events,
        "failed": done.failed,
    })
}

fn error(message: &str) -> Value {
    json!({ "error": { "code": 500, "status": "INTERNAL", "message": message } })
}

/// Sends a line; one on the way may be left out where the client reads slowly, the last may not.
fn tell(lines: &mpsc::Sender<Result<Bytes, std::io::Error>>, line: &Value, is_last: bool) {
    let line = Ok(Bytes::from(format!("{line}\n")));
    if is_last {
        let _ = lines.blocking_send(line);
    } else {
        let _ = lines.try_send(line);
    }
}
