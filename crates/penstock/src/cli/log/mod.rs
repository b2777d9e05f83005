//! `penstock log`: sends raw logs and UDM events, lists log types, guesses at one, checks the durable log.
//!
//! Verbs and flags are those of Google's `secops log`, so that hands that know it know this. What goes beyond it: several
//! files, folders, standard input, `--follow`, `--spool`, and records as bytes. Unlike there, a message is one record and
//! a file is cut by rules that are written down ([`read::Split`]), not guessed per log type.
//!
//! A record's way through the files here: `read.rs` (files, by `lines.rs` or `values.rs`), `batch.rs`, `send.rs`; or
//! `follow.rs` with `place.rs`.

mod batch;
mod follow;
mod lines;
mod place;
pub mod read;
pub mod send;
mod values;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use event::{Time, limits};
use http::Method;
use serde_json::{Value, json};

pub use batch::Kind;

use super::manage::items;
use super::output::{Format, say};
use super::target::{Patience, Target, TargetArgs};
use super::{CliError, Remote, local};
use batch::{Logs, Times};
use read::{Input, Split};

/// `penstock log`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Send raw logs: files, folders, standard input, a message
    #[command(after_help = INGEST_HELP)]
    Ingest(Box<IngestArgs>),
    /// Send UDM events: JSON files with one event, an array of them, or one a line
    #[command(after_help = "Examples:
  penstock log ingest-udm --file event.json
  penstock log ingest-udm --file monday.ndjson --file tuesday.ndjson.gz
  jq -c '.[]' events.json | penstock log ingest-udm --file -

An event without metadata.event_timestamp gets the present time, one without metadata.id a random one. A request is \
taken or refused whole: a bad event is named with its file and line, and those that were to go with it are not sent \
either.")]
    IngestUdm(JsonArgs),
    /// List log types
    #[command(after_help = "Examples:
  penstock log types --search windows
  penstock log types --page-size 100")]
    Types(TypesArgs),
    /// Guess the log type of a log
    #[command(after_help = "Examples:
  penstock log classify --log '26-Feb-2019 13:35:02.187 client 10.120.20.32#4238: query: altostrat.com IN A + (203.0.113.102)'
  penstock log classify --log unknown.log

A score is how much speaks for a log type, from 0 to 1, and no probability. Below 0.2 nothing does but its general \
shape.")]
    Classify(ClassifyArgs),
    /// Read every frame of the durable log on this machine and check it; the server must be stopped
    Verify,
}

const INGEST_HELP: &str = "Examples:
  penstock log ingest --type OKTA --file okta.log
  penstock log ingest --type BIND_DNS /var/log/named/ --labels site=zurich,env=prod
  penstock log ingest --type OKTA --message '{\"eventType\": \"user.session.start\"}'
  journalctl -f -o json | penstock log ingest --type LINUX_SYSMON -
  penstock log ingest --type NGINX --follow /var/log/nginx/access.log
  penstock log ingest --type NGINX --spool /var/spool/nginx - < access.log
  penstock log ingest --spool /var/spool/nginx           send what waits there
  penstock log ingest --spool /var/spool/nginx --retry-refused
  penstock log ingest --type OKTA --file okta.log --google --customer-id ID --project-id PROJECT --region eu

What is one log: a line. Its bytes arrive as they are, text or not; its end (LF or CRLF) is not part of it, and empty \
lines are skipped. A file whose name ends in .json (or .json.gz) and that holds one JSON array is sent by its elements. \
--split says otherwise. Files ending in .gz are inflated. Of a folder all regular files are sent, and its folders' with \
them, by name. A --message is one log.

--follow sends what is in the files, then what comes, until SIGINT or SIGTERM, across rotation by rename and by copy and \
truncate. The place that was reached is kept, and after any stop, kill -9 included, it goes on there: nothing is lost, \
and a batch that had been sent already is known to Penstock for a day (log.dedup_window) and stored once. While the \
receiver is away, the place stays.";

