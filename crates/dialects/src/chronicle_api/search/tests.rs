//! What each call asks the store, and how it shows what came of it.

use event::{Kind, Time, limits};
use serde_json::{Value, json};

use crate::ask::{Ask, FieldValue, FoundRecord, Outcome, Question, SearchCall};
use crate::testing::{OURS, World, found, instance};
use crate::{Intake, Reply};

const BASE: &str = "/v1alpha/projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
const NAME: &str = "projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";

fn get(rest: &str, key: &str) -> Result<Intake, Reply> {
    let join = if rest.contains('?') { '&' } else { '?' };
    World::new().intake("GET", &format!("{BASE}{rest}{join}key={key}"), &[], b"")
}

fn post(rest: &str, body: &Value) -> Result<Intake, Reply> {
    World::new().intake("POST", &format!("{BASE}{rest}?key=ours-read"), &[], body.to_string().as_bytes())
}

#[track_caller]
fn asked(intake: Result<Intake, Reply>) -> Ask {
    match intake {
        Ok(Intake::Ask(ask)) => {
            assert_eq!(ask.caller.instance(), Some(instance(OURS)));
            ask
        }
        Ok(other) => panic!("nobody is asked: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

#[track_caller]
fn search(intake: Result<Intake, Reply>) -> SearchCall {
    match asked(intake).question {
        Question::Search(call) => {
            assert_eq!((call.instance, call.bytes_max), (instance(OURS), limits::GOOGLE_SEARCH_BYTES_MAX));
            call
        }
        other => panic!("no search: {other:?}"),
    }
}

#[track_caller]
fn refused(intake: Result<Intake, Reply>, status: u16) -> String {
    let Err(reply) = intake else { panic!("not refused: {:?}", intake.map(|_| ())) };
    assert_eq!(reply.status.as_u16(), status, "{}", String::from_utf8_lossy(&reply.body));
    assert!(reply.body.len() < limits::ERROR_BODY_BYTES_MAX);
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[track_caller]
fn rendered(intake: Result<Intake, Reply>, rows: Vec<FoundRecord>, truncated: bool) -> Value {
    let reply = asked(intake).render.render(Outcome::Rows { rows, truncated }).unwrap();
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {:?}", reply.body))
}

fn time(text: &str) -> Option<Time> {
    Some(Time::parse_rfc3339(text).unwrap())
}

const START: &str = "2026-01-01T03:04:05.678901Z";
const END: &str = "2026-01-02T03:04:05.678901Z";

#[test]
fn a_time_range_has_many_spellings() {
    let check = |range: &str, from: Option<Time>, to: Option<Time>| {
        let call = search(get(&format!(":udmSearch?query=ip+%21%3D+%22%22{range}"), "ours-read"));
        assert_eq!((call.from, call.to), (from, to), "{range}");
    };
    check("", None, None);
    for (start, end) in [
        ("timeRange.start_time", "timeRange.end_time"),
        ("timeRange.startTime", "timeRange.endTime"),
        ("time_range.start_time", "time_range.end_time"),
        ("time_range.startTime", "time_range.endTime"),
    ] {
        check(&format!("&{start}={START}&{end}={END}"), time(START), time(END));
        check(&format!("&{start}={START}"), time(START), None);
        check(&format!("&{end}={END}&{start}="), None, time(END));
    }
    check("&timeRange.start_time=2026-01-01T00:00:00+01:00", time("2025-12-31T23:00:00Z"), None);
    check("&timeRange.start_time=2026-01-01T00:00:00%2B01:00", time("2025-12-31T23:00:00Z"), None);
    check("&timeRange.start_time=2026-01-01%2000:00:00Z", time("2026-01-01T00:00:00Z"), None);
    for (range, part) in [
        (format!("&timeRange.start_time={END}&timeRange.end_time={START}"), "is not before"),
        (format!("&timeRange.start_time={END}&timeRange.end_time={END}"), "is not before"),
        ("&timeRange.end_time=yesterday".to_owned(), "timeRange.endTime: \"yesterday\""),
        ("&timeRange.start_time=2026-13-01T00:00:00Z".to_owned(), "month 13"),
    ] {
        let message = refused(get(&format!(":udmSearch?query=ip+%21%3D+%22%22{range}"), "ours-read"), 400);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn udm_search_asks_for_events() {
    let call = search(get(":udmSearch?query=ip%21%3D%22%22&limit=5&more=x&page_size=3", "ours-read"));
    assert_eq!((call.kinds, call.rows_max, call.log_types.len()), (vec![Kind::Udm], 5, 0));
    assert_eq!(call.predicate.to_string(), "ip != \"\"");
    for (limit, rows_max) in [("", 1_000), ("0", 1_000), ("10000", 10_000), ("99999", 10_000), ("%207%20", 7)] {
        let parameter = if limit.is_empty() { String::new() } else { format!("&limit={limit}") };
        let call = search(get(&format!(":udmSearch?query=ip%21%3D%22%22{parameter}"), "ours-read"));
        assert_eq!(call.rows_max, rows_max, "{limit}");
    }
    for (rest, status, part) in [
        (":udmSearch?query=ip%21%3D%22%22&limit=-1", 400, "limit: must be a whole number"),
        (":udmSearch?query=ip%21%3D%22%22&limit=many", 400, "limit: must be a whole number"),
        (":udmSearch", 400, "the query is empty"),
        (":udmSearch?query=ipp+%3D+%22a%22", 400, "1 | ipp = \"a\"\n  | ^^^"),
        (":udmSearch?query=entity.user.userid+%3D+%22a%22", 400, "entities"),
        (":udmSearch?query=target.port+%3D+1%0Amatch%3A%0A+target.port", 400, "sections such as match: are not"),
        (":udmSearch?query=SELECT+1&queryDialect=SQL", 501, "SQL"),
    ] {
        let message = refused(get(rest, "ours-read"), status);
        assert!(message.contains(part), "{rest}: {message}");
    }
}

#[test]
fn searching_takes_the_right_to_read() {
    let event = format!("/events/{}", super::super::events::id_in_path(&found(1, "{}")));
    for rest in [":udmSearch?query=ip%21%3D%22%22", ":findUdmFieldValues?query=x", ":validateQuery?rawQuery=x", &event]
    {
        let message = refused(get(rest, "ours-ingest"), 403);
        assert!(message.contains("scope read"), "{message}");
        assert_eq!(refused(get(rest, "theirs-read"), 403).split(" does").next(), Some("key:theirs-read"));
        assert!(get(rest, "ours-read").is_ok() && get(rest, "ours-admin").is_ok(), "{rest}");
    }
}

const EVENT: &str = r#"{"metadata": {"event_type": "USER_LOGIN"}, "principal": {"ip": "10.0.0.1"}}"#;
const ID: &str = "AZIAAAAAcACAAAABAAAABQ==";

#[test]
fn events_are_shown_with_a_name_and_an_id() {
    let intake = get(":udmSearch?query=ip%21%3D%22%22", "ours-read");
    let own = r#"{"metadata": {"id": "b3du"}}"#;
    let body = rendered(intake, vec![found(5, EVENT), found(6, own), found(7, "{}")], true);
    let expected = json!({ "events": [
        { "name": format!("{NAME}/events/AZIAAAAAcACAAAABAAAABQ%3D%3D"),
          "udm": { "metadata": { "eventType": "USER_LOGIN", "id": ID }, "principal": { "ip": ["10.0.0.1"] } } },
        { "name": format!("{NAME}/events/AZIAAAAAcACAAAABAAAABg%3D%3D"), "udm": { "metadata": { "id": "b3du" } } },
        { "name": format!("{NAME}/events/AZIAAAAAcACAAAABAAAABw%3D%3D"),
          "udm": { "metadata": { "id": "AZIAAAAAcACAAAABAAAABw==" } } },
    ], "moreDataAvailable": true });
    assert_eq!(body, expected);
    let none = rendered(get(":udmSearch?query=ip%21%3D%22%22", "ours-read"), vec![], false);
    assert_eq!(none, json!({ "events": [], "moreDataAvailable": false }));
}

#[test]
fn raw_searches() {
    let check = |body: Value, predicate: &str, log_types: &[&str], rows_max: usize| {
        let call = search(post(":searchRawLogs", &body));
        assert_eq!((call.kinds, call.rows_max), (vec![Kind::Raw], rows_max), "{body}");
        assert_eq!(
            (call.predicate.to_string().as_str(), call.log_types.as_slice()),
            (predicate, &log_types.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..]),
            "{body}"
        );
    };
    check(json!({ "baselineQuery": "raw = \"x\"" }), "raw = \"x\" nocase", &[], 1_000);
    check(json!({ "baseline_query": "failed login", "case_sensitive": true }), "raw = \"failed login\"", &[], 1_000);
    check(
        json!({ "baselineQuery": "raw = /a+/", "caseSensitive": true, "pageSize": 10, "maxAggregationsPerField": 5,
            "logTypes": [{ "displayName": "OKTA" }, { "displayName": "A gate of ours" }], "dataView": {} }),
        "raw = /a+/",
        &["OKTA", "OUR_GATE"],
        10,
    );
    check(
        json!({ "baselineQuery": "a", "snapshotQuery": "raw != \"b\"", "pageSize": "20000", "log_types": {
            "name": "projects/p/locations/l/instances/i/logTypes/OKTA" } }),
        "raw = \"a\" nocase AND NOT raw = \"b\" nocase",
        &["OKTA"],
        10_000,
    );
    // A name that nothing has is no reason to search all.
    check(
        json!({ "baselineQuery": "a", "logTypes": ["NOBODYS_LOGS"] }),
        "raw = \"a\" nocase",
        &["NOBODYS_LOGS"],
        1_000,
    );

    let range = |start: &str, end: &str| json!({ "startTime": start, "end_time": end });
    let call = search(post(
        ":searchRawLogs",
        &json!({ "baselineQuery": "a", "baselineTimeRange": range(START, END),
        "snapshotTimeRange": range("2026-01-01T05:00:00Z", "2026-02-01T00:00:00Z") }),
    ));
    assert_eq!((call.from, call.to), (time("2026-01-01T05:00:00Z"), time(END)));

    for (body, part) in [
        (json!({}), "the query is empty"),
        (json!({ "baselineQuery": 5 }), "baselineQuery: must be a string"),
        (json!({ "baselineQuery": "raw = \"x" }), "1 | raw = \"x\n  |       ^"),
        (json!({ "baselineQuery": "a", "snapshotQuery": "raw <" }), "cannot be ordered"),
        (json!({ "baselineQuery": "a", "pageSize": -1 }), "pageSize: must be"),
        (json!({ "baselineQuery": "a", "caseSensitive": "yes" }), "caseSensitive: must be true or false"),
        (json!({ "baselineQuery": "a", "logTypes": [{}] }), "logTypes[0]: must be"),
        (json!({ "baselineQuery": "a", "logTypes": vec!["x"; 1_001] }), "1001 log types, more than the 1000 allowed"),
        (json!({ "baselineQuery": "a", "baselineTimeRange": range(END, START) }), "baselineTimeRange: startTime"),
        (json!({ "baselineQuery": "a", "baselineTimeRange": START }), "baselineTimeRange: must be an object"),
        (json!([]), "the query is empty"),
    ] {
        let message = refused(post(":searchRawLogs", &body), 400);
        assert!(message.contains(part), "{body}: {message}");
    }
    let broken = World::new().intake("POST", &format!("{BASE}:searchRawLogs?key=ours-read"), &[], b"{");
    assert!(refused(broken, 400).contains("not valid JSON"));
}

#[test]
fn raw_logs_are_shown_whole() {
    let raw = |number: u32, log_type: &str, data: &[u8]| {
        let record = found(number, "");
        FoundRecord { kind: Kind::Raw, log_type: log_type.to_owned(), data: data.to_vec().into(), ..record }
    };
    let long = "é".repeat(100);
    let rows = vec![raw(5, "OUR_GATE", long.as_bytes()), raw(6, "GONE_TYPE", b"a\xffb")];
    let body = rendered(post(":searchRawLogs", &json!({ "baselineQuery": "a" })), rows, true);
    let expected = json!([{ "progress": 1, "matches": [
        { "id": ID, "summary": "é".repeat(80),
          "logType": { "name": format!("{NAME}/logTypes/OUR_GATE"), "displayName": "A gate of ours" },
          "snippet": { "id": ID, "snippet": long, "ingestionTime": "2023-11-14T22:13:25Z" } },
        { "id": "AZIAAAAAcACAAAABAAAABg==", "summary": "a\u{fffd}b",
          "logType": { "name": format!("{NAME}/logTypes/GONE_TYPE"), "displayName": "GONE_TYPE" },
          "snippet": { "id": "AZIAAAAAcACAAAABAAAABg==", "snippet": "a\u{fffd}b", "ingestionTime": "2023-11-14T22:13:25Z" } },
    ], "moreDataAvailable": true, "complete": true }]);
    assert_eq!(body, expected);
}

#[test]
fn a_table_as_csv() {
    let fields = json!({ "fields": ["timestamp", "ip", "bogus"] });
    let body = json!({ "baselineQuery": "hostname = \"A\"", "fields": fields, "caseInsensitive": true });
    let call = search(post("/legacy:legacyFetchUdmSearchCsv", &body));
    assert_eq!((call.kinds, call.rows_max), (vec![Kind::Udm], limits::GOOGLE_SEARCH_ROWS_MAX));
    let matches = |predicate: &query::Predicate| predicate.matches(Kind::Udm, br#"{"principal": {"hostname": "a"}}"#);
    assert!(matches(&call.predicate));
    let minding = json!({ "baselineQuery": "hostname = \"A\"", "fields": fields });
    assert!(!matches(&search(post("/legacy:legacyFetchUdmSearchCsv", &minding)).predicate));

    let shown = rendered(post("/legacy:legacyFetchUdmSearchCsv", &body), vec![found(5, EVENT)], false);
    let expected = json!([{ "progress": 1, "csv": { "row": ["timestamp,ip", "2023-11-14T22:13:20Z,10.0.0.1"] },
        "complete": true, "tooManyEvents": false, "failureCsvFieldValidations": [{ "field": "bogus" }] }]);
    assert_eq!(shown, expected);
    for (body, status, part) in [
        (json!({ "baselineQuery": "ip != \"\"" }), 400, "fields.fields: must be a list"),
        (json!({ "baselineQuery": "ip != \"\"", "fields": { "fields": ["bogus"] } }), 400, "bogus is no field"),
        (json!({ "baselineQuery": "ip !", "fields": fields }), 400, "expected an operator"),
        (
            json!({ "baselineQuery": "ip != \"\"", "fields": fields, "queryType": "RAW_LOG_QUERY" }),
            501,
            "CSV of anything",
        ),
    ] {
        let message = refused(post("/legacy:legacyFetchUdmSearchCsv", &body), status);
        assert!(message.contains(part), "{body}: {message}");
    }
}

#[test]
fn a_view_ends_with_an_element_that_says_so() {
    let body = json!({ "baselineQuery": "ip != \"\"", "snapshotQuery": "target.port = 1", "caseInsensitive": true,
        "detectionOptions": { "detectionList": { "maxReturnedDetections": 1000 } },
        "eventList": { "maxReturnedEvents": 7 } });
    let call = search(post("/legacy:legacyFetchUdmSearchView", &body));
    assert_eq!((call.rows_max, call.predicate.to_string().as_str()), (7, "ip != \"\" AND target.port = 1"));
    let shown = rendered(post("/legacy:legacyFetchUdmSearchView", &body), vec![found(5, EVENT)], true);
    let event = json!({ "metadata": { "eventType": "USER_LOGIN", "id": ID }, "principal": { "ip": ["10.0.0.1"] } });
    let expected = json!([{ "progress": 0 }, { "progress": 1, "events": { "events": [{ "event": event, "uid": ID }] },
        "baselineEventsCount": 1, "filteredEventsCount": 1, "tooManyEvents": true, "complete": true }]);
    assert_eq!(shown, expected);
    let later = json!({ "baselineQuery": "ip != \"\"", "returnOperationIdOnly": true });
    assert!(refused(post("/legacy:legacyFetchUdmSearchView", &later), 501).contains("go on after"));
    let mixed = json!({ "baselineQuery": "ip != \"\"", "snapshotQuery": "entity.user.userid = \"a\"" });
    assert!(refused(post("/legacy:legacyFetchUdmSearchView", &mixed), 400).contains("entities"));
}

#[test]
fn values_of_fields() {
    let check = |rest: &str, values_max: usize| match asked(get(rest, "ours-read")).question {
        Question::FieldValues(call) => {
            assert_eq!(
                (call.instance, call.text.as_str(), call.values_max),
                (instance(OURS), "x", values_max),
                "{rest}"
            );
        }
        other => panic!("{other:?}"),
    };
    check(":findUdmFieldValues?query=x", 250);
    check(":findUdmFieldValues?query=x&pageSize=3", 3);
    check(":findUdmFieldValues?query=x&limit=5000&page_size=3", 1_000);
    check(":findUdmFieldValues?query=x&pageSize=0", 250);
    for (rest, part) in [
        (":findUdmFieldValues", "query: missing"),
        (":findUdmFieldValues?query=x&pageSize=-1", "pageSize: must be"),
        (&format!(":findUdmFieldValues?query={}", "x".repeat(1_025)), "longer than 1024"),
    ] {
        assert!(refused(get(rest, "ours-read"), 400).contains(part), "{rest:.60}");
    }
    let value = FieldValue {
        path: "principal.ip".to_owned(),
        value: "10.0.0.1".to_owned(),
        received_at: Time::from_secs(1_700_000_005).unwrap(),
        matched: 1..4,
    };
    let outcome = Outcome::FieldValues { values: vec![value], has_more: true };
    let reply = asked(get(":findUdmFieldValues?query=0.0", "ours-read")).render.render(outcome).unwrap();
    let expected = json!({ "valueMatches": [{ "fieldPath": "principal.ip", "value": "10.0.0.1",
        "ingestionTime": "2023-11-14T22:13:25Z", "matchStart": 1, "matchEnd": 4 }], "hasMoreMatches": true });
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), expected);
}

#[test]
fn queries_are_validated_without_asking_anybody() {
    let check = |query: &str, expected: Value| {
        let intake = get(&format!(":validateQuery?{query}"), "ours-read");
        let Ok(Intake::Answer(reply)) = intake else { panic!("{query}: {:?}", intake.map(|_| ())) };
        assert_eq!((reply.status.as_u16(), serde_json::from_slice::<Value>(&reply.body).unwrap()), (200, expected));
    };
    let fine = json!({ "queryType": "QUERY_TYPE_UDM_QUERY" });
    check("rawQuery=ip+%5Cu0021%3D+%22%22&dialect=DIALECT_UDM_SEARCH&allowUnreplacedPlaceholders=false", fine.clone());
    check("raw_query=ip+%21%3D+%22%22", fine);
    check(
        "rawQuery=ip+%3D+5&dialect=2",
        json!({ "errorType": "INVALID_QUERY_TYPE", "errorText": "`ip` is text, not a number; write \"5\"",
            "errorPosition": { "startLine": 1, "startColumn": 6, "endLine": 1, "endColumn": 7 } }),
    );
}

#[test]
fn events_by_their_names() {
    let ids = |intake| match asked(intake).question {
        Question::Records { instance: whose, ids, bytes_max } => {
            assert_eq!((whose, bytes_max), (instance(OURS), limits::GOOGLE_SEARCH_BYTES_MAX));
            ids
        }
        other => panic!("{other:?}"),
    };
    let id = found(5, "").id;
    // As given, unescaped, escaped once more, without padding.
    for name in ["AZIAAAAAcACAAAABAAAABQ%3D%3D", ID, "AZIAAAAAcACAAAABAAAABQ%253D%253D", "AZIAAAAAcACAAAABAAAABQ"] {
        assert_eq!(ids(get(&format!("/events/{name}"), "ours-read")), [id], "{name}");
        assert_eq!(ids(get(&format!("/events:batchGet?names={NAME}/events/{name}"), "ours-read")), [id], "{name}");
    }
    let names = format!("names=events/{ID}&names={ID}&names=AZIAAAAAcACAAAABAAAABg==");
    assert_eq!(ids(get(&format!("/events:batchGet?{names}"), "ours-read")), [id, found(6, "").id]);

    let event = |number: u32| {
        json!({ "name": format!("{NAME}/events/AZIAAAAAcACAAAABAAAAB{}%3D%3D", ["Q", "g"][number as usize - 5]),
        "udm": { "metadata": { "id": format!("AZIAAAAAcACAAAABAAAAB{}==", ["Q", "g"][number as usize - 5]) } } })
    };
    let one = || get(&format!("/events/{ID}"), "ours-read");
    assert_eq!(rendered(one(), vec![found(5, "{}")], false), event(5));
    let batch = || get(&format!("/events:batchGet?{names}"), "ours-read");
    let shown = rendered(batch(), vec![found(6, "{}"), found(5, "{}")], false);
    assert_eq!(shown, json!({ "events": [event(5), event(5), event(6)] }));

    let missing = |intake, rows, truncated| {
        let refusal = asked(intake).render.render(Outcome::Rows { rows, truncated }).unwrap_err();
        (refusal.cause.http_status().as_u16(), refusal.message)
    };
    let of_a_log = FoundRecord { kind: Kind::Raw, ..found(5, "x") };
    assert_eq!(missing(one(), vec![of_a_log], false), (404, format!("There is no event {ID:?}.")));
    assert_eq!(missing(batch(), vec![found(5, "{}")], false).0, 404);
    assert_eq!(missing(batch(), vec![], true).0, 400);

    let theirs = NAME.replace(OURS, "11111111-2222-4333-8444-555555555555");
    for rest in [
        "/events/AAAA".to_owned(),
        "/events/not-base64-!".to_owned(),
        format!("/events:batchGet?names={theirs}/events/{ID}"),
        "/events:batchGet?names=".to_owned(),
    ] {
        assert!(refused(get(&rest, "ours-read"), 404).starts_with("There is no event"), "{rest}");
    }
    assert!(refused(get("/events:batchGet", "ours-read"), 400).contains("0 given"));
    let many = "names=x&".repeat(limits::EVENTS_BATCH_MAX + 1);
    assert!(refused(get(&format!("/events:batchGet?{many}a=b"), "ours-read"), 400).contains("101 given"));
}

#[test]
fn logs_are_classified_together() {
    let logs = [
        "<134>Nov 20 13:42:27 ns1 named[2744]: client 10.0.0.7#53124 (a.example): query: a.example IN A + (10.0.0.1)",
        "type=USER_AUTH msg=audit(1795182146.101:77): pid=7 uid=0 auid=1000 ses=3 msg='op=PAM:authentication res=success'",
    ];
    let encoded = logs.map(|log| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, log));
    let predictions = |logs: &[String]| {
        let body = json!({ "logData": logs }).to_string();
        let target = format!("{BASE}/logs:classify?key=ours-ingest");
        let (status, body) = World::new().call("POST", &target, &[], body.as_bytes()).replied();
        assert_eq!(status, 200, "{body}");
        body["predictions"].as_array().unwrap().clone()
    };
    let (dns, audit) = (predictions(&encoded[..1]), predictions(&encoded[1..]));
    assert_eq!((&dns[0]["logType"], &audit[0]["logType"]), (&json!("BIND_DNS"), &json!("AUDITD")));
    let both = predictions(&encoded);
    let score = |found: &[Value], log_type: &str| {
        found.iter().find(|found| found["logType"] == log_type).map(|found| found["score"].as_f64().unwrap())
    };
    let half = score(&dns, "BIND_DNS").unwrap() / 2.0;
    assert!((score(&both, "BIND_DNS").unwrap() - half).abs() < 0.001, "{both:?}");
}

#[test]
fn senders_and_searchers_may_classify() {
    for (key, status) in [("ours-ingest", 200), ("ours-read", 200), ("ours-admin", 200), ("theirs-read", 403)] {
        let target = format!("{BASE}/logs:classify?key={key}");
        let (got, body) = World::new().call("POST", &target, &[], br#"{"logData": ["eyJhIjoxfQ=="]}"#).replied();
        assert_eq!(got, status, "{key}: {body}");
        if status == 200 {
            assert_eq!(body["predictions"], json!([]), "{body}");
        }
    }
}
