//! Oracle Cloud Infrastructure's APIs for logging, connectors and functions.

mod ask;
pub mod envelope;
pub mod ocid;

pub use ask::{
    Act, AuditCall, Invoke, Invoked, Kind, ListCall, LogSearch, MetricsAsk, MetricsCall, NotInvoked, Outcome, Question,
    Resource, SortBy,
};
