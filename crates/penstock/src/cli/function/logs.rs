//! `penstock function logs`: what a function said, found by OCI's log search.
//!
//! Following is searching again for what came since, with some seconds' overlap: lines become searchable a moment after they were
//! written, and not always in their order. What was shown is known by its id and not shown again.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use event::Time;
use http::Method;
use serde_json::{Value, json};

use super::{Which, find};
use crate::cli::manage::{items, segment};
use crate::cli::oci::tenancy::{Tenancy, text};
use crate::cli::output::{Format, printable, say};
use crate::cli::{CliError, Client};
use crate::config::parse_duration;
use crate::control::oci::stamp;
use crate::serve::{self, StopSignals};

/// `penstock function logs`
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// From when on: a time (RFC 3339), or so long ago, such as 10m, 2h or 1d
    #[arg(long, default_value = "1h", value_name = "TIME|AGO")]
    since: String,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
}

/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far back a follower looks again.
const OVERLAP_NANOS: i64 = 15_000_000_000;

/// Rows of one page of a search.
const PAGE_ROWS: usize = 1_000;

/// `penstock function logs`
pub async fn run(client: &Client, args: LogsArgs) -> Result<(), CliError> {
    let from = since(&args.since, serve::now())?;
    let tenancy = Tenancy::open(client, &args.which.instance).await?;
    let function = find(&tenancy, &args.which).await?;
    let query = query(&function);
    let mut shown = Shown::default();
    if args.follow {
        // Caught once, before the first look: a signal that came between two futures that wait for it would be lost.
        let mut signals = StopSignals::catch()
            .map_err(|error| CliError::Refused(format!("cannot catch the signals that would end it: {error}")))?;
        return tokio::select! {
            ended = follow(&tenancy, &query, from, &mut shown) => ended,
            () = signals.stop() => Ok(()),
        };
    }
    let rows = search(&tenancy, &query, from, serve::now()).await?;
    let records: Vec<Value> =
        rows.iter().filter(|row| shown.is_new(row)).map(|row| row["logContent"].clone()).collect();
    match client.format {
        Format::Table if records.is_empty() => {
            say("It said nothing since then; `penstock function calls` tells whether it was called.");
        }
        Format::Table => records.iter().for_each(|record| say(&line(record))),
        format => format.list(&records, &[], ""),
    }
    Ok(())
}

