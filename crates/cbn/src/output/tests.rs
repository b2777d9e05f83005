//! What programs may leave in `@output`, and the events that it becomes. Values are written as JSON, whose numbers are
//! floats as in the language; `{"$int": 1}`, `{"$uint": 1}`, `{"$bytes": "x"}` and `{"$time": "…"}` are the other types.

use std::sync::{Arc, LazyLock};

use bumpalo::Bump;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use udm::{Root, Schema};

use super::{Event, OutputError, OutputOptions, Strictness, convert};
use crate::run::{Context, Failure, Limit, Limits, Run};
use crate::value::{Heap, Names, Value};

fn value<'r>(heap: &Heap<'r>, json: &Json) -> Result<Value<'r>, Failure> {
    Ok(match json {
        Json::Null => panic!("the language has no null"),
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => Value::Float(number.as_f64().unwrap()),
        Json::String(text) => Value::Text(heap.text(text)?),
        Json::Array(elements) => {
            let list = heap.list()?;
            for element in elements {
                list.push(heap, value(heap, element)?)?;
            }
            Value::List(list)
        }
        Json::Object(entries) => {
            if let Some((key, held)) = entries.iter().next().filter(|(key, _)| key.starts_with('$')) {
                return Ok(match key.as_str() {
                    "$int" => Value::Int(held.as_i64().unwrap()),
                    "$uint" => Value::Uint(held.as_u64().unwrap()),
                    "$bytes" => Value::Bytes(heap.bytes(held.as_str().unwrap().as_bytes())?),
                    "$time" => Value::Time(held.as_str().unwrap().parse().unwrap()),
                    other => panic!("{other}"),
                });
            }
            let map = heap.map()?;
            for (key, held) in entries {
                map.set(heap, heap.name(key)?, value(heap, held)?)?;
            }
            Value::Map(map)
        }
    })
}

/// Reading it takes longer than a test.
static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(Schema::load);

/// The context of most tests.
fn context() -> Context {
    Context::new("2024-03-01T10:20:30Z".parse().unwrap())
}

fn converted(
    context: &Context,
    state: &Json,
    outputs: &Json,
    options: &OutputOptions,
) -> Result<Vec<Event>, OutputError> {
    let (bump, names) = (Bump::new(), Names::default());
    let run = Run::new(Heap::new(&bump, &names, 16 << 20), context, 1_000_000).unwrap();
    for (key, held) in state.as_object().unwrap() {
        run.root.set(&run.heap, run.heap.name(key).unwrap(), value(&run.heap, held).unwrap()).unwrap();
    }
    let outputs: Vec<Value<'_>> =
        outputs.as_array().unwrap().iter().map(|output| value(&run.heap, output).unwrap()).collect();
    convert(&SCHEMA, &run, &outputs, options, &Limits::default())
}

/// The one event that a UDM record becomes, and its issues as `field: message`.
fn lenient(udm: &Json) -> (Json, Vec<String>) {
    let outputs = json!([{ "idm": { "read_only_udm": udm } }]);
    let mut events = converted(&context(), &json!({}), &outputs, &OutputOptions::default()).unwrap();
    let event = events.pop().unwrap();
    let issues = event.issues.iter().map(|issue| format!("{}: {}", issue.field, issue.message)).collect();
    (serde_json::from_str(&event.json).unwrap(), issues)
}

struct Case {
    rule: &'static str,
    /// Fields of a UDM record beside its type.
    given: Json,
    expected: Json,
    /// `field: end of message`.
    issues: &'static [&'static str],
}

#[track_caller]
fn check(cases: Vec<Case>) {
    for Case { rule, mut given, expected, issues } in cases {
        given["metadata"]["event_type"] = json!("GENERIC_EVENT");
        let (mut event, mut told) = lenient(&given);
        // In the order of their fields, whichever order the entries of a map have.
        told.sort_unstable();
        let metadata = event["metadata"].as_object_mut().unwrap();
        metadata.remove("eventType");
        metadata.remove("eventTimestamp");
        if metadata.is_empty() {
            event.as_object_mut().unwrap().remove("metadata");
        }
        assert_eq!(event, expected, "{rule}");
        assert_eq!(told.len(), issues.len(), "{rule}: {told:?}");
        for (told, issue) in told.iter().zip(issues) {
            let (field, message) = issue.split_once(": ").unwrap();
            assert!(told.starts_with(&format!("{field}: ")) && told.ends_with(message), "{rule}: {told}");
        }
    }
}

