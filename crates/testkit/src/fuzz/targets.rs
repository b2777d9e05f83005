//! The list. A target calls the fuzz function of the crate that owns the code, and beside it looks at what came out,
//! for steering.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use commit::{Followed, Log, LogOptions};
use dialects::resource::ResourceKind;
use dialects::snapshot::{Account, ApiKey, Instance, Limits, OnInvalid, RefreshToken, Secret, SecretHash, Snapshot};
use dialects::{Caller, Head, Intake, LogType, LogTypes, Lookup, Question, Refusal, Request, Role, Router, auth};
use event::{Batch, BatchId, InstanceId, Kind, Label, Record, Time, codec};
use http::{HeaderMap, Method};
use rand::Rng;
use rand::rngs::StdRng;
use receive::connect::{NoTunnel, Said};
use ring::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use udm::{Mode, Root, Scalar, Schema, Selection};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Shown, Target, outline, parsers, seeds};
use crate::disk::{SimDisk, fuzz_log_recovery};

/// Every place where bytes from outside are read. A new one is a line here.
pub fn targets() -> Vec<Target> {
    let schema = Schema::load();
    let fuzz = Arc::new(dialects::fuzz::Fuzz::new());
    let accepts = Arc::new(Accepts::new());
    let body = |name: &'static str, path: &'static str, call: fn(&dialects::fuzz::Fuzz, &[u8])| {
        let (fuzz, accepts) = (Arc::clone(&fuzz), Arc::clone(&accepts));
        let schema = Arc::clone(&schema);
        let run = move |bytes: &[u8], shown: &mut Shown| {
            call(&fuzz, bytes);
            let intake = accepts.accept(path, bytes);
            show_intake(&intake, shown);
            show_leaves(&schema, &intake, shown);
        };
        Target { name, seeds: accept_seeds(name), syntax: seeds::JSON, change: None, run: Box::new(run) }
    };
    let mut targets = vec![
        body("raw_logs", Accepts::RAW_LOGS, dialects::fuzz::Fuzz::raw_logs),
        body("udm_events", Accepts::UDM_EVENTS, dialects::fuzz::Fuzz::udm_events),
        body("entities", Accepts::ENTITIES, dialects::fuzz::Fuzz::entities),
        body("api_logs", Accepts::API_LOGS, dialects::fuzz::Fuzz::api_logs),
        Target {
            name: "resources",
            seeds: seeds::texts(seeds::RESOURCES),
            syntax: seeds::JSON,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| {
                    fuzz.resources(bytes);
                    show_resource(bytes, shown);
                }
            }),
        },
        Target {
            name: "udm_search",
            seeds: seeds::texts(seeds::UDM_SEARCHES),
            syntax: seeds::QUERY_STRING,
            change: None,
            run: Box::new({
                let (fuzz, accepts) = (Arc::clone(&fuzz), Arc::clone(&accepts));
                move |bytes, shown| {
                    fuzz.udm_search(bytes);
                    for path in [Accepts::UDM_SEARCH, Accepts::FIELD_VALUES] {
                        show_intake(&accepts.accept_query(path, bytes), shown);
                    }
                }
            }),
        },
        body("raw_log_search", Accepts::RAW_LOG_SEARCH, dialects::fuzz::Fuzz::raw_log_search),
        body("table_search", Accepts::TABLE_SEARCH, dialects::fuzz::Fuzz::table_search),
        body("kept_parsers", Accepts::PARSERS, dialects::fuzz::Fuzz::kept_parsers),
        Target {
            name: "key_values",
            seeds: seeds::texts(seeds::KEY_VALUES),
            syntax: seeds::KEY_VALUES_SYNTAX,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, _| fuzz.key_values(bytes)
            }),
        },
        Target {
            name: "token",
            seeds: seeds::texts(seeds::TOKENS),
            syntax: seeds::TOKEN,
            change: None,
            run: Box::new({
                let (fuzz, accepts) = (Arc::clone(&fuzz), Arc::clone(&accepts));
                move |bytes, shown| {
                    let form = match accepts.sealed(bytes) {
                        None => bytes.to_vec(),
                        Some(jwt) => format!("{GRANT}{jwt}").into_bytes(),
                    };
                    fuzz.token(&form);
                    show_intake(&accepts.accept("/token", &form), shown);
                }
            }),
        },
        Target {
            name: "bearer",
            seeds: seeds::texts(seeds::BEARERS),
            syntax: seeds::TOKEN,
            change: None,
            run: Box::new({
                let (fuzz, accepts) = (Arc::clone(&fuzz), Arc::clone(&accepts));
                move |bytes, shown| {
                    let token = accepts.sealed(bytes).map_or_else(|| bytes.to_vec(), String::into_bytes);
                    fuzz.bearer(&token);
                    match accepts.bearer(bytes) {
                        Ok(caller) => {
                            shown.valid();
                            shown.note((caller.sender(), format!("{:?}", caller.scopes())));
                        }
                        Err(refusal) => shown.note_message(&refusal.message),
                    }
                }
            }),
        },
        Target {
            name: "request_line",
            seeds: seeds::texts(seeds::REQUEST_LINES),
            syntax: seeds::REQUEST_LINE,
            change: None,
            run: Box::new({
                let (fuzz, accepts) = (Arc::clone(&fuzz), Arc::clone(&accepts));
                move |bytes, shown| {
                    fuzz.request_line(bytes);
                    show_head(&accepts.claimed(bytes), shown);
                }
            }),
        },
        Target {
            name: "connect_head",
            seeds: seeds::texts(seeds::CONNECT_HEADS),
            syntax: seeds::CONNECT_HEAD,
            change: None,
            run: Box::new(|bytes, shown| match receive::connect::fuzz(bytes) {
                Said::Part => shown.note("part"),
                Said::Tunnel { host, head_bytes } => {
                    shown.valid();
                    let shape = outline(host.as_str()).replace(|c: char| c.is_ascii_lowercase(), "");
                    shown.note((shape, head_bytes.ilog2(), bytes.len() > head_bytes));
                }
                Said::Other(why) => {
                    shown.note(std::mem::discriminant(&why));
                    if let NoTunnel::Malformed(what) = why {
                        shown.note(what);
                    }
                }
            }),
        },
        Target {
            name: "generate_access_token",
            seeds: seeds::texts(seeds::IMPERSONATIONS),
            syntax: seeds::JSON,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| {
                    if let Some(intake) = fuzz.generate_access_token(bytes) {
                        show_intake(&intake, shown);
                    }
                }
            }),
        },
        Target {
            name: "metadata",
            seeds: seeds::texts(seeds::METADATA),
            syntax: seeds::REQUEST_LINE,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| {
                    if let Some(reply) = fuzz.metadata(bytes) {
                        if reply.status == http::StatusCode::OK {
                            shown.valid();
                        }
                        shown.note((reply.status.as_u16(), reply.body.len().checked_ilog2()));
                    }
                }
            }),
        },
        Target {
            name: "log_recovery",
            seeds: seeds::log_seeds(),
            syntax: seeds::LOG,
            change: Some(log_resealed),
            run: Box::new(|bytes, shown| {
                fuzz_log_recovery(bytes);
                let seen = recovered(bytes);
                if seen.error.is_none() && seen.frames > 0 {
                    shown.valid();
                }
                shown.note(seen);
            }),
        },
        Target {
            name: "batch_codec",
            seeds: seeds::codec_seeds(),
            syntax: seeds::CODEC,
            change: Some(codec_changed),
            run: Box::new(batch_codec),
        },
        Target {
            name: "query",
            seeds: seeds::query_seeds(),
            syntax: seeds::QUERY,
            change: None,
            run: Box::new({
                let schema = Arc::clone(&schema);
                move |bytes, shown| {
                    query::fuzz(&schema, bytes);
                    show_query(&schema, bytes, shown);
                }
            }),
        },
        Target {
            name: "oci_query",
            seeds: seeds::texts(seeds::OCI_QUERIES),
            syntax: seeds::OCI_QUERY,
            change: None,
            run: Box::new(|bytes, shown| {
                query::oci::fuzz(bytes);
                show_oci_query(&String::from_utf8_lossy(bytes), shown);
            }),
        },
        Target {
            name: "udm",
            seeds: seeds::texts(seeds::RECORDS),
            syntax: seeds::JSON,
            change: None,
            run: Box::new({
                let records = Records::new(schema);
                move |bytes, shown| records.run(bytes, shown)
            }),
        },
        Target {
            name: "sekoia",
            seeds: seeds::texts(seeds::SEKOIA),
            syntax: seeds::JSON,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| {
                    if let Some(intake) = fuzz.sekoia(bytes) {
                        shown.note(bytes[0] % 7);
                        show_intake(&intake, shown);
                    }
                }
            }),
        },
        Target {
            name: "oci",
            seeds: seeds::texts(seeds::OCI),
            syntax: seeds::JSON,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| {
                    if let Some(intake) = fuzz.oci(bytes) {
                        shown.note(bytes[0] % dialects::fuzz::OCI_CALLS_COUNT);
                        show_intake(&intake, shown);
                    }
                }
            }),
        },
        Target {
            name: "oci_signature",
            seeds: seeds::texts(seeds::OCI_SIGNATURES),
            syntax: seeds::OCI_SIGNATURE,
            change: None,
            run: Box::new({
                let fuzz = Arc::clone(&fuzz);
                move |bytes, shown| shown.note_message(&fuzz.oci_signature(bytes))
            }),
        },
        Target {
            name: "syslog",
            seeds: seeds::texts(seeds::SYSLOG),
            syntax: seeds::LOG_TEXT,
            change: None,
            run: Box::new(|bytes, shown| {
                for frame in dialects::fuzz::syslog_frames(bytes) {
                    shown.note(std::mem::discriminant(&frame));
                }
                let line = dialects::fuzz::syslog_line(bytes);
                if line.hostname.is_some() {
                    shown.valid();
                }
                let keys: Vec<String> = line.labels().into_iter().map(|label| label.key).collect();
                shown.note((keys, line.time.is_some(), line.intake_key.is_some(), line.facility, line.severity));
            }),
        },
        Target {
            name: "relp",
            seeds: seeds::texts(seeds::RELP),
            syntax: seeds::LOG_TEXT,
            change: None,
            run: Box::new(|bytes, shown| {
                let commands = dialects::fuzz::relp(bytes);
                if commands.len() > 1 {
                    shown.valid();
                }
                for command in commands {
                    shown.note(std::mem::discriminant(&command));
                }
            }),
        },
        Target {
            name: "when",
            seeds: seeds::texts(seeds::TIMES),
            syntax: seeds::LOG_TEXT,
            change: None,
            run: Box::new(|bytes, shown| {
                if let Some(time) = dialects::fuzz::when(bytes) {
                    shown.valid();
                    shown.note((bytes.len(), time.nanos() % 1_000_000_000 == 0));
                }
                shown.note(outline(&String::from_utf8_lossy(bytes)));
            }),
        },
        Target {
            name: "classify",
            seeds: seeds::texts(seeds::LOGS),
            syntax: seeds::LOG_TEXT,
            change: None,
            run: Box::new(classify),
        },
    ];
    targets.extend(parsers::targets());
    targets
}

