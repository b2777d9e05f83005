//! Questions about raw log text: a literal or a regular expression.

use std::fmt;
use std::ops::Range;

use event::{Kind, limits};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use crate::predicate::Body;
use crate::test::{Quoted, Slashed};
use crate::{Diagnostic, Mistake, NESTING_MAX, Predicate, Prune, REGEX_BYTES_MAX};

/// Matches log lines that contain `needle`. Where case does not count, letters are equal that [`udm::fold`] makes
/// equal.
pub fn raw_text(needle: &str, case_sensitive: bool) -> Result<Predicate, Diagnostic> {
    check_length(needle)?;
    Ok(Raw::text(needle, case_sensitive, 0..0)?.into())
}

/// Matches log lines that `pattern` matches somewhere. `.` does not match line feeds unless the pattern says `(?s)`.
pub fn raw_regex(pattern: &str, case_sensitive: bool) -> Result<Predicate, Diagnostic> {
    check_length(pattern)?;
    Ok(Raw::pattern(pattern, case_sensitive, 0..pattern.len())?.into())
}

pub(crate) fn check_length(text: &str) -> Result<(), Diagnostic> {
    if text.len() > limits::QUERY_BYTES_MAX {
        let message = format!("the query is {} bytes long, more than {}", text.len(), limits::QUERY_BYTES_MAX);
        return Err(Diagnostic::new(0..0, message).mistake(Mistake::TooLarge));
    }
    Ok(())
}

fn too_large(span: Range<usize>, error: &regex::Error) -> Diagnostic {
    let message = match error {
        regex::Error::CompiledTooBig(_) => "this regular expression is too large".to_owned(),
        other => format!("this regular expression cannot be used: {other}"),
    };
    Diagnostic::new(span, message).mistake(Mistake::TooLarge)
}

/// What is wrong with a pattern that stands at `span` of a query; the place is narrowed down where the pattern stands
/// there letter by letter.
pub(crate) fn syntax(error: &regex_syntax::Error, span: Range<usize>, pattern: &str) -> Diagnostic {
    let (what, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(error.span())),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(error.span())),
        other => (other.to_string(), None),
    };
    let narrowed = at
        .filter(|_| span.len() == pattern.len())
        .map(|at| span.start + at.start.offset..span.start + at.end.offset)
        .unwrap_or(span);
    Diagnostic::new(narrowed, format!("not a regular expression: {what}"))
}

