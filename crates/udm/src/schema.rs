//! The schema itself: messages, fields and enums, read once from the embedded file and never changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::path::{FieldPath, UnknownField};
use crate::rules;
use crate::{Checked, Faults, Leaf, LeftOut, Mode};

/// Which message a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// `google.backstory.UDM`: something that happened.
    Event,
    /// `google.backstory.Entity`: something that is known of a user, host, file, ….
    Entity,
}

/// An enum of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnumId(pub(crate) u16);

/// One of the nine names that a search may use for a whole set of fields (contracts/cbn.md §4.2).
#[derive(Debug, Clone)]
pub struct Grouped {
    /// The name, such as `ip`.
    pub name: &'static str,
    /// The fields of UDM events that it stands for.
    pub paths: Vec<FieldPath>,
}

/// A set of grouped fields; number `i` is the `i`-th of [`Schema::grouped`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Groups(pub(crate) u16);

impl Groups {
    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the grouped field with this index belongs to it.
    pub const fn contains(self, index: usize) -> bool {
        index < 16 && self.0 & (1 << index) != 0
    }

    /// The indices in it, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..16).filter(move |index| self.contains(*index))
    }
}

/// The whole schema. Shared; immutable after [`Schema::load`].
#[derive(Debug)]
pub struct Schema {
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    roots: [MessageId; 2],
    tracks: [Tracks; 2],
    grouped: Vec<Grouped>,
}

impl Schema {
    /// Reads the schema that is built in. A schema that does not hold together is a mistake of the build, not of any
    /// input, so it panics then.
    pub fn load() -> Arc<Schema> {
        let file: File = serde_json::from_str(include_str!("../data/udm_schema.json"))
            .expect("the embedded schema is JSON of its form");
        Arc::new(Schema::build(file))
    }

    /// Checks one event or entity as it was sent. What is wrong with its structure or types is a fault; in
    /// [`Mode::Lenient`] what else Google would complain of becomes an issue of the result, in [`Mode::Strict`] a
    /// fault.
    pub fn check(&self, root: Root, json: &[u8], mode: Mode) -> Result<Checked, Faults> {
        crate::check::check(self, root, json, mode)
    }

    /// Finds the field that a path names. Segments may be written in snake or camel case; free-form parts take
    /// `additional.fields["k"]` or `additional["k"]`, labels `labels["k"]`, maps `variables["k"]`.
    pub fn resolve(&self, root: Root, path: &str) -> Result<FieldPath, UnknownField> {
        crate::path::resolve(self, root, path)
    }

