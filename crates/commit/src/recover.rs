//! Opening: from the files that a crash may have left to a log that can be read and written (docs/log-format.md,
//! "Recovery").
//!
//! Reads every segment's header, and the frames of the last segment only. Decides where the log ends, what is a torn
//! tail and what is damage ([`scan_last`], shared with `verify`), and which key files are missing. The last segment is
//! never written again: the first append of this process begins a new one, whose base says for ever where the old one
//! ended.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Position, Time};

use crate::disk::Disk;
use crate::error::{LogError, is_full};
use crate::frame::{ALIGN, Head};
use crate::keeper::{Seal, Spare};
use crate::keys::{self, Entry, KeyFile, KeyFileError, Keys, OpenKeys, Table, Tables};
use crate::log::LogOptions;
use crate::segment::{
    self, FORMAT, FRAMES_CHUNK_BYTES, Found, HEADER_BYTES, HEADS_CHUNK_BYTES, Header, HeaderRead, Segment,
    SegmentReader, Summary,
};

/// What was found when a log was opened.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The log's random number; a new one if there was no log.
    pub epoch: u64,
    /// The first position that is kept.
    pub first: Position,
    /// Where the log ends: the next frame goes here or behind.
    pub end: Position,
    /// Segment files.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of whole or begun frames behind the end that were cut: writes of the last moments before a crash that
    /// nobody was told "yes" for.
    pub cut_bytes: u64,
    /// Ranges that were durable but are damaged now, in the last segment or because a segment's header is unreadable.
    /// Followers skip them and say so. (Damage in sealed segments shows when somebody reads it.)
    pub damaged: Vec<(Position, Position)>,
    /// Key files that were missing or damaged and were made again from their segments.
    pub key_files_rebuilt: usize,
    /// How long all this took.
    pub took: Duration,
}

/// All that the log's threads need to begin.
pub(crate) struct Opened {
    pub(crate) epoch: u64,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) tables: Tables,
    pub(crate) end: u64,
    /// Of the last segment, which nobody has sealed yet.
    pub(crate) last_keys: OpenKeys,
    pub(crate) last_summary: Summary,
    pub(crate) spares: Vec<Spare>,
    pub(crate) spare_next: u64,
    /// Key files that could not be written for want of space.
    pub(crate) seals: Vec<Seal>,
    pub(crate) report: Recovered,
}

pub(crate) fn recover(disk: &dyn Disk, options: &LogOptions, now: Time) -> Result<Opened, LogError> {
    let started = Instant::now();
    // A process that was killed leaves names that are seen and not yet durable. All that follows builds on them: a
    // spare gets another segment's bytes, a key file lets its segment go.
    disk.sync_dir().map_err(LogError::disk("sync the log's directory"))?;
    let files = disk.list().map_err(LogError::disk("list the log's directory"))?;
    for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".tmp")) {
        disk.remove(name).map_err(LogError::disk(format!("remove {name}")))?;
    }

    let Directory { epoch, segments, unreadable, aside } = read_directory(disk, &files)?;
    for name in &aside {
        disk.rename(name, &format!("damaged-{name}")).map_err(LogError::disk(format!("set {name} aside")))?;
    }
    let epoch = match epoch {
        Some(epoch) => epoch,
        None => random_u64()?,
    };
    let position = |offset| Position { epoch, offset };

    // Positions that a segment with an unreadable header may have held are not given out again.
    let floor = unreadable.iter().map(|(_, to)| *to).max().unwrap_or(0);
    // Those set aside by an earlier start were reported then.
    let mut damaged: Vec<(Position, Position)> = unreadable
        .iter()
        .filter(|(from, _)| aside.contains(&segment::file_name(*from)))
        .map(|(from, to)| (position(*from), position(*to)))
        .collect();
    let mut last_keys = OpenKeys::default();
    let mut last_summary = Summary::EMPTY;
    let mut end = floor;
    let mut cut_bytes = 0;
    if let Some(last) = segments.last() {
        // Behind the last readable segment there may be unreadable ones: then it was sealed where the first of them
        // begins.
        let sealed_at = unreadable.iter().map(|(from, _)| *from).filter(|from| *from > last.base()).min();
        let what = format!("recover {}", last.file_name());
        let scan = recover_last(disk, last, sealed_at, |offset, head| {
            last_summary.add(head);
            if let Some(key) = head.key {
                last_keys.insert(Entry { key, id: head.id, offset, at: head.at, records: head.records });
            }
        });
        let scan = scan.map_err(LogError::disk(what))?;
        damaged.extend(scan.damaged.iter().map(|(from, to)| (position(*from), position(*to))));
        cut_bytes = scan.cut_bytes;
        end = end.max(scan.end);
    }
    damaged.sort_unstable();

    let (mut tables, stale) = read_tables(disk, &files, epoch, end)?;
    for (name, why) in stale {
        tracing::warn!(file = name, why, "a key file is not used");
        disk.remove(&name).map_err(LogError::disk(format!("remove {name}")))?;
    }
    for table in tables.expired(now, options.dedup_window, options.dedup_keys_max) {
        tables.0.retain(|kept| kept.from != table.from);
        let name = keys::file_name(table.from, table.to);
        disk.remove(&name).map_err(LogError::disk(format!("remove {name}")))?;
    }
    let (seals, key_files_rebuilt) = rebuild_tables(disk, options, now, epoch, &segments, &mut tables)?;

    let (spares, spare_next) = read_spares(disk, &files)?;
    let report = Recovered {
        epoch,
        first: position(segments.first().map_or(end, |first| first.base())),
        end: position(end),
        segments: segments.len(),
        bytes: segments.iter().map(|segment| segment.file_bytes).sum(),
        cut_bytes,
        damaged,
        key_files_rebuilt,
        took: started.elapsed(),
    };
    for (from, to) in &report.damaged {
        tracing::error!(%from, %to, "a range of the log is damaged and set aside");
    }
    Ok(Opened { epoch, segments, tables, end, last_keys, last_summary, spares, spare_next, seals, report })
}

