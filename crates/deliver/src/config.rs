//! A connector's document: JSON in, a [`ConnectorConfig`] that cannot be wrong out. Parsed here once; nothing after
//! this checks it again. `resources` keeps the documents, `penstock connector create` makes them.
//!
//! Header values and the URL's query may hold secrets: no `Debug`, status or error of this crate shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use egress::Reach;
use event::{InstanceId, Kind, limits};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::filter::Filter;

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
    kinds: Vec<Kind>,
    log_types: Vec<String>,
    filter: Option<Filter>,
    /// The document's part, which a plan row keeps so that its batch can be made again under the filter of its time.
    pub(crate) text: String,
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
}

impl TargetConfig {
    /// Whether connections to it are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        match self {
            TargetConfig::Http(http) => http.url.scheme() == "https",
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpDocument {
    r#type: TargetType,
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
        let (target, batch) = http(&document.target, reach)?;
        let active = document.state == State::Active;
        Ok(ConnectorConfig { id, active, source, start: document.start, target, batch, reach, print })
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
        let filter = match (document.query, document.language) {
            (None, None) => None,
            (None, Some(_)) => return Err(ConfigError::new("source.language", "given without a query")),
            (Some(_), None) => {
                return Err(ConfigError::new("source.language", "a query needs its language: \"udm\" or \"raw\""));
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
        Ok(Source { kinds: kinds.collect(), log_types: document.log_types, filter, text })
    }

    /// Whether it takes records whose batch says this; the cheap half of the filter.
    pub(crate) fn takes(&self, kind: Kind, log_type: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.log_types.is_empty() || self.log_types.iter().any(|wanted| wanted == log_type))
    }

    /// Whether it takes this event of its own instance.
    pub(crate) fn selects(&self, event: &event::Event) -> bool {
        self.takes(event.kind, &event.batch.log_type) && self.filter.as_ref().is_none_or(|filter| filter.matches(event))
    }
}

fn http(target: &Value, reach: Reach) -> Result<(TargetConfig, BatchConfig), ConfigError> {
    let HttpDocument {
        r#type: TargetType::Http,
        url,
        headers,
        format,
        gzip,
        batch_bytes_max,
        batch_records_max,
        batch_wait_ms,
        timeout_ms,
    } = part("target", target)?;

    let within = |field: &str, value: u128, least: u128, most: u128| {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(ConfigError::new(&format!("target.{field}"), format!("{value} is not within {least} to {most}")))
    };
    within("batch_bytes_max", batch_bytes_max as u128, BATCH_BYTES_MIN as u128, BATCH_BYTES_MAX as u128)?;
    within("batch_records_max", batch_records_max as u128, 1, BATCH_RECORDS_MAX as u128)?;
    within("batch_wait_ms", batch_wait_ms.into(), 0, BATCH_WAIT_MAX.as_millis())?;
    within("timeout_ms", timeout_ms.into(), 100, TIMEOUT_MAX.as_millis())?;

    let http = HttpConfig {
        url: http_url(&url, reach)?,
        headers: http_headers(&headers)?,
        form: HttpForm { format, gzip },
        timeout: Duration::from_millis(timeout_ms),
    };
    let batch = BatchConfig {
        bytes_max: batch_bytes_max,
        records_max: batch_records_max,
        wait: Duration::from_millis(batch_wait_ms),
    };
    Ok((TargetConfig::Http(http), batch))
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
