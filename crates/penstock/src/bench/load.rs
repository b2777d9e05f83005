//! Sends for a while on many connections and counts what came back. Every connection is one task with its own templates,
//! its own kept-alive socket and its own counts; they share nothing hot but two numbers for the progress line.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use event::{Kind, Time};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{Barrier, Mutex, mpsc};

use super::access::Access;
use super::data::{Form, Marker, Shape, Size, Template};
use super::latency::Latencies;
use super::wire::{Connection, Endpoint};

/// Templates of one connection together: enough that a column page of the store sees no repeats but ids, little enough
/// that sixty-four connections fit in memory.
const POOL_BYTES: usize = 2 << 20;

/// How long an answer may take; the seed tells senders to wait 90 s.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// Failed attempts in a row after which a connection gives up: the server is gone.
const FAILURES_MAX: u32 = 5;

/// What to send, to whom, how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub endpoint: Endpoint,
    /// Credentials.
    pub access: Access,
    /// What the bodies hold.
    pub shape: Shape,
    /// Decides the content.
    pub seed: u64,
    /// The run's random number, which makes its ids unique.
    pub run: u64,
    /// Connections that send at the same time.
    pub connections: usize,
    /// How long requests are started.
    pub duration: Duration,
    /// Most body bytes a second over all connections, or as fast as it goes.
    pub rate_bytes_per_sec: Option<f64>,
    /// Whether bodies go compressed.
    pub gzip: bool,
}

/// What is known while the load runs.
#[derive(Debug, Default)]
pub struct Live {
    /// Records acknowledged.
    pub records: AtomicU64,
    /// Uncompressed body bytes acknowledged.
    pub body_bytes: AtomicU64,
}

/// One acknowledged record, for whoever measures how soon it is found.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The unique id in the record.
    pub marker: String,
    /// When its success reply had been read.
    pub at: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests answered with a success.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Their bodies, uncompressed.
    pub body_bytes: u64,
    /// The raw lines in them, without the protocol around them.
    pub text_bytes: u64,
    /// Their bodies as sent.
    pub wire_bytes: u64,
    /// Time from the first byte sent to the answer read, of those.
    pub latencies: Latencies,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests sent again after 429 or 503.
    pub retries: u64,
    /// Connections that had to be opened anew.
    pub reconnects: u64,
    /// The first answer other than a success, or the first failed connection.
    pub first_error: Option<String>,
}

/// A prepared load: templates made, connections open. Nothing has been sent yet.
pub struct Load {
    senders: Vec<Sender>,
    duration: Duration,
}

struct Sender {
    plan: Arc<Plan>,
    path: String,
    connection: Connection,
    templates: Vec<Template>,
    marker: Marker,
    pace: Option<Arc<Pace>>,
    live: Arc<Live>,
    samples: Option<mpsc::Sender<Acknowledged>>,
    outcome: Outcome,
}

impl Load {
    /// Makes the templates and opens the connections. Acknowledged records are offered to `samples`; when nobody takes
    /// them they are dropped, the load never waits.
    pub async fn prepare(
        plan: Plan,
        live: Arc<Live>,
        samples: Option<mpsc::Sender<Acknowledged>>,
    ) -> anyhow::Result<Load> {
        let plan = Arc::new(plan);
        let verb = match plan.shape.kind {
            Kind::Raw => "unstructuredlogentries",
            Kind::Udm => "udmevents",
            Kind::Entity => "entities",
        };
        let path = match plan.shape.form {
            Form::Chronicle => format!("/v2/{verb}:batchCreate{}", plan.access.intake_query),
            Form::SekoiaBatch(_) => "/batch".to_owned(),
            Form::SekoiaPlainBatch => "/plain/batch".to_owned(),
        };
        let pace = plan.rate_bytes_per_sec.map(|rate| Arc::new(Pace::new(rate)));
        let mut senders = Vec::with_capacity(plan.connections);
        for stream in 0..plan.connections as u64 {
            let connection = Connection::open(&plan.endpoint)
                .await
                .with_context(|| format!("cannot connect to {}", plan.endpoint.authority))?;
            senders.push(Sender {
                path: path.clone(),
                connection,
                templates: Template::pool(&plan.shape, plan.seed, stream, pool_size(plan.shape.size)),
                marker: Marker::new(plan.run.wrapping_add(stream)),
                pace: pace.clone(),
                live: live.clone(),
                samples: samples.clone(),
                outcome: Outcome::default(),
                plan: plan.clone(),
            });
        }
        Ok(Load { senders, duration: plan.duration })
    }

