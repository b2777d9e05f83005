//! `penstock receipt`: where a record or batch is, told in sentences.

use http::Method;
use serde_json::Value;

use super::manage::{items, segment};
use super::output::{Format, printable, say};
use super::{CliError, Client};

/// Most records of a batch told one by one.
const RECORDS_TOLD_MAX: usize = 20;

pub async fn run(client: &Client, id: &str) -> Result<(), CliError> {
    // As the commands that send name it.
    let id = id.strip_prefix("operations/").unwrap_or(id);
    let receipt = client.call(Method::GET, &format!("/api/receipts/{}", segment(id)), None).await?;
    if client.format != Format::Table {
        client.format.one(&receipt);
        return Ok(());
    }
    let text = |pointer: &str| receipt.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let records = receipt["records_total"].as_u64().unwrap_or(0);
    say(&format!(
        "batch {}: {records} {} record{} of {} from {}, received {}",
        text("/batch"),
        text("/kind"),
        if records == 1 { "" } else { "s" },
        text("/log_type"),
        text("/sender"),
        text("/received_at"),
    ));
    let gone = receipt.pointer("/committed/in_log").and_then(Value::as_bool) == Some(false);
    let gone = if gone { " (its part of the log has been removed since)" } else { "" };
    let position = match text("/committed/position") {
        position if position.is_empty() => String::new(),
        position => format!(" at {position}"),
    };
    say(&format!("  committed{position}{gone}"));
    match receipt["repeats"].as_u64().unwrap_or(0) {
        0 => {}
        times => {
            say(&format!("  sent again {times} time{}; a repeat is stored once", if times == 1 { "" } else { "s" }))
        }
    }
    let all = items(&receipt["records"]);
    for record in all.iter().take(RECORDS_TOLD_MAX) {
        let mut line = format!("  {}: {}", record["id"].as_str().unwrap_or_default(), state(&record["store"]));
        line.push_str(&parsed(&record["parsed"]));
        for connector in items(&record["connectors"]) {
            let name = connector["name"].as_str().unwrap_or_default();
            line.push_str(&format!("; {name}: {}", state(connector)));
        }
        say(&line);
    }
    let more = usize::try_from(records).unwrap_or(usize::MAX).saturating_sub(all.len().min(RECORDS_TOLD_MAX));
    if more > 0 && all.len() != 1 {
        say(&format!("  … and {more} more (-o json shows up to 1000)"));
    }
    Ok(())
}

/// What a parser made of a raw record.
fn parsed(value: &Value) -> String {
    let Some(parser) = value["parser"].as_str() else { return String::new() };
    match (value["failure"].as_str(), value["events"].as_u64().unwrap_or(0)) {
        (Some(failure), _) => format!(", {}", printable(failure)),
        (None, 0) => format!(", read by {parser}, which made nothing of it"),
        (None, 1) => format!(", 1 event by {parser}"),
        (None, events) => format!(", {events} events by {parser}"),
    }
}

fn state(value: &Value) -> String {
    let state = match value["state"].as_str().unwrap_or_default() {
        "off" => "the store is off",
        "waiting" => "waiting",
        other => other,
    };
    match value["reason"].as_str() {
        Some(reason) => format!("{state} because {reason}"),
        None => state.to_owned(),
    }
}
