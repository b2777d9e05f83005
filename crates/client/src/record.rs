//! What is sent: raw logs with what is known about them, UDM events, entities. Here they become the elements of a
//! request, once; after that only bytes are moved.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dialects::chronicle_api::encode::{self, Import};
use event::{Label, Time, limits};
use serde_json::{Map, Value, json};

use crate::clock::{Clock, time_of};
use crate::error::Error;

/// A raw log with what is known about it.
///
/// ```
/// use penstock_client::LogEntry;
///
/// let entry = LogEntry::new("OKTA", r#"{"eventType":"user.session.start"}"#)
///     .entry_timestamp("2023-01-01T12:00:00Z")
///     .namespace("corp")
///     .label("site", "Zürich");
/// // The same from the dictionary that the Python examples pass:
/// let entry: LogEntry = serde_json::from_str(r#"{"log_type":"OKTA","log_message":"…"}"#)?;
/// // Or just the two:
/// let entry = LogEntry::from(("OKTA", "…"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(from = "Item")]
pub struct LogEntry {
    log_type: String,
    data: Vec<u8>,
    entry_timestamp: Option<Timestamp>,
    collection_timestamp: Option<Timestamp>,
    namespace: String,
    labels: Vec<Label>,
    forwarder: Option<String>,
}

impl LogEntry {
    /// A log of this type. The message is sent as it is, as one record, and need not be text.
    pub fn new(log_type: impl Into<String>, log_message: impl Into<Vec<u8>>) -> LogEntry {
        LogEntry {
            log_type: log_type.into(),
            data: log_message.into(),
            entry_timestamp: None,
            collection_timestamp: None,
            namespace: String::new(),
            labels: Vec::new(),
            forwarder: None,
        }
    }

    /// When the event occurred: RFC 3339 with a zone, or a time. By default the collection's time.
    pub fn entry_timestamp(mut self, time: impl Into<Timestamp>) -> Self {
        self.entry_timestamp = Some(time.into());
        self
    }

    /// When the log was collected; not before the entry's time. By default now.
    pub fn collection_timestamp(mut self, time: impl Into<Timestamp>) -> Self {
        self.collection_timestamp = Some(time.into());
        self
    }

    /// The environment namespace: which part of the organisation addresses in the log belong to.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Adds a label; one of the same key is replaced.
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.add(Label { key: key.into(), value: value.into(), rbac_enabled: false })
    }

    /// Adds a label that Google's data access control looks at. Plain labels do not count there, unlike in the older
    /// Ingestion API.
    pub fn rbac_label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.add(Label { key: key.into(), value: value.into(), rbac_enabled: true })
    }

    /// The forwarder that the log came through: its id or its resource name. None is named unless this is called: the
    /// API does not need one, and naming one would cost two more calls and an object in the instance that nobody asked
    /// for, as Google's Python SDK makes them.
    pub fn forwarder(mut self, forwarder: impl Into<String>) -> Self {
        self.forwarder = Some(forwarder.into());
        self
    }

    fn add(mut self, label: Label) -> Self {
        match self.labels.iter_mut().find(|known| known.key == label.key) {
            Some(known) => *known = label,
            None => self.labels.push(label),
        }
        self
    }

    /// The element of a request for it, and the request that it belongs to.
    pub(crate) fn encode(&self, parent: &str, clock: &dyn Clock) -> Result<(Import<'static>, Vec<u8>), Error> {
        check_log_type(&self.log_type)?;
        if self.namespace.len() > limits::LABEL_BYTES_MAX {
            return Err(Error::invalid("namespace", "it is too long"));
        }
        let read = |what, time: &Option<Timestamp>| time.as_ref().map(|time| time.read(what)).transpose();
        let entry = read("entry_timestamp", &self.entry_timestamp)?;
        let collection = read("collection_timestamp", &self.collection_timestamp)?;
        let (entry, collection) = match (entry, collection) {
            (Some(entry), Some(collection)) if collection < entry => {
                let why = format!("{collection} is before entry_timestamp {entry}");
                return Err(Error::invalid("collection_timestamp", why));
            }
            (Some(entry), Some(collection)) => (entry, collection),
            // A sender's clock may be ahead of ours; the API refuses a collection before the entry.
            (Some(entry), None) => (entry, entry.max(clock.now())),
            (None, Some(collection)) => (collection, collection),
            (None, None) => {
                let now = clock.now();
                (now, now)
            }
        };
        let element = encode::log(&encode::Log {
            data: &self.data,
            log_entry_time: Some(entry),
            collection_time: Some(collection),
            environment_namespace: &self.namespace,
            labels: &self.labels,
        });
        let forwarder =
            self.forwarder.as_deref().map(|forwarder| resource_name(parent, "forwarders", forwarder).into());
        Ok((Import::Logs { log_type: self.log_type.clone().into(), forwarder }, element))
    }
}

/// A log type and a message.
impl<T: Into<String>, D: Into<Vec<u8>>> From<(T, D)> for LogEntry {
    fn from((log_type, log_message): (T, D)) -> LogEntry {
        LogEntry::new(log_type, log_message)
    }
}

