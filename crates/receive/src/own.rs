//! The seams to the binary: our own API (`/api/…`, `/metrics`, `/healthz`, `/readyz`) for what is no dialect's, and the
//! components that answer what a dialect must ask.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dialects::{Caller, Outcome, Question, Refusal};
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};

/// What the binary serves beside the dialects.
pub trait Own: Send + Sync {
    /// Whether this path is ours. Asked before the dialects; `/api/v1/intake-http/` is Sekoia's and never ours.
    fn claims(&self, path: &str) -> bool;

    /// Answers. The body is inflated and at most [`event::limits::API_BODY_BYTES_MAX`].
    fn answer(&self, request: OwnRequest) -> Pin<Box<dyn Future<Output = http::Response<AnswerBody>> + Send + '_>>;
}

/// Who answers a dialect's questions.
pub trait Components: Send + Sync {
    /// What comes of it. The caller reaches the instance that the question names; its dialect has looked at its scopes.
    fn answer<'a>(
        &'a self,
        caller: &'a Caller,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, Refusal>> + Send + 'a>>;
}

/// Claims nothing: for listeners that do not serve our own API.
pub struct Nothing;

impl Own for Nothing {
    fn claims(&self, _: &str) -> bool {
        false
    }

    fn answer(&self, request: OwnRequest) -> Pin<Box<dyn Future<Output = http::Response<AnswerBody>> + Send + '_>> {
        let refusal = dialects::Refusal::not_found(&request.method, &request.path);
        Box::pin(async move {
            let mut response = http::Response::new(AnswerBody::whole(dialects::aip193::refuse(&refusal).body));
            *response.status_mut() = refusal.cause.http_status();
            response
        })
    }
}

/// A request to our own API.
pub struct OwnRequest {
    /// The method.
    pub method: http::Method,
    /// The percent-decoded path.
    pub path: String,
    /// What stood behind `?`.
    pub query: Option<String>,
    /// The headers; hold credentials.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The client's address.
    pub peer: IpAddr,
}

impl OwnRequest {
    /// Its head, as dialects and authentication know it.
    pub fn head(&self) -> dialects::Head {
        dialects::Head {
            method: self.method.clone(),
            path: self.path.clone(),
            raw_path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            peer: self.peer,
        }
    }
}

/// What goes back: known at once, or produced while it is sent.
pub enum AnswerBody {
    /// The whole body; `None` once it was handed out.
    Whole(Option<Bytes>),
    /// A stream, such as search rows. An error cuts the connection, so that no client takes a part for the whole.
    Stream(BoxBody<Bytes, std::io::Error>),
}

impl AnswerBody {
    /// A whole body.
    pub fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
        AnswerBody::Whole(Some(bytes.into()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match &mut *self {
            AnswerBody::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            AnswerBody::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            AnswerBody::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            AnswerBody::Stream(stream) => stream.size_hint(),
        }
    }
}
