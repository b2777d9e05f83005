//! `runParser`: runs parsers that are sent along. They are strangers' programs: their limits are `cbn`'s, a few run at the
//! same time, and none runs on when its client is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cbn::{Context, Machine, Observer, Program};
use dialects::{Cause, Outcome, ParsedEvent, ParsedLog, Refusal, RunParserCall};
use event::limits;

use super::{Answers, CancelOnDrop};
use crate::api::blocking;

impl Answers {
    pub(super) async fn run_parser(&self, call: RunParserCall) -> Result<Outcome, Refusal> {
        let _place = self.parsers.acquire().await.map_err(|_| Refusal::internal())?;
        let cancel = CancelOnDrop::default();
        let running = std::sync::Arc::clone(&cancel.0);
        let schema = std::sync::Arc::clone(self.control.schema());
        let now = jiff::Timestamp::from_microsecond((self.clock)().micros()).map_err(|_| Refusal::internal())?;
        blocking(move || run(&call, Machine::new(schema), now, &running)).await?
    }
}

fn run(
    call: &RunParserCall,
    mut machine: Machine,
    now: jiff::Timestamp,
    cancelled: &AtomicBool,
) -> Result<Outcome, Refusal> {
    let parser = program("parser", &call.parser)?;
    let extension = call.extension.as_ref().map(|source| program("parser extension", source)).transpose()?;
    let context = Context { log_type: Some(call.log_type.clone()), ..Context::new(now) };
    let until = Instant::now() + Duration::from_secs(limits::RUN_PARSER_SECS_MAX);
    let mut bytes_left = limits::RUN_PARSER_ANSWER_BYTES_MAX;
    let mut parsed = Vec::with_capacity(call.logs.len());
    for log in &call.logs {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Refusal::internal());
        }
        let given_up = |why: &str| ParsedLog { error: Some(why.to_owned()), ..ParsedLog::default() };
        if Instant::now() >= until {
            parsed.push(given_up("not run: the logs before it took too long; send fewer at once"));
            continue;
        }
        let mut dumps = Dumps { wanted: call.statedumps, ..Dumps::default() };
        let end = match &extension {
            Some(extension) => machine.watch_extended(&parser, extension, log, &context, &mut dumps).end,
            None => machine.watch(&parser, log, &context, &mut dumps).end,
        };
        let mut result = ParsedLog { statedumps: dumps.texts, ..ParsedLog::default() };
        match end {
            Ok(events) => {
                result.events = events
                    .into_iter()
                    .map(|event| ParsedEvent { is_entity: event.root == udm::Root::Entity, json: event.json })
                    .collect();
            }
            Err(error) => result.error = Some(error.text),
        }
        let bytes = result.events.iter().map(|event| event.json.len()).sum::<usize>()
            + result.statedumps.iter().map(String::len).sum::<usize>()
            + result.error.as_ref().map_or(0, String::len);
        match bytes_left.checked_sub(bytes) {
            Some(left) => {
                bytes_left = left;
                parsed.push(result);
            }
            None => parsed.push(given_up("not shown: the answer would be too large; send fewer logs at once")),
        }
    }
    Ok(Outcome::Parsed(parsed))
}

/// Reads a program; all that is wrong with it as one refusal, with lines and columns.
pub(super) fn program(name: &str, source: &str) -> Result<Program, Refusal> {
    Program::new(name, source).map_err(|found| {
        let places: Vec<String> = found
            .iter()
            .filter(|found| found.severity == cbn::Severity::Error)
            .take(limits::FAULTS_MAX)
            .map(|found| {
                let (line, column) = cbn::diagnostic::line_column(source, found.span.start);
                format!("line {line}, column {column}: {}", found.message)
            })
            .collect();
        Refusal::new(Cause::InvalidArgument, format!("The {name} cannot be read: {}", places.join("; ")))
    })
}

/// What the `statedump` statements say, in the form that Google's library takes apart.
#[derive(Default)]
struct Dumps {
    wanted: bool,
    bytes: usize,
    texts: Vec<String>,
}

impl Observer for Dumps {
    fn dump(&mut self, label: &str, run: &cbn::run::Run<'_>) {
        // A dump in a loop must not take more memory than an answer may have.
        if !self.wanted || self.bytes >= limits::RUN_PARSER_ANSWER_BYTES_MAX {
            return;
        }
        let text = format!("Internal State (label={label}):\n\n{:#}\n", cbn::dump(run));
        self.bytes += text.len();
        self.texts.push(text);
    }
}
