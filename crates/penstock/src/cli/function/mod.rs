//! `penstock function`: writing, deploying, calling and watching functions, over the calls that the `oci` command uses; what those
//! have no word for (calls as they were seen, processes, what is expected of a call) is asked of our own API.
//!
//! `deploy.rs` has the way of a folder to the server, `project.rs` the folder, `logs.rs` what functions said.

mod deploy;
mod logs;
mod project;

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use indicatif::{HumanBytes, HumanDuration};
use serde_json::{Map, Value, json};

use super::manage::{items, segment};
use super::oci::tenancy::{InstanceArg, Tenancy, is_ocid, only, text};
use super::output::{Column, Format, say, say_bytes};
use super::{CliError, Client};

/// Where OCI's calls for functions stand.
const API: &str = "/20260325";

const COLUMNS: &[Column] = &[
    ("NAME", "/displayName"),
    ("APPLICATION", "/applicationName"),
    ("STATE", "/lifecycleState"),
    ("VERSION", "/penstock/version"),
    ("MEMORY MB", "/memoryInMBs"),
    ("TIMEOUT S", "/timeoutInSeconds"),
    ("UPDATED", "/timeUpdated"),
    ("ID", "/id"),
];

const CALL_COLUMNS: &[Column] = &[
    ("BEGAN", "/began"),
    ("STATE", "/state"),
    ("STATUS", "/status"),
    ("TOOK MS", "/took_ms"),
    ("BY", "/by"),
    ("RECORDS", "/records"),
    ("REQUESTS", "/requests"),
    ("ERROR LINES", "/error_lines"),
    ("MEMORY", "/memory"),
    ("CALL", "/call_id"),
    ("NOTE", "/note"),
];

/// `penstock function`
#[derive(Debug, Subcommand)]
pub enum FunctionCommand {
    /// Write a new function that works as it is
    #[command(after_help = "Example:
  penstock function init --runtime python hello
  penstock function deploy hello --app lab --create-app
  penstock function invoke hello --body '{\"name\": \"Ada\"}'")]
    Init {
        /// What it is written in
        #[arg(long, default_value = "python", value_parser = ["python"])]
        runtime: String,
        /// Its name, which is also that of the folder that is made; nothing in it is written over
        name: PathBuf,
    },
    /// Send a function's folder to the server, which installs it and runs it from then on
    #[command(after_help = DEPLOY_HELP)]
    Deploy(deploy::DeployArgs),
    /// List functions
    List {
        /// Of this application only, by name or OCID
        #[arg(long)]
        app: Option<String>,
        #[command(flatten)]
        instance: InstanceArg,
    },
    /// Show a function
    Show(Which),
    /// Call a function and show what it answers
    #[command(after_help = "Examples:
  penstock function invoke hello --body '{\"name\": \"Ada\"}'
  penstock function invoke flows --body @batch.json
  jq -c '[.[]]' batch.json | penstock function invoke flows --body -
  penstock function invoke flows --body @batch.json --detached")]
    Invoke {
        #[command(flatten)]
        which: Which,
        /// What it is given: a text, @FILE, or - for standard input [default: nothing]
        #[arg(long, value_name = "TEXT|@FILE|-")]
        body: Option<String>,
        /// Do not wait for the answer, which nobody sees
        #[arg(long)]
        detached: bool,
    },
    /// Show what a function logged and printed
    #[command(after_help = "Examples:
  penstock function logs hello --since 10m
  penstock function logs hello --follow
  penstock function logs hello -o ndjson | jq -r .data.message

The lines are log records like any other, in the log of the function's application: `penstock search raw TEXT` and \
`oci logging-search` find them, too. There are none while that log is disabled.")]
    Logs(logs::LogsArgs),
    /// Show the calls of a function: what they were given, what they sent, and what became of them
    #[command(after_help = "Examples:
  penstock function calls flows
  penstock function calls flows --state suspicious --limit 5

A call is ok, failed (502, 504, or killed) or suspicious: it was answered with 200, but errors were logged, or fewer requests \
left for third parties than records went in (`config --expects`). The note says which.")]
    Calls {
        #[command(flatten)]
        which: Which,
        /// Most calls, newest first
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=CALLS_MAX))]
        limit: u64,
        /// Only calls that ended like this
        #[arg(long, value_parser = ["ok", "failed", "suspicious"])]
        state: Option<String>,
    },
    /// Show or change a function's configuration and limits
    #[command(after_help = "Examples:
  penstock function config flows
  penstock function config flows TARGET=https://siem.example.com TOKEN=… --unset OLD
  penstock function config flows --memory 512 --timeout 60 --processes 2
  penstock function config flows --expects per-record

