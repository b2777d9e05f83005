//! The `http` target: POSTs a JSON array or JSON lines of our own element (`shape`) to any URL.

use std::time::Duration;

use bytes::Bytes;
use event::{Event, Time};
use http::{HeaderValue, Method, Request, header};

use crate::backoff;
use crate::config::{HttpConfig, HttpForm, HttpFormat};
use crate::elements::{Elements, Member};
use crate::targets::{Answer, Target, Verdict, Way};

/// A connector's `http` target.
#[derive(Debug)]
pub(crate) struct HttpTarget {
    config: HttpConfig,
    form: HttpForm,
}

impl HttpTarget {
    pub(crate) fn new(config: &HttpConfig, form: Option<&str>) -> Option<HttpTarget> {
        let form = match form {
            Some(form) => serde_json::from_str(form).ok()?,
            None => config.form,
        };
        Some(HttpTarget { config: config.clone(), form })
    }

    /// The request that carries a body. `key` is the same for every attempt at one frozen batch.
    pub(crate) fn request(&self, body: Bytes, key: &str) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.config.url.as_str().parse().expect("checked when the document was read");
        let headers = request.headers_mut();
        for (name, value) in &self.config.headers {
            headers.insert(name, value.clone());
        }
        let content_type = match self.form.format {
            HttpFormat::Json => "application/json",
            HttpFormat::Ndjson => "application/x-ndjson",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.form.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert("idempotency-key", HeaderValue::from_str(key).expect("a key is a UUID"));
        request
    }

    /// How long one attempt may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// What an answer means. Statuses that speak of the address, the credentials or the form of every request, not of a record, stop the
    /// connector until somebody acts: taking the batch apart would only send all of it to the dead letters.
    pub(crate) fn judge(&self, answer: &Answer, now: Time) -> Verdict {
        let asked = answer
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| backoff::retry_after(value, now));
        let status = answer.status;
        let reason = || {
            let body = String::from_utf8_lossy(&answer.body);
            let start: String = body.trim().chars().take(200).collect();
            let colon = if start.is_empty() { "" } else { ": " };
            format!("the target answered {status}{colon}{start}")
        };
        match status.as_u16() {
            200..=299 => Verdict::Delivered,
            429 => Verdict::SlowDown(asked, reason()),
            408 | 425 | 500..=599 => Verdict::Retry(asked, reason()),
            // Following would carry headers with secrets to wherever the target says.
            300..=399 => Verdict::Stuck(format!("{}; redirects are not followed", reason())),
            401 | 402 | 403 | 404 | 405 | 406 | 407 | 410 | 411 | 415 | 417 | 421 | 426 | 431 => {
                Verdict::Stuck(reason())
            }
            400..=499 => Verdict::Refused(reason()),
            // Neither 1xx (hyper keeps those to itself) nor beyond 599 is HTTP.
            _ => Verdict::Stuck(reason()),
        }
    }
}

impl Target for HttpTarget {
    fn element(&self, event: &Event, elements: &mut Elements) {
        self.form.element(event, elements);
    }

    fn body_bytes_len(&self, elements: &Elements) -> usize {
        self.form.body_bytes_len(elements)
    }

    fn assemble(&self, elements: &Elements) -> Bytes {
        self.form.assemble(elements)
    }

    fn take_apart(&self, body: &Bytes, members: &[Member]) -> Option<Elements> {
        self.form.take_apart(body, members)
    }

    fn form(&self) -> String {
        serde_json::to_string(&self.form).expect("a form always has a JSON form")
    }

