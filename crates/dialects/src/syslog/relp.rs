//! The server's side of RELP, the Reliable Event Logging Protocol, as librelp speaks it: syslog lines that are
//! acknowledged one by one.
//!
//! Stands between a TLS stream and [`super::line`]: [`Session`] turns a client's bytes into [`Command`]s, and
//! [`opened`], [`ok`], [`failed`] and [`SERVERCLOSE`] make what goes back. A line is acknowledged when it is committed,
//! which is the caller's business; answers must go out in the order of the commands.
//!
//! A frame is `TXNR SP COMMAND SP DATALEN [SP DATA] LF`, with at most nine digits in a number. Facts from the
//! protocol's specification (librelp, `doc/relp.md`) and from what librelp does. What that means for answers:
//!
//! - A client forgets a line that was answered, with 500 as well, and sends it again when the connection ends without
//!   an answer. So 500 is for what can never be taken, and trouble that passes is told by closing.
//! - librelp ends a session whose server offers a higher `relp_version` than its own, which is 0.
//! - It shows at most 80 bytes of an answer's text.
//!
//! Deliberately absent: STARTTLS (TLS comes first or not at all), and a check that transaction numbers grow: they only
//! come back in answers, and whoever numbers badly confuses nobody but itself.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Most digits of a number of the protocol.
const DIGITS_MAX: usize = 9;

/// Longest name of a command.
const COMMAND_BYTES_MAX: usize = 32;

/// Most text of an answer that clients show.
const TEXT_BYTES_MAX: usize = 80;

/// How much of the beginning of data that is too long is given with it: enough for the header and an intake key.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// The hint that the server is about to close the connection. No answer comes.
pub const SERVERCLOSE: &[u8] = b"0 serverclose 0\n";

/// The number of a command, 1 to 999,999,999, which its answer repeats.
pub type TxNr = u32;

/// What a client wants. Each must be answered, in this order.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// Begins the session; answered with [`opened`]. May come again: librelp is known to do that, harmlessly.
    Open {
        /// Its number.
        txnr: TxNr,
        /// What the client says of itself: lines of `name=value,value`.
        offers: Bytes,
    },
    /// A line; answered with [`ok`] when it is kept.
    Syslog {
        /// Its number.
        txnr: TxNr,
        /// The line, as [`super::line`] reads it.
        data: Bytes,
    },
    /// A command whose data is longer than the limit. It was skipped, not kept; the next one comes as ever.
    TooLong {
        /// Its number.
        txnr: TxNr,
        /// How many bytes its data had.
        bytes: u64,
        /// The first of them, at most 4 KiB.
        head: Bytes,
    },
    /// Something that is not known; answered with [`failed`].
    Unknown {
        /// Its number.
        txnr: TxNr,
        /// What it is called: at most 32 letters.
        command: String,
    },
    /// Ends the session; answered with [`ok`], after which the connection is closed.
    Close {
        /// Its number.
        txnr: TxNr,
    },
}

/// Why a session cannot go on: the connection must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Broken {
    /// The command that may be answered before the connection ends, as far as it could be read.
    pub txnr: Option<TxNr>,
    /// What was wrong.
    pub what: &'static str,
}

/// A client's session. Holds at most one command's data and what was pushed last.
pub struct Session {
    data_bytes_max: usize,
    buffer: BytesMut,
    at: At,
    stage: Stage,
}

/// Where in a frame the buffer begins.
enum At {
    Header,
    /// In the data of a command, all within the limit.
    Data(Header),
    /// In data that is too long.
    Skip {
        header: Header,
        /// Bytes that are still to come.
        left: usize,
        head: BytesMut,
    },
    /// Behind the data, before the newline.
    Trailer(Command),
}

/// What a session has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Closed,
}

struct Header {
    txnr: TxNr,
    command: String,
    data_bytes: usize,
}

