//! `penstock feed`: what others push to. Verbs and flags of Google's `secops feed`.
//!
//! Our own server takes one kind, `HTTPS_PUSH_WEBHOOK`, and says so of the others: nothing is fetched from anywhere.

use clap::Subcommand;
use http::Method;
use penstock_client::Chronicle;
use serde_json::{Value, json};

use super::forwarder::{Pages, json_value};
use super::manage::items;
use super::output::Format;
use super::target::{Patience, Target, TargetArgs};
use super::{CliError, Remote};

const COLUMNS: &[(&str, &str)] =
    &[("ID", "/id"), ("NAME", "/displayName"), ("STATE", "/state"), ("KIND", "/kind"), ("LOG TYPE", "/logType")];

/// `penstock feed`
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// List feeds
    List {
        /// Taken for Google's command, whose other form is not needed here: a list is a list
        #[arg(long, alias = "as_list", hide = true)]
        as_list: bool,
        #[command(flatten)]
        pages: Pages,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show a feed
    Get {
        #[command(flatten)]
        feed: Named,
    },
    /// Make a feed
    #[command(after_help = "Example:
  penstock feed create --display-name 'GitHub audit' \\
      --details '{\"feedSourceType\": \"HTTPS_PUSH_WEBHOOK\", \"logType\": \"GITHUB\",
                 \"httpsPushWebhookSettings\": {\"splitDelimiter\": \"\\\\n\"}}'
  penstock feed generate-secret --id ID          what senders prove themselves with, beside an API key")]
    Create {
        /// Its name for people
        #[arg(long, alias = "display_name")]
        display_name: String,
        /// What it is (JSON): feedSourceType, logType and the settings of that kind
        #[arg(long, value_name = "JSON", value_parser = json_value)]
        details: Value,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Change a feed: what is given, and nothing else; --details replace the whole of it
    Update {
        #[command(flatten)]
        feed: Named,
        /// Its new name for people
        #[arg(long, alias = "display_name")]
        display_name: Option<String>,
        /// What it is from now on (JSON), as a whole
        #[arg(long, value_name = "JSON", value_parser = json_value)]
        details: Option<Value>,
    },
    /// Delete a feed
    Delete {
        #[command(flatten)]
        feed: Named,
    },
    /// Let it take data
    Enable {
        #[command(flatten)]
        feed: Named,
    },
    /// Let it take no more data
    Disable {
        #[command(flatten)]
        feed: Named,
    },
    /// Give it a new secret, which is shown this once; the one it had ends
    GenerateSecret {
        #[command(flatten)]
        feed: Named,
    },
}

/// A feed.
#[derive(Debug, Clone, clap::Args)]
pub struct Named {
    /// Its id
    #[arg(long)]
    id: String,
    #[command(flatten)]
    target: TargetArgs,
}

pub async fn run(remote: &Remote, command: FeedCommand) -> Result<(), CliError> {
    match command {
        FeedCommand::List { as_list: _, pages, target } => Feeds::connect(remote, &target).await?.list(&pages).await,
        FeedCommand::Get { feed } => {
            let (on, path) = Feeds::find(remote, &feed).await?;
            on.show(&on.call(Method::GET, &path, &[], None).await?);
            Ok(())
        }
        FeedCommand::Create { display_name, details, target } => {
            let on = Feeds::connect(remote, &target).await?;
            let body = json!({ "displayName": display_name, "details": details });
            on.show(&on.call(Method::POST, "feeds", &[], Some(&body)).await?);
            Ok(())
        }
        FeedCommand::Update { feed, display_name, details } => {
            let (on, path) = Feeds::find(remote, &feed).await?;
            let given =
                [("display_name", "displayName", display_name.map(Value::from)), ("details", "details", details)];
            let mut body = json!({});
            let mut mask = Vec::new();
            for (name, key, value) in given {
                if let Some(value) = value {
                    body[key] = value;
                    mask.push(name);
                }
            }
            if mask.is_empty() {
                return Err(CliError::Usage("nothing is to be changed: give --display-name or --details".to_owned()));
            }
            on.show(&on.call(Method::PATCH, &path, &[("updateMask", &mask.join(","))], Some(&body)).await?);
            Ok(())
        }
        FeedCommand::Delete { feed } => {
            let (on, path) = Feeds::find(remote, &feed).await?;
            on.call(Method::DELETE, &path, &[], None).await?;
            on.target.format.remark(&format!("Feed {} is deleted.", feed.id));
            Ok(())
        }
        FeedCommand::Enable { feed } => set(remote, &feed, "enable", "takes data").await,
        FeedCommand::Disable { feed } => set(remote, &feed, "disable", "takes no more data").await,
        FeedCommand::GenerateSecret { feed } => {
            let (on, path) = Feeds::find(remote, &feed).await?;
            let made = on.call(Method::POST, &format!("{path}:generateSecret"), &[], None).await?;
            on.target.format.one(&made);
            on.target.format.remark("The secret is shown this once.");
            if !on.target.is_google {
                on.target.format.remark(&format!(
                    "Senders POST to {}/v1alpha/{}/{path}:importPushLogs with an API key (`penstock key create`) in \
                     X-Goog-Api-Key and the secret in X-Webhook-Access-Key.",
                    on.target.address,
                    on.chronicle.name()
                ));
            }
            Ok(())
        }
    }
}

async fn set(remote: &Remote, feed: &Named, verb: &str, done: &str) -> Result<(), CliError> {
    let (on, path) = Feeds::find(remote, feed).await?;
    let changed = on.call(Method::POST, &format!("{path}:{verb}"), &[], None).await?;
    match on.target.format {
        Format::Table => on.target.format.remark(&format!("Feed {} {done}.", feed.id)),
        _ => on.show(&changed),
    }
    Ok(())
}

/// The feeds of an instance.
struct Feeds {
    target: Target,
    chronicle: Chronicle,
}

impl Feeds {
    async fn connect(remote: &Remote, args: &TargetArgs) -> Result<Feeds, CliError> {
        let target = Target::connect(remote, args).await?;
        let chronicle = target.chronicle(Patience::None)?;
        Ok(Feeds { target, chronicle })
    }

    /// The feeds, and the path of this one.
    async fn find(remote: &Remote, feed: &Named) -> Result<(Feeds, String), CliError> {
        let on = Feeds::connect(remote, &feed.target).await?;
        let path = on.target.path_of(&on.chronicle, "feeds", &feed.id)?;
        Ok((on, path))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        self.target.call(&self.chronicle, method, path, query, body).await
    }

    async fn list(&self, pages: &Pages) -> Result<(), CliError> {
        let one_page = pages.query();
        let mut all = Vec::new();
        let mut query = one_page.clone().unwrap_or_default();
        let next = loop {
            let asked: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let page = self.call(Method::GET, "feeds", &asked, None).await?;
            all.extend(items(&page["feeds"]).iter().map(|feed| document(feed, self.target.format)));
            match page["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) if one_page.is_none() => query = vec![("pageToken", token.to_owned())],
                next => break next.map(str::to_owned),
            }
        };
        self.target.format.list(&all, COLUMNS, "There is no feed.");
        if let Some(next) = next {
            self.target.format.remark(&format!("There are more: --page-token {next}"));
        }
        Ok(())
    }

    fn show(&self, feed: &Value) {
        self.target.format.one(&document(feed, self.target.format));
    }
}

/// What is shown of a feed. Programs get Google's fields.
fn document(feed: &Value, format: Format) -> Value {
    if format != Format::Table {
        return feed.clone();
    }
    let last = |text: &Value| text.as_str().and_then(|text| text.rsplit('/').next()).map(str::to_owned);
    let mut details = feed["details"].clone();
    let log_type = last(&details["logType"]);
    if let Some(details) = details.as_object_mut() {
        details.retain(|name, _| name != "feedSourceType" && name != "logType");
    }
    json!({
        "id": last(&feed["name"]), "displayName": feed["displayName"], "state": feed["state"],
        "kind": feed["details"]["feedSourceType"], "logType": log_type, "settings": details,
    })
}