const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

/// Seeds of the target with this name among those that read bodies.
pub(super) fn accept_seeds(name: &str) -> Vec<Vec<u8>> {
    seeds::texts(match name {
        "raw_logs" => seeds::RAW_LOGS,
        "udm_events" => seeds::EVENTS,
        "api_logs" => seeds::API_LOGS,
        "raw_log_search" => seeds::RAW_LOG_SEARCHES,
        "table_search" => seeds::TABLE_SEARCHES,
        "kept_parsers" => seeds::KEPT_PARSERS,
        _ => seeds::ENTITIES,
    })
}

/// The dialects with one sender who may do everything and whose private key is at hand.
pub struct Accepts {
    router: Router,
    snapshot: Snapshot,
    key: RsaKeyPair,
}

impl Accepts {
    /// The path of raw logs.
    pub const RAW_LOGS: &str = "/v2/unstructuredlogentries:batchCreate";
    /// The path of UDM events.
    pub const UDM_EVENTS: &str = "/v2/udmevents:batchCreate";
    /// The path of entities.
    pub const ENTITIES: &str = "/v2/entities:batchCreate";
    /// The path of raw logs in the newer API.
    pub const API_LOGS: &str =
        "/v1alpha/projects/p/locations/l/instances/00000000-0000-0000-0000-000000000001/logTypes/OKTA/logs:import";

