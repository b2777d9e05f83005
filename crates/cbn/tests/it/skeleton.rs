//! Parsers that are begun from samples: of each kind of logs some, with what the parser makes of them.

use std::sync::LazyLock;

use cbn::lint::lint;
use cbn::skeleton::skeleton;
use cbn::syntax::{format::format, parse::parse};
use cbn::{Limits, Program};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::support::{context, field, machine};

static SCHEMA: LazyLock<std::sync::Arc<udm::Schema>> = LazyLock::new(udm::Schema::load);

/// Begins a parser and gives the event that it makes of each sample. It has to be in the formatter's layout and give the
/// linter nothing to say but that flags are not asked for.
#[track_caller]
fn events(log_type: &str, samples: &[&str]) -> (String, Vec<Json>) {
    let source = skeleton(log_type, samples);
    let file = parse(&source).unwrap_or_else(|found| panic!("{source}\n{found:#?}"));
    assert_eq!(format(&file, &source), source);
    let told: Vec<_> = lint(&file, &source, &SCHEMA).into_iter().filter(|found| found.code != "flag-unread").collect();
    assert!(told.is_empty(), "{source}\n{told:#?}");
    let program = Program::new("new.conf", source.clone()).unwrap_or_else(|found| panic!("{source}\n{found:#?}"));
    let mut machine = machine(Limits::default());
    let events = samples
        .iter()
        .map(|sample| {
            let outcome = machine.run(&program, sample.as_bytes(), &context());
            let events = outcome.end.unwrap_or_else(|error| panic!("{source}\n{sample}\n{error}"));
            assert_eq!(events.len(), 1, "{source}\n{sample}");
            assert_eq!(events[0].issues, [], "{source}\n{sample}\n{}", events[0].json);
            serde_json::from_str(&events[0].json).expect("events are JSON")
        })
        .collect();
    (source, events)
}

/// Checks fields of the event of the first sample.
#[track_caller]
fn check(samples: &[&str], kind: &str, expected: &[(&str, Json)]) {
    let (source, events) = events("ACME_THING", samples);
    assert!(source.starts_with("# Parser for ACME_THING, begun from "), "{source}");
    assert!(source.lines().next().unwrap_or_default().ends_with(&format!(": {kind}.")), "{kind}\n{source}");
    for (path, value) in expected {
        assert_eq!(field(&events[0], path), Some(value), "{path}\n{source}\n{:#}", events[0]);
    }
}

#[test]
fn json() {
    check(
        &[
            r#"{"eventTime":"2026-11-20T10:00:00Z","source":{"ip":"192.0.2.7","port":4711},"destination":{"ip":"198.51.100.2"},"user":{"name":"ada"},"message":"door opened","event":{"type":"open"},"level":3,"tags":["a"]}"#,
            r#"{"eventTime":"2026-11-20T10:00:01Z","message":"no machine here","level":2}"#,
        ],
        "JSON",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.eventType", json!("NETWORK_CONNECTION")),
            ("metadata.description", json!("door opened")),
            ("metadata.productEventType", json!("open")),
            ("metadata.vendorName", json!("ACME")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.port", json!(4711)),
            ("principal.user.userid", json!("ada")),
            ("target.ip.0", json!("198.51.100.2")),
            ("securityResult.0.severityDetails", json!("3")),
        ],
    );
    check(
        &[r#"{"ts":1763632800,"host":"door-7","email":"ada@example.com","weird key":1,"a.b":{"c":true}}"#],
        "JSON",
        &[
            ("metadata.eventTimestamp", json!("2025-11-20T10:00:00Z")),
            ("metadata.eventType", json!("STATUS_UPDATE")),
            ("principal.hostname", json!("door-7")),
            ("principal.user.emailAddresses.0", json!("ada@example.com")),
        ],
    );
    check(
        &[
            r#"{"level":"INFO","record":"{\"when\":\"x\",\"client\":{\"ip\":\"192.0.2.7\"},\"loginTime\":\"2026-11-20T10:00:00Z\"}"}"#,
        ],
        "JSON",
        &[("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")), ("principal.ip.0", json!("192.0.2.7"))],
    );
    check(&["{}"], "JSON", &[("metadata.eventType", json!("GENERIC_EVENT"))]);
}

