//! What each kind of resource is made of, and what its fields mean together. The tables say what is read; what of OCI's own
//! models is missing here is refused by name, and what has no effect here, such as a subnet, is kept and shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use query::oci::Condition;
use serde_json::{Map, Value, json};

use super::form::{self, Field, Given, Holds, MISSING, What, join, named, read};
use super::{Api, Kind};
use crate::Refusal;
use crate::faults::Faults;

/// Longest OCID or name of another resource.
const ID_CHARS_MAX: usize = 255;
const ID: Holds = Holds::Text { min: 1, max: ID_CHARS_MAX };

/// How much the keys and values of a configuration have together (contracts/oci.md §1.7).
const CONFIG_BYTES_MAX: usize = 4 << 10;

/// The sizes of memory that a function may have (contracts/oci.md §1.7).
const MEMORY_MBS: [i64; 6] = [128, 256, 512, 1024, 2048, 3072];

/// Most logs and groups that one connector reads.
const SOURCES_MAX: usize = 100;

/// Most tasks of a connector.
const TASKS_MAX: usize = 5;

/// The largest batch that a connector sends in KB: Oracle's own tests ask for 6144 (contracts/oci.md §2.4).
const BATCH_KBS_MAX: i64 = 6_144;
/// Most records of a batch.
const BATCH_COUNT_MAX: i64 = 100_000;
/// How long a batch may wait for more, in seconds.
const BATCH_SECS_MAX: i64 = 600;

macro_rules! fields {
    ($($key:literal: $given:ident $holds:expr),* $(,)?) => {
        &[$(Field { key: $key, given: Given::$given, holds: $holds }),*]
    };
}

const DESCRIPTION: Holds = Holds::Text { min: 0, max: 400 };

const COMPARTMENT: &[Field] = fields! {
    "compartmentId": MustOnce ID,
    "name": Must Holds::Other(compartment_name),
    "description": May DESCRIPTION,
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
};

const LOG_GROUP: &[Field] = fields! {
    "compartmentId": MustOnce ID,
    "displayName": Must Holds::Text { min: 1, max: 256 },
    "description": May DESCRIPTION,
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
};

const LOG: &[Field] = fields! {
    "displayName": Must Holds::Text { min: 1, max: 256 },
    "logType": MustOnce Holds::OneOf(&["CUSTOM", "SERVICE"]),
    "isEnabled": May Holds::Bool,
    "retentionDuration": May Holds::Other(retention),
    "configuration": May Holds::Object(LOG_CONFIGURATION),
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
};

const LOG_CONFIGURATION: &[Field] = fields! {
    "compartmentId": MayOnce ID,
    "source": May Holds::Object(LOG_SOURCE),
    "archiving": May Holds::Object(LOG_ARCHIVING),
};

const LOG_SOURCE: &[Field] = fields! {
    "sourceType": MustOnce Holds::OneOf(&["OCISERVICE"]),
    "service": MustOnce Holds::Text { min: 1, max: 255 },
    "resource": MustOnce Holds::Text { min: 1, max: 255 },
    "category": MustOnce Holds::Text { min: 1, max: 255 },
    "parameters": May Holds::TextMap,
};

const LOG_ARCHIVING: &[Field] = fields! {
    "isEnabled": May Holds::Other(no_archiving),
};

const APPLICATION: &[Field] = fields! {
    "compartmentId": MustOnce ID,
    "displayName": MustOnce Holds::Text { min: 1, max: 255 },
    "config": May Holds::Other(config),
    "subnetIds": MayOnce Holds::Texts(100),
    "networkSecurityGroupIds": May Holds::Texts(100),
    "shape": MayOnce Holds::OneOf(&["GENERIC_X86", "GENERIC_ARM", "GENERIC_X86_ARM"]),
    "syslogUrl": May Holds::Other(no_syslog),
    "traceConfig": May Holds::Object(APPLICATION_TRACE),
    "imagePolicyConfig": May Holds::Object(IMAGE_POLICY),
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
    "securityAttributes": May Holds::TagMap,
};

const APPLICATION_TRACE: &[Field] = fields! {
    "isEnabled": May Holds::Other(no_tracing),
    "domainId": May Holds::Text { min: 0, max: ID_CHARS_MAX },
};

