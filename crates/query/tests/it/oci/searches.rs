//! Searches of logs: scopes, what is looked for in the store, and the stages over what is found.

use event::Kind;
use query::oci::{LogQuery, Output, Scope};
use serde_json::{Value, json};

use super::records;

#[track_caller]
fn parse(text: &str) -> LogQuery {
    LogQuery::parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)))
}

/// Searches all records as a caller does: those that the predicate matches, newest first.
#[track_caller]
fn search(stages: &str) -> Output {
    let text = format!("search \"lab\"{stages}");
    let query = parse(&text);
    let predicate = query.predicate(vec![Scope::default()]);
    let matching = records().into_iter().filter(|(_, record)| predicate.matches(Kind::Raw, record.as_bytes()));
    let mut rows: Vec<Value> = matching
        .map(|(_, record)| {
            let entry: Value = serde_json::from_str(&record).expect("JSON");
            let time = event::Time::parse_rfc3339(entry["time"].as_str().expect("a text")).expect("a time");
            json!({"datetime": time.millis(), "logContent": entry})
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row["datetime"].as_i64()));
    query.run(rows).unwrap_or_else(|error| panic!("{}", error.render(&text)))
}

/// The rows of a search that leave the entry whole, by their letters.
#[track_caller]
fn check_entries(stages: &str, expected: &str) {
    let records = records();
    let letter = |row: &Value| {
        let is_same = |record: &str| serde_json::from_str::<Value>(record).expect("JSON") == row["logContent"];
        records.iter().find(|(_, record)| is_same(record)).map_or('?', |(letter, _)| *letter)
    };
    let found: String = search(stages).rows.iter().map(letter).collect();
    assert_eq!(found, expected, "{stages}");
}

/// The rows of a search with columns of its own, as one JSON list.
#[track_caller]
fn check(stages: &str, expected: Value) {
    let Value::Array(expected) = expected else { panic!("expected a list of rows") };
    assert_eq!(search(stages).rows, expected, "{stages}");
}

#[test]
fn the_captured_search() {
    let text = "search \"ocid1.compartment.oc1..c/ocid1.loggroup.oc1..g/ocid1.log.oc1..l\" \
                | where data.sourceAddress = '132.145.1.2' | sort by datetime desc";
    let query = parse(text);
    let [scope] = query.scopes() else { panic!("one scope") };
    assert_eq!(scope.compartment, "ocid1.compartment.oc1..c");
    assert_eq!(scope.group.as_deref(), Some("ocid1.loggroup.oc1..g"));
    assert_eq!(scope.log.as_deref(), Some("ocid1.log.oc1..l"));
    assert_eq!(&text[scope.span.clone()], "ocid1.compartment.oc1..c/ocid1.loggroup.oc1..g/ocid1.log.oc1..l");
    assert!(!query.reads_all(), "rows come newest first anyway");
    assert_eq!(query.condition().unwrap().to_string(), "data.sourceAddress = '132.145.1.2'");
    check_entries("| where data.sourceAddress = '132.145.1.2' | sort by datetime desc", "PS");
}

/// The lab's last task: an address that stands somewhere in what the function logged.
#[test]
fn the_labs_search() {
    check_entries("| logContent = '*132.145.1.2*' | where type = '*functioninvoke'", "F");
    check_entries("| '132.145.1.2'", "FPS");
    check_entries("| where '132.145.1.2'", "FPS");
    check_entries("| where source = 'compute-for-log-test'", "A");
}

