//! What a dialect cannot answer by itself: questions to components, and what they say.
//!
//! Plain data both ways. A dialect makes an [`Ask`] of a request; `receive` puts its [`Question`] to the component that the
//! binary names, and hands what came of it to the ask's own `render`, which is pure like the rest of the dialect: it was
//! made while the request was read, so nothing of the request is needed any more.

mod parsers;

use std::ops::Range;

use bytes::Bytes;
use event::{InstanceId, Kind, RecordId, Time, limits};
use query::Predicate;

use crate::resource::{Change, Kept, ResourceKind};
use crate::{Caller, Refusal, Reply, oci};

pub use parsers::{KeptParser, NewParser, ParserAct, ParserVerb, ParsersCall, ParsingError, Slot, Validation};

/// A request that a component must answer.
pub struct Ask {
    /// Who asks.
    pub caller: Caller,
    /// What.
    pub question: Question,
    /// The dialect's words for what came of it.
    pub render: Render,
}

/// Makes the reply of what a component said.
pub struct Render(Box<dyn FnOnce(Outcome) -> Result<Reply, Refusal> + Send>);

impl Render {
    /// Renders with this.
    pub fn new(render: impl FnOnce(Outcome) -> Result<Reply, Refusal> + Send + 'static) -> Render {
        Render(Box::new(render))
    }

    /// The reply. An outcome that does not answer the question is a bug of the component's: 500.
    pub fn render(self, outcome: Outcome) -> Result<Reply, Refusal> {
        (self.0)(outcome)
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask").field("caller", &self.caller).field("question", &self.question).finish_non_exhaustive()
    }
}

/// What is asked. Every question names the instance that it is about, which its caller reaches.
#[derive(Debug)]
pub enum Question {
    /// About forwarders, collectors and feeds.
    Resource {
        /// Whose.
        instance: InstanceId,
        /// What kind of them.
        kind: ResourceKind,
        /// What is to be done.
        act: Act,
    },
    /// Which records match.
    Search(SearchCall),
    /// The records with these ids, as far as they exist.
    Records {
        /// Whose.
        instance: InstanceId,
        /// Which.
        ids: Vec<RecordId>,
        /// Most bytes of records; when they have more, the rows are cut off and said to be.
        bytes_max: usize,
    },
    /// Which values of fields hold a text.
    FieldValues(FieldValuesCall),
    /// What a parser makes of logs.
    RunParser(RunParserCall),
    /// About kept parsers and parser extensions.
    Parsers(ParsersCall),
    /// What OCI's calls ask.
    Oci {
        /// Whose.
        instance: InstanceId,
        /// What.
        ask: oci::Question,
    },
}

impl Question {
    /// Most memory that its answer takes, from its first record until the client has read it.
    pub fn answer_bytes_max(&self) -> usize {
        match self {
            Question::Resource { act: Act::List, .. } => limits::RESOURCES_BYTES_MAX * limits::COPIES_OF_AN_ANSWER,
            Question::Resource { .. } => limits::REFERENCE_LIST_BYTES_MAX * limits::COPIES_OF_AN_ANSWER,
            Question::Search(SearchCall { bytes_max, .. })
            | Question::Records { bytes_max, .. }
            | Question::FieldValues(FieldValuesCall { bytes_max, .. }) => bytes_max * limits::COPIES_OF_AN_ANSWER,
            Question::RunParser(_) => limits::RUN_PARSER_ANSWER_BYTES_MAX * limits::COPIES_OF_AN_ANSWER,
            Question::Parsers(call) => call.answer_bytes_max(),
            Question::Oci { ask, .. } => ask.answer_bytes_max(),
        }
    }
}

/// What is to be done with resources of a kind.
#[derive(Debug)]
pub enum Act {
    /// Keep a new one under a fresh id.
    Create {
        /// Its canonical JSON, checked.
        body: serde_json::Value,
        /// The log type that it declares for the instance where that has none of this name.
        declares: Option<String>,
        /// Whether a sender makes it, who may not use up what administrators need.
        by_sender: bool,
    },
    /// Keep a new one under the name that its maker gave it.
    CreateNamed {
        /// The name; nothing of the kind has it yet.
        id: String,
        /// Its canonical JSON, checked.
        body: serde_json::Value,
    },
    /// Show one.
    Get(String),
    /// Show all, in the order in which they were made.
    List,
    /// Change one.
    Update {
        /// Which.
        id: String,
        /// What becomes of it.
        change: Change,
    },
    /// Remove one and all that is below it.
    Delete(String),
    /// Let it take data, or no longer.
    SetEnabled {
        /// Which.
        id: String,
        /// Whether it may.
        enabled: bool,
    },
    /// Make a new secret for it; the one before ends.
    NewSecret(String),
}

