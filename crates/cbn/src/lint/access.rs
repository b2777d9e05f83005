//! What a call does to the state, as far as the text of the program tells: fields read, set, moved, captured. Both the
//! walk in the order of the source (`flow.rs`) and the checks against the schema (`udm.rs`) read programs through this.
//!
//! Values are not followed here, and what a plugin finds in a log is not known: it may set anything below its target.

use crate::compile::{Options, pairs_of, word_of, words_of};
use crate::run::mutate;
use crate::syntax::ast::{self, Node, Span, Word};

/// The steps of a path.
pub(super) type Steps<'a> = Vec<&'a str>;

/// How many steps of a path are told apart. Values are not nested deeper (`value::DEPTH_MAX`).
const STEPS_MAX: usize = 64;

/// The steps of a path as written.
pub(super) fn steps(written: &str) -> Steps<'_> {
    let mut steps = crate::path::split(written);
    steps.truncate(STEPS_MAX);
    steps
}

/// Where something is put.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place<'a> {
    /// At this path.
    At(Steps<'a>),
    /// Anywhere below this path, since the rest of the name is only known at run time. Without steps: anywhere.
    Below(Steps<'a>),
}

/// What reads a field, which decides what happens when it is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `%{field}`: an error, also where the field is no text.
    Template,
    /// `%{field}` in an XPath, which may be a number, too.
    XPath,
    /// A comparison: ends the log.
    Comparison,
    /// Alone in a condition: false.
    Truth,
    /// The source of a plugin: an error.
    Source,
    /// A source of `copy`: an error.
    Copy,
    /// A source of `merge`: nothing is appended.
    Merge,
    /// A source of `rename`: nothing is moved.
    Rename,
    /// `convert`, `gsub` and the like: nothing is changed.
    Change,
    /// What a loop goes through: no turn.
    Loop,
}

/// A text that is put somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Put<'a> {
    /// Always the same.
    Constant(&'a str),
    /// The text of one field, and nothing else.
    Field(&'a str),
    /// Text with fields in it.
    Text,
}

/// How something is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Rename,
    Copy,
    Merge,
}

