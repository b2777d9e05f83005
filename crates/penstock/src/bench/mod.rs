//! `penstock bench`: the load generator. Sends seeded, realistic records to a running server and says what that took:
//! rates, latencies, the server's processor time for each GB, its memory, and how soon a record is found.
//!
//! It stands outside the flow and knows the server only through HTTP and `/proc`. Numbers are for people to judge; no
//! test asserts on them.

mod access;
mod data;
mod freshness;
mod functions;
mod latency;
mod load;
mod parsers;
mod process;
mod report;
mod wire;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use event::Kind;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cli::{CliError, Client, Format, Remote, say};
use access::{Access, Intake};
use data::{Form, Shape, Size};
use freshness::{Found, Searcher};
use functions::FunctionsArgs;
use load::{Live, Load, Outcome, Plan};
use parsers::CbnArgs;
use process::Usage;
use report::{CpuReport, FreshnessReport, IngestReport, ServerReport, StageCpu};
use wire::{Connection, Endpoint};

/// How often the progress line changes and the server is asked how far it is.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// What `penstock bench` measures.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum BenchCommand {
    /// How much the server takes in, how fast, and what that costs it.
    ///
    /// Sends over kept-alive connections as fast as the server answers (or at --rate) and prints events/s, MB/s,
    /// latency, and, for a server on this machine, its processor time per GB and per request and its peak memory.
    #[command(after_help = "Examples:
  penstock bench ingest                                        8 connections, 1 MB batches of Okta-like lines, 20 s
  penstock bench ingest --kind udm --duration 60s              UDM events, until all of it is stored
  penstock bench ingest --entries 1 --connections 64           one record per request
  penstock bench ingest --dialect sekoia --endpoint batch      the same lines as Sekoia's clients send them
  penstock bench ingest --rate 20 --gzip -o json               20 MB/s, compressed, figures as JSON")]
    Ingest(IngestArgs),
    /// How soon a record is found after the reply that took it in.
    ///
    /// Sends at --rate and, a few times a second, searches for a record that was just acknowledged until it shows.
    #[command(after_help = "Examples:
  penstock bench freshness                                     raw lines at 20 MB/s for 20 s
  penstock bench freshness --kind udm --rate 5 --duration 2m   UDM events at 5 MB/s")]
    Freshness(FreshnessArgs),
    /// How many calls of functions a second connectors make, and what one costs the server.
    ///
    /// Makes a function that does nothing, a log and a connector between them (several with --connectors), puts records into
    /// the log, lets the connector run, and deletes everything again. The server must run functions and reach a package
    /// index to install `fdk` from.
    #[command(after_help = "Examples:
  penstock bench functions                                     5,000 calls, one connector, one process
  penstock bench functions --connectors 4                      four of each at the same time
  penstock bench functions --batch 100 --records 100000        100 records a call")]
    Functions(FunctionsArgs),
    /// How many logs a second one core normalises with a parser, and whether its memory stays flat. Needs no server.
    ///
    /// Runs parsers on logs in this process, on one thread: four built-in ones (sign-ins as JSON, name server lines by
    /// grok, firewall lines in keys and values, large Windows events), or those that --parser names.
    #[command(after_help = "Examples:
  penstock bench cbn                                           the built-in parsers, 5 s each
  penstock bench cbn --only bind --records 10000000            ten million name server lines
  penstock bench cbn --parser my.conf --logs samples.log       a parser of one's own")]
    Cbn(CbnArgs),
}

