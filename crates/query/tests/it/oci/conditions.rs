//! What conditions match, and which logs scopes mean.

use event::Kind;
use query::Predicate;
use query::oci::{Condition, Scope, predicate};

use super::{condition, records};

/// Which records a condition matches, by their letters. Printed and read again it must match the same, and its filters
/// must rule out none of them.
#[track_caller]
fn check(text: &str, expected: &str) {
    let first = condition(text);
    assert_eq!(found(&first), expected, "{text}");
    let printed = first.to_string();
    let again = Condition::parse(&printed).unwrap_or_else(|error| panic!("{text} printed: {}", error.render(&printed)));
    assert_eq!(found(&again), expected, "{text} printed as {printed}");
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.prune(), first.prune());
    let predicate = predicate([Scope::default()], Some(first));
    assert_eq!(predicate.to_string(), printed);
    for (letter, record) in records() {
        let matches = predicate.matches(Kind::Raw, record.as_bytes());
        // Escaped letters are found by conditions alone; the custom entry has some.
        assert!(!matches || expected.contains(letter), "{text} on {letter}");
        assert!(!matches || possible(&predicate, &record), "{text} is ruled out for {letter}");
        assert!(!predicate.matches(Kind::Udm, record.as_bytes()));
    }
}

fn found(condition: &Condition) -> String {
    let matching = records().into_iter().filter(|(_, record)| condition.matches(record.as_bytes()));
    matching.map(|(letter, _)| letter).collect()
}

fn possible(predicate: &Predicate, record: &str) -> bool {
    let folded = udm::fold(record);
    predicate.prune().possible(&mut |_| false, &mut |wanted| folded.contains(wanted))
}

#[test]
fn conditions_in_the_wild() {
    check("logContent.source = 'compute-for-log-test'", "A");
    check("(source='compute-for-log-test')", "A");
    check(
        "logContent.type='com.oraclecloud.ComputeApi.InstanceAction.begin' OR logContent.type='com.oraclecloud.ComputeApi.LaunchInstance.begin'",
        "A",
    );
    check(
        "(type='com.oraclecloud.ComputeApi.InstanceAction.begin') AND (isNull(data.request.action) OR data.request.action!='GET')",
        "A",
    );
    check("(isNull(data.request.action) OR data.request.action!='POST')", "NPSFC");
    check("data.destinationAddress = '10.0.2.121'", "PS");
    check("true", "ANPSFC");
    check("false", "");
}

#[test]
fn both_prefixes_mean_the_same() {
    for field in ["type", "logContent.type", "\"type\"", "\"logContent\".\"type\""] {
        check(&format!("{field} = 'com.oraclecloud.vcn.flowlogs.DataEvent'"), "PS");
    }
    check("logContent.data.protocolName = 'TCP'", "S");
    check("data.protocolName = 'TCP'", "S");
    check("oracle.loggroupid = '_Audit'", "A");
    check("logContent.oracle.loggroupid = '_Audit'", "A");
    check("subject = 'to-something'", "F");
    check("id = 'f1'", "F");
    check("logContent.myattribute = 'own'", "C");
}

#[test]
fn equal_is_exact_and_minds_case() {
    check("data.action = 'ACCEPT'", "PS");
    check("data.action = 'accept'", "");
    check("data.action = 'ACC'", "");
    check("data.action = 'ACC*'", "PS");
    check("data.action = '*EPT'", "PS");
    check("data.action = '*C*P*'", "PS");
    check("data.action = '*'", "PS");
    check("data.action != 'ACCEPT'", "ANFC");
    check("data.message = '*InstanceAction succeeded'", "A");
    check("type = 'com.oraclecloud.vcn.flowlogs.*'", "NPS");
    check("data.Message = 'upper'", "C");
}

#[test]
fn and_binds_closer_than_or_and_not_closest() {
    check("data.protocolName = 'TCP' OR source = 'compute-for-log-test' AND data.action = 'x'", "S");
    check("(data.protocolName = 'TCP' OR source = 'compute-for-log-test') AND data.eventName = '*'", "A");
    check("not data.action = 'ACCEPT' and source = '-'", "N");
    check("NOT (data.action = 'ACCEPT' or source = '-')", "AFC");
    check("Not Not data.action = 'ACCEPT'", "PS");
    check("not(data.action = 'ACCEPT') And not isnull(data.eventName)", "A");
    check("data.action = 'ACCEPT' and data.destinationPort = 22 or data.src = 'STDERR'", "SF");
}

