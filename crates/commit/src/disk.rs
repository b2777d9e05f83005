//! The files of one directory, as the log needs them: the one seam between the log and the world.
//!
//! Everything that the log does to a disk goes through [`Disk`] and [`DiskFile`], so that tests can put a disk
//! underneath that loses, tears, holds and fails (`testkit::disk::SimDisk`). [`RealDisk`] is the real one. There is no
//! buffering, no caching and no retry here; what a failed call means is decided by the callers.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One flat directory of files. Names are plain file names.
///
/// What the log relies on: after [`DiskFile::sync_data`] returned well, everything written to that file before it (its
/// length included) survives a crash; after [`Disk::sync_dir`], so do all creations, renames and removals before it.
/// Whatever was not synced may survive in any part, sector by sector; a sector of 512 bytes is written whole or not.
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file, emptying one of that name if there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing; `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing the file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Handles that are open stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Every file's name and length, in no order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Makes all creations, renames and removals so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file. All access is positioned, so one handle serves any number of threads.
#[allow(clippy::len_without_is_empty, reason = "a length is a question to the system; nobody asks whether it is zero")]
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the file's end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all parts one after the other at `offset`. After an error any part of them may have been written.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Cuts or extends (with zeros, without reserving space) the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes what was written so far durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// A directory of the real file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// The disk of this directory, which is made if it does not exist.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let dir = dir.into();
        if !dir.is_dir() {
            std::fs::create_dir_all(&dir)?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(RealDisk { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        // The log holds what senders sent in full: nobody but the owner reads it.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(RealFile { file: options.open(self.dir.join(name))? }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Gone since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut rest = parts;
        // Empty parts would make a complete write look like one that wrote nothing.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let count = rest.len().min(libc::UIO_MAXIOV as usize);
            let at = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            // SAFETY: IoSlice has the layout of iovec, `count` of them stand at the pointer, and they borrow memory
            // that outlives the call; the descriptor belongs to `self.file`.
            let written =
                unsafe { libc::pwritev(self.file.as_raw_fd(), rest.as_ptr().cast(), count as libc::c_int, at) };
            match usize::try_from(written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    IoSlice::advance_slices(&mut rest, written);
                    offset += written as u64;
                }
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_parts_of_any_length_arrive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("a").join("b")).unwrap();
        let file = disk.create("x").unwrap();
        let pieces: Vec<Vec<u8>> = (0..3000usize).map(|index| vec![index as u8; index % 7]).collect();
        let mut parts: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        file.write_at(&mut parts, 5).unwrap();
        file.sync_data().unwrap();
        let mut read = vec![0xFF; 20_000];
        let len = disk.open("x").unwrap().read_at(&mut read, 0).unwrap();
        assert_eq!(read[..5], [0; 5]);
        assert_eq!(read[5..len], pieces.concat());
        assert_eq!(disk.list().unwrap(), [("x".to_owned(), len as u64)]);
        disk.rename("x", "y").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.open("x").err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
