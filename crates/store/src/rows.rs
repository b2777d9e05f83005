//! Rows of a part back to the events that they were written from, for rewriting them and for searches.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use event::{BatchMeta, Event, InstanceId, Kind, Position, RecordId, Time};

use crate::layout::column;

/// The row at `index` of a batch with every column of its table but perhaps `data`, if that is given, and those that earlier
/// versions did not write. `last` is the batch of the row before, which most rows share. `None` when a text of ours in it is not
/// what we write.
pub fn event(
    batch: &RecordBatch,
    index: usize,
    kind: Kind,
    data: Option<Bytes>,
    last: &mut Option<Arc<BatchMeta>>,
) -> Option<Event> {
    let text = |name| Some(batch.column_by_name(name)?.as_string::<i32>());
    let words = |name| Some(text(name)?.value(index).to_owned());
    let optional = |name| Some(text(name)?).filter(|column| column.is_valid(index)).map(|column| column.value(index));
    let time = |name| {
        let column = batch.column_by_name(name)?.as_primitive::<TimestampNanosecondType>();
        column.is_valid(index).then(|| Time::from_nanos(column.value(index)))
    };
    let number = |name| Some(batch.column_by_name(name)?.as_primitive::<UInt64Type>().value(index));
    let fixed =
        |name| -> Option<[u8; 16]> { batch.column_by_name(name)?.as_fixed_size_binary().value(index).try_into().ok() };
    let id = RecordId::from_u128(u128::from_be_bytes(fixed(column::RECORD_ID)?));
    let meta = match last.as_ref().filter(|last| last.id == id.batch()) {
        Some(last) => Arc::clone(last),
        None => {
            let labels = optional(column::LABELS);
            let meta = BatchMeta {
                id: id.batch(),
                instance: InstanceId::from_uuid(uuid::Uuid::from_bytes(fixed(column::INSTANCE)?)),
                kind,
                received_at: time(column::RECEIVED_AT)?,
                log_type: words(column::LOG_TYPE)?,
                feed: words(column::FEED)?,
                sender: words(column::SENDER)?,
                namespace: words(column::NAMESPACE)?,
                labels: labels.map_or(Some(Vec::new()), |text| serde_json::from_str(text).ok())?,
            };
            Arc::clone(last.insert(Arc::new(meta)))
        }
    };
    let issues = optional(column::ISSUES);
    let data = match data {
        Some(data) => data,
        None => Bytes::copy_from_slice(batch.column_by_name(column::DATA)?.as_binary::<i32>().value(index)),
    };
    Some(Event {
        batch: meta,
        position: Position { epoch: number(column::LOG_EPOCH)?, offset: number(column::LOG_OFFSET)? },
        index: id.index(),
        kind,
        data,
        sender_time: time(column::SENDER_TIME),
        collected_at: time(column::COLLECTED_AT),
        event_time: time(column::EVENT_TIME)?,
        issues: issues.map_or(Some(Vec::new()), |text| serde_json::from_str(text).ok())?,
        parser: optional(column::PARSER).map(Into::into),
        ordinal: match batch.column_by_name(column::ORDINAL) {
            Some(column) => column.as_primitive::<UInt32Type>().value(index),
            None => 0,
        },
    })
}
