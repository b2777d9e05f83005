//! Signing requests as OCI's SDKs do: the client side, for our own commands and for tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::Time;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use crate::auth::oci_signature::{BODY_HASH_HEADER, REQUEST_TARGET, may_have_body, signing_string};

/// A user's key.
pub struct Signer {
    key_id: String,
    pair: RsaKeyPair,
}

/// Why nothing can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The text is no PEM of a private key.
    #[error(
        "the key is not a PEM text that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----"
    )]
    Pem,
    /// It is PEM, but of no RSA key that can be used.
    #[error("the key is no RSA key of 2048 bits or more that is not protected by a passphrase")]
    Key,
    /// The host or the path cannot stand in a request.
    #[error("the host or path cannot stand in a request")]
    Target,
}

impl Signer {
    /// A key by its names and its PEM text, PKCS#8 or PKCS#1.
    pub fn new(tenancy: &str, user: &str, fingerprint: &str, private_key_pem: &str) -> Result<Signer, SignError> {
        let pair = match pem(private_key_pem, "PRIVATE KEY") {
            Some(der) => RsaKeyPair::from_pkcs8(&der),
            None => RsaKeyPair::from_der(&pem(private_key_pem, "RSA PRIVATE KEY").ok_or(SignError::Pem)?),
        };
        let pair = pair.map_err(|_| SignError::Key)?;
        Ok(Signer { key_id: format!("{tenancy}/{user}/{fingerprint}"), pair })
    }

    /// The headers that a request needs, `authorization` among them, for the path and query as they will stand on its request
    /// line. What `headers` already has of them stays as it is and is signed so.
    pub fn sign(
        &self,
        method: &Method,
        target: &str,
        host: &str,
        mut headers: HeaderMap,
        body: &[u8],
        now: Time,
    ) -> Result<HeaderMap, SignError> {
        let mut put = |name: &'static str, value: String| -> Result<(), SignError> {
            let value = HeaderValue::from_str(&value).map_err(|_| SignError::Target)?;
            headers.entry(HeaderName::from_static(name)).or_insert(value);
            Ok(())
        };
        put("date", http_date(now))?;
        put("host", host.to_owned())?;
        let mut signed = vec!["date", REQUEST_TARGET, "host"];
        if may_have_body(method) {
            put("content-length", body.len().to_string())?;
            put("content-type", "application/json".to_owned())?;
            put(BODY_HASH_HEADER, STANDARD.encode(digest::digest(&digest::SHA256, body)))?;
            signed.extend(["content-length", "content-type", BODY_HASH_HEADER]);
        }
        let names: Vec<String> = signed.iter().map(|name| (*name).to_owned()).collect();
        let value = self.authorization(&names, method, target, &headers)?;
        headers.insert(http::header::AUTHORIZATION, value);
        Ok(headers)
    }

    /// The value of `authorization` that covers these headers.
    pub(super) fn authorization(
        &self,
        names: &[String],
        method: &Method,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, SignError> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let text = signing_string(names, method, path, query, headers).map_err(|_| SignError::Target)?;
        let mut signature = vec![0; self.pair.public().modulus_len()];
        // PKCS#1 v1.5 signatures hold no random bits; ring only asks for a source in case a padding wants one.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| SignError::Key)?;
        let value = format!(
            "Signature algorithm=\"rsa-sha256\",headers=\"{}\",keyId=\"{}\",signature=\"{}\",version=\"1\"",
            names.join(" "),
            self.key_id,
            STANDARD.encode(signature)
        );
        HeaderValue::from_str(&value).map_err(|_| SignError::Target)
    }
}

/// Shows no secret.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// What stands between the lines of a PEM text. Oracle's consoles put a line of their own behind the last one.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (base64, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok()
}

/// A time as HTTP writes it: `Sat, 21 Nov 2026 19:42:45 GMT`.
pub fn http_date(time: Time) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // RFC 3339 in UTC: every number stands at its place.
    let text = time.to_string();
    let day = DAYS[time.day().rem_euclid(7) as usize];
    let month = text[5..7].parse::<usize>().map_or(0, |month| month - 1);
    format!("{day}, {} {} {} {} GMT", &text[8..10], MONTHS[month], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |text: &str, expected: &str| assert_eq!(http_date(text.parse().unwrap()), expected);
        check("2026-11-21T19:42:45.478Z", "Sat, 21 Nov 2026 19:42:45 GMT");
        check("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT");
        check("1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT");
        check("2024-02-29T12:00:00Z", "Thu, 29 Feb 2024 12:00:00 GMT");
    }
}
