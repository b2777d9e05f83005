//! Connectors: what a tenant's records go on to. Source filter → target, each with its own cursor in the log, its
//! counts, its dead letters, and a task of its own, so that a slow or dead target delays nobody.
//!
//! ```text
//! log ──▶ reader: frames, filter, encode ──▶ connector: freeze, send, judge, settle ──▶ third party, function
//!              │                                 │  ▲
//!            loops                            ledger (deliver.db): cursors, plans, dead letters, lost ranges, meter
//! ```
//!
//! At least once, in the log's order: a batch is frozen before it is first sent and is sent byte for byte until the
//! target has it, so that a target which keeps `Idempotency-Key` or looks at contents sees each record once; others see
//! one twice only where their answer was lost. `ledger` holds the crash argument, `backoff` the waits, `targets` what
//! targets are, [`egress::Reach`] where connectors may send to. For connectors of OCI there are `invoke` (the seam to
//! functions), `meter` (metrics per minute), `runs` (the run log) and `loops`.
//!
//! A connector that OCI calls ACTIVE is [`ConnectorState::Running`] or [`ConnectorState::Waiting`] here; INACTIVE and
//! NEEDS_ATTENTION are the other two. Between an order (`apply`) and its being followed the state is still the old one,
//! which OCI calls UPDATING: a function's call under way ends first.
//!
//! Absent: functions between source and target, and reading the log once for all (each connector reads for itself).

mod backoff;
mod clock;
mod config;
mod connector;
mod elements;
mod filter;
mod invoke;
mod ledger;
mod live;
mod loops;
mod meter;
mod reader;
mod runs;
mod send;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use commit::Log;
use event::{InstanceId, Position, RecordId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use clock::{Clock, SystemClock, Waiting};
pub use config::{
    BatchConfig, ConfigError, ConnectorConfig, ConnectorId, FunctionConfig, HttpConfig, HttpForm, HttpFormat, Language,
    Source, Start, TargetConfig,
};
pub use invoke::{FunctionAnswer, FunctionCall, Invoke};
pub use ledger::{DeadLetter, Loss, LostRange};
pub use live::{ConnectorState, ConnectorStatus, LastError};
pub use loops::HOPS_LABEL;
pub use meter::{KEEP as METRICS_KEEP, Metric, MetricsQuery, Point, Series};
pub use reader::{ReadFrame, Slice, Wanted};
pub use runs::{RunEntry, RunLevel, RunLog, RunMessage};

use connector::{Connector, Order, Parts, What, blocking};
use ledger::{Account, Ledger, Place, Trace};
use live::Live;
use meter::Meter;
use runs::Runs;

/// How much of a target's answer is kept with a dead letter.
pub const ANSWER_BYTES_MAX: usize = 2 << 10;

/// How long a clean stop may take; the store and the log need the rest of the server's five seconds.
const STOP_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(STOP_MAX.as_millis() * 2 < event::limits::STOP_MAX.as_millis(), "others must end too");

/// The connectors of a server. Dropping it ends their tasks at once, as a crash would; [`Deliver::stop`] is the clean
/// way.
pub struct Deliver {
    parts: Arc<Parts>,
    slots: Mutex<BTreeMap<ConnectorId, Slot>>,
    /// Accounts that were found at the start and not applied yet: the log must keep for these too.
    resting: Mutex<BTreeMap<ConnectorId, Account>>,
    /// One `apply` or `stop` at a time.
    applying: tokio::sync::Mutex<()>,
    /// Writes down what the meter counted; begins with the first `apply`.
    flusher: Mutex<Option<Task>>,
}

/// What the binary gives, and what tests replace.
#[derive(Clone)]
pub struct Surroundings {
    /// Time, waits and jitter.
    pub clock: Arc<dyn Clock>,
    /// A file of PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Calls functions. `None`: this server calls none, and connectors to functions need attention.
    pub invoke: Option<Arc<dyn Invoke>>,
    /// Takes the run logs.
    pub run_log: Option<Arc<dyn RunLog>>,
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings { clock: Arc::new(SystemClock), ca_file: None, invoke: None, run_log: None }
    }
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("clock", &self.clock)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// Where a record is, as one connector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// The target has it.
    Delivered,
    /// Not sent yet, or sent and not confirmed.
    Waiting,
    /// The target refused it by itself.
    DeadLetter {
        /// What the target said.
        reason: String,
    },
    /// The target refused it by itself, and somebody dropped the dead letter.
    Dropped {
        /// What the target said.
        reason: String,
    },
    /// The filter, as it is now, leaves it out; or it was there before the connector began.
    NotSelected,
    /// It came of a loop, and the connector passed it over.
    PassedOver,
    /// It stood in a part of the log that the connector did not get to read.
    Lost,
    /// The connector is past it, and the log no longer holds it to tell whether the filter took it: delivered or left
    /// out.
    Passed,
}

