//! Every limit of this crate in one place, with what must hold between them.

use std::time::Duration;

/// Largest body into a function and out of it (OCI says 6 MB for both).
pub const BODY_BYTES_MAX: usize = 6 << 20;
/// Largest head of an answer; a function may set headers of its own.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of an answer.
pub(crate) const HEADERS_MAX: usize = 128;

/// Output kept per call, both streams together; what is more is read and dropped.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Longest line of output; a longer one goes on in the next.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines are handed to the sink when there are so many of them …
pub(crate) const LINES_PENDING_MAX: usize = 512;
/// … or when the first of them is so old.
pub(crate) const LINES_PENDING_FOR: Duration = Duration::from_millis(200);
/// What is read of a pipe at the moment of an answer; a thread that prints without end must not hold the answer back.
pub(crate) const DRAIN_BYTES_MAX: usize = 2 << 20;

/// Calls that may wait per function, and the bytes of their bodies.
pub(crate) const QUEUE_CALLS_MAX: usize = 1_000;
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How often the memory of a process is looked at during a call, and between calls.
pub(crate) const WATCH_EVERY: Duration = Duration::from_millis(25);
pub(crate) const WATCH_IDLE_EVERY: Duration = Duration::from_secs(1);
/// At every so manieth look its child processes are looked for, too.
pub(crate) const WATCH_TREE_EVERY: u32 = 4;
/// Most processes that one process of a function may have below it (Fn allows 50).
pub(crate) const TREE_PROCESSES_MAX: usize = 50;

/// How long a process has after SIGTERM before it is killed. An idle FDK is gone in less than half a second.
pub(crate) const TERM_GRACE: Duration = Duration::from_secs(1);
/// How long running calls have when the server stops; the whole server has five seconds.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);
/// Waits between starts that fail again and again.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_secs(1);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Open files per process (as Fn has it), and bytes per file written.
pub(crate) const OPEN_FILES_MAX: u64 = 350;
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// An archive's bytes, its files, and their bytes unpacked.
pub const ARCHIVE_BYTES_MAX: usize = 32 << 20;
pub(crate) const ARCHIVE_FILES_MAX: usize = 2_000;
pub(crate) const ARCHIVE_UNPACKED_MAX: u64 = 128 << 20;
/// Installations at a time.
pub(crate) const INSTALLS_MAX: usize = 3;
/// How long one run of pip may take, and how much it may write into one file.
pub(crate) const PIP_TIME_MAX: Duration = Duration::from_secs(600);
pub(crate) const PIP_FILE_BYTES_MAX: u64 = 4 << 30;
/// Versions kept per function, the newest.
pub(crate) const VERSIONS_KEPT: usize = 3;

/// Reports that wait for the disk; beyond, the oldest are dropped.
pub(crate) const REPORTS_PENDING_MAX: usize = 100_000;
/// How long counts per minute are kept.
pub(crate) const MINUTES_KEPT: i64 = 7 * 24 * 60;

const _: () = {
    assert!(LINE_BYTES_MAX <= OUTPUT_BYTES_MAX);
    assert!(OUTPUT_BYTES_MAX <= DRAIN_BYTES_MAX);
    // One body alone always fits into an empty queue.
    assert!(BODY_BYTES_MAX <= QUEUE_BYTES_MAX);
    assert!(ARCHIVE_BYTES_MAX as u64 <= ARCHIVE_UNPACKED_MAX);
};
