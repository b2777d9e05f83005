//! `penstock intake`: named ways in of Sekoia's kind, each with a key that says whose it is and of which log type.
//!
//! Asks our own API, since Sekoia's for this is none of those that senders speak.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::manage::{items, of_instance, segment};
use super::output::{Column, Format};
use super::{CliError, Client};

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("FORMAT", "/format"),
    ("LOG TYPE", "/log_type"),
    ("NAMESPACE", "/namespace"),
    ("INSTANCE", "/instance"),
    ("DISABLED", "/disabled"),
    ("CREATED", "/created_at"),
];

/// `penstock intake`
#[derive(Debug, Subcommand)]
pub enum IntakeCommand {
    /// Make an intake; its key is shown once
    #[command(after_help = "Examples:
  penstock intake create --name 'Resolvers in Paris' --format UNBOUND_DNS
  penstock intake create --name gate --format 'Fortinet FortiGate' --namespace lab -o json

The format names the log type of what comes in. In place of a log type that is known (`penstock log-type list --grep
TEXT`) it may be any name: FORTINET_FORTIGATE is then a log type of the instance's own.")]
    Create {
        /// Name for people
        #[arg(long)]
        name: String,
        /// What is sent by it: a log type in any case, or a name that becomes one
        #[arg(long)]
        format: String,
        /// Its instance [default: the only one there is]
        #[arg(long)]
        instance: Option<String>,
        /// Namespace of what comes by it
        #[arg(long)]
        namespace: Option<String>,
    },
    /// List intakes, without their keys
    List {
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
    /// Show one intake, without its key
    Show {
        /// Its id
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Give an intake a new key, which is shown once; the old one ends at once
    #[command(after_help = "Example:
  penstock intake rotate intake-5c1f20a4be97 -o json | jq -r .intake_key > intake.key")]
    Rotate {
        /// Its id
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Let an intake take no more data
    Disable {
        /// Its id
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Let an intake take data again, by the key that it has
    Enable {
        /// Its id
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
    },
    /// End an intake and its key; what came by it stays
    Delete {
        /// Its id
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        id: String,
    },
}

/// `penstock intake`
pub async fn run(client: &Client, command: IntakeCommand) -> Result<(), CliError> {
    match command {
        IntakeCommand::Create { name, format, instance, namespace } => {
            let body = json!({ "name": name, "format": format, "instance": instance, "namespace": namespace });
            let made = client.call(Method::POST, "/api/intakes", Some(&body)).await?;
            show_with_key(client, &made);
            if made["declared"] == Value::Bool(true) {
                client.format.remark(&declared(&made));
            }
        }
        IntakeCommand::List { instance } => {
            let all = client.call(Method::GET, &of_instance("/api/intakes", instance.as_deref()), None).await?;
            client.format.list(items(&all), COLUMNS, "There is no intake.");
        }
        IntakeCommand::Show { id } => client.format.one(&client.call(Method::GET, &path(&id), None).await?),
        IntakeCommand::Rotate { id } => {
            let made = client.call(Method::POST, &format!("{}:rotate", path(&id)), None).await?;
            show_with_key(client, &made);
        }
        IntakeCommand::Disable { id } => set(client, &id, "disable", "takes no more data").await?,
        IntakeCommand::Enable { id } => set(client, &id, "enable", "takes data").await?,
        IntakeCommand::Delete { id } => {
            client.call(Method::DELETE, &path(&id), None).await?;
            client.format.remark(&format!("Intake {id} is deleted."));
        }
    }
    Ok(())
}

fn show_with_key(client: &Client, made: &Value) {
    client.format.one(made);
    client.format.remark(&format!(
        "The intake_key is shown this once. Senders POST to {}/plain, /plain/batch or /jsons with it in the header \
         X-SEKOIAIO-INTAKE-KEY, as the password of Basic authentication or as ?intake_key=, or to /, /batch or /array \
         with intake_key in the body.",
        client.base()
    ));
}

fn declared(made: &Value) -> String {
    let log_type = made["log_type"].as_str().unwrap_or_default();
    let nearest: Vec<&str> = items(&made["nearest"]).iter().filter_map(Value::as_str).collect();
    let declared = format!("There was no log type {log_type}; it is now one of the instance's own.");
    if nearest.is_empty() { declared } else { format!("{declared} The nearest built-in ones: {}.", nearest.join(", ")) }
}

async fn set(client: &Client, id: &str, verb: &str, done: &str) -> Result<(), CliError> {
    let changed = client.call(Method::POST, &format!("{}:{verb}", path(id)), None).await?;
    match client.format {
        Format::Table => client.format.remark(&format!("Intake {id} {done}.")),
        format => format.one(&changed),
    }
    Ok(())
}

fn path(id: &str) -> String {
    format!("/api/intakes/{}", segment(id))
}
