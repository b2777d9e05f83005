//! What a program puts into its events, held against the schema of UDM: names that no field has, values that no enum has,
//! lists where one value belongs, texts where a number belongs. Google's engine refuses all of these when it is done with
//! a log.
//!
//! Programs build parts of an event under names of their own and move them to their places in the end. So first every
//! `rename`, `copy` and `merge` is read backwards: what is moved to a field of the schema is of that field's type. A name
//! that is used for several things is only told of where it fits none of them.

use std::collections::{HashMap, HashSet};

use udm::{EnumId, FieldRef, Kind, MessageRef, Root, Schema};

use super::access::{Act, Place, Put, Reader, Transfer, steps};
use super::names::{clip, named};
use super::{Findings, NAME_BYTES_MAX, suggest};
use crate::diagnostic::Diagnostic;
use crate::path::index_of;
use crate::run::convert;
use crate::syntax::ast::{Span, Statement, StatementKind, Word};

/// For how many things one name may be used before nothing is told of it.
const TYPES_MAX: usize = 8;

/// How many steps of names are followed: a path goes no deeper in the schema.
const STEPS_MAX: usize = 20;

/// How many times moves are followed: `a` to `b`, `b` to `c`, ….
const ROUNDS_MAX: usize = 8;

/// What stands beside `idm` in an output.
const ENVELOPE: [&str; 2] = ["read_only_udm", "entity"];

/// What a time is made of.
const TIME: [&str; 2] = ["seconds", "nanos"];

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Type<'s> {
    kind: Kind<'s>,
    list: bool,
}

/// Where a path leads.
enum Led<'s> {
    To(Type<'s>),
    /// Where the schema says nothing, or not what it is.
    Open,
    /// No field of this name.
    Nowhere {
        known: Names<'s>,
        step: usize,
    },
}

/// The names that there are instead.
#[derive(Debug, Clone, Copy)]
enum Names<'s> {
    Of(MessageRef<'s>),
    /// A free-form object holds everything in its one field.
    Fields,
    /// A point in time, or a length of time.
    Time,
}

/// Looks through a program.
pub(super) fn check<'a>(body: &'a [Statement], reader: Reader<'a>, schema: &Schema, found: &mut Findings<'a>) {
    let mut acts = Vec::new();
    gather(body, reader, &mut acts);
    let mut checker = Checker {
        schema,
        types: HashMap::new(),
        enums: HashMap::new(),
        converted: HashSet::new(),
        moves: HashMap::new(),
        told: HashSet::new(),
    };
    checker.learn(&acts);
    for act in &acts {
        checker.act(act, found);
    }
}

fn gather<'a>(body: &'a [Statement], reader: Reader<'a>, acts: &mut Vec<Act<'a>>) {
    for statement in body {
        match &statement.kind {
            StatementKind::Plugin(plugin) => acts.extend(reader.acts(plugin)),
            StatementKind::If(chain) => {
                for branch in &chain.branches {
                    gather(&branch.body, reader, acts);
                }
                if let Some((body, _)) = &chain.otherwise {
                    gather(body, reader, acts);
                }
            }
            StatementKind::For(looped) => gather(&looped.body, reader, acts),
        }
    }
}

struct Checker<'a, 's> {
    schema: &'s Schema,
    /// The types of the program's own names.
    types: HashMap<String, Vec<Type<'s>>>,
    /// The enums of fields to which the program's own texts are put.
    enums: HashMap<String, Vec<EnumId>>,
    /// Paths that some `convert` changes, or something else makes to what is no text.
    converted: HashSet<String>,
    /// Where each name is moved to.
    moves: HashMap<String, Vec<String>>,
    /// What was told already, by code and path.
    told: HashSet<(&'static str, &'a str)>,
}

