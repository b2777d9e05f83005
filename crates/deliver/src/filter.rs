//! A source's query, parsed once: what a connector takes beyond kinds and log types.

use std::sync::Arc;

use event::Event;
use query::Predicate;
use query::oci::Condition;

use crate::config::Language;

/// A parsed query.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    /// Over what search looks through.
    Predicate(Arc<Predicate>),
    /// Over log entries of OCI, which the source's scopes have picked already.
    Oci(Arc<Condition>),
}

impl Filter {
    /// Reads a query. The error is the diagnostic with carets, for whoever wrote it.
    pub(crate) fn parse(query: &str, language: Language, schema: &Arc<udm::Schema>) -> Result<Filter, String> {
        let predicate = match language {
            Language::Oci => {
                let condition = Condition::parse(query).map_err(|diagnostic| diagnostic.render(query))?;
                return Ok(Filter::Oci(Arc::new(condition)));
            }
            Language::Udm => query::parse_udm(query, schema, query::Options::default()),
            Language::Raw => match pattern(query) {
                Some((pattern, case_sensitive)) => query::raw_regex(pattern, case_sensitive),
                None => query::raw_text(query, false),
            },
        };
        let predicate = predicate.map_err(|diagnostic| diagnostic.render(query))?;
        Ok(Filter::Predicate(Arc::new(predicate)))
    }

    /// Whether it takes this event. A UDM query takes no raw text and the other way round.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        match self {
            Filter::Predicate(predicate) => predicate.matches(event.kind, &event.data),
            Filter::Oci(condition) => condition.matches(&event.data),
        }
    }
}

/// The pattern between the slashes of `/…/` or `/…/ nocase`, and whether case counts.
fn pattern(query: &str) -> Option<(&str, bool)> {
    let query = query.trim();
    let (rest, case_sensitive) = match query.strip_suffix("nocase") {
        Some(rest) if rest.trim_end().len() > 1 && rest.trim_end().ends_with('/') => (rest.trim_end(), false),
        _ => (query, true),
    };
    let inner = rest.strip_prefix('/')?.strip_suffix('/')?;
    (!inner.is_empty()).then_some((inner, case_sensitive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_make_a_pattern() {
        let cases = [
            ("/a.b/", Some(("a.b", true))),
            (" /a.b/ nocase", Some(("a.b", false))),
            ("/var/log/x", None),
            ("//", None),
            ("/", None),
            ("nocase", None),
            ("/nocase", None),
            ("failed login", None),
        ];
        for (query, expected) in cases {
            assert_eq!(pattern(query), expected, "{query:?}");
        }
    }
}
