//! `grok`: takes fields out of a text with regular expressions in which patterns may be called by name
//! (`%{IP:client}`).
//!
//! When a program is compiled, every `%{…}` is replaced by what it stands for, and every group with a name becomes a
//! field; at run time the expressions of a field are tried in order and the first that matches sets its fields. Values
//! are stretches of the text that was matched; nothing is copied.
//!
//! Rules (contracts/cbn.md §1.5 and Google's documentation): matching is not anchored; a field that exists already is
//! an error unless `overwrite` names it; a match without any named group counts as none; a group that took no part in
//! the match sets nothing. An expression that is none of RE2's is only warned of and never matches, since shipped
//! parsers hold some.

use crate::compile::{Build, Options, words_of};
use crate::diagnostic::{self, Diagnostic};
use crate::path::{Path, Target};
use crate::plugins::grok_patterns;
use crate::re2;
use crate::run::{Failure, Run};
use crate::syntax::ast::{Span, Word};
use crate::value::{Map, Value};

/// How long an expression may become when its `%{…}` are replaced.
const EXPANDED_BYTES_MAX: usize = 128 << 10;

/// How deep patterns may call patterns; ours go five deep.
const EXPANSION_DEPTH_MAX: usize = 16;

/// A call of grok.
#[derive(Debug)]
pub(crate) struct Grok {
    sources: Vec<Source>,
    match_all: bool,
}

/// A field with the expressions for it.
#[derive(Debug)]
struct Source {
    field: Target,
    patterns: Vec<Pattern>,
}

/// One expression.
#[derive(Debug)]
struct Pattern {
    regex: regex::Regex,
    fields: Vec<Field>,
    /// Which field each group sets: the first is group 1.
    groups: Vec<u32>,
}

/// A field that an expression sets.
#[derive(Debug)]
struct Field {
    path: Path,
    overwrite: bool,
}

impl Grok {
    pub(crate) fn compile(options: &Options<'_>, build: &mut Build<'_>) -> Option<Grok> {
        let pairs = options.pairs("match");
        if pairs.is_empty() {
            build.diagnostics.push(
                Diagnostic::error("missing-option", options.span(), "grok needs match")
                    .help("Add match => { \"message\" => \"…\" } between its braces."),
            );
            return None;
        }
        let overwrite: Vec<Path> = options.words("overwrite").into_iter().map(|word| build.path(word)).collect();
        let mut failed = false;
        let mut sources = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mut patterns = Vec::new();
            for word in words_of(value) {
                // Programs leave patterns empty; such a one is passed over (contracts/cbn.md §1.5).
                if word.text.is_empty() {
                    continue;
                }
                match expand(&word.text) {
                    Ok(expanded) => patterns.extend(Pattern::compile(&expanded, word, &overwrite, build)),
                    Err(error) => {
                        failed = true;
                        build.diagnostics.push(error.diagnostic(word.span));
                    }
                }
            }
            sources.push(Source { field: build.target(key), patterns });
        }
        (!failed).then(|| Grok { sources, match_all: options.flag("match_all") })
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        // What is wrong with the last field that could not be read; it is only told where no other field matched.
        let mut unread = None;
        for source in &self.sources {
            let Some(path) = run.place(&source.field)? else {
                unread = Some(run.error("", || "source field: a field in its name is not set".to_owned()));
                continue;
            };
            let text = match run.get(&path) {
                Some(Value::Text(text)) => text,
                Some(_) => {
                    unread = Some(run.error(&path.text, || format!("source field \"{}\": not a string", path.text)));
                    continue;
                }
                None => {
                    unread = Some(run.error(&path.text, || format!("source field \"{}\": field not set", path.text)));
                    continue;
                }
            };
            for pattern in &source.patterns {
                run.step_bytes(text.len())?;
                let matched =
                    if self.match_all { pattern.take_all(run, text)? } else { pattern.take_first(run, text)? };
                if matched {
                    return Ok(());
                }
            }
        }
        Err(unread.unwrap_or_else(|| {
            let field = self.sources.first().map_or("", |source| match &source.field {
                Target::Fixed(path) => &path.text,
                Target::Made(_) => "",
            });
            run.error(field, || "failed to parse data with all match patterns".to_owned())
        }))
    }
}