const IMAGE_POLICY: &[Field] = fields! {
    "isPolicyEnabled": May Holds::Other(no_image_policy),
    "keyDetails": May Holds::Other(empty_list),
};

/// `image` and `imageDigest` stand for `sourceDetails` where the older version of the API is spoken.
const FUNCTION: &[Field] = fields! {
    "displayName": MustOnce Holds::Text { min: 1, max: 255 },
    "applicationId": MustOnce ID,
    "image": May Holds::Text { min: 1, max: 1_024 },
    "imageDigest": May Holds::Text { min: 1, max: 255 },
    "sourceDetails": May Holds::Other(source_details),
    "memoryInMBs": Must Holds::Other(memory),
    "timeoutInSeconds": May Holds::Number { min: 5, max: 300 },
    "detachedModeTimeoutInSeconds": May Holds::Number { min: 5, max: 3_600 },
    "config": May Holds::Other(config),
    "provisionedConcurrencyConfig": May Holds::Other(no_concurrency),
    "failureDestination": May Holds::Other(no_destination),
    "successDestination": May Holds::Other(no_destination),
    "traceConfig": May Holds::Object(FUNCTION_TRACE),
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
};

const FUNCTION_TRACE: &[Field] = fields! {
    "isEnabled": May Holds::Other(no_tracing),
};

const IMAGE_SOURCE: &[Field] = fields! {
    "sourceType": Must Holds::OneOf(&["CONTAINER_IMAGE"]),
    "image": Must Holds::Text { min: 1, max: 1_024 },
    "imageDigest": May Holds::Text { min: 1, max: 255 },
};

const ARCHIVE_SOURCE: &[Field] = fields! {
    "sourceType": Must Holds::OneOf(&["ARCHIVE"]),
    "archiveSourceDetails": Must Holds::Object(ARCHIVE_DETAILS),
    "handler": Must Holds::Text { min: 1, max: 255 },
    "runtimeConfig": Must Holds::Object(RUNTIME),
};

const ARCHIVE_DETAILS: &[Field] = fields! {
    "archiveSourceType": Must Holds::Other(direct_archive),
    "archiveFile": Must Holds::Other(archive_file),
};

const RUNTIME: &[Field] = fields! {
    "runtimeConfigType": Must Holds::OneOf(&["FUNCTION_UPDATE", "MANUAL"]),
    "functionsRuntimeName": Must Holds::Text { min: 1, max: 255 },
    "functionsRuntimeVersionId": May Holds::Text { min: 1, max: ID_CHARS_MAX },
};

const SERVICE_CONNECTOR: &[Field] = fields! {
    "displayName": Must Holds::Text { min: 1, max: 255 },
    "compartmentId": MustOnce ID,
    "description": May DESCRIPTION,
    "source": Must Holds::Other(connector_source),
    "tasks": May Holds::Other(connector_tasks),
    "target": Must Holds::Other(connector_target),
    "freeformTags": May Holds::TextMap,
    "definedTags": May Holds::TagMap,
};

const LOGGING_SOURCE: &[Field] = fields! {
    "kind": Must Holds::OneOf(&["logging"]),
    "logSources": Must Holds::Other(log_sources),
};

const ONE_LOG_SOURCE: &[Field] = fields! {
    "compartmentId": Must ID,
    "logGroupId": May ID,
    "logId": May ID,
};

const LOG_RULE: &[Field] = fields! {
    "kind": Must Holds::OneOf(&["logRule"]),
    "condition": Must Holds::Other(condition),
};

const FUNCTIONS_TARGET: &[Field] = fields! {
    "kind": Must Holds::OneOf(&["functions"]),
    "functionId": Must ID,
    "batchSizeInKbs": May Holds::Number { min: 1, max: BATCH_KBS_MAX },
    "batchSizeInNum": May Holds::Number { min: 1, max: BATCH_COUNT_MAX },
    "batchTimeInSec": May Holds::Number { min: 1, max: BATCH_SECS_MAX },
};

