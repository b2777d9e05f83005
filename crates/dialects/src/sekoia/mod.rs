//! Sekoia.io's HTTPS intake, as the README beside this file says.
//!
//! A key names an intake and with it the instance, the log type and the namespace of what it sends. [`key`] finds the key
//! in a head, [`read`] finds keys and events in a body, this file decides whether all of it is good and makes batches,
//! [`reply`] names each event. [`encode`] is the client side. What its forwarder sends over syslog is read by
//! [`crate::syslog`].

pub mod encode;
mod key;
mod path;
mod read;
mod reply;

use bytes::Bytes;
use event::{Batch, BatchId, Record, Time, limits};
use http::{Method, StatusCode};

use crate::auth::IntakeSender;
use crate::faults::Faults;
use crate::snapshot::Limits;
use crate::{
    Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, Snapshot, Thanks, auth, when,
};
use path::Path;
use read::{Events, Item, Slice};
use reply::Names;
pub use reply::status_of;

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Op {
    /// `/`: one event in an envelope.
    One,
    /// `/batch`: an envelope with many.
    Batch,
    /// `/array`: many envelopes.
    Array,
    /// `/plain`: the body is an event.
    Plain,
    /// `/plain/batch`: its lines are.
    PlainBatch,
    /// `/jsons`, and `/many` as it was once called: a list, or an object with one.
    Jsons,
    /// Something else below a prefix that is Sekoia's alone.
    Nothing,
}

impl Op {
    const ALL: [Op; 7] = [Op::One, Op::Batch, Op::Array, Op::Plain, Op::PlainBatch, Op::Jsons, Op::Nothing];

    fn of(route: &Route) -> Op {
        Op::ALL.into_iter().find(|op| *op as u32 == route.op).expect("every route of this dialect has one of these")
    }

    /// Whether the key may stand in the body alone, so that a head without one is no stranger's yet.
    fn has_key_in_body(self) -> bool {
        matches!(self, Op::One | Op::Batch | Op::Array)
    }
}

/// The paths, and each of them again below the prefixes that regions and the SDK's tests use (contracts/sekoia.md §1.1).
const CLAIMS: [(&str, Op); 23] = [
    ("/", Op::One),
    ("/batch", Op::Batch),
    ("/array", Op::Array),
    ("/plain", Op::Plain),
    ("/plain/batch", Op::PlainBatch),
    ("/jsons", Op::Jsons),
    ("/many", Op::Jsons),
    ("/api/v1/intake-http", Op::One),
    ("/api/v1/intake-http/batch", Op::Batch),
    ("/api/v1/intake-http/array", Op::Array),
    ("/api/v1/intake-http/plain", Op::Plain),
    ("/api/v1/intake-http/plain/batch", Op::PlainBatch),
    ("/api/v1/intake-http/jsons", Op::Jsons),
    ("/api/v1/intake-http/many", Op::Jsons),
    ("/v1/intake-http", Op::One),
    ("/v1/intake-http/batch", Op::Batch),
    ("/v1/intake-http/array", Op::Array),
    ("/v1/intake-http/plain", Op::Plain),
    ("/v1/intake-http/plain/batch", Op::PlainBatch),
    ("/v1/intake-http/jsons", Op::Jsons),
    ("/v1/intake-http/many", Op::Jsons),
    ("/api/v1/intake-http**", Op::Nothing),
    ("/v1/intake-http**", Op::Nothing),
];

/// After how many keys that are none a request is not looked at any further.
const UNKNOWN_KEYS_MAX: usize = 5;

/// What one record costs beside its bytes while a frame is made of it.
const RECORD_BYTES: usize = size_of::<Record>() + size_of::<Item>();

/// The dialect.
pub struct Sekoia {
    routes: Vec<Route>,
}

impl Sekoia {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Sekoia {
        let route = |(path, op): (&'static str, Op)| Route {
            host: None,
            method: Method::POST,
            path,
            op: op as u32,
            body_bytes_max: |limits: &Limits| limits.sekoia_body_bytes_max,
            needs: if op.has_key_in_body() || op == Op::Nothing { None } else { Some(Scope::Ingest) },
        };
        Sekoia { routes: CLAIMS.into_iter().map(route).collect() }
    }
}

