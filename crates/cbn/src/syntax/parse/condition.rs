//! Conditions: what stands between `if` and the brace.

use super::super::ast::{Comparison, Condition, ConditionKind, Operand, Quote, Span, Word};
use super::super::lex::{Kind, is_blank, span, unescape};
use super::{CODE, Parsed, Parser};
use crate::diagnostic::Diagnostic;

impl Parser<'_> {
    /// A whole condition.
    pub(super) fn condition(&mut self) -> Parsed<Condition> {
        self.nested(Self::any_of)
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
                self.advance();
                let inner = self.nested(Self::one)?;
                let kind = ConditionKind::Not(Box::new(inner));
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

    pub(super) fn chained(&self) -> Diagnostic {
        Diagnostic::error(CODE, self.token.span, "comparisons cannot be chained")
            .label("a second comparison")
            .help("Join them: [a] == \"x\" and [b] == \"y\".")
    }

    /// What begins with `!`. Before a field it binds tighter than a comparison: `![x] != ""` compares whether x is not
    /// true (contracts/cbn.md §1.6).
    fn banged(&mut self) -> Parsed<Condition> {
        let mut bangs = Vec::new();
        while self.token.kind == Kind::Bang {
            // Too deep ends the reading for good, so nobody looks at the depth again.
            self.enter()?;
            bangs.push(self.token.span.start);
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
        self.advance();
        // `([a, b])` and `([field])` are read as if without parentheses.
        if let Some(operand) = self.bracketed_alone()? {
            return Ok(operand);
        }
        let mut elements = self.nested(|parser| parser.elements(open, Kind::RightParen))?;
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
            Kind::Word if self.bare().starts_with('/') => {
                let told = self
                    .unexpected("a field or a value")
                    .help("Only `=~` and `!~` take a regular expression between slashes.");
                self.fault(told)
            }
            Kind::Word => Ok(scalar(self.word(), Operand::Field)),
            Kind::LeftBracket => self.bracketed(right_of_in),
            _ => {
                let mut told = self.unexpected("a field or a value");
                if matches!(token.kind, Kind::Assign | Kind::Arrow) {
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
        self.advance();
        let elements = self.nested(|parser| parser.elements(open, Kind::RightBracket))?;
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

/// A field without blanks next to its brackets and without dots between them.
fn close_up(typed: &str) -> String {
    let steps = typed.split_inclusive(']').map(|step| {
        let step = step.strip_prefix('.').unwrap_or(step);
        let name = step.trim_start_matches('[').trim_end_matches(']');
        format!("[{}]", name.trim_matches(is_blank))
    });
    steps.collect()
}

/// Whether a word has a meaning of its own in conditions.
fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "in" | "IN" | "if" | "else")
}

/// The number that a bare word is. Words that merely read as one (`nan`, `inf`) are not.
pub(in super::super) fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
