//! Where the commands of the Chronicle API go: to our own server, or, only when asked by name, to Google.
//!
//! `log`, `entity`, `forwarder` and `feed` have the verbs and flags of Google's `secops` command and speak through the
//! client library, as any sender would. Logs must not reach the wrong receiver by a slip, so nothing is guessed: without
//! `--google` they go to `--server`, whatever else is given; a key file of Google's is not used for our server, nor ours
//! for Google; our token never goes to Google.

use std::path::{Path, PathBuf};

use clap::Args;
use dialects::chronicle_api::encode;
use http::Method;
use penstock_client::{ApiVersion, Chronicle, Credentials, CredentialsError, Error, RetryPolicy, SecOpsClient, Who};
use serde_json::Value;

use super::manage::items;
use super::output::Format;
use super::{CliError, Client, DEFAULT_SERVER, Remote};

/// What stands in resource names of our own server, to which they mean nothing. Fixed, so that an instance has the same
/// name however it was found; a spool knows whose it is by that name.
const PROJECT: &str = "penstock";
const REGION: &str = "us";

/// Which instance of whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Receiver")]
pub struct TargetArgs {
    /// Key file of the account to use [default: the operator token; with --google: application-default credentials]
    #[arg(long, alias = "service_account", value_name = "FILE")]
    service_account: Option<PathBuf>,
    /// Customer id of the instance [default: the key file's, or the only one there is]
    #[arg(long, alias = "customer_id", value_name = "UUID")]
    customer_id: Option<String>,
    /// Google Cloud project of the instance; our own server takes any
    #[arg(long, alias = "project_id")]
    project_id: Option<String>,
    /// Region of the instance; our own server takes any
    #[arg(long)]
    region: Option<String>,
    /// Version of the API
    #[arg(long, alias = "api_version", default_value = "v1alpha", value_parser = ["v1", "v1beta", "v1alpha"])]
    api_version: String,
    /// Go to Google instead of --server; wants --customer-id, --project-id and --region
    #[arg(long, requires_all = ["customer_id", "project_id", "region"])]
    google: bool,
}

/// A receiver and an instance of it.
pub struct Target {
    /// What the user wants to see.
    pub format: Format,
    /// Whether it is Google and not our own server.
    pub is_google: bool,
    /// For messages: the server's address, or Google's host.
    pub address: String,
    credentials: Credentials,
    /// Where the credential came from, for the text of a 401.
    credentials_from: String,
    version: ApiVersion,
    customer_id: String,
    project_id: String,
    region: String,
}

/// How long the command tries before it says that nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Whoever waits at the keyboard is told at once.
    None,
    /// As the ingestion documents ask of a sender.
    Sender,
}

impl Target {
    /// Finds the receiver, the credential and the instance. Asks our server only where the instance is not named.
    pub async fn connect(remote: &Remote, args: &TargetArgs) -> Result<Target, CliError> {
        Target::connect_as(remote, args, "").await
    }

    /// The same, where the resource name of the instance is known already (else empty), so that the server need not be
    /// asked which one is meant.
    pub async fn connect_as(remote: &Remote, args: &TargetArgs, known: &str) -> Result<Target, CliError> {
        let version = args.api_version.parse().map_err(|error: Error| CliError::Usage(error.to_string()))?;
        if args.google { to_google(remote, args, version) } else { to_server(remote, args, known, version).await }
    }

    /// The instance.
    pub fn chronicle(&self, patience: Patience) -> Result<Chronicle, CliError> {
        let mut builder = SecOpsClient::builder()
            .credentials(self.credentials.clone())
            .api_version(self.version)
            .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
            // To Google through whatever proxy there is; to our own server as all our commands go.
            .proxies(self.is_google)
            .gzip(self.is_google);
        if !self.is_google {
            builder = builder.base_url(&self.address);
        }
        if patience == Patience::None {
            builder = builder.retry(RetryPolicy::never());
        }
        let client = builder.build().map_err(|error| self.failed(&error))?;
        client
            .chronicle(&self.customer_id, &self.project_id, &self.region)
            .map_err(|error| CliError::Usage(error.to_string()))
    }

