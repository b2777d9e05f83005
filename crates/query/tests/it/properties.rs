//! Properties over any query and record.

use event::Kind;
use proptest::prelude::*;
use query::{Options, fuzz, parse_udm, raw_regex, raw_text};
use udm::{Root, Schema};

/// Events out of few fields and values, in the many spellings that senders use.
fn any_event() -> impl Strategy<Value = String> {
    let text = || prop::sample::select(vec![r#""a""#, r#""A""#, r#""b""#, r#""""#, "null", r#""É""#, r#""é""#]);
    let texts = move || {
        prop_oneof![
            text().prop_map(str::to_owned),
            prop::collection::vec(text(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    };
    let number = prop::sample::select(vec!["0", "5", r#""5""#, "5.0", "7", "null", r#""1e1""#]);
    let kind = prop::sample::select(vec!["15001", r#""USER_LOGIN""#, r#""NETWORK_HTTP""#, "0", r#""ODD""#, "null"]);
    let truth = prop::sample::select(vec!["true", "false", r#""true""#, "null"]);
    let labels = prop::collection::vec((prop::sample::select(vec!["k", "j"]), text()), 0..3).prop_map(|labels| {
        let labels: Vec<String> =
            labels.into_iter().map(|(key, value)| format!(r#"{{"value": {value}, "key": "{key}"}}"#)).collect();
        format!("[{}]", labels.join(","))
    });
    let extra = prop_oneof![
        text().prop_map(|value| format!(r#"{{"k": {value}}}"#)),
        text().prop_map(|value| format!(r#"{{"fields": {{"k": {{"stringValue": {value}}}}}}}"#)),
        Just(r#"{"k": [5, "a", {"j": true}]}"#.to_owned()),
        Just("null".to_owned()),
    ];
    let about = prop::collection::vec(
        prop_oneof![texts().prop_map(|ip| format!(r#"{{"ip": {ip}}}"#)), Just("{}".to_owned())],
        0..3,
    );
    (texts(), texts(), number, kind, truth, labels, extra, about).prop_map(
        |(ip, more, number, kind, truth, labels, extra, about)| {
            format!(
                r#"{{"metadata": {{"eventType": {kind}, "eventTimestamp": "2026-01-02T03:04:05Z"}},
                    "network": {{"ipv6": {truth}}}, "about": [{}],
                    "additional": {extra},
                    "principal": {{"ip": {ip}, "asset": {{"ip": {more}}}, "port": {number}, "labels": {labels}}}}}"#,
                about.join(",")
            )
        },
    )
}

fn any_query() -> impl Strategy<Value = String> {
    let condition = prop_oneof![
        (
            prop::sample::select(vec![
                "principal.ip",
                "ip",
                "principal.asset.ip",
                "about.ip",
                "all principal.ip",
                "any ip",
                "all about.ip",
                "principal.labels[\"k\"]",
                "principal.labels.value",
                "additional.fields[\"k\"]",
                "additional.fields.value",
                "additional.fields.key",
            ]),
            prop::sample::select(vec!["=", "!="]),
            prop::sample::select(vec![
                "\"a\"",
                "\"A\" nocase",
                "\"\"",
                "\"é\"",
                "/a|b/",
                "/^$/",
                "/A/ nocase",
                "\"5\"",
                "\"true\"",
                "\"k\"",
            ]),
        )
            .prop_map(|(field, op, value)| format!("{field} {op} {value}")),
        (prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]), prop::sample::select(vec!["0", "5", "10", "-1"]))
            .prop_map(|(op, number)| format!("principal.port {op} {number}")),
        prop::sample::select(vec![
            "metadata.event_type = \"USER_LOGIN\"",
            "metadata.event_type != \"NETWORK_HTTP\"",
            "metadata.event_type = \"\"",
            "network.ipv6 = true",
            "network.ipv6 != true",
            "metadata.event_timestamp.seconds = 1767323045",
            "metadata.event_timestamp > \"2026-01-01T00:00:00Z\"",
            "additional[\"k\"] = 5",
            "additional[\"k\"].fields[\"j\"] = true",
        ])
        .prop_map(str::to_owned),
    ];
    condition.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" AND "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("NOT ({part})")),
        ]
    })
}

#[test]
fn filters_rule_out_no_match_and_printing_changes_nothing() {
    let schema = Schema::load();
    let records = (any_query(), any_event(), any::<bool>());
    proptest!(ProptestConfig::with_cases(2_000), |((query, event, case_sensitive) in records)| {
        let options = Options { case_sensitive };
        let predicate = parse_udm(&query, &schema, options).unwrap();
        let matches = predicate.matches(Kind::Udm, event.as_bytes());
        if matches {
            let mut values = Vec::new();
            schema.visit_leaves(Root::Event, event.as_bytes(), &mut |leaf| values.push(udm::fold(leaf.text)));
            let mut held = |wanted: &str| values.iter().any(|value| value == wanted);
            let possible = predicate.prune().possible(&mut held, &mut |_| false);
            prop_assert!(possible, "{} is ruled out by {:?}", predicate, values);
        }
        let again = parse_udm(&predicate.to_string(), &schema, options).unwrap();
        prop_assert_eq!(again.matches(Kind::Udm, event.as_bytes()), matches, "{}", predicate);
        let not = parse_udm(&format!("NOT ({query})"), &schema, options).unwrap();
        prop_assert_eq!(not.matches(Kind::Udm, event.as_bytes()), !matches);
    });
}

#[test]
fn filters_rule_out_no_raw_match() {
    let letters = "[aAbBkKsS\u{17F}\u{212A}éÉßẞiİ ]{0,6}";
    let patterns = "\\PC{0,8}|(\\(\\?i\\))?[akséiß.*+?|()\\[\\]]{0,6}";
    let searches = (letters, letters, patterns, any::<bool>());
    proptest!(ProptestConfig::with_cases(2_000), |((text, needle, pattern, case_sensitive) in searches)| {
        let held = udm::fold(&text);
        let predicates = [raw_text(&needle, case_sensitive), raw_regex(&pattern, case_sensitive)];
        for predicate in predicates.into_iter().flatten() {
            let matches = predicate.matches(Kind::Raw, text.as_bytes());
            let possible = predicate.prune().possible(&mut |_| false, &mut |wanted| held.contains(wanted));
            prop_assert!(possible || !matches, "{} matches {:?} but is ruled out", predicate, text);
        }
        if let Ok(predicate) = raw_text(&needle, case_sensitive) {
            let expected = if case_sensitive { text.contains(&needle) } else { held.contains(&udm::fold(&needle)) };
            prop_assert_eq!(predicate.matches(Kind::Raw, text.as_bytes()), expected);
        }
    });
}

#[test]
fn no_text_panics() {
    let schema = Schema::load();
    proptest!(ProptestConfig::with_cases(1_000), |(text in "\\PC{0,60}")| {
        fuzz(&schema, text.as_bytes());
    });
    let words = prop::sample::select(vec![
        "ip",
        "principal.ip",
        "additional",
        "[\"k\"]",
        ".fields",
        "=",
        "!=",
        "<",
        "\"a\"",
        "\"a\\",
        "/a/",
        "/",
        "//",
        "/*",
        "*/",
        "(",
        ")",
        "and",
        "OR",
        "not",
        "any",
        "all",
        "nocase",
        "in",
        "%x",
        "$e",
        "5",
        "-1.5e3",
        "true",
        "\n",
        "`",
        "é",
        "target.port",
        "metadata.event_timestamp.seconds",
        "\"2026-01-02T03:04:05Z\"",
        ":",
        "match",
    ]);
    proptest!(ProptestConfig::with_cases(3_000), |(words in prop::collection::vec(words, 0..12), space in "| ")| {
        fuzz(&schema, words.join(&space).as_bytes());
    });
    proptest!(|(bytes in prop::collection::vec(any::<u8>(), 0..80))| {
        fuzz(&schema, &bytes);
    });
}