/// Options that shape the load.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// What to send
    #[arg(long, value_enum, default_value = "raw")]
    pub kind: KindArg,
    /// The protocol to send it by
    #[arg(long, value_enum, default_value = "chronicle")]
    pub dialect: DialectArg,
    /// With --dialect sekoia: the endpoint
    #[arg(long, value_enum, default_value = "plain-batch")]
    pub endpoint: EndpointArg,
    /// With --dialect sekoia: the key of the intake to send by [default: that of one made for the run]
    #[arg(long, value_name = "KEY", env = "PENSTOCK_INTAKE_KEY", hide_env_values = true)]
    pub intake_key: Option<String>,
    /// Log type of raw lines and entities. BIND_DNS sends resolver lines, every other one Okta-like sign-ins
    #[arg(long, value_name = "TYPE", default_value = "OKTA")]
    pub log_type: String,
    /// Connections that send at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Fill every request up to this many uncompressed bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000, conflicts_with = "entries")]
    pub batch_bytes: usize,
    /// Put exactly this many records into every request instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub entries: Option<u32>,
    /// How long to send, such as 90, 30s or 5m; at most 50m, since the access token lives an hour
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub duration: Duration,
    /// Compress the bodies. Costs this program much processor time; on a shared machine the server gets less
    #[arg(long)]
    pub gzip: bool,
    /// Decides the records' content. Their ids differ from run to run, so that no run is a repeat of another
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// The server's process, for its processor time and memory [default: as GET /api/status says]
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Key file to send with [default: keys/default.json of the data directory]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// API key to send with, where no key file is given
    #[arg(long, value_name = "KEY", env = "PENSTOCK_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

/// Options of `penstock bench ingest`.
#[derive(Debug, Clone, clap::Args)]
pub struct IngestArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Send no faster than this many MB (10^6 uncompressed bytes) a second
    #[arg(long, value_name = "MB/S", value_parser = rate)]
    pub rate: Option<f64>,
    /// Wait up to this many seconds after the load until all of it is stored, and count the processor time of that too;
    /// 0 does not wait
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    pub settle: u64,
}

/// Options of `penstock bench freshness`.
#[derive(Debug, Clone, clap::Args)]
pub struct FreshnessArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// Send this many MB (10^6 uncompressed bytes) a second
    #[arg(long, value_name = "MB/S", default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Look for this many records a second. Every search costs the server time that intake then lacks
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub probes: u32,
}

/// Kinds of records, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KindArg {
    /// Raw log lines.
    Raw,
    /// UDM events.
    Udm,
    /// UDM entities.
    Entity,
}

/// Protocols, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DialectArg {
    /// The Chronicle Ingestion API: `/v2/…:batchCreate`.
    Chronicle,
    /// Sekoia's HTTPS intake. Raw lines only.
    Sekoia,
}

/// Endpoints of Sekoia's intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EndpointArg {
    /// `/plain/batch`: lines.
    PlainBatch,
    /// `/batch`: a JSON object with a list of texts, as all of Sekoia's connectors send it.
    Batch,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Kind {
        match kind {
            KindArg::Raw => Kind::Raw,
            KindArg::Udm => Kind::Udm,
            KindArg::Entity => Kind::Entity,
        }
    }
}

/// The server to load and the credentials for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://HOST:PORT`
    pub server_url: String,
    /// The operator's token, for status and search, and for sending where nothing else is given
    pub token: Option<String>,
    /// A key file in Google's format to send with; goes before `api_key`
    pub key_file: Option<PathBuf>,
    /// An API key to send with
    pub api_key: Option<String>,
}

