//! Entry points for the list of fuzz targets: any bytes, whatever they are, must neither panic nor break a promise.
//! Made without randomness, so that a finding can be replayed from its bytes alone.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use event::{BatchId, InstanceId, Time, limits};
use http::HeaderMap;

use crate::ask::{Ask, FoundRecord, Outcome, Question};
use crate::auth::Role;
use crate::log_types::{LogType, LogTypes};
use crate::metadata_server::MetadataServer;
use crate::resource::ResourceKind;
use crate::snapshot::{
    Account, ApiKey, Instance, IntakeKey, Limits, OciCompartment, OciKey, OciLog, OciLogType, OnInvalid, RefreshToken,
    Secret, SecretHash, Snapshot,
};
use crate::syslog::frames::{Frame, Frames};
use crate::syslog::line::{Line, without_ending};
use crate::syslog::relp::{Command, Session};
use crate::{Dialect, Head, Intake, Lookup, Refusal, Reply, Request, Router, auth, oci, when};

/// A server's knowledge, fixed: two instances with an account and a key each. Making it reads the UDM schema; make it
/// once and keep it for all inputs.
pub struct Fuzz {
    refusing: Snapshot,
    quarantining: Snapshot,
    router: Router,
    metadata: MetadataServer,
    /// A token of the first instance's account that may ask for others' tokens.
    iam: String,
    /// A token of that account for everything else.
    all: String,
}

/// The API key of the first instance.
const KEY: &str = "fuzz-key-1";
/// An account of the first instance.
const ACCOUNT: &str = "fuzz-1@example.com";
/// The refresh token of that account, which is its client's id and secret as well.
const REFRESH_TOKEN: &str = "fuzz-refresh";
/// Where the paths of the first instance begin.
const INSTANCE: &str = "/v1alpha/projects/p/locations/us/instances/00000000-0000-0000-0000-000000000001";
/// An event for searches to show.
const EVENT: &str = r#"{"metadata": {"eventType": "USER_LOGIN", "description": "a,\"b\"\nc"},
    "principal": {"ip": ["10.0.0.1", "::1"], "port": 443, "user": {"userid": "joe"}},
    "additional": {"fields": {"k": {"stringValue": "v"}}}}"#;
/// The time at which everything happens.
const NOW_SECS: i64 = 1_700_000_000;

