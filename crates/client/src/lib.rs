//! Client library for Google SecOps (Chronicle API) ingestion. It speaks to Google and to Penstock, a self-hosted
//! receiver of the same API, without a difference in the program.
//!
//! ```no_run
//! use penstock_client::SecOpsClient;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), penstock_client::Error> {
//! let client = SecOpsClient::new()?; // application-default credentials
//! let chronicle = client.chronicle("c8c65bfa-5f2c-42d4-9189-64bb7b939f2c", "your-project-id", "us")?;
//!
//! let okta_log = serde_json::json!({
//!     "actor": {"displayName": "Joe Doe", "alternateId": "jdoe@example.com"},
//!     "displayMessage": "User login to Okta",
//!     "eventType": "user.session.start",
//!     "outcome": {"result": "SUCCESS"},
//! });
//! let result = chronicle.ingest_log("OKTA", okta_log.to_string()).await?;
//! println!("Operation: {:?}", result.operation);
//! # Ok(()) }
//! ```
//!
//! Against Penstock only the address differs:
//!
//! ```no_run
//! # use penstock_client::{Credentials, SecOpsClient};
//! # fn main() -> Result<(), penstock_client::Error> {
//! let client = SecOpsClient::builder()
//!     .credentials(Credentials::file("sender.json")?)
//!     .base_url("http://127.0.0.1:8480")
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! # What is here
//!
//! | To | see |
//! |---|---|
//! | say who you are | [`Credentials`]: key files, application-default credentials, the metadata server, tokens, API keys |
//! | send | [`Chronicle::ingest_log`], [`ingest_udm`](Chronicle::ingest_udm), [`ingest_logs_batch`](Chronicle::ingest_logs_batch), [`ingest_udm_batch`](Chronicle::ingest_udm_batch), [`import_entities`](Chronicle::import_entities) |
//! | lose nothing when a producer stops | [`Spool`] |
//! | manage forwarders | [`Chronicle::list_forwarders`], [`create_forwarder`](Chronicle::create_forwarder), [`get_or_create_forwarder`](Chronicle::get_or_create_forwarder), … |
//! | know log types | [`Chronicle::list_log_types`], [`classify_logs`](Chronicle::classify_logs) |
//! | search | [`Chronicle::search_udm`], [`search_raw_logs`](Chronicle::search_raw_logs) |
//! | make any other call | [`Chronicle::request`] |
//!
//! # Errors
//!
//! [`Error`] says who must act ([`Error::who`]) and which item of a batch is meant:
//!
//! ```no_run
//! # async fn example(chronicle: penstock_client::Chronicle) {
//! use penstock_client::{Error, Who};
//!
//! match chronicle.ingest_log("OKTA", "…").await {
//!     Ok(_) => {}
//!     Err(Error::Refused(refusal)) => {
//!         for violation in &refusal.violations {
//!             println!("{}: {}", violation.field, violation.description);
//!         }
//!     }
//!     Err(error) if error.who() == Who::Time => println!("later, perhaps: {error}"),
//!     Err(error) => println!("Ingestion failed: {error}"),
//! }
//! # }
//! ```
//!
//! # What is tried again
//!
//! 5xx and broken connections after 1 s, 2 s, 4 s, … and up to half as much again; 429 after 30 s, or what `Retry-After`
//! asks if that is longer; everything else goes to the caller at once. A request may take 90 s. After 8 attempts or 10
//! minutes the caller is told ([`RetryPolicy`]). What is sent again is the same bytes, by which the receiver recognises
//! it; what would make a second thing (a forwarder) is tried again only where surely nothing was made.
//!
//! # Limits
//!
//! No request is over 3.75 MiB before compression ([`SecOpsClientBuilder::body_bytes_max`]), which is below Google's 4 MB
//! however it is counted. Batches are cut as needed. A record that is over the limit alone is [`Error::TooLarge`].
//!
//! # Absent on purpose
//!
//! Splitting a message into lines, checking UDM before it is sent, a list of log types: all that is the receiver's
//! knowledge, and a client that had its own copy would be wrong in time. A blocking interface: calls are made from a
//! tokio runtime.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod chronicle;
mod client;
mod clock;
mod credentials;
mod endpoint;
mod error;
mod forwarders;
mod ingest;
mod log_types;
mod record;
mod reply;
mod retry;
mod search;
pub mod spool;
mod token;
mod wire;

pub use chronicle::Chronicle;
pub use client::{SecOpsClient, SecOpsClientBuilder};
pub use clock::{Clock, SystemClock, Waiting};
pub use credentials::Credentials;
pub use endpoint::{ApiVersion, REGIONS};
pub use error::{Accepted, Cause, CredentialsError, Error, Failed, Partial, Refusal, SpoolError, Violation, Who};
pub use event::{Label, Time};
pub use forwarders::{
    Collector, CreateForwarder, FORWARDER_NAME_PREFIX, FilterBehavior, Forwarder, ForwarderConfig, ForwarderMetadata,
    RegexFilter, UpdateForwarder,
};
pub use http::Method;
pub use ingest::{BatchResult, IngestLog, IngestResult};
pub use log_types::{LogType, Prediction};
pub use record::{LogEntry, Timestamp};
pub use retry::RetryPolicy;
pub use search::{RawLogSearchResult, SearchRawLogs, SearchUdm, UdmEvent, UdmSearchResult};
pub use spool::{Drained, RefusedRequest, Spool, SpoolOptions, SpoolStatus};
