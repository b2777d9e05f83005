//! What the store is handed: one frame of the log, read.

use event::{Event, Failure, Position, Tally, TallyKey};

/// All that one frame of the log says, after reading. The store takes the whole of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Where the frame begins in the log.
    pub position: Position,
    /// Where the next one begins: the cursor once this frame is stored.
    pub next: Position,
    /// Where this is a slice of a frame of many records and more of it follow: the frame's records before this one are stored once
    /// this is, and `next` is `position`. 0 for a whole frame, and for the last slice of one.
    pub through: u32,
    /// The rows that came of its records.
    pub events: Vec<Event>,
    /// Its records that are kept aside instead of in the tables.
    pub set_aside: Vec<SetAside>,
    /// Its raw records that gave no events, and why.
    pub failures: Vec<Failure>,
    /// How many of its raw records each parser read.
    pub tallies: Vec<(TallyKey, Tally)>,
}

/// A record that was committed but did not become a row, and why. It is kept whole, so that it can be looked at and
/// taken in again.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// The record as it came.
    pub event: Event,
    /// Why it is here, in a sentence.
    pub reason: String,
}
