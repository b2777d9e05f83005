//! `penstock parser test`: parsers on sample logs, held against the events that are expected of them.
//!
//! `cases.rs` says what belongs together, `junit.rs` writes for CI systems, `cover.rs` says what of a parser ran. Whole
//! parsers are spread over the threads; what is printed is in the order of their names.

mod cases;
mod cover;
mod junit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cbn::coverage::{Coverage, Share};
use cbn::{Context, End, Error, Machine, Program};
use clap::Args;
use event::Time;
use serde_json::{Value, json};

use self::cases::{Case, Layout, Tested};
use self::cover::Covered;
use super::differences::{self, Comparison};
use super::draw::{self, Pen};
use super::logs::{Logs, Place};
use super::replace::replace;
use super::run::expected_form;
use super::{MachineArgs, ReadArgs, pool, program};
use crate::cli::log::send::count;
use crate::cli::output::{printable, say};
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser test parsers/
  penstock parser test parsers/OKTA --update
  penstock parser test parsers/ --coverage --fail-under 90 --junit results.xml
  penstock parser test content-hub/content/parsers --only even --equal-at-least 90

All parsers below the folders are tested (files whose names end in .conf) by the samples beside them:
  samples/X.log, samples/X.expected.json                       ours; any ending for logs; also right beside the parser
  testdata/raw_logs/X_log.json, testdata/expected_events/X_events.json     as Google publishes parsers
Logs are read as `penstock parser run` reads them. Events are compared as Google's validator does it; in our layout times \
count, too (--times says otherwise), and a log that fails or is dropped must be named in the list \"errors\" of the file. \
--update writes the files as they would be right. A parser without samples must be one that can run.

Exit status: 0 all is as expected; 1 something is not.";

/// When logs were received that do not say it: always the same, so that results are.
const RECEIVED_AT: &str = "2026-01-01T00:00:00Z";
/// How many events that differ are shown of each case.
const SHOWN_DEFAULT: usize = 5;

/// `penstock parser test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Folders with parsers, or parsers
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// Write the files of expected events as they would be right, those that are not there, too
    #[arg(long)]
    update: bool,
    /// Only every second of the parsers that have samples, by name; the first one is odd
    #[arg(long, value_enum, value_name = "WHICH")]
    only: Option<Only>,
    /// Whether times count [default: in our layout they do]
    #[arg(long, value_name = "YES")]
    times: Option<bool>,
    /// Tell which statements and branches ran, and which lines did not
    #[arg(long)]
    coverage: bool,
    /// With --coverage: fail if fewer percent of all statements ran
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_under: Option<f64>,
    /// Fail only if fewer percent of the expected events came out
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with = "update")]
    equal_at_least: Option<f64>,
    /// Write the results in JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Most differing events shown of each case
    #[arg(long, value_name = "N", default_value_t = SHOWN_DEFAULT)]
    differences: usize,
    /// When logs were received that do not say it (RFC 3339)
    #[arg(long, value_name = "TIME", default_value = RECEIVED_AT)]
    received_at: Time,
    /// How many threads test parsers [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// The first, third, …
    Odd,
    /// The second, fourth, …
    Even,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("expected 0 to 100".to_owned()),
    }
}

/// What became of a parser.
struct TestedParser {
    parser: Tested,
    /// Why it cannot be tested, drawn.
    broken: Option<String>,
    cases: Vec<Ran>,
    covered: Option<Covered>,
    seconds: f64,
}

/// What became of a case.
struct Ran {
    name: String,
    verdict: Verdict,
    comparison: Option<Comparison>,
    /// The places of the logs of the events that came out, as they are called.
    places: Vec<String>,
    counts: Counts,
    /// What was wrong beside the events, or what each differing event is.
    text: String,
    seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// Something differs.
    Failed,
    /// There is nothing to compare with.
    Skipped,
    /// The file was written.
    Updated,
    /// A file cannot be read or written.
    Broken(String),
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    logs: u64,
    failed: u64,
    dropped: u64,
    odd: u64,
}

