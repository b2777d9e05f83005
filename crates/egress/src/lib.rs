//! Going out: which addresses may be reached.

mod reach;

pub use reach::{Reach, Unreachable};
