//! The fuzz list, run for a bounded time, and planted bugs that it must find in the same time.

mod list;
mod planted;
