//! Valid inputs of each target, and the words that such inputs are made of. Requests are what real clients sent (the
//! captures beside the dialects), cut short; logs come from a real log on the simulated disk.

use std::sync::Arc;

use commit::{Log, LogOptions, NewFrame};
use event::{Batch, BatchId, BatchMeta, InstanceId, Kind, Label, Record, Time, codec};

use super::Syntax;
use crate::disk::SimDisk;

/// Inputs are this long at most: long enough for deep nesting and long lists, short enough for many runs.
const BYTES_MAX: usize = 48 << 10;

pub(super) fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) const RAW_LOGS: &[&str] = &[
    r#"{"customer_id": "00000000-0000-0000-0000-000000000001", "log_type": "BIND_DNS",
        "entries": [{"log_text": "x", "ts_epoch_microseconds": 1551188102187000}]}"#,
    r#"{"customerId":"00000000-0000-0000-0000-000000000001","logType":"OKTA","namespace":"prod",
        "entries":[{"logText":"a \"b\" \\ c\u00e9\ud83d\ude00\n"},{"logText":"second"}]}"#,
    r#"{"log_type": "CATCH_ALL", "labels": [{"key": "env", "value": "prod"}, {"key": "team", "value": "blue",
        "rbac_enabled": true}],
        "entries": [{"log_text": "<15>Nov 20 13:42:27 host app[2744]: {\"EventTime\":1795182146}",
        "ts_rfc3339": "2026-11-20T13:42:27.5Z"}], "hint": null}"#,
    r#"{"entries": {"log_text": "one object", "ts_epoch_microseconds": "1551188102187000"}, "log_type": "OKTA",
        "labels": {"key": "k", "value": "v", "rbac_enabled": "false"}}"#,
];

pub(super) const EVENTS: &[&str] = &[
    r#"{"customer_id": "00000000-0000-0000-0000-000000000001",
        "events": [{"metadata": {"event_timestamp": "2019-10-23T04:00:00.000Z", "event_type": "NETWORK_HTTP",
        "product_name": "Acme Proxy", "vendor_name": "Acme"}, "network": {"http": {"method": "GET",
        "response_code": 200}, "sent_bytes": "18446744073709551615"}, "principal": {"hostname": "host0",
        "ip": ["10.1.2.3"], "port": 60000}, "target": {"hostname": "www.example.com", "ip": ["198.51.100.68",
        "::1"], "port": 443}}]}"#,
    r#"{"events": [{"metadata": {"eventTimestamp": "2021-07-14T15:30:18.142265Z", "eventType": "USER_LOGIN"},
        "additional": {"id": "9876-54321"}, "principal": {"hostname": "userhost", "mac": "28:80:23:0b:c9:b2"},
        "target": {"user": {"userid": "employee"}}, "securityResult": [{"action": ["ALLOW"]}],
        "extensions": {"auth": {"type": "MACHINE", "mechanism": ["USERNAME_PASSWORD"]}}},
        {"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2026-11-21T19:38:05Z"}}]}"#,
    r#"{"events": {"metadata": {"event_type": 15001, "event_timestamp": "2026-01-02T03:04:05+01:00",
        "id": "QUJD"}, "security_result": {"action": "ALLOW", "risk_score": 7.5}, "network": {"ipv6": true,
        "session_duration": "90.5s"}, "additional": {"fields": {"team": {"stringValue": "Blue"},
        "n": {"numberValue": 5}, "l": {"listValue": {"values": [{"boolValue": true}, null]}}}},
        "principal": {"labels": [{"key": "k", "value": "v"}]}}}"#,
];

pub(super) const ENTITIES: &[&str] = &[
    r#"{"customer_id": "00000000-0000-0000-0000-000000000001", "log_type": "OKTA",
        "entities": [{"metadata": {"collected_timestamp": "2021-07-14T15:30:18.142265Z", "entity_type": "USER",
        "vendor_name": "ABC", "product_name": "product1"}, "entity": {"user": {"userid": "employee",
        "product_object_id": "doejohn"}}}]}"#,
    r#"{"log_type": "OKTA", "entities": [{"metadata": {"entity_type": "ASSET",
        "interval": {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-02-01T00:00:00Z"},
        "creation_timestamp": "2026-01-01T00:00:00Z"}, "entity": {"asset": {"hostname": "h",
        "ip": ["10.0.0.1"]}}, "relations": [{"entity": {"user": {"userid": "u"}}, "entity_type": "USER",
        "relationship": "OWNS"}]}, {"metadata": {"collectedTimestamp": "2026-01-01T00:00:00Z",
        "entityType": 10000}, "entity": {"user": {"userid": "j"}}}]}"#,
];

/// Query strings of searches.
pub(super) const UDM_SEARCHES: &[&str] = &[
    "query=metadata.event_type+%3D+%22USER_LOGIN%22&timeRange.start_time=2026-01-01T03%3A04%3A05.678901Z\
        &timeRange.end_time=2026-01-02T03%3A04%3A05.678901Z&limit=5",
    "query=ip%21%3D%22%22&time_range.start_time=2026-01-01T00%3A00%3A00%2B01:00&limit=1000",
    "rawQuery=ip+%5Cu0021%3D+%22%22&dialect=DIALECT_UDM_SEARCH&allowUnreplacedPlaceholders=false",
    "query=x&pageSize=3",
    "names=events/AZIAAAAAcACAAAABAAAABQ%253D%253D&names=AZIAAAAAcACAAAABAAAABg",
];

/// Bodies of searches of raw logs.
pub(super) const RAW_LOG_SEARCHES: &[&str] = &[
    r#"{"baselineQuery": "raw = \"x\"", "baselineTimeRange": {"startTime": "2026-01-01T03:04:05.678901Z",
        "endTime": "2026-01-02T03:04:05.678901Z"}, "caseSensitive": false, "pageSize": 10,
        "logTypes": [{"displayName": "OKTA"}]}"#,
    r#"{"baseline_query": "raw = /a+/ nocase AND NOT (raw != `b` OR raw = \"c\")", "snapshotQuery": "failed login",
        "snapshot_time_range": {"start_time": "2026-01-01T00:00:00+01:00"}, "maxAggregationsPerField": 60,
        "log_types": "OKTA"}"#,
];

