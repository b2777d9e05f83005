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
    "CS_DETECTS"
    "CS_EDR"
    "FORTINET_FIREWALL"
    "GCP_CLOUDAUDIT"
    "GCP_VPC_FLOW"
    "GITHUB"
    "HAPROXY"
    "IIS"
    "KUBERNETES_AUDIT"
    "MICROSOFT_DEFENDER_ENDPOINT"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_can_be_read_and_stands_once_in_order() {
        for shipped in SHIPPED {
            let parser = crate::Parser::shipped(shipped.log_type, shipped.source);
            assert!(parser.program().is_ok(), "{}: {:?}", shipped.log_type, parser.program());
        }
        assert!(SHIPPED.is_sorted_by(|one, other| one.log_type < other.log_type));
    }

    /// A folder that nobody put on the list is a parser that nobody gets.
    #[test]
    fn every_folder_is_on_the_list() {
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../parsers")).unwrap();
        let mut folders: Vec<String> =
            folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
        folders.retain(|name| !name.contains('.'));
        folders.sort();
        assert_eq!(folders, SHIPPED.iter().map(|shipped| shipped.log_type).collect::<Vec<_>>());
    }
}
