//! What queries say: expressions over one record or row, what they are worth, and how they are written.
//!
//! An expression is total: what makes no sense for a value (a text times two, a missing field) is null, and a condition
//! that asks null for anything but [`Check::Present`] does not hold.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use event::Time;
use serde_json::Value;
use udm::Instant;

use super::path::{Path, Root, Step};
use super::record;
use super::value::{Check, Literal, Number, Scalar, millis, truth_text, unescape};
use super::{PAIRED_MAX, TEXT_BYTES_MAX};
use crate::test::Op;

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Literal(Literal),
    Path(Path),
    Call(Function, Vec<Expression>),
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>),
    Negative(Box<Expression>),
    /// A value against something that is written down; the flag turns the answer around.
    Is(Box<Expression>, Check, bool),
    /// One value against another.
    Compare(Op, Box<Expression>, Box<Expression>),
    All(Vec<Expression>),
    One(Vec<Expression>),
    Not(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Arithmetic {
    pub(super) fn text(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
        }
    }

    fn of(self, left: Number, right: Number) -> Option<Number> {
        if let (Number::Int(left), Number::Int(right)) = (left, right) {
            let whole = match self {
                Arithmetic::Add => left.checked_add(right),
                Arithmetic::Subtract => left.checked_sub(right),
                Arithmetic::Multiply => left.checked_mul(right),
                Arithmetic::Divide => left.checked_rem(right).filter(|rest| *rest == 0).and(left.checked_div(right)),
            };
            if let Some(whole) = whole {
                return Some(Number::Int(whole));
            }
        }
        let (left, right) = (left.as_f64(), right.as_f64());
        Number::from_f64(match self {
            Arithmetic::Add => left + right,
            Arithmetic::Subtract => left - right,
            Arithmetic::Multiply => left * right,
            Arithmetic::Divide => left / right,
        })
    }
}

/// Functions that are worth a value. Those that are worth true or false are [`Check`]s, but for the two with a needle
/// that is not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Concat,
    Upper,
    Lower,
    Substr,
    TimeFormat,
    RoundDown,
    ContainsCi,
    ContainsCs,
}

impl Function {
    pub(super) fn name(self) -> &'static str {
        match self {
            Function::Concat => "concat",
            Function::Upper => "upper",
            Function::Lower => "lower",
            Function::Substr => "substr",
            Function::TimeFormat => "time_format",
            Function::RoundDown => "rounddown",
            Function::ContainsCi => "contains_ci",
            Function::ContainsCs => "contains_cs",
        }
    }

    pub(super) fn is_condition(self) -> bool {
        matches!(self, Function::ContainsCi | Function::ContainsCs)
    }
}

/// What an expression is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Worth<'a> {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// A list or object.
    Whole(Cow<'a, Value>),
}

impl<'a> Worth<'a> {
    pub(super) fn of(value: &'a Value) -> Worth<'a> {
        match value {
            Value::Null => Worth::Null,
            Value::Bool(truth) => Worth::Bool(*truth),
            Value::Number(number) => Worth::Number(Cow::Owned(number.to_string())),
            Value::String(text) => Worth::Text(Cow::Borrowed(text)),
            whole => Worth::Whole(Cow::Borrowed(whole)),
        }
    }

    fn number(number: Option<Number>) -> Worth<'static> {
        number.map_or(Worth::Null, |number| Worth::Number(Cow::Owned(number.to_string())))
    }

