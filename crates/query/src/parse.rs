//! UDM search text to a [`Predicate`], and the search of raw logs of Google's API, which joins its conditions alike.
//!
//! ```text
//! query     = or
//! or        = and ("OR" and)*
//! and       = unary ("AND"? unary)*
//! unary     = "NOT" unary | "(" or ")" | condition
//! condition = ("any" | "all")? field op value
//! op        = "=" | "!=" | "<" | "<=" | ">" | ">="
//! value     = "text" "nocase"? | `text` "nocase"? | /regex/ "nocase"? | number | true | false
//! ```
//!
//! What the language means (contracts/cbn.md §4.1, and Google's pages on search where they say more):
//!
//! - Words are read in any letter case. AND binds closer than OR; conditions side by side are ANDed.
//! - A field that is unset reads as its type's zero value: `x != "a"` matches events without `x`, `port < 5` those
//!   without a port, `x != ""` asks whether `x` is set.
//! - Of a field with several values, one must pass, for `!=` too: `ip != "10.0.0.1"` matches an event with that address
//!   and another. `all` asks for every value; `NOT ip = "10.0.0.1"` says that no value is that one.
//! - A list of messages is taken apart: a field in it has one value for each message, the zero value where it is unset.
//! - A grouped field has the set values of all its fields; it reads as `""` only when none is set.
//! - Text compares without regard to case unless [`Options::case_sensitive`] says otherwise; `nocase` says so for one
//!   condition. A regular expression minds case unless `nocase` follows it.
//! - A query reads one kind of record, events or entities: those that have every field it names.

use std::ops::Range;
use std::sync::Arc;

use event::Kind;
use regex::RegexBuilder;
use udm::{FieldPath, Instant, LeafKind, Root, Schema, Selection, UnknownField};

use crate::predicate::{Body, Condition, Expression, Table, Udm};
use crate::raw::{Raw, check_length, syntax};
use crate::test::{Op, Quoted, Test};
use crate::{CONDITIONS_MAX, Diagnostic, Mistake, NESTING_MAX, Predicate, REGEX_BYTES_MAX, REGEXES_MAX};

/// How a UDM search is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Text that is compared with `=` and `!=` minds letter case. Off by default: Google's search ignores it.
    pub case_sensitive: bool,
}

/// Reads a UDM search.
pub fn parse_udm(text: &str, schema: &Arc<Schema>, options: Options) -> Result<Predicate, Diagnostic> {
    check_length(text)?;
    let mut parser = Parser::new(text, Language::Udm(schema), options.case_sensitive);
    let expression = parser.whole()?;
    parser.finish(schema, expression)
}

/// Reads a search of raw logs as Google's API takes it: conditions on `raw`, joined as in UDM search, or one text in
/// quotes, or one regular expression in slashes, or else a plain text that is searched for as it stands.
///
/// Text and expressions ignore letter case unless `case_sensitive`; `nocase` makes one condition ignore it all the same.
pub fn parse_raw(text: &str, case_sensitive: bool) -> Result<Predicate, Diagnostic> {
    check_length(text)?;
    let mut parser = Parser::new(text, Language::Raw, case_sensitive);
    if has_raw_conditions(text) {
        let expression = parser.whole()?;
        let mut raws: Vec<Option<Raw>> = parser.raws.into_iter().map(Some).collect();
        return Ok(Predicate { body: raw_body(expression, &mut raws), kinds: vec![Kind::Raw] });
    }
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    if trimmed.is_empty() {
        return Err(parser.empty());
    }
    // Two slashes begin a comment, and the paths of some.
    if trimmed.starts_with(['"', '`', '/']) && !trimmed.starts_with("//") {
        parser.at = start;
        // What only begins like a text in quotes is a plain text: `"GET /" 404`.
        let value = parser.raw_value().and_then(|raw| parser.space().map(|()| raw));
        if parser.rest().is_empty() {
            return Ok(value?.into());
        }
    }
    Ok(Raw::text(trimmed, case_sensitive, start..start + trimmed.len())?.into())
}

