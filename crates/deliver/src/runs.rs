//! The run log: what a connector says of itself to those who own it, as OCI's Connector Hub does (contracts/oci.md §2.6).
//! Pure: what happened and when comes in, entries go out; [`RunLog`] is where the binary puts them.
//!
//! A run goes from having work until the log is dry, at most [`RUN_MAX`] long, so that load costs two entries each ten
//! seconds and an idle connector none. A failed or suspicious call is an entry of its own at once. A batch that fails in
//! the same way again and again is told of at its 1st, 2nd, 4th, 8th … attempt; of one run at most [`SUSPICIOUS_MAX`]
//! suspicious calls are told one by one, and the rest is counted in its last entry.

use std::time::Duration;

use event::Time;
use serde::Serialize;

use crate::config::ConnectorId;

/// Takes the entries of connectors whose documents ask for it (`"run_log": true`).
pub trait RunLog: Send + Sync {
    /// Must not block: a connector waits for it between two calls.
    fn write(&self, connector: &ConnectorId, entry: RunEntry);
}

/// Longest run.
pub const RUN_MAX: Duration = Duration::from_secs(10);
/// How long the log must be dry for a run to be over: records that come one by one are one run.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// Most suspicious calls of one run that have entries of their own.
pub const SUSPICIOUS_MAX: u64 = 10;

/// One entry of a run log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunEntry {
    /// When it happened.
    pub at: Time,
    /// How bad it is.
    pub level: RunLevel,
    /// What it is about.
    pub message_type: RunMessage,
    /// In a sentence.
    pub message: String,
    /// The call that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The status of that call or request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many records it is about.
    pub records: u64,
    /// From how many calls this entry comes, for the label of its record (see `loops`).
    #[serde(skip)]
    pub hops: u32,
}

/// How bad an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunLevel {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
    /// It did not work.
    Error,
}

/// What an entry is about. The first two are OCI's, the rest ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RunMessage {
    /// A run began.
    #[serde(rename = "CONNECTOR_RUN_STARTED")]
    Started,
    /// A run ended.
    #[serde(rename = "CONNECTOR_RUN_COMPLETED")]
    Completed,
    /// A call failed, and the same batch will be given again.
    #[serde(rename = "CONNECTOR_CALL_FAILED")]
    CallFailed,
    /// A call was taken, but something speaks against it.
    #[serde(rename = "CONNECTOR_CALL_SUSPICIOUS")]
    CallSuspicious,
    /// A loop stopped the connector.
    #[serde(rename = "CONNECTOR_LOOP_STOPPED")]
    LoopStopped,
    /// Records of a loop were passed over.
    #[serde(rename = "CONNECTOR_LOOP_PASSED_OVER")]
    LoopPassedOver,
}

/// Which call an entry is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub id: Option<String>,
    pub status: Option<u16>,
    pub records: u64,
    pub hops: u32,
}

/// Where a connector stands in its runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    run: Option<Run>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Run {
    began: Time,
    read: u64,
    written: u64,
    suspicious: u64,
    hops: u32,
}

/// A batch that has failed, and what was told of it.
#[derive(Debug)]
struct Failing {
    reason: String,
    attempts: u32,
    /// The attempt to tell of next if nothing changes.
    tell_at: u32,
    /// Whether a run has ended with this failure; none begins before the batch is delivered.
    run_told: bool,
}

impl Runs {
    /// A batch is ready, for which so many records were read.
    pub(crate) fn ready(&mut self, now: Time, read: u64, hops: u32, out: &mut Vec<RunEntry>) {
        let run = self.run.get_or_insert_with(|| {
            let message = "Run started".to_owned();
            out.push(entry(now, RunLevel::Info, RunMessage::Started, message, &Call { hops, ..Call::default() }));
            Run { began: now, read: 0, written: 0, suspicious: 0, hops }
        });
        run.read += read;
        run.hops = run.hops.max(hops);
    }

