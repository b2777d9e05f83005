//! Tokens to expressions, by the power with which operators bind. The stages of a search are read in `log_query.rs` with
//! the same parser.

use std::ops::Range;

use super::columns::Columns;
use super::expression::{Arithmetic, Expression, Function, check_time_format, interval_millis, power};
use super::lex::{Spanned, Token, tokens};
use super::path::{Path, Root, Step};
use super::value::{Check, Literal, Number, Pattern, Scalar, Text};
use super::{NESTING_MAX, OPERATIONS_MAX, PATH_STEPS_MAX, WILDCARDS_MAX};
use crate::raw::check_length;
use crate::test::Op;
use crate::{CONDITIONS_MAX, Diagnostic, Mistake};

/// Reads a whole text as one condition.
pub(super) fn condition(text: &str) -> Result<Expression, Diagnostic> {
    let mut parser = Parser::new(text)?;
    if *parser.token() == Token::End {
        return Err(Diagnostic::new(0..0, "the condition is empty")
            .help("write one such as data.action = 'ACCEPT', or true for everything"));
    }
    if parser.is_word("search") && matches!(parser.after(), Token::Name(_) | Token::Text(_)) {
        return Err(Diagnostic::new(parser.span(), "a condition stands alone, without a search before it")
            .help("leave out `search \"…\" |`: the connector's source says which logs are read"));
    }
    let condition = parser.condition()?;
    match parser.token() {
        Token::End => Ok(condition),
        Token::Symbol("|") => {
            Err(Diagnostic::new(parser.span(), "a condition has no stages").help("join conditions with and, or"))
        }
        _ => Err(parser.surprise("expected and, or, or the end")),
    }
}

/// Something that was read, with its place.
pub(super) struct Read {
    pub(super) expression: Expression,
    pub(super) span: Range<usize>,
    /// It is a text only where a condition belongs: a name in double quotes that names nothing. Elsewhere this is wrong.
    no_value: Option<Box<Diagnostic>>,
}

impl Read {
    fn new(expression: Expression, span: Range<usize>) -> Read {
        Read { expression, span, no_value: None }
    }
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    tokens: Vec<Spanned<'a>>,
    at: usize,
    /// What names stand for.
    pub(super) columns: Columns,
    nesting: usize,
    conditions: usize,
    operations: usize,
}

const AGGREGATES: [&str; 7] = ["sum", "avg", "min", "max", "count", "first", "last"];

