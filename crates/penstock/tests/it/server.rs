//! A server for one test: on loopback, on a port and in a directory of its own, with the calls that tests make.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use dialects::auth::{KeyFile, sign_assertion};
use event::InstanceId;
use http::{HeaderMap, Method, StatusCode};
use penstock::config::Config;
use penstock::serve::{self, Parts, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::disk::SimDisk;

/// Allows nothing by itself but sending.
pub const INGESTION: &str = "https://www.googleapis.com/auth/malachite-ingestion";
/// Allows whatever the account's role does.
pub const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

pub const RAW: &str = "/v2/unstructuredlogentries:batchCreate";
pub const UDM: &str = "/v2/udmevents:batchCreate";
pub const ENTITIES: &str = "/v2/entities:batchCreate";

/// A running server and its directory, which lives as long as this does.
pub struct TestServer {
    pub server: Server,
    pub http: reqwest::Client,
    pub operator: String,
    pub instance: InstanceId,
    pub config: Config,
    dir: TempDir,
}

/// A reply, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What a request proves itself with.
#[derive(Debug, Clone)]
pub enum Credential {
    None,
    Bearer(String),
    /// `X-Goog-Api-Key`.
    KeyHeader(String),
    /// `?key=`.
    KeyQuery(String),
}

impl TestServer {
    /// With the default configuration.
    pub async fn start() -> TestServer {
        TestServer::with(|_| {}).await
    }

    /// With a configuration of its own.
    pub async fn with(adjust: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::open(None, adjust).await
    }

    /// With the log on a simulated disk.
    pub async fn on_disk(disk: &SimDisk, adjust: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::open(Some(disk), adjust).await
    }

    async fn open(disk: Option<&SimDisk>, adjust: impl FnOnce(&mut Config)) -> TestServer {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { data: dir.path().join("data"), ..Config::default() };
        config.listen.address.set_port(0);
        adjust(&mut config);
        TestServer::run(dir, config, disk).await
    }

    async fn run(dir: TempDir, config: Config, disk: Option<&SimDisk>) -> TestServer {
        let mut parts = Parts::default();
        if let Some(disk) = disk {
            parts.disk = Some(Arc::new(disk.clone()));
        }
        let server = Server::start(&config, parts).await.unwrap();
        let operator = server.control.operator_token().unwrap();
        let key_file: KeyFile =
            serde_json::from_slice(&std::fs::read(server.control.default_key_file()).unwrap()).unwrap();
        let instance = key_file.customer_id.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        TestServer { server, http, operator, instance, config, dir }
    }

    /// Stops it and starts another one in the same directory.
    pub async fn restart(self) -> TestServer {
        let TestServer { server, config, dir, .. } = self;
        server.stop().await;
        TestServer::run(dir, config, None).await
    }

    /// One in a stopped one's directory, with the default configuration.
    pub async fn again(dir: TempDir) -> TestServer {
        let mut config = Config { data: dir.path().join("data"), ..Config::default() };
        config.listen.address.set_port(0);
        TestServer::run(dir, config, None).await
    }

    /// One in a stopped one's directory, with a configuration of its own that names it.
    pub async fn start_in(dir: TempDir, config: Config) -> TestServer {
        TestServer::run(dir, config, None).await
    }

    /// Stops it; gives its directory.
    pub async fn stop(self) -> TempDir {
        self.server.stop().await;
        self.dir
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    /// A request as the operator, to be changed before it is sent with [`send`].
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.operator)
    }

    /// A request with another credential.
    pub fn request_as(&self, credential: &Credential, method: Method, path: &str) -> reqwest::RequestBuilder {
        let join = if path.contains('?') { '&' } else { '?' };
        match credential {
            Credential::None => self.http.request(method, self.url(path)),
            Credential::Bearer(token) => self.http.request(method, self.url(path)).bearer_auth(token),
            Credential::KeyHeader(key) => self.http.request(method, self.url(path)).header("x-goog-api-key", key),
            Credential::KeyQuery(key) => self.http.request(method, self.url(&format!("{path}{join}key={key}"))),
        }
    }

    /// Sends a body to an endpoint of the dialect as the operator.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        send(self.request(Method::POST, path).body(body)).await
    }

    /// Asks our own API as the operator; the answer must be a success.
    #[track_caller]
    pub fn api(&self, method: Method, path: &str, body: Option<Value>) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        async move {
            let reply = send(request).await;
            assert!(reply.status.is_success(), "{caller}: {} {}", reply.status, reply.text());
            reply.json()
        }
    }

    /// Asks our own API as the operator and reads the answer.
    pub async fn get(&self, path: &str) -> Value {
        self.api(Method::GET, path, None).await
    }

    /// Waits until the store has read all that is durable, which makes it searchable.
    pub async fn settled(&self) {
        let pipeline = &self.server.pipeline;
        until("the store has caught up", async || {
            pipeline.progress.offset() >= pipeline.log.status().durable_to.offset
        })
        .await;
    }

    /// The rows of a search by the operator, once everything is searchable; the last line is checked and left out. An
    /// empty query gives all raw logs.
    pub async fn search(&self, language: &str, query: &str) -> Vec<Value> {
        self.settled().await;
        let query = match query {
            "" => json!({ "language": "raw", "regex": ".", "limit": 100_000 }),
            query => json!({ "language": language, "query": query, "limit": 100_000 }),
        };
        let reply = send(self.request(Method::POST, "/api/search").json(&query)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        rows(&reply)
    }

    /// The texts of all raw logs with this in them, sorted.
    pub async fn texts(&self, with: &str) -> Vec<String> {
        let rows = self.search("raw", with).await;
        let mut texts: Vec<_> = rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
        texts.sort();
        texts
    }

    /// Makes an account.
    pub async fn account(&self, instance: InstanceId, role: &str) -> KeyFile {
        let body = json!({ "instance": instance.to_string(), "role": role });
        let made = self.api(Method::POST, "/api/accounts", Some(body)).await;
        serde_json::from_value(made["key_file"].clone()).unwrap()
    }

    /// An access token from the token endpoint, as Google's libraries get theirs.
    pub async fn token(&self, key_file: &KeyFile, scope: &str) -> String {
        let reply = self.grant(key_file, scope).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The token endpoint's reply.
    pub async fn grant(&self, key_file: &KeyFile, scope: &str) -> Reply {
        let assertion = sign_assertion(key_file, &self.url("/token"), scope, serve::now()).unwrap();
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = self.http.post(self.url("/token")).header("content-type", "application/x-www-form-urlencoded");
        send(request.body(form)).await
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub fn batch(&self) -> String {
        self.header("x-penstock-batch").to_owned()
    }

    pub fn is_repeat(&self) -> bool {
        self.header("x-penstock-repeat") == "true"
    }

    /// The message of an AIP-193 error, whose whole form is checked.
    #[track_caller]
    pub fn error(&self) -> String {
        assert!(self.body.len() < 4 << 10, "{} bytes: {}", self.body.len(), self.text());
        assert!(self.header("content-type").starts_with("application/json"), "{:?}", self.headers);
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], self.status.as_u16(), "{body}");
        assert!(error["status"].as_str().is_some_and(|status| !status.is_empty()), "{body}");
        error["message"].as_str().unwrap().to_owned()
    }
}

/// Sends a request and reads its reply.
pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

/// The rows of a search's reply.
#[track_caller]
pub fn rows(reply: &Reply) -> Vec<Value> {
    let mut rows: Vec<Value> = reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = rows.pop().unwrap();
    assert_eq!(last["done"], true, "{last}");
    assert_eq!(last["rows"], rows.len(), "{last}");
    rows
}

/// How far into the log a position is that stands in a JSON answer.
#[track_caller]
pub fn offset(position: &Value) -> u64 {
    position.as_str().unwrap().parse::<event::Position>().unwrap().offset
}

/// Waits for something that nobody announces. Panics after half a minute: the test has failed.
#[track_caller]
pub fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{caller}: waited in vain until {what}");
    }
}

/// A batch of raw logs without times.
pub fn raw_batch<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let entries: Vec<_> = texts.into_iter().map(|text| json!({ "log_text": text })).collect();
    json!({ "log_type": "OKTA", "entries": entries }).to_string()
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
