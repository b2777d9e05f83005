//! The work itself: some neighbouring records, one after the other, on a thread that has a machine.
//!
//! What a record may use is bounded, and so is what the records of a chunk may use together: a parser that takes seconds for
//! every log must not hold up those of other instances behind it. Both are counted in steps, not in time, so that the same
//! records always end in the same way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cbn::{Context, End, Machine};
use event::{Event, Failure, Issue, Kind, Tally, Time, Why, limits};

use crate::normaliser::count;
use crate::schedule::Choice;
use crate::{Read, generic};

/// A record, and what reads it if it is a raw one and anything does.
pub(crate) struct Job {
    pub(crate) event: Event,
    pub(crate) choice: Option<Arc<Choice>>,
}

/// Cuts jobs into chunks, by their number and bytes alone.
pub(crate) fn chunks(jobs: impl Iterator<Item = Job>) -> Vec<Vec<Job>> {
    let mut chunks: Vec<Vec<Job>> = Vec::new();
    let mut bytes = usize::MAX;
    for job in jobs {
        let job_bytes = job.event.data.len();
        match chunks.last_mut() {
            Some(last)
                if last.len() < limits::NORMALISE_CHUNK_RECORDS
                    && bytes.saturating_add(job_bytes) <= limits::NORMALISE_CHUNK_BYTES =>
            {
                bytes += job_bytes;
                last.push(job);
            }
            _ => {
                bytes = job_bytes;
                chunks.push(vec![job]);
            }
        }
    }
    chunks
}

/// How many bytes the events of a chunk may have together.
fn output_of(chunk: &[Job]) -> usize {
    let bytes: usize = chunk.iter().map(|job| job.event.data.len()).sum();
    limits::NORMALISE_CHUNK_OUTPUT_BYTES.max(2 * bytes)
}

/// Machines that wait for work: as many as ever worked at the same time.
pub(crate) struct Machines {
    schema: Arc<udm::Schema>,
    idle: Mutex<Vec<Machine>>,
}

impl Machines {
    pub(crate) fn new(schema: Arc<udm::Schema>) -> Machines {
        Machines { schema, idle: Mutex::default() }
    }

    /// Does the jobs of a chunk, in order.
    pub(crate) fn work(&self, chunk: Vec<Job>) -> Read {
        let mut bench = Bench {
            machine: self.take(),
            steps_left: limits::NORMALISE_CHUNK_STEPS,
            output_left: output_of(&chunk),
            read: Read::default(),
            parsed: Vec::new(),
        };
        for Job { event, choice } in chunk {
            match choice {
                Some(choice) => bench.parse(event, &choice, &self.schema),
                None => bench.read.events.push(checked(event, &self.schema)),
            }
        }
        let Bench { machine, mut read, mut parsed, .. } = bench;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(machine);
        read.sent = read.events.len();
        read.events.append(&mut parsed);
        read
    }

    fn take(&self) -> Machine {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Machine::new(Arc::clone(&self.schema)))
    }
}

/// A UDM event or entity as it was sent, looked at; a raw record as it is.
pub(crate) fn checked(mut event: Event, schema: &udm::Schema) -> Event {
    let root = match event.kind {
        Kind::Raw => return event,
        Kind::Udm => udm::Root::Event,
        Kind::Entity => udm::Root::Entity,
    };
    // Checked leniently whatever the setting was when it came in: it is committed, so it is kept.
    match schema.check(root, &event.data, udm::Mode::Lenient) {
        Ok(checked) => {
            event.event_time = checked.event_time.unwrap_or(event.event_time);
            event.issues = checked.issues;
        }
        Err(faults) => event.issues.push(Issue { field: String::new(), message: faults.to_string() }),
    }
    event
}

/// Where a chunk is worked on.
struct Bench {
    machine: Machine,
    /// What is left for the records of the chunk together.
    steps_left: u64,
    output_left: usize,
    read: Read,
    parsed: Vec<Event>,
}

/// How a raw record ended, if not in events.
enum Ended {
    Dropped,
    Failed { why: Why, message: String, field: String, at: Option<(u32, u32)> },
}

impl Bench {
    fn parse(&mut self, mut record: Event, choice: &Choice, schema: &Arc<udm::Schema>) {
        let id = choice.id();
        record.parser = Some(Arc::clone(id));
        let made = match &choice.parser {
            Some(_) => self.run(&record, choice, schema),
            None => Ok(vec![generic_event(&record)]),
        };
        let tally = match made {
            Ok(events) => {
                let first = events.iter().find(|made| made.root == udm::Root::Event).and_then(|made| made.time);
                if record.sender_time.is_none() {
                    record.event_time = first.unwrap_or(record.event_time);
                }
                let tally = Tally { parsed: 1, events: events.len() as u64, ..Tally::default() };
                for (ordinal, made) in (0..).zip(events) {
                    self.parsed.push(Event {
                        kind: if made.root == udm::Root::Event { Kind::Udm } else { Kind::Entity },
                        event_time: made.time.unwrap_or(record.event_time),
                        data: made.json,
                        issues: made.issues,
                        ordinal,
                        ..record.clone()
                    });
                }
                tally
            }
            Err(Ended::Dropped) => Tally { dropped: 1, ..Tally::default() },
            Err(Ended::Failed { why, message, field, at }) => {
                let (line, column) = at.unwrap_or_default();
                let place =
                    if at.is_some() { format!(" (line {line}, column {column} of {id})") } else { format!(" ({id})") };
                record.issues.push(Issue { field: field.clone(), message: format!("not parsed: {message}{place}") });
                self.read.failures.push(Failure {
                    batch: Arc::clone(&record.batch),
                    position: record.position,
                    index: record.index,
                    parser: Arc::clone(id),
                    why,
                    message,
                    field,
                    line,
                    column,
                });
                Tally { failed: 1, ..Tally::default() }
            }
        };
        count(&mut self.read.tallies, record.batch.instance, &record.batch.log_type, id, tally);
        self.read.events.push(record);
    }

