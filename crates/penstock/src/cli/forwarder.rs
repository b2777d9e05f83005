//! `penstock forwarder`: what logs come through, with their collectors. Verbs and flags of Google's `secops forwarder`;
//! besides, `--log-type`, since a forwarder without a collector takes nothing in particular.
//!
//! Settings go as they are given: which there are, the receiver knows, and it names what it does not know.

use clap::{Args, Subcommand};
use http::Method;
use penstock_client::{Chronicle, Collector, Forwarder};
use serde_json::{Map, Value, json};

use super::output::Format;
use super::target::{Patience, Target, TargetArgs};
use super::{CliError, Remote};

const COLUMNS: &[(&str, &str)] = &[
    ("ID", "/id"),
    ("NAME", "/displayName"),
    ("STATE", "/state"),
    ("LOG TYPES", "/logTypes"),
    ("CREATED", "/createTime"),
];

/// What Google's library calls the forwarder that it makes for itself.
const SDK_FORWARDER: &str = "Wrapper-SDK-Forwarder";

/// `penstock forwarder`
#[derive(Debug, Subcommand)]
pub enum ForwarderCommand {
    /// Make a forwarder
    #[command(after_help = "Examples:
  penstock forwarder create --display-name 'Branch office' --log-type BIND_DNS
  penstock forwarder create --display-name Lab --metadata '{\"asset_namespace\": \"lab\", \"labels\": {\"site\": \"zurich\"}}'
  penstock forwarder create --display-name Quiet \\
      --regex-filters '[{\"description\": \"no health checks\", \"regexp\": \"GET /healthz\", \"behavior\": \"BLOCK\"}]'

A log type that is not listed becomes one of the instance's own by this.")]
    Create {
        /// Its name for people
        #[arg(long, alias = "display_name")]
        display_name: String,
        /// Make a collector of this log type with it
        #[arg(long, alias = "log_type", value_name = "TYPE")]
        log_type: Option<String>,
        #[command(flatten)]
        settings: Box<Settings>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Change a forwarder: what is given, and nothing else; --metadata and --regex-filters replace the whole of it
    #[command(after_help = "Example:
  penstock forwarder update --id ID --display-name 'Head office' --upload-compression true")]
    Update {
        /// Its id
        #[arg(long)]
        id: String,
        /// Its new name for people
        #[arg(long, alias = "display_name")]
        display_name: Option<String>,
        #[command(flatten)]
        settings: Box<Settings>,
        /// Fields to change, with commas between [default: those that are given]
        #[arg(long, alias = "update_mask", value_name = "FIELDS")]
        update_mask: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// List forwarders with the log types of their collectors
    List {
        #[command(flatten)]
        pages: Pages,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show a forwarder with its collectors
    Get {
        /// Its id
        #[arg(long)]
        id: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show the forwarder of a name or for a log type; make it if there is none
    #[command(after_help = "Examples:
  penstock forwarder get-or-create --log-type WINDOWS_EVENT_LOG
  penstock forwarder get-or-create --display-name 'Branch office' --log-type BIND_DNS")]
    GetOrCreate {
        /// Its name for people [default: with --log-type any that has a collector of it, else Wrapper-SDK-Forwarder]
        #[arg(long, alias = "display_name")]
        display_name: Option<String>,
        /// It has, or gets, a collector of this log type
        #[arg(long, alias = "log_type", value_name = "TYPE")]
        log_type: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete a forwarder and its collectors
    Delete {
        /// Its id
        #[arg(long)]
        id: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

/// Settings of a forwarder.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// What is attached to its logs (JSON): asset_namespace and labels
    #[arg(long, value_name = "JSON", value_parser = json_value)]
    metadata: Option<Value>,
    /// Whether a forwarder program compresses what it uploads
    #[arg(long, alias = "upload_compression", value_name = "BOOL", value_parser = clap::value_parser!(bool))]
    upload_compression: Option<bool>,
    /// Whether a forwarder program has a server of its own
    #[arg(long, alias = "enable_server", value_name = "BOOL", value_parser = clap::value_parser!(bool))]
    enable_server: Option<bool>,
    /// What it lets through (JSON): a list of description, regexp and behavior
    #[arg(long, alias = "regex_filters", value_name = "JSON", value_parser = json_value)]
    regex_filters: Option<Value>,
    /// After which time its server says that it is not ready, such as 15s
    #[arg(long, alias = "graceful_timeout", value_name = "DURATION")]
    graceful_timeout: Option<String>,
    /// How long its server waits for connections to end, such as 10s
    #[arg(long, alias = "drain_timeout", value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// Settings of its server (JSON)
    #[arg(long, alias = "http_settings", value_name = "JSON", value_parser = json_value)]
    http_settings: Option<Value>,
}

/// Which part of a list.
#[derive(Debug, Clone, Args)]
pub struct Pages {
    /// Only one page, of this many
    #[arg(long, alias = "page_size", value_name = "N")]
    page_size: Option<u32>,
    /// The page that this token of the page before leads to
    #[arg(long, alias = "page_token", value_name = "TOKEN")]
    page_token: Option<String>,
}

impl Settings {
    /// The forwarder's `config`, and the paths in it for an update's mask.
    fn config(&self) -> (Value, Vec<&'static str>) {
        let (mut config, mut server) = (Map::new(), Map::new());
        let mut mask = Vec::new();
        let mut set = |fields: &mut Map<String, Value>, key: &str, path, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value);
                mask.push(path);
            }
        };
        set(&mut config, "uploadCompression", "config.upload_compression", self.upload_compression.map(Value::from));
        set(&mut config, "metadata", "config.metadata", self.metadata.clone());
        set(&mut config, "regexFilters", "config.regex_filters", self.regex_filters.clone());
        let text = |value: &Option<String>| value.clone().map(Value::from);
        set(&mut server, "enabled", "config.server_settings.enabled", self.enable_server.map(Value::from));
        set(&mut server, "gracefulTimeout", "config.server_settings.graceful_timeout", text(&self.graceful_timeout));
        set(&mut server, "drainTimeout", "config.server_settings.drain_timeout", text(&self.drain_timeout));
        set(&mut server, "httpSettings", "config.server_settings.http_settings", self.http_settings.clone());
        if !server.is_empty() {
            config.insert("serverSettings".to_owned(), Value::Object(server));
        }
        (Value::Object(config), mask)
    }
}

impl Pages {
    /// The query that asks for one page; `None` when all are wanted.
    pub fn query(&self) -> Option<Vec<(&'static str, String)>> {
        let size = self.page_size.map(|size| ("pageSize", size.to_string()));
        let token = self.page_token.clone().map(|token| ("pageToken", token));
        let query: Vec<_> = size.into_iter().chain(token).collect();
        Some(query).filter(|query| !query.is_empty())
    }
}

pub async fn run(remote: &Remote, command: ForwarderCommand) -> Result<(), CliError> {
    match command {
        ForwarderCommand::Create { display_name, log_type, settings, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            let body = json!({ "displayName": display_name, "config": settings.config().0 });
            let made: Forwarder = on.read(on.call(Method::POST, "forwarders", &[], Some(&body)).await?)?;
            if let Some(log_type) = log_type {
                on.add_collector(&made, &display_name, &log_type).await?;
            }
            on.show(&made).await
        }
        ForwarderCommand::Update { id, display_name, settings, update_mask, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            let (config, mut mask) = settings.config();
            let mut body = json!({ "config": config });
            if let Some(display_name) = display_name {
                body["displayName"] = Value::from(display_name);
                mask.insert(0, "display_name");
            }
            let mask = update_mask.unwrap_or_else(|| mask.join(","));
            if mask.is_empty() {
                return Err(CliError::Usage("nothing is to be changed: give --display-name or a setting".to_owned()));
            }
            let path = on.path(&id)?;
            let changed = on.call(Method::PATCH, &path, &[("updateMask", &mask)], Some(&body)).await?;
            on.show(&on.read(changed)?).await
        }
        ForwarderCommand::List { pages, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            on.list(&pages).await
        }
        ForwarderCommand::Get { id, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            let path = on.path(&id)?;
            on.show(&on.read(on.call(Method::GET, &path, &[], None).await?)?).await
        }
        ForwarderCommand::GetOrCreate { display_name, log_type, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            let found = on.get_or_create(display_name.as_deref(), log_type.as_deref()).await?;
            on.show(&found).await
        }
        ForwarderCommand::Delete { id, target } => {
            let on = Forwarders::connect(remote, &target).await?;
            let path = on.path(&id)?;
            on.call(Method::DELETE, &path, &[], None).await?;
            on.target.format.remark(&format!("Forwarder {id} is deleted."));
            Ok(())
        }
    }
}

/// The forwarders of an instance.
struct Forwarders {
    target: Target,
    chronicle: Chronicle,
}

impl Forwarders {
    async fn connect(remote: &Remote, args: &TargetArgs) -> Result<Forwarders, CliError> {
        let target = Target::connect(remote, args).await?;
        let chronicle = target.chronicle(Patience::None)?;
        Ok(Forwarders { target, chronicle })
    }

    fn path(&self, id: &str) -> Result<String, CliError> {
        self.target.path_of(&self.chronicle, "forwarders", id)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        self.target.call(&self.chronicle, method, path, query, body).await
    }

    fn read(&self, forwarder: Value) -> Result<Forwarder, CliError> {
        serde_json::from_value(forwarder).map_err(|error| {
            CliError::Refused(format!("{} answered something that is no forwarder: {error}", self.target.address))
        })
    }

    async fn collectors(&self, forwarder: &Forwarder) -> Result<Vec<Collector>, CliError> {
        self.chronicle.list_collectors(&forwarder.name).await.map_err(|error| self.target.failed(&error))
    }

    async fn add_collector(&self, forwarder: &Forwarder, display_name: &str, log_type: &str) -> Result<(), CliError> {
        match self.chronicle.create_collector(&forwarder.name, display_name, log_type).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = self.target.failed(&error);
                let id = forwarder.id();
                Err(CliError::Refused(format!("the forwarder {id} is there, but its collector was not made: {why}")))
            }
        }
    }

    async fn get_or_create(&self, display_name: Option<&str>, log_type: Option<&str>) -> Result<Forwarder, CliError> {
        let (name, log_type) = match (display_name, log_type) {
            (None, Some(log_type)) => {
                let found = self.chronicle.get_or_create_forwarder(log_type).await;
                return found.map_err(|error| self.target.failed(&error));
            }
            (name, log_type) => (name.unwrap_or(SDK_FORWARDER), log_type),
        };
        let all = self.chronicle.list_forwarders().await.map_err(|error| self.target.failed(&error))?;
        let forwarder = match all.into_iter().find(|forwarder| forwarder.display_name == name) {
            Some(found) => found,
            None => {
                let body = json!({ "displayName": name, "config": {} });
                self.read(self.call(Method::POST, "forwarders", &[], Some(&body)).await?)?
            }
        };
        if let Some(log_type) = log_type
            && !self.collectors(&forwarder).await?.iter().any(|collector| collector.log_type() == log_type)
        {
            self.add_collector(&forwarder, name, log_type).await?;
        }
        Ok(forwarder)
    }

    async fn list(&self, pages: &Pages) -> Result<(), CliError> {
        let (forwarders, next) = match pages.query() {
            None => {
                let all = self.chronicle.list_forwarders().await;
                (all.map_err(|error| self.target.failed(&error))?, None)
            }
            Some(query) => {
                let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let mut page = self.call(Method::GET, "forwarders", &query, None).await?;
                let list = match page["forwarders"].take() {
                    Value::Array(list) => list,
                    _ => Vec::new(),
                };
                let forwarders: Result<_, _> = list.into_iter().map(|forwarder| self.read(forwarder)).collect();
                (forwarders?, page["nextPageToken"].as_str().map(str::to_owned))
            }
        };
        let mut shown = Vec::new();
        for forwarder in &forwarders {
            shown.push(document(forwarder, &self.collectors(forwarder).await?, self.target.format));
        }
        self.target.format.list(&shown, COLUMNS, "There is no forwarder.");
        if let Some(next) = next {
            self.target.format.remark(&format!("There are more: --page-token {next}"));
        }
        Ok(())
    }

    async fn show(&self, forwarder: &Forwarder) -> Result<(), CliError> {
        let collectors = self.collectors(forwarder).await?;
        self.target.format.one(&document(forwarder, &collectors, self.target.format));
        Ok(())
    }
}

/// What is shown of a forwarder. Programs get Google's fields and the collectors with them.
fn document(forwarder: &Forwarder, collectors: &[Collector], format: Format) -> Value {
    let mut document = serde_json::to_value(forwarder).expect("a forwarder is always JSON");
    if format == Format::Table {
        let log_types: Vec<&str> =
            collectors.iter().map(Collector::log_type).filter(|log_type| !log_type.is_empty()).collect();
        let mut shown = json!({
            "id": forwarder.id(), "displayName": forwarder.display_name, "state": forwarder.state,
            "logTypes": log_types, "createTime": forwarder.create_time,
        });
        if forwarder.config.as_object().is_some_and(|config| !config.is_empty()) {
            shown["config"] = document["config"].take();
        }
        return shown;
    }
    document["collectors"] = json!(collectors);
    document
}

/// An argument that is JSON.
pub fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}
