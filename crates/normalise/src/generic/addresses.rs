//! IP addresses: as the whole of a value, with a port behind them, and in free text.
//!
//! In free text only what is clearly an address is one: it stands between characters that end words, no version number, no
//! network such as `10.0.0.0/8`. Addresses stay as they are written. `0.0.0.0` and `::` name nobody and are never found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text of an IPv6 address.
const IPV6_BYTES_MAX: usize = 45;

/// The address that a value is, without a zone such as `%eth0`.
pub(super) fn single(text: &str) -> Option<&str> {
    let text = text.trim();
    // Most values start like no address.
    if !text.as_bytes().first().is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':') {
        return None;
    }
    let bare = match text.split_once('%') {
        Some((bare, zone)) if bare.contains(':') && !zone.is_empty() => bare,
        Some(_) => return None,
        None => text,
    };
    let address: IpAddr = bare.parse().ok()?;
    (!address.is_unspecified()).then_some(bare)
}

/// The address that a value is or begins with, and its port: `192.0.2.1:80`, `[2001:db8::1]:80`, `192.0.2.1:80:eth0`.
pub(super) fn with_port(text: &str) -> Option<(&str, Option<u16>)> {
    let text = text.trim();
    if let Some(bare) = single(text) {
        return Some((bare, None));
    }
    let (bare, rest) = match text.strip_prefix('[') {
        Some(text) => text.split_once(']')?,
        None => text.split_at(text.find(':')?),
    };
    let bare = single(bare)?;
    if rest.is_empty() {
        return Some((bare, None));
    }
    let rest = rest.strip_prefix(':')?;
    Some((bare, port(rest.split(':').next()?)))
}

/// A port of the network; zero is none.
pub(super) fn port(text: &str) -> Option<u16> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|port| *port != 0)
}

/// Tells the addresses in free text, in their order, until `tell` says that it has enough.
pub(super) fn in_text<'t>(text: &'t str, mut tell: impl FnMut(&'t str) -> bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_hexdigit() || byte == b':') || !may_start(bytes, at) {
            at += 1;
            continue;
        }
        let length = v4(bytes, at).or_else(|| v6(text, at));
        let Some(length) = length else {
            at += 1;
            continue;
        };
        let address = &text[at..at + length];
        let names_one = address.parse().is_ok_and(|address: IpAddr| !address.is_unspecified());
        if names_one && may_end(bytes, at + length) && !behind_version(&text[..at]) && !tell(address) {
            return;
        }
        at += length;
    }
}

/// Whether a word can begin here.
fn may_start(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| bytes[at]) else { return true };
    match before {
        b'/' => at >= 2 && bytes[at - 2] == b'/',
        b'"' | b'\'' | b'`' | b'(' | b'[' | b'{' | b'<' | b'>' | b',' | b';' | b':' | b'=' | b'|' | b'@' => true,
        _ => before.is_ascii_whitespace(),
    }
}

/// Whether an address can end here.
fn may_end(bytes: &[u8], at: usize) -> bool {
    let Some(next) = bytes.get(at) else { return true };
    let after = bytes.get(at + 1);
    match next {
        b'"' | b'\'' | b'`' | b')' | b']' | b'}' | b'<' | b'>' | b',' | b';' | b':' | b'|' | b'&' | b'?' | b'%'
        | b'\\' => true,
        b'.' => after.is_none_or(u8::is_ascii_whitespace),
        // Ports, as name servers write them.
        b'#' | b'@' => after.is_some_and(u8::is_ascii_digit),
        b'/' => !is_prefix_length(&bytes[at + 1..]),
        _ => next.is_ascii_whitespace(),
    }
}

/// Whether what follows a slash makes a network of an address. A low port, as in `192.0.2.1/22`, is taken for one, too.
fn is_prefix_length(bytes: &[u8]) -> bool {
    let digits = bytes.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let number = bytes[..digits].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    (1..=3).contains(&digits) && number <= 128
}

/// Whether the last word before an address says that it is a version.
fn behind_version(before: &str) -> bool {
    let before = before.trim_end_matches([' ', '\t', ':', '=', '"', '\'', '(', '[']);
    let letters = before.bytes().rev().take(12).take_while(u8::is_ascii_alphabetic).count();
    let word = &before.as_bytes()[before.len() - letters..];
    const WORDS: [&[u8]; 9] =
        [b"version", b"versions", b"v", b"ver", b"release", b"build", b"firmware", b"revision", b"rev"];
    WORDS.iter().any(|version| word.eq_ignore_ascii_case(version))
}

