//! A spool: records wait on disk until the receiver has them, so that a producer may stop, crash or be offline and lose
//! nothing.
//!
//! `push` returns when the record is durable. `drain` or `run` send in the background of the producer: records become
//! requests that are frozen on disk before they are sent for the first time, so that whatever is sent again is the same
//! bytes, which the receiver recognises. `disk.rs` has the folder and why no step loses or doubles a record.
//!
//! Order is kept within a log type; of different types, older segments go first. Absent on purpose: several receivers,
//! and cutting a refused request into halves to find the bad record. A refused request is set aside whole, with what the
//! receiver said, and can be put back.

#[cfg(test)]
mod crash;
mod disk;
mod segment;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use dialects::chronicle_api::encode::Import;
use event::limits;
use http::Method;
use serde_json::json;
use tokio::sync::Notify;

use crate::Chronicle;
use crate::batch::cut;
use crate::client::Shared;
use crate::error::{Error, SpoolError};
use crate::ingest::{encode_entities, thanks};
use crate::record::LogEntry;
use crate::retry::{Repeat, exponential};

use disk::{Disk, FrozenRequest};

/// Settings of a [`Spool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// How many bytes it may take on disk, refused requests included, before it takes no more records. By default 1 GiB.
    /// While it sends it may be over that by about 8 MiB.
    pub bytes_max: u64,
}

impl Default for SpoolOptions {
    fn default() -> SpoolOptions {
        SpoolOptions { bytes_max: limits::SPOOL_BYTES_MAX }
    }
}

/// Records that wait on disk for one instance. See [the module](self).
///
/// ```no_run
/// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
/// use penstock_client::{Spool, SpoolOptions};
///
/// let spool = Spool::open("/var/spool/my-producer", &chronicle, SpoolOptions::default()).await?;
/// spool.push_log(("OKTA", "a log")).await?; // now it survives a crash
/// let drained = spool.drain().await?; // now the receiver has it
/// println!("{} records in {} requests", drained.records, drained.requests);
/// # Ok(()) }
/// ```
///
/// A producer that goes on runs [`Spool::run`] beside itself, and pushes.
pub struct Spool {
    chronicle: Chronicle,
    disk: Arc<Mutex<Disk>>,
    draining: tokio::sync::Mutex<()>,
    arrived: Notify,
}

/// What was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many requests were accepted.
    pub requests: u64,
    /// How many records were in them.
    pub records: u64,
    /// How many of those the receiver says that the forwarder's filters kept out.
    pub filtered: u64,
    /// The requests that were refused, and where they are now.
    pub refused: Vec<RefusedRequest>,
}

/// A request that the receiver refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The request: a line about it, then the body as it was sent. Beside it, as `….reply.json`, is what the receiver said.
    pub file: PathBuf,
    /// How many records are in it.
    pub records: u64,
    /// What the receiver said, in short.
    pub why: String,
}

/// What is in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Records that the receiver does not have yet.
    pub records: u64,
    /// Bytes on disk, all that follows included.
    pub bytes: u64,
    /// Requests that were refused.
    pub refused_requests: u64,
    /// Bytes of those.
    pub refused_bytes: u64,
    /// Bytes that were records and cannot be read any more. They are kept in the folder `damaged`.
    pub damaged_bytes: u64,
}

impl Spool {
    /// Opens the spool in this folder, which is made if need be and is from then on for this instance only. One process at
    /// a time.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]: another process has it, it is another instance's, or the disk.
    pub async fn open(dir: impl AsRef<Path>, chronicle: &Chronicle, options: SpoolOptions) -> Result<Spool, Error> {
        let (dir, instance) = (dir.as_ref().to_owned(), chronicle.name().to_owned());
        let disk = blocking(move || Disk::open(&dir, &instance, options.bytes_max)).await?;
        Ok(Spool {
            chronicle: chronicle.clone(),
            disk: Arc::new(Mutex::new(disk)),
            draining: tokio::sync::Mutex::new(()),
            arrived: Notify::new(),
        })
    }

    /// Keeps one raw log. When this returns it is durable; its times are those of now unless it says others.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Full`] and the disk's; [`Error::Invalid`] and [`Error::TooLarge`] for the record. It was not taken.
    pub async fn push_log(&self, entry: impl Into<LogEntry>) -> Result<(), Error> {
        self.push_logs([entry.into()]).await
    }

    /// Keeps raw logs: all of them, or none and an error. Much cheaper than one by one, since they share a sync.
    ///
    /// # Errors
    ///
    /// As [`Spool::push_log`].
    pub async fn push_logs<T: Into<LogEntry>>(&self, entries: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let records = self.chronicle.encode_logs(entries)?;
        self.push(records).await
    }

    /// Keeps UDM events, each completed as [`Chronicle::ingest_udm`] does: all of them, or none and an error.
    ///
    /// # Errors
    ///
    /// As [`Spool::push_log`].
    pub async fn push_udm<T: serde::Serialize>(&self, events: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let records = self.chronicle.encode_events(events)?;
        self.push(records).await
    }

    /// Keeps entities: all of them, or none and an error.
    ///
    /// # Errors
    ///
    /// As [`Spool::push_log`].
    pub async fn push_entities<T: serde::Serialize>(
        &self,
        log_type: &str,
        entities: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        let records = encode_entities(log_type, entities)?;
        self.push(records).await
    }

    /// Sends until nothing is left. A request that is refused for what it holds is set aside, and the next ones go on.
    ///
    /// # Errors
    ///
    /// What concerns all requests ends it: no connection, no right, and so on. What was not accepted stays and is sent by
    /// the next call; nothing is lost by dropping this future either.
    pub async fn drain(&self) -> Result<Drained, Error> {
        let mut drained = Drained::default();
        self.drain_into(&mut drained).await?;
        Ok(drained)
    }