const FUNCTIONS: [&str; 13] = [
    "contains_ci",
    "contains_cs",
    "concat",
    "upper",
    "lower",
    "substr",
    "isNull",
    "isNotNull",
    "time_format",
    "rounddown",
    "not",
    "and",
    "or",
];

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Parser<'a>, Diagnostic> {
        check_length(text)?;
        let tokens = tokens(text)?;
        Ok(Parser { text, tokens, at: 0, columns: Columns::entries(), nesting: 0, conditions: 0, operations: 0 })
    }

    pub(super) fn token(&self) -> &Token<'a> {
        &self.tokens[self.at].token
    }

    /// The token behind this one.
    pub(super) fn after(&self) -> &Token<'a> {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].token
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.tokens[self.at].span.clone()
    }

    /// Where the token before this one ends.
    pub(super) fn end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.tokens[before].span.end)
    }

    pub(super) fn step(&mut self) {
        // The last token is the end, which nothing steps over.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.token(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.step();
        }
        found
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.token(), Token::Symbol(found) if *found == symbol);
        if found {
            self.step();
        }
        found
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str, expected: &str) -> Result<(), Diagnostic> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.surprise(expected)) }
    }

    /// Something stands here that cannot.
    pub(super) fn surprise(&self, expected: &str) -> Diagnostic {
        match self.token() {
            Token::End => Diagnostic::new(self.span(), format!("{expected}, but the query ends here")),
            _ => Diagnostic::new(self.span(), expected),
        }
    }

    /// Reads an expression that is true or false.
    pub(super) fn condition(&mut self) -> Result<Expression, Diagnostic> {
        let read = self.expression(0)?;
        self.truth(read)
    }

    /// Reads an expression that is worth a value.
    pub(super) fn value(&mut self) -> Result<Read, Diagnostic> {
        let mut read = self.expression(0)?;
        match read.no_value.take() {
            Some(diagnostic) => Err(*diagnostic),
            None => Ok(read),
        }
    }

    fn deeper(&mut self, span: &Range<usize>) -> Result<(), Diagnostic> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("nested deeper than {NESTING_MAX}");
            return Err(Diagnostic::new(span.clone(), message).mistake(Mistake::TooLarge));
        }
        Ok(())
    }

    /// Reads as long as operators bind at least so closely.
    fn expression(&mut self, least: u8) -> Result<Read, Diagnostic> {
        let mut left = self.operand()?;
        loop {
            let power = match self.token() {
                Token::Word(word) if word.eq_ignore_ascii_case("or") => power::OR,
                Token::Word(word) if word.eq_ignore_ascii_case("and") => power::AND,
                Token::Word(word) if word.eq_ignore_ascii_case("in") || word.eq_ignore_ascii_case("not") => {
                    power::COMPARE
                }
                Token::Symbol("=" | "!=" | "<" | "<=" | ">" | ">=") => power::COMPARE,
                Token::Symbol("+" | "-") => power::ADD,
                Token::Symbol("*" | "/") => power::MULTIPLY,
                _ => return Ok(left),
            };
            if power < least {
                return Ok(left);
            }
            left = match power {
                power::OR | power::AND => self.joined(left, power)?,
                power::COMPARE => self.comparison(left)?,
                _ => self.arithmetic(left, power)?,
            };
        }
    }

    fn joined(&mut self, left: Read, power: u8) -> Result<Read, Diagnostic> {
        let word = if power == power::OR { "or" } else { "and" };
        let start = left.span.start;
        let mut parts = vec![self.truth(left)?];
        while self.take_word(word) {
            let right = self.expression(power + 1)?;
            parts.push(self.truth(right)?);
        }
        let expression = if power == power::OR { Expression::One(parts) } else { Expression::All(parts) };
        Ok(Read::new(expression, start..self.end()))
    }

    fn arithmetic(&mut self, left: Read, power: u8) -> Result<Read, Diagnostic> {
        let operation = match self.token() {
            Token::Symbol("+") => Arithmetic::Add,
            Token::Symbol("-") => Arithmetic::Subtract,
            Token::Symbol("*") => Arithmetic::Multiply,
            _ => Arithmetic::Divide,
        };
        let sign = self.span();
        self.step();
        self.operations += 1;
        if self.operations > OPERATIONS_MAX {
            let message = format!("more than {OPERATIONS_MAX} arithmetic operations");
            return Err(Diagnostic::new(sign, message).mistake(Mistake::TooLarge));
        }
        let right = self.expression(power + 1)?;
        for side in [&left, &right] {
            self.check_number(side, operation, &sign, &left, &right)?;
        }
        let span = left.span.start..right.span.end;
        let expression = Expression::Arithmetic(operation, Box::new(left.expression), Box::new(right.expression));
        Ok(Read::new(expression, span))
    }

    /// Texts and conditions cannot be calculated with.
    fn check_number(
        &self,
        side: &Read,
        operation: Arithmetic,
        sign: &Range<usize>,
        left: &Read,
        right: &Read,
    ) -> Result<(), Diagnostic> {
        let is_text = match &side.expression {
            Expression::Literal(Literal::Number(_)) | Expression::Path(_) => return Ok(()),
            Expression::Arithmetic(..) | Expression::Negative(_) => return Ok(()),
            Expression::Call(function, _) if !function.is_condition() => return Ok(()),
            Expression::Literal(Literal::Text(_)) => true,
            _ => false,
        };
        let what = if is_text { "a text" } else { "a condition" };
        let diagnostic =
            Diagnostic::new(side.span.clone(), format!("{what} cannot be calculated with: `{}`", operation.text()));
        let is_dashed =
            operation == Arithmetic::Subtract && left.span.end == sign.start && sign.end == right.span.start;
        Err(match () {
            () if is_text && operation == Arithmetic::Add => diagnostic.help("join texts with concat(a, b)"),
            () if is_dashed => diagnostic.help("a name with a dash stands in double quotes: \"a-b\""),
            () => diagnostic,
        })
    }

    fn comparison(&mut self, left: Read) -> Result<Read, Diagnostic> {
        let sign = self.span();
        let negated = self.take_word("not");
        if self.take_word("in") {
            return self.list(left, negated, sign);
        }
        if negated {
            return Err(self.surprise("expected in").help("write x not in ('a', 'b'), or not before the condition"));
        }
        let op = match self.token() {
            Token::Symbol("=") => Op::Eq,
            Token::Symbol("!=") => Op::Ne,
            Token::Symbol("<") => Op::Lt,
            Token::Symbol("<=") => Op::Le,
            Token::Symbol(">") => Op::Gt,
            _ => Op::Ge,
        };
        self.step();
        if *self.token() == Token::End {
            return Err(Diagnostic::new(sign, "expected a value after this operator")
                .help("texts stand in single quotes: 'ACCEPT'"));
        }
        let quoted = self.quoted_text();
        let right = match quoted {
            Some(read) => read,
            None => self.expression(power::COMPARE + 1)?,
        };
        if matches!(self.token(), Token::Symbol("=" | "!=" | "<" | "<=" | ">" | ">=")) || self.is_word("in") {
            return Err(Diagnostic::new(self.span(), "comparisons cannot be chained").help("join two with and"));
        }
        self.count_condition(&left.span)?;
        let span = left.span.start..right.span.end;
        let expression = compared(left, op, right, &sign)?;
        Ok(Read::new(expression, span))
    }

    /// A name in double quotes where a value belongs and that names nothing: what was meant is a text, and as one it may
    /// have wildcards.
    fn quoted_text(&mut self) -> Option<Read> {
        let Token::Name(name) = self.token() else { return None };
        if matches!(self.after(), Token::Symbol("." | "[")) || self.columns.knows(name) {
            return None;
        }
        // More wildcards than a text may have are one text that nothing matches but itself.
        let parts = if name.matches('*').count() > WILDCARDS_MAX {
            vec![name.clone()]
        } else {
            name.split('*').map(str::to_owned).collect()
        };
        let read = Read::new(Expression::Literal(Literal::Text(Text::new(Pattern::new(parts)))), self.span());
        self.step();
        Some(read)
    }

    fn count_condition(&mut self, span: &Range<usize>) -> Result<(), Diagnostic> {
        self.conditions += 1;
        if self.conditions > CONDITIONS_MAX {
            let message = format!("more than {CONDITIONS_MAX} conditions");
            return Err(Diagnostic::new(span.clone(), message).mistake(Mistake::TooLarge));
        }
        Ok(())
    }

    /// The values behind `in`.
    fn list(&mut self, left: Read, negated: bool, sign: Range<usize>) -> Result<Read, Diagnostic> {
        let close = if self.take_symbol("[") {
            "]"
        } else {
            self.expect_symbol("(", "expected a list such as ('a', 'b')")?;
            ")"
        };
        let mut literals = Vec::new();
        loop {
            let read = match self.quoted_text() {
                Some(read) => read,
                None => self.expression(power::ADD)?,
            };
            let Expression::Literal(literal) = read.expression else {
                return Err(Diagnostic::new(read.span, "a list is made of texts, numbers, true and false"));
            };
            if matches!(literal, Literal::Null) {
                return Err(Diagnostic::new(read.span, "null stands in no list").help("add: or isNull(x)"));
            }
            check_time(&left.expression, &literal, &read.span)?;
            self.count_condition(&read.span)?;
            literals.push(literal);
            if !self.take_symbol(",") {
                break;
            }
        }
        self.expect_symbol(close, if close == ")" { "expected , or )" } else { "expected , or ]" })?;
        if matches!(left.expression, Expression::Literal(_)) {
            return Err(Diagnostic::new(left.span.start..sign.end, "a field stands before in"));
        }
        let span = left.span.start..self.end();
        let expression = Expression::Is(Box::new(left.expression), Check::In(literals), negated);
        Ok(Read::new(expression, span))
    }

    /// What operators stand between.
    fn operand(&mut self) -> Result<Read, Diagnostic> {
        let span = self.span();
        match self.token().clone() {
            Token::Number(text) => {
                self.step();
                let Some(number) = Number::parse(text) else {
                    return Err(Diagnostic::new(span, format!("`{text}` is no number"))
                        .help(format!("texts stand in single quotes: '{text}'")));
                };
                Ok(Read::new(Expression::Literal(Literal::Number(number)), span))
            }
            Token::Text(parts) => {
                self.step();
                Ok(Read::new(Expression::Literal(Literal::Text(Text::new(Pattern::new(parts)))), span))
            }
            Token::Symbol("-" | "+") => self.signed(span),
            Token::Symbol("(") => {
                self.step();
                self.deeper(&span)?;
                let inner = self.expression(0)?;
                if !self.take_symbol(")") {
                    return Err(match self.token() {
                        Token::End => {
                            Diagnostic::new(span, "this parenthesis is not closed").mistake(Mistake::OpenBracket)
                        }
                        _ => self.surprise("expected and, or, or )"),
                    });
                }
                self.nesting -= 1;
                Ok(Read { span: span.start..self.end(), ..inner })
            }
            Token::Word(word) => self.word(word, span),
            Token::Name(_) => self.name(),
            Token::Symbol("*") => Err(self
                .surprise("expected a field or value")
                .help("for everything in the entry write logContent: logContent = '*text*'")),
            _ => Err(self.surprise("expected a condition, such as data.action = 'ACCEPT'")),
        }
    }

    /// A path that begins with a name in double quotes; or, where it stands alone and names nothing, a text.
    fn name(&mut self) -> Result<Read, Diagnostic> {
        let is_alone = match self.after() {
            Token::End | Token::Symbol("|" | ")") => true,
            Token::Word(word) => word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or"),
            _ => false,
        };
        let before = self.at;
        match self.path() {
            Err(unknown) if is_alone => {
                self.at = before;
                let mut text = self.quoted_text().ok_or_else(|| unknown.clone())?;
                text.no_value = Some(Box::new(unknown));
                Ok(text)
            }
            read => read,
        }
    }

    fn signed(&mut self, span: Range<usize>) -> Result<Read, Diagnostic> {
        let is_minus = *self.token() == Token::Symbol("-");
        self.step();
        self.deeper(&span)?;
        let inner = self.expression(power::NEGATIVE)?;
        self.nesting -= 1;
        let whole = span.start..inner.span.end;
        let expression = match (inner.expression, is_minus) {
            (Expression::Literal(Literal::Number(Number::Int(number))), true) => {
                Expression::Literal(Literal::Number(Number::Int(-number)))
            }
            (Expression::Literal(Literal::Number(Number::Float(number))), true) => {
                Expression::Literal(Literal::Number(Number::Float(-number)))
            }
            (expression @ Expression::Literal(Literal::Number(_)), false) => expression,
            (expression @ (Expression::Path(_) | Expression::Arithmetic(..) | Expression::Negative(_)), true) => {
                Expression::Negative(Box::new(expression))
            }
            (expression @ Expression::Call(function, _), true) if !function.is_condition() => {
                Expression::Negative(Box::new(expression))
            }
            _ => return Err(Diagnostic::new(span, "a sign stands before a number")),
        };
        Ok(Read::new(expression, whole))
    }

    fn word(&mut self, word: &str, span: Range<usize>) -> Result<Read, Diagnostic> {
        let lower = word.to_ascii_lowercase();
        let is_path = matches!(self.after(), Token::Symbol("." | "["));
        if !is_path {
            let literal = match &lower[..] {
                "true" => Some(Literal::Bool(true)),
                "false" => Some(Literal::Bool(false)),
                "null" => Some(Literal::Null),
                _ => None,
            };
            if let Some(literal) = literal {
                self.step();
                return Ok(Read::new(Expression::Literal(literal), span));
            }
            match &lower[..] {
                "not" => {
                    self.step();
                    self.deeper(&span)?;
                    let inner = self.expression(power::NOT)?;
                    self.nesting -= 1;
                    let end = inner.span.end;
                    let expression = Expression::Not(Box::new(self.truth(inner)?));
                    return Ok(Read::new(expression, span.start..end));
                }
                "and" | "or" | "in" | "by" | "as" | "asc" | "desc" if !self.columns.knows(word) => {
                    return Err(self
                        .surprise("expected a condition before this word")
                        .help(format!("a field of that name stands in double quotes: data.\"{word}\"")));
                }
                _ => {}
            }
            if *self.after() == Token::Symbol("(") {
                return self.call(&lower, word, span);
            }
        }
        self.path()
    }

    fn call(&mut self, lower: &str, word: &str, span: Range<usize>) -> Result<Read, Diagnostic> {
        let counts = match lower {
            "contains_ci" | "contains_cs" => 2..=3,
            "isnull" | "isnotnull" | "upper" | "lower" => 1..=1,
            "concat" => 1..=16,
            "substr" => 2..=3,
            "time_format" | "rounddown" => 2..=2,
            _ => return Err(unknown_function(lower, word, span)),
        };
        self.step();
        self.step();
        self.deeper(&span)?;
        let mut arguments: Vec<Read> = Vec::new();
        if *self.token() != Token::Symbol(")") {
            loop {
                let quoted = if arguments.is_empty() { None } else { self.quoted_text() };
                arguments.push(match quoted {
                    Some(read) => read,
                    None => self.value()?,
                });
                if !self.take_symbol(",") {
                    break;
                }
            }
        }
        if !self.take_symbol(")") {
            return Err(match self.token() {
                Token::End => {
                    Diagnostic::new(span, "this function's parenthesis is not closed").mistake(Mistake::OpenBracket)
                }
                _ => self.surprise("expected , or )"),
            });
        }
        self.nesting -= 1;
        let whole = span.start..self.end();
        if !counts.contains(&arguments.len()) {
            let wanted = match (counts.start(), counts.end()) {
                (1, 1) => "one argument".to_owned(),
                (least, most) if least == most => format!("{least} arguments"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            return Err(Diagnostic::new(whole, format!("{lower} takes {wanted}, not {}", arguments.len())));
        }
        let expression = match lower {
            "isnull" | "isnotnull" => {
                self.count_condition(&whole)?;
                let argument = arguments.remove(0);
                if matches!(argument.expression, Expression::Literal(_)) {
                    return Err(
                        Diagnostic::new(argument.span, "expected a field").help("names do not stand in single quotes")
                    );
                }
                Expression::Is(Box::new(argument.expression), Check::Present, lower == "isnull")
            }
            "contains_ci" | "contains_cs" => self.contains(lower, arguments, &whole)?,
            _ => {
                let function = match lower {
                    "concat" => Function::Concat,
                    "upper" => Function::Upper,
                    "lower" => Function::Lower,
                    "substr" => Function::Substr,
                    "time_format" => Function::TimeFormat,
                    _ => Function::RoundDown,
                };
                check_arguments(function, &arguments)?;
                Expression::Call(function, arguments.into_iter().map(|argument| argument.expression).collect())
            }
        };
        Ok(Read::new(expression, whole))
    }

    fn contains(
        &mut self,
        name: &str,
        mut arguments: Vec<Read>,
        whole: &Range<usize>,
    ) -> Result<Expression, Diagnostic> {
        self.count_condition(whole)?;
        let mut ignore_case = name == "contains_ci";
        if arguments.len() == 3
            && let Some(last) = arguments.pop()
        {
            let Expression::Literal(Literal::Bool(minds_case)) = last.expression else {
                return Err(Diagnostic::new(last.span, "the third argument says whether case counts: true or false"));
            };
            ignore_case = !minds_case;
        }
        let needle = arguments.pop().expect("the number of arguments was checked");
        let left = arguments.pop().expect("the number of arguments was checked");
        if matches!(left.expression, Expression::Literal(_)) {
            return Err(Diagnostic::new(left.span, "expected a field").help("write contains_ci(data.message, 'text')"));
        }
        match needle.expression {
            Expression::Literal(Literal::Text(text)) => {
                if text.pattern.parts().iter().all(|part| part.is_empty()) {
                    return Err(Diagnostic::new(needle.span, "there is no text to look for"));
                }
                Ok(Expression::Is(Box::new(left.expression), Check::contains(&text.pattern, ignore_case), false))
            }
            Expression::Literal(_) => {
                Err(Diagnostic::new(needle.span, "what is looked for is a text").help("texts stand in single quotes"))
            }
            other => {
                let function = if ignore_case { Function::ContainsCi } else { Function::ContainsCs };
                Ok(Expression::Call(function, vec![left.expression, other]))
            }
        }
    }

    fn path(&mut self) -> Result<Read, Diagnostic> {
        let start = self.span();
        let mut names = Vec::new();
        let mut steps = Vec::new();
        loop {
            let span = self.span();
            let name = match self.token() {
                Token::Word(word) => (*word).to_owned(),
                Token::Name(name) => name.clone(),
                _ => return Err(self.surprise("expected a name after the point")),
            };
            self.step();
            if steps.is_empty() {
                names.push(span);
            }
            steps.push(Step::Key(name));
            while self.take_symbol("[") {
                match self.token() {
                    Token::Number(text) if text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                        steps.push(Step::Element(text.parse().expect("nine digits fit")));
                        self.step();
                    }
                    // Any element: what a path through a list means anyway.
                    Token::Symbol("*") => self.step(),
                    _ => return Err(self.surprise("expected the number of an element, counted from 0")),
                }
                self.expect_symbol("]", "expected ]")?;
            }
            if steps.len() > PATH_STEPS_MAX {
                let message = format!("a path of more than {PATH_STEPS_MAX} steps");
                return Err(Diagnostic::new(start.start..self.end(), message).mistake(Mistake::TooLarge));
            }
            if !self.take_symbol(".") {
                break;
            }
        }
        let span = start.start..self.end();
        let path = self.columns.resolve(steps, &start, &span)?;
        Ok(Read::new(Expression::Path(path), span))
    }

    /// What an expression is as a condition: a text is looked for everywhere in the entry, a field must be true.
    pub(super) fn truth(&mut self, read: Read) -> Result<Expression, Diagnostic> {
        match read.expression {
            Expression::Literal(Literal::Text(text)) => {
                self.count_condition(&read.span)?;
                if text.pattern.parts().iter().all(|part| part.is_empty()) {
                    return Err(Diagnostic::new(read.span, "there is no text to look for"));
                }
                let root = if self.columns.has_entry() { Root::Entry } else { Root::Row };
                let mut parts = vec![String::new()];
                parts.extend(text.pattern.parts().iter().filter(|part| !part.is_empty()).cloned());
                parts.push(String::new());
                let everywhere = Expression::Path(Path { root, steps: Vec::new() });
                let check = Check::Equal(Literal::Text(Text::new(Pattern::new(parts))));
                Ok(Expression::Is(Box::new(everywhere), check, false))
            }
            Expression::Path(path) => {
                self.count_condition(&read.span)?;
                if path.root == Root::Time || (path.root == Root::Entry && path.steps.is_empty()) {
                    return Err(Diagnostic::new(read.span, format!("`{path}` is neither true nor false"))
                        .help("compare it with something"));
                }
                Ok(Expression::Is(Box::new(Expression::Path(path)), Check::Equal(Literal::Bool(true)), false))
            }
            expression @ (Expression::Literal(Literal::Bool(_))
            | Expression::Is(..)
            | Expression::Compare(..)
            | Expression::All(_)
            | Expression::One(_)
            | Expression::Not(_)) => Ok(expression),
            expression @ Expression::Call(function, _) if function.is_condition() => Ok(expression),
            _ => Err(Diagnostic::new(read.span, "this is no condition: it is neither true nor false")
                .help("compare it with something, as in data.bytesOut > 1000")),
        }
    }
}

