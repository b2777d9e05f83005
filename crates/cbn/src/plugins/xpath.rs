//! XPath: reading paths, and going along them in a document.
//!
//! Of XPath 1.0 there is what programs use (contracts/cbn.md §1.5): steps down (`/a/b`, `//b`, `*`), `@attribute`,
//! `text()`, `node()`, `.`, `..`, and in brackets a number (from 1), `%{field}`, `last()`, `position() = 2`, whether
//! something is there (`[@a]`, `[b]`) or what it says (`[@a='b']`, `[b != 'c']`, `[.='d']`, `[text()='d']`). A name without
//! a prefix fits elements of every namespace. No functions, no arithmetic, no `or`, no steps sideways.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use roxmltree::{Attribute, Document, Node, NodeId, StringStorage};

use crate::compile::Build;
use crate::path::{Part, Path, Template};
use crate::run::{Failure, Run};
use crate::syntax::ast::Word;
use crate::value::{Names, Value, print};

/// How many lists of rows are kept with a document, and how long a list is that is worth it.
const ROWS_MAX: usize = 8;
const ROWS_FROM: usize = 16;

/// Looking at so many nodes is worth a step.
const NODES_PER_STEP: usize = 8;

/// An XPath as a program writes it.
#[derive(Debug)]
pub(crate) enum Xpath {
    /// Known when compiled, but for numbers of rows.
    Fixed(Box<[Step]>),
    /// Put together at run time.
    Made(Template),
}

/// Why there is no path now.
pub(super) enum Unmade<'p> {
    /// A field in it is not set.
    Missing(&'p Path),
    /// With its fields filled in it is no path.
    Malformed,
    /// A limit of the run.
    Failure(Failure),
}

impl From<Failure> for Unmade<'_> {
    fn from(failure: Failure) -> Self {
        Unmade::Failure(failure)
    }
}

impl Xpath {
    /// Reads a path; an error at its place, and a path to the whole document, where it is none.
    pub(crate) fn compile(written: &Word, build: &mut Build) -> Xpath {
        let at = match parse(&written.text, Some(&mut build.names)) {
            Ok(steps) => return Xpath::Fixed(steps.into()),
            Err(at) => at,
        };
        let template = build.template(written);
        if template.constant().is_none() {
            return Xpath::Made(template);
        }
        let rest = &written.text[at..];
        let message = if rest.is_empty() {
            "the XPath ends too early".to_owned()
        } else {
            format!("the XPath is not understood from {rest:?} on")
        };
        build.error("xpath", written.span, message);
        Xpath::Fixed(Box::new([]))
    }

    /// Its steps, with fields in it filled in.
    pub(super) fn steps<'p>(&'p self, run: &Run<'_>) -> Result<Cow<'p, [Step]>, Unmade<'p>> {
        let steps = match self {
            Xpath::Fixed(steps) => Cow::Borrowed(&**steps),
            Xpath::Made(template) => {
                let mut whole = String::new();
                for part in &template.parts {
                    match part {
                        Part::Text(text) => whole.push_str(text),
                        Part::Field(path) => {
                            let text = run.get(path).and_then(|value| print(&value)).ok_or(Unmade::Missing(path))?;
                            run.heap.charge(text.len())?;
                            whole.push_str(&text);
                        }
                    }
                }
                run.step_bytes(whole.len())?;
                Cow::Owned(parse(&whole, None).map_err(|_| Unmade::Malformed)?)
            }
        };
        let is_made = |step: &Step| step.predicates.iter().any(|predicate| matches!(predicate, Predicate::Field(_)));
        if !steps.iter().any(is_made) {
            return Ok(steps);
        }
        let Xpath::Fixed(fixed) = self else { return Err(Unmade::Malformed) };
        let mut filled = Vec::with_capacity(fixed.len());
        for step in fixed {
            let mut step = step.clone();
            for (predicate, fixed) in step.predicates.iter_mut().zip(&fixed[filled.len()].predicates) {
                let Predicate::Field(path) = fixed else { continue };
                *predicate = match run.get(path) {
                    Some(Value::Int(number)) => Predicate::Index(usize::try_from(number).unwrap_or(0)),
                    Some(value) => {
                        let text = print(&value).ok_or(Unmade::Missing(path))?;
                        run.step_bytes(text.len())?;
                        let mut read = Reader { text: &text, at: 0, names: None };
                        match read.predicate() {
                            Ok(made) if read.at == text.len() => made,
                            _ => return Err(Unmade::Malformed),
                        }
                    }
                    None => return Err(Unmade::Missing(path)),
                };
            }
            filled.push(step);
        }
        Ok(Cow::Owned(filled))
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// After `//`: from every node below, too.
    deep: bool,
    axis: Axis,
    predicates: Vec<Predicate>,
}

