//! Access tokens of our own: who, for what, until when, under which key, and a MAC. No table of sessions: a token
//! survives a restart because the secret does, and dies with its account or key because both are looked up at every
//! use.
//!
//! ```text
//! token   = "pst1." base64url(payload) "." base64url(mac)
//! payload = instance:16  scopes:u8  expires_at_secs:i64be  key_id_len:u8 key_id  account
//! mac     = HMAC-SHA256(secret, "pst1." base64url(payload))
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{InstanceId, Time, limits};
use ring::hmac;

use super::{Assertion, Caller, Scopes, caller_of_account};
use crate::Refusal;
use crate::snapshot::{Secret, Snapshot};

const PREFIX: &str = "pst1.";

/// An access token for a proven assertion, good for [`limits::ACCESS_TOKEN_SECS`] from `now`.
pub fn mint(assertion: &Assertion, snapshot: &Snapshot, now: Time) -> String {
    let expires_at = now.secs().saturating_add(limits::ACCESS_TOKEN_SECS as i64);
    let payload = Payload {
        instance: assertion.instance(),
        scopes: assertion.scopes(),
        expires_at,
        key_id: assertion.key_id(),
        account: assertion.account(),
    };
    encode(&payload, &snapshot.token_secret)
}

/// Who holds this token; `None` when it is none of ours by its look.
pub(super) fn authenticate(token: &str, snapshot: &Snapshot, now: Time) -> Option<Result<Caller, Refusal>> {
    let rest = token.strip_prefix(PREFIX)?;
    Some(verify(token, rest, snapshot, now))
}

struct Payload<'a> {
    instance: InstanceId,
    scopes: Scopes,
    expires_at: i64,
    key_id: &'a str,
    account: &'a str,
}

fn encode(payload: &Payload<'_>, secret: &Secret) -> String {
    let mut bytes = Vec::with_capacity(26 + payload.key_id.len() + payload.account.len());
    bytes.extend_from_slice(payload.instance.uuid().as_bytes());
    bytes.push(payload.scopes.bits());
    bytes.extend_from_slice(&payload.expires_at.to_be_bytes());
    bytes.push(u8::try_from(payload.key_id.len()).expect("verify_assertion refuses longer key ids"));
    bytes.extend_from_slice(payload.key_id.as_bytes());
    bytes.extend_from_slice(payload.account.as_bytes());
    let signed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

fn decode(bytes: &[u8]) -> Option<Payload<'_>> {
    let (instance, rest) = bytes.split_first_chunk::<16>()?;
    let (scopes, rest) = rest.split_first()?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (key_id_len, rest) = rest.split_first()?;
    let (key_id, account) = rest.split_at_checked(usize::from(*key_id_len))?;
    Some(Payload {
        instance: InstanceId::from_uuid(uuid::Uuid::from_bytes(*instance)),
        scopes: Scopes::from_bits(*scopes)?,
        expires_at: i64::from_be_bytes(*expires_at),
        key_id: std::str::from_utf8(key_id).ok()?,
        account: std::str::from_utf8(account).ok()?,
    })
}

fn verify(token: &str, rest: &str, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    let garbled = || Refusal::unauthenticated("The access token is garbled or was not made by this server.");
    let (payload, mac) = rest.split_once('.').ok_or_else(garbled)?;
    let signed = &token[..PREFIX.len() + payload.len()];
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| garbled())?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &snapshot.token_secret.0), signed.as_bytes(), &mac)
        .map_err(|_| garbled())?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).map_err(|_| garbled())?;
    let payload = decode(&bytes).ok_or_else(garbled)?;
    // Everything from here on is said to somebody who once held a valid token.
    if now.secs() >= payload.expires_at {
        let expired = Time::from_secs(payload.expires_at).unwrap_or(Time::MAX);
        return Err(Refusal::unauthenticated(format!("The access token expired at {expired}; ask for a new one.")));
    }
    let ended = || Refusal::unauthenticated("The access token's account or key was disabled or rotated.");
    let caller = caller_of_account(payload.account, snapshot, payload.scopes).ok_or_else(ended)?;
    let account = snapshot.accounts.get(payload.account).ok_or_else(ended)?;
    if account.instance != payload.instance || !account.keys.contains_key(payload.key_id) {
        return Err(ended());
    }
    Ok(caller)
}
