//! The calls that send: one log, one event, batches of both, entities.
//!
//! All go the same way: records become elements (`record.rs`), elements become requests (`batch.rs`), requests are sent
//! one after the other, so that the order within a log type is kept. Absent on purpose: splitting a message into lines.
//! What is one message stays one record.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use dialects::chronicle_api::encode::Import;
use http::Method;

use crate::Chronicle;
use crate::batch::{Planned, plan};
use crate::client::Shared;
use crate::error::{Accepted, Error, Failed, Partial};
use crate::record::{LogEntry, Timestamp, check_log_type, encode_entity, encode_event};
use crate::reply::Reply;
use crate::retry::Repeat;

/// Penstock's header with the id of the batch that it made durable.
const BATCH_HEADER: &str = "x-penstock-batch";
/// Penstock's header for a batch that it had already.
const REPEAT_HEADER: &str = "x-penstock-repeat";
/// Penstock's header with how many records of a batch the forwarder's filters kept out.
const FILTERED_HEADER: &str = "x-penstock-filtered";

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IngestResult {
    /// `operations/ID` where the receiver names the batch that it stored: Penstock does (`penstock receipt ID` tells
    /// what became of it). Google's reply is empty, and this `None`.
    pub operation: Option<String>,
    /// Whether the receiver says that it had just this already and stored nothing: Penstock does, Google never.
    pub repeat: bool,
    /// How many records of it the receiver says that the forwarder's filters kept out, and did not store: Penstock does,
    /// Google never.
    pub filtered: u64,
}

/// What became of a batch that was accepted as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct BatchResult {
    /// The requests that it took, in the order in which they were sent.
    pub accepted: Vec<Accepted>,
}

impl BatchResult {
    /// How many items were accepted.
    pub fn count(&self) -> usize {
        self.accepted.iter().map(|request| request.items.len()).sum()
    }

    /// How many of the items were taken and then kept out by the forwarder's filters.
    pub fn filtered(&self) -> u64 {
        self.accepted.iter().map(|request| request.filtered).sum()
    }

    /// The operations of all requests; none from Google.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        self.accepted.iter().filter_map(|request| request.operation.as_deref())
    }
}

