//! A record as Google's API would show it: canonical proto3 JSON, made of whatever spelling was stored.
//!
//! Records are kept as they were sent, so this is made anew for each reply. It stands behind a search, beside
//! [`crate::Selection`], and reads values through the same conversion: what a search found in a field is what the reply
//! shows there. What proto3 JSON has no place for (unknown fields, values of the wrong type, all but the last of a
//! repeated key) is left out and told ([`LeftOut`]).
//!
//! Absent: leaving out zero values. Google's printer drops `""` and `0` of fields without presence; here a value that
//! was sent and can be searched for is shown.

use event::{Issue, limits};
use serde::de::{MapAccess, SeqAccess};

use crate::extract::{Scalar, convert};
use crate::path::Part;
use crate::place::{Frame, Segment};
use crate::schema::{Field, FieldKind, MessageId};
use crate::walk::{FieldKey, FieldKeySeed, Json, Object, Seed, TextKeySeed, Walk, Want, drain_list, drain_object};
use crate::{Root, Schema, scalar, walk::walk_whole};

/// What a canonical form does not show of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// The first of them, each with its path, at most [`limits::FAULTS_MAX`].
    pub issues: Vec<Issue>,
    /// How many there are in all.
    pub count: usize,
}

impl LeftOut {
    fn note(&mut self, at: &Frame<'_>, message: impl Into<String>) {
        self.count += 1;
        if self.issues.len() < limits::FAULTS_MAX {
            self.issues.push(Issue { field: at.path(), message: message.into() });
        }
    }
}

pub(crate) fn write(schema: &Schema, root: Root, json: &[u8], out: &mut Vec<u8>) -> LeftOut {
    let start = out.len();
    let mut writer = Writer { schema, out, left_out: LeftOut::default(), entries: Vec::new(), key: String::new() };
    let want = Want::Message(schema.root(root));
    if let Err(why) = walk_whole(json, Value { writer: &mut writer, at: &Frame::ROOT, want, depth: 0 }) {
        writer.out.truncate(start);
        writer.left_out = LeftOut::default();
        writer.left_out.note(&Frame::ROOT, why);
    }
    if writer.out.len() == start {
        writer.out.extend_from_slice(b"{}");
    }
    writer.left_out
}

struct Writer<'a> {
    schema: &'a Schema,
    out: &'a mut Vec<u8>,
    left_out: LeftOut,
    /// The entries of all objects that are open, the innermost last.
    entries: Vec<Entry>,
    /// Reused for the keys of maps and free-form objects.
    key: String,
}

/// An entry of an object, as positions in the output; a comma before it is not part of it.
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

/// An object that is being written. Nothing is in it that turned out to have no value: an entry is taken back when
/// nothing was written behind its key.
struct Opened {
    start: usize,
    entries: usize,
}

impl Writer<'_> {
    fn open(&mut self) -> Opened {
        self.out.push(b'{');
        Opened { start: self.out.len(), entries: self.entries.len() }
    }

    /// Writes a key; gives what [`Writer::finish`] or a take-back needs.
    fn begin(&mut self, object: &Opened, key: &str) -> (usize, Entry) {
        let before = self.out.len();
        if before > object.start {
            self.out.push(b',');
        }
        let start = self.out.len();
        put_text(self.out, key);
        let key_end = self.out.len();
        self.out.push(b':');
        (before, Entry { start, key_end, end: self.out.len() })
    }

    /// Keeps an entry if a value was written behind its key.
    fn finish(&mut self, (before, entry): (usize, Entry)) -> bool {
        let end = self.out.len();
        if end == entry.end {
            self.out.truncate(before);
            return false;
        }
        self.entries.push(Entry { end, ..entry });
        true
    }

    /// Ends an object. `may_repeat` says that keys may stand in it more than once: the last of each is kept, and
    /// `told` hears of the others.
    fn close(&mut self, object: &Opened, may_repeat: bool, mut told: impl FnMut(&mut LeftOut, &str)) {
        let entries = &self.entries[object.entries..];
        let gone = if may_repeat { repeated(self.out, entries) } else { Vec::new() };
        if !gone.is_empty() {
            // One pass over the object: its entries move towards its start.
            let mut end = object.start;
            for (entry, gone) in entries.iter().zip(&gone) {
                if *gone {
                    let key = serde_json::from_slice::<String>(&self.out[entry.start..entry.key_end]);
                    told(&mut self.left_out, &key.expect("a key that was written here"));
                    continue;
                }
                if end > object.start {
                    self.out[end] = b',';
                    end += 1;
                }
                self.out.copy_within(entry.start..entry.end, end);
                end += entry.end - entry.start;
            }
            self.out.truncate(end);
        }
        self.entries.truncate(object.entries);
        self.out.push(b'}');
    }
}

