//! What the operator may set of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where the store lies and when it writes, merges and forgets.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its folder; made when it is not there.
    pub dir: PathBuf,
    /// The tail is written when it holds this many bytes (records and what is kept beside each). While it is being
    /// written another one may grow, so memory is up to twice this.
    pub flush_bytes: usize,
    /// The tail is written when it is this old, however small.
    pub flush_after: Duration,
    /// When parts are merged.
    pub compaction: Compaction,
    /// When rows are removed.
    pub retention: Retention,
}

impl StoreOptions {
    /// The defaults, in this folder: 48 MiB or 30 s, everything kept.
    pub fn new(dir: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            dir: dir.into(),
            flush_bytes: 48 << 20,
            flush_after: Duration::from_secs(30),
            compaction: Compaction::default(),
            retention: Retention::default(),
        }
    }
}

/// When parts of one table and day are merged. Only small ones are, so that at high rates, where every part is born
/// large, nothing is written twice.
#[derive(Debug, Clone)]
pub struct Compaction {
    /// A part with fewer bytes of records than this (uncompressed) is small.
    pub small_bytes: u64,
    /// This many small parts of about one size are merged at once.
    pub parts_min: usize,
    /// Most parts of one merge; bounds its memory (about 3 MiB each).
    pub parts_max: usize,
    /// Small parts this old are merged even when they are only two.
    pub settled_after: Duration,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { small_bytes: 32 << 20, parts_min: 8, parts_max: 16, settled_after: Duration::from_secs(3_600) }
    }
}

/// For how many whole days rows are kept after the day (UTC) on which they were received. The default keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// For log types that are not named below; `None` keeps them for ever.
    pub days: Option<u32>,
    /// By log type; `None` keeps it for ever.
    pub days_by_log_type: BTreeMap<String, Option<u32>>,
}

impl Retention {
    /// Whether rows of this log type, received on `day`, are to go when it is `today` (days since 1970, UTC).
    pub fn is_over(&self, log_type: &str, day: i32, today: i32) -> bool {
        let days = self.days_by_log_type.get(log_type).copied().unwrap_or(self.days);
        days.is_some_and(|days| i64::from(today) - i64::from(day) > i64::from(days))
    }

    /// Whether nothing is ever removed.
    pub fn keeps_all(&self) -> bool {
        self.days.is_none() && self.days_by_log_type.values().all(Option::is_none)
    }
}
