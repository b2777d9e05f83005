//! `mutate`: its functions, in Logstash's order, not in that of the source. So Google's documentation has it; Google's
//! outputs do not tell the two apart (contracts/cbn.md §1.6). Functions of one kind keep the order of the source.
//!
//! A block stops at the first function that fails.

use crate::compile::{Build, Options, pairs_of, word_of, words_of};
use crate::path::{Path, Target, Template};
use crate::re2::Regex;
use crate::run::convert::{self, Kind};
use crate::run::{Failure, Limit, Run, condition};
use crate::syntax::ast::{Entry, Word};
use crate::value::Value;

/// The names of all functions.
pub const NAMES: [&str; 10] =
    ["convert", "copy", "gsub", "lowercase", "merge", "remove_field", "rename", "replace", "split", "uppercase"];

/// A function on its arguments.
#[derive(Debug)]
pub(crate) enum Function {
    Replace(Box<[(Target, Template)]>),
    Rename(Box<[(Target, Target)]>),
    Copy(Box<[(Target, Target)]>),
    Merge(Box<[(Target, Target)]>),
    Convert(Box<[(Target, Kind)]>),
    Gsub(Box<[Substitution]>),
    Case(Box<[Target]>, Case),
    Split { source: Target, separator: Template, target: Target },
    Remove(Box<[Target]>),
}

/// Which case a text is turned to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Case {
    Lower,
    Upper,
}

/// One triple of `gsub`.
#[derive(Debug)]
pub(crate) struct Substitution {
    field: Target,
    pattern: Pattern,
    with: Template,
}

#[derive(Debug)]
enum Pattern {
    Fixed(Regex),
    Made(Template),
}

/// Reads the functions of a block. Those that nobody knows are left out, as Google's engine does (§1.1).
pub(crate) fn compile(options: &Options<'_>, build: &mut Build) -> Vec<Function> {
    let mut functions: Vec<Function> =
        options.plugin.options.iter().filter_map(|entry| function(entry, build)).collect();
    functions.sort_by_key(Function::rank);
    functions
}

/// The place of a function in a block, by its name in any case: the linter tells where a block is written in another
/// order that would mean something else.
pub(crate) fn rank_of(name: &str) -> Option<usize> {
    ORDER.iter().position(|known| known.eq_ignore_ascii_case(name))
}

/// Logstash's order.
const ORDER: [&str; 10] =
    ["rename", "replace", "convert", "gsub", "uppercase", "lowercase", "split", "merge", "copy", "remove_field"];

fn function(entry: &Entry, build: &mut Build) -> Option<Function> {
    // Google's documentation itself writes `Replace` in an example.
    Some(match entry.key.text.to_ascii_lowercase().as_str() {
        "replace" => Function::Replace(
            pairs_of(&entry.value)
                .into_iter()
                .filter_map(|(key, value)| Some((build.target(key), build.template(word_of(value)?))))
                .collect(),
        ),
        "rename" => Function::Rename(target_pairs(entry, build)),
        "copy" => Function::Copy(target_pairs(entry, build)),
        "merge" => Function::Merge(target_pairs(entry, build)),
        "convert" => {
            let mut conversions = Vec::new();
            for (key, value) in pairs_of(&entry.value) {
                let Some(word) = word_of(value) else { continue };
                match Kind::named(&word.text) {
                    Some(kind) => conversions.push((build.target(key), kind)),
                    None => {
                        let near = build.suggest(&word.text, Kind::NAMES);
                        let mut found = crate::Diagnostic::error(
                            "unknown-type",
                            word.span,
                            format!("convert knows no type {}", word.text),
                        );
                        if let Some(near) = near {
                            found = found.help(format!("Did you mean {near}?"));
                        }
                        build.diagnostics.push(found);
                    }
                }
            }
            Function::Convert(conversions.into())
        }
        "gsub" => Function::Gsub(substitutions(&words_of(&entry.value), build).into()),
        "lowercase" => Function::Case(targets(entry, build), Case::Lower),
        "uppercase" => Function::Case(targets(entry, build), Case::Upper),
        "split" => return split(entry, build),
        "remove_field" => Function::Remove(targets(entry, build)),
        _ => return None,
    })
}