#[test]
fn names_of_fields() {
    check(vec![
        Case {
            rule: "names in snake and in camel case, written in camel case",
            given: json!({"principal": {"asset_id": "A:1", "platformVersion": "2"}}),
            expected: json!({"principal": {"asset": {"assetId": "A:1"}, "assetId": "A:1", "platformVersion": "2"}}),
            issues: &[],
        },
        Case {
            rule: "a name without a field is left out",
            given: json!({"principal": {"no_such": "x", "port": 1}, "nothing": ""}),
            expected: json!({"principal": {"port": 1}}),
            issues: &["nothing: no descriptor found", "principal.no_such: no descriptor found"],
        },
        Case {
            rule: "what parseduseragent makes is written as it is",
            given: json!({"network": {"http": {"user_agent": "b/1", "parsed_user_agent": {"browserVersion": "1", "isX": true}}}}),
            expected: json!({"network": {"http": {"userAgent": "b/1", "parsedUserAgent": {"browserVersion": "1", "isX": true}}}}),
            issues: &[],
        },
        Case {
            rule: "a field of it that the program set stands in the spelling of JSON",
            given: json!({"network": {"http": {"parsed_user_agent": {"browserVersion": "1", "browser_version": "2"}}}}),
            expected: json!({"network": {"http": {"parsedUserAgent": {"browserVersion": "2"}}}}),
            issues: &[],
        },
        Case {
            rule: "what parseduseragent could not read is no map",
            given: json!({"network": {"http": {"parsed_user_agent": "b/1"}}}),
            expected: json!({"network": {"http": {}}}),
            issues: &["network.http.parsed_user_agent: received non-map raw output for sub-message field"],
        },
    ]);
}

#[test]
fn lists_and_single_values() {
    check(vec![
        Case {
            rule: "a single value for a repeated field is a list of it",
            given: json!({"principal": {"user": {"email_addresses": "a@b"}}, "security_result": {"summary": "s"}}),
            expected: json!({"principal": {"user": {"emailAddresses": ["a@b"]}}, "securityResult": [{"summary": "s"}]}),
            issues: &[
                "principal.user.email_addresses: received non-slice or non-array raw output for repeated field",
                "security_result: received non-slice or non-array raw output for repeated field",
            ],
        },
        Case {
            rule: "an empty text stands for nothing, wherever it stands but in a list",
            given: json!({"about": "", "src": "", "principal": {"ip": "", "port": "", "platform": "", "hostname": ""},
                "target": {"file": {"names": ["", "a"]}}}),
            expected: json!({"principal": {}, "target": {"file": {"names": ["", "a"]}}}),
            issues: &[],
        },
        Case {
            rule: "of a list for a single value the last counts",
            given: json!({"principal": {"hostname": ["a", "b"], "url": []}}),
            expected: json!({"principal": {"asset": {"hostname": "b"}, "hostname": "b"}}),
            issues: &["principal.hostname: received slice or array raw output for non-repeated field"],
        },
        Case {
            rule: "lists in lists are part of them; empty ones are nothing",
            given: json!({"target": {"file": {"names": [["a", "b"], "c", []]}}, "about": [[]]}),
            expected: json!({"target": {"file": {"names": ["a", "b", "c"]}}}),
            issues: &[],
        },
        Case {
            rule: "a message that was set is there, with nothing in it too",
            given: json!({"extensions": {"auth": {"type": "AUTHTYPE_UNSPECIFIED"}}, "about": [{}]}),
            expected: json!({"extensions": {"auth": {}}, "about": [{}]}),
            issues: &[],
        },
        Case {
            rule: "a single value is no message",
            given: json!({"principal": "h", "about": ["x", {"url": "u"}]}),
            expected: json!({"about": [{"url": "u"}]}),
            issues: &[
                "about[0]: received non-map raw output for sub-message field",
                "principal: received non-map raw output for sub-message field",
            ],
        },
    ]);
}

