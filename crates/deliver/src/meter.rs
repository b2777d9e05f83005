//! What connectors did, per minute, under the names of OCI's metric namespace `oci_service_connector_hub` (contracts/oci.md
//! §2.6).
//!
//! In memory are only the sums since the last flush; `ledger` has the rest, one row per connector and minute, for
//! [`KEEP`]. So a busy connector costs memory for minutes, not for a day, and a batch costs no write: a crash loses what
//! was counted in the last [`FLUSH_EVERY`].
//!
//! What the names mean here:
//!
//! - *source* is what the connector's scopes (kinds and log types) take of the log, *task* its filter: written to it is
//!   what was read, read from it is what passed. Without a filter there is no task.
//! - latencies are milliseconds of one reading, one filtering, one attempt; `DataFreshness` is the age of a batch's oldest
//!   record when it is delivered.
//! - `ServiceConnectorHubErrors` counts every error, those of our own included; the others count where they happened.
//!
//! Points are count, sum, least and most, from which every statistic but percentiles follows. Absent: percentiles, and
//! zeros for minutes without work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::Time;
use serde::{Deserialize, Serialize};

use crate::DeliverError;
use crate::config::ConnectorId;
use crate::ledger::{self, Ledger};

/// How long points are kept.
pub const KEEP: Duration = Duration::from_secs(24 * 3_600);
/// How often what was counted is written down.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_secs(5);

const MINUTE_NANOS: i64 = 60_000_000_000;
/// Minutes of points that are kept.
pub(crate) const KEEP_MINUTES: i64 = (KEEP.as_secs() / 60) as i64;

macro_rules! names {
    ($($name:ident: $doc:literal,)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $(#[doc = $doc] $name,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Metric] = &[$(Metric::$name,)*];

            /// As OCI spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Metric::$name => stringify!($name),)*
                }
            }
        }
    };
}

names! {
    BytesReadFromSource: "Bytes of the records that were read.",
    MessagesReadFromSource: "Records that were read.",
    BytesReadFromTask: "Bytes of the records that the filter let through.",
    MessagesReadFromTask: "Records that the filter let through.",
    BytesWrittenToTarget: "Bytes of bodies that the target took.",
    MessagesWrittenToTarget: "Records that the target took.",
    BytesWrittenToTask: "Bytes of the records that the filter was given.",
    MessagesWrittenToTask: "Records that the filter was given.",
    ErrorsAtSource: "What went wrong with reading the log.",
    ErrorsAtTarget: "Attempts that failed.",
    ErrorsAtTask: "What went wrong with filtering; ours never fails.",
    LatencyAtSource: "Milliseconds of reading for one batch.",
    LatencyAtTarget: "Milliseconds of one attempt.",
    LatencyAtTask: "Milliseconds of filtering for one batch.",
    DataFreshness: "Age in milliseconds of a batch's oldest record when it was delivered.",
    ServiceConnectorHubErrors: "Everything that went wrong.",
}

impl Metric {
    /// The metric that OCI calls so.
    pub fn of(name: &str) -> Option<Metric> {
        Metric::ALL.iter().copied().find(|metric| metric.name() == name)
    }
}

/// What went wrong, as OCI's dimensions say it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fault {
    /// A status; -1 where nobody answered.
    pub code: i32,
    /// A word for it, as OCI's API errors have them.
    pub kind: &'static str,
}

impl Fault {
    /// Nobody answered.
    pub(crate) const NETWORK: Fault = Fault { code: -1, kind: "NetworkError" };
    /// Ours.
    pub(crate) const OURS: Fault = Fault { code: 500, kind: "InternalServerError" };
    /// Records came from too many calls.
    pub(crate) const LOOP: Fault = Fault { code: 409, kind: "LoopDetected" };
    /// There is no such function.
    pub(crate) const UNKNOWN: Fault = Fault { code: 404, kind: "NotAuthorizedOrNotFound" };

