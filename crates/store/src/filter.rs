//! The filter file beside a part: for every 8,192 rows a small bitmap that says which needles are certainly not there.
//!
//! UDM rows (`events`, `entities`) put in every whole leaf value. Raw rows put in *grams* of their text, chosen so that
//! any literal that stands anywhere in a row can be checked, not only whole words: of every [`WINDOW`] neighbouring
//! grams of [`GRAM`] bytes the one with the least hash. A window inside a needle is also a window of the row that holds
//! the needle, so it chose the same gram there. Words as units were the other way; with them a needle that is one word,
//! the usual case, could never be checked, since in the row it may be part of a longer one.
//!
//! Each element sets a few bits of one 64-bit word, so a bitmap is halved by laying its upper half over its lower one.
//! Bitmaps are filled at full size and halved while they stay sparse; nothing has to be counted or sorted first.
//!
//! A filter is a hint: missing, damaged or of a newer format it says "perhaps" to everything.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::fold::fold_into;
use crate::layout::Table;

/// Rows of one bitmap. A row group holds eight of them.
pub const CHUNK_ROWS: usize = 8_192;

const FORMAT: u16 = 1;
const MAGIC: &[u8; 8] = b"PENSFILT";
const HEAD_BYTES: usize = 32;
const ENTRY_BYTES: usize = 24;

/// Bytes of a gram.
const GRAM: usize = 6;
/// Of so many neighbouring grams one is kept. A literal of fewer than `GRAM + WINDOW - 1` folded bytes cannot be
/// checked.
const WINDOW: usize = 6;

/// 64-bit words of a bitmap before it is halved: 512 KiB, which stays in the second-level cache while it is filled.
const WORDS_MAX: usize = 1 << 16;
const WORDS_MIN: usize = 1 << 6;
/// A bitmap takes at most one byte for this many bytes of records.
const RAW_BYTES_PER_BYTE: usize = 20;
/// A bitmap is halved while no more than this many thousandths of its bits are set. Half as many words then have fewer
/// than twice as many set: 0.3, and 0.3^4 is about one false "perhaps" in a hundred for a value.
const SPARSE_PERMILLE: usize = 165;

/// What elements a filter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Grams of raw text.
    Grams,
    /// Whole values of UDM leaves.
    Values,
}

impl Mode {
    const fn of(table: Table) -> Mode {
        match table {
            Table::Logs => Mode::Grams,
            Table::Events | Table::Entities => Mode::Values,
        }
    }

    /// The word and the bits in it that stand for an element.
    fn place(self, hash: u64, words: usize) -> (usize, u64) {
        let word = (hash >> 40) as usize & (words - 1);
        let bit = |shift: u32| 1u64 << (hash >> shift & 63);
        match self {
            // A needle brings several grams, so two bits each are enough.
            Mode::Grams => (word, bit(0) | bit(6)),
            Mode::Values => (word, bit(0) | bit(6) | bit(12) | bit(18)),
        }
    }
}

/// A needle, ready to be looked for in bitmaps.
#[derive(Debug, Clone)]
pub struct Probe {
    mode: Mode,
    hashes: Vec<u64>,
}

impl Probe {
    /// A UDM leaf whose whole value is this, in any case of letters.
    pub fn value(value: &str) -> Probe {
        let mut folded = Vec::with_capacity(value.len());
        fold_into(value.as_bytes(), &mut folded);
        Probe { mode: Mode::Values, hashes: vec![xxh3_64(&folded)] }
    }

    /// A raw text that has this literal somewhere, in any case of letters. `None` when the literal is too short to be
    /// checked: any row may have it.
    pub fn text(literal: &str) -> Option<Probe> {
        let mut grams = Grams::default();
        grams.read(literal.as_bytes());
        let mut hashes: Vec<u64> = grams.chosen().map(spread).collect();
        hashes.sort_unstable();
        hashes.dedup();
        (!hashes.is_empty()).then_some(Probe { mode: Mode::Grams, hashes })
    }
}

/// One bitmap, read.
#[derive(Debug)]
pub struct ChunkFilter<'a> {
    mode: Mode,
    words: &'a [u64],
}

impl ChunkFilter<'_> {
    /// False only when no row of the chunk has the needle. A probe for the other sort of table finds "perhaps".
    pub fn may_hold(&self, probe: &Probe) -> bool {
        probe.mode != self.mode
            || probe.hashes.iter().all(|&hash| {
                let (word, bits) = self.mode.place(hash, self.words.len());
                self.words[word] & bits == bits
            })
    }
}

