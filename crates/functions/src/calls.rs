//! `calls.db`: what is kept of calls, and counts per minute.
//!
//! A call must not wait for a disk: its report goes into memory, and one thread writes what has gathered, many reports
//! in one transaction (`synchronous = NORMAL`: a machine that loses power may lose the last second of them, a process
//! that dies loses what had not been handed to the kernel). Readers see both halves. Reports are numbered; a number that
//! is found in both is one report.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use event::Time;
use rusqlite::{Connection, Row, params};

use crate::FunctionsError;
use crate::limits::{MINUTES_KEPT, REPORTS_PENDING_MAX};
use crate::spec::{CallReport, FunctionCounts, State};

const FORMAT: i64 = 1;
/// How long reports gather.
const GATHER: Duration = Duration::from_millis(50);
const TRY_AGAIN: Duration = Duration::from_secs(1);
const MINUTE_NANOS: i64 = 60_000_000_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS calls (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL, call_id TEXT NOT NULL, version TEXT NOT NULL, called_by TEXT NOT NULL,
        began INTEGER NOT NULL, took_ms REAL NOT NULL, records INTEGER,
        requests INTEGER NOT NULL, requests_failed INTEGER NOT NULL,
        status INTEGER, state TEXT NOT NULL, note TEXT, error_lines INTEGER NOT NULL, memory_peak INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS calls_by_function ON calls (function, seq);
    CREATE TABLE IF NOT EXISTS minutes (
        function TEXT NOT NULL, minute INTEGER NOT NULL,
        ok INTEGER NOT NULL, failed INTEGER NOT NULL, suspicious INTEGER NOT NULL,
        took_ms_sum REAL NOT NULL, took_ms_max REAL NOT NULL,
        PRIMARY KEY (function, minute)
    ) STRICT, WITHOUT ROWID;
";

/// The reports of all functions.
pub(crate) struct Calls {
    shared: Arc<Shared>,
    reader: Mutex<Connection>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<Gathered>,
    wake: Condvar,
}

#[derive(Default)]
struct Gathered {
    next: i64,
    pending: VecDeque<(i64, Arc<CallReport>)>,
    dropped: u64,
    minutes: HashMap<String, BTreeMap<i64, Minute>>,
    /// Functions that the writer still has to forget: it may just be writing reports of theirs.
    removed: Vec<String>,
    closing: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    ok: u64,
    failed: u64,
    suspicious: u64,
    took_ms_sum: f64,
    took_ms_max: f64,
}

impl Minute {
    fn add(&mut self, report: &CallReport) {
        match report.state {
            State::Ok => self.ok += 1,
            State::Failed => self.failed += 1,
            State::Suspicious => self.suspicious += 1,
        }
        self.took_ms_sum += report.took_ms;
        self.took_ms_max = self.took_ms_max.max(report.took_ms);
    }
}

impl Calls {
    pub(crate) fn open(path: &Path, kept: usize, now: Time) -> Result<Calls, FunctionsError> {
        let connection = connect(path)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > FORMAT {
            return Err(FunctionsError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        let oldest = minute_of(now) - MINUTES_KEPT * MINUTE_NANOS;
        connection.execute("DELETE FROM minutes WHERE minute < ?1", [oldest])?;
        let next: i64 = connection.query_row("SELECT COALESCE(MAX(seq), 0) + 1 FROM calls", [], |row| row.get(0))?;
        let minutes = read_minutes(&connection)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(Gathered { next, minutes, ..Gathered::default() }),
            wake: Condvar::new(),
        });
        let reader = connect(path)?;
        let writer = std::thread::Builder::new().name("functions-calls".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.write(connection, kept)
        });
        let writer = writer.map_err(|source| FunctionsError::Io { path: path.to_owned(), source })?;
        Ok(Calls { shared, reader: Mutex::new(reader), writer: Mutex::new(Some(writer)) })
    }

    /// Takes a report. Never waits for the disk.
    pub(crate) fn add(&self, report: CallReport) {
        let mut state = self.shared.lock();
        let ended = report.began.saturating_add_nanos((report.took_ms * 1e6) as i64);
        let minute = minute_of(ended);
        if !state.minutes.contains_key(&report.function) {
            state.minutes.insert(report.function.clone(), BTreeMap::new());
        }
        let minutes = state.minutes.get_mut(&report.function).expect("it was just made sure of");
        minutes.entry(minute).or_default().add(&report);
        while minutes.len() as i64 > MINUTES_KEPT {
            minutes.pop_first();
        }
        let seq = state.next;
        state.next += 1;
        if state.pending.len() >= REPORTS_PENDING_MAX {
            state.pending.pop_front();
            state.dropped += 1;
        }
        state.pending.push_back((seq, Arc::new(report)));
        let first = state.pending.len() == 1;
        drop(state);
        if first {
            self.shared.wake.notify_one();
        }
    }

    /// The newest calls of a function, newest first.
    pub(crate) fn of(&self, function: &str, limit: usize) -> Result<Vec<CallReport>, FunctionsError> {
        // Memory first: what is written meanwhile is then found twice, and never not at all.
        let mut found: BTreeMap<i64, CallReport> = {
            let state = self.shared.lock();
            let of_it = state.pending.iter().rev().filter(|(_, report)| report.function == function);
            of_it.take(limit).map(|(seq, report)| (*seq, CallReport::clone(report))).collect()
        };
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = reader.prepare_cached(
            "SELECT seq, function, call_id, version, called_by, began, took_ms, records, requests, requests_failed,
                    status, state, note, error_lines, memory_peak
             FROM calls WHERE function = ?1 ORDER BY seq DESC LIMIT ?2",
        )?;
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        for row in statement.query_map(params![function, limit_rows], read_report)? {
            let (seq, report) = row?;
            found.insert(seq, report);
        }
        Ok(found.into_values().rev().take(limit).collect())
    }

    /// All minutes of all functions from `from` on, oldest first.
    pub(crate) fn counts(&self, from: Time) -> Vec<FunctionCounts> {
        let state = self.shared.lock();
        let mut counts: Vec<FunctionCounts> = Vec::new();
        for (function, minutes) in &state.minutes {
            counts.extend(minutes.range(minute_of(from)..).map(|(&minute, sums)| FunctionCounts {
                function: function.clone(),
                minute: Time::from_nanos(minute),
                calls: sums.ok + sums.failed + sums.suspicious,
                ok: sums.ok,
                failed: sums.failed,
                suspicious: sums.suspicious,
                took_ms_sum: sums.took_ms_sum,
                took_ms_max: sums.took_ms_max,
            }));
        }
        counts.sort_by(|a, b| (a.minute, &a.function).cmp(&(b.minute, &b.function)));
        counts
    }

    /// Forgets a function.
    pub(crate) fn remove(&self, function: &str) -> Result<(), FunctionsError> {
        {
            let mut state = self.shared.lock();
            state.pending.retain(|(_, report)| report.function != function);
            state.minutes.remove(function);
            state.removed.push(function.to_owned());
        }
        self.shared.wake.notify_one();
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(forget(&reader, function)?)
    }

    /// Writes what waits and ends the thread.
    pub(crate) fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing thread.
    fn write(&self, mut connection: Connection, kept: usize) {
        let mut unpruned: HashMap<String, usize> = HashMap::new();
        let mut failing = false;
        loop {
            let mut state = self.lock();
            while state.pending.is_empty() && state.removed.is_empty() && !state.closing {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if !state.closing {
                let wait = if failing { TRY_AGAIN } else { GATHER };
                state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            let batch: Vec<(i64, Arc<CallReport>)> = state.pending.iter().cloned().collect();
            let (closing, dropped) = (state.closing, std::mem::take(&mut state.dropped));
            let removed = std::mem::take(&mut state.removed);
            drop(state);
            // What was written of them before is gone; nothing of theirs is in the batch.
            for function in removed {
                if let Err(error) = forget(&connection, &function) {
                    tracing::error!(%error, function, "the calls of a removed function stay");
                }
            }
            if dropped > 0 {
                tracing::warn!(dropped, "reports of calls were dropped: the disk is too slow");
            }
            let Some((last, _)) = batch.last() else {
                if closing {
                    return;
                }
                continue;
            };
            match write_batch(&mut connection, &batch, kept, &mut unpruned) {
                Ok(()) => {
                    failing = false;
                    let mut state = self.lock();
                    while state.pending.front().is_some_and(|(seq, _)| seq <= last) {
                        state.pending.pop_front();
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "reports of calls cannot be written; they are kept in memory");
                    }
                    if closing {
                        return;
                    }
                }
            }
        }
    }
}

fn connect(path: &Path) -> Result<Connection, FunctionsError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn forget(connection: &Connection, function: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM calls WHERE function = ?1", [function])?;
    connection.execute("DELETE FROM minutes WHERE function = ?1", [function])?;
    Ok(())
}

fn write_batch(
    connection: &mut Connection,
    batch: &[(i64, Arc<CallReport>)],
    kept: usize,
    unpruned: &mut HashMap<String, usize>,
) -> rusqlite::Result<()> {
    let mut minutes: HashMap<(&str, i64), Minute> = HashMap::new();
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT OR IGNORE INTO calls (seq, function, call_id, version, called_by, began, took_ms, records, requests,
                                requests_failed, status, state, note, error_lines, memory_peak)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?;
        for (seq, report) in batch {
            insert.execute(params![
                seq,
                report.function,
                report.call_id,
                report.version,
                report.by,
                report.began.nanos(),
                report.took_ms,
                report.records.map(|records| records as i64),
                report.requests as i64,
                report.requests_failed as i64,
                report.status,
                report.state.as_str(),
                report.note,
                report.error_lines as i64,
                report.memory_peak_bytes as i64,
            ])?;
            let ended = report.began.saturating_add_nanos((report.took_ms * 1e6) as i64);
            minutes.entry((&report.function, minute_of(ended))).or_default().add(report);
        }
        let mut count = transaction.prepare_cached(
            "INSERT INTO minutes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET ok = ok + ?3, failed = failed + ?4, suspicious = suspicious + ?5,
                 took_ms_sum = took_ms_sum + ?6, took_ms_max = MAX(took_ms_max, ?7)",
        )?;
        for ((function, minute), sums) in &minutes {
            count.execute(params![
                function,
                minute,
                sums.ok as i64,
                sums.failed as i64,
                sums.suspicious as i64,
                sums.took_ms_sum,
                sums.took_ms_max
            ])?;
        }
        // Not at every batch: a tenth more than asked for may lie there for a while.
        let mut prune = transaction.prepare_cached(
            "DELETE FROM calls WHERE function = ?1 AND seq <=
                 (SELECT seq FROM calls WHERE function = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?;
        for (_, report) in batch {
            let written = unpruned.entry(report.function.clone()).or_insert(kept);
            *written += 1;
            if *written > kept / 10 {
                *written = 0;
                prune.execute(params![report.function, kept as i64])?;
            }
        }
    }
    transaction.commit()
}

fn minute_of(time: Time) -> i64 {
    time.nanos().div_euclid(MINUTE_NANOS).saturating_mul(MINUTE_NANOS)
}

fn read_report(row: &Row<'_>) -> rusqlite::Result<(i64, CallReport)> {
    let report = CallReport {
        function: row.get(1)?,
        call_id: row.get(2)?,
        version: row.get(3)?,
        by: row.get(4)?,
        began: Time::from_nanos(row.get(5)?),
        took_ms: row.get(6)?,
        records: row.get::<_, Option<i64>>(7)?.map(|records| records as u64),
        requests: row.get::<_, i64>(8)? as u64,
        requests_failed: row.get::<_, i64>(9)? as u64,
        status: row.get(10)?,
        state: State::from_stored(&row.get::<_, String>(11)?),
        note: row.get(12)?,
        error_lines: row.get::<_, i64>(13)? as u64,
        memory_peak_bytes: row.get::<_, i64>(14)? as u64,
    };
    Ok((row.get(0)?, report))
}

fn read_minutes(connection: &Connection) -> rusqlite::Result<HashMap<String, BTreeMap<i64, Minute>>> {
    let mut minutes: HashMap<String, BTreeMap<i64, Minute>> = HashMap::new();
    let mut statement = connection.prepare("SELECT * FROM minutes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sums = Minute {
            ok: row.get::<_, i64>(2)? as u64,
            failed: row.get::<_, i64>(3)? as u64,
            suspicious: row.get::<_, i64>(4)? as u64,
            took_ms_sum: row.get(5)?,
            took_ms_max: row.get(6)?,
        };
        minutes.entry(row.get(0)?).or_default().insert(row.get(1)?, sums);
    }
    Ok(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(function: &str, n: u64, state: State) -> CallReport {
        CallReport {
            call_id: format!("c{n}"),
            function: function.to_owned(),
            version: "v1".to_owned(),
            by: "invoke".to_owned(),
            began: Time::from_nanos(n as i64 * 1_000_000_000),
            took_ms: 2.0,
            records: Some(n),
            requests: 1,
            requests_failed: 0,
            status: Some(200),
            state,
            note: None,
            error_lines: 0,
            memory_peak_bytes: 22 << 20,
        }
    }

    fn ids(calls: &Calls, function: &str, limit: usize) -> Vec<String> {
        calls.of(function, limit).unwrap().into_iter().map(|report| report.call_id).collect()
    }

    #[test]
    fn reports_are_read_whether_written_or_not_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls.db");
        let calls = Calls::open(&path, 100, Time::from_nanos(0)).unwrap();
        for n in 0..5 {
            calls.add(report("f", n, State::Ok));
        }
        calls.add(report("g", 9, State::Suspicious));
        assert_eq!(ids(&calls, "f", 3), ["c4", "c3", "c2"]);
        drop(calls);
        let calls = Calls::open(&path, 100, Time::from_nanos(0)).unwrap();
        calls.add(report("f", 5, State::Failed));
        assert_eq!(ids(&calls, "f", 9), ["c5", "c4", "c3", "c2", "c1", "c0"]);
        assert_eq!(calls.of("g", 1).unwrap(), [report("g", 9, State::Suspicious)]);
        calls.remove("f").unwrap();
        assert_eq!((ids(&calls, "f", 9).len(), ids(&calls, "g", 9).len()), (0, 1));
    }

    #[test]
    fn the_newest_of_each_function_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls.db");
        let calls = Calls::open(&path, 20, Time::from_nanos(0)).unwrap();
        calls.add(report("quiet", 0, State::Ok));
        for n in 0..200 {
            calls.add(report("busy", n, State::Ok));
        }
        calls.close();
        let kept = ids(&calls, "busy", 1_000);
        assert!((20..=22).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept[0], "c199");
        assert_eq!(ids(&calls, "quiet", 9), ["c0"]);
    }

    #[test]
    fn minutes_are_counted_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls.db");
        let calls = Calls::open(&path, 20, Time::from_nanos(0)).unwrap();
        for n in [1, 2, 59, 61] {
            calls.add(report("f", n, if n == 2 { State::Failed } else { State::Ok }));
        }
        let seen = calls.counts(Time::from_nanos(0));
        drop(calls);
        let calls = Calls::open(&path, 20, Time::from_nanos(0)).unwrap();
        assert_eq!(calls.counts(Time::from_nanos(0)), seen);
        let numbers: Vec<_> = seen
            .iter()
            .map(|counts| (counts.minute.secs(), counts.calls, counts.ok, counts.failed, counts.took_ms_sum))
            .collect();
        assert_eq!(numbers, [(0, 3, 2, 1, 6.0), (60, 1, 1, 0, 2.0)]);
        assert_eq!(calls.counts(Time::from_nanos(60_000_000_000)).len(), 1);
    }
}
