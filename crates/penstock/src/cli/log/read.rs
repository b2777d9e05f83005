//! Where records come from: files, folders, standard input, the command line itself. A thread reads and hands on pieces;
//! memory stays bounded however much there is, since the channel does.
//!
//! What is in a file is decided by [`Split`]. Files ending in `.gz` are inflated. What cannot be read is told with its
//! file and line, and the next file goes on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::lines::Lines;
use super::values::{NotJson, Values};

/// How a file is cut into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// `.json` files that hold one array by its elements, all others by lines
    Auto,
    /// One record a line
    Lines,
    /// One record an element of a JSON array
    Array,
    /// The whole file is one record
    #[value(alias = "whole")]
    None,
    /// JSON values: one, an array of them, or one after the other (NDJSON)
    #[value(skip)]
    Json,
}

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or what reads like one.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// The record itself.
    Message(Vec<u8>),
}

impl Input {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Stdin => "standard input".to_owned(),
            Input::Message(_) => "--message".to_owned(),
        }
    }

    /// How many bytes there are to read, where that is known before.
    pub fn length(&self) -> Option<u64> {
        match self {
            Input::File(path) if is_gzip(path) => None,
            Input::File(path) => std::fs::metadata(path).ok().filter(|found| found.is_file()).map(|found| found.len()),
            Input::Stdin => None,
            Input::Message(data) => Some(data.len() as u64),
        }
    }

    /// Whether it may pause without being at its end.
    fn is_live(&self) -> bool {
        match self {
            Input::File(path) => std::fs::metadata(path).is_ok_and(|found| !found.is_file()),
            Input::Stdin => true,
            Input::Message(_) => false,
        }
    }
}

/// One record, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record.
    pub data: Vec<u8>,
    /// Which of the inputs.
    pub input: usize,
    /// The line that it began on, counted from 1.
    pub line: u64,
}

/// What the reading thread hands on.
#[derive(Debug)]
pub enum Piece {
    /// Records in their order, and how far the reading has come.
    Records {
        /// May be none.
        records: Vec<Record>,
        /// Bytes of the input that were read for them.
        input_bytes: u64,
        /// Lines of nothing among them.
        empty: u64,
        /// Whether the next piece may take its time, so that these should not wait for it.
        is_live: bool,
    },
    /// Something that could not be read, or is no record.
    Fault(Fault),
}

/// What could not be read, or is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which of the inputs.
    pub input: usize,
    /// The line, where there is one.
    pub line: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// The files that paths stand for: a file itself, a folder's files and its folders' with it, sorted by name; `-` is
/// standard input. Of a folder only regular files, and links are not followed out of it.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<Input>, String> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            inputs.push(Input::Stdin);
            continue;
        }
        let cannot_read = |error| format!("cannot read {}: {error}", path.display());
        let found = std::fs::metadata(path).map_err(cannot_read)?;
        if found.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut files).map_err(|(path, error)| format!("cannot read {}: {error}", path.display()))?;
            inputs.extend(files.into_iter().map(Input::File));
            continue;
        }
        // Only a regular file is opened to see whether it can be: a named pipe has one reader at a time, and what its
        // writer has written is gone with the first one that closes it.
        if found.is_file() {
            File::open(path).map_err(cannot_read)?;
        }
        inputs.push(Input::File(path.clone()));
    }
    if inputs.iter().filter(|input| **input == Input::Stdin).count() > 1 {
        return Err("standard input (-) is given more than once".to_owned());
    }
    Ok(inputs)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (folder.to_owned(), error);
    let entries: io::Result<Vec<_>> = std::fs::read_dir(folder).map_err(failed)?.collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(|error| (entry.path(), error))?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The bytes of an argument, which need not be text.
pub fn message(argument: OsString) -> Input {
    Input::Message(argument.into_vec())
}

