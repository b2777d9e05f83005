//! Picking the values of a few fields out of a record in one pass; the rest is skipped unread.
//!
//! This is what a search evaluates on. The fields that it names become a tree beside the schema; a walk goes down only
//! where the tree does. Fields that are unset are reported too ([`Scalar::Missing`]), since they read as zero values.

use std::sync::Arc;

use event::limits;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};

use crate::path::{Part, Step};
use crate::schema::{Field, FieldKind, MessageId};
use crate::walk::{
    Json, Object, Seed, TableKeySeed, TextKeySeed, Walk, Want, drain_list, drain_object, is_value_wrapper,
};
use crate::{FieldPath, Instant, LeafKind, Root, Schema, parse_duration, scalar};

/// One value of a selected field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// The field is unset here: it reads as its type's zero value.
    Missing,
    /// Text, bytes as sent, or an enum's name that the schema does not know.
    Text(&'a str),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// An enum's number.
    Enum(i32),
    /// A point in time.
    Time(Instant),
    /// A length of time in nanoseconds.
    Duration(i128),
}

/// Fields to pick out of records of one kind, ready for use; made once per search.
#[derive(Debug, Clone)]
pub struct Selection {
    schema: Arc<Schema>,
    root: Root,
    /// What the values of each selected field are.
    kinds: Vec<LeafKind>,
    nodes: Vec<Node>,
}

impl Selection {
    /// Selects these fields, all of one root; the `i`-th is reported with number `i`.
    pub fn new(schema: &Arc<Schema>, root: Root, paths: &[FieldPath]) -> Selection {
        let kinds = paths.iter().map(FieldPath::kind).collect();
        let mut selection =
            Selection { schema: Arc::clone(schema), root, kinds, nodes: vec![Node::default(), Node::default()] };
        for (slot, path) in paths.iter().enumerate() {
            debug_assert_eq!(path.root, root);
            selection.add(path, slot);
        }
        selection.gather(Selection::ROOT as usize);
        selection
    }

