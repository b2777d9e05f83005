//! What a regular expression may cost, told from its structure before it is used.
//!
//! The `regex` crate matches in time linear in the text, but each byte may take as long as there are states that the
//! expression can be in: for most expressions and texts that is one step of a table, for some it is all of them. And going
//! from match to match takes, for some, the square of the text. A run is charged by the worst that can happen, since no
//! crate tells what did.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::run::{Failure, Run};

/// What matching costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight {
    /// How many states it can be in at once, about.
    active: u32,
    /// How far behind the end of a match the search may have gone.
    ahead: usize,
    /// How many states there are, about.
    pub(crate) states: u32,
    /// How many groups.
    pub(crate) groups: u32,
    /// How many places there are at which one of several fixed texts stands, or none. The crate puts together what an
    /// expression may begin and end with, up to some hundred texts, and does so anew at each of these.
    pub(super) choices: u32,
}

/// So many bytes in so many states are worth a step.
const BYTE_STATES_PER_STEP: u64 = 512;

impl Weight {
    /// Reads it off an expression in the crate's syntax; `None` where that is none.
    pub(super) fn of(expression: &str, nest_limit: u32) -> Option<Weight> {
        let hir = ParserBuilder::new().nest_limit(nest_limit).build().parse(expression).ok()?;
        let properties = hir.properties();
        let ahead = if has_choice(&hir) { properties.maximum_len().unwrap_or(usize::MAX) } else { 0 };
        Some(Weight {
            active: count(&hir, &|_| 1),
            ahead,
            states: count(&hir, &states_of_class),
            groups: properties.explicit_captures_len() as u32 + 1,
            choices: choices(&hir).0,
        })
    }

    /// Takes what looking through so many bytes may cost.
    #[inline]
    pub(crate) fn charge(&self, run: &Run<'_>, bytes: usize) -> Result<(), Failure> {
        run.step(self.steps(bytes))
    }

    /// How many steps looking through so many bytes is worth. There is something to do without any byte, too.
    #[inline]
    pub(crate) fn steps(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_add(1).saturating_mul(u64::from(self.active) + 2) / BYTE_STATES_PER_STEP
    }

    /// Takes what finding out where the groups of a match of so many bytes lie may cost.
    #[inline]
    pub(crate) fn charge_groups(&self, run: &Run<'_>, bytes: usize) -> Result<(), Failure> {
        run.step(u64::from(self.groups) / 16)?;
        self.charge(run, bytes.saturating_mul(2 + self.groups as usize / 8))
    }

    /// Takes what was looked at behind a match with so many bytes behind it: the next search looks at that again.
    #[inline]
    pub(crate) fn charge_next(&self, run: &Run<'_>, behind: usize) -> Result<(), Failure> {
        self.charge(run, behind.min(self.ahead))
    }
}

/// Whether a match may be complete while the search still goes on for another one that would be preferred. What is a row
/// of single characters, each repeated or not, matches as far as it looks, or not at all.
fn has_choice(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => match repetition.sub.kind() {
            HirKind::Class(_) => false,
            HirKind::Literal(literal) => literal.0.len() > 1,
            _ => true,
        },
        HirKind::Capture(capture) => has_choice(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(has_choice),
        HirKind::Alternation(_) => true,
    }
}

/// The places at which one of several fixed texts stands, and whether this is made of fixed texts alone.
fn choices(hir: &Hir) -> (u32, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => (0, true),
        HirKind::Class(_) => (0, false),
        HirKind::Repetition(repetition) => {
            let (inside, fixed) = choices(&repetition.sub);
            let fixed = fixed && repetition.max.is_some();
            (inside + u32::from(fixed && repetition.min == 0), fixed)
        }
        HirKind::Capture(capture) => choices(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            let (inside, fixed) =
                parts.iter().map(choices).fold((0, true), |(sum, all), (inside, fixed)| (sum + inside, all && fixed));
            (inside + u32::from(fixed && matches!(hir.kind(), HirKind::Alternation(_))), fixed)
        }
    }
}

fn count(hir: &Hir, of_class: &dyn Fn(&Class) -> u32) -> u32 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u32,
        HirKind::Class(class) => of_class(class),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1);
            count(&repetition.sub, of_class).saturating_add(1).saturating_mul(times)
        }
        HirKind::Capture(capture) => count(&capture.sub, of_class).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(1, |sum, part| u32::saturating_add(sum, count(part, of_class)))
        }
    }
}

/// A class beyond ASCII is a small machine over bytes.
fn states_of_class(class: &Class) -> u32 {
    match class {
        Class::Unicode(class) if !class.is_ascii() => 8 + 2 * class.ranges().len() as u32,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_search_may_go_beyond_its_match() {
        let table = [
            (r"a", 0),
            (r"[ \t]+", 0),
            (r"<.*?>", 0),
            (r"(\d+),(\d*)$", 0),
            (r"foo|ba", 3),
            (r"a(b{2})?", 3),
            (r".*x|a", usize::MAX),
            (r"a(.*x)?", usize::MAX),
            (r"(ab)+", usize::MAX),
        ];
        for (expression, ahead) in table {
            assert_eq!(Weight::of(expression, 250).map(|weight| weight.ahead), Some(ahead), "{expression}");
        }
    }

    #[test]
    fn how_many_states_there_are() {
        let table = [(r"abc", 3, 1), (r"(a)(b|cd)", 10, 3), (r"\d{1000}", 2000, 1), (r"((a?){30}){30}", 4590, 3)];
        for (expression, active, groups) in table {
            let weight = Weight::of(&expression.replace(r"\d", "[0-9]"), 250).expect("an expression");
            assert_eq!((weight.active, weight.groups), (active, groups), "{expression}");
        }
        let choices = [("abc", 0), ("a?b?c", 2), ("(ab)?(c|de)[fg]?", 2), ("(a?)*b{0,2}", 2), ("[0-9]?(a|[b-d])", 0)];
        for (expression, expected) in choices {
            assert_eq!(Weight::of(expression, 250).map(|weight| weight.choices), Some(expected), "{expression}");
        }
        let huge = Weight::of(r"((\pL{1000}){1000}){1000}", 250).expect("an expression");
        assert_eq!(huge.states, u32::MAX);
    }
}