impl<'a, 's> Checker<'a, 's> {
    /// Finds out what the program's own names are used for.
    fn learn(&mut self, acts: &[Act<'a>]) {
        let mut edges: Vec<(&[&str], &[&str], Transfer)> = Vec::new();
        for act in acts {
            match act {
                Act::Transfer { from: Place::At(from), to: Place::At(to), how, .. }
                    if from.len() <= STEPS_MAX && to.len() <= STEPS_MAX =>
                {
                    edges.push((from, to, *how));
                    let moved = self.moves.entry(from.join(".")).or_default();
                    if moved.len() < TYPES_MAX {
                        moved.push(to.join("."));
                    }
                }
                Act::Convert { at: Place::At(path), .. } => {
                    self.converted.insert(path.join("."));
                }
                _ => {}
            }
        }
        for _ in 0..ROUNDS_MAX {
            let mut learnt = false;
            for (from, to, how) in &edges {
                for led in self.led(to) {
                    let Led::To(to) = led else { continue };
                    let list = to.list && *how != Transfer::Merge;
                    learnt |= self.note(from.join("."), Type { list, ..to });
                }
            }
            if !learnt {
                break;
            }
        }
        for act in acts {
            if let Act::Put { to: Place::At(to), value: Put::Field(from), .. } = act
                && let Some(Type { kind: Kind::Enum(id), .. }) = self.one_type(to)
            {
                let enums = self.enums.entry(steps(from).join(".")).or_default();
                if !enums.contains(&id) && enums.len() < TYPES_MAX {
                    enums.push(id);
                }
            }
        }
    }

    fn note(&mut self, name: String, is: Type<'s>) -> bool {
        let types = self.types.entry(name).or_default();
        if types.contains(&is) || types.len() >= TYPES_MAX {
            return false;
        }
        types.push(is);
        true
    }

    /// Where a path may lead: one for each thing that its beginning is used for. Nothing for a name of the program's own
    /// of which nothing is known.
    fn led(&self, path: &[&str]) -> Vec<Led<'s>> {
        if let [_, "idm", rest @ ..] = path {
            return match rest {
                ["read_only_udm", below @ ..] => vec![self.below_root(Root::Event, below)],
                ["entity" | "graph", below @ ..] => vec![self.below_root(Root::Entity, below)],
                _ => Vec::new(),
            };
        }
        let mut ways = Vec::new();
        let mut prefix = String::new();
        for (at, step) in path.iter().enumerate().take(STEPS_MAX) {
            if at > 0 {
                prefix.push('.');
            }
            prefix.push_str(step);
            let Some(types) = self.types.get(&prefix) else { continue };
            if types.len() >= TYPES_MAX {
                return vec![Led::Open];
            }
            ways.extend(types.iter().map(|is| walk(*is, path, at + 1)));
        }
        ways
    }