impl Session {
    /// A connection at its beginning. Commands with more than `data_bytes_max` bytes of data are skipped.
    pub fn new(data_bytes_max: usize) -> Session {
        Session { data_bytes_max, buffer: BytesMut::new(), at: At::Header, stage: Stage::New }
    }

    /// Bytes that wait for the rest of their command.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Adds what came. Take all commands before the next push: what was pushed is held until then.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next command, or `None` when more bytes are needed. After [`Broken`] there is no next command. When the
    /// stream ends within a command, nothing is owed: the client sends it again.
    pub fn next_command(&mut self) -> Result<Option<Command>, Broken> {
        loop {
            match &mut self.at {
                At::Header => match self.header()? {
                    None => return Ok(None),
                    Some(header) if header.data_bytes <= self.data_bytes_max => self.at = At::Data(header),
                    Some(header) => {
                        let left = header.data_bytes;
                        self.at = At::Skip { header, left, head: BytesMut::new() };
                    }
                },
                At::Data(header) if self.buffer.len() < header.data_bytes => return Ok(None),
                At::Data(header) => {
                    let data = self.buffer.split_to(header.data_bytes).freeze();
                    self.at = At::Trailer(command(header, data));
                }
                At::Skip { header, left, head } => {
                    let bytes = self.buffer.len().min(*left);
                    let wanted = bytes.min(HEAD_BYTES_MAX - head.len());
                    head.extend_from_slice(&self.buffer[..wanted]);
                    self.buffer.advance(bytes);
                    *left -= bytes;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let (txnr, bytes) = (header.txnr, header.data_bytes as u64);
                    self.at = At::Trailer(Command::TooLong { txnr, bytes, head: head.split().freeze() });
                }
                At::Trailer(command) => {
                    match self.buffer.first() {
                        None => return Ok(None),
                        Some(b'\n') => {}
                        Some(_) => return Err(command.broken("no newline behind a command's data")),
                    }
                    let command = command.clone();
                    let stage = self.stage.after(&command)?;
                    self.stage = stage;
                    self.buffer.advance(1);
                    self.at = At::Header;
                    return Ok(Some(command));
                }
            }
        }
    }

    /// Reads a header, the space before the data included, if all of it is there. A header has 53 bytes at most, so
    /// that beginning again with every push costs nothing.
    fn header(&mut self) -> Result<Option<Header>, Broken> {
        let broken = |txnr, what| Err(Broken { txnr, what });
        let mut reader = Reader { bytes: &self.buffer, at: 0 };

        let digits = reader.take_while(DIGITS_MAX + 1, u8::is_ascii_digit);
        let txnr = number(digits);
        match reader.next() {
            None if digits.len() <= DIGITS_MAX => return Ok(None),
            Some(b' ') if (1..=DIGITS_MAX).contains(&digits.len()) && txnr > 0 => {}
            _ => return broken(None, "no command begins with a transaction number of 1 to 999999999"),
        }

        let name = reader.take_while(COMMAND_BYTES_MAX + 1, u8::is_ascii_alphabetic);
        match reader.next() {
            None if name.len() <= COMMAND_BYTES_MAX => return Ok(None),
            Some(b' ') if (1..=COMMAND_BYTES_MAX).contains(&name.len()) => {}
            _ => return broken(Some(txnr), "a command has a name of 1 to 32 letters"),
        }
        let command = name.iter().map(|byte| char::from(*byte)).collect();

        let digits = reader.take_while(DIGITS_MAX + 1, u8::is_ascii_digit);
        let data_bytes = number(digits) as usize;
        let length = match reader.next() {
            None if digits.len() <= DIGITS_MAX => return Ok(None),
            Some(b' ') if (1..=DIGITS_MAX).contains(&digits.len()) => reader.at,
            // Without data there is no space either; some write it all the same.
            Some(b'\n') if (1..=DIGITS_MAX).contains(&digits.len()) && data_bytes == 0 => reader.at,
            _ => return broken(Some(txnr), "a command's length of data is 1 to 9 digits before a space"),
        };
        self.buffer.advance(length);
        Ok(Some(Header { txnr, command, data_bytes }))
    }
}

