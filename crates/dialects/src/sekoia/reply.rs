//! What senders are told: the ids of their events, or what was wrong. Always JSON, since Sekoia's own clients fail, and
//! send again, on anything else (contracts/sekoia.md §1.6).

use event::{BatchId, limits};
use http::StatusCode;

use crate::aip193::json_text;
use crate::snapshot::Limits;
use crate::{Cause, Refusal, Reply, Violation};

/// An event that is too large to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversize {
    /// Which of the request's.
    pub(super) index: usize,
    /// Its size.
    pub(super) bytes: usize,
    /// Its key, as [`super::read::Item::key`].
    pub(super) key: u32,
}

impl Oversize {
    fn message(self, bytes_max: usize) -> String {
        format!("The event has {} bytes, more than the {bytes_max} allowed; it was not stored.", self.bytes)
    }
}

/// The names of a request's events.
pub(super) struct Names {
    pub(super) status: StatusCode,
    /// Whether one event was sent by itself, not a list.
    pub(super) is_one: bool,
    /// The batches, in order.
    pub(super) ids: Vec<BatchId>,
    /// The batch of each event that was taken; empty where there is only one.
    pub(super) batch_of: Vec<u32>,
    /// How many events there were.
    pub(super) count: usize,
    /// Those that were not taken, in order.
    pub(super) oversize: Vec<Oversize>,
}

impl Names {
    /// The reply to a list of nothing.
    pub(super) fn none(status: StatusCode) -> Reply {
        success(status, "{\"event_ids\": []}".to_owned())
    }

    /// About how long that is: an id, its quotes and a comma for each event.
    pub(super) fn reply_bytes(&self) -> usize {
        64 + self.count * 39 + self.oversize.len() * 160
    }

    /// The reply that names them.
    pub(super) fn reply(&self, event_bytes_max: usize) -> Reply {
        let mut out = String::with_capacity(self.reply_bytes());
        // An id is its batch's with the index in the last eight digits.
        let prefixes: Vec<String> = self.ids.iter().map(|id| id.to_string()[..28].to_owned()).collect();
        let mut next = vec![0u32; self.ids.len()];
        let mut taken = 0;
        let mut refused = self.oversize.iter().peekable();
        out.push_str(if self.is_one { "{\"event_id\":" } else { "{\"event_ids\":[" });
        for index in 0..self.count {
            if index > 0 {
                out.push(',');
            }
            if refused.peek().is_some_and(|refused| refused.index == index) {
                refused.next();
                out.push_str("null");
                continue;
            }
            let batch = self.batch_of.get(taken).map_or(0, |batch| *batch as usize);
            taken += 1;
            out.push('"');
            out.push_str(&prefixes[batch]);
            push_hex(&mut out, next[batch]);
            next[batch] += 1;
            out.push('"');
        }
        if !self.is_one {
            out.push(']');
        }
        for (place, oversize) in self.oversize.iter().enumerate() {
            out.push_str(if place == 0 { ",\"errors\":[" } else { "," });
            let message = json_text(&oversize.message(event_bytes_max), MESSAGE_BYTES_MAX);
            out.push_str(&format!("{{\"index\":{},\"status\":413,\"message\":{message}}}", oversize.index));
        }
        if !self.oversize.is_empty() {
            out.push(']');
        }
        out.push('}');
        success(self.status, out)
    }
}

/// Eight hexadecimal digits.
fn push_hex(out: &mut String, value: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..8).rev() {
        out.push(DIGITS[(value >> (shift * 4) & 15) as usize] as char);
    }
}

fn success(status: StatusCode, body: String) -> Reply {
    // These two have no body by definition, whatever the sender hopes to read.
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    Reply::json(status, if has_body { body } else { String::new() })
}

/// That these events are too large.
pub(super) fn too_large(oversize: &[Oversize], is_one: bool, limits: &Limits) -> Refusal {
    let bytes_max = limits.sekoia_event_bytes_max;
    let field = |oversize: &Oversize| if is_one { String::new() } else { format!("[{}]", oversize.index) };
    let violation =
        |oversize: &Oversize| Violation { field: field(oversize), description: oversize.message(bytes_max) };
    let message = match oversize {
        [one] => format!("{}{}{}", field(one), if is_one { "" } else { ": " }, one.message(bytes_max)),
        all => {
            format!("{} events have more than the {bytes_max} bytes allowed; they were not stored.", all.len())
        }
    };
    let mut refusal = Refusal::new(Cause::TooLarge, message);
    if !is_one {
        refusal.violations = oversize.iter().take(limits::FAULTS_MAX).map(violation).collect();
        refusal.violations_count = oversize.len() as u32;
    }
    refusal
}

/// Longest message and longest text on one event, in bytes of JSON.
const MESSAGE_BYTES_MAX: usize = 800;
const ERROR_BYTES_MAX: usize = 300;

/// The status that says a refusal here.
pub fn status_of(cause: Cause) -> StatusCode {
    match cause {
        Cause::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        cause => cause.http_status(),
    }
}

/// The refusal in this dialect's form, under [`limits::ERROR_BODY_BYTES_MAX`].
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let status = status_of(refusal.cause);
    let code = status.as_u16();
    let mut body = format!("{{\"message\":{},\"code\":{code}", json_text(&refusal.message, MESSAGE_BYTES_MAX));
    const TAIL: &str = "]}";
    for (place, violation) in refusal.violations.iter().take(limits::FAULTS_MAX).enumerate() {
        let index = index_of(&violation.field).map(|index| format!("\"index\":{index},")).unwrap_or_default();
        let field = json_text(&violation.field, 120);
        let message = json_text(&violation.description, ERROR_BYTES_MAX);
        let error = format!("{{{index}\"field\":{field},\"status\":{code},\"message\":{message}}}");
        if body.len() + error.len() + ",\"errors\":[".len() + TAIL.len() >= limits::ERROR_BODY_BYTES_MAX {
            break;
        }
        body.push_str(if place == 0 { ",\"errors\":[" } else { "," });
        body.push_str(&error);
    }
    body.push_str(if refusal.violations.is_empty() { "}" } else { TAIL });
    Reply::json(status, body).with_headers_of(refusal, Some("Basic realm=\"intake\""))
}

/// The first index in a field's path: 3 of `jsons[3].timestamp`.
fn index_of(field: &str) -> Option<usize> {
    let (_, rest) = field.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}
