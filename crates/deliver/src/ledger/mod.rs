//! `deliver.db`: what survives a crash. One row per connector (cursor and counts), its plans (frozen batches that are
//! not settled yet), its dead letters, the ranges of the log that it lost, and what `meter` counted.
//!
//! **The crash argument.** A batch is delivered exactly when the transaction that deletes its plan row, moves the
//! cursor past it and counts it has committed. Before the first attempt the plan row is committed with the batch's
//! place in the log, its recipe (filter and shape of body), the hash of its body and its idempotency key. A process
//! that dies in between finds the row and sends the same bytes with the same key. It has the bytes because
//!
//! - while no attempt has failed, the body can be made again: the log still holds the frames (the cursor stands before
//!   them, so the log keeps them), and the recipe is that of the row, not of the document of today; the hash proves it;
//! - with the first failure, with a split, with a clean stop and for dead letters sent again, the body itself is in the
//!   row: from then on neither `log.keep`, nor a changed document, nor a newer Penstock can change it. A body costs
//!   nothing as long as all goes well, which is what pays at full speed.
//!
//! The transaction that settles a batch may freeze the next one, too, which spares half of the disk's syncs. Nothing of the
//! above changes: the next batch is not sent before that transaction has committed, and should it not commit, the settled
//! batch is still in its row and is sent again, byte for byte. Of a function whose calls are quick, one transaction settles
//! several batches and freezes as many (`connector`): a process that dies before has them all in their rows, and gives those
//! again that the function had taken meanwhile, in their order. Transactions of several connectors may be one on disk
//! (`writer`): each still stands or falls whole, and its connector goes on only after the commit.
//!
//! What is left: killed during a batch's very first attempt *and* before the next start the log's frames are gone or
//! the encoder has changed. Then the hash differs, the batch is built anew under a new key, and a target that had taken
//! the first attempt may see its records twice; none is lost.
//!
//! Writing is a function that gives a piece of work, and [`Ledger::write`], which has it done. Reading has a connection of its
//! own, sees what is committed, and blocks; callers on the runtime go through `spawn_blocking`.
//!
//! ```text
//! connectors    one per connector: cursor, counts, last error, what stopped it
//! plans         one per frozen batch, ord ascending is the order of delivery; body only where it must be
//! dead_letters  one per record that a target refused, or that somebody dropped
//! lost          one per range of the log
//! meter         one per connector and minute of the last 24 hours: a JSON object of sums; rewritten every few seconds
//! ```
//!
//! `user_version` is the format. An older file is brought up to date at the start in one transaction; a newer one is
//! refused.

mod writer;

use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event::{Position, RecordId, Time};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;

use crate::DeliverError;
use crate::config::ConnectorId;
use crate::elements::{Elements, Member, pack, unpack};
use crate::live::as_text;
use crate::loops::Stopped;
use crate::meter::{KEEP_MINUTES, Minute};
use writer::Writer;

/// What makes each format of the one before; the first of nothing.
const FORMATS: [&str; 2] = [FIRST, SECOND];