impl Dialect for Sekoia {
    fn name(&self) -> &'static str {
        "sekoia"
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn authenticate(
        &self,
        at: &Found<'_>,
        head: &Head,
        snapshot: &Snapshot,
        _now: Time,
    ) -> Result<Option<Caller>, Refusal> {
        if Op::of(at.route) == Op::Nothing {
            return Err(Refusal::not_found(&head.method, &head.path));
        }
        match key::of_head(head)? {
            Some(key) => Ok(Some(auth::authenticate_intake_key(&key, snapshot)?.caller().clone())),
            None if Op::of(at.route).has_key_in_body() => Ok(None),
            None => Err(no_key()),
        }
    }

    fn foresee(&self, at: &Found<'_>, start: &[u8], snapshot: &Snapshot) -> Result<Option<Caller>, Refusal> {
        let is_array = Op::of(at.route) == Op::Array;
        let Some(key) = read::first_key(start, is_array) else { return Ok(None) };
        match auth::authenticate_intake_key(&key, snapshot) {
            Ok(sender) => Ok(Some(sender.caller().clone())),
            Err(refusal) => {
                let field = if is_array { "[0].intake_key" } else { "intake_key" };
                let named = Refusal::invalid_field(field, refusal.message.clone());
                Err(Refusal { cause: Cause::Unauthenticated, guessed: refusal.guessed, ..named })
            }
        }
    }

    fn work_bytes(&self, at: &Found<'_>, body: &[u8]) -> usize {
        // Commas stand between the items of a list, and within them: never fewer than there are items.
        let (copies, between) = match Op::of(at.route) {
            Op::Plain | Op::Nothing => return body.len(),
            Op::PlainBatch => (1, b'\n'),
            Op::One => return body.len() * 2,
            Op::Batch | Op::Array | Op::Jsons => (2, b','),
        };
        let records = memchr::memchr_iter(between, body).count() + 1;
        body.len() * copies + records.min(limits::SEKOIA_EVENTS_MAX) * RECORD_BYTES
    }

    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        next_id: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        let of_caller = |refusal: Refusal| match &caller {
            Some(caller) => refusal.of(caller),
            None => refusal,
        };
        let call = match Call::new(Op::of(at.route), request, snapshot, now) {
            Ok(call) => call,
            Err(refusal) => return Intake::Refuse(of_caller(refusal)),
        };
        // A refusal that knows better whom it met, because the key stood in the body, says so itself.
        call.accept(next_id).unwrap_or_else(|refusal| {
            Intake::Refuse(if refusal.sender.is_some() { refusal } else { of_caller(refusal) })
        })
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        reply::refuse(refusal)
    }
}

/// A request whose head has been read.
struct Call<'a> {
    op: Op,
    body: &'a Bytes,
    snapshot: &'a Snapshot,
    now: Time,
    /// The key in the head, with whom it belongs to.
    head_key: Option<(String, IntakeSender)>,
    /// When the events of the request happened, as the head says.
    time: Option<Time>,
    /// Where the list is.
    path: Option<Path>,
    status: StatusCode,
}

