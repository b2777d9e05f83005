//! `log ingest --follow`: sends the lines of files that grow, across rotation, and loses none.
//!
//! A follower goes through the files that have stood under its path, oldest first ([`Generation`]). It notices a new one
//! by its inode (renamed and made anew) and a truncated one by its content (copied and truncated), and reads the old one
//! to its end before it goes on: a renamed file from the handle that it still holds, a truncated one from its copy. What
//! it reads becomes a batch, is written down ([`Place`]), sent, and crossed out. While the receiver is away it waits, and
//! keeps an eye on the path meanwhile.
//!
//! Absent on purpose: a spool, since the file is one; the system's notices of changes, since a look every quarter of a
//! second costs nothing and also works where there are none; rotated files that were compressed meanwhile, which are
//! named as missing.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, HumanCount};
use penstock_client::{BatchResult, Chronicle, Error};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};

use super::batch::{Kind, Logs, Stamps};
use super::lines::Lines;
use super::place::{FileId, Keeper, Pending, Place};
use super::read::Record;
use super::send::{check_log_type, count};
use crate::cli::output::{Format, say};
use crate::cli::target::{Patience, Target, TargetArgs};
use crate::cli::{CliError, Remote};
use crate::serve;

/// How often a path is looked at.
const POLL: Duration = Duration::from_millis(250);
/// How much of a file is read at once: more than the longest line that can be sent.
const WINDOW_BYTES: usize = 4 << 20;
/// How long a request in flight may still take when the follower is asked to stop.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// File times may be so far behind the clock: they count ticks of the system.
const FILE_CLOCK_LATE: Duration = Duration::from_millis(10);
/// How often a folder is listed whose files are being renamed, and how long is waited in between.
const LIST_TRIES_MAX: u32 = 20;
const LIST_WAIT: Duration = Duration::from_millis(5);
/// Longest wait before a receiver that is away is asked again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How to follow.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the place is kept; only with one path.
    pub state: Option<PathBuf>,
    /// Without a kept place, begin at the end.
    pub from_end: bool,
    /// How long a rotated file must have been quiet before it is left: its writer may still hold it.
    pub rotate_wait: Duration,
}

