//! A request's story, from its head to its reply.
//!
//! ```text
//! head ─▶ who claims the path ─▶ who sends it ─▶ room for the body ─▶ body ─▶ room for the work on it ─▶ inflated
//!      ─▶ what it means ─▶ append, and wait until it is on stable storage ─▶ thank
//!      ─▶ or ask a component, and render what it says
//! ```
//!
//! Each step can end in a refusal, which the dialect puts into its own words. Nothing is stored before the append, and
//! the only way to a success reply leads through a [`commit::Receipt`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use commit::{AppendError, Appended, Log};
use dialects::{Ask, Caller, Dialect, Found, Head, Intake, Lookup, Refusal, Reply, Request, Router, Snapshot, Thanks};
use event::{Batch, BatchId, IdSource, InstanceId, Time, limits};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::append::Pending;
use crate::body::{self, BodyError, Encoding, Reading};
use crate::budget::{Budget, Memory, Permit};
use crate::connection::Busy;
use crate::guesses::Guesses;
use crate::ledger::Ledger;
use crate::own::{AnswerBody, Components, Own, OwnRequest};

/// The reply to every batch that is committed names it.
pub const BATCH_HEADER: &str = "x-penstock-batch";

/// Everything that a request needs on its way. Listeners of a server share all but `router` and `own`, which say what is
/// served there.
#[derive(Clone)]
pub struct Front {
    /// Who claims which path.
    pub router: Arc<Router>,
    /// Keys, log types and limits as they are now; swapped whole when they change.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where batches go.
    pub log: Log,
    /// Memory for requests in flight.
    pub memory: Memory,
    /// Memory for answers that components give.
    pub answers: Budget,
    /// How long a request may wait for its part of either.
    pub wait_max: Duration,
    /// Who tries keys that are none.
    pub guesses: Arc<Guesses>,
    /// What was received and what became of it.
    pub ledger: Arc<Ledger>,
    /// Our own API, or [`crate::own::Nothing`] where that is not served.
    pub own: Arc<dyn Own>,
    /// Who answers what dialects cannot.
    pub components: Arc<dyn Components>,
    /// The clock.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Makes batch ids.
    pub ids: Arc<Mutex<IdSource>>,
    /// Random bits for them.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Stands on the reply to a batch that was there already; the batch header then names the first one.
pub const REPEAT_HEADER: header::HeaderName = header::HeaderName::from_static("x-penstock-repeat");

/// Stands on the reply to a request whose records had to be kept as several batches, because they differ in what a batch
/// says of all its records: their ids in order, the first of them being that of the batch header.
pub const BATCHES_HEADER: header::HeaderName = header::HeaderName::from_static("x-penstock-batches");

/// Stands on the reply to a request of which a filter kept records out: how many.
pub const FILTERED_HEADER: header::HeaderName = header::HeaderName::from_static("x-penstock-filtered");

/// Most ids in that header: replies' heads must stay small.
const BATCHES_LISTED_MAX: usize = 64;

/// How much work a gzip body is before it has been looked at, as many times its inflated size: itself, its strings unescaped,
/// the frame, and its records.
const COPIES_OF_AN_INFLATED_BODY: usize = 4;

/// Thanks below this are sent without a part of the budget for answers.
const ANSWER_BYTES_UNPAID: usize = 256 << 10;

/// Bodies above this are read where other tasks of the thread can go on elsewhere meanwhile.
const BODY_BYTES_AT_ONCE: usize = 1 << 20;

/// How much a refused client may still send, and for how long, before the connection is cut on it.
const DRAIN_BYTES_MAX: usize = 16 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Answers below this are sent as they are: gzip would make them longer.
const COMPRESS_BYTES_MIN: usize = 1024;

/// Answers above this are compressed where blocking is allowed.
const COMPRESS_BYTES_AT_ONCE: usize = 256 << 10;

/// Answers one request. Never fails: whatever happens becomes a reply.
pub async fn handle(
    front: &Front,
    request: http::Request<Incoming>,
    peer: IpAddr,
    busy: &Arc<Busy>,
) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    let wants_gzip = accepts_gzip(&parts.headers);
    let path = parts.uri.path();
    let head = match Head::new(parts.method, path, parts.uri.query(), parts.headers, peer) {
        Ok(head) => head,
        Err(error) => {
            let refusal =
                Refusal::new(dialects::Cause::InvalidArgument, format!("The request line is wrong: {error}."));
            return finish(dialects::aip193::refuse(&refusal), wants_gzip);
        }
    };
    if front.own.claims(&head.path) {
        return answer_own(front, head, body, wants_gzip, busy).await;
    }
    let found = match front.router.lookup(&head) {
        Lookup::Found(found) => found,
        Lookup::WrongMethod { dialect, allow } => {
            drain(body, busy);
            let refusal = Refusal::wrong_method(&head.method, &head.path, allow);
            let always = dialect.headers_of_every_reply(&head, (front.now)());
            return with_headers(finish(dialect.refuse(&refusal), wants_gzip), always);
        }
        Lookup::Unknown => {
            drain(body, busy);
            return finish(dialects::aip193::refuse(&Refusal::not_found(&head.method, &head.path)), wants_gzip);
        }
    };
    let dialect = Arc::clone(found.dialect);
    let always = dialect.headers_of_every_reply(&head, (front.now)());
    let response = match answer(front, &found, head, body).await {
        // Megabytes of events take longer to compress than a worker should be away from its sockets.
        Ok(Answered { reply, is_thanks: false }) if wants_gzip && reply.body.len() > COMPRESS_BYTES_AT_ONCE => {
            tokio::task::spawn_blocking(move || finish(reply, true)).await.unwrap_or_else(|error| {
                tracing::error!(%error, dialect = dialect.name(), "an answer could not be compressed");
                finish(dialect.refuse(&Refusal::internal()), false)
            })
        }
        Ok(Answered { reply, is_thanks }) => finish(reply, wants_gzip && !is_thanks),
        Err(refused) => {
            let mut reply = dialect.refuse(&refused.refusal);
            if refused.is_of_data {
                note(front, dialect.name(), peer, &refused.refusal, reply.status);
            }
            if let Some(body) = refused.unread {
                drain(body, busy);
            }
            if let Some(guessed) = refused.refusal.guessed
                && let Some(delay) = front.guesses.failed(peer, guessed, tokio::time::Instant::now())
            {
                let secs = delay.as_secs() as u16 + 1;
                reply = dialect.refuse(&Refusal::too_many_guesses(&refused.refusal.message, secs));
                tokio::time::sleep(delay).await;
            }
            finish(reply, wants_gzip)
        }
    };
    with_headers(response, always)
}

