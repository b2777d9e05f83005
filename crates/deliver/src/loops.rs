//! Loops: a function's log lines are records, and where a connector brings them back to the function, each call makes the
//! next one for ever. Pure: labels and positions come in, a decision goes out.
//!
//! Every batch that a function's log (or a connector's run log) makes carries the label [`HOPS_LABEL`]: one more than the
//! records that the call was about. A record that would be the [`LOOP_HOPS_MAX`]th such step is not delivered to a function:
//! the connector stops before it and says why. Chains of functions that are meant are shorter; a loop gets there within
//! as many calls, whatever it logs.
//!
//! It stays stopped until somebody acts: another document or [`crate::Deliver::activate_again`]. Then the looping records up
//! to the log's end of that moment are passed over and counted, and everything else is delivered; should the loop still
//! be there, the next new record stops it again. What was decided is kept in the connector's row (`ledger`), so that a
//! restart neither goes on by itself nor forgets what may be passed over.
//!
//! The label is believed of OCI's logs only (feeds `oci/…`), whose senders cannot set labels: others could stop a
//! connector with it. Absent: loops through an `http` target that posts back to this server, which look like any sender.

use event::limits::LOOP_HOPS_MAX;
use event::{BatchMeta, Position};

/// The label of a batch that says from how many calls its records come.
pub const HOPS_LABEL: &str = "penstock_hops";

/// From how many calls the records of this batch come.
pub fn hops(batch: &BatchMeta) -> u32 {
    if !batch.feed.starts_with("oci/") {
        return 0;
    }
    let said = batch.labels.iter().filter(|label| label.key == HOPS_LABEL);
    said.filter_map(|label| label.value.parse().ok()).max().unwrap_or(0)
}

/// What is to be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Deliver,
    /// Somebody has acted: leave it out.
    Skip,
    /// Stop before it.
    Stop,
}

/// Decides whether records pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Everything passes: the target is no function.
    Open,
    /// Looping records stop the connector, but those before this place are passed over.
    Watching { skip_to: Option<Position> },
    /// Looping records are left out: a batch is made again that was made without them.
    Leaving,
}

impl Gate {
    pub(crate) fn judge(self, hops: u32, position: Position) -> Pass {
        match self {
            Gate::Open => Pass::Deliver,
            _ if hops < LOOP_HOPS_MAX => Pass::Deliver,
            Gate::Leaving => Pass::Skip,
            Gate::Watching { skip_to: Some(to) } if position.epoch == to.epoch && position.offset < to.offset => {
                Pass::Skip
            }
            Gate::Watching { .. } => Pass::Stop,
        }
    }
}

/// What a connector's row remembers of its last stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Not stopped.
    No,
    /// Stopped under the document with this hash.
    Under([u8; 32]),
    /// Stopped, and somebody has acted since: the next time it runs it passes the loop over.
    Released,
}

/// What a document that is to be followed makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on as before.
    Same,
    /// Note that somebody has acted.
    Release,
    /// Pass over what loops up to the log's end of now.
    PassOver,
}

impl Stopped {
    /// `print` is the document's hash; an inactive connector passes nothing over yet.
    pub(crate) fn next(&self, print: [u8; 32], active: bool) -> Next {
        match (self, active) {
            (Stopped::No, _) => Next::Same,
            (Stopped::Under(at), _) if *at == print => Next::Same,
            (Stopped::Released, false) => Next::Same,
            (Stopped::Under(_), false) => Next::Release,
            (Stopped::Under(_) | Stopped::Released, true) => Next::PassOver,
        }
    }
}

/// Why a connector stopped, and how to go on.
pub(crate) fn reason(feed: &str, function: &str, hops: u32) -> String {
    let log = feed.strip_prefix("oci/").unwrap_or(feed);
    format!(
        "a loop: records of log {log} come from {hops} calls in a row, each made by what the call before it logged, and \
         would be given to function {function} again. Leave this log out of the connector's source, or have the function \
         log elsewhere; then change or activate the connector again, which passes over the looping records"
    )
}

