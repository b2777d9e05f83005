//! What works on this machine without a server: `serve`, `check`, `log verify`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use commit::RealDisk;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::output::say;
use super::{CheckArgs, CliError, Remote, ServeArgs};
use crate::config::{Config, LogFormat};
use crate::serve::{DirectoryLock, Parts, Server, StopSignals};

/// `penstock serve`
pub async fn serve(args: ServeArgs, remote: &Remote) -> Result<(), CliError> {
    let config = load(args.config.as_deref(), args.listen, remote.data.clone())?;
    start_logging(&config)?;
    let signals = StopSignals::catch().context("cannot catch signals")?;
    let server = Server::start(&config, Parts { leave_token: true, ..Parts::default() }).await?;
    server.greet(&config)?;
    Ok(server.run(signals).await?)
}

/// `penstock check`
pub fn check(args: &CheckArgs) -> Result<(), CliError> {
    let config = Config::load(Some(&args.config), std::env::vars())?;
    crate::listeners::check_certificates(&config.listen)?;
    if config.listen.googleapis.is_some() {
        crate::ca::open(&config.data, crate::serve::now())?;
    }
    crate::control::parsers::shipped(config.normalise.parsers.as_deref())?;
    EnvFilter::try_new(&config.logging.level)
        .map_err(|error| CliError::Refused(format!("logging.level is {:?}: {error}", config.logging.level)))?;
    say(&format!("{} is good.", args.config.display()));
    Ok(())
}

/// `penstock log verify`
pub fn verify(remote: &Remote) -> Result<(), CliError> {
    let data = match &remote.data {
        Some(data) => data.clone(),
        None => default_config()?.data,
    };
    let dir = data.join("log");
    if !dir.is_dir() {
        return Err(CliError::Refused(format!("{} is no data directory: it has no log", data.display())));
    }
    // A running server writes while we would read, and the end would look torn.
    let _lock = DirectoryLock::take(&data)?;
    let disk =
        RealDisk::new(&dir).map_err(|error| CliError::Refused(format!("cannot open {}: {error}", dir.display())))?;
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left").expect("the template is valid"),
    );
    let report = commit::verify(&disk, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| CliError::Refused(error.to_string()))?;
    let range = |(from, to): &(event::Position, event::Position)| json!([from.to_string(), to.to_string()]);
    remote.output.one(&json!({
        "sound": report.is_whole(),
        "epoch": report.epoch.map(|epoch| format!("{epoch:016x}")),
        "range": report.range.as_ref().map(range),
        "segments": report.segments,
        "frames": report.frames,
        "records": report.records,
        "payload_bytes": report.payload_bytes,
        "damaged": report.damaged.iter().map(range).collect::<Vec<_>>(),
        "unreadable": report.unreadable,
        "torn_bytes": report.torn_bytes,
        "key_files": report.key_files,
        "key_files_bad": report.key_files_bad,
    }));
    if report.is_whole() {
        Ok(())
    } else {
        Err(CliError::Refused("the log has damage; the ranges are named above".to_owned()))
    }
}

fn default_config() -> Result<Config, CliError> {
    load(None, None, None)
}

fn load(file: Option<&Path>, listen: Option<std::net::SocketAddr>, data: Option<PathBuf>) -> Result<Config, CliError> {
    let found = Path::new("penstock.toml");
    let file = file.or_else(|| found.exists().then_some(found));
    let mut config = Config::load(file, std::env::vars())?;
    if let Some(listen) = listen {
        config.listen.address = listen;
    }
    if let Some(data) = data {
        config.data = data;
    }
    config.check()?;
    Ok(config)
}

fn start_logging(config: &Config) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&config.logging.level)
        .map_err(|error| CliError::Refused(format!("logging.level is {:?}: {error}", config.logging.level)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.logging.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| CliError::Refused(format!("cannot start logging: {error}")))
}
