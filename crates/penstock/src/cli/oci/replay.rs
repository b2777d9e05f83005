//! `penstock oci replay`, and the way of all records that commands send: whole envelopes to
//! `/20200831/logs/{log}/actions/replay`, in pieces of a bounded size, in their order.
//!
//! A piece that is refused for what is in it is halved until the record that is at fault is alone, so that it is named whatever
//! the server says of it. Each piece has a retry token, by which the server knows it again: what is sent once more, since the
//! server was busy or its answer was lost, is stored once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use event::Time;
use http::{Method, StatusCode};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::tenancy::{InstanceArg, Tenancy, is_ocid, only, text};
use crate::cli::log::read::{self, Input, Piece, Record, Split};
use crate::cli::manage::segment;
use crate::cli::output::{Format, say};
use crate::cli::{CliError, Client};
use crate::control::oci::stamp;
use crate::serve;

/// `penstock oci replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// File with records in OCI's envelope, or - for standard input
    file: PathBuf,
    /// The log that they go to, by OCID or name; _Audit for audit events
    #[arg(long)]
    log: String,
    /// With _Audit: whose audit events they are, by OCID or name [default: the root]. Else where the log is looked for
    #[arg(long)]
    compartment: Option<String>,
    /// Most records a second
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Move all times by as much as makes the latest record happen now
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    instance: InstanceArg,
}

/// Where records go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// As people call it.
    pub name: String,
    path: String,
}

impl Destination {
    /// The audit events of a compartment.
    pub fn audit(compartment: &str) -> Destination {
        let path = format!("/20200831/logs/_Audit/actions/replay?compartmentId={}", segment(compartment));
        Destination { name: "_Audit".to_owned(), path }
    }

    /// A log, by its OCID.
    pub fn log(ocid: &str, name: &str) -> Destination {
        Destination { name: name.to_owned(), path: format!("/20200831/logs/{}/actions/replay", segment(ocid)) }
    }
}

/// Most records of one request.
const PIECE_RECORDS_MAX: usize = 1_000;
/// Most bytes of the records of one request; a single record may have more.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// Largest record: more than this the server takes of none.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// How long a server that says that it is busy is asked again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server that was there is waited for when it is gone.
const PATIENCE_GONE: Duration = Duration::from_secs(20);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Most batch ids that the summary lists.
const BATCHES_TOLD_MAX: usize = 100;

/// What was sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The ids of the batches that they became, by which `penstock receipt` finds them.
    pub batches: Vec<String>,
}

/// Why a piece was not sent, or not all of it.
pub enum Stopped {
    /// The server refuses this record, counted from the piece's beginning. Those before it were sent.
    Record(usize, CliError),
    /// Nothing more can be sent.
    Error(CliError),
}

/// Sends records, all of them or up to the first that is refused.
pub async fn send(tenancy: &Tenancy<'_>, to: &Destination, records: &[&[u8]], sent: &mut Sent) -> Result<(), Stopped> {
    // The parts that are still to be sent, the next one last.
    let mut parts: Vec<_> = std::iter::once(0..records.len()).collect();
    while let Some(part) = parts.pop() {
        match post(tenancy, to, &records[part.clone()]).await {
            Ok(batch) => {
                sent.records += part.len() as u64;
                sent.bytes += records[part].iter().map(|record| record.len() as u64).sum::<u64>();
                sent.batches.extend(batch);
            }
            Err(Refused::Content(error)) if part.len() == 1 => return Err(Stopped::Record(part.start, error)),
            Err(Refused::Content(_)) => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            Err(Refused::All(error)) => return Err(Stopped::Error(error)),
        }
    }
    Ok(())
}

enum Refused {
    /// For what is in it.
    Content(CliError),
    /// For what no other piece would mend.
    All(CliError),
}

async fn post(tenancy: &Tenancy<'_>, to: &Destination, records: &[&[u8]]) -> Result<Option<String>, Refused> {
    let client = tenancy.client();
    let mut body = b"[".to_vec();
    body.extend(records.join(&b","[..]));
    body.push(b']');
    let body = bytes::Bytes::from(body);
    let token = uuid::Uuid::new_v4().to_string();
    let began = Instant::now();
    loop {
        let request = tenancy
            .request(Method::POST, &to.path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header("opc-retry-token", &token)
            .timeout(TIMEOUT)
            .body(body.clone());
        let response = match client.answer(request).await {
            Ok(response) => response,
            Err(_) if began.elapsed() < PATIENCE_GONE => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(Refused::All(error)),
        };
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if status.is_success() {
            return Ok(header(receive::handle::BATCH_HEADER).map(str::to_owned));
        }
        let wait = header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(1).clamp(1, 30);
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_busy && began.elapsed() + Duration::from_secs(wait) < PATIENCE {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            continue;
        }
        let text = response.text().await.unwrap_or_default();
        let error = client.refused(status, &text);
        return Err(match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Refused::Content(error),
            _ if is_busy => Refused::All(CliError::Unreachable(error.to_string())),
            _ => Refused::All(error),
        });
    }
}

