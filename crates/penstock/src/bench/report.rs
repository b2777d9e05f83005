//! What a run found, as a table for people and as JSON for machines. Rates are in units of 10^6 and 10^9 bytes of
//! uncompressed bodies, as the targets are.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::latency::Quantiles;

/// The result of `bench ingest`, and the load's part of `bench freshness`.
#[derive(Debug, Clone, Serialize)]
pub struct IngestReport {
    /// Where it was sent to.
    pub endpoint: &'static str,
    /// `raw`, `udm` or `entity`.
    pub kind: &'static str,
    /// The log type sent under.
    pub log_type: String,
    /// Connections that sent at the same time.
    pub connections: usize,
    /// From the first byte to the last answer, in seconds.
    pub elapsed_secs: f64,
    /// Requests answered with a success.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Their uncompressed bodies, in bytes.
    pub body_bytes: u64,
    /// Their bodies as sent, in bytes.
    pub wire_bytes: u64,
    /// Their raw lines without the protocol around them, in bytes; 0 for other kinds.
    pub text_bytes: u64,
    /// Records a second.
    pub events_per_sec: f64,
    /// 10^6 uncompressed body bytes a second.
    pub mb_per_sec: f64,
    /// Requests a second.
    pub requests_per_sec: f64,
    /// Time to the answer, of those requests.
    pub latency_ms: Option<Quantiles>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests sent again after 429 or 503.
    pub retries: u64,
    /// Connections that had to be opened anew.
    pub reconnects: u64,
    /// The first answer other than a success.
    pub first_error: Option<String>,
    /// Processor time of this program over the run: what it took from the server on a shared machine.
    pub client_cpu_secs: Option<f64>,
    /// The server's part, where it runs on this machine.
    pub server: Option<ServerReport>,
}

/// What the server used.
#[derive(Debug, Clone, Serialize)]
pub struct ServerReport {
    /// Its process.
    pub pid: u32,
    /// While the load ran.
    pub during: CpuReport,
    /// From the load's start until all of it was stored; absent with `--settle 0` or when nothing is stored.
    pub until_stored: Option<CpuReport>,
    /// The same by stage, in flow order, in seconds: from the load's start until all of it was stored.
    pub by_stage: Vec<StageCpu>,
    /// How long storing went on after the load, in seconds.
    pub settle_secs: Option<f64>,
    /// Whether the followers had caught up before `--settle` was over.
    pub settled: Option<bool>,
    /// Resident memory at the end, in bytes.
    pub resident_bytes: u64,
    /// The most it had since it started, in bytes.
    pub resident_peak_bytes: u64,
}

/// Processor time of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageCpu {
    /// The stage.
    pub stage: &'static str,
    /// In seconds.
    pub cpu_secs: f64,
    /// Of all that the server used, in percent.
    pub percent: f64,
}

/// Processor time over a span.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CpuReport {
    /// In seconds.
    pub cpu_secs: f64,
    /// For 10^9 uncompressed body bytes, in seconds.
    pub cpu_secs_per_gb: f64,
    /// For 10^9 bytes of raw lines, in seconds: what can be compared between protocols. 0 for other kinds.
    pub cpu_secs_per_gb_of_text: f64,
    /// For one request, in microseconds.
    pub cpu_micros_per_request: f64,
}

/// The result of `bench freshness`.
#[derive(Debug, Clone, Serialize)]
pub struct FreshnessReport {
    /// The load that went in meanwhile.
    pub load: IngestReport,
    /// Records looked for.
    pub probes: u64,
    /// Of those, never found within the limit.
    pub lost: u64,
    /// From the reply to the first answer that held the record.
    pub reply_to_found_ms: Option<Quantiles>,
    /// One search, whether it found or not.
    pub search_ms: Option<Quantiles>,
    /// Searches made.
    pub searches: u64,
    /// The first search that was refused or failed.
    pub first_error: Option<String>,
}

/// The result of `bench cbn`.
#[derive(Debug, Clone, Serialize)]
pub struct CbnReport {
    /// One row for each parser.
    pub rows: Vec<CbnRow>,
}

/// What one parser did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CbnRow {
    /// The parser.
    pub name: String,
    /// Logs that it ran on.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Events and entities that came out.
    pub events: u64,
    /// Logs that it dropped.
    pub dropped: u64,
    /// Logs on which it failed.
    pub failed: u64,
    /// How long it took, in seconds.
    pub elapsed_secs: f64,
    /// Processor time of that, in seconds.
    pub cpu_secs: Option<f64>,
    /// Logs for each second of processor time.
    pub records_per_sec: f64,
    /// 10^6 bytes of logs for each second of processor time.
    pub mb_per_sec: f64,
    /// Resident memory of this program after the first logs, in bytes.
    pub resident_bytes_warm: Option<u64>,
    /// Resident memory of this program at the end, in bytes.
    pub resident_bytes_end: Option<u64>,
    /// The first failure.
    pub first_error: Option<String>,
}

