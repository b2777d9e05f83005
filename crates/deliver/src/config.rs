//! A connector's document: JSON in, a [`ConnectorConfig`] that cannot be wrong out. Parsed here once; nothing after
//! this checks it again. `resources` keeps the documents, `penstock connector create` makes them.
//!
//! Header values and the URL's query may hold secrets: no `Debug`, status or error of this crate shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egress::Reach;
use event::{Event, InstanceId, Kind, limits};
use http::{HeaderName, HeaderValue};
use query::Predicate;
use query::oci::Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::filter::Filter;
use crate::reader::Wanted;
use crate::targets::function::LOG_TYPES as OCI_LOG_TYPES;

/// Largest `batch_bytes_max`: with frame, body and compressed body a connector stays within about 8 MiB.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Smallest `batch_bytes_max`: below, the shape around a record would outweigh the records.
pub const BATCH_BYTES_MIN: usize = 1_000;
/// Largest `batch_records_max`.
pub const BATCH_RECORDS_MAX: usize = 100_000;
/// Longest `batch_wait_ms`.
pub const BATCH_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest `timeout_ms`.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Largest `batch_bytes_max` of a function: OCI gives it at most 6 MB a call, and says so as 6,000 KB, too.
pub const FUNCTION_BATCH_BYTES_MAX: usize = 6_000_000;
/// Longest `batch_wait_ms` of a function (contracts/oci.md §2.4: 600 s is seen in use).
pub const FUNCTION_BATCH_WAIT_MAX: Duration = Duration::from_secs(600);
/// Longest `attention_ms`.
pub const ATTENTION_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long a function may fail before somebody is called, unless the document says otherwise.
pub const FUNCTION_ATTENTION: Duration = Duration::from_secs(300);
/// Longest OCID or name of a function.
pub const FUNCTION_BYTES_MAX: usize = 255;
/// Most scopes of a source.
pub const SCOPES_MAX: usize = 100;
/// Most compartments of a scope.
pub const COMPARTMENTS_MAX: usize = 1_000;
/// Most headers.
pub const HEADERS_MAX: usize = 50;
/// Longest name of a connector.
pub const NAME_BYTES_MAX: usize = 63;

/// Which connector: unique per instance, made of the document alone, so that a restart finds its cursor again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorId {
    /// The instance that it belongs to.
    pub instance: InstanceId,
    /// Its name within the instance.
    pub name: String,
}

/// `INSTANCE/NAME`, the form in which rows of `deliver.db` and logs name it.
impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.name)
    }
}

impl std::str::FromStr for ConnectorId {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<ConnectorId, ConfigError> {
        let parsed = text
            .split_once('/')
            .and_then(|(instance, name)| Some(ConnectorId { instance: instance.parse().ok()?, name: name.to_owned() }));
        parsed.ok_or_else(|| ConfigError::new("id", "a connector's id is INSTANCE/NAME"))
    }
}

/// One connector as its document says.
#[derive(Debug, Clone)]
pub struct ConnectorConfig {
    /// Its name and instance.
    pub id: ConnectorId,
    /// Whether it is to run; an inactive one keeps its cursor.
    pub active: bool,
    /// What it delivers.
    pub source: Source,
    /// Where it begins when it has no cursor yet.
    pub start: Start,
    /// Where it delivers to.
    pub target: TargetConfig,
    /// How it makes batches.
    pub batch: BatchConfig,
    /// What its target's address may be.
    pub reach: Reach,
    /// How long it may fail on end before it needs attention. `None`: for ever, it only waits.
    pub attention: Option<Duration>,
    /// Whether it keeps a run log.
    pub run_log: bool,
    /// Hash of the document: another one means another configuration.
    pub(crate) print: blake3::Hash,
}

/// Where a new connector begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With what comes after it was made.
    #[default]
    Now,
    /// With the oldest that the log still has.
    Oldest,
}

/// What a connector delivers, of its own instance only.
#[derive(Debug, Clone)]
pub struct Source {
    /// None named: records as they were sent.
    kinds: Vec<Kind>,
    log_types: Vec<String>,
    /// Which of OCI's logs.
    scopes: Option<Arc<Predicate>>,
    filter: Option<Filter>,
    /// The document's part, which a plan row keeps so that its batch can be made again under the filter of its time.
    pub(crate) text: String,
}

/// How far a record comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sieve {
    /// The source is about other records.
    NotOurs,
    /// The filter leaves it out.
    LeftOut,
    Selected,
}