    /// Calls `visit` for every scalar of known fields that is set, in the order in which they stand in the JSON. What
    /// is not JSON ends the walk early: records are checked before they get here.
    pub fn visit_leaves(&self, root: Root, json: &[u8], visit: &mut dyn FnMut(Leaf<'_>)) {
        crate::leaves::visit_leaves(self, root, json, visit);
    }

    /// Appends the record as Google's API shows it, in canonical proto3 JSON: lower camel case, lists where the schema
    /// has lists, 64-bit integers and bytes (padded base64; a UUID as its 16 bytes) in text, enums by name, times in UTC
    /// and durations with 0, 3, 6 or 9 fraction digits. Nulls and empty lists are unset fields; free-form objects keep
    /// what they hold. Whatever was stored, what is appended is one JSON object, on one line; what it does not show is
    /// in the result.
    pub fn write_proto_json(&self, root: Root, json: &[u8], out: &mut Vec<u8>) -> LeftOut {
        crate::proto_json::write(self, root, json, out)
    }

    /// The nine grouped fields, in a fixed order that [`Groups`] numbers.
    pub fn grouped(&self) -> &[Grouped] {
        &self.grouped
    }

    /// The number that a value of an enum stands for, by its exact name.
    pub fn enum_number(&self, id: EnumId, name: &str) -> Option<i32> {
        let values = &self.enums[id.0 as usize];
        values.names.get(name).map(|index| values.values[index].1)
    }

    /// The name of an enum's value; the first one where several share the number.
    pub fn enum_name(&self, id: EnumId, number: i32) -> Option<&str> {
        let values = &self.enums[id.0 as usize];
        values.by_number.get(&number).map(|index| values.values[*index].0.as_str())
    }

    /// All names of an enum's values, in the order of the schema.
    pub fn enum_names(&self, id: EnumId) -> impl Iterator<Item = &str> {
        self.enums[id.0 as usize].values.iter().map(|(name, _)| name.as_str())
    }

    /// The name of the number in [`Checked::event_type`]: an event type of events, an entity type of entities.
    pub fn type_name(&self, root: Root, number: i32) -> Option<&str> {
        self.enum_name(self.tracks(root).type_enum, number)
    }

    pub(crate) fn root(&self, root: Root) -> MessageId {
        self.roots[root as usize]
    }

    pub(crate) fn tracks(&self, root: Root) -> &Tracks {
        &self.tracks[root as usize]
    }

    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id as usize]
    }

    fn build(mut file: File) -> Schema {
        // The two messages of google.type that UDM uses are not in the file.
        let scalar = |name: &str, json: &str, kind: &str, reference: Option<&str>| FileField {
            name: name.to_owned(),
            json: json.to_owned(),
            kind: kind.to_owned(),
            repeated: false,
            reference: reference.map(str::to_owned),
            map: false,
        };
        file.messages.insert(
            "google.type.Interval".to_owned(),
            vec![
                scalar("start_time", "startTime", "message", Some("google.protobuf.Timestamp")),
                scalar("end_time", "endTime", "message", Some("google.protobuf.Timestamp")),
            ],
        );
        file.messages.insert(
            "google.type.LatLng".to_owned(),
            vec![scalar("latitude", "latitude", "double", None), scalar("longitude", "longitude", "double", None)],
        );

        let message_ids: HashMap<&str, MessageId> =
            file.messages.keys().enumerate().map(|(index, name)| (name.as_str(), index as MessageId)).collect();
        let enum_ids: HashMap<&str, EnumId> =
            file.enums.keys().enumerate().map(|(index, name)| (name.as_str(), EnumId(index as u16))).collect();
        let messages = file
            .messages
            .values()
            .map(|fields| {
                let fields: Vec<Field> = fields
                    .iter()
                    .map(|field| Field {
                        name: field.name.clone(),
                        json: field.json.clone(),
                        kind: FieldKind::of(field, &message_ids, &enum_ids),
                        repeated: field.repeated,
                        map: field.map,
                    })
                    .collect();
                Message::new(fields)
            })
            .collect();
        let enums = file
            .enums
            .values()
            .map(|values| {
                let mut by_number = HashMap::new();
                for (index, (_, number, _)) in values.iter().enumerate() {
                    by_number.entry(*number).or_insert(index);
                }
                let keys = values.iter().enumerate().map(|(index, (name, _, _))| (name.clone(), index));
                Enum {
                    names: KeyTable::new(keys.collect()),
                    values: values.iter().map(|(name, number, _)| (name.clone(), *number)).collect(),
                    by_number,
                }
            })
            .collect();
        let roots = ["google.backstory.UDM", "google.backstory.Entity"].map(|name| message_ids[name]);
        let mut schema =
            Schema { messages, enums, roots, tracks: [Tracks::default(), Tracks::default()], grouped: Vec::new() };
        schema.grouped = rules::GROUPED
            .iter()
            .map(|(name, paths)| Grouped {
                name,
                paths: paths.iter().map(|path| schema.known(Root::Event, path)).collect(),
            })
            .collect();
        schema.tracks = [Root::Event, Root::Entity].map(|root| rules::tracks(&schema, root));
        schema
    }

    /// A path that this crate itself names.
    pub(crate) fn known(&self, root: Root, path: &str) -> FieldPath {
        self.resolve(root, path).unwrap_or_else(|error| panic!("the schema lacks {path}, which a table names: {error}"))
    }
}

pub(crate) type MessageId = u16;

/// A message: its fields, and where each key leads.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    pub(crate) keys: KeyTable,
    /// Indices of the `key` and `value` fields of a message that stands for one entry of a text map (labels).
    pub(crate) label: Option<(usize, usize)>,
}

impl Message {
    fn new(fields: Vec<Field>) -> Message {
        // Walks keep the fields that they have seen in 64 bits.
        assert!(fields.len() <= 64, "a message of the schema has more than 64 fields");
        let mut keys: Vec<(String, usize)> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            keys.push((field.name.clone(), index));
            if field.json != field.name {
                keys.push((field.json.clone(), index));
            }
        }
        let text = |name: &str| {
            fields.iter().position(|field| field.name == name && field.kind == FieldKind::Text && !field.repeated)
        };
        let label = text("key").zip(text("value"));
        Message { label, keys: KeyTable::new(keys), fields }
    }

    /// The field with this name, snake or camel.
    pub(crate) fn field_index(&self, key: &str) -> Option<usize> {
        self.keys.get(key)
    }
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) json: String,
    /// The type of one value: of an element of a list, of a value of a map.
    pub(crate) kind: FieldKind,
    pub(crate) repeated: bool,
    pub(crate) map: bool,
}

