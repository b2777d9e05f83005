//! What kind of logs samples are: whether a header of syslog stands before them, and what the rest is.
//!
//! Each sample is looked at on its own, and most of them decide. Nothing here has to be right about every log: the parser
//! that is written for a shape lets pass what is of another.

use std::sync::LazyLock;

use regex::Regex;
use roxmltree::{Document, Node};
use serde_json::Value as Json;

/// How many samples are looked at.
pub(super) const SAMPLES_MAX: usize = 1_000;

/// How many bytes of a sample are looked at.
const SAMPLE_BYTES_MAX: usize = 1 << 20;

/// How many fields are told apart.
const FIELDS_MAX: usize = 500;

/// How many values of a field are kept.
const VALUES_MAX: usize = 20;

/// How deep fields are looked for in documents.
const DEPTH_MAX: usize = 8;

/// How many texts that are documents themselves are read.
const NESTED_MAX: usize = 5;

/// What stands before the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    None,
    /// As RFC 3164 tells of: time, host, and often a program.
    Bsd,
    /// RFC 5424.
    Ietf,
    /// Some words before an object of JSON.
    Words,
}

/// What the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Json,
    Cef,
    Leef { delimiter: char },
    Kv { fields: char, values: char },
    Csv { separator: char },
    Xml,
    Plain,
}

/// A field that samples have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Its steps, as a program names it; of XML an XPath in one piece.
    pub(super) path: Vec<String>,
    /// What it is called, for comparing names: its steps without what stands around the name itself.
    pub(super) name: Vec<String>,
    /// What it held.
    pub(super) values: Vec<String>,
    /// Whether it was always a text.
    pub(super) is_text: bool,
}

/// What samples are.
#[derive(Debug)]
pub(super) struct Shape<'s> {
    pub(super) header: Header,
    pub(super) body: Body,
    pub(super) fields: Vec<Field>,
    /// Fields of JSON whose texts are objects of JSON themselves.
    pub(super) nested: Vec<Vec<String>>,
    /// What stands behind the header.
    pub(super) bodies: Vec<&'s str>,
}

static BSD: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)^(?:(?:<\d{1,3}>)?[A-Z][a-z]{2} +\d{1,2} (?:\d{4} )?\d\d:\d\d:\d\d[\d.]*|<\d{1,3}>\d{4}-\d\d-\d\dT\S+) \S+ (?:[^\s:\[\]=|{}<>]+(?:\[\d+\])?: )?(.*)$";
    Regex::new(pattern).expect("the expression is a constant")
});

static IETF: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?s)^<\d{1,3}>1 \S+ \S+ \S+ \S+ \S+ (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) ?(.*)$"#;
    Regex::new(pattern).expect("the expression is a constant")
});

static EXTENSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|\s)([A-Za-z][A-Za-z0-9_]*)=").expect("the expression is a constant"));

/// Looks at samples.
pub(super) fn detect<'s>(samples: &[&'s str]) -> Shape<'s> {
    let samples: Vec<&str> =
        samples.iter().map(|sample| cut(sample.trim())).filter(|sample| !sample.is_empty()).take(SAMPLES_MAX).collect();
    let headed: Vec<(Header, &str)> = samples.iter().map(|sample| behead(sample)).collect();
    let header = most(headed.iter().map(|(header, _)| *header)).unwrap_or(Header::None);
    let bodies: Vec<&str> = headed.iter().filter(|(of, _)| *of == header).map(|(_, body)| *body).collect();
    let body = most(bodies.iter().map(|body| classify(body))).unwrap_or(Body::Plain);
    let body = match body {
        // Only several lines together tell columns from a sentence with commas.
        Body::Plain => csv(&bodies).unwrap_or(Body::Plain),
        body => body,
    };
    let mut fields = Fields::default();
    for text in &bodies {
        fields.read(&body, text);
    }
    Shape { header, body, fields: fields.list, nested: fields.nested, bodies }
}

fn cut(sample: &str) -> &str {
    &sample[..sample.floor_char_boundary(SAMPLE_BYTES_MAX)]
}

fn most<T: PartialEq>(votes: impl Iterator<Item = T>) -> Option<T> {
    let mut counted: Vec<(T, usize)> = Vec::new();
    for vote in votes {
        match counted.iter_mut().find(|(of, _)| *of == vote) {
            Some((_, count)) => *count += 1,
            None => counted.push((vote, 1)),
        }
    }
    // The first of several with as many.
    counted.into_iter().rev().max_by_key(|(_, count)| *count).map(|(vote, _)| vote)
}

