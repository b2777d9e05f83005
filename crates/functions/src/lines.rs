//! A process's output, from bytes to lines that belong to calls. Pure: bytes and times come in, [`LogLine`]s gather.
//!
//! The FDK writes a frame, `\n<name>=<call id>\n\n`, to both streams when a call begins. It is not shown, and neither
//! are its two blank lines. What a stream says before the frame of the running call still belongs to the call before
//! it; what comes after an answer belongs to that call until the next frame.

use std::sync::Arc;

use event::Time;

use crate::limits::{LINE_BYTES_MAX, OUTPUT_BYTES_MAX};
use crate::log::{LogLine, Stream};

/// What `FN_LOGFRAME_NAME` is set to.
pub(crate) const FRAME_NAME: &str = "fnproject.io/log";

/// The names that every line of one process carries.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub function_id: Arc<str>,
    pub function_name: Arc<str>,
    pub app_id: Arc<str>,
    pub app_name: Arc<str>,
}

/// The output of one process.
#[derive(Debug)]
pub(crate) struct Output {
    origin: Origin,
    stdout: Splitter,
    stderr: Splitter,
    /// The running call, or the last one.
    call: Option<Said>,
    /// The call before, while the frame of the running one may still be to come.
    before: Option<Said>,
    /// Per stream: whether the running call's frame has been seen, and what came before it.
    framed: [bool; 2],
    held: [Vec<(Time, String)>; 2],
    held_bytes: usize,
    /// Before the first call: counted as that of a call.
    kept_bytes: usize,
    pending: Vec<LogLine>,
    pending_since: Option<Time>,
}

/// What is known of a call's output.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub call_id: Arc<str>,
    pub hops: u32,
    pub error_lines: u64,
    /// The message of the first line at ERROR or CRITICAL.
    pub first_error: Option<String>,
    pub cut_bytes: u64,
    kept_bytes: usize,
}

impl Output {
    pub(crate) fn new(origin: Origin) -> Output {
        Output {
            origin,
            stdout: Splitter::default(),
            stderr: Splitter::default(),
            call: None,
            before: None,
            framed: [true; 2],
            held: Default::default(),
            held_bytes: 0,
            kept_bytes: 0,
            pending: Vec::new(),
            pending_since: None,
        }
    }

    /// A call begins; what has been read so far was not its.
    pub(crate) fn begin(&mut self, call_id: Arc<str>, hops: u32) {
        let said = Said { call_id, hops, error_lines: 0, first_error: None, cut_bytes: 0, kept_bytes: 0 };
        self.before = self.call.replace(said);
        self.framed = [false; 2];
        self.held_bytes = 0;
    }

