//! `penstock connector` and `penstock dlq`.

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::manage::{items, of_instance, segment};
use super::{CliError, Client, ConnectorCommand, DlqCommand, Named};

const COLUMNS: &[(&str, &str)] = &[
    ("NAME", "/name"),
    ("STATE", "/status/state"),
    ("TARGET", "/target/url"),
    ("READ", "/status/read"),
    ("WRITTEN", "/status/written"),
    ("ERRORS", "/status/errors"),
    ("DEAD LETTERS", "/status/dead_letters"),
    ("LAG BYTES", "/status/lag_bytes"),
    ("REASON", "/status/reason"),
    ("INSTANCE", "/instance"),
];
const LETTER_COLUMNS: &[(&str, &str)] =
    &[("ID", "/id"), ("RECEIVED", "/received_at"), ("STATUS", "/status"), ("REASON", "/reason")];

/// `penstock connector create`
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Its name: letters, digits, - and _
    #[arg(long)]
    name: String,
    /// Where to POST batches to
    #[arg(long)]
    url: String,
    /// Header to send, as `Name: value`; may be given several times; values are never shown again
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Form of the body
    #[arg(long, default_value = "json", value_parser = ["json", "ndjson"])]
    format: String,
    /// Compress bodies
    #[arg(long)]
    gzip: bool,
    /// Only these kinds: raw, udm, entity; of the latter two also what parsers make of raw logs [default: each record as it was
    /// sent; with a UDM query, udm and entity]
    #[arg(long = "kind", value_parser = ["raw", "udm", "entity"])]
    kinds: Vec<String>,
    /// Only this log type; may be given several times
    #[arg(long = "log-type")]
    log_types: Vec<String>,
    /// Only what this search finds
    #[arg(long)]
    query: Option<String>,
    /// Language of --query
    #[arg(long, default_value = "udm", value_parser = ["udm", "raw"], requires = "query")]
    language: String,
    /// Where to begin: with what comes from now on, or with the oldest that the log has
    #[arg(long, default_value = "now", value_parser = ["now", "oldest"])]
    start: String,
    /// Most bytes of a body before compression [default: 1000000]
    #[arg(long)]
    batch_bytes: Option<u64>,
    /// Most records of a body [default: 1000]
    #[arg(long)]
    batch_records: Option<u64>,
    /// Longest wait for a batch to fill, in milliseconds [default: 1000]
    #[arg(long)]
    batch_wait_ms: Option<u64>,
    /// Longest time for one attempt, in milliseconds [default: 90000]
    #[arg(long)]
    timeout_ms: Option<u64>,
    /// Make it, but do not start it
    #[arg(long)]
    inactive: bool,
    /// Its instance [default: the only one there is]
    #[arg(long)]
    instance: Option<String>,
}

pub async fn run(client: &Client, command: ConnectorCommand) -> Result<(), CliError> {
    match command {
        ConnectorCommand::Create(args) => {
            let made = client.call(Method::POST, "/api/connectors", Some(&document(&args)?)).await?;
            client.format.one(&made);
        }
        ConnectorCommand::List { instance } => {
            let all = client.call(Method::GET, &of_instance("/api/connectors", instance.as_deref()), None).await?;
            client.format.list(items(&all), COLUMNS, "There is no connector.");
        }
        ConnectorCommand::Show(named) => {
            client.format.one(&client.call(Method::GET, &path(&named, ""), None).await?);
        }
        ConnectorCommand::Activate(named) => {
            client.call(Method::POST, &path(&named, ":activate"), None).await?;
            client.format.remark(&format!("Connector {} is active.", named.name));
        }
        ConnectorCommand::Deactivate(named) => {
            client.call(Method::POST, &path(&named, ":deactivate"), None).await?;
            client.format.remark(&format!("Connector {} is inactive; it keeps its place in the log.", named.name));
        }
        ConnectorCommand::Acknowledge(named) => {
            client.call(Method::POST, &path(&named, ":acknowledge"), None).await?;
            client.format.remark(&format!("The lost ranges of connector {} are taken note of.", named.name));
        }
        ConnectorCommand::Delete(named) => {
            client.call(Method::DELETE, &path(&named, ""), None).await?;
            client.format.remark(&format!("Connector {} is deleted.", named.name));
        }
    }
    Ok(())
}

