//! Checking one event or entity as it was sent: structure and types always, the rest as issues or faults.
//!
//! Absent: repairing. A record that passes is kept byte for byte; what was tolerated is tolerated again by every
//! reader.

use std::fmt;

use event::{Issue, Time, TimeError, limits};
use serde::de::{MapAccess, SeqAccess};

use crate::place::{Frame, Segment, clip};
use crate::rules::{self, Met};
use crate::scalar;
use crate::schema::{Field, FieldKind, MessageId, Tracks};
use crate::walk::{
    FieldKey, FieldKeySeed, Json, Object, Seed, TextKeySeed, Walk, Want, drain_list, drain_object, walk_whole,
};
use crate::{EnumId, Instant, Root, Schema};

/// How much a check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Structure and types must hold; the rest becomes issues. The default: much of what real senders send breaks
    /// Google's own rules.
    #[default]
    Lenient,
    /// Unknown fields, unknown enum names and missing fields are faults too.
    Strict,
}

/// What a good record says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Events: `metadata.event_timestamp`. Entities: `metadata.collected_timestamp`, else the creation timestamp, else
    /// the start of the interval. `None` when unset or outside the range of [`Time`].
    pub event_time: Option<Time>,
    /// The number of `metadata.event_type` or `metadata.entity_type`, named by [`Schema::type_name`]; `None` when unset
    /// or unknown.
    pub event_type: Option<i32>,
    /// What a reader should know; at most [`limits::FAULTS_MAX`].
    pub issues: Vec<Issue>,
}

/// One thing that makes a record unacceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, relative to the record, such as `principal.ip[1]`; empty for the record as a whole.
    pub path: String,
    /// What is wrong, in a sentence.
    pub message: String,
}

/// Longer than any name of an enum value: such a text gets no hint.
const ENUM_NAME_BYTES_MAX: usize = 80;

/// Why a record is refused: the sender's to mend. At least one fault, at most [`limits::FAULTS_MAX`], in the order in
/// which they stand in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            if !fault.path.is_empty() {
                write!(f, "{}: ", fault.path)?;
            }
            f.write_str(&fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

pub(crate) fn check(schema: &Schema, root: Root, json: &[u8], mode: Mode) -> Result<Checked, Faults> {
    let mut checker = Checker {
        schema,
        tracks: schema.tracks(root),
        mode,
        faults: Vec::new(),
        issues: Vec::new(),
        met: Met::default(),
        times: [None; 3],
        event_type: None,
        key: String::new(),
    };
    let top = Frame::ROOT;
    let want = Want::Message(schema.root(root));
    let value = Value { checker: &mut checker, at: &top, want, track: Tracks::ROOT, depth: 0 };
    if let Err(what) = walk_whole(json, value) {
        checker.fault(&top, what);
        return Err(Faults(checker.faults));
    }
    let type_name = checker.event_type.and_then(|number| schema.type_name(root, number));
    let met = std::mem::take(&mut checker.met);
    rules::broken(root, type_name, &met, &mut |field, message| checker.complain_at(field.to_owned(), message));
    if !checker.faults.is_empty() {
        return Err(Faults(checker.faults));
    }
    let event_time = checker.times.into_iter().flatten().next();
    Ok(Checked { event_time, event_type: checker.event_type, issues: checker.issues })
}

struct Checker<'s> {
    schema: &'s Schema,
    tracks: &'s Tracks,
    mode: Mode,
    faults: Vec<Fault>,
    issues: Vec<Issue>,
    met: Met,
    /// The record's time, by how well it fits.
    times: [Option<Time>; 3],
    event_type: Option<i32>,
    /// Reused for the keys of maps and free-form objects.
    key: String,
}

