//! The dialect seen from outside: what real clients sent, every tolerance, every error, and what must hold for any
//! bytes.

use std::collections::HashMap;

use event::{BatchMeta, Kind, limits};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::{Role, sign_assertion};
use crate::testing::{KeyPair, OPERATOR, OURS, Outcome, THEIRS, World, instance};

/// The data of a batch's records, as text.
fn texts(batch: &Batch) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

mod captures {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Call {
        method: String,
        path: String,
        headers: HashMap<String, String>,
        #[serde(default)]
        jwt_claims: Option<Value>,
        #[serde(default)]
        json: Option<Value>,
        expect: Value,
    }

    /// Replays the calls of one client in order; the token that it was given goes with the calls behind.
    #[track_caller]
    fn replay(text: &str) {
        const EMAIL: &str = "ingest@proj.iam.gserviceaccount.com";
        let calls: Vec<Call> = serde_json::from_str(text).unwrap();
        let mut world = World::new();
        let key_file = world.add_account(EMAIL, OURS, Role::Ingest, "kid1", &KeyPair::from_seed("one"));
        let mut token = String::new();
        let mut posted = 0;
        for call in calls {
            let bearer = format!("Bearer {token}");
            let mut headers: Vec<(&str, &str)> =
                call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            if let Some(claims) = &call.jwt_claims {
                world.now = Time::from_secs(claims["iat"].as_i64().unwrap()).unwrap();
                let text = |key: &str| claims[key].as_str().unwrap();
                let assertion = sign_assertion(&key_file, text("aud"), text("scope"), world.now).unwrap();
                let form =
                    format!("assertion={assertion}&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
                let (status, body) = world.call(&call.method, &call.path, &headers, form.as_bytes()).replied();
                assert_eq!(status, 200, "{body}");
                token = body["access_token"].as_str().unwrap().to_owned();
                continue;
            }
            headers.push(("authorization", &bearer));
            let body = call.json.as_ref().map(Value::to_string).unwrap_or_default();
            let outcome = world.call(&call.method, &call.path, &headers, body.as_bytes());
            check(&call, outcome);
            posted += usize::from(call.json.is_some());
        }
        assert!(posted > 0 || text.contains("logtypes"), "the capture holds calls");
    }

    #[track_caller]
    fn check(call: &Call, outcome: Outcome) {
        let expect = &call.expect;
        if call.method == "GET" || expect["status"] != 200 {
            let (status, body) = outcome.replied();
            assert_eq!(json!(status), expect["status"], "{body}");
            if status == 200 {
                assert!(body["logTypes"].as_array().unwrap().len() > 2_000);
            } else {
                let found = &body["error"]["details"][0]["fieldViolations"];
                assert_eq!(found[0]["field"], expect["violations"][0]["field"], "{body}");
            }
            return;
        }
        let (caller, batch, _) = outcome.committed();
        assert_eq!((caller.instance(), batch.meta.instance), (Some(instance(OURS)), instance(OURS)));
        let BatchMeta { kind, log_type, namespace, labels, .. } = &*batch.meta;
        assert_eq!(kind.name(), expect["kind"]);
        assert_eq!(*log_type, expect["log_type"]);
        assert_eq!(*namespace, expect["namespace"]);
        let labels: Vec<_> = labels.iter().map(|label| json!([label.key, label.value])).collect();
        assert_eq!(json!(labels), expect["labels"]);
        let expected = expect["records"].as_array().unwrap();
        assert_eq!(batch.records.len(), expected.len());
        for (record, expected) in batch.records.iter().zip(expected) {
            match &expected["data"] {
                Value::String(text) => assert_eq!(record.data, text.as_bytes()),
                object => assert_eq!(serde_json::from_slice::<Value>(&record.data).unwrap(), *object),
            }
            assert_eq!(record.sender_time.map(|time| time.micros()), expected["micros"].as_i64());
        }
    }

    #[test]
    fn seed_sample_with_httplib2() {
        replay(include_str!("captures/seed001_httplib2_local.json"));
        replay(include_str!("captures/seed001_httplib2_proxy.json"));
    }

    #[test]
    fn ingestion_scripts() {
        replay(include_str!("captures/ingestion_scripts_v2.json"));
    }

    #[test]
    fn logstory() {
        replay(include_str!("captures/logstory_legacy_events.json"));
        replay(include_str!("captures/logstory_legacy_entities.json"));
    }

    #[test]
    fn api_samples() {
        replay(include_str!("captures/apisamples_ingestion_create_entities.json"));
        replay(include_str!("captures/apisamples_ingestion_create_udm_events.json"));
        replay(include_str!("captures/apisamples_ingestion_create_unstructured_log_entries.json"));
        replay(include_str!("captures/apisamples_ingestion_list_log_types.json"));
    }
}

/// The request bodies that the seed prints.
mod seed {
    use super::*;

    const LOGS: &str = r#"{
  "customer_id": "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c",
  "log_type": "BIND_DNS",
  "labels" : [
    { "key" : "key_name_one", "value" : "value_one" },
    { "key" : "key_name_two", "value" : "value_two" }
  ]
  "entries": [
    {
      "log_text": "26-Feb-2019 13:35:02.187 client 10.120.20.32#4238: query: altostrat.com IN A + (203.0.113.102)",
      "ts_epoch_microseconds": 1551188102187000
    },
    {
      "log_text": "26-Feb-2019 13:37:04.523 client 10.50.100.33#1116: query: examplepetstore.com IN A + (203.0.113.102)",
      "ts_rfc3339": "2019-26-02T13:37:04.523-08:00"
    },
    {
      "log_text": "26-Feb-2019 13:39:01.115 client 10.1.2.3#3333: query: www.example.com IN A + (203.0.113.102)"
    }
  ];
}"#;

