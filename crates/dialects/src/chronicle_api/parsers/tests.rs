//! Calls on kept parsers: what each asks, who may, and what is shown.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::ask::{
    Ask, KeptParser, NewParser, Outcome, ParserAct, ParserVerb, ParsersCall, ParsingError, Question, Slot, Validation,
};
use crate::testing::{OURS, World, instance};
use crate::{Intake, Reply};

const BASE: &str = "/v1alpha/projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
const NAME: &str = "projects/proj/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c/logTypes/OKTA";
const SOURCE: &str = "filter { }";

fn call_as(key: &str, method: &str, rest: &str, body: &str) -> Result<Intake, Reply> {
    let join = if rest.contains('?') { '&' } else { '?' };
    World::new().intake(method, &format!("{BASE}{rest}{join}key={key}"), &[], body.as_bytes())
}

#[track_caller]
fn ask(method: &str, rest: &str, body: &str) -> (Slot, ParserAct, Ask) {
    match call_as("ours-admin", method, rest, body) {
        Ok(Intake::Ask(mut ask)) => {
            let taken = Question::Parsers(ParsersCall {
                instance: instance(OURS),
                slot: Slot::Parser,
                act: ParserAct::List { log_type: None },
            });
            let Question::Parsers(call) = std::mem::replace(&mut ask.question, taken) else {
                panic!("another question")
            };
            assert_eq!(call.instance, instance(OURS));
            (call.slot, call.act, ask)
        }
        Ok(other) => panic!("nobody is asked: {other:?}"),
        Err(reply) => panic!("refused: {}", String::from_utf8_lossy(&reply.body)),
    }
}

