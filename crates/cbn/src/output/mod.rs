//! After the program: from what it merged into `@output` to events and entities as JSON.
//!
//! The way of one output:
//!
//! ```text
//! @output ─ proto ─▶ tree of the schema's types ─ mirror, defaults ─▶ validate ─ json ─▶ Event
//! ```
//!
//! `proto.rs` says how values become fields, `mirror.rs` keeps nouns and their assets in step, `validate.rs` holds what an
//! event type needs, `compare.rs` compares with Google's expected files the way its own validator does.
//!
//! Absent: what Google adds once a record is in its store (ids, enrichment, labels of feeds), and dropping duplicates,
//! which its validator does on comparing, not its engine.

pub mod compare;
mod json;
mod mirror;
mod proto;
mod tree;
pub mod user_agent;
mod validate;

use udm::{Root, Schema};

use self::proto::{Frame, Reader, Step, Stop};
use self::tree::{ENTRY_BYTES, Moment, Node, Object};
use crate::run::{Failure, Limit, Limits, Run};
use crate::value::{Map, Value};

/// An event or entity that a program made.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which of the two it is.
    pub root: Root,
    /// The `UDM` or `Entity` in proto3 JSON, keys sorted.
    pub json: String,
    /// The time as it stands beside the record in Google's files: that of the event, or when the entity was collected.
    pub timestamp: Option<String>,
    /// Whether the program set `is_alert`.
    pub is_alert: bool,
    /// Whether the program set `is_significant`.
    pub is_significant: bool,
    /// What Google's engine would refuse; at most 64.
    pub issues: Vec<Issue>,
}

/// Something about an event that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The field below the record, such as `principal.ip[1]`.
    pub field: String,
    /// What is wrong, in the words of Google's engine where they are known.
    pub message: String,
}

/// Whether what Google's engine refuses is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// It becomes an issue of the event.
    #[default]
    Lenient,
    /// It fails the log, as there.
    Strict,
}

/// How outputs become events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputOptions {
    /// Of values that do not fit their fields, and of names without a field.
    pub shapes: Strictness,
    /// Of fields that an event type needs, and of addresses that are none.
    pub validation: Strictness,
}

impl OutputOptions {
    /// Refusing what Google's engine refuses.
    pub fn strict() -> OutputOptions {
        OutputOptions { shapes: Strictness::Strict, validation: Strictness::Strict }
    }
}

/// Why a log has no events although its program ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// A value does not fit the schema.
    #[error(
        "LOG_PARSING_CBN_ERROR: \"generic::invalid_argument: failed to convert raw output to events: \
         failed to convert raw message {index}: {reason}\""
    )]
    Misfit {
        /// Which of the outputs.
        index: usize,
        /// The field below the record; empty for the record itself.
        field: String,
        /// Where and why.
        reason: String,
    },
    /// An event lacks what its type needs.
    #[error(
        "generic::unknown: invalid event {index}: LOG_PARSING_GENERATED_INVALID_EVENT: \
         \"generic::invalid_argument: {} validation failed: {reason}\"", root_name(*.root)
    )]
    Invalid {
        /// Which of the outputs.
        index: usize,
        /// What it is.
        root: Root,
        /// The field below the record.
        field: String,
        /// What is missing or wrong, such as `target field is not set`.
        reason: String,
    },
    /// A limit was reached.
    #[error("{0}")]
    Limit(Limit),
}

impl OutputError {
    /// The limit that was reached, if that is why.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            OutputError::Limit(limit) => Some(*limit),
            OutputError::Misfit { .. } | OutputError::Invalid { .. } => None,
        }
    }

    /// The field that it is about, below the record.
    pub fn field(&self) -> Option<&str> {
        match self {
            OutputError::Misfit { field, .. } | OutputError::Invalid { field, .. } if !field.is_empty() => Some(field),
            _ => None,
        }
    }
}

fn root_name(root: Root) -> &'static str {
    match root {
        Root::Event => "udm",
        Root::Entity => "entity",
    }
}

/// Most issues of one event.
const ISSUES_MAX: usize = 64;