const FIRST: &str = "
    CREATE TABLE connectors (
        id TEXT PRIMARY KEY,
        epoch INTEGER NOT NULL, offset INTEGER NOT NULL, skip INTEGER NOT NULL,
        start_epoch INTEGER NOT NULL, start_offset INTEGER NOT NULL,
        read INTEGER NOT NULL DEFAULT 0, written INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0,
        dead_letters INTEGER NOT NULL DEFAULT 0,
        last_error TEXT, last_error_at INTEGER
    ) STRICT;
    CREATE TABLE plans (
        connector TEXT NOT NULL, ord INTEGER NOT NULL,
        key TEXT NOT NULL, recipe TEXT NOT NULL, members BLOB NOT NULL, hash BLOB NOT NULL, body BLOB,
        received_at INTEGER NOT NULL, attempts INTEGER NOT NULL, read INTEGER NOT NULL,
        advance_epoch INTEGER, advance_offset INTEGER, advance_skip INTEGER,
        PRIMARY KEY (connector, ord)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connector TEXT NOT NULL, record BLOB NOT NULL, element BLOB NOT NULL, received_at INTEGER NOT NULL,
        status INTEGER NOT NULL, reason TEXT NOT NULL, answer BLOB NOT NULL, died_at INTEGER NOT NULL,
        -- 1: to be sent again; 2: dropped, kept only so that receipts can say so.
        again INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX dead_letters_by_record ON dead_letters (connector, record);
    CREATE INDEX dead_letters_again ON dead_letters (connector, id) WHERE again = 1;
    CREATE TABLE lost (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        connector TEXT NOT NULL, epoch INTEGER NOT NULL, from_offset INTEGER NOT NULL, to_offset INTEGER NOT NULL,
        why TEXT NOT NULL, lost_at INTEGER NOT NULL, acknowledged INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX lost_by_connector ON lost (connector);
";

/// What functions need: how long a target has been failing, suspicious calls, loops, and the meter.
const SECOND: &str = "
    ALTER TABLE connectors ADD COLUMN failing_since INTEGER;
    ALTER TABLE connectors ADD COLUMN suspicious INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE connectors ADD COLUMN last_suspicious TEXT;
    ALTER TABLE connectors ADD COLUMN last_suspicious_at INTEGER;
    ALTER TABLE connectors ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0;
    -- The hash of the document that a loop stopped it under; empty once somebody has acted.
    ALTER TABLE connectors ADD COLUMN stopped BLOB;
    -- Looping records before this place are passed over.
    ALTER TABLE connectors ADD COLUMN skip_epoch INTEGER;
    ALTER TABLE connectors ADD COLUMN skip_offset INTEGER;
    ALTER TABLE plans ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE plans ADD COLUMN passed_over INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE meter (
        connector TEXT NOT NULL, minute INTEGER NOT NULL, observed TEXT NOT NULL,
        PRIMARY KEY (connector, minute)
    ) STRICT, WITHOUT ROWID;
";

/// A connector as its rows name it; made once, since it is in every statement.
pub(crate) type Name = Arc<str>;

/// A piece of writing: what [`Ledger::write`] takes.
type Outcome<T> = Result<T, rusqlite::Error>;

/// Where a connector stands: everything before is settled. `skip` events of the frame at `position` are settled too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub position: Position,
    pub skip: u32,
}

impl Place {
    pub(crate) fn at(position: Position) -> Place {
        Place { position, skip: 0 }
    }
}

/// A connector's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub cursor: Place,
    /// Where it began; what is before was never its business.
    pub start: Position,
    pub read: u64,
    pub written: u64,
    pub errors: u64,
    pub last_error: Option<(Time, String)>,
    pub dead_letters: u64,
    /// When the failures began that nothing has ended since.
    pub failing_since: Option<Time>,
    pub suspicious: u64,
    pub last_suspicious: Option<(Time, String)>,
    pub passed_over: u64,
    pub stopped: Stopped,
    pub skip_to: Option<Position>,
    /// Grows with every change: an account that was read earlier never takes the place of a later one.
    pub version: u64,
    /// The newest hundred, oldest first.
    pub lost: Vec<LostRange>,
}

/// A part of the log that a connector did not get to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LostRange {
    /// First byte of it.
    #[serde(serialize_with = "as_text")]
    pub from: Position,
    /// First byte after it.
    #[serde(serialize_with = "as_text")]
    pub to: Position,
    /// How it came about.
    pub why: Loss,
    /// When it was noticed.
    pub at: Time,
    /// Whether somebody has taken note ([`crate::Deliver::acknowledge`]); until then the connector needs attention.
    pub acknowledged: bool,
}

/// How a range was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The connector lagged beyond `log.keep`.
    Kept,
    /// The log found it damaged.
    Damaged,
    /// A frame whose payload this Penstock cannot read.
    Unreadable,
    /// The cursor was of another log: the data directory was replaced. `to` is where reading began in this one.
    OtherLog,
    /// The cursor was ahead of the log: it was put back from an older copy. `to` is its end at that time, where reading
    /// went on; what was between is not in this log.
    Ahead,
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Loss::Kept => "kept",
            Loss::Damaged => "damaged",
            Loss::Unreadable => "unreadable",
            Loss::OtherLog => "other_log",
            Loss::Ahead => "ahead",
        }
    }

    fn of(name: &str) -> Loss {
        match name {
            "kept" => Loss::Kept,
            "unreadable" => Loss::Unreadable,
            "other_log" => Loss::OtherLog,
            "ahead" => Loss::Ahead,
            _ => Loss::Damaged,
        }
    }
}

/// In words, for an operator.
impl std::fmt::Display for LostRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from, self.to);
        match self.why {
            Loss::Kept => write!(f, "{from} to {to} left the log unread (log.keep)"),
            Loss::Damaged => write!(f, "{from} to {to} is damaged in the log"),
            Loss::Unreadable => write!(f, "{from} to {to} holds a frame that cannot be read"),
            Loss::OtherLog => write!(f, "the cursor {from} is of another log; reading began at {to}"),
            Loss::Ahead => {
                write!(f, "the cursor {from} was ahead of a log put back from a copy; reading went on at {to}")
            }
        }
    }
}

/// A frozen batch.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub ord: i64,
    /// The idempotency key.
    pub key: String,
    /// Filter and shape of body, in `connector`'s JSON.
    pub recipe: String,
    pub members: Vec<Member>,
    pub hash: blake3::Hash,
    /// `None` in a row read back: to be made again from the log.
    pub body: Option<Bytes>,
    /// Whether the row holds the body.
    pub stored: bool,
    /// When the first record was received.
    pub received_at: Time,
    /// Failures so far.
    pub attempts: u32,
    /// Records that were read for it, those that the filter left out included; counted with its delivery.
    pub read: u64,
    /// Where the cursor moves with its delivery. `None` for a first half and for dead letters sent again.
    pub advance: Option<Place>,
    /// From how many calls its records come, the most of any.
    pub hops: u32,
    /// Looping records that were passed over on its way, counted with its delivery.
    pub passed_over: u64,
}

