//! Syslog as senders write it: what a line says, and the two ways in which lines come over a connection.
//!
//! A connection's bytes go through [`frames`] (TCP and TLS, RFC 6587) or [`relp`] (with acknowledgements), which give
//! whole lines; a datagram is a line as it is. [`mod@line`] takes one apart, the intake key in its structured data
//! included. This is no [`crate::Dialect`]: there are no requests, paths or replies, and whose a line is says the line
//! itself. `receive` owns the sockets and the TLS.
//!
//! [`accept()`] makes batches of lines: of those that name their intake by a key, and of those that come to a port which the
//! operator bound to one.
//!
//! Deliberately absent: what the message means. That is the parsers' business.

mod accept;
pub mod frames;
pub mod line;
pub mod relp;

pub use accept::{Accepted, Received, Text, Whose, accept, frame_bytes_max};