/// Makes events of what a program merged into `@output`, in order.
pub fn convert<'r>(
    schema: &Schema,
    run: &Run<'r>,
    outputs: &[Value<'r>],
    options: &OutputOptions,
    limits: &Limits,
) -> Result<Vec<Event>, OutputError> {
    let mut made = Made {
        schema,
        run,
        options,
        records_left: limits.output_records,
        bytes_left: limits.output_bytes,
        default_time: None,
        events: Vec::new(),
    };
    for (index, output) in outputs.iter().enumerate() {
        made.output(index, *output)?;
    }
    Ok(made.events)
}

/// The events so far, and what making the next one takes.
struct Made<'t, 'r> {
    schema: &'t Schema,
    run: &'t Run<'r>,
    options: &'t OutputOptions,
    /// The time of events that name none; looked up once.
    default_time: Option<Moment>,
    records_left: usize,
    bytes_left: usize,
    events: Vec<Event>,
}

impl<'t, 'r: 't> Made<'t, 'r> {
    /// Adds what one output holds: `{idm: {read_only_udm, entity, is_alert, is_significant}, timestamp}`. The two flags
    /// count beside `idm` as well.
    fn output(&mut self, index: usize, output: Value<'r>) -> Result<(), OutputError> {
        let misfit = |reason: &str| OutputError::Misfit { index, field: String::new(), reason: reason.to_owned() };
        let output = match output {
            Value::Map(output) => output,
            // `@output` set before anything was merged into it.
            Value::Text("") => return Ok(()),
            _ => return Err(misfit("received non-map raw output")),
        };
        let (mut idm, mut time, mut is_alert, mut is_significant) = (None, None, false, false);
        let mut place = 0;
        while let Some((name, value)) = output.entry(place) {
            place += 1;
            match self.run.heap.text_of(name) {
                "idm" => idm = value.as_map(),
                "timestamp" => time = Some(value),
                "is_alert" | "isAlert" => is_alert = truth(value),
                "is_significant" | "isSignificant" => is_significant = truth(value),
                // The message around the record has fields for other, older kinds of events: nothing to show of them.
                _ => {}
            }
        }
        let Some(idm) = idm else { return Err(misfit("field \"idm\" is not set")) };
        let made = self.events.len();
        let mut place = 0;
        while let Some((name, value)) = idm.entry(place) {
            place += 1;
            let (root, name) = match self.run.heap.text_of(name) {
                "read_only_udm" | "readOnlyUdm" => (Root::Event, "read_only_udm"),
                // The documentation of entities has both.
                "entity" | "graph" => (Root::Entity, "entity"),
                "is_alert" | "isAlert" => {
                    is_alert |= truth(value);
                    continue;
                }
                "is_significant" | "isSignificant" => {
                    is_significant |= truth(value);
                    continue;
                }
                other if self.options.shapes == Strictness::Strict => {
                    return Err(misfit(&format!(
                        "field \"idm\": index 0: recursive rawDataToProto failed: field \"{other}\": no descriptor found"
                    )));
                }
                _ => continue,
            };
            match value {
                Value::Map(record) => {
                    let event = self.record(index, root, name, record, time)?;
                    self.events.push(event);
                }
                Value::Text("") => {}
                _ => {
                    return Err(misfit(&format!(
                        "field \"{name}\": received non-map raw output for sub-message field"
                    )));
                }
            }
        }
        for event in &mut self.events[made..] {
            (event.is_alert, event.is_significant) = (is_alert, is_significant);
        }
        // Whichever of the two the program set first.
        self.events[made..].sort_by_key(|event| event.root == Root::Entity);
        Ok(())
    }

    fn record(
        &mut self,
        index: usize,
        root: Root,
        name: &str,
        record: &'r Map<'r>,
        time: Option<Value<'r>>,
    ) -> Result<Event, OutputError> {
        self.run.look().map_err(|failure| limit(&failure))?;
        self.records_left = self.records_left.checked_sub(1).ok_or(OutputError::Limit(Limit::Output))?;
        let at = Frame { parent: None, step: Step::Field(name) };
        let heap = &self.run.heap;
        let mut reader =
            Reader { schema: self.schema, run: self.run, strictness: self.options.shapes, issues: Vec::new() };
        let stopped = |stop| match stop {
            Stop::Misfit(misfit) => OutputError::Misfit { index, field: misfit.field, reason: misfit.message },
            Stop::Limit(limit) => OutputError::Limit(limit),
        };
        let limited = |failure: Failure| limit(&failure);
        let tree = reader.message(self.schema.message_of(root), record, &at, 0).map_err(stopped)?;
        let own_time = match time {
            Some(Value::Text("")) | None => None,
            Some(value) => {
                let at = Frame { parent: Some(&at), step: Step::Field("timestamp") };
                reader.moment(value, &at).map_err(stopped)?
            }
        };

        let time = match own_time {
            Some(time) => Some(time),
            None => self.default_time().map_err(limited)?,
        };
        let metadata = tree.object_mut("metadata", heap, heap.bump()).map_err(limited)?;
        heap.charge(4 * ENTRY_BYTES).map_err(limited)?;
        let timestamp = match root {
            Root::Event => event_defaults(metadata, time, self.run.context.log_type.as_deref()),
            Root::Entity => entity_defaults(metadata, time),
        };
        if root == Root::Event {
            mirror::mirror(tree, heap).map_err(limited)?;
        }

        let mut issues = std::mem::take(&mut reader.issues);
        let mut refused = None;
        validate::validate(root, tree, &mut |issue| match self.options.validation {
            Strictness::Strict => {
                refused = Some(issue);
                false
            }
            Strictness::Lenient => {
                issues.push(issue);
                issues.len() < ISSUES_MAX
            }
        });
        if let Some(Issue { field, message }) = refused {
            return Err(OutputError::Invalid { index, root, field, reason: message });
        }

        // They stay with the event, and may be many.
        heap.charge(issues.iter().map(|issue| issue.field.len() + issue.message.len()).sum()).map_err(limited)?;
        let mut json = String::with_capacity(2048);
        json::write_object(tree, &mut json, self.bytes_left).map_err(limited)?;
        self.bytes_left -= json.len();
        Ok(Event {
            root,
            json,
            timestamp: timestamp.map(json::moment_text),
            is_alert: false,
            is_significant: false,
            issues,
        })
    }

    /// The time of a record that names none: the field `timestamp`, which Google's documentation calls the time of the
    /// event; what `date` sets where no target is named; when the log was collected; when it was received.
    fn default_time(&mut self) -> Result<Option<Moment>, Failure> {
        if self.default_time.is_none() {
            let context = self.run.context;
            let mut time = context.collected_at.unwrap_or(context.received_at);
            for name in ["@timestamp", "timestamp"] {
                if let Some(Value::Time(set)) = self.run.root.get(self.run.heap.name(name)?) {
                    time = set;
                }
            }
            self.default_time = Moment::of(time);
        }
        Ok(self.default_time)
    }
}

