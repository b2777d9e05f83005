//! The stages of a search over rows: each row is pushed through all of them, and those that need to have seen everything
//! give theirs at the end. Pure; what it holds is bounded, and going beyond is an error about the stage.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::expression::{Expression, Subject, Worth, number_value};
use super::log_query::LogQuery;
use super::value::Number;
use super::{GROUPS_MAX, OUT_BYTES_MAX, ROW_BYTES_MAX, ROWS_BYTES_MAX, ROWS_MAX};
use crate::{Diagnostic, Mistake};

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The rows, each an object with a member for every column.
    pub rows: Vec<Value>,
    /// The columns in their order, each with its type as OCI calls it: `STRING`, `NUMBER`, `BOOLEAN`, `ARRAY` or
    /// `OBJECT`.
    pub fields: Vec<(String, &'static str)>,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    Where(Expression),
    Extend(Vec<Named>),
    Select(Vec<Named>),
    /// Aggregates, and what rows are grouped by.
    Summarize(Vec<Aggregate>, Vec<Named>),
    Count,
    Dedup(Vec<Expression>),
    Sort(Vec<Order>),
    Top(usize, Order),
    Limit(usize),
}

/// A column that a stage makes.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) expression: Expression,
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) by: Expression,
    pub(super) descending: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    pub(super) name: String,
    pub(super) aggregation: Aggregation,
    /// `None`: of rows.
    pub(super) of: Option<Expression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    First,
    Last,
}

impl Stage {
    /// How many rows must come in so that so many go out; `None`: all.
    pub(super) fn rows_needed(&self, out: Option<usize>) -> Option<usize> {
        match self {
            Stage::Extend(_) | Stage::Select(_) => out,
            Stage::Limit(limit) => Some(out.map_or(*limit, |out| out.min(*limit))),
            _ => None,
        }
    }
}

/// A search at work. Rows go in by [`Run::push`], newest first; [`Run::finish`] gives what came out.
#[derive(Debug)]
pub struct Run<'q> {
    query: &'q LogQuery,
    states: Vec<State>,
    /// How many of the rows that come out are passed over.
    skip: usize,
    out: Vec<Value>,
    out_max: usize,
    out_bytes: usize,
    held: Held,
}

#[derive(Debug)]
enum State {
    /// Each row by itself.
    Row,
    /// How many rows went through.
    Passed(usize),
    Counted(u64),
    Seen(HashSet<String>),
    Ordered(Ordered),
    Groups(HashMap<String, usize>, Vec<Group>),
}

/// Rows to be ordered.
#[derive(Debug, Default)]
struct Ordered {
    rows: Vec<Keyed>,
    /// How many of the first are needed.
    keep: usize,
    /// How many rows came in.
    came: usize,
}

/// A row with what it is ordered by, and its place among those that came in.
#[derive(Debug)]
struct Keyed {
    keys: Vec<SortKey>,
    number: usize,
    row: Value,
    bytes: usize,
}

#[derive(Debug)]
struct Group {
    by: Vec<Value>,
    cells: Vec<Cell>,
}

/// What one aggregate has gathered.
#[derive(Debug, Clone, Default)]
struct Cell {
    count: u64,
    sum: Option<Number>,
    value: Option<Value>,
}

/// How much the stages hold together.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
}

impl Held {
    fn add(&mut self, bytes: usize, stage: Range<usize>) -> Result<(), Diagnostic> {
        self.bytes += bytes;
        if self.bytes > ROWS_BYTES_MAX {
            let message = format!("more than {} MiB of rows to hold", ROWS_BYTES_MAX >> 20);
            return Err(too_large(stage, message));
        }
        Ok(())
    }
}

fn too_large(stage: Range<usize>, message: String) -> Diagnostic {
    Diagnostic::new(stage, message)
        .mistake(Mistake::TooLarge)
        .help("search a shorter time, add conditions before this stage, or select fewer columns")
}

