//! What is sent of the records: which call takes them, how many fit one request, and the time that they carry. Pure.
//!
//! Every batch carries a time of its own: the receiver knows a batch that comes twice by its records and their times, so
//! two batches of the same lines must differ in them, and a batch that is sent again must not.

use std::collections::HashMap;

use dialects::chronicle_api::encode::Import;
use event::{Time, limits};
use penstock_client::{BatchResult, Chronicle, Error, LogEntry, Spool};
use serde_json::Value;

use super::read::Record;

/// What the records are.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Raw logs.
    Logs(Logs),
    /// UDM events, each a JSON object.
    Udm,
    /// Entities of this log type, each a JSON object.
    Entities(String),
}

/// What is said of all raw logs.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    /// Their log type.
    pub log_type: String,
    /// The forwarder that they come through.
    pub forwarder: Option<String>,
    /// Their namespace; empty for none.
    pub namespace: String,
    /// Their labels.
    pub labels: Vec<(String, String)>,
    /// When they happened, if that is not when they are read.
    pub times: Option<Times>,
}

/// The times that all logs are said to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When they happened.
    pub entry: Time,
    /// When they were collected; when they are sent, if absent.
    pub collection: Option<Time>,
}

impl Kind {
    /// What a record of this length takes in a request, at most.
    fn cost(&self, length: usize) -> usize {
        match self {
            Kind::Logs(logs) => {
                let text = |text: &str| Value::from(text).to_string().len();
                let labels: usize =
                    logs.labels.iter().map(|(key, value)| text(key) + text(value) + r#":{"value":},"#.len()).sum();
                length.div_ceil(3) * 4 + LOG_FRAME_BYTES + text(&logs.namespace) + labels
            }
            Kind::Udm | Kind::Entities(_) => length + EVENT_FRAME_BYTES,
        }
    }

    /// The longest record that fits a request.
    pub fn record_bytes_max(&self) -> usize {
        let room = limits::CLIENT_BODY_BYTES_MAX - self.envelope() - self.cost(0);
        match self {
            Kind::Logs(_) => room / 4 * 3,
            Kind::Udm | Kind::Entities(_) => room,
        }
    }

    /// How many of these records make one request.
    pub fn fitting<'r>(&self, records: impl IntoIterator<Item = &'r Record>) -> usize {
        let mut bytes = self.envelope();
        let fits = |record: &&Record| {
            bytes += self.cost(record.data.len());
            bytes <= limits::CLIENT_BODY_BYTES_MAX
        };
        // One that is too long by itself goes alone, and whoever sends it says so.
        records.into_iter().take(limits::CLIENT_BODY_RECORDS_MAX).take_while(fits).count().max(1)
    }

    fn envelope(&self) -> usize {
        let import = match self {
            Kind::Logs(logs) => Import::Logs {
                log_type: logs.log_type.as_str().into(),
                forwarder: logs.forwarder.as_deref().map(|forwarder| format!("{RESOURCE_NAME}{forwarder}").into()),
            },
            Kind::Udm => Import::Events,
            Kind::Entities(log_type) => Import::Entities { log_type: log_type.as_str().into() },
        };
        import.envelope_bytes()
    }

    /// Sends records in as few requests as the limits allow.
    pub async fn send(&self, chronicle: &Chronicle, records: &[Record], time: Time) -> Result<BatchResult, Error> {
        match self {
            Kind::Logs(logs) => {
                chronicle.ingest_logs_batch(records.iter().map(|record| logs.entry(record, time))).await
            }
            Kind::Udm => chronicle.ingest_udm_batch(objects(records)).await,
            Kind::Entities(log_type) => chronicle.import_entities(log_type, objects(records)).await,
        }
    }

    /// Keeps records in a spool.
    pub async fn push(&self, spool: &Spool, records: &[Record], time: Time) -> Result<(), Error> {
        match self {
            Kind::Logs(logs) => spool.push_logs(records.iter().map(|record| logs.entry(record, time))).await,
            Kind::Udm => spool.push_udm(objects(records)).await,
            Kind::Entities(log_type) => spool.push_entities(log_type, objects(records)).await,
        }
    }
}

impl Kind {
    /// The record as it is sent, or why it is not: an event or entity without what makes it one would be stored as
    /// something that nobody finds. An event may come in the element in which the API sends it, `{"udm": {…}}`, and is
    /// taken out of that. What is no object at all is the client's to refuse.
    pub fn checked(&self, mut record: Record) -> Result<Record, (Record, String)> {
        let (what, needed): (_, &[&str]) = match self {
            Kind::Logs(_) => return Ok(record),
            Kind::Udm => ("event", &["metadata"]),
            Kind::Entities(_) => ("entity", &["metadata", "entity"]),
        };
        let Ok(mut fields) = serde_json::from_slice::<Fields>(&record.data) else { return Ok(record) };
        if matches!(self, Kind::Udm)
            && fields.contains_key("udm")
            && fields.keys().all(|key| matches!(key.as_str(), "udm" | "name"))
            && let Ok(mut element) = serde_json::from_slice::<Value>(&record.data)
        {
            record.data = element["udm"].take().to_string().into_bytes();
            match serde_json::from_slice(&record.data) {
                Ok(inner) => fields = inner,
                Err(_) => return Ok(record),
            }
        }
        match needed.iter().find(|name| fields.get(**name).is_none_or(Option::is_none)) {
            Some(name) => Err((record, format!("{what}: it has no `{name}`"))),
            None => Ok(record),
        }
    }
}