/// Fills in what an event does not say of itself, and gives its time.
fn event_defaults<'t>(metadata: &mut Object<'t>, time: Option<Moment>, log_type: Option<&'t str>) -> Option<Moment> {
    if let Some(log_type) = log_type
        && metadata.get("logType").is_none()
    {
        metadata.push("logType", Node::Text(log_type));
    }
    time_of(metadata, "eventTimestamp", time)
}

/// Fills in what an entity does not say of itself, and gives the time at which it was collected.
fn entity_defaults(metadata: &mut Object<'_>, time: Option<Moment>) -> Option<Moment> {
    if let Some(Node::Object(interval)) = metadata.get_mut("interval")
        && interval.get("startTime").is_some()
        && interval.get("endTime").is_none()
    {
        // contracts/cbn.md §1.7: what has begun and not ended holds for ever.
        interval.push("endTime", Node::Time(Moment::NEVER));
    }
    time_of(metadata, "collectedTimestamp", time)
}

fn time_of<'t>(metadata: &mut Object<'t>, key: &'t str, default: Option<Moment>) -> Option<Moment> {
    match (metadata.get(key), default) {
        (Some(Node::Time(time)), _) => Some(*time),
        (_, Some(time)) => {
            metadata.set(key, Node::Time(time));
            Some(time)
        }
        _ => None,
    }
}

/// A time as it stands beside records; empty outside of what a timestamp can be.
pub(crate) fn time_text(time: crate::value::Time) -> String {
    Moment::of(time).map(json::moment_text).unwrap_or_default()
}

fn truth(value: Value<'_>) -> bool {
    matches!(value, Value::Bool(true) | Value::Text("true"))
}

/// Nothing here fails in any other way than by a limit.
fn limit(failure: &Failure) -> OutputError {
    match failure {
        Failure::Limit(limit) => OutputError::Limit(*limit),
        _ => OutputError::Limit(Limit::Memory),
    }
}

#[cfg(test)]
mod tests;
