//! What functions print, on its way to whoever keeps it. The binary makes log records of these lines.

use std::sync::Arc;

use event::Time;

/// Takes the lines of all functions.
pub trait LogSink: Send + Sync {
    /// Takes lines in their order. Called from the tasks that run the functions: must not block for long.
    fn write(&self, lines: Vec<LogLine>);
}

/// One line of a function's output, or of ours about it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// The function's id.
    pub function_id: Arc<str>,
    /// The function's name.
    pub function_name: Arc<str>,
    /// The id of its application.
    pub app_id: Arc<str>,
    /// The name of its application.
    pub app_name: Arc<str>,
    /// The call it belongs to: the running one, else the last; none before the first.
    pub call_id: Option<Arc<str>>,
    /// When it was read.
    pub at: Time,
    /// Where it was written.
    pub stream: Stream,
    /// The line, without its end.
    pub message: String,
    /// How many functions the records of its call have been through, this one not counted.
    pub hops: u32,
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// To standard output.
    Stdout,
    /// To standard error; Python's logging goes there.
    Stderr,
    /// By us.
    Platform,
}
