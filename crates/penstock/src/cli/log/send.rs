//! Sends what was read, batch by batch, and tells what became of it: a bar while it goes on, a sentence at the end, every
//! failure with its file and line.
//!
//! A request is taken or refused whole. One that is refused for what is in it is told, and the next goes on; what would
//! befall every request ends the run. With a spool, records are on disk before they are sent, and what could not be sent
//! stays there.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use event::limits;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use penstock_client::{BatchResult, Chronicle, Error, Partial, Spool, SpoolError, SpoolOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, error::TryRecvError};

use super::batch::{Kind, Logs, Stamps};
use super::read::{self, Input, Piece, Record, Split};
use crate::cli::CliError;
use crate::cli::output::{Format, say};
use crate::cli::target::{Patience, Target};
use crate::serve;

/// Most failures that are told one by one.
const FAILURES_TOLD_MAX: usize = 200;

/// Reads the inputs and sends what is in them.
pub async fn run(target: &Target, kind: &Kind, inputs: Vec<Input>, split: Split) -> Result<(), CliError> {
    let chronicle = target.chronicle(Patience::Sender)?;
    let mut told = Told::new(target, inputs);
    let mut gathering = told.gathering(kind, split);
    let mut stamps = Stamps::default();
    let mut stopped = None;
    while let Some(records) = gathering.next(kind, &mut told).await {
        let at = told.at(&records[0]);
        if let Some(error) = send(&chronicle, kind, records, &mut stamps, &mut told).await {
            told.stopped_at = Some(at);
            stopped = Some(error);
            break;
        }
    }
    told.finish(target, stopped)
}

/// Sends one batch. An error is one that would befall the next batch too.
async fn send(
    chronicle: &Chronicle,
    kind: &Kind,
    mut records: Vec<Record>,
    stamps: &mut Stamps,
    told: &mut Told,
) -> Option<Error> {
    while !records.is_empty() {
        let time = stamps.of(kind, &records, serve::now());
        let (at, error) = match kind.send(chronicle, &records, time).await {
            Ok(result) => {
                told.accepted(&records, &result);
                return None;
            }
            Err(Error::Partial(partial)) => return told.partly(&records, *partial),
            // The client itself says so, and sent nothing yet.
            Err(error @ Error::Invalid { index: Some(at), .. }) | Err(error @ Error::TooLarge { index: at, .. }) => {
                (at, error)
            }
            Err(error) => return told.refused(&records, error),
        };
        let record = records.remove(at);
        let why = match error {
            Error::Invalid { what, why, .. } => format!("{what}: {why}"),
            error => error.to_string(),
        };
        told.fault(record.input, Some(record.line), 1, &format!("{why}; it is not sent"));
    }
    None
}

/// Reads the inputs into a spool, and sends what is in that, be it from now or from before.
pub async fn through_spool(
    target: &Target,
    kind: Option<&Kind>,
    inputs: Vec<Input>,
    split: Split,
    dir: &Path,
    retry_refused: bool,
) -> Result<(), CliError> {
    // One attempt at a time: while there is something to read the spool itself waits and tries again, and at the end
    // whoever gave the command is told at once that the rest waits.
    let chronicle = target.chronicle(Patience::None)?;
    let spool = Spool::open(dir, &chronicle, SpoolOptions::default()).await.map_err(|error| target.failed(&error))?;
    if retry_refused {
        spool.requeue_refused().await.map_err(|error| target.failed(&error))?;
    }
    let before = status(target, &spool).await?;
    let mut told = Told::new(target, inputs);
    let mut pushed = Ok(());
    let mut sent = penstock_client::Drained::default();
    let mut failed = None;
    if let Some(kind) = kind {
        let mut gathering = told.gathering(kind, split);
        let mut stamps = Stamps::default();
        let pushing = async {
            while let Some(records) = gathering.next(kind, &mut told).await {
                let time = stamps.of(kind, &records, serve::now());
                pushed = keep(&spool, kind, records, time, &mut told).await;
                if pushed.is_err() {
                    return;
                }
            }
        };
        // Sending begins while there is still something to read, for what comes from a pipe may never end.
        match spool.run(pushing).await {
            Ok(drained) => sent = drained,
            Err(error) => failed = Some(error),
        }
    }
    if failed.is_none() {
        match spool.drain().await {
            Ok(drained) => {
                sent.requests += drained.requests;
                sent.records += drained.records;
                sent.filtered += drained.filtered;
                sent.refused.extend(drained.refused);
            }
            Err(error) => failed = Some(error),
        }
    }
    let after = status(target, &spool).await?;
    // What a request carried whose answer nobody waited for any more is not in `sent`; what is gone from the spool is.
    let kept_now = told.records;
    told.records = (before.records + kept_now).saturating_sub(after.records + refused_records(&sent));
    told.batches = sent.requests;
    told.filtered = sent.filtered;
    told.spooled = Some(json!({
        "dir": dir.display().to_string(), "kept": kept_now, "waiting": after.records,
        "refused_requests": after.refused_requests,
    }));
    for refused in &sent.refused {
        let one = refused.records == 1;
        let (was, is) = if one { ("was", "is") } else { ("were", "are") };
        let why = format!("{} {was} refused and {is} kept there: {}", count(refused.records, "record"), refused.why);
        told.failure(json!({ "file": refused.file.display().to_string(), "records": refused.records, "message": why }));
        told.failed_records += refused.records;
        told.complain(&format!("{}: {why}", refused.file.display()));
    }
    if let Err(error) = pushed {
        failed = Some(error);
    }
    if after.records > 0 {
        told.remark = format!(
            " {} {} in {}; `penstock log ingest --spool {}` sends {}.",
            count(after.records, "record"),
            if after.records == 1 { "waits" } else { "wait" },
            dir.display(),
            dir.display(),
            if after.records == 1 { "it" } else { "them" },
        );
    }
    if after.refused_requests > 0 {
        told.remark.push_str(&format!(
            " {} {} in {}; --retry-refused tries {} once more.",
            count(after.refused_requests, "refused request"),
            if after.refused_requests == 1 { "is" } else { "are" },
            dir.join("refused").display(),
            if after.refused_requests == 1 { "it" } else { "them" },
        ));
    }
    told.finish(target, failed)
}

