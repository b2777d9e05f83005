//! `log`, `entity`, `forwarder` and `feed` as hands and scripts meet them: the built binary against a whole server, and
//! what that stored. Following files is a story of its own (`follow.rs`).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, write::GzEncoder};
use http::Method;
use serde_json::{Value, json};
use testkit::third_party::{Answer, ThirdParty};

use crate::cli::{Done, Home};
use crate::server::{TestServer, rows, send, until};

/// A server, and a place to give commands from.
pub struct Desk {
    pub server: TestServer,
    pub home: Home,
}

impl Desk {
    pub async fn new() -> Desk {
        let mut server = TestServer::start().await;
        // The same port after a restart, as a server of one's own would have.
        server.config.listen.address.set_port(server.server.address.port());
        Desk { server, home: Home::new() }
    }

    /// A command with the server's address and the operator's token in its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command.env("PENSTOCK_SERVER", &self.server.server.url).env("PENSTOCK_TOKEN", &self.server.operator);
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, b"")
    }

    /// Runs a command that reads this.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Done {
        finish(self.command(args), input)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.home.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// All raw logs of this type: their bytes, sorted.
    pub async fn logs(&self, log_type: &str) -> Vec<Vec<u8>> {
        self.server.settled().await;
        // Also those that are nothing but bytes.
        let query = json!({ "language": "raw", "regex": "(?s).*", "limit": 1_000_000 });
        let reply = send(self.server.request(Method::POST, "/api/search").json(&query)).await;
        let rows = rows(&reply);
        let bytes = |row: &Value| match row["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => STANDARD.decode(row["data_base64"].as_str().unwrap()).unwrap(),
        };
        let mut logs: Vec<_> = rows.iter().filter(|row| row["log_type"] == log_type).map(bytes).collect();
        logs.sort();
        logs
    }
}

