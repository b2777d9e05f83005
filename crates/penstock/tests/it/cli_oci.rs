//! `oci-user`, `oci`, `demo oci` and `function` as hands and scripts meet them: the built binary against a whole server.
//! Functions that run are the real clients' (`tests/clients`); here they are switched off.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use http::Method;
use serde_json::{Value, json};

use crate::cli_log::Desk;
use crate::server::send;

/// A flow log in a group of the root compartment.
async fn flow_log(desk: &Desk, name: &str) -> String {
    let tenancy = tenancy(desk);
    let server = &desk.server;
    let group = match desk.run(&["oci", "log-group", "list", "-o", "json"]).json().as_array().unwrap().first() {
        Some(group) => group["id"].as_str().unwrap().to_owned(),
        None => {
            let body = json!({ "compartmentId": tenancy, "displayName": "Default_Group" });
            let reply = send(server.request(Method::POST, "/20200531/logGroups").json(&body)).await;
            assert_eq!(reply.status, 202, "{}", reply.text());
            desk.run(&["oci", "log-group", "list", "-o", "json"]).json()[0]["id"].as_str().unwrap().to_owned()
        }
    };
    let source = json!({ "sourceType": "OCISERVICE", "service": "flowlogs", "resource": "subnet", "category": "all" });
    let body = json!({
        "displayName": name, "logType": "SERVICE",
        "configuration": { "compartmentId": tenancy, "source": source },
    });
    let path = format!("/20200531/logGroups/{group}/logs");
    let reply = send(server.request(Method::POST, &path).json(&body)).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let logs = desk.run(&["oci", "log", "list", "-o", "json"]).json();
    let log = logs.as_array().unwrap().iter().find(|log| log["displayName"] == name).unwrap();
    log["id"].as_str().unwrap().to_owned()
}

fn tenancy(desk: &Desk) -> String {
    let all = desk.run(&["oci", "compartment", "list", "-o", "json"]).json();
    all[0]["id"].as_str().unwrap().to_owned()
}

