//! Why something was not accepted, before any dialect has given it a form. The crate's one error type, sorted by who
//! must act.

use std::num::NonZeroU32;

use event::InstanceId;
use http::StatusCode;

use crate::Caller;

/// Who must act so that the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The sender must send something else.
    Sender,
    /// Nobody: trying again later is enough.
    Time,
    /// The operator must make or enable something.
    Operator,
    /// We must: a bug.
    Us,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The request says something wrong.
    InvalidArgument,
    /// The request lacks something that it must say.
    Missing,
    /// The body is not what it should be: no JSON where JSON is read.
    Unparsable,
    /// The body, uncompressed, is over the route's limit.
    TooLarge,
    /// The compression is none that we read.
    BadEncoding,
    /// The head is over the limit.
    HeadTooLarge,
    /// No credential, or none that is valid.
    Unauthenticated,
    /// A valid credential that may not do this.
    PermissionDenied,
    /// Nothing has this path.
    NotFound,
    /// What is to be made is there already.
    AlreadyExists,
    /// What is there does not allow it: a disabled log, a group that is not empty.
    WrongState,
    /// What is there does not allow it for the moment: a version of a function is being installed.
    NotYet,
    /// A retry token came again with another request.
    StaleRetryToken,
    /// What is to be changed was changed meanwhile: it no longer has the etag that the request names.
    Outdated,
    /// The path exists, the method on it does not.
    WrongMethod,
    /// A documented call that this server does not serve.
    Unsupported,
    /// The sender took too long to send.
    TimedOut,
    /// The budget is used up for now.
    SlowDown,
    /// Nothing can be taken in for now.
    Unavailable,
    /// We failed.
    Internal,
}

impl Cause {
    /// Who must act.
    pub const fn who(self) -> Who {
        match self {
            Cause::InvalidArgument
            | Cause::Missing
            | Cause::Unparsable
            | Cause::TooLarge
            | Cause::BadEncoding
            | Cause::HeadTooLarge
            | Cause::Unauthenticated
            | Cause::NotFound
            | Cause::AlreadyExists
            | Cause::WrongState
            | Cause::StaleRetryToken
            | Cause::Outdated
            | Cause::WrongMethod
            | Cause::Unsupported
            | Cause::TimedOut => Who::Sender,
            Cause::PermissionDenied => Who::Operator,
            Cause::NotYet | Cause::SlowDown | Cause::Unavailable => Who::Time,
            Cause::Internal => Who::Us,
        }
    }

