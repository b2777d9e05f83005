//! Proofs that an account may have an access token, and the four ways to one: a signed assertion ([`super::jwt`]), a
//! refresh token that we gave out, an administrator's word for another account of its instance, and a listener that the
//! operator put there for one account. Only this module and `jwt` make a [`Grant`]; [`super::mint`] asks for one.
//!
//! Whatever the way, a grant allows no more than its account's role, and names what its tokens die with: a key of the
//! account, or the refresh token. Absent on purpose: chains of impersonation. A token that one account got for another is
//! no means to a third, or a stolen one could be renewed for ever behind the back of whoever disabled its owner.

use event::{InstanceId, limits};

use super::{Caller, Scope, Scopes};
use crate::Refusal;
use crate::snapshot::{Account, SecretHash, Snapshot};

/// A proof: this account may have a token for these scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub(super) account: String,
    pub(super) instance: InstanceId,
    pub(super) scopes: Scopes,
    pub(super) bond: Bond,
}

/// What the tokens of a grant die with, beside their account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bond {
    /// The account's key of this id.
    Key(String),
    /// A refresh token, by its hash.
    RefreshToken(SecretHash),
}

impl Grant {
    /// The account's e-mail address.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The account's instance.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// What was asked for, as far as the account's role allows it.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// What its tokens die with.
    pub fn bond(&self) -> &Bond {
        &self.bond
    }
}

/// How long an access token lives: 1 s up to [`limits::ACCESS_TOKEN_SECS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(u64);

impl Lifetime {
    /// What the token endpoint gives.
    pub const STANDARD: Lifetime = Lifetime(limits::ACCESS_TOKEN_SECS);

    /// So many seconds; `None` where that is too short or too long.
    pub fn new(secs: u64) -> Option<Lifetime> {
        (1..=limits::ACCESS_TOKEN_SECS_MAX).contains(&secs).then_some(Lifetime(secs))
    }

    /// In seconds.
    pub fn secs(self) -> u64 {
        self.0
    }
}

/// Why there is no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoGrant {
    /// No such account, or none that can prove itself any more.
    #[error("there is no such account")]
    Unknown,
    /// The account was disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The refresh token, its client's id or its client's secret is wrong, or the token was ended. Which of them is not
    /// said.
    #[error(
        "the refresh token is not valid: it was revoked, its account rotated, disabled or deleted, or the file is incomplete"
    )]
    RefreshToken,
    /// Asks for nothing that exists here.
    #[error("no scope is asked for that is known here, such as https://www.googleapis.com/auth/cloud-platform")]
    Scope,
}

/// What a client says that has a refresh token: the fields of the file that it was written to, and the scopes it wants
/// (space-separated), all of the account's where it names none.
#[derive(Clone, Copy)]
pub struct RefreshRequest<'a> {
    /// The refresh token. A secret.
    pub refresh_token: &'a str,
    /// The client id that was given out with it.
    pub client_id: &'a str,
    /// The client secret that was given out with it.
    pub client_secret: &'a str,
    /// `scope`, if sent.
    pub scope: Option<&'a str>,
}

/// The grant of a refresh token.
pub fn grant_by_refresh_token(asked: &RefreshRequest<'_>, snapshot: &Snapshot) -> Result<Grant, NoGrant> {
    let hash = SecretHash::of(asked.refresh_token);
    let known = snapshot.refresh_tokens.get(&hash).ok_or(NoGrant::RefreshToken)?;
    if known.client_id != asked.client_id || known.client_secret != SecretHash::of(asked.client_secret) {
        return Err(NoGrant::RefreshToken);
    }
    let account = account(&known.account, snapshot).map_err(|_| NoGrant::RefreshToken)?;
    let scopes = match asked.scope.map(str::trim).filter(|scope| !scope.is_empty()) {
        Some(scope) => Scopes::from_google(scope).ok_or(NoGrant::Scope)?,
        None => account.scopes(),
    };
    Ok(Grant {
        account: known.account.clone(),
        instance: account.instance,
        scopes: scopes.and(account.scopes()),
        bond: Bond::RefreshToken(hash),
    })
}

/// The grant of an account to whoever reaches a listener that the operator put there for it. `scopes` are Google's,
/// space-separated.
pub fn grant_on_this_machine(email: &str, scopes: &str, snapshot: &Snapshot) -> Result<Grant, NoGrant> {
    let account = account(email, snapshot)?;
    let scopes = Scopes::from_google(scopes).ok_or(NoGrant::Scope)?;
    of_account(email, account, scopes)
}

/// The grant of an account to an administrator of its instance whose credential was asked for with the right to do so.
/// Whether an account of another instance exists cannot be told from the answer.
pub fn grant_by_impersonation(
    caller: &Caller,
    email: &str,
    scopes: Scopes,
    snapshot: &Snapshot,
) -> Result<Grant, Refusal> {
    caller.require(Scope::Iam)?;
    let missing = || {
        let message = format!("{} reaches no account {email:?}.", caller.sender());
        Refusal::new(crate::Cause::NotFound, message).of(caller)
    };
    let reached = snapshot.accounts.get(email).filter(|account| caller.reaches(account.instance));
    reached.ok_or_else(missing)?;
    let found = account(email, snapshot).and_then(|account| of_account(email, account, scopes));
    match found {
        Ok(grant) => Ok(Grant { scopes: grant.scopes.without(Scope::Iam), ..grant }),
        Err(NoGrant::Disabled) => {
            Err(Refusal::permission_denied(format!("The account {email:?} is disabled.")).of(caller))
        }
        Err(_) => Err(missing()),
    }
}

fn account<'s>(email: &str, snapshot: &'s Snapshot) -> Result<&'s Account, NoGrant> {
    let account = snapshot.accounts.get(email).ok_or(NoGrant::Unknown)?;
    if !snapshot.instances.contains_key(&account.instance) {
        return Err(NoGrant::Unknown);
    }
    if account.disabled { Err(NoGrant::Disabled) } else { Ok(account) }
}

/// Bound to the first of the account's keys, so that a rotation ends the tokens, as it does those that the key signed for.
fn of_account(email: &str, account: &Account, scopes: Scopes) -> Result<Grant, NoGrant> {
    let key_id = account.keys.keys().min().ok_or(NoGrant::Unknown)?;
    Ok(Grant {
        account: email.to_owned(),
        instance: account.instance,
        scopes: scopes.and(account.scopes()),
        bond: Bond::Key(key_id.clone()),
    })
}
