//! Query languages to one [`Predicate`], evaluated on one record. The store asks a predicate what its filters may rule
//! out ([`Predicate::prune`]); search and connectors ask it about each record that is left ([`Predicate::matches`]).
//!
//! UDM search ([`parse_udm`]) asks about events and entities, raw text about log lines: one text ([`raw_text`]), one
//! expression ([`raw_regex`]), or conditions on them as Google's API takes them ([`parse_raw`]). The languages of OCI
//! ([`oci`]) ask about log lines that are OCI's log entries. What UDM search can say in Google's product and not here
//! (sections, functions, lists, variables) is refused by name; nothing is read as something else.
//!
//! Absent: tables, time ranges, limits on rows. Those belong to whoever runs a predicate.

mod diagnostic;
mod fuzz;
pub mod oci;
mod parse;
mod predicate;
mod prune;
mod raw;
mod test;

pub use diagnostic::{Diagnostic, Mistake};
pub use fuzz::fuzz;
pub use parse::{Options, has_raw_conditions, parse_raw, parse_udm};
pub use predicate::Predicate;
pub use prune::Prune;
pub use raw::{raw_regex, raw_text};

/// Deepest nesting of parentheses and NOT in a query.
pub const NESTING_MAX: usize = 200;

/// Most conditions in one query.
pub const CONDITIONS_MAX: usize = 1_000;

/// Most regular expressions in one query.
pub const REGEXES_MAX: usize = 100;

/// Most memory that one compiled regular expression may take, and its cache while it runs.
pub const REGEX_BYTES_MAX: usize = 1 << 20;
