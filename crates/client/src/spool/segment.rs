//! The bytes of a segment: frames one after the other, each with one record. Pure.
//!
//! ```text
//! "PSR1" │ length u32 │ xxh3 u64 of length and payload │ payload
//! payload: {"import":"logs","log_type":"OKTA"} \n element of the request, as it will be sent
//! ```
//!
//! Numbers are little-endian. What does not check is passed over up to the next frame that does: at the end of the
//! newest segment that is a push that was cut off, anywhere else damage, which is kept apart.

use std::ops::Range;

use dialects::chronicle_api::encode::Import;
use memchr::memmem;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 4] = b"PSR1";
const HEADER_BYTES: usize = 16;

/// A record as a frame.
pub(super) fn frame(import: &Import<'_>, element: &[u8]) -> Vec<u8> {
    let mut payload = serde_json::to_vec(import).expect("an import is always JSON");
    payload.push(b'\n');
    payload.extend_from_slice(element);
    let length = u32::try_from(payload.len()).expect("a record fits a request, which is far below 4 GiB").to_le_bytes();
    [&MAGIC[..], &length, &hash(length, &payload).to_le_bytes(), &payload].concat()
}

/// What a segment holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The records in their order.
    pub records: Vec<(Import<'static>, Vec<u8>)>,
    /// What lies between good frames.
    pub damaged: Vec<Range<usize>>,
    /// Where the last good frame ends.
    pub end: usize,
}

pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(found) = memmem::find(&bytes[at..], MAGIC) {
        let start = at + found;
        match read(&bytes[start..]) {
            Some((record, length)) => {
                if start > scan.end {
                    scan.damaged.push(scan.end..start);
                }
                scan.records.push(record);
                scan.end = start + length;
                at = scan.end;
            }
            // Four bytes that only look like a frame, or a frame that is damaged.
            None => at = start + 1,
        }
    }
    scan
}

fn read(bytes: &[u8]) -> Option<((Import<'static>, Vec<u8>), usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let length_bytes: [u8; 4] = header[4..8].try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length_bytes)).ok()?;
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    if header[8..] != hash(length_bytes, payload).to_le_bytes() {
        return None;
    }
    let line = memchr::memchr(b'\n', payload)?;
    let import = serde_json::from_slice(&payload[..line]).ok()?;
    Some(((import, payload[line + 1..].to_vec()), HEADER_BYTES + length))
}

fn hash(length: [u8; 4], payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(number: usize) -> (Import<'static>, Vec<u8>) {
        let import = match number % 3 {
            0 => Import::Events,
            1 => Import::Logs { log_type: "OKTA".into(), forwarder: Some("f/é".into()) },
            _ => Import::Entities { log_type: "A".into() },
        };
        // Looks like a frame inside a frame.
        (import, format!("{{\"n\":{number},\"x\":\"PSR1\"}}").into_bytes())
    }

    fn segment(count: usize) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let ends = (0..count).map(|number| {
            let (import, element) = record(number);
            bytes.extend(frame(&import, &element));
            bytes.len()
        });
        let ends = ends.collect();
        (bytes, ends)
    }

    #[test]
    fn a_tail_that_is_cut_anywhere_costs_only_the_last_record() {
        let (bytes, ends) = segment(3);
        for length in 0..=bytes.len() {
            let scan = scan(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(scan.records, (0..whole).map(record).collect::<Vec<_>>(), "cut at {length}");
            assert!(scan.damaged.is_empty(), "cut at {length}");
            assert_eq!(scan.end, if whole == 0 { 0 } else { ends[whole - 1] });
        }
    }

    proptest! {
        #[test]
        fn a_damaged_record_costs_only_itself(count in 1usize..6, at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let (mut bytes, ends) = segment(count);
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let hit = ends.iter().position(|end| at < *end).unwrap();
            let scan = scan(&bytes);
            let expected: Vec<_> = (0..count).filter(|number| *number != hit).map(record).collect();
            prop_assert_eq!(scan.records, expected);
            let start = if hit == 0 { 0 } else { ends[hit - 1] };
            let damaged = (hit + 1 < count).then(|| start..ends[hit]);
            prop_assert!(scan.damaged.iter().eq(damaged.iter()), "{:?}", scan.damaged);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let scan = scan(&bytes);
            prop_assert!(scan.end <= bytes.len());
        }
    }
}