/// Sends no more than so many records a second, on the whole.
pub struct Pace {
    rate: Option<u32>,
    began: tokio::time::Instant,
}

impl Pace {
    /// Begins now; without a rate nothing waits.
    pub fn new(rate: Option<u32>) -> Pace {
        Pace { rate, began: tokio::time::Instant::now() }
    }

    /// Most records to send together, so that they come as a stream and not in heaps.
    pub fn together(&self) -> usize {
        self.rate.map_or(PIECE_RECORDS_MAX, |rate| (rate as usize / 4).clamp(1, PIECE_RECORDS_MAX))
    }

    /// Waits until it is time for the record behind so many.
    pub async fn wait(&self, records: u64) {
        if let Some(rate) = self.rate {
            tokio::time::sleep_until(self.began + Duration::from_secs_f64(records as f64 / f64::from(rate))).await;
        }
    }
}

/// `penstock oci replay`
pub async fn run(client: &Client, args: ReplayArgs) -> Result<(), CliError> {
    let inputs = read::expand(std::slice::from_ref(&args.file)).map_err(CliError::Refused)?;
    let [input] = inputs.as_slice() else {
        return Err(CliError::Usage(format!("{} is a folder; name a file", args.file.display())));
    };
    let tenancy = Tenancy::open(client, &args.instance).await?;
    let to = destination(&tenancy, &args.log, args.compartment.as_deref()).await?;
    let move_by = match args.now {
        false => None,
        true if input.length().is_none() && !is_gzip_file(input) => {
            return Err(CliError::Usage(format!(
                "--now reads {} twice, first for its latest time; that takes a file",
                input.name()
            )));
        }
        true => Some(distance_to(serve::now(), latest(input).await?, input)?),
    };

    let bar = bar(client.format, input.length());
    let began = Instant::now();
    let pace = Pace::new(args.rate);
    let mut sent = Sent::default();
    let mut waiting = Vec::<Record>::new();
    let mut pieces = read::start(inputs.clone(), Split::Json, RECORD_BYTES_MAX);
    let mut outcome = Ok(());
    while outcome.is_ok() {
        let (records, is_live, is_end) = match pieces.recv().await {
            Some(Piece::Records { records, input_bytes, is_live, .. }) => {
                bar.inc(input_bytes);
                (records, is_live, false)
            }
            Some(Piece::Fault(fault)) => {
                outcome = Err(CliError::Refused(format!("{} {}", place(input, fault.line), fault.why)));
                (Vec::new(), false, true)
            }
            None => (Vec::new(), false, true),
        };
        for mut record in records {
            if let Some(nanos) = move_by {
                record.data = moved(&record.data, nanos);
            }
            waiting.push(record);
        }
        // What a stream has goes out at once, what a file has in whole pieces.
        let flush = is_live || is_end;
        let result = drain(&tenancy, &to, input, &pace, &mut waiting, flush, &mut sent, &bar).await;
        outcome = match (outcome, result) {
            // The fault of reading is told, unless what was read before it met another.
            (Err(fault), Ok(())) => Err(fault),
            (_, result) => result,
        };
        if is_end {
            break;
        }
    }
    bar.finish_and_clear();
    summarise(client, &to, &sent, began.elapsed(), move_by);
    outcome.map_err(|error| match error {
        CliError::Refused(why) => CliError::Refused(format!("{why}\n{} Nothing behind it was sent.", before(&sent))),
        CliError::Unreachable(why) => CliError::Unreachable(format!("{why}\n{}", before(&sent))),
        usage @ CliError::Usage(_) => usage,
    })
}

fn before(sent: &Sent) -> String {
    match sent.records {
        0 => "Nothing was sent.".to_owned(),
        1 => "The record before it was sent.".to_owned(),
        records => format!("The {} records before it were sent.", HumanCount(records)),
    }
}