/// One thing that a call does.
#[derive(Debug)]
pub(super) enum Act<'a> {
    Read {
        path: Steps<'a>,
        span: Span,
        how: How,
    },
    /// `replace`, and the text that another function makes.
    Put {
        to: Place<'a>,
        key: &'a Word,
        value: Put<'a>,
        word: Option<&'a Word>,
    },
    Transfer {
        from: Place<'a>,
        to: Place<'a>,
        from_word: &'a Word,
        to_word: &'a Word,
        how: Transfer,
    },
    Convert {
        at: Place<'a>,
        word: &'a Word,
        kind: &'a Word,
    },
    /// `gsub`, `lowercase`, …: a text stays a text.
    Change {
        at: Place<'a>,
        word: &'a Word,
    },
    /// A list takes the place of what is there.
    List {
        to: Place<'a>,
        word: &'a Word,
    },
    Remove(Place<'a>),
    /// A text comes out of a log.
    Capture {
        to: Steps<'a>,
        span: Span,
        overwrite: bool,
    },
    /// `date`: a point in time.
    Time {
        to: Place<'a>,
        word: Option<&'a Word>,
    },
    /// Anything may be set below.
    Open(Place<'a>),
    /// `column1`, `column2`, … may be set below.
    Columns(Place<'a>),
}

/// Reads what calls do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a str,
}

impl<'a> Reader<'a> {
    /// What a call does, in order, without its `on_error`.
    pub(super) fn acts(self, plugin: &'a ast::Plugin) -> Vec<Act<'a>> {
        let options = Options { plugin };
        let mut acts = Vec::new();
        match plugin.name.text.to_ascii_lowercase().as_str() {
            "mutate" => {
                // In the order in which they run, which is not that of the source.
                let mut entries: Vec<&'a ast::Entry> = plugin.options.iter().collect();
                entries.sort_by_key(|entry| mutate::rank_of(&entry.key.text));
                for entry in entries {
                    self.function(entry, &mut acts);
                }
            }
            "grok" => self.grok(&options, &mut acts),
            "date" => {
                if let Some(word) = options.words("match").first().copied() {
                    self.read_named(word, How::Source, &mut acts);
                }
                self.templates(options.word("timezone"), &mut acts);
                match options.word("target") {
                    Some(word) => {
                        let to = self.place(word, &mut acts);
                        acts.push(Act::Time { to, word: Some(word) });
                    }
                    None => acts.push(Act::Time { to: Place::At(vec!["@timestamp"]), word: None }),
                }
            }
            "json" | "kv" => {
                self.source(&options, &mut acts);
                let target = self.target(&options, &mut acts);
                acts.push(Act::Open(target));
            }
            "csv" => {
                self.source(&options, &mut acts);
                let target = self.target(&options, &mut acts);
                if options.all("columns").next().is_some() {
                    acts.push(Act::Open(target.clone()));
                }
                acts.push(Act::Columns(target));
            }
            "xml" => {
                self.source(&options, &mut acts);
                let target = self.target(&options, &mut acts);
                let pairs = options.pairs("xpath");
                for (xpath, field) in &pairs {
                    self.xpath(xpath, &mut acts);
                    if let Some(word) = word_of(field) {
                        let to = self.place(word, &mut acts);
                        acts.push(Act::Open(to));
                    }
                }
                if pairs.is_empty() || options.word("target").is_some() {
                    acts.push(Act::Open(target));
                }
            }
            "base64" | "translate" => {
                // `translate` takes Logstash's names of the two as well.
                let source = options.word("source").or_else(|| options.word("field"));
                if let Some(word) = source {
                    self.read_named(word, How::Source, &mut acts);
                }
                let target = options.word("target").or_else(|| options.word("destination"));
                if let Some(word) = target.or(source) {
                    let to = self.place(word, &mut acts);
                    acts.push(Act::Open(to));
                }
                self.templates(options.word("fallback"), &mut acts);
            }
            "drop" | "statedump" => {}
            // Nobody knows what a plugin that nobody knows would have done.
            _ => acts.push(Act::Open(Place::Below(Vec::new()))),
        }
        acts
    }

    /// Whether a call sets whatever it finds, under names that the log chooses.
    pub(super) fn fills(self, plugin: &ast::Plugin) -> bool {
        let name = &plugin.name.text;
        ["csv", "json", "kv"].iter().any(|filling| name.eq_ignore_ascii_case(filling))
    }

    fn function(self, entry: &'a ast::Entry, acts: &mut Vec<Act<'a>>) {
        let transfer = |how: Transfer, from_key: bool, acts: &mut Vec<Act<'a>>| {
            for (key, value) in pairs_of(&entry.value) {
                for word in words_of(value) {
                    let (from_word, to_word) = if from_key { (key, word) } else { (word, key) };
                    let from = self.named(from_word, acts);
                    let to = self.place(to_word, acts);
                    acts.push(Act::Transfer { from, to, from_word, to_word, how });
                }
            }
        };
        match entry.key.text.to_ascii_lowercase().as_str() {
            "replace" => {
                for (key, value) in pairs_of(&entry.value) {
                    let Some(word) = word_of(value) else { continue };
                    self.templates(Some(word), acts);
                    let to = self.place(key, acts);
                    acts.push(Act::Put { to, key, value: put(&word.text), word: Some(word) });
                }
            }
            "rename" => transfer(Transfer::Rename, true, acts),
            "copy" => transfer(Transfer::Copy, false, acts),
            "merge" => transfer(Transfer::Merge, false, acts),
            "convert" => {
                for (key, value) in pairs_of(&entry.value) {
                    let Some(kind) = word_of(value) else { continue };
                    let at = self.place(key, acts);
                    acts.push(Act::Convert { at, word: key, kind });
                }
            }
            "gsub" => {
                for triple in words_of(&entry.value).chunks_exact(3) {
                    self.templates(Some(triple[1]), acts);
                    self.templates(Some(triple[2]), acts);
                    let at = self.place(triple[0], acts);
                    acts.push(Act::Change { at, word: triple[0] });
                }
            }
            "lowercase" | "uppercase" => {
                for word in words_of(&entry.value) {
                    let at = self.place(word, acts);
                    acts.push(Act::Change { at, word });
                }
            }
            "split" => {
                let pairs = pairs_of(&entry.value);
                let option =
                    |name: &str| pairs.iter().find(|(key, _)| key.text == name).and_then(|(_, value)| word_of(value));
                let (source, target) = match option("source") {
                    Some(source) => (Some(source), option("target").or(Some(source))),
                    None => (pairs.first().map(|(key, _)| *key), pairs.first().map(|(key, _)| *key)),
                };
                if let (Some(source), Some(word)) = (source, target) {
                    self.read_named(source, How::Change, acts);
                    let to = self.place(word, acts);
                    acts.push(Act::List { to, word });
                }
            }
            "remove_field" => {
                for word in words_of(&entry.value) {
                    let at = self.place(word, acts);
                    acts.push(Act::Remove(at));
                }
            }
            _ => {}
        }
    }

    fn grok(self, options: &Options<'a>, acts: &mut Vec<Act<'a>>) {
        let overwrite: Vec<Steps<'a>> = options.words("overwrite").into_iter().map(|word| steps(&word.text)).collect();
        let mut captured: Vec<(&'a str, Span)> = Vec::new();
        for (key, patterns) in options.pairs("match") {
            self.read_named(key, How::Source, acts);
            for word in words_of(patterns) {
                for name in captures(&word.text) {
                    captured.push((name, self.narrow(word, name)));
                }
            }
        }
        // Several expressions capture the same fields; the first place stands for all.
        captured.sort_by_key(|(name, span)| (*name, span.start));
        captured.dedup_by_key(|(name, _)| *name);
        captured.sort_by_key(|(_, span)| span.start);
        let match_all = options.flag("match_all");
        for (name, span) in captured {
            let to = steps(name);
            let overwritten = overwrite.contains(&to);
            if match_all {
                acts.push(Act::Open(Place::At(to)));
            } else {
                acts.push(Act::Capture { to, span, overwrite: overwritten });
            }
        }
    }

    fn source(self, options: &Options<'a>, acts: &mut Vec<Act<'a>>) {
        if let Some(word) = options.word("source") {
            self.read_named(word, How::Source, acts);
        }
    }

    /// The target of a plugin that fills it; anywhere without one.
    fn target(self, options: &Options<'a>, acts: &mut Vec<Act<'a>>) -> Place<'a> {
        match options.word("target") {
            Some(word) => self.place(word, acts),
            None => Place::Below(Vec::new()),
        }
    }

    /// The place that a word names; the fields in its name are read.
    pub(super) fn place(self, word: &'a Word, acts: &mut Vec<Act<'a>>) -> Place<'a> {
        let Some(start) = word.text.find("%{").filter(|_| fields_of(&word.text).next().is_some()) else {
            return Place::At(steps(&word.text));
        };
        self.templates(Some(word), acts);
        let known = word.text[..start].rfind(['.', '[', ']']).map_or("", |end| &word.text[..end]);
        Place::Below(steps(known).into_iter().filter(|step| !step.is_empty()).collect())
    }

    /// The field that a source names; some write it as `%{field}`.
    fn named(self, word: &'a Word, acts: &mut Vec<Act<'a>>) -> Place<'a> {
        match word.text.strip_prefix("%{").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.contains(['{', '}']) => Place::At(steps(name)),
            _ => self.place(word, acts),
        }
    }

    fn read_named(self, word: &'a Word, how: How, acts: &mut Vec<Act<'a>>) {
        if let Place::At(path) = self.named(word, acts) {
            acts.push(Act::Read { path, span: word.span, how });
        }
    }

    fn templates(self, word: Option<&'a Word>, acts: &mut Vec<Act<'a>>) {
        let Some(word) = word else { return };
        for field in fields_of(&word.text) {
            acts.push(Act::Read { path: steps(field), span: self.narrow(word, field), how: How::Template });
        }
    }

    /// The fields that an XPath names.
    pub(super) fn xpath(self, word: &'a Word, acts: &mut Vec<Act<'a>>) {
        for field in fields_of(&word.text) {
            acts.push(Act::Read { path: steps(field), span: self.narrow(word, field), how: How::XPath });
        }
    }

    /// Where in a word a part of it stands, if it was typed as it is read; else the whole word.
    fn narrow(self, word: &Word, part: &str) -> Span {
        let whole = word.span;
        let typed = self.source.get(whole.start as usize..whole.end as usize).unwrap_or_default();
        match typed.find(part).filter(|_| !part.is_empty()) {
            Some(at) => {
                let start = whole.start + at as u32;
                Span { start, end: start + part.len() as u32 }
            }
            None => whole,
        }
    }
}

