//! What both Chronicle dialects make of a body: the fields at its head, records as places in it, and the key by which a
//! repeat is known, which is the same whichever of the two a sender speaks.
//!
//! The key is 16 bytes of BLAKE3 over
//!
//! ```text
//! "penstock chronicle batch 1"  kind:u8  instance:16
//! per record, in order:  data_len:u64le  data  mark:u8  [time:i64le nanoseconds]
//!     mark = 0 without a time, 1 with one, 2 for a record set aside: then data is its whole entry as sent,
//!            3 with no time but that of the sender's collector; 4 before any of these where a filter keeps the
//!            record out, so that neither another request whose rest is the same nor the same one under other filters
//!            is taken for a repeat
//! ```
//!
//! `data` is what is kept: the unescaped text of a log, the bytes of an event or entity as they stood in the body. So
//! log type, labels, namespace, the spelling of the envelope's keys, escapes, number or string, and gzip make no
//! difference; one byte of a record or one time does (design.md §5). A time counts as the instant that it means.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use event::{InstanceId, Kind, Record, Time, limits};

use crate::faults::Faults;
pub(crate) use crate::json::Place;
use crate::json::{Scanner, Shape, SyntaxError, Unclean};
use crate::snapshot::Snapshot;

/// Most records of one batch that are set aside instead of refusing it. Beyond, the whole batch is garbage, and keeping
/// a sentence for each of its records would cost many times the body's memory.
pub(crate) const QUARANTINED_MAX: usize = 10_000;

/// Records, as places in the body and in a buffer of what had to be unescaped or decoded.
pub(crate) struct Items {
    pub(crate) list: Vec<Item>,
    pub(crate) side: Bytes,
}

/// One record.
pub(crate) struct Item {
    pub(crate) place: Place,
    /// The whole entry in the body.
    pub(crate) raw: Range<usize>,
    pub(crate) time: Option<Time>,
    /// When the sender's collector took it in.
    pub(crate) collected_at: Option<Time>,
    /// Why it is to be set aside.
    pub(crate) fault: Option<Box<str>>,
    /// Whether a filter keeps it out.
    pub(crate) is_filtered: bool,
}

impl Items {
    /// The bytes of a record: a slice of the body, or of the side buffer.
    pub(crate) fn data(&self, body: &Bytes, item: &Item) -> Bytes {
        match &item.place {
            Place::Body(range) => body.slice(range.clone()),
            Place::Side(range) => self.side.slice(range.clone()),
        }
    }

    /// The record that an item is.
    pub(crate) fn record(&self, body: &Bytes, item: &Item) -> Record {
        Record {
            data: self.data(body, item),
            sender_time: item.time,
            collected_at: item.collected_at,
            fault: item.fault.as_deref().map(str::to_owned),
        }
    }
}

/// Records as they are read, one after the other, with the faults of each.
pub(crate) struct Gathering {
    /// The good ones, and those to be set aside. Without quarantine none is added once a fault was met: none will be
    /// committed.
    pub(crate) list: Vec<Item>,
    /// How many there were.
    pub(crate) count: usize,
    /// How many of them have a fault.
    pub(crate) faulty: usize,
    /// Their faults.
    pub(crate) faults: Faults,
    /// What the list is called in the body.
    name: &'static str,
    quarantine: bool,
    /// Why the current record is to be set aside, as far as known.
    reason: String,
    /// Whether the current record has a fault.
    is_faulty: bool,
}

/// What the value of a field of the request as a whole begins like; `None` when there is nothing to read: it is `null`,
/// or given twice. `met` is the set of the fields met so far, `field` the bit of this one.
pub(crate) fn head_field(
    scanner: &mut Scanner<'_>,
    faults: &mut Faults,
    met: &mut u8,
    field: u8,
    name: &str,
) -> Result<Option<Shape>, SyntaxError> {
    let shape = scanner.shape()?;
    if shape == Shape::Null {
        scanner.null()?;
        return Ok(None);
    }
    if *met & field != 0 {
        // Which of the two is meant is nothing to guess about.
        faults.add(name, "given twice");
        scanner.skip()?;
        return Ok(None);
    }
    *met |= field;
    Ok(Some(shape))
}

/// A text of the request as a whole; `None` with its fault noted when it is none that can be kept.
pub(crate) fn head_text(
    scanner: &mut Scanner<'_>,
    faults: &mut Faults,
    name: &str,
    shape: Shape,
    bytes_max: usize,
) -> Result<Option<String>, SyntaxError> {
    if shape != Shape::String {
        scanner.skip()?;
        faults.add(name, format!("must be a string, not {}", shape.with_article()));
        return Ok(None);
    }
    let text = scanner.string()?;
    if let Some(unclean) = text.unclean {
        faults.add(name, unclean.describe());
        return Ok(None);
    }
    let value = scanner.text(&text.place);
    if value.len() > bytes_max {
        faults.add(name, format!("{} bytes, more than the {bytes_max} allowed", value.len()));
        return Ok(None);
    }
    Ok(Some(value.into_owned()))
}