/// Sends what waits; without `flush` only whole pieces.
async fn drain(
    tenancy: &Tenancy<'_>,
    to: &Destination,
    input: &Input,
    pace: &Pace,
    waiting: &mut Vec<Record>,
    flush: bool,
    sent: &mut Sent,
    bar: &ProgressBar,
) -> Result<(), CliError> {
    loop {
        let (count, is_full) = first_piece(waiting.iter().map(|record| record.data.len()), pace.together());
        if count == 0 || !is_full && !flush {
            return Ok(());
        }
        pace.wait(sent.records).await;
        let records: Vec<&[u8]> = waiting[..count].iter().map(|record| record.data.as_slice()).collect();
        match send(tenancy, to, &records, sent).await {
            Ok(()) => {}
            Err(Stopped::Error(error)) => return Err(error),
            Err(Stopped::Record(index, error)) => {
                return Err(CliError::Refused(format!(
                    "{} is refused: {error}",
                    place(input, Some(waiting[index].line))
                )));
            }
        }
        waiting.drain(..count);
        bar.set_message(format!("{} records sent", HumanCount(sent.records)));
    }
}

/// How many of these go out together, and whether no more would.
fn first_piece(lengths: impl Iterator<Item = usize>, records_max: usize) -> (usize, bool) {
    let (mut count, mut bytes) = (0, 0);
    for length in lengths {
        if count == records_max || count > 0 && bytes + length > PIECE_BYTES_MAX {
            return (count, true);
        }
        count += 1;
        bytes += length;
    }
    (count, count == records_max || bytes >= PIECE_BYTES_MAX)
}

fn place(input: &Input, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("{}:{line}:", input.name()),
        None => format!("{}:", input.name()),
    }
}

fn is_gzip_file(input: &Input) -> bool {
    matches!(input, Input::File(path) if path.extension().is_some_and(|ending| ending == "gz") && path.is_file())
}

/// Where `--log` leads to.
pub async fn destination(tenancy: &Tenancy<'_>, log: &str, compartment: Option<&str>) -> Result<Destination, CliError> {
    if log == "_Audit" {
        return Ok(Destination::audit(&tenancy.compartment(compartment).await?));
    }
    if is_ocid(log) {
        return Ok(Destination::log(log, log));
    }
    let logs = tenancy.logs(compartment).await?;
    let found = only(&logs, "displayName", "log", log)?;
    Ok(Destination::log(text(found, "id"), log))
}

/// The latest time of a file's records.
async fn latest(input: &Input) -> Result<Option<Time>, CliError> {
    let mut pieces = read::start(vec![input.clone()], Split::Json, RECORD_BYTES_MAX);
    let mut latest = None;
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Records { records, .. } => {
                latest = records.iter().filter_map(|record| time_of(&record.data)).max().max(latest);
            }
            Piece::Fault(fault) => {
                let at = place(input, fault.line);
                return Err(CliError::Refused(format!("{at} {}\nNothing was sent.", fault.why)));
            }
        }
    }
    Ok(latest)
}

fn distance_to(now: Time, latest: Option<Time>, input: &Input) -> Result<i64, CliError> {
    let latest = latest
        .ok_or_else(|| CliError::Refused(format!("no record of {} has a time that --now could move", input.name())))?;
    // Whole milliseconds, as OCI writes its times.
    Ok((now.millis() - latest.millis()) * 1_000_000)
}

fn time_of(record: &[u8]) -> Option<Time> {
    let record: Value = serde_json::from_slice(record).ok()?;
    record["time"].as_str()?.parse().ok()
}

/// A record with its times moved: its own, and those that its data repeats.
fn moved(record: &[u8], nanos: i64) -> Vec<u8> {
    let Ok(mut envelope) = serde_json::from_slice::<Value>(record) else { return record.to_vec() };
    for pointer in ["/time", "/data/response/responseTime"] {
        if let Some(value) = envelope.pointer_mut(pointer)
            && let Some(time) = value.as_str().and_then(|text| text.parse::<Time>().ok())
        {
            *value = json!(stamp(time.saturating_add_nanos(nanos)));
        }
    }
    if text(&envelope, "type").starts_with("com.oraclecloud.vcn.flowlogs.") {
        // Their window is in whole seconds; it moves with the time, which need not be a whole one.
        let by = match envelope["time"].as_str().and_then(|text| text.parse::<Time>().ok()) {
            Some(time) => time.secs() - time.saturating_add_nanos(-nanos).secs(),
            None => nanos / 1_000_000_000,
        };
        for pointer in ["/data/startTime", "/data/endTime"] {
            if let Some(value) = envelope.pointer_mut(pointer)
                && let Some(seconds) = value.as_i64()
            {
                *value = json!(seconds + by);
            }
        }
    }
    serde_json::to_vec(&envelope).expect("a JSON value has a text")
}

