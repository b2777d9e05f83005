//! A service account's key file in Google's format, and signing with it: the client side, which our own commands and
//! tests use, and the form in which `account create` hands a key out so that Google's libraries take it unchanged. Beside
//! it the other file that they take, `authorized_user` with a refresh token, which `account adc` hands out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use event::{InstanceId, Time, limits};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

/// The fields of Google's key files, and `customer_id`, which Google sends by mail.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyFile {
    /// Always `service_account`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The Google Cloud project, or a name in its place.
    pub project_id: String,
    /// The key's id, sent as the JWT's `kid`.
    pub private_key_id: String,
    /// RSA, PKCS#8, PEM. A secret.
    pub private_key: String,
    /// The account.
    pub client_email: String,
    /// A number that Google's libraries want to be there.
    pub client_id: String,
    /// Never used by service accounts; Google's files have it.
    pub auth_uri: String,
    /// Where to turn assertions into access tokens: ours.
    pub token_uri: String,
    /// Never used by service accounts; Google's files have it.
    pub auth_provider_x509_cert_url: String,
    /// Never used by service accounts; Google's files have it.
    pub client_x509_cert_url: String,
    /// Always `googleapis.com`.
    #[serde(default = "googleapis", skip_serializing_if = "String::is_empty")]
    pub universe_domain: String,
    /// The instance that the account belongs to. Google's own files lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<InstanceId>,
}

fn googleapis() -> String {
    "googleapis.com".to_owned()
}

impl KeyFile {
    /// A key file with the fields that differ; the others as Google's have them.
    pub fn new(
        project_id: &str,
        private_key_id: &str,
        private_key_pkcs8_pem: &str,
        client_email: &str,
        token_uri: &str,
        customer_id: InstanceId,
    ) -> KeyFile {
        KeyFile {
            kind: "service_account".to_owned(),
            project_id: project_id.to_owned(),
            private_key_id: private_key_id.to_owned(),
            private_key: private_key_pkcs8_pem.to_owned(),
            client_email: client_email.to_owned(),
            // 21 digits as Google's have; derived, so that the same account keeps the same number.
            client_id: format!("1{:020}", customer_id.uuid().as_u128() % 100_000_000_000_000_000_000),
            auth_uri: "https://accounts.google.com/o/oauth2/auth".to_owned(),
            token_uri: token_uri.to_owned(),
            auth_provider_x509_cert_url: "https://www.googleapis.com/oauth2/v1/certs".to_owned(),
            client_x509_cert_url: format!(
                "https://www.googleapis.com/robot/v1/metadata/x509/{}",
                client_email.replace('@', "%40")
            ),
            universe_domain: googleapis(),
            customer_id: Some(customer_id),
        }
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile")
            .field("client_email", &self.client_email)
            .field("private_key_id", &self.private_key_id)
            .finish_non_exhaustive()
    }
}

/// The fields of Google's `authorized_user` files, as application-default credentials name a person's login. Here a refresh
/// token stands for a service account.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuthorizedUserFile {
    /// Always `authorized_user`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The account's e-mail address.
    pub account: String,
    /// Sent with the refresh token.
    pub client_id: String,
    /// Sent with the refresh token. A secret.
    pub client_secret: String,
    /// The refresh token. A secret.
    pub refresh_token: String,
    /// Our token endpoint. google-auth asks Google's whatever stands here; others follow it.
    pub token_uri: String,
    /// Always `googleapis.com`.
    pub universe_domain: String,
}

impl AuthorizedUserFile {
    /// The file of a refresh token.
    pub fn new(
        account: &str,
        client_id: &str,
        client_secret: &str,
        refresh_token: &str,
        token_uri: &str,
    ) -> AuthorizedUserFile {
        AuthorizedUserFile {
            kind: "authorized_user".to_owned(),
            account: account.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            refresh_token: refresh_token.to_owned(),
            token_uri: token_uri.to_owned(),
            universe_domain: googleapis(),
        }
    }
}

impl std::fmt::Debug for AuthorizedUserFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizedUserFile")
            .field("account", &self.account)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a key file cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// `private_key` is not PEM.
    #[error("private_key is not a PEM text that begins with -----BEGIN PRIVATE KEY-----")]
    Pem,
    /// It is PEM, but of no RSA key in PKCS#8 that can be used.
    #[error("private_key is no RSA key in PKCS#8 of 2048 bits or more")]
    Key,
}

/// A JWT-bearer assertion for the token endpoint `aud`, asking for `scope` (space-separated URLs), good for an hour.
pub fn sign_assertion(key_file: &KeyFile, aud: &str, scope: &str, now: Time) -> Result<String, KeyFileError> {
    let claims = serde_json::json!({
        "iss": key_file.client_email,
        "aud": aud,
        "scope": scope,
        "iat": now.secs(),
        "exp": now.secs() + limits::ASSERTION_SECS_MAX,
    });
    sign(key_file, &claims)
}

/// A JWT that is a bearer token by itself, asking for `scope`, good for an hour.
pub fn sign_bearer(key_file: &KeyFile, scope: &str, now: Time) -> Result<String, KeyFileError> {
    let claims = serde_json::json!({
        "iss": key_file.client_email,
        "sub": key_file.client_email,
        "scope": scope,
        "iat": now.secs(),
        "exp": now.secs() + limits::ASSERTION_SECS_MAX,
    });
    sign(key_file, &claims)
}

fn sign(key_file: &KeyFile, claims: &serde_json::Value) -> Result<String, KeyFileError> {
    let header = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": key_file.private_key_id});
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let pair = RsaKeyPair::from_pkcs8(&pem_to_der(&key_file.private_key)?).map_err(|_| KeyFileError::Key)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    // PKCS#1 v1.5 signatures hold no random bits; ring only asks for a source in case a padding wants one.
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| KeyFileError::Key)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn pem_to_der(pem: &str) -> Result<Vec<u8>, KeyFileError> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").ok_or(KeyFileError::Pem)?;
    let (base64, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or(KeyFileError::Pem)?;
    let base64: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(base64).map_err(|_| KeyFileError::Pem)
}
