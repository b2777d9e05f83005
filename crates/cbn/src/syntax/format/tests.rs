//! Tests of printing programs: the layout, and that nothing but the layout changes, on programs that nobody wrote.

use proptest::prelude::*;

use super::super::ast::{
    Branch, Comparison, Condition, ConditionKind, Entry, File, For, If, Node, Operand, Over, Plugin, Quote, Span,
    Statement, StatementKind, Word,
};
use super::super::lex::{Kind, Lexer};
use super::super::parse::{ERRORS_MAX, parse};
use super::{format, same};

/// Prints a program, and sees that it stays what it was and is printed the same again.
fn check(rule: &str, source: &str) -> String {
    let file = parse(source).unwrap_or_else(|found| panic!("{rule}: {found:?}\n{source}"));
    let printed = format(&file, source);
    let read = parse(&printed).unwrap_or_else(|found| panic!("{rule}: {found:?}\n{printed}"));
    assert!(same(&file, &read), "{rule}: another program\n{source}\n{printed}");
    assert_eq!(format(&read, &printed), printed, "{rule}: printed differently again");
    printed
}

/// How things are laid out. The given text stands in a block of its own.
#[test]
fn layout() {
    let table: [(&str, &str, &[&str]); 24] = [
        (
            "an entry a line",
            "mutate{replace=>{a=>b 'c'=>d} on_error=x}",
            &["mutate {", "  replace => {", "    a => b", "    \"c\" => d", "  }", "  on_error => x", "}"],
        ),
        ("empty braces", "drop { } if [a] {\n} else { }", &["drop {}", "if [a] {", "} else {", "}"]),
        (
            "`else` on the line of the brace",
            "if [a] { drop{} }\nelse\nif [b] { drop{} }\nelse { drop{} }",
            &["if [a] {", "  drop {}", "} else if [b] {", "  drop {}", "} else {", "  drop {}", "}"],
        ),
        (
            "but not over comments",
            "if [a] { drop{} } # one\n\n# two\nelse { drop{} }",
            &["if [a] {", "  drop {}", "} # one", "", "# two", "else {", "  drop {}", "}"],
        ),
        (
            "one blank line between statements, none at the ends",
            "\n\ndrop {}\n\n\n\njson {}\nxml {}\n\n",
            &["drop {}", "", "json {}", "xml {}"],
        ),
        ("and between entries", "kv { a => b\n\n\nc => d\n\n}", &["kv {", "  a => b", "", "  c => d", "}"]),
        (
            "short lists on one line",
            "x { a => [\n 'b',\n c 1\n ] d => [ ] }",
            &["x {", "  a => [\"b\", c, 1]", "  d => []", "}"],
        ),
        (
            "rows of longer lists stay",
            "x { a => ['bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'cccccccccccccccccccccccccccccccc',\n'dddddddddddddddddddddd', 'e' 'f'] }",
            &[
                "x {",
                "  a => [",
                "    \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\", \"cccccccccccccccccccccccccccccccc\",",
                "    \"dddddddddddddddddddddd\", \"e\", \"f\"",
                "  ]",
                "}",
            ],
        ),
        (
            "rows that do not fit become one a line",
            "x { a => ['bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'cccccccccccccccccccccccccccccccccccccc', 'dddddddddddddddddd'] }",
            &[
                "x {",
                "  a => [",
                "    \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",",
                "    \"cccccccccccccccccccccccccccccccccccccc\",",
                "    \"dddddddddddddddddd\"",
                "  ]",
                "}",
            ],
        ),
        (
            "three and three of `gsub`",
            "mutate { gsub => [a, 'x', y, b, 'x', y] }",
            &["mutate {", "  gsub => [", "    a, \"x\", y,", "    b, \"x\", y", "  ]", "}"],
        ),
        (
            "maps in lists",
            "x { a => [ {b => c}, d ] }",
            &["x {", "  a => [", "    {", "      b => c", "    },", "    d", "  ]", "}"],
        ),
        (
            "the quotes that need fewer backslashes",
            r#"x { a => 'b' c => "\"d\"" e => 'it\'s' f => "'\"" }"#,
            &["x {", "  a => \"b\"", "  c => '\"d\"'", "  e => \"it's\"", "  f => \"'\\\"\"", "}"],
        ),
        (
            "backslashes stay as they were typed",
            r#"x { a => "\s\\d\." b => '\s\\d\"' }"#,
            &["x {", r#"  a => "\s\\d\.""#, r#"  b => '\s\\d"'"#, "}"],
        ),
        ("texts over several lines stay", "x { a => 'b\n  c' }", &["x {", "  a => \"b", "  c\"", "}"]),
        (
            "signs in conditions",
            "if ! [ a ] and(not [b] in(c,1)||[d]=~('e'))&&not ([f]) { drop {} }",
            &["if ![a] and (not [b] in [\"c\", 1] or [d] =~ \"e\") and !([f]) {", "  drop {}", "}"],
        ),
        (
            "numbers and slashes stay",
            r"if [a] == 1.50 or [b] =~ /\d\// { drop {} }",
            &[r"if [a] == 1.50 or [b] =~ /\d\// {", "  drop {}", "}"],
        ),
        (
            "long conditions break behind `and` and `or`",
            "if [aaaaaaaaaaaaaaaaaaaaaa] == 'bbbbbbbbbbbbbbbbbbbb' and [cccccccccccccccccc] != 'dddddddddddddddddd' and ![e] { drop {} }",
            &[
                "if [aaaaaaaaaaaaaaaaaaaaaa] == \"bbbbbbbbbbbbbbbbbbbb\" and",
                "    [cccccccccccccccccc] != \"dddddddddddddddddd\" and",
                "    ![e] {",
                "  drop {}",
                "}",
            ],
        ),
        (
            "long lists in conditions break",
            "if [a] not in ['bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'ccccccccccccccccccccccccccccccccccc', 'ddddddddddddddd'] { drop {} }",
            &[
                "if [a] not in [",
                "  \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",",
                "  \"ccccccccccccccccccccccccccccccccccc\",",
                "  \"ddddddddddddddd\"",
                "] {",
                "  drop {}",
                "}",
            ],
        ),
        (
            "loops",
            "for k,v in [a][b]   map{drop{}} for i in xml( m ,/a/b[%{i}] ) { }",
            &["for k, v in [a][b] map {", "  drop {}", "}", "for i in xml(m, /a/b[%{i}]) {}"],
        ),
        ("comments on lines of their own", "# a\n\n\n#b\ndrop {} \n# c\n\n", &["# a", "", "#b", "drop {}", "# c"]),
        (
            "comments behind things",
            "x { # a\nb => c, # d\ne => { # f\n} # g\n} # h",
            &["x { # a", "  b => c # d", "  e => { # f", "  } # g", "} # h"],
        ),
        (
            "comments in lists",
            "x { a => [ # b\n'c', # d\n# e\n'f' # g\n# h\n] }",
            &["x {", "  a => [ # b", "    \"c\", # d", "    # e", "    \"f\" # g", "    # h", "  ]", "}"],
        ),
        (
            "comments in conditions",
            "if [a] # b\nand [c] # d\n# e\n{ # f\ndrop {} }",
            &["if [a] and # b", "    [c] { # d", "  # e", "  # f", "  drop {}", "}"],
        ),
        (
            "comments where no line ends come behind",
            "x # a\n{ b # c\n=> # d\n'e' }",
            &["x { # a", "  b => \"e\" # c", "  # d", "}"],
        ),
    ];
    for (rule, given, lines) in table {
        let printed = check(rule, &format!("filter {{\n{given}\n}}"));
        let expected: String =
            lines.iter().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect();
        // What stands in a text keeps its own indentation.
        let expected = expected.replace("\n    c\"", "\n  c\"");
        assert_eq!(printed, format!("filter {{\n{expected}}}\n"), "{rule}");
    }
}

#[test]
fn around_the_block() {
    let table = [
        ("comments around", "# a\n\n\nfilter { }\n\n# b", "# a\n\nfilter {}\n\n# b\n"),
        (
            "comments right before and behind",
            "# a\nfilter # b\n{ drop {} } # c",
            "# a\nfilter { # b\n  drop {}\n} # c\n",
        ),
        (
            "several blocks become one",
            "filter { drop {} # a\n}\nfilter { json {} }",
            "filter {\n  drop {} # a\n  json {}\n}\n",
        ),
        (
            "other line ends",
            "filter {\r\n  drop {} # a\r\n\r\n  json {}\r\n}\r\n",
            "filter {\n  drop {} # a\n\n  json {}\n}\n",
        ),
    ];
    for (rule, given, expected) in table {
        assert_eq!(check(rule, given), expected, "{rule}");
    }
}

/// A folder of programs, if somebody names one: all of them are read, printed and read again.
#[test]
fn programs_of_a_folder() {
    let Some(folder) = std::env::var_os("CBN_PROGRAMS") else { return };
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut programs = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "conf") {
                check(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
                programs += 1;
            }
        }
    }
    assert!(programs > 0, "there is no program in the folder");
}