#[test]
fn numbers() {
    check("data.destinationPort = 22", "S");
    check("data.destinationPort = 22.0", "S");
    check("data.destinationPort = '22'", "S");
    check("data.destinationPort = '2*'", "S");
    check("data.destinationPort != 22", "ANPFC");
    check("data.destinationPort < 22", "P");
    check("data.destinationPort <= 22", "PS");
    check("data.destinationPort > -1", "PS");
    check("data.destinationPort >= '22'", "S");
    check("22 = data.destinationPort", "S");
    check("1 < data.destinationPort", "S");
    check("data.status = 200", "C");
    check("data.status >= 200 and data.status < 300", "C");
    check("data.zip = 22", "");
    check("data.zip = '022'", "C");
    check("data.code = '200'", "C");
    check("data.ratio = 0.5", "C");
    check("data.ratio = 5e-1", "C");
    check("data.big = 9007199254740993", "C");
    check("data.big = 9007199254740992", "");
    check("data.message > 5", "");
    check("1 = 1", "ANPSFC");
    check("1 = 2", "");
}

#[test]
fn texts_are_ordered_as_what_they_are() {
    check("data.until < '2023-12-31T15:00:01Z'", "C");
    check("data.until < '2023-12-31T15:00:00Z'", "");
    check("time >= '2023-10-04T02:04:00Z'", "FC");
    check("time >= '2023-10-04T11:04:00+09:00'", "FC");
    check("datetime >= '2023-10-04T02:04:00Z'", "FC");
    check("datetime = 1696385100000", "C");
    check("datetime < 1696385000000", "ANPS");
    check("datetime in ('2023-10-04T02:05:00Z', 5)", "C");
    check("data.protocolName < 'J'", "P");
    check("data.protocolName >= 'TCP'", "S");
}

#[test]
fn true_false_and_null() {
    check("data.ok = true", "C");
    check("data.ok = 'true'", "C");
    check("data.ok", "C");
    check("not data.ok", "ANPSF");
    check("data.no = false", "C");
    check("data.no", "");
    check("data.ok = 1", "");
    check("isNull(data.nothing)", "ANPSFC");
    check("isNull(data.action)", "ANFC");
    check("ISNOTNULL(data.action)", "PS");
    check("isNotNull(data.list)", "C");
    check("isNull(data.list[0])", "ANPSFC");
    check("data.action = null", "ANFC");
    check("data.action != null", "PS");
    check("data.nothing != 'x'", "ANPSFC");
    check("data.nothing = '*'", "");
    check("dataschema = '2.0'", "A");
    check("isNotNull(dataschema)", "A");
}

#[test]
fn paths_go_deep_and_through_lists() {
    check("data.request.headers.\"Content-Type\" = 'application/json'", "A");
    check("data.request.parameters.action = 'SOFTRESET'", "A");
    check("data.request.parameters.action[0] = 'SOFTRESET'", "A");
    check("data.request.parameters.action[1] = 'SOFTRESET'", "");
    check("data.stateChange.current.lifecycleState = 'STOPPING'", "A");
    check("data.\"a.b\" = 1", "C");
    check("data.\"a.b\" = 2", "");
    check("data.\"a\".\"b\" = 2", "C");
    check("data.a.b = 1", "");
    check("data.\"first name\" = 'Kim'", "C");
    check("data.tags = 'green'", "C");
    check("data.tags[1] = 'green'", "C");
    check("data.tags[*] = 'red'", "C");
    check("data.tags != 'green'", "ANPSF");
    check("data.tags != 'blue'", "ANPSFC");
    check("data.items.n = 2", "C");
    check("data.items[0].n = 2", "");
    check("data.items[1].n = 2", "C");
    check("data.items.n = 3", "C");
    check("isNotNull(data.items.k)", "C");
    check("isNull(data.items[1].k)", "ANPSFC");
    check("data.deep.k = 'in'", "C");
    check("data.deep[0].k = 'in'", "C");
    check("data.deep[0][0].k = 'in'", "C");
    check("data.a = 2", "C");
    check("data.tags.n = 1", "");
    check("data.message.x = 1", "");
}

#[test]
fn lists_of_values() {
    check("data.protocolName in ('TCP', 'UDP')", "S");
    check("data.protocolName IN ('TCP', 'IC*')", "PS");
    check("data.protocolName not in ('TCP')", "ANPFC");
    check("not data.protocolName in ('TCP')", "ANPFC");
    check("data.destinationPort in (0, '22', true)", "PS");
    check("data.tags in ['x', 'red']", "C");
}

