//! Segments: the files that frames lie in (docs/log-format.md, "Segment"), and reading them.
//!
//! A segment is written by one life of one process only, ends where the next one begins, and its name says where that
//! is. [`SegmentReader`] is the one way in which frames are read: by recovery, followers, verification, the rebuilding
//! of key tables and the search for an id. Writing is the business of `writer`.

use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use event::Time;
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, DiskFile};
use crate::error::LogError;
use crate::frame::{self, ALIGN, HEAD_BYTES, Head, Salt, array_at, find_head, u32_at, u64_at};

/// Bytes of a segment file before its frames: two copies of the header, a page apart, and the summary between them.
pub(crate) const HEADER_BYTES: u64 = 8192;

/// The format that this build writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// Where a summary stands in the file: in a sector of its own, since it is written last and never synced on purpose.
const SUMMARY_AT: u64 = 2048;
const SECOND_COPY_AT: u64 = 4096;
const COPY_BYTES: usize = 96;
const SUMMARY_BYTES: usize = 96;
const HEADER_MAGIC: &[u8; 8] = b"PENSTLOG";
const SUMMARY_MAGIC: &[u8; 8] = b"PENSTSUM";

/// What a segment's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) epoch: u64,
    pub(crate) salt: Salt,
    /// The log offset of the first frame.
    pub(crate) base: u64,
    pub(crate) created: Time,
}

/// What a header's bytes are.
pub(crate) enum HeaderRead {
    Whole(Header),
    Newer(u32),
    Damaged,
}

impl Header {
    /// The whole region before the frames, without a summary.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = [0; COPY_BYTES];
        copy[8..16].copy_from_slice(HEADER_MAGIC);
        copy[16..20].copy_from_slice(&FORMAT.to_le_bytes());
        copy[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        copy[32..48].copy_from_slice(&self.salt.0);
        copy[48..56].copy_from_slice(&self.base.to_le_bytes());
        copy[56..64].copy_from_slice(&self.created.nanos().to_le_bytes());
        let sum = xxh3_64(&copy[8..]);
        copy[..8].copy_from_slice(&sum.to_le_bytes());
        let mut bytes = vec![0; HEADER_BYTES as usize];
        bytes[..COPY_BYTES].copy_from_slice(&copy);
        bytes[SECOND_COPY_AT as usize..][..COPY_BYTES].copy_from_slice(&copy);
        bytes
    }

    /// Reads either copy: one bad sector must not cost a segment, whose salt stands nowhere else.
    pub(crate) fn decode(region: &[u8]) -> HeaderRead {
        let mut newer = None;
        for at in [0, SECOND_COPY_AT as usize] {
            let Some(copy) = region.get(at..at + COPY_BYTES) else { continue };
            if copy[8..16] != *HEADER_MAGIC {
                continue;
            }
            let format = u32_at(copy, 16);
            if format > FORMAT {
                // A newer format may place its checksum elsewhere; the number itself never moves.
                newer = Some(format);
            } else if u64_at(copy, 0) == xxh3_64(&copy[8..]) && u64_at(copy, 48) <= BASE_MAX {
                return HeaderRead::Whole(Header {
                    epoch: u64_at(copy, 24),
                    salt: Salt(array_at(copy, 32)),
                    base: u64_at(copy, 48),
                    created: Time::from_nanos(i64::from_le_bytes(array_at(copy, 56))),
                });
            }
        }
        newer.map_or(HeaderRead::Damaged, HeaderRead::Newer)
    }
}

/// The furthest that a segment can begin: more bytes than any log will ever hold, and far enough from the end of 64 bits that
/// no sum with a file's length overflows. A header that says more is damaged, whatever its checksum says.
const BASE_MAX: u64 = 1 << 62;

/// What is known of all frames of a sealed segment. Written into its header region when it is sealed, without a sync:
/// where it is missing, it is made again from the frames' heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    pub(crate) frames: u64,
    /// Frames that carry a dedup key; none means that no key file is needed.
    pub(crate) keyed: u64,
    pub(crate) id_min: u128,
    pub(crate) id_max: u128,
    /// The latest `at` of a frame; `Time::MIN` without any.
    pub(crate) newest: Time,
}

impl Summary {
    pub(crate) const EMPTY: Summary = Summary { frames: 0, keyed: 0, id_min: u128::MAX, id_max: 0, newest: Time::MIN };

