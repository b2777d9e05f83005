//! What comes in as a resource and what is kept of it.

use serde_json::{Value, json};

use super::*;

fn collector() -> ResourceKind {
    ResourceKind::Collector { forwarder: "f".to_owned() }
}

#[test]
fn both_spellings_become_one() {
    let check = |kind: ResourceKind, sent: Value, expected: Value| {
        assert_eq!(kind.create(&sent).unwrap(), expected, "{sent}");
    };
    check(
        collector(),
        json!({ "display_name": "c1", "config": { "log_type": "OKTA", "max_seconds_per_batch": 10, "max_bytes_per_batch": 1_048_576,
            "file_settings": { "file_path": "/var/log/x" } } }),
        json!({ "displayName": "c1", "config": { "logType": "OKTA", "maxSecondsPerBatch": 10, "maxBytesPerBatch": "1048576",
            "fileSettings": { "filePath": "/var/log/x" } } }),
    );
    check(
        collector(),
        json!({ "displayName": "c", "config": { "logType": "projects/p/locations/l/instances/i/logTypes/MY_GATE", "maxBytesPerBatch": "7",
            "webProxySettings": { "networkInterface": "eth0" } } }),
        json!({ "displayName": "c", "config": { "logType": "MY_GATE", "maxBytesPerBatch": "7", "webproxySettings": { "networkInterface": "eth0" } } }),
    );
    check(
        ResourceKind::Forwarder,
        json!({ "displayName": "f", "config": { "metadata": { "labels": [{ "key": "a", "value": "1" }, { "key": "b", "value": null }] },
            "regexFilters": { "regexp": "x", "behavior": "ALLOW" }, "serverSettings": { "drainTimeout": "10.5s" } }, "state": "SUSPENDED" }),
        json!({ "displayName": "f", "config": { "metadata": { "labels": { "a": "1" } }, "regexFilters": [{ "regexp": "x", "behavior": "ALLOW" }],
            "serverSettings": { "drainTimeout": "10.5s" } } }),
    );
    assert_eq!(collector().declares(&json!({ "config": { "logType": "MY_GATE" } })).as_deref(), Some("MY_GATE"));
}

#[test]
fn faults_name_their_field() {
    let check = |kind: ResourceKind, sent: Value, field: &str, part: &str| {
        let refusal = kind.create(&sent).unwrap_err();
        assert_eq!(
            refusal.violations.first().map_or("", |violation| violation.field.as_str()),
            field,
            "{sent}: {refusal}"
        );
        assert!(refusal.message.contains(part), "{sent}: {refusal}");
    };
    let forwarder = |config: Value| json!({ "displayName": "f", "config": config });
    check(ResourceKind::Forwarder, json!([]), "", "no JSON object");
    check(ResourceKind::Forwarder, json!({}), "displayName", "missing");
    check(ResourceKind::Forwarder, json!({ "displayName": " " }), "displayName", "missing");
    check(ResourceKind::Forwarder, json!({ "displayNames": "f" }), "displayNames", "did you mean displayName?");
    check(ResourceKind::Forwarder, json!({ "displayName": "f", "display_name": "g" }), "display_name", "given twice");
    check(ResourceKind::Forwarder, forwarder(json!("x")), "config", "must be an object");
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "uploadCompression": "yes" })),
        "config.uploadCompression",
        "true or false",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "serverSettings": { "httpSettings": { "port": 70_000 } } })),
        "config.serverSettings.httpSettings.port",
        "from 0 to 65535",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "serverSettings": { "gracefulTimeout": "soon" } })),
        "config.serverSettings.gracefulTimeout",
        "15s",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "regexFilters": [{ "regexp": "(", "behavior": "ALLOW" }] })),
        "config.regexFilters[0].regexp",
        "unclosed group",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "regexFilters": [{ "regexp": "(x{900}){900}", "behavior": "ALLOW" }] })),
        "config.regexFilters[0].regexp",
        "too large",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "regexFilters": [{ "regexp": "x" }] })),
        "config.regexFilters[0].behavior",
        "missing",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "regexFilters": [{ "regexp": "x", "behavior": "MAYBE" }] })),
        "config.regexFilters[0].behavior",
        "ALLOW, BLOCK",
    );
    check(
        ResourceKind::Forwarder,
        forwarder(json!({ "metadata": { "labels": { "k": 7 } } })),
        "config.metadata.labels.k",
        "must be a string",
    );
    for (key, value) in [("", "v"), ("k", "v\0"), ("k\0", "v"), ("k", "v".repeat(5_000).as_str())] {
        for value in [json!(value), json!({ "value": value })] {
            let labels = json!({ key: value });
            let field = format!("config.metadata.labels.{key}");
            check(ResourceKind::Forwarder, forwarder(json!({ "metadata": { "labels": labels } })), &field, "U+0000");
        }
    }
    check(collector(), json!({ "displayName": "c" }), "config.logType", "missing");
    check(collector(), json!({ "displayName": "c", "config": { "logType": "okta" } }), "config.logType", "A-Z");
    check(
        collector(),
        json!({ "displayName": "c", "config": { "logType": "OKTA", "fileSettings": {}, "syslogSettings": {} } }),
        "config.syslogSettings",
        "send one of them",
    );
    check(
        ResourceKind::Feed,
        json!({ "displayName": "f", "details": { "feedSourceType": "API", "logType": "OKTA" } }),
        "details.feedSourceType",
        "HTTPS_PUSH_WEBHOOK",
    );
    let many: Vec<Value> = (0..=limits::FILTERS_MAX).map(|_| json!({ "regexp": "x", "behavior": "BLOCK" })).collect();
    check(ResourceKind::Forwarder, forwarder(json!({ "regexFilters": many })), "config.regexFilters", "more than");
    let long = "x".repeat(4_000);
    let many: Vec<Value> =
        (0..20).map(|_| json!({ "description": long, "regexp": "x", "behavior": "BLOCK" })).collect();
    check(ResourceKind::Forwarder, forwarder(json!({ "regexFilters": many })), "", "bytes, more than");
}