proptest! {
    /// A tree that nobody wrote is printed so that reading gives it again.
    #[test]
    fn trees_are_read_as_they_were_printed(file in file()) {
        let printed = format(&file, "");
        let read = parse(&printed).map_err(|found| TestCaseError::fail(format!("{found:?}\n{printed}")))?;
        prop_assert!(same(&file, &read), "{printed}\n{file:#?}\n{read:#?}");
        prop_assert_eq!(format(&read, &printed), printed);
    }

    /// However a program is laid out and commented, printing changes neither it nor its comments, and a second time
    /// changes nothing at all.
    #[test]
    fn layout_does_not_count(file in file(), gaps in prop::collection::vec(gap(), 1..40)) {
        let plain = format(&file, "");
        let source = lay_out(&plain, &gaps);
        let read = parse(&source).map_err(|found| TestCaseError::fail(format!("{found:?}\n{source}")))?;
        prop_assert!(same(&File { comments: read.comments.clone(), ..file }, &read), "{plain}\n{source}");
        check("any layout", &source);
    }

    /// Nothing makes the parser panic; its errors point into the program, in order, and are not too many.
    #[test]
    fn anything_is_read(source in prop_oneof![soup(), "\\PC{0,200}", mangled()]) {
        check_anything(&source);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_anything(&String::from_utf8_lossy(&bytes));
    }
}

