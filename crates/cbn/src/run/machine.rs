//! Going through the statements of a program.
//!
//! Here alone is decided what a failure does: `on_error` catches an error and sets its flag, `drop` and limits end the
//! log, and an error that nobody catches ends it with the chain of statements that it stands in.

use crate::compile::{Code, For, Op, Over, Statement};
use crate::plugins::xml;
use crate::run::{Failure, Fault, Limit, Run};
use crate::syntax::ast::Span;
use crate::value::{Value, print};

/// Who watches a run: `parser trace`, coverage, `statedump`. The default does nothing, and costs nothing.
pub trait Observer {
    /// Whether the texts of caught errors are wanted, too.
    const WANTS_ERRORS: bool = false;

    /// The first statement is next; the state is what programs begin with.
    fn begin(&mut self, _run: &Run<'_>) {}

    /// A statement is over; the state is as it left it.
    fn statement(&mut self, _step: Step<'_>, _run: &Run<'_>) {}

    /// A branch of an `if` was taken, or the body of a loop entered.
    fn branch(&mut self, _id: u32) {}

    /// A turn of a loop begins, told after its [`Observer::branch`]; its variables are set.
    fn turn(&mut self, _id: u32, _run: &Run<'_>) {}

    /// A `statedump`.
    fn dump(&mut self, _label: &str, _run: &Run<'_>) {}
}

/// Nobody watches.
#[derive(Debug)]
pub struct Nobody;

impl Observer for Nobody {}

/// What an observer is told of a statement.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number in the program, from 0, in the order of the source.
    pub id: u32,
    /// Where it stands.
    pub span: Span,
    /// What it is called: `mutate`, `if`, ….
    pub name: &'a str,
    /// Why it failed, if it did and `on_error` caught that.
    pub caught: Option<&'a Fault>,
    /// Whether it failed at all, caught or not.
    pub failed: bool,
}

/// Where a run that was not caught ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) failure: Failure,
    /// The statement that failed.
    pub(crate) span: Span,
    pub(crate) statement: u32,
    /// `filter conditional (3) failed: filter mutate (0) failed: `.
    pub(crate) chain: String,
}

type Ending<T> = Result<T, Box<Ended>>;

/// Runs a block.
pub(crate) fn block<O: Observer>(run: &Run<'_>, code: &Code, statements: &[Statement], observer: &mut O) -> Ending<()> {
    for statement in statements {
        let ended = match run.step(1) {
            Ok(()) => execute(run, code, statement, observer),
            Err(limit) => Err(Box::new(end(statement, limit))),
        };
        if let Err(mut ended) = ended {
            ended.chain.insert_str(0, &format!("filter {} ({}) failed: ", google_name(&statement.op), statement.index));
            return Err(ended);
        }
    }
    Ok(())
}

fn end(statement: &Statement, failure: Failure) -> Ended {
    Ended { failure, span: statement.span, statement: statement.id, chain: String::new() }
}

/// What Google's messages call it.
fn google_name(op: &Op) -> &'static str {
    match op {
        Op::Plugin { name, .. } => name,
        Op::Mutate { .. } => "mutate",
        Op::Drop { .. } => "drop",
        Op::Statedump { .. } => "statedump",
        Op::If { .. } => "conditional",
        Op::For(_) => "for",
        Op::Nothing => "unknown",
    }
}

