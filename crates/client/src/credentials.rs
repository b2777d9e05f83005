//! Who the client is: key files, application-default credentials, the metadata server, plain tokens and API keys.
//!
//! Here they are found and read; `token.rs` turns them into access tokens. Absent on purpose: impersonation, workload
//! identity federation and user log-in; a file of such a kind is named as what it is.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dialects::auth::KeyFile;
use serde_json::Value;

use crate::error::CredentialsError;

/// Google's token endpoint, for files that name none.
const GOOGLE_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// The metadata server's name inside Google Cloud.
const METADATA_HOST: &str = "metadata.google.internal";

/// A credential. Cheap to clone; shows no secret.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) source: Source,
}

#[derive(Clone)]
pub(crate) enum Source {
    Bearer(Secret),
    ApiKey(Secret),
    ServiceAccount(Arc<ServiceAccount>),
    AuthorizedUser(Arc<AuthorizedUser>),
    Metadata(Metadata),
}

pub(crate) struct ServiceAccount {
    pub key: KeyFile,
}

pub(crate) struct AuthorizedUser {
    pub client_id: String,
    pub client_secret: Secret,
    pub refresh_token: Secret,
    pub token_uri: String,
    /// Whose quota the calls count on; Google wants it with a user's token.
    pub quota_project: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Metadata {
    pub host: String,
    /// Where else credentials were looked for; empty when the metadata server was asked for by name.
    pub looked: Vec<String>,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(pub String);

impl Credentials {
    /// The service account or user of a key file: the JSON that Google Cloud, or `penstock account create`, gave out.
    /// Tokens are asked for at the `token_uri` that it names.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds something else.
    pub fn file(path: impl AsRef<Path>) -> Result<Credentials, CredentialsError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| CredentialsError::Unreadable { path: path.to_owned(), cause })?;
        read(&text, &path.display().to_string())
    }

    /// The same from the file's text, for keys that come from a secret store.
    ///
    /// # Errors
    ///
    /// The text is something else.
    pub fn json(text: &str) -> Result<Credentials, CredentialsError> {
        read(text, "the text")
    }

    /// An access token that was obtained elsewhere, or Penstock's operator token. It is never renewed.
    pub fn bearer(token: impl Into<String>) -> Credentials {
        Credentials { source: Source::Bearer(Secret(token.into())) }
    }

    /// An API key. It goes in the header `X-Goog-Api-Key`, not in the URL, which proxies write down.
    pub fn api_key(key: impl Into<String>) -> Credentials {
        Credentials { source: Source::ApiKey(Secret(key.into())) }
    }

    /// The account of the machine, from the metadata server of Google Cloud, or the one at `host` (`HOST[:PORT]`).
    pub fn metadata_server(host: Option<&str>) -> Credentials {
        let host = host.unwrap_or(METADATA_HOST).to_owned();
        Credentials { source: Source::Metadata(Metadata { host, looked: Vec::new() }) }
    }

    /// Application-default credentials, found as Google's own libraries do: the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names; what `gcloud auth application-default login` left; the metadata server
    /// (`GCE_METADATA_HOST`, `GCE_METADATA_IP`, else Google Cloud's).
    ///
    /// # Errors
    ///
    /// A file is there but cannot be used. That nothing is found shows at the first call, since only asking can tell
    /// whether there is a metadata server.
    pub fn application_default() -> Result<Credentials, CredentialsError> {
        Credentials::application_default_in(&|name| std::env::var_os(name))
    }

    /// The same in another environment: `env` gives the value of a variable.
    ///
    /// # Errors
    ///
    /// As [`Credentials::application_default`].
    pub fn application_default_in(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Credentials, CredentialsError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        if let Some(path) = env("GOOGLE_APPLICATION_CREDENTIALS") {
            return Credentials::file(PathBuf::from(path));
        }
        let mut looked = vec!["GOOGLE_APPLICATION_CREDENTIALS is not set".to_owned()];

        // Where gcloud keeps its settings: named, else its place on Windows, else the one on all other systems.
        let gcloud = env("CLOUDSDK_CONFIG")
            .map(PathBuf::from)
            .or_else(|| env("APPDATA").map(|appdata| PathBuf::from(appdata).join("gcloud")))
            .or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".config/gcloud")));
        if let Some(gcloud) = gcloud {
            let path = gcloud.join("application_default_credentials.json");
            if path.exists() {
                return Credentials::file(path);
            }
            looked.push(format!("{} does not exist", path.display()));
        }

        let text = |name| env(name).and_then(|value| value.into_string().ok());
        match text("GCE_METADATA_HOST").or_else(|| text("GCE_METADATA_IP")) {
            Some(host) => Ok(Credentials::metadata_server(Some(&host))),
            None => {
                let metadata = Metadata { host: METADATA_HOST.to_owned(), looked };
                Ok(Credentials { source: Source::Metadata(metadata) })
            }
        }
    }

    /// The instance that the key file names. Penstock's key files do, Google's do not.
    pub fn customer_id(&self) -> Option<String> {
        match &self.source {
            Source::ServiceAccount(account) => account.key.customer_id.map(|id| id.to_string()),
            _ => None,
        }
    }

    /// The project that the key file names.
    pub fn project_id(&self) -> Option<&str> {
        match &self.source {
            Source::ServiceAccount(account) => Some(account.key.project_id.as_str()).filter(|id| !id.is_empty()),
            Source::AuthorizedUser(user) => user.quota_project.as_deref(),
            _ => None,
        }
    }

    /// The account's address, or what kind of credential it is: for messages.
    pub fn account(&self) -> &str {
        match &self.source {
            Source::Bearer(_) => "the given token",
            Source::ApiKey(_) => "the given API key",
            Source::ServiceAccount(account) => &account.key.client_email,
            Source::AuthorizedUser(_) => "the logged-in user",
            Source::Metadata(_) => "the machine's account",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.account()).finish()
    }
}

