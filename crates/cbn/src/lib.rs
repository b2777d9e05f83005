//! The language in which Google Chronicle's parsers are written (CBN): reads programs, checks them, runs them on logs.
//!
//! A library of its own: it knows no server, no log and no store. The way of a log through it:
//!
//! ```text
//! source ─ syntax ─▶ tree ─ compile ─▶ Program ─ run(log, context) ─▶ state ─ output ─▶ events | error
//! ```
//!
//! Everything is pure: no I/O, no clock, no randomness; what a run may use is bounded ([`Limits`]). The rules of the
//! language and where each is known from stand in `docs/cbn.md`.

pub mod compile;
pub mod coverage;
pub mod diagnostic;
mod extension;
pub mod fuzz;
pub mod lint;
pub mod output;
pub mod path;
pub mod plugins;
pub mod program;
pub mod re2;
pub mod run;
pub mod skeleton;
pub mod syntax;
pub mod trace;
pub mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use program::{End, Error, Machine, Outcome, Program, Used};
pub use run::machine::{Nobody, Observer, Step, dump};
pub use run::{Context, Limit, Limits};
