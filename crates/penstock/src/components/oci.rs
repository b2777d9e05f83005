//! Answers what OCI's calls ask: of the documents, of the store, of functions and of what connectors and functions
//! counted.
//!
//! A change of documents is followed by what it means: connectors and functions are told, code is installed beside. The
//! call's answer waits for the former and not for the latter, which takes minutes: the function's state tells of it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dialects::oci::{
    Act, AuditCall, Invoke, Invoked, Kind, ListCall, LogSearch, NotInvoked, Outcome, Question, Resource, ocid,
};
use dialects::{Caller, Refusal};
use event::{InstanceId, Kind as RecordKind};
use query::Diagnostic;
use query::oci::{Output, Scope, ScopeText};
use serde_json::{Value, json};

use super::{Answers, failed};
use crate::api::blocking;
use crate::control::Control;
use crate::control::oci::{FUNCTIONS_OFF, Made, connector_of, no_such};
use functions::InvokeError;

/// How long a search may take. OCI's command gives up after a minute, too.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(50);

impl Answers {
    /// Answers one of OCI's questions.
    pub(super) async fn oci(
        &self,
        caller: &Caller,
        instance: InstanceId,
        ask: Question,
    ) -> Result<dialects::Outcome, Refusal> {
        let outcome = match ask {
            Question::Resource { kind, act } => self.oci_resource(instance, kind, act).await,
            Question::Search(call) => self.oci_search(instance, call).await,
            Question::AuditEvents(call) => self.oci_audit_events(instance, call).await,
            Question::Invoke(call) => self.oci_invoke(caller, instance, call).await,
            Question::Metrics(call) => self.oci_metrics(instance, call).await,
        };
        outcome.map(dialects::Outcome::Oci)
    }

    async fn oci_resource(&self, instance: InstanceId, kind: Kind, act: Act) -> Result<Outcome, Refusal> {
        let (control, now, runs) = (Arc::clone(&self.control), (self.clock)(), self.functions.is_on());
        let activated = match &act {
            Act::Switch { id, is_active: true, .. } => Some(connector_of(id)),
            _ => None,
        };
        let removed = match &act {
            Act::Delete { id, .. } if kind == Kind::Function => Some(id.clone()),
            _ => None,
        };
        let changed = blocking(move || -> Result<Done, Refusal> {
            Ok(match act {
                Act::Get { id, parent } => Done::One(control.get_oci(instance, kind, parent.as_deref(), &id)?),
                Act::List(call) => Done::All(control.list_oci(instance, kind, &call)?, call),
                Act::Create { parent, body, retry_token } => Done::Made(control.create_oci(
                    instance,
                    kind,
                    parent.as_deref(),
                    body,
                    retry_token.as_deref(),
                    runs,
                    now,
                )?),
                Act::Update { id, parent, if_match, body } => Done::Made(control.update_oci(
                    instance,
                    kind,
                    parent.as_deref(),
                    &id,
                    if_match.as_deref(),
                    body,
                    runs,
                    now,
                )?),
                Act::Delete { id, parent, if_match } => {
                    Done::Made(control.delete_oci(instance, kind, parent.as_deref(), &id, if_match.as_deref(), now)?)
                }
                Act::Switch { id, is_active, if_match } => {
                    Done::Made(control.switch_service_connector(instance, &id, is_active, if_match.as_deref(), now)?)
                }
            })
        });
        match changed.await?? {
            Done::One(mut resource) => {
                self.show_states(instance, kind, std::slice::from_mut(&mut resource));
                Ok(Outcome::One(resource))
            }
            Done::All(mut items, call) => {
                self.show_states(instance, kind, &mut items);
                if let Some(wanted) = &call.lifecycle_state {
                    items.retain(|item| state_of(item).eq_ignore_ascii_case(wanted));
                }
                let (items, next_page) = page_of(items, call.page.as_deref(), call.limit)?;
                Ok(Outcome::Page { items, next_page })
            }
            Done::Made(made) => {
                let outcome = self.follow_change(instance, kind, made).await?;
                if let Some(function) = removed {
                    self.functions.remove(&function).await;
                }
                if let Some(name) = activated {
                    self.pipeline.activate_again(deliver::ConnectorId { instance, name }).await?;
                }
                Ok(outcome)
            }
        }
    }

