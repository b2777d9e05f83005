//! What a record's text must hold for a condition to match: the side of it that filters can answer.
//!
//! Only plain characters count: those that no writer of JSON escapes. A text with others is taken apart at them. Beside
//! the values that a condition compares with, the names on its paths must be there.

use super::expression::Expression;
use super::path::{Path, Root, Step};
use super::value::{Check, Literal, Pattern, Text};
use crate::Prune;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Needs {
    /// Nothing can be said.
    Unknown,
    /// Nothing can match.
    Never,
    /// The raw text has this; in any case of letters where that is ignored (it is folded, then).
    Text {
        text: String,
        ignore_case: bool,
    },
    All(Vec<Needs>),
    One(Vec<Needs>),
}

impl Needs {
    pub(super) fn of(expression: &Expression) -> Needs {
        match expression {
            Expression::Literal(Literal::Bool(false)) => Needs::Never,
            Expression::All(parts) => Needs::all(parts.iter().map(Needs::of)),
            Expression::One(parts) => Needs::one(parts.iter().map(Needs::of)),
            Expression::Is(left, check, false) => match &**left {
                Expression::Path(path) => Needs::all([Needs::of_path(path), Needs::of_check(path, check)]),
                _ => Needs::Unknown,
            },
            Expression::Path(path) => Needs::of_path(path),
            // What must not be there leaves nothing to look for.
            _ => Needs::Unknown,
        }
    }

    fn of_path(path: &Path) -> Needs {
        match path.root {
            Root::Entry => Needs::all(path.steps.iter().map(|step| match step {
                Step::Key(key) => Needs::pieces(key, false),
                Step::Element(_) => Needs::Unknown,
            })),
            Root::Time | Root::Column(_) | Root::Row => Needs::Unknown,
        }
    }

    fn of_check(path: &Path, check: &Check) -> Needs {
        if path.root != Root::Entry {
            return Needs::Unknown;
        }
        match check {
            Check::Equal(literal) => Needs::of_literal(literal),
            Check::In(literals) => Needs::one(literals.iter().map(Needs::of_literal)),
            Check::Contains(_, within) => Needs::of_pattern(within),
            Check::Order(..) | Check::Present => Needs::Unknown,
        }
    }

    fn of_literal(literal: &Literal) -> Needs {
        match literal {
            Literal::Text(text) => Needs::of_text(text),
            Literal::Bool(truth) => Needs::pieces(super::value::truth_text(*truth), false),
            // A number has many spellings.
            Literal::Number(_) | Literal::Null => Needs::Unknown,
        }
    }

    fn of_text(text: &Text) -> Needs {
        // It also equals a number, which may be spelled otherwise.
        if text.number().is_some() { Needs::Unknown } else { Needs::of_pattern(&text.pattern) }
    }

    fn of_pattern(pattern: &Pattern) -> Needs {
        Needs::all(pattern.parts().iter().map(|part| Needs::pieces(part, pattern.ignores_case())))
    }

    /// The plain pieces of a text.
    fn pieces(text: &str, ignore_case: bool) -> Needs {
        let pieces = text.split(|character| !is_plain(character)).filter(|piece| piece.len() >= PIECE_MIN);
        Needs::all(pieces.map(|piece| Needs::Text { text: piece.to_owned(), ignore_case }))
    }

    fn all(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let mut kept: Vec<Needs> = Vec::new();
        for part in parts {
            match part {
                Needs::Unknown => {}
                Needs::Never => return Needs::Never,
                Needs::All(inner) => inner.into_iter().for_each(|part| add(&mut kept, part)),
                other => add(&mut kept, other),
            }
        }
        match kept.len() {
            0 => Needs::Unknown,
            1 => kept.remove(0),
            _ => Needs::All(kept),
        }
    }

    fn one(parts: impl IntoIterator<Item = Needs>) -> Needs {
        let mut kept: Vec<Needs> = Vec::new();
        for part in parts {
            match part {
                Needs::Unknown => return Needs::Unknown,
                Needs::Never => {}
                Needs::One(inner) => inner.into_iter().for_each(|part| add(&mut kept, part)),
                other => add(&mut kept, other),
            }
        }
        match kept.len() {
            0 => Needs::Never,
            1 => kept.remove(0),
            _ => Needs::One(kept),
        }
    }

    pub(super) fn prune(&self) -> Prune {
        match self {
            Needs::Unknown => Prune::Unknown,
            Needs::Never => Prune::Never,
            Needs::Text { text, .. } => Prune::Text(udm::fold(text)),
            Needs::All(parts) => Prune::all(parts.iter().map(Needs::prune)),
            Needs::One(parts) => Prune::one(parts.iter().map(Needs::prune)),
        }
    }
}

/// Adds what is not there yet. Long lists of alternatives may hold one twice, which costs time alone.
fn add(kept: &mut Vec<Needs>, part: Needs) {
    if kept.len() > 64 || !kept.contains(&part) {
        kept.push(part);
    }
}

/// Shorter pieces are in every record.
const PIECE_MIN: usize = 2;

/// Whether no writer of JSON escapes it. Those that play safe escape what HTML or a URL could take for its own.
fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') && !matches!(character, '"' | '\\' | '/' | '<' | '>' | '&' | '\'' | '=' | '+' | '`')
}
