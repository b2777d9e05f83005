//! Searches of logs: the text to scopes, leading conditions and stages.

use std::ops::Range;

use serde_json::Value;

use super::columns::{Column, Columns};
use super::expression::Expression;
use super::lex::Token;
use super::parse::{Parser, Read, nearest};
use super::path::{Path, Root};
use super::pipeline::{Aggregate, Aggregation, Named, Order, Output, Run, Stage};
use super::{COLUMNS_MAX, Condition, NAME_BYTES_MAX, ROWS_MAX, SCOPES_MAX, STAGES_MAX, Scope, all, predicate};
use crate::{Diagnostic, Mistake, Predicate};

/// A search of logs, such as `search "compartment/group" | data.action = 'REJECT' | count`.
#[derive(Debug, Clone)]
pub struct LogQuery {
    scopes: Vec<ScopeText>,
    filter: Option<Condition>,
    pub(super) stages: Vec<(Stage, Range<usize>)>,
    pub(super) columns: Columns,
}

/// Which logs a search reads, as it is written: each part may be a name or an id. The caller resolves it to a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeText {
    /// The compartment.
    pub compartment: String,
    /// The log group; `_Audit` for audit records.
    pub group: Option<String>,
    /// The log.
    pub log: Option<String>,
    /// Where it stands in the query, without its quotes.
    pub span: Range<usize>,
}

impl ScopeText {
    /// What to say when there is no such compartment, group or log.
    pub fn unknown(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.span.clone(), message)
    }
}

impl LogQuery {
    /// Most rows that come out of a search, and that a stage may hold.
    pub const ROWS_MAX: usize = ROWS_MAX;

    /// Reads a search.
    pub fn parse(text: &str) -> Result<LogQuery, Diagnostic> {
        let mut parser = Parser::new(text)?;
        let scopes = scopes(&mut parser)?;
        let mut leading = Vec::new();
        let mut stages: Vec<(Stage, Range<usize>)> = Vec::new();
        while parser.take_symbol("|") {
            let start = parser.span().start;
            let stage = stage(&mut parser)?;
            let span = start..parser.end();
            if stages.len() + leading.len() == STAGES_MAX {
                let message = format!("more than {STAGES_MAX} stages");
                return Err(Diagnostic::new(span, message).mistake(Mistake::TooLarge));
            }
            match stage {
                Stage::Where(condition) if stages.is_empty() => leading.push(condition),
                // Rows come newest first, so this changes nothing.
                Stage::Sort(orders) if stages.is_empty() && is_newest_first(&orders) => {}
                stage => stages.push((stage, span)),
            }
            if !matches!(parser.token(), Token::End | Token::Symbol("|")) {
                return Err(parser.surprise("expected | or the end"));
            }
        }
        if *parser.token() != Token::End {
            return Err(parser.surprise("expected | and a stage"));
        }
        let filter = (!leading.is_empty()).then(|| Condition::new(all(leading)));
        Ok(LogQuery { scopes, filter, stages, columns: parser.columns })
    }

    /// Which logs it reads, in the order of the query; never empty.
    pub fn scopes(&self) -> &[ScopeText] {
        &self.scopes
    }

    /// The leading conditions: those before any other stage.
    pub fn condition(&self) -> Option<&Condition> {
        self.filter.as_ref()
    }

    /// What to look for in the store: records of these scopes, resolved by the caller, that meet the leading conditions.
    pub fn predicate(&self, scopes: Vec<Scope>) -> Predicate {
        predicate(scopes, self.filter.clone())
    }

    /// Whether every matching row is needed, however few are wanted in the end.
    pub fn reads_all(&self) -> bool {
        self.rows_needed(1).is_none()
    }

    /// How many matching rows, newest first, are enough for this many rows in the end; `None`: all.
    pub fn rows_needed(&self, wanted: usize) -> Option<usize> {
        let mut needed = Some(wanted);
        for (stage, _) in self.stages.iter().rev() {
            needed = stage.rows_needed(needed);
        }
        needed
    }

    /// The remaining stages over rows that the predicate found: `{"datetime": milliseconds, "logContent": {envelope}}`,
    /// newest first. The error is about the query: it asks for more than [`super::ROWS_MAX`] rows, say.
    pub fn run(&self, rows: Vec<Value>) -> Result<Output, Diagnostic> {
        let mut run = self.start(0, None);
        for row in rows {
            if !run.push(row)? {
                break;
            }
        }
        run.finish()
    }

    /// As [`LogQuery::run`], with the rows one by one, so that a count need not hold them. `wanted` is how many rows
    /// anybody wants in the end, behind the first `skip`, which are not held.
    pub fn start(&self, skip: usize, wanted: Option<usize>) -> Run<'_> {
        Run::new(self, skip, wanted)
    }
}

