//! Which parser reads which record: pure data, swapped whole when somebody activates another one.
//!
//! A parser is in use **from a position of the log on**. So what a frame means does not depend on when it is read: the store
//! and every connector, now or after a crash, make the same events of it.

use std::collections::HashMap;
use std::sync::Arc;

use event::{InstanceId, Position};

use crate::Parser;

/// From a position on, this parser, or none.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The first position of the log at which it counts. One of another log than the record's lies before every record.
    pub from: Position,
    /// The parser; `None` ends the one before.
    pub parser: Option<Arc<Parser>>,
}

/// The turns of one place where a parser can stand, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Turns(Vec<Turn>);

impl Turns {
    /// In the order in which they were made.
    pub fn new(turns: Vec<Turn>) -> Turns {
        Turns(turns)
    }

    /// What counts for the frame at `position`.
    pub fn at(&self, position: Position) -> Option<&Arc<Parser>> {
        let counts = |turn: &&Turn| turn.from.epoch != position.epoch || turn.from.offset <= position.offset;
        self.0.iter().rev().find(counts)?.parser.as_ref()
    }

    /// What counts for records that are yet to come.
    pub fn latest(&self) -> Option<&Arc<Parser>> {
        self.0.last()?.parser.as_ref()
    }
}

/// What an instance set for one log type.
#[derive(Debug, Clone, Default)]
pub struct OwnTurns {
    /// Its own parser, which takes the place of ours.
    pub parser: Turns,
    /// Its extension, which runs after the parser, whosever that is.
    pub extension: Turns,
}

/// All that is in use, and was as far back as records are read.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// Ours, or the operator's folder's, by log type: for every instance that has none of its own.
    pub shipped: HashMap<String, Turns>,
    /// What instances set, by log type.
    pub own: HashMap<InstanceId, HashMap<String, OwnTurns>>,
}

/// What reads the records of one batch.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The parser; without one a record becomes a generic event.
    pub parser: Option<Arc<Parser>>,
    /// Runs after the parser.
    pub extension: Option<Arc<Parser>>,
    /// Whether the parser is the instance's own.
    pub is_own: bool,
    /// See [`Choice::id`]; made once, since every row has it.
    id: Arc<str>,
}

impl Schedule {
    /// What reads the logs of this type and instance in the frame at `position`.
    pub fn choose(&self, instance: InstanceId, log_type: &str, position: Position) -> Choice {
        self.choice(instance, log_type, |turns| turns.at(position))
    }

    /// What reads the logs that come from now on.
    pub fn latest(&self, instance: InstanceId, log_type: &str) -> Choice {
        self.choice(instance, log_type, Turns::latest)
    }

    /// The parser or extension of this id, wherever it stands or stood.
    pub fn find(&self, id: &str) -> Option<&Arc<Parser>> {
        let own = self.own.values().flat_map(HashMap::values).flat_map(|own| [&own.parser, &own.extension]);
        let turns = self.shipped.values().chain(own).flat_map(|turns| &turns.0);
        turns.filter_map(|turn| turn.parser.as_ref()).find(|parser| &**parser.id() == id)
    }

    fn choice(&self, instance: InstanceId, log_type: &str, pick: impl Fn(&Turns) -> Option<&Arc<Parser>>) -> Choice {
        let own = self.own.get(&instance).and_then(|types| types.get(log_type));
        let custom = own.and_then(|own| pick(&own.parser));
        let parser = custom.or_else(|| self.shipped.get(log_type).and_then(&pick));
        // An extension adds to what a parser made. There is none to add to where no parser reads the logs.
        let extension = own.and_then(|own| pick(&own.extension)).filter(|_| parser.is_some());
        Choice::new(parser.cloned(), extension.cloned(), custom.is_some())
    }
}

impl Choice {
    /// A parser and an extension of it, where there are such.
    pub fn new(parser: Option<Arc<Parser>>, extension: Option<Arc<Parser>>, is_own: bool) -> Choice {
        let id = match (&parser, &extension) {
            (None, _) => GENERIC.into(),
            (Some(parser), None) => Arc::clone(parser.id()),
            (Some(parser), Some(extension)) => format!("{}+{}", parser.id(), extension.id()).into(),
        };
        Choice { parser, extension, is_own, id }
    }

    /// What rows say they were made by: the parser, and behind a plus sign the extension.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }
}

/// What rows say they were made by where no parser read the record.
pub const GENERIC: &str = "generic";

#[cfg(test)]
mod tests {
    use super::*;

    fn parser(id: &str) -> Option<Arc<Parser>> {
        Some(Arc::new(Parser::new(id, id, "filter { }").expect("it is a program")))
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch, offset }
    }

    #[test]
    fn a_record_is_read_by_what_was_in_use_at_its_place() {
        let instance = InstanceId::from_uuid(uuid::Uuid::from_u128(1));
        let other = InstanceId::from_uuid(uuid::Uuid::from_u128(2));
        let turn = |from, parser| Turn { from, parser };
        let own = OwnTurns {
            parser: Turns::new(vec![
                turn(at(7, 100), parser("first")),
                turn(at(7, 200), parser("second")),
                turn(at(7, 300), None),
            ]),
            extension: Turns::new(vec![turn(at(7, 250), parser("extra"))]),
        };
        let schedule = Schedule {
            shipped: HashMap::from([
                ("OKTA".to_owned(), Turns::new(vec![turn(at(3, 900), parser("old")), turn(at(7, 50), parser("new"))])),
                ("BIND".to_owned(), Turns::new(vec![turn(at(7, 0), parser("bind"))])),
            ]),
            own: HashMap::from([(instance, HashMap::from([("OKTA".to_owned(), own)]))]),
        };
        let rows = [
            (instance, "OKTA", 0, "old"),
            (instance, "OKTA", 50, "new"),
            (instance, "OKTA", 99, "new"),
            (instance, "OKTA", 100, "first"),
            (instance, "OKTA", 200, "second"),
            (instance, "OKTA", 250, "second+extra"),
            (instance, "OKTA", 300, "new+extra"),
            (other, "OKTA", 300, "new"),
            (other, "BIND", 300, "bind"),
            (other, "NGINX", 300, "generic"),
        ];
        for (whose, log_type, offset, expected) in rows {
            let choice = schedule.choose(whose, log_type, at(7, offset));
            assert_eq!(&**choice.id(), expected, "{log_type} at {offset}");
        }
        assert_eq!(&**schedule.latest(instance, "OKTA").id(), "new+extra");
    }
}
