//! One request's story: who may be asked, what is passed on, what comes back. Bodies stream through both ways and are
//! counted; a failure of ours becomes an answer that says so.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use tokio::time::Sleep;

use crate::Shared;
use crate::destination::Destination;
use crate::dial::Sender;
use crate::failure::{Failure, chain};
use crate::lane::{Live, Open, Record};

/// What goes back to a function: words of ours, or what the host answered.
pub(crate) type Answer = Response<Either<Full<Bytes>, Answered>>;

/// What speaks of one connection and not of the request (RFC 9110 §7.6.1), or of us. `Expect` has been answered by us.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Passes a request on and gives what is answered.
pub(crate) async fn forward(shared: &Shared, lane: &Arc<Open>, to: &Destination, request: Request<Incoming>) -> Answer {
    let record = Record::begin(lane, request.method().as_str(), to.url(request.uri().path()), (shared.now)());
    match exchange(shared, lane, to, request, record.live()).await {
        Ok(answer) => {
            record.answered(answer.status().as_u16());
            answer.map(Either::Right)
        }
        Err(failure) => {
            record.failed(failure.text());
            refusal(failure.status(), &failure.text())
        }
    }
}

/// An answer of our own.
pub(crate) fn refusal(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(format!("Penstock, on the way out: {text}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    // Most clients show of a refused CONNECT nothing but the reason in its status line.
    let reason: String = text.chars().map(|char| if matches!(char, ' '..='~') { char } else { '?' }).collect();
    if let Ok(reason) = ReasonPhrase::try_from(reason) {
        answer.extensions_mut().insert(reason);
    }
    answer
}

/// Sees to it that the host can be spoken with: a connection to it is there when the first request comes, or a function
/// learns what is wrong where it would have without us, as an exception while it connects.
pub(crate) async fn prepare(shared: &Shared, lane: &Open, to: &Destination) -> Result<(), Failure> {
    let connecting = async {
        let sender = match lane.idle(to).await {
            Some(sender) => sender,
            None => shared.dialer.dial(to).await?,
        };
        lane.keep_idle(to, sender);
        Ok(())
    };
    let timeout = shared.timeout;
    tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| Err(Failure::timed_out(to, timeout)))
}

async fn exchange(
    shared: &Shared,
    lane: &Arc<Open>,
    to: &Destination,
    request: Request<Incoming>,
    live: &Arc<Live>,
) -> Result<Response<Answered>, Failure> {
    let bytes_max = shared.body_bytes_max;
    if request.body().size_hint().lower() > bytes_max as u64 {
        return Err(Failure::RequestTooLarge(bytes_max));
    }
    let request = passed_on(request, to, live, bytes_max);
    let timeout = shared.timeout;
    let asking = ask(shared, lane, to, request);
    let (mut answer, sender) =
        tokio::time::timeout(timeout, asking).await.unwrap_or_else(|_| Err(Failure::timed_out(to, timeout)))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Switching(to.to_string()));
    }
    if answer.body().size_hint().lower() > bytes_max as u64 {
        return Err(Failure::AnswerTooLarge { to: to.to_string(), bytes_max });
    }
    drop_hop_by_hop(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer.map(|body| {
        let mut body = Answered {
            body,
            to: to.clone(),
            live: Arc::clone(live),
            lane: Arc::clone(lane),
            sender: Some(sender),
            bytes_max,
            bytes_left: bytes_max,
            timeout,
            waiting: None,
        };
        body.ends_with_its_head();
        body
    }))
}

/// Asks over a connection that is there, or else a new one.
async fn ask(
    shared: &Shared,
    lane: &Open,
    to: &Destination,
    mut request: Request<Asked>,
) -> Result<(Response<Incoming>, Sender), Failure> {
    loop {
        let (mut sender, is_new) = match lane.idle(to).await {
            Some(sender) => (sender, false),
            None => (shared.dialer.dial(to).await?, true),
        };
        let mut error = match sender.try_send_request(request).await {
            Ok(answer) => return Ok((answer, sender)),
            Err(error) => error,
        };
        match error.take_message() {
            // The host had closed it before anything was sent.
            Some(unsent) if !is_new => request = unsent,
            _ => return Err(broken(to, &error.into_error())),
        }
    }
}