/// A comparison, with what is written down on its right side.
fn compared(left: Read, op: Op, right: Read, sign: &Range<usize>) -> Result<Expression, Diagnostic> {
    match (left.expression, right.expression) {
        (Expression::Literal(left_value), Expression::Literal(right_value)) => {
            let Expression::Is(_, check, negated) =
                against(left.span.clone(), None, op, right_value, &right.span, sign)?
            else {
                return Err(Diagnostic::new(sign.clone(), "these two cannot be compared"));
            };
            if let Literal::Text(text) = &left_value
                && text.number().is_none()
            {
                return Err(Diagnostic::new(left.span, "a text is compared with a text here, not a field")
                    .help("names do not stand in single quotes"));
            }
            let written = left_value.to_string();
            let scalar = match &left_value {
                Literal::Null => Scalar::Null,
                Literal::Bool(truth) => Scalar::Bool(*truth),
                Literal::Number(_) => Scalar::Number(&written),
                Literal::Text(_) => Scalar::Text(&written.as_bytes()[1..written.len() - 1]),
            };
            Ok(Expression::Literal(Literal::Bool(check.holds(scalar) != negated)))
        }
        (expression, Expression::Literal(literal)) => {
            against(left.span, Some(expression), op, literal, &right.span, sign)
        }
        (Expression::Literal(literal), expression) => {
            let turned = match op {
                Op::Lt => Op::Gt,
                Op::Le => Op::Ge,
                Op::Gt => Op::Lt,
                Op::Ge => Op::Le,
                same => same,
            };
            against(right.span, Some(expression), turned, literal, &left.span, sign)
        }
        (left, right) => Ok(Expression::Compare(op, Box::new(left), Box::new(right))),
    }
}

