//! The predicate: what every query becomes, and its evaluation on one record.

use std::fmt;
use std::sync::Arc;

use event::Kind;
use udm::{Scalar, Schema, Selection};

use crate::Prune;
use crate::oci;
use crate::raw::Raw;
use crate::test::Test;

/// A question about one record, ready to be asked of many. Cheap to share behind an `Arc`; holds no mutable state.
#[derive(Debug, Clone)]
pub struct Predicate {
    pub(crate) body: Body,
    pub(crate) kinds: Vec<Kind>,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Raw(Raw),
    Udm(Udm),
    /// A condition on OCI's envelope.
    Oci(Box<oci::Condition>),
    All(Vec<Body>),
    One(Vec<Body>),
    Not(Box<Body>),
}

impl Predicate {
    /// Whether a record matches. `data` is the raw text, or the UDM JSON of an event or entity as it was sent. A record
    /// of a kind that is not among [`Predicate::kinds`] never matches.
    pub fn matches(&self, kind: Kind, data: &[u8]) -> bool {
        self.kinds.contains(&kind) && self.body.matches(kind, data)
    }

    /// What filters may rule out. For any record, `matches` implies that this is possible.
    pub fn prune(&self) -> Prune {
        self.body.prune()
    }

    /// What asks for both; `None` when there is no kind of record that can match both.
    pub fn and(self, other: Predicate) -> Option<Predicate> {
        let kinds: Vec<Kind> = self.kinds.into_iter().filter(|kind| other.kinds.contains(kind)).collect();
        let body = Body::All(vec![self.body, other.body]);
        (!kinds.is_empty()).then_some(Predicate { body, kinds })
    }

    /// The kinds of record that it can match; never empty.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The fields that it reads, in canonical form (grouped fields by their name), in the order of the query.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let mut conditions = Vec::new();
        self.body.conditions(&mut conditions);
        conditions.into_iter().map(|condition| condition.field.as_str())
    }
}

/// The query in its own language. Parsed again with the same options it asks the same.
impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.write(f, false)
    }
}

impl Body {
    fn matches(&self, kind: Kind, data: &[u8]) -> bool {
        match self {
            Body::Raw(raw) => raw.matches(data),
            Body::Udm(udm) => udm.matches(kind, data),
            Body::Oci(condition) => condition.matches_as_pruned(data),
            Body::All(parts) => parts.iter().all(|part| part.matches(kind, data)),
            Body::One(parts) => parts.iter().any(|part| part.matches(kind, data)),
            Body::Not(inner) => !inner.matches(kind, data),
        }
    }

    fn prune(&self) -> Prune {
        match self {
            Body::Raw(raw) => raw.prune(),
            Body::Udm(udm) => udm.prune(&udm.expression),
            Body::Oci(condition) => condition.prune(),
            Body::All(parts) => Prune::all(parts.iter().map(Body::prune)),
            Body::One(parts) => Prune::one(parts.iter().map(Body::prune)),
            // What must not be there leaves nothing to look for.
            Body::Not(_) => Prune::Unknown,
        }
    }

    fn conditions<'b>(&'b self, out: &mut Vec<&'b Condition>) {
        match self {
            Body::Raw(_) | Body::Oci(_) => {}
            Body::Udm(udm) => out.extend(&udm.conditions),
            Body::All(parts) | Body::One(parts) => parts.iter().for_each(|part| part.conditions(out)),
            Body::Not(inner) => inner.conditions(out),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, within: bool) -> fmt::Result {
        match self {
            Body::Raw(raw) => write!(f, "{raw}"),
            Body::Udm(udm) => udm.write(f, &udm.expression, within),
            Body::Oci(condition) if within && condition.is_joined() => write!(f, "({condition})"),
            Body::Oci(condition) => write!(f, "{condition}"),
            Body::Not(inner) => {
                f.write_str("NOT ")?;
                inner.write(f, true)
            }
            Body::All(parts) => write_joined(f, " AND ", within, parts, |part, f| part.write(f, true)),
            Body::One(parts) => write_joined(f, " OR ", within, parts, |part, f| part.write(f, true)),
        }
    }
}

