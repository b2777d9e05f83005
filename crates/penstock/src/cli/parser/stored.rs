//! `penstock parser failures` and `reparse`: what became of the logs that a server has stored, and reading them again.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbn::trace::TraceLimits;
use cbn::{Machine, Program};
use clap::Args;
use event::Time;
use http::Method;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::trace::Walk;
use crate::cli::client::lines;
use crate::cli::manage::segment;
use crate::cli::output::{Format, printable, say};
use crate::cli::{CliError, Client, Remote};

pub const FAILURES_HELP: &str = "Examples:
  penstock parser failures
  penstock parser failures --log-type OKTA --limit 10
  penstock parser failures --trace 01a21fe7-4b34-7281-b5c2-ca5500000002

Of each log type the newest 1,000 are known. A log that failed is stored and found like any other (penstock search raw); \
mend the parser, deploy it, and read the log again with penstock parser reparse.

Exit status: 0, also if there are failures; of --trace 1 if the log still fails.";

pub const REPARSE_HELP: &str = "Examples:
  penstock parser reparse --log-type OKTA
  penstock parser reparse --log-type OKTA --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z

The stored logs of the type that were received in that time are read with the parser (and extension) in use now. What \
came of them before gives way to what comes of them now, all at the same moment; until then searches see the old \
events, and if it is broken off, or the server dies, nothing has changed. Receiving goes on meanwhile. Nothing is \
delivered again to connectors.";

const COUNT_COLUMNS: &[(&str, &str)] = &[
    ("LOG TYPE", "/log_type"),
    ("PARSER", "/parser"),
    ("LOGS", "/logs"),
    ("PARSED", "/parsed"),
    ("DROPPED", "/dropped"),
    ("FAILED", "/failed"),
    ("EVENTS", "/events"),
];

/// `penstock parser failures`
#[derive(Debug, Args)]
pub struct FailuresArgs {
    /// Of this log type only
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: Option<String>,
    /// The instance [default: all that the credential reaches]
    #[arg(long, alias = "customer-id", value_name = "UUID")]
    instance: Option<String>,
    /// Most failures that are listed, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Run the log with this id through the parser that read it, and show each statement
    #[arg(long, value_name = "ID", conflicts_with_all = ["log_type", "limit"])]
    trace: Option<String>,
    /// With --trace: only what changed something, failed, or is a branch
    #[arg(long, requires = "trace")]
    changes: bool,
}

/// `penstock parser reparse`
#[derive(Debug, Args)]
pub struct ReparseArgs {
    /// Whose logs
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: String,
    /// Received at or after this (RFC 3339, or a date) [default: all]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Received before this (RFC 3339, or a date) [default: all]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The instance [default: the only one there is]
    #[arg(long, alias = "customer-id", value_name = "UUID")]
    instance: Option<String>,
}

/// `penstock parser failures`
pub async fn failures(remote: &Remote, args: FailuresArgs) -> Result<(), CliError> {
    let client = Client::connect(remote)?;
    if let Some(id) = &args.trace {
        let record = client.call(Method::GET, &format!("/api/parsing/records/{}", segment(id)), None).await?;
        let (format, changes) = (client.format, args.changes);
        let done = tokio::task::spawn_blocking(move || trace(&record, changes, format));
        return done.await.unwrap_or_else(|error| Err(CliError::Refused(format!("the command broke off: {error}"))));
    }
    let instance = args.instance.as_deref().map(|instance| format!("instance={}", segment(instance)));
    let log_type = args.log_type.as_deref().map(|log_type| format!("log_type={}", segment(log_type)));
    let limit = Some(format!("limit={}", args.limit));
    let query = |parts: &[&Option<String>]| parts.iter().copied().flatten().cloned().collect::<Vec<_>>().join("&");
    let counts = client.call(Method::GET, &format!("/api/parsing/counts?{}", query(&[&instance])), None).await?;
    let path = format!("/api/parsing/failures?{}", query(&[&instance, &log_type, &limit]));
    let failures = client.call(Method::GET, &path, None).await?;
    let is_wanted = |row: &&Value| args.log_type.as_ref().is_none_or(|log_type| row["log_type"] == log_type.as_str());
    let counts: Vec<Value> = counts["parsers"].as_array().into_iter().flatten().filter(is_wanted).cloned().collect();
    let failures = failures["failures"].as_array().cloned().unwrap_or_default();
    match client.format {
        Format::Json => client.format.one(&json!({ "parsers": counts, "failures": failures })),
        Format::Ndjson => failures.iter().for_each(|failure| say(&failure.to_string())),
        Format::Table => {
            let rows: Vec<Value> = counts.iter().map(with_all).collect();
            if !rows.is_empty() {
                client.format.list(&rows, COUNT_COLUMNS, "");
            }
            if failures.is_empty() {
                say("No log failed.");
            }
            failures.iter().for_each(|failure| say(&told(failure)));
        }
    }
    Ok(())
}

