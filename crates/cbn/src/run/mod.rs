//! Running a program on one log: its state, what a run may use, and how it ends.
//!
//! `machine.rs` goes through the statements; `condition.rs`, `mutate.rs` and `crate::plugins` do what they say on the
//! [`Run`] defined here. A statement either succeeds or ends in a [`Failure`]; which failures the program may catch with
//! `on_error` is decided in the machine alone.
//!
//! No clock, no randomness, no I/O: the same program and log give the same end.

pub(crate) mod condition;
pub(crate) mod convert;
pub(crate) mod machine;
pub(crate) mod mutate;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::path::{Part, Path, Segment, Target, Template, index_of, steps};
use crate::plugins::xml::Documents;
use crate::value::{DEPTH_MAX, Heap, Map, Name, Time, Value};

/// What a program may use while it runs on one log. What is reached ends the run with an error; nothing is stored half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Statements, turns of loops, and what else takes time, in units of about a statement.
    pub steps: u64,
    /// Bytes of values, names and documents.
    pub memory_bytes: usize,
    /// Bytes of a log. Google's own limit is 10 MiB (contracts/cbn.md §1.9).
    pub log_bytes: usize,
    /// Events and entities of one log.
    pub output_records: usize,
    /// Bytes of all events and entities of one log.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steps: 5_000_000,
            memory_bytes: 256 << 20,
            log_bytes: 10 << 20,
            output_records: 10_000,
            output_bytes: 64 << 20,
        }
    }
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`Limits::steps`].
    Steps,
    /// [`Limits::memory_bytes`].
    Memory,
    /// [`Limits::log_bytes`].
    Log,
    /// [`Limits::output_records`] or [`Limits::output_bytes`].
    Output,
    /// [`crate::value::DEPTH_MAX`]: values nested too deep, or a value that holds itself.
    Nesting,
    /// A regular expression made while running is larger than allowed.
    Regex,
    /// Whoever runs it wants no more of it: [`crate::Machine::cancel`].
    Cancelled,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Steps => "too many steps",
            Limit::Memory => "too much memory",
            Limit::Log => "the log is too large",
            Limit::Output => "too much output",
            Limit::Nesting => "values are nested too deep",
            Limit::Regex => "a regular expression is too large",
            Limit::Cancelled => "it was cancelled",
        })
    }
}

/// Dumps show this part of what a run may take: a map that is held many times over is shown as often, and a loop may dump
/// at every turn.
const MEMORY_PER_SHOWN: usize = 8;

/// After so many steps at the latest a run looks whether it was cancelled.
const STEPS_PER_LOOK: u64 = 4_096;

/// How a statement fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// It could not do what it says: `on_error` catches this. Without a text where the statement has an `on_error` and
    /// nobody looks, since programs provoke errors by the hundred to find out what is there.
    Error(Option<Box<Fault>>),
    /// It had nothing to work on and let that part be, which sets the flag of an `on_error` and is no error without one:
    /// a `merge` whose source is not set (contracts/cbn.md §1.6).
    Skipped(Option<Box<Fault>>),
    /// `drop`.
    Drop(String),
    /// A limit: nothing catches this.
    Limit(Limit),
}

/// What an error says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fault {
    /// In Google's words where they are known.
    pub text: String,
    /// The field that it is about.
    pub field: Option<String>,
}

/// What a run is given beside the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// When the log was received (`@createTimestamp`, and what `rebase` takes the year from).
    pub received_at: Time,
    /// When the sender collected it (`@collectionTimestamp`), if it said.
    pub collected_at: Option<Time>,
    /// The log type, which an event gets that names none.
    pub log_type: Option<String>,
    /// The time zone for dates that name none (`@timezone`), as an IANA name or an offset.
    pub timezone: Option<String>,
}

impl Context {
    /// Nothing known but the time of receipt.
    pub fn new(received_at: Time) -> Context {
        Context { received_at, collected_at: None, log_type: None, timezone: None }
    }

    /// Whether a text is something that [`Context::timezone`] can be: a name, a common abbreviation or an offset. Any other
    /// counts as none.
    pub fn is_timezone(text: &str) -> bool {
        crate::plugins::date::is_zone(text)
    }
}

/// The state of a run.
pub struct Run<'r> {
    /// Where values live.
    pub heap: Heap<'r>,
    /// All fields.
    pub root: &'r Map<'r>,
    /// What is known beside the log.
    pub context: &'r Context,
    /// The XML documents that were read.
    pub(crate) documents: Documents<'r>,
    /// The names of the two fields that a time has.
    seconds: Name,
    nanos: Name,
    /// What is left of the steps until the next look at `cancelled`, and those behind it.
    steps_now: Cell<u64>,
    steps_later: Cell<u64>,
    cancelled: Option<&'r AtomicBool>,
    /// How much of the state may still be shown to whoever watches.
    shown_left: Cell<usize>,
    /// Whether nobody will see the text of an error.
    quiet: Cell<bool>,
}