    /// The HTTP status.
    pub const fn http_status(self) -> StatusCode {
        match self {
            // Google's APIs answer an oversize payload with 400, not 413 (contracts/chronicle.md §1.5).
            Cause::InvalidArgument | Cause::Missing | Cause::Unparsable | Cause::TooLarge => StatusCode::BAD_REQUEST,
            Cause::BadEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Cause::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Cause::Unauthenticated => StatusCode::UNAUTHORIZED,
            Cause::PermissionDenied => StatusCode::FORBIDDEN,
            Cause::NotFound => StatusCode::NOT_FOUND,
            Cause::AlreadyExists | Cause::WrongState | Cause::NotYet | Cause::StaleRetryToken => StatusCode::CONFLICT,
            Cause::Outdated => StatusCode::PRECONDITION_FAILED,
            Cause::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Cause::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Cause::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Cause::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            Cause::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The canonical status name of AIP-193; also the word for it in metrics.
    pub const fn status_name(self) -> &'static str {
        match self {
            Cause::InvalidArgument
            | Cause::Missing
            | Cause::Unparsable
            | Cause::TooLarge
            | Cause::BadEncoding
            | Cause::HeadTooLarge => "INVALID_ARGUMENT",
            Cause::Unauthenticated => "UNAUTHENTICATED",
            Cause::PermissionDenied => "PERMISSION_DENIED",
            Cause::NotFound => "NOT_FOUND",
            Cause::AlreadyExists => "ALREADY_EXISTS",
            Cause::WrongState | Cause::NotYet => "FAILED_PRECONDITION",
            Cause::StaleRetryToken | Cause::Outdated => "ABORTED",
            Cause::WrongMethod | Cause::Unsupported => "UNIMPLEMENTED",
            Cause::TimedOut => "DEADLINE_EXCEEDED",
            Cause::SlowDown => "RESOURCE_EXHAUSTED",
            Cause::Unavailable => "UNAVAILABLE",
            Cause::Internal => "INTERNAL",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Path of the field in the body, such as `entries[3].ts_rfc3339`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// Why a request was not accepted. Kept under 128 bytes, since it is the error of calls on the hot path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub cause: Cause,
    /// What was wrong, in a sentence that is enough by itself: many senders log nothing else.
    pub message: String,
    /// Every fault by field, in the order of the body, up to [`event::limits::FAULTS_MAX`].
    pub violations: Box<[Violation]>,
    /// How many faults there were, the listed ones included.
    pub violations_count: u32,
    /// When to try again, in seconds.
    pub retry_after_secs: Option<u16>,
    /// The methods that the path has, for [`Cause::WrongMethod`].
    pub allow: Box<[http::Method]>,
    /// The tenant, when the credential said.
    pub instance: Option<InstanceId>,
    /// The account or key, when the credential said.
    pub sender: Option<Box<str>>,
    /// How many records were refused with it, when they could be counted.
    pub records: Option<u64>,
    /// A part of the hash of the key that was tried and is none, so that many tries can be told from few.
    pub guessed: Option<NonZeroU32>,
}

impl Refusal {
    /// A refusal with nothing but its kind and text.
    pub fn new(cause: Cause, message: impl Into<String>) -> Refusal {
        Refusal {
            cause,
            message: message.into(),
            violations: Box::default(),
            violations_count: 0,
            retry_after_secs: None,
            allow: Box::default(),
            instance: None,
            sender: None,
            records: None,
            guessed: None,
        }
    }

    /// 400: the request says something wrong.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(Cause::InvalidArgument, message)
    }

    /// 400 naming one field.
    pub fn invalid_field(field: &str, description: impl Into<String>) -> Refusal {
        let description = description.into();
        let mut refusal = Refusal::invalid(format!("{field}: {description}"));
        refusal.violations = Box::new([Violation { field: field.to_owned(), description }]);
        refusal.violations_count = 1;
        refusal
    }

    /// 401.
    pub fn unauthenticated(message: impl Into<String>) -> Refusal {
        Refusal::new(Cause::Unauthenticated, message)
    }

    /// 429: too many keys were tried that are none; `why` is what is wrong with the last.
    pub fn too_many_guesses(why: &str, retry_after_secs: u16) -> Refusal {
        let message =
            format!("{why} Too many requests came with keys that are not valid; try again in {retry_after_secs} s.");
        Refusal { retry_after_secs: Some(retry_after_secs), ..Refusal::new(Cause::SlowDown, message) }
    }

    /// 403.
    pub fn permission_denied(message: impl Into<String>) -> Refusal {
        Refusal::new(Cause::PermissionDenied, message)
    }

    /// 400: the uncompressed body is over the limit. `got` is its size where known (a body is not read to its end only
    /// to learn it).
    pub fn too_large(limit: usize, got: Option<u64>) -> Refusal {
        let got = got.map(|got| format!(" It has {got} bytes uncompressed.")).unwrap_or_default();
        Refusal::new(
            Cause::TooLarge,
            format!("Request payload size exceeds the limit: {limit} bytes, counted uncompressed.{got}"),
        )
    }

    /// 429: the budget is used up; try again after this many seconds.
    pub fn slow_down(retry_after_secs: u16) -> Refusal {
        let message = format!("The server's memory for requests is in use. Try again in {retry_after_secs} s.");
        Refusal { retry_after_secs: Some(retry_after_secs), ..Refusal::new(Cause::SlowDown, message) }
    }

    /// 503: nothing can be taken in for now, and why.
    pub fn unavailable(message: impl Into<String>, retry_after_secs: Option<u16>) -> Refusal {
        Refusal { retry_after_secs, ..Refusal::new(Cause::Unavailable, message) }
    }

    /// 415: a `Content-Encoding` that we do not read.
    pub fn bad_encoding(encoding: &str) -> Refusal {
        let encoding: String = encoding.chars().take(40).collect();
        Refusal::new(Cause::BadEncoding, format!("Content-Encoding {encoding:?} is not supported; send gzip or none."))
    }

    /// 400: a gzip body that does not inflate.
    pub fn bad_gzip(why: impl std::fmt::Display) -> Refusal {
        Refusal::invalid(format!("The body is not valid gzip: {why}."))
    }

    /// 400: the body is not as long as its head said.
    pub fn bad_length(why: impl std::fmt::Display) -> Refusal {
        Refusal::invalid(format!("The length of the body is wrong: {why}."))
    }

    /// 408: the sender took too long.
    pub fn timed_out(what: &str) -> Refusal {
        Refusal::new(Cause::TimedOut, format!("The {what} took too long to arrive."))
    }

    /// 404.
    pub fn not_found(method: &http::Method, path: &str) -> Refusal {
        let path: String = path.chars().take(200).collect();
        Refusal::new(Cause::NotFound, format!("Nothing is served at {method} {path}."))
    }

    /// 405, with the methods that the path has.
    pub fn wrong_method(method: &http::Method, path: &str, allow: Vec<http::Method>) -> Refusal {
        let path: String = path.chars().take(200).collect();
        let list = allow.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
        Refusal {
            allow: allow.into(),
            ..Refusal::new(Cause::WrongMethod, format!("{path} takes {list}, not {method}."))
        }
    }

    /// 431.
    pub fn head_too_large(limit: usize) -> Refusal {
        Refusal::new(Cause::HeadTooLarge, format!("The head of the request is over {limit} bytes."))
    }

    /// 500: we failed; the cause is in our log, not in the reply.
    pub fn internal() -> Refusal {
        Refusal::new(Cause::Internal, "The server failed; its log says why.")
    }

    /// The same, saying whom it met.
    pub fn of(mut self, caller: &Caller) -> Refusal {
        self.instance = caller.instance();
        self.sender = Some(caller.sender().into());
        self
    }
}
