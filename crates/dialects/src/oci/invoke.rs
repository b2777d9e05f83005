//! Calling a function: the body goes in as it is, and what the function answered comes out as it is.
//!
//! Where no function answered, OCI has a word for each reason, which are those here.

use bytes::Bytes;
use event::{BatchId, limits};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

use super::{Asked, Invoke, Invoked, NotInvoked, Outcome, Question, REQUEST_ID, header, reply};
use crate::aip193::json_text;
use crate::{Cause, Intake, Refusal, Reply};

/// Names a call of a function.
pub(super) const CALL_ID: HeaderName = HeaderName::from_static("fn-call-id");

/// What a function says in headers that are the connection's or ours.
const KEPT_BACK: [&str; 13] = [
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "fn-call-id",
    "keep-alive",
    "opc-request-id",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Asked<'_> {
    pub(super) fn invoke(&self, function: String, next_id: &mut dyn FnMut() -> BatchId) -> Result<Intake, Refusal> {
        let headers = &self.head.headers;
        let detached = match header(headers, "fn-invoke-type") {
            None | Some("sync") => false,
            Some("detached") => true,
            Some(_) => return Err(Refusal::invalid_field("fn-invoke-type", "is neither sync nor detached")),
        };
        let intent = match header(headers, "fn-intent") {
            None => None,
            Some(intent @ ("httprequest" | "cloudevent")) => Some(intent.to_owned()),
            Some(_) => return Err(Refusal::invalid_field("fn-intent", "is neither httprequest nor cloudevent")),
        };
        if header(headers, "is-dry-run").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Refusal::new(Cause::Unsupported, "Dry runs (is-dry-run) of functions are not served here."));
        }
        // Whoever names no id still finds the call in the function's log by the one in the reply.
        let request_id = match header(headers, REQUEST_ID.as_str()) {
            Some(_) => reply::request_id(self.head, self.now),
            None => HeaderValue::from_str(&format!("{:032X}", next_id().as_u128())).expect("digits fit a header"),
        };
        let ask = Question::Invoke(Invoke {
            function,
            body: self.request.body.clone(),
            content_type: header(headers, CONTENT_TYPE.as_str()).unwrap_or("application/json").to_owned(),
            intent,
            detached,
            opc_request_id: request_id.to_str().unwrap_or_default().to_owned(),
        });
        self.ask(ask, move |outcome| {
            let reply = match outcome {
                Outcome::Invoked(invoked) => answered(invoked),
                Outcome::Detached { call_id } => {
                    reply::with_text(reply::empty(StatusCode::ACCEPTED), CALL_ID, &call_id)
                }
                Outcome::NotInvoked { call_id, why, message } => {
                    let (status, code) = code_of(why);
                    failed(status, code, &message, call_id.as_deref())
                }
                _ => return Err(Refusal::internal()),
            };
            Ok(reply.with_header(REQUEST_ID, request_id))
        })
    }
}

/// What a function answered. 200 is the only success that a function's process can report; what its handler means by another
/// status stands in `Fn-Http-Status`.
fn answered(invoked: Invoked) -> Reply {
    let Invoked { status, headers, body, call_id } = invoked;
    match status {
        200 => {}
        502 => {
            return failed(StatusCode::BAD_GATEWAY, "FunctionInvokeExecutionFailed", "function failed", Some(&call_id));
        }
        504 => return failed(StatusCode::GATEWAY_TIMEOUT, "FunctionInvokeTimeout", "Timed out", Some(&call_id)),
        other => {
            let message = format!("invalid function response: status {other}");
            return failed(StatusCode::BAD_GATEWAY, "FunctionInvokeInvalidResponse", &message, Some(&call_id));
        }
    }
    if body.len() > limits::OCI_INVOKE_BYTES_MAX {
        let (status, code) = code_of(NotInvoked::AnswerTooLarge);
        return failed(status, code, "function response body too large", Some(&call_id));
    }
    // OCI's command writes what it gets to a file without looking at how it is encoded.
    let as_it_is = (CACHE_CONTROL, HeaderValue::from_static("no-transform"));
    let mut reply = Reply { status: StatusCode::OK, headers: vec![as_it_is], body };
    for (name, value) in headers {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) else { continue };
        if !KEPT_BACK.contains(&name.as_str()) {
            reply = reply.with_header(name, value);
        }
    }
    if !reply.headers.iter().any(|(name, _)| *name == CONTENT_TYPE) {
        reply = reply.with_header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    reply::with_text(reply, CALL_ID, &call_id)
}

/// OCI's status and word for why no function answered.
const fn code_of(why: NotInvoked) -> (StatusCode, &'static str) {
    match why {
        NotInvoked::NotInstalled => (StatusCode::BAD_GATEWAY, "FunctionInvokeImageNotAvailable"),
        NotInvoked::InitFailed => (StatusCode::BAD_GATEWAY, "FunctionInvokeContainerInitFail"),
        NotInvoked::InitTimedOut => (StatusCode::GATEWAY_TIMEOUT, "FunctionInvokeContainerInitTimeout"),
        NotInvoked::Failed => (StatusCode::BAD_GATEWAY, "FunctionInvokeExecutionError"),
        NotInvoked::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "FunctionInvokeTimeout"),
        NotInvoked::AnswerTooLarge => (StatusCode::BAD_GATEWAY, "FunctionInvokeResponseBodyTooLarge"),
        NotInvoked::Busy => (StatusCode::SERVICE_UNAVAILABLE, "FunctionInvokeServiceUnavailable"),
    }
}

fn failed(status: StatusCode, code: &str, message: &str, call_id: Option<&str>) -> Reply {
    let message = json_text(message, 2_000);
    let reply = Reply::json(status, Bytes::from(format!("{{\"code\":\"{code}\",\"message\":{message}}}")));
    match call_id {
        Some(call_id) => reply::with_text(reply, CALL_ID, call_id),
        None => reply,
    }
}
