//! The columns of `legacyFetchUdmSearchCsv`: which fields of an event a name means, and lines of CSV (RFC 4180).
//!
//! A column is named by a UDM path, by a grouped field such as `ip`, or by a label of the console's table. Google
//! publishes no list of those; the ones here are the labels of its own library's documents. Several values stand in one
//! cell with `;` between. Cells are what was stored: nothing is put before a value that a spreadsheet takes for a formula.

use std::collections::HashSet;

use event::limits;
use serde_json::Value;
use udm::{LeafKind, Root, Schema};

use crate::Refusal;
use crate::ask::FoundRecord;

/// Labels and the fields that they mean.
const LABELS: [(&str, &[&str]); 3] = [
    ("event type", &["metadata.event_type"]),
    (
        "process name",
        &["principal.process.file.full_path", "target.process.file.full_path", "src.process.file.full_path"],
    ),
    ("product name", &["metadata.product_name"]),
];

/// What a reply's lines are made of.
pub(super) struct Columns(Vec<Column>);

struct Column {
    /// As the request has it.
    name: String,
    source: Source,
}

enum Source {
    /// When the event happened, which every record has.
    Time,
    /// Fields, in canonical form.
    Paths(Vec<String>),
    /// The grouped field with this number.
    Group(usize),
}

impl Columns {
    /// The columns that a request names, and the names that mean nothing.
    pub(super) fn read(fields: Option<&Value>, schema: &Schema) -> Result<(Columns, Vec<String>), Refusal> {
        let wrong = |description: String| Err(Refusal::invalid_field("fields.fields", description));
        let names: Option<Vec<&str>> = match fields {
            Some(Value::Array(names)) => names.iter().map(Value::as_str).collect(),
            Some(Value::String(name)) => Some(vec![name]),
            _ => None,
        };
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return wrong("must be a list of fields, such as metadata.event_timestamp".to_owned());
        };
        if names.len() > limits::CSV_COLUMNS_MAX {
            return wrong(format!("{} fields, more than the {} allowed", names.len(), limits::CSV_COLUMNS_MAX));
        }
        let (mut columns, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match Source::of(name.trim(), schema) {
                Some(source) => columns.push(Column { name: name.to_owned(), source }),
                None => unknown.push(name.chars().take(200).collect()),
            }
        }
        if columns.is_empty() {
            return wrong(format!("{} is no field of events, nor is any other of them", unknown[0]));
        }
        Ok((Columns(columns), unknown))
    }

    /// The first line: the names as they were asked for.
    pub(super) fn header(&self) -> String {
        let mut line = String::new();
        for (index, column) in self.0.iter().enumerate() {
            push(&mut line, index, &column.name);
        }
        line
    }

    /// The line of an event; `None` when it is longer than `bytes_max`.
    pub(super) fn line(&self, record: &FoundRecord, schema: &Schema, bytes_max: usize) -> Option<String> {
        let mut cells: Vec<Vec<String>> = vec![Vec::new(); self.0.len()];
        // A value that several fields of a group have stands there once.
        let mut seen = HashSet::new();
        let mut bytes = 0;
        schema.visit_leaves(Root::Event, &record.data, &mut |leaf| {
            for (index, (column, cell)) in self.0.iter().zip(&mut cells).enumerate() {
                let is_meant = match &column.source {
                    Source::Time => false,
                    Source::Paths(paths) => paths.iter().any(|path| path == leaf.path),
                    Source::Group(group) => leaf.groups.contains(*group),
                };
                if is_meant && bytes <= bytes_max && seen.insert((index, leaf.text.to_owned())) {
                    bytes += leaf.text.len();
                    cell.push(leaf.text.to_owned());
                }
            }
        });
        if bytes > bytes_max {
            return None;
        }
        let mut line = String::new();
        for (index, (column, values)) in self.0.iter().zip(cells).enumerate() {
            match column.source {
                Source::Time => push(&mut line, index, &record.event_time.to_string()),
                _ => push(&mut line, index, &values.join(";")),
            }
        }
        Some(line)
    }
}