/// A batch that the target has, whose row still stands.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub plan: Arc<Plan>,
    /// What speaks against it, and when that was said.
    pub note: Option<(Time, String)>,
}

/// A record that a target refused by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, for retry and drop.
    pub id: i64,
    /// The connector.
    pub connector: ConnectorId,
    /// The record.
    pub record: RecordId,
    /// The element as it was sent.
    pub element: Vec<u8>,
    /// When the record was received.
    pub received_at: Time,
    /// The status that the target answered.
    pub status: u16,
    /// Why, in a sentence.
    pub reason: String,
    /// The first 2 KiB of the target's answer.
    pub answer: Vec<u8>,
    /// When it was refused.
    pub died_at: Time,
    /// Whether it is about to be sent again.
    pub again: bool,
}

/// What a target said of a record that goes to the dead letters.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub status: u16,
    pub reason: String,
    pub answer: Vec<u8>,
}

/// What is found of one record without reading the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trace {
    Dead(String),
    Dropped(String),
    Planned,
    Lost,
    /// Only the cursor speaks of it, or, where part of a frozen batch is settled already, the batch's end.
    Nothing {
        settled_to: Option<Place>,
    },
}

/// The database: a thread that writes and a connection that reads.
#[derive(Debug)]
pub(crate) struct Ledger {
    writer: Writer,
    reader: Mutex<Connection>,
}

