//! Conditions: compiled from the tree, and asked of the state.
//!
//! Comparing is typed: a number is never equal to a text that looks like it (contracts/cbn.md §1.6). A comparison with
//! a field that is not set fails the log; a field alone that is not set is false, since programs ask for flags that no
//! statement has set yet (§1.4, §7: what Google does with those is not settled).

use std::borrow::Cow;

use crate::compile::Build;
use crate::path::Path;
use crate::re2::{self, Regex};
use crate::run::{Failure, Limit, Run};
use crate::syntax::ast::{self, Comparison, ConditionKind, Operand};
use crate::value::Value;

/// A condition.
#[derive(Debug)]
pub(crate) enum Condition {
    Or(Box<[Condition]>),
    And(Box<[Condition]>),
    Not(Box<Condition>),
    Compare(Argument, Comparison, Argument),
    Match {
        subject: Argument,
        pattern: Pattern,
        negated: bool,
    },
    In {
        needle: Argument,
        haystack: Argument,
        negated: bool,
    },
    Truth(Argument),
    /// What could not be compiled; the diagnostics say why, and the program never runs.
    Never,
}

/// One side.
#[derive(Debug)]
pub(crate) enum Argument {
    Field(Path),
    Text(Box<str>),
    Number(f64),
    Bool(bool),
    List(Box<[Argument]>),
    Not(Box<Argument>),
}

/// The right side of `=~`.
#[derive(Debug)]
pub(crate) enum Pattern {
    Fixed(Regex),
    Field(Path),
}

/// Compiles a condition.
pub(crate) fn compile(written: &ast::Condition, build: &mut Build) -> Condition {
    match &written.kind {
        ConditionKind::Or(parts) => Condition::Or(parts.iter().map(|part| compile(part, build)).collect()),
        ConditionKind::And(parts) => Condition::And(parts.iter().map(|part| compile(part, build)).collect()),
        ConditionKind::Not(inner) => Condition::Not(Box::new(compile(inner, build))),
        ConditionKind::Group(inner) => compile(inner, build),
        ConditionKind::Compare(left, comparison, right) => {
            Condition::Compare(argument(left, build), *comparison, argument(right, build))
        }
        ConditionKind::Match { subject, pattern, negated } => {
            let subject = argument(subject, build);
            let pattern = match pattern {
                Operand::Field(word) => Pattern::Field(build.path(word)),
                Operand::Text(word) => match build.regex(&unescape(&word.text), word.span) {
                    Some(regex) => Pattern::Fixed(regex),
                    None => return Condition::Never,
                },
                other => {
                    build.error("regex", other.span(), "a regular expression is a text in quotes");
                    return Condition::Never;
                }
            };
            Condition::Match { subject, pattern, negated: *negated }
        }
        ConditionKind::In { needle, haystack, negated } => {
            Condition::In { needle: argument(needle, build), haystack: argument(haystack, build), negated: *negated }
        }
        ConditionKind::Truth(operand) => Condition::Truth(argument(operand, build)),
    }
}

/// Reads `\x` as `x` a second time, as this side of `=~` asks for (contracts/cbn.md §1.2): four backslashes and a `d` are
/// the class of digits, two are the letter.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut read = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        read.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    Cow::Owned(read)
}

fn argument(operand: &Operand, build: &mut Build) -> Argument {
    match operand {
        Operand::Field(word) => Argument::Field(build.path(word)),
        Operand::Text(word) => Argument::Text(word.text.as_str().into()),
        Operand::Number(number, _) => Argument::Number(*number),
        Operand::Bool(truth, _) => Argument::Bool(*truth),
        Operand::List(operands, _) => Argument::List(operands.iter().map(|operand| argument(operand, build)).collect()),
        Operand::Not(inner, _) => Argument::Not(Box::new(argument(inner, build))),
    }
}

