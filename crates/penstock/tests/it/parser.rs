//! `penstock parser` by the built binary: parsers and logs of our own, no server.
//!
//! What the language means is tested in the crate `cbn`; here are files, forms of output and exit statuses.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli::{Done, Home};

/// Logins at a gate: what is none is dropped, and a logout fails, since nothing is called `nobody`.
const GATE: &str = r#"filter {
  grok {
    match => { "message" => ["%{WORD:verb} %{DATA:who} from %{IP:ip} at %{TIMESTAMP_ISO8601:when}"] }
    on_error => "no_login"
  }
  if [no_login] {
    drop { tag => "TAG_UNSUPPORTED" }
  }
  date {
    match => ["when", "ISO8601"]
  }
  if [verb] == "login" {
    mutate {
      replace => {
        "event.idm.read_only_udm.metadata.event_type" => "USER_LOGIN"
        "event.idm.read_only_udm.extensions.auth.type" => "SSO"
        "event.idm.read_only_udm.target.user.userid" => "%{who}"
      }
    }
  } else {
    mutate {
      replace => {
        "event.idm.read_only_udm.target.user.userid" => "%{nobody}"
      }
    }
  }
  mutate {
    merge => {
      "event.idm.read_only_udm.principal.ip" => "ip"
    }
  }
  mutate {
    merge => {
      "@output" => "event"
    }
  }
}
"#;

const MARY: &str = "login mary from 10.1.2.3 at 2026-11-01T10:00:00Z";
const BOB: &str = "login bob from 10.1.2.4 at 2026-11-01T11:00:00Z";
const LOGOUT: &str = "logout mary from 10.1.2.3 at 2026-11-01T12:00:00Z";

/// A place with the gate's parser and files of these names and texts.
fn home(files: &[(&str, &str)]) -> Home {
    let home = Home::new();
    for (name, text) in [("gate.conf", GATE)].iter().chain(files) {
        let path = home.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    home
}

fn lines(logs: &[&str]) -> String {
    logs.iter().map(|log| format!("{log}\n")).collect()
}

fn parser(home: &Home, args: &[&str]) -> Done {
    home.run(&[&["parser"], args].concat())
}

/// It ended with this status and said all of these on standard error.
#[track_caller]
fn ended(done: &Done, status: i32, says: &[&str]) {
    assert_eq!(done.status, status, "{}{}", done.out, done.err);
    says.iter().for_each(|text| assert!(done.err.contains(text), "{:?} does not say {text:?}", done.err));
}

/// The user of an element of `{"events": …}`.
fn user(event: &Value) -> &str {
    event["event"]["idm"]["readOnlyUdm"]["target"]["user"]["userid"].as_str().unwrap_or_default()
}

#[test]
fn logs_are_lines_and_events_are_shown_by_value() {
    let home = home(&[("gate.log", &lines(&[MARY, "hello", "", BOB]))]);
    let done = parser(&home, &["run", "gate.conf", "gate.log"]);
    ended(&done, 0, &["3 logs, 2 events, 1 dropped (TAG_UNSUPPORTED 1), 0 failed, in "]);
    for text in [
        "gate.log:1  USER_LOGIN  2026-11-01T10:00:00Z\n",
        "  target.user.userid       mary\n",
        "gate.log:2  dropped, TAG_UNSUPPORTED\n",
        "gate.log:4  USER_LOGIN  2026-11-01T11:00:00Z\n",
    ] {
        assert!(done.out.contains(text), "{:?} does not say {text:?}", done.out);
    }
}

#[test]
fn events_come_in_the_form_of_googles_files() {
    let home = home(&[("gate.log", &lines(&[MARY, "hello", BOB]))]);
    let document = parser(&home, &["run", "gate.conf", "gate.log", "-o", "json"]).json();
    let keys: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["events"]);
    let events = document["events"].as_array().unwrap();
    assert_eq!(events.iter().map(user).collect::<Vec<_>>(), ["mary", "bob"]);
    assert_eq!(events[0]["event"]["timestamp"], "2026-11-01T10:00:00Z");
    assert_eq!(events[0]["event"]["idm"]["readOnlyUdm"]["principal"]["ip"], json!(["10.1.2.3"]));

    std::fs::write(home.path("none.log"), "").unwrap();
    assert_eq!(parser(&home, &["run", "gate.conf", "none.log", "-o", "json"]).json(), json!({ "events": [] }));
}