impl<'a> Call<'a> {
    fn new(op: Op, request: &'a Request, snapshot: &'a Snapshot, now: Time) -> Result<Call<'a>, Refusal> {
        let head = &request.head;
        let head_key = match key::of_head(head)? {
            Some(key) => {
                let sender = auth::authenticate_intake_key(&key, snapshot)?;
                Some((key, sender))
            }
            None => None,
        };
        let path = match head.query_value("path").filter(|_| op == Op::Jsons) {
            Some(text) => Some(text.parse().map_err(|why| {
                let shown: String = text.chars().take(100).collect();
                Refusal::invalid(format!("path {shown:?}: {why}."))
            })?),
            None => None,
        };
        let time = match head.headers.get(TIMESTAMP_HEADER) {
            Some(value) => {
                let text = String::from_utf8_lossy(value.as_bytes());
                let time = when::read(&text, now);
                Some(time.map_err(|why| Refusal::invalid_field("X-SEKOIAIO-EVENT-TIMESTAMP", not_a_time(&why, &text)))?)
            }
            None => None,
        };
        let status = success_status(head)?;
        Ok(Call { op, body: &request.body, snapshot, now, head_key, time, path, status })
    }

    fn accept(self, next_id: &mut dyn FnMut() -> BatchId) -> Result<Intake, Refusal> {
        let limits = &self.snapshot.limits;
        let read = match self.op {
            Op::Nothing => unreachable!("refused by its head"),
            Op::Plain => Ok(read::whole(self.body, limits)),
            Op::One if self.head_key.is_some() && !read::is_envelope(self.body) => Ok(read::whole(self.body, limits)),
            Op::PlainBatch => Ok(read::lines(self.body, limits)),
            Op::One => read::one(self.body, limits, self.now),
            Op::Batch => read::batch(self.body, limits),
            Op::Array => read::array(self.body, limits, self.now),
            Op::Jsons => read::jsons(self.body, self.path.as_ref(), limits),
        };
        let mut events = read.map_err(|error| {
            let why = error.describe(self.body);
            let hint = match self.op {
                Op::Batch => " Lines of text go to /plain/batch.",
                Op::One | Op::Jsons | Op::Array => " Text that is no JSON goes to /plain.",
                Op::Plain | Op::PlainBatch | Op::Nothing => "",
            };
            Refusal::invalid(format!("The body is not valid JSON: {why}.{hint}"))
        })?;
        let senders = self.senders(&mut events)?;
        self.commit(events, &senders, next_id)
    }

    /// Whom each key of the body belongs to, in their order; last whom the head's does, where it has one.
    fn senders(&self, events: &mut Events) -> Result<Vec<IntakeSender>, Refusal> {
        if events.is_key_faulty
            && let Some(refusal) = std::mem::take(&mut events.faults).refusal("body")
        {
            return Err(Refusal { records: Some(events.count as u64), ..refusal });
        }
        let mut senders = Vec::with_capacity(events.keys.len() + 1);
        let mut unknown = Faults::default();
        let mut guessed = None;
        let mut differing = Faults::default();
        for key in &events.keys {
            if self.head_key.as_ref().is_some_and(|(of_head, _)| *of_head != key.text) {
                differing.add(key.field.clone(), "is another key than the one in the request's head");
                continue;
            }
            match auth::authenticate_intake_key(&key.text, self.snapshot) {
                Ok(sender) => senders.push(sender),
                // Whoever tries many keys at once learns little of each.
                Err(_) if unknown.count == UNKNOWN_KEYS_MAX => break,
                Err(refusal) => {
                    guessed = guessed.or(refusal.guessed);
                    unknown.add(key.field.clone(), refusal.message);
                }
            }
        }
        let records = Some(events.count as u64);
        let of_head = |refusal: Refusal| match &self.head_key {
            Some((_, sender)) => Refusal { records, ..refusal.of(sender.caller()) },
            None => Refusal { records, ..refusal },
        };
        if let Some(refusal) = differing.refusal("body") {
            return Err(of_head(refusal));
        }
        if let Some(refusal) = unknown.refusal("body") {
            return Err(of_head(Refusal { cause: Cause::Unauthenticated, guessed, ..refusal }));
        }
        match &self.head_key {
            Some((_, sender)) => senders.push(sender.clone()),
            None => {
                if let Some(field) = &events.keyless {
                    let message = format!("{field}: the intake key is missing.");
                    return Err(Refusal { records, ..Refusal::unauthenticated(message) });
                }
            }
        }
        Ok(senders)
    }

    fn commit(
        self,
        events: Events,
        senders: &[IntakeSender],
        next_id: &mut dyn FnMut() -> BatchId,
    ) -> Result<Intake, Refusal> {
        let Events { items, count, oversize, faults, side, .. } = events;
        let records = count as u64;
        // A request of several tenants is nobody's: what is wrong in it may be the other's.
        let whose = senders
            .first()
            .filter(|first| senders.iter().all(|sender| sender.caller().instance() == first.caller().instance()));
        let of_first = |refusal: Refusal| match whose {
            Some(sender) => Refusal { records: Some(records), ..refusal.of(sender.caller()) },
            None => Refusal { records: Some(records), ..refusal },
        };
        if let Some(refusal) = faults.refusal("body") {
            return Err(of_first(refusal));
        }
        if count > limits::SEKOIA_EVENTS_MAX {
            let most = limits::SEKOIA_EVENTS_MAX;
            let message = format!("The request has {count} events, more than the {most} allowed.");
            return Err(of_first(Refusal::new(Cause::TooLarge, message)));
        }
        if senders.is_empty() {
            return Err(no_key());
        }
        let is_one = matches!(self.op, Op::One | Op::Plain);
        if items.is_empty() {
            return match oversize.is_empty() {
                false => Err(of_first(reply::too_large(&oversize, is_one, &self.snapshot.limits))),
                // A list of nothing: nothing is missing.
                true => Ok(Intake::Answer(Names::none(self.status))),
            };
        }
        // The records of each sender, and whose each item is.
        let mut of_senders: Vec<Vec<Record>> = senders.iter().map(|_| Vec::new()).collect();
        let only = senders.len() == 1;
        if only {
            of_senders[0].reserve_exact(items.len());
        }
        let mut batch_of = Vec::with_capacity(if only { 0 } else { items.len() });
        for item in items {
            let data = match item.slice {
                Slice { start, end, in_side: false } => self.body.slice(start as usize..end as usize),
                Slice { start, end, in_side: true } => side.slice(start as usize..end as usize),
            };
            let record = Record { sender_time: item.time.or(self.time), ..Record::new(data) };
            // The head's key is the last one, and the one for items that name none.
            let sender = (item.key as usize).min(senders.len() - 1);
            of_senders[sender].push(record);
            if !only {
                batch_of.push(sender as u32);
            }
        }
        let ids: Vec<BatchId> = senders.iter().map(|_| next_id()).collect();
        let batches: Vec<(Caller, Batch)> = senders
            .iter()
            .zip(&ids)
            .zip(of_senders)
            .filter(|(_, records)| !records.is_empty())
            .map(|((sender, id), records)| sender.batch(*id, self.now, Vec::new(), records))
            .collect();
        let refused = senders.iter().enumerate().filter_map(|(place, sender)| {
            let own = oversize.iter().filter(|oversize| (oversize.key as usize).min(senders.len() - 1) == place);
            let own: Vec<_> = own.copied().collect();
            let refusal = (!own.is_empty()).then(|| reply::too_large(&own, false, &self.snapshot.limits))?;
            Some(Refusal { records: Some(own.len() as u64), ..refusal.of(sender.caller()) })
        });
        let refused: Vec<Refusal> = if oversize.is_empty() { Vec::new() } else { refused.collect() };
        let names = Names { status: self.status, is_one, ids, batch_of, count, oversize };
        let event_bytes_max = self.snapshot.limits.sekoia_event_bytes_max;
        let thanks = Thanks::of_bytes(names.reply_bytes(), move |_| names.reply(event_bytes_max));
        Ok(Intake::Commit { batches, key: None, filtered: 0, refused, thanks })
    }
}

fn no_key() -> Refusal {
    Refusal::unauthenticated(
        "The request has no intake key: send it as the header X-SEKOIAIO-INTAKE-KEY, as the password of HTTP Basic, as \
         ?intake_key=, or, to /, /batch and /array, as intake_key in the body.",
    )
}

/// The status of a success: 202, or the one that the sender asks for, since some take nothing but 200 for one
/// (contracts/sekoia.md §1.2).
fn success_status(head: &Head) -> Result<StatusCode, Refusal> {
    let Some(text) = head.query_value("status_code") else { return Ok(StatusCode::ACCEPTED) };
    let status = text.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
    status.filter(StatusCode::is_success).ok_or_else(|| {
        let shown: String = text.chars().take(20).collect();
        Refusal::invalid(format!("status_code is {shown:?}: a success from 200 to 299."))
    })
}

/// The header that says when the events of a request happened.
const TIMESTAMP_HEADER: &str = "x-sekoiaio-event-timestamp";

/// Why a text is no time, with the text.
fn not_a_time(why: &when::NotATime, text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    format!("{why} ({shown:?})")
}

#[cfg(test)]
mod tests;
