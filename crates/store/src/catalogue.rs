//! The catalogue: a SQLite file that says which parts there are, how far the log was read, and how many records that
//! were. Its transaction is the one moment at which a flush or a merge happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use event::{BatchId, BatchMeta, Event, InstanceId, Issue, Kind, Label, Position, RecordId, Tally, TallyKey, Time};
use rusqlite::types::{FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::failures;
use crate::layout::Table;
use crate::tail::{InstanceCounts, Tail};
use crate::{PartSummary, SetAside, StoreError};

const FORMAT: i64 = 2;
/// "PnSt", which `file` and SQLite's own tools show.
const APPLICATION_ID: i64 = 0x506E_5374;

const TABLES: &str = "
CREATE TABLE parts (
    seq INTEGER PRIMARY KEY,
    tbl TEXT NOT NULL, day INTEGER NOT NULL,
    rows INTEGER NOT NULL, data_bytes INTEGER NOT NULL, file_bytes INTEGER NOT NULL, filter_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    event_time_min INTEGER NOT NULL, event_time_max INTEGER NOT NULL,
    received_at_min INTEGER NOT NULL, received_at_max INTEGER NOT NULL,
    record_id_min BLOB NOT NULL, record_id_max BLOB NOT NULL,
    epoch_min INTEGER NOT NULL, offset_min INTEGER NOT NULL, epoch_max INTEGER NOT NULL, offset_max INTEGER NOT NULL,
    instance_min BLOB NOT NULL, instance_max BLOB NOT NULL, instances BLOB,
    log_types TEXT NOT NULL
) STRICT;
CREATE TABLE cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, offset INTEGER NOT NULL
) STRICT;
CREATE TABLE counters (
    instance BLOB PRIMARY KEY, records INTEGER NOT NULL, set_aside INTEGER NOT NULL, events INTEGER NOT NULL
) STRICT;
CREATE TABLE set_aside (
    record_id BLOB PRIMARY KEY, instance BLOB NOT NULL, reason TEXT NOT NULL,
    batch_kind TEXT NOT NULL, kind TEXT NOT NULL,
    received_at INTEGER NOT NULL, sender_time INTEGER, collected_at INTEGER, event_time INTEGER NOT NULL,
    log_type TEXT NOT NULL, namespace TEXT NOT NULL, feed TEXT NOT NULL, sender TEXT NOT NULL,
    labels TEXT NOT NULL, issues TEXT NOT NULL, epoch INTEGER NOT NULL, offset INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX set_aside_by_instance ON set_aside (instance, record_id);
";

/// What format 2 has on top.
const TABLES_OF_PARSING: &str = "
ALTER TABLE cursor ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
CREATE TABLE failures (
    instance BLOB NOT NULL, log_type TEXT NOT NULL, record_id BLOB NOT NULL,
    received_at INTEGER NOT NULL, parser TEXT NOT NULL, why TEXT NOT NULL, message TEXT NOT NULL, field TEXT NOT NULL,
    line INTEGER NOT NULL, col INTEGER NOT NULL,
    PRIMARY KEY (instance, log_type, record_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE parsed (
    instance BLOB NOT NULL, log_type TEXT NOT NULL, parser TEXT NOT NULL,
    parsed INTEGER NOT NULL, dropped INTEGER NOT NULL, failed INTEGER NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (instance, log_type, parser)
) STRICT, WITHOUT ROWID;
";

const SET_CURSOR: &str = "
INSERT INTO cursor (one, epoch, offset, records) VALUES (1, ?1, ?2, ?3)
ON CONFLICT DO UPDATE SET epoch = ?1, offset = ?2, records = ?3";

/// The open catalogue.
pub(crate) struct Catalogue {
    db: Connection,
    /// Whether it was made just now.
    pub(crate) is_new: bool,
}

/// What the catalogue knew when it was opened.
pub(crate) struct Known {
    pub(crate) parts: Vec<PartSummary>,
    /// The position, and how many records of the frame there are stored, if not all.
    pub(crate) cursor: Option<(Position, u32)>,
    pub(crate) counts: BTreeMap<InstanceId, InstanceCounts>,
    pub(crate) tallies: BTreeMap<TallyKey, Tally>,
}

impl Catalogue {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("catalogue.sqlite")
    }

    /// Opens it, or makes it when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Catalogue, StoreError> {
        let mut db = Connection::open(path)?;
        // A rollback journal, with the folder synced after the journal is gone (EXTRA): once a transaction has
        // returned, the log may forget what it covers, so a power cut must not bring the journal back.
        db.pragma_update(None, "journal_mode", "DELETE")?;
        db.pragma_update(None, "synchronous", "EXTRA")?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        if found < FORMAT {
            let transaction = db.transaction()?;
            if found == 0 {
                transaction.execute_batch(TABLES)?;
            }
            transaction.execute_batch(TABLES_OF_PARSING)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()?;
        }
        Ok(Catalogue { db, is_new: found == 0 })
    }

    pub(crate) fn known(&self) -> Result<Known, StoreError> {
        let parts = self
            .db
            .prepare("SELECT * FROM parts ORDER BY seq")?
            .query_map([], read_summary)?
            .collect::<Result<Vec<_>, _>>()?;
        let cursor = self
            .db
            .query_row("SELECT epoch, offset, records FROM cursor", [], |row| {
                Ok((read_position(row, "epoch", "offset")?, row.get("records")?))
            })
            .optional()?;
        let counts = self
            .db
            .prepare("SELECT instance, records, set_aside, events FROM counters")?
            .query_map([], |row| {
                let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
                let counts = InstanceCounts { records: number(1)?, set_aside: number(2)?, events: number(3)? };
                Ok((read_instance(row, "instance")?, counts))
            })?
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(Known { parts, cursor, counts, tallies: failures::tallies(&self.db)? })
    }

    /// Sets the cursor alone: the log is not the one that the store has followed so far.
    pub(crate) fn set_cursor(&mut self, cursor: Position) -> Result<(), StoreError> {
        self.db.execute(SET_CURSOR, params![cursor.epoch as i64, cursor.offset as i64, 0])?;
        Ok(())
    }

    /// One flush: its parts, the cursor behind it, its counts and set-aside records, all or nothing. `in_between` runs
    /// before the commit.
    pub(crate) fn commit_flush(
        &mut self,
        parts: &[PartSummary],
        cursor: (Position, u32),
        tail: &Tail,
        in_between: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        for part in parts {
            insert_part(&transaction, part)?;
        }
        let (cursor, records) = cursor;
        transaction.execute(SET_CURSOR, params![cursor.epoch as i64, cursor.offset as i64, records])?;
        for (instance, counts) in tail.counts() {
            transaction.execute(
                "INSERT INTO counters VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
                 records = records + ?2, set_aside = set_aside + ?3, events = events + ?4",
                params![instance_blob(*instance), counts.records as i64, counts.set_aside as i64, counts.events as i64],
            )?;
        }
        for record in tail.set_aside() {
            insert_set_aside(&transaction, record)?;
        }
        failures::insert(&transaction, tail.failures())?;
        failures::count(&transaction, tail.tallies())?;
        in_between()?;
        Ok(transaction.commit()?)
    }

    /// Some parts give way to others that hold their rows (or fewer, where retention removed some), all or nothing. `also`
    /// goes into the same transaction.
    pub(crate) fn commit_replace(
        &mut self,
        removed: &[u64],
        added: &[PartSummary],
        also: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
        in_between: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        for seq in removed {
            transaction.execute("DELETE FROM parts WHERE seq = ?1", [*seq as i64])?;
        }
        for part in added {
            insert_part(&transaction, part)?;
        }
        also(&transaction)?;
        in_between()?;
        Ok(transaction.commit()?)
    }

    /// For what `failures` asks of it.
    pub(crate) fn connection(&self) -> &Connection {
        &self.db
    }

    /// The newest set-aside records of one instance, newest first.
    pub(crate) fn set_aside(&self, instance: InstanceId, limit: usize) -> Result<Vec<SetAside>, StoreError> {
        let mut statement =
            self.db.prepare_cached("SELECT * FROM set_aside WHERE instance = ?1 ORDER BY record_id DESC LIMIT ?2")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![instance_blob(instance), limit], read_set_aside)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The set-aside records with ids from `first` to `last`, ascending.
    pub(crate) fn set_aside_between(&self, first: RecordId, last: RecordId) -> Result<Vec<SetAside>, StoreError> {
        let mut statement =
            self.db.prepare_cached("SELECT * FROM set_aside WHERE record_id BETWEEN ?1 AND ?2 ORDER BY record_id")?;
        let rows = statement.query_map(params![id_blob(first), id_blob(last)], read_set_aside)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Log types and days that set-aside records have.
    pub(crate) fn set_aside_days(&self) -> Result<Vec<(String, i32)>, StoreError> {
        // Days are floored as `Time::day` floors them, also before 1970.
        let mut statement = self.db.prepare_cached(
            "SELECT DISTINCT log_type,
                    (received_at - (((received_at % ?1) + ?1) % ?1)) / ?1
             FROM set_aside",
        )?;
        let rows = statement.query_map([DAY_NANOS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Removes the set-aside records of one log type and day; says how many.
    pub(crate) fn forget_set_aside(&mut self, log_type: &str, day: i32) -> Result<usize, StoreError> {
        let first = i64::from(day).saturating_mul(DAY_NANOS);
        let last = first.saturating_add(DAY_NANOS - 1);
        Ok(self.db.execute(
            "DELETE FROM set_aside WHERE log_type = ?1 AND received_at BETWEEN ?2 AND ?3",
            params![log_type, first, last],
        )?)
    }
}

const DAY_NANOS: i64 = 86_400_000_000_000;

fn insert_part(transaction: &Transaction<'_>, part: &PartSummary) -> Result<(), StoreError> {
    let instances = part
        .instances
        .as_ref()
        .map(|instances| instances.iter().flat_map(|instance| *instance.uuid().as_bytes()).collect::<Vec<u8>>());
    let log_types = serde_json::to_string(&part.log_types).expect("a list of strings is JSON");
    transaction
        .prepare_cached(
            "INSERT INTO parts VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
        )?
        .execute(params![
            part.seq as i64,
            part.table.name(),
            part.day,
            part.rows as i64,
            part.data_bytes as i64,
            part.file_bytes as i64,
            part.filter_bytes as i64,
            part.created_at.nanos(),
            part.event_time.0.nanos(),
            part.event_time.1.nanos(),
            part.received_at.0.nanos(),
            part.received_at.1.nanos(),
            id_blob(part.record_id.0),
            id_blob(part.record_id.1),
            part.position.0.epoch as i64,
            part.position.0.offset as i64,
            part.position.1.epoch as i64,
            part.position.1.offset as i64,
            instance_blob(part.instance.0),
            instance_blob(part.instance.1),
            instances,
            log_types,
        ])?;
    Ok(())
}

fn read_summary(row: &Row<'_>) -> rusqlite::Result<PartSummary> {
    let number = |name| row.get::<_, i64>(name).map(|number| number as u64);
    let instances = row.get::<_, Option<Vec<u8>>>("instances")?.map(|bytes| {
        let uuid = |bytes: &[u8]| uuid::Uuid::from_slice(bytes).expect("chunks of 16 were made");
        bytes.chunks_exact(16).map(|bytes| InstanceId::from_uuid(uuid(bytes))).collect()
    });
    Ok(PartSummary {
        seq: number("seq")?,
        table: read(row, "tbl", |value| Table::by_name(value.as_str()?).ok_or(FromSqlError::InvalidType))?,
        day: row.get("day")?,
        rows: number("rows")?,
        data_bytes: number("data_bytes")?,
        file_bytes: number("file_bytes")?,
        filter_bytes: number("filter_bytes")?,
        created_at: read_time(row, "created_at")?,
        event_time: (read_time(row, "event_time_min")?, read_time(row, "event_time_max")?),
        received_at: (read_time(row, "received_at_min")?, read_time(row, "received_at_max")?),
        record_id: (read_id(row, "record_id_min")?, read_id(row, "record_id_max")?),
        position: (read_position(row, "epoch_min", "offset_min")?, read_position(row, "epoch_max", "offset_max")?),
        instance: (read_instance(row, "instance_min")?, read_instance(row, "instance_max")?),
        instances,
        log_types: read(row, "log_types", json)?,
    })
}

fn insert_set_aside(transaction: &Transaction<'_>, record: &SetAside) -> Result<(), StoreError> {
    let SetAside { event, reason } = record;
    let batch = &event.batch;
    transaction
        .prepare_cached(
            "INSERT INTO set_aside VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            id_blob(event.id()),
            instance_blob(batch.instance),
            reason,
            batch.kind.name(),
            event.kind.name(),
            batch.received_at.nanos(),
            event.sender_time.map(Time::nanos),
            event.collected_at.map(Time::nanos),
            event.event_time.nanos(),
            batch.log_type,
            batch.namespace,
            batch.feed,
            batch.sender,
            serde_json::to_string(&batch.labels).expect("labels are JSON"),
            serde_json::to_string(&event.issues).expect("issues are JSON"),
            event.position.epoch as i64,
            event.position.offset as i64,
            &event.data[..],
        ])?;
    Ok(())
}

fn read_set_aside(row: &Row<'_>) -> rusqlite::Result<SetAside> {
    let id = read_id(row, "record_id")?;
    let kind = |name| {
        read(row, name, |value| {
            let text = value.as_str()?;
            [Kind::Raw, Kind::Udm, Kind::Entity]
                .into_iter()
                .find(|kind| kind.name() == text)
                .ok_or(FromSqlError::InvalidType)
        })
    };
    let batch = BatchMeta {
        id: id.batch(),
        instance: read_instance(row, "instance")?,
        kind: kind("batch_kind")?,
        received_at: read_time(row, "received_at")?,
        log_type: row.get("log_type")?,
        feed: row.get("feed")?,
        sender: row.get("sender")?,
        namespace: row.get("namespace")?,
        labels: read(row, "labels", json::<Vec<Label>>)?,
    };
    let optional_time = |name| row.get::<_, Option<i64>>(name).map(|nanos| nanos.map(Time::from_nanos));
    let event = Event {
        batch: Arc::new(batch),
        position: read_position(row, "epoch", "offset")?,
        index: id.index(),
        kind: kind("kind")?,
        data: Bytes::from(row.get::<_, Vec<u8>>("data")?),
        sender_time: optional_time("sender_time")?,
        collected_at: optional_time("collected_at")?,
        event_time: read_time(row, "event_time")?,
        issues: read(row, "issues", json::<Vec<Issue>>)?,
        parser: None,
        ordinal: 0,
    };
    Ok(SetAside { event, reason: row.get("reason")? })
}

pub(crate) fn id_blob(id: RecordId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

pub(crate) fn instance_blob(instance: InstanceId) -> [u8; 16] {
    *instance.uuid().as_bytes()
}

/// Reads a column through `convert`, naming the column when that fails.
pub(crate) fn read<T>(
    row: &Row<'_>,
    name: &'static str,
    convert: impl FnOnce(ValueRef<'_>) -> FromSqlResult<T>,
) -> rusqlite::Result<T> {
    let value = row.get_ref(name)?;
    let kind = value.data_type();
    convert(value).map_err(|error| {
        let index = row.as_ref().column_index(name).unwrap_or_default();
        rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error))
    })
}

fn json<T: serde::de::DeserializeOwned>(value: ValueRef<'_>) -> FromSqlResult<T> {
    serde_json::from_str(value.as_str()?).map_err(|error| FromSqlError::Other(Box::new(error)))
}

fn read_bytes(row: &Row<'_>, name: &'static str) -> rusqlite::Result<[u8; 16]> {
    read(row, name, |value| value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType))
}

pub(crate) fn read_id(row: &Row<'_>, name: &'static str) -> rusqlite::Result<RecordId> {
    read_bytes(row, name).map(|bytes| RecordId::from_u128(u128::from_be_bytes(bytes)))
}

pub(crate) fn read_instance(row: &Row<'_>, name: &'static str) -> rusqlite::Result<InstanceId> {
    read_bytes(row, name).map(|bytes| InstanceId::from_uuid(uuid::Uuid::from_bytes(bytes)))
}

pub(crate) fn read_time(row: &Row<'_>, name: &'static str) -> rusqlite::Result<Time> {
    row.get(name).map(Time::from_nanos)
}

fn read_position(row: &Row<'_>, epoch: &'static str, offset: &'static str) -> rusqlite::Result<Position> {
    Ok(Position { epoch: row.get::<_, i64>(epoch)? as u64, offset: row.get::<_, i64>(offset)? as u64 })
}

/// The ids that records of this batch can have, first and last.
pub(crate) fn ids_of(batch: BatchId) -> (RecordId, RecordId) {
    (batch.record(0), batch.record(u32::MAX))
}
