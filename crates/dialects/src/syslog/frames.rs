//! Cuts the bytes of a syslog connection into frames (RFC 6587): counted (`115 <134>1 …`) or ended by a newline.
//!
//! Stands between a TCP or TLS stream and [`super::line`]. Each frame tells by its first byte which way it came, so
//! that one listener serves both kinds of sender and a sender may mix them: a digit begins a count, since no line of
//! syslog begins with one.
//!
//! Deliberately absent: what stands in a frame. A newline inside a count is part of the frame (rsyslog ends its lines
//! with one); [`super::line::without_ending`] takes it off.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// Most digits of a count: 9,999,999,999 bytes, more than any limit, so that a longer one is no count at all.
const COUNT_DIGITS_MAX: usize = 10;

/// How much of the beginning of a frame that is too long is given with it: enough for the header and an intake key,
/// which tell whose it was.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// What a connection gave.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A frame, without its count or the newline, carriage return or NUL that ended it.
    Whole(Bytes),
    /// A frame longer than the limit. It was skipped, not kept; the next one comes as ever.
    TooLong {
        /// How many bytes it had, or those that came before the connection ended.
        bytes: u64,
        /// Its first bytes, at most 4 KiB.
        head: Bytes,
    },
}

impl Frame {
    /// Whether nothing stood between two line ends.
    fn is_empty(&self) -> bool {
        matches!(self, Frame::Whole(bytes) if bytes.is_empty())
    }
}

/// Shows how long it is without what it says: lines hold intake keys.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Whole(bytes) => write!(f, "whole ({} bytes)", bytes.len()),
            Frame::TooLong { bytes, .. } => write!(f, "too long ({bytes} bytes)"),
        }
    }
}

/// Why a stream cannot be cut any further: nobody knows where the next frame begins, so the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// More digits than a count has.
    #[error("a frame's count of bytes has more than 10 digits")]
    LongCount,
    /// Zero, or written with zeros before it.
    #[error("a frame's count of bytes begins with 0")]
    ZeroCount,
    /// Something else than a space behind the digits.
    #[error("a frame's count of bytes is followed by byte 0x{0:02x} instead of a space")]
    NoSpace(u8),
}

/// The frames of one connection. Holds at most one frame's bytes and what was pushed last.
pub struct Frames {
    frame_bytes_max: usize,
    /// Whether digits that are no count begin a line.
    is_lenient: bool,
    buffer: BytesMut,
    state: State,
}

/// Where in a frame the buffer begins.
enum State {
    Start,
    /// In a counted frame of this many bytes, all within the limit.
    Counted(usize),
    /// In a frame that ends with a newline, of which this many bytes were searched.
    Line(usize),
    /// In a frame that is too long.
    Skip {
        /// Bytes that are gone.
        skipped: u64,
        /// Bytes that are still to come, if counted.
        left: Option<u64>,
        head: BytesMut,
    },
}

impl Frames {
    /// A connection at its beginning. Frames of more than `frame_bytes_max` bytes are skipped.
    pub fn new(frame_bytes_max: usize) -> Frames {
        Frames { frame_bytes_max, is_lenient: false, buffer: BytesMut::new(), state: State::Start }
    }

    /// The same for devices that may send lines without a priority: a count is one only where a `<` follows it, and
    /// everything else that begins with a digit is a line. Never [`Broken`].
    pub fn lenient(frame_bytes_max: usize) -> Frames {
        Frames { is_lenient: true, ..Frames::new(frame_bytes_max) }
    }