    fn below_root(&self, root: Root, below: &[&str]) -> Led<'s> {
        let root = Type { kind: Kind::Message(self.schema.message_of(root)), list: false };
        match walk(root, below, 0) {
            Led::Nowhere { known, step } => Led::Nowhere { known, step: step + 3 },
            led => led,
        }
    }

    fn act(&mut self, act: &Act<'a>, found: &mut Findings<'a>) {
        match act {
            Act::Put { to: Place::At(path), key, value, word } => {
                self.named(path, key, found);
                self.put(path, key, *value, word.unwrap_or(key), found);
            }
            Act::Transfer { to: Place::At(path), to_word, how, .. } => {
                self.named(path, to_word, found);
                if *how == Transfer::Merge {
                    self.merged(path, to_word, found);
                }
            }
            Act::Convert { at: Place::At(path), word, kind } => {
                self.named(path, word, found);
                self.convert(path, kind, found);
            }
            Act::List { to: Place::At(path), word } => self.named(path, word, found),
            Act::Time { to: Place::At(path), word: Some(word) } => self.named(path, word, found),
            Act::Capture { to, span, .. } => self.unknown(to, *span, None, found),
            _ => {}
        }
    }

    /// Tells of a name that no field has.
    fn named(&mut self, path: &[&'a str], word: &'a Word, found: &mut Findings<'a>) {
        self.unknown(path, word.span, Some(word), found);
    }

    fn unknown(&mut self, path: &[&'a str], span: Span, word: Option<&'a Word>, found: &mut Findings<'a>) {
        if path.len() > STEPS_MAX {
            return;
        }
        if let [_, "idm", name, ..] = path
            && !matches!(*name, "read_only_udm" | "readOnlyUdm" | "entity" | "graph")
            && !matches!(*name, "is_alert" | "isAlert" | "is_significant" | "isSignificant")
        {
            let message = format!("an output has no idm.{}", clip(name));
            let unknown = Diagnostic::warning("unknown-udm-field", span, message).label("no field");
            found.push(match suggest(name, ENVELOPE) {
                Some(near) => unknown.help(format!("Did you mean {near}?")),
                None => unknown.help("Events stand in idm.read_only_udm, entities in idm.entity."),
            });
            return;
        }
        let led = self.led(path);
        let mut nowhere = None;
        for way in led {
            match way {
                Led::Nowhere { known, step } => nowhere = nowhere.or(Some((known, step))),
                Led::To(_) | Led::Open => return,
            }
        }
        let Some((known, step)) = nowhere else { return };
        let name = path[step];
        if let Some(word) = word
            && !self.told.insert(("unknown-udm-field", &word.text))
        {
            return;
        }
        let above = named(&path[..step]);
        let text = format!("{above} has no field {}", clip(name));
        let unknown = Diagnostic::warning("unknown-udm-field", span, text).label(format!("no field {}", clip(name)));
        let near = match known {
            Names::Of(message) => suggest(name, message.fields().map(FieldRef::name)),
            Names::Fields => Some("fields"),
            Names::Time => suggest(name, TIME),
        };
        found.push(match near {
            Some(near) => {
                let mut right: Vec<&str> = path.to_vec();
                right[step] = near;
                unknown.help(format!("Did you mean {}?", named(&right)))
            }
            None => unknown.help("Google's engine refuses events with fields that UDM does not have."),
        });
    }

    /// The type of a place, if all that it is used for agree.
    fn one_type(&self, path: &[&str]) -> Option<Type<'s>> {
        if path.len() > STEPS_MAX {
            return None;
        }
        let mut one: Option<Type<'s>> = None;
        for way in self.led(path) {
            match way {
                Led::To(is) if one.is_none_or(|before| before == is) => one = Some(is),
                _ => return None,
            }
        }
        one
    }

    /// Whether a path is in the schema itself, under no name of the program's own.
    fn is_direct(path: &[&str]) -> bool {
        matches!(path, [_, "idm", ..])
    }

    /// Whether a path is the very name that is moved into an event, which may hold other things before.
    fn is_own(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    fn put(&mut self, path: &[&'a str], key: &'a Word, value: Put<'a>, word: &'a Word, found: &mut Findings<'a>) {
        let name = path.join(".");
        if name.len() > NAME_BYTES_MAX {
            return;
        }
        let Some(is) = self.one_type(path) else {
            if let Put::Constant(text) = value
                && let Some([id]) = self.enums.get(&name).map(Vec::as_slice)
            {
                self.own_enum(*id, &name, text, word, found);
            }
            return;
        };
        // Programs set names to "" at the start, and a text that is empty is nothing.
        if value == Put::Constant("") {
            return;
        }
        if is.list {
            if !matches!(is.kind, Kind::Message(_))
                && !self.is_own(&name)
                && self.told.insert(("repeated-replace", &key.text))
            {
                found.push(
                    Diagnostic::warning(
                        "repeated-replace",
                        key.span,
                        format!("{name} is a list, and replace sets a text"),
                    )
                    .label("a list")
                    .help("Set a field of your own, and merge that into the list."),
                );
            }
            return;
        }
        match is.kind {
            Kind::Enum(id) => {
                if let Put::Constant(text) = value
                    && self.schema.enum_number(id, text).is_none()
                    && text.parse::<i32>().is_err()
                {
                    let near = suggest(text, self.schema.enum_names(id));
                    // Under a name of the program's own the text may yet be replaced before it gets there.
                    if near.is_none() && !Self::is_direct(path) {
                        return;
                    }
                    let message = format!("{name} has no value {}", clip(text));
                    let wrong = Diagnostic::warning("unknown-enum", word.span, message).label("no value");
                    found.push(match near {
                        Some(near) => wrong.help(format!("Did you mean {near}?")),
                        None => {
                            let values: Vec<&str> = self.schema.enum_names(id).take(12).collect();
                            let rest = if self.schema.enum_names(id).count() > values.len() { ", …" } else { "" };
                            wrong.help(format!("Its values are {}{rest}.", values.join(", ")))
                        }
                    });
                }
            }
            Kind::Message(_) => {
                if !self.is_own(&name) && self.told.insert(("message-text", &key.text)) {
                    found.push(
                        Diagnostic::warning(
                            "message-text",
                            key.span,
                            format!("{name} has fields, and replace sets a text"),
                        )
                        .label("not a text")
                        .help("Set one of its fields."),
                    );
                }
            }
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Float | Kind::Double => {
                if !self.is_converted(&name, 3) && self.told.insert(("needs-convert", &key.text)) {
                    let (what, kind) = match is.kind {
                        Kind::Bool => ("true or false", "boolean"),
                        Kind::Float | Kind::Double => ("a number", "float"),
                        Kind::Uint32 | Kind::Uint64 => ("a whole number", "uinteger"),
                        _ => ("a whole number", "integer"),
                    };
                    found.push(
                        Diagnostic::warning(
                            "needs-convert",
                            key.span,
                            format!("{name} holds {what}, and replace sets a text"),
                        )
                        .label("a text")
                        .help(format!("Convert it: mutate {{ convert => {{ \"{name}\" => \"{kind}\" }} }}.")),
                    );
                }
            }
            Kind::Text | Kind::Bytes | Kind::Timestamp | Kind::Duration | Kind::Struct => {}
        }
    }

    /// A text that may get into an enum's field: only a slip is told, since it may be replaced before.
    fn own_enum(&self, id: EnumId, name: &str, text: &str, word: &Word, found: &mut Findings<'a>) {
        if text.len() < 4 || self.schema.enum_number(id, text).is_some() {
            return;
        }
        let near =
            suggest(text, self.schema.enum_names(id)).filter(|near| strsim::damerau_levenshtein(near, text) <= 2);
        if let Some(near) = near {
            let message = format!("{name} is put into a field of UDM that has no value {}", clip(text));
            found.push(
                Diagnostic::warning("unknown-enum", word.span, message)
                    .label("no value")
                    .help(format!("Did you mean {near}?")),
            );
        }
    }

    /// Whether something converts what is at a path, there or where it is moved to.
    fn is_converted(&self, path: &str, moves: usize) -> bool {
        if self.converted.contains(path) {
            return true;
        }
        if moves == 0 {
            return false;
        }
        let mut ends: Vec<usize> = path.match_indices('.').map(|(at, _)| at).take(STEPS_MAX).collect();
        ends.push(path.len());
        ends.into_iter().any(|end| {
            let (start, rest) = path.split_at(end);
            self.moves.get(start).is_some_and(|to| {
                to.iter().any(|to| to.len() < 1000 && self.is_converted(&format!("{to}{rest}"), moves - 1))
            })
        })
    }

    fn merged(&mut self, path: &[&'a str], word: &'a Word, found: &mut Findings<'a>) {
        let Some(is) = self.one_type(path) else { return };
        if is.list
            || matches!(is.kind, Kind::Struct)
            || self.is_own(&path.join("."))
            || !self.told.insert(("singular-merge", &word.text))
        {
            return;
        }
        let name = named(path);
        found.push(
            Diagnostic::warning("singular-merge", word.span, format!("{name} is no list, and merge makes it one"))
                .label("one value")
                .help("Use replace for texts, rename or copy for anything else."),
        );
    }

    fn convert(&mut self, path: &[&'a str], to: &'a Word, found: &mut Findings<'a>) {
        use convert::Kind as To;
        let (Some(is), Some(kind)) = (self.one_type(path), To::named(&to.text)) else { return };
        let right = match is.kind {
            Kind::Text => match kind {
                To::Integer | To::Uinteger | To::Float | To::Boolean | To::MillisToNanos | To::MillisToSecs => "string",
                To::Bytes => "string",
                _ => return,
            },
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => match kind {
                To::Text | To::Boolean | To::Bytes => "integer",
                _ => return,
            },
            Kind::Float | Kind::Double => match kind {
                To::Text | To::Boolean | To::Bytes => "float",
                _ => return,
            },
            Kind::Bool => match kind {
                To::Boolean => return,
                _ => "boolean",
            },
            _ => return,
        };
        // A name of the program's own may be converted on its way, to be compared as text, say.
        if !Self::is_direct(path) {
            return;
        }
        let name = named(path);
        found.push(
            Diagnostic::hint("convert-type", to.span, format!("{name} wants another type than {}", clip(&to.text)))
                .label("does not fit")
                .help(format!("Convert it to {right}.")),
        );
    }
}

/// Follows the steps of a path from one on.
fn walk<'s>(from: Type<'s>, path: &[&str], start: usize) -> Led<'s> {
    let mut at = from;
    for (step, name) in path.iter().enumerate().skip(start) {
        if at.list && index_of(name).is_some() {
            at.list = false;
            continue;
        }
        let message = match at.kind {
            Kind::Message(message) => message,
            // Anything may be put into such an object, so only a slip is one.
            Kind::Struct if suggest(name, ["fields"]).is_some() => return Led::Nowhere { known: Names::Fields, step },
            Kind::Timestamp | Kind::Duration if !TIME.contains(name) => {
                return Led::Nowhere { known: Names::Time, step };
            }
            _ => return Led::Open,
        };
        let Some(field) = message.field(name) else {
            // What `parseduseragent` makes is not in the published schema.
            let agent =
                matches!(*name, "parsed_user_agent" | "parsedUserAgent") && message.field("user_agent").is_some();
            return if agent || name.is_empty() { Led::Open } else { Led::Nowhere { known: Names::Of(message), step } };
        };
        if field.is_map() {
            return Led::Open;
        }
        at = Type { kind: field.kind(), list: field.is_list() };
    }
    Led::To(at)
}
