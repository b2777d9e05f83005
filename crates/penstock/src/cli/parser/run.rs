//! `penstock parser run`: a parser on logs, their events on standard output, what failed on standard error.
//!
//! Logs are run by several threads and shown in their order. Nothing is kept but counts, unless events are compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cbn::output::{Event, compare};
use cbn::{End, Error, Machine};
use clap::Args;
use indicatif::HumanCount;
use serde_json::{Value, json};
use udm::Root;

use super::logs::{self, Chunk, Log, Logs, Place};
use super::program::{self, Loaded};
use super::{ContextArgs, MachineArgs, ReadArgs, differences, draw, pool, show};
use crate::cli::log::send::count;
use crate::cli::output::{printable, unwritten};
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser run okta.conf okta.log
  penstock parser run parsers/OKTA okta.log -o json > events.json
  tail -f /var/log/named/queries.log | penstock parser run bind.conf -
  penstock parser run okta.conf --message '{\"eventType\": \"user.session.start\"}'
  penstock parser run okta.conf okta_log.json --expected okta_events.json
  penstock parser run okta.conf okta.log --extension more.conf

What is one log: a line, so that each line of NDJSON is one; a file of Google's validator ({\"raw_logs\": …}) has its \
entries; a .json file that holds one array its elements; --split says otherwise. Files ending in .gz are inflated.

The events are printed value by value; with -o json as {\"events\": […]}, the form of Google's files of expected events; \
with -o ndjson a line for each log with its events, the tag that it was dropped with, or its error. What failed is shown \
on standard error with the place in the parser.

With --expected the differences are printed in place of the events. Events are compared as Google's validator does it: \
times and log types do not count. --times makes the times count.

Exit status: 0 all is well, logs that the parser drops included; 1 a log failed; with --expected, 1 something differs.";

/// `penstock parser run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The parser: its file, or a folder with one
    parser: PathBuf,
    /// Files or folders of logs, or - for standard input
    #[arg(value_name = "LOGS", required_unless_present = "message")]
    logs: Vec<PathBuf>,
    /// A log to run it on
    #[arg(long, value_name = "LOG")]
    message: Option<OsString>,
    /// A parser extension, whose result is laid over the parser's events
    #[arg(long, value_name = "FILE")]
    extension: Option<PathBuf>,
    /// Compare with this file of expected events
    #[arg(long, value_name = "FILE")]
    expected: Option<PathBuf>,
    /// With --expected: compare times, too
    #[arg(long, requires = "expected")]
    times: bool,
    /// Most failures that are shown; the others are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    failures: u64,
    /// How many threads run the parser [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

/// What became of a chunk of logs.
#[derive(Debug, Default)]
struct Ran {
    /// What goes to standard output.
    text: String,
    failed: Vec<Failed>,
    counts: Counts,
    /// The events in the form of expected files with the places of their logs, if they are compared.
    got: Vec<(Value, Place)>,
    is_live: bool,
    /// Something could not be read.
    fault: Option<String>,
}

#[derive(Debug)]
struct Failed {
    error: Error,
    place: Place,
    excerpt: String,
}

/// What the summary says.
#[derive(Debug, Default)]
struct Counts {
    logs: u64,
    events: u64,
    /// Events with issues.
    odd: u64,
    /// Logs without events that were neither dropped nor failed.
    silent: u64,
    failed: u64,
    dropped: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.logs += other.logs;
        self.events += other.events;
        self.odd += other.odd;
        self.silent += other.silent;
        self.failed += other.failed;
        for (tag, number) in &other.dropped {
            *self.dropped.entry(tag.clone()).or_default() += number;
        }
    }

    fn sentence(&self, seconds: f64) -> String {
        let mut text = format!("{}, {}", count(self.logs, "log"), count(self.events, "event"));
        if self.odd > 0 {
            text.push_str(&format!(" ({} with issues)", HumanCount(self.odd)));
        }
        if self.silent > 0 {
            text.push_str(&format!(", {} without events", HumanCount(self.silent)));
        }
        text.push_str(&format!(", {} dropped", HumanCount(self.dropped.values().sum())));
        if !self.dropped.is_empty() {
            let tags: Vec<_> = self
                .dropped
                .iter()
                .map(|(tag, number)| format!("{} {}", printable(tag), HumanCount(*number)))
                .collect();
            text.push_str(&format!(" ({})", tags.join(", ")));
        }
        text.push_str(&format!(", {} failed, in {seconds:.1} s", HumanCount(self.failed)));
        if seconds > 1.0 {
            text.push_str(&format!(", {}/s", count((self.logs as f64 / seconds) as u64, "log")));
        }
        text
    }
}

