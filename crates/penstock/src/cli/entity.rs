//! `penstock entity import`: sends entities (users, assets, …) that a source of a log type knows of.

use clap::Subcommand;

use super::log::{self, JsonArgs, Kind};
use super::{CliError, Remote};

/// `penstock entity`
#[derive(Debug, Subcommand)]
pub enum EntityCommand {
    /// Send entities: JSON files with one entity, an array of them, or one a line
    #[command(after_help = "Example:
  penstock entity import --type OKTA --file users.json

An entity is a JSON object with `metadata` and `entity`. A request is taken or refused whole: a bad entity is named with \
its file and line, and those that were to go with it are not sent either.")]
    Import {
        /// Log type of the source
        #[arg(long = "type", value_name = "TYPE")]
        log_type: String,
        #[command(flatten)]
        json: JsonArgs,
    },
}

pub async fn run(remote: &Remote, command: EntityCommand) -> Result<(), CliError> {
    let EntityCommand::Import { log_type, json } = command;
    log::ingest_json(remote, &json, &Kind::Entities(log_type)).await
}
