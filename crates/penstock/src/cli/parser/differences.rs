//! Events beside the events that were expected: where they differ, and how that is shown.
//!
//! What counts as a difference is `cbn::output::compare`'s, which follows Google's validator: times and the log type do
//! not, unless they are asked for. That validator compares at equal places alone, so that one event too many makes all
//! behind it different. Where the numbers of events are not the same, here they are brought into step first: the verdict
//! is the same, and what is shown is what is really missing.

use std::path::Path;

use cbn::output::compare::{self, Difference, IGNORED};
use serde_json::{Value, json};

use super::show::shortened;
use crate::cli::output::{printable, table};
use crate::cli::{CliError, Format};

/// Largest file of expected events that is read.
const EXPECTED_BYTES_MAX: u64 = 1 << 30;
/// Up to so many comparisons of two events are made to bring them into step.
const STEPS_MAX: usize = 25_000_000;

/// An event of a file beside the one that came out; at least one is there, and they differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Which of the expected events, from 1.
    pub expected: Option<usize>,
    /// Which of the events that came out, from 1.
    pub got: Option<usize>,
    /// Where they differ; of an event that stands alone, nothing.
    pub differences: Vec<Difference>,
}

/// How two lists of events compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// How many were expected.
    pub expected: usize,
    /// How many came out.
    pub got: usize,
    /// How many of the expected came out as they should.
    pub equal: usize,
    /// The others.
    pub pairs: Vec<Pair>,
}

impl Comparison {
    /// Whether all is as expected.
    pub fn is_equal(&self) -> bool {
        self.pairs.is_empty()
    }

    /// `12 of 14 expected events came out, and 1 other`.
    pub fn sentence(&self) -> String {
        let others = self.got - self.equal;
        let others = match others {
            0 => String::new(),
            1 => ", and 1 other".to_owned(),
            others => format!(", and {others} others"),
        };
        format!("{} of {} expected events came out{others}", self.equal, self.expected)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let pairs: Vec<Value> = self
            .pairs
            .iter()
            .map(|pair| {
                let differences: Vec<Value> = pair
                    .differences
                    .iter()
                    .map(|found| {
                        json!({ "path": short_path(&found.path), "expected": found.expected, "got": found.got })
                    })
                    .collect();
                json!({ "expected": pair.expected, "got": pair.got, "differences": differences })
            })
            .collect();
        json!({ "expected": self.expected, "got": self.got, "equal": self.equal, "different": pairs })
    }

    /// For people: of at most `pairs_max` events.
    pub fn text(&self, pairs_max: usize, name: &dyn Fn(usize) -> Option<String>) -> String {
        let mut out = String::new();
        for pair in self.pairs.iter().take(pairs_max) {
            let log = pair.got.and_then(name).map_or_else(String::new, |log| format!(" ({log})"));
            match (pair.expected, pair.got) {
                (Some(expected), None) => out.push_str(&format!("event {expected} did not come out\n")),
                (None, Some(got)) => out.push_str(&format!("event {got}{log} is not expected\n")),
                (Some(expected), Some(got)) if expected != got => {
                    out.push_str(&format!("event {got}{log}, expected as {expected}\n"));
                }
                _ => out.push_str(&format!("event {}{log}\n", pair.got.unwrap_or(0))),
            }
            if !pair.differences.is_empty() {
                let mut rows = table();
                rows.set_header(["  path", "expected", "got"]);
                for found in &pair.differences {
                    let path = format!("  {}", printable(&short_path(&found.path)));
                    rows.add_row([path, cell(found.expected.as_ref()), cell(found.got.as_ref())]);
                }
                // The last column is filled up with blanks.
                for row in rows.to_string().lines() {
                    out.push_str(row.trim_end());
                    out.push('\n');
                }
            }
        }
        if self.pairs.len() > pairs_max {
            out.push_str(&format!("… and {} more that differ\n", self.pairs.len() - pairs_max));
        }
        out
    }
}

/// Prints a comparison.
pub fn print(comparison: &Comparison, format: Format, name: &dyn Fn(usize) -> Option<String>) {
    match format {
        Format::Table => {
            let text = comparison.text(usize::MAX, name);
            if !text.is_empty() {
                crate::cli::say(text.trim_end());
            }
        }
        format => format.one(&comparison.json()),
    }
}

