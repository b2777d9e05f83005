//! Parsers and parser extensions: how their documents are kept and shown. Which of them reads what is `turns.rs`'s
//! business, those that come with the server and those of the operator's folder are `shipped.rs`'s.
//!
//! A program never changes: another one is another document, with another id. What a turn still names stays, though it was
//! deleted, since frames in the log may yet have to be read with it. How a program did on stored logs lies below it, as a
//! document `<instance>/<id>`.

mod shipped;
mod turns;

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dialects::{KeptParser, NewParser, Slot, Validation};
use event::{InstanceId, Time, limits};
use resources::{Document, ResourceError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Control, ControlError, INSTANCE};
pub use shipped::shipped;
pub(super) use turns::Programs;
use turns::TurnDocument;
pub use turns::{NewTurn, Rollback};

const PARSER: &str = "parser";
const EXTENSION: &str = "parser_extension";
const SHIPPED_PARSER: &str = "shipped_parser";
const REPORT: &str = "parser_report";

#[derive(Debug, Serialize, Deserialize)]
struct ParserDocument {
    log_type: String,
    source: String,
    creator: String,
    #[serde(default)]
    validated_on_empty_logs: bool,
    #[serde(default)]
    validation_skipped: bool,
    /// A log that it was made for, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample: Option<String>,
    /// How it did when it was last tried, without what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    validation: Option<Validation>,
    /// When it was deleted; it is kept for frames that were sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ShippedDocument {
    log_type: String,
    source: String,
}

/// What is in use at a place now, and since when.
struct Now {
    parser: Option<String>,
    /// When each that ever was in use came into it, or went out of it.
    changed_at: HashMap<String, String>,
    /// Those that the server set aside, with the reason, until they are activated again.
    set_aside: HashMap<String, String>,
}

impl Control {
    /// Keeps a new one under a fresh id.
    pub fn create_parser(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        new: &NewParser,
        creator: &str,
        now: Time,
    ) -> Result<KeptParser, ControlError> {
        let (parent, id) = (instance.to_string(), uuid::Uuid::new_v4().to_string());
        let document = ParserDocument {
            log_type: log_type.to_owned(),
            source: new.source.clone(),
            creator: creator.to_owned(),
            validated_on_empty_logs: new.validated_on_empty_logs,
            validation_skipped: new.validation_skipped,
            sample: new.sample.as_ref().map(|log| STANDARD.encode(log)),
            validation: None,
            deleted_at: None,
        };
        let json = serde_json::to_value(&document).map_err(anyhow::Error::from)?;
        {
            let _one = self.changing();
            self.resources.get(INSTANCE, "", &parent)?;
            self.check_room_for_a_parser(&parent, json.to_string().len())?;
            self.resources.create(kind_of(slot), &parent, &id, &json, &now.to_string())?;
        }
        self.get_parser(instance, slot, log_type, &id)
    }

    /// One that is kept, or one of ours.
    pub fn get_parser(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
    ) -> Result<KeptParser, ControlError> {
        let turns = self.turns(instance)?;
        let shipped = self.turns_of_shipped()?;
        self.kept_parser(instance, slot, log_type, id, &turns, &shipped)
    }

    fn kept_parser(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
        turns: &[TurnDocument],
        shipped: &[TurnDocument],
    ) -> Result<KeptParser, ControlError> {
        let here = now_of(turns, log_type, slot);
        if slot == Slot::Parser && is_shipped(id) {
            let document = match self.resources.get(SHIPPED_PARSER, "", id) {
                Ok(document) => document,
                Err(ResourceError::NotFound { .. }) => return Err(no_such(slot, log_type, id)),
                Err(error) => return Err(error.into()),
            };
            let ours = now_of_shipped(shipped, log_type);
            let extension = now_of(turns, log_type, Slot::Extension).parser;
            return shown_shipped(document, &here, &ours, extension)?
                .filter(|parser| parser.log_type == log_type)
                .ok_or_else(|| no_such(slot, log_type, id));
        }
        let document = self.find_parser(instance, slot, log_type, id)?;
        let extension = now_of(turns, log_type, Slot::Extension).parser.filter(|_| slot == Slot::Parser);
        shown(document, &here, extension)
    }