    /// Runs it; gives the outcome and the time from the first byte to the last answer.
    pub async fn run(self) -> anyhow::Result<(Outcome, Duration)> {
        let barrier = Arc::new(Barrier::new(self.senders.len() + 1));
        let tasks: Vec<_> = self
            .senders
            .into_iter()
            .map(|mut sender| {
                let barrier = barrier.clone();
                tokio::spawn(async move {
                    barrier.wait().await;
                    sender.send_until(Instant::now() + self.duration).await.map(|()| sender.outcome)
                })
            })
            .collect();
        barrier.wait().await;
        let started = Instant::now();
        let mut outcome = Outcome::default();
        for task in tasks {
            outcome.merge(&task.await.context("a sender stopped")??);
        }
        Ok((outcome, started.elapsed()))
    }
}

impl Sender {
    async fn send_until(&mut self, end: Instant) -> anyhow::Result<()> {
        let mut request = Vec::new();
        let mut turn = 0;
        while Instant::now() < end {
            let at = turn % self.templates.len();
            turn += 1;
            let body_bytes = self.templates[at].body().len();
            if let Some(pace) = &self.pace {
                let due = pace.reserve(body_bytes).await;
                if due >= end {
                    return Ok(());
                }
                tokio::time::sleep_until(due.into()).await;
            }
            let first = self.templates[at].stamp(&mut self.marker, now());
            self.prepare(at, &mut request)?;
            self.send(&request, at, first, end).await?;
        }
        Ok(())
    }

    /// Puts head and body into one buffer.
    fn prepare(&self, at: usize, request: &mut Vec<u8>) -> anyhow::Result<()> {
        let body = self.templates[at].body();
        let head = |length| {
            let (endpoint, gzip) = (&self.plan.endpoint, self.plan.gzip);
            endpoint.head("POST", &self.path, self.plan.access.intake.as_deref(), gzip, length)
        };
        request.clear();
        if self.plan.gzip {
            let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
            encoder.write_all(body)?;
            let packed = encoder.finish()?;
            request.extend_from_slice(head(packed.len()).as_bytes());
            request.extend_from_slice(&packed);
        } else {
            request.extend_from_slice(head(body.len()).as_bytes());
            request.extend_from_slice(body);
        }
        Ok(())
    }