fn write_joined<T>(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    within: bool,
    parts: &[T],
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if within {
        f.write_str("(")?;
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        write(part, f)?;
    }
    if within {
        f.write_str(")")?;
    }
    Ok(())
}

/// A query on UDM events or entities.
#[derive(Debug, Clone)]
pub(crate) struct Udm {
    pub(crate) schema: Arc<Schema>,
    pub(crate) expression: Expression,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) tables: Vec<Table>,
}

/// Where a condition's values stand in records of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) kind: Kind,
    pub(crate) selection: Selection,
    /// The condition that each of the selection's numbers belongs to.
    pub(crate) owners: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(crate) enum Expression {
    All(Vec<Expression>),
    One(Vec<Expression>),
    Not(Box<Expression>),
    /// The condition with this index.
    Is(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// The field in canonical form, or the grouped field's name.
    pub(crate) field: String,
    /// A grouped field: its values are all that are set in any of its fields.
    pub(crate) grouped: bool,
    /// Its values are among the leaves that filters are made of.
    pub(crate) leaf: bool,
    /// Every value must pass instead of one.
    pub(crate) every: bool,
    /// Whether the query itself says `any` or `all`.
    pub(crate) quantified: bool,
    pub(crate) test: Test,
}

/// What is known of a condition while a record is read.
const PASSED: u8 = 1;
const FAILED: u8 = 2;

impl Udm {
    fn matches(&self, kind: Kind, data: &[u8]) -> bool {
        let Some(table) = self.tables.iter().find(|table| table.kind == kind) else { return false };
        let mut small = [0u8; 64];
        let mut large = Vec::new();
        let states = if self.conditions.len() <= small.len() {
            &mut small[..self.conditions.len()]
        } else {
            large.resize(self.conditions.len(), 0);
            &mut large[..]
        };
        table.selection.extract(data, &mut |slot, value| {
            let index = table.owners[slot];
            let condition = &self.conditions[index];
            if condition.grouped && matches!(value, Scalar::Missing | Scalar::Text("")) {
                return;
            }
            let enough = if condition.every { FAILED } else { PASSED };
            if states[index] & enough == 0 {
                states[index] |= if condition.test.holds(value) { PASSED } else { FAILED };
            }
        });
        self.evaluate(&self.expression, states)
    }

    fn evaluate(&self, expression: &Expression, states: &[u8]) -> bool {
        match expression {
            Expression::All(parts) => parts.iter().all(|part| self.evaluate(part, states)),
            Expression::One(parts) => parts.iter().any(|part| self.evaluate(part, states)),
            Expression::Not(inner) => !self.evaluate(inner, states),
            Expression::Is(index) => {
                let condition = &self.conditions[*index];
                match states[*index] {
                    // No value at all reads as the zero value.
                    0 => condition.test.holds(Scalar::Missing),
                    state if condition.every => state & FAILED == 0,
                    state => state & PASSED != 0,
                }
            }
        }
    }

    fn prune(&self, expression: &Expression) -> Prune {
        match expression {
            Expression::All(parts) => Prune::all(parts.iter().map(|part| self.prune(part))),
            Expression::One(parts) => Prune::one(parts.iter().map(|part| self.prune(part))),
            // What must not be there leaves nothing to look for.
            Expression::Not(_) => Prune::Unknown,
            Expression::Is(index) if !self.conditions[*index].leaf => Prune::Unknown,
            Expression::Is(index) => self.conditions[*index].test.prune(&self.schema),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, expression: &Expression, within: bool) -> fmt::Result {
        match expression {
            Expression::Is(index) => {
                let condition = &self.conditions[*index];
                if condition.quantified {
                    f.write_str(if condition.every { "all " } else { "any " })?;
                }
                write!(f, "{} {}", condition.field, condition.test)
            }
            Expression::Not(inner) => {
                f.write_str("NOT ")?;
                self.write(f, inner, true)
            }
            Expression::All(parts) | Expression::One(parts) => {
                let word = if matches!(expression, Expression::All(_)) { " AND " } else { " OR " };
                write_joined(f, word, within, parts, |part, f| self.write(f, part, true))
            }
        }
    }
}
