//! An event or entity between the state that a program left and the JSON that is written: values already of the types
//! of the schema, keys already as JSON spells them, what proto3 leaves out already gone.
//!
//! It lies in the arena of the run. `proto.rs` grows it, `mirror.rs` and the defaults in `mod.rs` add to it,
//! `validate.rs` reads it, `json.rs` writes it out.

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;

use crate::run::Failure;
use crate::value::{Heap, Time};

/// A value. Nothing here is "unset": what is unset is not in its object. Small, since it is moved often.
#[derive(Debug)]
pub(super) enum Node<'t> {
    Text(&'t str),
    Bool(bool),
    /// An integer of 32 bits, which JSON shows as a number.
    Int(i64),
    /// An integer of 64 bits, which JSON shows as text.
    Long(i64),
    Ulong(u64),
    Float(f64),
    /// Printed with the digits that a 32-bit float has.
    Float32(f32),
    Bytes(&'t [u8]),
    Time(Moment),
    /// Both with the same sign.
    Duration {
        seconds: i64,
        nanos: i32,
    },
    Object(&'t mut Object<'t>),
    List(&'t mut [Node<'t>]),
}

const _: () = assert!(size_of::<Node<'_>>() == 24);

/// A point in time as wide as `google.protobuf.Timestamp`: [`Time`] ends a day short of 9999-12-31T23:59:59Z, which is
/// what Google writes for "without end".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl Moment {
    /// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range of `google.protobuf.Timestamp`.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

    /// What an interval without an end ends at.
    pub(super) const NEVER: Moment = Moment { seconds: 253_402_300_799, nanos: 0 };

    /// `None` outside of what a timestamp can be.
    pub(super) fn new(seconds: i64, nanos: u32) -> Option<Moment> {
        (Moment::SECONDS.contains(&seconds) && nanos < 1_000_000_000).then_some(Moment { seconds, nanos })
    }

    /// `None` outside of what a timestamp can be.
    pub(super) fn of(time: Time) -> Option<Moment> {
        let nanos = time.as_nanosecond();
        Moment::new(nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32)
    }
}

/// Keys with nodes; each key once, except in free-form objects until they are sorted.
#[derive(Debug)]
pub(super) struct Object<'t> {
    entries: BumpVec<'t, (&'t str, Node<'t>)>,
}

/// What an entry may take: itself, and what a vector that grows leaves behind.
pub(super) const ENTRY_BYTES: usize = 2 * size_of::<(&str, Node<'_>)>();

const _: () = assert!(size_of::<Object<'_>>() <= ENTRY_BYTES);

impl<'t> Object<'t> {
    /// An empty object in the arena; the caller has charged for it.
    pub(super) fn new(bump: &'t Bump, capacity: usize) -> &'t mut Object<'t> {
        bump.alloc(Object { entries: BumpVec::with_capacity_in(capacity, bump) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node<'t>> {
        self.entries.iter().find(|(known, _)| *known == key).map(|(_, node)| node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node<'t>> {
        self.entries.iter_mut().find(|(known, _)| *known == key).map(|(_, node)| node)
    }

    /// The node below a path of keys. Through lists it goes no further.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node<'t>> {
        let (first, rest) = path.split_first()?;
        let node = self.get(first)?;
        match (rest, node) {
            ([], node) => Some(node),
            (rest, Node::Object(inner)) => inner.at(rest),
            _ => None,
        }
    }

    /// The object below a key.
    pub(super) fn object(&self, key: &str) -> Option<&Object<'t>> {
        match self.get(key) {
            Some(Node::Object(object)) => Some(&**object),
            _ => None,
        }
    }

    /// The object below a key, made if there is none.
    pub(super) fn object_mut(
        &mut self,
        key: &'t str,
        heap: &Heap<'_>,
        bump: &'t Bump,
    ) -> Result<&mut Object<'t>, Failure> {
        let at = match self.entries.iter().position(|(known, _)| *known == key) {
            Some(at) if matches!(self.entries[at].1, Node::Object(_)) => at,
            Some(at) => {
                self.entries[at].1 = Node::Object(Object::new(bump, 4));
                at
            }
            None => {
                heap.charge(2 * ENTRY_BYTES)?;
                self.entries.push((key, Node::Object(Object::new(bump, 4))));
                self.entries.len() - 1
            }
        };
        match &mut self.entries[at].1 {
            Node::Object(object) => Ok(object),
            _ => unreachable!("an object was put there"),
        }
    }

    /// Adds an entry under a key that is not there yet; the caller has charged for it.
    pub(super) fn push(&mut self, key: &'t str, node: Node<'t>) {
        self.entries.push((key, node));
    }

    /// Sets a key; the caller has charged for it.
    pub(super) fn set(&mut self, key: &'t str, node: Node<'t>) {
        match self.get_mut(key) {
            Some(old) => *old = node,
            None => self.push(key, node),
        }
    }

    /// Gives keys another spelling. What has one key then is left to [`Object::sort`].
    pub(super) fn respell(&mut self, spelling: impl Fn(&str) -> Option<&'static str>) {
        for (key, _) in &mut self.entries {
            if let Some(other) = spelling(key) {
                *key = other;
            }
        }
    }

    pub(super) fn entries(&self) -> &[(&'t str, Node<'t>)] {
        &self.entries
    }

    /// The entry at a place, its node to be changed.
    pub(super) fn entry_mut(&mut self, at: usize) -> (&'t str, &mut Node<'t>) {
        let (key, node) = &mut self.entries[at];
        (key, node)
    }

    /// Puts the entries in the order in which they are written. Of entries with one key the last stays: only free-form
    /// objects have any.
    pub(super) fn sort(&mut self) {
        // Stable, so that "last" is what it was; few entries are sorted in place.
        self.entries.sort_by(|one, other| one.0.cmp(other.0));
        let mut kept = 0;
        for at in 0..self.entries.len() {
            if at + 1 < self.entries.len() && self.entries[at].0 == self.entries[at + 1].0 {
                continue;
            }
            self.entries.swap(kept, at);
            kept += 1;
        }
        self.entries.truncate(kept);
    }
}
