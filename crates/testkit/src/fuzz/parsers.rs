//! The targets that read parsers and the logs for them: the crate `cbn`. What they begin from stands there, beside the
//! functions that are called; here is what such inputs are made of.

use std::sync::Arc;

use cbn::fuzz::{DIVIDER, Fuzz, LOGS, PROGRAMS, Seen};
use cbn::syntax::ast::{Entry, Node, Over, Span, Statement, StatementKind};
use cbn::syntax::parse;
use rand::Rng;
use rand::rngs::StdRng;

use super::{Shown, Syntax, Target, outline};

pub(super) fn targets() -> Vec<Target> {
    let fuzz = Arc::new(Fuzz::new());
    let target = |name, seeds, syntax, change, call: fn(&Fuzz, &[u8]) -> Seen| {
        let fuzz = Arc::clone(&fuzz);
        let run = Box::new(move |bytes: &[u8], shown: &mut Shown| show(call(&fuzz, bytes), shown));
        Target { name, seeds, syntax, change, run }
    };
    let grafted: Option<fn(&mut StdRng, &[u8], &[u8]) -> Option<Vec<u8>>> = Some(grafted);
    let texts = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let mut programs = texts(&PROGRAMS);
    programs.extend(texts(&SMALL_PROGRAMS));
    let both = SMALL_PROGRAMS.iter().chain(&PROGRAMS).zip(LOGS.iter().cycle());
    let both = both.map(|(program, log)| [*program, *log].join(DIVIDER).into_bytes()).collect();
    vec![
        target("cbn_program", programs, PROGRAM, grafted, Fuzz::program),
        target("cbn_log", texts(&LOGS), LOG, None, Fuzz::log),
        target("cbn_both", both, PROGRAM, grafted, Fuzz::both),
        target("cbn_regex", texts(&REGEXES), REGEX, None, Fuzz::regex),
    ]
}

fn show(seen: Seen, shown: &mut Shown) {
    if seen.valid {
        shown.valid();
    }
    shown.took_bytes(seen.used.memory_bytes.max(seen.used.arena_bytes));
    shown.note((seen.used.steps.checked_ilog2(), seen.used.memory_bytes.checked_ilog2()));
    for (what, text) in seen.notes {
        shown.note((what, outline(&text)));
    }
}

/// A program with a part of another one in it, or around a part of it: statements, conditions, values and names, each in
/// the place of its like, so that it mostly stays a program. What stands behind the divider stays.
fn grafted(random: &mut StdRng, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (input, log) = program_of(input)?;
    let (other, _) = program_of(other)?;
    let there = Parts::of(other)?;
    let pick =
        |random: &mut StdRng, from: &[Span]| (!from.is_empty()).then(|| from[random.random_range(0..from.len())]);
    let mut program = input.to_owned();
    for _ in 0..random.random_range(1..4) {
        let Some(here) = Parts::of(&program) else { break };
        let (at, with) = match random.random_range(0..10) {
            0..4 => {
                let at = pick(random, &here.statements)?;
                let statement = &other[range(pick(random, &there.statements)?)];
                let place = if random.random_bool(0.5) { at.start } else { at.end };
                (Span { start: place, end: place }, format!(" {statement} "))
            }
            4 => (pick(random, &here.statements)?, String::new()),
            5 | 6 => {
                let at = pick(random, &here.statements)?;
                let condition = pick(random, &there.conditions).map_or("[a]", |span| &other[range(span)]);
                let inside = &program[range(at)];
                let around = match random.random_range(0..4) {
                    0 => format!("if {condition} {{ {inside} }}"),
                    1 => format!("if {condition} {{ }} else {{ {inside} }}"),
                    2 => format!("for x in {} {{ {inside} }}", ["a", "l", "m", "list"][random.random_range(0..4)]),
                    _ => format!("for k, v in {} map {{ {inside} }}", ["a", "m", "e"][random.random_range(0..3)]),
                };
                (at, around)
            }
            7 => (pick(random, &here.conditions)?, other[range(pick(random, &there.conditions)?)].to_owned()),
            8 => (pick(random, &here.values)?, other[range(pick(random, &there.values)?)].to_owned()),
            _ => (pick(random, &here.words)?, other[range(pick(random, &there.words)?)].to_owned()),
        };
        program.replace_range(range(at), &with);
    }
    program.push_str(log);
    (program.len() <= PROGRAM.bytes_max).then(|| program.into_bytes())
}

