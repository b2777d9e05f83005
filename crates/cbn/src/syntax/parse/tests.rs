//! Tests of reading programs.

use super::super::ast::{Comparison, Condition, ConditionKind, Node, Operand, Quote, StatementKind};
use super::super::format::same;
use super::{DEPTH_MAX, ERRORS_MAX, SOURCE_BYTES_MAX, parse};
use crate::diagnostic::{Diagnostic, line_column};

/// What programs may look like, and the plain way to write the same.
#[test]
fn tolerances_read_as_the_plain_form() {
    let plain = "filter { mutate { replace => { \"a\" => \"b\" } on_error => \"c\" } }";
    let branch = "filter { if [a] == \"b\" and [c] != \"d\" or [e] { drop {} } }";
    let list = "filter { if [a] in [\"b\", \"c\"] { drop {} } }";
    let table = [
        (
            "contracts/cbn.md §1.1: white space means nothing",
            plain,
            "filter{mutate{replace=>{\"a\"=>\"b\"}on_error=>\"c\"}}",
        ),
        ("§1.1: `=` for `=>`", plain, "filter { mutate { replace = { \"a\" = \"b\" } on_error = \"c\" } }"),
        ("§1.1: `:` for `=>`", plain, "filter { mutate { replace: { \"a\" : \"b\" } on_error: \"c\" } }"),
        (
            "§1.1: commas between and after entries",
            plain,
            "filter { mutate { replace => { \"a\" => \"b\", }, on_error => \"c\", } }",
        ),
        ("§1.1: both kinds of quotes", plain, "filter { mutate { replace => { 'a' => 'b' } on_error => 'c' } }"),
        ("§1.1: bare words as keys and values", plain, "filter { mutate { replace => { a => b } on_error => c } }"),
        ("§1.1: options in quotes", plain, "filter { mutate { 'replace' => { a => b } \"on_error\" => c } }"),
        (
            "§1.1: BOM and NBSP are white space",
            plain,
            "\u{feff}filter\u{a0}{ mutate { replace\u{a0}=> { a => b } on_error => c } }",
        ),
        ("§1.1: several blocks are one", "filter { drop {} json {} }", "filter { drop {} } filter { json {} }"),
        ("§1.1: `&&` and `||`", branch, "filter { if [a] == \"b\" && [c] != \"d\" || [e] { drop {} } }"),
        ("§1.1: no blank after `if`", branch, "filter { if[a]==\"b\"and[c]!=\"d\"or[e]{drop{}} }"),
        (
            "§1.1: conditions over several lines",
            branch,
            "filter { if [a] == \"b\"\nand\n[c] != \"d\"\nor [e]\n{ drop {} } }",
        ),
        ("blanks within brackets", branch, "filter { if [ a ] == \"b\" and [c ] != \"d\" or [\te] { drop {} } }"),
        ("dots between brackets", "filter { if [a][b] { drop {} } }", "filter { if [a].[b] { drop {} } }"),
        ("§1.1: `IN` in capitals", list, "filter { if [a] IN [\"b\", \"c\"] { drop {} } }"),
        ("§1.1: missing and surplus commas in lists", list, "filter { if [a] in [\"b\" 'c',] { drop {} } }"),
        ("§1.1: lists in parentheses", list, "filter { if [a] in (\"b\", \"c\") { drop {} } }"),
        ("lists in both", list, "filter { if [a] in ([\"b\", \"c\"]) { drop {} } }"),
        ("bare words in lists", list, "filter { if [a] in [b, c] { drop {} } }"),
        ("fields in parentheses", "filter { if [a] in [b] { drop {} } }", "filter { if [a] in ([b]) { drop {} } }"),
        (
            "§1.1: regular expressions in parentheses",
            "filter { if [a] =~ \"b|c\" { drop {} } }",
            "filter { if [a] =~ (\"b|c\") { drop {} } }",
        ),
        (
            "regular expressions between slashes",
            "filter { if [a] =~ \"b|c\\\\d/\" { drop {} } }",
            "filter { if [a] =~ /b|c\\\\d\\// { drop {} } }",
        ),
        (
            "§1.1: missing and surplus commas in arrays",
            "filter { date { match => [\"a\", \"b\"] } }",
            "filter { date { match => [,\"a\" \"b\",,] } }",
        ),
        (
            "`else if` on lines of their own",
            "filter { if [a] { drop {} } else if [b] { drop {} } else { json {} } }",
            "filter { if [a] { drop {} }\n\nelse\nif [b] { drop {} }\n\nelse\n{ json {} } }",
        ),
        (
            "`in` as a variable",
            "filter { for in, x in y {} for in in y {} }",
            "filter { for in,x in y{} for in in y{} }",
        ),
        ("`IN` in loops", "filter { for k, v in a.b map {} }", "filter { for k, v IN a.b map {} }"),
        (
            "XPaths in quotes",
            "filter { for i, x in xml(m, /a[%{i}]/b) {} }",
            "filter { for i, x in xml( \"m\" , '/a[%{i}]/b' ) {} }",
        ),
    ];
    for (rule, plain, given) in table {
        let expected = parse(plain).unwrap_or_else(|found| panic!("{rule}: {found:?}"));
        let read = parse(given).unwrap_or_else(|found| panic!("{rule}: {found:?}"));
        assert!(same(&read, &expected), "{rule}: {read:#?}");
    }
}

