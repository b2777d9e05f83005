//! Google's form of an error (AIP-193), in which every Google-shaped dialect refuses, and `receive` does where no
//! dialect claims the path. The body stays under [`limits::ERROR_BODY_BYTES_MAX`] whatever the refusal holds.

use event::limits;
use http::StatusCode;

use crate::{Cause, Refusal, Reply, Violation};

/// The reply that says this refusal.
pub fn refuse(refusal: &Refusal) -> Reply {
    refuse_with(refusal, refusal.cause.http_status())
}

/// The same as Google's own servers number it: there, what is not in the right state for a call is a bad request.
pub(crate) fn refuse_as_google(refusal: &Refusal) -> Reply {
    let status = match refusal.cause {
        Cause::WrongState => StatusCode::BAD_REQUEST,
        cause => cause.http_status(),
    };
    refuse_with(refusal, status)
}

fn refuse_with(refusal: &Refusal, status: StatusCode) -> Reply {
    Reply::json(status, body(refusal, status)).with_headers_of(refusal, Some("Bearer"))
}

/// Longest message and description, in bytes of JSON. Twenty faults of the usual length fit beside a message this long.
const MESSAGE_BYTES_MAX: usize = 800;
const DESCRIPTION_BYTES_MAX: usize = 400;

fn body(refusal: &Refusal, status: StatusCode) -> String {
    let code = status.as_u16();
    let status = refusal.cause.status_name();
    let message = json_text(&refusal.message, MESSAGE_BYTES_MAX);
    let mut out = format!(r#"{{"error":{{"code":{code},"message":{message},"status":"{status}""#);
    if !refusal.violations.is_empty() {
        out.push_str(r#","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":["#);
        const TAIL: &str = "]}]}}";
        for (index, violation) in refusal.violations.iter().take(limits::FAULTS_MAX).enumerate() {
            let item = violation_json(violation);
            if out.len() + item.len() + 1 + TAIL.len() >= limits::ERROR_BODY_BYTES_MAX {
                break;
            }
            if index > 0 {
                out.push(',');
            }
            out.push_str(&item);
        }
        out.push_str("]}]");
    }
    out.push_str("}}");
    debug_assert!(out.len() < limits::ERROR_BODY_BYTES_MAX);
    out
}

fn violation_json(violation: &Violation) -> String {
    let field = json_text(&violation.field, 200);
    let description = json_text(&violation.description, DESCRIPTION_BYTES_MAX);
    format!(r#"{{"field":{field},"description":{description}}}"#)
}

/// The text as a JSON string of at most `bytes_max` bytes, cut with `…` where it is longer.
pub(crate) fn json_text(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max) + 2);
    out.push('"');
    for char in text.chars() {
        let before = out.len();
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control.is_control() => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
        if out.len() + '…'.len_utf8() + 1 > bytes_max {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_form_is_googles() {
        let refusal = Refusal::invalid_field("entries[3].ts_rfc3339", "month 26 does not exist");
        let reply = refuse(&refusal);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let expected = serde_json::json!({"error": {
            "code": 400, "message": "entries[3].ts_rfc3339: month 26 does not exist", "status": "INVALID_ARGUMENT",
            "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "entries[3].ts_rfc3339", "description": "month 26 does not exist"}]}]
        }});
        assert_eq!(body, expected);
    }

    proptest! {
        #[test]
        fn the_body_is_json_under_4_kib_whatever_it_says(
            message in "\\PC{0,3000}|[\\x00-\\x1f\"]{0,3000}",
            violations in prop::collection::vec(("\\PC{0,300}|[\\x00-\\x1f]{0,99}", "\\PC{0,900}"), 0..40),
        ) {
            let mut refusal = Refusal::invalid(message);
            refusal.violations =
                violations.into_iter().map(|(field, description)| Violation { field, description }).collect();
            let reply = refuse(&refusal);
            prop_assert!(reply.body.len() < limits::ERROR_BODY_BYTES_MAX);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_ok());
        }
    }
}
