//! The Chronicle API (`/{version}/projects/…/instances/…`). So far only the client's side of it.

pub mod encode;
