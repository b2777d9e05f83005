//! Records as real clients sent them.

/// UDM events: two of the Ingestion API's documentation, one of Google's sample scripts, four of its SDK.
pub(crate) const EVENTS: &[&str] = &[
    r#"{"metadata": {"event_timestamp": "2019-10-22T12:00:00.000Z", "event_type": "USER_LOGIN",
        "product_name": "Acme SSO", "vendor_name": "Acme"},
        "principal": {"ip": ["10.1.2.3"]},
        "target": {"application": "Acme Connect", "user": {"user_display_name": "Mary Jane",
            "userid": "mary@altostrat.com"}},
        "extensions": {"auth": {"type": "MACHINE", "mechanism": ["NETWORK"]}}}"#,
    r#"{"metadata": {"event_timestamp": "2019-10-23T04:00:00.000Z", "event_type": "NETWORK_HTTP",
        "product_name": "Acme Proxy", "vendor_name": "Acme"},
        "network": {"http": {"method": "GET", "response_code": 200}},
        "principal": {"hostname": "host0", "ip": ["10.1.2.3"], "port": 60000},
        "target": {"hostname": "www.altostrat.com", "ip": ["198.51.100.68"], "port": 443,
            "url": "www.altostrat.com/images/logo.png"}}"#,
    r#"{"metadata": {"eventTimestamp": "2021-07-14T15:30:18.142265Z", "eventType": "USER_LOGIN"},
        "additional": {"id": "9876-54321"},
        "principal": {"hostname": "userhost", "ip": ["10.0.0.75"], "mac": ["28:80:23:0b:c9:b2"]},
        "target": {"hostname": "systemhost", "user": {"userid": "employee"}, "ip": ["10.0.0.77"],
            "mac": ["28:80:23:0b:c9:b3"]},
        "securityResult": [{"action": ["ALLOW"]}], "extensions": {"auth": {"type": "MACHINE",
            "mechanism": ["USERNAME_PASSWORD"]}}}"#,
    r#"{"metadata": {"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "USER_LOGIN", "product_name": "Custom",
        "vendor_name": "Me", "event_id": "e1", "id": "3ec03d6f-9855-41e1-afe9-31a7edfefec3"},
        "principal": {"user": {"userid": "j"}, "ip": "192.168.1.100"}, "target": {"application": "A"},
            "security_result": {"action": "ALLOW", "summary": "ok"}}"#,
    r#"{"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2026-11-21T19:38:05.404883Z",
        "id": "8c61ed3d-5d02-41ee-962e-2d7225e4686d"}}"#,
    r#"{"metadata": {"event_type": "GENERIC_EVENT", "event_timestamp": "2026-11-21T19:36:50.397476Z"}}"#,
    r#"{"metadata": {"event_timestamp": "2026-01-02T03:04:05Z", "event_type": "USER_LOGIN", "product_name": "Custom",
        "vendor_name": "Me", "event_id": "e1"}, "principal": {"user": {"userid": "j"}, "ip": "192.168.1.100"},
        "target": {"application": "A"}, "security_result": {"action": "ALLOW", "summary": "ok"}}"#,
];

/// Entities of the Ingestion API's documentation, Google's sample scripts and its SDK.
pub(crate) const ENTITIES: &[&str] = &[
    r#"{"metadata": {"collected_timestamp": "2021-11-14T15:30:18.142265Z", "entity_type": "USER",
        "vendor_name": "vendor", "product_name": "product"},
        "entity": {"user": {"userid": "johndoe", "product_object_id": "doejohn"}}}"#,
    r#"{"metadata": {"collected_timestamp": "2021-07-15T15:30:18.142265Z", "entity_type": "USER",
        "vendor_name": "ABC", "product_name": "product1"},
        "entity": {"user": {"userid": "employee1", "product_object_id": "doejohn1"}}}"#,
    r#"{"metadata": {"collected_timestamp": "2026-01-01T00:00:00Z", "entity_type": "USER", "vendor_name": "v",
        "product_name": "p"},
        "entity": {"user": {"userid": "johndoe"}}}"#,
];