/// `penstock log ingest`
#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    /// Log type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "spool")]
    log_type: Option<String>,
    /// Files or folders to send, or - for standard input
    #[arg(value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// The same as a flag, as Google's command has it; may be given several times
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A log to send
    #[arg(long, conflicts_with_all = ["files", "paths"])]
    message: Option<OsString>,
    /// Forwarder that the logs are said to come through
    #[arg(long, alias = "forwarder_id", value_name = "ID")]
    forwarder_id: Option<String>,
    /// Labels of the logs: a JSON object, or key=value pairs with commas between
    #[arg(long, value_name = "LABELS", value_parser = labels)]
    labels: Option<Labels>,
    /// Namespace of the addresses in the logs
    #[arg(long)]
    namespace: Option<String>,
    /// If the log type is not known, make it one of the instance's own
    #[arg(long)]
    force: bool,
    /// How files are cut into logs
    #[arg(long, value_enum, default_value = "auto")]
    split: Split,
    /// Each file is one log; the same as --split none
    #[arg(long, alias = "whole_file", conflicts_with = "split")]
    whole_file: bool,
    /// When the logs happened (RFC 3339) [default: --collection-timestamp, else now]; sent again with the same time, the same logs are stored once
    #[arg(long, alias = "entry_timestamp", value_name = "TIME")]
    entry_timestamp: Option<Time>,
    /// When the logs were collected (RFC 3339) [default: now]
    #[arg(long, alias = "collection_timestamp", value_name = "TIME")]
    collection_timestamp: Option<Time>,
    /// Keep the logs in this folder until the receiver has them
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    spool: Option<PathBuf>,
    /// With --spool: try once more what the receiver refused and is kept in DIR/refused
    #[arg(long, alias = "retry_refused", requires = "spool")]
    retry_refused: bool,
    /// Go on with what the files get, until a signal
    #[arg(
        long,
        conflicts_with_all = ["message", "whole_file", "split", "entry_timestamp", "collection_timestamp"]
    )]
    follow: bool,
    /// With --follow of one file: where its place is kept [default: a file below $XDG_STATE_HOME/penstock/follow]
    #[arg(long, value_name = "FILE", requires = "follow")]
    state: Option<PathBuf>,
    /// With --follow: begin at the end of a file whose place is not known yet
    #[arg(long, alias = "from_end", requires = "follow")]
    from_end: bool,
    /// With --follow: leave a rotated file when nothing was written to it for so many seconds
    #[arg(long, alias = "rotate_wait", value_name = "SECONDS", default_value_t = 5, requires = "follow")]
    rotate_wait: u64,
    #[command(flatten)]
    target: TargetArgs,
}