impl Checker<'_> {
    fn fault(&mut self, at: &Frame<'_>, message: String) {
        if self.faults.len() < limits::FAULTS_MAX {
            self.faults.push(Fault { path: at.path(), message });
        }
    }

    fn issue(&mut self, at: &Frame<'_>, message: String) {
        if self.issues.len() < limits::FAULTS_MAX {
            self.issues.push(Issue { field: at.path(), message });
        }
    }

    /// An issue, or in strict mode a fault.
    fn complain(&mut self, at: &Frame<'_>, message: String) {
        self.complain_at(at.path(), message);
    }

    fn complain_at(&mut self, field: String, message: String) {
        match self.mode {
            Mode::Lenient if self.issues.len() < limits::FAULTS_MAX => self.issues.push(Issue { field, message }),
            Mode::Strict if self.faults.len() < limits::FAULTS_MAX => self.faults.push(Fault { path: field, message }),
            _ => {}
        }
    }
}

struct Value<'a, 's> {
    checker: &'a mut Checker<'s>,
    at: &'a Frame<'a>,
    want: Want<'s>,
    track: u16,
    depth: usize,
}

impl<'a, 's> Value<'a, 's> {
    fn meet(&mut self) {
        if self.track != 0 {
            let marks = self.checker.tracks.nodes[self.track as usize].marks;
            self.checker.met.marks |= marks;
            if marks & rules::ADDRESSES != 0 {
                let index = ((marks & rules::ADDRESSES) >> rules::ADDRESS_SHIFT).trailing_zeros() as usize;
                let count = &mut self.checker.met.addresses[index];
                *count = count.saturating_add(1);
            }
        }
    }

    fn too_deep(&mut self) -> bool {
        let deep = self.depth >= limits::JSON_DEPTH_MAX;
        if deep {
            self.checker.fault(self.at, format!("nested deeper than {}", limits::JSON_DEPTH_MAX));
        }
        deep
    }

    fn expected(&mut self, what: &str, got: &str) {
        self.checker.fault(self.at, format!("expected {what}, got {got}"));
    }

    fn message<'de, A: MapAccess<'de>>(mut self, id: MessageId, mut object: A) -> Result<(), A::Error> {
        let schema = self.checker.schema;
        let message = schema.message(id);
        let mut seen = 0u64;
        while let Some(key) = object.next_key_seed(FieldKeySeed(message))? {
            match key {
                FieldKey::Known(index) => {
                    let field = &message.fields[index];
                    let at = self.at.down(Segment::Field(&field.name));
                    if seen == 0 {
                        self.meet();
                    }
                    if seen & (1 << index) != 0 {
                        let camel = &field.json;
                        self.checker.issue(
                            &at,
                            format!(
                                "stands more than once (as {} or {camel}); readers differ in which counts",
                                field.name
                            ),
                        );
                    }
                    seen |= 1 << index;
                    let track = if self.track == 0 { 0 } else { self.checker.tracks.child(self.track, index) };
                    object.next_value_seed(Seed(Value {
                        checker: self.checker,
                        at: &at,
                        want: Want::Field(field),
                        track,
                        depth: self.depth + 1,
                    }))?;
                }
                FieldKey::Unknown(name) => {
                    let at = self.at.down(Segment::Field(&name));
                    self.checker.complain(&at, "unknown field".to_owned());
                    object.next_value_seed(Seed(Value {
                        checker: self.checker,
                        at: &at,
                        want: Want::FreeValue,
                        track: 0,
                        depth: self.depth + 1,
                    }))?;
                }
            }
        }
        Ok(())
    }

    fn entries<'de, A: MapAccess<'de>>(self, want: Want<'s>, mut object: A) -> Result<(), A::Error> {
        // The buffer is taken for the time of the value, which may hold objects of its own.
        let mut key = std::mem::take(&mut self.checker.key);
        while object.next_key_seed(TextKeySeed(&mut key))?.is_some() {
            let at = self.at.down(Segment::Key(&key));
            if key.contains('\0') {
                self.checker.fault(&at, "a key holds U+0000".to_owned());
            }
            object.next_value_seed(Seed(Value {
                checker: self.checker,
                at: &at,
                want,
                track: 0,
                depth: self.depth + 1,
            }))?;
        }
        self.checker.key = key;
        Ok(())
    }