/// The program of an input, and what follows it.
fn program_of(input: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(input).ok()?;
    Some(text.split_at(text.find(DIVIDER).unwrap_or(text.len())))
}

fn range(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}

/// Where the parts of a program stand.
#[derive(Default)]
struct Parts {
    statements: Vec<Span>,
    conditions: Vec<Span>,
    values: Vec<Span>,
    words: Vec<Span>,
}

impl Parts {
    /// `None` for what is no program.
    fn of(source: &str) -> Option<Parts> {
        let file = parse::parse(source).ok()?;
        let mut parts = Parts::default();
        parts.block(&file.body);
        Some(parts)
    }

    fn block(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statements.push(statement.span);
            match &statement.kind {
                StatementKind::Plugin(plugin) => {
                    self.words.push(plugin.name.span);
                    self.entries(&plugin.options);
                }
                StatementKind::If(chain) => {
                    for branch in &chain.branches {
                        self.conditions.push(branch.condition.span);
                        self.block(&branch.body);
                    }
                    if let Some((body, _)) = &chain.otherwise {
                        self.block(body);
                    }
                }
                StatementKind::For(looped) => {
                    self.words.push(looped.item.span);
                    let (Over::Field(field) | Over::Xml { field, .. }) = &looped.over;
                    self.words.push(field.span);
                    self.block(&looped.body);
                }
            }
        }
    }

    fn entries(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.words.push(entry.key.span);
            self.node(&entry.value);
        }
    }

    fn node(&mut self, node: &Node) {
        self.values.push(node.span());
        match node {
            Node::Word(_) => {}
            Node::Array(nodes, _) => nodes.iter().for_each(|node| self.node(node)),
            Node::Map(entries, _) => self.entries(entries),
        }
    }
}

/// Short ones: changes of these are more often still programs, and each does something.
const SMALL_PROGRAMS: [&str; 14] = [
    r#"filter { grok { match => { "message" => ["%{IP:ip} %{WORD:w}", "(?P<a>.*)=%{GREEDYDATA:b}"] } overwrite => ["a"] } }"#,
    r#"filter { json { source => "message" } for x in list { mutate { merge => { "y" => "x" } } } statedump {} }"#,
    r#"filter { mutate { replace => { "a" => "%{message}" "b.%{a}" => "x" } on_error => "e" } if [e] { drop {} } }"#,
    r#"filter { kv { source => "message" field_split => " ," value_split => "=:" trim_value => "\"" on_error => "e" } }"#,
    r#"filter { csv { source => "message" separator => ";" } mutate { convert => { "column1" => "integer" } } }"#,
    r#"filter { xml { source => "message" xpath => { "/a/b[1]/@id" => "x" } } for i, b in xml(message, /a/b) { } }"#,
    r#"filter { mutate { gsub => ["message", "(a+)(b)?", "<$1>"] split => { source => "message" separator => "x" } } }"#,
    r#"filter { date { match => ["message", "ISO8601", "MMM d HH:mm:ss"] timezone => "UTC" rebase => true } }"#,
    r#"filter { if [message] =~ "^a|\\d" and [n] > 1 or not [x] in ["a", 5, true] { } else if "a" not in [b] { } else { } }"#,
    r#"filter { mutate { replace => { "e.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } }
        mutate { rename => { "message" => "e.idm.read_only_udm.metadata.description" } merge => { "@output" => "e" } } }"#,
    r#"filter { for k, v in m map { for i, x in v { mutate { copy => { "z" => "x" } remove_field => ["m"] } } } }"#,
    r#"filter { translate { source => "message" target => "t" regex => true dictionary => { "a.*" => "%{message}" } } }"#,
    "# first\nfilter {\n  mutate { # second\n    replace = { 'a' : \"b\", }\n  } # third\n}\n# last\n",
    r#"filter { json { source => "message" } mutate { lowercase => ["a"] uppercase => ["b"] merge => { "a" => "b" "a" => "a" } } }"#,
];

