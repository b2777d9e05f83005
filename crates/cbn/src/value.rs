//! The state of one run: values, and the heap in which they live.
//!
//! Everything that a run makes lies in one arena that is emptied in one go when the run is over. Values are therefore
//! copied like numbers, and "by reference", which is how `merge` appends (contracts/cbn.md §1.6), is simply a second copy
//! of the same reference: a map that is changed later has changed in every list that holds it.
//!
//! Keys are numbers ([`Name`]): those that stand in the program are known before the run, those that come out of a log
//! are added while it lasts. So a field that the program names is found without comparing texts.
//!
//! Nothing is taken from the arena without [`Heap::charge`], so no program can take more than its share; and a map
//! holding itself, which merging by reference allows, is met by whoever descends with [`DEPTH_MAX`].

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::run::Failure;

/// How deep values may be nested wherever something descends into them.
pub const DEPTH_MAX: usize = 100;

/// From how many entries on a map has an index.
const INDEX_FROM: usize = 12;

/// A key of maps. Equal keys have equal numbers within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

/// The names that a program mentions; fixed once it is compiled.
#[derive(Debug, Clone, Default)]
pub struct Names {
    texts: Vec<Box<str>>,
    /// How many steps the longest path has that was read since somebody asked.
    deepest: usize,
    table: HashTable<u32>,
    hasher: RandomState,
}

impl Names {
    /// The name of a text, new or known.
    pub fn intern(&mut self, text: &str) -> Name {
        let hash = self.hasher.hash_one(text);
        if let Some(index) = self.table.find(hash, |index| &*self.texts[*index as usize] == text) {
            return Name(*index);
        }
        let index = self.texts.len() as u32;
        self.texts.push(text.into());
        let Names { texts, table, hasher, .. } = self;
        table.insert_unique(hash, index, |index| hasher.hash_one(&*texts[*index as usize]));
        Name(index)
    }

    /// A path with so many steps was read.
    pub(crate) fn note_depth(&mut self, steps: usize) {
        self.deepest = self.deepest.max(steps);
    }

    /// How many steps the longest path has that was read since the last time.
    pub(crate) fn take_depth(&mut self) -> usize {
        std::mem::take(&mut self.deepest)
    }

    /// The text of a name that the program mentions.
    pub fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}

/// A point in time with nanoseconds.
pub type Time = jiff::Timestamp;

/// A value of the state. There is no null: what is not set is not there.
#[derive(Debug, Clone, Copy)]
pub enum Value<'r> {
    /// A text.
    Text(&'r str),
    /// `true` or `false`.
    Bool(bool),
    /// Every number of JSON, and what `convert … float` makes.
    Float(f64),
    /// What `convert … integer` makes.
    Int(i64),
    /// What `convert … uinteger` makes.
    Uint(u64),
    /// What `convert … bytes` makes.
    Bytes(&'r [u8]),
    /// What `date` makes.
    Time(Time),
    /// Keys with values.
    Map(&'r Map<'r>),
    /// Values in order.
    List(&'r List<'r>),
}

impl<'r> Value<'r> {
    /// The name of its type, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::Bool(_) => "bool",
            Value::Float(_) => "float",
            Value::Int(_) => "integer",
            Value::Uint(_) => "uinteger",
            Value::Bytes(_) => "bytes",
            Value::Time(_) => "timestamp",
            Value::Map(_) => "map",
            Value::List(_) => "list",
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&'r str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&'r Map<'r>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&'r List<'r>> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }
}

type Index<'r> = HashMap<Name, u32, RandomState, &'r Bump>;

/// A map. Shared: whoever holds it sees changes.
pub struct Map<'r> {
    entries: RefCell<BumpVec<'r, (Name, Value<'r>)>>,
    index: RefCell<Option<Index<'r>>>,
}

impl std::fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The length alone: a map may hold itself.
        write!(f, "Map({})", self.len())
    }
}