/// `penstock parser run`
pub fn run(args: &RunArgs, format: Format) -> Result<(), CliError> {
    let loaded = program::load(&args.parser)?;
    let extension = args.extension.as_deref().map(program::load).transpose()?;
    let expected = args.expected.as_deref().map(differences::read).transpose()?;
    let logs = Logs::open(&args.logs, args.message.clone(), args.read.split(), args.machine.limit_log)?;
    let names = logs.names();
    let now = jiff::Timestamp::now();
    let schema = udm::Schema::load();
    let started = Instant::now();

    let extension = extension.as_ref();
    let runner = Runner { args, loaded: &loaded, extension, names: &names, format, compares: expected.is_some(), now };
    let mut counts = Counts::default();
    let mut faults = 0_u64;
    let mut got = Vec::new();
    let mut failures = Failures::new(args.failures, &loaded, extension, &names);
    let mut out = Out::new(match (format, &expected) {
        (Format::Json, None) => Form::Array,
        (_, None) => Form::Lines,
        (_, Some(_)) => Form::Nothing,
    });
    pool::in_order(
        args.threads.unwrap_or_else(super::threads).clamp(1, super::THREADS_MAX),
        logs.into_iter(),
        || {
            let mut machine = args.machine.machine(&schema);
            move |chunk| runner.chunk(&mut machine, chunk)
        },
        |ran: Ran| {
            out.write(&ran.text);
            // What failed is shown on another stream, but after what came before it.
            if ran.is_live || !ran.failed.is_empty() && failures.has_room() {
                out.flush();
            }
            if let Some(fault) = ran.fault {
                eprintln!("penstock: {}", printable(&fault));
                faults += 1;
            }
            counts.add(&ran.counts);
            got.extend(ran.got);
            ran.failed.into_iter().for_each(|failed| failures.tell(&failed));
        },
    );
    out.end();
    failures.end();

    let summary = counts.sentence(started.elapsed().as_secs_f64());
    let mut wrong = counts.failed > 0 || faults > 0;
    let mut verdict = String::new();
    if let Some(expected) = expected {
        let (events, places): (Vec<Value>, Vec<Place>) = got.into_iter().unzip();
        let comparison = differences::compare(&expected, &Value::Array(events), args.times);
        let name = |event: usize| places.get(event - 1).map(|place| logs::named(&names, *place));
        differences::print(&comparison, format, &name);
        verdict = format!("; {}", comparison.sentence());
        // What the file says of logs that fail is nothing, so the events alone decide.
        wrong = !comparison.is_equal() || faults > 0;
    }
    if wrong {
        return Err(CliError::Refused(format!("{summary}{verdict}")));
    }
    eprintln!("{summary}{verdict}");
    Ok(())
}

/// What every thread knows.
#[derive(Clone, Copy)]
struct Runner<'a> {
    args: &'a RunArgs,
    loaded: &'a Loaded,
    extension: Option<&'a Loaded>,
    names: &'a [String],
    format: Format,
    compares: bool,
    now: jiff::Timestamp,
}