    /// Bytes that a stream wrote.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], at: Time) {
        let splitter = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        let pieces = splitter.push(bytes);
        self.take(stream, pieces, at);
    }

    /// A call has ended: what is left of its lines ends, too.
    pub(crate) fn end(&mut self, at: Time) -> Option<&Said> {
        self.finish_lines(at);
        for (which, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            // No frame came: an FDK that writes none. Then all of it is this call's.
            self.framed[which] = true;
            for (at, line) in std::mem::take(&mut self.held[which]) {
                self.line(stream, line, at);
            }
        }
        self.before = None;
        self.call.as_ref()
    }

    /// Lines without an end get one, for instance because the process is gone.
    pub(crate) fn finish_lines(&mut self, at: Time) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let splitter = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
            let pieces = splitter.finish();
            self.take(stream, pieces, at);
        }
    }

    /// A line of ours about the running or last call.
    pub(crate) fn platform(&mut self, message: String, at: Time) {
        let (call_id, hops) = match &self.call {
            Some(said) => (Some(said.call_id.clone()), said.hops),
            None => (None, 0),
        };
        self.add(Stream::Platform, message, call_id, hops, at);
    }

    /// How many lines wait to be handed on, and since when.
    pub(crate) fn pending(&self) -> (usize, Option<Time>) {
        (self.pending.len(), self.pending_since)
    }

    /// The lines that wait.
    pub(crate) fn take_pending(&mut self) -> Vec<LogLine> {
        self.pending_since = None;
        std::mem::take(&mut self.pending)
    }

    fn take(&mut self, stream: Stream, pieces: Vec<Piece>, at: Time) {
        let which = usize::from(stream == Stream::Stderr);
        for piece in pieces {
            match piece {
                Piece::Frame(id) => {
                    // Only the running call's frame is one; a function may print what it likes.
                    if self.call.as_ref().is_some_and(|said| *said.call_id == *id) && !self.framed[which] {
                        self.framed[which] = true;
                        for (at, line) in std::mem::take(&mut self.held[which]) {
                            self.line_before(stream, line, at);
                        }
                    }
                }
                Piece::Line(line) if self.framed[which] => self.line(stream, line, at),
                Piece::Line(line) => {
                    if self.held_bytes < OUTPUT_BYTES_MAX {
                        self.held_bytes += line.len() + 1;
                        self.held[which].push((at, line));
                    } else if let Some(said) = &mut self.call {
                        said.cut_bytes += line.len() as u64 + 1;
                    }
                }
            }
        }
    }

    /// A line of the running or last call.
    fn line(&mut self, stream: Stream, line: String, at: Time) {
        match self.call.take() {
            Some(mut said) => {
                if said.hear(&line) {
                    self.add(stream, line, Some(said.call_id.clone()), said.hops, at);
                }
                self.call = Some(said);
            }
            None if self.kept_bytes < OUTPUT_BYTES_MAX => {
                self.kept_bytes += line.len() + 1;
                self.add(stream, line, None, 0, at);
            }
            None => {}
        }
    }

    /// A line of the call before the running one.
    fn line_before(&mut self, stream: Stream, line: String, at: Time) {
        match &mut self.before {
            Some(before) => {
                if before.hear(&line) {
                    let (call_id, hops) = (before.call_id.clone(), before.hops);
                    self.add(stream, line, Some(call_id), hops, at);
                }
            }
            None => self.add(stream, line, None, 0, at),
        }
    }

    fn add(&mut self, stream: Stream, message: String, call_id: Option<Arc<str>>, hops: u32, at: Time) {
        self.pending_since.get_or_insert(at);
        self.pending.push(LogLine {
            function_id: self.origin.function_id.clone(),
            function_name: self.origin.function_name.clone(),
            app_id: self.origin.app_id.clone(),
            app_name: self.origin.app_name.clone(),
            call_id,
            at,
            stream,
            message,
            hops,
        });
    }
}

impl Said {
    /// Takes note of a line; whether it is kept.
    fn hear(&mut self, line: &str) -> bool {
        if let Some(message) = error_message(line) {
            self.error_lines += 1;
            self.first_error.get_or_insert_with(|| message.to_owned());
        }
        let bytes = line.len() + 1;
        if self.kept_bytes + bytes > OUTPUT_BYTES_MAX {
            self.cut_bytes += bytes as u64;
            return false;
        }
        self.kept_bytes += bytes;
        true
    }
}

