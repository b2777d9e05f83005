//! `logs:classify`: which log types logs may be of.
//!
//! One answer is given for all logs of a request, which are taken to be of one source: the score of a log type is the
//! mean of its scores over all of them, where a log that it was not considered for counts as 0. So a type that fits
//! every log goes before one that fits one of them well.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use event::limits;
use http::StatusCode;
use serde_json::{Value, json};

use super::read_json;
use super::search::look;
use crate::faults::Faults;
use crate::{Refusal, Reply};

/// The answer to a body.
pub(super) fn classify(body: &[u8]) -> Result<Reply, Refusal> {
    let logs = read(&read_json(body)?)?;
    let candidates = |log: &[u8]| {
        crate::classify::classify(log).into_iter().map(|candidate| (candidate.log_type, candidate.score)).collect()
    };
    let predictions: Vec<Value> = predictions(&logs, candidates)
        .into_iter()
        .map(|(log_type, score)| json!({ "logType": log_type, "score": score }))
        .collect();
    Ok(Reply::json(StatusCode::OK, json!({ "predictions": predictions }).to_string()))
}

/// The best ones of all logs, best first, those of one score by name.
fn predictions<'t>(logs: &[Vec<u8>], candidates: impl Fn(&[u8]) -> Vec<(&'t str, f32)>) -> Vec<(&'t str, f64)> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for log in logs {
        for (log_type, score) in candidates(log) {
            *sums.entry(log_type).or_default() += f64::from(score);
        }
    }
    // Four digits: what is behind them is noise of the sum.
    let mean = |sum: f64| (sum / logs.len() as f64 * 10_000.0).round() / 10_000.0;
    let mut means: Vec<(&str, f64)> = sums.into_iter().map(|(log_type, sum)| (log_type, mean(sum))).collect();
    means.retain(|(_, score)| *score > 0.0);
    means.sort_by(|a, b| b.1.total_cmp(&a.1));
    means.truncate(limits::CLASSIFY_CANDIDATES_MAX);
    means
}

/// The logs of a body: base64, in either alphabet and with or without padding.
fn read(body: &Value) -> Result<Vec<Vec<u8>>, Refusal> {
    let items: &[Value] = match look(body, &["logData"]) {
        Some(Value::Array(items)) => items,
        Some(item) => std::slice::from_ref(item),
        None => &[],
    };
    if !(1..=limits::CLASSIFY_LOGS_MAX).contains(&items.len()) {
        let description = format!("{} logs; from 1 to {} can be sent", items.len(), limits::CLASSIFY_LOGS_MAX);
        return Err(Refusal::invalid_field("logData", description));
    }
    let (mut logs, mut faults) = (Vec::new(), Faults::default());
    for (index, item) in items.iter().enumerate() {
        let decode = |text: &str| {
            let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
            STANDARD_NO_PAD.decode(standard).ok()
        };
        match item.as_str().and_then(decode) {
            Some(log) => logs.push(log),
            None => faults.add(format!("logData[{index}]"), "must be a log in base64"),
        }
    }
    faults.refusal("body").map_or(Ok(logs), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_decoded() {
        for (body, expected) in [
            (json!({ "logData": ["eyJhIjoxfQ=="] }), vec!["{\"a\":1}"]),
            (json!({ "log_data": ["eyJhIjoxfQ", "YQ"] }), vec!["{\"a\":1}", "a"]),
            (json!({ "logData": "YQ==" }), vec!["a"]),
            (json!({ "logData": [""] }), vec![""]),
        ] {
            let logs = read(&body).unwrap();
            assert_eq!(logs, expected.iter().map(|log| log.as_bytes().to_vec()).collect::<Vec<_>>(), "{body}");
        }
        assert_eq!(read(&json!({ "logData": ["Pz8_"] })).unwrap(), read(&json!({ "logData": ["Pz8/"] })).unwrap());
    }

    #[test]
    fn what_is_no_log() {
        for (body, part) in [
            (json!({}), "0 logs"),
            (json!([]), "0 logs"),
            (json!({ "logData": [] }), "0 logs"),
            (json!({ "logData": vec!["YQ=="; limits::CLASSIFY_LOGS_MAX + 1] }), "1001 logs"),
            (json!({ "logData": ["YQ==", "!", 5] }), "logData[1]: must be a log in base64 (1 more faults in the body)"),
        ] {
            let refusal = read(&body).unwrap_err();
            assert!(refusal.message.contains(part), "{body:.60}: {refusal}");
        }
    }

    #[test]
    fn scores_are_means_over_all_logs() {
        let scores = |log: &[u8]| match log {
            b"a" => vec![("OKTA", 0.9), ("AUDITD", 0.6)],
            b"b" => vec![("AUDITD", 0.6), ("BIND_DNS", 0.3)],
            b"many" => vec![("A", 0.1), ("B", 0.2), ("C", 0.3), ("D", 0.4), ("E", 0.5), ("F", 0.6), ("G", 0.00001)],
            _ => vec![],
        };
        let check = |logs: &[&str], expected: &[(&str, f64)]| {
            let logs: Vec<Vec<u8>> = logs.iter().map(|log| log.as_bytes().to_vec()).collect();
            assert_eq!(predictions(&logs, scores), expected, "{logs:?}");
        };
        check(&["a"], &[("OKTA", 0.9), ("AUDITD", 0.6)]);
        check(&["a", "b"], &[("AUDITD", 0.6), ("OKTA", 0.45), ("BIND_DNS", 0.15)]);
        check(&["a", "c", "c"], &[("OKTA", 0.3), ("AUDITD", 0.2)]);
        check(&["c"], &[]);
        check(&["many"], &[("F", 0.6), ("E", 0.5), ("D", 0.4), ("C", 0.3), ("B", 0.2)]);
        check(&["b", "b"], &[("AUDITD", 0.6), ("BIND_DNS", 0.3)]);
    }
}
