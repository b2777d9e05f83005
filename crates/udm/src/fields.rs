//! The schema read field by field: for what builds records itself, as the parsers' language does, where checks and
//! walks only follow JSON that is there.
//!
//! Absent: names of messages, which nothing outside needs, and any way to change the schema.

use crate::schema::{Field, FieldKind, MessageId};
use crate::{EnumId, Root, Schema};

impl Schema {
    /// The message that a record of this root is.
    pub fn message_of(&self, root: Root) -> MessageRef<'_> {
        MessageRef { schema: self, id: self.root(root) }
    }
}

/// A message of the schema.
#[derive(Debug, Clone, Copy)]
pub struct MessageRef<'s> {
    schema: &'s Schema,
    id: MessageId,
}

impl<'s> MessageRef<'s> {
    /// The field with this name, in snake or lower camel case. One look into a hash table.
    #[inline]
    pub fn field(self, name: &str) -> Option<FieldRef<'s>> {
        let message = self.schema.message(self.id);
        let index = message.field_index(name)?;
        Some(FieldRef { schema: self.schema, field: &message.fields[index] })
    }

    /// All fields, in the order of the schema.
    pub fn fields(self) -> impl Iterator<Item = FieldRef<'s>> {
        self.schema.message(self.id).fields.iter().map(move |field| FieldRef { schema: self.schema, field })
    }
}

impl PartialEq for MessageRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && std::ptr::eq(self.schema, other.schema)
    }
}

/// A field of a message.
#[derive(Debug, Clone, Copy)]
pub struct FieldRef<'s> {
    schema: &'s Schema,
    field: &'s Field,
}

impl<'s> FieldRef<'s> {
    /// Its name in snake case, as the schema writes it.
    pub fn name(self) -> &'s str {
        &self.field.name
    }

    /// Its name in JSON, in lower camel case.
    #[inline]
    pub fn json(self) -> &'s str {
        &self.field.json
    }

    /// Whether it holds a list of values. Maps are no lists.
    #[inline]
    pub fn is_list(self) -> bool {
        self.field.is_list()
    }

    /// Whether it holds a map from texts to values.
    #[inline]
    pub fn is_map(self) -> bool {
        self.field.map
    }

    /// The type of one value: of an element of a list, of a value of a map.
    #[inline]
    pub fn kind(self) -> Kind<'s> {
        match self.field.kind {
            FieldKind::Text => Kind::Text,
            FieldKind::Bytes => Kind::Bytes,
            FieldKind::Bool => Kind::Bool,
            FieldKind::Int32 => Kind::Int32,
            FieldKind::Int64 => Kind::Int64,
            FieldKind::Uint32 => Kind::Uint32,
            FieldKind::Uint64 => Kind::Uint64,
            FieldKind::Float => Kind::Float,
            FieldKind::Double => Kind::Double,
            FieldKind::Enum(id) => Kind::Enum(id),
            FieldKind::Message(id) => Kind::Message(MessageRef { schema: self.schema, id }),
            FieldKind::Timestamp => Kind::Timestamp,
            FieldKind::Duration => Kind::Duration,
            FieldKind::Struct => Kind::Struct,
        }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are those of proto3")]
pub enum Kind<'s> {
    Text,
    Bytes,
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    /// By name or number: [`Schema::enum_number`], [`Schema::enum_name`].
    Enum(EnumId),
    Message(MessageRef<'s>),
    Timestamp,
    Duration,
    /// A free-form object.
    Struct,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_either_name() {
        let schema = Schema::load();
        let udm = schema.message_of(Root::Event);
        let principal = udm.field("principal").unwrap();
        let Kind::Message(noun) = principal.kind() else { panic!("principal is a message") };
        for (name, json, is_list, is_map) in [
            ("asset_id", "assetId", false, false),
            ("ip", "ip", true, false),
            ("security_result", "securityResult", true, false),
        ] {
            for spelling in [name, json] {
                let field = noun.field(spelling).unwrap();
                assert_eq!((field.name(), field.json()), (name, json));
                assert_eq!((field.is_list(), field.is_map()), (is_list, is_map), "{spelling}");
            }
        }
        assert!(noun.field("no_such_field").is_none());
        assert_eq!(udm.field("target").unwrap().kind(), Kind::Message(noun));
        assert_eq!(udm.field("additional").unwrap().kind(), Kind::Struct);
        let Kind::Message(result) = udm.field("security_result").unwrap().kind() else { panic!("a message") };
        assert!(result.field("variables").unwrap().is_map());
        assert!(udm.fields().any(|field| field.json() == "securityResult"));
    }
}
