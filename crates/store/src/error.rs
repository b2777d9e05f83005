//! What can go wrong in the store, sorted by who must act.

use std::path::{Path, PathBuf};

use event::Position;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Time or the operator: the disk failed or is full. The tail is kept in memory; the same call may be made again.
    #[error("cannot {what} {}", path.display())]
    Disk {
        /// What was being done, a verb.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Time or the operator: the catalogue (SQLite) failed. As with `Disk`, the call may be made again.
    #[error("the store's catalogue failed")]
    Catalogue(#[from] rusqlite::Error),
    /// The operator: made by a newer Penstock.
    #[error(
        "{} has format {found}, this Penstock reads up to {known}: start the newer Penstock that made it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format number.
        found: i64,
        /// The newest that this program reads.
        known: i64,
    },
    /// The operator: the catalogue or a part is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// The operator: the store followed another log than the one that it is now handed, so nobody can say which of
    /// its frames are stored.
    #[error(
        "the store has read another log up to {cursor}, but is handed a frame at {frame}: give it the log that it \
         followed, or a new store folder"
    )]
    OtherLog {
        /// How far the store has read.
        cursor: Position,
        /// The frame that it was handed.
        frame: Position,
    },
    /// The operator: a part cannot be read or written as Parquet.
    #[error("cannot {what} the part {}", path.display())]
    Parquet {
        /// What was being done, a verb.
        what: &'static str,
        /// The part's file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Us: a frame was pushed twice or backwards.
    #[error("frame at {frame} pushed after {through} (bug)")]
    OutOfOrder {
        /// How far was pushed.
        through: Position,
        /// The frame.
        frame: Position,
    },
}

impl StoreError {
    pub(crate) fn disk(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
        move |source| StoreError::Disk { what, path: path.to_owned(), source }
    }

    pub(crate) fn parquet(what: &'static str, path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> StoreError {
        move |source| StoreError::Parquet { what, path: path.to_owned(), source }
    }
}
