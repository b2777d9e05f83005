//! LOGS: from files and standard input to logs, one after the other, however many there are.
//!
//! Two forms. Whatever `penstock log ingest` reads (lines, of which one that is a JSON object is itself the log; arrays;
//! whole files; `.gz`), by the same code; and the files of Google's validator, `{"raw_logs": {"entries": [{"data": …}]}}`,
//! which are known by their key `raw_logs` and bring times with their logs. Those are read entry by entry, too, so that
//! nothing here grows with a file.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use event::Time;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::timestamp;
use crate::cli::CliError;
use crate::cli::log::read::{self, Input, Piece, Split};

/// A log, and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Where it stood: `okta.log:12`, `okta_log.json, entry 3`.
    pub place: Place,
    /// When it was received, where its file says.
    pub received_at: Option<jiff::Timestamp>,
    /// When it was collected, where its file says.
    pub collected_at: Option<jiff::Timestamp>,
}

/// Where a log stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the inputs.
    pub input: usize,
    /// The number of its line, from 1.
    pub number: u64,
    /// What is counted.
    pub counted: Counted,
}

/// What the number of a place counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Lines of the file.
    Lines,
    /// Entries of a file of Google's validator.
    Entries,
    /// Nothing: the file is the log.
    Whole,
}

/// What is read at once.
#[derive(Debug)]
pub enum Chunk {
    /// Logs in their order. `is_live`: what follows may take its time.
    Logs { logs: Vec<Log>, is_live: bool },
    /// Something that cannot be read; the next input goes on.
    Fault { place: String, why: String },
}

/// Logs that are about to be read.
#[derive(Debug)]
pub struct Logs {
    names: Vec<String>,
    chunks: Receiver<Chunk>,
}

/// How many entries of a file are handed on at once.
const ENTRIES_MAX: usize = 256;
/// How many bytes of entries are handed on at once.
const ENTRY_BYTES_MAX: usize = 256 << 10;
/// How many chunks wait to be taken.
const CHUNKS_WAITING_MAX: usize = 4;

impl Logs {
    /// Begins to read. Longer logs than `bytes_max` are faults.
    pub fn open(
        paths: &[PathBuf],
        message: Option<std::ffi::OsString>,
        split: Split,
        bytes_max: usize,
    ) -> Result<Logs, CliError> {
        let mut inputs = read::expand(paths).map_err(CliError::Refused)?;
        inputs.extend(message.map(read::message));
        let names = inputs.iter().map(Input::name).collect();
        let (send, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        // Its own thread, since a read of a terminal may never return.
        std::thread::spawn(move || {
            for (number, input) in inputs.iter().enumerate() {
                if (Reading { input, number, chunks: &send }).all(split, bytes_max).is_none() {
                    return;
                }
            }
        });
        Ok(Logs { names, chunks })
    }

    /// What the inputs are called, in order.
    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Everything, in memory, where nothing can be made of less. The first fault ends it.
    pub fn all(self) -> Result<Vec<Log>, CliError> {
        let mut all = Vec::new();
        for chunk in self {
            match chunk {
                Chunk::Logs { logs, .. } => all.extend(logs),
                Chunk::Fault { place, why } => return Err(CliError::Refused(format!("{place}: {why}"))),
            }
        }
        Ok(all)
    }
}

/// What a place among these inputs is called.
pub fn named(names: &[String], place: Place) -> String {
    let name = names.get(place.input).map_or("", String::as_str);
    match place.counted {
        Counted::Lines => format!("{name}:{}", place.number),
        Counted::Entries => format!("{name}, entry {}", place.number),
        Counted::Whole => name.to_owned(),
    }
}

impl IntoIterator for Logs {
    type Item = Chunk;
    type IntoIter = std::sync::mpsc::IntoIter<Chunk>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter()
    }
}

struct Reading<'a> {
    input: &'a Input,
    number: usize,
    chunks: &'a SyncSender<Chunk>,
}