fn targets(entry: &Entry, build: &mut Build) -> Box<[Target]> {
    words_of(&entry.value).into_iter().map(|word| build.target(word)).collect()
}

fn target_pairs(entry: &Entry, build: &mut Build) -> Box<[(Target, Target)]> {
    pairs_of(&entry.value)
        .into_iter()
        .flat_map(|(key, value)| words_of(value).into_iter().map(move |word| (key, word)))
        .map(|(key, word)| (build.target(key), source(word, build)))
        .collect()
}

/// The name of a source: some write it as `%{field}`.
fn source(word: &Word, build: &mut Build) -> Target {
    match word.text.strip_prefix("%{").and_then(|rest| rest.strip_suffix('}')) {
        Some(name) if !name.contains(['{', '}']) => Target::Fixed(Path::new(name, &mut build.names)),
        _ => build.target(word),
    }
}

fn substitutions(words: &[&Word], build: &mut Build) -> Vec<Substitution> {
    if !words.len().is_multiple_of(3) {
        let word = words.last().expect("a list whose length is no multiple of three is not empty");
        build.error("gsub", word.span, "gsub takes three texts for each change: field, pattern, replacement");
    }
    words
        .chunks_exact(3)
        .filter_map(|triple| {
            let pattern = Template::new(&triple[1].text, &mut build.names);
            let pattern = match pattern.constant() {
                Some(_) => Pattern::Fixed(build.regex(&triple[1].text, triple[1].span)?),
                None => Pattern::Made(pattern),
            };
            Some(Substitution { field: build.target(triple[0]), pattern, with: build.template(triple[2]) })
        })
        .collect()
}

fn split(entry: &Entry, build: &mut Build) -> Option<Function> {
    let pairs = pairs_of(&entry.value);
    let option = |name: &str| pairs.iter().find(|(key, _)| key.text == name).and_then(|(_, value)| word_of(value));
    if let Some(field) = option("source") {
        let separator = option("separator").map_or(Template { parts: Box::new([]) }, |word| build.template(word));
        let source = source(field, build);
        let target = option("target").map_or_else(|| source.clone(), |word| build.target(word));
        return Some(Function::Split { source, separator, target });
    }
    // Logstash's own form: the field, and what separates.
    let (field, separator) = pairs.first()?;
    let separator = build.template(word_of(separator)?);
    let source = build.target(field);
    Some(Function::Split { target: source.clone(), source, separator })
}

impl Function {
    fn rank(&self) -> Option<usize> {
        rank_of(match self {
            Function::Rename(_) => "rename",
            Function::Replace(_) => "replace",
            Function::Convert(_) => "convert",
            Function::Gsub(_) => "gsub",
            Function::Case(_, Case::Upper) => "uppercase",
            Function::Case(_, Case::Lower) => "lowercase",
            Function::Split { .. } => "split",
            Function::Merge(_) => "merge",
            Function::Copy(_) => "copy",
            Function::Remove(_) => "remove_field",
        })
    }

    /// How many things it does.
    fn count(&self) -> usize {
        match self {
            Function::Replace(pairs) => pairs.len(),
            Function::Rename(pairs) | Function::Copy(pairs) | Function::Merge(pairs) => pairs.len(),
            Function::Convert(pairs) => pairs.len(),
            Function::Gsub(changes) => changes.len(),
            Function::Case(targets, _) | Function::Remove(targets) => targets.len(),
            Function::Split { .. } => 1,
        }
    }