/// Bodies of searches that are answered with a table or a view.
pub(super) const TABLE_SEARCHES: &[&str] = &[
    r#"{"baselineQuery": "ip != \"\"", "baselineTimeRange": {"startTime": "2026-01-01T03:04:05.678901Z",
        "endTime": "2026-01-02T03:04:05.678901Z"}, "fields": {"fields": ["metadata.event_timestamp", "timestamp",
        "process name", "udm.principal.user.userid", "additional.fields[\"k\"]", "ip"]}, "caseInsensitive": true}"#,
    r#"{"baselineQuery": "hostname = /a/", "snapshot_query": "target.port > 1", "case_insensitive": null,
        "detectionOptions": {"detectionList": {"maxReturnedDetections": 1000}},
        "eventList": {"maxReturnedEvents": "7"}, "fields": {"fields": "user"}}"#,
];

/// Parsers and extensions, and query strings of lists of them.
pub(super) const KEPT_PARSERS: &[&str] = &[
    r#"{"cbn": "ZmlsdGVyIHsgfQ==", "validated_on_empty_logs": true}"#,
    r#"{"cbn_snippet": "ZmlsdGVyIHsgfQ", "log": "eyJhIjoxfQ==", "validationSkipped": null, "lowCode": null}"#,
    r#"{"log": "eA==", "field_extractors": {"extractors": []}}"#,
    "filter=STATE%3DACTIVE+AND+TYPE!%3DCUSTOM&pageSize=2&view=BASIC_VIEW&parserAction=CLONE_PREBUILT",
];

/// Logs whose keys are asked for, behind a byte that chooses the format.
pub(super) const KEY_VALUES: &[&str] = &[
    r#"0{"a": [{"b": 1}, {"b": null}], "c": {"d.e": "x"}}"#,
    r#"8[[1, 2], {"a": []}]"#,
    "1<?xml version='1.0'?><e a='1'><u>joe &amp; &#x41;</u><u/><![CDATA[<]]><!-- - --></e>",
    "2a,\"b,\"\"c\"\"\",,d\n",
    "3<a b=\"c\"/>",
];

/// What such logs are made of.
pub(super) const KEY_VALUES_SYNTAX: Syntax = Syntax {
    words: &[
        "<",
        "</",
        "/>",
        ">",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "<a>",
        "</a>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "<!DOCTYPE",
        "&amp;",
        "&#x41;",
        "&#",
        ";",
        "=",
        "\"",
        "'",
        "\"a\":",
        "null",
        " ",
        "\n",
    ],
    wraps: &[("<a>", "</a>"), ("[", "]"), ("{\"a\":", "}"), ("\"", "\""), ("<!--", "-->")],
    joins: &[",", " ", ">", "\n"],
    is_binary: false,
    bytes_max: BYTES_MAX,
};

/// Single records: a letter for what it is (`e` an event, `n` an entity), then its JSON.
pub(super) const API_LOGS: &[&str] = &[
    r#"{"inline_source":{"logs":[{"data":"eyJhIjogMX0=","log_entry_time":"2026-11-21T19:36:49.679235Z",
        "collection_time":"2026-11-21T19:36:49.679235Z"}],"forwarder":"projects/p/locations/l/instances/i/forwarders/f"}}"#,
    r#"{"parent":"","inlineSource":{"logs":[{"data":"eA==","environmentNamespace":"ns1","labels":{"env":{"value":"prod"},
        "t":{"value":"1","rbac_enabled":true}}},{"data":"_-8","labels":[{"key":"k","value":"v"}]}]},"hint":null}"#,
    r#"{"inline_source":{"logs":{"data":"","collection_time":null,"labels":{"k":"v"},"name":"x"}}}"#,
];

/// The first byte chooses the endpoint: `/`, `/batch`, `/array`, `/plain`, `/plain/batch`, `/jsons`, `/many`.
pub(super) const SEKOIA: &[&str] = &[
    "\u{0}{\"intake_key\": \"fuzz-key-1\", \"json\": \"a \\\"b\\\"\", \"@timestamp\": \"2021-04-05T21:33:31+02:00\"}",
    "\u{1}{\"intake_key\": \"fuzz-key-1\", \"jsons\": [\"a\", \"\\u00e9\", {\"b\": [1, null]}, \"\"]}",
    "\u{2}[{\"intakey_key\": \"fuzz-key-1\", \"json\": \"a\", \"timestamp\": 1617651211.5}, {\"json\": {}, \"timestamp\": null}]",
    "\u{3}a line\r\n",
    "\u{4}one\r\ntwo\n\n\nthree",
    "\u{5}[\"a\", {\"b\": \"c\"}]",
    "\u{6}{\"x\": 1, \"a\": {\"b\": [\"c\", \"d\"], \"e\": null}}",
];