    pub(crate) fn add(&mut self, head: &Head) {
        self.frames += 1;
        self.keyed += u64::from(head.key.is_some());
        self.id_min = self.id_min.min(head.id);
        self.id_max = self.id_max.max(head.id);
        self.newest = self.newest.max(head.at);
    }

    /// Bound to the segment by its salt and end, so that none of an earlier life is believed.
    pub(crate) fn encode(&self, salt: Salt, end: u64) -> [u8; SUMMARY_BYTES] {
        let mut bytes = [0; SUMMARY_BYTES];
        bytes[8..16].copy_from_slice(SUMMARY_MAGIC);
        bytes[16..24].copy_from_slice(&end.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.frames.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.keyed.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.id_min.to_be_bytes());
        bytes[56..72].copy_from_slice(&self.id_max.to_be_bytes());
        bytes[72..80].copy_from_slice(&self.newest.nanos().to_le_bytes());
        let sum = salt.payload_sum(end, &bytes[8..]);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(region: &[u8], salt: Salt, end: u64) -> Option<Summary> {
        let bytes = region.get(SUMMARY_AT as usize..SUMMARY_AT as usize + SUMMARY_BYTES)?;
        let whole = bytes[8..16] == *SUMMARY_MAGIC
            && u64_at(bytes, 16) == end
            && u64_at(bytes, 0) == salt.payload_sum(end, &bytes[8..]);
        whole.then(|| Summary {
            frames: u64_at(bytes, 24),
            keyed: u64_at(bytes, 32),
            id_min: u128::from_be_bytes(array_at(bytes, 40)),
            id_max: u128::from_be_bytes(array_at(bytes, 56)),
            newest: Time::from_nanos(i64::from_le_bytes(array_at(bytes, 72))),
        })
    }
}

/// A segment that belongs to the log. Holds no file open: a log of 50 GB has 800 of them.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    /// The file's length.
    pub(crate) file_bytes: u64,
    /// Known for sealed ones, or found out when first asked for.
    pub(crate) summary: OnceLock<Summary>,
}

impl Segment {
    pub(crate) fn new(header: Header, file_bytes: u64) -> Segment {
        Segment { header, file_bytes, summary: OnceLock::new() }
    }

    pub(crate) fn base(&self) -> u64 {
        self.header.base
    }

    pub(crate) fn file_name(&self) -> String {
        file_name(self.header.base)
    }

    /// The offset behind the last byte that the file has room for.
    pub(crate) fn room_end(&self) -> u64 {
        self.header.base + self.file_bytes.saturating_sub(HEADER_BYTES)
    }

    pub(crate) fn reader(&self, disk: &dyn Disk, chunk_bytes: usize) -> io::Result<SegmentReader> {
        Ok(SegmentReader::new(disk.open(&self.file_name())?, self.header, chunk_bytes))
    }

    /// The summary, from the heads of the frames up to `end` if it is not known yet.
    pub(crate) fn summary(&self, disk: &dyn Disk, end: u64) -> io::Result<Summary> {
        if let Some(summary) = self.summary.get() {
            return Ok(*summary);
        }
        let mut summary = Summary::EMPTY;
        self.reader(disk, HEADS_CHUNK_BYTES)?.for_each_head(end, |_, head| {
            summary.add(head);
            true
        })?;
        Ok(*self.summary.get_or_init(|| summary))
    }
}

/// How much is read at once where only heads are wanted.
pub(crate) const HEADS_CHUNK_BYTES: usize = 64 << 10;

/// How much is read at once where whole frames are wanted.
pub(crate) const FRAMES_CHUNK_BYTES: usize = 1 << 20;

/// The name of the segment that begins at this offset.
pub(crate) fn file_name(base: u64) -> String {
    format!("seg-{base:016x}.log")
}

/// The offset in a segment's name, if it is one.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".log")?;
    let base = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    base.filter(|base| *base <= BASE_MAX)
}

/// Reads a segment's header region; a file too short for it counts as damaged.
pub(crate) fn read_header_region(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut region = vec![0; HEADER_BYTES as usize];
    let len = file.read_at(&mut region, 0)?;
    region.truncate(len);
    Ok(region)
}

/// The summary of a sealed segment, out of its header region.
pub(crate) fn read_summary(region: &[u8], header: &Header, end: u64) -> Option<Summary> {
    Summary::decode(region, header.salt, end)
}