fn is_newest_first(orders: &[Order]) -> bool {
    matches!(orders, [Order { by: Expression::Path(Path { root: Root::Time, .. }), descending: true }])
}

fn scopes(parser: &mut Parser<'_>) -> Result<Vec<ScopeText>, Diagnostic> {
    const EXAMPLE: &str = "write search \"compartment/group/log\" | data.action = 'ACCEPT'";
    if *parser.token() == Token::End {
        return Err(Diagnostic::new(0..0, "the query is empty").help(EXAMPLE));
    }
    if parser.is_word("set") {
        return Err(Diagnostic::new(parser.span(), "parameters are not supported")
            .help("the request's own start and end say which time is searched"));
    }
    if !parser.take_word("search") {
        return Err(parser.surprise("a query begins with search and the logs it reads").help(EXAMPLE));
    }
    let mut scopes = Vec::new();
    loop {
        let span = parser.span();
        let text = match parser.token() {
            Token::Name(name) => name.clone(),
            Token::Text(parts) => parts.join("*"),
            _ if scopes.is_empty() => {
                return Err(parser.surprise("expected the logs to read, in double quotes").help(EXAMPLE));
            }
            _ => return Err(parser.surprise("expected the next logs to read, in double quotes")),
        };
        parser.step();
        if scopes.len() == SCOPES_MAX {
            let message = format!("more than {SCOPES_MAX} scopes");
            return Err(Diagnostic::new(span, message).mistake(Mistake::TooLarge));
        }
        scopes.push(scope(&text, span)?);
        let comma = parser.take_symbol(",");
        if !comma && !matches!(parser.token(), Token::Name(_) | Token::Text(_)) {
            return Ok(scopes);
        }
    }
}

fn scope(text: &str, span: Range<usize>) -> Result<ScopeText, Diagnostic> {
    let mut parts = text.split('/').map(|part| part.trim().to_owned());
    let compartment = parts.next().unwrap_or_default();
    let (group, log) = (parts.next(), parts.next());
    let is_whole =
        [Some(&compartment), group.as_ref(), log.as_ref()].into_iter().flatten().all(|part| !part.is_empty());
    if parts.next().is_some() || !is_whole {
        return Err(Diagnostic::new(span, "not the name of logs")
            .help("write \"compartment\", \"compartment/group\" or \"compartment/group/log\""));
    }
    Ok(ScopeText { compartment, group, log, span: span.start + 1..span.end - 1 })
}

const STAGES: [&str; 10] = ["where", "sort", "top", "select", "summarize", "count", "dedup", "extend", "limit", "head"];

const AGGREGATES: [(&str, Aggregation); 7] = [
    ("count", Aggregation::Count),
    ("sum", Aggregation::Sum),
    ("avg", Aggregation::Avg),
    ("min", Aggregation::Min),
    ("max", Aggregation::Max),
    ("first", Aggregation::First),
    ("last", Aggregation::Last),
];

fn stage(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    let word = match parser.token() {
        Token::Word(word) => word.to_ascii_lowercase(),
        Token::End => return Err(parser.surprise("expected a stage behind |")),
        _ => return Ok(Stage::Where(parser.condition()?)),
    };
    // A column may be called as a stage is: then an operator follows.
    let is_operand = match parser.after() {
        Token::Symbol(symbol) => matches!(*symbol, "=" | "!=" | "<" | "<=" | ">" | ">=" | "." | "+" | "/"),
        Token::Word(word) => ["and", "or", "in", "is"].iter().any(|known| word.eq_ignore_ascii_case(known)),
        _ => false,
    };
    if is_operand || !STAGES.contains(&&word[..]) {
        if !is_operand
            && matches!(parser.after(), Token::Word(_) | Token::Number(_) | Token::Text(_) | Token::Name(_))
            && word != "not"
        {
            let diagnostic = Diagnostic::new(parser.span(), format!("there is no stage `{word}`"));
            return Err(match nearest(&word, STAGES.into_iter()) {
                Some(near) => diagnostic.help(format!("did you mean {near}?")),
                None => diagnostic.help(format!("stages are {}", STAGES.join(", "))),
            });
        }
        return Ok(Stage::Where(parser.condition()?));
    }
    parser.step();
    match &word[..] {
        "where" => Ok(Stage::Where(parser.condition()?)),
        "sort" => sort(parser),
        "top" => top(parser),
        "limit" | "head" => Ok(Stage::Limit(rows(parser)?)),
        "count" => {
            parser.columns = Columns::table(vec![Column { name: "count".to_owned(), origin: None }]);
            Ok(Stage::Count)
        }
        "dedup" => {
            let mut by = Vec::new();
            loop {
                by.push(parser.value()?.expression);
                check_columns(parser, by.len())?;
                if !parser.take_symbol(",") {
                    return Ok(Stage::Dedup(by));
                }
            }
        }
        "extend" => extend(parser),
        "select" => select(parser),
        _ => summarize(parser),
    }
}