/// Shows what comes, without end.
async fn follow(tenancy: &Tenancy<'_>, query: &str, mut from: Time, shown: &mut Shown) -> Result<(), CliError> {
    loop {
        for row in search(tenancy, query, from, serve::now()).await? {
            if !shown.is_new(&row) {
                continue;
            }
            match tenancy.client().format {
                // What has no end is no array.
                Format::Json | Format::Ndjson => say(&row["logContent"].to_string()),
                Format::Table => say(&line(&row["logContent"])),
            }
        }
        from = from.max(shown.horizon());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The search for what a function said: its lines carry its OCID.
fn query(function: &Value) -> String {
    let (compartment, id) = (text(function, "compartmentId"), text(function, "id"));
    format!(
        "search \"{compartment}\" | type = 'com.oraclecloud.functions.application.functioninvoke' \
         and data.functionId = '{id}'"
    )
}

/// All rows of a search in the order in which they were said. They come the newest first, and of the same moment the last; a search that
/// sorts the other way would keep that moment as it came.
async fn search(tenancy: &Tenancy<'_>, query: &str, from: Time, to: Time) -> Result<Vec<Value>, CliError> {
    let body = json!({
        // A little beyond now: a clock of the server's that is ahead must not hide the newest.
        "timeStart": stamp(from), "timeEnd": stamp(to.saturating_add_nanos(60_000_000_000)), "searchQuery": query,
        "isReturnFieldInfo": false,
    });
    let mut rows = Vec::new();
    let mut page = String::new();
    loop {
        let path = format!("/20190909/search?limit={PAGE_ROWS}{page}");
        let response = tenancy.client().yes(tenancy.request(Method::POST, &path).json(&body)).await?;
        let next = response.headers().get("opc-next-page").and_then(|value| value.to_str().ok()).map(segment);
        let answer: Value = response
            .json()
            .await
            .map_err(|error| CliError::Refused(format!("the search answered something that is no JSON: {error}")))?;
        rows.extend(items(&answer["results"]).iter().map(|result| result["data"].clone()));
        match next.filter(|next| !next.is_empty()) {
            Some(next) => page = format!("&page={next}"),
            None => {
                rows.reverse();
                return Ok(rows);
            }
        }
    }
}

/// What was shown already, as far back as it may come again.
#[derive(Default)]
struct Shown {
    /// By id: when it was said.
    ids: HashMap<String, Time>,
    latest: Option<Time>,
}

impl Shown {
    fn is_new(&mut self, row: &Value) -> bool {
        let at = row["datetime"].as_i64().and_then(|millis| Time::from_millis(millis).ok()).unwrap_or(Time::MIN);
        let id = text(&row["logContent"], "id").to_owned();
        let is_new = self.ids.insert(id, at).is_none();
        self.latest = self.latest.max(Some(at));
        is_new
    }

    /// From where to look again. What lies before it is forgotten.
    fn horizon(&mut self) -> Time {
        let horizon = self.latest.map_or(Time::MIN, |latest| latest.saturating_add_nanos(-OVERLAP_NANOS));
        self.ids.retain(|_, at| *at >= horizon);
        horizon
    }
}

fn line(record: &Value) -> String {
    let message = match &record["data"]["message"] {
        Value::String(message) => printable(message),
        other => other.to_string(),
    };
    let from = match text(&record["data"], "src") {
        "" => "-",
        stream => stream,
    };
    format!("{}  {from:6}  {message}", text(record, "time"))
}

/// A time, or so long before now.
fn since(text: &str, now: Time) -> Result<Time, CliError> {
    if let Ok(ago) = parse_duration(text) {
        let nanos = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(now.saturating_add_nanos(-nanos));
    }
    text.parse().map_err(|error| {
        CliError::Usage(format!("--since is {text:?}: a time ({error}), or so long ago, such as 10m, 2h or 1d"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        let now: Time = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("10m", "2026-11-21T11:50:00Z"),
            ("1d", "2026-11-20T12:00:00Z"),
            ("2026-11-21T10:00:00+01:00", "2026-11-21T09:00:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap().to_string(), expected, "{text}");
        }
        let error = since("yesterday", now).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains("10m"), "{error}");
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let row = |id: &str, secs: i64| json!({"datetime": secs * 1000, "logContent": {"id": id}});
        let mut shown = Shown::default();
        assert!(shown.is_new(&row("a", 100)) && shown.is_new(&row("b", 105)));
        assert!(!shown.is_new(&row("a", 100)));
        assert_eq!(shown.horizon(), Time::from_secs(90).unwrap());
        // One that became searchable late, within the overlap.
        assert!(shown.is_new(&row("late", 91)) && !shown.is_new(&row("b", 105)));
        assert!(shown.is_new(&row("c", 130)));
        assert_eq!(shown.horizon(), Time::from_secs(115).unwrap());
        assert_eq!(shown.ids.len(), 1);
    }

    #[test]
    fn a_functions_lines_are_found_by_its_ocid() {
        let function = json!({"compartmentId": "ocid1.compartment.oc1..c", "id": "ocid1.fnfunc.oc1.r.f"});
        assert_eq!(
            query(&function),
            "search \"ocid1.compartment.oc1..c\" | type = \
             'com.oraclecloud.functions.application.functioninvoke' and data.functionId = 'ocid1.fnfunc.oc1.r.f'"
        );
    }

    #[test]
    fn a_line_is_one_line() {
        let record = json!({
            "time": "2026-11-21T12:00:00.000Z",
            "data": {"src": "STDERR", "message": "01C - root - ERROR - two\nlines\u{1b}[0m"},
        });
        assert_eq!(line(&record), "2026-11-21T12:00:00.000Z  STDERR  01C - root - ERROR - two⏎lines\u{FFFD}[0m");
        assert_eq!(line(&json!({"time": "T", "data": {"message": 5}})), "T  -       5");
    }
}
