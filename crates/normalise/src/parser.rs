//! A parser as the stream uses it: a program with a name that never means another program.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cbn::{Diagnostic, Program};

/// A checked program that reads the logs of a type, or extends the parser of one. Never changed: another program is
/// another parser.
pub struct Parser {
    id: Arc<str>,
    name: String,
    source: String,
    /// Made when the first log needs it: of dozens of parsers a server uses a few.
    program: OnceLock<Result<Program, String>>,
}

impl Parser {
    /// Reads and checks a program. `id` is what rows say they were made by; `name` is what errors call its source.
    pub fn new(id: &str, name: &str, source: &str) -> Result<Parser, Vec<Diagnostic>> {
        let parser = Parser::unread(id, name, source);
        let _ = parser.program.set(Ok(Program::new(name, source)?));
        Ok(parser)
    }

    /// A program that was checked before, and is read when the first log needs it. If it cannot be read after all, each log
    /// fails with the reason.
    pub fn unread(id: &str, name: &str, source: &str) -> Parser {
        Parser { id: id.into(), name: name.to_owned(), source: source.to_owned(), program: OnceLock::new() }
    }

    /// A parser that comes with Penstock, or from the operator's folder.
    pub fn shipped(log_type: &str, source: &str) -> Parser {
        Parser::unread(&Parser::shipped_id(log_type, source), log_type, source)
    }

    /// What rows say they were made by.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The text of the program.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The program, or why there is none.
    pub fn program(&self) -> Result<&Program, &str> {
        let read = || {
            Program::new(&*self.name, &*self.source).map_err(|found| {
                let first = found.first().map(|found| found.message.as_str()).unwrap_or_default();
                format!("the parser cannot be read: {first}")
            })
        };
        self.program.get_or_init(read).as_ref().map_err(String::as_str)
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
