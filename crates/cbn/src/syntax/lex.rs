//! Cuts a program into tokens, on demand: the parser asks for one after the other.
//!
//! What stands between tokens (white space, comments) is skipped here, and the comments are kept. Fields in brackets, paths
//! of loops and regular expressions between slashes cannot be told from other things by looking at them, so they are no
//! tokens: the parser, which knows where they may stand, scans them with the methods at the end and goes on behind them.

use super::ast::{Comment, Quote, Span};

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the program.
    End,
    /// A bare word: names, keywords, numbers.
    Word,
    /// A text in quotes. One that is not closed ends with its first line.
    Text {
        quote: Quote,
        closed: bool,
    },
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Comma,
    /// `=>`
    Arrow,
    /// `=`
    Assign,
    /// `:`
    Colon,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `=~`
    Match,
    /// `!~`
    NotMatch,
    /// `!`
    Bang,
    /// `&&`
    And,
    /// `||`
    Or,
    /// A character that nothing begins with.
    Stray,
}

impl Kind {
    /// Whether it may stand between a key and its value. `=` and `:` are read like `=>` (contracts/cbn.md §1.1).
    pub(super) fn joins(self) -> bool {
        matches!(self, Kind::Arrow | Kind::Assign | Kind::Colon)
    }

    /// Whether it compares.
    pub(super) fn compares(self) -> bool {
        use Kind::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | Match | NotMatch)
    }
}

/// Reads tokens from a program.
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// The comments up to here.
    pub(super) comments: Vec<Comment>,
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Lexer<'s> {
        Lexer { source, at: 0, comments: Vec::new() }
    }

    /// The next token, and the comments before it.
    pub(super) fn next(&mut self) -> Token {
        loop {
            self.at += blanks(&self.source[self.at..]);
            if !self.source[self.at..].starts_with('#') {
                break;
            }
            let line = self.source[self.at..].split('\n').next().unwrap_or_default();
            let text = line.trim_end();
            self.comments.push(Comment { text: text.to_owned(), span: span(self.at, self.at + text.len()) });
            self.at += line.len();
        }
        let token = token(self.source, self.at);
        self.at = token.span.end as usize;
        token
    }

    /// What the token after the one that was read last is.
    pub(super) fn following(&self) -> Token {
        let mut at = self.at;
        loop {
            at += blanks(&self.source[at..]);
            if !self.source[at..].starts_with('#') {
                return token(self.source, at);
            }
            at += self.source[at..].find('\n').unwrap_or(self.source.len() - at);
        }
    }

    /// Reads on from another place. What was seen behind it is forgotten.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
        while self.comments.last().is_some_and(|comment| comment.span.start as usize >= at) {
            self.comments.pop();
        }
    }

    /// The end of a field that begins here: `[a][b]`, also `[a].[b]`, names with anything in them that no list could hold.
    /// `None` where there is no such thing.
    pub(super) fn field(&self, start: usize) -> Option<usize> {
        let mut end = start;
        loop {
            let rest = &self.source[end..];
            let dot = usize::from(end > start && rest.starts_with('.'));
            match step(&rest[dot..]) {
                Some(length) => end += dot + length,
                None => return (end > start).then_some(end),
            }
        }
    }

    /// The end of a path of a loop that begins here: up to a blank, a comma or a brace. `%{…}` belongs to it.
    pub(super) fn path(&self, start: usize) -> usize {
        let mut end = start;
        loop {
            let rest = &self.source[end..];
            if let Some(length) = interpolation(rest) {
                end += length;
                continue;
            }
            match rest.chars().next() {
                Some(c) if !is_blank(c) && !matches!(c, ',' | '{' | '}' | '(' | ')' | '"' | '\'' | '#') => {
                    end += c.len_utf8();
                }
                _ => return end,
            }
        }
    }

    /// The end of an XPath that begins here: up to the parenthesis that closes what was opened before it. `None` if that
    /// is not on the line.
    pub(super) fn xpath(&self, start: usize) -> Option<usize> {
        let mut end = start;
        let mut open = 0_usize;
        let mut quoted = None;
        loop {
            let rest = &self.source[end..];
            if let Some(length) = interpolation(rest) {
                end += length;
                continue;
            }
            let c = rest.chars().next()?;
            match (quoted, c) {
                (_, '\n') => return None,
                (Some(quote), _) if quote == c => quoted = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quoted = Some(c),
                (None, '{' | '}') => return None,
                (None, '(') => open += 1,
                (None, ')') if open == 0 => return Some(end),
                (None, ')') => open -= 1,
                (None, _) => {}
            }
            end += c.len_utf8();
        }
    }

    /// The end of a regular expression between slashes that begins here, on one line.
    pub(super) fn slashes(&self, start: usize) -> Option<usize> {
        let body = self.source[start..].strip_prefix('/')?;
        let mut characters = body.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '\n' => return None,
                '\\' => {
                    characters.next();
                }
                '/' => return Some(start + 1 + at + 1),
                _ => {}
            }
        }
        None
    }
}

