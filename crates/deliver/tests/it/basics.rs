//! What is delivered when nothing goes wrong.

use std::time::Duration;

use deliver::{ConnectorState, Whereabouts};
use event::Kind;
use serde_json::{Value, json};
use testkit::third_party::{Answer, ThirdParty};

use crate::world::{
    EPOCH, Frame, INSTANCE, OTHER_INSTANCE, World, connector, id, instance, raw, texts, until, until_named, with,
};

#[tokio::test]
async fn elements_are_exactly_as_promised() {
    let world = World::new();
    let third = ThirdParty::start().await;
    let (ids, _) = world.append(raw(["a \"quoted\"\tline\n", "Größe"])).await;
    let event = "{\"metadata\": {\n  \"id\": 1.50}}";
    let udm = Frame { instance: INSTANCE, kind: Kind::Udm, log_type: "UDM", records: vec![event] };
    let (udm_ids, _) = world.append(udm).await;
    let entity = Frame { instance: INSTANCE, kind: Kind::Entity, log_type: "WORKDAY", records: vec!["{}"] };
    let (entity_ids, _) = world.append(entity).await;
    let document = with(connector(&third.url("/in?key=k")), json!({"target": {"headers": {"X-Token": "s3cret"}}}));
    let deliver = world.start(&[document]).await;

    let status = until(&deliver, |status| status.written == 4).await;
    let request = &third.wait_for(1).await[0];
    let head = |id: &dyn std::fmt::Display, kind: &str, log_type: &str| {
        format!(
            "{{\"id\":\"{id}\",\"received_at\":\"{EPOCH}\",\"event_time\":\"{EPOCH}\",\"instance\":\"{INSTANCE}\",\
             \"kind\":\"{kind}\",\"log_type\":\"{log_type}\",\"namespace\":\"corp\",\
             \"labels\":[{{\"key\":\"site\",\"value\":\"Zürich \\\"1\\\"\"}}]"
        )
    };
    let expected = [
        head(&ids[0], "raw", "OKTA") + ",\"text\":\"a \\\"quoted\\\"\\tline\\n\"}",
        head(&ids[1], "raw", "OKTA") + ",\"text\":\"Größe\"}",
        head(&udm_ids[0], "udm", "UDM") + ",\"udm\":" + event + "}",
        head(&entity_ids[0], "entity", "WORKDAY") + ",\"entity\":{}}",
    ];
    assert_eq!(request.text(), format!("[{}]", expected.join(",")));
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in?key=k"));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("x-token"), "s3cret");
    assert_eq!(request.header("content-encoding"), "");
    assert!(request.header("user-agent").starts_with("penstock/"));
    assert_eq!(request.header("idempotency-key").len(), 36);

    assert_eq!(status.state, ConnectorState::Running);
    assert_eq!((status.read, status.errors, status.dead_letters), (4, 0, 0));
    assert_eq!((status.lag_bytes, status.lag_ms), (0, Some(0)));
    assert_eq!(status.cursor, world.log.status().durable_to);
    assert_eq!(third.received().len(), 1);
}

#[tokio::test]
async fn lines_and_gzip() {
    for gzip in [false, true] {
        let world = World::new();
        let third = ThirdParty::start().await;
        let records = vec!["{\n \"a\": \"x\\ny\"\r\n}", "{\"b\":2}"];
        world.append(Frame { instance: INSTANCE, kind: Kind::Udm, log_type: "UDM", records }).await;
        let document = with(connector(&third.url("/")), json!({"target": {"format": "ndjson", "gzip": gzip}}));
        let deliver = world.start(&[document]).await;

        until(&deliver, |status| status.written == 2).await;
        let request = &third.wait_for(1).await[0];
        assert_eq!(request.header("content-type"), "application/x-ndjson");
        assert_eq!(request.header("content-encoding"), if gzip { "gzip" } else { "" });
        let text = request.text();
        assert!(text.ends_with("\"udm\":{\"b\":2}}\n"), "{text}");
        let udm: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["udm"].clone()).collect();
        assert_eq!(udm, [json!({"a": "x\ny"}), json!({"b": 2})]);
        assert!(text.contains("{  \"a\": \"x\\ny\"  }"), "as sent but for line ends: {text}");
    }
}

