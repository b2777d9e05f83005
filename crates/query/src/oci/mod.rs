//! The query languages of OCI: conditions of connectors (`logRule`), searches of logs, and queries of metrics.
//!
//! A record is a log entry in its flat CloudEvents envelope, as JSON ([`event::Kind::Raw`]). [`Condition`] asks about one
//! record; [`predicate`] makes it, together with the logs that are meant ([`Scope`]), a [`Predicate`] that the store can
//! run. [`LogQuery`] is a whole search: scopes, leading conditions that become such a predicate, and stages over the rows
//! that are found. [`Mql`] is a query of metrics.
//!
//! ```text
//! condition  = or
//! or         = and ("or" and)*
//! and        = not ("and" not)*
//! not        = "not" not | comparison
//! comparison = sum (("=" | "!=" | "<" | "<=" | ">" | ">=") sum | "not"? "in" "(" value, … ")")?
//! sum        = product (("+" | "-") product)*
//! product    = operand (("*" | "/") operand)*
//! operand    = path | value | function "(" … ")" | "(" or ")" | "-" operand
//! value      = 'text' | number | true | false | null
//! path       = name ("." name | "[" number "]")*         name = word | "quoted name"
//! search     = "search" "compartment/group/log" (","? "…")* ("|" stage)*
//! ```
//!
//! What the language means, where the public material is silent or of two minds (contracts/oci.md §2.5, §3.4, §6):
//!
//! - **`=` compares the whole text and minds letter case**; `*` within a text stands for any text. One user notes that
//!   Oracle's takes parts and ignores case. We take what is written: a filter that silently takes more than it says
//!   delivers records to a third party that nobody asked for, and nothing shows it, while one that takes too little is
//!   seen at once and mended with `'*text*'` or `contains_ci`.
//! - `logContent.data.x` and `data.x` are the same, and so for the other attributes of the envelope. An attribute that is
//!   no CloudEvents one needs the prefix: `logContent.myattribute`. Any other first name is refused.
//! - `"a.b"` is one name with a point, `"a"."b"` two. A path through a list asks about any of its elements, `[0]` about
//!   one. Where a path ends at a list or object, any value within counts, however deep, never a name: so
//!   `logContent = '*10.0.2.121*'` is full text, and `logContent = 'ERROR'` finds a value that is just that. A text by
//!   itself (`… | 'ERROR'`) is short for `logContent = '*ERROR*'`; a field by itself must be true.
//! - `!=` is `not =`: it holds where the field is missing, and of a list only where no element is equal. `isNull` holds
//!   for a missing field and for null, `= null` is the same.
//! - A number equals a text that spells it as JSON would (`22` and `'22'`, not `'022'`), `true` the text `'true'`.
//!   `<` and its like compare numbers as numbers, RFC 3339 times as times, other texts byte by byte; what cannot be
//!   ordered is not. `datetime` is the entry's time in milliseconds since 1970; a number compared with an RFC 3339 text
//!   is taken for such.
//! - In a text, `''` and `\'` are a quote and `\*` a star. What stands in double quotes is a text, too, where a value or a
//!   whole condition belongs and no field has that name.
//! - `substr` counts from 0. `time_format` knows the letters y M d H m s S Z and UTC. Arithmetic on what is no number is
//!   null, as is a division by zero.
//!
//! Refused by name: parameters (`$x`), `top … by *`, regular expressions.
//!
//! Absent: names of compartments, groups and logs (the caller resolves them to ids), time ranges, pages.

mod columns;
mod condition;
mod expression;
mod fuzz;
mod lex;
mod log_query;
mod mql;
mod needs;
mod parse;
mod path;
mod pipeline;
mod record;
mod value;

use event::Kind;

pub use condition::Condition;
pub use fuzz::fuzz;
pub use log_query::{LogQuery, ScopeText};
pub use mql::{Dimension, Dimensions, Grouping, Matching, Mql, Statistic, Totals};
pub use pipeline::{Output, Run};

use crate::Predicate;
use crate::predicate::Body;
use expression::Expression;
use path::Path;
use value::{Check, Literal, Pattern, Text};

/// Deepest nesting of parentheses, functions, signs and `not` in a query.
pub const NESTING_MAX: usize = 100;

