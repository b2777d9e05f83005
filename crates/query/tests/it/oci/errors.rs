//! What is said about queries of OCI's languages that cannot be read.

use query::oci::{Condition, LogQuery, Mql};
use query::{Diagnostic, Mistake};

/// The text with what the carets stand under between ‹ and ›, and a part of the message and help.
#[track_caller]
fn check(marked: &str, part: &str, error: impl Fn(&str) -> Option<Diagnostic>) {
    let query: String = marked.replace(['‹', '›'], "");
    let error = error(&query).unwrap_or_else(|| panic!("{query} is no error"));
    let mut got = query.clone();
    got.insert(error.span.end, '›');
    got.insert(error.span.start, '‹');
    assert_eq!(got, marked, "{}", error.render(&query));
    let all = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
    assert!(all.contains(part), "expected {part:?} in\n{}", error.render(&query));
}

#[test]
fn conditions() {
    let check = |marked: &str, part: &str| check(marked, part, |query| Condition::parse(query).err());
    check("‹›", "the condition is empty");
    check("‹tpye› = 'x'", "did you mean type?");
    check("‹Type› = 'x'", "did you mean type?");
    check("‹eventName› = 'x'", "data.eventName");
    check("‹logcontent›.type = 'x'", "did you mean logContent?");
    check("‹\"data.message\"› = 'x'", "data.message");
    check("upper(‹\"x\"›) = 'x'", "data.x");
    check("‹\"\"›", "no text to look for");
    check("‹datetime.x› = 1", "has no fields");
    check("data.‹›", "expected a name after the point");
    check("data.x[‹a›] = 1", "number of an element");
    check("data.x ‹==› 1", "write =");
    check("data.x ‹=~› 'a'", "wildcard");
    check("data.x = 1 ‹&&› data.y = 2", "write and");
    check("‹!›data.x", "write not");
    check("data.x ‹=›", "expected a value");
    check("data.x = ‹tcp›", "data.tcp");
    check("data.x = ‹'abc›".replace("‹'abc›", "‹'›abc").as_str(), "no end");
    check("‹(›data.x = 1", "not closed");
    check("data.x = 1‹)›", "expected and, or, or the end");
    check("data.x = 1 ‹data›.y = 2", "expected and, or, or the end");
    check("data.x = 1 ‹|› count", "no stages");
    check("‹search› \"a/b\" | true", "stands alone");
    check("data.x = 1 ‹=› 2", "chained");
    check("data.x ‹<› null", "use = or !=");
    check("data.x < ‹'a*'›", "no wildcard");
    check("datetime > ‹'yesterday'›", "RFC 3339");
    check("data.x in ‹›", "expected a list");
    check("data.x in (1, ‹null›)", "isNull");
    check("data.x in (1, ‹data.y›)", "a list is made of");
    check("data.x not ‹like› 'a'", "expected in");
    check("‹data.x + 1›", "neither true nor false");
    check("data.x = 1 and ‹5›", "neither true nor false");
    check("‹datetime›", "neither true nor false");
    check("data.x + ‹›", "the query ends here");
}

#[test]
fn functions_and_values() {
    let check = |marked: &str, part: &str| check(marked, part, |query| Condition::parse(query).err());
    check("‹contain_ci›(data.x, 'a')", "did you mean contains_ci?");
    check("‹regex›(data.x, 'a')", "functions are");
    check("‹count›(data.x) > 1", "summarize");
    check("‹contains_ci(data.x)›", "2 to 3 arguments, not 1");
    check("contains_ci(data.x, ‹5›)", "a text");
    check("contains_ci(data.x, ‹''›)", "no text to look for");
    check("contains_ci(‹'data.x'›, 'a')", "expected a field");
    check("contains_ci(data.x, 'a', ‹1›)", "true or false");
    check("isNull(‹'data.x'›)", "single quotes");
    check("‹isNull(data.x, data.y)›", "one argument, not 2");
    check("‹isNull›(data.x", "not closed");
    check("rounddown(datetime, ‹'1y'›) = 1", "length of time");
    check("time_format(datetime, ‹'yyyy Q'›) = 'x'", "no part of a time");
    check("substr(data.x, ‹'1'›) = 'x'", "counted from 0");
    check("data.x = ‹1m›", "'1m'");
    check("data.x = ‹007›", "no number");
    check("data.x = ‹$level›", "parameters");
    check("data.x = 1 ‹;›", "one statement");
    check("data.x = ‹%›a", "double quotes");
    check("‹'a'› + 1 = 2", "concat");
    check("(‹data.x = 1›) + 1 = 2".replace("(‹data.x = 1›)", "‹(data.x = 1)›").as_str(), "a condition cannot");
    check("data.a-‹'b'› = 1", "double quotes");
    check("‹-›'a' = 1", "before a number");
    check("‹''›", "no text to look for");
    check("‹'type'› = 'x'", "single quotes");
    check("‹/*› open", "no end");
    check("data.‹\"›x", "no end");
    check("‹and› data.x = 1", "before this word");
    check("‹*› = 1", "logContent");
}

