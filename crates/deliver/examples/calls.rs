//! What a call of a function costs this crate: connectors to a function that does nothing, each record a batch of its own.
//! It prints calls per second and the processor time of the whole process per call; nothing is asserted.
//!
//! ```text
//! cargo run --release -p deliver --example calls -- [CONNECTORS] [CALLS OF EACH] [RECORDS PER SECOND] [DIRECTORY]
//! ```
//!
//! Without records per second (0) all of them are in the log already. With it they are put there meanwhile, each in a frame
//! of its own, and that costs processor time, too. The directory decides which disk is measured: every batch is frozen and
//! settled on it.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commit::{Log, LogOptions, NewFrame, RealDisk};
use deliver::{ConnectorConfig, Deliver, FunctionAnswer, FunctionCall, Invoke, Surroundings};
use event::{Batch, BatchMeta, Event, IdSource, Kind, Position, Record, Time};
use serde_json::json;

const INSTANCE: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
const RECORDS_OF_A_FRAME: usize = 500;

/// Says yes after one turn of the runtime, as a function over a socket would at the earliest.
#[derive(Default)]
struct NoOp {
    calls: AtomicU64,
}

impl Invoke for NoOp {
    fn invoke<'a>(&'a self, call: FunctionCall) -> Pin<Box<dyn Future<Output = FunctionAnswer> + Send + 'a>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let call_id = format!("{}-{number}", call.records);
            FunctionAnswer::Answered { call_id, status: 200, body: Bytes::new(), suspicious: None }
        })
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (connectors, calls, per_second) = (number(1), number(5_000), number(0));
    let own = tempfile::tempdir().expect("a directory can be made");
    let dir = arguments.next().map_or_else(|| own.path().to_owned(), PathBuf::from);

    let disk = Arc::new(RealDisk::new(dir.join("log")).expect("the log's directory can be made"));
    let log = Log::open(disk, LogOptions::default(), now()).expect("the log opens").0;
    let schema = udm::Schema::load();
    let invoke = Arc::new(NoOp::default());
    let surroundings = Surroundings { invoke: Some(invoke.clone()), ..Surroundings::default() };
    let deliver = Deliver::open_with(&dir.join("deliver"), log.clone(), Arc::new(read), schema.clone(), surroundings)
        .expect("deliver.db opens");

    let mut ids = IdSource::default();
    if per_second == 0 {
        append(&log, &mut ids, calls, RECORDS_OF_A_FRAME).await;
    }
    let documents: Vec<ConnectorConfig> = (0..connectors)
        .map(|number| {
            let document = json!({
                "name": format!("c{number}"),
                "instance": INSTANCE,
                "start": "oldest",
                "source": {
                    "language": "oci",
                    "query": "data.eventName = 'GetInstance'",
                    "scopes": [{"compartments": ["ocid1.compartment.oc1..1"], "log_group": "ocid1.loggroup.oc1..2"}],
                },
                "target": {"type": "function", "function": "f", "batch_records_max": 1, "batch_wait_ms": 0},
            });
            ConnectorConfig::parse(&document, &schema).expect("the document is right")
        })
        .collect();

    let (began, cpu) = (Instant::now(), cpu_time());
    deliver.apply(documents).await.expect("the connectors start");
    if per_second > 0 {
        let mut turn = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second as f64));
        for _ in 0..calls {
            turn.tick().await;
            append(&log, &mut ids, 1, 1).await;
        }
    }
    let mut changes = deliver.changes();
    while deliver.status().iter().any(|status| status.written < calls) {
        changes.changed().await.expect("the connectors run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (took, cpu) = (began.elapsed(), cpu_time() - cpu);
    let all = invoke.calls.load(Ordering::Relaxed);
    println!(
        "{connectors} connectors, {all} calls in {took:.2?}: {:.0} calls/s, {:.3} ms of processor time per call",
        all as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1_000.0 / all as f64
    );
    deliver.stop().await;
}

/// Audit records of about 1.2 KB.
async fn append(log: &Log, ids: &mut IdSource, count: u64, of_a_frame: usize) {
    let mut left = count as usize;
    while left > 0 {
        let records = left.min(of_a_frame);
        let received_at = now();
        let id = ids.next(received_at, 7);
        let meta = BatchMeta {
            id,
            instance: INSTANCE.parse().expect("an id"),
            kind: Kind::Raw,
            received_at,
            log_type: "OCI_AUDIT".to_owned(),
            feed: "oci/log".to_owned(),
            sender: "bench".to_owned(),
            namespace: String::new(),
            labels: Vec::new(),
        };
        let record = |number| {
            let envelope = json!({
                "id": format!("{number}"), "source": "web-1", "specversion": "1.0", "time": "2026-11-21T22:00:00Z",
                "type": "com.oraclecloud.ComputeApi.GetInstance",
                "data": {"eventName": "GetInstance", "message": "x".repeat(800), "response": {"status": "200"}},
                "oracle": {"compartmentid": "ocid1.compartment.oc1..1", "loggroupid": "ocid1.loggroup.oc1..2",
                           "tenantid": "ocid1.tenancy.oc1..3", "ingestedtime": "2026-11-21T22:00:01Z"},
            });
            Record::new(envelope.to_string())
        };
        let records: Vec<Record> = (0..records).map(record).collect();
        left -= records.len();
        let records_len = records.len() as u32;
        let payload = event::codec::encode(&[Batch { meta: Arc::new(meta), records }]);
        let frame =
            NewFrame { id: id.as_u128(), key: None, at: received_at, records: records_len, payload: payload.into() };
        log.append(frame).await.expect("the log takes it");
    }
}

fn read(
    position: Position,
    payload: &Bytes,
    _: deliver::Wanted,
    _: u32,
) -> Result<deliver::Slice, event::codec::CodecError> {
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
}

fn now() -> Time {
    deliver::Clock::now(&deliver::SystemClock)
}

/// What the process has used so far, its system calls included.
fn cpu_time() -> Duration {
    // SAFETY: all zeros is a valid `rusage`, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}
