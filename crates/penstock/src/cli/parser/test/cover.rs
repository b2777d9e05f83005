//! How much of a parser ran, in words: what `cbn::coverage` counted, with lines for places.

use cbn::Program;
use cbn::coverage::{Coverage, Share};
use cbn::diagnostic::line_column;
use serde_json::{Value, json};

/// Most places that are named to people.
const PLACES_MAX: usize = 40;

/// What of a parser ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Covered {
    /// Of its statements.
    pub statements: Share,
    /// Of its branches.
    pub branches: Share,
    missed: Vec<Missed>,
}

/// Lines that no log reached.
#[derive(Debug, Clone, PartialEq)]
struct Missed {
    from: u32,
    to: u32,
    what: String,
}

impl Covered {
    /// What was counted of a program.
    pub fn new(program: &Program, coverage: &Coverage) -> Covered {
        let missed = coverage.missed().into_iter().map(|missed| {
            let line = |at: u32| line_column(program.source(), at).0;
            Missed { from: line(missed.span.start), to: line(missed.span.end), what: missed.what.to_string() }
        });
        Covered { statements: coverage.statement_share(), branches: coverage.branch_share(), missed: missed.collect() }
    }

    /// `10 of 12 statements (83.3 %), 3 of 4 branches (75.0 %) ran; line 12 never taken, lines 30-33 never run`
    pub fn sentence(&self) -> String {
        let mut text = shares(self.statements, self.branches);
        for (at, missed) in self.missed.iter().take(PLACES_MAX).enumerate() {
            text.push_str(if at == 0 { "; " } else { ", " });
            text.push_str(&match (missed.from, missed.to) {
                (from, to) if from == to => format!("line {from} {}", missed.what),
                (from, to) => format!("lines {from}-{to} {}", missed.what),
            });
        }
        if self.missed.len() > PLACES_MAX {
            text.push_str(&format!(" and {} more places", self.missed.len() - PLACES_MAX));
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let missed: Vec<_> = self
            .missed
            .iter()
            .map(|missed| json!({ "from_line": missed.from, "to_line": missed.to, "what": missed.what }))
            .collect();
        let mut document = shares_json(self.statements, self.branches);
        document["missed"] = Value::from(missed);
        document
    }
}

/// `10 of 12 statements (83.3 %), 3 of 4 branches (75.0 %) ran`
pub fn shares(statements: Share, branches: Share) -> String {
    let share =
        |share: Share, noun: &str| format!("{} of {} {noun} ({:.1} %)", share.reached, share.of, 100.0 * share.ratio());
    format!("{}, {} ran", share(statements, "statements"), share(branches, "branches"))
}

/// The same for programs.
pub fn shares_json(statements: Share, branches: Share) -> Value {
    let share = |share: Share| json!({ "ran": share.reached, "of": share.of });
    json!({ "statements": share(statements), "branches": share(branches) })
}
