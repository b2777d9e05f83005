//! Telling errors, and going on after them.

use super::super::ast::{Quote, Span, Word};
use super::super::lex::{Kind, Token, span};
use super::{CODE, ERRORS_MAX, Fault, Parsed, Parser};
use crate::diagnostic::{Diagnostic, nearest};

impl Parser<'_> {
    // Going on after an error.

    /// After a statement that could not be read: to the next that begins a line, or to the end of the block.
    pub(super) fn skip_to_statement(&mut self, start: Span) {
        debug_assert!(!self.found.is_empty(), "nothing is left out without being told");
        let mut open = 0_usize;
        if self.token.span == start {
            self.advance();
        }
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::RightBrace if open == 0 => return,
                Kind::RightBrace => open -= 1,
                Kind::LeftBrace => open += 1,
                Kind::Word if open == 0 && self.is_first_in_line(self.token.span) && self.at_statement() => return,
                _ => {}
            }
            self.advance();
        }
    }

    /// After an entry that could not be read: to the next, or to the end of the block.
    pub(super) fn skip_to_entry(&mut self, start: Span) {
        debug_assert!(!self.found.is_empty(), "nothing is left out without being told");
        let mut open = 0_usize;
        if self.token.span == start {
            self.skip_one(&mut open);
        }
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::RightBrace if open == 0 => return,
                Kind::Word | Kind::Text { .. }
                    if (open == 0 || self.is_first_in_line(self.token.span))
                        && (self.lexer.following().kind.joins() || self.at_statement()) =>
                {
                    if open == 0 {
                        return;
                    }
                    self.advance();
                }
                _ => self.skip_one(&mut open),
            }
        }
    }

    pub(super) fn skip_one(&mut self, open: &mut usize) {
        match self.token.kind {
            Kind::LeftBrace => *open += 1,
            Kind::RightBrace => *open = open.saturating_sub(1),
            _ => {}
        }
        self.advance();
    }

    /// To the `{` of a block whose head could not be read.
    pub(super) fn skip_to_brace(&mut self) -> Parsed<()> {
        loop {
            match self.token.kind {
                Kind::LeftBrace => return Ok(()),
                Kind::End | Kind::RightBrace => return Err(Fault),
                Kind::Word if self.is_first_in_line(self.token.span) && self.at_statement() => return Err(Fault),
                _ => self.advance(),
            }
        }
    }

    /// Over a `{` and all up to its `}`.
    pub(super) fn skip_braces(&mut self) {
        let mut open = 0_usize;
        loop {
            match self.token.kind {
                Kind::End => return,
                Kind::LeftBrace => open += 1,
                Kind::RightBrace => open = open.saturating_sub(1),
                _ => {}
            }
            self.advance();
            if open == 0 {
                return;
            }
        }
    }

    /// Reads nothing more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.lexer.go_to(self.source.len());
        let end = self.source.len();
        self.token = Token { kind: Kind::End, span: span(end, end) };
    }

    // Telling.

    /// Tells an error and gives up what is being read.
    pub(super) fn fault<T>(&mut self, told: Diagnostic) -> Parsed<T> {
        let _ = self.tell(told);
        Err(Fault)
    }

    /// Tells an error. Where a text that seems to run on stands right before, that is the error, and reading goes on where
    /// it should have ended: nothing can be kept of what is being read.
    pub(super) fn tell(&mut self, told: Diagnostic) -> Parsed<()> {
        if self.stopped {
            return Err(Fault);
        }
        if self.tell_runaway() {
            return Err(Fault);
        }
        self.push(told);
        Ok(())
    }

    /// Tells that a text is not closed, if one seems to run on, and goes back to where it should have ended.
    pub(super) fn tell_runaway(&mut self) -> bool {
        let Some((text, _)) = self.runaway.take() else { return false };
        if self.runaway_told.is_some_and(|told| told >= text.start) {
            return false;
        }
        self.runaway_told = Some(text.start);
        let line = self.first_line(text);
        self.told_at = None;
        self.push(unclosed_text(line));
        if !self.stopped {
            self.go_to(line.end as usize);
        }
        true
    }

    /// Keeps an error, unless one was told at this token already.
    pub(super) fn push(&mut self, told: Diagnostic) {
        if self.stopped || self.told_at == Some(self.token.span.start) {
            return;
        }
        self.told_at = Some(self.token.span.start);
        self.found.push(told);
        if self.found.len() >= ERRORS_MAX {
            self.stop();
        }
    }

    /// `expected x, found y`.
    pub(super) fn unexpected(&self, wanted: &str) -> Diagnostic {
        let message = format!("expected {wanted}, found {}", self.shown(self.token));
        let told = Diagnostic::error(CODE, self.token.span, message).label(format!("expected {wanted}"));
        self.hinted(told)
    }

    /// `expected x after z, found y`.
    pub(super) fn expected(&self, wanted: &str, place: &str) -> Diagnostic {
        let message = format!("expected {wanted} {place}, found {}", self.shown(self.token));
        let told = Diagnostic::error(CODE, self.token.span, message).label(format!("expected {wanted}"));
        self.hinted(told)
    }

    /// Advice for characters that get into programs by pasting.
    pub(super) fn hinted(&self, told: Diagnostic) -> Diagnostic {
        if self.token.kind != Kind::Stray {
            return told;
        }
        match self.typed(self.token.span) {
            "“" | "”" | "„" | "‘" | "’" | "`" => told.help("Texts stand in straight quotes: \"…\" or '…'."),
            _ => told,
        }
    }

    /// A token for messages.
    pub(super) fn shown(&self, token: Token) -> String {
        let typed = self.typed(token.span);
        match token.kind {
            Kind::End => "the end of the program".to_owned(),
            Kind::Text { .. } => cut(typed.split('\n').next().unwrap_or_default().trim_end()),
            _ => format!("`{}`", cut(typed)),
        }
    }

    pub(super) fn key_shown(&self, key: &Word) -> String {
        match key.quote {
            Quote::Bare => format!("`{}`", cut(&key.text)),
            _ => self.key_typed(key),
        }
    }

    pub(super) fn key_typed(&self, key: &Word) -> String {
        cut(self.typed(key.span).split('\n').next().unwrap_or_default())
    }

    pub(super) fn value_typed(&self, token: Token) -> String {
        match token.kind {
            Kind::LeftBrace => "{ … }".to_owned(),
            Kind::LeftBracket => "[ … ]".to_owned(),
            _ => cut(self.typed(token.span).split('\n').next().unwrap_or_default()),
        }
    }
}

pub(super) fn unclosed_text(line: Span) -> Diagnostic {
    Diagnostic::error(CODE, line, "this text is not closed")
        .label("opened here")
        .help("Add the quote at its end; a quote within it needs a backslash before it.")
}

/// The name among `known` that a word is a slip of. Words that are far too long are not compared.
pub(super) fn near(word: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    const WORD_BYTES_MAX: usize = 40;
    if word.len() <= WORD_BYTES_MAX { nearest(word, known) } else { None }
}

/// A text for messages, not too long.
pub(super) fn cut(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