/// The first byte chooses the call.
pub(super) const OCI: &[&str] = &[
    "\u{0}{\"specversion\": \"1.0\", \"logEntryBatches\": [{\"source\": \"h\", \"type\": \"t\", \"subject\": \"s\", \"entries\": \
     [{\"data\": \"{\\\"a\\\":1}\", \"id\": \"1\", \"time\": \"2026-01-02T03:04:05Z\"}, {\"data\": \"x\"}]}]}",
    "\u{1}[{\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"-\", \"type\": \"com.oraclecloud.vcn.flowlogs.DataEvent\", \
     \"time\": \"2026-01-02T03:04:05Z\", \"data\": {\"a\": null}, \"oracle\": {\"logid\": \"x\", \"vnicocid\": \"v\"}}]",
    "\u{1}{\"source\": \"a\", \"type\": \"t\", \"data\": \"x\"}\n{\"source\": \"b\", \"type\": \"t\", \"data\": {}, \"oracle\": null}\n",
    "\u{2}{\"compartmentId\": \"c\", \"name\": \"lab\", \"description\": \"d\", \"freeformTags\": {\"a\": \"b\"}}",
    "\u{3}{\"compartmentId\": \"c\", \"displayName\": \"g\", \"definedTags\": {\"a\": {\"b\": 1}}}",
    "\u{4}{\"displayName\": \"l\", \"logType\": \"SERVICE\", \"retentionDuration\": 30, \"configuration\": {\"compartmentId\": \"c\", \
     \"source\": {\"sourceType\": \"OCISERVICE\", \"service\": \"flowlogs\", \"resource\": \"r\", \"category\": \"all\"}}}",
    "\u{5}{\"isEnabled\": false, \"configuration\": {\"archiving\": {\"isEnabled\": false}}, \"freeformTags\": null}",
    "\u{7}{\"compartmentId\": \"c\", \"displayName\": \"app\", \"subnetIds\": [\"s\"], \"config\": {\"A\": \"1\"}}",
    "\u{8}{\"displayName\": \"f\", \"applicationId\": \"a\", \"image\": \"x:1\", \"memoryInMBs\": 128, \"timeoutInSeconds\": 30}",
    "\u{9}{\"displayName\": \"f\", \"applicationId\": \"a\", \"memoryInMBs\": 256, \"sourceDetails\": {\"sourceType\": \"ARCHIVE\", \
     \"archiveSourceDetails\": {\"archiveSourceType\": \"DIRECT_ARCHIVE\", \"archiveFile\": \"UEsDBBQAAAA=\"}, \"handler\": \"h\", \
     \"runtimeConfig\": {\"runtimeConfigType\": \"FUNCTION_UPDATE\", \"functionsRuntimeName\": \"python3.12\"}}}",
    "\u{a}{\"sourceDetails\": {\"sourceType\": \"CONTAINER_IMAGE\", \"image\": \"x:2\"}, \"config\": null}",
    "\u{b}{\"displayName\": \"s\", \"compartmentId\": \"c\", \"source\": {\"kind\": \"logging\", \"logSources\": [{\"compartmentId\": \
     \"c\", \"logGroupId\": \"_Audit\"}]}, \"tasks\": [{\"kind\": \"logRule\", \"condition\": \"type='x' or isNull(data.a)\"}], \
     \"target\": {\"kind\": \"functions\", \"functionId\": \"f\", \"batchSizeInKbs\": 512, \"batchTimeInSec\": 60}}",
    "\u{d}{\"timeStart\": \"2026-01-01T00:00:00Z\", \"timeEnd\": \"2026-01-02T00:00:00Z\", \"searchQuery\": \"search \\\"c/g\\\" | \
     where type = 'x'\", \"isReturnFieldInfo\": true}",
    "\u{e}{\"namespace\": \"oci_faas\", \"query\": \"FunctionInvocationCount[1m].sum()\", \"resolution\": \"5m\"}",
    "\u{f}{\"namespace\": \"oci_faas\", \"dimensionFilters\": {\"a\": \"b\"}, \"groupBy\": [\"name\"]}",
];

pub(super) const OCI_SIGNATURES: &[&str] = &[
    "algorithm=\"rsa-sha256\",headers=\"date (request-target) host\",keyId=\"t/u/f\",signature=\"QUJD\",version=\"1\"",
    "version = \"1\" , keyId=t/u/g,signature=\"\", headers=\"(request-target) x-date host\",algorithm=\"RSA-SHA256\"",
    "keyId=\"ST$eyJ\",algorithm=\"rsa-sha256\",headers=\"date host (request-target) x-more\",signature=\"QUJD\",other=\"7\"",
];

pub(super) const OCI_SIGNATURE: Syntax = Syntax {
    words: &[
        "algorithm=\"rsa-sha256\"",
        "headers=\"",
        "keyId=\"",
        "signature=\"",
        "version=\"1\"",
        "(request-target)",
        "date",
        "x-date",
        "host",
        "authorization",
        "t/u/f",
        "ST$",
        "\"",
        ",",
        "=",
        " ",
    ],
    wraps: &[("\"", "\"")],
    joins: &[",", " ", ", "],
    is_binary: false,
    bytes_max: 2 << 10,
};

pub(super) const SYSLOG: &[&str] = &[
    "<134>1 2026-11-21T20:39:32.650974+00:00 hostA appB 42 LOG [SEKOIA@53288 intake_key=\"K\"] hello world\n",
    "55 <13>1 - - - - - [SEKOIA@53288 intake_key=\"K\"][x@1 y=\"\\]\"] b\n",
    "<34>Oct 11 22:14:15 mymachine su[7]: 'su root' failed\n<13>second\0",
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
    "<189>57: 2021 Nov 21 20:15:00: %LINK-3-UPDOWN: Interface up",
];

pub(super) const RELP: &[&str] = &[
    "1 open 15 relp_version=0\n\n2 syslog 5 hello\n3 syslog 0\n4 close 0\n",
    "1 open 86 relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n2 nothing 1 x\n",
    "1 open 0\n2 syslog 70 0123456789012345678901234567890123456789012345678901234567890123456789\n",
];

pub(super) const TIMES: &[&str] = &[
    "2021-04-05T21:33:31+02:00",
    "20210405T213331.5Z",
    "2021-W14-1",
    "2021-095",
    "1617651211.123456",
    "1617651211123",
    "Mon, 05 Apr 2021 21:33:31 +0200",
    "Monday, 05-Apr-21 21:33:31 GMT",
    "05/Apr/2021:21:33:31 -0700",
    "Mon Apr  5 21:33:31 EST 2021",
    "April 5, 2021 9:33:31 PM",
    "Apr  5 21:33:31",
    "2021/04/05 21:33",
];

