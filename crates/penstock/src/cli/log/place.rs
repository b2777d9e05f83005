//! The place that a follower has reached in a file, kept on disk so that a stop at any moment loses nothing and repeats
//! only what the receiver recognises.
//!
//! ```text
//! { "format": 1, "path": …, "to": receiver and instance,
//!   "file": {device, inode}, "offset": bytes that the receiver has,
//!   "head", "tail": hashes of the first and the last bytes before the offset,
//!   "pending": {"to", "time", "hash"},  the batch that is being sent: bytes offset..to, with this time
//!   "time": of the batch before, "saved_at": now, "left": files that were read to their end }
//! ```
//!
//! A batch is written down here before it is sent for the first time, and crossed out when it was acknowledged. After a
//! kill the same bytes go out with the same time, which makes the same batch, and the receiver knows it. A file is known
//! by device and inode, and by what it holds before the offset: an inode number is used again, and a copy has another.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use event::Time;
use serde::{Deserialize, Serialize};

use crate::cli::CliError;
use crate::state;

const FORMAT: u32 = 1;

/// How many bytes at the beginning of a file, and how many before the offset, it is known by.
const MARK_BYTES: u64 = 1024;

/// How many files that were left are remembered: those that a second look could still take for new.
const LEFT_MAX: usize = 8;

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    format: u32,
    /// The file's path, for people.
    path: String,
    /// Receiver and instance.
    to: String,
    /// The file that the offset is in; `None` before there was one.
    pub file: Option<FileId>,
    /// How many bytes of it are done with.
    pub offset: u64,
    head: Mark,
    tail: Mark,
    /// What may have been sent but was not acknowledged.
    pub pending: Option<Pending>,
    /// The time that the last batch carried.
    pub time: Option<Time>,
    /// When this was written.
    pub saved_at: Option<Time>,
    /// The files that were read to their end last. They may lie beside the path for long, and must not be taken for new.
    #[serde(default)]
    left: Vec<FileId>,
}

/// Which file it is, as the system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// Some bytes, known by their hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    hash: String,
}

/// A batch on its way: the bytes from the offset to here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Where it ends.
    pub to: u64,
    /// The time that its records carry.
    pub time: Time,
    hash: String,
}

impl FileId {
    /// Of what `metadata` was asked about.
    pub fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Pending {
    /// These bytes, from the offset on.
    pub fn new(offset: u64, bytes: &[u8], time: Time) -> Pending {
        Pending { to: offset + bytes.len() as u64, time, hash: hash(bytes) }
    }
}

impl Place {
    /// Nowhere yet.
    fn nowhere(path: &Path, to: &str) -> Place {
        Place {
            format: FORMAT,
            path: path.display().to_string(),
            to: to.to_owned(),
            file: None,
            offset: 0,
            head: Mark::default(),
            tail: Mark::default(),
            pending: None,
            time: None,
            saved_at: None,
            left: Vec::new(),
        }
    }

    /// Notes that a file was read to its end.
    pub fn leave(&mut self, id: FileId) {
        self.left.retain(|left| *left != id);
        self.left.push(id);
        if self.left.len() > LEFT_MAX {
            self.left.remove(0);
        }
    }

    /// A file stands under the path. If one of its number was left, that one is gone, and its number used again.
    pub fn meet(&mut self, id: FileId) {
        self.left.retain(|left| *left != id);
    }

    /// Whether this file was read to its end.
    pub fn has_left(&self, id: FileId) -> bool {
        self.left.contains(&id)
    }

    /// Moves to this offset of this file. What stands before it is what the file is known by from now on.
    pub fn move_to(&mut self, file: &File, id: FileId, offset: u64) -> io::Result<()> {
        let length = offset.min(MARK_BYTES);
        let mark = |from| -> io::Result<Mark> {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, from)?;
            Ok(Mark { bytes: length, hash: hash(&bytes) })
        };
        let (head, tail) = (mark(0)?, mark(offset - length)?);
        (self.head, self.tail) = (head, tail);
        (self.file, self.offset, self.pending) = (Some(id), offset, None);
        Ok(())
    }

    /// Nowhere any more; the time is kept.
    pub fn forget(&mut self) {
        (self.file, self.offset, self.pending) = (None, 0, None);
    }

    /// Whether this file holds what was read so far, and the batch that is on its way.
    pub fn is_in(&self, file: &File) -> io::Result<bool> {
        let holds = |from: u64, bytes: u64, expected: &str| -> io::Result<bool> {
            let mut found = vec![0; bytes as usize];
            match file.read_exact_at(&mut found, from) {
                Ok(()) => Ok(hash(&found) == expected),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                Err(error) => Err(error),
            }
        };
        if self.offset > 0
            && !(holds(0, self.head.bytes, &self.head.hash)?
                && holds(self.offset - self.tail.bytes, self.tail.bytes, &self.tail.hash)?)
        {
            return Ok(false);
        }
        match &self.pending {
            None => Ok(true),
            Some(pending) => holds(self.offset, pending.to.saturating_sub(self.offset), &pending.hash),
        }
    }

