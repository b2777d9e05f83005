//! Picking fields out of records.

use udm::{Root, Scalar, Schema, Selection};

#[track_caller]
fn check(root: Root, paths: &[&str], json: &str, expected: &[&str]) {
    let schema = Schema::load();
    let paths: Vec<_> = paths.iter().map(|path| schema.resolve(root, path).expect("the path exists")).collect();
    let mut got = Vec::new();
    Selection::new(&schema, root, &paths).extract(json.as_bytes(), &mut |slot, value| {
        got.push(match value {
            Scalar::Missing => format!("{slot} missing"),
            Scalar::Text(text) => format!("{slot} {text:?}"),
            Scalar::Int(number) => format!("{slot} {number}"),
            Scalar::Float(number) => format!("{slot} {number:?}"),
            Scalar::Bool(value) => format!("{slot} {value}"),
            Scalar::Enum(number) => format!("{slot} enum {number}"),
            Scalar::Time(time) => format!("{slot} time {}.{:09}", time.secs, time.nanos),
            Scalar::Duration(nanos) => format!("{slot} {nanos}ns"),
        });
    });
    // The order among fields is the record's and nobody's business.
    got.sort();
    assert_eq!(got, expected, "{json}");
}

#[track_caller]
fn event(paths: &[&str], json: &str, expected: &[&str]) {
    check(Root::Event, paths, json, expected);
}

#[test]
fn values_of_every_type() {
    event(
        &[
            "metadata.event_type",
            "metadata.event_timestamp",
            "metadata.event_timestamp.seconds",
            "metadata.event_timestamp.nanos",
            "principal.port",
            "network.ipv6",
            "network.session_duration",
            "network.sent_bytes",
            "security_result.risk_score",
            "metadata.id",
            "network.ip_protocol",
        ],
        r#"{"metadata": {"eventType": "USER_LOGIN", "eventTimestamp": "2026-01-02T03:04:05.5Z", "id": "QUI="},
            "principal": {"port": "443", "ip": ["skipped", {"odd": [1]}]},
            "network": {"ipv6": true, "session_duration": "1.5s", "sent_bytes": 1e3, "ip_protocol": "WARP"},
                "security_result": {"risk_score": 2}}"#,
        &[
            "0 enum 15001",
            "1 time 1767323045.500000000",
            "10 \"WARP\"",
            "2 1767323045",
            "3 500000000",
            "4 443",
            "5 true",
            "6 1500000000ns",
            "7 1000",
            "8 2.0",
            "9 \"QUI=\"",
        ],
    );
}

