//! What goes through a dialect: heads and requests in, intakes and replies out. Plain data, no sockets.

use std::net::IpAddr;

use bytes::Bytes;
use event::Batch;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::{Ask, Caller, Cause, Refusal};

/// A request without its body: what is known when a sender must prove who it is.
#[derive(Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path, percent-decoded once (`%3A` is `:`), except for `%2F` and `%25`, which stay as they came: decoding
    /// them would change which segments the path has.
    pub path: String,
    /// The path as it stood on the request line.
    pub raw_path: String,
    /// What stood behind `?`, as it came. Holds API keys: never logged.
    pub query: Option<String>,
    /// The headers. Holds credentials: never logged.
    pub headers: HeaderMap,
    /// The sender's address.
    pub peer: IpAddr,
}

/// Why a request line is none that any dialect could claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The percent-decoded path is not UTF-8.
    #[error("the path is not valid UTF-8 once percent-decoded")]
    NotUtf8,
    /// The path holds a control character, which only an attack on logs or a broken client sends.
    #[error("the path holds a control character")]
    Control,
}

impl Head {
    /// Takes a request line apart. `raw_path` is the path alone, without query.
    pub fn new(
        method: Method,
        raw_path: &str,
        query: Option<&str>,
        headers: HeaderMap,
        peer: IpAddr,
    ) -> Result<Head, HeadError> {
        let path = decode_path(raw_path)?;
        Ok(Head { method, path, raw_path: raw_path.to_owned(), query: query.map(str::to_owned), headers, peer })
    }

    /// The host that the sender meant, without port, lower case; `None` when it named none.
    pub fn host(&self) -> Option<String> {
        let host = self.headers.get(http::header::HOST)?.to_str().ok()?;
        let host = match host.rsplit_once(':') {
            // The colon of an IPv6 literal is inside its brackets.
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        Some(host.to_ascii_lowercase())
    }

    /// The first value of a query parameter, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?;
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The first value of the first of these query parameters that there is.
    pub fn query_any(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.query_value(name))
    }

    /// Every value of a query parameter, decoded, in their order.
    pub fn query_values(&self, name: &str) -> Vec<String> {
        let query = self.query.as_deref().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

/// Shows the request line's method and path only: query and headers may hold credentials.
impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

fn decode_path(raw: &str) -> Result<String, HeadError> {
    if !raw.contains('%') && !raw.bytes().any(|byte| byte.is_ascii_control()) {
        return Ok(raw.to_owned());
    }
    let mut path = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let kept = find_kept(rest);
        let (decode, keep) = kept.map_or((rest, ""), |at| (&rest[..at], &rest[at..at + 3]));
        path.push_str(&percent_decode_str(decode).decode_utf8().map_err(|_| HeadError::NotUtf8)?);
        path.push_str(keep);
        match kept {
            Some(at) => rest = &rest[at + 3..],
            None => break,
        }
    }
    if path.chars().any(char::is_control) { Err(HeadError::Control) } else { Ok(path) }
}

/// Where the next escape stands that must stay one.
fn find_kept(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes)
        .find(|at| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.eq_ignore_ascii_case(b"2f") || hex == b"25"))
}

/// A whole request, its body inflated and within the limit of its route.
#[derive(Clone)]
pub struct Request {
    /// Everything but the body.
    pub head: Head,
    /// The body; records become slices of it.
    pub body: Bytes,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("head", &self.head).field("body_bytes", &self.body.len()).finish()
    }
}

