//! Searches over a real store in a temporary folder.

// Clippy's exception for tests does not see that helpers here belong to tests.
#![allow(clippy::unwrap_used)]

mod naive;
mod stories;
mod world;
