//! How the bench gets in: a Google key file turned into an access token by the JWT-bearer grant, an API key, or the
//! operator's token. What sends, and what looks, may be different credentials: senders need no right to search.

use std::path::Path;

use anyhow::{Context as _, bail};
use dialects::auth::{KeyFile, sign_assertion};
use serde::Deserialize;

use super::Target;
use super::load::now;
use super::wire::{Connection, Endpoint};

/// The scope that the Chronicle Ingestion API asks for.
const SCOPE: &str = "https://www.googleapis.com/auth/malachite-ingestion";

/// The credentials of one run.
#[derive(Debug, Clone)]
pub struct Access {
    /// Value of `Authorization` for intake, unless an API key is used.
    pub intake: Option<String>,
    /// What to add to the intake's path: `?key=…` or nothing.
    pub intake_query: String,
    /// Value of `Authorization` for status and search.
    pub operator: Option<String>,
    /// The instance that the key file names, to stand in every body.
    pub customer_id: Option<String>,
}

/// An intake of Sekoia's kind to send by.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Its key.
    pub key: String,
    /// Its id, where it was made for this run and goes with it.
    id: Option<String>,
}

impl Intake {
    /// One that is there.
    pub fn of_key(key: &str) -> Intake {
        Intake { key: key.to_owned(), id: None }
    }

    /// A new one for this log type, in the instance that the key file names.
    pub async fn make(endpoint: &Endpoint, access: &Access, log_type: &str) -> anyhow::Result<Intake> {
        let operator = access.operator.as_deref();
        let instance = &access.customer_id;
        let body = serde_json::json!({ "instance": instance, "name": "bench", "format": log_type }).to_string();
        let mut request = endpoint.head("POST", "/api/intakes", operator, false, body.len());
        request.push_str(&body);
        let answer = Connection::open(endpoint).await?.exchange(request.as_bytes()).await?;
        let made: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
        let text = |name: &str| made.as_ref().and_then(|made| made[name].as_str()).map(str::to_owned);
        match (text("intake_key"), text("id")) {
            (Some(key), id) if answer.status == 200 => Ok(Intake { key, id }),
            _ => bail!("no intake could be made: status {}: {}", answer.status, answer.excerpt()),
        }
    }

    /// Removes it, if it was made for this run.
    pub async fn remove(self, endpoint: &Endpoint, operator: Option<&str>) -> anyhow::Result<()> {
        let Some(id) = self.id else { return Ok(()) };
        let request = endpoint.head("DELETE", &format!("/api/intakes/{id}"), operator, false, 0);
        let answer = Connection::open(endpoint).await?.exchange(request.as_bytes()).await?;
        if answer.status != 200 {
            bail!("the intake {id} is left behind: status {}: {}", answer.status, answer.excerpt());
        }
        Ok(())
    }

    /// Value of `Authorization` that names it.
    pub fn basic(&self) -> String {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("bench:{}", self.key)))
    }
}

#[derive(Debug, Deserialize)]
struct Granted {
    access_token: String,
}

impl Access {
    /// Makes the most of what the command line gave: the key file goes before the API key, and that before the
    /// operator's token.
    pub async fn obtain(target: &Target) -> anyhow::Result<Access> {
        let operator = target.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut access = Access { intake: operator.clone(), intake_query: String::new(), operator, customer_id: None };
        if let Some(path) = &target.key_file {
            let file = read_key_file(path)?;
            let token = grant(&file).await.with_context(|| format!("no access token from {}", file.token_uri))?;
            access.intake = Some(format!("Bearer {token}"));
            access.customer_id = file.customer_id.map(|id| id.to_string());
        } else if let Some(key) = &target.api_key {
            access.intake = None;
            access.intake_query = format!("?key={key}");
        } else if target.token.is_none() {
            bail!("bench needs a key file, an API key or the operator's token to send with");
        }
        Ok(access)
    }
}

fn read_key_file(path: &Path) -> anyhow::Result<KeyFile> {
    let text = std::fs::read(path).with_context(|| format!("cannot read the key file {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no key file in Google's format", path.display()))
}

async fn grant(file: &KeyFile) -> anyhow::Result<String> {
    let path_at = file.token_uri.find("://").map_or(0, |at| at + 3);
    let path_at = file.token_uri[path_at..].find('/').map_or(file.token_uri.len(), |at| path_at + at);
    let (origin, path) = file.token_uri.split_at(path_at);
    let endpoint = Endpoint::parse(origin)?;
    let assertion = sign_assertion(file, &file.token_uri, SCOPE, now())?;
    // The assertion is base64url with dots, so that a form needs no escapes for it.
    let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let path = if path.is_empty() { "/" } else { path };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
         \r\n{form}",
        endpoint.authority,
        form.len()
    );
    let answer = Connection::open(&endpoint).await?.exchange(request.as_bytes()).await?;
    if answer.status != 200 {
        bail!("status {}: {}", answer.status, answer.excerpt());
    }
    let granted: Granted = serde_json::from_slice(&answer.body).context("the grant is not in the form of OAuth2")?;
    Ok(granted.access_token)
}
