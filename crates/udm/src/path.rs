//! Field paths as people write them, resolved against the schema, with the nearest names for what is not there.

use std::fmt::Write as _;
use std::ops::Range;

use event::limits;

use crate::schema::{Field, FieldKind, MessageId};
use crate::{EnumId, Root, Schema};

/// A field that exists, found by [`Schema::resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
    pub(crate) part: Part,
    text: String,
    kind: LeafKind,
    repeated: bool,
}

impl FieldPath {
    /// Which kind of record it belongs to.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The canonical text: snake case, `additional.fields["k"]`, `labels["k"]`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What its values are.
    pub fn kind(&self) -> LeafKind {
        self.kind
    }

    /// Whether [`Schema::visit_leaves`] reports its values: not so for the parts of a time (`.seconds`) and for the keys
    /// of free-form objects, which filters therefore know nothing of.
    pub fn is_leaf(&self) -> bool {
        self.part == Part::Whole && self.steps.last() != Some(&Step::AnyKey)
    }

    /// Whether one record may hold several values of it.
    pub fn repeated(&self) -> bool {
        self.repeated
    }
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// Text.
    Text,
    /// Bytes, as the base64 text (or UUID) that was sent.
    Bytes,
    /// True or false.
    Bool,
    /// A whole number from `min` to `max`.
    Int {
        /// The type's smallest value.
        min: i128,
        /// The type's largest value.
        max: i128,
    },
    /// A number.
    Float,
    /// A name out of a list.
    Enum(EnumId),
    /// A point in time.
    Time,
    /// A length of time.
    Duration,
    /// Text, number or bool, as the sender chose: a value of a free-form part such as `additional`.
    Dynamic,
    /// Not a value but a message, list of messages or free-form object: it has fields to be named.
    Message,
}

/// A path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnknownField {
    /// Which bytes of the path are wrong.
    pub span: Range<usize>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Whole paths that exist and look alike, best first; at most three.
    pub nearest: Vec<String>,
}

/// One step down a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The field of a message with this index.
    Field(usize),
    /// The entry of a free-form object or map with this key.
    Key(String),
    /// The value of the label with this key.
    Label(String),
    /// Any value of a free-form object.
    AnyValue,
    /// Any key of a free-form object.
    AnyKey,
}

/// Which part of a scalar is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Whole,
    Seconds,
    Nanos,
}

pub(crate) fn resolve(schema: &Schema, root: Root, path: &str) -> Result<FieldPath, UnknownField> {
    let segments = segments(path)?;
    Resolver { schema, path, steps: Vec::new(), text: String::new(), repeated: false }.run(root, &segments)
}

/// Appends `["key"]`, escaped as the query language reads it.
pub(crate) fn push_key(text: &mut String, key: &str) {
    text.push_str("[\"");
    for character in key.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push_str("\"]");
}

#[derive(Debug)]
enum Segment {
    Name(Range<usize>),
    Key(Range<usize>, String),
}

impl Segment {
    fn span(&self) -> Range<usize> {
        match self {
            Segment::Name(span) | Segment::Key(span, _) => span.clone(),
        }
    }
}

/// Cuts `a.b["k"].c` into its segments.
fn segments(path: &str) -> Result<Vec<Segment>, UnknownField> {
    let bytes = path.as_bytes();
    let wrong =
        |span: Range<usize>, message: &str| UnknownField { span, message: message.to_owned(), nearest: Vec::new() };
    let mut segments = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
            at += 1;
        }
        if start == at {
            let end = path[at..].chars().next().map_or(at, |next| at + next.len_utf8());
            return Err(wrong(start..end, "expected the name of a field here"));
        }
        segments.push(Segment::Name(start..at));
        while bytes.get(at) == Some(&b'[') {
            let start = at;
            let rest = path[at + 1..].strip_prefix('"');
            let Some(rest) = rest else {
                return Err(wrong(start..at + 1, "expected a quoted key after `[`, such as [\"name\"]"));
            };
            let (key, used) =
                unquote(rest).ok_or_else(|| wrong(start..path.len(), "this key has no end or a wrong escape"))?;
            at += 2 + used;
            if bytes.get(at) != Some(&b']') {
                return Err(wrong(start..at, "expected `]` after the key"));
            }
            at += 1;
            segments.push(Segment::Key(start..at, key));
        }
        if segments.len() > limits::JSON_DEPTH_MAX {
            return Err(wrong(0..at, "this path goes deeper than any record may"));
        }
        match bytes.get(at) {
            None => return Ok(segments),
            Some(b'.') => at += 1,
            Some(_) => {
                let end = path[at..].chars().next().map_or(at, |next| at + next.len_utf8());
                return Err(wrong(at..end, "expected `.` or the end of the path here"));
            }
        }
    }
}

