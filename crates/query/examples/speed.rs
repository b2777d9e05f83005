//! How fast records are checked, walked and searched: `cargo run --release -p query --example speed`.
//!
//! Each line is the best of many rounds over made-up records, in millions of bytes of JSON or text per second of one
//! core, and in records per millisecond.

use std::hint::black_box;
use std::time::Instant;

use event::Kind;
use query::oci::{Condition, Scope, predicate};
use query::{Options, Predicate, parse_udm, raw_regex, raw_text};
use udm::{Mode, Root, Schema};

fn main() {
    let schema = Schema::load();
    let events: Vec<String> = (0..20_000).map(event).collect();
    let lines: Vec<String> = (0..40_000).map(line).collect();
    println!("{} events of {} bytes, {} lines of {} bytes", events.len(), events[0].len(), lines.len(), lines[0].len());

    measure("check", &events, |json| {
        black_box(schema.check(Root::Event, json, Mode::Lenient).is_ok());
    });
    measure("visit_leaves", &events, |json| {
        let mut bytes = 0;
        schema.visit_leaves(Root::Event, json, &mut |leaf| bytes += leaf.text.len() + leaf.path.len());
        black_box(bytes);
    });
    for query in [
        r#"principal.ip = "10.1.2.3""#,
        r#"ip = "10.1.2.3" OR hostname = /^web-7/ OR user = "nobody""#,
        r#"metadata.event_type = "USER_LOGIN" AND target.port > 1000 AND additional.fields["team"] = "red""#,
    ] {
        let predicate = parse_udm(query, &schema, Options::default()).expect("the query is good");
        search(query, &predicate, Kind::Udm, &events);
    }
    for (name, predicate) in [
        ("raw text, minding case", raw_text("Accepted publickey for nobody", true)),
        ("raw text, any case", raw_text("accepted PUBLICKEY for nobody", false)),
        ("raw text, outside ASCII", raw_text("müller", false)),
        ("raw regex with a literal", raw_regex("session=[0-9a-f]+zz", true)),
        ("raw regex, any case", raw_regex("user=(root|admin)x", false)),
    ] {
        search(name, &predicate.expect("the pattern is good"), Kind::Raw, &lines);
    }

    let flows: Vec<String> = (0..20_000).map(flow).collect();
    println!("{} log entries of {} bytes", flows.len(), flows[0].len());
    for text in [
        "true",
        "type = 'com.oraclecloud.vcn.flowlogs.DataEvent'",
        "source = 'compute-for-log-test'",
        "data.sourceAddress = '10.1.2.3' or data.destinationAddress = '10.1.2.3'",
        "data.action = 'ACCEPT' and data.destinationPort in (22, 3389) and not data.protocolName = 'UDP'",
        "data.bytesOut > 100000",
        "logContent = '*nowhere*'",
        "contains_ci(logContent, 'NOWHERE')",
        "data.bytesOut / data.packets > 1000",
    ] {
        let condition = Condition::parse(text).expect("the condition is good");
        search(text, &predicate([Scope::default()], Some(condition)), Kind::Raw, &flows);
    }
    let scopes =
        (0..4).map(|n| Scope { log: Some(format!("ocid1.log.oc1.us-ashburn-1.{n:032x}")), ..Scope::default() });
    search("four scopes", &predicate(scopes, None), Kind::Raw, &flows);
}

fn search(name: &str, predicate: &Predicate, kind: Kind, records: &[String]) {
    measure(name, records, |data| {
        black_box(predicate.matches(kind, data));
    });
}

fn measure(name: &str, records: &[String], mut each: impl FnMut(&[u8])) {
    let mut best = 0.0f64;
    // Short rounds, so that on a busy machine some run undisturbed.
    for round in records.chunks(1_000).cycle().take(400) {
        let bytes: usize = round.iter().map(String::len).sum();
        let start = Instant::now();
        for record in round {
            each(record.as_bytes());
        }
        best = best.max(bytes as f64 / start.elapsed().as_secs_f64());
    }
    let average = records.iter().map(String::len).sum::<usize>() as f64 / records.len() as f64;
    println!("{:>8.0} MB/s {:>8.0} records/ms  {name}", best / 1e6, best / average / 1e3);
}