    /// Which kind of record it reads.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Calls `visit` with each value of each selected field: for every element of lists, and [`Scalar::Missing`] where
    /// a message on the way (or the record) lacks the field. A field within a list of messages is so reported at least
    /// once for each of them, as if the list were taken apart. Values of the wrong type, which only records that were
    /// never checked hold, are left out. Stops early at what is not JSON.
    pub fn extract(&self, json: &[u8], visit: &mut dyn FnMut(usize, Scalar<'_>)) {
        let Ok(text) = std::str::from_utf8(json) else { return };
        let mut walker = Walker { selection: self, schema: &self.schema, key: String::new(), visit };
        let value = Value {
            walker: &mut walker,
            want: Want::Message(self.schema.root(self.root)),
            node: Selection::ROOT,
            depth: 0,
            label: None,
            seen: None,
        };
        let _ = Seed(value).deserialize(&mut serde_json::Deserializer::from_str(text));
    }

    /// The set values of each selected field in words, in the order of the fields: a row for those who write tables. They
    /// are spelled as in [`Schema::write_proto_json`], text without its quotes. What that leaves out for its type is
    /// left out here, save an enum's name that the schema does not know.
    pub fn texts(&self, json: &[u8]) -> Vec<Vec<String>> {
        let mut row = vec![Vec::new(); self.kinds.len()];
        self.extract(json, &mut |slot, value| {
            let kind = self.kinds[slot];
            let text = match value {
                Scalar::Missing => None,
                Scalar::Text(text) if kind == LeafKind::Bytes => scalar::canonical_base64(text),
                Scalar::Text(text) => Some(text.to_owned()),
                Scalar::Int(number) => Some(number.to_string()),
                Scalar::Float(number) => Some(scalar::float_text(number)),
                Scalar::Bool(value) => Some(value.to_string()),
                Scalar::Enum(number) => match kind {
                    LeafKind::Enum(id) => self.schema.enum_name(id, number).map(str::to_owned),
                    _ => None,
                }
                .or_else(|| Some(number.to_string())),
                Scalar::Time(time) => time.rfc3339(),
                Scalar::Duration(nanos) => Some(scalar::duration_text(nanos)),
            };
            row[slot].extend(text);
        });
        row
    }

    /// Node 0 stands for "nothing selected below".
    const ROOT: u16 = 1;

    fn add(&mut self, path: &FieldPath, slot: usize) {
        let mut at = Selection::ROOT as usize;
        for step in &path.steps {
            at = match step {
                Step::Field(index) => {
                    if self.nodes[at].children.len() <= *index {
                        self.nodes[at].children.resize(index + 1, 0);
                    }
                    match self.nodes[at].children[*index] {
                        0 => {
                            let made = self.make();
                            self.nodes[at].children[*index] = made;
                            made as usize
                        }
                        node => node as usize,
                    }
                }
                Step::Key(key) => self.keyed(at, key, |node| &mut node.keys),
                Step::Label(key) => self.keyed(at, key, |node| &mut node.labels),
                Step::AnyValue => match self.nodes[at].any {
                    0 => {
                        let made = self.make();
                        self.nodes[at].any = made;
                        made as usize
                    }
                    node => node as usize,
                },
                Step::AnyKey => {
                    self.nodes[at].any_key.push(slot);
                    return;
                }
            };
        }
        self.nodes[at].slots.push((slot, path.part));
    }

    fn keyed(&mut self, at: usize, key: &str, list: fn(&mut Node) -> &mut Vec<(String, u16)>) -> usize {
        if let Some((_, node)) = list(&mut self.nodes[at]).iter().find(|(name, _)| name == key) {
            return *node as usize;
        }
        let made = self.make();
        list(&mut self.nodes[at]).push((key.to_owned(), made));
        made as usize
    }

    fn make(&mut self) -> u16 {
        self.nodes.push(Node::default());
        u16::try_from(self.nodes.len() - 1).expect("a query is too short to name 65,535 steps")
    }

    /// Fills in, for each node, all slots at and below it.
    fn gather(&mut self, at: usize) -> Vec<usize> {
        let node = &self.nodes[at];
        let mut beneath: Vec<usize> =
            node.slots.iter().map(|(slot, _)| *slot).chain(node.any_key.iter().copied()).collect();
        let below: Vec<u16> = (node.children.iter().copied().filter(|child| *child != 0))
            .chain(node.keys.iter().chain(&node.labels).map(|(_, child)| *child))
            .chain((node.any != 0).then_some(node.any))
            .collect();
        for child in below {
            let more = self.gather(child as usize);
            beneath.extend(more);
        }
        self.nodes[at].beneath.clone_from(&beneath);
        self.nodes[at].wanted = self.nodes[at]
            .children
            .iter()
            .enumerate()
            .filter(|(_, child)| **child != 0)
            .fold(0, |wanted, (index, _)| wanted | 1 << index);
        beneath
    }
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// By field index, 0 for none.
    children: Vec<u16>,
    /// Bit per field index that has a child.
    wanted: u64,
    /// Of a free-form object or map: by key.
    keys: Vec<(String, u16)>,
    /// Of a list of labels: by the label's key.
    labels: Vec<(String, u16)>,
    /// Of a free-form object: the node of any value, 0 for none.
    any: u16,
    /// Of a free-form object: slots that take any key.
    any_key: Vec<usize>,
    /// Slots that take the values here.
    slots: Vec<(usize, Part)>,
    /// All slots here and below.
    beneath: Vec<usize>,
}

struct Walker<'a> {
    selection: &'a Selection,
    schema: &'a Schema,
    key: String,
    visit: &'a mut dyn FnMut(usize, Scalar<'_>),
}

impl<'a> Walker<'a> {
    fn node(&self, node: u16) -> &'a Node {
        &self.selection.nodes[node as usize]
    }

    fn missing(&mut self, node: u16) {
        for slot in &self.node(node).beneath {
            (self.visit)(*slot, Scalar::Missing);
        }
    }

    fn emit(&mut self, node: u16, kind: FieldKind, value: Json<'_>) {
        for (slot, part) in &self.node(node).slots {
            if let Some(value) = convert(self.schema, kind, *part, value) {
                (self.visit)(*slot, value);
            }
        }
    }
}