#[cfg(test)]
mod tests {
    use event::{BatchId, Kind, Label, Time};

    use super::*;

    fn batch(feed: &str, labels: &[(&str, &str)]) -> BatchMeta {
        let label =
            |&(key, value): &(&str, &str)| Label { key: key.to_owned(), value: value.to_owned(), rbac_enabled: false };
        BatchMeta {
            id: BatchId::from_u128(7 << 64).unwrap(),
            instance: "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().unwrap(),
            kind: Kind::Raw,
            received_at: Time::default(),
            log_type: "OCI_LOGGING".to_owned(),
            feed: feed.to_owned(),
            sender: String::new(),
            namespace: String::new(),
            labels: labels.iter().map(label).collect(),
        }
    }

    #[test]
    fn hops_are_read_of_oci_logs_alone() {
        let cases: &[(&str, &[(&str, &str)], u32)] = &[
            ("oci/log", &[], 0),
            ("oci/log", &[("penstock_hops", "3")], 3),
            ("oci/log", &[("penstock_hops", "3"), ("penstock_hops", "5"), ("site", "9")], 5),
            ("oci/log", &[("penstock_hops", "many")], 0),
            ("oci/log", &[("penstock_hops", "4294967295")], u32::MAX),
            ("7c8d", &[("penstock_hops", "9")], 0),
            ("", &[("penstock_hops", "9")], 0),
        ];
        for (feed, labels, expected) in cases {
            assert_eq!(hops(&batch(feed, labels)), *expected, "{feed} {labels:?}");
        }
    }

    #[test]
    fn what_passes() {
        let at = |epoch, offset| Position { epoch, offset };
        let (few, many) = (LOOP_HOPS_MAX - 1, LOOP_HOPS_MAX);
        let watching = Gate::Watching { skip_to: None };
        let acted = Gate::Watching { skip_to: Some(at(1, 500)) };
        let cases = [
            (Gate::Open, u32::MAX, at(1, 0), Pass::Deliver),
            (watching, few, at(1, 0), Pass::Deliver),
            (watching, many, at(1, 0), Pass::Stop),
            (acted, few, at(1, 0), Pass::Deliver),
            (acted, many, at(1, 499), Pass::Skip),
            (acted, many, at(1, 500), Pass::Stop),
            // Of another log nothing was said.
            (acted, many, at(2, 499), Pass::Stop),
            (Gate::Leaving, few, at(1, 0), Pass::Deliver),
            (Gate::Leaving, many, at(1, 0), Pass::Skip),
        ];
        for (gate, hops, position, expected) in cases {
            assert_eq!(gate.judge(hops, position), expected, "{gate:?} {hops} {position}");
        }
    }

    #[test]
    fn it_goes_on_only_when_somebody_acts() {
        let (old, new) = ([1; 32], [2; 32]);
        let cases = [
            (Stopped::No, new, true, Next::Same),
            // A restart.
            (Stopped::Under(old), old, true, Next::Same),
            (Stopped::Under(old), new, true, Next::PassOver),
            // Deactivated, and activated later under the very document that it stopped under.
            (Stopped::Under(old), new, false, Next::Release),
            (Stopped::Released, new, false, Next::Same),
            (Stopped::Released, old, true, Next::PassOver),
        ];
        for (stopped, print, active, expected) in cases {
            assert_eq!(stopped.next(print, active), expected, "{stopped:?} {print:?} {active}");
        }
    }

    #[test]
    fn the_reason_names_log_and_function() {
        let reason = reason("oci/ocid1.log.oc1.x.7", "ocid1.fnfunc.oc1.x.9", 8);
        for part in ["log ocid1.log.oc1.x.7", "function ocid1.fnfunc.oc1.x.9", "8 calls", "activate"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
}
