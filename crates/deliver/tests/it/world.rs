//! What every story needs: a log to append to, connectors to look at, and a clock that a test moves.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use commit::{Log, LogOptions, RealDisk};
use deliver::{
    Clock, ConnectorConfig, ConnectorId, ConnectorState, ConnectorStatus, Deliver, ReadFrame, Surroundings, Waiting,
};
use event::{Batch, BatchMeta, Event, IdSource, InstanceId, Kind, Label, Position, Record, RecordId, Time};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

pub const INSTANCE: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
pub const OTHER_INSTANCE: &str = "0b7c1d2e-0000-4000-8000-000000000002";
pub const EPOCH: &str = "2026-11-21T22:00:00Z";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock {
    now: watch::Sender<Time>,
    /// A wait does not wait: it moves the clock to its end.
    leaps: bool,
    waits: watch::Sender<Vec<Duration>>,
}

impl TestClock {
    pub fn still() -> Arc<TestClock> {
        Arc::new(TestClock {
            now: watch::Sender::new(EPOCH.parse().unwrap()),
            leaps: false,
            waits: watch::Sender::new(Vec::new()),
        })
    }

    pub fn leaping() -> Arc<TestClock> {
        let still = Arc::into_inner(TestClock::still()).unwrap();
        Arc::new(TestClock { leaps: true, ..still })
    }

    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.saturating_add_nanos(by.as_nanos() as i64));
    }

    /// Waits until somebody waits for at least this long, and gives for how long.
    pub async fn waited_for(&self, count: usize) -> Vec<Duration> {
        let mut waits = self.waits.subscribe();
        let enough = waits.wait_for(|waits| waits.len() >= count);
        tokio::time::timeout(Duration::from_secs(30), enough).await.expect("nobody waits").unwrap().clone()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        *self.now.borrow()
    }

    fn sleep(&self, wait: Duration) -> Waiting {
        let until = self.now().saturating_add_nanos(wait.as_nanos() as i64);
        self.waits.send_modify(|waits| waits.push(wait));
        if self.leaps {
            self.advance(wait);
            // Others get their turn, as with a real wait.
            return Box::pin(tokio::time::sleep(Duration::from_millis(1)));
        }
        let mut now = self.now.subscribe();
        Box::pin(async move {
            if now.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn random(&self) -> f64 {
        0.0
    }
}

pub struct World {
    pub dir: TempDir,
    pub log: Log,
    pub clock: Arc<TestClock>,
    pub schema: Arc<udm::Schema>,
    /// What functions and run logs are; the clock of it is not looked at.
    pub surroundings: Surroundings,
    ids: Mutex<IdSource>,
    /// Ends when nothing of the server that was started last is left.
    last: Mutex<Option<watch::Receiver<u64>>>,
}

/// What one frame holds, in short.
pub struct Frame<'a> {
    pub instance: &'a str,
    pub kind: Kind,
    pub log_type: &'a str,
    pub records: Vec<&'a str>,
}

pub fn raw<'a>(records: impl IntoIterator<Item = &'a str>) -> Frame<'a> {
    let records = records.into_iter().collect();
    Frame { instance: INSTANCE, kind: Kind::Raw, log_type: "OKTA", records }
}

/// Log entries of OCI.
pub fn oci<'a>(records: impl IntoIterator<Item = &'a str>) -> Frame<'a> {
    Frame { log_type: "OCI_LOGGING", ..raw(records) }
}

impl World {
    pub fn new() -> World {
        World::with(TestClock::still(), LogOptions::default())
    }