    /// A call of the Chronicle API below the instance; what went wrong as a command tells it.
    pub async fn call(
        &self,
        chronicle: &Chronicle,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        chronicle.request(method, path, query, body).await.map_err(|error| self.failed(&error))
    }

    /// What a failed call means for whoever gave the command: what, where, what to do.
    pub fn failed(&self, error: &Error) -> CliError {
        let address = &self.address;
        match error {
            Error::Credentials(CredentialsError::Rejected { refusal, .. }) => CliError::Refused(format!(
                "{}\nCredential used: {}. {}",
                refusal.message,
                self.credentials_from,
                if self.is_google {
                    "Give another key file with --service-account."
                } else {
                    "Give one with --service-account, --token or PENSTOCK_TOKEN, or name the server's data directory \
                     with --data."
                }
            )),
            Error::Refused(refusal) | Error::NotFound(refusal) | Error::PermissionDenied(refusal) => {
                CliError::Refused(refusal.message.clone())
            }
            Error::Invalid { .. } => CliError::Usage(error.to_string()),
            _ if error.who() == Who::Time && self.is_google => {
                CliError::Unreachable(format!("{address} does not answer as it should: {error}\nTry again later."))
            }
            Error::Unavailable { status: None, why, .. } => CliError::Unreachable(format!(
                "no server answers at {address}: {why}\nStart one with `penstock serve`, or name another with --server."
            )),
            _ if error.who() == Who::Time => {
                CliError::Unreachable(format!("the server at {address} cannot take it now: {error}\nTry again later."))
            }
            error => CliError::Refused(error.to_string()),
        }
    }

    /// One resource of the instance, given by its id or its full name: its path below the instance.
    pub fn path_of(&self, chronicle: &Chronicle, collection: &str, given: &str) -> Result<String, CliError> {
        let below = given.strip_prefix(chronicle.name()).map_or(given, |rest| rest.trim_start_matches('/'));
        let id = below.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).unwrap_or(below);
        if id.is_empty() || id.contains('/') || id.bytes().all(|byte| byte == b'.') {
            let one = collection.trim_end_matches('s');
            return Err(CliError::Usage(format!("{given:?} is not the id of a {one} of {}", chronicle.name())));
        }
        Ok(format!("{collection}/{}", encode::segment(id)))
    }

    /// Names receiver and instance for files that must not be mixed up.
    pub fn identity(&self) -> String {
        format!("{} {}", self.address, self.customer_id)
    }
}

fn to_google(remote: &Remote, args: &TargetArgs, version: ApiVersion) -> Result<Target, CliError> {
    if remote.server != DEFAULT_SERVER {
        return Err(CliError::Usage(format!(
            "--google goes to Google, and --server (or PENSTOCK_SERVER) is {}: leave one of them out",
            remote.server
        )));
    }
    let (credentials, credentials_from) = match &args.service_account {
        Some(path) => {
            let credentials = read_key(path)?;
            if !is_googles(path)? {
                return Err(CliError::Usage(format!(
                    "{} is no key of Google's: its tokens come from elsewhere; leave --google out, or give another key file",
                    path.display()
                )));
            }
            (credentials, path.display().to_string())
        }
        None => {
            let credentials =
                Credentials::application_default().map_err(|error| CliError::Refused(error.to_string()))?;
            (credentials, "the application-default one".to_owned())
        }
    };
    let given = |value: &Option<String>| value.clone().expect("clap asks for it with --google");
    let region = given(&args.region);
    Ok(Target {
        format: remote.output,
        is_google: true,
        address: format!("Google ({region}-chronicle.googleapis.com)"),
        credentials,
        credentials_from,
        version,
        customer_id: given(&args.customer_id),
        project_id: given(&args.project_id),
        region,
    })
}

