//! Queries of metrics: what they say, and what they come to over totals per minute.

use query::oci::{Dimension, Grouping, Matching, Mql, Statistic, Totals};

#[track_caller]
fn parse(text: &str) -> Mql {
    Mql::parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)))
}

#[test]
fn parts_of_a_query() {
    assert_eq!(
        parse("MessagesWrittenToTarget[1m]{connectorId = \"ocid1.serviceconnector.oc1..c\"}.sum()"),
        Mql {
            name: "MessagesWrittenToTarget".to_owned(),
            interval_minutes: 1,
            dimensions: vec![Dimension {
                name: "connectorId".to_owned(),
                matching: Matching::In(vec!["ocid1.serviceconnector.oc1..c".to_owned()]),
            }],
            grouping: Grouping::Streams,
            statistic: Statistic::Sum,
        }
    );
    for (text, interval, statistic) in [
        ("A[1m].sum()", 1, Statistic::Sum),
        ("A[60m].count()", 60, Statistic::Count),
        ("A[1h].mean()", 60, Statistic::Mean),
        ("A[24h].avg()", 1_440, Statistic::Mean),
        ("A[1d].min()", 1_440, Statistic::Min),
        (" A [ 5m ] { } . max ( ) ", 5, Statistic::Max),
    ] {
        let query = parse(text);
        assert_eq!((query.interval_minutes, query.statistic), (interval, statistic), "{text}");
        assert_eq!((&query.name[..], &query.grouping), ("A", &Grouping::Streams), "{text}");
    }
    assert_eq!(parse("A[1m].grouping().sum()").grouping, Grouping::All);
    let by = Grouping::By(vec!["connectorId".to_owned(), "errorCode".to_owned()]);
    assert_eq!(parse("A[1m].groupBy(connectorId, errorCode).sum()").grouping, by);
    assert_eq!(parse("A[1m].groupby(\"connectorId\",errorCode).sum()").grouping, by);
}

#[test]
fn streams_that_are_meant() {
    for (dimensions, code, expected) in [
        ("code = \"200\"", Some("200"), true),
        ("code = \"200\"", Some("2000"), false),
        ("code = \"200\"", None, false),
        ("code != \"200\"", Some("404"), true),
        ("code != \"200\"", None, true),
        ("code =~ \"4*|5*\"", Some("502"), true),
        ("code =~ \"4*|5*\"", Some("200"), false),
        ("code !~ \"4*|5*\"", Some("200"), true),
        ("code in (\"200\", \"201\")", Some("201"), true),
        ("code not in (\"200\", \"201\")", Some("201"), false),
        ("code != \"1\", code != \"2\" && code != \"3\"", Some("3"), false),
        (r#"code = "a\"b""#, Some("a\"b"), true),
    ] {
        let query = parse(&format!("A[1m]{{{dimensions}}}.sum()"));
        assert_eq!(query.selects(|name| code.filter(|_| name == "code")), expected, "{dimensions} on {code:?}");
    }
}

#[test]
fn points() {
    const MINUTE: i64 = 60_000;
    let stream = |name: &str, code: &str, values: &[(i64, f64)]| {
        let dimensions = [("name".to_owned(), name.to_owned()), ("code".to_owned(), code.to_owned())];
        (dimensions, values.iter().map(|(minute, value)| (minute * MINUTE, Totals::of(*value))).collect::<Vec<_>>())
    };
    let streams = || {
        [
            stream("a", "200", &[(0, 1.0), (1, 2.0), (5, 3.0)]),
            stream("a", "500", &[(1, 10.0)]),
            stream("b", "200", &[(0, 100.0)]),
        ]
    };
    for (query, expected) in [
        ("A[1m].sum()", "a/200: 0=1 1=2 5=3; b/200: 0=100; a/500: 1=10"),
        ("A[5m].sum()", "a/200: 0=3 5=3; b/200: 0=100; a/500: 0=10"),
        ("A[5m].grouping().sum()", "0=113 5=3"),
        ("A[5m].grouping().count()", "0=4 5=1"),
        ("A[5m].grouping().max()", "0=100 5=3"),
        ("A[5m].grouping().min()", "0=1 5=3"),
        ("A[5m]{name = \"a\"}.grouping().mean()", "0=4.333333333333333 5=3"),
        ("A[1h].groupBy(name).sum()", "a: 0=16; b: 0=100"),
        ("A[1h].groupBy(code).sum()", "200: 0=106; 500: 0=10"),
        ("A[1h]{name = \"c\"}.sum()", ""),
    ] {
        let groups = parse(query).summarize(streams());
        let shown: Vec<String> = groups
            .into_iter()
            .map(|(dimensions, points)| {
                let mut names: Vec<&str> = dimensions.values().map(String::as_str).collect();
                names.reverse();
                let points: Vec<String> = points.iter().map(|(at, value)| format!("{}={value}", at / MINUTE)).collect();
                let colon = if names.is_empty() { "" } else { ": " };
                format!("{}{colon}{}", names.join("/"), points.join(" "))
            })
            .collect();
        assert_eq!(shown.join("; "), expected, "{query}");
    }
}
