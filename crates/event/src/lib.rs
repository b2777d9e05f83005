//! The words everybody speaks. A [`Batch`] is what one sender said in one request, unchanged; an [`Event`] is what one
//! of its records means; a [`Position`] is where in the log a frame of batches stands.
//!
//! Every other crate depends on this one, so it does nothing: no I/O, no async, no clock, no randomness. Times and
//! random bits come in as arguments. [`limits`] holds every limit of the system in one place, and [`codec`] the bytes in
//! which batches lie in the log.

mod batch;
pub mod codec;
mod event;
mod id;
pub mod limits;
mod parsed;
mod time;

pub use batch::{Batch, BatchMeta, Kind, Label, Record};
pub use event::{Event, Issue};
pub use id::{BatchId, IdError, IdSource, InstanceId, Position, RecordId};
pub use parsed::{Failure, Tally, TallyKey, Why};
pub use time::{Time, TimeError};