fn refused_records(sent: &penstock_client::Drained) -> u64 {
    sent.refused.iter().map(|refused| refused.records).sum()
}

async fn status(target: &Target, spool: &Spool) -> Result<penstock_client::SpoolStatus, CliError> {
    spool.status().await.map_err(|error| target.failed(&error))
}

/// Puts records into the spool; while it is full, waits for what is sent.
async fn keep(
    spool: &Spool,
    kind: &Kind,
    mut records: Vec<Record>,
    time: event::Time,
    told: &mut Told,
) -> Result<(), Error> {
    let mut waited = false;
    while !records.is_empty() {
        let at = match kind.push(spool, &records, time).await {
            Ok(()) => {
                told.records += records.len() as u64;
                told.bytes += bytes_of(&records);
                return Ok(());
            }
            Err(Error::Invalid { index: Some(at), .. } | Error::TooLarge { index: at, .. }) => at,
            Err(error @ Error::Spool(SpoolError::Full { refused_bytes, bytes, .. })) => {
                // What was refused takes its room until somebody looks at it.
                if bytes == refused_bytes {
                    return Err(error);
                }
                if !std::mem::replace(&mut waited, true) {
                    told.complain("the spool is full; waiting until the receiver takes what is in it");
                }
                tokio::time::sleep(FULL_WAIT).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let record = records.remove(at);
        told.fault(record.input, Some(record.line), 1, "it cannot be sent and was left out");
    }
    Ok(())
}

/// How often a full spool is looked at again.
const FULL_WAIT: Duration = Duration::from_millis(200);

/// What was read and waits to become a batch.
struct Gathering {
    pieces: Receiver<Piece>,
    waiting: VecDeque<Record>,
    is_live: bool,
}

impl Gathering {
    /// The next batch: a full one, or what there is where more may take its time.
    async fn next(&mut self, kind: &Kind, told: &mut Told) -> Option<Vec<Record>> {
        loop {
            let count = if self.waiting.is_empty() { 0 } else { kind.fitting(&self.waiting) };
            let is_full = count < self.waiting.len() || count == limits::CLIENT_BODY_RECORDS_MAX;
            if is_full {
                return Some(self.waiting.drain(..count).collect());
            }
            let piece = if self.is_live && count > 0 {
                match self.pieces.try_recv() {
                    Ok(piece) => Some(piece),
                    Err(TryRecvError::Empty) => return Some(self.waiting.drain(..).collect()),
                    Err(TryRecvError::Disconnected) => None,
                }
            } else {
                self.pieces.recv().await
            };
            match piece {
                None if count == 0 => return None,
                None => return Some(self.waiting.drain(..).collect()),
                Some(Piece::Fault(fault)) => told.fault(fault.input, fault.line, 0, &fault.why),
                Some(Piece::Records { records, input_bytes, empty, is_live }) => {
                    for record in records {
                        match kind.checked(record) {
                            Ok(record) => self.waiting.push_back(record),
                            Err((record, why)) => {
                                told.fault(record.input, Some(record.line), 1, &format!("{why}; it is not sent"));
                            }
                        }
                    }
                    self.is_live = is_live;
                    told.empty += empty;
                    told.bar.inc(input_bytes);
                }
            }
        }
    }
}

/// What became of everything so far.
struct Told {
    format: Format,
    bar: ProgressBar,
    started: Instant,
    inputs: Vec<Input>,
    records: u64,
    bytes: u64,
    batches: u64,
    repeated: u64,
    /// What the receiver kept out by the forwarder's filters, of what was sent.
    filtered: u64,
    empty: u64,
    failed_records: u64,
    operations: Vec<Value>,
    failures: Vec<Value>,
    failures_total: u64,
    /// Where the batch began that ended the run.
    stopped_at: Option<String>,
    spooled: Option<Value>,
    remark: String,
}

impl Told {
    fn new(target: &Target, inputs: Vec<Input>) -> Told {
        let bar = bar(target.format, inputs.iter().map(Input::length).sum());
        Told {
            format: target.format,
            bar,
            started: Instant::now(),
            inputs,
            records: 0,
            bytes: 0,
            batches: 0,
            repeated: 0,
            filtered: 0,
            empty: 0,
            failed_records: 0,
            operations: Vec::new(),
            failures: Vec::new(),
            failures_total: 0,
            stopped_at: None,
            spooled: None,
            remark: String::new(),
        }
    }

    fn gathering(&self, kind: &Kind, split: Split) -> Gathering {
        let pieces = read::start(self.inputs.clone(), split, kind.record_bytes_max());
        Gathering { pieces, waiting: VecDeque::new(), is_live: false }
    }

    fn accepted(&mut self, records: &[Record], result: &BatchResult) {
        for request in &result.accepted {
            let of_request = || request.items.iter().map(|item| &records[*item]);
            let bytes: u64 = of_request().map(|record| record.data.len() as u64).sum();
            self.records += request.items.len() as u64;
            self.bytes += bytes;
            self.batches += 1;
            self.filtered += request.filtered;
            if request.repeat {
                self.repeated += request.items.len() as u64;
            }
            self.bar.set_message(format!("{} records", HumanCount(self.records)));
            if self.format == Format::Ndjson {
                let (first, last) = (of_request().next(), of_request().next_back());
                say(&json!({
                    "operation": request.operation, "records": request.items.len(), "bytes": bytes,
                    "repeat": request.repeat, "filtered": request.filtered, "from": self.place(first), "to": self.place(last),
                })
                .to_string());
            } else if let Some(operation) = request.operation.as_deref().filter(|_| self.format == Format::Json) {
                self.operations.push(Value::from(operation));
            }
        }
    }

    fn partly(&mut self, records: &[Record], partial: Partial) -> Option<Error> {
        self.accepted(records, &BatchResult { accepted: partial.accepted });
        let mut stopped = None;
        for failed in partial.failed {
            let of_request: Vec<Record> = failed.items.iter().map(|item| records[*item].clone()).collect();
            // The violations count the items of the whole batch.
            stopped = self.refused_among(records, &of_request, failed.error).or(stopped);
        }
        stopped
    }

    fn refused(&mut self, records: &[Record], error: Error) -> Option<Error> {
        self.refused_among(records, records, error)
    }

    /// A request with these records was refused; its violations count the records of `all`.
    fn refused_among(&mut self, all: &[Record], records: &[Record], error: Error) -> Option<Error> {
        let bad: Vec<(&Record, String)> = error
            .violations()
            .iter()
            .filter_map(|violation| {
                Some((all.get(violation.item?)?, format!("{}: {}", inner(&violation.field), violation.description)))
            })
            .collect();
        // Nothing that is in them: the next ones would fare the same.
        if bad.is_empty() {
            return Some(error);
        }
        let (first, last) = (&records[0], &records[records.len() - 1]);
        let span = if first.input == last.input && first.line != last.line {
            format!("{} to {}", self.at(first), last.line)
        } else if first.input == last.input {
            self.at(first)
        } else {
            format!("{} to {}", self.at(first), self.at(last))
        };
        let others = records.len() - bad.len().min(records.len());
        let with_it = match others {
            0 => String::new(),
            others => format!(" (a request is taken or refused whole, so {others} more were not taken either)"),
        };
        let what = format!("{} of {span} refused{with_it}:", count(records.len() as u64, "record"));
        self.complain(&what);
        let mut faults = Vec::new();
        for (record, why) in &bad {
            self.complain(&format!("  {}: {why}", self.at(record)));
            faults.push(json!({ "at": self.place(Some(record)), "message": why }));
        }
        self.failed_records += records.len() as u64;
        self.failure(json!({
            "from": self.place(Some(first)), "to": self.place(Some(last)), "records": records.len(),
            "message": what.trim_end_matches(':'), "faults": faults,
        }));
        None
    }

    /// Something of an input was not sent.
    fn fault(&mut self, input: usize, line: Option<u64>, records: u64, why: &str) {
        let file = self.inputs[input].name();
        let place = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        self.complain(&format!("{place}: {why}"));
        self.failed_records += records;
        self.failure(json!({ "file": file, "line": line, "message": why }));
    }

    fn failure(&mut self, failure: Value) {
        self.failures_total += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push(failure);
        }
    }

    /// For people, at once. Programs find it in the document at the end.
    fn complain(&self, text: &str) {
        if self.format == Format::Table && (self.failures_total as usize) < FAILURES_TOLD_MAX {
            self.bar.suspend(|| eprintln!("penstock: {text}"));
        }
    }

    fn at(&self, record: &Record) -> String {
        format!("{}:{}", self.inputs[record.input].name(), record.line)
    }

    fn place(&self, record: Option<&Record>) -> Value {
        record.map_or(Value::Null, |record| json!({ "file": self.inputs[record.input].name(), "line": record.line }))
    }

    /// The last word, and what the exit status says.
    fn finish(self, target: &Target, stopped: Option<Error>) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        let document = json!({
            "done": stopped.is_none(), "records": self.records, "bytes": self.bytes, "batches": self.batches,
            "repeated": self.repeated, "filtered": self.filtered, "empty_lines": self.empty, "inputs": self.inputs.len(), "seconds": seconds,
            "failed_records": self.failed_records, "failures_total": self.failures_total, "failures": self.failures,
            "operations": self.operations, "stopped_at": self.stopped_at, "spool": self.spooled,
        });
        match self.format {
            Format::Table => say(&self.sentence(target, seconds)),
            format => format.one(&without_nothing(document)),
        }
        if let Some(error) = stopped {
            let sent = match &self.stopped_at {
                Some(at) => format!(
                    "Before {at} {} had been sent; of what follows nothing is known to be there",
                    count(self.records, "record")
                ),
                None => format!("{} had been sent", count(self.records, "record")),
            };
            return Err(match target.failed(&error) {
                CliError::Refused(why) => CliError::Refused(format!("{why}\n{sent}.")),
                CliError::Usage(why) => CliError::Usage(why),
                CliError::Unreachable(why) => CliError::Unreachable(format!("{why}\n{sent}.")),
            });
        }
        match (self.failures_total, self.failed_records) {
            (0, _) => Ok(()),
            (_, 0) => Err(CliError::Refused("not everything could be read".to_owned())),
            (_, records) => Err(CliError::Refused(format!("{} not sent", count(records, "record")))),
        }
    }

    /// The part of the last sentence about filters.
    fn kept_out(&self) -> String {
        match self.filtered {
            0 => String::new(),
            filtered => format!(", {} kept out by the forwarder's filters", HumanCount(filtered)),
        }
    }

    fn sentence(&self, target: &Target, seconds: f64) -> String {
        if let Some(spooled) = &self.spooled {
            // How many bytes of what was sent came from earlier runs, only the spool would know.
            return format!(
                "Kept {} ({}), sent {} in {} to {} in {}{}.{}",
                count(spooled["kept"].as_u64().unwrap_or(0), "record"),
                HumanBytes(self.bytes),
                count(self.records, "record"),
                count(self.batches, "batch"),
                target.address,
                duration(seconds),
                self.kept_out(),
                self.remark
            );
        }
        let mut text = format!(
            "Sent {} ({}) in {} to {} in {}",
            count(self.records, "record"),
            HumanBytes(self.bytes),
            count(self.batches, "batch"),
            target.address,
            duration(seconds)
        );
        if self.records > 0 && seconds > 0.0 {
            let rate = (self.records as f64 / seconds) as u64;
            text.push_str(&format!(", {} records/s", HumanCount(rate)));
        }
        text.push_str(&self.kept_out());
        text.push('.');
        if self.repeated > 0 {
            text.push_str(&format!(" {} of them were there already.", HumanCount(self.repeated)));
        }
        if self.empty > 0 {
            text.push_str(&format!(" {} skipped.", count(self.empty, "empty line")));
        }
        text.push_str(&self.remark);
        text
    }
}