/// Reads a file of expected events.
pub fn read(path: &Path) -> Result<Value, CliError> {
    let refused = |why: String| CliError::Refused(format!("{}: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if found.len() > EXPECTED_BYTES_MAX {
        return Err(refused(format!("it has {} bytes, more than the {EXPECTED_BYTES_MAX} that are read", found.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| refused(format!("is no file of expected events: {error}")))?;
    if !value.is_array() && !value["events"].is_array() {
        return Err(refused("is no file of expected events: it has no list \"events\"".to_owned()));
    }
    Ok(value)
}

/// The events of a file, as a list.
fn list(file: &Value) -> &[Value] {
    file.as_array().or_else(|| file["events"].as_array()).map_or(&[], Vec::as_slice)
}

/// Compares; the times, too, if `times`.
pub fn compare(expected: &Value, got: &Value, times: bool) -> Comparison {
    let (expected, got) = (list(expected), list(got));
    let one = |at: Option<usize>, list: &[Value]| Value::Array(at.map(|at| list[at].clone()).into_iter().collect());
    let mut pairs = Vec::new();
    for (left, right) in in_step(expected, got) {
        let mut differences = match (left, right) {
            (Some(_), Some(_)) => compare::compare(&one(left, expected), &one(right, got))
                .into_iter()
                .flat_map(|found| found.differences)
                .collect(),
            _ => Vec::new(),
        };
        if let (Some(left), Some(right), true) = (left, right, times) {
            moments("$", &expected[left], &got[right], &mut differences);
        }
        if left.is_none() || right.is_none() || !differences.is_empty() {
            pairs.push(Pair { expected: left.map(|at| at + 1), got: right.map(|at| at + 1), differences });
        }
    }
    let unequal = pairs.iter().filter(|pair| pair.expected.is_some()).count();
    Comparison { expected: expected.len(), got: got.len(), equal: expected.len() - unequal, pairs }
}

/// Which event is to be held against which: those at equal places, if there are as many; else those that are equal, in
/// the order that leaves most of them, and what is between in turn.
fn in_step(expected: &[Value], got: &[Value]) -> Vec<(Option<usize>, Option<usize>)> {
    let at = |at: usize, list: &[Value]| (at < list.len()).then_some(at);
    let in_turn = |from: (usize, usize), to: (usize, usize)| {
        let turns = (to.0 - from.0).max(to.1 - from.1);
        (0..turns).map(move |turn| {
            ((from.0 + turn < to.0).then_some(from.0 + turn), (from.1 + turn < to.1).then_some(from.1 + turn))
        })
    };
    if expected.len() == got.len() {
        return (0..expected.len()).map(|index| (at(index, expected), at(index, got))).collect();
    }
    let left: Vec<String> = expected.iter().map(known_by).collect();
    let right: Vec<String> = got.iter().map(known_by).collect();
    let before = left.iter().zip(&right).take_while(|(one, other)| one == other).count();
    let rest = left.len().min(right.len()) - before;
    let behind = left.iter().rev().zip(right.iter().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let (left_end, right_end) = (left.len() - behind, right.len() - behind);
    let (rows, columns) = (left_end - before, right_end - before);

    let mut pairs: Vec<(Option<usize>, Option<usize>)> = in_turn((0, 0), (before, before)).collect();
    let mut reached = (before, before);
    if rows.saturating_mul(columns) <= STEPS_MAX {
        // The length of the longest common part of what follows, for each two places.
        let width = columns + 1;
        let mut longest = vec![0_u32; (rows + 1) * width];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                longest[row * width + column] = if left[before + row] == right[before + column] {
                    longest[(row + 1) * width + column + 1] + 1
                } else {
                    longest[(row + 1) * width + column].max(longest[row * width + column + 1])
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < rows && column < columns {
            if left[before + row] == right[before + column] {
                pairs.extend(in_turn(reached, (before + row, before + column)));
                pairs.push((Some(before + row), Some(before + column)));
                (row, column) = (row + 1, column + 1);
                reached = (before + row, before + column);
            } else if longest[(row + 1) * width + column] >= longest[row * width + column + 1] {
                row += 1;
            } else {
                column += 1;
            }
        }
    }
    pairs.extend(in_turn(reached, (left_end, right_end)));
    pairs.extend(in_turn((left_end, right_end), (left.len(), right.len())));
    pairs
}

/// A text that equal events share.
fn known_by(event: &Value) -> String {
    let mut out = String::new();
    write_sorted(event, &mut out);
    out
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().filter(|(key, _)| !IGNORED.contains(&key.as_str())).collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in sorted {
                out.push_str(&format!("{key:?}:"));
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for element in elements {
                write_sorted(element, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Number(number) => out.push_str(&number.as_f64().map_or_else(String::new, |number| number.to_string())),
        other => out.push_str(&other.to_string()),
    }
}

/// The differences of what does not count otherwise: times, by their moment, wherever they stand.
fn moments(path: &str, expected: &Value, got: &Value, differences: &mut Vec<Difference>) {
    match (expected, got) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let path = format!("{path}.{key}");
                let (value, beside) = (one.get(key), other.get(key));
                let is_time = IGNORED.contains(&key.as_str()) && key != "logType";
                match (value, beside) {
                    (Some(value), Some(beside)) if !is_time => moments(&path, value, beside, differences),
                    _ if is_time && value.map(moment) != beside.map(moment) => {
                        differences.push(Difference { path, expected: value.cloned(), got: beside.cloned() });
                    }
                    _ => {}
                }
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for (at, (value, beside)) in one.iter().zip(other).enumerate() {
                moments(&format!("{path}[{at}]"), value, beside, differences);
            }
        }
        _ => {}
    }
}

fn moment(value: &Value) -> Result<event::Time, String> {
    let text = value.as_str().unwrap_or_default();
    event::Time::parse_rfc3339(text).map_err(|_| value.to_string())
}

/// A path without what all paths have.
fn short_path(path: &str) -> String {
    let inside = ["$.event.idm.readOnlyUdm.", "$.event.idm.entity.", "$.event.", "$."];
    inside.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path).to_owned()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) => shortened(printable(&value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that are told apart by a letter.
    fn file(letters: &str) -> Value {
        let events: Vec<Value> = letters
            .chars()
            .map(
                |letter| json!({"event": {"timestamp": "2026-11-01T10:00:00Z", "idm": {"readOnlyUdm": {"k": letter}}}}),
            )
            .collect();
        json!({ "events": events })
    }

    #[test]
    fn events_are_brought_into_step_where_their_numbers_differ() {
        type Expected = (usize, &'static [(Option<usize>, Option<usize>)]);
        let cases: [(&str, &str, Expected); 8] = [
            ("", "", (0, &[])),
            ("abc", "abc", (3, &[])),
            // As many of both: at equal places, as Google's validator has it.
            ("abc", "bcd", (0, &[(Some(1), Some(1)), (Some(2), Some(2)), (Some(3), Some(3))])),
            ("abcd", "acd", (3, &[(Some(2), None)])),
            ("acd", "abcd", (3, &[(None, Some(2))])),
            ("abcd", "axd", (2, &[(Some(2), Some(2)), (Some(3), None)])),
            ("ab", "", (0, &[(Some(1), None), (Some(2), None)])),
            ("aa", "aaa", (2, &[(None, Some(3))])),
        ];
        for (expected, got, (equal, pairs)) in cases {
            let found = compare(&file(expected), &file(got), false);
            let places: Vec<_> = found.pairs.iter().map(|pair| (pair.expected, pair.got)).collect();
            assert_eq!((found.equal, places.as_slice()), (equal, pairs), "{expected} {got}");
            assert_eq!(found.is_equal(), expected == got);
        }
    }

    #[test]
    fn differences_have_a_path_and_both_values() {
        let found = compare(&file("a"), &file("b"), false);
        let text = found.text(10, &|_| Some("x.log:1".to_owned()));
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            ["event 1 (x.log:1)", "   path  expected  got", "   k     \"a\"       \"b\""],
        );
        assert_eq!(found.json()["different"][0]["differences"], json!([{ "path": "k", "expected": "a", "got": "b" }]));
    }

    #[test]
    fn times_count_if_asked_for() {
        let at = |time: &str| json!([{"event": {"timestamp": time, "idm": {"readOnlyUdm": {"a": [{"eventTimestamp": time}]}}}}]);
        let (noon, same, later) = ("2026-11-01T12:00:00Z", "2026-11-01T13:00:00.000+01:00", "2026-11-01T12:00:01Z");
        assert!(compare(&at(noon), &at(later), false).is_equal());
        assert!(compare(&at(noon), &at(same), true).is_equal());
        let found = compare(&at(noon), &at(later), true);
        let paths: Vec<_> = found.pairs[0].differences.iter().map(|found| short_path(&found.path)).collect();
        assert_eq!(paths, ["timestamp", "a[0].eventTimestamp"]);
    }
}