#[test]
fn scalars() {
    check(vec![
        Case {
            rule: "numbers of any type for numbers; 64 bits as text",
            given: json!({"principal": {"port": 80, "nat_port": {"$int": 81}}, "network": {"sent_bytes": 9007199254740993u64,
                "received_bytes": {"$uint": u64::MAX}, "http": {"response_code": {"$uint": 200}}}}),
            expected: json!({"principal": {"port": 80, "natPort": 81}, "network": {"sentBytes": "9007199254740992",
                "receivedBytes": "18446744073709551615", "http": {"responseCode": 200}}}),
            issues: &[],
        },
        Case {
            rule: "numbers in texts are numbers",
            given: json!({"principal": {"port": " 80"}, "network": {"sent_bytes": "12.0"}}),
            expected: json!({"principal": {"port": 80}, "network": {"sentBytes": "12"}}),
            issues: &[
                "network.sent_bytes: received non-uint64 raw output for uint64 field",
                "principal.port: received non-int32 raw output for int32 field",
            ],
        },
        Case {
            rule: "what is no number of the type is left out; fractions are cut off",
            given: json!({"principal": {"port": 4294967296u64, "nat_port": 8.5}, "network": {"sent_bytes": -1, "received_bytes": "many"}}),
            expected: json!({"principal": {"natPort": 8}, "network": {}}),
            issues: &[
                "network.received_bytes: received non-uint64 raw output for uint64 field",
                "network.sent_bytes: received -1 as raw output for uint64 field",
                "principal.nat_port: received 8.5 as raw output for int32 field",
                "principal.port: received 4294967296 as raw output for int32 field",
            ],
        },
        Case {
            rule: "zero, false and empty are not written",
            given: json!({"principal": {"port": 0, "hostname": ""}, "network": {"sent_bytes": {"$uint": 0}, "dns": {"response": false}}}),
            expected: json!({"principal": {}, "network": {"dns": {}}}),
            issues: &[],
        },
        Case {
            rule: "numbers and truth for texts are printed",
            given: json!({"principal": {"hostname": 7, "url": true}}),
            expected: json!({"principal": {"asset": {"hostname": "7"}, "hostname": "7", "url": "true"}}),
            issues: &[
                "principal.hostname: received non-string raw output for string field",
                "principal.url: received non-string raw output for string field",
            ],
        },
        Case {
            rule: "true and false in texts",
            given: json!({"network": {"dns": {"response": "true", "authoritative": "false", "truncated": true, "recursion_desired": "yes"}}}),
            expected: json!({"network": {"dns": {"response": true, "truncated": true}}}),
            issues: &[
                "network.dns.authoritative: received non-bool raw output for bool field",
                "network.dns.recursion_desired: received non-bool raw output for bool field",
                "network.dns.response: received non-bool raw output for bool field",
            ],
        },
        Case {
            rule: "floats as short as they can be",
            given: json!({"security_result": [{"risk_score": 0.1, "confidence_score": 70, "detection_depth": {"$int": 3}}]}),
            expected: json!({"securityResult": [{"riskScore": 0.1, "confidenceScore": 70, "detectionDepth": "3"}]}),
            issues: &[],
        },
        Case {
            rule: "bytes in base64",
            given: json!({"network": {"dhcp": {"client_identifier": {"$bytes": "a?>"}}}, "metadata": {"id": "id"}}),
            expected: json!({"network": {"dhcp": {"clientIdentifier": "YT8+"}}, "metadata": {"id": "aWQ="}}),
            issues: &["metadata.id: received non-bytes raw output for bytes field"],
        },
    ]);
}

#[test]
fn enums() {
    check(vec![
        Case {
            rule: "by name and number; the zero value of a single field is not written, in a list it is",
            given: json!({"network": {"ip_protocol": "TCP", "application_protocol": 0, "direction": {"$int": 1}},
                "security_result": [{"action": ["ALLOW", "UNKNOWN_ACTION", 2]}]}),
            expected: json!({"network": {"ipProtocol": "TCP", "direction": "INBOUND"},
                "securityResult": [{"action": ["ALLOW", "UNKNOWN_ACTION", "BLOCK"]}]}),
            issues: &[],
        },
        Case {
            rule: "letters of the other case and numbers in texts are understood, other texts are left out",
            given: json!({"network": {"ip_protocol": "tcp", "direction": "1", "application_protocol": "SPEECH"}}),
            expected: json!({"network": {"ipProtocol": "TCP", "direction": "INBOUND"}}),
            issues: &[
                "network.application_protocol: received \"SPEECH\" as raw output for enum field",
                "network.direction: received \"1\" as raw output for enum field",
                "network.ip_protocol: received \"tcp\" as raw output for enum field",
            ],
        },
    ]);
}

