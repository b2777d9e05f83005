//! Names of things: instances, batches, records, places in the log.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::Time;

/// A text that is no id. Holds what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct IdError(String);

/// A tenant: the customer UUID of a Chronicle instance. Every batch, row, credential and connector belongs to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// The instance with this UUID.
    pub const fn from_uuid(uuid: Uuid) -> InstanceId {
        InstanceId(uuid)
    }

    /// The UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

/// A batch: a UUIDv7 whose low 32 bits are zero, so that a record's id is its batch's id plus its index. Made before the
/// append and kept in the frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(u128);

impl BatchId {
    /// From the 128 bits; refused when the low 32 are not zero.
    pub fn from_u128(bits: u128) -> Result<BatchId, IdError> {
        if bits & 0xFFFF_FFFF == 0 {
            Ok(BatchId(bits))
        } else {
            Err(IdError("a batch id ends in eight zeros; this is a record's id".to_owned()))
        }
    }

    /// The 128 bits, low 32 zero.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The id of the record at `index` of this batch.
    pub const fn record(self, index: u32) -> RecordId {
        RecordId(self.0 | index as u128)
    }

    /// When the id was made, to the millisecond.
    pub fn made_at(self) -> Time {
        Time::from_millis((self.0 >> 80) as i64).unwrap_or(Time::MAX)
    }
}

/// One record: its batch's id with the record's index in the low 32 bits. Costs no storage, leads back to its batch, and
/// is what senders, receipts, search rows and third parties see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u128);

impl RecordId {
    /// From the 128 bits.
    pub const fn from_u128(bits: u128) -> RecordId {
        RecordId(bits)
    }

    /// The 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The batch that the record came in.
    pub const fn batch(self) -> BatchId {
        BatchId(self.0 & !0xFFFF_FFFF)
    }

    /// The record's index in its batch.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

/// Makes batch ids that grow and never repeat within one source, whatever the clock does.
///
/// 48 bits of milliseconds, then 42 bits (12 + 30 around the version and variant) that start at random in each
/// millisecond and count up within it: random alone would collide about once a year at 30,000 batches a second.
#[derive(Debug, Default)]
pub struct IdSource {
    last_millis: u64,
    last_low: u64,
}

impl IdSource {
    const LOW_BITS: u32 = 42;

    /// The next id, given the time and 64 random bits. A clock that stands still or goes back does not make ids go back.
    pub fn next(&mut self, now: Time, random: u64) -> BatchId {
        let millis = now.millis().max(0) as u64;
        if millis > self.last_millis {
            self.last_millis = millis;
            // The top bit stays free, so that counting up within the millisecond cannot overflow.
            self.last_low = random & ((1 << (Self::LOW_BITS - 1)) - 1);
        } else {
            self.last_low += 1;
            if self.last_low >> Self::LOW_BITS != 0 {
                self.last_millis += 1;
                self.last_low = 0;
            }
        }
        let high = u128::from(self.last_millis & 0xFFFF_FFFF_FFFF) << 80;
        let version = 0x7u128 << 76;
        let rand_a = u128::from(self.last_low >> 30) << 64;
        let variant = 0b10u128 << 62;
        let rand_b = u128::from(self.last_low & 0x3FFF_FFFF) << 32;
        BatchId(high | version | rand_a | variant | rand_b)
    }
}

/// Where in the log: which log (a random number made with it) and how many bytes into it. Ordered within one log;
/// followers refuse a cursor of another epoch instead of reading nonsense.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The log's own random id.
    pub epoch: u64,
    /// Bytes since the log began; grows for ever, segments come and go beneath it.
    pub offset: u64,
}

fn parse_uuid(text: &str, what: &str) -> Result<Uuid, IdError> {
    Uuid::try_parse(text).map_err(|_| {
        IdError(format!("{what} is a UUID such as c8c65bfa-5f2c-42d4-9189-64bb7b939f2c, not {:?}", clip(text)))
    })
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

macro_rules! uuid_text {
    ($type:ident, $to:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let to: fn(&$type) -> Uuid = $to;
                fmt::Display::fmt(&to(self), f)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
uuid_text!(InstanceId, |id| id.0);
uuid_text!(BatchId, |id| Uuid::from_u128(id.0));
uuid_text!(RecordId, |id| Uuid::from_u128(id.0));

impl FromStr for InstanceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<InstanceId, IdError> {
        parse_uuid(text, "an instance (customer_id)").map(InstanceId)
    }
}

impl FromStr for BatchId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<BatchId, IdError> {
        BatchId::from_u128(parse_uuid(text, "a batch id")?.as_u128())
    }
}

impl FromStr for RecordId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<RecordId, IdError> {
        Ok(RecordId(parse_uuid(text, "a record id")?.as_u128()))
    }
}

/// `epoch:offset`, the epoch as 16 hex digits.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{}", self.epoch, self.offset)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Position, IdError> {
        let parsed = text.split_once(':').and_then(|(epoch, offset)| {
            Some(Position { epoch: u64::from_str_radix(epoch, 16).ok()?, offset: offset.parse().ok()? })
        });
        parsed.ok_or_else(|| IdError(format!("a position is EPOCH:OFFSET (hex:decimal), not {:?}", clip(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_and_are_uuid_v7_with_room_for_an_index() {
        let mut source = IdSource::default();
        let mut last = None;
        // The clock stands still, then goes back, then on.
        for (step, millis) in [5i64, 5, 5, 3, 3, 9, 9].into_iter().enumerate() {
            let id = source.next(Time::from_millis(millis).unwrap(), 0xFFFF_0000_FFFF_0000 ^ step as u64);
            assert!(last < Some(id), "ids must grow: {last:?} then {id}");
            last = Some(id);
            let uuid = Uuid::from_u128(id.as_u128());
            assert_eq!(uuid.get_version_num(), 7);
            assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(id.as_u128() as u32, 0);
        }
    }

    #[test]
    fn a_record_leads_back_to_its_batch() {
        let batch = IdSource::default().next(Time::from_secs(1_700_000_000).unwrap(), 42);
        let record = batch.record(77);
        assert_eq!((record.batch(), record.index()), (batch, 77));
        assert_eq!(record.to_string().parse::<RecordId>().unwrap(), record);
        assert_eq!(batch.made_at(), Time::from_secs(1_700_000_000).unwrap());
        assert!(record.to_string().parse::<BatchId>().unwrap_err().to_string().contains("record's id"));
    }

    #[test]
    fn a_position_survives_its_text() {
        let position = Position { epoch: 0xAB, offset: 1 << 40 };
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        assert!("x:1".parse::<Position>().is_err());
    }
}
