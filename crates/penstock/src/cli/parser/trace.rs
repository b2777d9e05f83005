//! `penstock parser trace`: one log's way through a parser, statement by statement, with what each changed.
//!
//! What happened is `cbn::trace`'s to say; here is which log it is, and how it is shown.

use std::ffi::OsString;
use std::path::PathBuf;

use cbn::trace::{Trace, TraceEnd, TraceLimits, TraceStep, TraceWhat};
use cbn::{Context, End, Error, Machine, Program};
use clap::Args;
use serde_json::{Value, json};

use super::draw::{self, Pen};
use super::logs::{self, Chunk, Log, Logs};
use super::run::{error_json, expected_form};
use super::{ContextArgs, MachineArgs, ReadArgs, program, show};
use crate::cli::log::send::count;
use crate::cli::output::{printable, say};
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser trace okta.conf okta.log
  penstock parser trace okta.conf okta.log --log 12 --changes
  penstock parser trace okta.conf --message '{\"eventType\": \"user.session.start\"}' -o json

What ran is shown in order: where it stands, what it is, and below it what it changed. + stands before a field that was \
not set, ~ before one that was something else, - before one that is gone, ! before an error.

Exit status: 0 the log has events, or the parser dropped it; 1 it failed.";

/// `penstock parser trace`
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The parser: its file, or a folder with one
    parser: PathBuf,
    /// File or folder with the log, or - for standard input
    #[arg(value_name = "LOG", required_unless_present = "message")]
    logs: Vec<PathBuf>,
    /// The log itself
    #[arg(long, value_name = "LOG", conflicts_with = "logs")]
    message: Option<OsString>,
    /// Which of the logs, counted from 1
    #[arg(long = "log", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    /// Only what changed something, failed, or is a branch
    #[arg(long)]
    changes: bool,
    /// Most steps that are shown
    #[arg(long, value_name = "N", default_value_t = TraceLimits::default().steps)]
    steps: usize,
    /// Longest value that is shown whole, in characters
    #[arg(long, value_name = "N", default_value_t = TraceLimits::default().value_chars)]
    value_chars: usize,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// `penstock parser trace`
pub fn run(args: &TraceArgs, format: Format) -> Result<(), CliError> {
    let loaded = program::load(&args.parser)?;
    let logs = Logs::open(&args.logs, args.message.clone(), args.read.split(), args.machine.limit_log)?;
    let names = logs.names();
    let log = nth(logs, args.number)?;
    let place = logs::named(&names, log.place);

    let walk = Walk {
        program: &loaded.program,
        place: &place,
        log: &log.data,
        context: args.context.context(&log, loaded.log_type.as_deref(), jiff::Timestamp::now()),
        limits: TraceLimits { steps: args.steps, value_chars: args.value_chars, ..TraceLimits::default() },
        changes: args.changes,
    };
    walk.show(&mut args.machine.machine(&udm::Schema::load()), format)
}

/// A log on its way through a parser.
pub struct Walk<'a> {
    /// The parser.
    pub program: &'a Program,
    /// What the log is called.
    pub place: &'a str,
    /// The log.
    pub log: &'a [u8],
    /// What is said of it.
    pub context: Context,
    /// How much is shown.
    pub limits: TraceLimits,
    /// Only what changed something, failed, or is a branch.
    pub changes: bool,
}

impl Walk<'_> {
    /// Runs it and shows what happened. An error if the log failed.
    pub fn show(self, machine: &mut Machine, format: Format) -> Result<(), CliError> {
        let Walk { program, place, log, context, limits, changes } = self;
        let mut trace = Trace::with_limits(program, limits);
        let end = machine.watch(program, log, &context, &mut trace).end;
        shown(program, place, log, trace, changes, end, format)
    }
}

