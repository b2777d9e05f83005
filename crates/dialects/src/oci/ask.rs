//! What OCI's calls ask of the components, and what those say: plain data both ways.
//!
//! The dialect checks a body and makes it canonical before it asks; a component keeps it, adds what only it knows (ids,
//! times, states) and gives it back as it is shown in full. Summaries, old versions' shapes and headers are the dialect's.

use bytes::Bytes;
use event::{Time, limits};
use query::oci::{LogQuery, Mql};
use serde_json::Value;

/// What is asked. Whose it is stands beside it in [`crate::Question::Oci`].
#[derive(Debug)]
pub enum Question {
    /// About compartments, log groups, logs, applications, functions, connectors and work requests.
    Resource {
        /// What kind of them.
        kind: Kind,
        /// What is to be done.
        act: Act,
    },
    /// Which records of logs match.
    Search(LogSearch),
    /// Which audit records a compartment has.
    AuditEvents(AuditCall),
    /// Run a function.
    Invoke(Invoke),
    /// What was counted.
    Metrics(MetricsCall),
}

impl Question {
    /// Most memory that its answer takes, from its first record until the client has read it; of a function's, what is held until
    /// there is one.
    pub fn answer_bytes_max(&self) -> usize {
        match self {
            Question::Resource { act: Act::List(_), .. } => limits::RESOURCES_BYTES_MAX * limits::COPIES_OF_AN_ANSWER,
            Question::Resource { .. } | Question::Metrics(_) => {
                limits::REFERENCE_LIST_BYTES_MAX * limits::COPIES_OF_AN_ANSWER
            }
            Question::Search(LogSearch { bytes_max, .. }) | Question::AuditEvents(AuditCall { bytes_max, .. }) => {
                bytes_max * limits::COPIES_OF_AN_ANSWER
            }
            Question::Invoke(_) => limits::OCI_INVOKE_HELD_BYTES,
        }
    }
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Holds everything else; the tenancy is the root of them.
    Compartment,
    /// Holds logs.
    LogGroup,
    /// Where records are put.
    Log,
    /// Holds functions.
    Application,
    /// Code that is run on request.
    Function,
    /// Moves records from logs to a function.
    ServiceConnector,
    /// What became of an asynchronous call.
    WorkRequest,
}

impl Kind {
    /// What one of them is called in errors.
    pub const fn noun(self) -> &'static str {
        match self {
            Kind::Compartment => "compartment",
            Kind::LogGroup => "log group",
            Kind::Log => "log",
            Kind::Application => "application",
            Kind::Function => "function",
            Kind::ServiceConnector => "service connector",
            Kind::WorkRequest => "work request",
        }
    }
}

/// What is to be done with resources of a kind.
#[derive(Debug)]
pub enum Act {
    /// Keep a new one.
    Create {
        /// What it stands below, where the path says so: a log's group. Elsewhere the body says it: `compartmentId`,
        /// `applicationId`.
        parent: Option<String>,
        /// Its canonical JSON, checked.
        body: Value,
        /// The same token with the same body means the same resource; with another body, [`crate::Cause::StaleRetryToken`].
        retry_token: Option<String>,
    },
    /// Show one.
    Get {
        /// Its OCID.
        id: String,
        /// The group that a log must stand in.
        parent: Option<String>,
    },
    /// Show those that there are.
    List(ListCall),
    /// Change one.
    Update {
        /// Its OCID.
        id: String,
        /// The group that a log must stand in.
        parent: Option<String>,
        /// It must have this etag still, else [`crate::Cause::Outdated`].
        if_match: Option<String>,
        /// The keys that change with what they become, checked: for [`super::lay_over`].
        body: Value,
    },
    /// Remove one.
    Delete {
        /// Its OCID.
        id: String,
        /// The group that a log must stand in.
        parent: Option<String>,
        /// It must have this etag still, else [`crate::Cause::Outdated`].
        if_match: Option<String>,
    },
    /// Let a connector run, or rest.
    Switch {
        /// Its OCID.
        id: String,
        /// Whether it is to run.
        is_active: bool,
        /// It must have this etag still, else [`crate::Cause::Outdated`].
        if_match: Option<String>,
    },
}

/// Which resources of a kind are shown. What is `None` excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListCall {
    /// Those of this compartment.
    pub compartment: Option<String>,
    /// And those of every compartment below it.
    pub subtree: bool,
    /// Those of this log group or application.
    pub parent: Option<String>,
    /// The one with this name.
    pub display_name: Option<String>,
    /// Those in this state, such as `ACTIVE`; `NEEDS_ATTENTION` of a connector is one, which is known while it runs only.
    pub lifecycle_state: Option<String>,
    /// The one with this OCID.
    pub id: Option<String>,
    /// Logs of this type.
    pub log_type: Option<String>,
    /// Logs of this service.
    pub service: Option<String>,
    /// Logs of this resource; work requests about this resource.
    pub resource: Option<String>,
    /// In which order.
    pub sort_by: SortBy,
    /// The last first.
    pub descending: bool,
    /// Most of them.
    pub limit: usize,
    /// Where to go on: what [`Outcome::Page`] said was next, as it said it.
    pub page: Option<String>,
}