/// The keys of the Python examples' dictionaries.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    log_type: String,
    log_message: String,
    #[serde(default)]
    entry_timestamp: Option<String>,
    #[serde(default)]
    collection_timestamp: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    forwarder: Option<String>,
}

impl From<Item> for LogEntry {
    fn from(item: Item) -> LogEntry {
        let labels = item.labels.into_iter().map(|(key, value)| Label { key, value, rbac_enabled: false }).collect();
        LogEntry {
            log_type: item.log_type,
            data: item.log_message.into_bytes(),
            entry_timestamp: item.entry_timestamp.map(Timestamp::from),
            collection_timestamp: item.collection_timestamp.map(Timestamp::from),
            namespace: item.namespace.unwrap_or_default(),
            labels,
            forwarder: item.forwarder,
        }
    }
}

/// A point in time as callers have it: RFC 3339 text, which is read when it is sent, or a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp(Given);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Text(String),
    Time(Time),
}

impl Timestamp {
    pub(crate) fn read(&self, what: &'static str) -> Result<Time, Error> {
        match &self.0 {
            Given::Time(time) => Ok(*time),
            Given::Text(text) => text.parse().map_err(|error| Error::invalid(what, format!("{text:?}: {error}"))),
        }
    }
}

impl From<&str> for Timestamp {
    fn from(text: &str) -> Timestamp {
        Timestamp(Given::Text(text.to_owned()))
    }
}

impl From<String> for Timestamp {
    fn from(text: String) -> Timestamp {
        Timestamp(Given::Text(text))
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Timestamp {
        Timestamp(Given::Time(time))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        Timestamp(Given::Time(time_of(time)))
    }
}

/// The element for a UDM event: the event as it is, with `metadata.event_timestamp` (now) and `metadata.id` (random)
/// where it has none in either spelling. What the caller wrote is never changed.
pub(crate) fn encode_event(event: impl serde::Serialize, clock: &dyn Clock) -> Result<Vec<u8>, Error> {
    let mut event = object("event", event)?;
    let metadata = event.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    // Metadata of another kind is the receiver's to refuse: it says so with the field's name.
    if let Value::Object(metadata) = metadata {
        let is_absent = |metadata: &Map<String, Value>, names: &[&str]| {
            names.iter().all(|name| metadata.get(*name).is_none_or(Value::is_null))
        };
        if is_absent(metadata, &["event_timestamp", "eventTimestamp"]) {
            metadata.remove("eventTimestamp");
            metadata.insert("event_timestamp".to_owned(), json!(clock.now()));
        }
        if is_absent(metadata, &["id"]) {
            metadata.insert("id".to_owned(), json!(STANDARD.encode(clock.random_id())));
        }
    }
    Ok(encode::event(Value::Object(event).to_string().as_bytes()))
}

/// The element for an entity: the entity as it is.
pub(crate) fn encode_entity(entity: impl serde::Serialize) -> Result<Vec<u8>, Error> {
    Ok(Value::Object(object("entity", entity)?).to_string().into_bytes())
}

fn object(what: &'static str, value: impl serde::Serialize) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::String(_)) => Err(Error::invalid(what, "it is a text, not a JSON object: parse it first")),
        Ok(_) => Err(Error::invalid(what, "it is not a JSON object")),
        Err(error) => Err(Error::invalid(what, error.to_string())),
    }
}

/// What could never be a log type is not worth a request. Which types exist is the receiver's to say.
pub(crate) fn check_log_type(log_type: &str) -> Result<(), Error> {
    let is_name = log_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if log_type.is_empty() || log_type.len() > limits::LOG_TYPE_BYTES_MAX || !is_name {
        return Err(Error::invalid("log_type", format!("{log_type:?} is not the name of a log type, such as OKTA")));
    }
    Ok(())
}

