//! The command line: what it takes, and who does it.
//!
//! `serve`, `check`, `log verify` and most of `parser` work on this machine; every other command asks a running server, so that
//! there is one way to do a thing and one place that checks it. `log`, `entity`, `forwarder`, `feed` and `parser deploy` ask as senders do, by the
//! Chronicle API and through the client library; `oci` and `function` by the calls of OCI's own API, with our token in place
//! of a signature.

mod ca;
mod client;
mod connector;
mod demo;
mod entity;
mod feed;
mod forwarder;
mod function;
mod intake;
mod local;
pub(crate) mod log;
pub(crate) mod manage;
pub(crate) mod oci;
mod oci_user;
mod output;
pub(crate) mod parser;
mod receipt;
mod search;
mod status;
mod target;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use client::{CliError, Client};
pub use output::{Format, say};

/// Self-hosted security-log intake: takes in what Google Chronicle's ingestion APIs take, says yes only when it is on
/// disk, makes it searchable, delivers it onward.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    remote: Remote,
}

const EXAMPLES: &str = "Examples:
  penstock serve                                   start a server in ./penstock-data on 127.0.0.1:8480
  penstock demo                                    send the sample requests, see them found and delivered
  penstock log ingest --type OKTA --file okta.log  send a file of logs
  penstock search udm 'ip = \"10.1.2.3\"'            find UDM events by any ip field
  penstock search raw 'altostrat.com' --limit 5    find raw logs by their text
  penstock status                                  what comes in, what is kept, who is behind
  penstock parser run okta.conf okta.log           run a Chronicle parser on logs; no server is needed

Exit status: 0 done, 1 refused or not found, 2 wrong usage, 3 server not reachable.";

/// Where a server is if nothing is said.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8480";

/// How to reach the server; the same for every command.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// The server to ask
    #[arg(
        long,
        global = true,
        env = "PENSTOCK_SERVER",
        default_value = DEFAULT_SERVER,
        help_heading = "Server"
    )]
    pub server: String,
    /// Operator or access token [default: the data directory's, or that of the server running on this machine]
    #[arg(long, global = true, env = "PENSTOCK_TOKEN", hide_env_values = true, help_heading = "Server")]
    pub token: Option<String>,
    /// Data directory: of the server to start, or whose operator token is used [default: ./penstock-data]
    #[arg(long, global = true, env = "PENSTOCK_DATA", help_heading = "Server")]
    pub data: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, global = true, value_enum, default_value = "table", help_heading = "Server")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(after_help = "Examples:
  penstock serve
  penstock serve --data /var/lib/penstock --listen 127.0.0.1:9000
  PENSTOCK_STORE__ENABLED=false penstock serve --config penstock.toml")]
    Serve(ServeArgs),
    /// Check a configuration file without starting anything
    Check(CheckArgs),
    /// Send sample requests to the running server and show them found and delivered; records of Oracle's lab
    #[command(
        after_help = "Examples:
  penstock demo
  penstock demo oci reboot --name compute-for-log-test
  penstock demo oci ssh --from 132.145.1.2 --to 10.0.2.121
  penstock demo oci traffic --count 1000",
        args_conflicts_with_subcommands = true
    )]
    Demo(DemoArgs),
    /// Find records
    #[command(subcommand)]
    Search(SearchCommand),
    /// Tell where a record or batch is: committed, stored, delivered
    Receipt(ReceiptArgs),
    /// What comes in, what is kept, who is behind, which senders are in trouble
    Status,
    /// Tenants: Chronicle instances
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Service accounts, whose key files Google's libraries take
    #[command(subcommand)]
    Account(AccountCommand),
    /// API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// What is sent to as to Sekoia.io: named ways in, each with a key
    #[command(subcommand)]
    Intake(intake::IntakeCommand),
    /// Who may sign requests as the `oci` command and OCI's SDKs do
    #[command(subcommand)]
    OciUser(oci_user::OciUserCommand),
    /// OCI's logging: compartments, logs, records sent again
    #[command(subcommand)]
    Oci(oci::OciCommand),
    /// Functions: code of yours that connectors hand records to
    #[command(subcommand)]
    Function(function::FunctionCommand),
    /// Print the certificate that programs must trust to reach this server in place of Google
    #[command(after_help = "Examples:
  penstock ca --out penstock-ca.pem
  export HTTPS_PROXY=http://127.0.0.1:8481 REQUESTS_CA_BUNDLE=$PWD/penstock-ca.pem
  secops log ingest …                              any program for Google SecOps, unchanged

