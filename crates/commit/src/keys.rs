//! Dedup keys: which frame was the first with a key (docs/log-format.md, "Key files").
//!
//! The open segment's keys are an [`OpenKeys`] in memory, owned by the writer. A sealed segment's keys stay in memory
//! until the helper has written them into a [`KeyFile`], sorted by the key's hash, that outlives the segment until the
//! window ends. [`Tables`] is the list of all of them, newest last. Files are merged so that there are few: a look-up
//! asks every file's filter in memory and reads one block of 4 KiB where a filter says "perhaps".

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use event::Time;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::disk::{Disk, DiskFile};
use crate::frame::{array_at, u32_at, u64_at};

/// What is kept of the first frame with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: [u8; 16],
    pub(crate) id: u128,
    pub(crate) offset: u64,
    pub(crate) at: Time,
    pub(crate) records: u32,
}

impl Entry {
    /// Whether a frame that comes at `now` with this key is a repeat. A clock that went back does not end a window
    /// early.
    pub(crate) fn counts_at(&self, now: Time, window: Duration) -> bool {
        i128::from(now.nanos_since(self.at)) <= window.as_nanos().try_into().unwrap_or(i128::MAX)
    }

    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&self.key);
        bytes[16..32].copy_from_slice(&self.id.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.at.nanos().to_le_bytes());
        bytes[48..52].copy_from_slice(&self.records.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Entry {
        Entry {
            key: array_at(bytes, 0),
            id: u128::from_be_bytes(array_at(bytes, 16)),
            offset: u64_at(bytes, 32),
            at: Time::from_nanos(i64::from_le_bytes(array_at(bytes, 40))),
            records: u32_at(bytes, 48),
        }
    }
}

/// Keys in memory: of the open segment, and of sealed ones until their file is written. A key that comes again after
/// its window replaces the older entry.
#[derive(Default)]
pub(crate) struct OpenKeys {
    map: HashMap<[u8; 16], Entry>,
    newest: Option<Time>,
}

impl OpenKeys {
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.newest = self.newest.max(Some(entry.at));
        self.map.insert(entry.key, entry);
    }

    pub(crate) fn get(&self, key: &[u8; 16]) -> Option<&Entry> {
        self.map.get(key)
    }

    pub(crate) fn len(&self) -> u64 {
        self.map.len() as u64
    }
}

/// The keys of the frames from offset `from` up to `to`.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) keys: Keys,
}

/// Where a table's keys are.
#[derive(Clone)]
pub(crate) enum Keys {
    Memory(Arc<OpenKeys>),
    File(Arc<KeyFile>),
}

impl Table {
    fn len(&self) -> u64 {
        match &self.keys {
            Keys::Memory(keys) => keys.len(),
            Keys::File(file) => file.entries,
        }
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.keys, Keys::File(_))
    }
}

/// All tables but the open segment's, oldest first. Immutable; the helper replaces it whole.
#[derive(Clone, Default)]
pub(crate) struct Tables(pub(crate) Vec<Table>);

impl Tables {
    /// The newest entry of this key. A block that cannot be read or is damaged counts as "not there": the batch is then
    /// stored again rather than lost.
    pub(crate) fn find(&self, key: &[u8; 16]) -> Option<Entry> {
        let hash = xxh3_64(key);
        self.0.iter().rev().find_map(|table| match &table.keys {
            Keys::Memory(keys) => keys.get(key).copied(),
            Keys::File(file) => match file.find(key, hash) {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::error!(file = file.name, %error, "dedup keys cannot be read: repeats may be stored");
                    None
                }
            },
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(Table::len).sum()
    }

    /// Whether the keys of a segment with these bounds are in a file.
    pub(crate) fn has_file_of(&self, base: u64, end: u64) -> bool {
        self.0.iter().any(|table| table.is_file() && table.from <= base && end <= table.to)
    }

    /// Tables that are over: outside the window, or the oldest above `keys_max`. Only whole files go.
    pub(crate) fn expired(&self, now: Time, window: Duration, keys_max: u64) -> Vec<Table> {
        let mut total = self.len();
        let mut expired = Vec::new();
        for table in &self.0 {
            let Keys::File(file) = &table.keys else { continue };
            let old = i128::from(now.nanos_since(file.newest)) > window.as_nanos().try_into().unwrap_or(i128::MAX);
            if old || total > keys_max {
                total -= file.entries;
                expired.push(table.clone());
            }
        }
        expired
    }

    /// Neighbouring files that should become one: the lowest level that has [`MERGE_FILES`] files side by side, smaller
    /// ones between them included. Levels grow by a factor of eight, so an entry is rewritten a handful of times.
    pub(crate) fn to_merge(&self) -> Option<std::ops::Range<usize>> {
        for level in 0..=LEVEL_MAX {
            let mut start = None;
            for (index, table) in self.0.iter().enumerate() {
                let fits = table.is_file() && merge_level(table.len()) <= level;
                let first = *start.get_or_insert(index);
                if !fits {
                    start = None;
                } else if index + 1 - first >= MERGE_FILES {
                    return Some(first..index + 1);
                }
            }
        }
        None
    }

    /// Bytes of all key files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.0.iter().map(|table| if let Keys::File(file) = &table.keys { file.bytes } else { 0 }).sum()
    }
}