fn broken(to: &Destination, error: &hyper::Error) -> Failure {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(AskedError::TooLarge(bytes_max)) => return Failure::RequestTooLarge(*bytes_max),
            Some(AskedError::BrokeOff(_)) => return Failure::BrokeOff,
            None => cause = error.source(),
        }
    }
    Failure::Broken { to: to.to_string(), text: chain(error) }
}

/// The request as the host gets it.
fn passed_on(request: Request<Incoming>, to: &Destination, live: &Arc<Live>, bytes_max: usize) -> Request<Asked> {
    let (mut head, body) = request.into_parts();
    head.uri = head.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    head.version = Version::HTTP_11;
    let host = to.host_header(head.headers.get(header::HOST));
    drop_hop_by_hop(&mut head.headers);
    head.headers.insert(header::HOST, host);
    let body = Asked { body, live: Arc::clone(live), bytes_max, bytes_left: bytes_max };
    body.ends_if_it_does();
    Request::from_parts(head, body)
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // What frames the body is hyper's to say.
        .filter(|name| *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// A request's body on its way out.
pub(crate) struct Asked {
    body: Incoming,
    live: Arc<Live>,
    bytes_max: usize,
    bytes_left: usize,
}

/// Why a request's body ended early.
#[derive(Debug)]
pub(crate) enum AskedError {
    TooLarge(usize),
    BrokeOff(hyper::Error),
}

impl fmt::Display for AskedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskedError::TooLarge(bytes_max) => write!(f, "the body is larger than {bytes_max} bytes"),
            AskedError::BrokeOff(error) => error.fmt(f),
        }
    }
}

impl Error for AskedError {}

impl Asked {
    fn ends_if_it_does(&self) {
        if self.body.is_end_stream() {
            self.live.asked();
        }
    }
}

impl Body for Asked {
    type Data = Bytes;
    type Error = AskedError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AskedError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        Poll::Ready(match std::task::ready!(polled) {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = self.bytes_left.checked_sub(bytes) else {
                    return Poll::Ready(Some(Err(AskedError::TooLarge(self.bytes_max))));
                };
                self.bytes_left = left;
                self.live.sent(bytes);
                self.ends_if_it_does();
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(AskedError::BrokeOff(error))),
            None => {
                self.live.asked();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body on its way back. At its end its connection is kept for the next request.
pub(crate) struct Answered {
    body: Incoming,
    to: Destination,
    live: Arc<Live>,
    lane: Arc<Open>,
    sender: Option<Sender>,
    bytes_max: usize,
    bytes_left: usize,
    timeout: Duration,
    /// Runs while the host says nothing.
    waiting: Option<Pin<Box<Sleep>>>,
}

/// An answer ended before its end; why is in the exchange.
#[derive(Debug)]
pub(crate) struct CutShort;

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was cut short")
    }
}

impl Error for CutShort {}

impl Answered {
    fn ends_with_its_head(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        self.live.ends();
        // A host may answer before it was asked everything; then the rest is still on its way.
        if self.live.is_asked() {
            self.lane.keep_idle(&self.to, sender);
        }
    }

    fn cut_short(&mut self, failure: &Failure) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        self.sender = None;
        self.live.broke(failure.text());
        Poll::Ready(Some(Err(CutShort)))
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        let Poll::Ready(polled) = Pin::new(&mut this.body).poll_frame(cx) else {
            let timeout = this.timeout;
            let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
            std::task::ready!(waiting.as_mut().poll(cx));
            let failure = Failure::Stopped { to: this.to.to_string(), after: timeout };
            return this.cut_short(&failure);
        };
        this.waiting = None;
        match polled {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = this.bytes_left.checked_sub(bytes) else {
                    let failure = Failure::AnswerTooLarge { to: this.to.to_string(), bytes_max: this.bytes_max };
                    return this.cut_short(&failure);
                };
                this.bytes_left = left;
                this.live.received(bytes);
                this.ends_with_its_head();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let failure = Failure::CutShort { to: this.to.to_string(), text: chain(&error) };
                this.cut_short(&failure)
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    /// Whoever does not read an answer to its end has read what it wanted of it.
    fn drop(&mut self) {
        if self.sender.is_some() {
            self.live.ends();
        }
    }
}
