//! What names stand for at a stage of a search: the entry's attributes at first, and the columns that stages make.

use std::ops::Range;

use super::parse::nearest;
use super::path::{ATTRIBUTES, Name, Path, Root, Step};
use crate::{Diagnostic, Mistake};

/// A column that a stage made.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Where its values stood before, so that `logContent.type` still finds what `select type` took.
    pub(super) origin: Option<Path>,
}

#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// The entry and its time are there still.
    entry: bool,
    made: Vec<Column>,
}

impl Columns {
    /// Rows as they come from the store.
    pub(super) fn entries() -> Columns {
        Columns { entry: true, made: Vec::new() }
    }

    /// Rows of these columns alone.
    pub(super) fn table(made: Vec<Column>) -> Columns {
        Columns { entry: false, made }
    }

    pub(super) fn has_entry(&self) -> bool {
        self.entry
    }

    pub(super) fn made(&self) -> &[Column] {
        &self.made
    }

    /// Adds a column, in the place of one with that name.
    pub(super) fn extend(&mut self, column: Column) {
        self.made.retain(|made| made.name != column.name);
        self.made.push(column);
    }

    /// Whether a path may begin with this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.made.iter().any(|column| column.name == name)
            || name == "logContent"
            || name == "datetime"
            || ATTRIBUTES.contains(&name)
    }

    /// What a path of names means. `first` is where its first name stands.
    pub(super) fn resolve(
        &self,
        mut steps: Vec<Step>,
        first: &Range<usize>,
        span: &Range<usize>,
    ) -> Result<Path, Diagnostic> {
        let name = match steps.first() {
            Some(Step::Key(name)) => name.clone(),
            _ => String::new(),
        };
        if self.made.iter().any(|column| column.name == name) {
            steps.remove(0);
            return Ok(Path { root: Root::Column(name), steps });
        }
        let path = match &name[..] {
            "logContent" => {
                steps.remove(0);
                Path { root: Root::Entry, steps }
            }
            "datetime" => {
                if steps.len() > 1 {
                    return Err(
                        Diagnostic::new(span.clone(), "`datetime` is a time and has no fields").mistake(Mistake::Field)
                    );
                }
                Path { root: Root::Time, steps: Vec::new() }
            }
            known if ATTRIBUTES.contains(&known) => Path { root: Root::Entry, steps },
            _ => return Err(self.unknown(&name, first, span)),
        };
        if self.entry {
            return Ok(path);
        }
        let taken = self.made.iter().find_map(|column| {
            let rest = path.beneath(column.origin.as_ref()?)?;
            Some(Path { root: Root::Column(column.name.clone()), steps: rest.to_vec() })
        });
        taken.ok_or_else(|| self.unknown(&name, first, span))
    }

    fn unknown(&self, name: &str, first: &Range<usize>, span: &Range<usize>) -> Diagnostic {
        let made = self.made.iter().map(|column| &column.name[..]);
        if !self.entry {
            let mut shown = 0;
            let few = made.clone().take_while(|name| {
                shown += name.len();
                shown < 300
            });
            let names: Vec<String> = few.map(|name| Name(name).to_string()).collect();
            let diagnostic = Diagnostic::new(span.clone(), format!("no column `{}` is left here", Name(name)))
                .mistake(Mistake::Field);
            return diagnostic.help(format!("there are {}", names.join(", ")));
        }
        let diagnostic =
            Diagnostic::new(first.clone(), format!("unknown field: an entry has no `{name}`")).mistake(Mistake::Field);
        let known = made.chain(ATTRIBUTES).chain(["logContent", "datetime"]);
        match nearest(name, known) {
            Some(near) => diagnostic.help(format!("did you mean {}?", Name(near))),
            None if name.contains('.') => {
                let parts: Vec<String> = name.split('.').map(|part| Name(part).to_string()).collect();
                diagnostic.help(format!("that is one name with points in it; a path is {}", parts.join(".")))
            }
            None => diagnostic.help(format!(
                "what the entry itself says is beneath data: data.{0}; an attribute of its own: logContent.{0}",
                Name(name)
            )),
        }
    }
}
