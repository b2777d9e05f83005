//! Properties over any condition, record and bytes.

use event::Kind;
use proptest::prelude::*;
use query::oci::{Condition, LogQuery, Scope, fuzz, predicate};
use serde_json::{Value, json};

use super::FUNCTION;

/// Entries out of few fields and values.
fn any_entry() -> impl Strategy<Value = Value> {
    let leaf = || {
        prop::sample::select(vec![
            json!("ab"),
            json!("AB"),
            json!("a\"b"),
            json!("é"),
            json!("x/y"),
            json!("22"),
            json!("true"),
            json!(""),
            json!(22),
            json!(22.0),
            json!(-1.5),
            json!(true),
            json!(false),
            json!(null),
            json!("2023-10-04T02:03:04Z"),
        ])
    };
    let value = leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(vec!["x", "y", "a.b"]), inner, 0..3)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    });
    (value, leaf(), any::<bool>()).prop_map(|(data, source, has_time)| {
        let mut entry = json!({"data": data, "source": source, "type": "com.ab"});
        if has_time {
            entry["time"] = json!("2023-10-04T02:03:04.5Z");
        }
        entry
    })
}

fn any_condition() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "data",
        "data.x",
        "data.x.y",
        "data.\"a.b\"",
        "data[0]",
        "data.x[1]",
        "data.y[0].x",
        "source",
        "type",
        "logContent",
        "datetime",
        "subject",
        "data.x + data.y",
        "upper(source)",
        "concat(data.x, source)",
    ]);
    let literal = prop::sample::select(vec![
        "'ab'",
        "'a*'",
        "'*b'",
        "'*'",
        "'a\"b'",
        "'é'",
        "'*/*'",
        "'22'",
        "22",
        "-1.5",
        "2.2e1",
        "true",
        "false",
        "null",
        "'true'",
        "'2023-10-04T02:03:04Z'",
        r"'a\*'",
        r"'\\*'",
        "''",
    ]);
    let op = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (path.clone(), op.clone(), literal.clone()).prop_map(|(path, op, literal)| format!("{path} {op} {literal}")),
        (path.clone(), op, path.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (path.clone(), literal.clone(), literal).prop_map(|(path, one, two)| format!("{path} in ({one}, {two})")),
        path.clone().prop_map(|path| format!("isNull({path})")),
        (path.clone(), prop::sample::select(vec!["'aB'", "'2'", "'É'", "'x*y'"]), any::<bool>())
            .prop_map(|(path, needle, case)| format!("contains_ci({path}, {needle}, {case})")),
        path.prop_map(str::to_owned),
        prop::sample::select(vec!["'ab'", "'x/y'", "true", "false"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), any::<bool>())
                .prop_map(|(left, right, or)| format!("({left} {} {right})", if or { "or" } else { "and" })),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} or {right}")),
            inner.prop_map(|inner| format!("not ({inner})")),
        ]
    })
}

#[test]
fn filters_rule_out_no_match_and_printing_changes_nothing() {
    proptest!(ProptestConfig::with_cases(3_000), |((text, entry) in (any_condition(), any_entry()))| {
        let Ok(condition) = Condition::parse(&text) else { return Ok(()) };
        let record = entry.to_string();
        let matches = condition.matches(record.as_bytes());
        let printed = condition.to_string();
        let again = Condition::parse(&printed).unwrap_or_else(|error| panic!("{}", error.render(&printed)));
        prop_assert_eq!(again.to_string(), &printed[..], "{}", text);
        prop_assert_eq!(again.matches(record.as_bytes()), matches, "{} as {} on {}", text, printed, record);
        let not = Condition::parse(&format!("not ({text})")).unwrap();
        prop_assert_eq!(not.matches(record.as_bytes()), !matches, "{} on {}", text, record);
        // The same record with everything outside ASCII, and some letters, by number.
        let ascii: String = record.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) }).collect();
        let odd = ascii.replace("\"ab\"", "\"\\u0061b\"");
        prop_assert_eq!(condition.matches(odd.as_bytes()), matches, "{} on {}", text, odd);
        let predicate = predicate([Scope::default()], Some(condition));
        prop_assert_eq!(predicate.matches(Kind::Raw, record.as_bytes()), matches);
        for record in [&record, &ascii, &odd] {
            let folded = udm::fold(record);
            let possible = predicate.prune().possible(&mut |_| false, &mut |wanted| folded.contains(wanted));
            prop_assert!(possible || !predicate.matches(Kind::Raw, record.as_bytes()), "{} is ruled out for {}", text, record);
        }
    });
}

