//! Answers what dialects ask: of the documents, and of the store.
//!
//! Where it sits: `receive` hands every [`Question`] to [`Answers`]; the dialect has already decided that the caller may
//! ask it. Everything here blocks (SQLite, Parquet), so all of it runs where blocking is allowed.

mod oci;
mod oci_metrics;
mod parser;
mod parsers;
mod trial;

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dialects::resource::ResourceKind;
use dialects::{Act, Caller, Cause, FieldValuesCall, FoundRecord, Outcome, Question, Refusal, SearchCall};
use event::{InstanceId, Kind, RecordId};
use receive::Components;
use search::{Row, Wanted};
use store::Store;
use tokio::sync::Semaphore;

use crate::api::blocking;
use crate::control::{Control, WayError};
use crate::field_values::FieldValues;
use crate::hosted::Hosted;
use crate::pipeline::{Clock, Pipeline};

/// The components that are asked.
pub struct Answers {
    /// Documents.
    pub control: Arc<Control>,
    /// The stages.
    pub pipeline: Arc<Pipeline>,
    /// The clock.
    pub clock: Clock,
    /// Searches at the same time, those of our own API included.
    pub searches: Arc<Semaphore>,
    /// Parsers of strangers that run at the same time.
    pub parsers: Arc<Semaphore>,
    /// The functions.
    pub functions: Hosted,
}

impl Components for Answers {
    fn answer<'a>(
        &'a self,
        caller: &'a Caller,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = Result<Outcome, Refusal>> + Send + 'a>> {
        Box::pin(async move {
            let instance = match &question {
                Question::Resource { instance, .. }
                | Question::Records { instance, .. }
                | Question::Oci { instance, .. } => *instance,
                Question::Search(call) => call.instance,
                Question::FieldValues(call) => call.instance,
                Question::RunParser(call) => call.instance,
                Question::Parsers(call) => call.instance,
            };
            if !caller.reaches(instance) {
                tracing::error!(%instance, sender = caller.sender(), "a question about a foreign instance");
                return Err(Refusal::internal());
            }
            match question {
                Question::Resource { instance, kind, act } => self.resource(instance, kind, act).await,
                Question::Search(call) => self.search(call).await,
                Question::Records { instance, ids, bytes_max } => self.records(instance, ids, bytes_max).await,
                Question::FieldValues(call) => self.field_values(call).await,
                Question::RunParser(call) => self.run_parser(call).await,
                Question::Parsers(call) => self.parsers(caller, call).await,
                Question::Oci { ask, .. } => self.oci(caller, instance, ask).await,
            }
        })
    }
}

impl Answers {
    async fn resource(&self, instance: InstanceId, kind: ResourceKind, act: Act) -> Result<Outcome, Refusal> {
        let (control, now) = (Arc::clone(&self.control), (self.clock)());
        let work = move || -> Result<Outcome, WayError> {
            Ok(match act {
                Act::Create { body, declares, by_sender } => {
                    Outcome::One(control.create_way(instance, &kind, &body, declares.as_deref(), by_sender, now)?)
                }
                Act::CreateNamed { id, body } => {
                    Outcome::One(control.create_named_way(instance, &kind, &id, &body, now)?)
                }
                Act::Get(id) => Outcome::One(control.get_way(instance, &kind, &id)?),
                Act::List => Outcome::All(control.list_ways(instance, &kind)?),
                Act::Update { id, change } => Outcome::One(control.update_way(instance, &kind, &id, &change, now)?),
                Act::Delete(id) => {
                    control.delete_way(instance, &kind, &id)?;
                    Outcome::Done
                }
                Act::SetEnabled { id, enabled } => {
                    Outcome::One(control.enable_way(instance, &kind, &id, enabled, now)?)
                }
                Act::NewSecret(id) => Outcome::Secret(control.new_way_secret(instance, &kind, &id, now)?),
            })
        };
        blocking(work).await?.map_err(|error| match error {
            WayError::Refused(refusal) => refusal,
            WayError::Control(error) => error.into(),
        })
    }

