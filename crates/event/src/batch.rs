//! What one sender said in one request, unchanged. This is what the log keeps.

use std::sync::Arc;

use bytes::Bytes;

use crate::{BatchId, InstanceId, Time};

/// All records that came in one request with the same meaning around them (instance, log type, namespace, labels).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What holds for every record; shared, since every event that comes of the batch refers to it.
    pub meta: Arc<BatchMeta>,
    /// The records in the sender's order. Never empty in the log.
    pub records: Vec<Record>,
}

/// What a batch says about all its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMeta {
    /// Made before the append; record ids derive from it.
    pub id: BatchId,
    /// The tenant.
    pub instance: InstanceId,
    /// What the records are.
    pub kind: Kind,
    /// When the request's body had been read.
    pub received_at: Time,
    /// The log type that the sender named; `UDM` for UDM events that came without one.
    pub log_type: String,
    /// The named way in (forwarder, intake, OCI log) or empty.
    pub feed: String,
    /// The account or key that sent it, never a secret: an account's e-mail address or a key's id.
    pub sender: String,
    /// The environment namespace, or empty.
    pub namespace: String,
    /// The sender's labels, in its order.
    pub labels: Vec<Label>,
}

impl BatchMeta {
    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let texts = self.log_type.len() + self.feed.len() + self.sender.len() + self.namespace.len();
        // Each text is an allocation with a head and a tail of its own.
        let labels = self.labels.len() * (size_of::<Label>() + 32) + Label::bytes_of(&self.labels);
        size_of::<BatchMeta>() + 16 + 4 * 16 + texts + labels
    }
}

/// What the records of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The text of a log line, as the device wrote it.
    Raw,
    /// A UDM event as JSON.
    Udm,
    /// A UDM entity as JSON.
    Entity,
}

impl Kind {
    /// The word for it on the wire of our own API: `raw`, `udm`, `entity`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Udm => "udm",
            Kind::Entity => "entity",
        }
    }
}

/// A key and value that the sender attached to the batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Label {
    /// The label's name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether Google's data access control is to look at it (`rbac_enabled`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rbac_enabled: bool,
}

impl Label {
    /// How many bytes the keys and values of these have.
    pub fn bytes_of(labels: &[Label]) -> usize {
        labels.iter().map(|label| label.key.len() + label.value.len()).sum()
    }
}

/// One record: its bytes as the sender meant them (a JSON string unescaped, a JSON object as it stood in the body).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The text or JSON. Usually a slice of the request's body or of the log's frame.
    pub data: Bytes,
    /// The time that the sender gave for it beside the text (`ts_epoch_microseconds`, `ts_rfc3339`, `log_entry_time`).
    pub sender_time: Option<Time>,
    /// When the sender's own collector took it in (`collection_time`).
    pub collected_at: Option<Time>,
    /// Why the record was set aside when it came in (`on_invalid = "quarantine"`): it is committed like the others, but
    /// goes to the set-aside records instead of the tables. `None` for every good record.
    pub fault: Option<String>,
}

impl Record {
    /// A good record without times of its own.
    pub fn new(data: impl Into<Bytes>) -> Record {
        Record { data: data.into(), sender_time: None, collected_at: None, fault: None }
    }
}

impl Batch {
    /// Sum of the records' bytes.
    pub fn data_bytes(&self) -> usize {
        self.records.iter().map(|record| record.data.len()).sum()
    }
}
