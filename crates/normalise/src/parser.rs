//! A parser as the stream uses it: a program with a name that never means another program.

use std::fmt;
use std::sync::Arc;

use cbn::{Diagnostic, Program};

/// A checked program that reads the logs of a type, or extends the parser of one. Never changed: another program is
/// another parser.
#[derive(Clone)]
pub struct Parser {
    id: Arc<str>,
    program: Program,
}

impl Parser {
    /// Reads and checks a program. `id` is what rows say they were made by; `name` is what errors call its source.
    pub fn new(id: &str, name: &str, source: &str) -> Result<Parser, Vec<Diagnostic>> {
        Ok(Parser { id: id.into(), program: Program::new(name, source)? })
    }

    /// What rows say they were made by.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The id of a parser that comes with Penstock, or from the operator's folder: its log type and, since another version
    /// is another parser, a hash of its source.
    pub fn shipped_id(log_type: &str, source: &str) -> String {
        let hash = blake3::hash(source.as_bytes());
        format!("{log_type}@{}", hex::encode(&hash.as_bytes()[..8]))
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parser").field(&self.id).finish()
    }
}