The section [listen.googleapis] of the configuration turns the listener on that such programs reach. The authority
signs for googleapis.com only. With `--data DIR` the certificate is found without a running server, too. httplib2 reads
HTTPLIB2_CA_CERTS, curl CURL_CA_BUNDLE, Go SSL_CERT_FILE.")]
    Ca {
        /// Where to write it, in place of standard output
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Log types beyond the built-in ones
    #[command(subcommand)]
    LogType(LogTypeCommand),
    /// Where records are delivered to
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Records that a target refused for good
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Send logs and UDM events; log types; the durable log on this machine
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Send entities: users, assets and the like
    #[command(subcommand)]
    Entity(entity::EntityCommand),
    /// What logs come through: forwarders and their collectors
    #[command(subcommand)]
    Forwarder(forwarder::ForwarderCommand),
    /// What others push logs to
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Run, test, check and write parsers in Chronicle's language on this machine; deploy them to a server
    #[command(subcommand)]
    Parser(parser::ParserCommand),
    /// Measure a running server
    #[command(subcommand)]
    Bench(crate::bench::BenchCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:
  penstock completion bash > /etc/bash_completion.d/penstock")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `penstock serve`
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Configuration file [default: ./penstock.toml if there is one]
    #[arg(long, env = "PENSTOCK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8480]; port 0 takes a free one
    #[arg(long, env = "PENSTOCK_LISTEN")]
    pub listen: Option<SocketAddr>,
}

/// `penstock check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Configuration file
    #[arg(env = "PENSTOCK_CONFIG", default_value = "penstock.toml")]
    pub config: PathBuf,
}

/// `penstock demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Key file to send with [default: keys/default.json of the data directory]
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// Something else to show
    #[command(subcommand)]
    pub command: Option<DemoCommand>,
}

/// `penstock demo`, but for the sample requests.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// What happens in an OCI tenancy during Oracle's lab, as records in its logs
    #[command(subcommand)]
    Oci(demo::oci::DemoOciCommand),
}

/// `penstock search`
#[derive(Debug, Subcommand)]
pub(crate) enum SearchCommand {
    /// By the text of raw logs; below each the events that a parser made of it, or why there is none
    #[command(after_help = "Examples:
  penstock search raw 'client 10.120.20.32'
  penstock search raw --regex 'query: [a-z]+\\.com' --log-type BIND_DNS --from 2019-02-26T00:00:00Z")]
    Raw {
        /// Text to find, in any case
        #[arg(required_unless_present = "regex", conflicts_with = "regex")]
        text: Option<String>,
        /// Regular expression to find instead
        #[arg(long)]
        regex: Option<String>,
        #[command(flatten)]
        common: SearchArgs,
    },
    /// By UDM fields: what was sent as UDM, and what parsers made of raw logs
    #[command(after_help = "Examples:
  penstock search udm 'metadata.event_type = \"USER_LOGIN\" AND target.user.userid = \"mary@altostrat.com\"'
  penstock search udm 'ip = \"10.1.2.3\" OR hostname = /^host[0-9]+$/ nocase'

Fields that stand for many: domain, email, file_path, hash, hostname, ip, namespace, process_id, user.")]
    Udm {
        /// Search expression
        expression: String,
        #[command(flatten)]
        common: SearchArgs,
    },
}

/// What every search takes.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// Earliest event time (RFC 3339, or a date), inclusive
    #[arg(long)]
    pub from: Option<String>,
    /// Latest event time (RFC 3339, or a date), exclusive
    #[arg(long)]
    pub to: Option<String>,
    /// Only this log type; may be given several times
    #[arg(long)]
    pub log_type: Vec<String>,
    /// Most rows, newest first
    #[arg(long, default_value_t = event::limits::SEARCH_ROWS_DEFAULT as u64, value_parser = clap::value_parser!(u64).range(1..=event::limits::SEARCH_ROWS_MAX as u64))]
    pub limit: u64,
    /// Only this instance [default: all that the token may see]
    #[arg(long)]
    pub instance: Option<String>,
}

