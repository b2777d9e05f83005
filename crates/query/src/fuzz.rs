//! A fuzz target of this crate: any text as a query, run over one event that has a bit of everything. The languages of
//! OCI have their own, in `oci`.

use std::sync::Arc;

use event::Kind;
use udm::{Root, Schema};

use crate::{Options, parse_raw, parse_udm, raw_regex, raw_text};

const EVENT: &str = r#"{"metadata": {"eventType": "USER_LOGIN", "event_timestamp": "2026-01-02T03:04:05Z",
    "id": "QUJD"},
    "principal": {"ip": "10.0.0.1", "hostname": "WIN-Server", "port": 443, "labels": [{"key": "k", "value": "v"}]},
    "about": [{"hostname": "a"}, {"ip": ["::1", "10.0.0.2"]}], "network": {"session_duration": "1.5s", "ipv6": true},
    "additional": {"fields": {"k": {"stringValue": "v"}, "n": {"numberValue": 5}}}}"#;

/// Reads the bytes as a query in every language and runs what can be read. Panics only if something is wrong with this
/// crate: among others, when a predicate matches what its own [`crate::Prune`] rules out, or asks something else once
/// it was printed and read again.
pub fn fuzz(schema: &Arc<Schema>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for case_sensitive in [false, true] {
        let options = Options { case_sensitive };
        match parse_udm(&text, schema, options) {
            Err(diagnostic) => {
                assert!(text.get(diagnostic.span.clone()).is_some(), "a span outside the query: {diagnostic:?}");
                diagnostic.render(&text);
            }
            Ok(predicate) => {
                let matches = predicate.matches(Kind::Udm, EVENT.as_bytes());
                let printed = predicate.to_string();
                if printed.len() <= event::limits::QUERY_BYTES_MAX {
                    let again = parse_udm(&printed, schema, options).expect("a printed query can be read");
                    assert_eq!(again.to_string(), printed);
                    assert_eq!(again.matches(Kind::Udm, EVENT.as_bytes()), matches, "{printed}");
                }
                if matches {
                    let mut values = Vec::new();
                    schema.visit_leaves(Root::Event, EVENT.as_bytes(), &mut |leaf| values.push(udm::fold(leaf.text)));
                    let possible =
                        predicate.prune().possible(&mut |value| values.iter().any(|held| held == value), &mut |_| true);
                    assert!(possible, "{printed} matches but is ruled out");
                }
            }
        }
        let raw = parse_raw(&text, case_sensitive);
        match &raw {
            Err(diagnostic) => {
                assert!(text.get(diagnostic.span.clone()).is_some(), "a span outside the query: {diagnostic:?}");
                diagnostic.position(&text);
            }
            Ok(predicate) if predicate.to_string().len() <= event::limits::QUERY_BYTES_MAX => {
                let printed = predicate.to_string();
                let again = parse_raw(&printed, case_sensitive).expect("a printed query can be read");
                assert_eq!(again.to_string(), printed);
                let matches = predicate.matches(Kind::Raw, EVENT.as_bytes());
                assert_eq!(again.matches(Kind::Raw, EVENT.as_bytes()), matches, "{printed}");
            }
            Ok(_) => {}
        }
        for predicate in [raw_text(&text, case_sensitive), raw_regex(&text, case_sensitive), raw].into_iter().flatten()
        {
            if predicate.matches(Kind::Raw, EVENT.as_bytes()) {
                let held = udm::fold(EVENT);
                assert!(predicate.prune().possible(&mut |_| true, &mut |wanted| held.contains(wanted)), "{predicate}");
            }
        }
    }
}
