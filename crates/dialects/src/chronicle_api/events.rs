//! Events over this API: how one is named and shown, `events.get` and `events:batchGet`.
//!
//! An event is the resource `events/{id}`, its id the record's id in URL-safe base64, escaped for a path. Of a raw log several
//! events may have come: from the second on, its number follows in four more bytes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use event::{Kind, RecordId, limits};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::sync::Arc;
use udm::{Root, Schema};

use super::Names;
use crate::ask::{Ask, FoundRecord, Outcome, Question, Render};
use crate::{Caller, Cause, Head, Refusal, Reply};

/// An event as a resource.
pub(crate) fn shown(names: &Names, schema: &Schema, record: &FoundRecord) -> Value {
    json!({ "name": names.event(record), "udm": shown_udm(schema, record) })
}

/// An event's UDM: what was stored in the form that Google's API gives, with the record's id as `metadata.id` where the
/// sender gave none. Every call that shows an event shows this.
pub(crate) fn shown_udm(schema: &Schema, record: &FoundRecord) -> Value {
    let mut out = Vec::with_capacity(record.data.len() * 2);
    schema.write_proto_json(Root::Event, &record.data, &mut out);
    let mut udm: Value = serde_json::from_slice(&out).expect("what is written is one JSON object");
    if udm["metadata"]["id"].is_null() {
        udm["metadata"]["id"] = Value::String(id_base64(record));
    }
    udm
}

/// An event's id as bytes are written in JSON.
pub(crate) fn id_base64(record: &FoundRecord) -> String {
    STANDARD.encode(id_bytes(record))
}

/// An event's id as the last part of its name.
pub(super) fn id_in_path(record: &FoundRecord) -> String {
    URL_SAFE.encode(id_bytes(record)).replace('=', "%3D")
}

fn id_bytes(record: &FoundRecord) -> Vec<u8> {
    let mut bytes = record.id.as_u128().to_be_bytes().to_vec();
    if record.ordinal > 0 {
        bytes.extend(record.ordinal.to_be_bytes());
    }
    bytes
}

/// A record and which of its events is meant.
type EventId = (RecordId, u32);

/// Whether this is the event that is meant.
fn is_meant(record: &FoundRecord, (id, ordinal): EventId) -> bool {
    record.id == id && record.ordinal == ordinal && record.kind == Kind::Udm
}

/// `events.get`.
pub(super) fn get(names: &Names, caller: &Caller, schema: &Arc<Schema>, event: &str) -> Result<Ask, Refusal> {
    let id = read_id(event).ok_or_else(|| no_such(event))?;
    let (asked, names, schema) = (event.to_owned(), names.clone(), Arc::clone(schema));
    Ok(ask(caller, names.instance, vec![id.0], move |rows| {
        let record = rows.iter().find(|record| is_meant(record, id)).ok_or_else(|| no_such(&asked))?;
        Ok(shown(&names, &schema, record))
    }))
}

/// `events:batchGet`: all of them in the order of their names, or 404 that says which there is none of.
pub(super) fn batch_get(names: &Names, caller: &Caller, schema: &Arc<Schema>, head: &Head) -> Result<Ask, Refusal> {
    let asked = head.query_values("names");
    if !(1..=limits::EVENTS_BATCH_MAX).contains(&asked.len()) {
        let description = format!("{} given; from 1 to {} can be", asked.len(), limits::EVENTS_BATCH_MAX);
        return Err(Refusal::invalid_field("names", description));
    }
    let ids = asked.iter().map(|name| named_id(names, name).ok_or_else(|| no_such(name)));
    let ids: Vec<EventId> = ids.collect::<Result<_, _>>()?;
    let (names, schema, wanted) = (names.clone(), Arc::clone(schema), ids.clone());
    let mut distinct: Vec<RecordId> = ids.into_iter().map(|(id, _)| id).collect();
    distinct.sort_unstable();
    distinct.dedup();
    Ok(ask(caller, names.instance, distinct, move |rows| {
        let events = wanted.iter().zip(&asked).map(|(id, name)| {
            let record = rows.iter().find(|record| is_meant(record, *id));
            record.map(|record| shown(&names, &schema, record)).ok_or_else(|| no_such(name))
        });
        Ok(json!({ "events": events.collect::<Result<Vec<_>, _>>()? }))
    }))
}

fn ask(
    caller: &Caller,
    instance: event::InstanceId,
    ids: Vec<RecordId>,
    body: impl FnOnce(Vec<FoundRecord>) -> Result<Value, Refusal> + Send + 'static,
) -> Ask {
    let render = Render::new(move |outcome| match outcome {
        Outcome::Rows { truncated: true, .. } => {
            let message =
                format!("The events have more than {} bytes; ask for fewer.", limits::GOOGLE_SEARCH_BYTES_MAX);
            Err(Refusal::invalid_field("names", message))
        }
        Outcome::Rows { rows, .. } => Ok(Reply::json(StatusCode::OK, body(rows)?.to_string())),
        _ => Err(Refusal::internal()),
    });
    let bytes_max = limits::GOOGLE_SEARCH_BYTES_MAX;
    Ask { caller: caller.clone(), question: Question::Records { instance, ids, bytes_max }, render }
}

/// The id in an event's name, which may be whole or only its last part; `None` where it is another instance's.
fn named_id(names: &Names, name: &str) -> Option<EventId> {
    let Some((parent, id)) = name.rsplit_once("/events/") else {
        return read_id(name.strip_prefix("events/").unwrap_or(name));
    };
    let instance = parent.rsplit_once("/instances/").map_or("", |(_, instance)| instance);
    (instance.parse() == Ok(names.instance)).then(|| read_id(id)).flatten()
}

/// Either alphabet, with or without padding: clients decode and encode what they were given.
fn read_id(text: &str) -> Option<EventId> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ALPHABETS: [GeneralPurpose; 2] =
        [GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT), GeneralPurpose::new(&alphabet::STANDARD, LENIENT)];
    // A name that is escaped once more than the path it stands in.
    let once = percent_decode_str(text).decode_utf8().ok()?;
    let twice = percent_decode_str(&once).decode_utf8().ok()?;
    let bytes = ALPHABETS.iter().find_map(|alphabet| alphabet.decode(twice.as_bytes()).ok())?;
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let ordinal = if rest.is_empty() { 0 } else { u32::from_be_bytes(rest.try_into().ok()?) };
    Some((RecordId::from_u128(u128::from_be_bytes(*id)), ordinal))
}

/// The same for what is nobody's, somebody else's, or no event.
fn no_such(name: &str) -> Refusal {
    let shown: String = name.chars().take(200).collect();
    Refusal::new(Cause::NotFound, format!("There is no event {shown:?}."))
}
