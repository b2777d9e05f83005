//! `GET /api/receipts/{id}`: where a batch or record is. Derived from the log, the store's cursor and set-aside records,
//! and each connector's cursor and dead letters; there is no second book.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use commit::Followed;
use deliver::Whereabouts;
use dialects::Refusal;
use event::{BatchMeta, InstanceId, Kind, Position, RecordId};
use http::StatusCode;
use search::Wanted;
use serde_json::{Value, json};

use super::{Answer, Api, Asker, blocking, json, not_found};
use crate::pipeline::Pipeline;

/// Most records of a batch that are shown one by one.
const RECORDS_SHOWN_MAX: usize = 1_000;

pub async fn answer(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Refusal> {
    let id: RecordId = id.parse().map_err(|error: event::IdError| {
        Refusal::invalid(format!("{error}. Ids stand in the X-Penstock-Batch header of replies and in search rows."))
    })?;
    let (pipeline, reach) = (Arc::clone(&api.pipeline), asker.reach());
    let repeats = api.ledger.repeats_of(id.batch());
    let receipt = blocking(move || receipt(&pipeline, id, reach, repeats)).await??;
    match receipt {
        Some(receipt) => Ok(json(StatusCode::OK, &receipt)),
        None => Err(not_found(format!(
            "There is no record or batch {id} that this credential reaches. It may have been refused, or expired from \
             the log and the store."
        ))),
    }
}

/// What is known of a batch wherever it was found.
struct Known {
    instance: InstanceId,
    kind: &'static str,
    log_type: String,
    sender: String,
    received_at: String,
    records: usize,
    position: Position,
    in_log: bool,
}

/// What the store has of a record.
#[derive(Default)]
struct Found {
    /// Which parser read it.
    parser: Option<String>,
    /// How many events and entities came of it.
    events: u64,
    /// Why none did, if that was a failure.
    failure: Option<String>,
}

impl Found {
    fn add(&mut self, row: search::Row) {
        if row.kind == Kind::Raw {
            self.failure = row.issues.into_iter().next().map(|issue| issue.message);
            self.parser = row.parser;
        } else if row.parser.is_some() {
            self.events += 1;
        }
    }

    /// `None` of what no parser read.
    fn shown(&self) -> Option<Value> {
        let parser = self.parser.as_ref()?;
        let state = match &self.failure {
            Some(_) => "failed",
            None if self.events == 0 => "no events",
            None => "parsed",
        };
        let mut shown = json!({ "state": state, "parser": parser, "events": self.events });
        if let Some(failure) = &self.failure {
            shown["reason"] = json!(failure.strip_prefix("not parsed: ").unwrap_or(failure));
        }
        Some(shown)
    }
}

fn receipt(
    pipeline: &Pipeline,
    id: RecordId,
    reach: Option<InstanceId>,
    repeats: u64,
) -> Result<Option<Value>, Refusal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        tracing::error!(%error, "{what}");
        Refusal::internal()
    };
    let from_log = find_in_log(pipeline, id).map_err(|error| failed("a receipt's batch cannot be read", &error))?;
    let known = match from_log {
        Some(known) => Some(known),
        None => find_in_store(pipeline, id).map_err(|error| failed("the store cannot be searched", &error))?,
    };
    let Some(known) = known.filter(|known| reach.is_none_or(|reach| reach == known.instance)) else { return Ok(None) };
    let is_batch = id.index() == 0;
    if !is_batch && known.in_log && id.index() as usize >= known.records {
        return Ok(None);
    }
    let batch = id.batch();
    let stored = match &pipeline.store {
        None => json!({ "state": "off" }),
        Some(store) => {
            let through = store.snapshot().searched_through();
            let is_read = through
                .is_some_and(|through| through.epoch != known.position.epoch || through.offset > known.position.offset);
            if is_read { json!({ "state": "stored" }) } else { json!({ "state": "waiting" }) }
        }
    };
    let set_aside = match &pipeline.store {
        None => Vec::new(),
        Some(store) => {
            store.set_aside_of_batch(batch).map_err(|error| failed("set-aside records cannot be read", &error))?
        }
    };
    let set_aside: Vec<Value> = set_aside
        .iter()
        .filter(|record| is_batch || record.event.id() == id)
        .map(|record| json!({ "id": record.event.id().to_string(), "reason": record.reason }))
        .collect();
    // A record beyond the first stands for itself; a batch's id is also that of its first record, so both are told.
    let indexes: Vec<u32> = if is_batch {
        (0..u32::try_from(known.records.min(RECORDS_SHOWN_MAX)).unwrap_or(u32::MAX)).collect()
    } else {
        vec![id.index()]
    };
    // The store may have let go of what is older than its retention; only looking tells.
    let mut in_store: HashMap<u32, Found> = HashMap::new();
    if let Some(store) = &pipeline.store {
        let wanted = if is_batch { Wanted::Batch(batch) } else { Wanted::Record(id) };
        search::find(&store.snapshot(), None, wanted, &mut |row| {
            in_store.entry(row.id.index()).or_default().add(row);
            // What came of a record stands right behind it, so the last one that is shown is whole.
            if in_store.len() > RECORDS_SHOWN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|error| failed("the store cannot be searched", &error))?;
    }
    let mut records = Vec::with_capacity(indexes.len());
    for index in indexes {
        let record = batch.record(index);
        let aside = set_aside.iter().find(|aside| aside["id"] == record.to_string().as_str());
        let state = match aside {
            Some(aside) => json!({ "state": "set aside", "reason": aside["reason"] }),
            None if stored["state"] == "stored" && !in_store.contains_key(&index) => json!({ "state": "expired" }),
            None => stored.clone(),
        };
        let connectors = pipeline
            .deliver
            .whereabouts(known.instance, record, known.position)
            .map_err(|error| failed("a connector's state cannot be read", &error))?;
        let connectors: Vec<Value> =
            connectors.iter().map(|(connector, whereabouts)| show_whereabouts(&connector.name, whereabouts)).collect();
        let mut shown = json!({ "id": record.to_string(), "index": index, "store": state, "connectors": connectors });
        if let Some(parsing) = in_store.get(&index).and_then(Found::shown) {
            shown["parsing"] = parsing;
        }
        records.push(shown);
    }
    Ok(Some(json!({
        "id": id.to_string(),
        "batch": batch.to_string(),
        "instance": known.instance.to_string(),
        "kind": known.kind,
        "log_type": known.log_type,
        "sender": known.sender,
        "received_at": known.received_at,
        "records_total": known.records,
        "committed": {
            "at": known.received_at,
            "position": reach.is_none().then(|| known.position.to_string()),
            "in_log": known.in_log,
        },
        "repeats": repeats,
        "set_aside": set_aside,
        "records": records,
    })))
}

