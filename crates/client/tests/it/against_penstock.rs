//! The examples of seed 000, one by one, and the spool, against a whole Penstock server in this process: what the client
//! is told, and what was stored, byte for byte and with its times.

use std::future::Future as _;
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use penstock::config::Config;
use penstock::serve::{self, Parts, Server};
use penstock_client::{
    Chronicle, Credentials, CredentialsError, Error, RetryPolicy, SecOpsClient, Spool, SpoolError, SpoolOptions, Time,
    Who,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::seed::{okta_log, udm_event};

/// A running server and what belongs to it. Stopped and started it keeps its address, as a server of one's own would.
struct Penstock {
    server: Option<Server>,
    config: Config,
    /// The key file of the account that a new server makes: role admin.
    key: String,
    http: reqwest::Client,
    _dir: TempDir,
}

impl Penstock {
    async fn start() -> Penstock {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { data: dir.path().join("data"), ..Config::default() };
        config.listen.address.set_port(0);
        let server = Server::start(&config, Parts::default()).await.unwrap();
        config.listen.address.set_port(server.address.port());
        let key = std::fs::read_to_string(server.control.default_key_file()).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Penstock { server: Some(server), config, key, http, _dir: dir }
    }

    async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    async fn start_again(&mut self) {
        self.server = Some(Server::start(&self.config, Parts::default()).await.unwrap());
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn credentials(&self) -> Credentials {
        Credentials::json(&self.key).unwrap()
    }

    fn customer(&self) -> String {
        self.credentials().customer_id().unwrap()
    }

    fn chronicle(&self) -> Chronicle {
        self.chronicle_with(self.credentials(), &self.customer())
    }

    /// Gives up at the first failure, so that a test sees it.
    fn chronicle_with(&self, credentials: Credentials, customer: &str) -> Chronicle {
        let client = SecOpsClient::builder()
            .credentials(credentials)
            .base_url(format!("http://{}", self.config.listen.address))
            .proxies(false)
            .retry(RetryPolicy::never());
        client.build().unwrap().chronicle(customer, "your-project-id", "us").unwrap()
    }

    /// Asks the server's own API as its operator.
    async fn api(&self, path: &str, body: Option<&Value>) -> String {
        let url = format!("{}{path}", self.server().url);
        let request = match body {
            Some(body) => self.http.post(url).json(body),
            None => self.http.get(url),
        };
        let token = self.server().control.operator_token().unwrap();
        let response = request.bearer_auth(token).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    /// The rows that a search gives, once all that is durable can be found; oldest first.
    async fn search(&self, search: Value) -> Vec<Value> {
        let pipeline = &self.server().pipeline;
        let settled = tokio::time::timeout(Duration::from_secs(30), async {
            while pipeline.progress.offset() < pipeline.log.status().durable_to.offset {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        settled.await.expect("the store follows the log");
        let text = self.api("/api/search", Some(&search)).await;
        let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.pop().unwrap()["done"], true);
        rows.reverse();
        rows
    }

    /// All raw logs.
    async fn logs(&self) -> Vec<Value> {
        self.search(json!({"language": "raw", "regex": "(?s).*", "limit": 100_000})).await
    }

    /// Log type and text of all raw logs, sorted.
    async fn texts(&self) -> Vec<(String, String)> {
        let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let rows = self.logs().await;
        let mut texts: Vec<_> = rows.iter().map(|row| (word(row, "log_type"), word(row, "text"))).collect();
        texts.sort();
        texts
    }

    /// What an operation's receipt says, which is asked for by the batch id in its name.
    async fn receipt(&self, operation: &str) -> Value {
        let batch = operation.strip_prefix("operations/").unwrap();
        serde_json::from_str(&self.api(&format!("/api/receipts/{batch}"), None).await).unwrap()
    }
}

fn time(value: &Value) -> Time {
    value.as_str().unwrap().parse().unwrap()
}

fn owned<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    texts.into_iter().map(|(log_type, text)| (log_type.to_owned(), text.to_owned())).collect()
}

#[tokio::test]
async fn log_ingestion() {
    let penstock = Penstock::start().await;
    let before = serve::now();
    let result = penstock.chronicle().ingest_log("OKTA", okta_log()).await.unwrap();
    let after = serve::now();

    let [row] = &penstock.logs().await[..] else { panic!("one log is one row") };
    assert_eq!((&row["text"], &row["log_type"]), (&json!(okta_log()), &json!("OKTA")));
    assert!((before..=after).contains(&time(&row["sender_time"])), "{row}");
    assert_eq!(row["sender"], penstock.credentials().account());
    let operation = result.operation.unwrap();
    assert_eq!(operation, format!("operations/{}", row["batch"].as_str().unwrap()));
    assert!(!result.repeat);
    let receipt = penstock.receipt(&operation).await;
    assert_eq!((&receipt["records_total"], &receipt["log_type"]), (&json!(1), &json!("OKTA")), "{receipt}");

    // A log need not be text.
    let bytes = b"\x00\xff\r\n\xc3(".to_vec();
    penstock.chronicle().ingest_log("OKTA", bytes.clone()).await.unwrap();
    let rows = penstock.logs().await;
    use base64::Engine as _;
    assert_eq!(rows[1]["data_base64"], base64::engine::general_purpose::STANDARD.encode(bytes), "{}", rows[1]);
}

#[tokio::test]
async fn udm_ingestion_as_printed() {
    let penstock = Penstock::start().await;
    let result = penstock.chronicle().ingest_udm(&udm_event()).await.unwrap();
    // A single address where the schema has a list is found as one of the list.
    let rows = penstock.search(json!({"language": "udm", "query": "principal.ip = \"192.168.1.100\""})).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let mut stored = row["udm"].clone();
    let id = stored["metadata"].as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(stored, udm_event(), "but for the id that it lacked, it is what was sent, its event_id included");
    assert_eq!(id.as_str().unwrap().len(), 24, "{id}");
    assert_eq!(row["event_time"], "2026-11-21T21:00:00Z");
    assert_eq!(penstock.receipt(&result.operation.unwrap()).await["records"][0]["store"]["state"], "stored");
}

#[tokio::test]
async fn batch_ingestion() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let logs = [("OKTA", "okta_log1"), ("BIND_DNS", "dns_log"), ("OKTA", "okta_log2"), ("OKTA", "okta_log2")];
    let result = chronicle.ingest_logs_batch(logs).await.unwrap();
    assert_eq!((result.count(), result.accepted.len()), (4, 2));
    assert_eq!(result.accepted.iter().map(|request| &request.items[..]).collect::<Vec<_>>(), [&[0, 2, 3][..], &[1]]);
    let mut expected = owned(logs);
    expected.sort();
    assert_eq!(penstock.texts().await, expected, "two logs that read the same are two");
    for accepted in &result.accepted {
        let receipt = penstock.receipt(accepted.operation.as_deref().unwrap()).await;
        assert_eq!(receipt["log_type"], accepted.log_type);
        assert_eq!(receipt["records_total"], accepted.items.len());
    }

    let events = [udm_event(), udm_event(), udm_event()];
    let result = chronicle.ingest_udm_batch(&events).await.unwrap();
    assert_eq!((result.count(), result.accepted.len()), (3, 1));
    let rows = penstock.search(json!({"language": "udm", "query": "metadata.event_type = \"USER_LOGIN\""})).await;
    assert_eq!(rows.len(), 3, "three events are three, even if they read the same");
}

#[tokio::test]
async fn entities() {
    let penstock = Penstock::start().await;
    let entity = json!({
        "metadata": {"entity_type": "USER", "collected_timestamp": "2026-11-21T21:00:00Z"},
        "entity": {"user": {"userid": "johndoe", "product_object_id": "dev google"}},
    });
    let result = penstock.chronicle().import_entities("OKTA", [&entity]).await.unwrap();
    let rows = penstock.search(json!({"language": "udm", "query": "entity.user.userid = \"johndoe\""})).await;
    assert_eq!((rows.len(), &rows[0]["entity"], &rows[0]["log_type"]), (1, &entity, &json!("OKTA")));
    assert_eq!(penstock.receipt(result.operations().next().unwrap()).await["kind"], "entity");
}

#[tokio::test]
async fn forwarder_management() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    assert_eq!(chronicle.list_forwarders().await.unwrap(), []);
    for log_type in ["CUSTOM_LOG_TYPE", "WINDOWS_EVENT_LOG"] {
        let error = chronicle.ingest_log(log_type, "too early").await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
    }

    let new_forwarder = chronicle.create_forwarder("My Custom Forwarder", "CUSTOM_LOG_TYPE").await.unwrap();
    assert_eq!(new_forwarder.display_name, "My Custom Forwarder");
    assert!(new_forwarder.name.starts_with(&format!("{}/forwarders/", chronicle.name())), "{new_forwarder:?}");
    let collectors = chronicle.list_collectors(new_forwarder.id()).await.unwrap();
    assert_eq!(collectors.iter().map(|collector| collector.log_type()).collect::<Vec<_>>(), ["CUSTOM_LOG_TYPE"]);

    let forwarder = chronicle.get_or_create_forwarder("WINDOWS_EVENT_LOG").await.unwrap();
    assert_eq!(chronicle.get_or_create_forwarder("WINDOWS_EVENT_LOG").await.unwrap().name, forwarder.name);
    assert_eq!(chronicle.get_or_create_forwarder("CUSTOM_LOG_TYPE").await.unwrap().name, new_forwarder.name);
    let mut names: Vec<String> =
        chronicle.list_forwarders().await.unwrap().into_iter().map(|forwarder| forwarder.name).collect();
    let mut expected = vec![new_forwarder.name.clone(), forwarder.name.clone()];
    names.sort();
    expected.sort();
    assert_eq!(names, expected);

    // Both types are the instance's own now, and its logs are taken, through the forwarder or past it.
    let own = ["CUSTOM_LOG_TYPE", "WINDOWS_EVENT_LOG"];
    let log_types = chronicle.list_log_types().await.unwrap();
    assert_eq!(own.iter().find(|own| log_types.iter().all(|log_type| log_type.name != **own)), None);
    chronicle.ingest_log("CUSTOM_LOG_TYPE", "custom").forwarder(new_forwarder.id()).await.unwrap();
    chronicle.ingest_log("WINDOWS_EVENT_LOG", "<Event/>").await.unwrap();
    let expected = owned([("CUSTOM_LOG_TYPE", "custom"), ("WINDOWS_EVENT_LOG", "<Event/>")]);
    assert_eq!(penstock.texts().await, expected);
    let feed = &penstock.logs().await[0]["feed"];
    assert!(feed.as_str().unwrap().contains(new_forwarder.id()), "{feed}");

    let renamed = chronicle.update_forwarder(forwarder.id()).display_name("Windows").await.unwrap();
    assert_eq!((renamed.display_name.as_str(), &renamed.name), ("Windows", &forwarder.name));
    assert_eq!(chronicle.get_forwarder(forwarder.id()).await.unwrap(), renamed);
    chronicle.delete_forwarder(forwarder.id()).await.unwrap();
    let error = chronicle.get_forwarder(forwarder.id()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
}

#[tokio::test]
async fn log_types() {
    let penstock = Penstock::start().await;
    let log_types = penstock.chronicle().list_log_types().await.unwrap();
    // More than one page has.
    assert!(log_types.len() > 1_000, "{}", log_types.len());
    let described = |name: &str| log_types.iter().find(|log_type| log_type.name == name).unwrap().description.clone();
    assert_eq!((described("OKTA").as_str(), described("BIND_DNS").as_str()), ("Okta", "BIND"));
    let mut names: Vec<&str> = log_types.iter().map(|log_type| log_type.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), log_types.len(), "each is listed once");
}

#[tokio::test]
async fn custom_timestamps() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let result = chronicle
        .ingest_log("OKTA", okta_log())
        .entry_timestamp("2023-01-01T12:00:00Z")
        .collection_timestamp("2023-01-01T12:05:00Z")
        .namespace("corp")
        .label("site", "Zürich")
        .await;
    assert!(result.unwrap().operation.is_some());
    let rows = penstock.logs().await;
    let row = &rows[0];
    assert_eq!((&row["event_time"], &row["sender_time"]), (&json!("2023-01-01T12:00:00Z"), &row["event_time"]));
    assert_eq!((&row["text"], &row["namespace"]), (&json!(okta_log()), &json!("corp")));
    let label = &row["labels"][0];
    assert_eq!((&label["key"], &label["value"]), (&json!("site"), &json!("Zürich")), "{row}");
}

#[tokio::test]
async fn error_handling() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();

    let error = chronicle.ingest_log("OKTAA", okta_log()).await.unwrap_err();
    assert_eq!(error.who(), Who::Caller);
    let [violation] = error.violations() else { panic!("{error:?}") };
    assert_eq!((violation.field.as_str(), violation.item), ("log_type", None));
    assert!(error.to_string().contains("nearest: OKTA"), "Ingestion failed: {error}");

    let foreign = "0b7c1d2e-0000-4000-8000-000000000002";
    let error = penstock.chronicle_with(penstock.credentials(), foreign).ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(&error, Error::PermissionDenied(refusal) if refusal.status == 403), "{error:?}");
    assert!(error.to_string().contains(foreign) && error.who() == Who::Operator, "{error}");

    let stranger = penstock.chronicle_with(Credentials::bearer("nobody's"), &penstock.customer());
    let error = stranger.ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(error, Error::Credentials(CredentialsError::Rejected { .. })), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("nobody's"), "{error:?}");

    // A key that ended. The client had no token yet, so the token endpoint is who says so.
    penstock.server().control.disable_account(penstock.credentials().account(), serve::now()).unwrap();
    let error = penstock.chronicle().ingest_log("OKTA", "x").await.unwrap_err();
    let Error::Credentials(CredentialsError::NoToken { error: word, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(word, "invalid_grant");
    // The token that the client already had ends with it.
    let error = chronicle.ingest_log("OKTA", "x").await.unwrap_err();
    assert!(matches!(error, Error::Credentials(_)), "{error:?}");

    assert_eq!(penstock.logs().await, Vec::<Value>::new(), "nothing of it was stored");
}

#[tokio::test]
async fn a_bad_item_among_good_ones_is_named_as_the_caller_counts() {
    let penstock = Penstock::start().await;
    // One event to a request, so that what is item 0 there is another one here.
    let client = SecOpsClient::builder()
        .credentials(penstock.credentials())
        .base_url(&penstock.server().url)
        .proxies(false)
        .body_records_max(2);
    let chronicle = client.build().unwrap().chronicle(&penstock.customer(), "p", "us").unwrap();
    let mut bad = udm_event();
    bad["metadata"]["event_timestamp"] = json!("soon");
    let events = [udm_event(), udm_event(), udm_event(), bad, udm_event()];
    let error = chronicle.ingest_udm_batch(&events).await.unwrap_err();
    let Error::Partial(partial) = &error else { panic!("{error:?}") };
    let accepted: Vec<usize> = partial.accepted.iter().flat_map(|request| request.items.clone()).collect();
    assert_eq!((accepted, &partial.failed[0].items), (vec![0, 1, 4], &vec![2, 3]));
    let [violation] = partial.failed[0].error.violations() else { panic!("{error:?}") };
    assert_eq!(violation.item, Some(3));
    assert_eq!(violation.field, "inline_source.events[1].udm.metadata.event_timestamp");
    assert_eq!(penstock.search(json!({"language": "udm", "query": "ip = \"192.168.1.100\""})).await.len(), 3);

    // A time that a log cannot have is found by the client, labels that the receiver does not take by the receiver.
    let long = "x".repeat(100_000);
    let logs = ["fine", "not fine"]
        .map(|text| penstock_client::LogEntry::new("OKTA", text).label("key", if text == "fine" { "" } else { &long }));
    let error = penstock.chronicle().ingest_logs_batch(logs).await.unwrap_err();
    assert_eq!(error.violations()[0].item, Some(1), "{error:?}");
    assert!(error.violations()[0].field.starts_with("inline_source.logs[1].labels"), "{error:?}");
    assert_eq!(penstock.logs().await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_same_request_again_is_stored_once_and_said_to_be_there() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let send = || {
        let at = "2026-11-21T21:00:00Z";
        chronicle.ingest_log("OKTA", "once").entry_timestamp(at).collection_timestamp(at)
    };
    let (first, second) = (send().await.unwrap(), send().await.unwrap());
    assert_eq!((first.repeat, second.repeat), (false, true));
    assert_eq!(first.operation, second.operation, "both are told of the batch that was stored");
    assert_eq!(penstock.logs().await.len(), 1);
}

/// What `push` made durable, as the server stores it.
fn spooled(numbers: std::ops::Range<usize>) -> Vec<(String, String)> {
    let log = |number: usize| (["OKTA", "BIND_DNS"][number % 2].to_owned(), format!("spooled {number:04}"));
    let mut logs: Vec<_> = numbers.map(log).collect();
    logs.sort();
    logs
}

#[tokio::test]
async fn what_is_spooled_while_the_server_is_away_arrives_once() {
    let mut penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let dir = tempfile::tempdir().unwrap();
    let open = || Spool::open(dir.path(), &chronicle, SpoolOptions::default());
    penstock.stop().await;

    // Nobody is there: everything is kept, also when the producer ends and starts again.
    let spool = open().await.unwrap();
    spool.push_logs(spooled(0..300)).await.unwrap();
    assert!(spool.drain().await.unwrap_err().is_transient());
    drop(spool);
    let spool = open().await.unwrap();
    spool.push_logs(spooled(300..400)).await.unwrap();
    assert!(spool.drain().await.unwrap_err().is_transient());
    assert_eq!(spool.status().await.unwrap().records, 400);
    drop(spool);

    penstock.start_again().await;
    let spool = open().await.unwrap();
    let drained = spool.drain().await.unwrap();
    assert_eq!((drained.records, drained.refused.len()), (400, 0));
    assert_eq!(penstock.texts().await, spooled(0..400));
    assert_eq!(spool.status().await.unwrap().bytes, 0);
}

/// A step on the disk that had begun goes on for a moment after its producer was dropped, as it would not after a kill.
async fn open_once_free(dir: &Path, chronicle: &Chronicle) -> Spool {
    loop {
        match Spool::open(dir, chronicle, SpoolOptions::default()).await {
            Err(Error::Spool(SpoolError::Locked(_))) => tokio::time::sleep(Duration::from_millis(1)).await,
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_producer_that_ends_while_it_sends_loses_and_doubles_nothing() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let dir = tempfile::tempdir().unwrap();
    let (mut sent, mut rounds) = (0, 0);
    // Each round sends one step further than the last before it is dropped at an await, whatever it was doing: writing
    // to disk, connecting, waiting for the reply to what the server already has.
    while sent < 200 {
        rounds += 1;
        let spool = open_once_free(dir.path(), &chronicle).await;
        spool.push_logs(spooled(sent..sent + 4)).await.unwrap();
        sent += 4;
        let mut drain = std::pin::pin!(spool.drain());
        for _ in 0..rounds % 25 {
            let polled = drain.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(result) = polled {
                result.unwrap();
                break;
            }
            // Gives the rest of the world a turn: the server's tasks and the spool's threads.
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
    let spool = open_once_free(dir.path(), &chronicle).await;
    let drained = spool.drain().await.unwrap();
    assert!(drained.records > 0 && drained.refused.is_empty(), "{drained:?}");
    assert_eq!(penstock.texts().await, spooled(0..200));
}

#[tokio::test]
async fn what_the_server_refuses_stays_in_the_spool_until_it_takes_it() {
    let penstock = Penstock::start().await;
    let chronicle = penstock.chronicle();
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), &chronicle, SpoolOptions::default()).await.unwrap();
    spool.push_logs([("OKTA", "taken"), ("MY_OWN_TYPE", "early"), ("OKTA", "taken too")]).await.unwrap();
    let drained = spool.drain().await.unwrap();
    assert_eq!((drained.records, drained.refused.len()), (2, 1));
    assert!(drained.refused[0].why.contains("MY_OWN_TYPE"), "{drained:?}");
    // Once the type is known, the same request is taken.
    chronicle.get_or_create_forwarder("MY_OWN_TYPE").await.unwrap();
    assert_eq!(spool.requeue_refused().await.unwrap(), 1);
    assert_eq!(spool.drain().await.unwrap().records, 1);
    let expected = owned([("MY_OWN_TYPE", "early"), ("OKTA", "taken"), ("OKTA", "taken too")]);
    assert_eq!(penstock.texts().await, expected);
}