#[test]
fn times_and_durations() {
    check(vec![
        Case {
            rule: "a time, or seconds and nanos",
            given: json!({"principal": {"file": {"first_seen_time": {"$time": "2024-05-06T07:08:09.1Z"},
                "last_seen_time": {"seconds": 1, "nanos": {"$int": 2000}}, "last_analysis_time": {}}}}),
            expected: json!({"principal": {"file": {"firstSeenTime": "2024-05-06T07:08:09.100Z",
                "lastSeenTime": "1970-01-01T00:00:01.000002Z"}}}),
            issues: &[],
        },
        Case {
            rule: "texts and numbers are understood as times, where they are some",
            given: json!({"principal": {"file": {"first_seen_time": "2024-05-06T07:08:09+01:00", "last_seen_time": 1.5,
                "last_analysis_time": "yesterday"}}}),
            expected: json!({"principal": {"file": {"firstSeenTime": "2024-05-06T06:08:09Z",
                "lastSeenTime": "1970-01-01T00:00:01.500Z"}}}),
            issues: &[
                "principal.file.first_seen_time: received non-map raw output for sub-message field",
                "principal.file.last_analysis_time: received non-map raw output for sub-message field",
                "principal.file.last_seen_time: received non-map raw output for sub-message field",
            ],
        },
        Case {
            rule: "no time is after the year 9999",
            given: json!({"principal": {"file": {"first_seen_time": {"seconds": 253402300799u64}, "last_seen_time": {"seconds": 1e15}}}}),
            expected: json!({"principal": {"file": {"firstSeenTime": "9999-12-31T23:59:59Z"}}}),
            issues: &["principal.file.last_seen_time: received a time outside of the years 1 to 9999"],
        },
        Case {
            rule: "durations",
            given: json!({"network": {"session_duration": {"seconds": {"$int": 40}}}, "principal": {"process": {"user_duration": "1.5s"}}}),
            expected: json!({"network": {"sessionDuration": "40s"}, "principal": {"process": {"userDuration": "1.500s"}}}),
            issues: &["principal.process.user_duration: received non-map raw output for sub-message field"],
        },
    ]);
}

#[test]
fn free_form_fields_and_maps() {
    check(vec![
        Case {
            rule: "fields with keys and values of a kind; of equal keys the last counts",
            given: json!({"additional": {"fields": [
                {"key": "s", "value": {"string_value": "x"}}, {"key": "s", "value": {"string_value": ""}},
                {"key": "n", "value": {"number_value": 80}}, {"key": "b", "value": {"bool_value": false}},
                {"key": "l", "value": {"list_value": {"values": [{"string_value": "a"}, {"number_value": {"$int": 1}}]}}},
                {"key": "o", "value": {"struct_value": {"fields": {"k": {"string_value": "v"}}}}},
                {"key": "nothing", "value": {}}, {"key": "none"}, ""]}}),
            expected: json!({"additional": {"s": "", "n": 80, "b": false, "l": ["a", 1], "o": {"k": "v"}}}),
            issues: &[],
        },
        Case {
            rule: "a number for a string value, and values without a kind",
            given: json!({"additional": {"fields": [{"key": "s", "value": {"string_value": 1}}, {"key": "p", "value": "plain"}]}}),
            expected: json!({"additional": {"s": "1", "p": "plain"}}),
            issues: &[
                "additional.fields[0].string_value: received non-string raw output for string field",
                "additional.fields[1]: received non-map raw output for sub-message field",
            ],
        },
        Case {
            rule: "a map that is the object itself",
            given: json!({"additional": {"a": {"string_value": "x"}, "fields": ""}}),
            expected: json!({"additional": {"a": "x"}}),
            issues: &[],
        },
        Case {
            rule: "labels are messages like others",
            given: json!({"about": [{"labels": [{"key": "k", "value": "v"}, {"key": "empty", "value": ""}]}]}),
            expected: json!({"about": [{"labels": [{"key": "k", "value": "v"}, {"key": "empty"}]}]}),
            issues: &[],
        },
        Case {
            rule: "maps of messages, as a list of keys and values or as a map",
            given: json!({"security_result": [
                {"variables": [{"key": "a", "value": {"string_val": "x"}}]}, {"variables": {"b": {"int64_val": 2}}}]}),
            expected: json!({"securityResult": [
                {"variables": {"a": {"stringVal": "x"}}}, {"variables": {"b": {"int64Val": "2"}}}]}),
            issues: &[],
        },
    ]);
}