/// What the command line does: finds the credentials to send with, runs one measurement, and prints its result on stdout,
/// as JSON where that is wanted.
///
/// The bench makes connections of its own; of the command line's client it takes only where the server is. Functions,
/// where hardly anything is sent, are measured through that client.
///
/// # Errors
/// When the server cannot be reached or goes away, and when nothing at all was taken in.
pub async fn run_command(command: BenchCommand, client: &Client, remote: &Remote) -> Result<(), CliError> {
    let as_json = client.format != Format::Table;
    let target = |load: &LoadArgs| {
        let of_data = || remote.data.as_ref().map(|data| data.join("keys/default.json")).filter(|path| path.exists());
        let key_file = load.key_file.clone().or_else(|| if load.api_key.is_some() { None } else { of_data() });
        Target {
            server_url: client.base().to_owned(),
            token: client.token().map(str::to_owned),
            key_file,
            api_key: load.api_key.clone(),
        }
    };
    match command {
        BenchCommand::Ingest(args) => {
            let report = ingest(&args, &target(&args.load)).await?;
            print(&report, as_json)?;
            taken_in(&report)?;
        }
        BenchCommand::Freshness(args) => {
            let report = freshness(&args, &target(&args.load)).await?;
            print(&report, as_json)?;
            taken_in(&report.load)?;
            if report.lost > 0 {
                let (lost, probes) = (report.lost, report.probes);
                return Err(CliError::Refused(format!(
                    "{lost} of {probes} records were not found within {FOUND_SECS} s"
                )));
            }
        }
        BenchCommand::Functions(args) => print(&functions::run(&args, client).await?, as_json)?,
        BenchCommand::Cbn(args) => {
            print(
                &tokio::task::spawn_blocking(move || parsers::run(&args)).await.context("the run stopped")??,
                as_json,
            )?;
        }
    }
    Ok(())
}

/// For messages.
const FOUND_SECS: u64 = freshness::FOUND_MAX.as_secs();

fn print(report: &(impl serde::Serialize + std::fmt::Display), as_json: bool) -> anyhow::Result<()> {
    if as_json {
        say(&serde_json::to_string(report)?);
    } else {
        say(report.to_string().trim_end());
    }
    Ok(())
}

/// A run that moved nothing is a failed one, whatever its table says.
fn taken_in(report: &IngestReport) -> anyhow::Result<()> {
    if report.requests == 0 {
        bail!("the server took nothing in: {}", report.first_error.as_deref().unwrap_or("no request was answered"));
    }
    Ok(())
}

async fn ingest(args: &IngestArgs, target: &Target) -> anyhow::Result<IngestReport> {
    let server = Server::find(target, args.load.server_pid).await?;
    let intake = server.intake(&args.load).await?;
    let plan = plan(&args.load, args.rate, &server, intake.as_ref());
    let live = Arc::new(Live::default());
    let load = Load::prepare(plan.clone(), live.clone(), None).await?;
    let measured = measure(load, &live, &server, &plan).await?;
    server.without(intake).await?;
    measured.report(&plan, &server, Duration::from_secs(args.settle)).await
}

async fn freshness(args: &FreshnessArgs, target: &Target) -> anyhow::Result<FreshnessReport> {
    if args.load.kind == KindArg::Entity {
        bail!("bench freshness looks for raw lines and UDM events; entities cannot be searched yet");
    }
    let server = Server::find(target, args.load.server_pid).await?;
    let intake = server.intake(&args.load).await?;
    let plan = plan(&args.load, Some(args.rate), &server, intake.as_ref());
    let live = Arc::new(Live::default());
    let (samples, acknowledged) = mpsc::channel(1);
    let load = Load::prepare(plan.clone(), live.clone(), Some(samples)).await?;
    let searcher = Searcher {
        endpoint: plan.endpoint.clone(),
        authorization: plan.access.operator.clone(),
        kind: plan.shape.kind,
        pick_every: Duration::from_secs(1) / args.probes,
    };
    let searching = tokio::spawn(searcher.run(acknowledged));
    let measured = measure(load, &live, &server, &plan).await?;
    server.without(intake).await?;
    let Found { probes, lost, reply_to_found, searches, first_error } =
        searching.await.context("the searching side stopped")?;
    Ok(FreshnessReport {
        load: measured.report(&plan, &server, Duration::ZERO).await?,
        probes,
        lost,
        reply_to_found_ms: reply_to_found.quantiles(),
        search_ms: searches.quantiles(),
        searches: searches.count(),
        first_error,
    })
}

