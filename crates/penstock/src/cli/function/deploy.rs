//! `penstock function deploy`: a folder's way to a function that can be called.
//!
//! The command reads `func.yaml` for what OCI keeps of a function (its name, memory, time limit, configuration) and sends the folder
//! as an archive; the server reads it again for the entry point. Then it waits until the server says that the version is
//! installed, which takes pip's time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use functions::{Entry, FuncYaml};
use http::Method;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use super::{API, application, duration, path, project};
use crate::cli::manage::segment;
use crate::cli::oci::tenancy::{InstanceArg, Tenancy, is_ocid, text};
use crate::cli::output::{Format, say};
use crate::cli::{CliError, Client};

/// `penstock function deploy`
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// The function's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The application that it belongs to, by name or OCID
    #[arg(long)]
    app: String,
    /// Make the application if there is none of this name
    #[arg(long)]
    create_app: bool,
    /// Compartment to make the application in, by OCID or name [default: the root]
    #[arg(long, requires = "create_app")]
    compartment: Option<String>,
    /// Name of the function [default: that of func.yaml]
    #[arg(long)]
    name: Option<String>,
    /// How long to wait until it is installed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    wait: u64,
    #[command(flatten)]
    instance: InstanceArg,
}

/// How often the server is asked whether the function is installed.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Memory of a function whose func.yaml says nothing, as OCI has it.
const MEMORY_MB_DEFAULT: u64 = 128;

/// `penstock function deploy`
pub async fn run(client: &Client, args: DeployArgs) -> Result<(), CliError> {
    let yaml = read_yaml(&args)?;
    let Some(name) = args.name.clone().or_else(|| yaml.name.clone()) else {
        return Err(CliError::Usage("func.yaml does not name the function; --name does".to_owned()));
    };
    if !project::is_name(&name) {
        return Err(CliError::Usage(format!("{name:?} cannot be a function's name; --name gives it another")));
    }
    let packed = project::pack(&args.folder)?;
    client.format.remark(&format!(
        "Packed {}: {} files, {}.",
        args.folder.display(),
        packed.files,
        HumanBytes(packed.bytes)
    ));

    let tenancy = Tenancy::open(client, &args.instance).await?;
    let app = application_or_new(&tenancy, &args).await?;
    let of_app = format!("{API}/functions?applicationId={}", segment(text(&app, "id")));
    let before = tenancy.list(&of_app).await?.into_iter().find(|function| text(function, "displayName") == name);
    let began = Instant::now();
    let source = source(&yaml, &packed.zip);
    let made = match &before {
        None => {
            let body = creation(&yaml, &name, text(&app, "id"), source);
            tenancy.call(Method::POST, &format!("{API}/functions"), Some(&body)).await?
        }
        Some(summary) => {
            let before = tenancy.call(Method::GET, &path(summary), None).await?;
            let body = update(&yaml, &before, source);
            tenancy.call(Method::PUT, &path(&before), Some(&body)).await?
        }
    };
    let active = wait(&tenancy, &made, Duration::from_secs(args.wait)).await?;
    let details = text(&active, "lifecycleDetails");
    match (text(&active, "lifecycleState"), details) {
        ("ACTIVE", "") => {}
        ("ACTIVE", why) => {
            return Err(CliError::Refused(format!("{name} could not be installed, the version before goes on: {why}")));
        }
        (_, why) => return Err(CliError::Refused(format!("{name} could not be installed: {why}"))),
    }
    match client.format {
        Format::Table => {
            let verb = if before.is_some() { "Updated" } else { "Made" };
            let version = version(&active);
            say(&format!(
                "{verb} function {name} of {}{version} in {}. Call it:\n  {} function invoke {name}",
                text(&app, "displayName"),
                duration(began.elapsed()),
                crate::serve::program()
            ));
        }
        format => format.one(&active),
    }
    Ok(())
}

fn read_yaml(args: &DeployArgs) -> Result<FuncYaml, CliError> {
    let file = args.folder.join("func.yaml");
    let content = std::fs::read_to_string(&file).map_err(|error| {
        CliError::Refused(format!(
            "cannot read {}: {error}\nA function's folder has func.py, func.yaml and requirements.txt; \
             `penstock function init` writes one.",
            file.display()
        ))
    })?;
    let yaml = FuncYaml::parse(&content)
        .map_err(|error| CliError::Refused(format!("{} cannot be used: {error}", file.display())))?;
    // What the server would find only when it is called.
    let entry = args.folder.join(&yaml.entry.clone().unwrap_or_default().file);
    if !entry.is_file() {
        return Err(CliError::Refused(format!("{}, which func.yaml begins at, is not there", entry.display())));
    }
    Ok(yaml)
}

async fn application_or_new(tenancy: &Tenancy<'_>, args: &DeployArgs) -> Result<Value, CliError> {
    if is_ocid(&args.app) || !args.create_app {
        return application(tenancy, &args.app).await.map_err(|error| match error {
            CliError::Refused(why) if !is_ocid(&args.app) => {
                CliError::Refused(format!("{why}\n--create-app makes it."))
            }
            error => error,
        });
    }
    let all = tenancy.list_everywhere(&format!("{API}/applications"), None).await?;
    if all.iter().any(|app| text(app, "displayName") == args.app) {
        return application(tenancy, &args.app).await;
    }
    let compartment = tenancy.compartment(args.compartment.as_deref()).await?;
    // OCI wants a subnet, of which there is none here.
    let body = json!({ "compartmentId": compartment, "displayName": args.app, "subnetIds": [NO_SUBNET] });
    let made = tenancy.call(Method::POST, &format!("{API}/applications"), Some(&body)).await?;
    tenancy.client().format.remark(&format!("Made application {}.", args.app));
    Ok(made)
}