/// Which entries have a key that comes again; empty if none has. Keys are written in one way only, so equal bytes are
/// equal keys.
fn repeated(out: &[u8], entries: &[Entry]) -> Vec<bool> {
    let key = |index: usize| &out[entries[index].start..entries[index].key_end];
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)).then(a.cmp(b)));
    let mut gone = Vec::new();
    for pair in order.windows(2) {
        if key(pair[0]) == key(pair[1]) {
            gone.resize(entries.len(), false);
            gone[pair[0]] = true;
        }
    }
    gone
}

struct Value<'a, 'w, 's> {
    writer: &'a mut Writer<'w>,
    at: &'a Frame<'a>,
    want: Want<'s>,
    /// How deep the value stands in what is written: a list that was left out by the sender counts.
    depth: usize,
}

const REPEATED: &str = "stands more than once; the last one is shown";

impl<'w, 's> Value<'_, 'w, 's>
where
    'w: 's,
{
    fn leave_out(self, message: impl Into<String>) {
        self.writer.left_out.note(self.at, message);
    }

    fn is_too_deep(&mut self, levels: usize) -> bool {
        let deep = self.depth + levels > limits::JSON_DEPTH_MAX;
        if deep {
            self.writer.left_out.note(self.at, format!("nested deeper than {}", limits::JSON_DEPTH_MAX));
        }
        deep
    }

    fn message<'de, A: MapAccess<'de>>(self, id: MessageId, mut object: A) -> Result<(), A::Error> {
        let message = self.writer.schema.message(id);
        let opened = self.writer.open();
        let (mut seen, mut repeats) = (0u64, false);
        while let Some(key) = object.next_key_seed(FieldKeySeed(message))? {
            match key {
                FieldKey::Known(index) => {
                    let field = &message.fields[index];
                    let at = self.at.down(Segment::Field(&field.name));
                    let begun = self.writer.begin(&opened, &field.json);
                    let want = Want::Field(field);
                    let value = Value { writer: &mut *self.writer, at: &at, want, depth: self.depth + 1 };
                    object.next_value_seed(Seed(value))?;
                    if self.writer.finish(begun) {
                        repeats |= seen & (1 << index) != 0;
                        seen |= 1 << index;
                    }
                }
                FieldKey::Unknown(name) => {
                    self.writer.left_out.note(&self.at.down(Segment::Field(&name)), "unknown field");
                    object.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        self.writer.close(&opened, repeats, |left_out, key| {
            let name = message.field_index(key).map_or(key, |index| &message.fields[index].name);
            left_out.note(&self.at.down(Segment::Field(name)), REPEATED);
        });
        Ok(())
    }

    /// The entries of a map or free-form object.
    fn entries<'de, A: MapAccess<'de>>(self, want: Want<'s>, mut object: A) -> Result<(), A::Error> {
        let opened = self.writer.open();
        let mut key = std::mem::take(&mut self.writer.key);
        while object.next_key_seed(TextKeySeed(&mut key))?.is_some() {
            let at = self.at.down(Segment::Key(&key));
            if key.contains('\0') {
                self.writer.left_out.note(&at, "the key holds U+0000");
                object.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
            let begun = self.writer.begin(&opened, &key);
            let value = Value { writer: &mut *self.writer, at: &at, want, depth: self.depth + 1 };
            object.next_value_seed(Seed(value))?;
            self.writer.finish(begun);
        }
        self.writer.key = key;
        let several = self.writer.entries.len() - opened.entries > 1;
        self.writer.close(&opened, several, |left_out, key| {
            left_out.note(&self.at.down(Segment::Key(key)), REPEATED);
        });
        Ok(())
    }

    /// Whether what stands here is the only element of a list whose brackets were left out.
    fn lacks_brackets(&self) -> bool {
        matches!(self.want, Want::Field(field) if field.is_list())
    }
}

impl<'w, 's> Walk for Value<'_, 'w, 's>
where
    'w: 's,
{
    fn null(self) {
        match self.want {
            // A free-form object may hold nulls; anywhere else they stand for what is unset.
            Want::Free | Want::FreeValue | Want::FreeFields => self.writer.out.extend_from_slice(b"null"),
            Want::Message(_) => self.leave_out("expected an object, got null"),
            Want::Field(_) | Want::One(_) => {}
        }
    }

    fn scalar(mut self, value: Json<'_>) {
        let kind = match self.want {
            Want::Field(field) if field.map => return self.leave_out("expected an object of keys and values"),
            Want::Field(Field { kind: FieldKind::Struct, .. }) | Want::One(Field { kind: FieldKind::Struct, .. }) => {
                return self.leave_out("expected an object");
            }
            Want::Field(field) | Want::One(field) => field.kind,
            Want::Message(_) => return self.leave_out("expected an object"),
            Want::Free | Want::FreeValue | Want::FreeFields => FieldKind::Struct,
        };
        let (start, brackets) = (self.writer.out.len(), self.lacks_brackets());
        if brackets {
            if self.is_too_deep(1) {
                return;
            }
            self.writer.out.push(b'[');
        }
        let converted = convert(self.writer.schema, kind, Part::Whole, value);
        let put = converted.is_some_and(|value| put(self.writer.schema, kind, value, self.writer.out));
        if !put {
            self.writer.out.truncate(start);
            return self.leave_out(format!("no value of the field's type ({})", kind.describe()));
        }
        if brackets {
            self.writer.out.push(b']');
        }
    }

    fn list<'de, A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let Some(want) = self.want.elements() else {
            self.leave_out("a list does not belong here");
            return drain_list(list);
        };
        if self.is_too_deep(1) {
            return drain_list(list);
        }
        let start = self.writer.out.len();
        self.writer.out.push(b'[');
        for index in 0.. {
            let before = self.writer.out.len();
            if before > start + 1 {
                self.writer.out.push(b',');
            }
            let begun = self.writer.out.len();
            let at = self.at.down(Segment::Index(index));
            let element = Value { writer: &mut *self.writer, at: &at, want, depth: self.depth + 1 };
            let end = list.next_element_seed(Seed(element))?.is_none();
            if self.writer.out.len() == begun {
                self.writer.out.truncate(before);
            }
            if end {
                break;
            }
        }
        if self.writer.out.len() == start + 1 && !matches!(self.want, Want::FreeValue) {
            // An empty list is an unset field.
            self.writer.out.truncate(start);
        } else {
            self.writer.out.push(b']');
        }
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(mut self, object: A) -> Result<(), A::Error> {
        let what = self.want.object();
        if let Object::Scalar(kind) = what {
            self.leave_out(format!("expected {}, got an object", kind.describe()));
            return drain_object(object);
        }
        let brackets = self.lacks_brackets();
        if self.is_too_deep(1 + usize::from(brackets)) {
            return drain_object(object);
        }
        if brackets {
            self.writer.out.push(b'[');
            self.depth += 1;
        }
        let value = Value { writer: &mut *self.writer, ..self };
        match what {
            Object::Message(id) => value.message(id, object)?,
            Object::Map(field) => value.entries(Want::One(field), object)?,
            Object::Free | Object::FreeValue | Object::Scalar(_) => value.entries(Want::FreeValue, object)?,
        }
        if brackets {
            self.writer.out.push(b']');
        }
        Ok(())
    }
}

/// Writes one value; `false`, with the output as it may be, where the type cannot hold it.
fn put(schema: &Schema, kind: FieldKind, value: Scalar<'_>, out: &mut Vec<u8>) -> bool {
    let quoted = |out: &mut Vec<u8>, text: Option<String>| match text {
        Some(text) => {
            put_text(out, &text);
            true
        }
        None => false,
    };
    match (kind, value) {
        (FieldKind::Bytes, Scalar::Text(text)) => quoted(out, scalar::canonical_base64(text)),
        // The name of an enum's value that the schema does not know: no reader could take it.
        (FieldKind::Enum(_), Scalar::Text(_)) => false,
        (_, Scalar::Text(text)) => {
            put_text(out, text);
            !text.contains('\0')
        }
        (FieldKind::Int64 | FieldKind::Uint64, Scalar::Int(number)) => {
            fits(kind, number) && quoted(out, Some(number.to_string()))
        }
        (_, Scalar::Int(number)) => {
            put_bare(out, &number.to_string());
            fits(kind, number)
        }
        (_, Scalar::Float(number)) => {
            let text = scalar::float_text(number);
            if number.is_finite() {
                put_bare(out, &text);
            } else {
                put_text(out, &text);
            }
            kind != FieldKind::Float || !number.is_finite() || number.abs() <= f64::from(f32::MAX)
        }
        (_, Scalar::Bool(value)) => {
            put_bare(out, if value { "true" } else { "false" });
            true
        }
        (FieldKind::Enum(id), Scalar::Enum(number)) => match schema.enum_name(id, number) {
            Some(name) => {
                put_text(out, name);
                true
            }
            None => {
                put_bare(out, &number.to_string());
                true
            }
        },
        (_, Scalar::Time(time)) => quoted(out, time.rfc3339()),
        (_, Scalar::Duration(nanos)) => quoted(out, Some(scalar::duration_text(nanos))),
        (_, Scalar::Enum(_) | Scalar::Missing) => false,
    }
}

fn fits(kind: FieldKind, number: i128) -> bool {
    kind.int_range().is_none_or(|(min, max)| (min..=max).contains(&number))
}

fn put_bare(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is always JSON, and a Vec takes all of it");
}