const PROGRAM: Syntax = Syntax {
    words: &[
        "message",
        "a",
        "\"a\"",
        "\"%{a}\"",
        "\"%{a.b}-%{message}\"",
        "=>",
        "{",
        "}",
        "on_error => \"e\"",
        "\"message\"",
        "[",
        "]",
        "[a]",
        "[a][b]",
        "[a.0]",
        "![a]",
        "\"a.%{b}\"",
        "\"@output\"",
        "\"event\"",
        "filter",
        "mutate",
        "grok",
        "json",
        "kv",
        "csv",
        "xml",
        "date",
        "base64",
        "translate",
        "drop",
        "statedump",
        "if",
        "else",
        "else if",
        "for",
        "in",
        "not in",
        "map",
        "and",
        "or",
        "not",
        "&&",
        "||",
        "==",
        "!=",
        "=~",
        "!~",
        "<",
        ">=",
        "=",
        ":",
        ",",
        "#",
        "true",
        "false",
        "1",
        "-1.5",
        "\"\"",
        "''",
        "'a \"b'",
        "\"\\\\\\\\d\"",
        "\"\\\"\"",
        "/a/b",
        "xml(message, /a/b)",
        "source",
        "target",
        "match",
        "overwrite",
        "match_all => true",
        "replace",
        "rename",
        "merge",
        "copy",
        "convert",
        "gsub",
        "split",
        "lowercase",
        "uppercase",
        "remove_field",
        "comvert",
        "field_split",
        "value_split",
        "separator",
        "timezone",
        "dictionary",
        "fallback",
        "xpath",
        "array_function => \"split_columns\"",
        "\"integer\"",
        "\"string\"",
        "\"float\"",
        "\"bytes\"",
        "\"ipaddress\"",
        "\"parseduseragent\"",
        "\"ISO8601\"",
        "\"UNIX\"",
        "\"yyyy-MM-dd HH:mm:ss\"",
        "%{IP:a}",
        "%{GREEDYDATA:b}",
        "%{DATA}",
        "(?P<a>.*)",
        "event.idm.read_only_udm",
        "event.idm.entity",
        "metadata",
        "additional.fields",
        "principal.ip",
        "target",
        "mutate { merge => { \"m\" => \"m\" } }",
        "mutate { replace => { \"a\" => \"%{a}%{a}\" } }",
        "if [a] { }",
        "for x in a { }",
        "\u{feff}",
        "\u{a0}",
    ],
    wraps: &[
        ("if [a] { ", " }"),
        ("for x in list { ", " }"),
        ("for k, v in m map { ", " }"),
        ("[", "]"),
        ("{ ", " }"),
        ("(", ")"),
        ("!", ""),
        ("not (", ")"),
        ("\"", "\""),
        ("%{", "}"),
        ("[a", "]"),
        ("(?:", ")*"),
    ],
    joins: &[" ", "\n", ", ", " and ", " or ", " ", "\n  ", ".", ""],
    is_binary: false,
    bytes_max: 12 << 10,
};