/// Most arithmetic operations in one query.
pub const OPERATIONS_MAX: usize = 200;

/// Most steps of one path.
pub const PATH_STEPS_MAX: usize = 32;

/// Longest name of a field, column or function, and longest scope: three ids fit well.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Most wildcards in one text.
pub const WILDCARDS_MAX: usize = 100;

/// Longest text that a function makes; what is longer is cut off.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Most values of each of two lists that are compared with one another; those behind them are not looked at.
pub const PAIRED_MAX: usize = 1_000;

/// Most scopes of one search.
pub const SCOPES_MAX: usize = 100;

/// Most stages of one search.
pub const STAGES_MAX: usize = 50;

/// Most columns that one stage makes.
pub const COLUMNS_MAX: usize = 100;

/// Most groups of one `summarize`.
pub const GROUPS_MAX: usize = 10_000;

/// Most rows that a stage holds at once, and most that come out.
pub const ROWS_MAX: usize = 100_000;

/// About how much memory the columns may take that one stage makes of one row.
pub const ROW_BYTES_MAX: usize = 16 << 20;

/// About how much memory the held rows may take together.
pub const ROWS_BYTES_MAX: usize = 96 << 20;

/// About how much memory the rows that come out may take together: a `select` can make many times of what was read.
pub const OUT_BYTES_MAX: usize = 64 << 20;

/// Which logs are meant, by their ids as the envelope has them (`oracle.compartmentid`, `loggroupid`, `logid`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The record's compartment is one of these; empty: any.
    pub compartments: Vec<String>,
    /// The record's log group; `_Audit` for audit records.
    pub group: Option<String>,
    /// The record's log.
    pub log: Option<String>,
}

impl Scope {
    /// Whether a record comes from one of these logs.
    pub fn contains(&self, record: &[u8]) -> bool {
        Condition::new(self.expression()).matches(record)
    }

    fn expression(&self) -> Expression {
        let is = |name: &str, check: Check| {
            Expression::Is(Box::new(Expression::Path(Path::entry(["oracle", name]))), check, false)
        };
        let literal = |id: &String| Literal::Text(Text::new(Pattern::exact(id)));
        let mut parts = Vec::new();
        match &self.compartments[..] {
            [] => {}
            [one] => parts.push(is("compartmentid", Check::Equal(literal(one)))),
            several => parts.push(is("compartmentid", Check::In(several.iter().map(literal).collect()))),
        }
        parts.extend(self.group.as_ref().map(|group| is("loggroupid", Check::Equal(literal(group)))));
        parts.extend(self.log.as_ref().map(|log| is("logid", Check::Equal(literal(log)))));
        all(parts)
    }
}

/// What asks for records of one of these scopes that meet the condition. **No scope at all means no record**: a source
/// whose logs are all gone must not become one that reads everything. For everything hand over `Scope::default()`.
///
/// It is printed as a condition on the envelope, scopes included.
pub fn predicate(scopes: impl IntoIterator<Item = Scope>, condition: Option<Condition>) -> Predicate {
    let mut scopes: Vec<Expression> = scopes.into_iter().map(|scope| scope.expression()).collect();
    let scope = match scopes.len() {
        0 => Expression::Literal(Literal::Bool(false)),
        1 => scopes.remove(0),
        _ if scopes.iter().any(is_true) => Expression::Literal(Literal::Bool(true)),
        _ => Expression::One(scopes),
    };
    let condition = condition.map(|condition| condition.expression().clone());
    let condition = Condition::new(all([Some(scope), condition].into_iter().flatten().collect()));
    Predicate { body: Body::Oci(Box::new(condition)), kinds: vec![Kind::Raw] }
}

fn is_true(expression: &Expression) -> bool {
    matches!(expression, Expression::Literal(Literal::Bool(true)))
}

/// All of these, without what always holds.
fn all(parts: Vec<Expression>) -> Expression {
    let mut kept = Vec::new();
    for part in parts {
        match part {
            part if is_true(&part) => {}
            Expression::All(inner) => kept.extend(inner),
            other => kept.push(other),
        }
    }
    match kept.len() {
        0 => Expression::Literal(Literal::Bool(true)),
        1 => kept.remove(0),
        _ => Expression::All(kept),
    }
}
