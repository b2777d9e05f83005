//! Where connectors may send to, what their documents may say, and what they never show.

use deliver::{ConnectorConfig, ConnectorState};
use serde_json::{Value, json};
use testkit::third_party::ThirdParty;

use crate::world::{INSTANCE, World, connector, needs_attention, raw, until, with};

/// Addresses written into URLs, and what is said of them, for a tenant's connector and for an operator's.
#[test]
fn addresses_in_urls() {
    let ok = None;
    let inside = Some("only what the operator made or allowed");
    let never = Some("where nothing may be sent");
    let cases = [
        ("https://siem.example/in", ok, ok),
        ("http://93.184.216.34/", ok, ok),
        ("http://127.0.0.1:9000/", inside, ok),
        ("http://127.1/", inside, ok),
        ("http://2130706433/", inside, ok),
        ("http://0x7f.0.0.1/", inside, ok),
        ("http://017700000001/", inside, ok),
        ("http://10.0.0.8/", inside, ok),
        ("http://[::1]/", inside, ok),
        ("http://[::ffff:127.0.0.1]/", inside, ok),
        ("http://[fd00::1]/", inside, ok),
        ("http://169.254.169.254/latest/meta-data", never, never),
        ("http://0xa9fea9fe/", never, never),
        ("http://[::ffff:169.254.169.254]/", never, never),
        ("http://[fe80::1]/", never, never),
        ("http://0.0.0.0/", never, never),
        ("http://[fd00:ec2::254]/", never, never),
    ];
    let schema = udm::Schema::load();
    for (url, tenant, operator) in cases {
        for (made_by_operator, expected) in [(false, tenant), (true, operator)] {
            let document = with(connector(url), json!({"made_by_operator": made_by_operator}));
            match (ConnectorConfig::parse(&document, &schema), expected) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{url}: {error}"),
                (got, expected) => panic!("{url} by operator {made_by_operator}: {got:?}, expected {expected:?}"),
            }
        }
    }
}

/// A name that leads inside is refused once it is resolved, and nothing is sent.
#[tokio::test]
async fn names_that_lead_inside() {
    let world = World::new();
    let third = ThirdParty::start().await;
    world.append(raw(["secret"])).await;
    let url = format!("http://localhost:{}/", third.address().port());
    let tenant = with(connector(&url), json!({"made_by_operator": false}));
    let deliver = world.start(&[tenant]).await;
    let status = until(&deliver, needs_attention).await;
    let ConnectorState::NeedsAttention { reason } = &status.state else { unreachable!() };
    assert!(reason.contains("only what the operator made or allowed"), "{reason}");
    assert_eq!((status.written, status.dead_letters, third.received().len()), (0, 0, 0));

    world.apply(&deliver, &[connector(&url)]).await;
    until(&deliver, |status| status.written == 1).await;
}

/// What is wrong with a document, and where that is said to be.
#[test]
fn documents_that_are_refused() {
    let cases = [
        (json!({"nmae": "x"}), "connector: unknown field `nmae`"),
        (json!({"name": ""}), "name: begins with a letter"),
        (json!({"name": "a/b"}), "name: begins with a letter"),
        (json!({"instance": "x"}), "instance: an instance (customer_id) is a UUID"),
        (json!({"state": "on"}), "unknown variant `on`, expected `active` or `inactive`"),
        (json!({"start": "yesterday"}), "unknown variant `yesterday`, expected `now` or `oldest`"),
        (json!({"source": {"kind": ["raw"]}}), "source: unknown field `kind`"),
        (json!({"source": {"kinds": ["log"]}}), "source: unknown variant `log`"),
        (json!({"source": {"log_types": ["okta"]}}), "source.log_types: \"okta\" is no log type"),
        (json!({"source": {"query": "x"}}), "source.language: a query needs its language"),
        (json!({"source": {"language": "udm"}}), "source.language: given without a query"),
        (json!({"source": {"query": "principal.hostnme = \"x\"", "language": "udm"}}), "source.query: error:"),
        (json!({"source": {"query": "/a(/", "language": "raw"}}), "^"),
        (json!({"target": {"type": "kafka"}}), "target: unknown variant `kafka`"),
        (json!({"target": {"url": "siem.example"}}), "target.url: no URL"),
        (json!({"target": {"url": "ftp://siem.example"}}), "target.url: begins with ftp:"),
        (json!({"target": {"url": "http://u:p@siem.example"}}), "target.url: holds a user or password"),
        (json!({"target": {"url": "http://siem.example/#x"}}), "target.url: holds a fragment"),
        (json!({"target": {"headers": {"a b": "x"}}}), "target.headers.a b: no header name"),
        (json!({"target": {"headers": {"Host": "x"}}}), "target.headers.Host: set by Penstock itself"),
        (json!({"target": {"headers": {"x-a": "1", "X-A": "2"}}}), "given twice"),
        (json!({"target": {"headers": {"x": "a\nb"}}}), "target.headers.x: the value holds characters"),
        (json!({"target": {"batch_bytes_max": 10}}), "target.batch_bytes_max: 10 is not within 1000 to 4194304"),
        (json!({"target": {"batch_records_max": 0}}), "target.batch_records_max: 0 is not within"),
        (json!({"target": {"timeout_ms": 0}}), "target.timeout_ms: 0 is not within"),
        (json!({"target": {"batch_wait_ms": 1e9 as u64}}), "target.batch_wait_ms: 1000000000 is not within"),
    ];
    let schema = udm::Schema::load();
    for (change, part) in cases {
        let document = with(connector("http://siem.example/"), change.clone());
        match ConnectorConfig::parse(&document, &schema) {
            Ok(_) => panic!("{change} was taken"),
            Err(error) => assert!(error.to_string().contains(part), "{change}: {error}"),
        }
    }
}

#[test]
fn the_least_that_a_document_says() {
    let document = json!({"name": "a", "instance": INSTANCE, "target": {"type": "http", "url": "https://x.example"}});
    let config = ConnectorConfig::parse(&document, &udm::Schema::load()).unwrap();
    assert!(config.active);
    assert_eq!((config.batch.bytes_max, config.batch.records_max), (1_000_000, 1_000));
    assert_eq!(config.batch.wait.as_millis(), 1_000);
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let world = World::new();
    let third = ThirdParty::start().await;
    let url = format!("{}?api_key=s3cret-in-url", third.url("/hook"));
    let document = with(connector(&url), json!({"target": {"headers": {"Authorization": "Bearer s3cret"}}}));
    drop(third);
    world.append(raw(["one"])).await;
    let deliver = world.start(std::slice::from_ref(&document)).await;
    let status = until(&deliver, |status| status.errors > 0).await;

    let shown: Value = ConnectorConfig::shown(&document);
    assert_eq!(shown["target"]["headers"]["Authorization"], "…");
    assert!(shown["target"]["url"].as_str().unwrap().ends_with("/hook?…"));
    let everything = [
        format!("{:?}", world.config(&document)),
        format!("{status:?}"),
        serde_json::to_string(&status).unwrap(),
        format!("{deliver:?}"),
        shown.to_string(),
    ];
    for text in everything {
        assert!(!text.contains("s3cret"), "{text}");
    }
}
