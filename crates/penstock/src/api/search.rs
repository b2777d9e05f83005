//! `POST /api/search`: NDJSON rows as they are known, then one line that says how far the search saw.
//!
//! The search runs on a thread of its own and hands over rows through a short channel, so that a client that reads
//! slowly slows the search and fills no memory; one that leaves ends it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use dialects::Refusal;
use event::{InstanceId, Issue, Kind, Label, RecordId, Time, limits};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use query::Predicate;
use receive::{AnswerBody, OwnRequest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Answer, Api, Asker};

/// What may be asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    language: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    regex: Option<Value>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    log_types: Option<Vec<String>>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    case_sensitive: Option<bool>,
    /// Whether a raw row carries what a parser made of it.
    #[serde(default)]
    events: bool,
}

/// Rows wait in chunks of about this size, so that a million rows are not a million writes.
const CHUNK_BYTES: usize = 32 << 10;

/// Raw rows, and bytes of them, whose events are looked for at once.
const WITH_EVENTS_ROWS: usize = 1_000;
const WITH_EVENTS_BYTES: usize = 4 << 20;

pub async fn answer(api: &Api, asker: &Asker, request: &OwnRequest) -> Result<Answer, Refusal> {
    let asked: Asked = serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("The body of a search is wrong: {error}.")))?;
    let store = api.store()?;
    let schema = Arc::clone(api.control.schema());
    let predicate = predicate(&asked, &schema)?;
    let limit = asked.limit.unwrap_or(limits::SEARCH_ROWS_DEFAULT);
    if !(1..=limits::SEARCH_ROWS_MAX).contains(&limit) {
        return Err(Refusal::invalid(format!("limit is {limit}: from 1 to {}.", limits::SEARCH_ROWS_MAX)));
    }
    let (from, to) = (time("from", asked.from.as_deref())?, time("to", asked.to.as_deref())?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(Refusal::invalid(format!("from ({from}) is not before to ({to}), so nothing could be found.")));
    }
    let query = search::Query {
        instance: asker.instance(asked.instance.as_deref())?,
        kinds: Vec::new(),
        predicate,
        from,
        to,
        log_types: asked.log_types.unwrap_or_default(),
        limit,
    };
    let with_events = asked.events;
    let is_operator = asker.is_operator();
    let place = Arc::clone(&api.searches).acquire_owned().await.map_err(|_| Refusal::internal())?;
    // Both are read before the search: what is durable after it began is not what it could have seen.
    let behind = api.pipeline.progress.behind(api.pipeline.log.status().durable_to.offset, (api.clock)());
    let snapshot = store.snapshot();

    let (rows, chunks) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let cancel = Arc::new(AtomicBool::new(false));
    let running = Arc::clone(&cancel);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut out = Vec::with_capacity(CHUNK_BYTES * 2);
        let mut held = Held::default();
        let result = search::run(&snapshot, &query, &running, &mut |row| {
            if with_events {
                if !held.hold(row) {
                    return ControlFlow::Continue(());
                }
                if let Err(error) = held.write(&snapshot, query.instance, &mut out, is_operator) {
                    held.failed = Some(error);
                    return ControlFlow::Break(());
                }
            } else {
                write_row(&mut out, &row, &[], is_operator);
            }
            if out.len() >= CHUNK_BYTES && !hand_over(&rows, Ok(std::mem::take(&mut out).into())) {
                running.store(true, Ordering::Relaxed);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let result = result.and_then(|summary| {
            if let Some(error) = held.failed.take() {
                return Err(error);
            }
            held.write(&snapshot, query.instance, &mut out, is_operator)?;
            Ok(summary)
        });
        match result {
            Ok(summary) => {
                let last = Last {
                    done: true,
                    rows: summary.rows,
                    truncated: summary.truncated,
                    searched_through: summary
                        .searched_through
                        .filter(|_| is_operator)
                        .map(|position| position.to_string()),
                    behind_ms: u64::try_from(behind.as_millis()).unwrap_or(u64::MAX),
                    parts: is_operator.then_some(summary.parts_total),
                    parts_pruned: is_operator.then_some(summary.parts_pruned),
                    bytes_scanned: is_operator.then_some(summary.bytes_scanned),
                };
                serde_json::to_writer(&mut out, &last).expect("plain numbers and texts have a JSON form");
                out.push(b'\n');
                hand_over(&rows, Ok(out.into()));
            }
            // The client left or reads nothing: not worth a line for each.
            Err(error) if running.load(Ordering::Relaxed) => tracing::debug!(%error, "a search was left"),
            Err(error) => {
                tracing::error!(%error, "a search failed");
                // Parts hold several instances, and their names are the operator's business.
                let message = if is_operator {
                    error.to_string()
                } else {
                    "A part of the store cannot be read; the server's log says which.".to_owned()
                };
                let line = json!({ "error": { "code": 500, "status": "INTERNAL", "message": message } });
                out.extend_from_slice(line.to_string().as_bytes());
                out.push(b'\n');
                hand_over(&rows, Ok(out.into()));
            }
        }
    });

    Ok(streamed(chunks, cancel))
}