impl Fuzz {
    /// The fixed knowledge.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Fuzz {
        let refusing = snapshot();
        let quarantining = Snapshot { on_invalid: OnInvalid::Quarantine, ..refusing.clone() };
        let router = Router::new(crate::all()).expect("the built-in dialects claim different routes");
        let metadata = MetadataServer::new(ACCOUNT, "fuzz", instance(1));
        let token = |scope: &str| {
            let grant = auth::grant_on_this_machine(ACCOUNT, scope, &refusing).expect("the account is there");
            auth::mint(&grant, auth::Lifetime::STANDARD, &refusing, now()).text
        };
        let iam = token("https://www.googleapis.com/auth/iam");
        let all = token("https://www.googleapis.com/auth/cloud-platform");
        Fuzz { refusing, quarantining, router, metadata, iam, all }
    }

    /// A body of raw logs.
    pub fn raw_logs(&self, bytes: &[u8]) {
        self.post("/v2/unstructuredlogentries:batchCreate", bytes);
    }

    /// A body for Sekoia's intake: its first byte chooses the endpoint, what follows is sent to it with a key in the head
    /// and without. Gives what it means with one.
    pub fn sekoia(&self, bytes: &[u8]) -> Option<Intake> {
        const PATHS: [&str; 7] = ["/", "/batch", "/array", "/plain", "/plain/batch", "/jsons", "/many"];
        let (first, body) = bytes.split_first()?;
        let path = PATHS[usize::from(*first) % PATHS.len()];
        let with = format!("intake_key={KEY}&path=$.a.b");
        let mut meant = None;
        for query in [None, Some(&with[..with.len() - "&path=$.a.b".len()]), Some(&with)] {
            let head = Head::new(http::Method::POST, path, query, HeaderMap::new(), [127, 0, 0, 1].into());
            let request = Request { head: head.expect("a fixed path"), body: Bytes::copy_from_slice(body) };
            let Lookup::Found(found) = self.router.lookup(&request.head) else { panic!("the path is claimed") };
            let caller = match found.dialect.authenticate(&found, &request.head, &self.refusing, now()) {
                Ok(caller) => caller,
                Err(refusal) => {
                    check_refusal(found.dialect.as_ref(), &refusal);
                    continue;
                }
            };
            let start = &body[..body.len() / 2];
            if let Err(refusal) = found.dialect.foresee(&found, start, &self.refusing) {
                check_refusal(found.dialect.as_ref(), &refusal);
            }
            let mut made = 0;
            let mut next_id = || {
                made += 1;
                BatchId::from_u128(made << 80).expect("the low bits are zero")
            };
            let intake = found.dialect.accept(&found, &request, caller, &self.refusing, now(), &mut next_id);
            match &intake {
                Intake::Commit { batches, key, .. } => {
                    assert!(key.is_none() && !batches.is_empty());
                    for (caller, batch) in batches {
                        assert_eq!((caller.instance(), batch.meta.instance), (Some(instance(1)), instance(1)));
                        assert!(!batch.records.is_empty());
                        let largest = batch.records.iter().map(|record| record.data.len()).max();
                        assert!(largest <= Some(limits::SEKOIA_EVENT_BYTES_MAX));
                    }
                }
                Intake::Refuse(refusal) => check_refusal(found.dialect.as_ref(), refusal),
                Intake::Answer(_) => {}
                Intake::Ask(_) | Intake::Filtered { .. } => panic!("an intake asks nobody and filters nothing"),
            }
            meant = Some(intake);
        }
        meant
    }

    /// A body for OCI's APIs: its first byte chooses the call, what follows is sent to it. Gives what it means.
    pub fn oci(&self, bytes: &[u8]) -> Option<Intake> {
        let (first, body) = bytes.split_first()?;
        let (method, path) = OCI_CALLS[usize::from(*first) % OCI_CALLS.len()];
        let bearer = format!("Bearer {}", self.all).parse().expect("a token fits a header");
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)]);
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let head = Head::new(method.parse().expect("a method"), path, query, headers, [127, 0, 0, 1].into());
        let request = Request { head: head.expect("a fixed path"), body: Bytes::copy_from_slice(body) };
        let Lookup::Found(found) = self.router.lookup(&request.head) else { panic!("the path is claimed") };
        let caller = found.dialect.authenticate(&found, &request.head, &self.refusing, now());
        let caller = caller.unwrap_or_else(|refusal| panic!("the token is valid: {}", refusal.message));
        let mut made = 0;
        let mut next_id = || {
            made += 1;
            BatchId::from_u128(made << 80).expect("the low bits are zero")
        };
        let intake = found.dialect.accept(&found, &request, caller, &self.refusing, now(), &mut next_id);
        match &intake {
            Intake::Commit { batches, .. } => {
                let mut written = 0;
                for (caller, batch) in batches {
                    assert_eq!((caller.instance(), batch.meta.instance), (Some(instance(1)), instance(1)));
                    for record in &batch.records {
                        written += record.data.len();
                        let envelope: serde_json::Value =
                            serde_json::from_slice(&record.data).expect("an envelope is JSON");
                        for key in ["type", "source", "time"] {
                            assert!(envelope[key].is_string(), "{key} is a string");
                        }
                        assert_eq!(envelope["oracle"]["logid"], "l");
                    }
                }
                // What is written, and the frame.
                assert!(2 * written <= found.dialect.work_bytes(&found, body), "there is room for what is written");
            }
            Intake::Refuse(refusal) => check_refusal(found.dialect.as_ref(), refusal),
            Intake::Ask(ask) => check_question(ask),
            Intake::Answer(_) => {}
            Intake::Filtered { .. } => panic!("nothing is filtered here"),
        }
        Some(intake)
    }

    /// What follows `Signature` in the head of a request to OCI's APIs; it cannot be good. Gives why it is none.
    pub fn oci_signature(&self, bytes: &[u8]) -> String {
        let value = [b"Signature ", bytes].concat();
        let Ok(value) = http::HeaderValue::from_bytes(&value) else { return String::new() };
        let mut headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        headers.insert(http::header::HOST, http::HeaderValue::from_static("h"));
        headers.insert(http::header::DATE, http::HeaderValue::from_static("Tue, 14 Nov 2023 22:13:20 GMT"));
        let (path, query) = ("/20200531/logGroups", Some("compartmentId=c&displayName=a+b"));
        let head = Head::new(http::Method::GET, path, query, headers, [127, 0, 0, 1].into()).expect("a fixed path");
        let Lookup::Found(found) = self.router.lookup(&head) else { panic!("the path is claimed") };
        let Err(refusal) = found.dialect.authenticate(&found, &head, &self.refusing, now()) else {
            panic!("nobody has the key")
        };
        check_refusal(found.dialect.as_ref(), &refusal);
        refusal.message
    }

    /// A body of UDM events.
    pub fn udm_events(&self, bytes: &[u8]) {
        self.post("/v2/udmevents:batchCreate", bytes);
    }

    /// A body of entities.
    pub fn entities(&self, bytes: &[u8]) {
        self.post("/v2/entities:batchCreate", bytes);
    }

    /// The query string of a UDM search, of a validation, and of a look at the values of fields.
    pub fn udm_search(&self, bytes: &[u8]) {
        let query = format!("key={KEY}&{}", String::from_utf8_lossy(bytes));
        for call in [":udmSearch", ":validateQuery", ":findUdmFieldValues", "/events:batchGet"] {
            let head = Head::new(
                http::Method::GET,
                &format!("{INSTANCE}{call}"),
                Some(&query),
                HeaderMap::new(),
                [127, 0, 0, 1].into(),
            );
            let request = Request { head: head.expect("a fixed path"), body: Bytes::new() };
            self.check(&request, &self.refusing);
        }
    }

    /// A body of a search of raw logs.
    pub fn raw_log_search(&self, bytes: &[u8]) {
        self.post(&format!("{INSTANCE}:searchRawLogs"), bytes);
    }

    /// A body of a search that is answered with a table or a view.
    pub fn table_search(&self, bytes: &[u8]) {
        self.post(&format!("{INSTANCE}/legacy:legacyFetchUdmSearchCsv"), bytes);
        self.post(&format!("{INSTANCE}/legacy:legacyFetchUdmSearchView"), bytes);
    }

    /// A body that brings a parser or an extension; as a query string, it asks for lists of them.
    pub fn kept_parsers(&self, bytes: &[u8]) {
        for collection in ["parsers", "parserExtensions"] {
            self.post(&format!("{INSTANCE}/logTypes/OKTA/{collection}"), bytes);
        }
        let query = format!("key={KEY}&{}", String::from_utf8_lossy(bytes));
        for list in ["-/parsers", "OKTA/parserExtensions", "OKTA/parsers:fetchParserCandidates"] {
            let path = format!("{INSTANCE}/logTypes/{list}");
            let head = Head::new(http::Method::GET, &path, Some(&query), HeaderMap::new(), [127, 0, 0, 1].into());
            let request = Request { head: head.expect("a fixed path"), body: Bytes::new() };
            self.check(&request, &self.refusing);
        }
    }

    /// A body that asks for the keys and values of a log: its first byte chooses the format, what follows is the log.
    pub fn key_values(&self, bytes: &[u8]) {
        let Some((first, log)) = bytes.split_first() else { return };
        let format = ["JSON", "XML", "CSV", "LOG_FORMAT_UNSPECIFIED"][usize::from(*first) % 4];
        let log = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, log);
        let brackets = first & 4 != 0;
        let body = format!(
            r#"{{"log_format":"{format}","log":"{log}","use_array_bracket_notation":{brackets},"compressArrayFields":{}}}"#,
            first & 8 != 0
        );
        self.post(&format!("{INSTANCE}:generateUdmKeyValueMappings"), body.as_bytes());
    }

    /// A form at the token endpoint.
    pub fn token(&self, bytes: &[u8]) {
        self.post("/token", bytes);
    }

    /// A body of the Chronicle API's `logs:import`.
    pub fn api_logs(&self, bytes: &[u8]) {
        self.post(API_LOGS, bytes);
    }

    /// A forwarder, collector and feed as somebody sends them, made and changed.
    pub fn resources(&self, bytes: &[u8]) {
        let Ok(sent) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
        let collector = ResourceKind::Collector { forwarder: String::new() };
        for kind in [ResourceKind::Forwarder, collector, ResourceKind::Feed, ResourceKind::ReferenceList] {
            let Ok(body) = kind.create(&sent) else { continue };
            // What is canonical is read as itself.
            assert_eq!(kind.create(&body).as_ref(), Ok(&body));
            let change = kind.change(None, &sent).expect("what can be made can be changed to");
            assert_eq!(change.apply(&body).as_ref(), Ok(&body));
        }
    }

    /// A bearer token: no bytes without our secret or key may become a caller.
    pub fn bearer(&self, bytes: &[u8]) {
        let token = String::from_utf8_lossy(bytes);
        assert!(auth::authenticate_bearer(&token, &self.refusing, now()).is_err(), "a token from nowhere: {token:?}");
    }

    /// A request line: method, space, path.
    pub fn request_line(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let (method, target) = text.split_once(' ').unwrap_or(("GET", &text));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let Ok(method) = method.parse() else { return };
        if let Ok(head) = Head::new(method, path, query, HeaderMap::new(), [127, 0, 0, 1].into()) {
            let _ = head.query_value("key");
            let _ = self.router.lookup(&head);
        }
    }

    /// An account and a body that asks for its token, with a line between: no other account's token is given, and no
    /// right to ask for more. Gives what it means.
    pub fn generate_access_token(&self, bytes: &[u8]) -> Option<Intake> {
        let text = String::from_utf8_lossy(bytes);
        let (email, body) = text.split_once('\n').unwrap_or((ACCOUNT, &text));
        let path = format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
        let bearer = format!("Bearer {}", self.iam).parse().expect("a token is visible ASCII");
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, bearer)]);
        let head = Head::new(http::Method::POST, &path, None, headers, [127, 0, 0, 1].into()).ok()?;
        let request = Request { head, body: Bytes::copy_from_slice(body.as_bytes()) };
        let Lookup::Found(found) = self.router.lookup(&request.head) else { return None };
        let caller = found.dialect.authenticate(&found, &request.head, &self.refusing, now()).ok()?;
        let mut next_id = || BatchId::from_u128(1 << 80).expect("the low bits are zero");
        let intake = found.dialect.accept(&found, &request, caller, &self.refusing, now(), &mut next_id);
        match &intake {
            Intake::Refuse(refusal) => check_refusal(found.dialect.as_ref(), refusal),
            Intake::Answer(reply) if found.dialect.name() == "iam_credentials" => {
                let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("an answer is JSON");
                let token = answer["accessToken"].as_str().expect("an answer has a token");
                let caller = auth::authenticate_bearer(token, &self.refusing, now()).expect("the token is good");
                assert_eq!((caller.sender(), caller.instance()), (ACCOUNT, Some(instance(1))));
                assert!(!caller.scopes().contains(crate::Scope::Iam));
            }
            _ => {}
        }
        Some(intake)
    }

    /// A request line at the metadata server. Gives its answer.
    pub fn metadata(&self, bytes: &[u8]) -> Option<Reply> {
        let text = String::from_utf8_lossy(bytes);
        let (method, target) = text.split_once(' ').unwrap_or(("GET", &text));
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let method = method.parse().ok()?;
        let flavor = http::HeaderName::from_static("metadata-flavor");
        let headers = HeaderMap::from_iter([(flavor.clone(), http::HeaderValue::from_static("Google"))]);
        let head = Head::new(method, path, query, headers, [127, 0, 0, 1].into()).ok()?;
        let reply = self.metadata.answer(&head, &self.refusing, now());
        assert!(reply.body.len() < limits::ERROR_BODY_BYTES_MAX);
        assert_eq!(reply.headers.iter().filter(|(name, _)| *name == flavor).count(), 1);
        Some(reply)
    }

    fn post(&self, path: &str, body: &[u8]) {
        for snapshot in [&self.refusing, &self.quarantining] {
            let head = Head::new(
                http::Method::POST,
                path,
                Some(&format!("key={KEY}")),
                HeaderMap::new(),
                [127, 0, 0, 1].into(),
            );
            let request = Request { head: head.expect("a fixed path"), body: Bytes::copy_from_slice(body) };
            self.check(&request, snapshot);
        }
    }

    fn check(&self, request: &Request, snapshot: &Snapshot) {
        let Lookup::Found(found) = self.router.lookup(&request.head) else { panic!("the path is claimed") };
        let caller = found.dialect.authenticate(&found, &request.head, snapshot, now()).expect("the key is valid");
        let mut next_id = || BatchId::from_u128(1 << 80).expect("the low bits are zero");
        match found.dialect.accept(&found, request, caller, snapshot, now(), &mut next_id) {
            Intake::Commit { batches, .. } => {
                assert!(!batches.is_empty());
                for (caller, batch) in batches {
                    assert_eq!(caller.instance(), Some(instance(1)));
                    assert_eq!(batch.meta.instance, instance(1));
                    assert!(!batch.records.is_empty());
                    let clean = |record: &event::Record| {
                        std::str::from_utf8(&record.data).is_ok_and(|text| !text.contains('\0'))
                    };
                    // The newer API's logs are bytes.
                    let is_bytes = request.head.path == API_LOGS;
                    assert!(batch.records.iter().all(|record| is_bytes || record.fault.is_some() || clean(record)));
                }
            }
            Intake::Refuse(refusal) => check_refusal(found.dialect.as_ref(), &refusal),
            Intake::Ask(ask) => check_ask(ask),
            Intake::Answer(_) | Intake::Filtered { .. } => {}
        }
    }
}

