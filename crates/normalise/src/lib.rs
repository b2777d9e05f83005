//! From a frame of the log to events, between commit and store: which parser reads which record, within which limits, and
//! what is said of records that no parser reads or that one failed on.
//!
//! ```text
//! frame ─ Reader ─▶ records ─ Schedule: whose parser at this position? ─▶ parser, extension │ generic ─▶ events, failures
//! ```
//!
//! Total: whatever a record holds, it becomes an event of its own kind; what a parser makes of it comes on top. Pure but for
//! the threads: the same frame and schedule give the same events, so that the store and every connector agree.

pub mod generic;
mod parser;
mod schedule;
mod shipped;

pub use parser::Parser;
pub use schedule::{Choice, GENERIC, OwnTurns, Schedule, Turn, Turns};
pub use shipped::{SHIPPED, Shipped};

use std::sync::{Arc, PoisonError, RwLock};

use event::Position;

/// Reads frames for all followers of the log.
#[derive(Debug)]
pub struct Normaliser {
    schedule: RwLock<Arc<Schedule>>,
}

impl Normaliser {
    /// One that reads by this schedule.
    pub fn new(schedule: Schedule) -> Normaliser {
        Normaliser { schedule: RwLock::new(Arc::new(schedule)) }
    }

    /// What is in use now.
    pub fn schedule(&self) -> Arc<Schedule> {
        Arc::clone(&self.schedule.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another schedule in use. While `change` makes it, no frame is read: it looks where the log ends, makes the new
    /// turn count from there, and writes that down, and no frame behind that place has been read the old way. It is told behind
    /// which place no frame has been read at all. When it fails, everything stays as it was.
    pub fn change<E>(&self, change: impl FnOnce(Option<Position>) -> Result<Schedule, E>) -> Result<(), E> {
        let mut schedule = self.schedule.write().unwrap_or_else(PoisonError::into_inner);
        *schedule = Arc::new(change(None)?);
        Ok(())
    }
}