/// Whether a search of raw logs is made of conditions: it begins with one, or has one whose value is in quotes or
/// slashes somewhere.
pub fn has_raw_conditions(text: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.');
    text.match_indices("raw").any(|(at, word)| {
        let before = &text[..at];
        let behind = text[at + word.len()..].trim_start();
        let value = behind.trim_start_matches(['!', '<', '=', '>']);
        if value.len() == behind.len() {
            return false;
        }
        !before.ends_with(is_word) && (before.trim().is_empty() || value.trim_start().starts_with(['"', '`', '/']))
    })
}

fn raw_body(expression: Expression, raws: &mut [Option<Raw>]) -> Body {
    let mut bodies = |parts: Vec<Expression>| parts.into_iter().map(|part| raw_body(part, raws)).collect();
    match expression {
        Expression::All(parts) => Body::All(bodies(parts)),
        Expression::One(parts) => Body::One(bodies(parts)),
        Expression::Not(inner) => Body::Not(Box::new(raw_body(*inner, raws))),
        Expression::Is(index) => Body::Raw(raws[index].take().expect("each condition stands in one place")),
    }
}

/// A condition with its field as found in each kind of record.
struct Read {
    condition: Condition,
    span: Range<usize>,
    /// Its fields among events, among entities; `None` where it has none.
    places: [Option<Vec<FieldPath>>; 2],
}

/// A field as a condition names it.
struct Field {
    span: Range<usize>,
    name: String,
    grouped: bool,
    kind: LeafKind,
    places: [Option<Vec<FieldPath>>; 2],
}

/// What conditions are about.
#[derive(Clone, Copy)]
enum Language<'a> {
    Udm(&'a Arc<Schema>),
    Raw,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    language: Language<'a>,
    case_sensitive: bool,
    nesting: usize,
    conditions: Vec<Read>,
    /// The conditions of a search of raw logs.
    raws: Vec<Raw>,
    regexes: usize,
}

const ROOTS: [(Root, Kind); 2] = [(Root::Event, Kind::Udm), (Root::Entity, Kind::Entity)];