/// Follows these paths until a signal says to stop.
pub async fn run(
    remote: &Remote,
    args: &TargetArgs,
    logs: Logs,
    force: bool,
    paths: &[PathBuf],
    options: &Options,
) -> Result<(), CliError> {
    for path in paths {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(CliError::Usage(format!(
                "--follow takes files, and {} is none; what a program writes comes by a pipe and -",
                path.display()
            )));
        }
    }
    let (stop, stopping) = watch::channel(false);
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let listening = tokio::spawn({
        let stop = stop.clone();
        async move {
            if let [Ok(terminate), Ok(interrupt)] = &mut signals {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                stop.send_replace(true);
            }
        }
    });

    let Some(target) = connect(remote, args, &logs.log_type, force, stopping.clone()).await? else {
        tell_end(remote.output, &[]);
        return Ok(());
    };
    let (target, kind) = (Arc::new(target), Arc::new(Kind::Logs(logs)));
    let mut followers = JoinSet::new();
    for path in paths {
        let follower = Follower::open(&target, &kind, path, options, stopping.clone())?;
        followers.spawn(follower.run());
    }
    let mut result = Ok(());
    let mut ends = Vec::new();
    while let Some(ended) = followers.join_next().await {
        match ended {
            Ok(Ok(end)) => ends.push(end),
            // The first error ends all: it is told, and whoever supervises this starts it again.
            Ok(Err(error)) => {
                stop.send_replace(true);
                result = result.and(Err(error));
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    listening.abort();
    ends.sort_by(|a, b| a.path.cmp(&b.path));
    tell_end(target.format, &ends);
    result
}

/// The receiver, once it answers. `None` when a signal came first.
async fn connect(
    remote: &Remote,
    args: &TargetArgs,
    log_type: &str,
    force: bool,
    mut stopping: watch::Receiver<bool>,
) -> Result<Option<Target>, CliError> {
    let mut failures = 0;
    loop {
        let connected = async {
            let target = Target::connect(remote, args).await?;
            check_log_type(&target, log_type, force).await?;
            Ok(target)
        };
        let why = match connected.await {
            Ok(target) => return Ok(Some(target)),
            Err(CliError::Unreachable(why)) => why,
            Err(error) => return Err(error),
        };
        if failures == 0 {
            warn(&format!("{}; waiting for it", why.lines().next().unwrap_or_default()));
        }
        failures += 1;
        tokio::select! {
            () = stopped(&mut stopping) => return Ok(None),
            () = tokio::time::sleep(pause(failures)) => {}
        }
    }
}

/// What became of one path.
struct End {
    path: PathBuf,
    offset: u64,
    totals: Totals,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    records: u64,
    bytes: u64,
    batches: u64,
    repeated: u64,
    empty: u64,
    left_out: u64,
}

/// One of the files that stand, or stood, under the path.
struct Generation {
    file: File,
    id: FileId,
    /// It is the copy of a file that was truncated then, and does not grow any more.
    is_copy: bool,
}

struct Follower {
    path: PathBuf,
    target: Arc<Target>,
    chronicle: Chronicle,
    kind: Arc<Kind>,
    keeper: Keeper,
    place: Place,
    stamps: Stamps,
    /// Oldest first; the place is in the first, the last is or was the path's.
    generations: VecDeque<Generation>,
    /// When the first file had been changed last when what came before its beginning was looked for.
    begun: Option<SystemTime>,
    from_end: bool,
    rotate_wait: Duration,
    /// The path's new file cannot be read, and that was told.
    is_barred: bool,
    /// How far a line was looked through that is too long to be sent.
    long_line: Option<u64>,
    totals: Totals,
    stopping: watch::Receiver<bool>,
}

/// Why a follower cannot go on.
enum Trouble {
    /// The followed file, or its folder.
    File(io::Error),
    /// Anything else.
    Other(CliError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::File(error)
    }
}

impl From<CliError> for Trouble {
    fn from(error: CliError) -> Trouble {
        Trouble::Other(error)
    }
}

/// What there is to do.
enum Step {
    /// Nothing now.
    Idle,
    /// Something was done other than sending; look again.
    Again,
    /// To send these, which end here and carry this time.
    Send { records: Vec<Record>, to: u64, time: event::Time },
}

impl Follower {
    fn open(
        target: &Arc<Target>,
        kind: &Arc<Kind>,
        path: &Path,
        options: &Options,
        stopping: watch::Receiver<bool>,
    ) -> Result<Follower, CliError> {
        let (keeper, place) = Keeper::open(options.state.as_deref(), path, &target.identity())?;
        let mut follower = Follower {
            path: path.to_owned(),
            target: Arc::clone(target),
            chronicle: target.chronicle(Patience::None)?,
            kind: Arc::clone(kind),
            keeper,
            stamps: Stamps::after(place.time),
            place,
            generations: VecDeque::new(),
            begun: None,
            from_end: options.from_end,
            rotate_wait: options.rotate_wait,
            is_barred: false,
            long_line: None,
            totals: Totals::default(),
            stopping,
        };
        follower.find().map_err(|trouble| follower.explain(trouble))?;
        if follower.generations.is_empty() {
            warn(&format!("{} is not there yet; waiting for it", follower.path.display()));
        }
        Ok(follower)
    }

    async fn run(mut self) -> Result<End, CliError> {
        while !*self.stopping.borrow() {
            match block_in_place(|| self.step()).map_err(|trouble| self.explain(trouble))? {
                Step::Again => {}
                Step::Idle => {
                    tokio::select! {
                        () = stopped(&mut self.stopping) => break,
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Step::Send { records, to, time } => {
                    if !self.deliver(records, to, time).await? {
                        break;
                    }
                }
            }
        }
        Ok(End { path: self.path, offset: self.place.offset, totals: self.totals })
    }

    /// Sends a batch until it is taken. `false` when it was told to stop before: the batch stays written down.
    async fn deliver(&mut self, records: Vec<Record>, to: u64, time: event::Time) -> Result<bool, CliError> {
        let (chronicle, kind) = (self.chronicle.clone(), Arc::clone(&self.kind));
        let mut stopping = self.stopping.clone();
        let mut failures = 0;
        loop {
            let result = {
                let mut sending = std::pin::pin!(kind.send(&chronicle, &records, time));
                loop {
                    tokio::select! {
                        result = &mut sending => break Some(result),
                        () = stopped(&mut stopping) => {
                            break tokio::time::timeout(STOP_WAIT, &mut sending).await.ok();
                        }
                        // So that no file is missed that stands under the path only for a while.
                        () = tokio::time::sleep(POLL) => self.look().map_err(|trouble| self.explain(trouble))?,
                    }
                }
            };
            let error = match result {
                None => return Ok(false),
                Some(Ok(result)) => {
                    if failures > 0 {
                        warn(&format!("{} takes records again", self.target.address));
                    }
                    block_in_place(|| self.acknowledged(&records, to, time, &result))
                        .map_err(|trouble| self.explain(trouble))?;
                    return Ok(true);
                }
                Some(Err(error)) => error,
            };
            // Of several requests, those that were taken are recognised when all go out again.
            let error = match error {
                Error::Partial(mut partial) if !partial.failed.is_empty() => partial.failed.swap_remove(0).error,
                error => error,
            };
            if !error.is_transient() && !matches!(error, Error::UnexpectedReply { .. }) {
                let why = self.target.failed(&error);
                let place = format!(
                    "{} is followed no further than byte {}; start again once this is mended, nothing is lost.",
                    self.path.display(),
                    self.place.offset
                );
                return Err(match why {
                    CliError::Usage(why) => CliError::Usage(format!("{why}\n{place}")),
                    why => CliError::Refused(format!("{why}\n{place}")),
                });
            }
            if failures == 0 {
                let why = self.target.failed(&error).to_string();
                warn(&format!("{}; waiting for it", why.lines().next().unwrap_or_default()));
            }
            failures += 1;
            let wait = match error {
                Error::RateLimited { retry_after, .. } => retry_after,
                _ => pause(failures),
            };
            let until = tokio::time::Instant::now() + wait;
            while tokio::time::Instant::now() < until {
                tokio::select! {
                    () = stopped(&mut stopping) => return Ok(false),
                    () = tokio::time::sleep(POLL.min(wait)) => self.look().map_err(|trouble| self.explain(trouble))?,
                }
            }
        }
    }

    fn acknowledged(
        &mut self,
        records: &[Record],
        to: u64,
        time: event::Time,
        result: &BatchResult,
    ) -> Result<(), Trouble> {
        let from = self.place.offset;
        self.place.time = Some(time);
        self.go_to(to)?;
        let bytes: u64 = records.iter().map(|record| record.data.len() as u64).sum();
        let is_repeat = !result.accepted.is_empty() && result.accepted.iter().all(|request| request.repeat);
        self.totals.records += records.len() as u64;
        self.totals.bytes += bytes;
        self.totals.batches += result.accepted.len() as u64;
        if is_repeat {
            self.totals.repeated += records.len() as u64;
        }
        if self.target.format == Format::Ndjson {
            let operations: Vec<&str> = result.operations().collect();
            say(&json!({
                "file": self.path.display().to_string(), "from": from, "to": to, "records": records.len(),
                "bytes": bytes, "operations": operations, "repeat": is_repeat,
            })
            .to_string());
        }
        Ok(())
    }

    /// What there is to do next; does what is not sending.
    fn step(&mut self) -> Result<Step, Trouble> {
        self.look()?;
        let Some(front) = self.generations.front() else { return Ok(Step::Idle) };
        if !self.place.is_in(&front.file)? {
            self.truncated()?;
            return Ok(Step::Again);
        }
        let (offset, is_left) = (self.place.offset, self.is_left(front)?);
        if let Some(Pending { to, time, .. }) = self.place.pending.clone() {
            let mut bytes = vec![0; (to - offset) as usize];
            front.file.read_exact_at(&mut bytes, offset)?;
            return Ok(Step::Send { records: cut(&bytes, true, &self.kind).records, to, time });
        }
        if let Some(at) = self.long_line {
            return self.pass_long_line(at, is_left);
        }
        if offset == 0 && self.is_begun_anew()? {
            return Ok(Step::Again);
        }
        let front = self.generations.front().expect("it is still there");
        let bytes = read_window(&front.file, offset)?;
        // It may have been truncated and grown again in between; then this is not what stands behind the place.
        if !self.place.is_in(&front.file)? || (offset == 0 && self.begun != front.file.metadata()?.modified().ok()) {
            return Ok(Step::Again);
        }
        let is_end = bytes.len() < WINDOW_BYTES;
        let cut = cut(&bytes, is_left && is_end, &self.kind);
        if cut.used == 0 && !is_end {
            self.long_line = Some(offset);
            return Ok(Step::Again);
        }
        if cut.used == 0 && is_left {
            self.next_generation()?;
            return Ok(Step::Again);
        }
        if cut.used == 0 {
            return Ok(Step::Idle);
        }
        self.totals.empty += cut.empty;
        for (at, length) in &cut.too_long {
            self.leave_out(offset + *at as u64, *length as u64);
        }
        let to = offset + cut.used as u64;
        if cut.records.is_empty() {
            self.go_to(to)?;
            return Ok(Step::Again);
        }
        let time = self.stamps.next(serve::now());
        self.place.pending = Some(Pending::new(offset, &bytes[..cut.used], time));
        self.save()?;
        Ok(Step::Send { records: cut.records, to, time })
    }

    /// Whether nothing more will be written to the first file.
    fn is_left(&self, front: &Generation) -> io::Result<bool> {
        if self.generations.len() < 2 {
            return Ok(false);
        }
        let quiet = SystemTime::now().duration_since(front.file.metadata()?.modified()?);
        Ok(front.is_copy || quiet.is_ok_and(|quiet| quiet >= self.rotate_wait))
    }

    /// Nothing was read of the first file yet, so nothing tells whether it is still what it was when it came first. If it
    /// was copied and truncated since, its copies come before it.
    fn is_begun_anew(&mut self) -> Result<bool, Trouble> {
        let front = self.generations.front().expect("it is looked at");
        let modified = front.file.metadata()?.modified()?;
        if self.begun == Some(modified) {
            return Ok(false);
        }
        self.begun = Some(modified);
        let mut copies = self.rotated_since(self.saved_at(), &[])?;
        // A copy is older than the truncation that followed it. What is newer than this file comes after it.
        copies
            .retain(|copy| copy.file.metadata().and_then(|found| found.modified()).is_ok_and(|time| time <= modified));
        if copies.is_empty() {
            return Ok(false);
        }
        for copy in copies.into_iter().rev() {
            self.generations.push_front(Generation { is_copy: true, ..copy });
        }
        let front = self.generations.front().expect("there is a copy");
        self.place.move_to(&front.file, front.id, 0)?;
        self.save()?;
        Ok(true)
    }

    /// When the place was written down last, by the clock of files, which is a little late.
    fn saved_at(&self) -> Option<SystemTime> {
        let nanos = u64::try_from(self.place.saved_at?.nanos()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos).saturating_sub(FILE_CLOCK_LATE))
    }

    /// Leaves the first file for the next one, or, if there is none, begins it again.
    fn next_generation(&mut self) -> Result<(), Trouble> {
        if self.generations.len() > 1
            && let Some(left) = self.generations.pop_front()
        {
            self.place.leave(left.id);
            // Copies that were made of a later one while this one was read, which took long if the receiver was away.
            self.put_first_what_came_after(&left)?;
        }
        self.begun = None;
        let front = self.generations.front().expect("the last one stays");
        self.place.move_to(&front.file, front.id, 0)?;
        Ok(self.save()?)
    }

    /// Files that were rotated away later than this one, and of which nothing is known yet, come before all others.
    fn put_first_what_came_after(&mut self, left: &Generation) -> Result<(), Trouble> {
        let after = self.rotated_since(Some(left.file.metadata()?.modified()?), &[])?;
        for found in after.into_iter().rev() {
            self.generations.push_front(found);
        }
        Ok(())
    }

    /// The first file does not hold any more what was read of it: its rest is in a copy, if anywhere.
    fn truncated(&mut self) -> Result<(), Trouble> {
        let passed = self.generations.front().map(|front| front.id);
        match self.search(passed)? {
            Some(copy) => {
                self.generations.push_front(copy);
                Ok(())
            }
            None => {
                self.tell_missing();
                self.next_generation()
            }
        }
    }

    /// Looks whether another file stands under the path.
    fn look(&mut self) -> Result<(), Trouble> {
        let current = match open_regular(&self.path) {
            Ok(Some(current)) => current,
            Ok(None) => return Ok(()),
            // A new file may get its owner and mode a moment after its name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.generations.is_empty() => {
                if !std::mem::replace(&mut self.is_barred, true) {
                    warn(&format!("{}: {error}; waiting until it can be read", self.path.display()));
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.is_barred = false;
        if self.generations.back().is_some_and(|back| back.id == current.id && !back.is_copy) {
            return Ok(());
        }
        if self.generations.is_empty() {
            let offset = if self.from_end { last_line_start(&current.file)? } else { 0 };
            self.from_end = false;
            self.place.move_to(&current.file, current.id, offset)?;
            self.save()?;
        } else if let Some(back) = self.generations.back() {
            // One that stood there for less than the time between two looks.
            let since = back.file.metadata()?.modified()?;
            let between = self.rotated_since(Some(since), &[current.id])?;
            self.generations.extend(between);
        }
        self.place.meet(current.id);
        self.generations.push_back(current);
        Ok(())
    }

    /// At the start: the file that the place is in, and those that came after it.
    fn find(&mut self) -> Result<(), Trouble> {
        if self.place.file.is_none() {
            return self.look();
        }
        self.from_end = false;
        let current = open_regular(&self.path)?;
        if let Some(current) = &current {
            self.place.meet(current.id);
        }
        let is_own = match &current {
            Some(current) => self.is_known(current) && self.place.is_in(&current.file)?,
            None => false,
        };
        if is_own {
            self.generations.extend(current);
            return Ok(());
        }
        if let Some(own) = self.search(None)? {
            let since = own.file.metadata()?.modified()?;
            let others: Vec<FileId> = current.iter().map(|current| current.id).chain([own.id]).collect();
            let between = self.rotated_since(Some(since), &others)?;
            self.generations.push_back(own);
            self.generations.extend(between);
            self.generations.extend(current);
            return Ok(());
        }
        self.tell_missing();
        let others: Vec<FileId> = current.iter().map(|current| current.id).collect();
        self.generations = self.rotated_since(self.saved_at(), &others)?;
        self.generations.extend(current);
        match self.generations.front() {
            Some(front) => self.place.move_to(&front.file, front.id, 0)?,
            None => self.place.forget(),
        }
        Ok(self.save()?)
    }

    /// Whether a file that holds what was read is known to be the one: by its number, or by enough that it holds.
    fn is_known(&self, generation: &Generation) -> bool {
        self.place.file == Some(generation.id) || self.place.has_marks()
    }

    /// The file that the place is in among those beside the path: by its number, else by what it holds.
    fn search(&self, passed: Option<FileId>) -> io::Result<Option<Generation>> {
        self.beside(|siblings| {
            let mut by_content = None;
            for (path, _) in siblings {
                // Files come and go while this looks, and some may be nobody's to read.
                let Ok(Some(found)) = open_regular(path) else { continue };
                if passed == Some(found.id) || !self.place.is_in(&found.file)? {
                    continue;
                }
                if self.place.file == Some(found.id) {
                    return Ok(Some(found));
                }
                if self.place.has_marks() && by_content.is_none() {
                    by_content = Some(Generation { is_copy: true, ..found });
                }
            }
            Ok(by_content)
        })
    }

    /// Files that were rotated away since then, by the look of their names, oldest first; not these, nor any that is known.
    fn rotated_since(&self, since: Option<SystemTime>, others: &[FileId]) -> io::Result<VecDeque<Generation>> {
        let base = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.beside(|siblings| {
            let mut found = VecDeque::new();
            // The newest come first.
            for (path, metadata) in siblings {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let (id, modified) = (FileId::of(metadata), metadata.modified()?);
                let is_meant = is_rotated_name(&base, &name)
                    && since.is_none_or(|since| modified > since)
                    && !others.contains(&id)
                    && !self.place.has_left(id)
                    && self.generations.iter().all(|known| known.id != id);
                if is_meant && let Some(generation) = open_regular(path)? {
                    found.push_front(generation);
                }
            }
            Ok(found)
        })
    }

    /// What `scan` finds among the files beside the path. While others rename them, a list of names may lack a file that
    /// is there all the time; so this is done again until nothing was renamed meanwhile.
    fn beside<T>(&self, scan: impl Fn(&[(PathBuf, Metadata)]) -> io::Result<T>) -> io::Result<T> {
        let names = |siblings: &[(PathBuf, Metadata)]| {
            let mut names: Vec<_> = siblings.iter().map(|(path, found)| (path.clone(), FileId::of(found))).collect();
            names.sort();
            names
        };
        let mut tries = 0;
        loop {
            let before = self.siblings();
            let found = scan(&before)?;
            tries += 1;
            // In a folder that never rests, what was found is as good as it gets.
            if tries == LIST_TRIES_MAX || names(&before) == names(&self.siblings()) {
                return Ok(found);
            }
            std::thread::sleep(LIST_WAIT);
        }
    }

    /// Regular files beside the path, and beside what it points at; newest first.
    fn siblings(&self) -> Vec<(PathBuf, Metadata)> {
        let folder = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut folders = vec![folder(&self.path)];
        if let Ok(real) = self.path.canonicalize() {
            folders.push(folder(&real));
        }
        // By number, since two names of a folder are two folders to the eye only.
        let mut found = HashMap::new();
        for folder in folders {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                if let Ok(metadata) = entry.metadata()
                    && metadata.is_file()
                {
                    found.entry(FileId::of(&metadata)).or_insert((entry.path(), metadata));
                }
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by_key(|(_, metadata)| std::cmp::Reverse(metadata.modified().ok()));
        found
    }

    /// Goes on behind a line that is too long, once its end is there; up to `at` it was looked through.
    fn pass_long_line(&mut self, mut at: u64, is_left: bool) -> Result<Step, Trouble> {
        let front = self.generations.front().expect("the line is in it");
        let (end, line_end) = loop {
            let bytes = read_window(&front.file, at)?;
            let is_end = bytes.len() < WINDOW_BYTES;
            match memchr::memchr(b'\n', &bytes) {
                Some(end) => break (at + end as u64 + 1, 1),
                None if is_end && is_left => break (at + bytes.len() as u64, 0),
                None if is_end => {
                    self.long_line = Some(at);
                    return Ok(Step::Idle);
                }
                None => at += bytes.len() as u64,
            }
        };
        self.long_line = None;
        self.leave_out(self.place.offset, end - line_end - self.place.offset);
        self.go_to(end)?;
        Ok(Step::Again)
    }

    fn leave_out(&mut self, at: u64, length: u64) {
        self.totals.left_out += 1;
        warn(&format!(
            "{}: the line at byte {at} has {length} bytes, more than the {} that one may have; it is not sent",
            self.path.display(),
            self.kind.record_bytes_max()
        ));
    }

    fn tell_missing(&self) {
        warn(&format!(
            "{}: the file that was followed is not found any more, rotated and then removed or compressed; what it held \
             behind byte {} is missing",
            self.path.display(),
            self.place.offset
        ));
    }

    /// Everything of the first file before this offset is done with.
    fn go_to(&mut self, offset: u64) -> Result<(), Trouble> {
        let front = self.generations.front().expect("the place is in it");
        if self.place.is_in(&front.file)? {
            match self.place.move_to(&front.file, front.id, offset) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                moved => {
                    moved?;
                    return Ok(self.save()?);
                }
            }
        }
        // Truncated since it was read. What was done with is in the copy, and so is the rest.
        let passed = Some(front.id);
        match self.search(passed)? {
            Some(copy) => {
                self.place.move_to(&copy.file, copy.id, offset)?;
                self.generations.push_front(copy);
                Ok(self.save()?)
            }
            None => {
                self.tell_missing();
                self.next_generation()
            }
        }
    }

    fn save(&mut self) -> Result<(), CliError> {
        self.keeper.save(&mut self.place, serve::now())
    }

    fn explain(&self, trouble: Trouble) -> CliError {
        match trouble {
            Trouble::File(error) => CliError::Refused(format!("cannot read {}: {error}", self.path.display())),
            Trouble::Other(error) => error,
        }
    }
}

/// What is cut off the bytes behind the place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    records: Vec<Record>,
    /// How many bytes that are, with what lies between.
    used: usize,
    empty: u64,
    /// Where lines begin that are too long, and how long they are.
    too_long: Vec<(usize, usize)>,
}

/// Cuts one request's worth of whole lines. With `ended` nothing follows the bytes, and what has no end is a line, too.
fn cut(bytes: &[u8], ended: bool, kind: &Kind) -> Cut {
    let bytes_max = kind.record_bytes_max();
    let mut cut = Cut::default();
    // Where each record ends, and how much of the rest had been seen by then.
    let mut ends = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match memchr::memchr(b'\n', &bytes[at..]) {
            Some(end) => at + end + 1,
            None if ended => bytes.len(),
            None => break,
        };
        let mut lines = Lines::new(bytes_max);
        let mut each = |line: Result<super::lines::Line, super::lines::TooLong>| match line {
            Ok(line) => {
                cut.records.push(Record { data: line.data, input: 0, line: 0 });
                ends.push((end, cut.empty, cut.too_long.len()));
            }
            Err(long) => cut.too_long.push((at, long.bytes as usize)),
        };
        lines.push(&bytes[at..end], &mut each);
        lines.end(&mut each);
        cut.empty += lines.empty;
        at = end;
        cut.used = at;
    }
    if !cut.records.is_empty() {
        let count = kind.fitting(&cut.records);
        if count < cut.records.len() {
            let (end, empty, too_long) = ends[count - 1];
            cut.records.truncate(count);
            cut.too_long.truncate(too_long);
            (cut.used, cut.empty) = (end, empty);
        }
    }
    cut
}

/// Whether a name looks like that of an older one of these files: `app.log.1`, `app.log-20261121`. Only figures and what
/// stands between them, so that nothing is sent that somebody else keeps there.
fn is_rotated_name(base: &str, name: &str) -> bool {
    name.strip_prefix(base).is_some_and(|rest| {
        rest.starts_with(['.', '-', '_'])
            && rest.bytes().any(|byte| byte.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_digit() || b".-_T:".contains(&byte))
    })
}

/// The file under a path; `None` where there is none.
fn open_regular(path: &Path) -> io::Result<Option<Generation>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    Ok(Some(Generation { id: FileId::of(&metadata), file, is_copy: false }))
}

/// Up to a window of what stands there.
fn read_window(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; WINDOW_BYTES.min(file.metadata()?.len().saturating_sub(offset) as usize)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Where the last line begins that has no end yet.
fn last_line_start(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let from = end.saturating_sub(WINDOW_BYTES as u64);
        let mut bytes = vec![0; (end - from) as usize];
        file.read_exact_at(&mut bytes, from)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// Over when the follower is to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(RETRY_MAX)
}

/// For whoever reads what services complain of.
fn warn(text: &str) {
    eprintln!("penstock: {text}");
}

fn tell_end(format: Format, ends: &[End]) {
    let files: Vec<Value> = ends
        .iter()
        .map(|End { path, offset, totals }| {
            json!({
                "file": path.display().to_string(), "offset": offset, "records": totals.records, "bytes": totals.bytes,
                "batches": totals.batches, "repeated": totals.repeated, "empty_lines": totals.empty,
                "left_out": totals.left_out,
            })
        })
        .collect();
    match format {
        Format::Table => {
            for End { path, offset, totals } in ends {
                say(&format!(
                    "Followed {} up to byte {}: {} ({}) in {}.",
                    path.display(),
                    HumanCount(*offset),
                    count(totals.records, "record"),
                    HumanBytes(totals.bytes),
                    count(totals.batches, "batch")
                ));
            }
        }
        format => format.one(&json!({ "done": true, "files": files })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> Kind {
        Kind::Logs(Logs { log_type: "OKTA".to_owned(), ..Logs::default() })
    }

    #[test]
    fn whole_lines_are_cut_off_and_the_last_waits_for_its_end() {
        let cases: [(&[u8], bool, &[&[u8]], usize, u64); 8] = [
            (b"", false, &[], 0, 0),
            (b"begun", false, &[], 0, 0),
            (b"begun", true, &[b"begun"], 5, 0),
            (b"one\ntwo\nbegun", false, &[b"one", b"two"], 8, 0),
            (b"one\ntwo\nbegun", true, &[b"one", b"two", b"begun"], 13, 0),
            (b"\n\r\nx\r\n\n", false, &[b"x"], 7, 3),
            (b"\n\n", false, &[], 2, 2),
            (b"\xff\xfe\n", false, &[b"\xff\xfe"], 3, 0),
        ];
        for (bytes, ended, records, used, empty) in cases {
            let cut = cut(bytes, ended, &kind());
            let found: Vec<&[u8]> = cut.records.iter().map(|record| record.data.as_slice()).collect();
            assert_eq!((found, cut.used, cut.empty), (records.to_vec(), used, empty), "{bytes:?} {ended}");
        }
    }

    #[test]
    fn a_cut_is_one_request_and_the_same_bytes_make_the_same_cut() {
        let kind = kind();
        let line = |number: usize| format!("{number:0>200}\r\n\r\n");
        let text: String = (0..18_000).map(line).collect();
        let mut at = 0;
        let mut records = Vec::new();
        let mut empty = 0;
        while at < text.len() {
            let window = &text.as_bytes()[at..text.len().min(at + WINDOW_BYTES)];
            let first = cut(window, false, &kind);
            assert!(first.used > 0 && first.records.len() <= 10_000);
            // What was written down is cut out again after a restart.
            let again = cut(&window[..first.used], true, &kind);
            assert_eq!((&again.records, again.used), (&first.records, first.used));
            at += first.used;
            empty += first.empty;
            records.extend(first.records);
        }
        assert_eq!((records.len(), empty), (18_000, 18_000));
        assert_eq!(records[17_999].data, format!("{:0>200}", 17_999).into_bytes());
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_told() {
        let kind = kind();
        let long = kind.record_bytes_max();
        let text =
            [b"a\n".to_vec(), vec![b'x'; long + 1], b"\nb\n".to_vec(), vec![b'y'; long], b"\n".to_vec()].concat();
        let first = cut(&text, false, &kind);
        let data: Vec<&[u8]> = first.records.iter().map(|record| record.data.as_slice()).collect();
        assert_eq!((data, &first.too_long), (vec![&b"a"[..], b"b"], &vec![(2, long + 1)]));
        let second = cut(&text[first.used..], false, &kind);
        assert_eq!((second.records.len(), second.records[0].data.len(), second.too_long.len()), (1, long, 0));
    }

    #[test]
    fn only_names_of_rotated_files_are_taken_for_such() {
        for name in ["app.log.1", "app.log.12", "app.log-20261121", "app.log.2026-11-21", "app.log_2026-11-21T22:00:00"]
        {
            assert!(is_rotated_name("app.log", name), "{name}");
        }
        for name in
            ["app.log", "app.log.gz", "app.log.1.gz", "app.log.bak", "app.log.", "app.logs.1", "app.log2", "other.1"]
        {
            assert!(!is_rotated_name("app.log", name), "{name}");
        }
    }
}