/// Shows where it is without what was pushed: lines hold intake keys.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Stage {
    /// What the session comes to by a command, if it may come now.
    fn after(self, command: &Command) -> Result<Stage, Broken> {
        match (self, command) {
            (Stage::Closed, _) => Err(command.broken("a command came after close")),
            (_, Command::Open { .. }) => Ok(Stage::Open),
            (_, Command::Close { .. }) => Ok(Stage::Closed),
            (Stage::New, Command::Syslog { .. } | Command::TooLong { .. }) => {
                Err(command.broken("a line came before open"))
            }
            (stage, _) => Ok(stage),
        }
    }
}

impl Command {
    /// Its number.
    pub fn txnr(&self) -> TxNr {
        match self {
            Command::Open { txnr, .. }
            | Command::Syslog { txnr, .. }
            | Command::TooLong { txnr, .. }
            | Command::Unknown { txnr, .. }
            | Command::Close { txnr } => *txnr,
        }
    }

    fn broken(&self, what: &'static str) -> Broken {
        Broken { txnr: Some(self.txnr()), what }
    }
}

/// Shows what it is without its data: lines hold intake keys.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let txnr = self.txnr();
        match self {
            Command::Open { offers, .. } => write!(f, "open {txnr} ({} bytes)", offers.len()),
            Command::Syslog { data, .. } => write!(f, "syslog {txnr} ({} bytes)", data.len()),
            Command::TooLong { bytes, .. } => write!(f, "too long {txnr} ({bytes} bytes)"),
            Command::Unknown { command, .. } => write!(f, "unknown {txnr} ({command})"),
            Command::Close { .. } => write!(f, "close {txnr}"),
        }
    }
}

fn command(header: &Header, data: Bytes) -> Command {
    let txnr = header.txnr;
    match header.command.as_str() {
        "open" => Command::Open { txnr, offers: data },
        "syslog" => Command::Syslog { txnr, data },
        "close" => Command::Close { txnr },
        command => Command::Unknown { txnr, command: command.to_owned() },
    }
}

/// The answer to [`Command::Open`]: what is spoken here.
pub fn opened(txnr: TxNr) -> Bytes {
    answer(txnr, "200 OK\nrelp_version=0\nrelp_software=penstock\ncommands=syslog")
}

/// The answer that all went well.
pub fn ok(txnr: TxNr) -> Bytes {
    answer(txnr, "200 OK")
}

/// The answer that a command failed, and why; of the text only the first line and at most 80 bytes are sent. A client
/// does not send a line again that was answered so.
pub fn failed(txnr: TxNr, text: &str) -> Bytes {
    let text = text.lines().next().unwrap_or_default();
    answer(txnr, &format!("500 {}", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]))
}

fn answer(txnr: TxNr, data: &str) -> Bytes {
    Bytes::from(format!("{txnr} rsp {} {data}\n", data.len()))
}