impl<'a> Parser<'a> {
    fn new(text: &'a str, language: Language<'a>, case_sensitive: bool) -> Parser<'a> {
        Parser {
            text,
            at: 0,
            language,
            case_sensitive,
            nesting: 0,
            conditions: Vec::new(),
            raws: Vec::new(),
            regexes: 0,
        }
    }

    /// All of the query as one expression.
    fn whole(&mut self) -> Result<Expression, Diagnostic> {
        self.space()?;
        if self.rest().is_empty() {
            return Err(self.empty());
        }
        let expression = self.or()?;
        if !self.rest().is_empty() {
            return Err(self.surprise("expected AND, OR or a condition"));
        }
        Ok(expression)
    }

    fn empty(&self) -> Diagnostic {
        Diagnostic::new(0..0, "the query is empty").help(format!("write a condition such as {}", self.example()))
    }

    fn example(&self) -> &'static str {
        match self.language {
            Language::Udm(_) => "principal.ip = \"10.0.0.1\"",
            Language::Raw => "raw = \"failed\"",
        }
    }

    fn finish(self, schema: &Arc<Schema>, expression: Expression) -> Result<Predicate, Diagnostic> {
        let mut kinds = Vec::new();
        let mut tables = Vec::new();
        for (index, (root, kind)) in ROOTS.into_iter().enumerate() {
            let mut paths = Vec::new();
            let mut owners = Vec::new();
            let mut whole = true;
            for (number, read) in self.conditions.iter().enumerate() {
                match &read.places[index] {
                    None => whole = false,
                    Some(places) => {
                        owners.extend(places.iter().map(|_| number));
                        paths.extend(places.iter().cloned());
                    }
                }
            }
            if whole {
                kinds.push(kind);
                tables.push(Table { kind, selection: Selection::new(schema, root, &paths), owners });
            }
        }
        if kinds.is_empty() {
            return Err(self.mixed());
        }
        let conditions = self.conditions.into_iter().map(|read| read.condition).collect();
        let udm = Udm { schema: Arc::clone(schema), expression, conditions, tables };
        Ok(Predicate { body: Body::Udm(udm), kinds })
    }

    /// No kind of record has all the fields.
    fn mixed(&self) -> Diagnostic {
        let lacks = |root: usize| self.conditions.iter().find(|read| read.places[root].is_none());
        let (event, entity) = (lacks(1), lacks(0));
        match (event, entity) {
            (Some(event), Some(entity)) => Diagnostic::new(
                event.span.start.max(entity.span.start)..event.span.end.max(entity.span.end),
                format!("{} is a field of events, {} one of entities", event.condition.field, entity.condition.field),
            )
            .help("a search reads one kind of record: search events and entities one after the other"),
            _ => Diagnostic::new(0..0, "no kind of record has all of these fields"),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips white space and comments.
    fn space(&mut self) -> Result<(), Diagnostic> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                match trimmed.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => {
                        return Err(
                            Diagnostic::new(self.at..self.at + 2, "this comment has no end").help("close it with */")
                        );
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    /// The word that stands here, if any.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end =
            rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_').unwrap_or(rest.len());
        &rest[..end]
    }

    /// Whether this word stands here, by itself.
    fn is_word(&self, word: &str) -> bool {
        let found = self.word();
        found.eq_ignore_ascii_case(word) && !matches!(self.rest().as_bytes().get(found.len()), Some(b'.' | b'['))
    }

    fn take_word(&mut self, word: &str) -> Result<bool, Diagnostic> {
        if !self.is_word(word) {
            return Ok(false);
        }
        self.at += word.len();
        self.space()?;
        Ok(true)
    }

    fn deeper(&mut self, from: usize) -> Result<(), Diagnostic> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("nested deeper than {NESTING_MAX}");
            return Err(Diagnostic::new(from..self.at, message).mistake(Mistake::TooLarge));
        }
        Ok(())
    }

    fn or(&mut self) -> Result<Expression, Diagnostic> {
        let mut parts = vec![self.and()?];
        while self.take_word("or")? {
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::One(parts) })
    }

    fn and(&mut self) -> Result<Expression, Diagnostic> {
        let mut parts = vec![self.unary()?];
        loop {
            if !self.take_word("and")? && (self.rest().is_empty() || self.rest().starts_with(')') || self.is_word("or"))
            {
                break;
            }
            parts.push(self.unary()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn unary(&mut self) -> Result<Expression, Diagnostic> {
        let from = self.at;
        if self.take_word("not")? {
            self.deeper(from)?;
            let inner = self.unary()?;
            self.nesting -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.rest().starts_with('(') {
            self.at += 1;
            self.deeper(from)?;
            self.space()?;
            let inner = self.or()?;
            if !self.rest().starts_with(')') {
                return Err(if self.rest().is_empty() {
                    Diagnostic::new(from..from + 1, "this parenthesis is not closed").mistake(Mistake::OpenBracket)
                } else {
                    self.surprise("expected AND, OR, a condition or `)`")
                });
            }
            self.at += 1;
            self.space()?;
            self.nesting -= 1;
            return Ok(inner);
        }
        self.condition()
    }

    fn condition(&mut self) -> Result<Expression, Diagnostic> {
        match self.language {
            Language::Udm(schema) => self.udm_condition(schema),
            Language::Raw => self.raw_condition(),
        }
    }

    /// A name stands here that a condition may begin with.
    fn check_name(&self) -> Result<(), Diagnostic> {
        if self.word().is_empty() || self.rest().starts_with(|character: char| character.is_ascii_digit()) {
            return Err(self.surprise(&format!("expected a condition, such as {}", self.example())));
        }
        for word in ["and", "or", "not", "any", "all", "nocase", "in"] {
            if self.is_word(word) {
                return Err(self.surprise("expected a condition before this word"));
            }
        }
        Ok(())
    }

    fn raw_condition(&mut self) -> Result<Expression, Diagnostic> {
        let from = self.at;
        self.check_name()?;
        let path = self.path();
        if path != "raw" {
            let message = format!("a search of raw logs compares `raw` alone, not `{path}`");
            return Err(Diagnostic::new(from..self.at, message)
                .mistake(Mistake::Field)
                .help(format!("write conditions such as {}", self.example())));
        }
        self.space()?;
        let (op, op_span) = self.op()?;
        let equal = match op {
            Op::Eq => true,
            Op::Ne => false,
            _ => return Err(Diagnostic::new(op_span, "`raw` cannot be ordered: only = and != apply")),
        };
        self.space()?;
        let raw = self.raw_value()?;
        self.space()?;
        if self.raws.len() == CONDITIONS_MAX {
            let message = format!("more than {CONDITIONS_MAX} conditions");
            return Err(Diagnostic::new(from..self.at, message).mistake(Mistake::TooLarge));
        }
        self.raws.push(raw);
        let is = Expression::Is(self.raws.len() - 1);
        Ok(if equal { is } else { Expression::Not(Box::new(is)) })
    }

    /// A text or regular expression that raw logs are searched for.
    fn raw_value(&mut self) -> Result<Raw, Diagnostic> {
        let from = self.at;
        match self.rest().chars().next() {
            Some('/') => {
                let source = self.regex()?;
                let inside = from + 1..(self.at - 1).max(from + 1);
                let nocase = self.nocase()?;
                self.count_regex(&inside)?;
                Raw::pattern(&source, self.case_sensitive && !nocase, inside)
            }
            Some('"' | '`') => {
                let text = self.string()?;
                let span = from..self.at;
                let nocase = self.nocase()?;
                Raw::text(&text, self.case_sensitive && !nocase, span)
            }
            _ => Err(self.surprise("expected a text in quotes or a regular expression in slashes")),
        }
    }

    fn udm_condition(&mut self, schema: &'a Arc<Schema>) -> Result<Expression, Diagnostic> {
        let from = self.at;
        let (mut every, mut quantified) = (false, false);
        for word in ["any", "all"] {
            if !quantified && self.is_word(word) {
                self.at += word.len();
                self.space()?;
                (every, quantified) = (word == "all", true);
            }
        }
        self.check_name()?;
        let field_from = self.at;
        let path = self.path();
        self.space()?;
        if self.rest().starts_with('(') || self.rest().starts_with(':') {
            let what = if self.rest().starts_with('(') { "functions are" } else { "sections such as match: are" };
            return Err(Diagnostic::new(field_from..self.at + 1, format!("{what} not supported yet"))
                .help("a search is made of conditions such as principal.ip = \"10.0.0.1\""));
        }
        if self.is_word("in") || self.is_word("not") {
            return Err(Diagnostic::new(
                self.at..self.at + self.word().len(),
                "lists (`in %name`) are not supported yet",
            )
            .help("compare with each value: x = \"a\" OR x = \"b\""));
        }
        let field = self.field(schema, field_from..field_from + path.len(), path)?;
        let op = self.op()?;
        self.space()?;
        let test = self.value(schema, &field, op)?;
        self.space()?;
        if self.conditions.len() == CONDITIONS_MAX {
            let message = format!("more than {CONDITIONS_MAX} conditions");
            return Err(Diagnostic::new(from..self.at, message).mistake(Mistake::TooLarge));
        }
        let leaf = field.places.iter().flatten().flatten().all(FieldPath::is_leaf);
        let condition = Condition { field: field.name, grouped: field.grouped, leaf, every, quantified, test };
        self.conditions.push(Read { condition, span: field.span, places: field.places });
        Ok(Expression::Is(self.conditions.len() - 1))
    }

    /// The text of a field's path: names, points and quoted keys.
    fn path(&mut self) -> &'a str {
        let bytes = self.rest().as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => end += 1,
                b'[' => {
                    end += 1;
                    if bytes.get(end) == Some(&b'"') {
                        end += 1;
                        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
                            end += if *byte == b'\\' && end + 1 < bytes.len() { 2 } else { 1 };
                        }
                        end = (end + 1).min(bytes.len());
                    }
                    if bytes.get(end) == Some(&b']') {
                        end += 1;
                    }
                }
                _ => break,
            }
        }
        // An escape may have stepped into the middle of a character.
        while !self.rest().is_char_boundary(end) {
            end += 1;
        }
        let path = &self.rest()[..end];
        self.at += end;
        path
    }

    fn field(&self, schema: &Schema, span: Range<usize>, path: &str) -> Result<Field, Diagnostic> {
        if let Some(grouped) = schema.grouped().iter().find(|grouped| grouped.name == path) {
            return Ok(Field {
                span,
                name: path.to_owned(),
                grouped: true,
                kind: LeafKind::Text,
                places: [Some(grouped.paths.clone()), None],
            });
        }
        let found = ROOTS.map(|(root, _)| schema.resolve(root, path));
        let (name, kind) = match &found {
            [Ok(first), Ok(second)] if first.kind() == second.kind() => (first.as_str().to_owned(), first.kind()),
            [Ok(found), _] | [Err(_), Ok(found)] => (found.as_str().to_owned(), found.kind()),
            [Err(event), Err(entity)] => return Err(unknown(schema, &span, path, event, entity)),
        };
        if kind == LeafKind::Message {
            return Err(Diagnostic::new(span, format!("`{name}` is not a value but holds fields"))
                .mistake(Mistake::Field)
                .help(format!("name one of its fields: {name}.…")));
        }
        let places = found.map(|found| found.ok().filter(|found| found.kind() == kind).map(|found| vec![found]));
        Ok(Field { span, name, grouped: false, kind, places })
    }

    fn op(&mut self) -> Result<(Op, Range<usize>), Diagnostic> {
        let rest = self.rest();
        let from = self.at;
        for (text, better) in [("==", "="), ("=~", "= /regex/"), ("!~", "!= /regex/"), ("<>", "!=")] {
            if rest.starts_with(text) {
                return Err(
                    Diagnostic::new(from..from + 2, format!("`{text}` is no operator")).help(format!("write {better}"))
                );
            }
        }
        for (text, op) in [("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("=", Op::Eq), ("<", Op::Lt), (">", Op::Gt)]
        {
            if rest.starts_with(text) {
                self.at += text.len();
                return Ok((op, from..self.at));
            }
        }
        Err(self.surprise("expected an operator: = != < <= > >="))
    }

    fn value(&mut self, schema: &Schema, field: &Field, (op, op_span): (Op, Range<usize>)) -> Result<Test, Diagnostic> {
        let from = self.at;
        let equality = |test: fn(bool) -> bool| match op {
            Op::Eq => Ok(test(true)),
            Op::Ne => Ok(test(false)),
            _ => Err(Diagnostic::new(
                op_span.clone(),
                format!("`{}` cannot be ordered: only = and != apply", field.name),
            )),
        };
        match self.rest().chars().next() {
            Some('/') => {
                let source = self.regex()?;
                let span = from..self.at;
                let nocase = self.nocase()?;
                match field.kind {
                    LeafKind::Text | LeafKind::Bytes | LeafKind::Dynamic => {}
                    LeafKind::Enum(_) => {
                        return Err(Diagnostic::new(
                            span,
                            format!("`{}` is an enum: regular expressions do not apply", field.name),
                        )
                        .help("compare with each value: x = \"A\" OR x = \"B\""));
                    }
                    kind => {
                        return Err(Diagnostic::new(
                            span,
                            format!("`{}` is {}: regular expressions do not apply", field.name, describe(kind)),
                        ));
                    }
                }
                let equal = equality(|equal| equal)?;
                Ok(Test::Regex { equal, regex: Box::new(self.compile(&source, nocase, span)?), source, nocase })
            }
            Some('"' | '`') => {
                let value = self.string()?;
                let span = from..self.at;
                let nocase = self.nocase()?;
                self.text_test((schema, field), op, equality, value, span, nocase)
            }
            Some('%') => Err(Diagnostic::new(from..from + 1, "lists (`%name`) are not supported yet")),
            Some('$') => Err(Diagnostic::new(from..from + 1, "variables (`$name`) are not supported yet")),
            Some(character) if character.is_ascii_digit() || character == '-' || character == '.' => {
                let text = self.number();
                let span = from..self.at;
                self.number_test(field, op, text, span)
            }
            Some(character) if character.is_ascii_alphabetic() => {
                let word = self.word();
                let span = from..from + word.len();
                let truth = match word.to_ascii_lowercase().as_str() {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                };
                match (truth, field.kind) {
                    (Some(value), LeafKind::Bool | LeafKind::Dynamic) if self.is_word(word) => {
                        self.at += word.len();
                        Ok(Test::Bool { equal: equality(|equal| equal)?, value })
                    }
                    (None, LeafKind::Enum(_)) => {
                        Err(Diagnostic::new(span, "enum values are quoted").help(format!("write \"{word}\"")))
                    }
                    _ => Err(Diagnostic::new(span, format!("`{}` is {}", field.name, describe(field.kind)))
                        .help(format!("compare it with {}", example(field.kind)))),
                }
            }
            None => Err(Diagnostic::new(op_span, "expected a value after this operator")
                .help(format!("compare it with {}", example(field.kind)))),
            Some(_) => Err(self.surprise("expected a value")),
        }
    }

    fn text_test(
        &self,
        (schema, field): (&Schema, &Field),
        op: Op,
        equality: impl Fn(fn(bool) -> bool) -> Result<bool, Diagnostic>,
        value: String,
        span: Range<usize>,
        nocase: bool,
    ) -> Result<Test, Diagnostic> {
        match field.kind {
            LeafKind::Text | LeafKind::Bytes | LeafKind::Dynamic => {
                let folded = (nocase || !self.case_sensitive).then(|| udm::fold(&value));
                Ok(Test::Text { equal: equality(|equal| equal)?, value, folded, nocase })
            }
            LeafKind::Enum(id) => {
                let equal = equality(|equal| equal)?;
                // An empty name is the unset value.
                let name = value.to_ascii_uppercase();
                let number = if name.is_empty() { Some(0) } else { schema.enum_number(id, &name) };
                if let Some(number) = number {
                    return Ok(Test::Enum { equal, number, id, written: name });
                }
                let mut near: Vec<(f64, &str)> = schema
                    .enum_names(id)
                    .map(|known| (strsim::normalized_damerau_levenshtein(&name, known), known))
                    .collect();
                near.sort_by(|a, b| b.0.total_cmp(&a.0));
                let likely: Vec<String> = near
                    .iter()
                    .filter(|(score, _)| *score >= 0.5)
                    .take(3)
                    .map(|(_, name)| format!("\"{name}\""))
                    .collect();
                let diagnostic = Diagnostic::new(span, format!("`{}` has no value {}", field.name, Quoted(&value)));
                Err(if likely.is_empty() {
                    let some: Vec<&str> = schema.enum_names(id).take(6).collect();
                    diagnostic.help(format!("its values are {}, …", some.join(", ")))
                } else {
                    diagnostic.help(format!("did you mean {}?", likely.join(" or ")))
                })
            }
            LeafKind::Time => {
                match Instant::parse(&value) {
                    Some(time) => Ok(Test::Time(op, time, value)),
                    None => Err(Diagnostic::new(span, "not a timestamp")
                        .help("write RFC 3339, such as \"2026-11-21T20:15:00Z\"")),
                }
            }
            LeafKind::Duration => match udm::parse_duration(&value) {
                Some(nanos) => Ok(Test::Duration(op, nanos, value)),
                None => Err(Diagnostic::new(span, "not a duration").help("write seconds, such as \"1.5s\"")),
            },
            LeafKind::Int { .. } | LeafKind::Float | LeafKind::Bool | LeafKind::Message => {
                Err(Diagnostic::new(span, format!("`{}` is {}, not text", field.name, describe(field.kind)))
                    .help(format!("compare it with {}, without quotes", example(field.kind))))
            }
        }
    }

    fn number_test(&self, field: &Field, op: Op, text: &str, span: Range<usize>) -> Result<Test, Diagnostic> {
        match field.kind {
            LeafKind::Int { .. } => match text.parse::<i128>() {
                Ok(number) => Ok(Test::Int(op, number)),
                Err(_) => Err(Diagnostic::new(span, format!("`{}` is a whole number, {text} is none", field.name))),
            },
            LeafKind::Float | LeafKind::Dynamic => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Test::Float(op, number)),
                _ => Err(Diagnostic::new(span, format!("{text} is not a number"))),
            },
            LeafKind::Time => Err(Diagnostic::new(span, format!("`{}` is a point in time, not a number", field.name))
                .help(format!(
                    "write {}.seconds {} {text}, or compare with \"2026-11-21T20:15:00Z\"",
                    field.name,
                    op.text()
                ))),
            LeafKind::Enum(_) => Err(Diagnostic::new(span, format!("`{}` is an enum", field.name))
                .help("compare it with a value's name in quotes")),
            kind => Err(Diagnostic::new(span, format!("`{}` is {}, not a number", field.name, describe(kind))).help(
                format!(
                    "write {}",
                    if kind == LeafKind::Text { format!("\"{text}\"") } else { example(kind).to_owned() }
                ),
            )),
        }
    }

    fn number(&mut self) -> &'a str {
        let bytes = self.rest().as_bytes();
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'-' | b'+' if end == 0 || matches!(bytes[end - 1], b'e' | b'E') => end += 1,
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'_' => end += 1,
                _ => break,
            }
        }
        let text = &self.rest()[..end];
        self.at += end;
        text
    }

    fn nocase(&mut self) -> Result<bool, Diagnostic> {
        let end = self.at;
        self.space()?;
        if self.is_word("nocase") {
            self.at += "nocase".len();
            return Ok(true);
        }
        self.at = end;
        Ok(false)
    }

    /// A text in quotes (with escapes) or backquotes (as it stands).
    fn string(&mut self) -> Result<String, Diagnostic> {
        let from = self.at;
        let quote = self.rest().chars().next().unwrap_or('"');
        let open = Diagnostic::new(from..from + 1, "this text has no end").mistake(Mistake::OpenQuote);
        let mut out = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                _ if character == quote => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\n' => return Err(open.help("close it on the same line; write \\n for a line feed")),
                '\\' if quote == '"' => {
                    let Some((_, escaped)) = characters.next() else { return Err(open) };
                    out.push(match escaped {
                        '\\' | '"' | '\'' | '/' => escaped,
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        other => {
                            return Err(Diagnostic::new(
                                from + at..from + at + 1 + other.len_utf8(),
                                format!("`\\{other}` is no escape"),
                            )
                            .help("write \\\\ for a backslash, or put the text in backquotes: `C:\\Users`"));
                        }
                    });
                }
                other => out.push(other),
            }
        }
        Err(open)
    }

    /// A regular expression between slashes, with `\/` made `/`.
    fn regex(&mut self) -> Result<String, Diagnostic> {
        let from = self.at;
        let mut out = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '/' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\n' => break,
                '\\' => match characters.next() {
                    Some((_, '/')) => out.push('/'),
                    Some((_, '\n')) | None => break,
                    Some((_, other)) => {
                        out.push('\\');
                        out.push(other);
                    }
                },
                other => out.push(other),
            }
        }
        Err(Diagnostic::new(from..from + 1, "this regular expression has no end")
            .mistake(Mistake::OpenQuote)
            .help("close it with / on the same line; write \\/ for a slash"))
    }

    fn count_regex(&mut self, span: &Range<usize>) -> Result<(), Diagnostic> {
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            let message = format!("more than {REGEXES_MAX} regular expressions");
            return Err(Diagnostic::new(span.clone(), message).mistake(Mistake::TooLarge));
        }
        Ok(())
    }

    fn compile(&mut self, source: &str, nocase: bool, span: Range<usize>) -> Result<regex::Regex, Diagnostic> {
        self.count_regex(&span)?;
        let inside = span.start + 1..span.end.saturating_sub(1).max(span.start + 1);
        // Parsed by itself first: the regex crate's own error has no place.
        regex_syntax::ParserBuilder::new()
            .case_insensitive(nocase)
            .nest_limit(NESTING_MAX as u32)
            .build()
            .parse(source)
            .map_err(|error| syntax(&error, inside, source))?;
        RegexBuilder::new(source)
            .case_insensitive(nocase)
            .nest_limit(NESTING_MAX as u32)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|_| Diagnostic::new(span, "this regular expression is too large").mistake(Mistake::TooLarge))
    }

    /// Something stands here that cannot.
    fn surprise(&self, expected: &str) -> Diagnostic {
        let rest = self.rest();
        let Some(character) = rest.chars().next() else {
            return Diagnostic::new(self.at..self.at, format!("{expected}, but the query ends here"));
        };
        let len = match self.word().len() {
            0 => character.len_utf8(),
            len => len,
        };
        let span = self.at..self.at + len;
        let unsupported = match character {
            '$' => "variables (`$name`) are",
            '%' => "lists (`%name`) are",
            '#' => "counts (`#name`) are",
            '{' | '}' => "stages are",
            '|' => "pipes are",
            ':' => "sections such as match: are",
            '+' | '*' | '-' => "arithmetic is",
            _ => return Diagnostic::new(span, expected),
        };
        Diagnostic::new(span, format!("{unsupported} not supported yet"))
            .help(format!("a search is made of conditions such as {}", self.example()))
    }
}

