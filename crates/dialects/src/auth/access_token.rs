//! Access tokens of our own: who, for what, until when, under which key, and a MAC. No table of sessions: a token
//! survives a restart because the secret does, and dies with its account or key because both are looked up at every
//! use.
//!
//! ```text
//! token   = "pst1." base64url(payload) "." base64url(mac)
//! payload = instance:16  scopes:u8  expires_at_secs:i64be  bond_len:u8 bond  account
//! bond    = key_id | "refresh:" base64url(hash of the refresh token)
//! mac     = HMAC-SHA256(secret, "pst1." base64url(payload))
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{InstanceId, Time};
use ring::hmac;

use super::{Bond, Caller, Grant, Lifetime, Scopes, caller_of_account};
use crate::Refusal;
use crate::snapshot::{Account, Secret, SecretHash, Snapshot};

const PREFIX: &str = "pst1.";

/// Begins the bond of a token that a refresh token was given for. Ids of keys are hexadecimal, so none begins so.
const REFRESH: &str = "refresh:";

/// A new access token.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token. A secret.
    pub text: String,
    /// The second from which on it is refused.
    pub expires_at: Time,
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// An access token for a grant, good for so long from `now`.
pub fn mint(grant: &Grant, lifetime: Lifetime, snapshot: &Snapshot, now: Time) -> AccessToken {
    let expires_at = now.secs().saturating_add(lifetime.secs().cast_signed());
    let bond = match grant.bond() {
        Bond::Key(key_id) => key_id.clone(),
        Bond::RefreshToken(hash) => format!("{REFRESH}{}", URL_SAFE_NO_PAD.encode(hash.as_bytes())),
    };
    let payload = Payload {
        instance: grant.instance(),
        scopes: grant.scopes(),
        expires_at,
        bond: &bond,
        account: grant.account(),
    };
    let text = encode(&payload, &snapshot.token_secret);
    AccessToken { text, expires_at: Time::from_secs(expires_at).unwrap_or(Time::MAX) }
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
    bond: &'a str,
    account: &'a str,
}

fn encode(payload: &Payload<'_>, secret: &Secret) -> String {
    let mut bytes = Vec::with_capacity(26 + payload.bond.len() + payload.account.len());
    bytes.extend_from_slice(payload.instance.uuid().as_bytes());
    bytes.push(payload.scopes.bits());
    bytes.extend_from_slice(&payload.expires_at.to_be_bytes());
    bytes.push(
        u8::try_from(payload.bond.len()).expect("key ids are made by us, and verify_assertion refuses longer ones"),
    );
    bytes.extend_from_slice(payload.bond.as_bytes());
    bytes.extend_from_slice(payload.account.as_bytes());
    let signed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret.0), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

fn decode(bytes: &[u8]) -> Option<Payload<'_>> {
    let (instance, rest) = bytes.split_first_chunk::<16>()?;
    let (scopes, rest) = rest.split_first()?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (bond_len, rest) = rest.split_first()?;
    let (bond, account) = rest.split_at_checked(usize::from(*bond_len))?;
    Some(Payload {
        instance: InstanceId::from_uuid(uuid::Uuid::from_bytes(*instance)),
        scopes: Scopes::from_bits(*scopes)?,
        expires_at: i64::from_be_bytes(*expires_at),
        bond: std::str::from_utf8(bond).ok()?,
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
    let ended = || {
        Refusal::unauthenticated("The access token's account, key or refresh token was disabled, rotated or revoked.")
    };
    let caller = caller_of_account(payload.account, snapshot, payload.scopes).ok_or_else(ended)?;
    let account = snapshot.accounts.get(payload.account).ok_or_else(ended)?;
    if account.instance != payload.instance || !holds(&payload, account, snapshot) {
        return Err(ended());
    }
    Ok(caller)
}

/// Whether what the token is bound to is still there.
fn holds(payload: &Payload<'_>, account: &Account, snapshot: &Snapshot) -> bool {
    if account.keys.contains_key(payload.bond) {
        return true;
    }
    let hash = payload.bond.strip_prefix(REFRESH).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let hash: Option<[u8; 32]> = hash.and_then(|bytes| bytes.try_into().ok());
    let refresh_token = hash.and_then(|hash| snapshot.refresh_tokens.get(&SecretHash::from_bytes(hash)));
    refresh_token.is_some_and(|token| token.account == payload.account)
}
