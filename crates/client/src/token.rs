//! Access tokens: got when first needed, kept until shortly before they expire, forgotten when the receiver answers 401.
//!
//! One request for a token at a time: callers that need one meanwhile wait for it. A token that still works is used on
//! when no new one can be had for now.

use std::fmt;
use std::time::Duration;

use dialects::auth::sign_assertion;
use event::Time;
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::credentials::{AuthorizedUser, Credentials, Metadata, ServiceAccount, Source};
use crate::error::{CredentialsError, Error};
use crate::reply::Reply;
use crate::retry::Repeat;
use crate::wire::{Failure, Outgoing, Wire};

const FORM: &str = "application/x-www-form-urlencoded";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");
const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
/// The metadata server is next door or not there at all.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// How long before its end a token is replaced: as long as Google's libraries take (3 min 45 s), so that a request that
/// is sent now arrives with a good one.
const RENEW_BEFORE: Duration = Duration::from_secs(225);
/// The lifetime of a token whose reply names none.
const LIFETIME: Duration = Duration::from_secs(300);

/// The credential in use and its current token.
pub(crate) struct Tokens {
    credentials: Credentials,
    scope: String,
    current: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Time,
    expires_at: Time,
}

impl Tokens {
    pub(crate) fn new(credentials: Credentials, scope: String) -> Tokens {
        Tokens { credentials, scope, current: Mutex::new(None) }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The headers that say who we are, made or fetched as needed.
    pub(crate) async fn headers(&self, wire: &Wire) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let mut headers = Vec::with_capacity(2);
        match &self.credentials.source {
            Source::ApiKey(key) => headers.push((API_KEY, self.secret(&key.0)?)),
            Source::Bearer(token) => headers.push((AUTHORIZATION, self.secret(&format!("Bearer {}", token.0))?)),
            Source::ServiceAccount(_) | Source::AuthorizedUser(_) | Source::Metadata(_) => {
                headers.push((AUTHORIZATION, self.token(wire).await?));
            }
        }
        if let Source::AuthorizedUser(user) = &self.credentials.source
            && let Some(project) = &user.quota_project
        {
            headers.push((QUOTA_PROJECT, self.secret(project)?));
        }
        Ok(headers)
    }

    /// Forgets the token of these headers, which the receiver did not accept. Whether another can be had. A token that
    /// somebody else has replaced meanwhile stays.
    pub(crate) async fn forget(&self, headers: &[(HeaderName, HeaderValue)]) -> bool {
        if matches!(self.credentials.source, Source::ApiKey(_) | Source::Bearer(_)) {
            return false;
        }
        let mut current = self.current.lock().await;
        let is_current =
            |token: &Token| headers.iter().any(|(name, value)| *name == AUTHORIZATION && *value == token.header);
        if current.as_ref().is_some_and(is_current) {
            *current = None;
        }
        true
    }

