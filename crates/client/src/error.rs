//! What can go wrong, sorted by who must act: the caller, the operator, time, the other side.
//!
//! The causes are kept (`source`). No text holds a token, a key or a log; of a reply only what the receiver says about
//! the error is shown.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A cause that comes from another crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call did not do what was asked. [`Error::who`] sorts the variants.
///
/// Unless it is [`Error::Partial`], an error of a batch call means that nothing of the batch is known to be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// **The caller:** an argument cannot be sent as it is. Nothing was sent.
    #[error("{}{what}: {why}", item(.index))]
    Invalid {
        /// Which item of a batch, counted from 0.
        index: Option<usize>,
        /// The argument.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// **The caller:** one record alone is larger than a request may be. Shorten or split it. Nothing of its batch was
    /// sent.
    #[error(
        "item {index} makes a request of {bytes} bytes, more than the {bytes_max} that one may have: shorten or split \
         it; nothing was sent"
    )]
    TooLarge {
        /// Which item of the batch, counted from 0.
        index: usize,
        /// The length of a request with this record alone, before compression.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// **The caller:** the receiver refused the content (400 and its kin). Sending it again changes nothing; the
    /// violations say which field of which item to mend.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// **The caller:** there is no such thing (404): instance, log type, forwarder.
    #[error("{0}")]
    NotFound(Box<Refusal>),
    /// **The operator:** the credential is good but may not do this (403). Give the account the right, or use another.
    #[error("{0}")]
    PermissionDenied(Box<Refusal>),
    /// **The operator:** there is no credential, it cannot be read, or it is not accepted.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// **The operator:** the receiver's certificate is not trusted. Name its CA with
    /// [`SecOpsClientBuilder::ca_file`](crate::SecOpsClientBuilder::ca_file).
    #[error("the receiver's certificate is not trusted ({0}); if it is of a CA of your own, name that CA's file")]
    Untrusted(#[source] Cause),
    /// **The operator:** this client cannot be set up.
    #[error("the client cannot be set up: {0}")]
    Setup(#[source] Cause),
    /// **The operator:** the spool. See [`SpoolError`].
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// **Time:** too many requests (429), still after every attempt that the policy allows.
    #[error("{refusal} (after {attempts} attempts; ask again in {} s)", .retry_after.as_secs())]
    RateLimited {
        /// What the receiver said last.
        refusal: Box<Refusal>,
        /// When it makes sense to try again: at least 30 s.
        retry_after: Duration,
        /// How often it was tried.
        attempts: u32,
    },
    /// **Time:** no connection, a broken one, or 5xx, still after every attempt that the policy allows. Whether the last
    /// attempt was carried out is not known; the same bytes again are recognised by the receiver.
    #[error("no success after {attempts} attempt(s): {why}")]
    Unavailable {
        /// The last reply's status, if there was a reply.
        status: Option<u16>,
        /// What happened last.
        why: String,
        /// How often it was tried.
        attempts: u32,
        /// The network's error, if it was one.
        #[source]
        cause: Option<Cause>,
    },
    /// **Time:** no reply within the time limit, still after every attempt that the policy allows. Whether the last
    /// attempt was carried out is not known.
    #[error("no reply within {} s, {attempts} time(s)", .after.as_secs_f64())]
    Timeout {
        /// The time limit of one attempt.
        after: Duration,
        /// How often it was tried.
        attempts: u32,
    },
    /// **The other side:** a reply that the API does not have, such as the page of a proxy with status 200. Nothing was
    /// taken as accepted on its word.
    #[error("{status} is no reply of this API: {why}")]
    UnexpectedReply {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
    /// A batch took several requests and not all of them were accepted. Says which items were and which were not.
    #[error("{0}")]
    Partial(Box<Partial>),
    /// A forwarder was made, but its collector was not.
    /// [`Chronicle::get_or_create_forwarder`](crate::Chronicle::get_or_create_forwarder) mends its own;
    /// [`Chronicle::create_collector`](crate::Chronicle::create_collector) mends any.
    #[error("the forwarder {forwarder} was made, its collector was not: {cause}")]
    WithoutCollector {
        /// The forwarder's resource name.
        forwarder: String,
        /// Why its collector was not made.
        #[source]
        cause: Box<Error>,
    },
}

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The program that called, or whoever made its data.
    Caller,
    /// Whoever set it up: credentials, rights, addresses, disk.
    Operator,
    /// Nobody: it may pass.
    Time,
    /// Whoever runs what answered.
    Receiver,
}

impl Error {
    /// Who must act. For a batch, who must act first.
    pub fn who(&self) -> Who {
        match self {
            Error::Invalid { .. } | Error::TooLarge { .. } | Error::Refused(_) | Error::NotFound(_) => Who::Caller,
            Error::PermissionDenied(_)
            | Error::Credentials(_)
            | Error::Untrusted(_)
            | Error::Setup(_)
            | Error::Spool(_) => Who::Operator,
            Error::RateLimited { .. } | Error::Unavailable { .. } | Error::Timeout { .. } => Who::Time,
            Error::UnexpectedReply { .. } => Who::Receiver,
            Error::Partial(partial) => partial.failed.first().map_or(Who::Receiver, |failed| failed.error.who()),
            Error::WithoutCollector { cause, .. } => cause.who(),
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        self.who() == Who::Time
    }

    /// The faults that the receiver named.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Error::Refused(refusal)
            | Error::NotFound(refusal)
            | Error::PermissionDenied(refusal)
            | Error::RateLimited { refusal, .. } => &refusal.violations,
            Error::Partial(partial) => partial.failed.first().map_or(&[], |failed| failed.error.violations()),
            Error::WithoutCollector { cause, .. } => cause.violations(),
            _ => &[],
        }
    }

    /// Whether the next request would surely fare the same: the error speaks of the receiver or the credential, not of
    /// what was sent.
    pub(crate) fn concerns_all(&self) -> bool {
        !matches!(self, Error::Refused(_) | Error::NotFound(_))
    }

    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Error {
        Error::Invalid { index: None, what, why: why.into() }
    }

    /// The same error about item `index` of a batch.
    pub(crate) fn at(self, at: usize) -> Error {
        match self {
            Error::Invalid { what, why, .. } => Error::Invalid { index: Some(at), what, why },
            other => other,
        }
    }

    /// The same error with the items of its violations as the caller counts them.
    pub(crate) fn with_items(mut self, items: &[usize]) -> Error {
        if let Error::Refused(refusal)
        | Error::NotFound(refusal)
        | Error::PermissionDenied(refusal)
        | Error::RateLimited { refusal, .. } = &mut self
        {
            for violation in &mut refusal.violations {
                violation.item = violation.item.and_then(|item| items.get(item).copied());
            }
        }
        self
    }
}

fn item(index: &Option<usize>) -> String {
    index.map_or_else(String::new, |index| format!("item {index}: "))
}

/// What the receiver said when it refused (AIP-193).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Its name, such as `INVALID_ARGUMENT`; empty when the reply had none.
    pub code: String,
    /// What is wrong, in the receiver's words.
    pub message: String,
    /// The faults that it named, in its order.
    pub violations: Vec<Violation>,
    /// The reply's body, up to 64 KiB of it.
    pub body: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the receiver answers {}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        write!(f, ": {}", self.message)?;
        for violation in self.violations.iter().filter(|violation| !violation.stands_in(&self.message)) {
            write!(f, "; {violation}")?;
        }
        Ok(())
    }
}