/// The fields of an object: whether there is something, not what.
type Fields = HashMap<String, Option<serde::de::IgnoredAny>>;

impl Logs {
    fn entry(&self, record: &Record, time: Time) -> LogEntry {
        let mut entry = LogEntry::new(self.log_type.as_str(), record.data.as_slice()).entry_timestamp(time);
        entry = match (self.times, self.times.and_then(|times| times.collection)) {
            (None, _) => entry.collection_timestamp(time),
            // Moved as the entry's was, so that it is not before that.
            (Some(_), Some(collection)) => entry.collection_timestamp(collection.max(time)),
            (Some(_), None) => entry,
        };
        if !self.namespace.is_empty() {
            entry = entry.namespace(self.namespace.as_str());
        }
        if let Some(forwarder) = &self.forwarder {
            entry = entry.forwarder(forwarder.as_str());
        }
        self.labels.iter().fold(entry, |entry, (key, value)| entry.label(key.as_str(), value.as_str()))
    }
}

/// Each record as JSON. What is none becomes a text, which the client refuses with its number.
fn objects(records: &[Record]) -> impl Iterator<Item = Value> + '_ {
    records
        .iter()
        .map(|record| serde_json::from_slice(&record.data).unwrap_or_else(|error| Value::from(error.to_string())))
}

/// `{"data":"","logEntryTime":"2026-11-21T22:00:00.123456789Z","collectionTime":"2026-11-21T22:00:00.123456789Z"
/// ,"environmentNamespace":,"labels":{}},` and some room.
const LOG_FRAME_BYTES: usize = 200;
/// `{"udm":},`, the time and id that an event may lack, and some room for numbers that are written longer.
const EVENT_FRAME_BYTES: usize = 200;
/// As long as what stands before a forwarder's id.
const RESOURCE_NAME: &str = "projects/a-project-of-thirty-letters-xxx/locations/northamerica-northeast2/instances/\
                             00000000-0000-0000-0000-000000000000/forwarders/";

/// Gives each batch its time.
#[derive(Debug, Default)]
pub struct Stamps {
    last: Option<Time>,
    /// How often a batch was stamped with the same time, by its content.
    seen: HashMap<[u8; 32], i64>,
}

impl Stamps {
    /// Goes on behind a time that was given before.
    pub fn after(last: Option<Time>) -> Stamps {
        Stamps { last, seen: HashMap::new() }
    }

    /// The time of the next batch of a kind that says no time of its own: now, and later than the batch before.
    pub fn next(&mut self, now: Time) -> Time {
        let time = self.last.map_or(now, |last| now.max(last.saturating_add_nanos(1)));
        self.last = Some(time);
        time
    }