#[derive(Debug, Clone, PartialEq)]
enum Axis {
    /// `name`, `*`.
    Child(Test),
    /// `@name`, `@*`.
    Attribute(Test),
    /// `text()`.
    Text,
    /// `node()`: elements and texts.
    Node,
    /// `.`
    Here,
    /// `..`
    Parent,
}

/// What name a node has to have.
#[derive(Debug, Clone, PartialEq)]
struct Test {
    /// Of every namespace where there is none.
    prefix: Option<Box<str>>,
    /// Every name where there is none.
    local: Option<Box<str>>,
}

impl Test {
    fn fits(&self, node: &Node<'_, '_>, namespace: Option<&str>, local: &str) -> bool {
        self.local.as_deref().is_none_or(|wanted| wanted == local)
            && self
                .prefix
                .as_deref()
                .is_none_or(|wanted| namespace.is_some_and(|uri| node.lookup_prefix(uri) == Some(wanted)))
    }

    fn fits_element(&self, node: &Node<'_, '_>) -> bool {
        node.is_element() && self.fits(node, node.tag_name().namespace(), node.tag_name().name())
    }

    fn fits_attribute(&self, node: &Node<'_, '_>, attribute: &Attribute<'_, '_>) -> bool {
        self.fits(node, attribute.namespace(), attribute.name())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Predicate {
    /// `[2]`
    Index(usize),
    /// `[last()]`
    Last,
    /// `[%{field}]`: a number, or what else can stand there.
    Field(Path),
    /// `[@a]`, `[b]`
    Has(Subject),
    /// `[@a = 'b']`; `[@a != 'b']` with `true`.
    Says(Subject, Box<str>, bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Attribute(Test),
    Child(Test),
    Text,
    Here,
}

/// Reads a path. The place where it is not understood, otherwise.
fn parse(text: &str, names: Option<&mut Names>) -> Result<Vec<Step>, usize> {
    let mut reader = Reader { text, at: 0, names };
    let mut steps: Vec<Step> = Vec::new();
    let mut deep = reader.takes("//");
    if !deep && reader.takes("/") && reader.is_over() {
        return Ok(steps);
    }
    loop {
        if steps.last().is_some_and(|step| matches!(step.axis, Axis::Attribute(_) | Axis::Text)) {
            // Nothing lies below those.
            return Err(reader.at);
        }
        steps.push(reader.step(deep)?);
        deep = reader.takes("//");
        if !deep && !reader.takes("/") {
            break;
        }
    }
    if reader.is_over() { Ok(steps) } else { Err(reader.at) }
}

struct Reader<'t, 'n> {
    text: &'t str,
    at: usize,
    /// Where `%{field}` may stand for a number.
    names: Option<&'n mut Names>,
}

impl<'t> Reader<'t, '_> {
    fn rest(&mut self) -> &'t str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn is_over(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Goes over a word if it stands here.
    fn takes(&mut self, word: &str) -> bool {
        let is_here = self.rest().starts_with(word);
        if is_here {
            self.at += word.len();
        }
        is_here
    }

    fn step(&mut self, deep: bool) -> Result<Step, usize> {
        let axis = if self.takes("..") {
            Axis::Parent
        } else if self.takes(".") {
            Axis::Here
        } else if self.takes("@") || self.takes("attribute::") {
            Axis::Attribute(self.test()?)
        } else {
            self.takes("child::");
            if self.takes("text()") {
                Axis::Text
            } else if self.takes("node()") {
                Axis::Node
            } else {
                Axis::Child(self.test()?)
            }
        };
        let mut predicates = Vec::new();
        while !matches!(axis, Axis::Attribute(_)) && self.takes("[") {
            predicates.push(self.predicate()?);
            if !self.takes("]") {
                return Err(self.at);
            }
        }
        Ok(Step { deep, axis, predicates })
    }

    fn predicate(&mut self) -> Result<Predicate, usize> {
        let rest = self.rest();
        if let (Some(names), Some(field)) = (&mut self.names, rest.strip_prefix("%{")) {
            let Some(end) = field.find('}') else { return Err(self.at) };
            self.at += 2 + end + 1;
            return Ok(Predicate::Field(Path::new(&field[..end], names)));
        }
        if self.takes("last()") {
            return Ok(Predicate::Last);
        }
        if self.takes("position()") {
            if !self.takes("=") {
                return Err(self.at);
            }
            return self.number().map(Predicate::Index);
        }
        if self.rest().starts_with(|first: char| first.is_ascii_digit()) {
            return self.number().map(Predicate::Index);
        }
        let subject = if self.takes("@") || self.takes("attribute::") {
            Subject::Attribute(self.test()?)
        } else if self.takes("text()") {
            Subject::Text
        } else if self.takes(".") {
            Subject::Here
        } else {
            self.takes("child::");
            Subject::Child(self.test()?)
        };
        let negated = self.takes("!=");
        if negated || self.takes("=") {
            return Ok(Predicate::Says(subject, self.literal()?.into(), negated));
        }
        Ok(Predicate::Has(subject))
    }

    fn number(&mut self) -> Result<usize, usize> {
        let rest = self.rest();
        let end = rest.find(|found: char| !found.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse().map_err(|_| self.at)?;
        self.at += end;
        Ok(number)
    }

    /// What a value is compared with: a text in quotes, or a number as it is written.
    fn literal(&mut self) -> Result<&'t str, usize> {
        let rest = self.rest();
        let (literal, length) = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let end = rest[1..].find(quote).ok_or(self.at)?;
                (&rest[1..=end], end + 2)
            }
            _ => {
                let end = rest.find(|found: char| !found.is_ascii_digit() && found != '.').unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        // A field in a literal makes the whole path one that is put together at run time.
        if length == 0 || (self.names.is_some() && literal.contains("%{")) {
            return Err(self.at);
        }
        self.at += length;
        Ok(literal)
    }

    fn test(&mut self) -> Result<Test, usize> {
        let first = self.name()?;
        if self.text[self.at..].starts_with(':') && !self.text[self.at..].starts_with("::") {
            self.at += 1;
            return Ok(Test { prefix: first, local: self.name()? });
        }
        Ok(Test { prefix: None, local: first })
    }

    /// A name, or `*`.
    fn name(&mut self) -> Result<Option<Box<str>>, usize> {
        if self.takes("*") {
            return Ok(None);
        }
        let rest = self.rest();
        let is_name =
            |found: char| found.is_alphanumeric() || matches!(found, '_' | '-' | '.' | '\u{b7}') || found > '\u{2ff}';
        let end = rest.find(|found| !is_name(found)).unwrap_or(rest.len());
        if !rest.starts_with(|first: char| first.is_alphabetic() || first == '_' || first > '\u{2ff}') {
            return Err(self.at);
        }
        self.at += end;
        Ok(Some(rest[..end].into()))
    }
}

/// What a path finds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'d, 'r> {
    Node(Node<'d, 'r>),
    Attribute(Attribute<'d, 'r>),
}

/// Those children of an element that fit a test: where `[n]` looks.
#[derive(Debug)]
pub(super) struct Rows {
    parent: NodeId,
    test: Test,
    nodes: Vec<NodeId>,
}

/// Going along a path in a document.
pub(super) struct Search<'s, 'd, 'r> {
    run: &'s Run<'r>,
    tree: &'d Document<'r>,
    rows: &'d RefCell<Vec<Rows>>,
    /// Nodes looked at that are not paid for yet.
    visited: Cell<usize>,
    /// Whether one is enough.
    first: bool,
}

