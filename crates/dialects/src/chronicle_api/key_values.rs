//! `generateUdmKeyValueMappings`: the keys and values of a log, as those who write a mapping want to see them.
//!
//! Pure and without a component: the log is sent along. JSON and CSV are read here, and XML as far as elements, attributes
//! and texts go; a document type is refused, so that no entity can make much of little. By hand, since trees of documents compare
//! each attribute of an element with all others, which a stranger's log must not make a request of seconds.

use std::borrow::Cow;

use event::limits;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::parser::decode;
use super::read_json;
use crate::{Refusal, Reply};

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default, alias = "logFormat")]
    log_format: Option<Cow<'b, str>>,
    #[serde(borrow, default)]
    log: Option<Cow<'b, str>>,
    #[serde(default, alias = "useArrayBracketNotation")]
    use_array_bracket_notation: Option<bool>,
    #[serde(default, alias = "compressArrayFields")]
    compress_array_fields: Option<bool>,
}

/// How lists are written in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lists {
    /// `a.0`
    #[default]
    Dots,
    /// `a[0]`
    Brackets,
    /// `a`, with the first value only.
    First,
}

/// The answer to this body.
pub(super) fn answer(body: &[u8]) -> Result<Reply, Refusal> {
    let body: Body<'_> = read_json(body)?;
    let log = decode(&body.log.unwrap_or_default())
        .ok_or_else(|| Refusal::invalid_field("log", "must be a log in base64"))?;
    if log.len() > limits::KEY_VALUES_LOG_BYTES_MAX {
        let description = format!("{} bytes; it has at most {}", log.len(), limits::KEY_VALUES_LOG_BYTES_MAX);
        return Err(Refusal::invalid_field("log", description));
    }
    let log = String::from_utf8_lossy(&log);
    let lists = match (body.compress_array_fields, body.use_array_bracket_notation) {
        (Some(true), _) => Lists::First,
        (_, Some(true)) => Lists::Brackets,
        _ => Lists::Dots,
    };
    let mut found = Found { lists, ..Found::default() };
    match body.log_format.as_deref().unwrap_or_default() {
        "JSON" => json_log(&log, &mut found)?,
        "XML" => xml_log(&log, &mut found)?,
        "CSV" => csv_log(&log, &mut found)?,
        // What the log looks like.
        "" | "LOG_FORMAT_UNSPECIFIED" => match log.trim_start().chars().next() {
            Some('{' | '[') => json_log(&log, &mut found)?,
            Some('<') => xml_log(&log, &mut found)?,
            _ => csv_log(&log, &mut found)?,
        },
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(Refusal::invalid_field("log_format", format!("{shown:?} is none of JSON, CSV and XML")));
        }
    }
    if found.bytes > limits::KEY_VALUES_BYTES_MAX {
        let description = format!("its keys and values have more than {} bytes", limits::KEY_VALUES_BYTES_MAX);
        return Err(Refusal::invalid_field("log", description));
    }
    Ok(Reply::json(StatusCode::OK, json!({ "fieldMappings": found.fields }).to_string()))
}

/// Keys and values in the order of the log.
#[derive(Default)]
struct Found {
    lists: Lists,
    fields: Map<String, Value>,
    bytes: usize,
}

impl Found {
    /// Notes a value. Once there is too much, nothing more is kept; it is counted all the same.
    fn note(&mut self, key: &str, value: String) {
        self.bytes += key.len() + value.len();
        if self.bytes <= limits::KEY_VALUES_BYTES_MAX {
            self.fields.insert(key.to_owned(), Value::String(value));
        }
    }

    fn is_full(&self) -> bool {
        self.bytes > limits::KEY_VALUES_BYTES_MAX
    }

