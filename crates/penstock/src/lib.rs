//! The one binary's content: `serve` and every command. `pipeline.rs` composes the stages.
//!
//! A library only so that tests can start a server in their own process, on a simulated disk for instance.

pub mod api;
pub mod bench;
pub mod ca;
pub mod cli;
pub mod components;
pub mod config;
pub mod control;
mod field_values;
pub mod follow;
pub mod hosted;
pub mod listeners;
pub mod metadata;
pub mod own_logs;
pub mod pipeline;
pub mod rates;
pub mod serve;
pub mod state;