pub async fn dead_letters(client: &Client, command: DlqCommand) -> Result<(), CliError> {
    match command {
        DlqCommand::List { connector, limit } => {
            let letters = letters(client, &connector, limit).await?;
            client.format.list(items(&letters), LETTER_COLUMNS, "There is no dead letter.");
        }
        DlqCommand::Show { connector, id } => {
            let letters = letters(client, &connector, usize::MAX).await?;
            let letter = items(&letters).iter().find(|letter| letter["id"].as_str() == Some(&id));
            let letter = letter.ok_or_else(|| CliError::Refused(format!("there is no dead letter {id}")))?;
            client.format.one(letter);
        }
        DlqCommand::Retry { connector, id } => {
            settle(client, &connector, &id, "retry", "will be delivered again").await?
        }
        DlqCommand::Drop { connector, id } => settle(client, &connector, &id, "drop", "dropped").await?,
    }
    Ok(())
}

async fn letters(client: &Client, connector: &Named, limit: usize) -> Result<Value, CliError> {
    let mut path = path(connector, "/dead-letters");
    path.push_str(if path.contains('?') { "&" } else { "?" });
    path.push_str(&format!("limit={limit}"));
    client.call(Method::GET, &path, None).await
}

async fn settle(client: &Client, connector: &Named, ids: &[String], verb: &str, done: &str) -> Result<(), CliError> {
    let body = if ids.is_empty() { json!({}) } else { json!({ "ids": ids }) };
    let path = path(connector, &format!("/dead-letters:{verb}"));
    let answer = client.call(Method::POST, &path, Some(&body)).await?;
    let count = answer["count"].as_u64().unwrap_or(0);
    if count == 0 && !ids.is_empty() {
        return Err(CliError::Refused(format!("no dead letter of connector {} has these ids", connector.name)));
    }
    match client.format {
        super::Format::Table => {
            let noun = if count == 1 { "dead letter" } else { "dead letters" };
            client.format.remark(&format!("{count} {noun}: {done}."));
        }
        format => format.one(&answer),
    }
    Ok(())
}

fn path(named: &Named, rest: &str) -> String {
    of_instance(&format!("/api/connectors/{}{rest}", segment(&named.name)), named.instance.as_deref())
}

fn document(args: &CreateArgs) -> Result<Value, CliError> {
    let mut headers = Map::new();
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':') else {
            return Err(CliError::Usage(format!("--header {header:?}: write it as 'Name: value'")));
        };
        headers.insert(name.trim().to_owned(), json!(value.trim()));
    }
    let mut target = json!({
        "type": "http", "url": args.url, "headers": headers, "format": args.format, "gzip": args.gzip,
    });
    let settings = [
        ("batch_bytes_max", args.batch_bytes),
        ("batch_records_max", args.batch_records),
        ("batch_wait_ms", args.batch_wait_ms),
        ("timeout_ms", args.timeout_ms),
    ];
    for (name, value) in settings {
        if let Some(value) = value {
            target[name] = json!(value);
        }
    }
    let mut source = json!({ "kinds": args.kinds, "log_types": args.log_types });
    if let Some(query) = &args.query {
        source["query"] = json!(query);
        source["language"] = json!(args.language);
    }
    let mut document = json!({
        "name": args.name,
        "state": if args.inactive { "inactive" } else { "active" },
        "source": source,
        "start": args.start,
        "target": target,
    });
    if let Some(instance) = &args.instance {
        document["instance"] = json!(instance);
    }
    Ok(document)
}
