//! The older API on a whole server: what it makes is there for the Chronicle API too, goes with what it belongs to, and is
//! nobody else's.

use http::Method;
use serde_json::{Value, json};

use crate::server::{CLOUD, Credential, TestServer, send};

/// What Google's samples ask their tokens for.
const BACKSTORY: &str = "https://www.googleapis.com/auth/chronicle-backstory";

/// A caller of one instance.
struct Caller<'s> {
    server: &'s TestServer,
    instance: String,
    credential: Credential,
}

impl<'s> Caller<'s> {
    async fn new(server: &'s TestServer, role: &str, scope: &str) -> Caller<'s> {
        let made = server.api(Method::POST, "/api/instances", Some(json!({ "name": role }))).await;
        let instance = made["id"].as_str().unwrap().to_owned();
        let key_file = server.account(instance.parse().unwrap(), role).await;
        Caller { server, instance, credential: Credential::Bearer(server.token(&key_file, scope).await) }
    }

    /// The reply's status and body, or the message of its error.
    async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self.server.request_as(&self.credential, method, path);
        if !body.is_null() {
            // As chronicle_cli does: without a Content-Type.
            request = request.body(body.to_string());
        }
        let reply = send(request).await;
        let status = reply.status.as_u16();
        (status, if status == 200 { reply.json() } else { Value::String(reply.error()) })
    }

