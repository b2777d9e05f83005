//! The control plane: instances, accounts, keys, intakes, log types, ways in, parsers and connectors, from stored documents to
//! the [`Snapshot`] that dialects see.
//!
//! Every change goes document first, then the snapshot is made anew and swapped whole: a reader sees all of a change or
//! nothing of it. Used by the running server, and by `penstock account create` on a stopped one.

mod intakes;
pub mod oci;
pub mod parsers;
mod ways;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use arc_swap::ArcSwap;
use dialects::auth::{AuthorizedUserFile, KeyFile};
use dialects::snapshot::{Account, ApiKey, Instance, Limits, OnInvalid, RefreshToken, Secret, SecretHash};
use dialects::{LogType, LogTypes, Role, Snapshot};
use event::{InstanceId, Time, limits};
use resources::{Document, ResourceError, Resources};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::EncodePrivateKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use intakes::NewIntake;
pub use ways::WayError;

/// What a snapshot holds that is set, not stored.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of requests.
    pub limits: Limits,
    /// How strictly UDM is checked.
    pub udm_mode: udm::Mode,
    /// What happens to a batch with invalid records.
    pub on_invalid: OnInvalid,
    /// The UDM schema.
    pub schema: Arc<udm::Schema>,
    /// The region that new OCIDs name.
    pub oci_region: String,
    /// The runtimes that functions may name.
    pub oci_runtimes: Vec<String>,
}

/// Stored documents and the view made of them.
pub struct Control {
    resources: Resources,
    dir: PathBuf,
    settings: Settings,
    builtin: LogTypes,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Of the operator token, read once: a file that goes missing must not keep a change from taking effect.
    operator_hash: SecretHash,
    /// One change at a time, so that no snapshot overwrites a newer one.
    changing: Mutex<()>,
    /// The parsers that turns name.
    programs: parsers::Programs,
}

/// Why a change was not made, for the one who asked for it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What was asked is wrong; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is there already.
    #[error("{0}")]
    Exists(String),
    /// We failed; the text is for the log.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl From<ResourceError> for ControlError {
    fn from(error: ResourceError) -> ControlError {
        match error {
            ResourceError::Exists { .. } | ResourceError::Changed { .. } => ControlError::Exists(error.to_string()),
            ResourceError::NotFound { .. } => ControlError::NotFound(error.to_string()),
            error => ControlError::Failed(error.into()),
        }
    }
}

const INSTANCE: &str = "instance";
const ACCOUNT: &str = "account";
const API_KEY: &str = "api_key";
const REFRESH_TOKEN: &str = "refresh_token";
const LOG_TYPE: &str = "log_type";
const CONNECTOR: &str = "connector";
const SERVER: &str = "server";

/// Shortest operator token that is taken.
const OPERATOR_TOKEN_BYTES_MIN: usize = 20;

/// Longest name for people.
const NAME_CHARS_MAX: usize = 200;

/// Bits of a new account's RSA key, as Google's have.
const KEY_BITS: usize = 2048;

/// Where a server that was never told otherwise is reached.
const DEFAULT_URL: &str = "http://127.0.0.1:8480";

