//! The control plane: instances, accounts, keys, log types, connectors as versioned documents in one SQLite file.
//!
//! A document is (kind, parent, id) and a JSON text. What the JSON means is its owner's business (the binary turns it
//! into `dialects::snapshot::Snapshot` and connector settings); here it is only kept: durably, with an etag, and
//! listed in the order in which it was made. Absent on purpose: caching and change notices. The binary rebuilds its
//! snapshot after each change it makes, and nobody else writes the file.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension, params};

/// Format number of the file; a newer one is refused.
const FORMAT: i64 = 1;

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it is: `instance`, `account`, `connector`, ….
    pub kind: String,
    /// What it belongs to, usually an instance's id; empty for what belongs to the server.
    pub parent: String,
    /// Its name among its kind and parent.
    pub id: String,
    /// Its content.
    pub json: serde_json::Value,
    /// Changes with every write; give it back to write only over what you read.
    pub etag: u64,
    /// When it was first written, RFC 3339.
    pub created_at: String,
    /// When it was last written, RFC 3339.
    pub updated_at: String,
}

/// A document that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDocument<'a> {
    /// What it is.
    pub kind: &'a str,
    /// What it belongs to.
    pub parent: &'a str,
    /// Its name among its kind and parent.
    pub id: String,
    /// Its content.
    pub json: serde_json::Value,
}