    /// Lets connectors and functions follow a change of their documents.
    async fn follow_change(&self, instance: InstanceId, kind: Kind, made: Made) -> Result<Outcome, Refusal> {
        let Made { resource, work_request, archive } = made;
        match kind {
            // A function's time limit is its connectors' patience.
            Kind::ServiceConnector | Kind::Compartment => self.apply_connectors().await?,
            Kind::Function => {
                self.functions.apply(&self.control).await?;
                self.apply_connectors().await?;
            }
            Kind::Application => self.functions.apply(&self.control).await?,
            Kind::LogGroup | Kind::Log | Kind::WorkRequest => {}
        }
        if let Some(archive) = archive {
            self.functions.install(&self.control, &self.clock, instance, archive);
        }
        Ok(match (work_request, resource) {
            (Some(work_request), resource) => Outcome::Accepted { work_request, resource },
            (None, Some(resource)) => Outcome::One(resource),
            (None, None) => Outcome::Done,
        })
    }

    async fn apply_connectors(&self) -> Result<(), Refusal> {
        self.pipeline.apply_connectors(&self.control).await
    }

    /// Shows of connectors the state that they are in at this moment, which no document knows.
    fn show_states(&self, instance: InstanceId, kind: Kind, resources: &mut [Resource]) {
        if kind != Kind::ServiceConnector {
            return;
        }
        let all = self.pipeline.deliver.status().into_iter().filter(|status| status.id.instance == instance);
        let reasons: HashMap<String, String> = all
            .filter_map(|status| match status.state {
                deliver::ConnectorState::NeedsAttention { reason } => Some((status.id.name, reason)),
                _ => None,
            })
            .collect();
        for resource in resources {
            if let Some(reason) = reasons.get(&connector_of(&resource.id)) {
                resource.body["lifecycleState"] = Value::from("NEEDS_ATTENTION");
                resource.body["lifecycleDetails"] = Value::from(reason.as_str());
            }
        }
    }