/// The bytes of a syslog connection: however they are cut, the same frames come out, and none longer than the limit.
/// Gives them.
pub fn syslog_frames(bytes: &[u8]) -> Vec<Frame> {
    let read = |piece_bytes: usize| {
        let mut frames = Frames::new(SYSLOG_BYTES_MAX);
        let mut got = Vec::new();
        for piece in bytes.chunks(piece_bytes) {
            frames.push(piece);
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => got.push(frame),
                    Ok(None) => break,
                    Err(broken) => return (got, Some(broken)),
                }
            }
        }
        got.extend(frames.end());
        (got, None)
    };
    let whole = read(bytes.len().max(1));
    for piece_bytes in PIECES {
        assert_eq!(read(piece_bytes), whole, "in pieces of {piece_bytes}");
    }
    for frame in &whole.0 {
        match frame {
            Frame::Whole(frame) => assert!(!frame.is_empty() && frame.len() <= SYSLOG_BYTES_MAX),
            Frame::TooLong { bytes, head } => assert!(head.len() <= SYSLOG_BYTES_MAX && *bytes >= head.len() as u64),
        }
    }
    whole.0
}

/// The bytes of a RELP client: however they are cut, the same commands come out, and no line before `open`. Gives them.
pub fn relp(bytes: &[u8]) -> Vec<Command> {
    let read = |piece_bytes: usize| {
        let mut session = Session::new(SYSLOG_BYTES_MAX);
        let mut got = Vec::new();
        for piece in bytes.chunks(piece_bytes) {
            session.push(piece);
            loop {
                match session.next_command() {
                    Ok(Some(command)) => got.push(command),
                    Ok(None) => break,
                    Err(broken) => return (got, Some(broken)),
                }
            }
        }
        (got, None)
    };
    let whole = read(bytes.len().max(1));
    for piece_bytes in PIECES {
        assert_eq!(read(piece_bytes), whole, "in pieces of {piece_bytes}");
    }
    let mut is_open = false;
    for command in &whole.0 {
        match command {
            Command::Open { .. } => is_open = true,
            Command::Syslog { data, .. } => assert!(is_open && data.len() <= SYSLOG_BYTES_MAX),
            Command::TooLong { .. } | Command::Unknown { .. } | Command::Close { .. } => {}
        }
    }
    whole.0
}