/// `penstock receipt`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  penstock receipt 019aa7e0-0000-7000-8000-000000000000")]
pub struct ReceiptArgs {
    /// Batch id (the X-Penstock-Batch of a reply, or operations/ID) or record id (of a search row)
    pub id: String,
}

/// `penstock instance`
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// Make an instance
    Create {
        /// Name for people
        #[arg(long, default_value = "")]
        name: String,
        /// Its customer id (UUID) [default: a new one]
        #[arg(long)]
        id: Option<String>,
        /// Google Cloud project that its resources are named under
        #[arg(long, default_value = "penstock")]
        project: String,
        /// Region that its resources are named under
        #[arg(long, default_value = "us")]
        location: String,
    },
    /// List all instances
    List,
    /// Show one instance
    Show {
        /// Its customer id
        id: String,
    },
    /// Delete an instance with its accounts, keys, intakes, log types and connectors; stored logs stay until they expire
    Delete {
        /// Its customer id
        id: String,
        /// Do it without being asked again
        #[arg(long)]
        yes: bool,
    },
}

/// `penstock account`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make a service account and write its key file
    #[command(after_help = "Examples:
  penstock account create --role ingest --out sa.json
  penstock account create --instance c8c65bfa-5f2c-42d4-9189-64bb7b939f2c --role read --name analyst --out analyst.json
  penstock account create --data ./penstock-data --role ingest --out sa.json    (no server running)")]
    Create {
        /// Its instance [default: the only one there is]
        #[arg(long)]
        instance: Option<String>,
        /// What it may do: ingest, read or admin (admin includes both)
        #[arg(long, default_value = "ingest", value_parser = ["ingest", "read", "admin"])]
        role: String,
        /// Name before the @ of its e-mail address [default: the role and a number]
        #[arg(long)]
        name: Option<String>,
        /// Where to write the key file (mode 0600)
        #[arg(long)]
        out: PathBuf,
    },
    /// List accounts
    List {
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
    /// Give an account a new key; the old one ends at once, and tokens made with it
    Rotate {
        /// Its e-mail address
        email: String,
        /// Where to write the new key file (mode 0600)
        #[arg(long)]
        out: PathBuf,
    },
    /// End an account's access
    Disable {
        /// Its e-mail address
        email: String,
    },
    /// Write a file of application-default credentials with a new refresh token of an account
    #[command(after_help = "Example:
  penstock account adc ingest-1a2b3c@penstock-9b2bd9ac.iam.gserviceaccount.com --out adc.json
  GOOGLE_APPLICATION_CREDENTIALS=adc.json …

Google's Python library asks oauth2.googleapis.com for the tokens of such a file, so programs that use it need the
googleapis listener; see `penstock ca --help`.")]
    Adc {
        /// Its e-mail address
        email: String,
        /// Where to write the file (mode 0600)
        #[arg(long)]
        out: PathBuf,
    },
    /// End all refresh tokens of an account, and the access tokens that they gave
    RevokeAdc {
        /// Its e-mail address
        email: String,
    },
}

