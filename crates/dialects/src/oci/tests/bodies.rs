//! What bodies become, and what is wrong with those that are none.

use super::*;

/// The canonical JSON of a body that is good.
#[expect(clippy::needless_pass_by_value, reason = "calls read as data")]
#[track_caller]
fn created(target: &str, body: Value) -> Value {
    match send("POST", target, &body).act() {
        (_, Act::Create { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn compartments_and_groups() {
    let base = json!({"compartmentId": COMPARTMENT, "name": "lab", "description": "the lab"});
    let full = with(&base, json!({"freeformTags": {}, "definedTags": {}}));
    assert_eq!(created("/20160918/compartments", base.clone()), full);
    check_faults(
        "/20160918/compartments",
        &base,
        &[
            (json!({"name": null}), "name", "is missing"),
            (json!({"name": "a b"}), "name", "letters, digits"),
            (json!({"compartmentId": ""}), "compartmentId", "is empty"),
            (json!({"freeformTags": {"a": 1}}), "freeformTags", "\"a\" is the number 1"),
            (json!({"definedTags": {"a": "b"}}), "definedTags", "must hold objects"),
            (
                json!({"parent": "x"}),
                "parent",
                "is no field that a compartment has here; those are compartmentId, name",
            ),
        ],
    );
    let base = json!({"compartmentId": COMPARTMENT, "displayName": "Default_Group"});
    assert_eq!(created("/20200531/logGroups", base.clone())["displayName"], "Default_Group");
    check_faults(
        "/20200531/logGroups",
        &base,
        &[
            (json!({"displayName": "x".repeat(257)}), "displayName", "257 characters"),
            (json!({"displayName": "a\tb"}), "displayName", "control character"),
            (json!({"description": 7}), "description", "must be a string, not the number 7"),
        ],
    );
    let other = with(&base, json!({ "compartmentId": THEIR_COMPARTMENT }));
    assert_eq!(send("POST", "/20200531/logGroups", &other).refused().1, "NotAuthorizedOrNotFound");
    assert_eq!(fault("POST", "/20200531/logGroups", json!({})).0, "MissingParameter");
    assert_eq!(send("POST", "/20200531/logGroups", &json!([])).refused().1, "CannotParseRequest");
    assert_eq!(send("POST", "/20200531/logGroups", &Value::Null).refused().1, "CannotParseRequest");
}

#[test]
fn logs() {
    let target = "/20200531/logGroups/g/logs";
    let custom = json!({"displayName": "l", "logType": "CUSTOM"});
    let full = json!({"displayName": "l", "logType": "CUSTOM", "freeformTags": {}, "definedTags": {}, "isEnabled": true,
        "retentionDuration": 30});
    assert_eq!(created(target, custom), full);
    let source =
        json!({"sourceType": "OCISERVICE", "service": "flowlogs", "resource": "ocid1.subnet", "category": "all"});
    let service = json!({"displayName": "l", "logType": "SERVICE", "isEnabled": false, "retentionDuration": 180,
        "configuration": {"compartmentId": COMPARTMENT, "source": source, "archiving": {"isEnabled": false}}});
    assert_eq!(created(target, service.clone())["configuration"], service["configuration"]);
    check_faults(
        target,
        &service,
        &[
            (json!({"configuration": null}), "configuration.source", "is missing"),
            (json!({"logType": "CUSTOM"}), "configuration.source", "only for logs of services"),
            (json!({"logType": "AUDIT"}), "logType", "one of CUSTOM, SERVICE"),
            (json!({"retentionDuration": 45}), "retentionDuration", "30, 60, 90"),
            (json!({"retentionDuration": 0}), "retentionDuration", "30, 60, 90"),
            (json!({"isEnabled": "yes"}), "isEnabled", "true or false"),
            (json!({"configuration/source/service": null}), "configuration.source.service", "is missing"),
            (json!({"configuration/source/sourceType": "X"}), "configuration.source.sourceType", "OCISERVICE"),
            (
                json!({"configuration/archiving/isEnabled": true}),
                "configuration.archiving.isEnabled",
                "archiving is not served",
            ),
            (json!({"configuration": []}), "configuration", "must be an object"),
        ],
    );
    match send("PUT", "/20200531/logGroups/g/logs/l", &json!({"isEnabled": false, "freeformTags": null})).act() {
        (Kind::Log, Act::Update { id, parent, if_match, body }) => {
            assert_eq!((id.as_str(), parent.as_deref(), if_match), ("l", Some("g"), None));
            assert_eq!(body, json!({"isEnabled": false, "freeformTags": null}));
        }
        other => panic!("{other:?}"),
    }
    let (_, field, message) = fault("PUT", "/20200531/logGroups/g/logs/l", json!({"logType": "CUSTOM"}));
    assert_eq!((field.as_str(), message.as_str()), ("logType", "cannot be changed"));
    let (_, _, message) = fault("PUT", "/20200531/logGroups/g/logs/l", json!({"displayName": null}));
    assert!(message.contains("cannot be null"));
}

#[test]
fn applications_and_functions() {
    let app = json!({"compartmentId": COMPARTMENT, "displayName": "oci-hol-fn-app", "subnetIds": ["s"], "config": {"A": "1"}});
    assert_eq!(created("/20181201/applications", app.clone()), created("/20260325/applications", app.clone()));
    check_faults(
        "/20260325/applications",
        &app,
        &[
            (json!({"config": {"1A": "x"}}), "config", "\"1A\""),
            (json!({"config": {"A": 1}}), "config.A", "must be a string"),
            (json!({"config": {"A": "x".repeat(4_096)}}), "config", "4097 bytes"),
            (json!({"config": {"A": "\0"}}), "config.A", "U+0000"),
            (json!({"subnetIds": [1]}), "subnetIds", "its item 0 is the number 1"),
            (json!({"shape": "X"}), "shape", "GENERIC_X86"),
            (json!({"syslogUrl": "tcp://x"}), "syslogUrl", "application's log"),
            (json!({"traceConfig": {"isEnabled": true}}), "traceConfig.isEnabled", "tracing is not served"),
            (
                json!({"imagePolicyConfig": {"isPolicyEnabled": true}}),
                "imagePolicyConfig.isPolicyEnabled",
                "signed images",
            ),
        ],
    );
    let image = json!({"sourceType": "CONTAINER_IMAGE", "image": "r/x:0.0.2"});
    let new = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 256, "sourceDetails": image});
    let old = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 256, "image": "r/x:0.0.2"});
    let made = created("/20260325/functions", new.clone());
    assert_eq!((&made["sourceDetails"], &made["timeoutInSeconds"]), (&image, &json!(30)));
    assert_eq!(created("/20181201/functions", old.clone()), made);
    assert_eq!(created("/20181201/functions", new.clone()), made);
    let digested = created("/20181201/functions", with(&old, json!({"imageDigest": "sha256:1"})));
    assert_eq!(digested["sourceDetails"]["imageDigest"], "sha256:1");
    check_faults(
        "/20181201/functions",
        &old,
        &[
            (json!({"image": null}), "image", "is missing"),
            (json!({"sourceDetails": image}), "sourceDetails", "beside image"),
        ],
    );
    check_faults(
        "/20260325/functions",
        &new,
        &[
            (json!({"image": "x"}), "image", "older version"),
            (json!({"sourceDetails": null}), "sourceDetails", "is missing"),
            (json!({"memoryInMBs": null}), "memoryInMBs", "is missing"),
            (json!({"memoryInMBs": 200}), "memoryInMBs", "128, 256"),
            (json!({"timeoutInSeconds": 301}), "timeoutInSeconds", "5 to 300"),
            (json!({"timeoutInSeconds": 4}), "timeoutInSeconds", "5 to 300"),
            (json!({"timeoutInSeconds": 30.5}), "timeoutInSeconds", "whole number"),
            (json!({"detachedModeTimeoutInSeconds": 3_601}), "detachedModeTimeoutInSeconds", "5 to 3600"),
            (json!({"successDestination": {"kind": "QUEUE"}}), "successDestination", "not served"),
            (
                json!({"provisionedConcurrencyConfig": {"strategy": "CONSTANT"}}),
                "provisionedConcurrencyConfig",
                "not served",
            ),
            (json!({"sourceDetails/sourceType": "PRE_BUILT_FUNCTIONS"}), "sourceDetails.sourceType", "not served"),
            (json!({"sourceDetails/sourceType": "X"}), "sourceDetails.sourceType", "CONTAINER_IMAGE or ARCHIVE"),
            (json!({"sourceDetails/image": null}), "sourceDetails.image", "is missing"),
            (json!({"sourceDetails/handler": "x"}), "sourceDetails.handler", "is no field"),
        ],
    );
}

