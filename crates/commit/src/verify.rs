//! Checking a whole log offline (`penstock log verify`): every frame's checksum and every key file's blocks. Changes
//! nothing.

use std::sync::Arc;

use event::Position;

use crate::disk::Disk;
use crate::error::LogError;
use crate::frame::ALIGN;
use crate::keys::Keys;
use crate::recover::{Directory, read_directory, read_tables, scan_last};
use crate::segment::{FRAMES_CHUNK_BYTES, Found, HEADER_BYTES, Segment};

/// What a check of all files found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The log's random number; `None` without a readable segment.
    pub epoch: Option<u64>,
    /// Segment files with a readable header.
    pub segments: usize,
    /// Whole frames.
    pub frames: u64,
    /// Their records.
    pub records: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// The first position that is kept, and the end.
    pub range: Option<(Position, Position)>,
    /// Ranges that were durable once and cannot be read, missing segments included.
    pub damaged: Vec<(Position, Position)>,
    /// Segment files without a readable header.
    pub unreadable: Vec<String>,
    /// Bytes behind the end that the next start will cut: a crash's torn tail, which nobody was told "yes" for.
    pub torn_bytes: u64,
    /// Key files that are whole.
    pub key_files: usize,
    /// Key files that are not, and why. The next start makes them again where their segments are still there.
    pub key_files_bad: Vec<(String, String)>,
}

impl VerifyReport {
    /// Whether nothing is damaged. A torn tail is no damage.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.unreadable.is_empty() && self.key_files_bad.is_empty()
    }
}

/// Reads and checks everything. `progress` is told the bytes done and the bytes in all, after every segment. The log
/// must not be open in any process.
pub fn verify(disk: &dyn Disk, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport, LogError> {
    let files = disk.list().map_err(LogError::disk("list the log's directory"))?;
    let Directory { epoch, segments, unreadable, aside } = read_directory(disk, &files)?;
    let mut report = VerifyReport { epoch, segments: segments.len(), unreadable: aside, ..VerifyReport::default() };
    let position = |offset| Position { epoch: epoch.unwrap_or_default(), offset };
    let total: u64 = segments.iter().map(|segment| segment.file_bytes).sum();
    let mut done = 0;
    let mut end = 0;
    for (index, segment) in segments.iter().enumerate() {
        let what = format!("read {}", segment.file_name());
        let later = segments.get(index + 1).map(|next| next.base());
        let sealed_at =
            later.or_else(|| unreadable.iter().map(|(from, _)| *from).filter(|from| *from > segment.base()).min());
        end = match later {
            Some(sealed_at) => check_sealed(disk, segment, sealed_at, &mut report).map(|()| sealed_at),
            None => check_last(disk, segment, sealed_at, &mut report),
        }
        .map_err(LogError::disk(what))?;
        done += segment.file_bytes;
        progress(done, total);
    }
    end = unreadable.iter().map(|(_, to)| *to).fold(end, u64::max);
    if let Some(first) = segments.first() {
        report.range = Some((position(first.base()), position(end)));
    }
    let (tables, bad) = read_tables(disk, &files, epoch.unwrap_or_default(), end)?;
    report.key_files_bad = bad;
    for table in &tables.0 {
        if let Keys::File(file) = &table.keys {
            match file.check() {
                Ok(()) => report.key_files += 1,
                Err(error) => report.key_files_bad.push((file.name.clone(), error.to_string())),
            }
        }
    }
    Ok(report)
}

fn check_sealed(disk: &dyn Disk, segment: &Arc<Segment>, end: u64, report: &mut VerifyReport) -> std::io::Result<()> {
    let mut reader = segment.reader(disk, FRAMES_CHUNK_BYTES)?;
    let epoch = segment.header.epoch;
    let mut at = segment.base();
    while at < end {
        let to = match reader.frame(at, end)? {
            Found::Frame(head, _) => {
                report.frames += 1;
                report.records += u64::from(head.records);
                report.payload_bytes += u64::from(head.payload_bytes);
                at += head.frame_bytes();
                continue;
            }
            Found::BadPayload(head) => at + head.frame_bytes(),
            Found::Nothing => reader.next_head(at + ALIGN, end)?.map_or(end, |(offset, _)| offset),
        };
        report.damaged.push((Position { epoch, offset: at }, Position { epoch, offset: to }));
        at = to;
    }
    Ok(())
}

fn check_last(
    disk: &dyn Disk,
    segment: &Arc<Segment>,
    sealed_at: Option<u64>,
    report: &mut VerifyReport,
) -> std::io::Result<u64> {
    let mut reader = segment.reader(disk, FRAMES_CHUNK_BYTES)?;
    let room_end = segment.base() + segment.file_bytes.saturating_sub(HEADER_BYTES);
    let room_end = sealed_at.map_or(room_end, |sealed| sealed.min(room_end));
    let scan = scan_last(&mut reader, sealed_at.unwrap_or(segment.base()), room_end, |_, head| {
        report.frames += 1;
        report.records += u64::from(head.records);
        report.payload_bytes += u64::from(head.payload_bytes);
    })?;
    let position = |offset| Position { epoch: segment.header.epoch, offset };
    report.damaged.extend(scan.damaged.iter().map(|(from, to)| (position(*from), position(*to))));
    report.torn_bytes = scan.cut_bytes;
    Ok(scan.end)
}