/// A line of syslog: its message is a part of it, and its labels can be kept. Gives it.
pub fn syslog_line(bytes: &[u8]) -> Line<'_> {
    let line = Line::read(bytes, now());
    assert!(without_ending(bytes).ends_with(line.message), "the message ends where the line does");
    assert!(line.facility < 24 && line.severity < 8);
    for label in line.labels() {
        assert!(!label.value.is_empty() && !label.value.contains('\0'));
    }
    line
}

/// A date and time in any of the forms that are understood: what is read can be written and read again, and an error is
/// short. Gives it.
pub fn when(bytes: &[u8]) -> Option<Time> {
    let text = String::from_utf8_lossy(bytes);
    for read in [when::of_number(&text), when::read(&text, now())] {
        match read {
            Ok(time) => assert_eq!(when::read(&time.to_string(), now()), Ok(time)),
            Err(error) => assert!(error.to_string().len() < 300, "{error}"),
        }
    }
    when::read(&text, now()).ok()
}

/// The limit of a line: small, so that it is met.
const SYSLOG_BYTES_MAX: usize = 64;
/// In pieces of how many bytes a connection's bytes come.
const PIECES: [usize; 3] = [1, 7, 100];

/// How many calls [`Fuzz::oci`] chooses from.
pub const OCI_CALLS_COUNT: u8 = OCI_CALLS.len() as u8;