/// Records of one frame, limits, and the batches that come of them.
#[tokio::test]
async fn batches_keep_their_limits() {
    let long = "x".repeat(2_000);
    let text = |length: usize| long[..length].to_owned();
    // An element of ours is its text and 278 bytes around it.
    let around = 278;
    let cases = [
        (vec![text(1); 8], json!({"batch_records_max": 3}), vec![3, 3, 2]),
        (vec![text(1); 3], json!({"batch_records_max": 1}), vec![1, 1, 1]),
        (vec![text(200); 7], json!({"batch_bytes_max": 3 * (200 + around + 1) + 1}), vec![3, 3, 1]),
        (vec![text(200); 7], json!({"batch_bytes_max": 3 * (200 + around + 1)}), vec![2, 2, 2, 1]),
        // Longer than a batch may be: alone.
        (vec![text(1), text(2_000), text(1)], json!({"batch_bytes_max": 1_000}), vec![1, 1, 1]),
    ];
    for (records, target, expected) in cases {
        let world = World::new();
        let third = ThirdParty::start().await;
        let count = records.len() as u64;
        world.append(raw(records.iter().map(String::as_str))).await;
        let deliver = world.start(&[with(connector(&third.url("/")), json!({"target": target}))]).await;
        until(&deliver, |status| status.written == count).await;
        let sizes: Vec<usize> = third.received().iter().map(|request| texts(&request.text()).len()).collect();
        assert_eq!(sizes, expected, "{target}");
    }
}

#[tokio::test]
async fn a_batch_waits_for_more() {
    let world = World::new();
    let third = ThirdParty::start().await;
    let document = with(connector(&third.url("/")), json!({"target": {"batch_wait_ms": 5_000}}));
    let deliver = world.start(&[document]).await;
    world.append(raw(["first"])).await;
    assert_eq!(world.clock.waited_for(1).await, [Duration::from_secs(5)]);
    assert_eq!(third.received().len(), 0);
    world.clock.advance(Duration::from_secs(5));
    until(&deliver, |status| status.written == 1).await;
}

#[tokio::test]
async fn a_new_connector_begins_now_or_with_the_oldest() {
    let world = World::new();
    let third = ThirdParty::start().await;
    let (before, position) = world.append(raw(["before"])).await;
    let now = with(connector(&third.url("/now")), json!({"name": "now", "start": "now"}));
    let oldest = with(connector(&third.url("/oldest")), json!({"name": "oldest"}));
    let deliver = world.start(&[now, oldest]).await;
    world.append(raw(["after"])).await;

    until_named(&deliver, "now", |status| status.written == 1).await;
    until_named(&deliver, "oldest", |status| status.written == 2).await;
    let sent = |path: &str| -> Vec<String> {
        third.received().iter().filter(|request| request.path == path).flat_map(|r| texts(&r.text())).collect()
    };
    assert_eq!(sent("/now"), ["after"]);
    assert_eq!(sent("/oldest"), ["before", "after"]);
    let whereabouts = deliver.whereabouts(instance(), before[0], position).unwrap();
    let expected = [(id("now"), Whereabouts::NotSelected), (id("oldest"), Whereabouts::Delivered)];
    assert_eq!(whereabouts, expected);
}