impl Source {
    fn of(name: &str, schema: &Schema) -> Option<Source> {
        if name.eq_ignore_ascii_case("timestamp") {
            return Some(Source::Time);
        }
        if let Some((_, paths)) = LABELS.iter().find(|(label, _)| label.eq_ignore_ascii_case(name)) {
            let path = |path: &&str| schema.resolve(Root::Event, path).ok().map(|path| path.as_str().to_owned());
            return Some(Source::Paths(paths.iter().filter_map(path).collect()));
        }
        if let Some(group) = schema.grouped().iter().position(|group| group.name.eq_ignore_ascii_case(name)) {
            return Some(Source::Group(group));
        }
        // Rules and the console write the record's own name before its fields.
        let path = schema.resolve(Root::Event, name.strip_prefix("udm.").unwrap_or(name)).ok()?;
        (path.kind() != LeafKind::Message).then(|| Source::Paths(vec![path.as_str().to_owned()]))
    }
}

/// Appends a cell, in quotes where it holds what separates cells or lines.
fn push(line: &mut String, index: usize, cell: &str) {
    if index > 0 {
        line.push(',');
    }
    if cell.contains(['"', ',', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
        line.push('"');
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::found;
    use serde_json::json;

    const EVENT: &str = r#"{"metadata": {"eventType": "USER_LOGIN", "event_timestamp": "2026-01-02T03:04:05Z",
        "description": "said \"hi\",\nthen left"},
        "principal": {"hostname": "ws-1", "ip": ["10.0.0.1", "10.0.0.2"], "user": {"userid": "joe"},
            "process": {"file": {"fullPath": "C:\\a.exe"}}},
        "target": {"ip": "10.0.0.1", "port": 443, "user": {"userid": "joe"}},
        "additional": {"fields": {"k": {"stringValue": "v"}}}}"#;

    #[track_caller]
    fn check(fields: &Value, header: &str, line: &str) {
        let schema = Schema::load();
        let (columns, unknown) = Columns::read(Some(fields), &schema).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(columns.header(), header);
        assert_eq!(columns.line(&found(1, EVENT), &schema, usize::MAX).as_deref(), Some(line), "{fields}");
    }

    #[test]
    fn what_names_mean() {
        check(&json!(["timestamp"]), "timestamp", "2023-11-14T22:13:20Z");
        check(&json!(["metadata.event_timestamp"]), "metadata.event_timestamp", "2026-01-02T03:04:05Z");
        check(&json!("metadata.eventType"), "metadata.eventType", "USER_LOGIN");
        check(&json!(["user", "hostname", "process name"]), "user,hostname,process name", "joe,ws-1,C:\\a.exe");
        check(&json!(["ip"]), "ip", "10.0.0.1;10.0.0.2");
        check(&json!(["udm.target.port", "target.ip"]), "udm.target.port,target.ip", "443,10.0.0.1");
        check(&json!(["additional.fields[\"k\"]"]), "\"additional.fields[\"\"k\"\"]\"", "v");
        check(&json!(["src.hostname", "target.port"]), "src.hostname,target.port", ",443");
    }

    #[test]
    fn cells_are_quoted() {
        check(&json!(["metadata.description"]), "metadata.description", "\"said \"\"hi\"\",\nthen left\"");
    }

    #[test]
    fn unknown_names_are_told_and_left_out() {
        let schema = Schema::load();
        let (columns, unknown) = Columns::read(Some(&json!(["raw log", "ip", "principal"])), &schema).unwrap();
        assert_eq!((columns.header().as_str(), unknown), ("ip", vec!["raw log".to_owned(), "principal".to_owned()]));
        for (fields, part) in [
            (Value::Null, "must be a list"),
            (json!([]), "must be a list"),
            (json!([5]), "must be a list"),
            (json!(["raw log"]), "no field of events"),
            (json!(vec!["ip"; limits::CSV_COLUMNS_MAX + 1]), "more than the"),
        ] {
            let refusal = Columns::read(Some(&fields), &schema).map(|_| ()).unwrap_err();
            assert!(refusal.message.contains(part), "{fields}: {refusal}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_none() {
        let schema = Schema::load();
        let (columns, _) = Columns::read(Some(&json!(["ip", "ip", "ip"])), &schema).unwrap();
        assert!(columns.line(&found(1, EVENT), &schema, 48).is_some());
        assert!(columns.line(&found(1, EVENT), &schema, 47).is_none());
    }
}
