//! Searches: UDM events by an expression, raw logs by their text.
//!
//! Thin on purpose: what is found is JSON as the receiver has it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use dialects::chronicle_api::encode;
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Chronicle;
use crate::error::Error;
use crate::record::Timestamp;
use crate::reply::Reply;
use crate::retry::Repeat;
use crate::wire::Failure;

/// Most events that one UDM search gives; the API's own limit.
const UDM_EVENTS_MAX: u32 = 10_000;

/// What a UDM search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdmSearchResult {
    /// The events, newest first.
    pub events: Vec<UdmEvent>,
    /// Whether there are more than were asked for.
    pub more_data_available: bool,
}

/// One event that a search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UdmEvent {
    /// Its resource name.
    pub name: String,
    /// The event.
    pub udm: Value,
}

/// What a raw-log search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RawLogSearchResult {
    /// The parts of the reply, in their order: progress, matches, aggregations, as the receiver sends them.
    pub parts: Vec<Value>,
    /// Whether the last part was there, so that nothing is missing.
    pub complete: bool,
}

impl Chronicle {
    /// Searches UDM events from `start` (inclusive) to `end` (exclusive) by an expression such as
    /// `metadata.event_type = "USER_LOGIN"`.
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// let found = chronicle
    ///     .search_udm(r#"principal.ip = "192.168.1.100""#, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    ///     .max_events(100)
    ///     .await?;
    /// for event in &found.events {
    ///     println!("{}", event.udm);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for an expression that the receiver does not understand; else those of every call.
    pub fn search_udm(
        &self,
        query: impl Into<String>,
        start: impl Into<Timestamp>,
        end: impl Into<Timestamp>,
    ) -> SearchUdm<'_> {
        let (query, start, end) = (query.into(), start.into(), end.into());
        SearchUdm { chronicle: self, query, start, end, max_events: UDM_EVENTS_MAX }
    }

    /// Searches raw logs from `start` (inclusive) to `end` (exclusive) by an expression such as `raw = "failed"`.
    ///
    /// # Errors
    ///
    /// As [`Chronicle::search_udm`].
    pub fn search_raw_logs(
        &self,
        query: impl Into<String>,
        start: impl Into<Timestamp>,
        end: impl Into<Timestamp>,
    ) -> SearchRawLogs<'_> {
        SearchRawLogs {
            chronicle: self,
            query: query.into(),
            start: start.into(),
            end: end.into(),
            case_sensitive: false,
            log_types: Vec::new(),
            page_size: None,
        }
    }
}

/// A UDM search to be; see [`Chronicle::search_udm`].
#[derive(Debug, Clone)]
#[must_use = "nothing is searched until it is awaited"]
pub struct SearchUdm<'a> {
    chronicle: &'a Chronicle,
    query: String,
    start: Timestamp,
    end: Timestamp,
    max_events: u32,
}

impl SearchUdm<'_> {
    /// Most events to give: 10,000 unless fewer are asked for.
    pub fn max_events(mut self, max_events: u32) -> Self {
        self.max_events = max_events.min(UDM_EVENTS_MAX);
        self
    }
}

impl<'a> IntoFuture for SearchUdm<'a> {
    type Output = Result<UdmSearchResult, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (start, end) = (self.start.read("start")?.to_string(), self.end.read("end")?.to_string());
            let limit = self.max_events.to_string();
            let query = [
                ("query", self.query.as_str()),
                // Google's own SDK spells these parameters so.
                ("timeRange.start_time", &start),
                ("timeRange.end_time", &end),
                ("limit", &limit),
            ];
            self.chronicle.get(":udmSearch", &query).await
        })
    }
}

/// A raw-log search to be; see [`Chronicle::search_raw_logs`].
#[derive(Debug, Clone)]
#[must_use = "nothing is searched until it is awaited"]
pub struct SearchRawLogs<'a> {
    chronicle: &'a Chronicle,
    query: String,
    start: Timestamp,
    end: Timestamp,
    case_sensitive: bool,
    log_types: Vec<String>,
    page_size: Option<u32>,
}

impl SearchRawLogs<'_> {
    /// Whether capitals matter. By default they do not.
    pub fn case_sensitive(mut self, case_sensitive: bool) -> Self {
        self.case_sensitive = case_sensitive;
        self
    }

    /// Only logs of these types. By default all.
    pub fn log_types<T: Into<String>>(mut self, log_types: impl IntoIterator<Item = T>) -> Self {
        self.log_types = log_types.into_iter().map(Into::into).collect();
        self
    }

    /// Most logs to give. By default the receiver's choice.
    pub fn page_size(mut self, page_size: u32) -> Self {
        self.page_size = Some(page_size);
        self
    }
}

impl<'a> IntoFuture for SearchRawLogs<'a> {
    type Output = Result<RawLogSearchResult, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let body = encode::raw_search(&encode::RawSearch {
                query: &self.query,
                start: self.start.read("start")?,
                end: self.end.read("end")?,
                case_sensitive: self.case_sensitive,
                log_types: &self.log_types,
                page_size: self.page_size,
            });
            let reply: Value = self.chronicle.send(Method::POST, ":searchRawLogs", &[], body, Repeat::Harmless).await?;
            // A stream of parts comes as an array; a receiver with one part may send it alone.
            let parts = match reply {
                Value::Array(parts) => parts,
                part => vec![part],
            };
            // A stream that breaks off says so in a part of its own, after its status has long been 200.
            if let Some(part) = parts.iter().find(|part| part["error"].is_object()) {
                let status = part["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
                let reply = Reply { status, headers: HeaderMap::new(), body: part.to_string().into() };
                let now = self.chronicle.shared.clock().now();
                return Err(Failure::Status(reply).into_error(1, Duration::ZERO, now));
            }
            let complete = parts.iter().any(|part| part["complete"].as_bool() == Some(true));
            Ok(RawLogSearchResult { parts, complete })
        })
    }
}
