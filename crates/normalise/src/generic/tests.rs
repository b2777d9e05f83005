//! Records of every shape, and the events that they make.

use proptest::prelude::*;
use serde_json::{Value, json};
use udm::{Mode, Root, Schema};

use super::*;

fn told() -> Told<'static> {
    Told {
        log_type: "SOME_TYPE",
        received_at: "2026-03-01T12:00:00Z".parse().unwrap(),
        sender_time: Some("2026-03-01T11:59:00Z".parse().unwrap()),
    }
}

/// Reads a record and checks the event against the schema.
#[track_caller]
fn event(schema: &Schema, log: &[u8]) -> Generic {
    let event = read(log, &told());
    let checked = schema.check(Root::Event, event.json.as_bytes(), Mode::Strict);
    assert!(checked.as_ref().is_ok_and(|good| good.issues.is_empty()), "{}: {checked:?}", event.json);
    event
}

/// `fields` is what the event holds besides its type and log type; without a time it is the sender's.
#[track_caller]
fn check(schema: &Schema, log: &str, time: Option<&str>, fields: &Value) {
    let got = event(schema, log.as_bytes());
    assert_eq!(got.event_time.map(|time| time.to_string()).as_deref(), time, "{log}");
    let mut json: Value = serde_json::from_str(&got.json).unwrap();
    let metadata = json["metadata"].as_object_mut().unwrap();
    let stands = metadata.remove("eventTimestamp").unwrap();
    let stands: Timestamp = stands.as_str().unwrap().parse().unwrap();
    assert_eq!(Some(stands), got.event_time.or(told().sender_time), "{log}");
    assert_eq!(metadata.remove("eventType").unwrap(), "GENERIC_EVENT");
    assert_eq!(metadata.remove("logType").unwrap(), "SOME_TYPE");
    if metadata.is_empty() {
        json.as_object_mut().unwrap().remove("metadata");
    }
    assert_eq!(&json, fields, "{log}");
}

#[track_caller]
fn rows<const N: usize>(rows: [(&str, Option<&str>, Value); N]) {
    let schema = Schema::load();
    for (log, time, fields) in rows {
        check(&schema, log, time, &fields);
    }
}

