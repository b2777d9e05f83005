//! Who sends by an intake: whoever has its key, over HTTPS or in a line of syslog, and whoever reaches a port that the
//! operator bound to it. What comes by it is made a batch in one place.

use std::num::NonZeroU32;
use std::sync::Arc;

use event::{Batch, BatchId, BatchMeta, Kind, Label, Record, Time};

use super::{Caller, Role};
use crate::Refusal;
use crate::snapshot::{IntakeKey, SecretHash, Snapshot};

/// A caller that sends by an intake.
#[derive(Debug, Clone)]
pub struct IntakeSender {
    caller: Caller,
    intake: Arc<IntakeKey>,
}

/// Who holds this key of an intake.
pub fn authenticate_intake_key(key: &str, snapshot: &Snapshot) -> Result<IntakeSender, Refusal> {
    // Found by hash, as an API key is.
    let hash = SecretHash::of(key);
    let guessed = hash.as_bytes().first_chunk().and_then(|part| NonZeroU32::new(u32::from_le_bytes(*part)));
    let found = snapshot.intakes.get(&hash).filter(|intake| snapshot.instances.contains_key(&intake.instance));
    let Some(intake) = found else {
        let message = "The intake key is not known; `penstock intake create` makes one.";
        return Err(Refusal { guessed, ..Refusal::unauthenticated(message) });
    };
    let sender = IntakeSender::of(intake);
    if intake.disabled {
        let id = &intake.id;
        let message = format!("The intake {id} is disabled; `penstock intake enable {id}` lets it take data.");
        return Err(Refusal { guessed, ..Refusal::unauthenticated(message).of(&sender.caller) });
    }
    Ok(sender)
}

/// Whoever reaches a port that the operator bound to this intake; `None` while it takes nothing.
pub fn bound_to_intake(id: &str, snapshot: &Snapshot) -> Option<IntakeSender> {
    let intake = snapshot.intakes.values().find(|intake| intake.id == id && !intake.disabled)?;
    snapshot.instances.contains_key(&intake.instance).then(|| IntakeSender::of(intake))
}

impl IntakeSender {
    fn of(intake: &Arc<IntakeKey>) -> IntakeSender {
        let caller = Caller {
            instance: Some(intake.instance),
            sender: format!("intake:{}", intake.id),
            role: Role::Ingest,
            scopes: Role::Ingest.scopes(),
        };
        IntakeSender { caller, intake: Arc::clone(intake) }
    }

    /// Who it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// By what it sends.
    pub fn intake(&self) -> &IntakeKey {
        &self.intake
    }

    /// Raw logs that came by the intake, as a batch.
    pub fn batch(&self, id: BatchId, now: Time, labels: Vec<Label>, records: Vec<Record>) -> (Caller, Batch) {
        let meta = BatchMeta {
            id,
            instance: self.intake.instance,
            kind: Kind::Raw,
            received_at: now,
            log_type: self.intake.log_type.clone(),
            feed: format!("intakes/{}", self.intake.id),
            sender: self.caller.sender().to_owned(),
            namespace: self.intake.namespace.clone(),
            labels,
        };
        (self.caller.clone(), Batch { meta: Arc::new(meta), records })
    }
}