#[test]
fn scopes() {
    for (text, expected) in [
        ("\"a\"", "a"),
        ("\"a/b\"", "a/b"),
        ("\"a/b/c\", \"d\", \"e/_Audit\"", "a/b/c d e/_Audit"),
        ("\"a\" \"b\"", "a b"),
        (
            "\"ocid1.compartment.oc1..aaaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvxkykvxkyk/\
             ocid1.loggroup.oc1.us-ashburn-1.amaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvx/\
             ocid1.log.oc1.us-ashburn-1.amaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvxkykvx\"",
            "ocid1.compartment.oc1..aaaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvxkykvxkyk/\
             ocid1.loggroup.oc1.us-ashburn-1.amaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvx/\
             ocid1.log.oc1.us-ashburn-1.amaaaaaa2kkvrmxqkx3bbcxomvx7qzyk4dqz6cvv7kykvxkykvxkykvx",
        ),
        ("'a'", "a"),
        ("\"My \"\"lab\"\"\"", "My \"lab\""),
    ] {
        let query = parse(&format!("search {text}"));
        let shown: Vec<String> = query
            .scopes()
            .iter()
            .map(|scope| {
                let rest = [&scope.group, &scope.log].into_iter().flatten();
                rest.fold(scope.compartment.clone(), |text, part| format!("{text}/{part}"))
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{text}");
    }
}

#[test]
fn what_is_looked_for_in_the_store() {
    let resolved = || vec![Scope { compartments: vec!["c".to_owned()], ..Scope::default() }];
    for (stages, expected) in [
        ("", "oracle.compartmentid = 'c'"),
        ("| type = 'a' | where id = 'b'", "oracle.compartmentid = 'c' and type = 'a' and id = 'b'"),
        ("| type = 'a' or id = 'b' | count", "oracle.compartmentid = 'c' and (type = 'a' or id = 'b')"),
        ("| sort by datetime desc | type = 'a'", "oracle.compartmentid = 'c' and type = 'a'"),
        ("| limit 5 | type = 'a'", "oracle.compartmentid = 'c'"),
    ] {
        assert_eq!(parse(&format!("search \"x\" {stages}")).predicate(resolved()).to_string(), expected, "{stages}");
    }
}

#[test]
fn how_many_rows_are_needed() {
    for (stages, expected) in [
        ("", Some(10)),
        ("| type = 'a'", Some(10)),
        ("| sort by datetime desc", Some(10)),
        ("| extend x = 1 | select type", Some(10)),
        ("| limit 5", Some(5)),
        ("| limit 50", Some(10)),
        ("| limit 5 | count", Some(5)),
        ("| limit 5 | type = 'a'", Some(5)),
        ("| sort by datetime", None),
        ("| sort by datetime asc", None),
        ("| top 3 by datetime", None),
        ("| count", None),
        ("| summarize count() by type", None),
        ("| dedup type", None),
        ("| extend x = 1 | where x = 1", None),
    ] {
        let query = parse(&format!("search \"x\" {stages}"));
        assert_eq!(query.rows_needed(10), expected, "{stages}");
        assert_eq!(query.reads_all(), expected.is_none(), "{stages}");
    }
}

#[test]
fn entries_stay_as_they_are() {
    let Output { rows, fields } = search("| where data.protocolName = 'TCP'");
    assert_eq!(fields, [("datetime".to_owned(), "NUMBER"), ("logContent".to_owned(), "OBJECT")]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["datetime"], 1_696_384_980_000_i64);
    assert_eq!(rows[0]["logContent"]["data"]["destinationPort"], 22);
    assert_eq!(search("| where false").fields, fields);
}

#[test]
fn orders() {
    check_entries("", "CFANPS");
    check_entries("| sort by datetime desc", "CFANPS");
    check_entries("| sort by datetime", "NPSAFC");
    check_entries("| sort by type, data.destinationPort desc", "CAFSPN");
    check_entries("| sort by data.destinationPort", "PSCFAN");
    check_entries("| sort by data.destinationPort desc", "SPCFAN");
    check_entries("| sort by data.bytesOut / data.packets, source desc", "PSFACN");
    check_entries("| top 1 by data.destinationPort", "S");
    check_entries("| top 2 by datetime asc", "NP");
    check_entries("| top 10 by (data.destinationPort + 0)", "SPCFAN");
    check_entries("| limit 2", "CF");
    check_entries("| head 1", "C");
    check_entries("| sort by datetime | limit 2", "NP");
    check_entries("| limit 4 | sort by datetime", "NAFC");
    check_entries("| limit 4 | data.eventName = '*'", "A");
    check_entries("| dedup type", "CFANP");
    check_entries("| dedup data.sourceAddress, source", "CFANP");
}

#[test]
fn selected_columns() {
    check(
        "| data.protocolName = '*' | select data.protocolName as proto, data.destinationPort",
        json!([
            {"proto": "ICMP", "data.destinationPort": 0}, {"proto": "TCP", "data.destinationPort": 22}
        ]),
    );
    check("| select type, datetime | limit 1", json!([{"type": "com.example.app", "datetime": 1_696_385_100_000_i64}]));
    check("| source = '-' | select data.sourceAddress as a | dedup a", json!([{"a": null}, {"a": "132.145.1.2"}]));
    check("| limit 1 | select data.code + 1 as n, upper(type) as t", json!([{"n": 201, "t": "COM.EXAMPLE.APP"}]));
    check(
        "| limit 1 | select \"type\", data.tags, data.items.n",
        json!([
            {"type": "com.example.app", "data.tags": ["red", "green"], "data.items.n": [1, 2, "3"]}
        ]),
    );
    // A column answers to its name and to what it was taken from.
    check("| select data as d | d.protocolName = 'TCP' | select d.destinationPort as p", json!([{"p": 22}]));
    check(
        "| select data | data.protocolName = 'TCP' | select logContent.data.destinationPort as p",
        json!([{"p": 22}]),
    );
    check(
        "| select type as t, source | where type = '*functioninvoke' | select t | t = 'com*'",
        json!([
            {"t": "com.oraclecloud.functions.application.functioninvoke"}
        ]),
    );
    check("| select * | data.protocolName = 'TCP' | select datetime", json!([{"datetime": 1_696_384_980_000_i64}]));
    check("| select type, source | 'function' | select source", json!([{"source": "oci-hol-fn-app"}]));
}

#[test]
fn extended_rows() {
    let Output { rows, fields } =
        search("| data.protocolName = 'TCP' | extend ratio = data.bytesOut / data.packets, r2 = ratio * 2");
    assert_eq!((&rows[0]["ratio"], &rows[0]["r2"]), (&json!(60), &json!(120)));
    assert_eq!(rows[0]["logContent"]["data"]["packets"], 7);
    let names: Vec<&str> = fields.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, ["datetime", "logContent", "ratio", "r2"]);
    check_entries("| extend size = data.bytesOut | where size > 0 and data.protocolName = 'TCP'", "S");
    check("| limit 1 | extend concat(type, '!') as x | select x", json!([{"x": "com.example.app!"}]));
    check("| limit 1 | extend x = 'a*b' | select x", json!([{"x": "a*b"}]));
    check("| limit 1 | extend x = data.ok = true | select x", json!([{"x": true}]));
    check("| limit 1 | extend x = 1 | extend x = x + 1 | select x", json!([{"x": 2}]));
    check(
        "| limit 1 | extend t = time_format(datetime, 'yyyy-MM-dd''T''HH') | select t",
        json!([{"t": "2023-10-04T02"}]),
    );
}

#[test]
fn counts_and_groups() {
    check("| count", json!([{"count": 6}]));
    check("| where false | count", json!([{"count": 0}]));
    check("| type = 'com.oraclecloud.vcn*' | count | count > 2", json!([{"count": 3}]));
    check(
        "| summarize count() by type | sort by count desc, type | limit 2",
        json!([
            {"type": "com.oraclecloud.vcn.flowlogs.DataEvent", "count": 2}, {"type": "com.example.app", "count": 1}
        ]),
    );
    check(
        "| source = '-' | summarize count(), count(data.action) as with, sum(data.bytesOut) as bytes, \
           avg(data.destinationPort) as mean, min(data.sourcePort) as low, max(data.protocolName) as high, \
           first(data.protocolName) as f, last(data.protocolName) as l",
        json!([
            {"count": 3, "with": 2, "bytes": 840, "mean": 11, "low": 0, "high": "TCP", "f": "ICMP", "l": "TCP"}
        ]),
    );
    check(
        "| where false | summarize count() as n, sum(data.x), max(data.x) as m",
        json!([
            {"n": 0, "sum(data.x)": null, "m": null}
        ]),
    );
    check("| where false | summarize count() by type", json!([]));
    check(
        "| summarize count() as n by rounddown(datetime, '1m') as minute | sort by minute",
        json!([
            {"minute": 1_696_384_980_000_i64, "n": 4},
            {"minute": 1_696_385_040_000_i64, "n": 1},
            {"minute": 1_696_385_100_000_i64, "n": 1}
        ]),
    );
    check(
        "| data.status = 'OK' | summarize sum(data.bytesOut) by data.protocolName | sort by \"sum(data.bytesOut)\"",
        json!([
            {"data.protocolName": "ICMP", "sum(data.bytesOut)": 420}, {"data.protocolName": "TCP", "sum(data.bytesOut)": 420}
        ]),
    );
    check("| summarize count() as n by data.status | data.status = 'OK'", json!([{"data.status": "OK", "n": 2}]));
    check(
        "| summarize count() as n by logContent.type as t | type = '*DataEvent' | top 1 by n | select t",
        json!([
            {"t": "com.oraclecloud.vcn.flowlogs.DataEvent"}
        ]),
    );
    check("| summarize count(*) as n", json!([{"n": 6}]));
    check("| summarize max(datetime) as newest", json!([{"newest": 1_696_385_100_000_i64}]));
}

#[test]
fn types_of_columns() {
    let fields = search(
        "| data.tags = 'red' | select type, data.code as n, data.ok as b, data.tags as l, data.a as o, data.nothing as z, data.ratio as r",
    )
    .fields;
    let shown: Vec<String> = fields.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_eq!(shown.join(", "), "type STRING, n NUMBER, b BOOLEAN, l ARRAY, o OBJECT, z STRING, r NUMBER");
}

#[test]
fn columns_that_are_called_like_stages() {
    check("| limit 1 | extend \"where\" = 1, top = 2 | top = 2 and \"where\" = 1 | select top", json!([{"top": 2}]));
    check("| limit 1 | select data.code as count | count + 1 = 201", json!([{"count": 200}]));
}

#[test]
fn rows_one_by_one_stop_when_enough_is_there() {
    let row = |n: i64| json!({"datetime": n, "logContent": {"type": "t", "data": {"n": n}}});
    let fed = |text: &str, wanted: Option<usize>| {
        let query = parse(text);
        let mut run = query.start(0, wanted);
        let mut taken = 0;
        for n in (0..100).rev() {
            taken += 1;
            if !run.push(row(n)).unwrap() {
                break;
            }
        }
        (taken, run.finish().unwrap().rows.len())
    };
    assert_eq!(fed("search \"x\"", None), (100, 100));
    assert_eq!(fed("search \"x\"", Some(7)), (7, 7));
    assert_eq!(fed("search \"x\" | limit 3", None), (3, 3));
    assert_eq!(fed("search \"x\" | extend a = 1 | where data.n < 95", Some(2)), (7, 2));
    assert_eq!(fed("search \"x\" | sort by datetime", Some(7)), (100, 7));
    assert_eq!(fed("search \"x\" | limit 5 | sort by datetime", Some(2)), (5, 2));
    assert_eq!(fed("search \"x\" | count", Some(7)), (100, 1));
}

#[test]
fn rows_that_are_passed_over_are_not_held() {
    // 150 MB, more than may be held or come out.
    let text = "x".repeat(1 << 20);
    let page = |query: &str, skip: usize| {
        let query = parse(query);
        let mut run = query.start(skip, Some(2));
        for n in (0..150).rev() {
            let row = json!({"datetime": n, "logContent": {"type": "t", "data": {"n": n, "text": text}}});
            if !run.push(row).unwrap() {
                break;
            }
        }
        let rows = run.finish().unwrap().rows;
        rows.iter().map(|row| row["datetime"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page("search \"x\"", 0), [149, 148]);
    assert_eq!(page("search \"x\"", 140), [9, 8]);
    assert_eq!(page("search \"x\"", 149), [0]);
    assert_eq!(page("search \"x\"", 150), [0; 0]);
    assert_eq!(page("search \"x\" | limit 141 | extend a = 1", 140), [9]);
    assert_eq!(page("search \"x\" | select datetime | sort by datetime", 3), [3, 4]);
}

#[test]
fn a_long_order_keeps_only_the_first() {
    let query = parse("search \"x\" | sort by data.n, datetime | select data.n as n, datetime");
    let mut run = query.start(0, Some(3));
    // 7 and 10,007 are coprime: every number once, in no order.
    for n in 0..10_007_i64 {
        assert!(run.push(json!({"datetime": n, "logContent": {"data": {"n": (n * 7) % 10_007 / 2}}})).unwrap());
    }
    let rows = run.finish().unwrap().rows;
    assert_eq!(
        Value::Array(rows),
        json!([
            {"n": 0, "datetime": 0}, {"n": 0, "datetime": 7_148}, {"n": 1, "datetime": 1_430}
        ])
    );
}

#[test]
fn more_than_may_be_held() {
    let refused = |text: &str, row: &dyn Fn(usize) -> Value| {
        let query = parse(text);
        let mut run = query.start(0, None);
        let error = (0..200_000).find_map(|n| run.push(row(n)).err()).expect("refused");
        let stage = &text[error.span.clone()];
        format!("{}: {}", stage, error.message)
    };
    let small = |n: usize| json!({"datetime": n, "logContent": {"type": "t", "data": {"n": n}}});
    let large = |n: usize| json!({"datetime": n, "logContent": {"data": "x".repeat(1 << 20)}});
    assert_eq!(
        refused("search \"x\" | summarize count() by data.n", &small),
        "summarize count() by data.n: more than 10000 groups"
    );
    assert_eq!(
        refused("search \"x\" | sort by data.n | select type", &small),
        "sort by data.n: more than 100000 rows to order"
    );
    assert_eq!(refused("search \"x\" | dedup data.n", &small), "dedup data.n: more than 100000 different rows");
    assert_eq!(
        refused("search \"x\" | sort by datetime", &large),
        "sort by datetime: more than 96 MiB of rows to hold"
    );
    assert_eq!(
        refused("search \"x\" | summarize max(data) by datetime", &large),
        "summarize max(data) by datetime: more than 96 MiB of rows to hold"
    );
    let columns: Vec<String> = (0..90).map(|n| format!("data as v{n}")).collect();
    let many = format!("search \"x\" | select {}", columns.join(", "));
    let wide = |_: usize| json!({"datetime": 0, "logContent": {"data": "x".repeat(100 << 10)}});
    assert!(refused(&many, &wide).ends_with(": an answer of more than 64 MiB"));
    let twice: String = (0..20).map(|n| format!(", c{} = concat(c{n}, c{n})", n + 1)).collect();
    assert_eq!(
        refused(&format!("search \"x\" | extend c0 = data.n{twice} | select c20"), &|_| {
            json!({"datetime": 1, "logContent": {"data": {"n": "x".repeat(100_000)}}})
        })
        .split_once(": ")
        .expect("a message")
        .1,
        "a row of more than 16 MiB"
    );
    assert_eq!(refused("search \"x\"", &small), ": more than 100000 rows");
}