#[track_caller]
fn refused(method: &str, rest: &str, body: &str) -> (u16, String) {
    match call_as("ours-admin", method, rest, body) {
        Err(reply) => (reply.status.as_u16(), String::from_utf8_lossy(&reply.body).into_owned()),
        Ok(other) => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn shown(ask: Ask, outcome: Outcome) -> Value {
    serde_json::from_slice(&ask.render.render(outcome).unwrap().body).unwrap()
}

fn parser(id: &str) -> KeptParser {
    KeptParser {
        id: id.to_owned(),
        log_type: "OKTA".to_owned(),
        new: NewParser {
            source: SOURCE.to_owned(),
            sample: None,
            validated_on_empty_logs: true,
            validation_skipped: false,
        },
        creator: Some("me@example.com".to_owned()),
        created_at: "2026-11-21T00:00:00Z".to_owned(),
        is_active: false,
        changed_at: None,
        set_aside: None,
        validation: None,
        extension: None,
    }
}

fn validation(passed: bool) -> Validation {
    Validation {
        id: "r1".to_owned(),
        passed,
        verdict: "It failed.".to_owned(),
        logs: 8,
        normalized: 5,
        failed: 2,
        dropped: BTreeMap::from([("TAG".to_owned(), 1)]),
        events: BTreeMap::from([("USER_LOGIN".to_owned(), 4), ("GENERIC_EVENT".to_owned(), 2)]),
        slowest_micros: 1_500_000,
        all_micros: 2_000_000,
        errors: (0..2).map(|n| ParsingError { log: STANDARD.encode("x"), text: format!("no {n}") }).collect(),
        ..Validation::default()
    }
}

#[test]
fn programs_come_in_base64_under_either_name() {
    let new = |source: &str, validated_on_empty_logs, validation_skipped| NewParser {
        source: source.to_owned(),
        sample: None,
        validated_on_empty_logs,
        validation_skipped,
    };
    let b64 = |text: &str| STANDARD.encode(text);
    let odd = "filter { } # ÿþ~?";
    let cases = [
        ("parsers", json!({ "cbn": b64(SOURCE), "validated_on_empty_logs": true }), new(SOURCE, true, false)),
        (
            "parsers",
            json!({ "cbn": b64(SOURCE), "validatedOnEmptyLogs": null, "name": "n" }),
            new(SOURCE, false, false),
        ),
        ("parsers", json!({ "cbn": URL_SAFE_NO_PAD.encode(odd), "validationSkipped": true }), new(odd, false, true)),
        ("parserExtensions", json!({ "cbn_snippet": b64(SOURCE), "log": null }), new(SOURCE, true, false)),
        (
            "parserExtensions",
            json!({ "cbnSnippet": b64(SOURCE), "log": b64("a log") }),
            NewParser { sample: Some("a log".into()), ..new(SOURCE, true, false) },
        ),
    ];
    for (collection, body, expected) in cases {
        let (slot, act, _) = ask("POST", &format!("/logTypes/OKTA/{collection}"), &body.to_string());
        assert_eq!(slot == Slot::Extension, collection == "parserExtensions");
        let ParserAct::Create { log_type, new } = act else { panic!("{act:?}") };
        assert_eq!((log_type.as_str(), new), ("OKTA", expected), "{body}");
    }
}

#[test]
fn what_is_no_program_is_refused() {
    let long = STANDARD.encode("#".repeat(event::limits::PARSER_SOURCE_BYTES_MAX + 1));
    for (rest, body, status, expected) in [
        ("/logTypes/OKTA/parsers", json!({}), 400, "missing: the program"),
        ("/logTypes/OKTA/parsers", json!({ "cbn": "!" }), 400, "must be base64"),
        ("/logTypes/OKTA/parsers", json!({ "cbn": "gA==" }), 400, "must be UTF-8"),
        ("/logTypes/OKTA/parsers", json!({ "cbn": long }), 400, "it has at most"),
        ("/logTypes/OKTO/parsers", json!({ "cbn": "eA==" }), 400, "unknown log type"),
        ("/logTypes/-/parsers", json!({ "cbn": "eA==" }), 400, "unknown log type"),
        ("/logTypes/OKTA/parsers", json!({ "low_code": {} }), 501, "without a program"),
        ("/logTypes/OKTA/parserExtensions", json!({ "fieldExtractors": {} }), 501, "send a program in cbn_snippet"),
        ("/logTypes/OKTA/parserExtensions", json!({ "dynamic_parsing": {} }), 501, "without a program"),
    ] {
        let (found, text) = refused("POST", rest, &body.to_string());
        assert!(found == status && text.contains(expected), "{rest}: {found} {text}");
    }
}

#[test]
fn verbs_are_asked_for() {
    for (method, rest, slot, verb) in [
        ("GET", "parsers/p1", Slot::Parser, ParserVerb::Get),
        ("GET", "parsers/OKTA@0123456789abcdef", Slot::Parser, ParserVerb::Get),
        ("DELETE", "parsers/p1?force=True", Slot::Parser, ParserVerb::Delete { force: true }),
        ("DELETE", "parsers/p1?force=False", Slot::Parser, ParserVerb::Delete { force: false }),
        ("DELETE", "parsers/p1", Slot::Parser, ParserVerb::Delete { force: false }),
        ("POST", "parsers/p1:copy", Slot::Parser, ParserVerb::Copy),
        ("POST", "parsers/p1:activate", Slot::Parser, ParserVerb::Activate),
        ("POST", "parsers/p1:activateReleaseCandidateParser", Slot::Parser, ParserVerb::Activate),
        ("POST", "parsers/p1:deactivate", Slot::Parser, ParserVerb::Deactivate),
        ("GET", "parsers/p1/validationReports/r1", Slot::Parser, ParserVerb::Report("r1".to_owned())),
        ("GET", "parserExtensions/p1", Slot::Extension, ParserVerb::Get),
        ("DELETE", "parserExtensions/p1", Slot::Extension, ParserVerb::Delete { force: true }),
        ("POST", "parserExtensions/p1:activate", Slot::Extension, ParserVerb::Activate),
        (
            "GET",
            "parserExtensions/p1/validationReports/r/parsingErrors",
            Slot::Extension,
            ParserVerb::Report("r".to_owned()),
        ),
    ] {
        let (found, act, _) = ask(method, &format!("/logTypes/OKTA/{rest}"), "");
        let ParserAct::On { log_type, verb: asked, .. } = act else { panic!("{act:?}") };
        assert_eq!((found, log_type.as_str(), asked), (slot, "OKTA", verb), "{rest}");
    }
    assert_eq!(refused("DELETE", "/logTypes/OKTA/parsers/p1?force=maybe", "").0, 400);
    assert_eq!(refused("POST", "/logTypes/OKTA/parsers/p1:runAnalysis", "{}").0, 501);
    assert_eq!(refused("PATCH", "/logTypes/OKTA/parsers/p1", "{}").0, 405);
}

#[test]
fn changes_are_for_administrators() {
    let program = json!({ "cbn": STANDARD.encode(SOURCE) }).to_string();
    let cases = [
        ("POST", "/logTypes/OKTA/parsers", program.as_str(), false),
        ("POST", "/logTypes/OKTA/parsers/p1:activate", "", false),
        ("DELETE", "/logTypes/OKTA/parserExtensions/p1", "", false),
        ("GET", "/logTypes/-/parsers", "", true),
        ("GET", "/logTypes/OKTA/parsers/p1", "", true),
        ("GET", "/logTypes/OKTA/parsers/p1/validationReports/r1", "", true),
        ("POST", ":generateUdmKeyValueMappings", r#"{"log_format":"JSON","log":"e30="}"#, true),
    ];
    for (method, rest, body, readers_may) in cases {
        let status = |key: &str| call_as(key, method, rest, body).map_or_else(|reply| reply.status.as_u16(), |_| 200);
        let expected = [403, if readers_may { 200 } else { 403 }, 200];
        assert_eq!(["ours-ingest", "ours-read", "ours-admin"].map(status), expected, "{method} {rest}");
        assert_eq!(status("theirs-admin"), 403, "{method} {rest}");
    }
}

#[test]
fn parsers_are_shown_as_google_shows_them() {
    let show = |parser: KeptParser| {
        let (.., ask) = ask("GET", "/logTypes/OKTA/parsers/p1", "");
        shown(ask, Outcome::Parser(Box::new(parser)))
    };
    let custom = KeptParser { validation: Some(validation(true)), extension: Some("e1".to_owned()), ..parser("p1") };
    assert_eq!(
        show(KeptParser { is_active: true, ..custom.clone() }),
        json!({
            "name": format!("{NAME}/parsers/p1"), "type": "CUSTOM", "state": "ACTIVE",
            "creator": { "source": "CUSTOMER", "customer": OURS, "author": "me@example.com" },
            "createTime": "2026-11-21T00:00:00Z", "validationStage": "PASSED", "validatedOnEmptyLogs": true,
            "cbn": STANDARD.encode(SOURCE), "parserExtension": format!("{NAME}/parserExtensions/e1"),
            "validationReport": format!("{NAME}/parsers/p1/validationReports/r1"),
        })
    );
    let ours = show(KeptParser { creator: None, ..parser("OKTA@1") });
    assert_eq!(
        (&ours["type"], &ours["state"], &ours["releaseStage"]),
        (&json!("PREBUILT"), &json!("INACTIVE"), &json!("RELEASE"))
    );
    let failed = KeptParser { validation: Some(validation(false)), ..parser("p1") };
    assert_eq!(show(failed)["validationStage"], "FAILED");
    assert_eq!(show(KeptParser { set_aside: Some("slow".to_owned()), ..custom })["releaseStage"], "FAULTY");

    let state = |parser: KeptParser| {
        let (.., ask) = ask("GET", "/logTypes/OKTA/parserExtensions/p1", "");
        shown(ask, Outcome::Parser(Box::new(parser)))["state"].as_str().unwrap().to_owned()
    };
    let tried = |passed| KeptParser { validation: Some(validation(passed)), ..parser("p1") };
    assert_eq!(state(tried(true)), "VALIDATED");
    assert_eq!(state(tried(false)), "REJECTED");
    assert_eq!(state(KeptParser { is_active: true, ..tried(true) }), "LIVE");
    assert_eq!(state(KeptParser { changed_at: Some(String::new()), ..tried(true) }), "ARCHIVED");
}

#[test]
fn lists_have_filters_views_and_pages() {
    let ours = || KeptParser { creator: None, is_active: true, ..parser("OKTA@1") };
    let all =
        || vec![ours(), parser("p1"), KeptParser { is_active: true, log_type: "BIND_DNS".to_owned(), ..parser("p2") }];
    let list = |log_type: &str, query: &str| {
        let (_, act, ask) = ask("GET", &format!("/logTypes/{log_type}/parsers?{query}"), "");
        let ParserAct::List { log_type: asked } = act else { panic!("{act:?}") };
        assert_eq!(asked.as_deref(), Some(log_type).filter(|name| *name != "-"));
        shown(ask, Outcome::Parsers(all()))
    };
    let ids = |page: &Value| {
        let parsers = page["parsers"].as_array().cloned().unwrap_or_default();
        parsers
            .iter()
            .map(|parser| parser["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", vec!["OKTA@1", "p1", "p2"]),
        ("filter=STATE%3DACTIVE", vec!["OKTA@1", "p2"]),
        ("filter=state+%3D+%22INACTIVE%22", vec!["p1"]),
        ("filter=STATE%3DACTIVE+AND+TYPE%3DCUSTOM", vec!["p2"]),
        ("filter=TYPE!%3DCUSTOM", vec!["OKTA@1"]),
    ] {
        assert_eq!(ids(&list("-", query)), expected, "{query}");
    }
    let first = list("-", "pageSize=2");
    let next = first["nextPageToken"].as_str().unwrap();
    assert_eq!(ids(&list("-", &format!("pageToken={next}"))), ["p2"]);
    assert!(list("-", "view=BASIC_VIEW")["parsers"][0].get("cbn").is_none());
    assert_eq!(list("OKTA", "filter=TYPE%3DPREBUILT+AND+TYPE%3DCUSTOM"), json!({}));
    for query in [
        "filter=STATE%3DLIVE",
        "filter=x",
        "filter=STATE%3DACTIVE+AND+",
        "view=ALL",
        &format!("filter=TYPE%3DCUSTOM&pageToken={next}"),
    ] {
        assert_eq!(refused("GET", &format!("/logTypes/-/parsers?{query}"), "").0, 400, "{query}");
    }

    let candidates = |action: &str| {
        let (.., ask) = ask("GET", &format!("/logTypes/OKTA/parsers:fetchParserCandidates?parserAction={action}"), "");
        shown(ask, Outcome::Parsers(all()))
    };
    assert_eq!(candidates("CLONE_PREBUILT")["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(candidates("PARSER_ACTION_OPT_IN_TO_PREVIEW"), json!({}));
    assert_eq!(refused("GET", "/logTypes/OKTA/parsers:fetchParserCandidates?parserAction=X", "").0, 400);
}

#[test]
fn a_report_says_what_was_tried_and_what_failed() {
    let answer = |rest: &str, passed| {
        let (.., ask) = ask("GET", &format!("/logTypes/OKTA/parsers/p1/validationReports/r1{rest}"), "");
        shown(ask, Outcome::Parser(Box::new(KeptParser { validation: Some(validation(passed)), ..parser("p1") })))
    };
    let name = format!("{NAME}/parsers/p1/validationReports/r1");
    assert_eq!(
        answer("", true),
        json!({
            "name": name, "verdict": "PASS",
            "stats": {
                "logEntryCount": "8", "successfullyNormalizedLogCount": "5", "failedLogCount": "2", "invalidLogCount": "1",
                "eventCount": "6", "genericEventCount": "2",
                "eventCategoryCounts": { "GENERIC_EVENT": "2", "USER_LOGIN": "4" }, "dropTagCounts": { "TAG": "1" },
                "maxParseDuration": "1.500000s", "avgParseDuration": "0.250000s",
                "normalizationPercentage": "62", "genericEventPercentage": "33",
            },
        })
    );
    let failed = answer("", false);
    assert_eq!((&failed["verdict"], failed["error"]["parsingErrors"].as_array().unwrap().len()), (&json!("FAIL"), 2));
    let first = answer("/parsingErrors?pageSize=1", false);
    assert_eq!(
        first["parsingErrors"],
        json!([{ "name": format!("{name}/parsingErrors/0"), "logData": STANDARD.encode("x"),
                 "error": { "code": 3, "message": "no 0" } }])
    );
    let next = first["nextPageToken"].as_str().unwrap();
    let second = answer(&format!("/parsingErrors?pageToken={next}"), false);
    assert_eq!(
        (&second["parsingErrors"][0]["error"]["message"], &second["nextPageToken"]),
        (&json!("no 1"), &Value::Null)
    );
}