    /// The path of a UDM search.
    pub const UDM_SEARCH: &str =
        "/v1alpha/projects/p/locations/us/instances/00000000-0000-0000-0000-000000000001:udmSearch";
    /// The path of a look at the values of fields.
    pub const FIELD_VALUES: &str =
        "/v1alpha/projects/p/locations/us/instances/00000000-0000-0000-0000-000000000001:findUdmFieldValues";
    /// The path of a search of raw logs.
    pub const RAW_LOG_SEARCH: &str =
        "/v1alpha/projects/p/locations/us/instances/00000000-0000-0000-0000-000000000001:searchRawLogs";
    /// The path of a search that is answered with CSV.
    pub const TABLE_SEARCH: &str = "/v1alpha/projects/p/locations/us/instances/\
        00000000-0000-0000-0000-000000000001/legacy:legacyFetchUdmSearchCsv";
    /// The path of a new parser.
    pub const PARSERS: &str =
        "/v1alpha/projects/p/locations/us/instances/00000000-0000-0000-0000-000000000001/logTypes/OKTA/parsers";

    const API_KEY: &str = "fuzz-key";
    const NOW_SECS: i64 = 1_700_000_000;
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// The same at every call.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Accepts {
        let key = RsaKeyPair::from_pkcs8(include_bytes!("../../data/fuzz-key.pk8")).expect("a key made for this");
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(1));
        let names = ["OKTA", "BIND_DNS", "CATCH_ALL", "UDM"];
        let log_types = LogTypes::of(names.map(|name| LogType::new(name, "").expect("a fixed name")));
        let account = Account {
            instance,
            role: Role::Admin,
            disabled: false,
            keys: HashMap::from([("k".to_owned(), key.public_key().as_ref().to_vec())]),
        };
        let api_key = ApiKey { id: "1".to_owned(), instance, role: Role::Admin, disabled: false };
        let tenant = Instance::new("tenant", log_types.clone());
        // The one that a seed has; its client's id and secret are the same text.
        let refresh_token = "fuzz-refresh";
        let kept = RefreshToken {
            account: "fuzz-1@example.com".to_owned(),
            client_id: refresh_token.to_owned(),
            client_secret: SecretHash::of(refresh_token),
        };
        let snapshot = Snapshot {
            instances: HashMap::from([(instance, tenant)]),
            accounts: HashMap::from([("fuzz-1@example.com".to_owned(), account)]),
            api_keys: HashMap::from([(SecretHash::of(Accepts::API_KEY), api_key)]),
            intakes: HashMap::new(),
            refresh_tokens: HashMap::from([(SecretHash::of(refresh_token), kept)]),
            operator_token: None,
            token_secret: Secret([9; 32]),
            token_urls: vec!["http://127.0.0.1:8480/token".to_owned()],
            log_types,
            limits: Limits::default(),
            udm_mode: Mode::Lenient,
            on_invalid: OnInvalid::Refuse,
            schema: Schema::load(),
            oci_keys: HashMap::new(),
            oci_compartments: HashMap::new(),
            oci_logs: HashMap::new(),
            oci_region: "us-ashburn-1".to_owned(),
            oci_runtimes: Vec::new(),
        };
        let router = Router::new(dialects::all()).expect("the dialects claim different routes");
        Accepts { router, snapshot, key }
    }

    /// What a body at a path means.
    pub fn accept(&self, path: &str, body: &[u8]) -> Intake {
        self.accept_request(Method::POST, path, "", body)
    }

    /// What a query string at a path means.
    pub fn accept_query(&self, path: &str, query: &[u8]) -> Intake {
        self.accept_request(Method::GET, path, &String::from_utf8_lossy(query), b"")
    }

    fn accept_request(&self, method: Method, path: &str, query: &str, body: &[u8]) -> Intake {
        let query = format!("key={}&{query}", Accepts::API_KEY);
        let head = Head::new(method, path, Some(&query), HeaderMap::new(), Accepts::PEER);
        let request = Request { head: head.expect("a fixed path"), body: Bytes::copy_from_slice(body) };
        let Lookup::Found(found) = self.router.lookup(&request.head) else { panic!("the path is claimed") };
        let caller = match found.dialect.authenticate(&found, &request.head, &self.snapshot, now()) {
            Ok(caller) => caller,
            Err(refusal) => panic!("the key is valid: {}", refusal.message),
        };
        let mut next_id = || BatchId::from_u128(1 << 80).expect("the low bits are zero");
        found.dialect.accept(&found, &request, caller, &self.snapshot, now(), &mut next_id)
    }

    /// A JWT whose parts are written out: `parts:header\nclaims\nsignature`, or `signed:header\nclaims` to be signed
    /// with the sender's key. Mutations of what is encoded would hardly ever decode.
    fn sealed(&self, bytes: &[u8]) -> Option<String> {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        if let Some(parts) = bytes.strip_prefix(b"parts:") {
            return Some(parts.split(|byte| *byte == b'\n').map(encode).collect::<Vec<_>>().join("."));
        }
        let parts = bytes.strip_prefix(b"signed:")?;
        let signed = parts.split(|byte| *byte == b'\n').map(encode).collect::<Vec<_>>().join(".");
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("the key can sign");
        Some(format!("{signed}.{}", encode(&signature)))
    }

    /// Whom a bearer token proves.
    pub fn bearer(&self, bytes: &[u8]) -> Result<Caller, Refusal> {
        let token = self.sealed(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned());
        auth::authenticate_bearer(&token, &self.snapshot, now())
    }

    /// What a request line leads to: its head, and who claims it.
    pub fn claimed(&self, bytes: &[u8]) -> Result<(Head, Option<&'static str>), String> {
        let text = String::from_utf8_lossy(bytes);
        let (method, target) = text.split_once(' ').unwrap_or(("GET", &text));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = method.parse().map_err(|_| "no method".to_owned())?;
        let head =
            Head::new(method, path, query, HeaderMap::new(), Accepts::PEER).map_err(|error| error.to_string())?;
        let name = match self.router.lookup(&head) {
            Lookup::Found(found) => Some(found.dialect.name()),
            _ => None,
        };
        Ok((head, name))
    }
}

