//! What the operator can set: a TOML file, `PENSTOCK_*` variables over it, flags over those.
//!
//! Every key that is not known is an error that names the nearest known one: a misspelt `on_invalid` must not silently
//! mean the default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use event::limits;
use serde::Deserialize;

/// All settings, with their defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Where the server listens.
    pub listen: Listen,
    /// How bad input is met.
    pub intake: Intake,
    /// The durable log.
    pub log: Log,
    /// Parts and search.
    pub store: Store,
    /// What parsers make of raw logs.
    pub normalise: Normalise,
    /// What Oracle's clients see of this server.
    pub oci: Oci,
    /// Users' code between connectors and third parties.
    pub functions: Functions,
    /// Limits that may be changed.
    pub limits: Limits,
    /// What the server writes to stderr.
    pub logging: Logging,
}

/// `[listen]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Address and port; port 0 takes a free one, which is printed.
    pub address: SocketAddr,
    /// Certificate chain and key, both PEM. Without them only loopback is allowed, unless `allow_plain`.
    pub tls: Option<Tls>,
    /// How senders reach the server when that is not its address: behind a proxy, or when it listens on all addresses.
    /// Key files name it as their token endpoint.
    pub url: Option<String>,
    /// Listen beyond loopback without TLS: for a proxy in front that ends TLS.
    pub allow_plain: bool,
    /// A listener of its own for programs that believe to speak with Google.
    pub googleapis: Option<Googleapis>,
    /// A listener of its own that answers as a metadata server.
    pub metadata: Option<Metadata>,
    /// What is served at `address`: names of dialects, and `api` for our own API. None named means all.
    pub serve: Vec<String>,
    /// Further addresses.
    pub also: Vec<Also>,
    /// Syslog over TLS, each line with an intake key.
    pub syslog: Option<KeyedSyslog>,
    /// The same over RELP.
    pub relp: Option<KeyedSyslog>,
    /// Syslog from devices that cannot do better, each port bound to an intake.
    pub plain_syslog: Vec<PlainSyslog>,
}

/// `[[listen.also]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    /// Address and port.
    pub address: SocketAddr,
    /// Certificate chain and key. Without them only loopback is allowed, unless `allow_plain`.
    pub tls: Option<Tls>,
    /// Listen beyond loopback without TLS.
    #[serde(default)]
    pub allow_plain: bool,
    /// What is served there.
    #[serde(default)]
    pub serve: Vec<String>,
}

/// `[listen.syslog]` and `[listen.relp]`: lines that name their intake.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyedSyslog {
    /// Address and port; where not set, loopback and the port that Sekoia has for it.
    pub address: Option<SocketAddr>,
    /// Certificate chain and key; where not set, those of `[listen.tls]`.
    pub tls: Option<Tls>,
}

/// `[[listen.plain_syslog]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainSyslog {
    /// Address and port.
    pub address: SocketAddr,
    /// How lines come.
    pub transport: PlainTransport,
    /// The id of the intake that they are for.
    pub intake: String,
    /// What is kept of a line.
    #[serde(default)]
    pub text: SyslogText,
    /// Listen beyond loopback, where everybody can write to the intake and read along.
    #[serde(default)]
    pub allow_plain: bool,
}

/// How lines come without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainTransport {
    /// In datagrams, one line each.
    Udp,
    /// Over connections, with counts or line feeds.
    Tcp,
}

/// What is kept of a line as the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum SyslogText {
    /// The whole of it, as the device wrote it.
    #[default]
    Line,
    /// The message behind the header.
    Message,
}

/// What `serve` calls our own API.
pub const SERVE_API: &str = "api";

/// `[listen.googleapis]`: there is such a listener where the section is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Googleapis {
    /// Address and port, which programs name as their HTTPS proxy.
    pub address: SocketAddr,
    /// Listen beyond loopback.
    pub allow_remote: bool,
}

impl Default for Googleapis {
    fn default() -> Googleapis {
        Googleapis { address: SocketAddr::from(([127, 0, 0, 1], 8481)), allow_remote: false }
    }
}