/// `penstock log ingest-udm`
#[derive(Debug, Clone, Args)]
pub struct JsonArgs {
    /// JSON file, or - for standard input; may be given several times
    #[arg(long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `penstock log types`
#[derive(Debug, Clone, Args)]
pub struct TypesArgs {
    /// Only those with this text in name or description
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only one page, of this many
    #[arg(long, alias = "page_size", value_name = "N")]
    page_size: Option<u32>,
    /// The page that this token of the page before leads to
    #[arg(long, alias = "page_token", value_name = "TOKEN")]
    page_token: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// `penstock log classify`
#[derive(Debug, Clone, Args)]
pub struct ClassifyArgs {
    /// The log, or a file that holds it (- for standard input); of a file's lines each is a log of one source
    #[arg(long, value_name = "LOG|FILE")]
    log: OsString,
    #[command(flatten)]
    target: TargetArgs,
}

/// Keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Labels(Vec<(String, String)>);

pub async fn run(remote: &Remote, command: LogCommand) -> Result<(), CliError> {
    match command {
        LogCommand::Ingest(args) => ingest(remote, *args).await,
        LogCommand::IngestUdm(args) => ingest_json(remote, &args, &Kind::Udm).await,
        LogCommand::Types(args) => types(remote, &args).await,
        LogCommand::Classify(args) => classify(remote, &args).await,
        LogCommand::Verify => local::verify(remote),
    }
}

async fn ingest(remote: &Remote, args: IngestArgs) -> Result<(), CliError> {
    let paths: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    let logs = args.log_type.as_ref().map(|log_type| Logs {
        log_type: log_type.clone(),
        forwarder: args.forwarder_id.clone(),
        namespace: args.namespace.clone().unwrap_or_default(),
        labels: args.labels.clone().map(|labels| labels.0).unwrap_or_default(),
        // Without its own an entry has the collection's time, as everywhere in this API.
        times: args
            .entry_timestamp
            .or(args.collection_timestamp)
            .map(|entry| Times { entry, collection: args.collection_timestamp }),
    });
    if let (Some(entry), Some(collection)) = (args.entry_timestamp, args.collection_timestamp)
        && collection < entry
    {
        return Err(CliError::Usage(format!(
            "--collection-timestamp {collection} is before --entry-timestamp {entry}: a log is not collected before it happens"
        )));
    }
    if args.follow {
        let logs = logs.expect("clap asks for a type without a spool");
        if paths.is_empty() {
            return Err(CliError::Usage("--follow follows files: name one".to_owned()));
        }
        if paths.iter().any(|path| path.as_os_str() == "-") {
            return Err(CliError::Usage("standard input is read to its end without --follow, too".to_owned()));
        }
        if let Some(path) = paths.iter().find(|path| read::is_gzip(path)) {
            return Err(CliError::Usage(format!(
                "{} cannot be followed: what is appended to a compressed file are no lines; send it once, without --follow",
                path.display()
            )));
        }
        if args.state.is_some() && paths.len() > 1 {
            return Err(CliError::Usage("--state is the place in one file; leave it out for several".to_owned()));
        }
        let options = follow::Options {
            state: args.state.clone(),
            from_end: args.from_end,
            rotate_wait: Duration::from_secs(args.rotate_wait),
        };
        // The follower itself waits for a server that is away, and tells what is wrong with the credential.
        if logs.forwarder.is_some()
            && let Ok(target) = Target::connect(remote, &args.target).await
        {
            send::check_forwarder(&target, &logs).await;
        }
        return follow::run(remote, &args.target, logs, args.force, &paths, &options).await;
    }

    let mut inputs = read::expand(&paths).map_err(CliError::Refused)?;
    inputs.extend(args.message.clone().map(read::message));
    let split = if args.whole_file { Split::None } else { args.split };
    let has_input = !paths.is_empty() || args.message.is_some();
    match (&args.spool, logs) {
        (Some(dir), None) if has_input => {
            Err(CliError::Usage(format!("--type is missing; without anything to read, {} is sent", dir.display())))
        }
        (Some(dir), logs) => {
            let kind = logs.map(Kind::Logs).filter(|_| has_input);
            if kind.is_none() && matches!(dir.join(SPOOL_FILE).try_exists(), Ok(false)) {
                return Err(CliError::Refused(format!("there is no spool in {}", dir.display())));
            }
            let target = connect_for_spool(remote, &args.target, dir, kind.is_some()).await?;
            if let Some(Kind::Logs(logs)) = &kind {
                send::check_log_type_of_spool(&target, &logs.log_type, args.force).await?;
                send::check_forwarder(&target, logs).await;
            }
            send::through_spool(&target, kind.as_ref(), inputs, split, dir, args.retry_refused).await
        }
        (None, Some(logs)) if has_input => {
            let target = Target::connect(remote, &args.target).await?;
            send::check_log_type(&target, &logs.log_type, args.force).await?;
            send::check_forwarder(&target, &logs).await;
            send::run(&target, &Kind::Logs(logs), inputs, split).await
        }
        (None, _) => Err(CliError::Usage(
            "there is nothing to send: name files or folders, - for standard input, or give --message".to_owned(),
        )),
    }
}

/// The file by which a folder is a spool, and which says whose.
const SPOOL_FILE: &str = "spool.json";

/// The receiver of a spool. Whose the spool is need not be asked of a server that may be away: the spool knows.
async fn connect_for_spool(
    remote: &Remote,
    args: &TargetArgs,
    dir: &Path,
    has_input: bool,
) -> Result<Target, CliError> {
    let text = std::fs::read_to_string(dir.join(SPOOL_FILE)).unwrap_or_default();
    let owner = serde_json::from_str::<Value>(&text).unwrap_or_default();
    let owner = owner["instance"].as_str().unwrap_or_default();
    match Target::connect_as(remote, args, owner).await {
        Err(CliError::Unreachable(why)) => {
            let kept = if has_input { "Nothing was kept" } else { "Nothing was sent" };
            Err(CliError::Unreachable(format!(
                "{why}\n{kept}: while no server answers, --spool needs a key file (--service-account), or --customer-id \
                 together with --token or --data DIR."
            )))
        }
        connected => connected,
    }
}

/// Sends JSON files of events or entities.
pub async fn ingest_json(remote: &Remote, args: &JsonArgs, kind: &Kind) -> Result<(), CliError> {
    let inputs = read::expand(&args.files).map_err(CliError::Refused)?;
    let target = Target::connect(remote, &args.target).await?;
    if let Kind::Entities(log_type) = kind {
        send::known_log_type(&target, log_type).await?;
    }
    send::run(&target, kind, inputs, Split::Json).await
}

const TYPE_COLUMNS: &[(&str, &str)] = &[("LOG TYPE", "/name"), ("DESCRIPTION", "/description")];

async fn types(remote: &Remote, args: &TypesArgs) -> Result<(), CliError> {
    let target = Target::connect(remote, &args.target).await?;
    let chronicle = target.chronicle(Patience::None)?;
    let is_one_page = args.page_size.is_some() || args.page_token.is_some();
    if is_one_page && args.search.is_none() {
        let size = args.page_size.map(|size| size.to_string());
        let query: Vec<(&str, &str)> = size
            .iter()
            .map(|size| ("pageSize", size.as_str()))
            .chain(args.page_token.iter().map(|token| ("pageToken", token.as_str())))
            .collect();
        let page = chronicle.request(Method::GET, "logTypes", &query, None).await;
        let page = page.map_err(|error| target.failed(&error))?;
        if target.format == Format::Json {
            target.format.one(&page);
            return Ok(());
        }
        let of_name = |name: &Value| name.as_str().and_then(|name| name.rsplit('/').next()).map(str::to_owned);
        let listed: Vec<Value> = items(&page["logTypes"])
            .iter()
            .map(|item| json!({ "name": of_name(&item["name"]), "description": item["displayName"] }))
            .collect();
        target.format.list(&listed, TYPE_COLUMNS, "There is no log type on this page.");
        if let Some(token) = page["nextPageToken"].as_str() {
            target.format.remark(&format!("There are more: --page-token {token}"));
        }
        return Ok(());
    }
    let all = chronicle.list_log_types().await.map_err(|error| target.failed(&error))?;
    let wanted = args.search.as_deref().unwrap_or_default().to_lowercase();
    let found: Vec<Value> = all
        .iter()
        .filter(|found| [&found.name, &found.description].iter().any(|text| text.to_lowercase().contains(&wanted)))
        .map(|found| json!({ "name": found.name, "description": found.description }))
        .collect();
    target.format.list(&found, TYPE_COLUMNS, "There is no such log type.");
    Ok(())
}

const CLASSIFY_COLUMNS: &[(&str, &str)] = &[("LOG TYPE", "/logType"), ("SCORE", "/score")];

/// Below this a score speaks of a log's general shape only.
const SCORE_MIN: f64 = 0.2;

async fn classify(remote: &Remote, args: &ClassifyArgs) -> Result<(), CliError> {
    let logs = logs_of(&args.log)?;
    let target = Target::connect(remote, &args.target).await?;
    let chronicle = target.chronicle(Patience::None)?;
    let found = chronicle.classify_logs(&logs).await.map_err(|error| target.failed(&error))?;
    let shown: Vec<Value> = found
        .iter()
        // The third digit would claim a precision that no such score has.
        .map(|found| json!({ "logType": found.log_type, "score": (found.score * 100.0).round() / 100.0 }))
        .collect();
    let best = found.first().map_or(0.0, |best| best.score);
    match target.format {
        Format::Table if shown.is_empty() => say("Nothing fits: no known log type looks like this."),
        Format::Table => {
            if best < SCORE_MIN {
                say("Nothing fits: what follows shares the general shape at most.");
            }
            target.format.list(&shown, CLASSIFY_COLUMNS, "");
        }
        format => format.list(&shown, CLASSIFY_COLUMNS, ""),
    }
    Ok(())
}

/// The logs that an argument stands for: those of a file if it names one, else itself.
fn logs_of(argument: &OsString) -> Result<Vec<Vec<u8>>, CliError> {
    let path = PathBuf::from(argument);
    let text = if path.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text)
            .map_err(|error| CliError::Refused(format!("cannot read standard input: {error}")))?;
        text
    } else if path.is_file() {
        std::fs::read(&path).map_err(|error| CliError::Refused(format!("cannot read {}: {error}", path.display())))?
    } else {
        return Ok(vec![argument.as_encoded_bytes().to_vec()]);
    };
    let logs = logs_in(text);
    if logs.is_empty() {
        return Err(CliError::Refused(format!("{} holds no log", Input::File(path).name())));
    }
    Ok(logs)
}

