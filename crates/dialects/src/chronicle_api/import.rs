//! The calls that take data in: `logs:import`, `events:import`, `entities:import`, and a feed's `importPushLogs`.
//!
//! A request is one frame. Its logs may differ in namespace and labels, which a batch says of all its records, so it may
//! be several batches. A forwarder that we know gives its namespace, labels and filters; one that we do not is no fault,
//! since collectors name forwarders that nobody made (contracts/chronicle.md §1.4).

use std::sync::Arc;

use bytes::Bytes;
use event::{Batch, BatchId, BatchMeta, InstanceId, Kind, Label, Record, Time, limits};
use http::StatusCode;

use super::read::{self, Body, Group, label_bytes};
use crate::chronicle_batch::{self, Item, Items, Place, QUARANTINED_MAX};
use crate::chronicle_ingestion::thanks;
use crate::resource::{PushFeed, Way};
use crate::snapshot::{Instance, OnInvalid, Snapshot};
use crate::{Caller, Intake, Refusal, Reply, Request, Thanks};

/// What an import call is made with.
pub(super) struct Import<'a> {
    pub(super) kind: Kind,
    /// The log type in the path, for logs.
    pub(super) log_type: Option<&'a str>,
    pub(super) request: &'a Request,
    /// Narrowed to the instance in the path.
    pub(super) caller: &'a Caller,
    pub(super) id: InstanceId,
    pub(super) instance: &'a Instance,
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Time,
}