#[test]
fn texts_within_texts() {
    check("contains_ci(data.message, 'SUCCEEDED')", "A");
    check("contains_cs(data.message, 'SUCCEEDED')", "");
    check("contains_cs(data.message, 'succeeded')", "A");
    check("contains_ci(data.message, 'SUCCEEDED', false)", "A");
    check("contains_ci(data.message, 'SUCCEEDED', true)", "");
    check("contains_cs(data.message, 'flowlog*-> 10.0.2.121')", "F");
    check("not contains_ci(logContent, 'accept')", "ANC");
    check("contains_ci(logContent, 'STOPPING')", "A");
    check("contains_cs(data.message, data.status)", "");
    check("contains_cs(data.message, '서울')", "C");
    check("contains_ci(data.destinationPort, '22')", "S");
}

#[test]
fn full_text() {
    check("logContent = '*132.145.1.2*'", "PSF");
    check("'132.145.1.2'", "PSF");
    check("'10.0.2.121' and not 'ICMP'", "SF");
    check("\"132.145.1.2\"", "PSF");
    check("not (\"132.145.1.2\") and \"STOPPING\"", "A");
    check("logContent = 'STOPPING'", "A");
    check("logContent = 'STOP'", "");
    check("logContent = '*STOP*'", "A");
    check("data = '*SOFTRESET*'", "A");
    check("logContent = '*lifecycleState*'", "");
    check("logContent = '*36266*'", "SF");
    check("logContent = 36266", "S");
    check("logContent != '*ocid1.tenancy*'", "C");
}

