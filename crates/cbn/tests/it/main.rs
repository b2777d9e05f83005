//! The crate from outside: programs that are run on logs, as a user of the library would.

mod coverage;
mod limits;
mod lint;
mod properties;
mod rules;
mod skeleton;
mod support;
mod trace;