    fn text(text: String) -> Worth<'static> {
        Worth::Text(Cow::Owned(text))
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Worth::Null => Value::Null,
            Worth::Bool(truth) => Value::Bool(truth),
            Worth::Number(text) => match Number::parse(&text) {
                Some(number) => number_value(number),
                None => Value::Null,
            },
            Worth::Text(text) => Value::String(text.into_owned()),
            Worth::Whole(value) => value.into_owned(),
        }
    }

    /// The number that it is, or that its text spells.
    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Worth::Number(text) | Worth::Text(text) => Number::parse(text),
            _ => None,
        }
    }

    fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Worth::Null => None,
            Worth::Bool(truth) => Some(Cow::Borrowed(truth_text(*truth))),
            Worth::Number(text) | Worth::Text(text) => Some(Cow::Borrowed(text)),
            Worth::Whole(value) => Some(Cow::Owned(value.to_string())),
        }
    }

    /// The point in time that it is: a number of milliseconds, or RFC 3339.
    fn as_millis(&self) -> Option<i128> {
        match self {
            Worth::Number(text) => match Number::parse(text)? {
                Number::Int(number) => Some(number),
                Number::Float(number) => Some(number as i128),
            },
            Worth::Text(text) => Instant::parse(text).map(millis),
            _ => None,
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Worth::Bool(truth) => *truth,
            Worth::Text(text) => text == "true",
            _ => false,
        }
    }

    /// Gives its values as a path to them would.
    fn visit(&self, each: &mut dyn FnMut(Scalar<'_>)) {
        match self {
            Worth::Null => each(Scalar::Null),
            Worth::Bool(truth) => each(Scalar::Bool(*truth)),
            Worth::Number(text) => each(Scalar::Number(text)),
            Worth::Text(text) => each(Scalar::Text(text.as_bytes())),
            Worth::Whole(value) => visit_value(value, each),
        }
    }
}

/// A number as JSON has it; what is beyond 64 bits becomes a float.
pub(super) fn number_value(number: Number) -> Value {
    match number {
        Number::Int(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(number)) => Value::from(number),
            _ => Value::from(number as f64),
        },
        Number::Float(number) => Value::from(number),
    }
}

/// Gives a value, and of a list or object also everything within.
pub(super) fn visit_value(value: &Value, each: &mut dyn FnMut(Scalar<'_>)) {
    match value {
        Value::Null => each(Scalar::Null),
        Value::Bool(truth) => each(Scalar::Bool(*truth)),
        Value::Number(number) => each(Scalar::Number(&number.to_string())),
        Value::String(text) => each(Scalar::Text(text.as_bytes())),
        Value::Array(values) => {
            each(Scalar::Container);
            values.iter().for_each(|value| visit_value(value, each));
        }
        Value::Object(members) => {
            each(Scalar::Container);
            members.values().for_each(|value| visit_value(value, each));
        }
    }
}

/// Gives every value at a path, as [`record::Plan::visit`] does for bytes.
pub(super) fn values_at<'v>(value: &'v Value, steps: &[Step], each: &mut dyn FnMut(&'v Value)) {
    let Some((step, rest)) = steps.split_first() else { return each(value) };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            if let Some(value) = members.get(key) {
                values_at(value, rest, each);
            }
        }
        (Step::Key(_), Value::Array(values)) => values.iter().for_each(|value| values_at(value, steps, each)),
        (Step::Element(index), Value::Array(values)) => {
            if let Some(value) = values.get(*index) {
                values_at(value, rest, each);
            }
        }
        _ => {}
    }
}

/// What an expression is about: a record's bytes or a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    Record(&'a [u8]),
    /// A row of a search: columns by name.
    Row(&'a Value),
}

impl<'a> Subject<'a> {
    /// What stands at a path. Several values, as a path through a list finds them, are a list.
    fn fetch(self, path: &Path) -> Worth<'a> {
        match self {
            Subject::Record(record) => fetch_from_record(record, path),
            Subject::Row(row) => {
                let mut found = Vec::new();
                if let Some((value, steps)) = start(row, path) {
                    values_at(value, steps, &mut |value| found.push(value));
                }
                match found[..] {
                    [] => Worth::Null,
                    [one] => Worth::of(one),
                    _ => Worth::Whole(Cow::Owned(found.into_iter().cloned().collect())),
                }
            }
        }
    }

    /// Gives every value at a path.
    pub(super) fn visit(self, path: &Path, each: &mut dyn FnMut(Scalar<'_>)) {
        match self {
            Subject::Record(_) => self.fetch(path).visit(each),
            Subject::Row(row) => {
                if let Some((value, steps)) = start(row, path) {
                    values_at(value, steps, &mut |value| visit_value(value, each));
                }
            }
        }
    }
}