#[test]
fn nouns_and_assets() {
    check(vec![
        Case {
            rule: "§1.7 from the noun to its asset",
            given: json!({"principal": {"hostname": "h", "ip": ["10.0.0.1"], "mac": ["00:00:5e:00:53:01"], "asset_id": "A:1"}}),
            expected: json!({"principal": {
                "hostname": "h", "ip": ["10.0.0.1"], "mac": ["00:00:5e:00:53:01"], "assetId": "A:1",
                "asset": {"hostname": "h", "ip": ["10.0.0.1"], "mac": ["00:00:5e:00:53:01"], "assetId": "A:1"}}}),
            issues: &[],
        },
        Case {
            rule: "§1.7 from the asset to its noun",
            given: json!({"target": {"asset": {"hostname": "h", "ip": ["10.0.0.1"], "product_object_id": "p"}}}),
            expected: json!({"target": {"hostname": "h", "ip": ["10.0.0.1"],
                "asset": {"hostname": "h", "ip": ["10.0.0.1"], "productObjectId": "p"}}}),
            issues: &[],
        },
        Case {
            rule: "§1.7 addresses are joined, each once; names stay",
            given: json!({"src": {"hostname": "a", "ip": ["10.0.0.1", "10.0.0.2", "10.0.0.1"],
                "asset": {"hostname": "b", "ip": ["10.0.0.3", "10.0.0.2"]}}}),
            expected: json!({"src": {"hostname": "a", "ip": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
                "asset": {"hostname": "b", "ip": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}}}),
            issues: &[],
        },
        Case {
            rule: "§1.7 not for other nouns",
            given: json!({"observer": {"hostname": "o"}, "intermediary": [{"ip": ["10.0.0.1"]}],
                "about": [{"asset": {"hostname": "h"}}], "security_result": [{"about": {"hostname": "h"}}]}),
            expected: json!({"observer": {"hostname": "o"}, "intermediary": [{"ip": ["10.0.0.1"]}],
                "about": [{"asset": {"hostname": "h"}}], "securityResult": [{"about": {"hostname": "h"}}]}),
            issues: &[],
        },
        Case {
            rule: "nothing to copy, no asset",
            given: json!({"principal": {"hostname": "", "ip": [], "port": 1}}),
            expected: json!({"principal": {"port": 1}}),
            issues: &[],
        },
    ]);
    // More than are compared one by one.
    let many: Vec<String> = (0..200).map(|at| format!("10.0.0.{}", at % 100)).collect();
    let (event, _) = lenient(&json!({"principal": {"ip": many}}));
    assert_eq!(event["principal"]["asset"]["ip"].as_array().unwrap().len(), 100);
    assert_eq!(event["principal"]["asset"]["ip"], event["principal"]["ip"]);
}

#[test]
fn the_time_of_an_event() {
    let received = "2024-03-01T10:20:30Z";
    let collected = Context { collected_at: Some("2024-02-01T00:00:00Z".parse().unwrap()), ..context() };
    let (of_field, of_date) = ("2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z");
    for (rule, context, state, output, udm, expected) in [
        ("when it was received", &context(), json!({}), json!({}), json!({}), received),
        ("when it was collected", &collected, json!({}), json!({}), json!({}), "2024-02-01T00:00:00Z"),
        ("what date sets", &collected, json!({"@timestamp": {"$time": of_date}}), json!({}), json!({}), of_date),
        (
            "the field timestamp, where it is a time",
            &collected,
            json!({"@timestamp": {"$time": of_date}, "timestamp": {"$time": of_field}}),
            json!({}),
            json!({}),
            of_field,
        ),
        (
            "a text in timestamp is a field of a log",
            &collected,
            json!({"@timestamp": {"$time": of_date}, "timestamp": "2020-01-01T00:00:00Z"}),
            json!({}),
            json!({}),
            of_date,
        ),
        (
            "the event's timestamp",
            &collected,
            json!({"@timestamp": {"$time": of_date}}),
            json!({"timestamp": {"$time": of_field}}),
            json!({}),
            of_field,
        ),
        (
            "what the event says itself",
            &collected,
            json!({"@timestamp": {"$time": of_date}}),
            json!({"timestamp": {"$time": of_field}}),
            json!({"metadata": {"event_timestamp": {"seconds": 1}}}),
            "1970-01-01T00:00:01Z",
        ),
    ] {
        let mut output = output;
        output["idm"] = json!({ "read_only_udm": udm });
        let events = converted(context, &state, &json!([output]), &OutputOptions::default()).unwrap();
        assert_eq!(events[0].timestamp.as_deref(), Some(expected), "{rule}");
        let udm: Json = serde_json::from_str(&events[0].json).unwrap();
        assert_eq!(udm["metadata"]["eventTimestamp"], expected, "{rule}");
    }
}

#[test]
fn what_an_event_does_not_say_of_itself() {
    let context = Context { log_type: Some("MADE_UP".to_owned()), ..context() };
    for (given, expected) in [(json!({}), "MADE_UP"), (json!({"metadata": {"log_type": "OTHER"}}), "OTHER")] {
        let outputs = json!([{ "idm": { "read_only_udm": given } }]);
        let events = converted(&context, &json!({}), &outputs, &OutputOptions::default()).unwrap();
        let udm: Json = serde_json::from_str(&events[0].json).unwrap();
        assert_eq!(udm["metadata"]["logType"], expected);
    }
}

