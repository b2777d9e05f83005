//! How fast bodies are accepted: everything from the body's bytes to the batch and its dedup key, on one thread.
//!
//! `cargo bench -p dialects`. Counts this thread's CPU time, so that a busy machine does not blur it; prints, asserts
//! nothing about time.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dialects::auth::Role;
use dialects::chronicle_ingestion::encode;
use dialects::snapshot::{ApiKey, Instance, Limits, OciLog, OciLogType, OnInvalid, Secret, SecretHash};
use dialects::{Head, Intake, LogTypes, Lookup, Request, Router, Snapshot};
use event::{BatchId, InstanceId, Time};

fn main() {
    let instance: InstanceId = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().expect("a fixed UUID");
    let log_types = LogTypes::builtin();
    let key = ApiKey { id: "bench".to_owned(), instance, role: Role::Ingest, disabled: false };
    let log = OciLog {
        id: "ocid1.log.oc1.us-ashburn-1.c8c65bfa5f2c42d4918964bb7b939f2c".to_owned(),
        instance,
        compartment: "ocid1.compartment.oc1..c8c65bfa5f2c42d4918964bb7b939f2c".to_owned(),
        log_group: "ocid1.loggroup.oc1.us-ashburn-1.c8c65bfa5f2c42d4918964bb7b939f2c".to_owned(),
        name: "bench".to_owned(),
        log_type: OciLogType::Custom,
        enabled: true,
        service: None,
        resource: None,
        resource_name: None,
        category: None,
    };
    let snapshot = Snapshot {
        instances: HashMap::from([(instance, Instance::new("bench", log_types.clone()))]),
        accounts: HashMap::new(),
        api_keys: HashMap::from([(SecretHash::of("bench"), key)]),
        intakes: HashMap::new(),
        refresh_tokens: HashMap::new(),
        operator_token: Some(SecretHash::of("bench")),
        token_secret: Secret([1; 32]),
        token_urls: Vec::new(),
        log_types,
        limits: Limits::default(),
        udm_mode: udm::Mode::Lenient,
        on_invalid: OnInvalid::Refuse,
        schema: udm::Schema::load(),
        oci_keys: HashMap::new(),
        oci_compartments: HashMap::new(),
        oci_logs: HashMap::from([("l".to_owned(), Arc::new(log))]),
        oci_region: "us-ashburn-1".to_owned(),
        oci_runtimes: Vec::new(),
    };
    let router = Router::new(dialects::all()).expect("the built-in dialects claim different routes");

    let okta: Vec<String> = (0..1_200).map(okta_like).collect();
    let plain: Vec<String> = okta.iter().map(|text| text.replace(['"', '\\'], "'")).collect();
    let udm: Vec<String> = (0..1_200).map(udm_like).collect();
    let logs = |texts: &[String]| {
        let time = Time::from_secs(1_700_000_000).ok();
        encode::raw_batch(Some(instance), "OKTA", "", &[], texts.iter().map(|text| (text.as_str(), time)))
    };
    let path = "/v2/unstructuredlogentries:batchCreate";
    let cases = [
        ("logs, JSON in strings (escapes)", path, logs(&okta)),
        ("logs, plain strings", path, logs(&plain)),
        ("logs, one entry", path, logs(&okta[..1])),
        (
            "UDM events",
            "/v2/udmevents:batchCreate",
            encode::udm_batch(Some(instance), udm.iter().map(String::as_bytes)),
        ),
        ("logs, base64 (Chronicle API)", API_LOGS, import_logs(&okta)),
        ("logs, base64, one entry (Chronicle API)", API_LOGS, import_logs(&okta[..1])),
        ("put-logs, JSON in strings (OCI)", "/20200831/logs/l/actions/push", put_logs(&okta)),
        ("put-logs, plain strings (OCI)", "/20200831/logs/l/actions/push", put_logs(&plain)),
        ("put-logs, 10 MB (OCI)", "/20200831/logs/l/actions/push", put_logs(&vec![okta[0].clone(); 10_000])),
    ];
    for (name, path, body) in cases {
        let mut headers = http::HeaderMap::new();
        if path == "/20200831/logs/l/actions/push" {
            headers.insert("authorization", http::HeaderValue::from_static("Bearer bench"));
        }
        let head = Head::new(http::Method::POST, path, Some("key=bench"), headers, [127, 0, 0, 1].into());
        let request = Request { head: head.expect("a fixed path"), body: Bytes::from(body) };
        let rounds = (600_000_000 / request.body.len()).min(400_000);
        let mut records = 0;
        let start = cpu_secs();
        for round in 0..rounds {
            let Lookup::Found(found) = router.lookup(&request.head) else { panic!("the path is claimed") };
            let now = Time::from_secs(1_700_000_000).expect("within range");
            let caller = found.dialect.authenticate(&found, &request.head, &snapshot, now).expect("the key is valid");
            let mut next_id = || BatchId::from_u128((round as u128) << 80).expect("the low bits are zero");
            match found.dialect.accept(&found, &request, caller, &snapshot, now, &mut next_id) {
                Intake::Commit { batches, key, .. } => {
                    records += batches[0].1.records.len();
                    std::hint::black_box((batches, key));
                }
                Intake::Refuse(refusal) => panic!("{refusal:?}"),
                other => panic!("{other:?}"),
            }
        }
        let secs = cpu_secs() - start;
        let bytes = (rounds * request.body.len()) as f64;
        println!(
            "{name}: body {} bytes, {:.0} MB/s = {:.2} s per GB, {:.2} µs per request, {:.0} ns per record",
            request.body.len(),
            bytes / secs / 1e6,
            secs / bytes * 1e9,
            secs / rounds as f64 * 1e6,
            secs / records as f64 * 1e9,
        );
    }
}