impl Pattern {
    /// `None` for an expression that can never set anything.
    fn compile(expanded: &str, word: &Word, overwrite: &[Path], build: &mut Build<'_>) -> Option<Pattern> {
        let re2::Captures { regex, names } = match re2::compile_captures(expanded) {
            Ok(captures) => captures,
            Err(error) => {
                let shown = if expanded == word.text {
                    error.to_string()
                } else {
                    // Places in the expanded text mean nothing to whoever wrote the pattern.
                    error.message
                };
                build.diagnostics.push(
                    Diagnostic::warning("grok-regex", word.span, format!("this pattern can never match: {shown}"))
                        .help("RE2 refuses it, so the other patterns of the list have to match."),
                );
                return None;
            }
        };
        if names.is_empty() {
            build.diagnostics.push(
                Diagnostic::warning(
                    "grok-no-capture",
                    word.span,
                    "this pattern names no field, so it counts as no match",
                )
                .help("Name a field in it: %{DATA:field} or (?P<field>…)."),
            );
            return None;
        }
        let mut fields: Vec<Field> = Vec::new();
        let mut groups = Vec::with_capacity(names.len());
        for name in &names {
            let path = Path::new(name, &mut build.names);
            let at = fields.iter().position(|field| field.path == path).unwrap_or_else(|| {
                let overwrite = overwrite.iter().any(|known| known.segments == path.segments);
                fields.push(Field { path, overwrite });
                fields.len() - 1
            });
            groups.push(at as u32);
        }
        Some(Pattern { regex, fields, groups })
    }

    /// Sets the fields of the first match; whether there is one.
    fn take_first<'r>(&self, run: &Run<'r>, text: &'r str) -> Result<bool, Failure> {
        let mut places = self.regex.capture_locations();
        if self.regex.captures_read(&mut places, text).is_none() {
            return Ok(false);
        }
        self.check_overwrite(run, |group| places.get(group).is_some())?;
        for (at, field) in self.groups.iter().enumerate() {
            if let Some((start, end)) = places.get(at + 1) {
                run.set(&self.fields[*field as usize].path, Value::Text(&text[start..end]))?;
            }
        }
        Ok(true)
    }

    /// Sets the fields of all matches, one behind the other; whether there is any. Each field becomes a map from the
    /// number of the match, from 0, to what it found.
    fn take_all<'r>(&self, run: &Run<'r>, text: &'r str) -> Result<bool, Failure> {
        let mut places = self.regex.capture_locations();
        let mut maps: Vec<Option<&'r Map<'r>>> = vec![None; self.fields.len()];
        let mut matches = 0_u32;
        let mut from = 0;
        while from <= text.len() {
            let Some(whole) = self.regex.captures_read_at(&mut places, text, from) else { break };
            run.step(1)?;
            self.check_overwrite(run, |group| places.get(group).is_some())?;
            let index = run.heap.name(&matches.to_string())?;
            for (at, field) in self.groups.iter().enumerate() {
                if let Some((start, end)) = places.get(at + 1) {
                    let map = match maps[*field as usize] {
                        Some(map) => map,
                        None => *maps[*field as usize].insert(run.heap.map()?),
                    };
                    map.set(&run.heap, index, Value::Text(&text[start..end]))?;
                }
            }
            matches += 1;
            from = if whole.is_empty() {
                // After a match of nothing the search goes on behind the next character.
                whole.end() + text[whole.end()..].chars().next().map_or(1, char::len_utf8)
            } else {
                whole.end()
            };
        }
        for (map, field) in maps.into_iter().zip(&self.fields) {
            if let Some(map) = map {
                run.set(&field.path, Value::Map(map))?;
            }
        }
        Ok(matches > 0)
    }

    /// An error for a field that would be set, exists, and may not be overwritten. Before any is set, so that a failed
    /// grok leaves the state as it was.
    fn check_overwrite(&self, run: &Run<'_>, matched: impl Fn(usize) -> bool) -> Result<(), Failure> {
        for (at, field) in self.groups.iter().enumerate() {
            let field = &self.fields[*field as usize];
            if !field.overwrite && matched(at + 1) && run.get(&field.path).is_some() {
                let name = &field.path.text;
                return Err(
                    run.error(name, || format!("field \"{name}\" already exists in data and is not overwritable"))
                );
            }
        }
        Ok(())
    }
}

