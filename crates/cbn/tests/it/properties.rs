//! What holds for every program and every log: generated programs over a handful of fields, on generated logs.

use cbn::syntax::{format, parse};
use cbn::{End, Error, Limit, Limits, Outcome, Program};
use proptest::prelude::*;

use crate::support::{context, machine};

/// Limits that a short program meets only if it grows without end.
const ROOMY: Limits =
    Limits { steps: 20_000, memory_bytes: 4 << 20, log_bytes: 64 << 10, output_records: 50, output_bytes: 1 << 20 };

type Ended = Result<Vec<cbn::output::Event>, Error>;

fn compiled(source: &str) -> Program {
    Program::new("generated.conf", source).unwrap_or_else(|found| panic!("{source}\n{found:#?}"))
}

fn limit_of(end: &Ended) -> Option<Limit> {
    match end {
        Err(Error { end: End::Limit(limit), .. }) => Some(*limit),
        _ => None,
    }
}

/// An end without the places, which differ between two layouts.
fn without_places(end: Ended) -> Ended {
    end.map_err(|error| Error { at: None, statement: None, ..error })
}

/// A field, or a place in one.
fn field() -> impl Strategy<Value = String> {
    let fields =
        ["a", "b", "c", "l", "m", "a.b", "a.c", "l.0", "l.1.a", "m.a", "m.l", "message", "e.idm.read_only_udm.a"];
    let made = ["%{a}", "m.%{b}", "%{a}.%{b}", "l.%{a.b}"];
    prop_oneof![
        8 => proptest::sample::select(fields.to_vec()).prop_map(str::to_owned),
        1 => proptest::sample::select(made.to_vec()).prop_map(str::to_owned),
    ]
}

/// A text with fields in it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => field().prop_map(|field| format!("%{{{field}}}")),
        2 => (field(), field()).prop_map(|(one, other)| format!("%{{{one}}}-%{{{other}}}")),
        3 => "[ab01 ,=]{0,6}",
    ]
}

/// One call of a plugin.
fn call() -> impl Strategy<Value = String> {
    let pair = |function: &'static str| {
        (field(), field())
            .prop_map(move |(one, other)| format!("mutate {{ {function} => {{ \"{one}\" => \"{other}\" }} ON }}"))
    };
    let types = ["string", "integer", "uinteger", "float", "boolean", "bytes", "ipaddress", "hextodec"];
    let patterns = ["(?P<a>\\\\w+) %{INT:b}", "%{DATA:m.a}=%{GREEDYDATA:c}", "(?P<l>[ab]*)", "%{IP:a}"];
    let regexes = ["a", "[ab]+", "(a)(b)?", "\\\\d*", ".*=|a", ""];
    let udm = ["metadata.event_type", "metadata.description", "principal.ip", "principal.port", "additional", "x"];
    prop_oneof![
        4 => (field(), text()).prop_map(|(to, text)| format!("mutate {{ replace => {{ \"{to}\" => \"{text}\" }} ON }}")),
        6 => pair("merge"),
        3 => pair("rename"),
        2 => pair("copy"),
        2 => (field(), proptest::sample::select(types.to_vec()))
            .prop_map(|(field, kind)| format!("mutate {{ convert => {{ \"{field}\" => \"{kind}\" }} ON }}")),
        2 => (field(), proptest::sample::select(regexes.to_vec()), text())
            .prop_map(|(field, regex, with)| format!("mutate {{ gsub => [\"{field}\", \"{regex}\", \"$1{with}\"] ON }}")),
        1 => (field(), "[a,= ]?", field()).prop_map(|(from, by, to)| {
            format!("mutate {{ split => {{ source => \"{from}\" separator => \"{by}\" target => \"{to}\" }} ON }}")
        }),
        1 => field().prop_map(|field| format!("mutate {{ uppercase => [\"{field}\"] lowercase => [\"l\"] ON }}")),
        1 => field().prop_map(|field| format!("mutate {{ remove_field => [\"{field}\"] ON }}")),
        1 => field().prop_map(|field| format!("json {{ source => \"{field}\" target => \"m\" ON }}")),
        1 => field().prop_map(|field| format!("json {{ source => \"{field}\" ON }}")),
        1 => field().prop_map(|field| format!("kv {{ source => \"{field}\" field_split => \" ,\" ON }}")),
        1 => field().prop_map(|field| format!("csv {{ source => \"{field}\" target => \"c\" ON }}")),
        1 => field().prop_map(|field| format!("xml {{ source => \"{field}\" xpath => {{ \"//b[1]\" => \"b\" }} ON }}")),
        1 => field().prop_map(|field| format!("base64 {{ source => \"{field}\" target => \"b\" ON }}")),
        1 => field().prop_map(|field| format!("date {{ match => [\"{field}\", \"ISO8601\", \"UNIX\"] ON }}")),
        1 => (field(), text()).prop_map(|(field, text)| {
            format!("translate {{ source => \"{field}\" target => \"a\" dictionary => {{ \"a\" => \"{text}\" }} fallback => \"b\" ON }}")
        }),
        2 => (field(), proptest::sample::select(patterns.to_vec())).prop_map(|(field, pattern)| {
            format!("grok {{ match => {{ \"{field}\" => \"{pattern}\" }} overwrite => [\"a\", \"b\", \"m.a\"] ON }}")
        }),
        2 => (proptest::sample::select(udm.to_vec()), field()).prop_map(|(field, from)| {
            format!("mutate {{ merge => {{ \"e.idm.read_only_udm.{field}\" => \"{from}\" }} ON }}")
        }),
        3 => Just("mutate { merge => { \"@output\" => \"e\" } ON }".to_owned()),
        1 => Just("statedump { label => \"x\" }".to_owned()),
    ]
    .prop_flat_map(|call| {
        // Most programs catch most errors, or they would be over at the first statement.
        let caught = prop_oneof![9 => Just("on_error => \"e1\""), 1 => Just("")];
        caught.prop_map(move |caught| call.replace("ON", caught))
    })
}

