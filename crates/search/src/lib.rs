//! Runs a predicate over a snapshot of the store, and finds records by their ids.
//!
//! The last stage of the flow for readers: the API hands in a [`Query`] that `query` has parsed, and gets [`Row`]s,
//! newest first. A search goes from the cheap to the dear and stops where it can:
//!
//! ```text
//! catalogue (time, instance, log type) ─▶ filter file ─▶ row groups ─▶ narrow columns ─▶ records ─▶ whole rows
//! ```
//!
//! Tenancy comes first everywhere: a row of another instance is dropped on its instance column alone, before its time,
//! its text or anything else of it is looked at.
//!
//! Absent on purpose: query languages (`query`), files and columns as such (`store`), SQL and aggregations (to come),
//! threads (one search is one blocking call; the caller decides where it runs and may cancel it).

mod error;
mod fetch;
mod find;
mod order;
mod prune;
mod row;
mod run;
mod scan;

pub use error::SearchError;
pub use find::{Wanted, find, parsed};
pub use row::Row;
pub use run::{Query, Summary, run};