    fn walk(&mut self, key: &mut String, value: &Value) {
        if self.is_full() {
            return;
        }
        let before = key.len();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if !key.is_empty() {
                        key.push('.');
                    }
                    key.push_str(name);
                    self.walk(key, member);
                    key.truncate(before);
                }
            }
            Value::Array(items) if self.lists == Lists::First => {
                let more = items.len() > 1;
                match items.first() {
                    None => {}
                    Some(first @ (Value::Object(_) | Value::Array(_))) => self.walk(key, first),
                    Some(first) => self.note(key, text_of(first) + if more { "..." } else { "" }),
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    match self.lists {
                        Lists::Brackets => key.push_str(&format!("[{index}]")),
                        _ if key.is_empty() => key.push_str(&index.to_string()),
                        _ => key.push_str(&format!(".{index}")),
                    }
                    self.walk(key, item);
                    key.truncate(before);
                }
            }
            scalar => {
                let key = key.clone();
                self.note(&key, text_of(scalar));
            }
        }
    }
}

fn text_of(scalar: &Value) -> String {
    match scalar {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn json_log(log: &str, found: &mut Found) -> Result<(), Refusal> {
    let value: Value =
        serde_json::from_str(log).map_err(|error| Refusal::invalid_field("log", format!("is no JSON: {error}")))?;
    if !value.is_object() && !value.is_array() {
        return Err(Refusal::invalid_field("log", "is one value without a key"));
    }
    found.walk(&mut String::new(), &value);
    Ok(())
}

/// The columns of the first line, as Google's parsers call what has no header.
fn csv_log(log: &str, found: &mut Found) -> Result<(), Refusal> {
    let line = log.lines().find(|line| !line.trim().is_empty());
    let line = line.ok_or_else(|| Refusal::invalid_field("log", "is empty"))?;
    for (index, value) in columns(line).into_iter().enumerate() {
        found.note(&format!("column{}", index + 1), value);
    }
    Ok(())
}

/// Columns between commas; quotes keep commas in, two of them are one.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut chars = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(char) = chars.next() {
        let column = columns.last_mut().expect("there is always one");
        match char {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if column.trim().is_empty() => {
                column.clear();
                is_quoted = true;
            }
            ',' if !is_quoted => columns.push(String::new()),
            char => column.push(char),
        }
    }
    columns
}

/// Deepest element that is read.
const XML_DEPTH_MAX: usize = 100;

/// Elements by the names above them, attributes behind theirs. Elements of one name under one parent are a list.
fn xml_log(log: &str, found: &mut Found) -> Result<(), Refusal> {
    let value = Xml { rest: log }.document()?;
    found.walk(&mut String::new(), &value);
    Ok(())
}

/// What of a document is still to be read.
struct Xml<'x> {
    rest: &'x str,
}