/// The canonical JSON of a new resource: what was sent, checked, with what holds where nothing was said.
pub(super) fn create(kind: Kind, api: Api, runtimes: &[String], sent: Map<String, Value>) -> Result<Value, Refusal> {
    let mut faults = Faults::default();
    let mut body = read(fields_of(kind), sent, "", kind.noun(), What::Create, &mut faults);
    let mut default = |key: &str, value: Value| {
        body.entry(key).or_insert(value);
    };
    default("freeformTags", json!({}));
    default("definedTags", json!({}));
    match kind {
        Kind::Log => {
            default("isEnabled", Value::Bool(true));
            default("retentionDuration", Value::from(30));
            check_log(&body, &mut faults);
        }
        Kind::Application => {
            default("config", json!({}));
            default("subnetIds", json!([]));
            default("shape", Value::from("GENERIC_X86"));
        }
        Kind::Function => {
            default("config", json!({}));
            default("timeoutInSeconds", Value::from(30));
            settle_source(&mut body, api, runtimes, What::Create, &mut faults);
        }
        Kind::ServiceConnector => default("tasks", json!([])),
        Kind::Compartment | Kind::LogGroup | Kind::WorkRequest => {}
    }
    match form::refusal(faults) {
        Some(refusal) => Err(refusal),
        None => Ok(Value::Object(body)),
    }
}

/// The keys of a resource that change, with what they become: for [`lay_over`].
pub(super) fn update(kind: Kind, api: Api, runtimes: &[String], sent: Map<String, Value>) -> Result<Value, Refusal> {
    let mut faults = Faults::default();
    let mut body = read(fields_of(kind), sent, "", kind.noun(), What::Update, &mut faults);
    if kind == Kind::Function {
        settle_source(&mut body, api, runtimes, What::Update, &mut faults);
    }
    match form::refusal(faults) {
        Some(refusal) => Err(refusal),
        None => Ok(Value::Object(body)),
    }
}

/// Lays a change, as [`super::Act::Update`] has it, over what is kept of a resource. Every key is replaced whole or, with
/// null, taken out; but of a log's `configuration` and a function's `sourceDetails` only what is said changes, as long as
/// the code still comes from the same kind of source.
pub fn lay_over(body: &mut Map<String, Value>, change: Map<String, Value>) -> Result<(), Refusal> {
    for (key, value) in change {
        match (body.get_mut(&key), value) {
            (_, Value::Null) => drop(body.shift_remove(&key)),
            (Some(Value::Object(there)), Value::Object(said)) if key == "configuration" => merge(there, said),
            (Some(Value::Object(there)), Value::Object(said))
                if key == "sourceDetails" && there.get("sourceType") == said.get("sourceType") =>
            {
                // A digest is that of its image, and code is replaced whole.
                if said.contains_key("image") {
                    there.shift_remove("imageDigest");
                }
                merge(there, said);
            }
            (_, Value::Object(said)) if key == "sourceDetails" => {
                let needed: &[&str] = match said.get("sourceType").and_then(Value::as_str) {
                    Some("ARCHIVE") => &["archiveSourceDetails", "handler", "runtimeConfig"],
                    _ => &["image"],
                };
                if let Some(missing) = needed.iter().find(|needed| !said.contains_key(**needed)) {
                    return Err(super::missing(&join("sourceDetails", missing)));
                }
                body.insert(key, Value::Object(said));
            }
            (_, value) => drop(body.insert(key, value)),
        }
    }
    Ok(())
}

/// Objects into objects, everything else in place of what was there.
fn merge(there: &mut Map<String, Value>, said: Map<String, Value>) {
    for (key, value) in said {
        match (there.get_mut(&key), value) {
            (_, Value::Null) => drop(there.shift_remove(&key)),
            (Some(Value::Object(there)), Value::Object(said)) => merge(there, said),
            (_, value) => drop(there.insert(key, value)),
        }
    }
}

fn fields_of(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Compartment => COMPARTMENT,
        Kind::LogGroup => LOG_GROUP,
        Kind::Log => LOG,
        Kind::Application => APPLICATION,
        Kind::Function => FUNCTION,
        Kind::ServiceConnector => SERVICE_CONNECTOR,
        Kind::WorkRequest => &[],
    }
}

