//! `penstock parser new`: a parser to begin with, from sample logs.
//!
//! What is written is `cbn::skeleton`'s; here are which samples it sees, where it goes, and what it makes of them.

use std::io::Write;
use std::path::PathBuf;

use cbn::skeleton::skeleton;
use cbn::{Context, Program};
use clap::Args;

use super::logs::{Chunk, Logs};
use super::{ReadArgs, bytes, program};
use crate::cli::log::send::count;
use crate::cli::output::say;
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser new ACME_GATE --from gate.log > gate.conf
  penstock parser new ACME_GATE --from samples/ --out parsers/ACME_GATE/parser.conf

The first logs of the files are looked at: which form they have, and which of their fields are a time, an address, a host, \
a user. The parser makes an event of each of them and says in comments what to do next; nothing of the samples but names of \
fields gets into it. A file that is there is not written over.";

/// Most samples that are looked at.
const SAMPLES_MAX: usize = 1_000;
/// Most bytes of samples that are looked at.
const SAMPLE_BYTES_MAX: usize = 8 << 20;

/// `penstock parser new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Its log type
    #[arg(value_name = "LOG_TYPE", value_parser = log_type)]
    log_type: String,
    /// Files or folders of sample logs, or - for standard input
    #[arg(long, required = true, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Where to write it, in place of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Longest sample
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = bytes, help_heading = "Limits")]
    limit_log: usize,
    #[command(flatten)]
    read: ReadArgs,
}

fn log_type(text: &str) -> Result<String, String> {
    if program::is_log_type(text) { Ok(text.to_owned()) } else { Err("expected 2 to 64 of A-Z, 0-9 and _".to_owned()) }
}

/// `penstock parser new`
pub fn run(args: &NewArgs, _format: Format) -> Result<(), CliError> {
    let logs = Logs::open(&args.from, None, args.read.split(), args.limit_log)?;
    let samples = samples(logs)?;
    if samples.is_empty() {
        return Err(CliError::Refused("there are no sample logs".to_owned()));
    }
    let texts: Vec<&str> = samples.iter().map(String::as_str).collect();
    let source = skeleton(&args.log_type, &texts);
    match &args.out {
        None => say(source.trim_end()),
        Some(path) => {
            let refused = |error| CliError::Refused(format!("cannot write {}: {error}", path.display()));
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(refused)?;
            }
            let mut file = std::fs::File::create_new(path).map_err(refused)?;
            file.write_all(source.as_bytes()).map_err(refused)?;
        }
    }

    let name = args.out.as_ref().map_or_else(|| "the parser".to_owned(), |path| path.display().to_string());
    let with_events = match Program::new(name.clone(), source) {
        Ok(program) => {
            let mut machine = cbn::Machine::new(udm::Schema::load());
            let context = Context { log_type: Some(args.log_type.clone()), ..Context::new(jiff::Timestamp::now()) };
            let has_events = |text: &&str| {
                machine.run(&program, text.as_bytes(), &context).end.is_ok_and(|events| !events.is_empty())
            };
            texts.iter().copied().filter(has_events).count()
        }
        Err(_) => 0,
    };
    eprintln!("{name} makes events of {with_events} of {}.", count(texts.len() as u64, "sample"));
    if args.out.is_some() {
        eprintln!("Next:\n  penstock parser run {name} {}", args.from[0].display());
    }
    Ok(())
}

/// The first logs, as texts.
fn samples(logs: Logs) -> Result<Vec<String>, CliError> {
    let (mut samples, mut bytes) = (Vec::new(), 0);
    for chunk in logs {
        match chunk {
            Chunk::Fault { place, why } => return Err(CliError::Refused(format!("{place}: {why}"))),
            Chunk::Logs { logs, .. } => {
                for log in logs {
                    bytes += log.data.len();
                    if samples.len() >= SAMPLES_MAX || bytes > SAMPLE_BYTES_MAX {
                        return Ok(samples);
                    }
                    samples.push(String::from_utf8_lossy(&log.data).into_owned());
                }
            }
        }
    }
    Ok(samples)
}
