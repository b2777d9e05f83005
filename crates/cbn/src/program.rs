//! A program, and the machine that runs it: what the rest of the world uses.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bumpalo::Bump;

use crate::compile::{self, Code};
use crate::diagnostic::{Diagnostic, line_column};
use crate::output::{self, Event, OutputOptions};
use crate::run::machine::{self, Ended, Nobody, Observer};
use crate::run::{Context, Failure, Fault, Limit, Limits, Run};
use crate::syntax::ast::{File, Span};
use crate::syntax::parse;
use crate::value::{Heap, Value};

/// A checked program. Shared between threads; each thread has a [`Machine`] of its own.
#[derive(Debug, Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What errors call the source: a file's name.
    name: String,
    source: String,
    file: File,
    code: Code,
    warnings: Vec<Diagnostic>,
}

impl Program {
    /// Reads and checks a program; `name` is what errors call it. All that is wrong with it otherwise.
    pub fn new(name: impl Into<String>, source: impl Into<String>) -> Result<Program, Vec<Diagnostic>> {
        let (name, source) = (name.into(), source.into());
        let file = parse::parse(&source)?;
        let (code, diagnostics) = compile::compile(&file);
        match code {
            Some(code) => Ok(Program { inner: Arc::new(Inner { name, source, file, code, warnings: diagnostics }) }),
            None => Err(diagnostics),
        }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// Its tree.
    pub fn file(&self) -> &File {
        &self.inner.file
    }

    /// What compiling found that does not keep it from running.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.inner.warnings
    }

    /// How many statements it has; their numbers go from 0 in the order of the source.
    pub fn statements(&self) -> u32 {
        self.inner.code.statements
    }

    /// How many branches it has: those of `if`, `else` among them, and bodies of loops.
    pub fn branches(&self) -> u32 {
        self.inner.code.branches
    }

    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }
}

/// How a log ended.
#[derive(Debug)]
pub struct Outcome {
    /// The events and entities, or why there are none.
    pub end: Result<Vec<Event>, Error>,
}

/// Why a log gave no events.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What kind of end it is.
    pub end: End,
    /// In Google's words where they are known.
    pub text: String,
    /// The failing statement's number and place, if it was a statement.
    pub statement: Option<(u32, Span)>,
    /// File, line and column of it, both from 1.
    pub at: Option<(String, u32, u32)>,
    /// The field that it is about.
    pub field: Option<String>,
}

/// The kinds of ends without events.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// A statement failed and nothing caught it.
    Failed,
    /// `drop`, with its tag.
    Dropped(String),
    /// What came out is no event that may be stored.
    Invalid,
    /// A limit was reached.
    Limit(Limit),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// What a run used of what its [`Limits`] allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Steps.
    pub steps: u64,
    /// Bytes of values, names and documents, as they are charged: before they are taken, and with room for growth.
    pub memory_bytes: usize,
    /// Bytes of the arena in which most of them lie, with what it keeps ready for the next run.
    pub arena_bytes: usize,
}

/// An arena that grew beyond this is given back after the run: one large log must not be paid for from then on.
const ARENA_KEPT_BYTES_MAX: usize = 32 << 20;

/// Runs programs, one log after the other. It keeps its memory between logs.
#[derive(Debug)]
pub struct Machine {
    schema: Arc<udm::Schema>,
    bump: Bump,
    pub(crate) used: Cell<Used>,
    /// What each log may use.
    pub limits: Limits,
    /// How events are checked.
    pub output: OutputOptions,
    /// Ends a run with [`Limit::Cancelled`], and each one after it, once somebody sets it: from another thread, when nobody
    /// waits for the end any more. It is looked at every few thousand steps and before each output.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Machine {
    /// A machine with the default limits.
    pub fn new(schema: Arc<udm::Schema>) -> Machine {
        Machine {
            schema,
            bump: Bump::new(),
            used: Cell::default(),
            limits: Limits::default(),
            output: OutputOptions::default(),
            cancel: None,
        }
    }

    /// What the last run used. Of a parser with an extension it is the steps of both, and the more of the rest.
    pub fn used(&self) -> Used {
        self.used.get()
    }

    /// Runs a program on a log.
    pub fn run(&mut self, program: &Program, log: &[u8], context: &Context) -> Outcome {
        self.watch(program, log, context, &mut Nobody)
    }

    /// Runs a program on a log, watched.
    pub fn watch<O: Observer>(
        &mut self,
        program: &Program,
        log: &[u8],
        context: &Context,
        observer: &mut O,
    ) -> Outcome {
        self.used.set(Used::default());
        let end = self.end(program, log, context, observer);
        let arena_bytes = self.bump.allocated_bytes();
        self.used.set(Used { arena_bytes, ..self.used.get() });
        if arena_bytes > ARENA_KEPT_BYTES_MAX {
            self.bump = Bump::new();
        } else {
            self.bump.reset();
        }
        Outcome { end }
    }

