//! Reads a program: recursive descent over the grammar of contracts/cbn.md §1.1, with all that real programs rely on
//! (`=` for `=>`, missing commas, `&&`, regular expressions in parentheses, …).
//!
//! A program that is wrong is read to its end, so that all its errors are told at once. Two slips get care, since what
//! follows them makes no sense otherwise: a missing brace is told at the brace that it should have closed, and a missing
//! quote, after which texts and what stands between them change places, at the line of the text that runs on.
//!
//! `condition.rs` reads conditions, `tokens.rs` takes tokens and counts braces, `slips.rs` tells errors and finds where to
//! go on.
//!
//! Names mean nothing here, but for one thing: a plugin's name at the start of a line helps to see where a block was not
//! closed.

mod condition;
mod slips;
#[cfg(test)]
mod tests;
mod tokens;

pub(super) use self::condition::number;
use self::slips::{cut, near};
use self::tokens::{is_statement_name, statement_names};
use super::ast::{
    Branch, Condition, ConditionKind, Entry, File, For, If, Node, Over, Plugin, Quote, Span, Statement, StatementKind,
    Word,
};
use super::lex::{Kind, Lexer, Token, is_blank, span};
use crate::diagnostic::{Diagnostic, line_column};
use crate::plugins;

/// How deep blocks, conditions and values may be nested, all together.
pub const DEPTH_MAX: usize = 200;

/// The largest program that is read, in bytes. A tree may take forty times as much; real programs stay below 1 MiB.
pub const SOURCE_BYTES_MAX: usize = 4 << 20;

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

/// For how many tokens after a text that seems to run on an error is put down to it.
const RUNAWAY_TOKENS: u8 = 12;

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
    /// A text that seems to run on to the opening quote of another, and for how many tokens more an error is put down to
    /// it.
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
                if let Ok(statements) = self.filter() {
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
        !word.is_empty() && !is_statement_name(word) && near(word, ["filter"]).is_some()
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
        // A known plugin without its brace is read as if it had one; what an unknown name was meant for, nobody knows.
        if self.token.kind != Kind::LeftBrace && !plugins::NAMES.contains(&name.text.as_str()) {
            let mut told = self.expected("`{`", &format!("after `{}`", cut(&name.text)));
            if self.token.kind.joins() {
                told = told.help(format!(
                    "An option stands inside of a plugin, as in mutate {{ {} => … }}; a `}}` before it may close too early.",
                    cut(&name.text)
                ));
            } else if let Some(near) = near(&name.text, statement_names()) {
                told = told.help(format!("Did you mean `{near}`?"));
            }
            return self.fault(told);
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
            kind if kind.compares() => self.chained(),
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
        let Ok(looped) = self.for_head() else {
            self.skip_to_brace()?;
            let opening = self.open(start)?;
            self.block(opening);
            return Err(Fault);
        };
        let opening = self.open(start)?;
        let body = self.block(opening);
        Ok(For { body, ..looped })
    }

    /// A loop without its body, from its variables on.
    fn for_head(&mut self) -> Parsed<For> {
        let first = self.variable()?;
        let (index, item) = if self.token.kind == Kind::Comma {
            self.advance();
            (Some(first), self.variable()?)
        } else {
            (None, first)
        };
        if !matches!(self.bare(), "in" | "IN") {
            let told = self
                .expected("`in`", "after the variables of the loop")
                .help("Write: for item in list { … }, or for index, item in list { … }.");
            return self.fault(told);
        }
        self.advance();
        let over = self.over()?;
        let map = self.bare() == "map";
        if map {
            self.advance();
        }
        if self.token.kind != Kind::LeftBrace && !self.at_statement() {
            let mut told = self.expected("`{`", "after what the loop goes through");
            if self.bare().eq_ignore_ascii_case("map") {
                told = told.help("Write `map` in small letters.");
            }
            return self.fault(told);
        }
        Ok(For { index, item, over, map, body: Vec::new() })
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
            Kind::End => {
                let told = self.unexpected("an XPath");
                return self.fault(told);
            }
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
        let joint = self.joint(&key)?;
        self.tell_missing_value(&key, joint)?;
        let value = self.value()?;
        let span = Span { start: key.span.start, end: self.end };
        Ok(Entry { key, value, equals: joint.kind == Kind::Assign, span })
    }

    /// What stands between a key and its value. What was surely meant to is told, and taken for it.
    fn joint(&mut self, key: &Word) -> Parsed<Token> {
        let joint = self.token;
        match joint.kind {
            kind if kind.joins() => {
                self.advance();
                // Of `=>>` a piece is left over.
                if self.token.kind == Kind::Greater && self.token.span.start == joint.span.end {
                    let told = self.unexpected("a value").help("Write `=>`.");
                    self.tell(told)?;
                    self.advance();
                }
            }
            Kind::Equal | Kind::GreaterEqual | Kind::Match | Kind::Greater => {
                let told = self.expected("`=>`", &format!("after {}", self.key_shown(key))).help("Write `=>`.");
                self.tell(told)?;
                self.advance();
            }
            // `->` is a word and a sign.
            Kind::Word if self.typed(joint.span).starts_with('-') && self.lexer.following().kind == Kind::Greater => {
                let told = self.expected("`=>`", &format!("after {}", self.key_shown(key))).help("Write `=>`.");
                self.tell(told)?;
                self.advance();
                self.advance();
            }
            Kind::LeftBrace | Kind::LeftBracket | Kind::Word | Kind::Text { .. }
                if !self.is_first_in_line(joint.span) && !self.lexer.following().kind.joins() =>
            {
                let message = format!("there is no `=>` after {}", self.key_shown(key));
                let told = Diagnostic::error(CODE, joint.span, message)
                    .label("expected `=>` before this")
                    .help(format!("Write: {} => {}", self.key_typed(key), self.value_typed(joint)));
                self.tell(told)?;
            }
            _ => {
                let told = Diagnostic::error(CODE, key.span, format!("{} has no value", self.key_shown(key)))
                    .label("expected `=>` after this")
                    .help(format!("Write: {} => \"…\"", self.key_typed(key)));
                return self.fault(told);
            }
        }
        Ok(joint)
    }

    /// Tells it if no value follows: what begins a line and has a value of its own is the next key.
    fn tell_missing_value(&mut self, key: &Word, joint: Token) -> Parsed<()> {
        let first = self.token;
        match first.kind {
            Kind::LeftBrace | Kind::LeftBracket => return Ok(()),
            Kind::Word if self.at_statement() => {}
            Kind::Word | Kind::Text { .. } => {
                let is_key = self.is_first_in_line(first.span) && self.lexer.following().kind.joins();
                if !is_key {
                    return Ok(());
                }
            }
            Kind::RightBrace | Kind::Comma | Kind::End => {}
            _ => {
                let told = self.unexpected("a value");
                return self.fault(told);
            }
        }
        // Where a text runs on, the joint is not where it seemed to be.
        let place = Span { start: key.span.start, end: joint.span.end.max(key.span.end) };
        let told = Diagnostic::error(CODE, place, format!("{} has no value", self.key_shown(key)))
            .label("expected a value after this");
        self.fault(told)
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
                let elements = self.nested(Self::array)?;
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
                    self.tell(told)?;
                    while !matches!(self.token.kind, Kind::RightBracket | Kind::RightBrace | Kind::End) {
                        self.advance();
                    }
                }
                Kind::Word if self.at_statement() => {
                    self.tell_unclosed(opening);
                    break;
                }
                _ => elements.push(self.value()?),
            }
        }
        Ok(elements)
    }
}