/// The segments of a directory.
pub(crate) struct Directory {
    pub(crate) epoch: Option<u64>,
    /// With whole headers, by base, summaries loaded.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// What segments without a readable header may have held, those set aside earlier included.
    pub(crate) unreadable: Vec<(u64, u64)>,
    /// Names of segments that are to be set aside now.
    pub(crate) aside: Vec<String>,
}

/// Reads the headers of all segments.
pub(crate) fn read_directory(disk: &dyn Disk, files: &[(String, u64)]) -> Result<Directory, LogError> {
    let mut found: Vec<(u64, &str, u64)> =
        files.iter().filter_map(|(name, bytes)| Some((segment::base_of(name)?, name.as_str(), *bytes))).collect();
    found.sort_unstable();
    let room = |base: u64, bytes: u64| (base, base.saturating_add(bytes.saturating_sub(HEADER_BYTES)));
    let mut unreadable: Vec<(u64, u64)> = files
        .iter()
        .filter_map(|(name, bytes)| Some(room(segment::base_of(name.strip_prefix("damaged-")?)?, *bytes)))
        .collect();
    let mut epoch = None;
    let mut aside = Vec::new();
    let mut segments: Vec<Segment> = Vec::new();
    let mut regions = Vec::new();
    for (base, name, bytes) in found {
        let region = disk
            .open(name)
            .and_then(|file| segment::read_header_region(&*file))
            .map_err(LogError::disk(format!("read the header of {name}")))?;
        match Header::decode(&region) {
            HeaderRead::Newer(found) => {
                return Err(LogError::NewerFormat { file: name.to_owned(), found, supported: FORMAT });
            }
            HeaderRead::Whole(header) if header.base == base && base <= u64::MAX / 2 => {
                let expected = *epoch.get_or_insert(header.epoch);
                if expected != header.epoch {
                    return Err(LogError::MixedLogs { file: name.to_owned(), found: header.epoch, epoch: expected });
                }
                segments.push(Segment::new(header, bytes));
                regions.push(region);
            }
            HeaderRead::Whole(_) | HeaderRead::Damaged => {
                aside.push(name.to_owned());
                unreadable.push(room(base, bytes));
            }
        }
    }
    // The next readable segment says where an unreadable one ended.
    for (from, to) in &mut unreadable {
        let next = segments.iter().map(Segment::base).find(|base| base > from);
        *to = next.unwrap_or(*to);
    }
    for index in 1..segments.len() {
        let (segment, end) = (&segments[index - 1], segments[index].base());
        if let Some(summary) = segment::read_summary(&regions[index - 1], &segment.header, end) {
            let _ = segment.summary.set(summary);
        }
    }
    Ok(Directory { epoch, segments: segments.into_iter().map(Arc::new).collect(), unreadable, aside })
}

/// What the frames of the last segment say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the log ends.
    pub(crate) end: u64,
    /// How far it is known to have been durable before.
    pub(crate) durable_to: u64,
    pub(crate) damaged: Vec<(u64, u64)>,
    pub(crate) cut_bytes: u64,
}