fn summarise(client: &Client, to: &Destination, sent: &Sent, took: Duration, move_by: Option<i64>) {
    match client.format {
        Format::Table => {
            let moved = move_by.map_or_else(String::new, |nanos| format!(", their times moved by {}", seconds(nanos)));
            let (records, noun) = (HumanCount(sent.records), if sent.records == 1 { "record" } else { "records" });
            let (bytes, name, took) = (HumanBytes(sent.bytes), &to.name, took.as_secs_f64());
            say(&format!("Replayed {records} {noun} ({bytes}) into {name} in {took:.1} s{moved}."));
        }
        format => format.one(&json!({
            "records": sent.records,
            "bytes": sent.bytes,
            "log": to.name,
            "seconds": took.as_secs_f64(),
            "moved_by_seconds": move_by.map(|nanos| nanos as f64 / 1e9),
            "batches_total": sent.batches.len(),
            "batches": sent.batches.iter().take(BATCHES_TOLD_MAX).collect::<Vec<_>>(),
        })),
    }
}

fn seconds(nanos: i64) -> String {
    let (sign, secs) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs() / 1_000_000_000);
    match (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, 0, secs) => format!("{sign}{secs} s"),
        (0, 0, minutes, secs) => format!("{sign}{minutes} min {secs} s"),
        (0, hours, minutes, _) => format!("{sign}{hours} h {minutes} min"),
        (days, hours, ..) => format!("{sign}{days} d {hours} h"),
    }
}

/// A bar on a terminal, and nothing where programs read.
fn bar(format: Format, length: Option<u64>) -> ProgressBar {
    if format != Format::Table {
        return ProgressBar::hidden();
    }
    let template = match length {
        Some(_) => "{wide_bar} {bytes} of {total_bytes}, {msg}, {eta} left",
        None => "{spinner} {bytes} read, {msg}, {elapsed}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_moved(record: &Value, nanos: i64, expected: &Value) {
        let moved: Value = serde_json::from_slice(&moved(record.to_string().as_bytes(), nanos)).unwrap();
        assert_eq!(&moved, expected);
    }

    #[test]
    fn all_times_of_a_record_move_together() {
        let minute = 60_000_000_000;
        check_moved(&json!({"time": "2023-10-04T02:03:00.000Z"}), minute, &json!({"time": "2023-10-04T02:04:00.000Z"}));
        check_moved(&json!({"time": "2023-10-04T02:03:00+09:00"}), 1, &json!({"time": "2023-10-03T17:03:00.000Z"}));
        check_moved(
            &json!({
                "time": "2023-10-04T02:03:00.000Z", "type": "com.oraclecloud.vcn.flowlogs.DataEvent",
                "data": {"startTime": 1_696_384_980, "endTime": 1_696_385_010, "bytesOut": 420},
            }),
            minute + 900_000_000,
            &json!({
                "time": "2023-10-04T02:04:00.900Z", "type": "com.oraclecloud.vcn.flowlogs.DataEvent",
                "data": {"startTime": 1_696_385_040, "endTime": 1_696_385_070, "bytesOut": 420},
            }),
        );
        check_moved(
            &json!({"time": "2023-10-04T02:03:04.567Z", "data": {"response": {"responseTime": "2023-10-04T02:03:05.000Z"}}}),
            -minute,
            &json!({"time": "2023-10-04T02:02:04.567Z", "data": {"response": {"responseTime": "2023-10-04T02:02:05.000Z"}}}),
        );
        // What is no time, or none of ours to move, stays as it is.
        let odd = json!({"time": "soon", "data": {"startTime": 5, "when": "2023-10-04T02:03:05.000Z"}});
        check_moved(&odd, minute, &odd);
        check_moved(&json!({"data": "text"}), minute, &json!({"data": "text"}));
        assert_eq!(moved(b"[1]", minute), b"[1]");
    }

    #[track_caller]
    fn check_piece(lengths: &[usize], records_max: usize, expected: (usize, bool)) {
        assert_eq!(first_piece(lengths.iter().copied(), records_max), expected, "{lengths:?}");
    }

    #[test]
    fn pieces_are_bounded_in_records_and_bytes() {
        check_piece(&[], 3, (0, false));
        check_piece(&[10, 10], 3, (2, false));
        check_piece(&[10, 10, 10], 3, (3, true));
        check_piece(&[10, 10, 10, 10], 3, (3, true));
        check_piece(&[PIECE_BYTES_MAX - 10, 10], 3, (2, true));
        check_piece(&[PIECE_BYTES_MAX - 10, 11], 3, (1, true));
        check_piece(&[PIECE_BYTES_MAX + 1, 1], 3, (1, true));
    }

    #[test]
    fn distances_are_told_in_two_units() {
        for (secs, told) in
            [(5, "5 s"), (-65, "-1 min 5 s"), (3_700, "1 h 1 min"), (98_000_000, "1134 d 6 h"), (0, "0 s")]
        {
            assert_eq!(seconds(secs * 1_000_000_000), told);
        }
    }
}
