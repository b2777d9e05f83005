//! From the tree of a program to what runs: names become numbers, texts become templates, regular expressions are
//! compiled, options are read. After this nothing is parsed again, however many logs come.
//!
//! What cannot run is an error; what the language lets pass (an option or function that nobody knows) is left out here
//! and is the linter's to tell.

use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::path::{Path, Target, Template};
use crate::plugins::Plugin;
use crate::plugins::xpath::Xpath;
use crate::re2;
use crate::run::condition::{self, Condition};
use crate::run::mutate::{self, Function};
use crate::syntax::ast::{self, Node, Span, Word};
use crate::value::{DEPTH_MAX, Name, Names};

/// The largest a compiled regular expression may be, in bytes.
pub const REGEX_BYTES_MAX: usize = 10 << 20;

/// The most that all regular expressions of a program may take together, in bytes. The public parser with the most takes
/// four million.
pub const REGEXES_BYTES_MAX: usize = 128 << 20;

/// With so many errors compiling is given up: nobody reads more.
pub const ERRORS_MAX: usize = 20;

/// So many warnings are kept.
pub const WARNINGS_MAX: usize = 1_000;

/// For how many names that nobody knows one is looked for that was meant.
const SUGGESTIONS_MAX: usize = 200;

/// The code of a program.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) body: Vec<Statement>,
    pub(crate) names: Names,
    pub(crate) known: Known,
    /// How many statements there are, and how many branches.
    pub(crate) statements: u32,
    pub(crate) branches: u32,
}

/// Names that the machine itself uses.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) message: Name,
    pub(crate) output: Name,
    pub(crate) create_timestamp: Name,
    pub(crate) collection_timestamp: Name,
    pub(crate) timezone: Name,
    pub(crate) on_error_count: Name,
    pub(crate) enable_for_loop: Name,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) op: Op,
    /// Its number in the program, in the order of the source, from 0.
    pub(crate) id: u32,
    /// Its number in its block, which Google's messages name.
    pub(crate) index: u32,
    pub(crate) span: Span,
}

/// What a statement does.
#[derive(Debug)]
pub(crate) enum Op {
    Plugin {
        name: &'static str,
        plugin: Plugin,
        on_error: Option<Path>,
    },
    Mutate {
        functions: Vec<Function>,
        on_error: Option<Path>,
    },
    Drop {
        tag: Box<str>,
    },
    Statedump {
        label: Box<str>,
    },
    If {
        branches: Vec<Branch>,
        otherwise: Option<(Vec<Statement>, u32)>,
    },
    For(For),
    /// A plugin that does nothing: its name is not known.
    Nothing,
}

/// One condition with its block.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) condition: Condition,
    pub(crate) body: Vec<Statement>,
    /// Its number among all branches of the program.
    pub(crate) id: u32,
}

/// A loop.
#[derive(Debug)]
pub(crate) struct For {
    pub(crate) index: Option<Path>,
    pub(crate) item: Path,
    pub(crate) over: Over,
    pub(crate) map: bool,
    pub(crate) body: Vec<Statement>,
    /// The number of its block among all branches of the program.
    pub(crate) branch: u32,
}

/// What a loop goes through.
#[derive(Debug)]
pub(crate) enum Over {
    Field(Target),
    Xml { field: Target, xpath: Xpath },
}

/// What compiling gathers.
pub(crate) struct Build {
    pub(crate) names: Names,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What regular expressions may still take.
    pub(crate) regex_room: re2::Room,
    /// How many of the diagnostics were looked at, and how many of these are errors.
    counted: usize,
    errors: usize,
    suggestions_left: usize,
    statements: u32,
    branches: u32,
}

impl Build {
    pub(crate) fn new() -> Build {
        Build {
            names: Names::default(),
            diagnostics: Vec::new(),
            regex_room: re2::Room::default(),
            counted: 0,
            errors: 0,
            suggestions_left: SUGGESTIONS_MAX,
            statements: 0,
            branches: 0,
        }
    }