/// The message of a line `<call id> - <logger> - <LEVEL> - <message>` at ERROR or CRITICAL.
///
/// The first part is not compared with the call's id: a function with a format of its own usually has the time there.
/// Left out is what the FDK's own broken timers say after 60 s of every longer call; it has nothing to do with the
/// function.
pub(crate) fn error_message(line: &str) -> Option<&str> {
    let mut parts = line.splitn(4, " - ");
    let (_, logger, level, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_error = matches!(level.trim(), "ERROR" | "CRITICAL");
    let is_fdk_timer = logger == "asyncio"
        && message.starts_with("Exception in callback HttpProtocol.")
        && message.contains("_timeout_callback(");
    (is_error && !is_fdk_timer).then_some(message)
}

/// One stream's bytes, cut into lines.
#[derive(Debug, Default)]
struct Splitter {
    partial: Vec<u8>,
    /// A blank line that may be the beginning of a frame.
    blank: bool,
    /// The last line was a frame: a blank line after it belongs to it.
    after_frame: bool,
    /// The last piece was cut for its length: an end of line right after it ends that line and no other.
    cut: bool,
}

#[derive(Debug, PartialEq)]
enum Piece {
    Line(String),
    Frame(String),
}

impl Splitter {
    fn push(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let room = LINE_BYTES_MAX - self.partial.len();
            let upto = end.unwrap_or(bytes.len());
            if upto > room {
                self.partial.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                let rest = self.partial.split_off(char_boundary(&self.partial));
                let line = std::mem::replace(&mut self.partial, rest);
                self.piece(&line, &mut pieces);
                self.cut = self.partial.is_empty();
                continue;
            }
            self.partial.extend_from_slice(&bytes[..upto]);
            let Some(end) = end else { break };
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.partial);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() && std::mem::take(&mut self.cut) {
                continue;
            }
            self.piece(&line, &mut pieces);
        }
        pieces
    }

    fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.piece(&line, &mut pieces);
        }
        if std::mem::take(&mut self.blank) {
            pieces.push(Piece::Line(String::new()));
        }
        self.cut = false;
        pieces
    }

    fn piece(&mut self, line: &[u8], pieces: &mut Vec<Piece>) {
        self.cut = false;
        let after_frame = std::mem::take(&mut self.after_frame);
        if line.is_empty() {
            if !after_frame && std::mem::replace(&mut self.blank, true) {
                pieces.push(Piece::Line(String::new()));
            }
            return;
        }
        let blank = std::mem::take(&mut self.blank);
        let frame = line.strip_prefix(FRAME_NAME.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        if let Some(id) = frame {
            self.after_frame = true;
            pieces.push(Piece::Frame(String::from_utf8_lossy(id).into_owned()));
            return;
        }
        if blank {
            pieces.push(Piece::Line(String::new()));
        }
        pieces.push(Piece::Line(String::from_utf8_lossy(line).into_owned()));
    }
}

