//! `penstock bench functions`: how many calls of functions a second connectors make, and what one costs the server.
//!
//! Everything that is needed is made for the run by the calls that OCI's clients use: an application, and for every
//! connector a log, a function that does nothing, and the service connector between them. The records are put into the
//! logs while the connectors rest, so that taking them in is not part of what is measured; then all connectors are let go
//! at once. Afterwards everything is deleted again.
//!
//! Rates and times are those of the calls as the server keeps them (`/api/functions/{id}/calls`): what is asked of the
//! server meanwhile is only how far the connectors are, a few times a second. The functions' own processes are not the
//! server: their processor time stands beside the server's.

use std::io::{Cursor, Write as _};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::Time;
use http::Method;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::latency::Latencies;
use super::process::{Usage, cpu_secs_below};
use super::report::{CallsCpu, CallsServer, FunctionsReport};
use super::{WATCH_EVERY, is_local, unstored_bytes};
use crate::cli::manage::{items, segment};
use crate::cli::oci::tenancy::{InstanceArg, Tenancy, text};
use crate::cli::{CliError, Client};

/// Options of `penstock bench functions`.
#[derive(Debug, Clone, clap::Args)]
pub struct FunctionsArgs {
    /// Connectors that run at the same time, each with a log and a function of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connectors: u32,
    /// Records that each connector delivers. The server keeps its newest 10,000 calls of a function, by default; rates are
    /// those of the calls that it has
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub records: u32,
    /// Records of one call
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Processes of each function. A connector makes one call after the other, so that more than one is of no use here
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processes: u32,
    /// How long the functions may take until they are installed, such as 90, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = super::duration)]
    pub install_wait: Duration,
    /// Wait up to this many seconds afterwards until what was logged is stored, and count the processor time of that too;
    /// 0 does not wait
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    pub settle: u64,
    /// Leave everything that was made
    #[arg(long)]
    pub keep: bool,
    /// The server's process, for its processor time and memory [default: as GET /api/status says]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// The instance to measure in.
    #[command(flatten)]
    pub instance: InstanceArg,
}

/// The function: as little as one can do.
const FUNC_PY: &str = "def handler(ctx, data=None):\n    return None\n";

/// What it needs.
const REQUIREMENTS: &str = "fdk\n";

/// How often is asked whether something that takes its time is done.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long a work request may take.
const WORK_MAX: Duration = Duration::from_secs(30);

/// How long no connector may get on before the run is given up. Above a function's time limit and the start of its process.
const STILL_MAX: Duration = Duration::from_secs(90);

/// Records of one request to a log.
const RECORDS_PUT: u32 = 1_000;

/// Makes what it takes, measures, and clears up, also after a failure or an interruption.
///
/// # Errors
/// When the server cannot be reached or runs no functions, when something is refused, when nothing gets on any more.
pub async fn run(args: &FunctionsArgs, client: &Client) -> Result<FunctionsReport, CliError> {
    let tenancy = Tenancy::open(client, &args.instance).await?;
    let mut bench = Bench { tenancy, name: format!("bench-{:08x}", rand::random::<u32>()), made: Vec::new() };
    let measured = tokio::select! {
        measured = bench.measure(args) => measured,
        _ = tokio::signal::ctrl_c() => Err(CliError::Refused("interrupted".to_owned())),
    };
    if args.keep {
        client.format.remark(&format!("What was made is left; its names begin with {}.", bench.name));
        return measured;
    }
    let cleared = bench.clear().await;
    let report = measured?;
    cleared?;
    Ok(report)
}

/// A run, and what it has made so far.
struct Bench<'a> {
    tenancy: Tenancy<'a>,
    /// How all names begin.
    name: String,
    /// The paths of what was made, in that order.
    made: Vec<String>,
}

/// A connector with its two ends.
struct Line {
    log: String,
    function: String,
    connector: String,
}

impl Line {
    /// What the server calls the connector where it tells how far it is.
    fn delivered_by(&self) -> String {
        format!("oci-{}", self.connector.rsplit('.').next().unwrap_or_default())
    }
}