/// Where in a row a path begins, and how it goes on from there.
fn start<'v, 'p>(row: &'v Value, path: &'p Path) -> Option<(&'v Value, &'p [Step])> {
    let value = match &path.root {
        Root::Entry => row.get("logContent")?,
        Root::Time => row.get("datetime")?,
        Root::Column(name) => row.get(name)?,
        Root::Row => row,
    };
    Some((value, &path.steps))
}

fn fetch_from_record<'a>(record: &'a [u8], path: &Path) -> Worth<'a> {
    let time = [Step::Key("time".to_owned())];
    let steps = match path.root {
        Root::Entry => &path.steps[..],
        Root::Time => &time[..],
        // A record has no columns.
        Root::Column(_) | Root::Row => return Worth::Null,
    };
    let mut found: Vec<Worth<'a>> = record::spans(record, steps).into_iter().map(|span| worth(&record[span])).collect();
    let one = match found.len() {
        0 => Worth::Null,
        1 => found.remove(0),
        _ => Worth::Whole(Cow::Owned(found.into_iter().map(Worth::into_value).collect())),
    };
    if path.root != Root::Time {
        return one;
    }
    match one.as_millis() {
        Some(time) => Worth::number(Some(Number::Int(time))),
        None => Worth::Null,
    }
}

/// What one JSON value is worth.
fn worth(json: &[u8]) -> Worth<'_> {
    match json {
        [b'"', inside @ .., b'"'] => Worth::Text(match unescape(inside) {
            Cow::Borrowed(text) => String::from_utf8_lossy(text),
            Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
        }),
        b"true" => Worth::Bool(true),
        b"false" => Worth::Bool(false),
        [b'{' | b'[', ..] => serde_json::from_slice(json).map_or(Worth::Null, |value| Worth::Whole(Cow::Owned(value))),
        [b'-' | b'0'..=b'9', ..] => {
            std::str::from_utf8(json).map_or(Worth::Null, |text| Worth::Number(Cow::Borrowed(text)))
        }
        _ => Worth::Null,
    }
}

impl Expression {
    /// What the expression is worth.
    pub(super) fn worth<'a>(&'a self, subject: Subject<'a>) -> Worth<'a> {
        match self {
            Expression::Literal(literal) => match literal {
                Literal::Text(text) => Worth::text(text.pattern.plain()),
                Literal::Number(number) => Worth::number(Some(*number)),
                Literal::Bool(truth) => Worth::Bool(*truth),
                Literal::Null => Worth::Null,
            },
            Expression::Path(path) => subject.fetch(path),
            Expression::Call(function, arguments) => call(*function, arguments, subject),
            Expression::Arithmetic(operation, left, right) => {
                match (left.worth(subject).as_number(), right.worth(subject).as_number()) {
                    (Some(left), Some(right)) => Worth::number(operation.of(left, right)),
                    _ => Worth::Null,
                }
            }
            Expression::Negative(inner) => match inner.worth(subject).as_number() {
                Some(number) => Worth::number(Arithmetic::Subtract.of(Number::Int(0), number)),
                None => Worth::Null,
            },
            condition => Worth::Bool(condition.holds(subject)),
        }
    }

    /// Whether the expression holds as a condition.
    pub(super) fn holds(&self, subject: Subject<'_>) -> bool {
        match self {
            Expression::All(parts) => parts.iter().all(|part| part.holds(subject)),
            Expression::One(parts) => parts.iter().any(|part| part.holds(subject)),
            Expression::Not(inner) => !inner.holds(subject),
            Expression::Is(left, check, negated) => {
                let mut holds = false;
                let mut each = |value: Scalar<'_>| holds = holds || check.holds(value);
                match &**left {
                    Expression::Path(path) => subject.visit(path, &mut each),
                    other => other.worth(subject).visit(&mut each),
                }
                holds != *negated
            }
            Expression::Compare(op, left, right) => compare(*op, &left.worth(subject), &right.worth(subject)),
            other => other.worth(subject).is_true(),
        }
    }