/// How batches are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Most bytes of an encoded body before compression. A single record above it travels alone.
    pub bytes_max: usize,
    /// Most records.
    pub records_max: usize,
    /// How long a batch that is not full waits for more.
    pub wait: Duration,
}

/// Where to.
#[derive(Debug, Clone)]
pub enum TargetConfig {
    /// Anything that takes an HTTP POST.
    Http(HttpConfig),
    /// A function of this server.
    Function(FunctionConfig),
}

impl TargetConfig {
    /// Whether connections to it are encrypted; `None` where there are none.
    pub(crate) fn is_encrypted(&self) -> Option<bool> {
        match self {
            TargetConfig::Http(http) => Some(http.url.scheme() == "https"),
            TargetConfig::Function(_) => None,
        }
    }

    /// The function, where it is one.
    pub(crate) fn function(&self) -> Option<&FunctionConfig> {
        match self {
            TargetConfig::Http(_) => None,
            TargetConfig::Function(function) => Some(function),
        }
    }
}

/// The `http` target's settings.
#[derive(Clone)]
pub struct HttpConfig {
    /// `http` or `https`, no user, no fragment.
    pub(crate) url: reqwest::Url,
    /// Sent with every request.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body's shape.
    pub(crate) form: HttpForm,
    /// How long one attempt may take, from resolving the name to the answer.
    pub(crate) timeout: Duration,
}

/// The `function` target's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// The function's OCID.
    pub function: String,
    /// Its name, for people.
    pub name: Option<String>,
    /// How long one call may take, beyond the function's own limit.
    pub timeout: Duration,
}

impl FunctionConfig {
    /// What people call it.
    pub(crate) fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.function)
    }
}

/// The shape of the `http` target's body; kept with a frozen batch, since a retry must not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpForm {
    /// Array or lines.
    pub format: HttpFormat,
    /// Whether the body is compressed.
    pub gzip: bool,
}

/// How elements stand in the `http` target's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpFormat {
    /// One JSON array.
    #[default]
    Json,
    /// One JSON object per line.
    Ndjson,
}

/// What is wrong with a connector's document. The one who writes it must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigError {
    /// Path of the field, such as `target.url`.
    pub field: String,
    /// What is wrong and what would be right; several lines for a query.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(field: &str, message: impl Into<String>) -> ConfigError {
        ConfigError { field: field.to_owned(), message: message.into() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    instance: String,
    #[serde(default)]
    state: State,
    #[serde(default)]
    source: Option<Value>,
    #[serde(default)]
    start: Start,
    target: Value,
    #[serde(default)]
    made_by_operator: bool,
    #[serde(default)]
    attention_ms: Option<u64>,
    #[serde(default)]
    run_log: bool,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Active,
    Inactive,
}

#[derive(Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields, default)]
struct SourceDocument {
    kinds: Vec<KindName>,
    log_types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<ScopeDocument>,
}

/// Logs of OCI: those of a group, or one of them, in any of these compartments.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ScopeDocument {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    compartments: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

#[derive(Deserialize, Serialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Raw,
    Udm,
    Entity,
}

/// The language of a source's query.
#[derive(Debug, Deserialize, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// A UDM search expression, over UDM events and entities.
    Udm,
    /// Over raw logs: a text, whatever its case, or `/regular expression/`, or that with `nocase` behind it.
    Raw,
    /// A condition of OCI's connectors, over log entries of its `scopes`. The query may be left out; without any scope
    /// nothing is taken, since a source whose logs are all gone must not become one of everything.
    Oci,
}