/// A text as the language reads it: every `\x` is `x` (contracts/cbn.md §1.2).
pub(super) fn unescape(typed: &str) -> String {
    let mut text = String::with_capacity(typed.len());
    let mut characters = typed.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.extend(characters.next()),
            _ => text.push(c),
        }
    }
    text
}

/// Whether a character is white space: NBSP and BOM are, too (contracts/cbn.md §1.1).
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Whether a character may stand in a bare word.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '/' | '*' | '+' | '$' | '%' | '?' | '^' | '\\')
}

pub(super) fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// How many bytes of white space a text begins with.
fn blanks(rest: &str) -> usize {
    rest.find(|c| !is_blank(c)).unwrap_or(rest.len())
}

fn token(source: &str, at: usize) -> Token {
    let rest = &source[at..];
    let mut characters = rest.chars();
    let Some(first) = characters.next() else {
        return Token { kind: Kind::End, span: span(at, at) };
    };
    let second = characters.next();
    let (kind, length) = match (first, second) {
        ('=', Some('>')) => (Kind::Arrow, 2),
        ('=', Some('=')) => (Kind::Equal, 2),
        ('=', Some('~')) => (Kind::Match, 2),
        ('=', _) => (Kind::Assign, 1),
        ('!', Some('=')) => (Kind::NotEqual, 2),
        ('!', Some('~')) => (Kind::NotMatch, 2),
        ('!', _) => (Kind::Bang, 1),
        ('<', Some('=')) => (Kind::LessEqual, 2),
        ('<', _) => (Kind::Less, 1),
        ('>', Some('=')) => (Kind::GreaterEqual, 2),
        ('>', _) => (Kind::Greater, 1),
        ('&', Some('&')) => (Kind::And, 2),
        ('|', Some('|')) => (Kind::Or, 2),
        ('{', _) => (Kind::LeftBrace, 1),
        ('}', _) => (Kind::RightBrace, 1),
        ('[', _) => (Kind::LeftBracket, 1),
        (']', _) => (Kind::RightBracket, 1),
        ('(', _) => (Kind::LeftParen, 1),
        (')', _) => (Kind::RightParen, 1),
        (',', _) => (Kind::Comma, 1),
        (':', _) => (Kind::Colon, 1),
        ('"', _) => quoted(rest, '"', Quote::Double),
        ('\'', _) => quoted(rest, '\'', Quote::Single),
        _ => match word(rest) {
            0 => (Kind::Stray, first.len_utf8()),
            length => (Kind::Word, length),
        },
    };
    Token { kind, span: span(at, at + length) }
}

/// A text in quotes; it may go over several lines. Where the closing quote is missing, it ends on its first line: so what
/// follows can still be read.
fn quoted(rest: &str, mark: char, quote: Quote) -> (Kind, usize) {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == mark {
            return (Kind::Text { quote, closed: true }, at + 1);
        }
        if c == '\\' {
            characters.next();
        }
    }
    (Kind::Text { quote, closed: false }, runaway(rest))
}

/// The length of a text whose closing quote is missing: up to the end of its line, without the braces there that close or
/// open something outside of it.
pub(super) fn runaway(rest: &str) -> usize {
    let line = rest.split('\n').next().unwrap_or_default().trim_end_matches(is_blank);
    let mut open = 0_usize;
    // Where the end of the line begins that has nothing but such braces.
    let mut end = line.len();
    for (at, c) in line.char_indices().skip(1) {
        match c {
            '{' if line.len() == at + 1 => end = end.min(at),
            '{' | '[' | '(' => {
                open += 1;
                end = line.len();
            }
            '}' | ']' | ')' if open == 0 => end = end.min(at),
            '}' | ']' | ')' => {
                open -= 1;
                end = line.len();
            }
            c if is_blank(c) || c == ',' => {}
            _ => end = line.len(),
        }
    }
    line[..end].trim_end_matches(is_blank).len().max(1)
}

/// The length of the bare word that a text begins with.
fn word(rest: &str) -> usize {
    let mut end = 0;
    loop {
        match rest[end..].chars().next() {
            Some(c) if is_word(c) => end += interpolation(&rest[end..]).unwrap_or(c.len_utf8()),
            _ => return end,
        }
    }
}

/// The length of the `%{…}` that a text begins with. It lies on one line and holds no brace.
pub(super) fn interpolation(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix("%{")?;
    let end = inner.find(['}', '{', '\n', '"', '\''])?;
    inner[end..].starts_with('}').then_some(2 + end + 1)
}

/// The length of the one step `[name]` of a field that a text begins with.
fn step(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('[')?;
    let mut end = 0;
    loop {
        if let Some(length) = interpolation(&inner[end..]) {
            end += length;
            continue;
        }
        let c = inner[end..].chars().next()?;
        match c {
            ']' => return (!inner[..end].trim_matches(is_blank).is_empty()).then_some(1 + end + 1),
            '[' | ',' | '"' | '\'' | '\n' | '{' | '}' | '(' | ')' | '=' | '#' => return None,
            _ => end += c.len_utf8(),
        }
    }
}