/// What at most nine digits say; ten are refused, whatever they say.
fn number(digits: &[u8]) -> u32 {
    digits.iter().take(DIGITS_MAX).fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// A place in the buffer.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take_while(&mut self, bytes_max: usize, is_wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(bytes_max).take_while(|byte| is_wanted(byte)).count();
        self.at += length;
        &rest[..length]
    }

    /// The next byte. A space is stepped over, all else stays.
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += usize::from(byte == Some(b' '));
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 20;

    /// Everything that a stream gives when it comes in these pieces.
    fn commands<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Command>, Option<Broken>) {
        let mut session = Session::new(MAX);
        let mut got = Vec::new();
        for piece in pieces {
            session.push(piece);
            loop {
                match session.next_command() {
                    Ok(Some(command)) => got.push(command),
                    Ok(None) => break,
                    Err(broken) => {
                        assert_eq!(session.next_command(), Err(broken.clone()), "it stays broken");
                        return (got, Some(broken));
                    }
                }
            }
            assert!(session.buffer.len() < 54, "no more than a header or data is kept");
        }
        (got, None)
    }

    #[track_caller]
    fn check(stream: &[u8], expected: &[&str], broken: Option<(Option<TxNr>, &str)>) {
        for size in [1, 2, 3, 7, stream.len().max(1)] {
            let (got, end) = commands(stream.chunks(size));
            let got: Vec<String> = got.iter().map(show).collect();
            let expected: Vec<String> = expected.iter().map(|text| text.to_string()).collect();
            assert_eq!(got, expected, "by {size}");
            let end = end.as_ref().map(|end| (end.txnr, end.what));
            match (end, broken) {
                (None, None) => {}
                (Some((txnr, what)), Some((expected, part))) if txnr == expected && what.contains(part) => {}
                (end, broken) => panic!("by {size}: got {end:?}, expected {broken:?}"),
            }
        }
    }

    fn show(command: &Command) -> String {
        match command {
            Command::Open { txnr, offers } => format!("{txnr} open {}", offers.escape_ascii()),
            Command::Syslog { txnr, data } => format!("{txnr} syslog {}", data.escape_ascii()),
            Command::TooLong { txnr, bytes, head } => format!("{txnr} too long: {bytes}, {}", head.escape_ascii()),
            Command::Unknown { txnr, command } => format!("{txnr} unknown {command}"),
            Command::Close { txnr } => format!("{txnr} close"),
        }
    }

    #[test]
    fn a_session_from_open_to_close() {
        check(
            b"1 open 14 relp_version=0\n2 syslog 5 <1>ab\n3 syslog 7 <1>a\nb\n\n4 close 0\n",
            &["1 open relp_version=0", "2 syslog <1>ab", "3 syslog <1>a\\nb\\n", "4 close"],
            None,
        );
        check(b"", &[], None);
        check(b"1 open 0\n", &["1 open "], None);
        check(b"1 open 0 \n2 syslog 0\n3 close 0 \n", &["1 open ", "2 syslog ", "3 close"], None);
        // Again within a session; numbers go round.
        check(
            b"999999999 open 0\n1 open 0\n2 syslog 1 \xff\n",
            &["999999999 open ", "1 open ", "2 syslog \\xff"],
            None,
        );
        check(b"1 starttls 0\n2 open 0\n3 foo 1 x\n", &["1 unknown starttls", "2 open ", "3 unknown foo"], None);
        check(b"1 close 0\n", &["1 close"], None);
        // Cut.
        check(b"1 open 0\n2 syslog 5 <1>ab", &["1 open "], None);
        check(b"1 open 0\n2 sysl", &["1 open "], None);
    }

    #[test]
    fn data_that_is_too_long_is_skipped_and_named() {
        let data = "x".repeat(MAX + 1);
        check(
            format!("1 open 0\n2 syslog 21 {data}\n3 syslog 20 {}\n", &data[1..]).as_bytes(),
            &["1 open ", &format!("2 too long: 21, {data}"), &format!("3 syslog {}", &data[1..])],
            None,
        );
        check(format!("1 open 0\n2 syslog 999999999 {data}").as_bytes(), &["1 open "], None);
        check(format!("7 syslog 21 {data}\n").as_bytes(), &[], Some((Some(7), "before open")));
    }

    #[test]
    fn what_is_no_relp_ends_the_connection() {
        let open = "1 open ";
        for (stream, txnr, what) in [
            ("<134>1 a", None, "transaction number"),
            ("GET / HTTP/1.1", None, "transaction number"),
            ("\n", None, "transaction number"),
            ("0 open 0\n", None, "transaction number"),
            ("000 open 0\n", None, "transaction number"),
            ("1234567890 open 0\n", None, "transaction number"),
            ("5\n", None, "transaction number"),
            ("5  open 0\n", Some(5), "1 to 32 letters"),
            ("5 op3n 0\n", Some(5), "1 to 32 letters"),
            ("5 abcdefghijklmnopqrstuvwxyzabcdefg 0\n", Some(5), "1 to 32 letters"),
            ("5 syslog x\n", Some(5), "length of data"),
            ("5 syslog -1\n", Some(5), "length of data"),
            ("5 syslog \n", Some(5), "length of data"),
            ("5 syslog 3\n", Some(5), "length of data"),
            ("5 syslog 1234567890 x", Some(5), "length of data"),
            ("5 syslog 3 <1>x\n", Some(5), "no newline"),
            ("5 syslog 0 x\n", Some(5), "no newline"),
        ] {
            check(format!("1 open 0\n{stream}").as_bytes(), &[open], Some((txnr, what)));
        }
        check(b"5 syslog 3 <1>\n", &[], Some((Some(5), "before open")));
        check(b"1 open 0\n2 close 0\n3 syslog 3 <1>\n", &[open, "2 close"], Some((Some(3), "after close")));
    }

    #[test]
    fn answers_are_as_librelp_reads_them() {
        assert_eq!(opened(1), "1 rsp 60 200 OK\nrelp_version=0\nrelp_software=penstock\ncommands=syslog\n".as_bytes());
        assert_eq!(ok(999_999_999), "999999999 rsp 6 200 OK\n".as_bytes());
        assert_eq!(failed(2, "no such intake key"), "2 rsp 22 500 no such intake key\n".as_bytes());
        assert_eq!(failed(2, "one\ntwo"), "2 rsp 7 500 one\n".as_bytes());
        assert_eq!(failed(2, ""), "2 rsp 4 500 \n".as_bytes());
        // 26 characters of three bytes fit into 80.
        assert_eq!(failed(2, &"€".repeat(100)), format!("2 rsp 82 500 {}\n", "€".repeat(26)).as_bytes());
    }

    #[test]
    fn what_librelp_sent() {
        let offers = "relp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog";
        let mut session = Session::new(1_000);
        session.push(format!("1 open {} {offers}\n", offers.len()).as_bytes());
        assert_eq!(session.next_command(), Ok(Some(Command::Open { txnr: 1, offers: offers.into() })));
        assert_eq!(session.next_command(), Ok(None));
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let data = prop::collection::vec(any::<u8>(), 0..30);
        let name = prop::sample::select(vec!["open", "syslog", "syslog", "syslog", "close", "foo"]);
        let frame = (1u32..1_000_000_000, name, data).prop_map(|(txnr, name, data)| {
            let space = if data.is_empty() { "" } else { " " };
            [format!("{txnr} {name} {}{space}", data.len()).into_bytes(), data, b"\n".to_vec()].concat()
        });
        let junk = prop::collection::vec(any::<u8>(), 0..4);
        let piece = prop_oneof![20 => frame, 1 => junk];
        prop::collection::vec(piece, 0..9).prop_map(|pieces| [b"1 open 0\n".to_vec(), pieces.concat()].concat())
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(
            stream in stream(), sizes in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut pieces = Vec::new();
            let mut rest = stream.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(commands(pieces), commands([stream.as_slice()]));
        }

        #[test]
        fn an_answer_is_a_frame_of_its_own(txnr in 1u32..1_000_000_000, text in "\\PC{0,120}|.{0,9}\n.{0,9}") {
            let answer = failed(txnr, &text);
            let header = format!("{txnr} rsp ");
            let rest = std::str::from_utf8(&answer).unwrap().strip_prefix(&header).unwrap();
            let (length, data) = rest.split_once(' ').unwrap();
            prop_assert_eq!(length.parse::<usize>().unwrap() + 1, data.len());
            prop_assert!(data.starts_with("500 ") && data.ends_with('\n') && data.len() <= 85);
            prop_assert_eq!(data.matches('\n').count(), 1);
        }
    }
}