impl<'q> Run<'q> {
    pub(super) fn new(query: &'q LogQuery, skip: usize, wanted: Option<usize>) -> Run<'q> {
        // How many rows each stage's followers need of it, from the last to the first.
        let mut needed = wanted.map(|wanted| wanted.saturating_add(skip));
        let mut states: Vec<State> = Vec::new();
        for (stage, _) in query.stages.iter().rev() {
            states.push(match stage {
                Stage::Where(_) | Stage::Extend(_) | Stage::Select(_) => State::Row,
                Stage::Limit(_) => State::Passed(0),
                Stage::Count => State::Counted(0),
                Stage::Dedup(_) => State::Seen(HashSet::new()),
                Stage::Sort(_) => State::Ordered(Ordered::new(needed)),
                Stage::Top(count, _) => {
                    State::Ordered(Ordered::new(Some(needed.map_or(*count, |needed| needed.min(*count)))))
                }
                Stage::Summarize(..) => State::Groups(HashMap::new(), Vec::new()),
            });
            needed = stage.rows_needed(needed);
        }
        states.reverse();
        Run {
            query,
            states,
            skip,
            out: Vec::new(),
            out_max: wanted.unwrap_or(usize::MAX),
            out_bytes: 0,
            held: Held::default(),
        }
    }

    /// Takes the next row. False: no more rows are needed.
    pub fn push(&mut self, row: Value) -> Result<bool, Diagnostic> {
        self.feed(0, row)?;
        Ok(!self.is_full())
    }

    /// Whether nothing that could still come in would come out.
    fn is_full(&self) -> bool {
        for ((stage, _), state) in self.query.stages.iter().zip(&self.states) {
            match (stage, state) {
                (Stage::Limit(limit), State::Passed(passed)) if passed >= limit => return true,
                // What these give depends on every row.
                (Stage::Summarize(..) | Stage::Count | Stage::Sort(_) | Stage::Top(..), _) => return false,
                _ => {}
            }
        }
        self.out.len() >= self.out_max
    }

    /// What came out.
    pub fn finish(mut self) -> Result<Output, Diagnostic> {
        for index in 0..self.states.len() {
            for row in self.flush(index) {
                self.feed(index + 1, row)?;
            }
        }
        let fields = self.fields();
        Ok(Output { rows: self.out, fields })
    }

    fn fields(&self) -> Vec<(String, &'static str)> {
        let columns = &self.query.columns;
        let mut names: Vec<&str> = Vec::new();
        if columns.has_entry() {
            names.extend(["datetime", "logContent"]);
        }
        names.extend(columns.made().iter().map(|column| &column.name[..]));
        let kind = |name: &str| {
            let values = self.out.iter().filter_map(|row| row.get(name));
            match values.into_iter().find(|value| !value.is_null()) {
                Some(Value::Number(_)) => "NUMBER",
                Some(Value::Bool(_)) => "BOOLEAN",
                Some(Value::Array(_)) => "ARRAY",
                Some(Value::Object(_)) => "OBJECT",
                None if name == "datetime" => "NUMBER",
                None if name == "logContent" => "OBJECT",
                _ => "STRING",
            }
        };
        names.into_iter().map(|name| (name.to_owned(), kind(name))).collect()
    }

    /// Puts a row into a stage and what comes out into the next.
    fn feed(&mut self, from: usize, mut row: Value) -> Result<(), Diagnostic> {
        for index in from..self.states.len() {
            let (stage, span) = &self.query.stages[index];
            match (stage, &mut self.states[index]) {
                (Stage::Where(condition), _) if condition.holds(Subject::Row(&row)) => {}
                (Stage::Where(_), _) => return Ok(()),
                (Stage::Extend(columns), _) => {
                    let mut bytes = 0;
                    for column in columns {
                        let value = column.expression.worth(Subject::Row(&row)).into_value();
                        check_row(&mut bytes, &value, span)?;
                        if let Value::Object(members) = &mut row {
                            members.insert(column.name.clone(), value);
                        }
                    }
                }
                (Stage::Select(columns), _) => row = selected(columns, &row, span)?,
                (Stage::Limit(limit), State::Passed(passed)) => {
                    if *passed >= *limit {
                        return Ok(());
                    }
                    *passed += 1;
                }
                (Stage::Count, State::Counted(count)) => {
                    *count += 1;
                    return Ok(());
                }
                (Stage::Dedup(by), State::Seen(seen)) => {
                    let key = key(by.iter(), &row);
                    if seen.contains(&key) {
                        return Ok(());
                    }
                    if seen.len() == ROWS_MAX {
                        return Err(too_large(span.clone(), format!("more than {ROWS_MAX} different rows")));
                    }
                    self.held.add(key.len() + 64, span.clone())?;
                    seen.insert(key);
                }
                (Stage::Sort(orders), State::Ordered(ordered)) => {
                    return ordered.add(orders, row, &mut self.held, span);
                }
                (Stage::Top(_, by), State::Ordered(ordered)) => {
                    return ordered.add(std::slice::from_ref(by), row, &mut self.held, span);
                }
                (Stage::Summarize(aggregates, by), State::Groups(known, groups)) => {
                    let key = key(by.iter().map(|column| &column.expression), &row);
                    let index = match known.get(&key) {
                        Some(index) => *index,
                        None => {
                            if groups.len() == GROUPS_MAX {
                                return Err(too_large(span.clone(), format!("more than {GROUPS_MAX} groups")));
                            }
                            self.held.add(2 * key.len() + 128 * (1 + aggregates.len()), span.clone())?;
                            let worth = |column: &Named| column.expression.worth(Subject::Row(&row)).into_value();
                            groups.push(Group {
                                by: by.iter().map(worth).collect(),
                                cells: vec![Cell::default(); aggregates.len()],
                            });
                            known.insert(key, groups.len() - 1);
                            groups.len() - 1
                        }
                    };
                    for (cell, aggregate) in groups[index].cells.iter_mut().zip(aggregates) {
                        let kept = cell.weight();
                        cell.add(aggregate, &row);
                        let keeps = cell.weight();
                        self.held.bytes -= kept.min(self.held.bytes);
                        self.held.add(keeps, span.clone())?;
                    }
                    return Ok(());
                }
                // Each stage was given the state that it needs.
                _ => {}
            }
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.out.len() >= self.out_max {
            return Ok(());
        }
        let last = self.query.stages.last().map_or(0..0, |(_, span)| span.clone());
        if self.out.len() == ROWS_MAX {
            return Err(too_large(last, format!("more than {ROWS_MAX} rows")));
        }
        let bytes = weight(&row);
        self.out_bytes += bytes;
        if self.out_bytes > OUT_BYTES_MAX {
            return Err(too_large(last, format!("an answer of more than {} MiB", OUT_BYTES_MAX >> 20)));
        }
        self.held.add(bytes, last)?;
        self.out.push(row);
        Ok(())
    }

    /// What a stage has held back until now.
    fn flush(&mut self, index: usize) -> Vec<Value> {
        match (&self.query.stages[index].0, &mut self.states[index]) {
            (Stage::Count, State::Counted(count)) => {
                vec![Value::Object(Map::from_iter([("count".to_owned(), Value::from(*count))]))]
            }
            (Stage::Sort(orders), State::Ordered(ordered)) => ordered.take(orders, &mut self.held),
            (Stage::Top(_, by), State::Ordered(ordered)) => ordered.take(std::slice::from_ref(by), &mut self.held),
            (Stage::Summarize(aggregates, by), State::Groups(_, groups)) => {
                let mut groups = std::mem::take(groups);
                if groups.is_empty() && by.is_empty() {
                    groups.push(Group { by: Vec::new(), cells: vec![Cell::default(); aggregates.len()] });
                }
                let row = |group: Group| {
                    let names = by.iter().map(|column| &column.name);
                    let grouped = names.cloned().zip(group.by);
                    let cells = group.cells.into_iter().zip(aggregates);
                    let gathered = cells.map(|(cell, aggregate)| (aggregate.name.clone(), cell.finish(aggregate)));
                    Value::Object(grouped.chain(gathered).collect())
                };
                groups.into_iter().map(row).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn selected(columns: &[Named], row: &Value, stage: &Range<usize>) -> Result<Value, Diagnostic> {
    let mut bytes = 0;
    let mut members = Map::new();
    for column in columns {
        let value = column.expression.worth(Subject::Row(row)).into_value();
        check_row(&mut bytes, &value, stage)?;
        members.insert(column.name.clone(), value);
    }
    Ok(Value::Object(members))
}

/// One row may hold a long entry, but not the same one in a hundred columns.
fn check_row(bytes: &mut usize, value: &Value, stage: &Range<usize>) -> Result<(), Diagnostic> {
    *bytes += weight(value);
    if *bytes > ROW_BYTES_MAX {
        return Err(too_large(stage.clone(), format!("a row of more than {} MiB", ROW_BYTES_MAX >> 20)));
    }
    Ok(())
}

/// A text that is the same for rows that are worth the same.
fn key<'e>(by: impl Iterator<Item = &'e Expression>, row: &Value) -> String {
    let values: Value = by.map(|expression| expression.worth(Subject::Row(row)).into_value()).collect();
    values.to_string()
}

impl Ordered {
    fn new(keep: Option<usize>) -> Ordered {
        Ordered { keep: keep.unwrap_or(usize::MAX), ..Ordered::default() }
    }

    fn add(&mut self, orders: &[Order], row: Value, held: &mut Held, stage: &Range<usize>) -> Result<(), Diagnostic> {
        let keys: Vec<SortKey> = orders.iter().map(|order| SortKey::of(order.by.worth(Subject::Row(&row)))).collect();
        let bytes = weight(&row) + keys.iter().map(SortKey::weight).sum::<usize>();
        held.add(bytes, stage.clone())?;
        self.rows.push(Keyed { keys, number: self.came, row, bytes });
        self.came += 1;
        // Now and then what cannot be among the first is let go.
        if self.keep <= ROWS_MAX && self.rows.len() >= 2 * self.keep + 1_024 {
            self.shorten(orders, held);
        } else if self.keep > ROWS_MAX && self.rows.len() > ROWS_MAX {
            return Err(too_large(stage.clone(), format!("more than {ROWS_MAX} rows to order")));
        }
        Ok(())
    }

    fn shorten(&mut self, orders: &[Order], held: &mut Held) {
        self.rows.sort_by(|left, right| compare(orders, left, right));
        if self.rows.len() > self.keep {
            held.bytes -= self.rows.drain(self.keep..).map(|dropped| dropped.bytes).sum::<usize>();
        }
    }

    fn take(&mut self, orders: &[Order], held: &mut Held) -> Vec<Value> {
        self.shorten(orders, held);
        let rows = std::mem::take(&mut self.rows);
        held.bytes -= rows.iter().map(|row| row.bytes).sum::<usize>();
        rows.into_iter().map(|keyed| keyed.row).collect()
    }
}

fn compare(orders: &[Order], left: &Keyed, right: &Keyed) -> Ordering {
    for (index, order) in orders.iter().enumerate() {
        let found = left.keys[index].compare(&right.keys[index], order.descending);
        if found.is_ne() {
            return found;
        }
    }
    left.number.cmp(&right.number)
}

/// What a row is ordered by: numbers before texts before true and false before lists, what is not there last in either
/// direction.
#[derive(Debug)]
enum SortKey {
    Number(Number),
    Text(String),
    Bool(bool),
    Whole(String),
    Missing,
}

impl SortKey {
    fn of(worth: Worth<'_>) -> SortKey {
        if let Some(number) = worth.as_number() {
            return SortKey::Number(number);
        }
        match worth {
            Worth::Null => SortKey::Missing,
            Worth::Bool(truth) => SortKey::Bool(truth),
            Worth::Text(text) | Worth::Number(text) => SortKey::Text(text.into_owned()),
            Worth::Whole(value) => SortKey::Whole(value.to_string()),
        }
    }

    fn compare(&self, other: &SortKey, descending: bool) -> Ordering {
        let order = match (self, other) {
            (SortKey::Missing, SortKey::Missing) => return Ordering::Equal,
            (SortKey::Missing, _) => return Ordering::Greater,
            (_, SortKey::Missing) => return Ordering::Less,
            (SortKey::Number(left), SortKey::Number(right)) => left.compare(*right),
            (SortKey::Text(left), SortKey::Text(right)) | (SortKey::Whole(left), SortKey::Whole(right)) => {
                left.cmp(right)
            }
            (SortKey::Bool(left), SortKey::Bool(right)) => left.cmp(right),
            (left, right) => left.rank().cmp(&right.rank()),
        };
        if descending { order.reverse() } else { order }
    }

    fn weight(&self) -> usize {
        match self {
            SortKey::Text(text) | SortKey::Whole(text) => 64 + text.len(),
            _ => 64,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            SortKey::Number(_) => 0,
            SortKey::Text(_) => 1,
            SortKey::Bool(_) => 2,
            SortKey::Whole(_) => 3,
            SortKey::Missing => 4,
        }
    }
}

impl Cell {
    fn add(&mut self, aggregate: &Aggregate, row: &Value) {
        let Some(of) = &aggregate.of else {
            self.count += 1;
            return;
        };
        let worth = of.worth(Subject::Row(row));
        if worth == Worth::Null {
            return;
        }
        match aggregate.aggregation {
            Aggregation::Count => self.count += 1,
            Aggregation::Sum | Aggregation::Avg => {
                if let Some(number) = worth.as_number() {
                    self.count += 1;
                    self.sum = Some(match self.sum {
                        Some(sum) => sum.plus(number),
                        None => number,
                    });
                }
            }
            Aggregation::First => {
                if self.value.is_none() {
                    self.value = Some(worth.into_value());
                }
            }
            Aggregation::Last => self.value = Some(worth.into_value()),
            Aggregation::Min | Aggregation::Max => {
                let is_better = match &self.value {
                    None => true,
                    Some(value) => {
                        let known = SortKey::of(Worth::of(value));
                        let order = SortKey::of(worth.clone()).compare(&known, false);
                        if aggregate.aggregation == Aggregation::Min { order.is_lt() } else { order.is_gt() }
                    }
                };
                if is_better {
                    self.value = Some(worth.into_value());
                }
            }
        }
    }

    /// About how much memory its value takes.
    fn weight(&self) -> usize {
        self.value.as_ref().map_or(0, weight)
    }

    fn finish(self, aggregate: &Aggregate) -> Value {
        match aggregate.aggregation {
            Aggregation::Count => Value::from(self.count),
            Aggregation::Sum => self.sum.map_or(Value::Null, number_value),
            Aggregation::Avg => match self.sum {
                Some(sum) => Number::from_f64(sum.as_f64() / self.count as f64).map_or(Value::Null, number_value),
                None => Value::Null,
            },
            _ => self.value.unwrap_or(Value::Null),
        }
    }
}

/// About how much memory a value takes.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
        Value::String(text) => 32 + text.len(),
        Value::Array(values) => 32 + values.iter().map(weight).sum::<usize>(),
        Value::Object(members) => 64 + members.iter().map(|(key, value)| 64 + key.len() + weight(value)).sum::<usize>(),
    }
}