impl Ledger {
    /// Opens or makes `deliver.db` in this folder.
    pub(crate) fn open(dir: &Path) -> Result<Ledger, DeliverError> {
        let path = dir.join("deliver.db");
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.set_prepared_statement_cache_capacity(64);
        // Without this SQLite plans a statement anew for every value that is bound, which cost more than running it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let known = FORMATS.len() as i64;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if !(0..=known).contains(&found) {
            return Err(DeliverError::Format { found, known });
        }
        if found < known {
            let transaction = connection.transaction()?;
            for format in &FORMATS[found as usize..] {
                transaction.execute_batch(format)?;
            }
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()?;
        }
        let reader = Connection::open(&path)?;
        reader.busy_timeout(std::time::Duration::from_secs(5))?;
        reader.pragma_update(None, "query_only", true)?;
        let thread = |source| DeliverError::Thread { source };
        Ok(Ledger { writer: Writer::start(connection).map_err(thread)?, reader: Mutex::new(reader) })
    }

    /// Has something written; the outcome comes once it is on disk. It is written even if nobody waits.
    pub(crate) fn write<T, W>(&self, work: W) -> impl Future<Output = Result<T, DeliverError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        self.writer.write(work)
    }

    /// The same, but blocks for it.
    pub(crate) fn write_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, DeliverError> {
        self.writer.write_now(work)
    }

    /// Reads in one snapshot.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T, DeliverError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        Ok(work(&transaction)?)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic interrupted was rolled back when it was dropped.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All connectors that have a row, with their accounts.
    pub(crate) fn accounts(&self) -> Result<Vec<(ConnectorId, Account)>, DeliverError> {
        self.read(|connection| {
            let mut select = connection.prepare("SELECT id FROM connectors ORDER BY id")?;
            let ids = select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let mut accounts = Vec::with_capacity(ids.len());
            for id in ids {
                // Only this file writes ids, all of them with `Display`.
                if let Ok(parsed) = ConnectorId::from_str(&id) {
                    accounts.push((parsed, account(connection, &id)?));
                }
            }
            Ok(accounts)
        })
    }

    /// The plan to settle first, with its body if the row holds it.
    pub(crate) fn head(&self, id: &str) -> Result<Option<Plan>, DeliverError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT ord, key, recipe, members, hash, body, received_at, attempts, read,
                            advance_epoch, advance_offset, advance_skip, hops, passed_over
                     FROM plans WHERE connector = ?1 ORDER BY ord LIMIT 1",
                )?
                .query_row([id], plan_of_row)
                .optional()
        })
    }

    /// The newest dead letters of a connector, newest first.
    pub(crate) fn dead_letters(&self, id: &ConnectorId, limit: usize) -> Result<Vec<DeadLetter>, DeliverError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, record, element, received_at, status, reason, answer, died_at, again
                 FROM dead_letters WHERE connector = ?1 AND again <> 2 ORDER BY id DESC LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let letters = select.query_map(params![id.to_string(), limit], |row| letter_of_row(id, row))?;
            letters.collect()
        })
    }

    /// The oldest letters marked to be sent again, as many as `fits` takes (at least one).
    pub(crate) fn marked(
        &self,
        id: &ConnectorId,
        mut fits: impl FnMut(&DeadLetter) -> bool,
    ) -> Result<Vec<DeadLetter>, DeliverError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, record, element, received_at, status, reason, answer, died_at, again
                 FROM dead_letters WHERE connector = ?1 AND again = 1 ORDER BY id",
            )?;
            let mut rows = select.query([id.to_string()])?;
            let mut letters = Vec::new();
            while let Some(row) = rows.next()? {
                let letter = letter_of_row(id, row)?;
                if !fits(&letter) && !letters.is_empty() {
                    break;
                }
                letters.push(letter);
            }
            Ok(letters)
        })
    }

    /// What the rows say of one record that stands at this position.
    pub(crate) fn trace(&self, id: &ConnectorId, record: RecordId, position: Position) -> Result<Trace, DeliverError> {
        let id = id.to_string();
        self.read(|connection| {
            let dead: Option<(String, i64)> = connection
                .query_row(
                    "SELECT reason, again FROM dead_letters WHERE connector = ?1 AND record = ?2 ORDER BY again LIMIT 1",
                    params![id, record_bytes(record)],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            match dead {
                Some((reason, 2)) => return Ok(Trace::Dropped(reason)),
                Some((reason, _)) => return Ok(Trace::Dead(reason)),
                None => {}
            }
            let mut select = connection.prepare(
                "SELECT members, advance_epoch, advance_offset, advance_skip
                 FROM plans WHERE connector = ?1 ORDER BY ord",
            )?;
            let mut settled_to = None;
            let mut rows = select.query([&id])?;
            while let Some(row) = rows.next()? {
                let members = unpack(row.get_ref(0)?.as_blob()?).unwrap_or_default();
                if members.iter().any(|member| member.id == record) {
                    return Ok(Trace::Planned);
                }
                settled_to = place_of_row(row, 1)?.or(settled_to);
            }
            let lost: bool = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM lost WHERE connector = ?1 AND epoch = ?2
                                AND why IN ('kept', 'damaged', 'unreadable')
                                AND from_offset <= ?3 AND to_offset > ?3)",
                params![id, position.epoch as i64, position.offset as i64],
                |row| row.get(0),
            )?;
            Ok(if lost { Trace::Lost } else { Trace::Nothing { settled_to } })
        })
    }

    /// What was observed in these minutes by one connector, or by all of an instance.
    pub(crate) fn minutes(
        &self,
        instance: event::InstanceId,
        connector: Option<&ConnectorId>,
        minutes: std::ops::Range<i64>,
    ) -> Result<Vec<(ConnectorId, i64, Minute)>, DeliverError> {
        // Ids begin with their instance and a slash, and a zero is what follows a slash.
        let (first, end) = match connector {
            Some(id) if id.instance == instance => (id.to_string(), format!("{id}\0")),
            Some(_) => return Ok(Vec::new()),
            None => (format!("{instance}/"), format!("{instance}0")),
        };
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT connector, minute, observed FROM meter
                 WHERE connector >= ?1 AND connector < ?2 AND minute >= ?3 AND minute < ?4",
            )?;
            let mut rows = select.query(params![first, end, minutes.start, minutes.end])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                if let Ok(id) = ConnectorId::from_str(row.get_ref(0)?.as_str()?) {
                    found.push((id, row.get(1)?, Minute::from_text(row.get_ref(2)?.as_str()?)));
                }
            }
            Ok(found)
        })
    }
}

/// The account of a connector, made with this start when it has none.
pub(crate) fn enrol(id: Name, start: Position) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute(
            "INSERT OR IGNORE INTO connectors (id, epoch, offset, skip, start_epoch, start_offset)
             VALUES (?1, ?2, ?3, 0, ?2, ?3)",
            params![id, start.epoch as i64, start.offset as i64],
        )?;
        account(connection, &id)
    }
}

/// Removes everything of a connector.
pub(crate) fn delete(id: Name) -> impl FnOnce(&Connection) -> Outcome<()> {
    move |connection| {
        connection.execute("DELETE FROM connectors WHERE id = ?1", [&id])?;
        for table in ["plans", "dead_letters", "lost", "meter"] {
            connection.execute(&format!("DELETE FROM {table} WHERE connector = ?1"), [&id])?;
        }
        Ok(())
    }
}

/// Moves the cursor over records that the filter left out or that were passed over, and counts them.
pub(crate) fn advance(
    id: Name,
    to: Place,
    read: u64,
    passed_over: u64,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        move_cursor(connection, &id, to)?;
        count_read(connection, &id, read, passed_over)?;
        account(connection, &id)
    }
}