    fn way(&self) -> Way<'_> {
        Way::Http(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use event::{BatchId, BatchMeta, Kind, Label};
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn target(format: HttpFormat, gzip: bool) -> HttpTarget {
        let form = HttpForm { format, gzip };
        let url = "http://siem.example/in".parse().unwrap();
        let config = HttpConfig { url, headers: Vec::new(), form, timeout: Duration::from_secs(90) };
        HttpTarget::new(&config, None).unwrap()
    }

    fn events(texts: &[String]) -> Vec<Event> {
        let meta = BatchMeta {
            id: BatchId::from_u128(9 << 64).unwrap(),
            instance: "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c".parse().unwrap(),
            kind: Kind::Raw,
            received_at: Time::from_secs(1_700_000_000).unwrap(),
            log_type: "OKTA".to_owned(),
            feed: String::new(),
            sender: String::new(),
            namespace: "a \"b\"".to_owned(),
            labels: vec![Label { key: "k".to_owned(), value: "\u{1}".to_owned(), rbac_enabled: true }],
        };
        let batch = Arc::new(meta);
        let event = |(text, index): (&String, u32)| Event {
            batch: batch.clone(),
            position: Default::default(),
            index,
            kind: Kind::Raw,
            data: text.clone().into(),
            sender_time: None,
            collected_at: None,
            event_time: Time::from_millis(1_600_000_000_123).unwrap(),
            issues: Vec::new(),
            parser: None,
            ordinal: 0,
        };
        texts.iter().zip(0..).map(event).collect()
    }

    #[test]
    fn a_log_that_is_no_text_is_delivered_byte_for_byte() {
        let mut events = events(&["é".to_owned(), String::new()]);
        events[1].data = Bytes::from_static(b"caf\xe9 \x00\xff");
        let body = target(HttpFormat::Json, false).encode(&events);
        let said: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        assert_eq!((&said[0]["text"], said[0].get("data_base64")), (&"é".into(), None));
        let sent = STANDARD.decode(said[1]["data_base64"].as_str().unwrap()).unwrap();
        assert_eq!((&sent[..], said[1].get("text")), (&b"caf\xe9 \x00\xff"[..], None));
    }

    #[test]
    fn what_an_answer_means() {
        let now = Time::from_secs(1_700_000_000).unwrap();
        for status in 100..=599u16 {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("7"))]),
                body: Bytes::from_static(b" why "),
            };
            let asked = Some(Duration::from_secs(7));
            let name = match target(HttpFormat::Json, false).judge(&answer, now) {
                Verdict::Delivered => "delivered",
                Verdict::Retry(wait, _) if wait == asked => "retry",
                Verdict::SlowDown(wait, _) if wait == asked => "slow down",
                Verdict::Retry(..) | Verdict::SlowDown(..) => "a wait that nobody asked for",
                Verdict::Refused(reason) | Verdict::Stuck(reason) if !reason.contains(": why") => "no reason",
                Verdict::Refused(_) => "refused",
                Verdict::Stuck(_) => "stuck",
            };
            let expected = match status {
                200..=299 => "delivered",
                408 | 425 | 500..=599 => "retry",
                429 => "slow down",
                400 | 409 | 413 | 414 | 422 => "refused",
                401 | 403 | 404 | 405 | 415 | 100..=199 | 300..=399 => "stuck",
                // The rest of 4xx is one or the other, but never a success nor a reason to hammer.
                _ => {
                    assert!(matches!(name, "refused" | "stuck"), "{status}: {name}");
                    continue;
                }
            };
            assert_eq!(name, expected, "{status}");
        }
    }

    proptest! {
        /// A body is valid JSON that says what was put in, has the announced length, comes apart into its elements, and
        /// is the same every time.
        #[test]
        fn bodies(texts in proptest::collection::vec("\\PC{0,40}|[\\x00-\\x1F\"\\\\]{0,8}", 1..12)) {
            for (format, gzip) in [
                (HttpFormat::Json, false),
                (HttpFormat::Json, true),
                (HttpFormat::Ndjson, false),
                (HttpFormat::Ndjson, true),
            ] {
                let target = target(format, gzip);
                let events = events(&texts);
                let mut elements = Elements::default();
                events.iter().for_each(|event| target.element(event, &mut elements));
                let body = target.assemble(&elements);
                prop_assert_eq!(&target.encode(&events), &body);

                let plain = if gzip {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
                    plain
                } else {
                    body.to_vec()
                };
                prop_assert_eq!(plain.len(), target.body_bytes_len(&elements));
                let said: Vec<serde_json::Value> = match format {
                    HttpFormat::Json => serde_json::from_slice(&plain).unwrap(),
                    HttpFormat::Ndjson => plain
                        .split_inclusive(|byte| *byte == b'\n')
                        .map(|line| serde_json::from_slice(line).unwrap())
                        .collect(),
                };
                let said: Vec<&str> = said.iter().map(|element| element["text"].as_str().unwrap()).collect();
                prop_assert_eq!(said, texts.iter().map(String::as_str).collect::<Vec<_>>());

                let apart = target.take_apart(&body, elements.members()).unwrap();
                prop_assert_eq!(apart.iter().collect::<Vec<_>>(), elements.iter().collect::<Vec<_>>());
                prop_assert!(target.take_apart(&body, &elements.members()[1..]).is_none());
            }
        }
    }
}