#[test]
fn ndjson_has_a_line_for_each_log() {
    let home = home(&[("gate.log", &lines(&[MARY, "hello", LOGOUT]))]);
    let done = parser(&home, &["run", "gate.conf", "gate.log", "-o", "ndjson"]);
    ended(&done, 1, &[]);
    let rows: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows[0]["log"].as_str(), user(&rows[0]["events"][0])), (Some("gate.log:1"), "mary"));
    assert_eq!(rows[1], json!({ "log": "gate.log:2", "dropped": "TAG_UNSUPPORTED" }));
    assert_eq!(rows[2]["error"]["kind"], "failed");
    assert_eq!((&rows[2]["error"]["file"], &rows[2]["error"]["line"]), (&json!("gate.conf"), &json!(21)));
}

#[test]
fn a_failure_is_shown_at_its_place_in_the_parser() {
    let home = home(&[("gate.log", &lines(&[LOGOUT, MARY, LOGOUT, LOGOUT]))]);
    let done = parser(&home, &["run", "gate.conf", "gate.log", "--failures", "2"]);
    ended(
        &done,
        1,
        &[
            "error: LOG_PARSING_CBN_ERROR",
            "--> gate.conf:23:9",
            "23 |         \"event.idm.read_only_udm.target.user.userid\" => \"%{nobody}\"",
            "^^^^^^^^^^^^^",
            "note: the log is gate.log:1: logout mary",
            // The second one at the same place in a line, the third only counted.
            "error: gate.log:3: gate.conf:21:5: LOG_PARSING_CBN_ERROR",
            "… and 1 more failure at gate.conf:21:5 1",
            "penstock: 4 logs, 1 event, 0 dropped, 3 failed, in ",
        ],
    );
    assert_eq!(done.err.matches("-->").count(), 1);
}