/// Fields that say nothing are left out, except for the counts.
fn without_nothing(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    document
}

/// `1 record`, `2,000 records`.
pub fn count(number: u64, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", HumanCount(number))
}

fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        indicatif::HumanDuration(Duration::from_secs_f64(seconds)).to_string()
    }
}

/// The part of a violation's path that is within the record.
fn inner(field: &str) -> &str {
    let inside = field.split_once("].").map_or("", |(_, inside)| inside);
    if inside.is_empty() { field } else { inside }
}

fn bytes_of(records: &[Record]) -> u64 {
    records.iter().map(|record| record.data.len() as u64).sum()
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
    // On standard error, and only where that is a terminal.
    ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_style(style)
}

/// Asks whether the receiver knows the log type, before anything is read. `force` makes it know.
pub async fn check_log_type(target: &Target, log_type: &str, force: bool) -> Result<(), CliError> {
    match ask_log_type(target, log_type).await? {
        None => Ok(()),
        Some(unknown) => make_log_type(target, log_type, unknown, force).await,
    }
}

/// The same before logs are put into a spool, which takes them also where the receiver is away or in trouble: that shows
/// when they are sent.
pub async fn check_log_type_of_spool(target: &Target, log_type: &str, force: bool) -> Result<(), CliError> {
    match ask_log_type(target, log_type).await {
        Ok(None) => Ok(()),
        Ok(Some(unknown)) => make_log_type(target, log_type, unknown, force).await,
        Err(error @ CliError::Usage(_)) => Err(error),
        Err(CliError::Refused(_) | CliError::Unreachable(_)) => Ok(()),
    }
}