/// So many files side by side are merged into one.
const MERGE_FILES: usize = 8;

/// Files of a higher level (262,144 keys and more) are not merged again, so that a merge writes at most about two
/// million keys (120 MB).
const LEVEL_MAX: u32 = 5;

/// 0 for up to 8 keys, then one more for each factor of eight.
fn merge_level(entries: u64) -> u32 {
    entries.max(1).ilog2() / 3
}

const ENTRY_BYTES: usize = 56;
const BLOCK_BYTES: usize = 4096;
const BLOCK_ENTRIES: usize = (BLOCK_BYTES - 8) / ENTRY_BYTES;
const FILE_MAGIC: &[u8; 8] = b"PENSTKEY";
const FILE_FORMAT: u32 = 1;
const FILE_HEAD_BYTES: usize = 96;

/// A sorted key file, with its filter and fences in memory.
pub(crate) struct KeyFile {
    pub(crate) name: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// The latest `at` of an entry; the file is over when this one is.
    pub(crate) newest: Time,
    epoch: u64,
    file: Arc<dyn DiskFile>,
    /// The hash of each block's first entry.
    fences: Vec<u64>,
    filter: Filter,
}

/// Why a key file is not used. All are answered by making it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("{0}")]
    Damaged(&'static str),
    #[error("key file format {0} is newer than this Penstock reads (1)")]
    Newer(u32),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// The name of the file that holds the keys of these frames.
pub(crate) fn file_name(from: u64, to: u64) -> String {
    format!("keys-{from:016x}-{to:016x}.idx")
}

/// The bounds in a key file's name, if it is one.
pub(crate) fn bounds_of(name: &str) -> Option<(u64, u64)> {
    let (from, to) = name.strip_prefix("keys-")?.strip_suffix(".idx")?.split_once('-')?;
    if from.len() != 16 || to.len() != 16 {
        return None;
    }
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}

impl KeyFile {
    pub(crate) fn open(disk: &dyn Disk, name: &str, epoch: u64) -> Result<KeyFile, KeyFileError> {
        let file = disk.open(name)?;
        let mut head = [0; FILE_HEAD_BYTES];
        if file.read_at(&mut head, 0)? < FILE_HEAD_BYTES || head[8..16] != *FILE_MAGIC {
            return Err(KeyFileError::Damaged("the head is not that of a key file"));
        }
        let format = u32_at(&head, 16);
        if format > FILE_FORMAT {
            return Err(KeyFileError::Newer(format));
        }
        if u64_at(&head, 0) != xxh3_64(&head[8..]) {
            return Err(KeyFileError::Damaged("the head's checksum is wrong"));
        }
        let (from, to, entries, blocks) =
            (u64_at(&head, 32), u64_at(&head, 40), u64_at(&head, 48), u64_at(&head, 64) as usize);
        if u64_at(&head, 24) != epoch || bounds_of(name) != Some((from, to)) {
            return Err(KeyFileError::Damaged("it belongs to another log or range"));
        }
        let filter_words = u64_at(&head, 72) as usize;
        let side_at = (1 + blocks) * BLOCK_BYTES;
        let mut side = vec![0; (blocks + filter_words) * 8];
        if file.read_at(&mut side, side_at as u64)? < side.len() || xxh3_64(&side) != u64_at(&head, 80) {
            return Err(KeyFileError::Damaged("the checksum of fences and filter is wrong"));
        }
        let mut words = side.chunks_exact(8).map(|word| u64_at(word, 0));
        let fences = words.by_ref().take(blocks).collect();
        let filter = Filter { words: words.collect() };
        Ok(KeyFile {
            name: name.to_owned(),
            from,
            to,
            entries,
            bytes: (side_at + side.len()) as u64,
            newest: Time::from_nanos(i64::from_le_bytes(array_at(&head, 56))),
            epoch,
            file,
            fences,
            filter,
        })
    }

    fn find(&self, key: &[u8; 16], hash: u64) -> Result<Option<Entry>, KeyFileError> {
        if !self.filter.may_hold(hash) {
            return Ok(None);
        }
        // Equal hashes may begin in the block before the first fence that has them.
        let first = self.fences.partition_point(|fence| *fence < hash).saturating_sub(1);
        let last = self.fences.partition_point(|fence| *fence <= hash);
        let mut block = [0; BLOCK_BYTES];
        for index in first..last {
            let count = self.read_block(index, &mut block)?;
            let found = block[8..].chunks_exact(ENTRY_BYTES).take(count).find(|entry| entry[..16] == *key);
            if let Some(entry) = found {
                return Ok(Some(Entry::decode(entry)));
            }
        }
        Ok(None)
    }

    /// Reads and checks one block; returns how many entries it holds.
    fn read_block(&self, index: usize, block: &mut [u8; BLOCK_BYTES]) -> Result<usize, KeyFileError> {
        let read = self.file.read_at(block, ((1 + index) * BLOCK_BYTES) as u64)?;
        if read < BLOCK_BYTES
            || u64_at(block, 0) != xxh3_64_with_seed(&block[8..], block_seed(self.epoch, self.from, index))
        {
            return Err(KeyFileError::Damaged("a block's checksum is wrong"));
        }
        Ok((self.entries as usize).saturating_sub(index * BLOCK_ENTRIES).min(BLOCK_ENTRIES))
    }

    /// Checks every block. For verification.
    pub(crate) fn check(&self) -> Result<(), KeyFileError> {
        let mut block = [0; BLOCK_BYTES];
        (0..self.fences.len()).try_for_each(|index| self.read_block(index, &mut block).map(|_| ()))
    }

    fn cursor(&self) -> FileCursor<'_> {
        FileCursor { file: self, block: Box::new([0; BLOCK_BYTES]), next_block: 0, count: 0, at: 0 }
    }
}

