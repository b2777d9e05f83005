//! One run, step by step.

use cbn::trace::{Trace, TraceLimits, TraceStep, TraceWhat};

use super::support::{context, machine, program};

fn trace(statements: &str, log: &str, limits: TraceLimits) -> Trace {
    let program = program(statements);
    let mut trace = Trace::with_limits(&program, limits);
    let _ = machine(cbn::Limits::default()).watch(&program, log.as_bytes(), &context(), &mut trace);
    trace
}

/// A step in a line: `3 mutate caught: error | a: 1 -> 2`.
fn line(step: &TraceStep) -> String {
    let what = match step.what {
        TraceWhat::Statement => step.name.clone(),
        TraceWhat::Branch => format!("-> {} {}", step.name, step.source),
        TraceWhat::Turn => format!("-> turn {} of {}", step.turn.unwrap_or_default(), step.source),
    };
    let end = format!("{:?}", step.end).to_lowercase();
    let end = if end == "done" { String::new() } else { format!(" {end}: {}", step.error.as_deref().unwrap_or("-")) };
    let changes: String = step
        .changes
        .iter()
        .map(|change| {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            format!(" | {}: {} -> {}", change.path, value(&change.before), value(&change.after))
        })
        .collect();
    format!("{}{}{what}{end}{changes}", step.line, "  ".repeat(step.depth as usize + 1))
}

#[track_caller]
fn check(statements: &str, log: &str, expected: &[&str]) {
    let trace = trace(statements, log, TraceLimits::default());
    let lines: Vec<String> = trace.steps().iter().map(line).collect();
    assert_eq!(lines, expected, "{statements}");
    assert_eq!(trace.left_out(), 0);
}

#[test]
fn what_statements_change() {
    check(
        r#"mutate { replace => { "a.b" => "1" "c" => "%{message}" } }
mutate { convert => { "c" => "float" } rename => { "a.b" => "d" } }
mutate { merge => { "list" => "d" "list" => "c" } }
mutate { replace => { "c" => "%{nothing}" } on_error => "no" }
mutate { remove_field => "a" }"#,
        "80",
        &[
            r#"2  mutate | a.b: nothing -> "1" | c: nothing -> "80""#,
            r#"3  mutate | a: nothing -> {} | a.b: "1" -> nothing | c: "80" -> 80 | d: nothing -> "1""#,
            r#"4  mutate | list.0: nothing -> "1" | list.1: nothing -> 80"#,
            r#"5  mutate caught: replace failure: field "c": source field "nothing": field not set | @onErrorCount: 0 -> 1 | no: nothing -> true"#,
            r#"6  mutate | a: {} -> nothing"#,
        ],
    );
}

#[test]
fn which_branches_are_taken_and_how_often_loops_turn() {
    check(
        r#"if [message] == "x" {
  drop { }
} else if [message] =~ "," {
  mutate { split => { source => "message" separator => "," target => "parts" } }
} else {
  drop { }
}
for i, part in parts {
  if [part] == "b" {
    mutate { replace => { "found" => "%{part}" } }
  }
}
for nothing in nowhere {
  drop { }
}"#,
        "a,b",
        &[
            "2  if",
            r#"4  -> else if [message] =~ ",""#,
            r#"5    mutate | parts.0: nothing -> "a" | parts.1: nothing -> "b""#,
            "9  for",
            r#"9  -> turn 1 of i, part | i: nothing -> 0 | part: nothing -> "a""#,
            "10    if",
            r#"9  -> turn 2 of i, part | i: 0 -> 1 | part: "a" -> "b""#,
            "10    if",
            r#"10    -> if [part] == "b""#,
            r#"11      mutate | found: nothing -> "b""#,
            "14  for",
        ],
    );
}

#[test]
fn how_runs_end() {
    check(
        r#"mutate { replace => { "c" => "%{nothing}" } }"#,
        "x",
        &[r#"2  mutate failed: replace failure: field "c": source field "nothing": field not set"#],
    );
    check("drop { tag => \"TAG_UNSUPPORTED\" }\nmutate { replace => { \"a\" => \"b\" } }", "x", &["2  drop"]);
}

/// A list that holds itself, a map that is held by the thousand, a loop without end in sight: the trace stays small.
#[test]
fn traces_are_bounded() {
    let mut doubled = "mutate { replace => { \"m0.a\" => \"x\" } }\n".to_owned();
    for level in 0..60 {
        let next = level + 1;
        doubled.push_str(&format!(
            "mutate {{ merge => {{ \"m{next}.a\" => \"m{level}\" \"m{next}.b\" => \"m{level}\" }} }}\n"
        ));
    }
    let limits = TraceLimits { steps: 100, changes: 5, value_chars: 4, fields: 1_000, fields_total: 50_000 };
    let trace = trace(
        &format!(
            "{doubled}mutate {{ split => {{ source => \"message\" separator => \" \" target => \"parts\" }} }}\nfor part in parts {{ mutate {{ replace => {{ \"p\" => \"%{{part}}{}\" }} }} }}",
            "y".repeat(1000)
        ),
        &"abcdefgh ".repeat(200),
        limits,
    );
    assert_eq!(trace.steps().len(), 100);
    assert!(trace.left_out() > 300);
    for step in trace.steps() {
        assert!(step.changes.len() <= 5);
        for change in &step.changes {
            assert!(change.after.iter().chain(&change.before).all(|value| value.len() < 100), "{change:?}");
        }
    }
    let last = trace.steps().last().unwrap();
    assert!(serde_json::to_string(last).unwrap().contains(r#""what":"#));
}