/// One fault, as the receiver named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request, such as `inlineSource.events[3].udm.metadata`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
    /// Which item of the batch it is in, as the caller counts them from 0, where the path names one.
    pub item: Option<usize>,
}

impl Violation {
    /// Whether this text says all of it. Where the caller counts the item otherwise than the receiver, it does not.
    fn stands_in(&self, text: &str) -> bool {
        let said = match self.field.as_str() {
            "" => self.description.clone(),
            field => format!("{field}: {}", self.description),
        };
        self.item == crate::reply::item_of(&self.field) && text.contains(said.trim_end_matches('.'))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(item) = self.item {
            write!(f, "item {item}, ")?;
        }
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// What became of a batch of which not everything was accepted.
#[derive(Debug)]
pub struct Partial {
    /// The requests that were accepted, in the order in which they were sent.
    pub accepted: Vec<Accepted>,
    /// The requests that failed, in the order in which they were sent.
    pub failed: Vec<Failed>,
    /// The items that were not tried any more, since the last failure would have been theirs too. In the caller's order.
    pub not_sent: Vec<usize>,
}

/// One request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Accepted {
    /// The log type of its items; empty for UDM events.
    pub log_type: String,
    /// Its items, as the caller counts them from 0.
    pub items: Vec<usize>,
    /// `operations/…` from Penstock, `None` from Google.
    pub operation: Option<String>,
    /// Whether the receiver says that it had just this request already, and stored nothing.
    pub repeat: bool,
    /// How many of its items the receiver says that the forwarder's filters kept out.
    pub filtered: u64,
}

/// One request that failed.
#[derive(Debug)]
pub struct Failed {
    /// The log type of its items; empty for UDM events.
    pub log_type: String,
    /// Its items, as the caller counts them from 0. One bad item fails all of its request.
    pub items: Vec<usize>,
    /// Why.
    pub error: Error,
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted: usize = self.accepted.iter().map(|request| request.items.len()).sum();
        let failed: usize = self.failed.iter().map(|request| request.items.len()).sum();
        let not_sent = self.not_sent.len();
        write!(f, "of {} items {accepted} were accepted", accepted + failed + not_sent)?;
        for request in &self.failed {
            let (first, last) = (request.items.first(), request.items.last());
            let (first, last) = (first.copied().unwrap_or_default(), last.copied().unwrap_or_default());
            write!(f, "; {} of items {first} to {last} failed: {}", request.items.len(), request.error)?;
        }
        if not_sent > 0 {
            write!(f, "; {not_sent} were not sent")?;
        }
        Ok(())
    }
}