/// `[listen.metadata]`: there is such a listener where the section is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Address and port; loopback only.
    #[serde(default = "metadata_address")]
    pub address: SocketAddr,
    /// E-mail address of the account whose tokens it gives to whoever asks.
    pub account: String,
}

fn metadata_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8482))
}

/// `[listen.tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// `[intake]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Intake {
    /// What becomes of a batch with a bad record.
    pub on_invalid: OnInvalid,
    /// Which UDM rules refuse.
    pub udm_validation: UdmValidation,
}

/// What becomes of a batch with a bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnInvalid {
    /// The whole batch is refused and the reply names each fault.
    #[default]
    Refuse,
    /// The good records are taken, the bad ones are set aside with the reason.
    Quarantine,
}

/// Which UDM rules refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum UdmValidation {
    /// Structure and types; the rest becomes issues on the event.
    #[default]
    Lenient,
    /// Unknown fields and missing required fields, too.
    Strict,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `"always"`, or a number of milliseconds between syncs: then a reply can come before its record is safe from a
    /// power cut. Shown by `penstock status`.
    pub sync: Sync,
    /// Size of a segment file in bytes.
    pub segment_bytes: u64,
    /// How long the log keeps what a connector has not read, such as `"7d"`.
    #[serde(deserialize_with = "duration")]
    pub keep: Duration,
    /// How many bytes it keeps for that.
    pub keep_bytes: u64,
    /// How long a repeat of a batch is recognised, such as `"24h"`.
    #[serde(deserialize_with = "duration")]
    pub dedup_window: Duration,
    /// Most batches whose repeats are recognised.
    pub dedup_keys_max: u64,
}

/// When a reply may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After the sync.
    Always,
    /// After the write; syncs come so many milliseconds apart.
    EveryMillis(u64),
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Sync, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(name) if name == "always" => Ok(Sync::Always),
            toml::Value::Integer(millis) if millis > 0 => Ok(Sync::EveryMillis(millis.unsigned_abs())),
            other => Err(serde::de::Error::custom(format!(
                "sync is {other}: say \"always\", or a number of milliseconds from 1"
            ))),
        }
    }
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Without a store nothing is searchable; the log feeds connectors only.
    pub enabled: bool,
    /// The newest records are written out as a part after so long, such as `"30s"`.
    #[serde(deserialize_with = "duration")]
    pub flush_after: Duration,
    /// …or when they hold so many bytes.
    pub flush_bytes: usize,
    /// Days to keep per log type; `"*"` for all others. Nothing here: everything is kept.
    pub keep_days: BTreeMap<String, u32>,
}

/// `[normalise]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Normalise {
    /// Whether raw logs are parsed. Without it they are kept and delivered as they came.
    pub enabled: bool,
    /// A folder with a folder for each log type and a `parser.conf` in it. They go before the parsers that come with the
    /// server.
    pub parsers: Option<PathBuf>,
}

/// `[oci]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oci {
    /// The region that OCIDs name. What exists keeps the one that it was made in.
    pub region: String,
}

/// `[functions]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Functions {
    /// Whether functions run. They are other people's code on this machine, so it must be asked for.
    pub enabled: bool,
    /// The Python that runs them, as a name on the path or a file.
    pub python: PathBuf,
    /// Most processes of all functions together.
    pub processes_max: usize,
    /// How long a process may take until it listens, such as `"10s"`.
    #[serde(deserialize_with = "duration")]
    pub init_timeout: Duration,
    /// How many calls of each function are kept for `penstock function calls`.
    pub calls_kept: usize,
    /// The proxy that functions go out through.
    pub egress: Egress,
}