/// Calls of OCI's APIs that have a body.
const OCI_CALLS: [(&str, &str); 16] = [
    ("POST", "/20200831/logs/l/actions/push"),
    ("POST", "/20200831/logs/l/actions/replay"),
    ("POST", "/20160918/compartments"),
    ("POST", "/20200531/logGroups"),
    ("POST", "/20200531/logGroups/g/logs"),
    ("PUT", "/20200531/logGroups/g/logs/l"),
    ("POST", "/20181201/applications"),
    ("POST", "/20260325/applications"),
    ("POST", "/20181201/functions"),
    ("POST", "/20260325/functions"),
    ("PUT", "/20260325/functions/f"),
    ("POST", "/20200909/serviceConnectors"),
    ("PUT", "/20200909/serviceConnectors/s"),
    ("POST", "/20190909/search"),
    ("POST", "/20180401/metrics/actions/summarizeMetricsData?compartmentId=c"),
    ("POST", "/20180401/metrics/actions/listMetrics?compartmentId=c"),
];

/// Nothing is asked about another instance.
fn check_question(ask: &Ask) {
    assert_eq!(ask.caller.instance(), Some(instance(1)));
    let Question::Oci { instance: asked, ask } = &ask.question else { panic!("OCI's calls ask OCI's questions") };
    assert_eq!(*asked, instance(1));
    if let oci::Question::Resource { act: oci::Act::Create { body, .. }, .. } = ask {
        assert_ne!(body["compartmentId"], "d", "the compartment is another tenant's");
    }
}

