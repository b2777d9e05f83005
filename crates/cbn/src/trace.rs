//! One run of a program, step by step: which statements ran, whether they failed, what they changed, which branches were
//! taken. For people who look at one log.
//!
//! Machines tell an observer what they do; what changed is found by comparing the state before and after, as flat lists of
//! paths and values. That is slow, so it is bounded: a run that does more than a person would read is traced to that point,
//! and the rest only counted.

use serde::Serialize;

use crate::Program;
use crate::run::Run;
use crate::run::machine::{Observer, Step};
use crate::syntax::ast::{Span, Statement, StatementKind};
use crate::value::{DEPTH_MAX, Value, print};

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLimits {
    /// Steps.
    pub steps: usize,
    /// Changes of one step.
    pub changes: usize,
    /// Characters of a value.
    pub value_chars: usize,
    /// Fields of the state that are compared; those beyond are not seen.
    pub fields: usize,
    /// Fields that are compared in the whole run.
    pub fields_total: usize,
}

impl Default for TraceLimits {
    fn default() -> TraceLimits {
        TraceLimits { steps: 20_000, changes: 200, value_chars: 120, fields: 20_000, fields_total: 20_000_000 }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceStep {
    /// What it was.
    pub what: TraceWhat,
    /// The line in the source, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// How many blocks it stands in.
    pub depth: u32,
    /// The statement's name: `mutate`, `if`, …; `else if`, `else`, `for` of branches.
    pub name: String,
    /// The source line, without what stands before and behind; of a branch its condition.
    pub source: String,
    /// How it ended.
    pub end: TraceEnd,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which turn of its loop it is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// What it changed, by path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How many more fields it changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_changes: usize,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceWhat {
    /// A statement ran. An `if` is told before its conditions are asked.
    Statement,
    /// A branch was taken.
    Branch,
    /// A turn of a loop began.
    Turn,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceEnd {
    /// It did what it says.
    Done,
    /// It failed, and `on_error` caught that.
    Caught,
    /// It failed, and the log with it.
    Failed,
}

/// A field that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path.
    pub path: String,
    /// What it was, as JSON; nothing where it was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Watches one run.
#[derive(Debug)]
pub struct Trace {
    program: Program,
    /// Where each line begins.
    lines: Vec<usize>,
    places: Vec<Place>,
    branches: Vec<Place>,
    limits: TraceLimits,
    steps: Vec<TraceStep>,
    /// How many steps were not kept.
    left_out: u64,
    before: Vec<(String, String)>,
    fields_left: usize,
    /// In which turn each loop is.
    turns: Vec<u64>,
}

/// Where a statement or branch stands.
#[derive(Debug, Clone)]
struct Place {
    span: Span,
    depth: u32,
    name: &'static str,
    /// Of a statement that is a loop: the number of its body among the branches.
    body: Option<u32>,
    catches: bool,
}

impl Trace {
    /// For one run of a program.
    pub fn new(program: &Program) -> Trace {
        Trace::with_limits(program, TraceLimits::default())
    }

    /// For one run of a program, with other limits.
    pub fn with_limits(program: &Program, limits: TraceLimits) -> Trace {
        let (mut places, mut branches) = (Vec::new(), Vec::new());
        locate(&program.file().body, 0, &mut places, &mut branches);
        let breaks = program.source().bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Trace {
            lines: std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect(),
            turns: vec![0; branches.len()],
            program: program.clone(),
            places,
            branches,
            fields_left: limits.fields_total,
            limits,
            steps: Vec::new(),
            left_out: 0,
            before: Vec::new(),
        }
    }

    /// What happened, in order.
    pub fn steps(&self) -> &[TraceStep] {
        &self.steps
    }

    /// How many steps came after those that were kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// What happened, in order.
    pub fn into_steps(self) -> Vec<TraceStep> {
        self.steps
    }

    fn has_room(&mut self) -> bool {
        let has_room = self.steps.len() < self.limits.steps;
        self.left_out += u64::from(!has_room);
        has_room
    }

    fn push(&mut self, what: TraceWhat, place: &Place) -> Option<&mut TraceStep> {
        if !self.has_room() {
            return None;
        }
        let source = self.program.source();
        let at = place.span.start as usize;
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines[line - 1];
        // Where lines are as long as whole programs, columns count bytes.
        let column = if at - start < 10_000 { source[start..at].chars().count() } else { at - start };
        let shown = match what {
            TraceWhat::Statement => source[start..self.lines.get(line).copied().unwrap_or(source.len())].trim(),
            TraceWhat::Branch | TraceWhat::Turn => source.get(at..place.span.end as usize).unwrap_or_default(),
        };
        self.steps.push(TraceStep {
            what,
            line: line as u32,
            column: column as u32 + 1,
            depth: place.depth,
            name: place.name.to_owned(),
            source: clip(shown, 200),
            end: TraceEnd::Done,
            error: None,
            turn: None,
            changes: Vec::new(),
            more_changes: 0,
        });
        self.steps.last_mut()
    }

    /// Compares the state with what it was at the last step.
    fn compare(&mut self, run: &Run<'_>) -> (Vec<Change>, usize) {
        if self.fields_left == 0 {
            return (Vec::new(), 0);
        }
        let mut digest = Digest {
            run,
            fields: Vec::new(),
            left: self.limits.fields.min(self.fields_left),
            value_chars: self.limits.value_chars,
        };
        digest.below(Value::Map(run.root), &mut String::new(), 0);
        let mut after = digest.fields;
        after.sort();
        self.fields_left = self.fields_left.saturating_sub(after.len().max(1));
        let changes = differences(&self.before, &after, self.limits.changes);
        self.before = after;
        changes
    }
}

impl Observer for Trace {
    const WANTS_ERRORS: bool = true;

    fn begin(&mut self, run: &Run<'_>) {
        self.compare(run);
    }

    fn statement(&mut self, step: Step<'_>, run: &Run<'_>) {
        let Some(place) = self.places.get(step.id as usize).cloned() else { return };
        if let Some(body) = place.body {
            self.turns[body as usize] = 0;
        }
        if self.steps.len() >= self.limits.steps {
            self.left_out += 1;
            return;
        }
        let (changes, more_changes) = self.compare(run);
        let end = match (step.failed, place.catches) {
            (false, _) => TraceEnd::Done,
            (true, true) => TraceEnd::Caught,
            (true, false) => TraceEnd::Failed,
        };
        let error = step.caught.map(|fault| clip(&fault.text, 500));
        if let Some(kept) = self.push(TraceWhat::Statement, &place) {
            (kept.changes, kept.more_changes, kept.end, kept.error) = (changes, more_changes, end, error);
            kept.name = step.name.to_owned();
        }
    }

    fn branch(&mut self, id: u32) {
        let Some(place) = self.branches.get(id as usize).cloned() else { return };
        if place.name != "for" {
            self.push(TraceWhat::Branch, &place);
        }
    }

    fn turn(&mut self, id: u32, run: &Run<'_>) {
        let Some(place) = self.branches.get(id as usize).cloned() else { return };
        self.turns[id as usize] += 1;
        let turn = self.turns[id as usize];
        if self.steps.len() >= self.limits.steps {
            self.left_out += 1;
            return;
        }
        let (changes, more_changes) = self.compare(run);
        if let Some(kept) = self.push(TraceWhat::Turn, &place) {
            (kept.changes, kept.more_changes, kept.turn) = (changes, more_changes, Some(turn));
        }
    }
}

/// Finds the places of statements and branches, numbered as the compiler numbers them.
fn locate(body: &[Statement], depth: u32, places: &mut Vec<Place>, branches: &mut Vec<Place>) {
    for statement in body {
        let id = places.len();
        places.push(Place { span: statement.span, depth, name: "", body: None, catches: false });
        match &statement.kind {
            StatementKind::Plugin(plugin) => {
                places[id].catches = plugin.options.iter().any(|option| option.key.text == "on_error");
            }
            StatementKind::If(chain) => {
                for (at, branch) in chain.branches.iter().enumerate() {
                    let name = if at == 0 { "if" } else { "else if" };
                    branches.push(Place { span: branch.condition.span, depth, name, body: None, catches: false });
                    locate(&branch.body, depth + 1, places, branches);
                }
                if let Some((body, span)) = &chain.otherwise {
                    let span = Span { end: span.start + 4, ..*span };
                    branches.push(Place { span, depth, name: "else", body: None, catches: false });
                    locate(body, depth + 1, places, branches);
                }
            }
            StatementKind::For(looped) => {
                places[id].body = Some(branches.len() as u32);
                let words = looped.index.iter().chain([&looped.item]);
                let start = words.map(|word| word.span.start).min().unwrap_or(statement.span.start);
                let span = Span { start, end: looped.item.span.end };
                branches.push(Place { span, depth, name: "for", body: None, catches: false });
                locate(&looped.body, depth + 1, places, branches);
            }
        }
    }
}

/// Lists the fields of a state. Values may be held many times over, so what is listed is counted, not what there is.
struct Digest<'d, 'r> {
    run: &'d Run<'r>,
    fields: Vec<(String, String)>,
    left: usize,
    value_chars: usize,
}

impl Digest<'_, '_> {
    fn below(&mut self, value: Value<'_>, path: &mut String, depth: usize) {
        if self.left == 0 {
            return;
        }
        let empty = match value {
            _ if depth > DEPTH_MAX => "…".to_owned(),
            Value::Map(map) if !map.is_empty() => {
                let mut at = 0;
                while let Some((name, value)) = map.entry(at) {
                    self.step(self.run.heap.text_of(name), value, path, depth);
                    at += 1;
                }
                return;
            }
            Value::List(list) if !list.is_empty() => {
                let mut at = 0;
                while let Some(value) = list.get(at) {
                    self.step(&at.to_string(), value, path, depth);
                    at += 1;
                }
                return;
            }
            value => shown(&value, self.value_chars),
        };
        // A long path counts as several fields: it takes as much.
        self.left = self.left.saturating_sub(1 + (path.len() + empty.len()) / 256);
        self.fields.push((path.clone(), empty));
    }

    fn step(&mut self, name: &str, value: Value<'_>, path: &mut String, depth: usize) {
        if self.left == 0 {
            return;
        }
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&clip(name, 100));
        self.below(value, path, depth + 1);
        path.truncate(length);
    }
}

/// A value, short, in the form of JSON; a long text tells its length too, so that one long text is not like another.
fn shown(value: &Value<'_>, chars: usize) -> String {
    match value {
        Value::Text(text) => {
            let cut = text.char_indices().nth(chars).map(|(at, _)| at);
            match cut {
                Some(at) => format!("{}… ({} bytes)", serde_json::Value::from(&text[..at]), text.len()),
                None => serde_json::Value::from(*text).to_string(),
            }
        }
        Value::Bytes(bytes) => format!("bytes {}", clip(&hex::encode(&bytes[..bytes.len().min(chars)]), chars)),
        Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        plain => print(plain).unwrap_or_default(),
    }
}

fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What differs between two sorted lists of fields, and how much more than is told.
fn differences(before: &[(String, String)], after: &[(String, String)], most: usize) -> (Vec<Change>, usize) {
    let (mut changes, mut more) = (Vec::new(), 0);
    let mut tell = |path: &str, before: Option<&String>, after: Option<&String>| {
        if changes.len() < most {
            changes.push(Change { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        } else {
            more += 1;
        }
    };
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some((path, value)), None) => {
                tell(path, Some(value), None);
                old.next();
            }
            (None, Some((path, value))) => {
                tell(path, None, Some(value));
                new.next();
            }
            (Some((old_path, old_value)), Some((new_path, new_value))) => match old_path.cmp(new_path) {
                std::cmp::Ordering::Less => {
                    tell(old_path, Some(old_value), None);
                    old.next();
                }
                std::cmp::Ordering::Greater => {
                    tell(new_path, None, Some(new_value));
                    new.next();
                }
                std::cmp::Ordering::Equal => {
                    if old_value != new_value {
                        tell(new_path, Some(old_value), Some(new_value));
                    }
                    old.next();
                    new.next();
                }
            },
        }
    }
    (changes, more)
}
