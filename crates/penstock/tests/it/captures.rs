//! Every captured call of a real client of Google's APIs, replayed against a whole server.
//!
//! A capture is one call of a client: the requests that it made, in order, and what a stand-in for Google answered. Each
//! file is named here once, with what becomes of it. Replayed requests are what the client sent, but for what cannot be
//! the same: the server, its credentials, and the ids of what must exist for the call. What was stored is compared with
//! what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

use base64::Engine as _;
use event::{BatchId, Kind};
use http::Method;
use penstock::config::Metadata;
use search::Wanted;
use serde_json::{Value, json};

use crate::server::{Credential, Reply, TestServer, send};

/// What becomes of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Every request of it succeeds.
    Replayed,
    /// Its last request is answered with this status, those before succeed.
    Ends(u16),
    /// What it asks for is not served: its last request is answered with 501.
    OutOfScope(&'static str),
}

use Fate::{Ends, OutOfScope, Replayed};

const EXPORT: Fate = OutOfScope("data export");
const PIPELINE: Fate = OutOfScope("log processing pipelines");

/// Every capture. A file that is not here fails the test, and so does a line without a file.
const CAPTURES: &[(&str, Fate)] = &[
    ("activate_parser", Replayed),
    ("activate_parser_extension", Replayed),
    ("activate_rc_parser", Replayed),
    ("adc_gce_metadata", Replayed),
    ("adc_impersonate", Replayed),
    ("adc_sa_file", Replayed),
    ("apisamples_forwarders_create_forwarder", Replayed),
    ("apisamples_ingestion_create_entities", Replayed),
    ("apisamples_ingestion_create_udm_events", Replayed),
    ("apisamples_ingestion_create_unstructured_log_entries", Replayed),
    ("apisamples_ingestion_list_log_types", Replayed),
    ("apisamples_ingestion_v1alpha_create_udm_events", Replayed),
    ("apisamples_search_udm_search", Replayed),
    ("associate_streams", PIPELINE),
    ("cancel_data_export", EXPORT),
    ("chroniclecli_collectors_delete", Replayed),
    ("chroniclecli_collectors_get", Replayed),
    ("chroniclecli_collectors_list", Replayed),
    ("chroniclecli_feeds_list", Replayed),
    ("chroniclecli_forwarders_create", Replayed),
    ("chroniclecli_forwarders_delete", Replayed),
    ("chroniclecli_forwarders_get", Replayed),
    ("chroniclecli_forwarders_list", Replayed),
    ("chroniclecli_forwarders_update", Replayed),
    ("chroniclecli_generate_files", Replayed),
    ("classify_logs", Replayed),
    ("cli_classify", Replayed),
    ("cli_export_types", EXPORT),
    ("cli_feed_list", Replayed),
    ("cli_forwarder_create", Replayed),
    ("cli_forwarder_list", Replayed),
    ("cli_log_ingest", Replayed),
    ("cli_log_ingest_udm", Replayed),
    ("cli_log_types", Replayed),
    ("cli_parser_list", Replayed),
    ("cli_raw", Replayed),
    ("cli_search", Replayed),
    ("copy_parser", Replayed),
    ("create_data_export", EXPORT),
    ("create_data_export_all", EXPORT),
    ("create_feed", Replayed),
    ("create_forwarder_full", Replayed),
    ("create_forwarder_min", Replayed),
    ("create_parser_extension", Replayed),
    ("create_pipeline", PIPELINE),
    ("deactivate_parser", Replayed),
    ("delete_feed", Replayed),
    ("delete_forwarder", Replayed),
    ("delete_parser", Replayed),
    ("delete_parser_extension", Replayed),
    ("disable_feed", Replayed),
    ("enable_feed", Replayed),
    // The stand-in was told to fail; the requests are good ones.
    ("err_400", Replayed),
    ("err_401_then_ok", Replayed),
    ("err_403", Replayed),
    ("err_429_retryafter_then_ok", Replayed),
    ("err_503_x2_then_ok", Replayed),
    ("fetch_available_log_types", EXPORT),
    ("fetch_parser_candidates", Replayed),
    ("fetch_sample_logs", PIPELINE),
    ("fetch_udm_search_csv", Replayed),
    ("fetch_udm_search_view", Replayed),
    ("find_udm_field_values", Replayed),
    ("generate_secret", Replayed),
    ("generate_udm_kv", Replayed),
    ("get_all_log_types", Replayed),
    ("get_all_log_types_page", Replayed),
    ("get_data_export", EXPORT),
    ("get_feed", Replayed),
    ("get_forwarder", Replayed),
    ("get_forwarder_404", Ends(404)),
    ("get_or_create_forwarder_default", Replayed),
    ("get_or_create_forwarder_named", Replayed),
    ("get_parser", Replayed),
    ("get_parser_extension", Replayed),
    ("import_entities", Replayed),
    ("ingest_log_custom_time", Replayed),
    // A log type that nobody declared: refused, with the nearest names.
    ("ingest_log_force_type", Ends(400)),
    ("ingest_log_full_fwd_name", Replayed),
    ("ingest_log_list_ns_labels", Replayed),
    ("ingest_log_multi_string_split", Replayed),
    ("ingest_log_single", Replayed),
    ("ingest_log_single_again", Replayed),
    ("ingest_udm_list_no_ids", Replayed),
    ("ingest_udm_seed_example", Replayed),
    ("ingestion_scripts_v1beta", Replayed),
    // It ends with a look at a list that nobody made.
    ("ingestion_scripts_v2", Ends(404)),
    ("list_data_export", EXPORT),
    ("list_feeds", Replayed),
    ("list_forwarders", Replayed),
    // Its page token is the stand-in's.
    ("list_forwarders_page", Ends(400)),
    ("list_parser_extensions", Replayed),
    ("list_parsers", Replayed),
    ("list_parsers_all", Replayed),
    ("list_pipelines", PIPELINE),
    ("logstory_legacy_entities", Replayed),
    ("logstory_legacy_events", Replayed),
    ("logstory_rest_netanalysis", Replayed),
    ("ok_201_json", Replayed),
    ("ok_204_empty", Replayed),
    ("ok_empty_body", Replayed),
    ("proxy_connect_sdk", Replayed),
    // Its extension is a stand-in that no program is.
    ("run_parser", Ends(400)),
    ("run_parser_noext", Replayed),
    ("search_raw_logs", Replayed),
    ("search_udm", Replayed),
    ("seed001_httplib2_local", Replayed),
    ("seed001_httplib2_proxy", Replayed),
    ("seed_list_forwarders_iter", Replayed),
    ("session_param", Replayed),
    ("test_pipeline", PIPELINE),
    ("update_data_export", EXPORT),
    ("update_feed", Replayed),
    ("update_forwarder", Replayed),
    ("update_forwarder_mask", Replayed),
    ("validate_query", Replayed),
];

