//! Records that are put in: by `put-logs`, and again by `replay`.

use super::*;

#[test]
fn what_the_seed_puts_in_becomes_envelopes() {
    let body = captured().into_iter().find(|request| request["path"] == PUSH).unwrap()["body"].clone();
    let world = world();
    let answer = send_as(&world, "sender", "POST", PUSH, body.as_str().unwrap().as_bytes());
    assert_eq!((answer.status, answer.raw.len(), answer.key), (200, 0, None));
    assert_eq!(answer.feeds, [format!("oci/{LOG}")]);
    let oracle = json!({
        "compartmentid": COMPARTMENT,
        "ingestedtime": "2026-11-21T19:45:00Z",
        "loggroupid": "ocid1.loggroup.oc1.ap-seoul-1.g",
        "logid": LOG,
        "tenantid": ocid::tenancy(instance(OURS)),
    });
    let time = Some("2023-10-04T02:03:04.567Z".parse().unwrap());
    let entry = |id: &str, data: Value| {
        let envelope = json!({
            "specversion": "1.0", "id": id, "source": "host1", "type": "my.type", "subject": "/var/log/x",
            "time": "2023-10-04T02:03:04.567Z", "data": data, "oracle": oracle,
        });
        ("OCI_LOGGING".to_owned(), envelope, time)
    };
    assert_eq!(answer.taken, [entry("e1", json!({"a": 1})), entry("e2", json!({"message": "plain 한글"}))]);
}

/// A body with one batch of these entries, and a member more.
fn pushed(batch: &Value) -> Answer {
    push_to(PUSH, &json!({"specversion": "1.0", "logEntryBatches": [batch]}))
}

fn push_to(target: &str, body: &Value) -> Answer {
    send_as(&world(), "sender", "POST", target, body.to_string().as_bytes())
}

#[test]
fn entries_are_completed() {
    let batch = json!({"entries": [{"data": " {\"a\": [1,\n2]} "}, {"data": "{no json}", "id": null, "time": null},
        {"data": "[1]", "time": "2026-11-21T20:00:00+01:00"}, {"data": "", "id": ""}], "source": "-", "type": "t"});
    let answer = pushed(&batch);
    let data: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| &envelope["data"]).collect();
    let text = |text: &str| json!({ "message": text });
    assert_eq!(data, [&json!({"a": [1, 2]}), &text("{no json}"), &text("[1]"), &text("")]);
    let times: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| &envelope["time"]).collect();
    let now = "2026-11-21T19:45:00Z";
    assert_eq!(times, [now, now, "2026-11-21T20:00:00+01:00", now]);
    assert_eq!(answer.taken[2].2, Some("2026-11-21T19:00:00Z".parse().unwrap()));
    let ids: Vec<&str> = answer.taken.iter().map(|(_, envelope, _)| envelope["id"].as_str().unwrap()).collect();
    assert!(ids[0].ends_with("00000000") && ids[1].ends_with("00000001") && ids[3].ends_with("00000003"), "{ids:?}");
    assert!(answer.taken.iter().all(|(_, envelope, _)| envelope.get("subject").is_none()));
}

#[test]
fn each_log_type_is_a_batch() {
    let flow = "com.oraclecloud.vcn.flowlogs.DataEvent";
    let batch = |kind: &str, id: &str| json!({"source": "-", "type": kind, "entries": [{"data": "x", "id": id}]});
    let body = json!({"specversion": "1.0", "logEntryBatches": [batch(flow, "1"), batch("t", "2"), batch(flow, "3")]});
    let check = |target: &str, expected: &[(&str, &str)]| {
        let answer = push_to(target, &body);
        let got =
            answer.taken.iter().map(|(log_type, envelope, _)| (log_type.as_str(), envelope["id"].as_str().unwrap()));
        assert_eq!(got.collect::<Vec<_>>(), expected, "{target}");
        answer
    };
    check(PUSH, &[("OCI_FLOW", "1"), ("OCI_FLOW", "3"), ("OCI_LOGGING", "2")]);
    let audit = [("OCI_AUDIT", "1"), ("OCI_AUDIT", "2"), ("OCI_AUDIT", "3")];
    let answer = check("/20200831/logs/_Audit/actions/push", &audit);
    let root = ocid::tenancy(instance(OURS));
    assert_eq!(answer.feeds, [format!("oci/{root}/_Audit")]);
    assert_eq!(answer.taken[0].1["oracle"]["loggroupid"], "_Audit");
    assert_eq!(answer.taken[0].1["oracle"].get("logid"), None);
    let answer = check(&format!("/20200831/logs/_Audit/actions/push?compartmentId={COMPARTMENT}"), &audit);
    assert_eq!(answer.taken[0].1["oracle"]["compartmentid"], COMPARTMENT);
}