/// Reads what a refused client still sends, beside the reply: one that is cut off while it sends sees a broken connection
/// instead of the reason.
fn drain(body: Incoming, busy: &Arc<Busy>) {
    if hyper::body::Body::is_end_stream(&body) {
        return;
    }
    let busy = Arc::clone(busy);
    tokio::spawn(async move {
        body::drain(body, DRAIN_BYTES_MAX, DRAIN_TIME_MAX).await;
        drop(busy);
    });
}

struct Refused {
    refusal: Refusal,
    unread: Option<Incoming>,
    /// Whether it is about data that was sent. What a component refuses, such as a look at what does not exist, puts no
    /// sender in trouble.
    is_of_data: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { refusal, unread: None, is_of_data: true }
    }
}

impl Refused {
    /// With a body that was not read.
    fn unread(refusal: Refusal, body: Incoming) -> Refused {
        Refused { refusal, unread: Some(body), is_of_data: true }
    }
}

/// A reply on its way.
struct Answered {
    reply: Reply,
    /// Whether it thanks for what was committed. Such replies are short, or they are ids, and compressing those would cost the
    /// server more than everything else that it does for the request.
    is_thanks: bool,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Answered {
        Answered { reply, is_thanks: false }
    }
}

async fn answer(front: &Front, found: &Found<'_>, head: Head, mut body: Incoming) -> Result<Answered, Refused> {
    let (dialect, peer) = (found.dialect, head.peer);
    let snapshot = front.snapshot.load_full();
    let caller = match dialect.authenticate(found, &head, &snapshot, (front.now)()) {
        Ok(caller) => caller,
        Err(refusal) => return Err(Refused::unread(refusal, body)),
    };
    let of_caller = |refusal: Refusal| match &caller {
        Some(caller) => refusal.of(caller),
        None => refusal,
    };
    let encoding = match Encoding::of(&head.headers) {
        Ok(encoding) => encoding,
        Err(name) => {
            return Err(Refused::unread(of_caller(Refusal::bad_encoding(&name)), body));
        }
    };

    if let Some(coding) = foreign_transfer_coding(&head.headers) {
        let message = format!("Transfer-Encoding {coding:?} is not supported; send chunked or Content-Length.");
        return Err(Refused::unread(of_caller(Refusal::new(dialects::Cause::Unsupported, message)), body));
    }

    let bytes_max = (found.route.body_bytes_max)(&snapshot.limits);
    let mut instance = caller.as_ref().and_then(Caller::instance);
    let foresee = |start: &[u8]| match encoding {
        Encoding::Identity => dialect.foresee(found, start, &snapshot),
        Encoding::Gzip => dialect.foresee(found, &body::inflate_start(start, FORESEEN_BYTES), &snapshot),
    };
    // Who is known already need not be looked for.
    let foresee: Option<Foresee<'_>> = if caller.is_none() { Some(&foresee) } else { None };
    let (packed, room) = match read_body(front, &mut instance, &mut body, bytes_max, foresee).await {
        Ok(read) => read,
        Err(refusal) => return Err(Refused::unread(of_caller(refusal), body)),
    };
    let needed = |body: &[u8]| dialect.work_bytes(found, body);
    let (body, mut work) = match prepare(front, instance, encoding, packed, room, bytes_max, &needed).await {
        Ok(prepared) => prepared,
        Err(refusal) => return Err(of_caller(refusal).into()),
    };
    // Expressions of a tenant's own over megabytes can take seconds: those must not be the other tenants'.
    let has_filters = instance.and_then(|id| snapshot.instances.get(&id)).is_some_and(|instance| instance.has_filters);
    let is_long = has_filters || body.bytes.len() > BODY_BYTES_AT_ONCE;
    let Body { bytes, room } = body;
    let request = Request { head, body: bytes };
    let meaning = || {
        let intake = dialect.accept(found, &request, caller, &snapshot, (front.now)(), &mut || front.next_id());
        drop(request);
        Meaning::of(&**dialect, intake)
    };
    let meaning = if is_long { aside(meaning) } else { meaning() };
    // The records of a frame were slices of the body until now.
    drop(room);
    match meaning? {
        Meaning::Commit(commit) => {
            work.shrink_to(commit.pending.frame.payload.len());
            let reply = commit.append(front, &**dialect, peer).await?;
            Ok(Answered { reply, is_thanks: true })
        }
        Meaning::Filtered { caller, records, reply } => {
            note_filtered(front, &caller, records, true);
            Ok(with_filtered(reply, records).into())
        }
        Meaning::Ask(ask) => {
            drop(work);
            Ok(answer_ask(front, dialect.name(), ask).await?.into())
        }
        Meaning::Answer(reply) => Ok(reply.into()),
    }
}

