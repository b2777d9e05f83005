//! Where things lie, and that nothing of an earlier life is left.
//!
//! ```text
//! <dir>/calls.db                               what is kept of calls
//! <dir>/ca.pem                                 whom functions trust, with an egress proxy
//! <dir>/cache/<function>/                      pip's
//! <dir>/code/<function>/<version>/code         the archive, unpacked
//! <dir>/code/<function>/<version>/packages     what its requirements.txt asked for
//! <dir>/code/<function>/.new-<…>               a version that is being made
//! <dir>/run/<process>/{s,tmp,home}             of one process: socket, temporary files, home
//! <dir>/run/sockets -> /run/user/…             where the sockets are, if `<dir>` is too long a path for them
//! ```
//!
//! A socket's path may have 107 bytes.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

const SOCKET_PATH_BYTES_MAX: usize = 107;
/// `/<process>/s/phonylsnr.sock`; the FDK binds under that name.
const SOCKET_SUFFIX_BYTES: usize = 1 + PROCESS_NAME_BYTES + "/s/phonylsnr.sock".len();
const PROCESS_NAME_BYTES: usize = 16;
const SOCKETS_LINK: &str = "sockets";

/// The folders of all functions.
#[derive(Debug)]
pub(crate) struct Folders {
    /// Absolute, without links.
    pub dir: PathBuf,
    run: PathBuf,
    /// Where socket folders are made: `run`, or somewhere shorter.
    sockets: PathBuf,
}

/// The folders of one process. Dropped, they are removed.
#[derive(Debug)]
pub(crate) struct ProcessFolders {
    base: PathBuf,
    pub socket: PathBuf,
    pub tmp: PathBuf,
    pub home: PathBuf,
    short: Option<PathBuf>,
}

impl Folders {
    /// Makes them, and removes what an earlier life left: processes, socket folders, half-made versions.
    pub(crate) fn open(dir: &Path) -> io::Result<Folders> {
        make(dir)?;
        let dir = dir.canonicalize()?;
        let run = dir.join("run");
        make(&run)?;
        let link = run.join(SOCKETS_LINK);
        let before = std::fs::read_link(&link).ok();
        end_leftovers(&run, before.as_deref());
        if let Some(before) = before.filter(|before| is_ours(before)) {
            let _ = std::fs::remove_dir_all(before);
        }
        let _ = std::fs::remove_file(&link);
        for entry in std::fs::read_dir(&run)? {
            let path = entry?.path();
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "the folder of a process of an earlier life stays");
            }
        }
        let sockets = if run.as_os_str().len() + SOCKET_SUFFIX_BYTES <= SOCKET_PATH_BYTES_MAX {
            run.clone()
        } else {
            let short = short_folder()?;
            std::os::unix::fs::symlink(&short, &link)?;
            short
        };
        make(&dir.join("cache"))?;
        make(&dir.join("code"))?;
        for function in std::fs::read_dir(dir.join("code"))? {
            for version in std::fs::read_dir(function?.path())? {
                let version = version?;
                if version.file_name().to_string_lossy().starts_with('.') {
                    let _ = std::fs::remove_dir_all(version.path());
                }
            }
        }
        Ok(Folders { dir, run, sockets })
    }

    /// The folder of a function's versions; `None` for an id that can be no folder's name.
    pub(crate) fn function(&self, id: &str) -> Option<PathBuf> {
        is_name(id).then(|| self.dir.join("code").join(id))
    }

    /// The functions of which there is something.
    pub(crate) fn on_disk(&self) -> HashSet<String> {
        let entries = ["code", "cache"].map(|folder| std::fs::read_dir(self.dir.join(folder)));
        let names = entries.into_iter().flatten().flatten().flatten();
        names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_name(name)).collect()
    }

    /// Where pip keeps what it fetched for a function. One for each: whoever deploys code may run it while it is
    /// installed, and could leave something there for the others.
    pub(crate) fn cache(&self, id: &str) -> Option<PathBuf> {
        is_name(id).then(|| self.dir.join("cache").join(id))
    }

    /// The folder of a version.
    pub(crate) fn version(&self, id: &str, version: &str) -> Option<PathBuf> {
        is_name(version).then(|| Some(self.function(id)?.join(version)))?
    }

    /// The certificates that functions trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub(crate) fn write_ca(&self, pem: &str) -> io::Result<()> {
        // Renamed, so that a process that reads it reads a whole one.
        let new = self.dir.join(".ca.pem");
        std::fs::write(&new, pem)?;
        std::fs::rename(new, self.ca())
    }

    /// Fresh folders for a process.
    pub(crate) fn process(&self) -> io::Result<ProcessFolders> {
        let name = &uuid::Uuid::new_v4().simple().to_string()[..PROCESS_NAME_BYTES];
        let base = self.run.join(name);
        make(&base)?;
        let short = (self.sockets != self.run).then(|| self.sockets.join(name));
        let folders = ProcessFolders {
            socket: short.as_ref().unwrap_or(&base).join("s"),
            tmp: base.join("tmp"),
            home: base.join("home"),
            base,
            short,
        };
        for folder in [&folders.socket, &folders.tmp, &folders.home] {
            make(folder)?;
        }
        Ok(folders)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if self.sockets != self.run {
            let _ = std::fs::remove_dir_all(&self.sockets);
        }
    }
}