/// `[functions.egress]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Whether functions are pointed at a proxy of this server, which sees what they send and what is answered.
    pub enabled: bool,
    /// PEM certificates that are trusted beside the system's when third parties are spoken to.
    pub ca_file: Option<PathBuf>,
    /// Stand-ins: what is sent to the host goes to the address, such as `"127.0.0.1:9443"`.
    pub hosts: BTreeMap<String, String>,
    /// Lets functions reach private addresses and this machine through the proxy.
    pub allow_private: bool,
    /// How long a third party may take to answer, such as `"60s"`.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes that all requests in flight may hold together.
    pub memory_bytes: usize,
    /// Milliseconds that a request waits for its part of them.
    pub wait_max_ms: u64,
    /// Most open connections.
    pub connections_max: usize,
    /// Largest uncompressed body of the Chronicle Ingestion API.
    pub chronicle_ingestion_body_bytes_max: usize,
    /// Largest uncompressed body of the Chronicle API.
    pub chronicle_api_body_bytes_max: usize,
    /// Largest uncompressed body of Sekoia's intake.
    pub sekoia_body_bytes_max: usize,
    /// Largest event that an intake takes, over HTTPS and syslog.
    pub sekoia_event_bytes_max: usize,
    /// Largest uncompressed body of OCI's APIs.
    pub oci_body_bytes_max: usize,
}

/// `[logging]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Such as `"info"` or `"info,deliver=debug"`.
    pub level: String,
    /// `"text"` or `"json"`.
    pub format: LogFormat,
}

/// Form of the server's own log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: PathBuf::from("./penstock-data"),
            listen: Listen::default(),
            intake: Intake::default(),
            log: Log::default(),
            store: Store::default(),
            normalise: Normalise::default(),
            oci: Oci::default(),
            functions: Functions::default(),
            limits: Limits::default(),
            logging: Logging::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 8480)),
            tls: None,
            url: None,
            allow_plain: false,
            googleapis: None,
            metadata: None,
            serve: Vec::new(),
            also: Vec::new(),
            syslog: None,
            relp: None,
            plain_syslog: Vec::new(),
        }
    }
}

impl Default for Intake {
    fn default() -> Intake {
        Intake { on_invalid: OnInvalid::Refuse, udm_validation: UdmValidation::Lenient }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            sync: Sync::Always,
            segment_bytes: limits::SEGMENT_BYTES,
            keep: limits::LOG_KEEP,
            keep_bytes: limits::LOG_KEEP_BYTES,
            dedup_window: limits::DEDUP_WINDOW,
            dedup_keys_max: limits::DEDUP_KEYS_MAX,
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store { enabled: true, flush_after: Duration::from_secs(30), flush_bytes: 48 << 20, keep_days: BTreeMap::new() }
    }
}

impl Default for Normalise {
    fn default() -> Normalise {
        Normalise { enabled: true, parsers: None }
    }
}

impl Default for Oci {
    fn default() -> Oci {
        Oci { region: "us-ashburn-1".to_owned() }
    }
}

impl Default for Functions {
    fn default() -> Functions {
        Functions {
            enabled: false,
            python: PathBuf::from("python3"),
            processes_max: 64,
            init_timeout: Duration::from_secs(10),
            calls_kept: 10_000,
            egress: Egress::default(),
        }
    }
}

impl Default for Egress {
    fn default() -> Egress {
        Egress {
            enabled: true,
            ca_file: None,
            hosts: BTreeMap::new(),
            allow_private: false,
            timeout: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: limits::MEMORY_BYTES,
            wait_max_ms: limits::WAIT_MAX.as_millis() as u64,
            connections_max: limits::CONNECTIONS_MAX,
            chronicle_ingestion_body_bytes_max: limits::CHRONICLE_INGESTION_BODY_BYTES_MAX,
            chronicle_api_body_bytes_max: limits::CHRONICLE_API_BODY_BYTES_MAX,
            sekoia_body_bytes_max: limits::SEKOIA_BODY_BYTES_MAX,
            sekoia_event_bytes_max: limits::SEKOIA_EVENT_BYTES_MAX,
            oci_body_bytes_max: limits::OCI_BODY_BYTES_MAX,
        }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// The file (if any), then the variables; flags are put over the result by the caller.
    pub fn load(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Config> {
        let mut table = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                // Once as it stands, so that an error shows its line; the variables are put over it after.
                parse(&text).with_context(|| format!("in {}", path.display()))?;
                text.parse::<toml::Table>().with_context(|| format!("in {}", path.display()))?
            }
            None => toml::Table::new(),
        };
        let mut names = Vec::new();
        for (name, value) in env {
            let Some(path) = variable_path(&name) else { continue };
            set(&mut table, &path, &value).with_context(|| format!("in the variable {name}"))?;
            names.push(name);
        }
        // All together: a certificate's variable means nothing without its key's.
        let config = if names.is_empty() {
            from_table(table)?
        } else {
            from_table(table).with_context(|| format!("in the variables {}", names.join(", ")))?
        };
        config.check()?;
        Ok(config)
    }