fn show_head(claimed: &Result<(Head, Option<&'static str>), String>, shown: &mut Shown) {
    match claimed {
        Err(error) => shown.note(error),
        Ok((head, name)) => {
            if name.is_some() {
                shown.valid();
            }
            let escapes = head.raw_path.matches('%').count().min(3);
            shown.note((
                name,
                head.path == head.raw_path,
                escapes,
                head.query_value("key").map(|key| key.len().min(3)),
            ));
        }
    }
}

fn now() -> Time {
    Time::from_secs(Accepts::NOW_SECS).expect("within range")
}

fn show_intake(intake: &Intake, shown: &mut Shown) {
    match intake {
        Intake::Commit { batches, key, .. } => {
            shown.valid();
            shown.note((batches.len(), key.is_some()));
            for (_, batch) in batches {
                let meta = &*batch.meta;
                shown.note((meta.log_type.as_str(), !meta.namespace.is_empty(), meta.labels.len().min(4)));
                shown.note(("records", batch.records.len().min(5), batch.records.len().ilog2()));
                let times = batch.records.iter().take(4).map(|record| record.sender_time.is_some()).collect::<Vec<_>>();
                shown.note(("times", times, !meta.namespace.is_empty()));
                for (index, record) in batch.records.iter().take(4).enumerate() {
                    let digits = record.sender_time.map(|time| time.nanos().unsigned_abs().checked_ilog10());
                    shown.note(("digits", index, digits));
                }
                shown.note(("empty", batch.records.iter().any(|record| record.data.is_empty())));
            }
        }
        Intake::Refuse(refusal) => {
            shown.note(refusal.cause.http_status().as_u16());
            if refusal.violations.is_empty() {
                shown.note_message(&refusal.message);
            }
            for violation in &refusal.violations {
                shown.note(violation.field.split(['[', '.']).next());
                shown.note_message(&violation.description);
            }
        }
        Intake::Answer(reply) => {
            shown.valid();
            shown.note(reply.status.as_u16());
        }
        Intake::Ask(ask) => {
            shown.valid();
            if let Question::Search(call) = &ask.question {
                shown.note_message(&call.predicate.to_string());
                shown.note((call.from.is_some(), call.to.is_some(), call.log_types.len().min(3)));
                shown.note(("rows", call.rows_max.ilog10()));
            }
        }
        Intake::Filtered { .. } => {}
    }
}

/// What kind of resource it could be, or why it is none.
fn show_resource(bytes: &[u8], shown: &mut Shown) {
    let Ok(sent) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let collector = ResourceKind::Collector { forwarder: String::new() };
    for kind in [ResourceKind::Forwarder, collector, ResourceKind::Feed, ResourceKind::ReferenceList] {
        match kind.create(&sent) {
            Ok(_) => {
                shown.valid();
                shown.note(kind.noun());
            }
            Err(refusal) => {
                for violation in &refusal.violations {
                    shown.note((kind.noun(), violation.field.split('[').next()));
                    shown.note_message(&violation.description);
                }
            }
        }
    }
}

/// Which fields accepted events and entities have.
fn show_leaves(schema: &Schema, intake: &Intake, shown: &mut Shown) {
    let Intake::Commit { batches, .. } = intake else { return };
    for (_, batch) in batches {
        let root = match batch.meta.kind {
            Kind::Raw => continue,
            Kind::Udm => Root::Event,
            Kind::Entity => Root::Entity,
        };
        for record in batch.records.iter().take(10) {
            schema.visit_leaves(root, &record.data, &mut |leaf| shown.note(outline(leaf.path)));
        }
    }
}

fn classify(bytes: &[u8], shown: &mut Shown) {
    let candidates = dialects::classify::classify(bytes);
    assert!(candidates.len() <= event::limits::CLASSIFY_CANDIDATES_MAX);
    assert!(candidates.is_sorted_by(|a, b| a.score >= b.score), "not best first: {candidates:?}");
    for candidate in &candidates {
        assert!(candidate.score > 0.0 && candidate.score < 1.0, "{candidate:?}");
        shown.note((candidate.log_type, (candidate.score * 20.0) as u32));
    }
    if !candidates.is_empty() {
        shown.valid();
    }
    // What stands behind the part that is looked at changes nothing.
    let mut longer = bytes.to_vec();
    if longer.len() >= event::limits::CLASSIFY_BYTES_MAX {
        longer.extend_from_slice(b"\n{\"kind\":\"admin#reports#activity\"}");
        assert_eq!(dialects::classify::classify(&longer), candidates);
    }
}

fn batch_codec(bytes: &[u8], shown: &mut Shown) {
    match codec::decode(&Bytes::copy_from_slice(bytes)) {
        Err(codec::CodecError::Version(_)) => shown.note("version"),
        Err(codec::CodecError::Malformed { what, .. }) => shown.note(what),
        Ok(batches) => {
            let encoded = Bytes::from(codec::encode(&batches));
            let again = codec::decode(&encoded).expect("what was encoded can be decoded");
            assert_eq!(again, batches);
            assert_eq!(codec::encode(&again), encoded);
            shown.valid();
            shown.note(("batches", batches.len().min(6)));
            for batch in &batches {
                let faults = batch.records.iter().filter(|record| record.fault.is_some()).count();
                shown.note((
                    batch.meta.kind,
                    batch.meta.labels.len().min(4),
                    batch.records.len().min(4),
                    faults.min(2),
                ));
            }
        }
    }
}

/// A payload whose batches are changed as such and encoded again, so that all lengths fit.
pub(super) fn codec_changed(random: &mut StdRng, bytes: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut batches = codec::decode(&Bytes::copy_from_slice(bytes)).ok()?;
    let lent: Vec<Batch> = codec::decode(&Bytes::copy_from_slice(other)).unwrap_or_default();
    for _ in 0..random.random_range(1..4) {
        let lent = lent.get(random.random_range(0..lent.len().max(1)));
        let count = batches.len();
        if count == 0 || random.random_bool(0.1) {
            batches.extend(lent.cloned());
            continue;
        }
        let batch = &mut batches[random.random_range(0..count)];
        let meta = Arc::make_mut(&mut batch.meta);
        match random.random_range(0..8) {
            0 => meta.labels.extend(lent.map(|lent| lent.meta.labels.clone()).unwrap_or_default()),
            1 => meta.labels.push(Label {
                key: any_text(random),
                value: any_text(random),
                rbac_enabled: random.random(),
            }),
            2 => meta.namespace = any_text(random),
            3 => meta.kind = [Kind::Raw, Kind::Udm, Kind::Entity][random.random_range(0..3)],
            4 => batch.records.extend(lent.map(|lent| lent.records.clone()).unwrap_or_default()),
            5 => batch.records.push(Record::new(any_text(random))),
            6 => batch.records.truncate(random.random_range(0..=batch.records.len())),
            _ => {
                if let Some(record) = batch.records.last_mut() {
                    match random.random_range(0..3) {
                        0 => record.fault = Some(any_text(random)),
                        1 => record.sender_time = Some(Time::from_nanos(random.random())),
                        _ => record.collected_at = Some(Time::from_nanos(random.random())),
                    }
                }
            }
        }
        if batch.records.len() > 1_000 || batch.meta.labels.len() > 1_000 {
            return None;
        }
    }
    Some(codec::encode(&batches))
}

fn any_text(random: &mut StdRng) -> String {
    let len = [0, 1, 3, 127, 128, 300][random.random_range(0..6)];
    (0..len).map(|_| ['a', 'Z', '0', '\0', '\u{e9}', '\u{1f600}'][random.random_range(0..6)]).collect()
}

/// What recovery made of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// Why it could not be opened, without numbers.
    pub error: Option<String>,
    /// Frames that could be read.
    pub frames: u64,
    /// Ranges that were skipped as damaged.
    pub damaged: u64,
    /// Whether a tail was cut.
    pub is_cut: bool,
}

