//! JWTs that senders sign with their service account's key: assertions for the token endpoint, and bearers as they are.
//!
//! RS256 and nothing else: what the header says about algorithms is checked, never followed. Signatures are checked
//! over the segments as they came, since some libraries pad them or use the plain alphabet (contracts/chronicle.md §3).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use event::{Time, limits};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::{Bond, Caller, Grant, Scope, Scopes, caller_of_account};
use crate::Refusal;
use crate::snapshot::{Account, Snapshot};

/// `aud` values that clients write whatever the key file's `token_uri` says.
const GOOGLE_TOKEN_URLS: [&str; 2] =
    ["https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v4/token"];

/// Why a JWT proves nothing. The texts tell an honest sender what to mend, and an attacker nothing about which accounts
/// and keys exist: an unknown account and a wrong signature read the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not three segments of base64 with JSON in the first two. Holds what was wrong.
    #[error("the JWT is malformed: {0}")]
    Malformed(&'static str),
    /// Signed with something else than RS256, or not at all.
    #[error("the JWT's alg must be RS256")]
    Algorithm,
    /// No such account, no such key of it, the account is disabled, or the signature is wrong.
    #[error("the JWT's account or signature is not valid: check that the key file is current and complete")]
    Invalid,
    /// `aud` is none of ours. Holds what is expected.
    #[error("the JWT's aud is not accepted here; expected {0}")]
    Audience(String),
    /// Its time is over. Holds when that was.
    #[error("the JWT expired at {0}; check the sender's clock")]
    Expired(Time),
    /// It was issued in the future.
    #[error("the JWT's iat {0} is in the future; check the sender's clock")]
    NotYet(Time),
    /// It claims to live too long, or its times make no sense.
    #[error("the JWT's exp must be after its iat, by at most {} seconds", limits::ASSERTION_SECS_MAX)]
    Lifetime,
    /// It asks for nothing that exists here.
    #[error(
        "the JWT asks for no scope that is known here, such as https://www.googleapis.com/auth/malachite-ingestion"
    )]
    Scope,
}

#[derive(serde::Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

#[derive(serde::Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
    iat: serde_json::Number,
    exp: serde_json::Number,
    #[serde(default)]
    scope: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn any(&self, accepts: impl Fn(&str) -> bool) -> bool {
        match self {
            Audience::One(aud) => accepts(aud),
            Audience::Many(list) => list.iter().any(|aud| accepts(aud)),
        }
    }
}

/// Checks an assertion that asks the token endpoint for an access token.
pub fn verify_assertion(jwt: &str, snapshot: &Snapshot, now: Time) -> Result<Grant, JwtError> {
    let (claims, account, key_id) = verify(jwt, snapshot, now)?;
    let is_ours = |aud: &str| GOOGLE_TOKEN_URLS.contains(&aud) || snapshot.token_urls.iter().any(|own| own == aud);
    if !claims.aud.as_ref().is_some_and(|aud| aud.any(is_ours)) {
        let own = snapshot.token_urls.first().map_or(GOOGLE_TOKEN_URLS[0], String::as_str);
        return Err(JwtError::Audience(own.to_owned()));
    }
    let scopes = claims.scope.as_deref().and_then(Scopes::from_google).ok_or(JwtError::Scope)?;
    Ok(Grant {
        instance: account.instance,
        scopes: scopes.and(account.scopes()),
        bond: Bond::Key(key_id.to_owned()),
        account: claims.iss,
    })
}

/// Who sends a self-signed JWT as its bearer token: `iss` = `sub` = the account, with `scope` or the service as `aud`.
pub(super) fn authenticate(jwt: &str, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    let refuse = |error: JwtError| Refusal::unauthenticated(format!("The bearer token is not valid: {error}."));
    let (claims, account, _) = verify(jwt, snapshot, now).map_err(refuse)?;
    if claims.sub.as_ref().is_some_and(|sub| *sub != claims.iss) {
        return Err(refuse(JwtError::Malformed("sub is not the account that iss names")));
    }
    if let Some(aud) = &claims.aud
        && !aud.any(|aud| is_service_url(aud, snapshot))
    {
        return Err(refuse(JwtError::Audience("https://malachiteingestion-pa.googleapis.com/".to_owned())));
    }
    let scopes = match (&claims.scope, &claims.aud) {
        (Some(scope), _) => Scopes::from_google(scope).ok_or_else(|| refuse(JwtError::Scope))?,
        // An audience without scopes asks for the service, that is for all that the account may do there; others'
        // tokens are another service's.
        (None, Some(_)) => account.scopes().without(Scope::Iam),
        (None, None) => return Err(refuse(JwtError::Scope)),
    };
    caller_of_account(&claims.iss, snapshot, scopes).ok_or_else(|| refuse(JwtError::Invalid))
}

