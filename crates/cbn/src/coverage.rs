//! Which statements and branches of a program ran, over many logs: what its tests do not show.
//!
//! An observer that counts. The numbers that the machine gives are those of the source (`compile.rs` numbers statements
//! depth first, and branches with them), so the places are found by going through the tree the same way.

use crate::Program;
use crate::run::Run;
use crate::run::machine::{Observer, Step};
use crate::syntax::ast::{For, If, Over, Span, Statement, StatementKind};

/// Counts what runs. Runs on several threads count apart and are put together by [`Coverage::merge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    statements: Vec<Place>,
    branches: Vec<Place>,
}

/// A statement or branch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    what: What,
    span: Span,
    /// The branch that it stands in: nothing is told of what stands in one that was missed.
    within: Option<u32>,
    hits: u64,
}

/// What can be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A statement never ran.
    Statement,
    /// A branch of an `if` was never taken.
    Branch,
    /// The body of a loop was never entered.
    Loop,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            What::Statement => "never run",
            What::Branch => "never taken",
            What::Loop => "never entered",
        })
    }
}

/// Something that no log reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Where: of a branch or loop what stands before the brace, of a statement all of it.
    pub span: Span,
    /// What.
    pub what: What,
}

/// So many out of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many ran.
    pub reached: u64,
    /// How many there are.
    pub of: u64,
}

impl Share {
    /// From 0 to 1; of nothing, all is reached.
    pub fn ratio(self) -> f64 {
        if self.of == 0 { 1.0 } else { self.reached as f64 / self.of as f64 }
    }
}

impl Coverage {
    /// Nothing of a program has run yet.
    pub fn new(program: &Program) -> Coverage {
        let mut coverage = Coverage { statements: Vec::new(), branches: Vec::new() };
        coverage.block(&program.file().body, None);
        debug_assert_eq!(coverage.statements.len(), program.statements() as usize);
        debug_assert_eq!(coverage.branches.len(), program.branches() as usize);
        coverage
    }

    fn block(&mut self, body: &[Statement], within: Option<u32>) {
        for statement in body {
            self.statements.push(Place { what: What::Statement, span: statement.span, within, hits: 0 });
            match &statement.kind {
                StatementKind::Plugin(_) => {}
                StatementKind::If(chain) => self.chain(chain, within),
                StatementKind::For(looped) => {
                    let span = Span { start: statement.span.start, end: head_end(looped) };
                    let id = self.branch(What::Loop, span, within);
                    self.block(&looped.body, Some(id));
                }
            }
        }
    }

    fn chain(&mut self, chain: &If, within: Option<u32>) {
        for branch in &chain.branches {
            let span = Span { start: branch.span.start, end: branch.condition.span.end };
            let id = self.branch(What::Branch, span, within);
            self.block(&branch.body, Some(id));
        }
        if let Some((body, span)) = &chain.otherwise {
            let id = self.branch(What::Branch, Span { start: span.start, end: span.start + 4 }, within);
            self.block(body, Some(id));
        }
    }

    fn branch(&mut self, what: What, span: Span, within: Option<u32>) -> u32 {
        self.branches.push(Place { what, span, within, hits: 0 });
        self.branches.len() as u32 - 1
    }

    /// Adds what another coverage of the same program counted.
    pub fn merge(&mut self, other: &Coverage) {
        for (ours, theirs) in [(&mut self.statements, &other.statements), (&mut self.branches, &other.branches)] {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                ours.hits += theirs.hits;
            }
        }
    }

    /// How many statements ran.
    pub fn statement_share(&self) -> Share {
        share(&self.statements)
    }

    /// How many branches were taken and loops entered.
    pub fn branch_share(&self) -> Share {
        share(&self.branches)
    }

    /// How often each statement ran, in the order of the source.
    pub fn statements(&self) -> impl Iterator<Item = (Span, u64)> {
        self.statements.iter().map(|place| (place.span, place.hits))
    }

    /// What was not reached, in the order of the source. What stands in a branch that was not taken is told with it.
    pub fn missed(&self) -> Vec<Missed> {
        let told = |place: &&Place| {
            place.hits == 0 && place.within.is_none_or(|branch| self.branches[branch as usize].hits > 0)
        };
        let mut missed: Vec<Missed> = self
            .statements
            .iter()
            .chain(&self.branches)
            .filter(told)
            .map(|place| Missed { span: place.span, what: place.what })
            .collect();
        // A chain or loop that never ran begins where its first branch does; the statement is told, the branch is not.
        missed.sort_by_key(|missed| (missed.span.start, missed.what != What::Statement));
        let mut told_to = 0;
        missed.retain(|missed| {
            let told = missed.span.end <= told_to;
            if missed.what == What::Statement {
                told_to = told_to.max(missed.span.end);
            }
            !told
        });
        missed
    }
}

/// Where the head of a loop ends.
fn head_end(looped: &For) -> u32 {
    match &looped.over {
        Over::Field(word) => word.span.end,
        Over::Xml { xpath, .. } => xpath.span.end,
    }
}

fn share(places: &[Place]) -> Share {
    Share { reached: places.iter().filter(|place| place.hits > 0).count() as u64, of: places.len() as u64 }
}

impl Observer for Coverage {
    fn statement(&mut self, step: Step<'_>, _run: &Run<'_>) {
        if let Some(place) = self.statements.get_mut(step.id as usize) {
            place.hits += 1;
        }
    }

    fn branch(&mut self, id: u32) {
        if let Some(place) = self.branches.get_mut(id as usize) {
            place.hits += 1;
        }
    }
}