#[test]
fn as_it_is_written() {
    let event = event(&Schema::load(), br#"<11>1 2026-03-01T10:00:00.5Z fw1 - - - - {"dst_ip":"192.0.2.9","src_ip":"192.0.2.1","user":"ann \"x\"","action":"deny","msg":"to 192.0.2.7"}"#);
    assert_eq!(
        event.json,
        r#"{"about":[{"ip":["192.0.2.7"]}],"metadata":{"description":"to 192.0.2.7","eventTimestamp":"2026-03-01T10:00:00.500Z","eventType":"GENERIC_EVENT","logType":"SOME_TYPE"},"observer":{"hostname":"fw1"},"principal":{"ip":["192.0.2.1"],"user":{"userid":"ann \"x\""}},"securityResult":[{"action":["BLOCK"],"severity":"ERROR"}],"target":{"ip":["192.0.2.9"]}}"#
    );
}

#[test]
fn words_behind_a_syslog_header() {
    rows([
        (
            "<38>Mar  1 10:00:00 web1 sshd[411]: Failed password for root from 192.0.2.1 port 51022 ssh2",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "about": [{"ip": ["192.0.2.1"]}],
                "metadata": {"description": "sshd[411]: Failed password for root from 192.0.2.1 port 51022 ssh2"},
                "principal": {"hostname": "web1"},
                "securityResult": [{"severity": "INFORMATIONAL"}],
            }),
        ),
        // A line out of a file: no priority.
        (
            "Mar  1 10:00:00 web1 sudo: ann : TTY=pts/0 ; COMMAND=/bin/ls",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"description": "sudo: ann : TTY=pts/0 ; COMMAND=/bin/ls"},
                "principal": {"hostname": "web1"},
            }),
        ),
        (
            "2026-03-01T10:00:00.123456+01:00 web1 kernel: link is up",
            Some("2026-03-01T09:00:00.123456Z"),
            json!({
                "metadata": {"description": "kernel: link is up"},
                "principal": {"hostname": "web1"},
            }),
        ),
        // The host is an address.
        (
            "<189>Mar  1 10:00:00 192.0.2.254 %ASA-5-111008: User 'enable_15' executed",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"description": "%ASA-5-111008: User 'enable_15' executed"},
                "principal": {"ip": ["192.0.2.254"]},
                "securityResult": [{"severity": "LOW"}],
            }),
        ),
        // Cisco's forms: a year, a number before the time, a clock that is not set, no host.
        (
            "<189>Mar 01 2026 10:00:00: %ASA-4-106023: Deny tcp src outside:192.0.2.1/80 dst inside:192.0.2.9/443",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "about": [{"ip": ["192.0.2.9"]}],
                "metadata": {
                    "description": "%ASA-4-106023: Deny tcp src outside:192.0.2.1/80 dst inside:192.0.2.9/443",
                },
                "securityResult": [{"severity": "LOW"}],
            }),
        ),
        (
            "<189>Mar 01 2026 10:00:00 asa-1 : %ASA-5-111008: User executed",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"description": "%ASA-5-111008: User executed"},
                "principal": {"hostname": "asa-1"},
                "securityResult": [{"severity": "LOW"}],
            }),
        ),
        (
            "<187>77: *Mar  1 10:00:00.250 UTC: %LINK-3-UPDOWN: Interface down",
            Some("2026-03-01T10:00:00.25Z"),
            json!({
                "metadata": {"description": "%LINK-3-UPDOWN: Interface down"},
                "securityResult": [{"severity": "ERROR"}],
            }),
        ),
        // An old log, or another zone: the time is left out, the rest stays.
        (
            "<34>Oct 11 22:14:15 web1 su: 'su root' failed",
            None,
            json!({
                "metadata": {"description": "su: 'su root' failed"},
                "principal": {"hostname": "web1"},
                "securityResult": [{"severity": "CRITICAL"}],
            }),
        ),
        (
            "<34>Mar  1 10:00:00 CET web1 su: failed",
            None,
            json!({
                "metadata": {"description": "su: failed"},
                "principal": {"hostname": "web1"},
                "securityResult": [{"severity": "CRITICAL"}],
            }),
        ),
        // No header: what looks like one is none.
        (
            "<999>Mar  1 10:00:00 web1 su: failed",
            None,
            json!({"metadata": {"description": "<999>Mar  1 10:00:00 web1 su: failed"}}),
        ),
        (
            "2026-03-01T10:00:00Z INFO main: started",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"description": "2026-03-01T10:00:00Z INFO main: started"},
            }),
        ),
        (
            "<13>started",
            None,
            json!({
                "metadata": {"description": "started"},
                "securityResult": [{"severity": "LOW"}],
            }),
        ),
    ]);
}

#[test]
fn the_new_form_of_syslog() {
    rows([
        (
            "<165>1 2026-03-01T22:14:15.003Z mx.example.com app 12 ID47 - \u{feff}An event",
            Some("2026-03-01T22:14:15.003Z"),
            json!({
                "metadata": {"description": "An event"},
                "principal": {"hostname": "mx.example.com"},
                "securityResult": [{"severity": "LOW"}],
            }),
        ),
        (
            r#"<14>1 2026-03-01T10:00:00Z srx1 RT_FLOW - SESSION_DENY [junos@2636.1.1.1.2.129 source-address="192.0.2.1" source-port="5000" destination-address="192.0.2.9" destination-port="443" username="a\"]b"]"#,
            Some("2026-03-01T10:00:00Z"),
            json!({
                "observer": {"hostname": "srx1"},
                "principal": {"ip": ["192.0.2.1"], "port": 5000, "user": {"userid": "a\"]b"}},
                "securityResult": [{"severity": "INFORMATIONAL"}],
                "target": {"ip": ["192.0.2.9"], "port": 443},
            }),
        ),
        ("<14>1 - - - - - -", None, json!({"securityResult": [{"severity": "INFORMATIONAL"}]})),
        // Structured data that never ends.
        (
            "<14>1 2026-03-01T10:00:00Z h a - - [x y=\"",
            None,
            json!({
                "metadata": {"description": "1 2026-03-01T10:00:00Z h a - - [x y=\""},
                "securityResult": [{"severity": "INFORMATIONAL"}],
            }),
        ),
    ]);
}