/// An open filter file. Reads are positioned, so any number of readers may share it.
#[derive(Debug)]
pub struct PartFilter {
    file: File,
    mode: Mode,
    chunks: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u64,
    words: u32,
    rows: u32,
    checksum: u64,
}

impl PartFilter {
    /// Opens the file; `None` when it is missing, damaged, of a newer format, or for another number of rows.
    pub(crate) fn open(path: &Path, table: Table, rows: u64) -> Option<PartFilter> {
        let file = File::open(path).ok()?;
        let filter = PartFilter::read(file, table, rows);
        if filter.is_none() {
            tracing::warn!(path = %path.display(), "a filter is damaged or of another format: nothing is pruned");
        }
        filter
    }

    fn read(file: File, table: Table, rows: u64) -> Option<PartFilter> {
        let file_bytes = file.metadata().ok()?.len();
        let mut head = [0u8; HEAD_BYTES];
        file.read_exact_at(&mut head, 0).ok()?;
        if head[..8] != *MAGIC || u16_at(&head, 8) != FORMAT || head[10] != mode_number(Mode::of(table)) {
            return None;
        }
        let count = u32_at(&head, 16) as usize;
        if u32_at(&head, 12) as usize != CHUNK_ROWS || count as u64 != rows.div_ceil(CHUNK_ROWS as u64) {
            return None;
        }
        let directory_bytes = count.checked_mul(ENTRY_BYTES)?;
        if (HEAD_BYTES + directory_bytes) as u64 > file_bytes {
            return None;
        }
        let mut directory = vec![0u8; directory_bytes];
        file.read_exact_at(&mut directory, HEAD_BYTES as u64).ok()?;
        let mut checked = head[..24].to_vec();
        checked.extend_from_slice(&directory);
        if xxh3_64(&checked) != u64_at(&head, 24) {
            return None;
        }
        let chunks = directory
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| Entry {
                offset: u64_at(entry, 0),
                words: u32_at(entry, 8),
                rows: u32_at(entry, 12),
                checksum: u64_at(entry, 16),
            })
            .collect::<Vec<_>>();
        let sane = |entry: &Entry| entry.words.is_power_of_two() && entry.words as usize <= WORDS_MAX;
        (chunks.iter().all(sane) && chunks.iter().map(|entry| u64::from(entry.rows)).sum::<u64>() == rows)
            .then_some(PartFilter { file, mode: Mode::of(table), chunks })
    }

    /// How many bitmaps there are; the one at `index` is for rows `index * CHUNK_ROWS ..` of the part.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The rows of the part that a bitmap is for.
    pub fn rows(&self, index: usize) -> Range<u64> {
        let first = (index * CHUNK_ROWS) as u64;
        first..first + u64::from(self.chunks[index].rows)
    }

    /// Reads one bitmap into `buffer`; `None` when it is damaged: any row may hold anything.
    pub fn chunk<'a>(&self, index: usize, buffer: &'a mut Vec<u64>) -> Option<ChunkFilter<'a>> {
        let entry = self.chunks[index];
        let mut bytes = vec![0u8; entry.words as usize * 8];
        self.file.read_exact_at(&mut bytes, entry.offset).ok()?;
        if xxh3_64(&bytes) != entry.checksum {
            return None;
        }
        buffer.clear();
        buffer.extend(bytes.chunks_exact(8).map(|word| u64_at(word, 0)));
        Some(ChunkFilter { mode: self.mode, words: buffer })
    }
}

/// Makes the filter of one part while its rows are written, in their order.
pub(crate) struct FilterBuilder {
    mode: Mode,
    words: Box<[u64; WORDS_MAX]>,
    grams: Grams,
    folded: Vec<u8>,
    rows: u32,
    raw_bytes: usize,
    done: Vec<(Entry, Vec<u8>)>,
}

impl FilterBuilder {
    pub(crate) fn new(table: Table) -> FilterBuilder {
        FilterBuilder {
            mode: Mode::of(table),
            words: vec![0; WORDS_MAX].try_into().expect("it was made with this length"),
            grams: Grams::default(),
            folded: Vec::new(),
            rows: 0,
            raw_bytes: 0,
            done: Vec::new(),
        }
    }

    /// The row is raw text: puts in its grams.
    pub(crate) fn text(&mut self, data: &[u8]) {
        self.grams.read(data);
        let words = &mut *self.words;
        for hash in self.grams.chosen() {
            let (word, bits) = Mode::Grams.place(spread(hash), WORDS_MAX);
            words[word] |= bits;
        }
    }