/// Goes through the frames of the last segment, tells `visit` the whole ones, and finds the end.
///
/// `durable_to` is what is known to have been durable before looking: the base, or where the segment was sealed.
pub(crate) fn scan_last(
    reader: &mut SegmentReader,
    durable_to: u64,
    room_end: u64,
    mut visit: impl FnMut(u64, &Head),
) -> io::Result<Scan> {
    let mut scan = Scan { end: reader.header().base, durable_to, damaged: Vec::new(), cut_bytes: 0 };
    // What lies behind the first bad place: looked through once, since it may be the whole room.
    let mut behind: Option<Vec<(u64, Head)>> = None;
    loop {
        let at = scan.end;
        let bad = match reader.frame(at, room_end)? {
            Found::Frame(head, _) => {
                scan.durable_to = scan.durable_to.max(head.durable_to);
                scan.end += head.frame_bytes();
                visit(at, &head);
                continue;
            }
            Found::BadPayload(head) => Some(head),
            Found::Nothing => None,
        };
        let behind = match &mut behind {
            Some(behind) => behind,
            None => {
                let heads = heads_behind(reader, at, room_end)?;
                // A head tells the truth about its own time even where its payload is torn.
                scan.durable_to = heads.iter().map(|(_, head)| head.durable_to).fold(scan.durable_to, u64::max);
                behind.insert(heads)
            }
        };
        if at >= scan.durable_to {
            // The torn tail: nobody was told "yes" for anything that only stands here.
            let last = behind.iter().rev().find(|(offset, _)| *offset >= at);
            let torn = bad.map_or(at, |head| at + head.frame_bytes());
            scan.cut_bytes = last.map_or(torn, |(offset, head)| torn.max(offset + head.frame_bytes())) - at;
            return Ok(scan);
        }
        // Damage: what was durable is not readable. Go on at the next frame; the end of what was durable is a frame's
        // end, so where the next one stands behind that, what is between is torn tail again.
        let next = match bad {
            Some(head) => at + head.frame_bytes(),
            None => behind.iter().map(|(offset, _)| *offset).find(|offset| *offset > at).unwrap_or(u64::MAX),
        };
        scan.end = next.min(scan.durable_to);
        match scan.damaged.last_mut() {
            Some((_, to)) if *to == at => *to = scan.end,
            _ => scan.damaged.push((at, scan.end)),
        }
    }
}

fn heads_behind(reader: &mut SegmentReader, at: u64, room_end: u64) -> io::Result<Vec<(u64, Head)>> {
    let mut heads = Vec::new();
    let mut from = at;
    while let Some((offset, head)) = reader.next_head(from, room_end)? {
        heads.push((offset, head));
        from = offset + ALIGN;
    }
    Ok(heads)
}

/// Scans the last segment and makes durable what it found.
fn recover_last(
    disk: &dyn Disk,
    segment: &Segment,
    sealed_at: Option<u64>,
    visit: impl FnMut(u64, &Head),
) -> io::Result<Scan> {
    let file = disk.open(&segment.file_name())?;
    let mut reader = SegmentReader::new(file.clone(), segment.header, FRAMES_CHUNK_BYTES);
    let room_end = sealed_at.map_or(segment.room_end(), |sealed| sealed.min(segment.room_end()));
    let scan = scan_last(&mut reader, sealed_at.unwrap_or(segment.base()), room_end, visit)?;
    // What was read may stand only in the page cache: after a kill it was never synced, and after a failed sync the
    // cache holds it as "clean", so that a further sync alone would not write it. Followers are about to believe it, so
    // it is written again, byte for byte, and synced.
    let mut at = scan.durable_to;
    let mut buffer = Vec::new();
    while at < scan.end {
        buffer.resize((scan.end - at).min(FRAMES_CHUNK_BYTES as u64) as usize, 0);
        let file_at = HEADER_BYTES + (at - segment.base());
        let read = file.read_at(&mut buffer, file_at)?;
        if read == 0 {
            break;
        }
        file.write_at(&mut [IoSlice::new(&buffer[..read])], file_at)?;
        at += read as u64;
    }
    file.sync_data()?;
    Ok(scan)
}