impl Gathering {
    pub(crate) fn new(name: &'static str, quarantine: bool) -> Gathering {
        Gathering {
            list: Vec::new(),
            count: 0,
            faulty: 0,
            faults: Faults::default(),
            name,
            quarantine,
            reason: String::new(),
            is_faulty: false,
        }
    }

    /// Begins a record.
    pub(crate) fn begin(&mut self) {
        self.is_faulty = false;
        self.reason.clear();
    }

    /// Notes a fault of the current record; `suffix` is the path of the field within it.
    pub(crate) fn fault<'d>(&mut self, suffix: &str, description: impl Into<Cow<'d, str>>) {
        let description = description.into();
        self.is_faulty = true;
        if self.quarantine {
            if !self.reason.is_empty() {
                self.reason.push_str("; ");
            }
            let field = suffix.strip_prefix('.').unwrap_or(suffix);
            let colon = if field.is_empty() { "" } else { ": " };
            self.reason.push_str(field);
            self.reason.push_str(colon);
            self.reason.push_str(&description);
        }
        if self.faults.listed.len() < limits::FAULTS_MAX {
            let field = format!("{}[{}]{suffix}", self.name, self.count);
            self.faults.add(field, description);
        } else {
            self.faults.count += 1;
        }
    }

    /// Checks a UDM event or entity, which lies at `raw` and begins at `suffix` within its record, against the schema.
    pub(crate) fn check_udm(
        &mut self,
        kind: Kind,
        suffix: &str,
        json: &[u8],
        unclean: Option<Unclean>,
        snapshot: &Snapshot,
    ) {
        if let Some(unclean) = unclean {
            return self.fault(suffix, format!("a text in it {}", unclean.describe()));
        }
        let root = if kind == Kind::Udm { udm::Root::Event } else { udm::Root::Entity };
        if let Err(faults) = snapshot.schema.check(root, json, snapshot.udm_mode) {
            for fault in faults.0 {
                let dot = if fault.path.is_empty() { "" } else { "." };
                self.fault(&format!("{suffix}{dot}{}", fault.path), fault.message);
            }
        }
    }

    /// Ends a record. Where it has no place of its own, it is kept as it stood.
    pub(crate) fn end(
        &mut self,
        place: Option<Place>,
        raw: Range<usize>,
        time: Option<Time>,
        collected_at: Option<Time>,
    ) {
        self.count += 1;
        self.faulty += usize::from(self.is_faulty);
        if self.quarantine || self.faulty == 0 {
            let fault = self.is_faulty.then(|| self.reason.as_str().into());
            let place = place.unwrap_or_else(|| Place::Body(raw.clone()));
            self.list.push(Item { place, raw, time, collected_at, fault, is_filtered: false });
        }
    }
}

/// The key of a batch of these records.
pub(crate) fn key(kind: Kind, instance: InstanceId, body: &Bytes, items: &Items) -> [u8; 16] {
    let mut hasher = Staged::new(body.len());
    hasher.put(b"penstock chronicle batch 1");
    hasher.put(&[kind as u8]);
    hasher.put(instance.uuid().as_bytes());
    for item in &items.list {
        let data = match (&item.fault, &item.place) {
            (Some(_), _) => &body[item.raw.clone()],
            (None, Place::Body(range)) => &body[range.clone()],
            (None, Place::Side(range)) => &items.side[range.clone()],
        };
        hasher.put(&(data.len() as u64).to_le_bytes());
        hasher.put(data);
        if item.is_filtered {
            hasher.put(&[4]);
        }
        match (&item.fault, item.time, item.collected_at) {
            (Some(_), ..) => hasher.put(&[2]),
            (None, None, None) => hasher.put(&[0]),
            (None, Some(time), _) => {
                hasher.put(&[1]);
                hasher.put(&time.nanos().to_le_bytes());
            }
            (None, None, Some(time)) => {
                hasher.put(&[3]);
                hasher.put(&time.nanos().to_le_bytes());
            }
        }
    }
    hasher.finish()
}

/// BLAKE3 fed in pieces large enough for its wide implementations: records of a few hundred bytes, given one by one,
/// would take the slowest path and cost more than everything else that is done to a body.
struct Staged {
    hasher: blake3::Hasher,
    stage: Vec<u8>,
}

impl Staged {
    const BYTES: usize = 32 << 10;

    fn new(body_bytes: usize) -> Staged {
        Staged { hasher: blake3::Hasher::new(), stage: Vec::with_capacity(Self::BYTES.min(body_bytes + 256)) }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.stage.len() + bytes.len() > Self::BYTES {
            self.hasher.update(&self.stage);
            self.stage.clear();
            if bytes.len() > Self::BYTES {
                self.hasher.update(bytes);
                return;
            }
        }
        self.stage.extend_from_slice(bytes);
    }

    fn finish(mut self) -> [u8; 16] {
        self.hasher.update(&self.stage);
        *self.hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
    }
}
