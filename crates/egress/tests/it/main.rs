//! The proxy as functions meet it, with third parties on loopback that write what a test says. Both ends are real: TLS, a
//! client that ships, and Python's own library where there is one.

#![allow(clippy::unwrap_used)] // A failed step of a story is a failed test.

mod basics;
mod failures;
mod lanes;
mod python;
mod world;
