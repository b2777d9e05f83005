//! Keeps events as Parquet parts that any tool can read, and says which of them are there in one consistent view.
//!
//! In the flow this is the follower behind the log: it is handed frames of [`event::Event`]s ([`Store::push`]), holds
//! the newest in memory (the *tail*), writes the tail as *parts* ([`Store::flush`]) and commits parts, cursor and
//! counters in one transaction of the *catalogue*. Readers take a [`Snapshot`]: the parts and the tail of one moment,
//! each row in it exactly once. Beside each part lies a filter file by which a search skips what cannot hold its
//! needle.
//!
//! ```text
//! push ─▶ tail ─▶ frozen tail ─▶ part + filter (synced) ─▶ one transaction ─▶ snapshot
//!                                   ▲                          │
//!                                   └── compaction, retention ─┘
//! ```
//!
//! The bytes on disk and the argument why a crash at any point loses and doubles nothing are in `docs/store-format.md`.
//! Absent on purpose: evaluating queries (`search`), reading the log (the caller does), clocks (`now` is an argument),
//! threads (the caller decides who calls [`Store::maintain`]).

mod catalogue;
#[cfg(test)]
mod crash;
mod encode;
mod error;
mod failures;
mod filter;
mod fold;
mod frame;
mod layout;
mod leaves;
mod maintain;
mod options;
mod part;
mod rewrite;
mod rows;
mod store;
mod tail;
mod write;

pub use error::StoreError;
pub use failures::FailedRecord;
pub use filter::{CHUNK_ROWS, ChunkFilter, PartFilter, Probe};
pub use frame::{Frame, SetAside};
pub use layout::{Table, column};
pub use options::{Compaction, Retention, StoreOptions};
pub use part::{Part, PartFile, PartSummary};
pub use rewrite::{Again, Made, Rewritten};
pub use rows::event as event_of_row;
pub use store::{Counts, Snapshot, Store};
pub use tail::InstanceCounts;
