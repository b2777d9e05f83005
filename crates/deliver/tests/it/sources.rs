//! Sources in OCI's words: scopes and conditions.

use deliver::ConnectorConfig;
use event::Kind;
use serde_json::{Value, json};

use crate::fake_function::{COMPARTMENT, Function, GROUP, LOG, entry, entry_of, to_function};
use crate::world::{Frame, INSTANCE, OTHER_INSTANCE, World, oci, raw, until, with};

/// Sources, and what of a mixed log they let through.
#[tokio::test]
async fn scopes_and_conditions() {
    let group = |group: &str| json!({"compartments": [COMPARTMENT], "log_group": group});
    let cases = [
        (json!({"scopes": [group(GROUP)]}), vec![1, 2, 3], 3),
        (json!({"scopes": [group("_Audit")]}), vec![5], 1),
        (json!({"scopes": [group(GROUP), group("_Audit")]}), vec![1, 2, 3, 5], 4),
        (json!({"scopes": [{"log_group": GROUP}]}), vec![1, 2, 3, 4], 4),
        (json!({"scopes": [{"log_group": GROUP, "log": LOG}]}), vec![1, 2, 4], 3),
        (json!({"scopes": [{}]}), vec![1, 2, 3, 4, 5], 5),
        (json!({"scopes": [{"compartments": ["ocid1.compartment.oc1..9", "ocid1.compartment.oc1..8"]}]}), vec![4], 1),
        (json!({"scopes": []}), vec![], 0),
        (json!({"scopes": [group(GROUP)], "query": "data.even = true"}), vec![2], 3),
        (json!({"scopes": [group(GROUP)], "query": "logContent.data.n = 1 or logContent.data.n = 3"}), vec![1, 3], 3),
        (json!({"scopes": [group(GROUP)], "log_types": ["OCI_AUDIT"]}), vec![], 0),
    ];
    for (source, expected, read_from_source) in cases {
        let mut world = World::new();
        let function = Function::of(&mut world);
        world.append(oci([&*entry(1), &*entry(2), &*entry_of(3, COMPARTMENT, GROUP, "other")])).await;
        world.append(oci([&*entry_of(4, "ocid1.compartment.oc1..9", GROUP, LOG)])).await;
        let audit = entry_of(5, COMPARTMENT, "_Audit", "");
        world.append(Frame { log_type: "OCI_AUDIT", ..raw([&*audit]) }).await;
        // Neither another log type, nor another kind, nor another tenant.
        let other = entry(6);
        world.append(raw([&*other])).await;
        world.append(Frame { instance: INSTANCE, kind: Kind::Udm, log_type: "OCI_AUDIT", records: vec![&other] }).await;
        world.append(Frame { instance: OTHER_INSTANCE, ..oci([&*other]) }).await;

        let source = with(json!({"language": "oci"}), source);
        let mut document = to_function();
        document["source"] = source.clone();
        let deliver = world.start(&[document]).await;
        let end = world.log.status().durable_to;
        let status = until(&deliver, |status| status.cursor == end).await;
        assert_eq!(function.numbers().concat(), expected, "{source}");
        assert_eq!((status.read, status.written), (7, expected.len() as u64), "{source}");
        let metric = crate::metrics::sum(&deliver, deliver::Metric::MessagesReadFromSource);
        assert_eq!(metric, f64::from(read_from_source), "{source}");
    }
}

#[test]
fn documents_that_are_refused() {
    let cases = [
        (json!({"target": {"function": ""}}), "target.function: is a function's OCID"),
        (json!({"target": {"name": "a\u{1}"}}), "target.name: is a function's name"),
        (json!({"target": {"function": null}}), "target: invalid type: null"),
        (json!({"target": {"url": "http://x"}}), "target: unknown field `url`"),
        (json!({"target": {"type": "lambda"}}), "target: unknown variant `lambda`"),
        (
            json!({"target": {"batch_bytes_max": 6_000_001}}),
            "target.batch_bytes_max: 6000001 is not within 1000 to 6000000",
        ),
        (json!({"target": {"batch_wait_ms": 600_001}}), "target.batch_wait_ms: 600001 is not within 0 to 600000"),
        (json!({"target": {"batch_records_max": 0}}), "target.batch_records_max: 0 is not within 1 to 100000"),
        (json!({"target": {"timeout_ms": 99}}), "target.timeout_ms: 99 is not within 100 to 600000"),
        (json!({"attention_ms": 0}), "attention_ms: 0 would call"),
        (json!({"attention_ms": 604_800_001}), "attention_ms: 604800001 is not within"),
        (json!({"source": {"language": "udm", "query": "a = \"b\""}}), "source.scopes: only the language \"oci\""),
        (json!({"source": {"kinds": ["udm"]}}), "source.kinds: OCI's log entries are raw"),
        (json!({"source": {"query": "data.x = "}}), "source.query: "),
        (json!({"source": {"scopes": [{"group": "x"}]}}), "source: unknown field `group`"),
        (json!({"run_log": "yes"}), "connector: invalid type: string"),
    ];
    let schema = udm::Schema::load();
    for (change, expected) in cases {
        let error = ConnectorConfig::parse(&with(to_function(), change.clone()), &schema).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{change}: {error}");
    }
    for change in [
        json!({"target": {"batch_bytes_max": 6_000_000, "batch_wait_ms": 600_000, "timeout_ms": 600_000}}),
        json!({"target": {"name": null}, "run_log": true, "attention_ms": 1}),
        json!({"source": null}),
        json!({"source": {"query": "true", "kinds": ["raw"]}}),
    ] {
        let document: Value = with(to_function(), change);
        ConnectorConfig::parse(&document, &schema).unwrap();
    }
}
