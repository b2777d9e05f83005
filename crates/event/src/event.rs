//! What one record means. Store, search and targets see this.

use std::sync::Arc;

use bytes::Bytes;

use crate::{BatchMeta, Kind, Position, RecordId, Time};

/// One thing that is known of one record: the raw log itself, or a UDM event or entity that was sent or came of it.
#[derive(Debug, Clone)]
pub struct Event {
    /// What its batch says.
    pub batch: Arc<BatchMeta>,
    /// The frame in the log that holds its batch.
    pub position: Position,
    /// The record's index in its batch.
    pub index: u32,
    /// What `data` is.
    pub kind: Kind,
    /// The raw text as sent, or the UDM event or entity as JSON.
    pub data: Bytes,
    /// The sender's time beside the record, if it gave one.
    pub sender_time: Option<Time>,
    /// The sender's collector's time, if it gave one.
    pub collected_at: Option<Time>,
    /// When it happened: UDM: its own timestamp; raw: the sender's time, else that of the first event that a parser made of it;
    /// failing those, when it was received.
    pub event_time: Time,
    /// What was met on the way that a reader should know.
    pub issues: Vec<Issue>,
    /// The parser that read the record, with its extension: on the raw record, whatever came of it, and on what it made.
    /// `None` for what was sent as UDM, and where nothing is parsed.
    pub parser: Option<Arc<str>>,
    /// Which of the events and entities that came of the record this is, from 0. The record itself is 0.
    pub ordinal: u32,
}

impl Event {
    /// The id of the record that this came of.
    pub fn id(&self) -> RecordId {
        self.batch.id.record(self.index)
    }

    /// Whether a parser made it, instead of a sender.
    pub fn is_parsed(&self) -> bool {
        self.kind != self.batch.kind
    }
}

/// Something about a record that is not as it should be, kept with it instead of refusing it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issue {
    /// Path of the field, or empty for the record as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, in a sentence.
    pub message: String,
}