/// Filters, and what of a mixed log they let through.
#[tokio::test]
async fn filters() {
    let cases = [
        (json!({}), vec!["okta login", "okta logout", "bind query", "user", "host"]),
        (json!({"kinds": ["raw"]}), vec!["okta login", "okta logout", "bind query"]),
        (json!({"kinds": ["udm", "entity"]}), vec!["user", "host"]),
        (json!({"log_types": ["BIND_DNS"]}), vec!["bind query"]),
        (json!({"query": "LOGIN", "language": "raw"}), vec!["okta login"]),
        (
            json!({"query": "/log(in|out)/", "language": "raw", "log_types": ["OKTA"]}),
            vec!["okta login", "okta logout"],
        ),
        (json!({"query": "metadata.product_name = \"user\"", "language": "udm"}), vec!["user"]),
        (json!({"query": "nowhere", "language": "raw"}), vec![]),
    ];
    for (source, expected) in cases {
        let world = World::new();
        let third = ThirdParty::start().await;
        world.append(raw(["okta login", "okta logout"])).await;
        let frame = |instance, kind, log_type, records| Frame { instance, kind, log_type, records };
        world.append(frame(INSTANCE, Kind::Raw, "BIND_DNS", vec!["bind query"])).await;
        let user = "{\"metadata\":{\"event_type\":\"USER_LOGIN\",\"product_name\":\"user\"}}";
        world.append(frame(INSTANCE, Kind::Udm, "UDM", vec![user])).await;
        let host = "{\"metadata\":{\"entity_type\":\"ASSET\",\"product_name\":\"host\"}}";
        world.append(frame(INSTANCE, Kind::Entity, "WORKDAY", vec![host])).await;
        // Another tenant's records are never read into a batch, whatever the filter.
        world.append(frame(OTHER_INSTANCE, Kind::Raw, "OKTA", vec!["okta login of others"])).await;

        let deliver = world.start(&[with(connector(&third.url("/")), json!({"source": source}))]).await;
        let end = world.log.status().durable_to;
        let status = until(&deliver, |status| status.cursor == end).await;
        let mut sent = Vec::new();
        for request in third.received() {
            let Ok(Value::Array(elements)) = serde_json::from_str(&request.text()) else { panic!("no array") };
            sent.extend(elements.iter().map(|element| {
                let of = |kind: &str| element[kind]["metadata"]["product_name"].as_str();
                element["text"].as_str().or(of("udm")).or(of("entity")).unwrap().to_owned()
            }));
        }
        assert_eq!(sent, expected, "{source}");
        assert_eq!((status.read, status.written), (5, expected.len() as u64), "{source}");
    }
}

#[tokio::test]
async fn an_inactive_connector_keeps_its_place() {
    let world = World::new();
    let third = ThirdParty::start().await;
    let inactive = with(connector(&third.url("/")), json!({"state": "inactive", "start": "now"}));
    let active = with(inactive.clone(), json!({"state": "active"}));
    world.append(raw(["before"])).await;
    let begin = world.log.status().durable_to;
    let deliver = world.start(std::slice::from_ref(&inactive)).await;
    let (ids, position) = world.append(raw(["while inactive"])).await;

    let status = until(&deliver, |status| status.state == ConnectorState::Inactive).await;
    assert_eq!((status.cursor, status.written), (begin, 0));
    assert!(status.lag_bytes > 0);
    assert_eq!(deliver.lowest_cursor(), Some(begin));
    assert_eq!(deliver.whereabouts(instance(), ids[0], position).unwrap(), [(id("siem"), Whereabouts::Waiting)]);

    world.apply(&deliver, &[active]).await;
    until(&deliver, |status| status.written == 1).await;
    assert_eq!(texts(&third.received()[0].text()), ["while inactive"]);
    world.apply(&deliver, &[inactive]).await;
    until(&deliver, |status| status.state == ConnectorState::Inactive).await;
}

#[tokio::test]
async fn a_deleted_connector_leaves_nothing() {
    let world = World::new();
    let third = ThirdParty::start().await;
    third.rule(|_| Answer::status(400));
    world.append(raw(["refused"])).await;
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    until(&deliver, |status| status.dead_letters == 1).await;

    world.apply(&deliver, &[]).await;
    assert_eq!(deliver.status(), []);
    assert_eq!(deliver.lowest_cursor(), None);
    assert_eq!(deliver.dead_letters(&id("siem"), 10).unwrap(), []);
    assert!(deliver.retry(&id("siem"), &[1]).is_err());
    drop(deliver);

    // One of the same name is another one: it begins anew.
    third.rule(|_| Answer::ok());
    let deliver = world.start(&[connector(&third.url("/"))]).await;
    let status = until(&deliver, |status| status.written == 1).await;
    assert_eq!((status.errors, status.dead_letters), (0, 0));
}