fn unknown(
    schema: &Schema,
    span: &Range<usize>,
    path: &str,
    event: &UnknownField,
    entity: &UnknownField,
) -> Diagnostic {
    // The kind of record in which more of the path holds is the one that was meant.
    let (error, other) = if entity.span.start > event.span.start { (entity, event) } else { (event, entity) };
    let mut nearest: Vec<String> = error.nearest.clone();
    nearest.extend(other.nearest.iter().filter(|_| other.span.start == error.span.start).cloned());
    if !path.contains('.') {
        let wanted = path.to_ascii_lowercase();
        let grouped = schema.grouped().iter().map(|grouped| grouped.name);
        let mut near: Vec<(f64, &str)> =
            grouped.map(|name| (strsim::normalized_damerau_levenshtein(&wanted, name), name)).collect();
        near.retain(|(score, _)| *score >= 0.6);
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        nearest.splice(0..0, near.into_iter().map(|(_, name)| name.to_owned()));
    }
    let mut seen = Vec::new();
    nearest.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    nearest.truncate(3);
    let place = span.start + error.span.start..span.start + error.span.end;
    let diagnostic = Diagnostic::new(place, format!("unknown field: {}", error.message)).mistake(Mistake::Field);
    match (path, nearest.is_empty()) {
        ("raw", _) => diagnostic.help("raw text is searched by itself, not within a UDM search"),
        (_, true) => diagnostic,
        (_, false) => diagnostic.help(format!("did you mean {}?", nearest.join(" or "))),
    }
}

fn describe(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Text => "text",
        LeafKind::Bytes => "bytes",
        LeafKind::Bool => "true or false",
        LeafKind::Int { .. } => "a whole number",
        LeafKind::Float => "a number",
        LeafKind::Enum(_) => "an enum",
        LeafKind::Time => "a point in time",
        LeafKind::Duration => "a length of time",
        LeafKind::Dynamic => "a free-form value",
        LeafKind::Message => "a message",
    }
}

fn example(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::Text | LeafKind::Dynamic | LeafKind::Message => "text in quotes, such as \"value\"",
        LeafKind::Bytes => "base64 text in quotes",
        LeafKind::Bool => "true or false",
        LeafKind::Int { .. } => "a whole number, such as 443",
        LeafKind::Float => "a number, such as 0.5",
        LeafKind::Enum(_) => "a value's name in quotes",
        LeafKind::Time => "a time in quotes, such as \"2026-11-21T20:15:00Z\"",
        LeafKind::Duration => "a duration in quotes, such as \"1.5s\"",
    }
}
