//! The crate from outside: checks and extraction on what real senders sent, and properties over any record.

mod check;
mod extract;
mod properties;
mod proto_json;
mod samples;