impl Chronicle {
    /// Sends one raw log of this type. Await it, or say more about it first:
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// let result = chronicle
    ///     .ingest_log("OKTA", r#"{"eventType":"user.session.start"}"#)
    ///     .entry_timestamp("2023-01-01T12:00:00Z") // when the event occurred
    ///     .collection_timestamp("2023-01-01T12:05:00Z") // when the log was collected
    ///     .await?;
    /// println!("Operation: {:?}", result.operation);
    /// # Ok(()) }
    /// ```
    ///
    /// A message is one record and is sent as it is; it need not be text. No forwarder is named unless
    /// [`IngestLog::forwarder`] is called.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], [`Error::TooLarge`], and those of every call.
    pub fn ingest_log(&self, log_type: impl Into<String>, log_message: impl Into<Vec<u8>>) -> IngestLog<'_> {
        IngestLog { chronicle: self, entry: LogEntry::new(log_type, log_message) }
    }

    /// Sends raw logs: [`LogEntry`]s, or pairs of log type and message. Mixed log types are grouped by type (and
    /// forwarder); within a type the order is kept. As many requests are made as the limit on a body's size needs.
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// use penstock_client::Error;
    ///
    /// match chronicle.ingest_logs_batch([("OKTA", "first"), ("BIND_DNS", "second"), ("OKTA", "third")]).await {
    ///     Ok(result) => println!("{} logs in {} requests", result.count(), result.accepted.len()),
    ///     Err(Error::Partial(partial)) => println!("{partial}"),
    ///     Err(error) => println!("nothing was accepted: {error}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] and [`Error::TooLarge`] name an item, and nothing of the batch was sent. [`Error::Partial`]
    /// when there were several requests and one of them failed; it says which items were accepted. Any other error: there
    /// was one request, and it failed.
    pub async fn ingest_logs_batch<T: Into<LogEntry>>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<BatchResult, Error> {
        let records = self.encode_logs(items)?;
        self.import(records).await
    }

    /// Sends one UDM event: a JSON object, or anything that becomes one.
    ///
    /// Where the event has no `metadata.event_timestamp` it gets the present time, and where it has no `metadata.id` a
    /// random one, so that two events with the same content are two. What is there, in either spelling, stays as it is,
    /// unknown fields and single values in place of lists included: what to make of those is the receiver's decision.
    ///
    /// ```no_run
    /// # async fn example(chronicle: penstock_client::Chronicle) -> Result<(), penstock_client::Error> {
    /// let event = serde_json::json!({
    ///     "metadata": {"event_type": "USER_LOGIN", "product_name": "Custom Application", "vendor_name": "My Company"},
    ///     "principal": {"user": {"userid": "jdoe@example.com"}, "ip": "192.168.1.100"},
    ///     "target": {"application": "My Application"},
    ///     "security_result": {"action": "ALLOW", "summary": "Successful login"},
    /// });
    /// let result = chronicle.ingest_udm(&event).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Chronicle::ingest_log`].
    pub async fn ingest_udm(&self, event: impl serde::Serialize) -> Result<IngestResult, Error> {
        let element = encode_event(event, self.shared.clock())?;
        self.import_one(Import::Events, element).await
    }

    /// Sends UDM events, each as [`Chronicle::ingest_udm`] does, in as few requests as the limit on a body's size allows.
    /// The receiver takes or refuses a request as a whole.
    ///
    /// # Errors
    ///
    /// As [`Chronicle::ingest_logs_batch`].
    pub async fn ingest_udm_batch<T: serde::Serialize>(
        &self,
        events: impl IntoIterator<Item = T>,
    ) -> Result<BatchResult, Error> {
        let records = self.encode_events(events)?;
        self.import(records).await
    }

    /// Sends entities (users, assets, …) that come from a source of this log type. Each is a JSON object with `metadata`
    /// and `entity`; nothing is added.
    ///
    /// # Errors
    ///
    /// As [`Chronicle::ingest_logs_batch`].
    pub async fn import_entities<T: serde::Serialize>(
        &self,
        log_type: &str,
        entities: impl IntoIterator<Item = T>,
    ) -> Result<BatchResult, Error> {
        let records = encode_entities(log_type, entities)?;
        self.import(records).await
    }

    pub(crate) fn encode_logs<T: Into<LogEntry>>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<Vec<(Import<'static>, Vec<u8>)>, Error> {
        let encode =
            |(at, item): (usize, T)| item.into().encode(self.name(), self.shared.clock()).map_err(|error| error.at(at));
        items.into_iter().enumerate().map(encode).collect()
    }

    pub(crate) fn encode_events<T: serde::Serialize>(
        &self,
        events: impl IntoIterator<Item = T>,
    ) -> Result<Vec<(Import<'static>, Vec<u8>)>, Error> {
        let encode = |(at, event): (usize, T)| match encode_event(event, self.shared.clock()) {
            Ok(element) => Ok((Import::Events, element)),
            Err(error) => Err(error.at(at)),
        };
        events.into_iter().enumerate().map(encode).collect()
    }

    async fn import_one(&self, import: Import<'static>, element: Vec<u8>) -> Result<IngestResult, Error> {
        let mut result = self.import(vec![(import, element)]).await?;
        let accepted = result.accepted.pop().expect("one record is one request");
        Ok(IngestResult { operation: accepted.operation, repeat: accepted.repeat, filtered: accepted.filtered })
    }

    async fn import(&self, records: Vec<(Import<'static>, Vec<u8>)>) -> Result<BatchResult, Error> {
        let requests = plan(records, self.shared.body_limits)?;
        let is_one = requests.len() == 1;
        let (mut accepted, mut failed, mut not_sent) = (Vec::new(), Vec::<Failed>::new(), Vec::new());
        for request in requests {
            if failed.last().is_some_and(|failed| failed.error.concerns_all()) {
                not_sent.extend(request.items);
                continue;
            }
            let log_type = request.log_type().to_owned();
            match self.import_request(&request).await {
                Ok(Thanks { operation, repeat, filtered }) => {
                    accepted.push(Accepted { log_type, items: request.items, operation, repeat, filtered });
                }
                Err(error) => {
                    let error = error.with_items(&request.items);
                    if is_one {
                        return Err(error);
                    }
                    failed.push(Failed { log_type, items: request.items, error });
                }
            }
        }
        if failed.is_empty() {
            return Ok(BatchResult { accepted });
        }
        not_sent.sort_unstable();
        Err(Error::Partial(Box::new(Partial { accepted, failed, not_sent })))
    }

    async fn import_request(&self, request: &Planned) -> Result<Thanks, Error> {
        let body = self.shared.pack(request.body());
        let url = self.url(&request.import.path(), &[]);
        // The receiver knows a batch by its bytes, so the same again is stored once.
        let reply = self.shared.call(Shared::with_json(Method::POST, url, body, Repeat::Harmless)).await?;
        thanks(&reply)
    }
}

