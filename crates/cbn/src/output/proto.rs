//! From the values that a program left in its state to the types of the schema, field by field.
//!
//! Google's engine is strict here: what is no list is refused for a repeated field, what is no map for a message, a name
//! without a field altogether, each with its own words (its users report them: `received non-slice or non-array raw
//! output for repeated field`, `received non-map raw output for sub-message field`, `no descriptor found`), and the log
//! has no events then. With [`Strictness::Strict`] so do we. By default the value is taken for what it plainly means,
//! where it means anything, and the event has an issue.
//!
//! Maps may hold themselves and be held many times over, as merging by reference allows; so depth is bounded, and every
//! value that is visited is charged.

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use udm::{EnumId, FieldRef, Instant, Kind, MessageRef, Schema};

use super::tree::{ENTRY_BYTES, Moment, Node, Object};
use super::{ISSUES_MAX, Issue, Strictness, user_agent};
use crate::run::{Failure, Limit, Run};
use crate::value::{DEPTH_MAX, Map, Value, print};

/// Why a value does not become a tree.
#[derive(Debug)]
pub(super) enum Stop {
    Limit(Limit),
    /// A value does not fit; the message tells the way to it too, as Google's engine does.
    Misfit(Box<Issue>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        match failure {
            Failure::Limit(limit) => Stop::Limit(limit),
            // The heap fails in no other way.
            _ => Stop::Limit(Limit::Memory),
        }
    }
}

/// Where a value stands, for issues.
pub(super) struct Frame<'a> {
    pub(super) parent: Option<&'a Frame<'a>>,
    pub(super) step: Step<'a>,
}

pub(super) enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl Frame<'_> {
    /// The path below the record, as `principal.ip[1]`. Of a name that no field has only the beginning.
    fn path(&self) -> String {
        let mut path = match self.parent {
            Some(parent) => parent.path(),
            None => return String::new(),
        };
        match self.step {
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(clip(name));
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }

    /// The way to the value as Google's engine tells it, from the outside in. Its single parts are what users report; how
    /// they are strung together is our reading of it.
    fn chain(&self) -> String {
        match (self.parent, &self.step) {
            (None, Step::Field(name)) => {
                let name = clip(name);
                format!("field \"idm\": index 0: recursive rawDataToProto failed: field \"{name}\"")
            }
            (Some(parent), Step::Field(name)) => {
                let name = clip(name);
                let index = if matches!(parent.step, Step::Index(_)) { "" } else { ": index 0" };
                format!("{}{index}: recursive rawDataToProto failed: field \"{name}\"", parent.chain())
            }
            (parent, Step::Index(index)) => {
                format!("{}: index {index}", parent.map(Frame::chain).unwrap_or_default())
            }
        }
    }
}

/// Reads one record.
pub(super) struct Reader<'t, 'r> {
    pub(super) schema: &'t Schema,
    pub(super) run: &'t Run<'r>,
    pub(super) strictness: Strictness,
    pub(super) issues: Vec<Issue>,
}

type Made<T> = Result<T, Stop>;

