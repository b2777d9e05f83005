//! Forwarders and their like on a whole server: what they do to what comes in, what they may cost, and that a change takes
//! effect.

use http::Method;
use serde_json::{Value, json};

use crate::server::{Credential, Reply, TestServer, send};

struct World {
    server: TestServer,
    base: String,
}

impl World {
    async fn new() -> World {
        let server = TestServer::start().await;
        let base = format!("/v1/projects/p/locations/l/instances/{}", server.instance);
        World { server, base }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self.server.request(method, &format!("{}{path}", self.base));
        send(request.body(body.to_string())).await
    }

    async fn key(&self, role: &str) -> (String, Credential) {
        let made = self.server.api(Method::POST, "/api/keys", Some(json!({ "role": role }))).await;
        (made["id"].as_str().unwrap().to_owned(), Credential::KeyHeader(made["api_key"].as_str().unwrap().to_owned()))
    }

    async fn import(&self, forwarder: &str, texts: &[&str]) -> Reply {
        use base64::Engine as _;
        let encode = |text: &&str| json!({ "data": base64::engine::general_purpose::STANDARD.encode(text) });
        let logs: Vec<Value> = texts.iter().map(encode).collect();
        let body = json!({ "inline_source": { "logs": logs, "forwarder": forwarder } });
        self.call(Method::POST, "/logTypes/OKTA/logs:import", &body).await
    }
}

fn id(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_keeps_out_is_counted_and_said() {
    let world = World::new().await;
    let filters = json!([{ "regexp": "noise", "behavior": "BLOCK" }]);
    let body = json!({ "displayName": "F", "config": { "regexFilters": filters } });
    let forwarder = id(&world.call(Method::POST, "/forwarders", &body).await);

    let some = world.import(&forwarder, &["noise 1", "kept", "noise 2"]).await;
    assert_eq!((some.status.as_u16(), some.header("x-penstock-filtered")), (200, "2"));
    let none = world.import(&forwarder, &["noise 3"]).await;
    assert_eq!((none.status.as_u16(), none.header("x-penstock-filtered"), none.batch()), (200, "1", String::new()));
    assert_eq!(world.server.texts("").await, ["kept"]);
    let status = world.server.get("/api/status").await;
    let counts = &status["instances"][0];
    assert_eq!((&counts["received"], &counts["committed"], &counts["filtered"]), (&json!(4), &json!(1), &json!(3)));
    assert_eq!(counts["conservation"]["holds"], true, "{counts}");

    // Once the filter is mended, the same request gets in what it kept out.
    let mended = json!({ "config": { "regexFilters": [] } });
    let path = format!("/forwarders/{forwarder}?updateMask=config.regex_filters");
    assert_eq!(world.call(Method::PATCH, &path, &mended).await.status, 200);
    let again = world.import(&forwarder, &["noise 1", "kept", "noise 2"]).await;
    assert_eq!((again.is_repeat(), again.header("x-penstock-filtered")), (false, ""));
    assert_eq!(world.server.texts("noise").await, ["noise 1", "noise 2"]);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_effect_though_the_operators_file_is_gone() {
    let world = World::new().await;
    let (key_id, key) = world.key("ingest").await;
    std::fs::remove_file(world.server.server.control.operator_token_file()).unwrap();
    let path = format!("{}/logTypes", world.base);
    assert_eq!(send(world.server.request_as(&key, Method::GET, &path)).await.status, 200);
    world.server.api(Method::DELETE, &format!("/api/keys/{key_id}"), None).await;
    assert_eq!(send(world.server.request_as(&key, Method::GET, &path)).await.status, 401);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_together_has_a_limit() {
    let world = World::new().await;
    let description = "x".repeat(4_000);
    let filters: Vec<Value> =
        (0..15).map(|_| json!({ "description": description, "regexp": "x", "behavior": "BLOCK" })).collect();
    let body = json!({ "displayName": "F", "config": { "regexFilters": filters } });
    let mut made = 0;
    // Fewer would be stopped by the number of filters.
    let refused = loop {
        let reply = world.call(Method::POST, "/forwarders", &body).await;
        if reply.status != 200 {
            break reply;
        }
        made += 1;
    };
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!((50..70).contains(&made), "{made}");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_do_not_use_up_what_administrators_need() {
    let world = World::new().await;
    let (_, sender) = world.key("ingest").await;
    let path = format!("{}/forwarders", world.base);
    let body = json!({ "displayName": "mine" }).to_string();
    let mut made = 0;
    let refused = loop {
        let reply = send(world.server.request_as(&sender, Method::POST, &path).body(body.clone())).await;
        if reply.status != 200 {
            break reply;
        }
        made += 1;
    };
    assert_eq!((made, refused.status.as_u16()), (event::limits::FORWARDERS_BY_SENDERS_MAX, 400));
    assert!(refused.error().contains("an administrator can make another"), "{}", refused.text());
    id(&world.call(Method::POST, "/forwarders", &json!({ "displayName": "ours" })).await);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_of_others_take_the_right_to_act_as_them() {
    let world = World::new().await;
    let other = world.server.account(world.server.instance, "admin").await;
    let path = format!("/api/accounts/{}:adc", other.client_email);
    let (_, key) = world.key("admin").await;
    let narrow = world.server.account(world.server.instance, "admin").await;
    let narrow = world.server.token(&narrow, "https://www.googleapis.com/auth/chronicle").await;
    for credential in [key, Credential::Bearer(narrow)] {
        assert_eq!(send(world.server.request_as(&credential, Method::POST, &path)).await.status, 403);
    }
    world.server.api(Method::POST, &path, None).await;
    world.server.stop().await;
}