#[test]
fn syslog_and_what_is_in_it() {
    check(
        &[r#"<14>1 2026-11-20T10:00:00.5Z gate-1 doord 77 ID47 [x@1 a="b]"] {"src_ip":"192.0.2.7","msg":"hello"}"#],
        "JSON behind a header of syslog (RFC 5424)",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00.500Z")),
            ("metadata.description", json!("hello")),
            ("principal.hostname", json!("gate-1")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.application", json!("doord")),
        ],
    );
    check(
        &[
            "<30>Nov 20 10:00:00 gate-1 fw[12]: action=deny srcip=192.0.2.7 srcport=4711 dstip=198.51.100.2 dstport=443 user=\"Ada L\" msg=\"not today\"",
            "<30>Nov 20 10:00:09 gate-1 fw[12]: action=allow srcip=192.0.2.8 msg=\"a = b\"",
        ],
        "key-value pairs behind a header of syslog (RFC 3164)",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.eventType", json!("NETWORK_CONNECTION")),
            ("metadata.description", json!("not today")),
            ("principal.hostname", json!("gate-1")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.port", json!(4711)),
            ("principal.user.userid", json!("Ada L")),
            ("target.port", json!(443)),
            ("securityResult.0.actionDetails", json!("deny")),
        ],
    );
    check(
        &["<166>Nov 20 2026 10:00:00 gate-1 : %GATE-6-1: opened for 192.0.2.7"],
        "text behind a header of syslog (RFC 3164)",
        &[("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")), ("principal.hostname", json!("gate-1"))],
    );
    check(
        &["<30>Nov 20 10:00:00 192.0.2.9 sshd[12]: Accepted password for user ada from 192.0.2.7 port 22"],
        "text behind a header of syslog (RFC 3164)",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.description", json!("Accepted password for user ada from 192.0.2.7 port 22")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.user.userid", json!("ada")),
        ],
    );
}

#[test]
fn cef_and_leef() {
    check(
        &[
            "Nov 20 10:00:00 gate-1 CEF:0|Acme|Door \\| Gate|1.2|100|door opened|5|rt=1763632800000 src=192.0.2.7 spt=4711 dst=198.51.100.2 suser=ada msg=as easy as a b c act=open",
        ],
        "CEF behind a header of syslog (RFC 3164)",
        &[
            ("metadata.eventTimestamp", json!("2025-11-20T10:00:00Z")),
            ("metadata.eventType", json!("NETWORK_CONNECTION")),
            ("metadata.vendorName", json!("Acme")),
            ("metadata.productName", json!("Door \\| Gate")),
            ("metadata.description", json!("as easy as a b c")),
            ("principal.port", json!(4711)),
            ("principal.user.userid", json!("ada")),
            ("securityResult.0.actionDetails", json!("open")),
        ],
    );
    check(
        &["CEF:0|Acme|Door|1.2|100|door opened|5|shost=gate-1 cs1Label=x cs1=y"],
        "CEF",
        &[
            ("metadata.description", json!("door opened")),
            ("metadata.productEventType", json!("100")),
            ("metadata.productVersion", json!("1.2")),
            ("principal.hostname", json!("gate-1")),
            ("securityResult.0.severityDetails", json!("5")),
        ],
    );
    check(
        &["LEEF:1.0|Acme|Door|1.2|opened|src=192.0.2.7\tusrName=ada\tdevTime=2026-11-20 10:00:00\tmsg=a b"],
        "LEEF",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.productName", json!("Door")),
            ("metadata.productEventType", json!("opened")),
            ("metadata.description", json!("a b")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.user.userid", json!("ada")),
        ],
    );
    check(
        &["LEEF:2.0|Acme|Door|1.2|opened|^|src=192.0.2.7^usrName=ada"],
        "LEEF",
        &[("principal.ip.0", json!("192.0.2.7")), ("metadata.productEventType", json!("opened"))],
    );
}