#[test]
fn logs_come_from_everywhere() {
    let google = json!({ "raw_logs": { "entries": [
        { "data": MARY, "collection_time": "2026-11-02T00:00:00Z" },
        { "data": "login eve\nfrom 10.1.2.5 at 2026-11-01T13:00:00Z" },
    ] } });
    let home = home(&[
        ("one/gate_log.json", &serde_json::to_string_pretty(&google).unwrap()),
        ("two/list.json", &json!([{ "a": 1 }, MARY]).to_string()),
        ("two/lines.log", &lines(&[MARY])),
        // A folder with a parser is that parser.
        ("GATE/cbn/gate.conf", GATE),
    ]);
    let places = |args: &[&str]| -> Vec<String> {
        let done = parser(&home, &[&["run", "GATE"], args, &["-o", "ndjson"]].concat());
        assert_eq!(done.status, 0, "{}", done.err);
        let log = |line: &str| serde_json::from_str::<Value>(line).unwrap()["log"].as_str().unwrap().to_owned();
        done.out.lines().map(log).collect()
    };
    assert_eq!(places(&["one"]), ["one/gate_log.json, entry 1", "one/gate_log.json, entry 2"]);
    assert_eq!(places(&["two"]), ["two/lines.log:1", "two/list.json:1", "two/list.json:1"]);
    assert_eq!(places(&["two/lines.log", "--whole-file"]), ["two/lines.log"]);
    assert_eq!(places(&["--message", MARY]), ["--message"]);

    let mut child = home
        .command(&["parser", "run", "gate.conf", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines(&[BOB]).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(user(&document["events"][0]), "bob");
}

#[test]
fn what_is_expected_is_compared() {
    let home = home(&[("gate.log", &lines(&[MARY, BOB]))]);
    let events = parser(&home, &["run", "gate.conf", "gate.log", "-o", "json"]).ok();
    let later = events.replace("2026-11-01T10:00:00Z", "2026-11-01T10:00:01Z");
    let other = events.replace("\"bob\"", "\"rob\"");
    for (name, text) in [("same.json", &events), ("later.json", &later), ("other.json", &other)] {
        std::fs::write(home.path(name), text).unwrap();
    }
    let compared = |more: &[&str]| parser(&home, &[&["run", "gate.conf", "gate.log", "--expected"], more].concat());
    ended(&compared(&["same.json"]), 0, &["2 of 2 expected events came out\n"]);
    // Times count when they are asked for.
    ended(&compared(&["later.json"]), 0, &[]);
    ended(&compared(&["later.json", "--times"]), 1, &["1 of 2 expected events came out, and 1 other"]);

    let done = compared(&["other.json"]);
    ended(&done, 1, &["1 of 2 expected events came out, and 1 other"]);
    assert!(done.out.contains("event 2 (gate.log:2)"), "{}", done.out);
    assert!(done.out.contains("target.user.userid  \"rob\"     \"bob\""), "{}", done.out);
    let done = compared(&["other.json", "-o", "json"]);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(document["equal"], 1);
    assert_eq!(
        document["different"][0]["differences"],
        json!([{ "path": "target.user.userid", "expected": "rob", "got": "bob" }])
    );
    compared(&["gate.log"]).fails(1, &["gate.log: is no file of expected events"]);
}

#[test]
fn what_is_no_parser_is_refused_at_its_place() {
    let home = home(&[("bad.conf", "filter {\n  mutate {\n    replace => { \"a\" => \n  }\n}\n"), ("empty/x", "")]);
    let done = parser(&home, &["run", "bad.conf", "--message", "x"]);
    ended(&done, 1, &["error: ", "--> bad.conf:", "penstock: bad.conf cannot run"]);
    parser(&home, &["run", "none.conf", "--message", "x"]).fails(1, &["none.conf"]);
    parser(&home, &["run", "empty", "--message", "x"]).fails(1, &["empty: it holds no parser"]);
    parser(&home, &["run", "gate.conf"]).fails(2, &["LOGS"]);
    parser(&home, &["run", "gate.conf", "x", "--limit-memory", "much"]).fails(2, &["expected bytes"]);
    parser(&home, &["run", "gate.conf", "none.log"]).fails(1, &["cannot read none.log"]);
}

#[test]
fn limits_and_times_are_taken() {
    let home = home(&[]);
    let run = |more: &[&str]| parser(&home, &[&["run", "gate.conf", "--message", MARY], more].concat());
    ended(&run(&["--limit-steps", "3"]), 1, &["too many steps"]);
    ended(&run(&["--limit-events", "0"]), 1, &["too much output"]);
    ended(&run(&["--limit-log", "10"]), 1, &["more than the 10 bytes that one record may have"]);
    let done = run(&["--received-at", "yesterday"]);
    ended(&done, 2, &["--received-at"]);
    ended(&run(&["--timezone", "-05:00"]), 0, &["1 event"]);
    ended(&run(&["--timezone", "Europe/Zurch"]), 2, &["--timezone", "there is no such time zone"]);
}

#[test]
fn many_logs_keep_their_order_on_many_threads() {
    let logs: String =
        (0..20_000).map(|number| format!("login u{number} from 10.0.0.1 at 2026-11-01T10:00:00Z\n")).collect();
    let home = home(&[("gate.log", &logs)]);
    let done = parser(&home, &["run", "gate.conf", "gate.log", "-o", "ndjson", "--threads", "3"]);
    ended(&done, 0, &["20,000 logs, 20,000 events, 0 dropped, 0 failed"]);
    for (number, line) in done.out.lines().enumerate() {
        assert!(line.starts_with(&format!("{{\"log\":\"gate.log:{}\"", number + 1)), "{line}");
        assert!(line.contains(&format!("\"userid\":\"u{number}\"")), "{line}");
    }
}

#[test]
fn odd_events_are_told_or_refused() {
    let odd = GATE.replace("        \"event.idm.read_only_udm.extensions.auth.type\" => \"SSO\"\n", "");
    let home = home(&[("odd.conf", &odd)]);
    let done = parser(&home, &["run", "odd.conf", "--message", MARY]);
    ended(&done, 0, &["1 log, 1 event (1 with issues)"]);
    assert!(done.out.contains("  ! extensions: extensions field is not set\n"), "{}", done.out);
    let done = parser(&home, &["run", "odd.conf", "--message", MARY, "--strict"]);
    ended(&done, 1, &["LOG_PARSING_GENERATED_INVALID_EVENT", "note: the log is --message: login mary", "1 failed"]);
}

/// Parsers with samples in both layouts: one that is right, one that is not, one without samples.
fn tested() -> Home {
    let home = home(&[
        ("p/GATE/parser.conf", GATE),
        ("p/GATE/samples/logins.log", &lines(&[MARY, "hello", LOGOUT])),
        ("p/OTHER/cbn/other.conf", GATE),
        ("p/PLAIN/parser.conf", GATE),
    ]);
    let raw = json!({ "raw_logs": { "entries": [{ "data": MARY }, { "data": BOB }] } });
    let events = parser(&home, &["run", "gate.conf", "--message", BOB, "-o", "json"]).ok();
    for (name, text) in [
        ("p/OTHER/cbn/testdata/raw_logs/x_log.json", raw.to_string()),
        ("p/OTHER/cbn/testdata/expected_events/x_events.json", events),
    ] {
        std::fs::create_dir_all(home.path(name).parent().unwrap()).unwrap();
        std::fs::write(home.path(name), text).unwrap();
    }
    home
}

#[test]
fn parsers_are_tested_by_the_samples_beside_them() {
    let home = tested();
    let done = parser(&home, &["test", "p"]);
    ended(
        &done,
        1,
        &["3 parsers (1 without samples, which can run): 0 cases passed, 1 failed, 1 without expected events; \
           1 of 1 expected events (100.0 %)"],
    );
    assert!(
        done.out.contains(
            "?       GATE logins: no file of expected events, which --update writes; it gives 1 event of 3 logs"
        ),
        "{}",
        done.out
    );
    assert!(done.out.contains("FAILED  OTHER x: 1 of 1 expected events came out, and 1 other"), "{}", done.out);
    assert!(
        done.out.contains("event 1 (p/OTHER/cbn/testdata/raw_logs/x_log.json, entry 1) is not expected"),
        "{}",
        done.out
    );

    let done = parser(&home, &["test", "p", "--update"]);
    ended(&done, 0, &["0 cases passed, 0 failed, 2 updated"]);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(home.path("p/GATE/samples/logins.expected.json")).unwrap()).unwrap();
    assert_eq!(expected["events"].as_array().unwrap().len(), 1);
    let errors = expected["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| error["log"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3)]);
    ended(&parser(&home, &["test", "p"]), 0, &["2 cases passed, 0 failed; 3 of 3 expected events"]);

    // A log that fails otherwise than it says there.
    std::fs::write(home.path("p/GATE/samples/logins.log"), lines(&[MARY, LOGOUT, LOGOUT])).unwrap();
    let done = parser(&home, &["test", "p/GATE"]);
    ended(&done, 1, &["1 failed"]);
    assert!(done.out.contains("log 2: expected LOG_PARSING_DROPPED"), "{}", done.out);
}

#[test]
fn results_are_told_to_programs() {
    let home = tested();
    let done = parser(&home, &["test", "p", "-o", "json", "--junit", "results.xml", "--coverage"]);
    ended(&done, 1, &[]);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(document["summary"]["failed"], 1);
    assert_eq!(document["parsers"][1]["name"], "OTHER");
    assert_eq!(document["parsers"][1]["cases"][0]["verdict"], "failed");
    assert_eq!(document["parsers"][1]["coverage"]["statements"], json!({ "ran": 7, "of": 9 }));
    let junit = std::fs::read_to_string(home.path("results.xml")).unwrap();
    assert!(junit.contains("<testcase classname=\"OTHER\" name=\"x\""), "{junit}");
    assert!(junit.contains("<failure message=\"1 of 1 expected events came out, and 1 other\">"), "{junit}");
}

#[test]
fn coverage_is_told_and_asked_for() {
    let home = tested();
    let done = parser(&home, &["test", "p/OTHER", "--update", "--coverage"]);
    ended(&done, 0, &["7 of 9 statements (77.8 %), 1 of 3 branches (33.3 %) ran"]);
    assert!(done.out.contains("line 6 never taken, line 20 never taken"), "{}", done.out);
    ended(&parser(&home, &["test", "p/OTHER", "--fail-under", "77"]), 0, &[]);
    ended(&parser(&home, &["test", "p/OTHER", "--fail-under", "78"]), 1, &["less than 78 % of the statements ran"]);
}

#[test]
fn a_share_of_the_events_may_be_enough() {
    let home = tested();
    ended(&parser(&home, &["test", "p", "--only", "even", "--equal-at-least", "100"]), 0, &["1 parser"]);
    let done = parser(&home, &["test", "p", "--only", "odd"]);
    ended(&done, 0, &["1 parser"]);
    assert!(done.out.contains("GATE logins"), "{}", done.out);
}

#[test]
fn parsers_are_checked() {
    let odd = GATE.replace("merge => {\n      \"@output\"", "mrege => {\n      \"@output\"");
    let home = home(&[("odd.conf", &odd), ("bad.conf", "filter { muta { } }")]);
    let done = parser(&home, &["lint", "odd.conf"]);
    ended(&done, 0, &["1 parser: 0 errors, "]);
    assert!(done.out.contains("[unknown-function]") && done.out.contains("--> odd.conf:33:5"), "{}", done.out);
    ended(&parser(&home, &["lint", "odd.conf", "--deny", "warnings"]), 1, &["penstock: 1 parser"]);
    let found = parser(&home, &["lint", "odd.conf", "-o", "json"]).json();
    let found = found.as_array().unwrap().iter().find(|found| found["kind"] == "unknown-function").unwrap();
    assert_eq!((&found["line"], &found["column"], &found["severity"]), (&json!(33), &json!(5), &json!("warning")));
    let done = parser(&home, &["lint", "odd.conf", "--allow", "unknown-function"]);
    assert!(!done.out.contains("unknown-function"), "{}", done.out);
    let done = parser(&home, &["lint", "odd.conf", "--allow", "unknown-funktion"]);
    ended(&done, 2, &["expected one of block-order, ", "unknown-function"]);
    ended(&parser(&home, &["lint", "odd.conf", "--deny", "unset-read"]), 2, &["possible values: warnings, hints"]);
    let done = parser(&home, &["lint", "."]);
    ended(&done, 1, &["3 parsers: 1 error, "]);
    assert!(done.out.contains("help: Did you mean"), "{}", done.out);
}

#[test]
fn parsers_are_laid_out_in_one_way() {
    let untidy = "filter{ # logins\nmutate{replace=>{\"a\"=>'b'}}\n}";
    // What stands beside it is no hindrance.
    let home = home(&[("untidy.conf", untidy), ("untidy.conf.new", "half")]);
    let printed = parser(&home, &["fmt", "--stdout", "untidy.conf"]).ok();
    assert!(printed.contains("# logins") && printed.contains("  mutate {\n"), "{printed}");
    let check = || parser(&home, &["fmt", "--check", "untidy.conf"]);
    let done = check();
    ended(&done, 1, &["1 of 1 parser not laid out so"]);
    assert_eq!(
        (done.out.as_str(), std::fs::read_to_string(home.path("untidy.conf")).unwrap().as_str()),
        ("untidy.conf\n", untidy)
    );
    assert_eq!(parser(&home, &["fmt", "untidy.conf"]).ok(), "untidy.conf\n");
    assert_eq!(std::fs::read_to_string(home.path("untidy.conf")).unwrap(), printed);
    check().ok();
    std::fs::write(home.path("untidy.conf"), "filter {").unwrap();
    ended(&check(), 1, &["--> untidy.conf:1:"]);
}

#[test]
fn a_trace_shows_what_each_statement_changed() {
    let home = home(&[("gate.log", &lines(&[MARY, LOGOUT]))]);
    let done = parser(&home, &["trace", "gate.conf", "gate.log"]);
    ended(&done, 0, &[]);
    for text in [
        "gate.log:1: login mary",
        "+ who = \"mary\"",
        "taken: if [verb] == \"login\"",
        "+ event.idm.read_only_udm.target.user.userid = \"mary\"",
        "USER_LOGIN  2026-11-01T10:00:00Z",
    ] {
        assert!(done.out.contains(text), "{} does not say {text:?}", done.out);
    }
    let done = parser(&home, &["trace", "gate.conf", "gate.log", "--log", "2", "-o", "json"]);
    ended(&done, 1, &["--> gate.conf:23:9", "penstock: the log failed"]);
    let document: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(document["error"]["kind"], "failed");
    assert_eq!(document["steps"].as_array().unwrap().last().unwrap()["end"], "failed");
    parser(&home, &["trace", "gate.conf", "gate.log", "--log", "3"]).fails(1, &["there is no log 3; there are 2"]);
}

#[test]
fn a_parser_is_begun_from_samples() {
    let logs = lines(&[
        r#"{"time": "2026-11-01T10:00:00Z", "action": "login", "user": "mary", "src_ip": "10.1.2.3"}"#,
        r#"{"time": "2026-11-01T11:00:00Z", "action": "login", "user": "bob", "src_ip": "10.1.2.4"}"#,
    ]);
    let home = home(&[("door.log", &logs)]);
    let done = parser(&home, &["new", "ACME_DOOR", "--from", "door.log", "--out", "ACME_DOOR/parser.conf"]);
    ended(&done, 0, &["ACME_DOOR/parser.conf makes events of 2 of 2 samples.", "penstock parser run"]);
    let source = std::fs::read_to_string(home.path("ACME_DOOR/parser.conf")).unwrap();
    assert!(source.contains("src_ip") && !source.contains("10.1.2.3"), "{source}");
    ended(&parser(&home, &["run", "ACME_DOOR", "door.log"]), 0, &["2 logs, 2 events"]);
    parser(&home, &["new", "ACME_DOOR", "--from", "door.log", "--out", "ACME_DOOR/parser.conf"]).fails(1, &["exists"]);
    parser(&home, &["new", "acme", "--from", "door.log"]).fails(2, &["2 to 64 of A-Z"]);
}