#[test]
fn functions_of_archives() {
    let runtime = json!({"runtimeConfigType": "FUNCTION_UPDATE", "functionsRuntimeName": "python3.12"});
    let archive = json!({"archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": "UEsDBBQAAAAIAKKbdV0="});
    let base = json!({"displayName": "f", "applicationId": "a", "memoryInMBs": 128, "sourceDetails": {
        "sourceType": "ARCHIVE", "handler": "func.handler", "runtimeConfig": runtime, "archiveSourceDetails": archive}});
    assert_eq!(created("/20260325/functions", base.clone())["sourceDetails"], base["sourceDetails"]);
    let file = "sourceDetails/archiveSourceDetails/archiveFile";
    check_faults(
        "/20260325/functions",
        &base,
        &[
            (json!({file: "????"}), "sourceDetails.archiveSourceDetails.archiveFile", "no base64"),
            (json!({file: "eHh4eHh4"}), "sourceDetails.archiveSourceDetails.archiveFile", "no zip"),
            (json!({file: null}), "sourceDetails.archiveSourceDetails.archiveFile", "is missing"),
            (
                json!({"sourceDetails/archiveSourceDetails/archiveSourceType": "OBJECT_STORAGE"}),
                "sourceDetails.archiveSourceDetails.archiveSourceType",
                "not served",
            ),
            (json!({"sourceDetails/handler": null}), "sourceDetails.handler", "is missing"),
            (
                json!({"sourceDetails/runtimeConfig/functionsRuntimeName": "java21"}),
                "sourceDetails.runtimeConfig.functionsRuntimeName",
                "\"java21\" is no runtime of this server; those are python3.12, python3.11",
            ),
        ],
    );
    // A change may leave out what stays.
    let change = json!({"sourceDetails": {"sourceType": "ARCHIVE", "handler": "other.handler"}});
    match send("PUT", "/20260325/functions/f", &change).act() {
        (Kind::Function, Act::Update { body, .. }) => assert_eq!(body, change),
        other => panic!("{other:?}"),
    }
    let part = json!({"sourceDetails": {"sourceType": "ARCHIVE", "archiveSourceDetails": {"archiveSourceType": "DIRECT_ARCHIVE"}}});
    let (_, field, message) = fault("PUT", "/20260325/functions/f", part);
    assert_eq!((field.as_str(), message.as_str()), ("sourceDetails.archiveSourceDetails.archiveFile", "is missing"));
    // What went in does not come out again.
    let resource = Resource { id: "f".to_owned(), body: base, etag: "e".to_owned() };
    let shown = send("GET", "/20260325/functions/f", &Value::Null).said(Outcome::One(resource.clone()));
    assert_eq!(shown.body["sourceDetails"]["archiveSourceDetails"], json!({"archiveSourceType": "DIRECT_ARCHIVE"}));
    let page = Outcome::Page { items: vec![resource], next_page: None };
    let shown = send("GET", "/20260325/functions?applicationId=a", &Value::Null).said(page);
    assert!(!String::from_utf8(shown.raw).unwrap().contains("UEsDB"));
}