fn block_seed(epoch: u64, from: u64, index: usize) -> u64 {
    (epoch ^ from.rotate_left(32)).wrapping_add(index as u64)
}

/// Writes the keys of a sealed segment into their file, durably.
pub(crate) fn write_file(
    disk: &dyn Disk,
    epoch: u64,
    (from, to): (u64, u64),
    keys: &OpenKeys,
) -> Result<KeyFile, KeyFileError> {
    let mut entries: Vec<(u64, &Entry)> = keys.map.values().map(|entry| (xxh3_64(&entry.key), entry)).collect();
    entries.sort_unstable_by_key(|(hash, entry)| (*hash, entry.key));
    let mut writer = FileWriter::create(disk, epoch, (from, to), entries.len() as u64)?;
    for (hash, entry) in entries {
        writer.push(hash, entry)?;
    }
    writer.finish(disk)
}

/// Writes neighbouring files' keys into one, durably, leaving out what is outside the window. The inputs stay. A large
/// merge takes a second; `between` is called every few thousand keys, for what cannot wait so long.
pub(crate) fn merge_files(
    disk: &dyn Disk,
    epoch: u64,
    inputs: &[Arc<KeyFile>],
    now: Time,
    window: Duration,
    mut between: impl FnMut(),
) -> Result<KeyFile, KeyFileError> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
        return Err(KeyFileError::Damaged("nothing to merge"));
    };
    let most = inputs.iter().map(|input| input.entries).sum();
    let mut writer = FileWriter::create(disk, epoch, (first.from, last.to), most)?;
    let mut cursors: Vec<FileCursor<'_>> = inputs.iter().map(|input| input.cursor()).collect();
    let mut heads = cursors.iter_mut().map(FileCursor::next).collect::<Result<Vec<_>, _>>()?;
    loop {
        // The inputs are few, so looking at all of them beats a heap. Newest last: of equal keys, it wins.
        let least = heads.iter().flatten().map(|(hash, entry)| (*hash, entry.key)).min();
        let Some(least) = least else { break };
        let mut winner = None;
        for (head, cursor) in heads.iter_mut().zip(&mut cursors) {
            if let Some((hash, entry)) = *head
                && (hash, entry.key) == least
            {
                winner = Some(entry);
                *head = cursor.next()?;
            }
        }
        if let Some(entry) = winner.filter(|entry| entry.counts_at(now, window)) {
            writer.push(least.0, &entry)?;
            if writer.entries % 8192 == 0 {
                between();
            }
        }
    }
    writer.finish(disk)
}