    /// The batch was delivered; `note` is what speaks against it.
    pub(crate) fn delivered(&mut self, now: Time, call: &Call, note: Option<&str>, out: &mut Vec<RunEntry>) {
        if self.run.is_none() {
            // A run that had ended with this batch's failure, or a start that found it frozen.
            self.ready(now, call.records, call.hops, out);
        }
        self.failing = None;
        let Some(run) = self.run.as_mut() else { return };
        run.written += call.records;
        if let Some(note) = note {
            run.suspicious += 1;
            if run.suspicious <= SUSPICIOUS_MAX {
                let message = format!("A call with {} was taken, but: {note}", messages(call.records));
                out.push(entry(now, RunLevel::Warn, RunMessage::CallSuspicious, message, call));
            }
        }
        if lasted(run, now) {
            self.complete(now, out);
        }
    }

    /// An attempt at the batch failed.
    pub(crate) fn failed(&mut self, now: Time, call: &Call, reason: &str, out: &mut Vec<RunEntry>) {
        let failing = self.failing.get_or_insert_with(|| Failing {
            reason: String::new(),
            attempts: 0,
            tell_at: 1,
            run_told: false,
        });
        failing.attempts = failing.attempts.saturating_add(1);
        if failing.attempts >= failing.tell_at || failing.reason != reason {
            failing.tell_at = failing.attempts.saturating_mul(2);
            failing.reason = reason.to_owned();
            let again = match failing.attempts {
                1 => String::new(),
                attempts => format!(" (attempt {attempts})"),
            };
            let message = format!("A call with {} failed{again}: {reason}", messages(call.records));
            out.push(entry(now, RunLevel::Error, RunMessage::CallFailed, message, call));
        }
        if self.run.as_ref().is_some_and(|run| lasted(run, now)) {
            self.complete(now, out);
        }
    }

    /// Whether something is to be said should nothing happen.
    pub(crate) fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// The log is dry, or the connector ends.
    pub(crate) fn complete(&mut self, now: Time, out: &mut Vec<RunEntry>) {
        let Some(run) = self.run.take() else { return };
        let Run { read, written, suspicious, hops, .. } = run;
        let told = format!("Read {} from source and wrote {} to target", messages(read), messages(written));
        let rest = match suspicious.saturating_sub(SUSPICIOUS_MAX) {
            0 => String::new(),
            rest => format!("; {rest} more suspicious calls"),
        };
        let (level, message) = match &mut self.failing {
            Some(failing) if !failing.run_told => {
                failing.run_told = true;
                (RunLevel::Error, format!("Run failed - {told}{rest}: {}", failing.reason))
            }
            _ => (RunLevel::Info, format!("Run succeeded - {told}{rest}")),
        };
        let about = Call { records: written, hops, ..Call::default() };
        out.push(entry(now, level, RunMessage::Completed, message, &about));
    }
}

/// A loop stopped the connector. The entry is about no call: who reads the run log is not in the loop.
pub(crate) fn loop_stopped(now: Time, reason: &str) -> RunEntry {
    entry(now, RunLevel::Error, RunMessage::LoopStopped, format!("Stopped: {reason}"), &Call::default())
}

/// Looping records were left out.
pub(crate) fn loop_passed_over(now: Time, records: u64, first: &str) -> RunEntry {
    let about = Call { records, ..Call::default() };
    let message = format!("Passed over {} of a loop, the first of them {first}", messages(records));
    entry(now, RunLevel::Warn, RunMessage::LoopPassedOver, message, &about)
}

fn entry(at: Time, level: RunLevel, message_type: RunMessage, message: String, call: &Call) -> RunEntry {
    RunEntry {
        at,
        level,
        message_type,
        message,
        call_id: call.id.clone(),
        status: call.status,
        records: call.records,
        hops: call.hops.saturating_add(1),
    }
}