/// The text up to the closing quote, unescaped, and how many bytes it took with the quote.
fn unquote(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((out, at + 1)),
            '\\' => out.push(match characters.next()?.1 {
                '"' => '"',
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                _ => return None,
            }),
            other => out.push(other),
        }
    }
    None
}

struct Resolver<'a> {
    schema: &'a Schema,
    path: &'a str,
    steps: Vec<Step>,
    text: String,
    repeated: bool,
}

/// Where a resolver stands.
#[derive(Clone, Copy)]
enum At<'a> {
    Message(MessageId),
    /// In a free-form object.
    Free,
    /// At a value of a free-form object.
    FreeValue,
    /// At a map, before its key.
    Map(&'a Field),
    Leaf(LeafKind),
}

impl<'a> Resolver<'a> {
    fn run(mut self, root: Root, segments: &[Segment]) -> Result<FieldPath, UnknownField> {
        let mut at = At::Message(self.schema.root(root));
        let mut part = Part::Whole;
        let mut index = 0;
        while let Some(segment) = segments.get(index) {
            index += 1;
            at = match (at, segment) {
                (At::Message(message), Segment::Name(span)) => {
                    let field_index = self
                        .schema
                        .message(message)
                        .field_index(&self.path[span.clone()])
                        .ok_or_else(|| self.unknown(message, segment))?;
                    let field = &self.schema.message(message).fields[field_index];
                    self.name(&field.name);
                    self.steps.push(Step::Field(field_index));
                    self.repeated |= field.repeated;
                    match (field.kind, segments.get(index)) {
                        (FieldKind::Message(inner), Some(Segment::Key(_, key))) if field.is_list() => {
                            let Some((_, value)) = self.schema.message(inner).label else {
                                return Err(self.wrong(&segments[index], "has no keys: it is a list of messages"));
                            };
                            index += 1;
                            self.steps.push(Step::Label(key.clone()));
                            push_key(&mut self.text, key);
                            // `labels["k"].value` is another way to say `labels["k"]`.
                            if let Some(Segment::Name(span)) = segments.get(index)
                                && self.schema.message(inner).field_index(&self.path[span.clone()]) == Some(value)
                            {
                                index += 1;
                            }
                            At::Leaf(LeafKind::Text)
                        }
                        _ if field.map => At::Map(field),
                        _ => self.at_kind(field.kind),
                    }
                }
                (At::Map(field), Segment::Key(_, key)) => {
                    self.steps.push(Step::Key(key.clone()));
                    push_key(&mut self.text, key);
                    self.at_kind(field.kind)
                }
                (At::Map(_), Segment::Name(_)) => {
                    return Err(self.wrong(segment, "is a map: name its key, such as [\"name\"]"));
                }
                (At::Free, Segment::Key(_, key)) => self.free_key(key),
                (At::Free, Segment::Name(span)) if self.path[span.clone()] == *"fields" => match segments.get(index) {
                    Some(Segment::Key(_, key)) => {
                        index += 1;
                        self.free_key(key)
                    }
                    Some(Segment::Name(span)) if self.path[span.clone()] == *"key" => {
                        index += 1;
                        self.text.push_str(".fields.key");
                        self.steps.push(Step::AnyKey);
                        self.repeated = true;
                        At::Leaf(LeafKind::Text)
                    }
                    Some(Segment::Name(span)) if self.path[span.clone()] == *"value" => {
                        index += 1;
                        self.text.push_str(".fields.value");
                        self.steps.push(Step::AnyValue);
                        self.repeated = true;
                        At::FreeValue
                    }
                    _ => return Err(self.wrong(segment, "needs a key, such as fields[\"name\"]")),
                },
                (At::Free, Segment::Name(_)) => {
                    return Err(self.wrong(segment, "is free-form: name a key, such as fields[\"name\"]"));
                }
                // `.string_value` and its like say what a value is; it is found without.
                (At::FreeValue, Segment::Name(span)) if crate::walk::is_value_wrapper(&self.path[span.clone()]) => {
                    if self.path[span.clone()].starts_with("struct") {
                        At::Free
                    } else {
                        At::FreeValue
                    }
                }
                (At::FreeValue, Segment::Name(span)) if self.path[span.clone()] == *"fields" => {
                    index -= 1;
                    At::Free
                }
                (At::FreeValue, Segment::Key(_, key)) => self.free_key(key),
                (At::Leaf(LeafKind::Time | LeafKind::Duration), Segment::Name(span))
                    if part == Part::Whole && matches!(&self.path[span.clone()], "seconds" | "nanos") =>
                {
                    let name = &self.path[span.clone()];
                    self.name(name);
                    part = if name == "seconds" { Part::Seconds } else { Part::Nanos };
                    At::Leaf(LeafKind::Int { min: i64::MIN.into(), max: i64::MAX.into() })
                }
                (At::Message(_), Segment::Key(..)) => {
                    return Err(self.wrong(segment, "is a message: name one of its fields, it has no keys"));
                }
                (At::FreeValue | At::Leaf(_), _) => {
                    return Err(self.wrong(segment, "is a single value: nothing stands below it"));
                }
            };
        }
        let kind = match at {
            At::Leaf(kind) => kind,
            At::FreeValue => LeafKind::Dynamic,
            At::Message(_) | At::Free | At::Map(_) => LeafKind::Message,
        };
        Ok(FieldPath { root, steps: self.steps, part, text: self.text, kind, repeated: self.repeated })
    }

