//! Who is calling. Only this module makes a [`Caller`], and nothing is appended to the log without one.
//!
//! Four ways in are Google's: an access token of ours (from [`crate::oauth2`], [`crate::iam_credentials`] or
//! [`crate::metadata_server`], for a [`Grant`]), a JWT that the sender signed itself ([`jwt`]), an API key (`?key=` or
//! `X-Goog-Api-Key`), and the operator's token, which reaches every instance. Beside them stand the keys of Sekoia's intakes
//! and ports that the operator bound to an intake, the signatures of OCI's clients ([`oci_signature`]), and what this server
//! itself writes to a log. What is compared with a secret is compared by hash or MAC, in constant time. Sessions and
//! passwords are absent.

mod access_token;
mod grant;
mod intake;
mod jwt;
mod key_file;
mod log;
pub(crate) mod oci_signature;

use event::{InstanceId, Time};
use http::header::AUTHORIZATION;

pub use access_token::{AccessToken, mint};
pub use grant::{
    Bond, Grant, Lifetime, NoGrant, RefreshRequest, grant_by_impersonation, grant_by_refresh_token,
    grant_on_this_machine,
};
pub use intake::{IntakeSender, authenticate_intake_key, bound_to_intake};
pub use jwt::{JwtError, verify_assertion};
pub use key_file::{AuthorizedUserFile, KeyFile, KeyFileError, sign_assertion, sign_bearer};
pub use log::{LogSender, bound_to_log};
pub use oci_signature::{INSTANCE_HEADER, authenticate_oci};

use crate::snapshot::{SecretHash, Snapshot};
use crate::{Head, Refusal};

/// One thing that a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Send data in.
    Ingest,
    /// Search and look.
    Read,
    /// Change resources.
    Admin,
    /// Ask for another account's token.
    Iam,
}

impl Scope {
    const ALL: [Scope; 4] = [Scope::Ingest, Scope::Read, Scope::Admin, Scope::Iam];

    const fn bit(self) -> u8 {
        match self {
            Scope::Ingest => 1,
            Scope::Read => 2,
            Scope::Admin => 4,
            // Tokens from before it existed read as they did: without it.
            Scope::Iam => 8,
        }
    }

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Read => "read",
            Scope::Admin => "admin",
            Scope::Iam => "iam",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// None.
    pub const NONE: Scopes = Scopes(0);
    /// All.
    pub const ALL: Scopes = Scopes(15);

    /// Exactly these.
    pub fn of(scopes: &[Scope]) -> Scopes {
        Scopes(scopes.iter().fold(0, |bits, scope| bits | scope.bit()))
    }

    /// Whether `scope` is among them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Those in both.
    pub const fn and(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// These but for one.
    pub const fn without(self, scope: Scope) -> Scopes {
        Scopes(self.0 & !scope.bit())
    }

    /// Those in either.
    pub const fn or(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// What Google's scopes (space-separated URLs) allow here; `None` when none of them is one that we know.
    pub fn from_google(scope: &str) -> Option<Scopes> {
        let known = scope.split_ascii_whitespace().filter_map(|scope| {
            Some(match scope.strip_prefix("https://www.googleapis.com/auth/")? {
                "cloud-platform" => Scopes::ALL,
                "chronicle" => Scopes::ALL.without(Scope::Iam),
                "malachite-ingestion" => Scopes::of(&[Scope::Ingest]),
                "chronicle.readonly" => Scopes::of(&[Scope::Read]),
                "chronicle-backstory" => Scopes::of(&[Scope::Read, Scope::Admin]),
                // Only for asking for another account's token; allows nothing else.
                "iam" => Scopes::of(&[Scope::Iam]),
                _ => return None,
            })
        });
        known.reduce(Scopes::or)
    }

    const fn bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Option<Scopes> {
        if bits <= Scopes::ALL.0 { Some(Scopes(bits)) } else { None }
    }
}

impl std::fmt::Debug for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(Scope::ALL.iter().filter(|scope| self.contains(**scope))).finish()
    }
}

/// What an account or key was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Senders: nothing but sending.
    Ingest,
    /// Searchers: nothing but looking.
    Read,
    /// Everything in its instance.
    Admin,
}

impl Role {
    /// What it allows at most.
    pub fn scopes(self) -> Scopes {
        match self {
            Role::Ingest => Scopes::of(&[Scope::Ingest]),
            Role::Read => Scopes::of(&[Scope::Read]),
            Role::Admin => Scopes::ALL,
        }
    }

