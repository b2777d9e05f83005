//! What the catalogue keeps of parsing: the newest failures of each log type, and how many logs each parser read. Written
//! in the transaction of the flush that stores the records themselves, so that both are of the same records.

use std::collections::BTreeMap;

use event::{Failure, InstanceId, RecordId, Tally, TallyKey, Time, Why, limits};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, Transaction, params};

use crate::catalogue::{id_blob, instance_blob, read, read_id, read_instance, read_time};
use crate::tail::Failures;
use crate::{Store, StoreError};

/// A raw record that gave no events, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRecord {
    /// The record.
    pub id: RecordId,
    /// The tenant.
    pub instance: InstanceId,
    /// Its log type.
    pub log_type: String,
    /// When it was received.
    pub received_at: Time,
    /// The parser that read it.
    pub parser: String,
    /// What kind of end it was.
    pub why: Why,
    /// What went wrong.
    pub message: String,
    /// The field that it is about, or empty.
    pub field: String,
    /// Line and column of the failing statement in the parser, from 1; 0 where it was no statement.
    pub line: u32,
    /// See `line`.
    pub column: u32,
}

impl FailedRecord {
    fn of(failure: &Failure) -> FailedRecord {
        FailedRecord {
            id: failure.id(),
            instance: failure.batch.instance,
            log_type: failure.batch.log_type.clone(),
            received_at: failure.batch.received_at,
            parser: failure.parser.to_string(),
            why: failure.why,
            message: failure.message.clone(),
            field: failure.field.clone(),
            line: failure.line,
            column: failure.column,
        }
    }
}

impl Store {
    /// The newest raw records that gave no events, newest first: of one instance or all, of one log type or all. Of each log
    /// type the newest [`limits::FAILURES_KEPT`] are known.
    pub fn failures(
        &self,
        instance: Option<InstanceId>,
        log_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FailedRecord>, StoreError> {
        // The tail first: a flush in between then shows a record twice, never not at all.
        let wanted = |of: &InstanceId, of_type: &str| {
            instance.is_none_or(|instance| instance == *of) && log_type.is_none_or(|log_type| log_type == of_type)
        };
        let mut found = Vec::new();
        self.each_tail(|tail| {
            let of_types = tail.failures().iter().filter(|((instance, of_type), _)| wanted(instance, of_type));
            found.extend(of_types.flat_map(|(_, failures)| failures).map(FailedRecord::of));
        });
        found.extend(list(self.catalogue().connection(), instance, log_type, limit)?);
        found.sort_by_key(|failed| std::cmp::Reverse(failed.id));
        found.dedup_by_key(|failed| failed.id);
        found.truncate(limit);
        Ok(found)
    }

    /// How many raw records each parser read as they came in, the tail included. What was read again later does not count.
    pub fn tallies(&self) -> BTreeMap<TallyKey, Tally> {
        let mut all = BTreeMap::new();
        self.each_tally(|key, tally| all.entry(key.clone()).or_insert_with(Tally::default).add(*tally));
        all
    }
}

/// Adds a flush's failures and lets the oldest go.
pub(crate) fn insert(transaction: &Transaction<'_>, failures: &Failures) -> Result<(), StoreError> {
    for ((instance, log_type), failures) in failures {
        let mut statement = transaction
            .prepare_cached("INSERT OR REPLACE INTO failures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        for failure in failures {
            statement.execute(params![
                instance_blob(*instance),
                log_type,
                id_blob(failure.id()),
                failure.batch.received_at.nanos(),
                &*failure.parser,
                failure.why.name(),
                failure.message,
                failure.field,
                failure.line,
                failure.column,
            ])?;
        }
        transaction
            .prepare_cached(
                "DELETE FROM failures WHERE instance = ?1 AND log_type = ?2 AND record_id <= (
                     SELECT record_id FROM failures WHERE instance = ?1 AND log_type = ?2
                     ORDER BY record_id DESC LIMIT 1 OFFSET ?3)",
            )?
            .execute(params![instance_blob(*instance), log_type, limits::FAILURES_KEPT as i64])?;
    }
    Ok(())
}

/// Takes the failures of a log type away that were received in this range (`to` excluded): its logs have been read again.
pub(crate) fn remove(
    transaction: &Transaction<'_>,
    instance: InstanceId,
    log_type: &str,
    (from, to): (Time, Time),
) -> Result<(), StoreError> {
    transaction.execute(
        "DELETE FROM failures WHERE instance = ?1 AND log_type = ?2 AND received_at >= ?3 AND received_at < ?4",
        params![instance_blob(instance), log_type, from.nanos(), to.nanos()],
    )?;
    Ok(())
}

/// Adds a flush's numbers.
pub(crate) fn count(transaction: &Transaction<'_>, tallies: &BTreeMap<TallyKey, Tally>) -> Result<(), StoreError> {
    for (key, tally) in tallies {
        transaction
            .prepare_cached(
                "INSERT INTO parsed VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
                 parsed = parsed + ?4, dropped = dropped + ?5, failed = failed + ?6, events = events + ?7",
            )?
            .execute(params![
                instance_blob(key.instance),
                key.log_type,
                &*key.parser,
                tally.parsed as i64,
                tally.dropped as i64,
                tally.failed as i64,
                tally.events as i64,
            ])?;
    }
    Ok(())
}

fn list(
    db: &Connection,
    instance: Option<InstanceId>,
    log_type: Option<&str>,
    limit: usize,
) -> Result<Vec<FailedRecord>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM failures WHERE (?1 IS NULL OR instance = ?1) AND (?2 IS NULL OR log_type = ?2)
         ORDER BY record_id DESC LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![instance.map(instance_blob), log_type, limit], read_failed)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_failed(row: &Row<'_>) -> rusqlite::Result<FailedRecord> {
    Ok(FailedRecord {
        id: read_id(row, "record_id")?,
        instance: read_instance(row, "instance")?,
        log_type: row.get("log_type")?,
        received_at: read_time(row, "received_at")?,
        parser: row.get("parser")?,
        why: read(row, "why", |value| {
            let name = value.as_str()?;
            Why::ALL.into_iter().find(|why| why.name() == name).ok_or(FromSqlError::InvalidType)
        })?,
        message: row.get("message")?,
        field: row.get("field")?,
        line: row.get("line")?,
        column: row.get("col")?,
    })
}

/// How many raw records each parser read, as of the last flush.
pub(crate) fn tallies(db: &Connection) -> Result<BTreeMap<TallyKey, Tally>, StoreError> {
    let mut statement = db.prepare_cached("SELECT * FROM parsed")?;
    let rows = statement.query_map([], |row| {
        let number = |name| row.get::<_, i64>(name).map(|number| number as u64);
        let key = TallyKey {
            instance: read_instance(row, "instance")?,
            log_type: row.get("log_type")?,
            parser: row.get::<_, String>("parser")?.into(),
        };
        let tally = Tally {
            parsed: number("parsed")?,
            dropped: number("dropped")?,
            failed: number("failed")?,
            events: number("events")?,
        };
        Ok((key, tally))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