#[test]
fn entities_and_events() {
    let outputs = json!([
        {"idm": {"entity": {"metadata": {"entity_type": "USER", "interval": {"start_time": {"seconds": 0}}}, "entity": {"user": {"userid": "u"}}}}},
        "",
        {"idm": {"read_only_udm": {"metadata": {"event_type": "GENERIC_EVENT"}}, "is_alert": "true"}, "is_significant": true},
        {"idm": {"graph": {"metadata": {"entity_type": "ASSET"}, "entity": {"hostname": "h"}}}},
    ]);
    let events = converted(&context(), &json!({}), &outputs, &OutputOptions::strict()).unwrap();
    let told: Vec<(Root, &str, bool, bool)> =
        events.iter().map(|event| (event.root, event.json.as_str(), event.is_alert, event.is_significant)).collect();
    assert_eq!(
        told,
        [
            (
                Root::Entity,
                r#"{"entity":{"user":{"userid":"u"}},"metadata":{"collectedTimestamp":"2024-03-01T10:20:30Z","entityType":"USER","interval":{"endTime":"9999-12-31T23:59:59Z","startTime":"1970-01-01T00:00:00Z"}}}"#,
                false,
                false
            ),
            (
                Root::Event,
                r#"{"metadata":{"eventTimestamp":"2024-03-01T10:20:30Z","eventType":"GENERIC_EVENT"}}"#,
                true,
                true
            ),
            (
                Root::Entity,
                r#"{"entity":{"hostname":"h"},"metadata":{"collectedTimestamp":"2024-03-01T10:20:30Z","entityType":"ASSET"}}"#,
                false,
                false
            ),
        ]
    );
}

#[test]
fn an_empty_text_stands_for_nothing_however_strict_the_checks_are() {
    // docs/cbn.md, "What becomes of values": in every type, but in lists. Each is a field, and what is there beside its type.
    for (udm, expected) in [
        (json!({"principal": {"port": ""}}), json!({"principal": {}})),
        (json!({"network": {"sent_bytes": "", "ip_protocol": ""}}), json!({"network": {}})),
        (json!({"network": {"dns": {"response": "", "id": ""}}}), json!({"network": {"dns": {}}})),
        (json!({"principal": {"platform": "", "hostname": ""}}), json!({"principal": {}})),
        (
            json!({"principal": {"ip": "", "asset": "", "location": {"region_latitude": ""}}}),
            json!({"principal": {"location": {}}}),
        ),
        (json!({"about": "", "src": "", "security_result": ["", {"risk_score": ""}]}), json!({"securityResult": [{}]})),
        (
            json!({"network": {"session_duration": {"seconds": "", "nanos": ""}}}),
            json!({"network": {"sessionDuration": "0s"}}),
        ),
        (json!({"metadata": {"event_timestamp": "", "collected_timestamp": ""}}), json!({})),
        (json!({"network": {"http": {"parsed_user_agent": ""}}}), json!({"network": {"http": {}}})),
        (
            json!({"additional": {"fields": [{"key": "n", "value": {"number_value": ""}}, {"key": "b", "value": {"bool_value": ""}}]}}),
            json!({"additional": {}}),
        ),
        (json!({"additional": ""}), json!({})),
    ] {
        let mut udm = udm;
        udm["metadata"]["event_type"] = json!("GENERIC_EVENT");
        for options in [OutputOptions::strict(), OutputOptions::default()] {
            let outputs = json!([{ "idm": { "read_only_udm": udm }, "timestamp": "" }]);
            let events =
                converted(&context(), &json!({}), &outputs, &options).unwrap_or_else(|error| panic!("{udm}: {error}"));
            assert_eq!(events[0].issues, [], "{udm}");
            let mut event: Json = serde_json::from_str(&events[0].json).unwrap();
            event.as_object_mut().unwrap().remove("metadata");
            assert_eq!(event, expected, "{udm}");
        }
    }
    // A list of numbers holds a text then, which is no number.
    let outputs = json!([{ "idm": { "read_only_udm": {"metadata": {"event_type": "GENERIC_EVENT"},
        "security_result": [{"action": [""]}]} } }]);
    assert!(converted(&context(), &json!({}), &outputs, &OutputOptions::strict()).is_err());
}