/// A body that holds its part of the budget.
struct Body {
    bytes: Bytes,
    room: Permit,
}

/// Whom the beginning of a body names.
type Foresee<'a> = &'a (dyn Fn(&[u8]) -> Result<Option<Caller>, Refusal> + Sync);

/// How much of a body is looked at to tell whose it is.
const FORESEEN_BYTES: usize = 64 << 10;

/// The body as it came over the wire, and its part of the budget, which is `instance`'s. Where that is not known yet, the
/// beginning of the body may tell.
async fn read_body(
    front: &Front,
    instance: &mut Option<InstanceId>,
    body: &mut Incoming,
    bytes_max: usize,
    foresee: Option<Foresee<'_>>,
) -> Result<(Bytes, Permit), Refusal> {
    let announced = hyper::body::Body::size_hint(body).exact().and_then(|length| usize::try_from(length).ok());
    if let Some(length) = announced
        && length > bytes_max
    {
        return Err(Refusal::too_large(bytes_max, Some(length as u64)));
    }
    let mut reading = Reading::new(announced);
    if let Some(foresee) = foresee {
        let start = reading.start(body).await.map_err(|error| refusal_of_body(&error, bytes_max))?;
        *instance = foresee(&start[..start.len().min(FORESEEN_BYTES)])?.and_then(|caller| caller.instance());
    }
    let holder = *instance;
    let first = announced.unwrap_or(limits::UNANNOUNCED_BODY_BYTES.min(bytes_max));
    let mut room = front.take(&front.memory.bodies, holder, first).await?;
    let read = match reading.up_to(first, body).await {
        Err(BodyError::TooLarge) if first < bytes_max => {
            // Longer than most without a length: from here on it may be as long as any. What it has is given back first, or
            // such requests could all wait for each other's.
            drop(room);
            room = front.take(&front.memory.bodies, holder, bytes_max).await?;
            reading.up_to(bytes_max, body).await
        }
        read => read,
    };
    let bytes = read.map_err(|error| refusal_of_body(&error, bytes_max))?;
    room.shrink_to(bytes.len());
    if instance.is_none()
        && let Some(foresee) = foresee
    {
        *instance = foresee(&bytes[..bytes.len().min(FORESEEN_BYTES)])?.and_then(|caller| caller.instance());
    }
    Ok((bytes, room))
}

