//! The envelope in which a record of an OCI log is kept: flat CloudEvents (contracts/oci.md §2.1), one JSON object a record.
//!
//! It is written in one place for all who write records: what is put into a log, the lines of functions and what connectors
//! tell of their runs. `type`, `source` and `time` are always there and always strings, since functions join them to texts
//! without looking.

use event::{Record, Time};

use crate::json::Scanner;

/// `oracle.loggroupid` of audit records, which stand in no log.
pub const AUDIT_GROUP: &str = "_Audit";

/// The log type of audit records.
pub const AUDIT_LOG_TYPE: &str = "OCI_AUDIT";
/// The log type of flow logs.
pub const FLOW_LOG_TYPE: &str = "OCI_FLOW";
/// The log type of everything else; ours, which every instance has.
pub const LOGGING_LOG_TYPE: &str = "OCI_LOGGING";

/// How the types of flow logs begin.
const FLOW_TYPES: &str = "com.oraclecloud.vcn.flowlogs.";

/// Where a record is kept: what `oracle` says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The OCID of the tenancy.
    pub tenant: &'a str,
    /// The OCID of the compartment.
    pub compartment: &'a str,
    /// The OCID of the log's group, or [`AUDIT_GROUP`].
    pub log_group: &'a str,
    /// The OCID of the log; audit records have none.
    pub log: Option<&'a str>,
    /// When it was taken in.
    pub ingested: Time,
}

/// What an entry says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    /// A JSON object, as it was written.
    Object(&'a str),
    /// A text, which becomes `{"message": text}`.
    Text(&'a str),
    /// The same as it stands between the quotes of a JSON string.
    Quoted(&'a [u8]),
}

/// What envelopes that came together have in common, written once.
#[derive(Debug, Clone)]
pub(super) struct Mold {
    /// `,"source":…,"type":…,"subject":…,"time":`
    said: Vec<u8>,
    /// `,"oracle":{…}}`
    kept: Vec<u8>,
}

impl Mold {
    pub(super) fn new(source: &str, kind: &str, subject: Option<&str>, kept: &Kept<'_>) -> Mold {
        let mut said = Vec::with_capacity(128);
        member("source", source, &mut said);
        member("type", kind, &mut said);
        if let Some(subject) = subject {
            member("subject", subject, &mut said);
        }
        said.extend_from_slice(b",\"time\":");
        let mut tail = b",\"oracle\":{".to_vec();
        kept.write_members(&mut tail);
        tail.extend_from_slice(b"}}");
        Mold { said, kept: tail }
    }

    /// How long it makes each envelope.
    pub(super) fn bytes(&self) -> usize {
        self.said.len() + self.kept.len()
    }

    /// Writes an envelope behind what `out` holds.
    pub(super) fn write(&self, id: &str, time: &str, data: Data<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
        text(id, out);
        out.extend_from_slice(&self.said);
        text(time, out);
        out.extend_from_slice(b",\"data\":");
        data.write(out);
        out.extend_from_slice(&self.kept);
    }
}

impl<'a> Data<'a> {
    /// What a text says: the object that it is the JSON of, else itself.
    pub(super) fn of(text: &'a str) -> Data<'a> {
        let trimmed = text.trim_matches([' ', '\n', '\r', '\t']);
        if !trimmed.starts_with('{') {
            return Data::Text(text);
        }
        let mut scanner = Scanner::new(trimmed.as_bytes());
        let is_json = scanner.skip().and_then(|_| scanner.end()).is_ok() && scanner.take_unclean().is_none();
        // Only what may hold such a number is read for it.
        let is_readable = is_json && !(scanner.take_large_number() && is_unreadable(trimmed.as_bytes()));
        if is_readable { Data::Object(trimmed) } else { Data::Text(text) }
    }

    /// Writes the value of `data` behind what `out` holds.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Data::Object(json) => out.extend_from_slice(json.as_bytes()),
            Data::Text(message) => {
                out.extend_from_slice(b"{\"message\":");
                text(message, out);
                out.push(b'}');
            }
            Data::Quoted(message) => {
                out.extend_from_slice(b"{\"message\":\"");
                out.extend_from_slice(message);
                out.extend_from_slice(b"\"}");
            }
        }
    }

    /// The same of a text that stood so between the quotes of a JSON string: what is no object need not be written anew.
    pub(super) fn of_quoted(text: &'a str, raw: &'a [u8]) -> Data<'a> {
        match Data::of(text) {
            Data::Text(_) => Data::Quoted(raw),
            data => data,
        }
    }
}

/// The keys of `oracle` that say where a record is kept: always ours to write.
pub(super) const KEPT_KEYS: [&str; 5] = ["compartmentid", "ingestedtime", "loggroupid", "logid", "tenantid"];

impl Kept<'_> {
    /// Writes the members of `oracle` behind what `out` holds.
    pub(super) fn write_members(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"compartmentid\":");
        text(self.compartment, out);
        member("ingestedtime", &self.ingested.to_string(), out);
        member("loggroupid", self.log_group, out);
        if let Some(log) = self.log {
            member("logid", log, out);
        }
        member("tenantid", self.tenant, out);
    }
}

/// Whether nobody could read JSON that is one, for a number in it such as `1e400`: a record would be there and never be
/// found.
pub(super) fn is_unreadable(json: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(json).is_err()
}

/// The log type of a record that stands in this group and is of this type.
pub fn log_type(log_group: &str, kind: &str) -> &'static str {
    if log_group == AUDIT_GROUP {
        AUDIT_LOG_TYPE
    } else if kind.starts_with(FLOW_TYPES) {
        FLOW_LOG_TYPE
    } else {
        LOGGING_LOG_TYPE
    }
}

