//! How fast one event is checked, walked for the store, asked by a search, and shown to a client, on one thread.
//!
//! `cargo bench -p udm`. Counts this thread's CPU time, so that a busy machine does not blur it; prints, asserts
//! nothing about time.

use udm::{Mode, Root, Schema, Selection};

fn main() {
    let schema = Schema::load();
    let events: Vec<String> = (0..1_000).map(event).collect();
    let paths = ["metadata.event_type", "principal.ip", "target.user.userid", "principal.labels[\"env\"]"]
        .map(|path| schema.resolve(Root::Event, path).expect("the path exists"));
    let selection = Selection::new(&schema, Root::Event, &paths);
    let mut out = Vec::new();
    let mut cases: Vec<(&str, Box<dyn FnMut(&[u8]) -> usize>)> = vec![
        ("check", Box::new(|json| schema.check(Root::Event, json, Mode::Lenient).map_or(0, |good| good.issues.len()))),
        (
            "visit_leaves",
            Box::new(|json| {
                let mut bytes = 0;
                schema.visit_leaves(Root::Event, json, &mut |leaf| bytes += leaf.text.len());
                bytes
            }),
        ),
        (
            "extract, four fields",
            Box::new(|json| {
                let mut values = 0;
                selection.extract(json, &mut |slot, _| values += slot);
                values
            }),
        ),
        (
            "write_proto_json",
            Box::new(|json| {
                out.clear();
                schema.write_proto_json(Root::Event, json, &mut out).count + out.len()
            }),
        ),
    ];
    let bytes: usize = events.iter().map(String::len).sum();
    for (name, run) in &mut cases {
        let rounds = 200;
        let start = cpu_secs();
        for event in (0..rounds).flat_map(|_| &events) {
            std::hint::black_box(run(event.as_bytes()));
        }
        let secs = cpu_secs() - start;
        let (events, bytes) = ((rounds * events.len()) as f64, (rounds * bytes) as f64);
        println!("{name}: {:.0} ns per event, {:.0} MB/s", secs / events * 1e9, bytes / secs / 1e6);
    }
}

/// Seconds that this thread has run on a CPU (Linux).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts every thread's time");
    let nanos: f64 =
        stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("its first number is nanoseconds");
    nanos / 1e9
}

fn event(number: usize) -> String {
    format!(
        r#"{{"metadata":{{"event_timestamp":"2026-11-21T20:15:{:02}.187Z","event_type":"USER_LOGIN","product_name":"Acme SSO","vendorName":"Acme","product_log_id":"{number}"}},"principal":{{"hostname":"host{number}","ip":"10.1.{}.{}","port":60000,"user":{{"userid":"user{number}","email_addresses":["user{number}@altostrat.com"]}},"labels":[{{"key":"env","value":"prod"}}]}},"target":{{"application":"Acme Connect","user":{{"user_display_name":"Mary Jane {number}","userid":"mary@altostrat.com"}},"url":"https://www.altostrat.com/images/logo.png"}},"network":{{"sent_bytes":{number},"session_duration":"1.5s"}},"security_result":{{"action":"ALLOW","severity":"INFORMATIONAL","summary":"allowed by policy"}},"additional":{{"run":{number},"tags":["a","b"],"owner":{{"team":"secops"}}}},"extensions":{{"auth":{{"type":"MACHINE","mechanism":["NETWORK"]}}}}}}"#,
        number % 60,
        number / 256 % 256,
        number % 256
    )
}
