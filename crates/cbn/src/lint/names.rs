//! Names that the engine lets pass without a word: options and functions that nobody knows (contracts/cbn.md §1.1), texts
//! given twice, flags that nobody asks for; and statements that do not belong into a finished program.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::access::{all_words, fields_of, steps};
use super::{Findings, suggest};
use crate::compile::{Options, pairs_of, word_of, words_of};
use crate::diagnostic::Diagnostic;
use crate::plugins;
use crate::run::mutate;
use crate::syntax::ast::{
    Condition, ConditionKind, Entry, Node, Operand, Over, Plugin, Span, Statement, StatementKind, Word,
};

/// The options of each plugin (contracts/cbn.md §1.5). Those of `mutate` are its functions.
const OPTIONS: &[(&str, &[&str])] = &[
    ("base64", &["source", "target", "encoding", "on_error"]),
    ("csv", &["source", "separator", "target", "lazy_quotes", "unescape_separator", "on_error"]),
    ("date", &["match", "target", "timezone", "rebase", "on_error"]),
    ("drop", &["tag", "TAG"]),
    ("grok", &["match", "overwrite", "match_all", "on_error"]),
    ("json", &["source", "target", "array_function", "on_error"]),
    (
        "kv",
        &[
            "source",
            "target",
            "field_split",
            "value_split",
            "whitespace",
            "trim_value",
            "trim_key",
            "unescape_field_split",
            "unescape_value_split",
            "on_error",
        ],
    ),
    ("statedump", &["label"]),
    ("translate", &["source", "field", "target", "destination", "dictionary", "fallback", "regex", "on_error"]),
    ("xml", &["source", "xpath", "on_error"]),
];

/// The tags that a `drop` may have (Google's documentation, and shipped parsers for the last).
const TAGS: [&str; 5] =
    ["TAG_UNSUPPORTED", "TAG_MALFORMED_ENCODING", "TAG_MALFORMED_MESSAGE", "TAG_NO_SECURITY_VALUE", "TAG_UNSPECIFIED"];

/// Looks through a program.
pub(super) fn check<'a>(body: &'a [Statement], found: &mut Findings<'a>) {
    let mut seen = Seen::default();
    block(body, &mut seen, found);
    if !seen.outputs {
        let span = body.last().map_or(Span::default(), |last| last.span);
        found.push(
            Diagnostic::warning("no-output", span, "nothing is ever put into @output, so no log gives an event")
                .label("ends without an event")
                .help("Add mutate { merge => { \"@output\" => \"event\" } } where the event is complete."),
        );
    }
    flags(&seen, found);
}

/// What is gathered over the whole program.
#[derive(Default)]
struct Seen<'a> {
    outputs: bool,
    /// Every `on_error`, in order.
    set: Vec<&'a Word>,
    /// First steps of everything that is read, and whole paths.
    read: HashSet<String>,
}

impl<'a> Seen<'a> {
    fn reads(&mut self, path: &str) {
        let path = steps(path);
        self.read.insert(path[0].to_owned());
        self.read.insert(path.join("."));
    }

    fn reads_of(&mut self, node: &'a Node) {
        let mut words = Vec::new();
        all_words(node, &mut words);
        for word in words {
            self.reads_in(&word.text);
        }
    }

    fn reads_in(&mut self, text: &str) {
        for field in fields_of(text) {
            self.reads(field);
        }
    }
}

fn block<'a>(body: &'a [Statement], seen: &mut Seen<'a>, found: &mut Findings<'a>) {
    for statement in body {
        match &statement.kind {
            StatementKind::Plugin(called) => plugin(called, statement.span, seen, found),
            StatementKind::If(chain) => {
                for branch in &chain.branches {
                    condition(&branch.condition, seen);
                    block(&branch.body, seen, found);
                }
                if let Some((body, _)) = &chain.otherwise {
                    block(body, seen, found);
                }
            }
            StatementKind::For(looped) => {
                match &looped.over {
                    Over::Field(word) => seen.reads(&word.text),
                    Over::Xml { field, xpath } => {
                        seen.reads(&field.text);
                        seen.reads_in(&xpath.text);
                    }
                }
                block(&looped.body, seen, found);
            }
        }
    }
}

fn condition(asked: &Condition, seen: &mut Seen<'_>) {
    fn operand(side: &Operand, seen: &mut Seen<'_>) {
        match side {
            Operand::Field(word) => seen.reads(&word.text),
            Operand::List(list, _) => list.iter().for_each(|each| operand(each, seen)),
            Operand::Not(inner, _) => operand(inner, seen),
            Operand::Text(_) | Operand::Number(..) | Operand::Bool(..) => {}
        }
    }
    match &asked.kind {
        ConditionKind::Or(parts) | ConditionKind::And(parts) => parts.iter().for_each(|part| condition(part, seen)),
        ConditionKind::Not(inner) | ConditionKind::Group(inner) => condition(inner, seen),
        ConditionKind::Compare(left, _, right) => {
            operand(left, seen);
            operand(right, seen);
        }
        ConditionKind::Match { subject, pattern, .. } => {
            operand(subject, seen);
            operand(pattern, seen);
        }
        ConditionKind::In { needle, haystack, .. } => {
            operand(needle, seen);
            operand(haystack, seen);
        }
        ConditionKind::Truth(side) => operand(side, seen),
    }
}

