//! Names of fields: `a.b.c`, `[a][b]`, `a.0.b`; and templates, texts with `%{field}` in them.
//!
//! Both are taken apart when a program is compiled. A destination whose name holds `%{…}` is put together at run time.

use crate::value::{Name, Names};

/// A place in the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Its steps; at least one.
    pub segments: Box<[Segment]>,
    /// As the messages name it: joined by dots.
    pub text: Box<str>,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The key in a map.
    pub name: Name,
    /// The index in a list, where the text is a number.
    pub index: Option<u32>,
}

impl Path {
    /// Reads a path as written, in either notation.
    pub fn new(written: &str, names: &mut Names) -> Path {
        let parts: Vec<&str> = steps(written).collect();
        names.note_depth(parts.len());
        let segments = parts.iter().map(|part| Segment { name: names.intern(part), index: index_of(part) }).collect();
        Path { segments, text: parts.join(".").into() }
    }
}

/// The steps of a path as written, all at once.
pub fn split(written: &str) -> Vec<&str> {
    steps(written).collect()
}

/// The steps of a path as written: dots and brackets both separate. A text without any step is one empty step.
pub fn steps(written: &str) -> impl Iterator<Item = &str> {
    let mut parts = written.trim().split(['.', '[', ']']).map(str::trim).filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or("");
    std::iter::once(first).chain(parts)
}

/// The index that a step is, if it is one.
pub fn index_of(part: &str) -> Option<u32> {
    if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

/// A text with fields in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its parts in order.
    pub parts: Box<[Part]>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text as it is.
    Text(Box<str>),
    /// The value of a field.
    Field(Path),
}

impl Template {
    /// Reads a text. A `%{` without an end is text.
    pub fn new(written: &str, names: &mut Names) -> Template {
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some(start) = rest.find("%{") {
            let Some(length) = rest[start + 2..].find('}') else { break };
            let field = &rest[start + 2..start + 2 + length];
            if start > 0 {
                parts.push(Part::Text(rest[..start].into()));
            }
            parts.push(Part::Field(Path::new(field, names)));
            rest = &rest[start + 2 + length + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Template { parts: parts.into() }
    }

    /// The text, if there is no field in it.
    pub fn constant(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A place whose name may hold fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Known when compiled.
    Fixed(Path),
    /// Put together at run time.
    Made(Template),
}

impl Target {
    /// Reads it as written.
    pub fn new(written: &str, names: &mut Names) -> Target {
        if written.contains("%{") {
            let template = Template::new(written, names);
            if template.constant().is_none() {
                return Target::Made(template);
            }
        }
        Target::Fixed(Path::new(written, names))
    }
}