impl fmt::Display for CbnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let megabytes =
                |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
            writeln!(
                f,
                "{}: {:.0} logs/s and {:.1} MB/s per core ({} logs of {:.0} bytes, {} events, {} dropped, {} failed; memory \
                 {} MB after warming up, {} MB at the end)",
                row.name,
                row.records_per_sec,
                row.mb_per_sec,
                row.records,
                row.bytes as f64 / row.records.max(1) as f64,
                row.events,
                row.dropped,
                row.failed,
                megabytes(row.resident_bytes_warm),
                megabytes(row.resident_bytes_end),
            )?;
            if let Some(error) = &row.first_error {
                writeln!(f, "  first failure: {error}")?;
            }
        }
        Ok(())
    }
}

/// The result of `bench functions`.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionsReport {
    /// Connectors that ran at the same time, each with a function of its own.
    pub connectors: u32,
    /// Processes that each function could have.
    pub processes: u32,
    /// Records of one call.
    pub records_per_call: u32,
    /// Records of all connectors together.
    pub records: u64,
    /// Calls that this takes.
    pub calls: u64,
    /// How long the server took to make and install the functions, in seconds.
    pub install_secs: f64,
    /// From the moment in which the connectors were let go until all was seen delivered, in seconds.
    pub elapsed_secs: f64,
    /// Calls a second, from the beginning of the first to the end of the last.
    pub calls_per_sec: f64,
    /// The same without the first and the last twentieth.
    pub calls_per_sec_steady: f64,
    /// Calls that the server still knew afterwards. Rates and times are theirs.
    pub calls_seen: u64,
    /// Of those, failed ones.
    pub failed: u64,
    /// Of those, suspicious ones.
    pub suspicious: u64,
    /// What was noted first at one of them.
    pub first_note: Option<String>,
    /// Attempts to deliver that failed.
    pub delivery_errors: u64,
    /// How long one call ran, without the connector's part.
    pub call_ms: Option<Quantiles>,
    /// Processor time of the functions' processes.
    pub functions_cpu: Option<CallsCpu>,
    /// The server's part, where it runs on this machine.
    pub server: Option<CallsServer>,
}

/// What the server used for calls.
#[derive(Debug, Clone, Serialize)]
pub struct CallsServer {
    /// Its process.
    pub pid: u32,
    /// From letting go until all was seen delivered.
    pub during: CallsCpu,
    /// Until all that was logged of the calls was stored; absent with `--settle 0` or when nothing is stored.
    pub until_stored: Option<CallsCpu>,
    /// How long storing went on afterwards, in seconds.
    pub settle_secs: Option<f64>,
    /// Whether all was stored before `--settle` was over.
    pub settled: Option<bool>,
    /// Resident memory when all was delivered, in bytes.
    pub resident_bytes: u64,
    /// The most it had since it started, in bytes.
    pub resident_peak_bytes: u64,
}

/// Processor time of calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CallsCpu {
    /// In seconds.
    pub cpu_secs: f64,
    /// For one call, in milliseconds.
    pub cpu_millis_per_call: f64,
}

impl CallsCpu {
    /// Spreads processor time over calls.
    pub fn new(cpu_secs: f64, calls: u64) -> CallsCpu {
        CallsCpu { cpu_secs, cpu_millis_per_call: per(cpu_secs * 1e3, calls) }
    }
}

impl CpuReport {
    /// Spreads processor time over what was taken in.
    pub fn new(cpu_secs: f64, body_bytes: u64, text_bytes: u64, requests: u64) -> CpuReport {
        CpuReport {
            cpu_secs,
            cpu_secs_per_gb: per(cpu_secs * 1e9, body_bytes),
            cpu_secs_per_gb_of_text: per(cpu_secs * 1e9, text_bytes),
            cpu_micros_per_request: per(cpu_secs * 1e6, requests),
        }
    }
}

fn per(amount: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { amount / count as f64 }
}