/// A value against a literal. Without a value, the check of it alone.
fn against(
    left_span: Range<usize>,
    left: Option<Expression>,
    op: Op,
    literal: Literal,
    literal_span: &Range<usize>,
    sign: &Range<usize>,
) -> Result<Expression, Diagnostic> {
    let left = left.unwrap_or(Expression::Literal(Literal::Null));
    let is_equality = matches!(op, Op::Eq | Op::Ne);
    check_time(&left, &literal, literal_span)?;
    let check = match literal {
        Literal::Null | Literal::Bool(_) if !is_equality => {
            let message = format!("`{}` orders nothing with {literal}", op.text());
            return Err(Diagnostic::new(sign.clone(), message).help("use = or !="));
        }
        Literal::Text(text) if !is_equality && text.pattern.has_wildcards() => {
            return Err(Diagnostic::new(literal_span.clone(), format!("`{}` takes no wildcard", op.text()))
                .help("write \\* for a star that stands for itself"));
        }
        Literal::Null => {
            let is_null = op == Op::Eq;
            return Ok(Expression::Is(Box::new(left), Check::Present, is_null));
        }
        literal if is_equality => Check::Equal(literal),
        literal => Check::Order(op, literal),
    };
    let _ = left_span;
    Ok(Expression::Is(Box::new(left), check, op == Op::Ne))
}

