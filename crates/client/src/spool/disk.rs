//! A spool's folder, and every step that changes it. Blocking; no network.
//!
//! ```text
//! lock            held while the spool is open
//! spool.json      format, and the instance that the records are for
//! waiting/N.log   segments: what was pushed (segment.rs)
//! frozen/N/M.req  requests made of segment N, byte by byte as they are sent
//! refused/N-M.req       a request that the receiver refused,
//! refused/N-M.reply.json    and what it said
//! damaged/…       bytes that are no records any more
//! ```
//!
//! A record is in `waiting` or in `frozen`, never in neither: the requests of a segment are made in `frozen/N.new`,
//! synced, renamed to `frozen/N`, and only then the segment goes. If both are found at the start, the segment is the
//! leftover. A request goes when the receiver has answered; a stop before that sends the same bytes again, which the
//! receiver recognises. So whatever the step at which the process ends, each record is accepted once.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dialects::chronicle_api::encode::Import;
use event::limits;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::segment::{Scan, scan};
use crate::batch::{BodyLimits, plan};
use crate::error::SpoolError;

const FORMAT: u64 = 1;

/// Called after each step that changes the folder, with its name. Tests stop there; nothing else does anything.
pub(super) type Hook = Box<dyn Fn(&'static str) -> io::Result<()> + Send>;

/// The folder of an open spool.
pub(super) struct Disk {
    root: PathBuf,
    /// Closed with the spool, which lets go of the lock.
    _lock: File,
    active: Option<Active>,
    next_number: u64,
    broken: bool,
    bytes_max: u64,
    pub amounts: Amounts,
    pub hook: Hook,
}

/// The segment that is written to.
struct Active {
    file: File,
    number: u64,
    length: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub waiting_bytes: u64,
    pub waiting_records: u64,
    pub frozen_bytes: u64,
    pub frozen_records: u64,
    pub refused_bytes: u64,
    pub refused_requests: u64,
    pub damaged_bytes: u64,
}

/// A request from the folder, ready to be sent.
#[derive(Debug)]
pub(super) struct FrozenRequest {
    pub file: PathBuf,
    pub path: String,
    pub gzip: bool,
    pub records: u64,
    pub body: Bytes,
}

/// The first line of a request's file.
#[derive(serde::Serialize, serde::Deserialize)]
struct RequestHead {
    path: String,
    gzip: bool,
    records: u64,
    /// xxh3 of the body.
    hash: u64,
}

impl Disk {
    pub(super) fn open(root: &Path, instance: &str, bytes_max: u64) -> Result<Disk, SpoolError> {
        make_dir(root)?;
        let path = root.join("lock");
        let lock = file_options().create(true).truncate(false).open(&path).map_err(io_error("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::Locked(root.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(io_error("lock", &path)(cause)),
        }
        for folder in ["waiting", "frozen", "refused", "damaged"] {
            make_dir(&root.join(folder))?;
        }
        claim(root, instance)?;
        sync_dir(root)?;

        let mut disk = Disk {
            root: root.to_owned(),
            _lock: lock,
            active: None,
            next_number: 1,
            broken: false,
            bytes_max,
            amounts: Amounts::default(),
            hook: Box::new(|_| Ok(())),
        };
        disk.recover()?;
        Ok(disk)
    }

    /// Adds whole frames and syncs them: all of them are kept, or none and an error.
    pub(super) fn append(&mut self, frames: &[u8], records: u64) -> Result<(), SpoolError> {
        if self.broken {
            return Err(SpoolError::Broken);
        }
        let Amounts { waiting_bytes, frozen_bytes, refused_bytes, damaged_bytes, .. } = self.amounts;
        let bytes = waiting_bytes + frozen_bytes + refused_bytes + damaged_bytes;
        if bytes + frames.len() as u64 > self.bytes_max {
            return Err(SpoolError::Full { bytes, bytes_max: self.bytes_max, refused_bytes });
        }
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin_segment()?,
        };
        let path = self.segment(active.number);
        if let Err(cause) = active.file.write_all(frames).and_then(|()| (self.hook)("frames written")) {
            // Half a frame must not stay: the next push would come to stand behind it.
            let cut = active.file.set_len(active.length);
            if cut.is_err() {
                self.broken = true;
            } else {
                self.active = Some(active);
            }
            return Err(io_error("write", &path)(cause));
        }
        if let Err(cause) = active.file.sync_data().and_then(|()| (self.hook)("frames synced")) {
            // What the disk has is not known after a failed sync, and another sync would not tell.
            self.broken = true;
            return Err(io_error("sync", &path)(cause));
        }
        active.length += frames.len() as u64;
        self.amounts.waiting_bytes += frames.len() as u64;
        self.amounts.waiting_records += records;
        if active.length < limits::SPOOL_SEGMENT_BYTES {
            self.active = Some(active);
        }
        Ok(())
    }

    /// The oldest request, made of the oldest segment if there is none yet. `None` when the spool is empty.
    pub(super) fn next(
        &mut self,
        body_limits: BodyLimits,
        pack: &dyn Fn(Vec<u8>) -> (Bytes, bool),
    ) -> Result<Option<FrozenRequest>, SpoolError> {
        loop {
            if self.broken {
                return Err(SpoolError::Broken);
            }
            self.remove_leftovers()?;
            for number in self.numbers("frozen", "")? {
                let folder = self.frozen(number);
                for file in list(&folder)?.into_iter().filter(|file| has_extension(file, "req")) {
                    match read_request(&file)? {
                        Some(request) => return Ok(Some(request)),
                        None => self.set_damaged_aside(&file)?,
                    }
                }
                fs::remove_dir_all(&folder).map_err(io_error("remove", &folder))?;
                self.step("frozen folder removed", &folder)?;
            }
            let Some(oldest) = self.numbers("waiting", ".log")?.into_iter().next() else {
                return Ok(None);
            };
            self.freeze(oldest, body_limits, pack)?;
        }
    }

    /// The receiver has it.
    pub(super) fn done(&mut self, request: &FrozenRequest) -> Result<(), SpoolError> {
        let length = length(&request.file)?;
        fs::remove_file(&request.file).map_err(io_error("remove", &request.file))?;
        self.step("request removed", &request.file)?;
        sync_parent(&request.file)?;
        self.amounts.frozen_bytes = self.amounts.frozen_bytes.saturating_sub(length);
        self.amounts.frozen_records = self.amounts.frozen_records.saturating_sub(request.records);
        Ok(())
    }

    /// The receiver refuses it for what it holds: sets it aside with what was said. Gives where.
    pub(super) fn refuse(&mut self, request: &FrozenRequest, reply: &Value) -> Result<PathBuf, SpoolError> {
        let folder = self.root.join("refused");
        let number = request.file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let stem = request.file.file_stem().unwrap_or_default().to_string_lossy();
        let (aside, told) =
            (folder.join(format!("{number}-{stem}.req")), folder.join(format!("{number}-{stem}.reply.json")));
        // The reply first: a request without one could not be judged by whoever finds it.
        write_synced(&told, format!("{reply:#}\n").as_bytes())?;
        self.step("reply written", &told)?;
        let length = length(&request.file)?;
        fs::rename(&request.file, &aside).map_err(io_error("set aside", &request.file))?;
        self.step("request set aside", &aside)?;
        sync_dir(&folder)?;
        sync_parent(&request.file)?;
        self.amounts.frozen_bytes = self.amounts.frozen_bytes.saturating_sub(length);
        self.amounts.frozen_records = self.amounts.frozen_records.saturating_sub(request.records);
        self.amounts.refused_bytes += length;
        self.amounts.refused_requests += 1;
        Ok(aside)
    }

    /// Puts all that was refused back behind what is frozen, to be sent again as it was. Gives how many requests.
    pub(super) fn requeue_refused(&mut self) -> Result<u64, SpoolError> {
        let refused = self.root.join("refused");
        let files: Vec<PathBuf> = list(&refused)?.into_iter().filter(|file| has_extension(file, "req")).collect();
        if files.is_empty() {
            return Ok(0);
        }
        let folder = self.frozen(self.next_number);
        self.next_number += 1;
        make_dir(&folder)?;
        sync_parent(&folder)?;
        for (index, file) in files.iter().enumerate() {
            let to = folder.join(format!("{index:06}.req"));
            fs::rename(file, &to).map_err(io_error("put back", file))?;
            self.step("request put back", &to)?;
            let told = file.with_extension("reply.json");
            if told.exists() {
                fs::remove_file(&told).map_err(io_error("remove", &told))?;
            }
        }
        sync_dir(&folder)?;
        sync_dir(&refused)?;
        self.count()?;
        Ok(files.len() as u64)
    }

    /// What an earlier process left: cuts the newest segment's torn tail, removes what was half made, counts the rest.
    fn recover(&mut self) -> Result<(), SpoolError> {
        self.remove_leftovers()?;
        for told in list(&self.root.join("refused"))? {
            // A reply to a request that was not set aside after all, or that was put back.
            let name = told.file_name().unwrap_or_default().to_string_lossy();
            if let Some(stem) = name.strip_suffix(".reply.json")
                && !told.with_file_name(format!("{stem}.req")).exists()
            {
                fs::remove_file(&told).map_err(io_error("remove", &told))?;
            }
        }
        let frozen = self.numbers("frozen", "")?;
        let waiting = self.numbers("waiting", ".log")?;
        // Refused requests keep the number that they had, so that is taken too.
        let refused = list(&self.root.join("refused"))?.into_iter().filter_map(|file| {
            let name = file.file_name()?.to_str()?.split_once('-')?.0.to_owned();
            name.parse::<u64>().ok()
        });
        let highest = frozen.iter().chain(&waiting).copied().chain(refused).max();
        self.next_number = highest.unwrap_or(0) + 1;

        if let Some(newest) = waiting.last() {
            let path = self.segment(*newest);
            let bytes = fs::read(&path).map_err(io_error("read", &path))?;
            let end = scan(&bytes).end;
            if end < bytes.len() {
                // Pushes that were cut off before they were acknowledged. What is not at the end was, and stays.
                let file = OpenOptions::new().write(true).open(&path).map_err(io_error("open", &path))?;
                let cut = file.set_len(end as u64).and_then(|()| file.sync_all());
                cut.map_err(io_error("cut the tail of", &path))?;
            }
        }
        self.count()
    }

    /// Requests that were not frozen to the end, and segments whose requests are frozen: what a stop, or a step that
    /// failed, left of [`Disk::freeze`].
    fn remove_leftovers(&mut self) -> Result<(), SpoolError> {
        let mut found = false;
        for entry in list(&self.root.join("frozen"))?.into_iter().filter(|entry| has_extension(entry, "new")) {
            found = true;
            fs::remove_dir_all(&entry).map_err(io_error("remove", &entry))?;
        }
        for number in self.numbers("frozen", "")? {
            let segment = self.segment(number);
            if segment.exists() {
                found = true;
                fs::remove_file(&segment).map_err(io_error("remove", &segment))?;
                sync_parent(&segment)?;
            }
        }
        if found { self.count() } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), SpoolError> {
        let mut amounts = Amounts::default();
        for number in self.numbers("waiting", ".log")? {
            let path = self.segment(number);
            let bytes = fs::read(&path).map_err(io_error("read", &path))?;
            amounts.waiting_bytes += bytes.len() as u64;
            amounts.waiting_records += scan(&bytes).records.len() as u64;
        }
        for number in self.numbers("frozen", "")? {
            for file in list(&self.frozen(number))? {
                amounts.frozen_bytes += length(&file)?;
                amounts.frozen_records += read_request(&file)?.map_or(0, |request| request.records);
            }
        }
        for file in list(&self.root.join("refused"))?.into_iter().filter(|file| has_extension(file, "req")) {
            amounts.refused_bytes += length(&file)?;
            amounts.refused_requests += 1;
        }
        for file in list(&self.root.join("damaged"))? {
            amounts.damaged_bytes += length(&file)?;
        }
        self.amounts = amounts;
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<Active, SpoolError> {
        let number = self.next_number;
        let path = self.segment(number);
        // Appending, so that a push after one that failed and was cut off stands where that one stood.
        let file = file_options().append(true).create_new(true).open(&path).map_err(io_error("create", &path))?;
        self.next_number += 1;
        self.step("segment created", &path)?;
        sync_parent(&path)?;
        Ok(Active { file, number, length: 0 })
    }

    /// Makes requests of a segment, then removes it.
    fn freeze(
        &mut self,
        number: u64,
        body_limits: BodyLimits,
        pack: &dyn Fn(Vec<u8>) -> (Bytes, bool),
    ) -> Result<(), SpoolError> {
        if self.active.as_ref().is_some_and(|active| active.number == number) {
            self.active = None;
        }
        let segment = self.segment(number);
        let bytes = fs::read(&segment).map_err(io_error("read", &segment))?;
        let Scan { records, mut damaged, end } = scan(&bytes);
        if end < bytes.len() {
            // A torn tail was cut at the start, so this was acknowledged once.
            damaged.push(end..bytes.len());
        }
        for range in damaged {
            let aside = self.root.join("damaged").join(format!("{number:020}-{}.bin", range.start));
            self.amounts.damaged_bytes += range.len() as u64;
            write_synced(&aside, &bytes[range])?;
            sync_parent(&aside)?;
        }

        let count = records.len() as u64;
        // The limit may have been lowered since they were pushed; such records go alone, and the receiver says what it
        // thinks of them.
        let is_large = |(import, element): &(Import<'static>, Vec<u8>)| {
            import.envelope_bytes() + element.len() > body_limits.bytes_max
        };
        let (large, fitting): (Vec<_>, Vec<_>) = records.into_iter().partition(is_large);
        let mut requests = plan(fitting, body_limits).expect("what does not fit was taken out");
        let alone = BodyLimits { bytes_max: usize::MAX, records_max: 1 };
        requests.extend(plan(large, alone).expect("nothing is too large for no limit"));

        let (new, frozen) = (self.root.join("frozen").join(format!("{number:020}.new")), self.frozen(number));
        make_dir(&new)?;
        let mut frozen_bytes = 0;
        for (index, request) in requests.iter().enumerate() {
            let (body, gzip) = pack(request.body());
            let records = request.items.len() as u64;
            let head = RequestHead { path: request.import.path(), gzip, records, hash: xxh3_64(&body) };
            let mut file = serde_json::to_vec(&head).expect("a head is always JSON");
            file.push(b'\n');
            file.extend_from_slice(&body);
            let path = new.join(format!("{index:06}.req"));
            write_synced(&path, &file)?;
            self.step("request written", &path)?;
            frozen_bytes += file.len() as u64;
        }
        sync_dir(&new)?;
        fs::rename(&new, &frozen).map_err(io_error("rename", &new))?;
        self.step("requests frozen", &frozen)?;
        sync_parent(&frozen)?;
        fs::remove_file(&segment).map_err(io_error("remove", &segment))?;
        self.step("segment removed", &segment)?;
        // Before anything is sent: if the segment came back after its requests are gone, all would be sent twice.
        sync_parent(&segment)?;
        self.amounts.waiting_bytes = self.amounts.waiting_bytes.saturating_sub(bytes.len() as u64);
        self.amounts.waiting_records = self.amounts.waiting_records.saturating_sub(count);
        self.amounts.frozen_bytes += frozen_bytes;
        self.amounts.frozen_records += count;
        Ok(())
    }

    fn set_damaged_aside(&mut self, file: &Path) -> Result<(), SpoolError> {
        let number = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.root.join("damaged").join(format!("{number}-{name}"));
        fs::rename(file, &aside).map_err(io_error("set aside", file))?;
        sync_parent(&aside)?;
        self.count()
    }

    /// The numbers of what is in this folder under a name of a number and this ending, ascending.
    fn numbers(&self, folder: &str, ending: &str) -> Result<Vec<u64>, SpoolError> {
        let number = |path: PathBuf| path.file_name()?.to_str()?.strip_suffix(ending)?.parse().ok();
        let mut numbers: Vec<u64> = list(&self.root.join(folder))?.into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.root.join("waiting").join(format!("{number:020}.log"))
    }

    fn frozen(&self, number: u64) -> PathBuf {
        self.root.join("frozen").join(format!("{number:020}"))
    }

    fn step(&self, name: &'static str, path: &Path) -> Result<(), SpoolError> {
        (self.hook)(name).map_err(io_error(name, path))
    }
}

/// Writes whose the spool is, or checks it.
fn claim(root: &Path, instance: &str) -> Result<(), SpoolError> {
    let path = root.join("spool.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = json!({"format": FORMAT, "instance": instance}).to_string();
            let new = root.join("spool.json.new");
            write_synced(&new, text.as_bytes())?;
            return fs::rename(&new, &path).map_err(io_error("rename", &new));
        }
        Err(cause) => return Err(io_error("read", &path)(cause)),
    };
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let format = json["format"].as_u64().unwrap_or_default();
    if format != FORMAT {
        return Err(SpoolError::Format { dir: root.to_owned(), format });
    }
    let owner = json["instance"].as_str().unwrap_or_default();
    if owner != instance {
        let (owner, asked) = (owner.to_owned(), instance.to_owned());
        return Err(SpoolError::Foreign { dir: root.to_owned(), owner, asked });
    }
    Ok(())
}

/// `None` when the file is not what was written.
fn read_request(file: &Path) -> Result<Option<FrozenRequest>, SpoolError> {
    let bytes = Bytes::from(fs::read(file).map_err(io_error("read", file))?);
    let Some(line) = memchr::memchr(b'\n', &bytes) else { return Ok(None) };
    let Ok(head) = serde_json::from_slice::<RequestHead>(&bytes[..line]) else { return Ok(None) };
    let body = bytes.slice(line + 1..);
    if xxh3_64(&body) != head.hash {
        return Ok(None);
    }
    let RequestHead { path, gzip, records, .. } = head;
    Ok(Some(FrozenRequest { file: file.to_owned(), path, gzip, records, body }))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError + use<> {
    let path = path.to_owned();
    move |cause| SpoolError::Io { what, path, cause }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// What is in a folder, by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.map_err(io_error("list", folder))?;
    paths.sort();
    Ok(paths)
}

fn length(file: &Path) -> Result<u64, SpoolError> {
    Ok(fs::metadata(file).map_err(io_error("look at", file))?.len())
}

/// Makes a folder that only its owner may read: logs are nobody else's business.
fn make_dir(path: &Path) -> Result<(), SpoolError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(io_error("create", path))
}

fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    let write = || {
        let mut file = file_options().create(true).truncate(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error("write", path))
}

fn sync_parent(path: &Path) -> Result<(), SpoolError> {
    sync_dir(path.parent().expect("a spool's files are in a folder"))
}

/// Makes the names in a folder durable. Only Unix lets a program ask for it.
fn sync_dir(path: &Path) -> Result<(), SpoolError> {
    if cfg!(unix) {
        File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("sync", path))?;
    }
    Ok(())
}