    async fn oci_search(&self, instance: InstanceId, call: LogSearch) -> Result<Outcome, Refusal> {
        let LogSearch { text, query, from, to, limit, page: token, bytes_max } = call;
        let start = page(token.as_deref())?;
        // One more than is shown tells whether there is a next page.
        let wanted = limit.saturating_add(1);
        let control = Arc::clone(&self.control);
        in_time(self.searching(move |store, cancelled| {
            let scopes = resolve(&control, instance, query.scopes(), &text)?;
            let rows_needed = query.rows_needed(start.saturating_add(wanted));
            let search = search::Query {
                instance: Some(instance),
                kinds: vec![RecordKind::Raw],
                predicate: query.predicate(scopes),
                from: Some(from),
                to: Some(to),
                log_types: Vec::new(),
                limit: rows_needed.unwrap_or(usize::MAX),
            };
            // Where a row comes out for each that goes in, those of earlier pages do not count: a page that the bytes of its
            // records cut short has rows nevertheless. Queries that must see every record hold no more of them than their
            // stages do.
            let is_row_by_row = rows_needed.is_some();
            let mut run = query.start(start, Some(wanted));
            let (mut came, mut bytes, mut is_cut, mut fault) = (0, 0, false, None);
            search::run(&store.snapshot(), &search, cancelled, &mut |row| {
                if is_row_by_row && bytes >= bytes_max {
                    is_cut = true;
                    return ControlFlow::Break(());
                }
                let Some(shown) = shown(&row) else { return ControlFlow::Continue(()) };
                came += 1;
                if came > start {
                    bytes += row.data.len();
                }
                match run.push(shown) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => ControlFlow::Break(()),
                    Err(diagnostic) => {
                        fault = Some(diagnostic);
                        ControlFlow::Break(())
                    }
                }
            })
            .map_err(|error| failed(&error))?;
            let output = match fault {
                Some(diagnostic) => Err(diagnostic),
                None => run.finish(),
            };
            let wrong = |diagnostic: Diagnostic| Refusal::invalid_field("searchQuery", diagnostic.render(&text));
            let Output { mut rows, fields } = output.map_err(wrong)?;
            let more = rows.len() > limit || is_cut;
            rows.truncate(limit);
            let next_page = (more && !rows.is_empty()).then(|| (start + rows.len()).to_string());
            let fields = fields.into_iter().map(|(name, kind)| (name, kind.to_owned())).collect();
            Ok(Outcome::Rows { rows, fields, next_page })
        }))
        .await
    }

    async fn oci_audit_events(&self, instance: InstanceId, call: AuditCall) -> Result<Outcome, Refusal> {
        let AuditCall { compartment, from, to, page: token, limit, bytes_max } = call;
        let start = page(token.as_deref())?;
        let scope = Scope { compartments: vec![compartment], group: Some("_Audit".to_owned()), log: None };
        in_time(self.searching(move |store, cancelled| {
            let search = search::Query {
                instance: Some(instance),
                kinds: vec![RecordKind::Raw],
                predicate: query::oci::predicate(vec![scope], None),
                from: Some(from),
                to: Some(to),
                log_types: Vec::new(),
                limit: start.saturating_add(limit).saturating_add(1),
            };
            let (mut items, mut came, mut bytes, mut more) = (Vec::new(), 0_usize, 0, false);
            search::run(&store.snapshot(), &search, cancelled, &mut |row| {
                if came >= start {
                    if items.len() == limit || bytes >= bytes_max {
                        more = true;
                        return ControlFlow::Break(());
                    }
                    bytes += row.data.len();
                    items.extend(shown(&row).map(audit_event));
                }
                came += 1;
                ControlFlow::Continue(())
            })
            .map_err(|error| failed(&error))?;
            Ok(Outcome::Events { items, next_page: more.then(|| came.to_string()) })
        }))
        .await
    }

    async fn oci_invoke(&self, caller: &Caller, instance: InstanceId, call: Invoke) -> Result<Outcome, Refusal> {
        if !self.functions.is_on() {
            let (control, id) = (Arc::clone(&self.control), call.function);
            blocking(move || control.get_oci(instance, Kind::Function, None, &id)).await??;
            let why = NotInvoked::NotInstalled;
            return Ok(Outcome::NotInvoked { call_id: None, why, message: FUNCTIONS_OFF.to_owned() });
        }
        if self.functions.owner_of(&call.function) != Some(instance) {
            return Err(no_such(Kind::Function, &call.function));
        }
        let function = call.function;
        let is_detached = call.detached;
        let call_id = self.functions.fresh_call_id();
        let made = functions::Call {
            body: call.body,
            content_type: Some(call.content_type),
            call_id: Some(call_id.clone()),
            headers: call.intent.map(|intent| ("Fn-Intent".to_owned(), intent)).into_iter().collect(),
            records: None,
            by: caller.sender().to_owned(),
            hops: 0,
        };
        if is_detached {
            let functions = self.functions.clone();
            tokio::spawn(async move {
                if let Err(error) = functions.invoke(&function, made).await {
                    tracing::info!(function, %error, "a detached call did not succeed");
                }
            });
            return Ok(Outcome::Detached { call_id });
        }
        Ok(match self.functions.invoke(&function, made).await {
            Ok(answer) => Outcome::Invoked(Invoked {
                status: answer.status,
                headers: answer.headers,
                body: answer.body,
                call_id: answer.call_id,
            }),
            Err(error) => {
                let why = match &error {
                    InvokeError::Unknown | InvokeError::NotInstalled => NotInvoked::NotInstalled,
                    InvokeError::Busy { .. } => NotInvoked::Busy,
                    InvokeError::TimedOut { .. } => NotInvoked::TimedOut,
                    InvokeError::Init { .. } => NotInvoked::InitFailed,
                    InvokeError::TooLarge { .. } => NotInvoked::AnswerTooLarge,
                    _ => NotInvoked::Failed,
                };
                Outcome::NotInvoked { call_id: Some(call_id), why, message: error.to_string() }
            }
        })
    }
}

/// What a search gives if it ends in time. One that does not is told to stop by what is dropped with it.
async fn in_time<T>(searched: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    match tokio::time::timeout(SEARCH_TIME_MAX, searched).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let secs = SEARCH_TIME_MAX.as_secs();
            let message =
                format!("The search was not done in {secs} s; search a shorter time, or with fewer computed fields.");
            Err(Refusal::invalid(message))
        }
    }
}

/// What became of an act.
enum Done {
    One(Resource),
    /// Whatever page of them is wanted.
    All(Vec<Resource>, ListCall),
    Made(Made),
}