/// `penstock parser test`
pub fn run(args: &TestArgs, format: Format) -> Result<(), CliError> {
    let started = Instant::now();
    let mut parsers = cases::find(&args.paths)?;
    if let Some(only) = args.only {
        parsers = cases::every_second(parsers, only == Only::Odd);
    }
    if parsers.is_empty() {
        return Err(CliError::Refused("there are no parsers, no files whose names end in .conf".to_owned()));
    }
    let schema = udm::Schema::load();
    let mut totals = Totals::default();
    let mut documents = Vec::new();
    let mut junit = Vec::new();
    pool::in_order(
        args.threads.unwrap_or_else(super::threads).clamp(1, super::THREADS_MAX),
        parsers.into_iter(),
        || |parser| test(args, parser, &schema),
        |result: TestedParser| {
            totals.add(&result);
            match format {
                Format::Table => {
                    let text = result.text(args);
                    if !text.is_empty() {
                        say(text.trim_end());
                    }
                }
                Format::Ndjson => say(&result.json().to_string()),
                Format::Json => documents.push(result.json()),
            }
            if args.junit.is_some() {
                junit.extend(result.junit());
            }
        },
    );
    if format == Format::Json {
        format.one(&json!({ "parsers": documents, "summary": totals.json() }));
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::document(&junit))
            .map_err(|error| CliError::Refused(format!("cannot write {}: {error}", path.display())))?;
    }
    let summary = format!("{}, in {:.1} s", totals.sentence(), started.elapsed().as_secs_f64());
    match totals.fault(args) {
        Some(fault) => Err(CliError::Refused(format!("{summary}{fault}"))),
        None => {
            eprintln!("{summary}");
            Ok(())
        }
    }
}

/// Tests one parser.
fn test(args: &TestArgs, parser: Tested, schema: &Arc<udm::Schema>) -> TestedParser {
    let started = Instant::now();
    let mut result = TestedParser { parser, broken: None, cases: Vec::new(), covered: None, seconds: 0.0 };
    match loaded(&result.parser) {
        Err(why) => result.broken = Some(why),
        Ok(program) => {
            let mut cover = args.coverage_wanted().then(|| Coverage::new(&program));
            let mut machine = args.machine.machine(schema);
            let log_type = program::log_type(&result.parser.path);
            for case in &result.parser.cases {
                let started = Instant::now();
                let mut ran = run_case(args, case, &program, log_type.as_deref(), &mut machine, &mut cover);
                ran.seconds = started.elapsed().as_secs_f64();
                result.cases.push(ran);
            }
            // What no log was to go through is no gap.
            result.covered = cover.filter(|_| !result.cases.is_empty()).map(|cover| Covered::new(&program, &cover));
        }
    }
    result.seconds = started.elapsed().as_secs_f64();
    result
}

fn loaded(parser: &Tested) -> Result<Program, String> {
    if let Some(fault) = &parser.fault {
        return Err(fault.clone());
    }
    let source = program::read(&parser.path).map_err(|error| error.to_string())?;
    Program::new(source.name.clone(), source.text.clone()).map_err(|diagnostics| {
        // Kept as text: results are printed later, and go into files.
        let pen = Pen::plain();
        diagnostics.iter().map(|found| pen.diagnostic(&source, found)).collect::<Vec<_>>().join("\n\n")
    })
}

