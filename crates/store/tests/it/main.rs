//! The store as its caller sees it: what is where after which call.

// Clippy's exception for tests does not see that helpers here belong to tests.
#![allow(clippy::unwrap_used)]

mod stories;
