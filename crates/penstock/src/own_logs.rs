//! What the server itself has to say in tenants' logs: the lines that functions print, and what connectors did. They are
//! records like any other: in OCI's envelope, in the log of the application or connector, on disk and searchable.
//!
//! Whoever has something to say leaves it here and goes on; one task makes batches of what came together and appends
//! them. What it cannot keep up with, because the disk is full or slow, is let go beyond a bound and counted: a function
//! must not stand still for its own chatter.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use commit::AppendError;
use dialects::Caller;
use dialects::auth::{self, LogSender};
use dialects::oci::envelope::{self, FunctionLine};
use event::{Batch, Label, Record, Time};
use functions::{LogLine, Stream};
use receive::Front;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::control::oci::{CONNECTOR_SERVICE, FUNCTIONS_SERVICE, connector_of};

/// Bytes that may wait to be written.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Entries that become one frame at most.
const ENTRIES_AT_ONCE: usize = 4_096;

/// How long entries are gathered before they are appended. Every append is a sync of the disk, which a function that is
/// called several hundred times a second would otherwise ask for with every call, beside the one of its connector.
const GATHER: Duration = Duration::from_millis(100);

/// Takes what is to be written. Cheap to clone.
#[derive(Clone)]
pub struct OwnLogs {
    sender: mpsc::UnboundedSender<Left>,
    waiting: Arc<Waiting>,
}

/// What is to be written; for [`write`].
pub struct Entries {
    receiver: mpsc::UnboundedReceiver<Left>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    let_go: AtomicU64,
}

enum Entry {
    Line(LogLine),
    Run { connector: deliver::ConnectorId, entry: deliver::RunEntry },
}

/// What is left here.
enum Left {
    Entry(Entry),
    /// Everything that was left before is to be written, and then this is to be told.
    Asked(oneshot::Sender<()>),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Line(line) => line.message.len() + 512,
            Entry::Run { entry, .. } => entry.message.len() + 512,
        }
    }
}