/// Runs one case and holds it against its file.
fn run_case(
    args: &TestArgs,
    case: &Case,
    program: &Program,
    log_type: Option<&str>,
    machine: &mut Machine,
    cover: &mut Option<Coverage>,
) -> Ran {
    let mut ran = Ran {
        name: case.name.clone(),
        verdict: Verdict::Passed,
        comparison: None,
        places: Vec::new(),
        counts: Counts::default(),
        text: String::new(),
        seconds: 0.0,
    };
    let logs = Logs::open(std::slice::from_ref(&case.logs), None, args.read.split(), args.machine.limit_log)
        .map(|logs| (logs.names(), logs))
        .and_then(|(names, logs)| Ok((names, logs.all()?)));
    let (names, logs) = match logs {
        Ok(logs) => logs,
        Err(error) => {
            ran.verdict = Verdict::Broken(error.to_string());
            return ran;
        }
    };
    let named = |place: Place| super::logs::named(&names, place);
    let otherwise = super::timestamp(args.received_at);
    let mut events = Vec::new();
    let mut errors = Vec::new();
    for (number, log) in logs.iter().enumerate() {
        let context = Context {
            collected_at: log.collected_at,
            log_type: log_type.map(str::to_owned),
            ..Context::new(log.received_at.unwrap_or(otherwise))
        };
        let outcome = match cover {
            Some(cover) => machine.watch(program, &log.data, &context, cover),
            None => machine.run(program, &log.data, &context),
        };
        ran.counts.logs += 1;
        match outcome.end {
            Ok(made) => {
                ran.counts.odd += made.iter().filter(|event| !event.issues.is_empty()).count() as u64;
                let made = expected_form(&made);
                ran.places.extend(made.iter().map(|_| named(log.place)));
                events.extend(made);
            }
            Err(error) => {
                match error.end {
                    End::Dropped(_) => ran.counts.dropped += 1,
                    _ => ran.counts.failed += 1,
                }
                errors.push((number + 1, log, error));
            }
        }
    }
    let right = document(&events, if case.layout == Layout::Ours { &errors } else { &[] });
    let compare = |expected: &Value| {
        let comparison = differences::compare(expected, &right, args.times.unwrap_or(case.layout == Layout::Ours));
        let found = match case.layout {
            // Google's files know of events alone.
            Layout::Google => Vec::new(),
            Layout::Ours => errors_that_differ(expected, &errors),
        };
        (comparison, found)
    };
    match (case.expected.exists().then(|| differences::read(&case.expected)), args.update) {
        (Some(Err(error)), false) => ran.verdict = Verdict::Broken(error.to_string()),
        (None, false) => ran.verdict = Verdict::Skipped,
        (Some(Ok(expected)), _) if is_as_expected(&compare(&expected)) => ran.comparison = Some(compare(&expected).0),
        (Some(Ok(expected)), false) => {
            let (comparison, found) = compare(&expected);
            ran.verdict = Verdict::Failed;
            ran.text = comparison.text(args.differences, &|event| ran.places.get(event - 1).cloned());
            found.iter().for_each(|line| ran.text.push_str(&format!("{line}\n")));
            // Why an event is missing stands in the error of its log.
            if case.layout == Layout::Google && !comparison.is_equal() {
                for (_, log, error) in
                    errors.iter().filter(|(_, _, error)| !matches!(error.end, End::Dropped(_))).take(3)
                {
                    let log = format!("{}: {}", named(log.place), draw::excerpt(&log.data));
                    ran.text.push_str(&format!("{}\n", Pen::plain().failure(program, error, &log)));
                }
            }
            ran.comparison = Some(comparison);
        }
        (_, true) => {
            let text = serde_json::to_string_pretty(&right).expect("a JSON value has a text") + "\n";
            ran.verdict = match write(&case.expected, &text) {
                Ok(()) => Verdict::Updated,
                Err(error) => Verdict::Broken(format!("cannot write {}: {error}", case.expected.display())),
            };
        }
    }
    ran
}

fn is_as_expected((comparison, found): &(Comparison, Vec<String>)) -> bool {
    comparison.is_equal() && found.is_empty()
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    replace(path, text)
}

/// A file of expected events: Google's form, and beside the events, if there are any, the logs without.
fn document(events: &[Value], errors: &[(usize, &super::logs::Log, Error)]) -> Value {
    let mut document = json!({ "events": events });
    if !errors.is_empty() {
        let errors: Vec<Value> =
            errors.iter().map(|(number, _, error)| json!({ "log": number, "error": error.text })).collect();
        document["errors"] = Value::from(errors);
    }
    document
}