fn execute<O: Observer>(run: &Run<'_>, code: &Code, statement: &Statement, observer: &mut O) -> Ending<()> {
    let (done, on_error) = match &statement.op {
        Op::Mutate { functions, on_error } => {
            run.set_quiet(on_error.is_some() && !O::WANTS_ERRORS);
            let mut done = Ok(());
            for function in functions {
                match function.run(run) {
                    Ok(()) => {}
                    skipped @ Err(Failure::Skipped(_)) => done = skipped,
                    failed => {
                        done = failed;
                        break;
                    }
                }
            }
            (done, on_error)
        }
        Op::Plugin { plugin, on_error, .. } => {
            run.set_quiet(on_error.is_some() && !O::WANTS_ERRORS);
            (plugin.run(run), on_error)
        }
        Op::If { branches, otherwise } => {
            tell(observer, statement, run, None, false);
            for (at, branch) in branches.iter().enumerate() {
                if at > 0 {
                    run.step(1).map_err(|failure| Box::new(end(statement, failure)))?;
                }
                run.set_quiet(false);
                if branch.condition.holds(run).map_err(|failure| Box::new(end(statement, failure)))? {
                    observer.branch(branch.id);
                    return block(run, code, &branch.body, observer);
                }
            }
            return match otherwise {
                Some((body, id)) => {
                    observer.branch(*id);
                    block(run, code, body, observer)
                }
                None => Ok(()),
            };
        }
        Op::For(looped) => {
            run.set_quiet(false);
            tell(observer, statement, run, None, false);
            return repeat(run, code, statement, looped, observer);
        }
        Op::Drop { tag } => {
            tell(observer, statement, run, None, false);
            return Err(Box::new(end(statement, Failure::Drop(tag.to_string()))));
        }
        Op::Statedump { label } => {
            observer.dump(label, run);
            tell(observer, statement, run, None, false);
            return Ok(());
        }
        Op::Nothing => return Ok(()),
    };

    let set = |flag: bool| {
        let Some(path) = on_error else { return Ok(()) };
        let counted = match run.root.get(code.known.on_error_count) {
            Some(Value::Int(count)) if flag => {
                run.root.set(&run.heap, code.known.on_error_count, Value::Int(count.saturating_add(1)))
            }
            _ => Ok(()),
        };
        counted.and_then(|()| run.set(path, Value::Bool(flag))).map_err(|failure| Box::new(end(statement, failure)))
    };
    match done {
        Ok(()) => {
            set(false)?;
            tell(observer, statement, run, None, false);
            Ok(())
        }
        Err(Failure::Skipped(fault)) => {
            set(true)?;
            tell(observer, statement, run, fault.as_deref(), true);
            Ok(())
        }
        Err(Failure::Error(fault)) if on_error.is_some() => {
            set(true)?;
            tell(observer, statement, run, fault.as_deref(), true);
            Ok(())
        }
        Err(failure) => {
            if let Failure::Error(fault) = &failure {
                tell(observer, statement, run, fault.as_deref(), true);
            }
            Err(Box::new(end(statement, failure)))
        }
    }
}

#[inline]
fn tell<O: Observer>(observer: &mut O, statement: &Statement, run: &Run<'_>, caught: Option<&Fault>, failed: bool) {
    let name = match &statement.op {
        Op::If { .. } => "if",
        op => google_name(op),
    };
    observer.statement(Step { id: statement.id, span: statement.span, name, caught, failed }, run);
}