/// The full name of a resource of the instance that is given by its id or by its full name.
pub(crate) fn resource_name(parent: &str, collection: &str, given: &str) -> String {
    if given.contains('/') { given.to_owned() } else { format!("{parent}/{collection}/{given}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Waiting;
    use std::time::Duration;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Time {
            "2026-11-21T22:00:00Z".parse().unwrap()
        }
        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration) -> Waiting {
            unreachable!("nothing here waits")
        }
        fn random(&self) -> f64 {
            0.0
        }
        fn random_id(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    fn encoded(entry: &LogEntry) -> Result<String, String> {
        let (_, element) = entry.encode("P", &Still).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(element).unwrap())
    }

    #[test]
    fn the_times_of_a_log_are_the_callers_or_now() {
        let now = "2026-11-21T22:00:00Z";
        let earlier = "2023-01-01T12:00:00Z";
        let cases = [
            (None, None, Ok((now, now))),
            (Some(earlier), None, Ok((earlier, now))),
            (None, Some(earlier), Ok((earlier, earlier))),
            (Some("2023-01-01T13:00:00+01:00"), Some("2023-01-01T12:05:00Z"), Ok((earlier, "2023-01-01T12:05:00Z"))),
            (Some(earlier), Some(earlier), Ok((earlier, earlier))),
            (Some("2027-01-01T00:00:00Z"), None, Ok(("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"))),
            (Some(now), Some(earlier), Err("collection_timestamp: 2023-01-01T12:00:00Z is before")),
            (Some("2023-01-01"), None, Err("entry_timestamp: \"2023-01-01\": expected RFC 3339")),
            (None, Some("2023-01-01T12:00:00"), Err("collection_timestamp: \"2023-01-01T12:00:00\": the zone")),
        ];
        for (entry, collection, expected) in cases {
            let mut log = LogEntry::new("OKTA", "x");
            log.entry_timestamp = entry.map(Timestamp::from);
            log.collection_timestamp = collection.map(Timestamp::from);
            match (encoded(&log), expected) {
                (Ok(element), Ok((entry, collection))) => {
                    let expected =
                        format!(r#"{{"data":"eA==","logEntryTime":"{entry}","collectionTime":"{collection}"}}"#);
                    assert_eq!(element, expected);
                }
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}, expected {part}"),
                (got, expected) => panic!("{got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn what_belongs_to_all_logs_of_a_request_is_kept_apart() {
        let import = |entry: &LogEntry| entry.encode("projects/p/locations/l/instances/i", &Still).unwrap().0;
        let of = |forwarder: Option<&str>| Import::Logs {
            log_type: "OKTA".into(),
            forwarder: forwarder.map(|name| name.to_owned().into()),
        };
        let full = "projects/q/locations/l/instances/j/forwarders/f";
        assert_eq!(import(&LogEntry::new("OKTA", "x")), of(None));
        assert_eq!(import(&LogEntry::new("OKTA", "x").forwarder(full)), of(Some(full)));
        let short = import(&LogEntry::new("OKTA", "x").forwarder("f"));
        assert_eq!(short, of(Some("projects/p/locations/l/instances/i/forwarders/f")));
        for log_type in ["", "OK TA", "..", "A/B", "Ä", &"A".repeat(65)] {
            assert!(encoded(&LogEntry::new(log_type, "x")).is_err(), "{log_type:?}");
        }
    }

    #[test]
    fn a_label_given_twice_is_the_second() {
        let entry = LogEntry::new("OKTA", "x").label("a", "1").label("b", "2").rbac_label("a", "3");
        let element = encoded(&entry).unwrap();
        assert!(
            element.ends_with(r#""labels":{"a":{"value":"3","rbacEnabled":true},"b":{"value":"2"}}}"#),
            "{element}"
        );
    }

    #[test]
    fn a_dictionary_of_the_examples_is_a_log() {
        let text = r#"{"log_type":"OKTA","log_message":"x","entry_timestamp":"2023-01-01T12:00:00Z",
            "namespace":"ns","labels":{"a":"1"},"forwarder":"f"}"#;
        let expected = LogEntry::new("OKTA", "x")
            .entry_timestamp("2023-01-01T12:00:00Z")
            .namespace("ns")
            .label("a", "1")
            .forwarder("f");
        assert_eq!(serde_json::from_str::<LogEntry>(text).unwrap(), expected);
        assert!(serde_json::from_str::<LogEntry>(r#"{"log_type":"OKTA","log_mesage":"x"}"#).is_err());
    }

    #[test]
    fn an_event_gets_what_it_lacks_and_keeps_what_it_has() {
        let added = r#""event_timestamp":"2026-11-21T22:00:00Z","id":"AAAAAAAAAAAAAAAAAAAAAA==""#;
        let cases = [
            (r#"{"metadata":{"event_type":"X"}}"#, Ok(format!(r#"{{"metadata":{{"event_type":"X",{added}}}}}"#))),
            (r#"{"a":1}"#, Ok(format!(r#"{{"a":1,"metadata":{{{added}}}}}"#))),
            (r#"{"metadata":null}"#, Ok(format!(r#"{{"metadata":{{{added}}}}}"#))),
            (r#"{"metadata":{"id":null,"eventTimestamp":null}}"#, Ok(
                r#"{"metadata":{"id":"AAAAAAAAAAAAAAAAAAAAAA==","event_timestamp":"2026-11-21T22:00:00Z"}}"#.to_owned(),
            )),
            (
                r#"{"metadata":{"id":"mine","eventTimestamp":"soon","event_id":"e"},"principal":{"ip":"10.0.0.1"}}"#,
                Ok(r#"{"metadata":{"id":"mine","eventTimestamp":"soon","event_id":"e"},"principal":{"ip":"10.0.0.1"}}"#
                    .to_owned()),
            ),
            (r#"{"metadata":7}"#, Ok(r#"{"metadata":7}"#.to_owned())),
            (r#"[1]"#, Err("event: it is not a JSON object")),
            (r#""{}""#, Err("event: it is a text")),
        ];
        for (text, expected) in cases {
            let event: Value = serde_json::from_str(text).unwrap();
            let got = encode_event(&event, &Still).map(|element| String::from_utf8(element).unwrap());
            match (got, expected) {
                (Ok(element), Ok(expected)) => assert_eq!(element, format!(r#"{{"udm":{expected}}}"#)),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