struct FileCursor<'a> {
    file: &'a KeyFile,
    block: Box<[u8; BLOCK_BYTES]>,
    next_block: usize,
    count: usize,
    at: usize,
}

impl FileCursor<'_> {
    fn next(&mut self) -> Result<Option<(u64, Entry)>, KeyFileError> {
        if self.at == self.count {
            if self.next_block == self.file.fences.len() {
                return Ok(None);
            }
            self.count = self.file.read_block(self.next_block, &mut self.block)?;
            self.next_block += 1;
            self.at = 0;
        }
        let entry = Entry::decode(&self.block[8 + self.at * ENTRY_BYTES..]);
        self.at += 1;
        Ok(Some((xxh3_64(&entry.key), entry)))
    }
}

struct FileWriter {
    temporary: String,
    file: Arc<dyn DiskFile>,
    epoch: u64,
    from: u64,
    to: u64,
    /// Blocks that are not written yet.
    out: Vec<u8>,
    out_at: u64,
    block: Vec<u8>,
    entries: u64,
    newest: Time,
    fences: Vec<u64>,
    filter: Filter,
}

impl FileWriter {
    fn create(disk: &dyn Disk, epoch: u64, (from, to): (u64, u64), entries_most: u64) -> io::Result<FileWriter> {
        let temporary = format!("{}.tmp", file_name(from, to));
        let file = disk.create(&temporary)?;
        Ok(FileWriter {
            temporary,
            file,
            epoch,
            from,
            to,
            out: Vec::new(),
            out_at: BLOCK_BYTES as u64,
            block: Vec::with_capacity(BLOCK_BYTES),
            entries: 0,
            newest: Time::MIN,
            fences: Vec::new(),
            filter: Filter::for_entries(entries_most),
        })
    }

    fn push(&mut self, hash: u64, entry: &Entry) -> io::Result<()> {
        if self.block.is_empty() {
            self.block.extend([0; 8]);
            self.fences.push(hash);
        }
        self.block.extend(entry.encode());
        self.filter.add(hash);
        self.entries += 1;
        self.newest = self.newest.max(entry.at);
        if self.block.len() == BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.block.resize(BLOCK_BYTES, 0);
        let sum = xxh3_64_with_seed(&self.block[8..], block_seed(self.epoch, self.from, self.fences.len() - 1));
        self.block[..8].copy_from_slice(&sum.to_le_bytes());
        self.out.append(&mut self.block);
        if self.out.len() >= 1 << 20 { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.file.write_at(&mut [IoSlice::new(&self.out)], self.out_at)?;
            self.out_at += self.out.len() as u64;
            self.out.clear();
        }
        Ok(())
    }

