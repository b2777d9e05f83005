//! Parser extensions: a second program whose result is laid over the events of the parser.
//!
//! Google's documentation says that the extension wins, and that several events of an extension become one. It leaves open
//! what becomes of repeated fields for extensions written in code; here the extension's list takes the place of the
//! parser's, as "wins" says. An extension that makes nothing of a log leaves the parser's events as they are; one that fails
//! fails the log.

use serde_json::{Map, Value as Json};
use udm::Root;

use crate::output::Event;
use crate::program::{Error, Machine, Program};
use crate::run::Context;
use crate::{End, Outcome};

impl Machine {
    /// Runs a parser and an extension of it on a log.
    pub fn run_extended(&mut self, parser: &Program, extension: &Program, log: &[u8], context: &Context) -> Outcome {
        let end = self.run(parser, log, context).end.and_then(|events| {
            let laid_over = match self.run(extension, log, context).end {
                Ok(events) => events,
                // An extension drops what is not its business.
                Err(Error { end: End::Dropped(_), .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
            Ok(lay_over(events, &laid_over))
        });
        Outcome { end }
    }
}

/// The events with an extension's laid over each of their kind.
fn lay_over(mut events: Vec<Event>, extension: &[Event]) -> Vec<Event> {
    for root in [Root::Event, Root::Entity] {
        let mut whole = Json::Object(Map::new());
        for event in extension.iter().filter(|event| event.root == root) {
            if let Ok(more) = serde_json::from_str(&event.json) {
                merge(&mut whole, more);
            }
        }
        if whole.as_object().is_none_or(Map::is_empty) {
            continue;
        }
        // What an event gets without the program's doing is no statement of the extension.
        let given = ["eventTimestamp", "logType"];
        if let Some(metadata) = whole.get_mut("metadata").and_then(Json::as_object_mut) {
            for key in given {
                metadata.remove(key);
            }
        }
        for event in events.iter_mut().filter(|event| event.root == root) {
            if let Ok(mut json) = serde_json::from_str::<Json>(&event.json) {
                merge(&mut json, whole.clone());
                json.sort_all_objects();
                event.json = json.to_string();
            }
        }
    }
    events
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
