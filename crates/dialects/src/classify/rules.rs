//! What speaks for which log type: one table. To add a log type, add lines; to tell two apart, add a line that speaks
//! against one of them.
//!
//! A line is a log type, a weight, and the evidence that must all be there. Weights of one log type are joined as
//! independent doubts: two lines of 0.5 that both find their evidence make 0.75. So a single line of [`SOME`] or more
//! must name what hardly anything else has; what many have goes together with something that few have.

use super::view::{Access, View, is_digits};

/// One line of the table.
pub(super) struct Rule {
    pub(super) log_type: &'static str,
    /// From -1 to 1; below zero it speaks against.
    pub(super) weight: f64,
    pub(super) evidence: &'static [Evidence],
}

/// Only this product writes that.
const SURE: f64 = 0.9;
/// Hardly anything else writes that.
const STRONG: f64 = 0.6;
/// It fits, and little else does.
const SOME: f64 = 0.35;
/// It is not excluded.
const HINT: f64 = 0.1;
/// Another log type says more about the same text.
const AGAINST: f64 = -0.6;
/// It cannot be.
const EXCLUDED: f64 = -1.0;

/// Something to be seen in a text.
pub(super) enum Evidence {
    /// JSON has a field whose path is this or ends in it.
    Json(&'static str),
    /// Such a field has a value like this.
    JsonIs(&'static str, What),
    /// A `key=value` pair has this key.
    Pair(&'static str),
    /// Such a pair has a value like this.
    PairIs(&'static str, What),
    /// A CEF header names this vendor and product.
    Cef(What, What),
    /// A LEEF header does.
    Leef(What, What),
    /// There is a syslog header.
    Syslog,
    /// It names such a program.
    Program(What),
    /// A Cisco message of such a facility.
    Facility(What),
    /// A Windows event of such a provider.
    Provider(What),
    /// A Windows event of such a channel.
    Channel(What),
    /// The line is an access log with at least so many texts in quotes after the bytes.
    Access(usize),
    /// The line is an access log with a virtual host in front.
    AccessVhost,
    /// The n-th word of the line, from 0.
    Word(usize, What),
    /// The n-th cell of the line at commas, from 0.
    Cell(usize, What),
    /// The first line behind the header.
    Line(What),
    /// Somewhere in the text.
    Text(&'static str),
    /// Nowhere in the text.
    NoText(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Any,
    Is(&'static str),
    Among(&'static [&'static str]),
    Starts(&'static str),
    StartsWithOneOf(&'static [&'static str]),
    Ends(&'static str),
    /// In any mix of small and capital letters.
    EndsInAnyCase(&'static str),
    Has(&'static str),
    Digits,
    /// Digits, a point, digits.
    Seconds,
    /// So many slashes between numbers.
    Slashes(usize),
    /// Digits, slash, digits, slash, digits, with or without a time behind.
    Date,
}

use Evidence::{
    AccessVhost, Cef, Cell, Channel, Facility, Json, JsonIs, Leef, Line, NoText, Pair, PairIs, Program, Provider,
    Syslog, Text, Word,
};
use What::{Among, Any, Date, Digits, Ends, EndsInAnyCase, Has, Is, Seconds, Slashes, Starts, StartsWithOneOf};

const fn rule(log_type: &'static str, weight: f64, evidence: &'static [Evidence]) -> Rule {
    Rule { log_type, weight, evidence }
}

const WINDOWS_XML: Evidence = Text("schemas.microsoft.com/win/2004/08/events/event");
const SYSMON: What = Is("Microsoft-Windows-Sysmon");
const POWERSHELL: What = Among(&["Microsoft-Windows-PowerShell", "PowerShell", "PowerShellCore"]);
const DEFENDER: What = Is("Microsoft-Windows-Windows Defender");
const DNS_SERVER: What = Among(&["Microsoft-Windows-DNSServer", "Microsoft-Windows-DNS-Server-Service", "DNS"]);
const DHCP_SERVER: What = Among(&["Microsoft-Windows-DHCP-Server", "DHCPServer"]);
/// Providers whose events have a log type of their own.
#[rustfmt::skip]
const WITH_OWN_TYPE: What = Among(&[
    "Microsoft-Windows-Sysmon", "Linux-Sysmon", "Microsoft-Windows-PowerShell", "PowerShell", "PowerShellCore",
    "Microsoft-Windows-Windows Defender", "Microsoft-Windows-DNSServer", "Microsoft-Windows-DNS-Server-Service",
    "Microsoft-Windows-DHCP-Server",
]);
#[rustfmt::skip]
const PAN_TYPES: What = Among(&[
    "TRAFFIC", "THREAT", "SYSTEM", "CONFIG", "GLOBALPROTECT", "USERID", "HIPMATCH", "HIP-MATCH", "DECRYPTION",
    "AUTHENTICATION", "AUTH", "CORRELATION", "TUNNEL", "IPTAG", "GTP", "SCTP",
]);
#[rustfmt::skip]
const DHCP_EVENTS: What = Among(&[
    "Assign", "Renew", "Release", "NACK", "Denied", "Deleted", "Expired", "Conflict", "Started", "Stopped",
    "DNS Update Request", "DNS Update Successful", "DNS Update Failed", "BOOTP", "Database Cleanup Begin",
    "Database Cleanup End", "Authorization succeeded",
    "Packet dropped because of Client ID hash mismatch or standby server.",
]);
#[rustfmt::skip]
const EVE_TYPES: What = Among(&[
    "alert", "anomaly", "dns", "http", "tls", "flow", "netflow", "fileinfo", "stats", "ssh", "smtp", "smb", "dhcp",
    "krb5", "rdp", "snmp", "ftp", "quic", "drop", "mqtt", "sip", "nfs", "tftp", "ikev2", "dcerpc",
]);
#[rustfmt::skip]
const GITHUB_ACTIONS: What = StartsWithOneOf(&[
    "repo.", "org.", "team.", "git.", "protected_branch.", "workflows.", "hook.", "business.", "pull_request.",
    "members.", "integration_installation.", "oauth_application.", "oauth_access.", "personal_access_token.",
    "public_key.", "secret_scanning", "dependabot_", "environment.", "codespaces.", "copilot.", "role.",
    "enterprise.",
]);
#[rustfmt::skip]
const UNIX_PROGRAMS: What = Among(&[
    "sshd", "sshd-session", "sudo", "su", "cron", "CRON", "crond", "anacron", "systemd", "systemd-logind", "login",
    "passwd", "useradd", "userdel", "usermod", "groupadd", "groupdel", "chage", "kernel", "polkitd", "dbus-daemon",
    "rsyslogd", "ntpd", "chronyd", "NetworkManager", "gdm-password", "init", "pkexec",
    "systemd-resolved", "systemd-networkd", "unix_chkpwd",
]);
/// Facilities of Cisco's firewalls. All others are of switches and routers, which have hundreds.
const FIREWALL_FACILITIES: What = Among(&["ASA", "FTD", "NGIPS", "FWSM", "PIX"]);
/// Facilities that only NX-OS has.
const NX_OS_FACILITIES: What =
    Among(&["VSHD", "ETHPORT", "ETH_PORT_CHANNEL", "AUTHPRIV", "DAEMON", "USER", "VPC", "KERN", "LOCAL7"]);
/// What sshd says, for lines that came without its name.
#[rustfmt::skip]
const SSHD_LINES: What = StartsWithOneOf(&[
    "Accepted publickey for ", "Accepted password for ", "Accepted keyboard-interactive", "Accepted gssapi",
    "Failed password for ", "Failed publickey for ", "Failed none for ", "Invalid user ", "Connection closed by ",
    "Connection reset by ", "Received disconnect from ", "Disconnected from ", "Disconnecting ", "Connection from ",
    "error: maximum authentication attempts exceeded ", "Postponed publickey for ", "Bad protocol version identification ",
    "Did not receive identification string from ",
]);
#[rustfmt::skip]
const MERAKI_KINDS: What = Among(&[
    "flows", "urls", "events", "ids-alerts", "security_event", "airmarshal_events", "firewall", "ip_flow_start",
    "ip_flow_end",
]);
#[rustfmt::skip]
const ENTRA_CATEGORIES: What = Among(&[
    "SignInLogs", "NonInteractiveUserSignInLogs", "ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs", "AuditLogs",
    "UserRiskEvents", "RiskyUsers", "ProvisioningLogs", "ServicePrincipalRiskEvents", "RiskyServicePrincipals",
]);

/// The table, by log type.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    // Name servers and address servers.
    rule("BIND_DNS", SURE, &[Text("client "), Text("#"), Text(": query: "), Text(" IN ")]),
    rule("BIND_DNS", STRONG, &[Program(Is("named"))]),
    rule("BIND_DNS", STRONG, &[Text("client "), Text("#"), Text("query (cache) '"), Text("denied")]),
    rule("BIND_DNS", STRONG, &[Text("client "), Text("#"), Text("query failed (")]),
    rule("BIND_DNS", STRONG, &[Text("client @0x"), Text("): answer: "), Text(" IN ")]),
    rule("BIND_DNS", STRONG, &[Text(" resolving '"), Text("/IN'"), Text("#")]),
    rule("BIND_DNS", SOME, &[Text("zone "), Text("/IN: ")]),
    rule("BIND_DNS", SOME, &[Text("queries: info: client ")]),
    rule("BIND_DNS", SOME, &[Text("client @0x"), Text("rpz ")]),
    rule("WINDOWS_DNS", SURE, &[Text(" PACKET "), Text(" Rcv "), Text("(0)")]),
    rule("WINDOWS_DNS", SURE, &[Text(" PACKET "), Text(" Snd "), Text("(0)")]),
    rule("WINDOWS_DNS", SURE, &[Provider(DNS_SERVER)]),
    rule("WINDOWS_DNS", STRONG, &[Channel(StartsWithOneOf(&["Microsoft-Windows-DNSServer/", "DNS Server"]))]),
    rule("WINDOWS_DHCP", SURE, &[Cell(0, Digits), Cell(1, Date), Cell(3, DHCP_EVENTS)]),
    rule("WINDOWS_DHCP", SURE, &[Line(Starts("ID,Date,Time,Description,IP Address,Host Name,MAC Address"))]),
    rule("WINDOWS_DHCP", SURE, &[Provider(DHCP_SERVER)]),
    rule("WINDOWS_DHCP", STRONG, &[Channel(Starts("Microsoft-Windows-Dhcp-Server/"))]),
    rule("ISC_DHCP", STRONG, &[Program(Is("dhcpd"))]),
    rule("ISC_DHCP", STRONG, &[Syslog, Line(StartsWithOneOf(&["DHCPACK on ", "DHCPREQUEST for ", "DHCPDISCOVER from ", "DHCPOFFER on ", "DHCPRELEASE of ", "DHCPINFORM from "]))]),
    rule("UMBRELLA_DNS", SURE, &[Cell(5, Among(&["Allowed", "Blocked", "Proxied"])), Cell(7, Among(&["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"]))]),

    // Windows.
    rule("WINEVTLOG", STRONG, &[Provider(Any), Channel(Any)]),
    rule("WINEVTLOG", SOME, &[Channel(Among(&["Security", "System", "Application", "Setup", "ForwardedEvents"]))]),
    rule("WINEVTLOG", SOME, &[Provider(Is("Microsoft-Windows-Security-Auditing"))]),
    rule("WINEVTLOG", SOME, &[Channel(Any), Json("EventID")]),
    rule("WINEVTLOG", SOME, &[Text("MSWinEventLog\t")]),
    rule("WINEVTLOG", AGAINST, &[Provider(WITH_OWN_TYPE)]),
    rule("WINEVTLOG", AGAINST, &[WINDOWS_XML, Provider(Any)]),
    rule("WINEVTLOG_XML", STRONG, &[WINDOWS_XML, Provider(Any)]),
    rule("WINEVTLOG_XML", STRONG, &[WINDOWS_XML, Channel(Any), Text("<EventID")]),
    rule("WINEVTLOG_XML", AGAINST, &[Provider(WITH_OWN_TYPE)]),
    rule("WINDOWS_SYSMON", SURE, &[Provider(SYSMON)]),
    rule("WINDOWS_SYSMON", STRONG, &[Channel(Is("Microsoft-Windows-Sysmon/Operational"))]),
    rule("LINUX_SYSMON", SURE, &[Provider(Is("Linux-Sysmon"))]),
    rule("POWERSHELL", SURE, &[Provider(POWERSHELL)]),
    rule("POWERSHELL", STRONG, &[Channel(Among(&["Windows PowerShell", "Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"]))]),
    rule("WINDOWS_DEFENDER_AV", SURE, &[Provider(DEFENDER)]),
    rule("WINDOWS_DEFENDER_AV", STRONG, &[Channel(Is("Microsoft-Windows-Windows Defender/Operational"))]),
    rule("WINDOWS_AD", SURE, &[Json("DistinguishedName"), Json("SamAccountName")]),
    rule("WINDOWS_AD", SURE, &[Json("distinguishedName"), Json("sAMAccountName")]),
    rule("WINDOWS_AD", SOME, &[Json("ObjectClass"), JsonIs("DistinguishedName", Has("DC="))]),
    rule("IIS", SURE, &[Text("#Software: Microsoft Internet Information Services")]),
    rule("IIS", STRONG, &[Cell(4, Starts("W3SVC"))]),
    rule("IIS", STRONG, &[Text("#Fields: "), Text("cs-uri-stem"), Text("sc-status")]),
    rule("MICROSOFT_DEFENDER_ENDPOINT", SURE, &[JsonIs("category", Starts("AdvancedHunting-Device"))]),
    rule("MICROSOFT_DEFENDER_ENDPOINT", SOME, &[JsonIs("category", Starts("AdvancedHunting-"))]),
    rule("MICROSOFT_DEFENDER_ENDPOINT", SOME, &[JsonIs("category", Starts("AdvancedHunting-Alert"))]),
    rule("MICROSOFT_DEFENDER_MAIL", STRONG, &[JsonIs("category", StartsWithOneOf(&["AdvancedHunting-Email", "AdvancedHunting-Url"]))]),
    rule("MICROSOFT_DEFENDER_IDENTITY", STRONG, &[JsonIs("category", Starts("AdvancedHunting-Identity"))]),
    rule("MICROSOFT_DEFENDER_ENDPOINT", STRONG, &[Json("DeviceName"), Json("ActionType"), Json("ReportId")]),
    rule("MICROSOFT_DEFENDER_ENDPOINT", STRONG, &[Json("ActionType"), Json("InitiatingProcessFileName")]),

    // Identity, office and source code as a service.
    rule("OKTA", SOME, &[Json("eventType"), Json("displayMessage"), Json("actor")]),
    rule("OKTA", STRONG, &[Json("actor.alternateId"), Json("eventType")]),
    rule("OKTA", STRONG, &[Json("legacyEventType"), Json("eventType")]),
    rule("OKTA", SOME, &[Json("outcome.result"), JsonIs("eventType", StartsWithOneOf(&["user.", "application.", "policy.", "system.", "group.", "security.", "zone.", "device."]))]),
    rule("OKTA", SOME, &[Json("debugContext.debugData")]),
    rule("AZURE_AD", SOME, &[JsonIs("resourceId", EndsInAnyCase("/providers/Microsoft.aadiam"))]),
    rule("AZURE_AD", STRONG, &[JsonIs("category", ENTRA_CATEGORIES), JsonIs("resourceId", EndsInAnyCase("/providers/Microsoft.aadiam"))]),
    rule("MICROSOFT_GRAPH_ACTIVITY_LOGS", SURE, &[JsonIs("category", Is("MicrosoftGraphActivityLogs"))]),
    rule("AZURE_AD", SURE, &[Json("userPrincipalName"), Json("appDisplayName"), Json("conditionalAccessStatus")]),
    rule("AZURE_AD", STRONG, &[JsonIs("category", Ends("SignInLogs")), Json("operationName")]),
    rule("AZURE_AD", SOME, &[Json("activityDisplayName"), Json("loggedByService")]),
    rule("AZURE_AD_SIGNIN", STRONG, &[Json("appDisplayName"), Json("conditionalAccessStatus")]),
    rule("AZURE_AD_SIGNIN", STRONG, &[JsonIs("category", Ends("SignInLogs")), JsonIs("operationName", Is("Sign-in activity"))]),
    rule("AZURE_AD_AUDIT", STRONG, &[Json("activityDisplayName"), Json("loggedByService")]),
    rule("AZURE_AD_AUDIT", STRONG, &[Json("initiatedBy"), Json("targetResources"), Json("activityDateTime")]),
    rule("AZURE_AD_CONTEXT", STRONG, &[Json("userPrincipalName"), Json("businessPhones")]),
    rule("AZURE_AD_CONTEXT", STRONG, &[Json("userPrincipalName"), Json("officeLocation")]),
    rule("AZURE_AD_CONTEXT", STRONG, &[Json("userPrincipalName"), Json("onPremisesSamAccountName")]),
    rule("AZURE_AD_CONTEXT", SOME, &[Json("accountEnabled"), Json("onPremisesSyncEnabled")]),
    rule("AZURE_AD_CONTEXT", SURE, &[Json("deviceId"), Json("trustType"), Json("profileType")]),
    rule("AZURE_AD_CONTEXT", SURE, &[Json("groupTypes"), Json("securityEnabled"), Json("mailEnabled")]),
    rule("AZURE_AD_CONTEXT", SOME, &[JsonIs("@odata.context", StartsWithOneOf(&["https://graph.microsoft.com/v1.0/$metadata#users", "https://graph.microsoft.com/v1.0/$metadata#groups", "https://graph.microsoft.com/v1.0/$metadata#devices"]))]),
    rule("OFFICE_365", SURE, &[Json("Workload"), Json("RecordType"), Json("Operation")]),
    rule("OFFICE_365", AGAINST, &[JsonIs("category", Starts("AdvancedHunting-"))]),
    rule("OFFICE_365", STRONG, &[Json("OrganizationId"), Json("UserKey"), Json("UserType")]),
    rule("WORKSPACE_ACTIVITY", SURE, &[JsonIs("kind", StartsWithOneOf(&["admin#reports#activit"]))]),
    rule("WORKSPACE_ACTIVITY", STRONG, &[Json("id.applicationName"), Json("id.uniqueQualifier")]),
    rule("DUO_AUTH", STRONG, &[Json("access_device"), Json("factor"), Json("txid")]),
    rule("DUO_ADMIN", STRONG, &[Json("isotimestamp"), Json("action"), Json("object")]),
    rule("DUO_TELEPHONY", STRONG, &[Json("telephony_id"), Json("credits")]),
    rule("DUO_AUTH", STRONG, &[Json("auth_device"), Json("isotimestamp")]),
    rule("GITHUB", STRONG, &[Json("action"), Json("actor"), Json("_document_id")]),
    rule("GITHUB", STRONG, &[JsonIs("action", GITHUB_ACTIONS), Json("actor"), Json("org")]),
    rule("GITHUB", SOME, &[JsonIs("action", GITHUB_ACTIONS), Json("@timestamp")]),
    rule("GITHUB", STRONG, &[Json("repository.full_name"), Json("sender.login")]),
    rule("GITLAB", STRONG, &[Json("author_name"), Json("entity_type"), Json("entity_path")]),
    rule("GITLAB", SOME, &[Json("meta.caller_id"), Json("correlation_id")]),

    // Clouds.
    rule("AWS_CLOUDTRAIL", STRONG, &[Json("eventVersion"), Json("userIdentity.type")]),
    rule("AWS_CLOUDTRAIL", STRONG, &[JsonIs("eventSource", Ends(".amazonaws.com")), Json("eventName")]),
    rule("AWS_CLOUDTRAIL", SOME, &[Json("awsRegion"), Json("eventName")]),
    rule("AWS_VPC_FLOW", STRONG, &[Word(1, Digits), Word(2, Starts("eni-"))]),
    rule("AWS_VPC_FLOW", STRONG, &[Word(2, Starts("eni-")), Word(13, Among(&["OK", "NODATA", "SKIPDATA"]))]),
    rule("AWS_VPC_FLOW", STRONG, &[JsonIs("interface_id", Starts("eni-")), Json("srcaddr"), Json("dstaddr")]),
    rule("AWS_VPC_FLOW", SURE, &[Line(Starts("version account-id interface-id "))]),
    rule("AWS_ROUTE_53", STRONG, &[Json("query_name"), Json("query_type"), Json("rcode"), Json("vpc_id")]),
    rule("AWS_ROUTE_53", SOME, &[Json("query_timestamp"), Json("account_id")]),
    rule("AWS_WAF", STRONG, &[Json("webaclId"), Json("terminatingRuleId")]),
    rule("AWS_WAF", STRONG, &[Json("httpSourceName"), Json("httpRequest.clientIp")]),
    rule("AWS_S3_SERVER_ACCESS", STRONG, &[Text(" REST."), Text(" ["), Text("] "), Text(" HTTP/1.1\"")]),
    rule("GCP_CLOUDAUDIT", SURE, &[JsonIs("@type", Is("type.googleapis.com/google.cloud.audit.AuditLog"))]),
    rule("GCP_CLOUDAUDIT", SURE, &[JsonIs("type_url", Is("type.googleapis.com/google.cloud.audit.AuditLog"))]),
    rule("GCP_CLOUDAUDIT", SURE, &[JsonIs("logName", Has("/logs/cloudaudit.googleapis.com"))]),
    rule("GCP_CLOUDAUDIT", STRONG, &[Json("protoPayload.serviceName"), Json("protoPayload.methodName")]),
    rule("GCP_VPC_FLOW", SURE, &[JsonIs("logName", Ends("%2Fvpc_flows"))]),
    rule("GCP_DNS", SURE, &[JsonIs("logName", Ends("%2Fdns_queries"))]),
    rule("GCP_FIREWALL", SURE, &[JsonIs("logName", Ends("compute.googleapis.com%2Ffirewall"))]),
    rule("OCI_AUDIT", SURE, &[JsonIs("oracle.loggroupid", Is("_Audit"))]),
    rule("OCI_AUDIT", STRONG, &[JsonIs("type", Starts("com.oraclecloud.")), Json("data.eventName")]),
    rule("OCI_AUDIT", SURE, &[JsonIs("eventType", Starts("com.oraclecloud.")), Json("data.eventName")]),
    rule("ORACLE_CLOUD_AUDIT", SOME, &[JsonIs("oracle.loggroupid", Is("_Audit"))]),
    rule("OCI_FLOW", SURE, &[JsonIs("type", Starts("com.oraclecloud.vcn.flowlogs"))]),
    rule("OCI_FLOW", STRONG, &[Json("flowid"), Json("sourceAddress"), Json("destinationAddress")]),
    rule("OCI_FLOW", STRONG, &[Json("oracle.vnicocid")]),
    rule("KUBERNETES_AUDIT", SURE, &[JsonIs("apiVersion", Starts("audit.k8s.io/"))]),
    rule("KUBERNETES_AUDIT", STRONG, &[Json("auditID"), Json("stage"), Json("verb")]),
    rule("KUBERNETES_AUDIT", SOME, &[Json("auditID"), Json("requestReceivedTimestamp")]),

    // Watching the network.
    rule("BRO_JSON", SURE, &[Json("uid"), Json("id.orig_h"), Json("id.resp_h")]),
    rule("BRO_JSON", STRONG, &[Json("ts"), Json("fuid")]),
    rule("BRO_JSON", STRONG, &[Json("ts"), Json("uids"), Json("msg_types")]),
    rule("BRO_JSON", STRONG, &[Json("_path"), Json("_write_ts")]),
    rule("BRO_JSON", SOME, &[Json("ts"), Json("uid"), Json("id.orig_p")]),
    rule("BRO_TSV", SURE, &[Line(Starts("#separator")), Text("#fields\t")]),
    rule("SURICATA_EVE", SURE, &[Json("event_type"), Json("flow_id"), Json("src_ip"), Json("dest_ip")]),
    rule("SURICATA_EVE", STRONG, &[Json("alert.signature_id"), Json("event_type")]),
    rule("SURICATA_EVE", SOME, &[JsonIs("event_type", EVE_TYPES), Json("timestamp"), Json("dest_ip")]),
    rule("SURICATA_EVE", STRONG, &[JsonIs("event_type", Is("stats")), Json("stats.uptime")]),
    rule("SURICATA_IDS", STRONG, &[Word(1, Is("[**]")), Text("[Classification: "), Text("[Priority: "), NoText("snort")]),
    rule("SNORT_IDS", SOME, &[Word(1, Is("[**]")), Text("[Classification: "), Text("[Priority: ")]),
    rule("SNORT_IDS", SURE, &[Program(Is("snort"))]),

    // Firewalls, proxies, network devices.
    rule("PAN_FIREWALL", SURE, &[Cell(1, Date), Cell(2, Digits), Cell(3, PAN_TYPES)]),
    rule("PAN_FIREWALL", SURE, &[Cef(Is("Palo Alto Networks"), Starts("PAN-OS"))]),
    rule("PAN_FIREWALL", STRONG, &[Cef(Is("Palo Alto Networks"), Is("LF"))]),
    rule("PAN_FIREWALL", STRONG, &[JsonIs("LogType", PAN_TYPES), Json("TimeGenerated"), Json("DeviceSN")]),
    rule("PAN_FIREWALL", STRONG, &[JsonIs("LogType", PAN_TYPES), Json("LogSourceID"), Json("ConfigVersion")]),
    rule("PAN_FIREWALL", SURE, &[Leef(Is("Palo Alto Networks"), Starts("PAN-OS"))]),
    rule("FORTINET_FIREWALL", STRONG, &[PairIs("devid", StartsWithOneOf(&["FG", "FW"]))]),
    rule("FORTINET_FIREWALL", STRONG, &[Pair("logid"), Pair("type"), Pair("subtype"), Pair("vd")]),
    rule("FORTINET_FIREWALL", SOME, &[Pair("type"), Pair("subtype"), Pair("vd"), Pair("logdesc")]),
    rule("FORTINET_FIREWALL", SURE, &[Cef(Is("Fortinet"), StartsWithOneOf(&["Fortigate", "FortiGate"]))]),
    rule("CISCO_ASA_FIREWALL", SURE, &[Facility(Is("ASA"))]),
    rule("CISCO_ASA_FIREWALL", SOME, &[Text("Group <"), Text("> User <"), Text("> IP <")]),
    rule("CISCO_FIREPOWER_FIREWALL", SURE, &[Facility(Among(&["FTD", "NGIPS"]))]),
    rule("CISCO_ASA_FIREWALL", SOME, &[Facility(Is("FTD"))]),
    rule("CISCO_FWSM", SURE, &[Facility(Is("FWSM"))]),
    rule("CISCO_IOS", STRONG, &[Facility(Any)]),
    rule("CISCO_SWITCH", SOME, &[Facility(Any)]),
    rule("CISCO_ROUTER", SOME, &[Facility(Any)]),
    rule("CISCO_IOS", EXCLUDED, &[Facility(FIREWALL_FACILITIES)]),
    rule("CISCO_SWITCH", EXCLUDED, &[Facility(FIREWALL_FACILITIES)]),
    rule("CISCO_ROUTER", EXCLUDED, &[Facility(FIREWALL_FACILITIES)]),
    rule("CISCO_NX_OS", 0.7, &[Facility(NX_OS_FACILITIES)]),
    rule("CHECKPOINT_FIREWALL", SURE, &[Cef(Is("Check Point"), Any)]),
    rule("CHECKPOINT_FIREWALL", SURE, &[Leef(Is("Check Point"), Any)]),
    rule("CHECKPOINT_FIREWALL", STRONG, &[Program(Is("CheckPoint"))]),
    rule("CHECKPOINT_FIREWALL", STRONG, &[Pair("loguid"), Pair("origin")]),
    rule("CHECKPOINT_FIREWALL", STRONG, &[Pair("ifdir"), Pair("product")]),
    rule("CISCO_MERAKI", STRONG, &[Syslog, Word(0, Is("1")), Word(1, Seconds), Word(3, MERAKI_KINDS)]),
    rule("CISCO_MERAKI", STRONG, &[Word(0, Seconds), Word(2, MERAKI_KINDS)]),
    rule("JUNIPER_FIREWALL", SURE, &[Program(Is("RT_FLOW")), Text("[junos@2636.")]),
    rule("JUNIPER_FIREWALL", STRONG, &[Line(StartsWithOneOf(&["RT_FLOW", "RT_SCREEN_", "RT_IDP", "RT_UTM"]))]),
    rule("JUNIPER_JUNOS", STRONG, &[Program(Among(&["mgd", "rpd", "l2ald", "dcd", "chassisd", "jlaunchd", "eswd"]))]),
    rule("JUNIPER_FIREWALL", SOME, &[Text("[junos@2636."), Pair("source-address")]),
    rule("SONIC_FIREWALL", SURE, &[Cef(Is("SonicWall"), Any)]),
    rule("SONIC_FIREWALL", SURE, &[PairIs("id", Is("firewall")), Pair("sn"), Pair("fw"), Pair("pri")]),
    rule("PFSENSE", SURE, &[Program(Is("filterlog")), Cell(6, Among(&["pass", "block", "match"]))]),
    rule("NETFILTER_IPTABLES", SURE, &[Pair("IN"), Pair("OUT"), Pair("SRC"), Pair("DST"), Pair("PROTO")]),
    rule("SQUID_WEBPROXY", SURE, &[Word(0, Seconds), Word(3, StartsWithOneOf(&["TCP_", "UDP_", "NONE_"])), Word(8, Has("/"))]),
    rule("SQUID_WEBPROXY", SOME, &[Program(StartsWithOneOf(&["squid", "(squid"]))]),
    rule("HAPROXY", SURE, &[Program(Is("haproxy"))]),
    rule("HAPROXY", SURE, &[Word(1, Starts("[")), Word(4, Slashes(4)), Word(10, Slashes(4))]),

    // Web servers. The combined format is both Apache's and nginx's.
    rule("APACHE", 0.5, &[Evidence::Access(0)]),
    rule("APACHE", STRONG, &[AccessVhost]),
    rule("APACHE", SURE, &[Program(Among(&["httpd", "apache2", "apache"]))]),
    rule("APACHE", STRONG, &[Line(Starts("[")), Text("] [pid "), Text(":tid ")]),
    rule("APACHE", STRONG, &[Line(Starts("[")), Text("] [error] [client ")]),
    rule("APACHE", SOME, &[Line(Starts("[")), Text("] [pid "), Text(" AH0")]),
    rule("NGINX", HINT, &[Evidence::Access(0)]),
    rule("NGINX", SOME, &[Evidence::Access(2)]),
    rule("NGINX", STRONG, &[Evidence::Access(3)]),
    rule("NGINX", SURE, &[Program(Is("nginx"))]),
    rule("NGINX", SURE, &[Word(0, Date), Word(2, Among(&["[error]", "[warn]", "[notice]", "[crit]", "[alert]", "[emerg]", "[info]", "[debug]"])), Word(3, Ends(":")), Word(3, Has("#"))]),
    rule("NGINX", SOME, &[Json("body_bytes_sent")]),
    rule("NGINX", STRONG, &[Json("body_bytes_sent"), Json("remote_addr")]),
    rule("NGINX", SOME, &[Json("http_user_agent"), Json("request_time")]),

    // Hosts and what runs on them.
    rule("AUDITD", SURE, &[Pair("type"), PairIs("msg", Starts("audit("))]),
    rule("AUDITD", STRONG, &[Program(Among(&["audispd", "auditd", "audit", "audisp-syslog"]))]),
    rule("AUDITD", STRONG, &[Pair("arch"), Pair("syscall"), Pair("auid"), Pair("exe")]),
    rule("NIX_SYSTEM", STRONG, &[Program(UNIX_PROGRAMS)]),
    rule("NIX_SYSTEM", 0.5, &[Line(SSHD_LINES), Text(" port ")]),
    rule("OPENSSH", SOME, &[Line(SSHD_LINES), Text(" port ")]),
    rule("NIX_SYSTEM", SOME, &[Program(Any), Text("pam_unix(")]),
    rule("NIX_SYSTEM", HINT, &[Program(Any)]),
    rule("OPENSSH", 0.5, &[Program(StartsWithOneOf(&["sshd"]))]),
    rule("POSTFIX_MAIL", SURE, &[Program(Starts("postfix"))]),
    rule("POSTFIX_MAIL", STRONG, &[Text(": from=<"), Text(", size="), Text(", nrcpt=")]),
    rule("POSTFIX_MAIL", STRONG, &[Text(": to=<"), Text(", relay="), Text(", dsn="), Text(", status=")]),
    rule("CS_EDR", STRONG, &[Json("event_simpleName")]),
    rule("CS_EDR", STRONG, &[Json("#event_simpleName")]),
    rule("CS_EDR", STRONG, &[Json("aid"), Json("cid"), Json("event_platform")]),
    rule("CS_EDR", SOME, &[Json("aid"), Json("cid")]),
    rule("CS_STREAM", SOME, &[Json("metadata.detectionIdString"), Json("metadata.eventType")]),
    rule("CS_STREAM", SURE, &[Json("metadata.customerIDString"), Json("metadata.eventType"), Json("event")]),
    rule("FALCO_IDS", SURE, &[Json("output_fields"), Json("priority"), Json("rule")]),
    rule("OSQUERY_EDR", SURE, &[Json("hostIdentifier"), Json("calendarTime"), Json("unixTime")]),
];

impl Evidence {
    pub(super) fn is_in(&self, view: &View<'_>) -> bool {
        let like = |value: Option<&str>, what: What| value.is_some_and(|value| what.is_like(value));
        let pair = |key: &str, what: What| view.pairs.iter().any(|(name, value)| *name == key && what.is_like(value));
        let json =
            |path: &str, what: What| view.fields.iter().any(|field| field.is_at(path) && what.is_like(field.value));
        let header = |header: Option<(&str, &str)>, vendor: What, product: What| {
            header.is_some_and(|(a, b)| vendor.is_like(a) && product.is_like(b))
        };
        match *self {
            Json(path) => json(path, Any),
            JsonIs(path, what) => json(path, what),
            Pair(key) => pair(key, Any),
            PairIs(key, what) => pair(key, what),
            Cef(vendor, product) => header(view.cef, vendor, product),
            Leef(vendor, product) => header(view.leef, vendor, product),
            Syslog => view.is_syslog,
            Program(what) => like(view.program, what),
            Facility(what) => like(view.facility, what),
            Provider(what) => like(view.provider, what),
            Channel(what) => like(view.channel, what),
            Evidence::Access(quoted) => view.access.is_some_and(|access| access.quoted >= quoted),
            AccessVhost => matches!(view.access, Some(Access { has_vhost: true, .. })),
            Word(index, what) => like(view.words.get(index).copied(), what),
            Cell(index, what) => like(view.cells.get(index).copied(), what),
            Line(what) => what.is_like(view.line),
            Text(part) => memchr::memmem::find(view.text.as_bytes(), part.as_bytes()).is_some(),
            NoText(part) => memchr::memmem::find(view.text.as_bytes(), part.as_bytes()).is_none(),
        }
    }
}

impl What {
    fn is_like(self, value: &str) -> bool {
        match self {
            Any => true,
            Is(text) => value == text,
            Among(texts) => texts.contains(&value),
            Starts(text) => value.starts_with(text),
            StartsWithOneOf(texts) => texts.iter().any(|text| value.starts_with(text)),
            Ends(text) => value.ends_with(text),
            Has(text) => value.contains(text),
            Digits => is_digits(value),
            EndsInAnyCase(text) => value
                .len()
                .checked_sub(text.len())
                .and_then(|at| value.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(text)),
            Slashes(count) => {
                value.matches('/').count() == count
                    && value.bytes().all(|byte| byte.is_ascii_digit() || b"/-+".contains(&byte))
            }
            Seconds => value.split_once('.').is_some_and(|(secs, rest)| is_digits(secs) && is_digits(rest)),
            Date => {
                let date = value.split(' ').next().unwrap_or_default();
                date.len() <= 10 && date.split('/').count() == 3 && date.split('/').all(is_digits)
            }
        }
    }
}
