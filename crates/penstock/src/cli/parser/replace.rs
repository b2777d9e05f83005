//! Writing a file whole or not at all: what is there stays until the new text is on the disk, so a stop in between leaves the
//! old file, and beside it at most one that nobody looks at.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// Puts a text in the place of a file, or makes it. A file that was there keeps who may read and write it; a link stays one.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let (path, before) = match std::fs::canonicalize(path) {
        Ok(path) => (path.clone(), Some(std::fs::metadata(&path)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    let (new, file) = beside(&path)?;
    let written = write(file, text, before.as_ref()).and_then(|()| std::fs::rename(&new, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

/// A new file in the same folder, hidden. Its name is random: what an earlier stop left does not stand in the way.
fn beside(path: &Path) -> Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    loop {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:016x}.tmp", rand::random::<u64>()));
        let new = path.with_file_name(hidden);
        match File::create_new(&new) {
            Ok(file) => return Ok((new, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(mut file: File, text: &str, before: Option<&Metadata>) -> Result<()> {
    file.write_all(text.as_bytes())?;
    if let Some(before) = before {
        file.set_permissions(before.permissions())?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_or_replaced_and_nothing_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.conf");
        // What earlier stops left stands in nobody's way.
        for left in ["a.conf.new", ".a.conf.0000000000000000.tmp"] {
            std::fs::write(folder.path().join(left), "half").expect("written");
        }
        let before = names(folder.path());
        for text in ["one", "another", ""] {
            replace(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(names(folder.path()).len(), before.len() + 1);
    }

    #[test]
    fn who_may_read_it_and_where_a_link_leads_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("a.conf"), folder.path().join("b.conf"));
        std::fs::write(&path, "old").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        replace(&link, "new").expect("written");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("a.conf")).expect("made");
        assert!(replace(&folder.path().join("a.conf"), "text").is_err());
        assert!(replace(&folder.path().join("none/a.conf"), "text").is_err());
        assert_eq!(names(folder.path()), ["a.conf"]);
    }
}
