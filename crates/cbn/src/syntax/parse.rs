//! Reads a program: recursive descent over the grammar of contracts/cbn.md §1.1, with all that real programs rely on
//! (`=` for `=>`, missing commas, `&&`, regular expressions in parentheses, …).
//!
//! A program that is wrong is read to its end, so that all its errors are told at once. Two slips get care, since what
//! follows them makes no sense otherwise: a missing brace is told at the brace that it should have closed, and a missing
//! quote, after which texts and what stands between them change places, at the line of the text that runs on.
//!
//! Names mean nothing here, but for one thing: a plugin's name at the start of a line helps to see where a block was not
//! closed.

use super::ast::{
    Branch, Comparison, Condition, ConditionKind, Entry, File, For, If, Node, Operand, Over, Plugin, Quote, Span,
    Statement, StatementKind, Word,
};
use super::lex::{Kind, Lexer, Token, is_blank, span, unescape};
use crate::diagnostic::{Diagnostic, line_column, nearest};
use crate::plugins;

/// How deep blocks, conditions and values may be nested, all together.
pub const DEPTH_MAX: usize = 200;

/// The largest program that is read, in bytes.
pub const SOURCE_BYTES_MAX: usize = 16 << 20;

/// How many errors are told at once.
pub const ERRORS_MAX: usize = 20;

/// Reads a program. The errors come in the order of the source.
pub fn parse(source: &str) -> Result<File, Vec<Diagnostic>> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("the program is larger than {} MiB", SOURCE_BYTES_MAX >> 20);
        return Err(vec![Diagnostic::error(CODE, Span::default(), message)]);
    }
    let mut parser = Parser::new(source);
    let (body, span) = parser.file();
    if parser.found.is_empty() {
        return Ok(File { body, comments: parser.lexer.comments, span });
    }
    let mut found = parser.found;
    found.sort_by_key(|found| found.span.start);
    Err(found)
}

/// The kind of finding that all these are.
const CODE: &str = "syntax";

/// How many tokens after a text that goes over several lines an error is put down to it.
const RUNAWAY_TOKENS: u8 = 6;

/// An error was told; whoever can go on from here does.
struct Fault;

type Parsed<T> = Result<T, Fault>;

