//! Every limit, reached on purpose.

use cbn::{End, Limit, Limits};

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