#[test]
fn key_value_pairs() {
    check(
        &["date=2026-11-20 time=10:00:00 devname=\"gate-1\" srcip=192.0.2.7 dstip=198.51.100.2 action=\"accept\""],
        "key-value pairs",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("principal.hostname", json!("gate-1")),
            ("target.ip.0", json!("198.51.100.2")),
        ],
    );
    check(
        &["user: ada; client_ip: 192.0.2.7; reason: late"],
        "key-value pairs",
        &[("principal.ip.0", json!("192.0.2.7")), ("principal.user.userid", json!("ada"))],
    );
    check(
        &["user=ada\tclient.ip=192.0.2.7\treason=late again"],
        "key-value pairs",
        &[("principal.ip.0", json!("192.0.2.7")), ("metadata.description", json!("late again"))],
    );
}

#[test]
fn columns() {
    check(
        &[
            "2026-11-20 10:00:00,192.0.2.7,198.51.100.2,\"GET, again\",200",
            "2026-11-20 10:00:01,192.0.2.8,198.51.100.2,POST,404",
        ],
        "CSV",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.eventType", json!("NETWORK_CONNECTION")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("target.ip.0", json!("198.51.100.2")),
        ],
    );
    check(&["a\tb\tc\t192.0.2.7", "d\te\tf\t192.0.2.8"], "CSV", &[("principal.ip.0", json!("192.0.2.7"))]);
}

#[test]
fn xml() {
    check(
        &[
            "<Event xmlns='urn:x'><System><TimeCreated SystemTime='2026-11-20T10:00:00Z'/><Computer>gate-1</Computer><EventID>4711</EventID></System><EventData><Data Name='SubjectUserName'>ada</Data><Data Name='IpAddress'>192.0.2.7</Data></EventData></Event>",
        ],
        "XML",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.productEventType", json!("4711")),
            ("principal.hostname", json!("gate-1")),
            ("principal.ip.0", json!("192.0.2.7")),
            ("principal.user.userid", json!("ada")),
        ],
    );
}

#[test]
fn text() {
    check(
        &["192.0.2.7 - ada [20/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 17"],
        "text",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.eventType", json!("STATUS_UPDATE")),
            ("principal.ip.0", json!("192.0.2.7")),
        ],
    );
    check(
        &["2026-11-20 10:00:00 flow from 192.0.2.7 to 198.51.100.2\nsecond line"],
        "text",
        &[
            ("metadata.eventTimestamp", json!("2026-11-20T10:00:00Z")),
            ("metadata.eventType", json!("NETWORK_CONNECTION")),
            ("target.ip.0", json!("198.51.100.2")),
        ],
    );
    check(&["nothing to see"], "text", &[("metadata.description", json!("nothing to see"))]);
    check(&["{ broken json", "\u{feff}", "\"quo\\ted\" %{message} [x]"], "text", &[]);
    check(&[], "text", &[]);
}

proptest! {
    /// Whatever the samples are, the parser reads them, and what stands in them does not get into it.
    #[test]
    fn any_samples(
        samples in proptest::collection::vec(prop_oneof![
            "\\PC{0,60}",
            "(<[0-9]{1,3}>)?(Nov 20 10:00:00 h p: )?([a-z%{}\"\\\\]{1,4}=[a-z0-9\" %{}\\\\]{0,5} ){0,6}",
            "\\{(\"[a-z.%{}]{1,4}\":(\"[0-9a-z.]{0,9}\"|[0-9]{1,13}|\\{\\}|null|\\[\\]),){0,4}\"user\":\"x\"\\}",
            "CEF:0(\\|[a-z]{0,3}){7}([a-z]{1,3}=[a-z \\\\=]{0,4} ){0,4}",
            "([0-9a-z.\"]{0,5}[,|;]){3,7}",
            "<a><b c='[a-z0-9.]{0,8}'>[a-z0-9]{0,4}</b></a>",
        ], 0..4),
        log_type in "\\PC{0,12}",
    ) {
        let samples: Vec<&str> = samples.iter().map(String::as_str).collect();
        events(&log_type, &samples);
    }
}