/// The body inflated, and room for the work on it.
async fn prepare(
    front: &Front,
    instance: Option<InstanceId>,
    encoding: Encoding,
    packed: Bytes,
    room: Permit,
    bytes_max: usize,
    needed: &(dyn Fn(&[u8]) -> usize + Sync),
) -> Result<(Body, Permit), Refusal> {
    if encoding == Encoding::Identity {
        let work = front.take(&front.memory.work, instance, needed(&packed)).await?;
        return Ok((Body { bytes: packed, room }, work));
    }
    let guess = body::inflated_bytes(&packed).min(bytes_max);
    let mut work = front.take(&front.memory.work, instance, guess * COPIES_OF_AN_INFLATED_BODY).await?;
    let inflate = |bytes_max| {
        let inflate = || body::inflate(&packed, bytes_max);
        if bytes_max > BODY_BYTES_AT_ONCE { aside(inflate) } else { inflate() }
    };
    let inflated = match inflate(guess) {
        Err(BodyError::TooLarge) if guess < bytes_max => {
            // Several members, or a lie.
            drop(work);
            work = front.take(&front.memory.work, instance, bytes_max * COPIES_OF_AN_INFLATED_BODY).await?;
            inflate(bytes_max)
        }
        inflated => inflated,
    };
    let inflated = inflated.map_err(|error| refusal_of_body(&error, bytes_max))?;
    let all = inflated.len() + needed(&inflated);
    let overdrawn = tokio::time::timeout(front.wait_max, work.overdraw(all));
    overdrawn.await.map_err(|_| Refusal::slow_down(30))?;
    Ok((Body { bytes: inflated, room }, work))
}

/// What a request means, with its records in a frame already.
enum Meaning {
    Commit(Commit),
    Filtered { caller: Caller, records: u64, reply: Reply },
    Ask(Ask),
    Answer(Reply),
}