fn plan(args: &LoadArgs, rate: Option<f64>, server: &Server, intake: Option<&Intake>) -> Plan {
    let kind = Kind::from(args.kind);
    let mut access = server.access.clone();
    let form = match (intake, args.endpoint) {
        (None, _) => Form::Chronicle,
        (Some(intake), EndpointArg::Batch) => {
            access.intake = None;
            Form::SekoiaBatch(intake.key.clone())
        }
        (Some(intake), EndpointArg::PlainBatch) => {
            access.intake = Some(intake.basic());
            Form::SekoiaPlainBatch
        }
    };
    Plan {
        endpoint: server.endpoint.clone(),
        access,
        shape: Shape {
            kind,
            form,
            log_type: if kind == Kind::Udm { "UDM".to_owned() } else { args.log_type.clone() },
            customer_id: server.access.customer_id.clone(),
            size: args.entries.map_or(Size::Bytes(args.batch_bytes), |entries| Size::Records(entries as usize)),
        },
        seed: args.seed,
        run: rand::random(),
        connections: args.connections as usize,
        duration: args.duration,
        rate_bytes_per_sec: rate.map(|megabytes| megabytes * 1e6),
        gzip: args.gzip,
    }
}

/// The server as seen from here.
struct Server {
    endpoint: Endpoint,
    access: Access,
    /// Its process, when it runs on this machine.
    pid: Option<u32>,
}

impl Server {
    async fn find(target: &Target, pid: Option<u32>) -> anyhow::Result<Server> {
        let endpoint = Endpoint::parse(&target.server_url)?;
        let access = Access::obtain(target).await?;
        let mut server = Server { endpoint, access, pid };
        if server.pid.is_none() {
            server.pid = server
                .status()
                .await
                .and_then(|status| status.get("pid")?.as_u64()?.try_into().ok())
                // A number that a server on another machine gave may be anybody's here.
                .filter(|_| is_local(&server.endpoint.authority));
        }
        Ok(server)
    }

    /// `GET /api/status`, or `None` where it cannot be had: the load does not depend on it.
    async fn status(&self) -> Option<Value> {
        let request = self.endpoint.head("GET", "/api/status", self.access.operator.as_deref(), false, 0);
        let mut connection = Connection::open(&self.endpoint).await.ok()?;
        let answer = connection.exchange(request.as_bytes()).await.ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).ok()).flatten()
    }

    /// How many bytes the store has yet to read from the log or to write into parts; `None` when there is no store or no
    /// answer.
    async fn unstored_bytes(&self) -> Option<u64> {
        unstored_bytes(&self.status().await?)
    }

    /// The intake to send by, where it is Sekoia's protocol.
    async fn intake(&self, args: &LoadArgs) -> anyhow::Result<Option<Intake>> {
        match (args.dialect, &args.intake_key) {
            (DialectArg::Chronicle, _) => Ok(None),
            (DialectArg::Sekoia, _) if args.kind != KindArg::Raw => bail!("an intake takes raw lines: --kind raw"),
            (DialectArg::Sekoia, Some(key)) => Ok(Some(Intake::of_key(key))),
            (DialectArg::Sekoia, None) => Ok(Some(Intake::make(&self.endpoint, &self.access, &args.log_type).await?)),
        }
    }

    /// Removes what was made for the run.
    async fn without(&self, intake: Option<Intake>) -> anyhow::Result<()> {
        match intake {
            Some(intake) => intake.remove(&self.endpoint, self.access.operator.as_deref()).await,
            None => Ok(()),
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.pid.and_then(Usage::read)
    }

    /// What each stage has used, given what all have.
    fn by_stage(&self, usage: Usage) -> Option<Stages> {
        process::cpu_secs_by_stage(self.pid?, usage.cpu_secs)
    }
}

