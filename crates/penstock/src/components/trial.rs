//! Tries a parser on the newest stored logs of its type, as the stream would run it: the same limits, the same checks.
//!
//! What is found is a report, and whether the parser may be activated. Bounded in logs, bytes and time; when the client
//! leaves, it ends.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cbn::{End, Machine, Program};
use dialects::{Cause, KeptParser, NewParser, ParsingError, Refusal, Slot, Validation};
use event::{InstanceId, Kind, Time, limits};
use store::Store;

use super::parser::program;
use super::{Answers, CancelOnDrop, failed};
use crate::api::blocking;

/// Matches every log that has a character.
const ANYTHING: &str = ".";

impl Answers {
    /// How a parser does on the newest stored logs. Nothing is changed by it.
    pub(super) async fn try_on_stored_logs(
        &self,
        instance: InstanceId,
        slot: Slot,
        parser: &KeptParser,
    ) -> Result<Validation, Refusal> {
        let KeptParser { log_type, new, .. } = parser.clone();
        let now = (self.clock)();
        let logs = match &self.pipeline.store {
            None => Vec::new(),
            Some(_) => {
                let of = log_type.clone();
                self.searching(move |store, cancelled| newest(store, instance, of, cancelled)).await?
            }
        };
        // An extension adds to what reads the logs now.
        let before = self.pipeline.normaliser.schedule().latest(instance, &log_type).parser;
        let before = before.filter(|_| slot == Slot::Extension);
        let machine = Machine::new(Arc::clone(self.control.schema()));
        let _place = self.parsers.acquire().await.map_err(|_| Refusal::internal())?;
        let cancel = CancelOnDrop::default();
        let cancelled = Arc::clone(&cancel.0);
        let trial = move || -> Result<Validation, Refusal> {
            let program = program(slot.noun(), &new.source)?;
            let programs = match before {
                Some(before) => {
                    let before = before.program().map_err(|why| Refusal::new(Cause::WrongState, why.to_owned()))?;
                    (before.clone(), Some(program))
                }
                None => (program, None),
            };
            let mut trial = Trial { machine, programs, log_type, report: Validation::default(), errors_bytes: 0 };
            trial.run(&new, logs, now, &cancelled)?;
            Ok(trial.finish(&new, now))
        };
        blocking(trial).await?
    }
}

/// A stored log, with what its parser is told beside its text.
struct Log {
    data: Bytes,
    received_at: Time,
    sender_time: Option<Time>,
    collected_at: Option<Time>,
}

/// The newest logs of a type, as many as are tried.
fn newest(store: &Store, instance: InstanceId, log_type: String, cancelled: &AtomicBool) -> Result<Vec<Log>, Refusal> {
    let query = search::Query {
        instance: Some(instance),
        kinds: vec![Kind::Raw],
        predicate: query::raw_regex(ANYTHING, true).map_err(|_| Refusal::internal())?,
        from: None,
        to: None,
        log_types: vec![log_type],
        limit: limits::PARSER_VALIDATION_LOGS_MAX,
    };
    let (mut logs, mut bytes) = (Vec::new(), 0);
    search::run(&store.snapshot(), &query, cancelled, &mut |row| {
        bytes += row.data.len();
        if bytes > limits::PARSER_VALIDATION_BYTES_MAX {
            return ControlFlow::Break(());
        }
        let search::Row { data, received_at, sender_time, collected_at, .. } = row;
        logs.push(Log { data, received_at, sender_time, collected_at });
        ControlFlow::Continue(())
    })
    .map_err(|error| failed(&error))?;
    Ok(logs)
}

struct Trial {
    machine: Machine,
    /// What reads, and what adds to it.
    programs: (Program, Option<Program>),
    log_type: String,
    report: Validation,
    errors_bytes: usize,
}

