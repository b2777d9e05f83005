//! The elements of one batch, encoded one after the other, and what a plan row remembers of them: whose they are and
//! how long each is, so that a stored body can be taken apart again without its events.

use std::sync::Arc;

use event::{BatchId, BatchMeta, RecordId};

/// Encoded records of a batch being built, without what a body puts around and between them.
#[derive(Debug, Default, Clone)]
pub struct Elements {
    bytes: Vec<u8>,
    members: Vec<Member>,
    /// What a target wrote last for a batch's own fields; records of one batch follow each other.
    pub(crate) memo: Memo,
}

/// One element: the record that it is of and its encoded length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The record.
    pub id: RecordId,
    /// Bytes of its element.
    pub bytes_len: u32,
}

/// The parts of an element that are the same for all records of a batch.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memo {
    pub batch: Option<Arc<BatchMeta>>,
    /// From the end of the id to the event's time.
    pub before: Vec<u8>,
    /// From the end of the event's time to the kind.
    pub middle: Vec<u8>,
    /// From the end of the kind to the name of the record's own field.
    pub after: Vec<u8>,
}

impl Elements {
    /// Appends the element that `write` writes.
    pub(crate) fn push(&mut self, id: RecordId, write: impl FnOnce(&mut Vec<u8>, &mut Memo)) {
        let start = self.bytes.len();
        write(&mut self.bytes, &mut self.memo);
        let bytes_len = u32::try_from(self.bytes.len() - start).expect("a record is far smaller than 4 GiB");
        self.members.push(Member { id, bytes_len });
    }

    /// Appends an element that is already encoded.
    pub fn push_encoded(&mut self, id: RecordId, element: &[u8]) {
        self.push(id, |bytes, _| bytes.extend_from_slice(element));
    }

    /// Takes the last element back, for the next batch.
    pub(crate) fn pop(&mut self) -> Option<(Member, Vec<u8>)> {
        let member = self.members.pop()?;
        let element = self.bytes.split_off(self.bytes.len() - member.bytes_len as usize);
        Some((member, element))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Bytes of all elements together.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Whose they are, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = (RecordId, &[u8])> {
        let mut rest = &self.bytes[..];
        self.members.iter().map(move |member| {
            let (element, after) = rest.split_at(member.bytes_len as usize);
            rest = after;
            (member.id, element)
        })
    }

    /// Both halves; the first gets the odd one.
    pub(crate) fn halves(&self) -> (Elements, Elements) {
        let middle = self.len().div_ceil(2);
        let (mut first, mut second) = (Elements::default(), Elements::default());
        for (index, (id, element)) in self.iter().enumerate() {
            if index < middle { &mut first } else { &mut second }.push_encoded(id, element);
        }
        (first, second)
    }
}

const FOLLOWS: u8 = 0;
const SAME_BATCH: u8 = 1;
const OTHER_BATCH: u8 = 2;

/// Packs members for a plan row: about three bytes for each record that follows its neighbour.
///
/// `(length:varint  0 | 1 index:varint | 2 batch:16 index:varint)*`, where 0 is the next index of the same batch.
pub(crate) fn pack(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::with_capacity(members.len() * 3 + 20);
    let mut last: Option<RecordId> = None;
    for member in members {
        put_varint(&mut out, member.bytes_len);
        match last {
            Some(last)
                if last.batch() == member.id.batch() && last.index().checked_add(1) == Some(member.id.index()) =>
            {
                out.push(FOLLOWS);
            }
            Some(last) if last.batch() == member.id.batch() => {
                out.push(SAME_BATCH);
                put_varint(&mut out, member.id.index());
            }
            _ => {
                out.push(OTHER_BATCH);
                out.extend_from_slice(&member.id.batch().as_u128().to_be_bytes());
                put_varint(&mut out, member.id.index());
            }
        }
        last = Some(member.id);
    }
    out
}

/// The members that [`pack`] packed; `None` when the bytes are not of its making.
pub(crate) fn unpack(mut packed: &[u8]) -> Option<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    while !packed.is_empty() {
        let bytes_len = take_varint(&mut packed)?;
        let tag = *packed.split_off_first()?;
        let last = members.last().map(|member| member.id);
        let id = match tag {
            FOLLOWS => last?.batch().record(last?.index().checked_add(1)?),
            SAME_BATCH => last?.batch().record(take_varint(&mut packed)?),
            OTHER_BATCH => {
                let bits = packed.split_off(..16)?;
                let batch = BatchId::from_u128(u128::from_be_bytes(bits.try_into().ok()?)).ok()?;
                batch.record(take_varint(&mut packed)?)
            }
            _ => return None,
        };
        members.push(Member { id, bytes_len });
    }
    Some(members)
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let member = (0u128..3, prop_oneof![0u32..5, any::<u32>()], any::<u32>());
        proptest::collection::vec(member, 0..60).prop_map(|members| {
            let id = |batch: u128, index| BatchId::from_u128(batch << 40).unwrap().record(index);
            members.into_iter().map(|(batch, index, bytes_len)| Member { id: id(batch, index), bytes_len }).collect()
        })
    }

    proptest! {
        #[test]
        fn members_survive_their_row(members in members()) {
            prop_assert_eq!(unpack(&pack(&members)), Some(members));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn records_in_a_row_cost_three_bytes() {
        let batch = BatchId::from_u128(7 << 40).unwrap();
        let members: Vec<_> = (0..1000).map(|index| Member { id: batch.record(index), bytes_len: 700 }).collect();
        assert!(pack(&members).len() < 3_050);
    }

    #[test]
    fn halves_keep_the_order() {
        let batch = BatchId::from_u128(7 << 40).unwrap();
        let mut elements = Elements::default();
        for (index, text) in ["a", "bb", "", "dddd", "e"].into_iter().enumerate() {
            elements.push_encoded(batch.record(index as u32), text.as_bytes());
        }
        let texts = |elements: &Elements| elements.iter().map(|(_, text)| text.to_vec()).collect::<Vec<_>>();
        let (first, second) = elements.halves();
        assert_eq!(texts(&first), [&b"a"[..], b"bb", b""]);
        assert_eq!(texts(&second), [&b"dddd"[..], b"e"]);
        assert_eq!(elements.pop().unwrap().1, b"e");
        assert_eq!(texts(&elements), [&b"a"[..], b"bb", b"", b"dddd"]);
    }
}