fn read(text: &str, origin: &str) -> Result<Credentials, CredentialsError> {
    let malformed = |why: String| CredentialsError::Malformed { origin: origin.to_owned(), why };
    let json: Value = serde_json::from_str(text).map_err(|error| {
        // Where, not what: an error's text may quote the secret.
        malformed(format!("it is not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let optional = |name: &str| json[name].as_str().map(str::to_owned).filter(|value| !value.is_empty());
    let required =
        |name: &str| optional(name).ok_or_else(|| malformed(format!("its field {name} is missing or not a text")));
    let token_uri = optional("token_uri").unwrap_or_else(|| GOOGLE_TOKEN_URI.to_owned());
    match required("type")?.as_str() {
        "service_account" => {
            // Only these fields matter for a token; the others may be missing, as Google's libraries have it.
            let key = KeyFile {
                kind: "service_account".to_owned(),
                project_id: optional("project_id").unwrap_or_default(),
                private_key_id: optional("private_key_id").unwrap_or_default(),
                private_key: required("private_key")?,
                client_email: required("client_email")?,
                client_id: String::new(),
                auth_uri: String::new(),
                token_uri,
                auth_provider_x509_cert_url: String::new(),
                client_x509_cert_url: String::new(),
                universe_domain: String::new(),
                customer_id: optional("customer_id").and_then(|id| id.parse().ok()),
            };
            Ok(Credentials { source: Source::ServiceAccount(Arc::new(ServiceAccount { key })) })
        }
        "authorized_user" => {
            let user = AuthorizedUser {
                client_id: required("client_id")?,
                client_secret: Secret(required("client_secret")?),
                refresh_token: Secret(required("refresh_token")?),
                token_uri,
                quota_project: optional("quota_project_id"),
            };
            Ok(Credentials { source: Source::AuthorizedUser(Arc::new(user)) })
        }
        kind @ ("external_account" | "external_account_authorized_user" | "impersonated_service_account") => {
            Err(malformed(format!(
                "credentials of type {kind} are not supported; use a service account's key file, or a token with \
                 Credentials::bearer"
            )))
        }
        kind => Err(malformed(format!("its type {kind:?} is neither service_account nor authorized_user"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_decides_or_is_named() {
        let cases = [
            (r#"{"type":"service_account","client_email":"a@b","private_key":"SECRET"}"#, Ok("a@b")),
            (
                r#"{"type":"authorized_user","client_id":"i","client_secret":"SECRET","refresh_token":"SECRET"}"#,
                Ok("the logged-in user"),
            ),
            (r#"{"type":"service_account","private_key":"SECRET"}"#, Err("client_email is missing")),
            (r#"{"type":"service_account","client_email":"a@b","private_key":7}"#, Err("private_key is missing")),
            (r#"{"type":"authorized_user","client_id":"SECRET"}"#, Err("client_secret is missing")),
            (r#"{"type":"external_account"}"#, Err("external_account are not supported")),
            (r#"{"type":"SECRETx"}"#, Err("neither service_account nor authorized_user")),
            (r#"{"installed":{}}"#, Err("type is missing")),
            (r#"{"private_key":"SECRET"#, Err("it is not JSON (line 1")),
        ];
        for (text, expected) in cases {
            match (Credentials::json(text), expected) {
                (Ok(credentials), Ok(account)) => {
                    assert_eq!(credentials.account(), account);
                    let shown = format!("{credentials:?}");
                    assert!(!shown.contains("SECRET"), "{shown}");
                }
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{text}: {error}");
                    assert!(part.contains("neither") || !format!("{error} {error:?}").contains("SECRET"), "{error}");
                }
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
        for secret in [Credentials::bearer("SECRET"), Credentials::api_key("SECRET")] {
            assert!(!format!("{secret:?}").contains("SECRET"));
        }
    }

    #[test]
    fn application_default_credentials_are_looked_for_in_googles_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).into_os_string();
        let user = r#"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#;
        let account = r#"{"type":"service_account","client_email":"a@b","private_key":"k"}"#;
        std::fs::write(path("key.json"), account).unwrap();
        for folder in ["home/.config/gcloud", "config"] {
            std::fs::create_dir_all(path(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("application_default_credentials.json"), user).unwrap();
        }

        let check = |variables: &[(&str, OsString)], expected: &str| {
            let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
            let found = match Credentials::application_default_in(&env) {
                Ok(Credentials { source: Source::Metadata(metadata) }) => {
                    format!("metadata {} after {}", metadata.host, metadata.looked.len())
                }
                Ok(credentials) => credentials.account().to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{variables:?}: {found}, expected {expected}");
        };
        let key = ("GOOGLE_APPLICATION_CREDENTIALS", path("key.json"));
        let home = ("HOME", path("home"));
        let host = ("GCE_METADATA_HOST", OsString::from("127.0.0.1:1"));
        check(&[key, home.clone(), host.clone()], "a@b");
        check(&[home.clone(), host.clone()], "the logged-in user");
        check(&[("CLOUDSDK_CONFIG", path("config")), ("HOME", path("none"))], "the logged-in user");
        check(&[("GOOGLE_APPLICATION_CREDENTIALS", path("none.json")), home], "cannot read the credentials");
        check(&[("HOME", path("none")), host], "metadata 127.0.0.1:1 after 0");
        check(&[("GCE_METADATA_IP", "10.0.0.1".into())], "metadata 10.0.0.1 after 0");
        check(&[("GOOGLE_APPLICATION_CREDENTIALS", "".into())], "metadata metadata.google.internal after 1");
        check(&[("HOME", path("none"))], "metadata metadata.google.internal after 2");
    }
}
