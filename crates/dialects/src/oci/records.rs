//! Where records that are put in go, and how they become batches: one for each log type among them, which is one as a rule.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use event::{Batch, BatchId, BatchMeta, Kind, Record, Time};

use super::envelope::{AUDIT_GROUP, Kept, log_type};
use super::{Asked, ocid, reply, retry_token};
use crate::faults::Faults;
use crate::json::{Place, Scanner, Shape, SyntaxError, Text};
use crate::{Caller, Cause, Intake, Refusal, Thanks};
use http::StatusCode;

/// Most bytes that the records of one request become: each has what its request says once.
pub(super) const WRITTEN_BYTES_MAX: usize = 48 << 20;

/// How much longer a record may be than what was said of it alone. A limit of what a request says of many records at once,
/// so that it can be foreseen how much they become.
pub(super) const ENVELOPE_BYTES_MAX: usize = 2 << 10;

/// What a record costs beside its bytes while a frame is made of it.
const RECORD_BYTES: usize = size_of::<Record>() + size_of::<Span>() + 128;

/// How much memory it takes to make a frame of a body in which so many records stand.
pub(super) fn work_bytes(body: usize, records: usize) -> usize {
    let written = WRITTEN_BYTES_MAX.min(body.saturating_add(records.saturating_mul(ENVELOPE_BYTES_MAX)));
    // Texts without escapes, what is written of them, and the frame.
    body + 2 * written + records.min(event::limits::OCI_ENTRIES_MAX) * RECORD_BYTES
}

/// How often a key is written out in a body.
pub(super) fn count_key(body: &[u8], key: &str) -> usize {
    memchr::memmem::find_iter(body, &format!("\"{key}\"")).count()
}

/// The log that records are put into.
pub(super) struct Target {
    tenant: String,
    compartment: String,
    log_group: String,
    log: Option<String>,
    ingested: Time,
}

impl Target {
    /// What an envelope says of it.
    pub(super) fn kept(&self) -> Kept<'_> {
        Kept {
            tenant: &self.tenant,
            compartment: &self.compartment,
            log_group: &self.log_group,
            log: self.log.as_deref(),
            ingested: self.ingested,
        }
    }

    fn feed(&self) -> String {
        match &self.log {
            Some(log) => format!("oci/{log}"),
            None => format!("oci/{}/{AUDIT_GROUP}", self.compartment),
        }
    }
}

impl Asked<'_> {
    /// The log of this OCID, or the audit records of a compartment.
    pub(super) fn target(&self, id: &str) -> Result<Target, Refusal> {
        let tenant = ocid::tenancy(self.instance);
        if id == AUDIT_GROUP {
            let compartment = match self.head.query_value("compartmentId").filter(|id| !id.is_empty()) {
                Some(compartment) => {
                    self.check_compartment(&compartment)?;
                    compartment
                }
                None => tenant.clone(),
            };
            let log_group = AUDIT_GROUP.to_owned();
            return Ok(Target { tenant, compartment, log_group, log: None, ingested: self.now });
        }
        let log = self.snapshot.oci_logs.get(id).filter(|log| log.instance == self.instance);
        let Some(log) = log else {
            let shown: String = id.chars().take(120).collect();
            return Err(Refusal::new(Cause::NotFound, format!("There is no log {shown:?} in this tenancy.")));
        };
        if !log.enabled {
            let message = format!("The log {:?} ({}) is disabled; it takes nothing.", log.name, log.id);
            return Err(Refusal::new(Cause::WrongState, message));
        }
        Ok(Target {
            tenant,
            compartment: log.compartment.clone(),
            log_group: log.log_group.clone(),
            log: Some(log.id.clone()),
            ingested: self.now,
        })
    }

    /// Everything that was written, to be appended; or the refusal of a body that was not `read` to its end, or has faults.
    /// A request that names itself by a retry token is known again by that and its body.
    pub(super) fn commit(&self, target: &Target, read: Result<(), Stop>, written: Written) -> Result<Intake, Refusal> {
        let Written { out, batches, records, faults } = written;
        let refused = |refusal: Refusal| Refusal { records: Some(records as u64), ..refusal };
        match read {
            Ok(()) => {}
            Err(Stop::Syntax(error)) => return Err(unparsable(&error, &self.request.body)),
            Err(Stop::Refused(refusal)) => return Err(refused(refusal)),
        }
        if let Some(refusal) = super::form::refusal(faults) {
            return Err(refused(refusal));
        }
        if records == 0 {
            return Err(Refusal::invalid("The body has no entries."));
        }
        let key = retry_token(self.head)?.map(|token| {
            let mut hasher = blake3::Hasher::new_derive_key("penstock 2026 oci retry token");
            let (head, body) = (self.head.path.as_bytes(), &self.request.body);
            let query = self.head.query.as_deref().unwrap_or_default().as_bytes();
            for part in [self.instance.uuid().as_bytes().as_slice(), token.as_bytes(), head, query, body] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            *hasher.finalize().as_bytes().first_chunk::<16>().expect("a hash has 32 bytes")
        });
        let out = Bytes::from(out);
        let batch = |group: Group| -> (Caller, Batch) {
            let record = |span: Span| Record { sender_time: span.time, ..Record::new(out.slice(span.at)) };
            let meta = BatchMeta {
                id: group.id,
                instance: self.instance,
                kind: Kind::Raw,
                received_at: self.now,
                log_type: group.log_type.to_owned(),
                feed: target.feed(),
                sender: self.caller.sender().to_owned(),
                namespace: String::new(),
                labels: Vec::new(),
            };
            (
                self.caller.clone(),
                Batch { meta: Arc::new(meta), records: group.spans.into_iter().map(record).collect() },
            )
        };
        Ok(Intake::Commit {
            batches: batches.into_iter().map(batch).collect(),
            key,
            filtered: 0,
            refused: Vec::new(),
            thanks: Thanks::new(|_| reply::empty(StatusCode::OK)),
        })
    }
}

