//! What is wrong with a query and where, for the person who wrote it.

use std::fmt::Write as _;
use std::ops::Range;

/// Why a query was refused. The writer's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// What is wrong, in a sentence.
    pub message: String,
    /// Which bytes of the query are meant. Both ends are character boundaries of it.
    pub span: Range<usize>,
    /// How it could be mended, if we know.
    pub help: Option<String>,
    /// What kind of mistake it is.
    pub mistake: Mistake,
}

/// Kinds of mistakes, for protocols that sort them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mistake {
    /// None of the others.
    #[default]
    Other,
    /// A name that is no field, or none that can be compared.
    Field,
    /// A parenthesis that is not closed.
    OpenBracket,
    /// A text or regular expression that is not closed.
    OpenQuote,
    /// More than a query may have of something.
    TooLarge,
}

impl Diagnostic {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { message: message.into(), span, help: None, mistake: Mistake::Other }
    }

    pub(crate) fn mistake(mut self, mistake: Mistake) -> Diagnostic {
        self.mistake = mistake;
        self
    }

    /// The first and last place that is meant, each as line and column, both counted from 1, columns in characters. The
    /// last is the one behind what is meant.
    pub fn position(&self, query: &str) -> [(usize, usize); 2] {
        let start = floor(query, self.span.start);
        [start, floor(query, self.span.end).max(start)].map(|at| {
            let line_start = query[..at].rfind('\n').map_or(0, |at| at + 1);
            (query[..at].matches('\n').count() + 1, query[line_start..at].chars().count() + 1)
        })
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The message with the line of the query that it is about and carets beneath the place. Ends with a line feed.
    pub fn render(&self, query: &str) -> String {
        let start = floor(query, self.span.start);
        let end = floor(query, self.span.end).max(start);
        let line_start = query[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = query[start..].find('\n').map_or(query.len(), |at| start + at);
        let number = query[..start].matches('\n').count() + 1;
        let line = query[line_start..line_end].trim_end_matches('\r');

        let mut out = format!("error: {}\n", self.message);
        let gutter = number.to_string();
        let blank = " ".repeat(gutter.len());
        let shown: String = line.chars().map(|character| if is_control(character) { ' ' } else { character }).collect();
        let _ = writeln!(out, "{blank} |");
        let _ = writeln!(out, "{gutter} | {shown}");
        // Tabs stay tabs, so that the caret lands right at any tab width.
        let lead: String = (query[line_start..start].chars())
            .map(|character| if character == '\t' { "\t".to_owned() } else { " ".repeat(columns(character)) })
            .collect();
        let carets = query[start..end.min(line_end)].chars().map(columns).sum::<usize>().max(1);
        let _ = writeln!(out, "{blank} | {lead}{}", "^".repeat(carets));
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{blank} = help: {help}");
        }
        out
    }
}

fn is_control(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// The character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// How many columns of a terminal a character takes: two for East Asian wide ones and emoji, none for what combines.
fn columns(character: char) -> usize {
    match character as u32 {
        0x300..=0x36F | 0x200B..=0x200F | 0x2060..=0x2064 | 0xFE00..=0xFE0F | 0xFEFF => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xA960..=0xA97F
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, span: Range<usize>, expected: &str) {
        let diagnostic = Diagnostic::new(span, "wrong").help("mend it");
        assert_eq!(diagnostic.render(query), expected, "{query:?}");
    }

    #[test]
    fn carets_stand_under_what_is_meant() {
        check("abc def", 4..7, "error: wrong\n  |\n1 | abc def\n  |     ^^^\n  = help: mend it\n");
        check("a\nbb x", 5..6, "error: wrong\n  |\n2 | bb x\n  |    ^\n  = help: mend it\n");
        check("東京 x", 7..8, "error: wrong\n  |\n1 | 東京 x\n  |      ^\n  = help: mend it\n");
        check("x 서울", 2..8, "error: wrong\n  |\n1 | x 서울\n  |   ^^^^\n  = help: mend it\n");
        check("\tx", 1..2, "error: wrong\n  |\n1 | \tx\n  | \t^\n  = help: mend it\n");
        check("", 0..0, "error: wrong\n  |\n1 | \n  | ^\n  = help: mend it\n");
        check("ab\r\ncd", 0..6, "error: wrong\n  |\n1 | ab\n  | ^^^\n  = help: mend it\n");
        // A span from somewhere else must not panic either.
        check("é", 1..99, "error: wrong\n  |\n1 | é\n  | ^\n  = help: mend it\n");
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        for (query, span, expected) in [
            ("abc def", 4..7, [(1, 5), (1, 8)]),
            ("a\nbb x", 5..6, [(2, 4), (2, 5)]),
            ("東京 x", 7..8, [(1, 4), (1, 5)]),
            ("ab\ncd", 1..4, [(1, 2), (2, 2)]),
            ("", 0..0, [(1, 1), (1, 1)]),
            ("é", 1..99, [(1, 1), (1, 2)]),
        ] {
            assert_eq!(Diagnostic::new(span.clone(), "wrong").position(query), expected, "{query:?} {span:?}");
        }
    }
}