    #[test]
    fn the_erroneous_batch_is_refused_at_every_stage_of_mending_it() {
        let check = |body: &str, expected: &[(&str, &str)], message: &str| {
            super::check_refused(&World::new(), "unstructuredlogentries", body.as_bytes(), 400, expected, message);
        };
        check(LOGS, &[], "expected ',' or '}', found '\"' at offset 215 (line 8, column 3)");
        let with_comma = LOGS.replace("]\n  \"entries\"", "],\n  \"entries\"");
        check(&with_comma, &[], "expected ',' or '}', found ';'");
        let valid_json = with_comma.replace("];", "]");
        check(
            &valid_json,
            &[
                ("entries[1].ts_rfc3339", "month 26"),
                ("entries[1].ts_rfc3339", "the batch uses ts_epoch_microseconds since entries[0]"),
            ],
            "entries[1].ts_rfc3339",
        );
        let valid_date = valid_json.replace("2019-26-02", "2019-02-26");
        check(&valid_date, &[("entries[1].ts_rfc3339", "the batch uses ts_epoch_microseconds")], "entries[1]");
        let one_kind = valid_date.replace("\"ts_epoch_microseconds\": 1551188102187000", "\"x\": 1");
        let (_, batch, _) = World::new().send_logs(&one_kind).committed();
        assert_eq!(batch.records.len(), 3);
        assert_eq!(batch.records[1].sender_time.unwrap().to_string(), "2019-02-26T21:37:04.523Z");
        assert_eq!((batch.records[0].sender_time, batch.meta.labels.len()), (None, 2));
    }

    #[test]
    fn udm_events_and_entities_are_taken_byte_for_byte() {
        let event = r#"{
      "metadata": {
        "event_timestamp": "2019-10-22T12:00:00.000Z",
        "event_type": "USER_LOGIN",
        "product_name": "Acme SSO",
        "vendor_name": "Acme"
      },
      "principal": { "ip": [ "10.1.2.3" ] },
      "target": {
        "application": "Acme Connect",
        "user": { "user_display_name": "Mary Jane", "userid": "mary@altostrat.com" }
      },
      "extensions": { "auth": { "type": "MACHINE", "mechanism": [ "NETWORK" ] } }
    }"#;
        let body = format!("{{\"customer_id\": \"{OURS}\", \"events\": [ {event} , {event}]}}");
        let (_, batch, _) = World::new().send("udmevents", body.as_bytes()).committed();
        assert_eq!(texts(&batch), [event, event]);
        assert_eq!((batch.meta.kind, batch.meta.log_type.as_str()), (Kind::Udm, "UDM"));

        // The seed's own sample names no customer_id: the credential's instance is meant.
        let entity = r#"{
   "metadata": {
      "collected_timestamp":"2021-11-14T15:30:18.142265Z",
      "entity_type": "USER", "vendor_name": "vendor", "product_name": "product"
   },
   "entity": { "user": { "userid": "johndoe", "product_object_id": "doejohn" } }
  }"#;
        let body = format!("{{ \"log_type\": \"AZURE_AD_CONTEXT\", \"entities\": [{entity}]}}");
        let (_, batch, _) = World::new().send("entities", body.as_bytes()).committed();
        assert_eq!(texts(&batch), [entity]);
        assert_eq!((batch.meta.kind, batch.meta.instance), (Kind::Entity, instance(OURS)));
        assert_eq!(batch.meta.log_type, "AZURE_AD_CONTEXT");
    }
}

mod tolerances {
    use super::*;