#[test]
fn objects() {
    rows([
        (
            r#"{"@timestamp": "2019-03-01T10:00:00+02:00", "host": {"name": "web1", "ip": ["192.0.2.20"]}, "source": {"ip": "192.0.2.1", "port": 5000}, "destination": {"ip": "192.0.2.9", "port": "443", "user": {"name": "bob"}}, "user": {"name": "ann"}, "event": {"action": "Allowed"}, "message": "from 192.0.2.1, by way of 192.0.2.3"}"#,
            Some("2019-03-01T08:00:00Z"),
            json!({
                "about": [{"ip": ["192.0.2.3"]}],
                "metadata": {"description": "from 192.0.2.1, by way of 192.0.2.3"},
                "observer": {"hostname": "web1", "ip": ["192.0.2.20"]},
                "principal": {"ip": ["192.0.2.1"], "port": 5000, "user": {"userid": "ann"}},
                "securityResult": [{"action": ["ALLOW"]}],
                "target": {"ip": ["192.0.2.9"], "port": 443, "user": {"userid": "bob"}},
            }),
        ),
        (
            r#"{"ts": 1772359200.25, "id.orig_h": "192.0.2.1", "remote_addr": "192.0.2.4", "agent_version": "1.2.3.4"}"#,
            Some("2026-03-01T10:00:00.25Z"),
            json!({"about": [{"ip": ["192.0.2.4"]}]}),
        ),
        (
            r#"{"eventTime": 1772359200250, "computer": "PC-7", "user": "CORP\\ann", "severity": "High"}"#,
            Some("2026-03-01T10:00:00.25Z"),
            json!({
                "principal": {"hostname": "PC-7", "user": {"userid": "CORP\\ann"}},
                "securityResult": [{"severity": "HIGH"}],
            }),
        ),
        // Nearer to the top is better, a name of the event's own time better than one of when something was made.
        (
            r#"{"created": "2020-01-01T00:00:00Z", "a": {"user": "inner", "time": "2021-01-01T00:00:00Z"}, "timestamp": "2026-03-01T10:00:00Z", "user": "outer"}"#,
            Some("2026-03-01T10:00:00Z"),
            json!({"principal": {"user": {"userid": "outer"}}}),
        ),
        (
            r#"{"user": "bob", "actor": "ann", "actor_ip": "192.0.2.1"}"#,
            None,
            json!({"principal": {"ip": ["192.0.2.1"], "user": {"userid": "ann"}}}),
        ),
        // No time at which anything happened.
        (
            r#"{"end": "2099-01-01T00:00:00Z", "created": "2026-03-01T10:00:00Z"}"#,
            Some("2026-03-01T10:00:00Z"),
            json!({}),
        ),
        (r#"{"user": 7, "message": 0.1e1, "host": 1.5}"#, None, json!({"principal": {"user": {"userid": "7"}}})),
        (r#"{"policy": {"created": "2020-01-01T00:00:00Z"}}"#, None, json!({})),
        // The zone stands elsewhere, or is none that can be known.
        (r#"{"time": "2026-03-01 03:00:00", "timezone": "-0700"}"#, Some("2026-03-01T10:00:00Z"), json!({})),
        (r#"{"time": "2026-03-01 03:00:00", "timezone": "MST"}"#, None, json!({})),
        (r#"{"time": "2026-03-01 03:00:00"}"#, Some("2026-03-01T03:00:00Z"), json!({})),
        (r#"{"time": "2025-03-01 03:00:00"}"#, None, json!({})),
        // Hosts and users that are not the event's.
        (
            r#"{"http": {"request": {"headers": {"host": "www.example.com"}}}, "requestParameters": {"userName": "new"}, "target": {"hostname": "db1"}}"#,
            None,
            json!({"target": {"hostname": "db1"}}),
        ),
        // Four deep, and no deeper.
        (
            r#"{"a": {"b": {"c": {"src_ip": "192.0.2.1", "d": {"dst_ip": "192.0.2.9"}}}}}"#,
            None,
            json!({
                "principal": {"ip": ["192.0.2.1"]},
            }),
        ),
        // Values that say nothing, or not what their names promise.
        (
            r#"{"user": "-", "host": "unknown", "src_ip": "N/A", "dst_ip": "10.0.0.0/8", "src_port": 0, "dst_port": 70000, "action": "maybe", "time": true, "ip": null}"#,
            None,
            json!({}),
        ),
        (r#"{"user": "a\u0000b", "message": "x\u0000y"}"#, None, json!({})),
        // Cut off by its sender.
        (
            r#"<14>Mar  1 10:00:00 web1 app[1]: {"src_ip": "192.0.2.1", "msg": "half of a sent"#,
            Some("2026-03-01T10:00:00Z"),
            json!({
                "observer": {"hostname": "web1"},
                "principal": {"ip": ["192.0.2.1"]},
                "securityResult": [{"severity": "INFORMATIONAL"}],
            }),
        ),
        // Not JSON after all.
        (
            r#"{"src_ip": "192.0.2.1", oops}"#,
            None,
            json!({
                "about": [{"ip": ["192.0.2.1"]}],
                "metadata": {"description": "{\"src_ip\": \"192.0.2.1\", oops}"},
            }),
        ),
    ]);
}

#[test]
fn cef_and_leef() {
    rows([
        (
            r"<134>Mar  1 10:00:00 relay CEF:0|Security|threat\|manager|1.0|100|worm stopped|10|src=192.0.2.1 dst=2001:db8::9 spt=1232 dpt=80 suser=ann duser=bob dhost=db1 dvchost=ids1 act=blocked rt=1772355600000 msg=Found a\=b in C:\\x cs1Label=x cs1=y",
            Some("2026-03-01T09:00:00Z"),
            json!({
                "metadata": {
                    "description": r"Found a=b in C:\x",
                    "productEventType": "100 - worm stopped",
                    "productName": "threat|manager",
                    "productVersion": "1.0",
                    "vendorName": "Security",
                },
                "observer": {"hostname": "ids1"},
                "principal": {"ip": ["192.0.2.1"], "port": 1232, "user": {"userid": "ann"}},
                "securityResult": [{"action": ["BLOCK"], "severity": "CRITICAL"}],
                "target": {"hostname": "db1", "ip": ["2001:db8::9"], "port": 80, "user": {"userid": "bob"}},
            }),
        ),
        (
            "CEF:0|Vendor|Product|9|||Very-High|end=Mar 01 2026 10:00:00 GMT shost=pc7 start=Mar 01 2026 09:00:00 GMT",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"productName": "Product", "productVersion": "9", "vendorName": "Vendor"},
                "principal": {"hostname": "pc7"},
                "securityResult": [{"severity": "CRITICAL"}],
            }),
        ),
        // Too few fields to be any.
        ("CEF:0|Vendor|Product", None, json!({"metadata": {"description": "CEF:0|Vendor|Product"}})),
        (
            "LEEF:1.0|Vendor|Product|4.2|block|src=192.0.2.1\tdst=192.0.2.9\tsev=5\tusrName=ann\tdevTime=Mar 01 2026 10:00:00 GMT\tdevName=fw1",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {
                    "productEventType": "block",
                    "productName": "Product",
                    "productVersion": "4.2",
                    "vendorName": "Vendor",
                },
                "observer": {"hostname": "fw1"},
                "principal": {"ip": ["192.0.2.1"], "user": {"userid": "ann"}},
                "securityResult": [{"severity": "MEDIUM"}],
                "target": {"ip": ["192.0.2.9"]},
            }),
        ),
        (
            "LEEF:2.0|Vendor|Product|4.2|block|^|src=192.0.2.1^srcPort=81^action=permit",
            None,
            json!({
                "metadata": {
                    "productEventType": "block",
                    "productName": "Product",
                    "productVersion": "4.2",
                    "vendorName": "Vendor",
                },
                "principal": {"ip": ["192.0.2.1"], "port": 81},
                "securityResult": [{"action": ["ALLOW"]}],
            }),
        ),
        (
            "LEEF:2.0|Vendor|Product|4.2|block|x5E|src=192.0.2.1^srcPort=81",
            None,
            json!({
                "metadata": {
                    "productEventType": "block",
                    "productName": "Product",
                    "productVersion": "4.2",
                    "vendorName": "Vendor",
                },
                "principal": {"ip": ["192.0.2.1"], "port": 81},
            }),
        ),
    ]);
}

#[test]
fn plain_pairs() {
    rows([
        (
            r#"<189>date=2026-03-01 time=03:00:00 tz="-0700" devname="fw1" srcip=192.0.2.1 srcport=5000 dstip=192.0.2.9 dstport=443 hostname="www.example.com" user="CORP\nancy" action="deny" msg="no \"way\" to 192.0.2.9""#,
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {"description": "no \"way\" to 192.0.2.9"},
                "observer": {"hostname": "fw1"},
                "principal": {"ip": ["192.0.2.1"], "port": 5000, "user": {"userid": r"CORP\nancy"}},
                "securityResult": [{"action": ["BLOCK"], "severity": "LOW"}],
                "target": {"ip": ["192.0.2.9"], "port": 443},
            }),
        ),
        (
            "src=192.0.2.1:5000:X1, dst=192.0.2.9:443:X0, outcome=accept, n=1",
            None,
            json!({
                "principal": {"ip": ["192.0.2.1"], "port": 5000},
                "securityResult": [{"action": ["ALLOW"]}],
                "target": {"ip": ["192.0.2.9"], "port": 443},
            }),
        ),
        ("a=1;src_ip=192.0.2.1;user=ann", None, json!({"principal": {"ip": ["192.0.2.1"], "user": {"userid": "ann"}}})),
        // A message without quotes goes on to the next key.
        (
            "msg=all went well src=192.0.2.1 user=ann",
            None,
            json!({
                "metadata": {"description": "all went well"},
                "principal": {"ip": ["192.0.2.1"], "user": {"userid": "ann"}},
            }),
        ),
        (
            "Mar  1 10:00:00 gw kernel: DROP IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.9 PROTO=TCP SPT=5000 DPT=22",
            Some("2026-03-01T10:00:00Z"),
            json!({
                "metadata": {
                    "description": "kernel: DROP IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.9 PROTO=TCP SPT=5000 DPT=22",
                },
                "observer": {"hostname": "gw"},
                "principal": {"ip": ["192.0.2.1"], "port": 5000},
                "target": {"ip": ["192.0.2.9"], "port": 22},
            }),
        ),
        // Two pairs are words.
        (
            "login user=ann src=192.0.2.1",
            None,
            json!({
                "about": [{"ip": ["192.0.2.1"]}],
                "metadata": {"description": "login user=ann src=192.0.2.1"},
            }),
        ),
        // As is a query.
        (
            "GET /?a=1&user=ann&src=192.0.2.1 done",
            None,
            json!({
                "about": [{"ip": ["192.0.2.1"]}],
                "metadata": {"description": "GET /?a=1&user=ann&src=192.0.2.1 done"},
            }),
        ),
        // A quote that nothing closes.
        ("a=\"1 b='2 user=ann", None, json!({"principal": {"user": {"userid": "ann"}}})),
    ]);
}

