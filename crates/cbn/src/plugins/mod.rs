//! The plugins, one file each: what they read from their options when a program is compiled, and what they do to the
//! state of a run.
//!
//! To add one: a file with a type that has `compile` and `run`, and a line in each `match` below.

pub(crate) mod base64;
pub(crate) mod csv;
pub(crate) mod date;
pub(crate) mod date_format;
pub(crate) mod grok;
pub(crate) mod grok_patterns;
pub(crate) mod json;
pub(crate) mod kv;
#[cfg(test)]
mod tests;
pub(crate) mod translate;
pub(crate) mod xml;
pub(crate) mod xpath;

use std::borrow::Cow;

use crate::compile::{Build, Options};
use crate::path::{Path, Target};
use crate::run::{Failure, Run};
use crate::value::{DEPTH_MAX, Heap, Map, Value};

/// The names of all plugins.
pub const NAMES: [&str; 11] =
    ["base64", "csv", "date", "drop", "grok", "json", "kv", "mutate", "statedump", "translate", "xml"];

/// A plugin that only reads and writes fields. `mutate`, `drop` and `statedump` are the machine's own.
#[derive(Debug)]
pub(crate) enum Plugin {
    Base64(Box<base64::Base64>),
    Csv(csv::Csv),
    Date(Box<date::Date>),
    Grok(grok::Grok),
    Json(json::Json),
    Kv(Box<kv::Kv>),
    Translate(translate::Translate),
    Xml(xml::Xml),
}

impl Plugin {
    /// Reads the options of a call. `None` where they make no sense; the reason is among the diagnostics then.
    /// `Some(None)` is a name that no plugin has.
    pub(crate) fn compile(name: &str, options: &Options<'_>, build: &mut Build) -> Option<Option<Plugin>> {
        Some(Some(match name {
            "base64" => Plugin::Base64(Box::new(base64::Base64::compile(options, build)?)),
            "csv" => Plugin::Csv(csv::Csv::compile(options, build)?),
            "date" => Plugin::Date(Box::new(date::Date::compile(options, build)?)),
            "grok" => Plugin::Grok(grok::Grok::compile(options, build)?),
            "json" => Plugin::Json(json::Json::compile(options, build)?),
            "kv" => Plugin::Kv(Box::new(kv::Kv::compile(options, build)?)),
            "translate" => Plugin::Translate(translate::Translate::compile(options, build)?),
            "xml" => Plugin::Xml(xml::Xml::compile(options, build)?),
            _ => return Some(None),
        }))
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        match self {
            Plugin::Base64(plugin) => plugin.run(run),
            Plugin::Csv(plugin) => plugin.run(run),
            Plugin::Date(plugin) => plugin.run(run),
            Plugin::Grok(plugin) => plugin.run(run),
            Plugin::Json(plugin) => plugin.run(run),
            Plugin::Kv(plugin) => plugin.run(run),
            Plugin::Translate(plugin) => plugin.run(run),
            Plugin::Xml(plugin) => plugin.run(run),
        }
    }
}

/// The place that a target names now; an error where a field in its name is missing or no text.
fn place_of<'p>(run: &Run<'_>, target: &'p Target) -> Result<Cow<'p, Path>, Failure> {
    run.place(target)?.ok_or_else(|| run.error("", || "a field in the name of a field is not set".to_owned()))
}

/// The text of a field; an error where it is missing or no text.
fn text_of<'r>(run: &Run<'r>, path: &Path) -> Result<&'r str, Failure> {
    match run.get(path) {
        Some(Value::Text(text)) => Ok(text),
        Some(_) => Err(run.error(&path.text, || format!("source field {:?}: not a string", path.text))),
        None => Err(run.error(&path.text, || format!("source field {:?}: field not set", path.text))),
    }
}

/// The map at a place, made where there is none: what is there and no map gives way. The state itself without a target.
fn map_at<'r>(run: &Run<'r>, target: Option<&Target>) -> Result<&'r Map<'r>, Failure> {
    let Some(target) = target else { return Ok(run.root) };
    let place = place_of(run, target)?;
    if let Some(Value::Map(there)) = run.get(&place) {
        return Ok(there);
    }
    let made = run.heap.map()?;
    run.set(&place, Value::Map(made))?;
    Ok(made)
}

/// Sets what a document calls by a key with dots below `map`: as nested maps, since that is where a program looks for it
/// (contracts/cbn.md §1.2). What stands in the way and is no map gives way to one; a map that is there keeps what the new
/// one does not name. A key of so many steps that no value may be nested like that stays one key.
fn set_dotted<'r>(heap: &Heap<'r>, map: &'r Map<'r>, key: &str, value: Value<'r>) -> Result<(), Failure> {
    let is_nested = key.bytes().filter(|byte| *byte == b'.').take(DEPTH_MAX).count() < DEPTH_MAX;
    let mut parts = key.split('.').filter(|part| !part.is_empty());
    let (Some(mut part), true) = (parts.next(), is_nested) else {
        return map.set(heap, heap.name(key)?, value);
    };
    let mut map = map;
    for next in parts {
        let name = heap.name(part)?;
        map = match map.get(name) {
            Some(Value::Map(inner)) => inner,
            _ => {
                let made = heap.map()?;
                map.set(heap, name, Value::Map(made))?;
                made
            }
        };
        part = next;
    }
    let name = heap.name(part)?;
    match (map.get(name), value) {
        (Some(Value::Map(there)), Value::Map(new)) => heap.deep_merge(there, new),
        _ => map.set(heap, name, value),
    }
}

/// Reads the escapes of Go in an option that asks for it (`unescape_separator` and the like), so that `\\t` in a program
/// can mean a tab. What is no escape stays as it is.
fn unescape(written: &str) -> String {
    let mut read = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        read.push_str(&rest[..at]);
        rest = &rest[at..];
        let escaped = match rest.as_bytes().get(1) {
            Some(b't') => Some(('\t', 2)),
            Some(b'n') => Some(('\n', 2)),
            Some(b'r') => Some(('\r', 2)),
            Some(b'a') => Some(('\u{7}', 2)),
            Some(b'b') => Some(('\u{8}', 2)),
            Some(b'v') => Some(('\u{b}', 2)),
            Some(b'f') => Some(('\u{c}', 2)),
            Some(b'\\') => Some(('\\', 2)),
            Some(b'"') => Some(('"', 2)),
            Some(b'\'') => Some(('\'', 2)),
            Some(b'x') => hex_escape(rest, 2),
            Some(b'u') => hex_escape(rest, 4),
            Some(b'U') => hex_escape(rest, 8),
            _ => None,
        };
        let (character, length) = escaped.unwrap_or(('\\', 1));
        read.push(character);
        rest = &rest[length..];
    }
    read + rest
}

/// The character of `\x41` and its like with so many digits, and the length of the escape.
fn hex_escape(rest: &str, digits: usize) -> Option<(char, usize)> {
    let written = rest.get(2..2 + digits)?;
    if !written.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((char::from_u32(u32::from_str_radix(written, 16).ok()?)?, 2 + digits))
}