    /// All of a log type or of all, ours among them: by log type, ours first, then in the order in which they were made.
    pub fn list_parsers(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: Option<&str>,
    ) -> Result<Vec<KeptParser>, ControlError> {
        let parent = instance.to_string();
        self.resources.get(INSTANCE, "", &parent)?;
        let turns = self.turns(instance)?;
        let mut found = Vec::new();
        let wanted = |of: &str| log_type.is_none_or(|log_type| log_type == of);
        if slot == Slot::Parser {
            let shipped = self.turns_of_shipped()?;
            for document in self.resources.list(SHIPPED_PARSER, None)? {
                let of = document.json["log_type"].as_str().unwrap_or_default().to_owned();
                if !wanted(&of) {
                    continue;
                }
                let here = now_of(&turns, &of, slot);
                let ours = now_of_shipped(&shipped, &of);
                // Versions that were replaced are shown only where somebody still uses them.
                let is_shown = [&here.parser, &ours.parser].contains(&&Some(document.id.clone()))
                    || ours.set_aside.contains_key(&document.id);
                if is_shown {
                    let extension = now_of(&turns, &of, Slot::Extension).parser;
                    found.extend(shown_shipped(document, &here, &ours, extension)?);
                }
            }
        }
        for document in self.resources.list(kind_of(slot), Some(&parent))? {
            let of = document.json["log_type"].as_str().unwrap_or_default().to_owned();
            if !wanted(&of) || !document.json["deleted_at"].is_null() {
                continue;
            }
            let extension = now_of(&turns, &of, Slot::Extension).parser.filter(|_| slot == Slot::Parser);
            found.push(shown(document, &now_of(&turns, &of, slot), extension)?);
        }
        // Stable: the order within a log type stays.
        found.sort_by(|one, other| one.log_type.cmp(&other.log_type));
        Ok(found)
    }

    /// Removes one that is not in use. What turns still name is kept for them, unseen.
    pub fn delete_parser(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
        now: Time,
    ) -> Result<(), ControlError> {
        let _one = self.changing();
        if is_shipped(id) {
            return Err(ControlError::Invalid(format!("{id} came with the server; it can be replaced, not deleted")));
        }
        let document = self.find_parser(instance, slot, log_type, id)?;
        let turns = self.turns(instance)?;
        if now_of(&turns, log_type, slot).parser.as_deref() == Some(id) {
            return Err(ControlError::Invalid(format!("the {} {id} is in use", slot.noun())));
        }
        let parent = instance.to_string();
        if turns.iter().any(|turn| turn.parser.as_deref() == Some(id)) {
            let mut json = document.json;
            json["deleted_at"] = json!(now.to_string());
            self.resources.update(kind_of(slot), &parent, id, &json, Some(document.etag), &now.to_string())?;
        } else {
            self.resources.delete_with_children(kind_of(slot), &parent, id)?;
        }
        Ok(())
    }

    /// Notes how one did when it was tried; what was noted before is forgotten.
    pub fn note_validation(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
        validation: &Validation,
        now: Time,
    ) -> Result<(), ControlError> {
        if is_shipped(id) {
            return Ok(());
        }
        let _one = self.changing();
        let document = self.find_parser(instance, slot, log_type, id)?;
        let (parent, stamp) = (instance.to_string(), now.to_string());
        let below = format!("{parent}/{id}");
        let before = self.resources.list(REPORT, Some(&below))?;
        let report = serde_json::to_value(validation).map_err(anyhow::Error::from)?;
        self.resources.create(REPORT, &below, &validation.id, &report, &stamp)?;
        let mut json = document.json;
        json["validation"] = report;
        json["validation"]["errors"] = json!([]);
        self.resources.update(kind_of(slot), &parent, id, &json, Some(document.etag), &stamp)?;
        for report in before {
            self.resources.delete(REPORT, &below, &report.id)?;
        }
        Ok(())
    }

    /// How one did when it was tried, with what failed.
    pub fn parser_report(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
        report: &str,
    ) -> Result<Validation, ControlError> {
        if is_shipped(id) {
            return Err(no_such_report(id, report));
        }
        self.find_parser(instance, slot, log_type, id)?;
        let document = match self.resources.get(REPORT, &format!("{instance}/{id}"), report) {
            Ok(document) => document,
            Err(ResourceError::NotFound { .. }) => return Err(no_such_report(id, report)),
            Err(error) => return Err(error.into()),
        };
        Ok(serde_json::from_value(document.json).context("a stored report cannot be read")?)
    }

    /// The document of one that is there and was not deleted.
    fn find_parser(
        &self,
        instance: InstanceId,
        slot: Slot,
        log_type: &str,
        id: &str,
    ) -> Result<Document, ControlError> {
        match self.resources.get(kind_of(slot), &instance.to_string(), id) {
            Ok(document) if document.json["log_type"] == log_type && document.json["deleted_at"].is_null() => {
                Ok(document)
            }
            Ok(_) | Err(ResourceError::NotFound { .. }) => Err(no_such(slot, log_type, id)),
            Err(error) => Err(error.into()),
        }
    }

    /// All documents count, those that were deleted and are still needed, too.
    fn check_room_for_a_parser(&self, parent: &str, bytes: usize) -> Result<(), ControlError> {
        let (mut count, mut sum) = (0, bytes);
        for kind in [PARSER, EXTENSION] {
            for document in self.resources.list(kind, Some(parent))? {
                count += 1;
                sum += document.json.to_string().len();
            }
        }
        if count >= limits::PARSERS_MAX {
            let most = limits::PARSERS_MAX;
            return Err(ControlError::Invalid(format!("there are {most} parsers and extensions already; delete some")));
        }
        if sum > limits::PARSERS_BYTES_MAX {
            let most = limits::PARSERS_BYTES_MAX;
            let message = format!("all parsers and extensions together would have over {most} bytes; delete some");
            return Err(ControlError::Invalid(message));
        }
        Ok(())
    }