/// The logs in a file: its lines, unless it is one JSON or XML text over several of them.
fn logs_in(text: Vec<u8>) -> Vec<Vec<u8>> {
    let is_one = text.trim_ascii_start().starts_with(b"<") && text.trim_ascii_end().ends_with(b">")
        || serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
    let mut lines = lines::Lines::new(usize::MAX - 2);
    let mut found = Vec::new();
    let mut each = |line: Result<lines::Line, _>| found.extend(line.ok().map(|line| line.data));
    lines.push(&text, &mut each);
    lines.end(&mut each);
    if is_one && found.len() > 1 && !found.iter().all(|line| is_whole(line)) {
        return vec![text];
    }
    found.truncate(limits::CLASSIFY_LOGS_MAX);
    found
}

/// Whether a line is an XML element or a JSON value by itself.
fn is_whole(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    if line.starts_with(b"<") {
        line.ends_with(b"/>") || (line.ends_with(b">") && memchr::memmem::find(line, b"</").is_some())
    } else {
        serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    }
}

fn labels(text: &str) -> Result<Labels, String> {
    let text = text.trim();
    if text.starts_with('{') {
        let parsed: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))?;
        let label = |(key, value): (String, Value)| match value {
            Value::String(value) => Ok((key, value)),
            value => Err(format!("the value of {key:?} is {value}, not a text")),
        };
        return parsed.into_iter().map(label).collect::<Result<_, _>>().map(Labels);
    }
    let label = |pair: &str| {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not key=value"))?;
        match key.trim() {
            "" => Err(format!("{pair:?} has no key")),
            key => Ok((key.to_owned(), value.trim().to_owned())),
        }
    };
    text.split(',').map(label).collect::<Result<_, _>>().map(Labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_an_object_or_pairs() {
        let pairs = |pairs: &[(&str, &str)]| {
            Ok(Labels(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
        };
        let cases = [
            (r#"{"site": "Zürich", "b": "x=y,z"}"#, pairs(&[("site", "Zürich"), ("b", "x=y,z")])),
            ("site=zurich, env = prod", pairs(&[("site", "zurich"), ("env", "prod")])),
            ("a=", pairs(&[("a", "")])),
            ("a=b=c", pairs(&[("a", "b=c")])),
            ("site", Err("\"site\" is not key=value".to_owned())),
            ("a=1,,b=2", Err("\"\" is not key=value".to_owned())),
            ("=x", Err("\"=x\" has no key".to_owned())),
            (r#"{"a": 1}"#, Err("the value of \"a\" is 1, not a text".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(labels(text), expected, "{text}");
        }
        assert!(labels(r#"{"a": "b""#).is_err());
    }

    #[test]
    fn the_logs_of_a_file_are_its_lines_unless_it_is_one_text() {
        let cases = [
            ("a\r\n\nb\n", vec!["a", "b"]),
            ("{\"a\":\n1}\n", vec!["{\"a\":\n1}\n"]),
            ("{\"a\":1}\n{\"a\":2}\n", vec!["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":1}\n", vec!["{\"a\":1}"]),
            ("<Event>\n<System/>\n</Event>", vec!["<Event>\n<System/>\n</Event>"]),
            ("<Event><A/></Event>\n<Event><B/></Event>", vec!["<Event><A/></Event>", "<Event><B/></Event>"]),
            (
                "<13>Nov 21 22:00:00 host a\n<13>Nov 21 22:00:01 host b",
                vec!["<13>Nov 21 22:00:00 host a", "<13>Nov 21 22:00:01 host b"],
            ),
            ("", vec![]),
        ];
        for (text, expected) in cases {
            let expected: Vec<Vec<u8>> = expected.into_iter().map(|log| log.as_bytes().to_vec()).collect();
            assert_eq!(logs_in(text.as_bytes().to_vec()), expected, "{text}");
        }
    }
}