/// Processor time of each stage, in seconds.
type Stages = Vec<(&'static str, f64)>;

/// What each stage used between two readings.
fn between(before: &Stages, after: &Stages) -> Vec<StageCpu> {
    let used = before.iter().zip(after).map(|((stage, before), (_, after))| (*stage, (after - before).max(0.0)));
    let used: Stages = used.collect();
    let all: f64 = used.iter().map(|(_, secs)| secs).sum();
    let percent = |secs: f64| if all > 0.0 { secs * 100.0 / all } else { 0.0 };
    used.into_iter().map(|(stage, cpu_secs)| StageCpu { stage, cpu_secs, percent: percent(cpu_secs) }).collect()
}

/// What a status says of the store: bytes that it has yet to read or to write out.
fn unstored_bytes(status: &Value) -> Option<u64> {
    let store = status.pointer("/followers/store")?;
    let unflushed = store.get("unflushed_bytes").and_then(Value::as_u64).unwrap_or(0);
    Some(store.get("lag_bytes")?.as_u64()? + unflushed)
}

fn is_local(authority: &str) -> bool {
    ["127.", "localhost:", "[::1]:"].iter().any(|start| authority.starts_with(start))
}

/// A load that ran, with the readings around it.
struct Measured {
    outcome: Outcome,
    elapsed: Duration,
    server_before: Option<Usage>,
    stages_before: Option<Stages>,
    server_after: Option<Usage>,
    client_cpu_secs: Option<f64>,
}

async fn measure(load: Load, live: &Live, server: &Server, plan: &Plan) -> anyhow::Result<Measured> {
    let own_cpu_secs = || Usage::read(std::process::id()).map(|usage| usage.cpu_secs);
    let client_before = own_cpu_secs();
    let server_before = server.usage();
    let stages_before = server_before.and_then(|usage| server.by_stage(usage));
    let ran = {
        let running = load.run();
        tokio::pin!(running);
        let progress = progress(plan.duration);
        let started = Instant::now();
        let mut watch = tokio::time::interval(WATCH_EVERY);
        loop {
            tokio::select! {
                ran = &mut running => {
                    progress.finish_and_clear();
                    break ran;
                }
                _ = watch.tick() => show(&progress, live, started.elapsed()),
            }
        }
    };
    let (outcome, elapsed) = ran?;
    Ok(Measured {
        outcome,
        elapsed,
        server_before,
        stages_before,
        server_after: server.usage(),
        client_cpu_secs: client_before.and_then(|before| Some(own_cpu_secs()? - before)),
    })
}

impl Measured {
    async fn report(self, plan: &Plan, server: &Server, settle_max: Duration) -> anyhow::Result<IngestReport> {
        let outcome = self.outcome;
        let secs = self.elapsed.as_secs_f64();
        let server_report = match (server.pid, self.server_before, self.server_after) {
            (Some(pid), Some(before), Some(after)) => {
                let spread = |usage: Usage| {
                    CpuReport::new(
                        usage.cpu_secs - before.cpu_secs,
                        outcome.body_bytes,
                        outcome.text_bytes,
                        outcome.requests,
                    )
                };
                let settled = settle(server, settle_max).await;
                let last = server.usage().context("the server's process is gone")?;
                let stages = self.stages_before.zip(server.by_stage(last));
                Some(ServerReport {
                    by_stage: stages.map(|(before, after)| between(&before, &after)).unwrap_or_default(),
                    pid,
                    during: spread(after),
                    until_stored: settled.map(|_| spread(last)),
                    settle_secs: settled.map(|(secs, _)| secs),
                    settled: settled.map(|(_, whole)| whole),
                    resident_bytes: last.resident_bytes,
                    resident_peak_bytes: last.resident_peak_bytes,
                })
            }
            _ => None,
        };
        Ok(IngestReport {
            endpoint: plan.shape.form.endpoint(),
            kind: plan.shape.kind.name(),
            log_type: plan.shape.log_type.clone(),
            connections: plan.connections,
            elapsed_secs: secs,
            requests: outcome.requests,
            records: outcome.records,
            body_bytes: outcome.body_bytes,
            wire_bytes: outcome.wire_bytes,
            text_bytes: outcome.text_bytes,
            events_per_sec: outcome.records as f64 / secs,
            mb_per_sec: outcome.body_bytes as f64 / 1e6 / secs,
            requests_per_sec: outcome.requests as f64 / secs,
            latency_ms: outcome.latencies.quantiles(),
            statuses: outcome.statuses,
            retries: outcome.retries,
            reconnects: outcome.reconnects,
            first_error: outcome.first_error,
            client_cpu_secs: self.client_cpu_secs,
            server: server_report,
        })
    }
}

/// Waits until the store has read the whole log and written it out, which it does some time after the last record. Gives
/// how long that took and whether it did in the time given; `None` when there is nothing to wait for.
async fn settle(server: &Server, max: Duration) -> Option<(f64, bool)> {
    let started = Instant::now();
    if max.is_zero() {
        return None;
    }
    loop {
        let unstored_bytes = server.unstored_bytes().await?;
        if unstored_bytes == 0 || started.elapsed() >= max {
            return Some((started.elapsed().as_secs_f64(), unstored_bytes == 0));
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn progress(duration: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(duration.as_millis() as u64);
    let style = ProgressStyle::with_template("{bar:30} {msg}").expect("a fixed template is well-formed");
    bar.set_style(style);
    bar
}

fn show(progress: &ProgressBar, live: &Live, elapsed: Duration) {
    let bytes = live.body_bytes.load(Ordering::Relaxed) as f64;
    let records = live.records.load(Ordering::Relaxed) as f64;
    let secs = elapsed.as_secs_f64().max(0.001);
    progress.set_position(elapsed.as_millis() as u64);
    progress.set_message(format!("{:.0} s  {:.1} MB/s  {:.0} events/s", secs, bytes / 1e6 / secs, records / secs));
}

/// Longest run: an access token lives an hour, and the bench asks for one only at the start.
const DURATION_MAX: Duration = Duration::from_secs(50 * 60);

/// Reads `90`, `90s` or `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm']) {
        Some(number) => (number, if text.ends_with('m') { 60.0 } else { 1.0 }),
        None => (text, 1.0),
    };
    let secs = number.parse::<f64>().map_err(|_| "expected seconds such as 30 or 30s, or minutes such as 5m")? * unit;
    if !(0.1..=DURATION_MAX.as_secs_f64()).contains(&secs) {
        return Err("must be between 0.1 s and 50 min".to_owned());
    }
    Ok(Duration::from_secs_f64(secs))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number of MB a second above zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        _bench: BenchCommand,
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::{CommandFactory as _, Parser as _};
        Cli::command().debug_assert();
        for (args, good) in [
            ("ingest", true),
            ("ingest --entries 1 --connections 64 --kind raw --settle 0", true),
            ("freshness --kind udm --rate 5 --duration 2m", true),
            ("functions", true),
            ("functions --connectors 4 --records 100 --batch 10 --keep --install-wait 5m", true),
            ("functions --connectors 0", false),
            ("functions --records 19", false),
            ("functions --batch 0", false),
            ("ingest --entries 1 --batch-bytes 5", false),
            ("ingest --entries 0", false),
            ("ingest --dialect sekoia --endpoint batch", true),
            ("ingest --dialect sekoia --endpoint array", false),
            ("ingest --rate 0", false),
            ("ingest --duration 2h", false),
            ("ingest --duration 51m", false),
            ("", false),
        ] {
            let words = std::iter::once("bench").chain(args.split_ascii_whitespace());
            assert_eq!(Cli::try_parse_from(words).is_ok(), good, "{args}");
        }
    }

    #[test]
    fn durations() {
        for (text, secs) in [("90", Some(90.0)), ("0.5s", Some(0.5)), ("2m", Some(120.0)), ("", None), ("-1", None)] {
            assert_eq!(duration(text).ok().map(|duration| duration.as_secs_f64()), secs, "{text}");
        }
    }
}
