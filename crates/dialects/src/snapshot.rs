//! An immutable view of everything that a dialect must know beside the request: instances, keys, log types, limits. The
//! binary builds it from the stored documents and swaps it whole when they change.

use std::collections::HashMap;
use std::sync::Arc;

use event::{InstanceId, limits};

use crate::auth::{Role, Scopes};
use crate::log_types::LogTypes;
use crate::resource::{Forwarder, PushFeed};

/// What holds at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The tenants.
    pub instances: HashMap<InstanceId, Instance>,
    /// The service accounts, by e-mail address.
    pub accounts: HashMap<String, Account>,
    /// The API keys, by the hash of the key.
    pub api_keys: HashMap<SecretHash, ApiKey>,
    /// The intakes of Sekoia's kind, by the hash of their key. An intake with two keys stands here twice.
    pub intakes: HashMap<SecretHash, Arc<IntakeKey>>,
    /// The refresh tokens that we gave out, by the hash of the token.
    pub refresh_tokens: HashMap<SecretHash, RefreshToken>,
    /// The operator's token, by its hash. It reaches every instance with every scope. Must not begin with
    /// `pst1.`, which access tokens begin with.
    pub operator_token: Option<SecretHash>,
    /// What access tokens are signed with. Kept across restarts; changing it ends every token.
    pub token_secret: Secret,
    /// The `aud` values that mean our own token endpoint, such as `http://127.0.0.1:8480/token`.
    pub token_urls: Vec<String>,
    /// The log types that every instance has; those of an instance are in [`Instance::log_types`].
    pub log_types: LogTypes,
    /// Limits that settings may change.
    pub limits: Limits,
    /// How strictly UDM is checked when it comes in.
    pub udm_mode: udm::Mode,
    /// What happens to a batch with invalid records.
    pub on_invalid: OnInvalid,
    /// The UDM schema.
    pub schema: Arc<udm::Schema>,
    /// The keys that OCI requests are signed with, by the name that requests give them: `tenancy/user/fingerprint`.
    pub oci_keys: HashMap<String, OciKey>,
    /// The compartments by OCID, the roots, which are the tenancies, too.
    pub oci_compartments: HashMap<String, OciCompartment>,
    /// The logs by OCID.
    pub oci_logs: HashMap<String, Arc<OciLog>>,
    /// The region that OCIDs name.
    pub oci_region: String,
    /// The runtimes that a function of an archive may name, such as `python3.12.ol9`.
    pub oci_runtimes: Vec<String>,
}

/// A tenant, as dialects need to know it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// What the operator calls it.
    pub name: String,
    /// The log types that its senders may name.
    pub log_types: LogTypes,
    /// Its forwarders with their collectors, by id.
    pub forwarders: HashMap<String, Arc<Forwarder>>,
    /// Whether one of them has filters, which can take long to ask.
    pub has_filters: bool,
    /// Its feeds that are pushed to, by id.
    pub feeds: HashMap<String, Arc<PushFeed>>,
}

impl Instance {
    /// An instance without any ways in of its own.
    pub fn new(name: impl Into<String>, log_types: LogTypes) -> Instance {
        Instance { name: name.into(), log_types, forwarders: HashMap::new(), has_filters: false, feeds: HashMap::new() }
    }
}

/// A service account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The one instance that it belongs to.
    pub instance: InstanceId,
    /// What it may do at most.
    pub role: Role,
    /// A disabled account's tokens and keys are refused at once.
    pub disabled: bool,
    /// Its public keys by key id: RSA, PKCS#1 `RSAPublicKey` DER. A key that is taken out ends the tokens made with it.
    pub keys: HashMap<String, Vec<u8>>,
}

/// An API key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id, which may be shown.
    pub id: String,
    /// The one instance that it belongs to.
    pub instance: InstanceId,
    /// What it may do.
    pub role: Role,
    /// A disabled key is refused at once.
    pub disabled: bool,
}

/// An intake of Sekoia's kind: a named way in that is found by its key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeKey {
    /// Its id, which may be shown.
    pub id: String,
    /// The one instance that it belongs to.
    pub instance: InstanceId,
    /// The log type of what comes by it.
    pub log_type: String,
    /// The namespace of what comes by it, or empty.
    pub namespace: String,
    /// A disabled intake's key is refused at once.
    pub disabled: bool,
}

