//! The languages of OCI, over the captured sample batch and entries of our own.

mod conditions;
mod errors;
mod metrics;
mod properties;
mod searches;

use query::oci::Condition;

/// The captured batch: an audit entry, then flow logs without data, of a ping, and of an SSH connection.
const FOUR: &str = include_str!("../../oci/four.json");

/// A line that a function logged.
const FUNCTION: &str = r#"{"id": "f1", "source": "oci-hol-fn-app", "specversion": "1.0", "subject": "to-something",
    "time": "2023-10-04T02:04:40.5Z", "type": "com.oraclecloud.functions.application.functioninvoke",
    "data": {"src": "STDERR", "opcRequestId": "01H/01J", "functionId": "ocid1.fnfunc.oc1.ap-seoul-1.f",
        "message": "01H - root - INFO - flowlog: ACCEPT TCP 132.145.1.2:36266 -> 10.0.2.121:22"},
    "oracle": {"compartmentid": "ocid1.compartment.oc1..cccc", "loggroupid": "ocid1.loggroup.oc1.ap-seoul-1.h",
        "logid": "ocid1.log.oc1.ap-seoul-1.m", "tenantid": "ocid1.tenancy.oc1..aaaa"}}"#;

/// An entry of one's own, with everything that is seldom.
const CUSTOM: &str = r#"{"type": "com.example.app", "source": "C:\\app \"one\"", "id": "x*y", "specversion": "1.0",
    "myattribute": "own", "time": "2023-10-04T02:05:00Z", "dataschema": null,
    "data": {"message": "it's \uc11c\uc6b8: 50% done", "a.b": 1, "a": {"b": 2}, "status": "200", "code": 200,
        "ratio": 0.5, "big": 9007199254740993, "ok": true, "no": false, "nothing": null, "zip": "022", "list": [],
        "tags": ["red", "green"], "items": [{"n": 1, "k": "a"}, {"n": 2, "k": null}, {"n": "3"}], "deep": [[{"k": "in"}]],
        "until": "2024-01-01T00:00:00+09:00", "first name": "Kim", "Message": "upper"},
    "oracle": {"compartmentid": "ocid1.compartment.oc1..bbbb", "loggroupid": "g", "logid": "l"}}"#;

/// The records with a letter for each: Audit, No data, Ping, SSH, Function, Custom.
fn records() -> Vec<(char, String)> {
    let four: Vec<serde_json::Value> = serde_json::from_str(FOUR).expect("JSON");
    let mut records: Vec<(char, String)> = "ANPS".chars().zip(four.iter().map(ToString::to_string)).collect();
    records.push(('F', FUNCTION.to_owned()));
    records.push(('C', CUSTOM.to_owned()));
    records
}

#[track_caller]
fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)))
}
