//! Drawing places in a source: the line, a caret under the place, what is wrong, what to do. The renderer is that of the
//! Rust compiler, wrapped here so that nothing else knows it.
//!
//! What comes out of logs and files is made printable first: neither may act on the reader's screen.

use std::io::IsTerminal;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use cbn::diagnostic::{Diagnostic, Severity};
use cbn::syntax::ast::{Condition, ConditionKind, Entry, File, Node, Operand, Span, Statement, StatementKind, Word};
use cbn::{End, Error, Program};

use super::program::Source;
use crate::cli::output::printable;

/// Longest text of a log that is shown beside what went wrong with it.
const EXCERPT_CHARS_MAX: usize = 160;

/// Of a line that is longer, only the place is told.
const LINE_BYTES_MAX: usize = 4_000;

/// Draws for one kind of reader.
#[derive(Debug)]
pub struct Pen {
    renderer: Renderer,
}

impl Pen {
    /// For standard error: with colours if that is a terminal and nobody forbids them (`NO_COLOR`).
    pub fn for_stderr() -> Pen {
        Pen::new(std::io::stderr().is_terminal())
    }

    /// For standard output, in the same way.
    pub fn for_stdout() -> Pen {
        Pen::new(std::io::stdout().is_terminal())
    }

    /// For files.
    pub fn plain() -> Pen {
        Pen::new(false)
    }

    fn new(is_terminal: bool) -> Pen {
        let coloured = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Pen { renderer: if coloured { Renderer::styled() } else { Renderer::plain() } }
    }

    /// A finding about a parser.
    pub fn diagnostic(&self, source: &Source, found: &Diagnostic) -> String {
        let level = match found.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Hint => Level::NOTE.with_name("hint"),
        };
        let title = format!("{} [{}]", sentence(&found.message), found.code);
        self.draw(level, &title, &source.name, &source.text, found.span, &found.label, found.help.as_deref(), None)
    }

    /// Why a log failed, at the place in the parser. `log` says where the log stood and how it begins.
    pub fn failure(&self, program: &Program, error: &Error, log: &str) -> String {
        let note = format!("the log is {log}");
        let title = match error.end {
            End::Invalid => format!("the event is not valid: {}", error.text),
            _ => error.text.clone(),
        };
        match &error.statement {
            Some((_, span)) => {
                let span = narrow(program.file(), program.source(), *span, error.field.as_deref());
                self.draw(Level::ERROR, &title, program.name(), program.source(), span, "", None, Some(&note))
            }
            None => {
                let title = format!("{}: {}", program.name(), printable(&title));
                let group = Group::with_title(Level::ERROR.primary_title(title)).element(Level::NOTE.message(note));
                self.renderer.render(&[group])
            }
        }
    }

    fn draw(
        &self,
        level: Level<'_>,
        title: &str,
        name: &str,
        source: &str,
        span: Span,
        label: &str,
        help: Option<&str>,
        note: Option<&str>,
    ) -> String {
        let (lines, first_line, start, end) = around(source, span);
        if lines.len() > LINE_BYTES_MAX {
            let column = lines[..start].chars().count() + 1;
            let place = Origin::path(name).line(first_line).char_column(column);
            let help = help.map(|help| Level::HELP.message(printable(help)));
            let group = level.primary_title(printable(title)).element(place);
            return self.renderer.render(&[group.elements(note.map(|note| Level::NOTE.message(note))).elements(help)]);
        }
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if !label.is_empty() {
            annotation = annotation.label(printable(label));
        }
        let snippet = Snippet::source(lines).line_start(first_line).path(name).annotation(annotation);
        let mut group = level.primary_title(printable(title)).element(snippet);
        if let Some(note) = note {
            group = group.element(Level::NOTE.message(note));
        }
        if let Some(help) = help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        self.renderer.render(&[group])
    }
}

/// The beginning of a log as one line.
pub fn excerpt(log: &[u8]) -> String {
    let beginning = &log[..log.len().min(4 * EXCERPT_CHARS_MAX)];
    let text = printable(&String::from_utf8_lossy(beginning));
    if text.chars().count() > EXCERPT_CHARS_MAX {
        text.chars().take(EXCERPT_CHARS_MAX).chain(['…']).collect()
    } else {
        text
    }
}

/// A message as the beginning of a line of its own.
fn sentence(message: &str) -> &str {
    message.strip_suffix('.').unwrap_or(message)
}

