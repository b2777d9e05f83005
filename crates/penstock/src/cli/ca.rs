//! `penstock ca`: the certificate that programs must trust to come in through the googleapis listener.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::output::{Format, say};
use super::{CliError, Client, Remote};
use crate::{ca, serve};

/// Asks the running server, or looks into a data directory that no server runs on.
pub async fn run(remote: &Remote, out: Option<&Path>) -> Result<(), CliError> {
    let by_server = match Client::connect(remote) {
        Ok(client) => client.call(Method::GET, "/api/ca", None).await,
        Err(error) => Err(error),
    };
    let shown = match (by_server, &remote.data) {
        (Ok(shown), _) => shown,
        (Err(CliError::Unreachable(_)), Some(data)) => offline(data)?,
        (Err(error), _) => return Err(error),
    };
    let pem = shown["certificate"].as_str().unwrap_or_default();
    match (out, remote.output) {
        (Some(out), format) => {
            std::fs::write(out, pem)
                .map_err(|error| CliError::Refused(format!("cannot write {}: {error}", out.display())))?;
            format.remark(&format!(
                "Wrote the certificate to {}. Programs take it as REQUESTS_CA_BUNDLE.",
                out.display()
            ));
        }
        (None, Format::Table) => say(pem.trim_end()),
        (None, format) => format.one(&shown),
    }
    Ok(())
}

fn offline(data: &Path) -> Result<Value, CliError> {
    match ca::open(data, serve::now())? {
        Some(authority) => Ok(json!({
            "certificate": authority.certificate_pem(),
            "expires_at": authority.expires_at().to_string(),
        })),
        None => Err(CliError::Refused(format!(
            "{} has no certificate authority; it is made when a server starts there with [listen.googleapis]",
            data.display()
        ))),
    }
}
