//! Reads the body of a call against a table of fields, into one canonical JSON: every key is one that the table has, every
//! value of its type and within its bounds, and null only where that unsets something. All faults are collected.
//!
//! OCI's clients write one spelling, so there is no second one here. What a kind's fields mean together is checked in
//! [`super::kinds`].

use serde_json::{Map, Value};

use crate::faults::Faults;
use crate::{Cause, Refusal, Request};

/// What is said of a field that must be there and is not.
pub(super) const MISSING: &str = "is missing";

/// A field of a body.
pub(super) struct Field {
    /// Its key.
    pub(super) key: &'static str,
    /// What it may hold.
    pub(super) holds: Holds,
    /// Where it may stand, and where it must.
    pub(super) given: Given,
}

/// Where a field may stand, and where it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// It must stand in what makes a resource, and may in what changes one.
    Must,
    /// It may stand in both.
    May,
    /// It must stand in what makes a resource, and cannot be changed.
    MustOnce,
    /// It may stand in what makes a resource, and cannot be changed.
    MayOnce,
}

/// What a field may hold.
pub(super) enum Holds {
    /// A text of so many characters, without control characters.
    Text {
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Texts, at most so many.
    Texts(usize),
    /// An object whose values are texts.
    TextMap,
    /// Objects of objects.
    TagMap,
    /// An object with these fields.
    Object(&'static [Field]),
    /// What this makes of it; `None` once it noted a fault.
    Other(fn(Value, &str, What, &mut Faults) -> Option<Value>),
}

/// What a body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Making a resource.
    Create,
    /// Changing one.
    Update,
}

/// The body of a request as JSON object. None at all is an empty object where `may_be_empty`.
pub(super) fn object(request: &Request) -> Result<Map<String, Value>, Refusal> {
    let unparsable = |message: String| Refusal::new(Cause::Unparsable, message);
    if request.body.iter().all(u8::is_ascii_whitespace) {
        return Err(unparsable("The body is empty; it must be a JSON object.".to_owned()));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(unparsable("The body is JSON, but no object.".to_owned())),
        Err(error) => Err(unparsable(format!("The body is not valid JSON: {error}."))),
    }
}

/// The canonical JSON of what was sent; faults are noted. `noun` is what has the fields.
pub(super) fn read(
    fields: &'static [Field],
    sent: Map<String, Value>,
    at: &str,
    noun: &str,
    what: What,
    faults: &mut Faults,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in sent {
        let path = join(at, &key);
        let Some(field) = fields.iter().find(|field| field.key == key) else {
            let known: Vec<_> = fields.iter().map(|field| field.key).collect();
            faults.add(short(&path), format!("is no field that a {noun} has here; those are {}", known.join(", ")));
            continue;
        };
        if what == What::Update && matches!(field.given, Given::MustOnce | Given::MayOnce) {
            faults.add(path, "cannot be changed");
            continue;
        }
        if value.is_null() {
            match (what, field.given) {
                (What::Create, _) => {}
                (What::Update, Given::May) => {
                    out.insert(key, Value::Null);
                }
                (What::Update, _) => faults.add(path, "cannot be null: it must have a value"),
            }
            continue;
        }
        if let Some(value) = checked(&field.holds, value, &path, noun, what, faults) {
            out.insert(key, value);
        } else {
            // So that it is not said to be missing as well.
            out.insert(key, Value::Null);
        }
    }
    if what == What::Create {
        let must = fields.iter().filter(|field| matches!(field.given, Given::Must | Given::MustOnce));
        for field in must.filter(|field| !out.contains_key(field.key)) {
            faults.add(join(at, field.key), MISSING);
        }
    }
    out
}

/// The refusal of a body with faults, if it has any.
pub(super) fn refusal(faults: Faults) -> Option<Refusal> {
    let is_missing = faults.listed.first().is_some_and(|first| first.description == MISSING);
    let refusal = faults.refusal("body")?;
    Some(if is_missing { Refusal { cause: Cause::Missing, ..refusal } } else { refusal })
}

fn checked(holds: &Holds, value: Value, path: &str, noun: &str, what: What, faults: &mut Faults) -> Option<Value> {
    let mut wrong = |description: String| {
        faults.add(short(path), description);
        None
    };
    match (holds, value) {
        (Holds::Text { min, max }, Value::String(text)) => match fault_of_text(&text, *min, *max) {
            Some(fault) => wrong(fault),
            None => Some(Value::String(text)),
        },
        (Holds::Text { .. }, other) => wrong(format!("must be a string, not {}", named(&other))),
        (Holds::Bool, value @ Value::Bool(_)) => Some(value),
        (Holds::Bool, other) => wrong(format!("must be true or false, not {}", named(&other))),
        (Holds::Number { min, max }, value) => match value.as_i64() {
            Some(number) if (*min..=*max).contains(&number) => Some(Value::from(number)),
            Some(number) => wrong(format!("is {number}; it may be {min} to {max}")),
            None => wrong(format!("must be a whole number from {min} to {max}, not {}", named(&value))),
        },
        (Holds::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => Some(Value::String(text)),
        (Holds::OneOf(words), other) => wrong(format!("must be one of {}, not {}", words.join(", "), named(&other))),
        (Holds::Texts(max), Value::Array(items)) => {
            if items.len() > *max {
                return wrong(format!("has {} items; at most {max} are allowed", items.len()));
            }
            match items.iter().position(|item| !item.is_string()) {
                Some(place) => wrong(format!("must hold strings; its item {place} is {}", named(&items[place]))),
                None => Some(Value::Array(items)),
            }
        }
        (Holds::Texts(_), other) => wrong(format!("must be a list of strings, not {}", named(&other))),
        (Holds::TextMap, Value::Object(map)) => match map.iter().find(|(_, value)| !value.is_string()) {
            Some((key, value)) => wrong(format!("must hold strings; {:?} is {}", short(key), named(value))),
            None => Some(Value::Object(map)),
        },
        (Holds::TagMap, Value::Object(map)) => match map.iter().find(|(_, value)| !value.is_object()) {
            Some((key, value)) => wrong(format!("must hold objects; {:?} is {}", short(key), named(value))),
            None => Some(Value::Object(map)),
        },
        (Holds::TextMap | Holds::TagMap | Holds::Object(_), other) if !other.is_object() => {
            wrong(format!("must be an object, not {}", named(&other)))
        }
        (Holds::Object(fields), Value::Object(map)) => Some(Value::Object(read(fields, map, path, noun, what, faults))),
        (Holds::TextMap | Holds::TagMap | Holds::Object(_), _) => None,
        (Holds::Other(make), value) => make(value, path, what, faults),
    }
}

fn fault_of_text(text: &str, min: usize, max: usize) -> Option<String> {
    let count = text.chars().count();
    if count < min {
        return Some(if count == 0 { "is empty".to_owned() } else { format!("is shorter than {min} characters") });
    }
    if count > max {
        return Some(format!("has {count} characters; at most {max} are allowed"));
    }
    text.chars().any(char::is_control).then(|| "holds a control character".to_owned())
}

/// A value's type with its article, as faults name it.
pub(super) fn named(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("{:?}", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The path of a key below another.
pub(super) fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// What an error repeats of a text that may be long.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
