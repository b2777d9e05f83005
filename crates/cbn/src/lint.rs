//! The linter: what runs and is surely, or probably, not meant so.
//!
//! It reads the tree alone. `lint/access.rs` says what each call reads and sets; `lint/names.rs` looks at names,
//! `lint/flow.rs` follows fields through the program (`lint/state.rs` is what it knows at one place), `lint/udm.rs` holds
//! events against the schema. What cannot run at all is the compiler's to tell.
//!
//! Nothing is told on suspicion: what a log may bring is taken as possible, and the rule for a new finding is that the
//! parsers which Google ships and which work are quiet, or wrong.
//!
//! `# lint: ignore CODE, CODE (reason)` at the end of a line, or on the line before, switches findings off that begin there.

mod access;
mod flow;
mod names;
mod state;
mod udm;

use std::collections::{BTreeSet, HashMap};

use ::udm::Schema;

use self::access::{Act, Place, Reader, steps};
use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::syntax::ast::{File, Span, Statement, StatementKind};

/// All kinds of findings: the code, how bad it is, and what it says.
pub const CODES: &[(&str, Severity, &str)] = &[
    ("block-order", Severity::Warning, "a function of a block runs before one that is written in front of it"),
    ("compare-types", Severity::Warning, "a comparison of values whose types are never equal"),
    ("constant-condition", Severity::Warning, "a condition whose answer is known before a log comes"),
    ("convert-type", Severity::Hint, "a field of UDM is converted to another type than it holds"),
    ("duplicate-key", Severity::Warning, "a key stands twice in one map, and the second undoes the first"),
    ("duplicate-option", Severity::Warning, "an option is given twice"),
    ("flag-unread", Severity::Hint, "flags of on_error are set, and nothing asks for them"),
    ("flag-unset", Severity::Warning, "a condition asks for a flag that nothing sets before"),
    ("grok-no-capture", Severity::Warning, "a pattern of grok names no field, so it never counts as a match"),
    ("grok-regex", Severity::Warning, "RE2 refuses a pattern of grok, so it never matches"),
    ("lint-comment", Severity::Hint, "a comment switches off a kind of finding that there is not"),
    ("merged-alias", Severity::Warning, "a map is changed while a list holds it, and merged again"),
    ("message-text", Severity::Warning, "a text is put where a message belongs"),
    ("missing-overwrite", Severity::Warning, "grok captures a field that is set, without overwrite"),
    ("needs-convert", Severity::Warning, "a text is put into a field of UDM that holds numbers or truths"),
    ("no-output", Severity::Warning, "nothing is put into @output"),
    ("not-text", Severity::Warning, "a field that is no text is put into a text"),
    ("repeated-replace", Severity::Warning, "a text is put into a field of UDM that is a list"),
    (
        "similar-name",
        Severity::Hint,
        "a field that nothing sets is read, and its name is a letter away from one that is set",
    ),
    ("singular-merge", Severity::Warning, "something is merged into a field of UDM that is no list"),
    ("statedump", Severity::Warning, "a statedump was left in"),
    ("unknown-enum", Severity::Warning, "a text is no value of the enum that the field holds"),
    ("unknown-function", Severity::Warning, "mutate ignores a function that it does not have"),
    ("unknown-option", Severity::Warning, "a plugin ignores an option that it does not have"),
    ("unknown-plugin", Severity::Error, "there is no such plugin"),
    ("unknown-tag", Severity::Warning, "drop has no such tag"),
    ("unknown-udm-field", Severity::Warning, "UDM has no such field"),
    ("unreachable", Severity::Warning, "statements or branches that no log reaches"),
    ("unset-read", Severity::Warning, "a field is read that nothing sets before"),
];

/// How many findings are told at most; a program with more is told these first.
pub const FINDINGS_MAX: usize = 2_000;

/// For how many findings names are compared to find what may have been meant.
const SUGGESTIONS_MAX: usize = 200;

/// The longest name that is compared.
const NAME_BYTES_MAX: usize = 200;

/// What may be wrong with a program, in the order of the source.
pub fn lint(file: &File, source: &str, schema: &Schema) -> Vec<Diagnostic> {
    lint_with(file, source, schema, Vec::new())
}

/// The same with what compiling it found, of which comments switch the warnings off, too.
pub fn lint_with(file: &File, source: &str, schema: &Schema, compiled: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let reader = Reader { source };
    let mut found = Findings::new(file, reader);
    names::check(&file.body, &mut found);
    flow::check(&file.body, reader, &mut found);
    udm::check(&file.body, reader, schema, &mut found);
    // The linter tells some of it with more words.
    let told = |one: &Diagnostic| found.found.iter().any(|told| told.code == one.code && told.span == one.span);
    let new: Vec<Diagnostic> = compiled.into_iter().filter(|one| !told(one)).collect();
    found.found.extend(new);
    found.finish(file)
}

/// Gathers findings.
struct Findings<'a> {
    found: Vec<Diagnostic>,
    /// Where each line begins.
    lines: Vec<u32>,
    /// Names that the program sets, for suggestions.
    set: BTreeSet<String>,
    suggestions_left: usize,
    source: &'a str,
}

