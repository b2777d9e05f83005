//! `penstock parser list`, `show`, `activate`, `deactivate` and `rollback`: the parsers that a server keeps.
//!
//! All but the last go by Google's own calls, so that they work with Google, too. Its paths have a parser's log type before
//! its id; who gives only an id has it looked up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dialects::chronicle_api::encode;
use http::Method;
use penstock_client::Chronicle;
use serde_json::{Map, Value, json};

use crate::cli::manage::items;
use crate::cli::output::{Format, say};
use crate::cli::target::{Patience, Target, TargetArgs};
use crate::cli::{CliError, Client, Remote};

pub const LIST_HELP: &str = "Examples:
  penstock parser list
  penstock parser list --log-type OKTA -o json
  penstock parser list --active --google --customer-id UUID --project-id P --region eu

PREBUILT ones came with the server or lie in the folder that its configuration names. They read the logs of every \
instance that has none of its own.";

pub const SHOW_HELP: &str = "Examples:
  penstock parser show OKTA@1f0c2d9e8b7a6543 > okta.conf
  penstock parser show 3d1c9f58-7f6e-4a53-9f0e-0f6f6f7c2b10 -o json";

pub const ACTIVATE_HELP: &str = "Example:
  penstock parser activate 3d1c9f58-7f6e-4a53-9f0e-0f6f6f7c2b10

It reads what comes from now on; what is stored stays as it is until penstock parser reparse. One that fails on all of the newest stored logs of its \
type is not activated.";

pub const DEACTIVATE_HELP: &str = "Examples:
  penstock parser deactivate 3d1c9f58-7f6e-4a53-9f0e-0f6f6f7c2b10
  penstock parser deactivate --log-type OKTA

The parser that came with the server reads the logs then, if there is one.";

pub const ROLLBACK_HELP: &str = "Examples:
  penstock parser rollback --log-type OKTA
  penstock parser rollback --log-type OKTA --reason 'users are missing since this morning'

Given again, it goes one further back. Before the first parser of one's own there is the one that came with the server.";

const COLUMNS: &[(&str, &str)] = &[
    ("LOG TYPE", "/logType"),
    ("KIND", "/kind"),
    ("ID", "/id"),
    ("STATE", "/state"),
    ("TYPE", "/type"),
    ("TRIED", "/validation"),
    ("BY", "/by"),
    ("CREATED", "/createTime"),
];

/// `penstock parser list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Of this log type only
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: Option<String>,
    /// Only those that are in use
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// A parser by its id, for `show` and `activate`.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Its id, or its full name
    id: String,
    /// Its log type [default: looked up]
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// `penstock parser deactivate`
#[derive(Debug, Args)]
pub struct DeactivateArgs {
    /// Its id, or its full name
    #[arg(required_unless_present = "log_type")]
    id: Option<String>,
    /// Its log type; without an id the one that is in use there
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// `penstock parser rollback`
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Whose parser
    #[arg(long, alias = "log_type", value_name = "TYPE")]
    log_type: String,
    /// Roll the log type's extension back, not its parser
    #[arg(long)]
    extension: bool,
    /// Why, for those who read the history
    #[arg(long)]
    reason: Option<String>,
    /// The instance [default: the only one there is]
    #[arg(long, alias = "customer-id", value_name = "UUID")]
    instance: Option<String>,
}

/// What a parser is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It reads logs.
    Parser,
    /// It adds to what another one made.
    Extension,
}

impl Kind {
    /// Where it stands in Google's paths.
    pub fn collection(self) -> &'static str {
        match self {
            Kind::Parser => "parsers",
            Kind::Extension => "parserExtensions",
        }
    }

    /// The word for it.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Parser => "parser",
            Kind::Extension => "extension",
        }
    }

    /// The key under which its program stands.
    pub fn program_key(self) -> &'static str {
        match self {
            Kind::Parser => "cbn",
            Kind::Extension => "cbnSnippet",
        }
    }
}

/// The parsers of an instance.
pub struct Kept {
    /// Where they are.
    pub target: Target,
    chronicle: Chronicle,
}

impl Kept {
    /// Finds the receiver.
    pub async fn connect(remote: &Remote, args: &TargetArgs) -> Result<Kept, CliError> {
        let target = Target::connect(remote, args).await?;
        let chronicle = target.chronicle(Patience::None)?;
        Ok(Kept { target, chronicle })
    }