/// `penstock key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an API key (`?key=`); it is shown once
    Create {
        /// Its instance [default: the only one there is]
        #[arg(long)]
        instance: Option<String>,
        /// What it may do: ingest, read or admin
        #[arg(long, default_value = "ingest", value_parser = ["ingest", "read", "admin"])]
        role: String,
        /// Name for people
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List API keys, without their secrets
    List {
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
    /// End an API key
    Delete {
        /// Its id
        id: String,
    },
}

/// `penstock log-type`
#[derive(Debug, Subcommand)]
pub enum LogTypeCommand {
    /// Declare a log type of your own
    Add {
        /// Its name: 2 to 64 of A-Z, 0-9 and _
        log_type: String,
        /// What it is
        #[arg(long, default_value = "")]
        description: String,
        /// Its instance [default: the only one there is]
        #[arg(long)]
        instance: Option<String>,
    },
    /// List log types
    List {
        /// Only custom ones
        #[arg(long)]
        custom: bool,
        /// Only those with this text in name or description
        #[arg(long)]
        grep: Option<String>,
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
}

/// `penstock connector`
#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// Make a connector
    #[command(after_help = "Examples:
  penstock connector create --name siem --url https://siem.example.com/in --header 'Authorization: Bearer …'
  penstock connector create --name okta --url http://127.0.0.1:9000/ --log-type OKTA --format ndjson --gzip --start oldest")]
    Create(Box<connector::CreateArgs>),
    /// List connectors with their state and counts
    List {
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
    /// Show one connector
    Show(Named),
    /// Let it deliver
    Activate(Named),
    /// Stop it; it keeps its place in the log
    Deactivate(Named),
    /// Take note of ranges that it lost, so that it no longer needs attention for them
    Acknowledge(Named),
    /// Delete it with its place and its dead letters
    Delete(Named),
}

/// A connector's name.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The connector
    pub name: String,
    /// Its instance [default: the only one that has this connector]
    #[arg(long)]
    pub instance: Option<String>,
}

/// `penstock dlq`
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List dead letters of a connector
    List {
        #[command(flatten)]
        connector: Named,
        /// Most rows
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one dead letter whole
    Show {
        #[command(flatten)]
        connector: Named,
        /// Record id
        #[arg(long)]
        id: String,
    },
    /// Deliver dead letters again
    Retry {
        #[command(flatten)]
        connector: Named,
        /// Record id; all of the connector's without
        #[arg(long)]
        id: Vec<String>,
    },
    /// Forget dead letters
    Drop {
        #[command(flatten)]
        connector: Named,
        /// Record id; all of the connector's without
        #[arg(long)]
        id: Vec<String>,
    },
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&CliError::Refused(format!("cannot start: {error}"))),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &CliError) -> ExitCode {
    // A query's diagnostic says "error:" itself.
    let text = error.to_string();
    eprintln!("penstock: {}", text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    ExitCode::from(error.exit_status())
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { command, remote } = cli;
    match command {
        Command::Serve(args) => local::serve(args, &remote).await,
        Command::Check(args) => local::check(&args),
        Command::Log(command) => log::run(&remote, command).await,
        Command::Entity(command) => entity::run(&remote, command).await,
        Command::Forwarder(command) => forwarder::run(&remote, command).await,
        Command::Feed(command) => feed::run(&remote, command).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "penstock", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
        Command::Account(AccountCommand::Create { instance, role, name, out }) => {
            manage::account_create(&remote, instance, role, name, &out).await
        }
        Command::Function(function::FunctionCommand::Init { name, .. }) => function::init(&name, remote.output),
        Command::Ca { out } => ca::run(&remote, out.as_deref()).await,
        Command::Parser(command) => parser::run(&remote, command).await,
        command => {
            let client = Client::connect(&remote)?;
            match command {
                Command::Demo(DemoArgs { command: Some(DemoCommand::Oci(command)), .. }) => {
                    demo::oci::run(&client, command).await
                }
                Command::Demo(args) => demo::run(&client, &remote, args).await,
                Command::Search(command) => search::run(&client, command).await,
                Command::Receipt(args) => receipt::run(&client, &args.id).await,
                Command::Status => status::run(&client).await,
                Command::Instance(command) => manage::instance(&client, command).await,
                Command::Account(command) => manage::account(&client, command).await,
                Command::Key(command) => manage::key(&client, command).await,
                Command::Intake(command) => intake::run(&client, command).await,
                Command::OciUser(command) => oci_user::run(&client, command).await,
                Command::Oci(command) => oci::run(&client, command).await,
                Command::Function(command) => function::run(&client, command).await,
                Command::LogType(command) => manage::log_type(&client, command).await,
                Command::Connector(command) => connector::run(&client, command).await,
                Command::Dlq(command) => connector::dead_letters(&client, command).await,
                Command::Bench(command) => crate::bench::run_command(command, &client, &remote).await,
                Command::Serve(_)
                | Command::Check(_)
                | Command::Log(_)
                | Command::Ca { .. }
                | Command::Entity(_)
                | Command::Forwarder(_)
                | Command::Feed(_)
                | Command::Parser(_)
                | Command::Completion { .. } => unreachable!("handled above, in their own ways"),
            }
        }
    }
}
