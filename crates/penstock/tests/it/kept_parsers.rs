//! Kept parsers and extensions on a whole server: made, tried, activated, and what the stream makes of logs by them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::server::{Credential, Reply, TestServer, send};

/// A log type that nothing comes with the server for.
const GATE: &str = "OUR_GATE";

/// Reads `<verb> <user>`; `verb` is what it must be, and what is none fails.
fn gate(description: &str) -> String {
    format!(
        r#"filter {{
  grok {{ match => {{ "message" => ["^%{{WORD:verb}} %{{WORD:who}}$"] }} }}
  mutate {{
    replace => {{
      "event.idm.read_only_udm.metadata.event_type" => "USER_LOGIN"
      "event.idm.read_only_udm.metadata.description" => "{description}"
      "event.idm.read_only_udm.extensions.auth.type" => "SSO"
      "event.idm.read_only_udm.target.user.userid" => "%{{who}}"
    }}
  }}
  mutate {{ merge => {{ "@output" => "event" }} }}
}}
"#
    )
}

/// Adds a product's name.
const EXTRA: &str = r#"filter {
  mutate { replace => { "event.idm.read_only_udm.metadata.product_name" => "Gate" } }
  mutate { merge => { "@output" => "event" } }
}
"#;

struct World {
    server: TestServer,
}

impl World {
    async fn start() -> World {
        World::with(|_| {}).await
    }

    async fn with(adjust: impl FnOnce(&mut penstock::config::Config)) -> World {
        let server = TestServer::with(adjust).await;
        server.api(Method::POST, "/api/log-types", Some(json!({ "log_type": GATE }))).await;
        World { server }
    }

    async fn call(&self, method: Method, rest: &str, body: Value) -> Reply {
        let instance = self.server.instance;
        let path = format!("/v1alpha/projects/p/locations/us/instances/{instance}{rest}");
        send(self.server.request(method, &path).body(if body.is_null() { String::new() } else { body.to_string() }))
            .await
    }

    #[track_caller]
    fn ok(&self, method: Method, rest: &str, body: Value) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.call(method.clone(), rest, body).await;
            assert_eq!(reply.status, 200, "{caller}: {method} {rest}: {}", reply.text());
            reply.json()
        }
    }

    async fn create(&self, collection: &str, source: &str) -> Value {
        let body = json!({ "cbn": STANDARD.encode(source), "validated_on_empty_logs": true });
        self.ok(Method::POST, &format!("/logTypes/{GATE}/{collection}"), body).await
    }

    async fn act(&self, collection: &str, id: &str, verb: &str) -> Reply {
        self.call(Method::POST, &format!("/logTypes/{GATE}/{collection}/{id}:{verb}"), Value::Null).await
    }

    async fn activate(&self, collection: &str, id: &str) {
        let reply = self.act(collection, id, "activate").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "{}".to_owned()));
    }

    async fn log(&self, text: &str) {
        let logs = json!({ "inline_source": { "logs": [{ "data": STANDARD.encode(text) }] } });
        self.ok(Method::POST, &format!("/logTypes/{GATE}/logs:import"), logs).await;
    }

    /// What the stream made of the logs of a user: descriptions and product names.
    async fn events(&self, user: &str) -> Vec<(String, String)> {
        let rows = self.server.search("udm", &format!("target.user.userid = \"{user}\"")).await;
        let text = |row: &Value, name: &str| row["udm"]["metadata"][name].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (text(row, "description"), text(row, "productName"))).collect()
    }

    async fn states(&self) -> Vec<(String, String)> {
        let list = self.ok(Method::GET, &format!("/logTypes/{GATE}/parsers"), Value::Null).await;
        let parsers = list["parsers"].as_array().cloned().unwrap_or_default();
        parsers.iter().map(|parser| (id_of(parser), parser["state"].as_str().unwrap().to_owned())).collect()
    }
}

