//! A whole row, as it is handed out.

use std::sync::Arc;

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
    /// The row that an event is.
    pub(crate) fn of_event(event: Event) -> Row {
        let (id, batch) = (event.id(), Arc::unwrap_or_clone(event.batch));
        Row {
            id,
            instance: batch.instance,
            kind: event.kind,
            received_at: batch.received_at,
            event_time: event.event_time,
            sender_time: event.sender_time,
            collected_at: event.collected_at,
            log_type: batch.log_type,
            namespace: batch.namespace,
            labels: batch.labels,
            feed: batch.feed,
            sender: batch.sender,
            position: event.position,
            data: event.data,
            issues: event.issues,
            parser: event.parser.as_deref().map(str::to_owned),
            ordinal: event.ordinal,
        }
    }
}