pub(super) const RESOURCES: &[&str] = &[
    r#"{"displayName":"F","config":{"uploadCompression":true,"metadata":{"asset_namespace":"ns","labels":{"k":"v"}},
        "serverSettings":{"enabled":true,"gracefulTimeout":"15s","drainTimeout":null,"httpSettings":{"port":8080,"host":"0.0.0.0",
        "routeSettings":{"readyStatusCode":204}}},"regexFilters":[{"description":"d","regexp":".*","behavior":"ALLOW"}]}}"#,
    r#"{"display_name":"c1","config":{"log_type":"OKTA","max_seconds_per_batch":10,"max_bytes_per_batch":"1048576",
        "metadata":{"labels":[{"key":"a","value":"b"}]},"file_settings":{"file_path":"/var/log/x"}}}"#,
    r#"{"displayName":"k","config":{"logType":"OKTA","kafkaSettings":{"brokers":["a:1","b:2"],"timeout":"5.5s",
        "tlsSettings":{"insecureSkipVerification":false}}}}"#,
    r#"{"display_name":"f","details":{"feedSourceType":"HTTPS_PUSH_WEBHOOK",
        "logType":"projects/p/locations/us/instances/i/logTypes/OKTA","httpsPushWebhookSettings":{"splitDelimiter":"\n"}}}"#,
    r#"{"name":"list","description":"d","lines":["10.0.0.0/8","::1/128"],"content_type":"CIDR"}"#,
];

pub(super) const RECORDS: &[&str] = &[
    r#"e{"metadata": {"event_timestamp": "2019-10-23T04:00:00.000Z", "event_type": "NETWORK_HTTP",
        "product_name": "Acme Proxy"}, "network": {"http": {"method": "GET", "response_code": 200},
        "sent_bytes": "18446744073709551615"}, "principal": {"hostname": "host0", "ip": ["10.1.2.3"],
        "port": 60000}, "target": {"port": "443", "url": "www.example.com/a"}}"#,
    r#"e{"metadata": {"eventTimestamp": "2021-07-14T15:30:18.142265Z", "eventType": "USER_LOGIN",
        "id": "3ec03d6f-9855-41e1-afe9-31a7edfefec3"}, "additional": {"id": "9876", "l": [1, "a", {"j": true}],
        "fields": {"k": {"stringValue": "v"}}}, "principal": {"mac": "28:80:23:0b:c9:b2",
        "labels": [{"value": "v", "key": "k"}]}, "securityResult": [{"action": ["ALLOW"],
        "variables": {"k": {"string_val": "s"}}}, {"severity": "HIGH"}], "about": [{"hostname": "a"}, {}]}"#,
    r#"e{"metadata": {"event_type": 15001, "event_timestamp": "2026-01-02T03:04:05+01:00"},
        "security_result": {"risk_score": 7.5}, "network": {"ipv6": true, "session_duration": "90.5s"},
        "additional": {"fields": {"n": {"numberValue": 5}, "l": {"listValue": {"values": [{"boolValue": true},
        null]}}, "s": {"structValue": {"fields": {"k": {"nullValue": null}}}}}}}"#,
    r#"n{"metadata": {"entity_type": "ASSET", "interval": {"start_time": "2026-01-01T00:00:00Z",
        "end_time": "2026-02-01T00:00:00Z"}, "creation_timestamp": "2026-01-01T00:00:00Z"},
        "entity": {"asset": {"hostname": "h", "ip": ["10.0.0.1"]}},
        "relations": [{"entity": {"user": {"userid": "u"}}, "entity_type": "USER", "relationship": "OWNS"}]}"#,
    r#"n{"metadata": {"collectedTimestamp": "2026-01-01T00:00:00Z", "entityType": 10000},
        "entity": {"user": {"userid": "j", "productObjectId": "1"}}}"#,
    "e{}",
];

pub(super) const JSON: Syntax = Syntax {
    words: &[
        "null",
        "true",
        "false",
        "{}",
        "[]",
        "\"\"",
        "\"a\"",
        "\"true\"",
        "\"7\"",
        "\"1.5s\"",
        "\"-315576000000s\"",
        "\"0001-01-01T00:00:00Z\"",
        "\"9999-12-31T23:59:60Z\"",
        "\"2026-01-02T03:04:05.123456789Z\"",
        "\"2262-04-11T23:47:16.854775807Z\"",
        "\"2026-01-02t03:04:05-23:59\"",
        "\"1677-09-21T00:12:43.145224192Z\"",
        "\"10.0.0.1\"",
        "\"QUJD\"",
        "\"====\"",
        "\"USER_LOGIN\"",
        "\"TCP\"",
        "\"OKTA\"",
        "\"BIND_DNS\"",
        "\"CATCH_ALL\"",
        "\"UDM\"",
        "\"NOPE\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"00000000-0000-0000-0000-000000000001\"",
        "\"00000000-0000-0000-0000-000000000002\"",
        "\"customer_id\"",
        "\"customerId\"",
        "\"log_type\"",
        "\"namespace\"",
        "\"labels\"",
        "\"key\"",
        "\"value\"",
        "\"rbac_enabled\"",
        "\"entries\"",
        "\"events\"",
        "\"entities\"",
        "\"log_text\"",
        "\"logText\"",
        "\"ts_epoch_microseconds\"",
        "\"ts_rfc3339\"",
        "\"metadata\"",
        "\"event_type\"",
        "\"eventType\"",
        "\"event_timestamp\"",
        "\"entity_type\"",
        "\"collected_timestamp\"",
        "\"interval\"",
        "\"principal\"",
        "\"target\"",
        "\"about\"",
        "\"ip\"",
        "\"hostname\"",
        "\"port\"",
        "\"additional\"",
        "\"fields\"",
        "\"stringValue\"",
        "\"string_value\"",
        "\"numberValue\"",
        "\"boolValue\"",
        "\"nullValue\"",
        "\"listValue\"",
        "\"structValue\"",
        "\"values\"",
        "\"security_result\"",
        "\"variables\"",
        "\"action\"",
        "\"network\"",
        "\"sent_bytes\"",
        "\"ipv6\"",
        "\"session_duration\"",
        "\"risk_score\"",
        "\"entity\"",
        "\"asset\"",
        "\"user\"",
        "\"userid\"",
        "\"relations\"",
        "\"nope\"",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\"",
        " ",
        "\t\n",
        "/**/",
        ", \"namespace\": \"prod\"",
        ", \"labels\": [{\"key\": \"k\", \"value\": \"v\"}]",
        ", \"ts_epoch_microseconds\": 1551188102187000",
        ", \"additional\": {\"k\": \"v\"}",
    ],
    wraps: &[
        ("[", "]"),
        ("{\"a\":", "}"),
        ("{\"fields\":", "}"),
        ("{\"k\":{\"structValue\":", "}}"),
        ("{\"listValue\":{\"values\":[", "]}}"),
        ("[", ""),
        ("\"", "\""),
        ("[[", "]"),
        ("{\"entity\":", "}"),
    ],
    joins: &[",", ", ", "", ":", " "],
    is_binary: false,
    bytes_max: BYTES_MAX,
};