/// A record as log searches see it; `None` for what is no envelope, which the predicate lets nobody see.
fn shown(row: &search::Row) -> Option<Value> {
    let envelope = serde_json::from_slice::<Value>(&row.data).ok()?;
    let millis = row.event_time.nanos().div_euclid(1_000_000);
    Some(json!({ "datetime": millis, "logContent": envelope }))
}

/// The place that a page token of ours names.
fn page(token: Option<&str>) -> Result<usize, Refusal> {
    match token {
        None => Ok(0),
        Some(token) => token.parse().map_err(|_| Refusal::invalid_field("page", "is none that was given")),
    }
}

/// The state that a resource is shown in.
fn state_of(resource: &Resource) -> &str {
    let state = resource.body["lifecycleState"].as_str().or(resource.body["status"].as_str());
    state.unwrap_or_default()
}

/// The page of these that a token of ours names, and the token of the next one.
pub(super) fn page_of<T>(
    items: Vec<T>,
    token: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let start = page(token)?;
    let more = items.len() > start.saturating_add(limit);
    let next_page = more.then(|| (start + limit).to_string());
    Ok((items.into_iter().skip(start).take(limit).collect(), next_page))
}

/// An audit record as the Audit API shows it: the same facts, under the names of its own.
fn audit_event(mut row: Value) -> Value {
    let mut envelope = row["logContent"].take();
    // In the log, the resource's name is the envelope's source; here it stands in the data.
    let name = envelope["source"].clone();
    if let Some(data) = envelope["data"].as_object_mut()
        && data.get("resourceName").is_none_or(Value::is_null)
    {
        data.insert("resourceName".to_owned(), name);
    }
    json!({
        "eventType": envelope["type"].take(),
        "cloudEventsVersion": "0.1",
        "eventTypeVersion": envelope.get("dataschema").cloned().unwrap_or_else(|| Value::from("2.0")),
        "source": envelope["source"].take(),
        "eventId": envelope["id"].take(),
        "eventTime": envelope["time"].take(),
        "contentType": "application/json",
        "data": envelope["data"].take(),
    })
}

/// The scopes of a query with ids for names. A compartment stands for all that lies below it, too.
fn resolve(control: &Control, instance: InstanceId, texts: &[ScopeText], query: &str) -> Result<Vec<Scope>, Refusal> {
    let all = |kind: Kind| control.list_oci(instance, kind, &ListCall::default());
    let mut scopes = Vec::new();
    for text in texts {
        let unknown = |noun: &str, name: &str| {
            let shown: String = name.chars().take(120).collect();
            let diagnostic = text.unknown(format!("there is no {noun} {shown:?} here"));
            Refusal::invalid_field("searchQuery", diagnostic.render(query))
        };
        let tenancy = control.get_oci(instance, Kind::Compartment, None, &ocid::tenancy(instance))?;
        let wanted = text.compartment.as_str();
        let root = if tenancy.id == wanted || tenancy.body["name"] == wanted {
            tenancy.id
        } else {
            let found = all(Kind::Compartment)?;
            let found = found.into_iter().find(|one| one.id == wanted || one.body["name"] == wanted);
            found.map(|found| found.id).ok_or_else(|| unknown("compartment", wanted))?
        };
        let mut compartments = control.compartments_below(instance, &root)?;
        compartments.insert(0, root);
        let within = |one: &Resource| compartments.iter().any(|known| one.body["compartmentId"] == known.as_str());
        let is = |one: &Resource, name: &str| one.id == name || one.body["displayName"] == name;
        let group = match text.group.as_deref() {
            None => None,
            Some(audit) if audit.to_ascii_lowercase().starts_with("_audit") => Some("_Audit".to_owned()),
            Some(name) => {
                let found = all(Kind::LogGroup)?.into_iter().find(|one| within(one) && is(one, name));
                Some(found.ok_or_else(|| unknown("log group", name))?.id)
            }
        };
        let log = match text.log.as_deref() {
            None => None,
            Some(name) => {
                let in_group = |log: &Resource| group.as_ref().is_none_or(|id| log.body["logGroupId"] == id.as_str());
                let found = all(Kind::Log)?.into_iter().find(|one| in_group(one) && within(one) && is(one, name));
                Some(found.ok_or_else(|| unknown("log", name))?.id)
            }
        };
        scopes.push(Scope { compartments, group, log });
    }
    Ok(scopes)
}
