//! What is known of each field at one place of the program: whether it is set, and to what.
//!
//! Fields form a tree. What a branch changes is kept in a journal, so that the branch is undone when its end is reached
//! and only what it changed is joined with the others: a program is gone through in time that grows with its length, not
//! with the number of fields times that of branches.

use std::collections::{BTreeMap, HashMap};

use crate::syntax::ast::Span;

/// A field that the program mentions.
pub(super) type Id = u32;

/// The root of all fields.
pub(super) const ROOT: Id = 0;

/// Whether a field is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// On no way to here.
    No,
    Maybe,
    /// On every way to here.
    Yes,
}

/// What a field holds if it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Any,
    Text,
    /// Always this text.
    Constant(&'a str),
    Bool,
    Number,
    Map,
    List,
    Other,
}

impl<'a> Kind<'a> {
    pub(super) fn is_text(self) -> bool {
        matches!(self, Kind::Text | Kind::Constant(_))
    }

    fn join(self, other: Kind<'a>) -> Kind<'a> {
        match (self, other) {
            (left, right) if left == right => left,
            (left, right) if left.is_text() && right.is_text() => Kind::Text,
            _ => Kind::Any,
        }
    }
}

/// What is known of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known<'a> {
    pub(super) set: Set,
    pub(super) kind: Kind<'a>,
}

impl<'a> Known<'a> {
    pub(super) const UNSET: Known<'static> = Known { set: Set::No, kind: Kind::Any };
    pub(super) const MAYBE: Known<'static> = Known { set: Set::Maybe, kind: Kind::Any };

    pub(super) fn set(kind: Kind<'a>) -> Known<'a> {
        Known { set: Set::Yes, kind }
    }

    /// What is known where two ways meet.
    pub(super) fn join(self, other: Known<'a>) -> Known<'a> {
        match (self.set, other.set) {
            (Set::No, Set::No) => Known::UNSET,
            (Set::No, _) => Known { set: Set::Maybe, kind: other.kind },
            (_, Set::No) => Known { set: Set::Maybe, kind: self.kind },
            (Set::Yes, Set::Yes) => Known { set: Set::Yes, kind: self.kind.join(other.kind) },
            _ => Known { set: Set::Maybe, kind: self.kind.join(other.kind) },
        }
    }
}

/// A time of the walk; later is larger.
type Time = u32;

/// What the tree keeps of a field.
#[derive(Debug, Clone, Copy)]
struct Fact<'a> {
    own: Known<'a>,
    own_at: Time,
    /// What became of everything below when the field was last set as a whole.
    below: Set,
    below_at: Time,
    /// When anything at or below the field may have been set.
    open_at: Time,
    /// When columns of a CSV line may have been set below.
    columns_at: Time,
    /// Where the value was appended to a list that still holds it.
    merged: Option<Span>,
    /// Where it was changed since.
    changed: Option<Span>,
}

#[derive(Debug)]
struct Node<'a> {
    name: &'a str,
    parent: Id,
    fact: Fact<'a>,
}

/// The state of the walk.
#[derive(Debug)]
pub(super) struct State<'a> {
    nodes: Vec<Node<'a>>,
    children: HashMap<(Id, &'a str), Id>,
    journal: Vec<(Id, Fact<'a>)>,
    now: Time,
}

/// What a branch made of a field.
#[derive(Debug, Clone, Copy)]
struct Made<'a> {
    known: Known<'a>,
    own_changed: bool,
    below: Option<Set>,
    opened: bool,
    columns: bool,
    merged: Option<Span>,
    changed: Option<Span>,
}

/// What a branch changed.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    made: Vec<(Id, Made<'a>)>,
}

