//! Parser extensions: a second program whose result is laid over the events of the parser.
//!
//! Google's documentation says that the extension wins, and that several events of an extension become one. It leaves open
//! what becomes of repeated fields for extensions written in code; here the extension's list takes the place of the
//! parser's, as "wins" says. An extension that makes nothing of a log, or drops it, leaves the parser's events as they are;
//! one that fails fails the log.
//!
//! The two make one event only together, so what an extension puts out is not held to what a whole event needs.

use serde_json::{Map, Value as Json};
use udm::Root;

use crate::output::{Event, OutputOptions, Strictness};
use crate::program::{Error, Machine, Program, Used};
use crate::run::Context;
use crate::{End, Nobody, Observer, Outcome};

impl Machine {
    /// Runs a parser and an extension of it on a log.
    pub fn run_extended(&mut self, parser: &Program, extension: &Program, log: &[u8], context: &Context) -> Outcome {
        self.watch_extended(parser, extension, log, context, &mut Nobody)
    }

    /// Runs a parser and an extension of it on a log, both watched.
    pub fn watch_extended<O: Observer>(
        &mut self,
        parser: &Program,
        extension: &Program,
        log: &[u8],
        context: &Context,
        observer: &mut O,
    ) -> Outcome {
        let events = match self.watch(parser, log, context, observer).end {
            Ok(events) => events,
            failed => return Outcome { end: failed },
        };
        let used = self.used();
        // What the context would fill in is no statement of the extension: the log type is left away, and a time that is
        // the one of receipt is taken for not set.
        let bare = Context { log_type: None, collected_at: None, ..context.clone() };
        let parts = OutputOptions { validation: Strictness::Lenient, ..self.output.clone() };
        let whole = std::mem::replace(&mut self.output, parts);
        let end = self.watch(extension, log, &bare, observer).end;
        self.output = whole;
        let last = self.used();
        self.used.set(Used {
            steps: used.steps + last.steps,
            memory_bytes: used.memory_bytes.max(last.memory_bytes),
            arena_bytes: used.arena_bytes.max(last.arena_bytes),
        });
        let laid_over = match end {
            Ok(laid_over) => laid_over,
            // An extension drops what is not its business.
            Err(Error { end: End::Dropped(_), .. }) => Vec::new(),
            failed => return Outcome { end: failed },
        };
        Outcome { end: Ok(lay_over(events, &laid_over, &crate::output::time_text(context.received_at))) }
    }
}

/// The events with an extension's laid over each of their kind; `received_at` as events show it.
fn lay_over(mut events: Vec<Event>, extension: &[Event], received_at: &str) -> Vec<Event> {
    for root in [Root::Event, Root::Entity] {
        let time_key = match root {
            Root::Event => "eventTimestamp",
            Root::Entity => "collectedTimestamp",
        };
        let mut whole = Json::Object(Map::new());
        let (mut is_alert, mut is_significant, mut time) = (false, false, None);
        for event in extension.iter().filter(|event| event.root == root) {
            is_alert |= event.is_alert;
            is_significant |= event.is_significant;
            let Ok(mut json) = serde_json::from_str::<Json>(&event.json) else { continue };
            if let Some(metadata) = json.get_mut("metadata").and_then(Json::as_object_mut) {
                match metadata.get(time_key).and_then(Json::as_str) {
                    Some(set) if set != received_at => time = Some(set.to_owned()),
                    _ => {
                        metadata.remove(time_key);
                    }
                }
            }
            merge(&mut whole, json);
        }
        for event in events.iter_mut().filter(|event| event.root == root) {
            event.is_alert |= is_alert;
            event.is_significant |= is_significant;
            if let Some(time) = &time {
                event.timestamp = Some(time.clone());
            }
            if let Ok(mut json) = serde_json::from_str::<Json>(&event.json) {
                // What the parser's event lacked the extension may have brought.
                event.issues.retain(|issue| !is_set(&whole, &issue.field));
                merge(&mut json, whole.clone());
                json.sort_all_objects();
                event.json = json.to_string();
            }
        }
    }
    events
}

/// Whether a field, written as issues write it, is set in a record as it is shown.
fn is_set(record: &Json, field: &str) -> bool {
    field
        .split('.')
        .try_fold(record, |value, step| {
            let step = step.split('[').next().unwrap_or_default();
            let value = match value {
                Json::Array(elements) => elements.first()?,
                value => value,
            };
            let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
            let (_, value) = value.as_object()?.iter().find(|(key, _)| plain(key) == plain(step))?;
            Some(value)
        })
        .is_some()
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, from) => *into = from,
    }
}