impl Import<'_> {
    pub(super) fn accept(self, next_id: &mut dyn FnMut() -> BatchId) -> Intake {
        let Import { kind, request, caller, snapshot, .. } = self;
        let quarantine = snapshot.on_invalid == OnInvalid::Quarantine;
        let mut body = match read::read(kind, &request.body, snapshot, quarantine) {
            Ok(body) => body,
            Err(error) => {
                let why = error.describe(&request.body);
                return Intake::Refuse(Refusal::invalid(format!("The body is not valid JSON: {why}.")).of(caller));
            }
        };
        let received = body.items.count as u64;
        self.check_parent(&mut body);
        let log_type = self.check_log_type(&mut body);
        self.check_items_exist(&mut body);
        let set_aside = quarantine && body.items.faulty <= QUARANTINED_MAX;
        if !body.head_faults.is_empty() || (!body.items.faults.is_empty() && !set_aside) {
            let faults = body.head_faults.followed_by(body.items.faults);
            let refusal = faults.refusal("request").expect("there is a fault").of(caller);
            return Intake::Refuse(Refusal { records: Some(received), ..refusal });
        }
        let log_type = log_type.expect("without a log type there is a fault");
        let unnamed = Way::default();
        let (way, feed) = match &body.forwarder {
            None => (&unnamed, String::new()),
            Some(name) => self.way(name, &log_type, &unnamed),
        };
        let meta = |group: Group, id| BatchMeta {
            id,
            instance: self.id,
            kind,
            received_at: self.now,
            log_type: log_type.clone(),
            feed: feed.clone(),
            sender: caller.sender().to_owned(),
            namespace: group.namespace.unwrap_or_else(|| way.namespace.clone()),
            labels: merged(&way.labels, group.labels),
        };
        let mut groups = body.groups;
        if groups.is_empty() {
            groups.push(Group::default());
        }
        let own_bytes: usize = groups.iter().map(Group::bytes).sum();
        let label_bytes = own_bytes + groups.len() * label_bytes(&way.namespace, &way.labels);
        if label_bytes > limits::REQUEST_LABEL_BYTES_MAX {
            let most = limits::REQUEST_LABEL_BYTES_MAX;
            let description = format!("their labels, with the forwarder's, have over {most} bytes; send fewer at once");
            let refusal = Refusal::invalid_field(read::list_path(kind), description).of(caller);
            return Intake::Refuse(Refusal { records: Some(received), ..refusal });
        }
        let mut records: Vec<Vec<Record>> = groups.iter().map(|_| Vec::new()).collect();
        let mut items = Items { list: body.items.list, side: body.decoded };
        let mut filtered = 0;
        for index in 0..items.list.len() {
            let group = body.group_of.get(index).map_or(0, |group| *group as usize);
            let record = items.record(&request.body, &items.list[index]);
            // What is set aside is kept whatever a filter says: it was not read, so no filter can judge it.
            if kind != Kind::Raw || record.fault.is_some() || way.takes(&record.data) {
                records[group].push(record);
            } else {
                items.list[index].is_filtered = true;
                filtered += 1;
            }
        }
        let key = chronicle_batch::key(kind, self.id, &request.body, &items);
        let batches: Vec<(Caller, Batch)> = groups
            .into_iter()
            .zip(records)
            .filter(|(_, records)| !records.is_empty())
            .map(|(group, records)| (caller.clone(), Batch { meta: Arc::new(meta(group, next_id())), records }))
            .collect();
        committed(batches, key, filtered, caller)
    }

    /// The body may repeat the parent. Another one than the path's is a mistake that must not be guessed about.
    fn check_parent(&self, body: &mut Body) {
        let Some(parent) = body.parent.as_deref().filter(|parent| !parent.is_empty()) else { return };
        let named = parent.split_once("/instances/").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        if named.is_some_and(|named| named.parse() != Ok(self.id)) {
            body.head_faults.add("parent", format!("is not the instance of the path, {}", self.id));
        }
    }

    fn check_log_type(&self, body: &mut Body) -> Option<String> {
        let (log_type, field) = match self.kind {
            Kind::Udm => return Some("UDM".to_owned()),
            Kind::Raw => (self.log_type.map(str::to_owned), "log_type"),
            Kind::Entity if body.log_type_faulty => return None,
            Kind::Entity => (body.log_type.take(), "inline_source.log_type"),
        };
        let Some(log_type) = log_type else {
            body.head_faults.add(field, "missing");
            return None;
        };
        // A resource's full name says the same.
        let log_type = log_type.rsplit_once("/logTypes/").map_or(log_type.as_str(), |(_, name)| name);
        if self.instance.log_types.contains(log_type) {
            return Some(log_type.to_owned());
        }
        body.head_faults.add(field, unknown_log_type(self.instance, log_type));
        None
    }

    fn check_items_exist(&self, body: &mut Body) {
        let list = read::list_path(self.kind);
        if !body.has_items {
            body.head_faults.add(list, "missing");
        } else if body.items.count == 0 {
            body.head_faults.add(list, "empty: send at least one");
        } else if body.items.count > limits::BATCH_RECORDS_MAX {
            body.head_faults.add(list, format!("more than {} in one request", limits::BATCH_RECORDS_MAX));
        }
    }

    /// The way that a forwarder's name stands for, and what is kept of it as the feed.
    fn way<'w>(&'w self, name: &str, log_type: &str, unnamed: &'w Way) -> (&'w Way, String) {
        let id = name.rsplit('/').next().unwrap_or_default();
        match self.instance.forwarders.get(id) {
            Some(forwarder) => {
                let way = forwarder.way(log_type);
                (way, way.feed.clone())
            }
            None => {
                let shown: String = id.chars().filter(|char| !char.is_control()).take(FEED_CHARS_MAX).collect();
                (unnamed, format!("forwarders/{shown}"))
            }
        }
    }
}

/// How much is kept of the name of a forwarder that we do not know.
const FEED_CHARS_MAX: usize = 100;

/// What is said of a log type that the instance does not have.
pub(super) fn unknown_log_type(instance: &Instance, log_type: &str) -> String {
    let otherwise = "the instance's logTypes are the known ones, and `penstock log-type add` makes one";
    instance.log_types.unknown(log_type, otherwise)
}