impl Meaning {
    fn of(dialect: &dyn Dialect, intake: Intake) -> Result<Meaning, Refusal> {
        match intake {
            Intake::Commit { batches, key, filtered, refused, thanks } => {
                let batch_ids = ids_of(&batches);
                let pending = Pending::of(dialect.name(), batches, key)?;
                Ok(Meaning::Commit(Commit { pending, batch_ids, filtered, refused, thanks }))
            }
            Intake::Filtered { caller, records, reply } => Ok(Meaning::Filtered { caller, records, reply }),
            Intake::Ask(ask) => Ok(Meaning::Ask(ask)),
            Intake::Answer(reply) => Ok(Meaning::Answer(reply)),
            Intake::Refuse(refusal) => Err(refusal),
        }
    }
}

/// Asks a component and puts what it says into the dialect's words.
async fn answer_ask(front: &Front, dialect: &'static str, ask: Ask) -> Result<Reply, Refused> {
    let Ask { caller, question, render } = ask;
    let asked = async {
        let bytes = question.answer_bytes_max();
        let permit = front.answers.take(caller.instance(), bytes, front.wait_max).await;
        let mut permit = permit.map_err(|_| Refusal::slow_down(5))?;
        let outcome = front.components.answer(&caller, question).await?;
        // Thousands of events are some work to write, and none of it should keep a worker from its sockets.
        let rendered = tokio::task::spawn_blocking(move || render.render(outcome)).await;
        let mut reply = rendered.unwrap_or_else(|error| {
            tracing::error!(%error, dialect, "an answer could not be written");
            Err(Refusal::internal())
        })?;
        // How much a function gives back is not known before.
        permit.overdraw(reply.body.len()).await;
        permit.shrink_to(reply.body.len());
        reply.body = Bytes::from_owner(Paid { body: reply.body, _permit: permit });
        Ok(reply)
    };
    asked.await.map_err(|refusal: Refusal| Refused { refusal: refusal.of(&caller), unread: None, is_of_data: false })
}