/// A text that is compared with the entry's time is a time.
fn check_time(left: &Expression, literal: &Literal, span: &Range<usize>) -> Result<(), Diagnostic> {
    let is_time = matches!(left, Expression::Path(path) if path.root == Root::Time);
    match literal {
        Literal::Text(text) if is_time && text.number().is_none() => Err(Diagnostic::new(span.clone(), "not a time")
            .help("write RFC 3339, such as '2026-11-21T20:15:00Z', or milliseconds since 1970")),
        _ => Ok(()),
    }
}

fn check_arguments(function: Function, arguments: &[Read]) -> Result<(), Diagnostic> {
    let written = |index: usize| match arguments.get(index).map(|argument| &argument.expression) {
        Some(Expression::Literal(Literal::Text(text))) => Some(text.pattern.plain()),
        _ => None,
    };
    match function {
        Function::RoundDown if written(1).and_then(|text| interval_millis(&text)).is_none() => {
            return Err(Diagnostic::new(arguments[1].span.clone(), "not a length of time")
                .help("write a number and one of s, m, h, d in single quotes: '1m'"));
        }
        Function::TimeFormat => {
            let Some(format) = written(1) else {
                return Err(Diagnostic::new(arguments[1].span.clone(), "a format stands in single quotes")
                    .help("such as 'yyyy-MM-dd HH:mm:ss'"));
            };
            if let Err(letter) = check_time_format(&format) {
                let message = format!("`{letter}` stands for no part of a time");
                return Err(Diagnostic::new(arguments[1].span.clone(), message)
                    .help("y M d H m s S Z stand for parts; put text within '' ''"));
            }
        }
        Function::Substr => {
            for argument in &arguments[1..] {
                if matches!(
                    argument.expression,
                    Expression::Literal(Literal::Text(_) | Literal::Bool(_) | Literal::Null)
                ) {
                    return Err(Diagnostic::new(argument.span.clone(), "expected a number, counted from 0"));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn unknown_function(lower: &str, word: &str, span: Range<usize>) -> Diagnostic {
    if AGGREGATES.contains(&lower) {
        return Diagnostic::new(span, format!("`{word}` is about many entries"))
            .help(format!("write it behind summarize: summarize {word}(…) by …"));
    }
    let diagnostic = Diagnostic::new(span, format!("there is no function `{word}`"));
    match nearest(lower, FUNCTIONS.into_iter()) {
        Some(name) => diagnostic.help(format!("did you mean {name}?")),
        None => diagnostic.help("functions are contains_ci, contains_cs, concat, upper, lower, substr, isNull, isNotNull, time_format, rounddown"),
    }
}

/// The name that is most like one, if any is.
pub(super) fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = wanted.to_lowercase();
    let scored = names.map(|name| (strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase()), name));
    scored.filter(|(score, _)| *score >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