/// Nothing is asked about another instance, and what comes of a search can be said whatever was asked.
fn check_ask(ask: Ask) {
    assert_eq!(ask.caller.instance(), Some(instance(1)));
    let asked = match &ask.question {
        Question::Resource { instance, .. } | Question::Records { instance, .. } => *instance,
        Question::Search(call) => call.instance,
        Question::FieldValues(call) => call.instance,
        Question::RunParser(call) => call.instance,
        Question::Parsers(call) => call.instance,
        Question::Oci { instance, .. } => *instance,
    };
    assert_eq!(asked, instance(1));
    let outcome = match ask.question {
        Question::Search(call) => {
            let kind = call.kinds[0];
            let row = |number: u32, data: &'static str| FoundRecord {
                ordinal: 0,
                id: BatchId::from_u128(1 << 80).expect("the low bits are zero").record(number),
                kind,
                event_time: Time::from_secs(NOW_SECS).expect("within range"),
                received_at: Time::from_secs(NOW_SECS).expect("within range"),
                log_type: "OKTA".to_owned(),
                data: Bytes::from_static(data.as_bytes()),
            };
            let rows = vec![row(0, EVENT), row(1, "no JSON"), row(2, "{}")];
            let matching = rows.iter().filter(|row| call.predicate.matches(row.kind, &row.data)).count();
            assert!(call.rows_max > 0 && matching <= rows.len());
            Outcome::Rows { rows, truncated: call.rows_max < 3 }
        }
        _ => return,
    };
    let reply = ask.render.render(outcome).expect("rows can be shown");
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok());
}

