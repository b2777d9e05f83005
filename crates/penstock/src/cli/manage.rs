//! Commands that make, list and end instances, accounts, keys and log types.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::output::Format;
use super::{AccountCommand, CliError, Client, InstanceCommand, KeyCommand, LogTypeCommand, Remote};
use crate::config::Config;
use crate::control::{Control, write_json_private};
use crate::serve;

const INSTANCE_COLUMNS: &[(&str, &str)] =
    &[("ID", "/id"), ("NAME", "/name"), ("PROJECT", "/project"), ("LOCATION", "/location"), ("CREATED", "/created_at")];
const ACCOUNT_COLUMNS: &[(&str, &str)] = &[
    ("EMAIL", "/email"),
    ("ROLE", "/role"),
    ("INSTANCE", "/instance"),
    ("DISABLED", "/disabled"),
    ("ADC FILES", "/refresh_tokens"),
    ("CREATED", "/created_at"),
];
const KEY_COLUMNS: &[(&str, &str)] =
    &[("ID", "/id"), ("NAME", "/name"), ("ROLE", "/role"), ("INSTANCE", "/instance"), ("CREATED", "/created_at")];
const LOG_TYPE_COLUMNS: &[(&str, &str)] =
    &[("LOG TYPE", "/log_type"), ("DESCRIPTION", "/description"), ("CUSTOM", "/custom")];

/// `penstock instance`
pub async fn instance(client: &Client, command: InstanceCommand) -> Result<(), CliError> {
    match command {
        InstanceCommand::Create { name, id, project, location } => {
            let body = json!({ "name": name, "id": id, "project": project, "location": location });
            client.format.one(&client.call(Method::POST, "/api/instances", Some(&body)).await?);
        }
        InstanceCommand::List => {
            let all = client.call(Method::GET, "/api/instances", None).await?;
            client.format.list(items(&all), INSTANCE_COLUMNS, "There is no instance.");
        }
        InstanceCommand::Show { id } => {
            client.format.one(&client.call(Method::GET, &format!("/api/instances/{}", segment(&id)), None).await?);
        }
        InstanceCommand::Delete { id, yes } => {
            if !yes {
                return Err(CliError::Usage(format!(
                    "deleting instance {id} ends all its accounts, keys, intakes and connectors; add --yes to do it"
                )));
            }
            client.call(Method::DELETE, &format!("/api/instances/{}", segment(&id)), None).await?;
            client.format.remark(&format!("Instance {id} is deleted."));
        }
    }
    Ok(())
}

/// `penstock account create`: by the running server, or in a data directory that no server runs on.
pub async fn account_create(
    remote: &Remote,
    instance: Option<String>,
    role: String,
    name: Option<String>,
    out: &Path,
) -> Result<(), CliError> {
    refuse_to_overwrite(out)?;
    let by_server = match Client::connect(remote) {
        Ok(client) => {
            let body = json!({ "instance": instance, "role": role, "name": name });
            client.call(Method::POST, "/api/accounts", Some(&body)).await
        }
        Err(error) => Err(error),
    };
    let made = match (by_server, &remote.data) {
        (Ok(made), _) => made,
        // A server that answers is asked; only where none does, and the directory is named, is it opened here.
        (Err(CliError::Unreachable(_) | CliError::Refused(_)), Some(data)) if !is_running(data) => {
            account_create_offline(data, instance.as_deref(), &role, name.as_deref())?
        }
        (Err(error), _) => return Err(error),
    };
    hand_out(remote.output, made, out, KEY_FILE)
}

fn is_running(data: &Path) -> bool {
    !data.is_dir() || serve::DirectoryLock::take(data).is_err()
}

fn account_create_offline(
    data: &Path,
    instance: Option<&str>,
    role: &str,
    name: Option<&str>,
) -> Result<Value, CliError> {
    let _lock = serve::DirectoryLock::take(data)?;
    if !data.join("resources.db").exists() {
        return Err(CliError::Refused(format!(
            "{} is no data directory yet; start a server there first (`penstock serve --data {}`)",
            data.display(),
            data.display()
        )));
    }
    let refused = |error: &dyn std::fmt::Display| CliError::Refused(error.to_string());
    let settings = serve::settings(&Config::default(), udm::Schema::load());
    let control = Control::open(data, settings, None, serve::now())?;
    let instance = match instance {
        Some(id) => id.parse().map_err(|error| refused(&error))?,
        None => control.only_instance().map_err(|error| refused(&error))?,
    };
    let role = role.parse().map_err(|error| CliError::Usage(format!("--role is {role:?}: {error}")))?;
    let made = control.create_account(instance, role, name, serve::now()).map_err(|error| refused(&error))?;
    Ok(json!({
        "email": made.key_file.client_email,
        "instance": instance.to_string(),
        "role": made.role,
        "key_file": made.key_file,
    }))
}