/// What a text of `replace` is.
fn put(text: &str) -> Put<'_> {
    let mut fields = fields_of(text);
    match (fields.next(), fields.next()) {
        (None, _) => Put::Constant(text),
        (Some(field), None) if text.len() == field.len() + 3 => Put::Field(field),
        _ => Put::Text,
    }
}

/// The fields of a template, as written between `%{` and `}`.
pub(super) fn fields_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find("%{")? + 2;
        let length = rest[start..].find('}')?;
        let field = &rest[start..start + length];
        rest = &rest[start + length + 1..];
        Some(field)
    })
}

/// The fields that an expression of grok captures: `%{IP:name}`, `%{INT:name:int}`, `(?P<name>…)`, `(?<name>…)`.
fn captures(pattern: &str) -> impl Iterator<Item = &str> {
    let called = fields_of(pattern).filter_map(|call| {
        let (_, name) = call.split_once(':')?;
        let name = name.split(':').next().unwrap_or(name);
        (!name.is_empty()).then_some(name)
    });
    let groups = pattern.match_indices('<').filter_map(|(at, _)| {
        let before = &pattern[..at];
        if !before.ends_with("(?P") && !before.ends_with("(?") {
            return None;
        }
        let name = pattern[at + 1..].split('>').next().unwrap_or_default();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
        (!name.is_empty() && name.chars().all(is_name)).then_some(name)
    });
    called.chain(groups)
}

/// All words that a call holds, for what only looks for texts.
pub(super) fn all_words<'a>(node: &'a Node, words: &mut Vec<&'a Word>) {
    match node {
        Node::Word(word) => words.push(word),
        Node::Array(nodes, _) => nodes.iter().for_each(|node| all_words(node, words)),
        Node::Map(entries, _) => {
            for entry in entries {
                words.push(&entry.key);
                all_words(&entry.value, words);
            }
        }
    }
}