/// The lines that a place is on, the number of the first, and where the place is in them. Only these are drawn, so only
/// these are handed on: sources are long and places many. A place of many lines is drawn by its first one.
fn around(source: &str, span: Span) -> (&str, usize, usize, usize) {
    let start = source.floor_char_boundary((span.start as usize).min(source.len()));
    let end = source.ceil_char_boundary((span.end as usize).min(source.len())).max(start);
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let number = source.as_bytes()[..line_start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let end = end.min(line_end).max(start);
    (&source[line_start..line_end], number, start - line_start, end - line_start)
}

/// The part of a failed statement that its error is about: the option or operand that names the field. The statement's
/// beginning where there is none.
fn narrow(file: &File, source: &str, span: Span, field: Option<&str>) -> Span {
    let whole = statement_at(&file.body, span);
    let part = whole.zip(field).and_then(|(statement, field)| match &statement.kind {
        StatementKind::Plugin(plugin) => {
            plugin.options.iter().find_map(|entry| entry_about(entry, &|word| is_field(word, field))).or_else(|| {
                plugin.options.iter().find_map(|entry| entry_about(entry, &|word| reads_field(word, field)))
            })
        }
        StatementKind::If(chain) => chain.branches.iter().find_map(|branch| operand_about(&branch.condition, field)),
        StatementKind::For(_) => None,
    });
    part.unwrap_or_else(|| {
        // Up to the first brace: `mutate`, `if [a] == "b"`.
        let text = source.get(span.start as usize..span.end as usize).unwrap_or_default();
        let head = text.find(['{', '\n']).map_or(text, |at| &text[..at]).trim_end();
        Span { start: span.start, end: span.start + head.len().max(1) as u32 }
    })
}

fn statement_at(body: &[Statement], span: Span) -> Option<&Statement> {
    // Statements stand in order, so one of each block can hold the place.
    let mut body = body;
    loop {
        let at = body.partition_point(|statement| statement.span.end < span.end);
        let statement = body.get(at)?;
        if statement.span == span {
            return Some(statement);
        }
        body = match &statement.kind {
            StatementKind::Plugin(_) => return None,
            StatementKind::For(inner) => &inner.body,
            StatementKind::If(chain) => {
                let blocks = chain.branches.iter().map(|branch| &branch.body);
                blocks
                    .chain(chain.otherwise.as_ref().map(|(body, _)| body))
                    .find(|body| body.last().is_some_and(|last| last.span.end >= span.end))?
            }
        };
    }
}

fn entry_about(entry: &Entry, is_it: &dyn Fn(&Word) -> bool) -> Option<Span> {
    if is_it(&entry.key) {
        return Some(entry.span);
    }
    node_about(&entry.value, is_it).map(|span| match entry.value {
        Node::Word(_) => entry.span,
        _ => span,
    })
}

fn node_about(node: &Node, is_it: &dyn Fn(&Word) -> bool) -> Option<Span> {
    match node {
        Node::Word(word) => is_it(word).then_some(word.span),
        Node::Array(nodes, _) => nodes.iter().find_map(|node| node_about(node, is_it)),
        Node::Map(entries, _) => entries.iter().find_map(|entry| entry_about(entry, is_it)),
    }
}

fn operand_about(condition: &Condition, field: &str) -> Option<Span> {
    let about = |operand: &Operand| operand_is(operand, field);
    match &condition.kind {
        ConditionKind::Or(parts) | ConditionKind::And(parts) => {
            parts.iter().find_map(|part| operand_about(part, field))
        }
        ConditionKind::Not(inner) | ConditionKind::Group(inner) => operand_about(inner, field),
        ConditionKind::Compare(left, _, right) => about(left).or_else(|| about(right)),
        ConditionKind::Match { subject, pattern, .. } => about(subject).or_else(|| about(pattern)),
        ConditionKind::In { needle, haystack, .. } => about(needle).or_else(|| about(haystack)),
        ConditionKind::Truth(operand) => about(operand),
    }
}

fn operand_is(operand: &Operand, field: &str) -> Option<Span> {
    match operand {
        Operand::Field(word) => is_field(word, field).then_some(word.span),
        Operand::List(operands, _) => operands.iter().find_map(|operand| operand_is(operand, field)),
        Operand::Not(inner, _) => operand_is(inner, field),
        Operand::Text(_) | Operand::Number(..) | Operand::Bool(..) => None,
    }
}

fn is_field(word: &Word, field: &str) -> bool {
    plain(&word.text) == plain(field)
}

fn reads_field(word: &Word, field: &str) -> bool {
    let field = plain(field);
    word.text.split("%{").skip(1).filter_map(|rest| rest.split_once('}')).any(|(path, _)| plain(path) == field)
}

/// `[a][b]` as `a.b`.
fn plain(path: &str) -> String {
    path.replace("][", ".").trim_matches(['[', ']']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "p.conf".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_place_is_drawn_with_its_line() {
        let source = source("filter {\n  mutat { }\n}\n");
        let found = Diagnostic::error("unknown-plugin", Span { start: 11, end: 16 }, "there is no plugin named mutat")
            .label("here\u{1b}[2J")
            .help("Did you mean mutate?");
        assert_eq!(
            Pen::plain().diagnostic(&source, &found),
            "error: there is no plugin named mutat [unknown-plugin]
 --> p.conf:2:3
  |
2 |   mutat { }
  |   ^^^^^ here\u{FFFD}[2J
  |
  = help: Did you mean mutate?"
        );
    }

    #[test]
    fn no_place_is_out_of_reach() {
        for text in ["", "\n", "é", "a\r\n\tb\n", "x\u{1b}y\0"] {
            for start in 0..8 {
                for end in 0..8 {
                    let found = Diagnostic::hint("x", Span { start, end }, "m");
                    Pen::plain().diagnostic(&source(text), &found);
                }
            }
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_the_place_is_told() {
        let source = source(&format!("filter {{\n{}mutat {{}}}}", "é ".repeat(LINE_BYTES_MAX)));
        let start = source.text.find("mutat").expect("it is there") as u32;
        let found = Diagnostic::error("x", Span { start, end: start + 5 }, "m").help("h");
        let drawn = Pen::plain().diagnostic(&source, &found);
        assert_eq!(drawn, "error: m [x]\n--> p.conf:2:8001\n = help: h");
    }

    #[test]
    fn an_excerpt_is_one_line() {
        assert_eq!(excerpt(b"a\nb\x1b[2J\xff"), "a⏎b\u{FFFD}[2J\u{FFFD}");
        let long = excerpt("ü".repeat(5_000).as_bytes());
        assert_eq!(long.chars().count(), EXCERPT_CHARS_MAX + 1);
    }
}