fn lasted(run: &Run, now: Time) -> bool {
    now.nanos_since(run.began) >= RUN_MAX.as_nanos() as i64
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Ready(u64),
        Delivered(u64),
        Suspicious(u64),
        Failed(&'static str),
        Dry,
    }
    use Step::*;

    /// Steps, each with its second, and what is said at which.
    fn check(steps: &[(i64, Step)], expected: &[(i64, RunLevel, &str)]) {
        let (mut runs, mut out) = (Runs::default(), Vec::new());
        for (second, step) in steps {
            let now = Time::from_secs(*second).unwrap();
            let call = |records| Call { id: Some("01CALL".to_owned()), status: Some(200), records, hops: 2 };
            match step {
                Ready(read) => runs.ready(now, *read, 2, &mut out),
                Delivered(records) => runs.delivered(now, &call(*records), None, &mut out),
                Suspicious(records) => runs.delivered(now, &call(*records), Some("2 errors"), &mut out),
                Failed(reason) => runs.failed(now, &call(2), reason, &mut out),
                Dry => runs.complete(now, &mut out),
            }
        }
        assert!(out.iter().all(|entry| entry.hops == 3), "{out:?}");
        let said: Vec<_> = out.iter().map(|entry| (entry.at.millis() / 1_000, entry.level, &*entry.message)).collect();
        assert_eq!(said, expected);
    }

    use RunLevel::{Error, Info, Warn};

    #[test]
    fn a_run_is_from_work_to_dry() {
        check(
            &[(1, Ready(2)), (1, Delivered(2)), (2, Dry), (3, Dry), (9, Ready(1)), (9, Delivered(1)), (10, Dry)],
            &[
                (1, Info, "Run started"),
                (2, Info, "Run succeeded - Read 2 messages from source and wrote 2 messages to target"),
                (9, Info, "Run started"),
                (10, Info, "Run succeeded - Read 1 message from source and wrote 1 message to target"),
            ],
        );
    }

    #[test]
    fn load_costs_two_entries_each_ten_seconds() {
        let load: Vec<(i64, Step)> = (0..=20).flat_map(|second| [(second, Ready(5)), (second, Delivered(4))]).collect();
        check(
            &load,
            &[
                (0, Info, "Run started"),
                (10, Info, "Run succeeded - Read 55 messages from source and wrote 44 messages to target"),
                (11, Info, "Run started"),
                // Not yet over: the last began at 11.
            ],
        );
    }

    #[test]
    fn the_same_failure_is_told_at_growing_distance() {
        let mut steps = vec![(0, Ready(2))];
        steps.extend((1..=9).map(|attempt| (attempt, Failed("no"))));
        steps.extend([(10, Failed("out of time")), (11, Failed("out of time")), (12, Delivered(2)), (14, Dry)]);
        check(
            &steps,
            &[
                (0, Info, "Run started"),
                (1, Error, "A call with 2 messages failed: no"),
                (2, Error, "A call with 2 messages failed (attempt 2): no"),
                (4, Error, "A call with 2 messages failed (attempt 4): no"),
                (8, Error, "A call with 2 messages failed (attempt 8): no"),
                (10, Error, "A call with 2 messages failed (attempt 10): out of time"),
                (10, Error, "Run failed - Read 2 messages from source and wrote 0 messages to target: out of time"),
                (12, Info, "Run started"),
                (14, Info, "Run succeeded - Read 2 messages from source and wrote 2 messages to target"),
            ],
        );
    }

    #[test]
    fn suspicious_calls_are_told_and_then_counted() {
        let mut steps: Vec<(i64, Step)> = (0..12).map(|_| (0, Suspicious(1))).collect();
        steps.push((1, Dry));
        let (mut runs, mut out) = (Runs::default(), Vec::new());
        for (second, step) in steps {
            let now = Time::from_secs(second).unwrap();
            match step {
                Suspicious(records) => {
                    runs.ready(now, records, 0, &mut out);
                    runs.delivered(now, &Call { records, ..Call::default() }, Some("2 errors in its log"), &mut out);
                }
                _ => runs.complete(now, &mut out),
            }
        }
        let warned: Vec<_> = out.iter().filter(|entry| entry.level == Warn).collect();
        assert_eq!(warned.len(), 10);
        assert_eq!(warned[0].message, "A call with 1 message was taken, but: 2 errors in its log");
        let last =
            "Run succeeded - Read 12 messages from source and wrote 12 messages to target; 2 more suspicious calls";
        assert_eq!(out.last().unwrap().message, last);
    }
}