/// Opens the log of which an input of [`fuzz_log_recovery`] gives the only segment, and reads it.
pub fn recovered(bytes: &[u8]) -> Recovered {
    let mut seen = Recovered { error: None, frames: 0, damaged: 0, is_cut: false };
    let Some((kind, file)) = bytes.split_first() else { return seen };
    if kind % 2 == 1 {
        return seen;
    }
    let disk = SimDisk::new(0);
    disk.put("seg-0000000000000000.log", file);
    let options = LogOptions { segment_bytes: 16 << 10, one_thread: true, ..LogOptions::default() };
    match Log::open(Arc::new(disk), options, Time::from_nanos(0)) {
        Err(error) => seen.error = Some(outline(&error.to_string())),
        Ok((log, report)) => {
            seen.is_cut = report.cut_bytes > 0;
            let mut follower = log.follow(None).expect("the start is always there to follow");
            while let Some(followed) = follower.read().expect("this disk reads well") {
                match followed {
                    Followed::Frame { .. } => seen.frames += 1,
                    Followed::Lost { .. } | Followed::Damaged { .. } => seen.damaged += 1,
                }
            }
            log.close();
        }
    }
    seen
}

// What docs/log-format.md says, as far as checksums are put right here.
const SEGMENT_HEADER_BYTES: usize = 8192;
const HEADER_COPIES: [usize; 2] = [0, 4096];
const HEADER_COPY_BYTES: usize = 96;
const FRAME_HEAD_BYTES: usize = 80;

