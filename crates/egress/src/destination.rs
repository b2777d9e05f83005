//! Where a request goes, as the function said it, and what an operator put in place of it. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use http::HeaderValue;
use rustls::pki_types::ServerName;

use crate::{EgressError, Reach};

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) tls: bool,
    /// In small letters; an address as the standard library writes it, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Destination {
    /// Of an authority such as `host:443`, `user:password@host` or `[::1]:80`; without a port, the scheme's.
    pub(crate) fn parse(tls: bool, authority: &str) -> Option<Destination> {
        // Who goes there is said in headers; in a URL it would only be leaked.
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = host_and_port(place)?;
        Some(Destination { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }) })
    }

    /// The URL of a path of it, without query.
    pub(crate) fn url(&self, path: &str) -> String {
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{}://{}{slash}{path}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// The value of `Host`: what the function said, if it is the same host, since it may have signed the very letters.
    pub(crate) fn host_header(&self, said: Option<&HeaderValue>) -> HeaderValue {
        let is_same = |said: &&HeaderValue| {
            let said = said.to_str().ok().filter(|said| !said.contains('@'));
            let said = said.and_then(|said| Destination::parse(self.tls, said));
            said.as_ref() == Some(self)
        };
        let made = || HeaderValue::from_str(&self.authority()).expect("a host's letters are a header's");
        said.filter(is_same).cloned().unwrap_or_else(made)
    }

    /// The name that its certificate must have.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("parsed as one")
    }

    fn authority(&self) -> String {
        let (host, port) = (&self.host, self.port);
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{port}") }
    }
}

/// As in error texts: `host:443`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// An operator's stand-ins: by host and, where it was said, port.
#[derive(Debug, Default)]
pub(crate) struct StandIns(BTreeMap<(String, Option<u16>), (String, u16)>);

impl StandIns {
    pub(crate) fn parse(hosts: &BTreeMap<String, String>) -> Result<StandIns, EgressError> {
        let mut stand_ins = BTreeMap::new();
        for (host, to) in hosts {
            let wrong = |why: &str| EgressError::StandIn { host: host.clone(), to: to.clone(), why: why.to_owned() };
            let key = host_and_port(host).ok_or_else(|| wrong("the host is no name with or without a port"))?;
            let (place, port) = host_and_port(to).ok_or_else(|| wrong("it is no address and port"))?;
            let port = port.ok_or_else(|| wrong("it has no port"))?;
            if let Ok(address) = place.parse()
                && let Err(refused) = Reach::Inside.check(address)
            {
                return Err(wrong(&refused.to_string()));
            }
            if stand_ins.insert(key, (place, port)).is_some() {
                return Err(wrong("the host is given twice"));
            }
        }
        Ok(StandIns(stand_ins))
    }

    /// Host and port that stand in for this destination.
    pub(crate) fn find(&self, to: &Destination) -> Option<(&str, u16)> {
        let of = |port| self.0.get(&(to.host.clone(), port));
        of(Some(to.port)).or_else(|| of(None)).map(|(host, port)| (host.as_str(), *port))
    }
}

/// A host that TLS and DNS know as one, in one spelling, and a port.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').filter(|(host, _)| host.contains(':'))?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let host = host.parse::<IpAddr>().map(|address| address.to_string()).unwrap_or(host);
    ServerName::try_from(host.as_str()).ok()?;
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let check = |tls: bool, text: &str, expected: Option<(&str, u16)>| {
            let got = Destination::parse(tls, text);
            assert_eq!(got.as_ref().map(|to| (to.host.as_str(), to.port)), expected, "{text}");
        };
        check(true, "jsonplaceholder.typicode.com:443", Some(("jsonplaceholder.typicode.com", 443)));
        check(true, "Example.COM.", Some(("example.com", 443)));
        check(false, "example.com", Some(("example.com", 80)));
        check(false, "user:p@ss@example.com:8080", Some(("example.com", 8080)));
        check(true, "[::1]:8443", Some(("::1", 8443)));
        check(true, "[0:0::0001]", Some(("::1", 443)));
        check(true, "127.0.0.1:1", Some(("127.0.0.1", 1)));
        check(true, "_x.example.com:443", Some(("_x.example.com", 443)));
        for text in [
            "",
            ":443",
            "example.com:",
            "example.com:0",
            "example.com:65536",
            "example.com:+1",
            "example.com:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[example.com]:443",
            "*.example.com:443",
            "exa mple.com",
            "h\u{f6}st:443",
            "a..b:443",
            ".",
            "127.1:443",
        ] {
            check(true, text, None);
        }
    }

    #[test]
    fn urls_hold_no_more_than_they_should() {
        let check = |tls: bool, authority: &str, path: &str, expected: &str| {
            assert_eq!(Destination::parse(tls, authority).unwrap().url(path), expected);
        };
        check(true, "example.com:443", "/todos", "https://example.com/todos");
        check(true, "example.com:80", "/", "https://example.com:80/");
        check(false, "u:secret@example.com:80", "/a", "http://example.com/a");
        check(false, "[::1]:8080", "*", "http://[::1]:8080/*");
    }

    #[test]
    fn the_host_header_stays_as_it_was_signed_and_names_no_other_host() {
        let check = |said: Option<&str>, expected: &str| {
            let to = Destination::parse(true, "example.com:443").unwrap();
            let said = said.map(|said| HeaderValue::from_str(said).unwrap());
            assert_eq!(to.host_header(said.as_ref()), expected);
        };
        check(None, "example.com");
        check(Some("example.com"), "example.com");
        check(Some("Example.com:443"), "Example.com:443");
        check(Some("example.com:8443"), "example.com");
        check(Some("other.example"), "example.com");
        check(Some("user@example.com"), "example.com");
        check(Some(""), "example.com");
    }

    #[test]
    fn stand_ins() {
        let parse = |pairs: &[(&str, &str)]| {
            let hosts = pairs.iter().map(|(host, to)| ((*host).to_owned(), (*to).to_owned())).collect();
            StandIns::parse(&hosts)
        };
        let stand_ins = parse(&[
            ("Example.com", "127.0.0.1:9443"),
            ("example.com:8443", "[::1]:9444"),
            ("10.0.0.1", "third-party.test:1"),
        ])
        .unwrap();
        let check = |authority: &str, expected: Option<(&str, u16)>| {
            assert_eq!(stand_ins.find(&Destination::parse(true, authority).unwrap()), expected, "{authority}");
        };
        check("example.com", Some(("127.0.0.1", 9443)));
        check("EXAMPLE.com:80", Some(("127.0.0.1", 9443)));
        check("example.com:8443", Some(("::1", 9444)));
        check("10.0.0.1:5", Some(("third-party.test", 1)));
        check("www.example.com", None);

        let refused = |host: &str, to: &str, part: &str| {
            let error = parse(&[(host, to)]).unwrap_err().to_string();
            assert!(error.contains(part), "{host} {to}: {error}");
        };
        refused("https://example.com", "127.0.0.1:1", "no name");
        refused("*.example.com", "127.0.0.1:1", "no name");
        refused("example.com", "127.0.0.1", "no port");
        refused("example.com", "http://127.0.0.1:1", "no address");
        refused("example.com", "169.254.169.254:80", "link-local");
        let twice = parse(&[("a.example", "127.0.0.1:1"), ("A.example", "127.0.0.1:2")]).unwrap_err();
        assert!(twice.to_string().contains("twice"), "{twice}");
    }
}