fn check_columns(parser: &Parser<'_>, count: usize) -> Result<(), Diagnostic> {
    if count > COLUMNS_MAX {
        let message = format!("more than {COLUMNS_MAX} columns");
        return Err(Diagnostic::new(parser.span(), message).mistake(Mistake::TooLarge));
    }
    Ok(())
}

fn rows(parser: &mut Parser<'_>) -> Result<usize, Diagnostic> {
    let Token::Number(text) = parser.token() else { return Err(parser.surprise("expected a number of rows")) };
    let Some(count) = text.parse::<usize>().ok().filter(|count| (1..=ROWS_MAX).contains(count)) else {
        return Err(Diagnostic::new(parser.span(), format!("a number of rows is 1 to {ROWS_MAX}")));
    };
    parser.step();
    Ok(count)
}

fn order(parser: &mut Parser<'_>, descending: bool) -> Result<Order, Diagnostic> {
    let by = parser.value()?.expression;
    let descending = match (parser.take_word("asc"), parser.take_word("desc")) {
        (true, _) => false,
        (_, true) => true,
        _ => descending,
    };
    Ok(Order { by, descending })
}

fn sort(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    if !parser.take_word("by") {
        return Err(parser.surprise("expected by").help("write sort by datetime desc"));
    }
    let mut orders = Vec::new();
    loop {
        orders.push(order(parser, false)?);
        check_columns(parser, orders.len())?;
        if !parser.take_symbol(",") {
            return Ok(Stage::Sort(orders));
        }
    }
}

fn top(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    let count = rows(parser)?;
    if !parser.take_word("by") {
        return Err(parser.surprise("expected by").help("write top 10 by data.bytesOut"));
    }
    if *parser.token() == Token::Symbol("*") {
        return Err(parser.surprise("`top … by *` is not supported").help("name what to order by, such as datetime"));
    }
    Ok(Stage::Top(count, order(parser, true)?))
}

/// The name behind `as`, if that stands here.
fn alias(parser: &mut Parser<'_>) -> Result<Option<String>, Diagnostic> {
    if !parser.take_word("as") {
        return Ok(None);
    }
    let name = match parser.token() {
        Token::Word(word) => (*word).to_owned(),
        Token::Name(name) if !name.is_empty() => name.clone(),
        Token::Text(_) => {
            return Err(parser.surprise("expected a name").help("names stand plain or in double quotes"));
        }
        _ => return Err(parser.surprise("expected a name")),
    };
    parser.step();
    Ok(Some(name))
}

/// A column that a stage makes: a value, named behind `as` or as it is written.
fn named(parser: &mut Parser<'_>) -> Result<(Named, Range<usize>), Diagnostic> {
    let Read { expression, span, .. } = parser.value()?;
    let expression = match expression {
        Expression::Path(Path { root: Root::Row, .. }) => return Err(Diagnostic::new(span, "expected a value")),
        other => other,
    };
    let name = alias(parser)?.unwrap_or_else(|| written(parser, &span));
    Ok((Named { name, expression }, span.start..parser.end()))
}

/// The text of a span; a lone name in double quotes without them.
fn written(parser: &Parser<'_>, span: &Range<usize>) -> String {
    let text = &parser.text[span.clone()];
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|inner| !inner.contains('"'));
    let name = inner.unwrap_or(text);
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}

fn add(columns: &mut Vec<Column>, column: Column, span: &Range<usize>) -> Result<(), Diagnostic> {
    if columns.iter().any(|known| known.name == column.name) {
        return Err(Diagnostic::new(span.clone(), format!("there are two columns `{}`", column.name))
            .help("give one another name: … as name"));
    }
    columns.push(column);
    Ok(())
}

/// Where a column's values stood in the rows that come in, and from where those had them.
fn origin(parser: &Parser<'_>, expression: &Expression) -> Option<Path> {
    let Expression::Path(path) = expression else { return None };
    match &path.root {
        Root::Column(name) => {
            let column = parser.columns.made().iter().find(|column| column.name == *name)?;
            let mut whole = column.origin.clone()?;
            whole.steps.extend(path.steps.iter().cloned());
            Some(whole)
        }
        _ => Some(path.clone()),
    }
}