/// Records that were written, one behind the other.
#[derive(Default)]
pub(super) struct Written {
    /// All of them.
    pub(super) out: Vec<u8>,
    batches: Vec<Group>,
    /// How many there are, with those that have faults.
    pub(super) records: usize,
    /// What is wrong with them.
    pub(super) faults: Faults,
}

struct Group {
    log_type: &'static str,
    id: BatchId,
    spans: Vec<Span>,
}

struct Span {
    at: Range<usize>,
    time: Option<Time>,
}

impl Written {
    /// With room for so much.
    pub(super) fn with_capacity(bytes: usize) -> Written {
        Written { out: Vec::with_capacity(bytes), ..Written::default() }
    }

    /// Adds a record of this type, which `write` writes; it is given the id that the record has in the store.
    pub(super) fn add(
        &mut self,
        target: &Target,
        kind: &str,
        time: Time,
        next_id: &mut dyn FnMut() -> BatchId,
        write: impl FnOnce(&mut dyn FnMut() -> String, &mut Vec<u8>),
    ) -> Result<(), Refusal> {
        let log_type = log_type(&target.log_group, kind);
        let place = match self.batches.iter().position(|group| group.log_type == log_type) {
            Some(place) => place,
            None => {
                self.batches.push(Group { log_type, id: next_id(), spans: Vec::new() });
                self.batches.len() - 1
            }
        };
        let group = &mut self.batches[place];
        let start = self.out.len();
        let (id, index) = (group.id, group.spans.len() as u32);
        write(&mut || id.record(index).to_string(), &mut self.out);
        group.spans.push(Span { at: start..self.out.len(), time: Some(time) });
        if self.out.len() > WRITTEN_BYTES_MAX {
            let message = format!(
                "The records of the request have more than {WRITTEN_BYTES_MAX} bytes with what is said of each; send fewer."
            );
            return Err(Refusal::new(Cause::TooLarge, message));
        }
        Ok(())
    }
}

/// Why a body is not read to its end.
pub(super) enum Stop {
    Syntax(SyntaxError),
    Refused(Refusal),
}

impl From<SyntaxError> for Stop {
    fn from(error: SyntaxError) -> Stop {
        Stop::Syntax(error)
    }
}

/// What an error repeats of a key.
pub(super) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).chars().take(60).collect()
}

/// A refusal of a body that is no JSON.
pub(super) fn unparsable(error: &SyntaxError, body: &[u8]) -> Refusal {
    Refusal::new(Cause::Unparsable, format!("The body is not valid JSON: {}.", error.describe(body)))
}

/// Reads a string; null is none, and anything else a fault.
pub(super) fn string(
    scanner: &mut Scanner<'_>,
    field: &dyn Fn() -> String,
    faults: &mut Faults,
) -> Result<Option<Text>, SyntaxError> {
    match scanner.shape()? {
        Shape::String => {
            let text = scanner.string()?;
            match text.unclean {
                None => Ok(Some(text)),
                Some(unclean) => {
                    faults.add(field(), unclean.describe());
                    Ok(None)
                }
            }
        }
        Shape::Null => scanner.null().map(|()| None),
        other => {
            scanner.skip()?;
            scanner.take_unclean();
            faults.add(field(), format!("must be a string, not {}", other.with_article()));
            Ok(None)
        }
    }
}

/// Reads a time as RFC 3339, from where a string lies.
pub(super) fn time(
    scanner: &Scanner<'_>,
    place: &Place,
    field: &dyn Fn() -> String,
    faults: &mut Faults,
) -> Option<Time> {
    let text = scanner.text(place);
    match Time::parse_rfc3339(&text) {
        Ok(time) => Some(time),
        Err(why) => {
            faults.add(field(), format!("is no time: {why}"));
            None
        }
    }
}