/// The instance of most captures.
const INSTANCE: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";

/// Where they lie: beside the dialect that most of them speak.
fn captures() -> BTreeMap<String, PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dialects/src/chronicle_api/captures");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

#[test]
fn every_capture_is_named() {
    let found: BTreeSet<String> = captures().into_keys().collect();
    let named: BTreeSet<String> = CAPTURES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "files without a line");
    assert_eq!(named.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "lines without a file");
    assert_eq!(named.len(), CAPTURES.len(), "a file has two lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_capture_is_answered_as_its_client_needs() {
    let world = World::start().await;
    let files = captures();
    let mut failures = Vec::new();
    for (name, fate) in CAPTURES {
        let records: Vec<Value> = serde_json::from_slice(&std::fs::read(&files[*name]).unwrap()).unwrap();
        let requests: Vec<&Value> = records.iter().filter(|record| record["path"].is_string()).collect();
        let mut names = Names { is_made: *fate != Ends(404), ours: BTreeMap::new(), next_page: None };
        for (index, request) in requests.iter().enumerate() {
            let is_last = request_is_last(&requests, index);
            let expected = match fate {
                Ends(status) if is_last => *status,
                OutOfScope(_) if is_last => 501,
                _ => 200,
            };
            let what = format!("{name}[{index}] {} {}", request["method"], request["path"]);
            let reply = world.replay(request, &mut names).await;
            let outcome = match expected {
                _ if reply.status != expected => {
                    Err(format!("{} instead of {expected}: {}", reply.status, reply.text()))
                }
                400.. => {
                    reply.error();
                    Ok(())
                }
                _ => world.check(request, &reply).await,
            };
            failures.extend(outcome.err().map(|failure| format!("{what}: {failure}")));
        }
    }
    world.server.stop().await;
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Google's library asks where an account may be used beside the call itself, before or after it.
fn is_side_call(request: &Value) -> bool {
    request["path"].as_str().unwrap().ends_with("/allowedLocations")
}

fn request_is_last(requests: &[&Value], index: usize) -> bool {
    !is_side_call(requests[index]) && requests[index + 1..].iter().all(|request| is_side_call(request))
}

/// Ids of a capture and what they are here.
struct Names {
    /// Whether what the capture names is made when it is first met.
    is_made: bool,
    ours: BTreeMap<String, String>,
    /// The token of the next page of the list that was asked for last.
    next_page: Option<String>,
}

struct World {
    server: TestServer,
    credential: Credential,
    key_file: dialects::auth::KeyFile,
}

impl World {
    async fn start() -> World {
        // The account of the metadata listener must be there when that starts.
        let server = TestServer::start().await;
        let instance = json!({ "id": INSTANCE, "name": "captured", "project": "proj" });
        server.api(Method::POST, "/api/instances", Some(instance)).await;
        let account = server.account(INSTANCE.parse().unwrap(), "admin").await.client_email;
        let mut config = server.config.clone();
        config.listen.metadata = Some(Metadata { address: ([127, 0, 0, 1], 0).into(), account });
        let server = TestServer::start_in(server.stop().await, config).await;
        let key_file = server.account(INSTANCE.parse().unwrap(), "admin").await;
        let token = server.token(&key_file, crate::server::CLOUD).await;
        let world = World { server, credential: Credential::Bearer(token), key_file };
        // Lists that are not empty.
        world.make("forwarders/", "").await;
        world.make("feeds/", "").await;
        world
    }

    /// Sends what was captured.
    async fn replay(&self, request: &Value, names: &mut Names) -> Reply {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let path = self.ours(text("path"), names).await;
        if path == "/token" {
            return self.server.grant(&self.key_file, text_of(&request["jwt_claims"]["scope"])).await;
        }
        let mut query = text("raw_query").to_owned();
        // A client that goes on to the next page goes on with our token.
        if let (Some((before, _)), Some(next)) = (query.split_once("pageToken="), &names.next_page) {
            query = format!("{before}pageToken={next}");
        }
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let method: Method = text("method").parse().unwrap();
        let mut sent = match target.starts_with("/computeMetadata/") || target == "/" {
            true => {
                let address = self.server.server.metadata.expect("the metadata listener is on");
                self.server.http.request(method, format!("http://{address}{target}"))
            }
            false => self.server.request_as(&self.credential, method, &target),
        };
        let headers = request["headers"].as_object();
        for (name, value) in headers.into_iter().flatten() {
            let kept = ["content-type", "accept", "user-agent", "x-goog-api-client", "metadata-flavor"];
            if kept.contains(&name.to_ascii_lowercase().as_str()) {
                sent = sent.header(name.as_str(), text_of(value));
            }
        }
        if !request["json"].is_null() {
            let body = self.ours(&whole(&request["json"]).to_string(), names).await;
            sent = sent.body(body);
        }
        let reply = send(sent).await;
        let body = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
        if !is_side_call(request) {
            names.next_page = body["nextPageToken"].as_str().map(str::to_owned);
        }
        reply
    }

    /// The text with the capture's ids replaced by ours; what they name is made.
    async fn ours(&self, text: &str, names: &mut Names) -> String {
        let mut out = text
            .replace("/instances/c1/", &format!("/instances/{INSTANCE}/"))
            .replace("/instances/c8/", &format!("/instances/{INSTANCE}/"))
            .replace(r#""customer_id":"c8""#, &format!(r#""customer_id":"{INSTANCE}""#))
            .replace(r#""customerId":"c8""#, &format!(r#""customerId":"{INSTANCE}""#))
            .replace("target@p.iam.gserviceaccount.com", &self.key_file.client_email)
            .replace("ingest@proj.iam.gserviceaccount.com", &self.key_file.client_email);
        for (collection, stop) in
            [("forwarders/", 36), ("collectors/", 36), ("feeds/", 2), ("parsers/", 4), ("parserExtensions/", 2)]
        {
            let mut at = 0;
            while let Some(found) = out[at..].find(collection) {
                let start = at + found + collection.len();
                let Some(id) = out.get(start..start + stop).map(str::to_owned) else { break };
                at = start;
                let is_id = match stop {
                    36 => uuid::Uuid::parse_str(&id).is_ok(),
                    _ => ["f1", "pa_1", "e1"].contains(&id.as_str()),
                };
                // Bindplane's forwarders exist nowhere, and one capture asks for one that does not.
                if !names.is_made
                    || !is_id
                    || id.starts_with("aaaa1111")
                    || names.ours.get(&id).is_some_and(|ours| *ours == id)
                {
                    continue;
                }
                let ours = match names.ours.get(&id) {
                    Some(ours) => ours.clone(),
                    None => {
                        let above = out[..start].rsplit_once("forwarders/");
                        let forwarder = above.and_then(|(_, rest)| rest.get(..36)).unwrap_or_default().to_owned();
                        let made = self.make(collection, &forwarder).await;
                        if collection == "forwarders/" {
                            self.make("collectors/", &made).await;
                        }
                        names.ours.insert(id.clone(), made.clone());
                        made
                    }
                };
                out.replace_range(start..start + stop, &ours);
                names.ours.insert(ours.clone(), ours);
            }
        }
        out
    }

    /// Makes what a capture takes for granted; gives its id.
    async fn make(&self, collection: &str, forwarder: &str) -> String {
        let base = format!("/v1alpha/projects/proj/locations/us/instances/{INSTANCE}");
        let (path, body) = match collection {
            "forwarders/" => (format!("{base}/forwarders"), json!({ "displayName": "made for a capture" })),
            "collectors/" => {
                let body = json!({ "displayName": "made for a capture", "config": { "logType": "OKTA" } });
                (format!("{base}/forwarders/{forwarder}/collectors"), body)
            }
            "parsers/" | "parserExtensions/" => {
                let program = base64::engine::general_purpose::STANDARD.encode("filter { }");
                let body = json!({ "cbn": program, "validationSkipped": true });
                (format!("{base}/logTypes/OKTA/{}", collection.trim_end_matches('/')), body)
            }
            _ => {
                let details = json!({ "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" });
                (format!("{base}/feeds"), json!({ "displayName": "made for a capture", "details": details }))
            }
        };
        let reply = send(self.server.request_as(&self.credential, Method::POST, &path).body(body.to_string())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// What the client reads of a reply is there, and what it sent is stored.
    async fn check(&self, request: &Value, reply: &Reply) -> Result<(), String> {
        let path = text_of(&request["path"]);
        if path == "/" || path.starts_with("/computeMetadata/") {
            return is_so(reply.header("metadata-flavor") == "Google", || "no Metadata-Flavor".to_owned());
        }
        let body = reply.json();
        if let Some(sent) = records_sent(path, &whole(&request["json"])) {
            is_so(body == json!({}), || body.to_string())?;
            let stored = self.stored(reply).await;
            return is_so(stored == sent, || format!("sent {sent:?}, stored {stored:?}"));
        }
        // The stand-in gave the path back where Google answers with nothing.
        let is_verb = path.ends_with(":activate") || request["method"] == "DELETE";
        if is_verb && path.contains("/parserExtensions/") {
            return is_so(body == json!({}), || body.to_string());
        }
        // Everything else has what the stand-in answered, which is what the client was seen to read: the same keys, each
        // of the same kind.
        same_shape(&request["response"], &body)
    }

    /// The records of a reply's batches, as text or JSON.
    async fn stored(&self, reply: &Reply) -> Vec<String> {
        self.server.settled().await;
        let ids = match reply.header("x-penstock-batches") {
            "" => reply.batch(),
            ids => ids.to_owned(),
        };
        let store = self.server.server.pipeline.store.as_ref().unwrap();
        let mut found = Vec::new();
        for id in ids.split(", ") {
            let id: uuid::Uuid = id.parse().unwrap();
            let wanted = Wanted::Batch(BatchId::from_u128(id.as_u128()).unwrap());
            search::find(&store.snapshot(), Some(INSTANCE.parse().unwrap()), wanted, &mut |row| {
                // What parsers made of raw logs lies beside them.
                if row.kind == Kind::Raw || row.parser.is_none() {
                    found.push(String::from_utf8(row.data.to_vec()).unwrap());
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        }
        found
    }
}

/// A captured body without the words that stand for entries which were left out of the capture.
fn whole(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(entries) = body.get_mut("entries").and_then(Value::as_array_mut) {
        entries.retain(Value::is_object);
    }
    body
}

/// The records that a call brings in, as they are to be stored; `None` when it brings none.
fn records_sent(path: &str, body: &Value) -> Option<Vec<String>> {
    let source = &body["inline_source"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let verb = path.rsplit('/').next()?;
    let decode = |log: &Value| {
        let data = base64::engine::general_purpose::STANDARD.decode(text_of(&log["data"])).unwrap();
        String::from_utf8(data).unwrap()
    };
    let text = |entry: &Value| text_of(entry.get("log_text").unwrap_or(&entry["logText"])).to_owned();
    Some(match verb {
        "logs:import" => {
            let source = if source.is_null() { &body["inlineSource"] } else { source };
            list(&source["logs"]).iter().map(decode).collect()
        }
        "events:import" => list(&source["events"]).iter().map(|event| event["udm"].to_string()).collect(),
        "entities:import" => list(&source["entities"]).iter().map(Value::to_string).collect(),
        "unstructuredlogentries:batchCreate" => list(&body["entries"]).iter().map(text).collect(),
        "udmevents:batchCreate" => list(&body["events"]).iter().map(Value::to_string).collect(),
        "entities:batchCreate" => list(&body["entities"]).iter().map(Value::to_string).collect(),
        _ => return None,
    })
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_so(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

/// What the stand-in had, ours has: each key at the top, with a value of the same kind.
fn same_shape(captured: &Value, ours: &Value) -> Result<(), String> {
    let kind = |value: &Value| std::mem::discriminant(value);
    match (captured, ours) {
        (Value::Null | Value::String(_), _) => Ok(()),
        (Value::Object(captured), Value::Object(own)) => captured.iter().try_for_each(|(key, value)| {
            // Paging and what there is to list are the server's.
            let is_optional = key == "nextPageToken"
                || value.is_null()
                || value == &json!({})
                || value.as_array().is_some_and(Vec::is_empty);
            // The stand-in echoed the spelling of the request.
            let key = match key.as_str() {
                "display_name" => "displayName",
                "cbn_snippet" => "cbnSnippet",
                key => key,
            };
            match own.get(key) {
                Some(found) => is_so(value.is_null() || kind(found) == kind(value), || format!("{key} in {ours}")),
                None => is_so(is_optional, || format!("{key} is missing in {ours}")),
            }
        }),
        (captured, ours) => is_so(kind(captured) == kind(ours), || format!("{ours} is not of the kind of {captured}")),
    }
}
