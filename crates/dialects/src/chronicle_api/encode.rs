//! The client's side: bodies and paths of the requests that import, of forwarders and collectors, of `logs:classify` and
//! the raw search. The client library, our commands and tests send with these.
//!
//! Keys are written in proto3's canonical lowerCamel form. Everything gives the same bytes for the same arguments, since
//! a retry must be byte-identical for the receiver to know it. Absent on purpose: limits, times of day, ids; whoever
//! calls decides those.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Label, Time};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

/// What a path segment keeps as it is: RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Every import body ends like this.
const CLOSE: &[u8] = b"]}}";

/// One import request without its records: which call it is, and what it says about all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "import", rename_all = "snake_case")]
pub enum Import<'a> {
    /// `logs:import`.
    Logs {
        /// The log type, which stands in the path.
        log_type: Cow<'a, str>,
        /// The forwarder's full resource name. The wire does not require one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forwarder: Option<Cow<'a, str>>,
    },
    /// `events:import`.
    Events,
    /// `entities:import`.
    Entities {
        /// The log type, which stands in the body.
        log_type: Cow<'a, str>,
    },
}

impl Import<'_> {
    /// The path below the instance.
    pub fn path(&self) -> String {
        match self {
            Import::Logs { log_type, .. } => format!("logTypes/{}/logs:import", segment(log_type)),
            Import::Events => "events:import".to_owned(),
            Import::Entities { .. } => "entities:import".to_owned(),
        }
    }

    /// The body with these elements, each as [`log`] or [`event`] gives it, or an entity's JSON.
    pub fn body<'e>(&self, elements: impl IntoIterator<Item = &'e [u8]>) -> Vec<u8> {
        let mut out = self.open();
        for (index, element) in elements.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(element);
        }
        out.extend_from_slice(CLOSE);
        out
    }

    /// The length of a body without elements. A body with some is as long as this, the elements, and a comma between
    /// each two.
    pub fn envelope_bytes(&self) -> usize {
        self.open().len() + CLOSE.len()
    }

    fn open(&self) -> Vec<u8> {
        let text = |text: &str| json!(text).to_string();
        let open = match self {
            Import::Logs { forwarder: Some(forwarder), .. } => {
                format!(r#"{{"inlineSource":{{"forwarder":{},"logs":["#, text(forwarder))
            }
            Import::Logs { forwarder: None, .. } => r#"{"inlineSource":{"logs":["#.to_owned(),
            Import::Events => r#"{"inlineSource":{"events":["#.to_owned(),
            Import::Entities { log_type } => {
                format!(r#"{{"inlineSource":{{"logType":{},"entities":["#, text(log_type))
            }
        };
        open.into_bytes()
    }
}

/// One raw log as [`log`] writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log<'a> {
    /// The log as it came from its source; need not be text.
    pub data: &'a [u8],
    /// When it happened.
    pub log_entry_time: Option<Time>,
    /// When it was collected. The API wants it not to be before `log_entry_time`.
    pub collection_time: Option<Time>,
    /// Empty when there is none.
    pub environment_namespace: &'a str,
    /// At most one for each key: on the wire they are a map.
    pub labels: &'a [Label],
}