fn shown(
    program: &Program,
    place: &str,
    log: &[u8],
    trace: Trace,
    changes: bool,
    end: Result<Vec<cbn::output::Event>, Error>,
    format: Format,
) -> Result<(), CliError> {
    let left_out = trace.left_out();
    let steps: Vec<TraceStep> = trace.into_steps().into_iter().filter(|step| !changes || tells(step)).collect();
    let outcome = || match &end {
        Ok(events) => json!({ "events": expected_form(events) }),
        Err(Error { end: End::Dropped(tag), .. }) => json!({ "dropped": tag }),
        Err(error) => json!({ "error": error_json(error) }),
    };
    match format {
        Format::Table => {
            say(&format!("{}: {}", printable(place), draw::excerpt(log)));
            steps.iter().for_each(|step| say(&text(step)));
            if left_out > 0 {
                say(&format!("… and {}; --steps shows more", count(left_out, "more step")));
            }
            match &end {
                Ok(events) if events.is_empty() => say("no events: nothing was put into @output"),
                Ok(events) => {
                    for event in events {
                        let mut out = format!("{}\n", show::headline(event));
                        show::event(event, &mut out);
                        say(out.trim_end());
                    }
                }
                Err(Error { end: End::Dropped(tag), .. }) => say(&format!("dropped, {}", printable(tag))),
                Err(_) => {}
            }
        }
        Format::Json => {
            let mut document = json!({ "log": place, "steps": steps, "left_out": left_out });
            if let (Some(document), Value::Object(outcome)) = (document.as_object_mut(), outcome()) {
                document.extend(outcome);
            }
            format.one(&document);
        }
        Format::Ndjson => {
            for step in &steps {
                say(&serde_json::to_string(step).expect("a step has a JSON form"));
            }
            say(&outcome().to_string());
        }
    }
    match end {
        Ok(_) | Err(Error { end: End::Dropped(_), .. }) => Ok(()),
        Err(error) => {
            let log = format!("{}: {}", printable(place), draw::excerpt(log));
            eprintln!("{}\n", Pen::for_stderr().failure(program, &error, &log));
            Err(CliError::Refused("the log failed".to_owned()))
        }
    }
}

/// The log of this number; what follows it is not read.
fn nth(logs: Logs, number: u64) -> Result<Log, CliError> {
    let mut behind = 0;
    for chunk in logs {
        match chunk {
            Chunk::Fault { place, why } => return Err(CliError::Refused(format!("{place}: {why}"))),
            Chunk::Logs { logs, .. } => {
                let at = (number - 1 - behind) as usize;
                behind += logs.len() as u64;
                if behind >= number {
                    return Ok(logs.into_iter().nth(at).expect("it is among these, by their number"));
                }
            }
        }
    }
    Err(CliError::Refused(format!(
        "there is no log {number}; there {}",
        match behind {
            0 => "are none".to_owned(),
            1 => "is one".to_owned(),
            behind => format!("are {behind}"),
        }
    )))
}

/// Whether a step says more than that it ran.
fn tells(step: &TraceStep) -> bool {
    step.what != TraceWhat::Statement || step.end != TraceEnd::Done || !step.changes.is_empty() || step.more_changes > 0
}

/// A step for people.
fn text(step: &TraceStep) -> String {
    let place = format!("{}:{}", step.line, step.column);
    let indent = "  ".repeat(step.depth.min(20) as usize);
    let what = match (step.what, step.turn) {
        (TraceWhat::Turn, Some(turn)) => format!("turn {turn}: {}", step.source),
        (TraceWhat::Branch, _) if step.name == "else" => "taken: else".to_owned(),
        (TraceWhat::Branch, _) => format!("taken: {} {}", step.name, step.source),
        _ => step.source.clone(),
    };
    let mut out = format!("{place:>8}  {indent}{}", printable(&what));
    for change in &step.changes {
        let path = printable(&change.path);
        let value = |value: &str| printable(value);
        out.push_str(&match (&change.before, &change.after) {
            (None, Some(after)) => format!("\n          {indent}  + {path} = {}", value(after)),
            (Some(before), None) => format!("\n          {indent}  - {path}, was {}", value(before)),
            (Some(before), Some(after)) => {
                format!("\n          {indent}  ~ {path} = {}, was {}", value(after), value(before))
            }
            (None, None) => String::new(),
        });
    }
    if step.more_changes > 0 {
        out.push_str(&format!("\n          {indent}  … and {} more fields", step.more_changes));
    }
    match step.end {
        TraceEnd::Done => {}
        TraceEnd::Caught | TraceEnd::Failed => {
            let word = if step.end == TraceEnd::Caught { "caught" } else { "failed" };
            let error = step.error.as_deref().map_or_else(String::new, |error| format!(": {}", printable(error)));
            out.push_str(&format!("\n          {indent}  ! {word}{error}"));
        }
    }
    out
}