fn check_log(body: &Map<String, Value>, faults: &mut Faults) {
    let has_source = body.get("configuration").is_some_and(|configuration| configuration.get("source").is_some());
    match (body.get("logType").and_then(Value::as_str), has_source) {
        (Some("SERVICE"), false) => faults.add("configuration.source", MISSING),
        (Some("CUSTOM"), true) => {
            faults.add("configuration.source", "is only for logs of services; this one's logType is CUSTOM");
        }
        _ => {}
    }
}

/// Leaves one way to say where a function's code comes from, whichever version of the API said it.
fn settle_source(body: &mut Map<String, Value>, api: Api, runtimes: &[String], what: What, faults: &mut Faults) {
    let (image, digest) = (body.shift_remove("image"), body.shift_remove("imageDigest"));
    let is_old = api == Api::FunctionsOld;
    for (key, value) in [("image", &image), ("imageDigest", &digest)] {
        if value.is_some() && !is_old {
            faults
                .add(key, "is of an older version of the API; say sourceDetails.image with sourceType CONTAINER_IMAGE");
        }
    }
    if is_old && (image.is_some() || digest.is_some()) {
        if body.contains_key("sourceDetails") {
            faults.add("sourceDetails", "stands beside image; only one of them can say where the code comes from");
        }
        let mut source = Map::from_iter([("sourceType".to_owned(), Value::from("CONTAINER_IMAGE"))]);
        source.extend(image.filter(|image| !image.is_null()).map(|image| ("image".to_owned(), image)));
        source.extend(digest.filter(|digest| !digest.is_null()).map(|digest| ("imageDigest".to_owned(), digest)));
        if what == What::Create && !source.contains_key("image") {
            faults.add("image", MISSING);
        }
        body.insert("sourceDetails".to_owned(), Value::Object(source));
    }
    match body.get("sourceDetails") {
        None if what == What::Create => faults.add(if is_old { "image" } else { "sourceDetails" }, MISSING),
        Some(Value::Null) if what == What::Update && faults.is_empty() => {
            faults.add("sourceDetails", "cannot be null: a function has code");
        }
        Some(source) => {
            let name = source.pointer("/runtimeConfig/functionsRuntimeName").and_then(Value::as_str);
            if let Some(name) = name.filter(|name| !runtimes.iter().any(|known| known == name)) {
                let shown: String = name.chars().take(80).collect();
                let known = match runtimes {
                    [] => "there is none".to_owned(),
                    known => format!("those are {}", known.join(", ")),
                };
                let field = "sourceDetails.runtimeConfig.functionsRuntimeName";
                faults.add(field, format!("{shown:?} is no runtime of this server; {known}"));
            }
        }
        None => {}
    }
}