impl Runner<'_> {
    fn chunk(&self, machine: &mut Machine, chunk: Chunk) -> Ran {
        let mut ran = Ran::default();
        match chunk {
            Chunk::Fault { place, why } => ran.fault = Some(format!("{place}: {why}")),
            Chunk::Logs { logs, is_live } => {
                ran.is_live = is_live;
                logs.iter().for_each(|log| self.log(machine, log, &mut ran));
            }
        }
        ran
    }

    fn log(&self, machine: &mut Machine, log: &Log, ran: &mut Ran) {
        let context = self.args.context.context(log, self.loaded.log_type.as_deref(), self.now);
        let end = match self.extension {
            Some(extension) => machine.run_extended(&self.loaded.program, &extension.program, &log.data, &context).end,
            None => machine.run(&self.loaded.program, &log.data, &context).end,
        };
        ran.counts.logs += 1;
        match &end {
            Ok(events) => {
                ran.counts.events += events.len() as u64;
                ran.counts.odd += events.iter().filter(|event| !event.issues.is_empty()).count() as u64;
                ran.counts.silent += u64::from(events.is_empty());
            }
            Err(Error { end: End::Dropped(tag), .. }) => *ran.counts.dropped.entry(tag.clone()).or_default() += 1,
            Err(_) => ran.counts.failed += 1,
        }
        if self.compares {
            if let Ok(events) = &end {
                ran.got.extend(expected_form(events).into_iter().map(|event| (event, log.place)));
            }
        } else {
            self.show(log, &end, &mut ran.text);
        }
        if let Err(error) = end
            && !matches!(error.end, End::Dropped(_))
        {
            ran.failed.push(Failed { error, place: log.place, excerpt: draw::excerpt(&log.data) });
        }
    }

    fn show(&self, log: &Log, end: &Result<Vec<Event>, Error>, out: &mut String) {
        match self.format {
            Format::Json => {
                for event in end.iter().flat_map(|events| expected_form(events)) {
                    let text = serde_json::to_string_pretty(&event).expect("a JSON value has a text");
                    // Elements of an array that begins and ends elsewhere.
                    out.push_str(",\n    ");
                    out.push_str(&text.replace('\n', "\n    "));
                }
            }
            Format::Ndjson => line(&logs::named(self.names, log.place), end, out),
            Format::Table => {
                let place = printable(&logs::named(self.names, log.place));
                match end {
                    Ok(events) if events.is_empty() => out.push_str(&format!("{place}  no events\n")),
                    Ok(events) => {
                        for event in events {
                            out.push_str(&format!("{place}  {}\n", show::headline(event)));
                            show::event(event, out);
                        }
                    }
                    Err(Error { end: End::Dropped(tag), .. }) => {
                        out.push_str(&format!("{place}  dropped, {}\n", printable(tag)));
                    }
                    Err(_) => out.push_str(&format!("{place}  failed\n")),
                }
            }
        }
    }
}

