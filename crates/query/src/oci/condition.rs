//! Conditions made ready to be asked of many records: one pass over the bytes for all paths, before it a look for texts
//! without which nothing can match, and what filters may rule out.

use std::fmt;

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::expression::{Expression, Subject};
use super::needs::Needs;
use super::parse;
use super::path::{Path, Root, Step};
use super::record::Plan;
use super::value::{Check, Literal, Scalar, millis};
use crate::{Diagnostic, Prune};

/// A condition on log entries, as a connector's `logRule` has it. The module says what the language means.
///
/// Cheap to share behind an `Arc`; holds no mutable state.
#[derive(Debug, Clone)]
pub struct Condition {
    expression: Expression,
    compiled: Compiled,
    tests: Vec<Test>,
    plan: Plan,
    needs: Needs,
    quick: Quick,
}

/// The expression with its tests taken out.
#[derive(Debug, Clone)]
enum Compiled {
    Constant(bool),
    All(Vec<Compiled>),
    One(Vec<Compiled>),
    Not(Box<Compiled>),
    /// The test with this index holds.
    Test(usize),
    /// What needs more than the values at one path.
    Computed(Expression),
}

/// A check of the values at one path; the flag turns the answer around.
#[derive(Debug, Clone)]
struct Test {
    check: Check,
    negated: bool,
    is_time: bool,
}

impl Condition {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Condition, Diagnostic> {
        parse::condition(text).map(Condition::new)
    }

    pub(super) fn new(expression: Expression) -> Condition {
        let mut tests = Vec::new();
        let mut paths = Vec::new();
        let compiled = compile(&expression, &mut tests, &mut paths);
        let plan = Plan::new(paths.iter().enumerate().map(|(index, steps)| (index, &steps[..])));
        let needs = Needs::of(&expression);
        let quick = Quick::new(&needs);
        Condition { expression, compiled, tests, plan, needs, quick }
    }

    /// Whether a record matches: a log entry's flat envelope as JSON. Total over any bytes; what is no JSON has no
    /// fields.
    pub fn matches(&self, record: &[u8]) -> bool {
        if !self.quick.possible(record) && !has_escaped_characters(record) {
            return false;
        }
        let mut small = [false; 64];
        let mut large = Vec::new();
        let held = if self.tests.len() <= small.len() {
            &mut small[..self.tests.len()]
        } else {
            large.resize(self.tests.len(), false);
            &mut large[..]
        };
        if !self.plan.is_empty() {
            self.plan.visit(record, &mut |index, value| {
                let test = &self.tests[index];
                held[index] = held[index] || test.holds(value);
            });
        }
        self.evaluate(&self.compiled, held, record)
    }

    fn evaluate(&self, compiled: &Compiled, held: &[bool], record: &[u8]) -> bool {
        match compiled {
            Compiled::Constant(truth) => *truth,
            Compiled::All(parts) => parts.iter().all(|part| self.evaluate(part, held, record)),
            Compiled::One(parts) => parts.iter().any(|part| self.evaluate(part, held, record)),
            Compiled::Not(inner) => !self.evaluate(inner, held, record),
            Compiled::Test(index) => held[*index] != self.tests[*index].negated,
            Compiled::Computed(expression) => expression.holds(Subject::Record(record)),
        }
    }

    /// What filters over the raw text may rule out. It is exact for records that escape no plain letters (`\u0061` for
    /// `a`), as none that came by OCI's API do: those are written anew.
    pub fn prune(&self) -> Prune {
        self.needs.prune()
    }

    /// As [`Condition::matches`], and never for a record that [`Condition::prune`] rules out: one that escapes plain
    /// letters is found nowhere rather than by some searches.
    pub(crate) fn matches_as_pruned(&self, record: &[u8]) -> bool {
        self.matches(record)
            && (!has_escaped_characters(record) || {
                let folded = udm::fold(&String::from_utf8_lossy(record));
                self.prune().possible(&mut |_| false, &mut |wanted| folded.contains(wanted))
            })
    }

    pub(super) fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Whether it is written without parentheses around it where others stand beside it.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.expression, Expression::All(_) | Expression::One(_))
    }
}

/// The condition in its own language, in the short form. Parsed again it asks the same.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expression)
    }
}