    /// What a status means.
    pub(crate) fn of_status(status: u16) -> Fault {
        let kind = match status {
            401 => "NotAuthenticated",
            403 | 404 => "NotAuthorizedOrNotFound",
            409 => "Conflict",
            413 => "PayloadTooLarge",
            429 => "TooManyRequests",
            400..=499 => "InvalidParameter",
            502 => "FunctionInvokeExecutionFailed",
            503 => "ServiceUnavailable",
            504 => "FunctionInvokeExecutionTimeout",
            500..=599 => "InternalServerError",
            _ => "UnexpectedAnswer",
        };
        Fault { code: i32::from(status), kind }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsQuery {
    /// Which metrics. Empty: all.
    pub metrics: Vec<Metric>,
    /// Of which connector. `None`: of all of the instance.
    pub connector: Option<ConnectorId>,
    /// First moment.
    pub from: Time,
    /// First moment after.
    pub to: Time,
    /// How long the time is that one point stands for: whole minutes, counted from the epoch; at least one.
    pub interval: Duration,
}

/// The points of one metric of one connector.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric.
    pub metric: Metric,
    /// The connector.
    pub connector: ConnectorId,
    /// `errorCode` and `errorType`, where it counts errors.
    pub dimensions: BTreeMap<String, String>,
    /// In order of time, only those that something was counted for.
    pub points: Vec<Point>,
}

/// What was observed in one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When the interval begins.
    pub at: Time,
    /// How many observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Count, sum, least, most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell(u64, f64, f64, f64);

impl Cell {
    fn one(value: f64) -> Cell {
        Cell(1, value, value, value)
    }

    fn merge(&mut self, other: Cell) {
        self.0 += other.0;
        self.1 += other.1;
        self.2 = self.2.min(other.2);
        self.3 = self.3.max(other.3);
    }
}

/// What is counted by itself: a metric, and for errors their code and kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    metric: Metric,
    error: Option<(i32, String)>,
}

/// In rows: `Name`, or `Name code kind`.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.metric.name())?;
        match &self.error {
            Some((code, kind)) => write!(f, " {code} {kind}"),
            None => Ok(()),
        }
    }
}

impl Key {
    fn of(text: &str) -> Option<Key> {
        let mut words = text.splitn(3, ' ');
        let metric = Metric::of(words.next()?)?;
        let error = match (words.next(), words.next()) {
            (Some(code), Some(kind)) => Some((code.parse().ok()?, kind.to_owned())),
            _ => None,
        };
        Some(Key { metric, error })
    }
}

/// What was observed in one minute.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Minute(BTreeMap<Key, Cell>);

impl Minute {
    fn add(&mut self, key: Key, cell: Cell) {
        self.0.entry(key).and_modify(|known| known.merge(cell)).or_insert(cell);
    }

    /// Adds what another one holds.
    pub(crate) fn merge(&mut self, other: Minute) {
        for (key, cell) in other.0 {
            self.add(key, cell);
        }
    }

    /// As it stands in its row.
    pub(crate) fn to_text(&self) -> String {
        let cells: BTreeMap<String, Cell> = self.0.iter().map(|(key, cell)| (key.to_string(), *cell)).collect();
        serde_json::to_string(&cells).expect("names and numbers always have a JSON form")
    }

    /// Of a row. What a newer Penstock has counted under names that are not known here is left out.
    pub(crate) fn from_text(text: &str) -> Minute {
        let cells: BTreeMap<String, Cell> = serde_json::from_str(text).unwrap_or_default();
        Minute(cells.into_iter().filter_map(|(key, cell)| Some((Key::of(&key)?, cell))).collect())
    }
}

/// What one connector has counted since the last flush, by minute since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Gauge(Mutex<BTreeMap<i64, Minute>>);

impl Gauge {
    pub(crate) fn observe(&self, now: Time, values: &[(Metric, f64)]) {
        let mut minutes = self.lock();
        let minute = minutes.entry(minute(now)).or_default();
        for (metric, value) in values {
            minute.add(Key { metric: *metric, error: None }, Cell::one(*value));
        }
    }

