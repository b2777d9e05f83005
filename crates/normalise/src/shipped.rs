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
    "AWS_CLOUDTRAIL"
    "BIND_DNS"
    "NGINX"
    "OCI_AUDIT"
    "OCI_FLOW"
    "OKTA"
    "PAN_FIREWALL"
    "SURICATA_EVE"
    "UNBOUND_DNS"
    "WINDOWS_DHCP"
};
