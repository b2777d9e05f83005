//! Conditions that all must hold: the small part of the filters of Google's APIs (AIP-160) that clients use on lists. Which
//! fields there are is the list's business.

use event::limits;

use crate::Refusal;

/// A condition as it was written.
pub(super) struct Condition<'t> {
    /// What it is about.
    pub(super) field: &'t str,
    /// What is asked of it.
    pub(super) test: Test,
    /// What it is compared with.
    pub(super) value: &'t str,
    /// The text from it on.
    at: &'t str,
}

/// What is asked of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `:`
    Has,
}

/// The conditions of a filter; none of an empty text. `example` is one that may be written here.
pub(super) fn conditions<'t>(text: &'t str, example: &str) -> Result<Vec<Condition<'t>>, Refusal> {
    let mut conditions = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if conditions.len() >= limits::LOG_TYPES_FILTER_CONDITIONS_MAX {
            let description = format!("more than {} conditions", limits::LOG_TYPES_FILTER_CONDITIONS_MAX);
            return Err(Refusal::invalid_field("filter", description));
        }
        let (condition, after) = condition(rest, example)?;
        conditions.push(condition);
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        let and = rest.split_at_checked(4).filter(|(and, _)| and.eq_ignore_ascii_case("and "));
        rest = and.ok_or_else(|| wrong(rest, "expected AND between conditions", example))?.1.trim_start();
        if rest.is_empty() {
            return Err(wrong(rest, "expected a condition", example));
        }
    }
    Ok(conditions)
}

impl Condition<'_> {
    /// The refusal of one that says what this list does not know.
    pub(super) fn wrong(&self, what: &str, example: &str) -> Refusal {
        wrong(self.at, what, example)
    }
}

fn condition<'t>(at: &'t str, example: &str) -> Result<(Condition<'t>, &'t str), Refusal> {
    let end = at.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(at.len());
    let (field, rest) = at.split_at(end);
    let rest = rest.trim_start();
    let tests = [("!=", Test::IsNot), ("=", Test::Is), (":", Test::Has)];
    let found = tests.into_iter().find_map(|(sign, test)| Some((test, rest.strip_prefix(sign)?)));
    let (test, rest) = found.ok_or_else(|| wrong(rest, "expected =, != or :", example))?;
    let rest = rest.trim_start();
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(|| wrong(rest, "expected a closing quote", example))?,
        None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
    };
    if value.is_empty() {
        return Err(wrong(rest, "expected a value", example));
    }
    Ok((Condition { field, test, value, at }, rest))
}

fn wrong(at: &str, what: &str, example: &str) -> Refusal {
    let shown: String = at.chars().take(60).collect();
    Refusal::invalid_field("filter", format!("{what} at {shown:?}, such as {example}"))
}