impl<'a> Findings<'a> {
    fn new(file: &'a File, reader: Reader<'a>) -> Findings<'a> {
        let breaks = reader.source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect();
        let mut set = BTreeSet::new();
        names_set(&file.body, reader, &mut set);
        Findings { found: Vec::new(), lines, set, suggestions_left: SUGGESTIONS_MAX, source: reader.source }
    }

    fn push(&mut self, found: Diagnostic) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push(found);
        }
    }

    /// The number of the line that a span begins in, from 1.
    fn line(&self, span: Span) -> u32 {
        self.lines.partition_point(|start| *start <= span.start) as u32
    }

    /// The name that the program sets and that is nearest to one that it does not.
    fn suggest_set(&mut self, name: &str) -> Option<String> {
        // Two short names differ by a letter without being slips of each other.
        if name.len() < 4 || name.len() > NAME_BYTES_MAX || self.suggestions_left == 0 {
            return None;
        }
        self.suggestions_left -= 1;
        let lower = name.to_lowercase();
        let slips = if name.len() < 8 { 1 } else { 2 };
        self.set
            .iter()
            .filter(|known| known.len().abs_diff(name.len()) <= slips && **known != name)
            .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
            .filter(|(distance, _)| *distance <= slips)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known.clone())
    }

    /// Whether the program sets a field, one above or one below it.
    fn sets(&self, name: &str) -> bool {
        let below = format!("{name}.");
        let above = name.match_indices('.').any(|(at, _)| self.set.contains(&name[..at]));
        above
            || self.set.contains(name)
            || self.set.range(below.clone()..).next().is_some_and(|first| first.starts_with(&below))
    }

    /// The name that the program sets and from which one is a single slip away. Another number, a plural, another sign
    /// between words or another case are no slips: what a log calls `a.b`, programs like to call `a_b`.
    fn similar_set(&mut self, name: &str) -> Option<String> {
        let letters = |name: &str| -> String {
            let letters =
                name.chars().filter(|c| c.is_alphabetic()).map(|c| c.to_ascii_lowercase()).collect::<String>();
            letters.trim_end_matches('s').to_owned()
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        if name.len() < 8 || last.len() < 5 {
            return None;
        }
        let near = self.suggest_set(name)?;
        (strsim::damerau_levenshtein(name, &near) == 1 && letters(name) != letters(&near)).then_some(near)
    }

    /// The findings that no comment switches off, in the order of the source.
    fn finish(mut self, file: &File) -> Vec<Diagnostic> {
        let mut off: HashMap<u32, BTreeSet<&str>> = HashMap::new();
        for comment in &file.comments {
            let text = comment.text.trim_start_matches('#').trim();
            let Some(rest) = text.strip_prefix("lint:").map(str::trim_start) else { continue };
            let Some(codes) = rest.strip_prefix("ignore") else { continue };
            // What follows is for people: why.
            let codes = codes.split('(').next().unwrap_or_default();
            let codes = codes.split(" - ").next().unwrap_or_default();
            let line = self.line(comment.span);
            let start = self.lines[line as usize - 1] as usize;
            let alone = self.source[start..comment.span.start as usize].trim().is_empty();
            let of = if alone { self.next_line(line) } else { line };
            for code in codes.split([',', ' ', '\t']).filter(|code| !code.is_empty()) {
                if CODES.iter().any(|(known, ..)| *known == code) {
                    off.entry(of).or_default().insert(code);
                } else {
                    let message = format!("there is no kind of finding named {}", names::clip(code));
                    let unknown = Diagnostic::hint("lint-comment", comment.span, message).label("switches nothing off");
                    let near = suggest(code, CODES.iter().map(|(known, ..)| *known));
                    self.push(match near {
                        Some(near) => unknown.help(format!("Did you mean {near}?")),
                        None => unknown,
                    });
                }
            }
        }
        let mut found = std::mem::take(&mut self.found);
        found.retain(|found| {
            let is_off = off.get(&self.line(found.span)).is_some_and(|codes| codes.contains(found.code));
            !is_off || found.severity == Severity::Error
        });
        found.sort_by_key(|found| (found.span.start, found.severity, found.code));
        found.dedup();
        found
    }

    /// The first line after one that is more than a comment.
    fn next_line(&self, line: u32) -> u32 {
        let mut next = line as usize;
        while let Some(start) = self.lines.get(next) {
            let text = self.source[*start as usize..].split('\n').next().unwrap_or_default().trim_start();
            if !text.is_empty() && !text.starts_with('#') {
                break;
            }
            next += 1;
        }
        next as u32 + 1
    }
}

/// The known name that one is nearest to, if it is a slip.
fn suggest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    nearest(name, known.into_iter().filter(|known| known.len() <= NAME_BYTES_MAX && *known != name))
}

/// The names that a program sets.
fn names_set(body: &[Statement], reader: Reader<'_>, set: &mut BTreeSet<String>) {
    fn add(path: &[&str], set: &mut BTreeSet<String>) {
        if path.len() <= 8 && set.len() < 5_000 {
            set.insert(path.join("."));
        }
    }
    for statement in body {
        match &statement.kind {
            StatementKind::Plugin(plugin) => {
                for act in reader.acts(plugin) {
                    match &act {
                        Act::Put { to: Place::At(path), .. }
                        | Act::Transfer { to: Place::At(path), .. }
                        | Act::List { to: Place::At(path), .. }
                        | Act::Time { to: Place::At(path), .. }
                        | Act::Capture { to: path, .. } => add(path, set),
                        // What `json` and its like find is below their target, and not known.
                        Act::Open(Place::At(path)) if !reader.fills(plugin) => add(path, set),
                        _ => {}
                    }
                }
                if let Some(flag) = (crate::compile::Options { plugin }).word("on_error") {
                    add(&steps(&flag.text), set);
                }
            }
            StatementKind::If(chain) => {
                for branch in &chain.branches {
                    names_set(&branch.body, reader, set);
                }
                if let Some((body, _)) = &chain.otherwise {
                    names_set(body, reader, set);
                }
            }
            StatementKind::For(looped) => {
                for word in looped.index.iter().chain([&looped.item]) {
                    add(&steps(&word.text), set);
                }
                names_set(&looped.body, reader, set);
            }
        }
    }
}