fn check_refusal(dialect: &dyn Dialect, refusal: &Refusal) {
    let Reply { body, .. } = dialect.refuse(refusal);
    assert!(body.len() < limits::ERROR_BODY_BYTES_MAX);
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok());
}

/// `logs:import` of the sender's instance.
const API_LOGS: &str =
    "/v1alpha/projects/p/locations/l/instances/00000000-0000-0000-0000-000000000001/logTypes/OKTA/logs:import";

fn now() -> Time {
    Time::from_secs(NOW_SECS).expect("within range")
}

fn instance(number: u128) -> InstanceId {
    InstanceId::from_uuid(uuid::Uuid::from_u128(number))
}

fn snapshot() -> Snapshot {
    let types = ["OKTA", "BIND_DNS", "CATCH_ALL", "UDM"];
    let log_types = LogTypes::of(types.map(|name| LogType::new(name, "").expect("a fixed name")));
    let tenant = |number: u128| {
        let name = format!("tenant-{number}");
        (instance(number), Instance::new(name, log_types.clone()))
    };
    let account = |number: u128| {
        let account = Account {
            instance: instance(number),
            role: Role::Admin,
            disabled: false,
            keys: HashMap::from([("k".to_owned(), vec![0x30, 0])]),
        };
        (format!("fuzz-{number}@example.com"), account)
    };
    let refresh_token = RefreshToken {
        account: ACCOUNT.to_owned(),
        client_id: REFRESH_TOKEN.to_owned(),
        client_secret: SecretHash::of(REFRESH_TOKEN),
    };
    let key = ApiKey { id: "1".to_owned(), instance: instance(1), role: Role::Admin, disabled: false };
    let intake = IntakeKey {
        id: "intake-1".to_owned(),
        instance: instance(1),
        log_type: "OKTA".to_owned(),
        namespace: String::new(),
        disabled: false,
    };
    let oci_key = OciKey {
        instance: instance(1),
        user: "u".to_owned(),
        name: "u".to_owned(),
        role: Role::Admin,
        disabled: false,
        key: vec![0x30, 0],
    };
    let oci_key = ("t/u/f".to_owned(), oci_key);
    let compartment = |id: &str, number: u128| {
        (id.to_owned(), OciCompartment { instance: instance(number), name: id.to_owned(), parent: None })
    };
    let log = |id: &str, number: u128| {
        let log = OciLog {
            id: id.to_owned(),
            instance: instance(number),
            compartment: "c".to_owned(),
            log_group: "g".to_owned(),
            name: id.to_owned(),
            log_type: OciLogType::Custom,
            enabled: true,
            service: None,
            resource: None,
            resource_name: None,
            category: None,
        };
        (id.to_owned(), Arc::new(log))
    };
    Snapshot {
        instances: HashMap::from([tenant(1), tenant(2)]),
        accounts: HashMap::from([account(1), account(2)]),
        api_keys: HashMap::from([(SecretHash::of(KEY), key)]),
        intakes: HashMap::from([(SecretHash::of(KEY), Arc::new(intake))]),
        refresh_tokens: HashMap::from([(SecretHash::of(REFRESH_TOKEN), refresh_token)]),
        operator_token: None,
        token_secret: Secret([7; 32]),
        token_urls: vec!["http://127.0.0.1:8480/token".to_owned()],
        log_types,
        limits: Limits::default(),
        udm_mode: udm::Mode::Lenient,
        on_invalid: OnInvalid::Refuse,
        schema: udm::Schema::load(),
        oci_keys: HashMap::from([oci_key]),
        oci_compartments: HashMap::from([compartment("c", 1), compartment("d", 2)]),
        oci_logs: HashMap::from([log("l", 1), log("m", 2)]),
        oci_region: "us-ashburn-1".to_owned(),
        oci_runtimes: vec!["python3.12".to_owned()],
    }
}