/// Reads all inputs, one after the other, into the channel, on a thread of its own. Ends early when nobody receives.
pub fn start(inputs: Vec<Input>, split: Split, record_bytes_max: usize) -> mpsc::Receiver<Piece> {
    let (pieces, received) = mpsc::channel(PIECES_WAITING_MAX);
    // Not one of the runtime's: a read of a terminal or pipe may never return, and must not keep the process.
    std::thread::spawn(move || {
        for (number, input) in inputs.iter().enumerate() {
            let mut reading =
                Reading { pieces: &pieces, number, is_live: input.is_live(), records: Vec::new(), input_bytes: 0 };
            match reading.input(input, split, record_bytes_max) {
                Ok(()) => {}
                Err(Stopped::Receiver) => return,
                Err(Stopped::Fault { line, why }) => {
                    let fault = Fault { input: number, line, why };
                    if pieces.blocking_send(Piece::Fault(fault)).is_err() {
                        return;
                    }
                }
            }
        }
    });
    received
}

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How many pieces wait in the channel.
const PIECES_WAITING_MAX: usize = 16;

/// Why the reading of an input ended before its end.
enum Stopped {
    /// Nobody receives any more.
    Receiver,
    /// The rest of it cannot be read.
    Fault { line: Option<u64>, why: String },
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        let why = match error.kind() {
            // Only inflating finds fault with what a file holds; the words of its errors are no help.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                "is no gzip file, or one that is broken or cut off, although its name ends in .gz".to_owned()
            }
            _ => format!("cannot be read: {error}"),
        };
        Stopped::Fault { line: None, why }
    }
}

impl From<NotJson> for Stopped {
    fn from(fault: NotJson) -> Stopped {
        Stopped::Fault { line: Some(fault.line), why: format!("is not JSON as it should be: {}", fault.why) }
    }
}

struct Reading<'a> {
    pieces: &'a mpsc::Sender<Piece>,
    number: usize,
    is_live: bool,
    records: Vec<Record>,
    input_bytes: u64,
}

