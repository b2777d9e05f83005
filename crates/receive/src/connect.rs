//! What a client says to the googleapis listener before TLS: `CONNECT HOST:443`, and whether that host is one of those
//! that we stand in for. Pure: bytes in, a verdict out; `googleapis.rs` reads and writes them.
//!
//! One head and then a tunnel: what follows the head belongs to the tunnel, and after a refusal nothing more is read, so
//! that bytes meant for a tunnel are never taken for a second request. `Host` is not asked for, since older clients leave
//! it out, and the request line says all. Absent: proxy credentials (whoever may reach the listener may use it; what is
//! behind it asks for Google's own credentials), other proxy protocols, and forwarding to anywhere.

use event::limits;

/// A host of Google's that we stand in for, in small letters. Only [`GoogleHost::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GoogleHost(String);

/// The services with one host for the world.
const GLOBAL: [&str; 4] = ["malachiteingestion-pa", "backstory", "oauth2", "iamcredentials"];

/// The services with a host for each region, `{region}-NAME`.
const REGIONAL: [&str; 3] = ["chronicle", "malachiteingestion-pa", "backstory"];

impl GoogleHost {
    /// The host of this name, if it is one of them. Any region passes, since Google adds some every year.
    pub fn parse(name: &str) -> Option<GoogleHost> {
        // A name of DNS is no longer, so that no more is copied.
        if name.len() > 253 {
            return None;
        }
        let name = name.to_ascii_lowercase();
        let service = name.strip_suffix(".googleapis.com")?;
        let is_regional = |suffix: &&str| {
            let region = service.strip_suffix(*suffix).and_then(|rest| rest.strip_suffix('-'));
            region.is_some_and(is_region)
        };
        let is_endpoint = || {
            let region = service.strip_prefix("chronicle.").and_then(|rest| rest.strip_suffix(".rep"));
            region.is_some_and(is_region)
        };
        let is_ours = service.len() <= 63 && (GLOBAL.contains(&service) || REGIONAL.iter().any(is_regional));
        (is_ours || is_endpoint()).then_some(GoogleHost(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One label of DNS in small letters.
fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What has been read so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The head is not whole yet.
    Part,
    /// A tunnel to this host is asked for; what follows the head is its first bytes.
    Tunnel {
        /// The host.
        host: GoogleHost,
        /// How long the head is.
        head_bytes: usize,
    },
    /// Something else.
    Other(NoTunnel),
}

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTunnel {
    /// Not the head of an HTTP/1 request, or one that CONNECT may not have. Holds what is wrong.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// Another method. Holds it.
    #[error("only CONNECT is served here, not {0}")]
    Method(String),
    /// A port that none of Google's APIs has. Holds it.
    #[error("only port 443 is served here, not {0}")]
    Port(u16),
    /// A host that we do not stand in for. Holds it.
    #[error("Penstock does not stand in for {0}")]
    Host(String),
    /// The head is too long.
    #[error("the head of the request is over {} bytes", limits::CONNECT_HEAD_BYTES_MAX)]
    TooLarge,
    /// The head took too long.
    #[error("the head of the request took too long to arrive")]
    TimedOut,
}

impl NoTunnel {
    /// The answer, after which the connection ends. The reason stands in the status line too: of a proxy's refusal, that
    /// is what Python's and Go's clients show.
    pub fn answer(&self) -> Vec<u8> {
        let status = match self {
            NoTunnel::Malformed(_) => 400,
            NoTunnel::Method(_) => 405,
            NoTunnel::Port(_) | NoTunnel::Host(_) => 403,
            NoTunnel::TooLarge => 431,
            NoTunnel::TimedOut => 408,
        };
        let why = self.to_string();
        let allow = if status == 405 { "allow: CONNECT\r\n" } else { "" };
        let hint = match self {
            NoTunnel::Host(_) => {
                "It stands in for the Chronicle, ingestion, Backstory, OAuth2 and IAM credentials hosts of \
                 googleapis.com. Name other hosts in NO_PROXY.\n"
            }
            NoTunnel::Method(_) => {
                "This is a proxy for HTTPS to Google's APIs. Penstock's own address is another one.\n"
            }
            _ => "",
        };
        let body = format!("{why}.\n{hint}");
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {why}\r\n{allow}content-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Most header lines of a CONNECT; real clients send up to four.
const HEADERS_MAX: usize = 32;

/// What these bytes, the first of a connection, say.
pub fn read(bytes: &[u8]) -> Said {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) if head_bytes <= limits::CONNECT_HEAD_BYTES_MAX => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() <= limits::CONNECT_HEAD_BYTES_MAX => return Said::Part,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Said::Other(NoTunnel::TooLarge),
        Err(_) if bytes.first() == Some(&0x16) => {
            return malformed("TLS begins after CONNECT; use the address as a proxy, not as the host itself");
        }
        Err(_) => return malformed("it is no HTTP/1 request"),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method != "CONNECT" {
        return Said::Other(NoTunnel::Method(shown(method)));
    }
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let empty = header.value.trim_ascii() == b"0";
        if is("transfer-encoding") || (is("content-length") && !empty) {
            return malformed("CONNECT has no body");
        }
    }
    let Some((host, port)) = target.rsplit_once(':') else {
        return malformed("CONNECT names a host and a port, such as oauth2.googleapis.com:443");
    };
    let port =
        Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())).and_then(|port| port.parse().ok());
    match (GoogleHost::parse(host), port) {
        (_, None | Some(0)) => malformed("the port is no number from 1 to 65535"),
        (None, _) if host.is_empty() => malformed("the host is missing"),
        (None, _) => Said::Other(NoTunnel::Host(shown(host))),
        (Some(host), Some(443)) => Said::Tunnel { host, head_bytes },
        (Some(_), Some(port)) => Said::Other(NoTunnel::Port(port)),
    }
}

fn malformed(what: &'static str) -> Said {
    Said::Other(NoTunnel::Malformed(what))
}

/// A text of the client's as it may stand in a status line and in our log: short, visible ASCII.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(100).flat_map(char::escape_default).collect();
    if text.chars().nth(100).is_some() {
        shown.push_str("...");
    }
    shown
}

