//! Running a program and looking at how it ended.

use std::sync::Arc;

use cbn::{Context, End, Error, Limits, Machine, Observer, Program};
use serde_json::Value as Json;

/// When every log of these tests was received.
pub const RECEIVED: &str = "2026-11-26T12:00:00Z";

/// What is known beside the log.
pub fn context() -> Context {
    Context::new(RECEIVED.parse().expect("the constant is a time"))
}

/// Keeps the state at the last `statedump`.
#[derive(Default)]
struct Dump(Json);

impl Observer for Dump {
    fn dump(&mut self, _label: &str, run: &cbn::run::Run<'_>) {
        self.0 = cbn::dump(run);
    }
}

/// Compiles statements; what is wrong with them fails the test.
#[track_caller]
pub fn program(statements: &str) -> Program {
    let source = format!("filter {{\n{statements}\n}}\n");
    Program::new("test.conf", source).unwrap_or_else(|found| panic!("{statements}\n{found:#?}"))
}

/// A machine with limits.
pub fn machine(limits: Limits) -> Machine {
    let mut machine = Machine::new(SCHEMA.with(Arc::clone));
    machine.limits = limits;
    machine
}

thread_local! {
    static SCHEMA: Arc<udm::Schema> = udm::Schema::load();
}

/// The state after the statements, or why there is none.
#[track_caller]
pub fn state(statements: &str, log: &str) -> Result<Json, Error> {
    let program = program(&format!("{statements}\nstatedump {{ label => \"end\" }}"));
    let mut dump = Dump::default();
    let outcome = machine(Limits::default()).watch(&program, log.as_bytes(), &context(), &mut dump);
    match outcome.end {
        Err(error) if !matches!(error.end, End::Invalid) => Err(error),
        _ => Ok(dump.0),
    }
}

/// The field at a path of keys and indices joined by dots.
pub fn field<'j>(state: &'j Json, path: &str) -> Option<&'j Json> {
    path.split('.').try_fold(state, |value, part| match value {
        Json::Array(elements) => elements.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// One thing that the language says, shown by a program on a log.
pub struct Case {
    /// The rule in a few words.
    pub rule: &'static str,
    /// The statements.
    pub program: &'static str,
    /// The log.
    pub log: &'static str,
    /// Fields afterwards as JSON; `unset` where there must be none.
    pub fields: &'static [(&'static str, &'static str)],
}

/// Runs the cases; tells all that differ at once.
#[track_caller]
pub fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for Case { rule, program, log, fields } in cases {
        match state(program, log) {
            Err(error) => wrong.push(format!("{rule}: {error}")),
            Ok(state) => {
                for (path, expected) in *fields {
                    let got = field(&state, path);
                    let expected: Option<Json> =
                        (*expected != "unset").then(|| serde_json::from_str(expected).expect("the table holds JSON"));
                    if got != expected.as_ref() {
                        wrong.push(format!("{rule}: {path} is {got:?}, not {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One way to fail: rule, statements, log, part of the text.
pub type Failing = (&'static str, &'static str, &'static str, &'static str);

/// Runs what has to fail.
#[track_caller]
pub fn check_failing(cases: &[Failing]) {
    let mut wrong = Vec::new();
    for (rule, program, log, text) in cases {
        match state(program, log) {
            Err(error) if error.text.contains(text) => {}
            Err(error) => wrong.push(format!("{rule}: {:?} does not hold {text:?}", error.text)),
            Ok(state) => wrong.push(format!("{rule}: no error, state {state}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
