//! `penstock parser fmt`: parsers in the one layout, in place.
//!
//! The layout is the crate `cbn`'s. A file is written only when what is to be written reads as the same program, comments
//! included; it is replaced in one go, so a stop in between leaves the old one.

use std::path::PathBuf;

use cbn::syntax::format::{format, same};
use cbn::syntax::parse;
use clap::Args;

use super::draw::Pen;
use super::program::{self, Source};
use super::replace::replace;
use crate::cli::log::send::count;
use crate::cli::output::say;
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser fmt okta.conf
  penstock parser fmt --check parsers/
  penstock parser fmt --stdout okta.conf | diff okta.conf -

Of a folder all files are taken whose names end in .conf, and its folders' with them. Nothing that the language could \
tell apart is changed; comments stay.

Exit status: 0 done; 1 a file is no parser, or with --check, one is not laid out so.";

/// `penstock parser fmt`
#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Parsers, or folders with parsers
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; name the files that would be changed
    #[arg(long)]
    check: bool,
    /// Print what one file would be, and leave it
    #[arg(long, conflicts_with = "check")]
    stdout: bool,
}

/// `penstock parser fmt`
pub fn run(args: &FmtArgs, _format: Format) -> Result<(), CliError> {
    let files = super::files(&args.files, program::is_parser)?;
    if args.stdout && files.len() != 1 {
        return Err(CliError::Usage(format!("--stdout takes one file; these are {}", files.len())));
    }
    let pen = Pen::for_stderr();
    let (mut broken, mut changed) = (0, 0);
    for path in &files {
        let source = match program::read(path) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("penstock: {error}");
                broken += 1;
                continue;
            }
        };
        let Some(text) = formatted(&source, &pen)? else {
            broken += 1;
            continue;
        };
        if args.stdout {
            say(text.strip_suffix('\n').unwrap_or(&text));
        } else if text != source.text {
            changed += 1;
            say(&source.name);
            if !args.check {
                replace(path, &text)
                    .map_err(|error| CliError::Refused(format!("cannot write {}: {error}", source.name)))?;
            }
        }
    }
    match (broken, changed) {
        (0, 0) => Ok(()),
        (0, changed) if args.check => {
            let of = count(files.len() as u64, "parser");
            Err(CliError::Refused(format!("{changed} of {of} not laid out so; `penstock parser fmt` does it")))
        }
        (0, _) => Ok(()),
        (broken, _) => Err(CliError::Refused(format!("{} that cannot be read", count(broken, "file")))),
    }
}

/// The text in the one layout; nothing where it is no parser, which is drawn.
fn formatted(source: &Source, pen: &Pen) -> Result<Option<String>, CliError> {
    let file = match parse::parse(&source.text) {
        Ok(file) => file,
        Err(diagnostics) => {
            diagnostics.iter().for_each(|found| eprintln!("{}\n", pen.diagnostic(source, found)));
            return Ok(None);
        }
    };
    let text = format(&file, &source.text);
    match parse::parse(&text) {
        Ok(again) if same(&file, &again) => Ok(Some(text)),
        _ => Err(CliError::Refused(format!(
            "{} would be another program in the one layout, so it is left as it is; this is a fault of ours",
            source.name
        ))),
    }
}