fn committed(batches: Vec<(Caller, Batch)>, key: [u8; 16], filtered: u64, caller: &Caller) -> Intake {
    if batches.is_empty() {
        return Intake::Filtered {
            caller: caller.clone(),
            records: filtered,
            reply: Reply::json(StatusCode::OK, "{}"),
        };
    }
    Intake::Commit { batches, key: Some(key), filtered, refused: Vec::new(), thanks: Thanks::new(thanks) }
}

/// The way's labels, those of the record before them where the keys are the same.
fn merged(way: &[Label], own: Vec<Label>) -> Vec<Label> {
    if way.is_empty() {
        return own;
    }
    let room = limits::LABELS_MAX.saturating_sub(own.len());
    let others = way.iter().filter(|label| own.iter().all(|own| own.key != label.key));
    // Where not all have room, it is the record's that stay.
    let mut labels: Vec<Label> = others.take(room).cloned().collect();
    labels.extend(own);
    labels
}

/// A body that was pushed to a feed: each log of it as it stands, split as the feed says.
pub(super) fn import_push(
    feed: &PushFeed,
    body: &Bytes,
    caller: &Caller,
    id: InstanceId,
    instance: &Instance,
    now: Time,
    next_id: &mut dyn FnMut() -> BatchId,
) -> Intake {
    let refuse = |refusal: Refusal| Intake::Refuse(refusal.of(caller));
    if !instance.log_types.contains(&feed.log_type) {
        return refuse(Refusal::invalid(unknown_log_type(instance, &feed.log_type)));
    }
    let places = split(body, feed.delimiter.as_deref().map(str::as_bytes));
    if places.is_empty() {
        return refuse(Refusal::invalid("The body holds no log."));
    }
    if let Some(at) = places.iter().position(|place| std::str::from_utf8(&body[place.clone()]).is_err()) {
        let refusal =
            Refusal::invalid_field(&format!("log[{at}]"), "is not valid UTF-8; nothing of the request was stored");
        return refuse(Refusal { records: Some(places.len() as u64), ..refusal });
    }
    let item = |place: std::ops::Range<usize>| Item {
        place: Place::Body(place.clone()),
        raw: place.clone(),
        time: None,
        collected_at: None,
        fault: None,
        is_filtered: !feed.way.takes(&body[place]),
    };
    let items = Items { list: places.into_iter().map(item).collect(), side: Bytes::new() };
    let filtered = items.list.iter().filter(|item| item.is_filtered).count() as u64;
    let key = chronicle_batch::key(Kind::Raw, id, body, &items);
    let kept = items.list.iter().filter(|item| !item.is_filtered);
    let records: Vec<Record> = kept.map(|item| items.record(body, item)).collect();
    let meta = BatchMeta {
        id: next_id(),
        instance: id,
        kind: Kind::Raw,
        received_at: now,
        log_type: feed.log_type.clone(),
        feed: feed.way.feed.clone(),
        sender: caller.sender().to_owned(),
        namespace: feed.way.namespace.clone(),
        labels: feed.way.labels.clone(),
    };
    let batches =
        if records.is_empty() { Vec::new() } else { vec![(caller.clone(), Batch { meta: Arc::new(meta), records })] };
    committed(batches, key, filtered, caller)
}

/// The logs of a pushed body. Between delimiters nothing is no log; without a delimiter the body is one.
fn split(body: &[u8], delimiter: Option<&[u8]>) -> Vec<std::ops::Range<usize>> {
    let Some(delimiter) = delimiter.filter(|delimiter| !delimiter.is_empty()) else {
        return if body.is_empty() { Vec::new() } else { vec![std::ops::Range { start: 0, end: body.len() }] };
    };
    let mut places = Vec::new();
    let mut start = 0;
    let ends = memchr::memmem::find_iter(body, delimiter).chain([body.len()]);
    for end in ends {
        let mut log = start..end;
        // A line feed between logs is often written as CR LF.
        if delimiter == b"\n" && body[log.clone()].last() == Some(&b'\r') {
            log.end -= 1;
        }
        if !log.is_empty() {
            places.push(log);
        }
        start = (end + delimiter.len()).min(body.len());
    }
    places
}