#[derive(Deserialize)]
struct TargetDocument {
    r#type: TargetType,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionDocument {
    #[serde(rename = "type")]
    _type: TargetType,
    function: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "default_function_bytes_max")]
    batch_bytes_max: usize,
    #[serde(default = "default_function_records_max")]
    batch_records_max: usize,
    #[serde(default = "default_wait_ms")]
    batch_wait_ms: u64,
    #[serde(default = "default_function_timeout_ms")]
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpDocument {
    #[serde(rename = "type")]
    _type: TargetType,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: HttpFormat,
    #[serde(default)]
    gzip: bool,
    #[serde(default = "default_bytes_max")]
    batch_bytes_max: usize,
    #[serde(default = "default_records_max")]
    batch_records_max: usize,
    #[serde(default = "default_wait_ms")]
    batch_wait_ms: u64,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TargetType {
    Http,
    Function,
}

fn default_bytes_max() -> usize {
    1_000_000
}
fn default_records_max() -> usize {
    1_000
}
fn default_wait_ms() -> u64 {
    1_000
}
fn default_timeout_ms() -> u64 {
    90_000
}
fn default_function_bytes_max() -> usize {
    5_000_000
}
/// A function that posts each record by itself takes some 20 ms for each (contracts/oci.md §1.8) and may have no more than
/// 30 s for all of them.
fn default_function_records_max() -> usize {
    100
}
/// Above the 300 s that a function may take at most, with time to start its process.
fn default_function_timeout_ms() -> u64 {
    330_000
}

impl ConnectorConfig {
    /// Reads a document. The schema gives the query's field names.
    pub fn parse(document: &Value, schema: &Arc<udm::Schema>) -> Result<ConnectorConfig, ConfigError> {
        let print = blake3::hash(document.to_string().as_bytes());
        let document: Document = part("connector", document)?;
        let id = ConnectorId {
            instance: document
                .instance
                .parse()
                .map_err(|error: event::IdError| ConfigError::new("instance", error.to_string()))?,
            name: name(document.name)?,
        };
        let source = match document.source {
            Some(Value::Null) | None => Source::parse(&Value::Object(Default::default()), schema)?,
            Some(source) => Source::parse(&source, schema)?,
        };
        let reach = if document.made_by_operator { Reach::Inside } else { Reach::Public };
        let TargetDocument { r#type } = part("target", &document.target)?;
        let (target, batch) = match r#type {
            TargetType::Http => http(&document.target, reach)?,
            TargetType::Function => function(&document.target)?,
        };
        let attention = match (document.attention_ms, &target) {
            (Some(0), _) => return Err(ConfigError::new("attention_ms", "0 would call somebody for nothing")),
            (Some(millis), _) if u128::from(millis) > ATTENTION_MAX.as_millis() => {
                let message = format!("{millis} is not within 1 to {}", ATTENTION_MAX.as_millis());
                return Err(ConfigError::new("attention_ms", message));
            }
            (Some(millis), _) => Some(Duration::from_millis(millis)),
            (None, TargetConfig::Function(_)) => Some(FUNCTION_ATTENTION),
            (None, TargetConfig::Http(_)) => None,
        };
        Ok(ConnectorConfig {
            id,
            active: document.state == State::Active,
            source,
            start: document.start,
            target,
            batch,
            reach,
            attention,
            run_log: document.run_log,
            print,
        })
    }

    /// The document as it may be shown: header values and the URL's query are replaced by `…`.
    pub fn shown(document: &Value) -> Value {
        let mut shown = document.clone();
        let Some(target) = shown.get_mut("target") else { return shown };
        if let Some(Value::Object(headers)) = target.get_mut("headers") {
            for value in headers.values_mut() {
                *value = Value::from("…");
            }
        }
        if let Some(Value::String(url)) = target.get_mut("url")
            && let Some(query) = url.find('?')
        {
            url.truncate(query);
            url.push_str("?…");
        }
        shown
    }
}

impl Source {
    pub(crate) fn parse(source: &Value, schema: &Arc<udm::Schema>) -> Result<Source, ConfigError> {
        let document: SourceDocument = part("source", source)?;
        let text = serde_json::to_string(&document).expect("names and texts always have a JSON form");
        let oci = document.language == Some(Language::Oci);
        if !oci && !document.scopes.is_empty() {
            return Err(ConfigError::new("source.scopes", "only the language \"oci\" has scopes"));
        }
        if oci && document.kinds.iter().any(|kind| *kind != KindName::Raw) {
            return Err(ConfigError::new("source.kinds", "OCI's log entries are raw"));
        }
        if document.scopes.len() > SCOPES_MAX
            || document.scopes.iter().any(|scope| scope.compartments.len() > COMPARTMENTS_MAX)
        {
            let message = format!("more than {SCOPES_MAX}, or one with more than {COMPARTMENTS_MAX} compartments");
            return Err(ConfigError::new("source.scopes", message));
        }
        let scopes = document.scopes.into_iter().map(|scope| Scope {
            compartments: scope.compartments,
            group: scope.log_group,
            log: scope.log,
        });
        let scopes = oci.then(|| Arc::new(query::oci::predicate(scopes, None)));
        let filter = match (document.query, document.language) {
            (None, None | Some(Language::Oci)) => None,
            (None, Some(_)) => return Err(ConfigError::new("source.language", "given without a query")),
            (Some(_), None) => {
                return Err(ConfigError::new(
                    "source.language",
                    "a query needs its language: \"udm\", \"raw\" or \"oci\"",
                ));
            }
            (Some(query), Some(language)) => {
                if query.len() > limits::QUERY_BYTES_MAX {
                    let message = format!("longer than {} bytes", limits::QUERY_BYTES_MAX);
                    return Err(ConfigError::new("source.query", message));
                }
                let filter = Filter::parse(&query, language, schema);
                Some(filter.map_err(|message| ConfigError::new("source.query", message))?)
            }
        };
        for log_type in &document.log_types {
            let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            if log_type.is_empty() || log_type.len() > limits::LOG_TYPE_BYTES_MAX || !log_type.bytes().all(fits) {
                let message = format!("{log_type:?} is no log type (capitals, digits and _, such as OKTA)");
                return Err(ConfigError::new("source.log_types", message));
            }
        }
        let kinds = document.kinds.iter().map(|kind| match kind {
            KindName::Raw => Kind::Raw,
            KindName::Udm => Kind::Udm,
            KindName::Entity => Kind::Entity,
        });
        let (mut kinds, mut log_types): (Vec<Kind>, _) = (kinds.collect(), document.log_types);
        // A query over UDM is meant for events, whoever made them.
        if kinds.is_empty() && document.language == Some(Language::Udm) {
            kinds = vec![Kind::Udm, Kind::Entity];
        }
        if oci {
            kinds = vec![Kind::Raw];
            // What the batch says is looked at first, so that other logs cost next to nothing.
            if log_types.is_empty() {
                log_types = OCI_LOG_TYPES.iter().map(|log_type| (*log_type).to_owned()).collect();
            }
        }
        Ok(Source { kinds, log_types, scopes, filter, text })
    }

    /// Whether it takes records whose batch says this; the cheap half of the filter.
    fn takes(&self, event: &Event) -> bool {
        let is_kind = if self.kinds.is_empty() { !event.is_parsed() } else { self.kinds.contains(&event.kind) };
        is_kind && (self.log_types.is_empty() || self.log_types.contains(&event.batch.log_type))
    }

    /// Whether what parsers make of records is for it, too. Who names no kinds gets each record once, as it was sent.
    pub(crate) fn wanted(&self) -> Wanted {
        let is_parsed = self.kinds.iter().any(|kind| *kind != Kind::Raw);
        if is_parsed { Wanted::Parsed } else { Wanted::Sent }
    }

    /// How far an event of its own instance comes. The time that the filter took is added to `filtering`.
    pub(crate) fn sieve(&self, event: &Event, filtering: &mut Duration) -> Sieve {
        if !self.takes(event) || self.scopes.as_ref().is_some_and(|scopes| !scopes.matches(event.kind, &event.data)) {
            return Sieve::NotOurs;
        }
        let Some(filter) = &self.filter else { return Sieve::Selected };
        let began = Instant::now();
        let passes = filter.matches(event);
        *filtering += began.elapsed();
        if passes { Sieve::Selected } else { Sieve::LeftOut }
    }

    /// Whether it takes this event of its own instance.
    pub(crate) fn selects(&self, event: &Event) -> bool {
        let mut filtering = Duration::ZERO;
        self.sieve(event, &mut filtering) == Sieve::Selected
    }

    /// Whether there is a filter between it and the target: OCI's task.
    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }
}

