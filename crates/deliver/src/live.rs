//! What a connector shows of itself while it runs: its phase, kept in memory, and its account, as the ledger last said.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::{Position, Time};
use serde::Serialize;
use tokio::sync::watch;

use crate::config::ConnectorId;
use crate::ledger::{Account, LostRange, Place};

/// A connector as seen from outside. Holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorStatus {
    /// Its instance and name.
    #[serde(serialize_with = "as_text")]
    pub id: ConnectorId,
    /// What it is doing.
    #[serde(flatten)]
    pub state: ConnectorState,
    /// Everything before this is settled: delivered, left out by the filter, dead-lettered, or lost.
    #[serde(serialize_with = "as_text")]
    pub cursor: Position,
    /// Events of its instance that it looked at.
    pub read: u64,
    /// Records that the target took.
    pub written: u64,
    /// Attempts that failed, and other errors.
    pub errors: u64,
    /// Records in the dead letters now.
    pub dead_letters: u64,
    /// Calls that a function took although something speaks against them.
    pub suspicious: u64,
    /// What spoke against the last of them, and when.
    pub last_suspicious: Option<LastError>,
    /// Looping records that were passed over.
    pub passed_over: u64,
    /// When the failures began that nothing has ended since.
    pub failing_since: Option<Time>,
    /// Bytes of the log between the cursor and its end.
    pub lag_bytes: u64,
    /// Age of the oldest record that waits, in milliseconds; 0 when none does, `None` when it has not been read yet.
    pub lag_ms: Option<u64>,
    /// The last error and when it happened.
    pub last_error: Option<LastError>,
    /// Parts of the log that it did not get to read: the newest hundred, oldest first.
    pub lost: Vec<LostRange>,
}

/// A connector's last error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When it happened.
    pub at: Time,
    /// What it was, in a sentence.
    pub message: String,
}

/// What a connector is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ConnectorState {
    /// Reading and delivering, or idle at the end of the log.
    Running,
    /// The last attempt failed; time may heal it.
    Waiting {
        /// Why.
        reason: String,
        /// When it tries again.
        next_try: Time,
    },
    /// Switched off; keeps its cursor.
    Inactive,
    /// Somebody must act: the target refuses every batch or has failed for long, a loop was found, or a range of the log
    /// was lost. It goes on trying, except in a loop.
    NeedsAttention {
        /// Why.
        reason: String,
    },
}

/// What a connector's task is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Waiting { reason: String, next_try: Time },
    Stuck { reason: String },
    Inactive,
}

/// One connector's state, shared between its task and those who look.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct State {
    phase: Phase,
    account: Account,
    /// When the oldest record was received that waits.
    oldest: Option<Time>,
    /// How long it may fail before it needs attention.
    attention: Option<Duration>,
}

impl Live {
    pub(crate) fn new(account: Account, changes: watch::Sender<u64>) -> Live {
        let state = State { phase: Phase::Inactive, account, oldest: None, attention: None };
        Live { state: Mutex::new(state), changes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != phase {
            state.phase = phase;
            drop(state);
            self.tell();
        }
    }

    /// An account that is older than the one known changes nothing.
    pub(crate) fn set_account(&self, account: Account) {
        let mut state = self.lock();
        if account.version >= state.account.version {
            state.account = account;
        }
        drop(state);
        self.tell();
    }

    /// When the oldest record was received that waits; `None` when none is known to.
    pub(crate) fn set_oldest(&self, received_at: Option<Time>) {
        self.lock().oldest = received_at;
    }

    pub(crate) fn set_attention(&self, attention: Option<Duration>) {
        self.lock().attention = attention;
    }

    pub(crate) fn account(&self) -> Account {
        self.lock().account.clone()
    }

    pub(crate) fn cursor(&self) -> Place {
        self.lock().account.cursor
    }

    pub(crate) fn status(&self, id: &ConnectorId, end: Position, now: Time) -> ConnectorStatus {
        let State { phase, account, oldest, attention } = self.lock().clone();
        let cursor = account.cursor.position;
        let lag_bytes = if cursor.epoch == end.epoch { end.offset.saturating_sub(cursor.offset) } else { end.offset };
        let lag_ms = match oldest {
            Some(oldest) => Some(u64::try_from(now.nanos_since(oldest) / 1_000_000).unwrap_or(0)),
            None if lag_bytes == 0 => Some(0),
            None => None,
        };
        ConnectorStatus {
            id: id.clone(),
            state: state(phase, &account, attention, now),
            cursor,
            read: account.read,
            written: account.written,
            errors: account.errors,
            dead_letters: account.dead_letters,
            suspicious: account.suspicious,
            last_suspicious: account.last_suspicious.map(|(at, message)| LastError { at, message }),
            passed_over: account.passed_over,
            failing_since: account.failing_since,
            lag_bytes,
            lag_ms,
            last_error: account.last_error.map(|(at, message)| LastError { at, message }),
            lost: account.lost,
        }
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

pub(crate) fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A loss that nobody has taken note of outranks everything but being switched off and being stuck. Failures are shown as
/// what they are until they have lasted for long.
fn state(phase: Phase, account: &Account, attention: Option<Duration>, now: Time) -> ConnectorState {
    let mut unseen = account.lost.iter().filter(|range| !range.acknowledged);
    let loss = unseen.next_back().map(|newest| match unseen.count() {
        0 => newest.to_string(),
        more => format!("{newest}, and {more} more"),
    });
    match (phase, loss) {
        (Phase::Inactive, _) => ConnectorState::Inactive,
        (Phase::Stuck { reason }, _) => ConnectorState::NeedsAttention { reason },
        (Phase::Running, Some(loss)) => ConnectorState::NeedsAttention { reason: loss },
        (Phase::Waiting { reason, .. }, Some(loss)) => {
            ConnectorState::NeedsAttention { reason: format!("{loss}; waiting: {reason}") }
        }
        (Phase::Waiting { reason, next_try }, None) => match (account.failing_since, attention) {
            (Some(since), Some(attention)) if now.nanos_since(since) as i128 >= attention.as_nanos() as i128 => {
                ConnectorState::NeedsAttention { reason: format!("nothing was taken since {since}: {reason}") }
            }
            _ => ConnectorState::Waiting { reason, next_try },
        },
        (Phase::Running, None) => ConnectorState::Running,
    }
}