/// Takes the header from a sample.
fn behead(sample: &str) -> (Header, &str) {
    let rest = |regex: &Regex| regex.captures(sample).and_then(|found| found.get(1)).map(|rest| rest.as_str());
    if let Some(rest) = rest(&IETF) {
        return (Header::Ietf, rest.trim_start_matches('\u{feff}'));
    }
    if let Some(rest) = rest(&BSD) {
        return (Header::Bsd, rest);
    }
    if let Some(at) = sample.find('{')
        && at > 0
        && !sample.starts_with(['<', '['])
        && is_object(&sample[at..])
    {
        return (Header::Words, &sample[at..]);
    }
    (Header::None, sample)
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<Json>(text).is_ok()
}

fn classify(body: &str) -> Body {
    if is_object(body) {
        Body::Json
    } else if body.contains("CEF:") && body.matches('|').count() >= 7 {
        Body::Cef
    } else if body.starts_with("LEEF:") && body.matches('|').count() >= 4 {
        Body::Leef { delimiter: leef_delimiter(body) }
    } else if body.starts_with('<') && Document::parse(body).is_ok() {
        Body::Xml
    } else {
        kv(body).unwrap_or(Body::Plain)
    }
}

/// What stands between the attributes of LEEF: a tab, or what version 2 names after the header.
fn leef_delimiter(body: &str) -> char {
    let parts: Vec<&str> = body.splitn(7, '|').collect();
    if !parts[0].starts_with("LEEF:2") || parts.len() < 6 {
        return '\t';
    }
    let named = parts[5];
    let hex = named.strip_prefix("0x").or_else(|| named.strip_prefix('x'));
    let code = hex.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
    match (code, named.chars().next(), named.chars().count()) {
        (Some(code), ..) => code,
        (None, Some(one), 1) => one,
        _ => '\t',
    }
}

/// What stands behind the seven parts of CEF's header, in which a backslash takes a bar's meaning away.
fn cef_extension(text: &str) -> &str {
    let (mut bars, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'|' if !escaped => bars += 1,
            _ => {}
        }
        if bars == 7 {
            return &text[at + 1..];
        }
        escaped = byte == b'\\' && !escaped;
    }
    ""
}

/// Whether a text is pairs of keys and values, and what separates them.
fn kv(body: &str) -> Option<Body> {
    let mut best: Option<(usize, Body)> = None;
    for values in ['=', ':'] {
        for fields in ['\t', '|', ';', ',', ' '] {
            if values == ':' && fields == ' ' {
                continue;
            }
            let pieces = split(body, fields);
            let pieces: Vec<&str> = pieces.into_iter().map(str::trim).filter(|piece| !piece.is_empty()).collect();
            let pairs = pieces.iter().filter(|piece| pair(piece, values).is_some()).count();
            if pairs >= 3 && pairs * 10 >= pieces.len() * 7 && best.as_ref().is_none_or(|(most, _)| pairs > *most) {
                best = Some((pairs, Body::Kv { fields, values }));
            }
        }
        if best.is_some() {
            break;
        }
    }
    best.map(|(_, body)| body)
}

/// The key and value of a piece.
fn pair(piece: &str, values: char) -> Option<(&str, &str)> {
    let (key, value) = piece.split_once(values)?;
    let key = key.trim();
    let is_key = !key.is_empty() && key.len() <= 60 && key.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    is_key.then(|| (key, value.trim().trim_matches('"')))
}