/// Valid queries.
pub(super) fn query_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "principal.ip = \"10.0.0.1\"",
        "metadata.event_type = \"USER_LOGIN\" AND principal.hostname = /^win-/ nocase",
        "NOT target.port >= 443 or network.ipv6 = true",
        "(ip = \"10.0.0.2\" OR hostname != \"a\") principal.labels[\"k\"] = \"v\"",
        "all principal.ip != `10.0.0.1` and any about.hostname = \"a\" nocase",
        "additional.fields[\"n\"] = 5 OR additional.fields.value = \"v\"",
        "metadata.event_timestamp > \"2026-01-01T00:00:00Z\" network.session_duration < \"2s\"",
        "security_result.risk_score <= -1.5 or metadata.event_timestamp.seconds = 1767323045",
        "principal.user.userid = /^a/ nocase or target.hostname != /b$/",
        "graph.metadata.entity_type = \"USER\"",
        "entity.user.userid = \"johndoe\"",
    ])
}

/// Valid queries in the languages of OCI.
pub(super) const OCI_QUERIES: &[&str] = &[
    "(logContent.type = 'com.oraclecloud.vcn.flowlogs.*') AND (isNull(data.subject) OR data.action != 'REJECT')",
    "contains_ci(data.message, 'X') or data.list[1].k in ('v', 5) and not data.destinationPort + 1 >= 22",
    "concat(upper(data.action), ':', data.destinationPort) = 'ACC*' -- a comment",
    "search \"c/g/l\", \"d\" | where '10.0' | extend x = upper(type) | sort by datetime desc, x | limit 5",
    "search \"c\" | summarize count() as n, avg(data.ratio) by rounddown(datetime, '1m') as t, source | top 3 by n",
    "search \"c\" | select data.\"a.b\", substr(id, 0, 2) as s | dedup s | count",
    "ErrorsAtTarget[5m]{connectorId = \"c\", errorCode =~ \"4*|5*\"}.groupBy(errorCode).sum()",
];

pub(super) const OCI_QUERY: Syntax = Syntax {
    words: &[
        "search \"a\" | ",
        "where ",
        "sort by ",
        "top 5 by ",
        "select ",
        "summarize ",
        "count",
        "count()",
        "dedup ",
        "extend ",
        "limit 5",
        " desc",
        " as x",
        " by ",
        "and",
        "or",
        "not ",
        "in (1, 'a')",
        "isNull(",
        "isNotNull(",
        "contains_ci(",
        "contains_cs(",
        "concat(",
        "upper(",
        "substr(",
        "time_format(datetime, 'HH:mm')",
        "rounddown(datetime, '1m')",
        "sum(",
        "avg(",
        "min(",
        "last(",
        "true",
        "false",
        "null",
        "data.x",
        "data.list.k",
        "data.list[2][1]",
        "data.\"a.b\"",
        "logContent",
        "datetime",
        "type",
        "'ACCEPT'",
        "'*'",
        "'a*b'",
        "'\\*'",
        "''",
        "'2026-01-02T03:04:05Z'",
        "22",
        "-1.5",
        "1e400",
        "!=",
        "<=",
        "-- ",
        "/*",
        "*/",
        "[1m]",
        "{a = \"b\"}",
        ".grouping()",
        ".sum()",
        "=~",
        "é",
    ],
    wraps: &[("(", ")"), ("not (", ")"), ("isNull(", ")"), ("'", "'"), ("\"", "\""), ("- ", ""), ("upper(", ")")],
    joins: &[" and ", " or ", " | ", ", ", " = ", " + ", " - ", ".", "", " "],
    is_binary: false,
    bytes_max: BYTES_MAX,
};

pub(super) const QUERY_STRING: Syntax = Syntax {
    words: &[
        "query=",
        "rawQuery=",
        "raw_query=",
        "limit=",
        "pageSize=",
        "names=",
        "dialect=",
        "queryDialect=SQL",
        "timeRange.startTime=",
        "timeRange.end_time=",
        "time_range.start_time=",
        "time_range.endTime=",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+01:00",
        "9999-12-31T23:59:60Z",
        "10000",
        "-1",
        "99999999999999999999",
        "&",
        "=",
        "+",
        "%",
        "%22",
        "%2f",
        "%25",
        "%ff",
        "%5Cu0021",
        "%5Cud83d",
        "%5C%5Cu0021",
        "%0A",
        "ip%21%3D%22%22",
        "hostname%3D%2Fa%2F",
        "raw%3D%22x%22",
        "entity.user.userid%3D%22a%22",
        "AZIAAAAAcACAAAABAAAABQ==",
        "projects/p/locations/l/instances/00000000-0000-0000-0000-000000000001/events/",
        "projects/p/locations/l/instances/00000000-0000-0000-0000-000000000002/events/",
    ],
    wraps: &[("(", ")"), ("%22", "%22"), ("%2F", "%2F"), ("NOT+", "")],
    joins: &["&", "+AND+", "+OR+", "+"],
    is_binary: false,
    bytes_max: 6 << 10,
};