    fn name(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    fn free_key(&mut self, key: &str) -> At<'a> {
        self.text.push_str(".fields");
        push_key(&mut self.text, key);
        self.steps.push(Step::Key(key.to_owned()));
        // A free-form value may be a list.
        self.repeated = true;
        At::FreeValue
    }

    fn at_kind(&self, kind: FieldKind) -> At<'a> {
        At::Leaf(match kind {
            FieldKind::Message(message) => return At::Message(message),
            FieldKind::Struct => return At::Free,
            FieldKind::Text => LeafKind::Text,
            FieldKind::Bytes => LeafKind::Bytes,
            FieldKind::Bool => LeafKind::Bool,
            FieldKind::Float | FieldKind::Double => LeafKind::Float,
            FieldKind::Enum(id) => LeafKind::Enum(id),
            FieldKind::Timestamp => LeafKind::Time,
            FieldKind::Duration => LeafKind::Duration,
            FieldKind::Int32 | FieldKind::Int64 | FieldKind::Uint32 | FieldKind::Uint64 => {
                let (min, max) = kind.int_range().expect("an integer type has a range");
                LeafKind::Int { min, max }
            }
        })
    }

    fn wrong(&self, segment: &Segment, what: &str) -> UnknownField {
        UnknownField { span: segment.span(), message: format!("`{}` {what}", self.text), nearest: Vec::new() }
    }

    fn unknown(&self, message: MessageId, segment: &Segment) -> UnknownField {
        let span = segment.span();
        let name = &self.path[span.clone()];
        let mut says = String::new();
        let place = if self.text.is_empty() {
            "no field has the name".to_owned()
        } else {
            format!("`{}` has no field", self.text)
        };
        let _ = write!(says, "{place} `{name}`");
        UnknownField { span, message: says, nearest: self.nearest(message, name) }
    }

    fn nearest(&self, message: MessageId, name: &str) -> Vec<String> {
        let wanted = name.to_ascii_lowercase();
        let below = |path: &str| if self.text.is_empty() { path.to_owned() } else { format!("{}.{path}", self.text) };
        let mut found: Vec<(f64, String)> = Vec::new();
        for field in &self.schema.message(message).fields {
            found.push((similarity(&wanted, field), below(&field.name)));
            // A name that exists one level deeper is a likelier slip than a misspelling.
            if let FieldKind::Message(inner) = field.kind {
                for deeper in &self.schema.message(inner).fields {
                    let score = similarity(&wanted, deeper);
                    if score >= 0.9 {
                        found.push((score - 0.02, below(&format!("{}.{}", field.name, deeper.name))));
                    }
                }
            }
        }
        found.retain(|(score, _)| *score >= 0.6);
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.truncate(3);
        found.into_iter().map(|(_, path)| path).collect()
    }
}