    /// Bytes that wait for the rest of their frame.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Adds what came. Take all frames before the next push: what was pushed is held until then.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` when more bytes are needed. Empty frames between newlines are not given. After
    /// [`Broken`] there is no next frame.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            let frame = match &mut self.state {
                State::Start => match self.begin()? {
                    Some(state) => {
                        self.state = state;
                        continue;
                    }
                    None => return Ok(None),
                },
                State::Counted(count) if self.buffer.len() < *count => return Ok(None),
                State::Counted(count) => Frame::Whole(self.buffer.split_to(*count).freeze()),
                State::Line(searched) => match find_ending(&self.buffer[*searched..]) {
                    Some(at) => {
                        let at = *searched + at;
                        self.take_line(at)
                    }
                    // One more for the carriage return, which is no part of the frame.
                    None if self.buffer.len() > self.frame_bytes_max.saturating_add(1) => {
                        self.state = State::Skip { skipped: 0, left: None, head: BytesMut::new() };
                        continue;
                    }
                    None => {
                        *searched = self.buffer.len();
                        return Ok(None);
                    }
                },
                State::Skip { .. } => match self.skip() {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            self.state = State::Start;
            if !frame.is_empty() {
                return Ok(Some(frame));
            }
        }
    }

    /// What is left when the stream has ended and [`Frames::next_frame`] gives no more: a last line without its
    /// newline, or what was skipped of a frame that is too long. A counted frame that was cut is none.
    pub fn end(mut self) -> Option<Frame> {
        match self.state {
            State::Line(_) => {
                let rest = self.buffer.split().freeze();
                Some(self.line(&rest)).filter(|frame| !frame.is_empty())
            }
            State::Skip { skipped, head, .. } => Some(Frame::TooLong { bytes: skipped, head: head.freeze() }),
            // The beginning of a line that could still have become a count.
            State::Start if self.is_lenient => {
                let rest = self.buffer.split().freeze();
                Some(self.line(&rest)).filter(|frame| !frame.is_empty())
            }
            State::Start | State::Counted(_) => None,
        }
    }

    /// How the frame begins whose first byte is next, or `None` when that cannot be told yet.
    fn begin(&mut self) -> Result<Option<State>, Broken> {
        match self.buffer.first() {
            None => Ok(None),
            Some(b'0') if self.is_lenient => Ok(Some(State::Line(0))),
            Some(b'0') => Err(Broken::ZeroCount),
            Some(b'1'..=b'9') => self.begin_counted(),
            Some(_) => Ok(Some(State::Line(0))),
        }
    }

    fn begin_counted(&mut self) -> Result<Option<State>, Broken> {
        let digits = self.buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if self.is_lenient {
            let is_count = match (self.buffer.get(digits), self.buffer.get(digits + 1)) {
                _ if digits > COUNT_DIGITS_MAX => false,
                (None, _) | (Some(b' '), None) => return Ok(None),
                (Some(space), Some(next)) => (*space, *next) == (b' ', b'<'),
                (Some(_), None) => false,
            };
            if !is_count {
                return Ok(Some(State::Line(0)));
            }
        }
        if digits > COUNT_DIGITS_MAX {
            return Err(Broken::LongCount);
        }
        match self.buffer.get(digits) {
            None => return Ok(None),
            Some(b' ') => {}
            Some(byte) => return Err(Broken::NoSpace(*byte)),
        }
        let count = self.buffer[..digits].iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
        self.buffer.advance(digits + 1);
        Ok(Some(match usize::try_from(count) {
            Ok(count) if count <= self.frame_bytes_max => State::Counted(count),
            _ => State::Skip { skipped: 0, left: Some(count), head: BytesMut::new() },
        }))
    }

    /// The line that ends before `at`, where a newline or NUL stands.
    fn take_line(&mut self, at: usize) -> Frame {
        let line = self.buffer.split_to(at).freeze();
        self.buffer.advance(1);
        self.line(&line)
    }

    fn line(&self, line: &Bytes) -> Frame {
        let bytes = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
        if bytes <= self.frame_bytes_max {
            Frame::Whole(line.slice(..bytes))
        } else {
            let head = Bytes::copy_from_slice(&line[..self.head_bytes_max()]);
            Frame::TooLong { bytes: line.len() as u64, head }
        }
    }

    /// Drops what there is of a frame that is too long. Gives it once it has ended.
    fn skip(&mut self) -> Option<Frame> {
        let head_bytes_max = self.head_bytes_max();
        let State::Skip { skipped, left, head } = &mut self.state else { return None };
        let (bytes, has_ended) = match left {
            Some(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= bytes as u64;
                (bytes, *left == 0)
            }
            None => match find_ending(&self.buffer) {
                Some(at) => (at, true),
                None => (self.buffer.len(), false),
            },
        };
        let wanted = bytes.min(head_bytes_max - head.len());
        head.extend_from_slice(&self.buffer[..wanted]);
        *skipped += bytes as u64;
        let ending = usize::from(has_ended && left.is_none());
        let frame = has_ended.then(|| Frame::TooLong { bytes: *skipped, head: head.split().freeze() });
        self.buffer.advance(bytes + ending);
        frame
    }

    /// No more than a frame may have, so that it does not matter how the bytes of a skipped one came in.
    fn head_bytes_max(&self) -> usize {
        HEAD_BYTES_MAX.min(self.frame_bytes_max)
    }
}

