//! The bytes in which batches lie in a frame of the log (docs/log-format.md, "Payload").
//!
//! ```text
//! payload = version:u8 (1)  batches:varint  batch*
//! batch   = id:16  instance:16  received_at:i64le  kind:u8
//!           log_type feed sender namespace : (len:varint bytes)
//!           labels:varint (key:len+bytes  value:len+bytes  flags:u8)*
//!           records:varint  (len:varint flags:u8 [sender_time:i64le] [collected_at:i64le] [fault: len+bytes])*
//!           data: the records' bytes, one after the other
//! ```
//!
//! A frame's checksum is the log's business; decoding still trusts no length, since `penstock log verify` and the fuzz
//! targets read anything.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Batch, BatchId, BatchMeta, InstanceId, Kind, Label, Record, Time, limits};

const VERSION: u8 = 1;

/// Why bytes are no payload of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Made by a newer Penstock.
    #[error("payload version {0} is newer than this Penstock reads (1)")]
    Version(u8),
    /// Not what the format says, at this byte.
    #[error("not a payload of batches: {what} at byte {at}")]
    Malformed {
        /// What was expected there.
        what: &'static str,
        /// Offset in the payload.
        at: usize,
    },
}

/// The payload that holds these batches, in this order.
pub fn encode(batches: &[Batch]) -> Vec<u8> {
    let estimate: usize =
        batches.iter().map(|batch| batch.data_bytes() + batch.records.len() * 12 + 256).sum::<usize>() + 16;
    let mut out = Vec::with_capacity(estimate);
    out.push(VERSION);
    put_varint(&mut out, batches.len() as u64);
    for batch in batches {
        encode_batch(&mut out, batch);
    }
    out
}

fn encode_batch(out: &mut Vec<u8>, batch: &Batch) {
    let meta = &*batch.meta;
    out.extend_from_slice(&meta.id.as_u128().to_be_bytes());
    out.extend_from_slice(meta.instance.uuid().as_bytes());
    out.extend_from_slice(&meta.received_at.nanos().to_le_bytes());
    out.push(match meta.kind {
        Kind::Raw => 0,
        Kind::Udm => 1,
        Kind::Entity => 2,
    });
    for text in [&meta.log_type, &meta.feed, &meta.sender, &meta.namespace] {
        put_text(out, text);
    }
    put_varint(out, meta.labels.len() as u64);
    for label in &meta.labels {
        put_text(out, &label.key);
        put_text(out, &label.value);
        out.push(u8::from(label.rbac_enabled));
    }
    put_varint(out, batch.records.len() as u64);
    for record in &batch.records {
        put_varint(out, record.data.len() as u64);
        out.push(
            u8::from(record.sender_time.is_some())
                | u8::from(record.collected_at.is_some()) << 1
                | u8::from(record.fault.is_some()) << 2,
        );
        for time in [record.sender_time, record.collected_at].into_iter().flatten() {
            out.extend_from_slice(&time.nanos().to_le_bytes());
        }
        if let Some(fault) = &record.fault {
            put_text(out, fault);
        }
    }
    for record in &batch.records {
        out.extend_from_slice(&record.data);
    }
}