/// Opens the key files; names those that are not to be used, and why.
pub(crate) fn read_tables(
    disk: &dyn Disk,
    files: &[(String, u64)],
    epoch: u64,
    end: u64,
) -> Result<(Tables, Vec<(String, String)>), LogError> {
    let mut bounds: Vec<(u64, u64, &str)> = files
        .iter()
        .filter_map(|(name, _)| keys::bounds_of(name).map(|(from, to)| (from, to, name.as_str())))
        .collect();
    // A merged file before the ones that went into it.
    bounds.sort_unstable_by_key(|(from, to, _)| (*from, std::cmp::Reverse(*to)));
    let mut tables = Tables::default();
    let mut stale = Vec::new();
    for (from, to, name) in bounds {
        if tables.0.last().is_some_and(|last| to <= last.to) {
            stale.push((name.to_owned(), "a merged file holds its keys".to_owned()));
        } else if to > end {
            stale.push((name.to_owned(), "it reaches over the log's end".to_owned()));
        } else {
            match KeyFile::open(disk, name, epoch) {
                Ok(file) => tables.0.push(Table { from, to, keys: Keys::File(Arc::new(file)) }),
                Err(KeyFileError::Disk(source)) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::Disk { what: format!("read {name}"), source });
                }
                Err(KeyFileError::Newer(found)) => {
                    return Err(LogError::NewerFormat { file: name.to_owned(), found, supported: 1 });
                }
                Err(error) => stale.push((name.to_owned(), error.to_string())),
            }
        }
    }
    Ok((tables, stale))
}

/// Makes missing key files of sealed segments again, newest first, as far as window and `keys_max` reach.
fn rebuild_tables(
    disk: &dyn Disk,
    options: &LogOptions,
    now: Time,
    epoch: u64,
    segments: &[Arc<Segment>],
    tables: &mut Tables,
) -> Result<(Vec<Seal>, usize), LogError> {
    let mut seals = Vec::new();
    let mut rebuilt = 0;
    for index in (1..segments.len()).rev() {
        let (segment, next) = (&segments[index - 1], &segments[index]);
        let (base, end) = (segment.base(), next.base());
        let newest = segment.summary.get().map_or(next.header.created, |summary| summary.newest);
        let over =
            i128::from(now.nanos_since(newest)) > options.dedup_window.as_nanos().try_into().unwrap_or(i128::MAX);
        if over || tables.len() >= options.dedup_keys_max {
            break;
        }
        if tables.has_file_of(base, end) || segment.summary.get().is_some_and(|summary| summary.keyed == 0) {
            continue;
        }
        let mut keys = OpenKeys::default();
        let mut summary = Summary::EMPTY;
        segment
            .reader(disk, HEADS_CHUNK_BYTES)
            .and_then(|mut reader| {
                reader.for_each_head(end, |offset, head| {
                    summary.add(head);
                    if let Some(key) = head.key {
                        keys.insert(Entry { key, id: head.id, offset, at: head.at, records: head.records });
                    }
                    true
                })
            })
            .map_err(LogError::disk(format!("read the keys of {}", segment.file_name())))?;
        let _ = segment.summary.set(summary);
        if summary.keyed == 0 {
            continue;
        }
        rebuilt += 1;
        let keys = match keys::write_file(disk, epoch, (base, end), &keys) {
            Ok(file) => Keys::File(Arc::new(file)),
            Err(KeyFileError::Disk(error)) if is_full(&error) => {
                let keys = Arc::new(keys);
                seals.push(Seal { segment: segment.clone(), end, keys: Some(keys.clone()), trim: false });
                Keys::Memory(keys)
            }
            Err(KeyFileError::Disk(source)) => {
                return Err(LogError::Disk { what: format!("write the keys of {}", segment.file_name()), source });
            }
            Err(error) => unreachable!("writing reads nothing that could be {error}"),
        };
        let place = tables.0.partition_point(|table| table.from < base);
        tables.0.insert(place, Table { from: base, to: end, keys });
    }
    if rebuilt > 0 {
        disk.sync_dir().map_err(LogError::disk("sync the log's directory"))?;
    }
    seals.reverse();
    Ok((seals, rebuilt))
}

/// Zeroed or recycled files that wait for their use. More than two are of no use.
fn read_spares(disk: &dyn Disk, files: &[(String, u64)]) -> Result<(Vec<Spare>, u64), LogError> {
    let mut spares = Vec::new();
    let mut next = 0;
    for (name, bytes) in files {
        let Some(number) = Spare::number_of(name) else { continue };
        next = next.max(number + 1);
        if spares.len() < 2 && *bytes > HEADER_BYTES {
            let file = disk.open(name).map_err(LogError::disk(format!("open {name}")))?;
            spares.push(Spare { name: name.clone(), file_bytes: *bytes, file });
        } else {
            disk.remove(name).map_err(LogError::disk(format!("remove {name}")))?;
        }
    }
    Ok((spares, next))
}

pub(crate) fn random_u64() -> Result<u64, LogError> {
    let mut bytes = [0; 8];
    random(&mut bytes).map_err(LogError::disk("get random bytes from the system"))?;
    Ok(u64::from_le_bytes(bytes))
}

pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}
