//! The client as programs use it, against a receiver on loopback that answers as it is told: real sockets, real HTTP, the
//! real disk. Only the waits between attempts are ours, so that no test waits for a retry.
//!
//! `world.rs` has the receiver and the clock; each other file is a story. Stories against a real Penstock server belong
//! into files of their own, beside `seed.rs`, whose examples they repeat.

#![allow(clippy::unwrap_used, reason = "a failed step of a story is a failed test")]

mod batches;
mod encrypted;
mod faults;
mod forwarders;
mod searches;
mod seed;
mod spool;
mod tokens;
mod world;