/// Events of one log in the form of Google's expected files.
pub fn expected_form(events: &[Event]) -> Vec<Value> {
    match compare::transform([events]) {
        Value::Object(mut file) => match file.remove("events") {
            Some(Value::Array(events)) => events,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A log as a line of NDJSON. Written by hand: the events are JSON already.
fn line(log: &str, end: &Result<Vec<Event>, Error>, out: &mut String) {
    out.push_str(&format!("{{\"log\":{}", Value::from(log)));
    match end {
        Ok(events) => {
            out.push_str(",\"events\":[");
            for (at, event) in events.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                match event.root {
                    Root::Entity => out.push_str("{\"event\":{\"idm\":{\"entity\":"),
                    Root::Event => {
                        let timestamp = Value::from(event.timestamp.as_deref());
                        out.push_str(&format!("{{\"event\":{{\"timestamp\":{timestamp},\"idm\":{{\"readOnlyUdm\":"));
                    }
                }
                out.push_str(&event.json);
                out.push_str("}}}");
            }
            out.push(']');
            let issues: Vec<Value> = events
                .iter()
                .enumerate()
                .flat_map(|(at, event)| event.issues.iter().map(move |issue| (at, issue)))
                .map(|(at, issue)| json!({ "event": at, "field": issue.field, "message": issue.message }))
                .collect();
            if !issues.is_empty() {
                out.push_str(&format!(",\"issues\":{}", Value::from(issues)));
            }
        }
        Err(Error { end: End::Dropped(tag), .. }) => out.push_str(&format!(",\"dropped\":{}", json!(tag))),
        Err(error) => out.push_str(&format!(",\"error\":{}", error_json(error))),
    }
    out.push_str("}\n");
}

/// An error for programs.
pub fn error_json(error: &Error) -> Value {
    let kind = match &error.end {
        End::Failed => "failed",
        End::Dropped(_) => "dropped",
        End::Invalid => "invalid",
        End::Limit(_) => "limit",
    };
    let mut document = json!({ "kind": kind, "message": error.text });
    if let Some((file, line, column)) = &error.at {
        document["file"] = json!(file);
        document["line"] = json!(line);
        document["column"] = json!(column);
    }
    if let Some(field) = &error.field {
        document["field"] = json!(field);
    }
    document
}

/// What failed: shown with the place in the parser, the first time that this is the place; in a line the next times;
/// then only counted.
struct Failures<'a> {
    most: u64,
    shown: u64,
    drawn: std::collections::BTreeSet<String>,
    counted: BTreeMap<String, u64>,
    loaded: &'a Loaded,
    extension: Option<&'a Loaded>,
    names: &'a [String],
    pen: draw::Pen,
}

impl Failures<'_> {
    fn new<'a>(most: u64, loaded: &'a Loaded, extension: Option<&'a Loaded>, names: &'a [String]) -> Failures<'a> {
        let (drawn, counted) = Default::default();
        Failures { most, shown: 0, drawn, counted, loaded, extension, names, pen: draw::Pen::for_stderr() }
    }

    /// Whether the next one is shown.
    fn has_room(&self) -> bool {
        self.shown < self.most
    }

    fn tell(&mut self, failed: &Failed) {
        let at = match &failed.error.at {
            Some((file, line, column)) => format!("{file}:{line}:{column}"),
            None => self.loaded.source.name.clone(),
        };
        if !self.has_room() {
            *self.counted.entry(at).or_default() += 1;
            return;
        }
        self.shown += 1;
        let log = printable(&logs::named(self.names, failed.place));
        if self.drawn.contains(&at) {
            eprintln!("error: {log}: {at}: {}\n", printable(&failed.error.text));
        } else {
            let log = format!("{log}: {}", failed.excerpt);
            let file = failed.error.at.as_ref().map(|(file, ..)| file.as_str());
            let program = match self.extension {
                Some(extension) if file == Some(extension.program.name()) => &extension.program,
                _ => &self.loaded.program,
            };
            eprintln!("{}\n", self.pen.failure(program, &failed.error, &log));
            self.drawn.insert(at);
        }
    }

    fn end(&self) {
        if self.counted.is_empty() {
            return;
        }
        let mut places: Vec<_> = self.counted.iter().collect();
        places.sort_by(|one, other| other.1.cmp(one.1));
        let more: u64 = self.counted.values().sum();
        let places: Vec<_> =
            places.iter().take(10).map(|(at, number)| format!("{at} {}", HumanCount(**number))).collect();
        eprintln!("… and {} at {}\n", count(more, "more failure"), places.join(", "));
    }
}

/// Form of what is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Lines.
    Lines,
    /// Elements of the list in `{"events": …}`, each with `,` before it.
    Array,
    /// Nothing.
    Nothing,
}

/// Standard output in large pieces. A reader that went away (`| head`) ends the program quietly.
struct Out {
    out: std::io::BufWriter<std::io::Stdout>,
    form: Form,
    begun: bool,
}

impl Out {
    fn new(form: Form) -> Out {
        Out { out: std::io::BufWriter::with_capacity(256 << 10, std::io::stdout()), form, begun: false }
    }

    fn write(&mut self, text: &str) {
        let text = match self.form {
            Form::Nothing => return,
            Form::Array if !self.begun && !text.is_empty() => {
                self.put("{\n  \"events\": [");
                text.strip_prefix(',').unwrap_or(text)
            }
            _ => text,
        };
        if !text.is_empty() {
            self.begun = true;
            self.put(text);
        }
    }

    fn put(&mut self, text: &str) {
        if let Err(error) = self.out.write_all(text.as_bytes()) {
            unwritten(&error);
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.out.flush() {
            unwritten(&error);
        }
    }

    fn end(&mut self) {
        match (self.form, self.begun) {
            (Form::Array, true) => self.put("\n  ]\n}\n"),
            (Form::Array, false) => self.put("{\n  \"events\": []\n}\n"),
            _ => {}
        }
        self.flush();
    }
}
