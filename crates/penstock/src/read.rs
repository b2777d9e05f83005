//! From a frame of the log to events: what each record is and when it happened.
//!
//! Where it sits: after commit, before store and deliver, which are both handed [`Reader::read`]. Total: a record that
//! cannot be read becomes an event with an issue, never an error. Parsing raw text into UDM will come in here.

use std::sync::Arc;

use bytes::Bytes;
use event::codec::{self, CodecError};
use event::{Batch, Event, Issue, Kind, Position};

/// Reads frames. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    schema: Arc<udm::Schema>,
}

/// The records of a frame.
pub struct Read {
    /// The good ones, in the sender's order.
    pub events: Vec<Event>,
    /// Those that were set aside when they came in, with the reason.
    pub set_aside: Vec<(Event, String)>,
}

impl Reader {
    /// A reader for this schema.
    pub fn new(schema: Arc<udm::Schema>) -> Reader {
        Reader { schema }
    }

    /// The events of the frame at `position`. Fails only on a payload that this Penstock cannot have written.
    pub fn read(&self, position: Position, payload: &Bytes) -> Result<Read, CodecError> {
        let mut read = Read { events: Vec::new(), set_aside: Vec::new() };
        for batch in codec::decode(payload)? {
            self.read_batch(position, batch, &mut read);
        }
        Ok(read)
    }

    fn read_batch(&self, position: Position, batch: Batch, read: &mut Read) {
        let Batch { meta, records } = batch;
        read.events.reserve(records.len());
        for (index, record) in (0..).zip(records) {
            let mut event = Event {
                batch: Arc::clone(&meta),
                position,
                index,
                kind: meta.kind,
                event_time: record.sender_time.unwrap_or(meta.received_at),
                data: record.data,
                sender_time: record.sender_time,
                collected_at: record.collected_at,
                issues: Vec::new(),
                parser: None,
                ordinal: 0,
            };
            if let Some(reason) = record.fault {
                read.set_aside.push((event, reason));
                continue;
            }
            let root = match meta.kind {
                Kind::Raw => None,
                Kind::Udm => Some(udm::Root::Event),
                Kind::Entity => Some(udm::Root::Entity),
            };
            if let Some(root) = root {
                // Checked leniently whatever the setting was when it came in: it is committed, so it is kept.
                match self.schema.check(root, &event.data, udm::Mode::Lenient) {
                    Ok(checked) => {
                        event.event_time = checked.event_time.unwrap_or(event.event_time);
                        event.issues = checked.issues;
                    }
                    Err(faults) => event.issues.push(Issue { field: String::new(), message: faults.to_string() }),
                }
            }
            read.events.push(event);
        }
    }
}
