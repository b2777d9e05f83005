//! Searches of raw logs as Google's API takes them.

use event::Kind;
use query::{Mistake, parse_raw};

#[track_caller]
fn check(query: &str, case_sensitive: bool, found: &[&str], missed: &[&str]) {
    let predicate = parse_raw(query, case_sensitive).unwrap_or_else(|error| panic!("{}", error.render(query)));
    let matches = |text: &&&str| predicate.matches(Kind::Raw, text.as_bytes());
    assert_eq!(found.iter().filter(matches).collect::<Vec<_>>(), found.iter().collect::<Vec<_>>(), "{query}");
    assert_eq!(missed.iter().filter(matches).count(), 0, "{query}: {predicate}");
    for kind in [Kind::Udm, Kind::Entity] {
        assert!(found.iter().chain(missed).all(|text| !predicate.matches(kind, text.as_bytes())), "{query}");
    }
    assert_eq!(predicate.kinds(), [Kind::Raw]);
}

#[test]
fn what_clients_send() {
    check(r#"raw = "x""#, false, &["a x b", "X"], &["y"]);
    check(r#"raw="x""#, false, &["X"], &[""]);
    check(r#"raw != "authentication""#, false, &["login"], &["Authentication failed"]);
    check("raw = /.+/", false, &["anything"], &[""]);
    check("failed password", false, &["sshd: Failed password for"], &["failed the password"]);
    check("  failed password\n", false, &["Failed password"], &["failed"]);
}

#[test]
fn texts_and_expressions() {
    check(r#""failed""#, false, &["FAILED"], &[r#""fail""#]);
    check("`C:\\Users`", false, &["c:\\users\\joe"], &["C:/Users"]);
    check("/user=\\w+/", false, &["USER=joe"], &["user="]);
    check("/user=\\w+/", true, &["user=joe"], &["USER=joe"]);
    check("/user=\\w+/ nocase", true, &["USER=joe"], &["user="]);
    check(r#"raw = "Failed" nocase"#, true, &["FAILED"], &["fail"]);
    check(r#"raw = "Failed""#, true, &["Failed"], &["failed"]);
    check(r#"raw = "say \"hi\"""#, true, &[r#"say "hi""#], &["say hi"]);
    check(r"raw = /a\/b/", true, &["a/b"], &["a\\/b"]);
    check(r#"raw = "東京""#, false, &["場所=東京都"], &["京"]);
}

#[test]
fn conditions_are_joined() {
    check(r#"raw = "a" AND raw = "b""#, false, &["ab", "b a"], &["a", "b"]);
    check(r#"raw = "a" raw = "b""#, false, &["ab"], &["a"]);
    check(r#"raw = "a" OR raw = /b{2}/"#, false, &["a", "bb"], &["b"]);
    check(r#"NOT (raw = "a" OR raw != "b")"#, false, &["b"], &["a", "ab", "c"]);
    check(r#"not raw = "a""#, false, &["b"], &["a"]);
    check("// why\nraw = \"a\"", false, &["a"], &["why"]);
}

#[test]
fn what_only_looks_like_a_condition_is_text() {
    check(r#"user="joe""#, false, &[r#"x user="JOE" y"#], &["user=joe"]);
    check("user=raw=1", false, &["user=raw=1"], &["raw=1"]);
    check("draw = \"x\"", false, &["draw = \"x\""], &["x"]);
    check(r#""GET /" 404"#, false, &[r#"a "GET /" 404 12"#], &["GET /"]);
    check("/var/log", false, &["in /var/log"], &["var"]);
    check("raw material", false, &["Raw material"], &["raw"]);
}

#[test]
fn what_is_wrong() {
    for (marked, mistake, part) in [
        ("‹›", Mistake::Other, "empty"),
        ("‹›  ", Mistake::Other, "raw = \"failed\""),
        ("raw = ‹x›", Mistake::Other, "in quotes"),
        ("raw ‹<› \"x\"", Mistake::Other, "only = and !="),
        ("raw = ‹\"›x", Mistake::OpenQuote, "no end"),
        ("raw = ‹/›x", Mistake::OpenQuote, "no end"),
        ("raw = ‹\"\"›", Mistake::Other, "no text"),
        ("raw = /a‹(›b/", Mistake::Other, "unclosed group"),
        ("‹(›raw = \"x\"", Mistake::OpenBracket, "not closed"),
        ("raw = \"x\" AND‹›", Mistake::Other, "the query ends here"),
        ("raw = /.+/ ‹parsed› = false", Mistake::Field, "compares `raw` alone"),
        ("‹log_source› IN [\"OKTA\"] raw = /.+/", Mistake::Field, "compares `raw` alone"),
        ("raw = ‹/\\w{500}{500}/›", Mistake::TooLarge, "too large"),
    ] {
        let query: String = marked.replace(['‹', '›'], "");
        let error = parse_raw(&query, false).expect_err(&query);
        let mut got = query.clone();
        got.insert(error.span.end, '›');
        got.insert(error.span.start, '‹');
        // Where a pattern does not compile, its slashes are not meant.
        let got = got.replace("/‹\\w{500}{500}›/", "‹/\\w{500}{500}/›");
        assert_eq!((got.as_str(), error.mistake), (marked, mistake), "{}", error.render(&query));
        let all = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
        assert!(all.contains(part), "{part:?} in {all}");
    }
    let error = parse_raw(&"x".repeat(70_000), false).unwrap_err();
    assert_eq!(error.mistake, Mistake::TooLarge);
    let many = "raw = \"x\" ".repeat(1_001);
    assert_eq!(parse_raw(&many, false).unwrap_err().mistake, Mistake::TooLarge);
}

#[test]
fn two_predicates_hold_together() {
    let both = |first: &str, second: &str| {
        let parse = |text: &str| parse_raw(text, false).unwrap();
        parse(first).and(parse(second)).unwrap()
    };
    let predicate = both("failed", "raw != \"root\"");
    assert!(predicate.matches(Kind::Raw, b"failed for joe"));
    assert!(!predicate.matches(Kind::Raw, b"failed for root"));
    assert_eq!(
        predicate.to_string(),
        "raw = \"failed\" nocase AND (NOT raw = \"root\" nocase)".replace(['(', ')'], "")
    );
    let udm = query::parse_udm("ip = \"10.0.0.1\"", &udm::Schema::load(), query::Options::default()).unwrap();
    assert!(udm.clone().and(predicate).is_none());
    assert_eq!(udm.clone().and(udm).unwrap().fields().collect::<Vec<_>>(), ["ip", "ip"]);
}
