//! The parsers that come with Penstock: the content of `parsers/`, built in. One line for each.

/// A parser that is built in.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// The log type that it reads.
    pub log_type: &'static str,
    /// Its program.
    pub source: &'static str,
}

macro_rules! parsers {
    ($($log_type:literal)*) => {
        &[$(Shipped {
            log_type: $log_type,
            source: include_str!(concat!("../../../parsers/", $log_type, "/parser.conf")),
        }),*]
    };
}

/// All of them, by log type.
pub const SHIPPED: &[Shipped] = parsers! {
    "APACHE"
    "AUDITD"
    "AWS_CLOUDTRAIL"
    "AWS_VPC_FLOW"
    "AZURE_AD"
    "AZURE_AD_CONTEXT"
    "AZURE_AD_SIGNIN"
    "BIND_DNS"
    "BRO_JSON"
    "CHECKPOINT_FIREWALL"
    "CISCO_ASA_FIREWALL"
    "FORTINET_FIREWALL"
    "GCP_CLOUDAUDIT"
    "GCP_VPC_FLOW"
    "GITHUB"
    "HAPROXY"
    "IIS"
    "KUBERNETES_AUDIT"
    "NGINX"
    "NIX_SYSTEM"
    "OCI_AUDIT"
    "OCI_FLOW"
    "OCI_LOGGING"
    "OFFICE_365"
    "OKTA"
    "OPENSSH"
    "PAN_FIREWALL"
    "POWERSHELL"
    "SQUID_WEBPROXY"
    "SURICATA_EVE"
    "UNBOUND_DNS"
    "WINDOWS_DEFENDER_AV"
    "WINDOWS_DHCP"
    "WINDOWS_DNS"
    "WINDOWS_SYSMON"
    "WINEVTLOG"
    "WORKSPACE_ACTIVITY"
};
