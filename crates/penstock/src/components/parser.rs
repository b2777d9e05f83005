//! `runParser`: runs parsers that are sent along. They are strangers' programs: their limits are `cbn`'s, a few run at the
//! same time, and none runs on when its client is gone or its time is over, not even in the middle of a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cbn::{Context, End, Limit, Machine, Observer, Program};
use dialects::{Cause, Outcome, ParsedEvent, ParsedLog, Refusal, RunParserCall};
use event::limits;

use super::{Answers, CancelOnDrop};
use crate::api::blocking;

impl Answers {
    pub(super) async fn run_parser(&self, call: RunParserCall) -> Result<Outcome, Refusal> {
        let _place = self.parsers.acquire().await.map_err(|_| Refusal::internal())?;
        let cancel = CancelOnDrop::default();
        let over = Arc::clone(&cancel.0);
        let schema = Arc::clone(self.control.schema());
        let now = jiff::Timestamp::from_microsecond((self.clock)().micros()).map_err(|_| Refusal::internal())?;
        let mut running = std::pin::pin!(blocking(move || run(&call, Machine::new(schema), now, &over)));
        tokio::select! {
            done = &mut running => done?,
            () = tokio::time::sleep(Duration::from_secs(limits::RUN_PARSER_SECS_MAX)) => {
                cancel.0.store(true, Ordering::Relaxed);
                running.await?
            }
        }
    }
}

/// Why a log has no result.
const IN_TIME: &str = "given up: it took too long; send fewer logs at once, or look for what the parser repeats";
const NOT_RUN: &str = "not run: the logs before it took too long; send fewer at once";
const NOT_SHOWN: &str = "not shown: the answer would be too large; send fewer logs at once";

/// Runs the logs until the flag is set, whether nobody waits for the answer any more or the time is over.
fn run(
    call: &RunParserCall,
    mut machine: Machine,
    now: jiff::Timestamp,
    over: &Arc<AtomicBool>,
) -> Result<Outcome, Refusal> {
    let parser = program("parser", &call.parser)?;
    let extension = call.extension.as_ref().map(|source| program("parser extension", source)).transpose()?;
    let context = Context { log_type: Some(call.log_type.clone()), ..Context::new(now) };
    machine.cancel = Some(Arc::clone(over));
    let mut bytes_left = limits::RUN_PARSER_ANSWER_BYTES_MAX;
    let mut parsed = Vec::with_capacity(call.logs.len());
    for log in &call.logs {
        let given_up = |why: &str| ParsedLog { error: Some(why.to_owned()), ..ParsedLog::default() };
        if over.load(Ordering::Relaxed) {
            parsed.push(given_up(NOT_RUN));
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
            Err(error) if error.end == End::Limit(Limit::Cancelled) => result = given_up(IN_TIME),
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
            None => parsed.push(given_up(NOT_SHOWN)),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_log_ends_when_the_time_is_over_and_those_behind_it_are_not_run() {
        let list: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let endless = Bytes::from(format!(r#"{{"l": [{}]}}"#, list.join(",")));
        let parser = r#"filter { json { source => "message" }
            for a in l { for b in l { for c in l { mutate { replace => { "x" => "y" } } } } } }"#;
        let call = RunParserCall {
            instance: event::InstanceId::from_uuid(uuid::Uuid::nil()),
            log_type: "OKTA".to_owned(),
            parser: parser.to_owned(),
            extension: None,
            logs: vec![Bytes::from_static(b"{}"), endless, Bytes::from_static(b"{}")],
            statedumps: false,
        };
        // Without an end from outside this runs for hours.
        let mut machine = Machine::new(udm::Schema::load());
        machine.limits.steps = u64::MAX;
        let over = Arc::new(AtomicBool::new(false));
        let timer = Arc::clone(&over);
        let timer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            timer.store(true, Ordering::Relaxed);
        });
        let Ok(Outcome::Parsed(parsed)) = run(&call, machine, jiff::Timestamp::UNIX_EPOCH, &over) else {
            panic!("no results")
        };
        timer.join().expect("the timer ends");
        let errors: Vec<Option<&str>> = parsed.iter().map(|log| log.error.as_deref()).collect();
        assert_eq!(errors, [None, Some(IN_TIME), Some(NOT_RUN)]);
    }
}