fn http(target: &Value, reach: Reach) -> Result<(TargetConfig, BatchConfig), ConfigError> {
    let HttpDocument {
        _type,
        url,
        headers,
        format,
        gzip,
        batch_bytes_max,
        batch_records_max,
        batch_wait_ms,
        timeout_ms,
    } = part("target", target)?;

    let limits = Limits { bytes_max: BATCH_BYTES_MAX, wait_max: BATCH_WAIT_MAX };
    let batch = limits.batch(batch_bytes_max, batch_records_max, batch_wait_ms)?;
    let http = HttpConfig {
        url: http_url(&url, reach)?,
        headers: http_headers(&headers)?,
        form: HttpForm { format, gzip },
        timeout: timeout(timeout_ms)?,
    };
    Ok((TargetConfig::Http(http), batch))
}

fn function(target: &Value) -> Result<(TargetConfig, BatchConfig), ConfigError> {
    let FunctionDocument { _type, function, name, batch_bytes_max, batch_records_max, batch_wait_ms, timeout_ms } =
        part("target", target)?;
    let limits = Limits { bytes_max: FUNCTION_BATCH_BYTES_MAX, wait_max: FUNCTION_BATCH_WAIT_MAX };
    let batch = limits.batch(batch_bytes_max, batch_records_max, batch_wait_ms)?;
    let fits = |text: &str| !text.is_empty() && text.len() <= FUNCTION_BYTES_MAX && !text.contains(char::is_control);
    if !fits(&function) {
        let message = format!("is a function's OCID, at most {FUNCTION_BYTES_MAX} bytes");
        return Err(ConfigError::new("target.function", message));
    }
    if name.as_deref().is_some_and(|name| !fits(name)) {
        let message = format!("is a function's name, at most {FUNCTION_BYTES_MAX} bytes");
        return Err(ConfigError::new("target.name", message));
    }
    let function = FunctionConfig { function, name, timeout: timeout(timeout_ms)? };
    Ok((TargetConfig::Function(function), batch))
}

