//! Kept parsers and parser extensions: what is done with them, and what becomes of the stream by it.
//!
//! A parser that is activated reads what comes from then on. Before, it is tried on the newest stored logs of its type
//! (`trial.rs`): one that fails on all of them is refused, since nobody means that.

use std::sync::Arc;

use dialects::{Caller, Cause, KeptParser, Outcome, ParserAct, ParserVerb, ParsersCall, Refusal, Slot};
use event::InstanceId;

use super::Answers;
use super::parser::program;
use crate::api::blocking;
use crate::control::parsers::{NewTurn, is_shipped};
use crate::control::{Control, ControlError};

impl Answers {
    pub(super) async fn parsers(&self, caller: &Caller, call: ParsersCall) -> Result<Outcome, Refusal> {
        let ParsersCall { instance, slot, act } = call;
        match act {
            ParserAct::Create { log_type, new } => {
                let noun = slot.noun();
                let source = new.source.clone();
                blocking(move || program(noun, &source)).await??;
                let creator = caller.sender().to_owned();
                let of = log_type.clone();
                let made = self
                    .documents(move |control, now| control.create_parser(instance, slot, &of, &new, &creator, now))
                    .await?;
                Ok(Outcome::Parser(Box::new(self.tried(instance, slot, made).await?)))
            }
            ParserAct::List { log_type } => {
                let all = move |control: &Control, _| control.list_parsers(instance, slot, log_type.as_deref());
                Ok(Outcome::Parsers(self.documents(all).await?))
            }
            ParserAct::On { log_type, id, verb } => {
                let on = One { instance, slot, log_type, id, by: caller.sender().to_owned() };
                self.on_parser(on, verb).await
            }
        }
    }

    async fn on_parser(&self, on: One, verb: ParserVerb) -> Result<Outcome, Refusal> {
        let found = self.find(&on).await?;
        match verb {
            ParserVerb::Get => Ok(Outcome::Parser(Box::new(found))),
            ParserVerb::Copy => {
                let One { instance, slot, log_type, by, .. } = on;
                let new = dialects::NewParser { validated_on_empty_logs: true, ..found.new };
                let made = self
                    .documents(move |control, now| control.create_parser(instance, slot, &log_type, &new, &by, now))
                    .await?;
                Ok(Outcome::Parser(Box::new(self.tried(instance, slot, made).await?)))
            }
            ParserVerb::Activate => {
                self.activate(&on, found).await?;
                Ok(Outcome::Done)
            }
            ParserVerb::Deactivate => {
                // What is not in use needs no turn, whoever said so before.
                if found.is_active {
                    if is_shipped(&on.id) && !self.is_own_choice(&on) {
                        let message = format!(
                            "The parser {} came with the server: it reads logs until another one of {} is activated.",
                            on.id, on.log_type
                        );
                        return Err(Refusal::new(Cause::WrongState, message));
                    }
                    self.turn(&on, None).await?;
                }
                Ok(Outcome::Done)
            }
            ParserVerb::Delete { force } => {
                if is_shipped(&on.id) {
                    let message = format!("The parser {} came with the server and cannot be deleted.", on.id);
                    return Err(Refusal::new(Cause::WrongState, message));
                }
                if found.is_active && !force {
                    let message =
                        format!("The {} {} is in use: deactivate it first, or delete by force.", on.slot.noun(), on.id);
                    return Err(Refusal::new(Cause::WrongState, message));
                }
                if found.is_active {
                    self.turn(&on, None).await?;
                }
                let One { instance, slot, log_type, id, .. } = on;
                self.documents(move |control, now| control.delete_parser(instance, slot, &log_type, &id, now)).await?;
                Ok(Outcome::Done)
            }
            ParserVerb::Report(report) => {
                let One { instance, slot, log_type, id, .. } = on;
                let validation = self
                    .documents(move |control, _| control.parser_report(instance, slot, &log_type, &id, &report))
                    .await?;
                Ok(Outcome::Parser(Box::new(KeptParser { validation: Some(validation), ..found })))
            }
        }
    }

    async fn activate(&self, on: &One, found: KeptParser) -> Result<(), Refusal> {
        if found.is_active {
            return Ok(());
        }
        // Ours are in use where an instance has none of its own; only an old version of them must be asked for.
        if is_shipped(&on.id) && self.is_current(on) {
            return self.turn(on, None).await;
        }
        let skipped = found.new.validation_skipped || is_shipped(&on.id);
        if !skipped {
            let tried = self.tried(on.instance, on.slot, found).await?;
            if let Some(validation) = tried.validation.filter(|validation| !validation.passed) {
                let message = format!("The {} {} is not activated: {}", on.slot.noun(), on.id, validation.verdict);
                return Err(Refusal::new(Cause::WrongState, message));
            }
        }
        self.turn(on, Some(on.id.clone())).await
    }

    /// Tries one on stored logs, notes how it did, and shows it with that.
    async fn tried(&self, instance: InstanceId, slot: Slot, parser: KeptParser) -> Result<KeptParser, Refusal> {
        if parser.new.validation_skipped {
            return Ok(parser);
        }
        let validation = self.try_on_stored_logs(instance, slot, &parser).await?;
        let (log_type, id) = (parser.log_type.clone(), parser.id.clone());
        let noted = validation.clone();
        self.documents(move |control, now| control.note_validation(instance, slot, &log_type, &id, &noted, now))
            .await?;
        Ok(KeptParser { validation: Some(validation), ..parser })
    }

    /// Lets another one read what comes from now on. While that is written down, no frame is read.
    async fn turn(&self, on: &One, parser: Option<String>) -> Result<(), Refusal> {
        let (control, pipeline) = (Arc::clone(&self.control), Arc::clone(&self.pipeline));
        let (on, now) = (on.clone(), (self.clock)());
        let is_end = parser.is_none() && !is_shipped(&on.id);
        let turned = blocking(move || -> Result<(), ControlError> {
            pipeline.normaliser.change(|_| {
                control.make_turn(NewTurn {
                    instance: on.instance,
                    slot: on.slot,
                    log_type: &on.log_type,
                    parser: parser.as_deref(),
                    // Who ends the use of one means no other.
                    instead_of: if is_end { Some(&on.id) } else { None },
                    from: pipeline.log.status().durable_to,
                    by: &on.by,
                    reason: None,
                    now,
                })
            })?;
            control.prune_turns(pipeline.log.status().first)
        });
        Ok(turned.await??)
    }

    async fn find(&self, on: &One) -> Result<KeptParser, Refusal> {
        let One { instance, slot, log_type, id, .. } = on.clone();
        self.documents(move |control, _| control.get_parser(instance, slot, &log_type, &id)).await
    }

    /// Whether the instance itself said that it wants this version of ours.
    fn is_own_choice(&self, on: &One) -> bool {
        self.pipeline.normaliser.schedule().latest(on.instance, &on.log_type).is_own
    }

    /// Whether one of ours is the version that is in use where nobody said otherwise.
    fn is_current(&self, on: &One) -> bool {
        let schedule = self.pipeline.normaliser.schedule();
        let ours = schedule.shipped.get(&on.log_type).and_then(|turns| turns.latest());
        ours.is_some_and(|parser| **parser.id() == *on.id)
    }

    async fn documents<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Control, event::Time) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (control, now) = (Arc::clone(&self.control), (self.clock)());
        Ok(blocking(move || work(&control, now)).await??)
    }
}

/// The parser that a call is about, and who calls.
#[derive(Clone)]
struct One {
    instance: InstanceId,
    slot: Slot,
    log_type: String,
    id: String,
    by: String,
}