/// A row of counts with the sum of its logs.
fn with_all(row: &Value) -> Value {
    let mut row = row.clone();
    let sum: u64 = ["parsed", "dropped", "failed"].iter().filter_map(|name| row[*name].as_u64()).sum();
    row["logs"] = json!(sum);
    row
}

/// A failure for people.
fn told(failure: &Value) -> String {
    let text = |name: &str| printable(failure[name].as_str().unwrap_or_default());
    let place = match (failure["line"].as_u64(), failure["column"].as_u64()) {
        (Some(line @ 1..), Some(column)) => format!(", line {line}, column {column}"),
        _ => String::new(),
    };
    format!(
        "{}  {}  {}\n    {} ({}{place})",
        text("received_at"),
        text("id"),
        text("log_type"),
        text("message"),
        text("parser")
    )
}

fn trace(record: &Value, changes: bool, format: Format) -> Result<(), CliError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let time = |name: &str| text(&record[name]).and_then(|time| time.parse::<Time>().ok());
    let id = text(&record["id"]).unwrap_or_default();
    let parser = text(&record["parser"]["id"]).unwrap_or_default();
    let Some(source) = text(&record["parser"]["source"]) else {
        return Err(CliError::Refused(match parser.as_str() {
            "" => format!("no parser has read {id}"),
            "generic" => {
                format!("no parser reads logs of the type {}; {id} became a generic event", record["log_type"])
            }
            parser => format!("{id} was read by {parser}, which the server no longer keeps"),
        }));
    };
    let program = Program::new(&*parser, source).map_err(|found| {
        let first = found.first().map(|found| found.message.clone()).unwrap_or_default();
        CliError::Refused(format!("the parser {parser} cannot be read: {first}"))
    })?;
    let data = STANDARD.decode(text(&record["data_base64"]).unwrap_or_default());
    let data = data.map_err(|error| CliError::Refused(format!("the server's answer cannot be read: {error}")))?;
    let log_type = text(&record["log_type"]).unwrap_or_default();
    let received_at = time("received_at").unwrap_or(Time::MIN);
    let context = normalise::context(&log_type, received_at, time("sender_time"), time("collected_at"));
    let walk = Walk { program: &program, place: &id, log: &data, context, limits: TraceLimits::default(), changes };
    if let Some(extension) = record["extension"]["id"].as_str() {
        eprintln!("penstock: the extension {} runs after this parser; it is not shown", printable(extension));
    }
    walk.show(&mut Machine::new(udm::Schema::load()), format)
}

/// How often a terminal is told how far it is, and how often anything else is.
const TELL_TERMINAL: Duration = Duration::from_millis(500);
const TELL_FILE: Duration = Duration::from_secs(10);

/// `penstock parser reparse`
pub async fn reparse(remote: &Remote, args: ReparseArgs) -> Result<(), CliError> {
    let client = Client::connect(remote)?;
    let body = json!({
        "log_type": args.log_type, "from": args.from, "to": args.to, "instance": args.instance,
    });
    let mut response = client.send(Method::POST, "/api/parsing/reparse", Some(&body), None).await?;
    let is_terminal = std::io::stderr().is_terminal();
    let tell_every = if is_terminal { TELL_TERMINAL } else { TELL_FILE };
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut last = None;
    lines(&mut response, |line| {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
        if line["done"] == true || line["error"].is_object() {
            last = Some(line);
        } else if told.elapsed() >= tell_every {
            told = Instant::now();
            let begin = if is_terminal { "\r\x1b[K" } else { "" };
            eprint!("{begin}penstock: {}", progress(&line));
            if !is_terminal {
                eprintln!();
            }
            let _ = std::io::stderr().flush();
        }
        Ok(())
    })
    .await?;
    if is_terminal {
        eprint!("\r\x1b[K");
    }
    let last = last.ok_or_else(|| {
        CliError::Refused("the server's answer broke off; whether it was done is not known".to_owned())
    })?;
    if let Some(message) = last["error"]["message"].as_str() {
        return Err(CliError::Refused(message.to_owned()));
    }
    match client.format {
        Format::Json | Format::Ndjson => client.format.one(&last),
        Format::Table => say(&format!(
            "{} logs of {} read again by {} in {:.1} s: {} events in place of {}, {} failed.",
            number(&last, "records"),
            args.log_type,
            last["parser"].as_str().unwrap_or_default(),
            began.elapsed().as_secs_f64(),
            number(&last, "events"),
            number(&last, "events_before"),
            number(&last, "failed"),
        )),
    }
    Ok(())
}

fn progress(line: &Value) -> String {
    match line["state"].as_str() {
        Some("running") => format!(
            "{} of {} parts, {} logs, {} events",
            number(line, "parts"),
            number(line, "parts_total"),
            number(line, "records"),
            number(line, "events")
        ),
        Some(state) => printable(state),
        None => String::new(),
    }
}

fn number(line: &Value, name: &str) -> HumanCount {
    HumanCount(line[name].as_u64().unwrap_or_default())
}