/// What a receiver says of a request that it took.
pub(crate) struct Thanks {
    operation: Option<String>,
    repeat: bool,
    pub(crate) filtered: u64,
}

/// What the receiver calls the batch. A reply that is no JSON object thanks for nothing.
pub(crate) fn thanks(reply: &Reply) -> Result<Thanks, Error> {
    reply.json::<serde_json::Map<String, serde_json::Value>>()?;
    Ok(Thanks {
        operation: reply.header(BATCH_HEADER).map(|batch| format!("operations/{batch}")),
        repeat: reply.header(REPEAT_HEADER) == Some("true"),
        filtered: reply.header(FILTERED_HEADER).and_then(|count| count.parse().ok()).unwrap_or(0),
    })
}

pub(crate) fn encode_entities<T: serde::Serialize>(
    log_type: &str,
    entities: impl IntoIterator<Item = T>,
) -> Result<Vec<(Import<'static>, Vec<u8>)>, Error> {
    check_log_type(log_type)?;
    let import = Import::Entities { log_type: log_type.to_owned().into() };
    let encode = |(at, entity): (usize, T)| match encode_entity(entity) {
        Ok(element) => Ok((import.clone(), element)),
        Err(error) => Err(error.at(at)),
    };
    entities.into_iter().enumerate().map(encode).collect()
}

/// One raw log on its way; see [`Chronicle::ingest_log`]. Nothing is sent until it is awaited.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until it is awaited"]
pub struct IngestLog<'a> {
    chronicle: &'a Chronicle,
    entry: LogEntry,
}

impl IngestLog<'_> {
    /// When the event occurred: RFC 3339 with a zone, or a time. By default the collection's time.
    pub fn entry_timestamp(mut self, time: impl Into<Timestamp>) -> Self {
        self.entry = self.entry.entry_timestamp(time);
        self
    }

    /// When the log was collected; not before the entry's time. By default now.
    pub fn collection_timestamp(mut self, time: impl Into<Timestamp>) -> Self {
        self.entry = self.entry.collection_timestamp(time);
        self
    }

    /// See [`LogEntry::namespace`].
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.entry = self.entry.namespace(namespace);
        self
    }

    /// See [`LogEntry::label`].
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.entry = self.entry.label(key, value);
        self
    }

    /// See [`LogEntry::rbac_label`].
    pub fn rbac_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.entry = self.entry.rbac_label(key, value);
        self
    }

    /// See [`LogEntry::forwarder`].
    pub fn forwarder(mut self, forwarder: impl Into<String>) -> Self {
        self.entry = self.entry.forwarder(forwarder);
        self
    }
}

impl<'a> IntoFuture for IngestLog<'a> {
    type Output = Result<IngestResult, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (import, element) = self.entry.encode(self.chronicle.name(), self.chronicle.shared.clock())?;
            self.chronicle.import_one(import, element).await
        })
    }
}