The keys are variables in the function's environment. A running call ends with the old ones.")]
    Config(Box<ConfigArgs>),
    /// Delete a function with its versions; what it logged stays
    Delete(Which),
}

const DEPLOY_HELP: &str = "Examples:
  penstock function deploy hello --app lab --create-app
  penstock function deploy . --app oci-hol-fn-app --name oci-logs-to-something-python

The folder has func.yaml, which names the function and its entry point, and requirements.txt, which the server's pip installs into \
the function's own folder. All its files are sent but .git, __pycache__, .venv and other virtual environments. The command waits \
until the new version can be called; until then, and if it cannot be installed, the version before goes on.

memory, timeout and config of func.yaml are taken over; configuration that it does not name stays.";

/// Most calls that are shown.
const CALLS_MAX: u64 = 10_000;

/// Which function is meant.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The function, by name or OCID
    #[arg(value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub name: String,
    /// Its application, by name or OCID [default: the only one that has this function]
    #[arg(long)]
    pub app: Option<String>,
    #[command(flatten)]
    pub instance: InstanceArg,
}

/// `penstock function config`
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    which: Which,
    /// Keys to set
    #[arg(value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Key to take out; may be given several times
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Memory limit in MB: 128, 256, 512, 1024, 2048 or 3072
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    /// Longest time of a call, in seconds
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// How many calls may run at once, each in a process of its own
    #[arg(long, value_name = "N")]
    processes: Option<u32>,
    /// Requests to third parties that a call with records must make to be ok: one for each record, any, or none
    #[arg(long, value_parser = ["per-record", "any", "nothing"])]
    expects: Option<String>,
}

/// `penstock function`
pub async fn run(client: &Client, command: FunctionCommand) -> Result<(), CliError> {
    match command {
        FunctionCommand::Init { .. } => unreachable!("handled without a server"),
        FunctionCommand::Deploy(args) => deploy::run(client, args).await?,
        FunctionCommand::List { app, instance } => {
            let tenancy = Tenancy::open(client, &instance).await?;
            let all = functions(&tenancy, app.as_deref()).await?;
            client.format.list(&all, COLUMNS, "There is no function; `penstock function init` writes one.");
        }
        FunctionCommand::Show(which) => {
            let tenancy = Tenancy::open(client, &which.instance).await?;
            client.format.one(&find(&tenancy, &which).await?);
        }
        FunctionCommand::Invoke { which, body, detached } => {
            let body = body.as_deref().map_or(Ok(Vec::new()), given)?;
            let tenancy = Tenancy::open(client, &which.instance).await?;
            invoke(&tenancy, &find(&tenancy, &which).await?, body, detached).await?;
        }
        FunctionCommand::Logs(args) => logs::run(client, args).await?,
        FunctionCommand::Calls { which, limit, state } => {
            let tenancy = Tenancy::open(client, &which.instance).await?;
            let found = find(&tenancy, &which).await?;
            calls(&tenancy, text(&found, "id"), limit, state.as_deref()).await?;
        }
        FunctionCommand::Config(args) => config(client, &args).await?,
        FunctionCommand::Delete(which) => {
            let tenancy = Tenancy::open(client, &which.instance).await?;
            let found = find(&tenancy, &which).await?;
            tenancy.call(Method::DELETE, &path(&found), None).await?;
            client.format.remark(&format!("Function {} is deleted.", text(&found, "displayName")));
        }
    }
    Ok(())
}

