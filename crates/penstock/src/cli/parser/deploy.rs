//! `penstock parser deploy`: parsers from files to a server, in one go: looked at, tried on its stored logs, made, activated.
//!
//! What is in use already stays so, so that a folder can be deployed again and again, as by a pipeline of a repository.
//! Mistakes are found in all files before anything is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbn::Severity;
use clap::Args;
use dialects::chronicle_api::encode;
use http::Method;
use serde_json::{Value, json};

use super::draw::Pen;
use super::kept::{Kept, Kind, names, parsing_errors, path, program};
use super::lint::findings;
use super::program::{self as files, Source};
use crate::cli::log::send::count;
use crate::cli::output::{Format, printable};
use crate::cli::target::TargetArgs;
use crate::cli::{CliError, Remote};

pub const HELP: &str = "Examples:
  penstock parser deploy parsers/OKTA
  penstock parser deploy parsers/                       every folder in it that is called as a log type
  penstock parser deploy --log-type OKTA okta.conf --no-activate
  penstock parser deploy --log-type OKTA --extension more.conf
  penstock parser deploy parsers/OKTA --google --customer-id UUID --project-id P --region eu

A parser reads what comes from then on; what is stored stays as it is until penstock parser reparse. One that fails on all of the newest stored logs of \
its type is not activated, and not kept.

Exit status: 0 everything is as in the files; 1 something was refused; 2 wrong usage; 3 server not reachable.";

const COLUMNS: &[(&str, &str)] = &[
    ("LOG TYPE", "/log_type"),
    ("KIND", "/kind"),
    ("CHANGE", "/change"),
    ("ID", "/id"),
    ("BEFORE", "/before"),
    ("TRIED ON", "/logs"),
    ("WITH EVENTS", "/normalized"),
    ("FAILED", "/failed"),
];

/// How long Google may take to try a parser, and how often it is asked.
const TRYING_MAX: Duration = Duration::from_secs(180);
const ASK_EVERY: Duration = Duration::from_secs(3);

/// `penstock parser deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Parsers, folders with one parser, or folders with such folders
    #[arg(required_unless_present = "extension", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Log type of the parser [default: the name of its folder, where that is one]
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: Option<String>,
    /// An extension of the log type's parser
    #[arg(long, value_name = "FILE", requires = "log_type")]
    extension: Option<PathBuf>,
    /// Make them without letting them read anything
    #[arg(long)]
    no_activate: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// A program that is to be deployed.
struct Wanted {
    kind: Kind,
    log_type: String,
    source: Source,
}

/// `penstock parser deploy`
pub async fn run(remote: &Remote, args: DeployArgs) -> Result<(), CliError> {
    let args = Arc::new(args);
    let wanted = {
        // Reading and linting compute, which is nothing for the threads of the runtime.
        let args = Arc::clone(&args);
        let gathered = tokio::task::spawn_blocking(move || gather(&args)).await;
        gathered.unwrap_or_else(|error| Err(CliError::Refused(format!("the command broke off: {error}"))))?
    };
    let kept = Kept::connect(remote, &args.target).await?;
    let mut done = Vec::new();
    for wanted in &wanted {
        done.push(deploy(&kept, wanted, !args.no_activate).await?);
    }
    kept.target.format.list(&done, COLUMNS, "There is nothing to deploy.");
    let refused: Vec<&Value> = done.iter().filter(|row| row["change"] == REFUSED).collect();
    for row in &refused {
        if kept.target.format == Format::Table {
            explain(row);
        }
    }
    match refused.len() {
        0 => Ok(()),
        some => Err(CliError::Refused(format!("{} refused", count(some as u64, "program")))),
    }
}

const REFUSED: &str = "refused";

/// All files read and looked at; what is wrong with any of them keeps all from being deployed.
fn gather(args: &DeployArgs) -> Result<Vec<Wanted>, CliError> {
    let mut wanted = Vec::new();
    for given in &args.files {
        for file in parsers_of(given)? {
            let log_type = args.log_type.clone().or_else(|| files::log_type(&file)).ok_or_else(|| {
                let file = file.display();
                CliError::Usage(format!("{file}: its folder is not called as a log type; give --log-type"))
            })?;
            wanted.push(Wanted { kind: Kind::Parser, log_type, source: files::read(&file)? });
        }
    }
    if let (Some(file), Some(log_type)) = (&args.extension, &args.log_type) {
        wanted.push(Wanted { kind: Kind::Extension, log_type: log_type.clone(), source: files::read(file)? });
    }
    for (index, one) in wanted.iter().enumerate() {
        if let Some(same) =
            wanted[..index].iter().find(|other| other.kind == one.kind && other.log_type == one.log_type)
        {
            let message = format!("{} and {} are both for {}", same.source.name, one.source.name, one.log_type);
            return Err(CliError::Usage(message));
        }
    }
    let (schema, pen) = (udm::Schema::load(), Pen::for_stderr());
    let (mut errors, mut warnings) = (0, 0);
    for wanted in &wanted {
        for found in findings(&wanted.source, &schema) {
            match found.severity {
                Severity::Error => errors += 1,
                Severity::Warning => warnings += 1,
                Severity::Hint => continue,
            }
            eprintln!("{}\n", pen.diagnostic(&wanted.source, &found));
        }
    }
    if errors > 0 {
        return Err(CliError::Refused(format!("{}: nothing was deployed", count(errors, "error"))));
    }
    if warnings > 0 {
        eprintln!("{}", count(warnings, "warning"));
    }
    Ok(wanted)
}