#[test]
fn a_condition_means_the_same_on_bytes_and_on_rows() {
    proptest!(ProptestConfig::with_cases(2_000), |((text, entry) in (any_condition(), any_entry()))| {
        // Behind a limit a condition is asked of rows.
        let Ok(query) = LogQuery::parse(&format!("search \"x\" | limit 5 | where {text}")) else { return Ok(()) };
        let condition = Condition::parse(&text).unwrap();
        let mut row = json!({"logContent": entry});
        if entry.get("time").is_some() {
            row["datetime"] = json!(1_696_384_984_500_i64);
        }
        let rows = query.run(vec![row]).unwrap().rows;
        prop_assert_eq!(condition.matches(entry.to_string().as_bytes()), rows.len() == 1, "{} on {}", text, entry);
    });
}

#[test]
fn no_bytes_panic() {
    let conditions: Vec<Condition> = [
        "data.x = 'a'",
        "logContent = '*a*'",
        "data[0].x[1] != 5",
        "contains_ci(logContent, 'É')",
        "isNull(data.x)",
        "datetime > 5",
        "concat(data, source) = 'a'",
        "data.x + 1 = data.y",
        "data.a.b.c = true",
        "upper(logContent) = 'A'",
    ]
    .iter()
    .map(|text| Condition::parse(text).unwrap())
    .collect();
    let scope = Scope { compartments: vec!["a".to_owned()], group: Some("b".to_owned()), log: None };
    let check = |record: &[u8]| {
        for condition in &conditions {
            condition.matches(record);
        }
        scope.contains(record);
    };
    proptest!(ProptestConfig::with_cases(2_000), |(record in prop::collection::vec(any::<u8>(), 0..60))| check(&record));
    proptest!(ProptestConfig::with_cases(2_000), |(record in "[{}\\[\\]\",:\\\\ adxu0]{0,60}")| check(record.as_bytes()));
    // Cut and changed anywhere.
    for end in 0..FUNCTION.len() {
        check(&FUNCTION.as_bytes()[..end]);
        let mut changed = FUNCTION.as_bytes().to_vec();
        changed[end] = b'"';
        check(&changed);
        changed[end] = b'[';
        check(&changed);
    }
    // Nothing nests so deeply that it would run out of stack.
    for unit in ["[", "{\"data\":", "{\"x\":", "[{\"data\":[", "\\"] {
        check(unit.repeat(200_000).as_bytes());
        check(format!("{{\"data\":{}", unit.repeat(200_000)).as_bytes());
    }
}

#[test]
fn no_text_panics() {
    proptest!(ProptestConfig::with_cases(1_000), |(text in "\\PC{0,60}")| fuzz(text.as_bytes()));
    let words = prop::sample::select(vec![
        "data.x",
        "type",
        "logContent",
        "datetime",
        "\"a\"",
        "'a*'",
        "'",
        "\"",
        "(",
        ")",
        "[",
        "]",
        "0",
        "1.5",
        "and",
        "or",
        "not",
        "in",
        "is",
        "=",
        "!=",
        "<",
        "+",
        "-",
        "--",
        "/*",
        "*/",
        "*",
        "/",
        ",",
        ".",
        "|",
        "search",
        "where",
        "sort",
        "by",
        "top",
        "select",
        "as",
        "summarize",
        "count",
        "sum",
        "dedup",
        "extend",
        "limit",
        "desc",
        "isNull",
        "concat",
        "rounddown",
        "'1m'",
        "null",
        "true",
        "\\",
        "é",
        "{",
        "}",
        "=~",
        "A",
        "[1m]",
        ".sum()",
        "\n",
    ]);
    let texts = prop::collection::vec(words, 0..30).prop_map(|words| words.join(" "));
    proptest!(ProptestConfig::with_cases(3_000), |(text in texts)| {
        fuzz(text.as_bytes());
        fuzz(format!("search \"a\" | {text}").as_bytes());
    });
}
