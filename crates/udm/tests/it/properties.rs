//! Properties over any JSON that looks like a record.

use proptest::prelude::*;
use udm::{FieldPath, Mode, Root, Scalar, Schema, Selection};

/// JSON with known and unknown keys and values that mostly fit somewhere.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop::sample::select(vec![
        "null",
        "true",
        "5",
        "-1",
        "1.5",
        "443",
        "\"a\"",
        "\"\"",
        "\"10.0.0.1\"",
        "\"USER_LOGIN\"",
        "\"TCP\"",
        "\"1.5s\"",
        "\"2026-01-02T03:04:05Z\"",
        "\"7\"",
        "1e400",
        "\"\\u0000\"",
    ])
    .prop_map(str::to_owned);
    let key = prop::sample::select(vec![
        "metadata",
        "event_type",
        "eventType",
        "event_timestamp",
        "principal",
        "target",
        "about",
        "ip",
        "hostname",
        "port",
        "labels",
        "key",
        "value",
        "additional",
        "fields",
        "k",
        "stringValue",
        "listValue",
        "values",
        "structValue",
        "security_result",
        "variables",
        "action",
        "network",
        "sent_bytes",
        "nope",
    ]);
    scalar.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|entries| {
                let entries: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

const PATHS: &[&str] = &[
    "metadata.event_type",
    "metadata.event_timestamp",
    "principal.ip",
    "principal.hostname",
    "target.port",
    "about.ip",
    "principal.labels[\"k\"]",
    "principal.labels.value",
    "additional.fields[\"k\"]",
    "additional.fields.value",
    "security_result.variables[\"k\"].string_val",
    "network.sent_bytes",
];

pub(crate) fn paths(schema: &Schema) -> Vec<FieldPath> {
    PATHS.iter().map(|path| schema.resolve(Root::Event, path).expect("the path exists")).collect()
}

#[test]
fn any_record_can_be_asked_anything() {
    let schema = Schema::load();
    let selection = Selection::new(&schema, Root::Event, &paths(&schema));
    proptest!(|(json in any_json(), cut in any::<prop::sample::Index>())| {
        for json in [json.as_bytes(), &json.as_bytes()[..cut.index(json.len())]] {
            for root in [Root::Event, Root::Entity] {
                let lenient = schema.check(root, json, Mode::Lenient);
                let strict = schema.check(root, json, Mode::Strict);
                prop_assert!(lenient.is_ok() || strict.is_err(), "strict accepts what lenient refuses");
                schema.visit_leaves(root, json, &mut |_| {});
            }
            selection.extract(json, &mut |_, _| {});
        }
    });
}

/// What is selected is among the leaves, so that a filter filled from the leaves rules out no match.
#[test]
fn every_selected_text_is_a_leaf() {
    let schema = Schema::load();
    let paths = paths(&schema);
    let selection = Selection::new(&schema, Root::Event, &paths);
    proptest!(|(json in any_json())| {
        // A number that no program can hold makes it no record: it is refused when it comes in, and has no leaves.
        prop_assume!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        let mut leaves = Vec::new();
        schema.visit_leaves(Root::Event, json.as_bytes(), &mut |leaf| leaves.push(leaf.text.to_owned()));
        let mut wrong = Vec::new();
        selection.extract(json.as_bytes(), &mut |slot, value| {
            let text = match value {
                Scalar::Text(text) => text.to_owned(),
                Scalar::Int(number) => number.to_string(),
                Scalar::Bool(value) => value.to_string(),
                _ => return,
            };
            if !leaves.contains(&text) {
                wrong.push((paths[slot].as_str().to_owned(), text));
            }
        });
        prop_assert!(wrong.is_empty(), "{:?} are not among {:?}", wrong, leaves);
    });
}

#[test]
fn no_path_panics() {
    let schema = Schema::load();
    proptest!(|(path in "[a-z_.\\[\\]\"\\\\é]{0,30}")| {
        if let Err(error) = schema.resolve(Root::Event, &path) {
            prop_assert!(path.get(error.span).is_some());
        }
    });
}
