//! Comparing what a program made with Google's expected files, the way Google's own validator of parsers does.
//!
//! That validator runs a parser on all logs of a case, brings the results into the form of the expected file, and
//! compares event by event, at equal places, leaving out times and the log type wherever they stand. Nothing is sorted and
//! nothing is aligned: one event too many makes all behind it different.
//!
//! Absent: reading files.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use udm::Root;

use super::Event;

/// Keys that are left out on comparing, at any depth.
pub const IGNORED: [&str; 7] =
    ["timestamp", "event_timestamp", "eventTimestamp", "logType", "collectedTimestamp", "scanEndTime", "scanStartTime"];

/// Two events that are not the same.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDiff {
    /// Which of the events.
    pub index: usize,
    /// Where they differ; never empty.
    pub differences: Vec<Difference>,
}

/// One place at which two events differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The place, as `$.event.idm.readOnlyUdm.principal.ip[0]`.
    pub path: String,
    /// What was expected there, if anything.
    pub expected: Option<Value>,
    /// What is there, if anything.
    pub got: Option<Value>,
}

/// The results of several logs in the form of an expected file. An event that one log gives twice is there once.
pub fn transform<'e>(results: impl IntoIterator<Item = &'e [Event]>) -> Value {
    let mut events = Vec::new();
    for result in results {
        // Keys are sorted, so equal events are equal texts.
        let mut seen = HashSet::new();
        for event in result {
            if seen.insert((event.root == Root::Event, event.json.as_str())) {
                let record = serde_json::from_str(&event.json).unwrap_or(Value::Null);
                events.push(wrap(event.root, cleaned(record)));
            }
        }
    }
    json!({ "events": events })
}

/// Compares what [`transform`] gives with an expected file. Its events may stand as `{"event": {"idm": …}}` or, as the API
/// returns them, as `{"event": UDM}` and `{"entity": Entity}`; and in a list without `events` around it.
pub fn compare(expected: &Value, got: &Value) -> Vec<EventDiff> {
    let expected = events(expected);
    let got = events(got);
    let mut diffs = Vec::new();
    for index in 0..expected.len().max(got.len()) {
        let mut differences = Vec::new();
        let (one, other) = (expected.get(index), got.get(index));
        differ("$", one, other, &mut differences);
        if !differences.is_empty() {
            diffs.push(EventDiff { index, differences });
        }
    }
    diffs
}

fn events(file: &Value) -> Vec<Value> {
    let list = match file {
        Value::Array(list) => list,
        Value::Object(file) => match file.get("events") {
            Some(Value::Array(list)) => list,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    list.iter().map(|event| filtered(&wrapped(event))).collect()
}

/// An event in the form of expected files, whichever of the two it has.
fn wrapped(event: &Value) -> Value {
    match (event.get("event"), event.get("entity")) {
        (Some(inner), _) if inner.get("idm").is_some() => event.clone(),
        (Some(udm), _) => wrap(Root::Event, udm.clone()),
        (None, Some(entity)) => wrap(Root::Entity, entity.clone()),
        (None, None) => event.clone(),
    }
}

fn wrap(root: Root, mut record: Value) -> Value {
    match root {
        Root::Entity => json!({ "event": { "idm": { "entity": record } } }),
        Root::Event => {
            let metadata = record.get_mut("metadata").and_then(|metadata| metadata.get_mut("eventTimestamp"));
            let timestamp = metadata.map_or(Value::Null, |timestamp| {
                if let Some(text) = timestamp.as_str() {
                    *timestamp = Value::String(trimmed(text));
                }
                timestamp.clone()
            });
            json!({ "event": { "timestamp": timestamp, "idm": { "readOnlyUdm": record } } })
        }
    }
}

/// A time without the zeros that end its fraction. One with more than six digits stays as it is.
fn trimmed(time: &str) -> String {
    match time.trim_end_matches('Z').split_once('.') {
        Some((seconds, fraction)) if fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{seconds}{point}{fraction}Z")
        }
        _ => time.to_owned(),
    }
}

/// Without what stands for bytes that are no text; an empty text instead of nothing.
fn cleaned(value: Value) -> Value {
    match value {
        Value::Null => Value::String(String::new()),
        Value::String(text) if text.contains('\u{fffd}') => Value::String(text.replace('\u{fffd}', "")),
        Value::Array(list) => list.into_iter().map(cleaned).collect(),
        Value::Object(object) => object.into_iter().map(|(key, value)| (key, cleaned(value))).collect(),
        other => other,
    }
}

fn filtered(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(filtered).collect(),
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| !IGNORED.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), filtered(value)))
            .collect::<Map<String, Value>>()
            .into(),
        other => other.clone(),
    }
}