/// A JSON scalar as the field's type has it; `None` where it does not fit.
pub(crate) fn convert<'v>(schema: &Schema, kind: FieldKind, part: Part, value: Json<'v>) -> Option<Scalar<'v>> {
    Some(match (kind, value) {
        (FieldKind::Text | FieldKind::Bytes, Json::Str(text)) => Scalar::Text(text),
        (FieldKind::Bool, Json::Bool(value)) => Scalar::Bool(value),
        (FieldKind::Bool, Json::Str("true")) => Scalar::Bool(true),
        (FieldKind::Bool, Json::Str("false")) => Scalar::Bool(false),
        (FieldKind::Float | FieldKind::Double, Json::Int(number)) => Scalar::Float(number as f64),
        (FieldKind::Float | FieldKind::Double, Json::Float(number)) => Scalar::Float(number),
        (FieldKind::Float | FieldKind::Double, Json::Str(text)) => Scalar::Float(scalar::parse_float(text)?),
        (FieldKind::Enum(id), Json::Str(text)) => match schema.enum_number(id, text) {
            Some(number) => Scalar::Enum(number),
            None => Scalar::Text(text),
        },
        (FieldKind::Enum(_), Json::Int(number)) => Scalar::Enum(i32::try_from(number).ok()?),
        (FieldKind::Timestamp, Json::Str(text)) => {
            let time = Instant::parse(text)?;
            match part {
                Part::Whole => Scalar::Time(time),
                Part::Seconds => Scalar::Int(time.secs.into()),
                Part::Nanos => Scalar::Int(time.nanos.into()),
            }
        }
        (FieldKind::Duration, Json::Str(text)) => {
            let nanos = parse_duration(text)?;
            match part {
                Part::Whole => Scalar::Duration(nanos),
                Part::Seconds => Scalar::Int(nanos / 1_000_000_000),
                Part::Nanos => Scalar::Int(nanos % 1_000_000_000),
            }
        }
        // Values of free-form objects stay what the sender made them.
        (FieldKind::Struct, Json::Str(text)) => Scalar::Text(text),
        (FieldKind::Struct, Json::Bool(value)) => Scalar::Bool(value),
        (FieldKind::Struct, Json::Int(number)) => Scalar::Int(number),
        (FieldKind::Struct, Json::Float(number)) => Scalar::Float(number),
        (kind, value) if kind.int_range().is_some() => Scalar::Int(match value {
            Json::Int(number) => number,
            Json::Float(number) => scalar::whole(number)?,
            Json::Str(text) => scalar::parse_int(text)?,
            Json::Bool(_) => return None,
        }),
        _ => return None,
    })
}

struct Value<'w, 'a> {
    walker: &'w mut Walker<'a>,
    want: Want<'a>,
    node: u16,
    depth: usize,
    /// Where the text of a label's key or value goes.
    label: Option<&'w mut Option<String>>,
    /// Which keys of the object that this value continues were met.
    seen: Option<&'w mut Vec<bool>>,
}

impl<'w, 'a> Value<'w, 'a> {
    fn message<'de, A: MapAccess<'de>>(
        self,
        id: MessageId,
        mut object: A,
        mut label: Option<&mut (Option<String>, Option<String>)>,
    ) -> Result<(), A::Error> {
        let message = self.walker.schema.message(id);
        let node = self.walker.node(self.node);
        let mut seen = 0u64;
        while let Some(key) = object.next_key_seed(TableKeySeed(&message.keys))? {
            let Some(index) = key else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let child = node.children.get(index).copied().unwrap_or(0);
            let capture = match (&mut label, message.label) {
                (Some(pair), Some((key, _))) if key == index => Some(&mut pair.0),
                (Some(pair), Some((_, value))) if value == index => Some(&mut pair.1),
                _ => None,
            };
            if child == 0 && capture.is_none() {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            seen |= 1 << index;
            let want = Want::Field(&message.fields[index]);
            let value =
                Value { walker: self.walker, want, node: child, depth: self.depth + 1, label: capture, seen: None };
            object.next_value_seed(Seed(value))?;
        }
        let mut unseen = node.wanted & !seen;
        while unseen != 0 {
            self.walker.missing(node.children[unseen.trailing_zeros() as usize]);
            unseen &= unseen - 1;
        }
        Ok(())
    }

    /// One element of a list of labels.
    fn labelled<'de, A: MapAccess<'de>>(self, id: MessageId, object: A, met: &mut [bool]) -> Result<(), A::Error> {
        let node = self.walker.node(self.node);
        let mut pair = (None, None);
        let walker = &mut *self.walker;
        Value { walker, want: self.want, node: self.node, depth: self.depth, label: None, seen: None }.message(
            id,
            object,
            Some(&mut pair),
        )?;
        let key = pair.0.unwrap_or_default();
        for (index, (name, child)) in node.labels.iter().enumerate() {
            if *name == key {
                met[index] = true;
                match &pair.1 {
                    Some(value) => self.walker.emit(*child, FieldKind::Text, Json::Str(value)),
                    None => self.walker.missing(*child),
                }
            }
        }
        Ok(())
    }

    /// The entries of a map or free-form object.
    fn entries<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let node = self.walker.node(self.node);
        let mut own = Vec::new();
        let (met, outermost) = match self.seen {
            Some(met) => (met, false),
            None => {
                own.resize(node.keys.len() + 2, false);
                (&mut own, true)
            }
        };
        let mut key = std::mem::take(&mut self.walker.key);
        while object.next_key_seed(TextKeySeed(&mut key))?.is_some() {
            let depth = self.depth + 1;
            let free = matches!(self.want, Want::Free);
            if free && key == "fields" {
                let value = Value {
                    walker: self.walker,
                    want: Want::FreeFields,
                    node: self.node,
                    depth,
                    label: None,
                    seen: Some(met),
                };
                object.next_value_seed(Seed(value))?;
                continue;
            }
            let child = meet_key(self.walker, node, met, &key);
            let want = match self.want {
                Want::Field(field) => Want::One(field),
                _ => Want::FreeValue,
            };
            Self::selected(self.walker, &mut object, want, child, if free { node.any } else { 0 }, depth)?;
        }
        self.walker.key = key;
        if outermost {
            miss_keys(self.walker, node, met);
        }
        Ok(())
    }