impl Test {
    fn holds(&self, value: Scalar<'_>) -> bool {
        if !self.is_time {
            return self.check.holds(value);
        }
        let Scalar::Text(text) = value else { return false };
        let Some(instant) = std::str::from_utf8(text).ok().and_then(udm::Instant::parse) else { return false };
        self.check.holds(Scalar::Number(&millis(instant).to_string()))
    }
}

fn compile(expression: &Expression, tests: &mut Vec<Test>, paths: &mut Vec<Vec<Step>>) -> Compiled {
    let mut test = |path: &Path, check: &Check, negated: bool| {
        let is_time = path.root == Root::Time;
        tests.push(Test { check: check.clone(), negated, is_time });
        paths.push(if is_time { vec![Step::Key("time".to_owned())] } else { path.steps.clone() });
        Compiled::Test(tests.len() - 1)
    };
    match expression {
        Expression::Literal(Literal::Bool(truth)) => Compiled::Constant(*truth),
        Expression::Is(left, check, negated) => match &**left {
            Expression::Path(path) => test(path, check, *negated),
            _ => Compiled::Computed(expression.clone()),
        },
        Expression::Path(path) => test(path, &Check::Equal(Literal::Bool(true)), false),
        Expression::All(parts) => Compiled::All(parts.iter().map(|part| compile(part, tests, paths)).collect()),
        Expression::One(parts) => Compiled::One(parts.iter().map(|part| compile(part, tests, paths)).collect()),
        Expression::Not(inner) => Compiled::Not(Box::new(compile(inner, tests, paths))),
        other => Compiled::Computed(other.clone()),
    }
}

/// Whether a record writes some plain characters by their number, as `\u0061`. Only then may a plain text be spelled
/// otherwise. Two backslashes before the `u` count, too, which costs time alone.
fn has_escaped_characters(record: &[u8]) -> bool {
    let mut escapes = memchr::memmem::find_iter(record, br"\u00");
    escapes.any(|at| matches!(record.get(at + 4), Some(b'2'..=b'7')))
}

/// Texts without which a record cannot match, looked for before it is read.
#[derive(Debug, Clone)]
enum Quick {
    Unknown,
    Never,
    Text(Box<Finder<'static>>),
    /// The same in any case of letters.
    AnyCase(Box<Regex>),
    One(Vec<Quick>),
}

/// Most alternatives that are looked for one after the other.
const QUICK_MAX: usize = 8;

impl Quick {
    fn new(needs: &Needs) -> Quick {
        match needs {
            Needs::Unknown => Quick::Unknown,
            Needs::Never => Quick::Never,
            Needs::Text { text, ignore_case: true } => {
                // Plain texts are ASCII, whose case needs no Unicode.
                let regex =
                    RegexBuilder::new(&regex_syntax::escape(text)).unicode(false).case_insensitive(true).build();
                regex.map_or(Quick::Unknown, |regex| Quick::AnyCase(Box::new(regex)))
            }
            Needs::Text { text, .. } => Quick::Text(Box::new(Finder::new(text).into_owned())),
            Needs::All(parts) => parts.iter().max_by_key(|part| Quick::worth(part)).map_or(Quick::Unknown, Quick::new),
            Needs::One(parts) if Quick::worth(needs) > 0 => Quick::One(parts.iter().map(Quick::new).collect()),
            Needs::One(_) => Quick::Unknown,
        }
    }

    /// How much a look promises: one is worth it, more are not, and the longest text is likely the rarest.
    fn worth(needs: &Needs) -> usize {
        match needs {
            Needs::Unknown => 0,
            Needs::Never => usize::MAX,
            Needs::Text { text, .. } => text.len(),
            Needs::All(parts) => parts.iter().map(Quick::worth).max().unwrap_or(0),
            Needs::One(parts) if parts.len() > QUICK_MAX => 0,
            Needs::One(parts) => parts.iter().map(Quick::worth).min().unwrap_or(0),
        }
    }

    fn possible(&self, record: &[u8]) -> bool {
        match self {
            Quick::Unknown => true,
            Quick::Never => false,
            Quick::Text(finder) => finder.find(record).is_some(),
            Quick::AnyCase(regex) => regex.is_match(record),
            Quick::One(parts) => parts.iter().any(|part| part.possible(record)),
        }
    }
}