#[test]
fn a_retry_token_makes_a_repeat_known() {
    let world = world();
    let key = |token: &str, data: &str| {
        let body = json!({"specversion": "1.0", "logEntryBatches": [{"source": "-", "type": "t", "entries": [{"data": data}]}]});
        let body = body.to_string();
        let headers = signed(&world, "sender", "POST", PUSH, &[("opc-retry-token", token)], body.as_bytes());
        put(&world, "POST", PUSH, &headers, body.as_bytes()).key
    };
    assert!(key("a", "x").is_some());
    assert_eq!(key("a", "x"), key("a", "x"));
    // Nothing is lost where a client gives the same token to something else.
    assert_ne!(key("a", "x"), key("a", "y"));
    assert_ne!(key("a", "x"), key("b", "x"));
}

#[test]
fn wrong_entries_are_refused_by_name() {
    let check = |body: &str, code: &str, expected: &[(&str, &str)]| {
        let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
        let (status, got, message) = answer.refused();
        assert_eq!((status, got), (400, code), "{body}: {message}");
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        let got: Vec<_> =
            errors.iter().map(|error| (error["field"].as_str().unwrap(), error["message"].as_str().unwrap())).collect();
        assert_eq!(got.len(), expected.len(), "{body}: {got:?}");
        for ((field, message), (expected_field, expected_message)) in got.iter().zip(expected) {
            assert_eq!(field, expected_field, "{body}");
            assert!(message.contains(expected_message), "{body}: {message}");
        }
    };
    let batch = |members: &str| format!(r#"{{"specversion":"1.0","logEntryBatches":[{{{members}}}]}}"#);
    check("", "CannotParseRequest", &[]);
    check("[1]", "CannotParseRequest", &[]);
    check("{\"a\":", "CannotParseRequest", &[]);
    check("{}", "MissingParameter", &[("specversion", "is missing"), ("logEntryBatches", "is missing")]);
    check(r#"{"specversion":"2.0","logEntryBatches":[]}"#, "InvalidParameter", &[("specversion", "must be \"1.0\"")]);
    check(r#"{"specversion":"1.0","logEntryBatches":[]}"#, "InvalidParameter", &[]);
    check(
        r#"{"specversion":"1.0","logEntryBatches":{},"x":1}"#,
        "InvalidParameter",
        &[
            ("logEntryBatches", "not an object"),
            ("x", "is unknown, or stands there twice; known are specversion, logEntryBatches"),
        ],
    );
    check(
        &batch(""),
        "MissingParameter",
        &[
            ("logEntryBatches[0].source", "is missing"),
            ("logEntryBatches[0].type", "is missing"),
            ("logEntryBatches[0].entries", "is missing"),
        ],
    );
    check(
        &batch(r#""source":1,"type":"","subject":[],"defaultlogentrytime":"yesterday","entries":[{"data":"x"}]"#),
        "InvalidParameter",
        &[
            ("logEntryBatches[0].source", "must be a string, not a number"),
            ("logEntryBatches[0].subject", "must be a string, not a list"),
            ("logEntryBatches[0].defaultlogentrytime", "is no time"),
            ("logEntryBatches[0].type", "is empty"),
        ],
    );
    check(
        &batch(
            r#""source":"-","type":"t","entries":[{"data":{"a":1}},{"data":"x","time":"2026-02-30T00:00:00Z"},
            {"data":"\ud800"},{"id":"1"},7,{"data":"x","tiem":""},{"data":"x","data":"y"}]"#,
        ),
        "InvalidParameter",
        &[
            ("logEntryBatches[0].entries[0].data", "must be a string, not an object"),
            ("logEntryBatches[0].entries[1].time", "is no time"),
            ("logEntryBatches[0].entries[2].data", "surrogate"),
            ("logEntryBatches[0].entries[3].data", "is missing"),
            ("logEntryBatches[0].entries[4]", "must be an object, not a number"),
            ("logEntryBatches[0].entries[5].tiem", "known are data, id, time"),
            ("logEntryBatches[0].entries[6].data", "twice"),
        ],
    );
    let large = "x".repeat(event::limits::OCI_ENTRY_BYTES_MAX + 1);
    let entry = |data: &str| format!(r#""source":"-","type":"t","entries":[{{"data":"{data}"}}]"#);
    check(&batch(&entry(&large)), "InvalidParameter", &[("logEntryBatches[0].entries[0].data", "1048577 bytes")]);
    let taken = send_as(&world(), "sender", "POST", PUSH, batch(&entry(&large[1..])).as_bytes());
    assert_eq!(taken.status, 200);
    let long = format!(r#""source":"{}","type":"t","entries":[{{"data":"x"}}]"#, "x".repeat(3_000));
    check(&batch(&long), "InvalidParameter", &[("logEntryBatches[0]", "too long")]);
    // Every fault is counted, twenty are named.
    let many = format!(r#""source":"-","type":"t","entries":[{}]"#, vec![r#"{"data":1}"#; 30].join(","));
    let answer = send_as(&world(), "sender", "POST", PUSH, batch(&many).as_bytes());
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 20);
    assert!(answer.refused().2.contains("29 more faults"), "{}", answer.body);
}

#[test]
fn what_is_hidden_or_too_much_is_refused() {
    let body = r#"{"specversion":"1.0","logEntryBatches":[{"source":"-","type":"t","entries":[{"d\u0061ta":"x"}]}]}"#;
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert!(answer.refused().2.contains("write the key \"data\" without escapes"));
    let body = r#"{"s\u006furce":"s","type":"t","data":"x"}"#;
    let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
    assert!(answer.refused().2.contains("write the key \"source\" without escapes"));
    let entries = vec![r#"{"data":""}"#; event::limits::OCI_ENTRIES_MAX + 1].join(",");
    let body =
        format!(r#"{{"specversion":"1.0","logEntryBatches":[{{"source":"-","type":"t","entries":[{entries}]}}]}}"#);
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert_eq!((answer.refused().0, answer.refused().1), (413, "RequestEntityTooLarge"));
    // What every entry repeats may be more than the body.
    let entries = vec![r#"{"data":""}"#; 50_000].join(",");
    let source = "s".repeat(1_200);
    let body = format!(
        r#"{{"specversion":"1.0","logEntryBatches":[{{"source":"{source}","type":"t","entries":[{entries}]}}]}}"#
    );
    let answer = send_as(&world(), "sender", "POST", PUSH, body.as_bytes());
    assert_eq!((answer.refused().0, answer.refused().1), (413, "RequestEntityTooLarge"));
}

#[test]
fn logs_are_found_in_their_tenancy_only() {
    let body =
        json!({"specversion": "1.0", "logEntryBatches": [{"source": "-", "type": "t", "entries": [{"data": "x"}]}]});
    let check = |id: &str, expected: (u16, &str)| {
        for (call, body) in [("push", &body), ("replay", &json!([{"source": "-", "type": "t", "data": {}}]))] {
            let answer = push_to(&format!("/20200831/logs/{id}/actions/{call}"), body);
            let got = if answer.taken.is_empty() { answer.refused().1 } else { "" };
            assert_eq!((answer.status, got), expected, "{id} {call}");
        }
    };
    check(LOG, (200, ""));
    check("_Audit", (200, ""));
    check(DISABLED_LOG, (409, "Conflict"));
    check(THEIR_LOG, (404, "NotAuthorizedOrNotFound"));
    check("ocid1.log.oc1.ap-seoul-1.unknown", (404, "NotAuthorizedOrNotFound"));
    let theirs = format!("/20200831/logs/_Audit/actions/push?compartmentId={THEIR_COMPARTMENT}");
    assert_eq!(push_to(&theirs, &body).refused().1, "NotAuthorizedOrNotFound");
}

#[test]
fn replayed_envelopes_keep_what_they_say() {
    let envelope = |id: &str, kind: &str| {
        json!({
            "datacontenttype": "application/json", "id": id, "type": kind, "source": "가", "specversion": "1.0",
            "time": "2026-11-20T00:00:00.5Z", "subject": "s",
            "data": {"message": "x", "deep": [{"a": 1.50}]},
            "oracle": {"compartmentid": "old", "ingestedtime": "old", "loggroupid": "old", "logid": "old",
                "tenantid": "old", "vnicocid": "ocid1.vnic"},
        })
    };
    let check = |body: &str, expected: &[(&str, Value)]| {
        let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.taken.len(), expected.len(), "{body}");
        for ((log_type, got, time), (expected_type, expected)) in answer.taken.iter().zip(expected) {
            assert_eq!(log_type, expected_type);
            let mut expected = expected.clone();
            let now = "2026-11-21T19:45:00Z";
            for (key, value) in [
                ("compartmentid", COMPARTMENT),
                ("ingestedtime", now),
                ("loggroupid", "ocid1.loggroup.oc1.ap-seoul-1.g"),
            ] {
                expected["oracle"][key] = value.into();
            }
            expected["oracle"]["logid"] = LOG.into();
            expected["oracle"]["tenantid"] = ocid::tenancy(instance(OURS)).into();
            if expected["id"].is_null() {
                expected["id"] = got["id"].clone();
                assert!(got["id"].as_str().unwrap().len() > 30);
            }
            assert_eq!(got, &expected);
            assert_eq!(*time, Some(got["time"].as_str().unwrap().parse().unwrap()));
        }
    };
    let (one, two) = (envelope("1", "t"), envelope("2", "com.oraclecloud.vcn.flowlogs.DataEvent"));
    check(&json!([one]).to_string(), &[("OCI_LOGGING", one.clone())]);
    check(&format!("{one}\n{two}\n"), &[("OCI_LOGGING", one.clone()), ("OCI_FLOW", two)]);
    check(&format!("\n  {one} \n\n {one}"), &[("OCI_LOGGING", one.clone()), ("OCI_LOGGING", one)]);
    // What is not there is given; a text is a message, or the object that it is.
    let bare = |data: &str| {
        json!({"specversion": "1.0", "id": null, "source": "s", "type": "t", "time": "2026-11-21T19:45:00Z",
            "data": {"message": data}, "oracle": {}})
    };
    check(r#"{"source":"s","type":"t","data":"plain"}"#, &[("OCI_LOGGING", bare("plain"))]);
    check(r#"{"source":"s","type":"t","data":"{\"message\":\"m\"}","oracle":null}"#, &[("OCI_LOGGING", bare("m"))]);
}

#[test]
fn wrong_envelopes_are_refused_by_name() {
    let check = |body: &str, code: &str, expected: &[(&str, &str)]| {
        let answer = send_as(&world(), "sender", "POST", REPLAY, body.as_bytes());
        assert_eq!(answer.refused().1, code, "{body}: {}", answer.body);
        let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
        assert_eq!(errors.len(), expected.len(), "{body}: {errors:?}");
        for (error, (field, message)) in errors.iter().zip(expected) {
            assert_eq!(error["field"], *field, "{body}");
            assert!(error["message"].as_str().unwrap().contains(message), "{body}: {error}");
        }
    };
    check("", "InvalidParameter", &[]);
    check("[]", "InvalidParameter", &[]);
    check("{", "CannotParseRequest", &[]);
    check("[{}] x", "CannotParseRequest", &[]);
    check(r#"{"type":"t","data":{}}"#, "MissingParameter", &[("[0].source", "is missing")]);
    check("7", "InvalidParameter", &[("[0]", "not a number")]);
    check(r#"{"source":"s"}"#, "MissingParameter", &[("[0].type", "is missing"), ("[0].data", "is missing")]);
    check(
        r#"{"source":"s","type":7,"data":[],"time":"now","oracle":1,"x":"\ud800"}"#,
        "InvalidParameter",
        &[
            ("[0].type", "must be a string"),
            ("[0].data", "an object or a string, not a list"),
            ("[0].oracle", "must be an object"),
            ("[0].x", "surrogate"),
            ("[0].time", "is no time"),
        ],
    );
    check(r#"{"source":"s","type":"t","data":{"a":1e400}}"#, "InvalidParameter", &[("[0].data", "out of range")]);
    check(r#"{"source":"s","source":"s","type":"t","data":{}}"#, "InvalidParameter", &[("[0].source", "twice")]);
}

#[test]
fn what_this_server_writes_itself_is_the_logs() {
    use crate::auth::bound_to_log;
    use crate::oci::envelope::{FunctionLine, Stream};
    let mut world = world();
    assert!(bound_to_log(DISABLED_LOG, &world.snapshot).is_none());
    assert!(bound_to_log("unknown", &world.snapshot).is_none());
    let sender = bound_to_log(LOG, &world.snapshot).unwrap();
    let line = FunctionLine {
        application: "a",
        application_name: "app",
        function: "f",
        function_name: "fn",
        process: "p",
        request: "r",
        stream: Stream::Stdout,
        message: "hello",
    };
    let record = line.record("1", world.now, &sender.kept(world.now));
    let id = event::BatchId::from_u128(1 << 80).unwrap();
    let (caller, batch) = sender.batch(id, world.now, "function:f", Vec::new(), vec![record]);
    assert_eq!((caller.instance(), batch.meta.instance), (Some(instance(OURS)), instance(OURS)));
    assert_eq!((batch.meta.sender.as_str(), batch.meta.log_type.as_str()), ("function:f", "OCI_LOGGING"));
    assert_eq!(batch.meta.feed, format!("oci/{LOG}"));
    assert!(!caller.scopes().contains(crate::Scope::Read));
    let envelope: Value = serde_json::from_slice(&batch.records[0].data).unwrap();
    assert_eq!((&envelope["data"]["message"], &envelope["oracle"]["logid"]), (&json!("hello"), &json!(LOG)));
    world.snapshot.instances.clear();
    assert!(bound_to_log(LOG, &world.snapshot).is_none());
}

/// Texts of every kind, JSON among them.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| text.replace('\0', "")),
        Just("{\"a\": {\"b\": [1, 2.50, \"\\n\"]}}".to_owned()),
        Just("{}".to_owned()),
        Just("{\"a\": \"\\ud800\"}".to_owned()),
        Just(" [1]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn texts_come_through_as_they_are(
        data in prop::collection::vec((texts(), any::<Option<u8>>()), 1..20),
        source in "[^\0]{1,20}",
        kind in "[^\0]{1,20}",
    ) {
        let entries: Vec<Value> = data
            .iter()
            .map(|(text, id)| match id {
                Some(id) => json!({"data": text, "id": id.to_string()}),
                None => json!({"data": text}),
            })
            .collect();
        let body = json!({"specversion": "1.0", "logEntryBatches": [{"source": source, "type": kind, "entries": entries}]});
        let answer = push_to(PUSH, &body);
        prop_assert_eq!(answer.status, 200, "{}", answer.body);
        prop_assert_eq!(answer.taken.len(), data.len());
        for ((_, envelope, _), (text, id)) in answer.taken.iter().zip(&data) {
            let expected = match serde_json::from_str::<Value>(text) {
                Ok(object @ Value::Object(_)) => object,
                _ => json!({ "message": text }),
            };
            prop_assert_eq!(&envelope["data"], &expected);
            prop_assert_eq!(envelope["source"].as_str(), Some(source.as_str()));
            prop_assert_eq!(envelope["type"].as_str(), Some(kind.as_str()));
            if let Some(id) = id {
                prop_assert_eq!(&envelope["id"], &json!(id.to_string()));
            }
        }
        // What came out can go in again, and says the same.
        let again: Vec<&Value> = answer.taken.iter().map(|(_, envelope, _)| envelope).collect();
        let replayed = push_to(REPLAY, &json!(again));
        prop_assert_eq!(replayed.status, 200, "{}", replayed.body);
        let replayed: Vec<&Value> = replayed.taken.iter().map(|(_, envelope, _)| envelope).collect();
        prop_assert_eq!(replayed, again);
    }
}