#[test]
fn searches() {
    let check = |marked: &str, part: &str| check(marked, part, |query| LogQuery::parse(query).err());
    check("‹›", "the query is empty");
    check("‹data›.x = 1", "begins with search");
    check("‹set› query.from = '2020-01-01'", "parameters");
    check("search ‹c›", "double quotes");
    check("search ‹\"a/b/c/d\"›", "compartment/group/log");
    check("search ‹\"a//c\"›", "compartment/group/log");
    check("search \"a\", ‹|› count", "the next logs");
    check("search \"a\" ‹count›", "expected |");
    check("search \"a\" |‹›", "expected a stage");
    check("search \"a\" | ‹sumarize› count()", "did you mean summarize?");
    check("search \"a\" | ‹order› by datetime", "stages are");
    check("search \"a\" | sort ‹datetime›", "sort by");
    check("search \"a\" | sort by datetime ‹descending›", "expected |");
    check("search \"a\" | top ‹by› datetime", "number of rows");
    check("search \"a\" | top 5 by ‹*›", "not supported");
    check("search \"a\" | limit ‹0›", "1 to 100000");
    check("search \"a\" | limit ‹5000000›", "1 to 100000");
    check("search \"a\" | count ‹by› type", "expected |");
    check("search \"a\" | select type as ‹'x'›", "double quotes");
    check("search \"a\" | select type, ‹type›", "two columns");
    check("search \"a\" | select type | where ‹data.x› = 1", "there are type");
    check("search \"a\" | count | sort by ‹datetime›", "there are count");
    check("search \"a\" | sort by ‹\"cuont\"›", "no `cuont`");
    check("search \"a\" | select ‹\"x y\"›", "no `x y`");
    check("search \"a\" | summarize ‹cnt›() by type", "did you mean count?");
    check("search \"a\" | summarize ‹median›(data.x)", "aggregates are");
    check("search \"a\" | summarize ‹sum()›", "sum(data.bytesOut)");
    check("search \"a\" | summarize count() by ‹foo›", "data.foo");
    check("search \"a\" | summarize count() by type as ‹›", "expected a name");
    check("search \"a\" | extend ‹logContent = 1›", "the entry's own");
    check("search \"a\" | extend a = 1 ‹as› b", "a name already");
    check("search \"a\" | where ‹data.x + 1›", "neither true nor false");
}

#[test]
fn metric_queries() {
    let check = |marked: &str, part: &str| check(marked, part, |query| Mql::parse(query).err());
    check("‹›", "expected a metric");
    check("Errors‹.›sum()", "expected an interval");
    check("Errors[‹1s›].sum()", "[1m] to [60m]");
    check("Errors[‹90m›].sum()", "[1h] to [24h]");
    check("Errors[‹2d›].sum()", "[1d]");
    check("Errors[1m]‹›", "expected a statistic");
    check("Errors[1m].‹total›()", "statistics are");
    check("Errors[1m].‹summ›()", "did you mean sum?");
    check("Errors[1m].‹rate›()", "every single value");
    check("Errors[1m].‹increment›()", "every single value");
    check("Errors[1m].‹absent›(20m)", "every single value");
    check("Errors[1m].‹P99›()", "every single value");
    check("Errors[1m].sum() ‹>› 80", "alarms");
    check("Errors[1m]{a ‹b›}.sum()", "expected =");
    check("Errors[1m]{a = ‹b›}.sum()", "double quotes");
    check("Errors[1m]{a = ‹\"›b}.sum()", "no end");
    check("Errors[1m]{a = \"b\" ‹||› c = \"d\"}.sum()", "=~");
    check("Errors[1m]{a = \"b\"‹.›sum()", "expected , or }");
    check("Errors[1m].groupBy(‹)›.sum()", "dimension to group by");
    check("Errors[1m].grouping(‹a›).sum()", "takes all");
    check("Errors[1m].sum(‹1›)", "no arguments");
}

