//! Text of the query language to tokens.
//!
//! Comments (`-- …` and `/* … */`) count as white space. In a text between single quotes, `''` and `\'` are a quote, `*`
//! is a wildcard and `\*` a star; other backslashes are themselves, but before a quote or star two stand for one.

use std::ops::Range;

use super::{NAME_BYTES_MAX, WILDCARDS_MAX};
use crate::{Diagnostic, Mistake};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A plain word: a keyword, function or name.
    Word(&'a str),
    /// A name between double quotes.
    Name(String),
    /// A text between single quotes, taken apart at its wildcards.
    Text(Vec<String>),
    Number(&'a str),
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Spanned<'a> {
    pub(super) token: Token<'a>,
    pub(super) span: Range<usize>,
}

/// Longest first where one begins like another.
const SYMBOLS: [&str; 17] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "|", "+", "-", "*", "/"];

/// What others write, and what it is here.
const FOREIGN: [(&str, &str); 8] = [
    ("==", "write ="),
    ("=~", "write = with the wildcard *: data.message = '*text*'"),
    ("!~", "write != with the wildcard *: data.message != '*text*'"),
    ("<>", "write !="),
    ("&&", "write and"),
    ("||", "write or"),
    ("!", "write not"),
    (";", "a query is one statement"),
];

/// All tokens of a text, [`Token::End`] last.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned<'_>>, Diagnostic> {
    let mut out: Vec<Spanned<'_>> = Vec::new();
    let mut at = 0;
    loop {
        at = space(text, at)?;
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            out.push(Spanned { token: Token::End, span: at..at });
            return Ok(out);
        };
        // Behind a point stands a name, even one that begins with a digit.
        let is_member = matches!(out.last(), Some(Spanned { token: Token::Symbol("."), span }) if span.end == at);
        let (token, length) = match first {
            '\'' => string(text, at)?,
            '"' => name(text, at)?,
            '0'..='9' if !is_member => number(text, at)?,
            '$' => {
                let length = 1 + word_length(&rest[1..]);
                return Err(Diagnostic::new(at..at + length, "parameters (`$name`) are not supported")
                    .help("write the value itself"));
            }
            first if is_word(first) => {
                let length = word_length(rest);
                (Token::Word(&rest[..length]), length)
            }
            _ => {
                let foreign = FOREIGN.iter().find(|(foreign, _)| rest.starts_with(foreign));
                if let Some((foreign, help)) = foreign.filter(|(foreign, _)| *foreign != "!" || !rest.starts_with("!="))
                {
                    return Err(
                        Diagnostic::new(at..at + foreign.len(), format!("`{foreign}` is no operator here")).help(*help)
                    );
                }
                let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
                    return Err(Diagnostic::new(at..at + first.len_utf8(), format!("`{first}` has no meaning here"))
                        .help("names with other characters than letters, digits and _ stand in double quotes"));
                };
                (Token::Symbol(symbol), symbol.len())
            }
        };
        let span = at..at + length;
        if !matches!(token, Token::Text(_)) && length > NAME_BYTES_MAX + 2 {
            let message = format!("a name or number of more than {NAME_BYTES_MAX} bytes");
            return Err(Diagnostic::new(span, message).mistake(Mistake::TooLarge));
        }
        out.push(Spanned { token, span });
        at += length;
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|character| !is_word(character)).unwrap_or(text.len())
}

/// Where white space and comments end.
fn space(text: &str, mut at: usize) -> Result<usize, Diagnostic> {
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if trimmed.starts_with("--") {
            at += trimmed.find('\n').unwrap_or(trimmed.len());
        } else if let Some(inside) = trimmed.strip_prefix("/*") {
            match inside.find("*/") {
                Some(end) => at += 2 + end + 2,
                None => {
                    return Err(Diagnostic::new(at..at + 2, "this comment has no end").help("close it with */"));
                }
            }
        } else {
            return Ok(at);
        }
    }
}

/// A text between single quotes.
fn string(text: &str, start: usize) -> Result<(Token<'_>, usize), Diagnostic> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = text[start..].char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                let mut backslashes = 1;
                while characters.next_if(|(_, next)| *next == '\\').is_some() {
                    backslashes += 1;
                }
                match characters.peek() {
                    Some(&(_, special @ ('\'' | '*'))) => {
                        part.extend(std::iter::repeat_n('\\', backslashes / 2));
                        if backslashes % 2 == 1 {
                            part.push(special);
                            characters.next();
                        }
                    }
                    _ => part.extend(std::iter::repeat_n('\\', backslashes)),
                }
            }
            '\'' => {
                if characters.next_if(|(_, next)| *next == '\'').is_some() {
                    part.push('\'');
                    continue;
                }
                parts.push(part);
                if parts.len() > WILDCARDS_MAX + 1 {
                    let message = format!("more than {WILDCARDS_MAX} wildcards in one text");
                    return Err(Diagnostic::new(start..start + at + 1, message)
                        .mistake(Mistake::TooLarge)
                        .help("a star that stands for itself is written \\*"));
                }
                return Ok((Token::Text(parts), at + 1));
            }
            '*' => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    Err(Diagnostic::new(start..start + 1, "this text has no end")
        .mistake(Mistake::OpenQuote)
        .help("close it with '; write '' for a quote within it"))
}

/// A name between double quotes, `""` standing for one.
fn name(text: &str, start: usize) -> Result<(Token<'_>, usize), Diagnostic> {
    let mut out = String::new();
    let mut characters = text[start..].char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            out.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            out.push('"');
        } else {
            return Ok((Token::Name(out), at + 1));
        }
    }
    Err(Diagnostic::new(start..start + 1, "this name has no end")
        .mistake(Mistake::OpenQuote)
        .help("close it with \"; write \"\" for a quote within it"))
}

fn number(text: &str, start: usize) -> Result<(Token<'_>, usize), Diagnostic> {
    let bytes = &text.as_bytes()[start..];
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let trailing = word_length(&text[start + length..]);
    if trailing > 0 {
        let written = &text[start..start + length + trailing];
        let written = &written[..written.floor_char_boundary(NAME_BYTES_MAX)];
        return Err(Diagnostic::new(start..start + length + trailing, format!("`{written}` is no number"))
            .help(format!("texts stand in single quotes: '{written}'")));
    }
    Ok((Token::Number(&text[start..start + length]), length))
}