    async fn search(&self, call: SearchCall) -> Result<Outcome, Refusal> {
        let searched = self.searching(move |store, cancelled| {
            let bytes_max = call.bytes_max;
            let query = search::Query {
                instance: Some(call.instance),
                kinds: call.kinds,
                predicate: call.predicate,
                from: call.from,
                to: call.to,
                log_types: call.log_types,
                limit: call.rows_max,
            };
            let (mut rows, mut bytes) = (Vec::new(), 0);
            let summary = search::run(&store.snapshot(), &query, cancelled, &mut |row| {
                bytes += row.data.len();
                rows.push(found(row));
                if bytes >= bytes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let summary = summary.map_err(|error| failed(&error))?;
            Ok(Outcome::Rows { rows, truncated: summary.truncated || bytes >= bytes_max })
        });
        searched.await
    }

    async fn records(&self, instance: InstanceId, ids: Vec<RecordId>, bytes_max: usize) -> Result<Outcome, Refusal> {
        let searched = self.searching(move |store, cancelled| {
            let snapshot = store.snapshot();
            let (mut rows, mut bytes) = (Vec::new(), 0);
            for id in ids {
                if cancelled.load(Ordering::Relaxed) {
                    // Nobody waits for the rest.
                    break;
                }
                search::find(&snapshot, Some(instance), Wanted::Record(id), &mut |row| {
                    bytes += row.data.len();
                    rows.push(found(row));
                    ControlFlow::Continue(())
                })
                .map_err(|error| failed(&error))?;
                if bytes > bytes_max {
                    return Ok(Outcome::Rows { rows, truncated: true });
                }
            }
            Ok(Outcome::Rows { rows, truncated: false })
        });
        searched.await
    }

    async fn field_values(&self, call: FieldValuesCall) -> Result<Outcome, Refusal> {
        let schema = Arc::clone(self.control.schema());
        let searched = self.searching(move |store, cancelled| {
            let predicate = query::parse_udm(EVERY_EVENT, &schema, query::Options::default());
            let query = search::Query {
                instance: Some(call.instance),
                kinds: vec![Kind::Udm],
                predicate: predicate.expect("a fixed query of fields that the schema has"),
                from: None,
                to: None,
                log_types: Vec::new(),
                limit: call.records_max,
            };
            let mut values = FieldValues::new(&call.text, call.values_max);
            let mut bytes = 0;
            let looked = search::run(&store.snapshot(), &query, cancelled, &mut |row| {
                bytes += row.data.len();
                let enough = values.look(&schema, &row.data, row.received_at) || bytes >= call.bytes_max;
                if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            looked.map(|_| values.finish()).map_err(|error| failed(&error))
        });
        searched.await
    }

    /// Does what reads the store: a few such at a time, where blocking is allowed. The flag is set once nobody waits for it
    /// any more.
    async fn searching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &AtomicBool) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store()?;
        let _place = self.searches.acquire().await.map_err(|_| Refusal::internal())?;
        let cancel = CancelOnDrop::default();
        let cancelled = Arc::clone(&cancel.0);
        blocking(move || work(&store, &cancelled)).await?
    }

    fn store(&self) -> Result<Arc<Store>, Refusal> {
        self.pipeline.store.clone().ok_or_else(|| {
            let message = "The store is switched off (store.enabled = false), so nothing can be searched.";
            Refusal::new(Cause::Unsupported, message)
        })
    }
}

/// Holds for every event: what is unset reads as empty.
const EVERY_EVENT: &str = "metadata.product_name = \"\" OR metadata.product_name != \"\"";

fn found(row: Row) -> FoundRecord {
    FoundRecord {
        ordinal: row.ordinal,
        id: row.id,
        kind: row.kind,
        event_time: row.event_time,
        received_at: row.received_at,
        log_type: row.log_type,
        data: row.data,
    }
}

fn failed(error: &search::SearchError) -> Refusal {
    tracing::error!(%error, "a search failed");
    Refusal::internal()
}

/// Ends the search of a client that has left.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