/// Shows nothing of what was pushed: lines hold intake keys.
impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("frame_bytes_max", &self.frame_bytes_max).finish_non_exhaustive()
    }
}

/// Where a line ends: some senders write a NUL instead of the newline, others behind it.
fn find_ending(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', 0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 20;

    /// Everything that a stream gives when it comes in these pieces, ends included.
    fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Broken>) {
        let mut frames = Frames::new(MAX);
        let mut got = Vec::new();
        for piece in pieces {
            frames.push(piece);
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => got.push(frame),
                    Ok(None) => break,
                    Err(broken) => {
                        assert_eq!(frames.next_frame(), Err(broken), "it stays broken");
                        return (got, Some(broken));
                    }
                }
            }
            // All of a frame with its carriage return, or an unfinished count.
            assert!(frames.buffer.len() <= MAX + 1, "skipped bytes are not kept");
        }
        got.extend(frames.end());
        (got, None)
    }

    #[track_caller]
    fn check(stream: &[u8], expected: &[&str], broken: Option<Broken>) {
        let show = |frame: &Frame| match frame {
            Frame::Whole(bytes) => bytes.escape_ascii().to_string(),
            Frame::TooLong { bytes, head } => format!("too long: {bytes}, {}", head.escape_ascii()),
        };
        for size in [1, 2, 3, 7, stream.len().max(1)] {
            let (got, end) = frames(stream.chunks(size));
            let got: Vec<String> = got.iter().map(show).collect();
            assert_eq!((got, end), (expected.iter().map(|text| text.to_string()).collect(), broken), "by {size}");
        }
    }

    #[test]
    fn frames_tell_how_they_came() {
        check(b"", &[], None);
        check(b"5 <1>ab5 <2>cd", &["<1>ab", "<2>cd"], None);
        check(b"7 <1>ab\r\n5 <2>cd", &["<1>ab\\r\\n", "<2>cd"], None);
        check(b"<1>ab\n<2>cd\r\n<3>ef\0<4>g", &["<1>ab", "<2>cd", "<3>ef", "<4>g"], None);
        check(b"<1>a\n5 <2>\nc<3>d\n", &["<1>a", "<2>\\nc", "<3>d"], None);
        check(b"\n\r\n\0<1>a\n\0\n\n", &["<1>a"], None);
        // Behind a count some senders write a newline all the same.
        check(b"4 <1>a\n4 <2>b\r\n", &["<1>a", "<2>b"], None);
        check(b"<1>\xff\xfe\n", &["<1>\\xff\\xfe"], None);
    }

    #[test]
    fn a_cut_line_counts_and_a_cut_count_does_not() {
        check(b"<1>a\r\n<2>b\r", &["<1>a", "<2>b"], None);
        check(b"5 <1>a", &[], None);
        check(b"5 ", &[], None);
        check(b"5", &[], None);
    }

    #[test]
    fn what_is_too_long_is_skipped() {
        let line = "x".repeat(MAX);
        let ended = |ending: &str| format!("{line}{ending}<1>a\n");
        check(ended("\n").as_bytes(), &[&line, "<1>a"], None);
        check(ended("\r\n").as_bytes(), &[&line, "<1>a"], None);
        check(ended("y\n").as_bytes(), &[&format!("too long: 21, {line}"), "<1>a"], None);
        check(ended("y\r\n").as_bytes(), &[&format!("too long: 22, {line}"), "<1>a"], None);
        check(ended(&format!("{line}\0")).as_bytes(), &[&format!("too long: 40, {line}"), "<1>a"], None);
        check(format!("20 {line}4 <1>a").as_bytes(), &[&line, "<1>a"], None);
        check(format!("21 {line}\n4 <1>a").as_bytes(), &[&format!("too long: 21, {line}"), "<1>a"], None);
        // The stream ends within.
        check(format!("{line}y").as_bytes(), &[&format!("too long: 21, {line}")], None);
        check(format!("{line}yz").as_bytes(), &[&format!("too long: 22, {line}")], None);
        check(b"9999999999 abc", &["too long: 3, abc"], None);
    }

    #[test]
    fn a_broken_count_ends_the_connection() {
        check(b"4 <1>a0 <2>b", &["<1>a"], Some(Broken::ZeroCount));
        check(b"04 <1>a", &[], Some(Broken::ZeroCount));
        check(b"4 <1>a12<1>b", &["<1>a"], Some(Broken::NoSpace(b'<')));
        check(b"2021-04-05 a line without priority\n", &[], Some(Broken::NoSpace(b'-')));
        check(b"99999999999 x", &[], Some(Broken::LongCount));
    }

    #[test]
    fn what_rsyslog_sent() {
        let stream = include_bytes!("captures/rsyslog_8.2302_forwarder.stream");
        let mut frames = Frames::new(256_000);
        frames.push(stream);
        let Ok(Some(Frame::Whole(frame))) = frames.next_frame() else { panic!("a whole frame") };
        assert!(frame.starts_with(b"<134>1 2026-11-21T20:39:32.650974+00:00 hostA"));
        assert!(frame.ends_with(b"hello world\n"));
        assert_eq!((frames.next_frame(), frames.end()), (Ok(None), None));
    }

    fn counted(data: &[u8]) -> Vec<u8> {
        [format!("{} ", data.len()).as_bytes(), data].concat()
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..30).prop_map(|data| counted(&data)),
            4 => "[<>a-z ]{0,30}(\n|\r\n|\0)".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
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
            prop_assert_eq!(frames(pieces), frames([stream.as_slice()]));
        }

        #[test]
        fn what_is_counted_comes_out_as_it_went_in(
            data in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..MAX), 0..9),
        ) {
            let stream: Vec<u8> = data.iter().flat_map(|data| counted(data)).collect();
            let whole: Vec<Frame> = data.into_iter().map(|data| Frame::Whole(data.into())).collect();
            prop_assert_eq!(frames([stream.as_slice()]), (whole, None));
        }
    }

    #[test]
    fn a_lenient_stream_is_never_broken() {
        let check = |stream: &[u8], expected: &[&str]| {
            for size in [1, 2, 3, stream.len()] {
                let mut frames = Frames::lenient(MAX);
                let mut got = Vec::new();
                for piece in stream.chunks(size) {
                    frames.push(piece);
                    while let Some(frame) = frames.next_frame().unwrap() {
                        got.push(frame);
                    }
                }
                got.extend(frames.end());
                let shown = |frame: &Frame| match frame {
                    Frame::Whole(bytes) => bytes.escape_ascii().to_string(),
                    Frame::TooLong { bytes, .. } => format!("too long: {bytes}"),
                };
                assert_eq!(got.iter().map(shown).collect::<Vec<_>>(), expected, "by {size}");
            }
        };
        check(b"2021-04-05 a\n5 <1>ab0 b\n", &["2021-04-05 a", "<1>ab", "0 b"]);
        check(b"2021 Apr 5\n123", &["2021 Apr 5", "123"]);
        check(b"12345678901 <\n7 ", &["12345678901 <", "7 "]);
    }
}