#[test]
fn an_update_changes_what_its_mask_names() {
    let old = json!({ "displayName": "f", "config": { "uploadCompression": true, "metadata": { "assetNamespace": "n", "labels": { "k": "v" } } } });
    let check = |mask: Option<&str>, sent: Value, expected: Value| {
        let change = ResourceKind::Forwarder.change(mask, &sent).unwrap();
        assert_eq!(change.apply(&old).unwrap(), expected, "{mask:?} {sent}");
    };
    let with = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        new
    };
    check(
        Some("display_name"),
        json!({ "displayName": "g", "config": { "uploadCompression": false } }),
        with("/displayName", json!("g")),
    );
    check(Some("displayName"), json!({ "display_name": "g" }), with("/displayName", json!("g")));
    check(
        Some("config.upload_compression"),
        json!({ "config": { "uploadCompression": false } }),
        with("/config/uploadCompression", json!(false)),
    );
    check(
        Some("config.metadata"),
        json!({ "config": { "metadata": { "asset_namespace": "m" } } }),
        with("/config/metadata", json!({ "assetNamespace": "m" })),
    );
    check(
        Some("config.metadata.labels"),
        json!({ "config": { "metadata": { "labels": { "x": "y" } } } }),
        with("/config/metadata/labels", json!({ "x": "y" })),
    );
    // Named and not sent: unset.
    check(
        Some("config.metadata.asset_namespace, config.metadata.labels"),
        json!({}),
        with("/config/metadata", json!({})),
    );
    check(Some("config.server_settings.enabled"), json!({ "config": { "serverSettings": { "enabled": true } } }), {
        let mut new = old.clone();
        new["config"]["serverSettings"] = json!({ "enabled": true });
        new
    });
    // No mask: what is sent; labels as a whole.
    check(
        None,
        json!({ "config": { "metadata": { "labels": { "x": "y" } } } }),
        with("/config/metadata/labels", json!({ "x": "y" })),
    );
    check(Some("*"), json!({ "displayName": "only" }), json!({ "displayName": "only" }));

    let refused = |mask: Option<&str>, sent: Value, part: &str| {
        let made = ResourceKind::Forwarder.change(mask, &sent).and_then(|change| change.apply(&old));
        assert!(made.as_ref().is_err_and(|refusal| refusal.message.contains(part)), "{mask:?} {sent}: {made:?}");
    };
    refused(Some("display_nam"), json!({}), "did you mean displayName?");
    refused(Some("config.upload"), json!({}), "there is no field");
    refused(Some("display_name.first"), json!({}), "set as a whole");
    refused(Some("create_time"), json!({}), "set by the server");
    refused(Some("display_name"), json!({}), "displayName: missing");
    refused(None, json!({}), "names no field");
    let feed =
        ResourceKind::Feed.change(Some("display_name"), &json!({ "display_name": "g", "details": null })).unwrap();
    let kept = json!({ "displayName": "f", "details": { "feedSourceType": "HTTPS_PUSH_WEBHOOK", "logType": "OKTA" } });
    assert_eq!(feed.apply(&kept).unwrap()["displayName"], "g");
}