pub(super) const QUERY: Syntax = Syntax {
    words: &[
        "NOT",
        "(",
        ")",
        "=",
        "!=",
        "/a/",
        "\"a\"",
        "nocase",
        "all",
        "5",
        "AND",
        "OR",
        "and",
        "or",
        "not",
        "any",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "\"\"",
        "`a`",
        "/^.*(a|b)+$/",
        "/(?i)k/",
        "/[^\\x00-\\x{10FFFF}]/",
        "/\\pL{1,3}/",
        "/(a{9}){9}/",
        "/\\b\\B/",
        "/(?s-m:.)/",
        "/\\//",
        "/é/",
        "/[[:alpha:]&&[^k]]/",
        "\"\\u00e9\"",
        "\"\\n\\\"\"",
        "true",
        "false",
        "null",
        "0",
        "1.5",
        "-1",
        "~",
        "&&",
        "||",
        "!",
        "1e400",
        "\"10.0.0.0/8\"",
        "\"2026-01-02T03:04:05Z\"",
        "\"1.5s\"",
        "ip",
        "hostname",
        "user",
        "principal.ip",
        "udm.principal.ip",
        "principal.asset.ip",
        "about.ip",
        "target.port",
        "network.ipv6",
        "network.sent_bytes",
        "metadata.event_type",
        "metadata.id",
        "metadata.event_timestamp",
        "metadata.event_timestamp.seconds",
        "metadata.event_timestamp.nanos",
        "network.session_duration",
        "security_result.action",
        "security_result.variables[\"k\"].string_val",
        "principal.labels[\"k\"]",
        "principal.labels.value",
        "additional.fields[\"k\"]",
        "additional.fields.key",
        "additional[\"k\"].fields[\"j\"]",
        "additional",
        "principal",
        "entity.user.userid",
        "relations.entity_type",
        "[\"k\"]",
        "[\"\\\"]\"]",
        ".",
        "%",
        "$e",
        "events:",
        "// c\n",
        "/* c */",
        "in",
        "match",
        "ÜBER",
    ],
    wraps: &[
        ("(", ")"),
        ("NOT ", ""),
        ("NOT (", ")"),
        ("(", ""),
        ("\"", "\""),
        ("`", "`"),
        ("/", "/"),
        ("/(", ")/"),
        ("(?:", ")*"),
    ],
    joins: &[" AND ", " OR ", " AND NOT ", " or not ", " ", "|"],
    is_binary: false,
    bytes_max: 6 << 10,
};

/// A form whose assertion is written out instead of encoded (see `sealed` in the targets): header, claims.
pub(super) const TOKENS: &[&str] = &[
    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJhbGciOiJSUzI1NiJ9.e30.AA",
    "signed:{\"typ\":\"JWT\",\"alg\":\"RS256\",\
        \"kid\":\"k\"}\n{\"iat\":1699999900,\"exp\":1700003500,\"iss\":\"fuzz-1@example.com\",\
        \"aud\":\"https://oauth2.googleapis.com/token\",\
        \"scope\":\"https://www.googleapis.com/auth/malachite-ingestion\"}",
    "signed:{\"alg\":\"RS256\"}\n{\"iat\":1699999900.5,\"exp\":1700003400,\"iss\":\"fuzz-1@example.com\",\
        \"aud\":[\"a\",\"http://127.0.0.1:8480/token\"],\"scope\":\"https://www.googleapis.\
        com/auth/cloud-platform x\"}",
    "grant_type=refresh_token&refresh_token=a%20b+c",
    "grant_type=refresh_token&client_id=fuzz-refresh&client_secret=fuzz-refresh&refresh_token=fuzz-refresh&scope=\
        https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform+openid",
    "%67rant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=&assertion=a.b.c",
];