#[test]
fn quotes_stars_and_letters() {
    check("data.message = 'it''s 서울: 50% done'", "C");
    check(r"data.message = 'it\'s*'", "C");
    check(r#"source = 'C:\app "one"'"#, "C");
    check(r#"source = "C:\app*""#, "C");
    check(r"id = 'x\*y'", "C");
    check(r"id = 'x\*'", "");
    check(r"id = 'x*'", "C");
    check(r"source = 'C:\\*'", "C");
    check(r"source = 'C:\\' or id = 'x*'", "C");
    check("source = \"compute-for-log-test\"", "A");
    check("source = \"compute-*\"", "A");
    check("data.protocolName in (\"TCP\", \"ICMP\")", "PS");
}

#[test]
fn values_that_are_computed() {
    check("data.bytesOut / data.packets = 60", "PS");
    check("data.bytesOut + 1 > 420", "PS");
    check("data.bytesOut - data.packets * 60 = 0", "PS");
    check("data.endTime - data.startTime > 29", "NPS");
    check("- data.ratio < 0", "C");
    check("-(data.ratio) = -0.5", "C");
    check("+5 > data.ratio", "C");
    check("data.ratio / 0 = 1", "");
    check("upper(data.protocolName) = 'TCP'", "S");
    check("lower(data.protocolName) = 't*'", "S");
    check("substr(data.action, 0, 3) = 'ACC'", "PS");
    check("substr(data.message, 4) = ' - *'", "");
    check("concat(data.sourceAddress, ':', data.sourcePort) = '132.145.1.2:36266'", "S");
    check("data.status = data.code", "C");
    check("data.sourcePort != data.destinationPort", "ANSFC");
    check("data.tags = data.list", "");
    check("rounddown(datetime, '1m') = '2023-10-04T02:04:00Z'", "F");
    check("time_format(datetime, 'HH:mm') = '02:05'", "C");
    check("isNull(data.a + 1)", "ANPSFC");
}

#[test]
fn comments_and_white_space() {
    check(
        "-- all flow logs\ntype = 'com.oraclecloud.vcn.flowlogs.*' /* of\nany kind */ and -- but\n source='-'",
        "NPS",
    );
    check("\t true /*/ */", "ANPSFC");
}

#[test]
fn scopes_are_ids_of_the_envelope() {
    let scope = |compartments: &[&str], group: Option<&str>, log: Option<&str>| Scope {
        compartments: compartments.iter().map(|id| (*id).to_owned()).collect(),
        group: group.map(str::to_owned),
        log: log.map(str::to_owned),
    };
    let b = "ocid1.compartment.oc1..bbbb";
    let c = "ocid1.compartment.oc1..cccc";
    let g = "ocid1.loggroup.oc1.ap-seoul-1.g";
    for (scope, expected) in [
        (Scope::default(), "ANPSFC"),
        (scope(&[b], None, None), "ANPSC"),
        (scope(&[b, c], None, None), "ANPSFC"),
        (scope(&[b], Some("_Audit"), None), "A"),
        (scope(&[b], Some(g), None), "NPS"),
        (scope(&[c], Some(g), None), ""),
        (scope(&[], Some(g), Some("ocid1.log.oc1.ap-seoul-1.l")), "NPS"),
        (scope(&[], None, Some("l")), "C"),
    ] {
        let found: String = records()
            .into_iter()
            .filter(|(_, record)| scope.contains(record.as_bytes()))
            .map(|(letter, _)| letter)
            .collect();
        assert_eq!(found, expected, "{scope:?}");
        let predicate = predicate([scope.clone()], None);
        for (letter, record) in records() {
            let matches = predicate.matches(Kind::Raw, record.as_bytes());
            assert_eq!(matches, expected.contains(letter), "{predicate} on {letter}");
            assert!(!matches || possible(&predicate, &record), "{predicate} is ruled out for {letter}");
        }
        assert_eq!(Condition::parse(&predicate.to_string()).unwrap().to_string(), predicate.to_string());
    }
    assert!(!Scope { log: Some("l".to_owned()), ..Scope::default() }.contains(b"no JSON"));
}

#[test]
fn several_scopes_are_alternatives_and_none_is_nothing() {
    let group = |id: &str| Scope { group: Some(id.to_owned()), ..Scope::default() };
    let ping = || Some(condition("data.protocolName = 'ICMP' or data.eventName = '*'"));
    let both = predicate([group("_Audit"), group("ocid1.loggroup.oc1.ap-seoul-1.g")], ping());
    assert_eq!(
        both.to_string(),
        "(oracle.loggroupid = '_Audit' or oracle.loggroupid = 'ocid1.loggroup.oc1.ap-seoul-1.g') and \
         (data.protocolName = 'ICMP' or data.eventName = '*')"
    );
    let letters = |predicate: &Predicate| -> String {
        let matching = records().into_iter().filter(|(_, record)| predicate.matches(Kind::Raw, record.as_bytes()));
        matching.map(|(letter, _)| letter).collect()
    };
    assert_eq!(letters(&both), "AP");
    let none = predicate([], ping());
    assert_eq!(letters(&none), "");
    assert!(!possible(&none, ""));
    assert_eq!(predicate([Scope::default(), group("_Audit")], None).to_string(), "true");
    assert_eq!(both.kinds(), [Kind::Raw]);
}

/// What filters are asked for.
#[test]
fn filters_look_for_plain_texts() {
    for (text, expected) in [
        ("data.action = 'REJECT'", r#"All([Text("data"), Text("action"), Text("reject")])"#),
        ("source = 'a/b-c'", r#"All([Text("source"), Text("b-c")])"#),
        ("logContent = '*132.145.1.2*'", r#"Text("132.145.1.2")"#),
        ("contains_ci(logContent, 'Say \"Hi\"')", r#"All([Text("say "), Text("hi")])"#),
        ("'서울 tower'", r#"Text(" tower")"#),
        ("data.port = 22", r#"All([Text("data"), Text("port")])"#),
        ("data.port = '22'", r#"All([Text("data"), Text("port")])"#),
        ("type = 'ab' or type = 'cd'", r#"One([All([Text("type"), Text("ab")]), All([Text("type"), Text("cd")])])"#),
        ("type in ('ab', 'cd')", r#"All([Text("type"), One([Text("ab"), Text("cd")])])"#),
        ("isNotNull(data.x)", r#"Text("data")"#),
        ("type != 'ab'", "Unknown"),
        ("not type = 'ab'", "Unknown"),
        ("isNull(data.action)", "Unknown"),
        ("upper(type) = 'AB'", "Unknown"),
        ("false", "Never"),
        ("true", "Unknown"),
    ] {
        assert_eq!(format!("{:?}", condition(text).prune()), expected, "{text}");
    }
}

#[test]
fn letters_that_are_written_by_number() {
    let record = br#"{"type": "\u0061bc", "source": "-"}"#;
    let abc = condition("type = 'abc'");
    assert!(abc.matches(record));
    // Filters would not have found it, so a search of the store does not either, wherever the record lies.
    assert!(!predicate([Scope::default()], Some(abc)).matches(Kind::Raw, record));
    assert!(predicate([Scope::default()], Some(condition("type = 'abc' or source = '-'"))).matches(Kind::Raw, record));
}

#[test]
fn what_is_no_envelope_has_no_fields() {
    for record in
        ["", "plain text", "{", "[1, 2]", "\"type\"", r#"{"type": "a"#, r#"{"type" "a"}"#, "\u{0}\u{1}", "{\"type\":"]
    {
        assert!(!condition("type = '*'").matches(record.as_bytes()), "{record:?}");
        assert!(condition("type != 'a'").matches(record.as_bytes()), "{record:?}");
        assert!(condition("isNull(type)").matches(record.as_bytes()), "{record:?}");
    }
    // What was readable counts.
    assert!(condition("type = 'a'").matches(br#"{"type": "a", "data": {"#));
    assert!(condition("data.x = 'a'").matches(b"{\"data\": {\"x\": \"a\", \"y\": \xff\xfe"));
}