    fn end<O: Observer>(
        &self,
        program: &Program,
        log: &[u8],
        context: &Context,
        observer: &mut O,
    ) -> Result<Vec<Event>, Error> {
        if log.len() > self.limits.log_bytes {
            return Err(limit(Limit::Log));
        }
        let code = program.code();
        let heap = Heap::new(&self.bump, &code.names, self.limits.memory_bytes);
        let unplaced = |failure: Failure| match failure {
            Failure::Limit(reached) => limit(reached),
            _ => limit(Limit::Memory),
        };
        let run = Run::cancelled_by(heap, context, self.limits.steps, self.cancel.as_deref()).map_err(unplaced)?;
        let end = begin(&run, code, log, context).map_err(unplaced).and_then(|()| self.go(&run, program, observer));
        self.used.set(Used {
            steps: self.limits.steps - run.steps_left(),
            memory_bytes: self.limits.memory_bytes - run.heap.left(),
            arena_bytes: 0,
        });
        end
    }

    /// The statements, and what comes out.
    fn go<O: Observer>(&self, run: &Run<'_>, program: &Program, observer: &mut O) -> Result<Vec<Event>, Error> {
        let code = program.code();
        observer.begin(run);
        machine::block(run, code, &code.body, observer).map_err(|ended| error(program, *ended))?;

        let outputs: Vec<Value<'_>> = match run.root.get(code.known.output) {
            None => Vec::new(),
            Some(Value::List(list)) => (0..list.len()).filter_map(|at| list.get(at)).collect(),
            Some(single) => vec![single],
        };
        let made = output::convert(&self.schema, run, &outputs, &self.output, &self.limits);
        made.map_err(|invalid| match invalid.limit() {
            Some(reached) => limit(reached),
            None => Error {
                end: End::Invalid,
                text: invalid.to_string(),
                statement: None,
                at: None,
                field: invalid.field().map(str::to_owned),
            },
        })
    }
}

/// The state before the first statement (contracts/cbn.md §1.3; Google's documentation shows it as a statedump).
fn begin(run: &Run<'_>, code: &Code, log: &[u8], context: &Context) -> Result<(), Failure> {
    let known = &code.known;
    let heap = &run.heap;
    let message = match std::str::from_utf8(log) {
        Ok(text) => heap.text(text)?,
        Err(_) => heap.text(&String::from_utf8_lossy(log))?,
    };
    run.root.set(heap, known.message, Value::Text(message))?;
    run.root.set(heap, known.create_timestamp, Value::Time(context.received_at))?;
    if let Some(collected) = context.collected_at {
        run.root.set(heap, known.collection_timestamp, Value::Time(collected))?;
    }
    let zone = context.timezone.as_deref().unwrap_or_default();
    run.root.set(heap, known.timezone, Value::Text(heap.text(zone)?))?;
    run.root.set(heap, known.enable_for_loop, Value::Bool(true))?;
    run.root.set(heap, known.on_error_count, Value::Int(0))?;
    run.root.set(heap, known.output, Value::List(heap.list()?))
}

fn limit(reached: Limit) -> Error {
    Error {
        end: End::Limit(reached),
        text: format!("LOG_PARSING_CBN_ERROR: \"generic::{}: {reached}\"", limit_code(reached)),
        statement: None,
        at: None,
        field: None,
    }
}

/// The code of Google's errors for it.
fn limit_code(reached: Limit) -> &'static str {
    match reached {
        Limit::Cancelled => "cancelled",
        _ => "resource_exhausted",
    }
}

fn error(program: &Program, ended: Ended) -> Error {
    let (line, column) = line_column(program.source(), ended.span.start);
    let at = Some((program.name().to_owned(), line, column));
    let statement = Some((ended.statement, ended.span));
    let chain = ended.chain;
    let (end, text, field) = match ended.failure {
        Failure::Error(fault) | Failure::Skipped(fault) => {
            let Fault { text, field } = fault.map(|fault| *fault).unwrap_or_default();
            let text = format!("LOG_PARSING_CBN_ERROR: \"generic::invalid_argument: pipeline failed: {chain}{text}\"");
            (End::Failed, text, field.filter(|field| !field.is_empty()))
        }
        Failure::Drop(tag) => (End::Dropped(tag.clone()), format!("LOG_PARSING_DROPPED_BY_FILTER: \"{tag}\""), None),
        Failure::Limit(reached) => (
            End::Limit(reached),
            format!("LOG_PARSING_CBN_ERROR: \"generic::{}: pipeline failed: {chain}{reached}\"", limit_code(reached)),
            None,
        ),
    };
    Error { end, text, statement, at, field }
}