    /// The row has a leaf with this value.
    pub(crate) fn value(&mut self, value: &[u8]) {
        self.folded.clear();
        fold_into(value, &mut self.folded);
        let (word, bits) = Mode::Values.place(xxh3_64(&self.folded), WORDS_MAX);
        self.words[word] |= bits;
    }

    /// The row, whose record has so many bytes, is complete.
    pub(crate) fn end_row(&mut self, data_bytes: usize) {
        self.rows += 1;
        self.raw_bytes += data_bytes;
        if self.rows as usize == CHUNK_ROWS {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        let most = (self.raw_bytes / RAW_BYTES_PER_BYTE / 8).clamp(WORDS_MIN, WORDS_MAX);
        let mut words = WORDS_MAX;
        let mut set: usize = self.words.iter().map(|word| word.count_ones() as usize).sum();
        while words > most || (words > WORDS_MIN && set * 1_000 <= words * 64 * SPARSE_PERMILLE) {
            words /= 2;
            let (lower, upper) = self.words.split_at_mut(words);
            set = 0;
            for (low, high) in lower.iter_mut().zip(&*upper) {
                *low |= *high;
                set += low.count_ones() as usize;
            }
        }
        let bytes: Vec<u8> = self.words[..words].iter().flat_map(|word| word.to_le_bytes()).collect();
        let entry = Entry { offset: 0, words: words as u32, rows: self.rows, checksum: xxh3_64(&bytes) };
        self.done.push((entry, bytes));
        self.words.fill(0);
        self.rows = 0;
        self.raw_bytes = 0;
    }

    /// The whole file's bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.rows > 0 {
            self.end_chunk();
        }
        let mut out = Vec::with_capacity(
            HEAD_BYTES + self.done.iter().map(|(_, bytes)| bytes.len() + ENTRY_BYTES).sum::<usize>(),
        );
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[mode_number(self.mode), 0]);
        out.extend_from_slice(&(CHUNK_ROWS as u32).to_le_bytes());
        out.extend_from_slice(&(self.done.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let mut checked = out.clone();
        let mut offset = (HEAD_BYTES + self.done.len() * ENTRY_BYTES) as u64;
        for (entry, bytes) in &self.done {
            checked.extend_from_slice(&offset.to_le_bytes());
            checked.extend_from_slice(&entry.words.to_le_bytes());
            checked.extend_from_slice(&entry.rows.to_le_bytes());
            checked.extend_from_slice(&entry.checksum.to_le_bytes());
            offset += bytes.len() as u64;
        }
        let checksum = xxh3_64(&checked);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&checked[HEAD_BYTES - 8..]);
        for (_, bytes) in &self.done {
            out.extend_from_slice(bytes);
        }
        out
    }
}

/// Writes a finished filter so that it is on stable storage.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = File::create(path)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

/// Chooses grams of texts; keeps its buffers between texts.
#[derive(Default)]
struct Grams {
    folded: Vec<u8>,
    chosen: Vec<u32>,
}

impl Grams {
    fn read(&mut self, text: &[u8]) {
        self.chosen.clear();
        if text.len() < GRAM {
            return;
        }
        self.folded.clear();
        fold_into(text, &mut self.folded);
        let Some(grams) = (self.folded.len() + 1).checked_sub(GRAM).filter(|grams| *grams >= WINDOW) else { return };
        // Two bytes more, so that every gram can be read as eight bytes.
        self.folded.extend_from_slice(&[0; 8 - GRAM]);
        self.chosen.resize(grams, 0);
        let mut count = 0;
        // No hash is as large, so the first window always counts.
        let mut last = u64::MAX;
        // The least of the last six hashes is the least of three least of two, the newest and those two and four grams
        // back. So no window is looked through, and there is no branch to mispredict: one per byte at every fourth
        // would cost more than all the rest.
        const _: () = assert!(WINDOW == 6);
        let mut before = u32::MAX;
        let mut pairs = [u32::MAX; 4];
        let chosen = &mut self.chosen[..];
        for (gram, bytes) in self.folded.windows(8).enumerate() {
            let hash = u64_at(bytes, 0) & ((1 << (8 * GRAM)) - 1);
            let hash = (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32;
            let pair = hash.min(before);
            let least = pair.min(pairs[1]).min(pairs[3]);
            before = hash;
            pairs = [pair, pairs[0], pairs[1], pairs[2]];
            chosen[count] = least;
            count += usize::from(gram + 1 >= WINDOW && last != u64::from(least));
            last = if gram + 1 >= WINDOW { u64::from(least) } else { last };
        }
        self.chosen.truncate(count);
    }

    fn chosen(&self) -> impl Iterator<Item = u32> {
        self.chosen.iter().copied()
    }
}

/// The least hashes of windows crowd at the low end; this spreads them over bitmaps again.
fn spread(hash: u32) -> u64 {
    let mixed = (u64::from(hash) | 1 << 40).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::Grams => 1,
        Mode::Values => 2,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes were sliced"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter_of(dir: &Path, table: Table, rows: &[&[u8]]) -> PartFilter {
        let mut builder = FilterBuilder::new(table);
        for row in rows {
            match table {
                Table::Logs => builder.text(row),
                _ => builder.value(row),
            }
            builder.end_row(row.len());
        }
        let path = dir.join("_filter");
        write_file(&path, &builder.finish()).unwrap();
        PartFilter::open(&path, table, rows.len() as u64).unwrap()
    }

