//! A record that is a JSON object: the fields whose names mean something, in it and in the objects inside, three deep.
//!
//! One pass of the parser, no tree of values: what has no name of ours is read over. An object that breaks off, because a sender
//! or this reader cut it, says what it says until there; one that is wrong is no JSON.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::found::Found;
use super::names::{Name, Place};

/// How deep objects are read: the record, and three in each other inside of it.
const DEPTH_MAX: u8 = 4;

/// Reads an object into `found`; `None` if the text is none, and then `found` is of no use.
pub(super) fn read<'r>(text: &'r str, found: &mut Found<'r>) -> Option<()> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let top = Value { found, named: None, inside: Place::TOP, in_list: false };
    match parser.deserialize_map(top).and_then(|()| parser.end()) {
        Ok(()) => Some(()),
        Err(error) => error.is_eof().then_some(()),
    }
}

/// A value, what its name says it is, and where fields in it would stand.
struct Value<'f, 'r> {
    found: &'f mut Found<'r>,
    named: Option<(Name, u8)>,
    inside: Place,
    in_list: bool,
}

impl<'r> Value<'_, 'r> {
    fn offer(self, value: impl FnOnce() -> Cow<'r, str>) {
        if let Some((name, fit)) = self.named {
            // What stands further outside says more of the event. Names fit in one of four ways.
            let rank = (self.inside.depth - 1) * 4 + fit;
            self.found.offer(name, rank, value());
        }
    }
}

impl<'r> DeserializeSeed<'r> for Value<'_, 'r> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'r>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'r> Visitor<'r> for Value<'_, 'r> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'r>>(self, mut object: A) -> Result<(), A::Error> {
        if self.in_list || self.inside.depth >= DEPTH_MAX {
            while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some((named, inside)) = object.next_key_seed(Key(self.inside))? {
            object.next_value_seed(Value { found: self.found, named, inside, in_list: false })?;
        }
        Ok(())
    }

    /// Of a list, the single values count as if each stood there alone; what is nested in it belongs to several things.
    fn visit_seq<A: SeqAccess<'r>>(self, mut list: A) -> Result<(), A::Error> {
        if self.in_list || self.named.is_none() {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        loop {
            let element = Value { found: self.found, named: self.named, inside: self.inside, in_list: true };
            if list.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_borrowed_str<E>(self, text: &'r str) -> Result<(), E> {
        self.offer(|| Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.offer(|| Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.offer(|| Cow::Owned(number.to_string()));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.offer(|| Cow::Owned(number.to_string()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        // A float cannot be shown as it was written, but for a time that does not matter: of seconds since 1970 it holds six
        // digits behind the point.
        if matches!(self.named, Some((Name::Time, _))) {
            self.offer(|| Cow::Owned(format!("{number:.6}")));
        }
        Ok(())
    }

    fn visit_bool<E>(self, _truth: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// The name of a field in a place.
struct Key(Place);

impl<'r> DeserializeSeed<'r> for Key {
    type Value = (Option<(Name, u8)>, Place);

    fn deserialize<D: serde::Deserializer<'r>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = (Option<(Name, u8)>, Place);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.read(key))
    }
}
