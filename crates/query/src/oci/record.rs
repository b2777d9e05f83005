//! A record's bytes, read only as far as a condition asks: values at paths, and everything beneath a place.
//!
//! Total over any bytes: what is no JSON ends where it stops being JSON, and nothing behind it is seen. Nothing here
//! recurses deeper than a path is long, and through lists no deeper than [`LISTS_MAX`].
//!
//! Absent: checks that a record is JSON. Who stores records has made them so.

use std::ops::Range;

use super::path::Step;
use super::value::{Scalar, unescape};

/// Lists within lists that a path is followed through.
const LISTS_MAX: usize = event::limits::JSON_DEPTH_MAX;

/// The paths of several questions, joined where they begin alike, so that a record is gone through once.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    keys: Vec<(Box<[u8]>, usize)>,
    elements: Vec<(usize, usize)>,
    /// The questions that ask for the values here.
    asked: Vec<usize>,
}

impl Plan {
    pub(super) fn new<'p>(paths: impl IntoIterator<Item = (usize, &'p [Step])>) -> Plan {
        let mut plan = Plan { nodes: vec![Node::default()] };
        for (question, steps) in paths {
            let mut node = 0;
            for step in steps {
                node = plan.child(node, step);
            }
            plan.nodes[node].asked.push(question);
        }
        plan
    }

    fn child(&mut self, node: usize, step: &Step) -> usize {
        let next = self.nodes.len();
        let found = match step {
            Step::Key(key) => {
                let known = self.nodes[node].keys.iter().find(|(known, _)| **known == *key.as_bytes());
                known.map(|(_, child)| *child).unwrap_or_else(|| {
                    self.nodes[node].keys.push((key.as_bytes().into(), next));
                    next
                })
            }
            Step::Element(index) => {
                let known = self.nodes[node].elements.iter().find(|(known, _)| known == index);
                known.map(|(_, child)| *child).unwrap_or_else(|| {
                    self.nodes[node].elements.push((*index, next));
                    next
                })
            }
        };
        if found == next {
            self.nodes.push(Node::default());
        }
        found
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.iter().all(|node| node.asked.is_empty())
    }

    /// Calls `each` with every value at every path, in the order in which they stand in the record. Of several members
    /// with one name the first counts.
    pub(super) fn visit(&self, record: &[u8], each: &mut dyn FnMut(usize, Scalar<'_>)) {
        // The end of input is no error here: what was there has been seen.
        let _ = self.value(0, &mut Scanner { bytes: record, at: 0 }, 0, each);
    }

    /// Reads one value. `lists` is how many lists it stands in as their element: such a value was already seen by those
    /// who ask for everything in the list, and `[0]` means an element of the outermost one.
    fn value(
        &self,
        node: usize,
        scanner: &mut Scanner<'_>,
        lists: usize,
        each: &mut dyn FnMut(usize, Scalar<'_>),
    ) -> Option<()> {
        let here = &self.nodes[node];
        let first = scanner.space()?;
        if !matches!(first, b'{' | b'[') {
            let token = scanner.token()?;
            if lists == 0 && !here.asked.is_empty() {
                token.give(scanner.bytes, &mut |value| here.asked.iter().for_each(|asked| each(*asked, value)));
            }
            return Some(());
        }
        if lists == 0 && !here.asked.is_empty() {
            here.asked.iter().for_each(|asked| each(*asked, Scalar::Container));
            let mut inside = Scanner { bytes: scanner.bytes, at: scanner.at };
            // Cut off or not, what could be read was given.
            let _ = inside.leaves(&mut |value| here.asked.iter().for_each(|asked| each(*asked, value)));
        }
        if first == b'[' {
            if (here.keys.is_empty() && (here.elements.is_empty() || lists > 0)) || lists >= LISTS_MAX {
                return scanner.skip();
            }
            return self.list(node, scanner, lists, each);
        }
        if here.keys.is_empty() {
            return scanner.skip();
        }
        self.object(node, scanner, lists, each)
    }

    fn list(
        &self,
        node: usize,
        scanner: &mut Scanner<'_>,
        lists: usize,
        each: &mut dyn FnMut(usize, Scalar<'_>),
    ) -> Option<()> {
        scanner.at += 1;
        if scanner.space()? == b']' {
            scanner.at += 1;
            return Some(());
        }
        let mut index = 0;
        loop {
            if lists == 0
                && let Some((_, child)) = self.nodes[node].elements.iter().find(|(wanted, _)| *wanted == index)
            {
                let mut element = Scanner { bytes: scanner.bytes, at: scanner.at };
                self.value(*child, &mut element, 0, each)?;
            }
            self.value(node, scanner, lists + 1, each)?;
            index += 1;
            if !scanner.next(b']')? {
                return Some(());
            }
        }
    }

    fn object(
        &self,
        node: usize,
        scanner: &mut Scanner<'_>,
        lists: usize,
        each: &mut dyn FnMut(usize, Scalar<'_>),
    ) -> Option<()> {
        let keys = &self.nodes[node].keys;
        // Which keys were met; beyond 64 keys the later ones may be met twice, which costs time alone.
        let mut met = 0u64;
        let mut left = keys.len();
        scanner.at += 1;
        if scanner.space()? == b'}' {
            scanner.at += 1;
            return Some(());
        }
        loop {
            if scanner.space()? != b'"' {
                return None;
            }
            let (range, escaped) = scanner.string()?;
            let raw = &scanner.bytes[range];
            let found = if escaped {
                let key = unescape(raw);
                keys.iter().position(|(known, _)| **known == *key)
            } else {
                keys.iter().position(|(known, _)| **known == *raw)
            };
            if scanner.space()? != b':' {
                return None;
            }
            scanner.at += 1;
            match found {
                Some(index) if index >= 64 || met & (1 << index) == 0 => {
                    if index < 64 {
                        met |= 1 << index;
                    }
                    self.value(keys[index].1, scanner, 0, each)?;
                    left -= usize::from(left > 0 && index < 64);
                }
                _ => scanner.skip()?,
            }
            if left == 0 {
                // Nothing else is asked of this object; of the record itself the rest need not be read.
                return if node == 0 && lists == 0 { None } else { scanner.close() };
            }
            if !scanner.next(b'}')? {
                return Some(());
            }
        }
    }
}

/// The span of every value at a path, as it stands in the record.
pub(super) fn spans(record: &[u8], steps: &[Step]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let _ = spans_in(steps, &mut Scanner { bytes: record, at: 0 }, 0, &mut found);
    found
}

fn spans_in(steps: &[Step], scanner: &mut Scanner<'_>, lists: usize, found: &mut Vec<Range<usize>>) -> Option<()> {
    let first = scanner.space()?;
    let Some((step, rest)) = steps.split_first() else {
        let start = scanner.at;
        scanner.skip()?;
        found.push(start..scanner.at);
        return Some(());
    };
    if first == b'[' && lists < LISTS_MAX && (matches!(step, Step::Key(_)) || lists == 0) {
        scanner.at += 1;
        if scanner.space()? == b']' {
            scanner.at += 1;
            return Some(());
        }
        let mut index = 0;
        loop {
            match step {
                Step::Element(wanted) if *wanted == index => spans_in(rest, scanner, 0, found)?,
                Step::Element(_) => scanner.skip()?,
                Step::Key(_) => spans_in(steps, scanner, lists + 1, found)?,
            }
            index += 1;
            if !scanner.next(b']')? {
                return Some(());
            }
        }
    }
    if let Step::Key(key) = step
        && first == b'{'
    {
        scanner.at += 1;
        if scanner.space()? == b'}' {
            scanner.at += 1;
            return Some(());
        }
        let mut met = false;
        loop {
            if scanner.space()? != b'"' {
                return None;
            }
            let (range, _) = scanner.string()?;
            let is_wanted = !met && *unescape(&scanner.bytes[range]) == *key.as_bytes();
            if scanner.space()? != b':' {
                return None;
            }
            scanner.at += 1;
            if is_wanted {
                met = true;
                spans_in(rest, scanner, 0, found)?;
            } else {
                scanner.skip()?;
            }
            if !scanner.next(b'}')? {
                return Some(());
            }
        }
    }
    scanner.skip()
}

/// A string, number or word.
enum Token {
    /// What stands between the quotes, and whether it has escapes.
    Text(Range<usize>, bool),
    Number(Range<usize>),
    Bool(bool),
    Null,
    /// Nothing that JSON has.
    Other,
}

impl Token {
    fn give(self, bytes: &[u8], each: &mut dyn FnMut(Scalar<'_>)) {
        match self {
            Token::Text(range, false) => each(Scalar::Text(&bytes[range])),
            Token::Text(range, true) => each(Scalar::Text(&unescape(&bytes[range]))),
            Token::Number(range) => {
                if let Ok(text) = std::str::from_utf8(&bytes[range]) {
                    each(Scalar::Number(text));
                }
            }
            Token::Bool(truth) => each(Scalar::Bool(truth)),
            Token::Null => each(Scalar::Null),
            Token::Other => {}
        }
    }
}

/// Goes through JSON without keeping any. `None` says that the bytes end or are no JSON here.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The first byte behind white space.
    fn space(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Behind a member or element: steps over the comma, or over the end and says so.
    fn next(&mut self, end: u8) -> Option<bool> {
        let byte = self.space()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// At a quote: what stands up to the closing one, and whether it has escapes.
    fn string(&mut self) -> Option<(Range<usize>, bool)> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.bytes.get(at..)?)?;
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Some((start..at, escaped));
            }
            escaped = true;
            at += 2;
        }
    }

    /// At anything but a list or object.
    fn token(&mut self) -> Option<Token> {
        let start = self.at;
        if *self.bytes.get(start)? == b'"' {
            let (range, escaped) = self.string()?;
            return Some(Token::Text(range, escaped));
        }
        let is_end =
            |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'{' | b'[') || byte.is_ascii_whitespace();
        let rest = &self.bytes[start..];
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        self.at += length;
        Some(match &rest[..length] {
            b"null" => Token::Null,
            b"true" => Token::Bool(true),
            b"false" => Token::Bool(false),
            [b'-' | b'0'..=b'9', ..] => Token::Number(start..start + length),
            _ => Token::Other,
        })
    }

    /// Steps over a value of any kind.
    fn skip(&mut self) -> Option<()> {
        match self.space()? {
            b'{' | b'[' => {
                self.at += 1;
                self.close()
            }
            _ => self.token().map(|_| ()),
        }
    }

    /// Within a list or object: steps over its end.
    fn close(&mut self) -> Option<()> {
        let mut depth = 1usize;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// At a list or object: gives every value within, however deep, without the names.
    fn leaves(&mut self, each: &mut dyn FnMut(Scalar<'_>)) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.space()? {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                b',' | b':' => {}
                b'"' => {
                    let (range, escaped) = self.string()?;
                    if self.space() != Some(b':') {
                        Token::Text(range, escaped).give(self.bytes, each);
                    }
                    continue;
                }
                _ => {
                    self.token()?.give(self.bytes, each);
                    continue;
                }
            }
            self.at += 1;
        }
    }
}