/// Why a pattern could not be put together.
#[derive(Debug, PartialEq)]
enum ExpandError {
    Unknown(String),
    TooLarge,
}

impl ExpandError {
    fn diagnostic(self, span: Span) -> Diagnostic {
        match self {
            ExpandError::Unknown(name) => {
                let found =
                    Diagnostic::error("unknown-pattern", span, format!("there is no grok pattern named {name}"));
                match diagnostic::nearest(&name, grok_patterns::names()) {
                    Some(near) => found.help(format!("Did you mean %{{{near}}}?")),
                    None => found.help("Write the regular expression itself: (?P<field>…)."),
                }
            }
            ExpandError::TooLarge => Diagnostic::error(
                "grok-too-large",
                span,
                format!("with its %{{…}} replaced this pattern is longer than {EXPANDED_BYTES_MAX} bytes"),
            ),
        }
    }
}

/// Replaces every `%{…}` by what it stands for.
fn expand(pattern: &str) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(4 * pattern.len());
    expand_into(&mut expanded, pattern, 0)?;
    Ok(expanded)
}

fn expand_into(expanded: &mut String, pattern: &str, depth: usize) -> Result<(), ExpandError> {
    if depth > EXPANSION_DEPTH_MAX {
        return Err(ExpandError::TooLarge);
    }
    let mut rest = pattern;
    while let Some(start) = rest.find("%{") {
        expanded.push_str(&rest[..start]);
        let Some((reference, after)) = Reference::read(&rest[start..]) else {
            expanded.push_str("%{");
            rest = &rest[start + 2..];
            continue;
        };
        rest = after;
        let inner = match grok_patterns::named(reference.pattern) {
            Some(inner) => inner,
            None => match grok_patterns::piece(reference.pattern) {
                Some(piece) if depth > 0 => piece,
                _ => return Err(ExpandError::Unknown(reference.pattern.to_owned())),
            },
        };
        match reference.field {
            Some(field) => {
                expanded.push_str("(?P<");
                expanded.push_str(field);
                expanded.push('>');
            }
            None => expanded.push_str("(?:"),
        }
        expand_into(expanded, inner, depth + 1)?;
        expanded.push(')');
        if expanded.len() > EXPANDED_BYTES_MAX {
            return Err(ExpandError::TooLarge);
        }
    }
    expanded.push_str(rest);
    Ok(())
}

/// `%{IP:client}`, taken apart.
struct Reference<'p> {
    pattern: &'p str,
    field: Option<&'p str>,
}

impl<'p> Reference<'p> {
    /// Reads one at the start of a text; with what stands behind it. What has another form is no reference but a part
    /// of the expression.
    ///
    /// A type behind the field (`%{INT:port:int}`) is read and passed over: the documentation knows none, and all that
    /// grok sets is text.
    fn read(text: &'p str) -> Option<(Reference<'p>, &'p str)> {
        let (inside, after) = text.strip_prefix("%{")?.split_once('}')?;
        let mut parts = inside.split(':');
        let pattern = parts.next()?;
        if pattern.is_empty() || !pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let field = parts.next().map(str::trim).filter(|field| !field.is_empty());
        if field.is_some_and(|field| field.contains('>')) {
            return None;
        }
        Some((Reference { pattern, field }, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_sorted_and_compile() {
        let names: Vec<_> = grok_patterns::names().collect();
        assert!(names.is_sorted());
        for name in names {
            let expanded = expand(&format!("%{{{name}:field}}")).expect(name);
            re2::compile_captures(&expanded).unwrap_or_else(|error| panic!("{name}: {error}: {expanded}"));
        }
    }
}
