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
mod normaliser;
mod parser;
mod schedule;
mod shared;
mod shipped;
#[cfg(test)]
mod tests;
mod work;

pub use normaliser::{Frame, Normaliser, Options, Read, Trouble};
pub use parser::Parser;
pub use schedule::{Choice, GENERIC, OwnTurns, Schedule, Turn, Turns};
pub use shipped::{SHIPPED, Shipped};
pub use work::{context, limits_of_a_log};