fn extend(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    let mut extended: Vec<Named> = Vec::new();
    loop {
        let start = parser.span();
        let assigned = match (parser.token(), parser.after()) {
            (Token::Word(word), Token::Symbol("=")) => Some((*word).to_owned()),
            (Token::Name(name), Token::Symbol("=")) => Some(name.clone()),
            _ => None,
        };
        let column = match assigned {
            Some(name) => {
                parser.step();
                parser.step();
                let expression = parser.value()?.expression;
                if parser.is_word("as") {
                    return Err(parser
                        .surprise("this column has a name already")
                        .help(format!("write {name} = …, or (…) as name")));
                }
                Named { name, expression }
            }
            None => named(parser)?.0,
        };
        if ["logContent", "datetime"].contains(&&column.name[..]) {
            return Err(Diagnostic::new(start.start..parser.end(), format!("`{}` is the entry's own", column.name))
                .help("give the column another name"));
        }
        parser.columns.extend(Column { name: column.name.clone(), origin: None });
        extended.push(column);
        check_columns(parser, parser.columns.made().len())?;
        if !parser.take_symbol(",") {
            return Ok(Stage::Extend(extended));
        }
    }
}

fn select(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    let mut selected = Vec::new();
    let mut columns = Vec::new();
    loop {
        let span = parser.span();
        if parser.take_symbol("*") {
            for column in every(parser) {
                add(
                    &mut columns,
                    Column { name: column.name.clone(), origin: origin(parser, &column.expression) },
                    &span,
                )?;
                selected.push(column);
            }
        } else {
            let (column, span) = named(parser)?;
            add(&mut columns, Column { name: column.name.clone(), origin: origin(parser, &column.expression) }, &span)?;
            selected.push(column);
        }
        check_columns(parser, selected.len())?;
        if !parser.take_symbol(",") {
            parser.columns = Columns::table(columns);
            return Ok(Stage::Select(selected));
        }
    }
}

/// All columns that there are.
fn every(parser: &Parser<'_>) -> Vec<Named> {
    let path = |root: Root| Expression::Path(Path { root, steps: Vec::new() });
    let mut all = Vec::new();
    if parser.columns.has_entry() {
        all.push(Named { name: "datetime".to_owned(), expression: path(Root::Time) });
        all.push(Named { name: "logContent".to_owned(), expression: path(Root::Entry) });
    }
    let made = parser.columns.made().iter();
    all.extend(
        made.map(|column| Named { name: column.name.clone(), expression: path(Root::Column(column.name.clone())) }),
    );
    all
}

fn summarize(parser: &mut Parser<'_>) -> Result<Stage, Diagnostic> {
    let mut aggregates = Vec::new();
    let mut made = Vec::new();
    loop {
        let start = parser.span();
        let aggregate = aggregate(parser)?;
        let column = Column { name: aggregate.name.clone(), origin: None };
        add(&mut made, column, &(start.start..parser.end()))?;
        aggregates.push(aggregate);
        check_columns(parser, made.len())?;
        if !parser.take_symbol(",") {
            break;
        }
    }
    let mut by = Vec::new();
    if parser.take_word("by") {
        let mut grouped = Vec::new();
        loop {
            let (column, span) = named(parser)?;
            let origin = origin(parser, &column.expression);
            add(&mut grouped, Column { name: column.name.clone(), origin }, &span)?;
            by.push(column);
            check_columns(parser, made.len() + by.len())?;
            if !parser.take_symbol(",") {
                break;
            }
        }
        for column in std::mem::take(&mut made) {
            add(&mut grouped, column, &parser.span())?;
        }
        made = grouped;
    }
    parser.columns = Columns::table(made);
    Ok(Stage::Summarize(aggregates, by))
}

fn aggregate(parser: &mut Parser<'_>) -> Result<Aggregate, Diagnostic> {
    let start = parser.span();
    let Token::Word(word) = *parser.token() else {
        return Err(parser.surprise("expected an aggregate such as count() or sum(data.bytesOut)"));
    };
    let lower = word.to_ascii_lowercase();
    let Some((_, aggregation)) = AGGREGATES.iter().find(|(name, _)| *name == lower) else {
        let diagnostic = Diagnostic::new(start, format!("`{word}` is no aggregate"));
        return Err(match nearest(&lower, AGGREGATES.iter().map(|(name, _)| *name)) {
            Some(near) => diagnostic.help(format!("did you mean {near}?")),
            None => diagnostic.help("aggregates are count, sum, avg, min, max, first, last"),
        });
    };
    parser.step();
    parser.expect_symbol("(", "expected ( behind an aggregate")?;
    let is_empty = *parser.token() == Token::Symbol(")");
    // Any row, as with nothing in between.
    let of = if is_empty || parser.take_symbol("*") { None } else { Some(parser.value()?.expression) };
    if of.is_none() && *aggregation != Aggregation::Count {
        return Err(Diagnostic::new(start.start..parser.span().end, format!("{lower} is of something"))
            .help(format!("write {lower}(data.bytesOut)")));
    }
    parser.expect_symbol(")", "expected )")?;
    let span = start.start..parser.end();
    let name = match alias(parser)? {
        Some(name) => name,
        None if of.is_none() => lower,
        None => written(parser, &span),
    };
    Ok(Aggregate { name, aggregation: *aggregation, of })
}
