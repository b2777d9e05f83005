//! Who writes to an OCI log from within: functions, whose lines are records, and connectors that tell of their runs. What
//! comes in by OCI's API is signed, as [`super::oci_signature`] says.

use std::sync::Arc;

use event::{Batch, BatchId, BatchMeta, Kind, Label, Record, Time};

use super::{Caller, Role};
use crate::oci::envelope::{Kept, LOGGING_LOG_TYPE};
use crate::oci::ocid;
use crate::snapshot::{OciLog, Snapshot};

/// A caller that writes to a log.
#[derive(Debug, Clone)]
pub struct LogSender {
    log: Arc<OciLog>,
    /// The OCID of the log's tenancy.
    tenant: String,
}

/// What this server itself writes to a log; `None` while there is no such log or it takes nothing.
pub fn bound_to_log(log: &str, snapshot: &Snapshot) -> Option<LogSender> {
    let log = snapshot.oci_logs.get(log).filter(|log| log.enabled)?;
    snapshot
        .instances
        .contains_key(&log.instance)
        .then(|| LogSender { log: Arc::clone(log), tenant: ocid::tenancy(log.instance) })
}

impl LogSender {
    /// Where it writes to.
    pub fn log(&self) -> &OciLog {
        &self.log
    }

    /// What a record's envelope says of where it is kept.
    pub fn kept(&self, now: Time) -> Kept<'_> {
        Kept {
            tenant: &self.tenant,
            compartment: &self.log.compartment,
            log_group: &self.log.log_group,
            log: Some(&self.log.id),
            ingested: now,
        }
    }

    /// Envelopes of `sender`, such as `function:<OCID>`, as a batch.
    pub fn batch(
        &self,
        id: BatchId,
        now: Time,
        sender: &str,
        labels: Vec<Label>,
        records: Vec<Record>,
    ) -> (Caller, Batch) {
        let caller = Caller {
            instance: Some(self.log.instance),
            sender: sender.to_owned(),
            role: Role::Ingest,
            scopes: Role::Ingest.scopes(),
        };
        let meta = BatchMeta {
            id,
            instance: self.log.instance,
            kind: Kind::Raw,
            received_at: now,
            log_type: LOGGING_LOG_TYPE.to_owned(),
            feed: format!("oci/{}", self.log.id),
            sender: sender.to_owned(),
            namespace: String::new(),
            labels,
        };
        (caller, Batch { meta: Arc::new(meta), records })
    }
}