/// The parsers that a path means: the file, the folder's one, or those of the folders in it that are called as log types.
fn parsers_of(given: &Path) -> Result<Vec<PathBuf>, CliError> {
    match files::find(given) {
        Ok(file) => return Ok(vec![file]),
        Err(error) if !given.is_dir() => return Err(error),
        Err(_) => {}
    }
    let cannot_read = |error| CliError::Refused(format!("cannot read {}: {error}", given.display()));
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(given).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        if entry.path().is_dir() && entry.file_name().to_str().is_some_and(files::is_log_type) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    if folders.is_empty() {
        let message = "it holds no parser, and no folder that is called as a log type";
        return Err(CliError::Refused(format!("{}: {message}", given.display())));
    }
    folders.iter().map(|folder| files::find(folder)).collect()
}

async fn deploy(kept: &Kept, wanted: &Wanted, activate: bool) -> Result<Value, CliError> {
    let Wanted { kind, log_type, source } = wanted;
    let active = kept.active(*kind, log_type).await?;
    let before = active.as_ref().map(|active| names(active).1.to_owned());
    let mut row = json!({
        "log_type": log_type, "kind": kind.noun(), "file": source.name, "change": "unchanged", "id": before,
        "before": Value::Null,
    });
    if active.as_ref().and_then(|active| program(*kind, active)).as_deref() == Some(source.text.as_str()) {
        return Ok(row);
    }
    let encoded = STANDARD.encode(&source.text);
    let body = match kind {
        // What can be tried is tried; without a log there is nothing that could speak against it.
        Kind::Parser => json!({ "cbn": encoded, "validated_on_empty_logs": true }),
        Kind::Extension => json!({ "cbn_snippet": encoded }),
    };
    let collection = format!("logTypes/{}/{}", encode::segment(log_type), kind.collection());
    let made = kept.call(Method::POST, &collection, &[], Some(&body)).await?;
    let id = names(&made).1.to_owned();
    let made = tried(kept, *kind, log_type, &id, made).await?;
    row["id"] = json!(id);
    row["before"] = json!(before);
    if let Some(report) = made["validationReport"].as_str() {
        let below = report.split_once("/logTypes/").map_or(report, |(_, below)| below);
        let shown = kept.call(Method::GET, &format!("logTypes/{below}"), &[], None).await?;
        row["logs"] = number(&shown["stats"]["logEntryCount"]);
        row["failed"] = number(&shown["stats"]["failedLogCount"]);
        row["normalized"] = number(&shown["stats"]["successfullyNormalizedLogCount"]);
        if row["normalized"] == 0 && row["logs"].as_u64().is_some_and(|logs| logs > 0) {
            eprintln!(
                "penstock: none of the {} stored logs of {log_type} that it was tried on gave an event: it drops them, or makes \
                 nothing of them; `penstock parser rollback --log-type {log_type}` goes back",
                row["logs"]
            );
        }
        if shown["verdict"] == "FAIL" {
            row["errors"] = Value::Array(parsing_errors(kept, report).await?);
        }
    }
    let failed = ["FAILED", "REJECTED"].contains(&stage(&made));
    if failed {
        row["change"] = json!(REFUSED);
        kept.call(Method::DELETE, &path(*kind, log_type, &id), &[], None).await?;
        return Ok(row);
    }
    if activate {
        let activated = format!("{}:activate", path(*kind, log_type, &id));
        kept.call(Method::POST, &activated, &[], Some(&json!({}))).await?;
    }
    row["change"] = json!(if activate { "activated" } else { "made" });
    Ok(row)
}

/// The parser once it has been tried. Our own server has done so when it answers.
async fn tried(kept: &Kept, kind: Kind, log_type: &str, id: &str, made: Value) -> Result<Value, CliError> {
    let mut found = made;
    let mut waited = Duration::ZERO;
    while kept.target.is_google && ["NEW", "VALIDATING"].contains(&stage(&found)) {
        if waited >= TRYING_MAX {
            let secs = TRYING_MAX.as_secs();
            return Err(CliError::Refused(format!(
                "{id} is made, but was not tried within {secs} s; activate it later"
            )));
        }
        tokio::time::sleep(ASK_EVERY).await;
        waited += ASK_EVERY;
        found = kept.call(Method::GET, &path(kind, log_type, id), &[], None).await?;
    }
    Ok(found)
}

/// How far it is: of a parser its stage, of an extension its state.
fn stage(resource: &Value) -> &str {
    resource["validationStage"].as_str().or_else(|| resource["state"].as_str()).unwrap_or_default()
}

/// An int64, which is a text in Google's JSON.
fn number(text: &Value) -> Value {
    match text.as_str().map(str::parse::<u64>) {
        Some(Ok(number)) => json!(number),
        _ => text.clone(),
    }
}

/// Why one was refused, with the first logs that it failed on.
fn explain(row: &Value) {
    let (kind, log_type) = (row["kind"].as_str().unwrap_or_default(), row["log_type"].as_str().unwrap_or_default());
    eprintln!("The {kind} of {log_type} failed on all of the newest {} stored logs, such as:", row["logs"]);
    for error in row["errors"].as_array().into_iter().flatten() {
        let log = error["logData"].as_str().and_then(|log| STANDARD.decode(log).ok()).unwrap_or_default();
        let log: String = printable(&String::from_utf8_lossy(&log)).chars().take(EXCERPT_CHARS_MAX).collect();
        let why = printable(error["error"]["message"].as_str().unwrap_or_default());
        eprintln!("  {log}\n    {why}");
    }
}

/// Longest part of a log that is shown.
const EXCERPT_CHARS_MAX: usize = 160;
