//! Functions as users write them, run by the real interpreter and the real `fdk`.
//!
//! Where pip cannot get `fdk`, every test says that it was skipped. The packages are kept beside the build, so that only
//! the first run installs them.

#![allow(clippy::unwrap_used)] // A failed step of a story is a failed test.

mod answers;
mod apart;
mod endings;
mod installing;
mod output;
mod sending;
mod supervised;
mod world;
