//! The client side: bodies of `batchCreate` requests. Our commands, the load generator and tests send with these.

use event::{InstanceId, Label, Time};
use serde_json::to_string as json;

/// Body of `/v2/unstructuredlogentries:batchCreate`. Times go as `ts_rfc3339`, since microseconds would lose digits.
pub fn raw_batch<'a>(
    customer_id: Option<InstanceId>,
    log_type: &str,
    namespace: &str,
    labels: &[Label],
    entries: impl IntoIterator<Item = (&'a str, Option<Time>)>,
) -> Vec<u8> {
    let mut out = head(customer_id, Some(log_type), namespace, labels, "entries");
    for (index, (text, time)) in entries.into_iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"log_text\":" } else { b",{\"log_text\":" });
        serde_json::to_writer(&mut out, text).expect("writing to memory does not fail");
        if let Some(time) = time {
            out.extend_from_slice(format!(",\"ts_rfc3339\":\"{time}\"").as_bytes());
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// Body of `/v2/udmevents:batchCreate`. Each event is JSON already and goes as it is.
pub fn udm_batch<'a>(customer_id: Option<InstanceId>, events: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    list(head(customer_id, None, "", &[], "events"), events)
}

/// Body of `/v2/entities:batchCreate`. Each entity is JSON already and goes as it is.
pub fn entity_batch<'a>(
    customer_id: Option<InstanceId>,
    log_type: &str,
    entities: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    list(head(customer_id, Some(log_type), "", &[], "entities"), entities)
}

/// Everything up to the first record.
fn head(
    customer_id: Option<InstanceId>,
    log_type: Option<&str>,
    namespace: &str,
    labels: &[Label],
    list: &str,
) -> Vec<u8> {
    let text = |text: &str| json(text).expect("a string is always JSON");
    let mut out = String::from("{");
    if let Some(id) = customer_id {
        out.push_str(&format!("\"customer_id\":\"{id}\","));
    }
    if let Some(log_type) = log_type {
        out.push_str(&format!("\"log_type\":{},", text(log_type)));
    }
    if !namespace.is_empty() {
        out.push_str(&format!("\"namespace\":{},", text(namespace)));
    }
    if !labels.is_empty() {
        out.push_str(&format!("\"labels\":{},", json(labels).expect("labels are always JSON")));
    }
    out.push_str(&format!("\"{list}\":["));
    out.into_bytes()
}

fn list<'a>(mut out: Vec<u8>, items: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(b"]}");
    out
}