impl OwnLogs {
    /// A place to leave entries at, and the other end of it.
    pub fn new() -> (OwnLogs, Entries) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        (OwnLogs { sender, waiting: Arc::clone(&waiting) }, Entries { receiver, waiting })
    }

    /// How many entries were let go because too much waited to be written.
    pub fn let_go(&self) -> u64 {
        self.waiting.let_go.load(Ordering::Relaxed)
    }

    /// Ends when everything that was left before is written, or never will be.
    pub async fn written(&self) {
        let (told, written) = oneshot::channel();
        let _ = self.sender.send(Left::Asked(told));
        let _ = written.await;
    }

    fn leave(&self, entry: Entry) {
        let bytes = entry.bytes();
        if self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed) > WAITING_BYTES_MAX
            || self.sender.send(Left::Entry(entry)).is_err()
        {
            self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.waiting.let_go.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl functions::LogSink for OwnLogs {
    fn write(&self, lines: Vec<LogLine>) {
        lines.into_iter().for_each(|line| self.leave(Entry::Line(line)));
    }
}

impl deliver::RunLog for OwnLogs {
    fn write(&self, connector: &deliver::ConnectorId, entry: deliver::RunEntry) {
        self.leave(Entry::Run { connector: connector.clone(), entry });
    }
}

/// Writes what is left until nobody is there to leave more. Must run beside the front door, by which it appends.
pub async fn write(front: Front, mut entries: Entries) {
    let mut together = Vec::with_capacity(ENTRIES_AT_ONCE);
    let mut told = 0;
    while entries.receiver.recv_many(&mut together, ENTRIES_AT_ONCE).await > 0 {
        let hurried = |left: &Left| matches!(left, Left::Asked(_));
        if together.len() < ENTRIES_AT_ONCE && !together.iter().any(hurried) {
            tokio::time::sleep(GATHER).await;
            while together.len() < ENTRIES_AT_ONCE
                && let Ok(left) = entries.receiver.try_recv()
            {
                together.push(left);
            }
        }
        let (mut said, mut asked) = (Vec::with_capacity(together.len()), Vec::new());
        for left in together.drain(..) {
            match left {
                Left::Entry(entry) => said.push(entry),
                Left::Asked(asks) => asked.push(asks),
            }
        }
        let bytes: usize = said.iter().map(Entry::bytes).sum();
        let batches = batches_of(&front, said);
        entries.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if !batches.is_empty() && !append(&front, batches).await {
            return;
        }
        for asked in asked {
            let _ = asked.send(());
        }
        let let_go = entries.waiting.let_go.load(Ordering::Relaxed);
        if let_go > told {
            tracing::warn!(entries = let_go - told, "lines of functions and connectors were let go: too many waited");
            told = let_go;
        }
    }
}

/// Whether the log goes on taking.
async fn append(front: &Front, batches: Vec<(Caller, Batch)>) -> bool {
    match front.append_own("own_logs", batches).await {
        Ok(()) => true,
        Err(error @ AppendError::TooLarge { .. }) => {
            tracing::error!(%error, "lines of functions and connectors do not fit the log");
            true
        }
        // A full disk was waited for.
        Err(AppendError::Failed { .. } | AppendError::Closed | AppendError::Full) => false,
    }
}

/// A batch for each log and number of hops, in the order in which they first came. What belongs to no log that takes
/// records (it is disabled, or was deleted) is dropped, as OCI does.
fn batches_of(front: &Front, entries: Vec<Entry>) -> Vec<(Caller, Batch)> {
    let (snapshot, now) = (front.snapshot.load_full(), (front.now)());
    let mut logs: HashMap<(&'static str, String), Option<LogSender>> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    for entry in entries {
        let (service, resource, sender, hops) = match &entry {
            Entry::Line(line) => (
                FUNCTIONS_SERVICE,
                line.app_id.to_string(),
                format!("function:{}", line.function_id),
                line.hops.saturating_add(1),
            ),
            Entry::Run { connector, entry } => {
                (CONNECTOR_SERVICE, connector.name.clone(), format!("connector:{}", connector.name), entry.hops)
            }
        };
        let log = logs.entry((service, resource)).or_insert_with_key(|(service, resource)| {
            let mut all = snapshot.oci_logs.values();
            let found = all.find(|log| {
                let is_of = |of: &str| match *service {
                    CONNECTOR_SERVICE => connector_of(of) == *resource,
                    _ => of == resource.as_str(),
                };
                log.service.as_deref() == Some(*service) && log.resource.as_deref().is_some_and(is_of)
            });
            found.and_then(|log| auth::bound_to_log(&log.id, &snapshot))
        });
        let Some(log) = log else { continue };
        let record = record_of(&entry, log, now);
        let same = |open: &&mut Open| open.sender == sender && open.hops == hops && open.log.log().id == log.log().id;
        match open.iter_mut().find(same) {
            Some(open) => open.records.push(record),
            None => open.push(Open { log: log.clone(), sender, hops, records: vec![record] }),
        }
    }
    let made = open.into_iter().map(|Open { log, sender, hops, records }| {
        let label = Label { key: deliver::HOPS_LABEL.to_owned(), value: hops.to_string(), rbac_enabled: false };
        let labels = if hops > 0 { vec![label] } else { Vec::new() };
        log.batch(front.next_id(), now, &sender, labels, records)
    });
    made.collect()
}

/// A batch in the making.
struct Open {
    log: LogSender,
    sender: String,
    hops: u32,
    records: Vec<Record>,
}

/// An entry in OCI's envelope (contracts/oci.md §1.6, §2.6).
fn record_of(entry: &Entry, to: &LogSender, now: Time) -> Record {
    let (log, kept) = (to.log(), to.kept(now));
    let id = uuid::Uuid::new_v4().to_string();
    match entry {
        Entry::Line(line) => {
            let line_of = FunctionLine {
                application: &line.app_id,
                application_name: &line.app_name,
                function: &line.function_id,
                function_name: &line.function_name,
                process: "",
                request: line.call_id.as_deref().unwrap_or_default(),
                stream: match line.stream {
                    Stream::Stderr => envelope::Stream::Stderr,
                    Stream::Stdout | Stream::Platform => envelope::Stream::Stdout,
                },
                message: &line.message,
            };
            line_of.record(&id, line.at, &kept)
        }
        Entry::Run { entry, .. } => {
            let deliver::RunEntry { at, level, message_type, message, call_id, status, records, .. } = entry;
            let mut data = json!({ "level": level, "messageType": message_type, "message": message });
            // Beside what OCI says: what a failure is looked up by.
            if call_id.is_some() || status.is_some() {
                data["callId"] = json!(call_id);
                data["status"] = json!(status);
                data["records"] = json!(records);
            }
            let source = log.resource_name.as_deref().unwrap_or(&log.name);
            let kind = "com.oraclecloud.sch.serviceconnector.runlog";
            envelope::record(&id, source, kind, None, *at, &data.to_string(), &kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::control::Control;
    use crate::serve;
    use dialects::oci::{Kind, ocid};
    use serde_json::Value;

    const AT: Time = Time::from_nanos(1_795_809_600_000_000_000);

    #[test]
    fn runs_are_told_in_the_name_of_their_connector() {
        let data = tempfile::tempdir().unwrap();
        let settings = serve::settings(&Config::default(), udm::Schema::load());
        let control = Control::open(data.path(), settings, None, AT).unwrap();
        let instance = *control.snapshot().load().instances.keys().next().unwrap();
        let root = ocid::tenancy(instance);
        let make =
            |kind, body| control.create_oci(instance, kind, None, body, None, true, AT).unwrap().resource.unwrap().id;
        let app = make(Kind::Application, json!({ "compartmentId": root, "displayName": "app" }));
        let body = json!({ "applicationId": app, "displayName": "f", "memoryInMBs": 128,
                           "sourceDetails": { "sourceType": "CONTAINER_IMAGE", "image": "i" } });
        let function = make(Kind::Function, body);
        // Of two connectors of one name, the second one's log has a longer name; what it tells is told in its own.
        for _ in 0..2 {
            let connector = make(
                Kind::ServiceConnector,
                json!({
                    "compartmentId": root, "displayName": "audit-to-fn",
                    "source": { "kind": "logging", "logSources": [{ "compartmentId": root }] },
                    "target": { "kind": "functions", "functionId": function },
                }),
            );
            let snapshot = control.snapshot().load_full();
            let log = snapshot.oci_logs.values().find(|log| log.resource.as_ref() == Some(&connector)).unwrap();
            let to = auth::bound_to_log(&log.id, &snapshot).unwrap();
            let entry = deliver::RunEntry {
                at: AT,
                level: deliver::RunLevel::Info,
                message_type: deliver::RunMessage::Completed,
                message: "Run succeeded - Read 2 messages from source and wrote 2 messages to target".to_owned(),
                call_id: None,
                status: None,
                records: 2,
                hops: 0,
            };
            let connector = deliver::ConnectorId { instance, name: connector_of(&connector) };
            let record = record_of(&Entry::Run { connector, entry }, &to, AT);
            assert_eq!(record.sender_time, Some(AT));
            let shown: Value = serde_json::from_slice(&record.data).unwrap();
            assert_eq!(shown["source"], "audit-to-fn", "{}", log.name);
            assert_eq!(shown["type"], "com.oraclecloud.sch.serviceconnector.runlog");
            assert_eq!(shown.get("subject"), None);
            assert_eq!((&shown["oracle"]["logid"], &shown["time"]), (&json!(log.id), &json!(AT.to_string())));
            assert_eq!(
                (&shown["data"]["level"], &shown["data"]["messageType"]),
                (&json!("INFO"), &json!("CONNECTOR_RUN_COMPLETED"))
            );
            assert_eq!(shown["data"].get("callId"), None);
        }
    }
}