/// In which order resources are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// As they were made.
    #[default]
    TimeCreated,
    /// By their names.
    DisplayName,
}

/// A search in logs.
#[derive(Debug)]
pub struct LogSearch {
    /// The query as it was written, which its faults point into.
    pub text: String,
    /// The query.
    pub query: Box<LogQuery>,
    /// Records at or after this.
    pub from: Time,
    /// Records before this.
    pub to: Time,
    /// Most rows.
    pub limit: usize,
    /// Where to go on: what [`Outcome::Rows`] said was next, as it said it.
    pub page: Option<String>,
    /// Most bytes of records.
    pub bytes_max: usize,
}

/// A look at the audit records of a compartment, newest first.
#[derive(Debug)]
pub struct AuditCall {
    /// Whose.
    pub compartment: String,
    /// Records processed at or after this.
    pub from: Time,
    /// Records processed before this.
    pub to: Time,
    /// Where to go on: what [`Outcome::Events`] said was next, as it said it.
    pub page: Option<String>,
    /// Most records.
    pub limit: usize,
    /// Most bytes of records.
    pub bytes_max: usize,
}

/// A call of a function.
#[derive(Debug)]
pub struct Invoke {
    /// Its OCID.
    pub function: String,
    /// What it is given.
    pub body: Bytes,
    /// Of what type that is.
    pub content_type: String,
    /// `fn-intent`, such as `httprequest`.
    pub intent: Option<String>,
    /// Whether nobody waits for the answer.
    pub detached: bool,
    /// How the call is named in the function's log.
    pub opc_request_id: String,
}

/// A look at metrics.
#[derive(Debug)]
pub struct MetricsCall {
    /// Of this compartment.
    pub compartment: String,
    /// And of every compartment below it.
    pub subtree: bool,
    /// Of this namespace, such as `oci_faas`.
    pub namespace: Option<String>,
    /// What of them.
    pub ask: MetricsAsk,
}

/// What is asked of metrics.
#[derive(Debug)]
pub enum MetricsAsk {
    /// Their values in steps of time.
    Summarize {
        /// The query.
        query: Mql,
        /// From here.
        from: Time,
        /// To here.
        to: Time,
        /// A value for each of these, where that is not the query's interval.
        resolution_secs: Option<u64>,
    },
    /// Which there are.
    List {
        /// Those of this name.
        name: Option<String>,
        /// Those with these values of dimensions.
        dimensions: Vec<(String, String)>,
        /// One for each set of values of these: `namespace`, `name` or dimensions.
        group_by: Vec<String>,
        /// Most of them.
        limit: usize,
        /// Where to go on: what [`Outcome::Metrics`] said was next, as it said it.
        page: Option<String>,
    },
}

/// A resource as it is shown in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its OCID.
    pub id: String,
    /// All of it.
    pub body: Value,
    /// What changes with every change of it.
    pub etag: String,
}

/// What a component said.
#[derive(Debug)]
pub enum Outcome {
    /// One resource.
    One(Resource),
    /// Resources in the order that was asked for.
    Page {
        /// They.
        items: Vec<Resource>,
        /// Where the next page begins, if there is one.
        next_page: Option<String>,
    },
    /// It was done, and this work request tells of it.
    Accepted {
        /// Its OCID.
        work_request: String,
        /// What was made or changed, where it is there still.
        resource: Option<Resource>,
    },
    /// It is done, and there is nothing to show.
    Done,
    /// Rows of a search.
    Rows {
        /// Each becomes the `data` of a result.
        rows: Vec<Value>,
        /// Of what the rows consist, where that was asked: name and type, such as `STRING`.
        fields: Vec<(String, String)>,
        /// Where the next page begins, if there is one.
        next_page: Option<String>,
    },
    /// Audit records as they are shown.
    Events {
        /// They, newest first.
        items: Vec<Value>,
        /// Where the next page begins, if there is one.
        next_page: Option<String>,
    },
    /// A function answered.
    Invoked(Invoked),
    /// No function answered.
    NotInvoked {
        /// The call, if it came so far.
        call_id: Option<String>,
        /// Why.
        why: NotInvoked,
        /// That in a sentence.
        message: String,
    },
    /// The call goes on, and nobody waits for it.
    Detached {
        /// The call.
        call_id: String,
    },
    /// Metrics as they are shown.
    Metrics {
        /// They.
        items: Vec<Value>,
        /// Where the next page begins, if there is one.
        next_page: Option<String>,
    },
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// As its process gave it: 200, 502 where its handler failed, 504 where that ran out of time.
    pub status: u16,
    /// As its process gave them.
    pub headers: Vec<(String, String)>,
    /// As its process gave it.
    pub body: Bytes,
    /// The call.
    pub call_id: String,
}

/// Why no function answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInvoked {
    /// Its code is not there yet, or could not be installed.
    NotInstalled,
    /// Its process did not start.
    InitFailed,
    /// Its process was not ready in time.
    InitTimedOut,
    /// Its process ended during the call.
    Failed,
    /// It did not answer in time.
    TimedOut,
    /// Its answer is larger than is allowed.
    AnswerTooLarge,
    /// As many calls run as may run.
    Busy,
}