/// Notes a lost range and moves the cursor behind it, counting what had been read before it.
pub(crate) fn lose(
    id: Name,
    range: LostRange,
    read: u64,
    passed_over: u64,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute(
            "INSERT INTO lost (connector, epoch, from_offset, to_offset, why, lost_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                range.from.epoch as i64,
                range.from.offset as i64,
                range.to.offset as i64,
                range.why.name(),
                range.at.nanos()
            ],
        )?;
        move_cursor(connection, &id, Place::at(range.to))?;
        count_read(connection, &id, read, passed_over)?;
        account(connection, &id)
    }
}

/// Marks all lost ranges of a connector as seen.
pub(crate) fn acknowledge(id: Name) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute("UPDATE lost SET acknowledged = 1 WHERE connector = ?1", [&id])?;
        account(connection, &id)
    }
}

/// Commits a plan row: from here on the batch is frozen. The row holds the body only where `plan.stored` says so.
pub(crate) fn freeze(id: Name, plan: Arc<Plan>) -> impl FnOnce(&Connection) -> Outcome<()> {
    move |connection| insert_plan(connection, &id, &plan)
}

/// Gives up all plans of a connector, to be built anew from its cursor.
pub(crate) fn thaw(id: Name) -> impl FnOnce(&Connection) -> Outcome<()> {
    move |connection| connection.execute("DELETE FROM plans WHERE connector = ?1", [id]).map(drop)
}

/// Keeps the body in the row, so that it need never be made again.
pub(crate) fn keep_body(id: Name, ord: i64, body: Bytes) -> impl FnOnce(&Connection) -> Outcome<()> {
    move |connection| {
        connection
            .execute("UPDATE plans SET body = ?3 WHERE connector = ?1 AND ord = ?2", params![id, ord, &body[..]])
            .map(drop)
    }
}

/// Notes a failed attempt, and keeps the body if the row has none yet.
pub(crate) fn failed(
    id: Name,
    ord: i64,
    attempts: u32,
    body: Option<Bytes>,
    error: String,
    now: Time,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute(
            "UPDATE plans SET attempts = ?3, body = coalesce(?4, body) WHERE connector = ?1 AND ord = ?2",
            params![id, ord, attempts, body.as_ref().map(|body| &body[..])],
        )?;
        connection.execute(
            "UPDATE connectors SET failing_since = coalesce(failing_since, ?2) WHERE id = ?1",
            params![id, now.nanos()],
        )?;
        count_error(connection, &id, &error, now)?;
        account(connection, &id)
    }
}

/// The target has these batches. What is `next`, if there is anything, is frozen with it.
pub(crate) fn delivered(
    id: Name,
    taken: Vec<Taken>,
    next: Vec<Arc<Plan>>,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        let written = taken.iter().map(|taken| taken.plan.members.len()).sum();
        settle(connection, &id, taken.iter().map(|taken| &*taken.plan), written)?;
        for (at, note) in taken.iter().filter_map(|taken| taken.note.as_ref()) {
            connection
                .prepare_cached(
                    "UPDATE connectors SET suspicious = suspicious + 1, last_suspicious = ?2, last_suspicious_at = ?3
                     WHERE id = ?1",
                )?
                .execute(params![id, note, at.nanos()])?;
        }
        for next in &next {
            insert_plan(connection, &id, next)?;
        }
        account(connection, &id)
    }
}

/// Other plans, whose bodies are stored, take the place of one. `error` is why, where the target refused it.
pub(crate) fn split(
    id: Name,
    ord: i64,
    pieces: Vec<Plan>,
    error: Option<(Time, String)>,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute("DELETE FROM plans WHERE connector = ?1 AND ord = ?2", params![id, ord])?;
        for piece in &pieces {
            insert_plan(connection, &id, piece)?;
        }
        if let Some((at, error)) = &error {
            count_error(connection, &id, error, *at)?;
        }
        account(connection, &id)
    }
}

/// The target refused this one record by itself.
pub(crate) fn bury(
    id: Name,
    plan: Arc<Plan>,
    element: Vec<u8>,
    refusal: Refusal,
    now: Time,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        let record = plan.members[0].id;
        settle(connection, &id, std::iter::once(&*plan), 0)?;
        // Built anew after a disk error a record can be refused a second time; its newest answer stands.
        let before = connection.execute(
            "DELETE FROM dead_letters WHERE connector = ?1 AND record = ?2 AND element = ?3",
            params![id, record_bytes(record), element],
        )?;
        connection.execute(
            "INSERT INTO dead_letters (connector, record, element, received_at, status, reason, answer, died_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id,
                record_bytes(record),
                element,
                plan.received_at.nanos(),
                refusal.status,
                refusal.reason,
                refusal.answer,
                now.nanos()
            ],
        )?;
        count_letters(connection, &id, 1 - before as i64)?;
        count_error(connection, &id, &refusal.reason, now)?;
        account(connection, &id)
    }
}

