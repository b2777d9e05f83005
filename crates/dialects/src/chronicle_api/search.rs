//! Searches over this API: what a request asks for, as one question to the store, and the rows in the form of each call.
//!
//! `udmSearch` answers in one object. `searchRawLogs` and the two `legacy:…` calls are streams at Google's, which come as
//! a JSON array; here the array is made once the search is done, and its last element says `complete`. The forms are
//! those of Google's published protos and REST reference; where these only name a type, the fields are the ones that
//! clients read. Absent: detections, aggregations, timelines, statistics, saved searches.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::sync::Arc;

use event::{Kind, Time, limits};
use http::StatusCode;
use query::{Options, Predicate};
use serde_json::{Value, json};
use udm::Schema;

use super::csv::Columns;
use super::{Names, events, read_json};
use crate::ask::{Ask, FoundRecord, Outcome, Question, Render, SearchCall};
use crate::snapshot::Instance;
use crate::{Caller, Cause, Head, Refusal, Reply};

/// Events that a search gives when the request does not say how many. Google publishes a most of 10,000 and no default.
const ROWS_DEFAULT: usize = 1_000;

/// Longest summary of a raw log, in characters; the whole of it stands beside.
const SUMMARY_CHARS: usize = 80;

/// Who searches, and whose records.
pub(crate) struct Search<'a> {
    pub(crate) names: Names,
    pub(crate) caller: &'a Caller,
    pub(crate) schema: &'a Arc<Schema>,
}

