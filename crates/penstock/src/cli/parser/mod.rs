//! `penstock parser`: runs, tests, checks, watches, formats and begins parsers in Chronicle's language on this machine,
//! without a server; and deploys, lists and switches those that a server keeps.
//!
//! What the language means is the crate `cbn`'s; here is what files there are, how it is shown and which exit status it
//! gives. A log's way through `run`: `logs.rs` reads it, a thread of `pool.rs` runs it and makes its text, `run.rs` prints
//! that in the order of the logs. `program.rs` finds parsers; `draw.rs` alone knows how a place in a source is drawn.
//! `test/` runs parsers against files of expected events. `replace.rs` writes files whole or not at all. `deploy.rs`, `kept.rs`
//! and `stored.rs` alone speak with a server.

mod deploy;
mod differences;
mod draw;
mod fmt;
mod kept;
mod lint;
pub mod logs;
mod new;
mod pool;
mod program;
mod replace;
mod run;
mod show;
mod stored;
mod test;
mod trace;

use std::path::PathBuf;

use cbn::output::OutputOptions;
use cbn::{Context, Limits, Machine};
use clap::{Args, Subcommand};
use event::Time;

use super::log::read::Split;
use super::{CliError, Format, Remote};

/// `penstock parser`
#[derive(Debug, Subcommand)]
pub enum ParserCommand {
    /// Run a parser on logs and show the events
    #[command(after_help = run::HELP)]
    Run(Box<run::RunArgs>),
    /// Run parsers on sample logs and compare with the events that are expected
    #[command(after_help = test::HELP)]
    Test(Box<test::TestArgs>),
    /// Find what is wrong in parsers, and what probably is
    #[command(after_help = lint::HELP)]
    Lint(lint::LintArgs),
    /// Show each statement that ran on a log, and what it changed
    #[command(after_help = trace::HELP)]
    Trace(Box<trace::TraceArgs>),
    /// Lay parsers out in one way
    #[command(after_help = fmt::HELP)]
    Fmt(fmt::FmtArgs),
    /// Begin a parser from sample logs
    #[command(after_help = new::HELP)]
    New(new::NewArgs),
    /// Bring parsers to a server: look at them, try them on its stored logs, activate them
    #[command(after_help = deploy::HELP)]
    Deploy(Box<deploy::DeployArgs>),
    /// List the parsers and extensions that a server keeps
    #[command(after_help = kept::LIST_HELP)]
    List(Box<kept::ListArgs>),
    /// Print the program of a parser that a server keeps
    #[command(after_help = kept::SHOW_HELP)]
    Show(Box<kept::OneArgs>),
    /// Let a parser or extension that a server keeps read what comes from now on
    #[command(after_help = kept::ACTIVATE_HELP)]
    Activate(Box<kept::OneArgs>),
    /// End the use of a parser
    #[command(after_help = kept::DEACTIVATE_HELP)]
    Deactivate(Box<kept::DeactivateArgs>),
    /// Go back to the parser that was in use before
    #[command(after_help = kept::ROLLBACK_HELP)]
    Rollback(kept::RollbackArgs),
    /// Tell why stored logs gave no events
    #[command(after_help = stored::FAILURES_HELP)]
    Failures(stored::FailuresArgs),
    /// Read stored logs again with the parser that is in use now
    #[command(after_help = stored::REPARSE_HELP)]
    Reparse(stored::ReparseArgs),
}

/// What a log is said to be beside its text.
#[derive(Debug, Clone, Args)]
pub struct ContextArgs {
    /// Log type of events that name none [default: the name of the parser's folder, where that is one]
    #[arg(long, value_name = "TYPE")]
    log_type: Option<String>,
    /// When the logs were received (RFC 3339): the year of dates without one, the time of events without one [default: what a file of logs says, else now]
    #[arg(long, value_name = "TIME")]
    received_at: Option<Time>,
    /// Time zone of dates that name none, such as Europe/Zurich or -05:00
    #[arg(long, value_name = "ZONE", value_parser = timezone, allow_hyphen_values = true)]
    timezone: Option<String>,
}

impl ContextArgs {
    /// What a log is run with; `otherwise` is when it was received if nobody says.
    fn context(&self, log: &logs::Log, log_type: Option<&str>, otherwise: jiff::Timestamp) -> Context {
        let received_at = match self.received_at {
            Some(time) => timestamp(time),
            None => log.received_at.or(log.collected_at).unwrap_or(otherwise),
        };
        Context {
            collected_at: log.collected_at,
            log_type: self.log_type.as_deref().or(log_type).map(str::to_owned),
            timezone: self.timezone.clone(),
            ..Context::new(received_at)
        }
    }
}

/// How strictly a run is looked at, and what it may use.
#[derive(Debug, Clone, Args)]
pub struct MachineArgs {
    /// Refuse what Google's engine refuses: values that do not fit their fields, events that lack what their type needs
    #[arg(long)]
    strict: bool,
    /// Most steps that a log may take, a step being about a statement
    #[arg(long, value_name = "N", default_value_t = Limits::default().steps, help_heading = "Limits")]
    limit_steps: u64,
    /// Most memory that the fields of a log may take; K, M and G are taken
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = bytes, help_heading = "Limits")]
    limit_memory: usize,
    /// Longest log
    #[arg(long, value_name = "BYTES", default_value = "10M", value_parser = bytes, help_heading = "Limits")]
    limit_log: usize,
    /// Most events of a log
    #[arg(long, value_name = "N", default_value_t = Limits::default().output_records, help_heading = "Limits")]
    limit_events: usize,
    /// Most bytes that the events of a log may have
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = bytes, help_heading = "Limits")]
    limit_output: usize,
}

