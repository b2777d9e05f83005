//! Every limit, reached on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cbn::{End, Limit, Limits, Observer, Step};

use crate::support::{context, machine, program};

#[track_caller]
fn reached(statements: &str, log: &[u8], limits: Limits) -> Limit {
    let program = program(statements);
    match machine(limits).run(&program, log, &context()).end {
        Err(cbn::Error { end: End::Limit(limit), .. }) => limit,
        Err(other) => panic!("{other}"),
        Ok(events) => panic!("{} events", events.len()),
    }
}

#[test]
fn a_log_of_more_than_ten_mebibytes_is_not_read() {
    let log = vec![b'x'; (10 << 20) + 1];
    assert_eq!(reached("", &log, Limits::default()), Limit::Log);
}

#[test]
fn loops_in_loops_end() {
    let list: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let log = format!(r#"{{"l": [{}]}}"#, list.join(","));
    let statements = r#"json { source => "message" }
        for a in l { for b in l { for c in l { mutate { replace => { "x" => "y" } } } } }"#;
    assert_eq!(reached(statements, log.as_bytes(), Limits::default()), Limit::Steps);
}

#[test]
fn a_text_that_doubles_ends() {
    let doubling = r#"mutate { replace => { "a" => "%{a}%{a}" } }"#.repeat(60);
    let statements = format!(r#"mutate {{ replace => {{ "a" => "0123456789abcdef" }} }} {doubling}"#);
    assert_eq!(reached(&statements, b"", Limits::default()), Limit::Memory);
}

#[test]
fn a_list_that_doubles_ends() {
    let doubling = r#"mutate { merge => { "l" => "l" } }"#.repeat(60);
    let statements = format!(r#"mutate {{ replace => {{ "a" => "x" }} merge => {{ "l" => "a" }} }} {doubling}"#);
    assert!(matches!(reached(&statements, b"", Limits::default()), Limit::Memory | Limit::Steps));
}

#[test]
fn a_replacement_that_explodes_ends() {
    let with = "y".repeat(100_000);
    let statements = format!(r#"mutate {{ gsub => ["message", "x", "{with}"] }}"#);
    let log = vec![b'x'; 100_000];
    assert_eq!(reached(&statements, &log, Limits::default()), Limit::Memory);
}

#[test]
fn a_map_that_holds_itself_is_met_with_a_limit() {
    let statements = r#"mutate { replace => { "m.k" => "1" } merge => { "m.l" => "m" } copy => { "c" => "m" } }"#;
    assert_eq!(reached(statements, b"", Limits::default()), Limit::Nesting);
}

#[test]
fn events_beyond_their_number_end_the_log() {
    let list: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let log = format!(r#"{{"l": [{}]}}"#, list.join(","));
    let statements = r#"json { source => "message" }
        mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } }
        for a in l { mutate { merge => { "@output" => "event" } } }"#;
    assert_eq!(reached(statements, log.as_bytes(), Limits::default()), Limit::Output);
}

#[test]
fn events_beyond_their_bytes_end_the_log() {
    let statements = r#"mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT"
            "event.idm.read_only_udm.metadata.description" => "%{message}" } }
        mutate { merge => { "@output" => "event" } }"#;
    let limits = Limits { output_bytes: 1000, ..Limits::default() };
    assert_eq!(reached(statements, &[b'x'; 2000], limits), Limit::Output);
}

#[test]
fn a_regular_expression_out_of_a_log_has_a_size() {
    let statements = r#"if "a" =~ [message] { drop {} }"#;
    assert_eq!(reached(statements, &[b'a'; 20_000], Limits::default()), Limit::Regex);
}

#[test]
fn a_program_nested_too_deep_or_too_large_is_not_read() {
    let deep = format!("filter {{ {} {} }}", "if [a] {".repeat(300), "}".repeat(300));
    let large = format!("filter {{ {} }}", "# comment\n".repeat(500_000));
    let regex = r#"filter { mutate { gsub => ["a", "(((x{1000}){1000}){1000})", ""] } }"#.to_owned();
    for program in [deep, large, regex] {
        assert!(cbn::Program::new("test.conf", program).is_err());
    }
}

/// Cancels a run at its thousandth statement, and counts on.
struct Impatient {
    statements: u64,
    cancel: Arc<AtomicBool>,
}

impl Observer for Impatient {
    fn statement(&mut self, _step: Step<'_>, _run: &cbn::run::Run<'_>) {
        self.statements += 1;
        if self.statements == 1_000 {
            self.cancel.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_that_is_cancelled_ends_soon_and_nothing_catches_that() {
    let list: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let log = format!(r#"{{"l": [{}]}}"#, list.join(","));
    let endless = r#"json { source => "message" }
        for a in l { for b in l { for c in l { mutate { replace => { "x" => "y" } on_error => "failed" } } } }
        mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } merge => { "@output" => "event" } }"#;
    let cancel = Arc::new(AtomicBool::new(false));
    // Without being cancelled this runs for hours.
    let mut machine = machine(Limits { steps: u64::MAX, ..Limits::default() });
    machine.cancel = Some(Arc::clone(&cancel));
    let mut observer = Impatient { statements: 0, cancel: Arc::clone(&cancel) };
    let error = machine.watch(&program(endless), log.as_bytes(), &context(), &mut observer).end.expect_err("cancelled");
    assert_eq!(error.end, End::Limit(Limit::Cancelled));
    assert!(error.text.starts_with("LOG_PARSING_CBN_ERROR: \"generic::cancelled: pipeline failed: "), "{error}");
    assert!((1_000..10_000).contains(&observer.statements), "{} statements", observer.statements);
    // The next log of the same machine is not begun.
    let short = program(r#"mutate { replace => { "x" => "y" } }"#);
    let end = machine.run(&short, b"", &context()).end.expect_err("cancelled");
    assert_eq!(end.end, End::Limit(Limit::Cancelled));
    cancel.store(false, Ordering::Relaxed);
    assert!(machine.run(&short, b"", &context()).end.is_ok());
}

#[test]
fn looking_whether_a_run_is_cancelled_costs_no_steps() {
    let statements = r#"mutate { replace => { "a" => "b" } }"#.repeat(10_000);
    let program = program(&statements);
    for steps in [9_999, 10_000] {
        let mut machine = machine(Limits { steps, ..Limits::default() });
        machine.cancel = Some(Arc::default());
        let end = machine.run(&program, b"", &context()).end;
        assert_eq!(end.is_ok(), steps == 10_000);
        assert_eq!(machine.used().steps, steps);
    }
}

#[test]
fn memory_is_flat_over_many_logs() {
    let program = program(r#"json { source => "message" } mutate { replace => { "a" => "%{k}" } }"#);
    let mut machine = machine(Limits { memory_bytes: 1 << 20, ..Limits::default() });
    let log = format!(r#"{{"k": "{}"}}"#, "x".repeat(100_000));
    for _ in 0..1000 {
        // A hundred times what one log may use, if anything stayed.
        let end = machine.run(&program, log.as_bytes(), &context()).end;
        assert!(!matches!(end, Err(error) if matches!(error.end, End::Limit(_))));
    }
}