/// Notes an error that is no attempt's (log, disk, settings), best effort.
pub(crate) fn note(id: Name, error: String, now: Time) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        count_error(connection, &id, &error, now)?;
        account(connection, &id)
    }
}

/// A loop stopped the connector under the document with this hash.
pub(crate) fn stop(
    id: Name,
    print: [u8; 32],
    reason: String,
    now: Time,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute("UPDATE connectors SET stopped = ?2 WHERE id = ?1", params![id, &print[..]])?;
        count_error(connection, &id, &reason, now)?;
        account(connection, &id)
    }
}

/// Somebody has acted on what stopped the connector: the next time it runs it passes the loop over.
pub(crate) fn release(id: Name) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute("UPDATE connectors SET stopped = x'' WHERE id = ?1 AND stopped IS NOT NULL", [&id])?;
        account(connection, &id)
    }
}

/// The connector goes on, passing over what loops before this place.
pub(crate) fn pass_over(id: Name, to: Position) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        connection.execute(
            "UPDATE connectors SET stopped = NULL, skip_epoch = ?2, skip_offset = ?3 WHERE id = ?1",
            params![id, to.epoch as i64, to.offset as i64],
        )?;
        account(connection, &id)
    }
}

/// Marks dead letters to be sent again; gives how many there were.
pub(crate) fn mark_again(id: Name, letters: Vec<i64>) -> impl FnOnce(&Connection) -> Outcome<usize> {
    move |connection| {
        let mut update =
            connection.prepare("UPDATE dead_letters SET again = 1 WHERE connector = ?1 AND id = ?2 AND again <> 2")?;
        letters.iter().map(|letter| update.execute(params![id, letter])).sum()
    }
}

/// Drops dead letters; gives how many there were and the account after.
pub(crate) fn drop_letters(id: Name, letters: Vec<i64>) -> impl FnOnce(&Connection) -> Outcome<(usize, Account)> {
    move |connection| {
        // What it was is gone, that it was dropped is not: a receipt must not call it delivered.
        let mut empty = connection.prepare(
            "UPDATE dead_letters SET again = 2, element = x'', answer = x''
             WHERE connector = ?1 AND id = ?2 AND again <> 2",
        )?;
        let dropped = letters.iter().map(|letter| empty.execute(params![id, letter])).sum::<Result<usize, _>>()?;
        count_letters(connection, &id, -(dropped as i64))?;
        Ok((dropped, account(connection, &id)?))
    }
}

/// Makes a plan, whose body is stored, of dead letters, which end with it.
pub(crate) fn freeze_again(
    id: Name,
    plan: Arc<Plan>,
    letters: Vec<DeadLetter>,
) -> impl FnOnce(&Connection) -> Outcome<Account> {
    move |connection| {
        insert_plan(connection, &id, &plan)?;
        // A letter that was dropped meanwhile is already off the count.
        let mut delete = connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?1 AND again <> 2")?;
        let ended = letters.iter().map(|letter| delete.execute([letter.id])).sum::<Result<usize, _>>()?;
        count_letters(connection, &id, -(ended as i64))?;
        account(connection, &id)
    }
}

/// Adds what was observed to the rows of its minutes, and removes a connector's old ones with its every new one.
pub(crate) fn add_minutes(minutes: Vec<(String, i64, Minute)>) -> impl FnOnce(&Connection) -> Outcome<()> {
    move |connection| {
        let mut select =
            connection.prepare_cached("SELECT observed FROM meter WHERE connector = ?1 AND minute = ?2")?;
        let mut replace =
            connection.prepare_cached("REPLACE INTO meter (connector, minute, observed) VALUES (?1, ?2, ?3)")?;
        let mut remove = connection.prepare_cached("DELETE FROM meter WHERE connector = ?1 AND minute < ?2")?;
        for (id, minute, mut observed) in minutes {
            match select.query_row(params![id, minute], |row| row.get::<_, String>(0)).optional()? {
                Some(known) => observed.merge(Minute::from_text(&known)),
                None => drop(remove.execute(params![id, minute - KEEP_MINUTES])?),
            }
            replace.execute(params![id, minute, observed.to_text()])?;
        }
        Ok(())
    }
}

