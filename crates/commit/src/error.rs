//! What can go wrong, sorted by who must act: the caller (`TooLarge`, a wrong cursor), time (`Full`), the operator (the
//! rest).

use std::io;
use std::sync::Arc;

use event::Position;

/// Why a log cannot be opened, looked into or verified. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The files were written by a newer Penstock.
    #[error("{file} has log format {found}; this Penstock reads up to format {supported}: use the newer Penstock")]
    NewerFormat {
        /// The file's name in the log's directory.
        file: String,
        /// The format number in it.
        found: u32,
        /// The largest number that this build reads.
        supported: u32,
    },
    /// Segments of different logs lie in one directory.
    #[error("{file} belongs to another log (epoch {found:016x}, the others have {epoch:016x}): move it away")]
    MixedLogs {
        /// The file's name in the log's directory.
        file: String,
        /// Its epoch.
        found: u64,
        /// The epoch of the segments before it.
        epoch: u64,
    },
    /// The disk refused.
    #[error("cannot {what}")]
    Disk {
        /// What was being done, with the file's name.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
}

impl LogError {
    /// For `map_err`: names what was being done.
    pub(crate) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> LogError {
        let what = what.into();
        move |source| LogError::Disk { what, source }
    }
}

/// Why a frame was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// For the sender: the payload is longer than `limits::FRAME_BYTES_MAX`.
    #[error("a payload of {bytes} bytes is over the limit of {max} bytes")]
    TooLarge {
        /// The payload's bytes.
        bytes: usize,
        /// The most that a frame may hold.
        max: usize,
    },
    /// For time: no space is left on the disk. Nothing is lost; slow down and try again.
    #[error("no space is left on the log's disk")]
    Full,
    /// For the operator: a write or sync failed; this process will not write again. Whether this frame is found after a
    /// restart is unknown; its key, if it has one, makes a repeat safe.
    #[error("the log stopped writing: {reason}")]
    Failed {
        /// What failed and what the disk said.
        reason: Arc<str>,
    },
    /// For the operator: the log was closed (the process is stopping).
    #[error("the log is closed")]
    Closed,
}

/// Why a cursor cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The cursor was made with another log (the directory was replaced).
    #[error("the cursor {cursor} belongs to another log; this one's epoch is {epoch:016x}")]
    OtherEpoch {
        /// The cursor.
        cursor: Position,
        /// This log's epoch.
        epoch: u64,
    },
    /// The cursor is further than this log ever was (the directory was restored from an older copy).
    #[error("the cursor {cursor} is ahead of the log, which ends at {end}")]
    Ahead {
        /// The cursor.
        cursor: Position,
        /// Where the log ends.
        end: Position,
    },
    /// The disk refused.
    #[error("cannot {what}")]
    Disk {
        /// What was being done, with the file's name.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
}

/// Whether the disk says that space ran out, which time or an operator heals, unlike everything else.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error with all its causes in one line, for states and logs that outlive it.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
