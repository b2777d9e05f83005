//! `penstock parser deploy`, `list`, `show`, `activate`, `deactivate` and `rollback`: the built binary against a whole server.

use http::Method;
use serde_json::{Value, json};

use crate::cli_log::Desk;

/// Reads `login <user>`; what is none fails.
fn gate(description: &str) -> String {
    format!(
        r#"filter {{
  grok {{
    match => {{ "message" => ["^login %{{WORD:who}}$"] }}
  }}
  mutate {{
    replace => {{
      "event.idm.read_only_udm.metadata.event_type" => "USER_LOGIN"
      "event.idm.read_only_udm.metadata.description" => "{description}"
      "event.idm.read_only_udm.extensions.auth.type" => "SSO"
      "event.idm.read_only_udm.target.user.userid" => "%{{who}}"
    }}
  }}
  mutate {{
    merge => {{ "@output" => "event" }}
  }}
}}
"#
    )
}

async fn desk() -> Desk {
    let desk = Desk::new().await;
    for log_type in ["OUR_GATE", "OUR_DOOR"] {
        desk.server.api(Method::POST, "/api/log-types", Some(json!({ "log_type": log_type }))).await;
    }
    desk
}

/// Deploys and gives the rows that it shows.
fn deploy(desk: &Desk, args: &[&str]) -> Vec<Value> {
    let done = desk.run(&[&["parser", "deploy", "-o", "json"], args].concat());
    done.json().as_array().unwrap().clone()
}

/// What is in use for a log type, `None` for nothing.
fn in_use(desk: &Desk, log_type: &str) -> Option<String> {
    let list = desk.run(&["parser", "list", "--log-type", log_type, "--active", "-o", "json"]).json();
    list.as_array().unwrap().first().map(|parser| parser["id"].as_str().unwrap().to_owned())
}