/// NDJSON as it comes; `cancel` is set when the client leaves.
pub(super) fn streamed(chunks: mpsc::Receiver<Result<Bytes, std::io::Error>>, cancel: Arc<AtomicBool>) -> Answer {
    let body = Chunks { chunks, _leave: CancelOnDrop(cancel) };
    let mut response = Response::new(AnswerBody::Stream(BodyExt::boxed(body)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Longest wait for a client that reads nothing: it holds one of few places.
const STALL_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// Gives rows to the connection; `false` when nobody takes them.
fn hand_over(rows: &mpsc::Sender<Result<Bytes, std::io::Error>>, chunk: Result<Bytes, std::io::Error>) -> bool {
    let sent = async { tokio::time::timeout(STALL_MAX, rows.send(chunk)).await };
    matches!(tokio::runtime::Handle::current().block_on(sent), Ok(Ok(())))
}

fn predicate(asked: &Asked, schema: &Arc<udm::Schema>) -> Result<Predicate, Refusal> {
    let case_sensitive = asked.case_sensitive.unwrap_or(false);
    let explain = |text: &str| {
        let text = text.to_owned();
        move |diagnostic: query::Diagnostic| Refusal::invalid(diagnostic.render(&text))
    };
    // `regex` is the expression itself, or `true` when `query` holds one.
    let (query, is_regex) = match (&asked.query, &asked.regex) {
        (query, None | Some(Value::Null | Value::Bool(false))) => (query.clone().unwrap_or_default(), false),
        (Some(query), Some(Value::Bool(true))) => (query.clone(), true),
        (None, Some(Value::String(regex))) => (regex.clone(), true),
        (Some(query), Some(Value::String(regex))) if query.is_empty() => (regex.clone(), true),
        _ => return Err(Refusal::invalid("Give query or regex, not both; regex is an expression, or true.")),
    };
    match asked.language.as_deref() {
        Some("udm") if is_regex => Err(Refusal::invalid("regex is for language \"raw\"; UDM takes field = /regex/.")),
        Some("udm") => {
            let options = query::Options { case_sensitive };
            query::parse_udm(&query, schema, options).map_err(explain(&query))
        }
        // An expression minds case as it does in a UDM search; `(?i)` makes it ignore it.
        Some("raw") if is_regex => {
            query::raw_regex(&query, asked.case_sensitive.unwrap_or(true)).map_err(explain(&query))
        }
        Some("raw") => query::raw_text(&query, case_sensitive).map_err(explain(&query)),
        Some(other) => Err(Refusal::invalid(format!("language is {other:?}: \"udm\" or \"raw\"."))),
        None => Err(Refusal::invalid("language is missing: \"udm\" or \"raw\".")),
    }
}

pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Time>, Refusal> {
    let is_date = |text: &str| text.len() == 10 && text.bytes().filter(|byte| *byte == b'-').count() == 2;
    // A plain date is its midnight in UTC.
    let text = text.filter(|text| !text.is_empty());
    let text = text.map(|text| if is_date(text) { format!("{text}T00:00:00Z") } else { text.to_owned() });
    text.as_deref()
        .map(|text| {
            Time::parse_rfc3339(text).map_err(|error| Refusal::invalid(format!("{name} is {text:?}: {error}.")))
        })
        .transpose()
}

/// The line after the rows: whether they are all, and how far the search saw.
#[derive(Serialize)]
struct Last {
    done: bool,
    rows: u64,
    truncated: bool,
    searched_through: Option<String>,
    behind_ms: u64,
    // For the operator only: parts hold many instances, and how much others have stored is nobody else's business.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts_pruned: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_scanned: Option<u64>,
}

/// Rows that wait until the events of all of them are looked for at once.
#[derive(Default)]
struct Held {
    rows: Vec<search::Row>,
    bytes: usize,
    failed: Option<search::SearchError>,
}

impl Held {
    /// Takes a row; true when it is time to write them.
    fn hold(&mut self, row: search::Row) -> bool {
        self.bytes += row.data.len();
        self.rows.push(row);
        self.rows.len() >= WITH_EVENTS_ROWS || self.bytes >= WITH_EVENTS_BYTES
    }

    fn write(
        &mut self,
        snapshot: &store::Snapshot,
        instance: Option<InstanceId>,
        out: &mut Vec<u8>,
        is_operator: bool,
    ) -> Result<(), search::SearchError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let raw = rows.iter().filter(|row| row.kind == Kind::Raw).map(|row| row.id).collect();
        let mut events: HashMap<RecordId, Vec<search::Row>> = HashMap::new();
        search::parsed(snapshot, instance, &raw, &mut |event| {
            events.entry(event.id).or_default().push(event);
            ControlFlow::Continue(())
        })?;
        for row in &rows {
            let of_row = if row.kind == Kind::Raw { events.remove(&row.id) } else { None };
            write_row(out, row, &of_row.unwrap_or_default(), is_operator);
        }
        Ok(())
    }
}

/// What a row says beside its data.
#[derive(Serialize)]
struct RowHead<'a> {
    id: String,
    batch: String,
    /// The operator's only: positions count the bytes of every tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    received_at: Time,
    event_time: Time,
    sender_time: Option<Time>,
    /// Only the Chronicle API says it, so it is left out where nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    collected_at: Option<Time>,
    instance: InstanceId,
    kind: &'static str,
    log_type: &'a str,
    namespace: &'a str,
    labels: &'a [Label],
    feed: &'a str,
    sender: &'a str,
    /// Of a raw log the parser that read it, of what came of one the parser that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parser: Option<&'a str>,
    /// Which of the events of its record it is, where it came of a raw log.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordinal: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    issues: &'a [Issue],
}

/// What a raw row says of each event that a parser made of it.
#[derive(Serialize)]
struct EventHead<'a> {
    ordinal: u32,
    kind: &'static str,
    event_time: Time,
    parser: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    issues: &'a [Issue],
}

