//! What of a program ran, by logs.

use cbn::coverage::{Coverage, What};

use super::support::{context, machine, program};

const PARSER: &str = r#"
mutate { replace => { "kind" => "" } }
if [message] == "a" {
  mutate { replace => { "kind" => "a" } }
} else if [message] == "b" {
  if [kind] == "" {
    mutate { replace => { "kind" => "b" } }
  }
} else {
  drop { }
}
for key, value in parts map {
  mutate { replace => { "last" => "%{key}" } }
}
mutate { merge => { "list" => "kind" } }"#;

fn covered(logs: &[&str]) -> Coverage {
    let program = program(PARSER);
    let mut coverage = Coverage::new(&program);
    let mut machine = machine(cbn::Limits::default());
    for log in logs {
        let _ = machine.watch(&program, log.as_bytes(), &context(), &mut coverage);
    }
    coverage
}

/// Statements and branches reached, and what was missed: for each the beginning of the text at its place.
#[track_caller]
fn check(logs: &[&str], statements: u64, branches: u64, missed: &[(What, &str)]) {
    let source = format!("filter {{\n{PARSER}\n}}\n");
    let coverage = covered(logs);
    let told: Vec<(What, &str)> = coverage
        .missed()
        .into_iter()
        .map(|missed| {
            (
                missed.what,
                source[missed.span.start as usize..missed.span.end as usize].split(" {").next().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(told, missed, "{logs:?}");
    let (of_statements, of_branches) = (coverage.statement_share(), coverage.branch_share());
    assert_eq!((of_statements.reached, of_statements.of), (statements, 9), "{logs:?}");
    assert_eq!((of_branches.reached, of_branches.of), (branches, 5), "{logs:?}");
}

#[test]
fn what_logs_reach() {
    let (a, b, otherwise) = (r#"if [message] == "a""#, r#"if [message] == "b""#, "else");
    let looped = "for key, value in parts";
    check(
        &[],
        0,
        0,
        &[
            (What::Statement, "mutate"),
            (What::Statement, a),
            (What::Statement, "for key, value in parts map"),
            (What::Statement, "mutate"),
        ],
    );
    check(&["a"], 5, 1, &[(What::Branch, b), (What::Branch, otherwise), (What::Loop, looped)]);
    check(&["b"], 6, 2, &[(What::Branch, a), (What::Branch, otherwise), (What::Loop, looped)]);
    check(
        &["c"],
        3,
        1,
        &[
            (What::Branch, a),
            (What::Branch, b),
            (What::Statement, "for key, value in parts map"),
            (What::Statement, "mutate"),
        ],
    );
    check(&["a", "b", "c"], 8, 4, &[(What::Loop, looped)]);
}

#[test]
fn runs_apart_are_put_together() {
    let mut both = covered(&["a"]);
    both.merge(&covered(&["b", "b"]));
    assert_eq!(both, covered(&["b", "a", "b"]));
    let hits: Vec<u64> = both.statements().map(|(_, hits)| hits).collect();
    assert_eq!(hits, [3, 3, 1, 2, 2, 0, 3, 0, 3]);
    assert!((both.statement_share().ratio() - 7.0 / 9.0).abs() < 1e-9);
}