impl Search<'_> {
    /// `udmSearch`: events by a UDM query, newest first.
    pub(crate) fn udm(&self, head: &Head) -> Result<Ask, Refusal> {
        if let Some(dialect) = head.query_any(&["queryDialect", "query_dialect"])
            && !["", "QUERY_DIALECT_UNSPECIFIED", "YL2", "0", "1"].contains(&dialect.as_str())
        {
            return Err(unsupported("queries in SQL"));
        }
        let query = head.query_value("query").unwrap_or_default();
        let predicate = self.events("query", &query, false)?;
        let span = Span::of_query(head)?;
        let rows_max = match head.query_value("limit") {
            Some(text) => rows_max("limit", &Value::String(text))?,
            None => ROWS_DEFAULT,
        };
        let (names, schema) = (self.names.clone(), Arc::clone(self.schema));
        Ok(self.ask(self.call(Kind::Udm, predicate, span, rows_max), move |rows, truncated| {
            let mut out = b"{\"events\":[".to_vec();
            for (index, record) in rows.iter().enumerate() {
                comma(&mut out, index);
                write(&mut out, &events::shown(&names, &schema, record));
            }
            out.extend_from_slice(format!("],\"moreDataAvailable\":{truncated}}}").as_bytes());
            out
        }))
    }

    /// `searchRawLogs`: raw logs by text, newest first.
    pub(super) fn raw_logs(&self, body: &[u8], instance: &Instance) -> Result<Ask, Refusal> {
        let body = read_json(body)?;
        let case_sensitive = flag(&body, "caseSensitive")?;
        let parse = |name: &str, text: &str| {
            query::parse_raw(text, case_sensitive).map_err(|diagnostic| refused(name, text, &diagnostic))
        };
        let predicate = self.two_queries(&body, parse)?;
        let span = Span::of_body(&body)?;
        let rows_max = count(&body, &["pageSize"])?;
        let mut call = self.call(Kind::Raw, predicate, span, rows_max);
        call.log_types = log_types(&body, instance)?;
        let (names, types) = (self.names.clone(), instance.log_types.clone());
        Ok(self.ask(call, move |rows, truncated| {
            let mut out = b"[{\"progress\":1,\"matches\":[".to_vec();
            for (index, record) in rows.iter().enumerate() {
                comma(&mut out, index);
                let (description, _) = types.get(&record.log_type).unwrap_or_default();
                write(&mut out, &raw_log(&names, description, record));
            }
            out.extend_from_slice(format!("],\"moreDataAvailable\":{truncated},\"complete\":true}}]").as_bytes());
            out
        }))
    }

    /// `legacy:legacyFetchUdmSearchCsv`: fields of events as lines of CSV.
    pub(super) fn csv(&self, body: &[u8]) -> Result<Ask, Refusal> {
        let body = read_json(body)?;
        if let Some(kind) = text(&body, "queryType")?
            && !["", "UNKNOWN", "UDM_QUERY"].contains(&kind)
        {
            return Err(unsupported("CSV of anything but UDM events"));
        }
        let (columns, unknown) = Columns::read(look(&body, &["fields", "fields"]), self.schema)?;
        let (predicate, span) = self.events_of_body(&body)?;
        let schema = Arc::clone(self.schema);
        let call = self.call(Kind::Udm, predicate, span, limits::GOOGLE_SEARCH_ROWS_MAX);
        Ok(self.ask(call, move |rows, mut truncated| {
            let mut lines = vec![columns.header()];
            let mut bytes = 0;
            for record in &rows {
                // A field may be asked for under several names, so the lines can be longer than the records.
                let Some(line) = columns.line(record, &schema, limits::GOOGLE_SEARCH_BYTES_MAX - bytes) else {
                    truncated = true;
                    break;
                };
                bytes += line.len();
                lines.push(line);
            }
            let mut element = json!({ "progress": 1, "csv": { "row": lines }, "complete": true });
            element["tooManyEvents"] = Value::Bool(truncated);
            if !unknown.is_empty() {
                let unknown: Vec<Value> = unknown.iter().map(|field| json!({ "field": field })).collect();
                element["failureCsvFieldValidations"] = Value::Array(unknown);
            }
            let mut out = Vec::with_capacity(bytes);
            write(&mut out, &json!([element]));
            out
        }))
    }

    /// `legacy:legacyFetchUdmSearchView`: events as the console's list has them. Clients take the elements that say
    /// `complete` and wait for none before.
    pub(super) fn view(&self, body: &[u8]) -> Result<Ask, Refusal> {
        let body = read_json(body)?;
        if flag(&body, "returnOperationIdOnly")? {
            return Err(unsupported("searches that go on after their reply"));
        }
        let (predicate, span) = self.events_of_body(&body)?;
        let rows_max = count(&body, &["eventList", "maxReturnedEvents"])?;
        let schema = Arc::clone(self.schema);
        Ok(self.ask(self.call(Kind::Udm, predicate, span, rows_max), move |rows, truncated| {
            let count = rows.len();
            let mut out = b"[{\"progress\":0},{\"progress\":1,\"events\":{\"events\":[".to_vec();
            for (index, record) in rows.iter().enumerate() {
                comma(&mut out, index);
                let shown = json!({ "event": events::shown_udm(&schema, record), "uid": events::id_base64(record) });
                write(&mut out, &shown);
            }
            let tail = format!(
                "]}},\"baselineEventsCount\":{count},\"filteredEventsCount\":{count},\"tooManyEvents\":{truncated},\
                 \"complete\":true}}]"
            );
            out.extend_from_slice(tail.as_bytes());
            out
        }))
    }

    /// The query and time of a body that searches events.
    fn events_of_body(&self, body: &Value) -> Result<(Predicate, Span), Refusal> {
        // As in any proto3 message, what is not there is false: then letter case counts.
        let case_sensitive = !flag(body, "caseInsensitive")?;
        let predicate = self.two_queries(body, |name, text| self.events(name, text, case_sensitive))?;
        Ok((predicate, Span::of_body(body)?))
    }

    /// `baselineQuery`, narrowed by `snapshotQuery` where there is one.
    fn two_queries(
        &self,
        body: &Value,
        parse: impl Fn(&str, &str) -> Result<Predicate, Refusal>,
    ) -> Result<Predicate, Refusal> {
        let baseline = parse("baselineQuery", text(body, "baselineQuery")?.unwrap_or_default())?;
        match text(body, "snapshotQuery")?.filter(|text| !text.trim().is_empty()) {
            None => Ok(baseline),
            Some(snapshot) => baseline.and(parse("snapshotQuery", snapshot)?).ok_or_else(|| {
                Refusal::invalid_field("snapshotQuery", "asks for another kind of record than baselineQuery does")
            }),
        }
    }

    /// A UDM query that events can match.
    fn events(&self, name: &str, text: &str, case_sensitive: bool) -> Result<Predicate, Refusal> {
        let predicate = query::parse_udm(text, self.schema, Options { case_sensitive })
            .map_err(|diagnostic| refused(name, text, &diagnostic))?;
        if !predicate.kinds().contains(&Kind::Udm) {
            return Err(Refusal::invalid_field(name, "asks for fields of entities; this call searches events"));
        }
        Ok(predicate)
    }

    fn call(&self, kind: Kind, predicate: Predicate, span: Span, rows_max: usize) -> SearchCall {
        SearchCall {
            instance: self.names.instance,
            kinds: vec![kind],
            predicate,
            from: span.from,
            to: span.to,
            log_types: Vec::new(),
            rows_max,
            bytes_max: limits::GOOGLE_SEARCH_BYTES_MAX,
        }
    }

    fn ask(&self, call: SearchCall, body: impl FnOnce(Vec<FoundRecord>, bool) -> Vec<u8> + Send + 'static) -> Ask {
        let render = Render::new(move |outcome| match outcome {
            Outcome::Rows { rows, truncated } => Ok(Reply::json(StatusCode::OK, body(rows, truncated))),
            _ => Err(Refusal::internal()),
        });
        Ask { caller: self.caller.clone(), question: Question::Search(call), render }
    }
}