    /// Notes an error.
    pub(crate) fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(code, span, message));
    }

    /// Whether there are so many errors that it makes no sense to go on.
    pub(crate) fn is_hopeless(&mut self) -> bool {
        let new = &self.diagnostics[self.counted..];
        self.errors += new.iter().filter(|found| found.severity == Severity::Error).count();
        self.counted = self.diagnostics.len();
        self.errors >= ERRORS_MAX
    }

    /// Notes what does not keep the program from running.
    pub(crate) fn warning(&mut self, found: Diagnostic) {
        if self.diagnostics.len() < WARNINGS_MAX {
            self.diagnostics.push(found);
        }
    }

    /// Whether another regular expression makes no sense: the program does not run anyway, which was told.
    pub(crate) fn is_regex_hopeless(&mut self) -> bool {
        self.regex_room.is_spent() || self.is_hopeless()
    }

    /// The known name that may have been meant.
    pub(crate) fn suggest<'k>(&mut self, name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
        self.suggestions_left = self.suggestions_left.checked_sub(1)?;
        nearest(name, known)
    }

    /// The path that a word names.
    pub(crate) fn path(&mut self, word: &Word) -> Path {
        Path::new(&word.text, &mut self.names)
    }

    /// The place that a word names, with fields in its name.
    pub(crate) fn target(&mut self, word: &Word) -> Target {
        Target::new(&word.text, &mut self.names)
    }

    /// The template that a word is.
    pub(crate) fn template(&mut self, word: &Word) -> Template {
        Template::new(&word.text, &mut self.names)
    }

    /// Compiles a regular expression in RE2's syntax; an error at the span where it is none. None is compiled any more once
    /// there is no room for another, or nobody would read the error.
    pub(crate) fn regex(&mut self, pattern: &str, span: Span) -> Option<re2::Regex> {
        if self.is_regex_hopeless() {
            return None;
        }
        match re2::compile_in(pattern, &mut self.regex_room) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.error("regex", span, format!("this is no regular expression of RE2: {error}"));
                None
            }
        }
    }
}

/// The options of a call, as the plugins ask for them.
pub(crate) struct Options<'a> {
    pub(crate) plugin: &'a ast::Plugin,
}

impl<'a> Options<'a> {
    /// All entries with this name, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a ast::Entry> {
        let name = name.to_owned();
        self.plugin.options.iter().filter(move |entry| entry.key.text == name)
    }

    /// The last word given for an option. A list of one word is that word.
    pub(crate) fn word(&self, name: &str) -> Option<&'a Word> {
        self.all(name).filter_map(|entry| word_of(&entry.value)).last()
    }

    /// All words given for an option: one, or a list.
    pub(crate) fn words(&self, name: &str) -> Vec<&'a Word> {
        self.all(name).flat_map(|entry| words_of(&entry.value)).collect()
    }

    /// Whether an option is `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.word(name).is_some_and(|word| word.text.eq_ignore_ascii_case("true"))
    }

    /// The entries of all maps given for an option. An array of pairs, as older programs write it, is read as a map.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(&'a Word, &'a Node)> {
        self.all(name).flat_map(|entry| pairs_of(&entry.value)).collect()
    }

    /// Where the call stands.
    pub(crate) fn span(&self) -> Span {
        self.plugin.name.span
    }

    /// The word of an option that has to be there.
    pub(crate) fn required(&self, name: &str, build: &mut Build) -> Option<&'a Word> {
        let word = self.word(name);
        if word.is_none() {
            let message = format!("{} needs {name}", self.plugin.name.text);
            build.diagnostics.push(
                Diagnostic::error("missing-option", self.span(), message)
                    .help(format!("Add {name} => \"…\" between its braces.")),
            );
        }
        word
    }
}

/// The word that a value is.
pub(crate) fn word_of(node: &Node) -> Option<&Word> {
    match node {
        Node::Word(word) => Some(word),
        Node::Array(nodes, _) if nodes.len() == 1 => word_of(&nodes[0]),
        _ => None,
    }
}

/// The words that a value is or holds.
pub(crate) fn words_of(node: &Node) -> Vec<&Word> {
    match node {
        Node::Word(word) => vec![word],
        Node::Array(nodes, _) => nodes.iter().flat_map(words_of).collect(),
        Node::Map(..) => Vec::new(),
    }
}