/// Why something about connectors did not work, sorted by who must act: the operator first, then us.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// `deliver.db` could not be read or written: a full disk heals with time, the rest is the operator's.
    #[error("deliver.db cannot be read or written")]
    Database(#[source] Arc<rusqlite::Error>),
    /// The thread that writes `deliver.db` could not be started.
    #[error("the thread that writes deliver.db cannot be started")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder of `deliver.db` could not be made.
    #[error("cannot make {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Written by a newer Penstock.
    #[error("deliver.db has format {found}; this Penstock reads {known}: use the newer Penstock")]
    Format {
        /// The number in the file.
        found: i64,
        /// The number that this Penstock knows.
        known: i64,
    },
    /// The log could not be read.
    #[error("cannot follow the log")]
    Follow(#[from] commit::FollowError),
    /// No certificates were found to check an https target with.
    #[error("no file of trusted certificates was found; https targets need one")]
    NoRoots,
    /// The certificates could not be read.
    #[error("cannot read the trusted certificates in {path}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
    /// No connector has this id.
    #[error("there is no connector {0}")]
    Unknown(ConnectorId),
    /// A stored batch is not what its row says; our bug or a damaged file.
    #[error("{0}")]
    Shape(String),
    /// Our own code panicked while it wrote.
    #[error("deliver.db's writer met a bug of ours")]
    Writer,
    /// Our own code panicked.
    #[error("a connector met a bug of ours")]
    Bug(#[source] tokio::task::JoinError),
}

impl From<rusqlite::Error> for DeliverError {
    fn from(error: rusqlite::Error) -> DeliverError {
        DeliverError::Database(Arc::new(error))
    }
}

/// A running connector.
struct Slot {
    config: Arc<ConnectorConfig>,
    live: Arc<Live>,
    orders: watch::Sender<Order>,
    nudge: Arc<Notify>,
    task: Task,
}

/// Ends its task when dropped.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Deliver {
    /// Opens or makes `deliver.db` in `dir` (made if absent). No connector runs before [`Deliver::apply`]. Blocks for
    /// the disk.
    pub fn open(dir: &Path, log: Log, read: ReadFrame, schema: Arc<udm::Schema>) -> Result<Deliver, DeliverError> {
        Deliver::open_with(dir, log, read, schema, Surroundings::default())
    }

    /// The same with a clock or certificates of one's own.
    pub fn open_with(
        dir: &Path,
        log: Log,
        read: ReadFrame,
        schema: Arc<udm::Schema>,
        surroundings: Surroundings,
    ) -> Result<Deliver, DeliverError> {
        std::fs::create_dir_all(dir).map_err(|source| DeliverError::Folder { path: dir.to_owned(), source })?;
        let ledger = Ledger::open(dir)?;
        let resting = ledger.accounts()?.into_iter().collect();
        let Surroundings { clock, ca_file, invoke, run_log } = surroundings;
        let parts = Parts {
            ledger,
            log,
            read,
            schema,
            clock,
            ca_file,
            invoke,
            run_log,
            meter: Meter::default(),
            tls: tokio::sync::OnceCell::new(),
            changes: watch::Sender::new(0),
        };
        Ok(Deliver {
            parts: Arc::new(parts),
            slots: Mutex::default(),
            resting: Mutex::new(resting),
            applying: tokio::sync::Mutex::new(()),
            flusher: Mutex::default(),
        })
    }

    /// Makes the connectors be what the documents say now: new ones begin, changed ones go on with their cursor under
    /// the new document, those without a document end and leave nothing behind. When this returns, every new
    /// connector's beginning is on disk. Must be called within a tokio runtime. Of two documents with one id the later
    /// counts.
    pub async fn apply(&self, connectors: Vec<ConnectorConfig>) -> Result<(), DeliverError> {
        let _one_at_a_time = self.applying.lock().await;
        self.flusher().get_or_insert_with(|| Task(tokio::spawn(flush(self.parts.clone()))));
        let wanted: BTreeMap<ConnectorId, ConnectorConfig> =
            connectors.into_iter().map(|config| (config.id.clone(), config)).collect();

        let known: BTreeSet<ConnectorId> = {
            let (slots, resting) = (self.slots(), self.resting());
            slots.keys().chain(resting.keys()).cloned().collect()
        };
        for id in known.into_iter().filter(|id| !wanted.contains_key(id)) {
            let slot = self.slots().remove(&id);
            if let Some(slot) = slot {
                slot.order(What::End(Duration::ZERO));
                slot.task.ended().await;
                // Should the rows stay because the disk refuses, they are found as resting by the next call.
                self.resting().insert(id.clone(), slot.live.account());
            }
            let (parts, doomed) = (self.parts.clone(), id.clone());
            blocking(move || {
                parts.meter.forget(&doomed);
                Ok(())
            })
            .await?;
            self.parts.ledger.write(ledger::delete(row_name(&id))).await?;
            self.resting().remove(&id);
        }

        for (id, config) in wanted {
            let config = Arc::new(config);
            if let Some(slot) = self.slots().get_mut(&id) {
                if slot.config.print != config.print {
                    slot.config = config.clone();
                    slot.order(What::Run(config));
                }
                continue;
            }
            let start = connector::start(&config, &self.parts.log);
            let account = self.parts.ledger.write(ledger::enrol(row_name(&id), start)).await?;
            let slot = self.spawn(config, account);
            // Into the slots before out of the resting, so that no moment forgets its cursor.
            self.slots().insert(id.clone(), slot);
            self.resting().remove(&id);
        }
        self.parts.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Has an active connector begin anew under its document: what waits is tried at once, and one that a loop stopped
    /// passes the looping records over.
    pub async fn activate_again(&self, id: &ConnectorId) -> Result<(), DeliverError> {
        let _one_at_a_time = self.applying.lock().await;
        let live = self.slot(id)?.0;
        live.set_account(self.parts.ledger.write(ledger::release(row_name(id))).await?);
        if let Some(slot) = self.slots().get(id) {
            slot.order(What::Run(slot.config.clone()));
        }
        Ok(())
    }

    /// What connectors of an instance did, per minute or longer interval, of the last [`METRICS_KEEP`]. Blocks: asks the
    /// database.
    pub fn metrics(&self, instance: InstanceId, query: &MetricsQuery) -> Result<Vec<Series>, DeliverError> {
        self.parts.meter.series(&self.parts.ledger, instance, query)
    }

    /// The lowest position of the log that some connector still needs, running, inactive or not applied yet. `None`:
    /// none.
    pub fn lowest_cursor(&self) -> Option<Position> {
        let epoch = self.parts.log.epoch();
        let (slots, resting) = (self.slots(), self.resting());
        let running = slots.values().map(|slot| slot.live.account().cursor.position);
        let resting = resting.values().map(|account| account.cursor.position);
        // The cursor of another log needs nothing of this one.
        running.chain(resting).filter(|position| position.epoch == epoch).min()
    }

    /// All connectors that were applied, by id. From memory; cheap.
    pub fn status(&self) -> Vec<ConnectorStatus> {
        let (end, now) = (self.parts.log.status().durable_to, self.parts.clock.now());
        self.slots().iter().map(|(id, slot)| slot.live.status(id, end, now)).collect()
    }

    /// Counts up whenever something that [`Deliver::status`] shows has changed, apart from the lags.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.parts.changes.subscribe()
    }

    /// Where a record is, as each connector of its instance sees it. `position` is that of its frame. Blocks: asks the
    /// database and may read one frame.
    pub fn whereabouts(
        &self,
        instance: InstanceId,
        record: RecordId,
        position: Position,
    ) -> Result<Vec<(ConnectorId, Whereabouts)>, DeliverError> {
        let slots: Vec<(ConnectorId, Arc<ConnectorConfig>, Account)> = self
            .slots()
            .iter()
            .filter(|(id, _)| id.instance == instance)
            .map(|(id, slot)| (id.clone(), slot.config.clone(), slot.live.account()))
            .collect();
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let is_parsed = slots.iter().any(|(_, config, _)| config.source.wanted() == Wanted::Parsed);
        let wanted = if is_parsed { Wanted::Parsed } else { Wanted::Sent };
        let events = reader::look(&self.parts.log, &self.parts.read, position, record, wanted)?;
        let mut found = Vec::with_capacity(slots.len());
        for (id, config, account) in slots {
            let trace = self.parts.ledger.trace(&id, record, position)?;
            let whereabouts = match trace {
                Trace::Dead(reason) => Whereabouts::DeadLetter { reason },
                Trace::Dropped(reason) => Whereabouts::Dropped { reason },
                Trace::Planned => Whereabouts::Waiting,
                Trace::Lost => Whereabouts::Lost,
                Trace::Nothing { settled_to } => {
                    let cursor = settled_to.unwrap_or(account.cursor);
                    passed(&config, account.start, cursor, position, events.as_deref())
                }
            };
            found.push((id, whereabouts));
        }
        Ok(found)
    }

    /// The newest dead letters of a connector, newest first. Blocks.
    pub fn dead_letters(&self, id: &ConnectorId, limit: usize) -> Result<Vec<DeadLetter>, DeliverError> {
        self.parts.ledger.dead_letters(id, limit)
    }

    /// Sends dead letters again, by their numbers, once the connector is done with what is under way; what is refused
    /// again comes back under a new number. Gives how many there were. Blocks.
    pub fn retry(&self, id: &ConnectorId, letters: &[i64]) -> Result<usize, DeliverError> {
        let nudge = self.slot(id)?.1;
        let marked = self.parts.ledger.write_now(ledger::mark_again(row_name(id), letters.to_vec()))?;
        nudge.notify_one();
        Ok(marked)
    }

    /// Drops dead letters, by their numbers, for good. Gives how many there were. Blocks.
    pub fn drop_dead_letters(&self, id: &ConnectorId, letters: &[i64]) -> Result<usize, DeliverError> {
        let live = self.slot(id)?.0;
        let drop = ledger::drop_letters(row_name(id), letters.to_vec());
        let (dropped, account) = self.parts.ledger.write_now(drop)?;
        live.set_account(account);
        Ok(dropped)
    }

    /// Takes note of a connector's lost ranges, which then no longer need attention. They stay in its status. Blocks.
    pub fn acknowledge(&self, id: &ConnectorId) -> Result<(), DeliverError> {
        let live = self.slot(id)?.0;
        live.set_account(self.parts.ledger.write_now(ledger::acknowledge(row_name(id)))?);
        Ok(())
    }

    /// Ends all connectors: a request under way gets a second more, what it carried is kept for the next start. Returns
    /// within two seconds, whatever a disk or a target does.
    pub async fn stop(&self) {
        let ended = async {
            let _one_at_a_time = self.applying.lock().await;
            let mut slots = {
                let (mut slots, mut resting) = (self.slots(), self.resting());
                // Into the resting before out of the slots: the log must not let go what is still needed meanwhile.
                resting.extend(slots.iter().map(|(id, slot)| (id.clone(), slot.live.account())));
                std::mem::take(&mut *slots)
            };
            for slot in slots.values() {
                slot.order(What::End(connector::GRACE));
            }
            for (id, slot) in &mut slots {
                slot.task.wait().await;
                self.resting().insert(id.clone(), slot.live.account());
            }
            let parts = self.parts.clone();
            if let Err(error) = blocking(move || parts.meter.flush(&parts.ledger)).await {
                tracing::warn!(%error, "the last metrics of the connectors are lost");
            }
        };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!(
                "some connectors did not end in time; what they were sending is sent again at the next start"
            );
        }
    }

    fn spawn(&self, config: Arc<ConnectorConfig>, account: Account) -> Slot {
        let live = Arc::new(Live::new(account, self.parts.changes.clone()));
        let nudge = Arc::new(Notify::new());
        let (orders, receiver) = watch::channel(Order { number: 0, what: What::Run(config.clone()) });
        let connector = Connector {
            id: config.id.clone(),
            name: row_name(&config.id),
            parts: self.parts.clone(),
            live: live.clone(),
            gauge: self.parts.meter.gauge(&config.id),
            orders: receiver,
            nudge: nudge.clone(),
            number: 0,
            troubles: 0,
            runs: Runs::default(),
            together: connector::Together::default(),
        };
        let task = Task(tokio::spawn(connector.run()));
        Slot { config, live, orders, nudge, task }
    }

    fn slot(&self, id: &ConnectorId) -> Result<(Arc<Live>, Arc<Notify>), DeliverError> {
        let slots = self.slots();
        let slot = slots.get(id).ok_or_else(|| DeliverError::Unknown(id.clone()))?;
        Ok((slot.live.clone(), slot.nudge.clone()))
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<ConnectorId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flusher(&self) -> MutexGuard<'_, Option<Task>> {
        self.flusher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<ConnectorId, Account>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Deliver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliver").field("connectors", &self.slots().keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Slot {
    fn order(&self, what: What) {
        self.orders.send_modify(|order| *order = Order { number: order.number + 1, what });
    }
}

impl Task {
    async fn wait(&mut self) {
        // A task that panicked has ended too; the runtime has reported it.
        let _ = (&mut self.0).await;
    }

    async fn ended(mut self) {
        self.wait().await;
    }
}

/// A connector as its rows name it.
fn row_name(id: &ConnectorId) -> ledger::Name {
    id.to_string().into()
}

/// Writes down every few seconds what the meter counted.
async fn flush(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(meter::FLUSH_EVERY).await;
        let flushing = parts.clone();
        if let Err(error) = blocking(move || flushing.meter.flush(&flushing.ledger)).await {
            tracing::warn!(%error, "the metrics of the connectors cannot be written; they are kept in memory");
        }
    }
}

/// Where a record is of which the rows say nothing: before or behind the cursor, taken by the filter or not.
fn passed(
    config: &ConnectorConfig,
    start: Position,
    settled_to: Place,
    position: Position,
    events: Option<&[(u32, event::Event)]>,
) -> Whereabouts {
    let Place { position: cursor, skip } = settled_to;
    if position.epoch != cursor.epoch {
        return Whereabouts::Lost;
    }
    if position.epoch == start.epoch && position < start {
        return Whereabouts::NotSelected;
    }
    match events {
        None if position < cursor => Whereabouts::Passed,
        None => Whereabouts::Waiting,
        Some(events) => match events.iter().rfind(|(_, event)| config.source.selects(event)) {
            None => Whereabouts::NotSelected,
            Some((number, event)) if position < cursor || (position == cursor && *number < skip) => {
                let looping = loops::hops(&event.batch) >= event::limits::LOOP_HOPS_MAX;
                // A function is never given one.
                let passed_over = looping && config.target.function().is_some();
                if passed_over { Whereabouts::PassedOver } else { Whereabouts::Delivered }
            }
            Some(_) => Whereabouts::Waiting,
        },
    }
}
