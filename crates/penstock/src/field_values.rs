//! Which values the fields of events have that hold a text: looks at one event after the other, keeps each value once.
//!
//! Where it sits: [`crate::components`] hands it the newest events of one instance.

use std::collections::HashMap;
use std::ops::Range;

use dialects::{FieldValue, Outcome};
use event::{Time, limits};
use udm::{Root, Schema};

/// The values found so far.
pub struct FieldValues {
    /// What a value must hold, folded.
    text: Vec<char>,
    values_max: usize,
    values: Vec<FieldValue>,
    /// Where each field's value stands in `values`.
    places: HashMap<(String, String), usize>,
    has_more: bool,
}

impl FieldValues {
    /// For values that hold `text`, at most `values_max` of them.
    pub fn new(text: &str, values_max: usize) -> FieldValues {
        let text = text.chars().map(udm::fold_char).collect();
        FieldValues { text, values_max, values: Vec::new(), places: HashMap::new(), has_more: false }
    }

    /// Looks at an event. True when there is nothing more to look for.
    pub fn look(&mut self, schema: &Schema, event: &[u8], received_at: Time) -> bool {
        schema.visit_leaves(Root::Event, event, &mut |leaf| {
            if self.has_more || leaf.text.len() > limits::FIELD_VALUE_BYTES_MAX {
                return;
            }
            let Some(matched) = self.find(leaf.text) else { return };
            let key = (leaf.path.to_owned(), leaf.text.to_owned());
            if let Some(place) = self.places.get(&key) {
                let value = &mut self.values[*place];
                value.received_at = value.received_at.max(received_at);
            } else if self.values.len() == self.values_max {
                self.has_more = true;
            } else {
                let (path, value) = key.clone();
                self.places.insert(key, self.values.len());
                self.values.push(FieldValue { path, value, received_at, matched });
            }
        });
        self.has_more
    }

    /// What was found.
    pub fn finish(self) -> Outcome {
        Outcome::FieldValues { values: self.values, has_more: self.has_more }
    }

    /// Which characters of a value are the text. Folding keeps the number of characters.
    fn find(&self, value: &str) -> Option<Range<usize>> {
        let folded: Vec<char> = value.chars().map(udm::fold_char).collect();
        let at = folded.windows(self.text.len()).position(|window| window == self.text)?;
        Some(at..at + self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(text: &str, values_max: usize, events: &[&str]) -> (Vec<(String, String, Range<usize>, i64)>, bool) {
        let schema = Schema::load();
        let mut values = FieldValues::new(text, values_max);
        for (secs, event) in (0..).zip(events) {
            if values.look(&schema, event.as_bytes(), Time::from_secs(secs).unwrap()) {
                break;
            }
        }
        let Outcome::FieldValues { values, has_more } = values.finish() else { panic!("another outcome") };
        let shown = |value: FieldValue| (value.path, value.value, value.matched, value.received_at.secs());
        (values.into_iter().map(shown).collect(), has_more)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, Range<usize>, i64)]) {
        let events = [
            r#"{"metadata": {"eventType": "USER_LOGIN"}, "principal": {"hostname": "WS-Joe", "ip": ["10.0.0.1"]}}"#,
            r#"{"metadata": {"event_type": "USER_LOGIN"}, "target": {"hostname": "ws-joe", "port": 1001}}"#,
            r#"{"principal": {"hostname": "Éric", "user": {"userid": ""}}}"#,
        ];
        let (found, has_more) = looked(text, 10, &events);
        let expected: Vec<_> = (expected.iter())
            .map(|(path, value, matched, at)| ((*path).to_owned(), (*value).to_owned(), matched.clone(), *at))
            .collect();
        assert_eq!((found, has_more), (expected, false), "{text}");
    }

    #[test]
    fn values_that_hold_the_text() {
        check("JOE", &[("principal.hostname", "WS-Joe", 3..6, 0), ("target.hostname", "ws-joe", 3..6, 1)]);
        check("user_", &[("metadata.event_type", "USER_LOGIN", 0..5, 1)]);
        check("00", &[("target.port", "1001", 1..3, 1)]);
        check("0.0", &[("principal.ip", "10.0.0.1", 1..4, 0)]);
        check("éri", &[("principal.hostname", "Éric", 0..3, 2)]);
        check("nowhere", &[]);
    }

    #[test]
    fn more_than_were_asked_for() {
        let event = r#"{"principal": {"ip": ["10.0.0.1", "10.0.0.2", "10.0.0.1"]}}"#;
        assert!(!looked("10", 2, &[event]).1);
        let (found, has_more) = looked("10", 1, &[event]);
        assert_eq!((found.len(), has_more), (1, true));
    }

    #[test]
    fn values_too_long_to_help_are_left_out() {
        let long = "x".repeat(limits::FIELD_VALUE_BYTES_MAX + 1);
        assert_eq!(looked("x", 10, &[&format!(r#"{{"principal": {{"hostname": "{long}"}}}}"#)]).0, []);
    }
}