fn check_anything(source: &str) {
    match parse(source) {
        Ok(_) => {
            check("anything", source);
        }
        Err(found) => {
            assert!((1..=ERRORS_MAX).contains(&found.len()));
            assert!(found.is_sorted_by_key(|found| found.span.start), "{found:?}");
            for found in found {
                assert!(source.get(found.span.start as usize..found.span.end as usize).is_some(), "{found:?}");
            }
        }
    }
}

/// The same tokens with other gaps between them.
fn lay_out(plain: &str, gaps: &[String]) -> String {
    let mut lexer = Lexer::new(plain);
    let mut source = String::new();
    let mut end = 0;
    for at in 0.. {
        let token = lexer.next();
        let gap = &plain[end..token.span.start as usize];
        source.push_str(if gap.is_empty() { gap } else { &gaps[at % gaps.len()] });
        source.push_str(&plain[token.span.start as usize..token.span.end as usize]);
        end = token.span.end as usize;
        if token.kind == Kind::End {
            break;
        }
    }
    source
}

/// White space and comments, as they stand between tokens.
fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(" ".to_owned()),
        2 => "[ \t\u{a0}]{1,3}",
        2 => "(\r?\n){1,4} {0,3}",
        2 => " {0,2}#[ a-z\"'{}\\[\\]]{0,8}\n",
        1 => "\n\n(#[a-z#]{0,3}\n ?\n?){1,3}",
    ]
}

/// Pieces of programs in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "filter", "if", "else", "else if", "elsif", "for", "in", "not in", "not", "and", "or", "map", "xml(",
            "mutate", "drop", "replace", "{", "}", "{", "}", "[", "]", "(", ")", "=>", "=", "==", "!=", "=~", "!", ",",
            ":", "\"", "'", "/", "\\", "#", "\n", "\n", "%{", "[a]", "\"b\"", "'c'", "1", "true", ";", "“", "\u{feff}",
            "->", "&", "||",
        ])
        .prop_map(str::to_owned),
        "\\PC{1,3}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" "))
}

/// A program of which a stretch is missing, or stands there twice.
fn mangled() -> impl Strategy<Value = String> {
    (file(), any::<prop::sample::Index>(), 0_usize..20, any::<bool>()).prop_map(|(file, at, length, twice)| {
        let printed = format(&file, "");
        let from = printed.floor_char_boundary(at.index(printed.len()));
        let to = printed.floor_char_boundary((from + length).min(printed.len())).max(from);
        if twice {
            format!("{}{}", &printed[..to], &printed[from..])
        } else {
            format!("{}{}", &printed[..from], &printed[to..])
        }
    })
}