/// Why a document could not be kept or read, sorted by who must act.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// The caller: the document is already there.
    #[error("{kind} {id:?} exists already")]
    Exists {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
    },
    /// The caller: there is no such document.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
    },
    /// The caller: somebody wrote it since it was read.
    #[error("{kind} {id:?} was changed meanwhile; read it again")]
    Changed {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
    },
    /// The operator: made by a newer Penstock.
    #[error("{path} has format {found}, this Penstock reads up to {FORMAT}; use a newer Penstock")]
    Newer {
        /// The file.
        path: String,
        /// Its format number.
        found: i64,
    },
    /// The operator: the file cannot be read or written.
    #[error("the resources file: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Us: a stored document is no JSON.
    #[error("the stored {kind} {id:?} is no JSON: {source}")]
    Json {
        /// Its kind.
        kind: String,
        /// Its id.
        id: String,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Resources {
    connection: Mutex<Connection>,
}

impl Resources {
    /// Opens or makes the file. It may hold password hashes and connector headers: made with mode 0600.
    pub fn open(path: &Path) -> Result<Resources, ResourceError> {
        restrict(path)?;
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > FORMAT {
            return Err(ResourceError::Newer { path: path.display().to_string(), found });
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS document (
                 seq INTEGER PRIMARY KEY AUTOINCREMENT,
                 kind TEXT NOT NULL, parent TEXT NOT NULL, id TEXT NOT NULL,
                 json TEXT NOT NULL, etag INTEGER NOT NULL,
                 created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
                 UNIQUE (kind, parent, id)
             ) STRICT;",
        )?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        Ok(Resources { connection: Mutex::new(connection) })
    }

    /// Writes a new document; refused where one stands.
    pub fn create(
        &self,
        kind: &str,
        parent: &str,
        id: &str,
        json: &serde_json::Value,
        now: &str,
    ) -> Result<Document, ResourceError> {
        let added = self.lock().execute(
            "INSERT INTO document (kind, parent, id, json, etag, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO NOTHING",
            params![kind, parent, id, json.to_string(), now],
        )?;
        if added == 0 {
            return Err(ResourceError::Exists { kind: kind.to_owned(), id: id.to_owned() });
        }
        self.get(kind, parent, id)
    }

    /// Writes new documents, all or none; refused where one stands.
    pub fn create_all(&self, documents: &[NewDocument<'_>], now: &str) -> Result<(), ResourceError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for NewDocument { kind, parent, id, json } in documents {
            let added = transaction.execute(
                "INSERT INTO document (kind, parent, id, json, etag, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO NOTHING",
                params![kind, parent, id, json.to_string(), now],
            )?;
            if added == 0 {
                return Err(ResourceError::Exists { kind: (*kind).to_owned(), id: id.clone() });
            }
        }
        Ok(transaction.commit()?)
    }

    /// Writes over a document; with `etag`, only over that version of it.
    pub fn update(
        &self,
        kind: &str,
        parent: &str,
        id: &str,
        json: &serde_json::Value,
        etag: Option<u64>,
        now: &str,
    ) -> Result<Document, ResourceError> {
        let etag = etag.map(|etag| etag as i64);
        let changed = self.lock().execute(
            "UPDATE document SET json = ?4, etag = etag + 1, updated_at = ?5
             WHERE kind = ?1 AND parent = ?2 AND id = ?3 AND (?6 IS NULL OR etag = ?6)",
            params![kind, parent, id, json.to_string(), now, etag],
        )?;
        let found = self.get(kind, parent, id)?;
        if changed == 0 {
            return Err(ResourceError::Changed { kind: kind.to_owned(), id: id.to_owned() });
        }
        Ok(found)
    }

    /// One document.
    pub fn get(&self, kind: &str, parent: &str, id: &str) -> Result<Document, ResourceError> {
        let row = self
            .lock()
            .query_row(
                "SELECT kind, parent, id, json, etag, created_at, updated_at FROM document
                 WHERE kind = ?1 AND parent = ?2 AND id = ?3",
                params![kind, parent, id],
                Row::read,
            )
            .optional()?;
        row.ok_or_else(|| ResourceError::NotFound { kind: kind.to_owned(), id: id.to_owned() })?.document()
    }

    /// All documents of a kind in the order in which they were made; of one parent, or of all.
    pub fn list(&self, kind: &str, parent: Option<&str>) -> Result<Vec<Document>, ResourceError> {
        let connection = self.lock();
        let mut statement = connection.prepare(
            "SELECT kind, parent, id, json, etag, created_at, updated_at FROM document
             WHERE kind = ?1 AND (?2 IS NULL OR parent = ?2) ORDER BY seq",
        )?;
        let rows = statement.query_map(params![kind, parent], Row::read)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(Row::document).collect()
    }

    /// Removes a document.
    pub fn delete(&self, kind: &str, parent: &str, id: &str) -> Result<(), ResourceError> {
        let removed = self
            .lock()
            .execute("DELETE FROM document WHERE kind = ?1 AND parent = ?2 AND id = ?3", params![kind, parent, id])?;
        if removed == 0 {
            return Err(ResourceError::NotFound { kind: kind.to_owned(), id: id.to_owned() });
        }
        Ok(())
    }

    /// Removes a document and everything below it, at once. What lies directly below the document `id` of `parent` has the
    /// parent `parent/id`, or `id` where `parent` is empty.
    pub fn delete_with_children(&self, kind: &str, parent: &str, id: &str) -> Result<(), ResourceError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let removed = transaction
            .execute("DELETE FROM document WHERE kind = ?1 AND parent = ?2 AND id = ?3", params![kind, parent, id])?;
        if removed == 0 {
            return Err(ResourceError::NotFound { kind: kind.to_owned(), id: id.to_owned() });
        }
        let path = if parent.is_empty() { id.to_owned() } else { format!("{parent}/{id}") };
        transaction.execute(
            "DELETE FROM document WHERE parent = ?1 OR substr(parent, 1, length(?1) + 1) = ?1 || '/'",
            params![path],
        )?;
        transaction.commit()?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a statement leaves SQLite's own state whole (the transaction rolls back).
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn restrict(path: &Path) -> Result<(), ResourceError> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| {
        ResourceError::Sqlite(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("{}: {error}", path.display())),
        ))
    })
}