    /// The time of this batch. Where all records are said to have happened at one time, a batch of the same lines as one
    /// before gets a nanosecond more, so that it is not taken for the same.
    pub fn of(&mut self, kind: &Kind, records: &[Record], now: Time) -> Time {
        let Kind::Logs(Logs { times: Some(Times { entry, .. }), .. }) = kind else { return self.next(now) };
        let mut hasher = blake3::Hasher::new();
        for record in records {
            hasher.update(&(record.data.len() as u64).to_le_bytes());
            hasher.update(&record.data);
        }
        let times = self.seen.entry(*hasher.finalize().as_bytes()).or_default();
        let time = entry.saturating_add_nanos(*times);
        *times += 1;
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(data: &[u8]) -> Record {
        Record { data: data.to_vec(), input: 0, line: 1 }
    }

    fn time(text: &str) -> Time {
        text.parse().expect("a time")
    }

    fn logs(adjust: impl FnOnce(&mut Logs)) -> Kind {
        let mut logs = Logs { log_type: "OKTA".to_owned(), ..Logs::default() };
        adjust(&mut logs);
        Kind::Logs(logs)
    }

    #[test]
    fn what_is_said_to_fit_one_request_does() {
        let chronicle = penstock_client::SecOpsClient::builder()
            .credentials(penstock_client::Credentials::bearer("t"))
            .base_url("http://127.0.0.1:9")
            .build()
            .and_then(|client| client.chronicle("c8c65bfa-5f2c-42d4-9189-64bb7b939f2c", "penstock", "us"))
            .expect("a client");
        let dir = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let labelled = logs(|logs| {
            logs.labels = vec![("site\"".to_owned(), "\u{1}Zürich".to_owned()); 3];
            logs.namespace = "\"".repeat(100);
            logs.forwarder = Some("f".repeat(40));
        });
        for (number, kind) in [logs(|_| {}), labelled, Kind::Udm, Kind::Entities("OKTA".to_owned())].iter().enumerate()
        {
            let longest = kind.record_bytes_max();
            let text = |length: usize| match kind {
                Kind::Logs(_) => vec![0xFF; length],
                Kind::Udm | Kind::Entities(_) => format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8)).into_bytes(),
            };
            // The spool refuses what is over the limit of one request, by the client's own count.
            runtime.block_on(async {
                let spool = Spool::open(dir.path().join(number.to_string()), &chronicle, Default::default()).await;
                let spool = spool.expect("a spool");
                let now = time("2026-11-21T22:00:00.123456789Z");
                kind.push(&spool, &[record(&text(longest))], now).await.expect("the longest record fits");
            });
            for length in [8, 300, 100_000] {
                let records = vec![record(&text(length)); 30_000.min(40_000_000 / length)];
                let count = kind.fitting(&records);
                assert!((1..=limits::CLIENT_BODY_RECORDS_MAX).contains(&count) && count < records.len());
                let bytes: usize = kind.envelope() + count * kind.cost(length);
                assert!(bytes <= limits::CLIENT_BODY_BYTES_MAX);
            }
        }
    }

    #[test]
    fn what_is_no_event_or_entity_is_known_before_it_is_sent() {
        let (udm, entities) = (Kind::Udm, Kind::Entities("OKTA".to_owned()));
        let cases = [
            (&udm, r#"{"metadata": {}, "a": 1}"#, Ok(r#"{"metadata": {}, "a": 1}"#)),
            (&udm, r#"{"udm": {"metadata":{"id":"x"}}}"#, Ok(r#"{"metadata":{"id":"x"}}"#)),
            (&udm, r#"{"name": "n", "udm": {"metadata":{}}}"#, Ok(r#"{"metadata":{}}"#)),
            (&udm, r#"{"udm": 7}"#, Ok("7")),
            (&udm, r#"{"udm": {}, "metadata": {}}"#, Ok(r#"{"udm": {}, "metadata": {}}"#)),
            (&udm, r#"{"udm": {"principal": {}}}"#, Err("event: it has no `metadata`")),
            (&udm, r#"{"udm": {}, "principal": {}}"#, Err("event: it has no `metadata`")),
            (&udm, r#"{"metadata": null}"#, Err("event: it has no `metadata`")),
            (&udm, "{}", Err("event: it has no `metadata`")),
            (&udm, "[1]", Ok("[1]")),
            (&entities, r#"{"metadata": {}, "entity": {}}"#, Ok(r#"{"metadata": {}, "entity": {}}"#)),
            (&entities, r#"{"metadata": {}}"#, Err("entity: it has no `entity`")),
            (&entities, r#"{"entity": {}}"#, Err("entity: it has no `metadata`")),
            (&logs(|_| {}), "{}", Ok("{}")),
        ];
        for (kind, data, expected) in cases {
            let expected = expected.map(|data| record(data.as_bytes())).map_err(str::to_owned);
            assert_eq!(kind.checked(record(data.as_bytes())).map_err(|(_, why)| why), expected, "{data}");
        }
    }

    #[test]
    fn no_two_batches_of_a_run_have_the_same_time_unless_they_differ() {
        let now = time("2026-11-21T22:00:00Z");
        let kind = logs(|_| {});
        let mut stamps = Stamps::after(Some(time("2026-11-21T22:00:00.000000003Z")));
        let batch = [record(b"alive")];
        let times: Vec<String> = (0..3).map(|_| stamps.of(&kind, &batch, now).to_string()).collect();
        let expected =
            ["2026-11-21T22:00:00.000000004Z", "2026-11-21T22:00:00.000000005Z", "2026-11-21T22:00:00.000000006Z"];
        assert_eq!(times, expected, "also where the clock stands still or goes back");

        let fixed = time("2023-01-01T12:00:00Z");
        let kind = logs(|logs| logs.times = Some(Times { entry: fixed, collection: None }));
        let mut stamps = Stamps::default();
        let times = [&b"a"[..], b"b", b"a", b"a"].map(|data| stamps.of(&kind, &[record(data)], now));
        assert_eq!(times.map(|time| time.nanos() - fixed.nanos()), [0, 0, 1, 2]);
    }

    #[test]
    fn the_times_of_a_log_are_those_that_were_said() {
        let now = time("2026-11-21T22:00:00Z");
        let (early, late) = (time("2023-01-01T12:00:00Z"), time("2023-01-01T12:05:00Z"));
        let said = |entry, collection| Some(Times { entry, collection: Some(collection) });
        for (times, entry, collection) in
            [(None, now, now), (said(early, late), early, late), (said(early, early), early, early)]
        {
            let logs = Logs { log_type: "OKTA".to_owned(), times, ..Logs::default() };
            let stamped = Stamps::default().of(&Kind::Logs(logs.clone()), &[], now);
            let expected = LogEntry::new("OKTA", "x").entry_timestamp(entry).collection_timestamp(collection);
            assert_eq!(logs.entry(&record(b"x"), stamped), expected);
        }
    }
}
