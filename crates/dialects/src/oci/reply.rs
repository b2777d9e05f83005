//! What goes back: refusals in OCI's form, lists with the token of their next page, and the id of every request.
//!
//! A page's token is bound to its list and opaque, so that one given to another list is refused instead of meaning something
//! else there. What it holds is the component's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use event::{Time, limits};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{REQUEST_ID, header};
use crate::aip193::json_text;
use crate::{Cause, Head, Refusal, Reply};

/// Where the next page of a list begins.
pub(super) const NEXT_PAGE: HeaderName = HeaderName::from_static("opc-next-page");

/// Longest message and longest text on one fault, in bytes of JSON.
const MESSAGE_BYTES_MAX: usize = 1_200;
const ERROR_BYTES_MAX: usize = 300;

/// Longest id that a request may give itself; a longer one is not repeated.
const REQUEST_ID_BYTES_MAX: usize = 256;

/// The status and OCI's word for a cause.
const fn code_of(cause: Cause) -> (StatusCode, &'static str) {
    match cause {
        Cause::InvalidArgument => (StatusCode::BAD_REQUEST, "InvalidParameter"),
        Cause::Missing => (StatusCode::BAD_REQUEST, "MissingParameter"),
        Cause::Unparsable => (StatusCode::BAD_REQUEST, "CannotParseRequest"),
        Cause::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"),
        Cause::BadEncoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType"),
        Cause::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "RequestHeaderFieldsTooLarge"),
        Cause::Unauthenticated => (StatusCode::UNAUTHORIZED, "NotAuthenticated"),
        // Whoever may not see a thing is not told that it is there.
        Cause::PermissionDenied | Cause::NotFound => (StatusCode::NOT_FOUND, "NotAuthorizedOrNotFound"),
        // OCI's clients send again on `IncorrectState`, its command for a minute and a half, and on `Conflict` they do not.
        Cause::AlreadyExists | Cause::WrongState => (StatusCode::CONFLICT, "Conflict"),
        Cause::NotYet => (StatusCode::CONFLICT, "IncorrectState"),
        Cause::StaleRetryToken => (StatusCode::CONFLICT, "InvalidatedRetryToken"),
        Cause::Outdated => (StatusCode::PRECONDITION_FAILED, "NoEtagMatch"),
        Cause::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        Cause::Unsupported => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        Cause::TimedOut => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
        Cause::SlowDown => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        Cause::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        Cause::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
    }
}

/// The status that says a refusal here.
pub fn status_of(cause: Cause) -> StatusCode {
    code_of(cause).0
}

/// The refusal in this dialect's form, under [`limits::ERROR_BODY_BYTES_MAX`]. Clients read `code` and `message`; `errors` is
/// ours, and names every fault by its field.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let (status, code) = code_of(refusal.cause);
    let message = json_text(&refusal.message, MESSAGE_BYTES_MAX);
    let mut body = format!("{{\"code\":\"{code}\",\"message\":{message}");
    const TAIL: &str = "]}";
    let mut has_errors = false;
    for (place, violation) in refusal.violations.iter().take(limits::FAULTS_MAX).enumerate() {
        let field = json_text(&violation.field, 120);
        let message = json_text(&violation.description, ERROR_BYTES_MAX);
        let error = format!("{{\"field\":{field},\"message\":{message}}}");
        if body.len() + error.len() + ",\"errors\":[".len() + TAIL.len() >= limits::ERROR_BODY_BYTES_MAX {
            break;
        }
        body.push_str(if place == 0 { ",\"errors\":[" } else { "," });
        body.push_str(&error);
        has_errors = true;
    }
    body.push_str(if has_errors { TAIL } else { "}" });
    let challenge = "Signature headers=\"date (request-target) host\"";
    Reply::json(status, body).with_headers_of(refusal, Some(challenge))
}

/// The refusal of a call below one of OCI's prefixes that is none of those that are served.
pub(super) fn not_served(head: &Head) -> Refusal {
    let path: String = head.path.chars().take(200).collect();
    let message = format!("{} {path} is not served here, whether or not OCI has it.", head.method);
    Refusal::new(Cause::Unsupported, message)
}

/// What the request calls itself, or a name for it: made of what it says and when it came, so that nothing has to be drawn.
pub(super) fn request_id(head: &Head, now: Time) -> HeaderValue {
    let given = header(&head.headers, REQUEST_ID.as_str()).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX);
    if let Some(given) = given.and_then(|given| HeaderValue::from_str(given).ok()) {
        return given;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&now.nanos().to_le_bytes());
    hasher.update(head.method.as_str().as_bytes());
    for text in [head.raw_path.as_str(), head.query.as_deref().unwrap_or_default(), &head.peer.to_string()] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    for (name, value) in &head.headers {
        hasher.update(name.as_str().as_bytes());
        hasher.update(value.as_bytes());
    }
    let id = hasher.finalize().to_hex()[..32].to_ascii_uppercase();
    HeaderValue::from_str(&id).expect("hexadecimal digits can stand in a header")
}

/// A reply that says no more than its status.
pub(super) fn empty(status: StatusCode) -> Reply {
    Reply { status, headers: Vec::new(), body: Bytes::new() }
}

/// 200 with this JSON.
pub(super) fn json(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, body.to_string())
}

/// The same reply with a header whose value is a text of ours; one that no header can hold is left out.
pub(super) fn with_text(reply: Reply, name: HeaderName, value: &str) -> Reply {
    match HeaderValue::from_str(value) {
        Ok(value) => reply.with_header(name, value),
        Err(_) => reply,
    }
}

/// Names a list with all that decides what is in it, so that its pages' tokens hold for it alone.
#[derive(Debug, Clone)]
pub(super) struct List([u8; TAG_BYTES]);

const TAG_BYTES: usize = 8;

impl List {
    /// The list that a request asks for. `body` is what else decides.
    pub(super) fn of(head: &Head, body: &[u8]) -> List {
        let mut hasher = blake3::Hasher::new();
        hasher.update(head.path.as_bytes());
        let query = head.query.as_deref().unwrap_or_default();
        let mut pairs: Vec<_> =
            form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| !matches!(&**key, "page" | "limit")).collect();
        pairs.sort();
        for (key, value) in pairs {
            for text in [key, value] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        hasher.update(b"\0");
        hasher.update(body);
        List(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// Where the request wants to go on, in the component's words.
    pub(super) fn page(&self, head: &Head) -> Result<Option<String>, Refusal> {
        let Some(text) = head.query_value("page").filter(|text| !text.is_empty()) else { return Ok(None) };
        let foreign = || {
            let description = "is not one that this list gave: tokens hold for the same call with the same parameters";
            Refusal::invalid_field("page", description)
        };
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(|_| foreign())?;
        let (tag, rest) = bytes.split_at_checked(TAG_BYTES).ok_or_else(foreign)?;
        if tag != self.0 {
            return Err(foreign());
        }
        String::from_utf8(rest.to_vec()).map(Some).map_err(|_| foreign())
    }

    /// The reply with the token of the next page, where there is one.
    pub(super) fn with_next(&self, reply: Reply, next: Option<&str>) -> Reply {
        match next {
            Some(next) => with_text(reply, NEXT_PAGE, &URL_SAFE_NO_PAD.encode([&self.0, next.as_bytes()].concat())),
            None => reply,
        }
    }
}
