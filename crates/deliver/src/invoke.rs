//! The seam to functions: what a call carries and what came of it. The binary gives an [`Invoke`] to
//! [`crate::Deliver`]; how a function runs is its business. What an answer means is decided in `targets/function`.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::config::ConnectorId;

/// Calls functions.
pub trait Invoke: Send + Sync {
    /// Calls once. Dropping the future ends the wait, not necessarily the call. It may take as long as the function may;
    /// the connector's own `timeout_ms` stands above it.
    fn invoke<'a>(&'a self, call: FunctionCall) -> Pin<Box<dyn Future<Output = FunctionAnswer> + Send + 'a>>;
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall {
    /// Who calls.
    pub connector: ConnectorId,
    /// The function's OCID.
    pub function: String,
    /// A JSON list of records.
    pub body: Bytes,
    /// The same for every attempt at one frozen batch, as the body is.
    pub key: String,
    /// How many records the body holds.
    pub records: u64,
    /// From how many calls the records come, one through the log of the other: the most of any of them. What the function
    /// logs during this call comes from one more (see `loops`).
    pub hops: u32,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionAnswer {
    /// The function answered.
    Answered {
        /// The call's id, which its log lines begin with.
        call_id: String,
        /// 200 means that it has the records.
        status: u16,
        /// What it said; shown where it refuses.
        body: Bytes,
        /// What speaks against its 200: errors in its log, fewer requests sent than records given.
        suspicious: Option<String>,
    },
    /// It did not answer: out of time, killed, gone, too busy. Time may heal it.
    Failed {
        /// The call's id, if it got one.
        call_id: Option<String>,
        /// The status that a caller over HTTP would get, such as 502, 504 or 429.
        status: Option<u16>,
        /// Why, in a sentence.
        why: String,
    },
    /// There is nothing to call: no such function, not installed, functions switched off. Somebody must act.
    Unknown {
        /// Why, in a sentence.
        why: String,
    },
}
