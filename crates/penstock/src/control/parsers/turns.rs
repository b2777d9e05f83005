//! Turns: from which place of the log on which parser reads the logs of a type, and the schedule that is made of them.
//!
//! A turn is never changed. Old ones go once newer ones count for all that the log still has; some stay as the history that
//! `rollback` goes back through. Turns of an instance lie below it, those of the parsers that come with the server below
//! nothing. Who makes one holds the frames' readers up meanwhile ([`normalise::Normaliser::change`]), so that no frame is
//! read by two parsers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use dialects::Slot;
use event::{InstanceId, Position, Time, limits};
use normalise::{Parser, Schedule, Turn, Turns};
use resources::ResourceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Control, ControlError, EXTENSION, PARSER, SHIPPED_PARSER, ShippedDocument, is_shipped};
use resources::NewDocument;

const TURN: &str = "turn";

/// Who makes turns that nobody asked for.
const SERVER_ITSELF: &str = "penstock";

/// Where a program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    Parser,
    Extension,
    /// For every instance that has no parser of its own.
    Shipped,
}

impl From<Slot> for Place {
    fn from(slot: Slot) -> Place {
        match slot {
            Slot::Parser => Place::Parser,
            Slot::Extension => Place::Extension,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TurnDocument {
    /// Its number among those of the same parent.
    seq: u64,
    pub(super) log_type: String,
    pub(super) slot: Place,
    from: Start,
    /// Without one, the parser before ends.
    pub(super) parser: Option<String>,
    pub(super) at: String,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The parser that the server set aside by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) aside: Option<String>,
    /// The number of the turn that this one goes back to; 0 for the time before all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    back_to: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    epoch: u64,
    offset: u64,
}

/// A turn that somebody wants.
#[derive(Debug, Clone, Copy)]
pub struct NewTurn<'t> {
    /// Whose.
    pub instance: InstanceId,
    /// Where.
    pub slot: Slot,
    /// Whose logs.
    pub log_type: &'t str,
    /// The parser, which is kept; `None` for ours, or for no extension.
    pub parser: Option<&'t str>,
    /// Nothing is changed unless this one is in use, where it is named: somebody else may have been faster.
    pub instead_of: Option<&'t str>,
    /// The first place of the log at which it counts.
    pub from: Position,
    /// Who wants it.
    pub by: &'t str,
    /// Why, if they say.
    pub reason: Option<&'t str>,
    /// When.
    pub now: Time,
}

/// Where a rollback leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The parser that is in use again; `None` for ours.
    pub parser: Option<String>,
    /// The parser that no longer is.
    pub replaced: Option<String>,
    back_to: u64,
}

/// The parsers that turns name, each read once. An id never means another program.
#[derive(Debug, Default)]
pub(in crate::control) struct Programs(Mutex<HashMap<String, Arc<Parser>>>);

impl Control {
    /// All that is in use, and was as far back as turns are kept.
    pub fn parser_schedule(&self) -> Result<Schedule, ControlError> {
        let mut schedule = Schedule::default();
        let mut named = HashSet::new();
        let mut by_place: HashMap<(String, Place, String), Vec<Turn>> = HashMap::new();
        for document in self.resources.list(TURN, None)? {
            let turn = read(document.json)?;
            let parser = match &turn.parser {
                None => None,
                Some(id) => {
                    named.insert(id.clone());
                    self.program(&document.parent, turn.slot, id)?
                }
            };
            let place = (document.parent, turn.slot, turn.log_type);
            by_place.entry(place).or_default().push(Turn { from: turn.from.into(), parser });
        }
        for ((parent, place, log_type), turns) in by_place {
            let turns = Turns::new(turns);
            if place == Place::Shipped {
                schedule.shipped.insert(log_type, turns);
                continue;
            }
            let instance: InstanceId = parent.parse().context("a turn lies below no instance")?;
            let own = schedule.own.entry(instance).or_default().entry(log_type).or_default();
            match place {
                Place::Extension => own.extension = turns,
                _ => own.parser = turns,
            }
        }
        self.programs.lock().retain(|id, _| named.contains(id));
        Ok(schedule)
    }

