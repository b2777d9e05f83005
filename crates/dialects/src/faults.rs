//! What is wrong with a request, field by field: all of it counted, the first of it listed.

use event::limits;

use crate::{Refusal, Violation};

/// Faults in the order in which they were met; all counted, the first [`limits::FAULTS_MAX`] kept.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) listed: Vec<Violation>,
    pub(crate) count: usize,
}

impl Faults {
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.count += 1;
        if self.listed.len() < limits::FAULTS_MAX {
            self.listed.push(Violation { field: field.into(), description: description.into() });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// These, then those.
    pub(crate) fn followed_by(mut self, other: Faults) -> Faults {
        self.count += other.count;
        self.listed.extend(other.listed);
        self.listed.truncate(limits::FAULTS_MAX);
        self
    }

    /// The refusal that names them; `whole` is what else they may be in: the batch, the body. `None` without a fault.
    pub(crate) fn refusal(self, whole: &str) -> Option<Refusal> {
        let first = self.listed.first()?;
        let more = match self.count {
            1 => String::new(),
            count => format!(" ({} more faults in the {whole})", count - 1),
        };
        let mut refusal = Refusal::invalid(format!("{}: {}{more}", first.field, first.description));
        refusal.violations = self.listed.into();
        refusal.violations_count = u32::try_from(self.count).unwrap_or(u32::MAX);
        Some(refusal)
    }
}
