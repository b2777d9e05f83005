//! The crate from outside: what queries find, what is wrong with others, and properties over any query and record.

mod diagnostics;
mod oci;
mod properties;
mod raw;
mod search;