/// Logs that failed or were dropped otherwise than a file says; a line for each.
fn errors_that_differ(expected: &Value, errors: &[(usize, &super::logs::Log, Error)]) -> Vec<String> {
    let mut known = BTreeMap::new();
    for entry in expected["errors"].as_array().into_iter().flatten() {
        known.insert(entry["log"].as_u64().unwrap_or(0) as usize, entry["error"].as_str().unwrap_or_default());
    }
    let mut lines = Vec::new();
    for (number, log, error) in errors {
        match known.remove(number) {
            Some(text) if text == error.text => {}
            Some(text) => {
                lines.push(format!("log {number}: expected {}, got {}", printable(text), printable(&error.text)))
            }
            None => lines.push(format!("log {number} ({}): {}", draw::excerpt(&log.data), printable(&error.text))),
        }
    }
    lines.extend(known.iter().map(|(number, text)| format!("log {number}: expected {}, got none", printable(text))));
    lines
}

impl TestArgs {
    fn coverage_wanted(&self) -> bool {
        self.coverage || self.fail_under.is_some()
    }
}

impl TestedParser {
    /// For people. A parser without cases that can run is only counted.
    fn text(&self, args: &TestArgs) -> String {
        let name = printable(&self.parser.name);
        if let Some(broken) = &self.broken {
            return format!("BROKEN  {name}\n{}\n", indented(broken));
        }
        let mut text = String::new();
        for ran in &self.cases {
            let word = match &ran.verdict {
                Verdict::Passed => "ok     ",
                Verdict::Failed => "FAILED ",
                Verdict::Skipped => "?      ",
                Verdict::Updated => "updated",
                Verdict::Broken(_) => "BROKEN ",
            };
            let events = count(ran.places.len() as u64, "event");
            let what = match (&ran.verdict, &ran.comparison) {
                (Verdict::Broken(why), _) => printable(why),
                (Verdict::Skipped, _) => {
                    "no file of expected events, which --update writes; it gives ".to_owned() + &events
                }
                (Verdict::Failed, Some(comparison)) => comparison.sentence(),
                _ => events,
            };
            let mut of = Vec::new();
            for (number, words) in
                [(ran.counts.failed, "failed"), (ran.counts.dropped, "dropped"), (ran.counts.odd, "events with issues")]
            {
                if number > 0 {
                    of.push(format!("{number} {words}"));
                }
            }
            let of = if of.is_empty() { String::new() } else { format!(", {}", of.join(", ")) };
            let logs = count(ran.counts.logs, "log");
            text.push_str(&format!("{word} {name} {}: {what} of {logs}{of}\n", printable(&ran.name)));
            text.push_str(&indented(&ran.text));
        }
        if let (Some(covered), true) = (&self.covered, args.coverage) {
            text.push_str(&format!("        {}\n", covered.sentence()));
        }
        text
    }

    fn json(&self) -> Value {
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|ran| {
                let (verdict, why) = match &ran.verdict {
                    Verdict::Passed => ("passed", None),
                    Verdict::Failed => ("failed", None),
                    Verdict::Skipped => ("skipped", None),
                    Verdict::Updated => ("updated", None),
                    Verdict::Broken(why) => ("broken", Some(why)),
                };
                let mut document = json!({
                    "name": ran.name, "verdict": verdict, "logs": ran.counts.logs, "events": ran.places.len(),
                    "dropped": ran.counts.dropped, "failed": ran.counts.failed, "with_issues": ran.counts.odd,
                });
                if let Some(why) = why {
                    document["why"] = json!(why);
                }
                if let Some(comparison) = &ran.comparison {
                    document["comparison"] = comparison.json();
                }
                document
            })
            .collect();
        let mut document = json!({ "name": self.parser.name, "file": self.parser.path, "cases": cases });
        if let Some(broken) = &self.broken {
            document["broken"] = json!(broken);
        }
        if let Some(covered) = &self.covered {
            document["coverage"] = covered.json();
        }
        document
    }

    fn junit(&self) -> Vec<junit::Case> {
        let suite = self.parser.name.clone();
        let case = |name: &str, seconds, outcome| junit::Case {
            suite: suite.clone(),
            name: name.to_owned(),
            seconds,
            outcome,
        };
        let compiles = match &self.broken {
            Some(text) => junit::Outcome::Broken { message: "it cannot run".to_owned(), text: text.clone() },
            None => junit::Outcome::Passed,
        };
        let mut cases = vec![case("can run", 0.0, compiles)];
        cases.extend(self.cases.iter().map(|ran| {
            let outcome = match &ran.verdict {
                Verdict::Passed | Verdict::Updated => junit::Outcome::Passed,
                Verdict::Skipped => junit::Outcome::Skipped("there is no file of expected events".to_owned()),
                Verdict::Broken(why) => junit::Outcome::Broken { message: why.clone(), text: String::new() },
                Verdict::Failed => junit::Outcome::Failed {
                    message: ran.comparison.as_ref().map_or_else(String::new, Comparison::sentence),
                    text: ran.text.clone(),
                },
            };
            case(&ran.name, ran.seconds, outcome)
        }));
        cases
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}\n")).collect()
}