/// `penstock function init`, which needs no server.
pub fn init(folder: &std::path::Path, format: Format) -> Result<(), CliError> {
    project::init(folder)?;
    let folder = crate::serve::shell_quoted(folder);
    format.remark(&format!(
        "Wrote {folder}/func.py, func.yaml and requirements.txt. Next:\n  {} function deploy {folder} --app APP --create-app",
        crate::serve::program()
    ));
    Ok(())
}

fn path(function: &Value) -> String {
    format!("{API}/functions/{}", segment(text(function, "id")))
}

/// The functions of an application, or of all of them, each with its application's name.
async fn functions(tenancy: &Tenancy<'_>, app: Option<&str>) -> Result<Vec<Value>, CliError> {
    let apps = match app {
        Some(named) => vec![application(tenancy, named).await?],
        None => tenancy.list_everywhere(&format!("{API}/applications"), None).await?,
    };
    let mut found = Vec::new();
    for app in apps {
        let of_app = format!("{API}/functions?applicationId={}", segment(text(&app, "id")));
        for mut function in tenancy.list(&of_app).await? {
            function["applicationName"] = app["displayName"].clone();
            found.push(function);
        }
    }
    Ok(found)
}

/// An application, by its name or OCID.
async fn application(tenancy: &Tenancy<'_>, named: &str) -> Result<Value, CliError> {
    if is_ocid(named) {
        return tenancy.call(Method::GET, &format!("{API}/applications/{}", segment(named)), None).await;
    }
    let all = tenancy.list_everywhere(&format!("{API}/applications"), None).await?;
    only(&all, "displayName", "application", named).cloned()
}

/// The function that is meant, whole.
async fn find(tenancy: &Tenancy<'_>, which: &Which) -> Result<Value, CliError> {
    let id = match is_ocid(&which.name) {
        true => which.name.clone(),
        false => {
            let all = functions(tenancy, which.app.as_deref()).await?;
            only(&all, "displayName", "function", &which.name).map(|found| text(found, "id").to_owned()).map_err(
                |error| match (&which.app, error) {
                    (None, CliError::Refused(why)) if why.contains("several") => {
                        let apps: Vec<&str> = all
                            .iter()
                            .filter(|one| text(one, "displayName") == which.name)
                            .map(|one| text(one, "applicationName"))
                            .collect();
                        CliError::Refused(format!(
                            "several applications have a function {:?}; name one with --app: {}",
                            which.name,
                            apps.join(", ")
                        ))
                    }
                    (_, error) => error,
                },
            )?
        }
    };
    let mut found = tenancy.call(Method::GET, &format!("{API}/functions/{}", segment(&id)), None).await?;
    let app = application(tenancy, text(&found, "applicationId")).await?;
    found["applicationName"] = app["displayName"].clone();
    found["compartmentId"] = app["compartmentId"].clone();
    Ok(found)
}

/// What `--body` gives. It is Oracle's word; `--data` is the data directory everywhere.
fn given(data: &str) -> Result<Vec<u8>, CliError> {
    let mut content = Vec::new();
    let read = match data.strip_prefix('@') {
        _ if data == "-" => std::io::stdin().read_to_end(&mut content),
        Some(file) => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut content)),
        None => return Ok(data.as_bytes().to_vec()),
    };
    read.map_err(|error| CliError::Refused(format!("cannot read {}: {error}", data.trim_start_matches('@'))))?;
    Ok(content)
}

async fn invoke(tenancy: &Tenancy<'_>, function: &Value, body: Vec<u8>, detached: bool) -> Result<(), CliError> {
    let client = tenancy.client();
    let name = text(function, "displayName");
    let request = tenancy
        .request(Method::POST, &format!("{}/actions/invoke", path(function)))
        .header(http::header::CONTENT_TYPE, "application/json")
        .header("fn-invoke-type", if detached { "detached" } else { "sync" })
        .body(body);
    let began = std::time::Instant::now();
    let response = client.answer(request).await?;
    let took = began.elapsed();
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (call, kind) = (header("fn-call-id").to_owned(), header("content-type").to_owned());
    let answer = response.bytes().await.map_err(|error| CliError::Refused(format!("the answer broke off: {error}")))?;
    if !status.is_success() {
        let error = client.refused(status, &String::from_utf8_lossy(&answer));
        let hint = if call.is_empty() {
            String::new()
        } else {
            format!("\nCall {call}; `penstock function logs {name}` shows what it said.")
        };
        return Err(CliError::Refused(format!("{error}{hint}")));
    }
    match client.format {
        Format::Table if detached => say(&format!("Call {call} of {name} goes on; `penstock function calls {name}`.")),
        Format::Table => {
            say_bytes(&answer);
            eprintln!("Call {call} took {} ms.", took.as_millis());
        }
        format => {
            let body: Value = match kind.contains("json").then(|| serde_json::from_slice(&answer)) {
                Some(Ok(body)) => body,
                _ => json!(String::from_utf8_lossy(&answer)),
            };
            format.one(&json!({
                "call_id": call, "status": status.as_u16(), "detached": detached, "took_ms": took.as_millis() as u64,
                "content_type": kind, "body": body,
            }));
        }
    }
    Ok(())
}