fn condition() -> impl Strategy<Value = String> {
    let name = || proptest::sample::select(vec!["a", "b", "l", "m", "a.b", "e1", "message"]);
    let operator = proptest::sample::select(vec!["==", "!=", "<", ">="]);
    prop_oneof![
        2 => name().prop_map(|name| format!("[{name}]")),
        1 => name().prop_map(|name| format!("![{name}]")),
        2 => (name(), operator, "[ab1]{0,2}").prop_map(|(name, operator, text)| format!("[{name}] {operator} \"{text}\"")),
        1 => name().prop_map(|name| format!("[{name}] =~ \"^[ab]+\"")),
        1 => (name(), name()).prop_map(|(one, other)| format!("[{one}] in [{other}]")),
        1 => (name(), name()).prop_map(|(one, other)| format!("[{one}] and not ([{other}] or \"a\" in [\"a\", 1])")),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    call().prop_recursive(3, 24, 4, |inner| {
        let block = || proptest::collection::vec(inner.clone(), 0..4).prop_map(|block| block.join("\n"));
        prop_oneof![
            2 => (condition(), block(), block())
                .prop_map(|(condition, one, other)| format!("if {condition} {{ {one} }} else {{ {other} }}")),
            2 => (field(), block()).prop_map(|(list, body)| format!("for i, x in {list} {{ {body} }}")),
            1 => (field(), block()).prop_map(|(map, body)| format!("for a, b in {map} map {{ {body} }}")),
            1 => (field(), block()).prop_map(|(text, body)| format!("for x in xml({text}, /a/b) {{ {body} }}")),
        ]
    })
}

fn program() -> impl Strategy<Value = String> {
    proptest::collection::vec(statement(), 1..10).prop_map(|body| {
        // A state to work on, whatever the log is.
        let begin = r#"mutate { replace => { "a" => "ab" "m.a" => "1" "e.idm.read_only_udm.metadata.description" => "d" } }
            mutate { merge => { "l" => "a" } }
            mutate { merge => { "l" => "m" } }"#;
        format!("filter {{\n{begin}\n{}\n}}\n", body.join("\n"))
    })
}

fn log() -> impl Strategy<Value = String> {
    let json = Just("\"a\"".to_owned()).prop_recursive(4, 20, 4, |inner| {
        let key = proptest::sample::select(vec!["a", "b", "l", "m", "a.b", "0"]);
        prop_oneof![
            2 => proptest::collection::vec((key, inner.clone()), 0..4).prop_map(|entries| {
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", entries.join(", "))
            }),
            1 => proptest::collection::vec(inner, 0..4).prop_map(|elements| format!("[{}]", elements.join(", "))),
            1 => proptest::sample::select(vec!["1", "true", "null", "-2.5e3", "\"\""]).prop_map(str::to_owned),
        ]
    });
    prop_oneof![
        3 => json,
        2 => "([ab]=[01\" ]{0,3}[ ,]){0,6}",
        1 => "<a>(<b>[ab]{0,2}</b>|<b/>|[ab]){0,4}</a>",
        1 => "[ab,\"\n]{0,12}",
        1 => "[0-9]{1,11}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn a_program_ends_the_same_each_time(source in program(), log in log()) {
        let program = compiled(&source);
        let mut one = machine(ROOMY);
        let first = one.run(&program, log.as_bytes(), &context()).end;
        let used = one.used();
        prop_assert_eq!(&one.run(&program, log.as_bytes(), &context()).end, &first, "on the same machine");
        let mut other = machine(ROOMY);
        prop_assert_eq!(&other.run(&compiled(&source), log.as_bytes(), &context()).end, &first, "compiled anew");
        prop_assert_eq!((other.used().steps, other.used().memory_bytes), (used.steps, used.memory_bytes));
    }

    #[test]
    fn a_printed_program_is_the_same_program(source in program(), log in log()) {
        let file = parse::parse(&source).expect("generated programs are well-formed");
        let printed = format::format(&file, &source);
        let again = parse::parse(&printed).expect("what is printed is well-formed");
        prop_assert!(format::same(&file, &again), "{}", printed);
        prop_assert_eq!(&format::format(&again, &printed), &printed);
        let end = |source: &str| machine(ROOMY).run(&compiled(source), log.as_bytes(), &context()).end;
        prop_assert_eq!(without_places(end(&printed)), without_places(end(&source)));
    }

    #[test]
    fn a_run_stays_within_its_limits(
        source in program(),
        log in log(),
        steps in 0..400_u64,
        memory_bytes in 0..60_000_usize,
        log_bytes in 0..200_usize,
        output_records in 0..4_usize,
        output_bytes in 0..600_usize,
    ) {
        let program = compiled(&source);
        let limits = Limits { steps, memory_bytes, log_bytes, output_records, output_bytes };
        let mut tight = machine(limits);
        let Outcome { end } = tight.run(&program, log.as_bytes(), &context());
        let used = tight.used();
        prop_assert!(used.steps <= steps && used.memory_bytes <= memory_bytes, "{:?}", used);
        // The arena grows in pieces that double.
        prop_assert!(used.arena_bytes <= 4 * memory_bytes + 4096, "{:?}", used);
        if let Ok(events) = &end {
            prop_assert!(log.len() <= log_bytes && events.len() <= output_records);
            prop_assert!(events.iter().map(|event| event.json.len()).sum::<usize>() <= output_bytes);
        }

        let roomy = machine(ROOMY).run(&program, log.as_bytes(), &context()).end;
        if limit_of(&end).is_none() {
            prop_assert_eq!(&roomy, &end, "a limit that is not reached changes nothing");
        }
        tight.limits = ROOMY;
        prop_assert_eq!(&tight.run(&program, log.as_bytes(), &context()).end, &roomy, "the run before left something");
    }

    #[test]
    fn nothing_overlooks_a_limit(source in program(), log in log()) {
        let program = compiled(&source);
        let mut machine = machine(ROOMY);
        let end = machine.run(&program, log.as_bytes(), &context()).end;
        let used = machine.used();
        if limit_of(&end).is_some() {
            return Ok(());
        }
        // With what it used it ends the same, with less it does not get there.
        machine.limits = Limits { steps: used.steps, memory_bytes: used.memory_bytes, ..ROOMY };
        prop_assert_eq!(&machine.run(&program, log.as_bytes(), &context()).end, &end);
        machine.limits = Limits { steps: used.steps - 1, ..ROOMY };
        prop_assert_eq!(limit_of(&machine.run(&program, log.as_bytes(), &context()).end), Some(Limit::Steps));
        machine.limits = Limits { memory_bytes: used.memory_bytes - 1, ..ROOMY };
        prop_assert_eq!(limit_of(&machine.run(&program, log.as_bytes(), &context()).end), Some(Limit::Memory));
    }

    #[test]
    fn any_text_is_read_or_refused(source in any::<String>(), inner in "[a-z{}\\[\\]()\"'=>~!,.%#:\\\\ \n\u{a0}é]{0,60}") {
        for source in [source, inner.clone(), format!("filter {{ {inner} }}"), format!("filter {{ if {inner} {{ }} }}")] {
            if let Ok(file) = parse::parse(&source) {
                let printed = format::format(&file, &source);
                let again = parse::parse(&printed);
                prop_assert!(again.is_ok_and(|again| format::same(&file, &again)), "{}\n{}", source, printed);
                let _ = Program::new("any.conf", source);
            }
        }
    }
}

/// Whoever descends does so by recursion, and threads have little room.
#[test]
fn the_deepest_programs_are_gone_through() {
    let schema = udm::Schema::load();
    let wraps = [
        ("if [a] { ", "", " }"),
        ("if [b] { } else { ", "", " }"),
        ("if [b] { } else if [a] { ", "", " }"),
        ("for x in l { ", "mutate { merge => { \"l\" => \"x\" } }", " }"),
        ("for k, v in m map { ", "", " }"),
        ("if (", "[a] == \"ab\"", ") { }"),
        ("if not ", "[a]", " { }"),
        ("mutate { replace => ", "\"a\"", " }"),
    ];
    for (open, inner, close) in wraps {
        let mut deepest = 0;
        for depth in 1..=parse::DEPTH_MAX + 1 {
            // Of a condition or value only the middle is repeated.
            let body = match (open, close) {
                ("if (", _) => format!("if {}{inner}{} {{ }}", "(".repeat(depth), ")".repeat(depth)),
                ("if not ", _) => format!("if {}{inner} {{ }}", "not ".repeat(depth)),
                ("mutate { replace => ", _) => {
                    format!("mutate {{ replace => {}{inner}{} }}", "[".repeat(depth), "]".repeat(depth))
                }
                _ => format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)),
            };
            let begin = r#"mutate { replace => { "a" => "ab" "m.a" => "1" } merge => { "l" => "a" } }"#;
            let source = format!("filter {{ {begin} {body} }}");
            let Ok(file) = parse::parse(&source) else { continue };
            deepest = depth;
            if depth.is_multiple_of(64) || depth > parse::DEPTH_MAX - 10 {
                let printed = format::format(&file, &source);
                assert!(parse::parse(&printed).is_ok_and(|again| format::same(&file, &again)));
                cbn::lint::lint(&file, &source, &schema);
                let program = compiled(&source);
                let mut trace = cbn::trace::Trace::new(&program);
                let _ = machine(ROOMY).watch(&program, b"", &context(), &mut trace);
            }
        }
        assert!(deepest > parse::DEPTH_MAX - 10, "{open}: {deepest}");
    }
    // Values as deep as they are read, and deeper.
    for depth in [99, 100, 101, 10_000] {
        let log = format!("{}1{}", "{\"a\":[".repeat(depth / 2), "]}".repeat(depth / 2));
        let source = r#"filter { json { source => "message" target => "e.idm.read_only_udm.additional" on_error => "no" }
            mutate { copy => { "c" => "e" } } statedump { } mutate { merge => { "@output" => "e" } } }"#;
        let program = compiled(source);
        let _ = machine(ROOMY).run(&program, log.as_bytes(), &context());
    }
}