    /// The word for it: `ingest`, `read`, `admin`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Ingest => "ingest",
            Role::Read => "read",
            Role::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Role, UnknownRole> {
        [Role::Ingest, Role::Read, Role::Admin].into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is ingest, read or admin")]
pub struct UnknownRole;

/// Proof that a request comes from a known sender. Its fields are private and this module alone fills them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    instance: Option<InstanceId>,
    sender: String,
    role: Role,
    scopes: Scopes,
}

impl Caller {
    /// The instance that it belongs to; `None` for the operator, who reaches all.
    pub fn instance(&self) -> Option<InstanceId> {
        self.instance
    }

    /// Who it is, never a secret: an account's e-mail address, `key:<id>`, `intake:<id>`, `oci:<user>`, or
    /// `operator`.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// What its account or key was made for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it may do with this credential.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Whether it may look at or write to `instance`.
    pub fn reaches(&self, instance: InstanceId) -> bool {
        self.instance.is_none_or(|own| own == instance)
    }

    /// The same caller for one instance, if it reaches that: never wider than before.
    pub fn narrowed(mut self, instance: InstanceId) -> Option<Caller> {
        if !self.reaches(instance) {
            return None;
        }
        self.instance = Some(instance);
        Some(self)
    }

    /// `Ok` if it may do this, else the 403 that says what is missing.
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        if self.scopes.contains(scope) {
            return Ok(());
        }
        let held = if self.role.scopes().contains(scope) {
            "its token was asked for with scopes that do not cover it".to_owned()
        } else {
            format!("its role is {}", self.role.name())
        };
        let what = match scope {
            Scope::Ingest => "send data (scope ingest)",
            Scope::Read => "search or look (scope read)",
            Scope::Admin => "change anything (scope admin)",
            Scope::Iam => "ask for another account's token (scope iam)",
        };
        let message = format!("{} may not {what}: {held}.", self.sender);
        Err(Refusal::permission_denied(message).of(self))
    }
}

/// Who sends a request in one of Google's ways: `Authorization: Bearer` before `X-Goog-Api-Key` before `?key=`.
pub fn authenticate(head: &Head, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let value = value.to_str().map_err(|_| Refusal::unauthenticated("The Authorization header is not text."))?;
        let bearer = value.trim().split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = bearer else {
            return Err(Refusal::unauthenticated("The Authorization header is not of the form \"Bearer <token>\"."));
        };
        return authenticate_bearer(token.trim(), snapshot, now);
    }
    if let Some(value) = head.headers.get("x-goog-api-key") {
        return authenticate_api_key(value.to_str().unwrap_or_default(), snapshot);
    }
    if let Some(key) = head.query_value("key") {
        return authenticate_api_key(&key, snapshot);
    }
    Err(Refusal::unauthenticated(
        "The request has no credential: send \"Authorization: Bearer <access token>\" or ?key=<API key>.",
    ))
}

/// Who holds this bearer token: one of our access tokens, a self-signed JWT, or the operator's token.
pub fn authenticate_bearer(token: &str, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    if token.is_empty() {
        return Err(Refusal::unauthenticated("The bearer token is empty."));
    }
    if let Some(result) = access_token::authenticate(token, snapshot, now) {
        return result;
    }
    if snapshot.operator_token == Some(SecretHash::of(token)) {
        return Ok(Caller { instance: None, sender: "operator".to_owned(), role: Role::Admin, scopes: Scopes::ALL });
    }
    if token.bytes().filter(|byte| *byte == b'.').count() == 2 {
        return jwt::authenticate(token, snapshot, now);
    }
    Err(Refusal::unauthenticated("The bearer token is neither an access token of this server nor a signed JWT."))
}

/// Who holds this API key.
pub fn authenticate_api_key(key: &str, snapshot: &Snapshot) -> Result<Caller, Refusal> {
    // Found by hash: what the lookup's time tells is about the hash, which leads back to no key.
    match snapshot.api_keys.get(&SecretHash::of(key)) {
        Some(found) if !found.disabled && snapshot.instances.contains_key(&found.instance) => Ok(Caller {
            instance: Some(found.instance),
            sender: format!("key:{}", found.id),
            role: found.role,
            // An API key is no account, and only accounts and the operator impersonate.
            scopes: found.role.scopes().without(Scope::Iam),
        }),
        _ => Err(Refusal::unauthenticated("The API key is not valid.")),
    }
}

/// The caller that an account's proven credential stands for.
fn caller_of_account(email: &str, snapshot: &Snapshot, scopes: Scopes) -> Option<Caller> {
    let account = snapshot.accounts.get(email).filter(|account| !account.disabled)?;
    if !snapshot.instances.contains_key(&account.instance) {
        return None;
    }
    let scopes = scopes.and(account.scopes());
    Some(Caller { instance: Some(account.instance), sender: email.to_owned(), role: account.role, scopes })
}

#[cfg(test)]
mod tests;