impl<'r> Map<'r> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, name: Name) -> Option<Value<'r>> {
        let at = self.position(name)?;
        Some(self.entries.borrow()[at].1)
    }

    /// Sets a key.
    #[inline]
    pub fn set(&self, heap: &Heap<'r>, name: Name, value: Value<'r>) -> Result<(), Failure> {
        if let Some(at) = self.position(name) {
            self.entries.borrow_mut()[at].1 = value;
            return Ok(());
        }
        // Entry, growth of the vector, and index.
        heap.charge(2 * size_of::<(Name, Value<'_>)>() + 16)?;
        let mut entries = self.entries.borrow_mut();
        let at = entries.len();
        entries.push((name, value));
        let mut index = self.index.borrow_mut();
        match &mut *index {
            Some(index) => {
                index.insert(name, at as u32);
            }
            None if at + 1 > INDEX_FROM => {
                let mut made = Index::with_capacity_and_hasher_in(4 * INDEX_FROM, heap.hasher.clone(), heap.bump);
                made.extend(entries.iter().enumerate().map(|(at, (name, _))| (*name, at as u32)));
                *index = Some(made);
            }
            None => {}
        }
        Ok(())
    }

    /// Takes a key away and gives its value.
    pub fn remove(&self, name: Name) -> Option<Value<'r>> {
        let at = self.position(name)?;
        let mut entries = self.entries.borrow_mut();
        let (_, value) = entries.swap_remove(at);
        if let Some(index) = &mut *self.index.borrow_mut() {
            index.remove(&name);
            if let Some((moved, _)) = entries.get(at) {
                index.insert(*moved, at as u32);
            }
        }
        Some(value)
    }

    /// The entry at a place; the order of entries means nothing and changes when one is removed.
    pub fn entry(&self, at: usize) -> Option<(Name, Value<'r>)> {
        self.entries.borrow().get(at).copied()
    }

    /// Its entries as they are now.
    pub fn entries(&self) -> Vec<(Name, Value<'r>)> {
        self.entries.borrow().to_vec()
    }

    /// Its entries as they are now, by the text of their keys.
    pub fn sorted(&self, heap: &Heap<'r>) -> Vec<(&'r str, Name, Value<'r>)> {
        let mut sorted: Vec<_> =
            self.entries.borrow().iter().map(|(name, value)| (heap.text_of(*name), *name, *value)).collect();
        sorted.sort_unstable_by_key(|entry| entry.0);
        sorted
    }

    #[inline]
    fn position(&self, name: Name) -> Option<usize> {
        match &*self.index.borrow() {
            Some(index) => index.get(&name).map(|at| *at as usize),
            None => self.entries.borrow().iter().position(|(known, _)| *known == name),
        }
    }
}

/// A list. Shared: whoever holds it sees changes.
pub struct List<'r> {
    elements: RefCell<BumpVec<'r, Value<'r>>>,
}

impl std::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "List({})", self.len())
    }
}

impl<'r> List<'r> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.elements.borrow().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a place, from 0.
    pub fn get(&self, at: usize) -> Option<Value<'r>> {
        self.elements.borrow().get(at).copied()
    }

    /// Puts another one in the place of an element; nothing where there is none.
    pub fn replace(&self, at: usize, value: Value<'r>) {
        if let Some(element) = self.elements.borrow_mut().get_mut(at) {
            *element = value;
        }
    }

    /// Appends.
    pub fn push(&self, heap: &Heap<'r>, value: Value<'r>) -> Result<(), Failure> {
        heap.charge(2 * size_of::<Value<'_>>())?;
        self.elements.borrow_mut().push(value);
        Ok(())
    }

    /// Takes the element at a place away; those behind it move up.
    pub fn remove(&self, at: usize) -> Option<Value<'r>> {
        let mut elements = self.elements.borrow_mut();
        (at < elements.len()).then(|| elements.remove(at))
    }
}

/// Where the values of one run live, and the names that it met.
pub struct Heap<'r> {
    bump: &'r Bump,
    left: Cell<usize>,
    names: &'r Names,
    met: RefCell<Met<'r>>,
    hasher: RandomState,
}

/// The names that the program does not mention.
struct Met<'r> {
    texts: BumpVec<'r, &'r str>,
    table: HashTable<u32>,
}

