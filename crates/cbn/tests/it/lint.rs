//! What the linter tells, and what it lets pass: programs with the findings that they give.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cbn::lint::{CODES, FINDINGS_MAX, lint, lint_with};
use cbn::syntax::parse::parse;
use cbn::{Diagnostic, Severity};
use proptest::prelude::*;

static SCHEMA: LazyLock<Arc<udm::Schema>> = LazyLock::new(udm::Schema::load);

/// The end of most programs here.
const OUTPUT: &str = r#"mutate { merge => { "@output" => "event" } }"#;

fn findings(source: &str) -> Vec<Diagnostic> {
    let file = parse(source).unwrap_or_else(|found| panic!("{source}\n{found:#?}"));
    lint(&file, source, &SCHEMA)
}

/// Checks that statements give these findings, each as a code and the text at its place, and that each finding is well
/// told. Unread flags are another test's.
#[track_caller]
fn check(statements: &str, expected: &[(&str, &str)]) {
    let source = format!("filter {{\n{statements}\n{OUTPUT}\n}}\n");
    let found: Vec<Diagnostic> = findings(&source).into_iter().filter(|found| found.code != "flag-unread").collect();
    let told: Vec<(&str, &str)> =
        found.iter().map(|found| (found.code, &source[found.span.start as usize..found.span.end as usize])).collect();
    assert_eq!(told, expected, "{statements}\n{found:#?}");
    for found in &found {
        let (_, severity, _) = CODES.iter().find(|(code, ..)| *code == found.code).expect("every code is in the table");
        assert_eq!(found.severity, *severity, "{}", found.code);
        assert!(!found.label.is_empty() && !found.message.ends_with('.'), "{found:?}");
        if let Some(help) = &found.help {
            assert!(help.ends_with(['.', '?']), "{help}");
        }
    }
}

/// The only finding of statements.
#[track_caller]
fn one(statements: &str) -> Diagnostic {
    let source = format!("filter {{\n{statements}\n{OUTPUT}\n}}\n");
    let found = findings(&source);
    assert_eq!(found.len(), 1, "{statements}\n{found:#?}");
    found.into_iter().next().expect("there is one")
}

#[test]
fn the_table_is_sorted_and_says_what_each_code_is() {
    assert!(CODES.is_sorted_by(|one, other| one.0 < other.0));
    assert!(CODES.iter().all(|(code, _, what)| !code.is_empty() && !what.is_empty() && !what.ends_with('.')));
}