/// What all parsers come to.
#[derive(Debug, Default)]
struct Totals {
    parsers: u64,
    without_cases: u64,
    broken: u64,
    passed: u64,
    failed: u64,
    skipped: u64,
    updated: u64,
    expected: usize,
    equal: usize,
    covered: Option<(Share, Share)>,
}

impl Totals {
    fn add(&mut self, result: &TestedParser) {
        self.parsers += 1;
        self.broken += u64::from(result.broken.is_some());
        self.without_cases += u64::from(result.parser.cases.is_empty() && result.broken.is_none());
        for ran in &result.cases {
            match ran.verdict {
                Verdict::Passed => self.passed += 1,
                Verdict::Failed => self.failed += 1,
                Verdict::Skipped => self.skipped += 1,
                Verdict::Updated => self.updated += 1,
                Verdict::Broken(_) => self.broken += 1,
            }
            if let Some(comparison) = &ran.comparison {
                self.expected += comparison.expected;
                self.equal += comparison.equal;
            }
        }
        if let Some(covered) = &result.covered {
            let (statements, branches) = self.covered.get_or_insert_default();
            for (total, share) in [(statements, covered.statements), (branches, covered.branches)] {
                total.reached += share.reached;
                total.of += share.of;
            }
        }
    }

    fn equal_percent(&self) -> f64 {
        if self.expected == 0 { 100.0 } else { self.equal as f64 * 100.0 / self.expected as f64 }
    }

    fn sentence(&self) -> String {
        let mut text = count(self.parsers, "parser");
        if self.without_cases > 0 {
            text.push_str(&format!(" ({} without samples, which can run)", self.without_cases));
        }
        text.push_str(&format!(": {} passed, {} failed", count(self.passed, "case"), self.failed));
        for (number, words) in
            [(self.skipped, "without expected events"), (self.updated, "updated"), (self.broken, "broken")]
        {
            if number > 0 {
                text.push_str(&format!(", {number} {words}"));
            }
        }
        if self.expected > 0 {
            text.push_str(&format!(
                "; {} of {} expected events ({:.1} %)",
                self.equal,
                self.expected,
                self.equal_percent()
            ));
        }
        if let Some((statements, branches)) = self.covered {
            text.push_str(&format!("; {}", cover::shares(statements, branches)));
        }
        text
    }

    fn json(&self) -> Value {
        let mut document = json!({
            "parsers": self.parsers, "without_cases": self.without_cases, "passed": self.passed, "failed": self.failed,
            "skipped": self.skipped, "updated": self.updated, "broken": self.broken,
            "expected_events": self.expected, "equal_events": self.equal,
        });
        if let Some((statements, branches)) = self.covered {
            document["coverage"] = cover::shares_json(statements, branches);
        }
        document
    }

    /// What makes the exit status 1.
    fn fault(&self, args: &TestArgs) -> Option<String> {
        if self.broken > 0 {
            return Some(String::new());
        }
        match args.equal_at_least {
            Some(least) if self.equal_percent() < least => return Some(format!("; less than {least} %")),
            None if self.failed > 0 => return Some(String::new()),
            _ => {}
        }
        let least = args.fail_under?;
        let ran = self.covered.map_or(100.0, |(statements, _)| 100.0 * statements.ratio());
        (ran < least).then(|| format!("; less than {least} % of the statements ran"))
    }
}