impl Condition {
    /// Whether it holds.
    pub(crate) fn holds(&self, run: &Run<'_>) -> Result<bool, Failure> {
        match self {
            Condition::Or(parts) => {
                run.step(parts.len() as u64 / 16)?;
                for part in parts {
                    if part.holds(run)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::And(parts) => {
                run.step(parts.len() as u64 / 16)?;
                for part in parts {
                    if !part.holds(run)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Not(inner) => Ok(!inner.holds(run)?),
            Condition::Compare(left, comparison, right) => {
                let left = left.read(run)?;
                let right = right.read(run)?;
                compare(run, &left, *comparison, &right)
            }
            Condition::Match { subject, pattern, negated } => {
                let subject = subject.read(run)?;
                let Some(text) = subject.as_text() else { return Ok(*negated) };
                let matched = match pattern {
                    Pattern::Fixed(regex) => regex.is_match(run, text)?,
                    Pattern::Field(path) => match run.get(path) {
                        Some(Value::Text(pattern)) => match made(run, pattern)? {
                            Some(regex) => regex.is_match(run, text)?,
                            None => false,
                        },
                        Some(_) => false,
                        None => return Err(missing(run, path)),
                    },
                };
                Ok(matched != *negated)
            }
            Condition::In { needle, haystack, negated } => {
                let needle = needle.read(run)?;
                Ok(haystack.contains(run, &needle)? != *negated)
            }
            Condition::Truth(argument) => argument.truth(run),
            Condition::Never => Ok(false),
        }
    }
}

/// How long a regular expression out of a field may be, how large compiled, and how long compiling may take: it is compiled
/// each time it is asked for.
const MADE_PATTERN_BYTES_MAX: usize = 10_000;
const MADE_BYTES_MAX: usize = 256 << 10;
const MADE_WORK_MAX: u64 = 100_000;

/// A regular expression out of a field. `None` where it is none.
pub(crate) fn made(run: &Run<'_>, pattern: &str) -> Result<Option<Regex>, Failure> {
    if pattern.len() > MADE_PATTERN_BYTES_MAX {
        return Err(Failure::Limit(Limit::Regex));
    }
    // Compiling is far dearer than matching, and what a short pattern becomes may be long.
    run.step(200 + 4 * pattern.len() as u64)?;
    let mut room = re2::Room::new(MADE_BYTES_MAX, MADE_WORK_MAX);
    let compiled = re2::compile_in(pattern, &mut room);
    run.step(room.work() / 2)?;
    match compiled {
        Ok(regex) => Ok(Some(regex)),
        Err(error) if error.offset.is_none() => Err(Failure::Limit(Limit::Regex)),
        Err(_) => Ok(None),
    }
}

/// What a side is when it is asked.
enum Side<'r, 'c> {
    Value(Value<'r>),
    Text(&'c str),
    List(&'c [Argument]),
}

impl Argument {
    fn read<'r, 'c>(&'c self, run: &Run<'r>) -> Result<Side<'r, 'c>, Failure> {
        Ok(match self {
            Argument::Field(path) => match run.get(path) {
                Some(Value::Text(text)) => Side::Value(Value::Text(text)),
                Some(value) => Side::Value(value),
                None => return Err(missing(run, path)),
            },
            Argument::Text(text) => Side::Text(text),
            Argument::Number(number) => Side::Value(Value::Float(*number)),
            Argument::Bool(truth) => Side::Value(Value::Bool(*truth)),
            Argument::List(list) => Side::List(list),
            Argument::Not(inner) => Side::Value(Value::Bool(!inner.truth(run)?)),
        })
    }

    /// Whether it is true by itself: `true`, a text that is not empty, a number that is not zero, a list or map with
    /// something in it.
    fn truth(&self, run: &Run<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Argument::Field(path) => match run.get(path) {
                None => false,
                Some(Value::Bool(truth)) => truth,
                Some(Value::Text(text)) => !text.is_empty(),
                Some(Value::Float(number)) => number != 0.0,
                Some(Value::Int(number)) => number != 0,
                Some(Value::Uint(number)) => number != 0,
                Some(Value::Bytes(bytes)) => !bytes.is_empty(),
                Some(Value::Time(_)) => true,
                Some(Value::Map(map)) => !map.is_empty(),
                Some(Value::List(list)) => !list.is_empty(),
            },
            Argument::Text(text) => !text.is_empty(),
            Argument::Number(number) => *number != 0.0,
            Argument::Bool(truth) => *truth,
            Argument::List(list) => !list.is_empty(),
            Argument::Not(inner) => !inner.truth(run)?,
        })
    }

    fn contains(&self, run: &Run<'_>, needle: &Side<'_, '_>) -> Result<bool, Failure> {
        match self.read(run)? {
            Side::List(list) => {
                run.step(list.len() as u64 / 16)?;
                for argument in list {
                    if equal(run, needle, &argument.read(run)?)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Side::Value(Value::List(list)) => {
                run.step(list.len() as u64 / 16)?;
                let mut at = 0;
                while let Some(element) = list.get(at) {
                    if equal(run, needle, &Side::Value(element))? {
                        return Ok(true);
                    }
                    at += 1;
                }
                Ok(false)
            }
            Side::Value(Value::Map(map)) => match needle.as_text() {
                Some(text) => {
                    run.step_bytes(text.len())?;
                    Ok(map.get(run.heap.name(text)?).is_some())
                }
                None => Ok(false),
            },
            // A text is looked for within a text, as Logstash does it.
            hay => match (needle.as_text(), hay.as_text()) {
                (Some(needle), Some(hay)) => {
                    run.step_bytes(hay.len())?;
                    Ok(hay.contains(needle))
                }
                _ => Ok(false),
            },
        }
    }
}

impl Side<'_, '_> {
    fn as_text(&self) -> Option<&str> {
        match self {
            Side::Text(text) => Some(text),
            Side::Value(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Side::Value(Value::Float(number)) => Some(*number),
            Side::Value(Value::Int(number)) => Some(*number as f64),
            Side::Value(Value::Uint(number)) => Some(*number as f64),
            _ => None,
        }
    }
}

fn missing(run: &Run<'_>, path: &Path) -> Failure {
    run.error(&path.text, || format!("\"{}\" not found in state data", path.text))
}

fn equal(run: &Run<'_>, left: &Side<'_, '_>, right: &Side<'_, '_>) -> Result<bool, Failure> {
    if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
        return Ok(left.len() == right.len() && {
            run.step_bytes(left.len())?;
            left == right
        });
    }
    if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
        return Ok(left == right);
    }
    Ok(match (left, right) {
        (Side::Value(Value::Bool(left)), Side::Value(Value::Bool(right))) => left == right,
        (Side::Value(Value::Bytes(left)), Side::Value(Value::Bytes(right))) => {
            run.step_bytes(left.len())?;
            left == right
        }
        (Side::Value(Value::Time(left)), Side::Value(Value::Time(right))) => left == right,
        _ => false,
    })
}

fn compare(run: &Run<'_>, left: &Side<'_, '_>, comparison: Comparison, right: &Side<'_, '_>) -> Result<bool, Failure> {
    if let (Some(left), Some(_)) = (left.as_text(), right.as_text()) {
        run.step_bytes(left.len())?;
    }
    let ordered = |holds: fn(std::cmp::Ordering) -> bool| {
        let order = if let (Some(left), Some(right)) = (left.as_text(), right.as_text()) {
            Some(left.cmp(right))
        } else if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
            left.partial_cmp(&right)
        } else if let (Side::Value(Value::Time(left)), Side::Value(Value::Time(right))) = (left, right) {
            Some(left.cmp(right))
        } else {
            None
        };
        order.is_some_and(holds)
    };
    Ok(match comparison {
        Comparison::Equal => equal(run, left, right)?,
        Comparison::NotEqual => !equal(run, left, right)?,
        Comparison::Less => ordered(std::cmp::Ordering::is_lt),
        Comparison::LessEqual => ordered(std::cmp::Ordering::is_le),
        Comparison::Greater => ordered(std::cmp::Ordering::is_gt),
        Comparison::GreaterEqual => ordered(std::cmp::Ordering::is_ge),
    })
}