impl Reading<'_> {
    /// `None` when nobody takes any more.
    fn all(&self, split: Split, bytes_max: usize) -> Option<()> {
        match (split, is_google(self.input)) {
            (Split::Auto, Ok(true)) => self.google(bytes_max),
            (_, Ok(_)) => self.cut(split, bytes_max),
            (_, Err(error)) => self.fault(None, format!("cannot be read: {error}")),
        }
    }

    fn cut(&self, split: Split, bytes_max: usize) -> Option<()> {
        let counted = match (split, self.input) {
            (Split::None, _) | (_, Input::Message(_)) => Counted::Whole,
            _ => Counted::Lines,
        };
        let mut pieces = read::start(vec![self.input.clone()], split, bytes_max);
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Records { records, is_live, .. } => {
                    let logs = records.into_iter().map(|record| Log {
                        data: record.data,
                        place: Place { input: self.number, number: record.line, counted },
                        received_at: None,
                        collected_at: None,
                    });
                    self.chunks.send(Chunk::Logs { logs: logs.collect(), is_live }).ok()?;
                }
                Piece::Fault(fault) => self.fault(fault.line, fault.why.replace("; it is not sent", ""))?,
            }
        }
        Some(())
    }

    fn google(&self, bytes_max: usize) -> Option<()> {
        let reader = match read::open(self.input) {
            Ok(reader) => BufReader::with_capacity(256 << 10, reader),
            Err(error) => return self.fault(None, format!("cannot be read: {error}")),
        };
        let mut logs = Vec::new();
        let mut bytes = 0;
        let mut number = 0;
        let mut gone = false;
        let read = entries(reader, &mut |log| {
            number += 1;
            if log.data.len() > bytes_max {
                let place = format!("{}, entry {number}", self.input.name());
                let why = format!("it has more than the {bytes_max} bytes that one log may have");
                gone = self.chunks.send(Chunk::Fault { place, why }).is_err();
                return !gone;
            }
            bytes += log.data.len();
            let place = Place { input: self.number, number, counted: Counted::Entries };
            logs.push(Log {
                data: log.data.into_bytes(),
                place,
                received_at: log.received_at,
                collected_at: log.collected_at,
            });
            if logs.len() >= ENTRIES_MAX || bytes >= ENTRY_BYTES_MAX {
                bytes = 0;
                let logs = std::mem::take(&mut logs);
                gone = self.chunks.send(Chunk::Logs { logs, is_live: false }).is_err();
            }
            !gone
        });
        if gone {
            return None;
        }
        self.chunks.send(Chunk::Logs { logs, is_live: false }).ok()?;
        match read {
            Ok(()) => Some(()),
            Err(error) => self.fault(
                Some(error.line() as u64),
                format!(
                    "is not as a file of Google's validator should be: {error}; --split lines reads it line by line"
                ),
            ),
        }
    }

    fn fault(&self, line: Option<u64>, why: String) -> Option<()> {
        let name = self.input.name();
        let place = line.map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
        self.chunks.send(Chunk::Fault { place, why }).ok()
    }
}

/// How much of a file is looked at to know what it is.
const HEAD_BYTES: usize = 64 << 10;

/// Whether this is a file of Google's validator. What can be read but once is looked at without taking anything, as far as
/// that can be done.
fn is_google(input: &Input) -> std::io::Result<bool> {
    match input {
        Input::Message(_) => Ok(false),
        Input::Stdin => Ok(has_raw_logs(std::io::stdin().lock().fill_buf()?)),
        Input::File(path) if !std::fs::metadata(path)?.is_file() => Ok(false),
        Input::File(_) => {
            let mut head = Vec::new();
            match read::open(input)?.take(HEAD_BYTES as u64).read_to_end(&mut head) {
                Ok(_) => Ok(has_raw_logs(&head)),
                // What is wrong with it is told by whoever reads it.
                Err(_) => Ok(false),
            }
        }
    }
}

/// Whether the object that this begins with has the key `raw_logs`.
fn has_raw_logs(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let mut depth = 0_u32;
    let mut at = 0;
    while let Some(&byte) = head.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return false,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let start = at;
                while let Some(&byte) = head.get(at) {
                    match byte {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
                let Some(text) = head.get(start..at) else { return false };
                at += 1;
                let follows = head.get(at..).and_then(|rest| rest.iter().find(|byte| !byte.is_ascii_whitespace()));
                if depth == 1 && follows == Some(&b':') && matches!(text, b"raw_logs" | b"rawLogs") {
                    return true;
                }
            }
            _ if depth == 0 && !byte.is_ascii_whitespace() => return false,
            _ => {}
        }
    }
    false
}

/// An entry of a file of Google's validator.
struct Entry {
    data: String,
    received_at: Option<jiff::Timestamp>,
    collected_at: Option<jiff::Timestamp>,
}

