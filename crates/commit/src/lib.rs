//! The durable log: the place where "yes" is earned. Opaque frames; it knows nothing of events.
//!
//! ```text
//! append ──▶ queue ──▶ writer (one thread): dedup, one write, one sync ──▶ publish ──▶ Receipt
//!                        ▲ spare segments                    │
//!                      keeper (one thread): zeroing ahead, key files, retention
//!                                                            ▼
//!                                              Follower: reads what is durable
//! ```
//!
//! [`Log::append`] resolves only once the frame is on stable storage (group commit: one sync serves all that wait);
//! only this crate makes a [`Receipt`], so a receipt is proof of that. Followers keep their own [`Position`] and pull.
//! The bytes and the crash argument are in `docs/log-format.md`.
//!
//! What is absent: what a frame means (`event::codec`), who follows (the log is told only the lowest position still
//! needed, [`Log::retain`]), and a clock: times come in with the frames.
//!
//! [`Position`]: event::Position

mod disk;
mod error;
mod follow;
mod frame;
mod keeper;
mod keys;
mod log;
mod recover;
mod segment;
mod verify;
mod writer;

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{AppendError, FollowError, LogError};
pub use follow::{Followed, Follower};
pub use log::{Appended, Found, Log, LogOptions, LogState, LogStatus, Needed, NewFrame, Receipt, Sync};
pub use recover::Recovered;
pub use verify::{VerifyReport, verify};