/// An element that is not over yet.
struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Xml<'_> {
    fn document(mut self) -> Result<Value, Refusal> {
        let mut root = Open { name: String::new(), members: Map::new(), text: String::new() };
        let mut open: Vec<Open> = Vec::new();
        while !self.rest.is_empty() {
            let Some(rest) = self.rest.strip_prefix('<') else {
                let (text, rest) = self.rest.split_at(self.rest.find('<').unwrap_or(self.rest.len()));
                self.rest = rest;
                match open.last_mut() {
                    Some(element) => element.text.push_str(&unescaped(text)),
                    None if text.trim().is_empty() => {}
                    None => return Err(wrong("has text outside of its root")),
                }
                continue;
            };
            if let Some(rest) = rest.strip_prefix("!--") {
                self.rest = behind(rest, "-->")?;
            } else if let Some(rest) = rest.strip_prefix("![CDATA[") {
                let (text, _) = rest.split_once("]]>").ok_or_else(|| wrong("ends within CDATA"))?;
                open.last_mut().ok_or_else(|| wrong("has text outside of its root"))?.text.push_str(text);
                self.rest = behind(rest, "]]>")?;
            } else if let Some(rest) = rest.strip_prefix('?') {
                self.rest = behind(rest, "?>")?;
            } else if rest.starts_with('!') {
                return Err(wrong("has a document type, which is not read"));
            } else if let Some(rest) = rest.strip_prefix('/') {
                let (name, rest) = rest.split_once('>').ok_or_else(|| wrong("ends within a tag"))?;
                self.rest = rest;
                let element = open.pop().filter(|element| element.name == name.trim_end());
                let element = element.ok_or_else(|| wrong(&format!("ends {:?}, which is not open", clip(name))))?;
                element.close(open.last_mut().unwrap_or(&mut root));
            } else {
                self.rest = rest;
                let (element, is_empty) = self.tag()?;
                if open.is_empty() && !root.members.is_empty() {
                    return Err(wrong("has two roots"));
                }
                if is_empty {
                    element.close(open.last_mut().unwrap_or(&mut root));
                } else if open.len() >= XML_DEPTH_MAX {
                    return Err(wrong("is too deep"));
                } else {
                    open.push(element);
                }
            }
        }
        match open.last() {
            Some(element) => Err(wrong(&format!("does not end {:?}", clip(&element.name)))),
            None if root.members.is_empty() => Err(wrong("has no element")),
            None => Ok(Value::Object(root.members)),
        }
    }

    /// A start tag behind its `<`; whether it is the end, too.
    fn tag(&mut self) -> Result<(Open, bool), Refusal> {
        let is_name = |char: char| !char.is_whitespace() && !matches!(char, '<' | '>' | '/' | '=' | '"' | '\'');
        let word = |xml: &mut Self| {
            let (name, rest) = xml.rest.split_at(xml.rest.find(|char| !is_name(char)).unwrap_or(xml.rest.len()));
            xml.rest = rest.trim_start();
            if name.is_empty() { Err(wrong("has a tag without a name")) } else { Ok(name.to_owned()) }
        };
        let mut element = Open { name: word(self)?, members: Map::new(), text: String::new() };
        loop {
            if let Some(rest) = self.rest.strip_prefix("/>") {
                self.rest = rest;
                return Ok((element, true));
            }
            if let Some(rest) = self.rest.strip_prefix('>') {
                self.rest = rest;
                return Ok((element, false));
            }
            let name = word(self)?;
            let rest =
                self.rest.strip_prefix('=').ok_or_else(|| wrong("has an attribute without a value"))?.trim_start();
            let quote = rest.chars().next().filter(|char| matches!(char, '"' | '\''));
            let quote = quote.ok_or_else(|| wrong("has a value without quotes"))?;
            let (value, rest) = rest[1..].split_once(quote).ok_or_else(|| wrong("ends within a value"))?;
            element.members.insert(name, Value::String(unescaped(value)));
            self.rest = rest.trim_start();
        }
    }
}

impl Open {
    fn close(self, parent: &mut Open) {
        let text = self.text.trim();
        let value = match (self.members.is_empty(), text.is_empty()) {
            (true, _) => Value::String(text.to_owned()),
            (false, true) => Value::Object(self.members),
            (false, false) => {
                let mut members = self.members;
                members.insert("text".to_owned(), Value::String(text.to_owned()));
                Value::Object(members)
            }
        };
        match parent.members.get_mut(&self.name) {
            None => {
                parent.members.insert(self.name, value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(one) => *one = Value::Array(vec![one.take(), value]),
        }
    }
}

fn behind<'x>(text: &'x str, end: &str) -> Result<&'x str, Refusal> {
    text.split_once(end).map(|(_, rest)| rest).ok_or_else(|| wrong(&format!("lacks {end:?}")))
}

