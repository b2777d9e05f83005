//! Records as Google's API would show them.

use event::limits;
use proptest::prelude::*;
use udm::{LeafKind, LeftOut, Mode, Root, Scalar, Schema, Selection};

use crate::properties::{any_json, paths};
use crate::samples::{ENTITIES, EVENTS};

fn shown(schema: &Schema, root: Root, json: &[u8]) -> (String, LeftOut) {
    let mut out = b"before".to_vec();
    let left_out = schema.write_proto_json(root, json, &mut out);
    let text = String::from_utf8(out).expect("what is written is UTF-8");
    (text.strip_prefix("before").expect("what stood there stays").to_owned(), left_out)
}

/// `expected` is the canonical form, `told` parts of what was left out, each as "path: message".
#[track_caller]
fn check(root: Root, json: &str, expected: &str, told: &[&str]) {
    let schema = Schema::load();
    let (got, left_out) = shown(&schema, root, json.as_bytes());
    assert_eq!(got, expected, "{json}");
    let issues: Vec<_> = left_out.issues.iter().map(|issue| format!("{}: {}", issue.field, issue.message)).collect();
    assert_eq!((left_out.count, issues.len()), (told.len(), told.len()), "{json}: {issues:#?}");
    for (issue, part) in issues.iter().zip(told) {
        assert!(issue.contains(part), "{json}: expected {part:?} in {issue:?}");
    }
}

#[track_caller]
fn event(json: &str, expected: &str) {
    check(Root::Event, json, expected, &[]);
}

#[test]
fn keys_lists_and_nulls() {
    event(
        r#"{"metadata": {"event_type": "USER_LOGIN", "productName": "P"}, "principal": {"ip": "10.0.0.1", "mac": [],
            "hostname": null, "asset": {}, "labels": {"key": "k", "value": "v", "rbac_enabled": true}},
            "security_result": {"action": "ALLOW"}, "about": [null, {"ip": ["::1", null]}], "target": null}"#,
        concat!(
            r#"{"metadata":{"eventType":"USER_LOGIN","productName":"P"},"principal":{"ip":["10.0.0.1"],"asset":{},"#,
            r#""labels":[{"key":"k","value":"v","rbacEnabled":true}]},"securityResult":[{"action":["ALLOW"]}],"#,
            r#""about":[{"ip":["::1"]}]}"#
        ),
    );
    event(r#"{"about": [null], "principal": {"ip": null}}"#, r#"{"principal":{}}"#);
    event("{}", "{}");
}

#[test]
fn numbers_enums_and_bools() {
    event(
        r#"{"network": {"sent_bytes": 18446744073709551615, "received_bytes": "7", "total_bytes": 1e3,
            "sent_packets": -3, "ipv6": "true", "ip_protocol": 6, "application_protocol": "HTTPS"},
            "principal": {"port": "0443"}, "target": {"port": 8080.0}}"#,
        concat!(
            r#"{"network":{"sentBytes":"18446744073709551615","receivedBytes":"7","totalBytes":"1000","#,
            r#""sentPackets":"-3","ipv6":true,"ipProtocol":"TCP","applicationProtocol":"HTTPS"},"#,
            r#""principal":{"port":443},"target":{"port":8080}}"#
        ),
    );
    // A number that no name stands for stays a number; doubles are as short as they can be.
    event(
        r#"{"metadata": {"event_type": 4711}, "security_result": [{"category": [10000, "SOFTWARE_PUA", 999]},
            {"risk_score": "1.50"}, {"riskScore": "NaN"}, {"risk_score": 2}, {"risk_score": 1e20},
            {"confidence_score": "-Infinity"}]}"#,
        concat!(
            r#"{"metadata":{"eventType":4711},"securityResult":[{"category":["SOFTWARE_MALICIOUS","#,
            r#""SOFTWARE_PUA",999]},{"riskScore":1.5},{"riskScore":"NaN"},{"riskScore":2},{"riskScore":1e+20},"#,
            r#"{"confidenceScore":"-Infinity"}]}"#
        ),
    );
}