/// What texts say.
#[test]
fn texts_lose_their_backslashes() {
    let table = [
        ("contracts/cbn.md §1.2: `\\x` is x for any x", r#""\s\d+""#, "sd+"),
        ("§1.2: so two make one", r#""a\\\\b""#, r"a\\b"),
        ("§1.2: in single quotes, too", r"'\d\\d'", r"d\d"),
        ("the quote itself", r#""say \"hi\"""#, r#"say "hi""#),
        ("the quote itself, single", r"'it\'s'", "it's"),
        ("the other quote stands for itself", r#""it's""#, "it's"),
        ("§1.1: texts over several lines", "\"a\nb\"", "a\nb"),
        ("a backslash before the end of a line", "\"a\\\nb\"", "a\nb"),
        ("empty texts", "''", ""),
        ("no comment in a text", "\"a # b\"", "a # b"),
        ("bare words keep theirs", r"a\b", r"a\b"),
        ("fields in bare words", "a.%{b.c}.d", "a.%{b.c}.d"),
        ("numbers are words", "-1.50", "-1.50"),
    ];
    for (rule, typed, text) in table {
        let source = format!("filter {{ x {{ y => {typed} }} }}");
        let file = parse(&source).unwrap_or_else(|found| panic!("{rule}: {found:?}"));
        let StatementKind::Plugin(plugin) = &file.body[0].kind else { panic!("{rule}: no plugin") };
        let Node::Word(word) = &plugin.options[0].value else { panic!("{rule}: no word") };
        assert_eq!(word.text, text, "{rule}");
        assert_eq!(&source[word.span.start as usize..word.span.end as usize], typed, "{rule}");
    }
}

/// How conditions are put together.
#[test]
fn conditions() {
    let table = [
        ("a field alone is asked whether it is true", "[a]", "a?"),
        ("so is a bare word", "tag", "tag?"),
        ("and a boolean", "true", "true?"),
        ("`and` binds tighter than `or`", "[a] or [b] and [c] or [d]", "(or a? (and b? c?) d?)"),
        ("parentheses", "([a] or [b]) and [c]", "(and {(or a? b?)} c?)"),
        ("contracts/cbn.md §1.6: `![x] != \"\"` compares `![x]`", "![a] != \"\"", "!a != ''"),
        ("and so with the other comparisons", "![a] in [\"b\"] and ![c] =~ \"d\"", "(and !a in ['b'] !c =~ 'd')"),
        ("twice", "!![a] == true", "!!a == true"),
        ("`!` alone negates", "![a] and ![b]", "(and (not a?) (not b?))"),
        ("`!` before parentheses", "!([a] == \"b\")", "(not {a == 'b'})"),
        ("`!!`", "!!([a])", "(not (not {a?}))"),
        ("`not` negates a whole comparison", "not [a] == \"b\" and [c]", "(and (not a == 'b') c?)"),
        ("`not not`", "not not [a]", "(not (not a?))"),
        ("`not in`", "[a] not in [\"b\", 1, true]", "a not in ['b' 1 true]"),
        ("`not … in`", "not [a] in [\"b\"]", "(not a in ['b'])"),
        ("one bare word in brackets is a field", "[a] in [b]", "a in b"),
        ("one number in brackets is a list after `in`", "[a] in [80]", "a in [80]"),
        ("and a field elsewhere", "[a] == [80]", "a == 80"),
        ("one text in brackets is a list", "[a] in [\"b\"]", "a in ['b']"),
        ("an empty list", "[a] in []", "a in []"),
        ("texts are looked for in, too", "\"a\" in \"abc\"", "'a' in 'abc'"),
        ("steps", "[a][b.c][0] == 1", "a b.c 0 == 1"),
        ("names with all sorts of characters", "[x-y z:1/2] == 'a'", "x-y z:1/2 == 'a'"),
        ("numbers", "[a] == -1 or [a] >= 0.5 or [a] < .5", "(or a == -1 a >= 0.5 a < 0.5)"),
        ("what begins with digits need not be a number", "[a] == 1.2.3", "a == 1.2.3"),
        ("booleans", "[a] == false", "a == false"),
        ("both sides may be fields", "[a] <= [b]", "a <= b"),
        ("or texts", "\"a\" > \"b\"", "'a' > 'b'"),
        ("regular expressions", "[a] !~ \"b\\\\.c\"", "a !~ 'b\\.c'"),
        ("regular expressions in a field", "[a] =~ [b]", "a =~ b"),
        (
            "regular expressions between slashes may hold quotes and braces",
            "[a] =~ /\"{'/ and [b]",
            "(and a =~ '\"{'' b?)",
        ),
    ];
    for (rule, given, expected) in table {
        let file = parse(&format!("filter {{ if {given} {{ drop {{}} }} }}"))
            .unwrap_or_else(|found| panic!("{rule}: {found:?}"));
        let StatementKind::If(chain) = &file.body[0].kind else { panic!("{rule}: no condition") };
        assert_eq!(shown(&chain.branches[0].condition), expected, "{rule}");
    }
}

fn shown(condition: &Condition) -> String {
    let all =
        |name: &str, parts: &[Condition]| format!("({name} {})", parts.iter().map(shown).collect::<Vec<_>>().join(" "));
    match &condition.kind {
        ConditionKind::Or(parts) => all("or", parts),
        ConditionKind::And(parts) => all("and", parts),
        ConditionKind::Not(inner) => format!("(not {})", shown(inner)),
        ConditionKind::Group(inner) => format!("{{{}}}", shown(inner)),
        ConditionKind::Truth(operand) => format!("{}?", side(operand)),
        ConditionKind::In { needle, haystack, negated } => {
            format!("{} {} {}", side(needle), if *negated { "not in" } else { "in" }, side(haystack))
        }
        ConditionKind::Match { subject, pattern, negated } => {
            format!("{} {} {}", side(subject), if *negated { "!~" } else { "=~" }, side(pattern))
        }
        ConditionKind::Compare(left, comparison, right) => {
            let sign = match comparison {
                Comparison::Equal => "==",
                Comparison::NotEqual => "!=",
                Comparison::Less => "<",
                Comparison::LessEqual => "<=",
                Comparison::Greater => ">",
                Comparison::GreaterEqual => ">=",
            };
            format!("{} {sign} {}", side(left), side(right))
        }
    }
}

fn side(operand: &Operand) -> String {
    match operand {
        Operand::Field(word) => word.text.replace("][", " ").replace(['[', ']'], ""),
        Operand::Text(word) => format!("'{}'", word.text),
        Operand::Number(number, _) => number.to_string(),
        Operand::Bool(truth, _) => truth.to_string(),
        Operand::Not(inner, _) => format!("!{}", side(inner)),
        Operand::List(operands, _) => format!("[{}]", operands.iter().map(side).collect::<Vec<_>>().join(" ")),
    }
}

#[test]
fn spans_tell_what_was_typed() {
    let source = "# one\nfilter {\n  if [a] == 'b' { # two\n    drop {}\n  } else if ![c] { json { x = [1, {y => z}] } } else { }\n  for i, x in xml(m, /p) { }\n} # three";
    let file = parse(source).expect("it is a program");
    let typed = |span: crate::syntax::ast::Span| &source[span.start as usize..span.end as usize];
    assert!(typed(file.span).starts_with("filter {") && typed(file.span).ends_with("\n}"));
    let comments: Vec<_> = file.comments.iter().map(|comment| (comment.text.as_str(), typed(comment.span))).collect();
    assert_eq!(comments, [("# one", "# one"), ("# two", "# two"), ("# three", "# three")]);
    let StatementKind::If(chain) = &file.body[0].kind else { panic!("no condition") };
    assert!(typed(file.body[0].span).starts_with("if [a]") && typed(file.body[0].span).ends_with("else { }"));
    assert_eq!(typed(chain.branches[0].condition.span), "[a] == 'b'");
    assert_eq!(typed(chain.branches[1].span), "if ![c] { json { x = [1, {y => z}] } }");
    assert_eq!(typed(chain.branches[1].condition.span), "![c]");
    assert_eq!(typed(chain.otherwise.as_ref().expect("there is one").1), "else { }");
    let StatementKind::Plugin(json) = &chain.branches[1].body[0].kind else { panic!("no plugin") };
    assert_eq!(typed(json.options[0].span), "x = [1, {y => z}]");
    assert!(json.options[0].equals);
    let Node::Array(elements, span) = &json.options[0].value else { panic!("no array") };
    assert_eq!((typed(*span), typed(elements[1].span())), ("[1, {y => z}]", "{y => z}"));
    assert_eq!(typed(file.body[1].span), "for i, x in xml(m, /p) { }");
    let StatementKind::If(quoted) =
        &parse("filter { if [a] =~ /b/ {} }").expect("it is a program").body[0].kind.clone()
    else {
        panic!("no condition")
    };
    let ConditionKind::Match { pattern: Operand::Text(word), .. } = &quoted.branches[0].condition.kind else {
        panic!("no match")
    };
    assert_eq!((word.quote, word.text.as_str()), (Quote::Slash, "b"));
}

/// Programs with one slip: where it is told, what is said, and what is advised.
#[test]
fn slips_are_told_with_advice() {
    let table = [
        ("no program", "", (1, 1), "the program is empty", "filter { … }"),
        ("only comments", "# a\n", (2, 1), "the program is empty", "filter { … }"),
        ("a misspelt block", "filtr { drop {} }", (1, 1), "no block named `filtr`", "Did you mean `filter`?"),
        ("Logstash's other blocks", "input { stdin {} } filter { drop {} }", (1, 1), "no `input` here", "Take it out"),
        ("no block around", "drop {}", (1, 1), "expected `filter {`, found `drop`", "filter { … }"),
        ("no brace of the block", "filter drop {} }", (1, 8), "expected `{` after `filter`", ""),
        ("a misspelt keyword", "filter { fro x in y {} }", (1, 14), "expected `{` after `fro`", "Did you mean `for`?"),
        ("`elsif`", "filter { if [a] { } elsif [b] { } }", (1, 21), "no `elsif`", "Write `else if`"),
        ("`elseif`", "filter { if [a] { } elseif [b] { } }", (1, 21), "no `elseif`", "Write `else if`"),
        (
            "`else` with a condition",
            "filter { if [a] { } else [b] { } }",
            (1, 21),
            "`else` takes no condition",
            "Write `else if`",
        ),
        (
            "`else` without `if`",
            "filter { drop {} else { drop {} } }",
            (1, 18),
            "belongs to no `if`",
            "right after the `}`",
        ),
        ("two of them", "filter { if [a] {} else {} else {} }", (1, 28), "an `else` already", "`else if`"),
        ("no value", "filter { kv { source => } }", (1, 15), "`source` has no value", ""),
        (
            "no value, and another option",
            "filter { kv {\n source =>\n target => x } }",
            (2, 2),
            "`source` has no value",
            "",
        ),
        ("a key alone", "filter { kv {\n source\n target => x } }", (2, 2), "`source` has no value", "source => "),
        (
            "no arrow",
            "filter { mutate { replace => { \"a\" \"b\" } } }",
            (1, 36),
            "no `=>` after \"a\"",
            "Write: \"a\" => \"b\"",
        ),
        (
            "no arrow before a map",
            "filter { mutate { replace { a => b } } }",
            (1, 27),
            "no `=>` after `replace`",
            "replace => { … }",
        ),
        ("another arrow", "filter { kv { source -> x } }", (1, 22), "expected `=>` after `source`", "Write `=>`"),
        (
            "a comparison for an arrow",
            "filter { kv { source == x } }",
            (1, 22),
            "expected `=>` after `source`",
            "Write `=>`",
        ),
        ("a long arrow", "filter { kv { source =>> x } }", (1, 24), "expected a value, found `>`", "Write `=>`"),
        (
            "an option outside",
            "filter { source => \"x\" }",
            (1, 17),
            "expected `{` after `source`",
            "inside of a plugin",
        ),
        (
            "a text as a statement",
            "filter { \"a\" => \"b\" }",
            (1, 10),
            "expected a statement, found \"a\"",
            "inside of a plugin",
        ),
        (
            "a semicolon",
            "filter { kv { a => b; c => d } }",
            (1, 21),
            "expected an option, found `;`",
            "blanks or commas",
        ),
        ("typographic quotes", "filter { kv { a => “b” } }", (1, 20), "expected a value, found `“`", "straight quotes"),
        (
            "keys in a list",
            "filter { grok { match => [ \"a\" => \"b\" ] } }",
            (1, 28),
            "keys have no place in `[ … ]`",
            "{ key => value }",
        ),
        ("`=` in a condition", "filter { if [a] = \"b\" { } }", (1, 17), "found `=`", "Write `==`"),
        ("`=>` in a condition", "filter { if [a] => 1 { } }", (1, 17), "found `=>`", "Write `>=`"),
        ("`&`", "filter { if [a] & [b] { } }", (1, 17), "found `&`", "Write `&&`"),
        ("`AND`", "filter { if [a] AND [b] { } }", (1, 17), "found `AND`", "small letters"),
        ("nothing between", "filter { if [a] [b] { } }", (1, 17), "found `[`", "without blanks"),
        ("chained comparisons", "filter { if [a] == \"b\" != \"c\" { } }", (1, 24), "cannot be chained", "Join them"),
        (
            "chained comparisons in parentheses",
            "filter { if ([a] == \"b\" != \"c\") { } }",
            (1, 25),
            "cannot be chained",
            "Join them",
        ),
        (
            "parentheses on the left",
            "filter { if ([a]) == \"b\" { } }",
            (1, 19),
            "what stands in parentheses",
            "Take the parentheses",
        ),
        ("an open parenthesis", "filter { if ([a] == \"b\" { } }", (1, 13), "this `(` is never closed", "Add `)`"),
        ("a closing parenthesis", "filter { if [a] == \"b\") { } }", (1, 23), "a `)` too many", ""),
        ("an open bracket", "filter { if [a == \"b\" { } }", (1, 13), "this `[` is not closed", "Add `]` before `==`"),
        ("a text alone", "filter { if \"a\" { } }", (1, 13), "compared with nothing", "[field] == "),
        ("no condition", "filter { if { } }", (1, 13), "expected a field or a value, found `{`", ""),
        ("no right side", "filter { if [a] == { } }", (1, 20), "expected a field or a value, found `{`", ""),
        (
            "a bare regular expression",
            "filter { if [a] =~ b { } }",
            (1, 20),
            "expected a regular expression",
            "in quotes",
        ),
        (
            "slashes elsewhere",
            "filter { if /b/ == [a] { } }",
            (1, 13),
            "expected a field or a value",
            "between slashes",
        ),
        ("`in` in a loop", "filter { for x of y { } }", (1, 16), "expected `in`", "for item in list"),
        ("quotes in a loop", "filter { for \"x\" in y { } }", (1, 14), "expected a variable", "without quotes"),
        ("`MAP`", "filter { for k, v in y MAP { } }", (1, 24), "expected `{`", "small letters"),
        ("no XPath", "filter { for x in xml(m) { } }", (1, 24), "expected `,`", "xml(field"),
        ("an open XPath", "filter { for x in xml(m, /a { } }", (1, 22), "not closed", "xml(field"),
        (
            "an open list",
            "filter { date { match => [\"a\", \"b\"\n on_error => x } }",
            (1, 26),
            "this `[` is never closed",
            "before `on_error`",
        ),
        (
            "an open list at a brace",
            "filter { date { match => [\"a\", \"b\" } }",
            (1, 26),
            "this `[` is never closed",
            "before `}`",
        ),
        ("an open block at the end", "filter { drop {}", (1, 8), "this `{` is never closed", "the end of the program"),
        (
            "an open map before a statement",
            "filter {\n mutate {\n replace => { a => b\n }\n if [a] { drop {} }\n}",
            (2, 9),
            "this `{` is never closed",
            "before `if`",
        ),
        (
            "an open block, by indentation",
            "filter {\n  if [a] {\n    drop {}\n\n  json {\n    x => y\n  }\n}\n",
            (2, 10),
            "this `{` is never closed",
            "indentation",
        ),
        (
            "a brace too many, by indentation",
            "filter {\n  json {\n    x => y\n    }\n  }\n  drop {}\n}\n",
            (6, 3),
            "`drop` stands behind the end",
            "`}` on line 4",
        ),
        ("a brace too many", "filter { drop {} } }", (1, 20), "a `}` too many", ""),
        ("an open text", "filter { kv { a => \"b } }", (1, 20), "this text is not closed", "Add the quote"),
        (
            "an open text among others",
            "filter {\n  kv {\n    a => \"b\n    c => \"d\"\n  }\n}\n",
            (3, 10),
            "this text is not closed",
            "Add the quote",
        ),
        (
            "an open text before a brace",
            "filter {\n  if [a] == \"b {\n    drop { tag => \"c\" }\n  }\n}\n",
            (2, 13),
            "this text is not closed",
            "Add the quote",
        ),
    ];
    let mut wrong = String::new();
    for (rule, source, place, message, help) in table {
        let found = parse(source).expect_err(rule);
        let [told] = &*found else {
            wrong += &format!("{rule}: {found:?}\n");
            continue;
        };
        let is_right = line_column(source, told.span.start) == place
            && told.message.contains(message)
            && told.help.as_deref().unwrap_or_default().contains(help)
            && !told.label.is_empty();
        if !is_right {
            wrong += &format!("{rule}: {:?} {told:?}\n", line_column(source, told.span.start));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// All errors of a program are told, in its order, and no more than are useful.
#[test]
fn errors_are_told_together() {
    let lines = [
        "filter {",
        "  mutate { replace => { \"a\" \"b\" } }",
        "  mutate { replace => { \"a\" => \"b } }",
        "  if [a] = \"b\" { drop { tag } }",
        "  elsif [b] == 1 AND [c] { drop {} }",
        "  for x of y { kv { source -> z } }",
        "  date { match => [\"a\" }",
        "  if [ok] { drop {} }",
        "}",
    ];
    let source = lines.join("\n");
    let found = parse(&source).expect_err("it is full of slips");
    let told: Vec<u32> = found.iter().map(|found| line_column(&source, found.span.start).0).collect();
    assert_eq!(told, [2, 3, 4, 4, 5, 5, 6, 6, 7], "{found:?}");

    let many = format!("filter {{ {} }}", "kv { a b }\n".repeat(100));
    assert_eq!(parse(&many).map_err(|found| found.len()), Err(ERRORS_MAX));
}

#[test]
fn limits() {
    let nested = |depth: usize, open: &str, close: &str, within: (&str, &str)| {
        parse(&format!("{}{}{}{}", within.0, open.repeat(depth), close.repeat(depth), within.1))
    };
    let table = [
        ("blocks", "if [a] {", "}", ("filter {", "}")),
        ("arrays", "[", "]", ("filter { x { y => ", "} }")),
        ("maps", "{ a => [ ", "] }", ("filter { x { y => ", "} }")),
        ("parentheses", "(", ")", ("filter { if [a] or ", " {} }")),
        ("`!`", "!", "", ("filter { if ", "[a] {} }")),
        ("`!` before a comparison", "!", "", ("filter { if ", "[a] == 1 {} }")),
        ("`not`", "not ", "", ("filter { if ", "[a] {} }")),
        ("lists", "[", "]", ("filter { if [a] in ", " {} }")),
    ];
    for (rule, open, close, within) in table {
        let deep = |found: Result<_, Vec<Diagnostic>>| {
            found.is_err_and(|found| found.len() == 1 && found[0].message.contains("nested deeper"))
        };
        assert!(!deep(nested(DEPTH_MAX / 4, open, close, within)), "{rule}");
        assert!(deep(nested(DEPTH_MAX, open, close, within)), "{rule}");
        assert!(deep(nested(100_000, open, close, within)), "{rule}");
    }
    let long = format!("filter {{ if [a] {{}} {} }}", "else if [b] {} ".repeat(20_000));
    assert!(parse(&long).is_ok(), "a chain is no nesting");
    assert!(parse(&" ".repeat(SOURCE_BYTES_MAX + 1)).is_err(), "a program that is too large");
}