fn finish(mut command: Command, input: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that reads nothing closes its end.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    Done {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn bytes<const N: usize>(logs: [&[u8]; N]) -> Vec<Vec<u8>> {
    let mut logs: Vec<Vec<u8>> = logs.iter().map(|log| log.to_vec()).collect();
    logs.sort();
    logs
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_arrive_as_they_are_whatever_they_come_from() {
    let desk = Desk::new().await;
    // Neither UTF-8 nor printable; a line end of Windows; empty lines; a last line without an end; a tab that stays.
    desk.write("mixed.log", b"plain\n\xff\x00\xfe\r\n\n\r\n{\"json\": \"stays as it is\"} \t\nno end");
    let said = desk.run(&["log", "ingest", "--type", "OKTA", "--file", "mixed.log"]).ok();
    assert!(said.starts_with("Sent 4 records (42 B) in 1 batch to http://127.0.0.1:"), "{said}");
    assert!(said.trim_end().ends_with("2 empty lines skipped."), "{said}");
    let mixed = bytes([b"plain", b"\xff\x00\xfe", b"{\"json\": \"stays as it is\"} \t", b"no end"]);
    assert_eq!(desk.logs("OKTA").await, mixed);

    // The same by standard input, and inflated.
    let content = std::fs::read(desk.home.path("mixed.log")).unwrap();
    desk.run_with(&["log", "ingest", "--type", "BIND_DNS", "-"], &content).ok();
    assert_eq!(desk.logs("BIND_DNS").await, mixed);
    desk.write("mixed.log.gz", gzip(&content));
    desk.run(&["log", "ingest", "mixed.log.gz", "--type", "NGINX"]).ok();
    assert_eq!(desk.logs("NGINX").await, mixed);

    // A folder: its files and its folders' by name, no links; several paths in their order; positions and flags.
    desk.write("logs/b/2.log", "b2\n");
    desk.write("logs/a.log", "a1\na2\n");
    desk.write("logs/empty.log", "");
    std::os::unix::fs::symlink(desk.home.path("mixed.log"), desk.home.path("logs/link.log")).unwrap();
    desk.write("one.log", "one");
    let done = desk.run(&["log", "ingest", "--type", "WINEVTLOG", "--file", "one.log", "logs", "-o", "json"]).json();
    assert_eq!((&done["records"], &done["inputs"], &done["bytes"]), (&json!(4), &json!(4), &json!(9)), "{done}");
    assert_eq!(desk.logs("WINEVTLOG").await, bytes([b"one", b"a1", b"a2", b"b2"]));

    // A message is one log, line ends and all, and need not be text either.
    desk.run(&["log", "ingest", "--type", "AUDITD", "--message", "two\nlines\n"]).ok();
    let mut odd = desk.command(&["log", "ingest", "--type", "AUDITD", "--message"]);
    odd.arg(std::os::unix::ffi::OsStrExt::from_bytes(&b"\xffodd"[..]) as &std::ffi::OsStr);
    finish(odd, b"").ok();
    assert_eq!(desk.logs("AUDITD").await, bytes([b"two\nlines\n", b"\xffodd"]));

    // Nothing in a file is nothing to send, and no mistake.
    let said = desk.run(&["log", "ingest", "--type", "OKTA", "logs/empty.log"]).ok();
    assert!(said.starts_with("Sent 0 records (0 B) in 0 batches"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_cut_as_it_says_or_as_it_is_told() {
    let desk = Desk::new().await;
    let array = "[\n  {\"a\": 1},\n  {\"b\": [\"]\"]}\n]\n";
    desk.write("export.json", array);
    desk.write("export.json.gz", gzip(array.as_bytes()));
    desk.write("lines.json", "{\"a\": 1}\n{\"a\": 2}\n");
    desk.write("array.log", array);
    let elements = bytes([b"{\"a\": 1}", b"{\"b\": [\"]\"]}"]);
    for (log_type, args, expected) in [
        ("OKTA", &["export.json"][..], elements.clone()),
        ("NGINX", &["export.json.gz"], elements.clone()),
        ("AUDITD", &["lines.json"], bytes([b"{\"a\": 1}", b"{\"a\": 2}"])),
        ("APACHE", &["array.log"], bytes([b"[", b"  {\"a\": 1},", b"  {\"b\": [\"]\"]}", b"]"])),
        ("GITHUB", &["array.log", "--split", "array"], elements),
        (
            "BIND_DNS",
            &["export.json", "--split", "lines"],
            bytes([b"[", b"  {\"a\": 1},", b"  {\"b\": [\"]\"]}", b"]"]),
        ),
        ("WINEVTLOG", &["export.json", "--whole-file"], bytes([array.as_bytes()])),
        (
            "GITLAB",
            &["export.json", "lines.json", "--split", "none"],
            bytes([array.as_bytes(), b"{\"a\": 1}\n{\"a\": 2}\n"]),
        ),
    ] {
        desk.run(&[&["log", "ingest", "--type", log_type], args].concat()).ok();
        assert_eq!(desk.logs(log_type).await, expected, "{args:?}");
    }

    // A broken array is not sent by half, and the other files go on.
    desk.write("broken.json", "[{\"a\": 1},\n{\"b\": }]");
    let done = desk.run(&["log", "ingest", "--type", "OFFICE_365", "broken.json", "lines.json"]);
    assert_eq!(done.status, 1, "{}{}", done.out, done.err);
    assert!(done.out.starts_with("Sent 2 records"), "{}", done.out);
    for text in ["broken.json:2: is not JSON as it should be: expected value", "--split lines"] {
        assert!(done.err.contains(text), "{}", done.err);
    }
    assert_eq!(desk.logs("OFFICE_365").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_lines_arrive_once_each_in_full_batches() {
    let desk = Desk::new().await;
    let lines: Vec<String> = (0..100_000).map(|number| format!("line {number:06}")).collect();
    desk.write("many.log", lines.join("\n"));
    let out = desk.run(&["log", "ingest", "--type", "OKTA", "many.log", "-o", "ndjson"]).ok();
    let told: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, batches) = told.split_last().unwrap();
    assert_eq!((&last["done"], &last["records"], &last["batches"]), (&json!(true), &json!(100_000), &json!(10)));
    assert_eq!(batches[9]["from"], json!({"file": "many.log", "line": 90_001}));
    assert_eq!(batches[9]["to"], json!({"file": "many.log", "line": 100_000}));
    // Each batch is one that the receipt knows.
    let operation = batches[3]["operation"].as_str().unwrap();
    let batch = operation.strip_prefix("operations/").unwrap();
    for id in [batch, operation] {
        assert_eq!(desk.run(&["receipt", id, "-o", "json"]).json()["records_total"], 10_000);
    }
    let expected: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    assert!(desk.logs("OKTA").await == expected, "the lines that were sent are not those that are there");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_read_the_same_are_all_kept() {
    let desk = Desk::new().await;
    // Two full batches that differ in nothing but their times.
    desk.write("same.log", "alive\n".repeat(25_000));
    for times in [&[][..], &["--entry-timestamp", "2023-01-01T12:00:00Z"]] {
        let args = [&["log", "ingest", "--type", "OKTA", "same.log", "-o", "json"], times].concat();
        let done = desk.run(&args).json();
        assert_eq!((&done["records"], &done["repeated"]), (&json!(25_000), &json!(0)), "{args:?}");
    }
    assert_eq!(desk.logs("OKTA").await.len(), 50_000);
    // Said again with the same times it is the same, and that is told.
    let again = desk.run(&["log", "ingest", "--type", "OKTA", "same.log", "--entry-timestamp", "2023-01-01T12:00:00Z"]);
    assert!(again.ok().contains("25,000 of them were there already."));
    assert_eq!(desk.logs("OKTA").await.len(), 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_logs_is_stored_with_them() {
    let desk = Desk::new().await;
    let forwarder =
        desk.run(&["forwarder", "create", "--display-name", "Lab", "--log-type", "OKTA", "-o", "json"]).json();
    let forwarder = forwarder["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let shared = ["log", "ingest", "--type", "OKTA", "--namespace", "corp", "--forwarder_id", &forwarder];
    let times = ["--entry-timestamp", "2023-01-01T12:00:00Z", "--collection_timestamp", "2023-01-01T13:05:00+01:00"];
    for (labels, message) in [("site=zurich, env=prod", "pairs"), (r#"{"site": "zurich", "env": "prod"}"#, "object")] {
        desk.run(&[&shared[..], &times, &["--labels", labels, "--message", message]].concat()).ok();
    }
    for row in desk.server.search("raw", "").await {
        assert_eq!((&row["namespace"], &row["event_time"]), (&json!("corp"), &json!("2023-01-01T12:00:00Z")));
        let labels: Vec<_> =
            row["labels"].as_array().unwrap().iter().map(|label| [&label["key"], &label["value"]]).collect();
        assert_eq!(json!(labels), json!([["site", "zurich"], ["env", "prod"]]), "{row}");
        assert!(row["feed"].as_str().unwrap().contains(&forwarder), "{row}");
    }
    let wrong = ["--labels", "site"];
    desk.run(&[&shared[..], &wrong, &["--message", "x"]].concat()).fails(2, &["--labels", "site", "key=value"]);
    let late = ["--entry-timestamp", "2023-01-01T12:00:00Z", "--collection-timestamp", "2022-01-01T12:00:00Z"];
    desk.run(&[&shared[..], &late, &["--message", "x"]].concat()).fails(2, &["before --entry-timestamp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_where_and_what_to_do() {
    let desk = Desk::new().await;
    desk.write("a.log", "a\n");
    let ingest = ["log", "ingest", "--type", "OKTA"];
    desk.run(&["log", "ingest", "--type", "OKTAA", "a.log"]).fails(1, &["\"OKTAA\"", "nearest: OKTA", "--force"]);
    desk.run(&["log", "ingest", "--type", "no such", "a.log"]).fails(1, &["\"no such\""]);
    desk.write("a.gz", "no gzip");
    let done = desk.run(&[&ingest[..], &["a.gz"]].concat());
    assert!(done.status == 1 && done.err.contains("a.gz: is no gzip file"), "{}", done.err);
    desk.run(&[&ingest[..], &["--follow", "a.log", "a.gz"]].concat())
        .fails(2, &["a.gz cannot be followed", "compressed"]);
    let entities = ["entity", "import", "--type", "OKTAA", "--file", "a.log"];
    let done = desk.run(&entities);
    done.fails(1, &["nearest: OKTA", "`penstock log-type add OKTAA`"]);
    desk.run(&[&ingest[..], &["none.log"]].concat()).fails(1, &["cannot read none.log", "No such file"]);
    desk.run(&ingest).fails(2, &["nothing to send", "--message"]);
    desk.run(&["log", "ingest", "a.log"]).fails(2, &["--type"]);
    desk.run(&[&ingest[..], &["a.log", "--message", "x"]].concat()).fails(2, &["--message"]);
    desk.run(&[&ingest[..], &["-", "--file", "-"]].concat()).fails(1, &["more than once"]);
    desk.run(&[&ingest[..], &["a.log", "--customer-id", "nonsense"]].concat()).fails(2, &["nonsense", "UUID"]);
    let foreign = "0b7c1d2e-0000-4000-8000-000000000002";
    let done = desk.run(&[&ingest[..], &["a.log", "--customer-id", foreign]].concat());
    assert!(!done.err.contains("--force"), "the log type is not what is wrong: {}", done.err);
    done.fails(1, &[foreign]);
    desk.run(&[&ingest[..], &["a.log", "--server", "http://127.0.0.1:1"]].concat())
        .fails(3, &["no server answers at http://127.0.0.1:1", "penstock serve", "--server"]);
    let wrong = desk.run(&[&ingest[..], &["a.log", "--token", "wrong"]].concat());
    wrong.fails(1, &["--token", "--customer-id"]);
    let wrong = desk.run(&[&ingest[..], &["a.log", "--token", "wrong", "--customer-id", foreign]].concat());
    wrong.fails(1, &["--token or PENSTOCK_TOKEN", "--service-account"]);
    assert_eq!(desk.logs("OKTA").await, Vec::<Vec<u8>>::new());

    // Several instances: which one is meant is nothing to guess about.
    let made = desk.run(&["instance", "create", "--name", "second", "-o", "json"]).json();
    let second = made["id"].as_str().unwrap();
    desk.run(&[&ingest[..], &["a.log"]].concat()).fails(2, &["--customer-id", second]);
    desk.run(&[&ingest[..], &["a.log", "--customer_id", second]].concat()).ok();
    assert_eq!(desk.server.search("raw", "").await[0]["instance"], second);

    // A key file says whose it is. Its account may send, but not manage.
    desk.run(&["account", "create", "--role", "ingest", "--instance", second, "--out", "sa.json"]).ok();
    let mut bare = desk.home.command(&["log", "ingest", "--type", "OKTA", "a.log", "--service_account", "sa.json"]);
    bare.env("PENSTOCK_SERVER", &desk.server.server.url);
    finish(bare, b"").ok();
    let with_key = ["--service-account", "sa.json"];
    desk.run(&[&["log", "ingest", "--type", "MY_APP", "a.log", "--force"][..], &with_key].concat())
        .fails(1, &["admin"]);
    assert_eq!(desk.logs("OKTA").await.len(), 2);
    desk.run(&["log", "ingest", "--type", "MY_APP", "a.log", "--force", "--customer-id", second]).ok();
    assert_eq!(desk.logs("MY_APP").await, bytes([b"a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_too_long_is_named_and_the_others_go_on() {
    let desk = Desk::new().await;
    let long = "x".repeat(3_000_000);
    desk.write("long.log", format!("before\n{long}\nafter\n"));
    let done = desk.run(&["log", "ingest", "--type", "OKTA", "long.log"]);
    assert_eq!((done.status, done.out.starts_with("Sent 2 records")), (1, true), "{}{}", done.out, done.err);
    assert!(done.err.contains("long.log:2: the line has 3000000 bytes"), "{}", done.err);
    assert_eq!(desk.logs("OKTA").await, bytes([b"before", b"after"]));
    let done = desk.run(&["log", "ingest", "--type", "NGINX", "long.log", "-o", "json"]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.status, &told["failures"][0]["line"]), (1, &json!(2)), "{told}");
    // The longest that goes.
    desk.write("longest.log", "x".repeat(2_900_000));
    desk.run(&["log", "ingest", "--type", "AUDITD", "longest.log"]).ok();
    assert_eq!(desk.logs("AUDITD").await[0].len(), 2_900_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_midway_says_how_far_it_came() {
    let receiver = ThirdParty::start().await;
    receiver.rule(|request| match request.plain().windows(8).any(|bytes| bytes == b"bGluZSAx") {
        // Base64 of "line 1", with which the second batch begins.
        true => Answer::status(403).body(json!({"error": {"code": 403, "message": "no more"}}).to_string()),
        false => Answer::ok(),
    });
    let home = Home::new();
    let lines: String = (0..20_000).map(|number| format!("line {}\n", number / 10_000)).collect();
    std::fs::write(home.path("a.log"), lines).unwrap();
    let (url, customer) = (receiver.url(""), "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c");
    let args =
        ["log", "ingest", "--type", "OKTA", "a.log", "--server", &url, "--token", "t", "--customer-id", customer];
    let done = home.run(&args);
    assert_eq!((done.status, done.out.starts_with("Sent 10,000 records")), (1, true), "{}{}", done.out, done.err);
    assert!(done.err.contains("no more\nBefore a.log:10001 10,000 records had been sent"), "{}", done.err);
    let told: Value = serde_json::from_str(&home.run(&[&args[..], &["-o", "json"]].concat()).out).unwrap();
    assert_eq!((&told["done"], &told["stopped_at"]), (&json!(false), &json!("a.log:10001")));
}

fn event(user: &str) -> Value {
    json!({
        "metadata": {"event_timestamp": "2026-11-21T21:00:00Z", "event_type": "USER_LOGIN"},
        "principal": {"ip": "192.168.1.100"},
        "target": {"user": {"userid": user}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_entities_come_from_json_in_any_arrangement() {
    let desk = Desk::new().await;
    desk.write("one.json", format!("{:#}", event("one")));
    desk.write("list.json", json!([event("two"), event("three")]).to_string());
    desk.write("lines.ndjson", format!("{}\n{}\n", event("four"), event("five")));
    desk.write("element.json", json!({"udm": event("eight")}).to_string());
    desk.run(&["log", "ingest-udm", "--file", "element.json"]).ok();
    desk.write("packed.ndjson.gz", gzip(event("six").to_string().as_bytes()));
    let files = ["--file", "one.json", "--file", "list.json", "--file", "lines.ndjson", "--file", "packed.ndjson.gz"];
    let done = desk.run(&[&["log", "ingest-udm", "-o", "json"], &files[..]].concat()).json();
    assert_eq!((&done["records"], &done["batches"]), (&json!(6), &json!(1)));
    desk.run_with(&["log", "ingest-udm", "--file", "-"], event("seven").to_string().as_bytes()).ok();
    let rows = desk.server.search("udm", "ip = \"192.168.1.100\"").await;
    let mut users: Vec<_> = rows.iter().map(|row| row["udm"]["target"]["user"]["userid"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["eight", "five", "four", "one", "seven", "six", "three", "two"]);

    let entity = |user: &str| json!({"metadata": {"entity_type": "USER"}, "entity": {"user": {"userid": user}}});
    desk.write("users.json", json!([entity("jane"), entity("joe")]).to_string());
    desk.run(&["entity", "import", "--type", "OKTA", "--file", "users.json"]).ok();
    for user in ["jane", "joe"] {
        let rows = desk.server.search("udm", &format!("entity.user.userid = \"{user}\"")).await;
        assert_eq!((rows.len(), &rows[0]["entity"], &rows[0]["log_type"]), (1, &entity(user), &json!("OKTA")));
    }
    desk.run(&["entity", "import", "--type", "OKTAA", "--file", "users.json"]).fails(1, &["nearest: OKTA"]);
    desk.run(&["entity", "import", "--file", "users.json"]).fails(2, &["--type"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_is_named_with_its_file_and_line() {
    let desk = Desk::new().await;
    let mut bad = event("bad");
    bad["metadata"]["event_timestamp"] = json!("soon");
    desk.write("good.ndjson", format!("{}\n", event("good")));
    desk.write("bad.ndjson", format!("{}\n\n{bad}\n{}\n", event("one"), event("two")));
    let done = desk.run(&["log", "ingest-udm", "--file", "good.ndjson", "--file", "bad.ndjson"]);
    assert_eq!(done.status, 1, "{}{}", done.out, done.err);
    assert!(done.out.starts_with("Sent 0 records"), "{}", done.out);
    for text in [
        "4 records of good.ndjson:1 to bad.ndjson:4 refused (a request is taken or refused whole, so 3 more",
        "bad.ndjson:3: udm.metadata.event_timestamp: ",
        "penstock: 4 records not sent",
    ] {
        assert!(done.err.contains(text), "{text:?} is not in {}", done.err);
    }
    let told: Value =
        serde_json::from_str(&desk.run(&["log", "ingest-udm", "--file", "bad.ndjson", "-o", "json"]).out).unwrap();
    assert_eq!(told["failures"][0]["faults"][0]["at"], json!({"file": "bad.ndjson", "line": 3}), "{told}");
    assert_eq!((&told["records"], &told["failed_records"]), (&json!(0), &json!(3)));

    // What is no event at all is known before anything is sent, and left out.
    desk.write("odd.ndjson", format!("{}\n[1]\n\"text\"\n", event("three")));
    let done = desk.run(&["log", "ingest-udm", "--file", "odd.ndjson"]);
    assert_eq!((done.status, done.out.starts_with("Sent 1 record ")), (1, true), "{}{}", done.out, done.err);
    for text in ["odd.ndjson:2: event: it is not a JSON object; it is not sent", "odd.ndjson:3: event: it is a text"] {
        assert!(done.err.contains(text), "{}", done.err);
    }
    desk.write("bare.ndjson", "{\"principal\": {\"ip\": \"192.168.1.100\"}}\n{\"metadata\": {}}\n");
    for (args, faults) in [
        (&["log", "ingest-udm"][..], &["bare.ndjson:1: event: it has no `metadata`"][..]),
        (
            &["entity", "import", "--type", "OKTA"],
            &["bare.ndjson:1: entity: it has no `metadata`", "bare.ndjson:2: entity: it has no `entity`"],
        ),
    ] {
        let done = desk.run(&[args, &["--file", "bare.ndjson"]].concat());
        assert_eq!(done.status, 1, "{}{}", done.out, done.err);
        faults.iter().for_each(|fault| assert!(done.err.contains(fault), "{fault:?} is not in {}", done.err));
    }
    desk.write("no.json", "{\"metadata\": \n nonsense}");
    desk.run(&["log", "ingest-udm", "--file", "no.json", "-o", "ndjson"]);
    let done = desk.run(&["log", "ingest-udm", "--file", "no.json"]);
    assert!(done.status == 1 && done.err.contains("no.json:2: is not JSON as it should be"), "{}", done.err);
    assert_eq!(desk.server.search("udm", "ip = \"192.168.1.100\"").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_types_are_listed_searched_and_paged() {
    let desk = Desk::new().await;
    let all = desk.run(&["log", "types", "-o", "json"]).json();
    let all = all.as_array().unwrap();
    assert!(all.len() > 1_000 && all.contains(&json!({"name": "OKTA", "description": "Okta"})));
    let found = desk.run(&["log", "types", "--search", "oKtA r", "-o", "ndjson"]).ok();
    assert_eq!(found.trim(), r#"{"name":"OKTA_RADIUS","description":"Okta RADIUS"}"#);
    assert!(desk.run(&["log", "types", "--search", "no such thing"]).ok().contains("There is no such log type."));
    let first = desk.run(&["log", "types", "--page_size", "2", "-o", "json"]).json();
    assert_eq!(first["logTypes"].as_array().unwrap().len(), 2);
    let token = first["nextPageToken"].as_str().unwrap();
    let table = desk.run(&["log", "types", "--page-size", "2", "--page-token", token, "--output", "text"]).ok();
    assert!(table.contains("--page-token ") && table.contains(all[2]["name"].as_str().unwrap()), "{table}");
    desk.run(&["log", "types", "--page-token", "nonsense"]).fails(1, &["page"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_is_shown_with_its_score_and_no_guess_is_said_plainly() {
    let receiver = ThirdParty::start().await;
    receiver.rule(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let logs: Vec<String> = body["logData"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| String::from_utf8(STANDARD.decode(log.as_str().unwrap()).unwrap()).unwrap())
            .collect();
        let guess = |log_type: &str, score: f64| json!({"logType": log_type, "score": score});
        let guesses = match logs.join("|").as_str() {
            "dns one|dns two" => vec![guess("POWERDNS", 0.312), guess("BIND_DNS", 0.951)],
            "a little" => vec![guess("NIX_SYSTEM", 0.05)],
            _ => vec![],
        };
        Answer::ok().body(json!({ "predictions": guesses }).to_string())
    });
    let home = Home::new();
    std::fs::write(home.path("dns.log"), "dns one\r\n\ndns two\n").unwrap();
    std::fs::write(home.path("empty.log"), "").unwrap();
    let customer = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";
    let classify = |log: &str, format: &str| {
        let url = receiver.url("");
        home.run(&[
            "log",
            "classify",
            "--log",
            log,
            "-o",
            format,
            "--server",
            &url,
            "--token",
            "t",
            "--customer-id",
            customer,
        ])
    };
    let table = classify("dns.log", "table").ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [vec!["LOG", "TYPE", "SCORE"], vec!["BIND_DNS", "0.95"], vec!["POWERDNS", "0.31"]]);
    let json = classify("dns.log", "json").json();
    assert_eq!(json, json!([{"logType": "BIND_DNS", "score": 0.95}, {"logType": "POWERDNS", "score": 0.31}]));
    let table = classify("a little", "table").ok();
    assert!(table.starts_with("Nothing fits") && table.contains("NIX_SYSTEM"), "{table}");
    assert!(classify("nothing like it", "table").ok().starts_with("Nothing fits"));
    assert_eq!(classify("nothing like it", "json").json(), json!([]));
    classify("empty.log", "table").fails(1, &["empty.log holds no log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarders_with_their_collectors() {
    let desk = Desk::new().await;
    let forwarder = |args: &[&str]| desk.run(&[&["forwarder"], args].concat());
    assert!(forwarder(&["list"]).ok().contains("There is no forwarder."));
    let metadata = r#"{"asset_namespace": "lab", "labels": {"site": "zurich"}}"#;
    let filters = r#"[{"description": "d", "regexp": "drop me", "behavior": "BLOCK"}]"#;
    let made = forwarder(&[
        "create",
        "--display-name",
        "My Custom Forwarder",
        "--log-type",
        "CUSTOM_LOG_TYPE",
        "--metadata",
        metadata,
        "--upload_compression",
        "true",
        "--enable-server",
        "false",
        "--regex-filters",
        filters,
        "--graceful-timeout",
        "15s",
        "-o",
        "json",
    ]);
    let made = made.json();
    assert_eq!((&made["displayName"], &made["state"]), (&json!("My Custom Forwarder"), &json!("ACTIVE")));
    assert_eq!(made["config"]["metadata"], json!({"assetNamespace": "lab", "labels": {"site": "zurich"}}));
    assert_eq!(made["config"]["serverSettings"], json!({"enabled": false, "gracefulTimeout": "15s"}));
    assert_eq!(made["collectors"][0]["config"]["logType"], "CUSTOM_LOG_TYPE");
    let name = made["name"].as_str().unwrap();
    let id = name.rsplit('/').next().unwrap();

    // The type is one of the instance's now, and what the forwarder says applies to what comes through it.
    desk.write("a.log", "keep\ndrop me\n");
    desk.run(&["log", "ingest", "--type", "CUSTOM_LOG_TYPE", "a.log", "--forwarder-id", id]).ok();
    let rows = desk.server.search("raw", "").await;
    assert_eq!((rows.len(), &rows[0]["text"], &rows[0]["namespace"]), (1, &json!("keep"), &json!("lab")), "{rows:?}");

    let changed = forwarder(&["update", "--id", name, "--display_name", "Renamed", "-o", "json"]).json();
    assert_eq!((&changed["displayName"], &changed["config"]), (&json!("Renamed"), &made["config"]));
    let changed = forwarder(&["update", "--id", id, "--upload-compression", "false", "-o", "json"]).json();
    assert_eq!(changed["config"]["uploadCompression"], false);
    assert_eq!(changed["config"]["metadata"], made["config"]["metadata"]);
    assert_eq!(forwarder(&["get", "--id", id, "-o", "json"]).json(), changed);
    let table = forwarder(&["get", "--id", id]).ok();
    assert!(table.contains("CUSTOM_LOG_TYPE") && table.contains("Renamed"), "{table}");

    let windows = forwarder(&["get-or-create", "--log_type", "WINDOWS_EVENT_LOG", "-o", "json"]).json();
    assert_eq!(forwarder(&["get-or-create", "--log-type", "WINDOWS_EVENT_LOG", "-o", "json"]).json(), windows);
    let own = forwarder(&["get-or-create", "--log-type", "CUSTOM_LOG_TYPE", "-o", "json"]).json();
    assert_eq!(own["name"], name);
    let sdk = forwarder(&["get-or-create", "-o", "json"]).json();
    assert_eq!(sdk["displayName"], "Wrapper-SDK-Forwarder");
    let named = ["get-or-create", "--display-name", "Wrapper-SDK-Forwarder", "--log-type", "OKTA", "-o", "json"];
    for _ in 0..2 {
        let found = forwarder(&named).json();
        assert_eq!((&found["name"], found["collectors"].as_array().unwrap().len()), (&sdk["name"], 1));
    }
    let table = forwarder(&["list"]).ok();
    for text in ["LOG TYPES", "CUSTOM_LOG_TYPE", "WINDOWS_EVENT_LOG", "Renamed"] {
        assert!(table.contains(text), "{table}");
    }
    assert_eq!(forwarder(&["list", "-o", "json"]).json().as_array().unwrap().len(), 3);
    assert_eq!(forwarder(&["list", "-o", "ndjson", "--page-size", "2"]).ok().lines().count(), 2);

    forwarder(&["update", "--id", id]).fails(2, &["nothing is to be changed"]);
    forwarder(&["update", "--id", id, "--display-name", "x", "--update-mask", "nonsense"]).fails(1, &["nonsense"]);
    forwarder(&["create", "--display-name", "x", "--metadata", "{"]).fails(2, &["--metadata", "not JSON"]);
    forwarder(&["create", "--display-name", "x", "--metadata", r#"{"asset_namespac": "y"}"#]).fails(1, &["asset"]);
    let done = forwarder(&["create", "--display-name", "half", "--log-type", "bad type"]);
    assert!(done.status == 1 && done.err.contains("its collector was not made"), "{}", done.err);
    for given in ["../feeds", "projects/p/locations/us/instances/x/forwarders/f", ""] {
        forwarder(&["get", "--id", given]).fails(2, &["is not the id of a forwarder"]);
    }
    assert!(forwarder(&["delete", "--id", id]).ok().contains("deleted"));
    forwarder(&["get", "--id", id]).fails(1, &[id]);
    forwarder(&["delete", "--id", id]).fails(1, &[id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_from_their_making_to_a_push() {
    let desk = Desk::new().await;
    let feed = |args: &[&str]| desk.run(&[&["feed"], args].concat());
    assert!(feed(&["list"]).ok().contains("There is no feed."));
    let details = r#"{"feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "GITHUB",
        "httpsPushWebhookSettings": {"splitDelimiter": "\n"}}"#;
    let made = feed(&["create", "--display-name", "GitHub audit", "--details", details, "-o", "json"]).json();
    let id = made["name"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!((&made["displayName"], &made["state"]), (&json!("GitHub audit"), &json!("ACTIVE")));
    let table = feed(&["list"]).ok();
    assert!(table.contains(id) && table.contains("GITHUB") && table.contains("HTTPS_PUSH_WEBHOOK"), "{table}");
    assert_eq!(feed(&["list", "--as-list", "-o", "json"]).json().as_array().unwrap().len(), 1);

    // What it says of pushing is how it is done.
    let told = feed(&["generate-secret", "--id", id]).ok();
    let secret = told.split_whitespace().nth(1).unwrap();
    let url = told.split_whitespace().find(|word| word.ends_with(":importPushLogs")).unwrap();
    let key = desk.run(&["key", "create", "-o", "json"]).json()["api_key"].as_str().unwrap().to_owned();
    let push = || {
        let request = desk.server.http.post(url).header("x-goog-api-key", &key);
        request.header("x-webhook-access-key", secret).body("one\ntwo").send()
    };
    assert_eq!(push().await.unwrap().status(), 200);
    assert_eq!(desk.logs("GITHUB").await, bytes([b"one", b"two"]));

    assert!(feed(&["disable", "--id", id]).ok().contains("takes no more data"));
    assert_eq!(feed(&["get", "--id", id, "-o", "json"]).json()["state"], "INACTIVE");
    assert!(!push().await.unwrap().status().is_success());
    assert!(feed(&["enable", "--id", id]).ok().contains("takes data"));
    let renamed = feed(&["update", "--id", id, "--display-name", "Renamed", "-o", "json"]).json();
    assert_eq!((&renamed["displayName"], &renamed["details"]), (&json!("Renamed"), &made["details"]));
    let other = details.replace("GITHUB", "GITLAB");
    let changed = feed(&["update", "--id", id, "--details", &other, "-o", "json"]).json();
    assert!(changed["details"]["logType"].as_str().unwrap().ends_with("/GITLAB"), "{changed}");

    feed(&["update", "--id", id]).fails(2, &["nothing is to be changed"]);
    feed(&["create", "--display-name", "x", "--details", "nonsense"]).fails(2, &["--details", "not JSON"]);
    let fetching = r#"{"feedSourceType": "AMAZON_S3", "logType": "OKTA"}"#;
    feed(&["create", "--display-name", "x", "--details", fetching]).fails(1, &["feedSourceType", "HTTPS_PUSH_WEBHOOK"]);
    assert!(feed(&["delete", "--id", id]).ok().contains("deleted"));
    feed(&["generate-secret", "--id", id]).fails(1, &[id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_sent_as_it_comes() {
    let desk = Desk::new().await;
    let mut command = desk.command(&["log", "ingest", "--type", "OKTA", "-", "-o", "ndjson"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        write!(stdin, "line {number}\nbegun").unwrap();
        // The line is there although the program that writes has not ended, nor the next line.
        let told: Value = serde_json::from_str(&told.next().unwrap().unwrap()).unwrap();
        assert_eq!(told["records"], 1, "{told}");
        assert_eq!(desk.logs("OKTA").await.len(), number + 1);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(desk.logs("OKTA").await, bytes([b"line 0", b"begunline 1", b"begunline 2", b"begun"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_keeps_what_cannot_be_sent_and_sends_it_later() {
    let mut desk = Desk::new().await;
    desk.write("a.log", "one\ntwo\n");
    desk.write("b.log", "three\n");
    let customer = desk.server.instance.to_string();
    let spooling = ["log", "ingest", "--spool", "spool", "--customer-id", &customer];
    let into = |file: &'static str| [&spooling[..], &["--type", "OKTA", file]].concat();
    let (url, token) = (desk.server.server.url.clone(), desk.server.operator.clone());
    let away = |args: &[&str], home: &Home| {
        let mut command = home.command(args);
        command.env("PENSTOCK_SERVER", &url).env("PENSTOCK_TOKEN", &token);
        finish(command, b"")
    };
    let Desk { server, home } = desk;
    let (config, dir) = (server.config.clone(), server.stop().await);
    for (file, waiting) in [("a.log", "2 records wait in spool"), ("b.log", "3 records wait in spool")] {
        let done = away(&into(file), &home);
        assert_eq!(done.status, 3, "{}{}", done.out, done.err);
        assert!(done.out.contains(", sent 0 records") && done.out.contains(waiting), "{}", done.out);
        assert!(done.err.contains("no server answers"), "{}", done.err);
    }
    let server = TestServer::start_in(dir, config).await;
    desk = Desk { server, home };
    // Nothing to read: what waits is sent.
    let done = desk.run(&[&spooling[..], &["-o", "json"]].concat()).json();
    assert_eq!((&done["records"], &done["spool"]["waiting"]), (&json!(3), &json!(0)), "{done}");
    assert_eq!(desk.logs("OKTA").await, bytes([b"one", b"two", b"three"]));
    let said = desk.run(&into("a.log")).ok();
    assert!(said.starts_with("Kept 2 records (6 B), sent 2 records in 1 batch"), "{said}");
    assert_eq!(desk.logs("OKTA").await.len(), 5);
    desk.run(&[&spooling[..], &["a.log"]].concat()).fails(2, &["--type is missing"]);

    // A type that is not known is told before anything is kept, where there is somebody to ask.
    let unknown = [&spooling[..], &["--type", "MY_OWN_TYPE", "b.log"]].concat();
    desk.run(&unknown).fails(1, &["MY_OWN_TYPE", "--force"]);
    assert_eq!(desk.run(&[&spooling[..], &["-o", "json"]].concat()).json()["spool"]["refused_requests"], 0);

    // Else it is refused later, and stays with the reason until it is tried once more. Whose the spool is, it knows.
    let Desk { server, home } = desk;
    let (config, dir) = (server.config.clone(), server.stop().await);
    let unknown: Vec<&str> = unknown.into_iter().filter(|arg| *arg != "--customer-id" && *arg != customer).collect();
    let done = away(&unknown, &home);
    assert_eq!(done.status, 3, "{}{}", done.out, done.err);
    assert!(done.out.contains("1 record waits in spool") && done.out.contains("sends it."), "{}", done.out);
    let server = TestServer::start_in(dir, config).await;
    desk = Desk { server, home };
    let retry = ["log", "ingest", "--spool", "spool", "--retry-refused"];
    for args in [&spooling[..], &retry] {
        let done = desk.run(args);
        assert_eq!(done.status, 1, "{args:?}: {}{}", done.out, done.err);
        assert!(done.err.contains("spool/refused/") && done.err.contains("MY_OWN_TYPE"), "{}", done.err);
        assert!(done.err.contains("1 record was refused and is kept there"), "{}", done.err);
        assert!(!done.err.contains("; log_type: unknown"), "once is enough: {}", done.err);
        assert!(done.out.contains("sent 0 records") && done.out.contains("1 refused request is in"), "{}", done.out);
    }
    desk.run(&["log-type", "add", "MY_OWN_TYPE"]).ok();
    let said = desk.run(&retry).ok();
    assert!(said.contains("sent 1 record in 1 batch") && !said.contains("refused"), "{said}");
    assert_eq!(desk.logs("MY_OWN_TYPE").await, bytes([b"three"]));
    desk.run(&["log", "ingest", "--spool", "spol"]).fails(1, &["there is no spool in spol"]);
    assert!(!desk.home.path("spol").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_says_plainly_what_it_needs_while_no_server_answers() {
    let desk = Desk::new().await;
    desk.write("a.log", "one\n");
    desk.run(&["account", "create", "--role", "ingest", "--out", "sa.json"]).ok();
    let customer = desk.server.instance.to_string();
    let needs = ["Nothing was kept", "--service-account", "--customer-id together with --token or --data DIR"];
    let (url, token) = (desk.server.server.url.clone(), desk.server.operator.clone());
    let Desk { server, home } = desk;
    let _data = server.stop().await;
    for (number, (args, is_kept)) in [
        (&[][..], false),
        (&["--token", &token], false),
        (&["--customer-id", &customer], false),
        (&["--customer-id", &customer, "--token", &token], true),
        (&["--service-account", "sa.json"], true),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = format!("spool{number}");
        let common = ["log", "ingest", "--server", &url, "--type", "OKTA", "--spool", &dir, "a.log"];
        let done = home.run(&[&common[..], args].concat());
        assert_eq!(done.status, 3, "{args:?}: {}{}", done.out, done.err);
        assert_eq!(needs.iter().all(|text| done.err.contains(text)), !is_kept, "{args:?}: {}", done.err);
        assert_eq!(done.out.contains("1 record waits"), is_kept, "{args:?}: {}", done.out);
        assert_eq!(home.path(&dir).exists(), is_kept, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_kept_out_is_told() {
    let receiver = ThirdParty::start().await;
    receiver.rule(|_| Answer::ok().header("x-penstock-filtered", "2"));
    let home = Home::new();
    std::fs::write(home.path("a.log"), "a\nb\nc\n").unwrap();
    let (url, customer) = (receiver.url(""), "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c");
    let args =
        ["log", "ingest", "--type", "OKTA", "a.log", "--server", &url, "--token", "t", "--customer-id", customer];
    for spool in [&[][..], &["--spool", "spool"]] {
        let said = home.run(&[&args[..], spool].concat()).ok();
        assert!(said.contains(", 2 kept out by the forwarder's filters."), "{said}");
        let done = home.run(&[&args[..], spool, &["-o", "json"]].concat()).json();
        assert_eq!((&done["records"], &done["filtered"]), (&json!(3), &json!(2)), "{done}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarder_that_is_not_there_is_warned_of() {
    let desk = Desk::new().await;
    let made = desk.run(&["forwarder", "create", "--display-name", "Lab", "-o", "json"]).json();
    let known = made["name"].as_str().unwrap().rsplit('/').next().unwrap();
    let unknown = "0b7c1d2e-0000-4000-8000-000000000002";
    for (id, is_warned) in [(known, false), (unknown, true)] {
        for spool in [&[][..], &["--spool", "spool"]] {
            let args = ["log", "ingest", "--type", "OKTA", "--message", "x", "--forwarder-id", id];
            let done = desk.run(&[&args[..], spool].concat());
            assert_eq!(done.status, 0, "{}{}", done.out, done.err);
            assert_eq!(done.err.contains(&format!("there is no forwarder {id:?}")), is_warned, "{}", done.err);
        }
    }
    desk.write("a.log", "a\n");
    let args = ["log", "ingest", "--type", "OKTA", "--follow", "a.log", "--forwarder-id", unknown];
    let mut child = Killed(desk.command(&args).stderr(Stdio::piped()).spawn().unwrap());
    let told = BufReader::new(child.0.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(told.contains("there is no forwarder"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_pipe_is_opened_once() {
    let desk = Desk::new().await;
    let pipe = desk.home.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Ends when it has a reader; were that one to leave at once, what it wrote would be gone.
    let writing = std::thread::spawn(move || std::fs::write(pipe, "a\nb\n").unwrap());
    let said = desk.run(&["log", "ingest", "--type", "OKTA", "pipe"]).ok();
    writing.join().unwrap();
    assert!(said.starts_with("Sent 2 records"), "{said}");
    assert_eq!(desk.logs("OKTA").await, bytes([b"a", b"b"]));
}

/// A child that is killed when the test is over.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_killed_loses_nothing_of_what_the_spool_had() {
    let desk = Desk::new().await;
    let customer = desk.server.instance.to_string();
    let args = ["log", "ingest", "--spool", "spool", "--type", "OKTA", "--customer-id", &customer, "-"];
    let mut written = 0;
    for round in 0..6 {
        let mut child = Killed(desk.command(&args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let mut stdin = child.0.stdin.take().unwrap();
        let lines: String = (written..written + 500).map(|number| format!("line {number:05}\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
        written += 500;
        // Killed while it sends, at another moment each time: as soon as the spool or the server has so much of it.
        until("some of it is there", async || {
            let in_spool = std::fs::read_dir(desk.home.path("spool/waiting")).is_ok_and(|found| found.count() > 0);
            let sent = desk.server.search("raw", "").await.len();
            (round % 2 == 0 && in_spool) || sent == written
        })
        .await;
        drop(child);
        // Whatever was not in the spool yet is the writer's to send again, as with any pipe.
        let _ = desk.run(&["log", "ingest", "--spool", "spool", "--customer-id", &customer]);
        let there = desk.logs("OKTA").await;
        let whole: std::collections::BTreeSet<_> = there.iter().collect();
        assert_eq!(whole.len(), there.len(), "round {round}: nothing is there twice");
        written = there.len();
        let expected: Vec<Vec<u8>> = (0..written).map(|number| format!("line {number:05}").into_bytes()).collect();
        assert!(there == expected, "round {round}: what is there is the beginning of what was written, without a gap");
    }
}

/// Stands where a proxy would: notes who wants to go where, and lets nobody through.
fn dead_end() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let noted = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let line = String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
            noted.lock().unwrap().push(line);
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (url, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_google_unless_it_is_asked_for_by_name() {
    let desk = Desk::new().await;
    let (proxy, seen) = dead_end();
    desk.write("a.log", "a\n");
    let googles = json!({
        "type": "service_account", "client_email": "a@b.iam.gserviceaccount.com", "private_key": "x",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    desk.write("google.json", googles.to_string());
    desk.run(&["account", "create", "--role", "ingest", "--out", "ours.json"]).ok();
    let customer = desk.server.instance.to_string();
    let whose = ["--customer-id", &customer, "--project-id", "proj", "--region", "eu"];
    let metadata = ThirdParty::start().await;
    metadata.rule(|_| {
        let token = json!({"access_token": "google's", "expires_in": 3599, "token_type": "Bearer"});
        Answer::ok().header("metadata-flavor", "Google").body(token.to_string())
    });
    let host = metadata.url("").strip_prefix("http://").unwrap().to_owned();
    let run = |args: &[&str]| {
        let mut command = desk.command(args);
        command.env("HTTPS_PROXY", &proxy).env("GCE_METADATA_HOST", &host);
        finish(command, b"")
    };
    let ingest = [&["log", "ingest", "--type", "OKTA", "a.log"][..], &whose].concat();

    // With all that Google needs, but not asked for: our own server.
    run(&ingest).ok();
    assert_eq!(desk.logs("OKTA").await.len(), 1);
    // A key of Google's is for Google only, ours for us only.
    run(&[&ingest[..], &["--service-account", "google.json"]].concat()).fails(2, &["key of Google's", "--google"]);
    let asked = |args: &[&str], server: bool| {
        let mut command = desk.home.command(&[args, &["--google"]].concat());
        command.env("HTTPS_PROXY", &proxy).env("GCE_METADATA_HOST", &host).env("PENSTOCK_TOKEN", "ours-and-secret");
        if server {
            command.env("PENSTOCK_SERVER", &desk.server.server.url);
        }
        finish(command, b"")
    };
    asked(&[&ingest[..], &["--service-account", "ours.json"]].concat(), false).fails(2, &["no key of Google's"]);
    // One or the other.
    asked(&ingest, true).fails(2, &["--google", "PENSTOCK_SERVER"]);
    asked(&["log", "ingest", "--type", "OKTA", "a.log", "--customer-id", &customer], false)
        .fails(2, &["--project-id", "--region"]);
    assert_eq!(*seen.lock().unwrap(), Vec::<String>::new(), "so far nobody left this machine");
    assert_eq!(metadata.received().len(), 0);

    // Asked for by name: Google's host of the region, with Google's credential.
    let done = asked(&[&["forwarder", "list"][..], &whose].concat(), false);
    done.fails(3, &["Google (eu-chronicle.googleapis.com)"]);
    assert_eq!(*seen.lock().unwrap(), ["CONNECT eu-chronicle.googleapis.com:443 HTTP/1.1"]);
    assert_eq!(desk.logs("OKTA").await.len(), 1);
}

#[test]
fn help_and_completion_cover_it() {
    let home = Home::new();
    let completion = home.run(&["completion", "bash"]).ok();
    for verb in
        ["ingest-udm", "classify", "get-or-create", "generate-secret", "--spool", "--follow", "--service-account"]
    {
        assert!(completion.contains(verb), "{verb}");
    }
    for command in [
        &["log", "ingest"][..],
        &["log", "ingest-udm"],
        &["log", "types"],
        &["log", "classify"],
        &["entity", "import"],
        &["forwarder", "create"],
        &["forwarder", "get-or-create"],
        &["feed", "create"],
    ] {
        let help = home.run(&[command, &["--help"]].concat()).ok();
        for text in
            ["Example", "--service-account", "--customer-id", "--project-id", "--region", "--google", "--output"]
        {
            assert!(help.contains(text), "{command:?} does not explain {text}: {help}");
        }
    }
}