/// A body that holds its part of the budget until it has been sent.
struct Paid {
    body: Bytes,
    _permit: Permit,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Runs what may take long, and lets the other tasks of this thread run on another one meanwhile, where there are others.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn with_filtered(reply: Reply, records: u64) -> Reply {
    reply.with_header(FILTERED_HEADER, HeaderValue::from(records))
}

fn note_filtered(front: &Front, caller: &Caller, records: u64, is_all: bool) {
    if let Some(instance) = caller.instance() {
        front.ledger.filtered(instance, caller.sender(), records, is_all);
    }
}

/// A frame on its way to the log, and what is to be said and counted once it is there.
struct Commit {
    pending: Pending,
    batch_ids: Option<HeaderValue>,
    filtered: u64,
    refused: Vec<Refusal>,
    thanks: Thanks,
}

impl Commit {
    async fn append(self, front: &Front, dialect: &dyn Dialect, peer: IpAddr) -> Result<Reply, Refused> {
        let Commit { pending, batch_ids, filtered, refused, thanks } = self;
        let Pending { caller, frame, tallies } = pending;
        // What names a million events is itself of some size, until its reader has read it.
        let room = match thanks.bytes() {
            bytes if bytes < ANSWER_BYTES_UNPAID => None,
            bytes => Some(front.take(&front.answers, caller.instance(), bytes).await.map_err(|slow| slow.of(&caller))?),
        };
        let (records, id) = (u64::from(frame.records), frame.id);
        let appended = front
            .log
            .append(frame)
            .await
            .map_err(|error| Refusal { records: Some(records), ..refusal_of_append(&error).of(&caller) })?;
        tallies.count(&front.ledger, &appended, id);
        let mut reply = match &appended {
            Appended::New(receipt) => {
                let reply = with_batch_id(thanks.say(receipt), receipt.id());
                match batch_ids {
                    Some(ids) => reply.with_header(BATCHES_HEADER, ids),
                    None => reply,
                }
            }
            Appended::Repeat(receipt) => {
                let reply = thanks.say(receipt).with_header(REPEAT_HEADER, HeaderValue::from_static("true"));
                with_batch_id(reply, receipt.id())
            }
        };
        if let Some(permit) = room {
            reply.body = Bytes::from_owner(Paid { body: reply.body, _permit: permit });
        }
        if filtered > 0 {
            note_filtered(front, &caller, filtered, false);
            reply = with_filtered(reply, filtered);
        }
        for refusal in &refused {
            note(front, dialect.name(), peer, refusal, dialect.refuse(refusal).status);
        }
        Ok(reply)
    }
}

/// The ids of several batches, as they are listed in a reply's head.
fn ids_of(batches: &[(Caller, Batch)]) -> Option<HeaderValue> {
    if batches.len() < 2 {
        return None;
    }
    let listed = batches.iter().take(BATCHES_LISTED_MAX);
    let ids: Vec<String> = listed.map(|(_, batch)| batch.meta.id.to_string()).collect();
    HeaderValue::from_str(&ids.join(", ")).ok()
}

fn refusal_of_append(error: &AppendError) -> Refusal {
    match error {
        AppendError::Full => Refusal::unavailable("The server's disk is full; nothing was stored.", Some(30)),
        AppendError::Failed { .. } => {
            Refusal::unavailable("The server cannot write any more; nothing was acknowledged.", Some(30))
        }
        AppendError::Closed => Refusal::unavailable("The server is stopping; nothing was stored.", Some(5)),
        AppendError::TooLarge { .. } => Refusal::invalid("The batch does not fit the log; send smaller ones."),
    }
}

fn refusal_of_body(error: &BodyError, bytes_max: usize) -> Refusal {
    match error {
        BodyError::TooLarge => Refusal::too_large(bytes_max, None),
        BodyError::BadGzip(why) => Refusal::bad_gzip(why),
        BodyError::TimedOut => Refusal::timed_out("body"),
        BodyError::Broken(why) => Refusal::bad_length(why),
    }
}

/// Counts a refusal and logs it, unless the same sender was told the same just before.
pub(crate) fn note(front: &Front, dialect: &'static str, peer: IpAddr, refusal: &Refusal, status: StatusCode) {
    let stranger = peer.to_string();
    let sender = refusal.sender.as_deref().unwrap_or(&stranger);
    let records = refusal.records.unwrap_or(0);
    let why = refusal.message.as_str();
    let news = front.ledger.refused(refusal.instance, sender, records, status.as_u16(), why, (front.now)());
    if news {
        tracing::warn!(dialect, sender, %peer, status = status.as_u16(), records, why, "refused");
    }
}

async fn answer_own(
    front: &Front,
    head: Head,
    mut body: Incoming,
    wants_gzip: bool,
    busy: &Arc<Busy>,
) -> Response<AnswerBody> {
    let refuse = |refusal: &Refusal| finish(dialects::aip193::refuse(refusal), wants_gzip);
    let encoding = match Encoding::of(&head.headers) {
        Ok(encoding) => encoding,
        Err(name) => return refuse(&Refusal::bad_encoding(&name)),
    };
    let bytes_max = limits::API_BODY_BYTES_MAX;
    let read = async {
        let (packed, room) = read_body(front, &mut None, &mut body, bytes_max, None).await?;
        prepare(front, None, encoding, packed, room, bytes_max, &|_| 0).await
    };
    let (body, _work) = match read.await {
        Ok(prepared) => prepared,
        Err(refusal) => {
            drain(body, busy);
            return refuse(&refusal);
        }
    };
    let Head { method, path, query, headers, peer, .. } = head;
    front.own.answer(OwnRequest { method, path, query, headers, body: body.bytes, peer }).await
}

impl Front {
    /// A part of the budget for a request of this instance. The more it is, the longer it may be waited for.
    pub(crate) async fn take(
        &self,
        budget: &Budget,
        instance: Option<InstanceId>,
        bytes: usize,
    ) -> Result<Permit, Refusal> {
        let more = bytes / limits::WAIT_BYTES_PER_SEC;
        let wait_max = self.wait_max + Duration::from_secs(more as u64);
        budget.take(instance, bytes, wait_max).await.map_err(|_| Refusal::slow_down(30))
    }