#[derive(Serialize, Deserialize)]
struct AccountDocument {
    role: Role,
    #[serde(default)]
    disabled: bool,
    /// Public keys by id, PKCS#1 DER in hex.
    keys: HashMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ApiKeyDocument {
    name: String,
    role: Role,
    /// BLAKE3 of the key, hex. The key itself is nowhere.
    hash: String,
    #[serde(default)]
    disabled: bool,
}

#[derive(Serialize, Deserialize)]
struct RefreshTokenDocument {
    /// The account whose access tokens it gives.
    account: String,
    client_id: String,
    /// BLAKE3 of the client's secret, hex.
    client_secret_hash: String,
    /// BLAKE3 of the refresh token, hex. The token itself is nowhere.
    hash: String,
}

/// A key file and what it belongs to.
pub struct NewAccount {
    /// The file's content.
    pub key_file: KeyFile,
    /// What the account may do.
    pub role: Role,
}

impl Control {
    /// Opens the documents of a data directory; a new one gets what a server needs: its token secret, an operator token,
    /// a default instance with an admin account, whose key file is written, and with an intake, whose key is.
    pub fn open(dir: &Path, settings: Settings, url: Option<&str>, now: Time) -> anyhow::Result<Control> {
        let resources = Resources::open(&dir.join("resources.db"))?;
        let builtin = LogTypes::builtin();
        let empty = Snapshot {
            instances: HashMap::new(),
            log_types: builtin.clone(),
            accounts: HashMap::new(),
            api_keys: HashMap::new(),
            intakes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            operator_token: None,
            token_secret: Secret([0; 32]),
            token_urls: Vec::new(),
            limits: settings.limits,
            udm_mode: settings.udm_mode,
            on_invalid: settings.on_invalid,
            schema: Arc::clone(&settings.schema),
            oci_keys: HashMap::new(),
            oci_compartments: HashMap::new(),
            oci_logs: HashMap::new(),
            oci_region: settings.oci_region.clone(),
            oci_runtimes: settings.oci_runtimes.clone(),
        };
        let mut control = Control {
            resources,
            dir: dir.to_owned(),
            settings,
            builtin,
            snapshot: Arc::new(ArcSwap::from_pointee(empty)),
            operator_hash: SecretHash::from_bytes([0; 32]),
            changing: Mutex::new(()),
            programs: parsers::Programs::default(),
        };
        control.make_what_is_missing(url, now)?;
        control.operator_hash = SecretHash::of(&control.operator_token()?);
        control.refresh()?;
        Ok(control)
    }

    /// The view, for those who read it at every request.
    pub fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// The UDM schema.
    pub fn schema(&self) -> &Arc<udm::Schema> {
        &self.settings.schema
    }

    /// Where the default key file lies.
    pub fn default_key_file(&self) -> PathBuf {
        self.dir.join("keys/default.json")
    }

    /// Where the operator token lies.
    pub fn operator_token_file(&self) -> PathBuf {
        self.dir.join("keys/operator.token")
    }

    /// The operator token.
    pub fn operator_token(&self) -> anyhow::Result<String> {
        let path = self.operator_token_file();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let token = text.trim();
        if token.len() < OPERATOR_TOKEN_BYTES_MIN {
            anyhow::bail!(
                "{} holds {} characters, too few for a secret: put {OPERATOR_TOKEN_BYTES_MIN} or more there, or remove it \
                 and a new one is made",
                path.display(),
                token.len()
            );
        }
        Ok(token.to_owned())
    }

    fn make_what_is_missing(&self, url: Option<&str>, now: Time) -> anyhow::Result<()> {
        let stamp = now.to_string();
        if matches!(self.resources.get(SERVER, "", "token_secret"), Err(ResourceError::NotFound { .. })) {
            let secret = hex::encode(random_bytes::<32>());
            self.resources.create(SERVER, "", "token_secret", &json!({ "secret": secret }), &stamp)?;
        }
        if let Some(url) = url {
            let document = json!({ "url": url });
            match self.resources.update(SERVER, "", "url", &document, None, &stamp) {
                Err(ResourceError::NotFound { .. }) => {
                    self.resources.create(SERVER, "", "url", &document, &stamp)?;
                }
                other => {
                    other?;
                }
            }
        }
        if !self.operator_token_file().exists() {
            let token = format!("pst_{}", hex::encode(random_bytes::<32>()));
            crate::state::write_private(&self.operator_token_file(), format!("{token}\n").as_bytes())
                .with_context(|| format!("cannot write {}", self.operator_token_file().display()))?;
        }
        let default_key = self.default_key_file();
        if self.resources.list(INSTANCE, None)?.is_empty() {
            let id = InstanceId::from_uuid(uuid::Uuid::new_v4());
            let document = json!({ "name": "default", "project": "penstock", "location": "us" });
            // What a start that was cut short made for an instance that then never was.
            for kind in [ACCOUNT, intakes::INTAKE] {
                for left in self.resources.list(kind, None)? {
                    self.resources.delete(kind, &left.parent, &left.id)?;
                }
            }
            // The keys first: an instance without them would look made, and nobody could send to it.
            let (account, file) = self.prepare_account(id, "penstock", Role::Admin, "default")?;
            write_json_private(&default_key, &file)?;
            self.resources.create(
                ACCOUNT,
                &id.to_string(),
                &file.client_email,
                &serde_json::to_value(account)?,
                &stamp,
            )?;
            self.make_default_intake(id, &stamp)?;
            self.resources.create(INSTANCE, "", &id.to_string(), &document, &stamp)?;
        } else if let (Some(url), Ok(text)) = (url, std::fs::read_to_string(&default_key)) {
            // The server may have been given another address since; the key stays good, its address must follow.
            let mut file: KeyFile = serde_json::from_str(&text)
                .with_context(|| format!("{} is no key file in Google's format", default_key.display()))?;
            let token_uri = token_url(url);
            if file.token_uri != token_uri {
                file.token_uri = token_uri;
                write_json_private(&default_key, &file)?;
            }
        }
        Ok(())
    }