/// An element of [`Import::Logs`].
pub fn log(log: &Log<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(log.data.len() * 4 / 3 + 160);
    out.extend_from_slice(b"{\"data\":\"");
    out.extend_from_slice(STANDARD.encode(log.data).as_bytes());
    out.push(b'"');
    let times = [("logEntryTime", log.log_entry_time), ("collectionTime", log.collection_time)];
    for (key, time) in times {
        if let Some(time) = time {
            out.extend_from_slice(format!(r#","{key}":"{time}""#).as_bytes());
        }
    }
    if !log.environment_namespace.is_empty() {
        out.extend_from_slice(format!(r#","environmentNamespace":{}"#, json!(log.environment_namespace)).as_bytes());
    }
    for (index, label) in log.labels.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b",\"labels\":{" } else { b"," });
        out.extend_from_slice(format!(r#"{}:{{"value":{}"#, json!(label.key), json!(label.value)).as_bytes());
        // Absent is false here, unlike in the older API.
        out.extend_from_slice(if label.rbac_enabled { b",\"rbacEnabled\":true}" } else { b"}" });
    }
    out.extend_from_slice(if log.labels.is_empty() { b"}" } else { b"}}" });
    out
}

/// An element of [`Import::Events`]: the UDM event is JSON already and goes as it is.
pub fn event(udm: &[u8]) -> Vec<u8> {
    [b"{\"udm\":", udm, b"}"].concat()
}

/// Body of `POST forwarders`, and of a `PATCH` that changes both. `config` is left out when it is null.
pub fn forwarder(display_name: Option<&str>, config: &serde_json::Value) -> Vec<u8> {
    let mut body = serde_json::Map::new();
    if let Some(display_name) = display_name {
        body.insert("displayName".to_owned(), json!(display_name));
    }
    if !config.is_null() {
        body.insert("config".to_owned(), config.clone());
    }
    serde_json::Value::Object(body).to_string().into_bytes()
}

/// Body of `POST forwarders/{id}/collectors`: a collector that takes this log type, with the batch settings of Google's
/// own examples (10 seconds, 1 MiB). It names no source, since what is sent through it comes by this API.
pub fn collector(display_name: &str, log_type: &str) -> Vec<u8> {
    let body = json!({
        "displayName": display_name,
        "config": {
            "logType": log_type,
            "maxSecondsPerBatch": 10,
            // proto3 JSON writes 64-bit numbers as strings.
            "maxBytesPerBatch": "1048576",
        },
    });
    body.to_string().into_bytes()
}

/// Body of `logs:classify`.
pub fn classify<'a>(logs: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let logs: Vec<String> = logs.into_iter().map(|log| STANDARD.encode(log)).collect();
    json!({ "logData": logs }).to_string().into_bytes()
}

/// A raw-log search as [`raw_search`] writes it.
#[derive(Debug, Clone, Copy)]
pub struct RawSearch<'a> {
    /// The expression, such as `raw = "text"`.
    pub query: &'a str,
    /// From here, inclusive.
    pub start: Time,
    /// Up to here, exclusive.
    pub end: Time,
    /// Whether capitals matter.
    pub case_sensitive: bool,
    /// Only these log types; all when empty.
    pub log_types: &'a [String],
    /// Most rows; the receiver's choice when absent.
    pub page_size: Option<u32>,
}

/// Body of `:searchRawLogs`.
pub fn raw_search(search: &RawSearch<'_>) -> Vec<u8> {
    let mut body = json!({
        "baselineQuery": search.query,
        "baselineTimeRange": { "startTime": search.start, "endTime": search.end },
        "caseSensitive": search.case_sensitive,
    });
    if let Some(page_size) = search.page_size {
        body["pageSize"] = json!(page_size);
    }
    if !search.log_types.is_empty() {
        body["logTypes"] = search.log_types.iter().map(|name| json!({ "displayName": name })).collect();
    }
    body.to_string().into_bytes()
}

/// The text as one segment of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: Vec<u8>, expected: &str) {
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn bodies_are_what_the_api_documents() {
        let label = |key: &str, value: &str, rbac_enabled| Label { key: key.into(), value: value.into(), rbac_enabled };
        let time: Time = "2026-01-02T03:04:00.678901Z".parse().unwrap();
        let full = log(&Log {
            data: "é\n".as_bytes(),
            log_entry_time: Some(time),
            collection_time: Some(time),
            environment_namespace: "ns\"1",
            labels: &[label("env", "prod", false), label("t", "1", true)],
        });
        let bare = log(&Log { data: b"x", ..Log::default() });

        let logs = Import::Logs { log_type: "OKTA".into(), forwarder: Some("projects/p/forwarders/f".into()) };
        assert_eq!(logs.path(), "logTypes/OKTA/logs:import");
        check(
            logs.body([&full[..], &bare[..]]),
            concat!(
                r#"{"inlineSource":{"forwarder":"projects/p/forwarders/f","logs":[{"data":"w6kK","#,
                r#""logEntryTime":"2026-01-02T03:04:00.678901Z","collectionTime":"2026-01-02T03:04:00.678901Z","#,
                r#""environmentNamespace":"ns\"1","#,
                r#""labels":{"env":{"value":"prod"},"t":{"value":"1","rbacEnabled":true}}},{"data":"eA=="}]}}"#
            ),
        );
        let odd = Import::Logs { log_type: "A/B C".into(), forwarder: None };
        assert_eq!(odd.path(), "logTypes/A%2FB%20C/logs:import");
        check(odd.body([]), r#"{"inlineSource":{"logs":[]}}"#);
        check(Import::Events.body([&event(b"{}")[..]]), r#"{"inlineSource":{"events":[{"udm":{}}]}}"#);
        let entities = Import::Entities { log_type: "OKTA".into() };
        check(entities.body([&b"{}"[..]]), r#"{"inlineSource":{"logType":"OKTA","entities":[{}]}}"#);

        check(classify([&b"{\"a\":1}"[..]]), r#"{"logData":["eyJhIjoxfQ=="]}"#);
        check(
            forwarder(Some("F"), &json!({"uploadCompression": true})),
            r#"{"displayName":"F","config":{"uploadCompression":true}}"#,
        );
        check(forwarder(Some("F"), &serde_json::Value::Null), r#"{"displayName":"F"}"#);
        let collector_text = concat!(
            r#"{"displayName":"C","config":{"logType":"T","maxSecondsPerBatch":10,"#,
            r#""maxBytesPerBatch":"1048576"}}"#
        );
        check(collector("C", "T"), collector_text);
        let search = RawSearch {
            query: "raw = \"x\"",
            start: time,
            end: time,
            case_sensitive: false,
            log_types: &["OKTA".to_owned()],
            page_size: Some(10),
        };
        check(
            raw_search(&search),
            concat!(
                r#"{"baselineQuery":"raw = \"x\"","baselineTimeRange":{"startTime":"2026-01-02T03:04:00.678901Z","#,
                r#""endTime":"2026-01-02T03:04:00.678901Z"},"caseSensitive":false,"pageSize":10,"#,
                r#""logTypes":[{"displayName":"OKTA"}]}"#
            ),
        );
    }

    #[test]
    fn the_envelope_is_counted_to_the_byte() {
        let imports = [
            Import::Logs { log_type: "OKTA".into(), forwarder: None },
            Import::Logs { log_type: "OKTA".into(), forwarder: Some("f\"é".into()) },
            Import::Events,
            Import::Entities { log_type: "é".into() },
        ];
        for import in imports {
            let elements: [&[u8]; 3] = [b"{}", b"{\"a\":1}", b"{}"];
            let length = import.envelope_bytes() + 2 + 7 + 2 + 2;
            assert_eq!(import.body(elements).len(), length, "{import:?}");
            assert_eq!(import.body([]).len(), import.envelope_bytes(), "{import:?}");
        }
    }
}