/// How long an IPv4 address here is.
fn v4(bytes: &[u8], at: usize) -> Option<usize> {
    let mut length = 0;
    for octet in 0..4 {
        if octet > 0 {
            if bytes.get(at + length) != Some(&b'.') {
                return None;
            }
            length += 1;
        }
        let digits = bytes[at + length..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) {
            return None;
        }
        length += digits;
    }
    let text = std::str::from_utf8(&bytes[at..at + length]).expect("digits and points are ASCII");
    text.parse::<Ipv4Addr>().is_ok().then_some(length)
}

/// How long an IPv6 address here is.
fn v6(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    // Behind a colon, this could be the tail of something longer.
    if at > 0 && bytes[at - 1] == b':' {
        return None;
    }
    let part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let run = bytes[at..].iter().take(IPV6_BYTES_MAX + 1).take_while(part).count();
    let run = text[at..at + run].trim_end_matches('.');
    let run = if run.ends_with("::") { run } else { run.strip_suffix(':').unwrap_or(run) };
    // Names in programs have double colons and letters, too: `add::bed`.
    let clear = run.bytes().filter(|byte| *byte == b':').count() >= 2 && run.bytes().any(|byte| byte.is_ascii_digit());
    (clear && run.parse::<Ipv6Addr>().is_ok()).then_some(run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_free_text() {
        for (text, expected) in [
            ("from 192.0.2.1 to 2001:db8::1.", &["192.0.2.1", "2001:db8::1"] as &[&str]),
            (
                "192.0.2.1:443 (192.0.2.2) <192.0.2.3> [192.0.2.4] \"192.0.2.5\"",
                &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"],
            ),
            (
                "outside:192.0.2.1/443 http://192.0.2.2/x a@192.0.2.3, src=192.0.2.4",
                &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
            ),
            ("client 192.0.2.1#53121 192.0.2.2@44179", &["192.0.2.1", "192.0.2.2"]),
            ("from 192.0.2.1. Then 192.0.2.2: gone", &["192.0.2.1", "192.0.2.2"]),
            ("peer fe80::1%eth0 and 2001:db8:0:0:0:0:0:1: up", &["fe80::1", "2001:db8:0:0:0:0:0:1"]),
            ("größer 192.0.2.1 größer", &["192.0.2.1"]),
            // Not clearly addresses.
            ("version 1.2.3.4 v1.2.3.4 Version: 1.2.3.4 ver=1.2.3.4 (build 1.2.3.4)", &[]),
            ("Chrome/100.0.48.96 x-1.2.3.4 1.2.3.4-r5 1.2.3.4.5 oid 1.3.6.1.4.1 1.2.3", &[]),
            ("10.0.0.0/8 2001:db8::/32 256.1.1.1 010.001.001.001 0.0.0.0 ::", &[]),
            ("12:34:56 aa:bb:cc:dd:ee:ff aa:bb:cc:dd:ee:ff:11:22:33 add::bed std::fmt", &[]),
            ("é192.0.2.1 192.0.2.1é", &[]),
        ] {
            let mut found = Vec::new();
            in_text(text, |address| {
                found.push(address);
                true
            });
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn addresses_with_ports() {
        for (text, expected) in [
            ("192.0.2.1", Some(("192.0.2.1", None))),
            (" 192.0.2.1:80 ", Some(("192.0.2.1", Some(80)))),
            ("192.0.2.1:80:X0", Some(("192.0.2.1", Some(80)))),
            ("192.0.2.1::X0", Some(("192.0.2.1", None))),
            ("192.0.2.1:0", Some(("192.0.2.1", None))),
            ("[2001:db8::1]:80", Some(("2001:db8::1", Some(80)))),
            ("[2001:db8::1]", Some(("2001:db8::1", None))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("fe80::1%eth0", Some(("fe80::1", None))),
            ("0.0.0.0", None),
            ("web1:80", None),
            ("", None),
        ] {
            assert_eq!(with_port(text), expected, "{text}");
        }
    }
}