/// The entries of a value.
pub(crate) fn pairs_of(node: &Node) -> Vec<(&Word, &Node)> {
    match node {
        Node::Map(entries, _) => entries.iter().map(|entry| (&entry.key, &entry.value)).collect(),
        Node::Array(nodes, _) => nodes
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [Node::Word(key), value] => Some((key, value)),
                _ => None,
            })
            .collect(),
        Node::Word(_) => Vec::new(),
    }
}

/// Compiles a whole file. Errors are in the result beside warnings; code is there if there is no error.
pub(crate) fn compile(file: &ast::File) -> (Option<Code>, Vec<Diagnostic>) {
    let mut build = Build::new();
    let known = Known {
        message: build.names.intern("message"),
        output: build.names.intern("@output"),
        create_timestamp: build.names.intern("@createTimestamp"),
        collection_timestamp: build.names.intern("@collectionTimestamp"),
        timezone: build.names.intern("@timezone"),
        on_error_count: build.names.intern("@onErrorCount"),
        enable_for_loop: build.names.intern("@enableCbnForLoop"),
    };
    let body = block(&file.body, &mut build);
    let failed = build.diagnostics.iter().any(|found| found.severity == Severity::Error);
    let Build { names, mut diagnostics, statements, branches, .. } = build;
    let mut errors = 0;
    diagnostics.retain(|found| {
        errors += usize::from(found.severity == Severity::Error);
        found.severity != Severity::Error || errors <= ERRORS_MAX
    });
    ((!failed).then_some(Code { body, names, known, statements, branches }), diagnostics)
}

fn block(statements: &[ast::Statement], build: &mut Build) -> Vec<Statement> {
    let mut compiled = Vec::with_capacity(statements.len());
    for (index, written) in statements.iter().enumerate() {
        if build.is_hopeless() {
            break;
        }
        compiled.push(statement(written, index as u32, build));
    }
    compiled
}

fn statement(written: &ast::Statement, index: u32, build: &mut Build) -> Statement {
    let id = build.statements;
    build.statements += 1;
    let op = match &written.kind {
        ast::StatementKind::Plugin(plugin) => plugin_op(plugin, build),
        ast::StatementKind::If(chain) => {
            let branches = chain
                .branches
                .iter()
                .map(|branch| {
                    let id = next_branch(build);
                    let condition = condition::compile(&branch.condition, build);
                    Branch { condition, body: block(&branch.body, build), id }
                })
                .collect();
            let otherwise = chain.otherwise.as_ref().map(|(body, _)| {
                let id = next_branch(build);
                (block(body, build), id)
            });
            Op::If { branches, otherwise }
        }
        ast::StatementKind::For(written) => {
            let branch = next_branch(build);
            let over = match &written.over {
                ast::Over::Field(field) => Over::Field(build.target(field)),
                ast::Over::Xml { field, xpath } => {
                    Over::Xml { field: build.target(field), xpath: Xpath::compile(xpath, build) }
                }
            };
            Op::For(For {
                index: written.index.as_ref().map(|word| build.path(word)),
                item: build.path(&written.item),
                over,
                map: written.map,
                body: block(&written.body, build),
                branch,
            })
        }
    };
    if build.names.take_depth() > DEPTH_MAX {
        let message = format!("a field cannot lie deeper than {DEPTH_MAX} levels");
        build.error("nesting", written.span, message);
    }
    Statement { op, id, index, span: written.span }
}

fn next_branch(build: &mut Build) -> u32 {
    build.branches += 1;
    build.branches - 1
}