// Trees. Their spans say nothing, as those of a program that was made rather than read.

fn file() -> impl Strategy<Value = File> {
    let statements = prop::collection::vec(statement(), 0..6);
    statements.prop_map(|body| File { body, comments: Vec::new(), span: Span::default() })
}

fn statement() -> BoxedStrategy<Statement> {
    let plugin = (plugin_name(), entries()).prop_map(|(name, options)| StatementKind::Plugin(Plugin { name, options }));
    plugin
        .prop_map(stated)
        .prop_recursive(4, 24, 4, |inner| {
            let body = || prop::collection::vec(inner.clone(), 0..3);
            let branch =
                (condition(), body()).prop_map(|(condition, body)| Branch { condition, body, span: Span::default() });
            let otherwise = prop::option::of(body().prop_map(|body| (body, Span::default())));
            let chain = (prop::collection::vec(branch, 1..4), otherwise)
                .prop_map(|(branches, otherwise)| StatementKind::If(If { branches, otherwise }));
            let looped = (prop::option::of(variable()), variable(), over(), any::<bool>(), body())
                .prop_map(|(index, item, over, map, body)| StatementKind::For(For { index, item, over, map, body }));
            prop_oneof![chain, looped].prop_map(stated)
        })
        .boxed()
}

fn stated(kind: StatementKind) -> Statement {
    Statement { kind, span: Span::default() }
}

fn word(text: String, quote: Quote) -> Word {
    Word { text, quote, span: Span::default() }
}

fn plugin_name() -> impl Strategy<Value = Word> {
    prop::sample::select(vec!["mutate", "grok", "json", "date", "drop", "kv", "unheard_of"])
        .prop_map(|name| word(name.to_owned(), Quote::Bare))
}

fn variable() -> impl Strategy<Value = Word> {
    prop_oneof![Just("in".to_owned()), Just("_".to_owned()), "[a-z][a-z_0-9]{0,6}"]
        .prop_map(|text| word(text, Quote::Bare))
}

fn over() -> impl Strategy<Value = Over> {
    let path = prop_oneof!["[a-z][a-zA-Z-]{0,4}(\\.[a-z0-9]{1,3}){0,2}", "(\\[[a-z]{1,3}\\]){1,2}", "a\\.%\\{b\\}"];
    let xpath = "/[a-z.]{1,4}(\\[%\\{i\\}\\])?/@?[a-z]{1,3}";
    prop_oneof![
        3 => path.prop_map(|path| Over::Field(word(path, Quote::Bare))),
        1 => ("[a-z]{1,4}", xpath).prop_map(|(field, xpath)| Over::Xml {
            field: word(field, Quote::Bare),
            xpath: word(xpath, Quote::Bare),
        }),
    ]
}

/// What may stand in quotes: anything, and what looks like syntax more often than not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_.]{0,10}",
        "[\\\\\"'/%{}\\[\\]#=>, \n a-d]{0,10}",
        "\\PC{0,8}",
        "[a-z \"]{40,120}",
        prop::sample::select(vec!["if", "for", "true", "1", "mutate", "%{a.b}"]).prop_map(str::to_owned),
    ]
}

fn bare() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z_@][a-zA-Z0-9_.-]{0,8}",
        "-?[0-9]{1,4}(\\.[0-9]{1,2})?",
        prop::sample::select(vec!["true", "if", "else", "for", "in", "json", "a%{b}c", "a\\d"]).prop_map(str::to_owned),
    ]
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        text().prop_map(|text| word(text, Quote::Double)),
        text().prop_map(|text| word(text, Quote::Single)),
        bare().prop_map(|text| word(text, Quote::Bare)),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(node().boxed()), 0..4)
}

fn entry(value: BoxedStrategy<Node>) -> impl Strategy<Value = Entry> {
    let key = prop_oneof![3 => any_word(), 1 => Just(word("gsub".to_owned(), Quote::Bare))];
    (key, value, any::<bool>()).prop_map(|(key, value, equals)| Entry { key, value, equals, span: Span::default() })
}