    /// What types cannot say.
    pub fn check(&self) -> anyhow::Result<()> {
        let Limits {
            memory_bytes,
            chronicle_ingestion_body_bytes_max,
            chronicle_api_body_bytes_max,
            sekoia_body_bytes_max,
            sekoia_event_bytes_max,
            oci_body_bytes_max,
            ..
        } = self.limits;
        // Sekoia's bodies become frames that are hardly longer, the others' may double.
        const DOUBLED: usize = limits::FRAME_BYTES_MAX / 2;
        for (name, bytes_max, frame_bytes_max) in [
            ("chronicle_ingestion_body_bytes_max", chronicle_ingestion_body_bytes_max, DOUBLED),
            ("chronicle_api_body_bytes_max", chronicle_api_body_bytes_max, DOUBLED),
            ("sekoia_body_bytes_max", sekoia_body_bytes_max, SEKOIA_BODY_LIMIT),
            // Each entry becomes an envelope around it.
            ("oci_body_bytes_max", oci_body_bytes_max, OCI_BODY_LIMIT),
        ] {
            if bytes_max > frame_bytes_max {
                bail!(
                    "limits.{name} is {bytes_max}, but a frame of the log holds at most {}: set {} or less",
                    limits::FRAME_BYTES_MAX,
                    frame_bytes_max
                );
            }
            if memory_bytes < bytes_max * 4 {
                bail!(
                    "limits.memory_bytes is {memory_bytes}: too little for one request of {bytes_max} bytes \
                     (limits.{name}), which needs four times its size"
                );
            }
        }
        if sekoia_event_bytes_max == 0 || sekoia_event_bytes_max > sekoia_body_bytes_max {
            bail!(
                "limits.sekoia_event_bytes_max is {sekoia_event_bytes_max}: at least 1 and at most \
                 limits.sekoia_body_bytes_max, which is {sekoia_body_bytes_max}"
            );
        }
        self.check_oci()?;
        self.check_listeners()?;
        if let Some(url) = &self.listen.url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            bail!("listen.url is {url:?}: it begins with http:// or https://, such as https://logs.example.com");
        }
        if let Some(Googleapis { address, allow_remote: false }) = &self.listen.googleapis
            && !address.ip().is_loopback()
        {
            bail!(
                "listen.googleapis.address is {address}, which others can reach: whoever trusts this server's authority \
                 would speak with it as if it were Google. Set listen.googleapis.allow_remote = true if that is meant"
            );
        }
        if let Some(Metadata { address, .. }) = &self.listen.metadata
            && !address.ip().is_loopback()
        {
            bail!(
                "listen.metadata.address is {address}, which others can reach: it gives tokens to whoever asks. Use a \
                 loopback address, such as 127.0.0.1:{}",
                address.port()
            );
        }
        if self.limits.connections_max == 0 {
            bail!("limits.connections_max is 0: nobody could connect; at least 1");
        }
        for name in self.store.keep_days.keys() {
            if name != "*" && dialects::LogType::new(name.as_str(), "").is_err() {
                bail!("store.keep_days.{name:?} is no log type: 2 to 64 of A-Z, 0-9 and _, or \"*\" for all others");
            }
        }
        for directive in self.logging.level.split(',') {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            if level.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
                bail!(
                    "logging.level is {:?}: {level:?} is no level; off, error, warn, info, debug or trace, or \
                     \"info,deliver=debug\"",
                    self.logging.level
                );
            }
        }
        if self.log.segment_bytes < 1 << 16 {
            bail!("log.segment_bytes is {}: at least 65536", self.log.segment_bytes);
        }
        if self.store.flush_bytes < 1 << 16 {
            bail!("store.flush_bytes is {}: at least 65536", self.store.flush_bytes);
        }
        if !self.listen.address.ip().is_loopback() && self.listen.tls.is_none() && !self.listen.allow_plain {
            bail!(
                "listen.address is {}, which others can reach, but there is no [listen.tls] with cert and key; credentials \
                 and logs would cross the network in the clear. Set listen.tls, or listen.allow_plain = true if a proxy \
                 in front ends TLS",
                self.listen.address
            );
        }
        Ok(())
    }
}

