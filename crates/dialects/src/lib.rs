//! What senders speak: sans-IO wire protocols, one folder each, and [`auth`], which alone makes a [`Caller`].
//!
//! A [`Dialect`] turns a [`Request`] into an [`Intake`] and what came of it into a [`Reply`]. Nothing here does I/O,
//! reads a clock or draws random bits: the request's bytes, the [`Snapshot`] of keys and log types, the time and fresh
//! ids come in as arguments. `receive` owns the sockets, the budgets and the inflating; `commit` owns durability, and
//! its [`commit::Receipt`] is the only thing that a sender is thanked for.
//!
//! In order of a request's way: [`Router`] finds who claims the path, [`Dialect::authenticate`] looks at the head
//! before the body is read, [`Dialect::accept`] reads the body, the [`Thanks`] of what is committed, [`Dialect::refuse`] or
//! an [`Ask`]'s own [`Render`] answer.

pub mod aip193;
mod ask;
pub mod auth;
pub mod backstory;
pub mod chronicle_api;
mod chronicle_batch;
pub mod chronicle_ingestion;
pub mod classify;
mod faults;
pub mod fuzz;
pub mod iam_credentials;
mod json;
mod log_types;
mod message;
pub mod metadata_server;
pub mod oauth2;
pub mod oci;
mod refusal;
pub mod resource;
mod route;
pub mod sekoia;
pub mod snapshot;
pub mod syslog;
#[cfg(test)]
mod testing;
mod when;

use event::{BatchId, Time};
use http::header::{HeaderName, HeaderValue};

pub use ask::{
    Act, Ask, FieldValue, FieldValuesCall, FoundRecord, KeptParser, NewParser, Outcome, ParsedEvent, ParsedLog,
    ParserAct, ParserVerb, ParsersCall, ParsingError, Question, Render, RunParserCall, SearchCall, Slot, Validation,
};
pub use auth::{Caller, Role, Scope, Scopes};
pub use log_types::{LogType, LogTypes, NotALogType};
pub use message::{Head, HeadError, Intake, Reply, Request, Thanks};
pub use refusal::{Cause, Refusal, Violation, Who};
pub use route::{Conflict, Found, Lookup, Params, Route, Router};
pub use snapshot::Snapshot;

/// One wire protocol, as senders of it see us.
pub trait Dialect: Send + Sync {
    /// Its name in logs, metrics and settings: the name of its folder.
    fn name(&self) -> &'static str;

    /// What it claims. The same slice at every call.
    fn routes(&self) -> &[Route];

    /// Who sends this, decided from the head alone, before a byte of the body is read, so that an unauthenticated
    /// sender costs nothing. `Ok(None)` only on routes that need no credential ([`Route::needs`] is `None`).
    fn authenticate(
        &self,
        at: &Found<'_>,
        head: &Head,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Option<Caller>, Refusal>;

    /// Whom the beginning of a body names, on routes where [`Dialect::authenticate`] may give nobody because the credential
    /// stands in the body: so that a stranger is refused before the rest is read, and room for the rest is taken by whom it
    /// is for. `Ok(None)` where the beginning does not tell.
    fn foresee(&self, _at: &Found<'_>, _start: &[u8], _snapshot: &Snapshot) -> Result<Option<Caller>, Refusal> {
        Ok(None)
    }

    /// How much memory it takes to make a frame of this body, beside the body itself: its texts unescaped, its records, the
    /// frame. What records cost where they are very short is each dialect's to say.
    fn work_bytes(&self, _at: &Found<'_>, body: &[u8]) -> usize {
        body.len() * 2
    }

    /// What the request means. `request.body` is already inflated; `next_id` gives a fresh batch id at every call.
    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        next_id: &mut dyn FnMut() -> BatchId,
    ) -> Intake;

    /// The refusal in this dialect's form.
    fn refuse(&self, refusal: &Refusal) -> Reply;

    /// What every reply to this request bears in its head, whatever comes of it, where it does not have it already: such as
    /// what the request calls itself.
    fn headers_of_every_reply(&self, _head: &Head, _now: Time) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }
}

/// All dialects. A new one is a folder and a line here, or below if Google's programs speak it.
pub fn all() -> Vec<std::sync::Arc<dyn Dialect>> {
    let mut all = googles();
    all.push(std::sync::Arc::new(sekoia::Sekoia::new()));
    all.push(std::sync::Arc::new(oci::Oci::new()));
    all
}

/// The dialects that Google's programs speak: what is served in Google's place. `POST /batch`, which Sekoia has, is a path of
/// Google's own hosts, too, and must not be taken there for something else.
pub fn googles() -> Vec<std::sync::Arc<dyn Dialect>> {
    vec![
        std::sync::Arc::new(chronicle_ingestion::ChronicleIngestion::new()),
        std::sync::Arc::new(chronicle_api::ChronicleApi::new()),
        std::sync::Arc::new(backstory::Backstory::new()),
        std::sync::Arc::new(oauth2::OAuth2::new()),
        std::sync::Arc::new(iam_credentials::IamCredentials::new()),
    ]
}