/// What is wrong with the credentials. An operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the credentials in {}: {cause}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The text is not what a key file holds. `why` names fields, never their values.
    #[error("{origin} holds no credentials that can be used: {why}")]
    Malformed {
        /// Where the text came from.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are none. `looked` says where they were looked for.
    #[error(
        "there are no credentials: {}. Set GOOGLE_APPLICATION_CREDENTIALS to a key file, or give one to the client",
        .looked.join("; ")
    )]
    Absent {
        /// Each place, and what was there.
        looked: Vec<String>,
    },
    /// The key cannot sign.
    #[error("the key of {account} cannot sign: {cause}")]
    Key {
        /// The account's address.
        account: String,
        /// Why.
        #[source]
        cause: dialects::auth::KeyFileError,
    },
    /// The token endpoint does not take them: key deleted, account disabled, clock wrong, refresh token revoked.
    #[error("{url} gives {account} no token: {error}{}", detail(.description))]
    NoToken {
        /// The token endpoint.
        url: String,
        /// The account's address, or the kind of credential.
        account: String,
        /// OAuth 2's word for it, such as `invalid_grant`.
        error: String,
        /// What it says about it.
        description: String,
    },
    /// The API answers 401 to a fresh token.
    #[error("the receiver does not accept the credential of {account}: {refusal}")]
    Rejected {
        /// The account's address, or the kind of credential.
        account: String,
        /// What it says about it.
        refusal: Box<Refusal>,
    },
    /// What answers as a metadata server is none.
    #[error("the metadata server {host} gives no token: {why}")]
    Metadata {
        /// Its host.
        host: String,
        /// What is wrong.
        why: String,
    },
}

fn detail(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(" ({description})") }
}

/// What is wrong with a spool. An operator must act, except for [`SpoolError::Full`], which sending may heal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another process has it.
    #[error("the spool {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// It belongs to another instance, whose logs must not go to this one.
    #[error("the spool {} holds records for {owner}, not for {asked}", .dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// The instance that it was made for.
        owner: String,
        /// The instance of this client.
        asked: String,
    },
    /// It is of another version of this library.
    #[error("the spool {} has format {format}, which this version does not read", .dir.display())]
    Format {
        /// The folder.
        dir: PathBuf,
        /// What it says of itself.
        format: u64,
    },
    /// It holds as much as it may. The record was not taken: send what is there (`drain`), look at the batches that were
    /// refused, or allow more.
    #[error(
        "the spool is full: {bytes} of {bytes_max} bytes, {refused_bytes} of them in batches that were refused; the \
         record was not taken"
    )]
    Full {
        /// What it takes on disk.
        bytes: u64,
        /// What it may take.
        bytes_max: u64,
        /// What of that is in batches that were refused.
        refused_bytes: u64,
    },
    /// A sync failed. What reached the disk is not known any more, so nothing is written until the spool is opened anew.
    #[error("the spool stopped after a failed sync and must be opened anew")]
    Broken,
    /// The disk.
    #[error("cannot {what} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
}