    async fn token(&self, wire: &Wire) -> Result<HeaderValue, Error> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref()
            && wire.clock.now() < token.renew_at
        {
            return Ok(token.header.clone());
        }
        match self.fetch(wire).await {
            Ok(token) => Ok(current.insert(token).header.clone()),
            Err(error) => match current.as_ref() {
                Some(token) if error.is_transient() && wire.clock.now() < token.expires_at => Ok(token.header.clone()),
                _ => Err(error),
            },
        }
    }

    async fn fetch(&self, wire: &Wire) -> Result<Token, Error> {
        let asked_at = wire.clock.now();
        let reply = match &self.credentials.source {
            Source::ServiceAccount(account) => self.for_assertion(wire, account).await?,
            Source::AuthorizedUser(user) => self.for_refresh_token(wire, user).await?,
            Source::Metadata(metadata) => self.for_machine(wire, metadata).await?,
            Source::ApiKey(_) | Source::Bearer(_) => unreachable!("these need no token"),
        };
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(token) = json["access_token"].as_str().filter(|token| !token.is_empty()) else {
            // Its text stays untold: it may hold a token under another name.
            let why = "a token endpoint's reply has no access_token".to_owned();
            return Err(Error::UnexpectedReply { status: reply.status, why });
        };
        let lifetime = match &json["expires_in"] {
            Value::Number(secs) => secs.as_u64(),
            Value::String(secs) => secs.parse().ok(),
            _ => None,
        };
        let lifetime = lifetime.map_or(LIFETIME, Duration::from_secs);
        let after = |wait: Duration| asked_at.saturating_add_nanos(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        Ok(Token {
            header: self.secret(&format!("Bearer {token}"))?,
            // A short-lived token is used for three quarters of its life.
            renew_at: after(lifetime - RENEW_BEFORE.min(lifetime / 4)),
            expires_at: after(lifetime),
        })
    }

    async fn for_assertion(&self, wire: &Wire, account: &ServiceAccount) -> Result<Reply, Error> {
        let key = &account.key;
        let url = &key.token_uri;
        let mut patience = wire.patience(Repeat::Harmless);
        loop {
            // Signed anew at each attempt: it says when it was made, and a wait may outlast it.
            let assertion = sign_assertion(key, url, &self.scope, wire.clock.now())
                .map_err(|cause| CredentialsError::Key { account: key.client_email.clone(), cause })?;
            let form = form(&[("grant_type", JWT_BEARER), ("assertion", &assertion)]);
            let outgoing = Outgoing::new(Method::POST, url.clone(), Repeat::Harmless).with_body(FORM, form);
            match wire.attempt(&outgoing).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => patience.outlast(self.judge(url, failure)?).await?,
            }
        }
    }

    async fn for_refresh_token(&self, wire: &Wire, user: &AuthorizedUser) -> Result<Reply, Error> {
        let url = &user.token_uri;
        let form = form(&[
            ("grant_type", "refresh_token"),
            ("client_id", &user.client_id),
            ("client_secret", &user.client_secret.0),
            ("refresh_token", &user.refresh_token.0),
        ]);
        let outgoing = Outgoing::new(Method::POST, url.clone(), Repeat::Harmless).with_body(FORM, form);
        let mut patience = wire.patience(Repeat::Harmless);
        loop {
            match wire.attempt(&outgoing).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => patience.outlast(self.judge(url, failure)?).await?,
            }
        }
    }

    async fn for_machine(&self, wire: &Wire, metadata: &Metadata) -> Result<Reply, Error> {
        let query = form(&[("scopes", &self.scope)]);
        let url =
            format!("http://{}/computeMetadata/v1/instance/service-accounts/default/token?{query}", metadata.host);
        let google = HeaderValue::from_static("Google");
        let outgoing =
            Outgoing::new(Method::GET, url.clone(), Repeat::Harmless).with_header(METADATA_FLAVOR, google.clone());
        let mut patience = wire.patience(Repeat::Harmless);
        loop {
            match wire.attempt_direct(&outgoing, METADATA_TIMEOUT).await {
                // What does not say this is no metadata server, and what it gives no token.
                Ok(reply) if reply.headers.get(METADATA_FLAVOR) != Some(&google) => {
                    let why = "its reply lacks the header Metadata-Flavor: Google".to_owned();
                    return Err(CredentialsError::Metadata { host: metadata.host.clone(), why }.into());
                }
                Ok(reply) => return Ok(reply),
                // Nobody asked for this server by name: that it is not there means that there are no credentials.
                Err(Failure::Network { .. }) if !metadata.looked.is_empty() => {
                    let mut looked = metadata.looked.clone();
                    looked.push(format!("there is no metadata server at {}", metadata.host));
                    return Err(CredentialsError::Absent { looked }.into());
                }
                Err(Failure::Status(reply)) if (400..500).contains(&reply.status) && reply.status != 429 => {
                    let why = reply.refusal().to_string();
                    return Err(CredentialsError::Metadata { host: metadata.host.clone(), why }.into());
                }
                Err(failure) => patience.outlast(failure).await?,
            }
        }
    }

    /// A failure that time may heal, or what the token endpoint has against the credential.
    fn judge(&self, url: &str, failure: Failure) -> Result<Failure, CredentialsError> {
        let Failure::Status(reply) = failure else { return Ok(failure) };
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let error = json["error"].as_str().unwrap_or_default();
        let is_final = (400..500).contains(&reply.status) && !matches!(reply.status, 408 | 429);
        // OAuth 2 endpoints answer 400 with these when it is not the asker's fault.
        let is_theirs = matches!(error, "server_error" | "temporarily_unavailable" | "internal_failure");
        match (is_final, is_theirs || reply.status == 408) {
            (_, true) => Ok(Failure::Status(Reply { status: 503, ..reply })),
            (false, false) => Ok(Failure::Status(reply)),
            (true, false) => Err(CredentialsError::NoToken {
                url: url.to_owned(),
                account: self.credentials.account().to_owned(),
                error: if error.is_empty() { format!("status {}", reply.status) } else { error.to_owned() },
                description: json["error_description"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    fn secret(&self, text: &str) -> Result<HeaderValue, CredentialsError> {
        let mut value = HeaderValue::from_str(text).map_err(|_| CredentialsError::Malformed {
            origin: self.credentials.account().to_owned(),
            why: "it has characters that no header can hold, such as a line break".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
