//! The key by which a repeat of a batch is known.
//!
//! 16 bytes of BLAKE3 over
//!
//! ```text
//! "penstock chronicle batch 1"  kind:u8  instance:16
//! per record, in order:  data_len:u64le  data  mark:u8  [time:i64le nanoseconds]
//!     mark = 0 without a time, 1 with one, 2 for a record set aside: then data is its whole entry as sent
//! ```
//!
//! `data` is what is kept: the unescaped text of a log, the bytes of an event or entity as they stood in the body. So
//! log type, labels, namespace, the spelling of the envelope's keys, escapes, number or string, and gzip make no
//! difference; one byte of a record or one time does (design.md §5). A time counts as the instant that it means.

use bytes::Bytes;
use event::{InstanceId, Kind};

use super::read::{Items, Place};

/// The key of a batch of these records.
pub(super) fn key(kind: Kind, instance: InstanceId, body: &Bytes, items: &Items) -> [u8; 16] {
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
        match (&item.fault, item.time) {
            (Some(_), _) => hasher.put(&[2]),
            (None, None) => hasher.put(&[0]),
            (None, Some(time)) => {
                hasher.put(&[1]);
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
