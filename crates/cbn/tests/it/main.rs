//! The crate from outside: programs that are run on logs, as a user of the library would.

mod limits;
mod rules;
mod support;