/// What a request means.
#[derive(Debug)]
pub enum Intake {
    /// Append these, all or none, then say thanks. Each caller is the proof for its batch and always
    /// names that batch's instance ([`Caller::instance`] is `Some`).
    Commit {
        /// The batches in order; never empty, and none without records.
        batches: Vec<(Caller, Batch)>,
        /// What makes a repeat of this content recognisable, where the dialect recognises repeats.
        key: Option<[u8; 16]>,
        /// Records of the request that the filters of their way in keep out: neither stored nor refused, but counted.
        filtered: u64,
        /// What is refused of the request while the rest of it is taken, by sender, with how many records that are. The
        /// sender reads of it in the thanks; this is for whoever counts.
        refused: Vec<Refusal>,
        /// The success reply.
        thanks: Thanks,
    },
    /// Every record was kept out by a filter: there is nothing to append, and the sender has done nothing wrong.
    Filtered {
        /// Who sent them; names its instance.
        caller: Caller,
        /// How many.
        records: u64,
        /// What it is told: what it is told of a batch, without a batch's id.
        reply: Reply,
    },
    /// A component must be asked before an answer can be given.
    Ask(Ask),
    /// All is said.
    Answer(Reply),
    /// Not accepted; [`crate::Dialect::refuse`] makes the reply. Its own variant so that refused records can be counted
    /// and senders in trouble be named.
    Refuse(Refusal),
}

/// Makes the success reply of a batch, once there is a receipt for it. There is no other way to one.
pub struct Thanks {
    bytes: usize,
    say: Box<dyn FnOnce(u128) -> Reply + Send>,
}

impl Thanks {
    /// Thanks with this, which is given the id of the frame.
    pub fn new(say: impl FnOnce(u128) -> Reply + Send + 'static) -> Thanks {
        Thanks { bytes: 0, say: Box::new(say) }
    }

    /// The same where the reply may be long: about so many bytes.
    pub fn of_bytes(bytes: usize, say: impl FnOnce(u128) -> Reply + Send + 'static) -> Thanks {
        Thanks { bytes, say: Box::new(say) }
    }

    /// How long the reply is, where that matters.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The reply.
    pub fn say(self, receipt: &commit::Receipt) -> Reply {
        (self.say)(receipt.id())
    }

    /// What would be said of a frame with this id.
    #[cfg(test)]
    pub(crate) fn rehearse(self, id: u128) -> Reply {
        (self.say)(id)
    }
}

impl std::fmt::Debug for Thanks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Thanks(…)")
    }
}

/// What goes back. `receive` adds the length, compression and what HTTP itself wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers of the dialect.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A reply with a JSON body.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
        let headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"))];
        Reply { status, headers, body: body.into() }
    }

    /// The same with what a refusal says in headers, whatever the form of its body: when to try again, which methods there
    /// are, and where no credential was good, by what `challenge` one is asked for.
    pub(crate) fn with_headers_of(mut self, refusal: &Refusal, challenge: Option<&'static str>) -> Reply {
        if let Some(secs) = refusal.retry_after_secs {
            self = self.with_header(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if let Some(challenge) = challenge.filter(|_| refusal.cause == Cause::Unauthenticated) {
            self = self.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if !refusal.allow.is_empty() {
            let list = refusal.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            // Methods are tokens by their type, so a header can hold them.
            if let Ok(value) = HeaderValue::from_str(&list) {
                self = self.with_header(header::ALLOW, value);
            }
        }
        self
    }

    /// The same with one header more.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.push((name, value));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        let check = |raw: &str, expected: Result<&str, HeadError>| {
            assert_eq!(decode_path(raw).as_deref(), expected.as_ref().copied(), "{raw}");
        };
        check("/v2/logtypes", Ok("/v2/logtypes"));
        check("/v2/udmevents%3AbatchCreate", Ok("/v2/udmevents:batchCreate"));
        check("/v2/udmevents%3abatchCreate", Ok("/v2/udmevents:batchCreate"));
        check("/a%2Fb%2fc", Ok("/a%2Fb%2fc"));
        check("/a%253Ab", Ok("/a%253Ab"));
        check("/%C3%A9", Ok("/é"));
        check("/%", Ok("/%"));
        check("/%2", Ok("/%2"));
        check("/%zz", Ok("/%zz"));
        check("/%ff", Err(HeadError::NotUtf8));
        check("/%0a", Err(HeadError::Control));
        check("/%00%2F", Err(HeadError::Control));
    }
}