#[test]
fn connectors() {
    let target = "/20200909/serviceConnectors";
    let base = json!({
        "displayName": "audit-to-fn", "compartmentId": COMPARTMENT,
        "source": {"kind": "logging", "logSources": [{"compartmentId": COMPARTMENT, "logGroupId": "_Audit"}]},
        "target": {"kind": "functions", "functionId": "f", "batchSizeInKbs": 512, "batchTimeInSec": 60},
        "tasks": [{"kind": "logRule", "condition": "logContent.source='demo' or logContent.source = 'other'"}],
    });
    let full = with(&base, json!({"freeformTags": {}, "definedTags": {}}));
    assert_eq!(created(target, base.clone()), full);
    assert_eq!(created(target, with(&base, json!({"tasks": null})))["tasks"], json!([]));
    check_faults(
        target,
        &base,
        &[
            (json!({"source": null}), "source", "is missing"),
            (
                json!({"source/kind": "streaming"}),
                "source.kind",
                "streaming is not served as a source here; logging is",
            ),
            (json!({"source/logSources": []}), "source.logSources", "1 to 100"),
            (json!({"source/logSources/0": {"logGroupId": "g"}}), "source.logSources[0].compartmentId", "is missing"),
            (
                json!({"source/logSources/0": {"compartmentId": "c", "logGroupId": "_Audit", "logId": "l"}}),
                "source.logSources[0].logId",
                "needs the OCID of its group",
            ),
            (json!({"target": null}), "target", "is missing"),
            (
                json!({"target/kind": "objectStorage"}),
                "target.kind",
                "objectStorage is not served as a target here; functions is",
            ),
            (json!({"target/kind": "x"}), "target.kind", "must be functions"),
            (json!({"target/functionId": null}), "target.functionId", "is missing"),
            (json!({"target/batchSizeInNum": 10}), "target.batchSizeInNum", "only one of them"),
            (json!({"target/batchSizeInKbs": 6_145}), "target.batchSizeInKbs", "1 to 6144"),
            (json!({"target/batchTimeInSec": 601}), "target.batchTimeInSec", "1 to 600"),
            (json!({"tasks/0": {"kind": "function", "functionId": "f"}}), "tasks[0].kind", "tasks that are functions"),
            (json!({"tasks/0": {"kind": "logRule"}}), "tasks[0].condition", "is missing"),
        ],
    );
    let (_, field, message) = fault("POST", target, with(&base, json!({"tasks/0/condition": "source = = 'x'"})));
    assert_eq!(field, "tasks[0].condition");
    assert!(message.contains("^") && message.contains("source = = 'x'"), "{message}");
    // A part is replaced whole, so it must be whole.
    let (_, field, message) = fault("PUT", &format!("{target}/s"), json!({"target": {"kind": "functions"}}));
    assert_eq!((field.as_str(), message.as_str()), ("target.functionId", "is missing"));
}