/// A line that a function wrote, or that was written about a call of it (contracts/oci.md §1.6).
#[derive(Debug, Clone, Copy)]
pub struct FunctionLine<'a> {
    /// The OCID of its application.
    pub application: &'a str,
    /// What that is called.
    pub application_name: &'a str,
    /// Its OCID.
    pub function: &'a str,
    /// What it is called.
    pub function_name: &'a str,
    /// Which process of it.
    pub process: &'a str,
    /// The call.
    pub request: &'a str,
    /// Where the line was written to.
    pub stream: Stream,
    /// The line.
    pub message: &'a str,
}

/// Where a function writes lines to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output. What is written about calls has this, too.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl FunctionLine<'_> {
    /// The record of it.
    pub fn record(&self, id: &str, time: Time, kept: &Kept<'_>) -> Record {
        let mut data = Vec::with_capacity(512 + self.message.len());
        data.extend_from_slice(b"{\"applicationId\":");
        text(self.application, &mut data);
        member("containerId", self.process, &mut data);
        member("functionId", self.function, &mut data);
        member("message", self.message, &mut data);
        member("opcRequestId", self.request, &mut data);
        member("requestId", self.request, &mut data);
        let stream = match self.stream {
            Stream::Stdout => "STDOUT",
            Stream::Stderr => "STDERR",
        };
        member("src", stream, &mut data);
        data.push(b'}');
        let data = String::from_utf8(data).expect("it was written of texts");
        let kind = "com.oraclecloud.functions.application.functioninvoke";
        record(id, self.application_name, kind, Some(self.function_name), time, &data, kept)
    }
}

/// A record of ours: `source` wrote it, about `subject`; `kind` is `com.oraclecloud.{service}.{resource}.{category}`, and
/// `data` is a JSON object. The id need not be the only one.
pub fn record(
    id: &str,
    source: &str,
    kind: &str,
    subject: Option<&str>,
    time: Time,
    data: &str,
    kept: &Kept<'_>,
) -> Record {
    let mut out = Vec::with_capacity(data.len() + 512);
    Mold::new(source, kind, subject, kept).write(id, &time.to_string(), Data::Object(data), &mut out);
    Record { sender_time: Some(time), ..Record::new(out) }
}

/// `,"key":"value"`.
fn member(key: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b',');
    text(key, out);
    out.push(b':');
    text(value, out);
}

/// A text as a JSON string.
pub(super) fn text(value: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a vector takes everything, and a text is always JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn kept() -> Kept<'static> {
        Kept {
            tenant: "t",
            compartment: "c",
            log_group: "g",
            log: Some("l"),
            ingested: Time::from_secs(1_700_000_000).unwrap(),
        }
    }

    fn parsed(record: &Record) -> Value {
        serde_json::from_slice(&record.data).unwrap()
    }

    #[test]
    fn a_functions_line() {
        let line = FunctionLine {
            application: "ocid1.fnapp",
            application_name: "oci-hol-fn-app",
            function: "ocid1.fnfunc",
            function_name: "oci-logs",
            process: "p1",
            request: "01CALL",
            stream: Stream::Stderr,
            message: "01CALL - root - INFO - \"한글\"\n",
        };
        let time = Time::from_millis(1_700_000_000_123).unwrap();
        let record = line.record("1", time, &kept());
        assert_eq!(record.sender_time, Some(time));
        assert_eq!(
            parsed(&record),
            json!({
                "specversion": "1.0",
                "id": "1",
                "source": "oci-hol-fn-app",
                "type": "com.oraclecloud.functions.application.functioninvoke",
                "subject": "oci-logs",
                "time": "2023-11-14T22:13:20.123Z",
                "data": {
                    "applicationId": "ocid1.fnapp",
                    "containerId": "p1",
                    "functionId": "ocid1.fnfunc",
                    "message": "01CALL - root - INFO - \"한글\"\n",
                    "opcRequestId": "01CALL",
                    "requestId": "01CALL",
                    "src": "STDERR",
                },
                "oracle": {
                    "compartmentid": "c",
                    "ingestedtime": "2023-11-14T22:13:20Z",
                    "loggroupid": "g",
                    "logid": "l",
                    "tenantid": "t",
                },
            })
        );
    }

    #[test]
    fn numbers_that_nobody_can_read_stay_text() {
        let check = |text: &str, is_object: bool| {
            assert_eq!(matches!(Data::of(text), Data::Object(_)), is_object, "{text:.50}");
        };
        check(r#"{"a": 1.5e300, "b": -2E-999, "c": "1e999"}"#, true);
        check(r#"{"a": 1e400}"#, false);
        check(r#"{"a": [1E+0400]}"#, false);
        check(&format!(r#"{{"a": {}}}"#, "9".repeat(400)), false);
        check(&format!(r#"{{"a": {}e99}}"#, "9".repeat(250)), false);
        check(&format!(r#"{{"a": {}, "b": "{}"}}"#, "9".repeat(150), "1".repeat(999)), true);
        check(r#"{"id": "5f2c1e4001e400"}"#, true);
    }

    #[test]
    fn log_types() {
        assert_eq!(log_type("_Audit", "com.oraclecloud.vcn.flowlogs.DataEvent"), "OCI_AUDIT");
        assert_eq!(log_type("g", "com.oraclecloud.vcn.flowlogs.QualityEvent.NoData"), "OCI_FLOW");
        assert_eq!(log_type("g", "my.type"), "OCI_LOGGING");
    }
}
