//! The client as programs use it, against a receiver on loopback that answers as it is told: real sockets, real HTTP, the
//! real disk. Only the waits between attempts are ours, so that no test waits for a retry.
//!
//! `world.rs` has the receiver and the clock; each other file is a story. `against_penstock.rs` repeats the examples of
//! `seed.rs`, and the spool's promise, against a whole Penstock server, and looks at what it stored.

#![allow(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

mod against_penstock;
mod batches;
mod encrypted;
mod faults;
mod forwarders;
mod searches;
mod seed;
mod spool;
mod tokens;
mod world;
