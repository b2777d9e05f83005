//! Reads the JSON of a resource by a table of its fields: both spellings of every key, `null` for unset, numbers as
//! strings, and every fault with its path. What comes out is canonical, so nothing behind has to look twice.

use event::limits;
use serde_json::{Map, Value};

use crate::LogType;
use crate::faults::Faults;

/// What a field holds.
pub(super) enum Form {
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// A whole number in this range, kept as a number.
    Int(i64, i64),
    /// A whole number of 64 bits, kept as a string, as proto3 JSON writes it.
    Long,
    /// Seconds with up to nine digits behind the point, and an `s`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An object with these fields.
    Message(&'static [Field]),
    /// A list of objects with these fields.
    Messages(&'static [Field]),
    /// A list of texts.
    Texts,
    /// Keys and values: an object of texts, or a list of `{key, value}`. Kept as an object.
    Labels,
    /// A log type, by its name or the name of its resource. Kept as its name.
    LogType,
    /// A regular expression that compiles.
    Regex,
}

/// A field of a resource.
pub(super) struct Field {
    /// Its name in lowerCamel, as it is kept and shown.
    pub(super) name: &'static str,
    /// What else callers call it.
    pub(super) alias: Option<&'static str>,
    /// What it holds.
    pub(super) form: Form,
    /// Whether its writer is the server: then what is sent for it is ignored.
    pub(super) is_output: bool,
}

/// A field that callers set.
pub(super) const fn field(name: &'static str, form: Form) -> Field {
    Field { name, alias: None, form, is_output: false }
}

/// A field that callers set and the older API calls something else.
pub(super) const fn renamed(name: &'static str, alias: &'static str, form: Form) -> Field {
    Field { name, alias: Some(alias), form, is_output: false }
}

/// A field that the server sets.
pub(super) const fn output(name: &'static str) -> Field {
    Field { name, alias: None, form: Form::Text, is_output: true }
}

/// The name of every field that holds [`Form::Labels`].
pub(super) const LABELS: &str = "labels";

/// A key in lowerCamel.
fn camel(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut upper = false;
    for char in key.chars() {
        match char {
            '_' => upper = true,
            char if upper => {
                out.extend(char.to_uppercase());
                upper = false;
            }
            char => out.push(char),
        }
    }
    out
}

fn find(fields: &'static [Field], key: &str) -> Option<&'static Field> {
    let key = camel(key);
    // Published descriptions disagree on how two words join, as in webproxy and webProxy, so case is no matter.
    let is_called = |name: &str| name.eq_ignore_ascii_case(&key);
    fields.iter().find(|field| is_called(field.name) || field.alias.is_some_and(is_called))
}

fn nearest(fields: &'static [Field], key: &str) -> String {
    let key = camel(key);
    let scored = fields.iter().map(|field| (strsim::jaro_winkler(&key, field.name), field.name));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score > 0.8 => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

/// The canonical path of one entry of an update mask, written in either spelling.
pub(super) fn resolve(fields: &'static [Field], path: &str) -> Result<Vec<&'static str>, String> {
    let mut out = Vec::new();
    let mut fields = Some(fields);
    for name in path.split('.') {
        let Some(here) = fields else {
            return Err(format!("{path:?} goes below {}, which is set as a whole", out.join(".")));
        };
        let found = find(here, name).ok_or_else(|| {
            let shown: String = path.chars().take(100).collect();
            format!("there is no field {shown:?}{}", nearest(here, name))
        })?;
        if found.is_output {
            return Err(format!("{path:?} is set by the server and cannot be changed"));
        }
        out.push(found.name);
        fields = match found.form {
            Form::Message(fields) => Some(fields),
            _ => None,
        };
    }
    Ok(out)
}

/// Reads an object by its fields.
pub(super) fn read_fields(
    fields: &'static [Field],
    object: &Map<String, Value>,
    path: &str,
    faults: &mut Faults,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in object {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(field) = find(fields, key) else {
            let at: String = at.chars().take(200).collect();
            faults.add(at, format!("there is no such field{}", nearest(fields, key)));
            continue;
        };
        if field.is_output || value.is_null() {
            continue;
        }
        if out.contains_key(field.name) {
            faults.add(at, "given twice");
            continue;
        }
        if let Some(value) = read_value(&field.form, value, &at, faults) {
            out.insert(field.name.to_owned(), value);
        }
    }
    out
}

fn read_value(form: &'static Form, value: &Value, path: &str, faults: &mut Faults) -> Option<Value> {
    let wanted = match (form, value) {
        (Form::Text | Form::LogType | Form::Regex, Value::String(text)) => {
            return match read_text(form, text) {
                Ok(text) => Some(Value::String(text)),
                Err(description) => {
                    faults.add(path.to_owned(), description);
                    None
                }
            };
        }
        (Form::Flag, Value::Bool(_)) => return Some(value.clone()),
        (Form::Int(..) | Form::Long, Value::Number(_) | Value::String(_)) => {
            let number = match value {
                Value::String(text) => text.parse::<i64>().ok(),
                value => value.as_i64().or_else(|| {
                    let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15)?;
                    Some(float as i64)
                }),
            };
            match (number, form) {
                (Some(number), Form::Int(min, max)) if (*min..=*max).contains(&number) => return Some(number.into()),
                (Some(number), Form::Long) if number >= 0 => return Some(number.to_string().into()),
                (_, Form::Int(min, max)) => {
                    faults.add(path.to_owned(), format!("must be a whole number from {min} to {max}"));
                    return None;
                }
                _ => "a whole number, zero or more",
            }
        }
        (Form::Duration, Value::String(text)) if is_duration(text) => return Some(value.clone()),
        (Form::Duration, _) => "a duration such as \"15s\"",
        (Form::Choice(words), value) => {
            if let Some(word) = value.as_str().and_then(|text| words.iter().find(|word| **word == text)) {
                return Some(Value::from(*word));
            }
            faults.add(path.to_owned(), format!("must be one of {}", words.join(", ")));
            return None;
        }
        (Form::Message(fields), Value::Object(object)) => {
            return Some(Value::Object(read_fields(fields, object, path, faults)));
        }
        (Form::Messages(fields), Value::Array(items)) => {
            let mut out = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let at = format!("{path}[{index}]");
                match item {
                    Value::Object(object) => out.push(Value::Object(read_fields(fields, object, &at, faults))),
                    _ => faults.add(at, "must be an object"),
                }
            }
            return Some(Value::Array(out));
        }
        (Form::Messages(fields), Value::Object(object)) => {
            return Some(Value::Array(vec![Value::Object(read_fields(fields, object, path, faults))]));
        }
        (Form::Texts, Value::Array(items)) if items.iter().all(Value::is_string) => return Some(value.clone()),
        (Form::Texts, Value::String(_)) => return Some(Value::Array(vec![value.clone()])),
        (Form::Labels, value) => return read_labels(value, path, faults),
        (Form::Text, _) => "a string",
        (Form::LogType, _) => "a log type",
        (Form::Regex, _) => "a regular expression",
        (Form::Flag, _) => "true or false",
        (Form::Int(..) | Form::Long, _) => "a whole number",
        (Form::Message(_), _) => "an object",
        (Form::Messages(_), _) => "a list of objects",
        (Form::Texts, _) => "a list of strings",
    };
    faults.add(path.to_owned(), format!("must be {wanted}"));
    None
}

fn read_text(form: &Form, text: &str) -> Result<String, String> {
    if text.len() > limits::LABEL_BYTES_MAX {
        return Err(format!("{} bytes, more than the {} allowed", text.len(), limits::LABEL_BYTES_MAX));
    }
    if text.contains('\0') {
        return Err("holds the character U+0000".to_owned());
    }
    match form {
        Form::LogType => {
            let name = text.rsplit_once("/logTypes/").map_or(text, |(_, name)| name);
            LogType::new(name, "").map(|log_type| log_type.log_type).map_err(|error| error.to_string())
        }
        Form::Regex => compile(text).map(|_| text.to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// The expression of a filter, or what is wrong with it. Google's are RE2: linear in the text, as these are. They are
/// matched against bytes, since a log need not be UTF-8.
pub(super) fn compile(pattern: &str) -> Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(pattern)
        .size_limit(limits::FILTER_REGEX_BYTES_MAX)
        .dfa_size_limit(limits::FILTER_REGEX_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or("not a regular expression").trim().to_owned(),
        })
}

fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(seconds) && seconds.len() <= 12 && digits(fraction) && fraction.len() <= 9
}

fn read_labels(value: &Value, path: &str, faults: &mut Faults) -> Option<Value> {
    let mut out = Map::new();
    let mut add = |key: &str, value: &Value, at: String, faults: &mut Faults| {
        // The import calls write a label's value as an object, and clients use the same labels for both.
        let text = match value.get("value").unwrap_or(value) {
            Value::String(text) => text,
            Value::Null => return,
            _ => return faults.add(at, "must be a string"),
        };
        let fits = !key.is_empty() && key.len().max(text.len()) <= limits::LABEL_BYTES_MAX;
        if fits && !key.contains('\0') && !text.contains('\0') {
            out.insert(key.to_owned(), Value::from(text.as_str()));
        } else {
            let most = limits::LABEL_BYTES_MAX;
            faults.add(at, format!("keys are not empty, keys and values have at most {most} bytes and no U+0000"));
        }
    };
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let shown: String = key.chars().take(60).collect();
                add(key, value, format!("{path}.{shown}"), faults);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                match item.get("key").and_then(Value::as_str) {
                    Some(key) => {
                        add(key, item.get("value").unwrap_or(&Value::Null), format!("{path}[{index}].value"), faults);
                    }
                    None => faults.add(format!("{path}[{index}]"), "must be an object with key and value"),
                }
            }
        }
        _ => {
            faults.add(path.to_owned(), "must be an object of strings, or a list of key and value");
            return None;
        }
    }
    if out.len() > limits::LABELS_MAX {
        faults.add(path.to_owned(), format!("{} labels, more than the {} allowed", out.len(), limits::LABELS_MAX));
    }
    Some(Value::Object(out))
}