/// A raw log as Google's `RawLogResult` that was not parsed has it. Google cuts the snippet short; this is all of it.
fn raw_log(names: &Names, description: &str, record: &FoundRecord) -> Value {
    let text = String::from_utf8_lossy(&record.data);
    let id = events::id_base64(record);
    let log_type = record.log_type.as_str();
    json!({
        "id": id,
        "summary": text.chars().take(SUMMARY_CHARS).collect::<String>(),
        "logType": {
            "name": names.log_type(log_type),
            "displayName": if description.is_empty() { log_type } else { description },
        },
        "snippet": { "id": id, "snippet": text, "ingestionTime": record.received_at },
    })
}

/// Event times from the first up to but not including the second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    from: Option<Time>,
    to: Option<Time>,
}

impl Span {
    /// `timeRange` in the query of a URL, in each spelling of its two words.
    fn of_query(head: &Head) -> Result<Span, Refusal> {
        let value = |word: &str, camel: &str| {
            let of = |range: &str, word: &str| format!("{range}.{word}");
            let names =
                [of("timeRange", word), of("timeRange", camel), of("time_range", word), of("time_range", camel)];
            head.query_any(&names.each_ref().map(String::as_str))
        };
        Span::read("timeRange", value("start_time", "startTime"), value("end_time", "endTime"))
    }

    /// `baselineTimeRange` of a body, cut down to `snapshotTimeRange` where there is one.
    fn of_body(body: &Value) -> Result<Span, Refusal> {
        let read = |name: &str| match look(body, &[name]) {
            None => Ok(Span::default()),
            Some(range @ Value::Object(_)) => {
                let time = |word: &str| Ok::<_, Refusal>(text(range, word)?.map(str::to_owned));
                Span::read(name, time("startTime")?, time("endTime")?)
            }
            Some(_) => Err(Refusal::invalid_field(name, "must be an object with startTime and endTime")),
        };
        let (baseline, snapshot) = (read("baselineTimeRange")?, read("snapshotTimeRange")?);
        let least = |a: Option<Time>, b: Option<Time>| a.into_iter().chain(b).min();
        Ok(Span { from: baseline.from.max(snapshot.from), to: least(baseline.to, snapshot.to) })
    }

    fn read(name: &str, start: Option<String>, end: Option<String>) -> Result<Span, Refusal> {
        let time = |word: &str, text: Option<String>| {
            let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
            // A plus sign that was not escaped arrives as the space that it stands for in a query.
            let offset = text.get(11..).filter(|rest| rest.contains(' ')).map(|rest| rest.replace(' ', "+"));
            let mended = offset.map(|offset| format!("{}{offset}", &text[..11]));
            Time::parse_rfc3339(mended.as_deref().unwrap_or(&text)).map(Some).map_err(|error| {
                let shown: String = text.chars().take(60).collect();
                Refusal::invalid_field(&format!("{name}.{word}"), format!("{shown:?}: {error}"))
            })
        };
        let span = Span { from: time("startTime", start)?, to: time("endTime", end)? };
        match (span.from, span.to) {
            (Some(from), Some(to)) if from >= to => {
                let description = format!("startTime {from} is not before endTime {to}, so nothing could be found");
                Err(Refusal::invalid_field(name, description))
            }
            _ => Ok(span),
        }
    }
}