    /// A call below the instance.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        self.target.call(&self.chronicle, method, path, query, body).await
    }

    /// All of a log type, or of all where that is `-`.
    pub async fn list(&self, kind: Kind, log_type: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, CliError> {
        let path = format!("logTypes/{}/{}", encode::segment(log_type), kind.collection());
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = query.to_vec();
            query.push(("pageSize", "100"));
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let mut page = self.call(Method::GET, &path, &query, None).await?;
            if let Value::Array(list) = page[kind.collection()].take() {
                all.extend(list);
            }
            match page["nextPageToken"].as_str() {
                Some(next) if !next.is_empty() && next != token => token = next.to_owned(),
                _ => return Ok(all),
            }
        }
    }

    /// The one that is in use for a log type.
    pub async fn active(&self, kind: Kind, log_type: &str) -> Result<Option<Value>, CliError> {
        match kind {
            Kind::Parser => Ok(self.list(kind, log_type, &[("filter", "STATE=ACTIVE")]).await?.into_iter().next()),
            Kind::Extension => {
                let all = self.list(kind, log_type, &[]).await?;
                Ok(all.into_iter().find(|extension| extension["state"] == "LIVE"))
            }
        }
    }

    /// The path of one, below the instance, and what it is.
    async fn find(&self, given: &str, log_type: Option<&str>) -> Result<(Kind, String), CliError> {
        if let Some(below) = given.strip_prefix(self.chronicle.name()).map(|rest| rest.trim_start_matches('/'))
            && let ["logTypes", log_type, collection, id] = below.split('/').collect::<Vec<_>>().as_slice()
        {
            let kind = if *collection == "parsers" { Kind::Parser } else { Kind::Extension };
            return Ok((kind, path(kind, log_type, id)));
        }
        if given.is_empty() || given.contains('/') {
            return Err(CliError::Usage(format!("{given:?} is not the id of a parser of {}", self.chronicle.name())));
        }
        // The ids of ours say it.
        if let Some((log_type, _)) = given.split_once('@') {
            return Ok((Kind::Parser, path(Kind::Parser, log_type, given)));
        }
        let of = log_type.unwrap_or("-");
        for kind in [Kind::Parser, Kind::Extension] {
            // Google knows no list of all extensions.
            if kind == Kind::Extension && self.target.is_google && log_type.is_none() {
                continue;
            }
            let query: &[(&str, &str)] = if kind == Kind::Parser { &[("view", "BASIC_VIEW")] } else { &[] };
            for found in self.list(kind, of, query).await? {
                let (found_type, id) = names(&found);
                if id == given {
                    return Ok((kind, path(kind, found_type, id)));
                }
            }
        }
        Err(CliError::Refused(format!("there is no parser {given:?}; `penstock parser list` shows those there are")))
    }
}

/// The path of one below the instance.
pub fn path(kind: Kind, log_type: &str, id: &str) -> String {
    // The ids of ours have an at sign, which needs no escape in a path.
    let id = encode::segment(id).replace("%40", "@");
    format!("logTypes/{}/{}/{id}", encode::segment(log_type), kind.collection())
}

/// Log type and id, as they stand in a resource's name.
pub fn names(resource: &Value) -> (&str, &str) {
    let name = resource["name"].as_str().unwrap_or_default();
    let mut parts = name.rsplit('/');
    let id = parts.next().unwrap_or_default();
    let log_type = parts.nth(1).unwrap_or_default();
    (log_type, id)
}

