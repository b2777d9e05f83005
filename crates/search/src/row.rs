//! A whole row, as it is handed out.

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use event::{Event, InstanceId, Issue, Kind, Label, Position, RecordId, Time};
use store::column;

/// All that is known of one row, exactly as its batch and record said it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The record that it came of.
    pub id: RecordId,
    /// The tenant.
    pub instance: InstanceId,
    /// What `data` is.
    pub kind: Kind,
    /// When the request's body had been read.
    pub received_at: Time,
    /// When it happened.
    pub event_time: Time,
    /// The sender's time, if it gave one.
    pub sender_time: Option<Time>,
    /// The sender's collector's time, if it gave one.
    pub collected_at: Option<Time>,
    /// The log type.
    pub log_type: String,
    /// The environment namespace, or empty.
    pub namespace: String,
    /// The sender's labels, in its order.
    pub labels: Vec<Label>,
    /// The named way in, or empty.
    pub feed: String,
    /// The account or key that sent it.
    pub sender: String,
    /// The frame in the log that held it.
    pub position: Position,
    /// The raw text or the UDM JSON, byte for byte as sent.
    pub data: Bytes,
    /// What was met on the way.
    pub issues: Vec<Issue>,
    /// The parser that read the record, or that made this of it; `None` for what was sent as UDM.
    pub parser: Option<String>,
    /// Which of the events and entities of its record it is, from 0.
    pub ordinal: u32,
}

/// The columns that a row is made of, without `data`.
pub(crate) const COLUMNS: [&str; 16] = [
    column::RECORD_ID,
    column::INSTANCE,
    column::LOG_EPOCH,
    column::LOG_OFFSET,
    column::RECEIVED_AT,
    column::SENDER_TIME,
    column::COLLECTED_AT,
    column::EVENT_TIME,
    column::LOG_TYPE,
    column::NAMESPACE,
    column::FEED,
    column::SENDER,
    column::LABELS,
    column::ISSUES,
    column::PARSER,
    column::ORDINAL,
];

impl Row {
    /// The row that is still in memory.
    pub(crate) fn of_event(event: &Event) -> Row {
        let batch = &event.batch;
        Row {
            id: event.id(),
            instance: batch.instance,
            kind: event.kind,
            received_at: batch.received_at,
            event_time: event.event_time,
            sender_time: event.sender_time,
            collected_at: event.collected_at,
            log_type: batch.log_type.clone(),
            namespace: batch.namespace.clone(),
            labels: batch.labels.clone(),
            feed: batch.feed.clone(),
            sender: batch.sender.clone(),
            position: event.position,
            data: event.data.clone(),
            issues: event.issues.clone(),
            parser: event.parser.as_deref().map(str::to_owned),
            ordinal: event.ordinal,
        }
    }

    /// The row at `index` of a batch that has [`COLUMNS`], and `data` unless that is given. `None` when a text of ours
    /// in it is not what we write.
    pub(crate) fn of_columns(batch: &RecordBatch, index: usize, kind: Kind, data: Option<Bytes>) -> Option<Row> {
        let text = |name| batch.column_by_name(name).map(|column| column.as_string::<i32>());
        let words = |name| text(name).map(|column| column.value(index).to_owned());
        let time = |name| {
            let column = batch.column_by_name(name)?.as_primitive::<TimestampNanosecondType>();
            column.is_valid(index).then(|| Time::from_nanos(column.value(index)))
        };
        let number = |name| Some(batch.column_by_name(name)?.as_primitive::<UInt64Type>().value(index));
        let labels = text(column::LABELS)?;
        let issues = text(column::ISSUES)?;
        let data = match data {
            Some(data) => data,
            None => Bytes::copy_from_slice(batch.column_by_name(column::DATA)?.as_binary::<i32>().value(index)),
        };
        Some(Row {
            id: record_id(batch, index)?,
            instance: instance(batch, index)?,
            kind,
            received_at: time(column::RECEIVED_AT)?,
            event_time: time(column::EVENT_TIME)?,
            sender_time: time(column::SENDER_TIME),
            collected_at: time(column::COLLECTED_AT),
            log_type: words(column::LOG_TYPE)?,
            namespace: words(column::NAMESPACE)?,
            labels: if labels.is_null(index) { Vec::new() } else { serde_json::from_str(labels.value(index)).ok()? },
            feed: words(column::FEED)?,
            sender: words(column::SENDER)?,
            position: Position { epoch: number(column::LOG_EPOCH)?, offset: number(column::LOG_OFFSET)? },
            data,
            issues: if issues.is_null(index) { Vec::new() } else { serde_json::from_str(issues.value(index)).ok()? },
            // Parts of before there was parsing have neither.
            parser: text(column::PARSER)
                .filter(|column| column.is_valid(index))
                .map(|column| column.value(index).to_owned()),
            ordinal: batch
                .column_by_name(column::ORDINAL)
                .map_or(0, |column| column.as_primitive::<UInt32Type>().value(index)),
        })
    }
}

fn record_id(batch: &RecordBatch, index: usize) -> Option<RecordId> {
    let bytes = batch.column_by_name(column::RECORD_ID)?.as_fixed_size_binary().value(index);
    Some(RecordId::from_u128(u128::from_be_bytes(bytes.try_into().ok()?)))
}

fn instance(batch: &RecordBatch, index: usize) -> Option<InstanceId> {
    let bytes = batch.column_by_name(column::INSTANCE)?.as_fixed_size_binary().value(index);
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(InstanceId::from_uuid(uuid::Uuid::from_bytes(bytes)))
}