fn show_whereabouts(name: &str, whereabouts: &Whereabouts) -> Value {
    match whereabouts {
        Whereabouts::Delivered => json!({ "name": name, "state": "delivered" }),
        Whereabouts::Waiting => json!({ "name": name, "state": "waiting" }),
        Whereabouts::DeadLetter { reason } => json!({ "name": name, "state": "dead letter", "reason": reason }),
        Whereabouts::Dropped { reason } => json!({ "name": name, "state": "dropped", "reason": reason }),
        Whereabouts::NotSelected => json!({ "name": name, "state": "not selected" }),
        Whereabouts::Passed => json!({ "name": name, "state": "delivered or not selected" }),
        Whereabouts::PassedOver => json!({ "name": name, "state": "passed over as part of a loop" }),
        Whereabouts::Lost => json!({ "name": name, "state": "lost" }),
    }
}

fn find_in_log(pipeline: &Pipeline, id: RecordId) -> anyhow::Result<Option<Known>> {
    let Some(found) = pipeline.log.find(id.batch().as_u128())? else { return Ok(None) };
    let mut follower = pipeline.log.follow(Some(found.position))?;
    let Some(Followed::Frame { payload, .. }) = follower.read()? else { return Ok(None) };
    let batches = event::codec::decode(&payload)?;
    let batch = batches.into_iter().find(|batch| batch.meta.id == id.batch());
    Ok(batch.map(|batch| known(&batch.meta, batch.records.len(), found.position, true)))
}

fn find_in_store(pipeline: &Pipeline, id: RecordId) -> anyhow::Result<Option<Known>> {
    let Some(store) = &pipeline.store else { return Ok(None) };
    // By ascending id: the first row says what the batch was, the last how many records it had.
    let (mut first, mut records) = (None, 0);
    search::find(&store.snapshot(), None, Wanted::Batch(id.batch()), &mut |row| {
        records = row.id.index() as usize + 1;
        first.get_or_insert(row);
        ControlFlow::Continue(())
    })?;
    if let Some(first) = first {
        return Ok(Some(Known {
            instance: first.instance,
            kind: first.kind.name(),
            log_type: first.log_type,
            sender: first.sender,
            received_at: first.received_at.to_string(),
            records,
            position: first.position,
            in_log: false,
        }));
    }
    let aside = store.set_aside_of_batch(id.batch())?;
    Ok(aside.first().map(|record| {
        let records = aside.iter().map(|record| record.event.index as usize + 1).max().unwrap_or(0);
        known(&record.event.batch, records, record.event.position, false)
    }))
}

fn known(meta: &BatchMeta, records: usize, position: Position, in_log: bool) -> Known {
    Known {
        instance: meta.instance,
        kind: meta.kind.name(),
        log_type: meta.log_type.clone(),
        sender: meta.sender.clone(),
        received_at: meta.received_at.to_string(),
        records,
        position,
        in_log,
    }
}
