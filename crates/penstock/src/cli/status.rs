//! `penstock status`: one page on how the server fares.

use http::Method;
use indicatif::HumanBytes;
use serde_json::Value;

use super::manage::items;
use super::output::{Format, printable, say, table};
use super::{CliError, Client};

pub async fn run(client: &Client) -> Result<(), CliError> {
    let status = client.call(Method::GET, "/api/status", None).await?;
    if client.format != Format::Table {
        client.format.one(&status);
        return Ok(());
    }
    let text = |pointer: &str| show(status.pointer(pointer));
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    say(&format!(
        "penstock {} at {}, up {} s, sync {}",
        text("/version"),
        text("/url"),
        number("/uptime_ms") / 1000,
        text("/sync")
    ));
    if status.get("log").is_some() {
        say(&format!(
            "log: {}, {} in {} segments, {} keys for repeats",
            text("/log/state"),
            HumanBytes(number("/log/bytes_on_disk")),
            number("/log/segments"),
            number("/log/dedup_keys")
        ));
    }
    let store = &status["followers"]["store"];
    match store["state"].as_str() {
        Some("off") => say("store: off"),
        state => say(&format!(
            "store: {}, {} behind ({} ms), {} not yet in a part",
            state.unwrap_or_default(),
            bytes(store.get("lag_bytes")),
            show(store.get("lag_ms")),
            bytes(store.get("unflushed_bytes"))
        )),
    }
    for gap in items(&store["gaps"]) {
        say(&format!("  MISSING {} to {}: {}", show(gap.get("from")), show(gap.get("to")), show(gap.get("reason"))));
    }
    for part in items(&store["missing_parts"]) {
        say(&format!(
            "  MISSING {} with {} rows: put the file back and restart",
            show(part.get("path")),
            show(part.get("rows"))
        ));
    }
    say("");
    let mut instances = table();
    instances.set_header([
        "INSTANCE",
        "NAME",
        "RECORDS/S",
        "RECEIVED",
        "COMMITTED",
        "REPEATED",
        "FILTERED",
        "REFUSED",
        "STORED",
        "SET ASIDE",
        "CONSERVATION",
    ]);
    for instance in items(&status["instances"]) {
        let cell = |name: &str| show(instance.get(name));
        let holds = match instance.pointer("/conservation/holds").and_then(Value::as_bool) {
            Some(true) => match instance.pointer("/conservation/waiting").and_then(Value::as_u64) {
                None | Some(0) => "holds".to_owned(),
                Some(waiting) => format!("holds, {waiting} waiting"),
            },
            _ => "DOES NOT HOLD".to_owned(),
        };
        instances.add_row([
            cell("id"),
            cell("name"),
            cell("records_per_second"),
            cell("received"),
            cell("committed"),
            cell("repeated"),
            cell("filtered"),
            cell("refused"),
            cell("stored_total"),
            cell("set_aside_total"),
            holds,
        ]);
    }
    say(&instances.to_string());
    let connectors = items(&status["followers"]["connectors"]);
    if !connectors.is_empty() {
        let mut shown = table();
        shown.set_header(["CONNECTOR", "STATE", "READ", "WRITTEN", "ERRORS", "DEAD LETTERS", "LAG", "LAST ERROR"]);
        for connector in connectors {
            let cell = |name: &str| show(connector.get(name));
            shown.add_row([
                cell("name"),
                cell("state"),
                cell("read"),
                cell("written"),
                cell("errors"),
                cell("dead_letters"),
                bytes(connector.get("lag_bytes")),
                show(connector.pointer("/last_error/message")),
            ]);
        }
        say(&format!("\n{shown}"));
    }
    for instance in items(&status["instances"]) {
        let failed = instance["parsing_failed"].as_object().into_iter().flatten();
        let failed: Vec<String> = failed.map(|(log_type, logs)| format!("{logs} of {log_type}")).collect();
        if !failed.is_empty() {
            say(&format!(
                "\nLogs of {} that gave no events: {} (penstock parser failures says why)",
                show(instance.get("name")),
                printable(&failed.join(", "))
            ));
        }
    }
    let troubles = items(&status["troubles"]);
    if !troubles.is_empty() {
        say("\nSenders whose last request was refused:");
        for trouble in troubles {
            say(&format!(
                "  {} ({}x since {}): {} {}",
                show(trouble.get("sender")),
                show(trouble.get("times")),
                show(trouble.get("since")),
                show(trouble.get("status")),
                show(trouble.get("message"))
            ));
        }
    }
    Ok(())
}

/// A number of bytes, where one is known: what a credential may not see is not zero.
fn bytes(value: Option<&Value>) -> String {
    value.and_then(Value::as_u64).map_or_else(|| "–".to_owned(), |bytes| HumanBytes(bytes).to_string())
}

/// A value in a cell.
pub fn show(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}