#[test]
fn lists_are_taken_apart_and_gaps_are_told() {
    let paths = &["about.hostname", "about.ip", "principal.hostname"];
    event(paths, "{}", &["0 missing", "1 missing", "2 missing"]);
    event(paths, r#"{"about": [], "principal": null}"#, &["0 missing", "1 missing", "2 missing"]);
    event(
        paths,
        r#"{"about": [{"hostname": "a"}, {"ip": ["1", null, "2"]}, null], "principal": {"hostname": null}}"#,
        &["0 \"a\"", "0 missing", "1 \"1\"", "1 \"2\"", "1 missing", "2 missing"],
    );
    event(paths, r#"{"about": {"ip": "1"}, "principal": {"hostname": "h"}}"#, &["0 missing", "1 \"1\"", "2 \"h\""]);
}

#[test]
fn labels_by_their_key() {
    let paths =
        &["principal.labels[\"a\"]", "principal.labels[\"b\"]", "principal.labels.key", "principal.labels.value"];
    event(
        paths,
        r#"{"principal": {"labels": [{"key": "a", "value": "1"}, {"value": "2", "key": "a"}, {"key": "c"}]}}"#,
        &["0 \"1\"", "0 \"2\"", "1 missing", "2 \"a\"", "2 \"a\"", "2 \"c\"", "3 \"1\"", "3 \"2\"", "3 missing"],
    );
    event(
        paths,
        r#"{"principal": {"labels": {"key": "b", "value": "x"}}}"#,
        &["0 missing", "1 \"x\"", "2 \"b\"", "3 \"x\""],
    );
    event(paths, r#"{"principal": {"hostname": "h"}}"#, &["0 missing", "1 missing", "2 missing", "3 missing"]);
}

#[test]
fn free_forms_in_both_shapes() {
    let paths = &[
        "additional.fields[\"k\"]",
        "additional.fields[\"d\"].fields[\"e\"]",
        "additional.fields.value",
        "additional.fields.key",
    ];
    event(
        paths,
        r#"{"additional": {"k": "v", "d": {"e": 5}, "n": [1.5, true]}}"#,
        &["0 \"v\"", "1 5", "2 \"v\"", "2 1.5", "2 true", "3 \"d\"", "3 \"k\"", "3 \"n\""],
    );
    event(
        paths,
        r#"{"additional": {"fields": {"k": {"stringValue": "v"},
            "d": {"struct_value": {"fields": {"e": {"number_value": 5}}}}}}}"#,
        &["0 \"v\"", "1 5", "2 \"v\"", "3 \"d\"", "3 \"k\""],
    );
    event(
        &["additional[\"k\"]"],
        r#"{"additional": {"fields": {"k": {"listValue": {"values": [{"stringValue": "a"}, {"boolValue": false}]}}}}}"#,
        &["0 \"a\"", "0 false"],
    );
    event(&["additional[\"fields\"]"], r#"{"additional": {"fields": "odd"}}"#, &["0 \"odd\""]);
    event(paths, r#"{"additional": {}}"#, &["0 missing", "1 missing", "2 missing", "3 missing"]);
    event(paths, r#"{"additional": null}"#, &["0 missing", "1 missing", "2 missing", "3 missing"]);
    event(&["additional[\"k\"]"], r#"{"additional": {"fields": {"other": {"stringValue": "v"}}}}"#, &["0 missing"]);
    event(
        &["security_result.variables[\"x\"].string_val"],
        r#"{"security_result": [{"variables": {"x": {"stringVal": "y"}}}, {"variables": {"z": {}}}]}"#,
        &["0 \"y\"", "0 missing"],
    );
}

#[test]
fn entities_and_broken_records() {
    check(
        Root::Entity,
        &["entity.user.userid", "metadata.interval.end_time"],
        r#"{"entity": {"user": {"userid": "u"}}, "metadata": {"interval": {"end_time": "9999-12-31T23:59:59Z"}}}"#,
        &["0 \"u\"", "1 time 253402300799.000000000"],
    );
    event(&["principal.port"], r#"{"principal": {"port": "many"}}"#, &[]);
    event(&["principal.port"], "not json", &[]);
    let deep = format!("{{\"additional\":{}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    event(&["additional[\"a\"]", "principal.port"], &deep, &["1 missing"]);
}

#[test]
fn rows_of_texts() {
    let schema = Schema::load();
    let paths = [
        "metadata.event_type",
        "metadata.id",
        "metadata.event_timestamp",
        "metadata.event_timestamp.seconds",
        "principal.ip",
        "principal.labels[\"env\"]",
        "network.session_duration",
        "network.ip_protocol",
        "security_result.risk_score",
        "additional.fields[\"k\"]",
        "target.hostname",
        "principal",
    ]
    .map(|path| schema.resolve(Root::Event, path).expect("the path exists"));
    let row = Selection::new(&schema, Root::Event, &paths).texts(
        br#"{"metadata": {"eventType": 15001, "id": "8c61ed3d-5d02-41ee-962e-2d7225e4686d",
                "event_timestamp": "2026-01-02T03:04:05.5+01:00"},
            "principal": {"ip": ["10.0.0.1", "::1"], "labels": [{"key": "env", "value": "p, \"q\""}]},
            "network": {"session_duration": "1.5s", "ip_protocol": "warp"}, "security_result": {"risk_score": "2.0"},
            "additional": {"k": [1, true, "x"]}}"#,
    );
    let expected: [&[&str]; 12] = [
        &["USER_LOGIN"],
        &["jGHtPV0CQe6WLi1yJeRobQ=="],
        &["2026-01-02T02:04:05.500Z"],
        &["1767319445"],
        &["10.0.0.1", "::1"],
        &["p, \"q\""],
        &["1.500s"],
        &["warp"],
        &["2"],
        &["1", "true", "x"],
        &[],
        &[],
    ];
    assert_eq!(row, expected);
}