impl Reading<'_> {
    fn input(&mut self, input: &Input, split: Split, bytes_max: usize) -> Result<(), Stopped> {
        let split = match (input, split) {
            (Input::Message(data), Split::Auto | Split::Lines | Split::None | Split::Array) => {
                return self.whole(&mut &data[..], bytes_max);
            }
            (_, Split::Auto) if is_json_array(input)? => Split::Array,
            (_, Split::Auto) => Split::Lines,
            (_, split) => split,
        };
        if matches!(split, Split::Array | Split::Json) && !self.is_live {
            // Once through without sending: a file that is broken in its middle is not sent by half.
            let check = values(&mut *open(input)?, split, bytes_max, &mut |_| Ok(()), &mut |_| Ok(()));
            check.map_err(|stopped| hint(stopped, split))?;
        }
        let mut reader = open(input)?;
        match split {
            Split::None => self.whole(&mut reader, bytes_max),
            Split::Array | Split::Json => {
                let cell = std::cell::RefCell::new(self);
                values(
                    &mut *reader,
                    split,
                    bytes_max,
                    &mut |value| {
                        let mut reading = cell.borrow_mut();
                        let input = reading.number;
                        reading.records.push(Record { data: value.data, input, line: value.line });
                        Ok(())
                    },
                    &mut |read| {
                        let mut reading = cell.borrow_mut();
                        reading.input_bytes += read as u64;
                        reading.hand_on(0)
                    },
                )
                .map_err(|stopped| hint(stopped, split))
            }
            Split::Lines | Split::Auto => self.lines(&mut reader, bytes_max),
        }
    }

    fn lines(&mut self, reader: &mut dyn Read, bytes_max: usize) -> Result<(), Stopped> {
        let mut lines = Lines::new(bytes_max);
        let mut buffer = vec![0; READ_BYTES];
        let mut told = 0;
        loop {
            let read = read(reader, &mut buffer)?;
            let mut found = Vec::new();
            match read {
                0 => lines.end(&mut |line| found.push(line)),
                read => lines.push(&buffer[..read], &mut |line| found.push(line)),
            }
            for line in found {
                match line {
                    Ok(line) => self.records.push(Record { data: line.data, input: self.number, line: line.number }),
                    Err(long) => {
                        let why = format!(
                            "the line has {} bytes, more than the {bytes_max} that one may have; it is not sent",
                            long.bytes
                        );
                        self.fault(Some(long.number), why)?;
                    }
                }
            }
            self.input_bytes += read as u64;
            let empty = lines.empty - std::mem::replace(&mut told, lines.empty);
            self.hand_on(empty)?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn whole(&mut self, reader: &mut dyn Read, bytes_max: usize) -> Result<(), Stopped> {
        let mut data = Vec::new();
        reader.take(bytes_max as u64 + 1).read_to_end(&mut data)?;
        if data.len() > bytes_max {
            let why = format!("it has more than the {bytes_max} bytes that one record may have; it is not sent");
            return Err(Stopped::Fault { line: None, why });
        }
        self.input_bytes += data.len() as u64;
        let empty = u64::from(data.is_empty());
        if !data.is_empty() {
            self.records.push(Record { data, input: self.number, line: 1 });
        }
        self.hand_on(empty)
    }

    fn hand_on(&mut self, empty: u64) -> Result<(), Stopped> {
        let piece = Piece::Records {
            records: std::mem::take(&mut self.records),
            input_bytes: std::mem::take(&mut self.input_bytes),
            empty,
            is_live: self.is_live,
        };
        self.pieces.blocking_send(piece).map_err(|_| Stopped::Receiver)
    }

    fn fault(&mut self, line: Option<u64>, why: String) -> Result<(), Stopped> {
        let fault = Fault { input: self.number, line, why };
        self.pieces.blocking_send(Piece::Fault(fault)).map_err(|_| Stopped::Receiver)
    }
}

/// Reads JSON values to the end.
fn values(
    reader: &mut dyn Read,
    split: Split,
    bytes_max: usize,
    each: &mut dyn FnMut(super::values::Value) -> Result<(), Stopped>,
    after_read: &mut dyn FnMut(usize) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let mut values = Values::new(bytes_max, true);
    let mut buffer = vec![0; READ_BYTES];
    let mut is_begun = false;
    loop {
        let read = read(reader, &mut buffer)?;
        if split == Split::Array && !is_begun {
            match first_byte(&buffer[..read]) {
                Some(b'[') => is_begun = true,
                Some(_) => return Err(NotJson { line: 1, why: "it does not begin with [".to_owned() }.into()),
                None => {}
            }
        }
        let mut found = Ok(());
        let mut give = |value| {
            if found.is_ok() {
                found = each(value);
            }
        };
        match read {
            0 => values.end(&mut give)?,
            read => values.push(&buffer[..read], &mut give)?,
        }
        found?;
        after_read(read)?;
        if read == 0 {
            return Ok(());
        }
    }
}

fn hint(stopped: Stopped, split: Split) -> Stopped {
    match stopped {
        Stopped::Fault { line: Some(line), why } if split == Split::Array => {
            let why = format!("{why}; nothing of the file is sent (--split lines sends it line by line)");
            Stopped::Fault { line: Some(line), why }
        }
        stopped => stopped,
    }
}

/// Whether this is a file of a name that says JSON, and begins as an array.
fn is_json_array(input: &Input) -> Result<bool, Stopped> {
    let Input::File(path) = input else { return Ok(false) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if !name.ends_with(".json") && !name.ends_with(".json.gz") || input.is_live() {
        return Ok(false);
    }
    let mut buffer = [0; 4096];
    let mut reader = open(input)?;
    loop {
        match read(&mut *reader, &mut buffer)? {
            0 => return Ok(false),
            read => {
                if let Some(first) = first_byte(&buffer[..read]) {
                    return Ok(first == b'[');
                }
            }
        }
    }
}

/// The first byte that is neither white space nor of a byte order mark.
fn first_byte(bytes: &[u8]) -> Option<u8> {
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xEF | 0xBB | 0xBF))
}

/// What an input holds, inflated.
pub fn open(input: &Input) -> io::Result<Box<dyn Read>> {
    Ok(match input {
        Input::Stdin => Box::new(io::stdin()),
        Input::Message(data) => Box::new(io::Cursor::new(data.clone())),
        Input::File(path) => {
            let file = File::open(path)?;
            if is_gzip(path) {
                Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(READ_BYTES, file)))
            } else {
                Box::new(file)
            }
        }
    })
}

/// Whether a file is inflated: by its name.
pub fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

fn read(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
