//! One frame's bytes (docs/log-format.md, "Frame"): encoding, checksums, and finding the next one behind damage.
//!
//! Pure: bytes in, bytes out. What stands where in which file is the business of `segment`.

use event::Time;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a frame before its payload.
pub(crate) const HEAD_BYTES: usize = 80;

/// Every frame begins at a multiple of this, so that the search behind damage has few places to look at.
pub(crate) const ALIGN: u64 = 8;

/// "Penstock log frame", first form. A newer form gets another number here and in the segment's header.
const MAGIC: [u8; 4] = *b"PLF1";

const FLAG_KEY: u32 = 1;

/// What makes a checksum belong to one place in one life of one file: the segment's random id. See "Salt" in the format
/// document for what would go wrong without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Salt(pub(crate) [u8; 16]);

impl Salt {
    /// The seed of all checksums of the frame at this offset of the log.
    fn seed(self, offset: u64) -> u64 {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.0);
        bytes[16..].copy_from_slice(&offset.to_le_bytes());
        xxh3_64(&bytes)
    }

    /// The checksum of a frame's payload.
    pub(crate) fn payload_sum(self, offset: u64, payload: &[u8]) -> u64 {
        xxh3_64_with_seed(payload, self.seed(offset))
    }
}

/// What a frame says about its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) payload_bytes: u32,
    pub(crate) payload_sum: u64,
    /// How far the log was durable when this frame was written, as an offset.
    pub(crate) durable_to: u64,
    pub(crate) id: u128,
    pub(crate) key: Option<[u8; 16]>,
    pub(crate) at: Time,
    pub(crate) records: u32,
}

impl Head {
    /// Bytes from this frame's start to the next one's.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.payload_bytes as usize)
    }

    pub(crate) fn encode(&self, salt: Salt, offset: u64) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[8..12].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.payload_sum.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_to.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.id.to_be_bytes());
        bytes[48..64].copy_from_slice(&self.key.unwrap_or_default());
        bytes[64..72].copy_from_slice(&self.at.nanos().to_le_bytes());
        bytes[72..76].copy_from_slice(&self.records.to_le_bytes());
        let flags = if self.key.is_some() { FLAG_KEY } else { 0 };
        bytes[76..80].copy_from_slice(&flags.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes[8..], salt.seed(offset));
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The head in the first bytes, if a frame of this segment was written whole at this offset.
    pub(crate) fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Option<Head> {
        let bytes: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().expect("the slice has this length");
        if bytes[8..12] != MAGIC {
            return None;
        }
        if u64_at(bytes, 0) != xxh3_64_with_seed(&bytes[8..], salt.seed(offset)) {
            return None;
        }
        let durable_to = u64_at(bytes, 24);
        if durable_to > offset {
            // No frame was written before what it says was synced: whatever its checksum says, this is none of ours, and
            // recovery must not look for the log's end where it points.
            return None;
        }
        let flags = u32_at(bytes, 76);
        Some(Head {
            payload_bytes: u32_at(bytes, 12),
            payload_sum: u64_at(bytes, 16),
            durable_to,
            id: u128::from_be_bytes(array_at(bytes, 32)),
            key: (flags & FLAG_KEY != 0).then(|| array_at(bytes, 48)),
            at: Time::from_nanos(i64::from_le_bytes(array_at(bytes, 64))),
            records: u32_at(bytes, 72),
        })
    }
}

/// Bytes that a frame with so long a payload takes.
pub(crate) fn frame_bytes(payload_bytes: usize) -> u64 {
    (HEAD_BYTES as u64 + payload_bytes as u64).next_multiple_of(ALIGN)
}

/// The first whole head in `bytes`, which stand at `offset` of the log (a multiple of [`ALIGN`]): how far behind the
/// start, and the head.
pub(crate) fn find_head(bytes: &[u8], salt: Salt, offset: u64) -> Option<(usize, Head)> {
    let mut at = 0;
    while at + HEAD_BYTES <= bytes.len() {
        // The magic first: nearly every place fails it, and it costs next to nothing.
        if bytes[at + 8..at + 12] == MAGIC
            && let Some(head) = Head::decode(&bytes[at..], salt, offset + at as u64)
        {
            return Some((at, head));
        }
        at += ALIGN as usize;
    }
    None
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has this length")
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_head() -> impl Strategy<Value = Head> {
        (any::<(u32, u64, u64, u128)>(), any::<Option<[u8; 16]>>(), any::<i64>(), any::<u32>()).prop_map(
            |((payload_bytes, payload_sum, durable_to, id), key, at, records)| Head {
                payload_bytes,
                payload_sum,
                durable_to,
                id,
                key,
                at: Time::from_nanos(at),
                records,
            },
        )
    }

    proptest! {
        #[test]
        fn a_head_is_read_where_it_was_written_and_nowhere_else(
            head in any_head(),
            salt in any::<[u8; 16]>(),
            other in any::<[u8; 16]>(),
            offset in any::<u64>(),
            moved in 1u64..,
        ) {
            let expected = (head.durable_to <= offset).then_some(head);
            let bytes = head.encode(Salt(salt), offset);
            prop_assert_eq!(Head::decode(&bytes, Salt(salt), offset), expected);
            prop_assert_eq!(Head::decode(&bytes, Salt(salt), offset.wrapping_add(moved)), None);
            prop_assume!(salt != other);
            prop_assert_eq!(Head::decode(&bytes, Salt(other), offset), None);
            prop_assert_ne!(Salt(salt).payload_sum(offset, b"x"), Salt(other).payload_sum(offset, b"x"));
            let moved_sum = Salt(salt).payload_sum(offset.wrapping_add(moved), b"x");
            prop_assert_ne!(Salt(salt).payload_sum(offset, b"x"), moved_sum);
        }

        #[test]
        fn any_flipped_bit_is_seen(head in any_head(), salt in any::<[u8; 16]>(), bit in 0..HEAD_BYTES * 8) {
            let head = Head { durable_to: head.durable_to % 65, ..head };
            let mut bytes = head.encode(Salt(salt), 64);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Head::decode(&bytes, Salt(salt), 64), None);
        }

        #[test]
        fn the_next_head_is_found_behind_any_rubbish(
            head in any_head(),
            rubbish in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let start = rubbish.len().next_multiple_of(ALIGN as usize);
            let head = Head { durable_to: head.durable_to % 801, ..head };
            let mut bytes = rubbish;
            bytes.resize(start, 7);
            bytes.extend(head.encode(Salt([3; 16]), 800 + start as u64));
            prop_assert_eq!(find_head(&bytes, Salt([3; 16]), 800), Some((start, head)));
        }
    }
}