    #[track_caller]
    fn done(&self, method: Method, path: &str, body: Value) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let (status, body) = self.call(method, path, &body).await;
            assert_eq!(status, 200, "{caller}: {body}");
            body
        }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, &Value::Null).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarders_and_their_collectors_are_those_of_the_newer_api() {
    let server = TestServer::start().await;
    let caller = Caller::new(&server, "admin", BACKSTORY).await;
    let made = caller.done(Method::POST, "/v2/forwarders/", json!({ "display_name": "one", "config": null })).await;
    let forwarder = made["name"].as_str().unwrap().to_owned();
    let config =
        json!({ "log_type": "MY_GATE", "max_seconds_per_batch": 10, "file_settings": { "file_path": "/var/log/x" } });
    let sent = json!({ "display_name": "c1", "config": config });
    let collector = caller.done(Method::POST, &format!("/v2/{forwarder}/collectors"), sent).await;
    let name = collector["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("{forwarder}/collectors/")), "{collector}");
    assert_eq!(caller.get(&format!("/v2/{name}")).await, (200, collector.clone()));
    assert_eq!(caller.get(&format!("/v2/{forwarder}/collectors")).await, (200, json!({ "collectors": [collector] })));

    let newer = format!("/v1alpha/projects/p/locations/us/instances/{}", caller.instance);
    let admin = server.account(caller.instance.parse().unwrap(), "admin").await;
    let admin = Credential::Bearer(server.token(&admin, CLOUD).await);
    let seen = send(server.request_as(&admin, Method::GET, &format!("{newer}/{name}"))).await.json();
    assert_eq!(seen["config"], collector["config"]);
    let log_type = send(server.request_as(&admin, Method::GET, &format!("{newer}/logTypes/MY_GATE"))).await;
    assert_eq!(log_type.status, 200, "{}", log_type.text());

    let changed = json!({ "display_name": "two", "config": { "upload_compression": true } });
    let rest = format!("/v2/{forwarder}?update_mask=display_name");
    let after = caller.done(Method::PATCH, &rest, changed).await;
    assert_eq!((&after["displayName"], &after["config"]["uploadCompression"]), (&json!("two"), &Value::Null));
    let files = caller.done(Method::GET, &format!("/v2/{forwarder}:generateForwarderFiles"), Value::Null).await;
    assert!(files["config"].is_string() && files["auth"].is_string(), "{files}");

    // What lies below goes with it.
    assert_eq!(caller.done(Method::DELETE, &format!("/v2/{forwarder}"), Value::Null).await, json!({}));
    for gone in [format!("/v2/{forwarder}"), format!("/v2/{name}"), format!("/v2/{forwarder}/collectors")] {
        assert_eq!(caller.get(&gone).await.0, 404, "{gone}");
    }
    assert_eq!(caller.get("/v2/forwarders").await, (200, json!({})));
}

/// Each filter is compiled anew with every change of anybody's forwarder, so they have a limit together.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_has_no_more_filters_than_can_be_compiled() {
    let server = TestServer::start().await;
    let caller = Caller::new(&server, "admin", BACKSTORY).await;
    let filters = |count| vec![json!({ "regexp": "x", "behavior": "BLOCK" }); count];
    let body = |count| json!({ "display_name": "f", "config": { "regex_filters": filters(count) } });
    let mut forwarder = String::new();
    for _ in 0..9 {
        let made = caller.done(Method::POST, "/v2/forwarders", body(100)).await;
        forwarder = made["name"].as_str().unwrap().to_owned();
    }
    let collectors = format!("/v2/{forwarder}/collectors");
    let collector = json!({ "display_name": "c", "config": { "log_type": "OKTA", "regex_filters": filters(100) } });
    caller.done(Method::POST, &collectors, collector).await;
    let (status, message) = caller.call(Method::POST, "/v2/forwarders", &body(1)).await;
    assert_eq!(status, 400);
    assert!(message.as_str().unwrap().contains("would have 1001 filters, more than 1000"), "{message}");

    let path = format!("/v2/{forwarder}?update_mask=config.regex_filters");
    caller.done(Method::PATCH, &path, body(99)).await;
    caller.done(Method::PATCH, &path, body(100)).await;
    caller.done(Method::PATCH, &path, body(99)).await;
    caller.done(Method::POST, "/v2/forwarders", body(1)).await;
    assert_eq!(caller.call(Method::PATCH, &path, &body(100)).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_named_as_a_forwarder_takes_nothing_of_it_away() {
    let server = TestServer::start().await;
    let caller = Caller::new(&server, "admin", BACKSTORY).await;
    // A list's name begins with a letter, as some ids do.
    let forwarder = loop {
        let made = caller.done(Method::POST, "/v2/forwarders", json!({ "display_name": "f" })).await;
        let name = made["name"].as_str().unwrap().strip_prefix("forwarders/").unwrap().to_owned();
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            break name;
        }
    };
    let collectors = format!("/v2/forwarders/{forwarder}/collectors");
    let collector = json!({ "display_name": "c", "config": { "log_type": "OKTA" } });
    let collector = caller.done(Method::POST, &collectors, collector).await;
    caller.done(Method::POST, "/v2/lists", json!({ "name": forwarder, "lines": ["x"] })).await;
    caller.done(Method::DELETE, &format!("/v2/lists/{forwarder}"), Value::Null).await;
    assert_eq!(caller.get(&collectors).await, (200, json!({ "collectors": [collector] })));
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_made_as_their_schema_says() {
    let server = TestServer::start().await;
    let caller = Caller::new(&server, "admin", BACKSTORY).await;
    let (_, schema) = caller.get("/v1/feedSchema").await;
    let source = &schema["feedSourceTypeSchemas"][0];
    let log_type = source["logTypeSchemas"][0]["logType"].as_str().unwrap();
    let details = json!({ "feedSourceType": source["feedSourceType"], "logType": log_type, "namespace": "ns", "labels": [],
        "httpsPushWebhookSettings": { "splitDelimiter": "\\n" } });
    let made = caller.done(Method::POST, "/v1/feeds", json!({ "details": details })).await;
    assert_eq!((&made["feedState"], &made["details"]["namespace"]), (&json!("ACTIVE"), &json!("ns")), "{made}");
    let feed = made["name"].as_str().unwrap();
    let off = caller.done(Method::POST, &format!("/v1/{feed}:disable"), json!({})).await;
    assert_eq!(off["feedState"], "INACTIVE");
    assert_eq!(caller.get("/v1/feeds").await, (200, json!({ "feeds": [off] })));
    let on = caller.done(Method::POST, &format!("/v1/{feed}:enable"), json!({})).await;
    assert_eq!(on["feedState"], "ACTIVE");
    caller.done(Method::DELETE, &format!("/v1/{feed}"), Value::Null).await;
    assert_eq!(caller.get(&format!("/v1/{feed}")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_kept() {
    let server = TestServer::start().await;
    let caller = Caller::new(&server, "admin", BACKSTORY).await;
    assert_eq!(caller.get("/v2/lists").await, (200, json!({})));
    assert_eq!(caller.get("/v2/lists/mylist").await, (404, json!("There is no list \"mylist\".")));
    let unknown = caller.call(Method::PATCH, "/v2/lists", &json!({ "name": "mylist", "lines": ["a"] })).await;
    assert_eq!(unknown.0, 404);

    let sent = json!({ "name": "mylist", "description": "ours", "lines": ["a", "b"] });
    let made = caller.done(Method::POST, "/v2/lists", sent.clone()).await;
    let created = made["createTime"].as_str().unwrap().to_owned();
    assert_eq!(caller.get("/v2/lists/mylist").await, (200, made.clone()));
    let again = caller.call(Method::POST, "/v2/lists", &sent).await;
    assert_eq!(again, (409, json!("there is a list \"mylist\" already")));
    assert_eq!(caller.get("/v2/lists/mylist").await.1["lines"], json!(["a", "b"]));

    let change = json!({ "name": "mylist", "lines": ["a", "b", "c"] });
    let changed = caller.done(Method::PATCH, "/v2/lists?update_mask=list.lines", change).await;
    assert_eq!((&changed["description"], &changed["lines"]), (&json!("ours"), &json!(["a", "b", "c"])));
    assert!(changed["createTime"].as_str().unwrap() > created.as_str(), "{changed}");
    // What cannot be kept changes nothing.
    let wrong = json!({ "name": "mylist", "lines": ["x\ny"], "content_type": "CIDR" });
    assert_eq!(caller.call(Method::PATCH, "/v2/lists", &wrong).await.0, 400);
    assert_eq!(caller.get("/v2/lists/mylist").await, (200, changed.clone()));

    // Page by page, each list once; a token of another list is refused.
    for name in ["second", "third"] {
        caller.done(Method::POST, "/v2/lists", json!({ "name": name, "lines": [] })).await;
    }
    let (mut names, mut page, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (status, body) = caller.get(&format!("/v2/lists?page_size=2{page}")).await;
        assert_eq!(status, 200, "{body}");
        names.extend(body["lists"].as_array().unwrap().iter().map(|list| list["name"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(token) = body["nextPageToken"].as_str() else { break };
        page = format!("&page_token={token}");
        let (status, message) = caller.get(&format!("/v2/forwarders?{}", &page[1..])).await;
        assert_eq!(status, 400, "{message}");
    }
    names.sort();
    assert_eq!((names, pages), (["mylist", "second", "third"].map(str::to_owned).to_vec(), 2));

    // As many as can be, and then no more.
    for number in 3..event::limits::REFERENCE_LISTS_MAX {
        caller.done(Method::POST, "/v2/lists", json!({ "name": format!("l{number}"), "lines": [] })).await;
    }
    let (status, message) = caller.call(Method::POST, "/v2/lists", &json!({ "name": "more", "lines": [] })).await;
    assert!(status == 400 && message.as_str().unwrap().contains("100 lists already"), "{status} {message}");
    caller.done(Method::DELETE, "/v2/lists/second", Value::Null).await;
    caller.done(Method::POST, "/v2/lists", json!({ "name": "more", "lines": [] })).await;

    let instance = caller.instance.clone();
    let credential = caller.credential.clone();
    let server = server.restart().await;
    let caller = Caller { server: &server, instance, credential };
    assert_eq!(caller.get("/v2/lists/mylist").await, (200, changed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_is_nobody_elses() {
    let server = TestServer::start().await;
    let ours = Caller::new(&server, "admin", BACKSTORY).await;
    let theirs = Caller::new(&server, "admin", BACKSTORY).await;
    let list = ours.done(Method::POST, "/v2/lists", json!({ "name": "mylist", "lines": ["ours"] })).await;
    let forwarder = ours.done(Method::POST, "/v2/forwarders", json!({ "display_name": "ours" })).await;
    let forwarder = forwarder["name"].as_str().unwrap();

    assert_eq!(theirs.get("/v2/lists").await, (200, json!({})));
    assert_eq!(theirs.get("/v2/forwarders").await, (200, json!({})));
    let refused = |path: String, body: Value| {
        let theirs = &theirs;
        async move {
            let method = if body.is_null() { Method::DELETE } else { Method::PATCH };
            theirs.call(method, &path, &body).await.0
        }
    };
    assert_eq!(theirs.get("/v2/lists/mylist").await.0, 404);
    assert_eq!(theirs.get(&format!("/v2/{forwarder}")).await.0, 404);
    assert_eq!(refused("/v2/lists/mylist".to_owned(), json!({ "lines": [] })).await, 404);
    assert_eq!(refused("/v2/lists/mylist".to_owned(), Value::Null).await, 404);
    assert_eq!(refused(format!("/v2/{forwarder}"), Value::Null).await, 404);
    // The same name is theirs to give.
    theirs.done(Method::POST, "/v2/lists", json!({ "name": "mylist", "lines": ["theirs"] })).await;
    assert_eq!(ours.get("/v2/lists/mylist").await, (200, list));

    // A token for sending alone reaches none of it.
    let sender = Caller::new(&server, "ingest", CLOUD).await;
    for path in
        ["/v2/lists", "/v2/forwarders", "/v1/feeds", "/v1/feedSchema", "/v1/events:udmSearch?query=ip%21%3D%22%22"]
    {
        assert_eq!(sender.get(path).await.0, 403, "{path}");
    }
    // With several instances, the operator must say which.
    assert_eq!(send(server.request(Method::GET, "/v2/lists")).await.status, 400);
}