    /// Does it.
    pub(crate) fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        run.step(self.count() as u64 / 4)?;
        match self {
            Function::Replace(pairs) => pairs.iter().try_for_each(|(target, with)| replace(run, target, with)),
            Function::Rename(pairs) => pairs.iter().try_for_each(|(from, to)| rename(run, from, to)),
            Function::Copy(pairs) => pairs.iter().try_for_each(|(target, source)| copy(run, target, source)),
            Function::Merge(pairs) => {
                let mut skipped = Ok(());
                for (target, source) in pairs {
                    match merge(run, target, source) {
                        soft @ Err(Failure::Skipped(_)) => skipped = soft,
                        other => other?,
                    }
                }
                skipped
            }
            Function::Convert(pairs) => pairs.iter().try_for_each(|(target, kind)| convert(run, target, *kind)),
            Function::Gsub(changes) => changes.iter().try_for_each(|change| change.run(run)),
            Function::Case(targets, case) => targets.iter().try_for_each(|target| turn(run, target, *case)),
            Function::Split { source, separator, target } => split_text(run, source, separator, target),
            Function::Remove(targets) => {
                for target in targets {
                    if let Some(path) = run.place(target)? {
                        run.remove(&path)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// An error of a function about its destination, in Google's form.
fn failed(run: &Run<'_>, function: &str, target: &Path, why: impl FnOnce() -> String) -> Failure {
    run.error(&target.text, || format!("{function} failure: field \"{}\": {}", target.text, why()))
}

/// A destination whose own name cannot be made.
fn nameless(run: &Run<'_>, function: &str) -> Failure {
    run.error("", || format!("{function} failure: a field in the name of the destination is not set"))
}

fn replace(run: &Run<'_>, target: &Target, with: &Template) -> Result<(), Failure> {
    let Some(path) = run.place(target)? else { return Err(nameless(run, "replace")) };
    match run.expand(with)? {
        Ok(text) => run.set(&path, Value::Text(text)),
        Err(missing) => Err(failed(run, "replace", &path, || match run.get(missing) {
            None => format!("source field \"{}\": field not set", missing.text),
            Some(value) => format!(
                "source field \"{}\": field is of type {}, only string can be put into a text",
                missing.text,
                value.type_name()
            ),
        })),
    }
}

fn rename(run: &Run<'_>, from: &Target, to: &Target) -> Result<(), Failure> {
    let Some(from) = run.place(from)? else { return Ok(()) };
    if run.get(&from).is_none() {
        return Ok(());
    }
    let Some(to) = run.place(to)? else { return Err(nameless(run, "rename")) };
    if from.segments == to.segments {
        return Ok(());
    }
    match run.remove(&from)? {
        Some(value) => run.set(&to, value),
        None => Ok(()),
    }
}

fn copy(run: &Run<'_>, target: &Target, source: &Target) -> Result<(), Failure> {
    let Some(path) = run.place(target)? else { return Err(nameless(run, "copy")) };
    let source = run.place(source)?;
    let value = source.as_ref().and_then(|source| run.get(source));
    match value {
        None | Some(Value::Text("")) => {
            let name = source.map_or_else(String::new, |source| source.text.to_string());
            Err(run.error(&name, || {
                format!(
                    "copy failure: copy source field \"{name}\" must not be empty (try using replace to provide the \
                     value before calling copy)"
                )
            }))
        }
        Some(value) => {
            let copy = run.heap.deep_copy(value)?;
            run.set(&path, copy)
        }
    }
}

/// Appends by reference. What is no list becomes one with what it was in front; an empty text was only a placeholder.
fn merge(run: &Run<'_>, target: &Target, source: &Target) -> Result<(), Failure> {
    let Some(path) = run.place(target)? else { return Err(nameless(run, "merge")) };
    let source = run.place(source)?;
    let name = || source.as_ref().map_or_else(String::new, |source| source.text.to_string());
    let value = match source.as_ref().and_then(|source| run.get(source)) {
        None => {
            let missing = failed(run, "merge", &path, || format!("source field \"{}\": field not set", name()));
            return Err(match missing {
                Failure::Error(fault) => Failure::Skipped(fault),
                other => other,
            });
        }
        Some(Value::Text("")) => {
            return Err(failed(run, "merge", &path, || format!("source field \"{}\": field is empty", name())));
        }
        Some(value) => value,
    };
    let list = match run.get(&path) {
        Some(Value::List(list)) => list,
        other => {
            let list = run.heap.list()?;
            match other {
                None | Some(Value::Text("")) => {}
                Some(first) => list.push(&run.heap, first)?,
            }
            run.set(&path, Value::List(list))?;
            list
        }
    };
    match value {
        Value::List(more) => {
            // Up to its length now: a list can be merged into itself.
            let length = more.len();
            run.step(length as u64 / 4)?;
            for at in 0..length {
                if let Some(element) = more.get(at) {
                    list.push(&run.heap, element)?;
                }
            }
            Ok(())
        }
        value => list.push(&run.heap, value),
    }
}

fn convert(run: &Run<'_>, target: &Target, kind: Kind) -> Result<(), Failure> {
    let Some(path) = run.place(target)? else { return Ok(()) };
    let Some(value) = run.get(&path) else { return Ok(()) };
    let converted = match value {
        Value::List(list) => {
            run.step(list.len() as u64 / 4)?;
            let converted = run.heap.list()?;
            let mut at = 0;
            while let Some(element) = list.get(at) {
                match convert::convert(run, element, kind)? {
                    Ok(value) => converted.push(&run.heap, value)?,
                    Err(why) => return Err(failed(run, "convert", &path, || why)),
                }
                at += 1;
            }
            Value::List(converted)
        }
        value => match convert::convert(run, value, kind)? {
            Ok(value) => value,
            Err(why) => return Err(failed(run, "convert", &path, || why)),
        },
    };
    run.set(&path, converted)
}

impl Substitution {
    fn run(&self, run: &Run<'_>) -> Result<(), Failure> {
        let Some(path) = run.place(&self.field)? else { return Ok(()) };
        let text = match run.get(&path) {
            None => return Ok(()),
            Some(Value::Text(text)) => text,
            Some(value) => {
                return Err(failed(run, "gsub", &path, || format!("field is of type {}", value.type_name())));
            }
        };
        let made;
        let regex = match &self.pattern {
            Pattern::Fixed(regex) => regex,
            Pattern::Made(template) => {
                let pattern = match run.expand(template)? {
                    Ok(pattern) => pattern,
                    Err(missing) => {
                        return Err(failed(run, "gsub", &path, || {
                            format!("source field \"{}\": field not set", missing.text)
                        }));
                    }
                };
                match condition::made(run, pattern)? {
                    Some(regex) => {
                        made = regex;
                        &made
                    }
                    None => {
                        return Err(failed(run, "gsub", &path, || format!("\"{pattern}\" is no regular expression")));
                    }
                }
            }
        };
        let with = match run.expand(&self.with)? {
            Ok(with) => with,
            Err(missing) => {
                return Err(failed(run, "gsub", &path, || format!("source field \"{}\": field not set", missing.text)));
            }
        };
        match substitute(run, regex, text, with)? {
            Some(changed) => run.set_text(&path, &changed),
            None => Ok(()),
        }
    }
}

/// A replacement of one match may become so long before it is looked at whether there is room for it.
const EXPANDED_BYTES_UNSEEN: usize = 64 << 10;

/// The text with every match replaced; `None` where nothing matches. `$1` and `${name}` stand for groups.
fn substitute(run: &Run<'_>, regex: &Regex, text: &str, with: &str) -> Result<Option<String>, Failure> {
    let room = run.heap.left();
    let groups_used = with.bytes().filter(|byte| *byte == b'$').count();
    let mut changed = String::new();
    let mut copied = 0;
    let mut count = 0_u64;
    let Regex { regex, weight } = regex;
    weight.charge(run, text.len())?;
    let mut extend = |changed: &mut String, found: std::ops::Range<usize>, captures: Option<&regex::Captures<'_>>| {
        changed.push_str(&text[copied..found.start]);
        match captures {
            Some(captures) => {
                // Each `$` may stand for all that was matched; what is small is looked at afterwards.
                let most = found.len().saturating_mul(groups_used);
                if most > EXPANDED_BYTES_UNSEEN && most > room {
                    return Err(Failure::Limit(Limit::Memory));
                }
                captures.expand(with, changed);
            }
            None => changed.push_str(with),
        }
        copied = found.end;
        count += 1;
        run.step(u64::from(count.is_multiple_of(16)))?;
        weight.charge_next(run, text.len() - found.end)?;
        // Replacing each of many places by a long text is how a text explodes.
        if changed.len() > room { Err(Failure::Limit(Limit::Memory)) } else { Ok(()) }
    };
    if with.contains('$') {
        for captures in regex.captures_iter(text) {
            let found = captures.get(0).expect("the whole match is always there").range();
            weight.charge_groups(run, found.len())?;
            extend(&mut changed, found, Some(&captures))?;
        }
    } else {
        for found in regex.find_iter(text) {
            extend(&mut changed, found.range(), None)?;
        }
    }
    if count == 0 {
        return Ok(None);
    }
    changed.push_str(&text[copied..]);
    Ok(Some(changed))
}

fn turn(run: &Run<'_>, target: &Target, case: Case) -> Result<(), Failure> {
    let Some(path) = run.place(target)? else { return Ok(()) };
    let turned = |text: &str| {
        run.step_bytes(text.len())?;
        Ok(match case {
            Case::Lower => text.to_lowercase(),
            Case::Upper => text.to_uppercase(),
        })
    };
    match run.get(&path) {
        None => Ok(()),
        Some(Value::Text(text)) => run.set_text(&path, &turned(text)?),
        Some(Value::List(list)) => {
            run.step(list.len() as u64 / 4)?;
            let mut at = 0;
            while let Some(element) = list.get(at) {
                if let Value::Text(text) = element {
                    list.replace(at, Value::Text(run.heap.text(&turned(text)?)?));
                }
                at += 1;
            }
            Ok(())
        }
        Some(value) => {
            let name = match case {
                Case::Lower => "lowercase",
                Case::Upper => "uppercase",
            };
            Err(failed(run, name, &path, || format!("field is of type {}", value.type_name())))
        }
    }
}

fn split_text(run: &Run<'_>, source: &Target, separator: &Template, target: &Target) -> Result<(), Failure> {
    let Some(source) = run.place(source)? else { return Ok(()) };
    let text = match run.get(&source) {
        None => return Ok(()),
        Some(Value::Text(text)) => text,
        Some(value) => {
            return Err(failed(run, "split", &source, || format!("field is of type {}", value.type_name())));
        }
    };
    let Some(target) = run.place(target)? else { return Err(nameless(run, "split")) };
    let separator = match run.expand(separator)? {
        Ok(separator) => separator,
        Err(missing) => {
            return Err(failed(run, "split", &target, || format!("source field \"{}\": field not set", missing.text)));
        }
    };
    run.step_bytes(text.len())?;
    let list = run.heap.list()?;
    if separator.is_empty() {
        // Go's strings.Split cuts between all characters then.
        let mut start = 0;
        for (end, _) in text.char_indices().skip(1).chain([(text.len(), ' ')]) {
            if start < end {
                list.push(&run.heap, Value::Text(&text[start..end]))?;
            }
            start = end;
        }
    } else {
        for part in text.split(separator) {
            list.push(&run.heap, Value::Text(part))?;
        }
    }
    run.step(list.len() as u64 / 4)?;
    run.set(&target, Value::List(list))
}