impl MachineArgs {
    fn machine(&self, schema: &std::sync::Arc<udm::Schema>) -> Machine {
        let mut machine = Machine::new(schema.clone());
        machine.limits = Limits {
            steps: self.limit_steps,
            memory_bytes: self.limit_memory,
            log_bytes: self.limit_log,
            output_records: self.limit_events,
            output_bytes: self.limit_output,
        };
        if self.strict {
            machine.output = OutputOptions::strict();
        }
        machine
    }
}

/// How files are read, and by how many threads they are run.
#[derive(Debug, Clone, Args)]
pub struct ReadArgs {
    /// How files are cut into logs; files of Google's validator are known by what they hold
    #[arg(long, value_enum, default_value = "auto")]
    split: Split,
    /// Each file is one log; the same as --split none
    #[arg(long, conflicts_with = "split")]
    whole_file: bool,
}

impl ReadArgs {
    fn split(&self) -> Split {
        if self.whole_file { Split::None } else { self.split }
    }
}

/// Does what a command says.
pub async fn run(remote: &Remote, command: ParserCommand) -> Result<(), CliError> {
    match command {
        ParserCommand::Deploy(args) => deploy::run(remote, *args).await,
        ParserCommand::List(args) => kept::list(remote, &args).await,
        ParserCommand::Show(args) => kept::show(remote, &args).await,
        ParserCommand::Activate(args) => kept::activate(remote, &args).await,
        ParserCommand::Deactivate(args) => kept::deactivate(remote, &args).await,
        ParserCommand::Rollback(args) => kept::rollback(remote, &args).await,
        ParserCommand::Failures(args) => stored::failures(remote, args).await,
        ParserCommand::Reparse(args) => stored::reparse(remote, args).await,
        command => here(command, remote.output).await,
    }
}

/// What needs no server.
async fn here(command: ParserCommand, format: Format) -> Result<(), CliError> {
    // Parsers compute and files are read: nothing for the threads of the runtime.
    let done = tokio::task::spawn_blocking(move || match command {
        ParserCommand::Run(args) => run::run(&args, format),
        ParserCommand::Test(args) => test::run(&args, format),
        ParserCommand::Lint(args) => lint::run(&args, format),
        ParserCommand::Trace(args) => trace::run(&args, format),
        ParserCommand::Fmt(args) => fmt::run(&args, format),
        ParserCommand::New(args) => new::run(&args, format),
        ParserCommand::Deploy(_)
        | ParserCommand::List(_)
        | ParserCommand::Show(_)
        | ParserCommand::Activate(_)
        | ParserCommand::Deactivate(_)
        | ParserCommand::Rollback(_)
        | ParserCommand::Failures(_)
        | ParserCommand::Reparse(_) => unreachable!("handled above, with a server"),
    });
    done.await.unwrap_or_else(|error| Err(CliError::Refused(format!("the command broke off: {error}"))))
}

/// The same moment as the crate `cbn` has it.
fn timestamp(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(time.nanos())).expect("a Timestamp reaches further than a Time")
}

/// A time zone that dates can be read in.
fn timezone(text: &str) -> Result<String, String> {
    if Context::is_timezone(text) {
        Ok(text.to_owned())
    } else {
        Err("there is no such time zone; expected a name such as Europe/Zurich, or an offset such as -05:00".to_owned())
    }
}

/// A number of bytes: `1000`, `64K`, `256M`, `2G`.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (&text[..text.len() - 1], 1 << 10),
        Some('M') => (&text[..text.len() - 1], 1 << 20),
        Some('G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1_usize),
    };
    let number: usize = digits.parse().map_err(|_| "expected bytes, such as 10000000, 64K, 256M or 2G".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "that is more than there can be".to_owned())
}

/// Most threads, whatever somebody says.
const THREADS_MAX: usize = 256;

/// How many threads run parsers if nobody says.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The paths of files below `paths` whose names satisfy `wanted`: a file itself whatever its name, of folders what is in
/// them and in their folders, sorted by name. Links are not followed out of folders.
fn files(paths: &[PathBuf], wanted: fn(&str) -> bool) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for path in paths {
        let cannot_read = |error| CliError::Refused(format!("cannot read {}: {error}", path.display()));
        if !std::fs::metadata(path).map_err(cannot_read)?.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut folders = vec![path.clone()];
        let mut inside = Vec::new();
        while let Some(folder) = folders.pop() {
            let cannot_read = |error| CliError::Refused(format!("cannot read {}: {error}", folder.display()));
            for entry in std::fs::read_dir(&folder).map_err(cannot_read)? {
                let entry = entry.map_err(cannot_read)?;
                let kind = entry.file_type().map_err(cannot_read)?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && entry.file_name().to_str().is_some_and(wanted) {
                    inside.push(entry.path());
                }
            }
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{bytes, timezone};

    #[test]
    fn a_time_zone_has_a_name_or_an_offset() {
        for text in ["Europe/Zurich", "UTC", "CEST", "-05:00", "+0130", "Z"] {
            assert_eq!(timezone(text).as_deref(), Ok(text));
        }
        for text in ["Europe/Zurch", "", "-", "--strict", "+26:00", "local"] {
            assert!(timezone(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_may_have_a_unit() {
        for (text, expected) in [("0", Some(0)), ("1000", Some(1_000)), ("64k", Some(65_536)), ("2G", Some(2 << 30))] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "12 M", "99999999999999999999", "18446744073709551615G", "5é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