impl fmt::Display for IngestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<22}{value}");
        let sent = format!("{} {} to {} on {} connections", self.kind, self.log_type, self.endpoint, self.connections);
        line(f, "sent", format!("{sent} for {:.1} s", self.elapsed_secs))?;
        let bytes = self.body_bytes as f64 / 1e6;
        line(f, "taken in", format!("{} requests, {} records, {bytes:.1} MB", self.requests, self.records))?;
        if self.wire_bytes != self.body_bytes {
            line(f, "on the wire", format!("{:.1} MB", self.wire_bytes as f64 / 1e6))?;
        }
        line(f, "events/s", format!("{:.0}", self.events_per_sec))?;
        line(f, "MB/s", format!("{:.1}", self.mb_per_sec))?;
        line(f, "requests/s", format!("{:.1}", self.requests_per_sec))?;
        line(f, "latency", quantiles(self.latency_ms))?;
        if self.statuses.keys().any(|status| !(200..300).contains(status)) || self.reconnects > 0 {
            let statuses: Vec<String> =
                self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
            let again = format!("{} sent again, {} reconnects", self.retries, self.reconnects);
            line(f, "answers", format!("{}; {again}", statuses.join(", ")))?;
        }
        if let Some(error) = &self.first_error {
            line(f, "first error", error.clone())?;
        }
        if let Some(cpu) = self.client_cpu_secs {
            line(f, "this program's CPU", format!("{cpu:.2} s"))?;
        }
        match &self.server {
            None => line(f, "server", "not a process of this machine: no CPU or memory figures".to_owned()),
            Some(server) => {
                line(f, "server CPU", cpu(server.during))?;
                if let Some(until_stored) = server.until_stored {
                    let settled = match (server.settled, server.settle_secs) {
                        (Some(true), Some(secs)) => format!("after {secs:.1} s more"),
                        _ => "NOT YET, --settle was too short".to_owned(),
                    };
                    line(f, "… until stored", format!("{} ({settled})", cpu(until_stored)))?;
                }
                if !server.by_stage.is_empty() {
                    let share = |of: &StageCpu| format!("{} {:.0} % ({:.2} s)", of.stage, of.percent, of.cpu_secs);
                    line(f, "… by stage", server.by_stage.iter().map(share).collect::<Vec<_>>().join(", "))?;
                }
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (now, peak) = (mib(server.resident_bytes), mib(server.resident_peak_bytes));
                line(f, "server memory", format!("peak {peak:.1} MiB, now {now:.1} MiB"))
            }
        }
    }
}

impl fmt::Display for FreshnessReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.load)?;
        writeln!(f, "{:<22}{}", "reply to found", quantiles(self.reply_to_found_ms))?;
        writeln!(f, "{:<22}{} looked for, {} never found", "probes", self.probes, self.lost)?;
        writeln!(f, "{:<22}{}; {} made", "one search", quantiles(self.search_ms), self.searches)?;
        if let Some(error) = &self.first_error {
            writeln!(f, "{:<22}{error}", "first search error")?;
        }
        Ok(())
    }
}

impl fmt::Display for FunctionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: String| writeln!(f, "{name:<22}{value}");
        let cpu = |of: CallsCpu| format!("{:.2} s = {:.3} ms per call", of.cpu_secs, of.cpu_millis_per_call);
        let (connectors, per_call) = (self.connectors, self.records_per_call);
        line(f, "delivered", format!("{} records, {per_call} per call, by {connectors} connectors", self.records))?;
        line(f, "calls", format!("{} in {:.1} s", self.calls, self.elapsed_secs))?;
        if self.failed > 0 || self.suspicious > 0 || self.delivery_errors > 0 {
            let (failed, suspicious, errors) = (self.failed, self.suspicious, self.delivery_errors);
            line(f, "not ok", format!("{failed} failed, {suspicious} suspicious; {errors} deliveries failed"))?;
        }
        if let Some(note) = &self.first_note {
            line(f, "first note", note.clone())?;
        }
        if self.calls_seen < self.calls {
            line(f, "seen of them", format!("the newest {}, which all that follows is of", self.calls_seen))?;
        }
        line(f, "calls/s", format!("{:.0}", self.calls_per_sec))?;
        line(f, "… steady", format!("{:.0}", self.calls_per_sec_steady))?;
        line(f, "one call", quantiles(self.call_ms))?;
        line(f, "installed in", format!("{:.1} s", self.install_secs))?;
        if let Some(functions) = self.functions_cpu {
            line(f, "functions' CPU", cpu(functions))?;
        }
        let Some(server) = &self.server else {
            return line(f, "server", "not a process of this machine: no CPU or memory figures".to_owned());
        };
        line(f, "server CPU", cpu(server.during))?;
        if let Some(until_stored) = server.until_stored {
            let settled = match (server.settled, server.settle_secs) {
                (Some(true), Some(secs)) => format!("after {secs:.1} s more"),
                _ => "NOT YET, --settle was too short".to_owned(),
            };
            line(f, "… until stored", format!("{} ({settled})", cpu(until_stored)))?;
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (now, peak) = (mib(server.resident_bytes), mib(server.resident_peak_bytes));
        line(f, "server memory", format!("peak {peak:.1} MiB, now {now:.1} MiB"))
    }
}

fn quantiles(of: Option<Quantiles>) -> String {
    match of {
        None => "–".to_owned(),
        Some(of) => format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", of.p50, of.p99, of.max),
    }
}

fn cpu(of: CpuReport) -> String {
    let text = match of.cpu_secs_per_gb_of_text {
        0.0 => String::new(),
        secs => format!(" ({secs:.2} s per GB of lines)"),
    };
    format!(
        "{:.2} s = {:.2} s per GB{text}, {:.1} µs per request",
        of.cpu_secs, of.cpu_secs_per_gb, of.cpu_micros_per_request
    )
}
