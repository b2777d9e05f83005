//! What queries find.

use event::Kind;
use query::{Options, Prune, parse_udm};
use udm::{Root, Schema};

const LOGIN: &str = r#"{"metadata": {"eventType": "USER_LOGIN", "event_timestamp": "2026-01-02T03:04:05Z",
    "id": "QUJD", "vendor_name": "Acme"},
    "principal": {"ip": "10.0.0.1", "hostname": "WIN-Server", "labels": [{"key": "env", "value": "Prod"}],
        "asset": {"ip": ["10.0.0.7"]}},
    "target": {"user": {"userid": "mary@altostrat.com", "userDisplayName": "Mary Jane"}, "port": "443"},
    "security_result": {"action": "ALLOW", "risk_score": 7.5},
    "network": {"ipv6": true, "session_duration": "90s"},
    "additional": {"fields": {"team": {"stringValue": "Blue"}, "n": {"numberValue": 5}, "ok": {"boolValue": true}}}}"#;

const WEB: &str = r#"{"metadata": {"event_type": 21001, "eventTimestamp": "2026-02-03T04:05:06.5Z"},
    "principal": {"ip": ["10.0.0.1", "10.0.0.2", "::1"], "hostname": "ホスト"},
    "about": [{"hostname": "a"}, {"ip": "10.9.9.9"}], "securityResult": [{"action": ["BLOCK",
        "ALLOW"]}, {"severity": "HIGH"}],
    "target": {"url": "http://example.com/a b\\c", "hostname": "MÜLLER"}, "additional": {"team": "Red"}}"#;

const BARE: &str = "{}";

const USER: &str = r#"{"metadata": {"collected_timestamp": "2026-01-02T03:04:05Z", "entity_type": "USER",
    "vendorName": "acme"},
    "entity": {"user": {"userid": "johndoe"}}}"#;

/// Which of the four records a query finds, as the letters L, W, B, U.
#[track_caller]
fn check_with(options: Options, query: &str, expected: &str) {
    let schema = Schema::load();
    let predicate = parse_udm(query, &schema, options).unwrap_or_else(|error| panic!("{}", error.render(query)));
    let found = |predicate: &query::Predicate| {
        for (kind, root, json) in [
            (Kind::Udm, Root::Event, LOGIN),
            (Kind::Udm, Root::Event, WEB),
            (Kind::Udm, Root::Event, BARE),
            (Kind::Entity, Root::Entity, USER),
        ] {
            let mut values = Vec::new();
            schema.visit_leaves(root, json.as_bytes(), &mut |leaf| values.push(udm::fold(leaf.text)));
            let mut held = |wanted: &str| values.iter().any(|value| value == wanted);
            let possible = predicate.prune().possible(&mut held, &mut |_| false);
            assert!(possible || !predicate.matches(kind, json.as_bytes()), "{query} is ruled out for {json}");
        }
        [(Kind::Udm, LOGIN, 'L'), (Kind::Udm, WEB, 'W'), (Kind::Udm, BARE, 'B'), (Kind::Entity, USER, 'U')]
            .into_iter()
            .filter(|(kind, json, _)| predicate.matches(*kind, json.as_bytes()))
            .map(|(.., letter)| letter)
            .collect::<String>()
    };
    assert_eq!(found(&predicate), expected, "{query}");
    let printed = predicate.to_string();
    let again = parse_udm(&printed, &schema, options).unwrap_or_else(|error| panic!("{}", error.render(&printed)));
    assert_eq!(found(&again), expected, "{query} printed as {printed}");
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.prune(), predicate.prune());
}

#[track_caller]
fn check(query: &str, expected: &str) {
    check_with(Options::default(), query, expected);
}

