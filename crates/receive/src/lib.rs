//! The HTTP front door: listeners, budgets, inflate, ask the dialect, commit, reply.
//!
//! Where it sits: senders speak to [`server::Listener`]; [`handle::handle`] is one request's story; the dialects decide
//! what a request means, and `commit` alone says that it is durable. Senders that cannot be told of another address than
//! Google's come in through [`googleapis`]. Absent on purpose: anything that knows what a record is.

mod append;
pub mod body;
pub mod budget;
pub mod connect;
pub mod connection;
pub mod googleapis;
pub mod guesses;
pub mod handle;
pub mod ledger;
pub mod own;
pub mod server;
pub mod syslog;

pub use budget::{Budget, Memory};
pub use connect::GoogleHost;
pub use googleapis::Googleapis;
pub use guesses::Guesses;
pub use handle::Front;
pub use ledger::Ledger;
pub use own::{AnswerBody, Components, Nothing, Own, OwnRequest};
pub use server::Listener;
pub use syslog::{SyslogListener, Transport};