fn account(connection: &Connection, id: &str) -> Outcome<Account> {
    let mut select = connection.prepare_cached(
        "SELECT epoch, offset, skip, start_epoch, start_offset, read, written, errors, last_error, last_error_at,
                dead_letters, failing_since, suspicious, last_suspicious, last_suspicious_at, passed_over, stopped,
                skip_epoch, skip_offset
         FROM connectors WHERE id = ?1",
    )?;
    let mut account = select.query_row([id], |row| {
        let position = |epoch: usize, offset: usize| -> Outcome<Position> {
            Ok(Position { epoch: row.get::<_, i64>(epoch)? as u64, offset: row.get::<_, i64>(offset)? as u64 })
        };
        let said = |what: usize, at: usize| -> Outcome<Option<(Time, String)>> {
            Ok(match (row.get::<_, Option<String>>(what)?, row.get::<_, Option<i64>>(at)?) {
                (Some(what), Some(at)) => Some((Time::from_nanos(at), what)),
                _ => None,
            })
        };
        let stopped = match row.get::<_, Option<Vec<u8>>>(16)? {
            None => Stopped::No,
            Some(print) => print.try_into().map_or(Stopped::Released, Stopped::Under),
        };
        let skips = row.get::<_, Option<i64>>(17)?.is_some();
        Ok(Account {
            cursor: Place { position: position(0, 1)?, skip: row.get(2)? },
            start: position(3, 4)?,
            read: row.get::<_, i64>(5)? as u64,
            written: row.get::<_, i64>(6)? as u64,
            errors: row.get::<_, i64>(7)? as u64,
            last_error: said(8, 9)?,
            dead_letters: row.get::<_, i64>(10)? as u64,
            failing_since: row.get::<_, Option<i64>>(11)?.map(Time::from_nanos),
            suspicious: row.get::<_, i64>(12)? as u64,
            last_suspicious: said(13, 14)?,
            passed_over: row.get::<_, i64>(15)? as u64,
            stopped,
            skip_to: if skips { Some(position(17, 18)?) } else { None },
            version: connection.total_changes(),
            lost: Vec::new(),
        })
    })?;
    let mut select = connection.prepare_cached(
        "SELECT epoch, from_offset, to_offset, why, lost_at, acknowledged FROM lost
         WHERE connector = ?1 ORDER BY id DESC LIMIT 100",
    )?;
    let here = account.cursor.position.epoch;
    let lost = select.query_map([id], |row| {
        let epoch = row.get::<_, i64>(0)? as u64;
        let why = Loss::of(&row.get::<_, String>(3)?);
        Ok(LostRange {
            from: Position { epoch, offset: row.get::<_, i64>(1)? as u64 },
            // Of a foreign cursor only its start is in the other log.
            to: Position {
                epoch: if why == Loss::OtherLog { here } else { epoch },
                offset: row.get::<_, i64>(2)? as u64,
            },
            why,
            at: Time::from_nanos(row.get(4)?),
            acknowledged: row.get(5)?,
        })
    })?;
    account.lost = lost.collect::<Result<_, _>>()?;
    account.lost.reverse();
    Ok(account)
}

fn move_cursor(connection: &Connection, id: &str, to: Place) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE connectors SET epoch = ?2, offset = ?3, skip = ?4 WHERE id = ?1")?
        .execute(params![id, to.position.epoch as i64, to.position.offset as i64, to.skip])
        .map(drop)
}

fn count_read(connection: &Connection, id: &str, read: u64, passed_over: u64) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE connectors SET read = read + ?2, passed_over = passed_over + ?3 WHERE id = ?1")?
        .execute(params![id, read as i64, passed_over as i64])
        .map(drop)
}

/// Ends plans that follow each other: their rows go, the cursor moves, what was read for them counts, failures are over.
fn settle<'a>(connection: &Connection, id: &str, plans: impl Iterator<Item = &'a Plan>, written: usize) -> Outcome<()> {
    let mut delete = connection.prepare_cached("DELETE FROM plans WHERE connector = ?1 AND ord = ?2")?;
    let (mut advance, mut read, mut passed_over) = (None, 0, 0);
    for plan in plans {
        delete.execute(params![id, plan.ord])?;
        advance = plan.advance.or(advance);
        read += plan.read;
        passed_over += plan.passed_over;
    }
    connection
        .prepare_cached(
            "UPDATE connectors
             SET epoch = coalesce(?2, epoch), offset = coalesce(?3, offset), skip = coalesce(?4, skip),
                 read = read + ?5, passed_over = passed_over + ?6, written = written + ?7, failing_since = NULL
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            advance.map(|to| to.position.epoch as i64),
            advance.map(|to| to.position.offset as i64),
            advance.map(|to| to.skip),
            read as i64,
            passed_over as i64,
            written as i64,
        ])
        .map(drop)
}

fn count_letters(connection: &Connection, id: &str, more: i64) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE connectors SET dead_letters = dead_letters + ?2 WHERE id = ?1")?
        .execute(params![id, more])
        .map(drop)
}

fn count_error(connection: &Connection, id: &str, error: &str, now: Time) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE connectors SET errors = errors + 1, last_error = ?2, last_error_at = ?3 WHERE id = ?1")?
        .execute(params![id, error, now.nanos()])
        .map(drop)
}