/// The batches of a payload; their records are slices of it, not copies.
pub fn decode(payload: &Bytes) -> Result<Vec<Batch>, CodecError> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let version = reader.u8("version")?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let count = reader.count(1, "number of batches")?;
    let batches = (0..count).map(|_| decode_batch(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    if reader.at != payload.len() {
        return Err(reader.malformed("end"));
    }
    Ok(batches)
}

fn decode_batch(reader: &mut Reader<'_>) -> Result<Batch, CodecError> {
    let id = u128::from_be_bytes(reader.array("batch id")?);
    let id = BatchId::from_u128(id).map_err(|_| reader.malformed("batch id"))?;
    let instance = InstanceId::from_uuid(uuid::Uuid::from_bytes(reader.array("instance")?));
    let received_at = reader.time("received_at")?;
    let kind = match reader.u8("kind")? {
        0 => Kind::Raw,
        1 => Kind::Udm,
        2 => Kind::Entity,
        _ => return Err(reader.malformed("kind")),
    };
    let log_type = reader.text("log type")?;
    let feed = reader.text("feed")?;
    let sender = reader.text("sender")?;
    let namespace = reader.text("namespace")?;
    let labels = (0..reader.count(3, "number of labels")?)
        .map(|_| {
            let key = reader.text("label key")?;
            let value = reader.text("label value")?;
            Ok(Label { key, value, rbac_enabled: reader.u8("label flags")? & 1 != 0 })
        })
        .collect::<Result<Vec<_>, CodecError>>()?;
    let count = reader.count(2, "number of records")?;
    if count > limits::BATCH_RECORDS_MAX {
        return Err(reader.malformed("number of records"));
    }
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let len = reader.varint("record length")?;
        let flags = reader.u8("record flags")?;
        if flags & !7 != 0 {
            return Err(reader.malformed("record flags"));
        }
        let sender_time = if flags & 1 != 0 { Some(reader.time("sender time")?) } else { None };
        let collected_at = if flags & 2 != 0 { Some(reader.time("collector's time")?) } else { None };
        let fault = if flags & 4 != 0 { Some(reader.text("fault")?) } else { None };
        heads.push((len, sender_time, collected_at, fault));
    }
    let mut records = Vec::with_capacity(count);
    for (len, sender_time, collected_at, fault) in heads {
        let data = reader.slice(len, "record")?;
        records.push(Record { data, sender_time, collected_at, fault });
    }
    let meta = BatchMeta { id, instance, kind, received_at, log_type, feed, sender, namespace, labels };
    Ok(Batch { meta: Arc::new(meta), records })
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn malformed(&self, what: &'static str) -> CodecError {
        CodecError::Malformed { what, at: self.at }
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed(what))?;
        self.at += 1;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let end = self.at.checked_add(N).ok_or_else(|| self.malformed(what))?;
        let slice = self.bytes.get(self.at..end).ok_or_else(|| self.malformed(what))?;
        self.at = end;
        Ok(slice.try_into().expect("the slice was taken with this length"))
    }

    fn time(&mut self, what: &'static str) -> Result<Time, CodecError> {
        Ok(Time::from_nanos(i64::from_le_bytes(self.array(what)?)))
    }

    fn varint(&mut self, what: &'static str) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed(what))
    }

    /// A number of things of at least `bytes_min` bytes each: no more than the rest can hold, so that a bad count
    /// allocates nothing.
    fn count(&mut self, bytes_min: usize, what: &'static str) -> Result<usize, CodecError> {
        let count = self.varint(what)?;
        let rest = (self.bytes.len() - self.at) / bytes_min;
        usize::try_from(count).ok().filter(|count| *count <= rest).ok_or_else(|| self.malformed(what))
    }

    fn slice(&mut self, len: u64, what: &'static str) -> Result<Bytes, CodecError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or_else(|| self.malformed(what))?;
        let slice = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    fn text(&mut self, what: &'static str) -> Result<String, CodecError> {
        let len = self.varint(what)?;
        let slice = self.slice(len, what)?;
        String::from_utf8(slice.to_vec()).map_err(|_| self.malformed(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = Time> {
        any::<i64>().prop_map(Time::from_nanos)
    }

    fn any_batch() -> impl Strategy<Value = Batch> {
        let record = (
            prop::collection::vec(any::<u8>(), 0..40),
            prop::option::of(any_time()),
            prop::option::of(any_time()),
            prop::option::of(".{0,9}"),
        )
            .prop_map(|(data, sender_time, collected_at, fault)| Record {
                data: data.into(),
                sender_time,
                collected_at,
                fault,
            });
        let label = (".{0,8}", ".{0,8}", any::<bool>()).prop_map(|(key, value, rbac_enabled)| Label {
            key,
            value,
            rbac_enabled,
        });
        (
            (any::<u128>(), any::<u128>(), 0..3u8, any_time()),
            ("[A-Z_]{0,9}", ".{0,9}", ".{0,9}", ".{0,9}"),
            prop::collection::vec(label, 0..3),
            prop::collection::vec(record, 0..6),
        )
            .prop_map(
                |((id, instance, kind, received_at), (log_type, feed, sender, namespace), labels, records)| Batch {
                    meta: Arc::new(BatchMeta {
                        id: BatchId::from_u128(id & !0xFFFF_FFFF).unwrap(),
                        instance: InstanceId::from_uuid(uuid::Uuid::from_u128(instance)),
                        kind: [Kind::Raw, Kind::Udm, Kind::Entity][kind as usize],
                        received_at,
                        log_type,
                        feed,
                        sender,
                        namespace,
                        labels,
                    }),
                    records,
                },
            )
    }

    proptest! {
        #[test]
        fn batches_survive_the_log(batches in prop::collection::vec(any_batch(), 0..4)) {
            prop_assert_eq!(decode(&encode(&batches).into()).unwrap(), batches);
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), truncate in any::<prop::sample::Index>()) {
            let _ = decode(&bytes.clone().into());
            if !bytes.is_empty() {
                bytes[0] = VERSION;
                bytes.truncate(truncate.index(bytes.len()) + 1);
                let _ = decode(&bytes.into());
            }
        }

        #[test]
        fn a_flipped_byte_never_panics(batches in prop::collection::vec(any_batch(), 1..3), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut bytes = encode(&batches);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = decode(&bytes.into());
        }
    }

    #[test]
    fn a_newer_payload_is_refused_by_name() {
        assert_eq!(decode(&Bytes::from_static(&[2, 0])), Err(CodecError::Version(2)));
    }
}