async fn calls(tenancy: &Tenancy<'_>, id: &str, limit: u64, state: Option<&str>) -> Result<(), CliError> {
    let client = tenancy.client();
    // The server gives the newest; of a state there may be few among many.
    let asked = if state.is_some() { CALLS_MAX } else { limit };
    let answer =
        tenancy.call(Method::GET, &format!("/api/functions/{}/calls?limit={asked}", segment(id)), None).await?;
    let mut found: Vec<Value> = items(&answer)
        .iter()
        .filter(|call| state.is_none_or(|state| text(call, "state") == state))
        .take(limit as usize)
        .cloned()
        .collect();
    if client.format == Format::Table {
        for call in &mut found {
            // Whole numbers are what people compare.
            call["took_ms"] = json!(call["took_ms"].as_f64().map(|took| took.round() as u64));
            call["memory"] = json!(call["memory_peak_bytes"].as_u64().map(|bytes| HumanBytes(bytes).to_string()));
        }
    }
    let none = match state {
        Some(state) => format!("No call of it is {state}."),
        None => "It was not called yet.".to_owned(),
    };
    client.format.list(&found, CALL_COLUMNS, &none);
    Ok(())
}

async fn config(client: &Client, args: &ConfigArgs) -> Result<(), CliError> {
    let tenancy = Tenancy::open(client, &args.which.instance).await?;
    let found = find(&tenancy, &args.which).await?;
    let (change, own) = (change(&found, args)?, own_change(args));
    if change.is_empty() && own.is_empty() {
        show_config(client, &found);
        return Ok(());
    }
    if !own.is_empty() {
        let path = format!("/api/functions/{}", segment(text(&found, "id")));
        tenancy.call(Method::PATCH, &path, Some(&Value::Object(own))).await?;
    }
    if !change.is_empty() {
        // Only what was read is changed: of two who change it at once, the second is told.
        let etag = etag(&tenancy, &found).await?;
        let mut request = tenancy.request(Method::PUT, &path(&found)).json(&change);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        client.yes(request).await?;
    }
    let changed = find(&tenancy, &args.which).await?;
    show_config(client, &changed);
    Ok(())
}

/// The etag of what was read, if it is still as it was read.
async fn etag(tenancy: &Tenancy<'_>, read: &Value) -> Result<Option<String>, CliError> {
    let response = tenancy.client().yes(tenancy.request(Method::GET, &path(read))).await?;
    let etag = response.headers().get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let now: Value = response.json().await.map_err(|error| CliError::Refused(format!("no JSON: {error}")))?;
    if now["config"] != read["config"] {
        return Err(CliError::Refused(
            "the configuration was changed by somebody else meanwhile; try again".to_owned(),
        ));
    }
    Ok(etag)
}

/// What a `PUT` of the function says. OCI replaces the whole configuration, so the keys that stay go along.
fn change(found: &Value, args: &ConfigArgs) -> Result<Map<String, Value>, CliError> {
    let mut change = Map::new();
    if !args.set.is_empty() || !args.unset.is_empty() {
        let mut config = found["config"].as_object().cloned().unwrap_or_default();
        for key in &args.unset {
            if config.shift_remove(key).is_none() {
                return Err(CliError::Refused(format!("there is no key {key:?} to unset")));
            }
        }
        config.extend(args.set.iter().map(|(key, value)| (key.clone(), json!(value))));
        change.insert("config".to_owned(), Value::Object(config));
    }
    for (name, value) in [("memoryInMBs", args.memory), ("timeoutInSeconds", args.timeout)] {
        if let Some(value) = value {
            change.insert(name.to_owned(), json!(value));
        }
    }
    Ok(change)
}

