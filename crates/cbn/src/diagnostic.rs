//! What is wrong with a program, or might be: told with the place in the source, so that a command can draw it.
//!
//! The parser, the compiler and the linter make these; nothing here prints.

use crate::syntax::ast::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program cannot run.
    Error,
    /// The program runs, and surely or probably not as meant.
    Warning,
    /// Could be better.
    Hint,
}

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// A short name of the kind of finding, for switching it off and for tests: `syntax`, `unknown-function`, ….
    pub code: &'static str,
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What stands at the place, in two or three words, for under the caret; may be empty.
    pub label: String,
    /// What to do about it: a sentence, if there is one to say.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Error, code, message: message.into(), span, label: String::new(), help: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// A hint.
    pub fn hint(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Hint, ..Diagnostic::error(code, span, message) }
    }

    /// With words under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// The line and column of a byte, both from 1; the column counts characters.
pub fn line_column(source: &str, at: u32) -> (u32, u32) {
    let at = source.floor_char_boundary((at as usize).min(source.len()));
    let before = &source[..at];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() as u32 + 1;
    let column = before[before.rfind('\n').map_or(0, |end| end + 1)..].chars().count() as u32 + 1;
    (line, column)
}

/// The longest name that is compared with others.
const NAME_BYTES_MAX: usize = 80;

/// The name among `known` that is nearest to `name`, if it is near enough to be a slip.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Comparing takes time in proportion to both, and no name is that long.
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