/// Whether `aud` means us: one of Google's services, whose place we take, or a URL of our own.
fn is_service_url(aud: &str, snapshot: &Snapshot) -> bool {
    let origin = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()))
    };
    let Some(aud) = origin(aud) else { return false };
    aud.strip_prefix("https://").is_some_and(|host| host.ends_with(".googleapis.com"))
        || snapshot.token_urls.iter().any(|own| origin(own).as_ref() == Some(&aud))
}

/// Checks form, times and signature; what audience and scopes mean is the caller's question.
fn verify<'s>(jwt: &str, snapshot: &'s Snapshot, now: Time) -> Result<(Claims, &'s Account, &'s str), JwtError> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or(JwtError::Malformed("it has no three segments"))?;
    let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed("it has no three segments"))?;
    let header = decode(header).ok_or(JwtError::Malformed("its header is not base64"))?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|_| JwtError::Malformed("its header is not JSON with an alg"))?;
    if header.alg != "RS256" {
        return Err(JwtError::Algorithm);
    }
    let claims = decode(claims).ok_or(JwtError::Malformed("its claims are not base64"))?;
    let claims: Claims = serde_json::from_slice(&claims)
        .map_err(|_| JwtError::Malformed("its claims are not JSON with iss, iat and exp"))?;
    let signature = decode(signature).ok_or(JwtError::Malformed("its signature is not base64"))?;

    // The signature before the times: whoever cannot sign learns nothing about what else would be wrong.
    let account = snapshot.accounts.get(&claims.iss).filter(|account| !account.disabled).ok_or(JwtError::Invalid)?;
    let key_id = match &header.kid {
        Some(kid) => account.keys.get_key_value(kid).filter(|(_, der)| signs(der, signed, &signature)),
        None => account.keys.iter().find(|(_, der)| signs(der, signed, &signature)),
    }
    .map(|(key_id, _)| key_id.as_str())
    .filter(|key_id| key_id.len() <= usize::from(u8::MAX))
    .ok_or(JwtError::Invalid)?;

    let (iat, exp) = (seconds(&claims.iat)?, seconds(&claims.exp)?);
    let now = now.secs();
    if exp <= iat || exp - iat > limits::ASSERTION_SECS_MAX {
        return Err(JwtError::Lifetime);
    }
    if now > exp + limits::CLOCK_SKEW_SECS {
        return Err(JwtError::Expired(Time::from_secs(exp).unwrap_or(Time::MIN)));
    }
    if iat > now + limits::CLOCK_SKEW_SECS {
        return Err(JwtError::NotYet(Time::from_secs(iat).unwrap_or(Time::MAX)));
    }
    Ok((claims, account, key_id))
}

fn signs(public_key_der: &[u8], signed: &str, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key_der).verify(signed.as_bytes(), signature).is_ok()
}

/// Seconds since the epoch, whole or with a fraction; far outside any real time is refused, so that sums cannot
/// overflow.
fn seconds(number: &serde_json::Number) -> Result<i64, JwtError> {
    let secs = number.as_i64().or_else(|| number.as_f64().map(|secs| secs as i64));
    secs.filter(|secs| secs.unsigned_abs() < 1 << 40).ok_or(JwtError::Lifetime)
}

/// Base64 in either alphabet, with or without padding.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet = if segment.contains(['+', '/']) { &alphabet::STANDARD } else { &alphabet::URL_SAFE };
    GeneralPurpose::new(alphabet, config).decode(segment).ok()
}