/// The program of one that was shown whole.
pub fn program(kind: Kind, resource: &Value) -> Option<String> {
    let text = resource[kind.program_key()].as_str()?;
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// `penstock parser list`
pub async fn list(remote: &Remote, args: &ListArgs) -> Result<(), CliError> {
    let kept = Kept::connect(remote, &args.target).await?;
    let log_type = args.log_type.as_deref().unwrap_or("-");
    let mut query = vec![("view", "BASIC_VIEW")];
    if args.active {
        query.push(("filter", "STATE=ACTIVE"));
    }
    let parsers = kept.list(Kind::Parser, log_type, &query).await?;
    let mut shown: Vec<Value> = parsers.iter().map(|parser| row(Kind::Parser, parser)).collect();
    if !kept.target.is_google || args.log_type.is_some() {
        for extension in kept.list(Kind::Extension, log_type, &[]).await? {
            if !args.active || extension["state"] == "LIVE" {
                shown.push(row(Kind::Extension, &extension));
            }
        }
    }
    shown.sort_by(|one, other| one["logType"].as_str().cmp(&other["logType"].as_str()));
    kept.target.format.list(&shown, COLUMNS, "There is no parser.");
    Ok(())
}

/// What is shown of one: what tells it from others, without its program.
fn row(kind: Kind, resource: &Value) -> Value {
    let (log_type, id) = names(resource);
    let mut row = Map::new();
    row.insert("logType".to_owned(), json!(log_type));
    row.insert("kind".to_owned(), json!(kind.noun()));
    row.insert("id".to_owned(), json!(id));
    for key in ["state", "type", "createTime"] {
        row.insert(key.to_owned(), resource[key].clone());
    }
    let stage = [&resource["validationStage"], &resource["releaseStage"]].into_iter().find(|stage| stage.is_string());
    row.insert("validation".to_owned(), stage.cloned().unwrap_or_default());
    row.insert("by".to_owned(), resource["creator"]["author"].clone());
    row.insert("name".to_owned(), resource["name"].clone());
    Value::Object(row)
}

/// `penstock parser show`
pub async fn show(remote: &Remote, args: &OneArgs) -> Result<(), CliError> {
    let kept = Kept::connect(remote, &args.target).await?;
    let (kind, path) = kept.find(&args.id, args.log_type.as_deref()).await?;
    let mut found = kept.call(Method::GET, &path, &[], None).await?;
    let source = program(kind, &found);
    if kept.target.format == Format::Table {
        let source = source.ok_or_else(|| CliError::Refused(format!("{} is no program", args.id)))?;
        say(source.trim_end_matches('\n'));
        return Ok(());
    }
    if let (Some(source), Some(members)) = (source, found.as_object_mut()) {
        members.shift_remove(kind.program_key());
        members.insert("source".to_owned(), Value::String(source));
    }
    kept.target.format.one(&found);
    Ok(())
}

/// `penstock parser activate`
pub async fn activate(remote: &Remote, args: &OneArgs) -> Result<(), CliError> {
    let kept = Kept::connect(remote, &args.target).await?;
    let (kind, path) = kept.find(&args.id, args.log_type.as_deref()).await?;
    kept.call(Method::POST, &format!("{path}:activate"), &[], Some(&json!({}))).await?;
    tell(&kept, kind, &path).await
}

/// `penstock parser deactivate`
pub async fn deactivate(remote: &Remote, args: &DeactivateArgs) -> Result<(), CliError> {
    let kept = Kept::connect(remote, &args.target).await?;
    let path = match (&args.id, &args.log_type) {
        (Some(id), log_type) => {
            let (kind, path) = kept.find(id, log_type.as_deref()).await?;
            if kind == Kind::Extension {
                let message =
                    "an extension ends when another one is activated, or with `penstock parser rollback --extension`";
                return Err(CliError::Usage(message.to_owned()));
            }
            path
        }
        (None, log_type) => {
            let log_type = log_type.as_deref().unwrap_or_default();
            let active = kept.active(Kind::Parser, log_type).await?;
            let active = active.ok_or_else(|| CliError::Refused(format!("no parser reads {log_type}")))?;
            let (log_type, id) = names(&active);
            path(Kind::Parser, log_type, id)
        }
    };
    kept.call(Method::POST, &format!("{path}:deactivate"), &[], Some(&json!({}))).await?;
    tell(&kept, Kind::Parser, &path).await
}

/// Shows what one is now.
async fn tell(kept: &Kept, kind: Kind, path: &str) -> Result<(), CliError> {
    let found = kept.call(Method::GET, path, &[], None).await?;
    kept.target.format.one(&row(kind, &found));
    Ok(())
}

/// `penstock parser rollback`
pub async fn rollback(remote: &Remote, args: &RollbackArgs) -> Result<(), CliError> {
    let client = Client::connect(remote)?;
    let slot = if args.extension { "extension" } else { "parser" };
    let body = json!({ "instance": args.instance, "slot": slot, "reason": args.reason });
    let path = format!("/api/parsers/{}:rollback", encode::segment(&args.log_type));
    let done = client.call(Method::POST, &path, Some(&body)).await?;
    client.format.one(&done);
    let now = match done["parser"].as_str() {
        Some(parser) => format!("From now on {parser} reads {}.", args.log_type),
        None => format!("From now on no {slot} reads {}.", args.log_type),
    };
    client.format.remark(&now);
    Ok(())
}

/// The errors of a validation report, where it has some.
pub async fn parsing_errors(kept: &Kept, report: &str) -> Result<Vec<Value>, CliError> {
    let below = report.split_once("/logTypes/").map_or(report, |(_, below)| below);
    let page = kept.call(Method::GET, &format!("logTypes/{below}/parsingErrors"), &[("pageSize", "3")], None).await?;
    Ok(items(&page["parsingErrors"]).to_vec())
}
