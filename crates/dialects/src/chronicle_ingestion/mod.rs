//! The Chronicle Ingestion API, v1 and v2, as the README beside this file says.
//!
//! One request is one batch: [`read`] scans the body once into places of records, this file decides whose it is and
//! whether all of it is good, `chronicle_batch` makes the key by which a repeat is known. [`encode`] is the client side.
//! gRPC and its HTTP transcoding are absent: those paths answer 501.

pub mod encode;
mod read;

use std::sync::Arc;

use event::{Batch, BatchId, BatchMeta, InstanceId, Kind, Time, limits};
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::chronicle_batch::{self, Items, QUARANTINED_MAX};
use crate::snapshot::{Instance, Limits, OnInvalid};
use crate::{
    Caller, Cause, Dialect, Found, Head, Intake, Refusal, Reply, Request, Route, Scope, Snapshot, Thanks, aip193, auth,
};
use read::Body;

/// The header of every success reply that names the batch.
pub const BATCH_HEADER: HeaderName = HeaderName::from_static("x-penstock-batch");

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Op {
    Raw,
    Udm,
    Entity,
    LogTypes,
    Transcoded,
}

impl Op {
    const ALL: [Op; 5] = [Op::Raw, Op::Udm, Op::Entity, Op::LogTypes, Op::Transcoded];
}

/// The dialect.
pub struct ChronicleIngestion {
    routes: Vec<Route>,
}