#[test]
fn other_texts() {
    rows([
        (
            r#"192.0.2.1 - ann [01/Mar/2000:03:00:00 -0700] "GET / HTTP/1.1" 200 12"#,
            Some("2000-03-01T10:00:00Z"),
            json!({
                "about": [{"ip": ["192.0.2.1"]}],
                "metadata": {"description": r#"192.0.2.1 - ann [01/Mar/2000:03:00:00 -0700] "GET / HTTP/1.1" 200 12"#},
            }),
        ),
        (
            "[2026-03-01 10:00:00,123] ERROR agent version 1.2.3.4 lost",
            Some("2026-03-01T10:00:00.123Z"),
            json!({
                "metadata": {"description": "[2026-03-01 10:00:00,123] ERROR agent version 1.2.3.4 lost"},
            }),
        ),
        (
            "<Event><Ip>192.0.2.1</Ip></Event>",
            None,
            json!({"metadata": {"description": "<Event><Ip>192.0.2.1</Ip></Event>"}}),
        ),
        ("ends as in C\0", None, json!({"metadata": {"description": "ends as in C"}})),
        ("\u{1}\u{2}\u{3} 192.0.2.1", None, json!({})),
        ("", None, json!({})),
        ("   ", None, json!({})),
    ]);
    let schema = Schema::load();
    assert_eq!(event(&schema, b"a\0b\0c\0"), event(&schema, b""), "text of two bytes a character");
    assert_eq!(event(&schema, b"caf\xe9 192.0.2.1"), event(&schema, b"caf"), "what is no UTF-8 ends the text");
}

#[test]
fn limits() {
    let schema = Schema::load();
    let many: Vec<String> = (1..=20).map(|at| format!("192.0.2.{at}")).collect();
    let got = event(&schema, many.join(" ").as_bytes());
    assert_eq!(got.json.matches("192.0.2.").count() - many.join(" ").matches("192.0.2.").count(), 10);

    let long = "é".repeat(40_000);
    let got = event(&schema, format!("x{long}").as_bytes());
    assert!(got.json.contains(&format!("\"x{}\"", "é".repeat(511))), "cut between two characters");

    let far =
        format!("{{\"user\": \"ann\", \"x\": \"{}\", \"src_ip\": \"192.0.2.1\"}}", "x".repeat(LOOKED_AT_BYTES_MAX));
    let got = event(&schema, far.as_bytes());
    assert!(got.json.contains("ann") && !got.json.contains("192.0.2.1"), "{}", got.json);

    for nested in ["[", "{\"a\":", "{\"ip\":[", "{\"ip\":["] {
        event(&schema, nested.repeat(20_000).as_bytes());
    }
}

/// Pieces that records are made of, in any order and number.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "<134>",
            "<38>1 ",
            "Mar  1 10:00:00 ",
            "2026-03-01T10:00:00Z ",
            "web1 ",
            "sshd[1]: ",
            "CEF:0|",
            "LEEF:2.0|",
            "|",
            "^|",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            ":",
            ",",
            " ",
            "\t",
            "\\",
            "=",
            "\"src_ip\":",
            "\"host\":{",
            "\"user\":",
            "\"time\":",
            "\"msg\":",
            "src=",
            "dst=",
            "msg=",
            "user=\"",
            "rt=",
            "date=2026-03-01 ",
            "time=10:00:00 ",
            "tz=",
            "192.0.2.1",
            "2001:db8::1",
            "1772359200",
            "1e400",
            "deny",
            "- ",
            "<x>",
            "\\u0000",
            "\\n",
            "é",
            "\0",
            "\u{feff}",
            "2026-03-01T24:00:00+99:99",
            "Feb 30 10:00:60 ",
            "null",
            "1.50",
            "1e1",
            "\"action\":",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        "\\PC{0,5}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Objects and pairs whose names mean something, with values that may be anything.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "src",
        "source.ip",
        "dst_ip",
        "host",
        "user",
        "target",
        "port",
        "src_port",
        "message",
        "time",
        "date",
        "timezone",
        "ip",
        "action",
        "severity",
        "dvc",
        "other_ip",
        "name",
        "end",
    ]);
    let value = prop::sample::select(vec![
        "192.0.2.1",
        "\"192.0.2.2:80\"",
        "\"web1\"",
        "\"ann\"",
        "7",
        "-1",
        "1.50",
        "1e1",
        "1772359200",
        "\"deny\"",
        "\"-\"",
        "null",
        "true",
        "[\"192.0.2.3\", 4]",
        "{\"ip\": \"::1\", \"port\": 5, \"name\": \"x\"}",
        "\"2026-03-01 10:00:00\"",
        "\"2026-03-01\"",
        "\"10:00:00\"",
        "\"UTC\"",
        "\"\"",
        "\" 192.0.2.4 \"",
        "\"to 192.0.2.5, é\"",
    ]);
    let all = prop::collection::vec((name, value), 0..12);
    (all, any::<bool>()).prop_map(|(all, as_object)| {
        let texts = all.iter().map(|(name, value)| match as_object {
            true => format!("\"{name}\": {value}"),
            false => format!("{name}={value}"),
        });
        let texts: Vec<String> = texts.collect();
        if as_object { format!("{{{}}}", texts.join(", ")) } else { texts.join(" ") }.into_bytes()
    })
}

