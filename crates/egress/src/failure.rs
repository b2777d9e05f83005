//! Why a request has no answer of its host's: what the function is told, and what is recorded. No text here holds more of a
//! request than its host.

use std::error::Error;
use std::time::Duration;

use http::StatusCode;

use crate::Unreachable;
use crate::destination::Destination;

/// Longest text of an error.
const TEXT_BYTES_MAX: usize = 400;

/// Why there is no answer, sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The function's: its request is none that is passed on.
    #[error("{0}")]
    Request(&'static str),
    /// The function's: its body is over the limit.
    #[error("the body of the request is larger than {0} bytes")]
    RequestTooLarge(usize),
    /// The function's: it went away.
    #[error("the function broke off its request")]
    BrokeOff,
    /// The function's, or the operator's: the address is out of its reach.
    #[error("{host} may not be reached: {source}")]
    Unreachable { host: String, source: Unreachable },
    /// Time may heal it, as the following: no address is known.
    #[error("{host} cannot be resolved: {text}")]
    Name { host: String, text: String },
    /// Nobody there.
    #[error("cannot connect to {to}: {text}")]
    Connect { to: String, text: String },
    /// Somebody else there, or nobody who speaks TLS.
    #[error("no TLS with {to}: {text}")]
    Tls { to: String, text: String },
    /// It ended without an answer.
    #[error("no answer from {to}: {text}")]
    Broken { to: String, text: String },
    /// Its answer began and broke off.
    #[error("the answer of {to} broke off: {text}")]
    CutShort { to: String, text: String },
    /// Its answer began and did not go on.
    #[error("the answer of {to} stopped for {} s", .after.as_secs_f64())]
    Stopped { to: String, after: Duration },
    /// Its answer is over the limit.
    #[error("the answer of {to} is larger than {bytes_max} bytes")]
    AnswerTooLarge { to: String, bytes_max: usize },
    /// Its answer leaves HTTP.
    #[error("{0} wants to speak another protocol")]
    Switching(String),
    /// It took too long.
    #[error("no answer from {to} within {} s", .after.as_secs_f64())]
    TimedOut { to: String, after: Duration },
    /// Too much at once.
    #[error("too many connections at once")]
    Crowded,
    /// Ours, a bug.
    #[error("no certificate can be made for {host}: {text}")]
    Certificate { host: String, text: String },
}

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Failure::Request(_) | Failure::BrokeOff => StatusCode::BAD_REQUEST,
            Failure::RequestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            Failure::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    pub(crate) fn timed_out(to: &Destination, after: Duration) -> Failure {
        Failure::TimedOut { to: to.to_string(), after }
    }

    /// What is recorded, in one line and not too long.
    pub(crate) fn text(&self) -> String {
        cut(self.to_string().replace(char::is_control, " "), TEXT_BYTES_MAX)
    }
}

/// An error and its causes in one line: the last is the one that helps ("connection refused").
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The text, or its beginning, which then says that it is one.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}