#[test]
fn bytes_in_every_spelling() {
    for (text, expected) in [
        ("QUI=", "QUI="),
        ("QUI", "QUI="),
        ("QUJ", "QUI="),
        ("-_-_", "+/+/"),
        ("_-8", "/+8="),
        ("QQ==", "QQ=="),
        ("", ""),
        ("8c61ed3d-5d02-41ee-962e-2d7225e4686d", "jGHtPV0CQe6WLi1yJeRobQ=="),
        ("8C61ED3D-5D02-41EE-962E-2D7225E4686D", "jGHtPV0CQe6WLi1yJeRobQ=="),
        // As long as a UUID and with hyphens where it has them, but no UUID.
        ("8c61ed3d-5d02-41ee-962e-2d7225e4686g", "8c61ed3d+5d02+41ee+962e+2d7225e4686g"),
    ] {
        event(&format!(r#"{{"metadata": {{"id": "{text}"}}}}"#), &format!(r#"{{"metadata":{{"id":"{expected}"}}}}"#));
    }
}

#[test]
fn times_and_durations() {
    for (text, expected) in [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500Z"),
        ("2026-01-02T03:04:05.1234Z", "2026-01-02T03:04:05.123400Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789Z"),
        ("2026-01-02T03:04:05.000000000+01:30", "2026-01-02T01:34:05Z"),
        ("2026-01-02t03:04:05-00:00", "2026-01-02T03:04:05Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("1600-02-29T12:00:00+12:00", "1600-02-29T00:00:00Z"),
    ] {
        event(
            &format!(r#"{{"metadata": {{"event_timestamp": "{text}"}}}}"#),
            &format!(r#"{{"metadata":{{"eventTimestamp":"{expected}"}}}}"#),
        );
    }
    for (text, expected) in [
        ("3s", "3s"),
        ("1.5s", "1.500s"),
        ("-0.25s", "-0.250s"),
        ("0.000001s", "0.000001s"),
        ("1.000000001s", "1.000000001s"),
    ] {
        event(
            &format!(r#"{{"network": {{"session_duration": "{text}"}}}}"#),
            &format!(r#"{{"network":{{"sessionDuration":"{expected}"}}}}"#),
        );
    }
    for text in ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "0000-06-01T00:00:00Z"] {
        check(
            Root::Event,
            &format!(r#"{{"metadata": {{"event_timestamp": "{text}"}}}}"#),
            r#"{"metadata":{}}"#,
            &["metadata.event_timestamp: no value of the field's type (an RFC 3339 timestamp"],
        );
    }
}

#[test]
fn free_forms_keep_what_they_hold_and_maps_their_keys() {
    event(
        r#"{"additional": {"Snake_case": 1, "n": null, "e": [], "l": [1, null, "x", {"a_b": 1.50}], "big": 9007199254740993},
            "extracted": {"fields": {"k": {"stringValue": "v"}}}}"#,
        concat!(
            r#"{"additional":{"Snake_case":1,"n":null,"e":[],"l":[1,null,"x",{"a_b":1.5}],"big":9007199254740993},"#,
            r#""extracted":{"fields":{"k":{"stringValue":"v"}}}}"#
        ),
    );
    event(r#"{"additional": null, "extracted": {}}"#, r#"{"extracted":{}}"#);
    event(
        r#"{"security_result": {"variables": {"a_b": {"string_val": "x", "int64_val": 5}, "gone": null, "kept": {}}}}"#,
        r#"{"securityResult":[{"variables":{"a_b":{"stringVal":"x","int64Val":"5"},"kept":{}}}]}"#,
    );
    event(r#"{"security_result": {"variables": {}}}"#, r#"{"securityResult":[{"variables":{}}]}"#);
    event(r#"{"security_result": {"variables": null}}"#, r#"{"securityResult":[{}]}"#);
}

#[test]
fn what_does_not_fit_is_left_out_and_told() {
    check(
        Root::Event,
        r#"{"metadata": {"event_id": "e1", "id": "not base64!", "event_type": "user_login"}, "nope": {"a": [1]},
            "principal": {"hostname": ["a"], "ip": ["10.0.0.1", 5, [6]], "port": 2147483648, "user": "x"},
            "target": {"hostname": "a\u0000b", "url": 5, "asset": []}, "network": {"ip_protocol": ""}}"#,
        r#"{"metadata":{},"principal":{"ip":["10.0.0.1"]},"target":{},"network":{}}"#,
        &[
            "metadata.event_id: unknown field",
            "metadata.id: no value",
            "metadata.event_type: no value",
            "nope: unknown field",
            "principal.hostname: a list does not belong here",
            "principal.ip[1]: no value of the field's type (text)",
            "principal.ip[2]: a list does not belong here",
            "principal.port: no value",
            "principal.user: no value",
            "target.hostname: no value",
            "target.url: no value",
            "target.asset: a list does not belong here",
            "network.ip_protocol: no value",
        ],
    );
    check(
        Root::Event,
        r#"{"network": {"sent_bytes": -1, "received_bytes": "18446744073709551616"},
            "security_result": {"risk_score": 1e39, "confidence_score": "x"}}"#,
        r#"{"network":{},"securityResult":[{}]}"#,
        &["sent_bytes: no value", "received_bytes: no value", "risk_score: no value", "confidence_score: no value"],
    );
    check(
        Root::Event,
        r#"{"additional": "x", "extracted": [{}], "about": [5, {}], "security_result": {"variables": [1]}}"#,
        r#"{"about":[{}],"securityResult":[{}]}"#,
        &["additional: expected an object", "extracted: a list", "about[0]: no value", "variables: a list"],
    );
    check(
        Root::Event,
        r#"{"additional": {"a\u0000": 1, "b": "\u0000", "c": ["\u0000", 1]}}"#,
        r#"{"additional":{"c":[1]}}"#,
        &["the key holds U+0000", "additional[\"b\"]: no value", "additional[\"c\"][0]: no value"],
    );
}

#[test]
fn of_a_repeated_key_the_last_value_is_shown() {
    check(
        Root::Event,
        r#"{"target": {"assetId": "a", "hostname": "h", "asset_id": "b", "asset_id": null, "port": 1, "assetId": "c"}}"#,
        r#"{"target":{"hostname":"h","port":1,"assetId":"c"}}"#,
        &["target.asset_id: stands more than once", "target.asset_id: stands more than once"],
    );
    // What is no value does not take the place of one.
    check(
        Root::Event,
        r#"{"target": {"port": 1, "port": "x"}}"#,
        r#"{"target":{"port":1}}"#,
        &["target.port: no value"],
    );
    check(
        Root::Event,
        r#"{"additional": {"a": 1, "b": {"c": 1, "c": 2}, "a": 3, "A": 4}, "principal": {}, "principal": {"ip": "::1"}}"#,
        r#"{"additional":{"b":{"c":2},"a":3,"A":4},"principal":{"ip":["::1"]}}"#,
        &["additional[\"b\"][\"c\"]: stands", "additional[\"a\"]: stands", "principal: stands"],
    );
}

#[test]
fn what_is_no_record_is_an_empty_one() {
    for (json, told) in [
        ("", "not JSON: EOF"),
        ("{", "not JSON: EOF"),
        ("{\"principal\": {\"ip\": \"::1\"}, \"nope\": 1} x", "not JSON: trailing characters"),
        ("[]", "a list does not belong here"),
        ("5", "expected an object"),
        ("null", "expected an object, got null"),
    ] {
        check(Root::Event, json, "{}", &[told]);
    }
    let schema = Schema::load();
    let (text, left_out) = shown(&schema, Root::Event, b"{\"principal\": {\"hostname\": \"\xFF\"}}");
    assert_eq!((text.as_str(), left_out.issues[0].message.as_str()), ("{}", "not UTF-8 from byte 28"));
}

#[test]
fn much_that_is_left_out_is_counted_and_depth_has_an_end() {
    let schema = Schema::load();
    let many = (0..100).map(|index| format!(r#""x{index}": 1"#)).collect::<Vec<_>>().join(",");
    let (text, left_out) = shown(&schema, Root::Event, format!("{{{many}}}").as_bytes());
    assert_eq!((text.as_str(), left_out.count, left_out.issues.len()), ("{}", 100, limits::FAULTS_MAX));
    for times in [limits::JSON_DEPTH_MAX - 2, limits::JSON_DEPTH_MAX - 1, 100, 20_000] {
        let json = format!(r#"{{"additional": {{"a": {}1{}}}}}"#, "[".repeat(times), "]".repeat(times));
        let (text, left_out) = shown(&schema, Root::Event, json.as_bytes());
        let deep = times > limits::JSON_DEPTH_MAX - 2;
        assert_eq!(left_out.count, usize::from(deep), "{times}: {text}");
        assert!(schema.check(Root::Event, text.as_bytes(), Mode::Lenient).is_ok(), "{text}");
    }
    // The brackets that the sender left out count as well.
    let mut told = 0;
    for times in 1..limits::JSON_DEPTH_MAX {
        for (first, inner) in [
            ("about", "{}"),
            ("principal", "{}"),
            ("principal", "{\"security_result\":{\"category_details\":\"x\"}}"),
            ("principal", "{\"ip\":\"x\"}"),
        ] {
            let (open, close) = ("{\"security_result\":{\"about\":".repeat(times), "}}".repeat(times));
            let json = format!("{{\"{first}\":{open}{inner}{close}}}");
            let (text, left_out) = shown(&schema, Root::Event, json.as_bytes());
            assert!(schema.check(Root::Event, text.as_bytes(), Mode::Lenient).is_ok(), "{json}: {text}");
            told += left_out.count;
        }
    }
    assert!(told > 0);
}

#[test]
fn many_repeats_of_many_keys_cost_no_more_than_their_bytes() {
    let schema = Schema::load();
    let keys = (0..50_000).map(|index| format!(r#""k{index}":1"#)).collect::<Vec<_>>().join(",");
    let json = format!(r#"{{"additional":{{{keys},{keys}}}}}"#);
    let (text, left_out) = shown(&schema, Root::Event, json.as_bytes());
    assert_eq!((text, left_out.count), (format!(r#"{{"additional":{{{keys}}}}}"#), 50_000));
}

#[test]
fn entities_and_what_real_clients_sent() {
    check(
        Root::Entity,
        ENTITIES[2],
        concat!(
            r#"{"metadata":{"collectedTimestamp":"2026-01-01T00:00:00Z","entityType":"USER","vendorName":"v","#,
            r#""productName":"p"},"entity":{"user":{"userid":"johndoe"}}}"#
        ),
        &[],
    );
    check(
        Root::Event,
        EVENTS[3],
        concat!(
            r#"{"metadata":{"eventTimestamp":"2026-01-02T03:04:05Z","eventType":"USER_LOGIN","productName":"Custom","#,
            r#""vendorName":"Me","id":"PsA9b5hVQeGv6TGn7f7+ww=="},"principal":{"user":{"userid":"j"},"#,
            r#""ip":["192.168.1.100"]},"target":{"application":"A"},"securityResult":[{"action":["ALLOW"],"#,
            r#""summary":"ok"}]}"#
        ),
        &["metadata.event_id: unknown field"],
    );
    let schema = Schema::load();
    for (root, records) in [(Root::Event, EVENTS), (Root::Entity, ENTITIES)] {
        for json in records {
            holds(&schema, root, json).unwrap();
        }
    }
}

/// Everything that is promised of any record.
fn holds(schema: &Schema, root: Root, json: &str) -> Result<(), TestCaseError> {
    let (text, left_out) = shown(schema, root, json.as_bytes());
    prop_assert_eq!(left_out.issues.len(), left_out.count.min(limits::FAULTS_MAX));
    prop_assert!(!text.contains('\n'));
    // Every reader of JSON takes it, and no check finds a fault in it, nor anything of what it leaves out.
    prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
    match schema.check(root, text.as_bytes(), Mode::Lenient) {
        Err(faults) => prop_assert!(false, "{}: {}", text, faults),
        Ok(checked) => {
            for issue in checked.issues {
                for part in ["unknown", "more than once", "null stands"] {
                    prop_assert!(!issue.message.contains(part), "{}: {:?}", text, issue);
                }
            }
        }
    }
    let (again, left_out_again) = shown(schema, root, text.as_bytes());
    prop_assert_eq!(&again, &text);
    prop_assert_eq!(left_out_again.count, 0);
    // It has the leaves of the record, in order, those left out aside.
    let (before, after) = (leaves(schema, root, json), leaves(schema, root, &text));
    if left_out.count == 0 {
        prop_assert_eq!(before, after);
    } else if schema.check(root, json.as_bytes(), Mode::Lenient).is_ok() {
        for leaf in after {
            prop_assert!(before.contains(&leaf), "{:?} is not in {:?}", leaf, before);
        }
    }
    Ok(())
}

/// The leaves, those of types with several spellings as values.
fn leaves(schema: &Schema, root: Root, json: &str) -> Vec<(String, String)> {
    let mut leaves = Vec::new();
    schema.visit_leaves(root, json.as_bytes(), &mut |leaf| {
        let kind = schema.resolve(root, leaf.path).map(|path| path.kind());
        let text = match kind {
            Ok(LeafKind::Time) => format!("{:?}", udm::Instant::parse(leaf.text)),
            Ok(LeafKind::Duration) => format!("{:?}", udm::parse_duration(leaf.text)),
            Ok(LeafKind::Float) => format!("{:?}", leaf.text.parse::<f64>()),
            // As it reads in canonical form; that this is right is shown by a table above.
            Ok(LeafKind::Bytes) => "bytes".to_owned(),
            _ => leaf.text.to_owned(),
        };
        leaves.push((leaf.path.to_owned(), text));
    });
    leaves
}

/// Events that a lenient check accepts nearly always, in every spelling that is tolerated, keys in any order.
fn event_as_sent() -> impl Strategy<Value = String> {
    fn one_of(texts: &[&str]) -> BoxedStrategy<String> {
        prop::sample::select(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).boxed()
    }
    /// One value, a list of them, or `null`.
    fn some(value: BoxedStrategy<String>) -> BoxedStrategy<String> {
        let list = prop::collection::vec(value.clone(), 0..3).prop_map(|values| format!("[{}]", values.join(",")));
        prop_oneof![4 => value, 4 => list, 1 => Just("null".to_owned())].boxed()
    }
    fn object(fields: Vec<(&'static [&'static str], BoxedStrategy<String>)>) -> BoxedStrategy<String> {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(keys, value)| {
                prop::option::of((prop::sample::select(keys), value).prop_map(|(k, v)| format!("\"{k}\":{v}")))
            })
            .collect();
        fields
            .prop_map(|fields| fields.into_iter().flatten().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|fields| format!("{{{}}}", fields.join(",")))
            .boxed()
    }
    let text = || one_of(&["\"a\"", "\"\"", "\"é\\n\\u0001\"", "\"10.0.0.1\"", "null"]);
    let label = || object(vec![(&["key"], one_of(&["\"k\"", "\"l\""])), (&["value"], text())]);
    let int = || one_of(&["5", "\"7\"", "1e3", "\"-0\"", "443.0", "null"]);
    let free = any_json().prop_filter_map("free-form objects are objects", |json| {
        (json.starts_with('{') && !json.contains("\\u0000") && !json.contains("1e400")).then_some(json)
    });
    let noun = move || {
        object(vec![
            (&["ip"], some(text())),
            (&["hostname"], text()),
            (&["port"], int()),
            (&["labels"], some(label())),
            (&["asset_id", "assetId"], text()),
            (&["user"], object(vec![(&["email_addresses", "emailAddresses"], some(text()))])),
        ])
    };
    let time = || {
        one_of(&["\"2026-01-02T03:04:05Z\"", "\"2026-01-02T03:04:05.25+02:00\"", "\"1601-01-01T00:00:00Z\"", "null"])
    };
    let result = object(vec![
        (&["action"], some(one_of(&["\"ALLOW\"", "1", "99"]))),
        (&["risk_score", "riskScore"], one_of(&["1.5", "2", "\"NaN\"", "1e-7", "\"3.0\"", "null"])),
        (&["variables"], object(vec![(&["k", "l_m"], object(vec![(&["string_val", "stringVal"], text())]))])),
        (&["first_discovered_time"], time()),
    ]);
    object(vec![
        (
            &["metadata"],
            object(vec![
                (&["event_type", "eventType"], one_of(&["\"USER_LOGIN\"", "15001", "4711", "null"])),
                (&["event_timestamp", "eventTimestamp"], time()),
                (&["id"], one_of(&["\"QUI\"", "\"_-8=\"", "\"8c61ed3d-5d02-41ee-962e-2d7225e4686d\""])),
            ]),
        ),
        (&["principal"], noun()),
        (&["target"], noun()),
        (&["about"], some(noun())),
        (&["additional"], free.boxed()),
        (&["security_result", "securityResult"], some(result)),
        (
            &["network"],
            object(vec![
                (&["sent_bytes", "sentBytes"], one_of(&["5", "\"18446744073709551615\"", "18446744073709551615"])),
                (&["session_duration"], one_of(&["\"1.5s\"", "\"-3s\""])),
                (&["ipv6"], one_of(&["true", "\"false\""])),
            ]),
        ),
    ])
}

#[test]
fn any_record_has_a_canonical_form() {
    let schema = Schema::load();
    proptest!(|(json in event_as_sent())| holds(&schema, Root::Event, &json)?);
    proptest!(ProptestConfig::with_cases(2_000), |(json in any_json(), cut in any::<prop::sample::Index>())| {
        for root in [Root::Event, Root::Entity] {
            holds(&schema, root, &json)?;
            holds(&schema, root, &json[..cut.index(json.len())])?;
        }
    });
}

/// What a search evaluates on is what the reply shows.
#[test]
fn a_search_selects_the_same_values_before_and_after() {
    let schema = Schema::load();
    let selection = Selection::new(&schema, Root::Event, &paths(&schema));
    let selected = |json: &str| {
        let mut values = Vec::new();
        selection.extract(json.as_bytes(), &mut |slot, value| {
            if value != Scalar::Missing {
                values.push(format!("{slot} {value:?}"));
            }
        });
        values
    };
    let with_values = std::cell::Cell::new(0);
    proptest!(|(json in event_as_sent())| {
        let (text, left_out) = shown(&schema, Root::Event, json.as_bytes());
        if left_out.count == 0 {
            let before = selected(&json);
            prop_assert_eq!(&before, &selected(&text));
            prop_assert_eq!(selection.texts(json.as_bytes()), selection.texts(text.as_bytes()));
            with_values.set(with_values.get() + usize::from(!before.is_empty()));
        }
    });
    assert!(with_values.get() > 100, "only {} records had anything to compare", with_values.get());
}