/// One row: the element that connectors deliver, and what only we know beside it.
fn write_row(out: &mut Vec<u8>, row: &search::Row, events: &[search::Row], is_operator: bool) {
    let head = RowHead {
        id: row.id.to_string(),
        batch: row.id.batch().to_string(),
        position: is_operator.then(|| row.position.to_string()),
        received_at: row.received_at,
        event_time: row.event_time,
        sender_time: row.sender_time,
        collected_at: row.collected_at,
        instance: row.instance,
        kind: row.kind.name(),
        log_type: &row.log_type,
        namespace: &row.namespace,
        labels: &row.labels,
        feed: &row.feed,
        sender: &row.sender,
        parser: row.parser.as_deref(),
        ordinal: row.parser.as_ref().filter(|_| row.kind != Kind::Raw).map(|_| row.ordinal),
        issues: &row.issues,
    };
    serde_json::to_writer(&mut *out, &head).expect("plain texts have a JSON form");
    // The data goes in as it came, not through a tree that would re-order its keys.
    out.pop();
    let data = std::str::from_utf8(&row.data);
    match (row.kind, data) {
        (Kind::Raw, Ok(data)) => {
            out.extend_from_slice(b",\"text\":");
            serde_json::to_writer(&mut *out, data).expect("a string has a JSON form, and a Vec takes it");
        }
        (Kind::Udm | Kind::Entity, Ok(data)) if serde_json::from_str::<&RawValue>(data).is_ok() => {
            out.extend_from_slice(if row.kind == Kind::Udm { b",\"udm\":" } else { b",\"entity\":" });
            // A pretty-printed event must still be one line.
            out.extend(data.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        }
        _ => {
            use base64::Engine;
            out.extend_from_slice(b",\"data_base64\":\"");
            let encoded = base64::engine::general_purpose::STANDARD.encode(&row.data);
            out.extend_from_slice(encoded.as_bytes());
            out.push(b'"');
        }
    }
    for (index, event) in events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"events\":[" } else { b"," });
        let head = EventHead {
            ordinal: event.ordinal,
            kind: event.kind.name(),
            event_time: event.event_time,
            parser: event.parser.as_deref(),
            issues: &event.issues,
        };
        serde_json::to_writer(&mut *out, &head).expect("plain texts have a JSON form");
        out.pop();
        out.extend_from_slice(if event.kind == Kind::Udm { b",\"udm\":" } else { b",\"entity\":" });
        // What parsers make is one line of JSON.
        out.extend_from_slice(&event.data);
        out.push(b'}');
    }
    if !events.is_empty() {
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

/// The rows on their way out; dropped when the client leaves, which ends the search.
struct Chunks {
    chunks: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    _leave: CancelOnDrop,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