    /// What must be parsed with less than this power to be one operand.
    fn power(&self) -> u8 {
        match self {
            Expression::One(_) => power::OR,
            Expression::All(_) => power::AND,
            Expression::Not(_) => power::NOT,
            Expression::Is(_, Check::Contains(..), false) => power::WHOLE,
            Expression::Is(_, Check::Contains(..), true) => power::NOT,
            Expression::Is(_, Check::Present, _) => power::WHOLE,
            Expression::Is(..) | Expression::Compare(..) => power::COMPARE,
            Expression::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => power::ADD,
            Expression::Arithmetic(..) => power::MULTIPLY,
            Expression::Negative(_) => power::NEGATIVE,
            Expression::Literal(_) | Expression::Path(_) | Expression::Call(..) => power::WHOLE,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.power() < least {
            f.write_str("(")?;
            self.write(f, 0)?;
            return f.write_str(")");
        }
        match self {
            Expression::Literal(literal) => write!(f, "{literal}"),
            Expression::Path(path) => write!(f, "{path}"),
            Expression::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                write_list(f, arguments)?;
                f.write_str(")")
            }
            Expression::Arithmetic(operation, left, right) => {
                left.write(f, self.power())?;
                write!(f, " {} ", operation.text())?;
                right.write(f, self.power() + 1)
            }
            // Two minus signs in a row begin a comment.
            Expression::Negative(inner) => {
                f.write_str("- ")?;
                inner.write(f, power::NEGATIVE)
            }
            Expression::Is(left, check, negated) => write_check(f, left, check, *negated),
            Expression::Compare(op, left, right) => {
                left.write(f, power::COMPARE + 1)?;
                write!(f, " {} ", op.text())?;
                right.write(f, power::COMPARE + 1)
            }
            Expression::All(parts) => write_joined(f, parts, " and ", power::AND),
            Expression::One(parts) => write_joined(f, parts, " or ", power::OR),
            Expression::Not(inner) => {
                f.write_str("not ")?;
                inner.write(f, power::NOT)
            }
        }
    }
}

/// How closely operators bind, the loosest first. The parser and the printer share them.
pub(super) mod power {
    pub(in crate::oci) const OR: u8 = 1;
    pub(in crate::oci) const AND: u8 = 2;
    pub(in crate::oci) const NOT: u8 = 3;
    pub(in crate::oci) const COMPARE: u8 = 4;
    pub(in crate::oci) const ADD: u8 = 5;
    pub(in crate::oci) const MULTIPLY: u8 = 6;
    pub(in crate::oci) const NEGATIVE: u8 = 7;
    pub(in crate::oci) const WHOLE: u8 = 8;
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str, power: u8) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        part.write(f, power + 1)?;
    }
    Ok(())
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

fn write_check(f: &mut fmt::Formatter<'_>, left: &Expression, check: &Check, negated: bool) -> fmt::Result {
    match check {
        Check::Equal(literal) => {
            left.write(f, power::COMPARE + 1)?;
            write!(f, " {} {literal}", if negated { "!=" } else { "=" })
        }
        Check::Order(op, literal) => {
            left.write(f, power::COMPARE + 1)?;
            write!(f, " {} {literal}", op.text())
        }
        Check::In(literals) => {
            left.write(f, power::COMPARE + 1)?;
            f.write_str(if negated { " not in (" } else { " in (" })?;
            write_list(f, literals)?;
            f.write_str(")")
        }
        Check::Present => write!(f, "{}({left})", if negated { "isNull" } else { "isNotNull" }),
        Check::Contains(needle, within) => {
            let name = if within.ignores_case() { Function::ContainsCi } else { Function::ContainsCs }.name();
            write!(f, "{}{name}({left}, {needle})", if negated { "not " } else { "" })
        }
    }
}