    /// Everything, the head last, then the sync, then the name. The caller syncs the directory.
    fn finish(mut self, disk: &dyn Disk) -> Result<KeyFile, KeyFileError> {
        self.end_block()?;
        let mut side = Vec::with_capacity((self.fences.len() + self.filter.words.len()) * 8);
        for word in self.fences.iter().chain(&self.filter.words) {
            side.extend(word.to_le_bytes());
        }
        self.out.extend(&side);
        self.write_out()?;
        let mut head = [0; FILE_HEAD_BYTES];
        head[8..16].copy_from_slice(FILE_MAGIC);
        head[16..20].copy_from_slice(&FILE_FORMAT.to_le_bytes());
        head[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        head[32..40].copy_from_slice(&self.from.to_le_bytes());
        head[40..48].copy_from_slice(&self.to.to_le_bytes());
        head[48..56].copy_from_slice(&self.entries.to_le_bytes());
        head[56..64].copy_from_slice(&self.newest.nanos().to_le_bytes());
        head[64..72].copy_from_slice(&(self.fences.len() as u64).to_le_bytes());
        head[72..80].copy_from_slice(&(self.filter.words.len() as u64).to_le_bytes());
        head[80..88].copy_from_slice(&xxh3_64(&side).to_le_bytes());
        let sum = xxh3_64(&head[8..]);
        head[..8].copy_from_slice(&sum.to_le_bytes());
        self.file.write_at(&mut [IoSlice::new(&head)], 0)?;
        self.file.sync_data()?;
        let name = file_name(self.from, self.to);
        disk.rename(&self.temporary, &name)?;
        Ok(KeyFile {
            name,
            from: self.from,
            to: self.to,
            entries: self.entries,
            bytes: self.out_at,
            newest: self.newest,
            epoch: self.epoch,
            file: self.file,
            fences: self.fences,
            filter: self.filter,
        })
    }
}

/// A Bloom filter of 64-byte blocks: one cache miss per question, about 8.5 bits per key, about 3 % false "perhaps".
struct Filter {
    words: Vec<u64>,
}

const FILTER_BLOCK_WORDS: usize = 8;
/// 512 bits serve so many keys. With the fences (64 bits for 73 keys) a key takes 9.4 bits of memory.
const FILTER_BLOCK_KEYS: u64 = 60;
const FILTER_PROBES: u32 = 6;

impl Filter {
    fn for_entries(entries: u64) -> Filter {
        Filter { words: vec![0; entries.div_ceil(FILTER_BLOCK_KEYS).max(1) as usize * FILTER_BLOCK_WORDS] }
    }

    /// The block's first word and the bits that choose within it.
    fn place(&self, hash: u64) -> (usize, u64) {
        let blocks = (self.words.len() / FILTER_BLOCK_WORDS) as u64;
        let block = ((u128::from(hash) * u128::from(blocks)) >> 64) as usize;
        // The high bits chose the block; multiplied, all bits take part in the choice within it.
        (block * FILTER_BLOCK_WORDS, hash.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn add(&mut self, hash: u64) {
        let (start, bits) = self.place(hash);
        for probe in 0..FILTER_PROBES {
            let bit = (bits >> (10 + 9 * probe)) as usize & 511;
            self.words[start + bit / 64] |= 1 << (bit % 64);
        }
    }

    fn may_hold(&self, hash: u64) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let (start, bits) = self.place(hash);
        (0..FILTER_PROBES).all(|probe| {
            let bit = (bits >> (10 + 9 * probe)) as usize & 511;
            self.words.get(start + bit / 64).is_none_or(|word| word & (1 << (bit % 64)) != 0)
        })
    }
}

const _: () = assert!(8 + BLOCK_ENTRIES * ENTRY_BYTES == BLOCK_BYTES, "entries fill a block to the byte");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const WINDOW: Duration = Duration::from_secs(100);

    fn entry(number: u64) -> Entry {
        let mut key = [0; 16];
        key[8..].copy_from_slice(&number.to_be_bytes());
        Entry { key, id: u128::from(number), offset: number * 8, at: Time::from_nanos(number as i64), records: 1 }
    }

    fn keys(numbers: impl IntoIterator<Item = u64>) -> OpenKeys {
        let mut keys = OpenKeys::default();
        numbers.into_iter().for_each(|number| keys.insert(entry(number)));
        keys
    }

    fn table(file: KeyFile) -> Table {
        Table { from: file.from, to: file.to, keys: Keys::File(Arc::new(file)) }
    }

    #[test]
    fn files_hold_what_was_put_in_and_little_else() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        for count in [0, 1, 72, 73, 74, 5000] {
            let written = write_file(&disk, 5, (0, 8 + count), &keys(0..count)).unwrap();
            let opened = KeyFile::open(&disk, &written.name, 5).unwrap();
            assert_eq!((opened.entries, opened.bytes), (count, disk.open(&written.name).unwrap().len().unwrap()));
            opened.check().unwrap();
            let perhaps =
                (count..count + 10_000).filter(|number| opened.filter.may_hold(xxh3_64(&entry(*number).key))).count();
            assert!(perhaps < 600, "{perhaps} of 10000 absent keys pass the filter of {count} keys");
            let tables = Tables(vec![table(opened)]);
            for number in 0..count + 100 {
                assert_eq!(
                    tables.find(&entry(number).key),
                    (number < count).then(|| entry(number)),
                    "{number} of {count}"
                );
            }
            assert!(KeyFile::open(&disk, &written.name, 6).is_err(), "another log's");
        }
    }