impl Bench<'_> {
    async fn measure(&mut self, args: &FunctionsArgs) -> Result<FunctionsReport, CliError> {
        let client = self.tenancy.client();
        let status = client.call(Method::GET, "/api/status", None).await?;
        // A number that a server on another machine gave may be anybody's here.
        let said = || status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let authority = client.base().split_once("://").map_or("", |(_, rest)| rest);
        let pid = args.server_pid.or_else(|| if is_local(authority) { said() } else { None });

        let installing = Instant::now();
        let functions = self.functions(args).await?;
        let install_secs = installing.elapsed().as_secs_f64();
        let lines = self.lines(args, functions).await?;
        for line in &lines {
            self.put(&line.log, args.records).await?;
        }

        let before = pid.and_then(Usage::read);
        let below_before = pid.and_then(cpu_secs_below);
        let began = Instant::now();
        for line in &lines {
            self.work(Method::POST, &format!("{}/actions/activate", connector_path(&line.connector)), None).await?;
        }
        let watched = self.watch(&lines, args.records).await?;
        let elapsed_secs = began.elapsed().as_secs_f64();
        let after = pid.and_then(Usage::read);
        let below_after = pid.and_then(cpu_secs_below);
        let settled = self.settle(Duration::from_secs(args.settle)).await?;
        let last = pid.and_then(Usage::read);

        let calls_made = u64::from(args.records.div_ceil(args.batch)) * u64::from(args.connectors);
        let seen = Seen::of(&self.calls(&lines, calls_made).await?);
        let cpu = |usage: Usage, before: Usage| CallsCpu::new(usage.cpu_secs - before.cpu_secs, calls_made);
        let server = match (pid, before, after, last) {
            (Some(pid), Some(before), Some(after), Some(last)) => Some(CallsServer {
                pid,
                during: cpu(after, before),
                until_stored: settled.map(|_| cpu(last, before)),
                settle_secs: settled.map(|(secs, _)| secs),
                settled: settled.map(|(_, whole)| whole),
                resident_bytes: after.resident_bytes,
                resident_peak_bytes: after.resident_peak_bytes,
            }),
            (None, ..) => None,
            _ => return Err(CliError::Refused("the server's process is gone".to_owned())),
        };
        let below = below_before.zip(below_after).map(|(before, after)| CallsCpu::new(after - before, calls_made));
        Ok(FunctionsReport {
            connectors: args.connectors,
            processes: args.processes,
            records_per_call: args.batch,
            records: u64::from(args.records) * u64::from(args.connectors),
            calls: calls_made,
            install_secs,
            elapsed_secs,
            calls_per_sec: seen.per_sec,
            calls_per_sec_steady: seen.steady_per_sec,
            calls_seen: seen.calls,
            failed: seen.failed,
            suspicious: seen.suspicious,
            first_note: seen.first_note,
            delivery_errors: watched.errors,
            call_ms: seen.took.quantiles(),
            functions_cpu: below,
            server,
        })
    }

    /// An application with functions in it that can be called.
    async fn functions(&mut self, args: &FunctionsArgs) -> Result<Vec<String>, CliError> {
        // OCI wants a subnet, of which there is none here.
        let body = json!({
            "compartmentId": self.tenancy.ocid(), "displayName": self.name, "subnetIds": ["ocid1.subnet.oc1..none"],
        });
        let app = self.tenancy.call(Method::POST, "/20260325/applications", Some(&body)).await?;
        self.made.push(format!("/20260325/applications/{}", segment(text(&app, "id"))));
        let zip = STANDARD.encode(archive().map_err(|error| CliError::Refused(format!("cannot pack: {error}")))?);
        let mut functions = Vec::new();
        for number in 1..=args.connectors {
            let body = json!({
                "displayName": format!("{}-{number}", self.name),
                "applicationId": app["id"],
                "memoryInMBs": 256,
                "sourceDetails": {
                    "sourceType": "ARCHIVE",
                    "archiveSourceDetails": { "archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": zip },
                    "handler": "func.handler",
                    "runtimeConfig": { "runtimeConfigType": "FUNCTION_UPDATE", "functionsRuntimeName": "python" },
                },
            });
            let made =
                self.tenancy.call(Method::POST, "/20260325/functions", Some(&body)).await.map_err(
                    |error| match error {
                        CliError::Refused(why) => CliError::Refused(format!("no function could be made: {why}")),
                        other => other,
                    },
                )?;
            functions.push(text(&made, "id").to_owned());
            self.made.push(function_path(text(&made, "id")));
        }
        let began = Instant::now();
        for function in &functions {
            loop {
                let now = self.tenancy.call(Method::GET, &function_path(function), None).await?;
                match text(&now, "lifecycleState") {
                    "ACTIVE" => break,
                    "CREATING" | "UPDATING" if began.elapsed() < args.install_wait => {
                        tokio::time::sleep(ASK_EVERY).await
                    }
                    "CREATING" | "UPDATING" => {
                        let waited = began.elapsed().as_secs();
                        return Err(CliError::Refused(format!(
                            "a function is not installed after {waited} s; --install-wait gives it longer"
                        )));
                    }
                    state => {
                        let why = text(&now, "lifecycleDetails");
                        return Err(CliError::Refused(format!("a function could not be installed ({state}): {why}")));
                    }
                }
            }
            // It sends nothing, which is as it should be.
            let own = json!({ "expects": "nothing", "processes": args.processes });
            self.tenancy.call(Method::PATCH, &format!("/api/functions/{}", segment(function)), Some(&own)).await?;
        }
        Ok(functions)
    }

    /// A log for each function, and a connector between them that rests.
    async fn lines(&mut self, args: &FunctionsArgs, functions: Vec<String>) -> Result<Vec<Line>, CliError> {
        let root = self.tenancy.ocid();
        let body = json!({ "compartmentId": root, "displayName": self.name });
        let group = self.work(Method::POST, "/20200531/logGroups", Some(&body)).await?;
        let of_group = format!("/20200531/logGroups/{}", segment(&group));
        self.made.push(of_group.clone());
        let mut lines = Vec::new();
        for (number, function) in (1..).zip(functions) {
            let name = format!("{}-{number}", self.name);
            let body = json!({ "displayName": name, "logType": "CUSTOM", "isEnabled": true });
            let log = self.work(Method::POST, &format!("{of_group}/logs"), Some(&body)).await?;
            self.made.push(format!("{of_group}/logs/{}", segment(&log)));
            let body = json!({
                "displayName": name,
                "compartmentId": root,
                "source": {
                    "kind": "logging",
                    "logSources": [{ "compartmentId": root, "logGroupId": group, "logId": log }],
                },
                "target": {
                    "kind": "functions", "functionId": function, "batchSizeInNum": args.batch, "batchTimeInSec": 1,
                },
            });
            let connector = self.work(Method::POST, "/20200909/serviceConnectors", Some(&body)).await?;
            let path = connector_path(&connector);
            self.made.push(path.clone());
            self.work(Method::POST, &format!("{path}/actions/deactivate"), None).await?;
            lines.push(Line { log, function, connector });
        }
        Ok(lines)
    }

    /// Puts records into a log.
    async fn put(&self, log: &str, records: u32) -> Result<(), CliError> {
        let path = format!("/20200831/logs/{}/actions/push", segment(log));
        let now = crate::serve::now().to_string();
        for first in (0..records).step_by(RECORDS_PUT as usize) {
            let entries: Vec<Value> =
                (first..records.min(first + RECORDS_PUT)).map(|number| entry(number, &now)).collect();
            let batch = json!({
                "source": "compute-for-log-test", "type": "com.example.bench", "subject": "/var/log/bench.log",
                "defaultlogentrytime": now, "entries": entries,
            });
            let body = json!({ "specversion": "1.0", "logEntryBatches": [batch] });
            self.tenancy.call(Method::POST, &path, Some(&body)).await?;
        }
        Ok(())
    }

    /// Waits until every connector has delivered all of its records.
    async fn watch(&self, lines: &[Line], records: u32) -> Result<Watched, CliError> {
        let names: Vec<String> = lines.iter().map(Line::delivered_by).collect();
        let mut last = (0, Instant::now());
        let mut every = tokio::time::interval(WATCH_EVERY);
        loop {
            every.tick().await;
            let all = self.tenancy.client().call(Method::GET, "/api/connectors", None).await?;
            let ours: Vec<&Value> =
                items(&all).iter().filter(|one| names.iter().any(|name| name == text(one, "name"))).collect();
            let sum = |of: &str| ours.iter().map(|one| one["status"][of].as_u64().unwrap_or(0)).sum::<u64>();
            let written = sum("written");
            if written >= u64::from(records) * lines.len() as u64 {
                return Ok(Watched { errors: sum("errors") });
            }
            if written > last.0 {
                last = (written, Instant::now());
            } else if last.1.elapsed() > STILL_MAX {
                let why = ours.iter().find_map(|one| {
                    let status = &one["status"];
                    status["reason"].as_str().or_else(|| status["last_error"]["message"].as_str())
                });
                return Err(CliError::Refused(format!(
                    "{written} records were delivered, and none for {} s: {}",
                    STILL_MAX.as_secs(),
                    why.unwrap_or("no connector says why")
                )));
            }
        }
    }

    /// Waits until what the calls logged is stored. How long that took, and whether it did in the time given; `None` where
    /// there is nothing to wait for.
    async fn settle(&self, max: Duration) -> Result<Option<(f64, bool)>, CliError> {
        if max.is_zero() {
            return Ok(None);
        }
        let began = Instant::now();
        loop {
            let status = self.tenancy.client().call(Method::GET, "/api/status", None).await?;
            let Some(unstored) = unstored_bytes(&status) else { return Ok(None) };
            if unstored == 0 || began.elapsed() >= max {
                return Ok(Some((began.elapsed().as_secs_f64(), unstored == 0)));
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// The calls of all functions, as the server kept them.
    async fn calls(&self, lines: &[Line], made: u64) -> Result<Vec<Value>, CliError> {
        let mut calls = Vec::new();
        for line in lines {
            // Calls that were made again are among them.
            let path = format!("/api/functions/{}/calls?limit={}", segment(&line.function), made * 2);
            calls.extend_from_slice(items(&self.tenancy.client().call(Method::GET, &path, None).await?));
        }
        Ok(calls)
    }

    /// A call that answers with a work request: the OCID of what it is about, once that is done.
    async fn work(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, CliError> {
        let mut request = self.tenancy.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.tenancy.client().yes(request).await?;
        let id = answer.headers().get("opc-work-request-id").and_then(|id| id.to_str().ok()).map(segment);
        let Some(id) = id else {
            return Err(CliError::Refused(format!("{path} answered without a work request")));
        };
        // Each of OCI's services has its own.
        let service = path.split('/').nth(1).unwrap_or_default();
        let began = Instant::now();
        loop {
            let work = self.tenancy.call(Method::GET, &format!("/{service}/workRequests/{id}"), None).await?;
            match text(&work, "status") {
                "SUCCEEDED" => return Ok(text(&work["resources"][0], "identifier").to_owned()),
                "FAILED" | "CANCELED" => return Err(CliError::Refused(format!("{path} failed"))),
                status if began.elapsed() > WORK_MAX => {
                    let secs = WORK_MAX.as_secs();
                    return Err(CliError::Refused(format!("{path} is {status} after {secs} s")));
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// Deletes what was made, the last first. One that cannot be deleted keeps none of the others.
    async fn clear(&mut self) -> Result<(), CliError> {
        let mut left = None;
        for path in std::mem::take(&mut self.made).into_iter().rev() {
            if let Err(error) = self.tenancy.call(Method::DELETE, &path, None).await {
                left.get_or_insert(format!("{path} is left behind: {error}"));
            }
        }
        left.map_or(Ok(()), |left| Err(CliError::Refused(left)))
    }
}

/// What was seen of the connectors on the way.
struct Watched {
    /// Attempts that failed.
    errors: u64,
}

/// What the kept calls say.
#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    failed: u64,
    suspicious: u64,
    first_note: Option<String>,
    took: Latencies,
    /// From the beginning of the first to the end of the last.
    per_sec: f64,
    /// The same without the first and the last twentieth: those hold the start of the processes, and the time in which not
    /// all connectors are at work.
    steady_per_sec: f64,
}

impl Seen {
    fn of(calls: &[Value]) -> Seen {
        let mut seen = Seen { calls: calls.len() as u64, ..Seen::default() };
        let (mut first, mut ends) = (i64::MAX, Vec::with_capacity(calls.len()));
        for call in calls {
            let took_ms = call["took_ms"].as_f64().unwrap_or(0.0).max(0.0);
            let took = Duration::from_secs_f64(took_ms / 1_000.0);
            seen.took.add(took);
            match text(call, "state") {
                "failed" => seen.failed += 1,
                "suspicious" => seen.suspicious += 1,
                _ => {}
            }
            if seen.first_note.is_none() {
                seen.first_note = call["note"].as_str().map(str::to_owned);
            }
            if let Ok(began) = text(call, "began").parse::<Time>() {
                first = first.min(began.nanos());
                ends.push(began.nanos().saturating_add(i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)));
            }
        }
        ends.sort_unstable();
        let Some(last) = ends.last() else { return seen };
        let rate = |count: usize, nanos: i64| if nanos <= 0 { 0.0 } else { count as f64 * 1e9 / nanos as f64 };
        seen.per_sec = rate(ends.len(), last - first);
        let (from, to) = (ends.len() / 20, ends.len() - 1 - ends.len() / 20);
        seen.steady_per_sec = rate(to - from, ends[to] - ends[from]);
        seen
    }
}

fn function_path(id: &str) -> String {
    format!("/20260325/functions/{}", segment(id))
}

fn connector_path(id: &str) -> String {
    format!("/20200909/serviceConnectors/{}", segment(id))
}

/// About as much as a flow log says.
fn entry(number: u32, time: &str) -> Value {
    let data = json!({
        "action": "ACCEPT", "bytesOut": 4_096 + number % 1_000, "destinationAddress": "10.0.2.121", "destinationPort": 22,
        "flowid": format!("{number:08x}"), "packets": 12, "protocol": 6, "protocolName": "TCP",
        "sourceAddress": "132.145.1.2", "sourcePort": 1_024 + number % 60_000, "status": "OK", "version": "2",
    });
    json!({ "id": format!("bench-{number}"), "time": time, "data": data.to_string() })
}

/// The function's folder, packed.
fn archive() -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [("func.py", FUNC_PY), ("requirements.txt", REQUIREMENTS)] {
        zip.start_file(name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
        zip.write_all(content.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_calls() {
        let base: Time = "2026-11-27T10:00:00Z".parse().unwrap();
        // A start of half a second, then a call every two milliseconds that takes one; newest first, as the server says it.
        let calls: Vec<Value> = (0..1_000)
            .rev()
            .map(|number| {
                let (began, took_ms) = if number == 0 { (0, 500.0) } else { (499_000_000 + number * 2_000_000, 1.0) };
                let state = if number == 7 { "failed" } else { "ok" };
                json!({
                    "began": base.saturating_add_nanos(began).to_string(), "took_ms": took_ms, "state": state,
                    "note": if number == 7 { json!("killed") } else { Value::Null },
                })
            })
            .collect();
        let seen = Seen::of(&calls);
        assert_eq!(
            (seen.calls, seen.failed, seen.suspicious, seen.first_note.as_deref()),
            (1_000, 1, 0, Some("killed"))
        );
        assert!((seen.per_sec - 1_000.0 / 2.498).abs() < 0.1, "{}", seen.per_sec);
        assert!((seen.steady_per_sec - 500.0).abs() < 0.1, "{}", seen.steady_per_sec);
        let took = seen.took.quantiles().unwrap();
        assert!((took.p50 - 1.0).abs() < 0.02 && took.max == 500.0, "{took:?}");

        let none = Seen::of(&[]);
        assert_eq!((none.calls, none.per_sec, none.steady_per_sec), (0, 0.0, 0.0));
    }

    #[test]
    fn the_archive_is_a_functions_folder() {
        let mut zip = zip::ZipArchive::new(Cursor::new(archive().unwrap())).unwrap();
        let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["func.py", "requirements.txt"]);
        let func = std::io::read_to_string(zip.by_name("func.py").unwrap()).unwrap();
        assert_eq!(func, FUNC_PY);
    }

    #[test]
    fn a_line_is_known_by_the_last_part_of_its_connector() {
        let line = Line {
            log: String::new(),
            function: String::new(),
            connector: "ocid1.serviceconnector.oc1.us-ashburn-1.0123456789abcdef0123456789abcdef".to_owned(),
        };
        assert_eq!(line.delivered_by(), "oci-0123456789abcdef0123456789abcdef");
    }
}