fn plugin<'a>(plugin: &'a Plugin, span: Span, seen: &mut Seen<'a>, found: &mut Findings<'a>) {
    let name = plugin.name.text.to_ascii_lowercase();
    let options = Options { plugin };
    seen.set.extend(options.word("on_error").filter(|word| !word.text.is_empty()));
    for entry in &plugin.options {
        seen.reads_of(&entry.value);
    }
    match name.as_str() {
        "mutate" => {
            for entry in &plugin.options {
                function(entry, seen, found);
            }
            // A function may be called twice in one block; the flag cannot be set twice.
            twice(plugin, |entry| entry.key.text == "on_error", found);
            order(plugin, found);
            return;
        }
        "statedump" => found.push(
            Diagnostic::warning("statedump", span, "statedump is for looking into a program while it is written")
                .label("left in")
                .help("Take it out: Google accepts no parser with it."),
        ),
        "drop" => {
            if let Some(word) = options.word("tag").filter(|word| !TAGS.contains(&word.text.as_str())) {
                let message = format!("drop knows no tag {}", clip(&word.text));
                let found_here = Diagnostic::warning("unknown-tag", word.span, message).label("not a tag");
                found.push(match suggest(&word.text, TAGS) {
                    Some(near) => found_here.help(format!("Did you mean {near}?")),
                    None => found_here.help(format!("The tags are {}.", TAGS.join(", "))),
                });
            }
        }
        _ => {}
    }
    for name in ["source", "match"] {
        for entry in options.all(name) {
            match &entry.value {
                Node::Word(word) => seen.reads(&word.text),
                Node::Array(..) => {
                    if let Some(word) = words_of(&entry.value).first() {
                        seen.reads(&word.text);
                    }
                }
                Node::Map(entries, _) => entries.iter().for_each(|entry| seen.reads(&entry.key.text)),
            }
        }
    }
    let Some((_, known)) = OPTIONS.iter().find(|(plugin, _)| *plugin == name) else {
        let message = format!("there is no plugin named {}", clip(&plugin.name.text));
        let unknown = Diagnostic::error("unknown-plugin", plugin.name.span, message).label("not a plugin");
        found.push(match suggest(&name, plugins::NAMES) {
            Some(near) => unknown.help(format!("Did you mean {near}?")),
            None => unknown,
        });
        return;
    };
    for entry in &plugin.options {
        if !known.contains(&entry.key.text.as_str()) {
            let message = format!("{name} has no option {}, so this is ignored", clip(&entry.key.text));
            let unknown = Diagnostic::warning("unknown-option", entry.key.span, message).label("ignored");
            found.push(match suggest(&entry.key.text, known.iter().copied()) {
                Some(near) => unknown.help(format!("Did you mean {near}?")),
                None => unknown.help(format!("Its options are {}.", known.join(", "))),
            });
        }
    }
    twice(plugin, |_| true, found);
    if name == "grok" {
        for entry in options.all("match") {
            keys_twice(entry, found);
        }
    }
}

/// The fields that a function names: those that it changes, and all.
#[derive(Default)]
struct Named {
    changed: BTreeSet<String>,
    all: BTreeSet<String>,
}

impl Named {
    fn of(entry: &Entry) -> Named {
        let mut named = Named::default();
        let function = entry.key.text.to_ascii_lowercase();
        let path = |word: &Word| steps(&word.text).join(".");
        let mut words = Vec::new();
        all_words(&entry.value, &mut words);
        for word in &words {
            named.all.extend(fields_of(&word.text).map(|field| steps(field).join(".")));
        }
        for (key, value) in pairs_of(&entry.value) {
            named.all.insert(path(key));
            match function.as_str() {
                "rename" => {
                    named.changed.insert(path(key));
                    named.changed.extend(words_of(value).into_iter().map(path));
                }
                "copy" | "merge" => {
                    named.changed.insert(path(key));
                    named.all.extend(words_of(value).into_iter().map(path));
                }
                _ => {
                    named.changed.insert(path(key));
                }
            }
        }
        match function.as_str() {
            "gsub" => named.changed.extend(words.chunks(3).map(|triple| path(triple[0]))),
            "lowercase" | "uppercase" | "remove_field" => named.changed.extend(words.iter().map(|word| path(word))),
            // Whatever it names: which of its words are fields depends on how it is written.
            "split" => named.changed.extend(words.iter().map(|word| path(word))),
            _ => {}
        }
        named.all.extend(named.changed.iter().cloned());
        named
    }

    /// A field that one of the two changes and the other one names.
    fn meets<'n>(&'n self, other: &'n Named) -> Option<&'n String> {
        self.changed.intersection(&other.all).next().or_else(|| self.all.intersection(&other.changed).next())
    }
}