fn compartment_name(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let is_name = |text: &str| {
        (1..=100).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    if value.as_str().is_some_and(is_name) {
        return Some(value);
    }
    faults.add(path, format!("must have 1 to 100 letters, digits, '.', '_' or '-', unlike {}", named(&value)));
    None
}

fn retention(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value.as_i64().is_some_and(|days| (30..=180).contains(&days) && days % 30 == 0) {
        return Some(value);
    }
    faults.add(path, format!("must be 30, 60, 90, 120, 150 or 180 days, not {}", named(&value)));
    None
}

fn memory(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value.as_i64().is_some_and(|mbs| MEMORY_MBS.contains(&mbs)) {
        return Some(value);
    }
    let known: Vec<String> = MEMORY_MBS.iter().map(i64::to_string).collect();
    faults.add(path, format!("must be one of {}, not {}", known.join(", "), named(&value)));
    None
}

fn config(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let Value::Object(map) = value else {
        faults.add(path, format!("must be an object, not {}", named(&value)));
        return None;
    };
    let mut bytes = 0;
    let before = faults.count;
    for (key, value) in &map {
        let shown: String = key.chars().take(60).collect();
        let is_name = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && key.bytes().next().is_some_and(|first| !first.is_ascii_digit());
        if !is_name {
            faults.add(
                path,
                format!("has the key {shown:?}; keys are of letters, digits and _, and begin with no digit"),
            );
        }
        match value {
            Value::String(text) if text.contains('\0') => {
                faults.add(join(path, &shown), "holds the character U+0000");
            }
            Value::String(text) => bytes += key.len() + text.len(),
            other => faults.add(join(path, &shown), format!("must be a string, not {}", named(other))),
        }
    }
    if bytes > CONFIG_BYTES_MAX {
        faults.add(path, format!("has {bytes} bytes in keys and values, more than the {CONFIG_BYTES_MAX} allowed"));
    }
    (faults.count == before).then_some(Value::Object(map))
}

/// What can only be off here: `false` is taken, `true` is refused with what it would be.
fn only_false(value: Value, path: &str, what: &str, faults: &mut Faults) -> Option<Value> {
    match value {
        Value::Bool(false) => return Some(value),
        Value::Bool(true) => faults.add(path, format!("{what} is not served here")),
        other => faults.add(path, format!("must be false, not {}", named(&other))),
    }
    None
}

fn no_archiving(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    only_false(value, path, "archiving", faults)
}

fn no_tracing(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    only_false(value, path, "tracing", faults)
}

fn no_image_policy(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    only_false(value, path, "a policy of signed images", faults)
}

fn empty_list(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value.as_array().is_some_and(Vec::is_empty) {
        return Some(value);
    }
    faults.add(path, "must be an empty list");
    None
}

fn no_syslog(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value.as_str().is_some_and(str::is_empty) {
        return Some(value);
    }
    faults.add(path, "is not served: what functions print goes to the application's log");
    None
}

fn no_concurrency(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value == json!({ "strategy": "NONE" }) {
        return Some(value);
    }
    faults.add(path, "must be {\"strategy\": \"NONE\"}: provisioned concurrency is not served here");
    None
}

fn no_destination(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    if value == json!({ "kind": "NONE" }) {
        return Some(value);
    }
    faults.add(path, "must be {\"kind\": \"NONE\"}: destinations of what detached calls answer are not served here");
    None
}

fn source_details(value: Value, path: &str, what: What, faults: &mut Faults) -> Option<Value> {
    let kind = value.get("sourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    let fields = match kind.as_str() {
        "CONTAINER_IMAGE" => IMAGE_SOURCE,
        "ARCHIVE" => ARCHIVE_SOURCE,
        "PRE_BUILT_FUNCTIONS" => {
            faults.add(join(path, "sourceType"), "PRE_BUILT_FUNCTIONS is not served: Oracle's functions are not here");
            return None;
        }
        _ => {
            faults.add(join(path, "sourceType"), "must be CONTAINER_IMAGE or ARCHIVE");
            return None;
        }
    };
    let Value::Object(map) = value else { unreachable!("it has a key") };
    let read = read(fields, map, path, "function's source", what, faults);
    // Whoever names an archive sends it.
    if read
        .get("archiveSourceDetails")
        .is_some_and(|details| details.is_object() && details.get("archiveFile").is_none())
    {
        let field = join(path, "archiveSourceDetails.archiveFile");
        if !faults.listed.iter().any(|fault| fault.field == field) {
            faults.add(field, MISSING);
        }
    }
    Some(Value::Object(read))
}

fn direct_archive(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    match value.as_str() {
        Some("DIRECT_ARCHIVE") => return Some(value),
        Some(kind @ ("OBJECT_STORAGE_ARCHIVE" | "OBJECT_STORAGE")) => {
            faults.add(path, format!("{kind} is not served: send the archive itself (DIRECT_ARCHIVE)"));
        }
        _ => faults.add(path, format!("must be DIRECT_ARCHIVE, not {}", named(&value))),
    }
    None
}

/// What every zip file begins with: an entry, or the end of one without entries.
const ZIP_BEGINNINGS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

fn archive_file(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let Value::String(text) = &value else {
        faults.add(path, format!("must be a zip file in base64, not {}", named(&value)));
        return None;
    };
    // The beginning shows what it is; all of it is decoded where it is unpacked.
    let start = &text.as_bytes()[..text.len().min(8)];
    match STANDARD.decode(start) {
        Ok(bytes) if ZIP_BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)) => Some(value),
        Ok(_) => {
            faults.add(path, "is no zip file");
            None
        }
        Err(_) => {
            faults.add(path, "is no base64 of a zip file");
            None
        }
    }
}