impl Field {
    /// Whether lists of values are expected.
    pub(crate) fn is_list(&self) -> bool {
        self.repeated && !self.map
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Text,
    Bytes,
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    Enum(EnumId),
    Message(MessageId),
    Timestamp,
    Duration,
    Struct,
}

impl FieldKind {
    fn of(field: &FileField, messages: &HashMap<&str, MessageId>, enums: &HashMap<&str, EnumId>) -> FieldKind {
        let reference = field.reference.as_deref().unwrap_or_default();
        match field.kind.as_str() {
            "string" => FieldKind::Text,
            "bytes" => FieldKind::Bytes,
            "bool" => FieldKind::Bool,
            "int32" => FieldKind::Int32,
            "int64" => FieldKind::Int64,
            "uint32" => FieldKind::Uint32,
            "uint64" => FieldKind::Uint64,
            "float" => FieldKind::Float,
            "double" => FieldKind::Double,
            "enum" => FieldKind::Enum(enums[reference]),
            "message" => match reference {
                "google.protobuf.Timestamp" => FieldKind::Timestamp,
                "google.protobuf.Duration" => FieldKind::Duration,
                "google.protobuf.Struct" => FieldKind::Struct,
                // The file names the entry of the one map but not what its values are.
                "google.backstory.SecurityResult.VariablesEntry" => {
                    FieldKind::Message(messages["google.backstory.FindingVariable"])
                }
                _ => FieldKind::Message(messages[reference]),
            },
            other => panic!("the schema has a field of type {other}, which nothing here reads"),
        }
    }

    /// The range of an integer type.
    pub(crate) fn int_range(self) -> Option<(i128, i128)> {
        match self {
            FieldKind::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
            FieldKind::Int64 => Some((i64::MIN.into(), i64::MAX.into())),
            FieldKind::Uint32 => Some((0, u32::MAX.into())),
            FieldKind::Uint64 => Some((0, u64::MAX.into())),
            _ => None,
        }
    }

    /// What belongs into a field of this type, for error texts.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            FieldKind::Text => "text",
            FieldKind::Bytes => "base64 text",
            FieldKind::Bool => "true or false",
            FieldKind::Int32 | FieldKind::Int64 | FieldKind::Uint32 | FieldKind::Uint64 => "a whole number",
            FieldKind::Float | FieldKind::Double => "a number",
            FieldKind::Enum(_) => "an enum's name or number",
            FieldKind::Message(_) | FieldKind::Struct => "an object",
            FieldKind::Timestamp => "an RFC 3339 timestamp in quotes",
            FieldKind::Duration => "a duration such as \"1.5s\"",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) values: Vec<(String, i32)>,
    pub(crate) names: KeyTable,
    by_number: HashMap<i32, usize>,
}

/// A fixed set of keys with a number each. Lookups are most of what a walk does, and the keys come from us, so a plain
/// multiplicative hash over a key's ends does where the standard one would cost more than the rest of the walk.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    keys: Vec<(String, usize)>,
    slots: Vec<u16>,
}

impl KeyTable {
    const EMPTY: u16 = u16::MAX;

    pub(crate) fn new(keys: Vec<(String, usize)>) -> KeyTable {
        let mut slots = vec![KeyTable::EMPTY; (keys.len() * 4).next_power_of_two().max(4)];
        for (index, (key, _)) in keys.iter().enumerate() {
            let mut slot = hash(key.as_bytes()) & (slots.len() - 1);
            while slots[slot] != KeyTable::EMPTY {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = index as u16;
        }
        KeyTable { keys, slots }
    }

    pub(crate) fn get(&self, key: &str) -> Option<usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = hash(key.as_bytes()) & mask;
        loop {
            match self.slots.get(slot) {
                None | Some(&KeyTable::EMPTY) => return None,
                Some(&index) => {
                    let (name, number) = &self.keys[index as usize];
                    if name == key {
                        return Some(*number);
                    }
                }
            }
            slot = (slot + 1) & mask;
        }
    }
}

