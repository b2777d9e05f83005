//! A source's query, parsed once: what a connector takes beyond kinds and log types.

use std::sync::Arc;

use event::Event;
use query::Predicate;

use crate::config::Language;

/// A parsed query.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    predicate: Arc<Predicate>,
}

impl Filter {
    /// Reads a query. The error is the diagnostic with carets, for whoever wrote it.
    pub(crate) fn parse(query: &str, language: Language, schema: &Arc<udm::Schema>) -> Result<Filter, String> {
        let parsed = match language {
            Language::Udm => query::parse_udm(query, schema, query::Options::default()),
            Language::Raw => match pattern(query) {
                Some((pattern, case_sensitive)) => query::raw_regex(pattern, case_sensitive),
                None => query::raw_text(query, false),
            },
        };
        match parsed {
            Ok(predicate) => Ok(Filter { predicate: Arc::new(predicate) }),
            Err(diagnostic) => Err(diagnostic.render(query)),
        }
    }

    /// Whether it takes this event. A UDM query takes no raw text and the other way round.
    pub(crate) fn matches(&self, event: &Event) -> bool {
        self.predicate.matches(event.kind, &event.data)
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
