//! Connectors: what a tenant's records go on to. Source filter → target, each with its own cursor in the log, its
//! counts, its dead letters, and a task of its own, so that a slow or dead target delays nobody.
//!
//! ```text
//! log ──▶ reader: frames, filter, encode ──▶ connector: freeze, send, judge, settle ──▶ third party
//!                                                │  ▲
//!                                             ledger (deliver.db): cursors, plans, dead letters, lost ranges
//! ```
//!
//! At least once, in the log's order: a batch is frozen before it is first sent and is sent byte for byte until the
//! target has it, so that a target which keeps `Idempotency-Key` or looks at contents sees each record once; others see
//! one twice only where their answer was lost. `ledger` holds the crash argument, `backoff` the waits, `targets` what
//! targets are, [`egress::Reach`] where connectors may send to.
//!
//! Absent: functions between source and target, and reading the log once for all (each connector reads for itself).

mod backoff;
mod clock;
mod config;
mod connector;
mod elements;
mod filter;
mod ledger;
mod live;
mod reader;
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
    BatchConfig, ConfigError, ConnectorConfig, ConnectorId, HttpConfig, HttpForm, HttpFormat, Language, Source, Start,
    TargetConfig,
};
pub use elements::{Elements, Member};
pub use ledger::{DeadLetter, Loss, LostRange};
pub use live::{ConnectorState, ConnectorStatus, LastError};
pub use reader::ReadFrame;
pub use targets::{Answer, Target, Verdict};

use connector::{Connector, Order, Parts, What, blocking};
use ledger::{Account, Ledger, Place, Trace};
use live::Live;

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
}

/// What tests and special settings replace.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Time, waits and jitter.
    pub clock: Arc<dyn Clock>,
    /// A file of PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Surroundings {
    fn default() -> Surroundings {
        Surroundings { clock: Arc::new(SystemClock), ca_file: None }
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
    Database(#[from] rusqlite::Error),
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
    /// Our own code panicked.
    #[error("a connector met a bug of ours")]
    Bug(#[source] tokio::task::JoinError),
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
        let Surroundings { clock, ca_file } = surroundings;
        let parts = Parts {
            ledger,
            log,
            read,
            schema,
            clock,
            ca_file,
            tls: tokio::sync::OnceCell::new(),
            changes: watch::Sender::new(0),
        };
        Ok(Deliver {
            parts: Arc::new(parts),
            slots: Mutex::default(),
            resting: Mutex::new(resting),
            applying: tokio::sync::Mutex::new(()),
        })
    }

    /// Makes the connectors be what the documents say now: new ones begin, changed ones go on with their cursor under
    /// the new document, those without a document end and leave nothing behind. When this returns, every new
    /// connector's beginning is on disk. Must be called within a tokio runtime. Of two documents with one id the later
    /// counts.
    pub async fn apply(&self, connectors: Vec<ConnectorConfig>) -> Result<(), DeliverError> {
        let _one_at_a_time = self.applying.lock().await;
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
            blocking(move || parts.ledger.delete(&doomed)).await?;
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
            let (parts, new) = (self.parts.clone(), config.clone());
            let account = blocking(move || parts.ledger.enrol(&new.id, connector::start(&new, &parts.log))).await?;
            let slot = self.spawn(config, account);
            // Into the slots before out of the resting, so that no moment forgets its cursor.
            self.slots().insert(id.clone(), slot);
            self.resting().remove(&id);
        }
        self.parts.changes.send_modify(|count| *count += 1);
        Ok(())
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
        let events = reader::look(&self.parts.log, &self.parts.read, position, record)?;
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
        let marked = self.parts.ledger.mark_again(id, letters)?;
        nudge.notify_one();
        Ok(marked)
    }

    /// Drops dead letters, by their numbers, for good. Gives how many there were. Blocks.
    pub fn drop_dead_letters(&self, id: &ConnectorId, letters: &[i64]) -> Result<usize, DeliverError> {
        let live = self.slot(id)?.0;
        let (dropped, account) = self.parts.ledger.drop_letters(id, letters)?;
        if let Some(account) = account {
            live.set_account(account);
        }
        Ok(dropped)
    }

    /// Takes note of a connector's lost ranges, which then no longer need attention. They stay in its status. Blocks.
    pub fn acknowledge(&self, id: &ConnectorId) -> Result<(), DeliverError> {
        let live = self.slot(id)?.0;
        if let Some(account) = self.parts.ledger.acknowledge(id)? {
            live.set_account(account);
        }
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
            parts: self.parts.clone(),
            live: live.clone(),
            orders: receiver,
            nudge: nudge.clone(),
            number: 0,
            troubles: 0,
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
            Some((number, _)) if position < cursor || (position == cursor && *number < skip) => Whereabouts::Delivered,
            Some(_) => Whereabouts::Waiting,
        },
    }
}
