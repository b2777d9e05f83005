//! The words of this crate: what a function is ([`Spec`]), what goes into it ([`Call`]) and what comes out ([`Answer`],
//! [`InvokeError`], [`CallReport`]). Plain data; the caller merges configurations and checks OCI's bounds before it gets
//! here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use event::Time;
use serde::{Deserialize, Serialize};

/// One function, as it is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its OCID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The OCID of its application.
    pub app_id: String,
    /// The name of its application.
    pub app_name: String,
    /// The installed version to run; `None` while there is none.
    pub version: Option<String>,
    /// Which function of which file is called.
    pub handler: Entry,
    /// Its memory limit. A process is killed when it has a tenth more.
    pub memory_mib: u32,
    /// How long a call may take; then its process is killed.
    pub timeout: Duration,
    /// How long a process may wait for its next call before it is stopped.
    pub idle_timeout: Duration,
    /// How many processes may run at once, each with one call at a time.
    pub processes: usize,
    /// What the function finds in its environment.
    pub config: BTreeMap<String, String>,
    /// How many requests to third parties are to leave per call.
    pub expects: Expects,
}

impl Spec {
    /// A function with OCI's defaults: 256 MiB as `fn init` writes, 30 s, one process.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Spec {
        Spec {
            id: id.into(),
            name: name.into(),
            app_id: String::new(),
            app_name: String::new(),
            version: None,
            handler: Entry::default(),
            memory_mib: 256,
            timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            processes: 1,
            config: BTreeMap::new(),
            expects: Expects::default(),
        }
    }

    /// Whether a process started by `self` can go on serving `other`: nothing that a process sees differs.
    pub(crate) fn same_process(&self, other: &Spec) -> bool {
        (&self.name, &self.app_id, &self.app_name, &self.version, &self.handler, self.memory_mib, &self.config)
            == (
                &other.name,
                &other.app_id,
                &other.app_name,
                &other.version,
                &other.handler,
                other.memory_mib,
                &other.config,
            )
    }
}

/// Where a function's code begins: `/function/<file> <name>` of an entrypoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The file, relative to the root of the archive.
    pub file: String,
    /// The Python function in it.
    pub name: String,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry { file: "func.py".to_owned(), name: "handler".to_owned() }
    }
}

/// How many requests to third parties a call is to make, as far as the egress proxy can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expects {
    /// One for each record: the lab's functions. Fewer that were answered well make the call suspicious.
    #[default]
    PerRecord,
    /// Any number, but at least one for a call with records; one that failed makes the call suspicious.
    Any,
    /// Requests say nothing about success.
    Nothing,
}

/// One invocation.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The request's body, at most [`crate::BODY_BYTES_MAX`].
    pub body: Bytes,
    /// Its type; `application/json` where nothing is said.
    pub content_type: Option<String>,
    /// The call's id; one is made where nothing (or nothing that can stand in a header and a log line) is said.
    pub call_id: Option<String>,
    /// More headers: `Fn-Intent`, `Fn-Http-*`. Those that this crate sets itself are ignored.
    pub headers: Vec<(String, String)>,
    /// How many records the body holds.
    pub records: Option<u64>,
    /// Who calls: `invoke`, or a connector's name.
    pub by: String,
    /// How many functions the records have been through; handed on to the lines that are logged.
    pub hops: u32,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Answered 200, and nothing speaks against it.
    Ok,
    /// Answered 502 or 504, killed, exited, or did not come up.
    Failed,
    /// Answered 200, but logged errors or sent less than it was given.
    Suspicious,
}

impl State {
    /// As it is shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Failed => "failed",
            State::Suspicious => "suspicious",
        }
    }

    pub(crate) fn from_stored(text: &str) -> State {
        match text {
            "ok" => State::Ok,
            "suspicious" => State::Suspicious,
            _ => State::Failed,
        }
    }
}

/// What a function answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The call's id.
    pub call_id: String,
    /// What the FDK answered: 200, 502 (the handler raised) or 504 (it raised a `TimeoutError`).
    pub status: u16,
    /// Headers as the FDK sent them, without those of the connection; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// What the call came to.
    pub state: State,
    /// Why it is not simply ok.
    pub note: Option<String>,
}

/// Why a call has no answer, sorted by who must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The caller: there is no such function.
    #[error("there is no such function")]
    Unknown,
    /// The caller: no version has been installed.
    #[error("the function has no installed version; deploy one")]
    NotInstalled,
    /// The caller: the body going in or out is larger than [`crate::BODY_BYTES_MAX`].
    #[error("the {what} is larger than {} bytes", crate::BODY_BYTES_MAX)]
    TooLarge {
        /// `request` or `answer`.
        what: &'static str,
    },
    /// Time: all processes are at work and too many calls wait, or this one has waited too long.
    #[error("busy: {why}")]
    Busy {
        /// What it waited for.
        why: String,
    },
    /// The function: no answer within its timeout; its process was killed.
    #[error("no answer within {} s", .after.as_secs_f64())]
    TimedOut {
        /// Its timeout.
        after: Duration,
    },
    /// The function: its process was killed or ended before it answered.
    #[error("{why}")]
    Killed {
        /// What ended it.
        why: String,
    },
    /// The function: its process did not come up.
    #[error("the function did not come up: {why}")]
    Init {
        /// Its last words.
        why: String,
    },
    /// Time: the server stops.
    #[error("the server is stopping")]
    Stopping,
}

/// What is kept of a call that began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallReport {
    /// The call's id.
    pub call_id: String,
    /// The function's id.
    pub function: String,
    /// The version that ran.
    pub version: String,
    /// Who called.
    pub by: String,
    /// When it began to run (not when it began to wait).
    pub began: Time,
    /// How long it ran.
    pub took_ms: f64,
    /// How many records went in, if known.
    pub records: Option<u64>,
    /// Requests to third parties that the egress proxy saw.
    pub requests: u64,
    /// Those of them that were answered with an error status or not at all.
    pub requests_failed: u64,
    /// What the FDK answered, if it did.
    pub status: Option<u16>,
    /// What the call came to.
    pub state: State,
    /// Why it is not simply ok.
    pub note: Option<String>,
    /// Lines logged at ERROR or CRITICAL.
    pub error_lines: u64,
    /// The most memory seen during the call.
    pub memory_peak_bytes: u64,
}

/// What a function did in one minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionCounts {
    /// The function's id.
    pub function: String,
    /// The minute's start.
    pub minute: Time,
    /// Calls that ended in this minute.
    pub calls: u64,
    /// Of them, by what they came to.
    pub ok: u64,
    /// See [`State::Failed`].
    pub failed: u64,
    /// See [`State::Suspicious`].
    pub suspicious: u64,
    /// How long they ran, together.
    pub took_ms_sum: f64,
    /// How long the longest ran.
    pub took_ms_max: f64,
}