    /// Removes what was deleted, or replaced, and no turn names any more.
    fn forget_parsers(&self, turns: &HashMap<String, HashSet<String>>) -> Result<(), ControlError> {
        let is_named = |parent: &str, id: &str| turns.get(parent).is_some_and(|named| named.contains(id));
        for kind in [PARSER, EXTENSION] {
            for document in self.resources.list(kind, None)? {
                if !document.json["deleted_at"].is_null() && !is_named(&document.parent, &document.id) {
                    self.resources.delete_with_children(kind, &document.parent, &document.id)?;
                }
            }
        }
        for document in self.resources.list(SHIPPED_PARSER, None)? {
            if !turns.values().any(|named| named.contains(&document.id)) {
                self.resources.delete(SHIPPED_PARSER, "", &document.id)?;
            }
        }
        Ok(())
    }
}

/// Whether an id is that of a parser that came with the server, or lies in the operator's folder. All others are UUIDs.
pub fn is_shipped(id: &str) -> bool {
    id.contains('@')
}

fn kind_of(slot: Slot) -> &'static str {
    match slot {
        Slot::Parser => PARSER,
        Slot::Extension => EXTENSION,
    }
}

fn no_such(slot: Slot, log_type: &str, id: &str) -> ControlError {
    let shown: String = id.chars().take(60).collect();
    let of: String = log_type.chars().take(60).collect();
    ControlError::NotFound(format!("There is no {} {shown:?} of the log type {of:?}.", slot.noun()))
}

fn no_such_report(id: &str, report: &str) -> ControlError {
    let shown: String = report.chars().take(60).collect();
    ControlError::NotFound(format!("There is no validation report {shown:?} of {id}; the last one alone is kept."))
}

/// What is in use at a place of an instance now.
fn now_of(turns: &[TurnDocument], log_type: &str, slot: Slot) -> Now {
    now_at(turns.iter().filter(|turn| turn.log_type == log_type && turn.slot == turns::Place::from(slot)))
}

fn now_of_shipped(turns: &[TurnDocument], log_type: &str) -> Now {
    now_at(turns.iter().filter(|turn| turn.log_type == log_type))
}

fn now_at<'t>(turns: impl Iterator<Item = &'t TurnDocument>) -> Now {
    let mut now = Now { parser: None, changed_at: HashMap::new(), set_aside: HashMap::new() };
    for turn in turns {
        for id in [&now.parser, &turn.parser].into_iter().flatten() {
            now.changed_at.insert(id.clone(), turn.at.clone());
        }
        if let Some(id) = &turn.parser {
            now.set_aside.remove(id);
        }
        if let Some(id) = &turn.aside {
            now.set_aside.insert(id.clone(), turn.reason.clone().unwrap_or_default());
        }
        now.parser.clone_from(&turn.parser);
    }
    now
}

fn shown(document: Document, here: &Now, extension: Option<String>) -> Result<KeptParser, ControlError> {
    let Document { id, json, created_at, .. } = document;
    let stored: ParserDocument =
        serde_json::from_value(json).with_context(|| format!("the stored parser {id} cannot be read"))?;
    let is_active = here.parser.as_deref() == Some(&id);
    let sample = stored.sample.map(|log| STANDARD.decode(log)).transpose();
    Ok(KeptParser {
        log_type: stored.log_type,
        new: NewParser {
            source: stored.source,
            sample: sample.context("a stored log is no base64")?.map(Into::into),
            validated_on_empty_logs: stored.validated_on_empty_logs,
            validation_skipped: stored.validation_skipped,
        },
        creator: Some(stored.creator),
        created_at,
        is_active,
        changed_at: here.changed_at.get(&id).cloned(),
        set_aside: here.set_aside.get(&id).cloned(),
        validation: stored.validation,
        extension: extension.filter(|_| is_active),
        id,
    })
}

fn shown_shipped(
    document: Document,
    here: &Now,
    ours: &Now,
    extension: Option<String>,
) -> Result<Option<KeptParser>, ControlError> {
    let Document { id, json, created_at, .. } = document;
    let stored: ShippedDocument =
        serde_json::from_value(json).with_context(|| format!("the stored parser {id} cannot be read"))?;
    // An instance uses ours where it has none of its own, or has said that it wants this version.
    let is_active = match &here.parser {
        None => ours.parser.as_deref() == Some(&id),
        Some(own) => *own == id,
    };
    Ok(Some(KeptParser {
        log_type: stored.log_type,
        new: NewParser {
            source: stored.source,
            sample: None,
            validated_on_empty_logs: true,
            validation_skipped: false,
        },
        creator: None,
        created_at,
        is_active,
        changed_at: ours.changed_at.get(&id).cloned(),
        set_aside: ours.set_aside.get(&id).cloned(),
        validation: None,
        extension: extension.filter(|_| is_active),
        id,
    }))
}

#[cfg(test)]
mod tests;