fn wrong(what: &str) -> Refusal {
    Refusal::invalid_field("log", format!("is no XML that can be read: it {what}"))
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The text with its character references replaced; what is none stays as it is.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest is that of the last character there is.
        let end = rest.bytes().take("&#x10FFFF;".len()).position(|byte| byte == b';');
        let char = end.and_then(|end| match &rest[1..end] {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            number => {
                let number = number.strip_prefix('#')?;
                let number = match number.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => number.parse(),
                };
                number.ok().and_then(char::from_u32)
            }
        });
        match (char, end) {
            (Some(char), Some(end)) => {
                out.push(char);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn mapped(format: &str, log: &str, options: &Value) -> Result<Value, String> {
        let mut body = json!({ "log_format": format, "log": STANDARD.encode(log) });
        body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        match answer(body.to_string().as_bytes()) {
            Ok(reply) => Ok(serde_json::from_slice::<Value>(&reply.body).unwrap()["fieldMappings"].take()),
            Err(refusal) => Err(refusal.message),
        }
    }

    #[test]
    fn keys_lead_to_their_values() {
        let lists = r#"{"a": [{"b": 1}, {"b": true}], "c": ["x", "y"], "d": [], "e": null}"#;
        let cases = [
            (
                "JSON",
                r#"{"menu": {"id": "file", "popup": {"value": "New"}}}"#,
                json!({}),
                json!({ "menu.id": "file", "menu.popup.value": "New" }),
            ),
            ("JSON", lists, json!({}), json!({ "a.0.b": "1", "a.1.b": "true", "c.0": "x", "c.1": "y", "e": "" })),
            (
                "JSON",
                lists,
                json!({ "use_array_bracket_notation": true }),
                json!({ "a[0].b": "1", "a[1].b": "true", "c[0]": "x", "c[1]": "y", "e": "" }),
            ),
            ("JSON", lists, json!({ "compressArrayFields": true }), json!({ "a.b": "1", "c": "x...", "e": "" })),
            ("JSON", r#"[{"a": 1}]"#, json!({}), json!({ "0.a": "1" })),
            (
                "XML",
                "<?xml version='1.0'?><e a='1'><u>joe &amp; co</u><u>x</u><!-- - --><v><![CDATA[<&]]></v><w/></e>\n",
                json!({}),
                json!({ "e.a": "1", "e.u.0": "joe & co", "e.u.1": "x", "e.v": "<&", "e.w": "" }),
            ),
            ("XML", "<e><Data Name='p'>q</Data></e>", json!({}), json!({ "e.Data.Name": "p", "e.Data.text": "q" })),
            (
                "CSV",
                "1, \"a,\"\"b\"\"\",,x\n",
                json!({}),
                json!({ "column1": "1", "column2": "a,\"b\"", "column3": "", "column4": "x" }),
            ),
            ("LOG_FORMAT_UNSPECIFIED", "<a>&#65;&#x42;&c;</a>", json!({}), json!({ "a": "AB&c;" })),
        ];
        for (format, log, options, expected) in cases {
            assert_eq!(mapped(format, log, &options), Ok(expected), "{log}");
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_told() {
        let deep = format!("{}{}", "<a>".repeat(101), "</a>".repeat(101));
        for (format, log, expected) in [
            ("JSON", "{", "is no JSON"),
            ("JSON", "5", "without a key"),
            ("YAML", "a: b", "none of JSON, CSV and XML"),
            ("CSV", " \n", "is empty"),
            ("XML", "<a><b></a>", "which is not open"),
            ("XML", "<a>", "does not end"),
            ("XML", "<a/><b/>", "two roots"),
            ("XML", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "document type"),
            ("XML", "<a b=c/>", "without quotes"),
            ("XML", deep.as_str(), "too deep"),
            ("XML", "x", "outside of its root"),
        ] {
            let told = mapped(format, log, &json!({})).unwrap_err();
            assert!(told.contains(expected), "{log}: {told}");
        }
    }

    #[test]
    fn a_small_log_does_not_become_a_large_answer() {
        let name = "n".repeat(1_000);
        let nested =
            (0..100).fold("1".to_owned(), |inner, index| format!(r#"{{"{name}{index}": {inner}, "x": [0, 1, 2]}}"#));
        assert!(mapped("JSON", &nested, &json!({})).unwrap_err().contains("bytes"));
    }
}
