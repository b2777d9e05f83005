//! `penstock demo`: the Ingestion API document's own requests, sent to the running server as a sender would send them,
//! then found by search and delivered to a receiver that this command runs for as long as it takes.

pub mod oci;
pub mod records;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dialects::auth::{KeyFile, sign_assertion};
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::manage::segment;
use super::output::say;
use super::search::search;
use super::{CliError, Client, DemoArgs, Remote};
use crate::serve;

/// How long to wait for a record to be found or delivered.
const PATIENCE: Duration = Duration::from_secs(10);

const SCOPE: &str = "https://www.googleapis.com/auth/malachite-ingestion";

const UDM_EVENTS: &str = include_str!("demo/udmevents.json");
const ENTITIES: &str = include_str!("demo/entities.json");
const LOGS: &str = include_str!("demo/unstructuredlogentries.json");
const BROKEN_LOGS: &str = include_str!("demo/unstructuredlogentries_as_printed.txt");

pub async fn run(client: &Client, remote: &Remote, args: DemoArgs) -> Result<(), CliError> {
    let key_file = key_file(client, remote, &args).await?;
    let customer_id = key_file
        .customer_id
        .ok_or_else(|| CliError::Refused("the key file has no customer_id; use one that penstock made".to_owned()))?;
    let customer_id = customer_id.to_string();
    let token = access_token(client, &key_file).await?;
    say(&format!(
        "As {} (instance {customer_id}), with an access token from {}:\n",
        key_file.client_email, key_file.token_uri
    ));

    let receiver = Receiver::start().await?;
    let connector = format!("demo-{}", std::process::id());
    let is_local =
        client.base().contains("//127.") || client.base().contains("//localhost") || client.base().contains("//[::1]");

    // The broken one first: the last answer is what `status` judges a sender by.
    let refused = post(client, "/v2/unstructuredlogentries:batchCreate", &token, BROKEN_LOGS.to_owned()).await?;
    say(&format!(
        "  POST /v2/unstructuredlogentries:batchCreate, as the document prints it  {}",
        refused.status.as_u16()
    ));
    say(&format!("    {}", message_of(&refused.body)));
    let mut sent = Vec::new();
    for (path, body) in [
        ("/v2/udmevents:batchCreate", UDM_EVENTS),
        ("/v2/unstructuredlogentries:batchCreate", LOGS),
        ("/v2/entities:batchCreate", ENTITIES),
    ] {
        let body = body.replace("<customer UUID>", &customer_id);
        let reply = post(client, path, &token, body).await?;
        if !reply.status.is_success() {
            return Err(CliError::Refused(format!("POST {path} was refused: {}", reply.body)));
        }
        let again = if reply.is_repeat { "  (sent before: stored once)" } else { "" };
        say(&format!("  POST {path}  {} {}  batch {}{again}", reply.status.as_u16(), reply.body, reply.batch));
        sent.push(reply);
    }
    let log_types = client.http().get(format!("{}/v2/logtypes", client.base())).bearer_auth(&token).send().await;
    let log_types: Value = match log_types {
        Ok(response) => response.json().await.unwrap_or_default(),
        Err(error) => return Err(CliError::Refused(format!("GET /v2/logtypes failed: {error}"))),
    };
    let count = log_types["logTypes"].as_array().map_or(0, Vec::len);
    say(&format!("  GET /v2/logtypes  200, {count} log types\n"));

    // A connector reads the log. What an earlier demo sent may have left it since, all readers being done with it.
    let mut wanted = BTreeSet::new();
    for reply in &sent {
        let receipt = client.call(Method::GET, &format!("/api/receipts/{}", segment(&reply.batch)), None).await?;
        if receipt.pointer("/committed/in_log").and_then(Value::as_bool) == Some(true) {
            wanted.extend(reply.records());
        }
    }
    find(client, &customer_id).await?;
    if wanted.is_empty() {
        say(
            "  not delivered again: an earlier demo sent these, they are stored once, and their part of the log is gone",
        );
    } else if is_local {
        let result = deliver(client, &receiver, &connector, &customer_id, &wanted).await;
        let _ = client.call(Method::DELETE, &connector_path(&connector, &customer_id), None).await;
        result?;
    } else {
        say("Delivery is not shown: the server is on another machine and cannot reach a receiver here.");
    }
    say("\nDone. Where one of them is now:");
    let server =
        if client.base() == "http://127.0.0.1:8480" { String::new() } else { format!(" --server {}", client.base()) };
    say(&format!("  {} receipt {}{server}", serve::program(), sent[0].batch));
    Ok(())
}

async fn key_file(client: &Client, remote: &Remote, args: &DemoArgs) -> Result<KeyFile, CliError> {
    let path = match (&args.key_file, &remote.data) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(data)) => Some(data.join("keys/default.json")),
        (None, None) => Some(PathBuf::from("penstock-data/keys/default.json")).filter(|path| path.exists()),
    };
    if let Some(path) = path {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CliError::Refused(format!("cannot read the key file {}: {error}", path.display())))?;
        let key_file: KeyFile = serde_json::from_str(&text).map_err(|error| {
            CliError::Refused(format!("{} is no key file in Google's format: {error}", path.display()))
        })?;
        let is_of_this_server = key_file.token_uri.starts_with(client.base());
        if is_of_this_server || args.key_file.is_some() || remote.data.is_some() {
            return Ok(key_file);
        }
    }
    // No key file at hand: the operator can have one made.
    let made = client.call(Method::POST, "/api/accounts", Some(&json!({ "role": "ingest" }))).await?;
    serde_json::from_value(made["key_file"].clone())
        .map_err(|error| CliError::Refused(format!("the server's new key file cannot be read: {error}")))
}

