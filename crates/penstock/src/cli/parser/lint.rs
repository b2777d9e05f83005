//! `penstock parser lint`: what is wrong in parsers, and what probably is.
//!
//! The findings are the parser's, the compiler's and the linter's of the crate `cbn`; here they are drawn, counted, and
//! made an exit status.

use std::path::PathBuf;

use cbn::diagnostic::line_column;
use cbn::lint::CODES;
use cbn::syntax::parse;
use cbn::{Diagnostic, Program, Severity};
use clap::Args;
use serde_json::{Value, json};

use super::draw::Pen;
use super::program::{self, Source};
use crate::cli::log::send::count;
use crate::cli::output::say;
use crate::cli::{CliError, Format};

pub const HELP: &str = "Examples:
  penstock parser lint okta.conf
  penstock parser lint parsers/ --deny warnings
  penstock parser lint okta.conf --allow unset-read -o json

Of a folder all files are taken whose names end in .conf, and its folders' with them. The name of each kind of finding \
stands in brackets behind it.

Exit status: 0 nothing is wrong; 1 something is, or with --deny warnings, something probably is.";

/// `penstock parser lint`
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Parsers, or folders with parsers
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What makes the exit status 1, beside errors
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Vec<Denied>,
    /// Kind of finding that is not told; may be given several times
    #[arg(long, value_name = "KIND", value_parser = kind)]
    allow: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Denied {
    /// Warnings
    Warnings,
    /// Hints, and with them warnings
    Hints,
}

/// A kind of finding that can be left out.
fn kind(text: &str) -> Result<String, String> {
    let kinds = || CODES.iter().filter(|(_, severity, _)| *severity != Severity::Error).map(|(code, ..)| *code);
    if kinds().any(|known| known == text) {
        return Ok(text.to_owned());
    }
    Err(format!("expected one of {}", kinds().collect::<Vec<_>>().join(", ")))
}

/// `penstock parser lint`
pub fn run(args: &LintArgs, format: Format) -> Result<(), CliError> {
    let files = super::files(&args.files, program::is_parser)?;
    let schema = udm::Schema::load();
    let pen = Pen::for_stdout();
    let (mut errors, mut warnings, mut hints, mut unread) = (0, 0, 0, 0);
    let mut documents = Vec::new();
    for path in &files {
        let source = match program::read(path) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("penstock: {error}");
                unread += 1;
                continue;
            }
        };
        for found in findings(&source, &schema) {
            if args.allow.iter().any(|allowed| allowed == found.code) && found.severity != Severity::Error {
                continue;
            }
            match found.severity {
                Severity::Error => errors += 1,
                Severity::Warning => warnings += 1,
                Severity::Hint => hints += 1,
            }
            match format {
                Format::Table => say(&format!("{}\n", pen.diagnostic(&source, &found))),
                Format::Ndjson => say(&document(&source, &found).to_string()),
                Format::Json => documents.push(document(&source, &found)),
            }
        }
    }
    if format == Format::Json {
        format.list(&documents, &[], "");
    }
    let summary = format!(
        "{}: {}, {}, {}",
        count(files.len() as u64, "parser"),
        count(errors, "error"),
        count(warnings, "warning"),
        count(hints, "hint")
    );
    let denied = |what: Denied| args.deny.contains(&what);
    let wrong = errors + unread > 0
        || warnings > 0 && (denied(Denied::Warnings) || denied(Denied::Hints))
        || hints > 0 && denied(Denied::Hints);
    if wrong {
        return Err(CliError::Refused(summary));
    }
    eprintln!("{summary}");
    Ok(())
}

/// All that is found in a parser, in the order of its text.
pub fn findings(source: &Source, schema: &udm::Schema) -> Vec<Diagnostic> {
    let mut found = match parse::parse(&source.text) {
        Err(diagnostics) => diagnostics,
        Ok(file) => {
            let compiled = match Program::new(source.name.clone(), source.text.clone()) {
                Ok(program) => program.warnings().to_vec(),
                Err(errors) => errors,
            };
            cbn::lint::lint_with(&file, &source.text, schema, compiled)
        }
    };
    found.sort_by(|one, other| {
        (one.span.start, one.severity, one.code).cmp(&(other.span.start, other.severity, other.code))
    });
    found.dedup();
    found
}

fn document(source: &Source, found: &Diagnostic) -> Value {
    let (line, column) = line_column(&source.text, found.span.start);
    let (end_line, end_column) = line_column(&source.text, found.span.end);
    let severity = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Hint => "hint",
    };
    let mut document = json!({
        "file": source.name, "line": line, "column": column, "end_line": end_line, "end_column": end_column,
        "severity": severity, "kind": found.code, "message": found.message,
    });
    if let Some(help) = &found.help {
        document["help"] = json!(help);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_kind_is_one_that_can_be_left_out() {
        assert_eq!(kind("unset-read").as_deref(), Ok("unset-read"));
        for text in ["unset-raed", "", "unset-read,flag-unset", "syntax", "unknown-plugin"] {
            let error = kind(text).expect_err(text);
            assert!(error.starts_with("expected one of block-order, ") && error.contains(", unset-read"), "{error}");
            assert!(!error.contains("unknown-plugin"), "{error}");
        }
    }
}