impl Trial {
    fn run(&mut self, new: &NewParser, logs: Vec<Log>, now: Time, cancelled: &AtomicBool) -> Result<(), Refusal> {
        self.machine.limits = normalise::limits_of_a_log();
        let sample = new.sample.iter().map(|data| Log {
            data: data.clone(),
            received_at: now,
            sender_time: None,
            collected_at: None,
        });
        let until = Instant::now() + Duration::from_secs(limits::PARSER_VALIDATION_SECS_MAX);
        for log in sample.chain(logs) {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Refusal::internal());
            }
            if Instant::now() >= until {
                break;
            }
            self.log(&log);
        }
        Ok(())
    }

    fn log(&mut self, log: &Log) {
        let context = normalise::context(&self.log_type, log.received_at, log.sender_time, log.collected_at);
        let began = Instant::now();
        let outcome = match &self.programs {
            (parser, Some(extension)) => {
                // What the parser fails on says nothing of the extension.
                if self.machine.run(parser, &log.data, &context).end.is_err() {
                    return;
                }
                self.machine.run_extended(parser, extension, &log.data, &context)
            }
            (parser, None) => self.machine.run(parser, &log.data, &context),
        };
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let report = &mut self.report;
        report.logs += 1;
        report.all_micros = report.all_micros.saturating_add(micros);
        report.slowest_micros = report.slowest_micros.max(micros);
        match outcome.end {
            Ok(events) => {
                report.normalized += u64::from(!events.is_empty());
                for event in events {
                    *report.events.entry(type_of(&event)).or_default() += 1;
                }
            }
            Err(error) => match error.end {
                End::Dropped(tag) => count_tag(&mut report.dropped, tag),
                _ => {
                    report.failed += 1;
                    self.note_error(&log.data, error.text);
                }
            },
        }
    }

    fn note_error(&mut self, log: &[u8], text: String) {
        let bytes = log.len().div_ceil(3) * 4 + text.len();
        let has_room = self.report.errors.len() < limits::PARSER_VALIDATION_ERRORS_MAX
            && self.errors_bytes + bytes <= limits::PARSER_VALIDATION_ERRORS_BYTES_MAX;
        if has_room {
            self.errors_bytes += bytes;
            self.report.errors.push(ParsingError { log: STANDARD.encode(log), text });
        }
    }

    fn finish(self, new: &NewParser, now: Time) -> Validation {
        let Trial { mut report, log_type, .. } = self;
        report.id = uuid::Uuid::new_v4().to_string();
        report.at = now.to_string();
        let Validation { logs, failed, .. } = report;
        (report.passed, report.verdict) = match (logs, failed) {
            (0, _) if new.validated_on_empty_logs => (true, format!("There are no logs of {log_type} to try it on.")),
            (0, _) => {
                let hint = "Make one with validated_on_empty_logs to activate it all the same.";
                (false, format!("There are no logs of {log_type} to try it on. {hint}"))
            }
            _ if failed < logs => (true, format!("It failed on {failed} of the newest {logs} logs.")),
            _ => {
                let first = report.errors.first().map_or("", |error| error.text.as_str());
                (false, format!("It failed on all of the newest {logs} logs. The first of them: {first}"))
            }
        };
        report
    }
}

/// How many tags are told apart: a program may make them of what stands in logs.
const TAGS_MAX: usize = 100;

fn count_tag(counts: &mut BTreeMap<String, u64>, tag: String) {
    let tag = if counts.len() < TAGS_MAX || counts.contains_key(&tag) { tag } else { "others".to_owned() };
    *counts.entry(tag).or_default() += 1;
}

/// The type that an event or entity says it has.
fn type_of(event: &cbn::output::Event) -> String {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Made {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Metadata {
        event_type: Option<String>,
        entity_type: Option<String>,
    }
    let Made { metadata } = serde_json::from_str(&event.json).unwrap_or_default();
    metadata.event_type.or(metadata.entity_type).unwrap_or_else(|| "EVENTTYPE_UNSPECIFIED".to_owned())
}