    /// Whether more than a file's number is known of it.
    pub fn has_marks(&self) -> bool {
        self.offset > 0 || self.pending.is_some()
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

/// A place's file, which only one follower has at a time.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    /// Closed with this, which lets go of it.
    _lock: File,
}

impl Keeper {
    /// Opens the place of `followed`: the one in this file, else in the file that belongs to path and receiver in the
    /// user's state directory.
    pub fn open(file: Option<&Path>, followed: &Path, to: &str) -> Result<(Keeper, Place), CliError> {
        let absolute = std::path::absolute(followed).unwrap_or_else(|_| followed.to_owned());
        let path = match file {
            Some(file) => file.to_owned(),
            None => {
                let dir = state::state_dir().ok_or_else(|| {
                    CliError::Refused(
                        "there is no place for state files: neither XDG_STATE_HOME nor HOME is set; give --state"
                            .to_owned(),
                    )
                })?;
                let mut hasher = blake3::Hasher::new();
                hasher.update(absolute.as_os_str().as_encoded_bytes());
                hasher.update(&[0]);
                hasher.update(to.as_bytes());
                dir.join("follow").join(format!("{}.json", &hasher.finalize().to_hex()[..24]))
            }
        };
        let refused = |what: &str, error: &dyn std::fmt::Display| {
            CliError::Refused(format!("cannot {what} {}: {error}", path.display()))
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(|error| refused("make the folder of", &error))?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.with_file_name(name));
        let lock = lock.map_err(|error| refused("lock", &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(CliError::Refused(format!(
                    "another process follows {} already (its place is kept in {})",
                    followed.display(),
                    path.display()
                )));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(refused("lock", &error)),
        }
        let place = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Place::nowhere(&absolute, to),
            Err(error) => return Err(refused("read", &error)),
            Ok(text) => {
                let place: Place = serde_json::from_slice(&text).map_err(|error| refused("make sense of", &error))?;
                if place.format != FORMAT {
                    return Err(refused(
                        "use",
                        &format!("it has format {}, which this version does not read", place.format),
                    ));
                }
                if place.to != to {
                    return Err(CliError::Refused(format!(
                        "{} is the place of a follower that sends to {}, not to {to}; give another --state",
                        path.display(),
                        place.to
                    )));
                }
                place
            }
        };
        Ok((Keeper { path, _lock: lock }, place))
    }

    /// Writes the place down: whole, durable, at once.
    pub fn save(&self, place: &mut Place, now: Time) -> Result<(), CliError> {
        place.saved_at = Some(now);
        let text = serde_json::to_vec_pretty(place).expect("a place is always JSON");
        state::write_private(&self.path, &text)
            .map_err(|error| CliError::Refused(format!("cannot keep the place in {}: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> (File, FileId) {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("it can be written");
        let file = File::open(&path).expect("it can be opened");
        let id = FileId::of(&file.metadata().expect("it is there"));
        (file, id)
    }

    #[test]
    fn a_file_is_known_by_what_was_read_of_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let long = "0123456789".repeat(500);
        let (read, id) = file(dir.path(), "a", &long);
        let mut place = Place::nowhere(Path::new("a"), "here");
        assert!(place.is_in(&read).expect("readable") && !place.has_marks());
        place.move_to(&read, id, 4000).expect("so much is there");
        let changed = |at: usize| {
            let mut bytes = long.clone().into_bytes();
            bytes[at] = b'x';
            String::from_utf8(bytes).expect("text")
        };
        for (name, text, expected) in [
            ("copy", long.clone(), true),
            ("longer", format!("{long}more"), true),
            ("cut behind", long[..4000].to_owned(), true),
            ("cut before", long[..3999].to_owned(), false),
            ("another beginning", changed(5), false),
            ("another end", changed(3990), false),
            ("changed behind", changed(4001), true),
        ] {
            let (other, _) = file(dir.path(), name, &text);
            assert_eq!(place.is_in(&other).expect("readable"), expected, "{name}");
        }
        // What is on its way must be there, too.
        let time: Time = "2026-11-21T22:00:00Z".parse().expect("a time");
        place.pending = Some(Pending::new(4000, &long.as_bytes()[4000..4100], time));
        assert!(place.is_in(&read).expect("readable"));
        let (other, _) = file(dir.path(), "changed behind", &changed(4001));
        assert!(!place.is_in(&other).expect("readable"));
    }

    #[test]
    fn a_place_is_kept_for_one_follower_of_one_receiver() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, log) = (dir.path().join("deep/state.json"), dir.path().join("log"));
        let (read, id) = file(dir.path(), "log", "a line\n");
        let (keeper, mut place) = Keeper::open(Some(&state), &log, "here").expect("the first");
        let error = Keeper::open(Some(&state), &log, "here").expect_err("the second").to_string();
        assert!(error.contains("another process follows"), "{error}");
        place.move_to(&read, id, 7).expect("so much is there");
        keeper.save(&mut place, Time::from_nanos(1)).expect("it can be written");
        drop(keeper);
        let (_, found) = Keeper::open(Some(&state), &log, "here").expect("free again");
        assert_eq!(found, place);
        let error = Keeper::open(Some(&state), &log, "there").expect_err("another receiver").to_string();
        assert!(error.contains("sends to here, not to there"), "{error}");
        std::fs::write(&state, "{").expect("it can be written");
        let error = Keeper::open(Some(&state), &log, "here").expect_err("broken").to_string();
        assert!(error.contains("state.json"), "{error}");
    }
}