pub(super) const BEARERS: &[&str] = &[
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJmdXp6LTFAZXhhbXBsZS5jb20iLCJpYXQiOjEsImV4cCI6Mn0.AAAA",
    "parts:{\"alg\":\"RS256\",\"kid\":\"k\"}\n{\"iss\":\"fuzz-1@example.com\",\"sub\":\"fuzz-1@example.com\",\
        \"aud\":\"https://malachiteingestion-pa.googleapis.com/\",\"iat\":1699999900,\"exp\":1700003400}\nsignature",
    "pst1.AAAAAAAAAAAAAAAAAAAAAAEBAAAAAGVT8QABa2Z1enotMUBleGFtcGxlLmNvbQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "signed:{\"alg\":\"RS256\",\"kid\":\"k\"}\n{\"iss\":\"fuzz-1@example.com\",\"sub\":\"fuzz-1@example.com\",\
        \"aud\":\"https://malachiteingestion-pa.googleapis.com/\",\
        \"scope\":\"https://www.googleapis.com/auth/malachite-ingestion\",\"iat\":1699999900,\"exp\":1700003400}",
    "pst1..",
    "ya29.c.b0Aaekm1K",
];

pub(super) const TOKEN: Syntax = Syntax {
    words: &[
        "grant_type",
        "assertion",
        "refresh_token",
        "client_id",
        "client_secret",
        "scope",
        "fuzz-refresh",
        "=",
        "&",
        "+",
        "%20",
        "%",
        "%00",
        "%zz",
        ".",
        "..",
        "pst1.",
        "e30",
        "signed:",
        "parts:",
        "\n",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "{\"alg\":\"RS256\"}",
        "\"alg\"",
        "\"kid\"",
        "\"none\"",
        "\"HS256\"",
        "\"RS256\"",
        "\"iss\"",
        "\"sub\"",
        "\"aud\"",
        "\"iat\"",
        "\"exp\"",
        "\"scope\"",
        "\"fuzz-1@example.com\"",
        "\"fuzz-2@example.com\"",
        "\"https://oauth2.googleapis.com/token\"",
        "\"https://x.googleapis.com\"",
        "\"://\"",
        "\"https://www.googleapis.com/auth/malachite-ingestion\"",
        "[]",
        "{}",
        "null",
        "true",
        "\"\"",
        "1700000000",
        "1700003600",
        "1099511627775",
        "1099511627776",
        "\"k\"",
        "\"\\u0000\"",
    ],
    wraps: &[("[", "]"), ("\"", "\""), ("{\"a\":", "}")],
    joins: &[",", "&", ".", " ", ""],
    is_binary: false,
    bytes_max: 16 << 10,
};

pub(super) const LOGS: &[&str] = &[
    r#"<166>Nov 21 2026 20:15:00 asa01 : %ASA-6-302013: Built outbound TCP connection 7 for outside:203.0.113.80/443"#,
    r#"<85>1 2026-11-21T20:18:05Z srv4.example.com su 7712 - - pam_unix(su-l:session): session opened for user postgres"#,
    r#"<134>1 2026-11-21T20:15:00Z gw1 CheckPoint 18160 - [action:"Accept"; ifdir:"inbound"; loguid:"{0x6,0x0}"]"#,
    r#"<14>Nov 21 20:15:00 pa-220 1,2026/11/21 20:15:00,012801096514,TRAFFIC,end,2817,"a,b",192.0.2.10"#,
    r#"CEF:0|Fortinet|Fortigate|v7.2.5|00013|traffic|3|deviceExternalId=FGT5 src=192.0.2.10"#,
    r#"date=2026-11-21 time=20:15:02 logid="0316013056" type="utm" subtype="webfilter" vd="root" devid="FG100E""#,
    r#"192.0.2.10 - mary [21/Nov/2026:20:15:00 +0000] "GET / HTTP/1.1" 200 2326 "https://www.example.com/" "ua""#,
    r#"{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventSource":"s3.amazonaws.com","Records":[{"a":1}]}"#,
    r#"conn - {"ts":1.5,"uid":"C","id.orig_h":"192.0.2.1","id.resp_h":"198.51.100.1"}"#,
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Sysmon'/>\
     <EventID>1</EventID><Channel>Microsoft-Windows-Sysmon/Operational</Channel></System></Event>",
    "11/21/2026 08:15:13 PM\r\nLogName=Application\r\nEventCode=1000\r\nSourceName=Application Error\r\n",
    "<13>Nov 21 20:15:09 fs01 MSWinEventLog\t1\tSecurity\t4\tSat Nov 21\t4634\tMicrosoft-Windows-Security-Auditing\tu",
];

pub(super) const LOG_TEXT: Syntax = Syntax {
    words: &[
        "{",
        "}",
        "\"",
        ":",
        "=",
        "<",
        ">",
        "[",
        "]",
        ",",
        " ",
        "\t",
        "\n",
        "|",
        "%",
        "\\",
        "\u{fffd}",
        "é",
        "<13>",
        "1 ",
        "Nov 21 20:15:00 ",
        "2026-11-21T20:15:00Z ",
        "CEF:0|",
        "LEEF:1.0|",
        "%ASA-6-302013: ",
        "sshd[1]: ",
        "\"a\":",
        "MSWinEventLog\t",
        "LogName=",
        "<Provider Name='",
        "<Channel>",
        " [21/Nov/2026:20:15:00 +0000] \"",
        "\" 200 1",
    ],
    wraps: &[
        ("{\"a\":", "}"),
        ("[", "]"),
        ("\"", "\""),
        ("<13>Nov 21 20:15:00 h p: ", ""),
        ("a=\"", "\""),
        ("<a>", "</a>"),
    ],
    joins: &[",", " ", "\t", "|", "\n", "\": \""],
    is_binary: false,
    bytes_max: BYTES_MAX,
};

pub(super) const CONNECT_HEADS: &[&str] = &[
    "CONNECT oauth2.googleapis.com:443 HTTP/1.0\r\n\r\n",
    "CONNECT us-chronicle.googleapis.com:443 HTTP/1.1\r\nHost: us-chronicle.googleapis.com:443\r\n\
        Proxy-Connection: Keep-Alive\r\n\r\n\u{16}\u{3}\u{1}",
    "CONNECT chronicle.europe-west12.rep.googleapis.com:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    "CONNECT oauth2.googleapis.com:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET http://oauth2.googleapis.com/token HTTP/1.1\r\nHost: x\r\n\r\n",
];

pub(super) const CONNECT_HEAD: Syntax = Syntax {
    words: &[
        "CONNECT ",
        "GET ",
        "connect ",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/2.0\r\n",
        "\r\n",
        "\n",
        "\r\n\r\n",
        ":443",
        ":80",
        ":0443",
        ":0",
        ":65536",
        ":",
        "oauth2.googleapis.com",
        "iamcredentials",
        "backstory",
        "malachiteingestion-pa",
        "-chronicle",
        "chronicle.",
        ".rep",
        ".googleapis.com",
        "us",
        "-",
        ".",
        "@",
        "[::1]",
        "\u{e9}",
        "\0",
        "\t",
        "Host: ",
        "Content-Length: 0\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "\u{16}\u{3}\u{1}",
    ],
    wraps: &[("CONNECT ", ":443 HTTP/1.1\r\n\r\n"), ("", ".googleapis.com"), ("X: ", "\r\n")],
    joins: &["", "-", ".", ":", "\r\n", " "],
    is_binary: false,
    bytes_max: 16 << 10,
};

/// An account, then a body.
pub(super) const IMPERSONATIONS: &[&str] = &[
    "fuzz-1@example.com\n{\"delegates\":null,\"scope\":[\"https://www.googleapis.com/auth/cloud-platform\"],\
        \"lifetime\":\"600s\"}",
    "fuzz-2@example.com\n{\"scope\":\"https://www.googleapis.com/auth/malachite-ingestion\",\"lifetime\":\"3.5s\"}",
    "nobody%40example.com\n{\"delegates\":[\"projects/-/serviceAccounts/a@b\"],\"scope\":[]}",
    "fuzz-1%40example.com\n{\"scope\":[\"https://www.googleapis.com/auth/iam\",\"openid\"],\"lifetime\":\"3600.000s\"}",
];

pub(super) const METADATA: &[&str] = &[
    "GET /",
    "GET /computeMetadata/v1/project/project-id",
    "GET /computeMetadata/v1/instance/service-accounts/?recursive=true",
    "GET /computeMetadata/v1/instance/service-accounts/default/?recursive=true",
    "GET /computeMetadata/v1/instance/service-accounts/fuzz-1%40example.com/email",
    "HEAD /computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fiam,x",
    "POST /computeMetadata/v1/universe/universe-domain",
];

pub(super) const REQUEST_LINES: &[&str] = &[
    "POST /v2/unstructuredlogentries:batchCreate?key=a%20b",
    "POST /v2/udmevents:batchCreate",
    "POST /v2/entities%3AbatchCreate?alt=json&key=k",
    "GET /v2/logtypes?pageSize=5",
    "POST /token",
    "GET /%E3%83%9B/a%2Fb%25c//../.",
    "OPTIONS *",
];

pub(super) const REQUEST_LINE: Syntax = Syntax {
    words: &[
        "GET",
        "POST",
        "HEAD",
        "OPTIONS",
        "PATCH",
        "get",
        " ",
        "/",
        "//",
        "/..",
        "/.",
        "?",
        "#",
        "&",
        "=",
        "key=",
        "%2F",
        "%2f",
        "%25",
        "%3A",
        ":",
        "%",
        "%0a",
        "%00",
        "%C3%A9",
        "%C3",
        "%ff",
        "v1",
        "v2",
        "token",
        "logtypes",
        "udmevents",
        "entities",
        "unstructuredlogentries",
        "batchCreate",
        ":batchCreate",
        "*",
        "http://h/",
    ],
    wraps: &[("/", ""), ("%", ""), ("%25", "")],
    joins: &["/", "", ":", "?", "&"],
    is_binary: false,
    bytes_max: 16 << 10,
};

/// Payloads of one and several batches.
pub(super) fn codec_seeds() -> Vec<Vec<u8>> {
    let label = |key: &str, rbac_enabled| Label { key: key.to_owned(), value: "value".to_owned(), rbac_enabled };
    let record = |text: &'static str, time: Option<i64>| {
        let time = time.map(Time::from_nanos);
        Record { data: text.as_bytes().into(), sender_time: time, collected_at: None, fault: None }
    };
    let batch = |kind, labels: Vec<Label>, records: Vec<Record>| {
        let meta = BatchMeta {
            id: BatchId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000).expect("the low bits are zero"),
            instance: InstanceId::from_uuid(uuid::Uuid::from_u128(1)),
            kind,
            received_at: Time::from_nanos(1_700_000_000_000_000_000),
            log_type: "OKTA".to_owned(),
            feed: String::new(),
            sender: "fuzz-1@example.com".to_owned(),
            namespace: "prod".to_owned(),
            labels,
        };
        Batch { meta: Arc::new(meta), records }
    };
    let mut set_aside = record("half", None);
    set_aside.fault = Some("log_text: missing".to_owned());
    set_aside.collected_at = Some(Time::from_nanos(-1));
    let raw = batch(Kind::Raw, vec![label("env", true)], vec![record("first", None), record("second", Some(5))]);
    let udm = batch(Kind::Udm, Vec::new(), vec![record("{}", None)]);
    let odd = batch(Kind::Entity, Vec::new(), vec![set_aside]);
    vec![
        codec::encode(&[]),
        codec::encode(std::slice::from_ref(&raw)),
        codec::encode(std::slice::from_ref(&odd)),
        codec::encode(&[raw, udm, odd]),
    ]
}

