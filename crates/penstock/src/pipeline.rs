//! How the stages are put together: the whole flow in one place.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use commit::{Disk, Log, LogOptions, LogStatus, Needed, RealDisk, Recovered};
use deliver::Deliver;
use dialects::Refusal;
use event::{InstanceId, Time};
use normalise::Normaliser;
use store::{Store, StoreOptions};

use crate::api::blocking;
use crate::config::{Config, Sync};
use crate::control::Control;
use crate::control::parsers::shipped;
use crate::follow::{Flusher, Progress, StoreFollower, spawn_maintenance};
use crate::hosted::Hosted;
use crate::own_logs::OwnLogs;

/// The clock, as everything is handed it.
pub type Clock = Arc<dyn Fn() -> Time + Send + std::marker::Sync>;

/// commit ─▶ store, commit ─▶ deliver. The front door is put before it by `serve`, search is asked by the API.
pub struct Pipeline {
    /// The durable log.
    pub log: Log,
    /// What recovery found.
    pub recovered: Recovered,
    /// The store, unless it is switched off.
    pub store: Option<Arc<Store>>,
    /// How far the store has read.
    pub progress: Arc<Progress>,
    /// Records that the store had of each instance when this process started.
    pub at_start: HashMap<InstanceId, u64>,
    /// The connectors.
    pub deliver: Arc<Deliver>,
    /// Frames to events, for every follower.
    pub normaliser: Arc<Normaliser>,
    applying: tokio::sync::Mutex<()>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
}

impl Pipeline {
    /// Opens and starts every stage behind the front door. `disk` is the log's; tests give a simulated one.
    pub fn start(
        config: &Config,
        dir: &Path,
        disk: Option<Arc<dyn Disk>>,
        control: &Control,
        clock: &Clock,
        functions: &Hosted,
        own_logs: &OwnLogs,
    ) -> anyhow::Result<Pipeline> {
        let disk = match disk {
            Some(disk) => disk,
            None => Arc::new(RealDisk::new(dir.join("log")).context("cannot open the log's directory")?),
        };
        let (log, recovered) = Log::open(disk, log_options(config), clock()).context("cannot open the log")?;
        let backlog_end = log.status().durable_to.offset;
        let shipped = shipped(config.normalise.parsers.as_deref())?;
        let LogStatus { first, durable_to, .. } = log.status();
        control.ship(&shipped, durable_to, clock()).context("cannot keep the parsers that come with the server")?;
        control.prune_turns(first)?;
        let options = normalise::Options { enabled: config.normalise.enabled, ..normalise::Options::default() };
        let schedule = control.parser_schedule().context("cannot read the parsers")?;
        let normaliser = Normaliser::new(Arc::clone(control.schema()), options, schedule);
        let normaliser = Arc::new(normaliser.context("cannot start the threads that parse")?);
        let read_for_connectors = {
            let normaliser = Arc::clone(&normaliser);
            Arc::new(move |position, payload: &bytes::Bytes, wanted, first| {
                let read = match wanted {
                    deliver::Wanted::Sent => Arc::new(normaliser.records(position, payload)?),
                    deliver::Wanted::Parsed => {
                        normaliser.read(&normalise::Frame { position, payload: payload.clone(), first })?
                    }
                };
                let normalise::Read { events, through, is_last, .. } = Arc::unwrap_or_clone(read);
                Ok(deliver::Slice { events, through, is_last })
            })
        };
        let surroundings = deliver::Surroundings {
            invoke: functions.is_on().then(|| Arc::new(functions.clone()) as Arc<dyn deliver::Invoke>),
            run_log: Some(Arc::new(own_logs.clone())),
            ..deliver::Surroundings::default()
        };
        let (folder, schema) = (dir.join("deliver"), Arc::clone(control.schema()));
        let deliver = Deliver::open_with(&folder, log.clone(), read_for_connectors, schema, surroundings)
            .context("cannot open deliver's directory")?;
        let deliver = Arc::new(deliver);
        let mut pipeline = Pipeline {
            log,
            recovered,
            store: None,
            progress: Arc::new(Progress::new(backlog_end, clock())),
            at_start: HashMap::new(),
            deliver,
            normaliser,
            applying: tokio::sync::Mutex::default(),
            threads: Mutex::default(),
            stop: Arc::default(),
        };
        if config.store.enabled {
            pipeline.start_store(config, dir, control, clock)?;
        }
        Ok(pipeline)
    }