impl<'t, 'r: 't> Reader<'t, 'r> {
    /// A message out of a map. It is there even when nothing is in it: Google shows `{}` for what the program set.
    pub(super) fn message(
        &mut self,
        message: MessageRef<'t>,
        map: &'r Map<'r>,
        at: &Frame<'_>,
        depth: usize,
    ) -> Made<&'t mut Object<'t>> {
        self.enter(depth, map.len())?;
        let object = Object::new(self.bump(), map.len());
        let mut place = 0;
        while let Some((name, value)) = map.entry(place) {
            place += 1;
            let name = self.run.heap.text_of(name);
            let below = Frame { parent: Some(at), step: Step::Field(name) };
            let Some(field) = message.field(name) else {
                // Google's engine knows a field that the published schema does not: what `parseduseragent` makes, which
                // is written as it is, but for the names that the program set itself.
                let agent =
                    matches!(name, "parsed_user_agent" | "parsedUserAgent") && message.field("user_agent").is_some();
                match value {
                    Value::Map(_) if agent => {
                        if let Some(mut node) = self.free(value, &below, depth + 1)? {
                            if let Node::Object(agent) = &mut node {
                                agent.respell(user_agent::spelling);
                            }
                            object.set("parsedUserAgent", node);
                        }
                    }
                    Value::Text("") if agent => {}
                    _ if agent => self.misfit(&below, || NO_MAP.to_owned())?,
                    _ => self.misfit(&below, || "no descriptor found".to_owned())?,
                }
                continue;
            };
            let node = match (value, field.kind()) {
                // The most frequent case, cut short.
                (Value::Text(text), Kind::Text) if !field.is_list() && !field.is_map() => {
                    if text.is_empty() {
                        continue;
                    }
                    Node::Text(text)
                }
                (value, _) => match self.field(field, value, &below, depth + 1)? {
                    Some(node) => node,
                    None => continue,
                },
            };
            if field.json() == field.name() {
                object.push(field.json(), node);
            } else {
                // It may stand there in the other spelling too.
                object.set(field.json(), node);
            }
        }
        Ok(object)
    }

    fn bump(&self) -> &'t Bump {
        self.run.heap.bump()
    }

    /// Descends into something with so many entries.
    fn enter(&self, depth: usize, entries: usize) -> Result<(), Failure> {
        if depth > DEPTH_MAX {
            return Err(Failure::Limit(Limit::Nesting));
        }
        self.run.heap.charge((entries + 1).saturating_mul(ENTRY_BYTES))
    }

    /// Something that Google's engine refuses.
    fn misfit(&mut self, at: &Frame<'_>, message: impl FnOnce() -> String) -> Made<()> {
        if self.strictness == Strictness::Strict {
            return Err(Stop::Misfit(Box::new(Issue {
                field: at.path(),
                message: format!("{}: {}", at.chain(), message()),
            })));
        }
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue { field: at.path(), message: message() });
        }
        Ok(())
    }

    fn field(&mut self, field: FieldRef<'t>, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        if field.is_map() {
            return self.map(field.kind(), value, at, depth);
        }
        match value {
            Value::List(_) if field.is_list() => {
                let mut list = BumpVec::new_in(self.bump());
                self.elements(field.kind(), value, &mut list, at, depth)?;
                Ok((!list.is_empty()).then(|| Node::List(list.into_bump_slice_mut())))
            }
            _ if field.is_list() => {
                // An empty text is what programs set a field to before they know what belongs there.
                if matches!(value, Value::Text("")) {
                    return Ok(None);
                }
                self.misfit(at, || NO_LIST.to_owned())?;
                let Some(node) = self.one(field.kind(), value, true, at, depth)? else { return Ok(None) };
                self.run.heap.charge(ENTRY_BYTES)?;
                Ok(Some(Node::List(self.bump().alloc_slice_fill_iter([node]))))
            }
            Value::List(list) => {
                if list.is_empty() {
                    return Ok(None);
                }
                self.misfit(at, || "received slice or array raw output for non-repeated field".to_owned())?;
                match list.get(list.len() - 1) {
                    // What is merged last is what was meant last.
                    Some(Value::List(_)) | None => Ok(None),
                    Some(last) => self.one(field.kind(), last, false, at, depth),
                }
            }
            _ => self.one(field.kind(), value, false, at, depth),
        }
    }

    /// The elements of a list; lists within it are part of it, since merging a list appends what is in it.
    fn elements(
        &mut self,
        kind: Kind<'t>,
        value: Value<'r>,
        into: &mut BumpVec<'t, Node<'t>>,
        at: &Frame<'_>,
        depth: usize,
    ) -> Made<()> {
        let Value::List(list) = value else {
            into.extend(self.one(kind, value, true, at, depth)?);
            return Ok(());
        };
        self.enter(depth, list.len())?;
        let mut index = 0;
        while let Some(element) = list.get(index) {
            let below = Frame { parent: Some(at), step: Step::Index(index) };
            self.elements(kind, element, into, &below, depth + 1)?;
            index += 1;
        }
        Ok(())
    }

    /// A field that holds a map: given as a list of `{key, value}`, as programs can build it, or as a map.
    fn map(&mut self, kind: Kind<'t>, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        let object = match value {
            Value::Map(map) => {
                self.enter(depth, map.len())?;
                let object = Object::new(self.bump(), map.len());
                let mut place = 0;
                while let Some((name, value)) = map.entry(place) {
                    place += 1;
                    let key = self.run.heap.text_of(name);
                    let below = Frame { parent: Some(at), step: Step::Field(key) };
                    if let Some(node) = self.one(kind, value, true, &below, depth + 1)? {
                        object.push(key, node);
                    }
                }
                object
            }
            Value::List(list) => {
                self.enter(depth, list.len())?;
                let object = Object::new(self.bump(), list.len());
                let mut index = 0;
                while let Some(element) = list.get(index) {
                    let below = Frame { parent: Some(at), step: Step::Index(index) };
                    index += 1;
                    if let Some((key, Some(value))) = self.key_and_value(element, &below)?
                        && let Some(node) = self.one(kind, value, true, &below, depth + 1)?
                    {
                        object.push(key, node);
                    }
                }
                object
            }
            Value::Text("") => return Ok(None),
            _ => {
                self.misfit(at, || NO_LIST.to_owned())?;
                return Ok(None);
            }
        };
        object.sort();
        Ok((!object.is_empty()).then_some(Node::Object(object)))
    }

    /// An entry of a map in the form of a message.
    fn key_and_value(&mut self, entry: Value<'r>, at: &Frame<'_>) -> Made<Option<(&'r str, Option<Value<'r>>)>> {
        let Value::Map(map) = entry else {
            if !matches!(entry, Value::Text("")) {
                self.misfit(at, || NO_MAP.to_owned())?;
            }
            return Ok(None);
        };
        let (mut key, mut value) = ("", None);
        let mut place = 0;
        while let Some((name, held)) = map.entry(place) {
            place += 1;
            match self.run.heap.text_of(name) {
                "key" => match held {
                    Value::Text(text) => key = text,
                    other => {
                        self.misfit(at, || no_kind("string"))?;
                        if let Some(text) = print(&other) {
                            key = self.run.heap.text(&text)?;
                        }
                    }
                },
                "value" => value = Some(held),
                _ => self.misfit(at, || "no descriptor found".to_owned())?,
            }
        }
        Ok(Some((key, value)))
    }

    /// One value. Where it is not in a list (or map), what proto3 calls a default is the same as nothing.
    fn one(
        &mut self,
        kind: Kind<'t>,
        value: Value<'r>,
        listed: bool,
        at: &Frame<'_>,
        depth: usize,
    ) -> Made<Option<Node<'t>>> {
        // An empty text is what programs set a field to before they know what belongs there.
        if !listed && matches!(value, Value::Text("")) {
            return Ok(None);
        }
        Ok(match kind {
            Kind::Text => self.text(value, at)?.filter(|text| listed || !text.is_empty()).map(Node::Text),
            Kind::Bytes => match value {
                Value::Bytes(bytes) => (listed || !bytes.is_empty()).then_some(Node::Bytes(bytes)),
                Value::Text(text) => {
                    self.misfit(at, || no_kind("bytes"))?;
                    Some(Node::Bytes(text.as_bytes()))
                }
                _ => self.dropped(at, "bytes")?,
            },
            Kind::Bool => match value {
                Value::Bool(truth) => (listed || truth).then_some(Node::Bool(truth)),
                Value::Text(text) if matches!(text, "true" | "false") => {
                    self.misfit(at, || no_kind("bool"))?;
                    (listed || text == "true").then_some(Node::Bool(text == "true"))
                }
                _ => self.dropped(at, "bool")?,
            },
            Kind::Int32 => {
                self.int(value, i32::MIN.into(), i32::MAX.into(), "int32", at)?.map(|number| Node::Int(number as i64))
            }
            Kind::Uint32 => self.int(value, 0, u32::MAX.into(), "uint32", at)?.map(|number| Node::Int(number as i64)),
            Kind::Int64 => {
                self.int(value, i64::MIN.into(), i64::MAX.into(), "int64", at)?.map(|number| Node::Long(number as i64))
            }
            Kind::Uint64 => self.int(value, 0, u64::MAX.into(), "uint64", at)?.map(|number| Node::Ulong(number as u64)),
            Kind::Float => self.float(value, "float", at)?.map(|number| Node::Float32(number as f32)),
            Kind::Double => self.float(value, "double", at)?.map(Node::Float),
            Kind::Enum(id) => self.enumerator(id, value, listed, at)?,
            Kind::Message(message) => match value {
                Value::Map(map) => Some(Node::Object(self.message(message, map, at, depth)?)),
                Value::Text("") => None,
                _ => {
                    self.misfit(at, || NO_MAP.to_owned())?;
                    None
                }
            },
            Kind::Timestamp => self.moment(value, at)?.map(Node::Time),
            Kind::Duration => self.duration(value, at)?.map(|nanos| Node::Duration {
                seconds: (nanos / 1_000_000_000) as i64,
                nanos: (nanos % 1_000_000_000) as i32,
            }),
            Kind::Struct => self.free_form(value, at, depth)?,
        }
        .filter(|node| listed || !is_zero(node)))
    }

    fn dropped(&mut self, at: &Frame<'_>, kind: &str) -> Made<Option<Node<'t>>> {
        self.misfit(at, || no_kind(kind))?;
        Ok(None)
    }

    fn text(&mut self, value: Value<'r>, at: &Frame<'_>) -> Made<Option<&'r str>> {
        if let Value::Text(text) = value {
            return Ok(Some(text));
        }
        self.misfit(at, || no_kind("string"))?;
        match print(&value) {
            Some(text) => Ok(Some(self.run.heap.text(&text)?)),
            None => Ok(None),
        }
    }

    /// A whole number in a range; a fraction is cut off.
    fn int(&mut self, value: Value<'r>, min: i128, max: i128, kind: &str, at: &Frame<'_>) -> Made<Option<i128>> {
        let number = match value {
            Value::Int(number) => Some(i128::from(number)),
            Value::Uint(number) => Some(i128::from(number)),
            Value::Float(number) if number.is_finite() && number.abs() < 1e20 => {
                if number.fract() != 0.0 {
                    self.misfit(at, || format!("received {number} as raw output for {kind} field"))?;
                }
                Some(number as i128)
            }
            Value::Text(text) => {
                self.misfit(at, || no_kind(kind))?;
                let text = text.trim();
                match (text.parse::<i128>(), text.parse::<f64>()) {
                    (Ok(number), _) => Some(number),
                    (_, Ok(number)) if number.is_finite() && number.abs() < 1e20 => Some(number as i128),
                    _ => return Ok(None),
                }
            }
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(number) => {
                self.misfit(at, || format!("received {number} as raw output for {kind} field"))?;
                Ok(None)
            }
            None => {
                self.misfit(at, || no_kind(kind))?;
                Ok(None)
            }
        }
    }

    fn float(&mut self, value: Value<'r>, kind: &str, at: &Frame<'_>) -> Made<Option<f64>> {
        Ok(match value {
            Value::Float(number) => Some(number),
            Value::Int(number) => Some(number as f64),
            Value::Uint(number) => Some(number as f64),
            Value::Text(text) => {
                self.misfit(at, || no_kind(kind))?;
                text.trim().parse().ok()
            }
            _ => {
                self.misfit(at, || no_kind(kind))?;
                None
            }
        })
    }

    fn enumerator(&mut self, id: EnumId, value: Value<'r>, listed: bool, at: &Frame<'_>) -> Made<Option<Node<'t>>> {
        let schema = self.schema;
        let number = match value {
            Value::Text(text) => match schema.enum_number(id, text) {
                Some(number) => Some(number),
                None => {
                    self.misfit(at, || format!("received {:?} as raw output for enum field", clip(text)))?;
                    let text = text.trim();
                    // No name of a value is that long.
                    let upper = if text.len() <= 80 { text.to_ascii_uppercase() } else { String::new() };
                    schema.enum_number(id, &upper).or_else(|| text.parse().ok())
                }
            },
            Value::Int(number) => i32::try_from(number).ok(),
            Value::Uint(number) => i32::try_from(number).ok(),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 2e9 => Some(number as i32),
            _ => {
                self.misfit(at, || no_kind("enum"))?;
                None
            }
        };
        Ok(match number {
            Some(0) if !listed => None,
            Some(number) => match schema.enum_name(id, number) {
                Some(name) => Some(Node::Text(name)),
                None => {
                    self.misfit(at, || format!("received {number} as raw output for enum field"))?;
                    Some(Node::Int(number.into()))
                }
            },
            None => None,
        })
    }

    /// A `google.protobuf.Timestamp`: a time, or a map of `seconds` and `nanos`.
    pub(super) fn moment(&mut self, value: Value<'r>, at: &Frame<'_>) -> Made<Option<Moment>> {
        let moment = match value {
            Value::Time(time) => Moment::of(time),
            Value::Map(map) if map.is_empty() => return Ok(None),
            Value::Map(map) => {
                let (seconds, nanos) = self.seconds_and_nanos(map, at)?;
                Moment::new(seconds, nanos.unsigned_abs())
            }
            Value::Text(text) => {
                self.misfit(at, || NO_MAP.to_owned())?;
                match Instant::parse(text.trim()) {
                    Some(instant) => Moment::new(instant.secs, instant.nanos),
                    None => return Ok(None),
                }
            }
            Value::Float(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => {
                self.misfit(at, || NO_MAP.to_owned())?;
                let nanos = (seconds * 1e9) as i128;
                Moment::new(nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32)
            }
            Value::Int(seconds) => {
                self.misfit(at, || NO_MAP.to_owned())?;
                Moment::new(seconds, 0)
            }
            _ => {
                self.misfit(at, || NO_MAP.to_owned())?;
                return Ok(None);
            }
        };
        if moment.is_none() {
            self.misfit(at, || "received a time outside of the years 1 to 9999".to_owned())?;
        }
        Ok(moment)
    }

    fn duration(&mut self, value: Value<'r>, at: &Frame<'_>) -> Made<Option<i128>> {
        let nanos = match value {
            Value::Map(map) if map.is_empty() => None,
            Value::Map(map) => {
                let (seconds, nanos) = self.seconds_and_nanos(map, at)?;
                Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
            }
            Value::Text(text) => {
                self.misfit(at, || NO_MAP.to_owned())?;
                udm::parse_duration(text.trim())
            }
            Value::Float(seconds) if seconds.is_finite() && seconds.abs() < 3e11 => {
                self.misfit(at, || NO_MAP.to_owned())?;
                Some((seconds * 1e9) as i128)
            }
            Value::Int(seconds) => {
                self.misfit(at, || NO_MAP.to_owned())?;
                Some(i128::from(seconds) * 1_000_000_000)
            }
            _ => {
                self.misfit(at, || NO_MAP.to_owned())?;
                None
            }
        };
        match nanos {
            Some(nanos) if nanos.unsigned_abs() > DURATION_NANOS_MAX => {
                self.misfit(at, || "duration is out of range".to_owned())?;
                Ok(None)
            }
            nanos => Ok(nanos),
        }
    }

    fn seconds_and_nanos(&mut self, map: &'r Map<'r>, at: &Frame<'_>) -> Made<(i64, i32)> {
        let (mut seconds, mut nanos) = (0, 0);
        let mut place = 0;
        while let Some((name, value)) = map.entry(place) {
            place += 1;
            let name = self.run.heap.text_of(name);
            let below = Frame { parent: Some(at), step: Step::Field(name) };
            match name {
                "seconds" | "nanos" if matches!(value, Value::Text("")) => {}
                "seconds" => {
                    seconds = self.int(value, i64::MIN.into(), i64::MAX.into(), "int64", &below)?.unwrap_or(0) as i64;
                }
                "nanos" => nanos = self.int(value, -999_999_999, 999_999_999, "int32", &below)?.unwrap_or(0) as i32,
                _ => self.misfit(&below, || "no descriptor found".to_owned())?,
            }
        }
        Ok((seconds, nanos))
    }

    /// A `google.protobuf.Struct`, which JSON shows as the object that it stands for. Programs build it as what it is in
    /// proto, `fields` with keys and values of a kind each; a map that is none of this is taken as the object itself.
    fn free_form(&mut self, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        let object = match value {
            Value::Map(map) => {
                self.enter(depth, map.len())?;
                let object = Object::new(self.bump(), map.len());
                let mut place = 0;
                while let Some((name, held)) = map.entry(place) {
                    place += 1;
                    let name = self.run.heap.text_of(name);
                    let below = Frame { parent: Some(at), step: Step::Field(name) };
                    match (name, held) {
                        ("fields", Value::List(_) | Value::Map(_)) => self.fields(held, object, &below, depth + 1)?,
                        ("fields", Value::Text("")) => {}
                        _ => {
                            if self.strictness == Strictness::Strict {
                                self.misfit(&below, || "no descriptor found".to_owned())?;
                            }
                            if let Some(node) = self.kinded(held, &below, depth + 1)? {
                                object.push(name, node);
                            }
                        }
                    }
                }
                object
            }
            Value::List(_) => {
                self.misfit(at, || NO_MAP.to_owned())?;
                let object = Object::new(self.bump(), 0);
                self.fields(value, object, at, depth)?;
                object
            }
            Value::Text("") => return Ok(None),
            _ => {
                self.misfit(at, || NO_MAP.to_owned())?;
                return Ok(None);
            }
        };
        object.sort();
        Ok(Some(Node::Object(object)))
    }

    /// The `fields` of a struct: a list of `{key, value}`, or a map.
    fn fields(&mut self, fields: Value<'r>, object: &mut Object<'t>, at: &Frame<'_>, depth: usize) -> Made<()> {
        match fields {
            Value::List(list) => {
                self.enter(depth, list.len())?;
                let mut index = 0;
                while let Some(entry) = list.get(index) {
                    let below = Frame { parent: Some(at), step: Step::Index(index) };
                    index += 1;
                    if let Value::List(_) = entry {
                        self.fields(entry, object, &below, depth + 1)?;
                        continue;
                    }
                    let Some((key, value)) = self.key_and_value(entry, &below)? else { continue };
                    if let Some(value) = value
                        && let Some(node) = self.kinded(value, &below, depth + 1)?
                    {
                        object.push(key, node);
                    }
                }
            }
            Value::Map(map) => {
                self.enter(depth, map.len())?;
                let mut place = 0;
                while let Some((name, value)) = map.entry(place) {
                    place += 1;
                    let key = self.run.heap.text_of(name);
                    let below = Frame { parent: Some(at), step: Step::Field(key) };
                    if let Some(node) = self.kinded(value, &below, depth + 1)? {
                        object.push(key, node);
                    }
                }
            }
            _ => self.misfit(at, || NO_LIST.to_owned())?,
        }
        Ok(())
    }

    /// A `google.protobuf.Value`: a map with one key that names its kind. Any other value stands for itself.
    fn kinded(&mut self, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        let Value::Map(map) = value else {
            self.misfit(at, || NO_MAP.to_owned())?;
            return self.free(value, at, depth);
        };
        self.enter(depth, map.len())?;
        let mut kinds = 0;
        let mut made = None;
        let mut place = 0;
        while let Some((name, held)) = map.entry(place) {
            place += 1;
            let name = self.run.heap.text_of(name);
            let below = Frame { parent: Some(at), step: Step::Field(name) };
            let node = match name {
                "string_value" | "stringValue" => self.text(held, &below)?.map(Node::Text),
                "number_value" | "numberValue" | "bool_value" | "boolValue" if matches!(held, Value::Text("")) => None,
                "number_value" | "numberValue" => self.float(held, "double", &below)?.map(Node::Float),
                "bool_value" | "boolValue" => self.one(Kind::Bool, held, true, &below, depth + 1)?,
                "struct_value" | "structValue" => self.free_form(held, &below, depth + 1)?,
                "list_value" | "listValue" => self.list_value(held, &below, depth + 1)?,
                "null_value" | "nullValue" => None,
                _ => continue,
            };
            kinds += 1;
            made = node.or(made);
        }
        if kinds == 0 && !map.is_empty() {
            self.misfit(at, || "no descriptor found".to_owned())?;
            return self.free(value, at, depth);
        }
        Ok(made)
    }

    fn list_value(&mut self, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        let mut values = value;
        if let Value::Map(map) = value {
            let Some((_, held)) = map.entry(0).filter(|(name, _)| self.run.heap.text_of(*name) == "values") else {
                return Ok(Some(Node::List(&mut [])));
            };
            values = held;
        }
        let mut list = BumpVec::new_in(self.bump());
        match values {
            Value::List(elements) => {
                self.enter(depth, elements.len())?;
                let mut index = 0;
                while let Some(element) = elements.get(index) {
                    let below = Frame { parent: Some(at), step: Step::Index(index) };
                    index += 1;
                    list.extend(self.kinded(element, &below, depth + 1)?);
                }
            }
            Value::Text("") => {}
            _ => {
                self.misfit(at, || NO_LIST.to_owned())?;
                self.run.heap.charge(ENTRY_BYTES)?;
                list.extend(self.kinded(values, at, depth + 1)?);
            }
        }
        Ok(Some(Node::List(list.into_bump_slice_mut())))
    }

    /// A value as what it is.
    fn free(&mut self, value: Value<'r>, at: &Frame<'_>, depth: usize) -> Made<Option<Node<'t>>> {
        Ok(Some(match value {
            Value::Text(text) => Node::Text(text),
            Value::Bool(truth) => Node::Bool(truth),
            Value::Float(number) => Node::Float(number),
            Value::Int(number) => Node::Int(number),
            Value::Uint(number) => i64::try_from(number).map_or(Node::Float(number as f64), Node::Int),
            Value::Bytes(bytes) => Node::Bytes(bytes),
            Value::Time(time) => return Ok(Moment::of(time).map(Node::Time)),
            Value::Map(map) => {
                self.enter(depth, map.len())?;
                let object = Object::new(self.bump(), map.len());
                let mut place = 0;
                while let Some((name, value)) = map.entry(place) {
                    place += 1;
                    let key = self.run.heap.text_of(name);
                    let below = Frame { parent: Some(at), step: Step::Field(key) };
                    if let Some(node) = self.free(value, &below, depth + 1)? {
                        object.push(key, node);
                    }
                }
                Node::Object(object)
            }
            Value::List(elements) => {
                self.enter(depth, elements.len())?;
                let mut list = BumpVec::new_in(self.bump());
                let mut index = 0;
                while let Some(element) = elements.get(index) {
                    let below = Frame { parent: Some(at), step: Step::Index(index) };
                    index += 1;
                    list.extend(self.free(element, &below, depth + 1)?);
                }
                Node::List(list.into_bump_slice_mut())
            }
        }))
    }
}

/// 10,000 years, where `google.protobuf.Duration` ends.
const DURATION_NANOS_MAX: u128 = 315_576_000_000 * 1_000_000_000;

const NO_LIST: &str = "failed to make strategy: received non-slice or non-array raw output for repeated field";
const NO_MAP: &str = "failed to make strategy: received non-map raw output for sub-message field";

fn no_kind(kind: &str) -> String {
    format!("failed to make strategy: received non-{kind} raw output for {kind} field")
}

/// What proto3 does not write of a field that holds one value.
fn is_zero(node: &Node<'_>) -> bool {
    match node {
        Node::Int(number) => *number == 0,
        Node::Long(number) => *number == 0,
        Node::Ulong(number) => *number == 0,
        Node::Float(number) => *number == 0.0,
        Node::Float32(number) => *number == 0.0,
        Node::Bytes(bytes) => bytes.is_empty(),
        _ => false,
    }
}

/// The beginning of a text, for a message.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}
