//! How results are shown: a table for people, JSON for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns, for people
    // What Google's command calls its own.
    #[value(alias = "text")]
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
}

/// A column of a table: its title and where its value lies in each item.
pub type Column = (&'static str, &'static str);

impl Format {
    /// Shows a list of things.
    pub fn list(self, items: &[Value], columns: &[Column], empty: &str) {
        match self {
            Format::Json => say(&pretty(&Value::Array(items.to_vec()))),
            Format::Ndjson => items.iter().for_each(|item| say(&item.to_string())),
            Format::Table if items.is_empty() => say(empty),
            Format::Table => {
                let mut table = table();
                table.set_header(columns.iter().map(|(title, _)| *title));
                for item in items {
                    table.add_row(columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))));
                }
                say(&table.to_string());
            }
        }
    }

    /// Shows one thing.
    pub fn one(self, item: &Value) {
        match self {
            Format::Json => say(&pretty(item)),
            Format::Ndjson => say(&item.to_string()),
            Format::Table => {
                let mut table = table();
                for (name, value) in item.as_object().into_iter().flatten() {
                    table.add_row([name.clone(), cell(Some(value))]);
                }
                say(&table.to_string());
            }
        }
    }

    /// A sentence for people; programs are not told twice.
    pub fn remark(self, text: &str) {
        if self == Format::Table {
            say(text);
        }
    }
}

/// A table in our style.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Prints a line. A reader that went away (`| head`) ends the program quietly instead of with a panic.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        unwritten(&error);
    }
}

/// Ends the program because standard output takes no more: quietly and as done where its reader went away, as `| head`
/// does; with a message and status 1 otherwise, since what was to be kept is not whole.
pub fn unwritten(error: &std::io::Error) -> ! {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("penstock: cannot write to standard output: {error}");
    std::process::exit(1);
}

/// Prints what need not be text, such as what a function answered, and ends its last line.
pub fn say_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let end: &[u8] = if bytes.is_empty() || bytes.ends_with(b"\n") { b"" } else { b"\n" };
    if let Err(error) = out.write_all(bytes).and_then(|()| out.write_all(end)).and_then(|()| out.flush()) {
        unwritten(&error);
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value has a text")
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

/// A text as one line of a terminal: a log may hold control sequences, which must not act on the reader's screen.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\n' => '⏎',
            '\t' => ' ',
            char if char.is_control() => char::REPLACEMENT_CHARACTER,
            char => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_act_on_the_screen() {
        assert_eq!(printable("a\x1b[2Jb\nc\r"), "a\u{FFFD}[2Jb⏎c\u{FFFD}");
    }
}
