//! The Chronicle API as its clients use it.