    fn text(mut self, field: &Field, text: &str) {
        if text.contains('\0') {
            self.checker.fault(self.at, "holds U+0000".to_owned());
            return;
        }
        match field.kind {
            FieldKind::Text => {
                if self.track != 0 {
                    let bytes_max = usize::from(self.checker.tracks.nodes[self.track as usize].bytes_max);
                    if bytes_max != 0 && text.len() > bytes_max {
                        self.checker.complain(self.at, format!("{} bytes long, Google keeps {bytes_max}", text.len()));
                    }
                    if !text.is_empty() {
                        self.meet();
                    }
                }
            }
            FieldKind::Bytes => {
                if !scalar::is_base64(text) {
                    self.expected("base64", &format!("{:?}", clip(text)));
                }
            }
            FieldKind::Bool => {
                if !matches!(text, "true" | "false") {
                    self.expected("true or false", &format!("{:?}", clip(text)));
                }
            }
            FieldKind::Int32 | FieldKind::Int64 | FieldKind::Uint32 | FieldKind::Uint64 => {
                match scalar::parse_int(text) {
                    Some(number) => self.int(field, number),
                    None => self.expected("a whole number", &format!("{:?}", clip(text))),
                }
            }
            FieldKind::Float | FieldKind::Double => match scalar::parse_float(text) {
                Some(number) => self.float(field, number),
                None => self.expected("a number", &format!("{:?}", clip(text))),
            },
            FieldKind::Enum(id) => self.enum_text(id, text),
            FieldKind::Timestamp => self.time(text),
            FieldKind::Duration => {
                if scalar::parse_duration(text).is_none() {
                    self.expected("a duration such as \"1.5s\"", &format!("{:?}", clip(text)));
                }
            }
            FieldKind::Message(_) | FieldKind::Struct => self.expected("an object", "text"),
        }
    }

    fn int(mut self, field: &Field, number: i128) {
        if let Some((min, max)) = field.kind.int_range()
            && !(min..=max).contains(&number)
        {
            self.checker.fault(self.at, format!("{number} is outside {min} to {max}"));
        } else {
            self.meet();
        }
    }

    fn float(self, field: &Field, number: f64) {
        if field.kind == FieldKind::Float && number.is_finite() && number.abs() > f64::from(f32::MAX) {
            self.checker.fault(self.at, format!("{number:e} is too large for a 32-bit float"));
        }
    }

    fn enum_text(mut self, id: EnumId, text: &str) {
        match self.checker.schema.enum_number(id, text) {
            Some(number) => self.enum_number(number),
            None if text.is_empty() => {}
            None => {
                self.meet();
                // A hint costs a comparison with every name: only for texts that could be one, against names of about
                // their length.
                let wanted = if text.len() <= ENUM_NAME_BYTES_MAX { text.to_ascii_uppercase() } else { String::new() };
                let nearest = self
                    .checker
                    .schema
                    .enum_names(id)
                    .filter(|name| name.len().abs_diff(wanted.len()) <= name.len() / 2)
                    .map(|name| (strsim::normalized_damerau_levenshtein(&wanted, name), name))
                    .max_by(|a, b| a.0.total_cmp(&b.0));
                let hint = match nearest {
                    Some((score, name)) if score >= 0.6 => format!("; did you mean {name}?"),
                    _ => String::new(),
                };
                self.checker.complain(self.at, format!("unknown value {:?}{hint}", clip(text)));
            }
        }
    }

    fn enum_number(mut self, number: i32) {
        if self.track != 0 && self.checker.tracks.nodes[self.track as usize].marks & rules::TYPE != 0 {
            // Zero is "unspecified", which is as good as unset.
            self.checker.event_type = (number != 0).then_some(number);
            if number == 0 {
                return;
            }
        }
        self.meet();
    }