impl Drop for ProcessFolders {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
        if let Some(short) = &self.short {
            let _ = std::fs::remove_dir_all(short);
        }
    }
}

/// Whether an id can be a folder's name: OCIDs, versions.
pub(crate) fn is_name(text: &str) -> bool {
    !text.starts_with('.')
        && (1..=200).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A folder that only we may enter, and those above it.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

const SHORT_PREFIX: &str = "penstock-";

fn short_folder() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| {
        dir.is_absolute() && dir.is_dir() && dir.as_os_str().len() + 20 + SOCKET_SUFFIX_BYTES <= SOCKET_PATH_BYTES_MAX
    });
    let name = format!("{SHORT_PREFIX}{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let path = runtime.unwrap_or_else(|| PathBuf::from("/tmp")).join(name);
    // Not if it is there: somebody else may have made it.
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// Whether a folder that a link leads to is one that `short_folder` made.
fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SHORT_PREFIX));
    // SAFETY: the call takes nothing and cannot fail.
    let us = unsafe { libc::geteuid() };
    named && path.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == us)
}

/// Kills what the kernel did not kill with our earlier life: processes that functions had started themselves. They are
/// told by the folders in their environment, which they all inherit.
fn end_leftovers(run: &Path, sockets: Option<&Path>) {
    let marks: Vec<Vec<u8>> = [Some(run), sockets]
        .into_iter()
        .flatten()
        .flat_map(|folder| [format!("TMPDIR={}/", folder.display()), format!("FN_LISTENER=unix:{}/", folder.display())])
        .map(String::into_bytes)
        .collect();
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<libc::pid_t>().ok()) else {
            continue;
        };
        let Ok(environ) = std::fs::read(process.path().join("environ")) else { continue };
        let is_leftover =
            environ.split(|&byte| byte == 0).any(|entry| marks.iter().any(|mark| entry.starts_with(mark)));
        if is_leftover && pid as u32 != std::process::id() {
            tracing::warn!(pid, "a function's process of an earlier life is still there; it is killed");
            // SAFETY: plain system call on a number that was just read.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_go_where_their_path_is_short_enough() {
        let dir = tempfile::tempdir().unwrap();
        for (below, is_short) in [("f".to_owned(), true), ("x".repeat(90), false)] {
            let folders = Folders::open(&dir.path().join(below)).unwrap();
            let process = folders.process().unwrap();
            assert!(process.socket.join("phonylsnr.sock").as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
            assert_eq!(process.socket.starts_with(folders.dir.as_path()), is_short);
            let (socket, tmp) = (process.socket.clone(), process.tmp.clone());
            assert!(socket.is_dir() && tmp.is_dir() && tmp.starts_with(&folders.dir));
            drop(process);
            assert!(!socket.exists() && !tmp.exists());
        }
    }

    #[test]
    fn what_an_earlier_life_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("y".repeat(90));
        let folders = Folders::open(&dir).unwrap();
        let process = folders.process().unwrap();
        let socket = process.socket.clone();
        let half = folders.function("f1").unwrap().join(".new-1");
        let whole = folders.version("f1", "v1").unwrap();
        make(&half).unwrap();
        make(&whole).unwrap();
        // As if killed: nothing is dropped.
        std::mem::forget(process);
        std::mem::forget(folders);
        let folders = Folders::open(&dir).unwrap();
        assert!(!socket.exists() && !half.exists() && whole.exists());
        assert_eq!(std::fs::read_dir(&folders.run).unwrap().count(), 1, "only the link to the sockets");
    }

    #[test]
    fn processes_of_an_earlier_life_are_ended_and_no_others() {
        use std::os::unix::process::ExitStatusExt as _;
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().canonicalize().unwrap().join("run");
        // A process that was just started has no environment to be seen for a moment.
        let is_seen = |id: u32| std::fs::read(format!("/proc/{id}/environ")).is_ok_and(|environ| !environ.is_empty());
        let start = |tmp: &Path| {
            let child = std::process::Command::new("sleep").arg("600").env("TMPDIR", tmp).spawn().unwrap();
            while !is_seen(child.id()) {
                std::thread::yield_now();
            }
            child
        };
        let mut leftover = start(&run.join("0123/tmp"));
        let mut stranger = start(&dir.path().join("running"));
        Folders::open(dir.path()).unwrap();
        assert_eq!(leftover.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn only_names_become_folders() {
        for (id, is) in
            [("ocid1.fnfunc.oc1.us-ashburn-1.0a", true), ("..", false), ("a/b", false), ("", false), (".x", false)]
        {
            assert_eq!(is_name(id), is, "{id}");
        }
    }
}