#[test]
fn too_much_of_something() {
    let condition = |text: String| Condition::parse(&text).unwrap_err();
    for (error, part) in [
        (condition("(".repeat(5_000)), "nested deeper than 100"),
        (condition("not ".repeat(5_000)), "nested deeper than 100"),
        (condition(format!("{}1", "- ".repeat(5_000))), "nested deeper than 100"),
        (condition(format!("{}data.x{} = 1", "upper(".repeat(150), ")".repeat(150))), "nested deeper than 100"),
        (condition(vec!["type = 'a'"; 1_001].join(" or ")), "more than 1000 conditions"),
        (condition(format!("type in ({})", vec!["1"; 1_001].join(","))), "more than 1000 conditions"),
        (condition(format!("{} = 1", vec!["data.x"; 202].join(" + "))), "more than 200 arithmetic"),
        (condition(format!("data{} = 1", ".x".repeat(40))), "more than 32 steps"),
        (condition(format!("data.{} = 1", "x".repeat(2_000))), "more than 1024 bytes"),
        (Mql::parse(&"x".repeat(2_000)).unwrap_err(), "more than 1024 bytes"),
        (condition(format!("type = '{}'", "*a".repeat(101))), "more than 100 wildcards"),
        (condition("x".repeat(70_000)), "70000 bytes"),
        (LogQuery::parse(&format!("search {}", "\"a\" ".repeat(101))).unwrap_err(), "more than 100 scopes"),
        (LogQuery::parse(&format!("search \"a\"{}", " | limit 5".repeat(51))).unwrap_err(), "more than 50 stages"),
        (
            LogQuery::parse(&format!(
                "search \"a\" | select {}",
                (0..101).map(|n| format!("type as t{n}")).collect::<Vec<_>>().join(", ")
            ))
            .unwrap_err(),
            "more than 100 columns",
        ),
        (
            Mql::parse(&format!("Errors[1m]{{{}}}.sum()", vec!["a = \"b\""; 101].join(","))).unwrap_err(),
            "more than 100",
        ),
    ] {
        assert!(error.message.contains(part), "{error:?}");
        assert_eq!(error.mistake, Mistake::TooLarge);
    }
    // Just within: neither parsing, printing nor evaluating runs out of stack.
    let deep = format!("{}type = 'a'{}", "not (".repeat(50), ")".repeat(50));
    assert!(Condition::parse(&deep).unwrap().matches(br#"{"type": "a"}"#));
    let sum = format!("{} = 200", vec!["data.x"; 201].join(" + "));
    assert!(!Condition::parse(&sum).unwrap().matches(br#"{"data": {"x": 1}}"#));
}

#[test]
fn kinds_of_mistakes() {
    for (text, expected) in [
        ("tpye = 'a'", Mistake::Field),
        ("(type = 'a'", Mistake::OpenBracket),
        ("type = 'a", Mistake::OpenQuote),
        ("type 'a'", Mistake::Other),
    ] {
        assert_eq!(Condition::parse(text).unwrap_err().mistake, expected, "{text}");
    }
    assert_eq!(
        Condition::parse("data.action = 'ACCEPT' and tpye = 'x'")
            .unwrap_err()
            .render("data.action = 'ACCEPT' and tpye = 'x'"),
        "error: unknown field: an entry has no `tpye`\n  |\n1 | data.action = 'ACCEPT' and tpye = 'x'\n  |                            ^^^^\n  = help: did you mean type?\n"
    );
}
