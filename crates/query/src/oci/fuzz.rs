//! The fuzz target of OCI's languages: any text as a query over one entry that has a bit of everything, any bytes as a
//! record.

use event::Kind;
use serde_json::{Value, json};

use super::{Condition, LogQuery, Mql, Scope, predicate};

/// A log entry of OCI that has a bit of everything.
const ENTRY: &str = r#"{"type": "com.oraclecloud.vcn.flowlogs.DataEvent", "source": "-", "id": "a*\u0062", "subject": null,
    "time": "2026-01-02T03:04:05Z", "data": {"action": "ACCEPT", "sourceAddress": "10.0.0.1", "destinationPort": 22,
    "ratio": 0.5, "ok": true, "list": ["a", {"k": "v"}, [1, null]], "a.b": "it's", "message": "서울 \"x\""},
    "oracle": {"compartmentid": "c", "loggroupid": "g", "logid": "l"}}"#;

/// Reads the bytes as a query in every language of OCI and runs what can be read, then asks some conditions of the bytes
/// themselves. Panics only if something is wrong here: among others, when a predicate matches what its own
/// [`crate::Prune`] rules out, or asks something else once it was printed and read again.
pub fn fuzz(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    let condition = Condition::parse(text);
    let search = LogQuery::parse(text);
    for diagnostic in
        [condition.as_ref().err(), search.as_ref().err(), Mql::parse(text).as_ref().err()].into_iter().flatten()
    {
        assert!(text.get(diagnostic.span.clone()).is_some(), "a span outside the query: {diagnostic:?}");
        diagnostic.render(text);
    }
    if let Ok(condition) = condition {
        let matches = condition.matches(ENTRY.as_bytes());
        let printed = condition.to_string();
        if printed.len() <= event::limits::QUERY_BYTES_MAX {
            let again = Condition::parse(&printed).expect("a printed condition can be read");
            assert_eq!(again.to_string(), printed);
            assert_eq!(again.matches(ENTRY.as_bytes()), matches, "{printed}");
        }
        let predicate = predicate([Scope::default()], Some(condition));
        if predicate.matches(Kind::Raw, ENTRY.as_bytes()) {
            let held = udm::fold(ENTRY);
            let possible = predicate.prune().possible(&mut |_| false, &mut |wanted| held.contains(wanted));
            assert!(possible && matches, "{predicate}");
        }
    }
    if let Ok(search) = search {
        let entry: Value = serde_json::from_str(ENTRY).expect("it is JSON");
        let row = json!({"datetime": 1_767_323_045_000_i64, "logContent": entry});
        if let Ok(output) = search.run(vec![row.clone(), row]) {
            assert!(output.rows.iter().all(Value::is_object), "{text}");
        }
    }
    for text in
        ["data.list.k = 'v'", "logContent != '*a*'", "contains_ci(data, 'É') or isNull(data.x[0])", "data.x + 1 = 2"]
    {
        let condition = Condition::parse(text).expect("it is a condition");
        let not = Condition::parse(&format!("not ({text})")).expect("it is a condition");
        assert_ne!(condition.matches(bytes), not.matches(bytes), "{text}");
    }
}