/// What a target allows of its batches.
struct Limits {
    bytes_max: usize,
    wait_max: Duration,
}

impl Limits {
    fn batch(&self, bytes_max: usize, records_max: usize, wait_ms: u64) -> Result<BatchConfig, ConfigError> {
        within("batch_bytes_max", bytes_max as u128, BATCH_BYTES_MIN as u128, self.bytes_max as u128)?;
        within("batch_records_max", records_max as u128, 1, BATCH_RECORDS_MAX as u128)?;
        within("batch_wait_ms", wait_ms.into(), 0, self.wait_max.as_millis())?;
        Ok(BatchConfig { bytes_max, records_max, wait: Duration::from_millis(wait_ms) })
    }
}

fn timeout(timeout_ms: u64) -> Result<Duration, ConfigError> {
    within("timeout_ms", timeout_ms.into(), 100, TIMEOUT_MAX.as_millis())?;
    Ok(Duration::from_millis(timeout_ms))
}

fn within(field: &str, value: u128, least: u128, most: u128) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(&format!("target.{field}"), format!("{value} is not within {least} to {most}")))
}

fn http_url(text: &str, reach: Reach) -> Result<reqwest::Url, ConfigError> {
    let wrong = |message: String| Err(ConfigError::new("target.url", message));
    // The text itself is not repeated in errors: it may hold a secret.
    let url = match reqwest::Url::parse(text) {
        Ok(url) => url,
        Err(error) => return wrong(format!("no URL: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong(format!("begins with {}:, but a target is http:// or https://", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds a user or password; credentials belong into target.headers".to_owned());
    }
    if url.fragment().is_some() {
        return wrong("holds a fragment (#…), which is never sent".to_owned());
    }
    if url.as_str().parse::<http::Uri>().is_err() {
        return wrong("holds characters that a request line cannot carry".to_owned());
    }
    // An address in the URL never reaches the resolver, so it is judged here; the parser has made every notation of it
    // (hexadecimal, octal, short) plain.
    if let Some(address) = literal_address(&url)
        && let Err(refused) = reach.check(address)
    {
        return wrong(refused.to_string());
    }
    Ok(url)
}

/// The address in a URL whose host is one.
fn literal_address(url: &reqwest::Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn http_headers(headers: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    const OURS: [&str; 10] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "idempotency-key",
        "te",
        "upgrade",
        "expect",
    ];
    if headers.len() > HEADERS_MAX {
        return Err(ConfigError::new("target.headers", format!("more than {HEADERS_MAX}")));
    }
    let mut parsed: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let field = format!("target.headers.{name}");
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(ConfigError::new(&field, "no header name"));
        };
        if OURS.contains(&header.as_str()) {
            return Err(ConfigError::new(&field, "set by Penstock itself"));
        }
        if parsed.iter().any(|(known, _)| *known == header) {
            return Err(ConfigError::new(&field, "given twice; names do not differ by case"));
        }
        let Ok(mut value) = HeaderValue::from_str(value) else {
            return Err(ConfigError::new(&field, "the value holds characters that a header cannot carry"));
        };
        value.set_sensitive(true);
        parsed.push((header, value));
    }
    Ok(parsed)
}

fn name(name: String) -> Result<String, ConfigError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits) {
        return Ok(name);
    }
    let message = format!("begins with a letter or digit, then letters, digits, - _ . (at most {NAME_BYTES_MAX})");
    Err(ConfigError::new("name", message))
}

/// Reads one object of the document; the object's name goes before what serde says.
fn part<T: serde::de::DeserializeOwned>(field: &str, value: &Value) -> Result<T, ConfigError> {
    T::deserialize(value).map_err(|error| ConfigError::new(field, error.to_string()))
}

/// Origin only: path and query may hold secrets, header values are.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpConfig")
            .field("url", &format_args!("{}/…", self.url.origin().ascii_serialization()))
            .field("headers", &headers)
            .field("form", &self.form)
            .field("timeout", &self.timeout)
            .finish()
    }
}
