//! Batches on their way to the log: one frame, and what the ledger is told once it is there.

use std::collections::HashMap;
use std::time::Duration;

use commit::{AppendError, Appended, NewFrame};
use dialects::{Caller, Refusal};
use event::{Batch, BatchId, InstanceId, codec};

use crate::handle::Front;
use crate::ledger::Ledger;

/// How long a full disk is waited for before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// A frame that is to be appended.
pub(crate) struct Pending {
    /// Whom a refusal names.
    pub(crate) caller: Caller,
    /// The frame.
    pub(crate) frame: NewFrame,
    /// What is to be counted then.
    pub(crate) tallies: Tallies,
}

/// What each sender has in a frame.
pub(crate) struct Tallies(Vec<Tally>);

/// What the ledger is told of a sender's part.
struct Tally {
    instance: InstanceId,
    sender: String,
    records: u64,
    bytes: u64,
}

impl Pending {
    /// Makes the frame. Takes the batches, so that while the append waits for the disk only the frame is in memory: a body
    /// of many tiny records is many times its size once taken apart. `protocol` is for our log.
    pub(crate) fn of(protocol: &str, batches: Vec<(Caller, Batch)>, key: Option<[u8; 16]>) -> Result<Pending, Refusal> {
        let (mut callers, batches): (Vec<Caller>, Vec<Batch>) = batches.into_iter().unzip();
        if callers.is_empty() {
            tracing::error!(protocol, "a request was accepted without a batch");
            return Err(Refusal::internal());
        }
        let foreign =
            callers.iter().zip(&batches).find(|(caller, batch)| caller.instance() != Some(batch.meta.instance));
        if let Some((caller, batch)) = foreign {
            tracing::error!(protocol, instance = %batch.meta.instance, "a batch of a foreign instance");
            return Err(Refusal::internal().of(caller));
        }
        let mut tallies: Vec<Tally> = Vec::new();
        let mut places = HashMap::new();
        for batch in &batches {
            let place = *places.entry((batch.meta.instance, batch.meta.sender.as_str())).or_insert(tallies.len());
            if place == tallies.len() {
                tallies.push(Tally {
                    instance: batch.meta.instance,
                    sender: batch.meta.sender.clone(),
                    records: 0,
                    bytes: 0,
                });
            }
            tallies[place].records += batch.records.len() as u64;
            tallies[place].bytes += batch.data_bytes() as u64;
        }
        let records: u64 = tallies.iter().map(|tally| tally.records).sum();
        let first = &batches[0].meta;
        let frame = NewFrame {
            id: first.id.as_u128(),
            key,
            at: first.received_at,
            records: u32::try_from(records).unwrap_or(u32::MAX),
            payload: codec::encode(&batches).into(),
        };
        Ok(Pending { caller: callers.swap_remove(0), frame, tallies: Tallies(tallies) })
    }
}

impl Front {
    /// Appends what a part of this server itself has to say, such as the lines that a function printed: the same frame,
    /// counted in the same way, as if a sender had sent it. Ends when it is on stable storage; while the disk is full it
    /// waits for room. `protocol` is for our log.
    pub async fn append_own(&self, protocol: &str, batches: Vec<(Caller, Batch)>) -> Result<(), AppendError> {
        let Ok(Pending { frame, tallies, .. }) = Pending::of(protocol, batches, None) else {
            // A bug of ours that was logged where it was found; there is nothing that could be appended.
            return Ok(());
        };
        let id = frame.id;
        loop {
            match self.log.append(frame.clone()).await {
                Ok(appended) => {
                    tallies.count(&self.ledger, &appended, id);
                    return Ok(());
                }
                Err(AppendError::Full) => tokio::time::sleep(FULL_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Tallies {
    /// Counts what became of the frame that was offered under this id.
    pub(crate) fn count(&self, ledger: &Ledger, appended: &Appended, offered: u128) {
        match appended {
            Appended::New(_) => {
                for tally in &self.0 {
                    ledger.committed(tally.instance, &tally.sender, tally.records, tally.bytes);
                }
            }
            Appended::Repeat(receipt) => {
                let id = BatchId::from_u128(receipt.id()).or_else(|_| BatchId::from_u128(offered)).ok();
                for tally in &self.0 {
                    ledger.repeated(tally.instance, &tally.sender, tally.records, id);
                }
            }
        }
    }
}