    fn start_store(&mut self, config: &Config, dir: &Path, control: &Control, clock: &Clock) -> anyhow::Result<()> {
        let mut options = StoreOptions::new(dir.join("store"));
        options.flush_bytes = config.store.flush_bytes;
        options.flush_after = config.store.flush_after;
        for (log_type, days) in &config.store.keep_days {
            if log_type == "*" {
                options.retention.days = Some(*days);
            } else {
                options.retention.days_by_log_type.insert(log_type.clone(), Some(*days));
            }
        }
        let store = Store::open(options, Arc::clone(control.schema()), clock()).context("cannot open the store")?;
        let store = Arc::new(store);
        let stored = store.counts().stored;
        self.at_start = stored.iter().map(|(id, counts)| (*id, counts.records + counts.set_aside)).collect();
        let follower = StoreFollower {
            log: self.log.clone(),
            store: Arc::clone(&store),
            normaliser: Arc::clone(&self.normaliser),
            progress: Arc::clone(&self.progress),
            now: Arc::clone(clock),
            tail_bytes_max: config.store.flush_bytes.saturating_mul(2),
            flusher: Flusher {
                store: Arc::clone(&store),
                now: Arc::clone(clock),
                flushed: {
                    let (log, store, deliver) = (self.log.clone(), Arc::clone(&store), Arc::clone(&self.deliver));
                    Arc::new(move || retain(&log, Some(&store), &deliver))
                },
                stop: Arc::clone(&self.stop),
            },
            stop: Arc::clone(&self.stop),
            runtime: tokio::runtime::Handle::current(),
        };
        let maintenance = spawn_maintenance(Arc::clone(&store), Arc::clone(clock), Arc::clone(&self.stop))?;
        let mut threads = follower.spawn()?;
        threads.push(maintenance);
        self.threads = Mutex::new(threads);
        self.store = Some(store);
        Ok(())
    }

    /// Makes the connectors be what the documents say now. One after the other: of two changes the later one's documents
    /// are the ones that stay.
    pub async fn apply_connectors(&self, control: &Arc<Control>) -> Result<(), Refusal> {
        let _one_at_a_time = self.applying.lock().await;
        let documents = Arc::clone(control);
        let connectors = blocking(move || documents.connectors()).await??;
        self.deliver.apply(connectors).await.map_err(|error| {
            tracing::error!(%error, "the connectors cannot be changed");
            Refusal::internal()
        })?;
        self.retain();
        Ok(())
    }

    /// Lets a connector that a loop stopped go on behind it.
    pub async fn activate_again(&self, connector: deliver::ConnectorId) -> Result<(), Refusal> {
        self.deliver.activate_again(&connector).await.map_err(|error| {
            tracing::error!(%error, "a connector cannot be activated again");
            Refusal::internal()
        })
    }

    /// Lets the log remove what nobody needs any more.
    pub fn retain(&self) {
        retain(&self.log, self.store.as_ref(), &self.deliver);
    }

    /// Stops every stage: no more deliveries, the store writes out what it holds, the log syncs. Whatever does not finish
    /// in time is done again at the next start.
    pub async fn stop(&self) {
        self.stop.store(true, std::sync::atomic::Ordering::Release);
        self.deliver.stop().await;
        let threads = std::mem::take(&mut *self.threads.lock().expect("no code panics while it holds this lock"));
        for thread in &threads {
            thread.thread().unpark();
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        if tokio::time::timeout(STOP_STORE_MAX, joined).await.is_err() {
            tracing::warn!(
                "the store did not finish writing in time; it reads those records from the log at the next start"
            );
        }
        self.log.close();
    }
}

/// How long the store may take to write out what it holds.
const STOP_STORE_MAX: std::time::Duration = std::time::Duration::from_secs(3);

fn retain(log: &Log, store: Option<&Arc<Store>>, deliver: &Deliver) {
    // A store that has committed nothing yet still needs everything: position zero of this log, not "no store".
    let epoch = log.status().epoch;
    let store = store.map(|store| {
        let cursor = store.cursor().filter(|cursor| cursor.epoch == epoch);
        cursor.unwrap_or(event::Position { epoch, offset: 0 })
    });
    log.retain(Needed { store, others: deliver.lowest_cursor() });
}

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        segment_bytes: config.log.segment_bytes,
        keep: config.log.keep,
        keep_bytes: config.log.keep_bytes,
        dedup_window: config.log.dedup_window,
        dedup_keys_max: config.log.dedup_keys_max,
        sync: match config.log.sync {
            Sync::Always => commit::Sync::Always,
            Sync::EveryMillis(millis) => commit::Sync::Interval(std::time::Duration::from_millis(millis)),
        },
        ..LogOptions::default()
    }
}