async fn to_server(remote: &Remote, args: &TargetArgs, known: &str, version: ApiVersion) -> Result<Target, CliError> {
    let client = Client::connect(remote)?;
    let mut customer_id = args.customer_id.clone();
    let (credentials, credentials_from) = match &args.service_account {
        Some(path) => {
            let credentials = read_key(path)?;
            // With such a key the client would ask Google for a token first.
            if is_googles(path)? {
                return Err(CliError::Usage(format!(
                    "{} is a key of Google's, and --google is not given: to send to Google, add it (with --customer-id, \
                     --project-id and --region); for {}, make a key with `penstock account create`",
                    path.display(),
                    client.base()
                )));
            }
            customer_id = customer_id.or_else(|| credentials.customer_id());
            (credentials, path.display().to_string())
        }
        None => match client.token() {
            Some(token) => (Credentials::bearer(token), client.token_from().to_owned()),
            None => {
                // Whether somebody is there decides what is to be done about it.
                client.call(Method::GET, "/healthz", None).await?;
                return Err(CliError::Refused(format!(
                    "there is no credential for {}.\nToken used: {}. Give one with --token, PENSTOCK_TOKEN or \
                     --service-account, or name the server's data directory with --data.",
                    client.base(),
                    client.token_from()
                )));
            }
        },
    };
    let customer_id = match customer_id.or_else(|| customer_of(known)) {
        Some(customer_id) => customer_id,
        None => only_instance(&client).await?,
    };
    Ok(Target {
        format: remote.output,
        is_google: false,
        address: client.base().to_owned(),
        credentials,
        credentials_from,
        version,
        customer_id,
        project_id: args.project_id.clone().unwrap_or_else(|| PROJECT.to_owned()),
        region: args.region.clone().unwrap_or_else(|| REGION.to_owned()),
    })
}

/// The customer id in the resource name of an instance of our own server. Names of another make say nothing: a spool of
/// Google's must not come here because --google was forgotten.
fn customer_of(name: &str) -> Option<String> {
    let id = name.strip_prefix(&format!("projects/{PROJECT}/locations/{REGION}/instances/"))?;
    (!id.is_empty() && !id.contains('/')).then(|| id.to_owned())
}

/// The instance that is meant when none is named.
async fn only_instance(client: &Client) -> Result<String, CliError> {
    let all = match client.call(Method::GET, "/api/instances", None).await {
        Err(CliError::Refused(why)) => {
            return Err(CliError::Refused(format!("{why}\nName the instance with --customer-id.")));
        }
        all => all?,
    };
    let ids: Vec<&str> = items(&all).iter().filter_map(|instance| instance["id"].as_str()).collect();
    match ids.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(CliError::Refused("there is no instance; make one with `penstock instance create`".to_owned())),
        several => Err(CliError::Usage(format!(
            "there are several instances; name one with --customer-id: {}",
            several.join(", ")
        ))),
    }
}

fn read_key(path: &Path) -> Result<Credentials, CliError> {
    Credentials::file(path).map_err(|error| CliError::Refused(error.to_string()))
}

/// Whether the tokens of this key file come from Google. A file that names no place for them is Google's by that.
fn is_googles(path: &Path) -> Result<bool, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::Refused(format!("cannot read {}: {error}", path.display())))?;
    let file: Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(uri) = file["token_uri"].as_str().filter(|uri| !uri.is_empty()) else { return Ok(true) };
    let host = uri.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    let host = host.unwrap_or_default();
    Ok(["googleapis.com", "google.com"]
        .iter()
        .any(|domain| host == *domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_our_own_server_says_whose_a_spool_is() {
        let cases = [
            ("projects/penstock/locations/us/instances/c", Some("c")),
            ("projects/p/locations/eu/instances/c", None),
            ("projects/penstock/locations/us/instances/", None),
            ("projects/penstock/locations/us/instances/c/feeds/f", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(customer_of(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_key_file_is_googles_by_where_its_tokens_come_from() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key.json");
        for (text, expected) in [
            (r#"{"token_uri": "https://oauth2.googleapis.com/token"}"#, true),
            (r#"{"token_uri": "https://ACCOUNTS.google.com/o/oauth2/token"}"#, true),
            (r#"{"token_uri": ""}"#, true),
            ("{}", true),
            (r#"{"token_uri": "http://127.0.0.1:8480/token"}"#, false),
            (r#"{"token_uri": "https://notgoogleapis.com/token"}"#, false),
            (r#"{"token_uri": "https://googleapis.com.example/token"}"#, false),
        ] {
            std::fs::write(&path, text).expect("it can be written");
            assert_eq!(is_googles(&path).expect("it can be read"), expected, "{text}");
        }
    }
}