/// The largest `limits.oci_body_bytes_max`: entries of a byte become envelopes of some hundred.
const OCI_BODY_LIMIT: usize = limits::FRAME_BYTES_MAX - limits::OCI_ENTRIES_MAX * 600;

/// The largest `limits.sekoia_body_bytes_max`: its frame has a few bytes for each event beside the body's.
const SEKOIA_BODY_LIMIT: usize = limits::FRAME_BYTES_MAX - limits::SEKOIA_EVENTS_MAX * 16;

impl Config {
    fn check_oci(&self) -> anyhow::Result<()> {
        let Config { oci: Oci { region }, functions, .. } = self;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=40).contains(&region.len()) || !region.bytes().all(fits) {
            bail!("oci.region is {region:?}: 1 to 40 of a-z, 0-9 and -, such as \"us-ashburn-1\"");
        }
        if functions.processes_max == 0 {
            bail!("functions.processes_max is 0: no function could run; at least 1, or functions.enabled = false");
        }
        for (host, address) in &functions.egress.hosts {
            if address.parse::<SocketAddr>().is_err() {
                bail!(
                    "functions.egress.hosts has {host:?} = {address:?}: an address with a port, such as \
                     \"127.0.0.1:9443\""
                );
            }
        }
        Ok(())
    }

    fn check_listeners(&self) -> anyhow::Result<()> {
        let Listen { tls, serve, also, syslog, relp, plain_syslog, .. } = &self.listen;
        check_serve("listen.serve", serve)?;
        for (index, also) in also.iter().enumerate() {
            check_serve(&format!("listen.also[{index}].serve"), &also.serve)?;
            if !also.address.ip().is_loopback() && also.tls.is_none() && !also.allow_plain {
                bail!(
                    "listen.also[{index}].address is {}, which others can reach, but it has no tls with cert and key; set \
                     it, or allow_plain = true if a proxy in front ends TLS",
                    also.address
                );
            }
        }
        for (name, keyed) in [("syslog", syslog), ("relp", relp)] {
            if keyed.as_ref().is_some_and(|keyed| keyed.tls.is_none() && tls.is_none()) {
                bail!(
                    "listen.{name} has no certificate: set listen.{name}.tls, or listen.tls, with cert and key. Lines \
                     carry intake keys, which must not cross a network in the clear"
                );
            }
        }
        for (index, plain) in plain_syslog.iter().enumerate() {
            if plain.intake.is_empty() {
                bail!("listen.plain_syslog[{index}].intake is empty: the id that `penstock intake list` shows");
            }
            if !plain.address.ip().is_loopback() && !plain.allow_plain {
                bail!(
                    "listen.plain_syslog[{index}].address is {}: everybody who reaches it can write to the intake, and \
                     read along. Set allow_plain = true there if that is meant",
                    plain.address
                );
            }
        }
        Ok(())
    }
}

fn check_serve(name: &str, serve: &[String]) -> anyhow::Result<()> {
    let dialects = dialects::all();
    let known: Vec<&str> = dialects.iter().map(|dialect| dialect.name()).chain([SERVE_API]).collect();
    match serve.iter().find(|serve| !known.contains(&serve.as_str())) {
        None => Ok(()),
        Some(unknown) => bail!("{name} has {unknown:?}: it takes {}", known.join(", ")),
    }
}

/// `PENSTOCK_STORE__ENABLED` → `store.enabled`. One underscore belongs to a name, two separate. Variables that the command
/// line reads itself are none of the file's business.
fn variable_path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix("PENSTOCK_")?;
    if !rest.contains("__") {
        return None;
    }
    let mut path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    // Below keep_days stand log types, whose names are upper case.
    if let [.., above, last] = path.as_mut_slice()
        && above == "keep_days"
    {
        *last = last.to_ascii_uppercase();
    }
    Some(path)
}