    /// Sends one request until it is taken or refused for good, or until `end` when it is only put off.
    async fn send(&mut self, request: &[u8], at: usize, first: u64, end: Instant) -> anyhow::Result<()> {
        let mut failures = 0;
        loop {
            if !self.connection.is_open() {
                self.connection = Connection::open(&self.plan.endpoint).await?;
                self.outcome.reconnects += 1;
            }
            let sent_at = Instant::now();
            let answer = match tokio::time::timeout(ANSWER_MAX, self.connection.exchange(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) if failures < FAILURES_MAX => {
                    failures += 1;
                    self.outcome.reconnects += 1;
                    self.outcome.first_error.get_or_insert_with(|| format!("connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(50 << failures)).await;
                    self.connection = Connection::open(&self.plan.endpoint)
                        .await
                        .with_context(|| format!("cannot connect to {} again", self.plan.endpoint.authority))?;
                    continue;
                }
                Ok(Err(error)) => return Err(error).context("the server keeps closing the connection"),
                Err(_) => bail!("no answer within {} s", ANSWER_MAX.as_secs()),
            };
            *self.outcome.statuses.entry(answer.status).or_default() += 1;
            if (200..300).contains(&answer.status) {
                self.count(at, first, request, sent_at);
                return Ok(());
            }
            let path = &self.path;
            self.outcome
                .first_error
                .get_or_insert_with(|| format!("POST {path}: {} {}", answer.status, answer.excerpt()));
            if !matches!(answer.status, 429 | 503) {
                return Ok(());
            }
            let pause = answer.retry_after.unwrap_or(Duration::from_secs(1));
            if Instant::now() + pause >= end {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            self.outcome.retries += 1;
        }
    }

    fn count(&mut self, at: usize, first: u64, request: &[u8], sent_at: Instant) {
        let answered_at = Instant::now();
        let template = &self.templates[at];
        let (records, body_bytes) = (template.records() as u64, template.body().len() as u64);
        let outcome = &mut self.outcome;
        outcome.requests += 1;
        outcome.records += records;
        outcome.body_bytes += body_bytes;
        outcome.text_bytes += template.text_bytes() as u64;
        outcome.wire_bytes += if self.plan.gzip { request.len() as u64 } else { body_bytes };
        outcome.latencies.add(answered_at - sent_at);
        self.live.records.fetch_add(records, Ordering::Relaxed);
        self.live.body_bytes.fetch_add(body_bytes, Ordering::Relaxed);
        if let Some(samples) = &self.samples {
            // Offered, not owed: the measuring side takes what it needs, in the middle of the batch where nothing is
            // special about the record.
            if let Ok(place) = samples.try_reserve() {
                place.send(Acknowledged { marker: self.marker.text(first + records / 2), at: answered_at });
            }
        }
    }
}

impl Outcome {
    fn merge(&mut self, other: &Outcome) {
        self.requests += other.requests;
        self.records += other.records;
        self.body_bytes += other.body_bytes;
        self.text_bytes += other.text_bytes;
        self.wire_bytes += other.wire_bytes;
        self.latencies.merge(&other.latencies);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.retries += other.retries;
        self.reconnects += other.reconnects;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }
}

/// Shares a rate among all connections: each reserves its bytes and is told when it may send them.
#[derive(Debug)]
struct Pace {
    bytes_per_sec: f64,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn new(bytes_per_sec: f64) -> Pace {
        Pace { bytes_per_sec, next: Mutex::new(None) }
    }

    async fn reserve(&self, bytes: usize) -> Instant {
        let mut next = self.next.lock().await;
        let (due, after) = turn(*next, Instant::now(), bytes, self.bytes_per_sec);
        *next = Some(after);
        due
    }
}

/// When a request of `bytes` may go, and when the one after it. Time that nobody used is lost, or a stall of the server
/// would be followed by a burst above the rate.
fn turn(next: Option<Instant>, now: Instant, bytes: usize, bytes_per_sec: f64) -> (Instant, Instant) {
    let due = next.map_or(now, |next| next.max(now));
    (due, due + Duration::from_secs_f64(bytes as f64 / bytes_per_sec))
}

fn pool_size(size: Size) -> usize {
    const RECORD_BYTES: usize = 1000;
    let body_bytes = match size {
        Size::Bytes(bytes) => bytes,
        Size::Records(records) => records.saturating_mul(RECORD_BYTES),
    };
    (POOL_BYTES / body_bytes.max(1)).clamp(2, 64)
}

/// The time of day.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_keep_the_rate_and_forget_idle_time() {
        let start = Instant::now();
        let secs = |secs: f64| start + Duration::from_secs_f64(secs);
        // 10 bytes at 20 bytes a second: half a second each.
        assert_eq!(turn(None, start, 10, 20.0), (start, secs(0.5)));
        assert_eq!(turn(Some(secs(0.5)), secs(0.1), 10, 20.0), (secs(0.5), secs(1.0)));
        assert_eq!(turn(Some(secs(1.0)), secs(3.0), 10, 20.0), (secs(3.0), secs(3.5)));
    }

    #[test]
    fn pools_are_neither_tiny_nor_huge() {
        assert_eq!(pool_size(Size::Bytes(1_000_000)), 2);
        assert_eq!(pool_size(Size::Records(1)), 64);
        assert_eq!(pool_size(Size::Records(100)), 20);
    }
}
