//! Every set value of a record in one pass, for the store's grouped columns and filters.
//!
//! The texts are canonical where proto3 JSON has several spellings of one value (integers, enums, bools), so that what
//! goes into a filter is what a search looks for. Unknown fields are left out: no search can name them.

use std::fmt::Write as _;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use event::limits;

use crate::path::push_key;
use crate::schema::{FieldKind, MessageId, Tracks};
use crate::walk::{
    Json, Object, Seed, TableKeySeed, TextKeySeed, Walk, Want, drain_list, drain_object, is_value_wrapper,
};
use crate::{Groups, Root, Schema, scalar};

/// One scalar of a record. Borrowed from the walk: copy what is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The field in canonical form, without list indices: `principal.ip`, `additional.fields["k"]`.
    pub path: &'a str,
    /// Its value. Integers in decimal, bools `true` and `false`, enums by their (first) name; everything else as sent.
    pub text: &'a str,
    /// The grouped fields that it counts for.
    pub groups: Groups,
}

pub(crate) fn visit_leaves(schema: &Schema, root: Root, json: &[u8], visit: &mut dyn FnMut(Leaf<'_>)) {
    let Ok(text) = std::str::from_utf8(json) else { return };
    let mut walker = Walker {
        schema,
        tracks: schema.tracks(root),
        path: String::with_capacity(128),
        number: String::new(),
        key: String::new(),
        visit,
    };
    let value = Value { walker: &mut walker, want: Want::Message(schema.root(root)), track: Tracks::ROOT, depth: 0 };
    // Nothing to report: records were checked when they came in.
    let _ = Seed(value).deserialize(&mut serde_json::Deserializer::from_str(text));
}

struct Walker<'a> {
    schema: &'a Schema,
    tracks: &'a Tracks,
    path: String,
    number: String,
    key: String,
    visit: &'a mut dyn FnMut(Leaf<'_>),
}

struct Value<'w, 'a> {
    walker: &'w mut Walker<'a>,
    want: Want<'a>,
    track: u16,
    depth: usize,
}

impl<'a> Value<'_, 'a> {
    fn emit(self, text: &str) {
        let groups = Groups(self.walker.tracks.nodes[self.track as usize].groups);
        (self.walker.visit)(Leaf { path: &self.walker.path, text, groups });
    }

    fn emit_number(self, number: impl std::fmt::Display) {
        self.walker.number.clear();
        let _ = write!(self.walker.number, "{number}");
        let groups = Groups(self.walker.tracks.nodes[self.track as usize].groups);
        (self.walker.visit)(Leaf { path: &self.walker.path, text: &self.walker.number, groups });
    }

    fn natural(self, value: Json<'_>) {
        match value {
            Json::Str(text) => self.emit(text),
            Json::Bool(value) => self.emit(if value { "true" } else { "false" }),
            Json::Int(number) => self.emit_number(number),
            Json::Float(number) => self.emit_number(number),
        }
    }

    fn message<'de, A: MapAccess<'de>>(self, id: MessageId, mut object: A) -> Result<(), A::Error> {
        let message = self.walker.schema.message(id);
        let len = self.walker.path.len();
        while let Some(key) = object.next_key_seed(TableKeySeed(&message.keys))? {
            let Some(index) = key else {
                object.next_value::<serde::de::IgnoredAny>()?;
                continue;
            };
            let field = &message.fields[index];
            if len > 0 {
                self.walker.path.push('.');
            }
            self.walker.path.push_str(&field.name);
            let track = if self.track == 0 { 0 } else { self.walker.tracks.child(self.track, index) };
            let value = Value { walker: self.walker, want: Want::Field(field), track, depth: self.depth + 1 };
            object.next_value_seed(Seed(value))?;
            self.walker.path.truncate(len);
        }
        Ok(())
    }

    fn entries<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut key = std::mem::take(&mut self.walker.key);
        let len = self.walker.path.len();
        while object.next_key_seed(TextKeySeed(&mut key))?.is_some() {
            let (want, step) = match self.want {
                Want::Field(field) => (Want::One(field), true),
                Want::FreeValue if is_value_wrapper(&key) => (Want::FreeValue, false),
                // A list in message form.
                Want::FreeValue if key == "values" => (Want::FreeValue, false),
                _ if key == "fields" => (Want::FreeFields, false),
                _ => (Want::FreeValue, true),
            };
            if step {
                if !matches!(self.want, Want::Field(_)) {
                    self.walker.path.push_str(".fields");
                }
                push_key(&mut self.walker.path, &key);
            }
            let value = Value { walker: self.walker, want, track: 0, depth: self.depth + 1 };
            object.next_value_seed(Seed(value))?;
            self.walker.path.truncate(len);
        }
        self.walker.key = key;
        Ok(())
    }
}