struct Row {
    kind: String,
    parent: String,
    id: String,
    json: String,
    etag: i64,
    created_at: String,
    updated_at: String,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        Ok(Row {
            kind: row.get(0)?,
            parent: row.get(1)?,
            id: row.get(2)?,
            json: row.get(3)?,
            etag: row.get(4)?,
            created_at: row.get(5)?,
            updated_at: row.get(6)?,
        })
    }

    fn document(self) -> Result<Document, ResourceError> {
        let Row { kind, parent, id, json, etag, created_at, updated_at } = self;
        match serde_json::from_str(&json) {
            Ok(json) => Ok(Document { kind, parent, id, json, etag: etag as u64, created_at, updated_at }),
            Err(source) => Err(ResourceError::Json { kind, id, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn open() -> (tempfile::TempDir, Resources) {
        let dir = tempfile::tempdir().unwrap();
        let resources = Resources::open(&dir.path().join("resources.db")).unwrap();
        (dir, resources)
    }

    #[test]
    fn documents_are_kept_in_order_and_survive_reopening() {
        let (dir, resources) = open();
        for id in ["b", "a", "c"] {
            resources.create("account", "i1", id, &json!({"id": id}), "t0").unwrap();
        }
        drop(resources);
        let resources = Resources::open(&dir.path().join("resources.db")).unwrap();
        let ids: Vec<_> =
            resources.list("account", Some("i1")).unwrap().into_iter().map(|document| document.id).collect();
        assert_eq!(ids, ["b", "a", "c"]);
        assert!(resources.list("account", Some("i2")).unwrap().is_empty());
        assert_eq!(resources.list("account", None).unwrap().len(), 3);
    }

    #[test]
    fn a_stale_etag_writes_nothing() {
        let (_dir, resources) = open();
        let first = resources.create("connector", "i", "x", &json!({"n": 1}), "t0").unwrap();
        let second = resources.update("connector", "i", "x", &json!({"n": 2}), Some(first.etag), "t1").unwrap();
        let stale = resources.update("connector", "i", "x", &json!({"n": 3}), Some(first.etag), "t2");
        assert!(matches!(stale, Err(ResourceError::Changed { .. })), "{stale:?}");
        let found = resources.get("connector", "i", "x").unwrap();
        assert_eq!((&found.json, found.etag, found.updated_at.as_str()), (&json!({"n": 2}), second.etag, "t1"));
    }

    #[test]
    fn refusals_name_the_document() {
        let (_dir, resources) = open();
        resources.create("instance", "", "i", &json!({}), "t").unwrap();
        let twice = resources.create("instance", "", "i", &json!({}), "t").unwrap_err();
        assert_eq!(twice.to_string(), "instance \"i\" exists already");
        assert_eq!(resources.get("instance", "", "j").unwrap_err().to_string(), "there is no instance \"j\"");
        assert!(resources.delete("instance", "", "j").is_err());
    }

    #[test]
    fn an_instance_goes_with_all_that_is_its() {
        let (_dir, resources) = open();
        resources.create("instance", "", "i", &json!({}), "t").unwrap();
        resources.create("account", "i", "a", &json!({}), "t").unwrap();
        resources.create("account", "other", "a", &json!({}), "t").unwrap();
        resources.create("forwarder", "i", "f", &json!({}), "t").unwrap();
        resources.create("forwarder", "i", "f2", &json!({}), "t").unwrap();
        for (parent, id) in [("i/f", "c"), ("i/f2", "c"), ("ii/f", "c")] {
            resources.create("collector", parent, id, &json!({}), "t").unwrap();
        }
        resources.delete_with_children("forwarder", "i", "f").unwrap();
        assert_eq!(resources.list("collector", None).unwrap().len(), 2);
        resources.delete_with_children("instance", "", "i").unwrap();
        assert_eq!(resources.list("account", None).unwrap().len(), 1);
        assert!(resources.list("forwarder", None).unwrap().is_empty());
        assert_eq!(resources.list("collector", None).unwrap()[0].parent, "ii/f");
    }

    #[test]
    fn a_newer_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resources.db");
        drop(Resources::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(Resources::open(&path).unwrap_err().to_string().contains("format 99"));
    }
}