/// A segment file with all its checksums put right (or one field set first), so that what is wrong in it is believed.
pub(super) fn log_resealed(random: &mut StdRng, bytes: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    if bytes.first()? % 2 == 1 || bytes.len() < 1 + SEGMENT_HEADER_BYTES {
        return None;
    }
    let file = &mut bytes[1..];
    let frames: Vec<usize> = frames(file);
    if random.random_bool(0.5) && !frames.is_empty() {
        // A field of a frame's head: length, durable_to, flags.
        let frame = frames[random.random_range(0..frames.len())];
        let value: u64 = match random.random_range(0..4) {
            0 => random.random_range(0..200),
            1 => random.random_range(0..16 << 10),
            2 => u64::MAX >> random.random_range(0..64),
            _ => 1 << random.random_range(0..64),
        };
        let (at, width) = [(12, 4), (24, 8), (72, 4), (76, 4)][random.random_range(0..4)];
        file[frame + at..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    if random.random_bool(0.1) {
        // A field of the header: format, epoch, base, created.
        let value = (u64::MAX >> random.random_range(0..64)).to_le_bytes();
        let (at, width) = [(16, 4), (24, 8), (48, 8), (56, 8)][random.random_range(0..4)];
        for copy in HEADER_COPIES {
            file[copy + at..][..width].copy_from_slice(&value[..width]);
        }
    }
    seal(file);
    Some(bytes)
}

/// Gives a segment file another salt.
pub(super) fn set_salt(file: &mut [u8], salt: [u8; 16]) {
    if file.len() >= SEGMENT_HEADER_BYTES {
        for copy in HEADER_COPIES {
            file[copy + 32..copy + 48].copy_from_slice(&salt);
        }
        seal(file);
    }
}

/// Where frames begin, by their magic.
fn frames(file: &[u8]) -> Vec<usize> {
    (SEGMENT_HEADER_BYTES..file.len().saturating_sub(FRAME_HEAD_BYTES - 1))
        .step_by(8)
        .filter(|at| file[at + 8..at + 12] == *b"PLF1")
        .collect()
}

fn seal(file: &mut [u8]) {
    for copy in HEADER_COPIES {
        let sum = xxh3_64(&file[copy + 8..copy + HEADER_COPY_BYTES]);
        file[copy..copy + 8].copy_from_slice(&sum.to_le_bytes());
    }
    let salt: [u8; 16] = file[32..48].try_into().expect("sixteen bytes");
    let base = u64::from_le_bytes(file[48..56].try_into().expect("eight bytes"));
    for at in frames(file) {
        let offset = base.wrapping_add((at - SEGMENT_HEADER_BYTES) as u64);
        let mut place = salt.to_vec();
        place.extend_from_slice(&offset.to_le_bytes());
        let seed = xxh3_64(&place);
        let len = u32::from_le_bytes(file[at + 12..at + 16].try_into().expect("four bytes")) as usize;
        if let Some(payload) = file.get(at + FRAME_HEAD_BYTES..(at + FRAME_HEAD_BYTES).saturating_add(len)) {
            let sum = xxh3_64_with_seed(payload, seed);
            file[at + 16..at + 24].copy_from_slice(&sum.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&file[at + 8..at + FRAME_HEAD_BYTES], seed);
        file[at..at + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

fn show_query(schema: &Arc<Schema>, bytes: &[u8], shown: &mut Shown) {
    let text = String::from_utf8_lossy(bytes);
    match query::parse_udm(&text, schema, query::Options::default()) {
        Err(diagnostic) => shown.note_message(&diagnostic.message),
        Ok(predicate) => {
            shown.valid();
            let printed = outline(&predicate.to_string());
            let words: Vec<&str> = printed.split([' ', '(', ')']).filter(|word| !word.is_empty()).take(200).collect();
            // What follows what, without the fields' names.
            let kinds: Vec<&str> = words
                .iter()
                .map(|word| match *word {
                    "AND" | "OR" | "NOT" | "any" | "all" | "nocase" | "=" | "!=" | "<" | "<=" | ">" | ">=" => word,
                    word if word.starts_with('/') => "/",
                    word if word.contains('[') => "[",
                    _ => "f",
                })
                .collect();
            for pair in kinds.windows(2) {
                shown.note(pair);
            }
            shown.note((words.len().checked_ilog2(), printed.matches('(').count().min(5)));
        }
    }
}

fn show_oci_query(text: &str, shown: &mut Shown) {
    use query::oci::{Condition, LogQuery, Mql};
    let shape = |text: &str| text.chars().filter(|c| !c.is_alphanumeric() && *c != ' ').take(12).collect::<String>();
    match (Condition::parse(text), LogQuery::parse(text), Mql::parse(text)) {
        (Ok(condition), ..) => {
            shown.valid();
            shown.note(shape(&outline(&condition.to_string())));
        }
        (_, Ok(search), _) => {
            shown.valid();
            let condition = search.condition().map(|condition| shape(&outline(&condition.to_string())));
            shown.note((search.scopes().len().min(3), search.reads_all(), condition));
        }
        (.., Ok(metric)) => {
            shown.valid();
            shown.note((std::mem::discriminant(&metric.grouping), metric.dimensions.len().min(3)));
        }
        (Err(condition), Err(search), Err(metric)) => {
            for error in [condition, search, metric] {
                shown.note_message(&error.message);
            }
        }
    }
}

/// Checks single records against what `udm` promises.
struct Records {
    schema: Arc<Schema>,
    selection: Selection,
}

const PATHS: &[&str] = &[
    "metadata.event_type",
    "metadata.event_timestamp",
    "principal.ip",
    "principal.labels[\"k\"]",
    "principal.labels.value",
    "target.port",
    "about.hostname",
    "additional.fields[\"k\"]",
    "additional.fields.value",
    "security_result.variables[\"k\"].string_val",
    "network.sent_bytes",
    "network.ipv6",
];

impl Records {
    fn new(schema: Arc<Schema>) -> Records {
        let resolve = |path: &&str| schema.resolve(Root::Event, path).expect("the path exists");
        let paths: Vec<_> = PATHS.iter().map(resolve).collect();
        let selection = Selection::new(&schema, Root::Event, &paths);
        Records { schema, selection }
    }

    fn run(&self, bytes: &[u8], shown: &mut Shown) {
        let Some((first, json)) = bytes.split_first() else { return };
        let root = if *first == b'n' { Root::Entity } else { Root::Event };
        let lenient = self.schema.check(root, json, Mode::Lenient);
        let strict = self.schema.check(root, json, Mode::Strict);
        assert!(lenient.is_ok() || strict.is_err(), "strict accepts what lenient refuses");
        let mut leaves: Vec<(String, String)> = Vec::new();
        self.schema.visit_leaves(root, json, &mut |leaf| {
            shown.note(outline(leaf.path));
            leaves.push((leaf.path.to_owned(), leaf.text.to_owned()));
        });
        shown.note((root, leaves.len().checked_ilog2()));
        self.canonical(root, json, lenient.is_ok(), &leaves, shown);
        if root == Root::Event {
            self.selected_are_leaves(json, lenient.is_ok(), &leaves);
        }
        let checked = match lenient {
            Ok(checked) => checked,
            Err(faults) => {
                assert!(!faults.0.is_empty(), "a refusal without a fault");
                assert!(faults.0.len() <= event::limits::FAULTS_MAX);
                return faults.0.iter().for_each(|fault| shown.note_message(&fault.message));
            }
        };
        shown.valid();
        for issue in &checked.issues {
            shown.note_message(&issue.message);
        }
        shown.note((checked.event_time.is_some(), checked.event_type.is_some()));
        assert!(checked.issues.len() <= event::limits::FAULTS_MAX);
        let text = std::str::from_utf8(json).expect("what passes is UTF-8");
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "what passes is JSON");
        for (path, text) in &leaves {
            assert!(!path.contains('\0') && !text.contains('\0'), "U+0000 got through in {path:?}");
            // A path names two steps for each key of a free-form object, so the deepest ones are too deep for a search.
            if path.matches('[').count() < event::limits::JSON_DEPTH_MAX / 2 - 4
                && let Err(error) = self.schema.resolve(root, path)
            {
                panic!("no search can name the leaf {path:?}: {error}");
            }
            assert_eq!(udm::fold(&udm::fold(text)), udm::fold(text), "folding twice is not folding once");
        }
        let type_path = if root == Root::Event { "metadata.event_type" } else { "metadata.entity_type" };
        if let Some(name) = checked.event_type.and_then(|number| self.schema.type_name(root, number)) {
            let has = leaves.iter().any(|(path, text)| path == type_path && text == name);
            assert!(has, "the check saw the type {name}, the leaves do not have it");
        }
        if let (Some(time), Root::Event) = (checked.event_time, root) {
            let has = leaves.iter().any(|(path, text)| {
                path == "metadata.event_timestamp" && Time::parse_rfc3339(text).is_ok_and(|leaf| leaf == time)
            });
            assert!(has, "the check saw the time {time}, the leaves do not have it");
        }
    }

    fn canonical(&self, root: Root, json: &[u8], is_good: bool, leaves: &[(String, String)], shown: &mut Shown) {
        let mut once = Vec::new();
        let left_out = self.schema.write_proto_json(root, json, &mut once);
        for issue in &left_out.issues {
            shown.note_message(&issue.message);
        }
        if let Err(faults) = self.schema.check(root, &once, Mode::Lenient) {
            panic!("the canonical form is refused: {faults}");
        }
        let mut twice = Vec::new();
        assert_eq!(
            self.schema.write_proto_json(root, &once, &mut twice).count,
            0,
            "the canonical form leaves more out"
        );
        assert_eq!(once, twice, "the canonical form of the canonical form is another");
        if is_good && left_out.count == 0 {
            let mut paths = leaves.iter().map(|(path, _)| path.as_str());
            self.schema.visit_leaves(root, &once, &mut |leaf| assert_eq!(paths.next(), Some(leaf.path)));
            assert_eq!(paths.next(), None, "the canonical form has fewer leaves");
        }
    }

    fn selected_are_leaves(&self, json: &[u8], is_good: bool, leaves: &[(String, String)]) {
        self.selection.extract(json, &mut |slot, value| {
            let text = match value {
                Scalar::Text(text) => text.to_owned(),
                Scalar::Int(number) => number.to_string(),
                Scalar::Bool(value) => value.to_string(),
                _ => return,
            };
            let has = leaves.iter().any(|(_, leaf)| *leaf == text);
            assert!(has || !is_good, "{} selects {text:?}, which is no leaf", PATHS[slot]);
        });
    }
}