impl<'a> Walk for Value<'_, 'a> {
    fn null(self) {}

    fn scalar(self, value: Json<'_>) {
        let (Want::Field(field) | Want::One(field)) = self.want else {
            if let Want::FreeFields = self.want {
                push_free_fields(&mut self.walker.path);
            }
            return if let Want::Message(_) = self.want {
            } else {
                self.natural(value)
            };
        };
        match (field.kind, value) {
            (FieldKind::Enum(id), Json::Int(number)) => {
                let schema = self.walker.schema;
                match i32::try_from(number).ok().and_then(|number| schema.enum_name(id, number)) {
                    Some(name) => self.emit(name),
                    None => self.emit_number(number),
                }
            }
            (FieldKind::Enum(id), Json::Str(text)) => {
                let schema = self.walker.schema;
                let name = schema.enum_number(id, text).and_then(|number| schema.enum_name(id, number));
                self.emit(name.unwrap_or(text));
            }
            (kind, Json::Str(text)) if kind.int_range().is_some() => match scalar::parse_int(text) {
                Some(number) => self.emit_number(number),
                None => self.emit(text),
            },
            (kind, Json::Float(number)) if kind.int_range().is_some() => match scalar::whole(number) {
                Some(number) => self.emit_number(number),
                None => self.emit_number(number),
            },
            (_, value) => self.natural(value),
        }
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return drain_list(list);
        }
        let want = match (self.want, self.want.elements()) {
            (_, Some(want)) => want,
            (Want::FreeFields, None) => {
                push_free_fields(&mut self.walker.path);
                Want::FreeValue
            }
            (_, None) => return drain_list(list),
        };
        while list
            .next_element_seed(Seed(Value { walker: self.walker, want, track: self.track, depth: self.depth + 1 }))?
            .is_some()
        {}
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return drain_object(object);
        }
        match self.want.object() {
            Object::Message(id) => self.message(id, object),
            Object::Map(field) => Value { want: Want::Field(field), ..self }.entries(object),
            Object::Free => Value { want: Want::Free, ..self }.entries(object),
            Object::FreeValue => Value { want: Want::FreeValue, ..self }.entries(object),
            Object::Scalar(_) => drain_object(object),
        }
    }
}