fn similarity(wanted: &str, field: &Field) -> f64 {
    strsim::normalized_damerau_levenshtein(wanted, &field.name)
        .max(strsim::normalized_damerau_levenshtein(wanted, &field.json.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(root: Root, path: &str, expected: Result<(&str, LeafKind), &str>) {
        let schema = Schema::load();
        match (schema.resolve(root, path), expected) {
            (Ok(found), Ok((text, kind))) => {
                assert_eq!((found.as_str(), found.kind()), (text, kind), "{path}");
                let again = schema.resolve(root, text).expect("a canonical path resolves");
                assert_eq!(again, found, "{path}");
            }
            (Err(error), Err(part)) => {
                let all = format!("{error} {:?} {:?}", &path[error.span.clone()], error.nearest);
                assert!(all.contains(part), "{path}: {all}");
            }
            (got, expected) => panic!("{path}: got {got:?}, expected {expected:?}"),
        }
    }

    const INT: LeafKind = LeafKind::Int { min: i32::MIN as i128, max: i32::MAX as i128 };
    const SECS: LeafKind = LeafKind::Int { min: i64::MIN as i128, max: i64::MAX as i128 };

    #[test]
    fn paths_that_exist() {
        use LeafKind::{Bool, Bytes, Duration, Dynamic, Message, Text, Time};
        for (path, text, kind) in [
            ("principal.ip", "principal.ip", Text),
            ("target.user.userDisplayName", "target.user.user_display_name", Text),
            ("securityResult.about.file.sha256", "security_result.about.file.sha256", Text),
            ("target.port", "target.port", INT),
            ("network.ipv6", "network.ipv6", Bool),
            ("metadata.id", "metadata.id", Bytes),
            ("metadata.event_timestamp", "metadata.event_timestamp", Time),
            ("metadata.eventTimestamp.seconds", "metadata.event_timestamp.seconds", SECS),
            ("network.session_duration", "network.session_duration", Duration),
            ("target.user", "target.user", Message),
            ("additional", "additional", Message),
            ("additional.fields[\"k 1\"]", "additional.fields[\"k 1\"]", Dynamic),
            ("additional.fields[\"k\"].string_value", "additional.fields[\"k\"]", Dynamic),
            ("additional[\"a\\\"b\"]", "additional.fields[\"a\\\"b\"]", Dynamic),
            ("additional.fields[\"a\"].struct_value.fields[\"b\"]", "additional.fields[\"a\"].fields[\"b\"]", Dynamic),
            ("additional.fields.value.string_value", "additional.fields.value", Dynamic),
            ("additional.fields.key", "additional.fields.key", Text),
            ("principal.labels[\"env\"]", "principal.labels[\"env\"]", Text),
            ("principal.labels[\"env\"].value", "principal.labels[\"env\"]", Text),
            ("principal.labels.key", "principal.labels.key", Text),
            ("security_result.variables[\"x\"].string_val", "security_result.variables[\"x\"].string_val", Text),
            (
                "principal.process.parent_process.parent_process.pid",
                "principal.process.parent_process.parent_process.pid",
                Text,
            ),
        ] {
            check(Root::Event, path, Ok((text, kind)));
        }
        check(Root::Entity, "metadata.interval.end_time", Ok(("metadata.interval.end_time", Time)));
        check(Root::Entity, "entity.user.userid", Ok(("entity.user.userid", Text)));
    }

    #[test]
    fn paths_that_do_not() {
        for (path, part) in [
            ("principal.hostnme", "principal.hostname"),
            ("principle.ip", "principal"),
            ("principal.userid", "principal.user.userid"),
            ("target.ip.x", "`target.ip` is a single value"),
            ("principal.", "expected the name"),
            ("", "expected the name"),
            ("principal..ip", "expected the name"),
            ("principal.ip[0]", "quoted key"),
            ("additional.k", "free-form"),
            ("additional.fields", "needs a key"),
            ("about[\"x\"]", "has no keys"),
            ("principal.labels[\"x", "no end"),
            ("entity.user.userid", "no field has the name `entity`"),
            ("metadata.event_timestamp.seconds.nanos", "single value"),
        ] {
            check(Root::Event, path, Err(part));
        }
    }
}