impl<'s, 'd, 'r> Search<'s, 'd, 'r> {
    /// A search that looks for the first node alone, or for all.
    pub(super) fn new(run: &'s Run<'r>, tree: &'d Document<'r>, rows: &'d RefCell<Vec<Rows>>, first: bool) -> Self {
        Search { run, tree, rows, visited: Cell::new(0), first }
    }

    /// What the steps find, in the order of the document.
    pub(super) fn find(&self, steps: &[Step]) -> Result<Vec<Item<'d, 'r>>, Failure> {
        let mut nodes = vec![self.tree.root()];
        for (at, step) in steps.iter().enumerate() {
            let is_enough = self.first && at + 1 == steps.len();
            if step.deep {
                nodes = self.with_those_below(&nodes)?;
            }
            if let Axis::Attribute(test) = &step.axis {
                let mut found = Vec::new();
                for node in &nodes {
                    self.visit(1 + node.attributes().len())?;
                    found.extend(node.attributes().filter(|attribute| test.fits_attribute(node, attribute)));
                    if is_enough && !found.is_empty() {
                        break;
                    }
                }
                return Ok(found.into_iter().map(Item::Attribute).collect());
            }
            let mut next = Vec::new();
            for node in &nodes {
                self.follow(step, *node, &mut next)?;
                if is_enough && !next.is_empty() && !step.deep {
                    break;
                }
            }
            if step.deep || step.axis == Axis::Parent {
                // In the order of the document, each once.
                self.visit(next.len())?;
                next.sort_unstable_by_key(|node| node.id().get());
                next.dedup_by_key(|node| node.id());
            }
            nodes = next;
        }
        Ok(nodes.into_iter().map(Item::Node).collect())
    }