/// A key that OCI requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciKey {
    /// The one instance that it belongs to: its tenancy.
    pub instance: InstanceId,
    /// The OCID of its user.
    pub user: String,
    /// What the user is called.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// A disabled user's keys are refused at once.
    pub disabled: bool,
    /// The public key: RSA, PKCS#1 `RSAPublicKey` DER.
    pub key: Vec<u8>,
}

/// A compartment, as far as records and calls need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciCompartment {
    /// The one instance that it belongs to: its tenancy.
    pub instance: InstanceId,
    /// What it is called.
    pub name: String,
    /// The compartment that it stands in; `None` for the root.
    pub parent: Option<String>,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciLog {
    /// Its OCID.
    pub id: String,
    /// The one instance that it belongs to: its tenancy.
    pub instance: InstanceId,
    /// The OCID of its compartment.
    pub compartment: String,
    /// The OCID of its group.
    pub log_group: String,
    /// What it is called.
    pub name: String,
    /// Who writes to it.
    pub log_type: OciLogType,
    /// A disabled log takes nothing.
    pub enabled: bool,
    /// The service that writes to it, such as `flowlogs` or `functions`.
    pub service: Option<String>,
    /// What of the service: the OCID of a subnet or application.
    pub resource: Option<String>,
    /// What that is called, if it is one of ours.
    pub resource_name: Option<String>,
    /// Which of its logs, such as `invoke`.
    pub category: Option<String>,
}

/// Who writes to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OciLogType {
    /// Whoever puts records in.
    Custom,
    /// A service.
    Service,
}

impl OciLogType {
    /// OCI's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            OciLogType::Custom => "CUSTOM",
            OciLogType::Service => "SERVICE",
        }
    }
}

/// A refresh token, but for the token itself.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    /// The account whose access tokens it gives.
    pub account: String,
    /// The client id that was given out with it.
    pub client_id: String,
    /// The client secret that was given out with it.
    pub client_secret: SecretHash,
}

impl Account {
    /// What its role allows at most.
    pub fn scopes(&self) -> Scopes {
        self.role.scopes()
    }
}

/// The BLAKE3 hash of a high-entropy secret (API key, operator token), which is all that is kept of it. Equality takes
/// the same time whatever the bytes are.
#[derive(Clone, Copy, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret's text.
    pub fn of(secret: &str) -> SecretHash {
        SecretHash(*blake3::hash(secret.as_bytes()).as_bytes())
    }

    /// From the stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> SecretHash {
        SecretHash(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &SecretHash) -> bool {
        // blake3's own comparison is constant-time.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl std::hash::Hash for SecretHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// 32 secret bytes that are never shown.
#[derive(Clone)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Limits of requests that settings may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one Chronicle Ingestion API request, uncompressed.
    pub chronicle_ingestion_body_bytes_max: usize,
    /// Of one Chronicle API request, uncompressed.
    pub chronicle_api_body_bytes_max: usize,
    /// Of one Sekoia request, uncompressed.
    pub sekoia_body_bytes_max: usize,
    /// Of one event that comes by an intake.
    pub sekoia_event_bytes_max: usize,
    /// Of one OCI request that puts records in.
    pub oci_body_bytes_max: usize,
    /// Of our own API, and of calls of Google's APIs that take no records in.
    pub api_body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            chronicle_ingestion_body_bytes_max: limits::CHRONICLE_INGESTION_BODY_BYTES_MAX,
            chronicle_api_body_bytes_max: limits::CHRONICLE_API_BODY_BYTES_MAX,
            sekoia_body_bytes_max: limits::SEKOIA_BODY_BYTES_MAX,
            sekoia_event_bytes_max: limits::SEKOIA_EVENT_BYTES_MAX,
            oci_body_bytes_max: limits::OCI_BODY_BYTES_MAX,
            api_body_bytes_max: limits::API_BODY_BYTES_MAX,
        }
    }
}

/// What happens to a batch that holds invalid records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInvalid {
    /// The whole batch is refused, and the reply names every fault: the sender notices.
    #[default]
    Refuse,
    /// The batch is accepted; its invalid records are committed with their fault and set aside. For senders that retry
    /// a refused batch for ever (fluent-bit) or drop it (Vector).
    Quarantine,
}