async fn access_token(client: &Client, key_file: &KeyFile) -> Result<String, CliError> {
    let assertion = sign_assertion(key_file, &key_file.token_uri, SCOPE, serve::now())
        .map_err(|error| CliError::Refused(format!("the key file cannot sign: {error}")))?;
    let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let response = client
        .http()
        .post(&key_file.token_uri)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .map_err(|error| CliError::Unreachable(format!("no server answers at {}: {error}", key_file.token_uri)))?;
    let answer: Value = response.json().await.unwrap_or_default();
    answer["access_token"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| CliError::Refused(format!("no access token from {}: {answer}", key_file.token_uri)))
}

struct Reply {
    status: http::StatusCode,
    body: String,
    batch: String,
    is_repeat: bool,
    count: usize,
}

impl Reply {
    fn records(&self) -> Vec<String> {
        let Ok(batch) = self.batch.parse::<event::BatchId>() else { return Vec::new() };
        (0..u32::try_from(self.count).unwrap_or(0)).map(|index| batch.record(index).to_string()).collect()
    }
}

async fn post(client: &Client, path: &str, token: &str, body: String) -> Result<Reply, CliError> {
    let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
    let count = ["entries", "events", "entities"].iter().find_map(|name| parsed[name].as_array()).map_or(0, Vec::len);
    let response = client
        .http()
        .post(format!("{}{path}", client.base()))
        .bearer_auth(token)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .map_err(|error| CliError::Unreachable(format!("no server answers at {}: {error}", client.base())))?;
    let status = response.status();
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (batch, is_repeat) = (header(receive::handle::BATCH_HEADER), header("x-penstock-repeat") == "true");
    let body = response.text().await.unwrap_or_default();
    Ok(Reply { status, body, batch, is_repeat, count })
}

fn message_of(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    value.pointer("/error/message").and_then(Value::as_str).unwrap_or(body).to_owned()
}

async fn find(client: &Client, instance: &str) -> Result<(), CliError> {
    for (language, query) in [
        ("raw", "examplepetstore.com"),
        ("udm", "metadata.event_type = \"USER_LOGIN\" AND target.user.userid = \"mary@altostrat.com\""),
        ("udm", "ip = \"198.51.100.68\""),
        ("udm", "entity.user.userid = \"janedoe\""),
    ] {
        let body = json!({ "language": language, "query": query, "limit": 1, "instance": instance });
        let started = Instant::now();
        let row = loop {
            let mut row = None;
            search(client, &body, |line| row = Some(line.to_owned())).await?;
            if row.is_some() || started.elapsed() > PATIENCE {
                break row;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        match row {
            Some(row) => {
                let row: Value = serde_json::from_str(&row).unwrap_or_default();
                say(&format!(
                    "  found   search {language} '{query}'  record {}",
                    row["id"].as_str().unwrap_or_default()
                ));
            }
            None => {
                return Err(CliError::Refused(format!(
                    "search {language} '{query}' found nothing in {} s; `penstock status` says how far the store is",
                    PATIENCE.as_secs()
                )));
            }
        }
    }
    Ok(())
}

fn connector_path(name: &str, instance: &str) -> String {
    format!("/api/connectors/{}?instance={}", segment(name), segment(instance))
}

async fn deliver(
    client: &Client,
    receiver: &Receiver,
    name: &str,
    instance: &str,
    wanted: &BTreeSet<String>,
) -> Result<(), CliError> {
    // From the oldest, since the requests may have been sent by an earlier demo; only their log types.
    let connector = json!({
        "name": name,
        "instance": instance,
        "start": "oldest",
        "source": { "log_types": ["UDM", "BIND_DNS", "AZURE_AD_CONTEXT"] },
        "target": { "type": "http", "url": receiver.url, "batch_wait_ms": 100 },
    });
    client.call(Method::POST, "/api/connectors", Some(&connector)).await?;
    let started = Instant::now();
    loop {
        let missing = {
            let seen = receiver.seen.lock().expect("no code panics while it holds this lock");
            wanted.iter().filter(|id| !seen.contains(*id)).count()
        };
        if missing == 0 {
            break;
        }
        if started.elapsed() > PATIENCE {
            return Err(CliError::Refused(format!(
                "{missing} of {} records did not arrive at {} in {} s; `penstock connector list` says why",
                wanted.len(),
                receiver.url,
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say(&format!("  delivered  {} records to {}", wanted.len(), receiver.url));
    Ok(())
}

/// A third party of our own: takes batches and remembers the ids in them.
struct Receiver {
    url: String,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Receiver {
    async fn start() -> Result<Receiver, CliError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|error| CliError::Refused(format!("cannot listen on this machine: {error}")))?;
        let address = listener.local_addr().map_err(|error| CliError::Refused(error.to_string()))?;
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let remembered = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let remembered = Arc::clone(&remembered);
                let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                    let remembered = Arc::clone(&remembered);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let elements: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
                        let ids = elements.iter().filter_map(|element| element["id"].as_str().map(str::to_owned));
                        remembered.lock().expect("no code panics while it holds this lock").extend(ids);
                        Ok::<_, hyper::Error>(http::Response::new(Full::<bytes::Bytes>::default()))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Receiver { url: format!("http://{address}/"), seen })
    }
}
