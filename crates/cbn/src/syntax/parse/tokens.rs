//! Taking tokens and braces, and keeping count of what is open.

use super::super::ast::{Quote, Span, Word};
use super::super::lex::{self, Kind, is_blank, span, unescape};
use super::slips::{cut, unclosed_text};
use super::{CODE, DEPTH_MAX, Fault, Opening, Parsed, Parser, RUNAWAY_TOKENS};
use crate::diagnostic::Diagnostic;
use crate::plugins;

impl<'s> Parser<'s> {
    /// The bare word that stands here; empty if there is none.
    pub(super) fn bare(&self) -> &'s str {
        if self.token.kind == Kind::Word { self.typed(self.token.span) } else { "" }
    }

    /// What was typed at a place.
    pub(super) fn typed(&self, span: Span) -> &'s str {
        &self.source[span.start as usize..span.end as usize]
    }

    /// Takes the word or text that stands here.
    pub(super) fn word(&mut self) -> Word {
        let token = self.token;
        let typed = self.typed(token.span);
        let (text, quote) = match token.kind {
            Kind::Text { quote, closed: true } => (unescape(&typed[1..typed.len() - 1]), quote),
            Kind::Text { quote, closed: false } => (unescape(&typed[1..]), quote),
            _ => (typed.to_owned(), Quote::Bare),
        };
        self.advance();
        Word { text, quote, span: token.span }
    }

    /// Goes to the next token.
    pub(super) fn advance(&mut self) {
        self.end = self.token.span.end;
        if let Some((_, left)) = &mut self.runaway {
            *left -= 1;
            if *left == 0 {
                self.runaway = None;
            }
        }
        self.take_next();
    }

    /// Goes on reading at a place.
    pub(super) fn go_to(&mut self, at: usize) {
        self.end = at as u32;
        self.lexer.go_to(at);
        self.take_next();
    }

    /// Takes a token, and tells it if it is a text without an end.
    fn take_next(&mut self) {
        if self.stopped {
            return;
        }
        self.token = self.lexer.next();
        let Kind::Text { closed, .. } = self.token.kind else { return };
        let span = self.token.span;
        if !closed {
            // With a text before that runs on, this is none: its quote is the end of one.
            if self.tell_runaway() {
                self.told_at = Some(self.token.span.start);
                return;
            }
            let told = unclosed_text(self.first_line(span));
            self.told_at = None;
            self.push(told);
        } else if self.runaway.is_none() && self.runs_on(span) {
            self.runaway = Some((span, RUNAWAY_TOKENS));
        }
    }

    /// Whether a text over several lines ends where another begins: then no blank, comma or bracket follows.
    fn runs_on(&self, text: Span) -> bool {
        let is_end = |c: char| is_blank(c) || matches!(c, ',' | ']' | '}' | ')' | '{' | '=' | '#');
        self.typed(text).contains('\n') && !self.source[text.end as usize..].chars().next().is_none_or(is_end)
    }

    /// What was probably meant, of a text without its closing quote.
    pub(super) fn first_line(&self, text: Span) -> Span {
        let start = text.start as usize;
        span(start, start + lex::runaway(&self.source[start..]))
    }

    /// Whether only blanks stand before it on its line.
    pub(super) fn is_first_in_line(&self, place: Span) -> bool {
        let before = &self.source[..place.start as usize];
        before.trim_end_matches(|c| c != '\n' && is_blank(c)).chars().next_back().is_none_or(|c| c == '\n')
    }

    /// Whether a statement begins here, and surely no option.
    pub(super) fn at_statement(&self) -> bool {
        let word = self.bare();
        if !is_statement_name(word) {
            return false;
        }
        let following = self.lexer.following().kind;
        match word {
            "if" => matches!(following, Kind::LeftBracket | Kind::LeftParen | Kind::Bang | Kind::Word),
            "else" => matches!(following, Kind::LeftBrace | Kind::Word),
            "for" => following == Kind::Word,
            _ => following == Kind::LeftBrace,
        }
    }

    pub(super) fn begins_condition(&self) -> bool {
        matches!(self.token.kind, Kind::LeftBracket | Kind::LeftParen | Kind::Bang) || self.bare() == "not"
    }

    // Braces.

    /// Takes the `{` of what began at a place. Where it is missing and what belongs into the braces follows, it is told,
    /// and read as if it were there.
    pub(super) fn open(&mut self, from: Span) -> Parsed<Opening> {
        let opening = Opening { brace: self.token.span, from: from.start, to: self.end };
        if self.token.kind == Kind::LeftBrace {
            self.advance();
            return Ok(opening);
        }
        let told = self.expected("`{`", &format!("after {}", self.opened_by(opening)));
        self.tell(told)?;
        match self.token.kind {
            Kind::Word | Kind::Text { .. } => Ok(opening),
            _ => Err(Fault),
        }
    }

    /// Takes the `}`, and notes where the indentation speaks against its closing this block.
    pub(super) fn close(&mut self, opening: Opening) {
        let brace = self.token.span;
        // After an error a block may end before it began.
        let block = self.source.get(opening.from as usize..brace.start as usize).unwrap_or_default();
        if block.contains('\n') && self.is_first_in_line(brace) {
            let (wanted, found) = (self.indentation(opening.from), self.indentation(brace.start));
            if found < wanted && self.unclosed.is_none() {
                self.unclosed = Some(opening);
            }
            if found > wanted && self.surplus.is_none() {
                self.surplus = Some(brace);
            }
        }
        self.advance();
    }

    /// By how much the line of a place is indented.
    fn indentation(&self, at: u32) -> usize {
        let start = self.source[..at as usize].rfind('\n').map_or(0, |end| end + 1);
        self.source[start..].chars().take_while(|c| *c != '\n' && is_blank(*c)).count()
    }

    /// The thing that a brace belongs to, for messages.
    pub(super) fn opened_by(&self, opening: Opening) -> String {
        let name = span(opening.from as usize, opening.to.max(opening.from) as usize);
        let line = self.typed(name).split('\n').next().unwrap_or_default();
        format!("`{}`", cut(line.trim_end()))
    }

    /// Tells that a block or list ends nowhere.
    pub(super) fn tell_unclosed(&mut self, opening: Opening) {
        // Every block around it ends here as well; one is told, the one that the indentation speaks for.
        if self.told_at == Some(self.token.span.start) {
            return;
        }
        let sign = if self.source[opening.brace.start as usize..].starts_with('[') { ("[", "]") } else { ("{", "}") };
        let mut opening = opening;
        let mut help = format!("Add `{}` where it ends, before {}.", sign.1, self.shown(self.token));
        if let Some(unclosed) = self.unclosed.take().filter(|_| sign.0 == "{") {
            opening = unclosed;
            help = "Add `}` where it ends; going by the indentation, the `}` that closes it belongs to another block."
                .to_owned();
        }
        let told = Diagnostic::error(CODE, opening.brace, format!("this `{}` is never closed", sign.0))
            .label("opened here")
            .help(help);
        let _ = self.tell(told);
    }

    /// One level deeper. Too deep ends the reading.
    pub(super) fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        self.depth -= 1;
        if !self.stopped {
            let told = Diagnostic::error(CODE, self.token.span, format!("nested deeper than {DEPTH_MAX} levels"))
                .label("too deep");
            self.told_at = None;
            self.push(told);
            self.stop();
        }
        Err(Fault)
    }

    /// One level back.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads something one level deeper.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.enter()?;
        let read = read(self);
        self.leave();
        read
    }
}

/// The names that statements begin with.
pub(super) fn statement_names() -> impl Iterator<Item = &'static str> {
    ["if", "else", "for"].into_iter().chain(plugins::NAMES)
}

pub(super) fn is_statement_name(word: &str) -> bool {
    statement_names().any(|name| name == word)
}