fn id_of(resource: &Value) -> String {
    resource["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

fn one(description: &str, product: &str) -> Vec<(String, String)> {
    vec![(description.to_owned(), product.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_log_is_read_by_what_was_activated_last() {
    let world = World::start().await;
    world.log("login zoe").await;
    assert_eq!(world.events("zoe").await, []);
    let first = id_of(&world.create("parsers", &gate("first")).await);
    let second = id_of(&world.create("parsers", &gate("second")).await);
    world.log("login ann").await;
    assert_eq!(world.events("ann").await, [], "a parser reads nothing before it is activated");
    world.activate("parsers", &first).await;
    world.log("login ben").await;
    assert_eq!(world.events("ben").await, one("first", ""));
    assert_eq!(world.states().await, [(first.clone(), "ACTIVE".to_owned()), (second.clone(), "INACTIVE".to_owned())]);

    let extension = id_of(&world.create("parserExtensions", EXTRA).await);
    world.activate("parserExtensions", &extension).await;
    world.log("login cid").await;
    assert_eq!(world.events("cid").await, one("first", "Gate"));
    let shown = world.ok(Method::GET, &format!("/logTypes/{GATE}/parsers/{first}"), Value::Null).await;
    assert!(shown["parserExtension"].as_str().unwrap().ends_with(&extension), "{shown}");

    // What is in use is still in use after a restart, and what was read before stays as it was.
    world.activate("parsers", &second).await;
    let world = World { server: world.server.restart().await };
    world.log("login dot").await;
    assert_eq!(world.events("dot").await, one("second", "Gate"));
    assert_eq!(world.events("ben").await, one("first", ""));

    // Deleting an extension ends it; so does deactivating a parser.
    world.ok(Method::DELETE, &format!("/logTypes/{GATE}/parserExtensions/{extension}"), Value::Null).await;
    assert_eq!(world.act("parsers", &second, "deactivate").await.status, 200);
    world.log("login eve").await;
    assert_eq!(world.events("eve").await, []);

    let turns = world.server.get(&format!("/api/parsers/turns?log_type={GATE}")).await;
    let parsers: Vec<&Value> = turns.as_array().unwrap().iter().map(|turn| &turn["parser"]).collect();
    assert_eq!(parsers, [&Value::Null, &Value::Null, &json!(second), &json!(extension), &json!(first)]);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_read_is_refused_with_every_place() {
    let world = World::start().await;
    let body = json!({ "cbn": STANDARD.encode("filter {\n  mutat { }\n  grk { }\n}\n") });
    let reply = world.call(Method::POST, &format!("/logTypes/{GATE}/parsers"), body).await;
    assert_eq!(reply.status, 400);
    let error = reply.error();
    assert!(error.contains("line 2, column 3") && error.contains("line 3, column 3"), "{error}");
    assert_eq!(world.states().await, []);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parser_is_tried_before_it_reads() {
    let world = World::start().await;
    for log in ["logout", "login ann", "nonsense and more"] {
        world.log(log).await;
    }
    world.server.settled().await;
    let good = world.create("parsers", &gate("good")).await;
    assert_eq!(good["validationStage"], "PASSED");
    let report = good["validationReport"].as_str().unwrap().split_once("/logTypes").unwrap().1.to_owned();
    let shown = world.ok(Method::GET, &format!("/logTypes{report}"), Value::Null).await;
    assert_eq!(shown["verdict"], "PASS");
    let stats = &shown["stats"];
    assert_eq!(
        (&stats["logEntryCount"], &stats["failedLogCount"], &stats["eventCount"]),
        (&json!("3"), &json!("2"), &json!("1"))
    );
    assert_eq!(stats["eventCategoryCounts"], json!({ "USER_LOGIN": "1" }));
    let errors = world.ok(Method::GET, &format!("/logTypes{report}/parsingErrors"), Value::Null).await;
    let logs: Vec<&Value> = errors["parsingErrors"].as_array().unwrap().iter().map(|error| &error["logData"]).collect();
    assert!(logs.contains(&&json!(STANDARD.encode("logout"))) && logs.len() == 2, "{errors}");

    // One that fails on every log is made, and not activated.
    let bad = world.create("parsers", &gate("bad").replace("^%{WORD:verb}", "^never %{WORD:verb}")).await;
    assert_eq!(bad["validationStage"], "FAILED");
    let refused = world.act("parsers", &id_of(&bad), "activate").await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["status"].clone()),
        (400, json!("FAILED_PRECONDITION"))
    );
    assert!(refused.error().contains("all of the newest 3 logs"), "{}", refused.error());

    // Without a log to try it on it is taken if its maker said so.
    let other = |body: Value| {
        let world = &world;
        async move {
            let made = world.ok(Method::POST, "/logTypes/OKTA/parsers", body).await;
            let id = id_of(&made);
            world.call(Method::POST, &format!("/logTypes/OKTA/parsers/{id}:activate"), json!({})).await.status.as_u16()
        }
    };
    let program = STANDARD.encode(gate("okta"));
    assert_eq!(other(json!({ "cbn": program })).await, 400);
    assert_eq!(other(json!({ "cbn": program, "validated_on_empty_logs": true })).await, 200);
    assert_eq!(other(json!({ "cbn": program, "validation_skipped": true })).await, 200);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_are_listed_and_copied_and_cannot_be_deleted() {
    let world = World::start().await;
    let list = world.ok(Method::GET, "/logTypes/OKTA/parsers?filter=STATE%3DACTIVE", Value::Null).await;
    let [ours] = list["parsers"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&ours["type"], &ours["state"]), (&json!("PREBUILT"), &json!("ACTIVE")));
    let path = format!("/logTypes/OKTA/parsers/{}", id_of(ours));
    for (method, rest) in [(Method::DELETE, "?force=True"), (Method::DELETE, ""), (Method::POST, ":deactivate")] {
        let reply = world.call(method, &format!("{path}{rest}"), Value::Null).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"]["status"].clone()),
            (400, json!("FAILED_PRECONDITION"))
        );
    }
    let copy = world.ok(Method::POST, &format!("{path}:copy"), json!({})).await;
    assert_eq!((&copy["type"], &copy["cbn"], &copy["state"]), (&json!("CUSTOM"), &ours["cbn"], &json!("INACTIVE")));
    let copied = format!("/logTypes/OKTA/parsers/{}", id_of(&copy));
    world.ok(Method::POST, &format!("{copied}:activate"), json!({})).await;
    // What is in use goes by force only, and then ours reads again.
    assert_eq!(world.call(Method::DELETE, &copied, Value::Null).await.status, 400);
    world.ok(Method::DELETE, &format!("{copied}?force=True"), Value::Null).await;
    let found = world.call(Method::GET, &copied, Value::Null).await;
    assert_eq!(found.status, 404);
    assert_eq!(world.ok(Method::GET, &path, Value::Null).await["state"], "ACTIVE");

    let all = world.ok(Method::GET, "/logTypes/-/parsers?pageSize=1000&view=BASIC_VIEW", Value::Null).await;
    assert!(all["parsers"].as_array().unwrap().len() >= normalise::SHIPPED.len());
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_to_the_one_before() {
    let world = World::start().await;
    let rollback = |body: Value| {
        let request = world.server.request(Method::POST, &format!("/api/parsers/{GATE}:rollback")).json(&body);
        async move { send(request).await }
    };
    assert_eq!(rollback(json!({})).await.status, 400);
    let first = id_of(&world.create("parsers", &gate("first")).await);
    let second = id_of(&world.create("parsers", &gate("second")).await);
    world.activate("parsers", &first).await;
    world.activate("parsers", &second).await;
    let done = rollback(json!({ "reason": "it was better" })).await.json();
    assert_eq!((&done["parser"], &done["replaced"]), (&json!(first), &json!(second)));
    world.log("login ann").await;
    assert_eq!(world.events("ann").await, one("first", ""));
    assert_eq!(rollback(json!({})).await.json()["parser"], Value::Null);
    assert_eq!(rollback(json!({})).await.status, 400);
    let turns = world.server.get("/api/parsers/turns").await;
    assert_eq!((&turns[1]["reason"], &turns[1]["by"]), (&json!("it was better"), &json!("operator")));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_operators_goes_before_ours() {
    let folder = tempfile::tempdir().unwrap();
    let write = |log_type: &str, text: &str| {
        std::fs::create_dir_all(folder.path().join(log_type)).unwrap();
        std::fs::write(folder.path().join(log_type).join("parser.conf"), text).unwrap();
    };
    write(GATE, &gate("of the folder"));
    let world = World::with(|config| config.normalise.parsers = Some(folder.path().to_owned())).await;
    world.log("login ann").await;
    assert_eq!(world.events("ann").await, one("of the folder", ""));
    let states = world.states().await;
    assert!(states.len() == 1 && states[0].0.starts_with("OUR_GATE@") && states[0].1 == "ACTIVE", "{states:?}");

    // Another version takes over at the next start.
    write(GATE, &gate("changed"));
    let world = World { server: world.server.restart().await };
    world.log("login ben").await;
    assert_eq!((world.events("ann").await, world.events("ben").await), (one("of the folder", ""), one("changed", "")));

    // One that cannot be read keeps the server from starting, by name.
    write("OKTA", "filter {\n");
    let config = world.server.config.clone();
    let dir = world.server.stop().await;
    let error = penstock::serve::Server::start(&config, Default::default()).await.err().unwrap();
    assert!(format!("{error:#}").contains("OKTA/parser.conf:"), "{error:#}");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parser_that_does_harm_is_set_aside() {
    let world = World::start().await;
    let endless = r#"filter {
  json { source => "message" array_function => "split_columns" }
  for a in items { for b in items { for c in items { mutate { replace => { "x" => "y" } } } } }
}
"#;
    let id = id_of(&world.create("parsers", endless).await);
    world.activate("parsers", &id).await;
    let items: Vec<u32> = (0..200).collect();
    let log = json!({ "data": STANDARD.encode(json!({ "items": items }).to_string()) });
    // A batch's logs share what they may use, so that all behind the first few end at the limit.
    let logs = json!({ "inline_source": { "logs": vec![log; 30] } });
    world.ok(Method::POST, &format!("/logTypes/{GATE}/logs:import"), logs).await;
    crate::server::until("the parser is set aside", async || world.states().await[0].1 == "INACTIVE").await;
    let shown = world.ok(Method::GET, &format!("/logTypes/{GATE}/parsers/{id}"), Value::Null).await;
    assert_eq!(shown["releaseStage"], "FAULTY");
    let turns = world.server.get(&format!("/api/parsers/turns?log_type={GATE}")).await;
    assert_eq!(
        (&turns[0]["set_aside"], &turns[0]["by"], &turns[0]["parser"]),
        (&json!(id), &json!("penstock"), &Value::Null)
    );
    assert!(turns[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{turns}");

    // What comes then is read without it, now and after a restart.
    let good = id_of(&world.create("parsers", &gate("good")).await);
    world.log("login ann").await;
    let world = World { server: world.server.restart().await };
    assert_eq!(world.states().await[0], (id, "INACTIVE".to_owned()));
    let made = world.act("parsers", &good, "activate").await;
    assert_eq!(made.status, 200, "{}", made.text());
    world.log("login ben").await;
    assert_eq!(world.events("ben").await, one("good", ""));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parsers_are_apart_between_instances() {
    let world = World::start().await;
    let id = id_of(&world.create("parsers", &gate("mine")).await);
    let theirs: Value = world.server.api(Method::POST, "/api/instances", Some(json!({ "name": "theirs" }))).await;
    let theirs = theirs["id"].as_str().unwrap().to_owned();
    let account = world.server.account(theirs.parse().unwrap(), "admin").await;
    let credential = Credential::Bearer(world.server.token(&account, crate::server::CLOUD).await);
    let call = |instance: String, rest: String| {
        let path = format!("/v1alpha/projects/p/locations/us/instances/{instance}{rest}");
        send(world.server.request_as(&credential, Method::GET, &path))
    };
    let mine = world.server.instance.to_string();
    assert_eq!(call(mine, format!("/logTypes/{GATE}/parsers/{id}")).await.status, 403);
    assert_eq!(call(theirs.clone(), format!("/logTypes/{GATE}/parsers/{id}")).await.status, 404);
    assert_eq!(call(theirs, format!("/logTypes/{GATE}/parsers")).await.json(), json!({}));
    let foreign =
        world.server.request_as(&credential, Method::GET, &format!("/api/parsers?instance={}", world.server.instance));
    assert_eq!(send(foreign).await.status, 404);
    world.server.stop().await;
}
