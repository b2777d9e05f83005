//! The client side: bodies of `/batch` and `/plain/batch`. The load generator and tests send with these.

use serde_json::to_writer;

/// Body of `/batch`.
pub fn batch<'a>(intake_key: &str, events: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::from(b"{\"intake_key\":");
    to_writer(&mut out, intake_key).expect("writing to memory does not fail");
    out.extend_from_slice(b",\"jsons\":[");
    for (index, event) in events.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        to_writer(&mut out, event).expect("writing to memory does not fail");
    }
    out.extend_from_slice(b"]}");
    out
}

/// Body of `/plain/batch`. An event with a line feed in it would be two, and an empty one none: those go by [`batch`].
pub fn plain_batch<'a>(events: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    out
}
