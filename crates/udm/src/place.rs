//! Where in a record something is wrong, put into words only when it is: faults, issues and what a canonical form leaves
//! out all name their place this way.
//!
//! Absent: paths that a search can name. Those are made by [`crate::leaves`], without indices.

use std::fmt;

/// Longest path in a fault or issue.
const PATH_BYTES_MAX: usize = 100;

/// Where a walk stands: a list of segments on the stack, put into words only when something is wrong.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    parent: Option<&'a Frame<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Segment<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Frame<'a> {
    /// The record as a whole.
    pub(crate) const ROOT: Frame<'static> = Frame { parent: None, segment: Segment::Root };

    /// A place right below this one.
    pub(crate) fn down(&'a self, segment: Segment<'a>) -> Frame<'a> {
        Frame { parent: Some(self), segment }
    }

    /// The path in words. All faults of a batch must fit a small error body, so the middle of a very long one is left
    /// out.
    pub(crate) fn path(&self) -> String {
        let path = self.to_string();
        if path.len() <= PATH_BYTES_MAX {
            return path;
        }
        let half = PATH_BYTES_MAX / 2;
        let head = (0..=half).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
        let tail = (path.len() - half..).find(|at| path.is_char_boundary(*at)).unwrap_or(path.len());
        format!("{}…{}", &path[..head], &path[tail..])
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        fmt::Display::fmt(parent, f)?;
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Field(name) if matches!(parent.segment, Segment::Root) => f.write_str(clip(name)),
            Segment::Field(name) => write!(f, ".{}", clip(name)),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{:?}]", clip(key)),
        }
    }
}

/// Enough of a sender's text to recognise it in an error.
pub(crate) fn clip(text: &str) -> &str {
    match text.char_indices().nth(40) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
