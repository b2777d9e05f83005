//! A disk for the log that forgets, tears, fails and holds on demand ([`SimDisk`]), and the log's fuzz target.
//!
//! It keeps two versions of everything: what the process sees, and what is on the platter. A sync moves the first to
//! the second; [`SimDisk::crash`] keeps any part of what was not synced, chosen by a seed, sector by sector. Every
//! changing operation is a numbered step, so that a test can crash or fail at each of them in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use commit::{Disk, DiskFile, Followed, Log, LogOptions, NewFrame};
use event::Time;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What is written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A simulated directory. Clones are the same directory.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    random: StdRng,
    steps: u64,
    crash_at: Option<u64>,
    crashed: bool,
    faults: BTreeMap<u64, io::ErrorKind>,
    space: Option<u64>,
    fail_syncs: bool,
    holding: bool,
    held: usize,
}

#[derive(Clone, Default)]
struct FileState {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Not synced. A failed sync empties this although only a part of it reached the platter: the system believes the
    /// rest clean and does not write it again.
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Clone)]
enum NameChange {
    Link { name: String, file: u64 },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl SimDisk {
    /// An empty directory. The seed decides how much of a failing write is done.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::with(BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), Vec::new(), seed)
    }

    fn with(
        files: BTreeMap<u64, FileState>,
        names: BTreeMap<String, u64>,
        durable_names: BTreeMap<String, u64>,
        unsynced_names: Vec<NameChange>,
        seed: u64,
    ) -> SimDisk {
        let state = State {
            next_file: files.keys().max().map_or(0, |last| last + 1),
            files,
            names,
            durable_names,
            unsynced_names,
            random: StdRng::seed_from_u64(seed),
            steps: 0,
            crash_at: None,
            crashed: false,
            faults: BTreeMap::new(),
            space: None,
            fail_syncs: false,
            holding: false,
            held: 0,
        };
        SimDisk { inner: Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Changing operations so far: create, write, set_len, sync, rename, remove, sync_dir.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The machine dies in the middle of this step (counted from 1): it and everything after it fails, a write leaves
    /// any part. Then take [`SimDisk::crash`].
    pub fn crash_at(&self, step: u64) {
        self.state().crash_at = Some(step);
    }

    /// Whether [`SimDisk::crash_at`] was reached.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// This step fails with this error; a write is done in part.
    pub fn fail_step(&self, step: u64, error: io::ErrorKind) {
        self.state().faults.insert(step, error);
    }

    /// From now on all syncs of files fail, those that are held included, or succeed again.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    /// Bytes that all files together may take; `None` is no limit. What would go over fails with `StorageFull` after it
    /// was done in part.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Bytes that all files take.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// From now on syncs of files do not return until [`SimDisk::release_syncs`].
    pub fn hold_syncs(&self) {
        self.state().holding = true;
    }

    /// Lets all held syncs go on, and later ones pass.
    pub fn release_syncs(&self) {
        self.state().holding = false;
        self.inner.changed.notify_all();
    }

    /// Waits until a sync is held.
    pub fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.held == 0 {
            state = self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The directory after a power failure now: what was synced, and any part of what was not. The seed chooses it. The
    /// old directory does nothing any more.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut random = StdRng::seed_from_u64(seed);
        let mut state = self.state();
        state.crashed = true;
        state.holding = false;
        self.inner.changed.notify_all();
        // From "nothing of it" to "all of it", with everything between.
        let keep = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let mut names = state.durable_names.clone();
        for change in &state.unsynced_names {
            if random.random_bool(keep) {
                change.apply(&mut names);
            }
        }
        let mut files = BTreeMap::new();
        let linked: BTreeSet<u64> = names.values().copied().collect();
        for (number, file) in state.files.iter().filter(|(number, _)| linked.contains(number)) {
            let mut platter = file.durable.clone();
            for change in &file.unsynced {
                change.apply_in_part(&mut platter, |_| random.random_bool(keep));
            }
            files.insert(*number, FileState { cached: platter.clone(), durable: platter, unsynced: Vec::new() });
        }
        SimDisk::with(files, names.clone(), names, Vec::new(), seed)
    }

    /// The directory after a kill of the process: everything is seen as before, and what was not synced still is not.
    pub fn restart(&self, seed: u64) -> SimDisk {
        let mut state = self.state();
        state.crashed = true;
        state.holding = false;
        self.inner.changed.notify_all();
        SimDisk::with(
            state.files.clone(),
            state.names.clone(),
            state.durable_names.clone(),
            state.unsynced_names.clone(),
            seed,
        )
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let number = state.next_file;
        state.next_file += 1;
        let file = FileState { cached: bytes.to_vec(), durable: bytes.to_vec(), ..FileState::default() };
        state.files.insert(number, file);
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// What a file holds, as the process sees it; `None` without such a file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|number| state.files[number].cached.clone())
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The medium changes bytes by itself: from `at` on, each is XORed with `with`. Beyond the end nothing happens.
    pub fn damage(&self, name: &str, at: usize, with: &[u8]) {
        let mut state = self.state();
        let Some(number) = state.names.get(name).copied() else { return };
        let Some(file) = state.files.get_mut(&number) else { return };
        for version in [&mut file.cached, &mut file.durable] {
            for (byte, flip) in version.iter_mut().skip(at).zip(with) {
                *byte ^= flip;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|number| self.files[number].cached.len() as u64).sum()
    }

    /// Counts a step; an error means that it fails.
    fn step(&mut self) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the machine is off"));
        }
        self.steps += 1;
        if self.crash_at.is_some_and(|step| self.steps >= step) {
            self.crashed = true;
            return Err(io::Error::other("the machine went off"));
        }
        match self.faults.get(&self.steps) {
            Some(kind) => Err((*kind).into()),
            None => Ok(()),
        }
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn file(&mut self, number: u64) -> &mut FileState {
        self.files.get_mut(&number).expect("files are never forgotten")
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        let number = state.next_file;
        state.next_file += 1;
        state.files.insert(number, FileState::default());
        state.change_names(NameChange::Link { name: name.to_owned(), file: number });
        Ok(Arc::new(SimFile { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let number = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        state.change_names(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        state.change_names(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        Ok(state.names.iter().map(|(name, number)| (name.clone(), state.files[number].cached.len() as u64)).collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    number: u64,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.number).cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let cached = &state.file(self.number).cached;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
        let count = buffer.len().min(cached.len() - start);
        buffer[..count].copy_from_slice(&cached[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.disk.state();
        let was_off = state.crashed;
        let mut result = state.step();
        if was_off {
            return result;
        }
        if let Some(space) = state.space {
            let grows = (offset + bytes.len() as u64).saturating_sub(state.file(self.number).cached.len() as u64);
            let over = (state.used() + grows).saturating_sub(space).min(grows);
            if over > 0 && result.is_ok() {
                bytes.truncate(bytes.len().saturating_sub(over as usize));
                result = Err(io::ErrorKind::StorageFull.into());
            }
        }
        if result.is_err() && !state.crashed && !bytes.is_empty() {
            let done = state.random.random_range(0..=bytes.len());
            bytes.truncate(done);
        }
        let change = Change::Write { at: offset, bytes };
        let file = state.file(self.number);
        change.apply_in_part(&mut file.cached, |_| true);
        file.unsynced.push(change);
        result
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let change = Change::SetLen(bytes);
        let file = state.file(self.number);
        change.apply_in_part(&mut file.cached, |_| true);
        file.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.step();
        if state.holding && result.is_ok() {
            state.held += 1;
            self.disk.inner.changed.notify_all();
            while state.holding {
                state = self.disk.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.held -= 1;
        }
        if state.crashed {
            return Err(io::Error::other("the machine went off"));
        }
        let State { fail_syncs, random, files, .. } = &mut *state;
        let file = files.get_mut(&self.number).expect("files are never forgotten");
        if result.is_err() || *fail_syncs {
            let keep = [0.0, 0.5, 1.0][random.random_range(0..3)];
            for change in std::mem::take(&mut file.unsynced) {
                change.apply_in_part(&mut file.durable, |_| random.random_bool(keep));
            }
            return result.and(Err(io::Error::from_raw_os_error(5)));
        }
        for change in std::mem::take(&mut file.unsynced) {
            change.apply_in_part(&mut file.durable, |_| true);
        }
        Ok(())
    }
}

impl Change {
    /// Does what `keep` says yes to, asked once for every sector.
    fn apply_in_part(&self, contents: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Change::SetLen(bytes) => {
                if keep(0) {
                    contents.resize(*bytes as usize, 0);
                }
            }
            Change::Write { at, bytes } => {
                let at = *at as usize;
                let mut done = 0;
                while done < bytes.len() {
                    let sector = (at + done) / SECTOR_BYTES;
                    let until = ((sector + 1) * SECTOR_BYTES - at).min(bytes.len());
                    if keep(sector) {
                        if contents.len() < at + until {
                            contents.resize(at + until, 0);
                        }
                        contents[at + done..at + until].copy_from_slice(&bytes[done..until]);
                    }
                    done = until;
                }
            }
        }
    }
}

impl NameChange {
    /// A change whose file is not there (its creation was lost) does nothing.
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

/// Fuzz target: recovers a log from bytes that may be anything, follows and verifies it, appends to it, and opens it
/// again.
///
/// The first byte chooses: even, the rest is a segment file as it stands; odd, the rest are edits (file, place, bits)
/// of a log that was written well, and whatever is read back must be what was written.
pub fn fuzz_log_recovery(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let disk = SimDisk::new(0);
    let mut written = BTreeMap::new();
    if kind % 2 == 0 {
        disk.put("seg-0000000000000000.log", rest);
    } else {
        for session in 0..2u8 {
            let Ok((log, _)) = Log::open(Arc::new(disk.clone()), small_options(), Time::from_nanos(0)) else { return };
            for index in 0..6u8 {
                let number = session * 6 + index;
                written.insert(u128::from(number), fuzz_payload(number));
                let _answer = log.append(fuzz_frame(number));
            }
            log.close();
        }
        let names = disk.names();
        for edit in rest.chunks_exact(4) {
            let place = usize::from(u16::from_le_bytes([edit[1], edit[2]]));
            disk.damage(&names[usize::from(edit[0]) % names.len()], place, &edit[3..]);
        }
    }
    let _ = commit::verify(&disk, &mut |_, _| ());
    for _ in 0..2 {
        // A newer format or mixed logs are errors; nothing is a panic.
        let Ok((log, recovered)) = Log::open(Arc::new(disk.clone()), small_options(), Time::from_nanos(0)) else {
            return;
        };
        let mut follower = log.follow(None).expect("the start is always there to follow");
        let mut last = recovered.first;
        while let Some(followed) = follower.read().expect("this disk reads well") {
            assert!(follower.position() > last, "no progress at {last}");
            last = follower.position();
            if let (Followed::Frame { id, payload, .. }, 1) = (followed, kind % 2) {
                assert_eq!(written.get(&id), Some(&payload), "a frame that nobody wrote so");
            }
        }
        written.entry(99).or_insert_with(|| fuzz_payload(99));
        let _answer = log.append(fuzz_frame(99));
        log.close();
    }
}

fn small_options() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, one_thread: true, ..LogOptions::default() }
}

fn fuzz_payload(number: u8) -> Bytes {
    vec![number; 40 * usize::from(number)].into()
}

fn fuzz_frame(number: u8) -> NewFrame {
    let payload = fuzz_payload(number);
    let at = Time::from_nanos(i64::from(number));
    NewFrame { id: number.into(), key: Some([number; 16]), at, records: 1, payload }
}