fn insert_plan(connection: &Connection, id: &str, plan: &Plan) -> Outcome<()> {
    let body = if plan.stored { plan.body.as_ref().map(|body| &body[..]) } else { None };
    connection
        .prepare_cached(
            "INSERT INTO plans (connector, ord, key, recipe, members, hash, body, received_at, attempts, read,
                                advance_epoch, advance_offset, advance_skip, hops, passed_over)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            id,
            plan.ord,
            plan.key,
            plan.recipe,
            pack(&plan.members),
            &plan.hash.as_bytes()[..],
            body,
            plan.received_at.nanos(),
            plan.attempts,
            plan.read as i64,
            plan.advance.map(|to| to.position.epoch as i64),
            plan.advance.map(|to| to.position.offset as i64),
            plan.advance.map(|to| to.skip),
            plan.hops,
            plan.passed_over as i64,
        ])
        .map(drop)
}

fn plan_of_row(row: &Row<'_>) -> Outcome<Plan> {
    let advance = place_of_row(row, 9)?;
    let body = row.get::<_, Option<Vec<u8>>>(5)?.map(Bytes::from);
    let hash: [u8; 32] = row.get(4)?;
    Ok(Plan {
        ord: row.get(0)?,
        key: row.get(1)?,
        recipe: row.get(2)?,
        // Members that cannot be read make a body that fits no hash, and the batch is built anew.
        members: unpack(row.get_ref(3)?.as_blob()?).unwrap_or_default(),
        hash: blake3::Hash::from_bytes(hash),
        stored: body.is_some(),
        body,
        received_at: Time::from_nanos(row.get(6)?),
        attempts: row.get(7)?,
        read: row.get::<_, i64>(8)? as u64,
        advance,
        hops: row.get(12)?,
        passed_over: row.get::<_, i64>(13)? as u64,
    })
}

/// A place in three columns from this one on, if they hold one.
fn place_of_row(row: &Row<'_>, first: usize) -> Outcome<Option<Place>> {
    let (Some(epoch), Some(offset)) = (row.get::<_, Option<i64>>(first)?, row.get::<_, Option<i64>>(first + 1)?) else {
        return Ok(None);
    };
    let position = Position { epoch: epoch as u64, offset: offset as u64 };
    Ok(Some(Place { position, skip: row.get(first + 2)? }))
}

fn letter_of_row(connector: &ConnectorId, row: &Row<'_>) -> Outcome<DeadLetter> {
    let record: [u8; 16] = row.get(1)?;
    Ok(DeadLetter {
        id: row.get(0)?,
        connector: connector.clone(),
        record: RecordId::from_u128(u128::from_be_bytes(record)),
        element: row.get(2)?,
        received_at: Time::from_nanos(row.get(3)?),
        status: row.get(4)?,
        reason: row.get(5)?,
        answer: row.get(6)?,
        died_at: Time::from_nanos(row.get(7)?),
        again: row.get(8)?,
    })
}

fn record_bytes(record: RecordId) -> [u8; 16] {
    record.as_u128().to_be_bytes()
}

/// The elements of dead letters, in order.
pub(crate) fn elements_of(letters: &[DeadLetter]) -> Elements {
    let mut elements = Elements::default();
    for letter in letters {
        elements.push_encoded(letter.record, &letter.element);
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTOR: &str = "c8c65bfa-5f2c-42d4-9189-64bb7b939f2c/siem";

    #[test]
    fn an_older_file_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join("deliver.db")).unwrap();
        old.execute_batch(FIRST).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let insert = "INSERT INTO connectors (id, epoch, offset, skip, start_epoch, start_offset, written)
                      VALUES (?1, 7, 640, 2, 7, 0, 5)";
        old.execute(insert, [CONNECTOR]).unwrap();
        let insert = "INSERT INTO plans (connector, ord, key, recipe, members, hash, received_at, attempts, read)
                      VALUES (?1, 0, 'key', '{}', x'', zeroblob(32), 9, 3, 4)";
        old.execute(insert, [CONNECTOR]).unwrap();
        drop(old);

        for _ in 0..2 {
            let ledger = Ledger::open(dir.path()).unwrap();
            let (id, account) = ledger.accounts().unwrap().remove(0);
            assert_eq!(id.to_string(), CONNECTOR);
            let cursor = Place { position: Position { epoch: 7, offset: 640 }, skip: 2 };
            assert_eq!((account.cursor, account.written, account.stopped), (cursor, 5, Stopped::No));
            assert_eq!((account.failing_since, account.suspicious, account.skip_to), (None, 0, None));
            let plan = ledger.head(CONNECTOR).unwrap().unwrap();
            assert_eq!((plan.attempts, plan.read, plan.hops, plan.passed_over), (3, 4, 0, 0));
        }
    }

    #[test]
    fn a_newer_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Ledger::open(dir.path()).unwrap());
        let newer = Connection::open(dir.path().join("deliver.db")).unwrap();
        newer.pragma_update(None, "user_version", 3).unwrap();
        drop(newer);
        assert!(matches!(Ledger::open(dir.path()), Err(DeliverError::Format { found: 3, known: 2 })));
    }
}