    fn holds(filter: &PartFilter, probe: &Probe) -> bool {
        (0..filter.chunks()).any(|index| filter.chunk(index, &mut Vec::new()).unwrap().may_hold(probe))
    }

    proptest! {
        #[test]
        fn a_literal_in_a_row_is_never_denied(
            before in "\\PC{0,30}", needle in "[ -~]{0,25}|\\PC{0,12}", after in "\\PC{0,30}", other in "\\PC{0,30}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let row = format!("{before}{needle}{after}");
            let filter = filter_of(dir.path(), Table::Logs, &[other.as_bytes(), row.as_bytes()]);
            for needle in [needle.clone(), needle.to_ascii_uppercase(), udm::fold(&needle)] {
                if let Some(probe) = Probe::text(&needle) {
                    prop_assert!(holds(&filter, &probe), "{needle:?} in {row:?}");
                }
            }
            prop_assert!(holds(&filter, &Probe::value("of the other sort")));
        }

        #[test]
        fn a_value_of_a_row_is_never_denied(values in prop::collection::vec("\\PC{0,12}", 1..40)) {
            let dir = tempfile::tempdir().unwrap();
            let rows: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let filter = filter_of(dir.path(), Table::Events, &rows);
            for value in &values {
                prop_assert!(holds(&filter, &Probe::value(&udm::fold(value))));
            }
        }

        #[test]
        fn damage_only_means_no_pruning(flip in 1u8.., at in any::<prop::sample::Index>(), cut in prop::bool::ANY) {
            let dir = tempfile::tempdir().unwrap();
            let rows = ["the first row with some text", "and the second row with more"].map(str::as_bytes);
            drop(filter_of(dir.path(), Table::Logs, &rows));
            let path = dir.path().join("_filter");
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            std::fs::write(&path, &bytes).unwrap();
            // Either the file as a whole or the bitmap says that it is damaged; nothing is denied.
            if let Some(filter) = PartFilter::open(&path, Table::Logs, 2) {
                let mut buffer = Vec::new();
                if let Some(chunk) = filter.chunk(0, &mut buffer) {
                    prop_assert!(chunk.may_hold(&Probe::text("second row with").unwrap()));
                }
            }
        }
    }

    #[test]
    fn false_alarms_are_rare() {
        let dir = tempfile::tempdir().unwrap();
        let values: Vec<String> = (0..100_000).map(|n| format!("value-{n}@example.com")).collect();
        let mut builder = FilterBuilder::new(Table::Events);
        for row in values.chunks(13) {
            row.iter().for_each(|value| builder.value(value.as_bytes()));
            builder.end_row(1_000);
        }
        let path = dir.path().join("_filter");
        write_file(&path, &builder.finish()).unwrap();
        let filter = PartFilter::open(&path, Table::Events, values.len().div_ceil(13) as u64).unwrap();
        let mut buffer = Vec::new();
        let chunk = filter.chunk(0, &mut buffer).unwrap();
        let alarms = (0..20_000).filter(|n| chunk.may_hold(&Probe::value(&format!("absent-{n}@example.com")))).count();
        assert!(alarms < 400, "{alarms} false alarms of 20,000");
        assert!(alarms > 0, "the filter must not be so large that nothing is ever wrong");
    }

    #[test]
    fn a_short_literal_cannot_be_checked() {
        assert!(Probe::text("0123456789").is_none());
        assert!(Probe::text("0123456789a").is_some());
        assert!(Probe::text("").is_none());
    }
}
