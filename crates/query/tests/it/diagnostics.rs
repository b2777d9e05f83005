//! What is said about queries that cannot be read.

use event::limits;
use query::{Mistake, Options, parse_udm};
use udm::Schema;

/// The query with the text that the carets stand under between ‹ and ›, and a part of the message and help.
#[track_caller]
fn check(marked: &str, part: &str) {
    let query: String = marked.replace(['‹', '›'], "");
    let error = parse_udm(&query, &Schema::load(), Options::default()).expect_err(&query);
    let mut got = query.clone();
    got.insert(error.span.end, '›');
    got.insert(error.span.start, '‹');
    assert_eq!(got, marked, "{}", error.render(&query));
    let all = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
    assert!(all.contains(part), "expected {part:?} in\n{}", error.render(&query));
}

#[test]
fn unknown_names() {
    check(r#"principal.‹hostnme› = "x""#, "did you mean principal.hostname");
    check(r#"‹principl›.ip = "x""#, "principal");
    check(r#"principal.‹userid› = "x""#, "principal.user.userid");
    check(r#"‹hostnam› = "x""#, "did you mean hostname");
    check(r#"target.port = 1 AND entity.‹usr›.userid = "x""#, "entity.user");
    check(r#"metadata.event_type = ‹"USER_LOGINN"›"#, "did you mean \"USER_LOGIN\"");
    check(r#"‹raw› = "x""#, "searched by itself");
    check(r#"‹target.user› = "x""#, "holds fields");
    check(r#"target.port = 1 AND ‹entity.user.userid› = "x""#, "a field of events");
}

#[test]
fn values_that_do_not_fit() {
    check(r#"target.port = ‹"443"›"#, "without quotes");
    check("target.port = ‹4.5›", "whole number");
    check("principal.hostname = ‹5›", "write \"5\"");
    check("principal.hostname = ‹abc›", "text in quotes");
    check("metadata.event_type = ‹USER_LOGIN›", "write \"USER_LOGIN\"");
    check("metadata.event_type = ‹/USER/›", "regular expressions do not apply");
    check("target.port = ‹/4/›", "regular expressions do not apply");
    check(r#"principal.hostname ‹<› "a""#, "only = and !=");
    check("network.ipv6 = ‹1›", "write true or false");
    check("metadata.event_timestamp = ‹1660784400›", "metadata.event_timestamp.seconds = 1660784400");
    check(r#"metadata.event_timestamp = ‹"yesterday"›"#, "RFC 3339");
    check(r#"network.session_duration > ‹"1m"›"#, "seconds");
    check(r#"principal.hostname = "C:‹\U›sers""#, "write \\\\ for a backslash");
    check("principal.hostname = /a‹(›b/", "unclosed group");
    check(r"principal.hostname = ‹/\w{500}{500}/›", "too large");
}

#[test]
fn grammar() {
    check("‹›", "empty");
    check("// only a comment‹›".replace("‹›", "").as_str().replacen("//", "‹›//", 1).as_str(), "empty");
    check("target.port‹›", "expected an operator");
    check("target.port ‹=›", "expected a value");
    check("target.port ‹==› 5", "write =");
    check("target.port = 5 AND‹›", "the query ends here");
    check("target.port = 5 ‹)›", "expected AND, OR or a condition");
    check("‹(›target.port = 5", "not closed");
    check("target.port = 5 ‹,› target.port = 6", "expected a condition");
    check("‹or› target.port = 5", "before this word");
    check("‹\"x\"› = target.hostname".replace("‹\"x\"›", "‹\"›x\"").as_str(), "expected a condition");
    check(r#"target.hostname = ‹"›x"#, "no end");
    check("target.hostname = ‹/›x", "no end");
    check("‹/*› target.port = 5", "no end");
    check("東京 = 5".replace("東", "‹東›").as_str(), "expected a condition");
}

#[test]
fn what_is_not_supported_yet() {
    check("‹match:›\n target.ip", "sections");
    check("target.port = 5 ‹match:›\n target.ip", "sections");
    check("‹re.regex(›target.hostname, `x`)", "functions");
    check("‹$›e.target.hostname = \"x\"", "variables");
    check("target.hostname ‹in› %hosts", "lists");
    check("target.hostname ‹not› in %hosts", "lists");
    check("target.hostname = ‹%›hosts", "lists");
    check("‹#›e > 5", "counts");
    check("stage ‹a› { target.port = 5 }".replace("stage ‹a›", "‹stage› a").as_str(), "no field");
    check("target.port = 5 ‹|› dedup target.ip", "pipes");
}

#[test]
fn limits_are_told_and_nothing_overflows() {
    let schema = Schema::load();
    let fails = |query: &str, part: &str| {
        let error = parse_udm(query, &schema, Options::default()).expect_err("a limit");
        assert!(error.message.contains(part), "{error:?}");
    };
    fails(&"x".repeat(limits::QUERY_BYTES_MAX + 1), "bytes long");
    fails(&"(".repeat(limits::QUERY_BYTES_MAX), "nested deeper than 200");
    fails(&"not ".repeat(10_000), "nested deeper than 200");
    fails(&"ip=\"a\" ".repeat(5_000), "more than 1000 conditions");
    fails(&"ip=/a/ ".repeat(5_000), "more than 100 regular expressions");
    fails(&format!("principal.process.{}pid = \"1\"", "parent_process.".repeat(4_000)), "deeper");
    fails(&format!("ip = /{}/", "(".repeat(10_000)), "not a regular expression");
    let deep = format!("{}ip = \"a\"{}", "(".repeat(200), ")".repeat(200));
    assert!(parse_udm(&deep, &schema, Options::default()).is_ok());
    let wide = "ip = \"a\" OR ".repeat(999) + "ip = \"b\"";
    assert!(
        parse_udm(&wide, &schema, Options::default())
            .unwrap()
            .matches(event::Kind::Udm, br#"{"principal": {"ip": "b"}}"#)
    );
}

#[test]
fn a_diagnostic_as_it_is_shown() {
    let query = "target.port = 443\n  AND principal.hostnme = \"東京\"";
    let error = parse_udm(query, &Schema::load(), Options::default()).unwrap_err();
    assert_eq!(
        error.render(query),
        "error: unknown field: `principal` has no field `hostnme`\n  \
         |\n\
         2 |   AND principal.hostnme = \"東京\"\n  \
         |                 ^^^^^^^\n  \
         = help: did you mean principal.hostname?\n"
    );
}

#[test]
fn mistakes_are_sorted() {
    for (query, mistake) in [
        (r#"principal.hostnme = "x""#, Mistake::Field),
        (r#"target.user = "x""#, Mistake::Field),
        (r#"(ip = "x""#, Mistake::OpenBracket),
        (r#"ip = "x"#, Mistake::OpenQuote),
        ("hostname = /x", Mistake::OpenQuote),
        ("target.port =", Mistake::Other),
        (r#"metadata.event_type = "LOGIN""#, Mistake::Other),
        (&"NOT ".repeat(300), Mistake::TooLarge),
        (&"x".repeat(70_000), Mistake::TooLarge),
    ] {
        let error = parse_udm(query, &Schema::load(), Options::default()).expect_err(query);
        assert_eq!(error.mistake, mistake, "{}", error.render(query));
    }
}
