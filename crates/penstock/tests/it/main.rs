//! The whole server as its users meet it: over HTTP, on the command line, across restarts, on a disk that fails.
//!
//! Every server is a real one, in this process on a port of its own, except in `cli`, which starts the built binary.

#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod backstory;
mod bad_clients;
mod captures;
mod cli;
mod cli_log;
mod cli_oci;
mod cli_parsers;
mod errors;
mod follow;
mod google;
mod google_search;
mod intakes;
mod journey;
mod kept_parsers;
mod oci;
mod parser;
mod refusals;
mod repeats;
mod restored;
mod sekoia;
mod server;
mod sync_gate;
mod syslog;
mod tenancy;
mod ways;
