//! `penstock bench cbn`: how many logs a second one core normalises with a parser, and whether its memory stays flat.
//!
//! Needs no server: programs run in this process, on one thread. The four programs of our own and the logs for them are
//! built in; any other parser is measured with `--parser` and `--logs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cbn::{Context, End, Machine, Program};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::data;
use super::process::Usage;
use super::report::{CbnReport, CbnRow};
use crate::cli::log::read::Split;
use crate::cli::parser::logs::Logs;

/// Options of `penstock bench cbn`.
#[derive(Debug, Clone, clap::Args)]
pub struct CbnArgs {
    /// How long to run each parser, such as 90, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = super::duration, conflicts_with = "records")]
    pub duration: Duration,
    /// Run each parser on this many logs instead
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Only the built-in parsers with these names: okta, bind, firewall, windows
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "parser")]
    pub only: Vec<String>,
    /// A parser of one's own to measure instead; may be given several times, each with --logs
    #[arg(long, value_name = "FILE", requires = "logs")]
    pub parser: Vec<PathBuf>,
    /// The logs for it: lines, or a file in the form of Google's validator
    #[arg(long, value_name = "FILE", requires = "parser")]
    pub logs: Vec<PathBuf>,
    /// Decides the content of the built-in logs
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// How many different logs a built-in run goes through again and again: more than a processor remembers.
const LOGS: usize = 4_000;

/// When the memory at the start is read: by then every buffer has grown to its size.
const WARM_UP: u64 = 20_000;

/// A parser with logs.
struct Subject {
    name: String,
    program: Program,
    logs: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When a parser or a file of logs cannot be read, or a parser gives no event of any log.
pub fn run(args: &CbnArgs) -> anyhow::Result<CbnReport> {
    let subjects = if args.parser.is_empty() { built_in(args)? } else { given(args)? };
    let schema = udm::Schema::load();
    let mut rows = Vec::new();
    for subject in subjects {
        let mut machine = Machine::new(schema.clone());
        rows.push(measure(&mut machine, &subject, args)?);
    }
    Ok(CbnReport { rows })
}

fn built_in(args: &CbnArgs) -> anyhow::Result<Vec<Subject>> {
    const PROGRAMS: [(&str, &str, fn(&mut StdRng) -> String); 4] = [
        ("okta", include_str!("parsers/okta.conf"), data::okta_log),
        ("bind", include_str!("parsers/bind.conf"), data::bind_log),
        ("firewall", include_str!("parsers/firewall.conf"), data::firewall_log),
        ("windows", include_str!("parsers/windows.conf"), data::windows_log),
    ];
    if let Some(unknown) = args.only.iter().find(|name| PROGRAMS.iter().all(|(known, ..)| known != name)) {
        bail!("there is no built-in parser named {unknown}: okta, bind, firewall, windows");
    }
    PROGRAMS
        .iter()
        .filter(|(name, ..)| args.only.is_empty() || args.only.iter().any(|only| only == name))
        .map(|(name, source, log)| {
            let mut random = StdRng::seed_from_u64(args.seed);
            let logs = (0..LOGS).map(|_| log(&mut random)).collect();
            Ok(Subject { name: (*name).to_owned(), program: program(name, source)?, logs })
        })
        .collect()
}

fn given(args: &CbnArgs) -> anyhow::Result<Vec<Subject>> {
    if args.parser.len() != args.logs.len() {
        bail!("{} parsers but {} files of logs: each --parser takes one --logs", args.parser.len(), args.logs.len());
    }
    args.parser
        .iter()
        .zip(&args.logs)
        .map(|(parser, logs)| {
            let name = parser.display().to_string();
            let source = std::fs::read_to_string(parser).with_context(|| format!("cannot read {name}"))?;
            let logs = texts(logs)?;
            Ok(Subject { program: program(&name, &source)?, name, logs })
        })
        .collect()
}

fn texts(path: &Path) -> anyhow::Result<Vec<String>> {
    let read = Logs::open(&[path.to_owned()], None, Split::Auto, cbn::Limits::default().log_bytes)
        .and_then(Logs::all)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    if read.is_empty() {
        bail!("{} holds no logs", path.display());
    }
    Ok(read.into_iter().map(|log| String::from_utf8_lossy(&log.data).into_owned()).collect())
}

fn program(name: &str, source: &str) -> anyhow::Result<Program> {
    Program::new(name, source).map_err(|found| {
        let first = found.first().map_or_else(String::new, |found| found.message.clone());
        anyhow::anyhow!("{name} is no parser: {first} (penstock parser lint tells more)")
    })
}

fn measure(machine: &mut Machine, subject: &Subject, args: &CbnArgs) -> anyhow::Result<CbnRow> {
    let context = Context::new("2026-01-01T00:00:00Z".parse().context("the time of receipt is one")?);
    let own = || Usage::read(std::process::id());
    let mut row = CbnRow { name: subject.name.clone(), ..CbnRow::default() };
    let mut warm = own();
    let started = Instant::now();
    let before = own().map(|usage| usage.cpu_secs);
    let mut first_error = None;
    'all: loop {
        for log in &subject.logs {
            match machine.run(&subject.program, log.as_bytes(), &context).end {
                Ok(events) => row.events += events.len() as u64,
                Err(error) if matches!(error.end, End::Dropped(_)) => row.dropped += 1,
                Err(error) => {
                    row.failed += 1;
                    first_error.get_or_insert(error.text);
                }
            }
            row.records += 1;
            row.bytes += log.len() as u64;
            if row.records == WARM_UP {
                warm = own();
            }
            // Asking the clock for each log would be part of what is measured.
            let over = match args.records {
                Some(records) => row.records >= records,
                None => row.records.is_multiple_of(64) && started.elapsed() >= args.duration,
            };
            if over {
                break 'all;
            }
        }
    }
    row.elapsed_secs = started.elapsed().as_secs_f64();
    let after = own();
    row.cpu_secs = match (before, after) {
        (Some(before), Some(after)) => Some(after.cpu_secs - before),
        _ => None,
    };
    let secs = row.cpu_secs.filter(|secs| *secs > 0.0).unwrap_or(row.elapsed_secs);
    row.records_per_sec = row.records as f64 / secs;
    row.mb_per_sec = row.bytes as f64 / 1e6 / secs;
    row.resident_bytes_warm = warm.map(|usage| usage.resident_bytes);
    row.resident_bytes_end = after.map(|usage| usage.resident_bytes);
    row.first_error = first_error;
    if row.events == 0 {
        bail!(
            "{} gave no event of {} logs: {}",
            subject.name,
            row.records,
            row.first_error.as_deref().unwrap_or("all were dropped, or nothing was merged into @output")
        );
    }
    Ok(row)
}