/// Notes a sealed segment's summary in its file. Not synced: it can be made again.
pub(crate) fn write_summary(disk: &dyn Disk, segment: &Segment, end: u64) -> Result<(), LogError> {
    let Some(summary) = segment.summary.get() else { return Ok(()) };
    let bytes = summary.encode(segment.header.salt, end);
    disk.open(&segment.file_name())
        .and_then(|file| file.write_at(&mut [IoSlice::new(&bytes)], SUMMARY_AT))
        .map_err(LogError::disk(format!("note the summary of {}", segment.file_name())))
}

/// What stands at an offset of a segment.
pub(crate) enum Found {
    /// A whole frame.
    Frame(Head, Bytes),
    /// A whole head whose payload is not what was written: its length can be trusted.
    BadPayload(Head),
    /// No frame begins here, or its head is damaged.
    Nothing,
}

/// Reads the frames of one segment through a buffer of its own, in large positioned reads.
pub(crate) struct SegmentReader {
    file: Arc<dyn DiskFile>,
    header: Header,
    chunk_bytes: usize,
    /// File bytes from `buffer_at` on (as a log offset).
    buffer: Bytes,
    buffer_at: u64,
}

impl SegmentReader {
    pub(crate) fn new(file: Arc<dyn DiskFile>, header: Header, chunk_bytes: usize) -> SegmentReader {
        SegmentReader { file, header, chunk_bytes, buffer: Bytes::new(), buffer_at: header.base }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// What stands at `at`, looking at nothing from `end` on. The payload is a slice of the buffer.
    pub(crate) fn frame(&mut self, at: u64, end: u64) -> io::Result<Found> {
        let Some(head) = self.head(at, end)? else { return Ok(Found::Nothing) };
        self.load(at, head.frame_bytes() as usize, end)?;
        let start = (at - self.buffer_at) as usize + HEAD_BYTES;
        let stop = start + head.payload_bytes as usize;
        if stop > self.buffer.len() {
            // The file was cut.
            return Ok(Found::BadPayload(head));
        }
        let payload = self.buffer.slice(start..stop);
        if self.header.salt.payload_sum(at, &payload) != head.payload_sum {
            return Ok(Found::BadPayload(head));
        }
        Ok(Found::Frame(head, payload))
    }

    /// The head at `at`, if it is whole and its frame ends no later than `end`.
    pub(crate) fn head(&mut self, at: u64, end: u64) -> io::Result<Option<Head>> {
        if end.saturating_sub(at) < HEAD_BYTES as u64 {
            return Ok(None);
        }
        self.load(at, HEAD_BYTES, end)?;
        let start = (at - self.buffer_at) as usize;
        let head = Head::decode(&self.buffer[start.min(self.buffer.len())..], self.header.salt, at);
        Ok(head.filter(|head| head.frame_bytes() <= end - at))
    }

    /// The first whole head at or behind `from`, and where it is.
    pub(crate) fn next_head(&mut self, from: u64, end: u64) -> io::Result<Option<(u64, Head)>> {
        let mut at = self.header.base + (from - self.header.base).next_multiple_of(ALIGN);
        while at + HEAD_BYTES as u64 <= end {
            self.load(at, self.chunk_bytes.max(HEAD_BYTES), end)?;
            let start = (at - self.buffer_at) as usize;
            let window = &self.buffer[start.min(self.buffer.len())..];
            if window.len() < HEAD_BYTES {
                return Ok(None);
            }
            match find_head(window, self.header.salt, at) {
                Some((behind, head)) if at + behind as u64 + head.frame_bytes() <= end => {
                    return Ok(Some((at + behind as u64, head)));
                }
                // Whole, but reaching over the end: of a tail that was cut.
                Some((behind, _)) => at += behind as u64 + ALIGN,
                // The last places that could not hold a whole head are looked at again with what follows.
                None => at += ((window.len() - HEAD_BYTES) as u64 / ALIGN + 1) * ALIGN,
            }
        }
        Ok(None)
    }

    /// Visits the heads of all frames up to `end`, over damage, until `visit` returns false. Payloads are not looked
    /// at.
    pub(crate) fn for_each_head(&mut self, end: u64, mut visit: impl FnMut(u64, &Head) -> bool) -> io::Result<()> {
        let chunk_bytes = self.chunk_bytes;
        let mut at = self.header.base;
        while at < end {
            let Some(head) = self.head(at, end)? else {
                match self.next_head(at + ALIGN, end)? {
                    Some((next, _)) => at = next,
                    None => break,
                }
                continue;
            };
            if !visit(at, &head) {
                break;
            }
            // Behind a large payload a whole chunk would be read for one head.
            self.chunk_bytes =
                if head.payload_bytes as usize > chunk_bytes { chunk_bytes.min(4096) } else { chunk_bytes };
            at += head.frame_bytes();
        }
        self.chunk_bytes = chunk_bytes;
        Ok(())
    }

    /// Sees to it that the buffer holds `want` bytes from `at` on, or all that the file has before `end`.
    fn load(&mut self, at: u64, want: usize, end: u64) -> io::Result<()> {
        let buffer_end = self.buffer_at + self.buffer.len() as u64;
        if at >= self.buffer_at && at + want as u64 <= buffer_end {
            return Ok(());
        }
        let bytes = (want.max(self.chunk_bytes) as u64).min(end.saturating_sub(at)) as usize;
        let mut buffer = vec![0; bytes];
        // What was read already is copied rather than read again: frames of a megabyte straddle most chunks.
        let kept = if at >= self.buffer_at && at < buffer_end {
            let old = &self.buffer[(at - self.buffer_at) as usize..];
            let kept = old.len().min(bytes);
            buffer[..kept].copy_from_slice(&old[..kept]);
            kept
        } else {
            0
        };
        let read = self.file.read_at(&mut buffer[kept..], HEADER_BYTES + (at - self.header.base) + kept as u64)?;
        buffer.truncate(kept + read);
        self.buffer = Bytes::from(buffer);
        self.buffer_at = at;
        Ok(())
    }
}

/// Room in a segment file for frames of so many bytes in all: the header and whole pages.
pub(crate) fn file_bytes_for(frames_bytes: u64) -> u64 {
    (HEADER_BYTES + frames_bytes).next_multiple_of(PAGE_BYTES)
}

/// Files are zeroed, sized and written in whole pages, so that the kernel never has to read one in order to change a
/// part of it.
pub(crate) const PAGE_BYTES: u64 = 4096;

const _: () = assert!(HEADER_BYTES.is_multiple_of(PAGE_BYTES) && (HEAD_BYTES as u64).is_multiple_of(ALIGN));
const _: () = assert!(SUMMARY_AT as usize + SUMMARY_BYTES <= SECOND_COPY_AT as usize);
const _: () = assert!(frame::ALIGN == 8);

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { epoch: 7, salt: Salt([9; 16]), base: 4096, created: Time::from_nanos(1_700_000_000_000_000_000) };