fn event(index: usize) -> String {
    let (a, b) = (index % 251, index * 7 % 253);
    let (minute, second) = (index / 60 % 60, index % 60);
    [
        format!(r#"{{"metadata":{{"event_timestamp":"2026-11-21T19:{minute:02}:{second:02}.123456Z","#),
        r#""event_type":"USER_LOGIN","product_name":"Identity Cloud","vendor_name":"Okta","#.to_owned(),
        format!(r#""product_event_type":"user.session.start","product_log_id":"{index:032x}"}},"#),
        format!(r#""principal":{{"ip":["10.{a}.{b}.7"],"hostname":"web-{a}.example.internal","#),
        format!(r#""user":{{"userid":"user{b}@example.com","user_display_name":"User Number {b}"}},"#),
        r#""location":{"city":"Zurich","country_or_region":"Switzerland"}},"#.to_owned(),
        r#""target":{"application":"Identity Cloud","hostname":"sso.example.com","port":443,"#.to_owned(),
        format!(r#""url":"https://sso.example.com/login/{index}"}},"#),
        r#""network":{"http":{"user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},"#.to_owned(),
        format!(r#""session_id":"{index:x}","ip_protocol":"TCP"}},"#),
        r#""security_result":[{"action":["ALLOW"],"summary":"User login to the identity cloud","#.to_owned(),
        format!(r#""severity":"LOW"}}],"additional":{{"team":"blue","zone":"z{a}"}},"#),
        r#""extensions":{"auth":{"type":"SSO","mechanism":["USERNAME_PASSWORD"]}}}"#.to_owned(),
    ]
    .concat()
}

fn flow(index: usize) -> String {
    let (a, b, log) = (index % 251, index * 7 % 253, index % 7);
    let (minute, second) = (index / 60 % 60, index % 60);
    [
        format!(
            r#"{{"data":{{"action":"ACCEPT","bytesOut":{},"destinationAddress":"10.0.2.{b}","#,
            index * 37 % 90_000
        ),
        format!(r#""destinationPort":{},"endTime":1696385010,"flowid":"{index:08x}","packets":7,"#, 20 + index % 40),
        format!(
            r#""protocol":6,"protocolName":"TCP","sourceAddress":"132.145.{a}.{b}","sourcePort":{},"#,
            1024 + index
        ),
        r#""startTime":1696384980,"status":"OK","version":"2"},"#.to_owned(),
        format!(r#""id":"{index:032x}","oracle":{{"compartmentid":"ocid1.compartment.oc1..{log:032x}","#),
        format!(r#""ingestedtime":"2023-10-04T02:{minute:02}:{second:02}.123Z","#),
        format!(r#""loggroupid":"ocid1.loggroup.oc1.us-ashburn-1.{log:032x}","#),
        format!(r#""logid":"ocid1.log.oc1.us-ashburn-1.{log:032x}","tenantid":"ocid1.tenancy.oc1..{:032x}"}},"#, 1),
        format!(r#""source":"-","specversion":"1.0","time":"2023-10-04T02:{minute:02}:{second:02}.000Z","#),
        r#""type":"com.oraclecloud.vcn.flowlogs.DataEvent"}"#.to_owned(),
    ]
    .concat()
}

fn line(index: usize) -> String {
    let (a, b) = (index % 251, index * 7 % 253);
    let (minute, second) = (index / 60 % 60, index % 60);
    [
        format!(
            "Nov 21 19:{minute:02}:{second:02} web-{a} sshd[{index}]: Accepted publickey for user{b} from 10.{a}.{b}.7 "
        ),
        format!("port 50{a} ssh2: ED25519 SHA256:{index:043x} session={index:016x} user=user{b} tty=pts/{b} "),
        format!("cwd=/home/user{b} command=/usr/bin/rsync --server --sender"),
    ]
    .concat()
}
