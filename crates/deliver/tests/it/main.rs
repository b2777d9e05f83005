//! Connectors against a fake third party on loopback: a real log, the real ledger, the real HTTP client. Only time is
//! ours, so that no test waits for a retry.

#![allow(clippy::unwrap_used)] // A failed step of a story is a failed test.

mod basics;
mod crash;
mod encrypted;
mod fake_function;
mod faults;
mod functions;
mod loops;
mod loss;
mod metrics;
mod property;
mod reach;
mod run_log;
mod sources;
mod world;