#[test]
fn changes_are_laid_over_what_is_there() {
    let check = |there: &Value, change: Value, expected: Result<Value, &str>| {
        let mut body = there.as_object().unwrap().clone();
        let got = crate::oci::lay_over(&mut body, change.as_object().unwrap().clone());
        let got = got.map(|()| Value::Object(body)).map_err(|refusal| refusal.message);
        assert_eq!(got, expected.map_err(str::to_owned), "{there} {change}");
    };
    let log = json!({"displayName": "l", "configuration": {"source": {"service": "flowlogs"}, "archiving": {"isEnabled": false}}});
    check(
        &log,
        json!({"displayName": "m", "configuration": {"source": {"parameters": {}}, "archiving": null}}),
        Ok(json!({"displayName": "m", "configuration": {"source": {"service": "flowlogs", "parameters": {}}}})),
    );
    check(&log, json!({"configuration": null, "isEnabled": true}), Ok(json!({"displayName": "l", "isEnabled": true})));
    let tags = json!({"freeformTags": {"a": "b"}});
    check(&tags, json!({"freeformTags": {"c": "d"}}), Ok(json!({"freeformTags": {"c": "d"}})));
    let image = json!({"sourceDetails": {"sourceType": "CONTAINER_IMAGE", "image": "x:1", "imageDigest": "d"}});
    check(
        &image,
        json!({"sourceDetails": {"sourceType": "CONTAINER_IMAGE", "image": "x:2"}}),
        Ok(json!({"sourceDetails": {"sourceType": "CONTAINER_IMAGE", "image": "x:2"}})),
    );
    let archive = json!({"sourceType": "ARCHIVE", "archiveSourceDetails": {}, "handler": "h", "runtimeConfig": {}});
    check(&image, json!({"sourceDetails": archive}), Ok(json!({"sourceDetails": archive})));
    let part = json!({"sourceDetails": {"sourceType": "ARCHIVE", "handler": "g"}});
    check(&image, part.clone(), Err("sourceDetails.archiveSourceDetails: is missing"));
    let mut other = archive.clone();
    other["handler"] = "g".into();
    check(&json!({"sourceDetails": archive}), part, Ok(json!({"sourceDetails": other})));
}
