//! The HTTP front door: listeners, budgets, inflate, ask the dialect, commit, reply.
//!
//! Where it sits: senders speak to [`server::Listener`]; [`handle::handle`] is one request's story; the dialects decide
//! what a request means, and `commit` alone says that it is durable. Absent on purpose: anything that knows what a
//! record is.

pub mod body;
pub mod budget;
pub mod connection;
pub mod handle;
pub mod ledger;
pub mod own;
pub mod server;

pub use budget::Budget;
pub use handle::Front;
pub use ledger::Ledger;
pub use own::{AnswerBody, Components, Own, OwnRequest};
pub use server::Listener;
