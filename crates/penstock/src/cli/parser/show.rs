//! How an event is shown to people: one line for each of its values, with the path that a search would name.
//!
//! The order is the event's own. Programs get JSON instead; they are told nothing here.

use cbn::output::Event;
use serde_json::Value;
use udm::Root;

use crate::cli::output::printable;

/// Up to this width the values of an event stand below each other.
const PATH_WIDTH_MAX: usize = 56;
/// Longest value shown; `-o json` shows all of it.
const VALUE_CHARS_MAX: usize = 240;

/// Appends an event, indented, with what is odd about it.
pub fn event(event: &Event, out: &mut String) {
    let record: Value = serde_json::from_str(&event.json).unwrap_or_default();
    let mut leaves = Vec::new();
    below(&record, String::new(), &mut leaves);
    let width = leaves.iter().map(|(path, _)| path.chars().count()).max().unwrap_or(0).min(PATH_WIDTH_MAX);
    for (path, value) in leaves {
        out.push_str(&format!("  {path:width$}  {value}\n"));
    }
    for issue in &event.issues {
        out.push_str(&format!("  ! {}: {}\n", printable(&issue.field), printable(&issue.message)));
    }
}

/// An event in a few words: its time and type.
pub fn headline(event: &Event) -> String {
    // Read by key: the texts are ours, but a parser decides what stands in them.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Known {
        metadata: Option<Metadata>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        event_type: Option<String>,
        entity_type: Option<String>,
    }
    let known: Option<Known> = serde_json::from_str(&event.json).ok();
    let metadata = known.and_then(|known| known.metadata);
    let kind = match event.root {
        Root::Event => metadata.and_then(|metadata| metadata.event_type),
        Root::Entity => metadata.and_then(|metadata| metadata.entity_type),
    };
    let noun = if event.root == Root::Entity { "entity " } else { "" };
    let kind = kind.unwrap_or_else(|| "without a type".to_owned());
    format!("{noun}{}  {}", printable(&kind), event.timestamp.as_deref().unwrap_or("without a time"))
}

fn below(value: &Value, path: String, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let key = printable(key);
                below(value, if path.is_empty() { key } else { format!("{path}.{key}") }, leaves);
            }
        }
        Value::Array(elements) if elements.iter().all(|element| !element.is_object() && !element.is_array()) => {
            let texts: Vec<_> = elements.iter().map(plain).collect();
            leaves.push((path, shortened(texts.join(", "))));
        }
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate() {
                below(element, format!("{path}[{at}]"), leaves);
            }
        }
        other => leaves.push((path, shortened(plain(other)))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A text that fits.
pub fn shortened(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_line() {
        let shown = Event {
            root: Root::Event,
            json: r#"{"metadata":{"eventType":"USER_LOGIN"},"principal":{"ip":["10.0.0.1","10.0.0.2"]},
                "securityResult":[{"action":["ALLOW"]},{"summary":"a\u001bb"}],"additional":{}}"#
                .to_owned(),
            timestamp: Some("2026-11-01T10:00:00Z".to_owned()),
            is_alert: false,
            is_significant: false,
            issues: vec![cbn::output::Issue { field: "target".to_owned(), message: "is not set".to_owned() }],
        };
        let mut out = String::new();
        event(&shown, &mut out);
        assert_eq!(
            out,
            "  metadata.eventType         USER_LOGIN
  principal.ip               10.0.0.1, 10.0.0.2
  securityResult[0].action   ALLOW
  securityResult[1].summary  a\u{FFFD}b
  additional                 {}
  ! target: is not set
"
        );
        assert_eq!(headline(&shown), "USER_LOGIN  2026-11-01T10:00:00Z");
    }
}
