//! `GET /api/status`: instances, rates, the log, followers and their lag, conservation, senders in trouble.
//!
//! Conservation is a check, not a copy: what was committed is counted at the front door on receipts, what arrived is
//! counted by the store in the transaction of its cursor. Whoever counts wrong or loses something shows here.

use std::collections::{BTreeMap, HashMap};

use commit::LogState;
use dialects::Refusal;
use event::{InstanceId, Tally, TallyKey};
use serde_json::{Value, json};

use super::{Api, Asker, manage};

/// What the store had of each instance when this process started, stored and set aside, in records.
pub type AtStart = HashMap<InstanceId, u64>;

pub async fn answer(api: &Api, asker: &Asker) -> Result<Value, Refusal> {
    let now = (api.clock)();
    let reach = asker.reach();
    let log = api.pipeline.log.status();
    let counts = api.ledger.counts();
    let progress = &api.pipeline.progress;
    let stored = api.pipeline.store.as_ref().map(|store| store.counts());
    let tallies = api.pipeline.store.as_ref().map(|store| store.tallies()).unwrap_or_default();
    let is_caught_up = progress.offset() >= log.durable_to.offset;

    let snapshot = api.control.snapshot().load_full();
    let mut instances: Vec<_> =
        snapshot.instances.iter().filter(|(id, _)| reach.is_none_or(|own| own == **id)).collect();
    instances.sort_by_key(|(id, _)| **id);
    let instances: Vec<Value> = instances
        .into_iter()
        .map(|(id, instance)| {
            let counts = counts.get(id).copied().unwrap_or_default();
            let rate = api.rates.of(*id, &counts);
            let in_store = stored.as_ref().map(|stored| total(stored, *id));
            let conservation = conservation(api, *id, &counts, in_store.as_ref(), is_caught_up);
            json!({
                "id": id.to_string(),
                "name": instance.name,
                "records_per_second": round(rate.records),
                "bytes_per_second": round(rate.bytes),
                "received": counts.received,
                "committed": counts.committed,
                "repeated": counts.repeated,
                "filtered": counts.filtered,
                "refused": counts.refused,
                "requests": counts.requests,
                "requests_refused": counts.requests_refused,
                "stored_total": in_store.map(|counts| counts.records),
                "set_aside_total": in_store.map(|counts| counts.set_aside),
                "parsing_failed": parsing_failed(&tallies, *id),
                "conservation": conservation,
            })
        })
        .collect();

    let troubles: Vec<Value> = api
        .ledger
        .troubles()
        .iter()
        .filter(|trouble| reach.is_none() || trouble.instance == reach)
        .map(|trouble| {
            json!({
                "instance": trouble.instance.map(|id| id.to_string()),
                "sender": trouble.sender,
                "status": trouble.status,
                "message": trouble.message,
                "times": trouble.times,
                "since": trouble.since.to_string(),
                "last": trouble.last.to_string(),
            })
        })
        .collect();
    let connectors = manage::connectors(api, asker, reach).await?;
    let connectors: Vec<Value> = connectors
        .into_iter()
        .map(|mut connector| {
            let mut status = connector["status"].take();
            if let Value::Object(status) = &mut status {
                status.insert("name".to_owned(), connector["name"].take());
                status.insert("instance".to_owned(), connector["instance"].take());
            }
            status
        })
        .collect();
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "url": api.url,
        "started_at": api.started.to_string(),
        "uptime_ms": now.nanos_since(api.started) / 1_000_000,
        "sync": api.sync,
        "instances": instances,
        "followers": {
            "store": store_follower(api, asker, &log, now, stored.is_some()),
            "connectors": connectors,
        },
        "troubles": troubles,
    });
    if asker.is_operator() {
        status["pid"] = json!(std::process::id());
        status["strangers_refused"] = json!(api.ledger.strangers_refused());
        status["memory"] = json!({ "requests_bytes": api.memory.used() });
        status["log"] = json!({
            "state": state_name(&log.state),
            "epoch": format!("{:016x}", log.epoch),
            "first": log.first.to_string(),
            "durable_to": log.durable_to.to_string(),
            "bytes_on_disk": log.bytes_on_disk,
            "segments": log.segments,
            "frames": log.frames,
            "syncs": log.syncs,
            "repeats": log.repeats,
            "dedup_keys": log.dedup_keys,
        });
    }
    Ok(status)
}