/// Names that nobody knows are ignored by the engine (contracts/cbn.md §1.1), so only the linter tells.
#[test]
fn names_that_nobody_knows() {
    check(r#"mutate { repalce => { "a" => "b" } }"#, &[("unknown-function", "repalce")]);
    check(r#"csv { source => "message" seperator => ";" }"#, &[("unknown-option", "seperator")]);
    check(r#"drop { tags => "TAG_UNSUPPORTED" }"#, &[("unknown-option", "tags"), ("unreachable", OUTPUT)]);
    check(r#"if [message] == "x" { drop { tag => "TAG_MALFORMED" } }"#, &[("unknown-tag", "\"TAG_MALFORMED\"")]);
    check(r#"jsn { source => "message" }"#, &[("unknown-plugin", "jsn")]);
    for (statement, near) in [
        (r#"mutate { comvert => { "message" => "integer" } }"#, "convert"),
        (r#"csv { source => "message" seperator => ";" }"#, "separator"),
        (r#"grk { match => { "message" => ["%{IP:a}"] } }"#, "grok"),
    ] {
        assert_eq!(one(statement).help.as_deref(), Some(&*format!("Did you mean {near}?")), "{statement}");
    }
    // Known names in any form.
    check(r#"GROK { match => { "message" => ["%{IP:ip}"] } on_error => "no_ip" }"#, &[]);
    check(r#"kv { source => "message" trim_value => "x" unescape_value_split => true whitespace => "strict" }"#, &[]);
}

#[test]
fn what_is_given_twice() {
    check(r#"json { source => "message" source => "message" }"#, &[("duplicate-option", "source")]);
    check(
        r#"mutate { replace => { "a" => "b" } on_error => "x" replace => { "c" => "d" } on_error => "x" }"#,
        &[("duplicate-option", "on_error")],
    );
    check(r#"mutate { replace => { "a" => "b" "c" => "d" "a" => "e" } }"#, &[("duplicate-key", "\"a\"")]);
    check(
        r#"mutate { replace => { "a" => "b" } }
        mutate { merge => { "event.idm.read_only_udm.principal.ip" => "a" "event.idm.read_only_udm.principal.ip" => "a" } }"#,
        &[],
    );
}

/// A replace from a field that is not set fails, a comparison with one ends the log (contracts/cbn.md §1.4, §1.6).
#[test]
fn blocks_that_run_in_another_order_than_they_are_written() {
    // Converting before renaming is what is written, and renaming first is what happens.
    check(
        r#"mutate { replace => { "p" => "1" } }
        mutate { convert => { "p" => "integer" } rename => { "p" => "event.idm.read_only_udm.target.port" } }"#,
        &[("unset-read", r#""p""#), ("block-order", "rename")],
    );
    check(r#"mutate { rename => { "message" => "m" } uppercase => ["m"] }"#, &[]);
    // Both only read it.
    check(
        r#"mutate { replace => { "a" => "x" } }
        mutate { merge => { "event.idm.read_only_udm.target.ip" => "a" } replace => { "b" => "%{a}" } }"#,
        &[],
    );
    check(r#"mutate { Replace => { "a" => "1" } MERGE => { "event.idm.read_only_udm.target.ip" => "a" } }"#, &[]);
}

#[test]
fn reads_of_what_nothing_sets() {
    check(r#"mutate { replace => { "a" => "-%{b}-" } on_error => "no" }"#, &[("unset-read", "b")]);
    check(r#"if [a][b] == "x" { drop {} }"#, &[("unset-read", "[a][b]")]);
    check(r#"if "x" in [a] { drop {} }"#, &[("unset-read", "[a]")]);
    check(r#"if [message] == bare { drop {} }"#, &[("unset-read", "bare")]);
    check(r#"json { source => "massage" on_error => "no" }"#, &[("unset-read", "\"massage\"")]);
    check(r#"mutate { merge => { "list" => "a" } }"#, &[("unset-read", "\"a\"")]);
    check(r#"mutate { rename => { "a" => "b" } }"#, &[("unset-read", "\"a\"")]);
    check(r#"mutate { convert => { "a" => "integer" } }"#, &[("unset-read", "\"a\"")]);
    check(r#"mutate { gsub => ["a", "b", "c"] }"#, &[("unset-read", "\"a\"")]);
    check(r#"for x in a.b { mutate { replace => { "y" => "%{x}" } } }"#, &[("unset-read", "a.b")]);
    check(r#"date { match => ["when", "ISO8601"] on_error => "no" }"#, &[("unset-read", "\"when\"")]);
    check(r#"mutate { replace => { "x.%{y}.z" => "1" } on_error => "no" }"#, &[("unset-read", "y")]);

    // Told once for each field.
    check(r#"mutate { replace => { "a" => "%{b}" "c" => "%{b}" } }"#, &[("unset-read", "b")]);
    // What may be set is let pass: by a log, by a branch, by another turn of a loop, by a name made while running.
    check(r#"json { source => "message" } if [a] == "x" { mutate { rename => { "b" => "c" } } }"#, &[]);
    check(r#"kv { source => "message" target => "kv" } if [kv][a] == "x" { drop {} }"#, &[]);
    check(r#"kv { source => "message" target => "kv" } if [a] == "x" { drop {} }"#, &[("unset-read", "[a]")]);
    check(r#"csv { source => "message" } mutate { replace => { "a" => "%{column12}" } }"#, &[]);
    check(
        r#"csv { source => "message" } mutate { replace => { "a" => "%{columm12}" } }"#,
        &[("unset-read", "columm12")],
    );
    check(
        r#"if [message] == "x" { mutate { replace => { "a" => "1" } } }
        if [a] == "1" { drop {} }"#,
        &[],
    );
    check(
        r#"split_it {} "#
            .replace(
                "split_it {}",
                r#"mutate { split => { source => "message" separator => " " target => "parts" } }
        for part in parts {
          if [message] != "x" and [last] == "y" { drop {} }
          mutate { replace => { "last" => "%{part}" } }
        }"#,
            )
            .as_str(),
        &[],
    );
    check(
        r#"mutate { replace => { "map.%{message}" => "1" } }
        mutate { replace => { "a" => "%{map.x}" } }"#,
        &[],
    );
    check(r#"if [@timezone] == "" or [@onErrorCount] == 1 { drop {} }"#, &[]);
    check(
        r#"grok { match => { "message" => ["(?P<one>a)|%{IP:two.ip}"] } on_error => "no" }
        mutate { rename => { "one" => "x" "two.ip" => "y" } }"#,
        &[],
    );
    check(
        r#"xml { source => "message" xpath => { "/a/b" => "b" } }
        mutate { replace => { "c" => "%{b}" } }"#,
        &[],
    );
}

#[test]
fn what_was_set_and_is_not_any_more() {
    let moved = r#"json { source => "message" }
        mutate { rename => { "a" => "b" } }
        mutate { replace => { "c" => "%{a}" } }"#;
    check(moved, &[("unset-read", "a")]);
    check(r#"mutate { remove_field => ["message"] } json { source => "message" }"#, &[("unset-read", "\"message\"")]);
    // A text has nothing below it.
    check(
        r#"mutate { replace => { "principal" => "" } }
        if [principal][ip] == "" { drop {} }"#,
        &[("unset-read", "[principal][ip]")],
    );
    check(
        r#"mutate { replace => { "principal" => "" "principal.hostname" => "h" } }
        if [principal][hostname] == "" { drop {} }"#,
        &[("constant-condition", r#"[principal][hostname] == """#)],
    );
    let found = one(r#"mutate { replace => { "a" => "1" } }
        mutate { rename => { "a" => "b" } }
        mutate { replace => { "c" => "%{a}" } }"#);
    assert_eq!(found.message, "a is not set any more, so this always fails");
}

#[test]
fn a_slip_of_a_name_is_put_right() {
    let found = one(r#"mutate { replace => { "has_principal" => "%{message}" } }
        if [has_princpal] == "x" { drop {} }"#);
    assert_eq!((found.code, found.help.as_deref()), ("unset-read", Some("Did you mean has_principal?")));
}

#[test]
fn names_a_letter_away_from_one_that_is_set() {
    let parser = |read: &str| {
        format!(
            r#"mutate {{ replace => {{ "machine_name" => "" "port2_name" => "" }} }}
            json {{ source => "message" }}
            if [{read}] == "x" {{ drop {{}} }}"#
        )
    };
    check(&parser("machine_mame"), &[("similar-name", "[machine_mame]")]);
    // What a log may well call so: numbers, plurals, other signs, other cases; and what is set is no slip.
    for read in ["port1_name", "machine_names", "machine.name", "Machine_name", "machine_name", "message_name"] {
        check(&parser(read), &[]);
    }
    let found = one(&parser("machine_mame"));
    assert_eq!((found.severity, found.help.as_deref()), (Severity::Hint, Some("Did you mean machine_name?")));
}

/// A field that is there already is an error of grok's unless `overwrite` names it (contracts/cbn.md §1.5).
#[test]
fn captures_into_what_is_set() {
    let grok = |overwrite: &str| {
        format!(
            r#"mutate {{ replace => {{ "ip" => "" "port" => "" }} }}
            grok {{ match => {{ "message" => ["%{{IP:ip}}:%{{INT:port}}", "%{{IP:ip}}"] }} {overwrite} on_error => "no" }}"#
        )
    };
    check(&grok(""), &[("missing-overwrite", "ip"), ("missing-overwrite", "port")]);
    check(&grok(r#"overwrite => "ip""#), &[("missing-overwrite", "port")]);
    check(&grok(r#"overwrite => ["ip", "port"]"#), &[]);
    check(r#"grok { match => { "message" => ["%{GREEDYDATA:message}"] } }"#, &[("missing-overwrite", "message")]);
    // Only where it is set on every way.
    check(
        r#"if [message] == "x" { mutate { replace => { "ip" => "" } } }
        grok { match => { "message" => ["%{IP:ip}"] } on_error => "no" }"#,
        &[],
    );
    check(
        r#"if [message] == "x" { mutate { replace => { "ip" => "" } } } else { mutate { replace => { "ip" => "1" } } }
        grok { match => { "message" => ["%{IP:ip}"] } on_error => "no" }"#,
        &[("missing-overwrite", "ip")],
    );
}

/// merge appends by reference (contracts/cbn.md §1.6).
#[test]
fn maps_that_are_changed_in_a_list() {
    let labels = |reset: &str| {
        format!(
            r#"kv {{ source => "message" target => "kv" }}
            mutate {{ replace => {{ "label.key" => "a" "label.value" => "%{{kv.a}}" }} }}
            mutate {{ merge => {{ "event.idm.read_only_udm.principal.labels" => "label" }} }}
            {reset}
            mutate {{ replace => {{ "label.key" => "b" }} }}
            mutate {{ merge => {{ "event.idm.read_only_udm.principal.labels" => "label" }} }}"#
        )
    };
    check(&labels(""), &[("merged-alias", "\"label.key\"")]);
    check(&labels(r#"mutate { replace => { "label" => "" } }"#), &[]);
    check(&labels(r#"mutate { remove_field => "label" }"#), &[]);
    check(
        &labels(r#"if [kv][x] == "y" { mutate { replace => { "label" => "" } } }"#),
        &[("merged-alias", "\"label.key\"")],
    );

    let looped = |reset: &str| {
        format!(
            r#"json {{ source => "message" }}
            for item in items {{
              {reset}
              mutate {{ replace => {{ "label.key" => "a" "label.value" => "%{{item}}" }} on_error => "no_item" }}
              if ![no_item] {{ mutate {{ merge => {{ "event.idm.read_only_udm.principal.labels" => "label" }} }} }}
            }}"#
        )
    };
    check(&looped(""), &[("merged-alias", "\"label.key\"")]);
    check(&looped(r#"mutate { replace => { "label" => "" } }"#), &[]);
    // A change that is not merged again may be meant: the list shows it.
    check(
        r#"mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } }
        mutate { merge => { "@output" => "event" } }
        mutate { replace => { "event.idm.read_only_udm.metadata.vendor_name" => "V" } }
        mutate { replace => { "event" => "" } }"#,
        &[],
    );
    // Texts are copied.
    check(
        r#"mutate { replace => { "ip" => "%{message}" } }
        mutate { merge => { "event.idm.read_only_udm.principal.ip" => "ip" } }
        mutate { replace => { "ip" => "-%{message}" } }
        mutate { merge => { "event.idm.read_only_udm.principal.ip" => "ip" } }"#,
        &[],
    );
}

#[test]
fn flags() {
    check(r#"if ![no_ip] { drop {} }"#, &[("flag-unset", "[no_ip]")]);
    check(r#"grok { match => { "message" => ["%{IP:ip}"] } on_error => "no_ip" } if ![no_ip] { drop {} }"#, &[]);
    check(r#"json { source => "message" } if ![no_ip] { drop {} }"#, &[]);

    let unread = one(r#"grok { match => { "message" => ["%{IP:ip}"] } on_error => "no_ip" }
        date { match => ["message", "ISO8601"] on_error => "no_date" }"#);
    assert_eq!((unread.code, unread.severity), ("flag-unread", Severity::Hint));
    assert_eq!(unread.message, "2 flags are set, and never asked for");
    assert_eq!(unread.help.as_deref(), Some("Failures pass unseen: no_ip, no_date."));
}

#[test]
fn what_nothing_reaches() {
    check(
        r#"if [message] == "x" { drop {} mutate { replace => { "a" => "b" } } }"#,
        &[("unreachable", r#"mutate { replace => { "a" => "b" } }"#)],
    );
    check(r#"if [message] == "x" { drop {} } else { drop {} }"#, &[("unreachable", OUTPUT)]);
    check(
        r#"if [message] == "x" { drop {} } else if [a] or "x" == [message] { drop {} } else if ([message] == "x") { drop {} }"#,
        &[("flag-unset", "[a]"), ("unreachable", r#"([message] == "x")"#)],
    );
    check(
        r#"mutate { replace => { "a" => "1" } }
        if [a] == "1" { mutate { replace => { "b" => "1" } } } else if [message] == "x" { drop {} } else { drop {} }"#,
        &[("constant-condition", r#"[a] == "1""#), ("unreachable", "if [message] == \"x\""), ("unreachable", "else")],
    );
    check(r#"for x in message { drop {} }"#, &[]);
}

#[test]
fn conditions_that_are_settled_before() {
    let given = r#"mutate { replace => { "a" => "" "b" => "yes" } }"#;
    for (condition, told) in [
        (r#"[a] != """#, true),
        (r#"[a] == """#, true),
        (r#"[b] == "no" and [message] == "x""#, true),
        (r#"[b] == "yes" or [message] == "x""#, true),
        (r#"[b] in ["no", "perhaps"]"#, true),
        (r#"!([b] == "yes")"#, true),
        (r#"[b] == "yes" and [message] == "x""#, false),
        (r#"[b] == "no" or [message] == "x""#, false),
        (r#"[message] == "x""#, false),
    ] {
        let expected = [("constant-condition", condition)];
        check(&format!("{given} if {condition} {{ drop {{}} }}"), if told { &expected } else { &[] });
    }
    // Set in between: by a branch, a capture, a log.
    for between in [
        r#"if [message] == "x" { mutate { replace => { "a" => "1" } } }"#,
        r#"grok { match => { "message" => ["%{IP:a}"] } overwrite => "a" on_error => "no" }"#,
        r#"json { source => "message" }"#,
        r#"mutate { gsub => ["a", "^", "x"] }"#,
        r#"mutate { replace => { "list" => "%{message}" } } for a in list { }"#,
    ] {
        check(&format!("{given} {between} if [a] != \"\" {{ drop {{}} }}"), &[]);
    }
}

/// Comparing is typed (contracts/cbn.md §1.6).
#[test]
fn types_that_are_never_equal() {
    let port = r#"grok { match => { "message" => ["%{INT:port}"] } }"#;
    check(&format!("{port} if [port] == 80 {{ drop {{}} }}"), &[("compare-types", "[port] == 80")]);
    check(
        &format!("{port} mutate {{ convert => {{ \"port\" => \"integer\" }} }} if [port] == 80 {{ drop {{}} }}"),
        &[],
    );
    check(
        &format!("{port} mutate {{ convert => {{ \"port\" => \"integer\" }} }} if [port] == \"80\" {{ drop {{}} }}"),
        &[("compare-types", r#"[port] == "80""#)],
    );
    // A conversion that may fail leaves a text.
    check(
        &format!(
            "{port} mutate {{ convert => {{ \"port\" => \"integer\" }} on_error => \"no\" }} if [port] == 80 {{ drop {{}} }}"
        ),
        &[],
    );
    check(
        r#"date { match => ["message", "ISO8601"] on_error => "no_date" } if [no_date] == "true" { drop {} }"#,
        &[("compare-types", r#"[no_date] == "true""#)],
    );
    // `!` binds to the field alone (contracts/cbn.md §1.2).
    check(r#"json { source => "message" } if ![a] != "" { drop {} }"#, &[("compare-types", r#"![a] != """#)]);
    check(r#"json { source => "message" } if [a] == 80 or [b] == true { drop {} }"#, &[]);
}

/// replace makes texts of texts alone (contracts/cbn.md §1.6).
#[test]
fn what_is_no_text_put_into_one() {
    check(
        r#"json { source => "message" }
        for at, item in items { mutate { replace => { "a" => "%{at}" } on_error => "no" } }"#,
        &[("not-text", "at")],
    );
    check(
        r#"json { source => "message" }
        for at, item in items {
          mutate { convert => { "at" => "string" } }
          mutate { replace => { "a" => "%{at}" } on_error => "no" }
        }"#,
        &[],
    );
    check(r#"json { source => "message" } for at, item in map map { mutate { replace => { "a" => "%{at}" } } }"#, &[]);
    // XPaths take numbers.
    check(
        r#"for at, row in xml(message, /a/b) { xml { source => "message" xpath => { "/a/b[%{at}]/c" => "c" } } }"#,
        &[],
    );
}

#[test]
fn fields_of_events() {
    let udm = "event.idm.read_only_udm";
    for (path, told) in [
        ("principal.hostnam", true),
        ("principal.hostname", false),
        ("principal.asset.hostname", false),
        ("securityResult.summary", false),
        ("additional.fields.anything.at_all", false),
        ("additional.feilds.anything", true),
        ("metadata.event_timestamp.secs", true),
        ("metadata.event_timestamp.seconds", false),
        ("principal.ip.0", false),
        ("network.http.parsed_user_agent.family", false),
        ("network.htp.method", true),
    ] {
        let quoted = format!("\"{udm}.{path}\"");
        let statements = format!("mutate {{ rename => {{ \"message\" => {quoted} }} }}");
        let expected = [("unknown-udm-field", quoted.as_str())];
        check(&statements, if told { &expected } else { &[] });
    }
    check(
        r#"mutate { rename => { "message" => "event.idm.entity.entity.user.useridd" } }"#,
        &[("unknown-udm-field", r#""event.idm.entity.entity.user.useridd""#)],
    );
    check(
        r#"mutate { rename => { "message" => "event.idm.read_only_udmm.metadata.description" } }"#,
        &[("unknown-udm-field", r#""event.idm.read_only_udmm.metadata.description""#)],
    );
    let found = one(r#"mutate { rename => { "message" => "event.idm.read_only_udm.principal.hostnam" } }"#);
    assert_eq!(found.help.as_deref(), Some("Did you mean event.idm.read_only_udm.principal.hostname?"));
}

/// Parts of an event are built under names of their own and moved to their places.
#[test]
fn fields_of_parts_of_events() {
    let noun = |set: &str| {
        format!(
            r#"mutate {{ replace => {{ "noun" => "" }} }}
            {set}
            mutate {{ rename => {{ "noun" => "event.idm.read_only_udm.principal" }} }}"#
        )
    };
    check(&noun(r#"mutate { replace => { "noun.hostnam" => "h" } }"#), &[("unknown-udm-field", r#""noun.hostnam""#)]);
    check(&noun(r#"mutate { replace => { "noun.hostname" => "h" } }"#), &[]);
    check(&noun(r#"mutate { replace => { "noun.ip" => "1.2.3.4" } }"#), &[("repeated-replace", r#""noun.ip""#)]);
    // Through two names.
    check(
        &noun(
            r#"mutate { replace => { "label.kee" => "k" } }
            mutate { merge => { "noun.labels" => "label" } }"#,
        ),
        &[("unknown-udm-field", r#""label.kee""#)],
    );
    // A name that is used for two things is told of where it fits neither.
    check(
        r#"mutate { replace => { "x.key" => "a" } } mutate { merge => { "event.idm.read_only_udm.principal.labels" => "x" } }
        mutate { replace => { "x" => "" } }
        mutate { replace => { "x.hostname" => "a" } } mutate { rename => { "x" => "event.idm.read_only_udm.target" } }"#,
        &[],
    );
}

#[test]
fn values_of_enums() {
    let put = |path: &str, value: &str| {
        format!("mutate {{ replace => {{ \"event.idm.read_only_udm.{path}\" => \"{value}\" }} }}")
    };
    check(&put("metadata.event_type", "NETWORK_CONECTION"), &[("unknown-enum", "\"NETWORK_CONECTION\"")]);
    check(&put("metadata.event_type", "NETWORK_CONNECTION"), &[]);
    check(&put("metadata.event_type", ""), &[]);
    check(&put("network.ip_protocol", "%{message}"), &[]);
    check(&put("network.ip_protocol", "TPC"), &[("unknown-enum", "\"TPC\"")]);
    check(
        r#"mutate { replace => { "result.severity" => "MEDIUMM" } }
        mutate { merge => { "event.idm.read_only_udm.security_result" => "result" } }"#,
        &[("unknown-enum", "\"MEDIUMM\"")],
    );
    // Under a name of the program's own, a slip.
    let own = |kind: &str| {
        format!(
            r#"mutate {{ replace => {{ "kind" => "{kind}" }} }}
            if [message] == "x" {{ mutate {{ replace => {{ "kind" => "GENERIC_EVENT" }} }} }}
            mutate {{ replace => {{ "event.idm.read_only_udm.metadata.event_type" => "%{{kind}}" }} }}"#
        )
    };
    check(&own("STATUS_UPDAET"), &[("unknown-enum", "\"STATUS_UPDAET\"")]);
    check(&own("door opened"), &[]);
    check(&own(""), &[]);

    let found = one(&put("metadata.event_type", "NETWORK_CONECTION"));
    assert_eq!(found.help.as_deref(), Some("Did you mean NETWORK_CONNECTION?"));
}

/// Google's engine refuses these when the log is done.
#[test]
fn shapes_of_fields() {
    let udm = "event.idm.read_only_udm";
    check(
        &format!("mutate {{ replace => {{ \"{udm}.principal.ip\" => \"%{{message}}\" }} }}"),
        &[("repeated-replace", &format!("\"{udm}.principal.ip\""))],
    );
    check(
        &format!("mutate {{ merge => {{ \"{udm}.principal.hostname\" => \"message\" }} }}"),
        &[("singular-merge", &format!("\"{udm}.principal.hostname\""))],
    );
    check(
        &format!("mutate {{ replace => {{ \"{udm}.principal\" => \"x\" }} }}"),
        &[("message-text", &format!("\"{udm}.principal\""))],
    );
    check(&format!("mutate {{ merge => {{ \"{udm}.principal.ip\" => \"message\" }} }}"), &[]);
    check(&format!("mutate {{ merge => {{ \"{udm}.additional.fields\" => \"message\" }} }}"), &[]);

    let port = format!("mutate {{ replace => {{ \"{udm}.target.port\" => \"%{{message}}\" }} }}");
    check(&port, &[("needs-convert", &format!("\"{udm}.target.port\""))]);
    check(&format!("{port} mutate {{ convert => {{ \"{udm}.target.port\" => \"integer\" }} }}"), &[]);
    check(
        &format!("{port} mutate {{ convert => {{ \"{udm}.target.port\" => \"string\" }} }}"),
        &[("convert-type", "\"string\"")],
    );
    // Converted where it is moved to.
    check(
        &format!(
            "mutate {{ replace => {{ \"target.port\" => \"%{{message}}\" }} }}
            mutate {{ rename => {{ \"target\" => \"{udm}.target\" }} }}
            mutate {{ convert => {{ \"{udm}.target.port\" => \"integer\" }} }}"
        ),
        &[],
    );
}

#[test]
fn what_a_finished_program_has_and_has_not() {
    let source =
        r#"filter { mutate { replace => { "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT" } } }"#;
    assert_eq!(findings(source).iter().map(|found| found.code).collect::<Vec<_>>(), ["no-output"]);
    check(r#"statedump { label => "x" }"#, &[("statedump", r#"statedump { label => "x" }"#)]);
}

#[test]
fn comments_switch_findings_off() {
    let finding = r#"mutate { repalce => { "a" => "b" } }"#;
    check(&format!("{finding} # lint: ignore unknown-function"), &[]);
    check(&format!("# lint: ignore unknown-function\n{finding}"), &[]);
    check(&format!("# lint: ignore unset-read, unknown-function\n\n# Because.\n{finding}"), &[]);
    check(&format!("# lint: ignore unset-read\n{finding}"), &[("unknown-function", "repalce")]);
    check(&format!("# lint: ignore unknown-function\n{OUTPUT}\n{finding}"), &[("unknown-function", "repalce")]);
    check(&format!("{OUTPUT} # lint: ignore unknown-functin"), &[("lint-comment", "# lint: ignore unknown-functin")]);
}

/// Behind the kinds may stand why, in parentheses or behind a hyphen.
#[test]
fn comments_may_say_why() {
    let finding = r#"mutate { repalce => { "a" => "b" } }"#;
    for comment in [
        "# lint: ignore unknown-function (old engines had it)",
        "# lint: ignore unknown-function(unset-read is none)",
        "# lint: ignore unknown-function - old engines had it, and we read them",
        "# lint: ignore unset-read, unknown-function - one (and another)",
        "# lint: ignore unset-read unknown-function",
    ] {
        check(&format!("{finding} {comment}"), &[]);
        check(&format!("{comment}\n{finding}"), &[]);
    }
    let reason_first = "# lint: ignore (old engines had it) unknown-function";
    check(&format!("{finding} {reason_first}"), &[("unknown-function", "repalce")]);
}

/// Warnings of the compiler are switched off in the same way; errors are not.
#[test]
fn comments_switch_findings_of_the_compiler_off() {
    let told = |statements: &str| {
        let source = format!("filter {{\n{statements}\n{OUTPUT}\n}}\n");
        let file = parse(&source).unwrap();
        let compiled = match cbn::Program::new("test.conf", source.clone()) {
            Ok(program) => program.warnings().to_vec(),
            Err(errors) => errors,
        };
        let found = lint_with(&file, &source, &SCHEMA, compiled);
        found.into_iter().map(|found| found.code).collect::<Vec<_>>()
    };
    let grok = r#"grok { match => { "message" => ["(?P<a>b(?=c))", "abc", "(?P<d>e)"] } }"#;
    assert_eq!(told(grok), ["grok-regex", "grok-no-capture"]);
    assert_eq!(told(&format!("# lint: ignore grok-regex, grok-no-capture (for another engine)\n{grok}")), [""; 0]);
    assert_eq!(told("jsonn { }"), ["unknown-plugin"]);
    assert_eq!(told("jsonn { } # lint: ignore unknown-plugin"), ["unknown-plugin"]);
}

/// What is set below a field makes that field, whichever plugin does it.
#[test]
fn what_plugins_set_makes_the_maps_above() {
    let used = r#"if [result] { mutate { merge => { "event.idm.read_only_udm.security_result" => "result" } } }
        mutate { rename => { "result" => "event.idm.read_only_udm.about" } }"#;
    for plugin in [
        r#"translate { source => "message" target => "result.severity" dictionary => { "1" => "LOW" } }"#,
        r#"translate { field => "message" destination => "result.severity" dictionary => { "1" => "LOW" } fallback => "HIGH" }"#,
        r#"if [message] == "x" { translate { source => "message" target => "result.severity" dictionary => { "1" => "LOW" } } }"#,
        r#"for i, x in message { translate { source => "message" target => "result.severity" dictionary => { "1" => "LOW" } } }"#,
        r#"base64 { source => "message" target => "result.description" }"#,
        r#"xml { source => "message" xpath => { "/a" => "result.summary" } }"#,
        r#"json { source => "message" target => "result.about" }"#,
        r#"kv { source => "message" target => "result.about" }"#,
        r#"csv { source => "message" target => "result" }"#,
        r#"csv { source => "message" target => "result.about" }"#,
        r#"grok { match => { "message" => "%{IP:result.ip}" } match_all => true }"#,
        r#"date { match => ["message", "UNIX"] target => "result.first_discovered_time" }"#,
    ] {
        check(&format!("{plugin} {used}"), &[]);
    }
    // What no plugin sets is still told of, beside and below.
    let translate = r#"translate { source => "message" target => "result.severity" dictionary => { "1" => "LOW" } }"#;
    check(&format!("{translate} if [result][action] {{ drop {{}} }}"), &[("flag-unset", "[result][action]")]);
    check(
        r#"translate { field => "nothing" destination => "a" dictionary => { "1" => "2" } }"#,
        &[("unset-read", "\"nothing\"")],
    );
}

/// Long programs are looked through in time that grows with their length.
#[test]
fn long_and_deep_programs() {
    let branches: String = (0..20_000)
        .map(|n| format!("else if [f{n}] == \"x\" {{ mutate {{ replace => {{ \"g{n}\" => \"y\" }} }} }}\n"))
        .collect();
    let chain = format!("filter {{ json {{ source => \"message\" }} if [a] == \"x\" {{ }} {branches} {OUTPUT} }}");
    let nested = |open: &str, depth: usize| {
        format!("filter {{ json {{ source => \"message\" }} {} {} {OUTPUT} }}", open.repeat(depth), "}".repeat(depth))
    };
    let unset: String =
        (0..20_000).map(|n| format!("mutate {{ rename => {{ \"nothing{n}\" => \"x\" }} }}\n")).collect();
    let path = format!("mutate {{ replace => {{ \"{}\" => \"x\" }} }}", "a.".repeat(200_000));
    for source in [
        chain,
        nested("for x in y { mutate { merge => { \"l\" => \"x\" } replace => { \"x.k\" => \"v\" } } ", 150),
        nested("if [a] == \"1\" { mutate { replace => { \"b\" => \"v\" } } ", 150),
        format!("filter {{ {unset} {OUTPUT} }}"),
        format!("filter {{ {path} {OUTPUT} }}"),
    ] {
        let file = parse(&source).unwrap();
        let start = Instant::now();
        let found = lint(&file, &source, &SCHEMA);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?} for {:.80}", start.elapsed(), source);
        assert!(found.len() <= FINDINGS_MAX);
    }
}

fn statement() -> impl Strategy<Value = String> {
    let name =
        prop_oneof![Just("a"), Just("b"), Just("a.b"), Just("label"), Just("label.key"), Just("message"), Just("")];
    let names = (name.clone(), name.clone(), name);
    let leaf = (names, 0..10usize).prop_map(|((one, two, three), kind)| match kind {
        0 => format!("mutate {{ replace => {{ \"{one}\" => \"%{{{two}}}\" }} on_error => \"{three}\" }}"),
        1 => format!("mutate {{ replace => {{ \"{one}\" => \"\" }} }}"),
        2 => format!("mutate {{ merge => {{ \"{one}\" => \"{two}\" }} }}"),
        3 => format!("mutate {{ rename => {{ \"{one}\" => \"event.idm.read_only_udm.{two}\" }} }}"),
        4 => format!("mutate {{ convert => {{ \"{one}\" => \"integer\" }} gsub => [\"{two}\", \"x\", \"y\"] }}"),
        5 => format!("grok {{ match => {{ \"{one}\" => [\"%{{IP:{two}}}\"] }} overwrite => \"{three}\" }}"),
        6 => format!("json {{ source => \"{one}\" target => \"{two}\" }}"),
        7 => format!("csv {{ source => \"{one}\" }}"),
        8 => {
            format!("mutate {{ remove_field => [\"{one}\", \"%{{{two}}}.x\"] copy => {{ \"{two}\" => \"{three}\" }} }}")
        }
        _ => "drop { }".to_owned(),
    });
    leaf.prop_recursive(4, 40, 5, |inner| {
        let block = proptest::collection::vec(inner, 0..5).prop_map(|body| body.join("\n"));
        (block.clone(), block, 0..4usize).prop_map(|(one, two, kind)| match kind {
            0 => format!("if [a] == \"x\" {{ {one} }} else {{ {two} }}"),
            1 => format!("if ![label] {{ {one} }} else if [a][b] in [\"y\"] {{ {two} }}"),
            2 => format!("for label in a {{ {one} }} {two}"),
            _ => format!("for a, b in message map {{ {one} {two} }}"),
        })
    })
}

proptest! {
    /// Any program is looked through, and gives the same findings again.
    #[test]
    fn any_program(statements in proptest::collection::vec(statement(), 0..12)) {
        let source = format!("filter {{ {} }}", statements.join("\n"));
        if let Ok(file) = parse(&source) {
            let found = lint(&file, &source, &SCHEMA);
            prop_assert!(found.is_sorted_by_key(|found| found.span.start));
            for found in &found {
                prop_assert!(source.get(found.span.start as usize..found.span.end as usize).is_some());
            }
            prop_assert_eq!(found, lint(&file, &source, &SCHEMA));
        }
    }
}
