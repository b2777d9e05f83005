//! One condition's test of one value, and what it says to a filter.

use std::fmt;

use regex::Regex;
use udm::{EnumId, Instant, Scalar, Schema};

use crate::Prune;

/// `=`, `!=` and the four orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Op::Eq => "=",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
        }
    }

    fn holds<T: PartialOrd + Copy>(self, left: T, right: T) -> bool {
        match self {
            Op::Eq => left == right,
            Op::Ne => left != right,
            Op::Lt => left < right,
            Op::Le => left <= right,
            Op::Gt => left > right,
            Op::Ge => left >= right,
        }
    }
}

/// What a value is compared with.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Text; `folded` where case is ignored, `nocase` where the query says so itself.
    Text {
        equal: bool,
        value: String,
        folded: Option<String>,
        nocase: bool,
    },
    /// A regular expression that must (or must not) match somewhere in the text.
    Regex {
        equal: bool,
        regex: Box<Regex>,
        source: String,
        nocase: bool,
    },
    Int(Op, i128),
    /// A number, of a numeric or free-form field.
    Float(Op, f64),
    Bool {
        equal: bool,
        value: bool,
    },
    Enum {
        equal: bool,
        number: i32,
        id: EnumId,
        written: String,
    },
    Time(Op, Instant, String),
    Duration(Op, i128, String),
}

impl Test {
    /// Whether a value passes. Unset values read as the zero of the type that they are compared with.
    pub(crate) fn holds(&self, value: Scalar<'_>) -> bool {
        match self {
            Test::Text { equal, value: wanted, folded, .. } => {
                let same = with_text(value, |text| match folded {
                    Some(folded) => folds_to(text, folded),
                    None => text == wanted,
                });
                same == *equal
            }
            Test::Regex { equal, regex, .. } => with_text(value, |text| regex.is_match(text)) == *equal,
            Test::Int(op, wanted) => match value {
                Scalar::Missing => op.holds(0, *wanted),
                Scalar::Int(number) => op.holds(number, *wanted),
                _ => *op == Op::Ne,
            },
            Test::Float(op, wanted) => match value {
                Scalar::Missing => op.holds(0.0, *wanted),
                Scalar::Int(number) => op.holds(number as f64, *wanted),
                Scalar::Float(number) => op.holds(number, *wanted),
                Scalar::Text(text) => match text.parse::<f64>() {
                    Ok(number) => op.holds(number, *wanted),
                    Err(_) => *op == Op::Ne,
                },
                _ => *op == Op::Ne,
            },
            Test::Bool { equal, value: wanted } => {
                let same = match value {
                    Scalar::Missing => !wanted,
                    Scalar::Bool(value) => value == *wanted,
                    Scalar::Text(text) => text == if *wanted { "true" } else { "false" },
                    _ => false,
                };
                same == *equal
            }
            Test::Enum { equal, number, .. } => {
                let same = match value {
                    Scalar::Missing => *number == 0,
                    Scalar::Enum(value) => value == *number,
                    // An unset enum may be written as an empty name.
                    Scalar::Text(text) => text.is_empty() && *number == 0,
                    _ => false,
                };
                same == *equal
            }
            Test::Time(op, wanted, _) => match value {
                Scalar::Missing => op.holds(Instant::ZERO, *wanted),
                Scalar::Time(time) => op.holds(time, *wanted),
                _ => *op == Op::Ne,
            },
            Test::Duration(op, wanted, _) => match value {
                Scalar::Missing => op.holds(0, *wanted),
                Scalar::Duration(nanos) => op.holds(nanos, *wanted),
                _ => *op == Op::Ne,
            },
        }
    }

    /// What must be among a record's values for one value to pass.
    pub(crate) fn prune(&self, schema: &Schema) -> Prune {
        match self {
            Test::Text { equal: true, value, .. } if !value.is_empty() => Prune::Value(udm::fold(value)),
            Test::Int(Op::Eq, number) if *number != 0 => Prune::Value(number.to_string()),
            Test::Enum { equal: true, number, id, .. } if *number != 0 => match schema.enum_name(*id, *number) {
                Some(name) => Prune::Value(udm::fold(name)),
                None => Prune::Unknown,
            },
            Test::Bool { equal: true, value: true } => Prune::Value("true".to_owned()),
            // Zero values match unset fields; orders, patterns, times and floats have no one text.
            _ => Prune::Unknown,
        }
    }
}

/// The operator and value as they are written.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |equal: &bool| if *equal { "=" } else { "!=" };
        match self {
            Test::Text { equal, value, nocase, .. } => {
                write!(f, "{} {}{}", sign(equal), Quoted(value), if *nocase { " nocase" } else { "" })
            }
            Test::Regex { equal, source, nocase, .. } => {
                write!(f, "{} {}{}", sign(equal), Slashed(source), if *nocase { " nocase" } else { "" })
            }
            Test::Int(op, number) => write!(f, "{} {number}", op.text()),
            Test::Float(op, number) => write!(f, "{} {number:?}", op.text()),
            Test::Bool { equal, value } => write!(f, "{} {value}", sign(equal)),
            Test::Enum { equal, written, .. } => write!(f, "{} {}", sign(equal), Quoted(written)),
            Test::Time(op, _, written) | Test::Duration(op, _, written) => {
                write!(f, "{} {}", op.text(), Quoted(written))
            }
        }
    }
}

/// A text as a query writes it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A regular expression as a query writes it.
pub(crate) struct Slashed<'a>(pub(crate) &'a str);

impl fmt::Display for Slashed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => write!(f, "\\{}", characters.next().unwrap_or('\\'))?,
                '/' => f.write_str("\\/")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("/")
    }
}

/// Asks about a value's text. Only values of free-form fields are anything but text here.
fn with_text(value: Scalar<'_>, ask: impl FnOnce(&str) -> bool) -> bool {
    match value {
        Scalar::Missing => ask(""),
        Scalar::Text(text) => ask(text),
        Scalar::Bool(value) => ask(if value { "true" } else { "false" }),
        Scalar::Int(number) => ask(&number.to_string()),
        Scalar::Float(number) => ask(&number.to_string()),
        Scalar::Enum(_) | Scalar::Time(_) | Scalar::Duration(_) => false,
    }
}

fn folds_to(text: &str, folded: &str) -> bool {
    if text.len() == folded.len() && text.eq_ignore_ascii_case(folded) {
        return true;
    }
    // Folding never turns a character into an ASCII one or back, so only texts with others may still be equal.
    !folded.is_ascii() && text.chars().map(udm::fold_char).eq(folded.chars())
}
