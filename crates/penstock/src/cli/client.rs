//! How commands speak to the server: where it is, with which token, and what its refusals mean for the exit status.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use super::Remote;
use super::output::Format;
use crate::state;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Refused, or not found: exit status 1.
    #[error("{0}")]
    Refused(String),
    /// Wrong usage: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// No server answered: exit status 3.
    #[error("{0}")]
    Unreachable(String),
}

impl CliError {
    /// The exit status that design and help text promise.
    pub fn exit_status(&self) -> u8 {
        match self {
            CliError::Refused(_) => 1,
            CliError::Usage(_) => 2,
            CliError::Unreachable(_) => 3,
        }
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> CliError {
        CliError::Refused(format!("{error:#}"))
    }
}

/// A way to the server.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    /// Where a token was looked for, for the text of a 401.
    token_from: String,
    /// What the user wants to see.
    pub format: Format,
}

/// Requests other than searches answer at once; a server that does not is as good as away.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// Finds the token; does not connect yet.
    pub fn connect(remote: &Remote) -> Result<Client, CliError> {
        let base = remote.server.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(CliError::Usage(format!(
                "--server is {base:?}: it begins with http:// or https://, such as http://127.0.0.1:8480"
            )));
        }
        let (token, token_from) = find_token(remote, &base)?;
        Ok(Client { http: http_client()?, base, token, token_from, format: remote.output })
    }

    /// The server's address without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The operator token, where one was found.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Where the token came from, or where one was looked for.
    pub fn token_from(&self) -> &str {
        &self.token_from
    }

    /// The HTTP client itself, for what is not our own API.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Asks our own API; the answer's JSON, or its refusal as an error.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let response = self.send(method, path, body, Some(TIMEOUT)).await?;
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_str(&text).map_err(|_| {
            CliError::Refused(format!("{}{path} answered something that is no JSON: {}", self.base, clip(&text)))
        })
    }

    /// Asks our own API for a stream; the response once its status says yes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        timeout: Option<Duration>,
    ) -> Result<reqwest::Response, CliError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        self.yes(request).await
    }

    /// A request with our token, for what is not our own API.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The response to a request, whatever its status.
    pub async fn answer(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CliError> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// The response to a request, once its status says yes.
    pub async fn yes(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CliError> {
        let response = self.answer(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        Err(self.refused(status, &text))
    }

    /// The error of a server that did not answer.
    pub fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            why = cause.to_string();
            source = cause.source();
        }
        CliError::Unreachable(format!(
            "no server answers at {}: {why}\nStart one with `penstock serve`, or name another with --server.",
            self.base
        ))
    }

    /// The error of an answer whose status says no.
    pub fn refused(&self, status: StatusCode, text: &str) -> CliError {
        let parsed: Option<Value> = serde_json::from_str(text).ok();
        let message = parsed
            .as_ref()
            .and_then(|value| value.pointer("/error/message").or_else(|| value.pointer("/message")))
            .and_then(Value::as_str)
            .map_or_else(|| clip(text), str::to_owned);
        if status == StatusCode::UNAUTHORIZED {
            return CliError::Refused(format!(
                "{message}\nToken used: {}. Give one with --token or PENSTOCK_TOKEN, or name the server's data directory \
                 with --data.",
                self.token_from
            ));
        }
        CliError::Refused(message)
    }
}

/// Hands each line of an answer to `each` as it comes. One without its end is the rest of an answer that broke off.
pub async fn lines(
    response: &mut reqwest::Response,
    mut each: impl FnMut(&[u8]) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let broke_off = |error| CliError::Refused(format!("the server's answer broke off: {error}"));
    let mut pending = Vec::<u8>::new();
    while let Some(chunk) = response.chunk().await.map_err(broke_off)? {
        pending.extend_from_slice(&chunk);
        let mut from = 0;
        while let Some(end) = pending[from..].iter().position(|byte| *byte == b'\n') {
            each(&pending[from..from + end])?;
            from += end + 1;
        }
        pending.drain(..from);
    }
    Ok(())
}

/// A client for plain HTTP and HTTPS that never follows a redirect with our token.
pub fn http_client() -> Result<reqwest::Client, CliError> {
    // The process's choice of TLS; a second call, as after `serve` in tests, changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| CliError::Refused(format!("cannot make an HTTP client: {error}")))
}

/// `--token`, `--data`, then the file that a server on this machine left for its own user.
fn find_token(remote: &Remote, base: &str) -> Result<(Option<String>, String), CliError> {
    if let Some(token) = &remote.token {
        return Ok((Some(token.clone()), "the one given with --token or PENSTOCK_TOKEN".to_owned()));
    }
    if let Some(data) = &remote.data {
        let path = data.join("keys/operator.token");
        return match read_token(&path) {
            Ok(token) => Ok((Some(token), path.display().to_string())),
            Err(error) => Err(CliError::Refused(format!("cannot read {}: {error}", path.display()))),
        };
    }
    let mut looked = Vec::<PathBuf>::new();
    if let Some(path) = state::token_file_for(base) {
        if let Ok(token) = read_token(&path) {
            return Ok((Some(token), path.display().to_string()));
        }
        looked.push(path);
    }
    let looked = looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Ok((None, format!("none (looked at {looked})")))
}

fn read_token(path: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}