fn plugin_op(plugin: &ast::Plugin, build: &mut Build) -> Op {
    let options = Options { plugin };
    let on_error = options.word("on_error").map(|word| build.path(word));
    let name = plugin.name.text.to_ascii_lowercase();
    match name.as_str() {
        "mutate" => Op::Mutate { functions: mutate::compile(&options, build), on_error },
        "drop" => {
            let tag = options.all("tag").chain(options.all("TAG")).filter_map(|entry| word_of(&entry.value)).last();
            Op::Drop { tag: tag.map_or("TAG_UNSPECIFIED", |word| &word.text).into() }
        }
        "statedump" => Op::Statedump { label: options.word("label").map_or("", |word| &word.text).into() },
        other => match Plugin::compile(other, &options, build) {
            Some(Some(plugin)) => {
                let name = crate::plugins::NAMES.into_iter().find(|known| *known == other);
                Op::Plugin { name: name.expect("every plugin that compiles has a name in the list"), plugin, on_error }
            }
            Some(None) => {
                let mut found =
                    Diagnostic::error("unknown-plugin", plugin.name.span, format!("there is no plugin named {other}"));
                if let Some(near) = build.suggest(other, crate::plugins::NAMES) {
                    found = found.help(format!("Did you mean {near}?"));
                }
                build.diagnostics.push(found);
                Op::Nothing
            }
            None => Op::Nothing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    /// A program of a mebibyte: the beginning, one piece after the other, the end.
    fn long(head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
        let mut source = head.to_owned();
        for number in 0.. {
            let next = piece(number);
            if source.len() + next.len() + tail.len() > 1 << 20 {
                break;
            }
            source.push_str(&next);
        }
        source + tail
    }

    /// Compiling any program of a mebibyte is bounded: by counts, since times depend on the machine.
    #[test]
    fn what_compiling_takes_is_bounded() {
        let grok =
            |piece: &dyn Fn(usize) -> String| long("filter { grok { match => { \"message\" => [", piece, "] } } }");
        let table = [
            ("many patterns", grok(&|n| format!("\"(?P<a>x{n})\","))),
            ("many large patterns", grok(&|n| format!("\"%{{IPV6:a}}{n}\","))),
            ("patterns that are too large", grok(&|n| format!("\"(?P<a>(?:\\\\pL{{100}}){{10}}x{n})\","))),
            ("large patterns that fit", grok(&|n| format!("\"(?P<a>\\\\pL{{9}}x{n})\","))),
            ("long patterns that RE2 refuses", grok(&|_| format!("\"{}(?=\",", "%{IPV6}".repeat(90)))),
            ("short ones", grok(&|_| "\"(?=\",".to_owned())),
            ("names that nobody knows", grok(&|n| format!("\"%{{IPV{n}:a}}\","))),
            ("classes without end", grok(&|_| format!("\"(?P<a>{})\",", "\\\\pL".repeat(20_000)))),
            ("folding", grok(&|n| format!("\"(?P<a>(?i)[\\\\x{{80}}-\\\\x{{10FFFF}}]{n})\","))),
            (
                "substitutions",
                long("filter { mutate { gsub => [", |n| format!("\"a\", \"\\\\pL+x{n}\", \"b\","), "] } }"),
            ),
            ("that are none", long("filter { mutate { gsub => [", |_| "\"a\", \"(\", \"b\",".to_owned(), "] } }")),
            ("conditions", long("filter { if ", |n| format!("[a] =~ \"[0-9]+x{n}\" or "), "[b] { drop {} } }")),
            ("that are none", long("filter { if ", |_| "[a] =~ \"(\" or ".to_owned(), "[b] { drop {} } }")),
            (
                "dictionaries",
                long(
                    "filter { translate { source => \"a\" regex => true dictionary => {",
                    |n| format!("\"[0-9]+x{n}\" => \"b\" "),
                    "} } }",
                ),
            ),
            ("conversions", long("filter { mutate { convert => {", |n| format!("\"a\" => \"in{n}\" "), "} } }")),
            ("plugins", long("filter { ", |n| format!("jso{n} {{}} "), "}")),
        ];
        for (rule, source) in table {
            let file = parse::parse(&source).unwrap_or_else(|found| panic!("{rule}: {found:?}"));
            let mut build = Build::new();
            block(&file.body, &mut build);
            assert!(build.regex_room.work() <= re2::WORK_MAX, "{rule}");
            // A room that is spent is told once.
            let spent = build.diagnostics.iter().filter(|found| found.message.contains("in all")).count();
            assert_eq!(spent, usize::from(build.regex_room.is_spent()), "{rule}");
            let (_, found) = compile(&file);
            let errors = found.iter().filter(|found| found.severity == Severity::Error).count();
            assert!(
                errors <= ERRORS_MAX && found.len() <= WARNINGS_MAX + ERRORS_MAX,
                "{rule}: {errors}, {}",
                found.len()
            );
        }
    }
}