/// What is ours alone.
fn own_change(args: &ConfigArgs) -> Map<String, Value> {
    let mut own = Map::new();
    if let Some(processes) = args.processes {
        own.insert("processes".to_owned(), json!(processes));
    }
    if let Some(expects) = &args.expects {
        own.insert("expects".to_owned(), json!(expects));
    }
    own
}

fn show_config(client: &Client, found: &Value) {
    let settings = json!({
        "memory": found["memoryInMBs"],
        "timeout": found["timeoutInSeconds"],
        "processes": found["penstock"]["processes"],
        "expects": found["penstock"]["expects"],
    });
    match client.format {
        Format::Table => {
            let keys = found["config"].as_object().cloned().unwrap_or_default();
            let number = |value: &Value, unit: &str| match value.as_u64() {
                Some(number) => format!("{number}{unit}"),
                None => value.as_str().unwrap_or("?").to_owned(),
            };
            say(&format!(
                "memory {}, timeout {}, processes {}, expects {}",
                number(&settings["memory"], " MB"),
                number(&settings["timeout"], " s"),
                number(&settings["processes"], ""),
                number(&settings["expects"], "")
            ));
            let lines: Vec<Value> = keys.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            client.format.list(&lines, &[("KEY", "/key"), ("VALUE", "/value")], "It has no configuration.");
        }
        format => {
            let mut shown = settings;
            shown["config"] = found["config"].clone();
            format.one(&shown);
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else { return Err("write it as KEY=VALUE".to_owned()) };
    let mut bytes = key.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("{key:?} is no key: letters, digits and _, not a digit first"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A time that something took, for people.
fn duration(took: std::time::Duration) -> String {
    if took.as_secs() < 60 { format!("{:.1} s", took.as_secs_f64()) } else { HumanDuration(took).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ConfigArgs,
    }

    fn args(line: &str) -> ConfigArgs {
        Line::try_parse_from(std::iter::once("config").chain(line.split(' ')))
            .unwrap_or_else(|error| panic!("{error}"))
            .args
    }

    #[track_caller]
    fn check(line: &str, config: &Value, expected: &(Value, Value)) {
        let found = json!({ "config": config });
        let args = args(line);
        let (change, own) = (change(&found, &args).unwrap(), own_change(&args));
        assert_eq!(&(Value::Object(change), Value::Object(own)), expected, "{line}");
    }

    #[test]
    fn what_is_changed_is_sent_with_what_stays() {
        check("f", &json!({"A": "1"}), &(json!({}), json!({})));
        check("f B=2 C=", &json!({"A": "1"}), &(json!({"config": {"A": "1", "B": "2", "C": ""}}), json!({})));
        check("f A=x=y --unset B", &json!({"A": "1", "B": "2"}), &(json!({"config": {"A": "x=y"}}), json!({})));
        check("f A=1", &Value::Null, &(json!({"config": {"A": "1"}}), json!({})));
        check(
            "f --memory 512 --timeout 60",
            &json!({}),
            &(json!({"memoryInMBs": 512, "timeoutInSeconds": 60}), json!({})),
        );
        check(
            "f --processes 2 --expects per-record",
            &json!({}),
            &(json!({}), json!({"processes": 2, "expects": "per-record"})),
        );
        let refused = change(&json!({"config": {}}), &args("f --unset B")).unwrap_err();
        assert!(refused.to_string().contains("\"B\""), "{refused}");
    }

    #[test]
    fn keys_are_names_of_variables() {
        for (text, good) in
            [("A=1", true), ("_a1=", true), ("1A=x", false), ("A-B=x", false), ("A", false), ("=x", false)]
        {
            assert_eq!(key_value(text).is_ok(), good, "{text}");
        }
    }
}
