//! `penstock search`: rows as they come.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::client::lines;
use super::output::{Format, printable, say};
use super::{CliError, Client, SearchArgs, SearchCommand};

/// Longest text shown in a table row; `-o json` shows all of it.
const TEXT_CHARS_MAX: usize = 160;

pub async fn run(client: &Client, command: SearchCommand) -> Result<(), CliError> {
    let (language, query, regex, common) = match command {
        SearchCommand::Raw { text, regex, common } => ("raw", text, regex, common),
        SearchCommand::Udm { expression, common } => ("udm", Some(expression), None, common),
    };
    let SearchArgs { from, to, log_type, limit, instance } = common;
    let body = json!({
        "language": language, "query": query, "regex": regex, "from": from, "to": to,
        "log_types": log_type, "limit": limit, "instance": instance, "events": language == "raw",
    });
    let mut rows = Vec::new();
    let last = search(client, &body, |row| match client.format {
        Format::Ndjson => say(row),
        Format::Json | Format::Table => rows.push(row.to_owned()),
    })
    .await?;
    match client.format {
        Format::Ndjson => say(&last.to_string()),
        Format::Json => {
            let rows: Vec<Value> = rows.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
            client.format.one(&json!({ "rows": rows, "summary": last }));
        }
        Format::Table => {
            for row in &rows {
                line(row).iter().for_each(|line| say(line));
            }
            say(&summary(&last));
        }
    }
    Ok(())
}

/// Runs a search; each row's line goes to `each`, the last line is answered.
pub async fn search(client: &Client, body: &Value, mut each: impl FnMut(&str)) -> Result<Value, CliError> {
    let mut response = client.send(Method::POST, "/api/search", Some(body), None).await?;
    let mut last = None;
    lines(&mut response, |line| {
        let text = String::from_utf8_lossy(line);
        if let Some(line) = text.strip_prefix("{\"done\":").map(|_| &*text) {
            last = serde_json::from_str::<Value>(line).ok();
        } else if text.starts_with("{\"error\":") {
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let message = value.pointer("/error/message").and_then(Value::as_str).unwrap_or("the search failed");
            return Err(CliError::Refused(message.to_owned()));
        } else if !text.is_empty() {
            each(&text);
        }
        Ok(())
    })
    .await?;
    last.ok_or_else(|| CliError::Refused("the search broke off before its end; these are not all rows".to_owned()))
}

/// A row's line, and below it one for each event that a parser made of it, or for why there is none.
fn line(row: &str) -> Vec<String> {
    let row: Value = serde_json::from_str(row).unwrap_or_default();
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let data = match row["kind"].as_str() {
        // A log that is not UTF-8 comes as bytes. Here something of it is shown, and where it is none.
        Some("raw") if row["text"].is_null() => {
            String::from_utf8_lossy(&STANDARD.decode(text("data_base64")).unwrap_or_default()).into_owned()
        }
        Some("raw") => text("text"),
        Some(kind) => row[kind].to_string(),
        None => String::new(),
    };
    let data = short(&data);
    let mut lines = vec![format!("{}  {}  {}  {}", text("event_time"), text("id"), text("log_type"), data)];
    if row["kind"] == "raw" {
        for event in row["events"].as_array().into_iter().flatten() {
            let kind = event["kind"].as_str().unwrap_or_default();
            let metadata = &event[kind]["metadata"];
            let type_of = metadata["eventType"].as_str().or(metadata["entityType"].as_str()).unwrap_or_default();
            let mut body = event[kind].clone();
            // Its type stands in front; the rest of the metadata says least of what is looked for.
            if let Some(body) = body.as_object_mut() {
                body.shift_remove("metadata");
            }
            lines.push(format!("    {type_of}  {}", short(&body.to_string())));
        }
        let failures = row["issues"].as_array().into_iter().flatten().filter_map(|issue| issue["message"].as_str());
        lines.extend(failures.map(|message| format!("    {}", short(message))));
    }
    lines
}

/// What of a text fits a line.
fn short(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() > TEXT_CHARS_MAX {
        return text.chars().take(TEXT_CHARS_MAX).collect::<String>() + "…";
    }
    text
}

fn summary(last: &Value) -> String {
    let rows = last["rows"].as_u64().unwrap_or(0);
    let mut text = match rows {
        0 => "Nothing found.".to_owned(),
        1 => "1 row.".to_owned(),
        rows => format!("{rows} rows."),
    };
    if last["truncated"].as_bool() == Some(true) {
        text.push_str(" There are more; raise --limit.");
    }
    if let Some(behind) = last["behind_ms"].as_u64().filter(|behind| *behind > 0) {
        text.push_str(&format!(" The newest {} s are not searchable yet.", behind.div_ceil(1000)));
    }
    let _ = std::io::stdout().flush();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_no_text_is_not_an_empty_row() {
        let row = |data: Value| {
            let mut row = json!({"kind": "raw", "event_time": "T", "id": "I", "log_type": "L"});
            row.as_object_mut().expect("an object").extend(data.as_object().expect("an object").clone());
            line(&row.to_string()).join("|")
        };
        assert_eq!(row(json!({"text": "plain"})), "T  I  L  plain");
        let events = json!([{"kind": "udm", "udm": {"metadata": {"eventType": "NETWORK_DNS"}, "about": []}}]);
        assert_eq!(row(json!({"text": "plain", "events": events})), "T  I  L  plain|    NETWORK_DNS  {\"about\":[]}");
        let issues = json!([{"field": "", "message": "not parsed: why"}]);
        assert_eq!(row(json!({"text": "plain", "issues": issues})), "T  I  L  plain|    not parsed: why");
        assert_eq!(row(json!({"data_base64": STANDARD.encode(b"a\xff\x1bb")})), "T  I  L  a\u{FFFD}\u{FFFD}b");
    }
}