/// Reads such a file; each entry goes to `each`, which says whether to go on.
fn entries(reader: impl Read, each: &mut dyn FnMut(Entry) -> bool) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    FileSeed { each }.deserialize(&mut json)?;
    json.end()
}

struct FileSeed<'a> {
    each: &'a mut dyn FnMut(Entry) -> bool,
}

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with raw_logs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Stands before the logs in Google's files, whose keys are sorted.
        let mut created = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "create_time" | "createTime" => created = Some(time::<A::Error>(&map.next_value::<String>()?)?),
                "raw_logs" | "rawLogs" => map.next_value_seed(RawLogsSeed { each: self.each, created })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct RawLogsSeed<'a> {
    each: &'a mut dyn FnMut(Entry) -> bool,
    created: Option<jiff::Timestamp>,
}

impl<'de> DeserializeSeed<'de> for RawLogsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RawLogsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "entries" => map.next_value_seed(EntriesSeed { each: self.each, created: self.created })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct EntriesSeed<'a> {
    each: &'a mut dyn FnMut(Entry) -> bool,
    created: Option<jiff::Timestamp>,
}

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(written) = entries.next_element::<WrittenEntry>()? {
            let received_at = written.timestamp.as_deref().map(time::<A::Error>).transpose()?;
            let collected_at = written.collection_time.as_deref().map(time::<A::Error>).transpose()?;
            let received_at = received_at.or(collected_at).or(self.created);
            if !(self.each)(Entry { data: written.data, received_at, collected_at }) {
                return Err(A::Error::custom("nobody takes more"));
            }
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct WrittenEntry {
    data: String,
    timestamp: Option<String>,
    #[serde(alias = "collectionTime")]
    collection_time: Option<String>,
}

fn time<E: serde::de::Error>(text: &str) -> Result<jiff::Timestamp, E> {
    Time::parse_rfc3339(text).map(timestamp).map_err(|error| E::custom(format!("{text:?} is no time: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_googles_validator_is_known_by_its_key() {
        for (text, expected) in [
            (r#"{"raw_logs": {"entries": []}}"#, true),
            ("\u{FEFF}\n{ \"create_time\": \"x\\\"{\", \"a\": [{}], \"rawLogs\" : {", true),
            // A log may well speak of such a file.
            (r#"{"message": "raw_logs", "a": {"raw_logs": {}}}"#, false),
            ("{\"a\": 1}\n{\"raw_logs\": {}}\n", false),
            (r#"["raw_logs": 1]"#, true),
            ("raw_logs", false),
            (r#"{"raw_logs"#, false),
            (r#"{"a\"#, false),
            ("", false),
        ] {
            assert_eq!(has_raw_logs(text.as_bytes()), expected, "{text}");
        }
    }

    fn read(text: &str) -> Result<Vec<(String, Option<String>, Option<String>)>, String> {
        let mut found = Vec::new();
        let shown = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
        entries(text.as_bytes(), &mut |entry| {
            found.push((entry.data, shown(entry.received_at), shown(entry.collected_at)));
            true
        })
        .map(|()| found)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn entries_bring_their_times() {
        let at = |day: u32| Some(format!("2026-11-0{day}T10:00:00Z"));
        let found = read(
            r#"{"create_time": "2026-11-01T10:00:00Z", "raw_logs": {"entries": [
                {"data": "a"},
                {"data": "b", "collection_time": "2026-11-02T10:00:00Z", "more": {}},
                {"data": "c", "timestamp": "2026-11-03T11:00:00+01:00", "collectionTime": "2026-11-02T10:00:00Z"}
            ], "other": 1}}"#,
        );
        let expected =
            vec![("a".to_owned(), at(1), None), ("b".to_owned(), at(2), at(2)), ("c".to_owned(), at(3), at(2))];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn what_is_wrong_in_such_a_file_is_named() {
        for (text, why) in [
            (r#"{"raw_logs": {"entries": [{"data": 1}]}}"#, "invalid type: integer"),
            (r#"{"raw_logs": {"entries": [{}]}}"#, "missing field `data`"),
            (r#"{"raw_logs": {"entries": [{"data": "", "timestamp": "today"}]}}"#, "\"today\" is no time"),
            (r#"{"raw_logs": []}"#, "an object with entries"),
            (r#"{"raw_logs": {"entries": ["#, "EOF"),
            (r#"{"raw_logs": {}} {}"#, "trailing characters"),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
