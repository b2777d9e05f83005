//! The `function` target: calls a function with a JSON list of records, as OCI's Connector Hub does (contracts/oci.md
//! §2.4).
//!
//! A record of OCI's logs is an element as it is stored: the flat CloudEvents envelope, which is what functions written
//! for OCI read. Any other record is the element of the `http` target (`shape`).
//!
//! Only 200 takes a batch. Whatever else comes back, the same batch is given again: functions are never taken around a
//! record, since their answer does not say which one it was, so there are no dead letters here.

use std::time::Duration;

use bytes::Bytes;
use event::{Event, Kind};
use serde_json::value::RawValue;

use crate::config::{FunctionConfig, HttpForm, HttpFormat};
use crate::elements::{Elements, Member};
use crate::invoke::FunctionAnswer;
use crate::targets::{Target, Verdict, Way};

/// How a plan row names this target's shape of body.
pub(crate) const FORM: &str = "{\"function\":1}";
/// The elements are a JSON array.
pub(crate) const SHAPE: HttpForm = HttpForm { format: HttpFormat::Json, gzip: false };

/// Log types of records that came as OCI's logs do: their data is the envelope.
pub(crate) const LOG_TYPES: [&str; 3] = ["OCI_AUDIT", "OCI_FLOW", "OCI_LOGGING"];

/// How much of what a function said is shown.
const SAID_CHARS_MAX: usize = 300;

/// A connector's `function` target.
#[derive(Debug)]
pub(crate) struct FunctionTarget {
    config: FunctionConfig,
}

impl FunctionTarget {
    pub(crate) fn new(config: &FunctionConfig, form: Option<&str>) -> Option<FunctionTarget> {
        form.is_none_or(|form| form == FORM).then(|| FunctionTarget { config: config.clone() })
    }

    /// How long one call may take. The function's own limit ends it before; this is for what does not keep to it.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// The function's OCID.
    pub(crate) fn function(&self) -> &str {
        &self.config.function
    }

    /// What an answer means.
    pub(crate) fn judge(&self, answer: &FunctionAnswer) -> Verdict {
        let name = self.config.shown();
        match answer {
            FunctionAnswer::Answered { status: 200, .. } => Verdict::Delivered,
            FunctionAnswer::Answered { call_id, status, body, .. } => {
                let said = said(body);
                let colon = if said.is_empty() { "" } else { ": " };
                Verdict::Retry(None, format!("function {name} answered {status} (call {call_id}){colon}{said}"))
            }
            FunctionAnswer::Failed { call_id, why, .. } => {
                let call = call_id.as_ref().map(|id| format!(" (call {id})")).unwrap_or_default();
                Verdict::Retry(None, format!("function {name} did not answer{call}: {why}"))
            }
            FunctionAnswer::Unknown { why } => Verdict::Stuck(format!("function {name} cannot be called: {why}")),
        }
    }
}

/// What stands for a call's answer that did not come within the connector's own limit.
pub(crate) fn out_of_time(timeout: Duration) -> FunctionAnswer {
    let why = format!("nothing came back within {} s (timeout_ms)", timeout.as_secs_f64());
    FunctionAnswer::Failed { call_id: None, status: None, why }
}

/// What stands for the answer where this server calls no functions.
pub(crate) fn nobody_calls() -> FunctionAnswer {
    FunctionAnswer::Unknown { why: "functions are switched off on this server".to_owned() }
}

impl Target for FunctionTarget {
    fn element(&self, event: &Event, elements: &mut Elements) {
        match envelope(event) {
            Some(envelope) => elements.push_encoded(event.id(), envelope.as_bytes()),
            None => SHAPE.element(event, elements),
        }
    }

    fn body_bytes_len(&self, elements: &Elements) -> usize {
        SHAPE.body_bytes_len(elements)
    }

    fn assemble(&self, elements: &Elements) -> Bytes {
        SHAPE.assemble(elements)
    }

    fn take_apart(&self, body: &Bytes, members: &[Member]) -> Option<Elements> {
        SHAPE.take_apart(body, members)
    }

    fn form(&self) -> String {
        FORM.to_owned()
    }

    fn way(&self) -> Way<'_> {
        Way::Function(self)
    }
}

/// The record as it stands if it is an envelope. Its log type alone does not say so: others may send under it, and one
/// text that is no JSON object would spoil the list for all.
fn envelope(event: &Event) -> Option<&str> {
    if event.kind != Kind::Raw || !LOG_TYPES.contains(&event.batch.log_type.as_str()) {
        return None;
    }
    let text = std::str::from_utf8(&event.data).ok()?.trim();
    (text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()).then_some(text)
}