#[test]
fn what_fails_a_log_in_strict_mode() {
    let idm = "LOG_PARSING_CBN_ERROR: \"generic::invalid_argument: failed to convert raw output to events: failed to convert \
               raw message 0: field \"idm\": index 0: recursive rawDataToProto failed: field \"read_only_udm\": index 0: \
               recursive rawDataToProto failed: ";
    let shape = |rest: &str| format!("{idm}{rest}\"");
    let invalid = |rest: &str| {
        format!(
            "generic::unknown: invalid event 0: LOG_PARSING_GENERATED_INVALID_EVENT: \"generic::invalid_argument: udm \
             validation failed: {rest}\""
        )
    };
    let typed = |event_type: &str, mut udm: Json| {
        udm["metadata"]["event_type"] = json!(event_type);
        udm
    };
    for (udm, field, expected) in [
        (
            json!({"about": [{"port": "80"}]}),
            "about[0].port",
            shape(
                "field \"about\": index 0: recursive rawDataToProto failed: field \"port\": failed to make strategy: received non-int32 raw output for int32 field",
            ),
        ),
        (
            json!({"principal": {"ip": "10.0.0.1"}}),
            "principal.ip",
            shape(
                "field \"principal\": index 0: recursive rawDataToProto failed: field \"ip\": failed to make strategy: received non-slice or non-array raw output for repeated field",
            ),
        ),
        (json!({"hostname": "h"}), "hostname", shape("field \"hostname\": no descriptor found")),
        (json!({}), "metadata.event_type", invalid("metadata.event_type field is not set")),
        (typed("USER_LOGIN", json!({"principal": {"hostname": "h"}})), "target", invalid("target field is not set")),
        (
            typed("USER_LOGIN", json!({"target": {"user": {"userid": "u"}}})),
            "extensions",
            invalid("extensions field is not set"),
        ),
        (
            typed("USER_DELETION", json!({"target": {"hostname": "h"}})),
            "target.user",
            invalid("target.user field is not set"),
        ),
        (
            typed("NETWORK_CONNECTION", json!({"principal": {"port": 1}, "target": {"ip": ["10.0.0.1"]}})),
            "principal",
            invalid("invalid client device: device is empty"),
        ),
        (
            typed("NETWORK_CONNECTION", json!({"principal": {"asset": {"hostname": "h"}}})),
            "target",
            invalid("target field is not set"),
        ),
        (
            typed(
                "REGISTRY_CREATION",
                json!({"principal": {"hostname": "h"}, "target": {"registry": {"registry_value_name": "n"}}}),
            ),
            "target.registry.registry_key",
            invalid("target.registry.registry_key field is not set"),
        ),
        (
            typed("GENERIC_EVENT", json!({"about": [{"ip": ["10.0.0.1", "ten"]}]})),
            "about.ip[1]",
            invalid("field backstory.Noun.ip[1] \"ten\" does not match type IP"),
        ),
    ] {
        let outputs = json!([{ "idm": { "read_only_udm": udm } }]);
        let error = converted(&context(), &json!({}), &outputs, &OutputOptions::strict()).unwrap_err();
        assert_eq!((error.field(), error.to_string()), (Some(field), expected));
        // The same is an issue otherwise.
        let (_, issues) = lenient(&udm);
        assert!(issues.iter().any(|issue| issue.starts_with(&format!("{field}: "))), "{issues:?}");
    }
}

#[test]
fn outputs_that_are_no_events() {
    for output in [json!("text"), json!(["x"]), json!({}), json!({"idm": {"read_only_udm": 1}})] {
        let error = converted(&context(), &json!({}), &json!([output]), &OutputOptions::default()).unwrap_err();
        assert!(matches!(error, OutputError::Misfit { index: 0, .. }), "{error}");
    }
}

#[test]
fn the_two_kinds_of_strictness_are_independent() {
    let outputs =
        json!([{ "idm": { "read_only_udm": {"metadata": {"event_type": "USER_LOGIN"}, "about": {"port": "1"}} } }]);
    for (shapes, validation, ok) in [
        (Strictness::Lenient, Strictness::Lenient, true),
        (Strictness::Strict, Strictness::Lenient, false),
        (Strictness::Lenient, Strictness::Strict, false),
    ] {
        let options = OutputOptions { shapes, validation };
        assert_eq!(converted(&context(), &json!({}), &outputs, &options).is_ok(), ok);
    }
}