impl ChronicleIngestion {
    /// The dialect.
    #[allow(clippy::new_without_default)]
    pub fn new() -> ChronicleIngestion {
        let claims: [(&'static str, Op); 13] = [
            ("/v2/unstructuredlogentries:batchCreate", Op::Raw),
            ("/v2/udmevents:batchCreate", Op::Udm),
            ("/v2/entities:batchCreate", Op::Entity),
            ("/v2/logtypes", Op::LogTypes),
            ("/v1/unstructuredlogentries:batchCreate", Op::Raw),
            ("/v1/udmevents:batchCreate", Op::Udm),
            ("/v1/entities:batchCreate", Op::Entity),
            ("/v1/logtypes", Op::LogTypes),
            // Cribl's "V1" and CrowdStrike's forwarder leave the verb out.
            ("/v1/unstructuredlogentries", Op::Raw),
            ("/v1/udmevents", Op::Udm),
            ("/v1/entities", Op::Entity),
            ("/v2/logs:batchCreate", Op::Transcoded),
            ("/v2/events:batchCreate", Op::Transcoded),
        ];
        let route = |(path, op)| Route {
            host: None,
            method: if op == Op::LogTypes { Method::GET } else { Method::POST },
            path,
            op: op as u32,
            body_bytes_max: |limits: &Limits| limits.chronicle_ingestion_body_bytes_max,
            needs: Some(Scope::Ingest),
        };
        ChronicleIngestion { routes: claims.into_iter().map(route).collect() }
    }
}

impl Dialect for ChronicleIngestion {
    fn name(&self) -> &'static str {
        "chronicle_ingestion"
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn authenticate(
        &self,
        at: &Found<'_>,
        head: &Head,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<Option<Caller>, Refusal> {
        let caller = auth::authenticate(head, snapshot, now)?;
        if let Some(scope) = at.route.needs {
            caller.require(scope)?;
        }
        Ok(Some(caller))
    }

    fn accept(
        &self,
        at: &Found<'_>,
        request: &Request,
        caller: Option<Caller>,
        snapshot: &Snapshot,
        now: Time,
        next_id: &mut dyn FnMut() -> BatchId,
    ) -> Intake {
        let Some(caller) = caller else {
            return Intake::Refuse(Refusal::unauthenticated("The request has no credential."));
        };
        let kind = match Op::ALL.into_iter().find(|op| *op as u32 == at.route.op) {
            Some(Op::Raw) => Kind::Raw,
            Some(Op::Udm) => Kind::Udm,
            Some(Op::Entity) => Kind::Entity,
            Some(Op::LogTypes) => return Intake::Answer(log_types(&caller, snapshot)),
            Some(Op::Transcoded) | None => {
                let message = "This server does not serve the JSON form of the gRPC methods; send to \
                    /v2/unstructuredlogentries:batchCreate or /v2/udmevents:batchCreate.";
                return Intake::Refuse(Refusal::new(Cause::Unsupported, message).of(&caller));
            }
        };
        batch_create(kind, request, &caller, snapshot, now, next_id)
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        aip193::refuse(refusal)
    }
}

/// 200 with `{}`, the batch named in a header: a body with any key makes some clients report failure.
pub(crate) fn thanks(id: u128) -> Reply {
    let id = HeaderValue::from_str(&uuid::Uuid::from_u128(id).to_string()).expect("a UUID is visible ASCII");
    Reply::json(StatusCode::OK, "{}").with_header(BATCH_HEADER, id)
}

fn log_types(caller: &Caller, snapshot: &Snapshot) -> Reply {
    let own = caller.instance().and_then(|instance| snapshot.instances.get(&instance));
    let types = own.map_or(&snapshot.log_types, |instance| &instance.log_types);
    Reply::json(StatusCode::OK, types.reply())
}

fn batch_create(
    kind: Kind,
    request: &Request,
    caller: &Caller,
    snapshot: &Snapshot,
    now: Time,
    next_id: &mut dyn FnMut() -> BatchId,
) -> Intake {
    let quarantine = snapshot.on_invalid == OnInvalid::Quarantine;
    let mut body = match read::read(kind, &request.body, snapshot, quarantine) {
        Ok(body) => body,
        Err(error) => {
            let why = error.describe(&request.body);
            return Intake::Refuse(Refusal::invalid(format!("The body is not valid JSON: {why}.")).of(caller));
        }
    };
    let records = body.items.count as u64;
    let refuse = |refusal: Refusal| Intake::Refuse(Refusal { records: Some(records), ..refusal.of(caller) });

    let instance = match instance_meant(&body, caller, snapshot) {
        Ok(found) => found,
        Err(Wrong::Foreign(refusal)) => return refuse(refusal),
        Err(Wrong::Field(description)) => {
            body.head_faults.add("customer_id", description);
            None
        }
    };
    check_log_type(kind, &mut body, instance.map(|(_, instance)| instance));
    check_items_exist(kind, &mut body);
    let set_aside = quarantine && body.items.faulty <= QUARANTINED_MAX;
    if !body.head_faults.is_empty() || (!body.items.faults.is_empty() && !set_aside) {
        let faults = body.head_faults.followed_by(body.items.faults);
        return refuse(faults.refusal("batch").expect("there is a fault"));
    }
    let (id, _) = instance.expect("without an instance there is a fault on customer_id");
    let narrowed = caller.clone().narrowed(id).expect("instance_meant gives only what the caller reaches");

    let items = Items { list: body.items.list, side: body.side };
    let key = chronicle_batch::key(kind, id, &request.body, &items);
    let meta = BatchMeta {
        id: next_id(),
        instance: id,
        kind,
        received_at: now,
        log_type: if kind == Kind::Udm { "UDM".to_owned() } else { body.log_type.unwrap_or_default() },
        feed: String::new(),
        sender: narrowed.sender().to_owned(),
        namespace: body.namespace.unwrap_or_default(),
        labels: body.labels,
    };
    let records = items.list.iter().map(|item| items.record(&request.body, item)).collect();
    let batch = Batch { meta: Arc::new(meta), records };
    Intake::Commit {
        batches: vec![(narrowed, batch)],
        key: Some(key),
        filtered: 0,
        refused: Vec::new(),
        thanks: Thanks::new(thanks),
    }
}

enum Wrong {
    Foreign(Refusal),
    Field(String),
}

/// The instance that the batch is for: `customer_id`, which must be the credential's own; its own where none is named.
fn instance_meant<'s>(
    body: &Body,
    caller: &Caller,
    snapshot: &'s Snapshot,
) -> Result<Option<(InstanceId, &'s Instance)>, Wrong> {
    if body.customer_id_faulty {
        return Ok(None);
    }
    let id = match &body.customer_id {
        Some(text) => text.parse::<InstanceId>().map_err(|error| Wrong::Field(error.to_string()))?,
        None => match (caller.instance(), snapshot.instances.len()) {
            (Some(own), _) => own,
            // The operator has no instance of its own; where there is only one, none else can be meant.
            (None, 1) => *snapshot.instances.keys().next().expect("there is one"),
            (None, _) => return Err(Wrong::Field("missing: the operator's token belongs to no instance".to_owned())),
        },
    };
    if !caller.reaches(id) {
        // The same whether that instance exists or not.
        let message = format!("{} does not belong to the instance (customer_id) {id}.", caller.sender());
        return Err(Wrong::Foreign(Refusal::permission_denied(message)));
    }
    let instance = snapshot.instances.get(&id);
    let instance = instance.ok_or_else(|| Wrong::Field(format!("there is no instance {id} on this server")))?;
    Ok(Some((id, instance)))
}

fn check_log_type(kind: Kind, body: &mut Body, instance: Option<&Instance>) {
    if kind == Kind::Udm || body.log_type_faulty {
        return;
    }
    let Some(log_type) = &body.log_type else {
        body.head_faults.add("log_type", "missing");
        return;
    };
    let Some(instance) = instance else { return };
    if instance.log_types.contains(log_type) {
        return;
    }
    let unknown = instance.log_types.unknown(log_type, "GET /v2/logtypes lists the known ones");
    body.head_faults.add("log_type", unknown);
}

fn check_items_exist(kind: Kind, body: &mut Body) {
    let list = read::list_name(kind);
    if !body.has_items {
        body.head_faults.add(list, "missing");
    } else if body.items.count == 0 {
        body.head_faults.add(list, "empty: send at least one");
    } else if body.items.count > limits::BATCH_RECORDS_MAX {
        body.head_faults.add(list, format!("more than {} in one batch", limits::BATCH_RECORDS_MAX));
    }
}

#[cfg(test)]
mod tests;
