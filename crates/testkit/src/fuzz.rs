//! The fuzz list: every place where bytes from outside are read, as plain functions ([`targets`]), and what runs them
//! on the stable toolchain ([`run`]): seeded mutations of valid inputs ([`Syntax`]), steered by what a run showed of
//! itself ([`Shown`]). A finding is made small, saved, and printed with the command that replays it.
//!
//! ```text
//! PENSTOCK_FUZZ_SECS    seconds for each target (default 8)
//! PENSTOCK_FUZZ_SEED    another number, other inputs (default 1)
//! PENSTOCK_FUZZ_REPLAY  a file: run this one input instead
//! PENSTOCK_FUZZ_DIR     where findings are saved (default: the system's directory for temporary files)
//! ```
//!
//! Absent: coverage of the code, which needs a build of its own. `fuzz/` wraps the same list for cargo-fuzz, which has
//! it.

mod harness;
mod mutate;
mod parsers;
mod seeds;
mod targets;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use harness::{Finding, Settings, Summary, replay, run};
pub use mutate::Syntax;
pub use targets::{Accepts, Recovered, recovered, targets};

/// One thing to fuzz.
pub struct Target {
    /// Its name in tests, files and the `fuzz` folder.
    pub name: &'static str,
    /// Valid inputs to begin with.
    pub seeds: Vec<Vec<u8>>,
    /// What inputs are made of.
    pub syntax: Syntax,
    /// Changes that know the format, such as putting checksums right; gets an input and another one to borrow from.
    pub change: Option<fn(&mut rand::rngs::StdRng, &[u8], &[u8]) -> Option<Vec<u8>>>,
    /// Must return, whatever the bytes are; notes what it saw.
    pub run: Box<dyn Fn(&[u8], &mut Shown) + Send + Sync>,
}

/// What one run showed of itself: an input that shows something new is kept and changed further. Stands in for code
/// coverage, so it should tell kinds of outcome apart, not single values.
#[derive(Debug, Default)]
pub struct Shown {
    notes: HashSet<u64>,
    is_valid: bool,
    bytes: Option<usize>,
}

impl Shown {
    /// Notes something.
    pub fn note(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.notes.insert(hasher.finish());
    }

    /// The input was taken as good: most changes are made to such inputs, since they get furthest.
    pub fn valid(&mut self) {
        self.is_valid = true;
    }

    /// How much memory it took, as far as the target counts that itself. Not a note: values differ from run to run.
    pub fn took_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.max(Some(bytes));
    }

    /// Notes a message without what differs from case to case: numbers, and what stands in quotes.
    pub fn note_message(&mut self, message: &str) {
        self.note(outline(message));
    }
}

/// A message without its numbers and quoted parts.
pub(crate) fn outline(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut quoted = false;
    let mut characters = message.chars().take(1_000);
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '"' | '`' => quoted = !quoted,
            _ if quoted => {}
            '0'..='9' => {
                if !out.ends_with('0') {
                    out.push('0');
                }
            }
            _ => out.push(character),
        }
    }
    out
}