    /// The nodes and all elements below them, each once, in the order of the document.
    fn with_those_below(&self, nodes: &[Node<'d, 'r>]) -> Result<Vec<Node<'d, 'r>>, Failure> {
        let mut all: Vec<Node<'d, 'r>> = Vec::new();
        for node in nodes {
            // What lies below a node that was seen was seen with it: the order is the document's.
            if all.last().is_some_and(|last| node.id().get() <= last.id().get()) {
                continue;
            }
            for below in node.descendants() {
                self.visit(1)?;
                if below.is_element() || below.is_root() {
                    all.push(below);
                }
            }
        }
        Ok(all)
    }

    /// Takes a step from one node.
    fn follow(&self, step: &Step, from: Node<'d, 'r>, found: &mut Vec<Node<'d, 'r>>) -> Result<(), Failure> {
        let children = |fits: &dyn Fn(&Node<'d, 'r>) -> bool| -> Result<Vec<Node<'d, 'r>>, Failure> {
            let mut fitting = Vec::new();
            for child in from.children() {
                self.visit(1)?;
                if fits(&child) {
                    fitting.push(child);
                }
            }
            Ok(fitting)
        };
        // Looking for what is not there takes time, too.
        self.visit(1)?;
        let mut predicates = step.predicates.as_slice();
        let mut nodes = match &step.axis {
            Axis::Child(test) => {
                if let [Predicate::Index(number), rest @ ..] = predicates {
                    predicates = rest;
                    self.row(from, test, *number)?.into_iter().collect()
                } else {
                    children(&|child| test.fits_element(child))?
                }
            }
            Axis::Text => children(&|child| child.is_text())?,
            Axis::Node => children(&|child| child.is_text() || child.is_element())?,
            Axis::Here => vec![from],
            Axis::Parent => from.parent().into_iter().collect(),
            Axis::Attribute(_) => Vec::new(),
        };
        for predicate in predicates {
            self.visit(nodes.len())?;
            match predicate {
                Predicate::Index(number) => {
                    nodes = number.checked_sub(1).and_then(|at| nodes.get(at)).copied().into_iter().collect();
                }
                Predicate::Last => nodes = nodes.pop().into_iter().collect(),
                Predicate::Has(subject) => {
                    let mut kept = Vec::new();
                    for node in nodes {
                        if !self.subjects(node, subject)?.is_empty() {
                            kept.push(node);
                        }
                    }
                    nodes = kept;
                }
                Predicate::Says(subject, wanted, negated) => {
                    let mut kept = Vec::new();
                    for node in nodes {
                        // One that fits is enough, as XPath compares sets of nodes.
                        for item in self.subjects(node, subject)? {
                            if (self.text(&item)? == &**wanted) != *negated {
                                kept.push(node);
                                break;
                            }
                        }
                    }
                    nodes = kept;
                }
                // Filled in before the search begins.
                Predicate::Field(_) => nodes.clear(),
            }
        }
        found.append(&mut nodes);
        Ok(())
    }