fn differ(path: &str, expected: Option<&Value>, got: Option<&Value>, differences: &mut Vec<Difference>) {
    match (expected, got) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                differ(&format!("{path}.{key}"), one.get(key), other.get(key), differences);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                differ(&format!("{path}[{index}]"), one.get(index), other.get(index), differences);
            }
        }
        // 80 and 80.0 are the same number.
        (Some(Value::Number(one)), Some(Value::Number(other))) if one.as_f64() == other.as_f64() => {}
        (one, other) if one == other => {}
        (one, other) => {
            differences.push(Difference { path: path.to_owned(), expected: one.cloned(), got: other.cloned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(root: Root, json: &str) -> Event {
        Event { root, json: json.to_owned(), timestamp: None, is_alert: false, is_significant: false, issues: vec![] }
    }

    #[test]
    fn results_in_the_form_of_expected_files() {
        let one = event(
            Root::Event,
            r#"{"metadata":{"eventTimestamp":"2024-05-06T07:08:09.120Z"},"principal":{"url":"a\ufffdb"}}"#,
        );
        let entity = event(Root::Entity, r#"{"entity":{"url":"x"}}"#);
        // The same event twice from one log, and once more from another.
        let first = [one.clone(), one.clone(), entity];
        let second = [one];
        let udm = json!({"event": {"timestamp": "2024-05-06T07:08:09.12Z", "idm": {"readOnlyUdm": {
            "metadata": {"eventTimestamp": "2024-05-06T07:08:09.12Z"}, "principal": {"url": "ab"}}}}});
        assert_eq!(
            transform([&first[..], &second[..]]),
            json!({"events": [udm, {"event": {"idm": {"entity": {"entity": {"url": "x"}}}}}, udm]})
        );
    }

    #[test]
    fn times_lose_the_zeros_of_their_fraction() {
        for (time, expected) in [
            ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T07:08:09.820Z", "2024-05-06T07:08:09.82Z"),
            ("2024-05-06T07:08:09.000000Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T07:08:09.123456780Z", "2024-05-06T07:08:09.123456780Z"),
        ] {
            assert_eq!(trimmed(time), expected);
        }
    }

    #[test]
    fn both_forms_of_expected_files_are_read_and_some_keys_do_not_count() {
        let got = transform([&[event(
            Root::Event,
            r#"{"metadata":{"logType":"MINE","productName":"p"},"target":{"port":80}}"#,
        )][..]]);
        for expected in [
            json!({"events": [{"event": {"timestamp": "x", "idm": {"readOnlyUdm":
                {"metadata": {"logType": "OTHER", "eventTimestamp": "y", "productName": "p"}, "target": {"port": 80.0}}}}}]}),
            json!({"events": [{"event": {"metadata": {"productName": "p"}, "target": {"port": 80}}}]}),
            json!([{"event": {"metadata": {"productName": "p"}, "target": {"port": 80}}}]),
        ] {
            assert_eq!(compare(&expected, &got), [], "{expected}");
        }
    }

    #[test]
    fn differences_have_a_path() {
        let expected = json!([{"event": {"a": [1, 2], "b": "x"}}, {"event": {"c": true}}]);
        let got = json!([{"event": {"a": [1], "b": "y", "d": {}}}]);
        let told: Vec<(usize, String, Option<Value>, Option<Value>)> = compare(&expected, &got)
            .into_iter()
            .flat_map(|diff| diff.differences.into_iter().map(move |one| (diff.index, one.path, one.expected, one.got)))
            .collect();
        let inside = |rest: &str| format!("$.event.idm.readOnlyUdm.{rest}");
        assert_eq!(
            told,
            [
                (0, inside("a[1]"), Some(json!(2)), None),
                (0, inside("b"), Some(json!("x")), Some(json!("y"))),
                (0, inside("d"), None, Some(json!({}))),
                (1, "$".to_owned(), Some(json!({"event": {"idm": {"readOnlyUdm": {"c": true}}}})), None),
            ]
        );
    }
}