    /// The body is taken as one log "x" of type OKTA.
    #[track_caller]
    fn check(body: &str) -> (Batch, [u8; 16]) {
        let (_, batch, key) = World::new().send_logs(body).committed();
        assert_eq!((texts(&batch), batch.meta.log_type.as_str()), (vec!["x".to_owned()], "OKTA"), "{body}");
        (batch, key)
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let plain = check(&format!(r#"{{"customer_id":"{OURS}","log_type":"OKTA","entries":[{{"log_text":"x"}}]}}"#));
        for body in [
            format!(r#"{{"customerId":"{OURS}","logType":"OKTA","entries":[{{"logText":"x"}}]}}"#),
            format!(r#"{{"customer_id":"{OURS}","logType":"OKTA","entries":[{{"log_text":"x"}}]}}"#),
            r#"{"log_type":"OKTA","entries":[{"log_text":"x"}]}"#.to_owned(),
            r#"{"customer_id":null,"log_type":"OKTA","entries":[{"log_text":"x"}]}"#.to_owned(),
            r#"{"customer_id":"","log_type":"OKTA","entries":[{"log_text":"x"}]}"#.to_owned(),
            r#"{"log_type":"OKTA","entries":{"log_text":"x"}}"#.to_owned(),
            r#"{"log_type":"OKTA","entries":[{"log_text":"\u0078"}]}"#.to_owned(),
            r#"{"log_type":"OKTA","entries":[{"\u006cog_text":"x"}]}"#.to_owned(),
            r#"{"log_type":"OKTA","namespace":null,"labels":null,"entries":[{"log_text":"x","ts_rfc3339":null,"ts_epoch_microseconds":null}]}"#.to_owned(),
            r#"{"log_type":null,"log_type":"OKTA","entries":[{"log_text":"x"}]}"#.to_owned(),
            r#"{"log_type":"OKTA","unknown":{"deep":[1,{"a":"\ud800"}]},"entries":[{"log_text":"x","also":[]}],"parent":""}"#.to_owned(),
            "\n\t {\r\n\"log_type\" : \"OKTA\" , \"entries\" : [ { \"log_text\" : \"x\" } ] }\n ".to_owned(),
            format!(r#"{{"customer_id":"{}","log_type":"OKTA","entries":[{{"log_text":"x"}}]}}"#, OURS.to_uppercase()),
        ] {
            let (batch, key) = check(&body);
            assert_eq!(batch, plain.0, "{body}");
            assert_eq!(key, plain.1, "{body}");
        }
    }

    #[test]
    fn what_is_no_part_of_the_key() {
        let plain = check(r#"{"log_type":"OKTA","entries":[{"log_text":"x"}]}"#);
        let (batch, key) = check(
            r#"{"namespace":"n","labels":{"key":"k","value":"v","rbac_enabled":"true"},"log_type":"OKTA","entries":[{"log_text":"x"}]}"#,
        );
        assert_eq!(key, plain.1);
        assert_eq!(batch.meta.namespace, "n");
        assert_eq!(batch.meta.labels, [event::Label { key: "k".into(), value: "v".into(), rbac_enabled: true }]);
        let other = World::new().send_logs(r#"{"log_type":"BIND_DNS","entries":[{"log_text":"x"}]}"#).committed();
        assert_eq!(other.2, plain.1, "the log type");
        for (body, what) in [
            (r#"{"log_type":"OKTA","entries":[{"log_text":"y"}]}"#, "a byte"),
            (r#"{"log_type":"OKTA","entries":[{"log_text":"x"},{"log_text":""}]}"#, "a record more"),
            (r#"{"log_type":"OKTA","entries":[{"log_text":"x","ts_epoch_microseconds":1}]}"#, "a time"),
            (r#"{"log_type":"OKTA","entries":[{"log_text":"x","ts_epoch_microseconds":0}]}"#, "the zero time"),
        ] {
            assert_ne!(World::new().send_logs(body).committed().2, plain.1, "{what}");
        }
        let theirs = World::new().call(
            "POST",
            "/v2/unstructuredlogentries:batchCreate?key=theirs-ingest",
            &[],
            br#"{"log_type":"OKTA","entries":[{"log_text":"x"}]}"#,
        );
        assert_ne!(theirs.committed().2, plain.1, "the instance");
        let key = |body: &str| World::new().send_logs(body).committed().2;
        assert_ne!(
            key(r#"{"log_type":"OKTA","entries":[{"log_text":"ab"},{"log_text":"c"}]}"#),
            key(r#"{"log_type":"OKTA","entries":[{"log_text":"a"},{"log_text":"bc"}]}"#),
            "where records end"
        );
        let udm = |body: &str| World::new().send("udmevents", body.as_bytes()).committed().2;
        assert_eq!(udm(r#"{"events":[{"metadata":{}}]}"#), udm(r#" {"customerId":null, "events": {"metadata":{}} }"#));
        assert_ne!(udm(r#"{"events":[{"metadata":{}}]}"#), udm(r#"{"events":[{"metadata": {}}]}"#));
    }

    #[test]
    fn times_in_every_spelling() {
        let times = [
            r#""ts_epoch_microseconds":1551188102187000"#,
            r#""tsEpochMicroseconds":"1551188102187000""#,
            r#""ts_epoch_microseconds":1551188102187000.0"#,
            r#""ts_rfc3339":"2019-02-26T13:35:02.187Z""#,
            r#""tsRfc3339":"2019-02-26T05:35:02.187000000-08:00""#,
            r#""ts_rfc3339":"2019-02-26T13:35:02.187\u005a""#,
        ];
        let all: Vec<_> = times
            .iter()
            .map(|time| check(&format!(r#"{{"log_type":"OKTA","entries":[{{{time},"log_text":"x"}}]}}"#)))
            .collect();
        for ((batch, key), time) in all.iter().zip(times) {
            assert_eq!(batch.records[0].sender_time.unwrap().to_string(), "2019-02-26T13:35:02.187Z", "{time}");
            assert_eq!(*key, all[0].1, "{time}");
        }
    }

    #[test]
    fn every_path_and_header() {
        let world = World::new();
        let logs = br#"{"log_type":"OKTA","entries":[{"log_text":"x"}]}"#;
        let udm = br#"{"events":[{"metadata":{}}]}"#;
        let entities = br#"{"log_type":"OKTA","entities":[{"metadata":{},"entity":{}}]}"#;
        let check = |path: &str, body: &[u8], kind| {
            for headers in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/json")]] {
                let (_, batch, _) = world.call("POST", &format!("{path}?key=ours-ingest"), headers, body).committed();
                assert_eq!(batch.meta.kind, kind, "{path}");
            }
        };
        for version in ["/v1", "/v2"] {
            check(&format!("{version}/unstructuredlogentries:batchCreate"), logs, Kind::Raw);
            check(&format!("{version}/unstructuredlogentries%3AbatchCreate"), logs, Kind::Raw);
            check(&format!("{version}/udmevents:batchCreate"), udm, Kind::Udm);
            check(&format!("{version}/entities%3abatchCreate/"), entities, Kind::Entity);
            let (status, body) = world.call("GET", &format!("{version}/logtypes?key=ours-ingest"), &[], b"").replied();
            assert_eq!(status, 200);
            assert!(
                body["logtypes"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({"log_type": "OUR_GATE", "description": "A gate of ours"}))
            );
        }
        check("/v1/unstructuredlogentries", logs, Kind::Raw);
        check("/v1/udmevents", udm, Kind::Udm);
        check("/v1/entities", entities, Kind::Entity);

        let refused = |method: &str, path: &str, expected: u16| {
            let outcome = world.call(method, &format!("{path}?key=ours-ingest"), &[], logs);
            let Outcome::Replied { status, headers, body } = outcome else { panic!("{path} took it") };
            assert_eq!((status, &body["error"]["code"]), (expected, &json!(expected)), "{method} {path}: {body}");
            assert_eq!(headers.contains_key("allow"), expected == 405, "{method} {path}");
        };
        refused("POST", "/v2/logs:batchCreate", 501);
        refused("POST", "/v2/events:batchCreate", 501);
        refused("GET", "/v2/udmevents:batchCreate", 405);
        refused("PUT", "/v1/logtypes", 405);
        refused("POST", "/v2/unstructuredlogentries", 404);
        refused("POST", "/v3/udmevents:batchCreate", 404);
        refused("POST", "/v2/UdmEvents:batchCreate", 404);
    }

    #[test]
    fn the_operator_sends_for_the_instance_it_names() {
        let mut world = World::new();
        let bearer = format!("Bearer {OPERATOR}");
        let send = |world: &World, head: &str| {
            let body = format!(r#"{{{head}"log_type":"OKTA","entries":[{{"log_text":"x"}}]}}"#);
            world.call("POST", "/v2/unstructuredlogentries:batchCreate", &[("authorization", &bearer)], body.as_bytes())
        };
        let (caller, batch, _) = send(&world, &format!(r#""customer_id":"{THEIRS}","#)).committed();
        assert_eq!((caller.instance(), batch.meta.sender.as_str()), (Some(instance(THEIRS)), "operator"));
        let (status, body) = send(&world, "").replied();
        assert!(status == 400 && body.to_string().contains("belongs to no instance"), "{body}");
        let (status, body) = send(&world, r#""customer_id":"00000000-0000-4000-8000-000000000000","#).replied();
        assert!(status == 400 && body.to_string().contains("there is no instance"), "{body}");
        world.snapshot.instances.remove(&instance(THEIRS));
        assert_eq!(send(&world, "").committed().1.meta.instance, instance(OURS));
    }
}

/// The body is refused with this status, exactly these violations (parts of their descriptions) and this part of the
/// message.
#[track_caller]
fn check_refused(world: &World, what: &str, body: &[u8], status: u16, violations: &[(&str, &str)], message: &str) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    let (got, reply) = world.send(what, body).replied();
    let error = &reply["error"];
    assert_eq!((got, &error["code"]), (status, &json!(status)), "{shown}: {reply}");
    assert!(error["message"].as_str().unwrap().contains(message), "{shown}: {reply}");
    let none = Vec::new();
    let listed = error["details"][0]["fieldViolations"].as_array().unwrap_or(&none);
    assert_eq!(listed.len(), violations.len(), "{shown}: {reply}");
    for (found, (field, part)) in listed.iter().zip(violations) {
        assert_eq!(found["field"], *field, "{shown}: {reply}");
        assert!(found["description"].as_str().unwrap().contains(part), "{shown}: {found}");
    }
}

mod errors {
    use super::*;

    /// A fault of the batch or of a record, without quarantine.
    #[track_caller]
    fn check(body: &str, violations: &[(&str, &str)]) {
        let first = violations.first().map_or("not valid JSON", |(field, _)| *field);
        check_refused(&World::new(), "unstructuredlogentries", body.as_bytes(), 400, violations, first);
    }

    #[track_caller]
    fn check_entry(entry: &str, violations: &[(&str, &str)]) {
        check(&format!(r#"{{"log_type":"OKTA","entries":[{{"log_text":"good"}},{entry}]}}"#), violations);
    }

    #[test]
    fn bad_json() {
        let check = |body: &[u8], message: &str| {
            check_refused(&World::new(), "unstructuredlogentries", body, 400, &[], message);
            check_refused(&World::new(), "udmevents", body, 400, &[], message);
        };
        check(b"", "expected '{', found the end of the body at offset 0 (line 1, column 1)");
        check(b"[]", "expected '{', found '['");
        check(b"null", "expected '{'");
        check(b"{", "expected a key in double quotes or '}', found the end of the body at offset 1");
        check(b"{\"a\":1} x", "expected nothing after the JSON value, found 'x' at offset 8");
        check(b"{\"a\":1}{}", "expected nothing after the JSON value, found '{' at offset 7");
        check(b"{'a':1}", "found ''' at offset 1");
        check(b"\xff\xfe{}", "found byte 0xff at offset 0");
        check(b"{\"a\":\"x\ny\"}", "control characters");
        check(format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes(), "nested deeper than 64 levels");
        check(format!("{{\"entries\":{}", "[".repeat(10_000)).as_bytes(), "nested deeper than 64 levels");
        check(format!("{{\"events\":[{}", "{\"a\":".repeat(10_000)).as_bytes(), "nested deeper than 64 levels");
    }

    #[test]
    fn the_batch() {
        let entries = r#""entries":[{"log_text":"x"}]"#;
        check(r#"{"log_type":"OKTA"}"#, &[("entries", "missing")]);
        check(r#"{"log_type":"OKTA","entries":null}"#, &[("entries", "missing")]);
        check(r#"{"log_type":"OKTA","entries":[]}"#, &[("entries", "empty")]);
        check(
            r#"{"log_type":"OKTA","entries":"x"}"#,
            &[("entries[0]", "must be an object with log_text, not a string")],
        );
        check(r#"{}"#, &[("log_type", "missing"), ("entries", "missing")]);
        check(&format!(r#"{{"log_type":"",{entries}}}"#), &[("log_type", "missing")]);
        check(&format!(r#"{{"log_type":7,{entries}}}"#), &[("log_type", "must be a string, not a number")]);
        check(&format!(r#"{{"log_type":"OKTA\u0000",{entries}}}"#), &[("log_type", "U+0000")]);
        check(
            &format!(r#"{{"log_type":"okta",{entries}}}"#),
            &[("log_type", "unknown log type \"okta\"; nearest: OKTA")],
        );
        check(&format!(r#"{{"log_type":"?!",{entries}}}"#), &[("log_type", "GET /v2/logtypes lists")]);
        check(&format!(r#"{{"log_type":"OKTA","logType":"OKTA",{entries}}}"#), &[("log_type", "given twice")]);
        check(&format!(r#"{{"log_type":"OKTA",{entries},{entries}}}"#), &[("entries", "given twice")]);
        check(&format!(r#"{{"log_type":"OKTA","customer_id":"c8",{entries}}}"#), &[("customer_id", "UUID")]);
        check(
            &format!(r#"{{"log_type":"OKTA","customer_id":8,{entries}}}"#),
            &[("customer_id", "must be a string, not a number")],
        );
        check(&format!(r#"{{"log_type":"OKTA","namespace":[],{entries}}}"#), &[("namespace", "not a list")]);
        let long = "n".repeat(limits::LABEL_BYTES_MAX + 1);
        check(&format!(r#"{{"log_type":"OKTA","namespace":"{long}",{entries}}}"#), &[("namespace", "4097 bytes")]);
        check(
            &format!(
                r#"{{"log_type":"OKTA","labels":[{{"key":"k"}},{{"value":"v"}},7,{{"key":"k","value":7}},{{"key":"k","rbac_enabled":"maybe"}},{{"key":"\ud800"}}],{entries}}}"#
            ),
            &[
                ("labels[1].key", "missing"),
                ("labels[2]", "must be an object"),
                ("labels[3].value", "must be a string"),
                ("labels[4].rbac_enabled", "true or false"),
                ("labels[5].key", "surrogate"),
            ],
        );
        let many = vec![r#"{"key":"k","value":"v"}"#; limits::LABELS_MAX + 1].join(",");
        check(&format!(r#"{{"log_type":"OKTA","labels":[{many}],{entries}}}"#), &[("labels", "257 labels")]);
        let label = |n: usize| format!(r#"{{"key":"{n:02}","value":"{}"}}"#, "v".repeat(4_000));
        let long = (0..17).map(label).collect::<Vec<_>>().join(",");
        check(
            &format!(r#"{{"log_type":"OKTA","labels":[{long}],{entries}}}"#),
            &[("labels", "68034 bytes, more than the 65536 allowed")],
        );
        check(
            r#"{"customer_id":"c8","entries":[{"log_text":1}]}"#,
            &[("customer_id", "UUID"), ("log_type", "missing"), ("entries[0].log_text", "must be a string")],
        );
        check_refused(
            &World::new(),
            "entities",
            br#"{"entities":[{"metadata":{},"entity":{}}]}"#,
            400,
            &[("log_type", "missing")],
            "log_type",
        );
    }

    #[test]
    fn a_foreign_instance() {
        for foreign in [THEIRS, "00000000-0000-4000-8000-000000000000"] {
            // Whether it exists makes no difference, nor does anything else that is wrong.
            let body = format!(r#"{{"customer_id":"{foreign}","entries":[7]}}"#);
            let message = format!("key:ours-ingest does not belong to the instance (customer_id) {foreign}");
            check_refused(&World::new(), "unstructuredlogentries", body.as_bytes(), 403, &[], &message);
            check_refused(&World::quarantining(), "unstructuredlogentries", body.as_bytes(), 403, &[], &message);
        }
        // Another instance's own log types are unknown here.
        let body = br#"{"log_type":"OUR_GATE","entries":[{"log_text":"x"}]}"#;
        let world = World::new();
        let path = "/v2/unstructuredlogentries:batchCreate";
        assert_eq!(world.call("POST", &format!("{path}?key=ours-ingest"), &[], body).committed().1.records.len(), 1);
        let (status, reply) = world.call("POST", &format!("{path}?key=theirs-ingest"), &[], body).replied();
        assert!(status == 400 && !reply["error"]["message"].as_str().unwrap().contains("nearest: OUR_GATE"), "{reply}");
        let (_, reply) = world.call("GET", "/v2/logtypes?key=theirs-ingest", &[], b"").replied();
        assert!(!reply.to_string().contains("OUR_GATE"));
    }

    #[test]
    fn entries() {
        check_entry("{}", &[("entries[1].log_text", "missing")]);
        check_entry(r#"{"log_text":null}"#, &[("entries[1].log_text", "missing")]);
        check_entry(r#"{"log_text":1}"#, &[("entries[1].log_text", "must be a string, not a number")]);
        check_entry(r#"{"log_text":{"a":1}}"#, &[("entries[1].log_text", "not an object")]);
        check_entry(r#"{"log_text":"a","logText":"b"}"#, &[("entries[1].log_text", "given twice")]);
        check_entry("null", &[("entries[1]", "not null")]);
        check_entry("[]", &[("entries[1]", "not a list")]);
        check_entry("true", &[("entries[1]", "not true or false")]);
        check_entry(r#"{"log_text":"a\u0000b"}"#, &[("entries[1].log_text", "U+0000")]);
        check_entry(r#"{"log_text":"\ud800"}"#, &[("entries[1].log_text", "surrogate")]);
        check_entry(r#"{"log_text":"\udc00\ud800"}"#, &[("entries[1].log_text", "surrogate")]);
        check_refused(
            &World::new(),
            "unstructuredlogentries",
            b"{\"log_type\":\"OKTA\",\"entries\":[{\"log_text\":\"\xc3\xa9\"},{\"log_text\":\"caf\xe9\"}]}",
            400,
            &[("entries[1].log_text", "not valid UTF-8")],
            "entries[1].log_text",
        );
    }

    #[test]
    fn entry_times() {
        let time = |time: &str, part: &str, field: &str| {
            check_entry(&format!(r#"{{"log_text":"x",{time}}}"#), &[(&format!("entries[1]{field}"), part)]);
        };
        time(r#""ts_rfc3339":"2019-26-02T13:37:04.523-08:00""#, "month 26", ".ts_rfc3339");
        time(r#""ts_rfc3339":"2019-02-26 13:37""#, "2019-02-26 13:37", ".ts_rfc3339");
        time(r#""ts_rfc3339":"""#, "RFC 3339", ".ts_rfc3339");
        time(r#""ts_rfc3339":1551188102"#, "must be a string, not a number", ".ts_rfc3339");
        time(r#""ts_rfc3339":"9999-12-31T23:59:59Z""#, "outside", ".ts_rfc3339");
        time(r#""ts_epoch_microseconds":-1"#, "zero or more (\"-1\")", ".ts_epoch_microseconds");
        time(r#""ts_epoch_microseconds":"soon""#, "whole microseconds", ".ts_epoch_microseconds");
        time(r#""ts_epoch_microseconds":true"#, "not true or false", ".ts_epoch_microseconds");
        time(r#""ts_epoch_microseconds":18446744073709551615"#, "outside", ".ts_epoch_microseconds");
        time(r#""ts_epoch_microseconds":1,"tsEpochMicroseconds":1"#, "given twice", ".ts_epoch_microseconds");
        time(r#""ts_epoch_microseconds":1,"ts_rfc3339":"2019-02-26T13:37:04Z""#, "has both", "");
        check(
            r#"{"log_type":"OKTA","entries":[{"log_text":"a"},{"log_text":"b","ts_rfc3339":"2019-02-26T13:37:04Z"},{"log_text":"c","ts_epoch_microseconds":1},{"log_text":"d","ts_rfc3339":"2019-02-26T13:37:04Z"}]}"#,
            &[("entries[2].ts_epoch_microseconds", "the batch uses ts_rfc3339 since entries[1]")],
        );
    }

    #[test]
    fn udm_faults_name_the_event_and_the_field() {
        let check = |what: &str, body: &str, violations: &[(&str, &str)]| {
            check_refused(&World::new(), what, body.as_bytes(), 400, violations, violations[0].0);
        };
        check("udmevents", r#"{"events":[]}"#, &[("events", "empty")]);
        check("udmevents", r#"{"customer_id":null}"#, &[("events", "missing")]);
        check("udmevents", r#"{"events":[{"metadata":{}},7]}"#, &[("events[1]", "must be an object, not a number")]);
        check("udmevents", r#"{"events":[{"metadata":{"product_name":"\ud800"}}]}"#, &[("events[0]", "surrogate")]);
        check("udmevents", r#"{"events":[{"metadata":{"product_name":"\u0000"}}]}"#, &[("events[0]", "U+0000")]);
        check(
            "udmevents",
            r#"{"events":[{"metadata":{}},{"metadata":{"event_timestamp":"2019-26-02T00:00:00Z"}}]}"#,
            &[("events[1].metadata.event_timestamp", "")],
        );
        check(
            "entities",
            r#"{"log_type":"OKTA","entities":[{"metadata":"x","entity":{}}]}"#,
            &[("entities[0].metadata", "")],
        );
    }

    #[test]
    fn all_faults_are_counted_and_twenty_listed() {
        let bad = vec![r#"{"log_text":1,"ts_rfc3339":"never"}"#; 50_000].join(",");
        let (status, reply) = World::new().send_logs(&format!(r#"{{"log_type":"OKTA","entries":[{bad}]}}"#)).replied();
        assert_eq!(status, 400);
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.contains("99999 more faults"), "{message}");
        let listed = reply["error"]["details"][0]["fieldViolations"].as_array().unwrap();
        assert_eq!(listed.len(), limits::FAULTS_MAX);
        assert_eq!(
            (&listed[0]["field"], &listed[19]["field"]),
            (&json!("entries[0].log_text"), &json!("entries[9].ts_rfc3339"))
        );
    }

    #[test]
    fn many_entries_are_taken() {
        let entries = vec![r#"{"log_text":"\"x\""}"#; 100_000].join(",");
        let (_, batch, _) =
            World::new().send_logs(&format!(r#"{{"log_type":"OKTA","entries":[{entries}]}}"#)).committed();
        assert_eq!(batch.records.len(), 100_000);
        assert!(batch.records.iter().all(|record| record.data == b"\"x\""[..]));
    }
}

mod quarantine {
    use super::*;

    /// Each record with what it is kept as, and the part of its fault.
    #[track_caller]
    fn check(what: &str, body: &[u8], expected: &[(&[u8], Option<&str>)]) {
        let (_, batch, _) = World::quarantining().send(what, body).committed();
        assert_eq!(batch.records.len(), expected.len());
        for (record, (data, fault)) in batch.records.iter().zip(expected) {
            assert_eq!(record.data.escape_ascii().to_string(), data.escape_ascii().to_string());
            match (&record.fault, fault) {
                (None, None) => {}
                (Some(found), Some(part)) => assert!(found.contains(part), "{found}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn bad_records_are_set_aside_and_the_good_taken() {
        check(
            "unstructuredlogentries",
            b"{\"log_type\":\"OKTA\",\"entries\":[{\"log_text\":\"good\",\"ts_epoch_microseconds\":5},
                {\"log_text\":\"caf\xe9\"},{\"log_text\":\"\\n\xe9\"},{\"log_text\":\"a\\ud800\"},{\"log_text\":\"a\\u0000\"},
                {\"log_text\":1},7,{\"log_text\":\"late\",\"ts_rfc3339\":\"never\"},{\"log_text\":\"\\\"good\\\"\"}]}",
            &[
                (b"good", None),
                (b"caf\xe9", Some("log_text: is not valid UTF-8")),
                (b"\n\xe9", Some("log_text: is not valid UTF-8")),
                (b"a\\ud800", Some("surrogate")),
                (b"a\0", Some("U+0000")),
                (b"{\"log_text\":1}", Some("log_text: must be a string, not a number")),
                (b"7", Some("must be an object")),
                (b"late", Some("ts_rfc3339: expected RFC 3339")),
                (b"\"good\"", None),
            ],
        );
        check(
            "udmevents",
            b"{\"events\":[{\"metadata\":{\"event_timestamp\":7.5}},{\"metadata\":{}},{\"metadata\":{\"product_name\":\"\xff\"}}]}",
            &[
                (b"{\"metadata\":{\"event_timestamp\":7.5}}", Some("metadata.event_timestamp: ")),
                (b"{\"metadata\":{}}", None),
                (b"{\"metadata\":{\"product_name\":\"\xff\"}}", Some("not valid UTF-8")),
            ],
        );
    }

    #[test]
    fn what_is_wrong_with_the_batch_is_still_refused() {
        let check = |body: &str, field: &str| {
            let (status, reply) = World::quarantining().send_logs(body).replied();
            assert_eq!(
                (status, &reply["error"]["details"][0]["fieldViolations"][0]["field"]),
                (400, &json!(field)),
                "{reply}"
            );
        };
        check(r#"{"log_type":"okta","entries":[{"log_text":"x"}]}"#, "log_type");
        check(r#"{"log_type":"OKTA","entries":[]}"#, "entries");
        check(
            &format!(r#"{{"log_type":"OKTA","entries":[{}]}}"#, vec!["1"; QUARANTINED_MAX + 1].join(",")),
            "entries[0]",
        );
        assert_eq!(World::quarantining().send_logs("{").replied().0, 400);
    }

    #[test]
    fn set_aside_records_that_differ_are_not_repeats() {
        let key = |time: &str| {
            let body = format!(r#"{{"log_type":"OKTA","entries":[{{"log_text":"x","ts_rfc3339":"{time}"}}]}}"#);
            World::quarantining().send_logs(&body).committed().2
        };
        assert_eq!(key("never"), key("never"));
        assert_ne!(key("never"), key("later"));
    }
}

mod replies {
    use super::*;

    #[test]
    fn thanks_is_an_empty_object_that_names_the_batch() {
        let id = 0x0192_0000_0000_7000_8000_0001_0000_0000;
        let reply = thanks(id);
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"{}"[..]));
        let header = reply.headers.iter().find(|(name, _)| *name == BATCH_HEADER).unwrap();
        assert_eq!(header.1.to_str().unwrap().parse::<BatchId>().unwrap().as_u128(), id);
    }
}

mod properties {
    use super::*;
    use crate::fuzz::Fuzz;

    #[derive(Debug, Clone)]
    struct Entry {
        text: String,
        micros: Option<i64>,
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        ("(\\PC|[\\x01-\\x1f\"\\\\]){0,40}", prop::option::of(0..4_000_000_000_000_000i64))
            .prop_map(|(text, micros)| Entry { text, micros })
    }

    /// One spelling of a batch, chosen by random bits.
    fn spell(entries: &[Entry], mut bits: u64, rfc3339: bool) -> String {
        let mut coin = move || {
            bits = bits.rotate_left(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x55;
            bits >> 63 == 1
        };
        let quote = |text: &str, escape_all: bool| match escape_all {
            true => {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>();
                format!("\"{units}\"")
            }
            false => serde_json::to_string(text).unwrap(),
        };
        let mut parts = Vec::new();
        for entry in entries {
            let mut fields = Vec::new();
            let key = if coin() { "log_text" } else { "logText" };
            fields.push(format!("\"{key}\":{}", quote(&entry.text, coin())));
            if let Some(micros) = entry.micros {
                let time = Time::from_micros(micros).unwrap();
                fields.push(match (rfc3339, coin(), coin()) {
                    (true, true, _) => format!("\"tsRfc3339\":\"{time}\""),
                    (true, false, _) => format!("\"ts_rfc3339\":\"{time}\""),
                    (false, true, true) => format!("\"ts_epoch_microseconds\":\"{micros}\""),
                    (false, true, false) => format!("\"tsEpochMicroseconds\" : {micros}"),
                    (false, false, _) => format!("\"ts_epoch_microseconds\":{micros}"),
                });
            } else if coin() {
                fields.push("\"ts_rfc3339\":null".to_owned());
            }
            if coin() {
                fields.reverse();
            }
            if coin() {
                fields.push("\"extra\":[{\"log_text\":1}]".to_owned());
            }
            parts.push(format!("{{{}}}", fields.join(" ,")));
        }
        let list = if parts.len() == 1 && coin() { parts.remove(0) } else { format!("[{}]", parts.join(",\n")) };
        let mut fields = vec![
            format!("\"{}\":\"OKTA\"", if coin() { "log_type" } else { "logType" }),
            format!("\"entries\":{list}"),
        ];
        match (coin(), coin()) {
            (true, true) => fields.push(format!("\"customer_id\":\"{OURS}\"")),
            (true, false) => fields.push(format!("\"customerId\":\"{OURS}\"")),
            (false, true) => fields.push("\"customer_id\":null".to_owned()),
            (false, false) => {}
        }
        if coin() {
            fields.reverse();
        }
        format!("{{{}}}", fields.join(","))
    }

    /// Changes that keep much of a body's structure.
    fn any_changes() -> impl Strategy<Value = Vec<(prop::sample::Index, prop::sample::Index, u8, u8)>> {
        prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..5u8), 1..6)
    }

    fn change(mut body: Vec<u8>, changes: &[(prop::sample::Index, prop::sample::Index, u8, u8)]) -> Vec<u8> {
        for (at, other, byte, how) in changes {
            if body.is_empty() {
                break;
            }
            let (at, other) = (at.index(body.len()), other.index(body.len()));
            match how {
                0 => body[at] = *byte,
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"\"\\{}[],:0-\xff\0"[*byte as usize % 12]),
                3 => body.truncate(at),
                _ => {
                    let piece = body[at.min(other)..at.max(other)].to_vec();
                    body.splice(other..other, piece);
                }
            }
        }
        body
    }

    #[test]
    fn every_spelling_gives_the_same_batch() {
        let world = World::new();
        proptest!(ProptestConfig::with_cases(400), |(
            entries in prop::collection::vec(any_entry(), 1..8), bits in any::<[u64; 2]>(), rfc3339 in any::<[bool; 2]>(),
        )| {
            let (_, first, first_key) = world.send_logs(&spell(&entries, bits[0], rfc3339[0])).committed();
            let (_, second, second_key) = world.send_logs(&spell(&entries, bits[1], rfc3339[1])).committed();
            prop_assert_eq!(&first, &second);
            prop_assert_eq!(first_key, second_key);
            for (record, entry) in first.records.iter().zip(&entries) {
                prop_assert_eq!(&record.data[..], entry.text.as_bytes());
                prop_assert_eq!(record.sender_time.map(|time| time.micros()), entry.micros);
            }
        });
    }

    #[test]
    fn no_bytes_break_a_promise() {
        let fuzz = Fuzz::new();
        let logs = encode::raw_batch(
            Some(instance(OURS)),
            "OKTA",
            "ns",
            &[event::Label { key: "k".into(), value: "v".into(), rbac_enabled: true }],
            [("a \"b\" \u{1F600}", Some(Time::from_nanos(5))), ("plain", None)],
        );
        let udm = encode::udm_batch(
            None,
            [&br#"{"metadata":{"event_timestamp":"2019-10-22T12:00:00Z"},"principal":{"ip":["10.1.2.3"]}}"#[..]],
        );
        let entities = encode::entity_batch(
            None,
            "OKTA",
            [&br#"{"metadata":{"entity_type":"USER"},"entity":{"user":{"userid":"x"}}}"#[..]],
        );
        proptest!(ProptestConfig::with_cases(1_000), |(changes in any_changes())| {
            fuzz.raw_logs(&change(logs.clone(), &changes));
            fuzz.udm_events(&change(udm.clone(), &changes));
            fuzz.entities(&change(entities.clone(), &changes));
            fuzz.token(&change(b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJmdXp6LTFAZXhhbXBsZS5jb20iLCJpYXQiOjEsImV4cCI6Mn0.AAAA".to_vec(), &changes));
            fuzz.bearer(&change(b"pst1.AAAA.AAAA".to_vec(), &changes));
            fuzz.request_line(&change(b"POST /v2/udmevents%3AbatchCreate/?key=%41".to_vec(), &changes));
        });
    }

    /// Any call with any credential: a batch only ever for the credential's own instance.
    #[test]
    fn no_call_reaches_a_foreign_instance() {
        let worlds = [World::new(), World::quarantining()];
        let paths: Vec<&'static str> = ChronicleIngestion::new().routes().iter().map(|route| route.path).collect();
        let keys = ["ours-ingest", "ours-read", "ours-admin", "theirs-ingest", "theirs-read", "theirs-admin", "nobody"];
        let customers = [
            format!("\"{OURS}\""),
            format!("\"{THEIRS}\""),
            "null".to_owned(),
            "\"c8\"".to_owned(),
            format!("\"{}\"", OURS.replace('-', "")),
        ];
        let choose = |list: usize| prop::sample::select((0..list).collect::<Vec<_>>());
        proptest!(ProptestConfig::with_cases(1_500), |(
            world in choose(2), path in choose(paths.len()), key in choose(keys.len()),
            first in choose(customers.len()), second in prop::option::of(choose(customers.len())), post in any::<bool>(),
        )| {
            let second = second.map(|second| format!("\"customerId\":{},", customers[second])).unwrap_or_default();
            let body = format!(
                r#"{{"customer_id":{},{second}"log_type":"OKTA","entries":[{{"log_text":"x"}}],"events":[{{"metadata":{{}}}}],"entities":[{{"metadata":{{}},"entity":{{}}}}]}}"#,
                customers[first]
            );
            let method = if post { "POST" } else { "GET" };
            let target = format!("{}?key={}", paths[path], keys[key]);
            let (own, other) = if keys[key].starts_with("ours") { (OURS, THEIRS) } else { (THEIRS, OURS) };
            match worlds[world].call(method, &target, &[], body.as_bytes()) {
                Outcome::Committed { caller, batch, .. } => {
                    prop_assert!(keys[key].ends_with("ingest") || keys[key].ends_with("admin"));
                    prop_assert_eq!(caller.instance(), Some(instance(own)));
                    prop_assert_eq!(batch.meta.instance, instance(own));
                    prop_assert!(!body.contains(other));
                }
                Outcome::Replied { body, .. } => {
                    prop_assert!(own == OURS || !body.to_string().contains("OUR_GATE"));
                }
            }
        });
    }
}