    fn program(&self, parent: &str, place: Place, id: &str) -> Result<Option<Arc<Parser>>, ControlError> {
        if let Some(known) = self.programs.lock().get(id) {
            return Ok(Some(Arc::clone(known)));
        }
        let (kind, parent) = match place {
            Place::Extension => (EXTENSION, parent),
            _ if is_shipped(id) => (SHIPPED_PARSER, ""),
            _ => (PARSER, parent),
        };
        let document = match self.resources.get(kind, parent, id) {
            Ok(document) => document,
            // The server must start all the same.
            Err(ResourceError::NotFound { .. }) => {
                tracing::error!(parser = id, "a parser that was in use is missing; logs are read without it");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        // It was checked when it was made.
        let parser = Arc::new(Parser::unread(id, id, document.json["source"].as_str().unwrap_or_default()));
        self.programs.lock().insert(id.to_owned(), Arc::clone(&parser));
        Ok(Some(parser))
    }

    /// Writes a turn down and gives the schedule with it. What is in use already stays so without another turn.
    pub fn make_turn(&self, wanted: NewTurn<'_>) -> Result<Schedule, ControlError> {
        {
            let _one = self.changing();
            self.write_turn(wanted, None, None)?;
        }
        self.parser_schedule()
    }

    /// Goes back to what was in use before, and gives the schedule with that. `plan` is from [`Control::rollback`].
    pub fn roll_back(&self, wanted: NewTurn<'_>, plan: &Rollback) -> Result<Schedule, ControlError> {
        {
            let _one = self.changing();
            if self.rollback(wanted.instance, wanted.slot, wanted.log_type)? != *plan {
                return Err(ControlError::Invalid("somebody else changed the parser meanwhile; look again".to_owned()));
            }
            self.write_turn(NewTurn { parser: plan.parser.as_deref(), ..wanted }, None, Some(plan.back_to))?;
        }
        self.parser_schedule()
    }

    /// What a rollback would lead to: what was in use before what is now. After one, the next goes further back.
    pub fn rollback(&self, instance: InstanceId, slot: Slot, log_type: &str) -> Result<Rollback, ControlError> {
        let mut turns = self.turns(instance)?;
        turns.retain(|turn| turn.log_type == log_type && turn.slot == Place::from(slot));
        let nothing = || {
            let noun = slot.noun();
            ControlError::Invalid(format!("there is no {noun} of {log_type} from before the one in use to go back to"))
        };
        let latest = turns.last().ok_or_else(nothing)?;
        let replaced = latest.parser.clone();
        let began = latest.began();
        for turn in turns.iter().filter(|turn| turn.seq < began).rev() {
            let is_another = turn.parser != replaced && (turn.parser.is_none() || turn.parser != latest.aside);
            let is_there = match &turn.parser {
                None => true,
                Some(id) => self.get_parser(instance, slot, log_type, id).is_ok(),
            };
            if is_another && is_there {
                return Ok(Rollback { parser: turn.parser.clone(), replaced, back_to: turn.began() });
            }
        }
        // Before the first turn nothing stood here. That it is the first is certain as long as none was ever forgotten.
        if replaced.is_some() && turns.len() < limits::PARSER_TURNS_KEPT {
            return Ok(Rollback { parser: None, replaced, back_to: 0 });
        }
        Err(nothing())
    }

    /// Ends the use of a parser that does harm, for the reason given, and gives the schedule without it. `choice` is what
    /// rows say they were made by: with an extension it is the extension that ends. `None` when it is no longer in use, so
    /// that there is nothing to do.
    pub fn set_aside(
        &self,
        instance: InstanceId,
        log_type: &str,
        choice: &str,
        from: Position,
        reason: &str,
        now: Time,
    ) -> Result<Option<Schedule>, ControlError> {
        let (slot, id) = match choice.split_once('+') {
            Some((_, extension)) => (Slot::Extension, extension),
            None => (Slot::Parser, choice),
        };
        {
            let _one = self.changing();
            if super::now_of(&self.turns(instance)?, log_type, slot).parser.as_deref() != Some(id) {
                return Ok(None);
            }
            let reason = Some(reason);
            let turn = NewTurn {
                instance,
                slot,
                log_type,
                parser: None,
                instead_of: Some(id),
                from,
                by: SERVER_ITSELF,
                reason,
                now,
            };
            self.write_turn(turn, Some(id), None)?;
        }
        self.parser_schedule().map(Some)
    }

    fn write_turn(&self, wanted: NewTurn<'_>, aside: Option<&str>, back_to: Option<u64>) -> Result<(), ControlError> {
        let NewTurn { instance, slot, log_type, parser, instead_of, from, by, reason, now } = wanted;
        let turns = self.turns(instance)?;
        if let Some(id) = parser {
            self.kept_parser(instance, slot, log_type, id, &turns, &self.turns_of_shipped()?)?;
        }
        let in_use = super::now_of(&turns, log_type, slot).parser;
        if in_use.as_deref() == parser || instead_of.is_some_and(|id| in_use.as_deref() != Some(id)) {
            return Ok(());
        }
        self.keep_turn(
            &instance.to_string(),
            &TurnDocument {
                seq: turns.iter().map(|turn| turn.seq).max().unwrap_or(0) + 1,
                log_type: log_type.to_owned(),
                slot: slot.into(),
                from: from.into(),
                parser: parser.map(str::to_owned),
                at: now.to_string(),
                by: by.to_owned(),
                reason: reason.map(str::to_owned),
                aside: aside.map(str::to_owned),
                back_to,
            },
        )
    }

    fn keep_turn(&self, parent: &str, turn: &TurnDocument) -> Result<(), ControlError> {
        let json = serde_json::to_value(turn).map_err(anyhow::Error::from)?;
        self.resources.create(TURN, parent, &turn_id(turn.seq), &json, &turn.at)?;
        Ok(())
    }

    /// Makes these the parsers of every instance that has none of its own: from `end` on where another version, or none,
    /// read the logs of a type before. To be called at the start, before a frame is read.
    pub fn ship(&self, parsers: &[(String, String)], end: Position, now: Time) -> Result<(), ControlError> {
        let _one = self.changing();
        let turns = self.turns_of_shipped()?;
        let mut seq = turns.iter().map(|turn| turn.seq).max().unwrap_or(0);
        // The first time of all, what waits in the log from before there was parsing is read by them, too.
        let from = if turns.is_empty() { Position { offset: 0, ..end } } else { end };
        let mut changed = Vec::new();
        let mut documents = Vec::new();
        for (log_type, source) in parsers {
            let id = Parser::shipped_id(log_type, source);
            let ours = super::now_of_shipped(&turns, log_type);
            // One that did harm does not come back by a restart, but another version of it does.
            if ours.parser.as_deref() == Some(&id) || ours.set_aside.contains_key(&id) {
                continue;
            }
            if self.resources.get(SHIPPED_PARSER, "", &id).is_err() {
                let document = ShippedDocument { log_type: log_type.clone(), source: source.clone() };
                let document = serde_json::to_value(document).map_err(anyhow::Error::from)?;
                documents.push(NewDocument { kind: SHIPPED_PARSER, parent: "", id: id.clone(), json: document });
            }
            changed.push((log_type.clone(), Some(id)));
        }
        let known: HashSet<&String> = turns.iter().map(|turn| &turn.log_type).collect();
        for log_type in known {
            let is_gone = !parsers.iter().any(|(shipped, _)| shipped == log_type);
            if is_gone && super::now_of_shipped(&turns, log_type).parser.is_some() {
                changed.push((log_type.clone(), None));
            }
        }
        changed.sort();
        for (log_type, parser) in changed {
            seq += 1;
            let turn = TurnDocument {
                seq,
                log_type,
                slot: Place::Shipped,
                from: from.into(),
                parser,
                at: now.to_string(),
                by: SERVER_ITSELF.to_owned(),
                reason: None,
                aside: None,
                back_to: None,
            };
            let document = serde_json::to_value(turn).map_err(anyhow::Error::from)?;
            documents.push(NewDocument { kind: TURN, parent: "", id: turn_id(seq), json: document });
        }
        // All at once: a first start has dozens of them.
        self.resources.create_all(&documents, &now.to_string())?;
        Ok(())
    }

    /// Forgets turns that count for nothing at or behind `first`, where the log begins, and the programs that nothing
    /// names any more.
    pub fn prune_turns(&self, first: Position) -> Result<(), ControlError> {
        let _one = self.changing();
        let mut by_place: HashMap<(String, Place, String), Vec<(String, TurnDocument)>> = HashMap::new();
        for document in self.resources.list(TURN, None)? {
            let turn = read(document.json)?;
            let place = (document.parent, turn.slot, turn.log_type.clone());
            by_place.entry(place).or_default().push((document.id, turn));
        }
        let mut named: HashMap<String, HashSet<String>> = HashMap::new();
        for ((parent, ..), turns) in by_place {
            let spare = turns.len().saturating_sub(limits::PARSER_TURNS_KEPT);
            for (index, (id, turn)) in turns.iter().enumerate() {
                let next = turns.get(index + 1).map(|(_, next)| Position::from(next.from));
                let is_over = next.is_some_and(|next| next.epoch != first.epoch || next.offset <= first.offset);
                if index < spare && is_over {
                    self.resources.delete(TURN, &parent, id)?;
                } else if let Some(parser) = &turn.parser {
                    named.entry(parent.clone()).or_default().insert(parser.clone());
                }
            }
        }
        self.forget_parsers(&named)
    }

    /// The turns of an instance as our own API shows them, newest first; of one log type or of all.
    pub fn list_turns(&self, instance: InstanceId, log_type: Option<&str>) -> Result<Vec<Value>, ControlError> {
        let own = self.turns(instance)?;
        let shipped = self.turns_of_shipped()?;
        let wanted = |turn: &&TurnDocument| log_type.is_none_or(|log_type| log_type == turn.log_type);
        let mut all: Vec<&TurnDocument> = own.iter().chain(&shipped).filter(wanted).collect();
        all.sort_by(|one, other| other.at.cmp(&one.at).then(other.seq.cmp(&one.seq)));
        let show = |turn: &&TurnDocument| {
            json!({
                "log_type": turn.log_type, "slot": turn.slot, "parser": turn.parser, "at": turn.at, "by": turn.by,
                "from": Position::from(turn.from).to_string(), "reason": turn.reason, "set_aside": turn.aside,
            })
        };
        Ok(all.iter().map(show).collect())
    }

    /// The turns of an instance, oldest first.
    pub(super) fn turns(&self, instance: InstanceId) -> Result<Vec<TurnDocument>, ControlError> {
        let documents = self.resources.list(TURN, Some(&instance.to_string()))?;
        documents.into_iter().map(|document| read(document.json)).collect()
    }

    pub(super) fn turns_of_shipped(&self) -> Result<Vec<TurnDocument>, ControlError> {
        let documents = self.resources.list(TURN, Some(""))?;
        documents.into_iter().map(|document| read(document.json)).collect()
    }
}

impl Programs {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Parser>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnDocument {
    /// The number of the turn by which its parser came into use: of one that went back to another, the other's.
    fn began(&self) -> u64 {
        self.back_to.unwrap_or(self.seq)
    }
}

/// Turns are listed in the order in which they were made.
fn turn_id(seq: u64) -> String {
    format!("{seq:012}")
}

fn read(json: Value) -> Result<TurnDocument, ControlError> {
    Ok(serde_json::from_value(json).context("a stored turn cannot be read")?)
}

impl From<Start> for Position {
    fn from(start: Start) -> Position {
        Position { epoch: start.epoch, offset: start.offset }
    }
}

impl From<Position> for Start {
    fn from(position: Position) -> Start {
        Start { epoch: position.epoch, offset: position.offset }
    }
}