#[test]
fn text_by_any_value_and_without_case() {
    check(r#"principal.ip = "10.0.0.1""#, "LW");
    check(r#"principal.ip = "10.0.0.2""#, "W");
    check(r#"principal.hostname = "win-SERVER""#, "L");
    check(r#"target.hostname = "müller""#, "W");
    check(r#"principal.hostname = "ホスト""#, "W");
    check(r#"target.url = "http://example.com/a b\\c""#, "W");
    check("target.url = `http://example.com/a b\\c`", "W");
    check(r#"target.user.userDisplayName = "mary jane""#, "L");
    check(r#"metadata.id = "QUJD""#, "L");
    let options = Options { case_sensitive: true };
    check_with(options, r#"principal.hostname = "win-server""#, "");
    check_with(options, r#"principal.hostname = "win-server" nocase"#, "L");
    check_with(options, r#"principal.hostname = "WIN-Server""#, "L");
}

#[test]
fn unset_fields_read_as_zero() {
    check(r#"principal.hostname != "WIN-Server""#, "WB");
    check(r#"principal.hostname = """#, "B");
    check(r#"principal.hostname != """#, "LW");
    check("target.port = 0", "WB");
    check("target.port < 443", "WB");
    check("network.ipv6 = false", "WB");
    check("network.ipv6 != true", "WB");
    check(r#"metadata.event_type = "EVENTTYPE_UNSPECIFIED""#, "B");
    check(r#"metadata.event_type != """#, "LW");
    check(r#"additional.fields["none"] = """#, "LWBU");
    check(r#"additional.fields["team"] != """#, "LW");
}

#[test]
fn not_equal_asks_for_one_value_that_differs() {
    check(r#"principal.ip != "10.0.0.1""#, "WB");
    check(r#"NOT principal.ip = "10.0.0.1""#, "B");
    check(r#"all principal.ip = "10.0.0.1""#, "L");
    check(r#"all principal.ip != "10.0.0.2""#, "LB");
    check(r#"any principal.ip = "::1""#, "W");
    // One of the two messages lacks a hostname, the other an address.
    check(r#"about.hostname != "a""#, "LWB");
    check(r#"all about.hostname = "a""#, "");
    check(r#"principal.ip != /^10\./"#, "WB");
}

#[test]
fn numbers_enums_times() {
    check("target.port = 443", "L");
    check("target.port >= 443", "L");
    check("target.port != 443", "WB");
    check("security_result.risk_score > 7", "L");
    check("security_result.risk_score <= 7.5", "LWB");
    check(r#"metadata.event_type = "USER_LOGIN""#, "L");
    check(r#"metadata.event_type = "network_http""#, "");
    check(r#"security_result.action = "BLOCK""#, "W");
    check(r#"security_result.action != "ALLOW""#, "WB");
    check(r#"metadata.event_timestamp > "2026-02-01T00:00:00Z""#, "W");
    check(r#"metadata.event_timestamp = "2026-01-02T04:04:05+01:00""#, "L");
    check("metadata.event_timestamp.seconds = 1767323045", "L");
    check(r#"network.session_duration >= "1.5s""#, "L");
    check("network.session_duration.seconds = 90", "L");
}

#[test]
fn regular_expressions() {
    check("principal.hostname = /win/", "");
    check("principal.hostname = /win/ nocase", "L");
    check("principal.hostname = /^WIN-.*r$/", "L");
    check(r"target.url = /example\.com\/a/", "W");
    check("principal.hostname = /ホ./", "W");
    check("principal.hostname != /WIN/", "WB");
}

#[test]
fn free_forms_and_labels() {
    check(r#"additional.fields["team"] = "blue""#, "L");
    check(r#"additional.fields["team"] = "red""#, "W");
    check(r#"additional["team"] = /e/"#, "LW");
    check(r#"additional.fields["n"] = 5"#, "L");
    check(r#"additional.fields["n"] = "5""#, "L");
    check(r#"additional.fields["ok"] = true"#, "L");
    check(r#"additional.fields.value.string_value = "Blue""#, "L");
    check(r#"additional.fields.key = "n""#, "L");
    check(r#"principal.labels["env"] = "prod""#, "L");
    check(r#"principal.labels["env"] != """#, "L");
    check(r#"principal.labels["other"] = "prod""#, "");
    check(r#"principal.labels.value = "prod""#, "L");
}

#[test]
fn grouped_fields() {
    check(r#"ip = "10.0.0.7""#, "L");
    check(r#"ip = "10.0.0.1""#, "LW");
    // Not among the fields that `ip` stands for.
    check(r#"ip = "10.9.9.9""#, "");
    check(r#"ip != """#, "LW");
    check(r#"ip = """#, "B");
    check(r#"ip != "10.0.0.1""#, "LWB");
    check(r#"NOT ip = "10.0.0.1""#, "B");
    check(r#"all ip != "10.0.0.7""#, "WB");
    check(r#"hostname = /müller/ nocase"#, "W");
    check(r#"domain = "müller""#, "W");
    check(r#"user = "mary jane" user = "mary@altostrat.com""#, "L");
    for name in ["domain", "email", "file_path", "hash", "hostname", "ip", "namespace", "process_id", "user"] {
        check(&format!("{name} = \"nothing\""), "");
    }
}

#[test]
fn words_parentheses_and_comments() {
    check(r#"principal.ip = "10.0.0.1" AND target.port = 443"#, "L");
    check(r#"principal.ip = "10.0.0.1" target.port = 443"#, "L");
    check(r#"target.port = 443 or principal.ip = "::1""#, "LW");
    check(r#"target.port = 443 Or principal.ip = "::1" and target.port = 1"#, "L");
    check(r#"(target.port = 443 OR principal.ip = "::1") AnD target.port = 0"#, "W");
    check("not (target.port = 443)", "WB");
    check("NOT NOT target.port = 443", "L");
    check("// who\ntarget.port /* which */ = 443 // done", "L");
    check("((target.port=443))", "L");
    check("target.port = 443\n  principal.ip = \"10.0.0.1\"", "L");
}

#[test]
fn events_and_entities() {
    check(r#"metadata.vendor_name = "acme""#, "LU");
    check(r#"metadata.entity_type = "USER""#, "U");
    check(r#"entity.user.userid = "JOHNDOE" AND metadata.vendor_name != """#, "U");
    check(r#"metadata.vendor_name != "acme" metadata.event_type != "USER_LOGIN""#, "WB");
}

#[test]
fn what_filters_may_rule_out() {
    let schema = Schema::load();
    let prune = |query: &str| parse_udm(query, &schema, Options::default()).unwrap().prune();
    let value = |text: &str| Prune::Value(text.to_owned());
    for (query, expected) in [
        (r#"principal.ip = "10.0.0.1""#, value("10.0.0.1")),
        (r#"principal.hostname = "WIN""#, value("win")),
        (r#"ip = "::1""#, value("::1")),
        (r#"principal.hostname = """#, Prune::Unknown),
        (r#"principal.hostname != "x""#, Prune::Unknown),
        ("principal.hostname = /x/", Prune::Unknown),
        ("target.port = 443", value("443")),
        ("target.port = 0", Prune::Unknown),
        ("metadata.event_timestamp.seconds = 5", Prune::Unknown),
        (r#"additional.fields.key = "k""#, Prune::Unknown),
        ("target.port > 5", Prune::Unknown),
        (r#"metadata.event_type = "USER_LOGIN""#, value("user_login")),
        ("network.ipv6 = true", value("true")),
        (r#"ip = "a" AND hostname = "b" AND NOT user = "c""#, Prune::All(vec![value("a"), value("b")])),
        (r#"ip = "a" OR hostname = "b""#, Prune::One(vec![value("a"), value("b")])),
        (r#"ip = "a" OR hostname != "b""#, Prune::Unknown),
    ] {
        assert_eq!(prune(query), expected, "{query}");
    }
}

#[test]
fn a_predicate_tells_what_it_reads() {
    let schema = Schema::load();
    let predicate = parse_udm(r#"ip = "a" metadata.eventType = "USER_LOGIN""#, &schema, Options::default()).unwrap();
    assert_eq!(predicate.kinds(), [Kind::Udm]);
    assert_eq!(predicate.fields().collect::<Vec<_>>(), ["ip", "metadata.event_type"]);
    let both = parse_udm(r#"metadata.vendor_name = "a""#, &schema, Options::default()).unwrap();
    assert_eq!(both.kinds(), [Kind::Udm, Kind::Entity]);
}