#[test]
fn what_holds_itself_or_is_held_many_times_over_ends_at_a_limit() {
    fn map<'r>(heap: &Heap<'r>, key: &str, held: Value<'r>) -> Value<'r> {
        let map = heap.map().unwrap();
        map.set(heap, heap.name(key).unwrap(), held).unwrap();
        Value::Map(map)
    }
    let (context, bump, names) = (context(), Bump::new(), Names::default());
    let limits = Limits { output_records: 3, output_bytes: 10_000, ..Limits::default() };
    let run = Run::new(Heap::new(&bump, &names, 4 << 20), &context, 1_000_000).unwrap();
    let heap = &run.heap;
    let event = |udm| map(heap, "idm", map(heap, "read_only_udm", udm));
    let end = |outputs: &_| convert(&SCHEMA, &run, outputs, &OutputOptions::default(), &limits);

    // A list in itself, and a message in itself.
    let list = heap.list().unwrap();
    list.push(heap, Value::List(list)).unwrap();
    let udm = map(heap, "additional", map(heap, "fields", Value::List(list)));
    assert_eq!(end(&[event(udm)][..]), Err(OutputError::Limit(Limit::Nesting)));
    let process = map(heap, "parent_process", Value::Bool(true));
    let Value::Map(inner) = process else { unreachable!() };
    inner.set(heap, heap.name("parent_process").unwrap(), process).unwrap();
    let udm = map(heap, "principal", map(heap, "process", process));
    assert_eq!(end(&[event(udm)][..]), Err(OutputError::Limit(Limit::Nesting)));

    // A text of a kilobyte, many times; then one that doubles at each level.
    let long = heap.text(&"x".repeat(1_000)).unwrap();
    let udm = map(heap, "principal", map(heap, "hostname", Value::Text(long)));
    assert_eq!(end(&[event(udm); 3][..]).unwrap().len(), 3);
    assert_eq!(end(&[event(udm); 4][..]), Err(OutputError::Limit(Limit::Output)));
    let mut doubled = Value::Text(long);
    for _ in 0..60 {
        let list = heap.list().unwrap();
        list.push(heap, doubled).unwrap();
        list.push(heap, doubled).unwrap();
        doubled = Value::List(list);
    }
    let udm = map(heap, "target", map(heap, "file", map(heap, "names", doubled)));
    assert_eq!(end(&[event(udm)][..]), Err(OutputError::Limit(Limit::Memory)));
}

/// Anything, made of names that the schema has at one place or another, so that it often fits.
fn anything() -> impl Strategy<Value = Json> {
    const NAMES: [&str; 40] = [
        "metadata",
        "event_type",
        "event_timestamp",
        "id",
        "principal",
        "target",
        "src",
        "about",
        "asset",
        "hostname",
        "ip",
        "mac",
        "asset_id",
        "assetId",
        "port",
        "process",
        "parent_process",
        "file",
        "size",
        "names",
        "network",
        "http",
        "parsed_user_agent",
        "sent_bytes",
        "session_duration",
        "security_result",
        "action",
        "risk_score",
        "variables",
        "additional",
        "fields",
        "key",
        "value",
        "string_value",
        "list_value",
        "values",
        "struct_value",
        "seconds",
        "nanos",
        "no_such",
    ];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no other floats", |number| number.is_finite()).prop_map(Json::from),
        any::<i64>().prop_map(|number| json!({ "$int": number })),
        any::<u64>().prop_map(|number| json!({ "$uint": number })),
        prop::sample::select(vec![
            "",
            "80",
            "-1",
            "1e30",
            "true",
            "ALLOW",
            "USER_LOGIN",
            "10.0.0.1",
            "1.5s",
            "\u{1}\"\\é",
            "2024-05-06T07:08:09Z",
            "0001-01-01T00:00:00+05:00"
        ])
        .prop_map(Json::from),
        "[ -~]{0,20}".prop_map(|text| json!({ "$bytes": text })),
        Just(json!({ "$time": "-000001-01-01T00:00:00Z" })),
        Just(json!({ "$time": "2024-05-06T07:08:09.123456789Z" })),
    ];
    leaf.prop_recursive(7, 120, 8, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            4 => prop::collection::vec((prop::sample::select(NAMES.to_vec()), inner), 0..8)
                .prop_map(|entries| entries.into_iter().map(|(key, held)| (key.to_owned(), held)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_program_leaves_becomes_a_record_that_may_be_stored(given in anything(), entity in any::<bool>()) {
        let (root, name) = if entity { (Root::Entity, "entity") } else { (Root::Event, "read_only_udm") };
        let mut given = given;
        if !given.is_object() || given.as_object().unwrap().keys().any(|key| key.starts_with('$')) {
            given = json!({ "principal": given });
        }
        let outputs = json!([{ "idm": { name: given } }]);
        let lenient = converted(&context(), &json!({}), &outputs, &OutputOptions::default()).unwrap();
        prop_assert_eq!(lenient.len(), 1);
        let event = &lenient[0];
        prop_assert_eq!(event.root, root);
        // It is JSON, of the types of the schema.
        let checked = SCHEMA.check(root, event.json.as_bytes(), udm::Mode::Lenient);
        prop_assert!(checked.is_ok(), "{} {:?}", event.json, checked);
        // What fits is the same for either strictness.
        let shapes = OutputOptions { shapes: Strictness::Strict, validation: Strictness::Lenient };
        if let Ok(strict) = converted(&context(), &json!({}), &outputs, &shapes) {
            prop_assert_eq!(&strict, &lenient);
        }
    }
}
