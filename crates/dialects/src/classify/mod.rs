//! Which log type is this text? An honest guess for `logs:classify` and the command line.
//!
//! A text is looked at once ([`view::View`]): its syslog header, its JSON fields, its `key=value` pairs, and so on. Then
//! each rule of one table ([`rules::RULES`]) asks for evidence in that view; those that find theirs are weighed per log
//! type. Scores say how much evidence there is and no more: a syslog line of an unknown program, or JSON with everyday
//! keys, scores next to nothing, and two log types that write the same line score about the same.
//!
//! Absent: the log types of an instance's own making, of which nobody knows what they look like; learning; more than
//! one log in a text. Nothing here fails, recurses, or takes more than linear time in what it looks at.

mod json;
mod rules;
mod view;

use std::collections::HashMap;

use event::limits;

use self::rules::RULES;
use self::view::View;

/// A log type that a text may be of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its name in the table of log types.
    pub log_type: &'static str,
    /// How strong the evidence is, from 0 to 0.99: what is left of all doubt, not a probability. Below 0.2 nothing
    /// speaks for it but its general shape.
    pub score: f32,
}

/// No evidence makes certain.
const SCORE_MAX: f64 = 0.99;

/// The log types that one log may be of, best first, at most [`limits::CLASSIFY_CANDIDATES_MAX`]; empty where there is
/// no evidence at all. Looks at the first [`limits::CLASSIFY_BYTES_MAX`] bytes; what is not UTF-8 in them is passed
/// over.
pub fn classify(log: &[u8]) -> Vec<Candidate> {
    let text = String::from_utf8_lossy(&log[..log.len().min(limits::CLASSIFY_BYTES_MAX)]);
    let view = View::of(&text);
    // What speaks for a log type takes its share of the doubt, what speaks against it its share of the score.
    let mut types: HashMap<&'static str, (f64, f64)> = HashMap::new();
    for rule in RULES {
        if rule.evidence.iter().all(|evidence| evidence.is_in(&view)) {
            let (doubt, share) = types.entry(rule.log_type).or_insert((1.0, 1.0));
            if rule.weight >= 0.0 {
                *doubt *= 1.0 - rule.weight;
            } else {
                *share *= 1.0 + rule.weight;
            }
        }
    }
    let mut found: Vec<(f64, &'static str)> =
        types.into_iter().map(|(log_type, (doubt, share))| ((1.0 - doubt) * share, log_type)).collect();
    found.retain(|(score, _)| *score > 0.0);
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.truncate(limits::CLASSIFY_CANDIDATES_MAX);
    found.into_iter().map(|(score, log_type)| Candidate { log_type, score: score.min(SCORE_MAX) as f32 }).collect()
}

#[cfg(test)]
mod tests;
