//! Bytes to lines, one line being one log. Pure; whoever reads files or follows them hands the bytes in.
//!
//! A line is bytes, which need not be text, and arrives as it is. Its end is a line feed; a carriage return before that
//! is part of the end, as Windows writes it, and goes with it. A line of nothing is no log.

/// A line that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without its end.
    pub data: Vec<u8>,
    /// Counted from 1.
    pub number: u64,
}

/// A line that is longer than a request may be. It is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// Which line, counted from 1.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
}

/// Cuts bytes that come piece by piece into lines.
#[derive(Debug)]
pub struct Lines {
    bytes_max: usize,
    /// The beginning of a line whose end has not come yet; of one that is too long, only so much as shows that.
    begun: Vec<u8>,
    begun_bytes: u64,
    number: u64,
    /// Lines of nothing so far.
    pub empty: u64,
}

impl Lines {
    /// For lines of at most this many bytes.
    pub fn new(bytes_max: usize) -> Lines {
        Lines { bytes_max, begun: Vec::new(), begun_bytes: 0, number: 0, empty: 0 }
    }

    /// Takes the next bytes; every line that they end goes to `each`.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Result<Line, TooLong>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..at]);
            if self.begun.last() == Some(&b'\r') && self.begun_bytes == self.begun.len() as u64 {
                self.begun.pop();
                self.begun_bytes -= 1;
            }
            self.finish(each);
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
    }

    /// Nothing more comes: what was begun is the last line, unless it is nothing.
    pub fn end(&mut self, each: &mut impl FnMut(Result<Line, TooLong>)) {
        if self.begun_bytes > 0 {
            self.finish(each);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One more than may be, and one for a carriage return that will go.
        let room = (self.bytes_max + 2).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.begun_bytes += bytes.len() as u64;
    }

    fn finish(&mut self, each: &mut impl FnMut(Result<Line, TooLong>)) {
        self.number += 1;
        let (data, bytes) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.begun_bytes));
        match bytes {
            0 => self.empty += 1,
            bytes if bytes > self.bytes_max as u64 => each(Err(TooLong { number: self.number, bytes })),
            _ => each(Ok(Line { data, number: self.number })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Found = (Vec<Result<(u64, Vec<u8>), (u64, u64)>>, u64);

    fn lines(pieces: &[&[u8]], bytes_max: usize) -> Found {
        let mut lines = Lines::new(bytes_max);
        let mut found = Vec::new();
        let mut each = |line: Result<Line, TooLong>| {
            found.push(line.map(|line| (line.number, line.data)).map_err(|long| (long.number, long.bytes)));
        };
        pieces.iter().for_each(|piece| lines.push(piece, &mut each));
        lines.end(&mut each);
        (found, lines.empty)
    }

    #[test]
    fn a_line_is_what_stands_between_line_ends() {
        let line = |number: u64, data: &[u8]| Ok((number, data.to_vec()));
        let cases: [(&[u8], Found); 9] = [
            (b"", (vec![], 0)),
            (b"\n", (vec![], 1)),
            (b"\r\n\n", (vec![], 2)),
            (b"a\nb", (vec![line(1, b"a"), line(2, b"b")], 0)),
            (b"a\r\n\r\nb\r\n", (vec![line(1, b"a"), line(3, b"b")], 1)),
            // Only the one that is part of the line's end goes.
            (b"a\r\r\nb\rc\nd\r", (vec![line(1, b"a\r"), line(2, b"b\rc"), line(3, b"d\r")], 0)),
            (b"\xff\x00\n \n", (vec![line(1, b"\xff\x00"), line(2, b" ")], 0)),
            (
                b"12345\n123456\n12345\r\nx\n",
                (vec![line(1, b"12345"), Err((2, 6)), line(3, b"12345"), line(4, b"x")], 0),
            ),
            (b"123456789\r\n", (vec![Err((1, 10))], 0)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(lines(&[bytes], 5), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_makes_no_difference(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (whole, empty) = lines(&[&text], 1_000);
            prop_assert_eq!(&lines(&pieces, 1_000), &(whole.clone(), empty));
            // With their ends put back, they are what was read.
            let kept: usize = whole.iter().map(|line| line.as_ref().map_or(0, |(_, data)| data.len())).sum();
            let ends = text.iter().filter(|byte| **byte == b'\n').count();
            let returns = text.windows(2).filter(|pair| *pair == b"\r\n").count();
            prop_assert_eq!(kept + ends + returns, text.len());
        }
    }
}
