//! `deliver.db`: what survives a crash. One row per connector (cursor and counts), its plans (frozen batches that are
//! not settled yet), its dead letters, and the ranges of the log that it lost.
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
//! What is left: killed during a batch's very first attempt *and* before the next start the log's frames are gone or
//! the encoder has changed. Then the hash differs, the batch is built anew under a new key, and a target that had taken
//! the first attempt may see its records twice; none is lost.
//!
//! Everything here blocks for a disk write at most; callers on the runtime go through `spawn_blocking`.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event::{Position, RecordId, Time};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use crate::DeliverError;
use crate::config::ConnectorId;
use crate::elements::{Elements, Member, pack, unpack};
use crate::live::as_text;

const FORMAT: i64 = 1;

const SCHEMA: &str = "
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
    /// The newest hundred, oldest first.
    pub lost: Vec<LostRange>,
}

/// A part of the log that a connector did not get to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// The database. One connection, since SQLite has one writer anyway.
#[derive(Debug)]
pub(crate) struct Ledger {
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens or makes `deliver.db` in this folder.
    pub(crate) fn open(dir: &Path) -> Result<Ledger, DeliverError> {
        let connection = Connection::open(dir.join("deliver.db"))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match format {
            0 => connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))?,
            FORMAT => {}
            newer => return Err(DeliverError::Format { found: newer, known: FORMAT }),
        }
        Ok(Ledger { connection: Mutex::new(connection) })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic interrupted was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, DeliverError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// All connectors that have a row, with their accounts.
    pub(crate) fn accounts(&self) -> Result<Vec<(ConnectorId, Account)>, DeliverError> {
        self.transact(|transaction| {
            let mut select = transaction.prepare("SELECT id FROM connectors ORDER BY id")?;
            let ids = select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let mut accounts = Vec::with_capacity(ids.len());
            for id in ids {
                // Only this file writes ids, all of them with `Display`.
                if let (Ok(parsed), Some(account)) = (ConnectorId::from_str(&id), account(transaction, &id)?) {
                    accounts.push((parsed, account));
                }
            }
            Ok(accounts)
        })
    }

    /// The account of a connector, made with this start when it has none.
    pub(crate) fn enrol(&self, id: &ConnectorId, start: Position) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute(
                "INSERT OR IGNORE INTO connectors (id, epoch, offset, skip, start_epoch, start_offset)
                 VALUES (?1, ?2, ?3, 0, ?2, ?3)",
                params![id, start.epoch as i64, start.offset as i64],
            )?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// Removes everything of a connector.
    pub(crate) fn delete(&self, id: &ConnectorId) -> Result<(), DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute("DELETE FROM connectors WHERE id = ?1", [&id])?;
            for table in ["plans", "dead_letters", "lost"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE connector = ?1"), [&id])?;
            }
            Ok(())
        })
    }

    /// Moves the cursor over records that the filter left out, and counts them as read.
    pub(crate) fn advance(&self, id: &ConnectorId, to: Place, read: u64) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            move_cursor(transaction, &id, to)?;
            transaction.execute("UPDATE connectors SET read = read + ?2 WHERE id = ?1", params![id, read as i64])?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// Notes a lost range and moves the cursor behind it, counting what had been read before it.
    pub(crate) fn lose(&self, id: &ConnectorId, range: &LostRange, read: u64) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute(
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
            move_cursor(transaction, &id, Place::at(range.to))?;
            transaction.execute("UPDATE connectors SET read = read + ?2 WHERE id = ?1", params![id, read as i64])?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// Marks all lost ranges of a connector as seen.
    pub(crate) fn acknowledge(&self, id: &ConnectorId) -> Result<Option<Account>, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute("UPDATE lost SET acknowledged = 1 WHERE connector = ?1", [&id])?;
            account(transaction, &id)
        })
    }

    /// Commits a plan row: from here on the batch is frozen. The row holds the body only where `plan.stored` says so.
    pub(crate) fn freeze(&self, id: &ConnectorId, plan: &Plan) -> Result<(), DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| insert_plan(transaction, &id, plan))
    }

    /// The plan to settle first, with its body if the row holds it.
    pub(crate) fn head(&self, id: &ConnectorId) -> Result<Option<Plan>, DeliverError> {
        let connection = self.lock();
        let plan = connection
            .prepare_cached(
                "SELECT ord, key, recipe, members, hash, body, received_at, attempts, read,
                        advance_epoch, advance_offset, advance_skip
                 FROM plans WHERE connector = ?1 ORDER BY ord LIMIT 1",
            )?
            .query_row([id.to_string()], plan_of_row)
            .optional()?;
        Ok(plan)
    }

    /// Gives up all plans of a connector, to be built anew from its cursor.
    pub(crate) fn thaw(&self, id: &ConnectorId) -> Result<(), DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| transaction.execute("DELETE FROM plans WHERE connector = ?1", [&id]).map(drop))
    }

    /// Keeps the body in the row, so that it need never be made again.
    pub(crate) fn keep_body(&self, id: &ConnectorId, ord: i64, body: &Bytes) -> Result<(), DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction
                .execute("UPDATE plans SET body = ?3 WHERE connector = ?1 AND ord = ?2", params![id, ord, &body[..]])
                .map(drop)
        })
    }

    /// Notes a failed attempt, and keeps the body if the row has none yet.
    pub(crate) fn failed(
        &self,
        id: &ConnectorId,
        plan: &Plan,
        body: Option<&Bytes>,
        error: &str,
        now: Time,
    ) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute(
                "UPDATE plans SET attempts = ?3, body = coalesce(?4, body) WHERE connector = ?1 AND ord = ?2",
                params![id, plan.ord, plan.attempts, body.map(|body| &body[..])],
            )?;
            count_error(transaction, &id, error, now)?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// The target has the batch.
    pub(crate) fn delivered(&self, id: &ConnectorId, plan: &Plan) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            settle(transaction, &id, plan)?;
            transaction.execute(
                "UPDATE connectors SET written = written + ?2 WHERE id = ?1",
                params![id, plan.members.len() as i64],
            )?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// The target refused the batch: its halves, whose bodies are stored, take its place.
    pub(crate) fn split(
        &self,
        id: &ConnectorId,
        plan: &Plan,
        halves: &[Plan; 2],
        error: &str,
        now: Time,
    ) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            transaction.execute("DELETE FROM plans WHERE connector = ?1 AND ord = ?2", params![id, plan.ord])?;
            for half in halves {
                insert_plan(transaction, &id, half)?;
            }
            count_error(transaction, &id, error, now)?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// The target refused this one record by itself.
    pub(crate) fn bury(
        &self,
        id: &ConnectorId,
        plan: &Plan,
        element: &[u8],
        refusal: &Refusal,
        now: Time,
    ) -> Result<Account, DeliverError> {
        let id = id.to_string();
        let record = plan.members[0].id;
        self.transact(|transaction| {
            settle(transaction, &id, plan)?;
            // Built anew after a disk error a record can be refused a second time; its newest answer stands.
            let before = transaction.execute(
                "DELETE FROM dead_letters WHERE connector = ?1 AND record = ?2 AND element = ?3",
                params![id, record_bytes(record), element],
            )?;
            transaction.execute(
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
            count_letters(transaction, &id, 1 - before as i64)?;
            count_error(transaction, &id, &refusal.reason, now)?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// Notes an error that is no attempt's (log, disk, settings), best effort.
    pub(crate) fn note(&self, id: &ConnectorId, error: &str, now: Time) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            count_error(transaction, &id, error, now)?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// The newest dead letters of a connector, newest first.
    pub(crate) fn dead_letters(&self, id: &ConnectorId, limit: usize) -> Result<Vec<DeadLetter>, DeliverError> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(
            "SELECT id, record, element, received_at, status, reason, answer, died_at, again
             FROM dead_letters WHERE connector = ?1 AND again <> 2 ORDER BY id DESC LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let letters = select.query_map(params![id.to_string(), limit], |row| letter_of_row(id, row))?;
        Ok(letters.collect::<Result<_, _>>()?)
    }

    /// Marks dead letters to be sent again; gives how many there were.
    pub(crate) fn mark_again(&self, id: &ConnectorId, letters: &[i64]) -> Result<usize, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            let mut update = transaction
                .prepare("UPDATE dead_letters SET again = 1 WHERE connector = ?1 AND id = ?2 AND again <> 2")?;
            letters.iter().map(|letter| update.execute(params![id, letter])).sum()
        })
    }

    /// Drops dead letters; gives how many there were and the account after.
    pub(crate) fn drop_letters(
        &self,
        id: &ConnectorId,
        letters: &[i64],
    ) -> Result<(usize, Option<Account>), DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            // What it was is gone, that it was dropped is not: a receipt must not call it delivered.
            let mut empty = transaction.prepare(
                "UPDATE dead_letters SET again = 2, element = x'', answer = x''
                 WHERE connector = ?1 AND id = ?2 AND again <> 2",
            )?;
            let dropped = letters.iter().map(|letter| empty.execute(params![id, letter])).sum::<Result<usize, _>>()?;
            count_letters(transaction, &id, -(dropped as i64))?;
            Ok((dropped, account(transaction, &id)?))
        })
    }

    /// The oldest letters marked to be sent again, as many as `fits` takes (at least one).
    pub(crate) fn marked(
        &self,
        id: &ConnectorId,
        mut fits: impl FnMut(&DeadLetter) -> bool,
    ) -> Result<Vec<DeadLetter>, DeliverError> {
        let connection = self.lock();
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
    }

    /// Makes a plan, whose body is stored, of dead letters, which end with it.
    pub(crate) fn freeze_again(
        &self,
        id: &ConnectorId,
        plan: &Plan,
        letters: &[DeadLetter],
    ) -> Result<Account, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            insert_plan(transaction, &id, plan)?;
            // A letter that was dropped meanwhile is already off the count.
            let mut delete = transaction.prepare_cached("DELETE FROM dead_letters WHERE id = ?1 AND again <> 2")?;
            let ended = letters.iter().map(|letter| delete.execute([letter.id])).sum::<Result<usize, _>>()?;
            count_letters(transaction, &id, -(ended as i64))?;
            account(transaction, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
        })
    }

    /// What the rows say of one record that stands at this position.
    pub(crate) fn trace(&self, id: &ConnectorId, record: RecordId, position: Position) -> Result<Trace, DeliverError> {
        let id = id.to_string();
        self.transact(|transaction| {
            let dead: Option<(String, i64)> = transaction
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
            let mut select = transaction.prepare(
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
            let lost: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM lost WHERE connector = ?1 AND epoch = ?2
                                AND why IN ('kept', 'damaged', 'unreadable')
                                AND from_offset <= ?3 AND to_offset > ?3)",
                params![id, position.epoch as i64, position.offset as i64],
                |row| row.get(0),
            )?;
            Ok(if lost { Trace::Lost } else { Trace::Nothing { settled_to } })
        })
    }
}