impl From<Raw> for Predicate {
    fn from(raw: Raw) -> Predicate {
        Predicate { body: Body::Raw(raw), kinds: vec![Kind::Raw] }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Raw {
    search: Search,
    source: String,
    pattern: bool,
    case_sensitive: bool,
    prune: Prune,
}

#[derive(Debug, Clone)]
enum Search {
    Exact(Box<Finder<'static>>),
    /// The text is folded first; for needles with letters outside ASCII.
    Folded(Box<Finder<'static>>),
    Pattern(Box<Regex>),
}

impl Raw {
    /// A literal; `span` is where a query has it.
    pub(crate) fn text(needle: &str, case_sensitive: bool, span: Range<usize>) -> Result<Raw, Diagnostic> {
        if needle.is_empty() {
            return Err(Diagnostic::new(span, "there is no text to search for"));
        }
        let folded = udm::fold(needle);
        let search = if case_sensitive {
            Search::Exact(Box::new(Finder::new(needle).into_owned()))
        } else if needle.is_ascii() {
            // Without Unicode, "ignore case" is about ASCII letters alone: just what folding does to them.
            let regex = RegexBuilder::new(&regex_syntax::escape(needle)).unicode(false).case_insensitive(true).build();
            Search::Pattern(Box::new(regex.map_err(|error| too_large(span, &error))?))
        } else {
            Search::Folded(Box::new(Finder::new(&folded).into_owned()))
        };
        Ok(Raw { search, source: needle.to_owned(), pattern: false, case_sensitive, prune: Prune::Text(folded) })
    }

    /// A regular expression; `span` is where a query has it, without its slashes.
    pub(crate) fn pattern(pattern: &str, case_sensitive: bool, span: Range<usize>) -> Result<Raw, Diagnostic> {
        let hir = regex_syntax::ParserBuilder::new()
            .utf8(false)
            .case_insensitive(!case_sensitive)
            .nest_limit(NESTING_MAX as u32)
            .build()
            .parse(pattern)
            .map_err(|error| syntax(&error, span.clone(), pattern))?;
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(!case_sensitive)
            .nest_limit(NESTING_MAX as u32)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| too_large(span, &error))?;
        let prune = Prune::of_regex(&hir);
        let search = Search::Pattern(Box::new(regex));
        Ok(Raw { search, source: pattern.to_owned(), pattern: true, case_sensitive, prune })
    }

    pub(crate) fn matches(&self, data: &[u8]) -> bool {
        match &self.search {
            Search::Exact(finder) => finder.find(data).is_some(),
            Search::Pattern(regex) => regex.is_match(data),
            // ASCII folds to ASCII, where this needle cannot be.
            Search::Folded(_) if data.is_ascii() => false,
            Search::Folded(finder) => finder.find(udm::fold(&String::from_utf8_lossy(data)).as_bytes()).is_some(),
        }
    }

    pub(crate) fn prune(&self) -> Prune {
        self.prune.clone()
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nocase = if self.case_sensitive { "" } else { " nocase" };
        if self.pattern {
            write!(f, "raw = {}{nocase}", Slashed(&self.source))
        } else {
            write!(f, "raw = {}{nocase}", Quoted(&self.source))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(predicate: &Predicate, text: &str, expected: bool) {
        assert_eq!(predicate.matches(Kind::Raw, text.as_bytes()), expected, "{predicate} on {text:?}");
        assert!(!predicate.matches(Kind::Udm, text.as_bytes()));
    }

    #[test]
    fn text() {
        for (needle, case_sensitive, text, expected) in [
            ("Failed", true, "sshd: Failed password", true),
            ("failed", true, "sshd: Failed password", false),
            ("failed", false, "sshd: FAILED password", true),
            ("a.b", false, "axb", false),
            ("k", false, "\u{212A}", false),
            ("MÜLLER", false, "user müller logged in", true),
            ("müller", true, "MÜLLER", false),
            ("müller", false, "muller", false),
            ("東京", false, "場所=東京都", true),
            ("서울", true, "지역=서울", true),
        ] {
            check(&raw_text(needle, case_sensitive).unwrap(), text, expected);
        }
    }

    #[test]
    fn patterns() {
        for (pattern, case_sensitive, text, expected) in [
            (r"user=\w+ from 10\.", true, "user=joe from 10.0.0.1", true),
            ("^error", true, "an error", false),
            ("^ERROR", false, "error", true),
            ("a.b", true, "a\nb", false),
            ("(?s)a.b", true, "a\nb", true),
            ("", true, "anything", true),
        ] {
            check(&raw_regex(pattern, case_sensitive).unwrap(), text, expected);
        }
    }

    #[test]
    fn what_cannot_be_searched_for() {
        for (diagnostic, part) in [
            (raw_text("", true).unwrap_err(), "no text"),
            (raw_regex("a(b", true).unwrap_err(), "unclosed group"),
            (raw_regex("(?<=a)b", true).unwrap_err(), "look-around"),
            (raw_regex(r"\w{500}{500}", true).unwrap_err(), "too large"),
            (raw_regex(&"(".repeat(5_000), true).unwrap_err(), "not a regular expression"),
            (raw_text(&"x".repeat(70_000), true).unwrap_err(), "70000 bytes"),
        ] {
            assert!(diagnostic.message.contains(part), "{diagnostic:?}");
        }
    }
}
