//! Kept parsers and parser extensions: what is asked about them, and what they are shown as.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::{InstanceId, limits};
use serde::{Deserialize, Serialize};

/// A call about kept parsers, or about extensions.
#[derive(Debug)]
pub struct ParsersCall {
    /// Whose.
    pub instance: InstanceId,
    /// Which of the two it is about.
    pub slot: Slot,
    /// What is to be done.
    pub act: ParserAct,
}

impl ParsersCall {
    /// Most memory that its answer takes, the stored logs with it on which a parser is tried.
    pub(super) fn answer_bytes_max(&self) -> usize {
        let bytes_max = match &self.act {
            ParserAct::List { .. } => limits::PARSERS_BYTES_MAX,
            ParserAct::Create { .. } | ParserAct::On { verb: ParserVerb::Activate, .. } => {
                limits::PARSER_VALIDATION_BYTES_MAX
            }
            ParserAct::On { .. } => limits::PARSER_SOURCE_BYTES_MAX + limits::PARSER_SAMPLE_BYTES_MAX,
        };
        bytes_max * limits::COPIES_OF_AN_ANSWER
    }
}

/// The two places of a log type where a program can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// What reads the logs.
    Parser,
    /// What adds to that.
    Extension,
}

impl Slot {
    /// The word for what stands there.
    pub fn noun(self) -> &'static str {
        match self {
            Slot::Parser => "parser",
            Slot::Extension => "parser extension",
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum ParserAct {
    /// Keep a new one. It reads nothing until it is activated.
    Create {
        /// The log type whose logs it is for, which the instance has.
        log_type: String,
        /// What it is.
        new: NewParser,
    },
    /// Show all, ours among them.
    List {
        /// Of one log type only.
        log_type: Option<String>,
    },
    /// Something with one.
    On {
        /// Its log type.
        log_type: String,
        /// Its id.
        id: String,
        /// What.
        verb: ParserVerb,
    },
}

/// What is to be done with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParserVerb {
    /// Show it.
    Get,
    /// Remove it.
    Delete {
        /// Even while it is in use.
        force: bool,
    },
    /// Keep another one with the same program.
    Copy,
    /// From now on, let it read its log type's logs.
    Activate,
    /// From now on, let it no longer.
    Deactivate,
    /// Show how it went on stored logs.
    Report(String),
}

/// A program that somebody wants kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParser {
    /// The program.
    pub source: String,
    /// A log that it was made for.
    pub sample: Option<Bytes>,
    /// Whether it may be activated although there are no logs to try it on.
    pub validated_on_empty_logs: bool,
    /// Whether it is not tried on logs at all.
    pub validation_skipped: bool,
}

/// A kept parser or extension.
#[derive(Debug, Clone)]
pub struct KeptParser {
    /// Its id.
    pub id: String,
    /// Whose logs it reads.
    pub log_type: String,
    /// What it is.
    pub new: NewParser,
    /// Who made it; `None` for one that came with the server or lies in the operator's folder.
    pub creator: Option<String>,
    /// When it was made, or first seen.
    pub created_at: String,
    /// Whether it is in use for logs that come now.
    pub is_active: bool,
    /// Since when it is, or is no longer.
    pub changed_at: Option<String>,
    /// Why the server set it aside, if it did.
    pub set_aside: Option<String>,
    /// How it went when it was last tried on stored logs. Without what failed, unless the report is asked for.
    pub validation: Option<Validation>,
    /// The extension that runs after it, if it is in use and there is one.
    pub extension: Option<String>,
}

impl KeptParser {
    /// Whether it came with the server or lies in the operator's folder.
    pub fn is_prebuilt(&self) -> bool {
        self.creator.is_none()
    }
}

/// How a program did on stored logs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The id of the report.
    pub id: String,
    /// When it was tried.
    pub at: String,
    /// Whether it may be activated.
    pub passed: bool,
    /// Why, in a sentence.
    pub verdict: String,
    /// Logs that it was tried on.
    pub logs: u64,
    /// Those that gave events.
    pub normalized: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that it dropped, by tag.
    pub dropped: BTreeMap<String, u64>,
    /// Events and entities, by type.
    pub events: BTreeMap<String, u64>,
    /// The time that the slowest log took, in microseconds.
    pub slowest_micros: u64,
    /// The time that all logs took, in microseconds.
    pub all_micros: u64,
    /// What failed; the first of it.
    #[serde(default)]
    pub errors: Vec<ParsingError>,
}

/// A log that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsingError {
    /// The log in base64, as it is kept and shown.
    pub log: String,
    /// Why it failed.
    pub text: String,
}
