//! Intakes over our own API and the command line: made, listed, rotated, disabled, deleted; what the snapshot has of them
//! at each moment; and where their keys are not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dialects::snapshot::{IntakeKey, SecretHash};
use http::Method;
use serde_json::{Value, json};

use crate::cli::Home;
use crate::server::{Credential, Reply, TestServer, send};

/// Sekoia's own form of a key: what senders check theirs against.
fn is_key(key: &str) -> bool {
    key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What dialects find by this key at this moment.
fn found(server: &TestServer, key: &str) -> Option<Arc<IntakeKey>> {
    server.server.control.snapshot().load().intakes.get(&SecretHash::of(key)).cloned()
}

async fn make(server: &TestServer, name: &str, format: &str) -> (String, String) {
    let body = json!({ "instance": server.instance.to_string(), "name": name, "format": format });
    let made = server.api(Method::POST, "/api/intakes", Some(body)).await;
    (text(&made, "id"), text(&made, "intake_key"))
}

async fn call(server: &TestServer, who: &Credential, method: Method, path: &str, body: &str) -> Reply {
    send(server.request_as(who, method, path).body(body.to_owned())).await
}

fn operator(server: &TestServer) -> Credential {
    Credential::Bearer(server.operator.clone())
}

#[track_caller]
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// The files below a directory that hold this text.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intakes_life() {
    let server = TestServer::start().await;
    let body = json!({ "name": "Gate", "format": "unbound_dns", "namespace": "lab" });
    let made = server.api(Method::POST, "/api/intakes", Some(body)).await;
    let (id, first) = (text(&made, "id"), text(&made, "intake_key"));
    let mut shown = json!({
        "id": id, "name": "Gate", "format": "unbound_dns", "log_type": "UNBOUND_DNS", "namespace": "lab",
        "instance": server.instance.to_string(), "disabled": false, "created_at": made["created_at"],
    });
    assert!(is_key(&first) && id.starts_with("intake-"), "{made}");
    let mut wanted = shown.clone();
    wanted["intake_key"] = json!(first);
    assert_eq!(made, wanted);
    let path = format!("/api/intakes/{id}");
    let intake = IntakeKey {
        id: id.clone(),
        instance: server.instance,
        log_type: "UNBOUND_DNS".to_owned(),
        namespace: "lab".to_owned(),
        disabled: false,
    };
    assert_eq!(found(&server, &first).as_deref(), Some(&intake));
    assert_eq!(server.get(&path).await, shown);
    let all = server.get("/api/intakes").await;
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|intake| intake["name"].as_str().unwrap()).collect();
    assert_eq!((names, &all[1]), (vec!["default", "Gate"], &shown));

    // A new key ends the old one, and nothing else is changed.
    let rotated = server.api(Method::POST, &format!("{path}:rotate"), None).await;
    let second = text(&rotated, "intake_key");
    assert!(is_key(&second) && second != first);
    assert_eq!((found(&server, &first), found(&server, &second).as_deref()), (None, Some(&intake)));
    assert_eq!(server.get(&path).await, shown);

    // Disabled it is known, and says so.
    shown["disabled"] = json!(true);
    assert_eq!(server.api(Method::POST, &format!("{path}:disable"), None).await, shown);
    assert!(found(&server, &second).unwrap().disabled);
    let third = text(&server.api(Method::POST, &format!("{path}:rotate"), None).await, "intake_key");
    assert!(found(&server, &third).unwrap().disabled, "a new key does not enable");

    let server = server.restart().await;
    assert_eq!(server.get(&path).await, shown);
    assert_eq!((found(&server, &first), found(&server, &second)), (None, None));
    assert!(found(&server, &third).unwrap().disabled);
    shown["disabled"] = json!(false);
    assert_eq!(server.api(Method::POST, &format!("{path}:enable"), None).await, shown);
    assert_eq!(found(&server, &third).as_deref(), Some(&intake));

    let data = server.config.data.clone();
    for key in [&first, &second, &third] {
        assert_eq!(files_with(&data, key), Vec::<PathBuf>::new());
    }
    assert_eq!(server.api(Method::DELETE, &path, None).await, json!({ "deleted": id }));
    assert_eq!(found(&server, &third), None);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}:rotate")),
        (Method::POST, format!("{path}:disable")),
    ] {
        let reply = call(&server, &operator(&server), method, &path, "").await;
        assert_eq!((reply.status.as_u16(), reply.error()), (404, format!("There is no intake {id:?}.")));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_directory_has_an_intake_and_an_old_one_gets_none() {
    let server = TestServer::start().await;
    let data = server.config.data.clone();
    let file = data.join("keys/intake.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(key.ends_with('\n') && is_key(key.trim_end()), "{key:?}");
    let key = key.trim_end().to_owned();
    let intake = found(&server, &key).unwrap();
    assert_eq!((intake.instance, intake.log_type.as_str(), intake.disabled), (server.instance, "UNBOUND_DNS", false));
    let all = server.get("/api/intakes").await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!((&all[0]["name"], &all[0]["id"]), (&json!("default"), &json!(intake.id)));
    assert_eq!(files_with(&data, &key), [file.as_path()], "and nowhere else");

    let server = server.restart().await;
    assert_eq!(found(&server, &key), Some(Arc::clone(&intake)));
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim_end(), key);
    let told = server.server.control.default_intake().unwrap();
    assert_eq!((told.0.as_path(), told.1.id.as_str()), (file.as_path(), intake.id.as_str()));

    // A file whose key is no longer good is not shown to anybody.
    let path = format!("/api/intakes/{}", intake.id);
    server.api(Method::POST, &format!("{path}:disable"), None).await;
    assert!(server.server.control.default_intake().is_none());
    server.api(Method::POST, &format!("{path}:enable"), None).await;
    assert!(server.server.control.default_intake().is_some());
    server.api(Method::POST, &format!("{path}:rotate"), None).await;
    assert!(server.server.control.default_intake().is_none());

    // As a directory from before there were intakes is.
    server.api(Method::DELETE, &path, None).await;
    std::fs::remove_file(&file).unwrap();
    let server = server.restart().await;
    assert_eq!(server.get("/api/intakes").await, json!([]));
    assert!(!file.exists() && server.server.control.default_intake().is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_cut_short_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let instance = server.instance.to_string();
    let (config, dir) = (server.config.clone(), server.stop().await);
    // The instance is made last, so this is what a crash just before leaves.
    let resources = resources::Resources::open(&config.data.join("resources.db")).unwrap();
    resources.delete("instance", "", &instance).unwrap();
    drop(resources);
    let file = config.data.join("keys/intake.key");
    let key = std::fs::read_to_string(&file).unwrap();

    let server = TestServer::start_in(dir, config).await;
    assert_ne!(server.instance.to_string(), instance);
    assert_eq!(found(&server, key.trim()), None);
    assert_eq!(found(&server, std::fs::read_to_string(&file).unwrap().trim()).unwrap().instance, server.instance);
    for list in ["/api/intakes", "/api/accounts"] {
        let all = server.get(list).await;
        assert_eq!(all.as_array().unwrap().len(), 1, "{list}: {all}");
        assert_eq!(all[0]["instance"], server.instance.to_string());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_is_no_log_type_becomes_one() {
    let server = TestServer::start().await;
    let create = async |format: &str| {
        let body = json!({ "name": "n", "format": format });
        server.api(Method::POST, "/api/intakes", Some(body)).await
    };
    let typo = create("bind_dsn").await;
    assert_eq!((&typo["log_type"], &typo["declared"]), (&json!("BIND_DSN"), &json!(true)));
    assert!(typo["nearest"].as_array().unwrap().contains(&json!("BIND_DNS")), "{typo}");
    let nothing_near = create("qxjz").await;
    assert_eq!((&nothing_near["declared"], &nothing_near["nearest"]), (&json!(true), &json!([])));
    for (format, log_type) in [("Bind-DNS", "BIND_DNS"), ("BIND_DSN", "BIND_DSN"), ("QXJZ!", "QXJZ")] {
        let made = create(format).await;
        assert_eq!((&made["log_type"], made.get("declared"), made.get("nearest")), (&json!(log_type), None, None));
        assert_eq!(found(&server, &text(&made, "intake_key")).unwrap().log_type, log_type);
    }
    // It is one for every other way in, too.
    let own = server.get("/api/log-types?custom=true").await;
    let own: Vec<&str> = own.as_array().unwrap().iter().map(|own| own["log_type"].as_str().unwrap()).collect();
    assert_eq!(own, ["BIND_DSN", "QXJZ"]);
    let snapshot = server.server.control.snapshot().load();
    assert!(snapshot.instances[&server.instance].log_types.contains("BIND_DSN"));
    drop(snapshot);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_told_what_is_wrong() {
    let server = TestServer::start().await;
    let (id, key) = make(&server, "Gate", "OKTA").await;
    let before = (server.get("/api/intakes").await, server.get("/api/log-types?custom=true").await);
    let one = format!("/api/intakes/{id}");
    let long = format!(r#"{{"name": "{}", "format": "OKTA"}}"#, "x".repeat(201));
    for (method, path, body, status, says) in [
        ("POST", "/api/intakes", "{}", 400, "name is missing"),
        ("POST", "/api/intakes", r#"{"name": "a"}"#, 400, "format is missing"),
        ("POST", "/api/intakes", r#"{"name": " ", "format": "OKTA"}"#, 400, "needs a name"),
        ("POST", "/api/intakes", r#"{"name": "a", "format": ""}"#, 400, "2 to 64 of A-Z"),
        ("POST", "/api/intakes", r#"{"name": "a", "format": "é!"}"#, 400, "2 to 64 of A-Z"),
        ("POST", "/api/intakes", r#"{"name": "a", "format": 1}"#, 400, "format is a string"),
        ("POST", "/api/intakes", r#"{"name": "a", "format": "OKTA", "namespace": "a\nb"}"#, 400, "control"),
        ("POST", "/api/intakes", &long, 400, "at most 200"),
        ("POST", "/api/intakes", r#"{"name": "a", "format": "OKTA", "key": "x"}"#, 400, "unknown field \"key\""),
        ("POST", "/api/intakes", "[]", 400, "not a JSON object"),
        (
            "POST",
            "/api/intakes",
            r#"{"name": "a", "format": "NEW_X", "instance": "6d3aa5f6-0d52-4bd6-9b0b-5a6f5d3c1e77"}"#,
            404,
            "no instance",
        ),
        ("PUT", "/api/intakes", "", 405, "takes GET, POST"),
        ("POST", &one, "", 405, "takes GET, DELETE"),
        ("GET", &format!("{one}:rotate"), "", 405, "takes POST"),
        ("DELETE", &format!("{one}:disable"), "", 405, "takes POST"),
        ("PUT", &format!("{one}:enable"), "", 405, "takes POST"),
        ("POST", &format!("{one}:destroy"), "", 404, ""),
        ("GET", &format!("{one}/keys"), "", 404, ""),
    ] {
        let reply = call(&server, &operator(&server), method.parse().unwrap(), path, body).await;
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.text());
        assert!(reply.error().contains(says), "{method} {path} {body}: {}", reply.text());
    }
    assert_eq!((server.get("/api/intakes").await, server.get("/api/log-types?custom=true").await), before);
    assert!(found(&server, &key).is_some_and(|intake| !intake.disabled));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn intakes_are_their_instances() {
    let server = TestServer::start().await;
    let (id, key) = make(&server, "Ours", "OKTA").await;
    let other = server.api(Method::POST, "/api/instances", Some(json!({ "name": "other" }))).await;
    let other = text(&other, "id");
    let credential = async |instance: &str, role: &str| {
        let made = server.api(Method::POST, "/api/keys", Some(json!({ "instance": instance, "role": role }))).await;
        Credential::KeyHeader(text(&made, "api_key"))
    };
    let admin = credential(&other, "admin").await;
    let theirs = call(&server, &admin, Method::POST, "/api/intakes", r#"{"name": "Theirs", "format": "OWN_X"}"#).await;
    assert_eq!((theirs.status.as_u16(), &theirs.json()["instance"]), (200, &json!(other)));
    let their_key = text(&theirs.json(), "intake_key");

    // Whoever administers the other instance sees its own and can name no other.
    let listed = call(&server, &admin, Method::GET, "/api/intakes", "").await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("Theirs")));
    let one = format!("/api/intakes/{id}");
    let here = format!(r#"{{"instance": "{}", "name": "x", "format": "OKTA"}}"#, server.instance);
    for (method, path, body) in [
        (Method::GET, one.clone(), ""),
        (Method::DELETE, one.clone(), ""),
        (Method::POST, format!("{one}:rotate"), ""),
        (Method::POST, format!("{one}:disable"), ""),
        (Method::POST, format!("{one}:enable"), ""),
        (Method::GET, format!("/api/intakes?instance={}", server.instance), ""),
        (Method::POST, "/api/intakes".to_owned(), here.as_str()),
    ] {
        let reply = call(&server, &admin, method.clone(), &path, body).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text());
    }
    assert!(found(&server, &key).is_some_and(|intake| !intake.disabled));

    // Readers look, senders do not even that.
    for (role, looks, changes) in [("read", 200, 403), ("ingest", 403, 403)] {
        let who = credential(&server.instance.to_string(), role).await;
        assert_eq!(call(&server, &who, Method::GET, &one, "").await.status, looks, "{role}");
        let rotated = call(&server, &who, Method::POST, &format!("{one}:rotate"), "").await;
        assert_eq!(rotated.status, changes, "{role}");
    }
    assert_eq!(call(&server, &Credential::None, Method::GET, &one, "").await.status, 401);

    // An instance's intakes and log types go with it.
    assert!(found(&server, &their_key).is_some());
    server.api(Method::DELETE, &format!("/api/instances/{other}"), None).await;
    assert_eq!(found(&server, &their_key), None);
    let listed = server.get("/api/intakes").await;
    assert!(listed.as_array().unwrap().iter().all(|intake| intake["instance"] != other.as_str()), "{listed}");
    assert_eq!(server.get("/api/log-types?custom=true").await, json!([]));
    let server = server.restart().await;
    assert_eq!((found(&server, &their_key), found(&server, &key).is_some()), (None, true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intakes_life_on_the_command_line() {
    let server = TestServer::start().await;
    let home = Home::new();
    let at = |args: &[&str]| {
        home.run(&[&["intake"], args, &["--server", &server.server.url, "--token", &server.operator]].concat())
    };
    let made = at(&["create", "--name", "Gate", "--format", "okta", "--namespace", "lab", "-o", "json"]).json();
    let (id, key) = (text(&made, "id"), text(&made, "intake_key"));
    let intake = found(&server, &key).unwrap();
    assert_eq!((intake.id.as_str(), intake.log_type.as_str(), intake.namespace.as_str()), (id.as_str(), "OKTA", "lab"));

    // For people: the key once, how it is used, and what a typing error would have done.
    let said = at(&["create", "--name", "Typo", "--format", "bind dsn"]).ok();
    let typo = server.get("/api/intakes").await[2].clone();
    let key_line = said.lines().find(|line| line.trim_start().starts_with("intake_key")).unwrap();
    let typo_key = key_line.split_whitespace().last().unwrap();
    assert_eq!(
        (said.matches(typo_key).count(), found(&server, typo_key).unwrap().id.as_str()),
        (1, &*text(&typo, "id"))
    );
    for part in [
        "this once",
        "X-SEKOIAIO-INTAKE-KEY",
        &server.url("/plain"),
        "There was no log type BIND_DSN; it is now one of the instance's own.",
        "BIND_DNS",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    let listed = at(&["list"]).ok();
    for part in ["Gate", "Typo", "default", "BIND_DSN", &id] {
        assert!(listed.contains(part), "{part:?} is not in {listed}");
    }
    let listed = at(&["list", "--instance", &server.instance.to_string(), "-o", "json"]).json();
    assert_eq!(listed, server.get("/api/intakes").await);
    let shown = at(&["show", &id, "-o", "json"]).json();
    assert_eq!(shown, server.get(&format!("/api/intakes/{id}")).await);
    assert!(!listed.to_string().contains(&key) && !at(&["show", &id]).ok().contains(&key));

    assert!(at(&["disable", &id]).ok().contains("takes no more data"));
    assert!(found(&server, &key).unwrap().disabled);
    assert_eq!(at(&["enable", &id, "-o", "json"]).json()["disabled"], false);
    assert!(!found(&server, &key).unwrap().disabled);
    let said = at(&["rotate", &id]).ok();
    assert!(said.contains("this once") && said.contains("X-SEKOIAIO-INTAKE-KEY"), "{said}");
    assert_eq!(found(&server, &key), None);
    let second = text(&at(&["rotate", &id, "-o", "ndjson"]).json(), "intake_key");
    assert_eq!(found(&server, &second).unwrap().id, id);
    at(&["delete", &id]).ok();
    assert_eq!(found(&server, &second), None);

    at(&["show", &id]).fails(1, &[&id]);
    at(&["delete", &id]).fails(1, &[&id]);
    at(&["create", "--name", "x", "--format", "!"]).fails(1, &["2 to 64 of A-Z"]);
    at(&["create", "--format", "OKTA"]).fails(2, &["--name"]);
    at(&["create", "--name", "x"]).fails(2, &["--format"]);
    let help = home.run(&["intake", "create", "--help"]).ok();
    assert!(help.contains("UNBOUND_DNS") && help.contains("log-type list"), "{help}");
    server.stop().await;
}