/// The pieces of a text, but for separators between double quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        if character == '"' {
            quoted = !quoted;
        } else if character == separator && !quoted {
            pieces.push(&text[start..at]);
            start = at + character.len_utf8();
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// Whether lines have as many columns each.
fn csv(bodies: &[&str]) -> Option<Body> {
    let wanted = if bodies.len() > 1 { 4 } else { 6 };
    [',', ';', '|', '\t'].into_iter().find_map(|separator| {
        let counts: Vec<usize> = bodies.iter().map(|body| split(body, separator).len()).collect();
        let first = most(counts.iter().copied())?;
        let alike = counts.iter().filter(|count| **count == first).count();
        (first >= wanted && alike * 3 >= counts.len() * 2).then_some(Body::Csv { separator })
    })
}

/// Gathers the fields of samples.
#[derive(Default)]
struct Fields {
    list: Vec<Field>,
    nested: Vec<Vec<String>>,
}

impl Fields {
    fn read(&mut self, body: &Body, text: &str) {
        match body {
            Body::Json => {
                if let Ok(Json::Object(object)) = serde_json::from_str::<Json>(text) {
                    self.object(&object, &mut Vec::new(), true);
                }
            }
            Body::Cef => {
                let extension = cef_extension(text);
                let keys: Vec<_> = EXTENSION.captures_iter(extension).filter_map(|found| found.get(1)).collect();
                for (at, key) in keys.iter().enumerate() {
                    let end = keys.get(at + 1).map_or(extension.len(), |next| next.start());
                    let value = extension.get(key.end() + 1..end).unwrap_or_default().trim();
                    self.note(&[key.as_str()], value, true);
                }
            }
            Body::Leef { delimiter } => {
                let parts = if text.starts_with("LEEF:2") { 7 } else { 6 };
                let attributes = text.splitn(parts, '|').nth(parts - 1).unwrap_or_default();
                for piece in attributes.split(*delimiter) {
                    if let Some((key, value)) = pair(piece, '=') {
                        self.note(&[key], value, true);
                    }
                }
            }
            Body::Kv { fields, values } => {
                for piece in split(text, *fields) {
                    if let Some((key, value)) = pair(piece, *values) {
                        let steps: Vec<&str> = key.split('.').filter(|step| !step.is_empty()).collect();
                        self.note(&steps, value, true);
                    }
                }
            }
            Body::Csv { separator } => {
                for (at, value) in split(text, *separator).into_iter().enumerate() {
                    self.note(&[&format!("column{}", at + 1)], value.trim().trim_matches('"'), true);
                }
            }
            Body::Xml => {
                if let Ok(document) = Document::parse(text) {
                    self.element(document.root_element(), "", &mut Vec::new());
                }
            }
            Body::Plain => {}
        }
    }

    fn object(&mut self, object: &serde_json::Map<String, Json>, path: &mut Vec<String>, outer: bool) {
        for (key, value) in object {
            // Keys with dots are read as nested (contracts/cbn.md §1.2).
            let steps: Vec<String> = key.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
            let length = path.len();
            path.extend(steps);
            if path.len() <= DEPTH_MAX && path.len() > length {
                let steps: Vec<&str> = path.iter().map(String::as_str).collect();
                match value {
                    Json::Object(inner) => self.object(inner, path, outer),
                    Json::String(text) if outer && self.nested(text, path) => {}
                    Json::String(text) => self.note(&steps, text, true),
                    Json::Number(number) => self.note(&steps, &number.to_string(), false),
                    Json::Bool(truth) => self.note(&steps, &truth.to_string(), false),
                    Json::Null | Json::Array(_) => {}
                }
            }
            path.truncate(length);
        }
    }

    /// Reads a text that is an object of JSON itself, below a name of its own.
    fn nested(&mut self, text: &str, path: &[String]) -> bool {
        if !text.starts_with('{') || !path.iter().all(|step| is_step(step)) {
            return false;
        }
        let Ok(Json::Object(object)) = serde_json::from_str::<Json>(text) else { return false };
        if !self.nested.iter().any(|known| known == path) {
            if self.nested.len() >= NESTED_MAX {
                return false;
            }
            self.nested.push(path.to_vec());
        }
        let mut below = vec![nested_name(path)];
        self.object(&object, &mut below, false);
        true
    }

    fn element(&mut self, node: Node<'_, '_>, above: &str, name: &mut Vec<String>) {
        if name.len() >= DEPTH_MAX {
            return;
        }
        let tag = node.tag_name().name();
        // Several of the same name are told apart by what they call themselves.
        let called = node.attribute("Name").filter(|called| is_step(called));
        let path = match called {
            Some(called) => format!("{above}/{tag}[@Name='{called}']"),
            None => format!("{above}/{tag}"),
        };
        name.push(called.unwrap_or(tag).to_owned());
        for attribute in node.attributes().filter(|attribute| attribute.name() != "Name") {
            name.push(attribute.name().to_owned());
            self.note_as(vec![format!("{path}/@{}", attribute.name())], name.clone(), attribute.value(), true);
            name.pop();
        }
        let text = node.text().unwrap_or_default().trim();
        if !text.is_empty() {
            self.note_as(vec![path.clone()], name.clone(), text, true);
        }
        for child in node.children().filter(Node::is_element) {
            self.element(child, &path, name);
        }
        name.pop();
    }

    fn note(&mut self, path: &[&str], value: &str, is_text: bool) {
        // What cannot be named in a program without care is left to its writer.
        if path.is_empty() || !path.iter().all(|step| is_step(step)) {
            return;
        }
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        self.note_as(path.clone(), path, value, is_text);
    }

    fn note_as(&mut self, path: Vec<String>, name: Vec<String>, value: &str, is_text: bool) {
        let field = match self.list.iter().position(|field| field.path == path) {
            Some(at) => &mut self.list[at],
            None if self.list.len() < FIELDS_MAX => {
                self.list.push(Field { path, name, values: Vec::new(), is_text: true });
                self.list.last_mut().expect("a field was pushed")
            }
            None => return,
        };
        field.is_text &= is_text;
        if field.values.len() < VALUES_MAX {
            field.values.push(value[..value.floor_char_boundary(200)].to_owned());
        }
    }
}

/// Below which name the object lies that a text is.
pub(super) fn nested_name(path: &[String]) -> String {
    format!("{}_json", path.join("_"))
}

/// Whether a name can be a step of a path as it is.
fn is_step(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 80
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_@-".contains(&byte))
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}