fn node() -> impl Strategy<Value = Node> {
    any_word().prop_map(Node::Word).prop_recursive(3, 16, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..7).prop_map(|nodes| Node::Array(nodes, Span::default())),
            prop::collection::vec(entry(inner.boxed()), 0..4).prop_map(|entries| Node::Map(entries, Span::default())),
        ]
    })
}

fn condition() -> BoxedStrategy<Condition> {
    any_of(one()).boxed()
}

/// Conditions as reading makes them: no `or` stands right in an `and`, and no chain in a chain of its kind.
fn any_of(one: BoxedStrategy<Condition>) -> BoxedStrategy<Condition> {
    let all = prop_oneof![
        3 => one.clone(),
        1 => prop::collection::vec(one, 2..4).prop_map(|parts| conditioned(ConditionKind::And(parts))),
    ]
    .boxed();
    prop_oneof![
        3 => all.clone(),
        1 => prop::collection::vec(all, 2..4).prop_map(|parts| conditioned(ConditionKind::Or(parts))),
    ]
    .boxed()
}

fn one() -> BoxedStrategy<Condition> {
    leaf()
        .prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                any_of(inner.clone()).prop_map(|inner| conditioned(ConditionKind::Group(Box::new(inner)))),
                inner.prop_map(|inner| conditioned(ConditionKind::Not(Box::new(inner)))),
            ]
        })
        .boxed()
}

fn conditioned(kind: ConditionKind) -> Condition {
    Condition { kind, span: Span::default() }
}

fn leaf() -> impl Strategy<Value = Condition> {
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessEqual,
        Comparison::Greater,
        Comparison::GreaterEqual,
    ]);
    let truth = prop_oneof![field(), any::<bool>().prop_map(|truth| Operand::Bool(truth, Span::default()))];
    let pattern = prop_oneof![
        text_operand(),
        bracketed_field(),
        "[a-z|()/\\\\]{1,8}".prop_map(|text| Operand::Text(word(text, Quote::Slash))),
    ];
    let haystack = prop_oneof![
        field(),
        prop::collection::vec(prop_oneof![scalar(), bracketed_field()], 0..5)
            .prop_map(|operands| Operand::List(operands, Span::default())),
    ];
    prop_oneof![
        truth.prop_map(ConditionKind::Truth),
        (left(), comparison, right()).prop_map(|(left, sign, right)| ConditionKind::Compare(left, sign, right)),
        (left(), pattern, any::<bool>()).prop_map(|(subject, pattern, negated)| ConditionKind::Match {
            subject,
            pattern,
            negated
        }),
        (left(), haystack, any::<bool>()).prop_map(|(needle, haystack, negated)| ConditionKind::In {
            needle,
            haystack,
            negated
        }),
    ]
    .prop_map(conditioned)
}

fn left() -> impl Strategy<Value = Operand> {
    prop_oneof![
        3 => right(),
        1 => field().prop_map(|field| Operand::Not(Box::new(field), Span::default())),
    ]
}

fn right() -> impl Strategy<Value = Operand> {
    prop_oneof![field(), scalar()]
}

fn scalar() -> impl Strategy<Value = Operand> {
    prop_oneof![
        2 => text_operand(),
        1 => any::<bool>().prop_map(|truth| Operand::Bool(truth, Span::default())),
        1 => any::<i32>().prop_map(|number| Operand::Number(f64::from(number), Span::default())),
        1 => any::<f64>()
            .prop_filter("numbers that can be written", |number| number.is_finite())
            .prop_map(|number| Operand::Number(number, Span::default())),
    ]
}

fn text_operand() -> impl Strategy<Value = Operand> {
    (text(), any::<bool>())
        .prop_map(|(text, single)| Operand::Text(word(text, if single { Quote::Single } else { Quote::Double })))
}

fn field() -> impl Strategy<Value = Operand> {
    prop_oneof![
        3 => bracketed_field(),
        1 => "x[a-z.]{0,4}".prop_map(|name| Operand::Field(word(name, Quote::Bare))),
    ]
}

fn bracketed_field() -> impl Strategy<Value = Operand> {
    "\\[[a-z]([a-z@:-]{0,3}[a-z])?\\](\\[[a-z0-9.]{1,4}\\]){0,2}"
        .prop_map(|name| Operand::Field(word(name, Quote::Bare)))
}