    /// Reads a value that a key and "any value" may both have selected.
    fn selected<'de, A: MapAccess<'de>>(
        walker: &mut Walker<'a>,
        object: &mut A,
        want: Want<'a>,
        child: u16,
        any: u16,
        depth: usize,
    ) -> Result<(), A::Error> {
        match (child, any) {
            (0, 0) => object.next_value::<IgnoredAny>().map(|_| ()),
            (node, 0) | (0, node) => {
                object.next_value_seed(Seed(Value { walker, want, node, depth, label: None, seen: None }))
            }
            (child, any) => {
                // Rare: both a key and any value are asked for. The value is read twice.
                let value = object.next_value::<Box<serde_json::value::RawValue>>()?;
                for node in [child, any] {
                    let seed = Seed(Value { walker: &mut *walker, want, node, depth, label: None, seen: None });
                    let _ = seed.deserialize(&mut serde_json::Deserializer::from_str(value.get()));
                }
                Ok(())
            }
        }
    }

    /// A value of a free-form object that is an object itself: a value in message form, or a free-form object.
    fn free_value<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let node = self.walker.node(self.node);
        let mut met = vec![false; node.keys.len() + 2];
        let mut wrapped = false;
        let mut key = std::mem::take(&mut self.walker.key);
        while object.next_key_seed(TextKeySeed(&mut key))?.is_some() {
            let depth = self.depth + 1;
            let want = match key.as_str() {
                _ if is_value_wrapper(&key) => Want::FreeValue,
                "values" => Want::FreeValue,
                "fields" => Want::FreeFields,
                _ => {
                    let child = meet_key(self.walker, node, &mut met, &key);
                    Self::selected(self.walker, &mut object, Want::FreeValue, child, node.any, depth)?;
                    continue;
                }
            };
            wrapped |= matches!(want, Want::FreeValue);
            let seen = matches!(want, Want::FreeFields).then_some(&mut met);
            let value = Value { walker: self.walker, want, node: self.node, depth, label: None, seen };
            object.next_value_seed(Seed(value))?;
        }
        self.walker.key = key;
        if !wrapped {
            miss_keys(self.walker, node, &met);
        }
        Ok(())
    }
}

/// Notes that an object has this key; gives the node selected for it, 0 for none. The two entries behind the named keys
/// stand for "any value" and "any key".
fn meet_key(walker: &mut Walker<'_>, node: &Node, met: &mut [bool], key: &str) -> u16 {
    let named = node.keys.len();
    met[named] = true;
    if !node.any_key.is_empty() {
        met[named + 1] = true;
        for slot in &node.any_key {
            (walker.visit)(*slot, Scalar::Text(key));
        }
    }
    match node.keys.iter().position(|(name, _)| name == key) {
        Some(index) => {
            met[index] = true;
            node.keys[index].1
        }
        None => 0,
    }
}

fn miss_keys(walker: &mut Walker<'_>, node: &Node, met: &[bool]) {
    for ((_, child), met) in node.keys.iter().zip(met) {
        if !met {
            walker.missing(*child);
        }
    }
    let named = node.keys.len();
    if !met[named] && node.any != 0 {
        walker.missing(node.any);
    }
    if !met[named + 1] {
        for slot in &node.any_key {
            (walker.visit)(*slot, Scalar::Missing);
        }
    }
}