    /// Sends what is there and what comes, until `stop` is over. What time may heal is waited for without end, and so is a
    /// reply that is none of the API's.
    ///
    /// # Errors
    ///
    /// What somebody must mend first: credentials, rights, the disk.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<Drained, Error> {
        let mut drained = Drained::default();
        let mut stop = pin!(stop);
        let mut failures = 0;
        loop {
            let sending = async {
                match self.drain_into(&mut drained).await {
                    Ok(()) => {
                        failures = 0;
                        self.arrived.notified().await;
                        Ok(())
                    }
                    // A page of something in between passes too; nothing is lost by asking again.
                    Err(error) if error.is_transient() || matches!(error, Error::UnexpectedReply { .. }) => {
                        failures += 1;
                        tracing::warn!(%error, "the spool waits");
                        let clock = self.chronicle.shared.clock();
                        let wait = match error {
                            Error::RateLimited { retry_after, .. } => retry_after,
                            _ => exponential(failures, clock.random()),
                        };
                        clock.sleep(wait).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            };
            tokio::select! {
                biased;
                sent = sending => sent?,
                () = &mut stop => return Ok(drained),
            }
        }
    }

    /// How much is in it.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Broken`].
    pub async fn status(&self) -> Result<SpoolStatus, Error> {
        let amounts = self.with_disk(|disk| Ok(disk.amounts)).await?;
        Ok(SpoolStatus {
            records: amounts.waiting_records + amounts.frozen_records,
            bytes: amounts.waiting_bytes + amounts.frozen_bytes + amounts.refused_bytes + amounts.damaged_bytes,
            refused_requests: amounts.refused_requests,
            refused_bytes: amounts.refused_bytes,
            damaged_bytes: amounts.damaged_bytes,
        })
    }

    /// Puts the requests that were refused back, to be sent again as they were: after the cause was mended at the
    /// receiver, a log type made, say. Gives how many.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub async fn requeue_refused(&self) -> Result<u64, Error> {
        let count = self.with_disk(Disk::requeue_refused).await?;
        self.arrived.notify_one();
        Ok(count)
    }

    async fn push(&self, records: Vec<(Import<'static>, Vec<u8>)>) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let limits = self.chronicle.shared.body_limits;
        let mut frames = Vec::new();
        for (index, (import, element)) in records.iter().enumerate() {
            cut(import.envelope_bytes(), &[element.len()], limits).map_err(|too_large| Error::TooLarge {
                index,
                bytes: too_large.bytes,
                bytes_max: limits.bytes_max,
            })?;
            frames.extend_from_slice(&segment::frame(import, element));
        }
        let count = records.len() as u64;
        self.with_disk(move |disk| disk.append(&frames, count)).await?;
        self.arrived.notify_one();
        Ok(())
    }

    async fn drain_into(&self, drained: &mut Drained) -> Result<(), Error> {
        let _only_one = self.draining.lock().await;
        let shared = &self.chronicle.shared;
        loop {
            let (limits, packer) = (shared.body_limits, shared.clone());
            let next = self.with_disk(move |disk| disk.next(limits, &|body| packer.pack(body))).await?;
            let Some(request) = next else { return Ok(()) };
            let url = self.chronicle.url(&request.path, &[]);
            let body = (request.body.clone(), request.gzip);
            let outgoing = Shared::with_json(Method::POST, url, body, Repeat::Harmless);
            let records = request.records;
            match shared.call(outgoing).await.and_then(|reply| thanks(&reply)) {
                Ok(thanks) => {
                    // Counted first: this future may be dropped at any await, and accepted is accepted.
                    drained.requests += 1;
                    drained.records += records;
                    drained.filtered += thanks.filtered;
                    self.with_disk(move |disk| disk.done(&request)).await?;
                }
                Err(error) if is_about_content(&error, &request) => {
                    let (why, reply) = (error.to_string(), told(&error));
                    let file = self.with_disk(move |disk| disk.refuse(&request, &reply)).await?;
                    tracing::warn!(file = %file.display(), why, "the receiver refuses a request of the spool");
                    drained.refused.push(RefusedRequest { file, records, why });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn with_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Disk) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, Error> {
        let disk = self.disk.clone();
        blocking(move || {
            // A panic may have left a step half done.
            let mut disk = disk.lock().map_err(|_| SpoolError::Broken)?;
            work(&mut disk)
        })
        .await
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("chronicle", &self.chronicle).finish_non_exhaustive()
    }
}

/// Whether the next request may fare better. 404 speaks of a log type only where the path names one; else it is the
/// instance that does not exist, and setting everything aside would help nobody.
fn is_about_content(error: &Error, request: &FrozenRequest) -> bool {
    match error {
        Error::Refused(_) => true,
        Error::NotFound(_) => request.path.starts_with("logTypes/"),
        _ => false,
    }
}

/// What is written beside a refused request.
fn told(error: &Error) -> serde_json::Value {
    let (Error::Refused(refusal) | Error::NotFound(refusal)) = error else {
        return json!({ "message": error.to_string() });
    };
    // The index of a violation is that of the record in the body beside it.
    let violations: Vec<_> = refusal
        .violations
        .iter()
        .map(|violation| {
            let (field, description) = (&violation.field, &violation.description);
            json!({ "field": field, "description": description, "record": violation.item })
        })
        .collect();
    json!({
        "status": refusal.status,
        "code": refusal.code,
        "message": refusal.message,
        "violations": violations,
        "body": refusal.body,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going away, and with it whoever asked.
        Err(_) => Err(SpoolError::Broken.into()),
    }
}