/// What the stream makes of a log that is sent now.
async fn description_of(desk: &Desk, user: &str) -> Value {
    desk.run_with(&["log", "ingest", "--type", "OUR_GATE", "--message", &format!("login {user}")], b"").ok();
    let rows = desk.server.search("udm", &format!("target.user.userid = \"{user}\"")).await;
    rows.first().map(|row| row["udm"]["metadata"]["description"].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_deployed_again_and_again() {
    let desk = desk().await;
    desk.write("parsers/OUR_GATE/parser.conf", gate("one"));
    desk.write("parsers/OUR_DOOR/parser.conf", gate("door"));
    desk.write("parsers/README.md", "not a parser");
    let done = deploy(&desk, &["parsers"]);
    let changes: Vec<_> =
        done.iter().map(|row| (row["log_type"].as_str().unwrap(), row["change"].as_str().unwrap())).collect();
    assert_eq!(changes, [("OUR_DOOR", "activated"), ("OUR_GATE", "activated")]);
    assert_eq!(description_of(&desk, "ann").await, "one");

    // What is as it was stays as it is.
    let again = deploy(&desk, &["parsers"]);
    assert!(again.iter().all(|row| row["change"] == "unchanged"), "{again:?}");
    desk.write("parsers/OUR_GATE/parser.conf", gate("two"));
    let changed = deploy(&desk, &["parsers"]);
    assert_eq!((&changed[0]["change"], &changed[1]["change"]), (&json!("unchanged"), &json!("activated")));
    assert_eq!(
        (&changed[1]["before"], &changed[1]["logs"], &changed[1]["failed"]),
        (&done[1]["id"], &json!(1), &json!(0))
    );
    assert_eq!(description_of(&desk, "ben").await, "two");

    // The table for people says the same.
    let table = desk.run(&["parser", "deploy", "parsers/OUR_GATE"]).ok();
    assert!(table.contains("CHANGE") && table.contains("unchanged"), "{table}");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_before_anything_changes() {
    let desk = desk().await;
    desk.write("parsers/OUR_DOOR/parser.conf", gate("door"));
    desk.write("parsers/OUR_GATE/parser.conf", "filter {\n  mutat { }\n}\n");
    desk.run(&["parser", "deploy", "parsers"]).fails(1, &["OUR_GATE/parser.conf:2:3", "1 error: nothing was deployed"]);
    assert_eq!(in_use(&desk, "OUR_DOOR"), None);
    desk.write("loose.conf", gate("x"));
    desk.run(&["parser", "deploy", "loose.conf"]).fails(2, &["give --log-type"]);
    desk.run(&["parser", "deploy", "--log-type", "NO_SUCH_TYPE_AT_ALL", "loose.conf"]).fails(1, &["unknown log type"]);
    desk.run(&["parser", "deploy", "nowhere"]).fails(1, &["nowhere"]);

    // A parser that fails on what is there is neither activated nor kept.
    let stored = |text: &str| desk.run_with(&["log", "ingest", "--type", "OUR_GATE", "--message", text], b"").ok();
    stored("logout ann");
    stored("logout ben");
    desk.server.settled().await;
    let refused = desk.run(&["parser", "deploy", "--log-type", "OUR_GATE", "loose.conf"]);
    assert_eq!(refused.status, 1, "{}", refused.err);
    for said in ["failed on all of the newest 2 stored logs", "logout ann", "pipeline failed", "1 program refused"] {
        assert!(refused.err.contains(said), "{}", refused.err);
    }
    let list = desk.run(&["parser", "list", "--log-type", "OUR_GATE", "-o", "json"]).json();
    assert_eq!(list, json!([]));
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parsers_are_switched_by_id_and_rolled_back() {
    let desk = desk().await;
    desk.write("one.conf", gate("one"));
    desk.write("two.conf", gate("two"));
    let of_gate = ["--log-type", "OUR_GATE"];
    let id = |rows: &[Value]| rows[0]["id"].as_str().unwrap().to_owned();
    let one = id(&deploy(&desk, &[&of_gate[..], &["one.conf"]].concat()));
    let made = deploy(&desk, &[&of_gate[..], &["two.conf", "--no-activate"]].concat());
    assert_eq!(made[0]["change"], "made");
    let two = id(&made);
    assert_eq!(in_use(&desk, "OUR_GATE").as_deref(), Some(one.as_str()));
    assert_eq!(desk.run(&["parser", "show", &two]).ok(), gate("two"));
    let shown = desk.run(&["parser", "show", &two, "-o", "json"]).json();
    assert_eq!((&shown["source"], &shown["state"], shown.get("cbn")), (&json!(gate("two")), &json!("INACTIVE"), None));

    desk.run(&["parser", "activate", &two]).ok();
    assert_eq!(description_of(&desk, "ann").await, "two");
    let back = desk.run(&["parser", "rollback", "--log-type", "OUR_GATE", "--reason", "worse", "-o", "json"]).json();
    assert_eq!((&back["parser"], &back["replaced"]), (&json!(one), &json!(two)));
    assert_eq!(description_of(&desk, "ben").await, "one");
    desk.run(&["parser", "deactivate", "--log-type", "OUR_GATE"]).ok();
    assert_eq!(in_use(&desk, "OUR_GATE"), None);
    desk.run(&["parser", "deactivate", "--log-type", "OUR_GATE"]).fails(1, &["no parser reads OUR_GATE"]);
    desk.run(&["parser", "activate", "nothing"]).fails(1, &["penstock parser list"]);
    desk.run(&["parser", "rollback", "--log-type", "OKTA"]).fails(1, &["to go back to"]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_are_shown_and_an_extension_adds_to_one() {
    let desk = desk().await;
    let ours = in_use(&desk, "OKTA").unwrap();
    assert!(ours.starts_with("OKTA@"), "{ours}");
    let source = normalise::SHIPPED.iter().find(|parser| parser.log_type == "OKTA").unwrap().source;
    assert_eq!(desk.run(&["parser", "show", &ours]).ok().trim_end(), source.trim_end());
    desk.write("gate.conf", gate("one"));
    desk.write(
        "more.conf",
        r#"filter {
  mutate {
    replace => { "event.idm.read_only_udm.metadata.description" => "more" }
  }
  mutate {
    merge => { "@output" => "event" }
  }
}
"#,
    );
    let done = deploy(&desk, &["--log-type", "OUR_GATE", "gate.conf", "--extension", "more.conf"]);
    assert_eq!((&done[1]["kind"], &done[1]["change"]), (&json!("extension"), &json!("activated")));
    assert_eq!(description_of(&desk, "ann").await, "more");
    let list = desk.run(&["parser", "list", "--log-type", "OUR_GATE"]).ok();
    assert!(list.contains("LIVE") && list.contains("ACTIVE"), "{list}");
    desk.run(&["parser", "rollback", "--log-type", "OUR_GATE", "--extension"]).ok();
    assert_eq!(description_of(&desk, "ben").await, "one");
    let usage = desk.run(&["parser", "deactivate", done[1]["id"].as_str().unwrap()]);
    usage.fails(2, &["rollback --extension"]);
    desk.server.stop().await;
}

#[test]
fn a_configuration_is_checked_with_its_parsers() {
    let home = crate::cli::Home::new();
    std::fs::create_dir_all(home.path("parsers/OKTA")).unwrap();
    std::fs::write(home.path("penstock.toml"), "[normalise]\nparsers = \"parsers\"\n").unwrap();
    std::fs::write(home.path("parsers/OKTA/parser.conf"), "filter { }").unwrap();
    home.run(&["check"]).ok();
    std::fs::write(home.path("parsers/OKTA/parser.conf"), "filter {\n  grk { }\n}").unwrap();
    home.run(&["check"]).fails(1, &["parsers/OKTA/parser.conf:2:3"]);
}