fn refuse_to_overwrite(out: &Path) -> Result<(), CliError> {
    if out.exists() {
        return Err(CliError::Refused(format!(
            "{} exists; a key file is never written over another file",
            out.display()
        )));
    }
    Ok(())
}

/// A file with a secret that an answer holds: the answer's field, and what the file is.
type Secret = (&'static str, &'static str);

const KEY_FILE: Secret = ("key_file", "key");
const ADC_FILE: Secret = ("adc_file", "refresh token");

fn hand_out(format: Format, mut made: Value, out: &Path, (field, what): Secret) -> Result<(), CliError> {
    let file = made[field].take();
    write_json_private(out, &file)?;
    let email = made["email"].as_str().unwrap_or_default().to_owned();
    if let Some(made) = made.as_object_mut() {
        made.remove(field);
        made.insert("out".to_owned(), json!(out.display().to_string()));
    }
    match format {
        Format::Table => {
            format.remark(&format!("Wrote the {what} of {email} to {}. It is not kept anywhere else.", out.display()))
        }
        format => format.one(&made),
    }
    Ok(())
}

/// `penstock account`, but for `create`.
pub async fn account(client: &Client, command: AccountCommand) -> Result<(), CliError> {
    match command {
        AccountCommand::Create { .. } => unreachable!("handled without a client"),
        AccountCommand::List { instance } => {
            let all = client.call(Method::GET, &of_instance("/api/accounts", instance.as_deref()), None).await?;
            client.format.list(items(&all), ACCOUNT_COLUMNS, "There is no account.");
        }
        AccountCommand::Rotate { email, out } => {
            refuse_to_overwrite(&out)?;
            let path = format!("/api/accounts/{}:rotate", segment(&email));
            let made = client.call(Method::POST, &path, None).await?;
            hand_out(client.format, made, &out, KEY_FILE)?;
        }
        AccountCommand::Disable { email } => {
            let path = format!("/api/accounts/{}:disable", segment(&email));
            client.call(Method::POST, &path, None).await?;
            client.format.remark(&format!("Account {email} is disabled."));
        }
        AccountCommand::Adc { email, out } => {
            refuse_to_overwrite(&out)?;
            let path = format!("/api/accounts/{}:adc", segment(&email));
            let made = client.call(Method::POST, &path, None).await?;
            hand_out(client.format, made, &out, ADC_FILE)?;
        }
        AccountCommand::RevokeAdc { email } => {
            let path = format!("/api/accounts/{}:revoke-adc", segment(&email));
            let answer = client.call(Method::POST, &path, None).await?;
            match client.format {
                Format::Table => {
                    client.format.remark(&format!("Refresh tokens of {email} that ended: {}.", answer["revoked"]));
                }
                format => format.one(&answer),
            }
        }
    }
    Ok(())
}

/// `penstock key`
pub async fn key(client: &Client, command: KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::Create { instance, role, name } => {
            let body = json!({ "instance": instance, "role": role, "name": name });
            client.format.one(&client.call(Method::POST, "/api/keys", Some(&body)).await?);
            client.format.remark("The api_key is shown this once.");
        }
        KeyCommand::List { instance } => {
            let all = client.call(Method::GET, &of_instance("/api/keys", instance.as_deref()), None).await?;
            client.format.list(items(&all), KEY_COLUMNS, "There is no API key.");
        }
        KeyCommand::Delete { id } => {
            client.call(Method::DELETE, &format!("/api/keys/{}", segment(&id)), None).await?;
            client.format.remark(&format!("API key {id} is deleted."));
        }
    }
    Ok(())
}

/// `penstock log-type`
pub async fn log_type(client: &Client, command: LogTypeCommand) -> Result<(), CliError> {
    match command {
        LogTypeCommand::Add { log_type, description, instance } => {
            let body = json!({ "log_type": log_type, "description": description, "instance": instance });
            client.format.one(&client.call(Method::POST, "/api/log-types", Some(&body)).await?);
        }
        LogTypeCommand::List { custom, grep, instance } => {
            let mut path = of_instance("/api/log-types", instance.as_deref());
            path.push_str(if path.contains('?') { "&" } else { "?" });
            path.push_str(&format!("custom={custom}&grep={}", segment(grep.as_deref().unwrap_or_default())));
            let all = client.call(Method::GET, &path, None).await?;
            client.format.list(items(&all), LOG_TYPE_COLUMNS, "There is no such log type.");
        }
    }
    Ok(())
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text as one segment of a path or one value of a query.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A path with the instance that is meant, if one was named.
pub fn of_instance(path: &str, instance: Option<&str>) -> String {
    match instance {
        Some(instance) => format!("{path}?instance={}", segment(instance)),
        None => path.to_owned(),
    }
}
