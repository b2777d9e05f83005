//! One part on disk: what the catalogue knows of it, and how its files are read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use event::{InstanceId, Position, RecordId, Time};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::StoreError;
use crate::filter::PartFilter;
use crate::layout::{self, Table};

/// What is known of a part without opening it. All bounds are inclusive.
#[derive(Debug, Clone, PartialEq)]
pub struct PartSummary {
    /// Its number: unique and growing, never used again.
    pub seq: u64,
    /// The table.
    pub table: Table,
    /// The day on which its rows were received, in days since 1970 (UTC).
    pub day: i32,
    /// Its rows, at least one.
    pub rows: u64,
    /// Bytes of its records, uncompressed.
    pub data_bytes: u64,
    /// Bytes of the Parquet file.
    pub file_bytes: u64,
    /// Bytes of the filter file.
    pub filter_bytes: u64,
    /// When it was written.
    pub created_at: Time,
    /// Least and greatest event time.
    pub event_time: (Time, Time),
    /// Least and greatest time of receipt.
    pub received_at: (Time, Time),
    /// Least and greatest record id.
    pub record_id: (RecordId, RecordId),
    /// Least and greatest position.
    pub position: (Position, Position),
    /// Least and greatest instance, by their bytes.
    pub instance: (InstanceId, InstanceId),
    /// All instances, ascending; `None` when they are too many to list.
    pub instances: Option<Vec<InstanceId>>,
    /// All log types, ascending.
    pub log_types: Vec<String>,
}

impl PartSummary {
    /// False only when no row is of this instance.
    pub fn may_hold_instance(&self, instance: InstanceId) -> bool {
        match &self.instances {
            Some(instances) => instances.binary_search(&instance).is_ok(),
            None => self.instance.0 <= instance && instance <= self.instance.1,
        }
    }

    /// False only when no row is of one of these log types; none named means any.
    pub fn may_hold_log_type(&self, log_types: &[String]) -> bool {
        log_types.is_empty() || log_types.iter().any(|log_type| self.log_types.binary_search(log_type).is_ok())
    }
}

/// A part of the store. Its files stay as long as somebody holds it, even when the catalogue has forgotten it.
#[derive(Debug)]
pub struct Part {
    summary: PartSummary,
    path: PathBuf,
    filter_path: PathBuf,
    forgotten: AtomicBool,
}

impl Part {
    pub(crate) fn new(dir: &Path, summary: PartSummary) -> Part {
        let folder = summary.table.folder(dir, summary.day);
        Part {
            path: folder.join(layout::part_name(summary.seq)),
            filter_path: folder.join(layout::filter_name(summary.seq)),
            summary,
            forgotten: AtomicBool::new(false),
        }
    }

    /// What is known of it.
    pub fn summary(&self) -> &PartSummary {
        &self.summary
    }

    /// Its Parquet file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the Parquet file; every reader opens its own.
    pub fn open(&self) -> Result<PartFile, StoreError> {
        PartFile::open(&self.path).map_err(StoreError::disk("open", &self.path))
    }

    /// Opens the filter; `None` when there is none that can be trusted, so that any row may hold anything.
    pub fn filter(&self) -> Option<PartFilter> {
        PartFilter::open(&self.filter_path, self.summary.table, self.summary.rows)
    }

    /// Runs something that reads the Parquet file. The library panics on some damage (a footer whose places do not add
    /// up); here that becomes [`StoreError::Damaged`]. What `read` changes must not be used after an error.
    pub fn guard<T, E: From<StoreError>>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let what = what.unwrap_or("it cannot be decoded").to_owned();
            Err(StoreError::Damaged { path: self.path.clone(), what }.into())
        })
    }

    /// The catalogue no longer has it: the files go when the last reader is done.
    pub(crate) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if *self.forgotten.get_mut() {
            for path in [&self.path, &self.filter_path] {
                // What fails here is an unknown file from now on, which `Store::maintain` removes.
                if let Err(error) = std::fs::remove_file(path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a file that the store no longer needs");
                }
            }
        }
    }
}

/// An open Parquet file, read at positions: no two readers share a place in it, so any number may read at once.
#[derive(Debug, Clone)]
pub struct PartFile {
    file: Arc<File>,
    bytes: u64,
}

impl PartFile {
    pub(crate) fn open(path: &Path) -> io::Result<PartFile> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(PartFile { file: Arc::new(file), bytes })
    }
}

impl Length for PartFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for PartFile {
    type T = BufReader<PositionedRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(PositionedRead { file: self.file.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged footer may name any range; none is allocated that the file does not have.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of a file of {}", self.bytes)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place of its own.
#[derive(Debug)]
pub struct PositionedRead {
    file: Arc<File>,
    at: u64,
}

impl Read for PositionedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