/// One value against another. Of lists and objects, one of the values within.
fn compare(op: Op, left: &Worth<'_>, right: &Worth<'_>) -> bool {
    if op == Op::Ne {
        return !compare(Op::Eq, left, right);
    }
    let (mut holds, mut lefts) = (false, 0);
    left.visit(&mut |left| {
        let mut rights = 0;
        lefts += 1;
        if holds || lefts > PAIRED_MAX {
            return;
        }
        right.visit(&mut |right| {
            rights += 1;
            holds = holds
                || (rights <= PAIRED_MAX
                    && compare_scalars(left, right).is_some_and(|order| match op {
                        Op::Eq => order.is_eq(),
                        Op::Ne => order.is_ne(),
                        Op::Lt => order.is_lt(),
                        Op::Le => order.is_le(),
                        Op::Gt => order.is_gt(),
                        Op::Ge => order.is_ge(),
                    }));
        });
    });
    holds
}

fn compare_scalars(left: Scalar<'_>, right: Scalar<'_>) -> Option<Ordering> {
    let text = |text: &'_ [u8]| std::str::from_utf8(text).ok().and_then(Number::parse);
    match (left, right) {
        (Scalar::Number(left), Scalar::Number(right)) => Some(Number::parse(left)?.compare(Number::parse(right)?)),
        (Scalar::Number(left), Scalar::Text(right)) => Some(Number::parse(left)?.compare(text(right)?)),
        (Scalar::Text(left), Scalar::Number(right)) => Some(text(left)?.compare(Number::parse(right)?)),
        (Scalar::Text(left), Scalar::Text(right)) => Some(left.cmp(right)),
        (Scalar::Bool(left), Scalar::Bool(right)) => Some(left.cmp(&right)),
        _ => None,
    }
}

fn call<'a>(function: Function, arguments: &'a [Expression], subject: Subject<'a>) -> Worth<'a> {
    let worth = |index: usize| arguments.get(index).map_or(Worth::Null, |argument| argument.worth(subject));
    match function {
        Function::Concat => {
            let mut out = String::new();
            for argument in arguments {
                if let Some(text) = argument.worth(subject).as_text() {
                    let room = TEXT_BYTES_MAX - out.len();
                    out.push_str(&text[..text.floor_char_boundary(room)]);
                }
            }
            Worth::text(out)
        }
        Function::Upper => worth(0).as_text().map_or(Worth::Null, |text| Worth::text(text.to_uppercase())),
        Function::Lower => worth(0).as_text().map_or(Worth::Null, |text| Worth::text(text.to_lowercase())),
        Function::Substr => {
            let whole = worth(0);
            let (Some(text), Some(from)) = (whole.as_text(), index(&worth(1))) else { return Worth::Null };
            let length = if arguments.len() > 2 { index(&worth(2)) } else { Some(usize::MAX) };
            match length {
                Some(length) => Worth::text(text.chars().skip(from).take(length).collect()),
                None => Worth::Null,
            }
        }
        Function::TimeFormat => match (worth(0).as_millis().and_then(time), worth(1).as_text()) {
            (Some(time), Some(format)) => Worth::text(format_time(time, &format)),
            _ => Worth::Null,
        },
        Function::RoundDown => {
            let interval = worth(1).as_text().and_then(|text| interval_millis(&text));
            match (worth(0).as_millis(), interval) {
                (Some(time), Some(interval)) => Worth::number(Some(Number::Int(time - time.rem_euclid(interval)))),
                _ => Worth::Null,
            }
        }
        Function::ContainsCi | Function::ContainsCs => {
            let needle = worth(1);
            let Some(needle) = needle.as_text() else { return Worth::Bool(false) };
            let pattern = super::value::Pattern::exact(&needle);
            let check = Check::contains(&pattern, function == Function::ContainsCi);
            let mut holds = false;
            worth(0).visit(&mut |value| holds = holds || check.holds(value));
            Worth::Bool(holds)
        }
    }
}