pub(super) const CODEC: Syntax = Syntax {
    words: &["\u{1}", "\0", "\u{2}", "\u{4}", "\u{7}", "\u{7f}", "é", "OKTA", "key"],
    wraps: &[],
    joins: &["", "\0"],
    is_binary: true,
    bytes_max: 16 << 10,
};

/// Inputs of [`crate::disk::fuzz_log_recovery`]: segment files of a real log behind an even byte, edits behind an odd
/// one. The files' random salts are replaced by fixed ones, so that a seed always means the same inputs.
pub(super) fn log_seeds() -> Vec<Vec<u8>> {
    let mut seeds =
        vec![vec![1], vec![1, 0, 0x00, 0x20, 1], vec![1, 1, 0x50, 0x20, 0xff, 2, 0x08, 0x20, 0xff], vec![0]];
    for frames in [1u8, 4] {
        let disk = SimDisk::new(u64::from(frames));
        let options = LogOptions { segment_bytes: 16 << 10, one_thread: true, ..LogOptions::default() };
        let (log, _) = Log::open(Arc::new(disk.clone()), options, Time::from_nanos(0)).expect("an empty disk opens");
        for number in 0..frames {
            let answer = log.append(NewFrame {
                id: u128::from(number) << 32,
                key: (number % 2 == 0).then_some([number; 16]),
                at: Time::from_nanos(i64::from(number)),
                records: 1,
                payload: codec_seeds().swap_remove(usize::from(number) % 4).into(),
            });
            drop(answer);
        }
        log.close();
        let file = disk.contents("seg-0000000000000000.log").expect("the first segment has this name");
        let used = file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).next_multiple_of(512);
        let mut seed = vec![0];
        seed.extend_from_slice(&file[..used.min(file.len())]);
        super::targets::set_salt(&mut seed[1..], [frames; 16]);
        seeds.push(seed);
    }
    seeds
}

pub(super) const LOG: Syntax = Syntax {
    words: &["PLF1", "PENSTLOG", "PENSTSUM", "\0\0\0\0"],
    wraps: &[],
    joins: &[""],
    is_binary: true,
    bytes_max: 24 << 10,
};
