//! Goes through a program in the order of the source and follows what is known of each field: which reads find nothing,
//! which captures meet a field that is there, which conditions are settled before a log comes, which statements nothing
//! reaches, and which maps are changed while a list already holds them.
//!
//! Everything that is told holds on every way through the program; what a log may bring (`json`, `kv` without a target)
//! makes fields possible, and of possible fields nothing is told. A branch that cannot be taken is still read as if it
//! could, so that one mistake is not told again by all that follows from it.

use std::collections::{HashMap, HashSet};

use super::Findings;
use super::access::{Act, How, Place, Put, Reader, Transfer, steps};
use super::names::{clip, named};
use super::state::{Changes, Id, Kind, Known, Set, State};
use crate::compile::Options;
use crate::diagnostic::Diagnostic;
use crate::run::convert;
use crate::syntax::ast::{
    Comparison, Condition, ConditionKind, For, If, Operand, Over, Plugin, Span, Statement, StatementKind, Word,
};

/// Fields that may be there before the first statement (contracts/cbn.md §1.3, and the names that Google's documentation
/// reserves).
const GIVEN: [&str; 20] = [
    "@collectionTimestamp",
    "@createTimestamp",
    "@enableCbnForLoop",
    "@onErrorCount",
    "@output",
    "@timestamp",
    "@timezone",
    "collectionTimestamp",
    "collectiontimestamp",
    "createTimestamp",
    "createtimestamp",
    "event",
    "filename",
    "namespace",
    "onErrorCount",
    "onerrorcount",
    "output",
    "timestamp",
    "timezone",
    "tenant",
];

/// Looks through a program.
pub(super) fn check<'a>(body: &'a [Statement], reader: Reader<'a>, found: &mut Findings<'a>) {
    let mut state = State::new();
    for name in GIVEN {
        let id = state.id(&[name]);
        state.open(id);
    }
    let message = state.id(&["message"]);
    state.set(message, Known::set(Kind::Text));
    let mut flow =
        Flow { reader, state, found, told: HashSet::new(), compared: HashSet::new(), was_set: HashSet::new() };
    flow.block(body);
}

struct Flow<'a, 'f> {
    reader: Reader<'a>,
    state: State<'a>,
    found: &'f mut Findings<'a>,
    /// Fields of which it was told that they are not set; the first read stands for all.
    told: HashSet<Id>,
    /// Fields whose names were compared with those that are set.
    compared: HashSet<Id>,
    /// Fields that some statement so far has set.
    was_set: HashSet<Id>,
}

/// Whether the end of something is never reached.
type Ends = bool;