    fn refresh(&self) -> anyhow::Result<()> {
        let mut instances = HashMap::new();
        let mut ways = self.ways()?;
        for document in self.resources.list(INSTANCE, None)? {
            let id: InstanceId = document.id.parse()?;
            let custom = self.resources.list(LOG_TYPE, Some(&document.id))?.into_iter().filter_map(|custom| {
                LogType::new(custom.id, custom.json["description"].as_str().unwrap_or_default()).ok()
            });
            let name = document.json["name"].as_str().unwrap_or_default().to_owned();
            let ways = ways.remove(&document.id).unwrap_or_default();
            let log_types = self.builtin.with_custom(custom);
            let has_filters = ways.forwarders.values().any(|forwarder| forwarder.has_filters());
            let instance = Instance { name, log_types, forwarders: ways.forwarders, has_filters, feeds: ways.feeds };
            instances.insert(id, instance);
        }
        let mut accounts = HashMap::new();
        for document in self.resources.list(ACCOUNT, None)? {
            let Some(instance) = known_instance(&document, &instances) else { continue };
            let stored: AccountDocument = serde_json::from_value(document.json)?;
            let keys = stored.keys.iter().map(|(id, key)| Ok((id.clone(), hex::decode(key)?)));
            let keys = keys.collect::<anyhow::Result<HashMap<_, _>>>()?;
            accounts.insert(document.id, Account { instance, role: stored.role, disabled: stored.disabled, keys });
        }
        let mut api_keys = HashMap::new();
        for document in self.resources.list(API_KEY, None)? {
            let Some(instance) = known_instance(&document, &instances) else { continue };
            let stored: ApiKeyDocument = serde_json::from_value(document.json)?;
            let key = ApiKey { id: document.id, instance, role: stored.role, disabled: stored.disabled };
            api_keys.insert(secret_hash(&stored.hash)?, key);
        }
        let mut refresh_tokens = HashMap::new();
        for document in self.resources.list(REFRESH_TOKEN, None)? {
            let stored: RefreshTokenDocument = serde_json::from_value(document.json)?;
            let RefreshTokenDocument { account, client_id, client_secret_hash, hash } = stored;
            let token = RefreshToken { account, client_id, client_secret: secret_hash(&client_secret_hash)? };
            refresh_tokens.insert(secret_hash(&hash)?, token);
        }
        let intakes = self.intakes(&instances)?;
        let oci_keys = self.oci_keys(&instances)?;
        let (oci_compartments, oci_logs) = (self.oci_compartments(&instances)?, self.oci_logs(&instances)?);
        let secret = self.resources.get(SERVER, "", "token_secret")?;
        let secret = hex::decode(secret.json["secret"].as_str().unwrap_or_default())?;
        let secret: [u8; 32] = secret.try_into().ok().context("the token secret has 32 bytes")?;
        self.snapshot.store(Arc::new(Snapshot {
            instances,
            log_types: self.builtin.clone(),
            accounts,
            api_keys,
            intakes,
            refresh_tokens,
            operator_token: Some(self.operator_hash),
            token_secret: Secret(secret),
            token_urls: self.known_url()?.iter().map(|url| token_url(url)).collect(),
            limits: self.settings.limits,
            udm_mode: self.settings.udm_mode,
            on_invalid: self.settings.on_invalid,
            schema: Arc::clone(&self.settings.schema),
            oci_keys,
            oci_compartments,
            oci_logs,
            oci_region: self.settings.oci_region.clone(),
            oci_runtimes: self.settings.oci_runtimes.clone(),
        }));
        Ok(())
    }