    fn run(&mut self, record: &Event, choice: &Choice, schema: &Arc<udm::Schema>) -> Result<Vec<Made>, Ended> {
        let Some(parser) = &choice.parser else { return Ok(Vec::new()) };
        let limit = |message: &str| Ended::Failed {
            why: Why::Limit,
            message: message.to_owned(),
            field: String::new(),
            at: None,
        };
        if self.steps_left == 0 || self.output_left == 0 {
            return Err(limit("the logs before it used up what the logs of a batch may use together"));
        }
        let of_log = limits_of_a_log();
        self.machine.limits = cbn::Limits {
            steps: of_log.steps.min(self.steps_left),
            output_bytes: of_log.output_bytes.min(self.output_left),
            ..of_log
        };
        let batch = &record.batch;
        let context = context(&batch.log_type, batch.received_at, record.sender_time, record.collected_at);
        let unreadable = |message: &str| Ended::Failed {
            why: Why::Failed,
            message: message.to_owned(),
            field: String::new(),
            at: None,
        };
        let program = parser.program().map_err(unreadable)?;
        let extension =
            choice.extension.as_ref().map(|extension| extension.program()).transpose().map_err(unreadable)?;
        let machine = &mut self.machine;
        // A fault of ours in the middle of a program ends one record, not the reading of the log.
        let ran = catch_unwind(AssertUnwindSafe(|| match extension {
            Some(extension) => machine.run_extended(program, extension, &record.data, &context),
            None => machine.run(program, &record.data, &context),
        }));
        let Ok(outcome) = ran else {
            self.machine = Machine::new(Arc::clone(schema));
            tracing::error!(record = %record.id(), parser = %parser.id(), "the parser's machine failed on a record");
            return Err(Ended::Failed {
                why: Why::Failed,
                message: "the machine that runs parsers failed; this is a fault of Penstock".to_owned(),
                field: String::new(),
                at: None,
            });
        };
        self.steps_left = self.steps_left.saturating_sub(self.machine.used().steps);
        match outcome.end {
            Ok(events) => {
                let bytes: usize = events.iter().map(|event| event.json.len()).sum();
                self.output_left = self.output_left.saturating_sub(bytes);
                Ok(events.into_iter().map(made).collect())
            }
            Err(error) => Err(match error.end {
                End::Dropped(_) => Ended::Dropped,
                end => Ended::Failed {
                    why: match end {
                        End::Invalid => Why::Invalid,
                        End::Limit(_) => Why::Limit,
                        End::Failed | End::Dropped(_) => Why::Failed,
                    },
                    message: cut(error.text),
                    field: error.field.map(cut).unwrap_or_default(),
                    at: error.at.map(|(_, line, column)| (line, column)),
                },
            }),
        }
    }
}

/// What a parser may use for one log of the stream.
pub fn limits_of_a_log() -> cbn::Limits {
    cbn::Limits {
        steps: limits::NORMALISE_LOG_STEPS,
        memory_bytes: limits::NORMALISE_LOG_MEMORY_BYTES,
        log_bytes: limits::NORMALISE_LOG_BYTES,
        output_records: limits::NORMALISE_LOG_EVENTS,
        output_bytes: limits::NORMALISE_LOG_OUTPUT_BYTES,
    }
}

/// What a parser of the stream is told beside a log.
pub fn context(log_type: &str, received_at: Time, sender_time: Option<Time>, collected_at: Option<Time>) -> Context {
    Context {
        collected_at: collected_at.and_then(timestamp),
        log_type: Some(log_type.to_owned()),
        // What a sender says of when it happened is nearer to it than when we received it.
        ..Context::new(timestamp(sender_time.unwrap_or(received_at)).unwrap_or_default())
    }
}

/// What came of a record.
struct Made {
    root: udm::Root,
    json: Bytes,
    time: Option<Time>,
    issues: Vec<Issue>,
}

fn made(event: cbn::output::Event) -> Made {
    Made {
        root: event.root,
        // Thousands are in memory until they are written: without the room that the text grew with.
        json: Bytes::from(event.json.into_boxed_str().into_boxed_bytes()),
        time: event.timestamp.and_then(|text| Time::parse_rfc3339(&text).ok()),
        issues: event.issues.into_iter().map(|issue| Issue { field: issue.field, message: issue.message }).collect(),
    }
}

fn generic_event(record: &Event) -> Made {
    let batch = &record.batch;
    let told = generic::Told {
        log_type: &batch.log_type,
        received_at: timestamp(batch.received_at).unwrap_or_default(),
        sender_time: record.sender_time.and_then(timestamp),
    };
    let generic::Generic { json, event_time } = generic::read(&record.data, &told);
    let found = event_time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).map(Time::from_nanos);
    let time = found.or(record.sender_time).unwrap_or(batch.received_at);
    let json = Bytes::from(json.into_boxed_str().into_boxed_bytes());
    Made { root: udm::Root::Event, json, time: Some(time), issues: Vec::new() }
}

fn timestamp(time: Time) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(i128::from(time.nanos())).ok()
}

/// Cuts a text that goes into a row at what anybody reads of it.
fn cut(mut text: String) -> String {
    if text.len() > limits::NORMALISE_MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(limits::NORMALISE_MESSAGE_BYTES));
        text.push('…');
    }
    text
}