async fn make_log_type(target: &Target, log_type: &str, unknown: String, force: bool) -> Result<(), CliError> {
    if !force {
        return Err(CliError::Refused(format!(
            "{unknown}\n--force makes it a log type of the instance, which takes the right to manage it."
        )));
    }
    let chronicle = target.chronicle(Patience::None)?;
    chronicle.get_or_create_forwarder(log_type).await.map_err(|error| target.failed(&error))?;
    target.format.remark(&format!("{log_type} is a log type of the instance now."));
    Ok(())
}

/// The same for commands that make no log type.
pub async fn known_log_type(target: &Target, log_type: &str) -> Result<(), CliError> {
    match ask_log_type(target, log_type).await? {
        None => Ok(()),
        Some(unknown) => Err(CliError::Refused(format!(
            "{unknown}\n`penstock log-type add {log_type}` makes it a log type of the instance."
        ))),
    }
}

/// What the receiver says of a log type that it does not know.
async fn ask_log_type(target: &Target, log_type: &str) -> Result<Option<String>, CliError> {
    // Google is not asked: it says so at the first batch.
    if target.is_google {
        return Ok(None);
    }
    let chronicle = target.chronicle(Patience::None)?;
    let path = target.path_of(&chronicle, "logTypes", log_type)?;
    match chronicle.request(http::Method::GET, &path, &[], None).await {
        Ok(_) => Ok(None),
        // An instance that is not there is not found either, and no log type helps against that.
        Err(Error::NotFound(refusal) | Error::Refused(refusal))
            if refusal.message.contains(&format!("{log_type:?}")) =>
        {
            Ok(Some(refusal.message))
        }
        Err(error) => Err(target.failed(&error)),
    }
}

/// Says so if the receiver has no such forwarder: logs are taken all the same, without what a forwarder does to them.
pub async fn check_forwarder(target: &Target, logs: &Logs) {
    let (Some(given), false) = (&logs.forwarder, target.is_google) else { return };
    let Ok(chronicle) = target.chronicle(Patience::None) else { return };
    // The full name of one that is elsewhere cannot be asked for here.
    let Ok(path) = target.path_of(&chronicle, "forwarders", given) else { return };
    // Whoever may only send may not look, and whether the server is there shows when logs are sent.
    if let Err(Error::NotFound(_)) = chronicle.request(http::Method::GET, &path, &[], None).await {
        eprintln!(
            "penstock: there is no forwarder {given:?} in the instance; the logs are sent and name it, without filters, \
             labels or a namespace of a forwarder"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0, "record", "0 records"),
            (1, "batch", "1 batch"),
            (2, "batch", "2 batches"),
            (12_345, "record", "12,345 records"),
        ];
        for (number, noun, expected) in cases {
            assert_eq!(count(number, noun), expected);
        }
        assert_eq!(inner("inline_source.events[3].udm.metadata"), "udm.metadata");
        assert_eq!(inner("inline_source.logs[3]"), "inline_source.logs[3]");
    }
}