impl<'a> Walk for Value<'_, 'a> {
    fn null(self) {
        // Unset; but an element of a list that is null is no element.
        if !matches!(self.want, Want::One(_)) {
            self.walker.missing(self.node);
        }
    }

    fn scalar(self, value: Json<'_>) {
        match self.want {
            Want::Field(field) | Want::One(field) => {
                if let (Some(label), Json::Str(text)) = (self.label, value) {
                    *label = Some(text.to_owned());
                }
                self.walker.emit(self.node, field.kind, value);
            }
            Want::FreeValue => self.walker.emit(self.node, FieldKind::Struct, value),
            Want::FreeFields => {
                // A plain entry whose key is `fields`.
                let node = self.walker.node(self.node);
                let mut none = vec![false; node.keys.len() + 2];
                let child = meet_key(self.walker, node, self.seen.unwrap_or(&mut none), "fields");
                for node in [child, node.any] {
                    self.walker.emit(node, FieldKind::Struct, value);
                }
            }
            Want::Message(_) | Want::Free => {}
        }
    }

    fn list<'de, A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return drain_list(list);
        }
        let depth = self.depth + 1;
        match self.want {
            Want::Field(field) if field.is_list() => {
                let node = self.walker.node(self.node);
                let mut met = vec![false; node.labels.len()];
                let mut any = false;
                while list
                    .next_element_seed(Seed(Element {
                        walker: self.walker,
                        field,
                        node: self.node,
                        depth,
                        met: &mut met,
                        any: &mut any,
                    }))?
                    .is_some()
                {}
                if any {
                    miss_labels(self.walker, node, &met);
                } else {
                    self.walker.missing(self.node);
                }
                Ok(())
            }
            Want::FreeFields => {
                // A plain entry whose key is `fields` and whose value is a list.
                let node = self.walker.node(self.node);
                let mut none = vec![false; node.keys.len() + 2];
                let child = meet_key(self.walker, node, self.seen.take().unwrap_or(&mut none), "fields");
                self.node = if child == 0 { node.any } else { child };
                self.want = Want::FreeValue;
                self.list(list)
            }
            Want::FreeValue => {
                let want = Want::FreeValue;
                while list
                    .next_element_seed(Seed(Value {
                        walker: self.walker,
                        want,
                        node: self.node,
                        depth,
                        label: None,
                        seen: None,
                    }))?
                    .is_some()
                {}
                Ok(())
            }
            _ => drain_list(list),
        }
    }

    fn object<'de, A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return drain_object(object);
        }
        match self.want.object() {
            Object::Message(id) => {
                let node = self.walker.node(self.node);
                // An object where a list of labels is declared is its one element.
                if node.labels.is_empty() || !matches!(self.want, Want::Field(_)) {
                    return self.message(id, object, None);
                }
                let mut met = vec![false; node.labels.len()];
                let walker = &mut *self.walker;
                Value { walker, want: self.want, node: self.node, depth: self.depth, label: None, seen: None }
                    .labelled(id, object, &mut met)?;
                miss_labels(self.walker, node, &met);
                Ok(())
            }
            Object::Map(_) => self.entries(object),
            Object::Free => Value { want: Want::Free, ..self }.entries(object),
            Object::FreeValue => self.free_value(object),
            Object::Scalar(_) => drain_object(object),
        }
    }
}

fn miss_labels(walker: &mut Walker<'_>, node: &Node, met: &[bool]) {
    for ((_, child), met) in node.labels.iter().zip(met) {
        if !met {
            walker.missing(*child);
        }
    }
}

/// An element of a list field.
struct Element<'w, 'a> {
    walker: &'w mut Walker<'a>,
    field: &'a Field,
    node: u16,
    depth: usize,
    met: &'w mut [bool],
    any: &'w mut bool,
}

impl<'w, 'a> Element<'w, 'a> {
    fn value(self) -> Value<'w, 'a> {
        *self.any = true;
        Value {
            walker: self.walker,
            want: Want::One(self.field),
            node: self.node,
            depth: self.depth,
            label: None,
            seen: None,
        }
    }
}

impl Walk for Element<'_, '_> {
    fn null(self) {}

    fn scalar(self, value: Json<'_>) {
        self.value().scalar(value);
    }

    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        drain_list(list)
    }

    fn object<'de, A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        match self.field.kind {
            FieldKind::Message(id) if !self.met.is_empty() && self.depth < limits::JSON_DEPTH_MAX => {
                *self.any = true;
                let (node, depth) = (self.node, self.depth);
                let want = Want::One(self.field);
                Value { walker: self.walker, want, node, depth, label: None, seen: None }.labelled(id, object, self.met)
            }
            _ => self.value().object(object),
        }
    }
}