    /// A fresh id for a batch.
    pub fn next_id(&self) -> BatchId {
        let (now, random) = ((self.now)(), (self.random)());
        self.ids.lock().expect("making an id does not panic").next(now, random)
    }
}

fn with_batch_id(reply: Reply, id: u128) -> Reply {
    let Ok(id) = BatchId::from_u128(id) else { return reply };
    let value = HeaderValue::from_str(&id.to_string()).expect("a UUID is a valid header value");
    let name = header::HeaderName::from_static(BATCH_HEADER);
    if reply.headers.iter().any(|(present, _)| *present == name) { reply } else { reply.with_header(name, value) }
}

/// A transfer coding beside `chunked`. hyper takes the chunks apart and leaves the rest as it is, which would be stored.
fn foreign_transfer_coding(headers: &http::HeaderMap) -> Option<String> {
    headers.get_all(header::TRANSFER_ENCODING).iter().find_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let foreign = text.split(',').map(str::trim).find(|coding| !coding.eq_ignore_ascii_case("chunked"))?;
        Some(foreign.chars().take(40).collect())
    })
}

fn accepts_gzip(headers: &http::HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|item| {
                let mut parts = item.split(';').map(str::trim);
                let named = matches!(parts.next(), Some("gzip" | "*" | "x-gzip"));
                named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        })
    })
}

fn finish(reply: Reply, wants_gzip: bool) -> Response<AnswerBody> {
    let as_it_is = (header::CACHE_CONTROL, HeaderValue::from_static("no-transform"));
    let compress = wants_gzip && reply.body.len() >= COMPRESS_BYTES_MIN && !reply.headers.contains(&as_it_is);
    let body = if compress { gzip(&reply.body) } else { reply.body };
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.extend(reply.headers);
    if compress {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// The response with what every one of its dialect bears and this one does not have yet.
fn with_headers(
    mut response: Response<AnswerBody>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
) -> Response<AnswerBody> {
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

fn gzip(data: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("a Vec takes all that is written to it").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compressed_unless_they_must_stay_as_they_are() {
        let check = |bytes: usize, wants_gzip: bool, as_it_is: bool, compressed: bool| {
            let mut reply = Reply::json(StatusCode::OK, vec![b' '; bytes]);
            if as_it_is {
                reply = reply.with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-transform"));
            }
            let response = finish(reply, wants_gzip);
            let what = (bytes, wants_gzip, as_it_is);
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), compressed, "{what:?}");
        };
        check(COMPRESS_BYTES_MIN, true, false, true);
        check(COMPRESS_BYTES_MIN - 1, true, false, false);
        check(COMPRESS_BYTES_MIN, false, false, false);
        check(COMPRESS_BYTES_MIN, true, true, false);
    }

    #[test]
    fn a_dialects_own_headers_give_way_to_the_replys() {
        let id = header::HeaderName::from_static("opc-request-id");
        let always = || vec![(id.clone(), HeaderValue::from_static("a"))];
        let reply = || Reply::json(StatusCode::OK, "{}");
        assert_eq!(with_headers(finish(reply(), false), always()).headers()[&id], "a");
        let named = reply().with_header(id.clone(), HeaderValue::from_static("b"));
        let response = with_headers(finish(named, false), always());
        assert_eq!(response.headers().get_all(&id).iter().collect::<Vec<_>>(), ["b"]);
    }
}
