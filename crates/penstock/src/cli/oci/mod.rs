//! `penstock oci`: what the `oci` command has no verb for (replaying records, making compartments without a region to ask), and
//! short lists of what it makes. Everything else is done with the `oci` command itself.

pub mod replay;
pub mod tenancy;

use clap::Subcommand;
use http::Method;
use serde_json::json;

use self::tenancy::{InstanceArg, Tenancy, text};
use super::manage::segment;
use super::output::Column;
use super::{CliError, Client};

const COMPARTMENT_COLUMNS: &[Column] =
    &[("NAME", "/name"), ("ID", "/id"), ("PARENT", "/compartmentId"), ("STATE", "/lifecycleState")];
const GROUP_COLUMNS: &[Column] =
    &[("NAME", "/displayName"), ("ID", "/id"), ("COMPARTMENT", "/compartmentId"), ("CREATED", "/timeCreated")];
const LOG_COLUMNS: &[Column] = &[
    ("NAME", "/displayName"),
    ("TYPE", "/logType"),
    ("SERVICE", "/configuration/source/service"),
    ("ENABLED", "/isEnabled"),
    ("ID", "/id"),
    ("GROUP", "/logGroupId"),
];

/// `penstock oci`
#[derive(Debug, Subcommand)]
pub enum OciCommand {
    /// Compartments of a tenancy, which is an instance
    #[command(subcommand)]
    Compartment(CompartmentCommand),
    /// Log groups, which `oci logging log-group create` makes
    #[command(subcommand)]
    LogGroup(LogGroupCommand),
    /// Logs, which `oci logging log create` makes
    #[command(subcommand)]
    Log(LogCommand),
    /// Send records of a file again, as they were
    #[command(after_help = "Examples:
  penstock oci replay batch.json --log public-subnet-for-compute-flow-logs --now
  penstock oci replay audit.ndjson --log _Audit --compartment lab
  zcat flows.ndjson.gz | penstock oci replay - --log ocid1.log.oc1.us-ashburn-1.0b5f… --rate 50

The file holds records in OCI's envelope (id, source, specversion, time, type, data, …), as an array or one after the \
other. What the server says of a record itself is set anew: oracle.compartmentid, loggroupid, logid, tenantid and \
ingestedtime. All else is kept. Files ending in .gz are inflated. A file that is not JSON is not sent at all; a record \
that the server refuses is named with its line, and nothing behind it is sent.")]
    Replay(replay::ReplayArgs),
}

/// `penstock oci compartment`
#[derive(Debug, Subcommand)]
pub enum CompartmentCommand {
    /// Make a compartment
    #[command(after_help = "Example:
  penstock oci compartment create lab")]
    Create {
        /// Its name
        name: String,
        /// The compartment that it lies in, by OCID or name [default: the root]
        #[arg(long, value_name = "COMPARTMENT")]
        parent: Option<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// List all compartments, the root first
    List {
        #[command(flatten)]
        instance: InstanceArg,
    },
}

/// `penstock oci log-group`
#[derive(Debug, Subcommand)]
pub enum LogGroupCommand {
    /// List log groups
    List {
        /// Of this compartment only, by OCID or name
        #[arg(long)]
        compartment: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
    },
}

/// `penstock oci log`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List the logs of all log groups
    List {
        /// Of this compartment only, by OCID or name
        #[arg(long)]
        compartment: Option<String>,
        /// Of this log group only, by OCID or name
        #[arg(long)]
        log_group: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
    },
}

/// `penstock oci`
pub async fn run(client: &Client, command: OciCommand) -> Result<(), CliError> {
    match command {
        OciCommand::Compartment(CompartmentCommand::Create { name, parent, description, instance }) => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let parent = tenancy.compartment(parent.as_deref()).await?;
            // OCI wants a description, if only one of a single word.
            let description = if description.is_empty() { name.clone() } else { description };
            let body = json!({ "compartmentId": parent, "name": name, "description": description });
            client.format.one(&tenancy.call(Method::POST, "/20160918/compartments", Some(&body)).await?);
        }
        OciCommand::Compartment(CompartmentCommand::List { instance }) => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let root = json!({ "id": tenancy.ocid(), "name": "(root)", "lifecycleState": "ACTIVE" });
            let mut all = vec![root];
            all.extend(tenancy.compartments().await?);
            client.format.list(&all, COMPARTMENT_COLUMNS, "");
        }
        OciCommand::LogGroup(LogGroupCommand::List { compartment, instance }) => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let all = tenancy.list_everywhere("/20200531/logGroups", compartment.as_deref()).await?;
            client.format.list(&all, GROUP_COLUMNS, "There is no log group; `oci logging log-group create` makes one.");
        }
        OciCommand::Log(LogCommand::List { compartment, log_group, instance }) => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let all = match log_group {
                None => tenancy.logs(compartment.as_deref()).await?,
                Some(named) => {
                    let groups = tenancy.list_everywhere("/20200531/logGroups", compartment.as_deref()).await?;
                    let group = tenancy::only(&groups, "displayName", "log group", &named)?;
                    tenancy.list(&format!("/20200531/logGroups/{}/logs", segment(text(group, "id")))).await?
                }
            };
            client.format.list(&all, LOG_COLUMNS, "There is no log; `oci logging log create` makes one.");
        }
        OciCommand::Replay(args) => replay::run(client, args).await?,
    }
    Ok(())
}
