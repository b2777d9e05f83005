//! Where a value stands: a path into the entry, the time of the row, or a column that a search made.

use std::fmt;

/// What a path begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    /// The entry: the flat envelope, which queries call `logContent`.
    Entry,
    /// The entry's time in milliseconds since the Unix epoch, which queries call `datetime`.
    Time,
    /// A column that the search made.
    Column(String),
    /// All columns of the row.
    Row,
}

/// One step along a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A member of an object; of a list, that member of each of its elements.
    Key(String),
    /// An element of a list, counted from 0.
    Element(usize),
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
}

/// The attributes of an envelope that need no `logContent.` before them.
pub(super) const ATTRIBUTES: [&str; 10] =
    ["type", "source", "id", "subject", "time", "data", "oracle", "specversion", "dataschema", "datacontenttype"];

impl Path {
    /// A path of names into the entry.
    pub(super) fn entry<const N: usize>(names: [&str; N]) -> Path {
        Path { root: Root::Entry, steps: names.map(|name| Step::Key(name.to_owned())).into() }
    }

    /// The part of `self` that lies beneath `whole`.
    pub(super) fn beneath(&self, whole: &Path) -> Option<&[Step]> {
        (self.root == whole.root).then(|| self.steps.strip_prefix(&whole.steps[..])).flatten()
    }
}

/// The path as queries write it, short where it can be.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        match &self.root {
            Root::Time => {
                f.write_str("datetime")?;
                is_first = false;
            }
            Root::Column(name) => {
                write!(f, "{}", Name(name))?;
                is_first = false;
            }
            Root::Row => f.write_str("*")?,
            Root::Entry => {
                let is_short = matches!(self.steps.first(), Some(Step::Key(key)) if ATTRIBUTES.contains(&key.as_str()));
                if !is_short {
                    f.write_str("logContent")?;
                    is_first = false;
                }
            }
        }
        for step in &self.steps {
            match step {
                Step::Key(key) => {
                    if !is_first {
                        f.write_str(".")?;
                    }
                    write!(f, "{}", Name(key))?;
                }
                Step::Element(index) => write!(f, "[{index}]")?,
            }
            is_first = false;
        }
        Ok(())
    }
}

/// A name as queries write it: in double quotes unless it is a plain word.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = self.0.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && self.0.chars().all(|other| other.is_ascii_alphanumeric() || other == '_');
        if is_plain { f.write_str(self.0) } else { write!(f, "\"{}\"", self.0.replace('"', "\"\"")) }
    }
}