/// The log types that a body narrows a search to. Clients name them by name, by display name or as a resource; a name
/// that nothing has finds nothing.
fn log_types(body: &Value, instance: &Instance) -> Result<Vec<String>, Refusal> {
    let items = match look(body, &["logTypes"]) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(item) => vec![item],
    };
    if items.len() > limits::SEARCH_LOG_TYPES_MAX {
        let description = format!("{} log types, more than the {} allowed", items.len(), limits::SEARCH_LOG_TYPES_MAX);
        return Err(Refusal::invalid_field("logTypes", description));
    }
    let described = LazyCell::new(|| {
        let all = instance.log_types.all();
        // From the last to the first, so that of several with one description the first stays.
        all.into_iter().rev().map(|(name, text, _)| (text.to_ascii_lowercase(), name)).collect::<HashMap<_, _>>()
    });
    let named = |(index, item): (usize, &Value)| {
        let fields = ["name", "logType", "displayName"];
        let name = item.as_str().or_else(|| fields.iter().find_map(|field| look(item, &[field])?.as_str()));
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
            Refusal::invalid_field(&format!("logTypes[{index}]"), "must be an object with name or displayName")
        })?;
        let name = name.rsplit_once("/logTypes/").map_or(name, |(_, name)| name);
        if instance.log_types.contains(name) {
            return Ok(name.to_owned());
        }
        Ok((*described.get(&name.to_ascii_lowercase()).unwrap_or(&name)).to_owned())
    };
    items.into_iter().enumerate().map(named).collect()
}

/// What stands in a body at a path of names, each in lowerCamel or snake case; `null` is nothing.
pub(super) fn look<'v>(body: &'v Value, path: &[&str]) -> Option<&'v Value> {
    let is = |key: &str, name: &str| key == name || letters(key).eq(letters(name));
    let step = |value: &'v Value, name: &&str| {
        value.as_object()?.iter().find(|(key, _)| is(key, name)).map(|(_, value)| value)
    };
    path.iter().try_fold(body, step).filter(|value| !value.is_null())
}

/// The letters that a name has in either spelling.
fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

fn text<'v>(body: &'v Value, name: &str) -> Result<Option<&'v str>, Refusal> {
    match look(body, &[name]) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid_field(name, "must be a string")),
    }
}

fn flag(body: &Value, name: &str) -> Result<bool, Refusal> {
    match look(body, &[name]) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Refusal::invalid_field(name, "must be true or false")),
    }
}

/// How many rows a body asks for.
fn count(body: &Value, path: &[&str]) -> Result<usize, Refusal> {
    look(body, path).map_or(Ok(ROWS_DEFAULT), |value| rows_max(&path.join("."), value))
}

/// A number of rows: none said is 0, and more than can be had are as many as can be.
fn rows_max(name: &str, value: &Value) -> Result<usize, Refusal> {
    let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    match number {
        Some(0) => Ok(ROWS_DEFAULT),
        Some(number) if number > 0 => {
            Ok(usize::try_from(number).unwrap_or(usize::MAX).min(limits::GOOGLE_SEARCH_ROWS_MAX))
        }
        _ => Err(Refusal::invalid_field(name, "must be a whole number, zero or more")),
    }
}

/// 400 with the place in the query that is meant.
fn refused(name: &str, text: &str, diagnostic: &query::Diagnostic) -> Refusal {
    let mut refusal = Refusal::invalid_field(name, diagnostic.message.clone());
    refusal.message = diagnostic.render(text);
    refusal
}

fn unsupported(what: &str) -> Refusal {
    Refusal::new(Cause::Unsupported, format!("This server does not serve {what}."))
}

fn comma(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// Appends a value: each record is written as soon as it is shown, so that the trees of all of them are never there at
/// once.
fn write(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a value is always JSON, and a Vec takes it");
}

#[cfg(test)]
mod tests;
