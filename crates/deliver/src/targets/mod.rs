//! Targets: how a batch of events becomes a body, on which way it leaves, and what the answer means. One folder each, all
//! of them pure: bytes in, bytes out; `send` and the binary's `Invoke` do the I/O and `connector` the waiting.
//!
//! To add one: a folder here, a variant of `TargetConfig`, a line in [`build`].

pub mod function;
pub mod http;
mod shape;

use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use event::Event;

use crate::config::{HttpForm, TargetConfig};
use crate::elements::{Elements, Member};
use function::FunctionTarget;
use http::HttpTarget;

/// What a connector needs to know of the other side.
pub(crate) trait Target: Send + Sync {
    /// Appends one event's element.
    fn element(&self, event: &Event, elements: &mut Elements);

    /// How long the body of these elements is before compression; what `batch_bytes_max` limits.
    fn body_bytes_len(&self, elements: &Elements) -> usize;

    /// The body that holds these elements: the same elements give the same bytes, always.
    fn assemble(&self, elements: &Elements) -> Bytes;

    /// The elements of a body that [`Target::assemble`] made of these members; `None` when it did not.
    fn take_apart(&self, body: &Bytes, members: &[Member]) -> Option<Elements>;

    /// What a plan row must keep to find this shape of body again; `build` reads it.
    fn form(&self) -> String;

    /// How a body leaves.
    fn way(&self) -> Way<'_>;

    /// The body of these events: what `element` and `assemble` give together.
    #[cfg(test)]
    fn encode(&self, events: &[Event]) -> Bytes {
        let mut elements = Elements::default();
        for event in events {
            self.element(event, &mut elements);
        }
        self.assemble(&elements)
    }
}

/// How a body leaves, with those who know what the answer means.
pub(crate) enum Way<'a> {
    /// As a request.
    Http(&'a HttpTarget),
    /// As a function's call.
    Function(&'a FunctionTarget),
}

/// What the other side said to a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The first [`crate::ANSWER_BYTES_MAX`] bytes of the body of an answer that is no success.
    pub body: Bytes,
}

/// What is to be done after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The target has the batch.
    Delivered,
    /// Time may heal it. Holds the wait that the target asked for.
    Retry(Option<Duration>, String),
    /// The target wants less. Holds the wait that it asked for.
    SlowDown(Option<Duration>, String),
    /// A record of this batch cannot be taken: find it.
    Refused(String),
    /// No batch would be taken, whatever its records: somebody must act (credentials, address, no such function).
    Stuck(String),
}

/// The target that a configuration names. `form` is that of a frozen batch, when there is one: its body keeps its shape
/// although the connector's may have been changed since. `None` when the form is not of this target's making.
pub(crate) fn build(config: &TargetConfig, form: Option<&str>) -> Option<Box<dyn Target>> {
    match config {
        TargetConfig::Http(config) => Some(Box::new(HttpTarget::new(config, form)?)),
        TargetConfig::Function(config) => Some(Box::new(FunctionTarget::new(config, form)?)),
    }
}

/// The elements of a frozen body, whichever target made it: the connector's may have become another one since.
pub(crate) fn take_apart(form: &str, body: &Bytes, members: &[Member]) -> Option<Elements> {
    if form == function::FORM {
        return function::SHAPE.take_apart(body, members);
    }
    serde_json::from_str::<HttpForm>(form).ok()?.take_apart(body, members)
}