    /// The child with a number among those that fit.
    fn row(&self, parent: Node<'d, 'r>, test: &Test, number: usize) -> Result<Option<Node<'d, 'r>>, Failure> {
        let Some(at) = number.checked_sub(1) else { return Ok(None) };
        let mut known = self.rows.borrow_mut();
        if let Some(rows) = known.iter().find(|rows| rows.parent == parent.id() && rows.test == *test) {
            self.visit(1)?;
            return Ok(rows.nodes.get(at).and_then(|id| self.tree.get_node(*id)));
        }
        let mut nodes = Vec::new();
        for child in parent.children() {
            self.visit(1)?;
            if test.fits_element(&child) {
                nodes.push(child.id());
            }
        }
        let row = nodes.get(at).and_then(|id| self.tree.get_node(*id));
        if nodes.len() >= ROWS_FROM {
            self.run.heap.charge(size_of::<Rows>() + 2 * size_of_val(&*nodes))?;
            if known.len() == ROWS_MAX {
                known.remove(0);
            }
            known.push(Rows { parent: parent.id(), test: test.clone(), nodes });
        }
        Ok(row)
    }

    fn subjects(&self, node: Node<'d, 'r>, subject: &Subject) -> Result<Vec<Item<'d, 'r>>, Failure> {
        Ok(match subject {
            Subject::Here => vec![Item::Node(node)],
            Subject::Attribute(test) => {
                self.visit(node.attributes().len())?;
                let fitting = node.attributes().filter(|attribute| test.fits_attribute(&node, attribute));
                fitting.map(Item::Attribute).collect()
            }
            Subject::Child(_) | Subject::Text => {
                let mut items = Vec::new();
                for child in node.children() {
                    self.visit(1)?;
                    let fits = match subject {
                        Subject::Child(test) => test.fits_element(&child),
                        _ => child.is_text(),
                    };
                    if fits {
                        items.push(Item::Node(child));
                    }
                }
                items
            }
        })
    }

    /// What a node says: an element all the texts within it.
    pub(super) fn text(&self, item: &Item<'d, 'r>) -> Result<&'r str, Failure> {
        let stored = |storage: &StringStorage<'r>| match storage {
            StringStorage::Borrowed(text) => Ok(*text),
            StringStorage::Owned(text) => self.run.heap.text(text),
        };
        let node = match item {
            Item::Attribute(attribute) => return stored(attribute.value_storage()),
            Item::Node(node) => node,
        };
        let mut texts: Vec<&StringStorage<'r>> = Vec::new();
        for below in node.descendants() {
            self.visit(1)?;
            if below.is_text() {
                texts.extend(below.text_storage());
            }
        }
        match *texts {
            [] => Ok(""),
            [only] => stored(only),
            _ => {
                let bytes = texts.iter().map(|text| text.len()).sum();
                self.run.heap.charge(bytes)?;
                let mut whole = bumpalo::collections::String::with_capacity_in(bytes, self.run.heap.bump());
                texts.iter().for_each(|text| whole.push_str(text));
                Ok(whole.into_bump_str())
            }
        }
    }

    /// Notes that nodes were looked at.
    #[inline]
    fn visit(&self, nodes: usize) -> Result<(), Failure> {
        let visited = self.visited.get() + nodes;
        if visited < NODES_PER_STEP {
            self.visited.set(visited);
            return Ok(());
        }
        self.visited.set(visited % NODES_PER_STEP);
        self.run.step((visited / NODES_PER_STEP) as u64)
    }
}
