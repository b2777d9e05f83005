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