fn hash(key: &[u8]) -> usize {
    let (head, tail) = match key.len() {
        0 => (0, 0),
        1..=3 => (u64::from(key[0]), u64::from(key[key.len() / 2]) << 8 | u64::from(key[key.len() - 1])),
        4..=7 => {
            let four = |at: usize| u32::from_le_bytes(key[at..at + 4].try_into().expect("four bytes were cut"));
            (u64::from(four(0)), u64::from(four(key.len() - 4)))
        }
        _ => {
            let eight = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().expect("eight bytes were cut"));
            (eight(0), eight(key.len() - 8))
        }
    };
    let mixed = (head ^ tail.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize
}

/// What checks and the store want to know of certain paths, as a tree over field indices that a walk goes down beside
/// the JSON. Node 0 is "nothing of interest below", node 1 the root.
#[derive(Debug)]
pub(crate) struct Tracks {
    pub(crate) nodes: Vec<Track>,
    pub(crate) type_enum: EnumId,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Track {
    pub(crate) children: Vec<u16>,
    pub(crate) groups: u16,
    pub(crate) marks: u64,
    /// Most bytes of the text here, 0 for no limit.
    pub(crate) bytes_max: u16,
}

impl Default for Tracks {
    fn default() -> Tracks {
        Tracks { nodes: vec![Track::default(), Track::default()], type_enum: EnumId(0) }
    }
}

impl Tracks {
    pub(crate) const ROOT: u16 = 1;

    /// The node below `node` for the field with this index, 0 for none.
    pub(crate) fn child(&self, node: u16, field: usize) -> u16 {
        self.nodes[node as usize].children.get(field).copied().unwrap_or(0)
    }

    /// The node of a path, made if need be.
    pub(crate) fn node(&mut self, fields: impl Iterator<Item = usize>) -> &mut Track {
        let mut at = Tracks::ROOT as usize;
        for field in fields {
            if self.nodes[at].children.len() <= field {
                self.nodes[at].children.resize(field + 1, 0);
            }
            if self.nodes[at].children[field] == 0 {
                self.nodes[at].children[field] = self.nodes.len() as u16;
                self.nodes.push(Track::default());
            }
            at = self.nodes[at].children[field] as usize;
        }
        &mut self.nodes[at]
    }
}

/// The file as it lies in `data/`.
#[derive(serde::Deserialize)]
struct File {
    messages: BTreeMap<String, Vec<FileField>>,
    enums: BTreeMap<String, Vec<(String, i32, bool)>>,
}

#[derive(serde::Deserialize)]
struct FileField {
    name: String,
    json: String,
    #[serde(rename = "type")]
    kind: String,
    repeated: bool,
    #[serde(rename = "ref")]
    reference: Option<String>,
    map: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_message_is_found_in_both_spellings() {
        let schema = Schema::load();
        for message in &schema.messages {
            for (index, field) in message.fields.iter().enumerate() {
                assert_eq!(message.field_index(&field.name), Some(index), "{}", field.name);
                assert_eq!(message.field_index(&field.json), Some(index), "{}", field.json);
            }
            assert_eq!(message.field_index("no_such_field"), None);
            assert_eq!(message.field_index(""), None);
        }
        assert_eq!(schema.messages.len(), 139);
        assert_eq!(schema.enums.len(), 75);
    }

    #[test]
    fn enums_by_name_and_number() {
        let schema = Schema::load();
        let event_type = schema.tracks(Root::Event).type_enum;
        assert_eq!(schema.enum_number(event_type, "USER_LOGIN"), Some(15001));
        assert_eq!(schema.enum_name(event_type, 15001), Some("USER_LOGIN"));
        assert_eq!(schema.enum_number(event_type, "user_login"), None);
        assert_eq!(schema.type_name(Root::Entity, 10000), Some("USER"));
    }

    #[test]
    fn the_nine_grouped_fields() {
        let schema = Schema::load();
        let counts: Vec<(&str, usize)> =
            schema.grouped().iter().map(|grouped| (grouped.name, grouped.paths.len())).collect();
        assert_eq!(
            counts,
            [
                ("domain", 10),
                ("email", 6),
                ("file_path", 6),
                ("hash", 13),
                ("hostname", 8),
                ("ip", 11),
                ("namespace", 3),
                ("process_id", 8),
                ("user", 9),
            ]
        );
    }
}
