//! What is accepted, what becomes an issue, what is a fault.

use event::limits;
use udm::{Mode, Root, Schema};

use crate::samples::{ENTITIES, EVENTS};

/// `Ok` lists parts of the issues, `Err` parts of the faults, each as "path: message".
#[track_caller]
fn check(root: Root, mode: Mode, json: &str, expected: Result<&[&str], &[&str]>) {
    let schema = Schema::load();
    let (got, parts) = match (schema.check(root, json.as_bytes(), mode), expected) {
        (Ok(checked), Ok(parts)) => (
            checked.issues.into_iter().map(|issue| format!("{}: {}", issue.field, issue.message)).collect::<Vec<_>>(),
            parts,
        ),
        (Err(faults), Err(parts)) => {
            (faults.0.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect(), parts)
        }
        (got, expected) => panic!("{json}: got {got:?}, expected {expected:?}"),
    };
    assert_eq!(got.len(), parts.len(), "{json}: {got:#?}");
    for (got, part) in got.iter().zip(parts) {
        assert!(got.contains(part), "{json}: expected {part:?} in {got:?}");
    }
}

/// An event of a type without rules, with these fields beside its metadata.
fn with(fields: &str) -> String {
    format!(r#"{{"metadata": {{"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "GENERIC_EVENT"}}, {fields}}}"#)
}

#[track_caller]
fn good(fields: &str) {
    check(Root::Event, Mode::Strict, &with(fields), Ok(&[]));
}

#[track_caller]
fn fault(fields: &str, parts: &[&str]) {
    check(Root::Event, Mode::Lenient, &with(fields), Err(parts));
}

#[test]
fn what_real_clients_send_passes_leniently() {
    let schema = Schema::load();
    for json in EVENTS {
        let checked = schema.check(Root::Event, json.as_bytes(), Mode::Lenient).unwrap();
        assert!(checked.event_time.is_some() && checked.event_type.is_some(), "{json}");
    }
    for json in ENTITIES {
        let checked = schema.check(Root::Entity, json.as_bytes(), Mode::Lenient).unwrap();
        assert_eq!(schema.type_name(Root::Entity, checked.event_type.unwrap()), Some("USER"));
        assert!(checked.event_time.is_some());
    }
    check(Root::Event, Mode::Strict, EVENTS[0], Ok(&[]));
    check(
        Root::Event,
        Mode::Lenient,
        EVENTS[1],
        Ok(&["network.ip_protocol is missing", "network.application_protocol is missing"]),
    );
    check(
        Root::Event,
        Mode::Strict,
        EVENTS[1],
        Err(&["network.ip_protocol is missing", "network.application_protocol is missing"]),
    );
    check(
        Root::Event,
        Mode::Lenient,
        EVENTS[3],
        Ok(&["metadata.event_id: unknown field", "target.user is missing", "extensions.auth is missing"]),
    );
    check(Root::Entity, Mode::Lenient, ENTITIES[0], Ok(&["email_addresses is missing"]));
}

#[test]
fn the_times_and_types() {
    let schema = Schema::load();
    let time = |root, json: &str| {
        schema.check(root, json.as_bytes(), Mode::Lenient).unwrap().event_time.map(|time| time.to_string())
    };
    assert_eq!(
        time(Root::Event, r#"{"metadata": {"event_timestamp": "2026-01-02T03:04:05+01:00"}}"#).as_deref(),
        Some("2026-01-02T02:04:05Z")
    );
    assert_eq!(time(Root::Event, r#"{"metadata": {"collected_timestamp": "2026-01-02T03:04:05Z"}}"#), None);
    assert_eq!(
        time(Root::Entity, r#"{"metadata": {"creationTimestamp": "2026-01-02T03:04:05Z"}}"#).as_deref(),
        Some("2026-01-02T03:04:05Z")
    );
    assert_eq!(
        time(
            Root::Entity,
            r#"{"metadata": {"interval": {"start_time": "2026-01-02T03:04:05Z", "end_time": "9999-12-31T23:59:59Z"}}}"#
        )
        .as_deref(),
        Some("2026-01-02T03:04:05Z")
    );
    check(
        Root::Event,
        Mode::Lenient,
        r#"{"metadata": {"event_timestamp": "9999-12-31T23:59:59Z", "event_type": 100000}}"#,
        Ok(&["metadata.event_timestamp: the time is outside"]),
    );
    check(
        Root::Event,
        Mode::Lenient,
        r#"{"metadata": {"event_timestamp": "2019-26-02T13:37:04Z", "event_type": 100000}}"#,
        Err(&["metadata.event_timestamp: not a timestamp: month 26"]),
    );
    check(
        Root::Event,
        Mode::Strict,
        r#"{"metadata": {"event_timestamp": "2019-26-02T13:37:04Z", "event_type": 100000}}"#,
        Err(&["metadata.event_timestamp: not a timestamp: month 26"]),
    );
    check(Root::Event, Mode::Strict, "{", Err(&["not JSON: EOF"]));
    check(Root::Event, Mode::Lenient, "{}", Ok(&["event_timestamp is missing", "event_type is missing"]));
    check(
        Root::Event,
        Mode::Strict,
        r#"{"metadata": null}"#,
        Err(&["event_timestamp is missing", "event_type is missing"]),
    );
    assert_eq!(schema.type_name(Root::Event, 15001), Some("USER_LOGIN"));
}

#[test]
fn what_proto3_json_allows() {
    good(
        r#""principal": {"ip": "10.0.0.1", "hostname": null, "port": "443", "mac": [], "asset": {},
            "labels": {"key": "k", "value": "v", "rbacEnabled": true}}"#,
    );
    good(
        r#""securityResult": {"action": "ALLOW", "category": [1, "SOFTWARE_MALICIOUS"], "riskScore": "NaN",
            "confidence_score": "-Infinity"}"#,
    );
    good(
        r#""network": {"sent_bytes": "18446744073709551615", "receivedBytes": 7, "total_bytes": -3,
            "sent_packets": 1e3, "session_duration": "1.5s", "ipv6": "true"}"#,
    );
    good(
        r#""additional": {"a": 1, "b": [true, null, {"c": "d"}], "fields": "x"},
            "extracted": {"fields": {"k": {"stringValue": "v"}}}"#,
    );
    good(
        r#""about": [{"file": {"last_modification_time": "0001-01-01T00:00:00Z"}}],
            "security_result": [{"variables": {"v": {"type": 1, "bytes_val": "_-8"}}}]"#,
    );
    good(
        r#""principal": {"location": {"region_coordinates": {"latitude": 1, "longitude": -2.5},
            "region_latitude": 3}}"#,
    );
    check(
        Root::Event,
        Mode::Strict,
        r#"{"metadata": {"id": "QUI=", "event_timestamp": "2026-01-02T03:04:05Z", "eventType": "GENERIC_EVENT"}}"#,
        Ok(&[]),
    );
}