impl<'r> Heap<'r> {
    /// A heap in `bump` that may take `bytes_max`.
    pub fn new(bump: &'r Bump, names: &'r Names, bytes_max: usize) -> Heap<'r> {
        let met = Met { texts: BumpVec::new_in(bump), table: HashTable::with_capacity(112) };
        Heap { bump, left: Cell::new(bytes_max), names, met: RefCell::new(met), hasher: names.hasher.clone() }
    }

    /// Takes a number of bytes from what the run may use.
    #[inline]
    pub fn charge(&self, bytes: usize) -> Result<(), Failure> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Failure::Limit(crate::run::Limit::Memory)),
        }
    }

    /// How many bytes the run may still take.
    pub fn left(&self) -> usize {
        self.left.get()
    }

    /// The arena, for what was charged before.
    pub fn bump(&self) -> &'r Bump {
        self.bump
    }

    /// A copy of a text.
    #[inline]
    pub fn text(&self, text: &str) -> Result<&'r str, Failure> {
        self.charge(text.len())?;
        Ok(self.bump.alloc_str(text))
    }

    /// A copy of bytes.
    pub fn bytes(&self, bytes: &[u8]) -> Result<&'r [u8], Failure> {
        self.charge(bytes.len())?;
        Ok(self.bump.alloc_slice_copy(bytes))
    }

    /// A new, empty map.
    pub fn map(&self) -> Result<&'r Map<'r>, Failure> {
        self.charge(size_of::<Map<'_>>())?;
        Ok(self.bump.alloc(Map { entries: RefCell::new(BumpVec::new_in(self.bump)), index: RefCell::new(None) }))
    }

    /// A new, empty list.
    pub fn list(&self) -> Result<&'r List<'r>, Failure> {
        self.charge(size_of::<List<'_>>())?;
        Ok(self.bump.alloc(List { elements: RefCell::new(BumpVec::new_in(self.bump)) }))
    }

    /// The name of a text, new or known.
    #[inline]
    pub fn name(&self, text: &str) -> Result<Name, Failure> {
        let hash = self.hasher.hash_one(text);
        if let Some(index) = self.names.table.find(hash, |index| &*self.names.texts[*index as usize] == text) {
            return Ok(Name(*index));
        }
        let known = self.names.texts.len();
        let mut met = self.met.borrow_mut();
        if let Some(index) = met.table.find(hash, |index| met.texts[*index as usize] == text) {
            return Ok(Name(known as u32 + *index));
        }
        self.charge(text.len() + 64)?;
        let index = met.texts.len() as u32;
        met.texts.push(self.bump.alloc_str(text));
        let Met { texts, table } = &mut *met;
        table.insert_unique(hash, index, |index| self.hasher.hash_one(texts[*index as usize]));
        Ok(Name((known as u32) + index))
    }

    /// The text of a name.
    #[inline]
    pub fn text_of(&self, name: Name) -> &'r str {
        match self.names.texts.get(name.0 as usize) {
            Some(text) => text,
            None => self.met.borrow().texts[name.0 as usize - self.names.texts.len()],
        }
    }

    /// A copy that shares nothing with the original.
    pub fn deep_copy(&self, value: Value<'r>) -> Result<Value<'r>, Failure> {
        self.copy_below(value, 0)
    }

    fn copy_below(&self, value: Value<'r>, depth: usize) -> Result<Value<'r>, Failure> {
        if depth > DEPTH_MAX {
            return Err(Failure::Limit(crate::run::Limit::Nesting));
        }
        Ok(match value {
            Value::Map(map) => {
                let copy = self.map()?;
                let mut at = 0;
                while let Some((name, value)) = map.entry(at) {
                    copy.set(self, name, self.copy_below(value, depth + 1)?)?;
                    at += 1;
                }
                Value::Map(copy)
            }
            Value::List(list) => {
                let copy = self.list()?;
                let mut at = 0;
                while let Some(value) = list.get(at) {
                    copy.push(self, self.copy_below(value, depth + 1)?)?;
                    at += 1;
                }
                Value::List(copy)
            }
            plain => plain,
        })
    }

    /// Joins what a document says with what is there already: maps key by key, anything else by the new value
    /// (contracts/cbn.md §1.5, json).
    pub fn deep_merge(&self, into: &'r Map<'r>, from: &'r Map<'r>) -> Result<(), Failure> {
        self.merge_below(into, from, 0)
    }

    fn merge_below(&self, into: &'r Map<'r>, from: &'r Map<'r>, depth: usize) -> Result<(), Failure> {
        if depth > DEPTH_MAX {
            return Err(Failure::Limit(crate::run::Limit::Nesting));
        }
        for (name, value) in from.entries() {
            match (into.get(name), value) {
                (Some(Value::Map(old)), Value::Map(new)) => self.merge_below(old, new, depth + 1)?,
                (Some(Value::Map(old)), Value::List(new)) => {
                    let mut at = 0;
                    while let Some(element) = new.get(at) {
                        old.set(self, self.name(&at.to_string())?, element)?;
                        at += 1;
                    }
                }
                _ => into.set(self, name, value)?,
            }
        }
        Ok(())
    }
}

/// Writes a value as text the way the language prints it. `None` for maps and lists.
pub fn print(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Text(text) => (*text).to_owned(),
        Value::Bool(truth) => truth.to_string(),
        // Never with an exponent, shortest digits that read back the same: 9999999999999999 is 10000000000000000.
        Value::Float(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Time(time) => time.to_string(),
        Value::Map(_) | Value::List(_) => return None,
    })
}