#[test]
fn any_bytes_make_an_event() {
    let schema = Schema::load();
    proptest!(|(log in prop::collection::vec(any::<u8>(), 0..300))| {
        event(&schema, &log);
    });
}

#[test]
fn any_pieces_make_an_event_of_what_stands_there() {
    let schema = Schema::load();
    proptest!(|(log in prop_oneof![pieces(), fields()])| {
        let got = event(&schema, &log);
        // Escapes are what may make a value other than its text.
        if !log.contains(&b'\\') {
            let text = String::from_utf8_lossy(&log);
            let mut json: Value = serde_json::from_str(&got.json).unwrap();
            let metadata = json["metadata"].as_object_mut().unwrap();
            for ours in ["eventTimestamp", "eventType", "logType", "productEventType"] {
                metadata.remove(ours);
            }
            json.as_object_mut().unwrap().remove("securityResult");
            stands_in(&text, &json);
        }
    });
}

fn stands_in(text: &str, json: &Value) {
    match json {
        Value::Object(fields) => fields.values().for_each(|value| stands_in(text, value)),
        Value::Array(list) => list.iter().for_each(|value| stands_in(text, value)),
        Value::String(value) => assert!(text.contains(value), "{value} in {text}"),
        value => assert!(text.contains(&value.to_string()), "{value} in {text}"),
    }
}