const LOG: Syntax = Syntax {
    words: &[
        "\"a\"",
        "=",
        "1",
        ",",
        "\"",
        ":",
        "a",
        " ",
        "null",
        "{}",
        "[]",
        "true",
        "1e308",
        "0.1",
        "\"a.b\"",
        "\"a.0\"",
        "\"name\"",
        "\"list\"",
        "\"idm\"",
        "\"read_only_udm\"",
        "\"entity\"",
        "\"metadata\"",
        "\"event_type\"",
        "\"USER_LOGIN\"",
        "\"event_timestamp\"",
        "\"seconds\"",
        "\"nanos\"",
        "\"principal\"",
        "\"target\"",
        "\"asset\"",
        "\"ip\"",
        "\"mac\"",
        "\"hostname\"",
        "\"asset_id\"",
        "\"user\"",
        "\"additional\"",
        "\"fields\"",
        "\"key\"",
        "\"value\"",
        "\"string_value\"",
        "\"list_value\"",
        "\"values\"",
        "\"struct_value\"",
        "\"security_result\"",
        "\"action\"",
        "\"labels\"",
        "\"network\"",
        "\"http\"",
        "\"parsed_user_agent\"",
        "\"sent_bytes\"",
        "\"duration\"",
        "\"location\"",
        "\"latitude\"",
        "\"relations\"",
        "<a>",
        "</a>",
        "<b id=\"1\">",
        "</b>",
        "<c/>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?xml?>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]>",
        "&lt;",
        "&#x0;",
        "&b;",
        " xmlns:n=\"u\"",
        "src=",
        "a=\"b c\"",
        "\\\"",
        ";",
        "|",
        "\t",
        "\r\n",
        "\n",
        "\"\"",
        "2026-02-29",
        "T24:00:00",
        "Dec 31 23:59:60",
        "+14:00",
        "America/New_York",
        "CEST",
        "@4000000037c219bf2ef02e94",
        "133484284560000000",
        "10.0.0.1",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "00:11:22:33:44:55",
        "0xff",
        "SGVsbG8=",
        "Mozilla/5.0 (",
        "-1",
        "18446744073709551616",
    ],
    wraps: &[
        ("{\"a\": ", "}"),
        ("[", "]"),
        ("<a>", "</a>"),
        ("\"", "\""),
        ("{\"a.b\": ", "}"),
        ("a=", " "),
        ("(", ")"),
    ],
    joins: &[",", " ", "=", ";", "\n", ": ", ""],
    is_binary: false,
    bytes_max: 12 << 10,
};

/// With a text to match, behind the divider.
const REGEXES: [&str; 16] = [
    "^(?P<a>[^,]*),\\s*(\\d+)$\n%%%\nabc, 12",
    "(a+)+b|c{2,5}?\n%%%\naaaacccb",
    "(?i)straße|\\x{212a}\n%%%\nSTRASSE",
    "[[:alpha:]\\d_-]+\\b\n%%%\nab-1 é",
    "\\Qa.b\\E\\.\\076\n%%%\na.b.>",
    "(?s:.)*?x(?U)y*\n%%%\na\nxyy",
    "\\pL\\p{Greek}\\PN\n%%%\naα1",
    "{a}[a&&b](?:x|y|)z?\n%%%\n{a}b",
    "(?m)^a$|\\Ab\\z\n%%%\nb\na",
    "((((a?)?)?)?){10}\n%%%\naaa",
    "(x{1,30}){1,30}\n%%%\nxxx",
    "(?<n>a)(?P<n>b)\n%%%\nab",
    "[^\\w\\s.]|\\C\n%%%\n!",
    ".*x|a\n%%%\naaaaaaaaaa",
    "1\\w{100}2\n%%%\n10101",
    "(.*?),(.*?),(.*)\n%%%\na,b,c",
];

const REGEX: Syntax = Syntax {
    words: &[
        "a",
        ".",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "[",
        "]",
        "^",
        "$",
        "{1,3}",
        "{1000}",
        "{0}",
        "{2,",
        "*?",
        "(?:",
        "(?i)",
        "(?P<a>",
        "(?<b>",
        "(?s)",
        "(?-m:",
        "\\d",
        "\\W",
        "\\s",
        "\\b",
        "\\B",
        "\\A",
        "\\z",
        "\\Z",
        "\\pL",
        "\\p{Greek}",
        "\\PN",
        "\\x{10ffff}",
        "\\x41",
        "\\0",
        "\\101",
        "\\Q",
        "\\E",
        "\\C",
        "\\1",
        "\\<",
        "\\",
        "[^a-z]",
        "[[:alpha:]]",
        "[[:^digit:]]",
        "[]a]",
        "[a-\\d]",
        "[--/]",
        "[&&]",
        "é",
        "\u{212a}",
        "-",
        "&&",
        "~~",
        "1",
        "0",
        "\n%%%\n",
        "(?=a)",
        "(?>a)",
        "x{1,100}",
    ],
    wraps: &[
        ("(", ")"),
        ("(?:", ")*"),
        ("(?i:", ")"),
        ("[", "]"),
        ("(", "){2,3}"),
        ("(?P<c>", ")?"),
        ("\\Q", "\\E"),
        ("(", "){30}"),
    ],
    joins: &["|", "", ".*", "?", ")("],
    is_binary: false,
    bytes_max: 2 << 10,
};
