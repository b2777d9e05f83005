//! What a predicate says about rows that cannot match, made ready to be asked of filters. Pure.

use query::Prune;
use store::{ChunkFilter, Probe};

/// A predicate's prunable side with its needles hashed.
#[derive(Debug)]
pub(crate) enum Pruner {
    /// Any row may match.
    Unknown,
    /// No row can.
    Never,
    All(Vec<Pruner>),
    One(Vec<Pruner>),
    Needle(Probe),
}

impl Pruner {
    pub(crate) fn new(prune: &Prune) -> Pruner {
        match prune {
            Prune::Unknown => Pruner::Unknown,
            Prune::Never => Pruner::Never,
            Prune::Value(value) => Pruner::Needle(Probe::value(value)),
            Prune::Text(literal) => Probe::text(literal).map_or(Pruner::Unknown, Pruner::Needle),
            Prune::All(all) => {
                let mut known: Vec<Pruner> =
                    all.iter().map(Pruner::new).filter(|one| !matches!(one, Pruner::Unknown)).collect();
                match known.len() {
                    _ if known.iter().any(|one| matches!(one, Pruner::Never)) => Pruner::Never,
                    0 => Pruner::Unknown,
                    1 => known.remove(0),
                    _ => Pruner::All(known),
                }
            }
            Prune::One(any) => {
                let mut possible: Vec<Pruner> =
                    any.iter().map(Pruner::new).filter(|one| !matches!(one, Pruner::Never)).collect();
                match possible.len() {
                    _ if possible.iter().any(|one| matches!(one, Pruner::Unknown)) => Pruner::Unknown,
                    0 => Pruner::Never,
                    1 => possible.remove(0),
                    _ => Pruner::One(possible),
                }
            }
        }
    }

    /// False only when no row of the chunk can match.
    pub(crate) fn may_match(&self, chunk: &ChunkFilter<'_>) -> bool {
        match self {
            Pruner::Unknown => true,
            Pruner::Never => false,
            Pruner::All(all) => all.iter().all(|one| one.may_match(chunk)),
            Pruner::One(any) => any.iter().any(|one| one.may_match(chunk)),
            Pruner::Needle(probe) => chunk.may_hold(probe),
        }
    }
}