/// By log type, how many raw logs gave no events because of a failure; log types without any are left out.
fn parsing_failed(tallies: &BTreeMap<TallyKey, Tally>, instance: InstanceId) -> Value {
    let mut failed = BTreeMap::<&str, u64>::new();
    for (key, tally) in tallies.iter().filter(|(key, tally)| key.instance == instance && tally.failed > 0) {
        *failed.entry(&key.log_type).or_default() += tally.failed;
    }
    json!(failed)
}

fn store_follower(api: &Api, asker: &Asker, log: &commit::LogStatus, now: event::Time, is_on: bool) -> Value {
    if !is_on {
        return json!({ "state": "off" });
    }
    let progress = &api.pipeline.progress;
    let lag_ms = u64::try_from(progress.behind(log.durable_to.offset, now).as_millis()).unwrap_or(u64::MAX);
    if !asker.is_operator() {
        // The log is everybody's: how many bytes of it wait says what other instances send.
        let state = if progress.failed().is_some() { "stopped" } else { "running" };
        return json!({ "state": state, "lag_ms": lag_ms });
    }
    let gaps: Vec<Value> = progress
        .gaps()
        .iter()
        .map(|gap| json!({ "from": gap.from.to_string(), "to": gap.to.to_string(), "reason": gap.reason }))
        .collect();
    let missing = api.pipeline.store.as_ref().map(|store| store.missing_parts()).unwrap_or_default();
    let missing: Vec<Value> =
        missing.iter().map(|(path, rows)| json!({ "path": path.display().to_string(), "rows": rows })).collect();
    json!({
        "state": match progress.failed() { Some(why) => format!("stopped: {why}"), None => "running".to_owned() },
        "lag_bytes": log.durable_to.offset.saturating_sub(progress.offset()),
        "lag_ms": lag_ms,
        "unflushed_bytes": api.pipeline.store.as_ref().map(|store| store.tail_bytes()),
        "cursor": api.pipeline.store.as_ref().and_then(|store| store.cursor()).map(|cursor| cursor.to_string()),
        "gaps": gaps,
        "missing_parts": missing,
    })
}

/// received = committed + repeated + refused + filtered, and committed = what the store has more than at the start + what waits.
fn conservation(
    api: &Api,
    id: InstanceId,
    counts: &receive::ledger::Counts,
    in_store: Option<&store::InstanceCounts>,
    is_caught_up: bool,
) -> Value {
    let front_holds = counts.received == counts.committed + counts.repeated + counts.refused + counts.filtered;
    let Some(in_store) = in_store else {
        return json!({ "holds": front_holds, "waiting": null });
    };
    let before = api.store_at_start.get(&id).copied().unwrap_or(0) + api.pipeline.progress.backlog(id);
    let arrived = (in_store.records + in_store.set_aside).saturating_sub(before);
    let waiting = counts.committed.saturating_sub(arrived);
    // Between the receipt and the count a request is in neither; only a caught-up store can be compared.
    let holds = front_holds && arrived <= counts.committed && (!is_caught_up || waiting == 0);
    json!({ "holds": holds, "arrived": arrived, "waiting": waiting })
}

fn total(counts: &store::Counts, id: InstanceId) -> store::InstanceCounts {
    let stored = counts.stored.get(&id).copied().unwrap_or_default();
    let tail = counts.tail.get(&id).copied().unwrap_or_default();
    store::InstanceCounts {
        records: stored.records + tail.records,
        set_aside: stored.set_aside + tail.set_aside,
        events: stored.events + tail.events,
    }
}

fn state_name(state: &LogState) -> String {
    match state {
        LogState::Writing => "writing".to_owned(),
        LogState::Full { since } => format!("full since {since}"),
        LogState::Failed { reason } => format!("failed: {reason}"),
        LogState::Closed => "closed".to_owned(),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