/// For the fuzz list: whatever the bytes are, the verdict holds its promises.
pub fn fuzz(bytes: &[u8]) -> Said {
    let said = read(bytes);
    match &said {
        Said::Part => assert!(bytes.len() <= limits::CONNECT_HEAD_BYTES_MAX, "it waits for ever"),
        Said::Tunnel { host, head_bytes } => {
            assert!(*head_bytes <= bytes.len() && *head_bytes <= limits::CONNECT_HEAD_BYTES_MAX);
            assert!(bytes[..*head_bytes].ends_with(b"\n"), "the tunnel begins after the head");
            assert_eq!(GoogleHost::parse(host.as_str()).as_ref(), Some(host));
            assert!(host.as_str().ends_with(".googleapis.com"));
            assert_eq!(read(&bytes[..*head_bytes]), said, "what follows the head changes nothing");
        }
        Said::Other(why) => {
            let answer = why.answer();
            assert!(answer.len() < limits::ERROR_BODY_BYTES_MAX);
            let (head, body) = split(&answer).expect("an answer has a head");
            let text = std::str::from_utf8(head).expect("an answer is text");
            assert!(text.lines().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{text}");
            assert!(text.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        }
    }
    said
}

fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&answer[..at + 2], &answer[at + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_we_stand_in_for() {
        let check = |name: &str, expected: bool| {
            let host = GoogleHost::parse(name);
            assert_eq!(host.is_some(), expected, "{name}");
            if let Some(host) = host {
                assert_eq!(host.as_str(), name.to_ascii_lowercase());
            }
        };
        for name in [
            "us-chronicle.googleapis.com",
            "europe-west12-chronicle.googleapis.com",
            "me-central2-chronicle.googleapis.com",
            "US-Chronicle.GoogleAPIs.com",
            "chronicle.us.rep.googleapis.com",
            "chronicle.northamerica-northeast2.rep.googleapis.com",
            "malachiteingestion-pa.googleapis.com",
            "asia-southeast1-malachiteingestion-pa.googleapis.com",
            "backstory.googleapis.com",
            "eu-backstory.googleapis.com",
            "oauth2.googleapis.com",
            "iamcredentials.googleapis.com",
        ] {
            check(name, true);
        }
        let label = |length: usize| format!("{}-chronicle.googleapis.com", "r".repeat(length));
        check(&label(53), true);
        check(&label(54), false);
        check(&format!("chronicle.{}.rep.googleapis.com", "r".repeat(63)), true);
        check(&format!("chronicle.{}.rep.googleapis.com", "r".repeat(64)), false);
        for name in [
            "",
            "googleapis.com",
            ".googleapis.com",
            "chronicle.googleapis.com",
            "-chronicle.googleapis.com",
            "us_1-chronicle.googleapis.com",
            "a.us-chronicle.googleapis.com",
            "us-chronicle.googleapis.com.",
            "us-chronicle.googleapis.com.example.com",
            "us-chronicle.googleapis.comx",
            "us-chronicle-googleapis.com",
            "xus-chroniclegoogleapis.com",
            "chronicle..rep.googleapis.com",
            "chronicle.rep.googleapis.com",
            "chronicle.us.eu.rep.googleapis.com",
            "x.chronicle.us.rep.googleapis.com",
            "us-oauth2.googleapis.com",
            "oauth2.us.rep.googleapis.com",
            "storage.googleapis.com",
            "www.googleapis.com",
            "oauth2.example.com",
            "example.com",
            "127.0.0.1",
            "[::1]",
            "ü-chronicle.googleapis.com",
            "us\0-chronicle.googleapis.com",
            "us -chronicle.googleapis.com",
            "-us-chronicle.googleapis.com",
        ] {
            check(name, false);
        }
    }

    #[test]
    fn heads_of_real_clients() {
        let check = |head: &str, host: &str| {
            let bytes = [head.as_bytes(), b"\x16\x03\x01"].concat();
            let expected = Said::Tunnel { host: GoogleHost(host.to_owned()), head_bytes: head.len() };
            assert_eq!(fuzz(&bytes), expected, "{head}");
            assert_eq!(fuzz(head.as_bytes()), expected, "{head}");
            for length in 0..head.len() {
                assert_eq!(fuzz(&head.as_bytes()[..length]), Said::Part, "{head} cut at {length}");
            }
        };
        // Python's http.client up to 3.11, as requests uses it.
        check("CONNECT oauth2.googleapis.com:443 HTTP/1.0\r\n\r\n", "oauth2.googleapis.com");
        // From 3.12 on.
        check(
            "CONNECT oauth2.googleapis.com:443 HTTP/1.1\r\nHost: oauth2.googleapis.com:443\r\n\r\n",
            "oauth2.googleapis.com",
        );
        // httplib2.
        check(
            "CONNECT backstory.googleapis.com:443 HTTP/1.1\r\nHost: backstory.googleapis.com\r\n\r\n",
            "backstory.googleapis.com",
        );
        // curl, Go.
        check(
            "CONNECT us-chronicle.googleapis.com:443 HTTP/1.1\r\nHost: us-chronicle.googleapis.com:443\r\n\
             User-Agent: curl/8.9\r\nProxy-Connection: Keep-Alive\r\n\r\n",
            "us-chronicle.googleapis.com",
        );
        check(
            "CONNECT US-Chronicle.googleapis.com:0443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "us-chronicle.googleapis.com",
        );
        check("CONNECT us-chronicle.googleapis.com:443 HTTP/1.1\nHost: x\n\n", "us-chronicle.googleapis.com");
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let check = |head: &str, status: u16, reason: &str| {
            let Said::Other(why) = fuzz(head.as_bytes()) else { panic!("not refused: {head:?}") };
            let answer = String::from_utf8(why.answer()).unwrap();
            let line = answer.lines().next().unwrap();
            assert_eq!(line, format!("HTTP/1.1 {status} {reason}"), "{head:?}");
        };
        let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\n\r\n");
        let ours = "oauth2.googleapis.com";
        check(&connect("storage.googleapis.com:443"), 403, "Penstock does not stand in for storage.googleapis.com");
        check(&connect("example.com:443"), 403, "Penstock does not stand in for example.com");
        check(&connect("[::1]:443"), 403, "Penstock does not stand in for [::1]");
        check(
            &connect("user@oauth2.googleapis.com:443"),
            403,
            "Penstock does not stand in for user@oauth2.googleapis.com",
        );
        check(&connect(&format!("{ours}:80")), 403, "only port 443 is served here, not 80");
        check(&connect(&format!("{ours}:8443")), 403, "only port 443 is served here, not 8443");
        let port = "the request is malformed: the port is no number from 1 to 65535";
        for target in [":0", ":", ":65536", ":+443", ":443x", ":-1", ":99999999999999999999"] {
            check(&connect(&format!("{ours}{target}")), 400, port);
        }
        let missing = "the request is malformed: CONNECT names a host and a port, such as oauth2.googleapis.com:443";
        check(&connect(ours), 400, missing);
        check(&connect("/"), 400, missing);
        check(&connect(":443"), 400, "the request is malformed: the host is missing");
        check("GET / HTTP/1.1\r\n\r\n", 405, "only CONNECT is served here, not GET");
        check(
            "GET http://backstory.googleapis.com/v1/feeds HTTP/1.1\r\n\r\n",
            405,
            "only CONNECT is served here, not GET",
        );
        check("connect oauth2.googleapis.com:443 HTTP/1.1\r\n\r\n", 405, "only CONNECT is served here, not connect");
        let body = "the request is malformed: CONNECT has no body";
        check(&format!("CONNECT {ours}:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), 400, body);
        check(&format!("CONNECT {ours}:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, body);
        let not_http = "the request is malformed: it is no HTTP/1 request";
        check("hello\r\n\r\n", 400, not_http);
        check("CONNECT oauth2.googleapis.com:443 HTTP/2.0\r\n\r\n", 400, not_http);
        check("CONNECT oauth2.googleapis.com:443\r\n\r\n", 400, not_http);
        let tls =
            "the request is malformed: TLS begins after CONNECT; use the address as a proxy, not as the host itself";
        check("\x16\x03\x01\x02\0", 400, tls);
        let long = "the head of the request is over 8192 bytes";
        check(&format!("CONNECT {ours}:443 HTTP/1.1\r\nX: {}", "x".repeat(9_000)), 431, long);
        check(&format!("CONNECT {ours}:443 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9_000)), 431, long);
        check(&format!("CONNECT {ours}:443 HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(40)), 431, long);
        let name = "x".repeat(5_000);
        let cut = "x".repeat(100);
        check(&connect(&format!("{name}:443")), 403, &format!("Penstock does not stand in for {cut}..."));
        check(&connect("h\u{f6}st:443"), 403, "Penstock does not stand in for h\\u{f6}st");
        assert!(String::from_utf8(NoTunnel::Method("GET".to_owned()).answer()).unwrap().contains("allow: CONNECT\r\n"));
        assert!(NoTunnel::TimedOut.answer().starts_with(b"HTTP/1.1 408 "));
    }
}