impl<'a> Flow<'a, '_> {
    fn block(&mut self, statements: &'a [Statement]) -> Ends {
        for (at, statement) in statements.iter().enumerate() {
            if self.statement(statement) {
                if let (Some(next), Some(last)) = (statements.get(at + 1), statements.last()) {
                    self.found.push(
                        Diagnostic::warning("unreachable", next.span.to(last.span), "nothing reaches what stands here")
                            .label("never run")
                            .help(format!("Every way ends in a drop before, at line {}.", self.line(statement.span))),
                    );
                }
                return true;
            }
        }
        false
    }

    fn statement(&mut self, statement: &'a Statement) -> Ends {
        match &statement.kind {
            StatementKind::Plugin(plugin) => self.plugin(plugin),
            StatementKind::If(chain) => self.chain(chain),
            StatementKind::For(looped) => self.repeat(looped),
        }
    }

    fn plugin(&mut self, plugin: &'a Plugin) -> Ends {
        if plugin.name.text.eq_ignore_ascii_case("drop") {
            return true;
        }
        let on_error = Options { plugin }.word("on_error");
        let mut may_have_failed = false;
        for act in self.reader.acts(plugin) {
            // What follows a failure in a call with `on_error` is not done, and the program goes on.
            let certain = on_error.is_none() || !may_have_failed;
            may_have_failed |= self.act(act, certain, on_error.is_some());
        }
        if let Some(flag) = on_error {
            let id = self.state.id(&steps(&flag.text));
            self.state.set(id, Known::set(Kind::Bool));
            self.was_set.insert(id);
        }
        false
    }

    /// Does one thing; whether it may fail.
    fn act(&mut self, act: Act<'a>, certain: bool, caught: bool) -> bool {
        let sure = if certain { Set::Yes } else { Set::Maybe };
        match act {
            Act::Read { path, span, how } => {
                let known = self.read(&path, span, how);
                if how == How::Template {
                    let what = match known.kind {
                        Kind::Bool => "true or false",
                        Kind::Number => "a number",
                        Kind::Map => "a map",
                        Kind::List => "a list",
                        _ => return true,
                    };
                    if known.set != Set::No {
                        let name = named(&path);
                        self.found.push(
                            Diagnostic::warning(
                                "not-text",
                                span,
                                format!("{name} is {what} here, so this always fails"),
                            )
                            .label(what)
                            .help(format!("Only texts can be put into a text: convert {name} to a string before.")),
                        );
                    }
                }
                how != How::Truth
            }
            Act::Put { to, key, value, .. } => {
                let (kind, fails) = match value {
                    Put::Constant(text) => (Kind::Constant(text), false),
                    Put::Field(_) | Put::Text => (Kind::Text, true),
                };
                self.put(&to, key, Known { set: if fails && caught { Set::Maybe } else { sure }, kind });
                fails || matches!(to, Place::Below(_))
            }
            Act::Transfer { from, to, from_word, to_word, how } => {
                self.transfer(&from, &to, from_word, to_word, how, certain, caught);
                how != Transfer::Rename
            }
            Act::Convert { at, word, kind } => {
                if let Place::At(path) = &at {
                    self.read(path, word.span, How::Change);
                    let id = self.state.id(path);
                    self.state.touch(id, word.span);
                    self.state.alter(id, if caught { Kind::Any } else { converted(&kind.text) });
                }
                true
            }
            Act::Change { at, word } => {
                if let Place::At(path) = &at {
                    let known = self.read(path, word.span, How::Change);
                    let id = self.state.id(path);
                    self.state.touch(id, word.span);
                    if let Kind::Constant(_) = known.kind {
                        self.state.alter(id, Kind::Text);
                    }
                }
                false
            }
            Act::List { to, word } => {
                self.put(&to, word, Known { set: Set::Maybe, kind: Kind::List });
                true
            }
            Act::Remove(at) => {
                match &at {
                    Place::At(path) => {
                        let id = self.state.id(path);
                        self.state.remove(id);
                    }
                    Place::Below(path) => {
                        let id = self.state.id(path);
                        self.state.loosen(id);
                    }
                }
                false
            }
            Act::Capture { to, span, overwrite } => {
                let id = self.state.id(&to);
                let known = self.state.known(id);
                if known.set == Set::Yes && !overwrite {
                    let name = named(&to);
                    self.found.push(
                        Diagnostic::warning(
                            "missing-overwrite",
                            span,
                            format!("{name} is set before, so grok fails when it captures it here"),
                        )
                        .label("set already")
                        .help(format!("Add \"{name}\" to the option overwrite of this grok.")),
                    );
                }
                self.state.touch(id, span);
                self.state.set(id, Known { set: Set::Maybe, kind: Kind::Text });
                self.was_set.insert(id);
                true
            }
            Act::Time { to, word } => {
                match (&to, word) {
                    (_, Some(word)) => {
                        let set = if caught { Set::Maybe } else { sure };
                        self.put(&to, word, Known { set, kind: Kind::Other });
                    }
                    (Place::At(path), None) => {
                        let id = self.state.id(path);
                        self.state.open(id);
                    }
                    _ => {}
                }
                true
            }
            Act::Open(place) => {
                let (Place::At(path) | Place::Below(path)) = &place;
                let id = self.state.id(path);
                self.state.open(id);
                true
            }
            Act::Columns(place) => {
                let (Place::At(path) | Place::Below(path)) = &place;
                let id = self.state.id(path);
                self.state.open_columns(id);
                true
            }
        }
    }

    fn put(&mut self, to: &Place<'a>, word: &'a Word, known: Known<'a>) {
        match to {
            Place::At(path) => {
                let id = self.state.id(path);
                self.state.touch(id, word.span);
                self.state.set(id, known);
                self.was_set.insert(id);
            }
            Place::Below(path) => {
                let id = self.state.id(path);
                self.state.open(id);
            }
        }
    }

    fn transfer(
        &mut self,
        from: &Place<'a>,
        to: &Place<'a>,
        from_word: &'a Word,
        to_word: &'a Word,
        how: Transfer,
        certain: bool,
        caught: bool,
    ) {
        let (source, known) = match from {
            Place::At(path) => {
                let how = match how {
                    Transfer::Rename => How::Rename,
                    Transfer::Copy => How::Copy,
                    Transfer::Merge => How::Merge,
                };
                let known = self.read(path, from_word.span, how);
                (Some(self.state.id(path)), known)
            }
            Place::Below(path) => {
                if how == Transfer::Rename {
                    let id = self.state.id(path);
                    self.state.loosen(id);
                }
                (None, Known::MAYBE)
            }
        };
        if known.set == Set::No {
            return;
        }
        // A copy of nothing, or of an empty text, fails, which ends the log where nothing catches it.
        let may_fail = how != Transfer::Rename && caught;
        let set = if certain && !may_fail && known.set == Set::Yes { Set::Yes } else { Set::Maybe };
        match how {
            Transfer::Rename => {
                if from == to {
                    return;
                }
                if let Some(id) = source {
                    self.state.remove(id);
                }
                self.put(to, to_word, Known { set, kind: known.kind });
            }
            Transfer::Copy => self.put(to, to_word, Known { set, kind: known.kind }),
            Transfer::Merge => {
                let again = match (source, known.kind) {
                    (Some(id), Kind::Any | Kind::Map) => self.state.merge(id, from_word.span),
                    _ => None,
                };
                if let Some((first, changed)) = again {
                    self.aliased(from_word, first, changed);
                }
                self.put(to, to_word, Known { set, kind: Kind::List });
            }
        }
    }

    fn aliased(&mut self, word: &Word, first: Span, changed: Span) {
        let name = named(&steps(&word.text));
        let line = self.line(first);
        let message = if first.start > changed.start {
            format!("this also changes the {name} that line {line} merged in the turn before")
        } else {
            format!("this also changes the {name} that line {line} has merged already")
        };
        self.found
            .push(Diagnostic::warning("merged-alias", changed, message).label("still in the list").help(format!(
            "merge appends the map itself, not a copy. Start a new one with replace => {{ \"{name}\" => \"\" }} before \
                 setting its fields again.",
        )));
    }

    /// Notes a read and gives what is known of the field.
    fn read(&mut self, path: &[&'a str], span: Span, how: How) -> Known<'a> {
        let id = self.state.id(path);
        let known = self.state.known(id);
        if known.set == Set::No && self.told.insert(id) {
            self.unset(id, &named(path), span, how);
        } else if known.set == Set::Maybe && !matches!(how, How::Loop | How::Source) && self.compared.insert(id) {
            self.similar(path, span);
        }
        known
    }

    fn unset(&mut self, id: Id, name: &str, span: Span, how: How) {
        let effect = match how {
            How::Template | How::XPath | How::Source | How::Copy => "this always fails",
            How::Comparison => "the log ends here with an error",
            How::Truth => "this is always false",
            How::Merge => "nothing is merged",
            How::Rename => "nothing is renamed",
            How::Change => "nothing is changed",
            How::Loop => "the loop is never entered",
        };
        let message = if self.was_set.contains(&id) {
            format!("{name} is not set any more, so {effect}")
        } else {
            format!("nothing sets {name} before, so {effect}")
        };
        let code = if how == How::Truth { "flag-unset" } else { "unset-read" };
        let mut found = Diagnostic::warning(code, span, message).label("not set");
        if let Some(near) = self.found.suggest_set(name) {
            found = found.help(format!("Did you mean {near}?"));
        } else if how == How::Comparison {
            found = found.help(format!("Set {name} to \"\" at the start, or put quotes around it if it is a text."));
        }
        self.found.push(found);
    }

    /// A field that only a log could bring, and whose name is a letter away from one that the program sets itself.
    fn similar(&mut self, path: &[&'a str], span: Span) {
        let name = path.join(".");
        if self.found.sets(&name) {
            return;
        }
        if let Some(near) = self.found.similar_set(&name) {
            self.found.push(
                Diagnostic::hint("similar-name", span, format!("nothing but a log can set {}", named(path)))
                    .label("set nowhere")
                    .help(format!("Did you mean {near}?")),
            );
        }
    }

    fn chain(&mut self, chain: &'a If) -> Ends {
        let mut ways: Vec<Changes<'a>> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        let mut always: Option<Span> = None;
        for branch in &chain.branches {
            let condition = &branch.condition;
            if let Some(before) = always {
                self.shadowed(Span { end: condition.span.end, ..branch.span }, before);
            } else if let Some(before) = seen.insert(key(condition), condition.span) {
                self.found.push(
                    Diagnostic::warning(
                        "unreachable",
                        condition.span,
                        "the same condition stands before in this chain",
                    )
                    .label("asked before")
                    .help(format!("Line {} takes every log for which it holds.", self.line(before))),
                );
            }
            let mut asked = Asked { mismatch: false };
            let value = self.condition(condition, &mut asked);
            if let Some(value) = value {
                if !asked.mismatch && always.is_none() {
                    self.constant(condition, value);
                }
                if value && always.is_none() {
                    always = Some(condition.span);
                }
            }
            self.way(&branch.body, &mut ways);
        }
        match &chain.otherwise {
            Some((body, span)) => {
                if let Some(before) = always {
                    self.shadowed(Span { end: span.start + 4, ..*span }, before);
                }
                self.way(body, &mut ways);
            }
            None => ways.push(Changes::default()),
        }
        if ways.is_empty() {
            return true;
        }
        self.state.join(&ways);
        false
    }

    fn way(&mut self, body: &'a [Statement], ways: &mut Vec<Changes<'a>>) {
        let mark = self.state.mark();
        let ends = self.block(body);
        let changes = self.state.undo(mark);
        if !ends {
            ways.push(changes);
        }
    }

    fn shadowed(&mut self, span: Span, before: Span) {
        let line = self.line(before);
        self.found.push(
            Diagnostic::warning("unreachable", span, "this branch is never taken")
                .label("never taken")
                .help(format!("The condition at line {line} always holds.")),
        );
    }

    fn constant(&mut self, condition: &Condition, value: bool) {
        let always = if value { "always" } else { "never" };
        let mut found =
            Diagnostic::warning("constant-condition", condition.span, format!("this condition {always} holds"));
        if let Some((name, text)) = self.constant_field(condition) {
            found = found.label(format!("{name} is \"{text}\"")).help(format!(
                "Whatever the log is, {name} is \"{text}\" when this is asked: nothing between its replace and this sets it \
                 to anything else."
            ));
        }
        self.found.push(found);
    }

    /// The first field of a condition whose value is known, with that value.
    fn constant_field(&mut self, condition: &Condition) -> Option<(String, String)> {
        let of = |flow: &mut Self, operand: &Operand| {
            let Operand::Field(word) = operand else { return None };
            let path = steps(&word.text);
            let id = flow.state.find(&path)?;
            match flow.state.known(id) {
                Known { set: Set::Yes, kind: Kind::Constant(text) } if text.len() < 60 => {
                    Some((named(&path), text.to_owned()))
                }
                _ => None,
            }
        };
        match &condition.kind {
            ConditionKind::Or(parts) | ConditionKind::And(parts) => {
                parts.iter().find_map(|part| self.constant_field(part))
            }
            ConditionKind::Not(inner) | ConditionKind::Group(inner) => self.constant_field(inner),
            ConditionKind::Compare(left, _, right) => of(self, left).or_else(|| of(self, right)),
            ConditionKind::In { needle, .. } => of(self, needle),
            ConditionKind::Match { .. } | ConditionKind::Truth(_) => None,
        }
    }

    /// Notes the reads of a condition; its value, if that is known.
    fn condition(&mut self, condition: &'a Condition, asked: &mut Asked) -> Option<bool> {
        match &condition.kind {
            ConditionKind::Or(parts) => {
                let values: Vec<Option<bool>> = parts.iter().map(|part| self.condition(part, asked)).collect();
                if values.contains(&Some(true)) {
                    Some(true)
                } else if values.iter().all(|value| *value == Some(false)) {
                    Some(false)
                } else {
                    None
                }
            }
            ConditionKind::And(parts) => {
                let values: Vec<Option<bool>> = parts.iter().map(|part| self.condition(part, asked)).collect();
                if values.contains(&Some(false)) {
                    Some(false)
                } else if values.iter().all(|value| *value == Some(true)) {
                    Some(true)
                } else {
                    None
                }
            }
            ConditionKind::Not(inner) => self.condition(inner, asked).map(|value| !value),
            ConditionKind::Group(inner) => self.condition(inner, asked),
            ConditionKind::Compare(left, comparison, right) => self.compare(condition, left, *comparison, right, asked),
            ConditionKind::Match { subject, pattern, .. } => {
                self.side(subject, How::Comparison);
                self.side(pattern, How::Comparison);
                None
            }
            ConditionKind::In { needle, haystack, negated } => {
                let known = self.side(needle, How::Comparison);
                self.side(haystack, How::Comparison);
                let Operand::List(list, _) = haystack else { return None };
                let Known { set: Set::Yes, kind: Kind::Constant(text) } = known? else { return None };
                let texts: Option<Vec<&str>> = list
                    .iter()
                    .map(|operand| match operand {
                        Operand::Text(word) => Some(word.text.as_str()),
                        _ => None,
                    })
                    .collect();
                Some(texts?.contains(&text) != *negated)
            }
            ConditionKind::Truth(operand) => {
                let known = self.side(operand, How::Truth)?;
                // A field that nothing sets is told as such.
                if known.set == Set::No {
                    asked.mismatch = true;
                    return Some(false);
                }
                None
            }
        }
    }

    /// Notes the reads of a side; what is known of it if it is a field.
    fn side(&mut self, operand: &'a Operand, how: How) -> Option<Known<'a>> {
        match operand {
            Operand::Field(word) => Some(self.read(&steps(&word.text), word.span, how)),
            Operand::List(list, _) => {
                for operand in list {
                    self.side(operand, how);
                }
                None
            }
            Operand::Not(inner, _) => {
                self.side(inner, How::Truth);
                None
            }
            Operand::Text(_) | Operand::Number(..) | Operand::Bool(..) => None,
        }
    }

    fn compare(
        &mut self,
        condition: &'a Condition,
        left: &'a Operand,
        comparison: Comparison,
        right: &'a Operand,
        asked: &mut Asked,
    ) -> Option<bool> {
        let sides = (self.side(left, How::Comparison), self.side(right, How::Comparison));
        if let Operand::Not(inner, _) = left {
            if matches!(right, Operand::Text(_) | Operand::Number(..)) {
                asked.mismatch = true;
                let typed = clip(self.typed(inner.span())).to_owned();
                self.found.push(
                    Diagnostic::warning(
                        "compare-types",
                        condition.span,
                        format!("! belongs to {typed} alone, and true or false is never equal to this"),
                    )
                    .label("read as (!…) first")
                    .help(format!("Write !({typed} …), or turn the comparison round.")),
                );
                return Some(comparison == Comparison::NotEqual);
            }
            return None;
        }
        let (field, known, literal) = match (left, right, sides) {
            (Operand::Field(word), literal, (Some(known), None)) => (word, known, literal),
            (literal, Operand::Field(word), (None, Some(known))) => (word, known, literal),
            _ => return None,
        };
        if known.set == Set::No {
            asked.mismatch = true;
            return None;
        }
        let what = match (known.kind, literal) {
            (Kind::Text | Kind::Constant(_), Operand::Number(..)) => ("a text", "a number"),
            (Kind::Text | Kind::Constant(_), Operand::Bool(..)) => ("a text", "true or false"),
            (Kind::Bool, Operand::Text(_)) => ("true or false", "a text"),
            (Kind::Bool, Operand::Number(..)) => ("true or false", "a number"),
            (Kind::Number, Operand::Text(_)) => ("a number", "a text"),
            (Kind::Number, Operand::Bool(..)) => ("a number", "true or false"),
            (Kind::Constant(text), Operand::Text(word)) if known.set == Set::Yes => {
                return match comparison {
                    Comparison::Equal => Some(text == word.text),
                    Comparison::NotEqual => Some(text != word.text),
                    _ => None,
                };
            }
            _ => return None,
        };
        asked.mismatch = true;
        let name = named(&steps(&field.text));
        let help = match literal {
            Operand::Number(..) => "Put the number in quotes, or convert the field before.".to_owned(),
            Operand::Bool(..) => "Put the word in quotes.".to_owned(),
            Operand::Text(word) if matches!(word.text.as_str(), "true" | "false") => "Take the quotes away.".to_owned(),
            _ => "Compare it with a value of its own type.".to_owned(),
        };
        let never = if comparison == Comparison::NotEqual { "which is always unequal to" } else { "which is never" };
        self.found.push(
            Diagnostic::warning(
                "compare-types",
                condition.span,
                format!("{name} is {} here, {never} {}", what.0, what.1),
            )
            .label(format!("{} and {}", what.0, what.1))
            .help(help),
        );
        Some(comparison == Comparison::NotEqual)
    }

    fn repeat(&mut self, looped: &'a For) -> Ends {
        match &looped.over {
            Over::Field(word) => self.over(word),
            Over::Xml { field, xpath } => {
                self.over(field);
                let mut acts = Vec::new();
                self.reader.xpath(xpath, &mut acts);
                for act in acts {
                    self.act(act, true, false);
                }
            }
        }
        let mut merged: Vec<(Id, Span)> = Vec::new();
        let mut reset: HashSet<Id> = HashSet::new();
        reset.insert(self.state.id(&steps(&looped.item.text)));
        self.foresee(&looped.body, &mut merged, &mut reset);
        for (id, span) in merged {
            if !reset.contains(&id) {
                self.state.expect_merge(id, span);
            }
        }

        let mark = self.state.mark();
        let is_xml = matches!(looped.over, Over::Xml { .. });
        let index = if looped.map { Kind::Text } else { Kind::Number };
        let item = match (looped.map && looped.index.is_none(), is_xml) {
            (true, _) | (_, true) => Kind::Text,
            _ => Kind::Any,
        };
        for (word, kind) in looped.index.iter().map(|word| (word, index)).chain([(&looped.item, item)]) {
            let id = self.state.id(&steps(&word.text));
            self.state.set(id, Known::set(kind));
            self.was_set.insert(id);
        }
        let ends = self.block(&looped.body);
        let changes = self.state.undo(mark);
        if !ends {
            self.state.join(&[changes, Changes::default()]);
        }
        false
    }

    fn over(&mut self, word: &'a Word) {
        let mut acts = Vec::new();
        if let Place::At(path) = self.reader.place(word, &mut acts) {
            self.read(&path, word.span, How::Loop);
        }
        for act in acts {
            self.act(act, true, false);
        }
    }

    /// Makes everything possible that the body of a loop may do, since a turn begins where another ended.
    fn foresee(&mut self, body: &'a [Statement], merged: &mut Vec<(Id, Span)>, reset: &mut HashSet<Id>) {
        for statement in body {
            match &statement.kind {
                StatementKind::Plugin(plugin) => {
                    for act in self.reader.acts(plugin) {
                        self.foresee_act(&act, merged, reset);
                    }
                    if let Some(flag) = (Options { plugin }).word("on_error") {
                        let id = self.state.id(&steps(&flag.text));
                        self.state.set(id, Known { set: Set::Maybe, kind: Kind::Bool });
                    }
                }
                StatementKind::If(chain) => {
                    for branch in &chain.branches {
                        self.foresee(&branch.body, merged, reset);
                    }
                    if let Some((body, _)) = &chain.otherwise {
                        self.foresee(body, merged, reset);
                    }
                }
                StatementKind::For(looped) => {
                    for word in looped.index.iter().chain([&looped.item]) {
                        let id = self.state.id(&steps(&word.text));
                        self.state.set(id, Known::MAYBE);
                        reset.insert(id);
                    }
                    self.foresee(&looped.body, merged, reset);
                }
            }
        }
    }

    fn foresee_act(&mut self, act: &Act<'a>, merged: &mut Vec<(Id, Span)>, reset: &mut HashSet<Id>) {
        let mut possible = |flow: &mut Self, place: &Place<'a>| match place {
            Place::At(path) => {
                let id = flow.state.id(path);
                flow.state.set(id, Known::MAYBE);
                reset.insert(id);
            }
            Place::Below(path) => {
                let id = flow.state.id(path);
                flow.state.open(id);
                flow.state.loosen(id);
            }
        };
        match act {
            Act::Read { .. } => {}
            Act::Put { to, .. } | Act::List { to, .. } | Act::Time { to, .. } => possible(self, to),
            Act::Remove(at) => possible(self, at),
            Act::Capture { to, .. } => possible(self, &Place::At(to.clone())),
            Act::Transfer { from, to, how, from_word, .. } => {
                possible(self, to);
                match (how, from) {
                    (Transfer::Rename, from) => possible(self, from),
                    (Transfer::Merge, Place::At(path)) => {
                        let id = self.state.id(path);
                        merged.push((id, from_word.span));
                    }
                    _ => {}
                }
            }
            Act::Convert { at, .. } | Act::Change { at, .. } => {
                if let Place::At(path) = at {
                    let id = self.state.id(path);
                    self.state.alter(id, Kind::Any);
                }
            }
            Act::Open(place) => {
                let (Place::At(path) | Place::Below(path)) = place;
                let id = self.state.id(path);
                self.state.open(id);
            }
            Act::Columns(place) => {
                let (Place::At(path) | Place::Below(path)) = place;
                let id = self.state.id(path);
                self.state.open_columns(id);
            }
        }
    }

    fn line(&self, span: Span) -> u32 {
        self.found.line(span)
    }

    fn typed(&self, span: Span) -> &'a str {
        self.reader.source.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// What was met while a condition was looked through.
struct Asked {
    /// A part of it was told of already.
    mismatch: bool,
}

/// What `convert` makes of a field where it does not fail.
fn converted(kind: &str) -> Kind<'static> {
    use convert::Kind as To;
    match To::named(kind) {
        Some(To::Text | To::IpAddress | To::MacAddress | To::Hash | To::HexToDec | To::HexToAscii) => Kind::Text,
        Some(To::BytesToHex | To::BytesToIp) => Kind::Text,
        Some(To::Integer | To::Uinteger | To::Float | To::MillisToNanos | To::MillisToSecs) => Kind::Number,
        Some(To::Boolean) => Kind::Bool,
        Some(To::Bytes) => Kind::Other,
        Some(To::UserAgent) | None => Kind::Any,
    }
}

/// A condition as a text that is equal for equal conditions, however they are written.
fn key(condition: &Condition) -> String {
    fn operand(side: &Operand, out: &mut String) {
        match side {
            Operand::Field(word) => {
                out.push('[');
                out.push_str(&steps(&word.text).join("."));
                out.push(']');
            }
            Operand::Text(word) => out.push_str(&format!("{:?}", word.text)),
            Operand::Number(number, _) => out.push_str(&number.to_string()),
            Operand::Bool(truth, _) => out.push_str(&truth.to_string()),
            Operand::List(list, _) => {
                out.push('(');
                for each in list {
                    operand(each, out);
                    out.push(',');
                }
                out.push(')');
            }
            Operand::Not(inner, _) => {
                out.push('!');
                operand(inner, out);
            }
        }
    }
    fn below(condition: &Condition, out: &mut String) {
        let mut parts = |sign: char, parts: &[Condition]| {
            out.push('(');
            for part in parts {
                below(part, out);
                out.push(sign);
            }
            out.push(')');
        };
        match &condition.kind {
            ConditionKind::Or(conditions) => parts('|', conditions),
            ConditionKind::And(conditions) => parts('&', conditions),
            ConditionKind::Not(inner) => {
                out.push('!');
                below(inner, out);
            }
            ConditionKind::Group(inner) => below(inner, out),
            ConditionKind::Compare(left, comparison, right) => {
                operand(left, out);
                out.push_str(&format!(" {comparison:?} "));
                operand(right, out);
            }
            ConditionKind::Match { subject, pattern, negated } => {
                operand(subject, out);
                out.push_str(if *negated { "!~" } else { "=~" });
                operand(pattern, out);
            }
            ConditionKind::In { needle, haystack, negated } => {
                operand(needle, out);
                out.push_str(if *negated { " not in " } else { " in " });
                operand(haystack, out);
            }
            ConditionKind::Truth(inner) => operand(inner, out),
        }
    }
    let mut out = String::new();
    below(condition, &mut out);
    out
}