fn set(table: &mut toml::Table, path: &[String], value: &str) -> anyhow::Result<()> {
    let (last, above) = path.split_last().expect("a split gives at least one part");
    let mut table = table;
    for name in above {
        let entry = table.entry(name.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().with_context(|| format!("{name} is no section"))?;
    }
    // A number or true is one; all else is a text, so that nobody has to quote a path.
    let literal = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut parsed| parsed.remove("v"));
    table.insert(last.clone(), literal.unwrap_or_else(|| toml::Value::String(value.to_owned())));
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Config> {
    toml::from_str::<Config>(text).map_err(|error| explain(&error))
}

fn from_table(table: toml::Table) -> anyhow::Result<Config> {
    toml::Value::Table(table).try_into::<Config>().map_err(|error| explain(&error))
}

/// serde's "unknown field, expected one of …" with the nearest of them named.
fn explain(error: &toml::de::Error) -> anyhow::Error {
    let text = error.message().to_owned();
    let mut quoted = text.split('`').skip(1).step_by(2);
    let nearest = (text.starts_with("unknown field") || text.starts_with("unknown variant"))
        .then(|| {
            let found = quoted.next()?;
            quoted
                .map(|known| (strsim::damerau_levenshtein(found, known), known))
                .min()
                .filter(|(distance, known)| *distance <= 1.max(known.len() / 3))
                .map(|(_, known)| format!("did you mean `{known}`?"))
        })
        .flatten();
    match nearest {
        Some(hint) => anyhow::anyhow!("{}\n{hint}", error.to_string().trim_end()),
        None => anyhow::anyhow!("{}", error.to_string().trim_end()),
    }
}

/// `"250ms"`, `"30s"`, `"15m"`, `"24h"`, `"7d"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("a duration is a number with ms, s, m, h or d, such as \"30s\", not {text:?}")),
    };
    let number: u64 = number.parse().map_err(|_| format!("a duration begins with a number, not {text:?}"))?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => parse_duration(&text).map_err(serde::de::Error::custom),
        other => Err(serde::de::Error::custom(format!(
            "a duration is a text such as \"30s\", \"15m\", \"24h\" or \"7d\", not {other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("penstock.toml");
        std::fs::write(&path, text).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(&path), env).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config = load("", &[]).unwrap();
        assert_eq!(config.listen.address.to_string(), "127.0.0.1:8480");
        assert_eq!(config.log.keep, Duration::from_secs(7 * 86_400));
        assert!(config.store.enabled);
    }

    #[test]
    fn a_section_makes_a_listener() {
        assert!(load("", &[]).unwrap().listen.googleapis.is_none() && load("", &[]).unwrap().listen.metadata.is_none());
        let googleapis = load("[listen.googleapis]\n", &[]).unwrap().listen.googleapis.unwrap();
        assert_eq!((googleapis.address.to_string().as_str(), googleapis.allow_remote), ("127.0.0.1:8481", false));
        let remote = [("PENSTOCK_LISTEN__GOOGLEAPIS", "{ address = \"0.0.0.0:443\", allow_remote = true }")];
        assert_eq!(load("", &remote).unwrap().listen.googleapis.unwrap().address.port(), 443);
        let metadata = [("PENSTOCK_LISTEN__METADATA__ACCOUNT", "sa@p.iam.gserviceaccount.com")];
        let metadata = load("", &metadata).unwrap().listen.metadata.unwrap();
        assert_eq!(metadata.address.to_string(), "127.0.0.1:8482");
        assert_eq!(metadata.account, "sa@p.iam.gserviceaccount.com");
        assert!(load("[listen.metadata]\naccount = \"a@b\"\naddress = \"[::1]:0\"\n", &[]).is_ok());
    }

    #[test]
    fn variables_go_over_the_file() {
        let config = load(
            "[log]\nkeep = \"1d\"\n[store]\nkeep_days = { OKTA = 30, \"*\" = 365 }\n",
            &[("PENSTOCK_STORE__ENABLED", "false"), ("PENSTOCK_LOG__KEEP", "2h"), ("PENSTOCK_TOKEN", "not ours")],
        )
        .unwrap();
        assert_eq!((config.store.enabled, config.log.keep), (false, Duration::from_secs(7_200)));
        assert_eq!(config.store.keep_days["OKTA"], 30);
        let tls = [("PENSTOCK_LISTEN__TLS__CERT", "a.pem"), ("PENSTOCK_LISTEN__TLS__KEY", "b.pem")];
        assert_eq!(load("", &tls).unwrap().listen.tls.unwrap().key, Path::new("b.pem"));
        assert_eq!(load("", &[("PENSTOCK_STORE__KEEP_DAYS__OKTA", "3")]).unwrap().store.keep_days["OKTA"], 3);
    }

    #[test]
    fn errors_name_the_place_and_what_to_do() {
        let cases = [
            ("[intake]\non_invald = \"refuse\"\n", "did you mean `on_invalid`?"),
            ("[intake]\non_invald = \"refuse\"\n", "line 2"),
            ("[intake]\non_invalid = \"quarantin\"\n", "did you mean `quarantine`?"),
            ("[storre]\n", "did you mean `store`?"),
            ("[log]\nkeep = \"7 weeks\"\n", "a duration is a number with"),
            ("[listen]\naddress = \"0.0.0.0:80\"\n", "listen.allow_plain"),
            ("[limits]\nmemory_bytes = 1000\n", "too little for one request of 1048576 bytes (limits."),
            ("[log]\nsync = 0\n", "say \"always\""),
            ("[log]\nsync = \"sometimes\"\n", "say \"always\""),
            ("[log]\nkeep = 7\n", "a duration is a text such as"),
            ("[listen]\naddress = \"127.0.0.1:1\"\nurl = \"logs.example.com\"\n", "begins with http"),
            ("[limits]\nconnections_max = 0\n", "at least 1"),
            ("[store]\nkeep_days = { okta = 3 }\n", "is no log type"),
            ("[logging]\nlevel = \"loud\"\n", "is no level"),
            ("data = 5\n", "expected path string"),
            ("[listen.googleapis]\naddress = \"0.0.0.0:8481\"\n", "listen.googleapis.allow_remote"),
            ("[listen.googleapis]\nallow_remot = true\n", "did you mean `allow_remote`?"),
            ("[listen.metadata]\naddress = \"127.0.0.1:8482\"\n", "missing field `account`"),
            ("[listen.metadata]\naccount = \"a@b\"\naddress = \"192.0.2.1:8482\"\n", "Use a loopback address"),
            ("[listen.metadata]\naccount = \"a@b\"\naddress = \"0.0.0.0:8482\"\n", "Use a loopback address"),
            ("[listen]\nserve = [\"sekoja\"]\n", "it takes chronicle_ingestion, "),
            ("[[listen.also]]\naddress = \"0.0.0.0:1\"\n", "allow_plain = true"),
            ("[[listen.also]]\naddress = \"127.0.0.1:1\"\nserve = [\"x\"]\n", "listen.also[0].serve"),
            ("[listen.syslog]\n", "listen.syslog has no certificate"),
            ("[listen.relp]\naddress = \"127.0.0.1:1\"\n", "listen.relp has no certificate"),
            ("[[listen.plain_syslog]]\naddress = \"127.0.0.1:1\"\ntransport = \"udp\"\n", "missing field `intake`"),
            (
                "[[listen.plain_syslog]]\naddress = \"0.0.0.0:1\"\ntransport = \"udp\"\nintake = \"i\"\n",
                "everybody who reaches it",
            ),
            (
                "[[listen.plain_syslog]]\naddress = \"127.0.0.1:1\"\ntransport = \"tls\"\nintake = \"i\"\n",
                "unknown variant `tls`",
            ),
            ("[limits]\nsekoia_event_bytes_max = 0\n", "at least 1"),
            ("[limits]\nsekoia_body_bytes_max = 99999999\n", "a frame of the log holds at most"),
        ];
        for (text, expected) in cases {
            let error = load(text, &[]).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let error = load("", &[("PENSTOCK_STORE__ENABLE", "true")]).unwrap_err();
        assert!(error.contains("PENSTOCK_STORE__ENABLE") && error.contains("did you mean `enabled`?"), "{error}");
    }
}