/// A brace or bracket that waits for its other half.
#[derive(Clone, Copy)]
struct Opening {
    /// The brace.
    brace: Span,
    /// Where the thing begins that it belongs to; its line tells how far its end should be indented.
    from: u32,
    /// Where the name of that thing ends: `from` to here is shown.
    to: u32,
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    token: Token,
    /// The end of what was read last.
    end: u32,
    depth: usize,
    found: Vec<Diagnostic>,
    /// The token at which an error was told last: one is enough there.
    told_at: Option<u32>,
    /// Reading has been given up.
    stopped: bool,
    /// The last text that goes over several lines, and for how many tokens more an error is put down to it.
    runaway: Option<(Span, u8)>,
    /// Where the last such text began that was told to be unclosed.
    runaway_told: Option<u32>,
    /// The first block that ends where one around it should, going by indentation.
    unclosed: Option<Opening>,
    /// The first closing brace that is indented deeper than what it closes.
    surplus: Option<Span>,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Parser<'s> {
        let mut parser = Parser {
            source,
            lexer: Lexer::new(source),
            token: Token { kind: Kind::End, span: Span::default() },
            end: 0,
            depth: 0,
            found: Vec::new(),
            told_at: None,
            stopped: false,
            runaway: None,
            runaway_told: None,
            unclosed: None,
            surplus: None,
        };
        parser.advance();
        parser
    }

    // The file.

    fn file(&mut self) -> (Vec<Statement>, Span) {
        let mut body = Vec::new();
        let mut whole: Option<Span> = None;
        // Whether something outside of the blocks was told already; one error is enough until the next block.
        let mut outside = false;
        while self.token.kind != Kind::End {
            let start = self.token.span;
            let word = self.bare();
            if word == "filter" || (self.lexer.following().kind == Kind::LeftBrace && self.is_misspelt_filter()) {
                outside = false;
                let opened = self.filter();
                if let Ok(statements) = opened {
                    body.extend(statements);
                }
                let read = Span { start: start.start, end: self.end };
                whole = Some(whole.map_or(read, |whole| whole.to(read)));
                continue;
            }
            if !outside {
                outside = true;
                self.tell_outside(whole);
            }
            let _ = self.outside();
            if self.token.span == start {
                self.advance();
            }
        }
        if whole.is_none() && !outside && !self.stopped {
            let told = Diagnostic::error(CODE, self.token.span, "the program is empty")
                .label("no filter block")
                .help("A program is one block: filter { … }.");
            let _ = self.tell(told);
        }
        (body, whole.unwrap_or_default())
    }

    /// `filter { … }`.
    fn filter(&mut self) -> Parsed<Vec<Statement>> {
        let name = self.token;
        if self.bare() != "filter" {
            let told =
                Diagnostic::error(CODE, name.span, format!("there is no block named `{}`", self.typed(name.span)))
                    .label("unknown block")
                    .help("Did you mean `filter`?");
            self.tell(told)?;
        }
        self.advance();
        let opening = self.open(name.span)?;
        Ok(self.block(opening))
    }

    /// Whether the word is `filter` with a slip in it.
    fn is_misspelt_filter(&self) -> bool {
        let word = self.bare();
        !word.is_empty() && !is_statement_name(word) && nearest(word, ["filter"]).is_some()
    }

    /// What stands outside of the blocks, read for its own errors.
    fn outside(&mut self) -> Parsed<()> {
        let word = self.bare();
        let following = self.lexer.following().kind;
        match word {
            "input" | "output" if following == Kind::LeftBrace => {
                self.advance();
                self.skip_braces();
                Ok(())
            }
            "if" | "for" => self.statement().map(drop),
            _ if !word.is_empty() && following == Kind::LeftBrace => self.statement().map(drop),
            _ => {
                self.advance();
                Ok(())
            }
        }
    }

    fn tell_outside(&mut self, before: Option<Span>) {
        let token = self.token;
        let word = self.bare();
        let told = if token.kind == Kind::RightBrace {
            let mut told = Diagnostic::error(CODE, token.span, "there is a `}` too many").label("closes nothing");
            if let Some(surplus) = self.surplus {
                let (line, _) = line_column(self.source, surplus.start);
                told =
                    told.help(format!("Going by the indentation, the one on line {line} may be the one to take away."));
            }
            told
        } else if matches!(word, "input" | "output") {
            Diagnostic::error(CODE, token.span, format!("there is no `{word}` here"))
                .label("a block of Logstash")
                .help("Take it out: a parser has only its filter block; logs come in and events go out by themselves.")
        } else if let Some(before) = before {
            let (line, _) = line_column(self.source, before.end.saturating_sub(1));
            let help = match self.surplus {
                Some(surplus) => {
                    let (surplus, _) = line_column(self.source, surplus.start);
                    format!(
                        "The block ends on line {line}. Going by the indentation, the `}}` on line {surplus} is one too many."
                    )
                }
                None => format!("The block ends on line {line}: there may be a `}}` too many before."),
            };
            Diagnostic::error(
                CODE,
                token.span,
                format!("{} stands behind the end of the filter block", self.shown(token)),
            )
            .label("outside of `filter { … }`")
            .help(help)
        } else {
            Diagnostic::error(CODE, token.span, format!("expected `filter {{`, found {}", self.shown(token)))
                .label("outside of `filter { … }`")
                .help("Put the whole program into one block: filter { … }.")
        };
        let _ = self.tell(told);
    }

    // Statements.

    /// The statements up to the closing brace. Errors in them are told, and the rest is read.
    fn block(&mut self, opening: Opening) -> Vec<Statement> {
        let mut statements = Vec::new();
        if self.enter().is_err() {
            return statements;
        }
        loop {
            match self.token.kind {
                Kind::RightBrace => {
                    self.close(opening);
                    break;
                }
                Kind::End => {
                    self.tell_unclosed(opening);
                    break;
                }
                _ => {
                    let start = self.token.span;
                    match self.statement() {
                        Ok(statement) => statements.push(statement),
                        Err(Fault) => self.skip_to_statement(start),
                    }
                }
            }
        }
        self.leave();
        statements
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let start = self.token.span;
        let kind = match self.token.kind {
            Kind::Word => match self.bare() {
                "if" => StatementKind::If(self.if_chain()?),
                "for" => StatementKind::For(self.for_loop()?),
                "else" | "elseif" | "elsif" | "elif" => return self.stray_else(),
                _ => StatementKind::Plugin(self.plugin()?),
            },
            Kind::Text { closed: true, .. } => {
                let told = self.unexpected("a statement").help(match self.lexer.following().kind {
                    kind if kind.joins() => "Options stand inside of a plugin: mutate { replace => { … } }.",
                    _ => "A statement begins with the bare name of a plugin, with `if` or with `for`.",
                });
                return self.fault(told);
            }
            _ => {
                let told = self.unexpected("a statement");
                return self.fault(told);
            }
        };
        Ok(Statement { kind, span: Span { start: start.start, end: self.end } })
    }

    /// `name { key => value … }`.
    fn plugin(&mut self) -> Parsed<Plugin> {
        let name = self.word();
        if self.token.kind != Kind::LeftBrace {
            let known = plugins::NAMES.contains(&name.text.as_str());
            if !known {
                let mut told = self.expected("`{`", &format!("after `{}`", cut(&name.text)));
                if self.token.kind.joins() {
                    told = told.help(format!(
                        "An option stands inside of a plugin, as in mutate {{ {} => … }}; a `}}` before it may close too early.",
                        cut(&name.text)
                    ));
                } else if let Some(near) = nearest(&name.text, STATEMENT_NAMES) {
                    told = told.help(format!("Did you mean `{near}`?"));
                }
                return self.fault(told);
            }
        }
        let opening = self.open(name.span)?;
        let options = self.entries(opening);
        Ok(Plugin { name, options })
    }

    /// `if … { … } else if … { … } else { … }`.
    fn if_chain(&mut self) -> Parsed<If> {
        let mut branches = vec![self.branch()?];
        let mut otherwise: Option<(Vec<Statement>, Span)> = None;
        while self.token.kind == Kind::Word {
            let start = self.token.span;
            match self.bare() {
                "else" if otherwise.is_some() => {
                    let told = Diagnostic::error(CODE, start, "there is an `else` already")
                        .label("a second one")
                        .help("Nothing comes after `else { … }`; ask further questions before it, with `else if`.");
                    self.tell(told)?;
                    self.advance();
                    if self.bare() == "if" {
                        self.branch()?;
                    } else {
                        let opening = self.open(start)?;
                        self.block(opening);
                    }
                }
                "else" => {
                    self.advance();
                    if self.bare() == "if" {
                        branches.push(self.branch()?);
                        continue;
                    }
                    if self.begins_condition() {
                        let told = Diagnostic::error(CODE, start, "`else` takes no condition")
                            .label("followed by a condition")
                            .help("Write `else if` to ask another question.");
                        self.tell(told)?;
                        branches.push(self.branch_after(start)?);
                        continue;
                    }
                    let opening = self.open(start)?;
                    let body = self.block(opening);
                    otherwise = Some((body, Span { start: start.start, end: self.end }));
                }
                "elseif" | "elsif" | "elif" => {
                    self.tell_elseif()?;
                    branches.push(self.branch()?);
                }
                _ => break,
            }
        }
        Ok(If { branches, otherwise })
    }

    fn tell_elseif(&mut self) -> Parsed<()> {
        let told = Diagnostic::error(CODE, self.token.span, format!("there is no `{}`", self.bare()))
            .label("unknown word")
            .help("Write `else if`.");
        self.tell(told)
    }

    /// An `else` to which no `if` belongs: told, and read as if one did.
    fn stray_else(&mut self) -> Parsed<Statement> {
        let start = self.token.span;
        if self.bare() == "else" {
            let told = Diagnostic::error(CODE, start, "this `else` belongs to no `if`")
                .label("no `if { … }` right before")
                .help(
                    "`else` comes right after the `}` of an `if`; there may be a `}` too many, or a statement between.",
                );
            self.tell(told)?;
            self.advance();
        } else {
            self.tell_elseif()?;
        }
        if matches!(self.bare(), "if" | "elseif" | "elsif" | "elif") {
            self.branch()?;
        } else {
            let opening = self.open(start)?;
            self.block(opening);
        }
        Err(Fault)
    }

    /// A branch from its `if` on.
    fn branch(&mut self) -> Parsed<Branch> {
        let start = self.token.span;
        self.advance();
        self.branch_after(start)
    }

    /// A branch from its condition on.
    fn branch_after(&mut self, start: Span) -> Parsed<Branch> {
        let condition = match self.condition() {
            Ok(condition) => condition,
            Err(Fault) => {
                self.skip_to_brace()?;
                Condition { kind: ConditionKind::And(Vec::new()), span: start }
            }
        };
        if self.token.kind != Kind::LeftBrace {
            self.tell_after_condition()?;
        }
        let opening = self.open(start)?;
        let body = self.block(opening);
        Ok(Branch { condition, body, span: Span { start: start.start, end: self.end } })
    }

    /// Something stands between a condition and its block.
    fn tell_after_condition(&mut self) -> Parsed<()> {
        let token = self.token;
        if self.at_statement() || matches!(token.kind, Kind::End | Kind::RightBrace) {
            return Ok(());
        }
        let what = "`{`, `and` or `or`";
        let told = match token.kind {
            Kind::RightParen => Diagnostic::error(CODE, token.span, "there is a `)` too many").label("closes nothing"),
            Kind::Assign => self.expected(what, "after the condition").help("Write `==` to compare."),
            Kind::Arrow => self.expected(what, "after the condition").help("Write `>=` to compare, `==` for equality."),
            kind if kind.compares() => Diagnostic::error(CODE, token.span, "comparisons cannot be chained")
                .label("a second comparison")
                .help("Join them: [a] == \"x\" and [b] == \"y\"."),
            Kind::LeftBracket => self
                .expected(what, "after the condition")
                .help("Join conditions with `and` or `or`; write a longer name without blanks, as in [a][b]."),
            Kind::Stray if matches!(self.typed(token.span), "&" | "|") => {
                let sign = self.typed(token.span);
                self.expected(what, "after the condition").help(format!("Write `{sign}{sign}`."))
            }
            Kind::Word => {
                let word = self.bare();
                let told = self.expected(what, "after the condition");
                match ["and", "or", "in", "not"].into_iter().find(|known| known.eq_ignore_ascii_case(word)) {
                    Some(known) if known != word => told.help(format!("Write `{known}` in small letters.")),
                    _ => told,
                }
            }
            _ => self.expected(what, "after the condition"),
        };
        self.tell(told)?;
        self.skip_to_brace()
    }

    /// `for a, b in path map { … }`.
    fn for_loop(&mut self) -> Parsed<For> {
        let start = self.token.span;
        self.advance();
        let first = self.variable()?;
        let (index, item) = if self.token.kind == Kind::Comma {
            self.advance();
            (Some(first), self.variable()?)
        } else {
            (None, first)
        };
        if !matches!(self.bare(), "in" | "IN") {
            let told = self.expected("`in`", "after the variables of the loop");
            return match self.skip_header(told) {
                Ok(()) => {
                    let opening = self.open(start)?;
                    self.block(opening);
                    Err(Fault)
                }
                Err(fault) => Err(fault),
            };
        }
        self.advance();
        let over = match self.over() {
            Ok(over) => over,
            Err(Fault) => {
                self.skip_to_brace()?;
                let opening = self.open(start)?;
                self.block(opening);
                return Err(Fault);
            }
        };
        let map = self.bare() == "map";
        if map {
            self.advance();
        }
        if self.token.kind != Kind::LeftBrace && !self.at_statement() {
            let mut told = self.expected("`{`", "after what the loop goes through");
            if self.bare().eq_ignore_ascii_case("map") {
                told = told.help("Write `map` in small letters.");
            }
            self.skip_header(told)?;
        }
        let opening = self.open(start)?;
        let body = self.block(opening);
        Ok(For { index, item, over, map, body })
    }

    /// Tells what is wrong before a block and goes to its brace.
    fn skip_header(&mut self, told: Diagnostic) -> Parsed<()> {
        self.tell(told)?;
        self.skip_to_brace()
    }

    fn variable(&mut self) -> Parsed<Word> {
        if self.token.kind == Kind::Word {
            return Ok(self.word());
        }
        let told = self.expected("a variable", "of the loop");
        let told = match self.token.kind {
            Kind::Text { .. } => told.help("Variables stand without quotes."),
            Kind::LeftBracket => told.help("Variables stand without brackets."),
            _ => told.help("Write: for item in list { … }."),
        };
        self.fault(told)
    }

    fn over(&mut self) -> Parsed<Over> {
        if self.bare().eq_ignore_ascii_case("xml") && self.lexer.following().kind == Kind::LeftParen {
            self.advance();
            return self.over_xml();
        }
        Ok(Over::Field(self.path()?))
    }

    fn over_xml(&mut self) -> Parsed<Over> {
        let open = self.token.span;
        self.advance();
        let field = self.path()?;
        if self.token.kind != Kind::Comma {
            let told =
                self.expected("`,`", "between the field and the XPath").help("Write: xml(field, /path/to/nodes).");
            return self.fault(told);
        }
        self.advance();
        let xpath = match self.token.kind {
            Kind::Text { .. } => self.word(),
            Kind::End => return self.fault(self.unexpected("an XPath")),
            _ => {
                let start = self.token.span.start as usize;
                let Some(end) = self.lexer.xpath(start) else {
                    let told = Diagnostic::error(CODE, open, "the `(` after `xml` is not closed on its line")
                        .label("opened here")
                        .help("Write: xml(field, /path/to/nodes).");
                    return self.fault(told);
                };
                let text = self.source[start..end].trim_end_matches(is_blank);
                let word = Word { text: text.to_owned(), quote: Quote::Bare, span: span(start, start + text.len()) };
                self.go_to(end);
                if word.text.is_empty() {
                    let told = self.unexpected("an XPath");
                    return self.fault(told);
                }
                word
            }
        };
        if self.token.kind != Kind::RightParen {
            let told = self.expected("`)`", "after the XPath");
            return self.fault(told);
        }
        self.advance();
        Ok(Over::Xml { field, xpath })
    }

    /// The path that a loop goes through.
    fn path(&mut self) -> Parsed<Word> {
        if let Kind::Text { .. } = self.token.kind {
            return Ok(self.word());
        }
        let start = self.token.span.start as usize;
        let end = self.lexer.path(start);
        if end == start {
            let told = self.expected("a field", "after `in`");
            return self.fault(told);
        }
        let text = self.source[start..end].to_owned();
        self.go_to(end);
        Ok(Word { text, quote: Quote::Bare, span: span(start, end) })
    }

    // Options and values.

    /// The entries up to the closing brace. Errors in them are told, and the rest is read.
    fn entries(&mut self, opening: Opening) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.enter().is_err() {
            return entries;
        }
        loop {
            match self.token.kind {
                Kind::RightBrace => {
                    self.close(opening);
                    break;
                }
                Kind::Comma => self.advance(),
                Kind::End => {
                    self.tell_unclosed(opening);
                    break;
                }
                // A statement among options: the brace before it is missing. It is read where statements are.
                Kind::Word if self.at_statement() => {
                    self.tell_unclosed(opening);
                    break;
                }
                _ => {
                    let start = self.token.span;
                    match self.entry() {
                        Ok(entry) => entries.push(entry),
                        Err(Fault) => self.skip_to_entry(start),
                    }
                }
            }
        }
        self.leave();
        entries
    }

    /// `key => value`.
    fn entry(&mut self) -> Parsed<Entry> {
        if !matches!(self.token.kind, Kind::Word | Kind::Text { .. }) {
            let told = self.unexpected("an option");
            let told = match self.token.kind {
                Kind::RightBracket => told.help("No `[` is open here."),
                Kind::RightParen => told.help("No `(` is open here."),
                Kind::Stray if self.typed(self.token.span) == ";" => {
                    told.help("Entries are parted by blanks or commas.")
                }
                Kind::LeftBrace | Kind::LeftBracket => told.help("Its key is missing: write key => { … }."),
                kind if kind.joins() => told.help("Its key is missing."),
                _ => told,
            };
            return self.fault(told);
        }
        let key = self.word();
        let joint = self.token;
        let line_ends = self.is_first_in_line(joint.span);
        match joint.kind {
            kind if kind.joins() => {
                self.advance();
                // `->` and `=>>` leave a piece over.
                if self.token.kind == Kind::Greater && self.token.span.start == joint.span.end {
                    let told = self.unexpected("a value").help("Write `=>`.");
                    self.tell(told)?;
                    self.advance();
                }
            }
            Kind::Equal | Kind::GreaterEqual | Kind::Match | Kind::Greater => {
                let told = self.expected("`=>`", &format!("after {}", self.key_shown(&key))).help("Write `=>`.");
                self.tell(told)?;
                self.advance();
            }
            Kind::Word if self.typed(joint.span).starts_with('-') && self.lexer.following().kind == Kind::Greater => {
                let told = self.expected("`=>`", &format!("after {}", self.key_shown(&key))).help("Write `=>`.");
                self.tell(told)?;
                self.advance();
                self.advance();
            }
            Kind::LeftBrace | Kind::LeftBracket | Kind::Word | Kind::Text { .. }
                if !line_ends && !self.lexer.following().kind.joins() =>
            {
                let told =
                    Diagnostic::error(CODE, joint.span, format!("there is no `=>` after {}", self.key_shown(&key)))
                        .label("expected `=>` before this")
                        .help(format!("Write: {} => {}", self.key_typed(&key), self.value_typed(joint)));
                self.tell(told)?;
            }
            _ => {
                let place = Span { start: key.span.start, end: key.span.end };
                let told = Diagnostic::error(CODE, place, format!("{} has no value", self.key_shown(&key)))
                    .label("expected `=>` after this")
                    .help(format!("Write: {} => \"…\"", self.key_typed(&key)));
                return self.fault(told);
            }
        }
        let first = self.token;
        let is_missing = match first.kind {
            Kind::Word if self.at_statement() => true,
            Kind::Word | Kind::Text { .. } => self.is_first_in_line(first.span) && self.lexer.following().kind.joins(),
            Kind::LeftBrace | Kind::LeftBracket => false,
            _ => true,
        };
        if is_missing {
            let told = match first.kind {
                Kind::Word | Kind::Text { .. } | Kind::RightBrace | Kind::Comma | Kind::End => {
                    let place = Span { start: key.span.start, end: joint.span.end };
                    Diagnostic::error(CODE, place, format!("{} has no value", self.key_shown(&key)))
                        .label("expected a value after this")
                }
                _ => self.unexpected("a value"),
            };
            return self.fault(told);
        }
        let value = self.value()?;
        let equals = joint.kind == Kind::Assign;
        let span = Span { start: key.span.start, end: self.end };
        Ok(Entry { key, value, equals, span })
    }

    fn value(&mut self) -> Parsed<Node> {
        let start = self.token.span;
        match self.token.kind {
            Kind::Word | Kind::Text { .. } => Ok(Node::Word(self.word())),
            Kind::LeftBrace => {
                let opening = self.open(start)?;
                let entries = self.entries(opening);
                Ok(Node::Map(entries, Span { start: start.start, end: self.end }))
            }
            Kind::LeftBracket => {
                let elements = self.array()?;
                Ok(Node::Array(elements, Span { start: start.start, end: self.end }))
            }
            _ => {
                let told = self.unexpected("a value");
                self.fault(told)
            }
        }
    }

    fn array(&mut self) -> Parsed<Vec<Node>> {
        let open = self.token.span;
        let opening = Opening { brace: open, from: open.start, to: open.start };
        self.enter()?;
        self.advance();
        let mut elements = Vec::new();
        loop {
            match self.token.kind {
                Kind::RightBracket => {
                    self.advance();
                    break;
                }
                Kind::Comma => self.advance(),
                Kind::End | Kind::RightBrace => {
                    self.tell_unclosed(opening);
                    break;
                }
                Kind::Word | Kind::Text { .. } if self.lexer.following().kind.joins() => {
                    if self.is_first_in_line(self.token.span) && !elements.is_empty() {
                        self.tell_unclosed(opening);
                        break;
                    }
                    let told = Diagnostic::error(CODE, self.token.span, "keys have no place in `[ … ]`")
                        .label("a key")
                        .help("Write { key => value } for pairs, and [ \"a\", \"b\" ] for a list.");
                    self.leave();
                    return self.fault(told);
                }
                Kind::Word if self.at_statement() => {
                    self.tell_unclosed(opening);
                    break;
                }
                _ => match self.value() {
                    Ok(element) => elements.push(element),
                    Err(fault) => {
                        self.leave();
                        return Err(fault);
                    }
                },
            }
        }
        self.leave();
        Ok(elements)
    }

    // Conditions.

    fn condition(&mut self) -> Parsed<Condition> {
        self.enter()?;
        let read = self.any_of();
        self.leave();
        read
    }

    /// Conditions joined by `or`, which binds less than `and`.
    fn any_of(&mut self) -> Parsed<Condition> {
        let first = self.all_of()?;
        if !self.is_join("or", Kind::Or) {
            return Ok(first);
        }
        let start = first.span;
        let mut conditions = vec![first];
        while self.is_join("or", Kind::Or) {
            self.advance();
            conditions.push(self.all_of()?);
        }
        Ok(Condition { kind: ConditionKind::Or(conditions), span: Span { start: start.start, end: self.end } })
    }

    fn all_of(&mut self) -> Parsed<Condition> {
        let first = self.one()?;
        if !self.is_join("and", Kind::And) {
            return Ok(first);
        }
        let start = first.span;
        let mut conditions = vec![first];
        while self.is_join("and", Kind::And) {
            self.advance();
            conditions.push(self.one()?);
        }
        Ok(Condition { kind: ConditionKind::And(conditions), span: Span { start: start.start, end: self.end } })
    }

    fn is_join(&self, word: &str, sign: Kind) -> bool {
        self.token.kind == sign || self.bare() == word
    }

    /// One condition without `and` and `or` outside of parentheses.
    fn one(&mut self) -> Parsed<Condition> {
        let start = self.token.span;
        match self.token.kind {
            Kind::LeftParen => self.group(),
            Kind::Bang => self.banged(),
            Kind::Word if self.bare() == "not" => {
                self.enter()?;
                self.advance();
                let inner = self.one();
                self.leave();
                let kind = ConditionKind::Not(Box::new(inner?));
                Ok(Condition { kind, span: Span { start: start.start, end: self.end } })
            }
            _ => {
                let left = self.operand(false)?;
                self.comparison(left)
            }
        }
    }

    fn group(&mut self) -> Parsed<Condition> {
        let open = self.token.span;
        self.advance();
        let inner = self.condition()?;
        if self.token.kind != Kind::RightParen {
            let told = match self.token.kind {
                Kind::LeftBrace | Kind::RightBrace | Kind::End => {
                    Diagnostic::error(CODE, open, "this `(` is never closed")
                        .label("opened here")
                        .help("Add `)` where the group ends.")
                }
                kind if kind.compares() => self.chained(),
                _ => self.expected("`)`, `and` or `or`", "in the parentheses"),
            };
            return self.fault(told);
        }
        self.advance();
        if self.token.kind.compares() {
            let told = Diagnostic::error(CODE, self.token.span, "what stands in parentheses cannot be compared")
                .label("a comparison after `)`")
                .help("Take the parentheses on the left away.");
            return self.fault(told);
        }
        let kind = ConditionKind::Group(Box::new(inner));
        Ok(Condition { kind, span: Span { start: open.start, end: self.end } })
    }

    fn chained(&self) -> Diagnostic {
        Diagnostic::error(CODE, self.token.span, "comparisons cannot be chained")
            .label("a second comparison")
            .help("Join them: [a] == \"x\" and [b] == \"y\".")
    }

    /// What begins with `!`. Before a field it binds tighter than a comparison: `![x] != ""` compares whether x is not
    /// true (contracts/cbn.md §1.6).
    fn banged(&mut self) -> Parsed<Condition> {
        let mut bangs = Vec::new();
        while self.token.kind == Kind::Bang {
            bangs.push(self.token.span.start);
            self.enter()?;
            self.advance();
        }
        let inner = self.banged_inner(&bangs);
        for _ in &bangs {
            self.leave();
        }
        inner
    }

    fn banged_inner(&mut self, bangs: &[u32]) -> Parsed<Condition> {
        if self.token.kind == Kind::LeftParen || self.bare() == "not" {
            let inner = self.one()?;
            return Ok(self.negate(inner, bangs));
        }
        let field = self.operand(false)?;
        let compared = self.token.kind.compares() || self.is_in() || self.is_not_in();
        if compared {
            let end = self.end;
            let left = bangs
                .iter()
                .rev()
                .fold(field, |inner, start| Operand::Not(Box::new(inner), Span { start: *start, end }));
            return self.comparison(left);
        }
        let truth = self.truth(field)?;
        Ok(self.negate(truth, bangs))
    }

    fn negate(&self, condition: Condition, bangs: &[u32]) -> Condition {
        bangs.iter().rev().fold(condition, |inner, start| Condition {
            kind: ConditionKind::Not(Box::new(inner)),
            span: Span { start: *start, end: self.end },
        })
    }

    fn is_in(&self) -> bool {
        matches!(self.bare(), "in" | "IN")
    }

    fn is_not_in(&self) -> bool {
        self.bare() == "not" && {
            let following = self.lexer.following();
            following.kind == Kind::Word && matches!(self.typed(following.span), "in" | "IN")
        }
    }

    /// What follows an operand: a comparison, or nothing.
    fn comparison(&mut self, left: Operand) -> Parsed<Condition> {
        let start = left.span();
        let kind = if self.is_in() || self.is_not_in() {
            let negated = self.bare() == "not";
            if negated {
                self.advance();
            }
            self.advance();
            let haystack = self.haystack()?;
            ConditionKind::In { needle: left, haystack, negated }
        } else if let Kind::Match | Kind::NotMatch = self.token.kind {
            let negated = self.token.kind == Kind::NotMatch;
            self.advance();
            let pattern = self.pattern()?;
            ConditionKind::Match { subject: left, pattern, negated }
        } else {
            let comparison = match self.token.kind {
                Kind::Equal => Comparison::Equal,
                Kind::NotEqual => Comparison::NotEqual,
                Kind::Less => Comparison::Less,
                Kind::LessEqual => Comparison::LessEqual,
                Kind::Greater => Comparison::Greater,
                Kind::GreaterEqual => Comparison::GreaterEqual,
                _ => return self.truth(left),
            };
            self.advance();
            let right = self.operand(false)?;
            ConditionKind::Compare(left, comparison, right)
        };
        Ok(Condition { kind, span: Span { start: start.start, end: self.end } })
    }

    /// An operand that stands alone. Only fields and booleans make sense so.
    fn truth(&mut self, operand: Operand) -> Parsed<Condition> {
        let span = operand.span();
        match operand {
            Operand::Field(_) | Operand::Bool(..) => Ok(Condition { kind: ConditionKind::Truth(operand), span }),
            _ => {
                let found = self.token;
                let told = match found.kind {
                    Kind::Assign => self.expected("a comparison", "here").help("Write `==` to compare."),
                    Kind::Arrow => self.expected("a comparison", "here").help("Write `>=` to compare."),
                    _ => Diagnostic::error(CODE, span, "this is compared with nothing")
                        .label("no condition by itself")
                        .help("Compare it with something, as in [field] == \"text\", or write a field."),
                };
                self.fault(told)
            }
        }
    }

    /// The right side of `=~`: a text, a regular expression between slashes, either of them in parentheses, or a field.
    fn pattern(&mut self) -> Parsed<Operand> {
        let in_parentheses = self.token.kind == Kind::LeftParen;
        let open = self.token.span;
        if in_parentheses {
            self.advance();
        }
        let start = self.token.span.start as usize;
        let pattern = if let Some(end) = self.lexer.slashes(start) {
            let word =
                Word { text: unescape(&self.source[start + 1..end - 1]), quote: Quote::Slash, span: span(start, end) };
            self.go_to(end);
            Operand::Text(word)
        } else if matches!(self.token.kind, Kind::Text { .. } | Kind::LeftBracket) {
            self.operand(false)?
        } else {
            let told = self.unexpected("a regular expression").help("Write it in quotes: [field] =~ \"…\".");
            return self.fault(told);
        };
        if in_parentheses {
            if self.token.kind != Kind::RightParen {
                let told = Diagnostic::error(CODE, open, "this `(` is not closed after the regular expression")
                    .label("opened here")
                    .help("Add `)`, or take the `(` away.");
                return self.fault(told);
            }
            self.advance();
        }
        Ok(pattern)
    }

    /// The right side of `in`: a list in brackets or parentheses, a field, or a text.
    fn haystack(&mut self) -> Parsed<Operand> {
        if self.token.kind != Kind::LeftParen {
            return self.operand(true);
        }
        let open = self.token.span;
        self.enter()?;
        self.advance();
        // `([a, b])` and `([field])` are read as if without parentheses.
        if let Some(operand) = self.bracketed_alone()? {
            self.leave();
            return Ok(operand);
        }
        let mut elements = self.elements(open, Kind::RightParen)?;
        self.leave();
        if elements.len() == 1 && matches!(elements[0], Operand::List(..)) {
            return Ok(elements.remove(0));
        }
        Ok(Operand::List(elements, Span { start: open.start, end: self.end }))
    }

    /// `[…])`, a field or one value in brackets with nothing else in the parentheses.
    fn bracketed_alone(&mut self) -> Parsed<Option<Operand>> {
        let Some(end) = self.lexer.field(self.token.span.start as usize) else { return Ok(None) };
        if !self.source[end..].trim_start_matches(is_blank).starts_with(')') {
            return Ok(None);
        }
        let operand = self.bracketed(true)?;
        self.advance();
        Ok(Some(operand))
    }

    /// One side of a comparison. To the right of `in`, one number in brackets is a list, elsewhere it is a field.
    fn operand(&mut self, right_of_in: bool) -> Parsed<Operand> {
        let token = self.token;
        match token.kind {
            Kind::Text { .. } => Ok(Operand::Text(self.word())),
            Kind::Word if is_keyword(self.bare()) => {
                let told = self.unexpected("a field or a value");
                self.fault(told)
            }
            Kind::Word => Ok(scalar(self.word(), Operand::Field)),
            Kind::LeftBracket => self.bracketed(right_of_in),
            _ => {
                let mut told = self.unexpected("a field or a value");
                let start = token.span.start as usize;
                if self.typed(token.span) == "/" || self.lexer.slashes(start).is_some() {
                    told = told.help("Only `=~` and `!~` take a regular expression.");
                } else if matches!(token.kind, Kind::Assign | Kind::Arrow) {
                    told = told.help("The comparisons are == != < <= > >= =~ !~ in, not in.");
                }
                self.fault(told)
            }
        }
    }

    fn bracketed(&mut self, right_of_in: bool) -> Parsed<Operand> {
        let open = self.token.span;
        let start = open.start as usize;
        if let Some(end) = self.lexer.field(start) {
            let typed = &self.source[start..end];
            let inner = typed[1..typed.len() - 1].trim_matches(is_blank);
            let is_value = right_of_in && (number(inner).is_some() || matches!(inner, "true" | "false"));
            if !is_value {
                let word = Word { text: close_up(typed), quote: Quote::Bare, span: span(start, end) };
                self.go_to(end);
                return Ok(Operand::Field(word));
            }
        }
        self.enter()?;
        self.advance();
        let elements = self.elements(open, Kind::RightBracket)?;
        self.leave();
        Ok(Operand::List(elements, Span { start: open.start, end: self.end }))
    }

    /// The elements of a list up to what closes it.
    fn elements(&mut self, open: Span, closing: Kind) -> Parsed<Vec<Operand>> {
        let mut elements = Vec::new();
        loop {
            match self.token.kind {
                kind if kind == closing => {
                    self.advance();
                    return Ok(elements);
                }
                Kind::Comma => self.advance(),
                Kind::Text { .. } => elements.push(Operand::Text(self.word())),
                Kind::Word if !is_keyword(self.bare()) => elements.push(scalar(self.word(), Operand::Text)),
                Kind::LeftBracket => elements.push(self.bracketed(false)?),
                _ => {
                    let sign = if closing == Kind::RightParen { ("(", ")") } else { ("[", "]") };
                    let told = Diagnostic::error(CODE, open, format!("this `{}` is not closed", sign.0))
                        .label("opened here")
                        .help(format!("Add `{}` before {}.", sign.1, self.shown(self.token)));
                    return self.fault(told);
                }
            }
        }
    }

    // Tokens.

    /// The bare word that stands here; empty if there is none.
    fn bare(&self) -> &'s str {
        if self.token.kind == Kind::Word { self.typed(self.token.span) } else { "" }
    }

    /// What was typed at a place.
    fn typed(&self, span: Span) -> &'s str {
        &self.source[span.start as usize..span.end as usize]
    }

    /// Takes the word or text that stands here.
    fn word(&mut self) -> Word {
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
    fn advance(&mut self) {
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
    fn go_to(&mut self, at: usize) {
        self.end = at as u32;
        self.lexer.go_to(at);
        self.take_next();
    }

    fn take_next(&mut self) {
        if self.stopped {
            return;
        }
        self.token = self.lexer.next();
        let Kind::Text { closed, .. } = self.token.kind else { return };
        let span = self.token.span;
        if !closed {
            let told = unclosed_text(self.first_line(span));
            self.told_at = None;
            self.push(told);
        } else if self.typed(span).contains('\n') {
            self.runaway = Some((span, RUNAWAY_TOKENS));
        }
    }

    /// The part of a text that lies on its first line.
    fn first_line(&self, text: Span) -> Span {
        let line = self.typed(text).split('\n').next().unwrap_or_default();
        span(text.start as usize, text.start as usize + line.trim_end().len())
    }

    fn is_first_in_line(&self, place: Span) -> bool {
        let before = &self.source[..place.start as usize];
        before.trim_end_matches(|c| c != '\n' && is_blank(c)).chars().next_back().is_none_or(|c| c == '\n')
    }

    /// Whether a statement begins here, and surely no option.
    fn at_statement(&self) -> bool {
        let word = self.bare();
        if word.is_empty() {
            return false;
        }
        let following = self.lexer.following().kind;
        match word {
            "if" => matches!(following, Kind::LeftBracket | Kind::LeftParen | Kind::Bang | Kind::Word),
            "else" => matches!(following, Kind::LeftBrace | Kind::Word),
            "for" => following == Kind::Word,
            _ => following == Kind::LeftBrace && plugins::NAMES.contains(&word),
        }
    }

    fn begins_condition(&self) -> bool {
        matches!(self.token.kind, Kind::LeftBracket | Kind::LeftParen | Kind::Bang) || self.bare() == "not"
    }

    // Braces.

    /// Takes the `{` of what began at a place. Where it is missing and what belongs into the braces follows, it is told,
    /// and read as if it were there.
    fn open(&mut self, from: Span) -> Parsed<Opening> {
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
    fn close(&mut self, opening: Opening) {
        let brace = self.token.span;
        if self.is_first_in_line(brace) {
            let (wanted, found) = (self.indentation(opening.from), self.indentation(brace.start));
            let one_line = !self.source[opening.from as usize..brace.start as usize].contains('\n');
            if !one_line && found < wanted && self.unclosed.is_none() {
                self.unclosed = Some(opening);
            }
            if !one_line && found > wanted && self.surplus.is_none() {
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
    fn opened_by(&self, opening: Opening) -> String {
        let name = span(opening.from as usize, opening.to.max(opening.from) as usize);
        let line = self.typed(name).split('\n').next().unwrap_or_default();
        format!("`{}`", cut(line.trim_end()))
    }

    fn tell_unclosed(&mut self, opening: Opening) {
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
    fn enter(&mut self) -> Parsed<()> {
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

    fn leave(&mut self) {
        self.depth -= 1;
    }

    // Going on after an error.

    /// After a statement that could not be read: to the next that begins a line, or to the end of the block.
    fn skip_to_statement(&mut self, start: Span) {
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
    fn skip_to_entry(&mut self, start: Span) {
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

    fn skip_one(&mut self, open: &mut usize) {
        match self.token.kind {
            Kind::LeftBrace => *open += 1,
            Kind::RightBrace => *open = open.saturating_sub(1),
            _ => {}
        }
        self.advance();
    }

    /// To the `{` of a block whose head could not be read.
    fn skip_to_brace(&mut self) -> Parsed<()> {
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
    fn skip_braces(&mut self) {
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
    fn stop(&mut self) {
        self.stopped = true;
        self.lexer.go_to(self.source.len());
        let end = self.source.len();
        self.token = Token { kind: Kind::End, span: span(end, end) };
    }

    // Telling.

    /// Tells an error and gives up what is being read.
    fn fault<T>(&mut self, told: Diagnostic) -> Parsed<T> {
        let _ = self.tell(told);
        Err(Fault)
    }

    /// Tells an error. Where a text that runs over several lines stands right before, that is the error, and reading goes
    /// on after its first line: so far nothing can be kept of what is being read.
    fn tell(&mut self, told: Diagnostic) -> Parsed<()> {
        if self.stopped {
            return Err(Fault);
        }
        if let Some((text, _)) = self.runaway.take()
            && self.runaway_told.is_none_or(|told| told < text.start)
        {
            self.runaway_told = Some(text.start);
            let line = self.first_line(text);
            self.told_at = None;
            self.push(unclosed_text(line));
            if !self.stopped {
                self.go_to(line.end as usize);
            }
            return Err(Fault);
        }
        self.push(told);
        Ok(())
    }

    fn push(&mut self, told: Diagnostic) {
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
    fn unexpected(&self, wanted: &str) -> Diagnostic {
        let message = format!("expected {wanted}, found {}", self.shown(self.token));
        let told = Diagnostic::error(CODE, self.token.span, message).label(format!("expected {wanted}"));
        self.hinted(told)
    }

    /// `expected x after z, found y`.
    fn expected(&self, wanted: &str, place: &str) -> Diagnostic {
        let message = format!("expected {wanted} {place}, found {}", self.shown(self.token));
        let told = Diagnostic::error(CODE, self.token.span, message).label(format!("expected {wanted}"));
        self.hinted(told)
    }

    /// Advice for characters that get into programs by pasting.
    fn hinted(&self, told: Diagnostic) -> Diagnostic {
        if self.token.kind != Kind::Stray {
            return told;
        }
        match self.typed(self.token.span) {
            "“" | "”" | "„" | "‘" | "’" | "`" => told.help("Texts stand in straight quotes: \"…\" or '…'."),
            _ => told,
        }
    }

    /// A token for messages.
    fn shown(&self, token: Token) -> String {
        let typed = self.typed(token.span);
        match token.kind {
            Kind::End => "the end of the program".to_owned(),
            Kind::Text { .. } => cut(typed.split('\n').next().unwrap_or_default().trim_end()),
            _ => format!("`{}`", cut(typed)),
        }
    }

    fn key_shown(&self, key: &Word) -> String {
        match key.quote {
            Quote::Bare => format!("`{}`", cut(&key.text)),
            _ => self.key_typed(key),
        }
    }

    fn key_typed(&self, key: &Word) -> String {
        cut(self.typed(key.span).split('\n').next().unwrap_or_default())
    }

    fn value_typed(&self, token: Token) -> String {
        match token.kind {
            Kind::LeftBrace => "{ … }".to_owned(),
            Kind::LeftBracket => "[ … ]".to_owned(),
            _ => cut(self.typed(token.span).split('\n').next().unwrap_or_default()),
        }
    }
}

/// The names that statements begin with.
const STATEMENT_NAMES: [&str; 14] = [
    "if",
    "else",
    "for",
    "base64",
    "csv",
    "date",
    "drop",
    "grok",
    "json",
    "kv",
    "mutate",
    "statedump",
    "translate",
    "xml",
];

fn is_statement_name(word: &str) -> bool {
    STATEMENT_NAMES.contains(&word)
}

/// Whether a word has a meaning of its own in conditions.
fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in" | "IN" | "if" | "else")
}

fn unclosed_text(line: Span) -> Diagnostic {
    Diagnostic::error(CODE, line, "this text is not closed")
        .label("opened here")
        .help("Add the quote at its end; a quote within it needs a backslash before it.")
}

/// A bare word in a condition: a number, a boolean, or whatever else stands there.
fn scalar(word: Word, other: fn(Word) -> Operand) -> Operand {
    match word.text.as_str() {
        "true" => Operand::Bool(true, word.span),
        "false" => Operand::Bool(false, word.span),
        text => match number(text) {
            Some(number) => Operand::Number(number, word.span),
            None => other(word),
        },
    }
}

/// The number that a bare word is. Words that merely read as one (`nan`, `inf`) are not.
pub(super) fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A field without the blanks next to its brackets.
fn close_up(typed: &str) -> String {
    let steps = typed.split_inclusive(']');
    steps
        .map(|step| {
            let name = step.trim_start_matches('[').trim_end_matches(']');
            format!("[{}]", name.trim_matches(is_blank))
        })
        .collect()
}

/// A text for messages, not too long.
fn cut(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