/// The beginning of what a function said, on one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut start: String = text.trim().chars().take(SAID_CHARS_MAX).collect();
    start = start.replace(['\n', '\r'], " ");
    start
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event::{BatchId, BatchMeta, Time};

    use super::*;

    fn target() -> FunctionTarget {
        let (function, timeout) = ("ocid1.fnfunc.oc1.x.7".to_owned(), Duration::from_secs(330));
        FunctionTarget::new(&FunctionConfig { function, name: Some("fwd".to_owned()), timeout }, None).unwrap()
    }

    fn record(log_type: &str, kind: Kind, data: &'static [u8]) -> Event {
        let meta = BatchMeta {
            id: BatchId::from_u128(9 << 64).unwrap(),
            instance: "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().unwrap(),
            kind,
            received_at: Time::from_secs(1_700_000_000).unwrap(),
            log_type: log_type.to_owned(),
            feed: String::new(),
            sender: String::new(),
            namespace: String::new(),
            labels: Vec::new(),
        };
        Event {
            batch: Arc::new(meta),
            position: Default::default(),
            index: 0,
            kind,
            data: Bytes::from_static(data),
            sender_time: None,
            collected_at: None,
            event_time: Time::from_secs(1_700_000_000).unwrap(),
            issues: Vec::new(),
            parser: None,
            ordinal: 0,
        }
    }

    #[test]
    fn envelopes_stay_as_they_are_and_the_rest_is_ours() {
        let as_stored: &[(&str, &[u8])] = &[
            ("OCI_AUDIT", b"{\"id\":\"1\", \"data\":{\"a\":1.50}}"),
            ("OCI_FLOW", b"{}"),
            ("OCI_LOGGING", b" {\"a\":\"\\u00e9\"}\n"),
        ];
        for (log_type, data) in as_stored {
            let body = target().encode(&[record(log_type, Kind::Raw, data)]);
            assert_eq!(String::from_utf8_lossy(&body), format!("[{}]", String::from_utf8_lossy(data).trim()));
        }
        let ours: &[(&str, Kind, &[u8])] = &[
            ("OKTA", Kind::Raw, b"{\"a\":1}"),
            ("OCI_AUDIT", Kind::Raw, b"plain"),
            ("OCI_AUDIT", Kind::Raw, b"[1]"),
            ("OCI_AUDIT", Kind::Raw, b"{\"a\":1} {\"b\":2}"),
            ("OCI_AUDIT", Kind::Raw, b"{\"a\":"),
            ("OCI_AUDIT", Kind::Raw, b"{\"a\":\"\xff\"}"),
            ("OCI_AUDIT", Kind::Raw, b""),
            ("OCI_AUDIT", Kind::Udm, b"{\"metadata\":{}}"),
        ];
        for (log_type, kind, data) in ours {
            let body = target().encode(&[record(log_type, *kind, data), record("OCI_FLOW", Kind::Raw, b"{}")]);
            let said: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            assert_eq!((&said[0]["log_type"], said.len()), (&(*log_type).into(), 2));
        }
    }

    #[test]
    fn what_an_answer_means() {
        let answered = |status| FunctionAnswer::Answered {
            call_id: "01CALL".to_owned(),
            status,
            body: Bytes::from_static(b" no\nhost "),
            suspicious: Some("2 errors in its log".to_owned()),
        };
        assert_eq!(target().judge(&answered(200)), Verdict::Delivered);
        let reason = "function fwd answered 502 (call 01CALL): no host".to_owned();
        assert_eq!(target().judge(&answered(502)), Verdict::Retry(None, reason));
        for status in [100, 201, 204, 302, 400, 404, 413, 422, 429, 500, 504] {
            assert!(matches!(target().judge(&answered(status)), Verdict::Retry(None, _)), "{status}");
        }
        let why = "killed after 30 s".to_owned();
        let failed = FunctionAnswer::Failed { call_id: None, status: Some(504), why };
        let reason = "function fwd did not answer: killed after 30 s".to_owned();
        assert_eq!(target().judge(&failed), Verdict::Retry(None, reason));
        let unknown = FunctionAnswer::Unknown { why: "it is not installed".to_owned() };
        assert!(matches!(target().judge(&unknown), Verdict::Stuck(_)));
    }

    #[test]
    fn other_targets_bodies_are_not_ours() {
        let config = FunctionConfig { function: "f".to_owned(), name: None, timeout: Duration::ZERO };
        assert!(FunctionTarget::new(&config, Some(FORM)).is_some());
        assert!(FunctionTarget::new(&config, Some("{\"format\":\"json\",\"gzip\":false}")).is_none());
    }
}
