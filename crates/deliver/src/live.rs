//! What a connector shows of itself while it runs: its phase, kept in memory, and its account, as the ledger last said.

use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Somebody must act: the target refuses every batch, or a range of the log was lost.
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
    state: Mutex<(Phase, Account, Option<Time>)>,
    changes: watch::Sender<u64>,
}

impl Live {
    pub(crate) fn new(account: Account, changes: watch::Sender<u64>) -> Live {
        Live { state: Mutex::new((Phase::Inactive, account, None)), changes }
    }

    fn lock(&self) -> MutexGuard<'_, (Phase, Account, Option<Time>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if state.0 != phase {
            state.0 = phase;
            drop(state);
            self.tell();
        }
    }

    pub(crate) fn set_account(&self, account: Account) {
        self.lock().1 = account;
        self.tell();
    }

    /// When the oldest record was received that waits; `None` when none is known to.
    pub(crate) fn set_oldest(&self, received_at: Option<Time>) {
        self.lock().2 = received_at;
    }

    pub(crate) fn account(&self) -> Account {
        self.lock().1.clone()
    }

    pub(crate) fn cursor(&self) -> Place {
        self.lock().1.cursor
    }

    pub(crate) fn status(&self, id: &ConnectorId, end: Position, now: Time) -> ConnectorStatus {
        let (phase, account, oldest) = self.lock().clone();
        let cursor = account.cursor.position;
        let lag_bytes = if cursor.epoch == end.epoch { end.offset.saturating_sub(cursor.offset) } else { end.offset };
        let lag_ms = match oldest {
            Some(oldest) => Some(u64::try_from(now.nanos_since(oldest) / 1_000_000).unwrap_or(0)),
            None if lag_bytes == 0 => Some(0),
            None => None,
        };
        ConnectorStatus {
            id: id.clone(),
            state: state(phase, &account.lost),
            cursor,
            read: account.read,
            written: account.written,
            errors: account.errors,
            dead_letters: account.dead_letters,
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

/// A loss that nobody has taken note of outranks everything but being switched off and being stuck.
fn state(phase: Phase, lost: &[LostRange]) -> ConnectorState {
    let mut unseen = lost.iter().filter(|range| !range.acknowledged);
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
        (Phase::Waiting { reason, next_try }, None) => ConnectorState::Waiting { reason, next_try },
        (Phase::Running, None) => ConnectorState::Running,
    }
}
