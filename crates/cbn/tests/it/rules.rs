//! Each rule of contracts/cbn.md §1 on strings, state, errors, conditions, loops and mutate, shown by a program. Those of
//! single plugins stand beside the plugins, those of events in `output`.

use crate::support::{Case, check, check_failing, state};

#[test]
fn strings_and_paths() {
    check(&[
        Case {
            rule: "§1.2 a backslash gives the next character as it is",
            program: r#"mutate { replace => { "a" => "x\"y\\z\q" } }"#,
            log: "",
            fields: &[("a", r#""x\"y\\zq""#)],
        },
        Case {
            rule: "§1.2 the right side of =~ is read twice",
            program: r#"if [message] =~ "^\\\\d+$" { mutate { replace => { "a" => "digits" } } }"#,
            log: "123",
            fields: &[("a", r#""digits""#)],
        },
        Case {
            rule: "§1.2 both ways to name a field in a text",
            program: r#"mutate { replace => { "x.y" => "1" } replace => { "a" => "%{x.y}%{[x][y]}" } }"#,
            log: "",
            fields: &[("a", r#""11""#)],
        },
        Case {
            rule: "§1.2 fields in the names of destinations",
            program: r#"mutate { replace => { "k" => "b" } replace => { "a.%{k}" => "1" } }"#,
            log: "",
            fields: &[("a.b", r#""1""#)],
        },
        Case {
            rule: "§1.2 numbers index arrays",
            program: r#"json { source => "message" } mutate { replace => { "a" => "%{l.1.k}" } }"#,
            log: r#"{"l": [{"k": "x"}, {"k": "y"}]}"#,
            fields: &[("a", r#""y""#)],
        },
        Case {
            rule: "§1.2 keys with dots become maps",
            program: r#"json { source => "message" } mutate { replace => { "b" => "%{a.io/x}" } }"#,
            log: r#"{"a.io/x": "1"}"#,
            fields: &[("b", r#""1""#), ("a", r#"{"io/x": "1"}"#)],
        },
        Case {
            rule: "§1.2 a text in the way of a path gives way",
            program: r#"mutate { replace => { "principal" => "" } replace => { "principal.hostname" => "h" } }"#,
            log: "",
            fields: &[("principal", r#"{"hostname": "h"}"#)],
        },
        Case {
            rule: "§1.2 all numbers of JSON are float64, and print without an exponent",
            program: r#"json { source => "message" } mutate { convert => { "n" => "string" "f" => "string" } }"#,
            log: r#"{"n": 9999999999999999, "f": 1.5}"#,
            fields: &[("n", r#""10000000000000000""#), ("f", r#""1.5""#)],
        },
        Case {
            rule: "§1.2 null is as if it were not there",
            program: r#"mutate { replace => { "a" => "" } } json { source => "message" }"#,
            log: r#"{"a": null, "b": null}"#,
            fields: &[("a", r#""""#), ("b", "unset")],
        },
    ]);
}

#[test]
fn state_at_the_start() {
    check(&[Case {
        rule: "§1.3 message and the times",
        program: "",
        log: "the log",
        fields: &[
            ("message", r#""the log""#),
            ("@createTimestamp", r#"{"nanos": 0, "seconds": 1795694400}"#),
            ("@enableCbnForLoop", "true"),
            ("@onErrorCount", "0"),
            ("@output", "[]"),
            ("@timezone", r#""""#),
        ],
    }]);
}

#[test]
fn errors_and_their_flags() {
    check(&[
        Case {
            rule: "§1.4 the flag is true after a failure, which is swallowed",
            program: r#"mutate { replace => { "a" => "%{none}" } on_error => "f" }"#,
            log: "",
            fields: &[("f", "true"), ("a", "unset"), ("@onErrorCount", "1")],
        },
        Case {
            rule: "§1.4 the flag is false after a success",
            program: r#"mutate { replace => { "a" => "x" } on_error => "f" }"#,
            log: "",
            fields: &[("f", "false")],
        },
        Case {
            rule: "§1.4 a block stops at what fails",
            program: r#"mutate { replace => { "a" => "1" "b" => "%{none}" "c" => "3" } on_error => "f" }"#,
            log: "",
            fields: &[("a", r#""1""#), ("b", "unset"), ("c", "unset")],
        },
        Case {
            rule: "§1.1 functions and options that nobody knows do nothing",
            program: r#"mutate { comvert => { "a" => "string" } repalce => { "a" => "x" } TAG => "y" }"#,
            log: "",
            fields: &[("a", "unset")],
        },
    ]);
    check_failing(&[
        (
            "§1.4 without on_error the log fails, in Google's words",
            r#"mutate { replace => { "x" => "1" } } mutate { replace => { "a" => "%{none}" } }"#,
            "",
            "LOG_PARSING_CBN_ERROR: \"generic::invalid_argument: pipeline failed: filter mutate (1) failed: replace \
             failure: field \"a\": source field \"none\": field not set\"",
        ),
        (
            "§1.4 comparing a field that is not set fails the log",
            r#"if [x] == "1" { drop {} }"#,
            "",
            "filter conditional (0) failed: \"x\" not found in state data",
        ),
        (
            "§1.5 drop ends the log with its tag",
            r#"drop { tag => "TAG_MALFORMED_MESSAGE" }"#,
            "",
            "TAG_MALFORMED_MESSAGE",
        ),
        ("§1.5 drop without a tag", r#"drop {}"#, "", "TAG_UNSPECIFIED"),
    ]);
    let error = state("mutate { replace => { \"a\" => \"%{none}\" } }", "").expect_err("nothing catches it");
    assert_eq!(error.at, Some(("test.conf".to_owned(), 2, 1)), "file, line and column of the statement");
    assert_eq!(error.field.as_deref(), Some("a"));
}

#[test]
fn replace_rename_copy_remove() {
    check(&[
        Case {
            rule: "§1.6 rename moves, and ignores what is missing",
            program: r#"mutate { replace => { "a" => "1" } } mutate { rename => { "a" => "b.c" "none" => "d" } }"#,
            log: "",
            fields: &[("a", "unset"), ("b.c", r#""1""#), ("d", "unset")],
        },
        Case {
            rule: "§1.6 copy shares nothing",
            program: r#"mutate { replace => { "a.x" => "1" } copy => { "b" => "a" } } mutate { replace => { "a.x" => "2" } }"#,
            log: "",
            fields: &[("a.x", r#""2""#), ("b.x", r#""1""#)],
        },
        Case {
            rule: "Google's documentation: in one block, Logstash's order",
            program: r#"mutate { replace => { "a" => "5" } }
                mutate { copy => { "c" => "b" } convert => { "b" => "integer" } rename => { "a" => "b" } }"#,
            log: "",
            fields: &[("a", "unset"), ("b", "5"), ("c", "5")],
        },
        Case {
            rule: "§1.6 remove_field, and what is missing is no error",
            program: r#"mutate { replace => { "a" => "1" } remove_field => ["a", "none"] }"#,
            log: "",
            fields: &[("a", "unset")],
        },
    ]);
    check_failing(&[
        (
            "§1.6 replace takes texts alone",
            r#"json { source => "message" } mutate { replace => { "a" => "%{n}" } }"#,
            r#"{"n": 1}"#,
            "replace failure: field \"a\": source field \"n\"",
        ),
        (
            "§1.6 copying an empty field is an error",
            r#"mutate { replace => { "a" => "" } copy => { "b" => "a" } }"#,
            "",
            "copy failure: copy source field \"a\" must not be empty",
        ),
        ("§1.6 so is copying what is missing", r#"mutate { copy => { "b" => "a" } }"#, "", "copy source field \"a\""),
    ]);
}

#[test]
fn merge() {
    check(&[
        Case {
            rule: "§1.6 merge appends",
            program: r#"mutate { replace => { "x" => "1" "y" => "2" } merge => { "l" => "x" } merge => { "l" => "y" } }"#,
            log: "",
            fields: &[("l", r#"["1", "2"]"#)],
        },
        Case {
            rule: "§1.6 by reference: a later change is seen in the list",
            program: r#"mutate { replace => { "m.k" => "1" } merge => { "l" => "m" } } mutate { replace => { "m.k" => "2" } }"#,
            log: "",
            fields: &[("l", r#"[{"k": "2"}]"#)],
        },
        Case {
            rule: "§1.6 resetting the label first parts it from the list",
            program: r#"mutate { replace => { "m.k" => "1" } merge => { "l" => "m" } }
                        mutate { replace => { "m" => "" "m.k" => "2" } merge => { "l" => "m" } }"#,
            log: "",
            fields: &[("l", r#"[{"k": "1"}, {"k": "2"}]"#)],
        },
        Case {
            rule: "§1.6 a missing source is let be, and sets the flag",
            program: r#"mutate { merge => { "l" => "none" } } mutate { merge => { "l" => "none" } on_error => "f" }"#,
            log: "",
            fields: &[("l", "unset"), ("f", "true")],
        },
        Case {
            rule: "§1.6 a list is appended element by element",
            program: r#"json { source => "message" } mutate { merge => { "l" => "a" } merge => { "l" => "a" } }"#,
            log: r#"{"a": ["1", "2"]}"#,
            fields: &[("l", r#"["1", "2", "1", "2"]"#)],
        },
        Case {
            rule: "§1.6 an empty text at the destination is only a placeholder",
            program: r#"mutate { replace => { "l" => "" "x" => "1" } merge => { "l" => "x" } }"#,
            log: "",
            fields: &[("l", r#"["1"]"#)],
        },
    ]);
    check_failing(&[(
        "§1.6 an empty source is an error",
        r#"mutate { replace => { "x" => "" } merge => { "l" => "x" } }"#,
        "",
        "merge failure: field \"l\": source field \"x\"",
    )]);
}

#[test]
fn convert() {
    check(&[
        Case {
            rule: "§1.6 to numbers and back",
            program: r#"mutate { replace => { "i" => "-5" "u" => "5" "f" => "0.5" "s" => "7" }
                convert => { "i" => "integer" "u" => "uinteger" "f" => "float" "s" => "integer" }
                convert => { "s" => "string" } }"#,
            log: "",
            fields: &[("i", "-5"), ("u", "5"), ("f", "0.5"), ("s", r#""7""#)],
        },
        Case {
            rule: "§1.6 what is missing is let be, without an error",
            program: r#"mutate { convert => { "none" => "integer" } on_error => "f" }"#,
            log: "",
            fields: &[("f", "false"), ("none", "unset")],
        },
        Case {
            rule: "§1.6 a text to a text is an error (already_a_string)",
            program: r#"mutate { replace => { "a" => "x" } } mutate { convert => { "a" => "string" } on_error => "f" }"#,
            log: "",
            fields: &[("f", "true"), ("a", r#""x""#)],
        },
        Case {
            rule: "§1.6 booleans",
            program: r#"mutate { replace => { "a" => "true" "b" => "0" } convert => { "a" => "boolean" "b" => "boolean" } }"#,
            log: "",
            fields: &[("a", "true"), ("b", "false")],
        },
        Case {
            rule: "§1.6 addresses are checked",
            program: r#"mutate { replace => { "a" => "10.0.0.1" "b" => "10.0.0" "m" => "AA-BB-CC-DD-EE-FF" }
                convert => { "a" => "ipaddress" "m" => "macaddress" } }
                mutate { convert => { "b" => "ipaddress" } on_error => "f" }"#,
            log: "",
            fields: &[("a", r#""10.0.0.1""#), ("f", "true"), ("m", r#""aa:bb:cc:dd:ee:ff""#)],
        },
        Case {
            rule: "§1.6 hexadecimal, bytes, milliseconds",
            program: r#"mutate { replace => { "d" => "0x1F" "t" => "6869" "b" => "hi" "n" => "1500" "s" => "1500" }
                convert => { "d" => "hextodec" "t" => "hextoascii" "b" => "bytes" "n" => "millitonanos" "s" => "millitosecs" }
                convert => { "b" => "bytestohex" } }"#,
            log: "",
            fields: &[("d", r#""31""#), ("t", r#""hi""#), ("b", r#""6869""#), ("n", "1500000000"), ("s", "1")],
        },
    ]);
}

#[test]
fn texts() {
    check(&[
        Case {
            rule: "§1.6 gsub replaces every match; $1 is a group; what is missing is let be",
            program: r#"mutate { replace => { "a" => "x1y22" } gsub => ["a", "([0-9]+)", "<$1>", "none", "x", "y"] }"#,
            log: "",
            fields: &[("a", r#""x<1>y<22>""#), ("none", "unset")],
        },
        Case {
            rule: "§1.6 case",
            program: r#"mutate { replace => { "a" => "Ab" "b" => "Ab" } lowercase => ["a", "none"] uppercase => ["b"] }"#,
            log: "",
            fields: &[("a", r#""ab""#), ("b", r#""AB""#)],
        },
        Case {
            rule: "§1.6 split",
            program: r#"mutate { replace => { "a" => "1,2" } split => { source => "a" separator => "," target => "l" } }"#,
            log: "",
            fields: &[("l", r#"["1", "2"]"#), ("a", r#""1,2""#)],
        },
    ]);
}

#[test]
fn conditions() {
    let holds = |condition: &str, log: &str| {
        let program = format!(
            r#"json {{ source => "message" on_error => "e" }}
               if {condition} {{ mutate {{ replace => {{ "r" => "yes" }} }} }} else {{ mutate {{ replace => {{ "r" => "no" }} }} }}"#
        );
        let state = state(&program, log).unwrap_or_else(|error| panic!("{condition}: {error}"));
        state["r"] == "yes"
    };
    let log = r#"{"s": "80", "n": 80, "t": true, "e0": "", "l": ["a", "b"], "m": {"k": "v"}}"#;
    for (condition, expected) in [
        ("[s] == \"80\"", true),
        ("[s] == 80", false),
        ("[n] == 80", true),
        ("[n] == \"80\"", false),
        ("[n] > 79 and [n] <= 80", true),
        ("[s] != 80", true),
        ("[t] == true", true),
        ("[t] == \"true\"", false),
        ("[t]", true),
        ("![t]", false),
        ("[none]", false),
        ("![none]", true),
        ("![t] != \"\"", true),
        ("!([s] == \"80\")", false),
        ("[s] in [\"80\", \"443\"]", true),
        ("[n] in [\"80\", 443]", false),
        ("[s] not in [\"80\"]", false),
        ("[s] IN [\"80\"]", true),
        ("\"a\" in [l]", true),
        ("[s] =~ \"^8\"", true),
        ("[s] !~ \"^8\"", false),
        ("[s] =~ (\"^8\")", true),
        ("[n] =~ \"8\"", false),
        ("\"80\" =~ \"^8\"", true),
        ("[m][k] == \"v\" && [s] == \"80\"", true),
        ("[s] == \"x\" || m.k == \"v\"", true),
        ("[t] or [none] == \"x\"", true),
        ("[e0] == \"\"", true),
    ] {
        assert_eq!(holds(condition, log), expected, "{condition}");
    }
}

#[test]
fn loops() {
    check(&[
        Case {
            rule: "§1.6 over elements, with an index from 0",
            program: r#"json { source => "message" }
                for i, x in l { mutate { convert => { "i" => "string" } }
                    mutate { replace => { "out.%{i}" => "%{x}" } } }"#,
            log: r#"{"l": ["a", "b"]}"#,
            fields: &[("out", r#"{"0": "a", "1": "b"}"#)],
        },
        Case {
            rule: "§1.6 over a map, sorted by key",
            program: r#"json { source => "message" }
                for k, v in m map { mutate { merge => { "keys" => "k" "values" => "v" } } }"#,
            log: r#"{"m": {"b": "2", "a": "1"}}"#,
            fields: &[("keys", r#"["a", "b"]"#), ("values", r#"["1", "2"]"#)],
        },
        Case {
            rule: "keys are texts where a list is gone through as a map",
            program: r#"json { source => "message" }
                for k, v in l map { mutate { replace => { "out.%{k}" => "%{v}" } } }"#,
            log: r#"{"l": ["a", "b"]}"#,
            fields: &[("out", r#"{"0": "a", "1": "b"}"#)],
        },
        Case {
            rule: "§1.6 what is missing or no list has no turns",
            program: r#"for x in none { drop {} } for x in message { drop {} }"#,
            log: "text",
            fields: &[("x", "unset")],
        },
        Case {
            rule: "§1.6 the element is the element, not a copy",
            program: r#"json { source => "message" }
                for x in l { mutate { replace => { "x.seen" => "yes" } } }"#,
            log: r#"{"l": [{"k": "1"}]}"#,
            fields: &[("l", r#"[{"k": "1", "seen": "yes"}]"#)],
        },
    ]);
}

#[test]
fn extensions() {
    let parser = crate::support::program(
        r#"mutate { replace => {
            "event.idm.read_only_udm.metadata.event_type" => "GENERIC_EVENT"
            "event.idm.read_only_udm.metadata.product_name" => "old"
            "event.idm.read_only_udm.target.hostname" => "h" "a" => "10.0.0.1" } }
        mutate { merge => { "event.idm.read_only_udm.target.ip" => "a" } }
        mutate { merge => { "@output" => "event" } }"#,
    );
    let run = |extension: &str| {
        let extension = crate::support::program(extension);
        let end = crate::support::machine(cbn::Limits::default())
            .run_extended(&parser, &extension, b"x", &crate::support::context())
            .end;
        let [event] = end.expect("both run").try_into().expect("one event");
        let json: serde_json::Value = serde_json::from_str(&event.json).expect("an event is JSON");
        (json, event)
    };
    let (plain, _) = run(r#"drop {}"#);
    assert_eq!(plain["metadata"]["productName"], "old", "an extension that drops changes nothing");
    let (json, event) =
        run(r#"mutate { replace => { "event.idm.read_only_udm.metadata.product_name" => "new" "a" => "10.0.0.2"
            "more.idm.read_only_udm.metadata.product_version" => "7" "t" => "2026-01-02T03:04:05Z" } }
        date { match => ["t", "ISO8601"] target => "event.idm.read_only_udm.metadata.event_timestamp" }
        mutate { merge => { "event.idm.read_only_udm.target.ip" => "a" } }
        mutate { merge => { "@output" => "event" } } mutate { merge => { "@output" => "more" } }"#);
    assert_eq!(json["metadata"]["productName"], "new", "it wins");
    assert_eq!(json["metadata"]["productVersion"], "7", "several events are one");
    assert_eq!(json["metadata"]["eventTimestamp"], "2026-01-02T03:04:05Z", "its time wins, too");
    assert_eq!(event.timestamp.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(json["target"]["ip"], serde_json::json!(["10.0.0.2"]), "its lists take the place of the parser's");
    assert_eq!(json["target"]["hostname"], "h", "what it does not name stays");
}