/// All envelopes of a log type, oldest first.
async fn envelopes(desk: &Desk, log_type: &str) -> Vec<Value> {
    let logs = desk.logs(log_type).await;
    let mut found: Vec<Value> = logs.iter().map(|log| serde_json::from_slice(log).unwrap()).collect();
    found.sort_by_key(|envelope| envelope["time"].as_str().unwrap().parse::<event::Time>().unwrap());
    found
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_life() {
    let desk = Desk::new().await;
    let said = desk.run(&["oci-user", "create", "--out", "lab"]).ok();
    let read = |file: &str| std::fs::read_to_string(desk.home.path(file)).unwrap();
    let config = read("lab/config");
    let value = |key: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("no {key} in {config}")).to_owned()
    };
    assert!(config.starts_with("[DEFAULT]\n") && value("region") == "us-ashburn-1", "{config}");
    assert_eq!(value("key_file"), desk.home.path("lab/key.pem").to_str().unwrap());
    let key = read("lab/key.pem");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("\nOCI_API_KEY\n"), "not a key file");
    let url = &desk.server.server.url;
    assert!(read("lab/oci_cli_rc").contains(&format!("endpoint={url}\ncompartment-id={}\n", value("tenancy"))));
    assert!(read("lab/env.sh").contains(&format!("OCI_CLI_ENDPOINT={url}\n")) && said.contains("lab/env.sh"), "{said}");
    for file in ["config", "key.pem", "oci_cli_rc", "env.sh"] {
        assert_eq!(mode(&desk.home.path(&format!("lab/{file}"))), 0o600, "{file}");
    }

    // Never over another file, and no user is made for nothing.
    desk.run(&["oci-user", "create", "--out", "lab"]).fails(1, &["lab/config exists"]);
    let listed = || desk.run(&["oci-user", "list", "-o", "json"]).json();
    let all = listed();
    let [user] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
    assert_eq!((&user["user"], &user["name"], &user["role"]), (&json!(value("user")), &json!("lab"), &json!("admin")));
    assert_eq!(user["fingerprint"], value("fingerprint"));
    assert!(!listed().to_string().contains("PRIVATE"));

    // A profile beside what ~/.oci has.
    std::fs::create_dir(desk.home.path(".oci")).unwrap();
    desk.write(".oci/config", "[DEFAULT]\nuser=theirs\n");
    let more = ["oci-user", "create", "--out", "more", "--role", "read", "--install", "--profile", "PS"];
    let made = desk.run(&[&more[..], &["-o", "json"]].concat()).json();
    assert_eq!((&made["role"], &made["private_key_pem"]), (&json!("read"), &Value::Null));
    let installed = read(".oci/config");
    assert!(installed.starts_with("[DEFAULT]\nuser=theirs\n\n[PS]\nuser=ocid1.user."), "{installed}");
    assert!(read(".oci/oci_cli_rc").starts_with(&format!("[PS]\nendpoint={url}\n")));
    let again = ["oci-user", "create", "--out", "again", "--install", "--profile", "PS"];
    desk.run(&again).fails(1, &["has a profile PS already", "--profile NAME"]);
    assert!(!desk.home.path("again").exists());
    assert_eq!((read(".oci/config"), listed().as_array().unwrap().len()), (installed, 2));
    desk.run(&["oci-user", "create", "--out", "x", "--install", "--profile", "a]b"]).fails(2, &["profile"]);

    let user = made["user"].as_str().unwrap();
    assert!(desk.run(&["oci-user", "disable", user]).ok().contains(user));
    assert!(listed().as_array().unwrap().iter().any(|one| one["user"] == user && one["disabled"] == true));
    desk.run(&["oci-user", "enable", user]).ok();
    desk.run(&["oci-user", "delete", user]).ok();
    desk.run(&["oci-user", "delete", user]).fails(1, &[user]);
    assert_eq!(listed().as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_sent_again_as_they_were() {
    let desk = Desk::new().await;
    let log = flow_log(&desk, "flows").await;
    let record = |number: usize, time: &str| {
        json!({
            "id": format!("r{number}"), "source": "-", "specversion": "1.0", "time": time,
            "type": "com.oraclecloud.vcn.flowlogs.DataEvent", "data": {"action": "ACCEPT", "startTime": 1_696_384_980},
            "oracle": {"logid": "elsewhere", "vnicocid": "ocid1.vnic.oc1.r.v"}, "extra": [1, null, "\u{d55c}"],
        })
    };
    let two = json!([record(0, "2023-10-04T02:03:00Z"), record(1, "2023-10-04T02:03:00.123Z")]);
    desk.write("two.json", serde_json::to_vec_pretty(&two).unwrap());
    let summary = desk.run(&["oci", "replay", "two.json", "--log", "flows", "-o", "json"]).json();
    assert_eq!((&summary["records"], &summary["batches_total"]), (&json!(2), &json!(1)), "{summary}");
    let batch = summary["batches"][0].as_str().unwrap();
    assert_eq!(desk.run(&["receipt", batch, "-o", "json"]).json()["records_total"], 2);
    let found = envelopes(&desk, "OCI_FLOW").await;
    for (found, sent) in found.iter().zip(two.as_array().unwrap()) {
        for field in ["id", "source", "time", "type", "data", "extra"] {
            assert_eq!(found[field], sent[field], "{field}");
        }
        assert_eq!(
            (&found["oracle"]["logid"], &found["oracle"]["vnicocid"]),
            (&json!(log), &json!("ocid1.vnic.oc1.r.v"))
        );
    }

    // One after the other, from standard input, compressed; by the log's OCID; slowly.
    let lines: String = (2..5).map(|number| record(number, "2023-10-05T00:00:00Z").to_string() + "\n").collect();
    let said = desk.run_with(&["oci", "replay", "-", "--log", &log], lines.as_bytes()).ok();
    assert!(said.starts_with("Replayed 3 records ("), "{said}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(record(5, "2023-10-05T00:00:00Z").to_string().as_bytes()).unwrap();
    desk.write("one.json.gz", gzip.finish().unwrap());
    desk.run(&["oci", "replay", "one.json.gz", "--log", "flows", "--rate", "50"]).ok();
    assert_eq!(envelopes(&desk, "OCI_FLOW").await.len(), 6);

    // As if it were now.
    let began = penstock::serve::now();
    let said = desk.run(&["oci", "replay", "two.json", "--log", "flows", "--now"]).ok();
    assert!(said.contains("their times moved by"), "{said}");
    let found = envelopes(&desk, "OCI_FLOW").await;
    let time = |envelope: &Value| envelope["time"].as_str().unwrap().parse::<event::Time>().unwrap();
    let [.., first, last] = found.as_slice() else { panic!("{found:?}") };
    assert!(time(last).millis() >= began.millis() && time(last) <= penstock::serve::now());
    assert_eq!(time(last).millis() - time(first).millis(), 123);
    desk.run(&["oci", "replay", "-", "--log", "flows", "--now"]).fails(2, &["--now", "takes a file"]);

    // Audit events, of the root and of another compartment.
    desk.run(&["oci", "compartment", "create", "lab"]).ok();
    let event = json!({
        "id": "a", "source": "vm", "specversion": "1.0", "time": "2023-10-04T02:03:00Z", "data": {"eventName": "X"},
        "type": "com.oraclecloud.ComputeApi.X",
    });
    desk.write("audit.json", event.to_string());
    desk.run(&["oci", "replay", "audit.json", "--log", "_Audit"]).ok();
    desk.run(&["oci", "replay", "audit.json", "--log", "_Audit", "--compartment", "lab"]).ok();
    let all = desk.run(&["oci", "compartment", "list", "-o", "json"]).json();
    let mut wanted = vec![all[0]["id"].clone(), all[1]["id"].clone()];
    assert_eq!((&all[1]["name"], &all[1]["compartmentId"]), (&json!("lab"), &wanted[0]));
    let mut found: Vec<Value> =
        envelopes(&desk, "OCI_AUDIT").await.iter().map(|event| event["oracle"]["compartmentid"].clone()).collect();
    found.sort_by_key(Value::to_string);
    wanted.sort_by_key(Value::to_string);
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_is_named_and_nothing_behind_it_is_sent() {
    let desk = Desk::new().await;
    flow_log(&desk, "flows").await;
    let good = |number: usize| json!({"id": number.to_string(), "source": "-", "specversion": "1.0", "type": "com.example.app", "data": {}});
    // More than one piece, and the bad one in the second.
    let mut lines: Vec<String> = (0..2_500).map(|number| good(number).to_string()).collect();
    lines[1_700] = json!({"id": "1700", "source": 5, "type": "com.example.app", "data": {}}).to_string();
    desk.write("bad.ndjson", lines.join("\n"));
    let done = desk.run(&["oci", "replay", "bad.ndjson", "--log", "flows", "-o", "json"]);
    assert_eq!(done.status, 1, "{}", done.err);
    for text in ["bad.ndjson:1701: is refused", "source", "The 1,700 records before it were sent", "Nothing behind"] {
        assert!(done.err.contains(text), "{:?} does not say {text:?}", done.err);
    }
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap()["records"], 1_700);
    let mut ids: Vec<usize> = envelopes_by_id(&desk).await;
    ids.sort_unstable();
    assert_eq!(ids, (0..1_700).collect::<Vec<_>>());

    // A file that is not JSON to its end is not sent at all.
    desk.write("broken.json", format!("[{}, {}, {{", good(9_001), good(9_002)));
    let done = desk.run(&["oci", "replay", "broken.json", "--log", "flows"]);
    assert!(
        done.status == 1 && done.err.contains("broken.json:1") && done.err.contains("Nothing was sent"),
        "{}",
        done.err
    );
    desk.run(&["oci", "replay", "none.json", "--log", "flows"]).fails(1, &["none.json"]);
    desk.run(&["oci", "replay", "bad.ndjson", "--log", "other"]).fails(1, &["no log \"other\"", "flows"]);
    assert_eq!(envelopes_by_id(&desk).await.len(), 1_700);
}

async fn envelopes_by_id(desk: &Desk) -> Vec<usize> {
    let logs = desk.logs("OCI_LOGGING").await;
    let id = |log: &Vec<u8>| -> Value { serde_json::from_slice::<Value>(log).unwrap()["id"].clone() };
    logs.iter().map(|log| id(log).as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn things_happen_in_a_tenancy() {
    let desk = Desk::new().await;
    desk.run(&["demo", "oci", "ssh", "--from", "132.145.1.2"]).fails(1, &["no flow log", "oci logging log create"]);
    let log = flow_log(&desk, "flows").await;

    let said = desk.run(&["demo", "oci", "reboot", "--name", "compute-for-log-test"]).ok();
    for text in
        ["Sent 2 records to _Audit", "InstanceAction.begin", "InstanceAction.end", "search raw 'compute-for-log-test'"]
    {
        assert!(said.contains(text), "{said} does not say {text}");
    }
    let said = desk.run(&["demo", "oci", "ssh", "--from", "132.145.1.2", "--to", "10.0.2.121"]).ok();
    assert!(said.contains("Sent 2 records to flows") && said.contains("ACCEPT TCP 132.145.1.2:"), "{said}");
    // As it says, they are found.
    let find = said.lines().last().unwrap();
    assert!(find.contains("search raw '132.145.1.2'") && find.contains(&desk.server.server.url), "{find}");
    desk.server.settled().await;
    assert!(desk.run(&["search", "raw", "132.145.1.2"]).ok().contains("2 rows."));
    let audit = envelopes(&desk, "OCI_AUDIT").await;
    assert_eq!(audit[0]["data"]["eventGroupingId"], audit[1]["data"]["eventGroupingId"]);
    assert_eq!(audit[0]["oracle"]["loggroupid"], "_Audit");

    // A day, made twice: the same but for its times.
    let traffic = ["demo", "oci", "traffic", "--seed", "7", "--count", "300"];
    let made = desk.run(&[&traffic[..], &["-o", "json"]].concat()).json();
    let counts: Vec<u64> =
        made["sent"].as_array().unwrap().iter().map(|log| log["records"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 300, "{made}");
    assert!(counts.iter().all(|count| *count > 0), "{made}");
    assert!(desk.run(&traffic).ok().contains("Seed 7"));
    let flows = envelopes(&desk, "OCI_FLOW").await;
    assert_eq!(flows.len() as u64, 2 + 2 * counts[0]);
    assert!(flows.iter().all(|flow| flow["oracle"]["logid"] == log.as_str()));

    // Of several logs one must be named.
    flow_log(&desk, "others").await;
    desk.run(&["demo", "oci", "traffic", "--count", "5"]).fails(2, &["--log", "flows", "others"]);
    desk.run(&["demo", "oci", "traffic", "--count", "5", "--rate", "100", "--log", "others"]).ok();
    desk.run(&["demo", "oci", "ssh", "--from", "nobody"]).fails(2, &["nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_instances_one_is_named() {
    let desk = Desk::new().await;
    let other = desk.run(&["instance", "create", "--name", "other", "-o", "json"]).json();
    let other = other["id"].as_str().unwrap();
    desk.run(&["oci", "compartment", "list"]).fails(2, &["2 instances", "--instance", other]);
    let made = ["oci", "compartment", "create", "theirs", "--instance", other, "-o", "json"];
    let made = desk.run(&made).json();
    assert!(made["compartmentId"].as_str().unwrap().ends_with(&other.replace('-', "")), "{made}");
    let names = |instance: &str| -> Vec<Value> {
        let all = desk.run(&["oci", "compartment", "list", "--instance", instance, "-o", "json"]).json();
        all.as_array().unwrap().iter().map(|one| one["name"].clone()).collect()
    };
    assert_eq!(names(other), ["(root)", "theirs"]);
    assert_eq!(names(&desk.server.instance.to_string()), ["(root)"]);
    desk.run(&["oci", "log", "list", "--instance", "nonsense"]).fails(2, &["nonsense"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_before_they_run() {
    let desk = Desk::new().await;
    assert!(desk.run(&["function", "init", "--runtime", "python", "hello"]).ok().contains("function deploy hello"));
    desk.run(&["function", "init", "hello"]).fails(1, &["hello/func.py exists"]);
    desk.run(&["function", "init", "--runtime", "java", "other"]).fails(2, &["java", "python"]);
    let yaml = std::fs::read_to_string(desk.home.path("hello/func.yaml")).unwrap();
    assert!(yaml.contains("name: hello\n"), "{yaml}");

    // What keeps a function from being deployed is said before anything is made.
    desk.run(&["function", "deploy", "nowhere", "--app", "lab"]).fails(1, &["nowhere/func.yaml", "function init"]);
    let deploy = |folder: &str, more: &[&str]| {
        desk.run(&[&["function", "deploy", folder, "--app", "lab", "-o", "json"][..], more].concat())
    };
    deploy("hello", &[]).fails(1, &["no application \"lab\"", "--create-app"]);
    desk.write("java/func.yaml", "name: x\nruntime: java\n");
    deploy("java", &[]).fails(1, &["java/func.yaml", "java"]);
    desk.write("lost/func.yaml", "name: x\nruntime: python\nentrypoint: /python/bin/fdk /function/main.py run\n");
    deploy("lost", &[]).fails(1, &["lost/main.py", "is not there"]);
    deploy("hello", &["--create-app"]).fails(1, &["[functions]"]);

    // One whose code is elsewhere can be looked at and changed all the same.
    let app =
        desk.server.api(Method::GET, &format!("/20260325/applications?compartmentId={}", tenancy(&desk)), None).await;
    let app = app[0]["id"].as_str().unwrap();
    let body = json!({
        "displayName": "fn", "applicationId": app, "memoryInMBs": 256, "config": {"A": "1", "B": "2"},
        "sourceDetails": { "sourceType": "CONTAINER_IMAGE", "image": "iad.ocir.io/ns/repo/fn:0.0.1" },
    });
    desk.server.api(Method::POST, "/20260325/functions", Some(body)).await;
    let listed = desk.run(&["function", "list"]).ok();
    assert!(listed.contains("fn") && listed.contains("lab"), "{listed}");
    let shown = desk.run(&["function", "show", "fn", "-o", "json"]).json();
    assert_eq!((&shown["applicationName"], &shown["memoryInMBs"]), (&json!("lab"), &json!(256)));
    let config = |more: &[&str]| desk.run(&[&["function", "config", "fn", "-o", "json"][..], more].concat());
    assert_eq!(config(&[]).json()["config"], json!({"A": "1", "B": "2"}));
    let changed = config(&["C=x=y", "A=", "--unset", "B", "--memory", "512", "--timeout", "60"]).json();
    assert_eq!(changed["config"], json!({"A": "", "C": "x=y"}));
    assert_eq!((&changed["memory"], &changed["timeout"]), (&json!(512), &json!(60)));
    let changed = config(&["--processes", "3", "--expects", "nothing"]).json();
    assert_eq!((&changed["processes"], &changed["expects"]), (&json!(3), &json!("nothing")));
    assert!(desk.run(&["function", "config", "fn"]).ok().contains("memory 512 MB, timeout 60 s, processes 3"));
    config(&["--unset", "B"]).fails(1, &["\"B\""]);
    config(&["--memory", "5"]).fails(1, &["memoryInMBs", "128"]);
    config(&["A-B=x"]).fails(2, &["A-B"]);
    desk.run(&["function", "show", "fm"]).fails(1, &["no function \"fm\"", "fn"]);
    desk.run(&["function", "invoke", "fn", "--body", "{}"]).fails(1, &["[functions] enabled"]);
    desk.run(&["function", "invoke", "fn", "--body", "@none.json"]).fails(1, &["none.json"]);
    assert!(desk.run(&["function", "logs", "fn"]).ok().contains("said nothing"));
    desk.run(&["function", "logs", "fn", "--since", "noon"]).fails(2, &["noon", "10m"]);
    let id = shown["id"].as_str().unwrap();
    assert!(desk.run(&["function", "delete", id]).ok().contains("fn is deleted"));
    assert_eq!(desk.run(&["function", "list", "-o", "json"]).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_said_is_shown_in_its_order() {
    let desk = Desk::new().await;
    let tenancy = tenancy(&desk);
    let body = json!({ "compartmentId": tenancy, "displayName": "lab", "subnetIds": ["ocid1.subnet.oc1..s"] });
    let app = desk.server.api(Method::POST, "/20260325/applications", Some(body)).await;
    let body = json!({
        "displayName": "fn", "applicationId": app["id"], "memoryInMBs": 256,
        "sourceDetails": { "sourceType": "CONTAINER_IMAGE", "image": "iad.ocir.io/ns/repo/fn:0.0.1" },
    });
    let function = desk.server.api(Method::POST, "/20260325/functions", Some(body)).await;
    let logs = desk.run(&["oci", "log", "list", "-o", "json"]).json();
    let log =
        logs.as_array().unwrap().iter().find(|log| log["configuration"]["source"]["resource"] == app["id"]).unwrap();
    let line = |number: usize, function: &Value| {
        json!({
            "id": format!("{function}-{number}"), "source": "lab", "subject": "fn", "specversion": "1.0",
            "time": event::Time::from_millis(penstock::serve::now().millis()).unwrap().to_string(),
            "type": "com.oraclecloud.functions.application.functioninvoke",
            "data": {"functionId": function, "src": "STDERR", "message": format!("line {number} of {function}")},
        })
        .to_string()
    };
    // Many of the same moment, more than a page of the search holds, and others' among them.
    let lines: Vec<String> =
        (0..1_500).flat_map(|number| [line(number, &function["id"]), line(number, &json!("x"))]).collect();
    desk.write("said.ndjson", lines.join("\n"));
    desk.run(&["oci", "replay", "said.ndjson", "--log", log["id"].as_str().unwrap()]).ok();
    desk.server.settled().await;
    let shown = desk.run(&["function", "logs", "fn", "-o", "ndjson"]).ok();
    let messages: Vec<String> = shown
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["message"].as_str().unwrap().to_owned())
        .collect();
    let wanted: Vec<String> = (0..1_500).map(|number| format!("line {number} of {}", function["id"])).collect();
    assert_eq!(messages.len(), wanted.len());
    assert_eq!(messages, wanted);

    // A follower goes on with what comes, and ends when it is asked to.
    let mut following = desk.command(&["function", "logs", "fn", "--follow", "-o", "ndjson"]);
    let mut following = following.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufRead::lines(std::io::BufReader::new(following.stdout.take().unwrap()));
    let mut next = || serde_json::from_str::<Value>(&out.next().unwrap().unwrap()).unwrap();
    for message in &wanted {
        assert_eq!(&next()["data"]["message"], message);
    }
    desk.write("more.ndjson", line(1_500, &function["id"]));
    desk.run(&["oci", "replay", "more.ndjson", "--log", log["id"].as_str().unwrap()]).ok();
    assert_eq!(next()["data"]["message"], format!("line 1500 of {}", function["id"]));
    // SAFETY: the process is our child and has not been waited for, so its number is still its own.
    assert_eq!(unsafe { libc::kill(following.id() as libc::pid_t, libc::SIGINT) }, 0);
    assert!(following.wait().unwrap().success());
}