    #[track_caller]
    fn check(change: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut region = HEADER.encode();
        change(&mut region);
        let got = match Header::decode(&region) {
            HeaderRead::Whole(header) if header == HEADER => "whole".to_owned(),
            HeaderRead::Whole(other) => format!("{other:?}"),
            HeaderRead::Newer(format) => format!("newer {format}"),
            HeaderRead::Damaged => "damaged".to_owned(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn a_header_survives_one_bad_copy_and_names_a_newer_format() {
        check(|_| {}, "whole");
        check(|region| region[30] ^= 1, "whole");
        check(|region| region[4096 + 30] ^= 1, "whole");
        check(|region| region[16] ^= 2, "whole");
        check(|region| (region[30], region[4096 + 30]) = (0xFF, 0xFF), "damaged");
        check(|region| (region[16], region[4096 + 16]) = (2, 2), "newer 2");
        check(|region| region.truncate(100), "whole");
        check(|region| region.truncate(95), "damaged");
        check(Vec::clear, "damaged");
    }

    #[test]
    fn a_summary_of_another_life_is_not_believed() {
        let summary = Summary { frames: 3, keyed: 2, id_min: 1, id_max: 9, newest: Time::from_nanos(5) };
        let mut region = HEADER.encode();
        region[SUMMARY_AT as usize..][..SUMMARY_BYTES].copy_from_slice(&summary.encode(HEADER.salt, 8000));
        assert_eq!(read_summary(&region, &HEADER, 8000), Some(summary));
        assert_eq!(read_summary(&region, &HEADER, 8008), None);
        assert_eq!(read_summary(&region, &Header { salt: Salt([8; 16]), ..HEADER }, 8000), None);
        assert_eq!(base_of(&file_name(77)), Some(77));
        assert_eq!(base_of("seg-1.log"), None);
        assert_eq!(base_of(&file_name(u64::MAX)), None);
        let far = Header { base: BASE_MAX + 1, ..HEADER };
        assert!(matches!(Header::decode(&far.encode()), HeaderRead::Damaged));
    }
}