fn repeat<O: Observer>(
    run: &Run<'_>,
    code: &Code,
    statement: &Statement,
    looped: &For,
    observer: &mut O,
) -> Ending<()> {
    let ending = |failure: Failure| Box::new(end(statement, failure));
    let field = match &looped.over {
        Over::Field(target) => target,
        Over::Xml { field, xpath } => {
            let Some(path) = run.place(field).map_err(ending)? else { return Ok(()) };
            let Some(Value::Text(document)) = run.get(&path) else { return Ok(()) };
            // A document that cannot be read has no nodes; the index begins at 1, as XPath counts
            // (contracts/cbn.md §1.5).
            let Some(nodes) = xml::nodes(run, document, xpath).map_err(ending)? else { return Ok(()) };
            for (at, node) in nodes.into_iter().enumerate() {
                pass(run, code, statement, looped, Value::Int(at as i64 + 1), Value::Text(node), observer)?;
            }
            return Ok(());
        }
    };
    let Some(path) = run.place(field).map_err(ending)? else { return Ok(()) };
    match run.get(&path) {
        Some(Value::List(list)) => {
            // As many as there are now: a body that appends to the list it goes through comes to an end.
            for at in 0..list.len() {
                let Some(element) = list.get(at) else { break };
                // As a map a list has its indices for keys, and keys are texts (Google's documentation).
                let index = match looped.map {
                    true => Value::Text(run.heap.text(&at.to_string()).map_err(ending)?),
                    false => Value::Int(at as i64),
                };
                pass(run, code, statement, looped, index, element, observer)?;
            }
        }
        Some(Value::Map(map)) => {
            run.heap.charge(2 * map.len() * size_of::<Value<'_>>()).map_err(ending)?;
            let key_bytes: usize = map.entries().iter().map(|(name, _)| run.heap.text_of(*name).len()).sum();
            let rounds = map.len().max(2).ilog2();
            run.step(map.len() as u64 / 16)
                .and_then(|()| run.step_bytes(rounds as usize * key_bytes))
                .map_err(ending)?;
            let sorted = map.sorted(&run.heap);
            for (at, (key, _, value)) in sorted.into_iter().enumerate() {
                if looped.map {
                    pass(run, code, statement, looped, Value::Text(key), value, observer)?;
                } else {
                    pass(run, code, statement, looped, Value::Int(at as i64), value, observer)?;
                }
            }
        }
        // What is missing or no list has nothing to go through.
        _ => {}
    }
    Ok(())
}

fn pass<'r, O: Observer>(
    run: &Run<'r>,
    code: &Code,
    statement: &Statement,
    looped: &For,
    index: Value<'r>,
    item: Value<'r>,
    observer: &mut O,
) -> Ending<()> {
    let prepared = run.step(1).and_then(|()| match &looped.index {
        Some(name) => run.set(name, index).and_then(|()| run.set(&looped.item, item)),
        // With one variable a map gives its keys.
        None if looped.map => run.set(&looped.item, index),
        None => run.set(&looped.item, item),
    });
    prepared.map_err(|failure| Box::new(end(statement, failure)))?;
    observer.branch(looped.branch);
    observer.turn(looped.branch, run);
    block(run, code, &looped.body, observer)
}

/// The state as JSON, for dumps and traces, as Google's documentation shows it: keys sorted, a time as a map of its
/// seconds and nanoseconds. What is nested too deep is left out, and so is what is too much: maps may be held many times
/// over.
pub fn dump(run: &Run<'_>) -> serde_json::Value {
    below(run, Value::Map(run.root), 0)
}

fn below<'r>(run: &Run<'r>, value: Value<'r>, depth: usize) -> serde_json::Value {
    use serde_json::Value as Json;
    if depth > crate::value::DEPTH_MAX {
        return Json::String(Limit::Nesting.to_string());
    }
    let bytes = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    if !run.may_show(bytes + size_of::<Json>()) {
        return Json::String(Limit::Output.to_string());
    }
    match value {
        Value::Bool(truth) => Json::Bool(truth),
        Value::Int(number) => Json::from(number),
        Value::Uint(number) => Json::from(number),
        Value::Float(number) => serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number),
        Value::Time(time) => {
            serde_json::json!({ "nanos": time.subsec_nanosecond(), "seconds": time.as_second() })
        }
        Value::Map(map) => {
            let mut shown = serde_json::Map::new();
            for (key, _, value) in map.sorted(&run.heap) {
                if !run.may_show(key.len() + size_of::<(String, Json)>()) {
                    break;
                }
                shown.insert(key.to_owned(), below(run, value, depth + 1));
            }
            Json::Object(shown)
        }
        Value::List(list) => {
            let mut shown = Vec::new();
            let mut at = 0;
            while let Some(value) = list.get(at).filter(|_| run.may_show(size_of::<Json>())) {
                shown.push(below(run, value, depth + 1));
                at += 1;
            }
            Json::Array(shown)
        }
        plain => Json::String(print(&plain).unwrap_or_default()),
    }
}
