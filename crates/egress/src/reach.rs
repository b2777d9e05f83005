//! Which addresses may be sent to. Pure: names are resolved elsewhere, then every address is judged here, so that a name
//! that leads inside is refused like the address itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a connector or a function may reach, by who made or allowed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A tenant: public addresses only, or the server would lend its place in the network to anybody.
    Public,
    /// The server's operator: also loopback and private ranges.
    Inside,
}

/// Why an address is not sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Link-local, metadata, multicast, reserved: refused whoever allows it.
    #[error("{0} is {1}, where nothing may be sent")]
    Never(IpAddr, &'static str),
    /// Loopback or private, and no operator made or allowed it.
    #[error("{0} is {1}; only what the operator made or allowed may send there")]
    Inside(IpAddr, &'static str),
}

impl Reach {
    /// Whether this address may be sent to.
    pub fn check(self, address: IpAddr) -> Result<(), Unreachable> {
        let kind = match address {
            IpAddr::V4(v4) => kind_of_v4(v4),
            IpAddr::V6(v6) => kind_of_v6(v6),
        };
        match (kind, self) {
            (Kind::Never(what), _) => Err(Unreachable::Never(address, what)),
            (Kind::Inside(what), Reach::Public) => Err(Unreachable::Inside(address, what)),
            (Kind::Inside(_), Reach::Inside) | (Kind::Public, _) => Ok(()),
        }
    }
}

enum Kind {
    Never(&'static str),
    Inside(&'static str),
    Public,
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (169, 254, ..) => Kind::Never("link-local (cloud metadata)"),
        // Metadata and host services that some clouds put outside the link-local range.
        (100, 100, 100, 200) | (192, 0, 0, 192) | (168, 63, 129, 16) => Kind::Never("a cloud's metadata address"),
        // Linux connects 0.0.0.0 to loopback.
        (0, ..) => Kind::Never("no host's address"),
        (224..=239, ..) => Kind::Never("multicast"),
        (240.., ..) => Kind::Never("reserved"),
        (127, ..) => Kind::Inside("loopback"),
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) => Kind::Inside("private"),
        (100, 64..=127, ..) | (198, 18..=19, ..) | (192, 0, 0, _) => Kind::Inside("not public"),
        _ => Kind::Public,
    }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    let segments = address.segments();
    let last_v4 = Ipv4Addr::from((u32::from(segments[6]) << 16) | u32::from(segments[7]));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never("no host's address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Inside("loopback"),
        // An IPv4 address in an IPv6 coat is judged by what is inside: mapped, compatible, translated, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xFFFF, ..] | [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xFFFF, 0, ..] => kind_of_v4(last_v4),
        [0x64, 0xFF9B, 0, 0, 0, 0, ..] => kind_of_v4(last_v4),
        [0x2002, high, low, ..] => kind_of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        [0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254] | [0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254] => {
            Kind::Never("a cloud's metadata address")
        }
        [first, ..] if first & 0xFFC0 == 0xFE80 => Kind::Never("link-local"),
        [first, ..] if first & 0xFF00 == 0xFF00 => Kind::Never("multicast"),
        // NAT64 for local use and Teredo can both lead inside by a way that the address does not show.
        [0x64, 0xFF9B, ..] | [0x2001, 0, ..] => Kind::Inside("not public"),
        [first, ..] if first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFEC0 => Kind::Inside("private"),
        _ => Kind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_by_who_allows_them() {
        // Per address: may a tenant send there, may an operator.
        let cases = [
            ("93.184.216.34", true, true),
            ("2606:2800:220:1::1", true, true),
            ("172.15.255.255", true, true),
            ("172.32.0.1", true, true),
            ("100.128.0.1", true, true),
            ("127.0.0.1", false, true),
            ("127.9.9.9", false, true),
            ("10.0.0.1", false, true),
            ("172.16.0.1", false, true),
            ("172.31.255.255", false, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("198.18.0.1", false, true),
            ("::1", false, true),
            ("fc00::1", false, true),
            ("fd12:3456::1", false, true),
            ("fec0::1", false, true),
            ("::ffff:10.0.0.1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("::127.0.0.1", false, true),
            ("64:ff9b::10.0.0.1", false, true),
            ("64:ff9b:1::1", false, true),
            ("2002:0a00:0001::1", false, true),
            ("2001:0:1::1", false, true),
            ("::ffff:93.184.216.34", true, true),
            ("169.254.0.1", false, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::169.254.169.254", false, false),
            ("2002:a9fe:a9fe::1", false, false),
            ("fe80::1", false, false),
            ("febf::1", false, false),
            ("fd00:ec2::254", false, false),
            ("fd20:ce::254", false, false),
            ("100.100.100.200", false, false),
            ("192.0.0.192", false, false),
            ("168.63.129.16", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
        ];
        for (address, tenant, operator) in cases {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(Reach::Public.check(parsed).is_ok(), tenant, "{address} for a tenant");
            assert_eq!(Reach::Inside.check(parsed).is_ok(), operator, "{address} for the operator");
        }
    }
}