/// The path of a value whose own key is `fields`. The caller of the walk cuts it off again.
fn push_free_fields(path: &mut String) {
    path.push_str(".fields");
    push_key(path, "fields");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(root: Root, json: &str, expected: &[(&str, &str, &[&str])]) {
        let schema = Schema::load();
        let mut got = Vec::new();
        schema.visit_leaves(root, json.as_bytes(), &mut |leaf| {
            let groups: Vec<&str> = leaf.groups.iter().map(|index| schema.grouped()[index].name).collect();
            got.push((leaf.path.to_owned(), leaf.text.to_owned(), groups));
        });
        let expected: Vec<(String, String, Vec<&str>)> = expected
            .iter()
            .map(|(path, text, groups)| ((*path).to_owned(), (*text).to_owned(), groups.to_vec()))
            .collect();
        assert_eq!(got, expected, "{json}");
        for (path, ..) in got {
            schema.resolve(root, &path).unwrap_or_else(|error| panic!("{path} does not resolve: {error}"));
        }
    }

    #[test]
    fn leaves_of_one_event() {
        check(
            Root::Event,
            r#"{"metadata": {"eventType": 15001, "event_timestamp": "2026-01-02T03:04:05Z", "nope": {"x": 1}},
                "principal": {"ip": "10.0.0.1", "hostname": null, "port": "0443", "asset": {"ip": ["10.0.0.2", "::1"]}},
                "target": {"user": {"userid": "j"}, "hostname": "h"},
                "about": {"file": {"md5": "M", "size": 5.0}},
                "network": {"ipv6": true, "ip_protocol": "TCP"},
                "security_result": [{"action": "ALLOW", "risk_score": 1.5}, {"summary": "s\n"}]}"#,
            &[
                ("metadata.event_type", "USER_LOGIN", &[]),
                ("metadata.event_timestamp", "2026-01-02T03:04:05Z", &[]),
                ("principal.ip", "10.0.0.1", &["ip"]),
                ("principal.port", "443", &[]),
                ("principal.asset.ip", "10.0.0.2", &["ip"]),
                ("principal.asset.ip", "::1", &["ip"]),
                ("target.user.userid", "j", &["user"]),
                ("target.hostname", "h", &["domain", "hostname"]),
                ("about.file.md5", "M", &["hash"]),
                ("about.file.size", "5", &[]),
                ("network.ipv6", "true", &[]),
                ("network.ip_protocol", "TCP", &[]),
                ("security_result.action", "ALLOW", &[]),
                ("security_result.risk_score", "1.5", &[]),
                ("security_result.summary", "s\n", &[]),
            ],
        );
    }

    #[test]
    fn free_forms_maps_and_labels() {
        check(
            Root::Event,
            r#"{"additional": {"plain": "a", "n": 5, "deep": {"er": true}, "list": [1, "x"], "q\"": ""}}"#,
            &[
                ("additional.fields[\"plain\"]", "a", &[]),
                ("additional.fields[\"n\"]", "5", &[]),
                ("additional.fields[\"deep\"].fields[\"er\"]", "true", &[]),
                ("additional.fields[\"list\"]", "1", &[]),
                ("additional.fields[\"list\"]", "x", &[]),
                ("additional.fields[\"q\\\"\"]", "", &[]),
            ],
        );
        check(
            Root::Event,
            r#"{"additional": {"fields": {"a": {"stringValue": "v"},
                "b": {"list_value": {"values": [{"number_value": 1}, {"boolValue": false}]}},
                "c": {"structValue": {"fields": {"d": {"string_value": "w"}}}}}}}"#,
            &[
                ("additional.fields[\"a\"]", "v", &[]),
                ("additional.fields[\"b\"]", "1", &[]),
                ("additional.fields[\"b\"]", "false", &[]),
                ("additional.fields[\"c\"].fields[\"d\"]", "w", &[]),
            ],
        );
        check(
            Root::Event,
            r#"{"additional": {"fields": "odd", "z": 1}, "principal": {"labels": [{"key": "k", "value": "v"}]},
                "security_result": {"variables": {"x": {"stringVal": "y"}}}}"#,
            &[
                ("additional.fields[\"fields\"]", "odd", &[]),
                ("additional.fields[\"z\"]", "1", &[]),
                ("principal.labels.key", "k", &[]),
                ("principal.labels.value", "v", &[]),
                ("security_result.variables[\"x\"].string_val", "y", &[]),
            ],
        );
    }

    #[test]
    fn what_is_no_record_has_no_leaves() {
        for json in ["", "[]", "5", "{", "\u{7f}", "{\"principal\": [[1]]}"] {
            check(Root::Event, json, &[]);
        }
        let deep = format!("{{\"additional\":{}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        check(Root::Event, &deep, &[]);
    }
}