const API_LOGS: &str =
    "/v1alpha/projects/p/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c/logTypes/OKTA/logs:import";

/// A body of `logs:import` as Google's library writes it.
fn import_logs(texts: &[String]) -> Vec<u8> {
    use base64::Engine as _;
    let log = |text: &String| {
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        let time = "2026-11-21T19:36:49.679235Z";
        format!(r#"{{"data": "{data}", "log_entry_time": "{time}", "collection_time": "{time}"}}"#)
    };
    let logs: Vec<String> = texts.iter().map(log).collect();
    let forwarder = "projects/p/locations/us/instances/c8c65bfa-5f2c-42d4-9189-64bb7b939f2c/forwarders/f";
    format!(r#"{{"inline_source": {{"logs": [{}], "forwarder": "{forwarder}"}}}}"#, logs.join(", ")).into_bytes()
}

/// A body of OCI's `put-logs` as its SDK writes it.
fn put_logs(texts: &[String]) -> Vec<u8> {
    let time = "2026-11-21T19:36:49.679Z";
    let entry = |(index, text): (usize, &String)| {
        let data = serde_json::to_string(text).expect("a text is JSON");
        format!(r#"{{"data": {data}, "id": "{index}", "time": "{time}"}}"#)
    };
    let entries: Vec<String> = texts.iter().enumerate().map(entry).collect();
    let batch = format!(r#"{{"entries": [{}], "source": "host1", "type": "my.type"}}"#, entries.join(", "));
    format!(r#"{{"specversion": "1.0", "logEntryBatches": [{batch}]}}"#).into_bytes()
}

/// Seconds that this thread has run on a CPU (Linux).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts every thread's time");
    let nanos: f64 =
        stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("its first number is nanoseconds");
    nanos / 1e9
}

fn okta_like(number: usize) -> String {
    format!(
        r#"{{"uuid":"{number:08x}-5f2c-11ee-9189-64bb7b939f2c","published":"2026-11-21T20:15:{:02}.187Z","eventType":"user.session.start","version":"0","severity":"INFO","displayMessage":"User login to Okta","actor":{{"id":"00u{number:017}","type":"User","alternateId":"user{number}@altostrat.com","displayName":"Mary Jane {number}"}},"client":{{"userAgent":{{"rawUserAgent":"Mozilla/5.0 (X11; Linux x86_64)","os":"Linux","browser":"FIREFOX"}},"zone":"null","device":"Computer","ipAddress":"10.1.{}.{}","geographicalContext":{{"city":"Zurich","country":"Switzerland"}}}},"outcome":{{"result":"SUCCESS","reason":null}},"target":[{{"id":"0oa{number}","type":"AppInstance"}}]}}"#,
        number % 60,
        number / 256 % 256,
        number % 256
    )
}

fn udm_like(number: usize) -> String {
    format!(
        r#"{{"metadata":{{"event_timestamp":"2026-11-21T20:15:{:02}.187Z","event_type":"USER_LOGIN","product_name":"Acme SSO","vendor_name":"Acme","product_log_id":"{number}","description":"User login to Okta from a browser on a desktop"}},"principal":{{"hostname":"host{number}","ip":["10.1.{}.{}"],"port":60000,"user":{{"userid":"user{number}","email_addresses":["user{number}@altostrat.com"]}}}},"target":{{"application":"Acme Connect","user":{{"user_display_name":"Mary Jane {number}","userid":"mary@altostrat.com"}},"url":"https://www.altostrat.com/images/logo.png"}},"security_result":[{{"action":["ALLOW"],"severity":"INFORMATIONAL","summary":"allowed by policy"}}],"extensions":{{"auth":{{"type":"MACHINE","mechanism":["NETWORK"]}}}}}}"#,
        number % 60,
        number / 256 % 256,
        number % 256
    )
}