fn index(worth: &Worth<'_>) -> Option<usize> {
    match worth.as_number()? {
        Number::Int(number) => usize::try_from(number).ok(),
        Number::Float(_) => None,
    }
}

fn time(millis: i128) -> Option<Time> {
    Time::from_millis(i64::try_from(millis).ok()?).ok()
}

/// A length of time such as `1m`: a count and one of d, h, m and s.
pub(super) fn interval_millis(text: &str) -> Option<i128> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let digits = !count.is_empty() && count.len() <= 9 && count.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| count.parse::<i128>().ok())?.filter(|count| *count > 0).map(|count| count * unit)
}

/// What a time format may be made of, or the first letter that is none.
pub(super) fn check_time_format(format: &str) -> Result<(), char> {
    let mut quoted = false;
    for character in format.chars() {
        match character {
            '\'' => quoted = !quoted,
            letter if letter.is_ascii_alphabetic() && !quoted && !"yMdHmsSTZX".contains(letter) => return Err(letter),
            _ => {}
        }
    }
    Ok(())
}

/// A time in UTC: `y`, `M`, `d`, `H`, `m`, `s` and `S` (fraction of a second) stand for their part with as many digits as
/// there are letters, `Z` and `X` for `Z`; the rest, and what is within single quotes, for itself.
fn format_time(time: Time, format: &str) -> String {
    // 2026-01-02T03:04:05, which every time of the range begins with.
    let text = Time::from_nanos(time.nanos() - time.nanos().rem_euclid(1_000_000_000)).to_string();
    let part =
        |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    let nanos = format!("{:09}", time.nanos().rem_euclid(1_000_000_000));
    let mut out = String::new();
    let mut quoted = false;
    let mut rest = format.chars().peekable();
    while let Some(letter) = rest.next() {
        let mut count = 1;
        while !quoted && letter.is_ascii_alphabetic() && rest.next_if_eq(&letter).is_some() {
            count += 1;
        }
        let width = count.min(9);
        let value = match letter {
            '\'' => {
                quoted = !quoted;
                continue;
            }
            _ if quoted => {
                out.push(letter);
                continue;
            }
            'y' if count == 2 => part(2..4),
            'y' => part(0..4),
            'M' => part(5..7),
            'd' => part(8..10),
            'H' => part(11..13),
            'm' => part(14..16),
            's' => part(17..19),
            'S' => {
                out.push_str(&nanos[..width]);
                continue;
            }
            'Z' | 'X' => {
                out.push('Z');
                continue;
            }
            other => {
                out.extend(std::iter::repeat_n(other, count));
                continue;
            }
        };
        out.push_str(&format!("{value:0width$}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_asked() {
        let time = Time::parse_rfc3339("2023-10-04T02:03:04.5678Z").unwrap();
        for (format, expected) in [
            ("yyyy-MM-dd HH:mm:ss", "2023-10-04 02:03:04"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2023-10-04T02:03:04.567Z"),
            ("yyyy-MM-ddTHH:mmX", "2023-10-04T02:03Z"),
            ("d.M.yy", "4.10.23"),
            ("'day' dd", "day 04"),
            ("", ""),
        ] {
            assert_eq!(format_time(time, format), expected, "{format:?}");
        }
        let before = Time::parse_rfc3339("1969-12-31T23:59:59.25Z").unwrap();
        assert_eq!(format_time(before, "yyyy-MM-dd HH:mm:ss.SS"), "1969-12-31 23:59:59.25");
    }

    #[test]
    fn intervals() {
        for (text, expected) in [
            ("1m", Some(60_000)),
            ("15s", Some(15_000)),
            ("2d", Some(172_800_000)),
            ("0m", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(interval_millis(text), expected, "{text:?}");
        }
        assert_eq!(interval_millis("1분"), None);
        assert_eq!(interval_millis("99999999999h"), None);
    }
}