/// Rules 1 and 3 to 7 of contracts/chronicle.md §0.1, rule by rule; the second is about headers.
#[test]
fn what_clients_of_the_api_may_write() {
    let event = |metadata: &str, fields: &str| {
        let json = format!(
            r#"{{"metadata": {{"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "GENERIC_EVENT"{metadata}}}{fields}}}"#
        );
        for mode in [Mode::Lenient, Mode::Strict] {
            check(Root::Event, mode, &json, Ok(&[]));
        }
    };
    // 1: both spellings in one body.
    event(
        r#", "productName": "p", "vendor_name": "v""#,
        r#", "securityResult": [{"rule_name": "r", "threatName": "t"}]"#,
    );
    // 3: null is unset, whatever the type.
    for field in
        ["ip", "labels", "port", "user", "location", "file", "ip_geo_artifact", "resource_ancestors", "hostname"]
    {
        event("", &format!(r#", "principal": {{"{field}": null}}"#));
    }
    event(
        r#", "id": null, "ingested_timestamp": null, "structured_fields": null, "log_type": null"#,
        r#", "network": {"sent_bytes": null, "ip_protocol": null, "session_duration": null, "ipv6": null},
            "security_result": [{"variables": null, "risk_score": null}], "additional": null, "about": null"#,
    );
    // 4: a value where a list is declared, also of enums and messages.
    event(
        "",
        r#", "principal": {"ip": "1.2.3.4", "user": {"email_addresses": "a@b"}}, "about": {"mac": "m"},
            "security_result": {"action": "ALLOW", "category": 10000, "about": {"ip": "::1"}},
            "extensions": {"auth": {"mechanism": "NETWORK"}}"#,
    );
    // 5: 64-bit integers as numbers and as text.
    for number in ["0", "9007199254740993", "18446744073709551615"] {
        event("", &format!(r#", "network": {{"sent_bytes": {number}, "received_bytes": "{number}"}}"#));
    }
    event("", r#", "network": {"total_bytes": -9223372036854775808, "dns": {"answers": {"ttl": "4294967295"}}}"#);
    // 6: bytes in both alphabets, padded or not, and UUIDs.
    for text in ["QUI=", "QUI", "+/+/", "-_-_", "_-8", "_-8=", "/+8", "8c61ed3d-5d02-41ee-962e-2d7225e4686d"] {
        event(&format!(r#", "id": "{text}""#), "");
    }
    // 7: enums by name and number, times with any fraction and offset.
    for value in ["\"TCP\"", "6"] {
        event("", &format!(r#", "network": {{"ip_protocol": {value}}}"#));
    }
    for digits in 0..=9 {
        let fraction = if digits == 0 { String::new() } else { format!(".{}", &"123456789"[..digits]) };
        for zone in ["Z", "+00:00", "-00:00", "+05:30", "-11:00", "+14:00"] {
            event(&format!(r#", "ingested_timestamp": "2026-01-02T03:04:05{fraction}{zone}""#), "");
        }
    }
}

#[test]
fn types_that_do_not_hold() {
    fault(r#""principal": {"ip": ["10.0.0.1", 5]}"#, &["principal.ip[1]: expected text, got a number"]);
    fault(
        r#""principal": {"hostname": ["a"]}"#,
        &["principal.hostname: expected text (the field holds one value), got a list"],
    );
    fault(r#""principal": "x""#, &["principal: expected an object, got text"]);
    fault(r#""principal": {"port": 2147483648}"#, &["principal.port: 2147483648 is outside"]);
    fault(r#""principal": {"port": "44.5"}"#, &["principal.port: expected a whole number, got \"44.5\""]);
    fault(r#""principal": {"port": 44.5}"#, &["principal.port: expected a whole number, got 44.5"]);
    fault(r#""network": {"sent_bytes": -1}"#, &["network.sent_bytes: -1 is outside 0 to"]);
    fault(r#""network": {"sent_bytes": "18446744073709551616"}"#, &["18446744073709551616 is outside"]);
    fault(r#""network": {"session_duration": 5}"#, &["network.session_duration: expected a duration"]);
    fault(r#""network": {"ipv6": "yes"}"#, &["network.ipv6: expected true or false, got \"yes\""]);
    fault(r#""additional": "x""#, &["additional: expected an object, got text"]);
    fault(r#""security_result": [{"risk_score": 1e39}]"#, &["security_result[0].risk_score: 1e39 is too large"]);
    fault(
        r#""security_result": [{"variables": [1]}]"#,
        &["variables: expected an object of keys and values, got a list"],
    );
    fault(r#""about": [[{}]]"#, &["about[0]: expected an object, got a list"]);
    fault(
        r#""target": {"file": {"last_modification_time": 5}}"#,
        &["target.file.last_modification_time: expected an RFC 3339 timestamp"],
    );
    fault(r#""target": {"hostname": "a\u0000b"}"#, &["target.hostname: holds U+0000"]);
    fault(r#""additional": {"k": {"j": "\u0000"}}"#, &["additional[\"k\"][\"j\"]: holds U+0000"]);
    fault(
        r#""additional": {"k": 1}, "security_result": {"variables": {"v": {"double_val": "x"}}}"#,
        &["security_result.variables[\"v\"].double_val: expected a number"],
    );
    check(Root::Event, Mode::Lenient, r#"{"metadata": {"id": "not base64!"}}"#, Err(&["metadata.id: expected base64"]));
    for (json, part) in [
        ("", "not JSON: EOF"),
        ("[]", "expected an object, got a list"),
        ("null", "expected an object, got null"),
        ("{} x", "not JSON: trailing characters at line 1 column 4"),
        ("{\"principal\": {\"hostname\": \"\\ud800\"}}", "not JSON:"),
        ("{\"principal\": {,}}", "not JSON:"),
    ] {
        check(Root::Event, Mode::Lenient, json, Err(&[part]));
    }
    let schema = Schema::load();
    let faults = schema.check(Root::Event, b"{\"principal\": {\"hostname\": \"\xFF\"}}", Mode::Lenient).unwrap_err();
    assert_eq!(faults.to_string(), "not UTF-8 from byte 28");
}

#[test]
fn what_is_tolerated_but_told() {
    let lenient = |fields: &str, parts: &[&str]| check(Root::Event, Mode::Lenient, &with(fields), Ok(parts));
    let strict = |fields: &str, parts: &[&str]| check(Root::Event, Mode::Strict, &with(fields), Err(parts));
    for told in [lenient as fn(&str, &[&str]), strict] {
        told(
            r#""nope": {"a": [1]}, "principal": {"hostnam": "x"}"#,
            &["nope: unknown field", "principal.hostnam: unknown field"],
        );
        told(
            r#""network": {"ip_protocol": "tcp"}"#,
            &["network.ip_protocol: unknown value \"tcp\"; did you mean TCP?"],
        );
        told(r#""principal": {"ip": [null, "::1"]}"#, &["principal.ip[0]: null stands in a list"]);
    }
    // Both spellings, or the same one twice: no rule forbids it outright, and both are kept.
    lenient(r#""target": {"assetId": "a", "asset_id": "b"}"#, &["target.asset_id: stands more than once"]);
    lenient(r#""target": {"hostname": "a", "hostname": "b"}"#, &["target.hostname: stands more than once"]);
    let long = "v".repeat(257);
    check(
        Root::Event,
        Mode::Lenient,
        &format!(
            r#"{{"metadata": {{"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "GENERIC_EVENT",
                "vendor_name": "{long}"}}}}"#
        ),
        Ok(&["metadata.vendor_name: 257 bytes long, Google keeps 256"]),
    );
}

#[test]
fn what_event_types_need() {
    let of = |kind: &str, fields: &str| {
        format!(r#"{{"metadata": {{"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "{kind}"}}, {fields}}}"#)
    };
    for (kind, fields, parts) in [
        ("PROCESS_LAUNCH", r#""principal": {"hostname": "h"}, "target": {"process": {"pid": "1"}}"#, &[][..]),
        (
            "PROCESS_LAUNCH",
            r#""principal": {"asset": {"hostname": "h"}}, "target": {}"#,
            &["target.process is missing"],
        ),
        (
            "PROCESS_MODULE_LOAD",
            r#""principal": {"ip": []}"#,
            &["principal needs", "principal.process is", "target.process.file is"],
        ),
        ("FILE_COPY", r#""principal": {"mac": "m"}, "target": {"file": {"md5": "x"}}"#, &["src.file is missing"]),
        (
            "SERVICE_START",
            r#""principal": {"ip": "::1"}, "target": {"user": {"userid": "u"}, "application": "a"}"#,
            &[],
        ),
        ("SCAN_HOST", r#""target": {"url": "u"}"#, &["target needs the machine"]),
        (
            "EMAIL_TRANSACTION",
            r#""principal": {"ip": "::1", "email": "a@b"}, "network": {"email": {"from": "a@b"}}"#,
            &["principal.email must be empty"],
        ),
        (
            "NETWORK_CONNECTION",
            r#""principal": {"ip": ["10.0.0.1", "10.0.0.2"], "port": 1}, "network": {"ip_protocol": "TCP"}"#,
            &["principal.ip: principal.ip holds several"],
        ),
        ("NETWORK_DNS", r#""principal": {"ip": ["10.0.0.1", "10.0.0.2"]}"#, &[]),
    ] {
        check(Root::Event, Mode::Lenient, &of(kind, fields), Ok(parts));
    }
    let entity = |kind: &str, fields: &str| {
        format!(
            r#"{{"metadata": {{"collected_timestamp": "2026-01-02T03:04:05Z", "entity_type": "{kind}"}},
                "entity": {{{fields}}}}}"#
        )
    };
    check(Root::Entity, Mode::Lenient, &entity("IP_ADDRESS", ""), Ok(&["entity.ip is missing"]));
    check(Root::Entity, Mode::Strict, &entity("IP_ADDRESS", r#""ip": "::1""#), Ok(&[]));
    check(Root::Entity, Mode::Strict, &entity("USER", r#""user": {"email_addresses": "a@b"}"#), Ok(&[]));
}

#[test]
fn depth_is_a_fault_and_not_a_crash() {
    let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    // The record itself and the field's own object are two levels.
    good(&format!(r#""additional": {{"a": {}}}"#, nested("[", "]", limits::JSON_DEPTH_MAX - 2)));
    for times in [limits::JSON_DEPTH_MAX - 1, 100, 200, 20_000] {
        let part = &["nested deeper than 64"][..];
        fault(&format!(r#""additional": {{"a": {}}}"#, nested("[", "]", times)), part);
        let json = with(&format!(r#""nope": {}"#, nested("{\"a\":", "}", times + 1)));
        check(Root::Event, Mode::Lenient, &json, Err(part));
        let json = with(&format!(
            r#""principal": {{"process": {}"a"}}}}"#,
            "{\"parent_process\":{\"pid\":\"1\"},\"parentProcess\":".repeat(times)
        ));
        let schema = Schema::load();
        assert!(schema.check(Root::Event, json.as_bytes(), Mode::Lenient).is_err());
    }
}

#[test]
fn faults_and_issues_are_counted_out() {
    let many = (0..100).map(|index| format!(r#""x{index}": 1"#)).collect::<Vec<_>>().join(",");
    let schema = Schema::load();
    let json = with(&many);
    assert_eq!(schema.check(Root::Event, json.as_bytes(), Mode::Lenient).unwrap().issues.len(), limits::FAULTS_MAX);
    assert_eq!(schema.check(Root::Event, json.as_bytes(), Mode::Strict).unwrap_err().0.len(), limits::FAULTS_MAX);
    let deep = format!("{}{{\"日本語\":1}}{}", "{\"parent_process\":".repeat(30), "}".repeat(30));
    let json = with(&format!(r#""principal": {{"process": {deep}}}"#));
    let issues = schema.check(Root::Event, json.as_bytes(), Mode::Lenient).unwrap().issues;
    assert!(issues[0].field.starts_with("principal.process.parent_process"), "{issues:?}");
    assert!(issues[0].field.ends_with("parent_process.日本語") && issues[0].field.len() < 110, "{issues:?}");
}