/// Where to cut so that no character is torn: at most three bytes before the end.
fn char_boundary(bytes: &[u8]) -> usize {
    let len = bytes.len();
    for back in 1..=3.min(len) {
        let byte = bytes[len - back];
        if byte & 0xC0 == 0xC0 {
            let width = if byte >= 0xF0 {
                4
            } else if byte >= 0xE0 {
                3
            } else {
                2
            };
            return if width > back { len - back } else { len };
        }
        if byte & 0x80 == 0 {
            return len;
        }
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Time = Time::from_nanos(0);

    fn output() -> Output {
        let name: Arc<str> = "x".into();
        let (function_id, function_name, app_id, app_name) = (name.clone(), name.clone(), name.clone(), name);
        Output::new(Origin { function_id, function_name, app_id, app_name })
    }

    /// What was written on stdout per step (`>id` begins a call, `.` ends one), and the lines as `call|text`.
    #[track_caller]
    fn check(steps: &[&str], expected: &[&str]) {
        let mut output = output();
        for step in steps {
            if let Some(id) = step.strip_prefix('>') {
                output.begin(id.into(), 0);
            } else if *step == "." {
                output.end(AT);
            } else {
                output.push(Stream::Stdout, step.as_bytes(), AT);
            }
        }
        let lines: Vec<String> = output
            .take_pending()
            .into_iter()
            .map(|line| format!("{}|{}", line.call_id.as_deref().unwrap_or("-"), line.message))
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn frames_are_not_shown() {
        check(&[">a", "\nfnproject.io/log=a\n\nhello\n", "."], &["a|hello"]);
        // Torn everywhere.
        check(&[">a", "\n", "fnproject.io/", "log=a", "\n", "\n", "hel", "lo\n", "."], &["a|hello"]);
        // A function's own blank lines stay.
        check(&[">a", "\nfnproject.io/log=a\n\n\nx\n\ny\n\n", "."], &["a|", "a|x", "a|", "a|y", "a|"]);
    }

    #[test]
    fn a_line_without_an_end_is_ended_by_the_call() {
        check(
            &[">a", "\nfnproject.io/log=a\n\nno end", ".", ">b", "\nfnproject.io/log=b\n\nx\n", "."],
            &["a|no end", "b|x"],
        );
    }

    #[test]
    fn what_comes_between_calls_belongs_to_the_last() {
        check(
            &[
                "start\n",
                ">a",
                "\nfnproject.io/log=a\n\n1\n",
                ".",
                "late\n",
                ">b",
                "later\n\nfnproject.io/log=b\n\n2\n",
                ".",
            ],
            &["-|start", "a|1", "a|late", "a|later", "b|2"],
        );
    }

    #[test]
    fn without_frames_all_is_the_running_calls() {
        check(&[">a", "1\n", ".", ">b", "2\n", "."], &["a|1", "b|2"]);
    }

    #[test]
    fn frames_of_others_say_nothing() {
        check(&[">a", "\nfnproject.io/log=a\n\n1\nfnproject.io/log=z\n2\n", "."], &["a|1", "a|2"]);
    }

    #[test]
    fn a_call_keeps_so_much_and_says_how_much_was_cut() {
        let mut output = output();
        output.begin("a".into(), 0);
        output.push(Stream::Stdout, b"\nfnproject.io/log=a\n\n", AT);
        let line = "x".repeat(1023) + "\n";
        for _ in 0..2 * 1024 {
            output.push(Stream::Stdout, line.as_bytes(), AT);
        }
        output.push(Stream::Stdout, b"a - root - ERROR - counted, though not kept\n", AT);
        let said = output.end(AT).unwrap();
        assert_eq!((said.cut_bytes, said.error_lines), ((1 << 20) + 44, 1));
        assert_eq!(output.take_pending().len(), 1024);
        // The next call has its own.
        output.begin("b".into(), 0);
        output.push(Stream::Stdout, b"\nfnproject.io/log=b\n\nx\n", AT);
        assert_eq!(output.end(AT).unwrap().cut_bytes, 0);
        assert_eq!(output.take_pending().len(), 1);
    }

    #[test]
    fn long_lines_go_on_in_the_next() {
        let mut splitter = Splitter::default();
        let long = "é".repeat(LINE_BYTES_MAX);
        let mut pieces = splitter.push(format!("x{long}\nend\n").as_bytes());
        assert_eq!(pieces.pop(), Some(Piece::Line("end".to_owned())));
        let text: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Line(line) if line.len() <= LINE_BYTES_MAX => line.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(text, format!("x{long}"));
    }

    #[test]
    fn errors_are_told_by_their_prefix() {
        let cases = [
            ("C1 - root - ERROR - name 'reponse' is not defined", Some("name 'reponse' is not defined")),
            ("None - urllib3 - CRITICAL - a - b", Some("a - b")),
            ("2026-11-21 10:00:00,123 - mine - ERROR - own format", Some("own format")),
            ("C1 - root - INFO - ERROR - no", None),
            ("C1 - root - WARNING - ERROR", None),
            ("ERROR - no prefix", None),
            ("Traceback (most recent call last):", None),
            ("C1 - asyncio - ERROR - Exception in callback HttpProtocol.response_timeout_callback()", None),
            ("C1 - asyncio - ERROR - Task exception was never retrieved", Some("Task exception was never retrieved")),
        ];
        for (line, expected) in cases {
            assert_eq!(error_message(line), expected, "{line}");
        }
    }

    proptest! {
        /// However the pipe tears it, the same lines come out.
        #[test]
        fn tearing_changes_nothing(text in "[ab\u{e9}\u{4e2d}\r\n]{0,80}", cuts in proptest::collection::vec(0usize..200, 0..8)) {
            let whole = { let mut s = Splitter::default(); let mut p = s.push(text.as_bytes()); p.extend(s.finish()); p };
            let mut splitter = Splitter::default();
            let mut pieces = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.extend(splitter.push(&text.as_bytes()[from..cut]));
                from = cut;
            }
            pieces.extend(splitter.finish());
            prop_assert_eq!(pieces, whole);
        }
    }
}
