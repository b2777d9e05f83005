//! The one serde adapter beneath checking, leaves, extraction and the canonical form: it turns serde's many `visit_*`
//! calls into four questions (null, scalar, list, object), and holds what all of them need on the way: what the schema
//! has at a place ([`Want`]), key lookup and nesting.
//!
//! Absent: one walker for all four. They agree on what a list or an object means at a place, which stands here, but not
//! on what to do there: extraction skips most of a record and reports gaps, the canonical form takes things back.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::schema::{Field, FieldKind, KeyTable, Message, MessageId};

/// A JSON scalar other than null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Json<'a> {
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(&'a str),
}

/// What to do with one JSON value. Implementations consume lists and objects whole, or drain them.
pub(crate) trait Walk: Sized {
    fn null(self);
    fn scalar(self, value: Json<'_>);
    fn list<'de, A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error>;
    fn object<'de, A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error>;
}

/// Walks a whole record; an error says why it cannot be read as JSON.
pub(crate) fn walk_whole<W: Walk>(json: &[u8], walk: W) -> Result<(), String> {
    let text = std::str::from_utf8(json).map_err(|error| format!("not UTF-8 from byte {}", error.valid_up_to()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Seed(walk).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|error| format!("not JSON: {error}"))
}

/// What the schema has at the place of a JSON value.
#[derive(Clone, Copy)]
pub(crate) enum Want<'s> {
    /// A message.
    Message(MessageId),
    /// A field, which may be a list or a map.
    Field(&'s Field),
    /// One value of a field: an element of its list, a value of its map.
    One(&'s Field),
    /// A free-form object: its keys are names.
    Free,
    /// A value in a free-form object, or of an unknown field: anything.
    FreeValue,
    /// What stands under the key `fields` of a free-form object: the object itself in message form, or a value. Only
    /// those who give each value of a free-form object a name of its own tell it apart.
    FreeFields,
}

/// What a JSON object is at a place.
pub(crate) enum Object<'s> {
    Message(MessageId),
    Map(&'s Field),
    Free,
    FreeValue,
    /// Wrong: a scalar of this type belongs there.
    Scalar(FieldKind),
}

impl<'s> Want<'s> {
    /// What the elements of a list are that stands here; `None` where no list belongs. [`Want::FreeFields`] has to be
    /// told apart before.
    // Every list and object of a record passes these two.
    #[inline]
    pub(crate) fn elements(self) -> Option<Want<'s>> {
        match self {
            Want::Field(field) if field.is_list() => Some(Want::One(field)),
            Want::FreeValue => Some(Want::FreeValue),
            _ => None,
        }
    }

    /// What an object is that stands here. One where a list of messages belongs is its only element.
    #[inline]
    pub(crate) fn object(self) -> Object<'s> {
        match self {
            Want::Message(id) => Object::Message(id),
            Want::Field(field) if field.map => Object::Map(field),
            Want::Field(field) | Want::One(field) => match field.kind {
                FieldKind::Message(id) => Object::Message(id),
                FieldKind::Struct => Object::Free,
                kind => Object::Scalar(kind),
            },
            Want::Free | Want::FreeFields => Object::Free,
            Want::FreeValue => Object::FreeValue,
        }
    }
}

/// Makes a [`Walk`] of one value known to serde.
pub(crate) struct Seed<W>(pub(crate) W);

impl<'de, W: Walk> DeserializeSeed<'de> for Seed<W> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W: Walk> Visitor<'de> for Seed<W> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.null();
        Ok(())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.scalar(Json::Bool(value));
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.scalar(Json::Int(value.into()));
        Ok(())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.scalar(Json::Int(value.into()));
        Ok(())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.scalar(Json::Float(value));
        Ok(())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.scalar(Json::Str(value));
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.0.object(object)
    }
}

/// A key of an object, looked up in a message: the field's index, or the key itself where the message has no such
/// field.
pub(crate) enum FieldKey {
    Known(usize),
    Unknown(String),
}

/// Reads a key as a field of `message`, keeping the text of unknown ones.
pub(crate) struct FieldKeySeed<'a>(pub(crate) &'a Message);

impl<'de> DeserializeSeed<'de> for FieldKeySeed<'_> {
    type Value = FieldKey;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for FieldKeySeed<'_> {
    type Value = FieldKey;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<FieldKey, E> {
        Ok(match self.0.field_index(key) {
            Some(index) => FieldKey::Known(index),
            None => FieldKey::Unknown(key.to_owned()),
        })
    }
}

/// Reads a key as an entry of `table`, dropping the text of unknown ones.
pub(crate) struct TableKeySeed<'a>(pub(crate) &'a KeyTable);

impl<'de> DeserializeSeed<'de> for TableKeySeed<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TableKeySeed<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.get(key))
    }
}

/// Reads a key into a reused buffer.
pub(crate) struct TextKeySeed<'a>(pub(crate) &'a mut String);

impl<'de> DeserializeSeed<'de> for TextKeySeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextKeySeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.clear();
        self.0.push_str(key);
        Ok(())
    }
}

/// Skips the rest of a list. Does not recurse, however deep the rest is.
pub(crate) fn drain_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips the rest of an object. Does not recurse, however deep the rest is.
pub(crate) fn drain_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// The parts of `google.protobuf.Value` in its message form, which stand for the value itself.
pub(crate) fn is_value_wrapper(key: &str) -> bool {
    matches!(
        key,
        "stringValue"
            | "string_value"
            | "numberValue"
            | "number_value"
            | "boolValue"
            | "bool_value"
            | "nullValue"
            | "null_value"
            | "structValue"
            | "struct_value"
            | "listValue"
            | "list_value"
    )
}