impl<'r> Run<'r> {
    /// A run on nothing yet.
    pub fn new(heap: Heap<'r>, context: &'r Context, steps: u64) -> Result<Run<'r>, Failure> {
        Run::cancelled_by(heap, context, steps, None)
    }

    /// The same for one that ends when a flag is set.
    pub(crate) fn cancelled_by(
        heap: Heap<'r>,
        context: &'r Context,
        steps: u64,
        cancelled: Option<&'r AtomicBool>,
    ) -> Result<Run<'r>, Failure> {
        let shown_left = heap.left() / MEMORY_PER_SHOWN;
        let root = heap.map()?;
        let (seconds, nanos) = (heap.name("seconds")?, heap.name("nanos")?);
        let documents = Documents::default();
        Ok(Run {
            heap,
            root,
            context,
            seconds,
            nanos,
            documents,
            // The first step looks.
            steps_now: Cell::new(0),
            steps_later: Cell::new(steps),
            cancelled,
            shown_left: Cell::new(shown_left),
            quiet: Cell::new(false),
        })
    }

    /// Takes steps from what the run may do.
    #[inline]
    pub fn step(&self, steps: u64) -> Result<(), Failure> {
        match self.steps_now.get().checked_sub(steps) {
            Some(left) => {
                self.steps_now.set(left);
                Ok(())
            }
            None => self.look_and_step(steps),
        }
    }

    #[cold]
    fn look_and_step(&self, steps: u64) -> Result<(), Failure> {
        self.look()?;
        let left = self.steps_left().checked_sub(steps).ok_or(Failure::Limit(Limit::Steps))?;
        let now = left.min(STEPS_PER_LOOK);
        self.steps_now.set(now);
        self.steps_later.set(left - now);
        Ok(())
    }

    /// Ends what was cancelled.
    pub(crate) fn look(&self) -> Result<(), Failure> {
        match self.cancelled {
            Some(cancelled) if cancelled.load(Ordering::Relaxed) => Err(Failure::Limit(Limit::Cancelled)),
            _ => Ok(()),
        }
    }

    /// Takes the steps that going through so many bytes is worth (regular expressions, documents).
    #[inline]
    pub fn step_bytes(&self, bytes: usize) -> Result<(), Failure> {
        self.step(bytes as u64 / 512)
    }

    /// Whether so many bytes may be shown in dumps of the state, all together. What is shown and what not changes nothing
    /// about the end of a run.
    pub(crate) fn may_show(&self, bytes: usize) -> bool {
        let left = self.shown_left.get();
        self.shown_left.set(left.saturating_sub(bytes));
        left >= bytes
    }

    /// How many steps are left.
    pub fn steps_left(&self) -> u64 {
        self.steps_now.get() + self.steps_later.get()
    }

    /// An error about a field; the text is only made where somebody sees it.
    #[inline]
    pub fn error(&self, field: &str, text: impl FnOnce() -> String) -> Failure {
        if self.quiet.get() {
            Failure::Error(None)
        } else {
            Failure::Error(Some(Box::new(Fault { text: text(), field: Some(field.to_owned()) })))
        }
    }

    /// Whether texts of errors are left out, and sets it.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.quiet.set(quiet);
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, path: &Path) -> Option<Value<'r>> {
        let (first, rest) = path.segments.split_first()?;
        let mut value = self.root.get(first.name)?;
        for segment in rest {
            value = self.step_into(value, segment)?;
        }
        Some(value)
    }

    /// Sets a field, making the maps above it. What stands in the way and is no map (a text, say) gives way to one
    /// (contracts/cbn.md §1.2); an element of a list is set where it is.
    pub fn set(&self, path: &Path, value: Value<'r>) -> Result<(), Failure> {
        let Some((last, above)) = path.segments.split_last() else { return Ok(()) };
        let mut map = self.root;
        let mut above = above;
        while let Some((segment, rest)) = above.split_first() {
            above = rest;
            map = match map.get(segment.name) {
                Some(Value::Map(inner)) => inner,
                Some(Value::List(list)) => {
                    // `a.0` names an element, and `a.0.b` a field of it.
                    let next = rest.first().unwrap_or(last);
                    match (next.index, rest.is_empty()) {
                        (Some(index), true) if (index as usize) < list.len() => {
                            list.replace(index as usize, value);
                            return Ok(());
                        }
                        (Some(index), false) if (index as usize) < list.len() => {
                            above = &rest[1..];
                            match list.get(index as usize) {
                                Some(Value::Map(inner)) => inner,
                                _ => {
                                    let made = self.heap.map()?;
                                    list.replace(index as usize, Value::Map(made));
                                    made
                                }
                            }
                        }
                        _ => self.make_map(map, segment.name)?,
                    }
                }
                _ => self.make_map(map, segment.name)?,
            };
        }
        map.set(&self.heap, last.name, value)
    }

    fn make_map(&self, map: &'r Map<'r>, name: Name) -> Result<&'r Map<'r>, Failure> {
        let made = self.heap.map()?;
        map.set(&self.heap, name, Value::Map(made))?;
        Ok(made)
    }

    /// Takes a field away and gives its value.
    pub fn remove(&self, path: &Path) -> Result<Option<Value<'r>>, Failure> {
        let Some((last, above)) = path.segments.split_last() else { return Ok(None) };
        let mut holder = Value::Map(self.root);
        for segment in above {
            match self.step_into(holder, segment) {
                Some(inner) => holder = inner,
                None => return Ok(None),
            }
        }
        Ok(match holder {
            Value::Map(map) => map.remove(last.name),
            Value::List(list) => {
                let Some(index) = last.index else { return Ok(None) };
                // Those behind it move up.
                self.step_bytes(list.len() * size_of::<Value<'_>>() / 16)?;
                list.remove(index as usize)
            }
            _ => None,
        })
    }

    /// Sets a text.
    pub fn set_text(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let text = self.heap.text(text)?;
        self.set(path, Value::Text(text))
    }

    /// The place that a target names now. `None` where a field in its name is missing or no text.
    pub fn place<'p>(&self, target: &'p Target) -> Result<Option<Cow<'p, Path>>, Failure> {
        match target {
            Target::Fixed(path) => Ok(Some(Cow::Borrowed(path))),
            Target::Made(template) => match self.expand(template)? {
                Ok(text) => Ok(Some(Cow::Owned(self.path(text)?))),
                Err(_) => Ok(None),
            },
        }
    }

    /// A path out of a text that was not there when the program was compiled.
    pub fn path(&self, text: &str) -> Result<Path, Failure> {
        self.heap.charge(text.len())?;
        let parts: Vec<&str> = steps(text).take(DEPTH_MAX + 1).collect();
        if parts.len() > DEPTH_MAX {
            return Err(Failure::Limit(Limit::Nesting));
        }
        let mut segments = Vec::with_capacity(parts.len());
        for part in &parts {
            segments.push(Segment { name: self.heap.name(part)?, index: index_of(part) });
        }
        Ok(Path { segments: segments.into(), text: parts.join(".").into() })
    }

    /// The text of a template; the path of the first field that is missing or no text otherwise.
    pub fn expand<'p>(&self, template: &'p Template) -> Result<Result<&'r str, &'p Path>, Failure> {
        match &*template.parts {
            [] => return Ok(Ok("")),
            [Part::Text(text)] => return Ok(Ok(self.heap.text(text)?)),
            // Texts are never changed, so the copy is the text itself.
            [Part::Field(path)] => {
                return Ok(self.get(path).and_then(|value| value.as_text()).ok_or(path));
            }
            _ => {}
        }
        self.step(template.parts.len() as u64 / 16)?;
        let mut bytes = 0;
        for part in &template.parts {
            bytes += match part {
                Part::Text(text) => text.len(),
                Part::Field(path) => match self.get(path) {
                    Some(Value::Text(text)) => text.len(),
                    _ => return Ok(Err(path)),
                },
            };
        }
        self.heap.charge(bytes)?;
        let mut whole = bumpalo::collections::String::with_capacity_in(bytes, self.heap.bump());
        for part in &template.parts {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Field(path) => {
                    if let Some(Value::Text(text)) = self.get(path) {
                        whole.push_str(text);
                    }
                }
            }
        }
        Ok(Ok(whole.into_bump_str()))
    }

    #[inline]
    fn step_into(&self, value: Value<'r>, segment: &Segment) -> Option<Value<'r>> {
        match value {
            Value::Map(map) => map.get(segment.name),
            Value::List(list) => list.get(segment.index? as usize),
            // A time is shown as a map of these two (Google's documentation, statedump).
            Value::Time(time) if segment.name == self.seconds => Some(Value::Int(time.as_second())),
            Value::Time(time) if segment.name == self.nanos => Some(Value::Int(time.subsec_nanosecond().into())),
            _ => None,
        }
    }
}
