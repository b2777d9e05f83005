//! What became of raw records that parsers read: those that failed, and how many of each end there were. Made by
//! `normalise`, kept by the store with the rows that came of the same frame.

use std::sync::Arc;

use crate::{BatchMeta, InstanceId, Position, RecordId};

/// A raw record that gave no events, and why. The record itself is a row like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What its batch says.
    pub batch: Arc<BatchMeta>,
    /// The frame in the log that holds its batch.
    pub position: Position,
    /// The record's index in its batch.
    pub index: u32,
    /// The parser that read it.
    pub parser: Arc<str>,
    /// What kind of end it was.
    pub why: Why,
    /// What went wrong, in the parser's words: Google's where they are known.
    pub message: String,
    /// The field that it is about, or empty.
    pub field: String,
    /// Line and column of the failing statement in the parser, from 1; 0 where it was no statement.
    pub line: u32,
    /// See `line`.
    pub column: u32,
}

impl Failure {
    /// The id of the record.
    pub fn id(&self) -> RecordId {
        self.batch.id.record(self.index)
    }
}

/// Why a raw record gave no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A statement failed and nothing caught it.
    Failed,
    /// What came out is no event that may be stored.
    Invalid,
    /// It used up what a log, or its neighbours together, may use.
    Limit,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 3] = [Why::Failed, Why::Invalid, Why::Limit];

    /// The word for it: `failed`, `invalid`, `limit`.
    pub const fn name(self) -> &'static str {
        match self {
            Why::Failed => "failed",
            Why::Invalid => "invalid",
            Why::Limit => "limit",
        }
    }
}

/// How many raw records of one log type one parser read, by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Gave events, or none on purpose without `drop`.
    pub parsed: u64,
    /// Left out by `drop`.
    pub dropped: u64,
    /// Gave none because of a failure.
    pub failed: u64,
    /// The events and entities that came of them.
    pub events: u64,
}

impl Tally {
    /// Adds another one's numbers.
    pub fn add(&mut self, other: Tally) {
        self.parsed += other.parsed;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.events += other.events;
    }
}

/// Which raw records a [`Tally`] counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TallyKey {
    /// The tenant.
    pub instance: InstanceId,
    /// Their log type.
    pub log_type: String,
    /// The parser that read them.
    pub parser: Arc<str>,
}