/// Tells of a function that runs before one that is written in front of it, where the order makes a difference.
fn order<'a>(plugin: &'a Plugin, found: &mut Findings<'a>) {
    let functions: Vec<(usize, &Entry, Named)> = plugin
        .options
        .iter()
        .filter_map(|entry| Some((mutate::rank_of(&entry.key.text)?, entry, Named::of(entry))))
        .collect();
    for (at, (rank, entry, named)) in functions.iter().enumerate() {
        let met = functions[..at]
            .iter()
            .filter(|(before, ..)| before > rank)
            .find_map(|(_, first, others)| Some((first, others.meets(named)?)));
        if let Some((first, shared)) = met {
            let (entry_name, first_name) = (&entry.key.text, &first.key.text);
            let message =
                format!("{entry_name} runs before {first_name} of the same block, and both name {}", clip(shared));
            found.push(
                Diagnostic::warning("block-order", entry.key.span, message)
                    .label("runs first")
                    .help("The functions of a block run in Logstash's order; put this one into a mutate of its own."),
            );
        }
    }
}

/// Tells of options that are given twice.
fn twice<'a>(plugin: &'a Plugin, of: impl Fn(&Entry) -> bool, found: &mut Findings<'a>) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for entry in plugin.options.iter().filter(|entry| of(entry)) {
        if let Some(before) = first.insert(&entry.key.text, entry.key.span) {
            let message = format!("{} is given twice; the last one counts", clip(&entry.key.text));
            found.push(
                Diagnostic::warning("duplicate-option", entry.key.span, message)
                    .label("given before")
                    .help(format!("The first stands at line {}.", found.line(before))),
            );
        }
    }
}

/// Tells of keys that stand twice in a map where the second undoes the first.
fn keys_twice<'a>(entry: &'a Entry, found: &mut Findings<'a>) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for (key, _) in pairs_of(&entry.value) {
        if let Some(before) = first.insert(&key.text, key.span) {
            let message = format!("{} stands twice in this {}", clip(&key.text), entry.key.text);
            found.push(
                Diagnostic::warning("duplicate-key", key.span, message)
                    .label("stands before")
                    .help(format!("The first stands at line {}.", found.line(before))),
            );
        }
    }
}

fn function<'a>(entry: &'a Entry, seen: &mut Seen<'a>, found: &mut Findings<'a>) {
    let pairs = || pairs_of(&entry.value);
    match entry.key.text.to_ascii_lowercase().as_str() {
        "replace" | "convert" => {
            for (key, _) in pairs() {
                seen.reads_in(&key.text);
                seen.outputs |= is_output(&key.text);
            }
            keys_twice(entry, found);
        }
        "rename" => {
            for (key, value) in pairs() {
                seen.reads(&key.text);
                seen.outputs |= word_of(value).is_some_and(|word| is_output(&word.text));
            }
            keys_twice(entry, found);
        }
        "copy" | "merge" => {
            for (key, value) in pairs() {
                seen.outputs |= is_output(&key.text);
                for word in words_of(value) {
                    seen.reads(&word.text);
                }
            }
        }
        "gsub" | "lowercase" | "uppercase" | "split" | "remove_field" | "on_error" => {}
        other => {
            let message = format!("mutate has no function {}, so this is ignored", clip(other));
            let unknown = Diagnostic::warning("unknown-function", entry.key.span, message).label("ignored");
            found.push(match suggest(other, mutate::NAMES) {
                Some(near) => unknown.help(format!("Did you mean {near}?")),
                None => unknown.help(format!("Its functions are {}.", mutate::NAMES.join(", "))),
            });
        }
    }
}

fn is_output(path: &str) -> bool {
    steps(path)[0] == "@output"
}

/// One hint for all flags that nobody asks for: most programs give an `on_error` only so that a failure ends nothing.
fn flags<'a>(seen: &Seen<'a>, found: &mut Findings<'a>) {
    let mut unread: BTreeMap<u32, String> = BTreeMap::new();
    let mut told: HashSet<String> = HashSet::new();
    let mut first: Option<Span> = None;
    for word in &seen.set {
        let name = steps(&word.text).join(".");
        if !seen.read.contains(&name) && told.insert(name.clone()) {
            first = first.or(Some(word.span));
            unread.insert(word.span.start, name);
        }
    }
    let Some(first) = first else { return };
    let names: Vec<&str> = unread.values().take(5).map(|name| clip(name)).collect();
    let message = match unread.len() {
        1 => format!("the flag {} is set, and never asked for", names[0]),
        many => format!("{many} flags are set, and never asked for"),
    };
    let rest = if unread.len() > names.len() { ", …" } else { "" };
    found.push(
        Diagnostic::hint("flag-unread", first, message)
            .label("never asked for")
            .help(format!("Failures pass unseen: {}{rest}.", names.join(", "))),
    );
}

/// A path, short enough for a message.
pub(super) fn named(path: &[&str]) -> String {
    let whole = path.join(".");
    let short = clip(&whole);
    if short.len() < whole.len() { format!("{short}…") } else { whole }
}

/// A text of the program, short enough for a message.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}