fn account(transaction: &Transaction<'_>, id: &str) -> Result<Option<Account>, rusqlite::Error> {
    let mut select = transaction.prepare_cached(
        "SELECT epoch, offset, skip, start_epoch, start_offset, read, written, errors,
                last_error, last_error_at, dead_letters
         FROM connectors WHERE id = ?1",
    )?;
    let found = select
        .query_row([id], |row| {
            let position = |epoch: usize, offset: usize| -> Result<Position, rusqlite::Error> {
                Ok(Position { epoch: row.get::<_, i64>(epoch)? as u64, offset: row.get::<_, i64>(offset)? as u64 })
            };
            let last_error = match (row.get::<_, Option<String>>(8)?, row.get::<_, Option<i64>>(9)?) {
                (Some(error), Some(at)) => Some((Time::from_nanos(at), error)),
                _ => None,
            };
            Ok(Account {
                cursor: Place { position: position(0, 1)?, skip: row.get(2)? },
                start: position(3, 4)?,
                read: row.get::<_, i64>(5)? as u64,
                written: row.get::<_, i64>(6)? as u64,
                errors: row.get::<_, i64>(7)? as u64,
                last_error,
                dead_letters: row.get::<_, i64>(10)? as u64,
                lost: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut account) = found else { return Ok(None) };
    let mut select = transaction.prepare_cached(
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
    Ok(Some(account))
}

fn move_cursor(transaction: &Transaction<'_>, id: &str, to: Place) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE connectors SET epoch = ?2, offset = ?3, skip = ?4 WHERE id = ?1")?
        .execute(params![id, to.position.epoch as i64, to.position.offset as i64, to.skip])
        .map(drop)
}

/// Ends a plan: its row goes, the cursor moves, what was read for it counts.
fn settle(transaction: &Transaction<'_>, id: &str, plan: &Plan) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("DELETE FROM plans WHERE connector = ?1 AND ord = ?2")?
        .execute(params![id, plan.ord])?;
    if let Some(to) = plan.advance {
        move_cursor(transaction, id, to)?;
    }
    transaction
        .prepare_cached("UPDATE connectors SET read = read + ?2 WHERE id = ?1")?
        .execute(params![id, plan.read as i64])
        .map(drop)
}

fn count_letters(transaction: &Transaction<'_>, id: &str, more: i64) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE connectors SET dead_letters = dead_letters + ?2 WHERE id = ?1")?
        .execute(params![id, more])
        .map(drop)
}

fn count_error(transaction: &Transaction<'_>, id: &str, error: &str, now: Time) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("UPDATE connectors SET errors = errors + 1, last_error = ?2, last_error_at = ?3 WHERE id = ?1")?
        .execute(params![id, error, now.nanos()])
        .map(drop)
}

fn insert_plan(transaction: &Transaction<'_>, id: &str, plan: &Plan) -> Result<(), rusqlite::Error> {
    let body = if plan.stored { plan.body.as_ref().map(|body| &body[..]) } else { None };
    transaction
        .prepare_cached(
            "INSERT INTO plans (connector, ord, key, recipe, members, hash, body, received_at, attempts, read,
                                advance_epoch, advance_offset, advance_skip)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
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
        ])
        .map(drop)
}

fn plan_of_row(row: &Row<'_>) -> Result<Plan, rusqlite::Error> {
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
    })
}

/// A place in three columns from this one on, if they hold one.
fn place_of_row(row: &Row<'_>, first: usize) -> Result<Option<Place>, rusqlite::Error> {
    let (Some(epoch), Some(offset)) = (row.get::<_, Option<i64>>(first)?, row.get::<_, Option<i64>>(first + 1)?) else {
        return Ok(None);
    };
    let position = Position { epoch: epoch as u64, offset: offset as u64 };
    Ok(Some(Place { position, skip: row.get(first + 2)? }))
}

fn letter_of_row(connector: &ConnectorId, row: &Row<'_>) -> Result<DeadLetter, rusqlite::Error> {
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