/// Stands where OCI has the network that an application's functions are in.
const NO_SUBNET: &str = "ocid1.subnet.oc1..none";

fn source(yaml: &FuncYaml, zip: &[u8]) -> Value {
    let Entry { file, name } = yaml.entry.clone().unwrap_or_default();
    let module = file.strip_suffix(".py").unwrap_or(&file).replace('/', ".");
    json!({
        "sourceType": "ARCHIVE",
        "archiveSourceDetails": { "archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": STANDARD.encode(zip) },
        "handler": format!("{module}.{name}"),
        "runtimeConfig": { "runtimeConfigType": "FUNCTION_UPDATE", "functionsRuntimeName": "python" },
    })
}

/// What makes a function.
fn creation(yaml: &FuncYaml, name: &str, app: &str, source: Value) -> Value {
    let mut body = settings(yaml, &Map::new());
    body.insert("displayName".to_owned(), json!(name));
    body.insert("applicationId".to_owned(), json!(app));
    body.entry("memoryInMBs").or_insert(json!(MEMORY_MB_DEFAULT));
    body.insert("sourceDetails".to_owned(), source);
    Value::Object(body)
}

/// What gives a function a new version. Keys of its configuration that func.yaml does not name stay.
fn update(yaml: &FuncYaml, before: &Value, source: Value) -> Value {
    let none = Map::new();
    let mut body = settings(yaml, before["config"].as_object().unwrap_or(&none));
    body.insert("sourceDetails".to_owned(), source);
    Value::Object(body)
}

/// What func.yaml says of memory, time and configuration; what it does not say is left to the server, or as it was.
fn settings(yaml: &FuncYaml, config: &Map<String, Value>) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(memory) = yaml.memory_mib {
        body.insert("memoryInMBs".to_owned(), json!(memory));
    }
    if let Some(timeout) = yaml.timeout {
        body.insert("timeoutInSeconds".to_owned(), json!(timeout.as_secs()));
    }
    if !yaml.config.is_empty() {
        let mut config = config.clone();
        config.extend(yaml.config.iter().map(|(key, value)| (key.clone(), json!(value))));
        body.insert("config".to_owned(), Value::Object(config));
    }
    body
}

/// Asks until the function is installed, or is not going to be.
async fn wait(tenancy: &Tenancy<'_>, made: &Value, patience: Duration) -> Result<Value, CliError> {
    let bar = match tenancy.client().format {
        Format::Table => {
            let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}").expect("the template is valid");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        }
        _ => ProgressBar::hidden(),
    };
    bar.set_message("the server installs what the function needs");
    bar.enable_steady_tick(Duration::from_millis(100));
    let began = Instant::now();
    let path = path(made);
    loop {
        let now = tenancy.call(Method::GET, &path, None).await?;
        if !matches!(text(&now, "lifecycleState"), "CREATING" | "UPDATING") {
            bar.finish_and_clear();
            return Ok(now);
        }
        if began.elapsed() > patience {
            bar.finish_and_clear();
            return Err(CliError::Refused(format!(
                "it is not installed after {} s and goes on being installed; `penstock function show {}` tells",
                patience.as_secs(),
                text(&now, "id")
            )));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn version(function: &Value) -> String {
    let (version, label) = (text(&function["penstock"], "version"), text(&function["penstock"], "label"));
    match (version, label) {
        ("", _) => String::new(),
        (version, "") => format!(", version {version},"),
        (version, label) => format!(", version {version} ({label}),"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> FuncYaml {
        FuncYaml::parse(text).unwrap()
    }

    #[test]
    fn a_function_is_made_as_func_yaml_says() {
        let full =
            "name: a\nentrypoint: /python/bin/fdk /function/src/f.py main\nmemory: 256\ntimeout: 60\nconfig:\n  A: 1\n";
        let source = |yaml: &FuncYaml| source(yaml, b"PK");
        let made = creation(&yaml(full), "b", "ocid1.fnapp.oc1.r.1", source(&yaml(full)));
        assert_eq!(
            made,
            json!({
                "memoryInMBs": 256, "timeoutInSeconds": 60, "config": { "A": "1" }, "displayName": "b",
                "applicationId": "ocid1.fnapp.oc1.r.1",
                "sourceDetails": {
                    "sourceType": "ARCHIVE",
                    "archiveSourceDetails": { "archiveSourceType": "DIRECT_ARCHIVE", "archiveFile": "UEs=" },
                    "handler": "src.f.main",
                    "runtimeConfig": { "runtimeConfigType": "FUNCTION_UPDATE", "functionsRuntimeName": "python" },
                },
            })
        );
        let bare = creation(&yaml("name: a\n"), "a", "x", source(&yaml("name: a\n")));
        assert_eq!(bare["memoryInMBs"], MEMORY_MB_DEFAULT);
        assert_eq!(bare["sourceDetails"]["handler"], "func.handler");
        assert!(bare.get("timeoutInSeconds").is_none() && bare.get("config").is_none(), "{bare}");
    }

    #[test]
    fn an_update_keeps_what_func_yaml_does_not_name() {
        let before = json!({ "config": { "A": "set by hand", "TOKEN": "t" }, "memoryInMBs": 512 });
        let changed = update(&yaml("config:\n  A: '1'\n  B: '2'\n"), &before, Value::Null);
        assert_eq!(changed, json!({ "config": { "A": "1", "TOKEN": "t", "B": "2" }, "sourceDetails": null }));
        assert_eq!(
            update(&yaml("memory: 128\n"), &before, Value::Null),
            json!({ "memoryInMBs": 128, "sourceDetails": null })
        );
    }
}