    fn change<T>(&self, make: impl FnOnce() -> Result<T, ControlError>) -> Result<T, ControlError> {
        self.change_or(make)
    }

    /// The same for changes that can fail in more ways.
    fn change_or<T, E: From<ControlError>>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _one = self.changing();
        let made = make()?;
        self.refresh().map_err(ControlError::Failed)?;
        Ok(made)
    }

    /// Held during a change that the snapshot shows nothing of.
    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where the server is reachable, or would be by default if it never ran.
    fn url(&self) -> anyhow::Result<String> {
        Ok(self.known_url()?.unwrap_or_else(|| DEFAULT_URL.to_owned()))
    }

    /// Where the server was last reachable.
    fn known_url(&self) -> anyhow::Result<Option<String>> {
        match self.resources.get(SERVER, "", "url") {
            Ok(document) => Ok(document.json["url"].as_str().map(str::to_owned)),
            Err(ResourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    // Instances.

    /// Makes an instance.
    pub fn create_instance(
        &self,
        id: Option<InstanceId>,
        name: &str,
        project: &str,
        location: &str,
        now: Time,
    ) -> Result<Value, ControlError> {
        let id = id.unwrap_or_else(|| InstanceId::from_uuid(uuid::Uuid::new_v4()));
        for (what, text) in [("name", name), ("project", project), ("location", location)] {
            shown_name(what, text)?;
        }
        self.change(|| {
            let document = json!({ "name": name, "project": project, "location": location });
            let made = self.resources.create(INSTANCE, "", &id.to_string(), &document, &now.to_string())?;
            Ok(show_instance(&made))
        })
    }

    /// All instances.
    pub fn list_instances(&self) -> Result<Vec<Value>, ControlError> {
        Ok(self.resources.list(INSTANCE, None)?.iter().map(show_instance).collect())
    }

    /// One instance.
    pub fn get_instance(&self, id: InstanceId) -> Result<Value, ControlError> {
        Ok(show_instance(&self.resources.get(INSTANCE, "", &id.to_string())?))
    }

    /// Deletes an instance and all that belongs to it but its logs.
    pub fn delete_instance(&self, id: InstanceId) -> Result<(), ControlError> {
        self.change(|| Ok(self.resources.delete_with_children(INSTANCE, "", &id.to_string())?))
    }

    /// The instance that is meant when none is named: the only one there is.
    pub fn only_instance(&self) -> Result<InstanceId, ControlError> {
        let snapshot = self.snapshot.load();
        let mut ids = snapshot.instances.keys();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(*id),
            (None, _) => {
                Err(ControlError::NotFound("there is no instance; make one with `penstock instance create`".to_owned()))
            }
            (Some(_), Some(_)) => Err(ControlError::Invalid(
                "there are several instances; name one (`penstock instance list` shows them)".to_owned(),
            )),
        }
    }

    // Accounts.

    /// Makes an account with a new key.
    pub fn create_account(
        &self,
        instance: InstanceId,
        role: Role,
        name: Option<&str>,
        now: Time,
    ) -> Result<NewAccount, ControlError> {
        let parent = instance.to_string();
        let project =
            self.resources.get(INSTANCE, "", &parent)?.json["project"].as_str().unwrap_or("penstock").to_owned();
        let name = match name {
            Some(name) => account_name(name)?.to_owned(),
            None => format!("{}-{}", role.name(), hex::encode(random_bytes::<3>())),
        };
        let (account, key_file) = self.prepare_account(instance, &project, role, &name)?;
        let document = serde_json::to_value(account).map_err(anyhow::Error::from)?;
        self.change(|| {
            // E-mail addresses are looked up without an instance, so they are unique over all of them.
            if self.snapshot.load().accounts.contains_key(&key_file.client_email) {
                return Err(ControlError::Exists(format!("account {} exists already", key_file.client_email)));
            }
            self.resources.create(ACCOUNT, &parent, &key_file.client_email, &document, &now.to_string())?;
            Ok(())
        })?;
        Ok(NewAccount { key_file, role })
    }

    /// Gives an account a new key in place of all it had. Its refresh tokens end, too.
    pub fn rotate_account(&self, email: &str, now: Time) -> Result<NewAccount, ControlError> {
        let found = self.find(ACCOUNT, email)?;
        let instance: InstanceId = found.parent.parse().map_err(anyhow::Error::from)?;
        let mut account: AccountDocument = serde_json::from_value(found.json).map_err(anyhow::Error::from)?;
        let (name, project) = email.split_once('@').unwrap_or((email, ""));
        let project = project.split('.').next().unwrap_or_default();
        let (fresh, key_file) = self.prepare_account(instance, project, account.role, name)?;
        let key_file = KeyFile { client_email: email.to_owned(), ..key_file };
        account.keys = fresh.keys;
        let role = account.role;
        self.change(|| {
            // First, so that a crash in between leaves no refresh token that outlived the rotation.
            self.delete_refresh_tokens(email)?;
            let document = serde_json::to_value(account).map_err(anyhow::Error::from)?;
            self.resources.update(ACCOUNT, &found.parent, email, &document, Some(found.etag), &now.to_string())?;
            Ok(())
        })?;
        Ok(NewAccount { key_file, role })
    }

    /// Ends an account's access.
    pub fn disable_account(&self, email: &str, now: Time) -> Result<Value, ControlError> {
        self.change(|| {
            let found = self.find(ACCOUNT, email)?;
            let mut json = found.json;
            json["disabled"] = Value::Bool(true);
            let made =
                self.resources.update(ACCOUNT, &found.parent, email, &json, Some(found.etag), &now.to_string())?;
            Ok(show_account(&made))
        })
    }

    /// Makes a refresh token of an account, in the file that Google's libraries take; the only time that it is seen.
    pub fn create_refresh_token(&self, email: &str, now: Time) -> Result<AuthorizedUserFile, ControlError> {
        let id = format!("adc-{}", hex::encode(random_bytes::<6>()));
        let refresh_token = format!("psr_{}", hex::encode(random_bytes::<32>()));
        let client_secret = format!("psc_{}", hex::encode(random_bytes::<24>()));
        let client_id = format!("{id}.penstock");
        let hex_of = |secret: &str| hex::encode(SecretHash::of(secret).as_bytes());
        let document = RefreshTokenDocument {
            account: email.to_owned(),
            client_id: client_id.clone(),
            client_secret_hash: hex_of(&client_secret),
            hash: hex_of(&refresh_token),
        };
        let document = serde_json::to_value(document).map_err(anyhow::Error::from)?;
        let url = self.url()?;
        self.change(|| {
            let account = self.find(ACCOUNT, email)?;
            if account.json["disabled"] == Value::Bool(true) {
                return Err(ControlError::Invalid(format!("account {email} is disabled")));
            }
            if self.refresh_tokens_of(email)?.len() >= limits::REFRESH_TOKENS_MAX {
                let most = limits::REFRESH_TOKENS_MAX;
                return Err(ControlError::Invalid(format!(
                    "account {email} has {most} refresh tokens; revoke them first"
                )));
            }
            self.resources.create(REFRESH_TOKEN, &account.parent, &id, &document, &now.to_string())?;
            Ok(())
        })?;
        Ok(AuthorizedUserFile::new(email, &client_id, &client_secret, &refresh_token, &token_url(&url)))
    }

    /// Ends all refresh tokens of an account, and the access tokens that they gave. Says how many there were.
    pub fn revoke_refresh_tokens(&self, email: &str) -> Result<usize, ControlError> {
        self.change(|| {
            self.find(ACCOUNT, email)?;
            self.delete_refresh_tokens(email)
        })
    }

    fn delete_refresh_tokens(&self, email: &str) -> Result<usize, ControlError> {
        let all = self.refresh_tokens_of(email)?;
        for token in &all {
            self.resources.delete(REFRESH_TOKEN, &token.parent, &token.id)?;
        }
        Ok(all.len())
    }

    fn refresh_tokens_of(&self, email: &str) -> Result<Vec<Document>, ControlError> {
        let mut all = self.resources.list(REFRESH_TOKEN, None)?;
        all.retain(|document| document.json["account"] == email);
        Ok(all)
    }

    /// The instance that an account belongs to.
    pub fn account_instance(&self, email: &str) -> Result<InstanceId, ControlError> {
        Ok(self.find(ACCOUNT, email)?.parent.parse().map_err(anyhow::Error::from)?)
    }

    /// Accounts, without their keys.
    pub fn list_accounts(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        let mut counts: HashMap<String, u64> = HashMap::new();
        for token in self.resources.list(REFRESH_TOKEN, parent.as_deref())? {
            *counts.entry(token.json["account"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let show = |document: &Document| {
            let mut shown = show_account(document);
            shown["refresh_tokens"] = counts.get(&document.id).copied().unwrap_or_default().into();
            shown
        };
        Ok(self.resources.list(ACCOUNT, parent.as_deref())?.iter().map(show).collect())
    }

    fn prepare_account(
        &self,
        instance: InstanceId,
        project: &str,
        role: Role,
        name: &str,
    ) -> anyhow::Result<(AccountDocument, KeyFile)> {
        let short = &instance.to_string()[..8];
        // The project stands in an address, which has no room for more than letters, digits and dashes.
        let project: String = project.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').collect();
        let project = if project.is_empty() { "penstock" } else { &project };
        let email = format!("{name}@{project}-{short}.iam.gserviceaccount.com");
        let private =
            rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS).context("cannot make an RSA key")?;
        let public = private.to_public_key().to_pkcs1_der().context("cannot encode a public key")?;
        let pem = private.to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).context("cannot encode a private key")?;
        let key_id = hex::encode(random_bytes::<20>());
        let url = self.url()?;
        let key_file = KeyFile::new(project, &key_id, &pem, &email, &token_url(&url), instance);
        let keys = HashMap::from([(key_id, hex::encode(public.as_bytes()))]);
        Ok((AccountDocument { role, disabled: false, keys }, key_file))
    }

    fn find(&self, kind: &str, id: &str) -> Result<Document, ControlError> {
        let found = self.resources.list(kind, None)?.into_iter().find(|document| document.id == id);
        found.ok_or_else(|| ControlError::NotFound(format!("there is no {} {id:?}", kind.replace('_', " "))))
    }

    // API keys.

    /// Makes an API key; the only time that it is seen.
    pub fn create_key(&self, instance: InstanceId, role: Role, name: &str, now: Time) -> Result<Value, ControlError> {
        let parent = instance.to_string();
        shown_name("name", name)?;
        self.resources.get(INSTANCE, "", &parent)?;
        let key = format!("psk_{}", hex::encode(random_bytes::<24>()));
        let id = format!("key-{}", hex::encode(random_bytes::<6>()));
        let hash = hex::encode(SecretHash::of(&key).as_bytes());
        let document = ApiKeyDocument { name: name.to_owned(), role, hash, disabled: false };
        let document = serde_json::to_value(document).map_err(anyhow::Error::from)?;
        self.change(|| {
            let made = self.resources.create(API_KEY, &parent, &id, &document, &now.to_string())?;
            let mut shown = show_key(&made);
            shown["api_key"] = Value::String(key);
            Ok(shown)
        })
    }

    /// API keys, without their secrets.
    pub fn list_keys(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        Ok(self.resources.list(API_KEY, parent.as_deref())?.iter().map(show_key).collect())
    }

    /// The instance that an API key belongs to.
    pub fn key_instance(&self, id: &str) -> Result<InstanceId, ControlError> {
        Ok(self.find(API_KEY, id)?.parent.parse().map_err(anyhow::Error::from)?)
    }

    /// Ends an API key.
    pub fn delete_key(&self, id: &str) -> Result<(), ControlError> {
        self.change(|| {
            let found = self.find(API_KEY, id)?;
            Ok(self.resources.delete(API_KEY, &found.parent, id)?)
        })
    }

    // Log types.

    /// Declares a log type.
    pub fn add_log_type(
        &self,
        instance: InstanceId,
        log_type: &str,
        description: &str,
        now: Time,
    ) -> Result<Value, ControlError> {
        shown_name("description", description)?;
        let log_type = LogType::new(log_type, description).map_err(|error| ControlError::Invalid(error.to_string()))?;
        let parent = instance.to_string();
        self.resources.get(INSTANCE, "", &parent)?;
        if self.builtin.contains(&log_type.log_type) {
            return Err(ControlError::Exists(format!("{} is a built-in log type", log_type.log_type)));
        }
        self.change(|| {
            self.check_room_for_a_log_type(&parent)?;
            let document = json!({ "description": log_type.description });
            self.resources.create(LOG_TYPE, &parent, &log_type.log_type, &document, &now.to_string())?;
            Ok(json!({ "log_type": log_type.log_type, "description": log_type.description, "custom": true,
                       "instance": parent }))
        })
    }

    fn check_room_for_a_log_type(&self, instance: &str) -> Result<(), ControlError> {
        if self.resources.list(LOG_TYPE, Some(instance))?.len() < limits::CUSTOM_LOG_TYPES_MAX {
            return Ok(());
        }
        let message = format!(
            "the instance has {} log types of its own already, as many as can be",
            limits::CUSTOM_LOG_TYPES_MAX
        );
        Err(ControlError::Invalid(message))
    }

    /// Declared log types, of one instance or all.
    pub fn list_custom_log_types(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        let documents = self.resources.list(LOG_TYPE, parent.as_deref())?;
        Ok(documents
            .into_iter()
            .map(|document| {
                json!({ "log_type": document.id, "description": document.json["description"], "custom": true,
                        "instance": document.parent })
            })
            .collect())
    }

    /// The built-in log types, by name.
    pub fn builtin_log_types(&self) -> Vec<Value> {
        self.builtin
            .iter()
            .map(|(name, description)| json!({ "log_type": name, "description": description, "custom": false }))
            .collect()
    }

    // Connectors. What their documents mean is `deliver`'s business.

    /// Keeps a new connector, once `deliver` can read its document.
    pub fn create_connector(&self, document: &Value, now: Time) -> Result<Value, ControlError> {
        let config = deliver::ConnectorConfig::parse(document, &self.settings.schema)
            .map_err(|error| ControlError::Invalid(error.to_string()))?;
        let parent = config.id.instance.to_string();
        self.resources.get(INSTANCE, "", &parent)?;
        if let Some(function) = document["target"]["function"].as_str() {
            // One of another instance is as if it did not exist.
            self.get_oci(config.id.instance, dialects::oci::Kind::Function, None, function)
                .map_err(|refusal| ControlError::Invalid(format!("target.function: {}", refusal.message)))?;
        }
        self.change(|| {
            let made = self.resources.create(CONNECTOR, &parent, &config.id.name, document, &now.to_string())?;
            Ok(deliver::ConnectorConfig::shown(&made.json))
        })
    }

    /// Lets a connector run, or stops it.
    pub fn set_connector_state(
        &self,
        instance: InstanceId,
        name: &str,
        state: &str,
        now: Time,
    ) -> Result<Value, ControlError> {
        self.change(|| {
            let parent = instance.to_string();
            let found = self.resources.get(CONNECTOR, &parent, name)?;
            let mut json = found.json;
            json["state"] = Value::String(state.to_owned());
            let made = self.resources.update(CONNECTOR, &parent, name, &json, Some(found.etag), &now.to_string())?;
            Ok(deliver::ConnectorConfig::shown(&made.json))
        })
    }

    /// Deletes a connector.
    pub fn delete_connector(&self, instance: InstanceId, name: &str) -> Result<(), ControlError> {
        self.change(|| Ok(self.resources.delete(CONNECTOR, &instance.to_string(), name)?))
    }

    /// Documents of connectors, secrets included.
    pub fn connector_documents(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let parent = instance.map(|id| id.to_string());
        Ok(self.resources.list(CONNECTOR, parent.as_deref())?.into_iter().map(|document| document.json).collect())
    }

    /// The same with the service connectors of OCI, which are documents of another form and kind.
    pub fn all_connector_documents(&self, instance: Option<InstanceId>) -> Result<Vec<Value>, ControlError> {
        let mut documents = self.connector_documents(instance)?;
        let mut services = self.service_connectors()?;
        let wanted = instance.map(|instance| instance.to_string());
        services.retain(|document| wanted.is_none() || document["instance"].as_str() == wanted.as_deref());
        documents.append(&mut services);
        Ok(documents)
    }

    /// The connectors as `deliver` takes them.
    pub fn connectors(&self) -> Result<Vec<deliver::ConnectorConfig>, ControlError> {
        let documents = self.all_connector_documents(None)?;
        let parse = |document: &Value| {
            deliver::ConnectorConfig::parse(document, &self.settings.schema)
                .map_err(|error| ControlError::Failed(anyhow::anyhow!("a stored connector cannot be read: {error}")))
        };
        documents.iter().map(parse).collect()
    }
}

/// The token endpoint of a server.
fn token_url(url: &str) -> String {
    format!("{}/token", url.trim_end_matches('/'))
}

/// Writes a JSON document that only its owner may read.
pub fn write_json_private(path: &Path, document: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(document)?;
    text.push(b'\n');
    crate::state::write_private(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

fn known_instance(document: &Document, instances: &HashMap<InstanceId, Instance>) -> Option<InstanceId> {
    document.parent.parse().ok().filter(|id| instances.contains_key(id))
}

fn secret_hash(hexadecimal: &str) -> anyhow::Result<SecretHash> {
    let bytes: [u8; 32] = hex::decode(hexadecimal)?.try_into().ok().context("a stored hash has 32 bytes")?;
    Ok(SecretHash::from_bytes(bytes))
}

fn show_instance(document: &Document) -> Value {
    json!({
        "id": document.id,
        "name": document.json["name"],
        "project": document.json["project"],
        "location": document.json["location"],
        "created_at": document.created_at,
    })
}

fn show_account(document: &Document) -> Value {
    let keys: Vec<&String> = document.json["keys"].as_object().into_iter().flat_map(|keys| keys.keys()).collect();
    json!({
        "email": document.id,
        "instance": document.parent,
        "role": document.json["role"],
        "disabled": document.json["disabled"],
        "keys": keys,
        "created_at": document.created_at,
    })
}

fn show_key(document: &Document) -> Value {
    json!({
        "id": document.id,
        "name": document.json["name"],
        "instance": document.parent,
        "role": document.json["role"],
        "created_at": document.created_at,
    })
}

/// A text that will stand in tables and logs: short and without control characters.
fn shown_name(what: &str, text: &str) -> Result<(), ControlError> {
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        let message = format!("{what} has at most {NAME_CHARS_MAX} characters, no control characters among them");
        return Err(ControlError::Invalid(message));
    }
    Ok(())
}

fn account_name(name: &str) -> Result<&str, ControlError> {
    let fits = (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        Ok(name)
    } else {
        Err(ControlError::Invalid(format!("an account's name has 1 to 40 of a-z, 0-9 and -, unlike {name:?}")))
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut bytes)
        .expect("the operating system gives random bytes, or nothing on this machine can be kept secret");
    bytes
}