    fn time(mut self, text: &str) {
        let marks = if self.track == 0 { 0 } else { self.checker.tracks.nodes[self.track as usize].marks };
        // A time that is wrong is not missing besides.
        self.meet();
        let rank = [rules::EVENT_TIME, rules::CREATED, rules::STARTED].iter().position(|mark| marks & mark != 0);
        match Time::parse_rfc3339(text) {
            Ok(time) => {
                if let Some(rank) = rank {
                    self.checker.times[rank] = Some(time);
                }
            }
            Err(TimeError::OutOfRange) if Instant::parse(text).is_some() => {
                if let Some(rank) = rank {
                    self.checker.times[rank] = None;
                    self.checker.issue(self.at, TimeError::OutOfRange.to_string());
                }
            }
            Err(error) => self.checker.fault(self.at, format!("not a timestamp: {error}")),
        }
    }
}

impl<'a, 's> Walk for Value<'a, 's> {
    fn null(mut self) {
        match self.want {
            Want::Message(_) => self.expected("an object", "null"),
            Want::One(field) if field.is_list() => {
                self.checker.complain(self.at, "null stands in a list and is skipped".to_owned());
            }
            _ => {}
        }
    }

    fn scalar(mut self, value: Json<'_>) {
        let field = match self.want {
            Want::Field(field) | Want::One(field) => field,
            Want::Message(_) => return self.expected("an object", "a single value"),
            Want::Free | Want::FreeValue | Want::FreeFields => {
                if matches!(value, Json::Str(text) if text.contains('\0')) {
                    self.checker.fault(self.at, "holds U+0000".to_owned());
                }
                return;
            }
        };
        if field.map && matches!(self.want, Want::Field(_)) {
            return self.expected("an object of keys and values", "a single value");
        }
        match (value, field.kind) {
            (Json::Str(text), _) => self.text(field, text),
            (Json::Bool(_), FieldKind::Bool) => self.meet(),
            (Json::Int(number), FieldKind::Float | FieldKind::Double) => self.float(field, number as f64),
            (Json::Float(number), FieldKind::Float | FieldKind::Double) => self.float(field, number),
            (Json::Int(number), FieldKind::Enum(_)) => match i32::try_from(number) {
                Ok(number) => self.enum_number(number),
                Err(_) => self.checker.fault(self.at, format!("{number} is outside {} to {}", i32::MIN, i32::MAX)),
            },
            (Json::Int(number), kind) if kind.int_range().is_some() => self.int(field, number),
            (Json::Float(number), kind) if kind.int_range().is_some() => match scalar::whole(number) {
                Some(number) => self.int(field, number),
                None => self.expected("a whole number", &format!("{number:?}")),
            },
            (value, kind) => {
                let got = match value {
                    Json::Bool(_) => "true or false",
                    Json::Int(_) | Json::Float(_) => "a number",
                    Json::Str(_) => "text",
                };
                self.expected(kind.describe(), got);
            }
        }
    }

    fn list<'de, A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if self.too_deep() {
            return drain_list(list);
        }
        let Some(want) = self.want.elements() else {
            match self.want {
                Want::Field(field) if field.map => self.expected("an object of keys and values", "a list"),
                Want::Field(field) => {
                    self.expected(&format!("{} (the field holds one value)", field.kind.describe()), "a list");
                }
                Want::One(field) => self.expected(field.kind.describe(), "a list"),
                _ => self.expected("an object", "a list"),
            }
            return drain_list(list);
        };
        let mut index = 0;
        loop {
            let at = self.at.down(Segment::Index(index));
            let element = Value { checker: self.checker, at: &at, want, track: self.track, depth: self.depth + 1 };
            if list.next_element_seed(Seed(element))?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn object<'de, A: MapAccess<'de>>(mut self, object: A) -> Result<(), A::Error> {
        if self.too_deep() {
            return drain_object(object);
        }
        match self.want.object() {
            Object::Message(id) => self.message(id, object),
            Object::Map(field) => self.entries(Want::One(field), object),
            Object::Free | Object::FreeValue => self.entries(Want::FreeValue, object),
            Object::Scalar(kind) => {
                self.expected(kind.describe(), "an object");
                drain_object(object)
            }
        }
    }
}