impl<'a> State<'a> {
    /// Nothing is set.
    pub(super) fn new() -> State<'a> {
        let fact = Fact {
            own: Known::set(Kind::Map),
            own_at: 0,
            below: Set::No,
            below_at: 0,
            open_at: 0,
            columns_at: 0,
            merged: None,
            changed: None,
        };
        State {
            nodes: vec![Node { name: "", parent: ROOT, fact }],
            children: HashMap::new(),
            journal: Vec::new(),
            now: 1,
        }
    }

    /// The field of a path.
    pub(super) fn id(&mut self, path: &[&'a str]) -> Id {
        let mut at = ROOT;
        for name in path {
            at = match self.children.get(&(at, *name)) {
                Some(child) => *child,
                None => {
                    let child = self.nodes.len() as Id;
                    let fact = Fact { own: Known::UNSET, below_at: 0, ..self.nodes[ROOT as usize].fact };
                    let fact = Fact { own_at: 0, open_at: 0, columns_at: 0, merged: None, changed: None, ..fact };
                    self.nodes.push(Node { name, parent: at, fact });
                    self.children.insert((at, *name), child);
                    child
                }
            };
        }
        at
    }

    /// The field of a path, if it was met before.
    pub(super) fn find(&self, path: &[&str]) -> Option<Id> {
        path.iter().try_fold(ROOT, |at, name| self.children.get(&(at, *name)).copied())
    }

    /// What is known of a field now.
    pub(super) fn known(&self, id: Id) -> Known<'a> {
        let node = &self.nodes[id as usize];
        let (mut known, mut known_at) = (node.fact.own, node.fact.own_at);
        let mut open_at = node.fact.open_at;
        if is_column(node.name) {
            open_at = open_at.max(self.nodes[node.parent as usize].fact.columns_at);
        }
        let mut at = id;
        while at != ROOT {
            at = self.nodes[at as usize].parent;
            let above = &self.nodes[at as usize].fact;
            if above.below_at > known_at {
                known = if above.below == Set::No { Known::UNSET } else { Known::MAYBE };
                known_at = above.below_at;
            }
            open_at = open_at.max(above.open_at);
        }
        if open_at > known_at {
            known.kind = Kind::Any;
            if known.set == Set::No {
                known.set = Set::Maybe;
            }
        }
        known
    }

    fn change(&mut self, id: Id) -> &mut Fact<'a> {
        let fact = self.nodes[id as usize].fact;
        self.journal.push((id, fact));
        &mut self.nodes[id as usize].fact
    }

    fn tick(&mut self) -> Time {
        self.now += 1;
        self.now
    }

    /// Sets a field as a whole; what is known of what is below it depends on the value.
    pub(super) fn set(&mut self, id: Id, known: Known<'a>) {
        let now = self.tick();
        let below = match known.kind {
            Kind::Any | Kind::Map | Kind::List => Set::Maybe,
            _ => Set::No,
        };
        // What may not have happened leaves what was there before.
        let (known, below) = match known.set {
            Set::Maybe => (self.known(id).join(known), Set::Maybe),
            Set::Yes | Set::No => (known, below),
        };
        let maybe = known.set == Set::Maybe;
        let fact = self.change(id);
        (fact.own, fact.own_at, fact.below, fact.below_at) = (known, now, below, now);
        if !maybe {
            (fact.merged, fact.changed) = (None, None);
        }
        self.set_above(id, known.set);
    }

    /// The maps above a field that was set are there, too.
    fn set_above(&mut self, id: Id, set: Set) {
        if set == Set::No {
            return;
        }
        let mut at = self.nodes[id as usize].parent;
        while at != ROOT {
            let there = self.known(at);
            if there.set == Set::Yes && matches!(there.kind, Kind::Map | Kind::List) {
                break;
            }
            let made = match (set, there) {
                (Set::Yes, Known { set: Set::Yes, kind: Kind::Any }) => there,
                (Set::Yes, _) => Known::set(Kind::Map),
                _ => there.join(Known::set(Kind::Map)),
            };
            let now = self.now;
            let fact = self.change(at);
            (fact.own, fact.own_at) = (made, now);
            at = self.nodes[at as usize].parent;
        }
    }

    /// Takes a field away, with all below it.
    pub(super) fn remove(&mut self, id: Id) {
        let now = self.tick();
        let fact = self.change(id);
        (fact.own, fact.own_at, fact.below, fact.below_at) = (Known::UNSET, now, Set::No, now);
        (fact.merged, fact.changed) = (None, None);
    }

    /// Changes what a field holds without setting one that is not there.
    pub(super) fn alter(&mut self, id: Id, kind: Kind<'a>) {
        let known = self.known(id);
        if known.set != Set::No {
            let now = self.tick();
            let fact = self.change(id);
            (fact.own, fact.own_at) = (Known { set: known.set, kind }, now);
        }
    }

    /// Anything at or below the field may be set.
    pub(super) fn open(&mut self, id: Id) {
        let now = self.tick();
        self.change(id).open_at = now;
        self.set_above(id, Set::Maybe);
    }

    /// Columns may be set below.
    pub(super) fn open_columns(&mut self, id: Id) {
        let now = self.tick();
        self.change(id).columns_at = now;
        if id != ROOT {
            let known = self.known(id).join(Known { set: Set::Maybe, kind: Kind::Map });
            let fact = self.change(id);
            (fact.own, fact.own_at) = (known, now);
            self.set_above(id, Set::Maybe);
        }
    }

    /// Everything below the field may have gone or changed.
    pub(super) fn loosen(&mut self, id: Id) {
        let now = self.tick();
        let fact = self.change(id);
        (fact.below, fact.below_at) = (Set::Maybe, now);
    }

    /// Notes that a list may hold the value of a field already, if nothing is known of that.
    pub(super) fn expect_merge(&mut self, id: Id, span: Span) {
        let fact = self.change(id);
        if fact.merged.is_none() {
            fact.merged = Some(span);
        }
    }

    /// Notes that a list holds the value of a field now. Where that was the case before and the value was changed since,
    /// the places of both.
    pub(super) fn merge(&mut self, id: Id, span: Span) -> Option<(Span, Span)> {
        let fact = self.change(id);
        let again = fact.merged.zip(fact.changed);
        (fact.merged, fact.changed) = (Some(span), None);
        again
    }

    /// Notes that something below the fields above this one was changed.
    pub(super) fn touch(&mut self, id: Id, span: Span) {
        let mut at = id;
        while at != ROOT {
            at = self.nodes[at as usize].parent;
            let fact = &self.nodes[at as usize].fact;
            if fact.merged.is_some() && fact.changed.is_none() {
                self.change(at).changed = Some(span);
            }
        }
    }

    /// Where a branch begins.
    pub(super) fn mark(&self) -> (usize, u32) {
        (self.journal.len(), self.now)
    }

    /// Undoes what was done since the mark, and tells what it was.
    pub(super) fn undo(&mut self, (mark, began): (usize, u32)) -> Changes<'a> {
        let mut ids: Vec<Id> = self.journal[mark..].iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let made = ids
            .into_iter()
            .map(|id| {
                let fact = &self.nodes[id as usize].fact;
                let made = Made {
                    known: self.known(id),
                    own_changed: fact.own_at > began,
                    below: (fact.below_at > began).then_some(fact.below),
                    opened: fact.open_at > began,
                    columns: fact.columns_at > began,
                    merged: fact.merged,
                    changed: fact.changed,
                };
                (id, made)
            })
            .collect();
        while self.journal.len() > mark {
            if let Some((id, fact)) = self.journal.pop() {
                self.nodes[id as usize].fact = fact;
            }
        }
        Changes { made }
    }

    /// Goes on from where several ways meet.
    pub(super) fn join(&mut self, ways: &[Changes<'a>]) {
        struct Joined<'a> {
            ways: usize,
            own: usize,
            known: Option<Known<'a>>,
            below: Vec<Set>,
            opened: bool,
            columns: bool,
            merged: Option<Span>,
            changed: Option<Span>,
        }
        let mut fields: BTreeMap<Id, Joined<'a>> = BTreeMap::new();
        for way in ways {
            for (id, made) in &way.made {
                let joined = fields.entry(*id).or_insert(Joined {
                    ways: 0,
                    own: 0,
                    known: None,
                    below: Vec::new(),
                    opened: false,
                    columns: false,
                    merged: None,
                    changed: None,
                });
                joined.ways += 1;
                joined.own += usize::from(made.own_changed);
                joined.known = Some(joined.known.map_or(made.known, |known| known.join(made.known)));
                joined.below.extend(made.below);
                joined.opened |= made.opened;
                joined.columns |= made.columns;
                joined.merged = joined.merged.or(made.merged);
                joined.changed = joined.changed.or(made.changed);
            }
        }
        // What ways that did not touch a field leave there, before anything changes.
        let mut values: Vec<(Id, Known<'a>)> = Vec::new();
        for (id, joined) in &mut fields {
            let before = self.known(*id);
            let mut known = joined.known.unwrap_or(before);
            if joined.ways < ways.len() {
                known = known.join(before);
                let fact = &self.nodes[*id as usize].fact;
                joined.merged = joined.merged.or(fact.merged);
                joined.changed = joined.changed.or(fact.changed);
            }
            if joined.own > 0 {
                values.push((*id, known));
            }
        }
        let below_at = self.tick();
        for (id, joined) in &fields {
            if !joined.below.is_empty() {
                let all = joined.below.len() == ways.len() && joined.below.iter().all(|below| *below == Set::No);
                let fact = self.change(*id);
                (fact.below, fact.below_at) = (if all { Set::No } else { Set::Maybe }, below_at);
            }
        }
        let own_at = self.tick();
        for (id, mut known) in values {
            // A field above was set as a whole on some way that may not have touched this one.
            if fields[&id].ways < ways.len()
                && self.is_below_any(id, |above| fields.get(&above).is_some_and(|j| !j.below.is_empty()))
            {
                known = known.join(Known::MAYBE);
            }
            let fact = self.change(id);
            (fact.own, fact.own_at) = (known, own_at);
        }
        let open_at = self.tick();
        for (id, joined) in &fields {
            let fact = self.change(*id);
            if joined.opened {
                fact.open_at = open_at;
            }
            if joined.columns {
                fact.columns_at = open_at;
            }
            (fact.merged, fact.changed) = (joined.merged, joined.changed);
        }
    }

    fn is_below_any(&self, id: Id, is: impl Fn(Id) -> bool) -> bool {
        let mut at = id;
        while at != ROOT {
            at = self.nodes[at as usize].parent;
            if is(at) {
                return true;
            }
        }
        false
    }
}

/// Whether a name is one that `csv` gives: `column1`, ….
fn is_column(name: &str) -> bool {
    name.strip_prefix("column").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