    /// Counts an error where it happened, and with all others.
    pub(crate) fn fault(&self, now: Time, at: Option<Metric>, fault: &Fault) {
        let mut minutes = self.lock();
        let minute = minutes.entry(minute(now)).or_default();
        for metric in at.into_iter().chain([Metric::ServiceConnectorHubErrors]) {
            let error = Some((fault.code, fault.kind.to_owned()));
            minute.add(Key { metric, error }, Cell::one(1.0));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Minute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn merge(&self, minutes: BTreeMap<i64, Minute>) {
        let mut known = self.lock();
        for (minute, more) in minutes {
            known.entry(minute).or_default().merge(more);
        }
        // A disk that refuses for a day costs the oldest, not the memory.
        while known.len() > KEEP_MINUTES as usize {
            known.pop_first();
        }
    }
}

/// The gauges of all connectors.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    gauges: Mutex<BTreeMap<ConnectorId, Arc<Gauge>>>,
    /// Held while sums move from memory into the ledger, so that nobody sees them twice or not at all.
    moving: Mutex<()>,
}

impl Meter {
    pub(crate) fn gauge(&self, id: &ConnectorId) -> Arc<Gauge> {
        self.lock().entry(id.clone()).or_default().clone()
    }

    /// Writes down what was counted. Blocks.
    pub(crate) fn flush(&self, ledger: &Ledger) -> Result<(), DeliverError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for (id, gauge) in self.all() {
            let minutes = std::mem::take(&mut *gauge.lock());
            if !minutes.is_empty() {
                taken.push((id, minutes));
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let rows = taken.iter().flat_map(|(id, minutes)| {
            minutes.iter().map(|(minute, observed)| (id.to_string(), *minute, observed.clone()))
        });
        let written = ledger.write_now(ledger::add_minutes(rows.collect()));
        if written.is_err() {
            for (id, minutes) in taken {
                self.gauge(&id).merge(minutes);
            }
        }
        written
    }

    /// Forgets a connector's sums, those in the ledger excepted. Blocks for a flush under way.
    pub(crate) fn forget(&self, id: &ConnectorId) {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock().remove(id);
    }

    /// What was observed. Blocks.
    pub(crate) fn series(
        &self,
        ledger: &Ledger,
        instance: event::InstanceId,
        query: &MetricsQuery,
    ) -> Result<Vec<Series>, DeliverError> {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let minutes = minute(query.from)..minute(query.to.saturating_add_nanos(MINUTE_NANOS - 1));
        let rows = ledger.minutes(instance, query.connector.as_ref(), minutes.clone())?;
        let wanted = |id: &ConnectorId| {
            id.instance == instance && query.connector.as_ref().is_none_or(|connector| connector == id)
        };
        let fresh = self.all().into_iter().filter(|(id, _)| wanted(id)).flat_map(|(id, gauge)| {
            let minutes =
                gauge.lock().range(minutes.clone()).map(|(at, minute)| (*at, minute.clone())).collect::<Vec<_>>();
            minutes.into_iter().map(move |(at, minute)| (id.clone(), at, minute))
        });
        Ok(series(rows.into_iter().chain(fresh), query))
    }

    fn all(&self) -> Vec<(ConnectorId, Arc<Gauge>)> {
        self.lock().iter().map(|(id, gauge)| (id.clone(), gauge.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectorId, Arc<Gauge>>> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute(at: Time) -> i64 {
    at.nanos().div_euclid(MINUTE_NANOS)
}

/// Minutes of connectors to series. Pure.
fn series(minutes: impl Iterator<Item = (ConnectorId, i64, Minute)>, query: &MetricsQuery) -> Vec<Series> {
    let interval = i64::try_from(query.interval.as_secs() / 60).unwrap_or(i64::MAX).max(1);
    let mut cells: BTreeMap<(ConnectorId, Key), BTreeMap<i64, Cell>> = BTreeMap::new();
    for (connector, at, minute) in minutes {
        let begin = at.div_euclid(interval) * interval;
        for (key, cell) in minute.0 {
            if !query.metrics.is_empty() && !query.metrics.contains(&key.metric) {
                continue;
            }
            let points = cells.entry((connector.clone(), key)).or_default();
            points.entry(begin).and_modify(|known| known.merge(cell)).or_insert(cell);
        }
    }
    let point = |(at, Cell(count, sum, min, max)): (i64, Cell)| Point {
        at: Time::from_nanos(at.saturating_mul(MINUTE_NANOS)),
        count,
        sum,
        min,
        max,
    };
    let dimensions = |error: Option<(i32, String)>| match error {
        Some((code, kind)) => {
            BTreeMap::from([("errorCode".to_owned(), code.to_string()), ("errorType".to_owned(), kind)])
        }
        None => BTreeMap::new(),
    };
    let series = cells.into_iter().map(|((connector, key), points)| Series {
        metric: key.metric,
        connector,
        dimensions: dimensions(key.error),
        points: points.into_iter().map(point).collect(),
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c";

    fn at(seconds: i64) -> Time {
        Time::from_secs(seconds).unwrap()
    }

    #[test]
    fn a_minute_survives_its_row() {
        let gauge = Gauge::default();
        gauge.observe(at(7), &[(Metric::MessagesReadFromSource, 3.0), (Metric::LatencyAtTarget, 0.25)]);
        gauge.observe(at(8), &[(Metric::MessagesReadFromSource, 5.0)]);
        gauge.fault(at(9), Some(Metric::ErrorsAtTarget), &Fault::of_status(502));
        let minute = gauge.lock().remove(&0).unwrap();
        let text = minute.to_text();
        assert_eq!(
            text,
            "{\"ErrorsAtTarget 502 FunctionInvokeExecutionFailed\":[1,1.0,1.0,1.0],\
             \"LatencyAtTarget\":[1,0.25,0.25,0.25],\"MessagesReadFromSource\":[2,8.0,3.0,5.0],\
             \"ServiceConnectorHubErrors 502 FunctionInvokeExecutionFailed\":[1,1.0,1.0,1.0]}"
        );
        assert_eq!(Minute::from_text(&text), minute);
        assert_eq!(Minute::from_text("{\"OfTomorrow\":[1,1.0,1.0,1.0]}"), Minute::default());
        assert_eq!(Minute::from_text("no JSON"), Minute::default());
    }

    #[test]
    fn minutes_become_points_of_intervals() {
        let id = ConnectorId { instance: INSTANCE.parse().unwrap(), name: "c".to_owned() };
        let gauge = Gauge::default();
        // The third and fourth of these are in the second interval of two minutes.
        for (second, value) in [(0, 1.0), (59, 2.0), (150, 4.0), (239, 8.0), (240, 16.0)] {
            gauge.observe(at(second), &[(Metric::BytesWrittenToTarget, value), (Metric::DataFreshness, 7.0)]);
        }
        gauge.fault(at(0), Some(Metric::ErrorsAtTarget), &Fault::NETWORK);
        let minutes = std::mem::take(&mut *gauge.lock()).into_iter().map(|(at, minute)| (id.clone(), at, minute));
        let query = MetricsQuery {
            metrics: vec![Metric::BytesWrittenToTarget, Metric::ErrorsAtTarget],
            connector: None,
            from: at(0),
            to: at(1_000),
            interval: Duration::from_secs(120),
        };
        let series = series(minutes, &query);
        let point = |second, count, sum, min, max| Point { at: at(second), count, sum, min, max };
        let expected = [point(0, 2, 3.0, 1.0, 2.0), point(120, 2, 12.0, 4.0, 8.0), point(240, 1, 16.0, 16.0, 16.0)];
        assert_eq!(
            (series.len(), series[0].metric, &series[0].points[..]),
            (2, Metric::BytesWrittenToTarget, &expected[..])
        );
        assert_eq!((&*series[1].dimensions["errorCode"], &*series[1].dimensions["errorType"]), ("-1", "NetworkError"));
        assert_eq!(series[1].points, [point(0, 1, 1.0, 1.0, 1.0)]);
    }
}