    pub fn with(clock: Arc<TestClock>, options: LogOptions) -> World {
        let dir = TempDir::new().unwrap();
        let log = open_log(dir.path().join("log"), options);
        World {
            dir,
            log,
            clock,
            schema: udm::Schema::load(),
            surroundings: Surroundings::default(),
            ids: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Appends one frame with one batch; gives the records' ids and the frame's position.
    pub async fn append(&self, frame: Frame<'_>) -> (Vec<RecordId>, Position) {
        self.append_as(frame, "", &[("site".to_owned(), "Zürich \"1\"".to_owned())]).await
    }

    pub async fn append_as(
        &self,
        frame: Frame<'_>,
        feed: &str,
        labels: &[(String, String)],
    ) -> (Vec<RecordId>, Position) {
        let received_at = self.clock.now();
        let id = self.ids.lock().unwrap().next(received_at, 7);
        let meta = BatchMeta {
            id,
            instance: frame.instance.parse().unwrap(),
            kind: frame.kind,
            received_at,
            log_type: frame.log_type.to_owned(),
            feed: feed.to_owned(),
            sender: "test".to_owned(),
            namespace: "corp".to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| Label { key: key.clone(), value: value.clone(), rbac_enabled: false })
                .collect(),
        };
        let records: Vec<Record> = frame.records.iter().map(|text| Record::new(text.to_string())).collect();
        let count = records.len() as u32;
        let payload = event::codec::encode(&[Batch { meta: Arc::new(meta), records }]);
        let new =
            commit::NewFrame { id: id.as_u128(), key: None, at: received_at, records: count, payload: payload.into() };
        let appended = self.log.append(new).await.unwrap();
        ((0..count).map(|index| id.record(index)).collect(), appended.receipt().position())
    }

    /// A server that starts: opens the connectors' database and nothing more.
    pub fn open(&self) -> Deliver {
        let surroundings = Surroundings { clock: self.clock.clone(), ..self.surroundings.clone() };
        let dir = self.dir.path().join("deliver");
        Deliver::open_with(&dir, self.log.clone(), read_frames(), self.schema.clone(), surroundings).unwrap()
    }

    /// The same with these connectors running. The one before was dropped: what it had begun on threads of its own ends
    /// first, since a process that is killed takes its threads with it.
    pub async fn start(&self, documents: &[Value]) -> Deliver {
        let last = self.last.lock().unwrap().take();
        if let Some(mut last) = last {
            let ended = async { while last.changed().await.is_ok() {} };
            tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the one before was dropped");
        }
        let deliver = self.open();
        *self.last.lock().unwrap() = Some(deliver.changes());
        self.apply(&deliver, documents).await;
        deliver
    }

    pub async fn apply(&self, deliver: &Deliver, documents: &[Value]) {
        deliver.apply(documents.iter().map(|document| self.config(document)).collect()).await.unwrap();
    }

    pub fn clock_now(&self) -> Time {
        self.clock.now()
    }

    pub fn config(&self, document: &Value) -> ConnectorConfig {
        ConnectorConfig::parse(document, &self.schema).unwrap()
    }
}

pub fn open_log(dir: PathBuf, options: LogOptions) -> Log {
    let disk = Arc::new(RealDisk::new(dir).unwrap());
    Log::open(disk, options, EPOCH.parse().unwrap()).unwrap().0
}

/// A connector named `siem` that begins at the oldest record and does not wait for batches to fill.
pub fn connector(url: &str) -> Value {
    json!({
        "name": "siem",
        "instance": INSTANCE,
        "start": "oldest",
        "target": {"type": "http", "url": url, "batch_wait_ms": 0},
        "made_by_operator": true,
    })
}

/// The document with these changes: objects are merged, everything else is replaced.
pub fn with(mut document: Value, changes: Value) -> Value {
    fn merge(into: &mut Value, changes: Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (key, change) in changes {
                    merge(into.entry(key).or_insert(Value::Null), change);
                }
            }
            (into, change) => *into = change,
        }
    }
    merge(&mut document, changes);
    document
}

pub fn id(name: &str) -> ConnectorId {
    ConnectorId { instance: instance(), name: name.to_owned() }
}

pub fn instance() -> InstanceId {
    INSTANCE.parse().unwrap()
}

/// What the binary hands over, without its checks.
pub fn read_frames() -> ReadFrame {
    Arc::new(|position: Position, payload: &Bytes, _, _| {
        let mut events = Vec::new();
        for Batch { meta, records } in event::codec::decode(payload)? {
            events.extend(records.into_iter().zip(0u32..).map(|(record, index)| Event {
                batch: meta.clone(),
                position,
                index,
                kind: meta.kind,
                data: record.data,
                sender_time: record.sender_time,
                collected_at: record.collected_at,
                event_time: record.sender_time.unwrap_or(meta.received_at),
                issues: Vec::new(),
                parser: None,
                ordinal: 0,
            }));
        }
        Ok(deliver::Slice { events, is_last: true, ..deliver::Slice::default() })
    })
}

/// Waits until the connector `siem` is as wanted, and gives its status.
pub async fn until(deliver: &Deliver, wanted: impl Fn(&ConnectorStatus) -> bool) -> ConnectorStatus {
    until_named(deliver, "siem", wanted).await
}

pub async fn until_named(deliver: &Deliver, name: &str, wanted: impl Fn(&ConnectorStatus) -> bool) -> ConnectorStatus {
    let mut changes = deliver.changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            if let Some(status) = deliver.status().into_iter().find(|status| status.id.name == name)
                && wanted(&status)
            {
                return status;
            }
            changes.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(status) => status,
        Err(_) => panic!("it never came to this: {:#?}", deliver.status()),
    }
}

pub fn waits(status: &ConnectorStatus) -> bool {
    matches!(status.state, ConnectorState::Waiting { .. })
}

pub fn needs_attention(status: &ConnectorStatus) -> bool {
    matches!(status.state, ConnectorState::NeedsAttention { .. })
}

/// The `text` of every element of a JSON array or of JSON lines.
pub fn texts(body: &str) -> Vec<String> {
    let elements: Vec<Value> = match serde_json::from_str(body) {
        Ok(Value::Array(elements)) => elements,
        _ => body.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    };
    elements.iter().map(|element| element["text"].as_str().unwrap().to_owned()).collect()
}