fn connector_source(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    match value.get("kind").and_then(Value::as_str) {
        Some("logging") => {
            let Value::Object(map) = value else { unreachable!("it has a key") };
            // Like a target, it is replaced whole, so it must be whole in a change, too.
            Some(Value::Object(read(LOGGING_SOURCE, map, path, "source", What::Create, faults)))
        }
        Some(kind @ ("monitoring" | "streaming" | "plugin")) => {
            faults.add(join(path, "kind"), format!("{kind} is not served as a source here; logging is"));
            None
        }
        _ => {
            faults.add(join(path, "kind"), "must be logging");
            None
        }
    }
}

fn log_sources(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let Value::Array(items) = value else {
        faults.add(path, format!("must be a list, not {}", named(&value)));
        return None;
    };
    if items.is_empty() || items.len() > SOURCES_MAX {
        faults.add(path, format!("must name 1 to {SOURCES_MAX} groups or logs, not {}", items.len()));
        return None;
    }
    let read_one = |(index, item): (usize, Value)| {
        let path = format!("{path}[{index}]");
        let Value::Object(map) = item else {
            faults.add(path, format!("must be an object, not {}", named(&item)));
            return Value::Null;
        };
        let read = read(ONE_LOG_SOURCE, map, &path, "log source", What::Create, faults);
        let is_audit = read.get("logGroupId").and_then(Value::as_str).is_some_and(|group| group.starts_with("_Audit"));
        if read.contains_key("logId") && (is_audit || !read.contains_key("logGroupId")) {
            faults.add(join(&path, "logId"), "needs the OCID of its group as logGroupId");
        }
        Value::Object(read)
    };
    Some(Value::Array(items.into_iter().enumerate().map(read_one).collect()))
}

fn connector_tasks(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let Value::Array(items) = value else {
        faults.add(path, format!("must be a list, not {}", named(&value)));
        return None;
    };
    if items.len() > TASKS_MAX {
        faults.add(path, format!("has {} tasks; at most {TASKS_MAX} are allowed", items.len()));
        return None;
    }
    let read_one = |(index, item): (usize, Value)| {
        let path = format!("{path}[{index}]");
        match item.get("kind").and_then(Value::as_str) {
            Some("logRule") => {
                let Value::Object(map) = item else { unreachable!("it has a key") };
                Value::Object(read(LOG_RULE, map, &path, "task", What::Create, faults))
            }
            Some("function") => {
                faults.add(join(&path, "kind"), "tasks that are functions are not served here; logRule is");
                Value::Null
            }
            _ => {
                faults.add(join(&path, "kind"), "must be logRule");
                Value::Null
            }
        }
    };
    Some(Value::Array(items.into_iter().enumerate().map(read_one).collect()))
}

fn condition(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    let Value::String(text) = &value else {
        faults.add(path, format!("must be a string, not {}", named(&value)));
        return None;
    };
    match Condition::parse(text) {
        Ok(_) => Some(value),
        Err(diagnostic) => {
            faults.add(path, format!("is no condition:\n{}", diagnostic.render(text)));
            None
        }
    }
}

fn connector_target(value: Value, path: &str, _: What, faults: &mut Faults) -> Option<Value> {
    match value.get("kind").and_then(Value::as_str) {
        Some("functions") => {}
        Some(kind @ ("loggingAnalytics" | "monitoring" | "notifications" | "objectStorage" | "streaming")) => {
            faults.add(join(path, "kind"), format!("{kind} is not served as a target here; functions is"));
            return None;
        }
        _ => {
            faults.add(join(path, "kind"), "must be functions");
            return None;
        }
    }
    let Value::Object(map) = value else { unreachable!("it has a key") };
    let read = read(FUNCTIONS_TARGET, map, path, "target", What::Create, faults);
    if read.contains_key("batchSizeInKbs") && read.contains_key("batchSizeInNum") {
        faults.add(join(path, "batchSizeInNum"), "stands beside batchSizeInKbs; a batch is closed by only one of them");
    }
    Some(Value::Object(read))
}