    #[test]
    fn entry_and_file_last_to_the_windows_last_nanosecond() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let window = WINDOW.as_nanos() as i64;
        // The file's entries are of 1000 to 1999; its newest one decides.
        let tables = Tables(vec![table(write_file(&disk, 5, (0, 100), &keys(1000..2000)).unwrap())]);
        // (since the entry, whether it counts)
        for (since, counts) in
            [(-window - 1, true), (-1, true), (0, true), (window / 2 + 1, true), (window, true), (window + 1, false)]
        {
            let now = Time::from_nanos(1999 + since);
            assert_eq!(entry(1999).counts_at(now, WINDOW), counts, "{since} ns after it");
            assert_eq!(tables.expired(now, WINDOW, u64::MAX).is_empty(), counts, "{since} ns after the newest");
        }
    }

    #[test]
    fn merging_keeps_the_newest_and_drops_what_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let old = Arc::new(write_file(&disk, 5, (0, 100), &keys(0..300)).unwrap());
        let mut again = keys(300..400);
        let newer = Entry { id: 77, at: Time::from_nanos(1000), ..entry(250) };
        again.insert(newer);
        let new = Arc::new(write_file(&disk, 5, (100, 200), &again).unwrap());
        let merged =
            merge_files(&disk, 5, &[old, new], Time::from_nanos(1000), Duration::from_nanos(800), || ()).unwrap();
        assert_eq!((merged.from, merged.to, merged.entries), (0, 200, 200));
        let tables = Tables(vec![table(merged)]);
        assert_eq!(tables.find(&entry(250).key), Some(newer));
        assert_eq!(tables.find(&entry(199).key), None);
        assert_eq!(tables.find(&entry(200).key), Some(entry(200)));
        assert_eq!(tables.find(&entry(399).key), Some(entry(399)));
    }

    #[test]
    fn a_damaged_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let name = write_file(&disk, 5, (0, 100), &keys(0..300)).unwrap().name;
        let file = disk.open(&name).unwrap();
        for (at, opens) in [(40, false), (5000, true), (4096 * 6 + 3, false)] {
            let mut byte = [0];
            file.read_at(&mut byte, at).unwrap();
            file.write_at(&mut [IoSlice::new(&[byte[0] ^ 4])], at).unwrap();
            let opened = KeyFile::open(&disk, &name, 5);
            assert_eq!(opened.is_ok(), opens, "byte {at}");
            assert!(opened.and_then(|file| file.check()).is_err(), "byte {at}");
            file.write_at(&mut [IoSlice::new(&byte)], at).unwrap();
        }
    }

    #[test]
    fn few_files_remain_and_the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let mut tables = Tables::default();
        for number in 0..600u64 {
            let file = write_file(&disk, 5, (number, number + 1), &keys([number])).unwrap();
            tables.0.push(table(file));
            while let Some(range) = tables.to_merge() {
                let inputs: Vec<_> = tables.0[range.clone()]
                    .iter()
                    .map(|table| match &table.keys {
                        Keys::File(file) => file.clone(),
                        Keys::Memory(_) => unreachable!("only files are merged"),
                    })
                    .collect();
                let merged = merge_files(&disk, 5, &inputs, Time::from_nanos(number as i64), WINDOW, || ()).unwrap();
                tables.0.splice(range, [table(merged)]);
            }
            assert!(tables.0.len() < 4 * MERGE_FILES, "{} files after {number}", tables.0.len());
        }
        assert_eq!(tables.len(), 600);
        assert!((0..600).all(|number| tables.find(&entry(number).key) == Some(entry(number))));
        let expired = tables.expired(Time::from_nanos(599), WINDOW, 400);
        assert_eq!(expired[0].from, 0);
        let kept = 600 - expired.iter().map(Table::len).sum::<u64>();
        assert!((1..=400).contains(&kept), "{kept} keys kept");
        let late = Time::from_nanos(599 + WINDOW.as_nanos() as i64 + 1);
        assert_eq!(tables.expired(late, WINDOW, u64::MAX).len(), tables.0.len());
    }
}