/// A search.
#[derive(Debug)]
pub struct SearchCall {
    /// Whose records.
    pub instance: InstanceId,
    /// Which tables; never empty.
    pub kinds: Vec<Kind>,
    /// What a record must say.
    pub predicate: Predicate,
    /// Event time at or after this.
    pub from: Option<Time>,
    /// Event time before this.
    pub to: Option<Time>,
    /// Only these log types; none named means all.
    pub log_types: Vec<String>,
    /// Most rows: the newest ones.
    pub rows_max: usize,
    /// Most bytes of records: the search ends with the row that goes beyond.
    pub bytes_max: usize,
}

/// A look at the values of fields in the newest events.
#[derive(Debug)]
pub struct FieldValuesCall {
    /// Whose events.
    pub instance: InstanceId,
    /// What a value must hold, in any letter case; never empty.
    pub text: String,
    /// Most values.
    pub values_max: usize,
    /// Most events that are looked at: the newest ones.
    pub records_max: usize,
    /// Most bytes of events that are looked at.
    pub bytes_max: usize,
}

/// A run of a parser that is sent along, on logs that are sent along. Nothing of it is kept.
#[derive(Debug)]
pub struct RunParserCall {
    /// In whose name.
    pub instance: InstanceId,
    /// The log type that the logs are said to be of.
    pub log_type: String,
    /// The parser's program.
    pub parser: String,
    /// The program of a parser extension, if there is one.
    pub extension: Option<String>,
    /// The logs, in order.
    pub logs: Vec<Bytes>,
    /// Whether `statedump` statements are answered, too.
    pub statedumps: bool,
}

/// What a parser made of one log.
#[derive(Debug, Default)]
pub struct ParsedLog {
    /// Events and entities as JSON objects, in order.
    pub events: Vec<ParsedEvent>,
    /// Why there are none, if the parser failed or dropped the log.
    pub error: Option<String>,
    /// What each `statedump` said.
    pub statedumps: Vec<String>,
}

/// One event or entity that a parser made.
#[derive(Debug)]
pub struct ParsedEvent {
    /// Whether it is an entity.
    pub is_entity: bool,
    /// A JSON object, as Google's API shows it.
    pub json: String,
}

/// What a component said.
#[derive(Debug)]
pub enum Outcome {
    /// One resource.
    One(Kept),
    /// All resources of the kind and parent.
    All(Vec<Kept>),
    /// It is done, and there is nothing to show.
    Done,
    /// A secret, shown this once.
    Secret(String),
    /// Rows, newest first.
    Rows {
        /// The rows.
        rows: Vec<FoundRecord>,
        /// Whether there are more.
        truncated: bool,
    },
    /// Values of fields, those of the newest events first.
    FieldValues {
        /// The values.
        values: Vec<FieldValue>,
        /// Whether more were seen than were asked for.
        has_more: bool,
    },
    /// What a parser made of each log.
    Parsed(Vec<ParsedLog>),
    /// One kept parser or extension.
    Parser(Box<KeptParser>),
    /// All of them that were asked for.
    Parsers(Vec<KeptParser>),
    /// What is said to OCI's calls.
    Oci(oci::Outcome),
}

/// A value that a field was seen to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue {
    /// The field, in canonical form.
    pub path: String,
    /// Its value.
    pub value: String,
    /// When the event that was received last of those looked at with it was received.
    pub received_at: Time,
    /// Which characters of the value are the text that was looked for.
    pub matched: Range<usize>,
}

/// A record that a search found: what replies show of it. Thousands are in memory at once, so nothing else is here.
#[derive(Debug, Clone)]
pub struct FoundRecord {
    /// Its id.
    pub id: RecordId,
    /// Which of the events that parsers made of that record it is, from 0.
    pub ordinal: u32,
    /// What `data` is.
    pub kind: Kind,
    /// When it happened.
    pub event_time: Time,
    /// When it was received.
    pub received_at: Time,
    /// Its log type.
    pub log_type: String,
    /// The raw text, or the UDM record as it was sent.
    pub data: Bytes,
}
